-- es_rename_projection: all that a projection has goes to its new name; and names with a schema.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA test_rename;
CREATE SCHEMA test_rename_2;
SET search_path = test_rename, public;
SELECT max(es_append('a-' || i % 3, -1, 'In', jsonb_build_object('n', i, 'who', 'p' || i % 2))) FROM generate_series(1, 30) i;

CREATE FUNCTION differences(projection text) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM es_verify_projection(projection)';
CREATE FUNCTION add() RETURNS bigint LANGUAGE sql AS $$SELECT es_append('a-1', -1, 'In', '{"n": 1, "who": "p1"}')$$;
CREATE VIEW tables AS SELECT relnamespace::regnamespace AS schema, relname, obj_description(oid, 'pg_class') AS comment
	FROM pg_class WHERE relnamespace IN ('test_rename'::regnamespace, 'test_rename_2'::regnamespace) AND relkind = 'r' ORDER BY 1, 2;
-- Every row of the store that has a projection's name
CREATE VIEW traces AS
	SELECT 'projections' AS of, name FROM eventstore.projections UNION ALL
	SELECT 'projection_appends', projection FROM eventstore.projection_appends UNION ALL
	SELECT 'skipped_events', projection FROM eventstore.skipped_events UNION ALL
	SELECT 'projection_missed', projection FROM eventstore.projection_missed UNION ALL
	SELECT 'stale_projections', projection FROM eventstore.stale_projections UNION ALL
	SELECT 'intact_projections', projection FROM eventstore.intact_projections UNION ALL
	SELECT 'local_projections', projection FROM eventstore.local_projections UNION ALL
	SELECT 'projection_needs', projection FROM eventstore.projection_needs UNION ALL
	SELECT 'projection_needs', object FROM eventstore.projection_needs WHERE kind = 'list' UNION ALL
	SELECT 'mark', proname FROM pg_proc WHERE pronamespace = 'eventstore'::regnamespace AND prokind = 'p' ORDER BY 1, 2;

-- The declared table has the projection's name, and keeps having it.
SELECT es_create_projection('means', 'SELECT stream, avg(version) AS mean, count(DISTINCT data->>''who'') AS who FROM events GROUP BY stream');
CREATE VIEW looks AS SELECT stream, mean FROM means;
SELECT es_rename_projection('means', 'averages');
SELECT DISTINCT * FROM traces ORDER BY 1, 2;
SELECT * FROM tables;
SELECT name, tables FROM eventstore.projections;
SELECT obj_description('eventstore.averages(eventstore.projection)'::regprocedure, 'pg_proc');
SELECT add() > 0 AS appended, differences('averages'), count(*) FROM looks;
SELECT add() > 0 AS appended, es_rebuild_projection('averages') > 0 AS rebuilt, differences('averages');
SELECT es_rename_projection('averages', 'The "averages"');
SELECT * FROM tables;
SELECT add() > 0 AS appended, differences('The "averages"');
-- One that somebody has given another name keeps that.
ALTER TABLE "The ""averages""" RENAME TO kept;
SELECT es_rename_projection('The "averages"', 'averages');
SELECT * FROM tables;
SELECT add() > 0 AS appended, differences('averages');
-- In the way
CREATE TABLE occupied (n int);
SELECT es_create_projection('counts', 'SELECT stream, avg(version) AS n FROM events GROUP BY stream');
SELECT es_rename_projection('counts', 'occupied');
SELECT es_rename_projection('counts', 'averages');
SELECT es_rename_projection('counts', 'counts');
SELECT es_rename_projection('nowhere', 'somewhere');
SELECT es_rename_projection('counts', NULL);
SELECT es_rename_projection(NULL, 'counts');
SELECT es_rename_projection('counts', '');
SELECT es_rename_projection('counts', repeat('x', 64));
SELECT name, tables FROM eventstore.projections ORDER BY 1;
CREATE TABLE counted_state (n int);
SELECT es_rename_projection('counts', 'counted');
SELECT * FROM tables;
SELECT add() > 0 AS appended, differences('counted');
-- A table that is gone
DROP TABLE counted CASCADE;
SELECT es_rename_projection('counted', 'counts');
SELECT name, tables FROM eventstore.projections ORDER BY 1;
SELECT es_drop_projection('counts', true);

-- All that a projection may have: what it has skipped, missed, appended; that it is stale, and intact.
CREATE UNLOGGED TABLE mirror (stream text, version bigint, q int);
SELECT es_create_projection('mirror', 'INSERT INTO mirror SELECT stream, version, 10 / (data->>''n'')::int FROM events WHERE type <> ''Answer'' AND es_append(''b-'' || stream, -1, ''Answer'', ''{}'') > 0',
	types => '{In}', on_error => 'stop', categories => '{d,e}', tables => '{mirror}');
SET client_min_messages = error;
SELECT es_append('d-1', -1, 'In', '{"n": 2}'), es_append('d-1', -1, 'In', '{"n": 0}'), es_append('d-1', -1, 'In', '{"n": 5}');
SELECT es_skip_event('mirror', (SELECT position FROM es_read('d-1', 2, 1)), 'divided by zero');
SELECT es_append('d-1', -1, 'In', '{"n": 0}'), es_append('d-1', -1, 'In', '{"n": 10}');
SET client_min_messages = warning;
INSERT INTO eventstore.stale_projections VALUES ('mirror', '55000', 'a test says so', now());
SELECT state, lag, last_error, last_error_code FROM eventstore.projection_status WHERE name = 'mirror';
SELECT of, name, count(*) FROM traces WHERE name = 'mirror' GROUP BY 1, 2 ORDER BY 1;
SELECT es_rename_projection('mirror', 'glass');
SELECT of, name, count(*) FROM traces WHERE name IN ('mirror', 'glass') GROUP BY 1, 2 ORDER BY 1;
SELECT * FROM tables WHERE relname IN ('mirror', 'glass');
SELECT state, lag, last_error, last_error_code FROM eventstore.projection_status WHERE name = 'glass';
DELETE FROM eventstore.stale_projections;
SELECT es_skip_event('glass', (SELECT position FROM es_read('d-1', 4, 1)));
SELECT state, lag FROM eventstore.projection_status WHERE name = 'glass';
SELECT version, q FROM mirror ORDER BY 1;
SELECT es_append('d-1', -1, 'In', '{"n": 1}');
SELECT version, q FROM mirror ORDER BY 1;
SELECT es_drop_projection('glass');

-- async, paused; its owner stays
CREATE ROLE rename_owner;
GRANT USAGE, CREATE ON SCHEMA test_rename TO rename_owner;
SELECT es_grant('rename_owner', 'admin');
SET ROLE rename_owner;
SELECT es_create_projection('later', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async');
RESET ROLE;
SELECT es_run_projection('later', 5);
SELECT es_rename_projection('later', 'sometime');
SELECT owner FROM eventstore.projection_status WHERE name = 'sometime';
SELECT relowner::regrole FROM pg_class WHERE oid = 'sometime'::regclass;
SELECT es_run_projection('sometime') > 0 AS ran;
SET ROLE rename_owner;
SELECT es_pause_projection('sometime');
SELECT es_rename_projection('sometime', 'never');
SELECT es_rename_projection('averages', 'mine');
RESET ROLE;
SELECT name, state FROM eventstore.projections WHERE name = 'never';
SELECT es_run_projection('later');

-- In a transaction with everything else, and taken back
BEGIN;
SELECT es_create_projection('a', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
SELECT add() > 0 AS appended;
SAVEPOINT s;
SELECT es_rename_projection('a', 'b');
SELECT add() > 0 AS appended;
SELECT sum(n) = (SELECT count(*) FROM eventstore.events) AS right FROM b;
ROLLBACK TO s;
SELECT add() > 0 AS appended;
SELECT sum(n) = (SELECT count(*) FROM eventstore.events) AS right FROM a;
SELECT es_rename_projection('a', 'c');
SELECT es_rename_projection('averages', 'a');
SELECT es_rename_projection('c', 'averages');
SELECT add() > 0 AS appended;
COMMIT;
SELECT name, tables, differences(name) FROM eventstore.projections WHERE name IN ('a', 'averages') ORDER BY 1;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_rename_projection('a', 'b');
ROLLBACK;

-- A name with a schema
SELECT es_create_projection('test_rename_2.sales', 'SELECT stream, avg(version) AS n FROM events GROUP BY stream');
SELECT es_create_projection('nowhere.sales', 'SELECT stream, avg(version) AS n FROM events GROUP BY stream');
SELECT es_create_projection('eventstore.sales', 'SELECT stream, avg(version) AS n FROM events GROUP BY stream');
SELECT es_create_projection('pg_temp.sales', 'SELECT stream, avg(version) AS n FROM events GROUP BY stream');
SELECT * FROM tables WHERE relname LIKE 'sales%';
SELECT add() > 0 AS appended, differences('test_rename_2.sales');
SELECT name, state, owner = current_user AS mine FROM eventstore.projection_status WHERE name LIKE '%sales';
SELECT es_rebuild_projection('test_rename_2.sales') > 0 AS rebuilt,
	   es_replace_projection('test_rename_2.sales', 'SELECT stream, avg(version) AS n, count(*) AS c FROM events GROUP BY stream') > 0 AS replaced,
	   es_projection_as_of('test_rename_2.sales', 'as_of') > 0 AS seen;
SELECT es_rename_projection('test_rename_2.sales', 'test_rename_2.revenue');
SELECT * FROM tables WHERE schema = 'test_rename_2'::regnamespace;
SELECT es_rename_projection('test_rename_2.revenue', 'revenue');
SELECT * FROM tables WHERE schema = 'test_rename_2'::regnamespace;
SELECT es_rename_projection('revenue', 'nowhere.revenue');
SELECT es_rename_projection('revenue', 'test_rename.income');
SELECT * FROM tables WHERE relname LIKE 'income%';
SELECT add() > 0 AS appended, differences('test_rename.income');
SELECT es_drop_projection('test_rename.income', true);
SELECT * FROM tables WHERE relname LIKE 'income%';
-- and one with a dot that says no schema
CREATE TABLE plain (stream text);
SELECT es_create_projection('no.table', 'INSERT INTO plain SELECT stream FROM events', tables => '{plain}');
SELECT add() > 0 AS appended, differences('no.table');

SET client_min_messages = warning;
DROP SCHEMA test_rename CASCADE;
DROP SCHEMA test_rename_2 CASCADE;
DROP EXTENSION eventstore CASCADE;
DROP OWNED BY rename_owner;
DROP ROLE rename_owner;
