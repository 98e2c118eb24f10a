-- es_rebuild_projection: the tables become what the events make of them, whatever was done to them, and stay the tables that they are.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
RESET client_min_messages;
\set VERBOSITY terse
CREATE SCHEMA test_rebuild;
SET search_path = test_rebuild, public;
SELECT max(es_append('a-' || i % 3, -1, CASE WHEN i % 5 = 0 THEN 'Out' ELSE 'In' END, jsonb_build_object('n', i))) FROM generate_series(1, 60) i;

CREATE FUNCTION differences(projection text) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM es_verify_projection(projection)';

-- Declared tables: without state, with state, both modes
SELECT es_create_projection('counts', 'SELECT type, count(*) AS n, sum((data->>''n'')::int) AS total FROM events GROUP BY type');
SELECT es_create_projection('means', 'SELECT stream, avg((data->>''n'')::int) AS mean, es_last(type, position) AS last FROM events GROUP BY stream');
SELECT es_create_projection('later', 'SELECT category, count(*) AS n FROM events GROUP BY category', 'async');
SELECT es_run_projection('later', 10);
CREATE INDEX counts_n ON counts (n);
ALTER TABLE counts ADD note text;
CREATE VIEW many AS SELECT * FROM counts WHERE n > 20;
SELECT 'counts'::regclass::oid AS counts_oid \gset
UPDATE counts SET n = 0, note = 'mine' WHERE type = 'In';
DELETE FROM counts WHERE type = 'Out';
INSERT INTO counts VALUES ('None', 7, 7);
DELETE FROM means;
SELECT differences('counts'), differences('means'), differences('later');
SELECT es_rebuild_projection('counts'), es_rebuild_projection('means'), es_rebuild_projection('later');
SELECT differences('counts'), differences('means'), differences('later');
SELECT * FROM counts ORDER BY type;
SELECT * FROM many;
SELECT 'counts'::regclass::oid = :counts_oid AS same_table, count(*) AS indexes FROM pg_index WHERE indrelid = 'counts'::regclass;
SELECT name, state, position, lag, events_applied FROM eventstore.projection_status ORDER BY name;
-- and go on from there
SELECT max(es_append('a-' || i % 4, -1, 'In', jsonb_build_object('n', i))) FROM generate_series(1, 20) i;
SELECT es_run_projection('later');
SELECT differences('counts'), differences('means'), differences('later');
-- A state table that is wrong is mended, too.
UPDATE means_state SET k1 = 'x' || k1;
SELECT es_rebuild_projection('means');
SELECT max(es_append('a-' || i % 4, -1, 'In', jsonb_build_object('n', i))) FROM generate_series(1, 4) i;
SELECT differences('means');
-- Nothing to change: nothing is written.
SELECT xmin AS before FROM counts WHERE type = 'In' \gset
SELECT es_rebuild_projection('counts');
SELECT xmin = :before AS untouched FROM counts WHERE type = 'In';

-- Columns of other types than they were made with: what does not fit is an error, nothing else is a difference.
BEGIN;
SELECT es_create_projection('altered', 'SELECT stream, (data->>''n'')::int % 3 AS k, count(*) AS n, max(type) AS t, sum((data->>''n'')::numeric) / 3 AS third FROM events GROUP BY stream, 2');
ALTER TABLE altered ALTER stream TYPE varchar(20), ALTER k TYPE bigint, ALTER n TYPE numeric, ALTER t TYPE varchar(3), ALTER third TYPE numeric(10, 2);
SELECT max(es_append('a-' || i % 4, -1, 'In', jsonb_build_object('n', i))) FROM generate_series(1, 20) i;
SELECT differences('altered');
UPDATE altered SET n = n + 1 WHERE k = 1;
DELETE FROM altered WHERE k = 2;
SELECT kind, key, stored, expected FROM es_verify_projection('altered') ORDER BY key LIMIT 2;
SELECT es_rebuild_projection('altered') > 80 AS rebuilt, differences('altered');
ROLLBACK;

-- Handlers: names without schema, with schema, columns with schema, in quotes, with the database; functions
CREATE TABLE lines (stream text, version bigint, n int, PRIMARY KEY (stream, version));
CREATE TABLE "Tops" (stream text PRIMARY KEY, n int);
SELECT es_create_projection('qualified', format($$
	WITH l AS (INSERT INTO test_rebuild.lines SELECT stream, version, (data->>'n')::int FROM events),
		 m AS (SELECT stream, max((data->>'n')::int) AS n FROM events GROUP BY stream)
	INSERT INTO %I . /* here */ test_rebuild."Tops" SELECT m.stream, greatest(m.n, test_rebuild."Tops".n)
	FROM m LEFT JOIN "test_rebuild"."Tops" ON test_rebuild."Tops".stream = m.stream AND 'test_rebuild.lines' <> ''
	ON CONFLICT (stream) DO UPDATE SET n = excluded.n -- test_rebuild.lines
	$$, current_database()), tables => ARRAY['lines', '"Tops"']::regclass[]);
CREATE TABLE seen (stream text PRIMARY KEY, n int, last bigint);
CREATE FUNCTION see(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO seen VALUES (e.stream, 1, e.version) ON CONFLICT (stream) DO UPDATE SET n = seen.n + 1, last = excluded.last;
END $$;
SELECT es_create_projection('function', 'SELECT see(e) FROM events e', 'async', tables => '{seen}');
SELECT es_run_projection('function');
SELECT differences('qualified'), differences('function');
DELETE FROM lines WHERE version < 3;
UPDATE "Tops" SET n = -1;
UPDATE seen SET n = 0 WHERE stream = 'a-1';
SELECT differences('qualified'), differences('function');
SELECT es_rebuild_projection('qualified'), es_rebuild_projection('function');
SELECT differences('qualified'), differences('function');
SELECT * FROM "Tops" ORDER BY stream;
SELECT * FROM seen ORDER BY stream;

-- Tables of every kind: identity, generated columns, types without equality, foreign keys, no key, values exchanged, partitions
CREATE TABLE parent (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream text UNIQUE, upper text GENERATED ALWAYS AS (upper(stream)) STORED, doc json, at point);
CREATE TABLE child (parent bigint REFERENCES parent, version bigint, PRIMARY KEY (parent, version));
SELECT es_create_projection('family', $$
	WITH p AS (INSERT INTO parent (stream, doc, at) SELECT stream, '{"a": 1, "a": 2}', '(1,2)' FROM events WHERE version = 1 ORDER BY position RETURNING id, stream)
	INSERT INTO child SELECT p.id, e.version FROM (TABLE p UNION ALL SELECT id, stream FROM parent) p JOIN events e USING (stream)
	$$, tables => '{child, parent}');
SELECT differences('family');
DELETE FROM child;
DELETE FROM parent WHERE id > 1;
UPDATE parent SET doc = '{}';
SELECT es_rebuild_projection('family'), differences('family');
TABLE parent ORDER BY id;
SELECT es_append('b-1', 0, 'In', '{"n": 1}');
SELECT max(id) FROM parent;
SELECT differences('family');
CREATE TABLE bag (stream text, n int);
SELECT es_create_projection('bag', 'INSERT INTO bag SELECT stream, 1 FROM events', types => '{Out}', tables => '{bag}');
INSERT INTO bag VALUES ('a-0', 1), ('x', 2);
DELETE FROM bag WHERE stream = 'a-2';
SELECT es_rebuild_projection('bag'), differences('bag');
CREATE TABLE swapped (id bigint PRIMARY KEY, value bigint UNIQUE);
SELECT es_create_projection('swapped', 'INSERT INTO swapped SELECT position, position FROM events WHERE position <= 5', tables => '{swapped}');
UPDATE swapped SET value = -value;
UPDATE swapped SET value = 6 + value;
SELECT es_rebuild_projection('swapped'), differences('swapped');
CREATE TABLE parted (stream text COLLATE "C", version bigint, PRIMARY KEY (stream, version)) PARTITION BY LIST (stream);
CREATE TABLE parted_a PARTITION OF parted FOR VALUES IN ('a-1', 'a-2');
CREATE TABLE parted_rest PARTITION OF parted DEFAULT;
SELECT es_create_projection('parted', 'INSERT INTO parted SELECT stream, version FROM events', tables => '{parted}');
DELETE FROM parted_a;
INSERT INTO parted VALUES ('x', 1);
SELECT es_rebuild_projection('parted'), differences('parted');
SELECT count(*) > 0 AS has_rows FROM parted_a;
-- Triggers of the table see what a rebuild changes, and nothing of its copy.
CREATE TABLE changes (what text, id bigint);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO test_rebuild.changes VALUES (tg_op, coalesce(new.id, old.id)); RETURN NULL; END';
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON swapped FOR EACH ROW EXECUTE FUNCTION note();
UPDATE swapped SET value = 0 WHERE id = 1;
DELETE FROM swapped WHERE id = 2;
INSERT INTO swapped VALUES (99, 99);
TRUNCATE changes;
SELECT es_rebuild_projection('swapped');
TABLE changes ORDER BY what;
-- Many versions of one row: the copy is tidied up on the way.
SELECT es_rebuild_projection('function');
SELECT count(*) AS left_behind FROM pg_class WHERE relnamespace = pg_my_temp_schema();

-- Serial columns: the copy counts by itself, and the table's sequence goes on.
CREATE TABLE serials (id serial PRIMARY KEY, s text);
SELECT es_create_projection('serials', 'INSERT INTO serials (s) SELECT stream FROM events ORDER BY position', types => '{Out}', tables => '{serials}');
SELECT last_value AS before FROM serials_id_seq \gset
SELECT differences('serials');
DELETE FROM serials WHERE id = 2;
SELECT es_rebuild_projection('serials') > 5 AS rebuilt, differences('serials');
SELECT last_value = :before AS untouched FROM serials_id_seq;
-- Columns whose names could be those of aliases
CREATE TABLE named (x text PRIMARY KEY, t int, c int, r int, d int, n int);
SELECT es_create_projection('named', 'INSERT INTO named SELECT stream, 1, 2, 3, 4, 5 FROM events WHERE version = 1', tables => '{named}');
CREATE TABLE named_bag (x text, r int);
SELECT es_create_projection('named_bag', 'INSERT INTO named_bag SELECT stream, 1 FROM events WHERE version = 1', tables => '{named_bag}');
SELECT es_create_projection('x', 'SELECT stream AS x, count(*) AS t FROM events GROUP BY stream');
UPDATE named SET t = 77;
UPDATE named_bag SET r = 77;
UPDATE x SET t = 77;
SELECT differences('named') > 0 AS named, differences('named_bag') > 0 AS named_bag, differences('x') > 0 AS x;
SELECT es_rebuild_projection('named') > 0 AS named, es_rebuild_projection('named_bag') > 0 AS named_bag, es_rebuild_projection('x') > 0 AS x;
SELECT differences('named'), differences('named_bag'), differences('x');
-- Names of copies that the session has taken
DO $$ BEGIN FOR i IN 1..400 LOOP EXECUTE format('CREATE TEMP TABLE es_copy_%s ()', i); END LOOP; END $$;
SELECT es_rebuild_projection('x') > 0 AS rebuilt;
DISCARD TEMP;
-- A trigger on a declared table that appends: what it appends is not the projection's to see.
CREATE FUNCTION alarm() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM public.es_append(''alarm-1'', -1, ''Alarm'', ''{}''); RETURN NULL; END';
CREATE TRIGGER alarm AFTER INSERT ON x FOR EACH ROW EXECUTE FUNCTION alarm();
SELECT es_append('new-1', 0, 'In', '{"n": 1}');
SELECT count(*) FROM eventstore.projection_appends WHERE projection = 'x';
SELECT differences('x');
DROP TRIGGER alarm ON x;
SELECT es_rebuild_projection('x') > 0 AS rebuilt, differences('x');

-- Paused ones stay so, up to date; of those that failed, what can be applied now is
SELECT es_pause_projection('counts');
SELECT es_append('a-1', -1, 'In', '{"n": 1}');
SELECT es_rebuild_projection('counts');
SELECT state, lag, position = es_head() AS at_head FROM eventstore.projection_status WHERE name = 'counts';
SELECT es_append('a-1', -1, 'In', '{"n": 1}');
SELECT lag FROM eventstore.projection_status WHERE name = 'counts';
SELECT es_resume_projection('counts');
SELECT differences('counts');
CREATE TABLE quotients (position bigint PRIMARY KEY, q int);
CREATE FUNCTION quotient(n int) RETURNS int LANGUAGE sql AS 'SELECT 100 / (n - 5)';
SELECT es_create_projection('stops', 'INSERT INTO quotients SELECT position, quotient((data->>''n'')::int) FROM events', 'async', tables => '{quotients}', on_error => 'stop');
SET client_min_messages = error;
SELECT es_run_projection('stops');
RESET client_min_messages;
SELECT differences('stops');
\set VERBOSITY default
SELECT es_rebuild_projection('stops');
\set VERBOSITY terse
SELECT state, position FROM eventstore.projection_status WHERE name = 'stops';
CREATE OR REPLACE FUNCTION quotient(n int) RETURNS int LANGUAGE sql AS 'SELECT 100 / nullif(n - 5, 0)';
SELECT es_rebuild_projection('stops') > 80 AS all_of_them;
SELECT state, lag FROM eventstore.projection_status WHERE name = 'stops';
SELECT differences('stops');
CREATE TABLE skipped (position bigint PRIMARY KEY, q int);
SELECT es_create_projection('skips', 'INSERT INTO skipped SELECT position, 100 / ((data->>''n'')::int - 5) FROM events', 'async', tables => '{skipped}', on_error => 'skip');
SET client_min_messages = error;
SELECT es_run_projection('skips') AS applied \gset
RESET client_min_messages;
SELECT es_rebuild_projection('skips') = :applied AS as_many, differences('skips');

-- Refused, with nothing changed
\set VERBOSITY default
CREATE TABLE orders (id text PRIMARY KEY);
CREATE TABLE items (id text REFERENCES orders ON DELETE CASCADE, n int, PRIMARY KEY (id, n));
SELECT es_create_projection('cascades', 'INSERT INTO orders SELECT stream FROM events WHERE version = 1 ON CONFLICT DO NOTHING', 'async', tables => '{orders, items}');
BEGIN;
SELECT es_rebuild_projection('cascades');
ROLLBACK;
CREATE TABLE stamped (stream text PRIMARY KEY, at text);
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at = ''now''; RETURN NEW; END';
CREATE TRIGGER stamp BEFORE INSERT ON stamped FOR EACH ROW EXECUTE FUNCTION stamp();
SELECT es_create_projection('stamped', 'INSERT INTO stamped SELECT stream FROM events WHERE version = 1', 'async', tables => '{stamped}');
SELECT * FROM es_verify_projection('stamped');
CREATE FUNCTION see_there(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO test_rebuild.seen VALUES (e.stream, 1, 1) ON CONFLICT (stream) DO UPDATE SET n = seen.n + 1;
END $$;
SELECT es_create_projection('there', 'SELECT see_there(e) FROM events e', 'async', tables => '{seen}', on_error => 'skip');
BEGIN;
SELECT es_rebuild_projection('there');
ROLLBACK;
SELECT es_create_projection('reads', 'INSERT INTO lines SELECT e.stream, -e.version, v.n FROM events e LEFT JOIN seen_view v USING (stream)', 'async', tables => '{lines, seen}');
CREATE VIEW seen_view AS SELECT * FROM seen;
SELECT es_create_projection('reads', 'INSERT INTO lines SELECT e.stream, -e.version, v.n FROM events e LEFT JOIN seen_view v USING (stream)', 'async', tables => '{lines, seen}');
BEGIN;
SELECT es_rebuild_projection('reads');
ROLLBACK;
CREATE FUNCTION part_count() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM test_rebuild.parted_a';
SELECT es_create_projection('part', 'INSERT INTO parted SELECT stream, -version - part_count() FROM events', 'async', tables => '{parted}');
BEGIN;
SELECT es_rebuild_projection('part');
ROLLBACK;
SELECT es_create_projection('elsewhere', 'WITH c AS (INSERT INTO changes SELECT type, position FROM events) INSERT INTO lines SELECT stream, -version FROM events', 'async', tables => '{lines}');
SELECT es_rebuild_projection('elsewhere');
CREATE FUNCTION empty_changes(e eventstore.event) RETURNS void LANGUAGE plpgsql AS 'BEGIN TRUNCATE test_rebuild.changes; END';
SELECT es_create_projection('truncates', 'SELECT empty_changes(e) FROM events e', 'async', tables => '{lines}');
SELECT es_rebuild_projection('truncates');
CREATE FUNCTION empty_lines(e eventstore.event) RETURNS void LANGUAGE plpgsql AS 'BEGIN TRUNCATE lines; INSERT INTO lines VALUES (e.stream, e.version); END';
SELECT es_create_projection('truncates_own', 'SELECT empty_lines(e) FROM events e', 'async', tables => '{lines}');
SELECT es_projection_as_of('truncates_own', 'last_line');
SELECT count(*) FROM last_line;
SELECT es_create_projection('appends', 'SELECT es_append(''c-1'', -1, ''Made'', ''{}'') FROM events WHERE position = 1', 'async', tables => '{lines}', on_error => 'skip');
SELECT es_rebuild_projection('appends');
SELECT es_create_projection('bare', 'INSERT INTO lines SELECT stream, -version FROM events', 'async');
SELECT es_rebuild_projection('bare');
CREATE SCHEMA test_rebuild_2 CREATE TABLE lines (stream text, version bigint);
SELECT es_create_projection('same', 'INSERT INTO lines SELECT stream, -version FROM events', 'async', tables => '{lines, test_rebuild_2.lines}');
SELECT es_rebuild_projection('same');
CREATE TEMP TABLE lines (x int);
SELECT es_rebuild_projection('qualified');
SELECT es_rebuild_projection('counts') > 80 AS declared_ones_do_not_care;
DROP TABLE pg_temp.lines;
SELECT es_rebuild_projection(NULL);
SELECT es_rebuild_projection('nowhere');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_rebuild_projection('counts');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT es_rebuild_projection('counts');
ROLLBACK;
BEGIN READ ONLY;
SELECT es_rebuild_projection('counts');
ROLLBACK;
SELECT differences('qualified'), differences('function'), differences('family'), differences('parted');
-- Rolled back: as it was
DELETE FROM counts WHERE type = 'Out';
BEGIN;
SELECT es_rebuild_projection('counts') > 80 AS rebuilt;
SELECT differences('counts');
ROLLBACK;
SELECT differences('counts');
-- In one transaction with appends of its own, before and after
BEGIN;
SELECT es_append('a-1', -1, 'Out', '{"n": 1}') > 0 AS appended;
SELECT es_rebuild_projection('counts') > 80 AS rebuilt;
SELECT es_append('a-1', -1, 'Out', '{"n": 1}') > 0 AS appended;
COMMIT;
SELECT differences('counts');
-- The read table is gone.
DROP TABLE counts CASCADE;
SELECT es_rebuild_projection('counts');
SELECT es_drop_projection('counts');

SET client_min_messages = warning;
DROP SCHEMA test_rebuild_2 CASCADE;
DROP EXTENSION eventstore CASCADE;
DROP SCHEMA test_rebuild CASCADE;
