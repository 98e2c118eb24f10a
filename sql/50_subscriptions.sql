-- Subscriptions: consumer groups. Who works on which partitions, how far they are, and what waits for another attempt.

CREATE TABLE eventstore.subscriptions
(
	name            text COLLATE "C" NOT NULL CONSTRAINT subscriptions_pkey PRIMARY KEY,
	category        text COLLATE "C",
	types           text[] COLLATE "C",
	partitions      int              NOT NULL,
	max_retries     int              NOT NULL,
	lease           interval         NOT NULL,
	park_policy     text COLLATE "C" NOT NULL,
	division        bigint           NOT NULL,
	next_partitions int,
	drain_to        bigint,
	next_division   bigint,
	is_paused       boolean          NOT NULL DEFAULT false,
	revision        bigint           NOT NULL DEFAULT 0,
	tenant          text COLLATE "C",
	closed_after    bigint
);
COMMENT ON TABLE eventstore.subscriptions IS 'One row a subscription: what it sees, and its settings.';
COMMENT ON COLUMN eventstore.subscriptions.name IS 'Name of the subscription, 1 to 512 bytes.';
COMMENT ON COLUMN eventstore.subscriptions.category IS 'Only events of this category; null = of all.';
COMMENT ON COLUMN eventstore.subscriptions.types IS 'Only events of these types; null = of all.';
COMMENT ON COLUMN eventstore.subscriptions.partitions IS 'Into how many partitions the streams are divided.';
COMMENT ON COLUMN eventstore.subscriptions.max_retries IS 'How many times an event is delivered again before it is parked.';
COMMENT ON COLUMN eventstore.subscriptions.lease IS 'How long a consumer that does not call keeps its partitions.';
COMMENT ON COLUMN eventstore.subscriptions.park_policy IS 'Whether later events of a stream pass a parked one, or wait: pass or block_stream.';
COMMENT ON COLUMN eventstore.subscriptions.division IS 'Number of the division into partitions; rows of other divisions do not count.';
COMMENT ON COLUMN eventstore.subscriptions.next_partitions IS 'Into how many it will be divided when the present partitions are drained; null = no change is due.';
COMMENT ON COLUMN eventstore.subscriptions.drain_to IS 'The present partitions end at this position; null = nowhere.';
COMMENT ON COLUMN eventstore.subscriptions.next_division IS 'Number of that division: it is the present one as soon as they are drained, whether this row says so yet or not.';
COMMENT ON COLUMN eventstore.subscriptions.is_paused IS 'Whether nothing is delivered.';
COMMENT ON COLUMN eventstore.subscriptions.revision IS 'Number of the present definition: what a fetch has read under another one it reads anew.';
COMMENT ON COLUMN eventstore.subscriptions.tenant IS 'Only events of this tenant''s streams; null = of all.';
COMMENT ON COLUMN eventstore.subscriptions.closed_after IS 'In a cell that was split off: it is paused until es_open_feed has it begin after this position; null = it is not closed.';
REVOKE ALL ON TABLE eventstore.subscriptions FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscriptions', '');

CREATE SEQUENCE eventstore.subscription_tokens AS bigint;
COMMENT ON SEQUENCE eventstore.subscription_tokens IS 'Gives out the numbers of shares and retries, and those that tokens begin with. It never goes back.';
REVOKE ALL ON SEQUENCE eventstore.subscription_tokens FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_tokens', '');

CREATE SEQUENCE eventstore.subscription_revisions AS bigint;
COMMENT ON SEQUENCE eventstore.subscription_revisions IS 'Gives out the numbers of revisions of shares and retries. It never goes back.';
REVOKE ALL ON SEQUENCE eventstore.subscription_revisions FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_revisions', '');

-- Written by every fetch and every ack: the updates have to be HOT, so nothing but the key is indexed, and the key stays as it is while the
-- page has room.
CREATE TABLE eventstore.subscription_shares
(
	subscription text COLLATE "C" NOT NULL,
	share        bigint           NOT NULL,
	division     bigint           NOT NULL,
	consumer     text COLLATE "C",
	partitions   bytea            NOT NULL,
	checkpoint   bigint           NOT NULL,
	attempts     bigint[]         NOT NULL,
	retried      bigint[]         NOT NULL,
	token        bigint           NOT NULL,
	delivered    bigint           NOT NULL,
	acked        bigint           NOT NULL,
	scanned      bigint           NOT NULL,
	lease_end    timestamptz      NOT NULL,
	place        int              NOT NULL,
	revision     bigint           NOT NULL,
	base         bigint           NOT NULL,
	CONSTRAINT subscription_shares_pkey PRIMARY KEY (subscription, place, revision)
)
WITH (fillfactor = 20);
CREATE INDEX subscription_shares_revision_idx ON eventstore.subscription_shares (subscription, revision, place);
COMMENT ON TABLE eventstore.subscription_shares IS 'Partitions of a subscription that stand at the same place, and who works on them. A partition belongs to the row of the highest number that has it.';
COMMENT ON COLUMN eventstore.subscription_shares.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN eventstore.subscription_shares.share IS 'Number of the share; a higher one takes its partitions from all lower ones.';
COMMENT ON COLUMN eventstore.subscription_shares.division IS 'Division into partitions that this is a part of.';
COMMENT ON COLUMN eventstore.subscription_shares.consumer IS 'Who works on it; null = nobody.';
COMMENT ON COLUMN eventstore.subscription_shares.partitions IS 'A bit for each partition of the subscription.';
COMMENT ON COLUMN eventstore.subscription_shares.checkpoint IS 'Every matching event up to this position is done, or has a row in subscription_retries.';
COMMENT ON COLUMN eventstore.subscription_shares.attempts IS 'Pairs of a position and a number: up to there, events after the checkpoint were delivered so many times.';
COMMENT ON COLUMN eventstore.subscription_shares.retried IS 'Pairs of a retry and a number: it was delivered so many times; counts in place of the retry''s own number. Negative: not by the last delivery.';
COMMENT ON COLUMN eventstore.subscription_shares.token IS 'Token of the last delivery; 0 = none.';
COMMENT ON COLUMN eventstore.subscription_shares.delivered IS 'Last position that was delivered under the token.';
COMMENT ON COLUMN eventstore.subscription_shares.acked IS 'Position up to which that was acknowledged.';
COMMENT ON COLUMN eventstore.subscription_shares.scanned IS 'Position up to which the delivery looked: the checkpoint when all of it is acknowledged.';
COMMENT ON COLUMN eventstore.subscription_shares.lease_end IS 'When the consumer may be replaced, unless it calls before.';
COMMENT ON COLUMN eventstore.subscription_shares.place IS 'Where it is found; nothing else has the same place at the same time.';
COMMENT ON COLUMN eventstore.subscription_shares.revision IS 'Of a place, only the highest one counts.';
COMMENT ON COLUMN eventstore.subscription_shares.base IS 'Until what wrote it is committed, the highest one up to this counts, too.';
REVOKE ALL ON TABLE eventstore.subscription_shares FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_shares', '');

CREATE TABLE eventstore.subscription_retries
(
	subscription       text COLLATE "C" NOT NULL,
	position           bigint           NOT NULL,
	stream             text COLLATE "C" NOT NULL,
	version            bigint           NOT NULL,
	retry              bigint           NOT NULL,
	attempts           int              NOT NULL,
	due                timestamptz,
	parked_at          timestamptz,
	is_blocking        boolean          NOT NULL,
	is_replayed        boolean          NOT NULL DEFAULT false,
	delivered_to       bigint           NOT NULL DEFAULT 0,
	delivered_attempts int              NOT NULL DEFAULT 0,
	reason             text COLLATE "C",
	place              int,
	revision           bigint,
	base               bigint,
	CONSTRAINT subscription_retries_pkey PRIMARY KEY (subscription, position)
);
CREATE UNIQUE INDEX subscription_retries_place_key ON eventstore.subscription_retries (subscription, place, revision) WHERE place IS NOT NULL;
CREATE INDEX subscription_retries_revision_idx ON eventstore.subscription_retries (subscription, revision, place) WHERE place IS NOT NULL;
CREATE INDEX subscription_retries_parked_idx ON eventstore.subscription_retries (subscription, position) WHERE parked_at IS NOT NULL;
CREATE INDEX subscription_retries_number_idx ON eventstore.subscription_retries (subscription, retry) WHERE parked_at IS NOT NULL;
COMMENT ON TABLE eventstore.subscription_retries IS 'Events of a subscription that go their own way: to be delivered again, parked, or skipped beyond the checkpoint.';
COMMENT ON COLUMN eventstore.subscription_retries.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN eventstore.subscription_retries.position IS 'Position of the event.';
COMMENT ON COLUMN eventstore.subscription_retries.stream IS 'Stream of the event.';
COMMENT ON COLUMN eventstore.subscription_retries.version IS 'Version of the event.';
COMMENT ON COLUMN eventstore.subscription_retries.retry IS 'Number of the row''s present state; see subscription_shares.retried.';
COMMENT ON COLUMN eventstore.subscription_retries.attempts IS 'How many times the event was delivered.';
COMMENT ON COLUMN eventstore.subscription_retries.due IS 'When it may be delivered again; null = it is parked or skipped.';
COMMENT ON COLUMN eventstore.subscription_retries.parked_at IS 'When it was parked; null = it is not.';
COMMENT ON COLUMN eventstore.subscription_retries.is_blocking IS 'Whether later events of the stream wait for it.';
COMMENT ON COLUMN eventstore.subscription_retries.is_replayed IS 'Whether it was parked before.';
COMMENT ON COLUMN eventstore.subscription_retries.delivered_to IS 'Later events of the stream up to this position were delivered, too ...';
COMMENT ON COLUMN eventstore.subscription_retries.delivered_attempts IS '... so many times.';
COMMENT ON COLUMN eventstore.subscription_retries.reason IS 'Why it is here.';
COMMENT ON COLUMN eventstore.subscription_retries.place IS 'Where it is found, as in subscription_shares; null = it is parked, and nobody waits for it.';
COMMENT ON COLUMN eventstore.subscription_retries.revision IS 'Of a place, only the highest one counts.';
COMMENT ON COLUMN eventstore.subscription_retries.base IS 'Until what wrote it is committed, the highest one up to this counts, too.';
REVOKE ALL ON TABLE eventstore.subscription_retries FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_retries', '');

CREATE FUNCTION @extschema@.es_partition(stream text, partitions bigint) RETURNS int
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_partition';
COMMENT ON FUNCTION @extschema@.es_partition(text, bigint) IS
	'The partition of a stream, from 0; the same on every machine, in every version.';
REVOKE ALL ON FUNCTION @extschema@.es_partition(text, bigint) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What admins do
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.es_create_subscription(name text, category text DEFAULT NULL, types text[] DEFAULT NULL, after_position bigint DEFAULT 0,
												   partitions bigint DEFAULT 64, max_retries bigint DEFAULT 10, lease interval DEFAULT '30 s',
												   park_policy text DEFAULT 'pass', tenant text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_create_subscription';
COMMENT ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, interval, text, text) IS
	'Makes a subscription to all events, or to those of a category, a tenant or some types, after a position (-1 = the head).';
REVOKE ALL ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, interval, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_subscription(name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_drop_subscription';
COMMENT ON FUNCTION @extschema@.es_drop_subscription(text) IS 'Removes a subscription, with its checkpoints and its parked events.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_subscription(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_alter_subscription(name text, partitions bigint DEFAULT NULL, park_policy text DEFAULT NULL,
												  max_retries bigint DEFAULT NULL, lease interval DEFAULT NULL, category text DEFAULT NULL,
												  types text[] DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_alter_subscription';
COMMENT ON FUNCTION @extschema@.es_alter_subscription(text, bigint, text, bigint, interval, text, text[], text) IS
	'Changes a subscription: how many partitions it has, its settings, which events it sees from its checkpoints on; null = leave as it is.';
REVOKE ALL ON FUNCTION @extschema@.es_alter_subscription(text, bigint, text, bigint, interval, text, text[], text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_pause_subscription(name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_pause_subscription';
COMMENT ON FUNCTION @extschema@.es_pause_subscription(text) IS 'Stops delivering a subscription''s events, until es_resume_subscription.';
REVOKE ALL ON FUNCTION @extschema@.es_pause_subscription(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_resume_subscription(name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_resume_subscription';
COMMENT ON FUNCTION @extschema@.es_resume_subscription(text) IS 'Goes on delivering the events of a subscription that is paused.';
REVOKE ALL ON FUNCTION @extschema@.es_resume_subscription(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_open_feed(subscription text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	after_position bigint;
BEGIN
	IF subscription IS NULL THEN
		RAISE EXCEPTION 'subscription must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	SELECT s.closed_after INTO after_position FROM eventstore.subscriptions s WHERE s.name = subscription;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'subscription "%" does not exist', subscription USING ERRCODE = 'undefined_object';
	END IF;
	IF after_position IS NULL THEN
		RETURN;
	END IF;
	PERFORM @extschema@.es_reset_subscription(subscription, after_position);
	-- What is parked is parked in the cell that it was split from, too.
	DELETE FROM eventstore.subscription_retries r WHERE r.subscription = es_open_feed.subscription;
	UPDATE eventstore.subscriptions s SET closed_after = NULL WHERE s.name = es_open_feed.subscription;
	PERFORM @extschema@.es_resume_subscription(subscription);
END
$$;
COMMENT ON FUNCTION @extschema@.es_open_feed(text) IS
	'In a cell that was split off: lets a subscription begin, with what was appended since. To be called once that of the other cell has passed the split.';
REVOKE ALL ON FUNCTION @extschema@.es_open_feed(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_reset_subscription(name text, after_position bigint) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_reset_subscription';
COMMENT ON FUNCTION @extschema@.es_reset_subscription(text, bigint) IS
	'Puts a subscription where it would be had it just been made after a position (-1 = the head).';
REVOKE ALL ON FUNCTION @extschema@.es_reset_subscription(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_replay_parked(subscription text, max_count bigint DEFAULT NULL) RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_replay_parked';
COMMENT ON FUNCTION @extschema@.es_replay_parked(text, bigint) IS
	'Has parked events delivered again, the lowest positions first; returns how many.';
REVOKE ALL ON FUNCTION @extschema@.es_replay_parked(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_replay_parked(subscription text, id uuid) RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_replay_parked_event';
COMMENT ON FUNCTION @extschema@.es_replay_parked(text, uuid) IS
	'Has one parked event delivered again; returns 1, or 0 if it is not parked.';
REVOKE ALL ON FUNCTION @extschema@.es_replay_parked(text, uuid) FROM PUBLIC;

-- Where a literal has no type, the parser prefers text: without this one it could not choose.
CREATE FUNCTION @extschema@.es_replay_parked(subscription text, max_count_or_id text) RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_replay_parked_text';
COMMENT ON FUNCTION @extschema@.es_replay_parked(text, text) IS
	'The same for literals without a type: a number, an id, or NULL for all.';
REVOKE ALL ON FUNCTION @extschema@.es_replay_parked(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_parked(subscription text, id uuid) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_drop_parked';
COMMENT ON FUNCTION @extschema@.es_drop_parked(text, uuid) IS 'Throws one parked event away: it is done for the subscription.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_parked(text, uuid) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What consumers do. Not SECURITY DEFINER, which would hide who calls: src/subscription/caller.c.
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.es_fetch(subscription text, consumer text DEFAULT NULL, max_count bigint DEFAULT 100, wait interval DEFAULT '0',
									 OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text,
									 OUT data jsonb, OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz,
									 OUT partition int, OUT token bigint, OUT attempt int) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_fetch';
COMMENT ON FUNCTION @extschema@.es_fetch(text, text, bigint, interval) IS
	'The next events of a consumer''s partitions, with the token to acknowledge them by; waits for some if it is told to.';
REVOKE ALL ON FUNCTION @extschema@.es_fetch(text, text, bigint, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_ack(subscription text, token bigint, "position" bigint) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_ack';
COMMENT ON FUNCTION @extschema@.es_ack(text, bigint, bigint) IS
	'Done with everything delivered under a token up to a position.';
REVOKE ALL ON FUNCTION @extschema@.es_ack(text, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_nack(subscription text, token bigint, "position" bigint, reason text, action text DEFAULT 'retry',
									delay interval DEFAULT '0') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_nack';
COMMENT ON FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, interval) IS
	'One event could not be worked on: have it delivered again (retry), put aside (park), or leave it (skip).';
REVOKE ALL ON FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_release(subscription text, consumer text DEFAULT NULL) RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_release';
COMMENT ON FUNCTION @extschema@.es_release(text, text) IS
	'A consumer leaves, and its partitions are free at once; returns how many it had.';
REVOKE ALL ON FUNCTION @extschema@.es_release(text, text) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What there is to see
-- ---------------------------------------------------------------------------------------------------------------------------------

-- These two are what the views read in place of the tables: they find rows at the same cost, however many dead ones there are.
CREATE FUNCTION eventstore.find_subscription_shares(subscription text) RETURNS SETOF eventstore.subscription_shares
	LANGUAGE C STABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'es_find_subscription_shares';
COMMENT ON FUNCTION eventstore.find_subscription_shares(text) IS 'The rows of eventstore.subscription_shares of a subscription.';
REVOKE ALL ON FUNCTION eventstore.find_subscription_shares(text) FROM PUBLIC;

CREATE FUNCTION eventstore.find_subscription_retries(subscription text) RETURNS SETOF eventstore.subscription_retries
	LANGUAGE C STABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_find_subscription_retries';
COMMENT ON FUNCTION eventstore.find_subscription_retries(text) IS
	'The rows of eventstore.subscription_retries of a subscription.';
REVOKE ALL ON FUNCTION eventstore.find_subscription_retries(text) FROM PUBLIC;

-- As division.c finds it: the next division has begun when the one before is drained, whether its row says so yet or not.
CREATE FUNCTION eventstore.read_subscription_division(subscription text, OUT division bigint, OUT partitions int) RETURNS SETOF record
	LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH shares AS MATERIALIZED (SELECT * FROM eventstore.find_subscription_shares(read_subscription_division.subscription))
	SELECT CASE WHEN n.has_begun THEN s.next_division ELSE s.division END, CASE WHEN n.has_begun THEN s.next_partitions ELSE s.partitions END
	FROM eventstore.subscriptions s
	CROSS JOIN LATERAL (
		SELECT s.next_division IS NOT NULL AND NOT EXISTS (
			SELECT FROM generate_series(0, s.partitions - 1) p
			CROSS JOIN LATERAL (
				SELECT h.checkpoint, h.token, h.delivered, h.acked FROM shares h
				WHERE h.division = s.division AND get_bit(h.partitions, p) = 1 ORDER BY h.share DESC LIMIT 1
			) h
			WHERE h.checkpoint < s.drain_to OR (h.token <> 0 AND h.acked < h.delivered)
		) AS has_begun
	) n
	WHERE s.name = read_subscription_division.subscription
$$;
COMMENT ON FUNCTION eventstore.read_subscription_division(text) IS 'What find_subscription_division returns, whoever asks.';
REVOKE ALL ON FUNCTION eventstore.read_subscription_division(text) FROM PUBLIC;

CREATE FUNCTION eventstore.find_subscription_division(subscription text, OUT division bigint, OUT partitions int) RETURNS SETOF record
	LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 1 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_find_subscription_division';
COMMENT ON FUNCTION eventstore.find_subscription_division(text) IS
	'The present division of a subscription into partitions; none, if it sees more than the caller''s grants let him see.';
REVOKE ALL ON FUNCTION eventstore.find_subscription_division(text) FROM PUBLIC;

-- A function, as by its argument PostgreSQL knows, before it begins, which partitions of the table it can do without.
CREATE FUNCTION eventstore.find_waiting(after bigint, category text, tenant text, types text[], partitions int,
										OUT "position" bigint, OUT recorded_at timestamptz, OUT partition int) RETURNS SETOF record
	LANGUAGE sql STABLE PARALLEL RESTRICTED ROWS 1000 SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	SELECT e.position, e.recorded_at, @extschema@.es_partition(e.stream, find_waiting.partitions::bigint) FROM eventstore.events e
	WHERE e.position > find_waiting.after AND (find_waiting.category IS NULL OR e.category = find_waiting.category)
	  AND (find_waiting.types IS NULL OR e.type = ANY (find_waiting.types))
	  AND (find_waiting.tenant IS NULL OR @extschema@.es_tenant(e.stream) = find_waiting.tenant)
$$;
COMMENT ON FUNCTION eventstore.find_waiting(bigint, text, text, text[], int) IS 'The events after a position that a subscription is for, and the partition of its streams that each is in.';
REVOKE ALL ON FUNCTION eventstore.find_waiting(bigint, text, text, text[], int) FROM PUBLIC;

-- Of one subscription, so that who asks about one does not count the events of all.
CREATE FUNCTION eventstore.count_subscription_status(subscription text, OUT partition int, OUT consumer text, OUT checkpoint bigint,
													 OUT lag_events bigint, OUT lag_seconds double precision, OUT parked bigint,
													 OUT lease_end timestamptz) RETURNS SETOF record
	LANGUAGE sql VOLATILE PARALLEL RESTRICTED ROWS 64 SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH shares AS MATERIALIZED (
		SELECT * FROM eventstore.find_subscription_shares(count_subscription_status.subscription)
	), p AS MATERIALIZED (
		SELECT s.category, s.tenant, s.types, d.partitions, p AS partition, h.consumer, least(h.checkpoint, r.before) AS checkpoint,
			   coalesce(r.parked, 0) AS parked, CASE WHEN h.consumer IS NOT NULL THEN h.lease_end END AS lease_end
		FROM eventstore.subscriptions s
		CROSS JOIN eventstore.read_subscription_division(count_subscription_status.subscription) d
		CROSS JOIN LATERAL generate_series(0, d.partitions - 1) p
		CROSS JOIN LATERAL (
			SELECT h.consumer, h.checkpoint, h.lease_end FROM shares h
			WHERE h.division = d.division AND get_bit(h.partitions, p) = 1 ORDER BY h.share DESC LIMIT 1
		) h
		LEFT JOIN (
			-- What was parked once does not take the checkpoint back when it is replayed.
			SELECT @extschema@.es_partition(r.stream, d.partitions::bigint) AS partition, count(r.parked_at) AS parked,
				   min(CASE WHEN r.is_blocking AND (r.is_replayed OR r.parked_at IS NOT NULL) THEN r.position
							WHEN r.due IS NOT NULL AND NOT r.is_replayed THEN r.position - 1 END) AS before
			FROM eventstore.find_subscription_retries(count_subscription_status.subscription) r
			CROSS JOIN eventstore.read_subscription_division(count_subscription_status.subscription) d GROUP BY 1
		) r ON r.partition = p
		WHERE s.name = count_subscription_status.subscription
	), l AS (
		SELECT p.partition, count(*) AS events, min(e.recorded_at) AS oldest
		FROM (SELECT p.category, p.tenant, p.types, p.partitions, min(p.checkpoint) AS lowest FROM p GROUP BY 1, 2, 3, 4) s
		CROSS JOIN LATERAL eventstore.find_waiting(s.lowest, s.category, s.tenant, s.types, s.partitions) e
		JOIN p ON p.partition = e.partition AND p.checkpoint < e.position
		GROUP BY 1
	)
	SELECT p.partition, p.consumer, p.checkpoint, coalesce(l.events, 0),
		   coalesce(extract(epoch FROM greatest(clock_timestamp() - l.oldest, interval '0')), 0)::double precision, p.parked, p.lease_end
	FROM p LEFT JOIN l ON l.partition = p.partition
$$;
COMMENT ON FUNCTION eventstore.count_subscription_status(text) IS 'What find_subscription_status returns, whoever asks.';
REVOKE ALL ON FUNCTION eventstore.count_subscription_status(text) FROM PUBLIC;

CREATE FUNCTION eventstore.find_subscription_status(subscription text, OUT partition int, OUT consumer text, OUT checkpoint bigint,
													OUT lag_events bigint, OUT lag_seconds double precision, OUT parked bigint,
													OUT lease_end timestamptz) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 64 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_find_subscription_status';
COMMENT ON FUNCTION eventstore.find_subscription_status(text) IS
	'The rows of eventstore.subscription_status of one subscription; none, if it sees more than the caller''s grants let him see.';
REVOKE ALL ON FUNCTION eventstore.find_subscription_status(text) FROM PUBLIC;

-- Barriers: no function of who asks comes before what leaves rows out.
CREATE VIEW eventstore.subscription_status WITH (security_barrier) AS
	SELECT d.name, s.partition, s.consumer, s.checkpoint, s.lag_events, s.lag_seconds, s.parked, s.lease_end,
		   CASE WHEN d.closed_after IS NOT NULL THEN 'closed' WHEN d.is_paused THEN 'paused' ELSE 'running' END AS state, d.tenant
	FROM eventstore.subscriptions d CROSS JOIN LATERAL eventstore.find_subscription_status(d.name) s;
COMMENT ON VIEW eventstore.subscription_status IS 'How far each partition of each subscription is, and who works on it.';
COMMENT ON COLUMN eventstore.subscription_status.name IS 'Name of the subscription.';
COMMENT ON COLUMN eventstore.subscription_status.partition IS 'Number of the partition, from 0.';
COMMENT ON COLUMN eventstore.subscription_status.consumer IS 'Who works on it; null = nobody.';
COMMENT ON COLUMN eventstore.subscription_status.checkpoint IS 'Every matching event of the partition up to this position is acknowledged, skipped or parked.';
COMMENT ON COLUMN eventstore.subscription_status.lag_events IS 'How many matching events there are after the checkpoint.';
COMMENT ON COLUMN eventstore.subscription_status.lag_seconds IS 'How long ago the first of them was recorded; 0 = there is none.';
COMMENT ON COLUMN eventstore.subscription_status.parked IS 'How many events of the partition are parked.';
COMMENT ON COLUMN eventstore.subscription_status.lease_end IS 'When the consumer may be replaced, unless it calls before.';
COMMENT ON COLUMN eventstore.subscription_status.state IS 'State of the subscription: running, paused, or closed: it waits for es_open_feed.';
COMMENT ON COLUMN eventstore.subscription_status.tenant IS 'The tenant that the subscription is narrowed to; null = all.';
REVOKE ALL ON TABLE eventstore.subscription_status FROM PUBLIC;

-- Events by a function, which sees what who asks may see; a table would be read as the view's owner.
CREATE VIEW eventstore.parked WITH (security_barrier) AS
	SELECT r.subscription, r.position, r.stream, coalesce(e.category, pg_catalog.split_part(r.stream, '-', 1)) AS category, r.version,
		   coalesce(e.id, g.id) AS id, coalesce(e.type, g.type) AS type, e.data, e.metadata, e.tags, coalesce(e.recorded_at, g.recorded_at) AS recorded_at,
		   @extschema@.es_partition(r.stream, CASE WHEN s.next_partitions IS NULL THEN s.partitions ELSE
				(SELECT d.partitions FROM eventstore.find_subscription_division(s.name) d) END) AS partition, r.attempts, r.reason, r.parked_at
	FROM eventstore.subscription_retries r
	JOIN eventstore.subscriptions s ON s.name = r.subscription
	LEFT JOIN LATERAL eventstore.find_event(r.position) e ON true
	-- What row security would hide of an event that is gone nobody knows.
	LEFT JOIN eventstore.gone_events g ON g.position = r.position AND NOT pg_catalog.row_security_active('eventstore.events'::pg_catalog.text)
	WHERE r.parked_at IS NOT NULL AND (e.position IS NOT NULL OR g.position IS NOT NULL);
COMMENT ON VIEW eventstore.parked IS 'Events that a subscription has put aside, with the reason; see es_replay_parked.';
COMMENT ON COLUMN eventstore.parked.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN eventstore.parked.partition IS 'The partition of the event''s stream; null: the caller''s grants do not let him see the whole subscription, which is being divided anew.';
COMMENT ON COLUMN eventstore.parked.attempts IS 'How many times the event was delivered.';
COMMENT ON COLUMN eventstore.parked.reason IS 'Why it was parked.';
COMMENT ON COLUMN eventstore.parked.parked_at IS 'When it was parked.';
COMMENT ON COLUMN eventstore.parked.position IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.stream IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.category IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.version IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.id IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.type IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.data IS 'See eventstore.events; null: the event is gone.';
COMMENT ON COLUMN eventstore.parked.metadata IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.tags IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.recorded_at IS 'See eventstore.events.';
REVOKE ALL ON TABLE eventstore.parked FROM PUBLIC;
