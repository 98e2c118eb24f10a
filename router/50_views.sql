-- Views: what there is to see in each cell, as one table with a column cell; read tables of all cells, side by side or merged.

CREATE FUNCTION eventstore.make_gather(name text, columns text, source text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$make$
BEGIN
	EXECUTE format('CREATE FUNCTION eventstore.%I(int[]) RETURNS TABLE (cell int, %s) LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS %L', 'ask_' || name, columns,
		format('CLUSTER ''eventstore''; SPLIT $1; RUN ON $1; SELECT ($1::int[])[1] AS cell, t.* FROM %s t;', source));
	EXECUTE format('COMMENT ON FUNCTION eventstore.%I(int[]) IS %L', 'ask_' || name, format('The rows of %s in cells.', source));
	EXECUTE format('REVOKE ALL ON FUNCTION eventstore.%I(int[]) FROM PUBLIC', 'ask_' || name);
	EXECUTE format('CREATE FUNCTION eventstore.%I() RETURNS TABLE (cell int, %s) LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS %L',
		'all_' || name, columns, format('
#variable_conflict use_column
DECLARE
	left_over int[] := eventstore.all_cells();
	together int[] := ARRAY(SELECT c FROM unnest(left_over) c WHERE c <> ALL (eventstore.cells_down()));
	one int;
BEGIN
	IF cardinality(together) > 0 THEN
		BEGIN
			RETURN QUERY SELECT * FROM eventstore.%1$I(together);
			left_over := ARRAY(SELECT c FROM unnest(left_over) c WHERE c <> ALL (together));
		EXCEPTION WHEN OTHERS THEN
			IF NOT eventstore.is_unreachable(SQLSTATE, SQLERRM) THEN
				RAISE;
			END IF;
		END;
	END IF;
	FOREACH one IN ARRAY left_over LOOP
		BEGIN
			RETURN QUERY SELECT * FROM eventstore.%1$I(ARRAY[one]);
			PERFORM eventstore.note_down(one, false);
		EXCEPTION WHEN OTHERS THEN
			IF NOT eventstore.is_unreachable(SQLSTATE, SQLERRM) THEN
				RAISE;
			END IF;
			PERFORM eventstore.note_down(one, true);
			PERFORM eventstore.warn_unreachable(one, SQLERRM);
		END;
	END LOOP;
END', 'ask_' || name));
	EXECUTE format('COMMENT ON FUNCTION eventstore.%I() IS %L', 'all_' || name, format('The rows of %s in all cells that can be reached; a WARNING names each other one.', source));
	EXECUTE format('REVOKE ALL ON FUNCTION eventstore.%I() FROM PUBLIC', 'all_' || name);
END
$make$;
COMMENT ON FUNCTION eventstore.make_gather(text, text, text) IS 'Makes functions ask_name(cells) and all_name() that return the rows of a relation in cells.';
REVOKE ALL ON FUNCTION eventstore.make_gather(text, text, text) FROM PUBLIC;

SELECT eventstore.make_gather('subscription_status', 'name text, partition int, consumer text, checkpoint bigint, lag_events bigint, lag_seconds double precision, parked bigint, lease_end timestamptz, state text, tenant text',
	'(SELECT name, partition, consumer, checkpoint, lag_events, lag_seconds, parked, lease_end, state, tenant FROM eventstore.subscription_status)');
CREATE VIEW eventstore.subscription_status AS SELECT * FROM eventstore.all_subscription_status();
COMMENT ON VIEW eventstore.subscription_status IS 'How far each partition of each subscription is in each cell, and who works on it; the columns are those of the cells'' view.';
REVOKE ALL ON TABLE eventstore.subscription_status FROM PUBLIC;

SELECT eventstore.make_gather('parked', 'subscription text, "position" bigint, stream text, category text, version bigint, id uuid, type text, data jsonb, metadata jsonb, tags text[], recorded_at timestamptz, partition int, attempts int, reason text, parked_at timestamptz',
	'(SELECT subscription, position, stream, category, version, id, type, data, metadata, tags, recorded_at, partition, attempts, reason, parked_at FROM eventstore.parked)');
CREATE VIEW eventstore.parked AS SELECT * FROM eventstore.all_parked();
COMMENT ON VIEW eventstore.parked IS 'Events that subscriptions have put aside, in each cell; the columns are those of the cells'' view.';
REVOKE ALL ON TABLE eventstore.parked FROM PUBLIC;

SELECT eventstore.make_gather('projection_status', 'name text, mode text, state text, "position" bigint, lag bigint, lag_seconds double precision, last_error text, last_error_code text, last_error_position bigint, last_error_at timestamptz, events_applied bigint, owner text, obstacle text',
	'(SELECT name, mode, state, position, lag, lag_seconds, last_error, last_error_code, last_error_position, last_error_at, events_applied, owner, obstacle FROM eventstore.projection_status)');
CREATE VIEW eventstore.projection_status AS SELECT * FROM eventstore.all_projection_status();
COMMENT ON VIEW eventstore.projection_status IS 'How far each projection is in each cell; the columns are those of the cells'' view.';
REVOKE ALL ON TABLE eventstore.projection_status FROM PUBLIC;

SELECT eventstore.make_gather('inflight', 'pid int, xact_start timestamptz, lowest_position bigint',
	'(SELECT pid, xact_start, lowest_position FROM eventstore.inflight)');
CREATE VIEW eventstore.inflight AS SELECT * FROM eventstore.all_inflight();
COMMENT ON VIEW eventstore.inflight IS 'Open transactions that append, in each cell; the columns are those of the cells'' view.';
REVOKE ALL ON TABLE eventstore.inflight FROM PUBLIC;

SELECT eventstore.make_gather('health', 'name text, status text, value text, detail text, since timestamptz',
	'(SELECT name, status, value::text, detail, since FROM eventstore.health)');
CREATE VIEW eventstore.health AS
	SELECT * FROM eventstore.all_health()
	UNION ALL
	SELECT c.cell, 'cell', CASE WHEN c.cell = ANY (eventstore.cells_down()) THEN 'critical' ELSE 'ok' END, NULL, CASE WHEN c.cell = ANY (eventstore.cells_down()) THEN 'It cannot be reached.' END, NULL
	FROM eventstore.mapped_cells c;
COMMENT ON VIEW eventstore.health IS 'The checks of each cell, and whether it can be reached; the columns are those of the cells'' view.';
REVOKE ALL ON TABLE eventstore.health FROM PUBLIC;

SELECT eventstore.make_gather('verify_seals', 'seal bigint, detail text', '(SELECT v.seal, v.detail FROM @extschema@.es_verify_seals() v)');
CREATE FUNCTION @extschema@.es_verify_seals(OUT cell int, OUT seal bigint, OUT detail text) RETURNS SETOF record
	LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 10
	BEGIN ATOMIC SELECT * FROM eventstore.all_verify_seals(); END;
COMMENT ON FUNCTION @extschema@.es_verify_seals() IS 'What of the sealed history of a cell is not what it was. No row: it is; a WARNING names a cell that was not asked.';
REVOKE ALL ON FUNCTION @extschema@.es_verify_seals() FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Read tables
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION eventstore.ask_columns(cell int, relation text) RETURNS TABLE (name text, type text)
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; RUN ON $1;
	SELECT a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type FROM pg_catalog.pg_attribute a
	WHERE a.attrelid OPERATOR(pg_catalog.=) $2::regclass AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped ORDER BY a.attnum;
$$;
COMMENT ON FUNCTION eventstore.ask_columns(int, text) IS 'The columns of a relation in a cell.';
REVOKE ALL ON FUNCTION eventstore.ask_columns(int, text) FROM PUBLIC;

-- A cell that was split off has rows of streams that are the other one's, and the other way round. So a row counts in the cell that takes
-- its slot: it is complete there. A relation that does not say of which slots its rows are can be shown while no cell was split off.
CREATE FUNCTION eventstore.check_not_split(relation text) RETURNS boolean
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF EXISTS (SELECT FROM eventstore.feeds f WHERE f.parent IS NOT NULL) THEN
		RAISE feature_not_supported USING MESSAGE = format('rows of %s in different cells may be about the same events', relation),
			DETAIL = 'A cell was split off from another one, and has its history, too. The rows do not say in which cell they count.',
			HINT = 'Give the read table a column stream, or a column slot, as by "SELECT es_slot(stream) AS slot, ... GROUP BY es_slot(stream), ...".';
	END IF;
	RETURN true;
END
$$;
COMMENT ON FUNCTION eventstore.check_not_split(text) IS 'True; raises 0A000 if a cell was split off from another one.';
REVOKE ALL ON FUNCTION eventstore.check_not_split(text) FROM PUBLIC;

-- merge: how columns are merged where cells have rows of the same key, as {"orders": "count", "total": "sum", "mean": "avg(orders)"};
-- the other columns are the key, but for the slot.
CREATE FUNCTION @extschema@.es_create_view(name text, relation text, merge jsonb DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET client_min_messages = warning AS
$$
#variable_conflict use_variable
DECLARE
	cell int := (eventstore.some_cells())[1];
	source text := 'view_' || pg_catalog.md5(name);
	columns text[];
	types text[];
	keys text;
	merged text;
	counts text;
	wrong text;
BEGIN
	IF name IS NULL OR relation IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'name and relation must not be null';
	END IF;
	SELECT pg_catalog.array_agg(c.name ORDER BY c.n), pg_catalog.array_agg(c.type ORDER BY c.n) INTO columns, types
	FROM eventstore.ask_columns(cell, relation) WITH ORDINALITY c (name, type, n);
	SELECT k INTO wrong FROM pg_catalog.jsonb_object_keys(merge) k WHERE k <> ALL (columns) LIMIT 1;
	IF FOUND THEN
		RAISE undefined_column USING MESSAGE = pg_catalog.format('column "%s" does not exist in %s', wrong, relation);
	END IF;
	counts := CASE WHEN 'slot' = ANY (columns) THEN 'eventstore.cell_of_slot(slot) = cell'
				   WHEN 'stream' = ANY (columns) THEN 'eventstore.cell_of_slot(@extschema@.es_slot(stream)) = cell'
				   ELSE pg_catalog.format('eventstore.check_not_split(%L)', relation) END;
	SELECT pg_catalog.string_agg(CASE WHEN NOT merge ? c AND c <> 'slot' THEN pg_catalog.quote_ident(c) END, ', ' ORDER BY n),
		   pg_catalog.string_agg(CASE WHEN merge ? c THEN eventstore.merge_column(c, merge ->> c) WHEN c <> 'slot' THEN pg_catalog.quote_ident(c) END, ', ' ORDER BY n)
		INTO keys, merged
	FROM pg_catalog.unnest(columns) WITH ORDINALITY u (c, n);
	PERFORM eventstore.make_gather(source, (SELECT pg_catalog.string_agg(pg_catalog.format('%I %s', c, t), ', ' ORDER BY n)
											FROM ROWS FROM (pg_catalog.unnest(columns), pg_catalog.unnest(types)) WITH ORDINALITY u (c, t, n)), relation);
	IF merge IS NULL THEN
		EXECUTE pg_catalog.format('CREATE VIEW %s AS SELECT * FROM eventstore.%I() WHERE %s', name, 'all_' || source, counts);
	ELSE
		EXECUTE pg_catalog.format('CREATE VIEW %s AS SELECT %s FROM eventstore.%I() WHERE %s%s', name, merged, 'all_' || source, counts, ' GROUP BY ' || keys);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_create_view(text, text, jsonb) IS
	'Makes a view of the rows that a relation has in all cells: with column cell, or merged by key as {"orders": "count", "total": "sum", "mean": "avg(orders)"} says.';
REVOKE ALL ON FUNCTION @extschema@.es_create_view(text, text, jsonb) FROM PUBLIC;

CREATE FUNCTION eventstore.merge_column(name text, how text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF how IN ('count', 'sum') THEN
		RETURN format('sum(%1$I) AS %1$I', name);
	ELSIF how IN ('min', 'max') THEN
		RETURN format('%2$s(%1$I) AS %1$I', name, how);
	ELSIF how IN ('bool_and', 'bool_or') THEN
		RETURN format('%2$s(%1$I) AS %1$I', name, how);
	ELSIF how ~ '^avg[(].+[)]$' THEN
		-- Each cell's average counts as many times as it has values.
		RETURN format('sum(%1$I * %2$I) FILTER (WHERE %1$I IS NOT NULL) / nullif(sum(%2$I) FILTER (WHERE %1$I IS NOT NULL), 0) AS %1$I', name, substr(how, 5, length(how) - 5));
	END IF;
	RAISE invalid_parameter_value USING MESSAGE = format('column "%s" cannot be merged by "%s"', name, how),
		HINT = 'count, sum, min, max, bool_and and bool_or can be merged, and avg(column), where the column is the count of the values.';
END
$$;
COMMENT ON FUNCTION eventstore.merge_column(text, text) IS 'The expression that merges a column.';
REVOKE ALL ON FUNCTION eventstore.merge_column(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_view(name text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE AS
$$
BEGIN
	IF name IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'name must not be null';
	END IF;
	EXECUTE pg_catalog.format('DROP VIEW %s', name);
	EXECUTE pg_catalog.format('DROP FUNCTION eventstore.%I(), eventstore.%I(int[])', 'all_view_' || pg_catalog.md5(name), 'ask_view_' || pg_catalog.md5(name));
END
$$;
COMMENT ON FUNCTION @extschema@.es_drop_view(text) IS 'Removes a view that es_create_view has made under this name.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_view(text) FROM PUBLIC;
