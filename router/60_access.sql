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

-- What only admins may call: it changes the map, or makes objects here.
CREATE FUNCTION eventstore.is_for_admins(name text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN name IN ('es_add_cell', 'es_drop_cell', 'es_adopt_map', 'es_grant', 'es_revoke', 'es_create_view', 'es_drop_view', 'let_in', 'keep_out', 'make_gather', 'count_change', 'ask_map', 'ask_feeds', 'ask_checkpoint', 'put_off_group', 'forget_group');
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
END
$$;
COMMENT ON FUNCTION eventstore.keep_out(regrole) IS 'Takes from a role what only admins may call.';
REVOKE ALL ON FUNCTION eventstore.keep_out(regrole) FROM PUBLIC;

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
	FOREACH cell IN ARRAY eventstore.all_cells() LOOP
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
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block('es_revoke');
	END IF;
	FOREACH cell IN ARRAY eventstore.all_cells() LOOP
		BEGIN
			PERFORM eventstore.es_revoke(cell, role::text, level, category, tenant);
			done := done || cell;
		EXCEPTION WHEN OTHERS THEN
			PERFORM eventstore.tell_done('es_revoke', cell, done, SQLSTATE, SQLERRM);
			RAISE;
		END;
	END LOOP;
	IF level = 'admin' THEN
		PERFORM eventstore.keep_out(role);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_revoke(regrole, text, text, text) IS
	'Takes from a role what es_grant gave it, in all cells; it may still call the router, and is refused by them.';
REVOKE ALL ON FUNCTION @extschema@.es_revoke(regrole, text, text, text) FROM PUBLIC;

DROP PROCEDURE eventstore.make_verb(text, text, text, text, text, jsonb, text, text);
