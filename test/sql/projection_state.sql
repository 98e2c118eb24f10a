-- State projections: of each stream the state that a reducer folds from its events, whatever the reducer, however the events come. Each is
-- compared with an aggregate of the same reducer over the events that are stored.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
DROP ROLE IF EXISTS regress_es_alice, regress_es_bob, regress_es_appender;
CREATE SCHEMA test_states;
SET search_path = test_states, public;
\pset tuples_only on
\pset format unaligned
SELECT no_plan();

-- Tells any order from the right one, and what is left out or doubled
CREATE FUNCTION chain(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF event.type = 'Bad' THEN
		RAISE 'event at version % is bad', event.version USING ERRCODE = 'XX123';
	END IF;
	RETURN jsonb_build_object('n', coalesce((state ->> 'n')::int, 0) + 1, 'hash', md5(coalesce(state ->> 'hash', '') || to_jsonb(event)::text), 'begins', coalesce(state -> 'begins', state));
END $$;
CREATE AGGREGATE chained(eventstore.event) (SFUNC = chain, STYPE = jsonb, INITCOND = '{}');

-- How many rows a table with states has, and how many of them are wrong, missing or too many.
CREATE FUNCTION check_states(which regclass, aggregate text DEFAULT 'chained', condition text DEFAULT 'true') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT count(s.stream) || '' states, '' || count(*) FILTER (WHERE (s.version, s.state, s.recorded_at) IS DISTINCT FROM (e.version, e.state, e.recorded_at)) || '' wrong''
		FROM %s s FULL JOIN (SELECT stream, max(version) AS version, %s(ROW(e.*)::eventstore.event ORDER BY version) AS state, max(recorded_at) AS recorded_at
							 FROM eventstore.events e WHERE %s GROUP BY stream) e USING (stream)', which, aggregate, condition) INTO result;
	RETURN result;
END $$;
CREATE FUNCTION add(stream text, VARIADIC types text[]) RETURNS bigint LANGUAGE sql AS
	$$ SELECT es_append(stream, -1, (SELECT jsonb_agg(jsonb_build_object('type', t, 'data', jsonb_build_object('i', i))) FROM unnest(types) WITH ORDINALITY u (t, i))) $$;

-- -- However events come ---------------------------------------------------------------------------------------------------

-- On a store with history, and on what comes
SELECT count(add('s-' || i % 7, 'A', 'B')) FROM generate_series(1, 30) i;
SELECT es_create_state_projection('states', 'chain(jsonb, eventstore.event)');
SELECT is(check_states('states'), '7 states, 0 wrong', 'of the events that there were');
SELECT add('s-1', 'A'), add('s-1', 'A', 'B', 'C'), add('new-1', 'A', 'A'), add('new-2', 'A');
SELECT is(check_states('states'), '9 states, 0 wrong', 'of what comes, one at a time or many');
SELECT count(*) FROM es_append_streams((SELECT jsonb_agg(jsonb_build_object('stream', s, 'expected_version', -1, 'events', '[{"type": "A"}, {"type": "B"}]'::jsonb)) FROM unnest('{t-3,s-2,t-1,new-1}'::text[]) s));
SELECT is(check_states('states'), '11 states, 0 wrong', 'of several streams at once');
SELECT is(count(*), 0::bigint, 'es_fold gives the same') FROM states WHERE state IS DISTINCT FROM es_fold(stream, 'chain(jsonb, eventstore.event)');
SELECT attname, format_type(atttypid, atttypmod), attnotnull, collname FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = attcollation WHERE attrelid = 'states'::regclass AND attnum > 0 ORDER BY attnum;
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'states'::regclass;

-- In one transaction, and rolled back in part
BEGIN;
SELECT add('s-1', 'A'), add('s-1', 'B'), add('u-1', 'A');
SAVEPOINT s;
SELECT add('s-1', 'C'), add('u-1', 'C'), add('u-2', 'C');
ROLLBACK TO s;
SELECT add('s-1', 'D', 'D');
SELECT is(check_states('states'), '12 states, 0 wrong', 'in a transaction');
COMMIT;
SELECT is(check_states('states'), '12 states, 0 wrong', 'and after it');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT add('s-1', 'A'), add('v-1', 'B');
SELECT add('s-1', 'A'), add('v-1', 'B', 'C');
COMMIT;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT add('s-1', 'A'), add('v-1', 'B');
SELECT add('s-1', 'A'), add('v-1', 'B', 'C');
COMMIT;
SELECT is(check_states('states'), '13 states, 0 wrong', 'above READ COMMITTED');

-- Async, by and by; with filters, whose version is that of the last event that passes
SELECT es_create_state_projection('later', 'chain(jsonb, eventstore.event)', mode => 'async');
SELECT es_create_state_projection('filtered', 'chain(jsonb, eventstore.event)', '{}', 'inline', '{s,u}', '{B,D}');
SELECT es_create_state_projection('filtered_later', 'chain(jsonb, eventstore.event)', '{}', 'async', '{s}', '{C,D}');
SELECT es_run_projection('later', 1), es_run_projection('later', 2), es_run_projection('later', 17), es_run_projection('later'), es_run_projection('later'), es_run_projection('filtered_later');
SELECT is(check_states('later'), '13 states, 0 wrong', 'async');
SELECT is(check_states('filtered', condition => $$category IN ('s', 'u') AND type IN ('B', 'D')$$), '7 states, 0 wrong', 'filtered');
SELECT is(check_states('filtered_later', condition => $$category = 's' AND type IN ('C', 'D')$$), '1 states, 0 wrong', 'filtered, async');
SELECT add('s-1', 'A', 'B', 'E'), add('u-2', 'A', 'E'), add('u-3', 'D');
SELECT is(check_states('filtered', condition => $$category IN ('s', 'u') AND type IN ('B', 'D')$$), '8 states, 0 wrong', 'filtered, of what comes');
SELECT stream, version, (state ->> 'n')::int AS n FROM filtered WHERE stream IN ('s-1', 'u-3') ORDER BY stream;

-- States that take more than there is memory: some are written before the rest is folded.
SET work_mem = '64kB';
CREATE FUNCTION collect(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT state || jsonb_build_array(event.version, repeat(md5(event.id::text), 100)) $$;
CREATE AGGREGATE collected(eventstore.event) (SFUNC = collect, STYPE = jsonb, INITCOND = '[]');
SELECT es_create_state_projection('large', 'collect(jsonb, eventstore.event)', '[]', categories => '{s,big}');
SELECT es_create_state_projection('large_later', 'collect(jsonb, eventstore.event)', '[]', 'async', '{s,big}');
SELECT count(*) FROM es_append_streams((SELECT jsonb_agg(jsonb_build_object('stream', 'big-' || s, 'expected_version', -1, 'events', '[{"type": "A"}, {"type": "B"}, {"type": "C"}]'::jsonb)) FROM generate_series(1, 40) s));
SELECT es_run_projection('large_later');
SELECT is(check_states('large', 'collected', $$category IN ('s', 'big')$$), '47 states, 0 wrong', 'large states');
SELECT is(check_states('large_later', 'collected', $$category IN ('s', 'big')$$), '47 states, 0 wrong', 'large states, async');
SELECT count(*) AS differences FROM es_verify_projection('large');
RESET work_mem;
SELECT es_drop_projection('large', true), es_drop_projection('large_later', true), es_drop_projection('filtered_later', true);

-- -- Reducers --------------------------------------------------------------------------------------------------------------

-- A null state is a row; a strict reducer is not called for it. The initial state may be null.
CREATE FUNCTION nulls(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT CASE WHEN state IS NULL THEN jsonb_build_object('after_null', event.version) WHEN event.type <> 'Null' THEN state || event.data END $$;
CREATE FUNCTION nulls_strict(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql STRICT AS
	$$ SELECT CASE WHEN event.type <> 'Null' THEN state || event.data END $$;
SELECT es_create_state_projection('nulled', 'nulls(jsonb, eventstore.event)', categories => '{n}');
SELECT es_create_state_projection('nulled_strict', 'nulls_strict(jsonb, eventstore.event)', categories => '{n}');
SELECT es_create_state_projection('nulled_first', 'nulls(jsonb, eventstore.event)', NULL, categories => '{n}');
SELECT es_create_state_projection('nulled_ever', 'nulls_strict(jsonb, eventstore.event)', NULL, categories => '{n}');
SELECT add('n-1', 'A'), add('n-2', 'A', 'Null'), add('n-3', 'Null', 'A'), add('n-4', 'Null'), add('n-4', 'A', 'A'), add('n-5', 'A'), add('n-5', 'Null'), add('n-5', 'A');
SELECT f.stream, f.version, n.state, s.state AS strict, f.state AS first, e.state AS ever, bool_and(e.version = f.version AND s.version = f.version) OVER () AS versions
FROM nulled n JOIN nulled_strict s USING (stream) JOIN nulled_first f USING (stream) JOIN nulled_ever e USING (stream) ORDER BY stream;
SELECT is(count(*), 0::bigint, 'as es_fold has them') FROM nulled n JOIN nulled_strict s USING (stream) JOIN nulled_first f USING (stream)
WHERE (n.state, s.state, f.state) IS DISTINCT FROM
	  (es_fold(stream, 'nulls(jsonb, eventstore.event)'), es_fold(stream, 'nulls_strict(jsonb, eventstore.event)'), es_fold(stream, 'nulls(jsonb, eventstore.event)', NULL));
SELECT name, v.kind FROM eventstore.projections, es_verify_projection(name) v WHERE name LIKE 'nulled%';
SELECT es_drop_projection(name, true) FROM eventstore.projections WHERE name LIKE 'nulled%';

-- In C, one that returns what it is given, one with a body that is parsed already
CREATE FUNCTION strip(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE internal IMMUTABLE STRICT AS 'jsonb_strip_nulls';
CREATE FUNCTION keep(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE BEGIN ATOMIC SELECT state; END;
SELECT es_create_state_projection('stripped', 'strip(jsonb, eventstore.event)', '{"gone": null, "kept": 1}', categories => '{n}');
SELECT es_create_state_projection('kept', 'keep(jsonb, eventstore.event)', '{"gone": null, "kept": 1}', categories => '{n}');
SELECT add('n-9', 'A'), add('n-9', 'A', 'A');
SELECT s.version, s.state, k.state FROM stripped s JOIN kept k USING (stream) WHERE stream = 'n-9';
SELECT es_drop_projection('stripped', true), es_drop_projection('kept', true);

-- What is none, and why
CREATE FUNCTION too_few(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION other_event(jsonb, eventstore.events) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION other_result(jsonb, eventstore.event) RETURNS json LANGUAGE sql AS 'SELECT $1::json';
CREATE FUNCTION a_set(jsonb, eventstore.event) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE a_procedure(jsonb, eventstore.event) LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION pg_temp.mine(jsonb, eventstore.event) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE AGGREGATE counted(jsonb) (SFUNC = int8inc_any, STYPE = int8, INITCOND = '0');
SELECT es_create_state_projection('none', 'chained(eventstore.event)');
SELECT es_create_state_projection('none', 'counted(jsonb)');
SELECT es_create_state_projection('none', 'too_few(jsonb)');
SELECT es_create_state_projection('none', 'other_event(jsonb, eventstore.events)');
SELECT es_create_state_projection('none', 'other_result(jsonb, eventstore.event)');
SELECT es_create_state_projection('none', 'a_set(jsonb, eventstore.event)');
SELECT es_create_state_projection('none', 'a_procedure(jsonb, eventstore.event)');
SELECT throws_like($$SELECT es_create_state_projection('none', 'pg_temp.mine(jsonb, eventstore.event)')$$, 'function pg_temp%.mine(jsonb,eventstore.event) cannot be a reducer', 'a temporary function');
SELECT throws_ok(format('SELECT es_create_state_projection(%s)', arguments), code, message, arguments) FROM (VALUES
	($$NULL, 'chain(jsonb, eventstore.event)'$$, '22004', 'name must not be null'),
	($$'none', NULL$$, '22004', 'reducer must not be null'),
	($$'none', 4294967295::oid::regprocedure$$, '42883', 'function with OID 4294967295 does not exist'),
	($$'', 'chain(jsonb, eventstore.event)'$$, '22023', 'projection name must not be empty'),
	($$'none', 'chain(jsonb, eventstore.event)', '{}', 'sometimes'$$, '22023', 'unknown mode "sometimes"'),
	($$'none', 'chain(jsonb, eventstore.event)', '{}', NULL$$, '22004', 'mode must not be null'),
	($$'none', 'chain(jsonb, eventstore.event)', categories => '{}'$$, '22023', 'categories must be a one-dimensional array with at least one element'),
	($$'none', 'chain(jsonb, eventstore.event)', types => '{A,NULL}'$$, '22004', 'types must not contain nulls'),
	($$'states', 'chain(jsonb, eventstore.event)'$$, '42710', 'projection "states" already exists'),
	($$'pg_class', 'none(jsonb, eventstore.event)'$$, '42883', NULL)) v (arguments, code, message);
CREATE TABLE taken ();
SELECT throws_ok($$SELECT es_create_state_projection('taken', 'chain(jsonb, eventstore.event)')$$, '42P07', 'relation "taken" already exists', 'a table of the name');
SELECT count(*) FROM eventstore.projections WHERE name IN ('none', 'taken');

-- -- Errors ----------------------------------------------------------------------------------------------------------------

-- Inline: the append fails, and says how to go on.
SELECT add('s-1', 'A', 'Bad');
SELECT is(check_states('states', condition => 'category <> ''n'' OR true'), (SELECT count(DISTINCT stream) || ' states, 0 wrong' FROM eventstore.events), 'an append that fails changes nothing');
SELECT es_pause_projection('states'), es_pause_projection('filtered');
SELECT add('s-1', 'A', 'Bad', 'C'), add('s-2', 'A', 'Bad');
SELECT throws_ok($$SELECT es_resume_projection('states')$$, 'SE006', 'projection "states" failed', 'resume: the same event');
SELECT es_skip_event('states', position, 'it is bad') FROM eventstore.events WHERE type = 'Bad' ORDER BY position;
SELECT es_resume_projection('states'), es_resume_projection('filtered');
SELECT is(check_states('states', condition => 'type <> ''Bad'''), (SELECT count(DISTINCT stream) || ' states, 0 wrong' FROM eventstore.events), 'without the events that are skipped');
SELECT count(*) AS differences FROM es_verify_projection('states');
SELECT state, lag, events_applied = (SELECT count(*) FROM eventstore.events WHERE type <> 'Bad') AS is_counted FROM eventstore.projection_status WHERE name = 'states';

-- Async: it stops before the event, with all before it applied, and goes on without it.
SELECT es_run_projection('later');
SELECT state, last_error, last_error_code, last_error_position = (SELECT min(position) FROM eventstore.events WHERE type = 'Bad') AS is_there FROM eventstore.projection_status WHERE name = 'later';
SELECT is(check_states('later', condition => 'position < (SELECT min(position) FROM eventstore.events WHERE type = ''Bad'')'),
		  (SELECT count(DISTINCT stream) || ' states, 0 wrong' FROM eventstore.events WHERE position < (SELECT min(position) FROM eventstore.events WHERE type = 'Bad')), 'up to the event that it stops at');
SELECT es_skip_event('later', min(position)) FROM eventstore.events WHERE type = 'Bad';
SELECT es_run_projection('later');
SELECT es_skip_event('later', max(position)) FROM eventstore.events WHERE type = 'Bad';
SELECT es_run_projection('later');
SELECT is(check_states('later', condition => 'type <> ''Bad'''), (SELECT count(DISTINCT stream) || ' states, 0 wrong' FROM eventstore.events), 'and on without it');
SELECT projection, count(*), min(code), min(reason) FROM eventstore.skipped_events GROUP BY 1 ORDER BY 1;

-- Replaced: from the next append on. Dropped, renamed, not to be executed: told by name; as it was again, it goes on.
CREATE FUNCTION first_way(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"first"'; END $$;
SELECT es_create_state_projection('ways', 'first_way(jsonb, eventstore.event)', categories => '{w}');
SELECT add('w-1', 'A'), add('w-2', 'A');
CREATE OR REPLACE FUNCTION first_way(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"second"'; END $$;
SELECT add('w-2', 'A');
SELECT stream, state FROM ways ORDER BY stream;
SELECT kind, key, expected -> 'state' AS expected FROM es_verify_projection('ways');
SELECT es_rebuild_projection('ways');
SELECT stream, state FROM ways ORDER BY stream;
ALTER FUNCTION first_way RENAME TO other_way;
SELECT add('w-1', 'A');
SELECT count(*) FROM es_verify_projection('ways');
DROP FUNCTION other_way;
CREATE FUNCTION first_way(state jsonb, event eventstore.event) RETURNS json LANGUAGE sql AS $$ SELECT '"third"'::json $$;
SELECT add('w-1', 'A');
DROP FUNCTION first_way;
CREATE FUNCTION first_way(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"third"'::jsonb $$;
SELECT add('w-1', 'A');
SELECT stream, state FROM ways ORDER BY stream;
SELECT es_drop_projection('ways', true);

-- -- The table is an ordinary one ------------------------------------------------------------------------------------------

-- More columns, indexes, triggers, constraints
ALTER TABLE filtered ADD COLUMN note text DEFAULT 'none', ADD COLUMN n int GENERATED ALWAYS AS ((state ->> 'n')::int) STORED;
CREATE INDEX ON filtered ((state ->> 'hash'));
ALTER TABLE filtered ADD CONSTRAINT few CHECK ((state ->> 'n')::int < 1000);
CREATE TABLE trail (stream text, version bigint);
CREATE FUNCTION leave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_states.trail VALUES (NEW.stream, NEW.version); RETURN NULL; END $$;
CREATE TRIGGER leave AFTER INSERT OR UPDATE ON filtered FOR EACH ROW EXECUTE FUNCTION leave();
SELECT add('u-7', 'B'), add('u-8', 'D', 'A', 'D'), add('u-7', 'D');
SELECT stream, version, note, n FROM filtered WHERE stream >= 'u-7' ORDER BY stream;
TABLE trail;
ALTER TABLE filtered DROP CONSTRAINT few, ADD CONSTRAINT few CHECK (stream <> 'u-9');
-- An error of the table says so, without the statement that is ours.
SELECT add('u-9', 'A', 'B');
SELECT add('u-9', 'A');
DROP TRIGGER leave ON filtered;
SELECT es_rebuild_projection('filtered');
SELECT stream, version, note, n FROM filtered WHERE stream >= 'u-7' ORDER BY stream;

-- Written to by somebody else, whose row stays where it is or not: what comes goes on from it.
UPDATE filtered SET state = '{"n": 100}' WHERE stream = 'u-7';
SELECT add('u-7', 'B');
BEGIN;
UPDATE filtered SET state = '{"n": 200}' WHERE stream = 'u-7';
SELECT add('u-7', 'B');
DELETE FROM filtered WHERE stream = 'u-7';
SELECT add('u-7', 'B', 'B');
COMMIT;
SELECT version, n FROM filtered WHERE stream = 'u-7';
-- Nothing of a table that inherits it
CREATE TABLE heir () INHERITS (filtered);
INSERT INTO heir (stream, version, state, recorded_at) SELECT 'u-7', 0, '{}', now() FROM generate_series(1, 50);
SELECT add('u-7', 'B'), add('u-8', 'B');
SELECT count(*), max(version) FROM heir;
DROP TABLE heir;
SELECT es_rebuild_projection('filtered') > 0;

-- Async, the event is found that the table does not take; what comes before it is there.
SELECT es_create_state_projection('checked', 'chain(jsonb, eventstore.event)', mode => 'async', categories => '{c}');
ALTER TABLE checked ADD CHECK (stream <> 'c-4' OR version < 2);
SELECT count(add('c-' || s, 'A', 'B', 'C')) FROM generate_series(1, 6) s;
SELECT es_run_projection('checked');
SELECT state, last_error_code, last_error_position = (SELECT position FROM es_read('c-4', 2, 1)) AS is_there FROM eventstore.projection_status WHERE name = 'checked';
SELECT is(check_states('checked', condition => 'category = ''c'' AND position < (SELECT position FROM es_read(''c-4'', 2, 1))'), '4 states, 0 wrong', 'up to the event that the table does not take');
SELECT es_drop_projection('checked', true);

-- What is gone
ALTER TABLE filtered DROP CONSTRAINT filtered_pkey;
SELECT add('u-7', 'B');
ALTER TABLE filtered ADD PRIMARY KEY (stream);
SELECT add('u-7', 'B');
ALTER TABLE filtered ALTER version TYPE int;
SELECT add('u-7', 'B');
SELECT count(*) FROM es_verify_projection('filtered');
ALTER TABLE filtered DROP COLUMN version;
SELECT add('u-7', 'B');
SELECT count(*) FROM es_verify_projection('filtered');
DROP TABLE filtered;
SELECT add('u-7', 'B');
SELECT es_drop_projection('filtered');
SELECT add('u-7', 'B');

-- -- Rebuild, verify, as of ------------------------------------------------------------------------------------------------

CREATE VIEW counts AS SELECT stream, (state ->> 'n')::int AS n FROM states;
UPDATE states SET state = '{}' WHERE stream = 's-1';
UPDATE states SET version = 0 WHERE stream = 's-2';
DELETE FROM states WHERE stream = 's-3';
INSERT INTO states VALUES ('none-1', 1, '{}', now());
SELECT kind, key FROM es_verify_projection('states') ORDER BY key;
SELECT es_rebuild_projection('states') = (SELECT count(*) FROM eventstore.events WHERE type <> 'Bad') AS all_of_them;
SELECT count(*) AS differences FROM es_verify_projection('states');
SELECT is(check_states('states', condition => 'type <> ''Bad'''), (SELECT count(DISTINCT stream) || ' states, 0 wrong' FROM eventstore.events), 'rebuilt');
SELECT es_projection_as_of('states', 'states_then', (SELECT position FROM eventstore.events ORDER BY position OFFSET 40 LIMIT 1));
SELECT is(check_states('states_then', condition => 'position <= (SELECT position FROM eventstore.events ORDER BY position OFFSET 40 LIMIT 1)'), '7 states, 0 wrong', 'as of a position');
DROP TABLE states_then;
SELECT es_projection_as_of('states', 'states_then', at => recorded_at) > 0 FROM es_last_event('new-2');
SELECT is(check_states('states_then', condition => 'recorded_at <= (SELECT recorded_at FROM es_last_event(''new-2''))'), '9 states, 0 wrong', 'as of a time');
DROP TABLE states_then;
SELECT es_rebuild_projection('later') > 0, es_projection_as_of('later', 'states_then') > 0;
SELECT is(check_states('states_then', condition => 'type <> ''Bad'''), (SELECT count(DISTINCT stream) || ' states, 0 wrong' FROM eventstore.events), 'of now, of one that lags');
DROP TABLE states_then;

-- A reducer that reads what it makes, one that writes, and one that appends: they can not be replayed.
CREATE FUNCTION reads(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN to_jsonb((SELECT count(*) FROM reading)); END $$;
CREATE FUNCTION writes(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN INSERT INTO trail VALUES (event.stream, event.version); RETURN '1'; END $$;
CREATE FUNCTION appends(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN to_jsonb(es_append('answer-1', -1, 'Answered', to_jsonb(event.version))); END $$;
SELECT es_create_state_projection('reading', 'reads(jsonb, eventstore.event)', types => '{Asked}');
SELECT es_create_state_projection('writing', 'writes(jsonb, eventstore.event)', types => '{Asked}');
SELECT es_create_state_projection('appending', 'appends(jsonb, eventstore.event)', types => '{Asked}');
SELECT add('q-1', 'Asked');
SELECT es_rebuild_projection('reading');
SELECT es_verify_projection('writing');
SELECT es_verify_projection('appending');
SELECT state, (SELECT data FROM es_last_event('answer-1')) FROM appending;
SELECT es_drop_projection(name || 'ing', true) FROM unnest('{read,writ,append}'::text[]) name;

-- -- Rights ----------------------------------------------------------------------------------------------------------------

CREATE ROLE regress_es_alice;
CREATE ROLE regress_es_bob;
CREATE ROLE regress_es_appender;
GRANT ALL ON SCHEMA test_states TO regress_es_alice;
GRANT USAGE ON SCHEMA test_states TO regress_es_bob, regress_es_appender;
SELECT es_grant('regress_es_alice', 'admin'), es_grant('regress_es_bob', 'admin'), es_grant('regress_es_appender', 'append');
SET ROLE regress_es_appender;
SELECT throws_ok($$SELECT es_create_state_projection('hers', 'keep(jsonb, eventstore.event)')$$, '42501', 'permission denied for function es_create_state_projection', 'an appender makes none');
SET ROLE regress_es_alice;
CREATE FUNCTION who(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN jsonb_build_array(current_user, current_setting('search_path')); END $$;
REVOKE ALL ON FUNCTION who(jsonb, eventstore.event) FROM PUBLIC;
SELECT es_create_state_projection('hers', 'who(jsonb, eventstore.event)', categories => '{h}');
SET ROLE regress_es_bob;
SELECT throws_ok($$SELECT es_create_state_projection('his', 'who(jsonb, eventstore.event)')$$, '42501', 'permission denied for function who', 'the reducer has to be allowed');
SELECT throws_ok($$SELECT es_drop_projection('hers')$$, '42501', 'must be owner of projection "hers"', 'hers');
SET ROLE regress_es_appender;
SET search_path = pg_temp, public, pg_catalog;
CREATE TEMP TABLE hers (stream text PRIMARY KEY, version bigint, state jsonb, recorded_at timestamptz);
SELECT es_append('h-1', -1, '[{"type": "A"}, {"type": "B"}]'), es_append('h-1', -1, 'C', '{}'), (SELECT count(*) FROM hers) AS captured;
DROP TABLE hers;
SELECT throws_ok('SELECT * FROM test_states.hers', '42501', 'permission denied for table hers', 'an appender needs no right on it');
RESET ROLE;
SET search_path = test_states, public;
TABLE hers \gset row_
SELECT :'row_stream', :row_version, :'row_state';
-- Who loses the right to the reducer, or to the table
REVOKE ALL ON FUNCTION who(jsonb, eventstore.event) FROM regress_es_alice;
SELECT add('h-1', 'A');
GRANT EXECUTE ON FUNCTION who(jsonb, eventstore.event) TO regress_es_alice;
REVOKE SELECT ON hers FROM regress_es_alice;
SELECT add('h-1', 'A');
GRANT SELECT ON hers TO regress_es_alice;
SELECT add('h-1', 'A');
SELECT es_reassign_projection('hers', 'regress_es_bob');
SELECT tableowner FROM pg_tables WHERE tablename = 'hers';
GRANT EXECUTE ON FUNCTION who(jsonb, eventstore.event) TO regress_es_bob;
SELECT add('h-1', 'A');
SELECT state -> 0 FROM hers;
SELECT es_drop_projection('hers', true);

-- -- The rest --------------------------------------------------------------------------------------------------------------

-- What a dump carries says it by name.
SELECT projection, kind, of_table, object FROM eventstore.projection_needs WHERE projection = 'states' ORDER BY kind;
SELECT query = '' AS no_query, is_declared, tables, reducer, initial FROM eventstore.projections WHERE name = 'states';
-- es_load has nothing to do with it.
SELECT version, state, cardinality(events) FROM es_load('new-2');
-- To decide by: the state, and the version that it is of
SELECT es_append('new-2', version, 'A', '{}') = version + 1 AS is_next FROM states WHERE stream = 'new-2';
-- Not from the SQL of another one
CREATE FUNCTION makes(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM es_create_state_projection('inner', 'keep(jsonb, eventstore.event)'); RETURN '1'; END $$;
SELECT throws_ok($$SELECT es_create_state_projection('outer', 'makes(jsonb, eventstore.event)')$$, 'SE006', 'projection "outer" failed', 'nor by a reducer');
BEGIN READ ONLY;
SELECT throws_ok($$SELECT es_create_state_projection('none', 'chain(jsonb, eventstore.event)')$$, '25006', NULL, 'read-only');
COMMIT;
SELECT es_drop_projection('later');
SELECT to_regclass('later') IS NOT NULL AS stays;
DROP VIEW counts;
SELECT es_drop_projection('states', true);
SELECT to_regclass('states') IS NULL AS is_gone;
SELECT count(*) FROM eventstore.projection_needs;

SELECT * FROM finish();
SELECT es_revoke(r, l) FROM (VALUES ('regress_es_alice'::regrole, 'admin'), ('regress_es_bob', 'admin'), ('regress_es_appender', 'append')) v (r, l);
SET client_min_messages = warning;
DROP SCHEMA test_states CASCADE;
DROP EXTENSION eventstore CASCADE;
DROP ROLE regress_es_alice, regress_es_bob, regress_es_appender;
