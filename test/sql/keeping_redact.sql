-- es_redact: what a stored event says becomes null, and that is on record.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_redact;
SET search_path = test_redact, public;

CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
	detail text;
BEGIN
	EXECUTE call INTO result;
	RETURN result;
EXCEPTION
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RETURN rtrim(SQLSTATE || ' ' || SQLERRM || ' ' || detail);
END
$$;
CREATE FUNCTION id(nr int) RETURNS uuid LANGUAGE sql RETURN ('f0000000-0000-4000-8000-' || lpad(nr::text, 12, '0'))::uuid;
CREATE FUNCTION data(nr int) RETURNS jsonb LANGUAGE sql RETURN (SELECT data FROM eventstore.events e WHERE e.id = test_redact.id(nr));

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

SELECT es_append('redact-1', 0, ARRAY['A', 'B', 'C', 'D', 'E'], ARRAY['{"name": "Ann", "size": 1}', '{"customer": {"email": "ann@example.com", "id": 7}, "items": [{"note": "secret"}, {"note": "open"}], "{a}": 1}', '{"n": 3}', '["list"]', '"scalar"']::jsonb[],
	ARRAY['{"by": "Ann"}', '{"by": "Bob"}', NULL, NULL, NULL]::jsonb[], ARRAY(SELECT id(n) FROM generate_series(1, 5) n)) AS last \gset
CREATE TABLE before AS SELECT * FROM eventstore.events WHERE stream = 'redact-1';
SELECT es_save_snapshot('redact-1', v, to_jsonb(v), v) FROM generate_series(1, 4) v;

-- All of it
SELECT is(attempt($$SELECT es_redact(id(3), 'asked for')$$), '', 'an event is redacted');
SELECT is(data(3), '{}', 'its data is empty');
SELECT es_redact(id(1), 'asked for');
SELECT is((SELECT e.metadata FROM eventstore.events e WHERE e.id = id(1)), NULL, 'its metadata is null');
SELECT results_eq($$SELECT position, stream, category, version, id, type, tags, recorded_at FROM eventstore.events WHERE stream = 'redact-1' ORDER BY version$$,
	$$SELECT position, stream, category, version, id, type, tags, recorded_at FROM before ORDER BY version$$, 'all else of it is as it was');
SELECT is((SELECT count(*) FROM before b JOIN eventstore.events e USING (position) WHERE b.data IS DISTINCT FROM e.data OR b.metadata IS DISTINCT FROM e.metadata), 2::bigint, 'no other event has changed');
SELECT is((SELECT count(*) FROM eventstore.snapshots WHERE stream = 'redact-1'), 0::bigint, 'snapshots of its version and later are gone');
SELECT es_save_snapshot('redact-1', v, to_jsonb(v), v) FROM generate_series(1, 4) v;
SELECT es_redact(id(3), 'again');
SELECT is((SELECT array_agg(version ORDER BY version) FROM eventstore.snapshots WHERE stream = 'redact-1'), '{1,2}', 'not those of earlier ones');

-- Keys and paths
SELECT es_redact(id(2), 'his mail', '{"{customer,email}", "{items,0,note}"}');
SELECT is(data(2), '{"customer": {"email": null, "id": 7}, "items": [{"note": null}, {"note": "open"}], "{a}": 1}', 'paths stay, with null');
SELECT is((SELECT e.metadata FROM eventstore.events e WHERE e.id = id(2)), '{"by": "Bob"}', 'metadata is left');
SELECT es_redact(id(2), 'the customer', '{customer}');
SELECT is(data(2)->'customer', 'null', 'a key stays, with null');
SELECT es_redact(id(2), 'a name that looks like a path', ARRAY['{"{a}"}']);
SELECT is(data(2)->'{a}', 'null', 'a key that looks like a path is written as one');
SELECT es_redact(id(2), 'nothing', '{name}'), es_redact(id(4), 'nothing', '{name}'), es_redact(id(5), 'nothing', '{name,"{customer,email}"}');
SELECT is(data(4), '["list"]', 'what has no such key is as it was');
SELECT is(data(5), '"scalar"', 'a scalar, too');

-- On record
SELECT is((SELECT array_agg(version || ':' || redaction || ':' || reason || coalesce(':' || keys::text, '') ORDER BY position, redaction) FROM eventstore.redactions WHERE stream = 'redact-1'),
	ARRAY['1:1:asked for', '2:1:his mail:{"{customer,email}","{items,0,note}"}', '2:2:the customer:{customer}', '2:3:a name that looks like a path:{"{\"{a}\"}"}', '2:4:nothing:{name}', '3:1:asked for', '3:2:again',
		'4:1:nothing:{name}', '5:1:nothing:{name,"{customer,email}"}'], 'each redaction is on record');
SELECT is((SELECT count(*) FROM eventstore.redactions r JOIN before b USING (position, id, stream, version) WHERE redaction = 1 AND digest_before = eventstore.event_digest(ROW(b.*)::eventstore.event)), 5::bigint,
	'with the digest of what it was');
SELECT is((SELECT count(*) FROM eventstore.redactions r JOIN eventstore.events e USING (position, id) WHERE digest_after = eventstore.event_digest(ROW(e.*)::eventstore.event)
	AND NOT EXISTS (SELECT FROM eventstore.redactions n WHERE n.position = r.position AND n.redaction > r.redaction)), 5::bigint, 'and of what it is');
SELECT is((SELECT count(*) FROM eventstore.redactions r JOIN eventstore.redactions n ON n.position = r.position AND n.redaction = r.redaction + 1 WHERE n.digest_before <> r.digest_after), 0::bigint, 'in between one follows on the other');
SELECT is((SELECT count(*) FROM eventstore.redactions WHERE redacted_by = current_user AND redacted_at BETWEEN now() - interval '1 hour' AND clock_timestamp()), 9::bigint, 'and by whom and when');

-- What is wrong
SELECT is(attempt($$SELECT es_redact(id(99), 'x')$$), format('42704 there is no event of id "%s"', id(99)), 'no such event');
SELECT is(attempt($$SELECT es_redact(NULL, 'x')$$), '22004 id must not be null', 'no id');
SELECT is(attempt($$SELECT es_redact(id(1), NULL)$$), '22004 reason must not be null', 'no reason');
SELECT is(attempt($$SELECT es_redact(id(1), '')$$), '22023 reason must not be empty', 'an empty one');
SELECT is(attempt($$SELECT es_redact(id(1), 'x', '{}')$$), '22023 keys must be a one-dimensional array that is not empty', 'no keys');
SELECT is(attempt($$SELECT es_redact(id(1), 'x', '{{a},{b}}')$$), '22023 keys must be a one-dimensional array that is not empty', 'keys of keys');
SELECT is(attempt($$SELECT es_redact(id(1), 'x', '{a,NULL}')$$), '22004 keys must not contain nulls', 'a null key');
SELECT is(attempt($$SELECT es_redact(id(1), 'x', '{"{}"}')$$), '22023 path in keys must be a one-dimensional array that is not empty', 'an empty path');
SELECT is(attempt($$SELECT es_redact(id(1), 'x', '{"{a,NULL}"}')$$), '22004 path in keys must not contain nulls', 'a path with a null');
SELECT is(left(attempt($$SELECT es_redact(id(1), 'x', '{"{a"}')$$), 5), '22P02', 'a path that is none');
SELECT is((SELECT count(*) FROM eventstore.redactions WHERE stream = 'redact-1'), 9::bigint, 'nothing of it is on record');
SELECT throws_ok($$UPDATE eventstore.events SET data = '{}' WHERE id = test_redact.id(4)$$, 'SE007', NULL, 'nothing else changes an event');
BEGIN;
SELECT es_redact(id(4), 'undone');
ROLLBACK;
SELECT is(data(4), '["list"]', 'a rollback undoes it');
SELECT is(attempt($$SELECT es_append('redact-1', 0, ARRAY['A', 'B'], ARRAY['{}', '{}']::jsonb[], NULL, ARRAY[id(1), id(2)])$$), '2', 'a retry of what is redacted stores nothing');

-- A constraint of the DBA's may refuse it; the error does not show what the event says.
ALTER TABLE eventstore.events ADD CONSTRAINT has_list CHECK (category <> 'redact' OR version <> 4 OR data ? 'list');
SELECT is(regexp_replace(attempt($$SELECT es_redact(id(4), 'x')$$), '"events_\d+"', '"events"'), '23514 new row for relation "events" violates check constraint "has_list" The row''s values are not shown.', 'a constraint refuses it');
ALTER TABLE eventstore.events DROP CONSTRAINT has_list;
ALTER TABLE eventstore.events ADD COLUMN name text GENERATED ALWAYS AS (data->>'name') STORED;
SELECT es_append('redact-2', 0, 'A', '{"name": "Ann"}', NULL, id(11), '{name:ann,x}');
SELECT es_redact(id(11), 'x', '{name}');
SELECT is((SELECT name FROM eventstore.events WHERE stream = 'redact-2'), NULL, 'a generated column follows');
SELECT is((SELECT array_agg(version) FROM es_read_query('[{"tags": ["name:ann", "x"]}]') WHERE stream = 'redact-2'), '{1}', 'by its tags it is found as before, once');
ALTER TABLE eventstore.events DROP COLUMN name;
SELECT es_append('redact-3', 0, 'A', jsonb_build_object('text', repeat('x', 7000)), NULL, id(12), '{name:eve,y}') FROM generate_series(1, 1);
SELECT es_redact(id(12), 'x', '{text}'), es_redact(id(12), 'x', '{text}');
VACUUM eventstore.events;
SELECT is((SELECT array_agg(data::text) FROM es_read_query('[{"tags": ["name:eve", "y"]}]') WHERE stream = 'redact-3'), '{"{\"text\": null}"}', 'and so it is after VACUUM');

-- One that is gone
SELECT es_delete_stream('redact-2', 1);
SELECT is(attempt($$SELECT es_redact(id(11), 'x')$$), format('42704 there is no event of id "%s" It was removed from stream "redact-2", and has no data any more.', id(11)), 'an event that is gone');

-- Projections keep what they were made of.
SET client_min_messages = warning;
SELECT es_create_projection('redact_names', $$SELECT stream, es_last(data->>'name', position) AS name FROM events GROUP BY stream$$, categories => '{person}');
RESET client_min_messages;
SELECT es_append('person-1', 0, 'Named', '{"name": "Ann"}', NULL, id(21));
SELECT es_redact(id(21), 'x', '{name}');
SELECT is((SELECT name FROM redact_names), 'Ann', 'a read table keeps what it was made of');
SELECT is((SELECT count(*) FROM es_verify_projection('redact_names')), 1::bigint, 'es_verify_projection shows the difference');
SELECT es_rebuild_projection('redact_names');
SELECT is((SELECT name FROM redact_names), NULL, 'a rebuild makes it of what is left');
SET client_min_messages = warning;
SELECT es_drop_projection('redact_names', true);

-- A trigger that keeps an event as it is, and one that adds to what is written
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION add() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.metadata := '{"redacted": true}'; RETURN new; END $$;
SELECT es_append('redact-9', 0, 'A', '{"name": "Ann"}', NULL, id(31)), es_seal() IS NOT NULL;
CREATE TRIGGER keep BEFORE UPDATE ON eventstore.events FOR EACH ROW EXECUTE FUNCTION keep();
SELECT is(left(attempt($$SELECT es_redact(id(31), 'kept')$$), 5), '27000', 'what a trigger keeps as it is is not called redacted');
SELECT is((SELECT count(*) FROM eventstore.redactions WHERE reason = 'kept'), 0::bigint, 'nor is it on record');
DROP TRIGGER keep ON eventstore.events;
CREATE TRIGGER add BEFORE UPDATE ON eventstore.events FOR EACH ROW EXECUTE FUNCTION add();
SELECT is(attempt($$SELECT es_redact(id(31), 'added')$$), '', 'with a trigger that adds something');
SELECT is((SELECT r.digest_after FROM eventstore.redactions r WHERE r.reason = 'added'), (SELECT eventstore.event_digest(e) FROM es_read('redact-9') e), 'the record is of what was written');
SELECT is((SELECT count(*) FROM es_verify_seals()), 0::bigint, 'and no seal is broken');
DROP TRIGGER add ON eventstore.events;

-- Who may
DROP ROLE IF EXISTS regress_es_appender, regress_es_admin;
CREATE ROLE regress_es_appender;
CREATE ROLE regress_es_admin;
RESET client_min_messages;
SELECT es_grant('regress_es_appender', 'append'), es_grant('regress_es_admin', 'admin');
GRANT USAGE ON SCHEMA test_redact TO regress_es_appender, regress_es_admin;
SET ROLE regress_es_appender;
SELECT is(left(attempt($$SELECT es_redact(test_redact.id(5), 'x')$$), 5), '42501', 'not who appends');
SET ROLE regress_es_admin;
SELECT is(attempt($$SELECT es_redact(test_redact.id(5), 'by an admin')$$), '', 'an admin may');
SELECT is((SELECT redacted_by FROM eventstore.redactions WHERE reason = 'by an admin'), 'regress_es_admin', 'and is on record');
RESET ROLE;

SELECT * FROM finish();
SET client_min_messages = warning;
DROP OWNED BY regress_es_appender, regress_es_admin;
DROP ROLE regress_es_appender, regress_es_admin;
DROP SCHEMA test_redact CASCADE;
