-- What a DBA puts on the store's tables may refuse an event: the error does not show the event's data.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
CREATE SCHEMA test_payload;
SET search_path = test_payload, public;
\pset tuples_only on
\pset format unaligned
\pset null -

-- All that an error says
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result  text;
	message text; detail text; hint text; context text; column_name text; constraint_name text; type_name text; table_name text; schema_name text;
BEGIN
	EXECUTE call INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT, column_name = COLUMN_NAME,
		constraint_name = CONSTRAINT_NAME, type_name = PG_DATATYPE_NAME, table_name = TABLE_NAME, schema_name = SCHEMA_NAME;
	-- A partition is called after the table.
	message := regexp_replace(message, '"events_\d+"', '"events"');
	table_name := regexp_replace(table_name, '^events_\d+$', 'events');
	context := regexp_replace(replace(context, call, 'the call'), '\n?(SQL statement|PL/pgSQL function (test_payload\.)?attempt)[^\n]*', '', 'g');
	RETURN concat_ws(E'\n  ', SQLSTATE || ' ' || message, nullif(detail, ''), nullif(hint, ''), nullif(context, ''),
					 nullif(concat_ws(' ', nullif(schema_name, ''), nullif(table_name, ''), nullif(constraint_name, ''), nullif(column_name, ''), nullif(type_name, '')), ''));
END
$$;
-- Alone, in a batch, and with an id of the caller's
CREATE FUNCTION attempt_all(type text, data jsonb, stream text DEFAULT 'payload-1') RETURNS SETOF text LANGUAGE sql AS
$$
	SELECT DISTINCT attempt(call)
	FROM unnest(ARRAY[format('SELECT es_append(%L, -1, %L, %L::jsonb, ''{"pin": "SECRET"}'', NULL, ''{SECRET}'')', stream, type, data),
					  format('SELECT es_append(%L, -1, ARRAY[%L], ARRAY[%L]::jsonb[], ARRAY[''{"pin": "SECRET"}'']::jsonb[], ARRAY[gen_random_uuid()])', stream, type, data)]) call
$$;

-- A constraint
ALTER TABLE eventstore.events ADD CONSTRAINT no_bad CHECK (type <> 'Bad') NOT VALID;
SELECT attempt_all('Bad', '{"pin": "SECRET"}');
SELECT attempt($$SELECT es_append('payload-1', -1, '[{"type": "Good", "data": "SECRET"}, {"type": "Bad", "data": "SECRET"}]')$$);
ALTER TABLE eventstore.events DROP CONSTRAINT no_bad, ADD CONSTRAINT adult CHECK ((data ->> 'age')::int > 17) NOT VALID;
SELECT attempt_all('Born', '{"age": "3"}');
SELECT attempt_all('Born', '{"age": "SECRET"}');
ALTER TABLE eventstore.events DROP CONSTRAINT adult, ADD CONSTRAINT document CHECK ((data ->> 'json')::jsonb IS NOT NULL) NOT VALID;
SELECT attempt_all('Sent', '{"json": "{SECRET"}');
SELECT attempt_all('Sent', '{"json": "\"\\u0000 SECRET\""}');
ALTER TABLE eventstore.events DROP CONSTRAINT document, ADD CONSTRAINT ratio CHECK (100 / (data ->> 'n')::int > 0) NOT VALID;
SELECT attempt_all('Sent', '{"n": 0}');
ALTER TABLE eventstore.events DROP CONSTRAINT ratio;
-- Of a function, which speaks for itself
CREATE FUNCTION is_right(data jsonb) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS
	$$ BEGIN IF data ? 'right' THEN RETURN true; END IF; RAISE 'the key "right" is missing' USING ERRCODE = '22023', HINT = 'Add it.'; END $$;
ALTER TABLE eventstore.events ADD CONSTRAINT is_right CHECK (test_payload.is_right(data)) NOT VALID;
SELECT attempt_all('Sent', '{"pin": "SECRET"}');
ALTER TABLE eventstore.events DROP CONSTRAINT is_right;
-- NOT NULL
ALTER TABLE eventstore.events ADD COLUMN pin text GENERATED ALWAYS AS (data ->> 'pin') STORED;
SELECT es_append('payload-1', -1, 'Sent', '{"pin": "SECRET"}');
ALTER TABLE eventstore.events ADD COLUMN other text GENERATED ALWAYS AS (data ->> 'other') STORED;
ALTER TABLE eventstore.events ADD CONSTRAINT has_other CHECK (other IS NOT NULL) NOT VALID;
SELECT attempt_all('Sent', '{"pin": "SECRET2"}');
ALTER TABLE eventstore.events DROP CONSTRAINT has_other, DROP other;
-- A generated column
ALTER TABLE eventstore.events ADD COLUMN born date GENERATED ALWAYS AS (make_date((data ->> 'year')::int, 1, 1)) STORED;
SELECT attempt_all('Born', '{"year": "SECRET"}');
SELECT attempt_all('Born', '{"year": "-2147483648"}');
ALTER TABLE eventstore.events DROP born;

ALTER TABLE eventstore.events DROP pin;

-- An index on an expression
CREATE INDEX by_age ON eventstore.events (((data ->> 'age')::int));
SELECT attempt_all('Born', '{"age": "SECRET"}');
DROP INDEX eventstore.by_age;
-- The condition of a trigger
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER old_ones AFTER INSERT ON eventstore.events FOR EACH ROW WHEN ((NEW.data ->> 'age')::int > 99) EXECUTE FUNCTION nothing();
SELECT attempt_all('Born', '{"age": "SECRET"}');
DROP TRIGGER old_ones ON eventstore.events;
-- What a trigger raises, also of another table, is its author's.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
	$$ BEGIN RAISE 'no' USING ERRCODE = '23514', DETAIL = 'chosen by its author', SCHEMA = 'test_payload', TABLE = 'events', CONSTRAINT = 'mine'; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT attempt_all('Sent', '{"pin": "SECRET"}');
DROP TRIGGER refuse ON eventstore.events;

-- Snapshots
SELECT es_append('paid-1', 0, 'Sent', '{}');
ALTER TABLE eventstore.snapshots ADD CONSTRAINT small CHECK (length(state::text) < 20) NOT VALID;
SELECT attempt($$SELECT es_save_snapshot('paid-1', 1, '{"state": "a long SECRET"}')$$);
ALTER TABLE eventstore.snapshots DROP CONSTRAINT small;
CREATE UNIQUE INDEX one_state ON eventstore.snapshots (state);
SELECT es_save_snapshot('paid-1', 1, '"SECRET"');
SELECT attempt($$SELECT es_save_snapshot('paid-1', 1, '"SECRET"', 2)$$);
DROP INDEX eventstore.one_state;

SET client_min_messages = warning;
DROP SCHEMA test_payload CASCADE;
