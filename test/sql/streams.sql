-- es_append_streams: several streams in one call. es_assert_version: a stream that one does not write to.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_streams;
SET search_path = test_streams, public;

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
		RETURN rtrim(SQLSTATE || ' ' || detail);
END
$$;

-- A row for each entry, in the order of the batch, though the streams are locked in the order of their names.
SELECT stream, version, position - min(position) OVER () AS position_from_first
FROM es_append_streams('[
	{"stream": "streams-z", "expected_version":  0, "events": [{"type": "A"}, {"type": "B"}]},
	{"stream": "streams-a", "expected_version": -1, "events": {"type": "C"}},
	{"stream": "streams-z", "expected_version":  2, "events": {"type": "D"}},
	{"events": [{"type": "E", "data": [1], "metadata": {"m": 1}, "tags": ["x"]}], "stream": "streams-é", "expected_version": 0},
	{"stream": "streams-z", "expected_version": -2, "events": [{"type": "F"}]},
	{"stream": "streams-m", "expected_version": 0.0, "events": [{"type": "G"}]}]');
-- Positions follow the order of the batch, versions that of each stream.
SELECT row_number() OVER (ORDER BY position) AS nr, stream, version, type, data, metadata, tags, count(*) OVER (PARTITION BY recorded_at, stream) AS of_one_time
FROM eventstore.events WHERE category = 'streams' ORDER BY position;

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();
SELECT is(es_last_position(), (SELECT max(position) FROM eventstore.events WHERE category = 'streams'), 'the last position');

-- Expected versions within a batch count what earlier entries add.
SELECT is(attempt(format('SELECT string_agg(r.stream || r.version, '' '') FROM es_append_streams(%L) r', batch)), want, what)
FROM (VALUES
	('a new stream twice, both expect none',
	 '[{"stream": "streams-2", "expected_version": 0, "events": {"type": "A"}}, {"stream": "streams-2", "expected_version": 0, "events": {"type": "B"}}]',
	 'SE001 Stream "streams-2" is at version 1, expected 0.'),
	('the second expects the first', 
	 '[{"stream": "streams-2", "expected_version": 0, "events": {"type": "A"}}, {"stream": "streams-2", "expected_version": 1, "events": {"type": "B"}}]',
	 'streams-21 streams-22'),
	('the other way round',
	 '[{"stream": "streams-2", "expected_version": 3, "events": {"type": "A"}}, {"stream": "streams-2", "expected_version": 2, "events": {"type": "B"}}]',
	 'SE001 Stream "streams-2" is at version 2, expected 3.'),
	('any, any, exists, exactly',
	 '[{"stream": "streams-2", "expected_version": -1, "events": {"type": "A"}}, {"stream": "streams-2", "expected_version": -1, "events": {"type": "B"}},
	   {"stream": "streams-2", "expected_version": -2, "events": {"type": "C"}}, {"stream": "streams-2", "expected_version": 5, "events": {"type": "D"}}]',
	 'streams-23 streams-24 streams-25 streams-26'),
	('a conflict of one undoes the others',
	 '[{"stream": "streams-3", "expected_version": 0, "events": {"type": "A"}}, {"stream": "streams-2", "expected_version": 5, "events": {"type": "B"}},
	   {"stream": "streams-4", "expected_version": -1, "events": {"type": "C"}}]',
	 'SE001 Stream "streams-2" is at version 6, expected 5.'),
	('exists, made in the same batch',
	 '[{"stream": "streams-5", "expected_version": 0, "events": {"type": "A"}}, {"stream": "streams-5", "expected_version": -2, "events": {"type": "B"}}]',
	 'streams-51 streams-52'),
	('exists, before it is made in the same batch',
	 '[{"stream": "streams-6", "expected_version": -2, "events": {"type": "A"}}, {"stream": "streams-6", "expected_version": 0, "events": {"type": "B"}}]',
	 'SE001 Stream "streams-6" is at version 0, expected -2.')) v (what, batch, want);
SELECT is(es_stream_version('streams-2'), 6::bigint, 'only what succeeded is stored');
SELECT is(count(*), 0::bigint, 'no stream is left of what failed') FROM eventstore.streams WHERE stream IN ('streams-3', 'streams-4', 'streams-6');

-- DETAIL names every stream that is not where it is expected, a line each; first the one that the call has come to: in the order of the names.
SELECT is(attempt(format('SELECT string_agg(r.stream || r.version, '' '') FROM es_append_streams(%L) r', batch)), want, what)
FROM (VALUES
	('three of four',
	 '[{"stream": "streams-z", "expected_version": 9, "events": {"type": "A"}}, {"stream": "streams-5", "expected_version": 2, "events": {"type": "A"}},
	   {"stream": "streams-none-3", "expected_version": -2, "events": {"type": "A"}}, {"stream": "streams-2", "expected_version": 5, "events": {"type": "B"}}]',
	 E'SE001 Stream "streams-2" is at version 6, expected 5.\nStream "streams-none-3" is at version 0, expected -2.\nStream "streams-z" is at version 4, expected 9.'),
	('of a stream that stands in several entries the first that fails',
	 '[{"stream": "streams-2", "expected_version": 5, "events": {"type": "A"}}, {"stream": "streams-z", "expected_version": 4, "events": [{"type": "A"}, {"type": "A"}]},
	   {"stream": "streams-2", "expected_version": 3, "events": {"type": "A"}}, {"stream": "streams-z", "expected_version": 5, "events": {"type": "A"}}]',
	 E'SE001 Stream "streams-2" is at version 6, expected 5.\nStream "streams-z" is at version 6, expected 5.'),
	('those before it are where they are expected',
	 '[{"stream": "streams-z", "expected_version": 3, "events": {"type": "A"}}, {"stream": "streams-2", "expected_version": 6, "events": {"type": "A"}}]',
	 'SE001 Stream "streams-z" is at version 4, expected 3.')) v (what, batch, want);
BEGIN;
UPDATE eventstore.streams SET tombstoned = true WHERE stream = 'streams-5';
SELECT is(attempt($$SELECT count(*) FROM es_append_streams('[{"stream": "streams-2", "expected_version": 5, "events": {"type": "A"}}, {"stream": "streams-5", "expected_version": 2, "events": {"type": "A"}}]')$$),
	E'SE001 Stream "streams-2" is at version 6, expected 5.\nStream "streams-5" is deleted.', 'a tombstone after it');
SELECT is(attempt($$SELECT count(*) FROM es_append_streams('[{"stream": "streams-z", "expected_version": 5, "events": {"type": "A"}}, {"stream": "streams-5", "expected_version": 2, "events": {"type": "A"}}]')$$),
	'SE003 Stream "streams-z" is at version 4, expected 5.', 'and before it');
SELECT is(attempt($$SELECT count(*) FROM es_append_streams('[{"stream": "streams-z", "expected_version": 4, "events": {"type": "A"}}, {"stream": "streams-5", "expected_version": 2, "events": {"type": "A"}}]')$$),
	'SE003', 'alone');
ROLLBACK;

-- Once a statement, whatever the shape of the call
SELECT is((es_append_streams('[{"stream": "streams-7", "expected_version": 0, "events": {"type": "A"}}]')).version, 1::bigint, 'in a select list');
SELECT is(array_agg(r.version ORDER BY i), '{2,3,4}'::bigint[], 'laterally, once a row')
FROM generate_series(1, 3) i, es_append_streams(jsonb_build_array(jsonb_build_object('stream', 'streams-7', 'expected_version', -1, 'events', jsonb_build_object('type', 'T' || i)))) r;
SELECT is(array_agg(version), '{5,5}'::bigint[], 'a limit does not stop it half-way')
FROM (SELECT version FROM es_append_streams('[{"stream": "streams-7", "expected_version": -1, "events": {"type": "X"}}, {"stream": "streams-7", "expected_version": -1, "events": {"type": "Y"}}]') LIMIT 1) t, generate_series(1, 2);
SELECT is(es_stream_version('streams-7'), 6::bigint);

-- Many streams, many events
SELECT is(count(*), 2000::bigint, 'two thousand streams in one call')
FROM es_append_streams((SELECT jsonb_agg(jsonb_build_object('stream', 'streamsmany-' || (i * 7919) % 2000, 'expected_version', 0,
															'events', jsonb_build_array(jsonb_build_object('type', 'A', 'data', i), jsonb_build_object('type', 'B', 'data', i))) ORDER BY i)
						FROM generate_series(1, 2000) i))
	 WITH ORDINALITY r (stream, version, position, nr)
WHERE stream = 'streamsmany-' || (nr * 7919) % 2000 AND version = 2;
SELECT is(count(*), 4000::bigint, 'positions in the order of the batch')
FROM (SELECT data, type, row_number() OVER (ORDER BY position) AS nr FROM es_read_category('streamsmany', 0, NULL)) e
WHERE data = to_jsonb((nr + 1) / 2) AND type = CASE nr % 2 WHEN 1 THEN 'A' ELSE 'B' END;

-- Atomic with the rest of the transaction
BEGIN;
CREATE TABLE side_effect (n int);
SELECT is(count(*), 2::bigint) FROM es_append_streams('[{"stream": "streams-8", "expected_version": 0, "events": {"type": "A"}}, {"stream": "streams-9", "expected_version": 0, "events": {"type": "A"}}]');
ROLLBACK;
SELECT is(es_stream_version('streams-8') + es_stream_version('streams-9'), 0::bigint, 'rolled back');

-- es_assert_version
SELECT is(attempt(format('SELECT es_assert_version(%L, %s)', stream, expected)), want, format('%s, expected %s', stream, expected))
FROM (VALUES ('streams-z', 4, '4'), ('streams-z', -1, '4'), ('streams-z', -2, '4'),
			 ('streams-z', 0, 'SE001 Stream "streams-z" is at version 4, expected 0.'),
			 ('streams-z', 3, 'SE001 Stream "streams-z" is at version 4, expected 3.'),
			 ('streams-z', 5, 'SE001 Stream "streams-z" is at version 4, expected 5.'),
			 ('streams-none', -2, 'SE001 Stream "streams-none" is at version 0, expected -2.'),
			 ('streams-none', 1, 'SE001 Stream "streams-none" is at version 0, expected 1.'),
			 ('streams-none', 0, '0'), ('streams-none', -1, '0'), ('streams-none', 0, '0'),
			 ('streams-none', -2, 'SE001 Stream "streams-none" is at version 0, expected -2.'),
			 ('streams-none-2', -1, '0')) v (stream, expected, want);
SELECT is(es_stream_version('streams-none'), 0::bigint, 'an assertion makes no event');
SELECT is(count(*), 0::bigint, 'nor one that is read') FROM es_read('streams-none');
SELECT is(count(*), 0::bigint, 'nor a last one') FROM es_last_event('streams-none');
SELECT is(es_append('streams-none', 0, 'A', '{}'), 1::bigint, 'the stream can be begun afterwards');
BEGIN;
SELECT is(es_assert_version('streams-a', 1), 1::bigint);
SELECT is(es_append('streams-a', 1, 'A', '{}'), 2::bigint, 'an append after one''s own assertion');
SELECT is(es_assert_version('streams-a', 2), 2::bigint, 'an assertion after one''s own append');
SELECT is(es_assert_version('streams-x', 0), 0::bigint);
SELECT is(es_append('streams-x', 0, 'A', '{}'), 1::bigint, 'the same with a new stream');
SELECT is(es_assert_version('streams-x', 1), 1::bigint);
SAVEPOINT a;
SELECT is(es_assert_version('streams-y', 0), 0::bigint);
ROLLBACK TO a;
SELECT is(es_append('streams-y', 0, 'A', '{}'), 1::bigint, 'a rolled-back assertion of a new stream');
COMMIT;
SELECT is((es_stream_version('streams-a'), es_stream_version('streams-x'), es_stream_version('streams-y'))::text, '(2,1,1)', 'all stored');
SELECT is((SELECT array_agg(es_assert_version('streams-a', 2)) FROM generate_series(1, 3)), '{2,2,2}'::bigint[], 'several in a statement');
SELECT is(es_last_position(), (SELECT position FROM es_read('streams-y')), 'an assertion is no append');

SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_streams CASCADE;
