-- Snapshots and folds: with a snapshot of whatever kind the answer is the one without.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
DROP ROLE IF EXISTS regress_es_fold, regress_es_saver;
RESET client_min_messages;
CREATE SCHEMA test_state;
SET search_path = test_state, public;
SET jit = off;
\pset tuples_only on
\pset format unaligned

-- A reducer that no order but the right one, and no event left out or doubled, gives the same result with
CREATE FUNCTION chain(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS
$$
BEGIN
	RETURN jsonb_build_object('n', coalesce((state->>'n')::int, 0) + 1, 'hash', md5(coalesce(state->>'hash', '') || to_jsonb(event)::text));
END
$$;
CREATE FUNCTION chain_sql(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS
$$
	SELECT jsonb_build_object('n', coalesce((state->>'n')::int, 0) + 1, 'hash', md5(coalesce(state->>'hash', '') || to_jsonb(event)::text))
$$;
-- The same from an array, and from the table
CREATE FUNCTION fold_array(state jsonb, events eventstore.event[]) RETURNS jsonb LANGUAGE plpgsql AS
$$
DECLARE
	e eventstore.event;
BEGIN
	FOREACH e IN ARRAY events LOOP
		state := chain(state, e);
	END LOOP;
	RETURN state;
END
$$;
CREATE FUNCTION fold_table(which text, initial jsonb DEFAULT '{}', last bigint DEFAULT NULL, until timestamptz DEFAULT NULL) RETURNS jsonb LANGUAGE plpgsql AS
$$
DECLARE
	e eventstore.event;
BEGIN
	FOR e IN SELECT * FROM eventstore.events WHERE stream = which AND (version <= last) IS NOT FALSE AND (recorded_at <= until) IS NOT FALSE ORDER BY version LOOP
		initial := chain(initial, e);
	END LOOP;
	RETURN initial;
END
$$;

SELECT * FROM no_plan();

-- es_load and es_snapshot without a snapshot
SELECT es_append('state-1', 0, ARRAY['A', 'B', 'C'], ARRAY['1', '2', '3']::jsonb[]);
SELECT version, state IS NULL, cardinality(events) FROM es_load('state-1');
SELECT version, state IS NULL, events FROM es_load('state-none');
SELECT count(*), count(version), count(state), count(saved_at) FROM es_snapshot('state-1');
SELECT is((SELECT array_agg(e) FROM es_read('state-1') e), (SELECT events FROM es_load('state-1')), 'all events');

-- With one
SELECT es_save_snapshot('state-1', 2, '{"sum": 3}');
SELECT version, state, saved_at BETWEEN now() - interval '1 minute' AND now() FROM es_snapshot('state-1');
SELECT version, state, (SELECT array_agg((e).type) FROM unnest(events) e) FROM es_load('state-1');
SELECT is((SELECT array_agg(e) FROM es_read('state-1', 3) e), (SELECT events FROM es_load('state-1')), 'the tail');
-- At the last event
SELECT es_save_snapshot('state-1', 3, 'null');
SELECT version, state, events FROM es_load('state-1');
-- Never replaced by an older one; by one of the same version it is.
SELECT es_save_snapshot('state-1', 2, '{"sum": 33}');
SELECT version, state FROM es_snapshot('state-1');
SELECT es_save_snapshot('state-1', 3, '[6]');
SELECT version, state FROM es_snapshot('state-1');
-- Another schema version is another snapshot.
SELECT version, state IS NULL, cardinality(events) FROM es_load('state-1', 2);
SELECT es_save_snapshot('state-1', 1, '"other"', 2);
SELECT version, state, cardinality(events) FROM es_load('state-1', schema_version => 2);
SELECT version, state, cardinality(events) FROM es_load('state-1');
SELECT es_save_snapshot('state-1', 1, '"lowest"', -2147483648);
SELECT schema_version, version, state FROM eventstore.snapshots WHERE stream = 'state-1' ORDER BY schema_version;

-- Ahead of the stream: not kept, with a notice; the stream may go on to that version and beyond.
SELECT es_save_snapshot('state-2', 1, '"ahead"');
SELECT es_save_snapshot('state-1', 4, '"ahead"', 3);
SELECT es_save_snapshot('state-1', 9223372036854775807, '"ahead"');
SELECT es_append('state-1', 3, ARRAY['D', 'E'], ARRAY['4', '5']::jsonb[]), es_append('state-2', 0, 'A', '1');
SELECT version, state, cardinality(events) FROM es_load('state-1');
SELECT version, state, cardinality(events) FROM es_load('state-1', 3);
SELECT version, state, cardinality(events) FROM es_load('state-2');
-- Before the first event there is nothing to save.
SELECT es_save_snapshot('state-1', 0, '{}', 4), es_save_snapshot('state-none', 0, '{}');
SELECT count(*) FROM eventstore.snapshots WHERE schema_version = 4 OR stream = 'state-none';

-- In one transaction, in one statement with the append, and undone with it
BEGIN;
SELECT es_append('state-1', 5, 'F', '6');
SELECT es_save_snapshot('state-1', 6, '[21]');
SELECT version, state, cardinality(events) FROM es_load('state-1');
SAVEPOINT a;
SELECT es_save_snapshot('state-1', es_append('state-1', 6, 'G', '7'), '[28]');
SELECT version, state, cardinality(events) FROM es_load('state-1');
ROLLBACK TO a;
SELECT version, state, cardinality(events) FROM es_load('state-1');
ROLLBACK;
SELECT version, state, cardinality(events) FROM es_load('state-1');

-- What a restore of other data may leave: a snapshot that is ahead, and one whose event is another. They are passed over, do not count when
-- the stream has grown past them, and are replaced by what is saved next, though that is older.
UPDATE eventstore.snapshots SET version = 7, position = position + 1000000, state = '"foreign"' WHERE stream = 'state-1' AND schema_version = 1;
SELECT version, state, cardinality(events) FROM es_load('state-1');
SELECT version, state FROM es_snapshot('state-1');
SELECT es_append('state-1', 5, ARRAY['F', 'G', 'H'], ARRAY['6', '7', '8']::jsonb[]);
SELECT version, state, cardinality(events) FROM es_load('state-1');
SELECT version, state FROM es_snapshot('state-1');
SELECT es_save_snapshot('state-1', 5, '[15]');
SELECT version, state, cardinality(events) FROM es_load('state-1');

-- Another history comes to the same version and position: its event is another, by its id, or, where the caller gave the id, by its time.
CREATE PROCEDURE rewrite(which text, new_id uuid) LANGUAGE plpgsql AS
$$
BEGIN
	SET LOCAL session_replication_role = replica;
	ALTER TABLE eventstore.events DISABLE TRIGGER events_are_immutable, DISABLE TRIGGER every_event_is_immutable;
	UPDATE eventstore.events SET id = new_id, data = '"another"', recorded_at = recorded_at + CASE WHEN id = new_id THEN interval '1 s' ELSE '0' END WHERE stream = which AND version = 2;
	ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER events_are_immutable, ENABLE ALWAYS TRIGGER every_event_is_immutable;
END
$$;
SELECT es_append('state-other-1', 0, ARRAY['A', 'B'], ARRAY['1', '2']::jsonb[]), es_append('state-other-2', 0, ARRAY['A', 'B'], ARRAY['1', '2']::jsonb[], NULL, ARRAY[NULL, 'a0000000-0000-0000-0000-000000000001']::uuid[]);
SELECT es_save_snapshot(stream, 2, '"of this history"') FROM unnest('{state-other-1,state-other-2}'::text[]) stream;
SELECT stream, version, state, events FROM unnest('{state-other-1,state-other-2}'::text[]) stream, es_load(stream);
CALL rewrite('state-other-1', gen_random_uuid());
CALL rewrite('state-other-2', 'a0000000-0000-0000-0000-000000000001');
SELECT stream, l.version, l.state, cardinality(events), s.version IS NULL FROM unnest('{state-other-1,state-other-2}'::text[]) stream, es_load(stream) l, es_snapshot(stream) s;
SELECT es_append(stream, 2, 'C', '3') FROM unnest('{state-other-1,state-other-2}'::text[]) stream;
SELECT stream, l.version, l.state, cardinality(events) FROM unnest('{state-other-1,state-other-2}'::text[]) stream, es_load(stream) l;
-- It is replaced by what is saved next, though that is older.
SELECT es_save_snapshot(stream, 1, '"of that one"') FROM unnest('{state-other-1,state-other-2}'::text[]) stream;
SELECT stream, l.version, l.state, cardinality(events) FROM unnest('{state-other-1,state-other-2}'::text[]) stream, es_load(stream) l;

-- Random streams, each with a snapshot of some kind or none for two schema versions; some grow afterwards.
SELECT setseed(0.7);
CREATE TABLE streams AS
	SELECT 'folded-' || i AS stream, floor(random() * 30)::int AS events, floor(random() * 4)::int AS later FROM generate_series(1, 60) i;
CREATE FUNCTION grow(stream text, count int) RETURNS bigint LANGUAGE sql AS
$$
	SELECT max(es_append(stream, -1, 'T' || i, jsonb_build_object('i', i, 'r', random()))) FROM generate_series(1, count) i
$$;
CREATE FUNCTION snap(stream text, kind text, schema_version int) RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
	last bigint := es_stream_version(stream);
	what int := floor(random() * 3);
	at bigint := CASE kind WHEN 'now' THEN last WHEN 'stale' THEN floor(random() * (last + 1)) WHEN 'ahead' THEN last + 1 + floor(random() * 3) END;
BEGIN
	CASE
		WHEN kind = 'none' THEN
			RETURN;
		WHEN kind = 'ahead' THEN
			PERFORM es_save_snapshot(stream, at, '"wrong"', schema_version);
		WHEN kind = 'foreign' THEN
			-- Another place, another event at the same place, or an event of the same id at the same place that was recorded at another time
			INSERT INTO eventstore.snapshots AS s (stream, schema_version, version, position, event_id, recorded_at, state, saved_at)
				VALUES (stream, schema_version, 1 + floor(random() * 35), 1 + floor(random() * 100), gen_random_uuid(), now(), '"wrong"', now())
			ON CONFLICT ON CONSTRAINT snapshots_pkey DO UPDATE SET state = excluded.state, position = s.position + CASE WHEN what = 0 THEN 1 ELSE 0 END,
				event_id = CASE WHEN what = 1 THEN excluded.event_id ELSE s.event_id END, recorded_at = s.recorded_at + CASE WHEN what = 2 THEN interval '1 us' ELSE '0' END;
		ELSE
			PERFORM es_save_snapshot(stream, at, fold_table(stream, '{}', at), schema_version);
	END CASE;
END
$$;
SET client_min_messages = warning;
SELECT count(grow(stream, events)) FROM streams;
SELECT count(snap(stream, kind, v)) FROM streams, generate_series(1, 2) v, LATERAL (SELECT (ARRAY['now', 'stale', 'ahead', 'foreign', 'none'])[1 + floor(random() * 5)] AS kind WHERE v > 0 AND events >= 0) k;
SELECT count(grow(stream, later)) FROM streams;
SELECT count(snap(stream, kind, v)) FROM streams, generate_series(1, 2) v, LATERAL (SELECT (ARRAY['stale', 'ahead', 'none', 'none'])[1 + floor(random() * 4)] AS kind WHERE v > 0 AND events >= 0) k;
RESET client_min_messages;
SELECT cmp_ok(count(*) FILTER (WHERE state IS NOT NULL), '>', 20::bigint, 'snapshots that count'), cmp_ok(count(*) FILTER (WHERE state IS NULL), '>', 20::bigint, 'and that do not') FROM streams, generate_series(1, 3) v, es_load(stream, v);
SELECT is(count(*), 0::bigint, 'the fold from es_load is the fold of everything') FROM streams, generate_series(1, 3) v, es_load(stream, v) l
WHERE fold_array(coalesce(l.state, '{}'), l.events) IS DISTINCT FROM fold_table(stream);
SELECT is(count(*), 0::bigint, 'the tail is what es_read reads after the version') FROM streams, generate_series(1, 3) v, es_load(stream, v) l
WHERE l.events IS DISTINCT FROM coalesce((SELECT array_agg(e) FROM es_read(stream, l.version + 1) e), '{}');
SELECT is(count(*), 0::bigint, 'es_snapshot is what es_load begins with') FROM streams, generate_series(1, 3) v, es_load(stream, v) l, es_snapshot(stream, v) s
WHERE (nullif(l.version, 0), l.state) IS DISTINCT FROM (s.version, s.state) OR (s.saved_at IS NULL) <> (s.state IS NULL);

-- es_fold is the fold of everything, of any part, by reducers in any language.
SELECT is(count(*), 0::bigint, 'es_fold') FROM streams WHERE es_fold(stream, 'chain(jsonb, eventstore.event)') IS DISTINCT FROM fold_table(stream);
SELECT is(count(*), 0::bigint, 'by a function in SQL') FROM streams WHERE es_fold(stream, 'chain_sql(jsonb, eventstore.event)', '{"n": 5}') IS DISTINCT FROM fold_table(stream, '{"n": 5}');
SELECT is((count(*) > 1000, count(*) FILTER (WHERE es_fold(stream, 'chain(jsonb, eventstore.event)', '{}', last, until) IS DISTINCT FROM fold_table(stream, '{}', last, until)))::text, '(t,0)', 'at a version, at a time')
FROM streams, unnest('{NULL,0,1,7,29,9223372036854775807}'::bigint[]) last,
	 LATERAL (SELECT NULL::timestamptz AS until UNION ALL VALUES ('-infinity'::timestamptz), ('infinity')
			  UNION ALL SELECT recorded_at + d * interval '1 microsecond' FROM es_read(stream, 9, 1), generate_series(-1, 1) d) u;
SELECT is(es_fold('state-none', 'chain(jsonb, eventstore.event)', '{"initial": true}'), '{"initial": true}', 'no event: the initial state');
SELECT is(es_fold('state-none', 'chain(jsonb, eventstore.event)', NULL), NULL, 'which may be null');

BEGIN;
SET LOCAL track_functions = 'all';
SELECT is((es_fold('state-1', 'chain(jsonb, eventstore.event)')->>'n')::bigint, pg_stat_get_xact_function_calls('chain(jsonb, eventstore.event)'::regprocedure), 'calls of the reducer are counted');
COMMIT;

-- A null state is a state; a strict reducer is not called for it, as aggregates do.
CREATE FUNCTION nulls(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS
	$$ SELECT CASE WHEN state IS NULL THEN jsonb_build_object('after_null', event.version) WHEN event.version % 3 <> 0 THEN state || event.data END $$;
CREATE FUNCTION nulls_strict(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql STRICT AS
	$$ SELECT CASE WHEN event.version % 3 <> 0 THEN state || event.data END $$;
SELECT v, es_fold('state-1', 'nulls(jsonb, eventstore.event)', '[]', v), es_fold('state-1', 'nulls(jsonb, eventstore.event)', NULL, v),
	   es_fold('state-1', 'nulls_strict(jsonb, eventstore.event)', '[]', v), es_fold('state-1', 'nulls_strict(jsonb, eventstore.event)', NULL, v)
FROM generate_series(0, 7) v;
-- A reducer that returns its argument; one in C
CREATE FUNCTION keep(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS 'SELECT state';
CREATE FUNCTION strip(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE internal STRICT AS 'jsonb_strip_nulls';
SELECT es_fold('state-1', 'keep(jsonb, eventstore.event)', '{"kept": null}'), es_fold('state-1', 'strip(jsonb, eventstore.event)', '{"gone": null, "kept": 1}');
-- Big states, and events stored out of line, stay whole.
SELECT es_append('state-big', 0, ARRAY['A', 'B'], ARRAY[(SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 3000) i), to_jsonb(repeat('x', 100000))]);
CREATE FUNCTION collect(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS 'SELECT state || jsonb_build_array(event.data)';
SELECT is(es_fold('state-big', 'collect(jsonb, eventstore.event)', '[]'), (SELECT jsonb_agg(data ORDER BY version) FROM eventstore.events WHERE stream = 'state-big'), 'big values');
SELECT es_save_snapshot('state-big', 2, es_fold('state-big', 'collect(jsonb, eventstore.event)', '[]'));
SELECT is(state, es_fold('state-big', 'collect(jsonb, eventstore.event)', '[]'), 'in a snapshot') FROM es_load('state-big');
SELECT is((SELECT jsonb_agg(e.data) FROM es_load('state-big', 2) l, unnest(l.events) e), es_fold('state-big', 'collect(jsonb, eventstore.event)', '[]'), 'in an array');
CREATE TABLE kept AS SELECT events, state FROM es_load('state-big', 2);
SELECT is((SELECT jsonb_agg(e.data) FROM kept, unnest(events) e), es_fold('state-big', 'collect(jsonb, eventstore.event)', '[]'), 'stored elsewhere');

-- A reducer sees the statement's events only, though it appends; what it raises stops the fold.
CREATE FUNCTION echo(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS
	$$ BEGIN PERFORM es_append(event.stream, -1, 'Echo', '{}'); RETURN state || to_jsonb(event.version); END $$;
CREATE FUNCTION fails(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS
	$$ BEGIN IF event.version = 2 THEN RAISE 'not this one' USING ERRCODE = 'XX123'; END IF; RETURN state; END $$;
SELECT es_fold('state-1', 'echo(jsonb, eventstore.event)', '[]', 3), es_stream_version('state-1');
SELECT throws_ok($$SELECT es_fold('state-1', 'fails(jsonb, eventstore.event)')$$, 'XX123', 'not this one', 'an error of the reducer');
SELECT es_fold('state-1', 'fails(jsonb, eventstore.event)', at_version => 1);

-- What is no reducer
CREATE FUNCTION too_few(jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION other_state(json, eventstore.event) RETURNS jsonb LANGUAGE sql AS 'SELECT $1::jsonb';
CREATE FUNCTION other_event(jsonb, eventstore.events) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION other_result(jsonb, eventstore.event) RETURNS json LANGUAGE sql AS 'SELECT $1::json';
CREATE FUNCTION a_set(jsonb, eventstore.event) RETURNS SETOF jsonb LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION any_element(anyelement, eventstore.event) RETURNS anyelement LANGUAGE sql AS 'SELECT $1';
CREATE PROCEDURE a_procedure(INOUT jsonb, eventstore.event) LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION nested(jsonb, jsonb, eventstore.event) RETURNS jsonb LANGUAGE sql AS 'SELECT $1';
CREATE AGGREGATE an_aggregate(jsonb, eventstore.event) (SFUNC = nested, STYPE = jsonb);
SELECT throws_ok(format('SELECT es_fold(%L, %L::regprocedure)', 'state-1', f), '42P13', format('function %s cannot be a reducer', f::regprocedure::text), f)
FROM unnest('{too_few(jsonb),"other_state(json,eventstore.event)","other_event(jsonb,eventstore.events)","other_result(jsonb,eventstore.event)","a_set(jsonb,eventstore.event)",
			  "any_element(anyelement,eventstore.event)","a_procedure(jsonb,eventstore.event)","an_aggregate(jsonb,eventstore.event)"}'::text[]) f;
SELECT es_fold('state-1', 'too_few(jsonb)');
SELECT throws_ok($$SELECT es_fold('state-1', 4294967295::oid::regprocedure)$$, '42883', 'function with OID 4294967295 does not exist', 'no function');
SELECT throws_ok($$SELECT es_fold('state-1', 'none(jsonb, eventstore.event)')$$, '42883', NULL, 'no function of this name');

-- Wrong arguments
SELECT throws_ok(format('SELECT %s', call), code, message, call)
FROM (VALUES
	('es_save_snapshot(NULL, 1, ''{}'')', '22004', 'stream must not be null'),
	('es_save_snapshot(''state-1'', NULL, ''{}'')', '22004', 'version must not be null'),
	('es_save_snapshot(''state-1'', 1, NULL)', '22004', 'state must not be null'),
	('es_save_snapshot(''state-1'', 1, ''{}'', NULL)', '22004', 'schema_version must not be null'),
	('es_save_snapshot(''state-1'', -1, ''{}'')', '22023', 'version must not be negative'),
	('es_save_snapshot('''', 1, ''{}'')', '22023', 'stream name must not be empty'),
	('es_save_snapshot(repeat(''x'', 513), 1, ''{}'')', '54000', 'stream name is too long'),
	('es_save_snapshot(''state-1'', 1, ''{'')', '22P02', NULL),
	('es_snapshot(NULL)', '22004', 'stream must not be null'), ('es_snapshot(''state-1'', NULL)', '22004', 'schema_version must not be null'),
	('es_snapshot('''')', '22023', 'stream name must not be empty'), ('es_snapshot(repeat(''x'', 513))', '54000', 'stream name is too long'),
	('es_load(NULL)', '22004', 'stream must not be null'), ('es_load(''state-1'', NULL)', '22004', 'schema_version must not be null'),
	('es_load('''')', '22023', 'stream name must not be empty'), ('es_load(repeat(''x'', 513))', '54000', 'stream name is too long'),
	('es_fold(NULL, ''chain(jsonb, eventstore.event)'')', '22004', 'stream must not be null'), ('es_fold(''state-1'', NULL)', '22004', 'reducer must not be null'),
	('es_fold('''', ''chain(jsonb, eventstore.event)'')', '22023', 'stream name must not be empty'),
	('es_fold(''state-1'', ''chain(jsonb, eventstore.event)'', at_version => -1)', '22023', 'at_version must not be negative')
) v (call, code, message);

-- Read-only transactions read.
BEGIN READ ONLY;
SELECT (es_fold('state-1', 'chain(jsonb, eventstore.event)'))->'n', (SELECT cardinality(events) FROM es_load('state-1')), (SELECT version FROM es_snapshot('state-1'));
SELECT throws_ok($$SELECT es_save_snapshot('state-1', 1, '{}')$$, '25006', NULL, 'and save nothing');
COMMIT;

-- Who may: the reducer needs its own right, and nobody needs one on the tables.
CREATE ROLE regress_es_fold;
CREATE ROLE regress_es_saver;
GRANT USAGE ON SCHEMA test_state TO regress_es_fold, regress_es_saver;
REVOKE EXECUTE ON FUNCTION chain(jsonb, eventstore.event) FROM PUBLIC;
SELECT es_grant('regress_es_fold', 'read'), es_grant('regress_es_saver', 'append');
SET ROLE regress_es_fold;
SELECT (es_fold('state-1', 'chain_sql(jsonb, eventstore.event)'))->'n', (SELECT cardinality(events) FROM es_load('state-1')), (SELECT version FROM es_snapshot('state-1'));
SELECT es_fold('state-1', 'chain(jsonb, eventstore.event)');
SELECT es_save_snapshot('state-1', 6, '[21]');
SELECT count(*) FROM eventstore.snapshots;
RESET ROLE;
SET ROLE regress_es_saver;
SELECT es_save_snapshot('state-1', 6, '[21]');
SELECT version, state, current_user FROM es_snapshot('state-1');
SELECT es_save_snapshot('state-1', 5, '[15]'), current_user;
SELECT (es_fold('state-1', 'chain_sql(jsonb, eventstore.event)'))->'n';
SELECT count(*) FROM eventstore.snapshots;
-- Nothing of the saver's is run as the table's owner.
CREATE TEMP TABLE snapshots (stream text);
CREATE FUNCTION pg_temp.less(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured'; END $$;
CREATE OPERATOR pg_temp.<= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = pg_temp.less);
SET search_path = pg_temp, public, pg_catalog;
SELECT es_save_snapshot('state-1', 7, '[28]');
SELECT version, state FROM es_snapshot('state-1');
RESET ROLE;
SET search_path = test_state, public;

SELECT * FROM finish();
SELECT es_revoke('regress_es_fold', 'read'), es_revoke('regress_es_saver', 'append');
SET client_min_messages = warning;
DROP SCHEMA test_state CASCADE;
DROP OWNED BY regress_es_fold, regress_es_saver;
DROP ROLE regress_es_fold, regress_es_saver;
