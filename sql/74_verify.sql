-- Verify: is the store what it should be?

-- What stands beside the events, in one query. es_verify calls it as the owner of the store; STABLE, so that it sees what the snapshot of es_verify sees.
CREATE FUNCTION eventstore.find_strays(head bigint, last_position bigint, OUT check_name text, OUT stream text, OUT detail text) RETURNS SETOF record
	LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 10 SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	-- Who has read further than anybody can
	SELECT 'subscription', NULL::text, format('a share of subscription "%s" is at position %s, the head at %s', h.subscription, greatest(h.checkpoint, h.scanned, h.delivered, h.acked), find_strays.head)
	FROM eventstore.subscription_shares h WHERE greatest(h.checkpoint, h.scanned, h.delivered, h.acked) > find_strays.head
	UNION ALL
	SELECT 'subscription', NULL, format('the partitions of subscription "%s" end at position %s, but the last one given out is %s', s.name, s.drain_to, last_position)
	FROM eventstore.subscriptions s WHERE s.drain_to > last_position
	UNION ALL
	SELECT 'subscription', r.stream, format('subscription "%s" waits for an event at position %s, but the last one given out is %s', r.subscription, r.position, last_position)
	FROM eventstore.subscription_retries r WHERE r.position > last_position
	UNION ALL
	SELECT 'projection', NULL, format('projection "%s" is at position %s, the head at %s', p.name, coalesce(c.position, p.position), find_strays.head)
	FROM eventstore.projections p LEFT JOIN eventstore.projection_checkpoints c ON c.projection = p.name
	WHERE coalesce(c.position, p.position) > CASE p.mode WHEN 'async' THEN find_strays.head ELSE last_position END
	UNION ALL
	SELECT 'head', NULL, format('the head was announced at position %s, but the last one given out is %s', h.position, last_position)
	FROM eventstore.head h WHERE h.position > last_position
	UNION ALL
	-- The number of a token stands before 16 bits of chance: src/subscription/share.c.
	SELECT 'sequence', NULL, format('number %s is in use in eventstore.subscription_shares, but the last one given out is %s; es_repair_positions() mends it', n.highest, t.last_value)
	FROM (SELECT greatest(max(h.share), max(h.token >> 16), max(h.division)) AS highest FROM eventstore.subscription_shares h) n, eventstore.subscription_tokens t
	WHERE n.highest > t.last_value
	UNION ALL
	-- Rows of what is not there
	SELECT DISTINCT 'orphan', NULL, format('eventstore.%s names subscription "%s", which is not there', o.relation, o.subscription)
	FROM (SELECT 'subscription_shares' AS relation, h.subscription FROM eventstore.subscription_shares h
		  UNION ALL SELECT 'subscription_retries', r.subscription FROM eventstore.subscription_retries r) o
	WHERE NOT EXISTS (SELECT FROM eventstore.subscriptions s WHERE s.name = o.subscription)
	UNION ALL
	SELECT DISTINCT 'orphan', NULL, format('eventstore.%s names projection "%s", which is not there', o.relation, o.projection)
	FROM (SELECT 'projection_appends' AS relation, a.projection FROM eventstore.projection_appends a
		  UNION ALL SELECT 'skipped_events', e.projection FROM eventstore.skipped_events e
		  UNION ALL SELECT 'projection_missed', m.projection FROM eventstore.projection_missed m
		  UNION ALL SELECT 'stale_projections', t.projection FROM eventstore.stale_projections t
		  UNION ALL SELECT 'projection_needs', n.projection FROM eventstore.projection_needs n
		  UNION ALL SELECT 'local_projections', l.projection FROM eventstore.local_projections l) o
	WHERE NOT EXISTS (SELECT FROM eventstore.projections p WHERE p.name = o.projection)
	UNION ALL
	SELECT 'orphan', o.stream, format('eventstore.%s names an event at position %s, which is not there', o.relation, o.position)
	FROM (SELECT 'subscription_retries' AS relation, r.stream, r.position FROM eventstore.subscription_retries r
		  UNION ALL SELECT 'projection_appends', NULL, a.position FROM eventstore.projection_appends a
		  UNION ALL SELECT 'projection_missed', NULL, m.position FROM eventstore.projection_missed m
		  UNION ALL SELECT 'skipped_events', NULL, s.position FROM eventstore.skipped_events s) o
	WHERE NOT EXISTS (SELECT FROM eventstore.events e WHERE e.position = o.position)
	  AND NOT EXISTS (SELECT FROM eventstore.gone_events g WHERE g.position = o.position)
	UNION ALL
	SELECT 'orphan', k.stream, 'eventstore.snapshots has a snapshot of it, but it has no row in eventstore.streams'
	FROM eventstore.snapshots k WHERE NOT EXISTS (SELECT FROM eventstore.streams s WHERE s.stream = k.stream)
	UNION ALL
	SELECT 'orphan', b.stream, 'eventstore.beginnings says where it begins, but it has no row in eventstore.streams'
	FROM eventstore.beginnings b WHERE NOT EXISTS (SELECT FROM eventstore.streams s WHERE s.stream = b.stream)
$$;
COMMENT ON FUNCTION eventstore.find_strays(bigint, bigint) IS 'What es_verify finds beside the events: checkpoints above the head, rows of what is not there.';
REVOKE ALL ON FUNCTION eventstore.find_strays(bigint, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_verify(OUT check_name text, OUT stream text, OUT detail text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_verify';
COMMENT ON FUNCTION @extschema@.es_verify() IS
	'What is wrong with the store: versions, positions, ids, streams, indexes, checkpoints. No row: it is sound.';
REVOKE ALL ON FUNCTION @extschema@.es_verify() FROM PUBLIC;
