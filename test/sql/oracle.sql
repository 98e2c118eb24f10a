-- A plain implementation of append in plpgsql, and the real one, given the same 4,000 random calls: results, errors and contents are equal.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
CREATE SCHEMA test_oracle;
SET search_path = test_oracle, public;

CREATE TABLE events (stream text, version bigint, id uuid, type text, data jsonb, metadata jsonb, tags text[]);
CREATE INDEX ON events (stream, version);
CREATE INDEX ON events (id);

-- What the contract says of a batch: [{stream, expected_version, events: [...]}, ...]. Returns the versions, or every code that is right to raise:
-- where a batch is wrong twice, the contract does not say which error comes first.
CREATE FUNCTION oracle_append(batch jsonb, OUT versions bigint[], OUT codes text[]) LANGUAGE plpgsql AS
$$
DECLARE
	entry    jsonb;
	event    jsonb;
	at       jsonb := '{}';
	expected bigint;
	version  bigint;
	given    uuid[] := ARRAY(SELECT (e ->> 'id')::uuid FROM jsonb_array_elements(batch) b, jsonb_array_elements(b -> 'events') e WHERE e ->> 'id' IS NOT NULL);
	stored   int := (SELECT count(*) FROM events e WHERE e.id = ANY (given));
	total    int := (SELECT sum(jsonb_array_length(b -> 'events')) FROM jsonb_array_elements(batch) b);
BEGIN
	codes := '{}';
	-- An exact retry: all stored, and in each stream the versions go on by one, in the order of the call.
	IF stored = total AND cardinality(given) = total AND (SELECT count(DISTINCT g) FROM unnest(given) g) = total AND NOT EXISTS (
		SELECT FROM (SELECT b.entry ->> 'stream' AS stream, s.stream AS stored_in, s.version - lag(s.version) OVER (PARTITION BY b.entry ->> 'stream' ORDER BY b.nr, e.nr) AS step
					 FROM jsonb_array_elements(batch) WITH ORDINALITY b (entry, nr), jsonb_array_elements(b.entry -> 'events') WITH ORDINALITY e (event, nr), events s
					 WHERE s.id = (e.event ->> 'id')::uuid) t
		WHERE stream <> stored_in OR step <> 1)
	THEN
		versions := ARRAY(SELECT (SELECT s.version FROM events s WHERE s.id = (b.entry -> 'events' -> -1 ->> 'id')::uuid)
						  FROM jsonb_array_elements(batch) WITH ORDINALITY b (entry, nr) ORDER BY nr);
		RETURN;
	END IF;
	IF stored > 0 OR (SELECT count(DISTINCT g) FROM unnest(given) g) < cardinality(given) THEN
		codes := codes || 'SE002'::text;
	END IF;
	FOR entry IN SELECT * FROM jsonb_array_elements(batch) LOOP
		version := coalesce((at ->> (entry ->> 'stream'))::bigint, (SELECT max(e.version) FROM events e WHERE e.stream = entry ->> 'stream'), 0);
		expected := entry ->> 'expected_version';
		IF expected = -2 AND version = 0 OR expected >= 0 AND expected <> version THEN
			codes := codes || 'SE001'::text;
		END IF;
		at := at || jsonb_build_object(entry ->> 'stream', version + jsonb_array_length(entry -> 'events'));
		versions := versions || version + jsonb_array_length(entry -> 'events');
	END LOOP;
	IF codes <> '{}' THEN
		versions := NULL;
		RETURN;
	END IF;
	FOR entry IN SELECT * FROM jsonb_array_elements(batch) LOOP
		FOR event IN SELECT * FROM jsonb_array_elements(entry -> 'events') LOOP
			INSERT INTO events VALUES (entry ->> 'stream', coalesce((SELECT max(e.version) FROM events e WHERE e.stream = entry ->> 'stream'), 0) + 1,
				(event ->> 'id')::uuid, event ->> 'type', coalesce(event -> 'data', '{}'), event -> 'metadata',
				CASE WHEN event ? 'tags' THEN ARRAY(SELECT jsonb_array_elements_text(event -> 'tags')) END);
		END LOOP;
	END LOOP;
END
$$;

-- The same through one of the real forms
CREATE FUNCTION real_append(batch jsonb, form int, OUT versions bigint[], OUT codes text[]) LANGUAGE plpgsql AS
$$
DECLARE
	e        jsonb := batch -> 0 -> 'events';
	stream   text := batch -> 0 ->> 'stream';
	expected bigint := batch -> 0 ->> 'expected_version';
BEGIN
	codes := '{}';
	IF jsonb_array_length(batch) > 1 OR form = 0 THEN
		versions := ARRAY(SELECT r.version FROM public.es_append_streams(batch) r);
	ELSIF form = 1 THEN
		versions := ARRAY[public.es_append(stream, expected, e)];
	ELSIF form = 2 AND NOT EXISTS (SELECT FROM jsonb_array_elements(e) v WHERE v ? 'tags') THEN
		versions := ARRAY[public.es_append(stream, expected, ARRAY(SELECT v ->> 'type' FROM jsonb_array_elements(e) v), ARRAY(SELECT coalesce(v -> 'data', '{}') FROM jsonb_array_elements(e) v),
										   ARRAY(SELECT v -> 'metadata' FROM jsonb_array_elements(e) v), ARRAY(SELECT (v ->> 'id')::uuid FROM jsonb_array_elements(e) v))];
	ELSIF jsonb_array_length(e) = 1 AND form = 3 THEN
		versions := ARRAY[public.es_append(stream, expected, e -> 0 ->> 'type', coalesce(e -> 0 ->> 'data', '{}'), e -> 0 ->> 'metadata', e -> 0 ->> 'id',
										   CASE WHEN e -> 0 ? 'tags' THEN ARRAY(SELECT jsonb_array_elements_text(e -> 0 -> 'tags')) END)];
	ELSIF jsonb_array_length(e) = 1 THEN
		versions := ARRAY[public.es_append(stream, expected, e -> 0 ->> 'type', coalesce(e -> 0 -> 'data', '{}'), e -> 0 -> 'metadata', (e -> 0 ->> 'id')::uuid,
										   CASE WHEN e -> 0 ? 'tags' THEN ARRAY(SELECT jsonb_array_elements_text(e -> 0 -> 'tags')) END)];
	ELSE
		versions := ARRAY[public.es_append(stream, expected, e)];
	END IF;
EXCEPTION
	WHEN OTHERS THEN
		versions := NULL;
		codes := ARRAY[SQLSTATE];
END
$$;

-- A random batch. Ids come from a pool small enough to meet again; a call of the past is repeated now and then, as it was or spoiled.
CREATE TABLE calls (nr int GENERATED ALWAYS AS IDENTITY, batch jsonb, form int, want bigint[], want_codes text[], got bigint[], got_codes text[]);
CREATE FUNCTION random_int(below int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * below)::int $$;
CREATE FUNCTION random_event(nr int) RETURNS jsonb LANGUAGE plpgsql AS
$$
DECLARE
	event jsonb := jsonb_build_object('type', 'T' || random_int(5));
BEGIN
	IF random() < 0.8 THEN event := event || jsonb_build_object('data', to_jsonb(nr)); END IF;
	IF random() < 0.2 THEN event := event || jsonb_build_object('metadata', jsonb_build_object('m', nr)); END IF;
	IF random() < 0.2 THEN event := event || jsonb_build_object('tags', jsonb_build_array('t' || nr, 'all')); END IF;
	IF random() < 0.6 THEN event := event || jsonb_build_object('id', lpad((nr * 10 + random_int(10))::text, 8, '0') || '-eeee-0000-0000-000000000000'); END IF;
	IF random() < 0.02 THEN event := event || jsonb_build_object('id', lpad(random_int(nr * 10)::text, 8, '0') || '-eeee-0000-0000-000000000000'); END IF;
	RETURN event;
END
$$;
CREATE FUNCTION random_entry(nr int) RETURNS jsonb LANGUAGE plpgsql AS
$$
DECLARE
	name    text := 'oracle-' || random_int(12);
	version bigint := coalesce((SELECT max(e.version) FROM events e WHERE e.stream = name), 0);
BEGIN
	RETURN jsonb_build_object('stream', name,
		'expected_version', CASE random_int(10) WHEN 0 THEN -1 WHEN 1 THEN -2 WHEN 2 THEN 0 WHEN 3 THEN version - 1 + random_int(3) WHEN 4 THEN -1 ELSE version END,
		'events', (SELECT jsonb_agg(random_event(nr)) FROM generate_series(0, CASE WHEN random() < 0.6 THEN 0 ELSE random_int(5) END)));
END
$$;
CREATE FUNCTION random_call(call_nr int) RETURNS jsonb LANGUAGE plpgsql AS
$$
DECLARE
	batch jsonb;
BEGIN
	IF random() < 0.3 THEN
		batch := (SELECT c.batch FROM calls c WHERE c.nr = 1 + random_int(call_nr) LIMIT 1);
		IF random() < 0.3 THEN
			batch := jsonb_set(batch, '{0,expected_version}', to_jsonb(random_int(8) - 2));
		ELSIF random() < 0.15 THEN
			batch := (SELECT jsonb_agg(b ORDER BY nr DESC) FROM jsonb_array_elements(batch) WITH ORDINALITY t (b, nr));
		ELSIF random() < 0.15 THEN
			batch := jsonb_set(batch, '{0,events}', (SELECT jsonb_agg(e ORDER BY nr DESC) FROM jsonb_array_elements(batch -> 0 -> 'events') WITH ORDINALITY t (e, nr)));
		ELSIF random() < 0.15 THEN
			batch := jsonb_set(batch, '{0,stream}', to_jsonb('oracle-' || random_int(12)));
		ELSIF random() < 0.15 AND jsonb_array_length(batch -> 0 -> 'events') > 1 THEN
			batch := batch #- '{0,events,0}';
		ELSIF random() < 0.15 THEN
			batch := batch || random_entry(call_nr);
		END IF;
	END IF;
	IF batch IS NULL THEN
		batch := jsonb_build_array(random_entry(call_nr));
		WHILE random() < 0.3 LOOP
			batch := batch || random_entry(call_nr);
		END LOOP;
	END IF;
	-- As a client would: what it expects of a stream that it appends to twice
	IF random() < 0.5 AND jsonb_array_length(batch) > 1 AND batch -> 0 ->> 'stream' = batch -> 1 ->> 'stream' AND (batch -> 0 ->> 'expected_version')::bigint >= 0 THEN
		batch := jsonb_set(batch, '{1,expected_version}', to_jsonb((batch -> 0 ->> 'expected_version')::bigint + jsonb_array_length(batch -> 0 -> 'events')));
	END IF;
	RETURN batch;
END
$$;

CREATE PROCEDURE run(n int) LANGUAGE plpgsql AS
$$
DECLARE
	batch jsonb;
	form  int;
	want  record;
	got   record;
BEGIN
	FOR i IN 1..n LOOP
		batch := random_call(i);
		form := random_int(5);
		want := oracle_append(batch);
		got := real_append(batch, form);
		INSERT INTO calls (batch, form, want, want_codes, got, got_codes) VALUES (batch, form, want.versions, want.codes, got.versions, got.codes);
		EXIT WHEN want.versions IS DISTINCT FROM got.versions;
		IF random() < 0.05 THEN COMMIT; END IF;
	END LOOP;
END
$$;
SELECT setseed(0.2024);
CALL run(4000);

-- Calls whose results differ: none
SELECT * FROM calls WHERE want IS DISTINCT FROM got OR NOT got_codes <@ want_codes OR (got_codes = '{}') <> (want_codes = '{}') ORDER BY nr;
-- All kinds of outcome were met.
SELECT count(*) AS calls, count(DISTINCT form) AS forms, count(*) FILTER (WHERE got IS NOT NULL) > 500 AS stored, count(*) FILTER (WHERE got_codes = '{SE001}') > 200 AS conflicts,
	   count(*) FILTER (WHERE got_codes = '{SE002}') > 200 AS duplicates, count(*) FILTER (WHERE cardinality(want_codes) > 1) > 0 AS wrong_twice,
	   count(*) FILTER (WHERE jsonb_array_length(batch) > 2 AND got IS NOT NULL) > 50 AS batches
FROM calls;
SELECT count(*) > 100 AS retries
FROM calls c WHERE got IS NOT NULL AND EXISTS (SELECT FROM calls d WHERE d.nr < c.nr AND d.got = c.got AND d.batch -> 0 -> 'events' = c.batch -> 0 -> 'events');
-- Contents that differ: none
SELECT stream, version, e.type, o.type, e.data, o.data, e.metadata, o.metadata, e.tags, o.tags, e.id, o.id
FROM (SELECT * FROM eventstore.events WHERE category = 'oracle') e FULL JOIN events o USING (stream, version)
WHERE (e.type, e.data) IS DISTINCT FROM (o.type, o.data) OR e.metadata IS DISTINCT FROM o.metadata OR e.tags IS DISTINCT FROM o.tags OR o.id IS NOT NULL AND e.id <> o.id OR e.id IS NULL;
-- Streams whose row or order is wrong: none
SELECT stream, s.version, o.version
FROM (SELECT * FROM eventstore.streams WHERE stream LIKE 'oracle-%') s FULL JOIN (SELECT stream, max(version) AS version FROM events GROUP BY 1) o USING (stream)
WHERE s.version IS DISTINCT FROM o.version OR s.version <> es_stream_version(stream);
SELECT stream, version
FROM (SELECT *, lag(position) OVER w AS before, lag(recorded_at) OVER w AS recorded_before FROM eventstore.events WHERE category = 'oracle' WINDOW w AS (PARTITION BY stream ORDER BY version)) e
WHERE position <= before OR recorded_at < recorded_before;

SET client_min_messages = warning;
DROP SCHEMA test_oracle CASCADE;
