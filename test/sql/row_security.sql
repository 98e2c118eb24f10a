-- Policies that a DBA puts on eventstore.events hold for every reading function as for a plain SELECT of the caller.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
DROP ROLE IF EXISTS regress_es_rls_reader, regress_es_rls_appender, regress_es_rls_admin, regress_es_rls_bypass, regress_es_rls_owner;
RESET client_min_messages;
\set VERBOSITY terse
CREATE ROLE regress_es_rls_reader;
CREATE ROLE regress_es_rls_appender;
CREATE ROLE regress_es_rls_admin;
CREATE ROLE regress_es_rls_bypass BYPASSRLS;
CREATE ROLE regress_es_rls_owner;
SELECT es_grant('regress_es_rls_reader', 'read'), es_grant('regress_es_rls_appender', 'append'), es_grant('regress_es_rls_admin', 'admin'), es_grant('regress_es_rls_bypass', 'read');
CREATE SCHEMA test_rls;
GRANT ALL ON SCHEMA test_rls TO regress_es_rls_admin;
GRANT USAGE ON SCHEMA test_rls TO PUBLIC;
SET search_path = test_rls, public;

SELECT count(es_append(c || '-' || i % 3, -1, CASE WHEN i % 2 = 0 THEN 'Even' ELSE 'Odd' END, jsonb_build_object('n', i), CASE WHEN i % 5 = 0 THEN '{"secret": true}'::jsonb END))
FROM unnest('{a,b,c}'::text[]) c, generate_series(1, 20) i;
SELECT es_append('hidden', 0, 'Odd', '{}');
CREATE FUNCTION add_up(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN to_jsonb(state::int + (event.data ->> 'n')::int);

-- Each function beside the SELECT that it stands for: what the one has and the other has not. The position of the head is no secret.
CREATE TABLE calls (name text, call text, query text);
INSERT INTO calls
SELECT name, call, 'SELECT e FROM (SELECT * FROM eventstore.events WHERE ' || query || ') e'
FROM (VALUES
	('es_read',                 'es_read(''a-1'')',                                       'stream = ''a-1'''),
	('es_read from',            'es_read(''b-2'', 3)',                                    'stream = ''b-2'' AND version >= 3'),
	('es_read backward',        'es_read(''a-1'', NULL, 2, true)',                        'stream = ''a-1'' ORDER BY version DESC LIMIT 2'),
	('es_read backward from',   'es_read(''b-1'', 4, 3, true)',                           'stream = ''b-1'' AND version <= 4 ORDER BY version DESC LIMIT 3'),
	('es_read nothing',         'es_read(''none'')',                                      'stream = ''none'''),
	('es_read_all',             'es_read_all()',                                          'true'),
	('es_read_all some',        'es_read_all(10, 7)',                                     'position > 10 ORDER BY position LIMIT 7'),
	('es_read_all types',       'es_read_all(5, 7, ''{Odd}'')',                           'position > 5 AND type = ''Odd'' ORDER BY position LIMIT 7'),
	('es_read_all backward',    'es_read_all(0, 9, NULL, true)',                          'true ORDER BY position DESC LIMIT 9'),
	('es_read_category',        'es_read_category(''b'')',                                'category = ''b'''),
	('es_read_category some',   'es_read_category(''a'', 3, 4, ''{Even}'')',              'category = ''a'' AND position > 3 AND type = ''Even'' ORDER BY position LIMIT 4'),
	('es_read_category back',   'es_read_category(''c'', 55, 4, NULL, true)',             'category = ''c'' AND position < 55 ORDER BY position DESC LIMIT 4'),
	('es_last_event',           'es_last_event(''a-0'')',                                 'stream = ''a-0'' ORDER BY version DESC LIMIT 1'),
	('es_last_event hidden',    'es_last_event(''hidden'')',                              'stream = ''hidden'''),
	('es_last_event type',      'es_last_event(''a-1'', ''Even'')',                       'stream = ''a-1'' AND type = ''Even'' ORDER BY version DESC LIMIT 1'),
	('es_stream_as_of',         'es_stream_as_of(''a-1'', ''infinity'')',                 'stream = ''a-1'''),
	('es_stream_as_of then',    'es_stream_as_of(''a-1'', ''2000-01-01'')',               'false'),
	('es_load',                 'es_load(''a-1'') l, unnest(l.events)',                   'stream = ''a-1'' ORDER BY version'),
	('es_load hidden',          'es_load(''hidden'') l, unnest(l.events)',                'stream = ''hidden''')) c (name, call, query);
UPDATE calls SET call = 'SELECT e FROM (SELECT * FROM ' || regexp_replace(call, '^es_load.*', '(SELECT u.* FROM ' || call || ' u) x') || ') e';
GRANT SELECT ON calls TO PUBLIC;
-- What a call returns that its query does not, and the other way round; and how many rows, to see that there is something to see
CREATE FUNCTION compare() RETURNS TABLE (role name, rows bigint, wrong text) LANGUAGE plpgsql AS
$$
DECLARE
	c record;
	count bigint;
	differs boolean;
BEGIN
	role := current_user;
	rows := 0;
	FOR c IN SELECT * FROM calls LOOP
		EXECUTE format('WITH c AS MATERIALIZED (SELECT row_number() OVER () AS n, to_jsonb(e) - ''more'' AS e FROM (%s) x (e)), q AS MATERIALIZED (SELECT row_number() OVER () AS n, to_jsonb(e) - ''more'' AS e FROM (%s) x (e)) '
			'SELECT EXISTS (SELECT FROM c FULL JOIN q USING (n) WHERE c.e IS DISTINCT FROM q.e), (SELECT count(*) FROM c)', c.call, c.query) INTO differs, count;
		rows := rows + count;
		IF differs THEN
			wrong := concat_ws(', ', wrong, c.name);
		END IF;
	END LOOP;
	IF es_fold('a-1', 'add_up(jsonb, eventstore.event)', '0') IS DISTINCT FROM coalesce((SELECT to_jsonb(sum((data ->> 'n')::int)) FROM eventstore.events WHERE stream = 'a-1'), '0') THEN
		wrong := concat_ws(', ', wrong, 'es_fold');
	END IF;
	IF es_head() < 61 THEN
		wrong := concat_ws(', ', wrong, 'es_head');
	END IF;
	RETURN NEXT;
END
$$;
CREATE FUNCTION compare_all() RETURNS SETOF record LANGUAGE plpgsql AS
$$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{regress_es_rls_reader,regress_es_rls_admin,regress_es_rls_bypass,postgres}'::text[] LOOP
		EXECUTE format('SET LOCAL ROLE %I', name);
		RETURN QUERY SELECT * FROM compare();
	END LOOP;
	RESET ROLE;
END
$$;

-- Without policies
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
-- With row security and no policy nobody sees anything, but for those to whom it does not apply.
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY;
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
-- A category for one role; other roles
CREATE POLICY one_category ON eventstore.events FOR SELECT TO regress_es_rls_reader USING (category = 'a');
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
CREATE POLICY rest ON eventstore.events FOR SELECT TO regress_es_rls_admin USING (category <> 'a');
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
-- Two policies of which one is enough, and one that has to hold besides
CREATE POLICY also ON eventstore.events TO regress_es_rls_reader USING (stream = 'b-2');
CREATE POLICY besides ON eventstore.events AS RESTRICTIVE TO PUBLIC USING (metadata IS NULL);
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
DROP POLICY one_category ON eventstore.events;
DROP POLICY rest ON eventstore.events;
DROP POLICY also ON eventstore.events;
DROP POLICY besides ON eventstore.events;
-- By another table, which the role has to have rights on
CREATE TABLE allowed (who name, category text);
INSERT INTO allowed VALUES ('regress_es_rls_reader', 'b'), ('regress_es_rls_admin', 'b'), ('regress_es_rls_admin', 'c');
CREATE POLICY by_table ON eventstore.events USING (EXISTS (SELECT FROM allowed w WHERE w.who = current_user AND w.category = events.category));
SET ROLE regress_es_rls_reader;
SELECT * FROM es_read('b-1');
SELECT * FROM eventstore.events WHERE stream = 'b-1';
RESET ROLE;
GRANT SELECT ON allowed TO regress_es_rls_reader, regress_es_rls_admin;
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
DROP POLICY by_table ON eventstore.events;
-- By a list that does not depend on the event, by a function, by a setting
CREATE POLICY by_list ON eventstore.events USING (category IN (SELECT w.category FROM allowed w WHERE w.who = current_user));
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
DROP POLICY by_list ON eventstore.events;
CREATE FUNCTION may_see(category text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$ BEGIN RETURN EXISTS (SELECT FROM allowed w WHERE w.who = current_user AND w.category = may_see.category); END $$;
CREATE POLICY by_function ON eventstore.events USING (may_see(category) AND position % 2 = 0);
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
DROP POLICY by_function ON eventstore.events;
CREATE POLICY by_setting ON eventstore.events USING (category = current_setting('test.category', true));
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
SET test.category = 'a';
SELECT * FROM compare_all() AS x (role name, rows bigint, wrong text);
-- One that fails
DROP POLICY by_setting ON eventstore.events;
CREATE POLICY fails ON eventstore.events USING (1 / (position - 4) <> 0);
SET ROLE regress_es_rls_reader;
SELECT count(*) FROM es_read_all(0, 1);
SELECT count(*) FROM es_read_all(0, 2);
RESET ROLE;
DROP POLICY fails ON eventstore.events;

CREATE POLICY one_category ON eventstore.events FOR SELECT USING (category = 'a');
-- row_security = off raises an error where something would be hidden.
SET row_security = off;
SET ROLE regress_es_rls_reader;
SELECT count(*) FROM eventstore.events;
SELECT count(*) FROM es_read('a-1');
SELECT count(*) FROM es_read_all();
SELECT count(*) FROM es_read_category('a');
SELECT count(*) FROM es_last_event('a-1');
SELECT count(*) FROM es_stream_as_of('a-1', now());
SELECT count(*) FROM es_load('a-1');
SELECT es_fold('a-1', 'add_up(jsonb, eventstore.event)', '0');
SELECT es_snapshot('a-1');
SELECT es_head() > 0 AS has_head;
SET ROLE regress_es_rls_bypass;
SELECT count(*) FROM es_read('a-1');
RESET ROLE;
SELECT count(*) FROM es_read('b-1');
RESET row_security;

-- The caller is who calls: by SET ROLE, in a function of somebody else's, in a view
CREATE FUNCTION as_reader() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp RETURN (SELECT count(*) FROM es_read_all());
ALTER FUNCTION as_reader() OWNER TO regress_es_rls_reader;
CREATE FUNCTION as_superuser() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp RETURN (SELECT count(*) FROM es_read_all());
SELECT as_reader(), as_superuser(), (SELECT count(*) FROM es_read_all()) AS directly;
SET ROLE regress_es_rls_reader;
SELECT as_reader(), as_superuser(), (SELECT count(*) FROM es_read_all()) AS directly;
RESET ROLE;
-- An appender reads by functions, without a right on the table.
SET ROLE regress_es_rls_appender;
SELECT count(*) FROM eventstore.events;
SELECT count(*) FROM es_read_all();
SELECT count(*) FROM es_read('a-1');
SELECT count(*) FROM es_read('b-1');
SELECT es_append('b-1', -1, 'Odd', '{"n": 0}') AS appends;
SELECT count(*) FROM es_read('b-1');
RESET ROLE;
-- The table's owner, unless row security is forced on him; of partitions, too
GRANT USAGE, CREATE ON SCHEMA eventstore TO regress_es_rls_owner;
GRANT ALL ON ALL TABLES IN SCHEMA eventstore TO regress_es_rls_owner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventstore TO regress_es_rls_owner;
ALTER TABLE eventstore.events OWNER TO regress_es_rls_owner;
GRANT USAGE ON SCHEMA public TO regress_es_rls_owner;
GRANT EXECUTE ON FUNCTION es_read_all(bigint, bigint, text[], boolean) TO regress_es_rls_owner;
SET ROLE regress_es_rls_owner;
SELECT (SELECT count(*) FROM es_read_all()) AS by_function, (SELECT count(*) FROM eventstore.events) AS by_table;
ALTER TABLE eventstore.events FORCE ROW LEVEL SECURITY;
SELECT (SELECT count(*) FROM es_read_all()) AS by_function, (SELECT count(*) FROM eventstore.events) AS by_table;
RESET ROLE;
SELECT (SELECT count(*) FROM es_read_all()) AS by_function, (SELECT count(*) FROM eventstore.events) AS by_table;
ALTER TABLE eventstore.events NO FORCE ROW LEVEL SECURITY;
ALTER TABLE eventstore.events OWNER TO CURRENT_USER;
-- Columns of the user's own
ALTER TABLE eventstore.events ADD COLUMN gone int, ADD COLUMN more int DEFAULT 7;
ALTER TABLE eventstore.events DROP COLUMN gone;
SET ROLE regress_es_rls_reader;
SELECT * FROM compare();
RESET ROLE;
ALTER TABLE eventstore.events DROP COLUMN more;

-- In a parallel worker
CREATE TABLE streams (stream text);
INSERT INTO streams SELECT DISTINCT stream FROM eventstore.events;
GRANT SELECT ON streams TO regress_es_rls_reader;
ANALYZE streams;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET ROLE regress_es_rls_reader;
EXPLAIN (COSTS OFF) SELECT sum((SELECT count(*) FROM es_read(s.stream))) FROM streams s;
SELECT sum((SELECT count(*) FROM es_read(s.stream))) FROM streams s;
RESET ROLE;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- A snapshot is of all events up to its version. Who may not see all of them has none, and makes none.
SELECT es_save_snapshot('a-1', 5, '"five"'), es_save_snapshot('b-1', 5, '"five"');
SET ROLE regress_es_rls_reader;
SELECT version, state, cardinality(events) FROM es_load('a-1');
SELECT version, state, cardinality(events) FROM es_load('b-1');
SELECT version, state FROM es_snapshot('a-1');
SELECT version, state FROM es_snapshot('b-1');
RESET ROLE;
CREATE POLICY no_secrets ON eventstore.events AS RESTRICTIVE USING (metadata IS NULL);
SET ROLE regress_es_rls_reader;
SELECT version, state, cardinality(events), (SELECT min(e.version) FROM unnest(events) e) AS first FROM es_load('a-2');
SELECT count(*) FILTER (WHERE metadata IS NULL) AS visible, count(*) FROM es_read('a-2');
RESET ROLE;
SELECT es_save_snapshot('a-2', 6, '"six"'), es_save_snapshot('a-0', 2, '"two"');
SET ROLE regress_es_rls_reader;
SELECT version, state, cardinality(events) FROM es_load('a-2');
SELECT version, state FROM es_snapshot('a-2');
RESET ROLE;
SELECT stream, min(version) FROM eventstore.events WHERE category = 'a' AND metadata IS NOT NULL GROUP BY stream ORDER BY stream;
SET ROLE regress_es_rls_reader;
SELECT version, state, cardinality(events) FROM es_load('a-0');
RESET ROLE;
DROP POLICY no_secrets ON eventstore.events;
SET ROLE regress_es_rls_appender;
SELECT es_save_snapshot('b-1', 3, '"three"');
RESET ROLE;
SELECT version, state FROM es_snapshot('b-1');

-- A subscription whose events the caller may all see, and one that has others
SELECT es_create_subscription('all'), es_create_subscription('category', 'a'), es_create_subscription('types', NULL, '{Odd}'), es_create_subscription('b', 'b');
SET ROLE regress_es_rls_reader;
SELECT count(*), count(DISTINCT category), min(category) FROM es_fetch('category', 'c');
SELECT es_ack('category', token, position) FROM es_fetch('category', 'c') ORDER BY position DESC LIMIT 1;
SELECT count(*) FROM es_fetch('category', 'c');
\set VERBOSITY default
SELECT count(*) FROM es_fetch('all', 'c');
\set VERBOSITY terse
SELECT count(*) FROM es_fetch('types', 'c');
SELECT count(*) FROM es_fetch('b', 'c');
-- Nothing is delivered with what may not be seen, and nothing is lost.
SELECT count(*) FROM es_fetch('all', 'c', 20);
SELECT count(*) FROM es_fetch('all', 'c', 21);
SELECT current_user;
RESET ROLE;
SELECT count(*) FROM es_fetch('all', 'super');
SELECT count(*) FROM es_fetch('all', 'c');
SELECT es_release('all', 'c'), es_release('all', 'super');
SET ROLE regress_es_rls_bypass;
SELECT count(*) FROM es_fetch('all', 'bypass');
RESET ROLE;
-- An event that is delivered again, and that may not be seen any more
SET ROLE regress_es_rls_reader;
SELECT es_create_subscription('again');
RESET ROLE;
SELECT es_create_subscription('again', 'a');
SET ROLE regress_es_rls_reader;
SELECT es_nack('again', token, position, 'later') FROM es_fetch('again', 'c') ORDER BY position LIMIT 1;
RESET ROLE;
CREATE POLICY not_the_first ON eventstore.events AS RESTRICTIVE USING (position > 1);
SET ROLE regress_es_rls_reader;
SELECT position FROM es_fetch('again', 'c') ORDER BY position LIMIT 1;
RESET ROLE;
DROP POLICY not_the_first ON eventstore.events;
SET ROLE regress_es_rls_reader;
SELECT position, attempt FROM es_fetch('again', 'c') ORDER BY position LIMIT 1;
SET row_security = off;
SELECT count(*) FROM es_fetch('category', 'c');
RESET row_security;
RESET ROLE;
-- What is parked is seen like other events.
SELECT es_nack('b', token, position, 'why', 'park') FROM es_fetch('b', 'p') ORDER BY position LIMIT 1;
SELECT es_nack('again', token, position, 'why', 'park') FROM es_fetch('again', 'c') ORDER BY position LIMIT 1;
SELECT subscription, stream, reason FROM eventstore.parked ORDER BY subscription;
SET ROLE regress_es_rls_reader;
SELECT subscription, stream, reason FROM eventstore.parked ORDER BY subscription;
RESET ROLE;

-- A projection sees what its owner may see, whoever appends, inline and async, in history, rebuilt and verified.
DROP POLICY one_category ON eventstore.events;
CREATE POLICY admins ON eventstore.events TO regress_es_rls_admin USING (category <> 'c');
SET ROLE regress_es_rls_admin;
CREATE TABLE log (stream text, position bigint PRIMARY KEY);
CREATE TABLE later_log (stream text, position bigint PRIMARY KEY);
SET client_min_messages = warning;
SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream'), es_create_projection('later_counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async'),
	   es_create_projection('log', 'INSERT INTO log SELECT stream, position FROM events', tables => '{log}'), es_create_projection('later_log', 'INSERT INTO later_log SELECT stream, position FROM events', 'async', tables => '{later_log}');
RESET client_min_messages;
RESET ROLE;
CREATE FUNCTION differing() RETURNS SETOF text LANGUAGE sql AS
$$
	SELECT t FROM unnest('{counts,later_counts,log,later_log}'::text[]) t
	WHERE (SELECT jsonb_object_agg(stream, n) FROM (SELECT stream, sum(n) AS n FROM (SELECT stream, n FROM counts WHERE t = 'counts' UNION ALL SELECT stream, n FROM later_counts WHERE t = 'later_counts'
		   UNION ALL SELECT stream, 1 FROM log WHERE t = 'log' UNION ALL SELECT stream, 1 FROM later_log WHERE t = 'later_log') x GROUP BY stream) y)
		  IS DISTINCT FROM (SELECT jsonb_object_agg(stream, n) FROM (SELECT stream, count(*) AS n FROM eventstore.events WHERE category <> 'c' GROUP BY stream) x)
$$;
SELECT es_run_projection('later_counts', 3), es_run_projection('later_log', 3);
SELECT es_run_projection('later_counts'), es_run_projection('later_log');
SELECT differing();
SELECT count(es_append(c || '-' || i % 3, -1, 'Odd', jsonb_build_object('n', i))) FROM unnest('{a,b,c}'::text[]) c, generate_series(21, 25) i;
SELECT es_append('c-1', -1, '[{"type": "Odd"}, {"type": "Even"}]'), es_append('a-1', -1, '[{"type": "Odd"}, {"type": "Even"}]');
SELECT * FROM es_append_streams('[{"stream": "c-1", "expected_version": -1, "events": [{"type": "Odd"}]}, {"stream": "a-1", "expected_version": -1, "events": [{"type": "Odd"}, {"type": "Even"}]}, {"stream": "c-2", "expected_version": -1, "events": [{"type": "Odd"}]}]') x (stream, version, position) LIMIT 0;
SET ROLE regress_es_rls_appender;
SET row_security = off;
SELECT es_append('b-9', 0, 'Odd', '{}'), es_append('c-9', 0, 'Odd', '{}');
RESET row_security;
RESET ROLE;
SELECT es_run_projection('later_counts'), es_run_projection('later_log');
SELECT differing();
SELECT name, es_verify_projection(name) FROM eventstore.projections;
SET ROLE regress_es_rls_admin;
SELECT name, es_verify_projection(name) FROM eventstore.projections;
SELECT es_projection_as_of('counts', 'counts_now'), es_projection_as_of('log', 'log_now');
SELECT (SELECT sum(n) FROM counts_now) = (SELECT count(*) FROM eventstore.events) AS counts, (SELECT count(*) FROM log_now) = (SELECT count(*) FROM eventstore.events) AS log;
SELECT es_rebuild_projection('counts') = es_rebuild_projection('log') AS rebuilt;
SELECT es_pause_projection('counts');
RESET ROLE;
SELECT es_append('b-9', 1, 'Odd', '{}'), es_append('c-9', 1, 'Odd', '{}');
SET ROLE regress_es_rls_admin;
SELECT es_resume_projection('counts');
RESET ROLE;
SELECT es_run_projection('later_counts'), es_run_projection('later_log');
SELECT differing();
-- A policy that fails is the projection's error.
CREATE POLICY fails ON eventstore.events AS RESTRICTIVE TO regress_es_rls_admin USING (CASE WHEN type = 'Bad' THEN 1 / (position - position) = 0 ELSE true END);
\set VERBOSITY sqlstate
SELECT es_append('b-9', 2, 'Bad', '{}');
\set VERBOSITY terse
SELECT es_append('b-9', 2, 'Good', '{}');

SELECT es_drop_projection(name) FROM eventstore.projections;
SET client_min_messages = warning;
DROP SCHEMA test_rls CASCADE;
DROP EXTENSION eventstore CASCADE;
DROP OWNED BY regress_es_rls_reader, regress_es_rls_appender, regress_es_rls_admin, regress_es_rls_bypass, regress_es_rls_owner;
DROP ROLE regress_es_rls_reader, regress_es_rls_appender, regress_es_rls_admin, regress_es_rls_bypass, regress_es_rls_owner;
