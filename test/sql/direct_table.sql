-- Whatever makes an insertion into eventstore.events more than a row and its keys is seen to when it stands there alone, of what a table
-- in partitions cannot have: each case changes the table in one way, and appends one event and then a batch.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore;
CREATE EXTENSION eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_direct_table;
SET search_path = test_direct_table, public;

CREATE TABLE log (line text);
CREATE SEQUENCE goods;
CREATE FUNCTION log_table() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO test_direct_table.log SELECT concat_ws(' ', TG_WHEN, TG_LEVEL, string_agg(type, '+')) FROM new_table; RETURN NULL; END $$;

-- One event, then two: what was logged.
CREATE FUNCTION logged() RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	lines text;
BEGIN
	DELETE FROM test_direct_table.log;
	PERFORM public.es_append('direct_table-1', -1, 'X', '{}');
	PERFORM public.es_append('direct_table-1', -1, '[{"type": "Y"}, {"type": "Z"}]');
	SELECT string_agg(line, ', ') FROM test_direct_table.log INTO lines;
	RETURN lines;
END
$$;
-- How one event fails, and a batch whose second event is the same.
CREATE FUNCTION refused(event jsonb) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	events jsonb;
	states text;
BEGIN
	FOREACH events IN ARRAY ARRAY[event, jsonb_build_array(jsonb_build_object('type', 'Good ' || nextval('test_direct_table.goods'), 'metadata', '{}'::jsonb, 'tags', '[]'::jsonb), event)]
	LOOP
		BEGIN
			PERFORM public.es_append('direct_table-2', -1, events);
			states := concat_ws(' ', states, 'stored');
		EXCEPTION
			WHEN OTHERS THEN
				states := concat_ws(' ', states, SQLSTATE);
		END;
	END LOOP;
	RETURN states;
END
$$;
SELECT plan(8);

CREATE TRIGGER t AFTER INSERT ON eventstore.events REFERENCING NEW TABLE AS new_table FOR EACH ROW EXECUTE FUNCTION log_table();
SELECT is(logged(), 'AFTER ROW X, AFTER ROW Y+Z, AFTER ROW Y+Z', 'a transition table of rows');
DROP TRIGGER t ON eventstore.events;
ALTER TABLE eventstore.events ADD CONSTRAINT at_last UNIQUE (stream, type, tags) DEFERRABLE;
SELECT is(refused('{"type": "Unlike", "tags": ["direct", "too"]}'), 'stored 23505', 'a deferrable constraint');
BEGIN;
SET CONSTRAINTS eventstore.at_last DEFERRED;
SELECT is(refused('{"type": "Unlike", "tags": ["direct", "too"]}'), 'stored stored', 'that is deferred');
SELECT throws_ok('SET CONSTRAINTS eventstore.at_last IMMEDIATE', '23505', NULL, 'and is checked then');
ROLLBACK;
ALTER TABLE eventstore.events DROP CONSTRAINT at_last;
CREATE UNIQUE INDEX once ON eventstore.events (stream, type, tags);
SELECT is(refused('{"type": "Once", "tags": ["direct"]}'), 'stored 23505', 'a unique one');
DROP INDEX eventstore.once;
CREATE UNIQUE INDEX several ON eventstore.events (stream) WHERE type = 'B';
SELECT is(refused('{"type": "A"}'), 'stored stored', 'another type');
SELECT is(refused('{"type": "B"}'), 'stored 23505', 'a unique index of some events');
DROP INDEX eventstore.several;
ALTER TABLE eventstore.events ADD CONSTRAINT unlike EXCLUDE USING btree (stream WITH =, type WITH =, tags WITH =);
SELECT is(refused('{"type": "Unlike", "tags": ["direct"]}'), 'stored 23P01', 'an exclusion constraint');
ALTER TABLE eventstore.events DROP CONSTRAINT unlike;

SELECT finish();
SET client_min_messages = warning;
DROP SCHEMA test_direct_table CASCADE;
DROP EXTENSION eventstore;
