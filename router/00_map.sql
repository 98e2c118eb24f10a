-- The map: which cell takes which slots, where its database is, and which cell gives which feed's events to readers across streams.
--
-- The same tables, as far as users see them, as in a store; there is no store here, so no cell can mistake this database for one.

DO $$
BEGIN
	IF pg_catalog.to_regclass('eventstore.events') IS NOT NULL THEN
		RAISE object_not_in_prerequisite_state USING
			MESSAGE = 'this database has a store: a router needs a database of its own',
			DETAIL = 'A call would have two meanings here: in this store, and in the cells.',
			HINT = 'Create a database without extension eventstore, and the router there.';
	END IF;
END
$$;

CREATE SCHEMA eventstore;
COMMENT ON SCHEMA eventstore IS 'The relations of the router, and what its functions, es_..., are made of.';
REVOKE ALL ON SCHEMA eventstore FROM PUBLIC;

CREATE TYPE eventstore.event AS
(
	position    bigint,
	stream      text COLLATE "C",
	category    text COLLATE "C",
	version     bigint,
	id          uuid,
	type        text COLLATE "C",
	data        jsonb,
	metadata    jsonb,
	tags        text[] COLLATE "C",
	recorded_at timestamptz
);
COMMENT ON TYPE eventstore.event IS 'An event as every reading function returns it; the columns of eventstore.events in a cell.';

CREATE FUNCTION eventstore.is_in_block() RETURNS boolean
	LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'es_is_in_block';
COMMENT ON FUNCTION eventstore.is_in_block() IS 'Whether the statement could still be rolled back.';
REVOKE ALL ON FUNCTION eventstore.is_in_block() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_slot(stream text) RETURNS int
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_slot';
COMMENT ON FUNCTION @extschema@.es_slot(text) IS 'Slot of a stream, 0 to 1023: that of its tenant, or else of its whole name; the same everywhere and for ever.';
REVOKE ALL ON FUNCTION @extschema@.es_slot(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_tenant(stream text) RETURNS text
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_tenant';
COMMENT ON FUNCTION @extschema@.es_tenant(text) IS 'The tenant of a stream: what stands in the first {...} of its name; null if there is none.';
REVOKE ALL ON FUNCTION @extschema@.es_tenant(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_any() RETURNS bigint
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN (-1)::bigint;
COMMENT ON FUNCTION @extschema@.es_any() IS 'Expected version -1: any version will do; the append never conflicts.';
REVOKE ALL ON FUNCTION @extschema@.es_any() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_exists() RETURNS bigint
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN (-2)::bigint;
COMMENT ON FUNCTION @extschema@.es_exists() IS 'Expected version -2: the stream has at least one event.';
REVOKE ALL ON FUNCTION @extschema@.es_exists() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_no_stream() RETURNS bigint
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 0::bigint;
COMMENT ON FUNCTION @extschema@.es_no_stream() IS 'Expected version 0: the stream has no event.';
REVOKE ALL ON FUNCTION @extschema@.es_no_stream() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_partition(stream text, partitions bigint) RETURNS int
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_partition';
COMMENT ON FUNCTION @extschema@.es_partition(text, bigint) IS 'The partition of a stream, from 0; the same on every machine, in every version.';
REVOKE ALL ON FUNCTION @extschema@.es_partition(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_version() RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN (SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname = 'eventstore_router');
COMMENT ON FUNCTION @extschema@.es_version() IS 'Version of the router; eventstore.cell_status has those of the cells.';
REVOKE ALL ON FUNCTION @extschema@.es_version() FROM PUBLIC;

-- The numbers of cells are the numbers of PL/Proxy's partitions, for ever: a session that knows an older map never takes one cell for another.
CREATE TABLE eventstore.mapped_cells
(
	cell       int            NOT NULL CONSTRAINT mapped_cells_pkey PRIMARY KEY CONSTRAINT mapped_cells_cell_check CHECK (cell BETWEEN 0 AND 1023),
	feed       int            NOT NULL CONSTRAINT mapped_cells_feed_key UNIQUE CONSTRAINT mapped_cells_feed_check CHECK (feed BETWEEN 0 AND 1023),
	slots      int4multirange NOT NULL,
	connection text COLLATE "C"
);
COMMENT ON TABLE eventstore.mapped_cells IS 'The cells of the map; see the view eventstore.cells.';
COMMENT ON COLUMN eventstore.mapped_cells.cell IS 'Number of the cell.';
COMMENT ON COLUMN eventstore.mapped_cells.feed IS 'Its feed: what the positions that it gives out are modulo 1024.';
COMMENT ON COLUMN eventstore.mapped_cells.slots IS 'The slots that it takes appends for.';
COMMENT ON COLUMN eventstore.mapped_cells.connection IS 'Where its database is: a connection string of libpq. Without user= each role comes as itself; null = nobody has said.';
REVOKE ALL ON TABLE eventstore.mapped_cells FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.mapped_cells', '');

CREATE TABLE eventstore.map
(
	only_row   boolean NOT NULL DEFAULT true CONSTRAINT map_pkey PRIMARY KEY CONSTRAINT map_only_row_check CHECK (only_row),
	generation bigint  NOT NULL,
	revision   int     NOT NULL
);
COMMENT ON TABLE eventstore.map IS 'How old the map is. One row, as soon as there is a map.';
COMMENT ON COLUMN eventstore.map.only_row IS 'Always true.';
COMMENT ON COLUMN eventstore.map.generation IS 'Generation of the map: that of a newer one is higher.';
COMMENT ON COLUMN eventstore.map.revision IS 'Number of this database''s copy: sessions read it anew when this is another.';
REVOKE ALL ON TABLE eventstore.map FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.map', '');

CREATE SEQUENCE eventstore.map_revisions AS int CYCLE;
COMMENT ON SEQUENCE eventstore.map_revisions IS 'Numbers copies of the map; what was rolled back has had one, too.';
REVOKE ALL ON SEQUENCE eventstore.map_revisions FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.map_revisions', '');

CREATE VIEW eventstore.cells AS
	SELECT c.cell, c.feed, c.slots, CASE WHEN pg_catalog.has_function_privilege('eventstore.count_change(bigint)', 'EXECUTE') THEN c.connection END AS connection, m.generation
	FROM eventstore.mapped_cells c CROSS JOIN eventstore.map m;
COMMENT ON VIEW eventstore.cells IS 'The map: which cell takes which slots, and where it is. One row a cell.';
COMMENT ON COLUMN eventstore.cells.cell IS 'Number of the cell.';
COMMENT ON COLUMN eventstore.cells.feed IS 'Its feed: what the positions that it gives out are modulo 1024.';
COMMENT ON COLUMN eventstore.cells.slots IS 'The slots that it takes appends for.';
COMMENT ON COLUMN eventstore.cells.connection IS 'Where its database is; null for who is no admin.';
COMMENT ON COLUMN eventstore.cells.generation IS 'Generation of the map.';
REVOKE ALL ON TABLE eventstore.cells FROM PUBLIC;

-- A cell that was split off has all that the other one had; readers get that from the other one.
CREATE TABLE eventstore.feeds
(
	feed           int    NOT NULL CONSTRAINT feeds_pkey PRIMARY KEY,
	cell           int    NOT NULL,
	after_position bigint NOT NULL,
	upto           bigint,
	parent         int
);
COMMENT ON TABLE eventstore.feeds IS 'Which cell gives which feed''s events to readers across streams: learned from the cells.';
COMMENT ON COLUMN eventstore.feeds.feed IS 'The feed, as it stands in vectors of positions.';
COMMENT ON COLUMN eventstore.feeds.cell IS 'The cell that has its events.';
COMMENT ON COLUMN eventstore.feeds.after_position IS 'They are those of the cell after this position ...';
COMMENT ON COLUMN eventstore.feeds.upto IS '... up to this one; null: it is the cell''s present feed.';
COMMENT ON COLUMN eventstore.feeds.parent IS 'The feed that its streams had before: a reader gets that one''s events up to after_position first. Null: none.';
REVOKE ALL ON TABLE eventstore.feeds FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.feeds', '');

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What PL/Proxy asks
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE SCHEMA plproxy;
COMMENT ON SCHEMA plproxy IS 'Where PL/Proxy looks for what it is to know of cluster "eventstore".';
REVOKE ALL ON SCHEMA plproxy FROM PUBLIC;

CREATE FUNCTION plproxy.get_cluster_version(cluster_name text) RETURNS int
	LANGUAGE sql VOLATILE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
	SELECT coalesce(max(m.revision), 0) FROM eventstore.map m
$$;
COMMENT ON FUNCTION plproxy.get_cluster_version(text) IS 'The number of this database''s copy of the map.';
REVOKE ALL ON FUNCTION plproxy.get_cluster_version(text) FROM PUBLIC;

CREATE FUNCTION plproxy.get_cluster_config(cluster_name text, OUT key text, OUT val text) RETURNS SETOF record
	LANGUAGE sql VOLATILE PARALLEL RESTRICTED ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
	SELECT 'connection_lifetime', '0'
$$;
COMMENT ON FUNCTION plproxy.get_cluster_config(text) IS 'Connections are kept as long as they are good.';
REVOKE ALL ON FUNCTION plproxy.get_cluster_config(text) FROM PUBLIC;

-- A number that no cell has leads nowhere.
CREATE FUNCTION plproxy.get_cluster_partitions(cluster_name text) RETURNS SETOF text
	LANGUAGE sql VOLATILE PARALLEL RESTRICTED ROWS 1024 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
	SELECT coalesce(c.connection, 'host=no_such_cell user=nobody')
	FROM generate_series(0, 1023) n LEFT JOIN eventstore.mapped_cells c ON c.cell = n ORDER BY n
$$;
COMMENT ON FUNCTION plproxy.get_cluster_partitions(text) IS 'Where each cell is, by number.';
REVOKE ALL ON FUNCTION plproxy.get_cluster_partitions(text) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Looking at it, and changing it
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION eventstore.cell_of_slot(slot int) RETURNS int
	LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
	SELECT c.cell FROM eventstore.mapped_cells c WHERE c.slots @> cell_of_slot.slot
$$;
COMMENT ON FUNCTION eventstore.cell_of_slot(int) IS 'The cell that takes a slot; null: none.';
REVOKE ALL ON FUNCTION eventstore.cell_of_slot(int) FROM PUBLIC;

CREATE FUNCTION eventstore.all_cells() RETURNS int[]
	LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
	SELECT coalesce(array_agg(c.cell ORDER BY c.cell), '{}') FROM eventstore.mapped_cells c
$$;
COMMENT ON FUNCTION eventstore.all_cells() IS 'The numbers of all cells.';
REVOKE ALL ON FUNCTION eventstore.all_cells() FROM PUBLIC;

-- What a cell knows: its map, and which feeds its events are of. As who owns the router: users need no right to either. What is sent is read
-- there by the search_path of that database, in which others may make functions: so here, as wherever something is sent, names are qualified.
CREATE FUNCTION eventstore.ask_map(cell int) RETURNS jsonb
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1;
	SELECT coalesce(pg_catalog.jsonb_agg(pg_catalog.to_jsonb(c)), '[]') FROM eventstore.cells c WHERE $1::int IS NOT NULL;
$$;
COMMENT ON FUNCTION eventstore.ask_map(int) IS 'The map that a cell has.';
REVOKE ALL ON FUNCTION eventstore.ask_map(int) FROM PUBLIC;

CREATE FUNCTION eventstore.ask_feeds(cell int) RETURNS TABLE (feed int, after_position bigint, number int)
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE ROWS 2 AS
$$
	CLUSTER 'eventstore'; RUN ON $1;
	SELECT f.feed, f.after_position, f.number FROM eventstore.feeds f WHERE $1::int IS NOT NULL;
$$;
COMMENT ON FUNCTION eventstore.ask_feeds(int) IS 'The feeds that a cell has events of.';
REVOKE ALL ON FUNCTION eventstore.ask_feeds(int) FROM PUBLIC;

-- Of a feed that several cells have events of, the one that has most of them gives them; a cell that has it now has all.
CREATE FUNCTION eventstore.learn_feeds() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	one int;
	knows eventstore.feeds[] := '{}';
BEGIN
	FOREACH one IN ARRAY eventstore.all_cells() LOOP
		BEGIN
			knows := knows || ARRAY(
				SELECT ROW (f.feed, one, f.after_position, lead(f.after_position) OVER w, lag(f.feed) OVER w)::eventstore.feeds
				FROM eventstore.ask_feeds(one) f WINDOW w AS (ORDER BY f.number));
		EXCEPTION WHEN OTHERS THEN
			-- It is down: what was known of its feeds is kept.
			knows := knows || ARRAY(SELECT f FROM eventstore.feeds f WHERE f.cell = one);
		END;
	END LOOP;
	INSERT INTO eventstore.feeds AS o (feed, cell, after_position, upto, parent)
		SELECT DISTINCT ON (k.feed) k.feed, k.cell, k.after_position, k.upto, k.parent FROM unnest(knows) k ORDER BY k.feed, k.upto DESC NULLS FIRST
		ON CONFLICT (feed) DO UPDATE SET cell = excluded.cell, after_position = excluded.after_position, upto = excluded.upto, parent = excluded.parent
		WHERE (o.cell, o.after_position, o.upto, o.parent) IS DISTINCT FROM (excluded.cell, excluded.after_position, excluded.upto, excluded.parent);
END
$$;
COMMENT ON FUNCTION eventstore.learn_feeds() IS 'Asks the cells which feeds they have events of.';
REVOKE ALL ON FUNCTION eventstore.learn_feeds() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_adopt_map(map jsonb) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	newer bigint;
BEGIN
	IF jsonb_typeof(map) IS DISTINCT FROM 'array' OR jsonb_array_length(map) = 0
	   OR EXISTS (SELECT FROM jsonb_array_elements(map) e WHERE jsonb_typeof(e) <> 'object') THEN
		RAISE invalid_parameter_value USING MESSAGE = 'a map is an array of the rows of a cell''s eventstore.cells',
			HINT = 'Take it there: SELECT jsonb_agg(to_jsonb(c)) FROM eventstore.cells c.';
	END IF;
	PERFORM eventstore.check_map(map);
	SELECT max(c.generation) INTO newer FROM jsonb_populate_recordset(NULL::eventstore.cells, map) c;
	IF newer <= (SELECT m.generation FROM eventstore.map m) THEN
		RETURN false;
	END IF;
	-- One at a time, and each sees what the one before did.
	LOCK TABLE eventstore.mapped_cells IN SHARE ROW EXCLUSIVE MODE;
	IF newer <= (SELECT m.generation FROM eventstore.map m) THEN
		RETURN false;
	END IF;
	-- Where nobody has told the cells how to reach one, what is known here stays.
	WITH gone AS (DELETE FROM eventstore.mapped_cells o RETURNING o.*)
	INSERT INTO eventstore.mapped_cells (cell, feed, slots, connection)
		SELECT c.cell, c.feed, c.slots, coalesce(c.connection, g.connection)
		FROM jsonb_populate_recordset(NULL::eventstore.cells, map) c LEFT JOIN gone g ON g.cell = c.cell;
	PERFORM eventstore.count_change(newer);
	PERFORM eventstore.learn_feeds();
	RETURN true;
END
$$;
COMMENT ON FUNCTION @extschema@.es_adopt_map(jsonb) IS
	'Takes over the map of a cell, as an array of the rows of its eventstore.cells, if it is newer than the one here; returns whether it was.';
REVOKE ALL ON FUNCTION @extschema@.es_adopt_map(jsonb) FROM PUBLIC;

-- PL/Proxy looks addresses up as who calls: so everybody who may call the router can see them.
CREATE FUNCTION eventstore.check_connection(connection text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF connection COLLATE "C" ~* '(password|secret|client_key)[[:space:]]*=' OR connection COLLATE "C" ~* '^[[:space:]]*postgres(ql)?://[^/?]*:[^/?]*@' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'connection must not have a password',
			DETAIL = 'Whoever may call the router can read it.',
			HINT = 'Say passfile=... or service=..., and put the password into that file on this server.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_connection(text) IS 'Raises 22023 if a connection string has a password in it.';
REVOKE ALL ON FUNCTION eventstore.check_connection(text) FROM PUBLIC;

CREATE FUNCTION eventstore.check_map(map jsonb) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	twice record;
BEGIN
	-- Not left to the table's constraints, whose errors would show connections.
	IF EXISTS (SELECT FROM jsonb_populate_recordset(NULL::eventstore.cells, map) c
			   WHERE (c.cell BETWEEN 0 AND 1023 AND c.feed BETWEEN 0 AND 1023 AND c.slots <@ '{[0,1024)}'::int4multirange AND c.generation > 0) IS NOT TRUE) THEN
		RAISE invalid_parameter_value USING MESSAGE = 'a map''s rows have a cell, a feed, slots and a generation',
			DETAIL = 'Cells, feeds and slots are numbers from 0 to 1023 on a router.';
	END IF;
	IF (SELECT min(c.generation) <> max(c.generation) OR count(*) <> count(DISTINCT c.cell) OR count(*) <> count(DISTINCT c.feed)
		FROM jsonb_populate_recordset(NULL::eventstore.cells, map) c) THEN
		RAISE invalid_parameter_value USING MESSAGE = 'a map is of one generation, and has each cell and each feed once';
	END IF;
	PERFORM eventstore.check_connection(c.connection) FROM jsonb_populate_recordset(NULL::eventstore.cells, map) c;
	SELECT a.cell AS one, b.cell AS other, a.slots * b.slots AS slots INTO twice
	FROM jsonb_populate_recordset(NULL::eventstore.cells, map) a, jsonb_populate_recordset(NULL::eventstore.cells, map) b
	WHERE a.cell < b.cell AND a.slots && b.slots LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING MESSAGE = 'two cells take the same slots',
			DETAIL = format('Slots %s are those of cell %s and of cell %s.', twice.slots, twice.one, twice.other),
			HINT = 'Each slot belongs to one cell.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_map(jsonb) IS 'Raises 22023 unless a map can be one: each slot of one cell.';
REVOKE ALL ON FUNCTION eventstore.check_map(jsonb) FROM PUBLIC;

CREATE FUNCTION eventstore.count_change(generation bigint) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
	INSERT INTO eventstore.map (generation, revision) VALUES (count_change.generation, nextval('eventstore.map_revisions'))
		ON CONFLICT ON CONSTRAINT map_pkey DO UPDATE SET generation = excluded.generation, revision = excluded.revision
$$;
COMMENT ON FUNCTION eventstore.count_change(bigint) IS 'The map is of another generation.';
REVOKE ALL ON FUNCTION eventstore.count_change(bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_add_cell(cell bigint, feed bigint, slots int4multirange, connection text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	other record;
BEGIN
	IF cell IS NULL OR feed IS NULL OR slots IS NULL OR connection IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'cell, feed, slots and connection must not be null';
	END IF;
	IF cell NOT BETWEEN 0 AND 1023 OR feed NOT BETWEEN 0 AND 1023 OR NOT slots <@ '{[0,1024)}'::int4multirange THEN
		RAISE invalid_parameter_value USING MESSAGE = 'cells, feeds and slots are numbers from 0 to 1023';
	END IF;
	PERFORM eventstore.check_connection(connection);
	LOCK TABLE eventstore.mapped_cells IN SHARE ROW EXCLUSIVE MODE;
	SELECT c.cell, c.feed, c.slots INTO other FROM eventstore.mapped_cells c
	WHERE c.cell <> es_add_cell.cell AND (c.slots && es_add_cell.slots OR c.feed = es_add_cell.feed);
	IF FOUND THEN
		RAISE invalid_parameter_value USING MESSAGE = format('cell %s has feed %s and slots %s already', other.cell, other.feed, other.slots),
			HINT = 'Each slot and each feed belongs to one cell. What has been moved comes here by es_adopt_map(), with the map of a cell.';
	END IF;
	INSERT INTO eventstore.mapped_cells AS c (cell, feed, slots, connection) VALUES (cell, feed, slots, connection)
		ON CONFLICT ON CONSTRAINT mapped_cells_pkey DO UPDATE SET feed = excluded.feed, slots = excluded.slots, connection = excluded.connection;
	PERFORM eventstore.count_change(coalesce((SELECT m.generation FROM eventstore.map m), 0) + 1);
	PERFORM eventstore.learn_feeds();
END
$$;
COMMENT ON FUNCTION @extschema@.es_add_cell(bigint, bigint, int4multirange, text) IS
	'Puts a cell into the router''s map, or changes it there; a change makes a new generation of it.';
REVOKE ALL ON FUNCTION @extschema@.es_add_cell(bigint, bigint, int4multirange, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_cell(cell bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF cell IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'cell must not be null';
	END IF;
	LOCK TABLE eventstore.mapped_cells IN SHARE ROW EXCLUSIVE MODE;
	DELETE FROM eventstore.mapped_cells c WHERE c.cell = es_drop_cell.cell;
	IF NOT FOUND THEN
		RAISE undefined_object USING MESSAGE = format('cell %s does not exist', cell), HINT = 'eventstore.cells shows which there are.';
	END IF;
	DELETE FROM eventstore.feeds f WHERE f.cell = es_drop_cell.cell;
	PERFORM eventstore.count_change((SELECT m.generation FROM eventstore.map m) + 1);
	PERFORM eventstore.learn_feeds();
END
$$;
COMMENT ON FUNCTION @extschema@.es_drop_cell(bigint) IS 'Takes a cell from the router''s map, in a new generation of it.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_cell(bigint) FROM PUBLIC;

-- Who waits for a cell that takes a slot takes over no map by which none does: nobody else could tell this database another one until he is done.
CREATE FUNCTION eventstore.refresh_map(wanted int) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	cell int;
	map jsonb;
	is_newer boolean := false;
BEGIN
	FOREACH cell IN ARRAY eventstore.all_cells() LOOP
		BEGIN
			map := eventstore.ask_map(cell);
		EXCEPTION WHEN OTHERS THEN
			CONTINUE; -- it is down, or has no map: another one may know
		END;
		CONTINUE WHEN NOT EXISTS (SELECT FROM jsonb_populate_recordset(NULL::eventstore.cells, map) c WHERE wanted IS NULL OR c.slots @> wanted);
		BEGIN
			is_newer := @extschema@.es_adopt_map(map) OR is_newer;
		EXCEPTION WHEN invalid_parameter_value THEN
			RAISE WARNING USING MESSAGE = format('the map of cell %s is not taken over: %s', cell, SQLERRM),
				DETAIL = 'Cells, feeds and slots are numbers from 0 to 1023 on a router, and connections have no password.', HINT = 'See eventstore.cells there.';
		END;
	END LOOP;
	RETURN is_newer;
END
$$;
COMMENT ON FUNCTION eventstore.refresh_map(int) IS 'Asks all cells for their maps, and takes over the newest by which some cell takes a slot, if one is given; returns whether it is newer.';
REVOKE ALL ON FUNCTION eventstore.refresh_map(int) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_refresh_map() RETURNS boolean
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT eventstore.refresh_map(NULL)
$$;
COMMENT ON FUNCTION @extschema@.es_refresh_map() IS 'Asks all cells for their maps, and takes over the newest; returns whether it is newer than the one that was here.';
REVOKE ALL ON FUNCTION @extschema@.es_refresh_map() FROM PUBLIC;
