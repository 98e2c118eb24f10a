-- What an event does to a projection that can not be applied to it: the append fails, or goes through and the projection stops there, or it goes
-- on without that event; which then is left out by everything.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE SCHEMA test_errors;
SET search_path = test_errors, public;
\pset tuples_only on
\pset format unaligned
SELECT no_plan();

-- Positions are told by the types of the events, each of which is there once: 'a1' is the first event of stream a.
CREATE FUNCTION type_at(at bigint) RETURNS text LANGUAGE sql STABLE RETURN (SELECT type FROM eventstore.events WHERE position = at);
CREATE FUNCTION at(t text) RETURNS bigint LANGUAGE sql STABLE RETURN (SELECT position FROM eventstore.events WHERE type = t);
CREATE FUNCTION add(stream text, VARIADIC divisors int[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	version bigint := es_stream_version(stream);
BEGIN
	RETURN es_append(stream, version, (SELECT jsonb_agg(jsonb_build_object('type', replace(stream, '-', '') || version + nr, 'data', jsonb_build_object('by', by)) ORDER BY nr) FROM unnest(divisors) WITH ORDINALITY u (by, nr)));
END $$;
CREATE FUNCTION status(which text) RETURNS text LANGUAGE sql VOLATILE AS
	$$ SELECT concat_ws(' ', state, 'lag', lag, 'applied', events_applied, last_error_code, type_at(last_error_position)) FROM eventstore.projection_status WHERE name = which $$;
CREATE FUNCTION skipped(which text) RETURNS text LANGUAGE sql VOLATILE AS
	$$ SELECT coalesce(string_agg(concat_ws(' ', type_at(position), code, error, reason), ', ' ORDER BY position), 'none') FROM eventstore.skipped_events WHERE projection = which AND at IS NOT NULL $$;
CREATE FUNCTION rows(which text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT coalesce(string_agg(btrim(replace(r::text, '','', '':''), ''()''), '' '' ORDER BY r), ''none'') FROM %I r', which) INTO result;
	RETURN result;
END $$;
CREATE FUNCTION differences(which text) RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT count(*) FROM es_verify_projection(which) $$;
-- The error, with everything that it says.
CREATE FUNCTION error_of(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	m text; d text; h text; c text;
BEGIN
	EXECUTE call;
	RETURN 'none';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT, c = PG_EXCEPTION_CONTEXT;
	RETURN regexp_replace(concat_ws(E'\n', SQLSTATE, m, nullif(d, ''), nullif(h, '')), 'position \d+|, \d+\)', '<position>', 'g')
		|| CASE WHEN c ~ 'es_copy|ON CONFLICT|merged' THEN E'\nits context shows SQL: ' || c ELSE '' END;
END $$;

-- -- Inline, on_error => 'stop' --------------------------------------------------------------------------------------------

CREATE TABLE divided (type text PRIMARY KEY, q int);
SELECT es_create_projection('divided', $$INSERT INTO divided SELECT type, 12 / (data->>'by')::int FROM events$$, tables => '{divided}', on_error => 'stop');
SELECT es_create_projection('sums', $$SELECT stream, sum(12 / (data->>'by')::int) AS q FROM events GROUP BY stream$$, on_error => 'stop');
SELECT es_create_projection('all', $$SELECT stream, count(*) AS n FROM events GROUP BY stream$$);
SELECT is(add('a', 1, 2), 2::bigint, 'an append');
SELECT is(status('divided'), 'running lag 0 applied 2', 'runs');
SELECT is(add('a', 3, 0, 4), 5::bigint, 'an append with an event that can not be applied goes through');
SELECT is(rows('divided'), 'a1:12 a2:6 a3:4', 'what is before the event is applied, of a handler');
SELECT is(rows('sums'), 'a:22', 'and of a declared table');
SELECT is(status('divided'), 'failed lag 2 applied 3 22012 a4', 'status tells where it has stopped');
SELECT is(status('sums'), 'failed lag 2 applied 3 22012 a4', 'of both');
SELECT is((SELECT n FROM "all"), 5::bigint, 'others go on');
SELECT is(add('b', 1), 1::bigint, 'the next append');
SELECT is(rows('divided'), 'a1:12 a2:6 a3:4', 'is not applied');
SELECT is(status('divided'), 'failed lag 3 applied 3 22012 a4', 'it lags');
SELECT is(differences('divided') + differences('sums'), 0::bigint, 'it is right as far as it goes');
SELECT is(position, at('a4') - 1, 'its position is before the event') FROM eventstore.projection_status WHERE name = 'divided';
SELECT ok(es_wait_projection('divided', at('a3'), '0'), 'a wait for what is before the event');
SELECT ok(NOT es_wait_projection('divided', at('b1'), '0'), 'and for what is behind it');
SELECT is(error_of(format('SELECT es_projection_as_of(%L, %L, %s)', 'divided', 'then', at('a3'))), 'none', 'as of before the event');
SELECT is(rows('then'), 'a1:12 a2:6 a3:4', 'as it was');
-- Tried again: the same
SET client_min_messages = error;
SELECT es_resume_projection('divided');
RESET client_min_messages;
SELECT is(status('divided'), 'failed lag 3 applied 3 22012 a4', 'resumed: it stops there again');
-- Which event can be skipped
SELECT is(error_of(format('SELECT es_skip_event(%L, %s)', 'divided', at('a2'))), E'55000\nprojection "divided" has been applied to the event at <position>', 'one that was applied');
SELECT is(error_of(format('SELECT es_skip_event(%L, %s)', 'divided', at('b1') + 1000)), E'22023\nprojection "divided" has no event at <position>', 'one that is not there');
SELECT is(error_of($$SELECT es_skip_event('divided', NULL)$$), E'22004\nposition must not be null', 'null');
SELECT is(error_of($$SELECT es_skip_event('divided', 0)$$), E'22023\nposition must be positive', 'zero');
SELECT is(error_of($$SELECT es_skip_event('nowhere', 1)$$), E'42704\nprojection "nowhere" does not exist', 'no projection');
SELECT is(error_of(format('SELECT es_skip_event(%L, %s)', 'all', at('a4'))), E'55000\nprojection "all" has been applied to the event at <position>', 'one that has not stopped');
-- It goes on without it.
SELECT es_skip_event('divided', at('a4'), 'nobody divides by zero'), es_skip_event('sums', at('a4'));
SELECT is(status('divided'), 'running lag 0 applied 5 22012 a4', 'it runs');
SELECT is(status('sums'), 'running lag 0 applied 5 22012 a4', 'both do');
SELECT is(rows('divided'), 'a1:12 a2:6 a3:4 a5:3 b1:12', 'it has been applied to all others');
SELECT is(rows('sums'), 'a:25 b:12', 'both have');
SELECT is(skipped('divided'), 'a4 22012 division by zero nobody divides by zero', 'what was skipped stands there, and why');
SELECT is(skipped('sums'), 'a4 22012 division by zero', 'without a reason, too');
SELECT is(error_of(format('SELECT es_skip_event(%L, %s)', 'divided', at('a4'))), E'42710\nprojection "divided" skips the event at <position> already', 'twice');
SELECT is(add('b', 2, 3), 3::bigint, 'appends');
SELECT is(rows('sums'), 'a:25 b:22', 'apply it again');
SELECT is(status('divided'), 'running lag 0 applied 7 22012 a4', 'and count');
SELECT is(differences('divided') + differences('sums'), 0::bigint, 'verify leaves the event out');
SELECT is(es_rebuild_projection('divided') + es_rebuild_projection('sums'), 14::bigint, 'a rebuild leaves it out');
SELECT is(status('divided'), 'running lag 0 applied 7 22012 a4', 'and counts');
SELECT is(es_projection_as_of('divided', 'then_divided') + es_projection_as_of('sums', 'then_sums'), 14::bigint, 'as_of leaves it out');
SELECT is(rows('then_divided') || rows('then_sums'), rows('divided') || rows('sums'), 'and is the same');

-- Two that can not be applied: one after the other. And it stands at the first.
SELECT add('c', 1, 0, 2, 0, 3);
SELECT is(status('divided'), 'failed lag 4 applied 8 22012 c2', 'stopped at the first of two');
SET client_min_messages = error;
SELECT es_skip_event('divided', at('c4'), 'in advance');
SELECT is(status('divided'), 'failed lag 3 applied 8 22012 c2', 'the second one skipped: it stands at the first');
SELECT es_skip_event('divided', at('c2')), es_skip_event('sums', at('c2'));
RESET client_min_messages;
SELECT is(status('divided'), 'running lag 0 applied 10 22012 c2', 'the first one, too: it goes on to the end');
SELECT is(status('sums'), 'failed lag 2 applied 9 22012 c4', 'the other goes on to the second');
SELECT is(rows('sums'), 'a:25 b:22 c:18', 'and has what lies between');
SELECT is(skipped('divided'), 'a4 22012 division by zero nobody divides by zero, c2 22012 division by zero, c4 in advance', 'skipped in advance: without an error');
-- Paused and resumed while it has stopped: nothing is lost, nothing is applied twice.
SELECT es_pause_projection('sums');
SELECT is(status('sums'), 'paused lag 2 applied 9 22012 c4', 'paused: what it has missed is not forgotten');
SELECT is(add('d', 6), 1::bigint, 'an append meanwhile');
SELECT is(status('sums'), 'paused lag 3 applied 9 22012 c4', 'more that it lags');
SELECT is(differences('sums'), 0::bigint, 'right as far as it goes');
SET client_min_messages = error;
SELECT es_resume_projection('sums');
RESET client_min_messages;
SELECT is(status('sums'), 'failed lag 3 applied 9 22012 c4', 'resumed: it stops again');
SELECT is(add('d', 4), 2::bigint, 'an append');
SELECT is(status('sums'), 'failed lag 4 applied 9 22012 c4', 'which it misses');
SELECT is(differences('sums'), 0::bigint, 'right as far as it goes');
SELECT es_skip_event('sums', at('c4'));
SELECT is(status('sums'), 'running lag 0 applied 12 22012 c4', 'skipped: it goes on');
SELECT is(rows('sums'), 'a:25 b:22 c:22 d:5', 'with everything else, once');
SELECT is(differences('sums'), 0::bigint, 'right');
-- A rebuild of one that has stopped
SELECT add('e', 0, 1);
SELECT is(status('sums'), 'failed lag 2 applied 12 22012 e1', 'stopped once more');
SELECT is(error_of($$SELECT es_rebuild_projection('sums')$$), E'SE006\nprojection "sums" failed\nProjection "sums", <position>: 22012: division by zero\nMend the projection''s SQL or tables, or leave the event out: es_skip_event(''sums''<position>.', 'a rebuild comes to the same event');
CREATE OR REPLACE FUNCTION divide(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a / nullif(b, 0);
SELECT es_create_projection('mended', $$SELECT stream, sum(divide(12, (data->>'by')::int)) AS q FROM events GROUP BY stream$$, on_error => 'stop');
CREATE OR REPLACE FUNCTION divide(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a / b;
SET client_min_messages = error;
SELECT add('f', 1, 0, 2);
RESET client_min_messages;
SELECT is(status('mended'), 'failed lag 2 applied 18 22012 f2', 'a function that fails');
CREATE OR REPLACE FUNCTION divide(a int, b int) RETURNS int LANGUAGE sql IMMUTABLE RETURN a / nullif(b, 0);
SELECT is(es_rebuild_projection('mended'), 20::bigint, 'mended, and rebuilt');
SELECT is(status('mended'), 'running lag 0 applied 20 22012 f2', 'it runs');
SELECT add('f', 1);
SELECT is(differences('mended'), 0::bigint, 'and is right');
-- In one transaction, with savepoints
SET client_min_messages = error;
SELECT es_skip_event('divided', at('e1')), es_skip_event('divided', at('f2'));
BEGIN;
SELECT add('g', 1);
SAVEPOINT x;
SELECT add('g', 0, 1), add('g', 1);
SELECT is(rows('divided') LIKE '%g1%' AND rows('divided') NOT LIKE '%g3%' AND rows('divided') NOT LIKE '%g4%', true, 'stopped within a transaction: for the rest of it, too');
ROLLBACK TO x;
SELECT add('g', 2);
SELECT is(rows('divided') LIKE '%g1%g2%', true, 'rolled back: it has not stopped');
COMMIT;
SELECT is(status('divided') LIKE 'running lag 0 %', true, 'nor has it later');
SELECT es_drop_projection(name, name <> 'divided') FROM eventstore.projections WHERE name <> 'all';
SELECT is((SELECT count(*) FROM eventstore.skipped_events) + (SELECT count(*) FROM eventstore.projection_missed), 0::bigint, 'dropped: the notes go with it');
RESET client_min_messages;

-- Made on a store with events that can not be applied
TRUNCATE divided;
SET client_min_messages = error;
SELECT es_create_projection('divided', $$INSERT INTO divided SELECT type, 12 / (data->>'by')::int FROM events$$, tables => '{divided}', on_error => 'stop', categories => '{a,b}');
RESET client_min_messages;
SELECT is(status('divided'), 'failed lag 5 applied 3 22012 a4', 'it is there, and has stopped');
SELECT add('a', 1);
SELECT is(status('divided'), 'failed lag 6 applied 3 22012 a4', 'appends do not apply it');
SELECT es_skip_event('divided', at('a4'));
SELECT is(status('divided'), 'running lag 0 applied 8 22012 a4', 'skipped: it runs');
SELECT is(differences('divided'), 0::bigint, 'and is right');
SELECT es_drop_projection('divided');

-- -- Inline, on_error => 'fail' --------------------------------------------------------------------------------------------

TRUNCATE divided;
SELECT es_create_projection('divided', $$INSERT INTO divided SELECT type, 12 / (data->>'by')::int FROM events$$, tables => '{divided}', categories => '{h}');
SELECT matches(error_of($$SELECT add('h', 1, 0)$$), 'SE006\nprojection "divided" failed\nProjection "divided", .*22012: division by zero\nTo let appends go on meanwhile, es_pause_projection\(''divided''\)', 'the hint names the way out');
SELECT es_pause_projection('divided');
SELECT add('h', 1, 0, 2);
SELECT is(error_of($$SELECT es_resume_projection('divided')$$), E'SE006\nprojection "divided" failed\nProjection "divided", <position>: 22012: division by zero\nMend the projection''s SQL or tables, or leave the event out: es_skip_event(''divided''<position>.', 'resumed: it fails');
SELECT is(status('divided'), 'paused lag 3 applied 0', 'and stays paused');
SELECT es_skip_event('divided', at('h2'), 'a mistake');
SELECT is(status('divided'), 'paused lag 2 applied 0', 'skipped: it stays paused');
SELECT es_resume_projection('divided');
SELECT is(status('divided'), 'running lag 0 applied 2', 'and can be resumed');
SELECT is(skipped('divided'), 'h2 a mistake', 'what was skipped stands there');
SELECT is(differences('divided'), 0::bigint, 'right');
SELECT es_drop_projection('divided');

-- -- Async -----------------------------------------------------------------------------------------------------------------

TRUNCATE divided;
SELECT es_create_projection('divided', $$INSERT INTO divided SELECT type, 12 / (data->>'by')::int FROM events$$, 'async', tables => '{divided}', categories => '{h}', on_error => 'stop');
SELECT es_create_projection('sums', $$SELECT stream, sum(12 / (data->>'by')::int) AS q FROM events GROUP BY stream$$, 'async', categories => '{h}', on_error => 'skip');
SET client_min_messages = error;
SELECT es_run_projection('divided'), es_run_projection('sums');
SELECT is(status('divided'), 'failed lag 2 applied 1 22012 h2', 'stop');
SELECT is(status('sums'), 'running lag 0 applied 2 22012 h2', 'skip');
SELECT is(skipped('sums'), 'h2 22012 division by zero', 'what was skipped stands there');
SELECT is(rows('sums'), 'h:18', 'it has everything else');
SELECT is(differences('sums') + differences('divided'), 0::bigint, 'verify leaves it out');
SELECT is(es_rebuild_projection('sums'), 2::bigint, 'so does a rebuild');
SELECT is(es_projection_as_of('sums', 'then_async'), 2::bigint, 'and as_of');
SELECT es_skip_event('divided', at('h2'), 'not this one');
SELECT is(status('divided'), 'running lag 1 applied 1 22012 h2', 'skipped: it runs');
SELECT is(es_run_projection('divided'), 1::bigint, 'it goes on behind the event');
SELECT is(skipped('divided'), 'h2 22012 division by zero not this one', 'with the error, and the reason');
SELECT add('h', 0, 1);
SELECT es_skip_event('divided', at('h4'));
SELECT is(es_run_projection('divided'), 1::bigint, 'one that was not tried yet can be skipped, too');
SELECT is(status('divided'), 'running lag 0 applied 3 22012 h2', 'and causes no error');
-- A rebuild skips what can not be applied, and says so.
DELETE FROM eventstore.skipped_events WHERE projection = 'sums';
SELECT is(es_rebuild_projection('sums'), 3::bigint, 'a rebuild of one to skip');
SELECT is(skipped('sums'), 'h2 22012 division by zero, h4 22012 division by zero', 'notes what it has skipped');
SELECT is(differences('sums'), 0::bigint, 'verify agrees');
RESET client_min_messages;
SELECT es_drop_projection('divided'), es_drop_projection('sums', true);
SELECT is((SELECT count(*) FROM eventstore.skipped_events), 0::bigint, 'dropped: the notes go with it');

-- -- Whose it is -----------------------------------------------------------------------------------------------------------

SET client_min_messages = error;
DROP ROLE IF EXISTS regress_es_alice, regress_es_bob;
CREATE ROLE regress_es_alice;
CREATE ROLE regress_es_bob;
GRANT USAGE, CREATE ON SCHEMA test_errors TO regress_es_alice, regress_es_bob;
GRANT ALL ON ALL TABLES IN SCHEMA test_errors TO regress_es_alice, regress_es_bob;
SELECT es_grant('regress_es_alice', 'admin'), es_grant('regress_es_bob', 'admin');
CREATE ROLE regress_es_appender;
SELECT es_grant('regress_es_appender', 'append');
GRANT USAGE ON SCHEMA test_errors TO regress_es_appender;
SET ROLE regress_es_alice;
SELECT es_create_projection('hers', $$SELECT stream, sum(12 / (data->>'by')::int) AS q FROM events GROUP BY stream$$, categories => '{i}', on_error => 'stop');
SET ROLE regress_es_appender;
SELECT is(add('i', 1, 0), 2::bigint, 'who appends needs no right to let it stop');
RESET ROLE;
SET ROLE regress_es_bob;
SELECT is(error_of($$SELECT es_skip_event('hers', at('i2'))$$), E'42501\nmust be owner of projection "hers"', 'not by another role');
RESET ROLE;
SET ROLE regress_es_alice;
SELECT es_skip_event('hers', at('i2'));
SELECT is(status('hers'), 'running lag 0 applied 1 22012 i2', 'by its owner');
RESET ROLE;
SELECT es_drop_projection('hers', true);
SELECT es_revoke('regress_es_alice', 'admin'), es_revoke('regress_es_bob', 'admin'), es_revoke('regress_es_appender', 'append');
DROP OWNED BY regress_es_alice, regress_es_bob, regress_es_appender;
DROP ROLE regress_es_alice, regress_es_bob, regress_es_appender;
RESET client_min_messages;

-- -- What messages show ----------------------------------------------------------------------------------------------------

SELECT es_create_projection('gone', $$SELECT stream, count(*) AS n, avg(version) AS mean FROM events GROUP BY stream$$);
SELECT es_create_projection('gone_async', $$SELECT stream, count(*) AS n FROM events GROUP BY stream$$, 'async');
ALTER TABLE gone DROP COLUMN n;
ALTER TABLE gone_async DROP COLUMN n;
SELECT matches(error_of($$SELECT add('k', 1)$$), E'^SE006\nprojection "gone" failed\nProjection "gone", <position>: 42703: column "n" of the read table is gone\nes_replace_projection[^\n]*$', 'an append');
SELECT is(error_of(format('SELECT %s(%L)', f, 'gone')), E'42703\ncolumn "n" of the read table is gone\nProjection "gone" keeps the columns of its query.\nes_replace_projection with the same query adds it again, one with another does without it.', f) FROM unnest('{es_rebuild_projection,es_verify_projection}'::text[]) f;
SET client_min_messages = error;
SELECT es_run_projection('gone_async');
SELECT is(last_error, 'column "n" of the read table is gone', 'a run') FROM eventstore.projection_status WHERE name = 'gone_async';
RESET client_min_messages;
SELECT es_pause_projection('gone');
SELECT add('k', 1, 0);
SELECT matches(error_of($$SELECT es_resume_projection('gone')$$), E'^SE006\nprojection "gone" failed\nProjection "gone", <position>: 42703: column "n" of the read table is gone\nMend[^\n]*$', 'a resume');
SELECT es_drop_projection('gone', true), es_drop_projection('gone_async', true);
SELECT es_create_projection('raw', $$SELECT stream, sum(12 / (data->>'by')::int) AS q FROM events GROUP BY stream$$, 'async', categories => '{a,k}');
SET client_min_messages = error;
SELECT es_run_projection('raw');
SELECT is(error_of(format('SELECT es_projection_as_of(%L, %L)', 'raw', 'then_raw')), E'22012\ndivision by zero', 'as of');
RESET client_min_messages;

-- -- Arguments -------------------------------------------------------------------------------------------------------------

SELECT is(error_of($$SELECT es_create_projection('x', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', on_error => 'skip')$$), E'22023\nunknown on_error of an inline projection "skip"\nIt is "fail" or "stop".', 'on_error of an inline one');
SELECT is(error_of($$SELECT es_create_projection('x', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async', on_error => 'ignore')$$), E'22023\nunknown on_error of an async projection "ignore"\nIt is "skip" or "stop".', 'on_error of an async one');

SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_errors CASCADE;
