-- Readers across streams: a place for each feed, which is the last position that was read of it, as {"1": 4711, "2": 99}.
--
-- A feed's events come from one cell, after the position that it begins at: what stands before it there is the history of the cell that it
-- was split off from, which gives it itself. Streams that have moved go on in the new feed, so nothing of that is delivered before the old
-- feed has been delivered up to there.

CREATE FUNCTION eventstore.check_vector(after jsonb) RETURNS jsonb
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	wrong record;
BEGIN
	IF after IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'after must not be null', HINT = '{} is the beginning.';
	END IF;
	IF jsonb_typeof(after) <> 'object' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'after is a JSON object of positions by feed, such as {"1": 4711, "2": 99}', HINT = '{} is the beginning.';
	END IF;
	SELECT e.key, e.value INTO wrong FROM jsonb_each(after) e
	WHERE e.key !~ '^(0|[1-9][0-9]{0,3})$' OR length(e.key) = 4 AND e.key > '1023' OR jsonb_typeof(e.value) <> 'number' OR e.value::text !~ '^[0-9]{1,18}$' LIMIT 1;
	IF FOUND THEN
		RAISE invalid_parameter_value USING MESSAGE = format('"%s": %s is no position of a feed', left(wrong.key, 100), left(wrong.value::text, 100)),
			DETAIL = 'Feeds are numbers from 0 to 1023, positions whole numbers from 0.',
			HINT = 'A vector is the after of a row, es_head(), es_position_at(), or {}, the beginning.';
	END IF;
	RETURN after;
END
$$;
COMMENT ON FUNCTION eventstore.check_vector(jsonb) IS 'The same; raises what is wrong with it.';
REVOKE ALL ON FUNCTION eventstore.check_vector(jsonb) FROM PUBLIC;

CREATE FUNCTION eventstore.find_feeds() RETURNS SETOF eventstore.feeds
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	unknown int;
BEGIN
	PERFORM eventstore.some_cells();
	-- A cell that was down when it was put into the map has yet to say where its feed begins.
	IF EXISTS (SELECT FROM eventstore.mapped_cells c WHERE NOT EXISTS (SELECT FROM eventstore.feeds f WHERE f.feed = c.feed)) THEN
		PERFORM eventstore.learn_feeds();
		FOR unknown IN SELECT c.cell FROM eventstore.mapped_cells c WHERE NOT EXISTS (SELECT FROM eventstore.feeds f WHERE f.feed = c.feed) LOOP
			PERFORM eventstore.warn_unreachable(unknown, 'It has not said yet where its feed begins.');
		END LOOP;
	END IF;
	RETURN QUERY SELECT * FROM eventstore.feeds f ORDER BY f.after_position, f.feed;
END
$$;
COMMENT ON FUNCTION eventstore.find_feeds() IS 'The rows of eventstore.feeds, those first that others go on from.';
REVOKE ALL ON FUNCTION eventstore.find_feeds() FROM PUBLIC;

-- A vector may come from another router, which has heard of a cell before this one has.
CREATE FUNCTION eventstore.check_feeds(after jsonb) RETURNS eventstore.feeds[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	places constant int[] := ARRAY(SELECT k::int FROM jsonb_object_keys(eventstore.check_vector(after)) k);
	feeds eventstore.feeds[] := ARRAY(SELECT f FROM eventstore.find_feeds() f);
	unknown int[] := ARRAY(SELECT p FROM unnest(places) p EXCEPT SELECT f.feed FROM unnest(feeds) f);
BEGIN
	IF cardinality(unknown) > 0 AND @extschema@.es_refresh_map() THEN
		feeds := ARRAY(SELECT f FROM eventstore.find_feeds() f);
		unknown := ARRAY(SELECT p FROM unnest(places) p EXCEPT SELECT f.feed FROM unnest(feeds) f);
	END IF;
	IF cardinality(unknown) > 0 THEN
		RAISE WARNING USING ERRCODE = '01000', MESSAGE = format('no cell here is known to have events of feed %s', array_to_string(unknown, ', ')),
			DETAIL = 'The vector has a place in it, which stays as it is.',
			HINT = 'Where its cell was dropped, take it out of the vector: vector - ''feed''. Else this router has yet to hear of the cell: es_adopt_map(), with the map of a cell that knows it.';
	END IF;
	RETURN feeds;
END
$$;
COMMENT ON FUNCTION eventstore.check_feeds(jsonb) IS 'The rows of eventstore.feeds, those first that others go on from; warns of feeds of a vector that are not among them.';
REVOKE ALL ON FUNCTION eventstore.check_feeds(jsonb) FROM PUBLIC;

CREATE FUNCTION eventstore.position_in_cell(cell int, after jsonb) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	feed eventstore.feeds;
	beyond bigint;
BEGIN
	after := eventstore.check_vector(after);
	SELECT f.* INTO feed FROM eventstore.find_feeds() f WHERE f.cell = position_in_cell.cell AND f.upto IS NULL;
	-- What is before its feed in the cell has the positions of the feeds before.
	WHILE feed.feed IS NOT NULL LOOP
		IF after ? feed.feed::text THEN
			RETURN least((after ->> feed.feed::text)::bigint, coalesce(beyond, (after ->> feed.feed::text)::bigint));
		END IF;
		beyond := feed.after_position;
		SELECT f.* INTO feed FROM eventstore.find_feeds() f WHERE f.feed = feed.parent;
	END LOOP;
	RETURN 0;
END
$$;
COMMENT ON FUNCTION eventstore.position_in_cell(int, jsonb) IS 'The position in a cell up to which everything is read at a vector.';
REVOKE ALL ON FUNCTION eventstore.position_in_cell(int, jsonb) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What is sent
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE TYPE eventstore.feed_row AS
(
	feed        int,
	head        bigint,
	position    bigint,
	stream      text COLLATE "C",
	category    text COLLATE "C",
	version     bigint,
	id          bytea,
	type        text COLLATE "C",
	data        jsonb,
	metadata    jsonb,
	tags        text[] COLLATE "C",
	recorded_at bytea
);
COMMENT ON TYPE eventstore.feed_row IS 'An event of a feed, and the head of its cell before it was read; without an event: there is none. id and recorded_at are what uuid_send and timestamptz_send make of them.';

-- One element for each feed, in the cell that has it. The head is asked first: there is nothing but what is read up to there. PL/Proxy has each
-- value written and read as text, which takes longer for an id or a time than for all the rest, and for a time depends on settings: so
-- these are sent as bytes.
CREATE FUNCTION eventstore.ask_events(cells int[], feeds int[], afters bigint[], uptos bigint[], bigint, text[], boolean) RETURNS SETOF eventstore.feed_row
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; SPLIT $1, $2, $3, $4; RUN ON $1;
	SELECT f.n AS feed, h.n AS head, e.position, e.stream, e.category, e.version, pg_catalog.uuid_send(e.id) AS id, e.type, e.data, e.metadata, e.tags,
		pg_catalog.timestamptz_send(e.recorded_at) AS recorded_at
	FROM (SELECT @extschema@.es_head() AS n OFFSET 0) h
	CROSS JOIN LATERAL unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[]) f(c, n, a, u)
	LEFT JOIN LATERAL (SELECT * FROM @extschema@.es_read_all(f.a + 0 * h.n, $5::bigint, $6::text[], $7::boolean) r
		WHERE CASE WHEN $7::boolean THEN r.position OPERATOR(pg_catalog.>) f.u ELSE r.position OPERATOR(pg_catalog.<=) f.u END) e ON true;
$$;
COMMENT ON FUNCTION eventstore.ask_events(cells int[], feeds int[], afters bigint[], uptos bigint[], bigint, text[], boolean) IS 'Events of feeds, from their cells.';
REVOKE ALL ON FUNCTION eventstore.ask_events(cells int[], feeds int[], afters bigint[], uptos bigint[], bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION eventstore.ask_category(cells int[], feeds int[], afters bigint[], uptos bigint[], bigint, text[], text, boolean) RETURNS SETOF eventstore.feed_row
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; SPLIT $1, $2, $3, $4; RUN ON $1;
	SELECT f.n AS feed, h.n AS head, e.position, e.stream, e.category, e.version, pg_catalog.uuid_send(e.id) AS id, e.type, e.data, e.metadata, e.tags,
		pg_catalog.timestamptz_send(e.recorded_at) AS recorded_at
	FROM (SELECT @extschema@.es_head() AS n OFFSET 0) h
	CROSS JOIN LATERAL unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[]) f(c, n, a, u)
	LEFT JOIN LATERAL (SELECT * FROM @extschema@.es_read_category($7::text, f.a + 0 * h.n, $5::bigint, $6::text[], $8::boolean) r
		WHERE CASE WHEN $8::boolean THEN r.position OPERATOR(pg_catalog.>) f.u ELSE r.position OPERATOR(pg_catalog.<=) f.u END) e ON true;
$$;
COMMENT ON FUNCTION eventstore.ask_category(cells int[], feeds int[], afters bigint[], uptos bigint[], bigint, text[], text, boolean) IS 'A category''s events of feeds, from their cells.';
REVOKE ALL ON FUNCTION eventstore.ask_category(cells int[], feeds int[], afters bigint[], uptos bigint[], bigint, text[], text, boolean) FROM PUBLIC;

CREATE FUNCTION eventstore.ask_query(cells int[], feeds int[], afters bigint[], uptos bigint[], bigint, jsonb, boolean) RETURNS SETOF eventstore.feed_row
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; SPLIT $1, $2, $3, $4; RUN ON $1;
	SELECT f.n AS feed, h.n AS head, e.position, e.stream, e.category, e.version, pg_catalog.uuid_send(e.id) AS id, e.type, e.data, e.metadata, e.tags,
		pg_catalog.timestamptz_send(e.recorded_at) AS recorded_at
	FROM (SELECT @extschema@.es_head() AS n OFFSET 0) h
	CROSS JOIN LATERAL unnest($1::int[], $2::int[], $3::bigint[], $4::bigint[]) f(c, n, a, u)
	LEFT JOIN LATERAL (SELECT * FROM @extschema@.es_read_query($6::jsonb, f.a + 0 * h.n, $5::bigint, $7::boolean) r
		WHERE CASE WHEN $7::boolean THEN r.position OPERATOR(pg_catalog.>) f.u ELSE r.position OPERATOR(pg_catalog.<=) f.u END) e ON true;
$$;
COMMENT ON FUNCTION eventstore.ask_query(cells int[], feeds int[], afters bigint[], uptos bigint[], bigint, jsonb, boolean) IS 'The events of feeds that match a query, from their cells.';
REVOKE ALL ON FUNCTION eventstore.ask_query(cells int[], feeds int[], afters bigint[], uptos bigint[], bigint, jsonb, boolean) FROM PUBLIC;

-- What a reader reads: one of a category and a query, or neither.
CREATE TYPE eventstore.filter AS
(
	max_count bigint,
	types     text[],
	category  text,
	query     jsonb,
	backward  boolean
);
COMMENT ON TYPE eventstore.filter IS 'Which events a reader is to get, and how many.';

CREATE FUNCTION eventstore.ask_feed_rows(asked eventstore.feeds[], filter eventstore.filter) RETURNS SETOF eventstore.feed_row
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	cells int[] := ARRAY(SELECT a.cell FROM unnest(asked) WITH ORDINALITY a (feed, cell, after_position, upto, parent, n) ORDER BY a.n);
	feeds int[] := ARRAY(SELECT a.feed FROM unnest(asked) WITH ORDINALITY a (feed, cell, after_position, upto, parent, n) ORDER BY a.n);
	afters bigint[] := ARRAY(SELECT a.after_position FROM unnest(asked) WITH ORDINALITY a (feed, cell, after_position, upto, parent, n) ORDER BY a.n);
	uptos bigint[] := ARRAY(SELECT coalesce(a.upto, 9223372036854775807) FROM unnest(asked) WITH ORDINALITY a (feed, cell, after_position, upto, parent, n) ORDER BY a.n);
BEGIN
	IF cardinality(asked) = 0 THEN
		RETURN;
	ELSIF filter.query IS NOT NULL THEN
		RETURN QUERY SELECT * FROM eventstore.ask_query(cells, feeds, afters, uptos, filter.max_count, filter.query, filter.backward);
	ELSIF filter.category IS NOT NULL THEN
		RETURN QUERY SELECT * FROM eventstore.ask_category(cells, feeds, afters, uptos, filter.max_count, filter.types, filter.category, filter.backward);
	ELSE
		RETURN QUERY SELECT * FROM eventstore.ask_events(cells, feeds, afters, uptos, filter.max_count, filter.types, filter.backward);
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.ask_feed_rows(eventstore.feeds[], eventstore.filter) IS 'Events of feeds after the positions given, all from cells that can be reached.';
REVOKE ALL ON FUNCTION eventstore.ask_feed_rows(eventstore.feeds[], eventstore.filter) FROM PUBLIC;

-- All cells at once; where one fails, each by itself, those last that have failed before.
CREATE FUNCTION eventstore.collect_rows(asked eventstore.feeds[], filter eventstore.filter) RETURNS SETOF eventstore.feed_row
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS
$$
DECLARE
	down int[] := eventstore.cells_down();
	together eventstore.feeds[] := ARRAY(SELECT a FROM unnest(asked) a WHERE a.cell <> ALL (down));
	one int;
	attempt int;
BEGIN
	BEGIN
		RETURN QUERY SELECT * FROM eventstore.ask_feed_rows(together, filter);
	EXCEPTION WHEN OTHERS THEN
		IF eventstore.is_otherwise(SQLERRM) THEN
			PERFORM eventstore.raise_unreachable(NULL, SQLERRM);
		ELSIF NOT eventstore.is_unreachable(SQLSTATE, SQLERRM) THEN
			RAISE;
		END IF;
		together := '{}';
	END;
	FOR one IN SELECT DISTINCT a.cell FROM unnest(asked) a WHERE a <> ALL (together) ORDER BY 1 LOOP
		FOR attempt IN 1 .. 2 LOOP
			BEGIN
				RETURN QUERY SELECT * FROM eventstore.ask_feed_rows(ARRAY(SELECT a FROM unnest(asked) a WHERE a.cell = one), filter);
				PERFORM eventstore.note_down(one, false);
				EXIT;
			EXCEPTION WHEN OTHERS THEN
				IF NOT eventstore.is_unreachable(SQLSTATE, SQLERRM) THEN
					RAISE;
				END IF;
				-- The first time it may be a connection that was good before the cell was started anew.
				IF attempt = 2 THEN
					PERFORM eventstore.note_down(one, true);
					PERFORM eventstore.warn_unreachable(one, SQLERRM);
				END IF;
			END;
		END LOOP;
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.collect_rows(eventstore.feeds[], eventstore.filter) IS 'Events of feeds after the positions given, from all cells that can be reached; a WARNING names each other one.';
REVOKE ALL ON FUNCTION eventstore.collect_rows(eventstore.feeds[], eventstore.filter) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Merging: src/router/merge.c
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION eventstore.begin_read(after jsonb) RETURNS SETOF eventstore.feeds
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	RETURN QUERY SELECT * FROM unnest(eventstore.check_feeds(after));
END
$$;
COMMENT ON FUNCTION eventstore.begin_read(jsonb) IS 'The feeds that a reader at a vector gets, those first that others go on from.';
REVOKE ALL ON FUNCTION eventstore.begin_read(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_all(after jsonb DEFAULT '{}', max_count bigint DEFAULT 1000, types text[] DEFAULT NULL, backward boolean DEFAULT false,
	OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text, OUT data jsonb,
	OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz, OUT feed int, OUT after jsonb) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_router_read_all';
COMMENT ON FUNCTION @extschema@.es_read_all(jsonb, bigint, text[], boolean) IS
	'The events of all cells after a vector of positions, each once, each stream in version order; a row''s after is where to go on from. Backward: those before it, {} being the heads.';
REVOKE ALL ON FUNCTION @extschema@.es_read_all(jsonb, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_category(category text, after jsonb DEFAULT '{}', max_count bigint DEFAULT 1000, types text[] DEFAULT NULL, backward boolean DEFAULT false,
	OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text, OUT data jsonb,
	OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz, OUT feed int, OUT after jsonb) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_router_read_category';
COMMENT ON FUNCTION @extschema@.es_read_category(text, jsonb, bigint, text[], boolean) IS
	'The events of a category after a vector of positions, as es_read_all.';
REVOKE ALL ON FUNCTION @extschema@.es_read_category(text, jsonb, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_query(query jsonb, after jsonb DEFAULT '{}', max_count bigint DEFAULT 1000, backward boolean DEFAULT false,
	OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text, OUT data jsonb,
	OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz, OUT feed int, OUT after jsonb) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_router_read_query';
COMMENT ON FUNCTION @extschema@.es_read_query(jsonb, jsonb, bigint, boolean) IS
	'The events that match a query of types and tags, after a vector of positions, as es_read_all.';
REVOKE ALL ON FUNCTION @extschema@.es_read_query(jsonb, jsonb, bigint, boolean) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- The head, and waiting for it
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.es_head() RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	-- The head of a cell is that of its present feed; a feed that has ended has its end. Nothing is read.
	RETURN (WITH feeds AS MATERIALIZED (SELECT * FROM eventstore.find_feeds()),
				 heads AS MATERIALIZED (SELECT * FROM eventstore.collect_rows(ARRAY(SELECT f::eventstore.feeds FROM feeds f WHERE f.upto IS NULL),
																			  ROW (0, NULL, NULL, NULL, false)))
			SELECT coalesce(jsonb_object_agg(f.feed, coalesce(f.upto, greatest(h.head, f.after_position))), '{}')
			FROM feeds f LEFT JOIN heads h ON h.feed = f.feed WHERE f.upto IS NOT NULL OR h.head IS NOT NULL);
END
$$;
COMMENT ON FUNCTION @extschema@.es_head() IS
	'The heads of all cells, as a vector of positions by feed; that of a cell which cannot be reached is missing.';
REVOKE ALL ON FUNCTION @extschema@.es_head() FROM PUBLIC;

CREATE FUNCTION eventstore.ask_wait(cells int[], feeds int[], afters bigint[], bigint, interval, text) RETURNS TABLE (feed int, head bigint)
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; SPLIT $1, $2, $3; RUN ON $1;
	SELECT f.n AS feed, @extschema@.es_wait(f.a, $5::interval, $6::text) AS head
	FROM unnest($1::int[], $2::int[], $3::bigint[]) f(c, n, a) WHERE $4::bigint IS NOT NULL;
$$;
COMMENT ON FUNCTION eventstore.ask_wait(int[], int[], bigint[], bigint, interval, text) IS 'Waits in cells for events after the positions given.';
REVOKE ALL ON FUNCTION eventstore.ask_wait(int[], int[], bigint[], bigint, interval, text) FROM PUBLIC;

CREATE FUNCTION eventstore.check_timeout(timeout interval) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF timeout IS NULL THEN
		RAISE null_value_not_allowed USING MESSAGE = 'timeout must not be null', HINT = '''0'' does not wait.';
	ELSIF timeout < interval '0' THEN
		RAISE invalid_parameter_value USING MESSAGE = 'timeout must not be negative', HINT = '''0'' does not wait.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_timeout(interval) IS 'Raises unless one can wait so long.';
REVOKE ALL ON FUNCTION eventstore.check_timeout(interval) FROM PUBLIC;

-- PL/Proxy has an answer when all cells have answered, so the wait is cut into slices: news is as late as one of them at the most.
CREATE FUNCTION @extschema@.es_wait(after jsonb, timeout interval DEFAULT '30 s', category text DEFAULT NULL) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET intervalstyle = postgres SET client_min_messages = warning AS
$$
DECLARE
	vector jsonb := eventstore.check_vector(after);
	gives_up timestamptz := clock_timestamp() + timeout;
	slice interval := least(coalesce(nullif(current_setting('eventstore_router.wait_slice', true), ''), '100 ms')::interval, timeout);
	next_look timestamptz := clock_timestamp();
	feeds eventstore.feeds[];
	down int[];
	found jsonb;
BEGIN
	PERFORM eventstore.check_timeout(timeout);
	LOOP
		-- Readers append nothing, so no cell tells them that its map is newer.
		IF clock_timestamp() >= next_look THEN
			PERFORM @extschema@.es_refresh_map();
			next_look := clock_timestamp() + interval '10 s';
			-- History that is yet to be read is no matter of waiting; nor are cells that are down.
			feeds := ARRAY(SELECT f FROM eventstore.find_feeds() f);
			IF category IS NULL AND EXISTS (SELECT FROM @extschema@.es_read_all(vector, 1))
			   OR category IS NOT NULL AND EXISTS (SELECT FROM @extschema@.es_read_category(category, vector, 1)) THEN
				RETURN @extschema@.es_head();
			END IF;
			down := eventstore.cells_down();
		END IF;
		BEGIN
			SELECT jsonb_object_agg(w.feed, w.head) INTO found
			FROM (SELECT array_agg(f.cell) AS cells, array_agg(f.feed) AS feeds,
						 array_agg(greatest(f.after_position, (vector ->> f.feed::text)::bigint)) AS afters
				  FROM unnest(feeds) f WHERE f.upto IS NULL AND f.cell <> ALL (down)) a
			CROSS JOIN LATERAL eventstore.ask_wait(a.cells, a.feeds, a.afters, 0, slice, category) w
			WHERE a.cells IS NOT NULL AND w.head IS NOT NULL;
		EXCEPTION WHEN OTHERS THEN
			IF NOT eventstore.is_unreachable(SQLSTATE, SQLERRM) THEN
				RAISE;
			END IF;
			next_look := clock_timestamp(); -- finds out which it is
		END;
		IF found IS NOT NULL THEN
			RETURN @extschema@.es_head();
		ELSIF clock_timestamp() >= gives_up THEN
			RETURN NULL;
		ELSIF cardinality(down) >= cardinality(eventstore.all_cells()) THEN
			PERFORM pg_sleep(extract(epoch FROM slice));
			next_look := clock_timestamp();
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION @extschema@.es_wait(jsonb, interval, text) IS
	'Waits until a cell has an event after a vector of positions (of a category): returns the heads, as es_head(); null on timeout.';
REVOKE ALL ON FUNCTION @extschema@.es_wait(jsonb, interval, text) FROM PUBLIC;

CREATE FUNCTION eventstore.ask_position_at(cells int[], feeds int[], timestamptz) RETURNS TABLE (feed int, "position" bigint)
	LANGUAGE plproxy VOLATILE PARALLEL UNSAFE AS
$$
	CLUSTER 'eventstore'; SPLIT $1, $2; RUN ON $1;
	SELECT f.n AS feed, @extschema@.es_position_at($3::timestamptz) AS position FROM unnest($1::int[], $2::int[]) f(c, n);
$$;
COMMENT ON FUNCTION eventstore.ask_position_at(int[], int[], timestamptz) IS 'Positions in cells at a time.';
REVOKE ALL ON FUNCTION eventstore.ask_position_at(int[], int[], timestamptz) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_position_at(at timestamptz) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET datestyle = iso SET client_min_messages = warning AS
$$
BEGIN
	RETURN (SELECT coalesce(jsonb_object_agg(f.feed, least(greatest(p.position, f.after_position), coalesce(f.upto, p.position))), '{}')
			FROM (SELECT array_agg(f.cell) AS cells, array_agg(f.feed) AS feeds FROM eventstore.find_feeds() f) a
			CROSS JOIN LATERAL eventstore.ask_position_at(a.cells, a.feeds, es_position_at.at) p
			JOIN eventstore.find_feeds() f ON f.feed = p.feed);
EXCEPTION WHEN internal_error THEN
	PERFORM eventstore.raise_unreachable(NULL, SQLERRM);
END
$$;
COMMENT ON FUNCTION @extschema@.es_position_at(timestamptz) IS
	'The vector of positions to start after to get every event that was recorded at or after a time.';
REVOKE ALL ON FUNCTION @extschema@.es_position_at(timestamptz) FROM PUBLIC;
