-- A handler runs for one event after the other, each seeing what the one before did: with one event an append or with many, inline, async and
-- rebuilt, it comes to the same. Those whose author asks for batches get them; and those for which it is proven not to matter.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE SCHEMA test_granularity;
SET search_path = test_granularity, public;
\pset tuples_only on
\pset format unaligned
SELECT no_plan();

CREATE FUNCTION rows(which text) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT coalesce(string_agg(btrim(r::text, ''()''), '' '' ORDER BY r), ''none'') FROM %I r', which) INTO result;
	RETURN result;
END $$;
-- Appends events of some types to a stream: in one call, or each in its own.
CREATE FUNCTION add(stream text, at_once boolean, VARIADIC types text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	t text;
BEGIN
	IF at_once THEN
		PERFORM es_append(stream, -1, (SELECT jsonb_agg(jsonb_build_object('type', u)) FROM unnest(types) u));
		RETURN;
	END IF;
	FOREACH t IN ARRAY types LOOP
		PERFORM es_append(stream, -1, t, '{}'::jsonb);
	END LOOP;
END $$;

-- -- Each form, in each way ------------------------------------------------------------------------------------------------

CREATE TABLE forms (name text PRIMARY KEY, make text, query text);
INSERT INTO forms VALUES
	('upsert', 'CREATE TABLE %I (stream text PRIMARY KEY, last text, n int)',
	 'INSERT INTO %I AS u SELECT stream, type, 1 FROM events ON CONFLICT (stream) DO UPDATE SET last = excluded.last, n = u.n + 1'),
	('with', 'CREATE TABLE %I (id text PRIMARY KEY, shipped boolean NOT NULL DEFAULT false)',
	 'WITH i AS (INSERT INTO %1$I (id) SELECT stream FROM events WHERE type = ''Placed'' ON CONFLICT DO NOTHING),
		   d AS (DELETE FROM %1$I o USING events e WHERE e.type = ''Cancelled'' AND o.id = e.stream)
	  UPDATE %1$I o SET shipped = true FROM events e WHERE e.type = ''Shipped'' AND o.id = e.stream'),
	('update', 'CREATE TABLE %1$I (id text PRIMARY KEY, n int); INSERT INTO %1$I VALUES (''o-1'', 0), (''o-2'', 0), (''o-3'', 0)',
	 'UPDATE %1$I u SET n = n + 1 FROM events e WHERE e.stream = u.id'),
	('merge', 'CREATE TABLE %I (stream text PRIMARY KEY, types text)',
	 'MERGE INTO %1$I u USING events e ON u.stream = e.stream WHEN MATCHED AND e.type = ''Cancelled'' THEN DELETE
	  WHEN MATCHED THEN UPDATE SET types = u.types || '','' || e.type WHEN NOT MATCHED THEN INSERT VALUES (e.stream, e.type)'),
	('insert_unless', 'CREATE TABLE %I (stream text PRIMARY KEY, version bigint)',
	 'INSERT INTO %1$I SELECT stream, version FROM events e WHERE NOT EXISTS (SELECT FROM %1$I u WHERE u.stream = e.stream)'),
	('delete_then_insert', 'CREATE TABLE %I (stream text, type text)',
	 'WITH d AS (DELETE FROM %1$I u USING events e WHERE u.stream = e.stream RETURNING u.stream) INSERT INTO %1$I SELECT stream, type FROM events WHERE type <> ''Cancelled'''),
	('function', 'CREATE TABLE %1$I (stream text PRIMARY KEY, n int);
	  CREATE FUNCTION do_%1$s(e eventstore.event) RETURNS void LANGUAGE plpgsql AS ''BEGIN
		UPDATE %1$I SET n = n + 1 WHERE stream = e.stream; IF NOT FOUND THEN INSERT INTO %1$I VALUES (e.stream, 1); END IF; END''',
	 'SELECT do_%1$s(e) FROM events e');
CREATE TABLE ways (name text PRIMARY KEY, mode text, at_once boolean);
INSERT INTO ways VALUES ('inline_each', 'inline', false), ('inline_many', 'inline', true), ('async_each', 'async', false), ('async_many', 'async', true), ('late', 'async', true);
DO $$
DECLARE
	f forms; w ways; name text;
BEGIN
	FOR f IN TABLE forms LOOP
		FOR w IN TABLE ways LOOP
			name := f.name || '_' || w.name;
			EXECUTE format(f.make, name);
			IF w.name <> 'late' THEN
				PERFORM es_create_projection(name, format(f.query, name), w.mode, categories => ARRAY['o'], tables => ARRAY[name::regclass]);
			END IF;
		END LOOP;
	END LOOP;
END $$;
CREATE FUNCTION play(at_once boolean) RETURNS void LANGUAGE sql AS $$
	SELECT add('o-1', at_once, 'Placed', 'Shipped'), add('o-2', at_once, 'Placed', 'Cancelled'), add('o-3', at_once, 'Placed', 'Cancelled', 'Placed', 'Shipped', 'Shipped') $$;
-- The same events in both stores' ways: what is applied in one way is compared with what is applied in another.
SELECT play(true);
SELECT es_run_projection(name) FROM eventstore.projections WHERE mode = 'async' AND name LIKE '%many';
SELECT play(false);
SELECT es_run_projection(name, g) FROM eventstore.projections, generate_series(1, 3) g WHERE mode = 'async' AND name LIKE '%each';
SELECT es_run_projection(name) FROM eventstore.projections WHERE mode = 'async' ORDER BY name;
SELECT is(rows('upsert_inline_each'), 'o-1,Shipped,4 o-2,Cancelled,4 o-3,Shipped,10', 'an upsert');
SELECT is(rows('with_inline_each'), 'o-1,t o-3,t', 'INSERT, DELETE and UPDATE in one WITH');
SELECT is(rows('update_inline_each'), 'o-1,4 o-2,4 o-3,10', 'an UPDATE that counts');
DO $$
DECLARE
	f forms; w ways;
BEGIN
	FOR f IN TABLE forms LOOP
		PERFORM es_create_projection(f.name || '_late', format(f.query, f.name || '_late'), 'async', categories => ARRAY['o'], tables => ARRAY[(f.name || '_late')::regclass]);
		PERFORM es_run_projection(f.name || '_late');
	END LOOP;
END $$;
SELECT is(rows(f.name || '_' || w.name), rows(f.name || '_inline_each'), f.name || ', ' || w.name) FROM forms f, ways w WHERE w.name <> 'inline_each' ORDER BY f.name, w.name;
SELECT is((SELECT count(*) FROM es_verify_projection(f.name || '_' || w.name)), 0::bigint, f.name || ', ' || w.name || ': verify') FROM forms f, ways w WHERE f.name <> 'update' ORDER BY f.name, w.name;
DO $$
BEGIN
	PERFORM es_rebuild_projection(f.name || '_' || w.name) FROM forms f, ways w WHERE f.name <> 'update';
END $$;
SELECT is(rows(f.name || '_' || w.name), rows(f.name || '_inline_each'), f.name || ', ' || w.name || ': rebuilt') FROM forms f, ways w WHERE f.name <> 'update' AND w.name <> 'inline_each' ORDER BY f.name, w.name;
SELECT es_projection_as_of('merge_inline_many', 'merge_then', (SELECT position FROM eventstore.events WHERE stream = 'o-3' AND version = 4));
SELECT is(rows('merge_then'), 'o-1,"Placed,Shipped" o-3,"Placed,Shipped"', 'as of an event in the middle of an append');
SELECT count(es_drop_projection(name)) FROM eventstore.projections;

-- -- Batches ---------------------------------------------------------------------------------------------------------------

CREATE TABLE batches (nr serial, events bigint);
SELECT es_create_projection('batches', 'INSERT INTO batches (events) SELECT count(*) FROM events HAVING count(*) > 0', tables => '{batches}', granularity => 'batch', categories => '{b}');
SELECT add('b-1', true, 'x', 'y', 'z');
SELECT is(rows('batches'), '1,3', 'who asks for batches gets them');
SELECT es_drop_projection('batches');
TRUNCATE batches RESTART IDENTITY;
SELECT es_create_projection('batches', 'INSERT INTO batches (events) SELECT count(*) FROM events HAVING count(*) > 0', tables => '{batches}', categories => '{c}');
SELECT add('c-1', true, 'x', 'y', 'z');
SELECT is(rows('batches'), '1,1 2,1 3,1', 'nobody else does');
SELECT es_drop_projection('batches');
SELECT throws_ok($$SELECT es_create_projection('batches', 'INSERT INTO batches (events) SELECT count(*) FROM events', granularity => 'both')$$, '22023', 'unknown granularity "both"', 'what there is not');
SELECT throws_ok($$SELECT es_create_projection('batches', 'INSERT INTO batches (events) SELECT count(*) FROM events', granularity => NULL)$$, '22004', 'granularity must not be null', 'null');
SELECT is((SELECT granularity FROM eventstore.projections), NULL, 'nothing was made');

-- -- Where it is proven not to matter --------------------------------------------------------------------------------------
--
-- Rows that one statement has written have the same cmin.

CREATE TABLE words (word text);
INSERT INTO words VALUES ('x'), ('y');
CREATE DOMAIN label AS text CHECK (value <> '');
CREATE FUNCTION next_number() RETURNS bigint LANGUAGE sql VOLATILE RETURN (SELECT count(*) FROM words);
CREATE FUNCTION size_now() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM target); END';
CREATE FUNCTION twice(t text) RETURNS text LANGUAGE sql IMMUTABLE RETURN t || t;
CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION statements(query text, ddl text DEFAULT '', type text DEFAULT 'text') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	result bigint;
	category text := 'p' || (SELECT count(*) FROM eventstore.streams);
BEGIN
	EXECUTE format('CREATE TABLE target (a text, b %s)', type);
	EXECUTE ddl;
	EXECUTE format('SELECT es_create_projection(''p'', %L, tables => ''{target}'', categories => ARRAY[%L])', query, category);
	PERFORM add(category || '-1', true, 'x', 'y', 'z');
	EXECUTE 'SELECT count(DISTINCT cmin::text) FROM target' INTO result;
	PERFORM es_drop_projection('p');
	DROP TABLE target CASCADE;
	RETURN result;
END $$;
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events'), 1::bigint, 'rows of events');
SELECT is(statements('INSERT INTO target (a) SELECT twice(upper(type)) FROM events e WHERE e.version > 0'), 1::bigint, 'with functions and a filter');
SELECT is(statements('INSERT INTO target SELECT e.stream, i FROM events e, LATERAL unnest(ARRAY[e.type, e.stream]) i'), 1::bigint, 'with rows of an event''s own');
SELECT is(statements('INSERT INTO target SELECT e.stream, i FROM events e LEFT JOIN LATERAL jsonb_array_elements_text(e.data -> ''none'') i ON true'), 1::bigint, 'with those that there may be none of');
SELECT is(statements('INSERT INTO target SELECT stream, now()::text FROM events'), 1::bigint, 'when');
SELECT is(statements('INSERT INTO target (a) SELECT stream FROM events', type => 'bigserial'), 1::bigint, 'with a serial number');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events', 'ALTER TABLE target ADD CHECK (length(a) > 1), ADD UNIQUE (a, b), ALTER b SET DEFAULT upper(''x'')'), 1::bigint, 'with constraints and defaults');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events ON CONFLICT DO NOTHING'), 3::bigint, 'not with ON CONFLICT');
SELECT is(statements('INSERT INTO target SELECT stream, count(*)::text FROM events GROUP BY 1'), 3::bigint, 'nor with aggregates');
SELECT is(statements('INSERT INTO target SELECT DISTINCT stream, type FROM events'), 3::bigint, 'DISTINCT');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events ORDER BY type DESC'), 3::bigint, 'ORDER BY');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events LIMIT 1'), 3::bigint, 'LIMIT');
SELECT is(statements('INSERT INTO target SELECT stream, rank() OVER ()::text FROM events'), 3::bigint, 'windows');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events UNION ALL SELECT ''all'', type FROM events'), 3::bigint, 'UNION');
SELECT is(statements('INSERT INTO target SELECT a.stream, b.type FROM events a, events b'), 3::bigint, 'pairs of events');
SELECT is(statements('INSERT INTO target SELECT stream, word FROM events, words'), 3::bigint, 'other tables');
SELECT is(statements('INSERT INTO target SELECT stream, (SELECT max(word) FROM words) FROM events'), 3::bigint, 'subqueries');
SELECT is(statements('INSERT INTO target SELECT stream, g::text FROM events, generate_series(1, 2) g'), 3::bigint, 'functions that are not of the event');
SELECT is(statements('INSERT INTO target SELECT stream, size_now()::text FROM events'), 3::bigint, 'functions that may look at tables');
SELECT is(statements('INSERT INTO target SELECT stream, clock_timestamp()::text FROM events'), 3::bigint, 'volatile functions');
SELECT is(statements('WITH w AS (SELECT * FROM events) INSERT INTO target SELECT stream, type FROM w'), 3::bigint, 'WITH');
SELECT is(statements('INSERT INTO target VALUES ((SELECT stream FROM events), NULL)'), 3::bigint, 'VALUES');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events RETURNING a'), 3::bigint, 'RETURNING');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events', 'CREATE TRIGGER pass BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION pass()'), 3::bigint, 'a trigger');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events', 'ALTER TABLE target ADD UNIQUE (b); ALTER TABLE target ADD FOREIGN KEY (b) REFERENCES target (b)'), 3::bigint, 'a foreign key');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events', 'CREATE RULE r AS ON INSERT TO target DO ALSO NOTIFY n'), 3::bigint, 'a rule');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events', 'ALTER TABLE target ENABLE ROW LEVEL SECURITY'), 3::bigint, 'row security');
SELECT is(statements('INSERT INTO target (a) SELECT stream FROM events', 'ALTER TABLE target ALTER b SET DEFAULT next_number()'), 3::bigint, 'a default that is somebody''s function');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events', 'ALTER TABLE target ADD CHECK (twice(a) <> '''')'), 3::bigint, 'a check that calls one');
SELECT is(statements('INSERT INTO target SELECT stream, type FROM events', type => 'label'), 3::bigint, 'a domain');
-- A trigger that comes later
CREATE TABLE target (a text, b text);
SELECT es_create_projection('p', 'INSERT INTO target SELECT stream, type FROM events', tables => '{target}', categories => '{z}');
SELECT add('z-1', true, 'x', 'y', 'z');
SELECT is((SELECT count(DISTINCT cmin::text) FROM target), 1::bigint, 'at once');
CREATE TRIGGER pass BEFORE INSERT ON target FOR EACH ROW EXECUTE FUNCTION pass();
TRUNCATE target;
SELECT add('z-1', true, 'x', 'y', 'z');
SELECT is((SELECT count(DISTINCT cmin::text) FROM target), 3::bigint, 'until it has a trigger');
SELECT es_drop_projection('p');
DROP TABLE target;

-- -- Errors ----------------------------------------------------------------------------------------------------------------

CREATE TABLE target (type text PRIMARY KEY);
SELECT es_create_projection('p', 'INSERT INTO target SELECT type FROM events', 'async', tables => '{target}', categories => '{q}', on_error => 'skip');
SELECT es_create_projection('q', 'INSERT INTO target AS t SELECT lower(type) FROM events WHERE NOT EXISTS (SELECT FROM target WHERE type = ''never'')', 'async', tables => '{target}', categories => '{q}', on_error => 'stop');
SELECT add('q-1', true, 'A', 'B', 'C', 'B', 'D', 'A', 'E');
SET client_min_messages = error;
SELECT is(es_run_projection('p'), 5::bigint, 'at once, with events that can not be applied');
SELECT is((SELECT string_agg(e.version::text, ' ' ORDER BY version) FROM eventstore.skipped_events s JOIN eventstore.events e USING (position)), '4 6', 'it is these that are skipped');
SELECT is(es_run_projection('q'), 3::bigint, 'event by event, with one that can not be applied');
SELECT is((SELECT version FROM eventstore.projection_status s JOIN eventstore.events e ON e.position = last_error_position WHERE name = 'q'), 4::bigint, 'it is this one');
SELECT is(rows('target'), 'A B C D E a b c', 'everything else is there');
SELECT es_drop_projection(name) FROM eventstore.projections;

SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_granularity CASCADE;
