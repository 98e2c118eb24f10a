-- Calls: what each one does before and after PL/Proxy sends it.
--
-- PL/Proxy runs each call in a transaction of its own in the cell, which is committed when the call returns.

CREATE FUNCTION eventstore.refuse_in_block(verb text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	RAISE active_sql_transaction USING MESSAGE = format('%s cannot run inside a transaction block on a router', verb),
		DETAIL = 'PL/Proxy commits each call in its cell when it returns: a ROLLBACK here would not undo it.',
		HINT = 'Let each call be a transaction of its own (autocommit), or do what has to be atomic in the cell itself.';
END
$$;
COMMENT ON FUNCTION eventstore.refuse_in_block(text) IS 'Raises 25001: what is in a transaction block could be rolled back.';
REVOKE ALL ON FUNCTION eventstore.refuse_in_block(text) FROM PUBLIC;

-- Not in a block with EXCEPTION: that would be a subtransaction.
CREATE FUNCTION eventstore.begin_call(verb text, stream text) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block(verb);
	END IF;
	RETURN eventstore.find_cell(stream);
END
$$;
COMMENT ON FUNCTION eventstore.begin_call(text, text) IS 'The cell of a stream, for a verb that writes.';
REVOKE ALL ON FUNCTION eventstore.begin_call(text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.find_cell(stream text) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	cell int;
BEGIN
	IF stream IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'stream must not be null';
	END IF;
	cell := eventstore.cell_of_slot(@extschema@.es_slot(stream));
	RETURN coalesce(cell, eventstore.find_other_cell(NULL, stream));
END
$$;
COMMENT ON FUNCTION eventstore.find_cell(text) IS 'The cell of a stream.';
REVOKE ALL ON FUNCTION eventstore.find_cell(text) FROM PUBLIC;

-- While slots move there is a time in which the old cell takes them no more and the new one not yet: it is waited for. Where a cell moves to another
-- server, it is the same one by a newer map that takes them again.
CREATE FUNCTION eventstore.find_other_cell(cell int, stream text) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	patience constant interval := coalesce(nullif(current_setting('eventstore_router.patience', true), ''), '5 s')::interval;
	gives_up constant timestamptz := clock_timestamp() + patience;
	revision constant int := plproxy.get_cluster_version('eventstore');
	other int;
	turn int := 0;
BEGIN
	LOOP
		-- Mostly somebody tells this database; the cells are asked now and then.
		IF turn % 10 = 0 THEN
			PERFORM eventstore.refresh_map(@extschema@.es_slot(stream));
		END IF;
		other := eventstore.cell_of_slot(@extschema@.es_slot(stream));
		IF other <> cell OR other IS NOT NULL AND plproxy.get_cluster_version('eventstore') <> revision THEN
			RETURN other;
		END IF;
		EXIT WHEN clock_timestamp() >= gives_up OR cardinality(eventstore.all_cells()) = 0;
		PERFORM pg_sleep(0.02);
		turn := turn + 1;
	END LOOP;
	IF other IS NULL THEN
		RAISE SQLSTATE 'SE009' USING MESSAGE = format('no cell takes stream "%s"', stream),
			DETAIL = format('Its slot is %s, which is no cell''s in the map here.', @extschema@.es_slot(stream)),
			HINT = 'es_add_cell puts a cell into the map, es_adopt_map takes over the map of a cell.';
	END IF;
	RETURN other;
END
$$;
COMMENT ON FUNCTION eventstore.find_other_cell(int, text) IS 'The cell of a stream by a newer map, after this one has refused it, or none has it; raises SE009 if none comes up in time.';
REVOKE ALL ON FUNCTION eventstore.find_other_cell(int, text) FROM PUBLIC;

-- A cell of another version may answer with other columns.
CREATE FUNCTION eventstore.is_otherwise(message text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN message ~ '^PL/Proxy .*(Got too (few|many) fields|single field function but got|does not exists in result)';
COMMENT ON FUNCTION eventstore.is_otherwise(text) IS 'Whether PL/Proxy says that a cell has answered with other columns than the router expects.';
REVOKE ALL ON FUNCTION eventstore.is_otherwise(text) FROM PUBLIC;

-- PL/Proxy's own errors are internal ones, whatever they are about; what a cell raises has its SQLSTATE.
CREATE FUNCTION eventstore.is_unreachable(code text, message text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN code = 'XX000' AND message ~ '^PL/Proxy ' AND NOT eventstore.is_otherwise(message) OR code IN ('57P01', '57P02', '57P03', '08006', '08001', '08003', '53300');
COMMENT ON FUNCTION eventstore.is_unreachable(text, text) IS 'Whether an error means that a cell could not be asked, or has not answered.';
REVOKE ALL ON FUNCTION eventstore.is_unreachable(text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.raise_unreachable(cell int, message text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF eventstore.is_otherwise(message) THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = coalesce('cell ' || cell, 'a cell') || ' answers otherwise than this router expects',
			DETAIL = regexp_replace(message, '[[:space:]]*$', ''),
			HINT = 'It is of another version: see eventstore.cell_status.';
	ELSIF NOT eventstore.is_unreachable('XX000', message) THEN
		RAISE internal_error USING MESSAGE = message;
	END IF;
	RAISE connection_failure USING MESSAGE = coalesce('cell ' || cell, 'a cell') || ' cannot be reached',
		DETAIL = regexp_replace(message, '[[:space:]]*$', ''),
		HINT = 'What was sent may have been done. An append with ids can be repeated: it is stored once.';
END
$$;
COMMENT ON FUNCTION eventstore.raise_unreachable(int, text) IS 'Raises 08006 for what PL/Proxy says of a connection.';
REVOKE ALL ON FUNCTION eventstore.raise_unreachable(int, text) FROM PUBLIC;

CREATE FUNCTION eventstore.warn_unreachable(cell int, message text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	RAISE WARNING USING ERRCODE = 'connection_failure', MESSAGE = format('cell %s cannot be reached', cell),
		DETAIL = regexp_replace(message, '[[:space:]]*$', ''),
		HINT = 'What it has is missing in the result; the place in its feed stays, so nothing is passed over.';
END
$$;
COMMENT ON FUNCTION eventstore.warn_unreachable(int, text) IS 'Names a cell that a result lacks.';
REVOKE ALL ON FUNCTION eventstore.warn_unreachable(int, text) FROM PUBLIC;

-- Cells that could not be reached the last time are asked apart: PL/Proxy drops all connections of a call of which one fails.
CREATE FUNCTION eventstore.cells_down() RETURNS int[]
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN coalesce(nullif(pg_catalog.current_setting('eventstore_router.cells_down', true), ''), '{}')::int[];
COMMENT ON FUNCTION eventstore.cells_down() IS 'Cells that this session has not reached when it tried last.';
REVOKE ALL ON FUNCTION eventstore.cells_down() FROM PUBLIC;

CREATE FUNCTION eventstore.note_down(cell int, is_down boolean) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
	SELECT set_config('eventstore_router.cells_down',
		(CASE WHEN is_down THEN array_append(array_remove(eventstore.cells_down(), cell), cell) ELSE array_remove(eventstore.cells_down(), cell) END)::text, false)
$$;
COMMENT ON FUNCTION eventstore.note_down(int, boolean) IS 'Remembers whether a cell was reached.';
REVOKE ALL ON FUNCTION eventstore.note_down(int, boolean) FROM PUBLIC;

-- What failed in one cell may be done in others: whoever called learns which.
CREATE FUNCTION eventstore.tell_done(verb text, cell int, done int[], code text, message text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF cardinality(done) > 0 THEN
		RAISE WARNING USING MESSAGE = format('%s is done in cells %s, but not in cell %s and those after it', verb, array_to_string(done, ', '), cell),
			HINT = 'Repeat it when the reason is mended: where it is done, it makes no difference.';
	END IF;
	IF code = 'XX000' THEN
		PERFORM eventstore.raise_unreachable(cell, message);
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.tell_done(text, int, int[], text, text) IS 'Warns of what is done in some cells only, before the error is raised on.';
REVOKE ALL ON FUNCTION eventstore.tell_done(text, int, int[], text, text) FROM PUBLIC;

-- What is done in all cells would be done in none, and nobody told.
CREATE FUNCTION eventstore.some_cells() RETURNS int[]
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	cells constant int[] := eventstore.all_cells();
BEGIN
	IF cardinality(cells) = 0 THEN
		RAISE object_not_in_prerequisite_state USING MESSAGE = 'there is no cell yet',
			HINT = 'es_add_cell puts a cell into the map, es_adopt_map takes over the map of a cell.';
	END IF;
	RETURN cells;
END
$$;
COMMENT ON FUNCTION eventstore.some_cells() IS 'The numbers of all cells; raises 55000 if there are none.';
REVOKE ALL ON FUNCTION eventstore.some_cells() FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- How a verb is made
-- ---------------------------------------------------------------------------------------------------------------------------------

-- A verb and what it sends, as functions that look alike are made here: the verb, in PL/pgSQL, finds the cell, and calls a function of
-- the same name in schema eventstore, in PL/Proxy, whose first argument is the cell. It is dropped at the end of the script.
--
-- how: 'append', 'write' or 'read': in the cell of the stream, which is the first argument; 'all': in each cell, numbers being added up;
-- 'drop': in each cell that has it; 'create': in each cell or in none, where undo is what takes it back in one.
-- before: a statement that is run first.
-- casts: types that arguments have in the cell where they are others there, as a JSON object by name; int is bigint in every cell.
--
-- What is sent has every argument, each of just the type that the cell's function has. So nobody who may make functions in the cell's schema
-- has one that fits better, and would be called in its place, as whoever calls the router.
CREATE PROCEDURE eventstore.make_verb(verb text, arguments text, returns text, how text, comment text, casts jsonb DEFAULT '{}', undo text DEFAULT NULL,
								 before text DEFAULT '')
	LANGUAGE plpgsql AS
$make$
DECLARE
	local regprocedure;
	sent regprocedure;
	names text[];
	types text[];
	bare text;
	passed text;
	sets boolean := returns ~* '^(SETOF|TABLE)';
	is_void boolean := returns = 'void';
	columns text;
	call text;
	answer text;
BEGIN
	-- First with no body, to have PostgreSQL read the arguments.
	EXECUTE format('CREATE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$BEGIN END$$', verb, arguments, returns);
	SELECT p.oid, array_agg(a.name ORDER BY a.n) FILTER (WHERE a.n > 0), array_agg(format_type(a.type, NULL) ORDER BY a.n) FILTER (WHERE a.n > 0) INTO local, names, types
	FROM pg_proc p LEFT JOIN LATERAL unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs]) WITH ORDINALITY a (type, name, n) ON true
	WHERE p.proname = verb AND p.pronamespace = '@extschema@'::regnamespace AND p.prosrc = 'BEGIN END' GROUP BY p.oid;
	SELECT string_agg(t, ', ' ORDER BY n) INTO bare FROM unnest(types) WITH ORDINALITY u (t, n);
	SELECT coalesce(string_agg(format('$%s::%s', n + 1, CASE types[n] WHEN 'integer' THEN 'bigint' ELSE types[n] || coalesce('::' || (casts ->> names[n]), '') END), ', ' ORDER BY n), '') INTO passed
	FROM generate_subscripts(names, 1) n;
	call := '@extschema@.' || quote_ident(verb) || '(' || passed || ')';
	-- By name: a cell of a later version may have more.
	SELECT coalesce((SELECT string_agg(format('a.%I', name), ', ' ORDER BY n) FROM unnest(p.proargnames, p.proargmodes) WITH ORDINALITY u (name, mode, n) WHERE mode = 't'),
					(SELECT string_agg(format('a.%I', a.attname), ', ' ORDER BY a.attnum) FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid WHERE t.oid = p.prorettype AND a.attnum > 0))
		INTO columns FROM pg_proc p WHERE p.oid = local;

	-- What is sent. Arguments have no names, which PL/Proxy would replace wherever they stand.
	EXECUTE format('CREATE FUNCTION eventstore.%I(%s) RETURNS %s LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS %L', verb, concat_ws(', ', 'int', bare),
		CASE WHEN how = 'append' THEN 'TABLE (version bigint, "position" bigint)' WHEN is_void THEN 'text' ELSE returns END,
		format('CLUSTER ''eventstore''; RUN ON $1; SELECT %s;',
			CASE WHEN how = 'append' THEN format('a.version, @extschema@.es_last_position() AS position FROM %s a(version)', call)
				 WHEN sets THEN columns || ' FROM ' || call || ' a' WHEN is_void THEN call || '::text' ELSE call END));
	sent := format('eventstore.%I(%s)', verb, concat_ws(', ', 'int', bare))::regprocedure;
	EXECUTE format('COMMENT ON FUNCTION %s IS %L', sent, format('Sends %s to a cell.', verb));
	EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', sent);

	SELECT string_agg(format('$%s', n), ', ' ORDER BY n) INTO passed FROM generate_subscripts(names, 1) n;
	call := format('eventstore.%I(%s)', verb, concat_ws(', ', 'cell', passed));
	answer := CASE WHEN how = 'append' THEN format('SELECT a.version, set_config(''eventstore_router.last_position'', a.position::text, false) INTO version, noted FROM %s a; RETURN version;', call)
				   WHEN sets THEN format('RETURN QUERY SELECT * FROM %s; RETURN;', call) WHEN is_void THEN format('PERFORM %s; RETURN;', call)
				   ELSE format('RETURN %s;', call) END;
	EXECUTE format('CREATE OR REPLACE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp %s AS %L',
		verb, arguments, returns,
		-- PL/Proxy would tell each time that it connects anew, as it does after every error. And it sends times and intervals as text, by the
		-- session's settings, which a cell reads by its own.
		concat_ws(' ', CASE WHEN how IN ('append', 'write', 'read') THEN 'SET client_min_messages = warning' END,
				  CASE WHEN types && '{interval,timestamp with time zone}' THEN 'SET datestyle = iso SET intervalstyle = postgres' END), CASE how
		WHEN 'read' THEN format('
#variable_conflict use_variable
DECLARE
	cell int := eventstore.find_cell($1);
BEGIN
	%s
EXCEPTION
	WHEN internal_error THEN
		PERFORM eventstore.raise_unreachable(cell, SQLERRM);
END', answer)
		WHEN 'all' THEN format('
#variable_conflict use_variable
DECLARE
	cell int;
	done int[] := ''{}'';
	total bigint;
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block(%L);
	END IF;
	FOREACH cell IN ARRAY eventstore.some_cells() LOOP
		BEGIN
			%s
			done := done || cell;
		EXCEPTION WHEN OTHERS THEN
			PERFORM eventstore.tell_done(%1$L, cell, done, SQLSTATE, SQLERRM);
			RAISE;
		END;
	END LOOP;
	%3$s
END', verb, CASE WHEN sets THEN format('RETURN QUERY SELECT * FROM %s;', call) WHEN is_void THEN format('PERFORM %s;', call)
				 ELSE format('total := coalesce(total, 0) + coalesce(%s, 0);', call) END,
			CASE WHEN sets OR is_void THEN 'RETURN;' ELSE 'RETURN total;' END)
		WHEN 'create' THEN format('
#variable_conflict use_variable
DECLARE
	cell int;
	failed int;
	done int[] := ''{}'';
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block(%L);
	END IF;
	FOREACH cell IN ARRAY eventstore.some_cells() LOOP
		BEGIN
			PERFORM %s;
			done := done || cell;
		EXCEPTION WHEN OTHERS THEN
			failed := cell;
			FOREACH cell IN ARRAY done LOOP
				PERFORM %s;
			END LOOP;
			IF SQLSTATE = ''XX000'' THEN
				PERFORM eventstore.raise_unreachable(failed, SQLERRM);
			END IF;
			RAISE;
		END;
	END LOOP;
END', verb, call, undo)
		WHEN 'drop' THEN format('
#variable_conflict use_variable
DECLARE
	cell int;
	done int[] := ''{}'';
	lacking int := 0;
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block(%L);
	END IF;%s
	FOREACH cell IN ARRAY eventstore.some_cells() LOOP
		BEGIN
			PERFORM %s;
			done := done || cell;
		EXCEPTION
			WHEN undefined_object THEN
				-- What has failed halfway before is repeated.
				lacking := lacking + 1;
				IF lacking = cardinality(eventstore.all_cells()) THEN
					RAISE;
				END IF;
			WHEN OTHERS THEN
				PERFORM eventstore.tell_done(%1$L, cell, done, SQLSTATE, SQLERRM);
				RAISE;
		END;
	END LOOP;
END', verb, before, call)
		ELSE format('
#variable_conflict use_variable
DECLARE
	cell int := eventstore.begin_call(%L, $1);%s
BEGIN%s
	BEGIN
		%s
	EXCEPTION
		WHEN SQLSTATE ''SE009'' THEN
			-- It has stored nothing.
			cell := eventstore.find_other_cell(cell, $1);
		WHEN internal_error THEN
			PERFORM eventstore.raise_unreachable(cell, SQLERRM);
	END;
	%4$s
END', verb, CASE how WHEN 'append' THEN E'\n\tversion bigint;\n\tnoted text;' END, before, answer)
		END);
	EXECUTE format('COMMENT ON FUNCTION %s IS %L', local, comment);
	EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', local);
END
$make$;

-- A form of a verb whose arguments are of other types: it casts them, and calls the verb.
--
-- arguments: those of the form, without those that it returns. casts: by name of an argument, the type that the verb has it in.
-- columns: what the verb returns rows of, as OUT arguments.
CREATE PROCEDURE eventstore.make_form(verb text, arguments text, returns text, casts jsonb, comment text, columns text DEFAULT NULL)
	LANGUAGE plpgsql AS
$make$
DECLARE
	form regprocedure;
	passed text;
	call text;
BEGIN
	EXECUTE format('CREATE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$BEGIN END$$', verb, concat_ws(', ', arguments, columns), returns);
	SELECT p.oid, string_agg(format('$%s', a.n) || CASE WHEN casts ? a.name THEN CASE WHEN format_type(a.type, NULL) <> 'text' THEN '::text' ELSE '' END || '::' || (casts ->> a.name) ELSE '' END, ', ' ORDER BY a.n)
		INTO form, passed
	FROM pg_proc p, unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs]) WITH ORDINALITY a (type, name, n)
	WHERE p.proname = verb AND p.pronamespace = '@extschema@'::regnamespace AND p.prosrc = 'BEGIN END' GROUP BY p.oid;
	call := format('@extschema@.%I(%s)', verb, passed);
	EXECUTE format('CREATE OR REPLACE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE sql VOLATILE PARALLEL UNSAFE %s', verb, concat_ws(', ', arguments, columns), returns,
		CASE WHEN columns IS NULL AND returns !~* '^SETOF' THEN 'RETURN ' || call ELSE 'BEGIN ATOMIC SELECT * FROM ' || call || '; END' END);
	EXECUTE format('COMMENT ON FUNCTION %s IS %L', form, comment);
	EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', form);
END
$make$;

-- What a store has and a router has not, or has otherwise, and why. Where a function of the store's is refused here by its name, it raises so.
CREATE TABLE eventstore.differences
(
	verb   text COLLATE "C" NOT NULL CONSTRAINT differences_pkey PRIMARY KEY,
	reason text COLLATE "C" NOT NULL,
	way    text COLLATE "C" NOT NULL
);
COMMENT ON TABLE eventstore.differences IS 'Functions of a store that a router has not, or has with other arguments.';
COMMENT ON COLUMN eventstore.differences.verb IS 'The function, with the types of its arguments, as a store has it.';
COMMENT ON COLUMN eventstore.differences.reason IS 'Why it is not here, or not so.';
COMMENT ON COLUMN eventstore.differences.way IS 'What to do instead.';
REVOKE ALL ON TABLE eventstore.differences FROM PUBLIC;

CREATE FUNCTION eventstore.refuse(verb text) RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	difference eventstore.differences;
BEGIN
	SELECT d.* INTO difference FROM eventstore.differences d WHERE d.verb = refuse.verb;
	RAISE feature_not_supported USING MESSAGE = format('a router has no %s', verb), DETAIL = difference.reason, HINT = difference.way;
END
$$;
COMMENT ON FUNCTION eventstore.refuse(text) IS 'Raises 0A000, with the reason and the way of a difference.';
REVOKE ALL ON FUNCTION eventstore.refuse(text) FROM PUBLIC;

-- A verb that is refused by its name.
CREATE PROCEDURE eventstore.make_refusal(verb text, arguments text, returns text, reason text, way text)
	LANGUAGE plpgsql AS
$make$
DECLARE
	form regprocedure;
	called text;
BEGIN
	EXECUTE format('CREATE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE plpgsql AS $$BEGIN END$$', verb, arguments, returns);
	SELECT p.oid, verb || '(' || coalesce((SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u (t, n)), '') || ')' INTO form, called
	FROM pg_proc p WHERE p.proname = verb AND p.pronamespace = '@extschema@'::regnamespace AND p.prosrc = 'BEGIN END';
	EXECUTE format('CREATE OR REPLACE FUNCTION @extschema@.%I(%s) RETURNS %s LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS %L',
		verb, arguments, returns, format('BEGIN PERFORM eventstore.refuse(%L); END', called));
	EXECUTE format('COMMENT ON FUNCTION %s IS %L', form, 'Raises 0A000: ' || reason);
	EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', form);
	INSERT INTO eventstore.differences VALUES (called, reason, way);
END
$make$;
