-- Move: events as JSON, out of all cells and into the cells that take them.

-- A portion, of one feed.
CREATE FUNCTION eventstore.ask_export(int, bigint, bigint, text, text) RETURNS SETOF jsonb
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE ROWS 1000 AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_export($2::bigint, $3::bigint, $4::text, $5::text) LIMIT 1000;
$$;
COMMENT ON FUNCTION eventstore.ask_export(int, bigint, bigint, text, text) IS 'The first thousand lines that es_export gives in a cell.';
REVOKE ALL ON FUNCTION eventstore.ask_export(int, bigint, bigint, text, text) FROM PUBLIC;

-- One feed after the other, those first that others go on from: so each stream is in version order. A cell that is down is an error: who takes
-- the lines away would not know what they lack.
CREATE FUNCTION @extschema@.es_export(after jsonb DEFAULT '{}', upto jsonb DEFAULT NULL, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS SETOF jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 1000 SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	vector jsonb := eventstore.check_vector(after);
	ends jsonb := CASE WHEN upto IS NOT NULL THEN eventstore.check_vector(upto) ELSE @extschema@.es_head() END;
	feed eventstore.feeds;
	place bigint;
	place_end bigint;
	line jsonb;
	count int;
BEGIN
	FOR feed IN SELECT * FROM eventstore.find_feeds() LOOP
		IF upto IS NULL AND NOT ends ? feed.feed::text THEN
			PERFORM eventstore.raise_unreachable(feed.cell, 'PL/Proxy has not heard its head.');
		END IF;
		place := greatest(feed.after_position, (vector ->> feed.feed::text)::bigint);
		place_end := least(feed.upto, coalesce((ends ->> feed.feed::text)::bigint, 0));
		WHILE place < place_end LOOP
			count := 0;
			BEGIN
				FOR line IN SELECT * FROM eventstore.ask_export(feed.cell, place, place_end, category, tenant) LOOP
					place := (line ->> 'position')::bigint;
					count := count + 1;
					RETURN NEXT line;
				END LOOP;
			EXCEPTION WHEN internal_error THEN
				PERFORM eventstore.raise_unreachable(feed.cell, SQLERRM);
			END;
			EXIT WHEN count < 1000;
		END LOOP;
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.es_export(jsonb, jsonb, text, text) IS
	'The events of all cells after a vector of positions, up to another or to the heads, one as a JSON object each, one feed after the other; those of a category, a tenant, or both.';
REVOKE ALL ON FUNCTION @extschema@.es_export(jsonb, jsonb, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.es_import(cell int, events jsonb) RETURNS bigint
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1; SELECT @extschema@.es_import($2::jsonb);
$$;
COMMENT ON FUNCTION eventstore.es_import(int, jsonb) IS 'Sends es_import to a cell.';
REVOKE ALL ON FUNCTION eventstore.es_import(int, jsonb) FROM PUBLIC;

-- Each cell stores what is its own, or nothing; what it has it passes over, so a call that failed halfway is repeated.
CREATE FUNCTION @extschema@.es_import(events jsonb) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	part record;
	done int[] := '{}';
	total bigint := 0;
BEGIN
	IF eventstore.is_in_block() THEN
		PERFORM eventstore.refuse_in_block('es_import');
	END IF;
	-- What is no array of events has its error from a cell: any will do.
	FOR part IN SELECT p.cell, CASE WHEN jsonb_typeof(es_import.events) = 'array' THEN jsonb_agg(p.event ORDER BY p.n) ELSE es_import.events END AS events
				FROM (SELECT e.event, e.n, CASE WHEN jsonb_typeof(e.event -> 'stream') = 'string' THEN eventstore.find_cell(e.event ->> 'stream') ELSE (eventstore.some_cells())[1] END AS cell
					  FROM jsonb_array_elements(CASE WHEN jsonb_typeof(es_import.events) = 'array' THEN es_import.events ELSE '[{}]' END) WITH ORDINALITY e (event, n)) p
				GROUP BY p.cell ORDER BY p.cell LOOP
		BEGIN
			total := total + eventstore.es_import(part.cell, part.events);
			done := done || part.cell;
		EXCEPTION WHEN OTHERS THEN
			PERFORM eventstore.tell_done('es_import', part.cell, done, SQLSTATE, SQLERRM);
			RAISE;
		END;
	END LOOP;
	RETURN total;
END
$$;
COMMENT ON FUNCTION @extschema@.es_import(jsonb) IS
	'Stores an array of events as es_export gives them, each in the cell of its stream; returns how many were not there before.';
REVOKE ALL ON FUNCTION @extschema@.es_import(jsonb) FROM PUBLIC;
