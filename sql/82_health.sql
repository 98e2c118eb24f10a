-- Health: whether all is well with the store, and what it has done. docs/monitoring.md says what each check means and what to do.

CREATE FUNCTION eventstore.find_stats(OUT appends bigint, OUT events bigint, OUT conflicts bigint, OUT retries bigint, OUT since timestamptz, OUT waiters bigint,
									  OUT head bigint, OUT last_position bigint, OUT oldest_beyond timestamptz) RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_find_stats';
COMMENT ON FUNCTION eventstore.find_stats() IS 'What eventstore.stats is made of: counters, null where the library is not preloaded; the head, and what is above it.';
REVOKE ALL ON FUNCTION eventstore.find_stats() FROM PUBLIC;

CREATE FUNCTION eventstore.find_processes(OUT is_preloaded boolean, OUT is_listed boolean, OUT worker_pid int, OUT runners int, OUT lacks_process boolean,
										  OUT broken_at timestamptz, OUT is_behind boolean, OUT is_fed boolean, OUT retention_interval int, OUT seal_interval int)
	RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_find_processes';
COMMENT ON FUNCTION eventstore.find_processes() IS 'Who works for this store, and whether positions are behind the events.';
REVOKE ALL ON FUNCTION eventstore.find_processes() FROM PUBLIC;

CREATE FUNCTION eventstore.find_unread(after bigint, categories text[], types text[], tenant text, partitions int, mine int[], OUT "position" bigint, OUT recorded_at timestamptz)
	RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_find_unread';
COMMENT ON FUNCTION eventstore.find_unread(bigint, text[], text[], text, int, int[]) IS
	'The first event after a position, up to the head, that somebody with these filters has to do; looked for among a thousand at each end.';
REVOKE ALL ON FUNCTION eventstore.find_unread(bigint, text[], text[], text, int, int[]) FROM PUBLIC;

CREATE FUNCTION eventstore.health_level(measure text, value double precision) RETURNS text
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_health_level';
COMMENT ON FUNCTION eventstore.health_level(text, double precision) IS 'ok, warning or critical, as the settings eventstore.health_... of a measure say.';
REVOKE ALL ON FUNCTION eventstore.health_level(text, double precision) FROM PUBLIC;

-- Not by the owner's rights: whose session it is, is for who asks to see or not.
CREATE VIEW eventstore.stats AS
	SELECT s.appends, s.events, s.conflicts, s.retries, s.waiters, s.head,
		   CASE WHEN s.last_position > s.head THEN
				greatest(0, extract(epoch FROM pg_catalog.clock_timestamp() - least(s.oldest_beyond, (SELECT min(i.xact_start) FROM eventstore.find_inflight() i)))::double precision)
		   ELSE 0 END AS head_lag_seconds,
		   s.last_position - s.head AS head_lag_positions, s.since
	FROM eventstore.find_stats() s;
COMMENT ON VIEW eventstore.stats IS 'What the store has done and how far it is. One row; the first four columns are null where the library is not in shared_preload_libraries.';
COMMENT ON COLUMN eventstore.stats.appends IS 'How many appends were committed: calls, or entries of es_append_streams. Those of prepared transactions are not counted.';
COMMENT ON COLUMN eventstore.stats.events IS 'How many events these stored.';
COMMENT ON COLUMN eventstore.stats.conflicts IS 'How many appends, and calls of es_assert_version, were refused with SE001 or SE004.';
COMMENT ON COLUMN eventstore.stats.retries IS 'How many appends were exact retries, which stored nothing.';
COMMENT ON COLUMN eventstore.stats.waiters IS 'How many sessions wait for events at this moment, in es_wait or es_fetch.';
COMMENT ON COLUMN eventstore.stats.head IS 'Position up to which the store is settled, as es_head() tells.';
COMMENT ON COLUMN eventstore.stats.head_lag_seconds IS 'For how long the head is held back: age of the oldest transaction that appends, or of the first event that can not be read yet; 0 = it is not.';
COMMENT ON COLUMN eventstore.stats.head_lag_positions IS 'How far the last position is above the head; gaps included.';
COMMENT ON COLUMN eventstore.stats.since IS 'Since when appends, events, conflicts and retries are counted: the start of the server, or of the store. Null = they are not.';
REVOKE ALL ON TABLE eventstore.stats FROM PUBLIC;

CREATE TYPE eventstore.health_check AS
(
	name   text COLLATE "C",
	status text COLLATE "C",
	value  double precision,
	detail text,
	since  timestamptz
);
COMMENT ON TYPE eventstore.health_check IS 'A row of eventstore.health.';

-- The worst of what is told of several things.
CREATE FUNCTION eventstore.worst(levels text[]) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN 'critical' = ANY (levels) THEN 'critical' WHEN 'warning' = ANY (levels) THEN 'warning' ELSE 'ok' END;
COMMENT ON FUNCTION eventstore.worst(text[]) IS 'The worst of some levels of health.';
REVOKE ALL ON FUNCTION eventstore.worst(text[]) FROM PUBLIC;

-- With the rights of who asks: he is told of the session what pg_stat_activity shows him.
CREATE FUNCTION eventstore.check_head() RETURNS SETOF eventstore.health_check
	LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 1 SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH holders AS MATERIALIZED (
		SELECT i.pid, i.xact_start, i.lowest_position,
			   CASE WHEN i.pid IS NULL THEN
						format('prepared transaction %L', (SELECT min(x.gid) FROM pg_prepared_xacts x WHERE x.prepared = i.xact_start AND x.database = current_database()))
					ELSE format('process %s', i.pid) || coalesce(format(' (%s)', nullif(a.application_name, '')), '') || coalesce(', ' || nullif(a.state, ''), '') END AS who
		FROM eventstore.find_inflight() i LEFT JOIN pg_stat_activity a ON a.pid = i.pid
	), l AS (
		SELECT s.head, s.head_lag_seconds AS seconds, s.head_lag_positions AS positions,
			   (SELECT h.who FROM holders h ORDER BY h.lowest_position, h.xact_start LIMIT 1) AS who, (SELECT count(*) FROM holders) AS holders,
			   (SELECT h.pid FROM holders h ORDER BY h.lowest_position, h.xact_start LIMIT 1) AS pid
		FROM eventstore.stats s
	)
	SELECT 'head', eventstore.health_level('head_lag', l.seconds), l.seconds,
		   CASE WHEN l.seconds = 0 THEN format('The head is at %s, and nothing holds it back.', l.head)
				WHEN l.who IS NULL THEN format('The head is at %s and is not told further yet: the last event is %s positions above it.', l.head, l.positions)
				ELSE format('The head is held back at %s by %s, which has an append open%s. End that transaction: COMMIT, ROLLBACK, or %s.', l.head, l.who,
							CASE WHEN l.holders > 1 THEN format(', as have %s more', l.holders - 1) ELSE '' END,
							CASE WHEN l.pid IS NULL THEN 'COMMIT PREPARED or ROLLBACK PREPARED' ELSE format('pg_terminate_backend(%s)', l.pid) END) END,
		   CASE WHEN l.seconds > 0 THEN clock_timestamp() - make_interval(secs => l.seconds) END
	FROM l
$$;
COMMENT ON FUNCTION eventstore.check_head() IS 'Check of eventstore.health: whether the head is held back, and by whom.';
REVOKE ALL ON FUNCTION eventstore.check_head() FROM PUBLIC;

CREATE FUNCTION eventstore.check_processes() RETURNS SETOF eventstore.health_check
	LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 5 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH p AS MATERIALIZED (
		SELECT p.*, pg_is_in_recovery() AS is_standby,
			   (SELECT count(*) FROM eventstore.projections d WHERE d.mode = 'async' AND d.state = 'running') AS projections,
			   (SELECT count(*) FROM eventstore.retention) AS rules
		FROM eventstore.find_processes() p
	), w AS (
		SELECT p.*, concat_ws(', ', CASE WHEN p.projections > 0 THEN format('%s async projections', p.projections) END,
							  CASE WHEN p.rules > 0 THEN format('%s rules of retention', p.rules) END,
							  CASE WHEN p.seal_interval > 0 THEN 'seals' END) AS work
		FROM p
	)
	SELECT 'worker',
		   CASE WHEN w.worker_pid IS NOT NULL OR w.is_standby THEN 'ok' WHEN w.is_preloaded AND w.is_listed THEN 'critical' WHEN w.work <> '' THEN 'warning' ELSE 'ok' END,
		   CASE WHEN w.worker_pid IS NULL THEN 0 ELSE 1 END,
		   CASE WHEN w.worker_pid IS NOT NULL THEN format('The worker of this database is process %s.', w.worker_pid)
				WHEN w.is_standby THEN 'A standby has no worker.'
				ELSE 'This database has no worker: '
					 || CASE WHEN NOT w.is_preloaded THEN 'the library is not in shared_preload_libraries.'
							 WHEN NOT w.is_listed THEN 'it is not in eventstore.databases.'
							 ELSE 'it has ended or could not be started; see the server''s log, and max_worker_processes.' END
					 || CASE WHEN w.work <> '' THEN format(' Nobody does by himself what is to be done here: %s.', w.work) ELSE '' END END,
		   CASE WHEN w.worker_pid IS NULL AND w.is_preloaded AND w.is_listed AND NOT w.is_standby THEN pg_postmaster_start_time() END
	FROM w
	UNION ALL
	SELECT 'runners',
		   CASE WHEN p.projections > 0 AND p.worker_pid IS NOT NULL AND p.lacks_process THEN 'critical'
				WHEN p.projections > 0 AND p.broken_at > clock_timestamp() - interval '1 min' THEN 'warning' ELSE 'ok' END,
		   p.runners,
		   CASE WHEN p.projections > 0 AND p.worker_pid IS NOT NULL AND p.lacks_process THEN
					'There is no free process to apply async projections: raise max_worker_processes.'
				WHEN p.projections > 0 AND p.broken_at > clock_timestamp() - interval '1 min' THEN
					format('A process that applies async projections has died at %s; see the server''s log and eventstore.projection_status.', p.broken_at)
				WHEN p.projections = 0 THEN 'There are no async projections to apply.'
				ELSE format('%s processes apply %s async projections.', p.runners, p.projections) END,
		   CASE WHEN p.projections > 0 THEN p.broken_at END
	FROM p
	UNION ALL
	SELECT 'sequence', CASE WHEN p.is_behind AND NOT p.is_fed THEN 'critical' ELSE 'ok' END, CASE WHEN p.is_behind AND NOT p.is_fed THEN 1 ELSE 0 END,
		   CASE WHEN p.is_fed THEN 'Events come by logical replication, and positions with them.'
				WHEN p.is_behind THEN 'Positions are behind the events that are stored, and appends are refused: the sequence was set back, or events came without it. Call es_repair_positions().'
				ELSE 'Positions go on above all events.' END, NULL
	FROM p
	UNION ALL
	SELECT 'notify', eventstore.health_level('notify_queue', n.queue_usage * 100), n.queue_usage * 100,
		   format('The server''s queue of notifications is full to %s %%%s', round((n.queue_usage * 100)::numeric, 1),
				  CASE WHEN n.is_queue_full THEN ': NOTIFY is not sent until it has room. End the sessions that LISTEN and stay in a transaction.'
					   WHEN n.sent_by IS NULL THEN '; eventstore.notify is off.' ELSE format('; the %s sends NOTIFY.', n.sent_by) END), NULL
	FROM eventstore.find_notify_status() n
$$;
COMMENT ON FUNCTION eventstore.check_processes() IS 'Checks of eventstore.health: worker, runners, sequence, notify.';
REVOKE ALL ON FUNCTION eventstore.check_processes() FROM PUBLIC;

CREATE FUNCTION eventstore.check_projections() RETURNS SETOF eventstore.health_check
	LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 2 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH p AS MATERIALIZED (
		SELECT s.name, s.mode, s.state, s.last_error, s.last_error_code, s.last_error_position, s.last_error_at, s.obstacle, s.runner_pid FROM eventstore.projection_status s
	), f AS (
		SELECT p.*, row_number() OVER (ORDER BY p.last_error_at, p.name) AS n FROM p WHERE p.state = 'failed'
	), b AS MATERIALIZED (
		SELECT p.name, p.obstacle, p.runner_pid, u.position, u.recorded_at, row_number() OVER (ORDER BY u.recorded_at, p.name) AS n,
			   greatest(extract(epoch FROM clock_timestamp() - u.recorded_at), 0)::double precision AS seconds
		FROM p JOIN eventstore.projections d ON d.name = p.name
		CROSS JOIN LATERAL eventstore.find_unread(
			coalesce((SELECT k.position FROM eventstore.projection_checkpoints k WHERE k.projection = p.name ORDER BY k.revision DESC LIMIT 1), d.position),
			d.categories, d.types, NULL, NULL, NULL) u
		WHERE p.mode = 'async' AND p.state = 'running' AND u.position IS NOT NULL
	)
	SELECT 'projections_failed', CASE WHEN count(*) > 0 THEN 'critical' ELSE 'ok' END, count(*),
		   CASE WHEN count(*) = 0 THEN 'No projection has failed.' ELSE
				string_agg(format('Projection "%s" has stopped%s: %s (%s).', f.name, ' before position ' || f.last_error_position, f.last_error, f.last_error_code), ' ' ORDER BY f.n) FILTER (WHERE f.n <= 5)
				|| CASE WHEN count(*) > 5 THEN format(' And %s more.', count(*) - 5) ELSE '' END
				|| ' Mend the cause, then es_resume_projection, es_skip_event or es_rebuild_projection; see eventstore.projection_status.' END,
		   min(f.last_error_at)
	FROM f
	UNION ALL
	SELECT 'projections_behind', eventstore.health_level('projection_lag', coalesce(max(b.seconds), 0)), coalesce(max(b.seconds), 0),
		   CASE WHEN count(*) = 0 THEN 'Every running async projection has been applied to all events.' ELSE
				string_agg(format('Projection "%s" was not applied to the event at position %s, of %s s ago%s.', b.name, b.position, round(b.seconds),
								  CASE WHEN b.obstacle IS NOT NULL THEN ': ' || b.obstacle WHEN b.runner_pid IS NOT NULL THEN format('; process %s is at it', b.runner_pid) ELSE '' END), ' ' ORDER BY b.n)
				FILTER (WHERE b.n <= 5) || CASE WHEN count(*) > 5 THEN format(' And %s more are behind.', count(*) - 5) ELSE '' END END,
		   min(b.recorded_at)
	FROM b
$$;
COMMENT ON FUNCTION eventstore.check_projections() IS 'Checks of eventstore.health: projections_failed, projections_behind.';
REVOKE ALL ON FUNCTION eventstore.check_projections() FROM PUBLIC;

-- Partitions that stand at the same place are looked for together. What waits for another attempt is not done either.
CREATE FUNCTION eventstore.check_subscriptions() RETURNS SETOF eventstore.health_check
	LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 2 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH d AS MATERIALIZED (
		SELECT s.name, s.category, s.tenant, s.types, d.division, d.partitions
		FROM eventstore.subscriptions s CROSS JOIN LATERAL eventstore.read_subscription_division(s.name) d WHERE NOT s.is_paused
	), p AS (
		SELECT DISTINCT ON (d.name, p) d.name, p AS partition, h.share, h.consumer, h.checkpoint, h.lease_end
		FROM d CROSS JOIN LATERAL eventstore.find_subscription_shares(d.name) h CROSS JOIN LATERAL generate_series(0, d.partitions - 1) p
		WHERE h.division = d.division AND get_bit(h.partitions, p) = 1 ORDER BY d.name, p, h.share DESC
	), r AS (
		SELECT d.name, @extschema@.es_partition(r.stream, d.partitions::bigint) AS partition, min(r.position) - 1 AS before
		FROM d CROSS JOIN LATERAL eventstore.find_subscription_retries(d.name) r
		WHERE r.due IS NOT NULL AND r.parked_at IS NULL AND NOT r.is_replayed GROUP BY 1, 2
	), h AS MATERIALIZED (
		SELECT d.name, d.category, d.tenant, d.types, d.partitions, min(p.consumer) AS consumer, min(p.lease_end) AS lease_end,
			   least(min(p.checkpoint), min(r.before)) AS after, array_agg(p.partition) AS mine
		FROM d JOIN p ON p.name = d.name LEFT JOIN r ON r.name = p.name AND r.partition = p.partition
		GROUP BY d.name, d.category, d.tenant, d.types, d.partitions, p.share
	), u AS MATERIALIZED (
		SELECT h.name, h.consumer, h.lease_end, u.position, u.recorded_at
		FROM h CROSS JOIN LATERAL eventstore.find_unread(h.after, CASE WHEN h.category IS NOT NULL THEN ARRAY[h.category] END, h.types, h.tenant, h.partitions, h.mine) u
		WHERE u.position IS NOT NULL
	), b AS MATERIALIZED (
		SELECT b.*, row_number() OVER (ORDER BY b.recorded_at, b.name) AS n, greatest(extract(epoch FROM clock_timestamp() - b.recorded_at), 0)::double precision AS seconds
		FROM (SELECT DISTINCT ON (u.name) u.* FROM u ORDER BY u.name, u.recorded_at) b
	), k AS (
		SELECT r.subscription, count(*) AS events, min(r.parked_at) AS since FROM eventstore.subscription_retries r WHERE r.parked_at IS NOT NULL GROUP BY r.subscription
	)
	SELECT 'subscriptions_behind', eventstore.health_level('subscription_lag', coalesce(max(b.seconds), 0)), coalesce(max(b.seconds), 0),
		   CASE WHEN count(*) = 0 THEN 'Every subscription has done all events.' ELSE
				string_agg(format('Subscription "%s" has not done the event at position %s, of %s s ago: %s.', b.name, b.position, round(b.seconds),
								  CASE WHEN b.consumer IS NULL THEN 'nobody fetches it' WHEN b.lease_end < clock_timestamp() THEN format('consumer "%s" has let its lease end', b.consumer)
									   ELSE format('consumer "%s" is at it', b.consumer) END), ' ' ORDER BY b.n) FILTER (WHERE b.n <= 5)
				|| CASE WHEN count(*) > 5 THEN format(' And %s more are behind.', count(*) - 5) ELSE '' END || ' See eventstore.subscription_status.' END,
		   min(b.recorded_at)
	FROM b
	UNION ALL
	SELECT 'parked', eventstore.health_level('parked', coalesce(sum(k.events), 0)), coalesce(sum(k.events), 0),
		   CASE WHEN count(*) = 0 THEN 'No event is parked.' ELSE
				string_agg(format('Subscription "%s" has parked %s.', k.subscription, k.events), ' ' ORDER BY k.events DESC, k.subscription)
				|| ' Look at eventstore.parked, then es_replay_parked or es_drop_parked.' END,
		   min(k.since)
	FROM k
$$;
COMMENT ON FUNCTION eventstore.check_subscriptions() IS 'Checks of eventstore.health: subscriptions_behind, parked.';
REVOKE ALL ON FUNCTION eventstore.check_subscriptions() FROM PUBLIC;

-- Those that are paused or have stopped are behind, too. What is parked was put aside.
CREATE FUNCTION eventstore.warn_of_followers(upto bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
DECLARE
	followers text;
BEGIN
	WITH d AS MATERIALIZED (
		SELECT s.name, s.category, s.tenant, s.types, d.division, d.partitions
		FROM eventstore.subscriptions s CROSS JOIN LATERAL eventstore.read_subscription_division(s.name) d
	), p AS (
		SELECT DISTINCT ON (d.name, p) d.name, p AS partition, h.share, h.checkpoint
		FROM d CROSS JOIN LATERAL eventstore.find_subscription_shares(d.name) h CROSS JOIN LATERAL generate_series(0, d.partitions - 1) p
		WHERE h.division = d.division AND get_bit(h.partitions, p) = 1 ORDER BY d.name, p, h.share DESC
	), h AS MATERIALIZED (
		SELECT d.name, d.category, d.tenant, d.types, d.partitions, min(p.checkpoint) AS after, array_agg(p.partition) AS mine
		FROM d JOIN p ON p.name = d.name GROUP BY d.name, d.category, d.tenant, d.types, d.partitions, p.share
	), j AS MATERIALIZED (
		SELECT d.name, d.categories, d.types,
			   coalesce((SELECT k.position FROM eventstore.projection_checkpoints k WHERE k.projection = d.name ORDER BY k.revision DESC LIMIT 1), d.position) AS after
		FROM eventstore.projections d WHERE d.mode = 'async'
	), b AS (
		SELECT DISTINCT format('subscription "%s"', h.name) AS who
		FROM h CROSS JOIN LATERAL eventstore.find_unread(h.after, CASE WHEN h.category IS NOT NULL THEN ARRAY[h.category] END, h.types, h.tenant, h.partitions, h.mine) u
		WHERE h.after < upto - 1 AND u.position < upto
		UNION
		SELECT format('subscription "%s"', d.name) FROM d CROSS JOIN LATERAL eventstore.find_subscription_retries(d.name) r WHERE r.due IS NOT NULL AND r.position < upto
		UNION
		SELECT format('projection "%s"', j.name) FROM j CROSS JOIN LATERAL eventstore.find_unread(j.after, j.categories, j.types, NULL, NULL, NULL) u
		WHERE j.after < upto - 1 AND u.position < upto
	)
	SELECT string_agg(n.who, ', ' ORDER BY n.n) FILTER (WHERE n.n <= 5) || CASE WHEN count(*) > 5 THEN format(' and %s more', count(*) - 5) ELSE '' END INTO followers
	FROM (SELECT b.who, row_number() OVER (ORDER BY b.who COLLATE "C") AS n FROM b) n;
	IF followers IS NOT NULL THEN
		RAISE WARNING 'events leave the store that not everybody has done who follows it'
			USING DETAIL = format('Behind position %s: %s.', upto, followers),
				HINT = 'They pass over what is away. ROLLBACK, or es_attach_events() before they go on, gives it back to them.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.warn_of_followers(bigint) IS 'Warns of subscriptions and async projections that have not done an event before a position.';
REVOKE ALL ON FUNCTION eventstore.warn_of_followers(bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.check_replication() RETURNS SETOF eventstore.health_check
	LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 2 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH here AS MATERIALIZED (
		SELECT pg_is_in_recovery() AS is_standby, CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS lsn
	), s AS MATERIALIZED (
		-- Standbys of this server
		SELECT format('standby "%s" (process %s, %s) has replayed what is %s s old', r.application_name, r.pid, r.state, round(extract(epoch FROM r.replay_lag))) AS who,
			   coalesce(extract(epoch FROM r.replay_lag), 0)::double precision AS seconds, 'ok' AS status
		FROM pg_stat_replication r WHERE r.state IN ('streaming', 'catchup')
		UNION ALL
		-- This one, if it is one
		SELECT CASE WHEN w.status IS NULL THEN 'this standby receives nothing: see primary_conninfo and the server''s log' ELSE format('this standby has replayed what is %s s old', round(t.seconds)) END, t.seconds,
			   CASE WHEN w.status IS NULL THEN 'warning' ELSE 'ok' END
		FROM here LEFT JOIN (SELECT w.status FROM pg_stat_wal_receiver w LIMIT 1) w ON true
		CROSS JOIN LATERAL (SELECT CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND w.status IS NOT NULL THEN 0
										ELSE coalesce(greatest(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 0), 0) END::double precision AS seconds) t
		WHERE here.is_standby
		UNION ALL
		-- Subscriptions of PostgreSQL's that feed the events
		SELECT format('subscription "%s", which feeds eventstore.events, %s', b.subname,
					  CASE WHEN NOT b.subenabled THEN 'is disabled' WHEN a.pid IS NULL THEN 'has no process: see the server''s log' ELSE format('was told %s s ago', round(t.seconds)) END), t.seconds,
			   CASE WHEN NOT b.subenabled OR a.pid IS NULL THEN 'critical' ELSE 'ok' END
		FROM pg_subscription b JOIN pg_subscription_rel r ON r.srsubid = b.oid AND r.srrelid = 'eventstore.events'::regclass
		CROSS JOIN LATERAL (SELECT min(a.pid) AS pid, max(a.last_msg_receipt_time) AS last_msg_receipt_time FROM pg_stat_subscription a
							WHERE a.subid = b.oid AND a.relid IS NULL) a
		CROSS JOIN LATERAL (SELECT coalesce(greatest(extract(epoch FROM clock_timestamp() - a.last_msg_receipt_time), 0), 0)::double precision AS seconds) t
		UNION ALL
		SELECT format('this mirror waits: %s', rtrim(m.detail, '.')), 0, CASE WHEN m.detail ~ 'initial copy' THEN 'warning' ELSE 'critical' END
		FROM eventstore.find_mirror_status() m WHERE m.detail IS NOT NULL
	), o AS MATERIALIZED (
		SELECT l.slot_name, l.active, l.active_pid, l.wal_status, greatest(pg_wal_lsn_diff(here.lsn, l.restart_lsn), 0)::double precision / 1048576 AS mb
		FROM pg_replication_slots l CROSS JOIN here
		WHERE (l.database IS NULL OR l.database = current_database()) AND (l.restart_lsn IS NOT NULL OR l.wal_status = 'lost')
	)
	SELECT 'replication', eventstore.worst(array_agg(s.status) || eventstore.health_level('replication_lag', max(s.seconds))), coalesce(max(s.seconds), 0),
		   CASE WHEN count(*) = 0 THEN 'There is no standby, and no mirror.' ELSE upper(left(string_agg(s.who, '; ' ORDER BY s.seconds DESC), 1)) || substr(string_agg(s.who, '; ' ORDER BY s.seconds DESC), 2) || '.' END,
		   CASE WHEN max(s.seconds) > 0 THEN clock_timestamp() - make_interval(secs => max(s.seconds)) END
	FROM s
	UNION ALL
	SELECT 'slots', eventstore.worst(array_agg(CASE WHEN o.wal_status = 'lost' THEN 'critical' END) || eventstore.health_level('slot_wal', max(o.mb))), coalesce(max(o.mb), 0),
		   CASE WHEN count(*) = 0 THEN 'There are no replication slots.' ELSE
				string_agg(format('Slot "%s" keeps %s MB of WAL%s.', o.slot_name, round(coalesce(o.mb, 0)), CASE WHEN o.wal_status = 'lost' THEN ' and has lost what it needs: drop it, and make its consumer anew'
					WHEN o.active THEN format('; process %s reads it', o.active_pid) ELSE ', and nobody reads it: start its consumer, or pg_drop_replication_slot' END), ' ' ORDER BY o.mb DESC NULLS FIRST) END,
		   NULL
	FROM o
$$;
COMMENT ON FUNCTION eventstore.check_replication() IS 'Checks of eventstore.health: replication, slots.';
REVOKE ALL ON FUNCTION eventstore.check_replication() FROM PUBLIC;

-- Of a rule by age: for how long its oldest event should be gone. Of one by number, of which only counting would tell: how long ago it was
-- applied to all of its streams.
CREATE FUNCTION eventstore.check_keeping() RETURNS SETOF eventstore.health_check
	LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 2 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_seqscan = off SET enable_bitmapscan = off AS
$$
	WITH p AS MATERIALIZED (
		SELECT p.retention_interval, p.seal_interval FROM eventstore.find_processes() p
	), r AS MATERIALIZED (
		SELECT r.name, r.applied_at, greatest(
				extract(epoch FROM clock_timestamp() - (e.recorded_at + r.max_age)),
				CASE WHEN r.max_count IS NOT NULL THEN extract(epoch FROM clock_timestamp() - r.applied_at) END, 0)::double precision - p.retention_interval AS seconds
		FROM p CROSS JOIN eventstore.retention r
		CROSS JOIN LATERAL (SELECT CASE WHEN r.max_age IS NOT NULL THEN eventstore.seek_oldest(r.name, r.name ~ '-') END AS recorded_at) e
	), s AS MATERIALIZED (
		SELECT p.seal_interval, l.upto, l.sealed_at, u.position, u.recorded_at,
			   CASE WHEN p.seal_interval > 0 THEN greatest(extract(epoch FROM clock_timestamp() - u.recorded_at)::double precision - p.seal_interval, 0) END AS seconds
		FROM p LEFT JOIN (SELECT l.upto, l.sealed_at FROM eventstore.seals l ORDER BY l.seal DESC LIMIT 1) l ON true
		CROSS JOIN LATERAL eventstore.find_unread(coalesce(l.upto, 0), NULL, NULL, NULL, NULL, NULL) u
	), v AS MATERIALIZED (
		SELECT v.verified_at, v.differences FROM eventstore.seal_verifications v ORDER BY v.verified_at DESC LIMIT 1
	)
	SELECT 'retention', eventstore.health_level('retention_overdue', greatest(max(r.seconds), 0)), greatest(max(r.seconds), 0),
		   CASE WHEN count(*) = 0 THEN 'All events are kept for ever.'
				WHEN coalesce(max(r.seconds), 0) <= 0 THEN 'Retention is applied.'
				ELSE string_agg(format('Retention of "%s" is overdue for %s s%s.', r.name, round(r.seconds), coalesce('; it was applied to all of its streams at ' || r.applied_at, '')), ' ' ORDER BY r.seconds DESC)
					 FILTER (WHERE r.seconds > 0) || ' The worker applies it, or es_apply_retention(); what stops it, the server''s log tells.' END,
		   CASE WHEN max(r.seconds) > 0 THEN clock_timestamp() - make_interval(secs => max(r.seconds)) END
	FROM r
	UNION ALL
	SELECT 'seals', CASE WHEN v.differences > 0 THEN 'critical' ELSE eventstore.health_level('seal_overdue', s.seconds) END, s.seconds,
		   CASE WHEN v.differences > 0 THEN format('History is not what was sealed: es_verify_seals() has found %s %s at %s. Call it again, and compare with a backup. ', v.differences,
												   CASE WHEN v.differences = 1 THEN 'difference' ELSE 'differences' END, v.verified_at) ELSE '' END
		   || CASE WHEN s.upto IS NULL AND (s.seal_interval = 0 OR s.position IS NULL) THEN 'History is not sealed'
				   WHEN s.position IS NULL THEN format('All of history is sealed, up to %s', s.upto)
				   WHEN s.seal_interval = 0 THEN format('History is sealed up to %s, and not by itself: eventstore.seal_interval is 0', s.upto)
				   ELSE format('History is sealed up to %s; the event at position %s, of %s, is not%s', coalesce(s.upto, 0), s.position, s.recorded_at,
							   CASE WHEN s.seconds > 0 THEN ', and it is overdue. The worker seals, or es_seal(); what stops it, the server''s log tells' ELSE ' yet' END) END
		   || CASE WHEN s.upto IS NULL OR v.differences > 0 THEN '.' ELSE coalesce('; it was verified last at ' || v.verified_at || '.', '; it was never verified.') END,
		   CASE WHEN v.differences > 0 THEN v.verified_at WHEN s.seconds > 0 THEN s.recorded_at ELSE s.sealed_at END
	FROM s LEFT JOIN v ON true
$$;
COMMENT ON FUNCTION eventstore.check_keeping() IS 'Checks of eventstore.health: retention, seals.';
REVOKE ALL ON FUNCTION eventstore.check_keeping() FROM PUBLIC;

CREATE FUNCTION eventstore.check_tables() RETURNS SETOF eventstore.health_check
	LANGUAGE sql VOLATILE PARALLEL UNSAFE ROWS 3 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH t AS MATERIALIZED (
		SELECT c.oid, c.relname, pg_total_relation_size(c.oid)::double precision / 1048576 AS mb, pg_stat_get_live_tuples(c.oid) AS live, pg_stat_get_dead_tuples(c.oid) AS dead,
			   greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)) AS vacuumed_at,
			   (SELECT max(greatest(age(f.relfrozenxid), mxid_age(f.relminmxid))) FROM pg_class f WHERE f.oid IN (c.oid, c.reltoastrelid) AND f.relkind IN ('r', 't')) AS age
		FROM pg_class c WHERE c.relnamespace = 'eventstore'::regnamespace AND c.relkind IN ('r', 'p')
	), d AS (
		-- Of fewer dead rows there is no need to speak
		SELECT t.*, 100.0 * t.dead / (t.live + t.dead) AS percent FROM t WHERE t.dead >= 10000
	), worst AS (
		SELECT d.* FROM d ORDER BY d.percent DESC LIMIT 1
	), oldest AS (
		SELECT t.* FROM t WHERE t.age IS NOT NULL ORDER BY t.age DESC, t.mb DESC LIMIT 1
	)
	SELECT 'size', eventstore.health_level('size', sum(t.mb)), sum(t.mb),
		   format('The tables of the store have %s with their indexes; %s.', pg_size_pretty((sum(t.mb) * 1048576)::bigint),
				  (SELECT string_agg(format('%s: %s', b.relname, pg_size_pretty((b.mb * 1048576)::bigint)), ', ' ORDER BY b.mb DESC) FROM (SELECT * FROM t ORDER BY t.mb DESC LIMIT 3) b)), NULL
	FROM t
	UNION ALL
	SELECT 'vacuum', eventstore.health_level('dead_rows', w.percent), coalesce(w.percent, 0),
		   CASE WHEN w.relname IS NULL THEN 'No table of the store has many dead rows.'
				ELSE format('Of the rows of eventstore.%s, %s %% are dead%s. Look for sessions and slots that hold old snapshots (pg_stat_activity.backend_xmin), and at autovacuum''s settings; VACUUM eventstore.%s.',
							w.relname, round(w.percent::numeric), coalesce('; it was vacuumed at ' || w.vacuumed_at, '; it was never vacuumed'), w.relname) END, w.vacuumed_at
	FROM (SELECT 1) one LEFT JOIN worst w ON true
	UNION ALL
	SELECT 'freeze', eventstore.health_level('freeze_age', o.age), o.age,
		   format('The oldest transaction in eventstore.%s is %s transactions old; at two thousand millions the server refuses writes%s', o.relname, o.age,
				  CASE WHEN eventstore.health_level('freeze_age', o.age) = 'ok' THEN '.'
					   ELSE format('. VACUUM (FREEZE) eventstore.%s, and find what keeps autovacuum from it: old transactions, prepared ones, slots.', o.relname) END), NULL
	FROM oldest o
$$;
COMMENT ON FUNCTION eventstore.check_tables() IS 'Checks of eventstore.health: size, vacuum, freeze.';
REVOKE ALL ON FUNCTION eventstore.check_tables() FROM PUBLIC;

CREATE VIEW eventstore.health AS
	SELECT name, status, value, detail, since FROM eventstore.check_head()
	UNION ALL SELECT name, status, value, detail, since FROM eventstore.check_processes()
	UNION ALL SELECT name, status, value, detail, since FROM eventstore.check_projections()
	UNION ALL SELECT name, status, value, detail, since FROM eventstore.check_subscriptions()
	UNION ALL SELECT name, status, value, detail, since FROM eventstore.check_replication()
	UNION ALL SELECT name, status, value, detail, since FROM eventstore.check_keeping()
	UNION ALL SELECT name, status, value, detail, since FROM eventstore.check_tables();
COMMENT ON VIEW eventstore.health IS 'Whether all is well with the store: one row a check, always the same ones.';
COMMENT ON COLUMN eventstore.health.name IS 'Name of the check; docs/monitoring.md tells of each.';
COMMENT ON COLUMN eventstore.health.status IS 'ok, warning or critical.';
COMMENT ON COLUMN eventstore.health.value IS 'What it goes by, in the unit of the check''s settings eventstore.health_...; null = nothing to measure.';
COMMENT ON COLUMN eventstore.health.detail IS 'What is the matter, who or what it is about, and what to do.';
COMMENT ON COLUMN eventstore.health.since IS 'Since when, where that is known.';
REVOKE ALL ON TABLE eventstore.health FROM PUBLIC;
