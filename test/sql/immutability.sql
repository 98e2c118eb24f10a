-- Stored events are never changed: every way of writing to the table, for everyone, superusers included, raises SE007.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
CREATE SCHEMA test_immutability;
SET search_path = test_immutability, public;

CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	row_count bigint;
BEGIN
	EXECUTE call;
	GET DIAGNOSTICS row_count = ROW_COUNT;
	RETURN 'done, rows: ' || row_count;
EXCEPTION
	WHEN OTHERS THEN
		RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

SELECT es_append('immutability-1', 0, '[{"type": "A"}, {"type": "B"}]');
CREATE TABLE before AS SELECT * FROM eventstore.events WHERE category = 'immutability';

CREATE TABLE ways (nr int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO ways (call) VALUES
	('UPDATE eventstore.events SET type = ''X'''),
	('UPDATE eventstore.events SET type = type'),
	('UPDATE eventstore.events SET data = ''{}'' WHERE stream = ''immutability-1'' AND version = 1'),
	('UPDATE eventstore.events SET data = ''{}'' WHERE false'),
	('UPDATE ONLY eventstore.events SET data = ''{}'' WHERE stream = ''immutability-none'''),
	('UPDATE eventstore.events e SET data = ''{}'' FROM before b WHERE b.position = e.position'),
	('WITH changed AS (UPDATE eventstore.events SET data = ''{}'' RETURNING *) SELECT count(*) FROM changed'),
	('DELETE FROM eventstore.events'),
	('DELETE FROM eventstore.events WHERE stream = ''immutability-1'''),
	('DELETE FROM eventstore.events WHERE false'),
	('DELETE FROM eventstore.events e USING before b WHERE b.position = e.position'),
	('WITH gone AS (DELETE FROM eventstore.events RETURNING *) SELECT count(*) FROM gone'),
	('TRUNCATE eventstore.events'),
	('TRUNCATE eventstore.events CASCADE'),
	('TRUNCATE eventstore.events RESTART IDENTITY'),
	('TRUNCATE before, eventstore.events'),
	('MERGE INTO eventstore.events e USING before b ON b.position = e.position WHEN MATCHED THEN UPDATE SET data = ''{}'''),
	('MERGE INTO eventstore.events e USING before b ON b.position = e.position WHEN MATCHED THEN DELETE'),
	('MERGE INTO eventstore.events e USING before b ON false WHEN MATCHED THEN DELETE'),
	('INSERT INTO eventstore.events SELECT * FROM before ON CONFLICT DO NOTHING'),
	('SELECT FROM eventstore.events WHERE version < 0 FOR UPDATE');

SELECT call, attempt(call) FROM ways ORDER BY nr;
-- A replica's session
SET session_replication_role = replica;
SELECT count(*) AS ways, count(*) FILTER (WHERE attempt(call) LIKE 'SE007 %') AS refused FROM ways;
SET session_replication_role = local;
SELECT count(*) AS ways, count(*) FILTER (WHERE attempt(call) LIKE 'SE007 %') AS refused FROM ways;
RESET session_replication_role;

-- Through a view, a rule, a function
CREATE VIEW view AS SELECT * FROM eventstore.events;
SELECT attempt('UPDATE view SET data = ''{}'''), attempt('DELETE FROM view WHERE stream = ''immutability-1''');
CREATE RULE rule AS ON INSERT TO before DO INSTEAD DELETE FROM eventstore.events WHERE stream = new.stream;
SELECT attempt('INSERT INTO before SELECT * FROM before');

-- A role that may do everything with tables but is no superuser
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_es_writer;
CREATE ROLE regress_es_writer;
RESET client_min_messages;
GRANT USAGE ON SCHEMA eventstore TO regress_es_writer;
GRANT USAGE ON SCHEMA test_immutability TO regress_es_writer;
GRANT ALL ON eventstore.events TO regress_es_writer;
SET ROLE regress_es_writer;
SELECT test_immutability.attempt('UPDATE eventstore.events SET data = ''{}''');
SELECT test_immutability.attempt('TRUNCATE eventstore.events');
RESET ROLE;
DROP OWNED BY regress_es_writer;
DROP ROLE regress_es_writer;

-- The DETAIL says what to call instead.
DO $$
DECLARE
	detail text;
BEGIN
	DELETE FROM eventstore.events;
EXCEPTION
	WHEN SQLSTATE 'SE007' THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RAISE NOTICE '% %, detail: %', SQLSTATE, SQLERRM, CASE WHEN detail <> '' THEN 'yes' ELSE 'no' END;
END $$;

-- A failed change in a transaction, and an append after it
BEGIN;
SAVEPOINT a;
\set VERBOSITY sqlstate
DELETE FROM eventstore.events;
ROLLBACK TO a;
\set VERBOSITY default
SELECT es_append('immutability-1', 2, 'C', '{}');
COMMIT;

-- Nothing has changed.
SELECT count(*) FROM (SELECT to_jsonb(b) AS row FROM before b) b FULL JOIN (SELECT to_jsonb(e) AS row FROM eventstore.events e WHERE category = 'immutability' AND type <> 'C') e USING (row)
WHERE b IS NULL OR e IS NULL;
SELECT version, type, data FROM es_read('immutability-1');
SET client_min_messages = warning;
DROP SCHEMA test_immutability CASCADE;
