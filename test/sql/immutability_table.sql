-- Stored events are never changed: ways of writing to them that there are while eventstore.events is one table raise SE007.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
CREATE SCHEMA test_immutability_table;
SET search_path = test_immutability_table, public;

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

SELECT es_append('unchanged-1', 0, '[{"type": "A"}, {"type": "B"}]');
CREATE TABLE before AS SELECT * FROM eventstore.events WHERE category = 'unchanged';

CREATE TABLE referenced (type text COLLATE "C" PRIMARY KEY);
INSERT INTO referenced SELECT DISTINCT type FROM eventstore.events;
CREATE TABLE parent (LIKE eventstore.events);

CREATE TABLE ways (nr int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO ways (call) VALUES
	('INSERT INTO eventstore.events SELECT * FROM before ON CONFLICT (position) DO UPDATE SET data = ''{}'''),
	('INSERT INTO eventstore.events SELECT * FROM before ON CONFLICT (id) DO UPDATE SET data = ''{}'''),
	('INSERT INTO eventstore.events SELECT * FROM before ON CONFLICT (stream, version) DO UPDATE SET data = excluded.data'),
	('INSERT INTO eventstore.events SELECT * FROM before WHERE false ON CONFLICT (id) DO UPDATE SET data = ''{}''');
SELECT call, attempt(call) FROM ways ORDER BY nr;
SET session_replication_role = replica;
SELECT count(*) AS ways, count(*) FILTER (WHERE attempt(call) LIKE 'SE007 %') AS refused FROM ways;
RESET session_replication_role;

-- Through a foreign key
ALTER TABLE eventstore.events ADD CONSTRAINT to_referenced FOREIGN KEY (type) REFERENCES referenced ON DELETE CASCADE ON UPDATE CASCADE NOT VALID;
SELECT attempt('DELETE FROM referenced WHERE type = ''A''');
SELECT attempt('UPDATE referenced SET type = ''X'' WHERE type = ''A''');
SELECT attempt('TRUNCATE referenced CASCADE');
ALTER TABLE eventstore.events DROP CONSTRAINT to_referenced;

-- Through a table that inherits to it
ALTER TABLE eventstore.events INHERIT parent;
SELECT attempt('UPDATE parent SET data = ''"changed"'' WHERE stream = ''unchanged-1''') LIKE 'SE007 %' AS update_refused,
	   attempt('DELETE FROM parent WHERE stream = ''unchanged-1'' AND version = 2') LIKE 'SE007 %' AS delete_refused,
	   attempt('TRUNCATE parent') LIKE 'SE007 %' AS truncate_refused;
ALTER TABLE eventstore.events NO INHERIT parent;

-- Nothing has changed.
SELECT count(*) FROM (SELECT to_jsonb(b) AS row FROM before b) b FULL JOIN (SELECT to_jsonb(e) AS row FROM eventstore.events e WHERE category = 'unchanged') e USING (row)
WHERE b IS NULL OR e IS NULL;
SET client_min_messages = warning;
DROP SCHEMA test_immutability_table CASCADE;
