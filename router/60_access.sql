-- Access: who may call the router, and what he may do in the cells.
--
-- The cells decide: each role comes to them as itself. So here it is the same for all levels but admin's.

CREATE FUNCTION eventstore.es_grant(cell int, role text, level text, category text, tenant text) RETURNS text
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_grant($2::regrole, $3::text, $4::text, $5::text)::text;
$$;
COMMENT ON FUNCTION eventstore.es_grant(int, text, text, text, text) IS 'Sends es_grant to a cell.';
REVOKE ALL ON FUNCTION eventstore.es_grant(int, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.es_revoke(cell int, role text, level text, category text, tenant text) RETURNS text
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_revoke($2::regrole, $3::text, $4::text, $5::text)::text;
$$;
COMMENT ON FUNCTION eventstore.es_revoke(int, text, text, text, text) IS 'Sends es_revoke to a cell.';
REVOKE ALL ON FUNCTION eventstore.es_revoke(int, text, text, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.ask_levels(cell int, role text) RETURNS text[]
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1;
	SELECT pg_catalog.array_agg(g.level::text) FROM eventstore.grants g WHERE g.role::text OPERATOR(pg_catalog.=) $2::text;
$$;
COMMENT ON FUNCTION eventstore.ask_levels(int, text) IS 'The levels that a role has in a cell, within bounds or without.';
REVOKE ALL ON FUNCTION eventstore.ask_levels(int, text) FROM PUBLIC;

-- What only admins may call: it changes the map, or makes objects here.
CREATE FUNCTION eventstore.is_for_admins(name text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN name IN ('es_add_cell', 'es_drop_cell', 'es_adopt_map', 'es_grant', 'es_revoke', 'es_create_view', 'es_drop_view', 'let_in', 'keep_out', 'shut_out', 'ask_levels', 'make_gather', 'count_change', 'ask_map', 'ask_feeds', 'ask_checkpoint', 'put_off_group', 'forget_group', 'find_cell_status', 'check_one_cell', 'ask_version', 'ask_member', 'sent_verbs');
COMMENT ON FUNCTION eventstore.is_for_admins(text) IS 'Whether only admins may call a function.';
REVOKE ALL ON FUNCTION eventstore.is_for_admins(text) FROM PUBLIC;

-- As who owns the router: other admins may call its functions, and have no right to grant them. Who calls them has asked the cells before.
CREATE FUNCTION eventstore.let_in(role regrole, is_admin boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	function regprocedure;
BEGIN
	EXECUTE format('GRANT USAGE ON SCHEMA eventstore, plproxy, @extschema@ TO %s', role);
	EXECUTE format('GRANT SELECT ON eventstore.cells, eventstore.subscription_status, eventstore.parked, eventstore.projection_status, eventstore.inflight, eventstore.health TO %s', role);
	EXECUTE format('GRANT SELECT ON eventstore.differences TO %s', role);
	IF is_admin THEN
		EXECUTE format('GRANT SELECT ON eventstore.cell_status TO %s', role);
	END IF;
	FOR function IN SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
					JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'eventstore_router'
					WHERE is_admin OR NOT eventstore.is_for_admins(p.proname) LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', function, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.let_in(regrole, boolean) IS 'Has a role call the router''s functions.';
REVOKE ALL ON FUNCTION eventstore.let_in(regrole, boolean) FROM PUBLIC;

CREATE FUNCTION eventstore.keep_out(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	function regprocedure;
BEGIN
	FOR function IN SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
					JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'eventstore_router'
					WHERE eventstore.is_for_admins(p.proname) LOOP
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', function, role);
	END LOOP;
	EXECUTE format('REVOKE SELECT ON eventstore.cell_status FROM %s', role);
END
$$;
COMMENT ON FUNCTION eventstore.keep_out(regrole) IS 'Takes from a role what only admins may call.';
REVOKE ALL ON FUNCTION eventstore.keep_out(regrole) FROM PUBLIC;

-- USAGE on the functions' schema it may have for reasons of its own: that stays, as in a store.
CREATE FUNCTION eventstore.shut_out(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	member record;
BEGIN
	FOR member IN SELECT d.classid, d.objid, c.relkind FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'eventstore_router'
				  LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
				  WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
					AND (d.classid IN ('pg_proc'::regclass, 'pg_namespace'::regclass) OR c.relkind IN ('r', 'v')) LOOP
		EXECUTE CASE member.classid
			WHEN 'pg_proc'::regclass THEN format('REVOKE EXECUTE ON FUNCTION %s FROM %s', member.objid::regprocedure, role)
			WHEN 'pg_namespace'::regclass THEN format('REVOKE USAGE ON SCHEMA %s FROM %s', member.objid::regnamespace, role)
			ELSE format('REVOKE SELECT ON %s FROM %s', member.objid::regclass, role) END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.shut_out(regrole) IS 'Takes from a role all that there is on the router.';
REVOKE ALL ON FUNCTION eventstore.shut_out(regrole) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_grant(role regrole, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	cell int;
	done int[] := '{}';
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block('es_grant');
	END IF;
	FOREACH cell IN ARRAY eventstore.some_cells() LOOP
		BEGIN
			PERFORM eventstore.es_grant(cell, role::text, level, category, tenant);
			done := done || cell;
		EXCEPTION WHEN OTHERS THEN
			PERFORM eventstore.tell_done('es_grant', cell, done, SQLSTATE, SQLERRM);
			RAISE;
		END;
	END LOOP;
	PERFORM eventstore.let_in(role, level = 'admin');
END
$$;
COMMENT ON FUNCTION @extschema@.es_grant(regrole, text, text, text) IS
	'Lets a role read, append, reveal or administer in all cells, where it has the same name, and call the router.';
REVOKE ALL ON FUNCTION @extschema@.es_grant(regrole, text, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_revoke(role regrole, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	cell int;
	done int[] := '{}';
	name text := (SELECT r.rolname FROM pg_roles r WHERE r.oid = role);
	levels text[] := '{}';
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block('es_revoke');
	END IF;
	FOREACH cell IN ARRAY eventstore.some_cells() LOOP
		BEGIN
			PERFORM eventstore.es_revoke(cell, role::text, level, category, tenant);
			done := done || cell;
		EXCEPTION WHEN OTHERS THEN
			PERFORM eventstore.tell_done('es_revoke', cell, done, SQLSTATE, SQLERRM);
			RAISE;
		END;
	END LOOP;
	-- What it has left in some cell, by es_grant there, it may go on to do.
	BEGIN
		FOREACH cell IN ARRAY eventstore.all_cells() LOOP
			levels := levels || eventstore.ask_levels(cell, name);
		END LOOP;
	EXCEPTION WHEN insufficient_privilege THEN
		levels := '{unknown}'; -- an admin was the last one that he took from himself
	END;
	IF cardinality(levels) = 0 THEN
		PERFORM eventstore.shut_out(role);
	ELSIF 'admin' <> ALL (levels) THEN
		PERFORM eventstore.keep_out(role);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_revoke(regrole, text, text, text) IS
	'Takes from a role what es_grant gave it, in all cells; a role that has nothing left in any of them may call the router no more.';
REVOKE ALL ON FUNCTION @extschema@.es_revoke(regrole, text, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_grant(role text, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE RETURN @extschema@.es_grant(role::regrole, level, category, tenant);
COMMENT ON FUNCTION @extschema@.es_grant(text, text, text, text) IS 'Lets a role, which is given by its name, read, append, reveal or administer in all cells.';
REVOKE ALL ON FUNCTION @extschema@.es_grant(text, text, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_revoke(role text, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE RETURN @extschema@.es_revoke(role::regrole, level, category, tenant);
COMMENT ON FUNCTION @extschema@.es_revoke(text, text, text, text) IS 'Takes from a role, which is given by its name, what es_grant gave it in all cells.';
REVOKE ALL ON FUNCTION @extschema@.es_revoke(text, text, text, text) FROM PUBLIC;

DROP PROCEDURE eventstore.make_verb(text, text, text, text, text, jsonb, text, text);
DROP PROCEDURE eventstore.make_form(text, text, text, jsonb, text, text);
DROP PROCEDURE eventstore.make_refusal(text, text, text, text, text);
