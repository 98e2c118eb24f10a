-- A hostile search_path and a hostile pg_temp capture nothing, whoever calls.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
DROP ROLE IF EXISTS regress_es_path_user, regress_es_path_other;
RESET client_min_messages;
CREATE SCHEMA test_hostile;
CREATE ROLE regress_es_path_user;
CREATE ROLE regress_es_path_other;
GRANT ALL ON SCHEMA test_hostile TO regress_es_path_user;
SELECT public.es_grant('regress_es_path_user', 'admin');
SELECT public.es_append('path-0', 0, 'A', '{}');

-- Everything that a body might look for without a schema, made to tell when it is called
SET ROLE regress_es_path_user;
CREATE TABLE test_hostile.captured (what text);
GRANT INSERT ON test_hostile.captured TO PUBLIC;
DO $make$
DECLARE
	place text;
	name  text;
	args  text;
BEGIN
	FOREACH place IN ARRAY '{test_hostile,pg_temp}'::text[] LOOP
		FOREACH name IN ARRAY '{streams,events,positions,grants,pg_proc,pg_class,pg_namespace,pg_roles,pg_authid,streams_pkey,events_pkey,events_id_key,events_stream_version_key,events_category_position_idx,unnest,event,seals,seal_blocks,removed_events,redactions,retention,beginnings,snapshots,marks,subscriptions,subscription_shares,subscription_retries,projections,head,tallies,tally_state,tally_removals,seal_verifications}'::text[] LOOP
			EXECUTE format('CREATE TABLE %s.%I (oid oid, proname name, proacl aclitem[], proowner oid, role text, level text, stream text, version bigint, privilege text, object text)', place, name);
		END LOOP;
		FOR name, args IN VALUES ('es_append', 'text, bigint, text, jsonb, jsonb, uuid, text[]'), ('es_append', 'text, bigint, text, text, text, text, text[]'), ('es_read', 'text, bigint, bigint, boolean'), ('es_any', ''),
			('check_grant', 'regrole, text, text'), ('marker_of_level', 'text'), ('rights_of_level', 'text'), ('apply_grants', 'regrole'), ('may_read', ''), ('format', 'text, text, text'), ('format', 'text, text'),
			('string_to_array', 'text, text'), ('aclexplode', 'aclitem[]'), ('has_schema_privilege', 'oid, text, text'), ('texteq', 'text, text'), ('int8eq', 'bigint, bigint'), ('uuid_eq', 'uuid, uuid'), ('jsonb_in', 'cstring'),
			('nextval', 'regclass'), ('now', ''), ('clock_timestamp', ''), ('gen_random_uuid', ''), ('pg_get_userbyid', 'oid'), ('array_agg', 'text'), ('max', 'bigint'), ('greatest', 'bigint, bigint'), ('format', 'text, bigint'), ('format', 'text, text, bigint'), ('event_digest', 'eventstore.event'), ('find_strays', 'bigint, bigint')
		LOOP
			EXECUTE format('CREATE FUNCTION %s.%I(%s) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_hostile.captured VALUES (%L || %L || %L || current_user); RETURN NULL; END $$',
						   place, name, args, place, '.' || name, ' as ');
		END LOOP;
	END LOOP;
	CREATE FUNCTION test_hostile.never(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_hostile.captured VALUES ('test_hostile.= as ' || current_user); RETURN false; END $$;
	CREATE FUNCTION test_hostile.never(oid, regrole) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_hostile.captured VALUES ('test_hostile.= as ' || current_user); RETURN false; END $$;
	CREATE FUNCTION test_hostile.never(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_hostile.captured VALUES ('test_hostile.= as ' || current_user); RETURN false; END $$;
	CREATE FUNCTION test_hostile.never(text, text[]) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO test_hostile.captured VALUES ('test_hostile.= as ' || current_user); RETURN false; END $$;
	CREATE OPERATOR test_hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = test_hostile.never);
	CREATE OPERATOR test_hostile.<> (LEFTARG = text, RIGHTARG = text, FUNCTION = test_hostile.never);
	CREATE OPERATOR test_hostile.= (LEFTARG = oid, RIGHTARG = regrole, FUNCTION = test_hostile.never);
	CREATE OPERATOR test_hostile.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = test_hostile.never);
	CREATE OPERATOR test_hostile.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = test_hostile.never);
	CREATE OPERATOR test_hostile.<= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = test_hostile.never);
	CREATE OPERATOR test_hostile.- (LEFTARG = text, RIGHTARG = text, FUNCTION = test_hostile.never);
	CREATE TYPE test_hostile.text AS ENUM ('hostile');
	CREATE TYPE test_hostile.jsonb AS ENUM ('hostile');
	CREATE TYPE test_hostile.uuid AS ENUM ('hostile');
	CREATE TYPE test_hostile.bigint AS ENUM ('hostile');
	CREATE TYPE test_hostile.regrole AS ENUM ('hostile');
	CREATE TYPE test_hostile.regprocedure AS ENUM ('hostile');
	CREATE TYPE pg_temp.text AS ENUM ('hostile');
	CREATE TYPE pg_temp.jsonb AS ENUM ('hostile');
	CREATE TYPE pg_temp.regrole AS ENUM ('hostile');
END $make$;

SET search_path = test_hostile, pg_temp, pg_catalog, public;
SHOW search_path;
SELECT public.es_append('path-1'::pg_catalog.text, 0::pg_catalog.int8, 'A'::pg_catalog.text, '{"n": 1}'::pg_catalog.jsonb);
SELECT public.es_append('path-1'::pg_catalog.text, 1::pg_catalog.int8, '[{"type": "B", "tags": ["x"], "metadata": {}, "id": "f0000000-0000-0000-0000-000000000001"}]'::pg_catalog.jsonb);
SELECT public.es_append('path-1'::pg_catalog.text, public.es_exists(), ARRAY['C']::pg_catalog.text[], ARRAY['3']::pg_catalog.jsonb[]);
SELECT public.es_append('path-1', 7, '[{"type": "B", "id": "f0000000-0000-0000-0000-000000000001"}]'::pg_catalog.jsonb);
SELECT stream, version FROM public.es_append_streams('[{"stream": "path-2", "expected_version": 0, "events": {"type": "A"}}, {"stream": "path-1", "expected_version": 3, "events": {"type": "D"}}]');
SELECT public.es_assert_version('path-1', 4);
SELECT version, type, data, tags FROM public.es_read('path-1');
SELECT pg_catalog.count(*) FROM public.es_read_category('path');
SELECT pg_catalog.count(*) FROM public.es_read_all(0, 5);
SELECT version FROM public.es_last_event('path-1', 'B');
SELECT pg_catalog.count(*) FROM public.es_stream_as_of('path-1', 'infinity');
SELECT public.es_stream_version('path-1'), public.es_any(), public.es_no_stream(), public.es_last_position() IS NOT NULL;
-- What looks at all of history as the owner, and what changes it
SELECT public.es_seal() IS NOT NULL AS is_sealed;
SELECT pg_catalog.jsonb_agg(e) AS lines FROM public.es_export(category => 'path') e \gset
SELECT public.es_redact('f0000000-0000-0000-0000-000000000001'::pg_catalog.uuid, 'asked for'::pg_catalog.text);
SELECT public.es_import(:'lines');
SELECT * FROM public.es_verify();
SELECT * FROM public.es_verify_seals();
-- The ones that run with their owner's rights
SELECT public.es_grant('regress_es_path_other', 'read');
SELECT public.es_grant('regress_es_path_other', 'append');
SELECT * FROM eventstore.grants WHERE role OPERATOR(pg_catalog.=) 'regress_es_path_other' ORDER BY level;
SELECT public.es_revoke('regress_es_path_other', 'append');
\set VERBOSITY terse
SELECT public.es_grant('regress_es_path_other', 'nonsense');
\set VERBOSITY default
SELECT public.es_revoke('regress_es_path_other', 'read');
SELECT * FROM eventstore.grants WHERE role OPERATOR(pg_catalog.=) 'regress_es_path_other' ORDER BY level;

-- As superuser, the same path
RESET ROLE;
SELECT public.es_append('path-1'::pg_catalog.text, 4::pg_catalog.int8, 'E'::pg_catalog.text, '{}'::pg_catalog.jsonb);
SELECT pg_catalog.count(*) FROM public.es_read('path-1');
SELECT public.es_grant('regress_es_path_other', 'read');
SELECT public.es_revoke('regress_es_path_other', 'read');
SELECT * FROM public.es_verify();
SELECT * FROM public.es_verify_seals();
UPDATE eventstore.events SET type = type;

-- Without any path at all
SET search_path = '';
SELECT public.es_append('path-1', 5, 'F', '{}');
SELECT public.es_append('path-3', public.es_no_stream(), 'F', '{}', NULL, 'f0000000-0000-0000-0000-000000000002');
SELECT count(*) FROM public.es_read('path-1');
SELECT public.es_grant('regress_es_path_other', 'read');
SELECT public.es_revoke('regress_es_path_other', 'read');
SELECT stream, version FROM public.es_append_streams('[{"stream": "path-3", "expected_version": 1, "events": {"type": "A"}}]');
SELECT public.es_seal() IS NOT NULL AS is_sealed;
SELECT * FROM public.es_verify();
SELECT * FROM public.es_verify_seals();

RESET search_path;
-- Captured: nothing
SELECT what FROM test_hostile.captured;
SELECT es_revoke('regress_es_path_user', 'admin');
SET client_min_messages = warning;
DISCARD TEMP;
DROP SCHEMA test_hostile CASCADE;
DROP ROLE regress_es_path_user, regress_es_path_other;
