-- Whatever makes an insertion into eventstore.events more than a row and its keys is seen to when it stands there alone: each case
-- changes the table in one way, and appends one event and then a batch.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore;
CREATE EXTENSION eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_direct;
SET search_path = test_direct, public;

CREATE TABLE log (line text);
CREATE SEQUENCE goods;
CREATE FUNCTION log_call() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
	INSERT INTO test_direct.log VALUES (concat_ws(' ', TG_WHEN, TG_LEVEL, NEW.type));
	RETURN NEW;
END
$$;
\i test/direct.sql
-- The types that an index finds of what one event and a batch of two have left in a stream of its own.
CREATE FUNCTION found(index text, condition text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	plan  text;
	types text;
BEGIN
	PERFORM public.es_append('direct-' || index, 0, 'A', '{"n": 1}', NULL, NULL, '{x}');
	PERFORM public.es_append('direct-' || index, 1, '[{"type": "B", "data": {"n": 2}, "tags": ["x"]}, {"type": "C", "data": {"n": 3}, "tags": ["y"]}]');
	condition := format('FROM eventstore.events WHERE %s', condition);
	FOR plan IN EXECUTE 'EXPLAIN SELECT ' || condition
	LOOP
		IF plan LIKE '%' || index || '%' THEN
			EXECUTE 'SELECT string_agg(type, '' '' ORDER BY version) ' || condition INTO types;
			RETURN types;
		END IF;
	END LOOP;
	RETURN 'not used';
END
$$;

SELECT plan(22);

-- Columns that must not be null, while there are no events
ALTER TABLE eventstore.events ALTER metadata SET NOT NULL;
SELECT is(refused('{"type": "Bad", "tags": []}'), '23502 23502', 'metadata that must not be null');
ALTER TABLE eventstore.events ALTER metadata DROP NOT NULL;
ALTER TABLE eventstore.events ALTER tags SET NOT NULL;
SELECT is(refused('{"type": "Bad", "metadata": {}}'), '23502 23502', 'tags that must not be null');
ALTER TABLE eventstore.events ALTER tags DROP NOT NULL;

SELECT is(logged(), NULL, 'nothing');
SELECT is((SELECT string_agg(version || type || coalesce(id::text, 'no id'), ' ' ORDER BY version) FROM es_read('direct-1')) ~ '^1X[-0-9a-f]{36} 2Y[-0-9a-f]{36} 3Z[-0-9a-f]{36}$',
	true, 'and the events are there');

-- Triggers
CREATE TRIGGER t BEFORE INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION log_call();
SELECT is(logged(), 'BEFORE ROW X, BEFORE ROW Y, BEFORE ROW Z', 'a trigger before each row');
DROP TRIGGER t ON eventstore.events;
CREATE TRIGGER t AFTER INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION log_call();
SELECT is(logged(), 'AFTER ROW X, AFTER ROW Y, AFTER ROW Z', 'a trigger after each row');
DROP TRIGGER t ON eventstore.events;
CREATE TRIGGER t BEFORE INSERT ON eventstore.events EXECUTE FUNCTION log_call();
SELECT is(logged(), 'BEFORE STATEMENT, BEFORE STATEMENT', 'a trigger before the statement');
DROP TRIGGER t ON eventstore.events;
CREATE TRIGGER t AFTER INSERT ON eventstore.events EXECUTE FUNCTION log_call();
SELECT is(logged(), 'AFTER STATEMENT, AFTER STATEMENT', 'a trigger after the statement');
DROP TRIGGER t ON eventstore.events;
CREATE TRIGGER t AFTER INSERT ON eventstore.events REFERENCING NEW TABLE AS new_table EXECUTE FUNCTION log_table();
SELECT is(logged(), 'AFTER STATEMENT X, AFTER STATEMENT Y+Z', 'a transition table of the statement');
DROP TRIGGER t ON eventstore.events;
SELECT is(logged(), NULL, 'and no trigger again');

-- Constraints
ALTER TABLE eventstore.events ADD CONSTRAINT c CHECK (type <> 'Bad') NOT VALID;
SELECT is(refused('{"type": "Bad"}'), '23514 23514', 'a check');
ALTER TABLE eventstore.events DROP CONSTRAINT c;
CREATE TABLE whole (LIKE eventstore.events) PARTITION BY LIST (type);
CREATE TABLE other PARTITION OF whole FOR VALUES IN ('Barred');
ALTER TABLE whole ATTACH PARTITION eventstore.events DEFAULT;
SELECT is(refused('{"type": "Barred"}'), '23514 23514', 'the bound of a partition');
ALTER TABLE whole DETACH PARTITION eventstore.events;
SELECT is(refused('{"type": "Barred"}'), 'stored stored', 'nothing is refused any more');

-- Indexes of the user's
SET enable_seqscan = off;
SET enable_bitmapscan = off;
CREATE INDEX plain ON eventstore.events (type, tags, stream) INCLUDE (version);
SELECT is(found('plain', $$type IN ('A', 'B', 'C') AND tags >= '{}' AND stream = 'direct-plain'$$), 'A B C', 'a B-tree index of several columns');
DROP INDEX eventstore.plain;
CREATE INDEX by_expression ON eventstore.events ((data ->> 'n'));
SELECT is(found('by_expression', $$data ->> 'n' IN ('1', '3') AND stream || '' = 'direct-by_expression'$$), 'A C', 'an index of an expression');
DROP INDEX eventstore.by_expression;
CREATE INDEX several ON eventstore.events (stream) WHERE type = 'B';
SELECT is(found('several', $$stream = 'direct-several' AND type = 'B'$$), 'B', 'an index of some events');
DROP INDEX eventstore.several;
SET enable_bitmapscan = on;
CREATE INDEX by_tags ON eventstore.events USING gin (tags);
SELECT is(found('by_tags', $$tags @> '{x}' AND stream || '' = 'direct-by_tags'$$), 'A B', 'an index that is no B-tree');
DROP INDEX eventstore.by_tags;
CREATE INDEX by_time ON eventstore.events USING brin (recorded_at) WITH (pages_per_range = 1, autosummarize = on);
SELECT is(found('by_time', $$recorded_at > '2000-01-01' AND stream || '' = 'direct-by_time'$$), 'A B C', 'nor this one');
DROP INDEX eventstore.by_time;

-- Columns; a dropped one is never quite gone
ALTER TABLE eventstore.events ADD COLUMN note text DEFAULT 'noted';
SELECT is(logged(), NULL, 'a default');
SELECT is((SELECT count(*) FROM eventstore.events WHERE stream = 'direct-1' AND version > (SELECT max(version) - 3 FROM es_read('direct-1')) AND note = 'noted'),
	3::bigint, 'is in each event');
ALTER TABLE eventstore.events DROP COLUMN note;
SELECT is(logged(), NULL, 'a column that was dropped');
SELECT is((SELECT count(*) FROM es_read('direct-1')), es_stream_version('direct-1'), 'all events are stored');

SELECT finish();
SET client_min_messages = warning;
DROP SCHEMA test_direct CASCADE;
-- Without the dropped column, for those that come after.
DROP EXTENSION eventstore;
