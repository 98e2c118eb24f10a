-- Tables that a handler writes: what would make every append fail is refused when the projection is made, what may come is told, and what can
-- not be replayed beside its tables is told, and rebuilt in place.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
CREATE SCHEMA test_target;
SET search_path = test_target, public;

-- Constraints that are deferred
CREATE TABLE customer (id int PRIMARY KEY);
INSERT INTO customer VALUES (1);
CREATE TABLE deferred (id text PRIMARY KEY, customer int REFERENCES customer DEFERRABLE INITIALLY DEFERRED);
SELECT es_create_projection('deferred', 'INSERT INTO deferred SELECT stream, (data->>''c'')::int FROM events ON CONFLICT DO NOTHING', categories => '{a}', tables => '{deferred}');
SELECT es_create_projection('deferred', 'INSERT INTO deferred SELECT stream, (data->>''c'')::int FROM events ON CONFLICT DO NOTHING', categories => '{a}');
SELECT es_create_projection('deferred', 'WITH d AS (DELETE FROM customer USING events WHERE false) INSERT INTO deferred SELECT stream FROM events', 'async', categories => '{a}');
CREATE FUNCTION write_deferred(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO deferred VALUES (e.stream, (e.data->>'c')::int); END $$;
SELECT es_create_projection('deferred', 'SELECT write_deferred(e) FROM events e', categories => '{a}', tables => '{deferred}');
ALTER TABLE deferred ALTER CONSTRAINT deferred_customer_fkey DEFERRABLE INITIALLY IMMEDIATE;
SELECT es_create_projection('deferred', 'INSERT INTO deferred SELECT stream, (data->>''c'')::int FROM events ON CONFLICT (id) DO NOTHING', categories => '{a}', tables => '{deferred}');
SELECT es_append('a-1', 0, 'A', '{"c": 1}');
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
SELECT es_append('a-2', 0, 'A', '{"c": 1}');
ROLLBACK;
SELECT es_drop_projection('deferred');
ALTER TABLE deferred ALTER CONSTRAINT deferred_customer_fkey NOT DEFERRABLE;
SELECT es_create_projection('deferred', 'INSERT INTO deferred SELECT stream, (data->>''c'')::int FROM events ON CONFLICT (id) DO NOTHING', categories => '{a}', tables => '{deferred}');
-- One that comes later, and one of a table that is declared: the append says what to do.
ALTER TABLE deferred ALTER CONSTRAINT deferred_customer_fkey DEFERRABLE INITIALLY DEFERRED;
SELECT es_create_projection('declared', 'SELECT (data->>''c'')::int AS c, count(*) AS n FROM events GROUP BY 1', categories => '{b}');
ALTER TABLE declared ADD FOREIGN KEY (c) REFERENCES customer DEFERRABLE INITIALLY DEFERRED;
\set VERBOSITY default
CREATE FUNCTION hint(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	hint text;
BEGIN
	EXECUTE call;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || hint;
END
$$;
SELECT hint('SELECT es_append(''a-3'', 0, ''A'', ''{"c": 1}'')'), hint('SELECT es_append(''b-1'', 0, ''A'', ''{"c": 1}'')');
SELECT es_drop_projection('deferred'), es_drop_projection('declared', true);
-- Unique constraints, exclusion, triggers; and a foreign key that another table has
CREATE TABLE unique_later (id text UNIQUE DEFERRABLE INITIALLY DEFERRED, n int, CONSTRAINT apart EXCLUDE USING btree (n WITH =) DEFERRABLE);
SELECT es_create_projection('u', 'INSERT INTO unique_later SELECT stream FROM events', 'async', categories => '{a}', tables => '{unique_later}');
ALTER TABLE unique_later DROP CONSTRAINT unique_later_id_key;
SELECT es_create_projection('u', 'INSERT INTO unique_later SELECT stream FROM events', 'async', categories => '{a}', tables => '{unique_later}');
SELECT es_drop_projection('u');
CREATE TABLE watched (id text PRIMARY KEY);
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON watched DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
SELECT es_create_projection('w', 'INSERT INTO watched SELECT stream FROM events', 'async', categories => '{a}', tables => '{watched}');
ALTER TABLE watched DISABLE TRIGGER later;
CREATE TABLE watcher (id text REFERENCES watched DEFERRABLE INITIALLY DEFERRED);
SELECT es_create_projection('w', 'INSERT INTO watched SELECT stream FROM events', 'async', categories => '{a}', tables => '{watched}');
SELECT es_drop_projection('w');

-- Temporary tables
CREATE TEMP TABLE passing (id text PRIMARY KEY);
SELECT es_create_projection('t', 'INSERT INTO passing SELECT stream FROM events', categories => '{a}');
SELECT es_create_projection('t', 'INSERT INTO passing SELECT stream FROM events', categories => '{a}', tables => '{passing}');
SELECT es_create_projection('t', 'INSERT INTO watched SELECT p.id FROM events JOIN passing p ON p.id = stream', 'async', categories => '{a}');
DROP TABLE passing;

-- Columns that can not be null, and that nobody sets
CREATE TABLE strict (id text PRIMARY KEY, a int NOT NULL, b int NOT NULL DEFAULT 1, c int GENERATED ALWAYS AS IDENTITY, d int NOT NULL GENERATED ALWAYS AS (a + 1) STORED, e int);
SELECT es_create_projection('s', 'INSERT INTO strict (id) SELECT stream FROM events', categories => '{a}');
SELECT es_create_projection('s', 'INSERT INTO strict SELECT stream FROM events', categories => '{a}');
SELECT es_create_projection('s', 'WITH i AS (INSERT INTO strict (a) SELECT 1 FROM events) SELECT 1', categories => '{a}');
SELECT es_create_projection('s', 'MERGE INTO strict s USING events e ON s.id = e.stream WHEN MATCHED THEN UPDATE SET e = 1 WHEN NOT MATCHED THEN INSERT (id) VALUES (e.stream)', categories => '{a}');
SELECT es_create_projection('s', 'INSERT INTO strict (id, a) SELECT stream, 1 FROM events', 'async', categories => '{a}'), es_create_projection('s2', 'UPDATE strict s SET e = 1 FROM events WHERE s.id = stream', 'async', categories => '{a}'),
	   es_create_projection('s3', 'MERGE INTO strict s USING events e ON s.id = e.stream WHEN NOT MATCHED THEN INSERT (id, a) VALUES (e.stream, 1)', 'async', categories => '{a}');
CREATE DOMAIN filled AS int DEFAULT 3;
CREATE TABLE by_domain (id text PRIMARY KEY, n filled NOT NULL);
SELECT es_create_projection('s0', 'INSERT INTO by_domain SELECT stream FROM events', 'async', categories => '{a}');
CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.a := 7; RETURN NEW; END $$;
CREATE TRIGGER fill BEFORE INSERT ON strict FOR EACH ROW EXECUTE FUNCTION fill();
SELECT es_create_projection('s4', 'INSERT INTO strict (id) SELECT stream FROM events', 'async', categories => '{a}');
SELECT es_create_projection('s5', 'INSERT INTO strict (id) SELECT stream FROM events', 'async', categories => '{a}', tables => '{strict}');
CREATE VIEW strict_view AS SELECT id, a FROM strict;
SELECT es_create_projection('s6', 'INSERT INTO strict_view (id) SELECT stream FROM events', 'async', categories => '{a}');
SELECT count(es_drop_projection(name)) FROM eventstore.projections;

-- What can not be replayed beside its tables
CREATE TABLE seen (id text PRIMARY KEY, n int NOT NULL DEFAULT 1);
CREATE TABLE other (id text);
CREATE FUNCTION by_schema(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_target.seen VALUES (e.stream) ON CONFLICT (id) DO UPDATE SET n = seen.n + 1; END $$;
CREATE FUNCTION by_string(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'INSERT INTO "test_target" . Seen VALUES ($1)' USING e.stream; END $$;
CREATE FUNCTION by_comment(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN -- not test_target.seen
	/* nor test_target.seen */ INSERT INTO seen VALUES (e.stream || (SELECT test_target.plain(seen.id) FROM seen LIMIT 1)); END $$;
CREATE FUNCTION by_path(e eventstore.event) RETURNS void LANGUAGE plpgsql SET search_path = test_target, pg_temp AS $$ BEGIN INSERT INTO seen VALUES (e.stream); END $$;
CREATE FUNCTION by_good_path(e eventstore.event) RETURNS void LANGUAGE plpgsql SET search_path = pg_temp, test_target AS $$ BEGIN INSERT INTO seen VALUES (e.stream); END $$;
CREATE FUNCTION by_body(e eventstore.event) RETURNS int LANGUAGE sql BEGIN ATOMIC INSERT INTO seen VALUES (e.stream) RETURNING n; END;
CREATE FUNCTION plain(id text) RETURNS text LANGUAGE sql AS $$ SELECT id $$;
CREATE VIEW seen_view AS SELECT * FROM seen;
CREATE VIEW seen_above AS SELECT * FROM seen_view;
SELECT es_create_projection('r1', 'SELECT by_schema(e) FROM events e', categories => '{c}', tables => '{seen}');
SELECT es_create_projection('r2', 'SELECT by_string(e) FROM events e', 'async', categories => '{none}', tables => '{seen}');
SELECT es_create_projection('r3', 'SELECT by_comment(e) FROM events e', 'async', categories => '{none}', tables => '{seen}');
SELECT es_create_projection('r4', 'SELECT by_path(e) FROM events e', 'async', categories => '{none}', tables => '{seen}');
SELECT es_create_projection('r5', 'SELECT by_good_path(e) FROM events e', 'async', categories => '{none}', tables => '{seen}');
SELECT es_create_projection('r6', 'SELECT by_body(e) FROM events e', 'async', categories => '{none}', tables => '{seen}');
SELECT es_create_projection('r7', 'INSERT INTO seen SELECT stream FROM events WHERE stream NOT IN (SELECT id FROM seen_above)', 'async', categories => '{none}', tables => '{seen}');
SELECT es_create_projection('r8', 'SELECT by_schema(e) FROM events e', 'async', categories => '{none}', tables => '{other}');
SELECT es_create_projection('r9', 'SELECT by_schema(e) FROM events e', 'async', categories => '{none}');
SELECT es_create_projection('r10', 'INSERT INTO test_target.seen SELECT test_target.plain(stream) FROM events', 'async', categories => '{none}', tables => '{seen}');
SELECT count(es_drop_projection(name)) FROM eventstore.projections WHERE name <> 'r1';

SET client_min_messages = notice;
-- Rebuilt in place: readers and the row version see the old rows until the commit; verify and as of say that they can not.
SELECT es_append('c-1', 0, '[{"type": "A"}, {"type": "B"}]'), es_append('c-2', 0, 'A', '{}');
SELECT * FROM seen ORDER BY id;
UPDATE seen SET n = 77;
INSERT INTO seen VALUES ('c-3');
\set VERBOSITY terse
SELECT * FROM es_verify_projection('r1');
SELECT es_projection_as_of('r1', 'seen_then');
\set VERBOSITY default
SELECT es_rebuild_projection('r1');
SELECT * FROM seen ORDER BY id;
SELECT state, events_applied FROM eventstore.projection_status WHERE name = 'r1';
SELECT es_append('c-2', 1, 'B', '{}');
SELECT * FROM seen ORDER BY id;
-- A failure leaves everything as it was; so does what it must not do.
CREATE OR REPLACE FUNCTION by_schema(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN IF e.type = 'B' THEN RAISE 'no B'; END IF; INSERT INTO test_target.seen VALUES (e.stream) ON CONFLICT (id) DO UPDATE SET n = seen.n + 1; END $$;
\set VERBOSITY terse
SELECT es_rebuild_projection('r1');
CREATE OR REPLACE FUNCTION by_schema(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO other VALUES (e.stream); INSERT INTO test_target.seen VALUES (e.stream) ON CONFLICT (id) DO UPDATE SET n = seen.n + 1; END $$;
SELECT es_rebuild_projection('r1');
CREATE OR REPLACE FUNCTION by_schema(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_target.seen VALUES (e.stream) ON CONFLICT (id) DO UPDATE SET n = seen.n + 1; INSERT INTO other VALUES (e.stream); END $$;
SELECT es_rebuild_projection('r1');
CREATE OR REPLACE FUNCTION by_schema(e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_target.seen VALUES (e.stream) ON CONFLICT (id) DO UPDATE SET n = seen.n + 1; PERFORM es_append('d-1', -1, 'D', '{}'); END $$;
SELECT es_rebuild_projection('r1');
SELECT * FROM seen ORDER BY id;
TABLE other;
-- Triggers that change rows, and foreign keys that cascade; async, and paused
CREATE TABLE parent (id text PRIMARY KEY);
CREATE TABLE child (id text REFERENCES parent ON DELETE CASCADE, n int);
CREATE FUNCTION double() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := NEW.n * 2; RETURN NEW; END $$;
CREATE TRIGGER double BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION double();
\set VERBOSITY default
SET client_min_messages = warning;
CREATE FUNCTION family(e eventstore.event) RETURNS void LANGUAGE plpgsql AS
$$
BEGIN
	CASE e.type
		WHEN 'A' THEN INSERT INTO parent VALUES (e.stream);
		WHEN 'B' THEN INSERT INTO child VALUES (e.stream, 2);
		WHEN 'Gone' THEN DELETE FROM parent WHERE id = e.stream;
	END CASE;
END
$$;
SELECT es_create_projection('family', 'SELECT family(e) FROM events e', 'async', categories => '{e}', tables => '{parent,child}');
SET client_min_messages = notice;
SELECT es_append('e-1', 0, 'A', '{}'), es_append('e-2', 0, 'A', '{}'), es_append('e-1', 1, 'B', '{}'), es_append('e-2', 1, 'B', '{}'), es_append('e-2', 2, 'Gone', '{}');
SELECT es_run_projection('family');
SELECT * FROM parent JOIN child USING (id);
DELETE FROM child;
SELECT es_pause_projection('family');
DROP TRIGGER double ON child;
SELECT es_rebuild_projection('family');
SELECT state, events_applied, lag FROM eventstore.projection_status WHERE name = 'family';
CREATE TRIGGER double BEFORE INSERT ON child FOR EACH ROW EXECUTE FUNCTION double();
SELECT es_rebuild_projection('family');
SELECT * FROM parent JOIN child USING (id);
-- A table that another one refers to can not be emptied.
CREATE TABLE stranger (id text REFERENCES parent);
INSERT INTO stranger VALUES ('e-1');
SELECT es_rebuild_projection('family');
SELECT * FROM parent JOIN child USING (id);

SET client_min_messages = warning;
DROP SCHEMA test_target CASCADE;
DROP EXTENSION eventstore CASCADE;
