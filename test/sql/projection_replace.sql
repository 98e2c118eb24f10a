-- es_replace_projection: another query under the same name; the table stays the table that it is, with all that is its owner's.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
RESET client_min_messages;
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA test_replace;
SET search_path = test_replace, public;
SELECT max(es_append('a-' || i % 3, -1, CASE WHEN i % 5 = 0 THEN 'Out' ELSE 'In' END, jsonb_build_object('n', i, 'who', CASE WHEN i % 4 > 0 THEN 'p' || i % 2 END))) FROM generate_series(1, 60) i;

CREATE FUNCTION differences(projection text) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM es_verify_projection(projection)';
CREATE VIEW definition AS SELECT name, mode, tables, categories, types, on_error, granularity, lookups, state FROM eventstore.projections;
CREATE VIEW keys AS SELECT conrelid::regclass AS of_table, conname AS name, pg_get_constraintdef(oid) AS key FROM pg_constraint WHERE contype IN ('p', 'u') AND conrelid = to_regclass('test_replace.counts');

-- Columns come and go, and what is the owner's stays.
SELECT es_create_projection('counts', 'SELECT type, count(*) AS n, max((data->>''n'')::int) AS most FROM events GROUP BY type');
CREATE INDEX counts_n ON counts (n);
CREATE INDEX counts_most ON counts (most);
ALTER TABLE counts ADD note text, ADD CONSTRAINT positive CHECK (n > 0);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER mine BEFORE INSERT ON counts FOR EACH ROW EXECUTE FUNCTION nothing();
UPDATE counts SET note = 'mine' WHERE type = 'In';
CREATE VIEW many AS SELECT type, n FROM counts WHERE n > 20;
CREATE TABLE refers (type text REFERENCES counts);
INSERT INTO refers VALUES ('In'), ('Out');
CREATE ROLE replace_reader;
GRANT USAGE ON SCHEMA test_replace TO replace_reader;
GRANT SELECT ON counts TO replace_reader;
SELECT 'counts'::regclass::oid AS counts_oid \gset
SELECT es_replace_projection('counts', 'SELECT type, count(*) AS n, avg((data->>''n'')::int) AS mean, es_last(stream, position) AS last FROM events GROUP BY type');
SELECT * FROM counts ORDER BY type;
SELECT differences('counts'), 'counts'::regclass::oid = :counts_oid AS same_table, has_table_privilege('replace_reader', 'counts', 'SELECT') AS granted;
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'counts'::regclass ORDER BY 1;
SELECT conname, contype FROM pg_constraint WHERE conrelid = 'counts'::regclass AND contype <> 'n' ORDER BY 1;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'counts'::regclass AND NOT tgisinternal;
SELECT * FROM many;
SELECT * FROM definition;
SELECT es_append('a-1', -1, 'In', '{"n": 1}'), differences('counts');
SELECT * FROM counts ORDER BY type;
SELECT relname FROM pg_class WHERE relnamespace = 'test_replace'::regnamespace AND relname LIKE 'counts\_%' AND relkind = 'r';
-- Nothing of the old state is left, and of one without any there is none.
SELECT es_replace_projection('counts', 'SELECT type, count(*) AS n FROM events GROUP BY type');
SELECT relname FROM pg_class WHERE relnamespace = 'test_replace'::regnamespace AND relname LIKE 'counts\_%' AND relkind = 'r';
SELECT * FROM counts ORDER BY type;
-- The same query once more, and one that gives other rows
SELECT es_replace_projection('counts', 'SELECT type, count(*) AS n FROM events GROUP BY type');
SELECT es_replace_projection('counts', 'SELECT type, count(*) * 2 AS n FROM events GROUP BY type');
SELECT * FROM counts ORDER BY type;
SELECT es_append('a-1', -1, 'In', '{"n": 1}'), differences('counts');

-- What depends on a column that is to go, or gets another type, keeps it; and everything stays as it was.
SELECT es_replace_projection('counts', 'SELECT type, avg((data->>''n'')::int) AS mean FROM events GROUP BY type');
SELECT es_replace_projection('counts', 'SELECT type, sum((data->>''n'')::numeric) AS n FROM events GROUP BY type');
SELECT es_replace_projection('counts', 'SELECT stream, type, count(*) AS n FROM events GROUP BY stream, type');
SELECT es_replace_projection('counts', 'SELECT type, count(*) AS n, count(*) AS note FROM events GROUP BY type');
SELECT query FROM eventstore.projections;
SELECT es_append('a-1', -1, 'In', '{"n": 1}'), differences('counts');
-- In one transaction with those who depend on it
BEGIN;
DROP VIEW many;
SELECT es_replace_projection('counts', 'SELECT type, sum((data->>''n'')::numeric) AS n FROM events GROUP BY type');
CREATE VIEW many AS SELECT type, n FROM counts WHERE n > 20;
COMMIT;
SELECT * FROM many ORDER BY type;
SELECT differences('counts');
-- A type that its owner has altered stays, as long as the query's is what it was.
DROP VIEW many;
ALTER TABLE counts ALTER n TYPE float8;
SELECT es_replace_projection('counts', 'SELECT type, sum((data->>''n'')::numeric) AS n, count(*) AS c FROM events GROUP BY type');
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'counts'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;
SELECT differences('counts');

-- A key that changes: other columns, in another order, null or not. The rows are others then.
DROP TABLE refers;
SELECT es_replace_projection('counts', 'SELECT type, stream, count(*) AS n FROM events GROUP BY type, stream');
SELECT * FROM keys;
SELECT differences('counts'), count(*), sum(n), count(note) FROM counts;
SELECT es_replace_projection('counts', 'SELECT data->>''who'' AS who, count(*) AS n, max(type) AS type FROM events GROUP BY 1');
SELECT * FROM keys;
SELECT relreplident FROM pg_class WHERE oid = 'counts'::regclass;
SELECT who, n, type FROM counts ORDER BY who;
SELECT es_append('a-1', -1, 'In', '{"who": null}'), differences('counts');
SELECT es_replace_projection('counts', 'SELECT coalesce(data->>''who'', ''?'') AS who, count(*) AS n FROM events GROUP BY 1');
SELECT * FROM keys;
SELECT es_replace_projection('counts', 'SELECT stream AS who, count(*) AS n FROM events GROUP BY 1');
SELECT * FROM keys;
SELECT relreplident FROM pg_class WHERE oid = 'counts'::regclass;
SELECT who, n FROM counts ORDER BY who;
SELECT differences('counts');
-- A key in the other order is the same key.
SELECT es_replace_projection('counts', 'SELECT stream, type, count(*) AS n FROM events GROUP BY 1, 2');
SELECT es_replace_projection('counts', 'SELECT stream, type, count(*) AS n FROM events GROUP BY 2, 1');
SELECT * FROM keys;
SELECT differences('counts');

-- Types of values that are there: cast, or null, or made anew
SELECT es_replace_projection('counts', 'SELECT version % 3 AS k, count(*) AS n, max(stream) AS v, min(stream) AS w FROM events GROUP BY 1');
ALTER TABLE counts ALTER w SET NOT NULL;
SELECT es_replace_projection('counts', 'SELECT (version % 3)::text AS k, count(*)::int AS n, max(version) AS v, min(position) AS w FROM events GROUP BY 1');
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'counts'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum;
SELECT differences('counts'), count(*) FROM counts;
SELECT es_replace_projection('counts', 'SELECT length(data::text) / 100 AS k, count(*) AS n, array_agg(version ORDER BY position) AS v FROM events GROUP BY 1');
SELECT es_append('a-1', -1, 'In', '{"n": 1}'), differences('counts');

-- Filters that are not given stay, others come.
SELECT es_create_projection('filtered', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', categories => '{a}', types => '{In}');
SELECT es_append('b-1', 0, 'Out', '{}');
SELECT es_replace_projection('filtered', 'SELECT stream, count(*) AS n, max(version) AS v FROM events GROUP BY stream');
SELECT categories, types, differences('filtered') FROM definition WHERE name = 'filtered';
SELECT es_replace_projection('filtered', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', '{a,b}', '{Out}');
SELECT categories, types, differences('filtered') FROM definition WHERE name = 'filtered';
SELECT * FROM filtered ORDER BY stream;
SELECT es_append('b-1', -1, 'Out', '{}'), es_append('b-1', -1, 'In', '{}'), differences('filtered');

-- async, from where it is; paused; failed
SET client_min_messages = warning;
SELECT es_create_projection('later', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async', on_error => 'skip');
RESET client_min_messages;
SELECT es_run_projection('later', 10);
SELECT es_replace_projection('later', 'SELECT stream, count(*) AS n, sum(100 / (data->>''n'')::int) AS s FROM events GROUP BY stream');
SELECT es_append('a-1', -1, 'In', '{"n": 1}') > 0, es_append('a-1', -1, 'In', '{"n": 0}') > 0;
SET client_min_messages = error;
SELECT es_run_projection('later');
SELECT es_replace_projection('later', 'SELECT stream, count(*) AS n, sum(200 / (data->>''n'')::int) AS s FROM events GROUP BY stream');
RESET client_min_messages;
SELECT s.name, s.mode, s.state, s.lag, d.on_error, differences('later'), (SELECT count(*) FROM eventstore.skipped_events) AS skipped
FROM eventstore.projection_status s JOIN definition d USING (name) WHERE name = 'later';
SELECT es_pause_projection('filtered'), es_append('b-1', -1, 'Out', '{}');
SELECT es_replace_projection('filtered', 'SELECT stream, min(version) AS v, count(*) AS n FROM events GROUP BY stream');
SELECT state, differences('filtered') FROM definition WHERE name = 'filtered';
SELECT es_append('b-1', -1, 'Out', '{}'), es_resume_projection('filtered');
SELECT state, differences('filtered') FROM definition WHERE name = 'filtered';
SELECT es_create_projection('stops', 'SELECT stream, sum(60 / (data->>''n'')::int) AS s FROM events GROUP BY stream', types => '{Div}', on_error => 'stop');
SET client_min_messages = error;
SELECT es_append('c-1', -1, 'Div', '{"n": 1}'), es_append('c-1', -1, 'Div', '{"n": 0}'), es_append('c-1', -1, 'Div', '{"n": 2}');
RESET client_min_messages;
SELECT state, lag FROM eventstore.projection_status WHERE name = 'stops';
-- One that fails, too, leaves all as it was.
SELECT es_replace_projection('stops', 'SELECT stream, sum(70 / (data->>''n'')::int) AS s FROM events GROUP BY stream');
SELECT state, lag FROM eventstore.projection_status WHERE name = 'stops';
SELECT es_replace_projection('stops', 'SELECT stream, sum(60 / nullif((data->>''n'')::int, 0)) AS s FROM events GROUP BY stream');
SELECT state, lag, differences('stops') FROM eventstore.projection_status WHERE name = 'stops';
SELECT * FROM stops;
SELECT es_append('c-1', -1, 'Div', '{"n": 3}'), differences('stops');

-- Tables that are looked up: those that the new query reads stay, others are named.
CREATE TABLE person (id text PRIMARY KEY, name text);
CREATE TABLE place (id text PRIMARY KEY, name text);
INSERT INTO person VALUES ('p0', 'Ada'), ('p1', 'Bob');
SELECT es_create_projection('named', 'SELECT p.name, count(*) AS n FROM events e JOIN person p ON p.id = e.data->>''who'' GROUP BY p.name', lookups => '{person}');
SELECT es_replace_projection('named', 'SELECT p.name, max(p.id) AS id, count(*) AS n FROM events e JOIN person p ON p.id = e.data->>''who'' GROUP BY p.name');
SELECT es_replace_projection('named', 'SELECT p.name, count(*) AS n FROM events e JOIN place p ON p.id = e.data->>''who'' GROUP BY p.name');
SELECT es_replace_projection('named', 'SELECT p.name, count(*) AS n FROM events e JOIN person p ON p.id = e.data->>''who'' GROUP BY p.name', lookups => '{person,place}');
SELECT es_replace_projection('named', 'SELECT p.name, l.name AS place, count(*) AS n FROM events e JOIN person p ON p.id = e.data->>''who'' LEFT JOIN place l ON l.id = e.stream GROUP BY 1, 2', lookups => '{person,place}');
SELECT lookups, differences('named') FROM definition WHERE name = 'named';
SELECT es_replace_projection('named', 'SELECT data->>''who'' AS name, count(*) AS n FROM events GROUP BY 1');
SELECT lookups, differences('named') FROM definition WHERE name = 'named';

-- Other projections that look up columns of the table, or read them; and columns that others are generated from
SELECT es_create_projection('first_of', 'SELECT stream, min(version) AS n, count(*) AS c FROM events GROUP BY stream');
SET client_min_messages = warning;
SELECT es_create_projection('second_of', 'SELECT f.n, count(*) AS c FROM events e JOIN first_of f ON f.stream = e.stream GROUP BY f.n', 'async', lookups => '{first_of}');
RESET client_min_messages;
SELECT es_replace_projection('first_of', 'SELECT stream, count(*) AS c FROM events GROUP BY stream');
SELECT es_replace_projection('first_of', 'SELECT stream, min(version) AS n, sum(version) AS s FROM events GROUP BY stream') > 0 AS replaced, differences('first_of');
ALTER TABLE first_of ADD twice bigint GENERATED ALWAYS AS (2 * n) STORED;
SELECT es_replace_projection('first_of', 'SELECT stream, min(version) + 1 AS n FROM events GROUP BY stream') > 0 AS replaced, differences('first_of');
SELECT es_replace_projection('first_of', 'SELECT stream, min(version)::text AS n FROM events GROUP BY stream');
SELECT es_drop_projection('second_of', true), es_drop_projection('first_of', true);

-- In a publication of all tables
SET client_min_messages = error;
CREATE PUBLICATION replace_all FOR ALL TABLES;
RESET client_min_messages;
SELECT es_replace_projection('named', 'SELECT data->>''who'' AS name, stream, count(*) AS n FROM events GROUP BY 1, 2') > 0 AS replaced;
SELECT es_replace_projection('named', 'SELECT stream AS name, avg(version) AS n FROM events GROUP BY 1') > 0 AS replaced;
SELECT es_append('a-1', -1, 'In', '{"n": 1}') > 0 AS appended, differences('named');
DROP PUBLICATION replace_all;

-- Handlers: the text, and with it the tables
CREATE TABLE seen (stream text PRIMARY KEY, n bigint, extra text);
CREATE TABLE seen_too (stream text PRIMARY KEY, n bigint);
SELECT es_create_projection('seen', 'INSERT INTO seen AS s (stream, n) SELECT stream, 1 FROM events ON CONFLICT (stream) DO UPDATE SET n = s.n + 1', tables => '{seen}', granularity => 'event');
SELECT es_replace_projection('seen', 'INSERT INTO seen AS s (stream, n) SELECT stream, 10 FROM events ON CONFLICT (stream) DO UPDATE SET n = s.n + 10');
SELECT differences('seen'), sum(n) = 10 * (SELECT count(*) FROM eventstore.events) AS ten FROM seen;
SELECT es_replace_projection('seen', 'INSERT INTO seen_too AS s (stream, n) SELECT stream, 1 FROM events ON CONFLICT (stream) DO UPDATE SET n = s.n + 1');
SELECT es_replace_projection('seen', 'INSERT INTO seen_too AS s (stream, n) SELECT stream, 1 FROM events ON CONFLICT (stream) DO UPDATE SET n = s.n + 1', tables => '{seen_too}');
SELECT differences('seen'), (SELECT sum(n) FROM seen) > sum(n) AS as_it_was FROM seen_too;
SELECT tables, granularity FROM definition WHERE name = 'seen';
SELECT es_append('a-1', -1, 'In', '{"n": 1}'), differences('seen');
-- One that can not be replayed beside its tables is made anew in place.
CREATE FUNCTION see(e eventstore.events) RETURNS void LANGUAGE sql AS 'INSERT INTO test_replace.seen_too AS s (stream, n) VALUES (e.stream, 2) ON CONFLICT (stream) DO UPDATE SET n = s.n + 2';
SELECT es_replace_projection('seen', 'SELECT see(e) FROM events e');
SELECT sum(n) = 2 * (SELECT count(*) FROM eventstore.events) AS two FROM seen_too;
SELECT es_append('a-1', -1, 'In', '{"n": 1}');
SELECT sum(n) = 2 * (SELECT count(*) FROM eventstore.events) AS two FROM seen_too;

-- What can not be
SELECT es_replace_projection('counts', 'INSERT INTO seen SELECT stream, 1 FROM events');
SELECT es_replace_projection('seen', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
SELECT es_replace_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', tables => '{seen}');
SELECT es_replace_projection('nowhere', 'SELECT 1');
SELECT es_replace_projection(NULL, 'SELECT 1');
SELECT es_replace_projection('counts', NULL);
SELECT es_replace_projection('counts', 'SELECT stream, count(*) AS n FROM events');
SELECT es_replace_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY 1', '{}');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_replace_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
ROLLBACK;
SET ROLE replace_reader;
SELECT public.es_replace_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
RESET ROLE;

-- Rolled back, to a savepoint, too
SELECT query AS before FROM eventstore.projections WHERE name = 'counts' \gset
BEGIN;
SELECT es_append('a-1', -1, 'In', '{"n": 1}') > 0 AS appended;
SAVEPOINT s;
SELECT es_replace_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream') > 0 AS replaced;
SELECT es_append('a-1', -1, 'In', '{"n": 1}') > 0 AS appended;
SELECT sum(n) = (SELECT count(*) FROM eventstore.events) AS right FROM counts;
ROLLBACK TO s;
SELECT es_append('a-1', -1, 'In', '{"n": 1}') > 0 AS appended;
SELECT sum(n) = (SELECT count(*) FROM eventstore.events) AS right FROM counts;
COMMIT;
SELECT query = :'before' AS same, differences('counts') FROM eventstore.projections WHERE name = 'counts';

-- The owner stays the owner, who the SQL runs as, when somebody else replaces it.
CREATE ROLE replace_owner;
GRANT USAGE, CREATE ON SCHEMA test_replace TO replace_owner;
SELECT es_grant('replace_owner', 'admin');
DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO replace_owner', current_database()); END $$;
SET ROLE replace_owner;
SELECT es_create_projection('owned', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
RESET ROLE;
SELECT es_replace_projection('owned', 'SELECT stream, avg(version) AS mean FROM events GROUP BY stream') > 0 AS replaced;
SELECT owner FROM eventstore.projection_status WHERE name = 'owned';
SELECT relname, relowner::regrole FROM pg_class WHERE relname LIKE 'owned%' AND relkind = 'r' ORDER BY 1;
SET ROLE replace_owner;
SELECT es_replace_projection('owned', 'SELECT stream, avg(version) AS mean, count(DISTINCT type) AS t FROM events GROUP BY stream') > 0 AS replaced, differences('owned');
RESET ROLE;

-- Dropped by hand: a rebuild makes it anew, so does another query; what is gone can be dropped.
DROP TABLE counts;
SELECT es_append('a-1', -1, 'In', '{"n": 1}');
SELECT differences('counts');
SELECT es_rebuild_projection('counts') > 0 AS rebuilt, differences('counts');
SELECT es_append('a-1', -1, 'In', '{"n": 1}') > 0 AS appended, differences('counts');
DROP TABLE counts;
SELECT es_replace_projection('counts', 'SELECT stream, avg(version) AS mean FROM events GROUP BY stream') > 0 AS replaced, differences('counts');
DROP TABLE counts_state;
SELECT es_rebuild_projection('counts') > 0 AS rebuilt, differences('counts');
SELECT es_append('a-1', -1, 'In', '{"n": 1}') > 0 AS appended, differences('counts');
ALTER TABLE counts DROP mean;
SELECT es_append('a-1', -1, 'In', '{"n": 1}');
SELECT es_rebuild_projection('counts');
SELECT es_replace_projection('counts', 'SELECT stream, avg(version) AS mean FROM events GROUP BY stream') > 0 AS replaced, differences('counts');
DROP TABLE counts, later;
SELECT es_drop_projection('counts', true), es_drop_projection('later');
-- A query that is not valid any more
CREATE FUNCTION half(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT n / 2';
SELECT es_create_projection('halves', 'SELECT stream, sum(half(version)) AS h FROM events GROUP BY stream');
DROP FUNCTION half(bigint);
SELECT es_replace_projection('halves', 'SELECT stream, sum(version / 2) AS h, count(*) AS n FROM events GROUP BY stream') > 0 AS replaced, differences('halves');
SELECT es_append('a-1', -1, 'In', '{"n": 1}') > 0 AS appended, differences('halves');

SET client_min_messages = warning;
DROP SCHEMA test_replace CASCADE;
DROP EXTENSION eventstore CASCADE;
DROP OWNED BY replace_reader, replace_owner;
DROP ROLE replace_reader, replace_owner;
