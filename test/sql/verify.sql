-- es_verify: no row on a sound store, and the right ones for each kind of damage, done with triggers off or in the catalogue.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
-- A store of its own, as others leave theirs as they like; all is rolled back.
BEGIN;
SET LOCAL client_min_messages = warning;
DROP EXTENSION eventstore CASCADE;
CREATE EXTENSION eventstore;
SET LOCAL client_min_messages = notice;
SET LOCAL allow_system_table_mods = on;
CREATE SCHEMA test_verify;

CREATE TABLE test_verify.counts (category text PRIMARY KEY, n bigint);
SELECT es_append('a-1', 0, $$[{"type": "T", "tags": ["x", "y", "x"]}, {"type": "T"}, {"type": "T", "tags": []}]$$),
	   es_append('a-2', 0, $$[{"type": "T", "tags": ["x"]}, {"type": "T", "data": {"n": 1}}]$$),
	   es_append('b', -1, 'U', '{}'), es_append('a-1', 3, 'T', '{}'), es_assert_version('none', 0),
	   es_append('é-1', 0, 'Ä', '{}', tags => '{ö}');
SELECT es_create_subscription('s', after_position => 0);
SELECT count(*) FROM es_fetch('s', 'c', 100);
SELECT es_create_projection('p', 'SELECT category, count(*) AS n FROM events GROUP BY category', 'async'), es_create_projection('q', 'SELECT type, count(*) AS n FROM events GROUP BY type');
SELECT es_save_snapshot('a-1', 2, '{"n": 2}');
INSERT INTO eventstore.marks SELECT max(position), clock_timestamp() FROM eventstore.events;

\echo sound
SELECT * FROM es_verify();

-- What es_verify finds after some statements, which are undone.
CREATE FUNCTION test_verify.damage(VARIADIC statements text[]) RETURNS SETOF text LANGUAGE plpgsql AS
$$
DECLARE
	statement text;
	found text;
BEGIN
	ALTER TABLE eventstore.events DISABLE TRIGGER ALL;
	FOREACH statement IN ARRAY statements LOOP
		EXECUTE statement;
	END LOOP;
	SELECT string_agg(format('%s | %s | %s', check_name, coalesce(stream, '-'), regexp_replace(detail, '[0-9a-f]{8}-[0-9a-f-]{27}', '<id>')), E'\n'
					  ORDER BY check_name COLLATE "C", stream COLLATE "C", detail COLLATE "C") INTO found FROM es_verify();
	RAISE EXCEPTION USING ERRCODE = 'TT000', MESSAGE = coalesce(found, 'nothing');
EXCEPTION WHEN SQLSTATE 'TT000' THEN
	RETURN QUERY SELECT '    ' || line FROM regexp_split_to_table(SQLERRM, E'\n') line;
END
$$;
-- Statements during which an index gets no entries.
CREATE FUNCTION test_verify.without(index text, VARIADIC statements text[]) RETURNS SETOF text LANGUAGE sql AS
$$
	SELECT test_verify.damage(VARIADIC format('UPDATE pg_index SET indisready = false WHERE indexrelid = ''eventstore.%s''::regclass', index)
		|| statements || format('UPDATE pg_index SET indisready = true WHERE indexrelid = ''eventstore.%s''::regclass', index))
$$;

\echo an event is missing: between others, the first one, the last one, all of a stream
SELECT test_verify.damage($$DELETE FROM eventstore.events WHERE stream = 'a-1' AND version = 2$$);
SELECT test_verify.damage($$DELETE FROM eventstore.events WHERE stream = 'a-1' AND version = 1$$);
SELECT test_verify.damage($$DELETE FROM eventstore.events WHERE stream = 'a-1' AND version = 4$$);
SELECT test_verify.damage($$DELETE FROM eventstore.events WHERE stream = 'a-2'$$);
\echo an event that was never appended: behind the last, of an unknown stream, at a version below 1
SELECT test_verify.damage($$INSERT INTO eventstore.events SELECT nextval('eventstore.positions'), stream, category, 6, gen_random_uuid(), type, data, metadata, tags, recorded_at + interval '1 day' FROM eventstore.events WHERE position = 3$$);
SELECT test_verify.damage($$DELETE FROM eventstore.streams WHERE stream = 'a-2'$$);
SELECT test_verify.damage($$UPDATE eventstore.events SET version = version - 5 WHERE stream = 'b'$$);
\echo events that were removed: in due form nothing is wrong; one is there again, in part or as a whole; one is not the beginning; a row of the list is missing
SELECT test_verify.damage($$SELECT es_truncate_stream('a-1', 3)$$, $$SELECT es_delete_stream('a-2', 2)$$);
SELECT test_verify.damage($$SELECT es_delete_stream('a-2', 2, true)$$, $$SELECT es_append('a-1', 4, 'T', '{}')$$, $$SELECT es_delete_stream('a-1', 5)$$, $$SELECT es_append('a-1', 0, 'T', '{}')$$);
SELECT test_verify.damage($$CREATE TABLE test_verify.kept AS SELECT * FROM eventstore.events$$, $$SELECT es_truncate_stream('a-1', 2)$$, 'ALTER TABLE eventstore.events DISABLE TRIGGER ALL',
						  $$INSERT INTO eventstore.events SELECT * FROM test_verify.kept WHERE position = 1$$);
SELECT test_verify.damage($$SELECT es_truncate_stream('a-1', 2)$$, 'ALTER TABLE eventstore.events DISABLE TRIGGER ALL', $$UPDATE eventstore.events SET id = (SELECT id FROM eventstore.removed_events) WHERE position = 5$$);
SELECT test_verify.damage($$INSERT INTO eventstore.removed_events SELECT id, position, stream, version, type, recorded_at, now(), eventstore.event_digest(e::text::eventstore.event) FROM eventstore.events e WHERE position = 2$$,
						  $$DELETE FROM eventstore.events WHERE position = 2$$);
SELECT test_verify.damage($$SELECT es_truncate_stream('a-1', 3)$$, $$DELETE FROM eventstore.removed_events WHERE position = 1$$);
\echo order along a stream: positions, times
SELECT test_verify.damage($$UPDATE eventstore.events SET position = -position WHERE position IN (2, 3)$$, $$UPDATE eventstore.events SET position = 5 + position WHERE position < 0$$);
SELECT test_verify.damage($$UPDATE eventstore.events SET recorded_at = recorded_at - interval '1 s' WHERE stream = 'a-1' AND version = 3$$);
\echo unique: positions, versions, ids; with constraints dropped, and with indexes that miss entries
SELECT test_verify.damage('ALTER TABLE eventstore.events DROP CONSTRAINT events_pkey', $$UPDATE eventstore.events SET position = 1 WHERE position = 2$$);
SELECT test_verify.without('events_pkey', $$UPDATE eventstore.events SET position = 1 WHERE position = 2$$);
SELECT test_verify.damage('ALTER TABLE eventstore.events DROP CONSTRAINT events_stream_version_key', $$UPDATE eventstore.events SET version = 1 WHERE stream = 'a-1' AND version = 2$$);
SELECT test_verify.damage('ALTER TABLE eventstore.events DROP CONSTRAINT events_id_key', $$UPDATE eventstore.events SET id = (SELECT id FROM eventstore.events WHERE position = 1) WHERE position = 5$$);
SELECT test_verify.without('events_id_key', $$UPDATE eventstore.events SET id = (SELECT id FROM eventstore.events WHERE position = 1) WHERE position = 5$$);
\echo a position that was not given out; the sequence is behind
SELECT test_verify.damage($$UPDATE eventstore.events SET position = 500 WHERE stream = 'b'$$);
SELECT test_verify.damage($$UPDATE eventstore.events SET position = 0 WHERE position = 1$$);
SELECT last_value AS last FROM eventstore.positions \gset
SELECT test_verify.damage($$SELECT setval('eventstore.positions', 5)$$);
SELECT setval('eventstore.positions', :last) \g /dev/null
\echo rows of streams
SELECT test_verify.damage($$UPDATE eventstore.streams SET version = 7 WHERE stream = 'a-1'$$);
SELECT test_verify.damage($$UPDATE eventstore.streams SET recorded_at = recorded_at - interval '1 s' WHERE stream = 'a-1'$$);
SELECT test_verify.damage($$UPDATE eventstore.streams SET tombstoned = true WHERE stream = 'b'$$);
SELECT test_verify.damage('SET LOCAL eventstore.restoring = on', $$INSERT INTO eventstore.streams VALUES ('c', 1, now())$$);
SELECT test_verify.damage('SET LOCAL eventstore.restoring = on', 'ALTER TABLE eventstore.streams DROP CONSTRAINT streams_pkey', $$INSERT INTO eventstore.streams SELECT * FROM eventstore.streams WHERE stream = 'b'$$);
\echo categories, types, tags
SELECT test_verify.damage($$UPDATE eventstore.events SET category = 'b' WHERE position = 2$$);
SELECT test_verify.damage($$UPDATE eventstore.events SET category = category || '-1' WHERE stream = 'é-1'$$);
SELECT test_verify.damage($$UPDATE eventstore.events SET type = '' WHERE position = 2$$);
SELECT test_verify.damage($$UPDATE eventstore.events SET tags = '{{a,b},{c,d}}' WHERE position = 2$$);
SELECT test_verify.damage($$UPDATE eventstore.events SET tags = '{a,NULL}' WHERE position = 2$$);
\echo indexes: not there, not valid, not unique, without an entry
SELECT test_verify.damage('DROP INDEX eventstore.events_tags_position_idx');
SELECT test_verify.damage($$UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'eventstore.events_category_position_idx'::regclass$$);
SELECT test_verify.damage('ALTER TABLE eventstore.events DROP CONSTRAINT events_id_key', 'CREATE INDEX events_id_key ON eventstore.events (id)');
SELECT test_verify.without('events_stream_version_key', $$UPDATE eventstore.events SET type = 'Z' WHERE position = 2$$, $$UPDATE eventstore.events SET position = position + 0, tags = '{z}' WHERE position = 2$$);
SELECT test_verify.without('events_category_position_idx', $$UPDATE eventstore.events SET tags = '{z}' WHERE position = 2$$);
SELECT test_verify.without('events_tags_position_idx', $$UPDATE eventstore.events SET tags = '{x,w}' WHERE position = 4$$);
\echo subscriptions: beyond the head, of nobody, of an event that is not there
SELECT test_verify.damage($$UPDATE eventstore.subscription_shares SET checkpoint = 5000$$);
SELECT test_verify.damage($$UPDATE eventstore.subscriptions SET drain_to = 5000$$);
SELECT test_verify.damage($$DELETE FROM eventstore.subscriptions$$);
SELECT test_verify.damage($$INSERT INTO eventstore.subscription_retries (subscription, position, stream, version, retry, attempts, is_blocking) VALUES ('s', 4000, 'a-1', 1, 1, 1, false)$$);
SELECT test_verify.damage($$INSERT INTO eventstore.subscription_retries (subscription, position, stream, version, retry, attempts, is_blocking) VALUES ('t', 1, 'a-1', 1, 1, 1, false)$$);
SELECT last_value AS last FROM eventstore.subscription_tokens \gset
SELECT test_verify.damage($$SELECT setval('eventstore.subscription_tokens', 1, false)$$);
SELECT setval('eventstore.subscription_tokens', :last) \g /dev/null
\echo projections, likewise
SELECT test_verify.damage($$UPDATE eventstore.projection_checkpoints SET position = 5000$$);
SELECT test_verify.damage($$INSERT INTO eventstore.projection_appends VALUES ('none', 1), ('p', 900)$$, $$INSERT INTO eventstore.skipped_events VALUES ('none', 1, NULL, NULL, NULL, now())$$,
						  $$INSERT INTO eventstore.projection_missed VALUES ('none', 1, NULL, NULL, now())$$, $$INSERT INTO eventstore.stale_projections VALUES ('none', 'XX000', 'why', now())$$,
						  $$INSERT INTO eventstore.projection_needs VALUES ('none', 'list', '', 'none')$$, $$INSERT INTO eventstore.intact_projections VALUES ('none')$$);
SELECT test_verify.damage('ALTER TABLE eventstore.local_projections DROP CONSTRAINT local_projections_projection_fkey', $$INSERT INTO eventstore.local_projections VALUES ('none')$$);
\echo the head that was announced, marks, snapshots
SELECT test_verify.damage($$INSERT INTO eventstore.head VALUES (true, 700) ON CONFLICT (only_row) DO UPDATE SET position = 700$$);
SELECT test_verify.damage($$UPDATE eventstore.marks SET position = 800$$);
SELECT test_verify.damage($$UPDATE eventstore.marks SET recorded_by = recorded_by - interval '10 s'$$);
SELECT test_verify.damage($$UPDATE eventstore.snapshots SET stream = 'nobody'$$);

\echo sound again, in a session that is told to see nothing of a table, and in one that reads only
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT * FROM es_verify();
SELECT test_verify.damage($$UPDATE eventstore.events SET category = 'b' WHERE position = 2$$);
CREATE ROLE test_verify_admin;
CREATE ROLE test_verify_reader;
SELECT es_grant('test_verify_admin', 'admin'), es_grant('test_verify_reader', 'read');
UPDATE eventstore.streams SET version = 7 WHERE stream = 'a-1';
SET LOCAL ROLE test_verify_admin;
SELECT * FROM es_verify();
SELECT current_user;
SAVEPOINT s;
SET LOCAL ROLE test_verify_reader;
SELECT * FROM es_verify();
ROLLBACK TO s;
SET LOCAL transaction_read_only = on;
SELECT * FROM es_verify();
ROLLBACK;
