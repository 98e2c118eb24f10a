-- The digest of an event, computed by SQL alone from the table in docs/keeping.md, and that each of its fields counts.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
BEGIN;
SELECT no_plan();

CREATE FUNCTION pg_temp.counted(value bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT coalesce(int4send(length(value)) || value, '\xffffffff') $$;
CREATE FUNCTION pg_temp.utf8(value text) RETURNS bytea LANGUAGE sql AS $$ SELECT pg_temp.counted(convert_to(value, 'UTF8')) $$;
CREATE FUNCTION pg_temp.digest(e eventstore.event) RETURNS bytea LANGUAGE sql AS
$$
	SELECT sha256('\x01' || int8send(e.position) || int8send(e.version) || uuid_send(e.id) || timestamptz_send(e.recorded_at)
				  || pg_temp.utf8(e.stream) || pg_temp.utf8(e.type) || pg_temp.utf8(e.data::text) || pg_temp.utf8(e.metadata::text)
				  || CASE WHEN e.tags IS NULL THEN '\xffffffff'
						  ELSE int4send(cardinality(e.tags)) || coalesce((SELECT string_agg(pg_temp.utf8(t), '' ORDER BY n) FROM unnest(e.tags) WITH ORDINALITY AS u (t, n)), '') END)
$$;

SELECT es_append('digest-1', 0, $$[{"type": "Plain", "data": {"b": 1.50, "a": [null, true, "é\u0001\\"], "long key": {}}},
	{"type": "Ärger", "data": "text", "metadata": {"by": "x"}, "tags": ["b", "ä", "a"]},
	{"type": "None", "data": null, "metadata": {}, "tags": []},
	{"type": "Number", "data": 12345678901234567890.000001}]$$) \g /dev/null
-- Beyond what is hashed at a time, and compressed or out of line
SELECT es_append('digest-2', 0, 'Big', jsonb_build_object('a', repeat('ab"', 100000), 'b', (SELECT jsonb_agg(n) FROM generate_series(1, 20000) n)),
				 jsonb_build_object('m', repeat('m', 70000)), NULL, ARRAY(SELECT repeat(chr(97 + n), 500) FROM generate_series(0, 20) n)) \g /dev/null

SELECT is(eventstore.event_digest(e), pg_temp.digest(e), 'as the table says: ' || e.type) FROM es_read('digest-1') e;
SELECT is(eventstore.event_digest(e), pg_temp.digest(e), 'as the table says: ' || e.type) FROM es_read('digest-2') e;
SELECT is(eventstore.event_digest(ROW(t.*)::eventstore.event), pg_temp.digest(e), 'a row of the table: ' || e.type)
FROM es_read('digest-1') e JOIN eventstore.events t USING (position);

-- A fixed event, so that no change of the form goes unnoticed
CREATE FUNCTION pg_temp.sample() RETURNS eventstore.event LANGUAGE sql AS
$$
	SELECT ROW(7, 'a-1', 'a', 1, '00000000-0000-7000-8000-000000000001', 'Opened', '{"by": "x"}', '{"n": 1}', '{t,u}', '2026-01-02 03:04:05.678901+00')::eventstore.event
$$;
SELECT is(encode(eventstore.event_digest(pg_temp.sample()), 'hex'), encode(pg_temp.digest(pg_temp.sample()), 'hex'), 'a sample');
SELECT eventstore.event_digest(pg_temp.sample());

-- Each field counts, but the category, which follows from the stream.
CREATE FUNCTION pg_temp.with(field text, value jsonb) RETURNS bytea LANGUAGE sql AS
$$
	SELECT eventstore.event_digest(jsonb_populate_record(s, jsonb_build_object(field, value))) FROM pg_temp.sample() s
$$;
SELECT isnt(pg_temp.with(field, value), eventstore.event_digest(pg_temp.sample()), 'counts: ' || field || ' ' || value)
FROM (VALUES ('position', '8'::jsonb), ('stream', '"a-2"'), ('version', '2'), ('id', '"00000000-0000-7000-8000-000000000002"'), ('type', '"Closed"'),
			 ('data', '{"by": "y"}'), ('metadata', '{"n": 1.0}'), ('metadata', 'null'), ('metadata', '{}'), ('tags', '["t"]'), ('tags', '["u", "t"]'),
			 ('tags', '["t", null]'), ('tags', '[]'), ('tags', 'null'), ('recorded_at', '"2026-01-02 03:04:05.678902+00"')) v (field, value);
SELECT is(pg_temp.with('category', '"b"'), eventstore.event_digest(pg_temp.sample()), 'the category does not');
SELECT is(count(DISTINCT pg_temp.with('tags', tags)), 7::bigint, 'where one field ends and the next begins counts')
FROM unnest('{"[\"a\", \"b\"]","[\"ab\"]","[\"ab\", \"\"]","[\"\", \"ab\"]","[]","null","[null]"}'::jsonb[]) tags;

SELECT is(eventstore.event_digest(NULL), NULL, 'of null: null');
SELECT is(pg_temp.with('id', 'null'), NULL, 'of what is no event: null');

SELECT * FROM finish();
ROLLBACK;
