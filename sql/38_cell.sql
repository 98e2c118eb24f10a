-- Cells: several machines, each with a store that takes the streams of some slots only.

CREATE FUNCTION @extschema@.es_slot(stream text) RETURNS int
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_slot';
COMMENT ON FUNCTION @extschema@.es_slot(text) IS
	'The slot of a stream, from 0 to 1023: that of its tenant, or of its whole name where it has none. It never changes.';
REVOKE ALL ON FUNCTION @extschema@.es_slot(text) FROM PUBLIC;

-- Written by es_set_cell and its kin only; src/order/member.c reads it. A change counts once eventstore.put_up_fence has been called.
CREATE TABLE eventstore.member
(
	only_row   boolean NOT NULL DEFAULT true CONSTRAINT member_pkey PRIMARY KEY CONSTRAINT member_only_row_check CHECK (only_row),
	cell       int CONSTRAINT member_cell_check CHECK (cell >= 0),
	feed       int CONSTRAINT member_feed_check CHECK (feed BETWEEN 0 AND 1023),
	slots      int4multirange CONSTRAINT member_slots_check CHECK (slots <@ '{[0,1024)}'::int4multirange),
	is_mirror  boolean NOT NULL DEFAULT false,
	epoch      bigint  NOT NULL DEFAULT 0,
	generation bigint  NOT NULL DEFAULT 0,
	CONSTRAINT member_is_whole_check CHECK (num_nulls(cell, feed, slots) IN (0, 3))
);
COMMENT ON TABLE eventstore.member IS 'What this store is among others: a cell, a mirror, or neither. At most one row.';
COMMENT ON COLUMN eventstore.member.only_row IS 'Always true.';
COMMENT ON COLUMN eventstore.member.cell IS 'Number of the cell that it is; null = it is none.';
COMMENT ON COLUMN eventstore.member.feed IS 'The positions that it gives out are this, modulo 1024.';
COMMENT ON COLUMN eventstore.member.slots IS 'It takes appends to streams in these slots only.';
COMMENT ON COLUMN eventstore.member.is_mirror IS 'Whether its events come from another store, by logical replication.';
COMMENT ON COLUMN eventstore.member.epoch IS 'How many times the columns before have changed.';
COMMENT ON COLUMN eventstore.member.generation IS 'How many times the map of cells has.';
REVOKE ALL ON TABLE eventstore.member FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.member', '');

CREATE TABLE eventstore.mapped_cells
(
	cell       int            NOT NULL CONSTRAINT mapped_cells_pkey PRIMARY KEY CONSTRAINT mapped_cells_cell_check CHECK (cell >= 0),
	feed       int            NOT NULL CONSTRAINT mapped_cells_feed_key UNIQUE CONSTRAINT mapped_cells_feed_check CHECK (feed BETWEEN 0 AND 1023),
	slots      int4multirange NOT NULL CONSTRAINT mapped_cells_slots_check CHECK (slots <@ '{[0,1024)}'::int4multirange),
	connection text COLLATE "C"
);
COMMENT ON TABLE eventstore.mapped_cells IS 'The map of cells, as this store has it; see eventstore.cells.';
COMMENT ON COLUMN eventstore.mapped_cells.cell IS 'Number of the cell.';
COMMENT ON COLUMN eventstore.mapped_cells.feed IS 'Its positions are this, modulo 1024.';
COMMENT ON COLUMN eventstore.mapped_cells.slots IS 'It takes appends to streams in these slots only.';
COMMENT ON COLUMN eventstore.mapped_cells.connection IS 'How to connect to it, as libpq takes it; null = nobody has said.';
REVOKE ALL ON TABLE eventstore.mapped_cells FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.mapped_cells', '');

CREATE VIEW eventstore.cells AS
	SELECT c.cell, c.feed, c.slots, c.connection, m.generation FROM eventstore.mapped_cells c, eventstore.member m;
COMMENT ON VIEW eventstore.cells IS 'The map of cells; the same in every cell that has the same generation.';
COMMENT ON COLUMN eventstore.cells.cell IS 'Number of the cell.';
COMMENT ON COLUMN eventstore.cells.feed IS 'Its positions are this, modulo 1024.';
COMMENT ON COLUMN eventstore.cells.slots IS 'It takes appends to streams in these slots only.';
COMMENT ON COLUMN eventstore.cells.connection IS 'How to connect to it, as libpq takes it; null = nobody has said.';
COMMENT ON COLUMN eventstore.cells.generation IS 'Of the map: it grows with every change, and the highest one counts.';
REVOKE ALL ON TABLE eventstore.cells FROM PUBLIC;

CREATE FUNCTION eventstore.put_up_fence() RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_put_up_fence';
COMMENT ON FUNCTION eventstore.put_up_fence() IS
	'Has what eventstore.member says hold for all appends; returns when no other transaction is open that has appended to a stream which the store does not take.';
REVOKE ALL ON FUNCTION eventstore.put_up_fence() FROM PUBLIC;

-- One at a time changes what the store is, or its map. Both have a row from then on.
CREATE FUNCTION eventstore.open_map() RETURNS eventstore.member
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
BEGIN
	LOCK TABLE eventstore.member IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO eventstore.member DEFAULT VALUES ON CONFLICT DO NOTHING;
	SELECT * INTO STRICT own FROM eventstore.member FOR UPDATE;
	RETURN own;
END
$$;
COMMENT ON FUNCTION eventstore.open_map() IS 'Keeps others from changing what the store is, and the map; returns what it is.';
REVOKE ALL ON FUNCTION eventstore.open_map() FROM PUBLIC;

CREATE FUNCTION eventstore.check_cell(cell bigint, feed bigint, slots int4multirange) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF cell IS NULL OR feed IS NULL OR slots IS NULL THEN
		RAISE EXCEPTION '% must not be null', CASE WHEN cell IS NULL THEN 'cell' WHEN feed IS NULL THEN 'feed' ELSE 'slots' END
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF cell NOT BETWEEN 0 AND 2147483647 THEN
		RAISE EXCEPTION 'cell must be from 0 to 2147483647' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF feed NOT BETWEEN 0 AND 1023 THEN
		RAISE EXCEPTION 'feed must be from 0 to 1023' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF NOT slots <@ '{[0,1024)}'::int4multirange THEN
		RAISE EXCEPTION 'slots must be from 0 to 1023' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'All of them are {[0,1024)}, none {}.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_cell(bigint, bigint, int4multirange) IS 'Raises unless a cell can be so.';
REVOKE ALL ON FUNCTION eventstore.check_cell(bigint, bigint, int4multirange) FROM PUBLIC;

-- Every admin sees the map, and routers take it over, where everybody who calls them can see it: PL/Proxy looks addresses up as him.
CREATE FUNCTION eventstore.check_connection(connection text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF connection COLLATE "C" ~* '(password|secret|client_key)[[:space:]]*=' OR connection COLLATE "C" ~* '^[[:space:]]*postgres(ql)?://[^/?]*:[^/?]*@' THEN
		RAISE EXCEPTION 'connection must not have a password' USING ERRCODE = 'invalid_parameter_value',
			DETAIL = 'The map is no place for secrets: whoever calls a router can read it.',
			HINT = 'Say passfile=... or service=..., and put the password into that file on the router''s server.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_connection(text) IS 'Raises 22023 if a connection string has a password in it.';
REVOKE ALL ON FUNCTION eventstore.check_connection(text) FROM PUBLIC;

-- Raises where two cells of the map have the same feed, or the same slot. Constraints would raise too early, while the map is changed.
CREATE FUNCTION eventstore.check_map() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	a record;
BEGIN
	SELECT l.cell, r.cell AS other, lower(range_merge(l.slots * r.slots)) AS slot INTO a
	FROM eventstore.mapped_cells l JOIN eventstore.mapped_cells r ON r.cell > l.cell AND r.slots && l.slots
	ORDER BY l.cell, r.cell LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'cells % and % would both take slot %', a.cell, a.other, a.slot USING ERRCODE = 'invalid_parameter_value',
			HINT = 'One of them has to give it up first, by es_set_cell() there; es_add_cell() or es_adopt_map() tells the others.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_map() IS 'Raises where two cells of the map have a slot in common.';
REVOKE ALL ON FUNCTION eventstore.check_map() FROM PUBLIC;

-- Puts a cell into the map, or changes it there. Returns whether there was anything to change.
CREATE FUNCTION eventstore.map_cell(cell int, feed int, slots int4multirange, connection text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
#variable_conflict use_column
DECLARE
	other int;
BEGIN
	SELECT c.cell INTO other FROM eventstore.mapped_cells c WHERE c.feed = map_cell.feed AND c.cell <> map_cell.cell;
	IF FOUND THEN
		RAISE EXCEPTION 'feed % is that of cell %', map_cell.feed, other USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Each cell needs a feed of its own, and one that no other cell ever had: positions must not come twice.';
	END IF;
	INSERT INTO eventstore.mapped_cells AS c (cell, feed, slots, connection)
	VALUES (map_cell.cell, map_cell.feed, map_cell.slots, map_cell.connection)
	ON CONFLICT (cell) DO UPDATE SET feed = excluded.feed, slots = excluded.slots, connection = excluded.connection
		WHERE (c.feed, c.slots, c.connection) IS DISTINCT FROM (excluded.feed, excluded.slots, excluded.connection);
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM eventstore.check_map();
	UPDATE eventstore.member SET generation = generation + 1;
	RETURN true;
END
$$;
COMMENT ON FUNCTION eventstore.map_cell(int, int, int4multirange, text) IS 'Puts a cell into the map, or changes it there, in a new generation; returns whether it was not so yet.';
REVOKE ALL ON FUNCTION eventstore.map_cell(int, int, int4multirange, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_set_cell(cell bigint, feed bigint, slots int4multirange) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
BEGIN
	PERFORM eventstore.check_cell(es_set_cell.cell, es_set_cell.feed, es_set_cell.slots);
	own := eventstore.open_map();
	IF own.is_mirror THEN
		RAISE EXCEPTION 'a mirror can be no cell' USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'Its events come from another store; es_unset_mirror() ends that.';
	END IF;
	PERFORM eventstore.map_cell(es_set_cell.cell::int, es_set_cell.feed::int, es_set_cell.slots,
		(SELECT c.connection FROM eventstore.mapped_cells c WHERE c.cell = es_set_cell.cell));
	IF (own.cell, own.feed, own.slots) IS NOT DISTINCT FROM (es_set_cell.cell, es_set_cell.feed, es_set_cell.slots) THEN
		RETURN;
	END IF;
	PERFORM eventstore.take_feed(es_set_cell.cell::int, es_set_cell.feed::int);
	UPDATE eventstore.member m
	SET cell = es_set_cell.cell, feed = es_set_cell.feed, slots = es_set_cell.slots, epoch = epoch + 1;
	PERFORM eventstore.put_up_fence();
	PERFORM eventstore.note_feed(es_set_cell.feed::int);
	-- Split off: what there is belongs to the subscriptions of the cell that it was.
	IF own.cell <> es_set_cell.cell THEN
		PERFORM @extschema@.es_pause_subscription(s.name) FROM eventstore.subscriptions s;
		UPDATE eventstore.subscriptions SET closed_after = (SELECT p.last_value FROM eventstore.positions p) WHERE closed_after IS NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_set_cell(bigint, bigint, int4multirange) IS
	'Makes this store a cell: it gives out positions of a feed, and takes appends to streams in these slots only; others raise SE009.';
REVOKE ALL ON FUNCTION @extschema@.es_set_cell(bigint, bigint, int4multirange) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_unset_cell() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member := eventstore.open_map();
BEGIN
	IF own.cell IS NULL THEN
		RETURN;
	END IF;
	DELETE FROM eventstore.mapped_cells c WHERE c.cell = own.cell;
	UPDATE eventstore.member SET cell = NULL, feed = NULL, slots = NULL, epoch = epoch + 1, generation = generation + 1;
	PERFORM eventstore.put_up_fence();
END
$$;
COMMENT ON FUNCTION @extschema@.es_unset_cell() IS 'Makes this store an ordinary one again, which takes all streams; the map is without it.';
REVOKE ALL ON FUNCTION @extschema@.es_unset_cell() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_add_cell(cell bigint, feed bigint, slots int4multirange, connection text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
BEGIN
	PERFORM eventstore.check_cell(es_add_cell.cell, es_add_cell.feed, es_add_cell.slots);
	PERFORM eventstore.check_connection(es_add_cell.connection);
	own := eventstore.open_map();
	IF own.cell = es_add_cell.cell AND (own.feed <> es_add_cell.feed OR own.slots <> es_add_cell.slots) THEN
		RAISE EXCEPTION 'this store is cell %, and is otherwise', own.cell USING ERRCODE = 'invalid_parameter_value',
			DETAIL = format('It has feed %s and slots %s.', own.feed, own.slots),
			HINT = 'es_set_cell() changes that; es_add_cell() says how others connect to it.';
	END IF;
	PERFORM eventstore.map_cell(es_add_cell.cell::int, es_add_cell.feed::int, es_add_cell.slots, es_add_cell.connection);
END
$$;
COMMENT ON FUNCTION @extschema@.es_add_cell(bigint, bigint, int4multirange, text) IS
	'Puts a cell into this store''s map, or changes it there; a change makes a new generation of it.';
REVOKE ALL ON FUNCTION @extschema@.es_add_cell(bigint, bigint, int4multirange, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_cell(cell bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
BEGIN
	IF es_drop_cell.cell IS NULL THEN
		RAISE EXCEPTION 'cell must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	own := eventstore.open_map();
	IF own.cell = es_drop_cell.cell THEN
		RAISE EXCEPTION 'this store is cell %', own.cell USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'es_unset_cell() makes it an ordinary store, and takes it from the map.';
	END IF;
	DELETE FROM eventstore.mapped_cells c WHERE c.cell = es_drop_cell.cell;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'cell % does not exist', es_drop_cell.cell USING ERRCODE = 'undefined_object',
			DETAIL = 'The map of this store is without it.';
	END IF;
	UPDATE eventstore.member SET generation = generation + 1;
END
$$;
COMMENT ON FUNCTION @extschema@.es_drop_cell(bigint) IS 'Takes a cell from this store''s map, in a new generation of it.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_cell(bigint) FROM PUBLIC;

-- Rows of eventstore.cells, of another store.
CREATE FUNCTION @extschema@.es_adopt_map(map jsonb) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
	adopted bigint;
	other int;
BEGIN
	IF map IS NULL THEN
		RAISE EXCEPTION 'map must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF jsonb_typeof(map) <> 'array' OR jsonb_array_length(map) = 0 OR
	   EXISTS (SELECT FROM jsonb_array_elements(map) e WHERE jsonb_typeof(e) <> 'object') THEN
		RAISE EXCEPTION 'map must be an array of cells' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'In the store that has it: SELECT jsonb_agg(c) FROM eventstore.cells c.';
	END IF;
	PERFORM eventstore.check_cell(c.cell, c.feed, c.slots), eventstore.check_connection(c.connection)
	FROM jsonb_to_recordset(map) AS c (cell int, feed int, slots int4multirange, connection text);
	SELECT max(c.generation) INTO adopted FROM jsonb_to_recordset(map) AS c (generation bigint)
	HAVING count(*) = count(c.generation) AND min(c.generation) = max(c.generation) AND min(c.generation) > 0;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'the cells of a map have one generation' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'In the store that has it: SELECT jsonb_agg(c) FROM eventstore.cells c.';
	END IF;
	-- Nobody could change the map any more.
	IF adopted > 4611686018427387903 THEN
		RAISE EXCEPTION 'generation of a map must be below 4611686018427387904' USING ERRCODE = 'invalid_parameter_value';
	END IF;

	own := eventstore.open_map();
	IF adopted < own.generation THEN
		RAISE NOTICE 'the map of this store is newer, of generation %', own.generation;
		RETURN false;
	END IF;
	IF NOT EXISTS (
		SELECT FROM (SELECT c.cell, c.feed, c.slots, c.connection
					 FROM jsonb_to_recordset(map) AS c (cell int, feed int, slots int4multirange, connection text)) a
		FULL JOIN eventstore.mapped_cells b USING (cell) WHERE (a.feed, a.slots, a.connection) IS DISTINCT FROM (b.feed, b.slots, b.connection))
	THEN
		UPDATE eventstore.member SET generation = adopted WHERE generation < adopted;
		RETURN FOUND;
	END IF;
	IF adopted = own.generation THEN
		RAISE EXCEPTION 'this store has another map of generation %', adopted USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'Change the one that is right, by es_add_cell() or es_set_cell(), and have the others adopt that.';
	END IF;
	SELECT c.cell INTO other FROM jsonb_to_recordset(map) AS c (cell int, feed int) WHERE c.feed = own.feed AND c.cell <> own.cell;
	IF FOUND THEN
		RAISE EXCEPTION 'feed % is that of this store, cell %', own.feed, own.cell USING ERRCODE = 'invalid_parameter_value',
			DETAIL = format('The map has it for cell %s.', other);
	END IF;
	DELETE FROM eventstore.mapped_cells;
	INSERT INTO eventstore.mapped_cells (cell, feed, slots, connection)
	SELECT c.cell, c.feed, c.slots, c.connection
	FROM jsonb_to_recordset(map) AS c (cell int, feed int, slots int4multirange, connection text);
	PERFORM eventstore.check_map();
	UPDATE eventstore.member SET generation = adopted;
	RETURN true;
END
$$;
COMMENT ON FUNCTION @extschema@.es_adopt_map(jsonb) IS
	'Takes over another store''s map of cells, if it is of a later generation; returns whether it was. Which slots this store takes, es_set_cell says.';
REVOKE ALL ON FUNCTION @extschema@.es_adopt_map(jsonb) FROM PUBLIC;
