-- es_verify_projection tells what is wrong with a projection's tables; es_projection_as_of makes a table of what they were.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
DROP ROLE IF EXISTS regress_es_alice, regress_es_bob, regress_es_member;
RESET client_min_messages;
\set VERBOSITY terse
CREATE SCHEMA test_verify;
SET search_path = test_verify, public;
SELECT max(es_append('a-' || i % 3, -1, CASE WHEN i % 5 = 0 THEN 'Out' ELSE 'In' END, jsonb_build_object('n', i))) FROM generate_series(1, 30) i;

SELECT es_create_projection('totals', 'SELECT stream, count(*) AS n, sum((data->>''n'')::numeric) AS total, avg((data->>''n'')::int) AS mean FROM events GROUP BY stream');
SELECT es_create_projection('types', 'SELECT type, count(*) AS n FROM events GROUP BY type', 'async');
CREATE TABLE heads (stream text PRIMARY KEY, version bigint);
CREATE TABLE lines (stream text, n int);
SELECT es_create_projection('heads', $$
	WITH l AS (INSERT INTO lines SELECT stream, (data->>'n')::int FROM events)
	INSERT INTO heads SELECT stream, max(version) FROM events GROUP BY stream ON CONFLICT (stream) DO UPDATE SET version = excluded.version
	$$, tables => '{heads, lines}');

-- Right
SELECT * FROM es_verify_projection('totals');
SELECT * FROM es_verify_projection('types');
SELECT * FROM es_verify_projection('heads');
SELECT es_run_projection('types', 7);
SELECT * FROM es_verify_projection('types');
SELECT es_pause_projection('totals');
SELECT es_append('a-1', -1, 'In', '{"n": 100}');
SELECT * FROM es_verify_projection('totals');
SELECT es_resume_projection('totals');
-- What the transaction has done itself counts.
BEGIN;
SELECT es_append('a-2', -1, 'In', '{"n": 100}');
SELECT * FROM es_verify_projection('totals');
SELECT * FROM es_verify_projection('heads');
ROLLBACK;
-- Numbers that are written in another way are right.
UPDATE totals SET total = total + 0.000;
SELECT * FROM es_verify_projection('totals');
-- Wrong
UPDATE totals SET n = n + 1 WHERE stream = 'a-0';
DELETE FROM totals WHERE stream = 'a-1';
INSERT INTO totals VALUES ('x', NULL);
SELECT * FROM es_verify_projection('totals');
UPDATE types SET n = n - 1;
SELECT * FROM es_verify_projection('types');
DELETE FROM heads WHERE stream = 'a-2';
UPDATE lines SET n = -1 WHERE n = 3;
INSERT INTO lines VALUES ('a-1', 4);
SELECT * FROM es_verify_projection('heads');
SELECT count(*) AS left_behind FROM pg_class WHERE relnamespace = pg_my_temp_schema();

-- As of a position, of a time, of both, of now
SELECT recorded_at AS at FROM eventstore.events WHERE position = 12 \gset
SELECT es_projection_as_of('totals', 'at_12', 12);
TABLE at_12 ORDER BY stream;
SELECT es_projection_as_of('totals', 'at_time', at => :'at');
SELECT * FROM at_time EXCEPT SELECT * FROM at_12;
SELECT es_projection_as_of('totals', 'at_both', 9, :'at'), es_projection_as_of('totals', 'at_both_2', 20, :'at'), es_projection_as_of('totals', 'now');
TABLE at_both ORDER BY stream;
SELECT * FROM es_verify_projection('totals') v WHERE NOT EXISTS (SELECT FROM now WHERE to_jsonb(now) = expected);
SELECT es_projection_as_of('totals', 'nothing', 0), es_projection_as_of('totals', 'never', at => '-infinity'), es_projection_as_of('totals', 'ever', 1000000, 'infinity'),
	   es_projection_as_of('totals', 'long_ago', at => '2000-01-01 00:00+00');
SELECT count(*) FROM nothing;
SELECT * FROM ever EXCEPT SELECT * FROM now;
SELECT es_projection_as_of('types', 'types_12', 12), es_projection_as_of('heads', 'test_verify."Heads"', 12, 'infinity'), es_projection_as_of('heads', 'time_12', at => :'at');
TABLE types_12 ORDER BY type;
TABLE "Heads" ORDER BY stream;
SELECT count(*), sum(n) FROM "Heads_lines";
SELECT count(*), sum(n) FROM time_12_lines;
SELECT conrelid::regclass, contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid IN ('at_12'::regclass, '"Heads"'::regclass, '"Heads_lines"'::regclass) ORDER BY 1;
SELECT es_projection_as_of('totals', 'pg_temp.mine', 5);
SELECT count(*) FROM mine;
DROP TABLE mine;
-- at every isolation level
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT count(*) FROM eventstore.events;
SELECT es_projection_as_of('totals', 'serializable'), es_projection_as_of('heads', 'serializable_heads');
SELECT * FROM serializable EXCEPT SELECT * FROM now;
ROLLBACK;
-- The live tables are not touched.
SELECT count(*) FROM es_verify_projection('totals');

-- Refused
SELECT es_projection_as_of('totals', 'at_12', 5);
SELECT es_projection_as_of('heads', 'at_13');
CREATE TABLE at_14_lines ();
SELECT es_projection_as_of('heads', 'at_14');
SELECT es_projection_as_of('totals', 'nowhere.t');
SELECT es_projection_as_of('totals', '');
SELECT es_projection_as_of('totals', 'a b');
SELECT es_projection_as_of('totals', NULL);
SELECT es_projection_as_of(NULL, 't');
SELECT es_projection_as_of('nothing', 't');
SELECT es_projection_as_of('totals', 't', -1);
SELECT es_projection_as_of('totals', repeat('x', 64));
SELECT es_projection_as_of('heads', repeat('x', 60));
SELECT * FROM es_verify_projection(NULL);
SELECT * FROM es_verify_projection('nothing');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM es_verify_projection('totals');
ROLLBACK;
BEGIN READ ONLY;
SELECT * FROM es_verify_projection('totals');
ROLLBACK;
BEGIN READ ONLY;
SELECT es_projection_as_of('totals', 't');
ROLLBACK;

-- Whose: the owner, a member of it, and who owns the store. The caller owns the new table, and no code of the owner runs as the caller.
CREATE ROLE regress_es_alice;
CREATE ROLE regress_es_bob;
CREATE ROLE regress_es_member IN ROLE regress_es_alice;
SELECT es_grant('regress_es_alice', 'admin'), es_grant('regress_es_bob', 'admin'), es_grant('regress_es_member', 'admin');
GRANT ALL ON SCHEMA test_verify TO regress_es_alice, regress_es_member;
SET ROLE regress_es_alice;
CREATE TABLE who (role text DEFAULT current_user);
CREATE FUNCTION is_safe(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN IF current_user <> 'regress_es_alice' THEN RAISE 'run as %', current_user; END IF; RETURN true; END $$;
CREATE TABLE alices (stream text PRIMARY KEY CHECK (is_safe(stream)), n int);
SELECT es_create_projection('alices', 'INSERT INTO alices SELECT stream, 1 FROM events WHERE version = 1', 'async', tables => '{alices}');
SELECT es_run_projection('alices');
DELETE FROM alices WHERE stream = 'a-1';
CREATE FUNCTION on_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO test_verify.who DEFAULT VALUES; RETURN NULL; END';
CREATE TRIGGER on_change AFTER INSERT ON alices FOR EACH ROW EXECUTE FUNCTION on_change();
SET ROLE regress_es_bob;
SELECT es_rebuild_projection('alices');
SELECT * FROM es_verify_projection('alices');
SELECT es_projection_as_of('alices', 'bobs');
SET ROLE regress_es_member;
SELECT * FROM es_verify_projection('alices');
SELECT es_projection_as_of('alices', 'members');
TABLE members ORDER BY stream;
SELECT es_rebuild_projection('alices');
SELECT * FROM es_verify_projection('alices');
RESET ROLE;
SELECT es_projection_as_of('alices', 'owners'), es_rebuild_projection('alices');
TABLE owners ORDER BY stream;
TABLE who;
SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('members', 'owners') ORDER BY 1;
-- Nor by way of expressions of his table, which PostgreSQL evaluates when it plans, and triggers of his that fire at commit
SET ROLE regress_es_alice;
CREATE TABLE caught (role text);
CREATE TABLE bait (role text);
CREATE FUNCTION catch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO test_verify.caught VALUES (current_user); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER catch AFTER INSERT ON bait DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION catch();
CREATE FUNCTION lay() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('test.lays', true) = 'on' THEN INSERT INTO test_verify.bait VALUES (current_user); END IF;
EXCEPTION WHEN OTHERS THEN
	NULL;
END $$;
CREATE FUNCTION lays(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM test_verify.lay(); RETURN $1; END $$;
CREATE TABLE traps (id bigint PRIMARY KEY, filler text DEFAULT lays('default') CHECK (lays('check') <> ''), upper text GENERATED ALWAYS AS (upper(filler) || lays('generated')) STORED);
CREATE INDEX ON traps (id) WHERE lays('predicate') <> '';
CREATE UNIQUE INDEX ON traps ((id || lays('expression')));
SELECT es_create_projection('traps', 'INSERT INTO traps SELECT 10 * position + i, repeat(''x'', 900) FROM events, generate_series(1, 9) i', 'async', tables => '{traps}');
SELECT es_run_projection('traps');
RESET ROLE;
\c -
SET search_path = test_verify, public;
SET test.lays = on;
SELECT count(*) FROM es_verify_projection('traps');
\c -
SET search_path = test_verify, public;
SET test.lays = on;
SELECT es_projection_as_of('traps', 'trapped');
SELECT count(DISTINCT id), count(DISTINCT filler), count(DISTINCT upper) FROM trapped;
\c -
SET search_path = test_verify, public;
SET test.lays = on;
SELECT es_rebuild_projection('traps');
TABLE caught;
-- Without the right to make temporary tables
REVOKE TEMPORARY ON DATABASE :DBNAME FROM PUBLIC;
SELECT * FROM es_verify_projection('alices');
GRANT TEMPORARY ON DATABASE :DBNAME TO PUBLIC;
-- Row security on the read tables hides nothing from the check, nor from a rebuild, though it is forced on their owner.
SET ROLE regress_es_alice;
SELECT es_create_projection('forced', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
CREATE TABLE forced_log (position bigint PRIMARY KEY, stream text);
CREATE TABLE forced_bag (stream text);
SELECT es_create_projection('forced_log', 'WITH b AS (INSERT INTO forced_bag SELECT stream FROM events) INSERT INTO forced_log SELECT position, stream FROM events', tables => '{forced_log, forced_bag}');
ALTER TABLE forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE forced_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE forced_bag ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY hides ON forced USING (stream <> 'a-1') WITH CHECK (true);
CREATE POLICY hides ON forced_log USING (stream <> 'a-1') WITH CHECK (true);
CREATE POLICY hides ON forced_bag USING (stream <> 'a-1') WITH CHECK (true);
SELECT count(*) FROM forced WHERE stream = 'a-1';
SELECT * FROM es_verify_projection('forced');
SELECT * FROM es_verify_projection('forced_log');
SELECT es_rebuild_projection('forced') = es_rebuild_projection('forced_log') AS rebuilt;
RESET ROLE;
UPDATE forced SET n = n + 100 WHERE stream IN ('a-1', 'a-2');
DELETE FROM forced_log WHERE position = (SELECT min(position) FROM forced_log WHERE stream = 'a-1');
DELETE FROM forced_bag WHERE stream = 'a-1';
SET ROLE regress_es_alice;
SELECT kind, key FROM es_verify_projection('forced');
SELECT kind, count(*) > 0 AS some FROM es_verify_projection('forced_log') GROUP BY kind;
SELECT es_rebuild_projection('forced') = es_rebuild_projection('forced_log') AS rebuilt;
SELECT * FROM es_verify_projection('forced');
SELECT * FROM es_verify_projection('forced_log');
RESET ROLE;
SELECT n = (SELECT count(*) FROM eventstore.events WHERE stream = 'a-1') AS is_right FROM forced WHERE stream = 'a-1';
-- Where it hides rows from an owner whose table it is not, that is an error.
ALTER TABLE forced_log OWNER TO CURRENT_USER;
GRANT ALL ON forced_log TO regress_es_alice;
SELECT * FROM es_verify_projection('forced_log');
SELECT es_rebuild_projection('forced_log');
SELECT es_drop_projection('forced', true), es_drop_projection('forced_log');

SELECT es_drop_projection('heads'), es_pause_projection('totals');

-- Values that SQL holds equal are no difference: keys and others, of a type,
SELECT count(es_append('word-' || i, 0, 'Word', jsonb_build_object('word', w, 'time', t, 'n', n)))
FROM (VALUES (1, 'Ape', '1 day', 1.0), (2, 'ape', '24 hours', 1.00), (3, 'APE', '1 day', 1), (4, 'bee', '48:00', 2.50), (5, 'Bee', '2 days', 2.5)) x (i, w, t, n);
SELECT es_create_projection('times', 'SELECT (data->>''time'')::interval AS time, count(*) AS n, max((data->>''n'')::numeric) AS most FROM events WHERE type = ''Word'' GROUP BY 1'),
	   es_create_projection('numbers', 'SELECT (data->>''n'')::numeric AS number, max((data->>''time'')::interval) AS longest, jsonb_object_agg(type, data ORDER BY position) AS last FROM events WHERE type = ''Word'' GROUP BY 1');
UPDATE times SET time = make_interval(hours => extract(epoch FROM time)::int / 3600), most = most + 0.000;
UPDATE numbers SET number = number + 0.00, longest = make_interval(hours => extract(epoch FROM longest)::int / 3600);
SELECT es_append('word-6', 0, 'Word', '{"word": "aPE", "time": "24:00", "n": 1.000}');
SELECT * FROM es_verify_projection('times');
SELECT * FROM es_verify_projection('numbers');
UPDATE times SET most = NULL WHERE time = '1 day';
UPDATE numbers SET last = '{"Word": null}' WHERE number = 1;
UPDATE numbers SET longest = '3 days' WHERE number = 2.5;
SELECT kind, stored->>'most' AS stored, (expected->>'most')::numeric = 1 AS expected FROM es_verify_projection('times');
SELECT kind, stored->'longest' AS stored, stored->>'last' AS stored_last FROM es_verify_projection('numbers') ORDER BY 2;
-- and of a collation that is not deterministic, which only servers with ICU have; altered, too.
DO $$
DECLARE
	wrong text;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_collation WHERE collprovider = 'i') THEN
		RETURN;
	END IF;
	CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	PERFORM es_create_projection('words', 'SELECT (data->>''word'') COLLATE loose AS word, count(*) AS n, min((data->>''word'') COLLATE loose) AS least FROM events WHERE type = ''Word'' GROUP BY 1');
	UPDATE words SET word = upper(word), least = upper(least);
	PERFORM es_append('word-7', 0, 'Word', '{"word": "bEE", "time": "24:00", "n": 7}');
	SELECT string_agg(v::text, '; ') INTO wrong FROM es_verify_projection('words') v;
	IF wrong IS NOT NULL THEN
		RAISE 'right rows are called wrong: %', wrong;
	END IF;
	UPDATE words SET n = n + 1 WHERE word = 'bee';
	SELECT string_agg(kind || ' ' || key::text, '; ') INTO wrong FROM es_verify_projection('words') v;
	IF wrong IS DISTINCT FROM 'different {"word": "BEE"}' THEN
		RAISE 'wrong rows are called %', wrong;
	END IF;
	ALTER TABLE words ALTER word TYPE text COLLATE "C";
	SELECT count(*) INTO wrong FROM es_verify_projection('words');
	IF wrong = '0' THEN
		RAISE 'keys that are different are called equal';
	END IF;
END $$;

-- Not from where the caller is somebody else
CREATE FUNCTION verify_by_index(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN PERFORM public.es_verify_projection(''totals''); RETURN $1; END';
CREATE INDEX ON lines (verify_by_index(stream));

SET client_min_messages = warning;
DROP EXTENSION eventstore CASCADE;
DROP SCHEMA test_verify CASCADE;
DROP ROLE regress_es_alice, regress_es_bob, regress_es_member;
