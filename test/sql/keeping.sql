-- Keeping and forgetting: es_truncate_stream, es_delete_stream, and what everything else makes of events that are gone.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_keeping;
SET search_path = test_keeping, public;

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
CREATE FUNCTION id(nr int) RETURNS uuid LANGUAGE sql RETURN ('e0000000-0000-4000-8000-' || lpad(nr::text, 12, '0'))::uuid;
-- Events of versions first to last, whose ids are known where wanted.
CREATE FUNCTION fill(stream text, first int, last int, ids int DEFAULT NULL) RETURNS bigint LANGUAGE sql
	RETURN es_append(stream, first - 1, array_fill('Counted'::text, ARRAY[last - first + 1]), ARRAY(SELECT to_jsonb(v) FROM generate_series(first, last) v),
					 NULL, CASE WHEN ids IS NOT NULL THEN ARRAY(SELECT id(ids + v) FROM generate_series(first, last) v) END);
CREATE FUNCTION versions(stream text) RETURNS bigint[] LANGUAGE sql RETURN (SELECT array_agg(version) FROM es_read(stream));
CREATE FUNCTION add_up(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql RETURN to_jsonb(state::text::int + event.data::text::int);

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

-- ----------------------------------------------------------------------------------------------------------------------------------
-- A stream without its beginning
-- ----------------------------------------------------------------------------------------------------------------------------------

SELECT fill('keep-1', 1, 10, 100) AS last \gset
SELECT es_last_position() AS last_position \gset
CREATE TABLE before AS SELECT * FROM eventstore.events WHERE stream = 'keep-1';
SELECT es_save_snapshot('keep-1', 3, '6'), es_save_snapshot('keep-1', 4, '10', 2), es_save_snapshot('keep-1', 7, '28', 3);

SELECT is(es_truncate_stream('keep-1', 5), 4::bigint, 'truncation: so many are gone');
SELECT is(versions('keep-1'), '{5,6,7,8,9,10}', 'the stream begins where it was told to');
SELECT results_eq($$SELECT * FROM eventstore.events WHERE stream = 'keep-1' ORDER BY version$$, $$SELECT * FROM before WHERE version >= 5 ORDER BY version$$, 'what is left is as it was');
SELECT is(es_stream_version('keep-1'), 10::bigint, 'its version is what it was');
SELECT is((SELECT array_agg(version) FROM es_read('keep-1', 3, 4)), '{5,6,7,8}', 'read from before the beginning: from there');
SELECT is((SELECT array_agg(version) FROM es_read('keep-1', 6, 10, true)), '{6,5}', 'backward: down to there');
SELECT is((SELECT count(*) FROM es_read('keep-1', 4, 10, true)), 0::bigint, 'backward from before: nothing');
SELECT is((SELECT version FROM es_last_event('keep-1')), 10::bigint, 'the last event');
SELECT is((SELECT count(*) FROM es_read_all(0, NULL) WHERE stream = 'keep-1'), 6::bigint, 'readers across streams pass over what is gone');
SELECT is((SELECT count(*) FROM es_stream_as_of('keep-1', now() + '1 day')), 6::bigint, 'as it was: of what is left');
SELECT is(es_fold('keep-1', 'add_up(jsonb, eventstore.event)'::regprocedure, '0'), '45'::jsonb, 'a fold: of what is left');
SELECT results_eq($$SELECT id, position, stream, version, type, recorded_at, digest FROM eventstore.removed_events WHERE stream = 'keep-1' ORDER BY version$$,
	$$SELECT id, position, stream, version, type, recorded_at, eventstore.event_digest(ROW(b.*)::eventstore.event) FROM before b WHERE version < 5 ORDER BY version$$,
	'what is gone is on record, with its digest');
SELECT is(es_truncate_stream('keep-1', 5), 0::bigint, 'once more: nothing to do');
SELECT is(es_truncate_stream('keep-1', 2), 0::bigint, 'before that: nothing to do');
SELECT is(es_truncate_stream('keep-1', 0), 0::bigint, 'before any version: nothing to do');
SELECT is(es_truncate_stream('keep-none', 5), 0::bigint, 'a stream that there is not: nothing to do');
SELECT is(attempt($$SELECT es_truncate_stream('keep-1', -1)$$), '22023 before_version must not be negative', 'a negative version');
SELECT is(attempt($$SELECT es_truncate_stream('keep-1', NULL)$$), '22004 before_version must not be null', 'null');
SELECT is(attempt($$SELECT es_truncate_stream(NULL, 1)$$), '22004 stream must not be null', 'no stream');
SELECT is(attempt($$SELECT es_truncate_stream('', 1)$$), '22023 stream name must not be empty', 'an empty name');

-- Snapshots: the one right before the beginning counts, the one before it is gone, one behind it is as it was.
SELECT is((SELECT array_agg(schema_version || ':' || version ORDER BY schema_version) FROM eventstore.snapshots WHERE stream = 'keep-1'), '{2:4,3:7}', 'snapshots of what is gone go with it');
SELECT results_eq($$SELECT version, state, (SELECT array_agg(e.version) FROM unnest(events) e) FROM es_load('keep-1', 2)$$, $$VALUES (4::bigint, '10'::jsonb, '{5,6,7,8,9,10}'::bigint[])$$,
	'one of the version right before the beginning counts');
SELECT is((SELECT (version, state)::text FROM es_snapshot('keep-1', 2)), '(4,10)', 'for es_snapshot, too');
SELECT results_eq($$SELECT version, state, (SELECT array_agg(e.version) FROM unnest(events) e) FROM es_load('keep-1', 3)$$, $$VALUES (7::bigint, '28'::jsonb, '{8,9,10}'::bigint[])$$, 'a later one counts');
SELECT results_eq($$SELECT version, state, cardinality(events) FROM es_load('keep-1')$$, $$VALUES (0::bigint, NULL::jsonb, 6)$$, 'without one: all that is left');
SET client_min_messages = warning;
SELECT es_save_snapshot('keep-1', 4, '11', 4), es_save_snapshot('keep-1', 2, '12', 2);
RESET client_min_messages;
SELECT is((SELECT array_agg(schema_version || ':' || version || ':' || state ORDER BY schema_version) FROM eventstore.snapshots WHERE stream = 'keep-1'), '{2:4:10,3:7:28}',
	'none is saved of what is gone, and none replaces one that counts');
SELECT is(es_truncate_stream('keep-1', 6), 1::bigint, 'truncated further');
SELECT is((SELECT count(*) FROM es_snapshot('keep-1', 2) s WHERE s.version IS NOT NULL), 0::bigint, 'with an event missing in between it does not count any more');

-- Retries of what is gone, in part or all of it
SELECT is(attempt($$SELECT fill('keep-1', 1, 10, 100)$$), '10', 'a retry of which half is gone answers as the first time');
SELECT is(es_last_position(), :last_position::bigint, 'with its position');
SELECT is(attempt($$SELECT es_append('keep-1', 0, 'Counted', '1', NULL, id(101))$$), '1', 'one of an event that is gone, too');
SELECT is(attempt($$SELECT es_append('keep-1', 10, 'Counted', '1', NULL, id(102)) FROM es_append('keep-1', 10, 'Counted', '1', NULL, id(102))$$), '2', 'again and again');
SELECT is(attempt($$SELECT es_append('keep-1', 10, ARRAY['Counted', 'Counted'], ARRAY['1', '1']::jsonb[], NULL, ARRAY[id(102), id(101)])$$),
	format('SE002 duplicate event id Event id "%s" was stored at version 2 of stream "keep-1", position %s, and is gone.', id(102), :last_position - 8), 'in another order');
SELECT is(attempt($$SELECT es_append('keep-1', 10, ARRAY['Counted', 'Counted'], ARRAY['1', '1']::jsonb[], NULL, ARRAY[id(101), NULL])$$),
	format('SE002 duplicate event id Event id "%s" was stored at version 1 of stream "keep-1", position %s, and is gone.', id(101), :last_position - 9), 'with one that is new');
SELECT is(left(attempt($$SELECT es_append('keep-2', 0, 'Counted', '1', NULL, id(101))$$), 24), 'SE002 duplicate event id', 'in another stream');
SELECT is(left(attempt($$SELECT es_append_if('keep-1', jsonb_build_object('type', 'Counted', 'id', id(103)), '[{"types": ["Counted"]}]')$$), 5), '3', 'a conditional one is a retry, too');
SELECT is((SELECT count(*) FROM eventstore.events WHERE stream LIKE 'keep-%'), 5::bigint, 'nothing of it was stored');

-- All of it gone, by truncation
SELECT is(es_truncate_stream('keep-1', 1000), 5::bigint, 'truncated beyond the end: all that is there');
SELECT is(versions('keep-1'), NULL, 'it has no event');
SELECT is(es_stream_version('keep-1'), 10::bigint, 'but its version');
SELECT is((SELECT count(*) FROM es_last_event('keep-1')), 0::bigint, 'no last event');
SELECT is(left(attempt($$SELECT es_append('keep-1', -2, 'Counted', '11')$$), 5), 'SE001', 'it has not at least one event');
SELECT is(left(attempt($$SELECT es_append('keep-1', 9, 'Counted', '11')$$), 5), 'SE001', 'it is not at another version');
SELECT is(es_append('keep-1', 10, 'Counted', '11'), 11::bigint, 'an append goes on at the next version');
SELECT ok(es_last_position() > :last_position, 'and position');
SELECT is(left(attempt($$SELECT es_append('keep-1', 0, 'Counted', '12')$$), 5), 'SE001', 'now it has an event');
SELECT is(es_append('keep-1', -2, 'Counted', '12'), 12::bigint, 'at least one');

-- ----------------------------------------------------------------------------------------------------------------------------------
-- A stream that is deleted
-- ----------------------------------------------------------------------------------------------------------------------------------

SELECT fill('gone-1', 1, 5, 200) AS last \gset
SELECT es_save_snapshot('gone-1', 5, '15');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', 4)$$), 'SE001 wrong expected version for stream "gone-1" Stream "gone-1" is at version 5, expected 4.', 'deletion: expected at another version');
SELECT is(left(attempt($$SELECT es_delete_stream('gone-1', 0)$$), 5), 'SE001', 'expected to have no event');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', NULL)$$), '22004 expected_version must not be null', 'expected nowhere');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', -3)$$), '22023 invalid expected version -3', 'a version that is none');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', -1, NULL)$$), '22004 tombstone must not be null', 'neither with nor without a tombstone');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', 5)$$), '', 'where it is expected');
SELECT is(versions('gone-1'), NULL, 'all its events are gone');
SELECT is((SELECT count(*) FROM eventstore.snapshots WHERE stream = 'gone-1'), 0::bigint, 'and its snapshots');
SELECT results_eq($$SELECT version, state, cardinality(events) FROM es_load('gone-1')$$, $$VALUES (0::bigint, NULL::jsonb, 0)$$, 'there is nothing to load');
SELECT is(es_stream_version('gone-1'), 5::bigint, 'its version is still known');
SELECT is(es_head(), es_last_position(), 'the head does not go back, though the last event is gone');
SELECT is(es_assert_version('gone-1', 0), 5::bigint, 'to who expects no event there is none');
SELECT is(es_assert_version('gone-1', 5), 5::bigint, 'to who expects its version it is there');
SELECT is(left(attempt($$SELECT es_assert_version('gone-1', -2)$$), 5), 'SE001', 'to who expects an event there is none');
SELECT is(fill('gone-1', 1, 5, 200), 5::bigint, 'a retry answers as the first time');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', 0)$$), '', 'deleted again, expected to have no event');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', 5)$$), '', 'or at its version');
SELECT is(left(attempt($$SELECT es_delete_stream('gone-1', -2)$$), 5), 'SE001', 'but not expected to have one');
SELECT is(es_append('gone-1', 0, 'Counted', '6'), 6::bigint, 'who expects no event appends at the next version');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', -1)$$), '', 'deleted whatever its version is');
SELECT is(es_append('gone-1', 6, 'Counted', '7'), 7::bigint, 'who expects the version, too');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', -2)$$), '', 'deleted as it has an event');
SELECT is((SELECT version FROM es_append_streams('[{"stream": "gone-1", "expected_version": 0, "events": {"type": "Counted"}}, {"stream": "gone-1", "expected_version": 8, "events": {"type": "Counted"}}]') OFFSET 1),
	9::bigint, 'two entries for one: each counts on the one before');
SELECT is(versions('gone-1'), '{8,9}', 'read from where it begins');
SELECT is(attempt($$SELECT es_delete_stream('gone-none', 0)$$), '', 'a stream that there is not');
SELECT is((SELECT count(*) FROM eventstore.streams WHERE stream = 'gone-none'), 0::bigint, 'leaves nothing');
SELECT is(left(attempt($$SELECT es_delete_stream('gone-none', -2)$$), 5), 'SE001', 'nor has it an event');

-- For ever
SELECT is(attempt($$SELECT es_delete_stream('gone-1', 9, true)$$), '', 'with a tombstone');
SELECT is(attempt(call), 'SE003 stream "gone-1" is deleted', call) FROM unnest(ARRAY[
	$$SELECT es_append('gone-1', 9, 'Counted', '10')$$, $$SELECT es_append('gone-1', 0, 'Counted', '10')$$, $$SELECT es_append('gone-1', -1, 'Counted', '10')$$,
	$$SELECT es_append('gone-1', -2, 'Counted', '10')$$, $$SELECT es_append('gone-1', 17, '[{"type": "Counted"}]')$$,
	$$SELECT es_append_streams('[{"stream": "gone-1", "expected_version": -1, "events": {"type": "Counted"}}]')$$,
	$$SELECT es_append_if('gone-1', '{"type": "Counted"}', '[{"types": ["None"]}]')$$,
	$$SELECT es_assert_version('gone-1', -1)$$]) call;
SELECT is(attempt($$SELECT es_append_streams('[{"stream": "gone-0", "expected_version": 3, "events": {"type": "Counted"}}, {"stream": "gone-1", "expected_version": -1, "events": {"type": "Counted"}}]')$$),
	E'SE001 wrong expected version for stream "gone-0" Stream "gone-0" is at version 0, expected 3.\nStream "gone-1" is deleted.', 'beside another that does not fit');
SELECT is(fill('gone-1', 1, 5, 200), 5::bigint, 'a retry answers as the first time');
SELECT is(attempt($$SELECT es_delete_stream('gone-1', 9)$$), '', 'it stays so, whatever is said of it');
SELECT is((SELECT tombstoned FROM eventstore.streams WHERE stream = 'gone-1'), true, 'indeed');
SELECT is(attempt($$SELECT es_delete_stream('gone-new', 0, true)$$), '', 'a tombstone where nothing was');
SELECT is(left(attempt($$SELECT es_append('gone-new', 0, 'Counted', '1')$$), 5), 'SE003', 'keeps the name free');

-- In the transaction of an append, of a retry; and undone
BEGIN;
SELECT fill('gone-2', 1, 3, 300) AS last \gset
SELECT is(attempt($$SELECT es_delete_stream('gone-2', 3)$$), '', 'deleted where it was appended');
SELECT is(fill('gone-2', 1, 3, 300), 3::bigint, 'a retry in the same transaction');
SELECT is(es_append('gone-2', 0, 'Counted', '4'), 4::bigint, 'an append in the same transaction');
SAVEPOINT a;
SELECT is(es_truncate_stream('gone-2', 5), 1::bigint, 'truncated there');
ROLLBACK TO a;
SELECT is(versions('gone-2'), '{4}', 'and undone');
COMMIT;
SELECT is(versions('gone-2'), '{4}', 'is what is there');

-- ----------------------------------------------------------------------------------------------------------------------------------
-- Nothing else changes events
-- ----------------------------------------------------------------------------------------------------------------------------------

SELECT throws_ok($$DELETE FROM eventstore.events WHERE stream = 'keep-1'$$, 'SE007', NULL, 'a DELETE after a truncation');
DO $$
DECLARE
	hint text;
BEGIN
	DELETE FROM eventstore.events;
EXCEPTION
	WHEN SQLSTATE 'SE007' THEN
		GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
		RAISE NOTICE '%', hint;
END $$;
-- A trigger of the DBA's knows of what goes, and can not use the moment.
CREATE TABLE seen (stream text, version bigint, was_refused boolean);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
	was_refused boolean := false;
BEGIN
	BEGIN
		DELETE FROM eventstore.events WHERE stream = 'keep-1';
	EXCEPTION
		WHEN SQLSTATE 'SE007' THEN
			was_refused := true;
	END;
	INSERT INTO test_keeping.seen VALUES (old.stream, old.version, was_refused);
	RETURN old;
END
$$;
CREATE TRIGGER see BEFORE DELETE ON eventstore.events FOR EACH ROW EXECUTE FUNCTION see();
SELECT is(es_truncate_stream('gone-2', 5), 1::bigint, 'with a trigger of one''s own');
SELECT is((SELECT array_agg(s::text) FROM seen s), '{"(gone-2,4,t)"}', 'it sees the event go, and reaches no other');
DROP TRIGGER see ON eventstore.events;
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN CASE WHEN old.version <> 2 THEN old END; END $$;
CREATE TRIGGER keep BEFORE DELETE ON eventstore.events FOR EACH ROW EXECUTE FUNCTION keep();
SELECT fill('gone-4', 1, 3, 410) AS last \gset
SELECT is(left(attempt($$SELECT es_delete_stream('gone-4', 3, true)$$), 5), '27000', 'a stream that a trigger keeps an event of is not called deleted');
SELECT is(versions('gone-4'), '{1,2,3}', 'and has all of them');
DROP TRIGGER keep ON eventstore.events;
SELECT fill('gone-3', 1, 2, 400) AS last \gset

-- Who may
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_es_reader, regress_es_appender, regress_es_admin;
CREATE ROLE regress_es_reader;
CREATE ROLE regress_es_appender;
CREATE ROLE regress_es_admin;
RESET client_min_messages;
SELECT es_grant('regress_es_reader', 'read'), es_grant('regress_es_appender', 'append'), es_grant('regress_es_admin', 'admin');
GRANT USAGE ON SCHEMA test_keeping TO regress_es_reader, regress_es_appender, regress_es_admin;
SET ROLE regress_es_reader;
SELECT is(left(attempt($$SELECT es_delete_stream('gone-3', 2)$$), 5), '42501', 'not who reads');
SET ROLE regress_es_appender;
SELECT is(left(attempt($$SELECT es_delete_stream('gone-3', 2)$$), 5), '42501', 'not who appends');
SELECT is(left(attempt($$SELECT es_truncate_stream('gone-3', 2)$$), 5), '42501', 'nor truncates');
SET ROLE regress_es_admin;
SELECT is(es_truncate_stream('gone-3', 2), 1::bigint, 'an admin may');
SELECT is(left(attempt($$DELETE FROM eventstore.events WHERE stream = 'gone-3'$$), 5), '42501', 'by these functions only');
RESET ROLE;
-- A snapshot of what is gone tells of events that nobody can ask row security about: what is left of the stream decides.
SELECT fill('secret-1', 1, 4), fill('open-1', 1, 4);
SELECT es_save_snapshot('secret-1', 2, '"secret"'), es_save_snapshot('open-1', 2, '"open"'), es_truncate_stream('secret-1', 3), es_truncate_stream('open-1', 3);
CREATE POLICY seen ON eventstore.events FOR SELECT USING (category <> 'secret');
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY;
SET ROLE regress_es_reader;
SELECT is((SELECT array_agg((l.version, l.state, cardinality(l.events))::text) FROM (VALUES ('secret-1'), ('open-1')) s (stream), es_load(s.stream) l), '{"(0,,0)","(2,\"\"\"open\"\"\",2)"}',
	'a snapshot of what is gone counts where row security hides nothing of the rest');
SELECT is((SELECT array_agg(l.version) FROM (VALUES ('secret-1'), ('open-1')) s (stream), es_snapshot(s.stream) l), '{NULL,2}', 'for es_snapshot, too');
RESET ROLE;
SELECT es_truncate_stream('open-1', 5);
SET client_min_messages = warning;
SELECT es_save_snapshot('open-1', 4, '"lost"');
RESET client_min_messages;
SET ROLE regress_es_reader;
SELECT is((SELECT version FROM es_load('open-1')), 0::bigint, 'where nothing is left, it does not');
RESET ROLE;
DROP POLICY seen ON eventstore.events;
-- Row security does not come in between.
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE eventstore.events FORCE ROW LEVEL SECURITY;
SET ROLE regress_es_admin;
SELECT is(attempt($$SELECT es_delete_stream('gone-3', 2)$$), '', 'whatever row security hides');
RESET ROLE;
ALTER TABLE eventstore.events NO FORCE ROW LEVEL SECURITY;
ALTER TABLE eventstore.events DISABLE ROW LEVEL SECURITY;
SELECT is(versions('gone-3'), NULL, 'it is gone');

-- ----------------------------------------------------------------------------------------------------------------------------------
-- Conditions
-- ----------------------------------------------------------------------------------------------------------------------------------

SELECT es_append('tagged-1', 0, 'Taken', '{}', tags => '{name:ann}'), es_append('tagged-2', 0, 'Taken', '{}', tags => '{name:bob,name:ann}');
SELECT is(left(attempt($$SELECT es_append_if('tagged-3', '{"type": "Taken"}', '[{"tags": ["name:ann"]}]')$$), 5), 'SE004', 'an event matches');
SELECT es_delete_stream('tagged-1', 1), es_truncate_stream('tagged-2', 2);
SELECT is((SELECT count(*) FROM es_read_query('[{"tags": ["name:ann"]}]')), 0::bigint, 'what is gone is not found by its tags');
SELECT is(es_append_if('tagged-3', '{"type": "Taken"}', '[{"tags": ["name:ann"]}]'), 1::bigint, 'nor does a condition know of it');

-- ----------------------------------------------------------------------------------------------------------------------------------
-- Subscriptions
-- ----------------------------------------------------------------------------------------------------------------------------------

SELECT fill('sub-1', 1, 6) AS last \gset
SELECT fill('sub-2', 1, 2) AS last \gset
SELECT es_create_subscription('keeping', 'sub', max_retries => 1);
SELECT is((SELECT array_agg(version) FROM es_fetch('keeping', 'c', 2)), '{1,2}', 'delivered before');
SELECT es_truncate_stream('sub-1', 6);
SELECT es_nack('keeping', token, position, 'broken', 'park') FROM (SELECT max(token) AS token FROM eventstore.subscription_shares WHERE subscription = 'keeping') t, eventstore.removed_events WHERE stream = 'sub-1' AND version = 1;
SELECT is((SELECT count(*) FROM eventstore.parked WHERE subscription = 'keeping'), 0::bigint, 'a nack of an event that is gone since has nothing to put aside');
SELECT es_ack('keeping', (SELECT max(token) FROM eventstore.subscription_shares WHERE subscription = 'keeping'), (SELECT position FROM eventstore.removed_events WHERE stream = 'sub-1' AND version = 2));
CREATE TABLE fetched AS SELECT * FROM es_fetch('keeping', 'c');
SELECT is((SELECT array_agg(stream || ':' || version ORDER BY position) FROM fetched), '{sub-1:6,sub-2:1,sub-2:2}', 'what is gone is passed over');
SELECT es_nack('keeping', token, position, 'later', 'retry') FROM fetched WHERE stream = 'sub-1';
SELECT es_nack('keeping', token, position, 'broken', 'park') FROM fetched WHERE stream = 'sub-2' AND version = 1;
SELECT es_ack('keeping', token, position) FROM fetched WHERE stream = 'sub-2' AND version = 2;
SELECT es_delete_stream('sub-1', 6), es_delete_stream('sub-2', 2);
SELECT is((SELECT count(*) FROM es_fetch('keeping', 'c')), 0::bigint, 'an event that was to be retried is gone');
SELECT is((SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'keeping' AND due IS NOT NULL), 0::bigint, 'and forgotten');
SELECT is((SELECT array_agg((stream, category, version, type, data IS NULL, reason)::text) FROM eventstore.parked WHERE subscription = 'keeping'), '{"(sub-2,sub,1,Counted,t,broken)"}',
	'one that is parked is still shown, without its data');
SELECT is((SELECT es_replay_parked('keeping', p.id) FROM eventstore.parked p WHERE subscription = 'keeping'), 1, 'replayed');
SELECT is((SELECT count(*) FROM es_fetch('keeping', 'c')), 0::bigint, 'it is passed over, too');
SELECT is((SELECT count(*) FROM eventstore.parked WHERE subscription = 'keeping'), 0::bigint, 'and is done');
SELECT is((SELECT checkpoint FROM eventstore.subscription_status WHERE name = 'keeping' AND partition = es_partition('sub-2', 64)) >= (SELECT max(position) FROM eventstore.removed_events WHERE stream = 'sub-2'),
	true, 'the checkpoint is beyond');
-- A parked event that holds its stream, and is gone: thrown away.
SELECT es_alter_subscription('keeping', park_policy => 'block_stream');
SELECT fill('sub-3', 1, 2) AS last \gset
DROP TABLE fetched;
CREATE TABLE fetched AS SELECT * FROM es_fetch('keeping', 'c', 1);
SELECT es_nack('keeping', token, position, 'broken', 'park') FROM fetched;
SELECT es_truncate_stream('sub-3', 2);
SELECT is((SELECT count(*) FROM es_fetch('keeping', 'c')), 0::bigint, 'it holds its stream');
SELECT es_drop_parked('keeping', id) FROM eventstore.parked WHERE subscription = 'keeping';
SELECT is((SELECT array_agg(stream || ':' || version) FROM es_fetch('keeping', 'c')), '{sub-3:2}', 'until it is thrown away');
SELECT es_drop_subscription('keeping');

-- ----------------------------------------------------------------------------------------------------------------------------------
-- Projections
-- ----------------------------------------------------------------------------------------------------------------------------------

SET client_min_messages = warning;
SELECT es_create_projection('kept_sums', 'SELECT stream, count(*) AS events, sum(data::text::int) AS total FROM events GROUP BY stream', categories => '{proj}');
SELECT es_create_projection('kept_late', 'SELECT stream, count(*) AS events FROM events GROUP BY stream', 'async', '{proj}');
CREATE TABLE kept_log (stream text, version bigint, PRIMARY KEY (stream, version));
SELECT es_create_projection('kept_handler', 'INSERT INTO kept_log SELECT stream, version FROM events', categories => '{proj}', tables => '{kept_log}');
SELECT fill('proj-1', 1, 4) AS last, fill('proj-2', 1, 1) AS other \gset
SELECT es_run_projection('kept_late', 2);
RESET client_min_messages;
SELECT es_truncate_stream('proj-1', 4);
SELECT es_delete_stream('proj-2', 1);
SELECT is((SELECT array_agg(k::text ORDER BY stream) FROM kept_sums k), '{"(proj-1,4,10)","(proj-2,1,1)"}', 'a read table keeps what it was made of');
SELECT results_eq($$SELECT kind, key, stored->'events', expected->'events' FROM es_verify_projection('kept_sums') ORDER BY key$$,
	$$VALUES ('different', '{"stream": "proj-1"}'::jsonb, '4'::jsonb, '1'::jsonb), ('extra', '{"stream": "proj-2"}', '1', NULL)$$, 'es_verify_projection shows the difference');
SELECT is((SELECT count(*) FROM es_verify_projection('kept_handler')), 4::bigint, 'of a handler, too');
SELECT es_run_projection('kept_late');
SELECT is((SELECT array_agg(k::text) FROM kept_late k), '{"(proj-1,3)"}', 'an async one is applied to what is left of what it had not come to');
SELECT is((SELECT position FROM eventstore.projection_status WHERE name = 'kept_late'), es_head(), 'and goes on to the head');
SELECT fill('proj-1', 5, 5) AS last \gset
SELECT is((SELECT events FROM kept_sums WHERE stream = 'proj-1'), 5::bigint, 'what comes is applied to what it is');
SELECT is(es_projection_as_of('kept_sums', 'kept_then'), 2::bigint, 'as it would be: of what is left');
SELECT is(es_rebuild_projection('kept_sums'), 2::bigint, 'rebuilt of what is left');
SELECT is((SELECT array_agg(k::text) FROM kept_sums k), '{"(proj-1,2,9)"}', 'it is what is left');
SELECT is((SELECT count(*) FROM es_verify_projection('kept_sums')), 0::bigint, 'and right again');
SELECT is(es_rebuild_projection('kept_handler'), 2::bigint, 'a handler, too');
SET client_min_messages = warning;
SELECT es_drop_projection('kept_sums', true), es_drop_projection('kept_late', true), es_drop_projection('kept_handler');

-- An event that is being stored is not one that is gone: who appends to its stream meanwhile finds it there.
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
	PERFORM es_append(NEW.stream, 0, 'Follows', '{}');
	RETURN NEW;
END
$$;
CREATE TRIGGER follow BEFORE INSERT ON eventstore.events FOR EACH ROW WHEN (NEW.type = 'First') EXECUTE FUNCTION follow();
SELECT throws_ok($$SELECT es_append('made-1', 0, 'First', '{}')$$, 'SE001', NULL, 'a trigger that appends to a stream that is being made');
SELECT is(es_stream_version('made-1'), 0::bigint, 'nothing of it is stored');
DROP TRIGGER follow ON eventstore.events;

SELECT * FROM finish();
DROP OWNED BY regress_es_reader, regress_es_appender, regress_es_admin;
DROP ROLE regress_es_reader, regress_es_appender, regress_es_admin;
DROP SCHEMA test_keeping CASCADE;
