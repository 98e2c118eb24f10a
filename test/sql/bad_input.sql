-- Bad input: each call raises the right SQLSTATE, shows no payload, stores nothing, and the session goes on.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
CREATE SCHEMA test_bad_input;
SET search_path = test_bad_input, public;

CREATE TABLE bad_calls (nr int GENERATED ALWAYS AS IDENTITY, want text, call text);
CREATE FUNCTION append_event(stream text, event text) RETURNS text LANGUAGE sql RETURN format('es_append(%L, -1, %L::jsonb)', stream, event);
CREATE FUNCTION append_batch(batch text) RETURNS text LANGUAGE sql RETURN format('es_append_streams(%L::jsonb)', batch);

-- Wherever a payload is given, it contains the word "secret".

-- Streams and expected versions, in all forms
INSERT INTO bad_calls (want, call)
SELECT want, replace(replace(form, '$s', stream), '$v', version)
FROM (VALUES (1, $$es_append($s, $v, '{"type": "A", "data": "secret"}')$$), (2, $$es_append($s, $v, 'A', '"secret"')$$), (3, $$es_append($s, $v, 'A', '"secret"'::jsonb)$$),
			 (4, $$es_append($s, $v, ARRAY['A'], ARRAY['"secret"']::jsonb[])$$), (5, $$es_assert_version($s, $v)$$)) f (nr, form),
	 (VALUES (1, '22004', 'NULL', '0'), (2, '22004', '''bad-1''', 'NULL'), (3, '22004', 'NULL', 'NULL'), (4, '22023', '''''', '0'), (5, '22023', '''bad-1''', '-3'),
			 (6, '22023', '''bad-1''', '(-9223372036854775807 - 1)'), (7, '54000', 'repeat(''x'', 513)', '0'), (8, '54000', 'repeat(''é'', 257)', '-1'),
			 (9, '54000', 'repeat(''x'', 100000)', '-1'), (10, 'SE001', '''bad-1''', '1'), (11, 'SE001', '''bad-1''', '-2'), (12, '22003', '''bad-1''', '9223372036854775808::numeric::bigint')) s (nr2, want, stream, version)
ORDER BY nr, nr2;

-- One event
INSERT INTO bad_calls (want, call) VALUES
	('22004', $$es_append('bad-1', 0, NULL::text, '"secret"'::jsonb)$$),
	('22004', $$es_append('bad-1', 0, 'A', NULL::jsonb)$$),
	('22004', $$es_append('bad-1', 0, 'A', NULL)$$),
	('22004', $$es_append('bad-1', 0, NULL, '"secret"')$$),
	('22023', $$es_append('bad-1', 0, '', '"secret"')$$),
	('22023', $$es_append('bad-1', 0, '', '"secret"'::jsonb)$$),
	('54000', $$es_append('bad-1', 0, repeat('t', 257), '"secret"')$$),
	('54000', $$es_append('bad-1', 0, repeat('é', 129), '"secret"'::jsonb)$$),
	('22P02', $$es_append('bad-1', 0, 'A', '{secret}')$$),
	('22P02', $$es_append('bad-1', 0, 'A', '{"a": "secret')$$),
	('22P02', $$es_append('bad-1', 0, 'A', '"secret" "secret"')$$),
	('22P02', $$es_append('bad-1', 0, 'A', '')$$),
	('22P02', $$es_append('bad-1', 0, 'A', 'secret')$$),
	('22P02', $$es_append('bad-1', 0, 'A', '[1, 2, secret]'::text)$$),
	('22P05', $$es_append('bad-1', 0, 'A', '"secret \u0000"')$$),
	('22P02', $$es_append('bad-1', 0, 'A', '{}', '{secret}')$$),
	('22023', $$es_append('bad-1', 0, 'A', '{}', '"secret"')$$),
	('22023', $$es_append('bad-1', 0, 'A', '{}', '[{"secret": 1}]')$$),
	('22023', $$es_append('bad-1', 0, 'A', '{}'::jsonb, '1'::jsonb)$$),
	('22023', $$es_append('bad-1', 0, 'A', '{}'::jsonb, '[]'::jsonb)$$),
	('22P02', $$es_append('bad-1', 0, 'A', '"secret"', NULL, 'no uuid')$$),
	('22P02', $$es_append('bad-1', 0, 'A', '"secret"', NULL, '')$$),
	('22P02', $$es_append('bad-1', 0, 'A', '"secret"', NULL, 'c0000000-0000-0000-0000-00000000000')$$),
	('22P02', $$es_append('bad-1', 0, 'A', '"secret"', NULL, 'c0000000-0000-0000-0000-0000000000000')$$),
	('22004', $$es_append('bad-1', 0, 'A', '"secret"', tags => '{x,NULL}')$$),
	('22023', $$es_append('bad-1', 0, 'A', '"secret"', tags => '{x,""}')$$),
	('22023', $$es_append('bad-1', 0, 'A', '"secret"'::jsonb, tags => '{{x},{y}}')$$),
	('54000', $$es_append('bad-1', 0, 'A', '"secret"', tags => ARRAY[repeat('x', 513)])$$),
	('54000', $$es_append('bad-1', 0, 'A', '"secret"', tags => ARRAY['x', repeat('é', 257)])$$),
	('22P02', $$es_append('bad-1', 0, 'A', '"secret"', tags => '{x')$$),
	('22P02', $$es_append('bad-1', 0, 'A')$$),
	('42883', $$es_append('bad-1', 0, 'A', 1)$$),
	('42883', $$es_append('bad-1', 0.5, 'A', '"secret"')$$),
	('42883', $$es_append('bad-1', 0, 'A', '"secret"', meta => '{}')$$);

-- Arrays
INSERT INTO bad_calls (want, call) VALUES
	('22004', $$es_append('bad-1', 0, NULL::text[], ARRAY['"secret"']::jsonb[])$$),
	('22004', $$es_append('bad-1', 0, ARRAY['A'], NULL::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, '{}'::text[], '{}'::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, '{}'::text[], ARRAY['"secret"']::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, ARRAY['A'], '{}'::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, ARRAY['A', 'B'], ARRAY['"secret"']::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, ARRAY['A'], ARRAY['"secret"', '1']::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, ARRAY['A'], ARRAY['"secret"']::jsonb[], ARRAY['{}', '{}']::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, ARRAY['A'], ARRAY['"secret"']::jsonb[], '{}'::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, ARRAY['A'], ARRAY['"secret"']::jsonb[], NULL, '{}'::uuid[])$$),
	('22023', $$es_append('bad-1', 0, ARRAY['A', 'B'], ARRAY['"secret"', '1']::jsonb[], NULL, ARRAY[gen_random_uuid()])$$),
	('22004', $$es_append('bad-1', 0, ARRAY['A', NULL], ARRAY['"secret"', '1']::jsonb[])$$),
	('22004', $$es_append('bad-1', 0, ARRAY['A', 'B'], ARRAY['"secret"', NULL]::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, ARRAY['A', ''], ARRAY['"secret"', '1']::jsonb[])$$),
	('54000', $$es_append('bad-1', 0, ARRAY['A', repeat('t', 257)], ARRAY['"secret"', '1']::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, ARRAY['A', 'B'], ARRAY['1', '1']::jsonb[], ARRAY['{}', '"secret"']::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, '{{A}}'::text[], ARRAY['"secret"']::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, '{A}'::text[], '{{"1"}}'::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, '{A}'::text[], '{1}'::jsonb[], '{{"{}"}}'::jsonb[])$$),
	('22023', $$es_append('bad-1', 0, '{A}'::text[], '{1}'::jsonb[], NULL, ARRAY[ARRAY[gen_random_uuid()]])$$);

-- Events in JSON
INSERT INTO bad_calls (want, call) VALUES
	('22004', $$es_append('bad-1', 0, NULL)$$),
	('22004', $$es_append('bad-1', 0, NULL::jsonb)$$),
	('22P02', $$es_append('bad-1', 0, '{')$$);
INSERT INTO bad_calls (want, call)
SELECT want, append_event('bad-1', event)
FROM (VALUES
	('22023', '[]'), ('22023', '{}'), ('22023', '"secret"'), ('22023', '1'), ('22023', 'null'), ('22023', 'true'), ('22023', '[null]'), ('22023', '["secret"]'), ('22023', '[1]'),
	('22023', '[[]]'), ('22023', '[[{"type": "A"}]]'), ('22023', '[{}]'), ('22023', '[{"type": "A"}, null]'), ('22023', '[{"type": "A"}, {}]'), ('22023', '[{"type": "A"}, "secret"]'),
	('22023', '{"data": "secret"}'), ('22023', '{"type": null, "data": "secret"}'), ('22023', '{"type": 1, "data": "secret"}'), ('22023', '{"type": ["secret"]}'), ('22023', '{"type": {"secret": 1}}'),
	('22023', '{"type": "", "data": "secret"}'), ('54000', '{"data": "secret", "type": "' || repeat('x', 257) || '"}'), ('22023', '{"type": "A", "Type": "secret"}'), ('22023', '{"type": "A", "version": "secret"}'),
	('22023', '{"type": "A", "dat": "secret"}'), ('22023', '{"type": "A", "": "secret"}'), ('22023', '{"type": "A", "metadata": "secret"}'), ('22023', '{"type": "A", "metadata": ["secret"]}'),
	('22023', '{"type": "A", "metadata": 1}'), ('22P02', '{"type": "A", "data": "secret", "id": "no uuid"}'), ('22P02', '{"type": "A", "data": "secret", "id": ""}'), ('22023', '{"type": "A", "data": "secret", "id": 1}'),
	('22023', '{"type": "A", "data": "secret", "id": {}}'), ('22023', '{"type": "A", "data": "secret", "id": ["c0000000-0000-0000-0000-000000000001"]}'), ('22023', '{"type": "A", "data": "secret", "tags": "x"}'),
	('22023', '{"type": "A", "data": "secret", "tags": {}}'), ('22023', '{"type": "A", "data": "secret", "tags": [1]}'), ('22023', '{"type": "A", "data": "secret", "tags": ["x", null]}'), ('22023', '{"type": "A", "data": "secret", "tags": ["x", ["y"]]}'),
	('22023', '{"type": "A", "data": "secret", "tags": ["x", {}]}'), ('22023', '{"type": "A", "data": "secret", "tags": [""]}'), ('54000', '{"type": "A", "data": "secret", "tags": ["x", "' || repeat('y', 513) || '"]}'),
	('SE002', '[{"type": "A", "data": "secret", "id": "c0000000-0000-0000-0000-000000000001"}, {"type": "A", "id": "C0000000000000000000000000000001"}]')) v (want, event);

-- Batches
INSERT INTO bad_calls (want, call) VALUES ('22004', 'es_append_streams(NULL)'), ('22P02', 'es_append_streams(''[{'')');
INSERT INTO bad_calls (want, call)
SELECT want, append_batch(batch)
FROM (VALUES
	('22023', '[]'), ('22023', '{}'), ('22023', '"secret"'), ('22023', 'null'), ('22023', '1'), ('22023', '[1]'), ('22023', '[null]'), ('22023', '[[]]'), ('22023', '["secret"]'), ('22023', '[{}]'),
	('22023', '{"stream": "bad-1", "expected_version": 0, "events": {"type": "A", "data": "secret"}}'),
	('22023', '[{"expected_version": 0, "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": 1, "expected_version": 0, "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": {}, "expected_version": 0, "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "", "expected_version": 0, "events": {"type": "A", "data": "secret"}}]'),
	('54000', '[{"stream": "' || repeat('x', 513) || '", "expected_version": 0, "events": {"type": "A", "data": "secret"}}]'),
	('22004', '[{"stream": "bad-1", "expected_version": null, "events": {"type": "A", "data": "secret"}}]'),
	('22004', '[{"stream": "bad-1", "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": "0", "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0.5, "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 1e30, "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": -1e30, "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": -3, "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 9223372036854775808, "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": true, "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": [], "events": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0, "events": []}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0, "events": {}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0, "events": null}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0, "events": "secret"}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0, "events": ["secret"]}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0, "event": {"type": "A", "data": "secret"}}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0, "events": {"type": "A", "data": "secret"}, "type": "secret"}]'),
	('22023', '[{"stream": "bad-1", "expected_version": 0, "events": {"type": "A"}}, {"stream": "bad-2", "expected_version": 0, "events": [{"type": "A"}, {"data": "secret"}]}]'),
	('SE001', '[{"stream": "bad-1", "expected_version": 0, "events": {"type": "A"}}, {"stream": "bad-2", "expected_version": 1, "events": {"type": "A", "data": "secret"}}]'),
	('SE002', '[{"stream": "bad-1", "expected_version": 0, "events": {"type": "A", "id": "c0000000-0000-0000-0000-000000000001"}},
		{"stream": "bad-2", "expected_version": 0, "events": {"type": "A", "data": "secret", "id": "c0000000-0000-0000-0000-000000000001"}}]')) v (want, batch);

-- Readers
INSERT INTO bad_calls (want, call) VALUES
	('22004', $$es_read(NULL)$$), ('22023', $$es_read('')$$), ('54000', $$es_read(repeat('x', 513))$$), ('22023', $$es_read('bad-1', -1)$$), ('22023', $$es_read('bad-1', 1, -1)$$),
	('22023', $$es_read('bad-1', NULL, -9223372036854775807)$$), ('22004', $$es_read('bad-1', backward => NULL)$$),
	('22004', $$es_read_all(NULL)$$), ('22023', $$es_read_all(-1)$$), ('22023', $$es_read_all(0, -1)$$), ('22004', $$es_read_all(0, 1, '{A,NULL}')$$), ('22004', $$es_read_all(0, 1, NULL, NULL)$$),
	('22004', $$es_read_category(NULL)$$), ('22004', $$es_read_category('bad', NULL)$$), ('22023', $$es_read_category('bad', -1)$$), ('22023', $$es_read_category('bad', 0, -1)$$),
	('22004', $$es_read_category('bad', 0, 1, '{NULL}')$$), ('22004', $$es_read_category('bad', 0, 1, NULL, NULL)$$),
	('22004', $$es_stream_version(NULL)$$), ('22023', $$es_stream_version('')$$), ('54000', $$es_stream_version(repeat('x', 513))$$),
	('22004', $$es_last_event(NULL)$$), ('22023', $$es_last_event('')$$), ('54000', $$es_last_event(repeat('x', 513), 'A')$$),
	('22004', $$es_stream_as_of(NULL, now())$$), ('22004', $$es_stream_as_of('bad-1', NULL)$$), ('22023', $$es_stream_as_of('', now())$$), ('54000', $$es_stream_as_of(repeat('x', 513), now())$$),
	('22007', $$es_stream_as_of('bad-1', 'yesterday noonish')$$);

-- Grants
INSERT INTO bad_calls (want, call) VALUES
	('22004', $$es_grant(NULL, 'read')$$), ('22004', $$es_grant(current_user::regrole, NULL)$$), ('22023', $$es_grant(current_user::regrole, 'write')$$), ('22023', $$es_grant(current_user::regrole, '')$$),
	('22023', $$es_grant(current_user::regrole, 'Read')$$), ('22023', $$es_grant('-', 'read')$$), ('22023', $$es_grant(0, 'read')$$), ('42704', $$es_grant('regress_es_nobody', 'read')$$), ('42704', $$es_grant(4294967295::oid, 'read')$$),
	('22023', $$es_grant(current_user::regrole, 'admin', 'category')$$), ('22023', $$es_grant(current_user::regrole, 'read', 'category-1')$$), ('22023', $$es_grant(current_user::regrole, 'read', NULL, '')$$), ('22023', $$es_grant(current_user::regrole, 'read', NULL, 'a}')$$),
	('54000', $$es_grant(current_user::regrole, 'read', repeat('x', 513))$$), ('54000', $$es_grant(current_user::regrole, 'read', 'c', repeat('x', 513))$$), ('22004', $$es_tenant(NULL)$$), ('22023', $$es_tenant('')$$), ('54000', $$es_tenant(repeat('x', 513))$$),
	('22023', $$es_create_subscription('bad', tenant => '')$$), ('22023', $$es_create_subscription('bad', tenant => 'a}')$$), ('54000', $$es_create_subscription('bad', tenant => repeat('x', 513))$$),
	('22004', $$es_revoke(NULL, 'read')$$), ('22004', $$es_revoke(current_user::regrole, NULL)$$), ('22023', $$es_revoke(current_user::regrole, 'write')$$), ('22023', $$es_revoke('-', 'read')$$),
	('42704', $$es_revoke('regress_es_nobody', 'read')$$), ('42704', $$es_revoke(4294967295::oid, 'read')$$), ('22023', $$es_revoke(current_user::regrole, 'admin', 'category')$$);

-- Trigger functions cannot be called.
INSERT INTO bad_calls (want, call) VALUES ('39P01', 'eventstore.refuse_change()');

CREATE FUNCTION run_bad_calls() RETURNS TABLE (nr int, call text, want text, got text, message text) LANGUAGE plpgsql AS
$$
DECLARE
	bad          record;
	detail       text;
	hint         text;
	context      text;
	row_count    bigint;
	before       text := (SELECT (count(*), (SELECT count(*) FROM eventstore.streams), (SELECT last_value FROM eventstore.positions), es_last_position())::text FROM eventstore.events);
BEGIN
	FOR bad IN SELECT * FROM bad_calls b ORDER BY b.nr LOOP
		nr := bad.nr;
		call := bad.call;
		want := bad.want;
		got := 'no error';
		message := NULL;
		detail := '';
		hint := '';
		context := '';
		BEGIN
			EXECUTE 'SELECT count(t::text) FROM (SELECT ' || bad.call || ') t' INTO row_count;
		EXCEPTION
			WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS got = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT,
					context = PG_EXCEPTION_CONTEXT;
		END;
		-- Secrets, and what nobody wants to read. The context ends with the call itself.
		message := concat_ws(' | ', message, nullif(detail, ''), nullif(hint, ''));
		IF message ~ 'secret' OR split_part(context, 'SQL statement', 1) ~ 'secret' THEN
			got := got || ', and it shows payload';
		ELSIF length(message) > 400 THEN
			got := got || ', at great length';
		END IF;
		-- What every call must leave as it was; positions may have moved on where a call failed late.
		IF before <> (SELECT (count(*), (SELECT count(*) FROM eventstore.streams), (SELECT last_value FROM eventstore.positions), es_last_position())::text FROM eventstore.events) THEN
			got := got || ', and the store has changed';
			before := (SELECT (count(*), (SELECT count(*) FROM eventstore.streams), (SELECT last_value FROM eventstore.positions), es_last_position())::text FROM eventstore.events);
		END IF;
		RETURN NEXT;
	END LOOP;
END
$$;

CREATE TABLE outcomes AS SELECT * FROM run_bad_calls();
-- Enough of them
SELECT count(*) > 200 AS "more than 200 calls", count(DISTINCT regexp_replace(message, '[0-9]+', 'n', 'g')) > 60 AS "more than 60 messages" FROM outcomes;
-- The wrong ones: none
SELECT nr, call, want, got, message FROM outcomes WHERE got <> want ORDER BY nr;
-- By code
SELECT got, count(*) FROM outcomes GROUP BY 1 ORDER BY 1;
-- Our own messages, once each; those of the server differ from version to version.
SELECT got, message FROM outcomes
WHERE got NOT IN ('22P02', '42883', '22007', '22003', '22P05', '42704', '0A000') GROUP BY 1, 2 ORDER BY got, message COLLATE "C";

-- Read-only transactions
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE call;
	RETURN 'no error';
EXCEPTION
	WHEN OTHERS THEN
		RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
BEGIN READ ONLY;
SELECT call, attempt('SELECT ' || call)
FROM unnest(ARRAY[$$es_append('bad-1', 0, 'A', '{}')$$, $$es_append('bad-1', -1, '{"type": "A"}')$$, $$es_append('bad-1', 7, ARRAY['A'], ARRAY['{}']::jsonb[])$$,
				  $$es_append_streams('[{"stream": "bad-1", "expected_version": 0, "events": {"type": "A"}}]')$$, $$es_assert_version('bad-1', 0)$$,
				  $$es_grant(current_user::regrole, 'read')$$, $$es_revoke(current_user::regrole, 'read')$$, $$es_read('bad-1')$$, $$es_stream_version('bad-1')$$]) call;
COMMIT;

-- Argument checks come first, also there.
BEGIN READ ONLY;
SELECT attempt('SELECT es_append('''', 0, ''A'', ''{}'')');
ROLLBACK;

-- After all that, the stream is still new.
SELECT es_append('bad-1', 0, 'A', '{}');
SET client_min_messages = warning;
DROP SCHEMA test_bad_input CASCADE;
