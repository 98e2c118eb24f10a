-- Erasure by keys: envelopes, what opens them, and what does not.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
DROP ROLE IF EXISTS regress_es_eraser_none, regress_es_eraser_append, regress_es_eraser_read, regress_es_eraser_reveal, regress_es_eraser_admin, regress_es_eraser_keys;
RESET client_min_messages;
-- A build without OpenSSL says so, and that is all (erasure_1.out; 073_erasure.pl tests what such a one can do).
CREATE FUNCTION pg_temp.has_openssl() RETURNS boolean LANGUAGE plpgsql AS
$$
BEGIN
	PERFORM es_protect('x', '1');
	RETURN true;
EXCEPTION
	WHEN feature_not_supported THEN RETURN false;
END
$$;
SELECT pg_temp.has_openssl() AS has_openssl \gset
\if :has_openssl
\else
	\echo 'built without OpenSSL'
	\quit
\endif
CREATE SCHEMA test_erasure;
SET search_path = test_erasure, public;
SET jit = off;
SET datestyle = iso;
\pset tuples_only on
\pset format unaligned

SELECT * FROM no_plan();

-- What goes in comes out, whatever it is.
CREATE TABLE values_of_all_kinds (value jsonb);
INSERT INTO values_of_all_kinds VALUES
	('null'), ('true'), ('false'), ('0'), ('-1.50'), ('1e-200'), ('12345678901234567890.123456789012345678900'), ('""'), ('"x"'), ('"Ünïcode ☃ \" \\ \n \u0007"'), ('[]'), ('{}'),
	('[null, [[], {}], {"a": {"b": [1, 2.00, "3"]}}]'), ('{"z": 1, "a": {"$es": 1}, "": null}'), (to_jsonb(repeat('long ', 20000))), ((SELECT jsonb_agg(i) FROM generate_series(1, 1000) i));
SELECT is(es_reveal(es_protect('all', value))::text, value::text, left(value::text, 60)) FROM values_of_all_kinds;
SELECT is(es_reveal(jsonb_build_object('v', es_protect('all', value), 'w', jsonb_build_array(value, es_protect('all', value))))::text,
		  jsonb_build_object('v', value, 'w', jsonb_build_array(value, value))::text, 'inside: ' || left(value::text, 60)) FROM values_of_all_kinds;
SELECT is(es_reveal(value)::text, value::text, 'as it is: ' || left(value::text, 60)) FROM values_of_all_kinds;
SELECT is(es_reveal(NULL), NULL, 'null');

-- An envelope shows whose it is, and nothing else.
SELECT es_protect('alice', '"secret"') AS alice, es_protect('bob', '"secret"') AS bob \gset
SELECT is(:'alice'::jsonb - 'box' - 'key', '{"$es": 1, "subject": "alice"}', 'format and subject');
SELECT is((SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(:'alice') k), '{$es,box,key,subject}', 'and two more keys');
SELECT is(length(decode(:'alice'::jsonb->>'box', 'base64')), 44 + length('"secret"'), 'the box is 44 bytes longer than the text');
SELECT is(:'alice'::jsonb->>'key', encode(id, 'hex'), 'the key is called by its id') FROM eventstore.subject_keys WHERE subject = 'alice';
SELECT is(id, substring(sha256_hmac, 1, 8), 'which is made of it')
FROM eventstore.subject_keys,
	 LATERAL (SELECT (SELECT string_agg(set_byte('\x00', 0, get_byte(rpad_key, i) # 54), '' ORDER BY i) FROM generate_series(0, 63) i) AS inner_pad,
					 (SELECT string_agg(set_byte('\x00', 0, get_byte(rpad_key, i) # 92), '' ORDER BY i) FROM generate_series(0, 63) i) AS outer_pad
			  FROM (SELECT key || decode(repeat('00', 32), 'hex') AS rpad_key) k) pads,
	 LATERAL (SELECT sha256(outer_pad || sha256(inner_pad || convert_to('eventstore key id', 'UTF8'))) AS sha256_hmac) h
WHERE subject = 'alice';
SELECT isnt(es_protect('alice', '"secret"'), :'alice'::jsonb, 'no two are the same');
SELECT is(count(*), 1::bigint, 'one key a subject') FROM eventstore.subject_keys WHERE subject = 'alice';
SELECT is((SELECT array_agg(es_reveal(es_protect('many', to_jsonb(i))) ORDER BY i) FROM generate_series(1, 100) i), (SELECT array_agg(to_jsonb(i) ORDER BY i) FROM generate_series(1, 100) i), 'a new subject, many times in a statement');
SELECT is(count(*), 1::bigint, 'one key') FROM eventstore.subject_keys WHERE subject = 'many';

-- In an envelope there may be others.
SELECT is(es_reveal(es_protect('bob', :'alice')), '"secret"', 'an envelope in an envelope');
SELECT is(es_reveal(es_protect('bob', es_protect('alice', es_protect('bob', '[1]')))), '[1]', 'and in that');
SELECT is(es_reveal(jsonb_build_array(1, es_protect('bob', jsonb_build_object('a', :'alice'::jsonb, 'n', 1.10)))), '[1, {"a": "secret", "n": 1.10}]', 'or deeper');

-- What is changed does not open; what is of another form is no envelope.
CREATE FUNCTION of_box(envelope jsonb, byte int) RETURNS jsonb LANGUAGE sql AS
$$
	SELECT jsonb_set(envelope, '{box}', to_jsonb(translate(encode(set_byte(box, byte, get_byte(box, byte) # 1), 'base64'), E'\n', ''))) FROM decode(envelope->>'box', 'base64') box
$$;
SELECT throws_ok(format('SELECT es_reveal(%L)', of_box(:'alice', byte)), '22000', 'an envelope of subject "alice" does not open', 'byte ' || byte) FROM unnest('{0,15,16,27,28,35,36,51}'::int[]) byte;
SELECT throws_ok(format('SELECT es_reveal(%L)', jsonb_set(:'alice', '{box}', to_jsonb(box))), '22000', 'an envelope of subject "alice" does not open', what)
FROM (VALUES ('zeroes', repeat('A', 60)), ('no base64', repeat('!', 60)), ('a letter more', (:'alice'::jsonb->>'box') || 'A'), ('a byte more', (:'alice'::jsonb->>'box') || 'AAAA'), ('another box', :'bob'::jsonb->>'box')) v (what, box);
-- Of another subject's, of another key
SELECT throws_ok(format('SELECT es_reveal(%L)', jsonb_set(:'bob', '{subject}', '"alice"')), '55000', 'a key of subject "alice" is lost', 'a name that was exchanged');
SELECT throws_ok(format('SELECT es_reveal(%L)', jsonb_set(:'bob', '{key}', :'alice'::jsonb->'key') || '{"subject": "alice"}'), '22000', 'an envelope of subject "alice" does not open', 'a box that was exchanged');
SELECT is(es_reveal(data), data, 'no envelope: ' || what) FROM (VALUES
	('another key', :'alice'::jsonb || '{"more": 1}'), ('a key is missing', :'alice'::jsonb - 'key'), ('another format', :'alice'::jsonb || '{"$es": 2}'), ('the format is a string', :'alice'::jsonb || '{"$es": "1"}'),
	('the format is no whole number', :'alice'::jsonb || '{"$es": 1.5}'), ('the id is not in small letters', :'alice'::jsonb || '{"key": "0F1E2D3C4B5A6978"}'), ('the id is short', :'alice'::jsonb || '{"key": "0f1e"}'),
	('the subject is null', :'alice'::jsonb || '{"subject": null}'), ('the subject is empty', :'alice'::jsonb || '{"subject": ""}'), ('the subject is too long', :'alice'::jsonb || jsonb_build_object('subject', repeat('x', 513)))) v (what, data);
SELECT is(es_reveal(:'alice'::jsonb || '{"$es": 1.0}'), '"secret"', '1.0 is 1');

-- Arguments
SELECT throws_ok($$SELECT es_protect(NULL, '1')$$, '22004', 'subject must not be null', 'no subject');
SELECT throws_ok($$SELECT es_protect('alice', NULL)$$, '22004', 'value must not be null', 'no value');
SELECT throws_ok($$SELECT es_protect('', '1')$$, '22023', 'subject must not be empty', 'an empty subject');
SELECT throws_ok($$SELECT es_protect(repeat('x', 513), '1')$$, '54000', 'subject is too long', 'a subject that is too long');
SELECT is(es_reveal(es_protect(repeat('é', 256), '1')), '1', '512 bytes');
SELECT throws_ok($$SELECT es_erase_subject(NULL, 'x')$$, '22004', 'subject must not be null', 'nobody is erased');
SELECT throws_ok($$SELECT es_erase_subject('alice', NULL)$$, '22004', 'reason must not be null', 'nobody is erased without a reason');
SELECT throws_ok($$SELECT es_erase_subject('', 'x')$$, '22023', 'subject must not be empty', 'nor the empty name');
SELECT throws_ok($$SELECT es_protect('alice', to_jsonb(repeat('x', 134217727)))$$, '54000', 'value is too long to be protected', 'a value that is too long');

-- A key that is lost, and found again
CREATE TABLE safe AS SELECT * FROM eventstore.subject_keys WHERE subject = 'alice';
DELETE FROM eventstore.subject_keys WHERE subject = 'alice';
SELECT throws_ok(format('SELECT es_reveal(%L)', :'alice'), '55000', 'a key of subject "alice" is lost', 'what is lost');
SELECT es_protect('alice', '"anew"') AS anew \gset
SELECT is(es_reveal(:'anew'), '"anew"', 'goes on with another key');
SELECT throws_ok(format('SELECT es_reveal(%L)', :'alice'), '55000', 'a key of subject "alice" is lost', 'which does not open the old ones');
INSERT INTO eventstore.subject_keys TABLE safe;
SELECT is(es_reveal(jsonb_build_array(:'alice'::jsonb, :'anew'::jsonb)), '["secret", "anew"]', 'the old one is brought back beside it');
SELECT is(es_protect('alice', '1')->>'key', :'anew'::jsonb->>'key', 'the newest is used');

-- Erased
SELECT es_append('person-1', 0, 'Registered', jsonb_build_object('name', :'alice'::jsonb, 'plan', 'basic'), jsonb_build_object('by', :'anew'::jsonb));
SELECT lives_ok($$SELECT es_erase_subject('alice', 'asked for it')$$, 'alice is erased');
SELECT is(count(*), 0::bigint, 'no key is left') FROM eventstore.subject_keys WHERE subject = 'alice';
SELECT is((erased_at BETWEEN now() - interval '1 minute' AND now(), erased_by, reason)::text, format('(t,%s,"asked for it")', current_user), 'when, by whom and why') FROM eventstore.erasures WHERE subject = 'alice';
SELECT is(es_reveal(data), '{"name": null, "plan": "basic"}', 'what was hers is null'), is(es_reveal(metadata), '{"by": null}', 'all of it') FROM es_read('person-1');
SELECT is(es_reveal(:'alice'), 'null', 'the JSON value'), is(es_reveal(es_protect('bob', :'alice')), 'null', 'in an envelope'), is(es_reveal(es_protect('bob', jsonb_build_array(:'alice'::jsonb))), '[null]', 'and deeper');
SELECT is(es_reveal(of_box(:'alice', 20)), 'null', 'whatever is in it');
SELECT is(es_reveal(:'bob'), '"secret"', 'others'' are as they were');
SELECT throws_ok($$SELECT es_protect('alice', '1')$$, 'SE010', 'subject "alice" is erased', 'nothing can be protected for her');
DO $$ DECLARE detail text; BEGIN PERFORM es_protect('alice', '1'); EXCEPTION WHEN SQLSTATE 'SE010' THEN GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	IF detail <> format('It was erased at %s.', (SELECT erased_at FROM eventstore.erasures WHERE subject = 'alice')) THEN RAISE '%', detail; END IF; END $$;
-- The fence holds, whatever keys come back.
INSERT INTO eventstore.subject_keys TABLE safe;
SELECT is(es_reveal(:'alice'), 'null', 'a key that comes back opens nothing'), throws_ok($$SELECT es_protect('alice', '1')$$, 'SE010', 'subject "alice" is erased', 'and protects nothing');
CREATE TABLE erased AS SELECT * FROM eventstore.erasures WHERE subject = 'alice';
SELECT lives_ok($$SELECT es_erase_subject('alice', 'once more')$$, 'alice is erased once more');
SELECT is((SELECT e FROM eventstore.erasures e WHERE subject = 'alice')::text, (SELECT e FROM erased e)::text, 'the first time counts');
SELECT is(count(*), 0::bigint, 'the key that has come back is gone') FROM eventstore.subject_keys WHERE subject = 'alice';
SELECT lives_ok($$SELECT es_erase_subject('nobody', 'never heard of')$$, 'somebody unknown is erased');
SELECT throws_ok($$SELECT es_protect('nobody', '1')$$, 'SE010', 'subject "nobody" is erased', 'and stays so');
-- What is rolled back has not happened.
BEGIN;
SELECT es_erase_subject('bob', 'a mistake');
SELECT is(es_reveal(:'bob'), 'null', 'bob is erased');
ROLLBACK;
SELECT is(es_reveal(:'bob'), '"secret"', 'bob is not');
BEGIN;
SELECT es_protect('eve', '1') AS eve \gset
ROLLBACK;
SELECT throws_ok(format('SELECT es_reveal(%L)', :'eve'), '55000', 'a key of subject "eve" is lost', 'so is the key of who came in a transaction that was rolled back');

-- Snapshots
SET client_min_messages = notice;
SELECT es_append('person-' || n, 0, '[{"type": "Opened"}, {"type": "Named"}, {"type": "Closed"}]') FROM generate_series(2, 4) n;
SELECT es_append('person-2', 3, 'Named', jsonb_build_object('deep', jsonb_build_array(es_protect('carol', '"Carol"'))));
SELECT es_append('person-3', 3, 'Named', '{}', jsonb_build_object('by', es_protect('carol', '"Carol"')));
SELECT es_append('person-4', 3, 'Named', jsonb_build_object('name', es_protect('dave', '"Dave"')));
SELECT es_save_snapshot('person-2', 3, '{"name": null}', 1), es_save_snapshot('person-2', 4, '{"name": "Carol"}', 2), es_save_snapshot('person-3', 4, '"Carol"'), es_save_snapshot('person-4', 4, '"Dave"'),
	   es_save_snapshot('person-4', 2, jsonb_build_array(es_protect('carol', '1')), 7);
SELECT es_erase_subject('carol', 'asked for it');
SELECT stream, schema_version, version FROM eventstore.snapshots WHERE stream LIKE 'person-%' ORDER BY 1, 2;
SELECT es_erase_subject('carol', 'asked for it');
RESET client_min_messages;

-- Who may what
CREATE ROLE regress_es_eraser_none;
CREATE ROLE regress_es_eraser_append;
CREATE ROLE regress_es_eraser_read;
CREATE ROLE regress_es_eraser_reveal;
CREATE ROLE regress_es_eraser_admin;
SELECT es_grant('regress_es_eraser_append', 'append'), es_grant('regress_es_eraser_read', 'read'), es_grant('regress_es_eraser_reveal', 'reveal'), es_grant('regress_es_eraser_admin', 'admin');
SELECT role, level FROM eventstore.grants WHERE role LIKE 'regress_es_eraser%' ORDER BY 1;
CREATE FUNCTION attempt_as(who text, call text) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', who);
	EXECUTE call;
	RAISE 'done' USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN RETURN 'yes';
	WHEN insufficient_privilege THEN RETURN '-';
	WHEN OTHERS THEN RETURN SQLSTATE;
END
$$;
SELECT replace(call, :'bob', '...') || ': ' || string_agg(who || ' ' || attempt_as('regress_es_eraser_' || who, call), ', ' ORDER BY who)
FROM (VALUES (1, 'SELECT es_protect(''bob'', ''1'')'), (2, 'SELECT es_protect(''new'', ''1'')'), (3, format('SELECT es_reveal(%L)', :'bob')), (4, 'SELECT es_reveal(''1'')'), (5, 'SELECT es_erase_subject(''bob'', ''x'')'),
			 (6, 'TABLE eventstore.erasures'), (7, 'TABLE eventstore.subject_keys'), (8, 'DELETE FROM eventstore.erasures'), (9, 'UPDATE eventstore.subject_keys SET key = key'),
			 (10, 'SET eventstore.key_provider = ''a.b'''), (11, 'SELECT eventstore.may_reveal()'), (12, 'SELECT count(*) FROM eventstore.events')) c (nr, call),
	 unnest('{none,append,read,reveal,admin}'::text[]) who
GROUP BY nr, call ORDER BY nr;
-- Who erased is the one who called.
BEGIN;
SET LOCAL ROLE regress_es_eraser_admin;
SELECT es_erase_subject('frank', 'asked for it');
SELECT erased_by FROM eventstore.erasures WHERE subject = 'frank';
ROLLBACK;
SELECT es_revoke('regress_es_eraser_reveal', 'reveal');
SELECT attempt_as('regress_es_eraser_reveal', 'SELECT es_reveal(''1'')');
SELECT es_grant('regress_es_eraser_reveal', 'reveal');

-- Within bounds: subjects by their names, as if they were streams
SELECT es_revoke('regress_es_eraser_reveal', 'reveal'), es_grant('regress_es_eraser_reveal', 'reveal', 'customer'), es_grant('regress_es_eraser_reveal', 'reveal', tenant => 'acme');
SELECT es_protect('customer-{other}-1', '1') AS of_category, es_protect('supplier-{acme}-1', '2') AS of_tenant, es_protect('supplier-{other}-1', '3') AS of_others \gset
SET ROLE regress_es_eraser_reveal;
SELECT es_reveal(jsonb_build_array(:'of_category'::jsonb, :'of_tenant'::jsonb));
RESET ROLE;
SELECT attempt_as('regress_es_eraser_reveal', format('SELECT es_reveal(%L)', data)) FROM (VALUES (:'of_others'::jsonb), (jsonb_build_array(:'of_tenant'::jsonb, :'of_others'::jsonb)), (:'bob')) v (data);
-- Nor what is erased, or in another one's envelope
SELECT es_protect('customer-{other}-1', :'of_others') AS around \gset
SELECT attempt_as('regress_es_eraser_reveal', format('SELECT es_reveal(%L)', :'around'));
SELECT es_erase_subject('supplier-{other}-1', 'x');
SELECT attempt_as('regress_es_eraser_reveal', format('SELECT es_reveal(%L)', :'of_others'));
SELECT es_revoke('regress_es_eraser_reveal', 'reveal'), es_grant('regress_es_eraser_reveal', 'reveal');

-- Keys of the user's own: by a function that runs with its owner's rights
CREATE ROLE regress_es_eraser_keys;
CREATE SCHEMA test_keys AUTHORIZATION regress_es_eraser_keys;
SET ROLE regress_es_eraser_keys;
CREATE TABLE test_keys.keys (subject text PRIMARY KEY, key bytea);
CREATE TABLE test_keys.calls (nr int GENERATED ALWAYS AS IDENTITY, subject text, is_new boolean, called_as text, path text);
CREATE FUNCTION test_keys.key(subject text, is_new boolean) RETURNS bytea LANGUAGE plpgsql AS
$$
DECLARE
	found bytea;
BEGIN
	INSERT INTO test_keys.calls (subject, is_new, called_as, path) VALUES ($1, $2, current_user, current_setting('search_path'));
	IF is_new THEN
		INSERT INTO test_keys.keys VALUES ($1, sha256(convert_to($1, 'UTF8'))) ON CONFLICT DO NOTHING;
	END IF;
	SELECT k.key INTO found FROM test_keys.keys k WHERE k.subject = $1;
	RETURN found;
END
$$;
REVOKE ALL ON FUNCTION test_keys.key(text, boolean) FROM PUBLIC;
CREATE FUNCTION test_keys.short(subject text, is_new boolean) RETURNS bytea LANGUAGE sql RETURN '\x00'::bytea;
CREATE FUNCTION test_keys.of_text(subject text, is_new boolean) RETURNS text LANGUAGE sql RETURN 'x'::text;
CREATE FUNCTION test_keys.many(subject text, is_new boolean) RETURNS SETOF bytea LANGUAGE sql AS $$ SELECT ''::bytea $$;
CREATE FUNCTION test_keys.failing(subject text, is_new boolean) RETURNS bytea LANGUAGE plpgsql AS $$ BEGIN RAISE 'the safe is closed' USING ERRCODE = '55P03'; END $$;
RESET ROLE;
SELECT throws_ok(format('SET eventstore.key_provider = %L', name), '22023', NULL, 'not set: ' || name) FROM unnest('{key,a.b.c,.key,"a..b"}'::text[]) name;
SET eventstore.key_provider = 'test_keys.key';
SET ROLE regress_es_eraser_append;
SELECT es_protect('gina', '"Gina"') AS gina \gset
RESET ROLE;
SET ROLE regress_es_eraser_reveal;
SELECT es_reveal(:'gina');
RESET ROLE;
SELECT nr, subject, is_new, called_as, path FROM test_keys.calls ORDER BY nr;
SELECT current_user = session_user, current_setting('search_path');
SELECT is(count(*), 0::bigint, 'no key here') FROM eventstore.subject_keys WHERE subject = 'gina';
SELECT throws_ok(format('SELECT es_reveal(%L)', :'bob'), '55000', NULL, 'a key that the provider does not have') FROM (SELECT es_protect('bob', '1') OFFSET 0) o;
-- Null: erased
UPDATE test_keys.keys SET key = NULL WHERE subject = 'gina';
SELECT is(es_reveal(:'gina'), 'null', 'erased by the provider');
SELECT throws_ok($$SELECT es_protect('gina', '1')$$, 'SE010', 'subject "gina" is erased', 'and so it stays');
-- The fence counts without it.
SELECT es_protect('hugo', '"Hugo"') AS hugo \gset
SELECT es_erase_subject('hugo', 'asked for it');
SELECT is(key IS NOT NULL, true, 'the provider''s key is the provider''s') FROM test_keys.keys WHERE subject = 'hugo';
SELECT is(es_reveal(:'hugo'), 'null', 'and opens nothing'), throws_ok($$SELECT es_protect('hugo', '1')$$, 'SE010', 'subject "hugo" is erased', 'nor does it protect');
SELECT is(count(*), 0::bigint, 'nor is it asked') FROM test_keys.calls WHERE subject = 'hugo' AND NOT is_new;
-- What is none
SET eventstore.key_provider = 'test_keys.short';
SELECT throws_ok($$SELECT es_protect('ida', '1')$$, '38000', 'key provider "test_keys.short" returned no key', 'a short key');
SET eventstore.key_provider = 'test_keys.gone';
SELECT throws_ok($$SELECT es_protect('ida', '1')$$, '42883', 'key provider "test_keys.gone" does not exist', 'no function');
SET eventstore.key_provider = 'nowhere.key';
SELECT throws_ok($$SELECT es_protect('ida', '1')$$, '42883', 'key provider "nowhere.key" does not exist', 'no schema');
SET eventstore.key_provider = 'test_keys.of_text';
SELECT throws_ok($$SELECT es_protect('ida', '1')$$, '42P13', 'key provider "test_keys.of_text" must be a function that returns bytea', 'another type');
SET eventstore.key_provider = 'test_keys.many';
SELECT throws_ok($$SELECT es_protect('ida', '1')$$, '42P13', 'key provider "test_keys.many" must be a function that returns bytea', 'a set');
SET eventstore.key_provider = 'test_keys.failing';
SELECT throws_ok($$SELECT es_protect('ida', '1')$$, '55P03', 'the safe is closed', 'its own errors');
SELECT current_user = session_user, current_setting('search_path');
RESET eventstore.key_provider;
SELECT is(es_reveal(:'bob'), '"secret"', 'the keys of the table are as they were');

-- Read-only
BEGIN READ ONLY;
SELECT is(es_reveal(es_protect('bob', '1')), '1', 'a key that is there does for a read-only transaction');
SELECT throws_ok($$SELECT es_protect('jack', '1')$$, '25006', NULL, 'another one cannot be made');
SELECT throws_ok($$SELECT es_erase_subject('bob', 'x')$$, '25006', NULL, 'nor destroyed');
ROLLBACK;
SELECT * FROM finish();

SET client_min_messages = warning;
DROP SCHEMA test_erasure, test_keys CASCADE;
SELECT es_revoke('regress_es_eraser_append', 'append'), es_revoke('regress_es_eraser_read', 'read'), es_revoke('regress_es_eraser_reveal', 'reveal'), es_revoke('regress_es_eraser_admin', 'admin');
DROP ROLE regress_es_eraser_none, regress_es_eraser_append, regress_es_eraser_read, regress_es_eraser_reveal, regress_es_eraser_admin, regress_es_eraser_keys;
