-- Mirrors: a store whose events come from another one, by logical replication, and that is read without a gap all the while.

-- Whoever waits for events goes on where the head moves, and it comes by this row.
CREATE TRIGGER replicated_head_is_noted AFTER INSERT OR UPDATE ON eventstore.head
	FOR EACH ROW EXECUTE FUNCTION eventstore.note_foreign_events();
ALTER TABLE eventstore.head ENABLE REPLICA TRIGGER replicated_head_is_noted;
COMMENT ON TRIGGER replicated_head_is_noted ON eventstore.head IS 'Notes that the head comes by logical replication.';

CREATE FUNCTION @extschema@.es_announce_head() RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	head bigint := @extschema@.es_head();
BEGIN
	IF (SELECT m.is_mirror FROM eventstore.member m) THEN
		RAISE EXCEPTION 'this store is a mirror' USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'Its head comes from another store, by logical replication.';
	END IF;
	INSERT INTO eventstore.head AS h (position) VALUES (head)
	ON CONFLICT (only_row) DO UPDATE SET position = excluded.position WHERE h.position < excluded.position;
	RETURN head;
END
$$;
COMMENT ON FUNCTION @extschema@.es_announce_head() IS
	'Writes the head where mirrors and standbys read it, and returns it; a worker does so by itself.';
REVOKE ALL ON FUNCTION @extschema@.es_announce_head() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_set_mirror() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
BEGIN
	-- What others have stored since its snapshot was taken would not be seen.
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE EXCEPTION 'es_set_mirror() can only be called in a READ COMMITTED transaction' USING ERRCODE = 'active_sql_transaction';
	END IF;
	own := eventstore.open_map();
	IF own.is_mirror THEN
		RETURN;
	END IF;
	IF own.cell IS NOT NULL THEN
		RAISE EXCEPTION 'a cell can be no mirror' USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'es_unset_cell() makes it an ordinary store.';
	END IF;
	-- Also against readers: a transaction that has read goes on to take the store for what it was, and its head would be that of one.
	LOCK TABLE eventstore.events IN ACCESS EXCLUSIVE MODE;
	IF EXISTS (SELECT FROM eventstore.events) OR EXISTS (SELECT FROM eventstore.removed_events) OR
	   EXISTS (SELECT FROM eventstore.streams WHERE version > 0) THEN
		RAISE EXCEPTION 'a store that has events can be no mirror' USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'Nobody knows what its readers have passed over.',
			HINT = 'Call it in a store that is empty, before the subscription that feeds it is created.';
	END IF;
	IF EXISTS (SELECT FROM eventstore.projections WHERE mode = 'inline') THEN
		RAISE EXCEPTION 'a mirror has no inline projections' USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = 'Appends apply them, and its events come by logical replication.',
			HINT = 'Drop them, and make async ones.';
	END IF;
	-- Partitions are made by appends, and it has none.
	IF EXISTS (SELECT FROM pg_class WHERE oid = 'eventstore.events'::regclass AND relkind = 'p') THEN
		RAISE EXCEPTION 'a partitioned store can be no mirror' USING ERRCODE = 'feature_not_supported',
			HINT = 'Make the store anew, and call es_partition_events() when it has become a store of its own.';
	END IF;
	-- What would be in the way of rows that come.
	LOCK TABLE eventstore.head IN ACCESS EXCLUSIVE MODE;
	DELETE FROM eventstore.head;
	DELETE FROM eventstore.marks;
	DELETE FROM eventstore.streams;
	DELETE FROM eventstore.feeds;
	DELETE FROM eventstore.used_feeds;
	UPDATE eventstore.member SET is_mirror = true, epoch = epoch + 1;
	PERFORM eventstore.put_up_fence();
END
$$;
COMMENT ON FUNCTION @extschema@.es_set_mirror() IS
	'Makes this store, which is empty, a mirror: its events, streams and head come from another one by logical replication, and appends raise 55000.';
REVOKE ALL ON FUNCTION @extschema@.es_set_mirror() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_unset_mirror() RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member := eventstore.open_map();
BEGIN
	IF own.is_mirror THEN
		UPDATE eventstore.member SET is_mirror = false, epoch = epoch + 1;
		PERFORM eventstore.put_up_fence();
	END IF;
	-- With all its arguments, as wherever names are looked up late: nobody can make a function that fits better.
	RETURN @extschema@.es_repair_positions(0::bigint);
END
$$;
COMMENT ON FUNCTION @extschema@.es_unset_mirror() IS
	'Makes a mirror that is fed no more a store of its own, whose positions go on above all that came; returns the last one given out.';
REVOKE ALL ON FUNCTION @extschema@.es_unset_mirror() FROM PUBLIC;

-- A function, as most roles may not see subscriptions.
CREATE FUNCTION eventstore.find_mirror_status(OUT subscription text, OUT is_whole boolean, OUT head bigint, OUT detail text) RETURNS SETOF record
	LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH feeds AS (
		SELECT w.name, count(r.srsubid) AS feeds, min(s.subname::text) AS subscription, bool_and(r.srsubstate = 'r') AS is_ready
		FROM unnest('{events,streams,head}'::text[]) WITH ORDINALITY AS w (name, n)
		LEFT JOIN pg_subscription_rel r ON r.srrelid = ('eventstore.' || w.name)::regclass
		LEFT JOIN pg_subscription s ON s.oid = r.srsubid
		GROUP BY w.name, w.n ORDER BY w.n
	)
	SELECT (SELECT f.subscription FROM feeds f WHERE f.name = 'events'),
		   (SELECT bool_and(f.feeds = 1 AND f.is_ready) AND count(DISTINCT f.subscription) = 1 FROM feeds f),
		   @extschema@.es_head(),
		   (SELECT CASE WHEN count(*) FILTER (WHERE f.feeds = 0) = 3 THEN 'No subscription feeds it.'
						WHEN bool_or(f.feeds = 0) THEN 'Not fed: ' || string_agg(f.name, ', ') FILTER (WHERE f.feeds = 0) || '. Add it to the publication.'
						WHEN bool_or(f.feeds > 1) OR count(DISTINCT f.subscription) > 1 THEN 'Several subscriptions feed it; it takes one.'
						WHEN NOT bool_and(f.is_ready) THEN 'The initial copy is not over: ' || string_agg(f.name, ', ') FILTER (WHERE NOT f.is_ready) || '.'
						WHEN NOT EXISTS (SELECT FROM eventstore.head) THEN 'The other store has not announced a head: it needs a worker, or es_announce_head().' END
			FROM feeds f)
	WHERE EXISTS (SELECT FROM eventstore.member m WHERE m.is_mirror)
$$;
COMMENT ON FUNCTION eventstore.find_mirror_status() IS 'The row of eventstore.mirror_status.';
REVOKE ALL ON FUNCTION eventstore.find_mirror_status() FROM PUBLIC;

CREATE VIEW eventstore.mirror_status AS
	SELECT subscription, is_whole, head, detail FROM eventstore.find_mirror_status();
COMMENT ON VIEW eventstore.mirror_status IS 'How far a mirror is; no row where the store is none.';
COMMENT ON COLUMN eventstore.mirror_status.subscription IS 'The subscription of PostgreSQL''s that feeds it.';
COMMENT ON COLUMN eventstore.mirror_status.is_whole IS 'Whether the initial copy is over; until then the head is 0.';
COMMENT ON COLUMN eventstore.mirror_status.head IS 'Its head.';
COMMENT ON COLUMN eventstore.mirror_status.detail IS 'What it waits for; null = for nothing.';
REVOKE ALL ON TABLE eventstore.mirror_status FROM PUBLIC;
