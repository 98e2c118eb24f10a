-- Status: whether the router and the cells fit together.

CREATE FUNCTION eventstore.library_version() RETURNS text
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_version';
COMMENT ON FUNCTION eventstore.library_version() IS 'Version of the library that this session runs.';
REVOKE ALL ON FUNCTION eventstore.library_version() FROM PUBLIC;

-- In catalogues only, whatever version the cell is of: what it lacks is to be told.
CREATE FUNCTION eventstore.ask_version(int, text[]) RETURNS TABLE (version text, has_member boolean, missing text[], datestyle text)
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1;
	SELECT (SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'eventstore') AS version,
		pg_catalog.to_regclass('eventstore.member') IS NOT NULL AS has_member,
		ARRAY(SELECT n FROM pg_catalog.unnest($2::text[]) n WHERE NOT EXISTS (
			SELECT FROM pg_catalog.pg_proc p WHERE p.pronamespace OPERATOR(pg_catalog.=) pg_catalog.to_regnamespace('@extschema@') AND p.proname OPERATOR(pg_catalog.=) n)) AS missing,
		pg_catalog.current_setting('datestyle') AS datestyle
	WHERE $1::int IS NOT NULL;
$$;
COMMENT ON FUNCTION eventstore.ask_version(int, text[]) IS 'Version of the extension in a cell, and which of some functions it lacks.';
REVOKE ALL ON FUNCTION eventstore.ask_version(int, text[]) FROM PUBLIC;

CREATE FUNCTION eventstore.ask_member(int) RETURNS TABLE (cell int, feed int, slots text, generation bigint)
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1;
	SELECT m.cell, m.feed, m.slots::text AS slots, m.generation FROM eventstore.member m WHERE $1::int IS NOT NULL;
$$;
COMMENT ON FUNCTION eventstore.ask_member(int) IS 'What a cell says that it is.';
REVOKE ALL ON FUNCTION eventstore.ask_member(int) FROM PUBLIC;

-- The functions that something is sent to.
CREATE FUNCTION eventstore.sent_verbs() RETURNS text[]
	LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
	SELECT array_agg(DISTINCT m[1] ORDER BY m[1])
	FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'plproxy', regexp_matches(p.prosrc, '@extschema@[.](es_[a-z_]+)[(]', 'g') m
	WHERE p.pronamespace = 'eventstore'::regnamespace
$$;
COMMENT ON FUNCTION eventstore.sent_verbs() IS 'The functions of cells that the router calls.';
REVOKE ALL ON FUNCTION eventstore.sent_verbs() FROM PUBLIC;

-- What is wrong with a cell, the worst first.
CREATE FUNCTION eventstore.check_one_cell(mapped eventstore.mapped_cells, map_generation bigint)
	RETURNS TABLE (status text, version text, generation bigint, missing text[], detail text, hint text)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET client_min_messages = error AS
$$
#variable_conflict use_variable
DECLARE
	has_member boolean;
	datestyle text;
	own record;
BEGIN
	status := 'critical';
	BEGIN
		SELECT v.version, v.has_member, v.missing, v.datestyle INTO version, has_member, missing, datestyle FROM eventstore.ask_version(mapped.cell, eventstore.sent_verbs()) v;
		IF has_member THEN
			SELECT m.cell, m.feed, m.slots::int4multirange AS slots, m.generation INTO own FROM eventstore.ask_member(mapped.cell) m;
			generation := own.generation;
		END IF;
	EXCEPTION WHEN OTHERS THEN
		IF eventstore.is_unreachable(SQLSTATE, SQLERRM) THEN
			detail := 'It cannot be reached: ' || regexp_replace(SQLERRM, '[[:space:]]*$', '');
			hint := 'What concerns its streams fails; readers across streams go on without it. Where its address is another one now, es_add_cell says so.';
		ELSE
			detail := format('It does not answer who owns the router: %s', SQLERRM);
			hint := 'The role that owns the router has to be an admin in the cell: es_grant(role, ''admin'') there.';
		END IF;
		RETURN NEXT;
		RETURN;
	END;
	IF version IS NULL THEN
		detail := 'Its database has no extension eventstore.';
		hint := 'CREATE EXTENSION eventstore there, in the schema that the router is in here; or the connection leads to another database than it should.';
	ELSIF cardinality(missing) > 0 THEN
		detail := format('It has not all that the router calls: it is of version %s, the router of %s.', version, @extschema@.es_version());
		hint := format('ALTER EXTENSION eventstore UPDATE there; its functions have to be in schema %s, as here. Until then what needs these functions fails with 42883.', '@extschema@');
	ELSIF own.cell IS NULL THEN
		detail := 'It is no cell: it takes every stream, and its positions are of no feed.';
		hint := format('es_set_cell(%s, %s, ''%s'') there.', mapped.cell, mapped.feed, mapped.slots);
	ELSIF own.cell <> mapped.cell THEN
		detail := format('The connection leads to cell %s.', own.cell);
		hint := 'es_add_cell says where the cell is.';
	ELSIF (own.feed, own.slots) <> (mapped.feed, mapped.slots) THEN
		status := 'warning';
		detail := format('It has feed %s and slots %s, the map here feed %s and slots %s.', own.feed, own.slots, mapped.feed, mapped.slots);
		hint := 'es_refresh_map() here, if the map there is newer; else es_adopt_map there.';
	ELSIF generation <> map_generation THEN
		status := 'warning';
		detail := format('Its map is of generation %s, that of the router of %s.', generation, map_generation)
			|| CASE WHEN generation < map_generation THEN ' A change that is made to it is not taken over here before it is of a later one.' ELSE '' END;
		hint := CASE WHEN generation > map_generation THEN 'es_refresh_map() takes over the newer one.'
					 ELSE 'Have it take over the map of the router, or of a cell that has the newer one: es_adopt_map() there, with SELECT jsonb_agg(to_jsonb(c)) FROM eventstore.cells c.' END;
	ELSIF version <> @extschema@.es_version() THEN
		status := 'warning';
		detail := format('It is of version %s, the router of %s.', version, @extschema@.es_version());
		hint := 'That does for as long as an upgrade takes. Cells first, then routers: ALTER EXTENSION eventstore UPDATE there, ALTER EXTENSION eventstore_router UPDATE here.';
	ELSIF datestyle !~* '^iso' THEN
		status := 'warning';
		detail := format('It writes times as "%s" has them, which the router may read as others.', datestyle);
		hint := 'ALTER DATABASE ... SET datestyle = ''ISO'' there, and for roles that have it otherwise.';
	ELSE
		status := 'ok';
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION eventstore.check_one_cell(eventstore.mapped_cells, bigint) IS 'Whether a cell and the router fit together.';
REVOKE ALL ON FUNCTION eventstore.check_one_cell(eventstore.mapped_cells, bigint) FROM PUBLIC;

-- As who owns the router, who is an admin in the cells: what is wrong with them everybody may know who looks after the router.
CREATE FUNCTION eventstore.find_cell_status() RETURNS TABLE (cell int, status text, version text, generation bigint, missing text[], detail text, hint text)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
#variable_conflict use_variable
DECLARE
	map_generation constant bigint := (SELECT m.generation FROM eventstore.map m);
	free constant int4multirange := '{[0,1024)}'::int4multirange - coalesce((SELECT range_agg(s) FROM eventstore.mapped_cells c, unnest(c.slots) s), '{}');
	mapped eventstore.mapped_cells;
BEGIN
	-- The router itself
	version := @extschema@.es_version();
	generation := map_generation;
	missing := ARRAY(SELECT n FROM unnest('{get_cluster_version,get_cluster_config,get_cluster_partitions}'::text[]) n
					 WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = to_regnamespace('plproxy') AND p.proname = n));
	status := 'critical';
	IF cardinality(missing) > 0 THEN
		detail := 'PL/Proxy does not find what it asks for.';
		hint := 'DROP EXTENSION eventstore_router CASCADE, CREATE EXTENSION eventstore_router, and es_adopt_map with the map of a cell.';
	ELSIF eventstore.library_version() <> version THEN
		detail := format('The extension is of version %s, its library of %s.', version, eventstore.library_version());
		hint := 'ALTER EXTENSION eventstore_router UPDATE, or restart sessions that have loaded an older library.';
	ELSIF map_generation IS NULL OR free = '{[0,1024)}' THEN
		detail := 'There is no cell that takes anything.';
		hint := 'es_add_cell puts a cell into the map, es_adopt_map takes over the map of a cell.';
	ELSIF NOT isempty(free) THEN
		status := 'warning';
		detail := format('No cell takes slots %s.', free);
		hint := 'Appends to their streams are refused (SE009). es_refresh_map() asks the cells for a newer map.';
	ELSE
		status := 'ok';
	END IF;
	RETURN NEXT;
	FOR mapped IN SELECT * FROM eventstore.mapped_cells c ORDER BY c.cell LOOP
		cell := mapped.cell;
		SELECT o.* INTO status, version, generation, missing, detail, hint FROM eventstore.check_one_cell(mapped, map_generation) o;
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.find_cell_status() IS 'The rows of eventstore.cell_status.';
REVOKE ALL ON FUNCTION eventstore.find_cell_status() FROM PUBLIC;

CREATE VIEW eventstore.cell_status AS SELECT * FROM eventstore.find_cell_status();
COMMENT ON VIEW eventstore.cell_status IS 'Whether the router (cell null) and each cell are as they have to be, and fit together: the worst that there is about each.';
COMMENT ON COLUMN eventstore.cell_status.cell IS 'Number of the cell; null: the router itself.';
COMMENT ON COLUMN eventstore.cell_status.status IS 'ok, warning, critical.';
COMMENT ON COLUMN eventstore.cell_status.version IS 'Version of its extension.';
COMMENT ON COLUMN eventstore.cell_status.generation IS 'Generation of its map.';
COMMENT ON COLUMN eventstore.cell_status.missing IS 'Functions that the router calls and that are not there.';
COMMENT ON COLUMN eventstore.cell_status.detail IS 'What is wrong.';
COMMENT ON COLUMN eventstore.cell_status.hint IS 'What to do.';
REVOKE ALL ON TABLE eventstore.cell_status FROM PUBLIC;
