-- The readers, each against plain SQL over eventstore.events, on random data.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_read;
SET search_path = test_read, public;
SET jit = off;

-- 600 events in 12 streams of 3 categories, in random order; read-big has some that are stored out of line.
SELECT setseed(0.42);
SELECT count(*) FROM (
	SELECT es_append((ARRAY['read-', 'read_x-', 'read'])[1 + n % 3] || CASE WHEN n % 3 < 2 THEN floor(random() * 5) || '-x' ELSE '' END, -1,
					 (ARRAY['A', 'B', 'C', 'a', 'AB'])[1 + floor(random() * 5)::int],
					 jsonb_build_object('n', n, 'r', random()), CASE WHEN random() < 0.3 THEN jsonb_build_object('user', n) END, NULL,
					 CASE WHEN random() < 0.3 THEN ARRAY['t' || n, 'all'] END)
	FROM generate_series(1, 600) n) t;
SELECT es_append('read-big', 0, ARRAY['A', 'B'], ARRAY[to_jsonb(repeat('x', 100000)), (SELECT jsonb_agg(md5(i::text)) FROM generate_series(1, 5000) i)]);

SELECT attname, format_type(atttypid, atttypmod), collname
FROM pg_attribute LEFT JOIN pg_collation c ON c.oid = attcollation WHERE attrelid = 'eventstore.event'::regclass ORDER BY attnum;

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

SELECT is((SELECT array_agg((attname, atttypid, attcollation)::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'eventstore.events'::regclass AND attnum > 0 AND NOT attisdropped),
		  (SELECT array_agg((attname, atttypid, attcollation)::text ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'eventstore.event'::regclass AND attnum > 0),
		  'the type has the columns of the table');
SELECT is(prorettype::regtype::text, 'eventstore.event', proname || ' returns events') FROM pg_proc
WHERE proname IN ('es_read', 'es_read_all', 'es_read_category', 'es_last_event', 'es_stream_as_of') AND proretset ORDER BY proname;

-- For every combination of arguments: the rows of the function, in its order, are those of the query, in its order.
CREATE FUNCTION differences(call text, query text) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM (SELECT *, row_number() OVER () FROM %s e) a FULL JOIN (SELECT *, row_number() OVER () FROM (%s) e) b'
				   ' ON to_jsonb(a) = to_jsonb(b) WHERE a IS NULL OR b IS NULL', call, query) INTO n;
	RETURN n;
END
$$;

CREATE TABLE es_read_calls AS
SELECT format('es_read(%L, %L, %L, %L)', stream, from_version, max_count, backward) AS call,
	   format('SELECT * FROM eventstore.events WHERE stream = %L AND version %s %L ORDER BY version %s LIMIT %L', stream,
			  CASE WHEN backward THEN '<=' ELSE '>=' END, coalesce(from_version, CASE WHEN backward THEN 9223372036854775807 ELSE 0 END),
			  CASE WHEN backward THEN 'DESC' ELSE 'ASC' END, max_count) AS query
FROM unnest('{read-0-x,read_x-1-x,read,read-big,read-none,read-,READ,read-0-x }'::text[]) stream,
	 unnest('{NULL,0,1,2,7,200,201,9223372036854775807}'::bigint[]) from_version,
	 unnest('{NULL,0,1,2,5,1000,9223372036854775807}'::bigint[]) max_count,
	 unnest('{t,f}'::boolean[]) backward;
SELECT is((count(*), count(*) FILTER (WHERE differences(call, query) <> 0))::text, '(896,0)', 'es_read: calls, those that differ') FROM es_read_calls;

CREATE TABLE types_filters (types text[]);
INSERT INTO types_filters VALUES (NULL), ('{A}'), ('{A,C}'), ('{}'), ('{none}'), ('{a,a}'), ('[3:4]={B,AB}'), ('{{A},{B}}');
CREATE TABLE places (place bigint);
INSERT INTO places VALUES (0), (1), (9223372036854775807);
INSERT INTO places SELECT position FROM (SELECT position, row_number() OVER (ORDER BY position) AS nr FROM eventstore.events WHERE category LIKE 'read%') e WHERE nr IN (1, 2, 300, 600);
INSERT INTO places SELECT max(position) + d FROM eventstore.events, generate_series(-1, 1) d GROUP BY d;

CREATE FUNCTION oracle(condition text, after bigint, max_count bigint, types text[], backward boolean) RETURNS text LANGUAGE sql RETURN
	format('SELECT * FROM eventstore.events WHERE %s AND %s AND %s ORDER BY position %s LIMIT %L', condition,
		   CASE WHEN backward AND after = 0 THEN 'true' WHEN backward THEN 'position < ' || after ELSE 'position > ' || after END,
		   CASE WHEN types IS NULL THEN 'true' ELSE format('type = ANY (%L)', types) END,
		   CASE WHEN backward THEN 'DESC' ELSE 'ASC' END, max_count);

SELECT is((count(*), count(*) FILTER (WHERE differences(format('es_read_all(%L, %L, %L, %L)', place, max_count, types, backward),
														 oracle('true', place, max_count, types, backward)) <> 0))::text,
		  '(640,0)', 'es_read_all: calls, those that differ')
FROM types_filters, places, unnest('{0,1,7,100}'::bigint[]) max_count, unnest('{t,f}'::boolean[]) backward;
SELECT is((count(*), count(*) FILTER (WHERE differences(format('es_read_all(%L, %L, %L, %L)', place, max_count, types, backward),
														 oracle('true', place, max_count, types, backward)) <> 0))::text,
		  '(32,0)', 'es_read_all of the whole store: calls, those that differ')
FROM (VALUES (NULL), ('{A,C}'::text[])) f (types), unnest('{0,1,9223372036854775806,9223372036854775807}'::bigint[]) place, unnest('{NULL,9223372036854775807}'::bigint[]) max_count, unnest('{t,f}'::boolean[]) backward;

SELECT is((count(*), count(*) FILTER (WHERE differences(format('es_read_category(%L, %L, %L, %L, %L)', category, place, max_count, types, backward),
														 oracle(format('category = %L', category), place, max_count, types, backward)) <> 0))::text,
		  '(3840,0)', 'es_read_category: calls, those that differ')
FROM unnest('{read,read_x,"",rea,read-0,READ}'::text[]) category, types_filters, places, unnest('{0,1,7,NULL}'::bigint[]) max_count, unnest('{t,f}'::boolean[]) backward;

-- Defaults
SELECT is(differences('es_read(''read-0-x'')', 'SELECT * FROM eventstore.events WHERE stream = ''read-0-x'' ORDER BY version'), 0::bigint, 'es_read of a stream');
SELECT is(differences('es_read_all()', oracle('true', 0, 1000, NULL, false)), 0::bigint, 'es_read_all of nothing');
SELECT is(differences('es_read_all(backward => true)', oracle('true', 0, 1000, NULL, true)), 0::bigint, 'es_read_all backward');
SELECT is(differences('es_read_all(max_count => NULL)', oracle('true', 0, NULL, NULL, false)), 0::bigint, 'es_read_all without a limit');
SELECT is(differences('es_read_category(''read'')', oracle('category = ''read''', 0, 1000, NULL, false)), 0::bigint, 'es_read_category of a category');
SELECT is(differences('es_read_category(''read'', types => ''{B}'', backward => true)', oracle('category = ''read''', 0, 1000, '{B}', true)), 0::bigint, 'with names');

-- es_stream_version, es_last_event
SELECT is(count(*) FILTER (WHERE es_stream_version(stream) IS DISTINCT FROM coalesce(version, 0)), 0::bigint, 'es_stream_version of all streams')
FROM (SELECT stream, max(version) AS version FROM eventstore.events GROUP BY 1 UNION SELECT unnest('{read-none,READ,read-}'::text[]), NULL) s;
SELECT is((count(*), count(*) FILTER (WHERE differences(format('es_last_event(%L, %L)', stream, type),
	format('SELECT * FROM eventstore.events WHERE stream = %L AND (%L IS NULL OR type = %2$L) ORDER BY version DESC LIMIT 1', stream, type)) <> 0))::text, '(35,0)', 'es_last_event: calls, those that differ')
FROM unnest('{read-0-x,read-big,read_x-1-x,read,read-none}'::text[]) stream, unnest('{NULL,A,B,C,a,AB,none}'::text[]) type;
SELECT is(differences('es_last_event(''read'')', 'SELECT * FROM eventstore.events WHERE stream = ''read'' ORDER BY version DESC LIMIT 1'), 0::bigint, 'es_last_event of a stream');

-- es_stream_as_of
SELECT is((count(*), count(*) FILTER (WHERE differences(format('es_stream_as_of(%L, %L)', stream, at),
	format('SELECT * FROM eventstore.events WHERE stream = %L AND recorded_at <= %L ORDER BY version', stream, at)) <> 0))::text, '(40,0)', 'es_stream_as_of: calls, those that differ')
FROM unnest('{read-0-x,read-big,read,read-none}'::text[]) stream,
	 (SELECT recorded_at + d * interval '1 microsecond' AS at FROM es_read('read-0-x') JOIN (VALUES (1), (20)) v (version) USING (version), generate_series(-1, 1) d
	  UNION ALL VALUES ('-infinity'::timestamptz), ('infinity'), ('2000-01-01'), ('9999-12-31')) t;
SELECT pg_sleep(0.002) \g /dev/null
SELECT clock_timestamp() AS then \gset
SELECT pg_sleep(0.002) \g /dev/null
SELECT is(es_append('read-0-x', -1, 'Later', '{}') > 1, true);
SELECT is((SELECT count(*) FROM es_read('read-0-x')) - (SELECT count(*) FROM es_stream_as_of('read-0-x', :'then')), 1::bigint, 'the stream as it was');

-- Big values come whole, from a table that goes on to change.
SELECT is((SELECT array_agg(length(data::text) ORDER BY version) FROM es_read('read-big')), '{100002,180000}'::int[], 'values out of line');
SELECT is((SELECT sum(length(data::text)) FROM es_read_all(0, NULL) WHERE stream = 'read-big'), 280002::bigint, 'in es_read_all');

-- What a statement, a transaction, a cursor sees
BEGIN;
SELECT is(es_append('read-seen', 0, 'A', '{}'), 1::bigint);
SELECT is((SELECT count(*) FROM es_read('read-seen')), 1::bigint, 'own events, not yet committed');
SELECT is((SELECT count(*) FROM es_read_all(0, NULL) WHERE stream = 'read-seen'), 0::bigint, 'es_read_all stays below the head, which they hold back');
SELECT cmp_ok(es_head(), '<', es_last_position(), 'the transaction''s own events hold the head back');
DECLARE c CURSOR FOR SELECT version FROM es_read('read-seen');
SELECT is(es_append('read-seen', 1, 'B', '{}'), 2::bigint);
FETCH ALL FROM c;
CLOSE c;
SAVEPOINT a;
SELECT is(es_append('read-seen', 2, 'C', '{}'), 3::bigint);
ROLLBACK TO a;
SELECT is((SELECT string_agg(type, '') FROM es_read('read-seen')), 'AB', 'not what was rolled back');
COMMIT;
SELECT is((SELECT count(*) FROM es_read('read-seen') e, es_read(e.stream) f), 4::bigint, 'laterally');
SELECT is((SELECT count(*) FROM (SELECT es_read('read-seen') LIMIT 1) t), 1::bigint, 'in a select list');
SELECT is((SELECT (e).version FROM es_last_event('read-seen') e), 2::bigint, 'as a row');
PREPARE versions(text) AS SELECT array_agg(version) FROM es_read($1);
EXECUTE versions('read-seen');
EXECUTE versions('read-none');
DEALLOCATE versions;

-- In a read-only transaction
BEGIN READ ONLY;
SELECT (SELECT count(*) FROM es_read('read-seen')), (SELECT count(*) FROM es_last_event('read-seen')), es_stream_version('read-seen'),
	   (SELECT count(*) FROM es_stream_as_of('read-seen', 'infinity')), (SELECT count(*) FROM es_read_all(0, 1)),
	   (SELECT count(*) FROM es_read_category('read', 0, 1)), es_last_position() > 0;
COMMIT;

-- A table with columns of its own, one of them dropped, reads the same.
ALTER TABLE eventstore.events ADD COLUMN note text DEFAULT 'x', ADD COLUMN gone int DEFAULT 1;
ALTER TABLE eventstore.events DROP COLUMN gone;
SELECT is((SELECT count(*) FROM es_read_calls WHERE differences(call, replace(query, '*', 'position, stream, category, version, id, type, data, metadata, tags, recorded_at')) <> 0),
		  0::bigint, 'es_read of a table with more columns');
SELECT is(differences('es_read_all()', replace(oracle('true', 0, 1000, NULL, false), '*', 'position, stream, category, version, id, type, data, metadata, tags, recorded_at')),
		  0::bigint, 'es_read_all of it');
SELECT is(es_append('read-seen', 2, 'C', '{}'), 3::bigint, 'an append to it');
ALTER TABLE eventstore.events DROP COLUMN note;
SELECT is((SELECT count(*) FROM es_read('read-seen')), 3::bigint, 'after they are dropped');

-- Names: a category is what stands before the first dash.
SELECT is(es_append(stream, 0, 'T', '{}'), 1::bigint, stream)
FROM unnest('{readc-1,readc--1,readc-,readc-a-b,readc,-readc,--readc,readc_1,readc–1}'::text[]) stream;
SELECT is((SELECT category FROM es_read(stream)), want, stream)
FROM (VALUES ('readc-1', 'readc'), ('readc--1', 'readc'), ('readc-', 'readc'), ('readc-a-b', 'readc'), ('readc', 'readc'), ('-readc', ''), ('--readc', ''), ('readc_1', 'readc_1'), ('readc–1', 'readc–1')) v (stream, want);
SELECT is((SELECT string_agg(stream, ' ' ORDER BY position) FROM es_read_category('readc')), 'readc-1 readc--1 readc- readc-a-b readc', 'all of a category');
SELECT is((SELECT string_agg(stream, ' ' ORDER BY position) FROM es_read_category('') WHERE stream LIKE '%readc'), '-readc --readc', 'the category without a name');

SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_read CASCADE;
