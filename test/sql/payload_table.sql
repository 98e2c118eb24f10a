-- What a DBA puts on eventstore.events while it is one table, unique and foreign keys, may refuse an event: the error does not show the
-- event's data.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore;
CREATE EXTENSION eventstore;
RESET client_min_messages;
CREATE SCHEMA test_payload_table;
SET search_path = test_payload_table, public;
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
	context := regexp_replace(replace(context, call, 'the call'), '\n?(SQL statement|PL/pgSQL function (test_payload_table\.)?attempt)[^\n]*', '', 'g');
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

ALTER TABLE eventstore.events ADD COLUMN pin text GENERATED ALWAYS AS (data ->> 'pin') STORED;
SELECT es_append('payload-1', -1, 'Sent', '{"pin": "SECRET"}');

-- A unique key of what messages must not show, and one of what they may
CREATE UNIQUE INDEX one_pin ON eventstore.events (pin);
SELECT attempt_all('Sent', '{"pin": "SECRET"}');
DROP INDEX eventstore.one_pin;
ALTER TABLE eventstore.events ADD CONSTRAINT one_pin UNIQUE (pin);
SELECT attempt_all('Sent', '{"pin": "SECRET"}');
ALTER TABLE eventstore.events DROP pin;
CREATE UNIQUE INDEX one_data ON eventstore.events (stream, recorded_at, data, metadata, tags) WHERE category = 'paid';
SELECT attempt($$SELECT es_append('paid-1', -1, '[{"type": "A", "data": "SECRET", "metadata": {"pin": "SECRET"}, "tags": ["SECRET"]}, {"type": "B", "data": "SECRET", "metadata": {"pin": "SECRET"}, "tags": ["SECRET"]}]')$$);
DROP INDEX eventstore.one_data;
SELECT es_append('paid-1', 0, 'Sent', '{"pin": "SECRET"}', NULL, NULL, '{SECRET}');
CREATE UNIQUE INDEX one_data ON eventstore.events (stream, data) WHERE category = 'paid';
SELECT attempt_all('Sent', '{"pin": "SECRET"}', 'paid-1');
DROP INDEX eventstore.one_data;
CREATE UNIQUE INDEX one_data ON eventstore.events ((data ->> 'pin'), type) WHERE category = 'paid';
SELECT attempt_all('Sent', '{"pin": "SECRET"}', 'paid-1');
DROP INDEX eventstore.one_data;
ALTER TABLE eventstore.events ADD CONSTRAINT one_data EXCLUDE USING btree (stream WITH =, data WITH =) WHERE (category = 'paid');
SELECT attempt_all('Sent', '{"pin": "SECRET"}', 'paid-1');
ALTER TABLE eventstore.events DROP CONSTRAINT one_data;
ALTER TABLE eventstore.events ADD CONSTRAINT one_type EXCLUDE USING btree (stream WITH =, type WITH =) WHERE (category = 'paid');
SELECT attempt_all('Sent', '{"pin": "SECRET"}', 'paid-1');
ALTER TABLE eventstore.events DROP CONSTRAINT one_type;
-- A foreign key from the type, and one from what must not be shown
CREATE TABLE types (type text COLLATE "C" PRIMARY KEY);
INSERT INTO types VALUES ('Sent');
ALTER TABLE eventstore.events ADD CONSTRAINT known_type FOREIGN KEY (type) REFERENCES types NOT VALID;
SELECT attempt_all('Bad', '{"pin": "SECRET"}');
ALTER TABLE eventstore.events DROP CONSTRAINT known_type, ADD COLUMN pin text GENERATED ALWAYS AS (data ->> 'pin') STORED;
ALTER TABLE eventstore.events ADD CONSTRAINT known_pin FOREIGN KEY (pin) REFERENCES types NOT VALID;
SELECT attempt_all('Sent', '{"pin": "SECRET"}');
ALTER TABLE eventstore.events DROP CONSTRAINT known_pin, DROP pin;

SET client_min_messages = warning;
DROP SCHEMA test_payload_table CASCADE;
