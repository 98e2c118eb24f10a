-- Projections run as their owners, whoever appends: the appender needs no right on read tables, and neither side gets hold of the other.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
DROP ROLE IF EXISTS regress_es_alice, regress_es_bob, regress_es_appender, regress_es_reader, regress_es_member;
RESET client_min_messages;
\set VERBOSITY terse
CREATE ROLE regress_es_alice;
CREATE ROLE regress_es_bob;
CREATE ROLE regress_es_appender;
CREATE ROLE regress_es_reader;
CREATE ROLE regress_es_member IN ROLE regress_es_alice;
SELECT es_grant('regress_es_alice', 'admin'), es_grant('regress_es_bob', 'admin'), es_grant('regress_es_appender', 'append'), es_grant('regress_es_reader', 'read');
CREATE SCHEMA test_access;
GRANT ALL ON SCHEMA test_access TO regress_es_alice;
GRANT USAGE ON SCHEMA test_access TO PUBLIC;
SET search_path = test_access, public;

-- Who may make one: an admin, where he may make a table
SET ROLE regress_es_appender;
SELECT es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category');
SELECT * FROM eventstore.projection_status;
SELECT * FROM eventstore.projections;
SET ROLE regress_es_reader;
SELECT es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category');
SELECT es_run_projection('counts');
SELECT es_drop_projection('counts');
SELECT es_pause_projection('counts');
SELECT es_resume_projection('counts');
SET ROLE regress_es_bob;
SELECT es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category');
SET ROLE regress_es_alice;
SELECT es_create_projection('counts', 'SELECT category, count(*) AS n, es_last(type, position) AS last FROM events GROUP BY category');
CREATE TABLE log (who text, path text, stream text);
CREATE FUNCTION note(event eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES (current_user, current_setting('search_path'), event.stream); END $$;
REVOKE ALL ON FUNCTION note(eventstore.event) FROM PUBLIC;
SELECT es_create_projection('noted', 'SELECT note(e) FROM events e', tables => '{log}');
SELECT es_create_projection('noted_async', 'INSERT INTO log SELECT current_user, ''async'', stream FROM events', 'async', tables => '{log}');
GRANT SELECT ON counts TO regress_es_reader;

-- The appender writes by appending only.
SET ROLE regress_es_appender;
SELECT es_append('a-1', 0, 'A', '{}');
INSERT INTO counts VALUES ('x', 1, 'x');
SELECT * FROM counts;
SELECT es_wait_projection('counts', es_last_position(), '1 s');
SET ROLE regress_es_reader;
TABLE counts;
DELETE FROM counts;
SELECT name, state, owner FROM eventstore.projection_status ORDER BY name;
RESET ROLE;
SELECT es_append('a-2', 0, 'A', '{}');
TABLE log;
SELECT c.relname, pg_get_userbyid(relowner) FROM pg_class c WHERE relnamespace = 'test_access'::regnamespace AND relkind = 'r' ORDER BY 1;

-- Whose projection it is: another admin may run it, nothing else; a member of the owner, and who owns the store, may all.
SET ROLE regress_es_bob;
SELECT es_run_projection('noted_async');
SELECT es_pause_projection('counts');
SELECT es_resume_projection('counts');
SELECT es_drop_projection('counts');
SELECT es_drop_projection('counts', true);
SET ROLE regress_es_member;
SELECT es_pause_projection('noted');
RESET ROLE;
SELECT es_resume_projection('noted');
SELECT DISTINCT who, path FROM log WHERE path = 'async';

-- What the owner wrote does not get hold of a superuser's session.
SET ROLE regress_es_alice;
CREATE FUNCTION climb(way text) RETURNS void LANGUAGE plpgsql AS
$$
BEGIN
	CASE way
		WHEN 'role' THEN SET ROLE postgres;
		WHEN 'reset' THEN RESET ROLE;
		WHEN 'session' THEN SET SESSION AUTHORIZATION postgres;
		WHEN 'temp' THEN CREATE TEMP TABLE t (a int);
		WHEN 'setting' THEN PERFORM set_config('search_path', 'test_access', false);
		ELSE NULL;
	END CASE;
	INSERT INTO log VALUES (current_user, 'climbed', way);
END
$$;
CREATE FUNCTION defer() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_access.log VALUES (current_user, 'deferred', NULL); RETURN NULL; END $$;
SELECT es_create_projection('climbs', 'SELECT climb(data->>''way'') FROM events', types => '{Climb}');
RESET ROLE;
\set VERBOSITY sqlstate
SELECT es_append('c-1', -1, 'Climb', '{"way": "role"}');
SELECT es_append('c-1', -1, 'Climb', '{"way": "reset"}');
SELECT es_append('c-1', -1, 'Climb', '{"way": "session"}');
SELECT es_append('c-1', -1, 'Climb', '{"way": "temp"}');
\set VERBOSITY terse
SELECT es_append('c-1', -1, 'Climb', '{"way": "setting"}');
SHOW search_path;
SELECT current_user = session_user;
TRUNCATE log;
-- Nor by a deferred trigger on a table of his, which would fire as who commits
SET ROLE regress_es_alice;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON log DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION defer();
RESET ROLE;
\set VERBOSITY sqlstate
SELECT es_append('a-3', 0, 'A', '{}');
\set VERBOSITY terse
SELECT count(*) FROM log WHERE path = 'deferred';
DROP TRIGGER later ON log;

-- Nor does the appender get hold of the owner's rights: his temporary tables, types and search_path capture nothing.
GRANT CREATE ON SCHEMA test_access TO regress_es_appender;
CREATE SCHEMA test_hostile AUTHORIZATION regress_es_appender;
SET ROLE regress_es_alice;
SELECT es_drop_projection('climbs'), es_drop_projection('noted_async');
SELECT es_create_projection('unqualified', 'INSERT INTO log SELECT current_user::text, upper(type), stream FROM events WHERE type = ''T''::text');
SELECT es_create_projection('sums', 'SELECT category, sum((data->>''n'')::int) AS n, avg((data->>''n'')::numeric) AS a FROM events GROUP BY category');
SET ROLE regress_es_appender;
CREATE FUNCTION test_hostile.mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured as %', current_user; END $$;
DO $make$
DECLARE
	place pg_catalog.text;
	name  pg_catalog.text;
BEGIN
	FOREACH place IN ARRAY '{pg_temp,test_hostile}'::pg_catalog.text[] LOOP
		FOREACH name IN ARRAY '{log,counts,counts_state,sums,sums_state,events,merged,r,s}'::pg_catalog.text[] LOOP
			EXECUTE format('CREATE TABLE %s.%I (who pg_catalog.text, path pg_catalog.text, stream pg_catalog.text)', place, name);
			EXECUTE format('GRANT ALL ON %s.%I TO PUBLIC', place, name);
			EXECUTE format('CREATE TRIGGER mine BEFORE INSERT ON %s.%I FOR EACH ROW EXECUTE FUNCTION test_hostile.mine()', place, name);
		END LOOP;
		EXECUTE format('CREATE TYPE %s.text AS ENUM (''hostile'')', place);
		EXECUTE format('CREATE TYPE %s.int8 AS ENUM (''hostile'')', place);
		EXECUTE format('CREATE TYPE %s.numeric AS ENUM (''hostile'')', place);
		EXECUTE format('CREATE FUNCTION %s.upper(pg_catalog.text) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN RAISE ''captured as %%'', current_user; END $$', place);
	END LOOP;
	CREATE FUNCTION test_hostile.never(pg_catalog.text, pg_catalog.text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured as %', current_user; END $$;
	CREATE FUNCTION test_hostile.never(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured as %', current_user; END $$;
	CREATE OPERATOR test_hostile.= (LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text, FUNCTION = test_hostile.never);
	CREATE OPERATOR test_hostile.+ (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = test_hostile.never);
	CREATE FUNCTION test_hostile.note(eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'captured as %', current_user; END $$;
END $make$;
SET search_path = test_hostile, pg_temp, pg_catalog, test_access, public;
SELECT public.es_append('h-1'::pg_catalog.text, 0::pg_catalog.int8, 'T'::pg_catalog.text, '{"n": 1}'::pg_catalog.jsonb);
SELECT public.es_append('h-1'::pg_catalog.text, 1::pg_catalog.int8, '[{"type": "T", "data": {"n": 2}}, {"type": "T", "data": {"n": 4}}]'::pg_catalog.jsonb);
RESET ROLE;
SELECT public.es_append('h-1'::pg_catalog.text, 3::pg_catalog.int8, 'T'::pg_catalog.text, '{"n": 8}'::pg_catalog.jsonb);
SET search_path = test_access, public;
DISCARD TEMP;
SELECT es_append('h-1', 4, 'T', '{"n": 16}');
SELECT count(*) FROM test_access.log WHERE path = 'T' AND who = 'regress_es_alice' AND stream = 'h-1';
SELECT * FROM sums WHERE category = 'h';

-- Whether row-level security applies to the owner's SQL is not for the appender to set.
SET ROLE regress_es_alice;
ALTER TABLE log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY everything ON log USING (true);
SET ROLE regress_es_appender;
SET row_security = off;
SELECT public.es_append('h-1', 5, 'T', '{}');
RESET row_security;
SET ROLE regress_es_alice;
ALTER TABLE log DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
RESET ROLE;

-- The search_path that a maker of projections has does not capture ours either.
SET ROLE regress_es_appender;
GRANT ALL ON SCHEMA test_hostile TO regress_es_alice;
SET ROLE regress_es_alice;
CREATE AGGREGATE test_hostile.count(*) (SFUNC = int8inc, STYPE = bigint, INITCOND = '100');
CREATE AGGREGATE test_hostile.sum(bigint) (SFUNC = int8pl, STYPE = bigint, INITCOND = '100');
SET search_path = test_hostile, pg_catalog, public;
SELECT public.es_create_projection('safe', 'SELECT pg_catalog.upper(stream) AS s, pg_catalog.count(*) AS n, pg_catalog.avg(version) AS a, public.es_last(type, position) AS t, pg_catalog.min(type) AS m FROM events GROUP BY pg_catalog.upper(stream)'::pg_catalog.text);
SELECT public.es_append('h-2'::pg_catalog.text, 0::pg_catalog.int8, 'T'::pg_catalog.text, '{"n": 8}'::pg_catalog.jsonb);
SELECT public.es_append('h-2'::pg_catalog.text, 1::pg_catalog.int8, 'T'::pg_catalog.text, '{"n": 8}'::pg_catalog.jsonb);
SET search_path = test_access, public;
SELECT * FROM test_hostile.safe WHERE s = 'H-2';
SELECT es_drop_projection('safe', true);

-- A projection without the right to do what it does
RESET ROLE;
CREATE TABLE closed (stream text);
SET ROLE regress_es_alice;
SELECT es_create_projection('closed', 'INSERT INTO closed SELECT stream FROM events', types => '{Closed}', tables => '{closed}');
RESET ROLE;
\set VERBOSITY sqlstate
SELECT es_append('a-9', 0, 'Closed', '{}');
\set VERBOSITY terse
SELECT es_append('a-9', 0, 'Open', '{}');
-- An owner that is no admin any more: what appends apply goes on, what has to read the store does not.
SELECT es_revoke('regress_es_alice', 'admin');
SELECT es_append('a-9', 1, 'Open', '{}');
SET ROLE regress_es_alice;
SELECT es_pause_projection('counts');
RESET ROLE;
SELECT es_grant('regress_es_alice', 'admin');
-- The owner is known by who he is: a new name changes nothing,
ALTER ROLE regress_es_alice RENAME TO regress_es_alicia;
SELECT es_append('a-9', 2, 'Open', '{}');
SELECT owner FROM eventstore.projection_status WHERE name = 'counts';
-- a role of the old name is somebody else,
CREATE ROLE regress_es_alice SUPERUSER;
TRUNCATE log;
SELECT es_append('a-9', 3, 'Open', '{}');
SELECT DISTINCT who FROM log WHERE path = 'test_access, public, pg_temp';
DROP ROLE regress_es_alice;
ALTER ROLE regress_es_alicia RENAME TO regress_es_alice;
-- who owns one can not be dropped,
CREATE ROLE regress_es_carol;
SELECT es_grant('regress_es_carol', 'admin');
SET ROLE regress_es_carol;
SELECT es_create_projection('carols', 'INSERT INTO log SELECT stream FROM events', categories => '{carol}');
RESET ROLE;
SELECT es_revoke('regress_es_carol', 'admin');
\set VERBOSITY default
DROP ROLE regress_es_carol;
\set VERBOSITY terse
-- the owner gives it to a role that he could be, and nobody else does;
SET ROLE regress_es_bob;
SELECT es_reassign_projection('counts', 'regress_es_bob');
SET ROLE regress_es_alice;
\set VERBOSITY sqlstate
SELECT es_reassign_projection('counts', 'regress_es_bob');
\set VERBOSITY terse
RESET ROLE;
SELECT es_reassign_projection('counts', NULL);
SELECT es_reassign_projection('nowhere', 'regress_es_bob');
SELECT es_reassign_projection('counts', 0::regrole);
SELECT es_reassign_projection('counts', 'regress_es_bob');
SELECT name, owner FROM eventstore.projection_status WHERE name IN ('counts', 'sums') ORDER BY name;
SELECT c.relname, pg_get_userbyid(relowner) FROM pg_class c WHERE relnamespace = 'test_access'::regnamespace AND relname ~ '^(count|sum)s(_state)?$' ORDER BY 1;
GRANT regress_es_alice TO regress_es_bob;
GRANT CREATE ON SCHEMA test_access TO regress_es_bob;
SELECT es_append('a-9', 4, 'Open', '{}');
SET ROLE regress_es_bob;
SELECT es_reassign_projection('counts', 'regress_es_alice');
RESET ROLE;
REVOKE regress_es_alice FROM regress_es_bob;
-- REASSIGN OWNED takes it along,
REASSIGN OWNED BY regress_es_alice TO regress_es_bob;
SELECT es_append('a-9', 5, 'Open', '{}');
SELECT n = (SELECT count(*) FROM eventstore.events WHERE category = 'a') AS is_right FROM counts WHERE category = 'a';
SET ROLE regress_es_alice;
SELECT es_pause_projection('counts');
SET ROLE regress_es_bob;
SELECT es_pause_projection('counts'), es_resume_projection('counts');
-- and only who has them may give away what he has. Rights on the mark itself are no matter as long as the name is the one that was noted.
RESET ROLE;
REASSIGN OWNED BY regress_es_bob TO regress_es_alice;
GRANT ALL ON ALL ROUTINES IN SCHEMA eventstore TO regress_es_alice;
SELECT owner, state FROM eventstore.projection_status WHERE name = 'counts';
REVOKE ALL ON ALL ROUTINES IN SCHEMA eventstore FROM regress_es_alice;
SELECT es_grant('regress_es_alice', 'admin');

-- DROP OWNED leaves it without an owner: it is not applied any more, and appends go on. The first that notices it tells.
SELECT es_reassign_projection('unqualified', 'regress_es_carol');
SELECT name, state, owner, last_error_code, last_error FROM eventstore.projection_status WHERE owner IS NULL;
DROP OWNED BY regress_es_carol;
DROP ROLE regress_es_carol;
SELECT name, state, owner, last_error_code, last_error FROM eventstore.projection_status WHERE owner IS NULL ORDER BY name;
TRUNCATE log;
\set VERBOSITY default
SELECT es_append('a-9', 6, 'T', '{}');
\set VERBOSITY terse
SELECT es_append('a-9', 7, 'T', '{}');
SELECT DISTINCT projection, code FROM eventstore.stale_projections ORDER BY projection;
SELECT count(*) FROM log WHERE path = 'T';
-- A role of the same name gets nothing of it, superuser or not.
CREATE ROLE regress_es_carol SUPERUSER;
SELECT es_append('a-9', 8, 'T', '{}');
SELECT count(*) FROM log WHERE path = 'T';
SET ROLE regress_es_alice;
SELECT es_drop_projection('carols');
RESET ROLE;
DROP ROLE regress_es_carol;
-- Paused, resumed, run: nothing of that makes it right. With an owner, and rebuilt, it is; or it is dropped.
SELECT es_drop_projection('carols');
\set VERBOSITY default
SELECT es_rebuild_projection('unqualified');
\set VERBOSITY terse
SELECT es_pause_projection('unqualified');
\set VERBOSITY default
SELECT es_resume_projection('unqualified');
\set VERBOSITY terse
SELECT es_reassign_projection('unqualified', 'regress_es_alice');
SELECT es_resume_projection('unqualified');
SELECT es_drop_projection('unqualified');
SELECT es_reassign_projection('counts', 'regress_es_bob');
REVOKE ALL ON SCHEMA test_access FROM regress_es_bob;
DROP PROCEDURE eventstore.counts(eventstore.projection);
SELECT es_append('a-9', 9, 'T', '{}');
SELECT state, owner, position < es_head() AS is_behind, lag > 0 AS lags FROM eventstore.projection_status WHERE name = 'counts';
SELECT es_reassign_projection('counts', 'regress_es_alice');
SELECT state, owner FROM eventstore.projection_status WHERE name = 'counts';
SELECT es_append('a-9', 10, 'T', '{}');
SELECT n = (SELECT count(*) FROM eventstore.events WHERE category = 'a') AS is_right FROM counts WHERE category = 'a';
SELECT es_wait_projection('counts', es_last_position(), '0');
SELECT es_rebuild_projection('counts') = (SELECT count(*) FROM eventstore.events) AS is_rebuilt;
SELECT es_append('a-9', 11, 'T', '{}');
SELECT n = (SELECT count(*) FROM eventstore.events WHERE category = 'a') AS is_right FROM counts WHERE category = 'a';
SELECT state, owner, lag FROM eventstore.projection_status WHERE name = 'counts';
SELECT * FROM eventstore.stale_projections;
-- Async, it does not move until it has an owner again, and then goes on where it stood.
SET ROLE regress_es_alice;
SELECT es_create_projection('later', 'SELECT category, count(*) AS n FROM events GROUP BY category', 'async');
RESET ROLE;
SELECT es_run_projection('later', 5);
DROP PROCEDURE eventstore.later(eventstore.projection);
SELECT es_run_projection('later', 5);
SELECT state, last_error_code FROM eventstore.projection_status WHERE name = 'later';
SELECT es_reassign_projection('later', 'regress_es_alice');
SELECT es_run_projection('later') + 5 = (SELECT count(*) FROM eventstore.events) AS is_right;
SELECT state, last_error_code FROM eventstore.projection_status WHERE name = 'later';
-- Whatever a projection is called, its mark is its own.
SELECT es_create_projection('owner', 'INSERT INTO log SELECT stream FROM events', categories => '{none}'), es_create_projection(rpad('Some "name"; with 63 bytes ', 63, '.'), 'INSERT INTO log SELECT stream FROM events', categories => '{none}');
SELECT p.oid::regprocedure, proowner::regrole, proacl FROM pg_proc p WHERE prokind = 'p' AND pronamespace = 'eventstore'::regnamespace ORDER BY proname COLLATE "C";
SELECT eventstore.owner() = current_user::regrole;

SELECT es_drop_projection(name) FROM eventstore.projections ORDER BY name;
SET client_min_messages = warning;
DROP SCHEMA test_access CASCADE;
DROP SCHEMA test_hostile CASCADE;
DROP EXTENSION eventstore CASCADE;
DROP OWNED BY regress_es_alice, regress_es_bob, regress_es_appender, regress_es_reader, regress_es_member;
DROP ROLE regress_es_alice, regress_es_bob, regress_es_appender, regress_es_reader, regress_es_member;
