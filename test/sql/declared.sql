-- What can be declared beyond counts and sums: keys that are null, lists, distinct values, values by time, looked-up tables, WITH and DISTINCT.
-- Every table is compared with its query, as it stands, over all events.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
CREATE SCHEMA test_declared;
SET search_path = test_declared, public;
SET timezone = 'Europe/Berlin';
\set VERBOSITY terse

CREATE VIEW events AS SELECT * FROM eventstore.events;
CREATE FUNCTION differences(projection text) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	query  text := (SELECT p.query FROM eventstore.projections p WHERE p.name = projection);
	result bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM ((SELECT t::text FROM test_declared.%1$I t EXCEPT ALL SELECT q::text FROM (%2$s) q)
										  UNION ALL (SELECT q::text FROM (%2$s) q EXCEPT ALL SELECT t::text FROM test_declared.%1$I t)) d', projection, query) INTO result;
	RETURN result;
END
$$;
CREATE PROCEDURE add_history(n int) LANGUAGE plpgsql AS
$$
BEGIN
	FOR i IN 1..n LOOP
		PERFORM es_append((ARRAY['account', 'cart', 'user'])[1 + i % 3] || '-' || i % 5, es_any(), (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
			'type', (ARRAY['Opened', 'Deposited', 'Withdrawn'])[1 + (i * j) % 3],
			'data', jsonb_build_object('amount', nullif(((i * 37 + j * 11) % 50 - 10) / 10.0, 1.2), 'n', nullif((i * j) % 7, 3), 'at', timestamptz '2024-01-01 00:00+00' + make_interval(hours => (i * 5 + j * 3) % 11),
									   'name', nullif(chr(65 + (i * 7 + j) % 26), 'C'), 'customer', nullif('c' || (i + j) % 4, 'c3')),
			'tags', CASE WHEN i % 4 = 0 THEN jsonb_build_array('t', 't' || j % 2) END))) FROM generate_series(1, 1 + i % 4) j));
	END LOOP;
END
$$;
CREATE TABLE customer (id text PRIMARY KEY, country text, region int);
CREATE TABLE region (nr int NOT NULL UNIQUE, name text NOT NULL);
INSERT INTO region VALUES (1, 'north'), (2, 'south');
INSERT INTO customer VALUES ('c0', 'DE', 1), ('c1', NULL, 2), ('c2', 'FR', 2);
CALL add_history(25);

CREATE TYPE size AS ENUM ('small', 'large');
CREATE TABLE queries (name text, query text, lookups regclass[]);
INSERT INTO queries VALUES
	('null_key', 'SELECT data->>''name'' AS name, count(*) AS n FROM events GROUP BY 1', NULL),
	('null_keys', 'SELECT category, data->>''name'' AS name, (data->>''n'')::int AS n, avg((data->>''amount'')::numeric) AS mean, es_last(type, position) AS last FROM events GROUP BY 1, 2, 3', NULL),
	('null_array', 'SELECT tags, tags[2:1] AS empty, (data->>''n'')::float8 AS n, metadata, count(*) AS c FROM events GROUP BY 1, 2, 3, 4', NULL),
	('one_group', 'SELECT NULL::text AS nothing, count(*) AS n FROM events GROUP BY 1', NULL),
	('by_time', 'SELECT stream, es_last(data->>''name'', (data->>''at'')::timestamptz ORDER BY position) AS last, es_first(data->''amount'', (data->>''at'')::timestamptz ORDER BY position) AS first,
				 es_last(version, data->>''name'' ORDER BY position) AS by_text, es_first(version, data->>''name'' COLLATE "C" ORDER BY position) AS by_bytes, es_last(type, tags ORDER BY position) AS by_array FROM events GROUP BY stream', NULL),
	('by_values', 'SELECT category, es_last(id, (data->>''amount'')::numeric ORDER BY position) FILTER (WHERE type <> ''Opened'') AS by_number, es_first(tags, recorded_at ORDER BY position) AS earliest, es_last(data, id) AS by_id,
				   es_last(position, CASE WHEN version > 3 THEN ''large'' ELSE ''small'' END::size ORDER BY position) AS by_enum, es_first(data->>''name'', (data->>''n'')::int % 2 = 0 ORDER BY position) AS by_bool FROM events GROUP BY category', NULL),
	('distinct_values', 'SELECT category, count(DISTINCT stream) AS streams, count(DISTINCT data->''amount'') AS amounts, count(DISTINCT (data->>''amount'')::numeric) FILTER (WHERE type = ''Deposited'') AS deposited, count(DISTINCT tags) AS tags, count(*) AS n, avg(version) AS mean FROM events GROUP BY category', NULL),
	('distinct_only', 'SELECT data->>''name'' AS name, count(DISTINCT stream) AS streams FROM events GROUP BY 1', NULL),
	('distinct_items', 'SELECT category, count(DISTINCT tag) AS tags, count(tag) AS n FROM events, unnest(tags) AS tag GROUP BY category', NULL),
	('lists', 'SELECT stream, array_agg(type ORDER BY position) AS types, array_agg((data->>''n'')::int ORDER BY position) FILTER (WHERE type = ''Opened'') AS opened, jsonb_agg(data->''amount'' ORDER BY position) AS amounts, jsonb_agg(tags ORDER BY position) AS tags,
			   jsonb_agg((data->>''at'')::timestamptz ORDER BY position) AS times, string_agg(data->>''name'', '', '' ORDER BY position) AS names, string_agg(data->>''name'', NULL ORDER BY position) AS joined, (array_agg(type ORDER BY position))[2] AS second,
			   cardinality(array_agg(type ORDER BY position)) AS length FROM events GROUP BY stream', NULL),
	('lists_across', 'SELECT category, array_agg(stream ORDER BY position) AS streams, string_agg(data->>''none'', '''' ORDER BY position) AS nothing FROM events GROUP BY category', NULL),
	('looked_up', 'SELECT c.country, count(*) AS n, es_last(e.stream, e.position) AS last FROM events e LEFT JOIN customer c ON c.id = e.data->>''customer'' GROUP BY c.country', '{customer}'),
	('looked_up_inner', 'SELECT c.id, sum((data->>''amount'')::numeric) AS amount FROM events, customer c WHERE c.id = data->>''customer'' GROUP BY c.id', '{customer}'),
	('looked_up_twice', 'SELECT r.name, r.nr, array_agg(e.type ORDER BY e.position) AS types, count(DISTINCT c.id) AS customers FROM events e JOIN customer c ON e.data->>''customer'' = c.id JOIN region r ON c.region = r.nr GROUP BY r.name, r.nr', '{customer,region}'),
	('looked_up_right', 'SELECT e.category, count(c.country) AS n FROM customer c RIGHT JOIN events e ON c.id = data->>''customer'' GROUP BY e.category', '{customer}'),
	('looked_up_many', 'SELECT e.category, r.name, count(*) AS n FROM events e JOIN region r ON r.nr > (data->>''n'')::int GROUP BY 1, 2', '{region}'),
	('looked_up_below', 'SELECT e.category, k.name, count(*) AS n FROM events e JOIN (SELECT c.id, r.name FROM customer c LEFT JOIN region r ON r.nr = c.region WHERE c.country IS NOT NULL) k ON k.id = e.data->>''customer'' GROUP BY 1, 2', '{customer,region}'),
	('with_one', 'WITH x (kind, amount) AS (SELECT left(stream, 1), (data->>''amount'')::numeric FROM events WHERE type <> ''Opened'') SELECT kind, sum(amount) AS amount, count(amount) AS n FROM x GROUP BY kind', NULL),
	('with_two', 'WITH events AS (SELECT * FROM events WHERE type <> ''Opened''), y AS MATERIALIZED (SELECT stream, version * 2 AS twice FROM events) SELECT z.s, max(z.t) AS most FROM (WITH w AS (SELECT * FROM y) SELECT * FROM w) AS z (s, t) GROUP BY z.s', NULL),
	('with_lookup', 'WITH k AS (SELECT * FROM customer WHERE region = 2), unused AS (SELECT 1) SELECT k.id, count(*) AS n FROM events JOIN k ON k.id = data->>''customer'' GROUP BY k.id', '{customer}'),
	('hidden_position', 'SELECT kind, es_last(amount, at) AS last, array_agg(es_position ORDER BY position) AS all FROM (SELECT left(stream, 1) AS kind, data->''amount'' AS amount, position AS at, 7 AS es_position, position FROM events) x GROUP BY kind', NULL),
	('rows', 'SELECT DISTINCT category, data->>''name'' AS name FROM events', NULL),
	('rows_grouped', 'SELECT DISTINCT category, count(*) AS n FROM events GROUP BY category', NULL);

-- Inline: over history, by appends of one event and of many
SELECT name, es_create_projection(name, query, lookups => lookups) FROM queries;
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
CALL add_history(25);
SELECT es_append('account-1', -1, 'Deposited', '{"amount": 7.25, "name": "x", "at": "2024-01-01", "customer": "c1"}') > 0, es_append('account-1', -1, 'Deposited', '{}') > 0, es_append('new-1', 0, 'Withdrawn', '{"amount": 0.10, "n": 5, "customer": "nobody"}') > 0;
SELECT count(*) FROM es_append_streams('[{"stream": "cart-1", "expected_version": -1, "events": [{"type": "Opened", "data": {"customer": "c2"}}, {"type": "Withdrawn", "tags": []}]},
	{"stream": "account-9", "expected_version": 0, "events": {"type": "Opened", "tags": ["a", "b"], "data": {"name": "new"}}}, {"stream": "cart-1", "expected_version": -1, "events": {"type": "Deposited", "data": {"amount": 1}}}]');
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
SELECT name, v FROM queries, es_verify_projection(name) v;
-- The key: a primary key where no column of it can be null
SELECT c.relname, (SELECT string_agg(pg_get_constraintdef(k.oid), ' ') FROM pg_constraint k WHERE k.conrelid = c.oid AND contype IN ('p', 'u')) AS key, relreplident
FROM pg_class c WHERE relnamespace = 'test_declared'::regnamespace AND relkind = 'r' AND relname NOT IN ('queries', 'customer', 'region') ORDER BY relname COLLATE "C";
SELECT name, lookups FROM eventstore.projections WHERE lookups <> '{}' ORDER BY name;
-- Rebuilt after they were spoilt, and as they were
UPDATE null_key SET n = n + 1 WHERE name IS NULL;
DELETE FROM null_keys WHERE n IS NULL AND name IS NULL;
INSERT INTO null_array VALUES (NULL, NULL, 77, NULL, 1);
DELETE FROM distinct_only_values WHERE k1 IS NULL;
SELECT kind, key, stored, expected FROM es_verify_projection('null_key');
SELECT count(*), min(kind) FROM es_verify_projection('null_keys');
SELECT kind, key FROM es_verify_projection('null_array');
SELECT count(es_rebuild_projection(name)) FROM queries;
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
CALL add_history(10);
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
SELECT name, v FROM queries, es_verify_projection(name) v;
SELECT es_projection_as_of('null_key', 'null_key_then') > 0, es_projection_as_of('looked_up', 'looked_up_then') > 0;
SELECT count(*) FROM (TABLE null_key EXCEPT TABLE null_key_then) d;
SELECT count(*) FROM (TABLE looked_up EXCEPT TABLE looked_up_then) d;
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'null_key_then'::regclass;
-- What is looked up changes: what was applied stays, verify tells, a rebuild looks it up anew. A temporary table of the same name is another.
UPDATE customer SET country = 'AT' WHERE id = 'c0';
CREATE TEMP TABLE customer (id text PRIMARY KEY, country text, region int);
SELECT kind, key FROM es_verify_projection('looked_up') ORDER BY 2;
SELECT es_append('account-1', -1, 'Deposited', '{"customer": "c0"}') > 0;
SELECT country, n FROM looked_up WHERE country = 'AT';
SELECT es_rebuild_projection('looked_up') > 0;
SELECT kind, key FROM es_verify_projection('looked_up');
DROP TABLE pg_temp.customer;
SELECT differences('looked_up');
SELECT count(es_drop_projection(name, true)) FROM queries;
SELECT relname FROM pg_class WHERE relnamespace = 'test_declared'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C";

-- Async, in steps of any size
SELECT count(es_create_projection(name, query, 'async', lookups => lookups)) FROM queries;
SELECT count(es_run_projection(name, 3)), count(es_run_projection(name, 1)), count(es_run_projection(name, 40)) FROM queries;
SELECT count(es_run_projection(name)) FROM queries;
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
CALL add_history(10);
SELECT count(es_run_projection(name)) FROM queries;
SELECT name, differences(name) FROM queries WHERE differences(name) <> 0;
SELECT count(es_drop_projection(name, true)) FROM queries;

-- Without an ORDER BY of theirs: of equal times, the position counts, whatever the order of batches
SELECT es_create_projection('ties', 'SELECT category, es_last(type, data->>''at'') AS last, es_first(type, data->>''at'') AS first FROM events GROUP BY category', categories => '{tie}');
SELECT es_append('tie-1', 0, '[{"type": "A", "data": {"at": "1"}}, {"type": "B", "data": {"at": "1"}}, {"type": "C", "data": {"at": null}}]'), es_append('tie-2', 0, 'D', '{"at": "1"}');
SELECT * FROM ties;
SELECT es_append('tie-2', 1, 'E', '{"at": "0"}'), es_append('tie-2', 2, 'F', '{"at": "0"}'), es_append('tie-2', 3, 'G', '{}');
SELECT * FROM ties;
SELECT * FROM es_verify_projection('ties');
SELECT es_rebuild_projection('ties');
SELECT * FROM ties;
SELECT es_drop_projection('ties', true);

-- Keys that can not be null although they are no column
SELECT es_create_projection('never_null', $$SELECT date_trunc('month', recorded_at) AS month, extract(hour FROM recorded_at AT TIME ZONE 'UTC') AS hour, to_char(recorded_at, 'YYYY') AS year, coalesce(data->>'name', '') AS name, upper(type) || stream AS both, (data->>'n')::int AS n,
	data ? 'x' AS has_x, type = 'Opened' AS opened, CASE WHEN version > 1 THEN 1 ELSE 2 END AS which, count(*) AS c FROM events WHERE (data->>'n')::int >= 0 AND data->>'customer' IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9$$, 'async');
SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'never_null'::regclass;
SELECT es_drop_projection('never_null', true);
SELECT es_create_projection('inner_join', $$SELECT c.id, r.name, count(*) AS c FROM events e JOIN customer c ON c.id = e.data->>'customer' LEFT JOIN region r ON r.nr = c.region GROUP BY 1, 2$$, 'async', lookups => '{customer,region}'),
	   es_create_projection('where_join', $$SELECT c.id, r.name, count(*) AS c FROM events e JOIN customer c ON c.id = e.data->>'customer' LEFT JOIN region r ON r.nr = c.region WHERE r.name IN ('north', 'south') GROUP BY 1, 2$$, 'async', lookups => '{customer,region}');
SELECT conrelid::regclass, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid IN ('inner_join'::regclass, 'where_join'::regclass) ORDER BY 1;
SELECT es_drop_projection('inner_join', true), es_drop_projection('where_join', true);

-- What is refused, and what it says to write
CREATE FUNCTION refusal(query text, lookups regclass[] DEFAULT NULL, OUT code text, OUT detail text, OUT hint text) LANGUAGE plpgsql AS
$$
DECLARE
	message text;
BEGIN
	PERFORM es_create_projection('refused', query, lookups => lookups);
	detail := 'not refused';
	PERFORM es_drop_projection('refused', true);
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS code = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, message = MESSAGE_TEXT;
	IF code <> '0A000' THEN
		detail := concat_ws(' / ', message, nullif(detail, ''));
	END IF;
END
$$;
CREATE FUNCTION add_more(int, int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT coalesce($1, 0) + coalesce($2, 0)';
CREATE AGGREGATE lax_sum(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', COMBINEFUNC = add_more);
CREATE AGGREGATE strict_sum(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0', COMBINEFUNC = int4pl);
CREATE AGGREGATE lone_sum(int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE FUNCTION fickle(int, int) RETURNS int LANGUAGE sql STRICT STABLE AS 'SELECT $1 + $2';
CREATE AGGREGATE fickle_sum(int) (SFUNC = int4pl, STYPE = int, COMBINEFUNC = fickle);
\x on
SELECT query, r.* FROM (VALUES (1, 'WITH RECURSIVE x AS (SELECT type FROM events UNION ALL SELECT type FROM x) SELECT type, count(*) AS n FROM x GROUP BY type'),
	(2, 'WITH x AS (SELECT * FROM events) SELECT a.type, count(*) AS n FROM x a, x b GROUP BY a.type'), (3, 'SELECT type, count(*) AS n FROM (SELECT DISTINCT type, stream FROM events) e GROUP BY type'),
	(4, 'SELECT DISTINCT ON (stream) stream, type FROM events ORDER BY stream, position DESC'), (5, 'SELECT type, json_agg(data ORDER BY position) AS n FROM events GROUP BY type'), (6, 'SELECT type, jsonb_agg(data) AS n FROM events GROUP BY type'),
	(7, 'SELECT type, json_object_agg(stream, data) AS n FROM events GROUP BY type'), (8, 'SELECT type, jsonb_object_agg(stream, data) AS n FROM events GROUP BY type'), (9, 'SELECT type, percentile_cont(0.5) WITHIN GROUP (ORDER BY version) AS n FROM events GROUP BY type'),
	(10, 'SELECT type, mode() WITHIN GROUP (ORDER BY version) AS n FROM events GROUP BY type'), (11, 'SELECT stream, count(*) AS n FROM (SELECT stream, recorded_at - lag(recorded_at) OVER (PARTITION BY stream ORDER BY position) AS gap FROM events) e WHERE gap > interval ''30 min'' GROUP BY stream'),
	(12, 'SELECT stream, count(*) AS n, rank() OVER (ORDER BY count(*)) AS r FROM events GROUP BY stream'), (13, 'SELECT type, stddev(version) AS n FROM events GROUP BY type'), (14, 'SELECT type, lax_sum(1) AS n FROM events GROUP BY type'),
	(15, 'SELECT type, strict_sum(1) AS n FROM events GROUP BY type'), (16, 'SELECT type, lone_sum(1) AS n FROM events GROUP BY type'), (17, 'SELECT type, fickle_sum(1) AS n FROM events GROUP BY type'), (18, 'SELECT type, string_agg(stream, '','') AS n FROM events GROUP BY type'),
	(19, 'SELECT type, array_agg(tags ORDER BY position) AS n FROM events GROUP BY type'), (20, 'SELECT type, array_agg(ROW(stream, version) ORDER BY position) AS n FROM events GROUP BY type'), (21, 'SELECT type, count(DISTINCT ROW(stream, version)) AS n FROM events GROUP BY type'),
	(22, 'SELECT type, es_last(stream, version ORDER BY position DESC) AS n FROM events GROUP BY type'), (23, 'SELECT type, es_last(stream, data::json) AS n FROM events GROUP BY type'), (24, 'SELECT stream, type FROM events'),
	(25, 'SELECT j.type, es_last(j.stream, j.version) AS n FROM (events e CROSS JOIN (SELECT 1) o) AS j GROUP BY j.type'), (26, 'SELECT type, count(*) AS n FROM events GROUP BY type UNION SELECT type, 0 FROM events GROUP BY type'), (27, 'SELECT type, stream, count(*) AS n FROM events GROUP BY CUBE (type, stream)'),
	(28, 'SELECT type, count(*) AS n FROM events GROUP BY type HAVING count(*) > 1'), (29, 'SELECT type, count(*) AS n FROM (SELECT type, count(*) FROM events GROUP BY type) e GROUP BY type'), (30, 'SELECT type, array_agg(DISTINCT stream ORDER BY stream) AS n FROM events GROUP BY type'),
	(31, 'SELECT type, unnest(tags) AS tag, count(*) AS n FROM events GROUP BY 1, 2'), (33, 'SELECT stream, es_last(type, x || y) AS n FROM (SELECT stream, type, (data->>''x'') COLLATE "POSIX" AS x, (data->>''y'') COLLATE "C" AS y FROM events) e GROUP BY stream'),
	(32, 'SELECT type, count(*) AS n FROM events WHERE data->>''customer'' IN (SELECT id FROM customer) GROUP BY type')) q (nr, query), refusal(query) r ORDER BY nr;
CREATE VIEW customers AS TABLE customer;
CREATE TABLE price (item text, price numeric);
CREATE UNIQUE INDEX ON price (item) WHERE price > 0;
CREATE TEMP TABLE passing (id text PRIMARY KEY);
SELECT query, lookups, r.* FROM (VALUES (1, 'SELECT c.id, count(*) AS n FROM events e JOIN customer c ON c.id = e.data->>''customer'' GROUP BY c.id', NULL::text[]),
	(2, 'SELECT c.id, count(*) AS n FROM events e JOIN customer c ON c.id = e.data->>''customer'' GROUP BY c.id', '{region}'), (3, 'SELECT c.id, count(*) AS n FROM events e JOIN customer c ON c.id = e.data->>''customer'' GROUP BY c.id', '{customer,region}'),
	(4, 'SELECT c.id, count(*) AS n FROM events e JOIN customer c ON c.id = e.data->>''customer'' GROUP BY c.id', '{customer,customer}'), (5, 'SELECT c.id, count(*) AS n FROM events e JOIN customers c ON c.id = e.data->>''customer'' GROUP BY c.id', '{customers}'),
	(6, 'SELECT c.id, count(*) AS n FROM events e JOIN passing c ON c.id = e.data->>''customer'' GROUP BY c.id', '{passing}'), (7, 'SELECT c.stream, count(*) AS n FROM events e JOIN eventstore.streams c ON c.stream = e.stream GROUP BY c.stream', '{eventstore.streams}'),
	(8, 'INSERT INTO price SELECT c.id, 1 FROM events e JOIN customer c ON c.id = e.data->>''customer''', '{customer}'), (9, 'SELECT c.id, count(*) AS n FROM events e RIGHT JOIN customer c ON c.id = e.data->>''customer'' GROUP BY c.id', '{customer}'),
	(10, 'SELECT c.id, count(*) AS n FROM events e FULL JOIN customer c ON c.id = e.data->>''customer'' GROUP BY c.id', '{customer}'), (11, 'SELECT e.stream, es_last(c.country, position) AS last FROM events e JOIN customer c ON c.region = (e.data->>''n'')::int GROUP BY e.stream', '{customer}'),
	(12, 'SELECT e.stream, es_last(p.price, position) AS last FROM events e JOIN price p ON p.item = e.data->>''name'' GROUP BY e.stream', '{price}'), (13, 'SELECT e.stream, es_last(b.country, position) AS last FROM events e, customer a, customer b WHERE a.id = b.id GROUP BY e.stream', '{customer}')
	) q (nr, query, lookups), refusal(query, lookups::regclass[]) r ORDER BY nr;
\x off
SELECT es_create_projection('x', 'SELECT type, count(*) AS n FROM events GROUP BY type', lookups => '{}');
SELECT es_create_projection('x', 'SELECT type, count(*) AS n FROM events GROUP BY type', lookups => ARRAY[NULL]::regclass[]);
SELECT es_create_projection('x', 'SELECT type, count(*) AS n FROM events GROUP BY type', granularity => 'both');
SELECT es_create_projection('x', 'SELECT type, count(*) AS n FROM events GROUP BY type', granularity => NULL);

-- Rights on what is looked up are those of the owner, and are asked for at once; who appends needs none. A table that is gone is told of.
CREATE ROLE regress_es_declarer;
CREATE ROLE regress_es_appender;
SELECT es_grant('regress_es_declarer', 'admin'), es_grant('regress_es_appender', 'append');
GRANT USAGE, CREATE ON SCHEMA test_declared TO regress_es_declarer;
SET ROLE regress_es_declarer;
SELECT es_create_projection('regional', 'SELECT r.name, es_last(stream, (data->>''at'')::timestamptz) AS n, count(DISTINCT stream) AS streams FROM events LEFT JOIN region r ON r.nr = (data->>''n'')::int GROUP BY r.name', categories => '{land}', lookups => '{region}');
RESET ROLE;
GRANT SELECT (nr, name) ON region TO regress_es_declarer;
SET ROLE regress_es_declarer;
SELECT es_create_projection('regional', 'SELECT r.name, es_last(stream, (data->>''at'')::timestamptz) AS n, count(DISTINCT stream) AS streams FROM events LEFT JOIN region r ON r.nr = (data->>''n'')::int GROUP BY r.name', categories => '{land}', lookups => '{region}');
SET ROLE regress_es_appender;
SELECT es_append('land-1', 0, 'A', '{"n": 2, "at": "2024-01-01"}'), es_append('land-1', 1, '[{"type": "A", "data": {"n": 2}}, {"type": "A", "data": {"n": 9}}]');
TABLE test_declared.region;
RESET ROLE;
SELECT * FROM regional ORDER BY name;
DROP TABLE region;
SELECT es_append('land-1', 3, 'A', '{"n": 2}');
SELECT es_drop_projection('regional', true);
SET client_min_messages = warning;
DROP SCHEMA test_declared CASCADE;
DROP OWNED BY regress_es_declarer, regress_es_appender;
DROP ROLE regress_es_declarer, regress_es_appender;
DROP EXTENSION eventstore CASCADE;
