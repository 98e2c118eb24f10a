-- Read tables that are renamed or moved, by hand: the projection follows, or the command is refused.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
\set VERBOSITY default
\set SHOW_CONTEXT never
CREATE SCHEMA test_follow;
CREATE SCHEMA test_follow_2;
SET search_path = test_follow, public;
SELECT max(es_append('a-' || i % 3, -1, 'In', jsonb_build_object('n', i, 'who', 'p' || i % 2))) FROM generate_series(1, 30) i;

CREATE FUNCTION public.differences(projection text) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM es_verify_projection(projection)';
CREATE FUNCTION public.add() RETURNS bigint LANGUAGE sql AS $$SELECT es_append('a-1', -1, 'In', '{"n": 1, "who": "p1"}')$$;
CREATE VIEW public.definition AS SELECT name, tables, lookups, settings[1] AS path FROM eventstore.projections;

-- A declared table, with others beside it
SELECT es_create_projection('means', 'SELECT stream, avg(version) AS mean, count(DISTINCT data->>''who'') AS who FROM events GROUP BY stream');
SELECT es_create_projection('later', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async');
ALTER TABLE means RENAME TO averages;
SELECT tables FROM definition WHERE name = 'means';
SELECT add() > 0 AS appended, differences('means');
ALTER TABLE averages SET SCHEMA test_follow_2;
SELECT tables FROM definition WHERE name = 'means';
SELECT add() > 0 AS appended, differences('means');
SELECT count(*) FROM pg_class WHERE relnamespace = 'test_follow'::regnamespace AND relname LIKE 'means%';
ALTER SCHEMA test_follow_2 RENAME TO "test follow 3";
SELECT tables FROM definition WHERE name = 'means';
SELECT add() > 0 AS appended, differences('means');
SELECT DISTINCT of_table FROM eventstore.projection_needs WHERE projection = 'means' AND of_table <> '' ORDER BY 1;
SELECT es_rebuild_projection('means') > 0 AS rebuilt, es_replace_projection('means', 'SELECT stream, avg(version) AS mean FROM events GROUP BY stream') > 0 AS replaced, differences('means');
ALTER INDEX "test follow 3".averages RENAME TO "Averages";
SELECT tables FROM definition WHERE name = 'means';
-- A table beside it
ALTER TABLE "test follow 3".averages_state RENAME TO the_state;
SELECT tables FROM definition WHERE name = 'means';
SELECT add() > 0 AS appended, differences('means');
-- In one that runs later
ALTER TABLE later RENAME TO sometime;
SELECT es_run_projection('later') > 0 AS ran, differences('later');
-- Rolled back, to a savepoint, too; and two swapped
BEGIN;
ALTER TABLE sometime RENAME TO a;
SAVEPOINT s;
ALTER TABLE a RENAME TO b;
SELECT add() > 0 AS appended;
ROLLBACK TO s;
SELECT tables FROM definition WHERE name = 'later';
ROLLBACK;
SELECT tables FROM definition WHERE name = 'later';
SELECT es_create_projection('one', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
SELECT es_create_projection('two', 'SELECT stream, 2 * count(*) AS n FROM events GROUP BY stream');
BEGIN;
ALTER TABLE one RENAME TO three;
ALTER TABLE two RENAME TO one;
SELECT add() > 0 AS appended;
ALTER TABLE three RENAME TO two;
COMMIT;
SELECT name, tables, differences(name) FROM definition WHERE name IN ('one', 'two') ORDER BY 1;
SELECT add() > 0 AS appended, differences('one'), differences('two');
-- A command that fails changes nothing; those of others' tables are none of ours.
ALTER TABLE one RENAME TO two;
ALTER TABLE one SET SCHEMA nowhere;
CREATE TABLE other (stream text);
ALTER TABLE other RENAME stream TO s;
ALTER TABLE other RENAME TO another;
SELECT name, tables FROM definition WHERE name IN ('one', 'two') ORDER BY 1;
SELECT add() > 0 AS appended, differences('one');
CREATE ROLE follow_other;
GRANT USAGE ON SCHEMA test_follow TO follow_other;
SET ROLE follow_other;
ALTER TABLE test_follow.one RENAME TO mine;
RESET ROLE;

-- Columns: those of the query stay, the owner's do as he likes.
ALTER TABLE one ADD note text;
ALTER TABLE one RENAME note TO remark;
ALTER TABLE two RENAME n TO m;
ALTER TABLE "test follow 3"."Averages" RENAME mean TO m;
ALTER TABLE "test follow 3".the_state RENAME p1 TO m;
SELECT add() > 0 AS appended, differences('one'), differences('two'), differences('means');

-- A handler names its tables by itself. Paused, it is given its new text.
CREATE TABLE seen (stream text PRIMARY KEY, n bigint);
SELECT es_create_projection('seen', 'INSERT INTO seen AS s SELECT stream, 1 FROM events ON CONFLICT (stream) DO UPDATE SET n = s.n + 1', tables => '{seen}');
ALTER TABLE seen RENAME TO watched;
ALTER TABLE seen SET SCHEMA "test follow 3";
ALTER TABLE seen RENAME n TO count;
SELECT add() > 0 AS appended, differences('seen');
BEGIN;
SELECT es_pause_projection('seen');
ALTER TABLE seen RENAME TO watched;
ALTER TABLE watched RENAME n TO count;
SELECT es_replace_projection('seen', 'INSERT INTO watched AS s SELECT stream, 1 FROM events ON CONFLICT (stream) DO UPDATE SET count = s.count + 1') > 0 AS replaced;
SELECT es_resume_projection('seen');
COMMIT;
SELECT tables FROM definition WHERE name = 'seen';
SELECT add() > 0 AS appended, differences('seen');

-- What is looked up
CREATE TABLE person (id text PRIMARY KEY, name text, note text);
INSERT INTO person VALUES ('p0', 'Ada'), ('p1', 'Bob');
SELECT es_create_projection('named', 'SELECT p.name, count(*) AS n FROM events e JOIN person p ON p.id = e.data->>''who'' GROUP BY p.name', lookups => '{person}');
ALTER TABLE person RENAME TO people;
ALTER TABLE person RENAME name TO called;
ALTER TABLE person RENAME note TO remark;
SELECT add() > 0 AS appended, differences('named');

-- The schema of all of them: search_path follows; a handler that runs keeps it.
ALTER SCHEMA test_follow RENAME TO test_follow_4;
SELECT es_pause_projection('seen');
CREATE FUNCTION twice(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 2 * n';
SELECT es_create_projection('twice', 'SELECT stream, max(test_follow.twice(version)) AS n FROM events GROUP BY stream');
ALTER SCHEMA test_follow RENAME TO test_follow_4;
SELECT es_replace_projection('twice', 'SELECT stream, max(twice(version)) AS n FROM events GROUP BY stream') > 0 AS replaced;
ALTER SCHEMA test_follow RENAME TO test_follow_4;
SET search_path = test_follow_4, public;
SELECT name, tables, lookups, path FROM definition ORDER BY name COLLATE "C";
SELECT es_resume_projection('seen');
-- One that is broken already keeps nothing from being renamed.
CREATE FUNCTION thrice(n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS 'SELECT 3 * n';
SELECT es_create_projection('thrice', 'SELECT stream, max(thrice(version)) AS n FROM events GROUP BY stream', 'async');
DROP FUNCTION thrice;
CREATE SCHEMA test_follow_5;
ALTER SCHEMA test_follow_5 RENAME TO test_follow_6;
DROP SCHEMA test_follow_6;
SELECT es_drop_projection('thrice');
SELECT add() > 0 AS appended, differences('one'), differences('twice'), differences('named'), differences('seen'), differences('means');
-- The schema of a reducer
CREATE SCHEMA test_follow_7;
CREATE FUNCTION test_follow_7."Counted"(state jsonb, e eventstore.event) RETURNS jsonb LANGUAGE sql AS $$SELECT to_jsonb(coalesce(state::bigint, 0) + 1)$$;
SELECT es_create_state_projection('counted', 'test_follow_7."Counted"(jsonb, eventstore.event)', NULL);
ALTER SCHEMA test_follow_7 RENAME TO "test follow 8";
SELECT reducer FROM eventstore.projections WHERE name = 'counted';
SELECT object FROM eventstore.projection_needs WHERE projection = 'counted' AND kind = 'function';
SELECT add() > 0 AS appended, differences('counted');
-- A column of its table, which is the owner's, and one which is not
ALTER TABLE counted ADD COLUMN note text;
ALTER TABLE counted RENAME note TO remark;
ALTER TABLE counted RENAME state TO total;
SELECT add() > 0 AS appended, differences('counted');
SELECT es_drop_projection('counted', true);
DROP SCHEMA "test follow 8" CASCADE;
-- A command that fails is forgotten: one that comes to its place in memory has nothing to do with it.
CREATE TABLE taken (n int);
SELECT es_create_projection('tried', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
BEGIN;
SAVEPOINT before;
ALTER TABLE IF EXISTS tried RENAME TO taken;
ROLLBACK TO before;
SELECT es_drop_projection('tried', true);
ALTER TABLE IF EXISTS tried RENAME TO taken;
COMMIT;
DROP TABLE taken;
-- What happens while another extension's script runs is followed as ever.
SELECT es_create_projection('scripted', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
CREATE FUNCTION public.rename_scripted() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
	IF to_regclass('test_follow_4.scripted') IS NOT NULL THEN
		ALTER TABLE test_follow_4.scripted RENAME TO by_script;
	END IF;
END $$;
CREATE EVENT TRIGGER renames_in_script ON ddl_command_start WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION public.rename_scripted();
DROP EXTENSION IF EXISTS pgtap CASCADE;
CREATE EXTENSION pgtap SCHEMA public;
DROP EVENT TRIGGER renames_in_script;
DROP FUNCTION public.rename_scripted();
SELECT tables FROM definition WHERE name = 'scripted';
SELECT add() > 0 AS appended, differences('scripted');
SELECT es_drop_projection('scripted', true);
-- A table that is nobody's, of a projection that is gone
SELECT es_drop_projection('one');
ALTER TABLE two RENAME n TO m;
SELECT tables FROM definition WHERE name = 'one';
SELECT es_drop_projection('two', true), es_drop_projection('means', true), es_drop_projection('twice', true);
SELECT relname FROM pg_class WHERE relnamespace IN ('test_follow_4'::regnamespace, '"test follow 3"'::regnamespace) AND relkind = 'r' ORDER BY 1;

SET client_min_messages = warning;
DROP SCHEMA test_follow_4 CASCADE;
DROP SCHEMA "test follow 3" CASCADE;
DROP EXTENSION eventstore CASCADE;
DROP FUNCTION public.differences(text), public.add();
DROP ROLE follow_other;
