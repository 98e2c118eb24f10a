-- Access: who may do what. PUBLIC may nothing; es_grant gives a role one of three levels.
--
-- A level is a set of rights (eventstore.rights_of_level). That a role has been given a level is recorded as its right to execute the
-- level's function eventstore.may_...: so dumps carry it, renaming and dropping a role keep it true, and there is no table to disagree.

CREATE FUNCTION eventstore.may_read() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_read() IS 'Whoever may execute this has been granted the level "read".';
REVOKE ALL ON FUNCTION eventstore.may_read() FROM PUBLIC;

CREATE FUNCTION eventstore.may_append() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_append() IS 'Whoever may execute this has been granted the level "append".';
REVOKE ALL ON FUNCTION eventstore.may_append() FROM PUBLIC;

CREATE FUNCTION eventstore.may_administer() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_administer() IS 'Whoever may execute this has been granted the level "admin".';
REVOKE ALL ON FUNCTION eventstore.may_administer() FROM PUBLIC;

CREATE VIEW eventstore.grants AS
	SELECT CASE acl.grantee WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(acl.grantee)::pg_catalog.text END AS role,
		   CASE f.proname WHEN 'may_read' THEN 'read' WHEN 'may_append' THEN 'append' ELSE 'admin' END AS level,
		   NULL::pg_catalog.text AS category
	FROM pg_catalog.pg_proc f, pg_catalog.aclexplode(f.proacl) acl
	WHERE f.oid IN ('eventstore.may_read()'::pg_catalog.regprocedure,
					'eventstore.may_append()'::pg_catalog.regprocedure,
					'eventstore.may_administer()'::pg_catalog.regprocedure)
	  AND acl.grantee <> f.proowner;
COMMENT ON VIEW eventstore.grants IS 'Which role has been granted which level; see es_grant. category: null = the whole store.';
COMMENT ON COLUMN eventstore.grants.role IS 'Name of the role.';
COMMENT ON COLUMN eventstore.grants.level IS 'read, append or admin.';
COMMENT ON COLUMN eventstore.grants.category IS 'The category that the grant is bound to; null = the whole store.';
REVOKE ALL ON TABLE eventstore.grants FROM PUBLIC;

CREATE FUNCTION @extschema@.es_grant(role regrole, level text, category text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	PERFORM eventstore.check_grant(role, level, category);
	IF role <> eventstore.owner() THEN
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', eventstore.marker_of_level(level), role);
		PERFORM eventstore.apply_grants(role);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_grant(regrole, text, text) IS
	'Lets a role read (all events, and the table), append (and read, by functions) or admin (all of it, and grant).';
REVOKE ALL ON FUNCTION @extschema@.es_grant(regrole, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_revoke(role regrole, level text, category text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	PERFORM eventstore.check_grant(role, level, category);
	IF level = ANY (eventstore.levels_of_role(role)) THEN
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', eventstore.marker_of_level(level), role);
		PERFORM eventstore.apply_grants(role);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_revoke(regrole, text, text) IS
	'Takes a level from a role; what its other levels give stays.';
REVOKE ALL ON FUNCTION @extschema@.es_revoke(regrole, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.check_grant(role regrole, level text, category text) RETURNS void
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
	IF level NOT IN ('read', 'append', 'admin') THEN
		RAISE EXCEPTION 'unknown level "%"', level USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The levels are read, append and admin.';
	END IF;
	IF category IS NOT NULL THEN
		RAISE EXCEPTION 'grants for one category are not supported' USING ERRCODE = 'feature_not_supported';
	END IF;
	-- Two at once would update the same rows of the catalogue.
	PERFORM pg_advisory_xact_lock('pg_namespace'::regclass::oid::int, 'eventstore'::regnamespace::oid::int);
END
$$;
COMMENT ON FUNCTION eventstore.check_grant(regrole, text, text) IS
	'Raises unless the arguments of es_grant and es_revoke are right; lets one of them go at a time.';
REVOKE ALL ON FUNCTION eventstore.check_grant(regrole, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.marker_of_level(level text) RETURNS regprocedure
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE level
		WHEN 'read' THEN 'eventstore.may_read()'::regprocedure
		WHEN 'append' THEN 'eventstore.may_append()'::regprocedure
		WHEN 'admin' THEN 'eventstore.may_administer()'::regprocedure
	END;
COMMENT ON FUNCTION eventstore.marker_of_level(text) IS 'The function whose EXECUTE right records that a role has a level.';
REVOKE ALL ON FUNCTION eventstore.marker_of_level(text) FROM PUBLIC;

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
	FROM unnest(ARRAY['read', 'append', 'admin']) l
	WHERE EXISTS (SELECT FROM pg_proc f, aclexplode(f.proacl) acl
				  WHERE f.oid = eventstore.marker_of_level(l) AND acl.grantee = role AND acl.grantee <> f.proowner)
$$;
COMMENT ON FUNCTION eventstore.levels_of_role(regrole) IS 'The levels that a role has been granted.';
REVOKE ALL ON FUNCTION eventstore.levels_of_role(regrole) FROM PUBLIC;

-- A new function of the store is added here, under the lowest level that may call it.
CREATE FUNCTION eventstore.rights_of_level(level text, OUT privilege text, OUT object text) RETURNS SETOF record
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT r.privilege, r.object
	FROM (VALUES
		('read append admin', 'USAGE',   'SCHEMA eventstore'),
		('read append admin', 'USAGE',   'SCHEMA @extschema@'),
		('read admin',        'SELECT',  'TABLE eventstore.events'),
		('admin',             'SELECT',  'TABLE eventstore.streams'),
		('admin',             'SELECT',  'TABLE eventstore.head'),
		('admin',             'SELECT',  'TABLE eventstore.marks'),
		('read admin',        'SELECT',  'TABLE eventstore.inflight'),
		('read admin',        'SELECT',  'TABLE eventstore.notify_status'),
		('admin',             'SELECT',  'TABLE eventstore.snapshots'),
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
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_event(bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_inflight()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_notify_status()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_repair_positions(bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_head()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_position_at(timestamptz)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait(bigint, interval, text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_channel(text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_snapshot(text, int)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_load(text, int)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, regprocedure, jsonb, bigint, timestamptz)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, int)'),
		('read admin',        'SELECT',  'TABLE eventstore.projection_status'),
		('admin',             'SELECT',  'TABLE eventstore.projections'),
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
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_projection_as_of(text, text, bigint, timestamptz)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_projection_activity()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_projection_trouble(text)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.count_behind(text, bigint, text[], text[])'),
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
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_partition(text, int)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_subscription_division(text)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_subscription_status(text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_fetch(text, text, int, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_ack(text, bigint, bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_release(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, int, int, interval, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_alter_subscription(text, int, text, int, interval, text, text[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_pause_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_resume_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_reset_subscription(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, int)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, uuid)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_parked(text, uuid)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_grant(regrole, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_revoke(regrole, text, text)')
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
					FROM unnest(eventstore.levels_of_role(role)) l, eventstore.rights_of_level(l) r
					WHERE r.object <> 'SCHEMA @extschema@'
					   OR NOT has_schema_privilege(role::oid, '@extschema@'::regnamespace::oid, 'USAGE')
	LOOP
		EXECUTE format('GRANT %s ON %s TO %s', right_to.privilege, right_to.object, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.apply_grants(regrole) IS 'Gives a role exactly the rights of the levels that it has.';
REVOKE ALL ON FUNCTION eventstore.apply_grants(regrole) FROM PUBLIC;
