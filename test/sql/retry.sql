-- Exact retries: a call whose every id is stored already, in its stream, side by side and in its order. And all other uses of an id.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_retry;
SET search_path = test_retry, public;

-- The ids of this test: id(7) is b0000000-0000-0000-0000-000000000007; ids(1, 3) are id(1) to id(3).
CREATE FUNCTION id(n int) RETURNS uuid LANGUAGE sql IMMUTABLE
	RETURN ('b0000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid;
CREATE FUNCTION ids(VARIADIC n int[]) RETURNS uuid[] LANGUAGE sql IMMUTABLE
	RETURN ARRAY(SELECT id(i) FROM unnest(n) WITH ORDINALITY u (i, nr) ORDER BY nr);
-- An append of events with these ids, in each of two forms.
CREATE FUNCTION append(stream text, expected bigint, ids uuid[]) RETURNS bigint LANGUAGE sql AS
$$ SELECT public.es_append(stream, expected, array_fill('T'::text, ARRAY[cardinality(ids)]), array_fill('{}'::jsonb, ARRAY[cardinality(ids)]), NULL, ids) $$;
CREATE FUNCTION events(VARIADIC ids uuid[]) RETURNS jsonb LANGUAGE sql IMMUTABLE
	RETURN (SELECT jsonb_agg(jsonb_build_object('type', 'T', 'id', i) ORDER BY nr) FROM unnest(ids) WITH ORDINALITY u (i, nr));
CREATE FUNCTION entry(stream text, expected bigint, VARIADIC ids uuid[]) RETURNS jsonb LANGUAGE sql IMMUTABLE
	RETURN jsonb_build_object('stream', stream, 'expected_version', expected, 'events', events(VARIADIC ids));

-- What a call returns, or how it fails; positions are told by the stream and version that they belong to.
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
	detail text;
	place  text[];
BEGIN
	EXECUTE call INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		place := regexp_match(detail, 'is stored at version (\d+) of stream "(.*)", position (\d+)\.');
		IF place IS NOT NULL AND EXISTS (SELECT FROM eventstore.events e
										 WHERE (e.version::text, e.stream, e.position::text) = (place[1], place[2], place[3])) THEN
			detail := replace(detail, 'position ' || place[3], 'its position');
		END IF;
		RETURN SQLSTATE || ' ' || detail;
END
$$;
CREATE FUNCTION contents() RETURNS TABLE (stream text, version bigint, ids text) LANGUAGE sql AS
$$
	SELECT s.stream, s.version, string_agg(CASE WHEN e.id::text LIKE 'b000%' THEN ltrim(right(e.id::text, 12), '0') ELSE 'made' END, ',' ORDER BY e.version)
	FROM eventstore.streams s LEFT JOIN eventstore.events e USING (stream) WHERE s.stream LIKE 'retry-%' GROUP BY 1, 2 ORDER BY 1
$$;

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

-- One event
SELECT is(es_append('retry-one', 0, 'A', '{"n": 1}', NULL, id(1)), 1::bigint, 'the first time');
SELECT is(es_append('retry-one', 1, 'B', '{"n": 2}', NULL, id(2)), 2::bigint);
SELECT is(es_append('retry-one', 2, 'C', '{"n": 3}'), 3::bigint);
CREATE TABLE before AS SELECT count(*) AS events, max(position) AS position FROM eventstore.events;
SELECT is(es_append('retry-one', expected, 'A', '{"n": 1}', NULL, id(1)), 1::bigint, 'again, expected ' || expected)
FROM unnest('{-2,-1,0,1,2,3,4,1000}'::bigint[]) expected;
SELECT is(es_last_position(), (SELECT position FROM es_read('retry-one', 1, 1)), 'its position is that of the first time');
SELECT is(es_append('retry-one', 1, 'B', '{"n": 2}', NULL, id(2)), 2::bigint, 'the second again');
SELECT is(es_last_position(), (SELECT position FROM es_read('retry-one', 2, 1)), 'and its position');
SELECT is(attempt(call), '2', 'through ' || call)
FROM unnest(ARRAY[$$SELECT es_append('retry-one', 1, events(id(2)))$$,
				  $$SELECT es_append('retry-one', 1, events(id(2)) -> 0)$$,
				  $$SELECT es_append('retry-one', 1, 'B', '{}', NULL, 'b0000000-0000-0000-0000-000000000002')$$,
				  $$SELECT es_append('retry-one', 1, ARRAY['B'], ARRAY['{}']::jsonb[], NULL, ids(2))$$,
				  $$SELECT version FROM es_append_streams(jsonb_build_array(entry('retry-one', 1, id(2))))$$]) call;
SELECT is(es_append('retry-one', 1, 'Other', '{"n": 99}', '{"m": 1}', id(2), '{x}'), 2::bigint, 'the id decides, not what the event says');
SELECT is((SELECT data FROM es_read('retry-one', 2, 1)), '{"n": 2}', 'what is stored stays');
SELECT is((SELECT (count(*), max(position))::text FROM eventstore.events), (SELECT (events, position)::text FROM before), 'nothing was stored');

-- A wrong argument is wrong in a retry, too.
SELECT is(attempt($$SELECT es_append('retry-one', NULL, 'A', '{}', NULL, id(1))$$), '22004 ', 'null is no expected version');
SELECT is(attempt($$SELECT es_append('retry-one', -3, 'A', '{}', NULL, id(1))$$), '22023 ', 'nor is -3');

-- Another stream
SELECT is(attempt($$SELECT es_append('retry-two', 0, 'A', '{}', NULL, id(1))$$),
		  'SE002 Event id "b0000000-0000-0000-0000-000000000001" is stored at version 1 of stream "retry-one", its position.', 'in a new stream');
SELECT is(es_append('retry-two', 0, 'A', '{}', NULL, id(10)), 1::bigint);
SELECT is(attempt($$SELECT es_append('retry-two', 1, 'A', '{}', NULL, id(2))$$),
		  'SE002 Event id "b0000000-0000-0000-0000-000000000002" is stored at version 2 of stream "retry-one", its position.', 'in an old one');
SELECT is(attempt($$SELECT es_append('retry-two', 7, 'A', '{}', NULL, id(2))$$),
		  'SE002 Event id "b0000000-0000-0000-0000-000000000002" is stored at version 2 of stream "retry-one", its position.',
		  'before the version is looked at');
\pset tuples_only off
\set VERBOSITY terse
SELECT es_append('retry-two', 1, 'A', '{}', NULL, id(2));
\set VERBOSITY default
\pset tuples_only on

-- Batches
SELECT is(append('retry-batch', 0, ids(21, 22, 23)), 3::bigint, 'the first time');
SELECT is(append('retry-batch', 3, ids(24, 25)), 5::bigint);
SELECT is(append('retry-batch', expected, ids(21, 22, 23)), 3::bigint, 'again, expected ' || expected) FROM unnest('{-2,-1,0,3,5,9}'::bigint[]) expected;
SELECT is(es_last_position(), (SELECT position FROM es_read('retry-batch', 3, 1)), 'the position of its last event');
SELECT is(append('retry-batch', 3, ids(24, 25)), 5::bigint, 'the second again');
SELECT is(es_append('retry-batch', 3, events(id(24), id(25))), 5::bigint, 'the same in JSON');
SELECT is(append('retry-batch', 0, ids(22, 23)), 3::bigint, 'events side by side of one call');
SELECT is(append('retry-batch', 0, ids(23, 24)), 4::bigint, 'events side by side of two calls');
SELECT is(attempt(format('SELECT append(%L, %s, ids(%s))', stream, expected, ids)), want, format('%s: %s', stream, ids))
FROM (VALUES ('retry-batch', 3, '22,21', 'SE002 Event id "b0000000-0000-0000-0000-000000000022" is stored at version 2 of stream "retry-batch", its position.'),
			 ('retry-batch', 3, '21,23', 'SE002 Event id "b0000000-0000-0000-0000-000000000021" is stored at version 1 of stream "retry-batch", its position.'),
			 ('retry-batch', 3, '21,22,23,99', 'SE002 Event id "b0000000-0000-0000-0000-000000000021" is stored at version 1 of stream "retry-batch", its position.'),
			 ('retry-batch', 5, '25,99', 'SE002 Event id "b0000000-0000-0000-0000-000000000025" is stored at version 5 of stream "retry-batch", its position.'),
			 ('retry-batch', -1, '99,21', 'SE002 Event id "b0000000-0000-0000-0000-000000000021" is stored at version 1 of stream "retry-batch", its position.'),
			 ('retry-batch', -1, '21,22,10', 'SE002 Event id "b0000000-0000-0000-0000-000000000021" is stored at version 1 of stream "retry-batch", its position.'),
			 ('retry-other', 0, '21,22,23', 'SE002 Event id "b0000000-0000-0000-0000-000000000021" is stored at version 1 of stream "retry-batch", its position.'),
			 ('retry-batch', 5, '98,98', 'SE002 Event id "b0000000-0000-0000-0000-000000000098" is given twice.'),
			 ('retry-batch', 5, '21,21', 'SE002 Event id "b0000000-0000-0000-0000-000000000021" is given twice, and is stored at version 1 of stream "retry-batch", its position.'),
			 ('retry-other', 0, '99,22,22,99', 'SE002 Event id "b0000000-0000-0000-0000-000000000022" is given twice, and is stored at version 2 of stream "retry-batch", its position.'),
			 ('retry-batch', 5, '97,98,99,97', 'SE002 Event id "b0000000-0000-0000-0000-000000000097" is given twice.'),
			 ('retry-batch', 5, '21,NULL', 'SE002 Event id "b0000000-0000-0000-0000-000000000021" is stored at version 1 of stream "retry-batch", its position.'),
			 ('retry-batch', 5, 'NULL,21', 'SE002 Event id "b0000000-0000-0000-0000-000000000021" is stored at version 1 of stream "retry-batch", its position.'))
	 v (stream, expected, ids, want);
-- An event whose id the store made, between two of ours
SELECT is(append('retry-gap', 0, ids(31, NULL, 32)), 3::bigint);
SELECT is(attempt($$SELECT append('retry-gap', 0, ids(31, NULL, 32))$$),
		  'SE002 Event id "b0000000-0000-0000-0000-000000000031" is stored at version 1 of stream "retry-gap", its position.', 'an event without an id cannot be recognized');
SELECT is(attempt($$SELECT append('retry-gap', 0, ids(31, 32))$$),
		  'SE002 Event id "b0000000-0000-0000-0000-000000000031" is stored at version 1 of stream "retry-gap", its position.', 'not side by side');
SELECT is(append('retry-gap', 0, (SELECT array_agg(id ORDER BY version) FROM es_read('retry-gap'))), 3::bigint, 'with the ids that the store made');
SELECT is(append('retry-large', 0, (SELECT array_agg(id(i)) FROM generate_series(1001, 2000) i)), 1000::bigint, 'a thousand');
SELECT is(append('retry-large', 0, (SELECT array_agg(id(i)) FROM generate_series(1001, 2000) i)), 1000::bigint, 'again');
SELECT is(append('retry-large', 0, (SELECT array_agg(id(i)) FROM generate_series(1101, 1990) i)), 990::bigint, 'a run of them');
SELECT is(attempt('SELECT append(''retry-large'', 0, (SELECT array_agg(id(i)) FROM generate_series(1101, 1990) i WHERE i <> 1500))'),
		  'SE002 Event id "b0000000-0000-0000-0000-000000001101" is stored at version 101 of stream "retry-large", its position.', 'one left out');

-- In one transaction
BEGIN;
SELECT is(append('retry-tx', 0, ids(41)), 1::bigint);
SELECT is(append('retry-tx', 0, ids(41)), 1::bigint, 'a retry in the same transaction');
SELECT is(append('retry-tx', 1, ids(42)), 2::bigint);
SAVEPOINT a;
SELECT is(append('retry-tx', 2, ids(43)), 3::bigint);
SELECT is(append('retry-tx', 2, ids(43)), 3::bigint, 'and in the same savepoint');
ROLLBACK TO a;
SELECT is(append('retry-tx', 2, ids(43)), 3::bigint, 'what was rolled back is not stored');
SELECT is(append('retry-tx', 2, ids(43)), 3::bigint, 'now it is');
SELECT is(array_agg(append('retry-tx', -1, ids(44))), '{4,4,4}'::bigint[], 'several times in a statement') FROM generate_series(1, 3);
SELECT is(attempt($$SELECT append('retry-tx', -1, ids(43, 43))$$),
		  'SE002 Event id "b0000000-0000-0000-0000-000000000043" is given twice, and is stored at version 3 of stream "retry-tx", its position.', 'twice, and stored by this transaction');
SELECT is(attempt($$SELECT append('retry-tx', -1, ids(43, 45))$$),
		  'SE002 Event id "b0000000-0000-0000-0000-000000000043" is stored at version 3 of stream "retry-tx", its position.', 'no retry');
COMMIT;
BEGIN;
SELECT is(append('retry-tx', 4, ids(45)), 5::bigint);
ROLLBACK;
SELECT is(append('retry-tx', 4, ids(45)), 5::bigint, 'after a rollback it is the first time');
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is(append('retry-tx', 4, ids(45)), 5::bigint, 'SERIALIZABLE');
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT is(attempt($$SELECT append('retry-tx', 5, ids(45, 46))$$),
		  'SE002 Event id "b0000000-0000-0000-0000-000000000045" is stored at version 5 of stream "retry-tx", its position.', 'REPEATABLE READ');
COMMIT;

-- es_append_streams
CREATE FUNCTION append_streams(VARIADIC entries jsonb[]) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	results jsonb := (SELECT jsonb_agg(to_jsonb(r)) FROM public.es_append_streams(to_jsonb(entries)) r);
BEGIN
	RETURN (SELECT string_agg(format('%s@%s%s', r.stream, r.version, CASE WHEN e.position IS NULL THEN ' at a wrong position' END), ' ' ORDER BY nr)
			FROM ROWS FROM (jsonb_to_recordset(results) AS (stream text, version bigint, position bigint)) WITH ORDINALITY r (stream, version, position, nr)
				 LEFT JOIN eventstore.events e ON (e.stream, e.version, e.position) = (r.stream, r.version, r.position));
END
$$;
SELECT is(append_streams(entry('retry-m-2', 0, id(51), id(52)), entry('retry-m-1', -1, id(53))), 'retry-m-2@2 retry-m-1@1', 'the first time');
SELECT is(append_streams(entry('retry-m-2', 0, id(51), id(52)), entry('retry-m-1', -1, id(53))), 'retry-m-2@2 retry-m-1@1', 'again');
SELECT is(es_last_position(), (SELECT position FROM es_read('retry-m-1', 1)), 'the position of the last');
SELECT is(append_streams(entry('retry-m-2', 7, id(51), id(52)), entry('retry-m-1', 7, id(53))), 'retry-m-2@2 retry-m-1@1', 'whatever is expected');
SELECT is(append_streams(entry('retry-m-1', -1, id(53)), entry('retry-m-2', 0, id(51), id(52))), 'retry-m-1@1 retry-m-2@2', 'streams in another order');
SELECT is(append('retry-m-2', 0, ids(51, 52)), 2::bigint, 'one of them by es_append');
SELECT is(append_streams(entry('retry-m-3', 0, id(54)), entry('retry-m-3', 1, id(55), id(56))), 'retry-m-3@1 retry-m-3@3', 'one stream twice');
SELECT is(append_streams(entry('retry-m-3', 0, id(54)), entry('retry-m-3', 1, id(55), id(56))), 'retry-m-3@1 retry-m-3@3', 'again');
SELECT is(append_streams(entry('retry-m-3', 0, id(54), id(55), id(56))), 'retry-m-3@3', 'the same in one entry');
SELECT is(attempt(format('SELECT append_streams(%s)', entries)), want, entries)
FROM (VALUES
	('entry(''retry-m-2'', 0, id(51), id(52)), entry(''retry-m-1'', -1, id(59))',
	 'SE002 Event id "b0000000-0000-0000-0000-000000000052" is stored at version 2 of stream "retry-m-2", its position.'),
	('entry(''retry-m-2'', 2, id(59)), entry(''retry-m-1'', -1, id(53))',
	 'SE002 Event id "b0000000-0000-0000-0000-000000000053" is stored at version 1 of stream "retry-m-1", its position.'),
	('entry(''retry-m-2'', 2, id(53)), entry(''retry-m-1'', -1, id(51), id(52))',
	 'SE002 Event id "b0000000-0000-0000-0000-000000000051" is stored at version 1 of stream "retry-m-2", its position.'),
	('entry(''retry-m-2'', 2, id(59)), entry(''retry-m-1'', -1, id(59))', 'SE002 Event id "b0000000-0000-0000-0000-000000000059" is given twice.'),
	('entry(''retry-m-2'', 0, id(51)), entry(''retry-m-2'', -1, id(51))',
	 'SE002 Event id "b0000000-0000-0000-0000-000000000051" is given twice, and is stored at version 1 of stream "retry-m-2", its position.'),
	('entry(''retry-m-1'', -1, id(53)), entry(''retry-m-2'', -1, NULL)',
	 'SE002 Event id "b0000000-0000-0000-0000-000000000053" is stored at version 1 of stream "retry-m-1", its position.'),
	('entry(''retry-m-3'', 0, id(54)), entry(''retry-m-3'', 1, id(55)), entry(''retry-m-3'', 2, id(59))',
	 'SE002 Event id "b0000000-0000-0000-0000-000000000054" is stored at version 1 of stream "retry-m-3", its position.')) v (entries, want);
-- The events of one stream, not in the order of the first time, or not side by side
SELECT is(left(attempt($$SELECT append_streams(entry('retry-m-3', 0, id(55), id(56)), entry('retry-m-3', 1, id(54)))$$), 5), 'SE002', 'entries of one stream, reordered');
SELECT is(left(attempt($$SELECT append_streams(entry('retry-m-3', 0, id(54)), entry('retry-m-3', 1, id(56)))$$), 5), 'SE002', 'entries of one stream, one left out');

-- Not from the table: an id of an event that somebody else than es_append stored
SET eventstore.restoring = on;
INSERT INTO eventstore.streams VALUES ('retry-restored', 1, now(), false);
INSERT INTO eventstore.events VALUES (nextval('eventstore.positions'), 'retry-restored', 'retry', 1, id(61), 'T', '{}', NULL, NULL, now());
SELECT is(append('retry-restored', 0, ids(61)), 1::bigint, 'what a restore brought is known');
\pset tuples_only off
\pset format aligned
SELECT stream, version, left(ids, 30) FROM contents();
\pset tuples_only on
\pset format unaligned
SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_retry CASCADE;
