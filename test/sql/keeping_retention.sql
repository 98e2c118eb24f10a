-- es_set_retention, es_apply_retention: how long events are kept, by age and by number.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_retention;
SET search_path = test_retention, public;

CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
	detail text;
BEGIN
	EXECUTE call INTO result;
	RETURN result;
EXCEPTION
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RETURN rtrim(SQLSTATE || ' ' || SQLERRM || ' ' || detail);
END
$$;
-- Events of versions 1 to last; those up to old as if they had been recorded two days ago.
CREATE FUNCTION fill(name text, last int, old int DEFAULT 0) RETURNS void LANGUAGE plpgsql SET eventstore.restoring = on AS
$$
BEGIN
	IF old > 0 THEN
		INSERT INTO eventstore.events
		SELECT nextval('eventstore.positions'), name, split_part(name, '-', 1), v, gen_random_uuid(), 'Kept', '{}', NULL, NULL, now() - interval '2 days' FROM generate_series(1, old) v;
		INSERT INTO eventstore.streams VALUES (name, old, now() - interval '2 days', false);
		PERFORM es_repair_positions();
	END IF;
	PERFORM es_append(name, -1, 'Kept', '{}') FROM generate_series(old + 1, last);
END
$$;
CREATE FUNCTION kept() RETURNS text LANGUAGE sql RETURN
	(SELECT string_agg(stream || ':' || versions, ' ' ORDER BY stream) FROM (SELECT stream, string_agg(version::text, ',' ORDER BY version) AS versions FROM eventstore.events WHERE category ~ '^ret' GROUP BY stream) e);

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

SELECT is(es_apply_retention(), 0::bigint, 'without a rule everything is kept');
SELECT fill('ret-a', 5), fill('ret-b', 2), fill('ret-c', 4, 3), fill('ret', 4), fill('ret!x-1', 4), fill('ret.y-1', 4), fill('retz-1', 4), fill('ret-old', 3, 3);
SELECT es_set_retention('ret', max_count => 3);
SELECT is(es_apply_retention(), 4::bigint, 'a category, by number: of each of its streams');
SELECT is(kept(), 'ret:2,3,4 ret!x-1:1,2,3,4 ret-a:3,4,5 ret-b:1,2 ret-c:2,3,4 ret-old:1,2,3 ret.y-1:1,2,3,4 retz-1:1,2,3,4', 'the last ones are kept, of this category only');
SELECT is(es_apply_retention(), 0::bigint, 'once more: nothing to do');
SELECT es_set_retention('ret', interval '1 day');
SELECT is(es_apply_retention(), 5::bigint, 'by age, which takes the place of the number');
SELECT is(kept(), 'ret:2,3,4 ret!x-1:1,2,3,4 ret-a:3,4,5 ret-b:1,2 ret-c:4 ret.y-1:1,2,3,4 retz-1:1,2,3,4', 'what is too old is gone, of a stream maybe all');
SELECT is(es_stream_version('ret-old'), 3::bigint, 'its version is not');
SELECT is(es_append('ret-old', 0, 'Kept', '{}'), 4::bigint, 'nor is it used again');
SELECT es_set_retention('ret', interval '1 day', 2);
SELECT is(es_apply_retention(), 2::bigint, 'both: whichever says that it is gone');
SELECT is(kept(), 'ret:3,4 ret!x-1:1,2,3,4 ret-a:4,5 ret-b:1,2 ret-c:4 ret-old:4 ret.y-1:1,2,3,4 retz-1:1,2,3,4', 'indeed');
SELECT es_set_retention('ret-a', max_count => 10);
SELECT es_append('ret-a', -1, '[{"type": "Kept"}, {"type": "Kept"}]'), es_append('ret-b', -1, '[{"type": "Kept"}]');
SELECT is(es_apply_retention(), 1::bigint, 'a stream with a rule of its own');
SELECT is(kept(), 'ret:3,4 ret!x-1:1,2,3,4 ret-a:4,5,6,7 ret-b:2,3 ret-c:4 ret-old:4 ret.y-1:1,2,3,4 retz-1:1,2,3,4', 'has none of its category''s');
SELECT es_set_retention('ret-a', max_count => 1);
SELECT is(es_apply_retention(), 3::bigint, 'and its own');
SELECT is((SELECT array_agg((name, max_age = interval '1 day', max_count, events_gone)::text ORDER BY name) FROM eventstore.retention), '{"(ret,t,2,12)","(ret-a,,1,3)"}', 'what the rules are, and what came of them');
SELECT is((SELECT count(*) FROM eventstore.retention WHERE applied_at BETWEEN now() - interval '1 hour' AND clock_timestamp()), 2::bigint, 'and when');
SELECT es_set_retention('ret-a'), es_set_retention('ret', NULL, NULL), es_set_retention('ret-none');
SELECT is((SELECT count(*) FROM eventstore.retention), 0::bigint, 'neither: no rule any more');
SELECT es_append('ret-a', -1, '[{"type": "Kept"}, {"type": "Kept"}]');
SELECT is(es_apply_retention(), 0::bigint, 'everything is kept again');
-- In many streams, more than fit into one step of the worker's
SELECT fill('retmany-' || lpad(n::text, 4, '0'), 2) FROM generate_series(1, 300) n;
SELECT es_set_retention('retmany', max_count => 1), es_set_retention('retz-1', interval '0');
SELECT is(es_apply_retention(), 304::bigint, 'many streams, and one of which nothing is young enough');
SELECT is((SELECT count(*) FROM eventstore.events WHERE category = 'retmany' AND version = 2), 300::bigint, 'the last event of each is left');
SELECT is((SELECT count(*) FROM eventstore.removed_events WHERE stream LIKE 'retmany-%'), 300::bigint, 'what is gone is on record');
SELECT es_set_retention('retmany'), es_set_retention('retz-1');
-- A category of which no stream begins with its name, the empty one, and one that there is not
SELECT fill('-1', 2);
SELECT es_set_retention('', max_count => 1), es_set_retention('ret-none', max_count => 1), es_set_retention('retnone', interval '1 hour');
SELECT is(es_apply_retention(), 1::bigint, 'the empty category');
SELECT es_set_retention(''), es_set_retention('ret-none'), es_set_retention('retnone');

-- What is wrong
SELECT is(attempt($$SELECT es_set_retention(NULL, max_count => 1)$$), '22004 stream_or_category must not be null', 'no name');
SELECT is(left(attempt($$SELECT es_set_retention(repeat('x', 513), max_count => 1)$$), 5), '54000', 'a name that is too long');
SELECT is(attempt($$SELECT es_set_retention('ret', interval '-1 day')$$), '22023 max_age must not be negative', 'a negative age');
SELECT is(attempt($$SELECT es_set_retention('ret', max_count => 0)$$), '22023 max_count must be positive', 'none is no number');
SELECT is(attempt($$SELECT es_set_retention('ret', max_count => -1)$$), '22023 max_count must be positive', 'nor is less');
SELECT is(left(attempt($$SELECT es_set_retention('ret', interval '300000 years')$$), 5), '22008', 'longer than times reach');
SELECT is((SELECT count(*) FROM eventstore.retention), 0::bigint, 'nothing of it counts');

-- Who may
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_es_appender, regress_es_admin;
CREATE ROLE regress_es_appender;
CREATE ROLE regress_es_admin;
RESET client_min_messages;
SELECT es_grant('regress_es_appender', 'append'), es_grant('regress_es_admin', 'admin');
GRANT USAGE ON SCHEMA test_retention TO regress_es_appender, regress_es_admin;
SET ROLE regress_es_appender;
SELECT is(left(attempt($$SELECT es_set_retention('ret', max_count => 1)$$), 5), '42501', 'not who appends');
SELECT is(left(attempt($$SELECT es_apply_retention()$$), 5), '42501', 'nor does he apply it');
SET ROLE regress_es_admin;
SELECT es_set_retention('ret', max_count => 1);
SELECT is(es_apply_retention(), 4::bigint, 'an admin may');
SELECT is((SELECT max_count FROM eventstore.retention), 1::bigint, 'and sees the rules');
RESET ROLE;
SELECT es_set_retention('ret');

SELECT * FROM finish();
SET client_min_messages = warning;
DROP OWNED BY regress_es_appender, regress_es_admin;
DROP ROLE regress_es_appender, regress_es_admin;
DROP SCHEMA test_retention CASCADE;
