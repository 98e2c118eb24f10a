-- One stream: what concerns one is done in its cell.

CALL eventstore.make_verb('es_append', 'stream text, expected_version bigint, events jsonb', 'bigint', 'append',
	'Appends events, an array of {type, data, metadata, id, tags} or one such object; returns the version of the last one.');
CALL eventstore.make_verb('es_append', 'stream text, expected_version bigint, type text, data jsonb, metadata jsonb DEFAULT NULL, id uuid DEFAULT NULL, tags text[] DEFAULT NULL', 'bigint', 'append',
	'Appends one event; returns its version.');
CALL eventstore.make_verb('es_append', 'stream text, expected_version bigint, types text[], data jsonb[], metadata jsonb[] DEFAULT NULL, ids uuid[] DEFAULT NULL', 'bigint', 'append',
	'Appends events given as arrays of one length; returns the version of the last one.');
CALL eventstore.make_verb('es_append', 'stream text, expected_version bigint, type text, data text, metadata text DEFAULT NULL, id text DEFAULT NULL, tags text[] DEFAULT NULL', 'bigint', 'append',
	'Appends one event given as untyped literals; returns its version.');

CREATE FUNCTION @extschema@.es_last_position() RETURNS bigint
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	RETURN nullif(pg_catalog.current_setting('eventstore_router.last_position', true), '')::bigint;
COMMENT ON FUNCTION @extschema@.es_last_position() IS
	'Position of the last event that this session appended, which is its feed modulo 1024; null if none.';
REVOKE ALL ON FUNCTION @extschema@.es_last_position() FROM PUBLIC;

CALL eventstore.make_verb('es_read', 'stream text, from_version bigint DEFAULT NULL, max_count bigint DEFAULT NULL, backward boolean DEFAULT false', 'SETOF eventstore.event', 'read',
	'The events of a stream: from from_version (default the first) up, or backward from it (default the last) down; at most max_count.');
CALL eventstore.make_verb('es_stream_version', 'stream text', 'bigint', 'read',
	'Version of a stream''s last event; 0 = no event yet.');
CALL eventstore.make_verb('es_last_event', 'stream text, type text DEFAULT NULL', 'SETOF eventstore.event', 'read',
	'The last event of a stream, or the last of one type; no row if there is none.');
CALL eventstore.make_verb('es_stream_as_of', 'stream text, at timestamptz', 'SETOF eventstore.event', 'read',
	'The events of a stream as it was at a time: those recorded at or before it.');
CALL eventstore.make_verb('es_save_snapshot', 'stream text, version bigint, state jsonb, schema_version bigint DEFAULT 1', 'void', 'write',
	'Keeps the state of a stream at a version, unless a later one is kept already.');
CALL eventstore.make_verb('es_snapshot', 'stream text, schema_version bigint DEFAULT 1', 'TABLE (version bigint, state jsonb, saved_at timestamptz)', 'read',
	'The latest snapshot of a stream; nulls if there is none that can be used.');
CALL eventstore.make_verb('es_load', 'stream text, schema_version bigint DEFAULT 1', 'TABLE (version bigint, state jsonb, events eventstore.event[])', 'read',
	'The latest snapshot of a stream and the events after it; without a snapshot version 0, state null and all events.');
CALL eventstore.make_verb('es_load_json', 'stream text, schema_version bigint DEFAULT 1', 'TABLE (version bigint, state jsonb, events jsonb)', 'read',
	'As es_load, with the events as a JSON array of objects, whose keys are the columns of eventstore.events.');
CALL eventstore.make_verb('es_fold', 'stream text, reducer text, initial jsonb DEFAULT ''{}'', at_version bigint DEFAULT NULL, at timestamptz DEFAULT NULL', 'jsonb', 'read',
	'The state that a stream amounts to: reducer(state, event), a function in its cell, for each event from the first to at_version, at the time at.');
CALL eventstore.make_verb('es_truncate_stream', 'stream text, before_version bigint', 'bigint', 'write',
	'Forgets the events of a stream before a version; returns how many are gone.');
CALL eventstore.make_verb('es_delete_stream', 'stream text, expected_version bigint, tombstone boolean DEFAULT false', 'void', 'write',
	'Forgets all events of a stream; an append goes on at its next version, or, with a tombstone, never.');

-- Each cell has keys of its own, so what is protected goes to the cell that will have it, which the stream says; and is opened there.
CREATE FUNCTION eventstore.es_protect(int, text, jsonb) RETURNS jsonb
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_protect($2::text, $3::jsonb);
$$;
COMMENT ON FUNCTION eventstore.es_protect(int, text, jsonb) IS 'Sends es_protect to a cell.';
REVOKE ALL ON FUNCTION eventstore.es_protect(int, text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_protect(stream text, subject text, value jsonb) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	cell int := eventstore.begin_call('es_protect', stream);
BEGIN
	RETURN eventstore.es_protect(cell, subject, value);
EXCEPTION WHEN internal_error THEN
	PERFORM eventstore.raise_unreachable(cell, SQLERRM);
END
$$;
COMMENT ON FUNCTION @extschema@.es_protect(text, text, jsonb) IS
	'An envelope with the value, encrypted under the key that the subject has in the stream''s cell: to be put anywhere into data or metadata of the stream''s events.';
REVOKE ALL ON FUNCTION @extschema@.es_protect(text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION eventstore.es_reveal(int, jsonb) RETURNS jsonb
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_reveal($2::jsonb);
$$;
COMMENT ON FUNCTION eventstore.es_reveal(int, jsonb) IS 'Sends es_reveal to a cell.';
REVOKE ALL ON FUNCTION eventstore.es_reveal(int, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_reveal(stream text, data jsonb) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	cell int := eventstore.find_cell(stream);
BEGIN
	RETURN eventstore.es_reveal(cell, data);
EXCEPTION WHEN internal_error THEN
	PERFORM eventstore.raise_unreachable(cell, SQLERRM);
END
$$;
COMMENT ON FUNCTION @extschema@.es_reveal(text, jsonb) IS
	'The same, of an event of the stream, with every envelope in it opened by the stream''s cell; those of erased subjects become null.';
REVOKE ALL ON FUNCTION @extschema@.es_reveal(text, jsonb) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Several streams in one append
-- ---------------------------------------------------------------------------------------------------------------------------------

-- The stream in an argument stands for all: they have one cell.
CREATE FUNCTION eventstore.common_stream(batch jsonb) RETURNS text
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	home text;
	home_cell int;
	entry record;
BEGIN
	-- What is no batch has its error from a cell: any will do.
	IF jsonb_typeof(batch) IS DISTINCT FROM 'array' THEN
		RETURN 'none';
	END IF;
	FOR entry IN SELECT e ->> 'stream' AS stream, eventstore.find_cell(e ->> 'stream') AS cell
				 FROM jsonb_array_elements(batch) e WHERE jsonb_typeof(e) = 'object' AND e ->> 'stream' IS NOT NULL LOOP
		IF home IS NULL THEN
			home := entry.stream;
			home_cell := entry.cell;
		ELSIF entry.cell <> home_cell THEN
			RAISE feature_not_supported USING MESSAGE = 'es_append_streams cannot append to streams of several cells',
				DETAIL = format('Stream "%s" is in cell %s, stream "%s" in cell %s.', home, home_cell, entry.stream, entry.cell),
				HINT = 'All events or none is a promise that one cell can keep: give the streams one tenant, as in "order-{acme}-1" and "stock-{acme}-2", or append to each by itself.';
		END IF;
	END LOOP;
	RETURN coalesce(home, 'none');
END
$$;
COMMENT ON FUNCTION eventstore.common_stream(jsonb) IS 'A stream of a batch; raises 0A000 if they are not all in one cell.';
REVOKE ALL ON FUNCTION eventstore.common_stream(jsonb) FROM PUBLIC;

CREATE FUNCTION eventstore.es_append_streams(cell int, batch jsonb) RETURNS TABLE (stream text, version bigint, "position" bigint)
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE ROWS 10 AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT a.stream, a.version, a.position FROM @extschema@.es_append_streams($2::jsonb) a;
$$;
COMMENT ON FUNCTION eventstore.es_append_streams(int, jsonb) IS 'Sends es_append_streams to a cell.';
REVOKE ALL ON FUNCTION eventstore.es_append_streams(int, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_append_streams(batch jsonb, OUT stream text, OUT version bigint, OUT "position" bigint) RETURNS SETOF record
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	home text := eventstore.common_stream(batch);
	cell int := eventstore.begin_call('es_append_streams', home);
	attempt int;
	appended record;
BEGIN
	FOR attempt IN 1 .. 2 LOOP
		BEGIN
			FOR appended IN SELECT * FROM eventstore.es_append_streams(cell, batch) LOOP
				stream := appended.stream;
				version := appended.version;
				"position" := appended.position;
				RETURN NEXT;
			END LOOP;
			PERFORM set_config('eventstore_router.last_position', "position"::text, false);
			RETURN;
		EXCEPTION
			WHEN SQLSTATE 'SE009' THEN
				IF attempt = 2 THEN
					RAISE;
				END IF;
				cell := eventstore.find_other_cell(cell, home);
				home := eventstore.common_stream(batch); -- by the newer map they may be apart
			WHEN internal_error THEN
				PERFORM eventstore.raise_unreachable(cell, SQLERRM);
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.es_append_streams(jsonb) IS
	'Appends to several streams of one cell at once: [{stream, expected_version, events}, ...]; a row an entry: its stream, last version, last position.';
REVOKE ALL ON FUNCTION @extschema@.es_append_streams(jsonb) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Conditional append
-- ---------------------------------------------------------------------------------------------------------------------------------

-- Decided by what the stream's cell has, in one transaction with the append. That is all there is to a tenant; of streams without one,
-- what the condition is about may be anywhere.
CREATE FUNCTION eventstore.check_condition(stream text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF @extschema@.es_tenant(stream) IS NULL AND cardinality(eventstore.all_cells()) > 1 THEN
		RAISE feature_not_supported USING MESSAGE = format('es_append_if cannot decide on stream "%s" by the events of several cells', stream),
			DETAIL = 'The stream has no tenant, so events that the condition is about may be in other cells, where one can be appended at the same moment.',
			HINT = 'Give the streams of a decision one tenant, as in "seat-{acme}-1": they are in one cell then. Or append in the cell, where the condition is about its events only.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_condition(text) IS 'Raises 0A000 if a condition may be about events of several cells.';
REVOKE ALL ON FUNCTION eventstore.check_condition(text) FROM PUBLIC;

CALL eventstore.make_verb('es_append_if', 'stream text, events jsonb, query jsonb, after_position bigint DEFAULT 0', 'bigint', 'append',
	'Appends events unless one of the stream''s cell that matches a query of types and tags stands after a position (SE004); of a tenant''s stream, or with one cell, only.',
	before => E'\n\tPERFORM eventstore.check_condition($1);');

CREATE FUNCTION @extschema@.es_append_if(stream text, events jsonb, query jsonb, after jsonb) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	RETURN @extschema@.es_append_if(stream, events, query, eventstore.position_in_cell(eventstore.find_cell(stream), after));
END
$$;
COMMENT ON FUNCTION @extschema@.es_append_if(text, jsonb, jsonb, jsonb) IS 'The same after a vector of positions, as the readers across streams return it.';
REVOKE ALL ON FUNCTION @extschema@.es_append_if(text, jsonb, jsonb, jsonb) FROM PUBLIC;
