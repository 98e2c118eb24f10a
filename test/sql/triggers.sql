-- Triggers, defaults, generated columns and constraints that users add to eventstore.events work as for INSERT: each case appends to
-- the store, inserts the same rows into a twin of the table with a plain INSERT, and compares what the triggers have logged.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_triggers;
SET search_path = test_triggers, public;

CREATE TABLE twin (LIKE eventstore.events INCLUDING ALL);
CREATE TABLE log (nr bigint GENERATED ALWAYS AS IDENTITY, on_table text, line text);

-- What a trigger was called with; rows without the columns that differ from run to run.
CREATE FUNCTION log_call() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
	line text := concat_ws(' ', TG_NAME, TG_WHEN, TG_OP, TG_LEVEL, array_to_string(TG_ARGV, ','));
	seen bigint;
BEGIN
	IF TG_LEVEL = 'ROW' THEN
		line := line || ' ' || (to_jsonb(NEW) - '{position,id,recorded_at}'::text[])::text
			|| CASE WHEN OLD IS NOT NULL THEN ' and an old row' ELSE '' END;
	END IF;
	EXECUTE format('SELECT count(*) FROM %s WHERE category = ''triggers''', TG_RELID::regclass) INTO seen;
	INSERT INTO test_triggers.log (on_table, line) VALUES (TG_TABLE_NAME, line || ', sees ' || seen);
	RETURN NEW;
END
$$;
CREATE FUNCTION log_transition() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
	INSERT INTO test_triggers.log (on_table, line)
	SELECT TG_TABLE_NAME, concat_ws(' ', TG_NAME, TG_WHEN, TG_OP, TG_LEVEL, 'of', count(*), left(string_agg(stream || version || type || data || coalesce(tags::text, '-'), ' ' ORDER BY position), 1000))
	FROM added;
	RETURN NULL;
END
$$;

-- The same trigger on both tables
CREATE FUNCTION on_both(definition text) RETURNS void LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE replace(definition, '$t', 'eventstore.events');
	EXECUTE replace(definition, '$t', 'test_triggers.twin');
END
$$;
-- Append, insert the same into the twin, and compare the logs. Tells what was logged, or the differences.
CREATE FUNCTION compare(call text, OUT line text) RETURNS SETOF text LANGUAGE plpgsql AS
$$
DECLARE
	columns text := (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'eventstore.event'::regclass AND attnum > 0);
	result  text;
BEGIN
	EXECUTE format('INSERT INTO test_triggers.twin (%s) SELECT %1$s FROM eventstore.events e WHERE NOT EXISTS (SELECT FROM twin t WHERE t.position = e.position)', columns);
	SET CONSTRAINTS ALL IMMEDIATE;
	TRUNCATE test_triggers.log;
	SET CONSTRAINTS ALL DEFERRED;
	EXECUTE 'SELECT string_agg(t::text, '' '') FROM (SELECT ' || call || ') t' INTO result;
	IF EXISTS (SELECT FROM eventstore.events e WHERE NOT EXISTS (SELECT FROM twin t WHERE t.position = e.position)) THEN
		EXECUTE format('INSERT INTO test_triggers.twin (%s) SELECT %1$s FROM eventstore.events e WHERE NOT EXISTS (SELECT FROM twin t WHERE t.position = e.position)'
					   ' ORDER BY position', columns);
	END IF;
	SET CONSTRAINTS ALL IMMEDIATE;
	IF ARRAY(SELECT l.line FROM log l WHERE on_table = 'events' ORDER BY nr) <> ARRAY(SELECT l.line FROM log l WHERE on_table = 'twin' ORDER BY nr) THEN
		RETURN QUERY SELECT 'DIFFERENT ' || l.on_table || ' ' || l.line FROM log l ORDER BY on_table, nr;
	ELSE
		RETURN QUERY SELECT l.line FROM log l WHERE on_table = 'events' ORDER BY nr;
	END IF;
END
$$;
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
BEGIN
	EXECUTE call INTO result;
	RETURN result;
EXCEPTION
	WHEN OTHERS THEN
		RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;

\pset tuples_only on
\pset format unaligned

-- Without any
SELECT compare($$es_append('triggers-0', -1, '[{"type": "A"}, {"type": "B"}]')$$);

-- Of all kinds; names are chosen against the order in which they fire
SELECT on_both('CREATE TRIGGER t3_before_row BEFORE INSERT ON $t FOR EACH ROW EXECUTE FUNCTION test_triggers.log_call()');
SELECT on_both('CREATE TRIGGER t2_before_row_when BEFORE INSERT ON $t FOR EACH ROW WHEN (NEW.type = ''B'') EXECUTE FUNCTION test_triggers.log_call(''x'', ''y'')');
SELECT on_both('CREATE TRIGGER t4_before_statement BEFORE INSERT ON $t EXECUTE FUNCTION test_triggers.log_call()');
SELECT on_both('CREATE TRIGGER t1_after_row AFTER INSERT ON $t FOR EACH ROW EXECUTE FUNCTION test_triggers.log_call()');
SELECT on_both('CREATE TRIGGER t0_after_statement AFTER INSERT ON $t EXECUTE FUNCTION test_triggers.log_call()');
SELECT on_both('CREATE TRIGGER t5_after_statement_new AFTER INSERT ON $t REFERENCING NEW TABLE AS added EXECUTE FUNCTION test_triggers.log_transition()');
SELECT on_both('CREATE TRIGGER t6_after_row_when AFTER INSERT ON $t FOR EACH ROW WHEN (NEW.version > 3 AND NEW.data <> ''{}'') EXECUTE FUNCTION test_triggers.log_call()');
SELECT on_both('CREATE TRIGGER t7_update AFTER UPDATE ON $t FOR EACH ROW EXECUTE FUNCTION test_triggers.log_call()');
SELECT on_both('CREATE TRIGGER t8_not_to_be AFTER INSERT ON $t FOR EACH ROW EXECUTE FUNCTION test_triggers.log_call()');
SELECT on_both('ALTER TABLE $t DISABLE TRIGGER t8_not_to_be');
SELECT on_both('CREATE CONSTRAINT TRIGGER t9_deferred AFTER INSERT ON $t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.type <> ''A'') EXECUTE FUNCTION test_triggers.log_call()');

SELECT compare($$es_append('triggers-1', 0, 'A', '{}')$$);
SELECT compare($$es_append('triggers-1', 1, '[{"type": "A", "tags": ["x"]}, {"type": "B", "data": 1}, {"type": "C", "data": 2, "metadata": {}}]')$$);
SELECT compare($$r FROM es_append_streams('[{"stream": "triggers-3", "expected_version": 0, "events": {"type": "B"}}, {"stream": "triggers-2", "expected_version": -1, "events": [{"type": "A"}, {"type": "C"}]}]') r$$);
-- Neither a conflict nor a retry inserts anything, so no trigger fires.
SELECT attempt($$SELECT es_append('triggers-1', 1, 'A', '{}')$$);
SELECT es_append('triggers-1', 4, 'A', '{}', NULL, 'd0000000-0000-0000-0000-000000000001');
SELECT compare($$es_append('triggers-1', 4, 'A', '{}', NULL, 'd0000000-0000-0000-0000-000000000001')$$);

-- Only transition tables and AFTER triggers: a batch larger than what goes to the table at once
SELECT on_both('DROP TRIGGER t3_before_row ON $t'), on_both('DROP TRIGGER t2_before_row_when ON $t');
SELECT compare($$es_append('triggers-4', 0, '[{"type": "A"}, {"type": "B", "data": 1}]')$$);
SELECT count(*), count(DISTINCT line), max(left(line, 80)) FILTER (WHERE line LIKE 't5%') AS transition, min(left(line, 9)) FILTER (WHERE line LIKE 'DIFF%') AS differences
FROM compare($$es_append('triggers-4', -1, (SELECT jsonb_agg(jsonb_build_object('type', 'A', 'data', i)) FROM generate_series(1, 700) i))$$);

-- Deferred to the end of the transaction, and at its end
BEGIN;
TRUNCATE log;
SELECT es_append('triggers-5', 0, 'B', '{}');
SELECT count(*) FILTER (WHERE line LIKE 't9%') FROM log;
SELECT es_append('triggers-5', 1, 'B', '{}');
COMMIT;
SELECT line FROM log WHERE line LIKE 't9%' ORDER BY nr;

-- session_replication_role: what a plain INSERT does not fire, an append does not
SELECT on_both('ALTER TABLE $t ENABLE REPLICA TRIGGER t0_after_statement');
SELECT on_both('ALTER TABLE $t ENABLE ALWAYS TRIGGER t1_after_row');
SET session_replication_role = replica;
SELECT compare($$es_append('triggers-6', 0, 'B', '{}')$$);
RESET session_replication_role;
SELECT compare($$es_append('triggers-6', 1, 'B', '{}')$$);

SELECT on_both(format('DROP TRIGGER %I ON $t', tgname)) FROM pg_trigger WHERE tgrelid = 'twin'::regclass AND NOT tgisinternal ORDER BY tgname;

-- Columns of the user's: defaults (constant, volatile, of a sequence), identity, generated, NOT NULL, dropped
CREATE SEQUENCE notes;
SELECT on_both('ALTER TABLE $t ADD COLUMN gone int DEFAULT 1, ADD COLUMN plain text, ADD COLUMN constant int NOT NULL DEFAULT 7, ADD COLUMN at timestamptz DEFAULT clock_timestamp(),'
	' ADD COLUMN length int GENERATED ALWAYS AS (length(data::text)) STORED, ADD COLUMN serial bigint NOT NULL DEFAULT nextval(''test_triggers.notes''), ADD COLUMN kind text GENERATED ALWAYS AS (category || ''/'' || type) STORED');
SELECT on_both('ALTER TABLE $t ADD COLUMN ident bigint GENERATED BY DEFAULT AS IDENTITY');
SELECT on_both('ALTER TABLE $t DROP COLUMN gone');
SELECT on_both('ALTER TABLE $t ALTER at DROP DEFAULT');
SELECT on_both('CREATE TRIGGER t1_before_row BEFORE INSERT ON $t FOR EACH ROW EXECUTE FUNCTION test_triggers.log_call()');
SELECT on_both('CREATE TRIGGER t2_after_row AFTER INSERT ON $t FOR EACH ROW WHEN (NEW.length > 2) EXECUTE FUNCTION test_triggers.log_call()');
ALTER SEQUENCE notes RESTART;
SELECT setval(pg_get_serial_sequence('eventstore.events', 'ident'), 100), setval(pg_get_serial_sequence('test_triggers.twin', 'ident'), 100);
SELECT on_both('ALTER TABLE $t ALTER serial SET DEFAULT 5');
SELECT compare($$es_append('triggers-7', 0, '[{"type": "A"}, {"type": "B", "data": {"n": 1}}]')$$);
SELECT on_both('DROP TRIGGER t1_before_row ON $t'), on_both('DROP TRIGGER t2_after_row ON $t');
ALTER TABLE eventstore.events ALTER serial SET DEFAULT nextval('test_triggers.notes'), ALTER at SET DEFAULT clock_timestamp();
SELECT es_append('triggers-8', 0, (SELECT jsonb_agg(jsonb_build_object('type', 'A', 'data', i)) FROM generate_series(1, 600) i));
SELECT count(*), count(DISTINCT serial), max(serial) - min(serial), count(DISTINCT at) > 1, count(DISTINCT ident), min(constant), max(plain), sum(length), min(kind)
FROM eventstore.events WHERE stream = 'triggers-8';
SELECT version, serial, ident, length, kind FROM eventstore.events WHERE stream = 'triggers-8' AND version IN (1, 256, 257, 600) ORDER BY 1;

-- Constraints and indexes of the user's
ALTER TABLE eventstore.events ADD CONSTRAINT no_evil CHECK (type <> 'Evil' AND constant < 8) NOT VALID;
ALTER TABLE eventstore.events ADD CONSTRAINT small CHECK (length < 100000) NOT VALID;
CREATE UNIQUE INDEX once ON eventstore.events (stream, type) WHERE type LIKE 'Once%';
CREATE INDEX by_tags ON eventstore.events USING gin (tags);
CREATE INDEX by_data ON eventstore.events USING gin (data jsonb_path_ops) WHERE category = 'triggers';
CREATE INDEX by_time ON eventstore.events USING brin (recorded_at);
CREATE INDEX by_expression ON eventstore.events (lower(type), (data ->> 'n'));
SELECT es_append('triggers-9', 0, '[{"type": "OnceA", "tags": ["tx", "ty"], "data": {"n": "eins"}}, {"type": "OnceB", "tags": ["ty"], "data": {"n": "zwei"}}]');
SELECT attempt(call)
FROM unnest(ARRAY[$$SELECT es_append('triggers-9', -1, 'Evil', '{}')$$, $$SELECT es_append('triggers-9', -1, '[{"type": "Good"}, {"type": "Evil"}]')$$,
				  $$SELECT es_append('triggers-9', -1, '[{"type": "Good"}, {"type": "OnceB"}]')$$,
				  $$SELECT es_append('triggers-9', -1, 'OnceB', '{}', NULL, 'd0000000-0000-0000-0000-000000000002')$$]) call;
SET enable_seqscan = off;
SELECT version FROM eventstore.events WHERE tags @> '{ty}' AND category = 'triggers' ORDER BY 1;
SELECT version FROM eventstore.events WHERE data @> '{"n": "zwei"}' AND category = 'triggers';
SELECT version FROM eventstore.events WHERE lower(type) = 'oncea' AND data ->> 'n' = 'eins';
RESET enable_seqscan;
SELECT es_stream_version('triggers-9'), (SELECT count(*) FROM es_read('triggers-9'));
-- A unique constraint of the user's, deferred
ALTER TABLE eventstore.events ADD CONSTRAINT plain_once UNIQUE (plain) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE eventstore.events ALTER plain SET DEFAULT 'unique';
SELECT es_append('triggers-9', 2, 'C', '{}');
BEGIN;
SELECT es_append('triggers-9', 3, 'C', '{}');
\set VERBOSITY sqlstate
COMMIT;
\set VERBOSITY default
SELECT es_stream_version('triggers-9');
-- A foreign key of the user's
ALTER TABLE eventstore.events ALTER plain SET DEFAULT NULL;
CREATE TABLE constants (constant int PRIMARY KEY);
INSERT INTO constants VALUES (7);
ALTER TABLE eventstore.events ADD CONSTRAINT known FOREIGN KEY (constant) REFERENCES constants NOT VALID;
SELECT es_append('triggers-9', 3, 'C', '{}');
ALTER TABLE eventstore.events ALTER constant SET DEFAULT 6;
SELECT attempt($$SELECT es_append('triggers-9', 4, 'C', '{}')$$);
DROP INDEX eventstore.once, eventstore.by_tags, eventstore.by_data, eventstore.by_time, eventstore.by_expression;
ALTER TABLE eventstore.events DROP plain, DROP constant, DROP at, DROP length, DROP serial, DROP kind, DROP ident;

-- BEFORE triggers that do something to the event
CREATE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
	CASE NEW.type
		WHEN 'Data'     THEN NEW.data := NEW.data || '{"added": true}';
		WHEN 'Null'     THEN NEW.data := NULL;
		WHEN 'Type'     THEN NEW.type := 'Changed';
		WHEN 'Tags'     THEN NEW.tags := NEW.tags || '{added}'; NEW.metadata := '{"by": "trigger"}';
		WHEN 'Drop'     THEN RETURN NULL;
		WHEN 'Position' THEN NEW.position := NEW.position + 1000000;
		WHEN 'Stream'   THEN NEW.stream := 'triggers-elsewhere';
		WHEN 'Category' THEN NEW.category := 'elsewhere';
		WHEN 'Version'  THEN NEW.version := NEW.version + 1;
		WHEN 'Id'       THEN NEW.id := 'd0000000-0000-0000-0000-000000000003';
		WHEN 'NullId'   THEN NEW.id := NULL;
		WHEN 'NullKey'  THEN NEW.stream := NULL;
		WHEN 'Time'     THEN NEW.recorded_at := '2000-01-01';
		WHEN 'NullType' THEN NEW.type := NULL;
		WHEN 'NoType'   THEN NEW.type := '';
		WHEN 'LongType' THEN NEW.type := repeat('t', 300);
		WHEN 'Array'    THEN NEW.metadata := '[1]';
		WHEN 'Scalar'   THEN NEW.metadata := '"secret"';
		WHEN 'NullTag'  THEN NEW.tags := '{a,NULL}';
		WHEN 'NoTag'    THEN NEW.tags := '{a,""}';
		WHEN 'LongTag'  THEN NEW.tags := ARRAY[repeat('t', 513)];
		WHEN 'Tags2'    THEN NEW.tags := '{{a,b},{c,d}}';
		WHEN 'JsonNull' THEN NEW.metadata := 'null';
		WHEN 'Limits'   THEN NEW.type := repeat('t', 256); NEW.tags := ARRAY[repeat('t', 512)]; NEW.metadata := '{}';
		WHEN 'NoTags'   THEN NEW.tags := '{}';
		WHEN 'Raise'    THEN RAISE 'not %', NEW.type USING ERRCODE = 'XX999';
		ELSE NULL;
	END CASE;
	RETURN NEW;
END
$$;
CREATE TRIGGER meddle BEFORE INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION meddle();
SELECT es_append('triggers-meddle', 0, '[{"type": "Plain"}, {"type": "Data"}, {"type": "Type", "data": 1}, {"type": "Tags", "tags": ["x"]}]');
SELECT version, type, data, metadata, tags FROM es_read('triggers-meddle');
SELECT type, left(attempt(format('SELECT es_append(''triggers-meddle'', 4, %L, ''{}'')', type)), 5) AS alone,
	   left(attempt(format('SELECT es_append(''triggers-meddle'', 4, ARRAY[''Plain'', %L, ''Plain''], ARRAY[''1'', ''2'', ''3'']::jsonb[])', type)), 5) AS in_a_batch
FROM unnest('{"Null",NullType,NoType,LongType,Array,Scalar,NullTag,NoTag,LongTag,Tags2,Drop,Position,Stream,Category,Version,Id,NullId,NullKey,Time,Raise}'::text[]) type;
\set VERBOSITY terse
SELECT es_append('triggers-meddle', 4, 'Drop', '{"secret": 1}');
SELECT es_append('triggers-meddle', 4, 'Version', '{"secret": 1}');
\set VERBOSITY default
SELECT es_append('triggers-meddle', 4, 'LongType', '{"secret": 1}');
SELECT es_append('triggers-meddle', 4, 'Tags2', '{"secret": 1}');
SELECT es_append('triggers-meddle', 4, 'Scalar', '{"secret": 1}');
\set VERBOSITY default
SELECT es_stream_version('triggers-meddle'), (SELECT count(*) FROM es_read('triggers-meddle')), es_stream_version('triggers-elsewhere');
-- What is at its limit, and JSON's null, are stored as es_append stores them.
SELECT es_append('triggers-limits', 0, '[{"type": "Limits"}, {"type": "JsonNull", "metadata": {"m": 1}, "tags": ["x"]}, {"type": "NoTags"}, {"type": "Plain", "metadata": {"m": 1}}]');
SELECT version, left(type, 10), octet_length(type), metadata, metadata IS NULL, left(tags::text, 10) FROM es_read('triggers-limits');
DROP TRIGGER meddle ON eventstore.events;

-- AFTER triggers that raise
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused' USING ERRCODE = 'XX999'; END $$;
CREATE TRIGGER refuse AFTER INSERT ON eventstore.events FOR EACH ROW WHEN (NEW.type = 'Raise') EXECUTE FUNCTION refuse();
SELECT attempt($$SELECT es_append('triggers-meddle', 4, 'Raise', '{}')$$), attempt($$SELECT es_append('triggers-meddle', 4, '[{"type": "Plain"}, {"type": "Raise"}]')$$),
	   attempt($$SELECT es_append('triggers-meddle', 4, 'Plain', '{}')$$);
DROP TRIGGER refuse ON eventstore.events;
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON eventstore.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse();
SELECT es_append('triggers-meddle', 5, 'Plain', '{}');
DROP TRIGGER refuse ON eventstore.events;
CREATE TRIGGER refuse BEFORE INSERT ON eventstore.events FOR EACH STATEMENT EXECUTE FUNCTION refuse();
SELECT attempt($$SELECT es_append('triggers-meddle', 5, 'Plain', '{}')$$), es_stream_version('triggers-meddle');
DROP TRIGGER refuse ON eventstore.events;

-- Triggers that append: to the same stream and to another one, at every place where a trigger can stand
CREATE FUNCTION follow() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
	same  bigint;
	other bigint;
BEGIN
	IF pg_trigger_depth() > 1 THEN
		RETURN NEW;
	END IF;
	same := public.es_append('triggers-follow', -1, TG_NAME || ' same', '{}');
	other := public.es_append('triggers-other', -1, TG_NAME || ' other', to_jsonb(same));
	RETURN NEW;
END
$$;
CREATE VIEW followed AS
	SELECT stream, version, type, data,
		   position > lag(position, 1, 0::bigint) OVER w AND recorded_at >= lag(recorded_at, 1, '-infinity') OVER w AS in_order
	FROM eventstore.events WHERE stream IN ('triggers-follow', 'triggers-other') WINDOW w AS (PARTITION BY stream ORDER BY version);
SELECT es_append('triggers-follow', 0, 'Start', '{}');

CREATE TRIGGER before_row BEFORE INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION follow();
SELECT es_append('triggers-follow', 1, '[{"type": "A"}, {"type": "B"}]');
SELECT es_last_position() = max(position) FILTER (WHERE type = 'B') FROM es_read('triggers-follow');
DROP TRIGGER before_row ON eventstore.events;
CREATE TRIGGER after_row AFTER INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION follow();
SELECT es_append('triggers-follow', 5, '[{"type": "A"}, {"type": "B"}]');
DROP TRIGGER after_row ON eventstore.events;
CREATE TRIGGER before_statement BEFORE INSERT ON eventstore.events EXECUTE FUNCTION follow();
SELECT es_append('triggers-follow', 9, '[{"type": "A"}, {"type": "B"}]');
DROP TRIGGER before_statement ON eventstore.events;
CREATE TRIGGER after_statement AFTER INSERT ON eventstore.events EXECUTE FUNCTION follow();
SELECT es_append('triggers-follow', 12, '[{"type": "A"}, {"type": "B"}]');
DROP TRIGGER after_statement ON eventstore.events;
CREATE CONSTRAINT TRIGGER deferred AFTER INSERT ON eventstore.events DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.type IN ('A', 'B')) EXECUTE FUNCTION follow();
SELECT es_append('triggers-follow', 15, '[{"type": "A"}, {"type": "B"}]');
DROP TRIGGER deferred ON eventstore.events;
SELECT * FROM followed ORDER BY stream, version;
-- One that takes the version that the outer append has been promised
CREATE FUNCTION race() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM public.es_append(NEW.stream, NEW.version - 1, 'Raced', '{}'); RETURN NEW; END $$;
CREATE TRIGGER race BEFORE INSERT ON eventstore.events FOR EACH ROW WHEN (NEW.type <> 'Raced') EXECUTE FUNCTION race();
SELECT attempt($$SELECT es_append('triggers-race', 0, 'A', '{}')$$), es_stream_version('triggers-race');
DROP TRIGGER race ON eventstore.events;

-- Triggers run as who appends, as in INSERT.
CREATE FUNCTION tell_user() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_triggers.log (on_table, line) VALUES ('', current_user); RETURN NULL; END $$;
CREATE TRIGGER tell_user AFTER INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION tell_user();
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_es_trigger_user;
CREATE ROLE regress_es_trigger_user;
RESET client_min_messages;
GRANT USAGE ON SCHEMA test_triggers TO regress_es_trigger_user;
GRANT INSERT ON log TO regress_es_trigger_user;
SELECT es_grant('regress_es_trigger_user', 'append');
TRUNCATE log;
SET ROLE regress_es_trigger_user;
SELECT es_append('triggers-user', 0, 'A', '{}');
RESET ROLE;
SELECT line FROM log;
DROP TRIGGER tell_user ON eventstore.events;
SELECT es_revoke('regress_es_trigger_user', 'append');

-- The table is as it was.
SELECT count(*), string_agg(attname, ' ') FILTER (WHERE NOT attisdropped) FROM pg_attribute WHERE attrelid = 'eventstore.events'::regclass AND attnum > 10 AND NOT attisdropped;
SELECT tgname FROM pg_trigger WHERE tgrelid = 'eventstore.events'::regclass AND NOT tgisinternal AND tgfoid <> 'eventstore.refuse_change()'::regprocedure ORDER BY tgname;
SELECT conname FROM pg_constraint WHERE conrelid = 'eventstore.events'::regclass AND contype <> 'n' ORDER BY conname COLLATE "C";
SET client_min_messages = warning;
DROP SCHEMA test_triggers CASCADE;
DROP ROLE regress_es_trigger_user;
