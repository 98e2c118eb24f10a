-- es_seal, es_verify_seals: what is sealed, what is found, and what is accounted for.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
DROP DATABASE IF EXISTS test_seals;
RESET client_min_messages;
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse
\set home :DBNAME
CREATE DATABASE test_seals TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
\connect test_seals
CREATE EXTENSION eventstore;

\echo an empty store
SELECT es_seal() IS NULL, es_seal(0) IS NULL;
SELECT * FROM es_verify_seals();

\echo 300 events, more than two blocks, and some that are big
SELECT count(es_append('a-' || n % 7, -1, 'T', jsonb_build_object('n', n), CASE WHEN n % 3 = 0 THEN '{"m": 1}'::jsonb END, tags => CASE WHEN n % 2 = 0 THEN ARRAY['x', 'y' || n] END))
FROM generate_series(1, 297) n;
SELECT count(es_append('big-' || n, 0, 'Big', jsonb_build_object('text', repeat('ab"', 50000 * n)))) FROM generate_series(1, 3) n;
SELECT es_seal(200), es_seal(200), es_seal(-0);
SELECT es_seal(1000000), es_seal();
SELECT seal, after_position, upto, events, length(digest), sealed_at <= now() FROM eventstore.seals ORDER BY seal;
SELECT seal, block, last_position, events, length(digest), length(outline) FROM eventstore.seal_blocks ORDER BY seal, block;
SELECT * FROM es_verify_seals();

\echo what is not sealed yet does not matter; a range without events is none
SELECT es_append('a-1', -1, 'T', '{}');
SELECT * FROM es_verify_seals();
BEGIN;
SELECT es_append('a-1', -1, 'T', '{}');
SELECT es_seal();
ROLLBACK;
BEGIN;
SELECT es_append('b-1', -1, 'T', '{}');
ROLLBACK;
SELECT es_seal();
SELECT es_seal() IS NULL;
SELECT seal, after_position, upto, events FROM eventstore.seals ORDER BY seal;

\echo wrong arguments
SELECT es_seal(-1);
BEGIN READ ONLY;
SELECT es_seal();
ROLLBACK;

\echo the digests again, by SQL alone
CREATE FUNCTION compute(number bigint) RETURNS bytea LANGUAGE sql AS
$$
	WITH s AS (SELECT * FROM eventstore.seals WHERE seal = number),
	leaves AS (SELECT eventstore.event_digest(ROW(e.*)::eventstore.event) AS leaf, (row_number() OVER (ORDER BY position) - 1) / 128 AS block, position
			   FROM eventstore.events e, s WHERE position > s.after_position AND position <= s.upto),
	blocks AS (SELECT block, sha256(string_agg(leaf, '' ORDER BY position)) AS digest FROM leaves GROUP BY block)
	SELECT sha256('\x01' || coalesce((SELECT digest FROM eventstore.seals WHERE seal = number - 1), decode(repeat('00', 32), 'hex'))
				  || (SELECT string_agg(digest, '' ORDER BY block) FROM blocks)
				  || int8send(s.seal) || int8send(s.after_position) || int8send(s.upto) || int8send(s.events) || timestamptz_send(s.sealed_at)) FROM s
$$;
SELECT seal, digest = compute(seal) FROM eventstore.seals ORDER BY seal;

\echo redacted, truncated, deleted, erased in due form, before and after the seal
SELECT es_redact((SELECT id FROM eventstore.events WHERE position = p), 'why', CASE WHEN p > 21 THEN '{n}'::text[] END) FROM generate_series(20, 23) p;
SELECT * FROM es_verify_seals();
SELECT es_redact((SELECT id FROM eventstore.events WHERE position = 22), 'why'), es_truncate_stream('a-0', 8), es_delete_stream('a-6', 42), es_delete_stream('big-2', 1, true);
SELECT * FROM es_verify_seals();
SELECT es_append('a-6', 0, 'T', '{"n": 1}'), es_append('c-1', 0, 'T', '{"n": 1}');
SELECT es_redact((SELECT id FROM eventstore.events WHERE stream = 'a-6'), 'why', '{n}');
-- Removed before: no part of the seal, between its events, before them and behind them.
SELECT es_append('d-1', 0, 'T', '{}'), es_append('d-2', 0, 'T', '{}'), es_append('d-3', 0, 'T', '{}');
SELECT es_delete_stream('d-1', 1), es_delete_stream('d-3', 1), es_append('d-2', 1, 'T', '{}'), es_append('d-4', 0, 'T', '{}');
SELECT es_delete_stream('d-4', 1);
SELECT es_seal() IS NOT NULL;
SELECT events FROM eventstore.seals ORDER BY seal DESC LIMIT 1;
SELECT * FROM es_verify_seals();
SELECT es_redact((SELECT id FROM eventstore.events WHERE stream = 'a-6'), 'why'), es_redact((SELECT id FROM eventstore.events WHERE stream = 'c-1'), 'why'), es_delete_stream('c-1', 1);
SELECT * FROM es_verify_seals();
SELECT * FROM es_verify();

-- What es_verify_seals finds after some statements, which are undone.
CREATE FUNCTION damage(VARIADIC statements text[]) RETURNS SETOF text LANGUAGE plpgsql AS
$$
DECLARE
	statement text;
	found text;
BEGIN
	ALTER TABLE eventstore.events DISABLE TRIGGER ALL;
	FOREACH statement IN ARRAY statements LOOP
		EXECUTE statement;
	END LOOP;
	SELECT string_agg(format('%s | %s', seal, detail), E'\n') INTO found FROM es_verify_seals();
	RAISE EXCEPTION USING ERRCODE = 'TT000', MESSAGE = coalesce(found, 'nothing');
EXCEPTION WHEN SQLSTATE 'TT000' THEN
	RETURN QUERY SELECT '    ' || line FROM regexp_split_to_table(SQLERRM, E'\n') line;
END
$$;
\echo an event was changed: in each of its columns
SELECT damage($$UPDATE eventstore.events SET data = '{"n": 100.0}' WHERE position = 100$$);
SELECT damage($$UPDATE eventstore.events SET metadata = '{}' WHERE position = 100$$);
SELECT damage($$UPDATE eventstore.events SET tags = '{x}' WHERE position = 100$$);
SELECT damage($$UPDATE eventstore.events SET type = 'U' WHERE position = 100$$);
SELECT damage($$UPDATE eventstore.events SET id = gen_random_uuid() WHERE position = 100$$);
SELECT damage($$UPDATE eventstore.events SET recorded_at = recorded_at + interval '1 us' WHERE position = 100$$);
SELECT damage($$UPDATE eventstore.events SET version = 1000 WHERE position = 100$$);
SELECT damage($$UPDATE eventstore.events SET stream = 'b', category = 'b' WHERE position = 100$$);
SELECT damage($$UPDATE eventstore.events SET category = 'b' WHERE position = 100$$);
SELECT damage($$UPDATE eventstore.events SET data = data || '{"x": 1}' WHERE stream = 'big-3'$$);
\echo removed: the first of all, the last of a seal, a whole block, and then some
SELECT damage($$DELETE FROM eventstore.events WHERE position = 1$$);
SELECT damage($$DELETE FROM eventstore.events WHERE position = 200$$);
SELECT count(*) FROM damage($$DELETE FROM eventstore.events WHERE position BETWEEN 1 AND 128$$);
\echo put in, in a gap and behind the last block; moved; exchanged
SELECT damage($$DELETE FROM eventstore.events WHERE position = 30$$, $$INSERT INTO eventstore.events SELECT position + 1, stream, category, 500, gen_random_uuid(), type, data, metadata, tags, recorded_at FROM eventstore.events WHERE position = 29$$);
SELECT damage($$INSERT INTO eventstore.events SELECT 302, stream, category, 500, gen_random_uuid(), type, data, metadata, tags, recorded_at FROM eventstore.events WHERE position = 29$$);
SELECT damage($$UPDATE eventstore.events SET position = 302 WHERE position = 29$$);
SELECT damage($$UPDATE eventstore.events SET position = -position WHERE position IN (29, 30)$$, $$UPDATE eventstore.events SET position = 59 + position WHERE position < 0$$);
\echo the records of what was done in due form
SELECT damage($$DELETE FROM eventstore.redactions WHERE position IN (20, 22) AND redaction = 1$$);
SELECT damage($$UPDATE eventstore.redactions SET digest_before = sha256('x') WHERE position = 22 AND redaction = 1$$);
SELECT damage($$UPDATE eventstore.redactions SET digest_after = sha256('x') WHERE position = 22 AND redaction = 1$$);
SELECT damage($$UPDATE eventstore.events SET data = '{"n": 7}' WHERE position = 23$$);
SELECT damage($$INSERT INTO eventstore.redactions SELECT 100, 1, id, stream, version, reason, keys, redacted_by, redacted_at, sha256('x'), sha256('y') FROM eventstore.redactions WHERE position = 23$$);
SELECT damage($$DELETE FROM eventstore.removed_events WHERE position = 6$$);
SELECT damage($$UPDATE eventstore.removed_events SET digest = sha256('x') WHERE position = 6$$);
SELECT damage($$UPDATE eventstore.removed_events SET position = 302 WHERE position = 6$$);
SELECT damage($$UPDATE eventstore.events SET type = 'U' WHERE stream = 'd-2' AND version = 1$$);
\echo the seals themselves
SELECT damage($$UPDATE eventstore.seals SET sealed_at = sealed_at + interval '1 us' WHERE seal = 1$$);
SELECT damage($$UPDATE eventstore.seals SET digest = sha256('x') WHERE seal = 2$$);
SELECT damage($$UPDATE eventstore.seals SET upto = upto + 1 WHERE seal = 1$$);
SELECT damage($$UPDATE eventstore.seals SET events = events + 1 WHERE seal = 1$$);
SELECT damage($$UPDATE eventstore.seals SET seal = 9 WHERE seal = 3$$);
SELECT damage($$DELETE FROM eventstore.seals WHERE seal = 1$$);
SELECT damage($$DELETE FROM eventstore.seals WHERE seal = 4$$);
SELECT damage($$UPDATE eventstore.seal_blocks SET digest = sha256('x') WHERE seal = 1 AND block = 1$$);
SELECT damage($$UPDATE eventstore.seal_blocks SET outline = set_byte(outline, 8, 255 - get_byte(outline, 8)) WHERE seal = 1 AND block = 1$$);
SELECT damage($$UPDATE eventstore.seal_blocks SET outline = set_byte(outline, 7, 255) WHERE seal = 1 AND block = 1$$);
SELECT damage($$UPDATE eventstore.seal_blocks SET events = 0 WHERE seal = 1 AND block = 1$$);
SELECT damage($$DELETE FROM eventstore.seal_blocks WHERE seal = 1 AND block = 2$$);
SELECT damage($$DELETE FROM eventstore.seal_blocks WHERE seal = 1$$);
SELECT damage($$UPDATE eventstore.events SET data = '{}' WHERE position = 100$$, $$UPDATE eventstore.seal_blocks SET digest = sha256('x') WHERE seal = 1 AND block = 1$$);

\echo positions far apart
SELECT es_repair_positions(10000000000) > 0, es_append('far-1', 0, 'T', '{}'), es_append('far-2', 0, '[{"type": "T"}, {"type": "T"}]');
SELECT es_seal() > 10000000000;
SELECT * FROM es_verify_seals();
SELECT damage($$DELETE FROM eventstore.events WHERE stream = 'far-1'$$);
SELECT damage($$UPDATE eventstore.events SET type = 'U' WHERE stream LIKE 'far-%' AND version = 1$$);

\echo who may
CREATE ROLE test_seals_admin;
CREATE ROLE test_seals_reader;
SELECT es_grant('test_seals_admin', 'admin'), es_grant('test_seals_reader', 'read'), es_grant('test_seals_reader', 'append');
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
SELECT es_append('a-1', -1, 'T', '{}');
SET ROLE test_seals_admin;
SELECT count(*) FROM eventstore.events;
SELECT es_seal() IS NOT NULL;
SELECT * FROM es_verify_seals();
SELECT events FROM eventstore.seals ORDER BY seal DESC LIMIT 1;
SET ROLE test_seals_reader;
SELECT es_seal();
SELECT * FROM es_verify_seals();
SELECT * FROM eventstore.seals;
RESET ROLE;
DROP OWNED BY test_seals_admin, test_seals_reader;
\connect :home
DROP DATABASE test_seals;
DROP ROLE test_seals_admin, test_seals_reader;
