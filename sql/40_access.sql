-- Access: who may do what. PUBLIC may nothing; es_grant gives a role one of four levels, three of them also within bounds.
--
-- A level is a set of rights (eventstore.rights_of_level). That a role has been given a level is recorded as its right to execute the
-- level's function eventstore.may_...: so dumps carry it, renaming and dropping a role keep it true, and there is no table to disagree.
--
-- So it is with bounds: each has a function of its own, eventstore.may_..._within_<hash>(), made by es_grant, in whose source it stands.
-- It is no member of the extension, so that dumps carry it. Bounds count for who may execute eventstore.may_..._within(), but not may_...():
-- who has lost the former without the latter is bound to nothing, not to everything. src/rights/ reads all of them.

CREATE FUNCTION eventstore.may_read() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_read() IS 'Whoever may execute this has been granted the level "read".';
REVOKE ALL ON FUNCTION eventstore.may_read() FROM PUBLIC;

CREATE FUNCTION eventstore.may_append() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_append() IS 'Whoever may execute this has been granted the level "append".';
REVOKE ALL ON FUNCTION eventstore.may_append() FROM PUBLIC;

CREATE FUNCTION eventstore.may_reveal() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_reveal() IS 'Whoever may execute this has been granted the level "reveal".';
REVOKE ALL ON FUNCTION eventstore.may_reveal() FROM PUBLIC;

CREATE FUNCTION eventstore.may_administer() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_administer() IS 'Whoever may execute this has been granted the level "admin".';
REVOKE ALL ON FUNCTION eventstore.may_administer() FROM PUBLIC;

CREATE FUNCTION eventstore.may_read_within() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_read_within() IS 'Whoever may execute this has been granted the level "read" within bounds.';
REVOKE ALL ON FUNCTION eventstore.may_read_within() FROM PUBLIC;

CREATE FUNCTION eventstore.may_append_within() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_append_within() IS 'Whoever may execute this has been granted the level "append" within bounds.';
REVOKE ALL ON FUNCTION eventstore.may_append_within() FROM PUBLIC;

CREATE FUNCTION eventstore.may_reveal_within() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_reveal_within() IS 'Whoever may execute this has been granted the level "reveal" within bounds.';
REVOKE ALL ON FUNCTION eventstore.may_reveal_within() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_tenant(stream text) RETURNS text
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_tenant';
COMMENT ON FUNCTION @extschema@.es_tenant(text) IS
	'The tenant of a stream: what stands in the first {...} of its name; null = it has none.';
REVOKE ALL ON FUNCTION @extschema@.es_tenant(text) FROM PUBLIC;

CREATE VIEW eventstore.grants AS
	SELECT CASE g.grantee WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(g.grantee)::pg_catalog.text END AS role,
		   (CASE g.level WHEN 'administer' THEN 'admin' ELSE g.level END) COLLATE pg_catalog."default" AS level, g.bound ->> 0 AS category, g.bound ->> 1 AS tenant
	FROM (
		SELECT acl.grantee, pg_catalog.split_part(f.proname::pg_catalog.text, '_', 2) AS level,
			   -- The order in which conditions are looked at is the planner's: no cast of another function's source.
			   CASE WHEN f.proname ~ '^may_[a-z]+_within_' THEN
					pg_catalog.replace(pg_catalog.substr(f.prosrc, 9, pg_catalog.length(f.prosrc) - 9), '''''', '''')::pg_catalog.jsonb END AS bound
		FROM pg_catalog.pg_proc f, pg_catalog.aclexplode(f.proacl) acl
		WHERE f.pronamespace = 'eventstore'::pg_catalog.regnamespace AND f.pronargs = 0 AND acl.grantee <> f.proowner
		  AND (f.proname IN ('may_read', 'may_append', 'may_reveal', 'may_administer')
			   OR f.proname ~ '^may_(read|append|reveal)_within_' AND acl.grantee <> 0)
	) g;
COMMENT ON VIEW eventstore.grants IS 'Which role has been granted which level, and within which bounds; see es_grant. Without bounds: the whole store.';
COMMENT ON COLUMN eventstore.grants.role IS 'Name of the role.';
COMMENT ON COLUMN eventstore.grants.level IS 'read, append, reveal or admin.';
COMMENT ON COLUMN eventstore.grants.category IS 'The category that the grant is bound to; null = any.';
COMMENT ON COLUMN eventstore.grants.tenant IS 'The tenant that the grant is bound to; null = any, or none.';
REVOKE ALL ON TABLE eventstore.grants FROM PUBLIC;

CREATE FUNCTION @extschema@.es_grant(role regrole, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	PERFORM eventstore.check_grant(role, level, category, tenant);
	IF role = eventstore.owner() THEN
		RETURN;
	END IF;
	IF category IS NULL AND tenant IS NULL THEN
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', eventstore.marker_of_level(level), role);
	ELSE
		-- Making the first one switches row security on, unless event triggers are off, or somebody has switched it off again.
		PERFORM eventstore.make_marker_of_bound(level, category, tenant);
		PERFORM eventstore.guard_events();
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s, eventstore.may_%s_within() TO %s',
					   eventstore.marker_of_bound(level, category, tenant), level, role);
	END IF;
	PERFORM eventstore.apply_grants(role);
	IF level = 'read' AND category IS NULL AND tenant IS NULL THEN
		PERFORM eventstore.tell_read_tables(role);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_grant(regrole, text, text, text) IS
	'Lets a role read (all events, and the table), append (and read, by functions), reveal, or admin (all of it, and grant); the first three also for one category, one tenant, or both.';
REVOKE ALL ON FUNCTION @extschema@.es_grant(regrole, text, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_revoke(role regrole, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	marker regprocedure;
BEGIN
	PERFORM eventstore.check_grant(role, level, category, tenant);
	IF NOT level = ANY (eventstore.levels_of_role(role) || eventstore.bound_levels_of_role(role)) THEN
		RETURN;
	END IF;
	IF category IS NULL AND tenant IS NULL THEN
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', eventstore.marker_of_level(level), role);
	END IF;
	FOR marker IN SELECT m FROM eventstore.markers_of_bounds(role, level) m
				  WHERE category IS NULL AND tenant IS NULL OR m = to_regprocedure(eventstore.marker_of_bound(level, category, tenant))
	LOOP
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', marker, role);
	END LOOP;
	IF level <> 'admin' AND NOT EXISTS (SELECT FROM eventstore.markers_of_bounds(role, level)) THEN
		EXECUTE format('REVOKE EXECUTE ON FUNCTION eventstore.may_%s_within() FROM %s', level, role);
	END IF;
	PERFORM eventstore.apply_grants(role);
	PERFORM eventstore.drop_idle_markers();
	PERFORM eventstore.guard_events();
END
$$;
COMMENT ON FUNCTION @extschema@.es_revoke(regrole, text, text, text) IS
	'Takes a level from a role, or one of the bounds that it has it within; what its other grants give stays.';
REVOKE ALL ON FUNCTION @extschema@.es_revoke(regrole, text, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.lock_grants() RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_lock_grants';
COMMENT ON FUNCTION eventstore.lock_grants() IS 'Has es_grant and es_revoke go one at a time; nobody else can take this lock.';
REVOKE ALL ON FUNCTION eventstore.lock_grants() FROM PUBLIC;

-- They are their owners' tables, and may say more than events do (by handlers, by tables that are looked up): whom they are for is said by GRANT.
CREATE FUNCTION eventstore.tell_read_tables(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	tables text[] := (
		SELECT array_agg(DISTINCT t.name ORDER BY t.name)
		FROM eventstore.projections p, unnest(CASE WHEN p.is_declared THEN p.tables[1:1] ELSE p.tables END) t (name)
		WHERE to_regclass(t.name) IS NOT NULL AND NOT has_table_privilege(role::oid, to_regclass(t.name)::oid, 'SELECT'));
BEGIN
	IF tables IS NOT NULL THEN
		RAISE NOTICE 'role % has been granted no right on % of projections', role, CASE cardinality(tables) WHEN 1 THEN 'a table' ELSE cardinality(tables) || ' tables' END
			USING DETAIL = 'Level "read" is about events. Read tables are their owners'': ' || array_to_string(tables[1:10], ', ') || CASE WHEN cardinality(tables) > 10 THEN ' ...' ELSE '' END || '.',
				  HINT = format('GRANT SELECT ON %s TO %s, and USAGE on the schema; ALTER DEFAULT PRIVILEGES does so for those to come.', array_to_string(tables[1:10], ', ') || CASE WHEN cardinality(tables) > 10 THEN ', ...' ELSE '' END, role);
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.tell_read_tables(regrole) IS 'Tells by a NOTICE which read tables a role may not read.';
REVOKE ALL ON FUNCTION eventstore.tell_read_tables(regrole) FROM PUBLIC;

CREATE FUNCTION eventstore.check_grant(role regrole, level text, category text, tenant text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF role IS NULL OR level IS NULL THEN
		RAISE EXCEPTION '% must not be null', CASE WHEN role IS NULL THEN 'role' ELSE 'level' END
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF role = 0::oid THEN
		RAISE EXCEPTION 'invalid role' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Grant to a role; what PUBLIC may is for DBAs to say with GRANT.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role) THEN
		RAISE EXCEPTION 'role with OID % does not exist', role USING ERRCODE = 'undefined_object';
	END IF;
	-- Whatever collation the caller compares by: what passes here becomes part of commands that run as the store's owner.
	IF level COLLATE "C" NOT IN ('read', 'append', 'reveal', 'admin') THEN
		RAISE EXCEPTION 'unknown level "%"', level USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The levels are read, append, reveal and admin.';
	END IF;
	IF level = 'admin' AND (category IS NOT NULL OR tenant IS NOT NULL) THEN
		RAISE EXCEPTION 'level "admin" cannot be bound to a category or a tenant' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Levels read, append and reveal can be.';
	END IF;
	IF octet_length(category) > 512 OR octet_length(tenant) > 512 THEN
		RAISE EXCEPTION '% is too long', CASE WHEN octet_length(category) > 512 THEN 'category' ELSE 'tenant' END
			USING ERRCODE = 'program_limit_exceeded', DETAIL = format('It has %s bytes; the limit is 512.',
				CASE WHEN octet_length(category) > 512 THEN octet_length(category) ELSE octet_length(tenant) END);
	END IF;
	IF category ~ '-' THEN
		RAISE EXCEPTION 'no stream has the category "%"', category USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The category of a stream is what stands before the first "-" of its name.';
	END IF;
	IF tenant = '' OR tenant ~ '}' THEN
		RAISE EXCEPTION 'no stream has the tenant "%"', tenant USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The tenant of a stream is what stands in the first {...} of its name.';
	END IF;
	-- Two at once would update the same rows of the catalogue.
	PERFORM eventstore.lock_grants();
	-- What a role has is looked up by the transaction's snapshot. By one from before somebody else's grant, what that took would be given back:
	-- 40001 instead.
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		PERFORM FROM pg_proc f WHERE f.pronamespace = 'eventstore'::regnamespace AND f.proname ~ '^may_' FOR SHARE;
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_grant(regrole, text, text, text) IS
	'Raises unless the arguments of es_grant and es_revoke are right; lets one of them go at a time.';
REVOKE ALL ON FUNCTION eventstore.check_grant(regrole, text, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.marker_of_level(level text) RETURNS regprocedure
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE level
		WHEN 'read' THEN 'eventstore.may_read()'::regprocedure
		WHEN 'append' THEN 'eventstore.may_append()'::regprocedure
		WHEN 'reveal' THEN 'eventstore.may_reveal()'::regprocedure
		WHEN 'admin' THEN 'eventstore.may_administer()'::regprocedure
	END;
COMMENT ON FUNCTION eventstore.marker_of_level(text) IS 'The function whose EXECUTE right records that a role has a level.';
REVOKE ALL ON FUNCTION eventstore.marker_of_level(text) FROM PUBLIC;

CREATE FUNCTION eventstore.marker_of_bound(level text, category text, tenant text) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT format('eventstore.may_%s_within_%s()', level,
				  left(encode(sha256(convert_to(jsonb_build_array(category, tenant)::text, getdatabaseencoding())), 'hex'), 32))
$$;
COMMENT ON FUNCTION eventstore.marker_of_bound(text, text, text) IS
	'Name of the function whose EXECUTE right records that a role has a level within a bound; it need not be there.';
REVOKE ALL ON FUNCTION eventstore.marker_of_bound(text, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.make_marker_of_bound(level text, category text, tenant text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	marker text := eventstore.marker_of_bound(level, category, tenant);
	-- Not quote_literal, which makes an E'...' of what JSON escapes by a backslash; src/rights/bound.c reads a plain one.
	source text := 'SELECT ''' || replace(jsonb_build_array(category, tenant)::text, '''', '''''') || '''';
	grantee regrole;
BEGIN
	IF to_regprocedure(marker) IS NULL THEN
		EXECUTE format('CREATE FUNCTION %s RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L', marker, source);
		-- Whom ALTER DEFAULT PRIVILEGES gives new functions to has not been granted this bound.
		FOR grantee IN SELECT DISTINCT acl.grantee FROM pg_proc f, aclexplode(f.proacl) acl
					   WHERE f.oid = to_regprocedure(marker) AND acl.grantee NOT IN (0, f.proowner)
		LOOP
			EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', marker, grantee);
		END LOOP;
		EXECUTE format('COMMENT ON FUNCTION %s IS %L', marker, 'A bound of level "' || level || '"; see eventstore.grants.');
		EXECUTE format('ALTER FUNCTION %s DEPENDS ON EXTENSION eventstore', marker);
	END IF;
	-- A restore without rights gives them to PUBLIC.
	EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', marker);
END
$$;
COMMENT ON FUNCTION eventstore.make_marker_of_bound(text, text, text) IS 'Makes that function, if it is not there.';
REVOKE ALL ON FUNCTION eventstore.make_marker_of_bound(text, text, text) FROM PUBLIC;

-- Of a role: those that it has been granted; of none: all there are.
CREATE FUNCTION eventstore.markers_of_bounds(role regrole, level text) RETURNS SETOF regprocedure
	LANGUAGE sql STABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS
$$
	SELECT f.oid::regprocedure FROM pg_proc f
	WHERE f.pronamespace = 'eventstore'::regnamespace AND f.pronargs = 0 AND f.proname ~ ('^may_' || markers_of_bounds.level || '_within_')
	  AND (markers_of_bounds.role IS NULL OR EXISTS (SELECT FROM aclexplode(f.proacl) acl WHERE acl.grantee = markers_of_bounds.role))
$$;
COMMENT ON FUNCTION eventstore.markers_of_bounds(regrole, text) IS 'The functions that record the bounds that a role, or any, has a level within.';
REVOKE ALL ON FUNCTION eventstore.markers_of_bounds(regrole, text) FROM PUBLIC;

-- Such as DROP OWNED has left.
CREATE FUNCTION eventstore.drop_idle_markers() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	marker regprocedure;
BEGIN
	FOR marker IN SELECT m FROM eventstore.markers_of_bounds(NULL, '[a-z]+') m
				  WHERE NOT EXISTS (SELECT FROM pg_proc f, aclexplode(f.proacl) acl WHERE f.oid = m AND acl.grantee NOT IN (0, f.proowner))
	LOOP
		EXECUTE format('DROP FUNCTION %s', marker);
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.drop_idle_markers() IS 'Drops the functions that record bounds which no role has.';
REVOKE ALL ON FUNCTION eventstore.drop_idle_markers() FROM PUBLIC;

CREATE FUNCTION eventstore.owner() RETURNS regrole
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'eventstore'
$$;
COMMENT ON FUNCTION eventstore.owner() IS 'Who owns the store, and may do everything without a grant.';
REVOKE ALL ON FUNCTION eventstore.owner() FROM PUBLIC;

CREATE FUNCTION eventstore.levels_of_role(role regrole) RETURNS text[]
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT coalesce(array_agg(l), '{}')
	FROM unnest(ARRAY['read', 'append', 'reveal', 'admin']) l
	WHERE EXISTS (SELECT FROM pg_proc f, aclexplode(f.proacl) acl
				  WHERE f.oid = eventstore.marker_of_level(l) AND acl.grantee = role AND acl.grantee <> f.proowner)
$$;
COMMENT ON FUNCTION eventstore.levels_of_role(regrole) IS 'The levels that a role has been granted for the whole store.';
REVOKE ALL ON FUNCTION eventstore.levels_of_role(regrole) FROM PUBLIC;

CREATE FUNCTION eventstore.bound_levels_of_role(role regrole) RETURNS text[]
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT coalesce(array_agg(l), '{}')
	FROM unnest(ARRAY['read', 'append', 'reveal']) l
	WHERE EXISTS (SELECT FROM eventstore.markers_of_bounds(role, l))
$$;
COMMENT ON FUNCTION eventstore.bound_levels_of_role(regrole) IS 'The levels that a role has been granted within bounds.';
REVOKE ALL ON FUNCTION eventstore.bound_levels_of_role(regrole) FROM PUBLIC;

-- Policies ask these as the role that selects. They tell it what it may see itself, and so are everybody's.
CREATE FUNCTION eventstore.sees_all() RETURNS boolean
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_sees_all';
COMMENT ON FUNCTION eventstore.sees_all() IS 'Whether grants bind the current role to no category and no tenant.';

CREATE FUNCTION eventstore.sees(stream text) RETURNS boolean
	LANGUAGE C STABLE PARALLEL SAFE STRICT COST 5 AS 'MODULE_PATHNAME', 'es_sees';
COMMENT ON FUNCTION eventstore.sees(text) IS 'Whether a stream is within the bounds that grants put to the current role.';

CREATE FUNCTION eventstore.is_everyone_let_in() RETURNS boolean
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_is_everyone_let_in';
COMMENT ON FUNCTION eventstore.is_everyone_let_in() IS 'Whether nobody has put a permissive policy of his own on eventstore.events.';

-- Row security costs every reader of the table something, and is for DBAs to use: it is on only while somebody is bound, or a DBA wants it.
--
-- A restrictive policy bounds the bound. As row security without any permissive policy hides everything, a second one lets everyone in, if
-- nobody but the store has switched it on; until then it is one for DELETE, which is refused anyhow. A permissive policy of a DBA's ends what it
-- says (is_everyone_let_in), as if he had switched row security on himself.
CREATE POLICY eventstore_bounds ON eventstore.events AS RESTRICTIVE FOR SELECT
	USING ((SELECT eventstore.sees_all()) OR eventstore.sees(stream));
COMMENT ON POLICY eventstore_bounds ON eventstore.events IS 'Bounds whom es_grant has bound to categories or tenants.';

CREATE POLICY eventstore_everyone ON eventstore.events FOR DELETE USING ((SELECT eventstore.is_everyone_let_in()));
COMMENT ON POLICY eventstore_everyone ON eventstore.events IS
	'Lets all others in, where the store has switched row security on for bounds alone; else it is one for DELETE, and says nothing.';

CREATE FUNCTION eventstore.switch_row_security(is_on boolean, lets_everyone_in boolean) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_switch_row_security';
COMMENT ON FUNCTION eventstore.switch_row_security(boolean, boolean) IS
	'Switches row security on eventstore.events, and policy eventstore_everyone, without waiting for who uses the table.';
REVOKE ALL ON FUNCTION eventstore.switch_row_security(boolean, boolean) FROM PUBLIC;

CREATE FUNCTION eventstore.guard_events() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	is_needed boolean := EXISTS (SELECT FROM eventstore.markers_of_bounds(NULL, '(read|append)'));
	is_on boolean := (SELECT relrowsecurity FROM pg_class WHERE oid = 'eventstore.events'::regclass);
	is_ours boolean := EXISTS (SELECT FROM pg_policy WHERE polrelid = 'eventstore.events'::regclass AND polname = 'eventstore_everyone' AND polcmd <> 'd');
BEGIN
	IF is_needed AND NOT is_on THEN
		PERFORM eventstore.switch_row_security(true, true);
	ELSIF is_ours AND NOT is_needed THEN
		-- It stays on for policies that a DBA has made meanwhile.
		PERFORM eventstore.switch_row_security(EXISTS (SELECT FROM pg_policy WHERE polrelid = 'eventstore.events'::regclass
													   AND polname NOT IN ('eventstore_bounds', 'eventstore_everyone')), false);
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.guard_events() IS 'Has row security on eventstore.events keep bounds as long as there are some.';
REVOKE ALL ON FUNCTION eventstore.guard_events() FROM PUBLIC;

CREATE FUNCTION eventstore.note_marker_of_bound() RETURNS event_trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c JOIN pg_proc f ON c.classid = 'pg_proc'::regclass AND f.oid = c.objid
			   WHERE f.pronamespace = 'eventstore'::regnamespace AND f.proname ~ '^may_(read|append)_within_')
	THEN
		PERFORM eventstore.guard_events();
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.note_marker_of_bound() IS 'Has eventstore.events guarded as soon as there is a bound, made by es_grant or by a restore.';
REVOKE ALL ON FUNCTION eventstore.note_marker_of_bound() FROM PUBLIC;

-- A dump carries the functions that record bounds, but neither policies of an extension's table nor that row security is on.
CREATE EVENT TRIGGER eventstore_bound ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION eventstore.note_marker_of_bound();
ALTER EVENT TRIGGER eventstore_bound ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_bound IS 'Notices that there is a bound.';

-- What a role may call that has a level within bounds only: what does not tell of other streams than its own. It is a list of what is
-- allowed: what is missing here such a role may not do.
CREATE FUNCTION eventstore.is_for_bound_roles(object text) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT object ~ '^SCHEMA ' OR substring(object FROM '([a-z_]+)(?:[(].*)?$') IN
		('events', 'notify_status', 'subscription_status', 'parked', 'categories', 'types', 'find_tallies',
		 'es_read', 'es_read_all', 'es_read_category', 'es_read_query', 'es_export', 'es_stream_version', 'es_last_event', 'es_stream_as_of', 'find_event',
		 'es_head', 'es_position_at', 'es_wait', 'es_channel', 'find_notify_status', 'es_tenant', 'es_slot', 'es_partition',
		 'es_snapshot', 'es_load', 'es_load_json', 'es_fold', 'es_save_snapshot', 'es_wait_projection', 'es_projection_as_of', 'es_first', 'es_last',
		 'es_any', 'es_exists', 'es_no_stream', 'es_append', 'es_append_streams', 'es_append_if', 'es_assert_version', 'es_last_position',
		 'es_protect', 'es_reveal', 'es_version',
		 'find_subscription_division', 'find_subscription_status', 'es_fetch', 'es_ack', 'es_nack', 'es_release')
$$;
COMMENT ON FUNCTION eventstore.is_for_bound_roles(text) IS 'Whether a right of a level is given within bounds, too.';
REVOKE ALL ON FUNCTION eventstore.is_for_bound_roles(text) FROM PUBLIC;

-- A new function of the store is added here, under the lowest level that may call it.
CREATE FUNCTION eventstore.rights_of_level(level text, OUT privilege text, OUT object text) RETURNS SETOF record
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT r.privilege, r.object
	FROM (VALUES
		('read append reveal admin', 'USAGE', 'SCHEMA eventstore'),
		('read append reveal admin', 'USAGE', 'SCHEMA @extschema@'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_version()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_tenant(text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_slot(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_cell(bigint, bigint, int4multirange)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_cell(bigint, bigint, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_add_cell(bigint, bigint, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_unset_cell()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_add_cell(bigint, bigint, int4multirange, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_cell(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_adopt_map(jsonb)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_adopt_map(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_open_feed(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_mirror()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_unset_mirror()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_announce_head()'),
		('admin',             'SELECT',  'TABLE eventstore.mirror_status'),
		('admin',             'EXECUTE', 'FUNCTION eventstore.find_mirror_status()'),
		('admin',             'SELECT',  'TABLE eventstore.member'),
		('admin',             'SELECT',  'TABLE eventstore.mapped_cells'),
		('admin',             'SELECT',  'TABLE eventstore.cells'),
		('admin',             'SELECT',  'TABLE eventstore.feeds'),
		('admin',             'SELECT',  'TABLE eventstore.used_feeds'),
		('read admin',        'SELECT',  'TABLE eventstore.events'),
		('admin',             'SELECT',  'TABLE eventstore.streams'),
		('admin',             'SELECT',  'TABLE eventstore.head'),
		('admin',             'SELECT',  'TABLE eventstore.marks'),
		('read admin',        'SELECT',  'TABLE eventstore.inflight'),
		('read admin',        'SELECT',  'TABLE eventstore.notify_status'),
		('admin',             'SELECT',  'TABLE eventstore.snapshots'),
		('admin',             'SELECT',  'TABLE eventstore.removed_events'),
		('admin',             'SELECT',  'TABLE eventstore.detached_events'),
		('admin',             'SELECT',  'TABLE eventstore.gone_events'),
		('admin',             'SELECT',  'TABLE eventstore.redactions'),
		('admin',             'SELECT',  'TABLE eventstore.retention'),
		('admin',             'SELECT',  'TABLE eventstore.grants'),
		('read admin',        'SELECT',  'TABLE eventstore.subscription_status'),
		('read admin',        'SELECT',  'TABLE eventstore.parked'),
		('admin',             'SELECT',  'TABLE eventstore.subscriptions'),
		('admin',             'SELECT',  'TABLE eventstore.subscription_shares'),
		('admin',             'SELECT',  'TABLE eventstore.subscription_retries'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read(text, bigint, bigint, boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_all(bigint, bigint, text[], boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_category(text, bigint, bigint, text[], boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_query(jsonb, bigint, bigint, boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_stream_version(text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_last_event(text, text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_stream_as_of(text, timestamptz)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_export(bigint, bigint, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_import(jsonb)'),
		('admin',             'SELECT',  'TABLE eventstore.beginnings'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_event(bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_inflight()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_notify_status()'),
		('read admin',        'SELECT',  'TABLE eventstore.categories'),
		('read admin',        'SELECT',  'TABLE eventstore.types'),
		('read admin',        'SELECT',  'TABLE eventstore.stats'),
		('read admin',        'SELECT',  'TABLE eventstore.health'),
		('admin',             'SELECT',  'TABLE eventstore.tallies'),
		('admin',             'SELECT',  'TABLE eventstore.tally_state'),
		('admin',             'SELECT',  'TABLE eventstore.tally_removals'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_tallies(boolean)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_stats()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.health_level(text, double precision)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_head()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_processes()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_projections()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_subscriptions()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_replication()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_keeping()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_tables()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_repair_positions(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_repair_streams()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_truncate_stream(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_delete_stream(text, bigint, boolean)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_redact(uuid, text, text[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_retention(text, interval, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_apply_retention()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_head()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_position_at(timestamptz)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait(bigint, interval, text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_channel(text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_snapshot(text, bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_load(text, bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, regprocedure, jsonb, bigint, timestamptz)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, bigint)'),
		('read admin',        'SELECT',  'TABLE eventstore.projection_status'),
		('admin',             'SELECT',  'TABLE eventstore.projections'),
		('admin',             'SELECT',  'TABLE eventstore.projection_checkpoints'),
		('admin',             'SELECT',  'TABLE eventstore.projection_appends'),
		('admin',             'SELECT',  'TABLE eventstore.stale_projections'),
		('read admin',        'SELECT',  'TABLE eventstore.skipped_events'),
		('admin',             'SELECT',  'TABLE eventstore.projection_missed'),
		('admin',             'SELECT',  'TABLE eventstore.intact_projections'),
		('admin',             'SELECT',  'TABLE eventstore.projection_needs'),
		('admin',             'SELECT',  'TABLE eventstore.projection_facts'),
		('admin',             'SELECT',  'TABLE eventstore.local_projections'),
		('admin',             'SELECT',  'TABLE eventstore.projection_waits'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait_projection(text, bigint, interval)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_first(anyelement, anycompatible)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_last(anyelement, anycompatible)'),
		('admin',             'EXECUTE', 'FUNCTION eventstore.first_by(anyelement, anycompatible, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION eventstore.last_by(anyelement, anycompatible, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_state_projection(text, regprocedure, jsonb, text, text[], text[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_projection(text, text, text, text[], text[], regclass[], text, text, regclass[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_projection(text, boolean)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_reassign_projection(text, regrole)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_pause_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_resume_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_run_projection(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_skip_event(text, bigint, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_rebuild_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_rename_projection(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replace_projection(text, text, text[], text[], regclass[], regclass[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_verify_projection(text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_projection_as_of(text, text, bigint, timestamptz)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_projection_activity()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_projection_trouble(text)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.count_behind(text, bigint, text[], text[])'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_oldest_behind(text, bigint, text[], text[])'),
		('read append admin', 'EXECUTE', 'FUNCTION eventstore.event_digest(eventstore.event)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_verify()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_seal(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_verify_seals()'),
		('admin',             'SELECT',  'TABLE eventstore.seals'),
		('admin',             'SELECT',  'TABLE eventstore.seal_blocks'),
		('admin',             'SELECT',  'TABLE eventstore.seal_verifications'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_partition_events(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_detach_events(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_attach_events(regclass)'),
		('admin',             'EXECUTE', 'FUNCTION eventstore.describe_partition(regclass)'),
		('admin',             'SELECT',  'TABLE eventstore.event_partitions'),
		('admin',             'SELECT',  'TABLE eventstore.archived_ranges'),
		('admin',             'SELECT',  'TABLE eventstore.foreign_ranges'),
		('admin',             'SELECT',  'TABLE eventstore.partitioning'),
		('admin',             'SELECT',  'TABLE eventstore.partition_ids'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_any()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_exists()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_no_stream()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, jsonb)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, jsonb, jsonb, uuid, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text[], jsonb[], jsonb[], uuid[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, text, text, text, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append_streams(jsonb)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append_if(text, jsonb, jsonb, bigint)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_assert_version(text, bigint)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_last_position()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_partition(text, bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_subscription_division(text)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_subscription_status(text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_fetch(text, text, bigint, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_ack(text, bigint, bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_release(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, interval, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_alter_subscription(text, bigint, text, bigint, interval, text, text[], text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_pause_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_resume_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_reset_subscription(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, uuid)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_parked(text, uuid)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_protect(text, jsonb)'),
		('reveal admin',      'EXECUTE', 'FUNCTION @extschema@.es_reveal(jsonb)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_erase_subject(text, text)'),
		('admin',             'SELECT',  'TABLE eventstore.erasures'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_grant(regrole, text, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_revoke(regrole, text, text, text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_load_json(text, bigint)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, text, text, uuid, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, jsonb, jsonb, text, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append_streams(text)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append_if(text, text, text, bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_query(text, bigint, bigint, boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_stream_as_of(text, eventstore.timestamptz_text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_position_at(eventstore.timestamptz_text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait(bigint, eventstore.interval_text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, eventstore.interval_text, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_alter_subscription(text, bigint, text, bigint, eventstore.interval_text, text, text[], text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_fetch(text, text, bigint, eventstore.interval_text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, eventstore.interval_text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_parked(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_state_projection(text, text, jsonb, text, text[], text[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_state_projection(text, text, text, text, text[], text[])'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait_projection(text, bigint, eventstore.interval_text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_projection_as_of(text, text, bigint, eventstore.timestamptz_text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_reassign_projection(text, text)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_save_snapshot(text, bigint, text, bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, text, jsonb, bigint, timestamptz)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, text, text, bigint, timestamptz)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, text, text, bigint, eventstore.timestamptz_text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_retention(text, eventstore.interval_text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_redact(text, text, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_protect(text, text)'),
		('reveal admin',      'EXECUTE', 'FUNCTION @extschema@.es_reveal(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_import(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_grant(text, text, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_revoke(text, text, text, text)')
	) AS r (levels, privilege, object)
	WHERE level = ANY (string_to_array(r.levels, ' '))
$$;
COMMENT ON FUNCTION eventstore.rights_of_level(text) IS 'What a level of es_grant lets a role do.';
REVOKE ALL ON FUNCTION eventstore.rights_of_level(text) FROM PUBLIC;

CREATE FUNCTION eventstore.apply_grants(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	right_to record;
BEGIN
	-- The role may have USAGE on the functions' schema for reasons of its own: it is given where needed, and never taken.
	FOR right_to IN SELECT DISTINCT privilege, object FROM eventstore.rights_of_level('admin')
					WHERE object <> 'SCHEMA @extschema@'
	LOOP
		EXECUTE format('REVOKE %s ON %s FROM %s', right_to.privilege, right_to.object, role);
	END LOOP;
	FOR right_to IN SELECT DISTINCT r.privilege, r.object
					FROM (SELECT r.privilege, r.object FROM unnest(eventstore.levels_of_role(role)) l, eventstore.rights_of_level(l) r
						  UNION ALL
						  SELECT r.privilege, r.object FROM unnest(eventstore.bound_levels_of_role(role)) l, eventstore.rights_of_level(l) r
						  WHERE eventstore.is_for_bound_roles(r.object)) r
					WHERE r.object <> 'SCHEMA @extschema@'
					   OR NOT has_schema_privilege(role::oid, '@extschema@'::regnamespace::oid, 'USAGE')
	LOOP
		EXECUTE format('GRANT %s ON %s TO %s', right_to.privilege, right_to.object, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.apply_grants(regrole) IS 'Gives a role exactly the rights of the levels that it has.';
REVOKE ALL ON FUNCTION eventstore.apply_grants(regrole) FROM PUBLIC;
