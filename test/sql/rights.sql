-- Grants by category and by tenant: who is bound sees its own streams only, appends to them only, and learns nothing of others.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
DROP ROLE IF EXISTS regress_es_stranger, regress_es_category, regress_es_tenant, regress_es_appender, regress_es_both, regress_es_free, regress_es_group, regress_es_member, regress_es_bypass;
RESET client_min_messages;
\set VERBOSITY terse
CREATE ROLE regress_es_category;
CREATE ROLE regress_es_tenant;
CREATE ROLE regress_es_appender;
CREATE ROLE regress_es_both;
CREATE ROLE regress_es_free;
CREATE ROLE regress_es_group;
CREATE ROLE regress_es_member IN ROLE regress_es_group;
CREATE ROLE regress_es_bypass BYPASSRLS;
CREATE SCHEMA test_rights;
GRANT USAGE ON SCHEMA test_rights TO PUBLIC;
SET search_path = test_rights, public;

-- The tenant of a stream
SELECT s AS stream, es_tenant(s) AS tenant
FROM unnest(ARRAY['account-1', 'order-{acme}-7', '{acme}', '{acme}-{other}', '{}', 'a-{}-{b}', '{a{b}', 'a{b', 'a}b', '}{a}', '{a}b}', '{ a }']) s;
SELECT es_tenant(NULL);
SELECT es_tenant('');
SELECT es_tenant(repeat('x', 513));

-- What grants may say
SELECT es_grant('regress_es_free', 'admin', 'a');
SELECT es_grant('regress_es_free', 'admin', tenant => 'x');
SELECT es_grant('regress_es_free', 'everything', 'a');
SELECT es_grant('regress_es_free', 'read', 'a-1');
SELECT es_grant('regress_es_free', 'read', tenant => '');
SELECT es_grant('regress_es_free', 'read', tenant => 'a}b');
SELECT es_grant('regress_es_free', 'read', repeat('x', 513));
SELECT es_revoke('regress_es_free', 'admin', 'a');
SELECT es_grant('regress_es_free', 'append', '', 'it''s "{quoted\" and'), es_grant('regress_es_free', 'append', '', 'it''s "{quoted\" and');
SELECT * FROM eventstore.grants;
SELECT es_revoke('regress_es_free', 'append', '', 'another'), es_revoke('regress_es_free', 'append', ''), es_revoke('regress_es_free', 'append', tenant => 'it''s "{quoted\" and');
SELECT count(*) FROM eventstore.grants;
SET ROLE regress_es_free;
SELECT es_append('-1{it''s "{quoted\" and}', 0, 'T', '{}');
SELECT es_append('-1{it''s "{quoted\" and', 0, 'T', '{}');
RESET ROLE;
SELECT es_revoke('regress_es_free', 'append', '', 'it''s "{quoted\" and');
-- Nothing is left.
SELECT count(*) FROM eventstore.grants;
SELECT relrowsecurity, (SELECT array_agg(polname || ' ' || polcmd::text ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid), (SELECT count(*) FROM pg_proc WHERE proname ~ '_within_') FROM pg_class c WHERE oid = 'eventstore.events'::regclass;
SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = 'regress_es_free'::regrole AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database());

-- Four categories, two tenants and none
SELECT count(es_append(c || t || '-' || i % 2, -1, CASE WHEN i % 2 = 0 THEN 'Even' ELSE 'Odd' END, jsonb_build_object('n', i), NULL, NULL, ARRAY['c:' || c, 'all']))
FROM unnest('{a,b,ab,c}'::text[]) c, unnest(ARRAY['', '-{x}', '-{y}']) t, generate_series(1, 4) i;
SELECT es_append('a', 0, 'Odd', '{"n": 7}'), es_append('{x}', 0, 'Odd', '{"n": 7}'), es_append('b-late', 0, 'Odd', '{"secret": "b"}', NULL, '00000000-0000-0000-0000-00000000000b', '{only:b}');
SELECT es_save_snapshot('a-1', 1, '{"seen": 1}'), es_save_snapshot('b-1', 1, '{"secret": 1}');
SELECT es_grant('regress_es_category', 'read', 'a');
SELECT es_grant('regress_es_tenant', 'read', tenant => 'x');
SELECT es_grant('regress_es_appender', 'append', 'b', 'x');
SELECT es_grant('regress_es_both', 'read', 'a'), es_grant('regress_es_both', 'read', 'c'), es_grant('regress_es_both', 'append', 'c');
SELECT es_grant('regress_es_free', 'read'), es_grant('regress_es_free', 'append');
SELECT es_grant('regress_es_group', 'read', 'ab');
SELECT es_grant('regress_es_bypass', 'read', 'a');
SELECT * FROM eventstore.grants ORDER BY 1, 2, 3, 4;

CREATE TABLE bounds (role regrole, streams text);
INSERT INTO bounds VALUES ('regress_es_category', '^a(-|$)'), ('regress_es_tenant', '\{x\}'), ('regress_es_appender', '^b-\{x\}'), ('regress_es_both', '^(a|c)(-|$)'),
	('regress_es_free', ''), ('regress_es_member', '^ab-'), ('regress_es_group', '^ab-'), ('regress_es_bypass', '');

-- Each function beside the SELECT that it stands for, for each role
CREATE FUNCTION add_up(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN to_jsonb(state::int + (event.data ->> 'n')::int);
CREATE TABLE calls (name text, call text, query text);
INSERT INTO calls VALUES
	('the table',               'SELECT e FROM eventstore.events e',                           'true'),
	('es_read',                 'SELECT e FROM es_read(%2$L) e',                               'stream = %2$L'),
	('es_read backward',        'SELECT e FROM es_read(%2$L, NULL, 1, true) e',                'stream = %2$L ORDER BY version DESC LIMIT 1'),
	('es_read_all',             'SELECT e FROM es_read_all(0, 9) e',                           'true ORDER BY position LIMIT 9'),
	('es_read_all backward',    'SELECT e FROM es_read_all(0, 9, ''{Odd}'', true) e',          'type = ''Odd'' ORDER BY position DESC LIMIT 9'),
	('es_read_category',        'SELECT e FROM es_read_category(%1$L, 3, 5) e',                'category = %1$L AND position > 3 ORDER BY position LIMIT 5'),
	('es_read_query',           'SELECT e FROM es_read_query(''[{"tags": ["all"], "types": ["Even"]}, {"types": ["Odd"]}]'', 0, 20) e', 'type <> ''T'' ORDER BY position LIMIT 20'),
	('es_read_query by tag',    'SELECT e FROM es_read_query(jsonb_build_array(jsonb_build_object(''tags'', ARRAY[''c:'' || %1$L]))) e', 'tags @> ARRAY[''c:'' || %1$L]'),
	('es_last_event',           'SELECT e FROM es_last_event(%2$L) e',                         'stream = %2$L ORDER BY version DESC LIMIT 1'),
	('es_stream_as_of',         'SELECT e FROM es_stream_as_of(%2$L, ''infinity'') e',         'stream = %2$L'),
	('find_event',              'SELECT e FROM eventstore.events x, eventstore.find_event(x.position) e', 'true'),
	('es_load',                 'SELECT e FROM es_load(%2$L, 9) l, unnest(l.events) e',        'stream = %2$L');
CREATE TABLE numbers (name text, call text, query text);
INSERT INTO numbers VALUES
	('es_stream_version',       'es_stream_version(%2$L)',                                     'SELECT coalesce(max(version), 0) FROM seen WHERE stream = %2$L'),
	('es_head',                 'es_head()',                                                   'SELECT max(position) FROM seen'),
	('es_wait',                 'es_wait(0, ''1 min'')',                                       'SELECT max(position) FROM seen'),
	('es_wait category',        'es_wait(0, ''1 ms'', %1$L)',                                  'SELECT max(position) FROM seen WHERE EXISTS (SELECT FROM seen WHERE category = %1$L)'),
	('es_position_at',          'es_position_at(''-infinity'')',                               'SELECT min(position) - 1 FROM seen'),
	('es_position_at none',     'es_position_at(''infinity'')',                                'SELECT max(position) FROM seen'),
	('es_snapshot',             '(es_snapshot(%2$L)).version',                                 'SELECT min(version) FROM seen WHERE stream = %2$L AND stream IN (''a-1'', ''b-1'')'),
	('es_fold',                 'es_fold(%2$L, ''test_rights.add_up(jsonb, eventstore.event)'', ''0'')',                'SELECT coalesce(sum((data ->> ''n'')::int), 0) FROM seen WHERE stream = %2$L');
GRANT SELECT ON calls, numbers, bounds TO PUBLIC;
CREATE TABLE seen (LIKE eventstore.events);
GRANT SELECT ON seen TO PUBLIC;
CREATE FUNCTION answer(who regrole, call text, OUT result text) LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE format('SET LOCAL ROLE %s', who);
	EXECUTE call INTO result;
	RESET ROLE;
EXCEPTION WHEN insufficient_privilege THEN
	result := SQLERRM;
END
$$;
-- What differs: an appender has no right on the table, and who has BYPASSRLS sees everything, as by a plain SELECT.
CREATE PROCEDURE compare() LANGUAGE plpgsql AS
$$
DECLARE
	b record;
	stream text;
	c record;
	expected text;
	found text;
BEGIN
	FOR b IN SELECT * FROM test_rights.bounds LOOP
		DELETE FROM test_rights.seen;
		INSERT INTO test_rights.seen SELECT e.* FROM eventstore.events e WHERE e.stream ~ b.streams;
		FOREACH stream IN ARRAY ARRAY['a', 'a-1', 'a-{x}-1', 'b-1', 'b-{x}-0', 'b-{y}-1', 'c-1', 'ab-0', '{x}', 'none'] LOOP
			FOR c IN SELECT name, 'SELECT string_agg((e).position || '' '' || (e).data, '', '' ORDER BY (e).position) FROM (' || call || ') x' AS call,
							'SELECT string_agg(position || '' '' || data, '', '' ORDER BY position) FROM (SELECT * FROM test_rights.seen WHERE ' || query || ') x' AS query FROM test_rights.calls
					 UNION ALL SELECT name, 'SELECT ' || call, query FROM test_rights.numbers LOOP
				EXECUTE format(c.query, split_part(stream, '-', 1), stream) INTO expected;
				found := test_rights.answer(b.role, format(c.call, split_part(stream, '-', 1), stream));
				IF found IS DISTINCT FROM expected THEN
					RAISE NOTICE '% % %: % instead of %', b.role, c.name, stream, found, expected;
				END IF;
			END LOOP;
		END LOOP;
	END LOOP;
END
$$;
DELETE FROM bounds WHERE role = 'regress_es_appender'::regrole;
CALL compare();
DELETE FROM calls WHERE name IN ('the table', 'find_event');
DELETE FROM bounds;
INSERT INTO bounds VALUES ('regress_es_appender', '^b-\{x\}');
CALL compare();

-- Rights come and go in a session that has used them.
SET ROLE regress_es_member;
SELECT array_agg(DISTINCT category) FROM eventstore.events;
RESET ROLE;
SELECT es_grant('regress_es_member', 'read', 'c');
SET ROLE regress_es_member;
SELECT array_agg(DISTINCT category) FROM eventstore.events;
RESET ROLE;
REVOKE regress_es_group FROM regress_es_member;
SET ROLE regress_es_member;
SELECT array_agg(DISTINCT category) FROM es_read_all();
RESET ROLE;
SELECT es_revoke('regress_es_member', 'read', 'ab'), es_revoke('regress_es_member', 'read', 'c', 'x');
SET ROLE regress_es_member;
SELECT array_agg(DISTINCT category) FROM es_read_all();
RESET ROLE;
SELECT es_grant('regress_es_member', 'read');
SET ROLE regress_es_member;
SELECT array_agg(DISTINCT category) FROM es_read_all();
RESET ROLE;
SELECT es_revoke('regress_es_member', 'read');
SET ROLE regress_es_member;
SELECT array_agg(DISTINCT category) FROM es_read_all();
RESET ROLE;
-- A group's bounds do not bind who has the level from elsewhere.
GRANT regress_es_group TO regress_es_free;
SET ROLE regress_es_free;
SELECT count(*) > 50 FROM es_read_all();
RESET ROLE;
-- Nor do they help who does not inherit.
ALTER ROLE regress_es_member NOINHERIT;
GRANT regress_es_group TO regress_es_member;
SET ROLE regress_es_member;
SELECT count(*) FROM es_read_all();
RESET ROLE;

-- Appends elsewhere: 42501, whatever is there
SET ROLE regress_es_appender;
SELECT es_append('b-{x}-0', 2, 'Odd', '{}'), es_append('b-{x}-new', 0, '{"type": "Odd"}'), es_append('b-{x}-new', 1, ARRAY['Odd'], ARRAY['{}']::jsonb[]);
SELECT * FROM es_append_streams('[{"stream": "b-{x}-0", "expected_version": 3, "events": {"type": "Odd"}}]') x (stream, version, position) LIMIT 0;
SELECT es_append('b-{x}-0', 2, 'Odd', '{}');
SELECT es_append('b-1', 0, 'Odd', '{}');
SELECT es_append('b-1', 2, 'Odd', '{}');
SELECT es_append('b-none', -2, 'Odd', '{}');
SELECT es_append('b-late', 0, 'Odd', '{"secret": "b"}', NULL, '00000000-0000-0000-0000-00000000000b');
SELECT es_append_streams('[{"stream": "b-{x}-0", "expected_version": 7, "events": {"type": "Odd"}}, {"stream": "b-1", "expected_version": 7, "events": {"type": "Odd"}}]');
SELECT es_append_if('a-1', '{"type": "Odd"}', '[{"tags": ["only:b"]}]');
SELECT es_assert_version('b-1', 7);
SELECT es_assert_version('b-{x}-0', 7);
SELECT es_save_snapshot('b-1', 1, '{}');
-- What an append within the bounds runs into elsewhere
\set VERBOSITY default
SELECT es_append('b-{x}-0', -1, 'Odd', '{}', NULL, '00000000-0000-0000-0000-00000000000b');
SELECT es_append('b-{x}-0', -1, '[{"type": "Odd", "id": "00000000-0000-0000-0000-00000000000b"}, {"type": "Odd", "id": "00000000-0000-0000-0000-00000000000b"}]');
SELECT es_append_if('b-{x}-0', '{"type": "Odd"}', '[{"tags": ["only:b"]}]');
SELECT es_append_if('b-{x}-0', '{"type": "Odd"}', '[{"tags": ["c:b"]}]', 30);
RESET ROLE;
-- So it is with policies of a DBA's.
SELECT es_grant('regress_es_category', 'append');
CREATE POLICY everyone ON eventstore.events USING (true);
CREATE POLICY no_secrets ON eventstore.events AS RESTRICTIVE USING (NOT data ? 'secret');
SET ROLE regress_es_category;
SELECT es_append_if('z-1', '{"type": "Odd"}', '[{"tags": ["only:b"]}]');
SELECT es_append_if('z-1', '{"type": "Odd"}', '[{"tags": ["c:b"]}]');
SELECT es_append('z-1', -1, 'Odd', '{}', NULL, '00000000-0000-0000-0000-00000000000b');
SELECT es_stream_version('b-late'), es_stream_version('b-1');
SET row_security = off;
SELECT es_append_if('z-1', '{"type": "Odd"}', '[{"tags": ["c:b"]}]');
RESET row_security;
RESET ROLE;
SELECT es_revoke('regress_es_category', 'append');
\set VERBOSITY terse

-- Policies and bounds together: what both let through
SET ROLE regress_es_category;
SELECT count(*) FROM eventstore.events UNION ALL SELECT count(*) FROM es_read_all();
RESET ROLE;
DROP POLICY no_secrets ON eventstore.events;
ALTER POLICY everyone ON eventstore.events USING (type = 'Even');
SET ROLE regress_es_category;
SELECT count(*), min(type) FROM eventstore.events UNION ALL SELECT count(*), min(type) FROM es_read_all();
SET ROLE regress_es_free;
SELECT array_agg(DISTINCT type) FROM eventstore.events UNION ALL SELECT array_agg(DISTINCT type) FROM es_read_all();
RESET ROLE;
ALTER POLICY everyone ON eventstore.events TO regress_es_category;
SET ROLE regress_es_free;
SELECT count(*) FROM eventstore.events UNION ALL SELECT count(*) FROM es_read_all();
RESET ROLE;
DROP POLICY everyone ON eventstore.events;
SET ROLE regress_es_free;
SELECT count(*) > 50 FROM eventstore.events UNION ALL SELECT count(*) > 50 FROM es_read_all();
-- Where there are only bounds, who has none needs no row security.
SET row_security = off;
SELECT count(*) > 50 FROM es_read_all();
RESET row_security;
RESET ROLE;

-- A table that a DBA has put row security on stays so, and closed to who has no policy.
SELECT es_revoke(role::regrole, level, category, tenant) FROM (SELECT * FROM eventstore.grants WHERE category IS NOT NULL OR tenant IS NOT NULL) g;
SELECT relrowsecurity, (SELECT array_agg(polname || ' ' || polcmd::text ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid) FROM pg_class c WHERE oid = 'eventstore.events'::regclass;
ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY;
SELECT es_grant('regress_es_category', 'read', 'a');
SET ROLE regress_es_free;
SELECT count(*) FROM eventstore.events UNION ALL SELECT count(*) FROM es_read_all();
SET ROLE regress_es_category;
SELECT count(*) FROM eventstore.events UNION ALL SELECT count(*) FROM es_read_all();
RESET ROLE;
CREATE POLICY everyone ON eventstore.events USING (true);
SET ROLE regress_es_category;
SELECT count(*) FROM eventstore.events UNION ALL SELECT count(*) FROM es_read_all();
RESET ROLE;
SELECT es_revoke('regress_es_category', 'read');
SELECT relrowsecurity, (SELECT array_agg(polname || ' ' || polcmd::text ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid) FROM pg_class c WHERE oid = 'eventstore.events'::regclass;
DROP POLICY everyone ON eventstore.events;
ALTER TABLE eventstore.events DISABLE ROW LEVEL SECURITY;
SELECT es_grant('regress_es_category', 'read', 'a'), es_grant('regress_es_tenant', 'read', tenant => 'x'), es_grant('regress_es_both', 'append', 'c');

-- Subscriptions: narrowed to a tenant; a bound role works on what sees no more than it may.
SELECT es_create_subscription('all', partitions => 1), es_create_subscription('a', 'a', partitions => 1), es_create_subscription('x', tenant => 'x', partitions => 1),
	   es_create_subscription('ax', 'a', '{Even}', tenant => 'x', partitions => 1);
SELECT es_create_subscription('wrong', tenant => '');
SELECT es_create_subscription('wrong', tenant => '}');
SELECT es_create_subscription('wrong', tenant => repeat('x', 513));
SELECT name, tenant, lag_events FROM eventstore.subscription_status ORDER BY name;
CREATE FUNCTION fetched(who regrole) RETURNS TABLE (subscription text, events text) LANGUAGE sql AS
$$
	SELECT s, test_rights.answer(who, format('SELECT string_agg(DISTINCT stream, '' '') || '': '' || count(*) FROM es_fetch(%L, %L)', s, s || who))
	FROM unnest('{all,a,x,ax}'::text[]) s
$$;
SELECT * FROM fetched('regress_es_category');
SELECT es_release(s, s || 'regress_es_category') FROM unnest('{a,ax}'::text[]) s;
SELECT * FROM fetched('regress_es_tenant');
SELECT es_release(s, s || 'regress_es_tenant') FROM unnest('{x,ax}'::text[]) s;
SELECT * FROM fetched('regress_es_free');
-- Others' deliveries are nothing to acknowledge, and others' consumers nothing to release.
SELECT token, position FROM es_fetch('all', 'allregress_es_free', 1) \gset
SELECT token AS a_token, max(position) AS a_position FROM es_fetch('a', 'aregress_es_free', 1) GROUP BY token \gset
SET ROLE regress_es_category;
SELECT es_ack('all', :token, :position);
SELECT es_nack('all', :token, :position, 'no', 'park');
SELECT es_release('all', 'allregress_es_free');
SELECT es_nack('a', :a_token, :a_position, 'mine', 'park');
SELECT name, consumer, parked, tenant FROM eventstore.subscription_status ORDER BY name;
SELECT count(*) FROM eventstore.find_subscription_status('all');
SELECT count(*) FROM eventstore.find_subscription_status('none');
RESET ROLE;
SELECT es_nack('all', :token, :position, 'secret', 'park');
SET ROLE regress_es_tenant;
SELECT subscription, stream, reason FROM eventstore.parked;
SET ROLE regress_es_category;
SELECT subscription, stream, reason FROM eventstore.parked ORDER BY 1;
RESET ROLE;
SELECT subscription, stream, reason FROM eventstore.parked ORDER BY 1;

-- Projections run as their owner, whoever appends; a bound role waits for its own events.
SELECT es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category');
SET ROLE regress_es_both;
SELECT es_append('c-new', 0, 'Odd', '{}');
SELECT es_wait_projection('counts', es_last_position(), '1 min');
SELECT es_wait_projection('counts', 1, '1 min');
SELECT es_wait_projection('counts', 1000000, '1 ms');
RESET ROLE;
SELECT n = (SELECT count(*) FROM eventstore.events WHERE category = 'c') FROM counts WHERE category = 'c';
SELECT es_drop_projection('counts', true);

-- Who has no right on the table sees nothing of it through the view, or the cursor, of somebody bound; who has one, what it may itself.
CREATE ROLE regress_es_stranger;
CREATE SCHEMA test_rights_bound AUTHORIZATION regress_es_category;
GRANT USAGE ON SCHEMA test_rights_bound TO PUBLIC;
BEGIN;
SET LOCAL ROLE regress_es_category;
CREATE VIEW test_rights_bound.through AS SELECT * FROM eventstore.events;
GRANT SELECT ON test_rights_bound.through TO PUBLIC;
SELECT count(*) > 0 AS sees FROM test_rights_bound.through;
DECLARE through CURSOR FOR SELECT stream FROM eventstore.events;
SET LOCAL ROLE regress_es_stranger;
FETCH through;
SELECT count(*) FROM test_rights_bound.through;
COMMIT;
SELECT es_grant('regress_es_stranger', 'reveal');
SET ROLE regress_es_stranger;
SELECT count(*) FROM test_rights_bound.through;
SET ROLE regress_es_free;
SELECT count(*) = (SELECT max(n) FROM (SELECT count(*) AS n FROM eventstore.events) x) AS sees_all FROM test_rights_bound.through;
RESET ROLE;
GRANT SELECT (stream) ON eventstore.events TO regress_es_stranger;
SET ROLE regress_es_stranger;
SELECT count(*) > 50 AS sees_all FROM test_rights_bound.through;
RESET ROLE;
DROP SCHEMA test_rights_bound CASCADE;

-- Default privileges grant no bound.
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO regress_es_category;
SELECT es_grant('regress_es_stranger', 'read', 'elsewhere');
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM regress_es_category;
SELECT role FROM eventstore.grants WHERE category = 'elsewhere';

-- A level is what it is, by whatever collation the caller compares.
DO $$ BEGIN
	CREATE COLLATION any_case (provider = icu, locale = 'und-u-ka-shifted-ks-level1', deterministic = false);
EXCEPTION WHEN feature_not_supported THEN -- PostgreSQL without ICU
	CREATE COLLATION any_case FROM "C";
END $$;
SELECT es_grant('regress_es_stranger', 're;--AD' COLLATE any_case);

-- The owner of the database has what pg_database_owner has, and as long as he is.
SELECT current_database() AS database, current_user AS me \gset
SELECT es_grant('pg_database_owner', 'read', 'c');
SET ROLE regress_es_stranger;
SELECT count(*) FROM es_read_category('c');
RESET ROLE;
ALTER DATABASE :"database" OWNER TO regress_es_stranger;
SET ROLE regress_es_stranger;
SELECT count(*) > 0 AS sees FROM es_read_category('c');
RESET ROLE;
ALTER DATABASE :"database" OWNER TO :"me";
SET ROLE regress_es_stranger;
SELECT count(*) FROM es_read_category('c');
RESET ROLE;
SELECT es_revoke('pg_database_owner', 'read');

-- A grant within bounds sees to row security, whether its event trigger has or not.
ALTER TABLE eventstore.events DISABLE ROW LEVEL SECURITY;
SELECT es_grant('regress_es_stranger', 'read', 'elsewhere');
SELECT relrowsecurity FROM pg_class WHERE oid = 'eventstore.events'::regclass;

-- A level that is bound and has lost its bounds is bound to nothing.
DO $$ DECLARE f regprocedure; BEGIN
	FOR f IN SELECT oid FROM pg_proc WHERE proname ~ '_within_' LOOP EXECUTE format('DROP FUNCTION %s', f); END LOOP;
END $$;
SET ROLE regress_es_category;
SELECT count(*) FROM es_read_all();
SELECT count(*) FROM eventstore.events;
SET ROLE regress_es_both;
SELECT es_append('c-new', -1, 'Odd', '{}');
RESET ROLE;

SET client_min_messages = warning;
DROP SCHEMA test_rights CASCADE;
DROP EXTENSION eventstore CASCADE;
SELECT count(*) FROM pg_proc WHERE proname ~ '_within_';

-- Nor does a new store give anybody a right, whatever default privileges say.
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO regress_es_stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_es_stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO regress_es_stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO regress_es_stranger;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO regress_es_stranger;
CREATE EXTENSION eventstore;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM regress_es_stranger;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_es_stranger;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM regress_es_stranger;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TYPES FROM regress_es_stranger;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM regress_es_stranger;
SELECT DISTINCT classid::regclass FROM pg_shdepend
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND refobjid = 'regress_es_stranger'::regrole;
SELECT count(*) FROM eventstore.grants;
DROP EXTENSION eventstore;
DROP OWNED BY regress_es_stranger, regress_es_category, regress_es_tenant, regress_es_appender, regress_es_both, regress_es_free, regress_es_group, regress_es_member, regress_es_bypass;
DROP ROLE regress_es_stranger, regress_es_category, regress_es_tenant, regress_es_appender, regress_es_both, regress_es_free, regress_es_group, regress_es_member, regress_es_bypass;
