-- Declared tables stay equal to their query over all events, whatever way the events are applied; handlers see every event once; what can
-- not be kept is refused, with the reason.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
RESET client_min_messages;
CREATE SCHEMA test_projections;
SET search_path = test_projections, public;
SET timezone = 'Europe/Berlin';
\set VERBOSITY terse

-- The oracle: the query as it stands, over all events, as text so that 1.0 is not 1.00.
CREATE VIEW events AS SELECT * FROM eventstore.events;
CREATE FUNCTION differences(projection text) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	query  text := (SELECT p.query FROM eventstore.projections p WHERE p.name = projection);
	result bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM ((SELECT t::text FROM test_projections.%1$I t EXCEPT ALL SELECT q::text FROM (%2$s) q)
										  UNION ALL (SELECT q::text FROM (%2$s) q EXCEPT ALL SELECT t::text FROM test_projections.%1$I t)) d', projection, query) INTO result;
	RETURN result;
END
$$;

-- Some history, before any projection
CREATE PROCEDURE add_history(n int) LANGUAGE plpgsql AS
$$
BEGIN
	FOR i IN 1..n LOOP
		PERFORM es_append((ARRAY['account', 'cart', 'user'])[1 + i % 3] || '-' || i % 7, es_any(), (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
			'type', (ARRAY['Opened', 'Deposited', 'Withdrawn'])[1 + (i * j) % 3],
			'data', jsonb_build_object('amount', nullif(((i * 37 + j * 11) % 50 - 10) / 10.0, 1.2), 'whole', (i * j) % 9, 'flag', (i + j) % 4 = 0, 'name', chr(65 + (i * 7 + j) % 26),
									   'items', (SELECT jsonb_agg(jsonb_build_object('sku', 's' || k, 'n', k * j)) FROM generate_series(1, (i + j) % 4) k)),
			'tags', CASE WHEN i % 5 = 0 THEN '["t"]'::jsonb END))) FROM generate_series(1, 1 + i % 4) j));
	END LOOP;
END
$$;
CALL add_history(30);

CREATE TYPE kind AS ENUM ('Withdrawn', 'Opened', 'Deposited');
CREATE TABLE queries (name text, query text);
INSERT INTO queries VALUES
	('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category'),
	('keys_only', 'SELECT stream FROM events GROUP BY stream'),
	('filtered', 'SELECT stream, count(*) FILTER (WHERE type = ''Deposited'') AS n, count(data->>''amount'') AS m, sum((data->>''whole'')::int) FILTER (WHERE data->>''flag'' = ''true'') AS s FROM events WHERE version < 40 GROUP BY stream'),
	('sums', 'SELECT category, type, sum((data->>''amount'')::numeric) AS amount, sum((data->>''whole'')::smallint) AS small, sum((data->>''whole'')::int) AS whole, sum((data->>''whole'')::bigint) AS big,
			  sum(make_interval(mins => (data->>''whole'')::int)) AS interval, sum((data->>''amount'')::numeric::money) AS money FROM events GROUP BY category, type'),
	('extremes', 'SELECT category, min((data->>''amount'')::numeric) AS least, max((data->>''amount'')::numeric) AS most, min(data->>''name'') AS first_name, max(data->>''name'' COLLATE "C") AS last_name,
				  max(recorded_at) AS at, min((data->>''amount'')::float8) AS real, min(id::text) AS id, max(version) AS version, max(tags) AS tags FROM events GROUP BY category'),
	('averages', 'SELECT category, avg((data->>''amount'')::numeric) AS amount, avg((data->>''whole'')::int) AS whole, avg((data->>''whole'')::bigint) AS big, avg((data->>''whole'')::smallint) AS small,
				  avg(make_interval(mins => (data->>''whole'')::int)) AS interval, avg((data->>''amount'')::numeric) FILTER (WHERE type = ''None'') AS none FROM events GROUP BY category'),
	('booleans', 'SELECT category, bool_and((data->>''flag'')::bool) AS every_one, every((data->>''flag'')::bool) FILTER (WHERE type = ''Opened'') AS every_opened, bool_or((data->>''flag'')::bool) AS any_one,
				  bit_or((data->>''whole'')::int) AS bits, bool_or(NULL::bool) AS none FROM events GROUP BY category'),
	('firsts', 'SELECT stream, es_first(type, position) AS first_type, es_last(data->''amount'', position) AS last_amount, (array_agg(data->>''name'' ORDER BY position))[1] AS first_name,
				(array_agg(data->>''name'' ORDER BY position DESC))[1] AS last_name, es_last(version, position) FILTER (WHERE type = ''Withdrawn'') AS last_withdrawn, es_last(tags, position) AS tags FROM events GROUP BY stream'),
	('latest', 'SELECT category, jsonb_object_agg(type, data->''amount'' ORDER BY position) AS by_type, jsonb_object_agg(stream, version ORDER BY position) FILTER (WHERE type = ''Opened'') AS opened FROM events GROUP BY category'),
	('expressions', 'SELECT upper(category) AS kind, coalesce(sum((data->>''amount'')::numeric) FILTER (WHERE type = ''Deposited''), 0) - coalesce(sum((data->>''amount'')::numeric) FILTER (WHERE type = ''Withdrawn''), 0) AS balance,
					 CASE WHEN count(*) > 30 THEN ''many'' ELSE ''few'' END AS size, upper(category) || ''!'' AS shouted, 42 AS answer, count(*) * 2 AS "double", max(version) - min(version) AS span FROM events GROUP BY upper(category)'),
	('by_day', 'SELECT date_trunc(''day'', recorded_at) AS day, recorded_at::date AS date, extract(isodow FROM recorded_at)::int AS "Day of week", count(*) AS n FROM events GROUP BY 1, 2, 3'),
	('items', 'SELECT item->>''sku'' AS sku, sum((item->>''n'')::int) AS n, count(DISTINCT_FREE) AS m FROM events, jsonb_array_elements(data->''items'') AS item, LATERAL (VALUES (1)) v (DISTINCT_FREE) WHERE data ? ''items'' GROUP BY item->>''sku'''),
	('left_join', 'SELECT e.stream, count(i.value) AS items FROM events e LEFT JOIN LATERAL jsonb_array_elements(e.data->''items'') i ON true GROUP BY e.stream'),
	('whole_rows', 'SELECT category, count(e) AS events, count(metadata) AS with_metadata FROM events e GROUP BY category'),
	('settings', 'SELECT stream, max((data->>''amount'')::float8::text) AS real, min(make_interval(hours => (data->>''whole'')::int)::text) AS interval, max(replace(type, ''e'', ''\'')) AS slashed, max((recorded_at::date)::text) AS date, count(*) FILTER (WHERE tags = NULL) AS none, max(quote_ident(lower(type))) AS quoted FROM events GROUP BY stream'),
	('enums', 'SELECT type::kind AS kind, max(type::kind) AS most, count(*) AS n FROM events WHERE type IN (''Opened'', ''Deposited'') GROUP BY type::kind'),
	('behind_join', 'SELECT j.s, es_last(j.t, j.p) AS last FROM (SELECT e.stream AS s, e.type AS t, e.position AS p FROM events e JOIN (SELECT 1) o ON true) AS j GROUP BY j.s'),
	('nested', 'SELECT kind, sum(amount) AS amount, es_last(amount, position) AS last FROM (SELECT position, left(stream, 1) AS kind, (data->>''amount'')::numeric AS amount FROM events WHERE type <> ''Opened'') x WHERE amount IS NOT NULL GROUP BY kind'),
	('Strange "name"', 'SELECT category AS "k1", type AS "select", count(*) AS "p1", avg((data->>''whole'')::int) AS "Über" FROM events GROUP BY category, type');

-- Inline: made over history, kept by appends of one event and of many, of one stream and of several
SELECT name, es_create_projection(name, query) FROM queries;
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
CALL add_history(25);
SELECT es_append('account-1', -1, 'Deposited', '{"amount": 7.25}'), es_append('account-1', -1, 'Deposited', '{}'), es_append('new-1', 0, 'Withdrawn', '{"amount": 0.10, "flag": false}');
SELECT stream, version FROM es_append_streams('[{"stream": "cart-1", "expected_version": -1, "events": [{"type": "Opened", "data": {"items": [{"sku": "s1", "n": 5}]}}, {"type": "Withdrawn"}]},
	{"stream": "account-9", "expected_version": 0, "events": {"type": "Opened", "tags": ["a", "b"]}}, {"stream": "cart-1", "expected_version": -1, "events": {"type": "Deposited", "data": {"amount": 1}}}]');
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
-- Rolled back: the whole call, and a savepoint
BEGIN;
SELECT es_append('account-1', -1, 'Deposited', '{"amount": 100}');
SAVEPOINT x;
SELECT es_append('account-2', -1, 'Deposited', '{"amount": 1000}');
ROLLBACK TO x;
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
ROLLBACK;
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
-- Whatever settings who appends has; in a session that has not applied them yet, too
CREATE TABLE texts (position bigint PRIMARY KEY, words tsvector);
SET default_text_search_config = 'pg_catalog.english';
SELECT es_create_projection('texts', 'INSERT INTO texts SELECT position, to_tsvector(type) FROM events');
\set appending 'SET timezone = \'Asia/Tokyo\'; SET datestyle = \'SQL, DMY\'; SET intervalstyle = \'iso_8601\'; SET extra_float_digits = -10; SET standard_conforming_strings = off; SET escape_string_warning = off; SET transform_null_equals = on; SET array_nulls = off; SET bytea_output = \'escape\'; SET quote_all_identifiers = on; SET default_text_search_config = \'pg_catalog.simple\';'
:appending
SELECT es_append('account-1', -1, 'Deposited', '{"amount": 0.1234567890123456, "whole": 30}') > 0, es_append('account-2', -1, '[{"type": "Deposited", "data": {"amount": 0.1234567890123456, "whole": 3}}, {"type": "Opened"}]') > 0;
\c -
SET search_path = test_projections, public;
:appending
SELECT es_append('account-1', -1, 'Deposited', '{"amount": 0.9876543210987654, "whole": 70}') > 0, es_append('account-3', -1, '[{"type": "Deposited", "data": {"amount": 0.1234567890123456, "whole": 3}}, {"type": "Opened"}]') > 0;
\c -
SET search_path = test_projections, public;
SET timezone = 'Europe/Berlin';
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
SELECT count(*) > 100 AS "all", count(*) FILTER (WHERE words <> to_tsvector('english', type)) AS differ FROM texts JOIN eventstore.events USING (position);
SELECT es_drop_projection('texts');
DROP TABLE texts;
-- An exact retry is not applied again.
SELECT es_append('account-7', 0, 'Deposited', '{"amount": 2}', NULL, 'f0000000-0000-0000-0000-000000000001');
SELECT es_append('account-7', 0, 'Deposited', '{"amount": 2}', NULL, 'f0000000-0000-0000-0000-000000000001');
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
-- The columns are those of the query, and the key is what it groups by.
SELECT c.relname, string_agg(a.attname || ' ' || format_type(atttypid, atttypmod) || CASE WHEN attcollation = '"C"'::regcollation THEN ' C' ELSE '' END, ', ' ORDER BY attnum) AS columns,
	   (SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k WHERE k.conrelid = c.oid AND contype = 'p') AS key
FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 WHERE relnamespace = 'test_projections'::regnamespace AND relkind = 'r' AND relname IN (SELECT name FROM queries) GROUP BY c.oid, relname ORDER BY relname COLLATE "C";
-- State tables stand beside those that need one, and go with the projection; the read table goes if asked to.
SELECT relname FROM pg_class WHERE relnamespace = 'test_projections'::regnamespace AND relkind = 'r' AND relname LIKE '%state' ORDER BY relname COLLATE "C";
SELECT count(es_drop_projection(name, true)) FROM queries WHERE name <> 'averages';
SELECT es_drop_projection('averages');
SELECT relname FROM pg_class WHERE relnamespace = 'test_projections'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C";
DROP TABLE averages;

-- Async: nothing is applied before it is run; in steps of any size; filters
SELECT es_create_projection(name, query, 'async') FROM queries LIMIT 0;
SELECT count(es_create_projection(name, query, mode => 'async')) FROM queries;
SELECT count(*) FROM counts;
SELECT es_run_projection('counts', 0), es_run_projection('counts', 7), es_run_projection('counts', 1), (SELECT sum(n) FROM counts);
SELECT name, mode, state, lag, lag_seconds > 0, events_applied FROM eventstore.projection_status WHERE name IN ('counts', 'sums') ORDER BY name;
SELECT count(es_run_projection(name, 3)), count(es_run_projection(name, 40)) FROM queries;
SELECT count(es_run_projection(name)) FROM queries;
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
SELECT es_run_projection('counts');
CALL add_history(10);
SELECT count(es_run_projection(name)) FROM queries;
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
SELECT DISTINCT mode, state, lag, lag_seconds, position = es_head() AS at_head, events_applied = (SELECT count(*) FROM eventstore.events) AS all_applied FROM eventstore.projection_status;
SELECT es_wait_projection('counts', es_head()), es_wait_projection('counts', es_head() + 1, '30 ms');
SELECT count(es_drop_projection(name, true)) FROM queries;

-- Filters: what does not pass is not seen, and moves the checkpoint all the same
SELECT es_create_projection('part', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', categories => '{account,cart}', types => '{Opened,Deposited}');
SELECT es_create_projection('part_async', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async', '{account}', '{Opened,Deposited}');
SELECT es_create_projection('one_category', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async', '{account}');
SELECT es_run_projection('part_async', 5), es_run_projection('part_async') = (SELECT count(*) - 5 FROM events WHERE category = 'account' AND type IN ('Opened', 'Deposited')) AS rest;
SELECT es_run_projection('one_category', 5), es_run_projection('one_category') = (SELECT count(*) - 5 FROM events WHERE category = 'account') AS rest;
CALL add_history(9);
SELECT es_append('accountancy', 0, 'Opened', '{}'), es_append('account-x', 0, '[{"type": "Opened"}, {"type": "Other"}, {"type": "Deposited"}]');
SELECT es_run_projection('part_async') > 0, es_run_projection('one_category') > 0;
SELECT count(*) FROM ((TABLE part EXCEPT SELECT stream, count(*) FROM events WHERE category IN ('account', 'cart') AND type IN ('Opened', 'Deposited') GROUP BY stream)
	UNION ALL (SELECT stream, count(*) FROM events WHERE category IN ('account', 'cart') AND type IN ('Opened', 'Deposited') GROUP BY stream EXCEPT TABLE part)
	UNION ALL (TABLE part_async EXCEPT SELECT stream, n FROM part WHERE stream LIKE 'account-%') UNION ALL (SELECT stream, n FROM part WHERE stream LIKE 'account-%' EXCEPT TABLE part_async)
	UNION ALL (TABLE one_category EXCEPT SELECT stream, count(*) FROM events WHERE category = 'account' GROUP BY stream)) d;
SELECT name, lag, position = es_head() AS at_head FROM eventstore.projection_status ORDER BY name;
SELECT name, events_applied = CASE name WHEN 'part' THEN (SELECT sum(n) FROM part) WHEN 'part_async' THEN (SELECT sum(n) FROM part_async) ELSE (SELECT sum(n) FROM one_category) END AS applied FROM eventstore.projection_status ORDER BY name;
SELECT es_drop_projection('part', true), es_drop_projection('part_async', true), es_drop_projection('one_category', true);

-- Pause and resume: nothing is lost, nothing is applied twice
SELECT es_create_projection('counts', query), es_create_projection('async_counts', query, 'async') FROM queries WHERE name = 'counts';
SELECT es_pause_projection('counts'), es_pause_projection('async_counts');
SELECT es_pause_projection('counts');
CALL add_history(5);
SELECT es_run_projection('async_counts'), es_run_projection('counts');
SELECT differences('counts') > 0 AS behind, (SELECT count(*) FROM async_counts);
SELECT name, state, lag > 0 AS lags, events_applied = (SELECT coalesce(sum(n), 0) FROM counts) AS applied FROM eventstore.projection_status ORDER BY name;
SELECT es_wait_projection('counts', es_head(), '20 ms');
SELECT es_resume_projection('counts'), es_resume_projection('async_counts');
SELECT es_resume_projection('counts');
CALL add_history(5);
SELECT es_run_projection('async_counts') > 0, es_run_projection('counts');
SELECT differences('counts'), differences('async_counts'), es_wait_projection('counts', es_head(), '20 ms');
-- What this session appends it sees at once, before commit.
BEGIN;
SELECT es_append('account-1', -1, 'Deposited', '{}') > 0, es_wait_projection('counts', es_last_position(), '1 s'), es_wait_projection('async_counts', es_last_position(), '20 ms'), differences('counts');
ROLLBACK;
-- All in one transaction
BEGIN;
SELECT es_drop_projection('counts', true);
SELECT es_append('account-1', -1, 'Deposited', '{}') > 0;
SELECT es_create_projection('counts', query) FROM queries WHERE name = 'counts';
SELECT es_append('account-1', -1, 'Deposited', '{}') > 0, differences('counts');
SAVEPOINT x;
SELECT es_create_projection('more', query) FROM queries WHERE name = 'sums';
SELECT es_append('account-1', -1, 'Deposited', '{}') > 0, differences('counts'), differences('more');
ROLLBACK TO x;
SELECT es_append('account-1', -1, 'Deposited', '{}') > 0, differences('counts'), (SELECT count(*) FROM eventstore.projections);
SELECT es_pause_projection('counts');
SELECT es_append('account-1', -1, 'Deposited', '{}') > 0, differences('counts');
SELECT es_resume_projection('counts');
COMMIT;
SELECT differences('counts'), (SELECT DISTINCT events_applied = (SELECT count(*) FROM events) FROM eventstore.projection_status WHERE name = 'counts');
SELECT es_drop_projection('counts', true), es_drop_projection('async_counts', true);

-- Handlers, inline and async: every form; events in the order of position, each once
CREATE TABLE seen (nr bigint GENERATED ALWAYS AS IDENTITY, position bigint, stream text, event eventstore.event);
CREATE TABLE balances (stream text PRIMARY KEY, n bigint NOT NULL DEFAULT 0, last text);
CREATE TABLE marks (stream text PRIMARY KEY, n bigint);
CREATE FUNCTION note(event eventstore.event) RETURNS void LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO seen (position, stream, event) VALUES (event.position, event.stream, event); END $$;
SELECT es_create_projection('by_function', 'SELECT note(e) FROM events e', tables => '{seen}');
SELECT es_create_projection('by_upsert', 'INSERT INTO balances AS b (stream, n, last) SELECT stream, count(*), es_last(type, position) FROM events GROUP BY stream ON CONFLICT (stream) DO UPDATE SET n = b.n + excluded.n, last = excluded.last', tables => '{balances}');
SELECT es_create_projection('by_merge', 'MERGE INTO marks m USING (SELECT stream, count(*) AS n FROM events GROUP BY stream) e ON e.stream = m.stream WHEN MATCHED THEN UPDATE SET n = m.n + e.n WHEN NOT MATCHED THEN INSERT VALUES (e.stream, e.n)', 'async', tables => ARRAY['marks']::regclass[]);
CREATE TABLE gone (stream text PRIMARY KEY);
CREATE TABLE stages (stream text, version bigint, stage text);
SELECT es_create_projection('by_delete', 'WITH opened AS (INSERT INTO gone SELECT DISTINCT stream FROM events WHERE type = ''Opened'' ON CONFLICT DO NOTHING RETURNING stream), moved AS (INSERT INTO stages SELECT stream, version, type FROM events WHERE type <> ''Opened'' RETURNING 1)
	SELECT count(*) FROM opened, moved', 'async', tables => '{gone,stages}');
SELECT es_create_projection('update_by', 'UPDATE balances SET last = last || ''*'' FROM events e WHERE e.stream = balances.stream AND e.type = ''Closed''', types => '{Closed}');
SELECT es_create_projection('by_plain_delete', 'DELETE FROM gone USING events e WHERE e.stream = gone.stream', 'async', types => '{Closed}');
CALL add_history(6);
SELECT es_append('account-1', -1, '[{"type": "Opened"}, {"type": "Closed"}]') > 0, es_append('account-2', -1, 'Closed', '{}') > 0;
SELECT es_run_projection('by_merge') > 0, es_run_projection('by_delete') > 0, es_run_projection('by_plain_delete');
SELECT count(*) FROM seen FULL JOIN events e USING (position) WHERE seen.nr IS NULL OR e.position IS NULL OR seen.event IS DISTINCT FROM (e.position, e.stream, e.category, e.version, e.id, e.type, e.data, e.metadata, e.tags, e.recorded_at)::eventstore.event;
SELECT count(*) FROM (SELECT position > lag(position) OVER (ORDER BY nr) AS rises FROM seen) s WHERE NOT rises;
SELECT count(*) FROM balances b FULL JOIN (SELECT stream, count(*) AS n, es_last(type, position) || CASE WHEN bool_or(type = 'Closed') THEN '*' ELSE '' END AS last FROM events GROUP BY stream) e USING (stream) WHERE (b.n, b.last) IS DISTINCT FROM (e.n, e.last);
SELECT count(*) FROM marks m FULL JOIN (SELECT stream, count(*) AS n FROM events GROUP BY stream) e USING (stream) WHERE m.n IS DISTINCT FROM e.n;
SELECT (SELECT count(*) FROM gone) = (SELECT count(DISTINCT stream) FROM events WHERE type = 'Opened' AND stream NOT IN ('account-1', 'account-2')), (SELECT count(*) FROM stages) = (SELECT count(*) FROM events WHERE type <> 'Opened');
SELECT name, is_declared, tables, on_error FROM eventstore.projections ORDER BY name;
-- A trigger that changes what an event says: projections see what is stored.
CREATE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.type := 'Changed'; NEW.data := '{"changed": true}'; RETURN NEW; END $$;
CREATE TRIGGER change BEFORE INSERT ON eventstore.events FOR EACH ROW WHEN (NEW.type = 'Change') EXECUTE FUNCTION change();
SELECT es_create_projection('changed', 'SELECT type, count(*) AS n FROM events GROUP BY type', types => '{Changed}'), es_create_projection('unchanged', 'SELECT type, count(*) AS n FROM events GROUP BY type', types => '{Change}');
SELECT es_append('account-1', -1, 'Change', '{}') > 0;
SELECT (SELECT c FROM changed c), (SELECT count(*) FROM unchanged), (SELECT (event).data FROM seen ORDER BY nr DESC LIMIT 1);
DROP TRIGGER change ON eventstore.events;
SELECT es_drop_projection('changed', true), es_drop_projection('unchanged', true), es_drop_projection('by_function'), es_drop_projection('by_upsert'), es_drop_projection('by_merge'), es_drop_projection('by_delete'), es_drop_projection('update_by'), es_drop_projection('by_plain_delete');
SELECT count(*) FROM eventstore.projections;

-- Errors inline: SE006 with all there is to know, nothing stored, the session goes on.
\set VERBOSITY default
SELECT es_create_projection('ratio', 'SELECT stream, sum(1 / (data->>''n'')::int) AS n FROM events WHERE data ? ''n'' GROUP BY stream');
BEGIN;
SELECT es_append('error-1', 0, 'Fine', '{"n": 1}');
SAVEPOINT x;
DO $$
DECLARE
	d text; h text; m text; c text;
BEGIN
	PERFORM es_append('error-1', 1, 'Wrong', '{"n": 0}');
EXCEPTION WHEN SQLSTATE 'SE006' THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RAISE NOTICE '% / % / %', m, replace(d, (SELECT last_value::text FROM eventstore.positions), '<position>'), h;
END $$;
SELECT es_append('error-1', 1, 'Fine', '{"n": 1}');
COMMIT;
TABLE ratio;
\set VERBOSITY terse
-- A key that is null
SELECT es_create_projection('null_key', 'SELECT data->>''key'' AS key, count(*) AS n FROM events WHERE category = ''nulls'' GROUP BY data->>''key''');
SELECT es_append('nulls-1', 0, 'Has', '{"key": "k"}');
SELECT es_append('nulls-1', 1, 'Has not', '{}');
SELECT * FROM null_key ORDER BY key;
-- History that can not be applied: nothing is made.
SELECT es_append('wrong-1', 0, '[{"type": "Number", "data": "1"}, {"type": "Number", "data": "x"}, {"type": "Number", "data": "2"}]');
\set VERBOSITY sqlstate
SELECT es_create_projection('numbers', 'SELECT category, sum((data #>> ''{}'')::int) AS n FROM events WHERE type = ''Number'' GROUP BY category');
\set VERBOSITY terse
SELECT to_regclass('numbers'), count(*) FROM eventstore.projections WHERE name = 'numbers';
-- Nor is anything left in the session's memory.
CREATE FUNCTION fail() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM es_create_projection('numbers', 'SELECT category, sum((data #>> ''{}'')::int) AS n FROM events WHERE type = ''Number'' GROUP BY category');
EXCEPTION WHEN OTHERS THEN
	NULL;
END $$;
SELECT fail();
SELECT count(*) AS before FROM pg_backend_memory_contexts WHERE name LIKE 'CachedPlan%' \gset
SELECT count(fail()) FROM generate_series(1, 20);
SELECT count(*) - :before < 10 AS flat FROM pg_backend_memory_contexts WHERE name LIKE 'CachedPlan%';
-- The read table is gone: a hint says what to do.
DROP TABLE null_key;
\set VERBOSITY default
DO $$
DECLARE
	d text; h text;
BEGIN
	PERFORM es_append('nulls-1', -1, 'Has', '{"key": "k"}');
EXCEPTION WHEN SQLSTATE 'SE006' THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RAISE NOTICE '% / %', regexp_replace(d, '\d+', 'N'), h;
END $$;
\set VERBOSITY terse
SELECT es_drop_projection('null_key');
SELECT es_append('nulls-1', -1, 'Has', '{"key": "k"}');

-- Errors async: stop before the event, keep everything before it; or skip it
SELECT es_create_projection('stops', 'SELECT category, sum((data #>> ''{}'')::int) AS n FROM events GROUP BY category', 'async', types => '{Number}'),
	   es_create_projection('skips', 'SELECT category, sum((data #>> ''{}'')::int) AS n FROM events GROUP BY category', 'async', types => '{Number}', on_error => 'skip');
CREATE TABLE numbers (position bigint PRIMARY KEY, n int);
SELECT es_create_projection('handler_skips', 'INSERT INTO numbers SELECT position, (data #>> ''{}'')::int FROM events', 'async', types => '{Number}', tables => '{numbers}', on_error => 'skip');
SELECT es_append('wrong-2', 0, ARRAY_FILL('Number'::text, ARRAY[20]), (SELECT array_agg(CASE WHEN i IN (3, 4, 17) THEN '"y"' ELSE to_jsonb(i) END ORDER BY i) FROM generate_series(1, 20) i));
SET client_min_messages = error;
SELECT es_run_projection('stops'), es_run_projection('skips'), es_run_projection('handler_skips');
SELECT es_run_projection('stops');
RESET client_min_messages;
SELECT p.name, state, lag, events_applied, last_error, last_error_code, stream, version, last_error_at > now() - interval '1 h' AS lately, p.position = e.position - 1 AS is_before FROM eventstore.projection_status p LEFT JOIN events e ON e.position = last_error_position WHERE name LIKE '%s%ps' ORDER BY name;
SELECT (SELECT t FROM stops t), (SELECT t FROM skips t), (SELECT (count(*), sum(n)) FROM numbers);
SELECT es_wait_projection('stops', es_head(), '20 ms'), es_wait_projection('skips', es_head(), '20 ms');
-- Trying again fails again; the next one is tried when it has been mended.
SET client_min_messages = error;
SELECT es_resume_projection('stops'), es_run_projection('stops');
RESET client_min_messages;
SELECT state, lag FROM eventstore.projection_status WHERE name = 'stops';
-- An error of the SQL itself would come up with every event: it is not skipped.
DROP TABLE numbers;
SELECT es_append('wrong-3', 0, 'Number', '5');
SET client_min_messages = error;
SELECT es_run_projection('handler_skips');
RESET client_min_messages;
SELECT state, lag, last_error, last_error_code FROM eventstore.projection_status WHERE name = 'handler_skips';
CREATE TABLE numbers (position bigint PRIMARY KEY, n int);
SELECT es_resume_projection('handler_skips'), es_run_projection('handler_skips');
SELECT state, lag, last_error FROM eventstore.projection_status WHERE name = 'handler_skips';
SELECT es_drop_projection(name) FROM eventstore.projections ORDER BY name;
DROP TABLE ratio, stops, skips;

-- What can not be kept is refused, and why.
CREATE TABLE other (category text);
CREATE FUNCTION fickle(text) RETURNS text LANGUAGE sql STABLE AS $$ SELECT max(category) FROM test_projections.other $$;
CREATE AGGREGATE text_list(text) (SFUNC = textcat, STYPE = text);
CREATE TABLE refused (nr int GENERATED ALWAYS AS IDENTITY, query text);
INSERT INTO refused (query) VALUES
	('SELECT category, count(*) AS n FROM events GROUP BY category HAVING count(*) > 1'), ('SELECT DISTINCT ON (category) category, type FROM events'), ('SELECT category, sum(DISTINCT version) AS n FROM events GROUP BY category'),
	('SELECT category, count(*) AS n FROM events GROUP BY category ORDER BY 1'), ('SELECT category, count(*) AS n FROM events GROUP BY category LIMIT 5'), ('SELECT category, count(*) AS n, rank() OVER (ORDER BY count(*)) AS r FROM events GROUP BY category'),
	('SELECT category, count(*) AS n FROM events GROUP BY category UNION SELECT category, 1 FROM events GROUP BY category'), ('SELECT category, type, count(*) AS n FROM events GROUP BY ROLLUP (category, type)'),
	('WITH RECURSIVE x AS (SELECT category FROM events UNION SELECT category FROM x) SELECT category, count(*) AS n FROM x GROUP BY category'), ('SELECT category, count(*) AS n FROM events JOIN other USING (category) GROUP BY category'),
	('SELECT category, count(*) AS n FROM events WHERE category IN (SELECT category FROM other) GROUP BY category'), ('SELECT a.category, count(*) AS n FROM events a, events b GROUP BY a.category'),
	('SELECT count(*) AS n FROM events'), ('SELECT count(*) AS n FROM events GROUP BY category'), ('SELECT count(*) AS n FROM events GROUP BY ()'), ('SELECT category, now() AS at, count(*) AS n FROM events GROUP BY category'),
	('SELECT category, max(now() - recorded_at) AS age FROM events GROUP BY category'), ('SELECT category, count(*) AS n FROM events WHERE recorded_at > current_timestamp GROUP BY category'), ('SELECT fickle(category) AS f, count(*) AS n FROM events GROUP BY 1'),
	('SELECT category, sum(random()::numeric) AS n FROM events GROUP BY category'), ('SELECT category, sum((data->>''x'')::float8) AS n FROM events GROUP BY category'), ('SELECT category, avg((data->>''x'')::real) AS n FROM events GROUP BY category'),
	('SELECT category, string_agg(type, stream ORDER BY position) AS n FROM events GROUP BY category'), ('SELECT category, array_agg(type) AS n FROM events GROUP BY category'), ('SELECT category, (array_agg(type ORDER BY type))[1] AS n FROM events GROUP BY category'),
	('SELECT category, array_agg(tags ORDER BY position) AS n FROM events GROUP BY category'), ('SELECT category, percentile_cont(0.5) WITHIN GROUP (ORDER BY version) AS n FROM events GROUP BY category'), ('SELECT category, stddev(version) AS n FROM events GROUP BY category'),
	('SELECT category, text_list(type) AS n FROM events GROUP BY category'), ('SELECT category, jsonb_object_agg(stream, type) AS n FROM events GROUP BY category'), ('SELECT category, jsonb_object_agg(stream, type ORDER BY position DESC) AS n FROM events GROUP BY category'),
	('SELECT category, es_last(type, point(version, 1)) AS n FROM events GROUP BY category'), ('SELECT category, count(*) FROM events RIGHT JOIN (VALUES (1)) v ON true GROUP BY category'), ('SELECT category, n.n, count(*) AS c FROM (SELECT category, count(*) AS n FROM events GROUP BY category) n GROUP BY 1, 2'),
	('SELECT category, array_agg(type ORDER BY position) AS n FROM (SELECT category, type, position + 0 AS position FROM events) e GROUP BY category'), ('SELECT category, array_agg(type ORDER BY e.position) AS t FROM (SELECT category, type FROM events) x, LATERAL (SELECT 1::bigint AS position) e GROUP BY category'),
	('SELECT item, es_last(type, position) AS n FROM events, jsonb_array_elements_text(data) AS item GROUP BY item'), ('SELECT category, jsonb_object_agg(item, type ORDER BY position) AS n FROM events, jsonb_array_elements_text(data) AS item GROUP BY category'),
	('SELECT category, count(*) AS n, GROUPING(category) AS g FROM events GROUP BY category'), ('SELECT j.stream, es_last(j.type, j.position) AS n FROM (events e CROSS JOIN (VALUES (1)) v) AS j GROUP BY j.stream'),
	('SELECT category, generate_series(1, 2) AS g, count(*) AS n FROM events GROUP BY category'), ('SELECT category || ''x'', count(*) AS n FROM events GROUP BY 1'), ('SELECT category, count(*) AS n, sum(version) AS n FROM events GROUP BY category'),
	('SELECT category, count(*) AS n FROM (SELECT DISTINCT category, type FROM events) e GROUP BY category'), ('SELECT stream, type FROM events'), ('SELECT category, count(*) AS n FROM events GROUP BY category FOR UPDATE'),
	('SELECT category, colour, count(*) AS n FROM events GROUP BY category'), ('SELECT category, count(*) AS n FROM events'), ('SELECT category, count(*) AS n FROM eventstore.events GROUP BY category'), ('SELECT category, count(*) FROM evnets GROUP BY category'),
	('SELEC 1'), (''), ('SELECT 1; SELECT 2'), ('SELECT count(*) AS n FROM events WHERE version = $1'), ('INSERT INTO other SELECT 1, 2 FROM events'), ('INSERT INTO events SELECT * FROM events'), ('UPDATE other SET category = ''x'''), ('DELETE FROM nowhere USING events'),
	('CREATE TABLE t (a int)'), ('TRUNCATE other'), ('SELECT * INTO t FROM events'), ('SELECT point(1, 2) AS p, count(*) AS n FROM events GROUP BY 1'), ('SELECT data::json AS j, count(*) AS n FROM events GROUP BY 1'), ('SELECT ROW(category) AS r, count(*) AS n FROM events GROUP BY 1'), ('EXPLAIN SELECT * FROM events'), ('DO $x$ BEGIN END $x$');
CREATE FUNCTION reason(query text, OUT code text, OUT reason text) LANGUAGE plpgsql AS
$$
DECLARE
	detail text; message text;
BEGIN
	PERFORM es_create_projection('refused_one', query);
	reason := 'not refused';
	PERFORM es_drop_projection('refused_one');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL, message = MESSAGE_TEXT;
	reason := CASE WHEN code = '0A000' AND detail <> '' THEN detail ELSE message END;
END
$$;
SELECT query, code, reason FROM refused, reason(query) ORDER BY nr;
SELECT count(*) FROM eventstore.projections;

-- Arguments
SELECT es_create_projection(NULL, 'SELECT 1');
SELECT es_create_projection('x', NULL);
SELECT es_create_projection('', 'SELECT category, count(*) AS n FROM events GROUP BY category');
SELECT es_create_projection(repeat('x', 64), 'SELECT category, count(*) AS n FROM events GROUP BY category');
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category', NULL);
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category', 'Inline');
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category', categories => '{}');
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category', categories => '{a,NULL}');
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category', types => '{{a},{b}}');
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category', types => '[7:8]={a,b}');
SELECT es_drop_projection('x', true);
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category', tables => '{other}');
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', tables => '{events}');
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', tables => '{eventstore.streams}');
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', tables => ARRAY[0]::regclass[]);
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', tables => '{NULL}');
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', tables => '{pg_class}');
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', tables => '{other,refused,other}');
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', on_error => 'skip');
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', 'async', on_error => 'ignore');
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', 'async', on_error => NULL);
SELECT es_create_projection('other', 'SELECT category, count(*) AS n FROM events GROUP BY category');
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category', 'async');
SELECT es_create_projection('x', 'INSERT INTO other SELECT category FROM events', 'async');
SELECT es_run_projection(NULL);
SELECT es_run_projection('nowhere');
SELECT es_run_projection('x', -1);
SELECT es_pause_projection('nowhere');
SELECT es_resume_projection(NULL);
SELECT es_wait_projection('nowhere', 1);
SELECT es_wait_projection('x', NULL);
SELECT es_wait_projection('x', -1);
SELECT es_wait_projection('x', 1, NULL);
SELECT es_wait_projection('x', 1, '-1 s');
SELECT es_drop_projection('nowhere');
SELECT es_drop_projection('x', NULL);
SELECT es_drop_projection('x', true);
SELECT es_create_projection('h', 'INSERT INTO other SELECT category FROM events', 'async');
SELECT es_drop_projection('h', true);
SELECT to_regclass('other') IS NOT NULL AS is_there;
SET search_path = '';
SELECT public.es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category');
SET search_path = eventstore, public;
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category');
SET search_path = pg_temp, public;
CREATE TEMP TABLE mine (a int);
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category');
DROP TABLE mine;
SET search_path = test_projections, public;
BEGIN READ ONLY;
SELECT es_run_projection('x');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category');
ROLLBACK;

-- Names: a state table that is there already, names that are only told apart at their end
SELECT es_create_projection('p_state', 'SELECT category, count(*) AS n FROM events GROUP BY category', 'async'), es_create_projection('p', 'SELECT category, avg(version) AS n FROM events GROUP BY category', 'async');
SELECT es_create_projection(repeat('l', 62) || i, 'SELECT category, avg(version) AS n FROM events GROUP BY category') FROM generate_series(1, 3) i;
SELECT es_append('names-1', 0, 'T', '1'), es_run_projection('p') > 0;
SELECT name, tables FROM eventstore.projections WHERE name ~ '^[pl]' ORDER BY name;
SELECT count(es_drop_projection(name, true)) FROM eventstore.projections WHERE name ~ '^[pl]';

-- A projection's SQL changes no projections and runs none.
CREATE TABLE calls (call text);
INSERT INTO calls VALUES ('SELECT es_run_projection(''calls'')'), ('SELECT es_pause_projection(''calls'')'), ('SELECT es_resume_projection(''calls'')'), ('SELECT es_drop_projection(''calls'')'),
	('SELECT es_create_projection(''new'', ''SELECT category, count(*) AS n FROM events GROUP BY category'')');
CREATE FUNCTION call(call text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN EXECUTE call; RETURN 'done'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $$;
CREATE TABLE answers (call text, answer text);
SELECT es_create_projection('calls', 'INSERT INTO answers SELECT c.call, call(c.call) FROM events, calls c WHERE type = ''Call''', 'async');
SELECT es_append('names-1', 1, 'Call', '{}');
SELECT es_run_projection('calls') > 0;
SELECT answer, count(*) FROM answers GROUP BY answer;
SELECT es_drop_projection('calls');

-- The aggregates by themselves
SELECT es_first(v, p), es_last(v, p), es_last(v, p) FILTER (WHERE p < 0) AS none FROM (VALUES ('b', 2), ('a', 1), (NULL, 3), ('z', NULL), ('c', 3)) x (v, p);
SELECT es_first(i, i), es_last(i, i), es_last(ARRAY[i, i], i), es_first(repeat('x', 5000) || i, i) = repeat('x', 5000) || 1 AS long FROM generate_series(1, 1000) i;

SET client_min_messages = warning;
DROP SCHEMA test_projections CASCADE;
DROP EXTENSION eventstore CASCADE;
