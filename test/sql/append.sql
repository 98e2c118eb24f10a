-- es_append in all its forms: what it takes, what it returns, what it stores.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_append;
SET search_path = test_append, public;

-- What a call returns, or how it fails; with undo, nothing of it stays.
CREATE FUNCTION attempt(call text, undo boolean DEFAULT false) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
	detail text;
BEGIN
	EXECUTE call INTO result;
	IF undo THEN
		RAISE EXCEPTION '%', result USING ERRCODE = 'UNDO0';
	END IF;
	RETURN result;
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN
		RETURN SQLERRM;
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RETURN rtrim(SQLSTATE || ' ' || detail);
END
$$;

-- Expected versions
--
-- Three streams: without a row, with a row but no event, with three events; every form of the call.
SELECT es_assert_version('append-asserted', 0);
SELECT es_append('append-three', es_no_stream(), '[{"type":"A"},{"type":"B"},{"type":"C"}]');

SELECT stream, expected,
	   attempt(format('SELECT es_append(%L, %s, ''{"type":"T"}'')', stream, expected), undo => true) AS result
FROM unnest('{append-none,append-asserted,append-three}'::text[]) WITH ORDINALITY AS s (stream, nr),
	 unnest('{-2,-1,0,1,2,3,4,9223372036854775807}'::bigint[]) AS expected
ORDER BY nr, expected;

-- The other forms do the same.
SELECT count(*) AS calls, count(DISTINCT stream || expected) AS rows, bool_and(jsonb_result = result) AS all_equal
FROM (
	SELECT stream, expected,
		   attempt(format('SELECT es_append(%L, %s, ''{"type":"T"}'')', stream, expected), undo => true) AS jsonb_result,
		   attempt(format(form, stream, expected), undo => true) AS result
	FROM unnest('{append-none,append-asserted,append-three}'::text[]) AS stream,
		 unnest('{-2,-1,0,1,2,3,4}'::bigint[]) AS expected,
		 unnest(ARRAY['SELECT es_append(%L, %s, ''[{"type":"T"}]''::jsonb)',
					  'SELECT es_append(%L, %s, ''T'', ''{}'')',
					  'SELECT es_append(%L, %s, ''T'', ''{}''::jsonb)',
					  'SELECT es_append(%L, %s, ''T'', ''{}''::text)',
					  'SELECT es_append(%L, %s, ARRAY[''T''], ARRAY[''{}'']::jsonb[])',
					  'SELECT version FROM es_append_streams(jsonb_build_array(jsonb_build_object(
					      ''stream'', %L::text, ''expected_version'', %s, ''events'', ''[{"type":"T"}]''::jsonb)))']) AS form) t;

-- Nothing was stored by all that.
SELECT stream, es_stream_version(stream), (SELECT count(*) FROM eventstore.events e WHERE e.stream = s.stream)
FROM unnest('{append-none,append-asserted,append-three}'::text[]) AS s (stream);

-- The message, once in full.
\set VERBOSITY default
SELECT es_append('append-three', 2, 'T', '{}');
SELECT es_append('append-none', es_exists(), 'T', '{}');
SELECT es_append('append-three', NULL, 'T', '{}');
SELECT es_append('append-three', -3, 'T', '{}');

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

SELECT is(es_any(), -1::bigint, 'es_any()');
SELECT is(es_exists(), -2::bigint, 'es_exists()');
SELECT is(es_no_stream(), 0::bigint, 'es_no_stream()');
SELECT is(es_append('append-named', es_no_stream(), 'T', '{}'), 1::bigint, 'no stream, none there');
SELECT is(es_append('append-named', es_exists(), 'T', '{}'), 2::bigint, 'exists, and it does');
SELECT is(es_append('append-named', es_any(), 'T', '{}'), 3::bigint, 'any, some there');
SELECT is(es_append('append-named-2', es_any(), 'T', '{}'), 1::bigint, 'any, none there');
SELECT is(es_append('append-asserted', 0, 'T', '{}'), 1::bigint, 'an asserted stream has no event yet');

-- Forms and literals
SELECT is(es_append('append-form', 0, 'Opened', '{"by": "x"}'), 1::bigint, 'untyped literals');
SELECT is(es_append('append-form', 1, 'Opened', '{}', '{"user": 1}'), 2::bigint, 'untyped literals with metadata');
SELECT is(es_append('append-form', 2, 'Opened', '{}', NULL, 'a0000000-0000-0000-0000-000000000003'), 3::bigint,
		  'untyped literals with an id');
SELECT is(es_append('append-form', 3, 'Opened', '{}', NULL, NULL, '{x,y}'), 4::bigint, 'untyped literals with tags');
SELECT is(es_append('append-form', 4, 'Opened', '{}', '{"user": 1}', 'A0000000000000000000000000000005', ARRAY['x']), 5::bigint,
		  'untyped literals, all arguments, an id in upper case without dashes');
SELECT is(es_append(stream => 'append-form', expected_version => 5, type => 'Opened', data => '{"n": 6}'), 6::bigint,
		  'named arguments, untyped');
SELECT is(es_append(data => '{"n": 7}', type => 'Opened', tags => '{z}', expected_version => 6, stream => 'append-form'), 7::bigint,
		  'named arguments in another order, tags without what stands before');
SELECT is(es_append('append-form', 7, 'Opened', data => '{"n": 8}', id => 'a0000000-0000-0000-0000-000000000008'), 8::bigint,
		  'positional, then named');
SELECT is(es_append('append-form', 8, 'Opened', '{"n": 9}'::jsonb, metadata => '{"m": 9}'), 9::bigint,
		  'typed data, untyped metadata');
SELECT is(es_append('append-form', 9, 'Opened', '{"n": 10}', '{"m": 10}'::jsonb), 10::bigint, 'untyped data, typed metadata');
SELECT is(es_append('append-form', 10, 'Opened', '{"n": 11}', NULL, 'a0000000-0000-0000-0000-000000000011'::uuid), 11::bigint,
		  'untyped data, typed id');
SELECT is(es_append('append-form', 11, 'Opened'::varchar, jsonb_build_object('n', 12), NULL::jsonb, NULL::uuid, NULL::text[]),
		  12::bigint, 'all typed, nulls typed');
SELECT is(es_append('append-form', 12::smallint, 'Opened', '{"n": 13}'::text), 13::bigint, 'data as text');
SELECT is(es_append('append-form', 13, events => '{"type": "Opened", "data": {"n": 14}}'), 14::bigint, 'events => one object');
SELECT is(es_append('append-form', 14, '[{"type": "Opened", "data": {"n": 15}}]'), 15::bigint, 'events, untyped');
SELECT is(es_append('append-form', 15, types => '{Opened,Closed}', data => ARRAY['{"n": 16}', '{"n": 17}']::jsonb[]), 17::bigint,
		  'arrays, named');
SELECT is(es_append('append-form', 17, ARRAY['Opened'], '{"{\"n\": 18}"}'), 18::bigint, 'array of types, untyped array of data');
SELECT is(es_append('append-form', 18, ARRAY['Opened', 'Closed'], ARRAY['{"n": 19}', '20']::jsonb[], ARRAY[NULL, '{"m": 20}']::jsonb[],
					ARRAY['a0000000-0000-0000-0000-000000000019', NULL]::uuid[]), 20::bigint,
		  'arrays with metadata and ids, some of them null');
SELECT is(es_append('append-form', 20, ARRAY['Opened'], ARRAY['21']::jsonb[], ids => NULL), 21::bigint, 'arrays, ids null');
PREPARE append_untyped AS SELECT es_append($1, $2, $3, $4);
SELECT is(attempt('EXECUTE append_untyped (''append-form'', 21, ''Opened'', ''{"n": 22}'')'), '22', 'untyped parameters');
DEALLOCATE append_untyped;

-- What came of it
\pset tuples_only off
\pset format aligned
SELECT version, type, data, metadata, tags, CASE WHEN id::text LIKE 'a%' THEN id::text ELSE 'version ' || substr(id::text, 15, 1) END AS id
FROM es_read('append-form');
\pset tuples_only on
\pset format unaligned

SELECT is(count(*), 0::bigint, 'category, position, time of all events')
FROM (SELECT stream, category, version, position, recorded_at,
			 lag(position) OVER w AS position_before, lag(recorded_at) OVER w AS recorded_before, lag(version, 1, 0) OVER w AS version_before
	  FROM eventstore.events WHERE category = 'append' WINDOW w AS (PARTITION BY stream ORDER BY version)) e
WHERE category <> 'append' OR position <= position_before OR recorded_at < recorded_before OR version <> version_before + 1
   OR recorded_at NOT BETWEEN now() - interval '1 hour' AND clock_timestamp();

-- Data of any kind
SELECT is(es_append('append-data', -1, 'T', data), nr, 'data: ' || left(data, 20))
FROM unnest(ARRAY['{}', '[]', 'null', '0', '-1.50', '1e3', 'true', 'false', '""', '"text"', '"ä\u00e9\""', '[1, [2, {"a": null}], "x"]',
				  '{"a": {"b": [1, 2, {"c": {}}]}}', '{"": ""}', '{"a": 1, "a": 2}', '[' || repeat('1,', 10000) || '1]',
				  to_json(repeat('x', 100000))::text])
	 WITH ORDINALITY AS d (data, nr);
SELECT is(es_append('append-data-2', -1, jsonb_build_object('type', 'T', 'data', data)), version, 'the same in an event object')
FROM es_read('append-data');
SELECT is(array_agg(a.data::text ORDER BY version), array_agg(b.data::text ORDER BY version), 'both read back the same')
FROM es_read('append-data') a JOIN es_read('append-data-2') b USING (version);
SELECT is(data::text, want, 'data is stored as ' || want)
FROM es_read('append-data') JOIN (VALUES (3, 'null'), (5, '-1.50'), (6, '1000'), (9, '""'), (15, '{"a": 2}')) w (version, want) USING (version);
SELECT is(es_append('append-data-3', 0, 'T', repeat('{"a":', 1000) || '1' || repeat('}', 1000)), 1::bigint, 'deep data');
SELECT is(es_append('append-data-3', 1, 'T', jsonb_build_object('a', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 30000) i))),
		  2::bigint, 'data of 960 kB');
SELECT is(length(data ->> 'a'), 960000, 'and back') FROM es_read('append-data-3', 2);

-- Keys of an event
SELECT is(es_append('append-keys', 0, '[{"type": "A"}, {"type": "B", "data": null, "metadata": null, "id": null, "tags": null},
	{"tags": ["x", "y", "x"], "id": "a0000000-0000-0000-0001-000000000001", "metadata": {"m": {"n": []}}, "data": [1], "type": "C"},
	{"type": "D", "metadata": {}, "tags": []}]'), 4::bigint, 'every key, present, absent and null');
\pset tuples_only off
\pset format aligned
SELECT version, type, data, metadata, tags, id IS NOT NULL AS has_id FROM es_read('append-keys');
\pset tuples_only on
\pset format unaligned

-- Limits
SELECT is(es_append(name, 0, 'T', '{}'), 1::bigint, what)
FROM (VALUES (repeat('s', 512), 'a stream of 512 bytes'), ('s', 'a stream of one byte'), (' ', 'a blank'), ('-', 'a dash'), (E'a\nb\t', 'a control character'),
			 ('%_\"''$', 'special characters')) n (name, what);
SELECT is(es_append('append-limits', -1, repeat('t', 256), '{}', NULL, NULL, ARRAY[repeat('t', 512), 'ok']), 1::bigint, 'a type of 256 bytes, a tag of 512');
SELECT is((SELECT (type, tags)::text FROM es_read('append-limits')), (repeat('t', 256), ARRAY[repeat('t', 512), 'ok'])::text, 'and back');

-- Arrays of odd shape
SELECT is(es_append('append-arrays', 0, '[5:6]={A,B}'::text[], '[-1:0]={1,2}'::jsonb[], '[0:1]={NULL,"{\"m\": 2}"}'::jsonb[],
					'[7:8]={NULL,a0000000-0000-0000-0002-000000000001}'::uuid[]), 2::bigint, 'lower bounds do not matter');
SELECT is(es_append('append-arrays', 2, 'T', '{}', tags => '[3:4]={x,y}'), 3::bigint, 'nor in tags');
SELECT is(es_append('append-arrays', 3, 'T', '{}', tags => '{}'), 4::bigint, 'no tag');
SELECT is(attempt(call), '22023', 'refused: ' || call)
FROM unnest(ARRAY[$$SELECT es_append('append-arrays', -1, '{{A},{B}}'::text[], '{{1},{2}}'::jsonb[])$$,
				  $$SELECT es_append('append-arrays', -1, '{A,B}'::text[], '{{1},{2}}'::jsonb[])$$,
				  $$SELECT es_append('append-arrays', -1, '{A,B}'::text[], '{1,2}'::jsonb[], '{{"{}"},{"{}"}}'::jsonb[])$$,
				  $$SELECT es_append('append-arrays', -1, '{A,B}'::text[], '{1,2}'::jsonb[], NULL, '{{NULL},{NULL}}'::uuid[])$$,
				  $$SELECT es_append('append-arrays', -1, 'T', '{}', tags => '{{x,y}}')$$]) AS call;
SELECT is(string_agg(concat_ws(' ', version, type, data, metadata, array_to_string(tags, '+')), ', ' ORDER BY version),
		  '1 A 1, 2 B 2 {"m": 2}, 3 T {} x+y, 4 T {} ', 'what the arrays say') FROM es_read('append-arrays');

-- Batches, some over the size that goes to the table at once
SELECT is(es_append('append-batch', -1, array_agg('T' || i), array_agg(to_jsonb(i))), sum(count(*)) OVER (ORDER BY size)::bigint, size || ' in arrays')
FROM unnest('{1,2,255,256,257,1000}'::int[]) size, generate_series(1, size) i GROUP BY size ORDER BY size;
SELECT is(es_append('append-batch', 1771, jsonb_agg(jsonb_build_object('type', 'T' || i, 'data', i))), 3771::bigint, '2000 in JSON')
FROM generate_series(1, 2000) i;
SELECT is(string_agg(type || '=' || data, ' ' ORDER BY version),
		  (SELECT string_agg(format('T%1$s=%1$s', i), ' ' ORDER BY nr, i)
		   FROM unnest('{1,2,255,256,257,1000,2000}'::int[]) WITH ORDINALITY s (size, nr), generate_series(1, size) i),
		  'all there, in order') FROM es_read('append-batch');

-- es_last_position
SELECT is(es_last_position(), (SELECT max(position) FROM eventstore.events), 'the last position');
SELECT is(es_append('append-last', 0, 'T', '{}'), 1::bigint);
SELECT is(es_last_position(), (SELECT position FROM es_read('append-last')), 'after one');
SELECT is(es_append('append-last', -1, '[{"type":"A"},{"type":"B"}]'), 3::bigint);
SELECT is(es_last_position(), (SELECT position FROM es_read('append-last', 3)), 'after two');
SELECT is(attempt($$SELECT es_append('append-last', 0, 'T', '{}')$$), 'SE001 Stream "append-last" is at version 3, expected 0.');
SELECT is(es_last_position(), (SELECT position FROM es_read('append-last', 3)), 'a failed append does not count');
SELECT is((SELECT max(position) FROM es_append_streams('[{"stream":"append-last-2","expected_version":0,"events":{"type":"A"}},
	{"stream":"append-last","expected_version":3,"events":[{"type":"A"},{"type":"B"}]}]')),
	es_last_position(), 'after several streams');
SELECT * FROM finish();
\c -
SET search_path = test_append, public;
\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();
SELECT is(es_last_position(), NULL, 'a new session has appended nothing');

-- Several appends in one statement
SELECT is(array_agg(es_append('append-several', i - 1, 'T', to_jsonb(i))), '{1,2,3,4,5}'::bigint[], 'each sees the one before') FROM generate_series(1, 5) i;
SELECT is(ARRAY[es_append('append-several', 5, 'T', '6'), es_append('append-several', 6, 'T', '7')], '{6,7}'::bigint[], 'two calls in a row');
WITH a AS (SELECT es_append('append-several', 7, 'T', '8') AS version), b AS (SELECT es_append('append-several', version, 'T', '9') AS version FROM a)
SELECT is(es_append('append-several', version, 'T', '10'), 10::bigint, 'chained CTEs') FROM b;
CREATE TABLE orders (id int PRIMARY KEY, version bigint);
WITH placed AS (INSERT INTO orders SELECT i, es_append('append-order-' || i, 0, 'Placed', to_jsonb(i)) FROM generate_series(1, 3) i RETURNING *)
SELECT is(array_agg(version), '{1,1,1}'::bigint[], 'in an INSERT in a CTE') FROM placed;
UPDATE orders SET version = es_append('append-order-' || id, version, 'Paid', '{}');
SELECT is(array_agg(version), '{2,2,2}'::bigint[], 'in an UPDATE') FROM orders;
SELECT is(attempt('SELECT sum(es_append(''append-several'', CASE i WHEN 4 THEN 0 ELSE -1 END, ''T'', ''0'')) FROM generate_series(1, 5) i'),
		  'SE001 Stream "append-several" is at version 13, expected 0.', 'the fourth of five fails');
SELECT is(es_stream_version('append-several'), 10::bigint, 'and all of them are undone');
SELECT is((SELECT count(*) FROM es_read('append-several') WHERE to_jsonb(version) = data), 10::bigint, 'data in the order of the calls');

-- Functions, loops, exception blocks
CREATE FUNCTION append_in_loop(n int) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	conflicts int := 0;
BEGIN
	FOR i IN 1..n LOOP
		BEGIN
			PERFORM es_append('append-loop', CASE WHEN i % 3 = 0 THEN 0 ELSE -1 END, 'T', to_jsonb(i));
			IF i % 5 = 0 THEN
				RAISE division_by_zero;
			END IF;
		EXCEPTION
			WHEN SQLSTATE 'SE001' THEN conflicts := conflicts + 1;
			WHEN division_by_zero THEN NULL;
		END;
		IF es_stream_version('append-loop') <> (SELECT count(*) FROM es_read('append-loop')) THEN
			RAISE 'version differs from the number of events';
		END IF;
	END LOOP;
	RETURN format('%s conflicts, version %s', conflicts, es_stream_version('append-loop'));
END
$$;
SELECT is(append_in_loop(60), '20 conflicts, version 32', 'a loop of exception blocks');
SELECT is(array_agg(version ORDER BY version), array_agg(nr ORDER BY nr), 'no gap')
FROM (SELECT version, row_number() OVER (ORDER BY version) AS nr FROM es_read('append-loop')) t;
CREATE FUNCTION append_twice() RETURNS bigint LANGUAGE sql AS
$$ SELECT es_append('append-sql', -1, 'A', '{}'); SELECT es_append('append-sql', -1, 'B', '{}') $$;
SELECT is(append_twice(), 2::bigint, 'a function in SQL');
CREATE PROCEDURE append_and_commit(n int) LANGUAGE plpgsql AS
$$
BEGIN
	FOR i IN 1..n LOOP
		PERFORM es_append('append-procedure', i - 1, 'T', '{}');
		IF i % 2 = 0 THEN COMMIT; END IF;
	END LOOP;
	ROLLBACK;
END
$$;
CALL append_and_commit(5);
SELECT is(es_stream_version('append-procedure'), 4::bigint, 'a procedure that commits');

-- Transactions and savepoints
BEGIN;
SELECT is(es_append('append-tx', 0, 'A', '{}'), 1::bigint);
ROLLBACK;
SELECT is(es_stream_version('append-tx'), 0::bigint, 'rolled back: no stream');
BEGIN;
SELECT is(es_append('append-tx', 0, 'A', '{}'), 1::bigint, 'after a rollback the stream is new again');
SAVEPOINT a;
SELECT is(es_append('append-tx', 1, 'B', '{}'), 2::bigint);
SAVEPOINT b;
SELECT is(es_append('append-tx', 2, 'C', '{}'), 3::bigint);
ROLLBACK TO b;
SELECT is(es_stream_version('append-tx'), 2::bigint, 'rolled back to the second savepoint');
SELECT is(es_append('append-tx', 2, 'D', '{}'), 3::bigint);
RELEASE b;
ROLLBACK TO a;
SELECT is(es_stream_version('append-tx'), 1::bigint, 'rolled back to the first, the released one with it');
SELECT is(es_append('append-tx', 1, 'E', '{}'), 2::bigint);
COMMIT;
SELECT is(string_agg(type, ' ' ORDER BY version), 'A E', 'what stays') FROM es_read('append-tx');
BEGIN;
SAVEPOINT a;
SELECT is(es_append('append-tx-2', 0, 'A', '{}'), 1::bigint);
ROLLBACK TO a;
SELECT is(es_append('append-tx-2', 0, 'B', '{}'), 1::bigint, 'first event, rolled back and again');
SAVEPOINT a;
SELECT is(attempt($$SELECT es_append('append-tx-2', 0, 'C', '{}')$$), 'SE001 Stream "append-tx-2" is at version 1, expected 0.');
COMMIT;
SELECT is(string_agg(type, ' '), 'B', 'what stays') FROM es_read('append-tx-2');

-- The session goes on after an error in a transaction block.
BEGIN;
SELECT es_append('append-tx-3', 0, 'A', '{}');
\set VERBOSITY sqlstate
SELECT es_append('append-tx-3', 0, 'B', '{}');
SELECT es_append('append-tx-3', 1, 'C', '{}');
\set VERBOSITY default
ROLLBACK;
SELECT is(es_append('append-tx-3', 0, 'D', '{}'), 1::bigint, 'nothing of the failed transaction stayed');

-- Higher isolation, alone
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT is(es_append('append-alone', 0, 'A', '{}'), 1::bigint);
SELECT is(es_append('append-alone', 1, 'B', '{}'), 2::bigint);
SELECT is(attempt($$SELECT es_append('append-alone', 1, 'C', '{}')$$), 'SE001 Stream "append-alone" is at version 2, expected 1.',
		  'a conflict with oneself is none of serialization');
SELECT is(es_append('append-alone', -1, 'C', '{}'), 3::bigint);
COMMIT;
SELECT is(es_stream_version('append-alone'), 3::bigint);

-- A stream that cannot go on
BEGIN;
SET LOCAL eventstore.restoring = on;
INSERT INTO eventstore.streams VALUES ('append-full', 9223372036854775806, now(), false), ('append-tombstone', 3, now(), true);
SELECT is(attempt($$SELECT es_append('append-full', -1, '[{"type":"A"},{"type":"B"}]')$$), '54000', 'no version left');
SELECT is(es_append('append-full', 9223372036854775806, '{"type":"A"}'), 9223372036854775807, 'the last one');
SELECT is(attempt($$SELECT es_append('append-full', -1, '{"type":"A"}')$$), '54000', 'none left at all');
SELECT is(attempt(format('SELECT es_append(''append-tombstone'', %s, ''{"type":"A"}'')', expected)), 'SE003', 'tombstoned, expected ' || expected)
FROM unnest('{-2,-1,0,3,7}'::bigint[]) expected;
SELECT is(attempt($$SELECT es_assert_version('append-tombstone', 3)$$), 'SE003', 'tombstoned, asserted');
ROLLBACK;

-- A procedure that commits in a loop: what an append does at commit is not left in the procedure's memory.
CREATE TABLE memory (used bigint);
DO $$
BEGIN
	FOR i IN 1 .. 2000 LOOP
		PERFORM es_append('append-loop', -1, 'T', '{}');
		INSERT INTO test_append.memory SELECT sum(used_bytes) FROM pg_backend_memory_contexts WHERE name = 'SPI Proc' AND i IN (1000, 2000) HAVING count(*) > 0;
		COMMIT;
	END LOOP;
END
$$;
SELECT cmp_ok((max(used) - min(used)) / 1000, '<', 200::bigint, 'bytes kept an append') FROM memory;

SELECT is(count(*), 0::bigint, 'streams agree with their events')
FROM eventstore.streams s FULL JOIN (SELECT stream, max(version), max(recorded_at) AS recorded_at, count(*) FROM eventstore.events GROUP BY 1) e USING (stream)
WHERE stream LIKE 'append-%'
  AND (s.version IS DISTINCT FROM coalesce(e.max, 0) OR e.count <> s.version OR s.recorded_at <> e.recorded_at);
SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_append CASCADE;
