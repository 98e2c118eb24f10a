-- Moving: es_export gives events as JSON, es_import stores them in another store. It takes a database of its own: what is exported here is
-- imported into a store that is made anew in the middle.
SET client_min_messages = warning;
DROP DATABASE IF EXISTS test_move;
\pset format unaligned
\pset tuples_only on
\set home :DBNAME
CREATE DATABASE test_move TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
\connect test_move
SET client_min_messages = warning;
CREATE EXTENSION eventstore;
CREATE EXTENSION pgtap;
CREATE SCHEMA move_test;
SET search_path = move_test, public;
SET TIME ZONE 'America/New_York';
SET DateStyle = 'SQL, DMY';

SELECT no_plan();

-- What a statement raises: code, message, detail, hint, a line each
CREATE FUNCTION raised(statement text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	code text; message text; detail text; hint text;
BEGIN
	EXECUTE statement;
	RETURN 'nothing';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n', code, message, nullif(detail, ''), nullif(hint, ''));
END
$$;
-- An event as es_export writes it
CREATE FUNCTION line(stream text, version bigint, number int, type text DEFAULT 'Moved', data jsonb DEFAULT '{}', at text DEFAULT '2020-01-01T00:00:00+00:00') RETURNS jsonb LANGUAGE sql AS
$$
	SELECT jsonb_build_object('stream', stream, 'version', version, 'id', format('00000000-0000-4000-8000-%s', lpad(number::text, 12, '0')), 'type', type, 'data', data, 'recorded_at', at)
$$;
-- What everybody can see of the store
CREATE FUNCTION contents() RETURNS TABLE (event text) LANGUAGE sql AS
$$
	SELECT (e - 'position')::text FROM es_export() e
$$;

-- ---------------------------------------------------------------- Export
SELECT is((SELECT count(*) FROM es_export()), 0::bigint, 'an empty store: nothing');
SELECT is(es_append('a-1', 0, 'Opened', '{"by": "x", "n": 1.10}', '{"u": [1]}', '7a1d5c1e-0000-4000-8000-000000000001', '{x,y}'), 1::bigint, 'an event');
SELECT is(es_append('a-1', 1, 'More', '[1, {"b": "a\\b\"c\n\u0001☃"}]', NULL, '7a1d5c1e-0000-4000-8000-000000000002', '{}'), 2::bigint, 'its data an array');
SELECT is(es_append('b-{t}-1', 0, '[{"type": "S", "data": 5}, {"type": "S", "data": null}, {"type": "S", "data": "s"}, {"type": "S", "data": true}]'), 4::bigint, 'and scalars');
SELECT is(es_append('a', 0, 'Opened', '{}'), 1::bigint, 'a stream without an instance');
SELECT is((SELECT (e - 'position' - 'recorded_at')::text FROM es_export(0, 1) e),
		  '{"id": "7a1d5c1e-0000-4000-8000-000000000001", "data": {"n": 1.10, "by": "x"}, "tags": ["x", "y"], "type": "Opened", "stream": "a-1", "version": 1, "metadata": {"u": [1]}}', 'the form of a line');
SELECT is((SELECT e->'tags' FROM es_export(1, 2) e), '[]'::jsonb, 'no tags are not null');
SELECT is((SELECT e->'metadata' FROM es_export(1, 2) e), 'null'::jsonb, 'what there is not is null');
SELECT ok((SELECT bool_and(e->>'recorded_at' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00$') FROM es_export() e), 'times are in UTC, whatever the session''s zone');
SELECT ok((SELECT bool_and((e->>'recorded_at')::timestamptz = v.recorded_at) FROM es_export() e JOIN eventstore.events v ON v.position = (e->>'position')::bigint), 'and exact');
SELECT ok((SELECT bool_and(e->'data' = v.data AND e->'metadata' IS NOT DISTINCT FROM coalesce(v.metadata, 'null') AND (e->>'version')::bigint = v.version AND e->>'stream' = v.stream AND e->>'id' = v.id::text AND e->>'type' = v.type)
		   FROM es_export() e JOIN eventstore.events v ON v.position = (e->>'position')::bigint), 'all is what the table has');
SELECT is((SELECT array_agg((e->>'position')::bigint) FROM es_export() e), (SELECT array_agg(position ORDER BY position) FROM eventstore.events), 'in order of position');
SELECT is((SELECT array_agg((e->>'position')::bigint) FROM es_export(1, 4) e), '{2,3,4}', 'after a position, up to another');
SELECT is((SELECT count(*) FROM es_export(es_head())), 0::bigint, 'after the head: nothing');
SELECT is((SELECT count(*) FROM es_export(0, 0)), 0::bigint, 'up to 0: nothing');
SELECT is((SELECT count(*) FROM es_export(upto => 1000000)), 7::bigint, 'up to beyond the head: up to the head');
SELECT is((SELECT array_agg(DISTINCT e->>'stream') FROM es_export(category => 'a') e), '{a,a-1}', 'a category');
SELECT is((SELECT count(*) FROM es_export(tenant => 't')), 4::bigint, 'a tenant');
SELECT is((SELECT count(*) FROM es_export(3, category => 'b', tenant => 't')), 3::bigint, 'both, after a position');
SELECT is((SELECT count(*) FROM es_export(category => 'a', tenant => 't')), 0::bigint, 'both, and none of both');
SELECT is((SELECT count(*) FROM (SELECT es_export() LIMIT 3) e), 3::bigint, 'who has enough, stops');
SELECT is(raised('SELECT es_export(-1)'), E'22023\nafter_position must not be negative', 'a negative position');
SELECT is(raised('SELECT es_export(NULL)'), E'22004\nafter_position must not be null', 'none');
SELECT is(raised('SELECT es_export(0, -1)'), E'22023\nupto must not be negative', 'a negative end');
SELECT is(left(raised($$SELECT es_export(tenant => 'a}')$$), 5), '22023', 'no stream has such a tenant');
BEGIN;
SELECT is(es_append('a-1', 2, 'Mine', '{}'), 3::bigint, 'an event in flight');
SELECT is((SELECT count(*) FROM es_export()), 7::bigint, 'is above the head, for its own transaction, too');
ROLLBACK;
-- Several portions, and a cursor that is left in the middle
SELECT es_append('many-1', 0, (SELECT jsonb_agg(jsonb_build_object('type', 'T', 'data', n)) FROM generate_series(1, 2500) n)) AS version;
SELECT is((SELECT array_agg((e->>'data')::int) FROM es_export(category => 'many') e), (SELECT array_agg(n) FROM generate_series(1, 2500) n), 'more than a portion');
BEGIN;
DECLARE c CURSOR FOR SELECT e->>'data' FROM es_export(category => 'many') e;
DECLARE d CURSOR FOR SELECT es_export(category => 'many')->>'data';
FETCH 2 FROM c;
MOVE 1001 IN d;
FETCH 1 FROM d;
SAVEPOINT s;
FETCH 1 FROM d;
ROLLBACK TO s;
FETCH 1 FROM d;
CLOSE d;
COMMIT;
-- Forgotten while it is read: gone from the next portion on
BEGIN;
DECLARE d CURSOR FOR SELECT es_export(category => 'many')->>'data';
FETCH 1 FROM d;
SELECT es_truncate_stream('many-1', 2001) AS gone;
MOVE 998 IN d;
FETCH 2 FROM d;
ROLLBACK;

-- ---------------------------------------------------------------- There and back
CREATE TABLE lines AS SELECT row_number() OVER () AS line, e AS event FROM es_export() e;
CREATE TABLE digests AS SELECT stream, version, eventstore.event_digest(ROW(0, stream, category, version, id, type, data, metadata, tags, recorded_at)::eventstore.event) AS digest FROM eventstore.events;
SELECT is(es_import((SELECT jsonb_agg(event) FROM lines)), 0::bigint, 'what is there already is not stored again');
SELECT is((SELECT count(*) FROM eventstore.events), 2507::bigint, 'nor has anything come');
DROP EXTENSION eventstore CASCADE;
CREATE EXTENSION eventstore;
SELECT is(es_import((SELECT jsonb_agg(event ORDER BY line) FROM lines WHERE line <= 4)), 4::bigint, 'a first part');
SELECT is(es_import((SELECT jsonb_agg(event ORDER BY line) FROM lines WHERE line BETWEEN 3 AND 1000)), 996::bigint, 'the second, which overlaps: only what is new counts');
SELECT is(es_import((SELECT jsonb_agg(event ORDER BY line) FROM lines)), 1507::bigint, 'all of it: the rest');
SELECT is(es_import((SELECT jsonb_agg(event ORDER BY line) FROM lines)), 0::bigint, 'and once more: nothing');
SELECT is((SELECT array_agg((e - 'position')::text) FROM es_export() e), (SELECT array_agg((event - 'position')::text ORDER BY line) FROM lines), 'it is what it was, in the same order');
SELECT is_empty($$SELECT stream, version, digest FROM digests EXCEPT
	SELECT stream, version, eventstore.event_digest(ROW(0, stream, category, version, id, type, data, metadata, tags, recorded_at)::eventstore.event) FROM eventstore.events$$, 'by the digests, too');
SELECT is_empty('SELECT * FROM es_verify()', 'the store is sound');
SELECT is(es_stream_version('many-1'), 2500::bigint, 'streams are where they were');
SELECT is(es_append('many-1', 2500, 'Next', '{}'), 2501::bigint, 'and go on');
SELECT ok((SELECT recorded_at > (SELECT max((event->>'recorded_at')::timestamptz) FROM lines) FROM es_last_event('many-1')), 'at the time of now');
SELECT is((SELECT count(*) FROM es_read_query('[{"tags": ["x"]}]')), 1::bigint, 'tags are found');
-- Whole rows will do, too.
SELECT is(es_import((SELECT jsonb_agg(to_jsonb(e) ORDER BY position) FROM eventstore.events e)), 0::bigint, 'rows of the table as JSON are lines as well');

-- ---------------------------------------------------------------- What does not fit
SELECT is(es_import('[]'), 0::bigint, 'no event at all');
SELECT is(es_import(jsonb_build_array(line('r-1', 1, 1), line('r-1', 2, 2), line('s-1', 1, 3))), 3::bigint, 'two streams');
SELECT is(es_last_position(), (SELECT max(position) FROM eventstore.events), 'es_last_position: that of the last');
SELECT is(raised($$SELECT es_import(jsonb_build_array(line('s-1', 2, 9), line('r-1', 4, 4)))$$),
		  E'SE001\ncannot import version 4 of stream "r-1"\nStream "r-1" is at version 2, expected 3.\nImport the events of a stream in the order of their versions, and leave none out.', 'a version left out');
SELECT is(raised($$SELECT es_import(jsonb_build_array(line('r-1', 4, 5), line('r-1', 3, 4)))$$),
		  E'SE001\ncannot import version 4 of stream "r-1"\nStream "r-1" is at version 2, expected 3.\nImport the events of a stream in the order of their versions, and leave none out.', 'or not in order');
SELECT is(raised($$SELECT es_import(jsonb_build_array(line('r-1', 2, 5)))$$),
		  E'SE001\ncannot import version 2 of stream "r-1"\nStream "r-1" is at version 2, expected 1.\nThe stream has events of its own: an import can not be mixed with them.', 'a version that is another event''s');
SELECT is(raised($$SELECT es_import(jsonb_build_array(line('many-1', 2502, 5)))$$),
		  E'22023\ncannot import version 2502 of stream "many-1"\nIt was recorded before version 2501.\nAlong a stream times never go back: give the event the time of the one before.', 'a time that goes back, as of a stream that was appended to here');
SELECT is(raised($$SELECT es_import(jsonb_build_array(line('t-1', 1, 6, at => '2020-01-02T00:00:00Z'), line('t-1', 2, 7)))$$),
		  E'22023\ncannot import version 2 of stream "t-1"\nIt was recorded before version 1.\nAlong a stream times never go back: give the event the time of the one before.', 'a time that goes back in the call');
SELECT is(raised($$SELECT es_import(jsonb_build_array(line('r-1', 2, 2, data => '{"other": 1}')))$$),
		  format(E'SE002\nduplicate event id\nEvent id "00000000-0000-4000-8000-000000000002" is stored at version 2 of stream "r-1", position %s, with other content.\nWhat is stored stays as it is. An event that was redacted where it comes from is redacted here by es_redact().', es_last_position() - 1), 'an id with other content');
SELECT is(left(raised($$SELECT es_import(jsonb_build_array(line('r-1', 2, 2, 'Other')))$$), 5), 'SE002', 'another type');
SELECT is(left(raised($$SELECT es_import(jsonb_build_array(line('r-1', 2, 2, at => '2020-01-01T00:00:00.000001Z')))$$), 5), 'SE002', 'another time');
SELECT is(left(raised($$SELECT es_import(jsonb_build_array(line('r-1', 2, 2) || '{"tags": []}'))$$), 5), 'SE002', 'other tags');
SELECT is(left(raised($$SELECT es_import(jsonb_build_array(line('r-1', 2, 2) || '{"metadata": {}}'))$$), 5), 'SE002', 'other metadata');
SELECT is(left(raised($$SELECT es_import(jsonb_build_array(line('r-1', 3, 2)))$$), 5), 'SE002', 'another version');
SELECT is(left(raised($$SELECT es_import(jsonb_build_array(line('u-1', 2, 2)))$$), 5), 'SE002', 'another stream');
SELECT is(left(raised($$SELECT es_import(jsonb_build_array(line('u-1', 1, 8), line('u-1', 2, 8)))$$), 5), 'SE002', 'an id twice in a call');
SELECT is((SELECT count(*) FROM eventstore.streams WHERE stream IN ('t-1', 'u-1')), 0::bigint, 'nothing of what was refused is there');
SELECT is(string_agg(left(raised(format('SELECT es_import(%L)', e)), 5), ' '), '22004 22023 22023 22023 22023 22023 22023 22023 22023 22023 22023 22023 22023 22023 22P02 22007 54000 22023 22023 22023 22023', 'lines of a wrong form')
FROM (VALUES (NULL::jsonb), ('{}'), ('1'), ('[1]'), ('[[]]'), (jsonb_build_array(line('w-1', 1, 9) - 'stream')), (jsonb_build_array(line('w-1', 1, 9) - 'version')), (jsonb_build_array(line('w-1', 1, 9) - 'id')),
	(jsonb_build_array(line('w-1', 1, 9) - 'type')), (jsonb_build_array(line('w-1', 1, 9) - 'recorded_at')), (jsonb_build_array(line('w-1', 1, 9) || '{"typ": 1}')), (jsonb_build_array(line('w-1', 0, 9))),
	(jsonb_build_array(line('w-1', 1, 9) || '{"version": 1.5}')), (jsonb_build_array(line('w-1', 1, 9) || '{"version": 9223372036854775808}')), (jsonb_build_array(line('w-1', 1, 9) || '{"id": "x"}')),
	(jsonb_build_array(line('w-1', 1, 9, at => 'soon'))), (jsonb_build_array(line(repeat('w', 513), 1, 9))), (jsonb_build_array(line('', 1, 9))), (jsonb_build_array(line('w-1', 1, 9, at => 'infinity'))),
	(jsonb_build_array(line('w-1', 1, 9) || '{"category": "v"}')), (jsonb_build_array(line('w-1', 1, 9) || '{"metadata": 1}'))) v (e);
\set SHOW_CONTEXT always
SELECT es_import(jsonb_build_array(line('w-1', 1, 9), line('w-1', 2, 10) - 'id'));
\set SHOW_CONTEXT never

-- ---------------------------------------------------------------- Streams that begin later, and what was forgotten
SELECT is(es_import(jsonb_build_array(line('late-1', 5, 20), line('late-1', 6, 21))), 2::bigint, 'a stream that was truncated where it comes from begins there');
SELECT is((SELECT array_agg(version) FROM es_read('late-1')), '{5,6}', 'and is read from there');
SELECT is((SELECT version FROM eventstore.beginnings WHERE stream = 'late-1'), 5::bigint, 'as is on record');
SELECT is_empty('SELECT * FROM es_verify()', 'the store is sound');
SELECT is(es_append('late-1', 6, 'Next', '{}'), 7::bigint, 'it goes on');
SELECT is(es_truncate_stream('late-1', 6), 1::bigint, 'can be truncated');
SELECT is(es_import(jsonb_build_array(line('late-1', 5, 20), line('late-1', 6, 21))), 0::bigint, 'what was forgotten here is still known');
SELECT is(left(raised($$SELECT es_import(jsonb_build_array(line('late-1', 5, 20, 'Other')))$$), 5), 'SE002', 'and what it was');
SELECT is_empty('SELECT * FROM es_verify()', 'the store is sound');
SELECT lives_ok($$SELECT es_redact('00000000-0000-4000-8000-000000000021', 'test')$$, 'an event is redacted');
SELECT is(es_import(jsonb_build_array(line('late-1', 6, 21))), 0::bigint, 'it is known by what it was');
SELECT is(es_import(jsonb_build_array(line('late-1', 6, 21, data => '{}') || '{"metadata": null}')), 0::bigint, 'and by what it is');
SELECT lives_ok($$SELECT es_delete_stream('late-1', 7, tombstone => true)$$, 'a stream is deleted for good');
SELECT is(left(raised($$SELECT es_import(jsonb_build_array(line('late-1', 8, 22)))$$), 5), 'SE003', 'it takes no event');
SELECT is(es_import(jsonb_build_array(line('late-1', 5, 20), line('late-1', 6, 21))), 0::bigint, 'but knows them');
-- A later truncation of a beginning is found where it was not in due form
BEGIN;
SET LOCAL session_replication_role = replica;
DELETE FROM eventstore.beginnings;
SELECT results_eq('SELECT * FROM es_verify()', $$VALUES ('version', 'late-1', 'it begins at version 5, and what was before was not removed')$$, 'es_verify asks where streams begin');
INSERT INTO eventstore.beginnings VALUES ('late-1', 6, now());
SELECT results_eq('SELECT * FROM es_verify()', $$VALUES ('version', 'late-1', 'it was imported from a later version on, but version 5 is there')$$, 'and whether that is so');
UPDATE eventstore.beginnings SET version = 7;
INSERT INTO eventstore.beginnings VALUES ('gone-1', 2, now());
SELECT results_eq('SELECT * FROM es_verify() ORDER BY 1, 3', $$VALUES ('orphan', 'gone-1', 'eventstore.beginnings says where it begins, but it has no row in eventstore.streams'), ('stream', 'gone-1', 'it has events, but no row in eventstore.streams'),
	('version', 'late-1', 'it begins at version 5, and what was before was not removed'), ('version', 'late-1', 'it was imported from version 7 on, but earlier ones are there')$$, 'in any case');
ROLLBACK;

-- ---------------------------------------------------------------- Triggers, projections
CREATE TABLE seen (stream text, version bigint, recorded_at timestamptz);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO move_test.seen VALUES (new.stream, new.version, new.recorded_at); RETURN new; END$$;
CREATE TRIGGER note AFTER INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION note();
SELECT es_create_projection('moved', $$SELECT stream, count(*) AS events, max(recorded_at) AS last FROM events WHERE category = 'p' GROUP BY stream$$);
SELECT is(es_import(jsonb_build_array(line('p-1', 1, 30), line('p-2', 1, 31), line('p-1', 2, 32, at => '2021-01-01T00:00:00Z'))), 3::bigint, 'through triggers and projections');
SELECT results_eq('SELECT stream, version, recorded_at FROM seen ORDER BY 1, 2', $$VALUES ('p-1', 1::bigint, '2020-01-01 00:00Z'::timestamptz), ('p-1', 2, '2021-01-01 00:00Z'), ('p-2', 1, '2020-01-01 00:00Z')$$, 'a trigger has seen each');
SELECT results_eq('SELECT stream, events, last FROM moved ORDER BY 1', $$VALUES ('p-1' COLLATE "C", 2::bigint, '2021-01-01 00:00Z'::timestamptz), ('p-2', 1, '2020-01-01 00:00Z')$$, 'so has a projection');
SELECT is_empty($$SELECT * FROM es_verify_projection('moved')$$, 'which is right');
SELECT is(es_import(jsonb_build_array(line('p-1', 1, 30), line('p-1', 3, 33, at => '2021-01-01T00:00:00Z'))), 1::bigint, 'half of a call is new');
SELECT is((SELECT count(*) FROM seen), 4::bigint, 'only that half is seen');
SELECT is((SELECT sum(events) FROM moved), 4::numeric, 'by both');
SELECT is(raised($$SELECT es_drop_projection('moved', true)$$), 'nothing', 'end of the projection');
DROP TRIGGER note ON eventstore.events;

-- A time that is looked for is found among times of other stores, too
SELECT is((SELECT position FROM es_read_all(es_position_at('2020-06-01'), 1)), (SELECT min(position) FROM eventstore.events WHERE recorded_at >= '2020-06-01'), 'es_position_at');
SELECT is((SELECT position FROM es_read_all(es_position_at('2019-06-01'), 1)), (SELECT min(position) FROM eventstore.events), 'and the first');

-- ---------------------------------------------------------------- Snapshots at other levels
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(es_import(jsonb_build_array(line('q-1', 1, 40))), 1::bigint, 'at REPEATABLE READ');
SELECT is(es_import(jsonb_build_array(line('q-1', 1, 40), line('q-1', 2, 41))), 1::bigint, 'and on it');
COMMIT;
BEGIN READ ONLY;
SELECT is((SELECT count(*) FROM es_export(category => 'q')), 2::bigint, 'an export only reads');
SELECT es_import(jsonb_build_array(line('q-1', 3, 42)));
ROLLBACK;
SELECT is_empty('SELECT * FROM es_verify()', 'the store is sound');
SELECT * FROM finish();

\connect :home
DROP DATABASE test_move;
