-- Moving events into a store: where lines wait until they are imported, and what imports them, batch by batch. docs/migrate.md says how to use it.
--
-- Run it in the database that events are to come to, as a role with the level admin that may create a schema:  psql -X -f examples/move/begin.sql
-- It may be run again. DROP SCHEMA moving CASCADE ends it.

SET client_min_messages = warning;
CREATE SCHEMA IF NOT EXISTS moving;

-- A line is an event as es_export writes it: text, as it is read once only, by the import. What is copied again is passed over.
CREATE TABLE IF NOT EXISTS moving.lines
(
	line  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	event text NOT NULL
);

-- How far it is. The row changes in the transaction of each batch, so it says what is so, whatever is killed.
CREATE TABLE IF NOT EXISTS moving.progress
(
	line     bigint NOT NULL,
	imported bigint NOT NULL
);
INSERT INTO moving.progress SELECT 0, 0 WHERE NOT EXISTS (SELECT FROM moving.progress);

-- Where to export from: after the last event that has arrived.
CREATE OR REPLACE FUNCTION moving.arrived() RETURNS bigint LANGUAGE sql AS
$$
	SELECT coalesce((SELECT (event::jsonb->>'position')::bigint FROM moving.lines ORDER BY line DESC LIMIT 1), 0)
$$;

-- Imports the lines that have arrived. Each batch is a transaction: the head waits for one at a time, and nothing is lost when it ends in the middle.
-- Call it again, and it goes on where it was.
CREATE OR REPLACE PROCEDURE moving.import(batch int DEFAULT 10000) LANGUAGE plpgsql AS
$$
DECLARE
	begun   timestamptz := clock_timestamp();
	total   bigint := (SELECT count(*) FROM moving.lines WHERE line > (SELECT p.line FROM moving.progress p));
	done    bigint := 0;
	first   bigint;
	last    bigint;
	lines   bigint;
	events  jsonb;
	is_new  bigint;
BEGIN
	LOOP
		PERFORM set_config('jit', 'off', true);
		-- Of two at once, the second waits for the batch of the first.
		SELECT line INTO first FROM moving.progress FOR UPDATE;
		SELECT ('[' || string_agg(l.event, ',' ORDER BY l.line) || ']')::jsonb, count(*), max(l.line) INTO events, lines, last
		FROM (SELECT n.line, n.event FROM moving.lines n WHERE n.line > first ORDER BY n.line LIMIT batch) l;
		EXIT WHEN lines = 0;
		is_new := es_import(events);
		UPDATE moving.progress SET line = last, imported = imported + is_new;
		COMMIT;
		done := done + lines;
		RAISE NOTICE '% of % lines (% %%), % a second', done, total, 100 * done / greatest(total, done), (done / greatest(extract(epoch FROM clock_timestamp() - begun), 0.001))::bigint;
	END LOOP;
	COMMIT;
END
$$;
