-- Tallies: how many events there are, by category and by type.
--
-- No append writes here: a row that every append updates is one that they all queue for. Events are counted afterwards, up to a position
-- below the head, by the worker or by who asks; what stands behind it is counted by each who asks. What is rolled back is never seen, and
-- what is removed from history is noted by who removes it, in the same transaction, and taken off when events are counted the next time.
--
-- A dump leaves all of it out: where it is restored, events are counted anew.

CREATE TABLE eventstore.tallies
(
	tenant         text COLLATE "C" NOT NULL,
	category       text COLLATE "C" NOT NULL,
	type           text COLLATE "C" NOT NULL,
	events         bigint           NOT NULL,
	streams        bigint           NOT NULL,
	first_position bigint           NOT NULL,
	last_position  bigint           NOT NULL,
	CONSTRAINT tallies_pkey PRIMARY KEY (tenant, category, type)
)
WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.tallies IS 'How many events there are up to a position, see eventstore.tally_state. Written by eventstore.fold_tallies only.';
COMMENT ON COLUMN eventstore.tallies.tenant IS 'Of the streams of this tenant; empty: of all streams, those of tenants among them.';
COMMENT ON COLUMN eventstore.tallies.category IS 'Of the streams of this category.';
COMMENT ON COLUMN eventstore.tallies.type IS 'Of this type; empty: of all types.';
COMMENT ON COLUMN eventstore.tallies.events IS 'How many events.';
COMMENT ON COLUMN eventstore.tallies.streams IS 'In how many streams; 0 where it is one type''s.';
COMMENT ON COLUMN eventstore.tallies.first_position IS 'Position of the first of them.';
COMMENT ON COLUMN eventstore.tallies.last_position IS 'Position of the last of them.';
REVOKE ALL ON TABLE eventstore.tallies FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.tallies', 'WHERE false');

CREATE TABLE eventstore.tally_state
(
	only_row boolean NOT NULL DEFAULT true CONSTRAINT tally_state_pkey PRIMARY KEY CONSTRAINT tally_state_only_row_check CHECK (only_row),
	upto     bigint  NOT NULL
)
WITH (fillfactor = 10);
COMMENT ON TABLE eventstore.tally_state IS 'Up to where events are counted. One row, whose lock lets one count at a time.';
COMMENT ON COLUMN eventstore.tally_state.only_row IS 'Always true.';
COMMENT ON COLUMN eventstore.tally_state.upto IS 'Every event at or below this position is counted.';
REVOKE ALL ON TABLE eventstore.tally_state FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.tally_state', 'WHERE false');
INSERT INTO eventstore.tally_state (upto) VALUES (0);

CREATE TABLE eventstore.tally_removals
(
	stream    text COLLATE "C" NOT NULL,
	type      text COLLATE "C" NOT NULL,
	positions bigint[]         NOT NULL
);
COMMENT ON TABLE eventstore.tally_removals IS 'Events that were removed since events were counted last.';
COMMENT ON COLUMN eventstore.tally_removals.stream IS 'Their stream.';
COMMENT ON COLUMN eventstore.tally_removals.type IS 'Their type.';
COMMENT ON COLUMN eventstore.tally_removals.positions IS 'Their positions.';
REVOKE ALL ON TABLE eventstore.tally_removals FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.tally_removals', 'WHERE false');

-- By logical replication they go one by one; a session that calls itself a replica is taken for that, and src/keeping/forget.c leaves it to this.
CREATE FUNCTION eventstore.note_removal() RETURNS trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	INSERT INTO eventstore.tally_removals (stream, type, positions) VALUES (OLD.stream, OLD.type, ARRAY[OLD.position]);
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION eventstore.note_removal() IS 'Notes that an event is gone, for who counts them.';
REVOKE ALL ON FUNCTION eventstore.note_removal() FROM PUBLIC;

CREATE TRIGGER replicated_removals_are_noted AFTER DELETE ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION eventstore.note_removal();
ALTER TABLE eventstore.events ENABLE REPLICA TRIGGER replicated_removals_are_noted;
COMMENT ON TRIGGER replicated_removals_are_noted ON eventstore.events IS 'Notes what is removed by logical replication.';

-- By the index on (category, position), as the order says. The cost is what there is of other types and tenants in between.
CREATE FUNCTION eventstore.seek_event(tenant text, category text, type text, after bigint, upto bigint, backward boolean) RETURNS bigint
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS
$$
BEGIN
	IF backward THEN
		RETURN (SELECT e.position FROM eventstore.events e
				WHERE e.category = seek_event.category AND e.position < after AND e.position <= upto
				  AND (seek_event.type = '' OR e.type = seek_event.type)
				  AND (seek_event.tenant = '' OR @extschema@.es_tenant(e.stream) = seek_event.tenant)
				ORDER BY e.category DESC, e.position DESC LIMIT 1);
	END IF;
	RETURN (SELECT e.position FROM eventstore.events e
			WHERE e.category = seek_event.category AND e.position > after AND e.position <= upto
			  AND (seek_event.type = '' OR e.type = seek_event.type)
			  AND (seek_event.tenant = '' OR @extschema@.es_tenant(e.stream) = seek_event.tenant)
			ORDER BY e.category, e.position LIMIT 1);
END
$$;
COMMENT ON FUNCTION eventstore.seek_event(text, text, text, bigint, bigint, boolean) IS
	'Position of the next event of a tenant, a category and a type after a position; backward: of the last one before it.';
REVOKE ALL ON FUNCTION eventstore.seek_event(text, text, text, bigint, bigint, boolean) FROM PUBLIC;

-- In C, as SQL would look for each event in all partitions.
CREATE FUNCTION eventstore.seek_version(stream text, version bigint) RETURNS bigint
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'es_seek_version';
COMMENT ON FUNCTION eventstore.seek_version(text, bigint) IS 'Position of an event of a stream; null = it is not there.';
REVOKE ALL ON FUNCTION eventstore.seek_version(text, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.seek_beginning(stream text) RETURNS bigint
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'es_seek_beginning';
COMMENT ON FUNCTION eventstore.seek_beginning(text) IS 'Position of the first event that is left of a stream; null = none is.';
REVOKE ALL ON FUNCTION eventstore.seek_beginning(text) FROM PUBLIC;

CREATE FUNCTION eventstore.seek_oldest(name text, is_stream boolean) RETURNS timestamptz
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'es_seek_oldest';
COMMENT ON FUNCTION eventstore.seek_oldest(text, boolean) IS
	'When the first event of a stream, or of a category, was recorded, but for events in foreign tables; null = there is none.';
REVOKE ALL ON FUNCTION eventstore.seek_oldest(text, boolean) FROM PUBLIC;

-- Removed events up to where it was counted are taken off; those behind were never counted, and are not there to be. A stream loses its
-- first events only, so whether it was there shows in its event before the first new one, and in what has been removed since.
-- after: where it was counted up to.
CREATE FUNCTION eventstore.retally(after bigint, upto bigint) RETURNS SETOF eventstore.tallies
	LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 100
	SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS
$$
	WITH new AS MATERIALIZED (
		SELECT coalesce(@extschema@.es_tenant(e.stream), '') COLLATE "C" AS tenant, e.category, e.type, e.stream, count(*) AS events,
			   min(e.version) AS version, min(e.position) AS first_position, max(e.position) AS last_position
		FROM eventstore.events e WHERE e.position > retally.after AND e.position <= retally.upto
		GROUP BY e.stream, e.category, e.type
	), gone AS MATERIALIZED (
		SELECT coalesce(@extschema@.es_tenant(r.stream), '') COLLATE "C" AS tenant, split_part(r.stream, '-', 1) COLLATE "C" AS category, r.type,
			   r.stream, count(*) AS events, min(p) AS first_position, max(p) AS last_position
		FROM eventstore.tally_removals r CROSS JOIN unnest(r.positions) p WHERE p <= retally.after GROUP BY r.stream, r.type
	), streams AS (
		-- Which have come, and which have gone
		SELECT n.tenant, n.category, count(*) AS streams
		FROM (SELECT n.tenant, n.category, n.stream, min(n.version) AS version FROM new n GROUP BY n.tenant, n.category, n.stream) n
		WHERE CASE WHEN n.version > 1 THEN eventstore.seek_version(n.stream, n.version - 1) IS NULL ELSE true END
		  AND NOT EXISTS (SELECT FROM gone g WHERE g.stream = n.stream)
		GROUP BY n.tenant, n.category
		UNION ALL
		SELECT g.tenant, g.category, -count(*)
		FROM (SELECT DISTINCT g.tenant, g.category, g.stream FROM gone g) g
		WHERE coalesce(eventstore.seek_beginning(g.stream), 9223372036854775807) > retally.upto
		GROUP BY g.tenant, g.category
	), change AS (
		SELECT n.tenant, n.category, n.type, n.events, 0::bigint AS streams, n.first_position, n.last_position, NULL::bigint AS first_gone, NULL::bigint AS last_gone
		FROM new n
		UNION ALL
		SELECT g.tenant, g.category, g.type, -g.events, 0, NULL, NULL, g.first_position, g.last_position FROM gone g
		UNION ALL
		SELECT t.tenant, t.category, '', 0, t.streams, NULL, NULL, NULL, NULL FROM streams t
	), k AS MATERIALIZED (
		-- For all streams, and for those of a tenant; for all types, and for one
		SELECT x.tenant, c.category, y.type, sum(c.events)::bigint AS events, sum(CASE WHEN y.type = '' THEN c.streams ELSE 0 END)::bigint AS streams,
			   min(c.first_position) AS first_position, max(c.last_position) AS last_position, min(c.first_gone) AS first_gone, max(c.last_gone) AS last_gone
		FROM (SELECT c.tenant, c.category, c.type, sum(c.events) AS events, sum(c.streams) AS streams, min(c.first_position) AS first_position,
					 max(c.last_position) AS last_position, min(c.first_gone) AS first_gone, max(c.last_gone) AS last_gone
			  FROM change c GROUP BY c.tenant, c.category, c.type) c
		CROSS JOIN LATERAL (SELECT DISTINCT t AS tenant FROM unnest(ARRAY['', c.tenant]) t) x
		CROSS JOIN LATERAL (SELECT DISTINCT t AS type FROM unnest(ARRAY['', c.type]) t) y
		GROUP BY x.tenant, c.category, y.type
	)
	SELECT k.tenant, k.category, k.type, coalesce(t.events, 0) + k.events, coalesce(t.streams, 0) + k.streams,
		   CASE WHEN coalesce(t.events, 0) + k.events <= 0 THEN 0
				WHEN k.first_gone = t.first_position THEN eventstore.seek_event(k.tenant, k.category, k.type, t.first_position, retally.upto, false)
				ELSE coalesce(t.first_position, k.first_position) END,
		   CASE WHEN coalesce(t.events, 0) + k.events <= 0 THEN 0
				WHEN k.last_position IS NULL AND k.last_gone = t.last_position THEN eventstore.seek_event(k.tenant, k.category, k.type, t.last_position, retally.upto, true)
				ELSE coalesce(k.last_position, t.last_position) END
	FROM k LEFT JOIN eventstore.tallies t ON t.tenant = k.tenant AND t.category = k.category AND t.type = k.type
$$;
COMMENT ON FUNCTION eventstore.retally(bigint, bigint) IS 'The rows of eventstore.tallies that are others when it is counted up to a position, as they are then; those with 0 events are gone.';
REVOKE ALL ON FUNCTION eventstore.retally(bigint, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.fold_tallies(at_least bigint, at_most bigint, head bigint) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS
$$
DECLARE
	counted bigint;
	slice   bigint;
BEGIN
	SELECT s.upto INTO counted FROM eventstore.tally_state s FOR UPDATE SKIP LOCKED;
	IF counted IS NULL
	   OR NOT EXISTS (SELECT FROM eventstore.events e WHERE e.position > counted AND e.position <= head ORDER BY e.position OFFSET at_least - 1 LIMIT 1)
		  AND NOT EXISTS (SELECT FROM eventstore.tally_removals)
	THEN
		RETURN false;
	END IF;
	slice := (SELECT e.position FROM eventstore.events e WHERE e.position > counted AND e.position <= head ORDER BY e.position OFFSET at_most - 1 LIMIT 1);
	-- One statement, so that all of it is of one snapshot: what is removed meanwhile is either seen as removed, or noted for the next time.
	WITH t AS MATERIALIZED (
		SELECT * FROM eventstore.retally(counted, coalesce(slice, greatest(counted, head)))
	), noted AS (
		DELETE FROM eventstore.tally_removals
	), gone AS (
		DELETE FROM eventstore.tallies d USING t WHERE t.events <= 0 AND d.tenant = t.tenant AND d.category = t.category AND d.type = t.type
	), kept AS (
		INSERT INTO eventstore.tallies AS d (tenant, category, type, events, streams, first_position, last_position)
		SELECT t.tenant, t.category, t.type, t.events, t.streams, t.first_position, t.last_position FROM t WHERE t.events > 0
		ON CONFLICT ON CONSTRAINT tallies_pkey DO UPDATE SET events = excluded.events, streams = excluded.streams,
			first_position = excluded.first_position, last_position = excluded.last_position
	)
	UPDATE eventstore.tally_state SET upto = coalesce(slice, greatest(counted, head));
	RETURN slice < head;
END
$$;
COMMENT ON FUNCTION eventstore.fold_tallies(bigint, bigint, bigint) IS
	'Counts at most so many events further, if there are at least so many, up to the head; returns whether there are more. Nobody waits for somebody else who does.';
REVOKE ALL ON FUNCTION eventstore.fold_tallies(bigint, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.reset_tallies() RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
	UPDATE eventstore.tally_state SET upto = 0;
	DELETE FROM eventstore.tallies;
	DELETE FROM eventstore.tally_removals;
$$;
COMMENT ON FUNCTION eventstore.reset_tallies() IS 'Has all events counted anew: for an owner who has put events into the table by himself, or taken some out.';
REVOKE ALL ON FUNCTION eventstore.reset_tallies() FROM PUBLIC;

-- Within bounds, a category and a tenant each, of which one may be null; no bounds: all. Of a category that is seen as a whole no tenant
-- counts a second time.
CREATE FUNCTION eventstore.count_tallies(head bigint, by_type boolean, categories text[], tenants text[], OUT name text, OUT events bigint, OUT streams bigint,
										 OUT first_position bigint, OUT last_position bigint, OUT last_recorded_at timestamptz) RETURNS SETOF record
	LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 100
	SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS
$$
	WITH b AS MATERIALIZED (
		SELECT c.category COLLATE "C" AS category, coalesce(c.tenant, '') COLLATE "C" AS tenant FROM unnest(count_tallies.categories, count_tallies.tenants) c (category, tenant)
		UNION ALL
		SELECT NULL, '' WHERE count_tallies.categories IS NULL
	), r AS MATERIALIZED (
		SELECT * FROM eventstore.retally(coalesce((SELECT s.upto FROM eventstore.tally_state s), 0), greatest(count_tallies.head, (SELECT s.upto FROM eventstore.tally_state s)))
	), t AS (
		SELECT t.* FROM eventstore.tallies t
		WHERE t.tenant = ANY (ARRAY(SELECT b.tenant FROM b))
		  AND NOT EXISTS (SELECT FROM r WHERE r.tenant = t.tenant AND r.category = t.category AND r.type = t.type)
		UNION ALL
		SELECT r.* FROM r WHERE r.events > 0
	), a AS (
		SELECT CASE WHEN count_tallies.by_type THEN t.type ELSE t.category END AS name, sum(t.events)::bigint AS events, sum(t.streams)::bigint AS streams,
			   min(t.first_position) AS first_position, max(t.last_position) AS last_position
		FROM t
		WHERE (t.type <> '') = count_tallies.by_type
		  AND EXISTS (SELECT FROM b WHERE b.tenant = t.tenant AND (b.category IS NULL OR b.category = t.category))
		  AND (t.tenant = '' OR NOT EXISTS (SELECT FROM b WHERE b.tenant = '' AND (b.category IS NULL OR b.category = t.category)))
		GROUP BY 1
	)
	SELECT a.name, a.events, a.streams, a.first_position, a.last_position, (SELECT e.recorded_at FROM eventstore.find_event(a.last_position) e)
	FROM a
$$;
COMMENT ON FUNCTION eventstore.count_tallies(bigint, boolean, text[], text[]) IS 'What find_tallies returns, whoever asks.';
REVOKE ALL ON FUNCTION eventstore.count_tallies(bigint, boolean, text[], text[]) FROM PUBLIC;

CREATE FUNCTION eventstore.find_tallies(by_type boolean, OUT name text, OUT events bigint, OUT streams bigint, OUT first_position bigint,
										OUT last_position bigint, OUT last_recorded_at timestamptz) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 SET search_path = pg_catalog, pg_temp SET jit = off AS 'MODULE_PATHNAME', 'es_find_tallies';
COMMENT ON FUNCTION eventstore.find_tallies(boolean) IS 'The rows of eventstore.categories, or of eventstore.types: of what the caller may see.';
REVOKE ALL ON FUNCTION eventstore.find_tallies(boolean) FROM PUBLIC;

CREATE VIEW eventstore.categories WITH (security_barrier) AS
	SELECT name COLLATE "C" AS category, events, streams, first_position, last_position, last_recorded_at FROM eventstore.find_tallies(false);
COMMENT ON VIEW eventstore.categories IS 'A row a category: what there is of it up to the head. Told without looking at the events.';
COMMENT ON COLUMN eventstore.categories.category IS 'Name of the category.';
COMMENT ON COLUMN eventstore.categories.events IS 'How many events it has; what was removed does not count.';
COMMENT ON COLUMN eventstore.categories.streams IS 'In how many streams these are.';
COMMENT ON COLUMN eventstore.categories.first_position IS 'Position of the first of them.';
COMMENT ON COLUMN eventstore.categories.last_position IS 'Position of the last of them.';
COMMENT ON COLUMN eventstore.categories.last_recorded_at IS 'When that one was recorded.';
REVOKE ALL ON TABLE eventstore.categories FROM PUBLIC;

CREATE VIEW eventstore.types WITH (security_barrier) AS
	SELECT name COLLATE "C" AS type, events, first_position, last_position, last_recorded_at FROM eventstore.find_tallies(true);
COMMENT ON VIEW eventstore.types IS 'A row a type of events: what there is of it up to the head. Told without looking at the events.';
COMMENT ON COLUMN eventstore.types.type IS 'Name of the type.';
COMMENT ON COLUMN eventstore.types.events IS 'How many events are of it; what was removed does not count.';
COMMENT ON COLUMN eventstore.types.first_position IS 'Position of the first of them.';
COMMENT ON COLUMN eventstore.types.last_position IS 'Position of the last of them.';
COMMENT ON COLUMN eventstore.types.last_recorded_at IS 'When that one was recorded.';
REVOKE ALL ON TABLE eventstore.types FROM PUBLIC;
