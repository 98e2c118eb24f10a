-- Who may do what: PUBLIC nothing; a role what es_grant gave it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
DROP ROLE IF EXISTS regress_es_none, regress_es_read, regress_es_append, regress_es_admin, regress_es_member, "regress_es Strange ""name""; DROP", regress_es_owner;
RESET client_min_messages;
CREATE SCHEMA test_access;
SET search_path = test_access, public;
CREATE ROLE regress_es_none;
CREATE ROLE regress_es_read;
CREATE ROLE regress_es_append;
CREATE ROLE regress_es_admin;
CREATE ROLE regress_es_member IN ROLE regress_es_append;
CREATE ROLE "regress_es Strange ""name""; DROP";
GRANT USAGE ON SCHEMA test_access TO PUBLIC;

-- Each call is made as a role, and undone.
CREATE TABLE calls (nr int GENERATED ALWAYS AS IDENTITY, call text);
GRANT SELECT ON calls TO PUBLIC;
INSERT INTO calls (call) VALUES
	('SELECT es_read(''access-1'')'), ('SELECT es_read_all(0, 1)'), ('SELECT es_read_category(''access'')'), ('SELECT es_stream_version(''access-1'')'), ('SELECT es_last_event(''access-1'')'),
	('SELECT es_stream_as_of(''access-1'', now())'), ('SELECT count(*) FROM eventstore.events'), ('SELECT es_any(), es_exists(), es_no_stream()'),
	('SELECT es_append(''access-1'', -1, ''T'', ''{}'')'), ('SELECT es_append(''access-1'', -1, ''T'', ''{}''::jsonb)'), ('SELECT es_append(''access-1'', -1, ''{"type": "T"}'')'),
	('SELECT es_append(''access-1'', -1, ARRAY[''T''], ARRAY[''{}'']::jsonb[])'), ('SELECT es_append_streams(''[{"stream": "access-2", "expected_version": 0, "events": {"type": "T"}}]'')'),
	('SELECT es_assert_version(''access-1'', 1)'), ('SELECT es_last_position()'), ('SELECT es_position_at(now())'), ('SELECT count(*) FROM eventstore.marks'), ('DELETE FROM eventstore.marks'),
	('SELECT count(*) FROM eventstore.streams'), ('SELECT count(*) FROM eventstore.grants'), ('SELECT es_grant(''regress_es_none'', ''read'')'), ('SELECT es_revoke(''regress_es_read'', ''read'')'),
	('INSERT INTO eventstore.events SELECT * FROM eventstore.events WHERE false'), ('UPDATE eventstore.events SET type = type WHERE false'), ('DELETE FROM eventstore.events WHERE false'), ('TRUNCATE eventstore.events'),
	('INSERT INTO eventstore.streams VALUES (''access-9'', 9, now())'), ('UPDATE eventstore.streams SET version = 0 WHERE false'), ('DELETE FROM eventstore.streams WHERE false'), ('TRUNCATE eventstore.streams'),
	('SELECT nextval(''eventstore.positions'')'), ('SELECT setval(''eventstore.positions'', 1)'), ('SELECT last_value FROM eventstore.positions'),
	('SELECT es_partition(''access-1'', 64)'), ('SELECT es_create_subscription(''access-new'')'), ('SELECT es_fetch(''access'')'), ('SELECT es_ack(''access'', 1, 1)'), ('SELECT es_nack(''access'', 1, 1, ''no'')'), ('SELECT es_release(''access'')'),
	('SELECT es_replay_parked(''access'')'), ('SELECT es_reset_subscription(''access'', 0)'), ('SELECT es_alter_subscription(''access'', 2)'), ('SELECT es_drop_subscription(''access'')'),
	('SELECT es_pause_subscription(''access'')'), ('SELECT es_resume_subscription(''access'')'), ('SELECT es_drop_parked(''access'', (SELECT gen_random_uuid()))'), ('SELECT es_replay_parked(''access'', (SELECT gen_random_uuid()))'), ('SELECT es_replay_parked(''access'', NULL)'),
	('SELECT count(*) FROM eventstore.subscription_status'), ('SELECT count(*) FROM eventstore.parked'), ('SELECT eventstore.find_subscription_status(''s'')'), ('SELECT eventstore.find_subscription_division(''s'')'), ('SELECT eventstore.count_behind(''p'', 0, NULL, NULL)'), ('SELECT count(*) FROM eventstore.subscriptions'), ('SELECT count(*) FROM eventstore.subscription_shares'),
	('SELECT count(*) FROM eventstore.subscription_retries'), ('DELETE FROM eventstore.subscription_shares'), ('UPDATE eventstore.subscription_retries SET due = now()'), ('INSERT INTO eventstore.subscriptions SELECT * FROM eventstore.subscriptions'),
	('SELECT nextval(''eventstore.subscription_tokens'')'), ('SELECT nextval(''eventstore.subscription_revisions'')'),
	('SELECT eventstore.may_read()'), ('SELECT eventstore.may_append()'), ('SELECT eventstore.may_administer()'), ('SELECT eventstore.may_reveal()'), ('SELECT eventstore.may_read_within()'), ('SELECT eventstore.guard_events()'), ('SELECT eventstore.make_marker_of_bound(''read'', ''a'', NULL)'), ('SELECT es_tenant(''access-{a}-1'')'), ('SELECT eventstore.apply_grants(''regress_es_none'')'),
	('SELECT eventstore.rights_of_level(''admin'')'), ('SELECT eventstore.marker_of_level(''admin'')'), ('SELECT eventstore.check_grant(0, NULL, NULL, NULL)'), ('SELECT eventstore.refuse_change()'),
	('CREATE TABLE eventstore.mine ()'), ('CREATE TRIGGER mine AFTER INSERT ON eventstore.events EXECUTE FUNCTION suppress_redundant_updates_trigger()'), ('LOCK eventstore.events'),
	('ALTER TABLE eventstore.events DISABLE TRIGGER ALL'), ('COMMENT ON TABLE eventstore.events IS NULL'), ('DROP EXTENSION eventstore');

CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE call;
	RAISE 'done' USING ERRCODE = 'UNDO0';
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN
		RETURN 'yes';
	WHEN insufficient_privilege OR wrong_object_type THEN
		RETURN '-';
	WHEN OTHERS THEN
		RETURN SQLSTATE;
END
$$;
CREATE FUNCTION attempt_as(who regrole, call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %s', who);
	result := test_access.attempt(call);
	RESET ROLE;
	RETURN result;
END
$$;

SELECT es_append('access-1', 0, 'A', '{}');
SELECT es_create_subscription('access');
SELECT es_grant('regress_es_read', 'read'), es_grant('regress_es_append', 'append'), es_grant('regress_es_admin', 'admin');
SELECT * FROM eventstore.grants WHERE role LIKE 'regress_es%' ORDER BY role, level;

SELECT call, attempt_as('regress_es_none', call) AS none, attempt_as('regress_es_read', call) AS read, attempt_as('regress_es_append', call) AS append,
	   attempt_as('regress_es_member', call) AS member, attempt_as('regress_es_admin', call) AS admin
FROM calls ORDER BY nr;

-- Where PUBLIC may not use the functions' schema, es_grant lets the role in.
REVOKE USAGE ON SCHEMA public FROM PUBLIC;
SELECT es_grant('regress_es_none', 'append');
SELECT attempt_as('regress_es_none', 'SELECT public.es_append(''access-1'', -1, ''T'', ''{}'')');
SELECT es_revoke('regress_es_none', 'append');
SELECT attempt_as('regress_es_none', 'SELECT public.es_append(''access-1'', -1, ''T'', ''{}'')');
-- The right to be in a schema of the users is not taken back: the role may have its own reason to be there.
SELECT has_schema_privilege('regress_es_none', 'public', 'USAGE');
REVOKE USAGE ON SCHEMA public FROM regress_es_none;
GRANT USAGE ON SCHEMA public TO PUBLIC;

-- What a role may do after each step: r = reads, t = reads the table, a = appends, g = grants
CREATE FUNCTION rights(who regrole) RETURNS text LANGUAGE sql AS
$$
	SELECT string_agg(CASE WHEN attempt_as(who, call) = 'yes' THEN letter ELSE '.' END, '' ORDER BY nr)
		   || ' ' || (SELECT coalesce(string_agg(level, '+' ORDER BY level), 'nothing') FROM eventstore.grants WHERE role = trim(both '"' from replace(who::text, '""', '"')))
	FROM (VALUES (1, 'r', 'SELECT es_read(''access-1'')'), (2, 't', 'SELECT FROM eventstore.events'), (3, 'a', 'SELECT es_append(''access-1'', -1, ''T'', ''{}'')'), (4, 'a', 'SELECT es_any()'),
				 (5, 'g', 'SELECT es_grant(''regress_es_none'', ''read'')'), (6, 'g', 'SELECT FROM eventstore.grants')) v (nr, letter, call)
$$;
CREATE PROCEDURE steps(who text) LANGUAGE plpgsql AS
$$
DECLARE
	step text;
BEGIN
	FOREACH step IN ARRAY '{grant append,grant read,grant read,revoke append,grant append,revoke read,grant admin,revoke append,revoke append,grant read,revoke admin,revoke read,revoke read,grant admin,grant read,grant append,revoke read,revoke append,revoke admin}'::text[] LOOP
		EXECUTE format('SELECT es_%s(%L, %L)', split_part(step, ' ', 1), who, split_part(step, ' ', 2));
		RAISE NOTICE '% %', rpad(step, 14), rights(who::regrole);
	END LOOP;
END
$$;
SET client_min_messages = notice;
CALL steps('regress_es_none');
-- A role with a strange name
CALL steps('"regress_es Strange ""name""; DROP"');
RESET client_min_messages;
SELECT es_grant('"regress_es Strange ""name""; DROP"', 'append');
SELECT * FROM eventstore.grants WHERE role LIKE 'regress_es S%';
ALTER ROLE "regress_es Strange ""name""; DROP" RENAME TO "regress_es stranger";
SELECT * FROM eventstore.grants WHERE role LIKE 'regress_es s%';
SELECT es_revoke('"regress_es stranger"', 'append');

-- Nothing is left of a role's rights after the last revocation, so it can be dropped.
SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid IN ('regress_es_none'::regrole, '"regress_es stranger"'::regrole) AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database());
DROP ROLE "regress_es stranger";

-- An admin who is no superuser grants, and takes from, anyone; whom it was given through does not matter.
SET ROLE regress_es_admin;
SELECT es_grant('regress_es_none', 'read');
SELECT * FROM eventstore.grants WHERE role = 'regress_es_none';
SELECT es_revoke('regress_es_none', 'read');
SELECT es_revoke('regress_es_read', 'read'), es_grant('regress_es_read', 'read');
-- But neither directly nor by becoming somebody
GRANT EXECUTE ON FUNCTION eventstore.may_read() TO regress_es_none;
GRANT SELECT ON eventstore.events TO regress_es_none;
RESET ROLE;

-- What an admin may not give: grants to PUBLIC
SELECT attempt_as('regress_es_admin', 'SELECT es_grant(''-'', ''read'')');

-- Rights that a DBA gave by hand come back with es_grant; what is granted twice is granted once.
REVOKE ALL ON FUNCTION es_read(text, bigint, bigint, boolean) FROM regress_es_read;
SELECT attempt_as('regress_es_read', 'SELECT es_read(''access-1'')');
SELECT es_grant('regress_es_read', 'read');
SELECT attempt_as('regress_es_read', 'SELECT es_read(''access-1'')');
SELECT count(*) FROM eventstore.grants WHERE role = 'regress_es_read';

-- What a DBA gave by hand, es_revoke of a level that was not granted does not take.
GRANT USAGE ON SCHEMA eventstore TO regress_es_none;
GRANT SELECT ON eventstore.events TO regress_es_none;
SELECT es_revoke('regress_es_none', 'read'), es_revoke('regress_es_none', 'admin');
SELECT attempt_as('regress_es_none', 'SELECT FROM eventstore.events');
REVOKE SELECT ON eventstore.events FROM regress_es_none;
REVOKE USAGE ON SCHEMA eventstore FROM regress_es_none;

-- The owner needs no grant, gets none and loses nothing.
SELECT es_grant(current_user::regrole, 'read'), es_revoke(current_user::regrole, 'read'), es_revoke(current_user::regrole, 'admin');
SELECT count(*) FROM eventstore.grants WHERE role = current_user;
SELECT count(*) FROM es_read('access-1');

-- A role that is dropped takes its grants with it, as all its rights.
CREATE ROLE regress_es_owner;
SELECT es_grant('regress_es_owner', 'append');
DROP OWNED BY regress_es_owner;
DROP ROLE regress_es_owner;
SELECT count(*) FROM eventstore.grants WHERE role LIKE 'regress_es_o%' OR role LIKE 'unknown%';

-- The reader sees the same as everyone.
SET ROLE regress_es_read;
SELECT (SELECT count(*) FROM es_read('access-1')), (SELECT count(*) FROM eventstore.events WHERE stream = 'access-1');
RESET ROLE;

-- The functions in views and in functions of others: with the rights of who calls, and of who owns
CREATE VIEW owned AS SELECT * FROM es_read('access-1');
CREATE FUNCTION owned_append() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$ BEGIN RETURN es_append('access-3', -1, 'T', '{}'); END $$;
GRANT SELECT ON owned TO regress_es_none;
SELECT attempt_as('regress_es_none', 'SELECT count(*) FROM test_access.owned'), attempt_as('regress_es_none', 'SELECT test_access.owned_append()');

SELECT es_revoke('regress_es_read', 'read'), es_revoke('regress_es_append', 'append'), es_revoke('regress_es_admin', 'admin');
SELECT * FROM eventstore.grants WHERE role LIKE 'regress_es%';
SELECT es_drop_subscription('access');
SET client_min_messages = warning;
DROP SCHEMA test_access CASCADE;
DROP ROLE regress_es_none, regress_es_read, regress_es_append, regress_es_admin, regress_es_member;
