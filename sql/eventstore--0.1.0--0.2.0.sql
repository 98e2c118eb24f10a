\echo Use "ALTER EXTENSION eventstore UPDATE" to load this file. \quit
-- From 0.1.0 to 0.2.0. docs/upgrade.md says when to run it.

SET LOCAL search_path = pg_catalog, pg_temp;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Before anything is changed
-- ---------------------------------------------------------------------------------------------------------------------------------

-- The library of 0.1.0 does not have this function. It knows columns by their numbers: where it is running it must not meet new tables.
DO $$
BEGIN
	CREATE FUNCTION eventstore.update_run(command text) RETURNS void
		LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'es_update_run';
	REVOKE ALL ON FUNCTION eventstore.update_run(text) FROM PUBLIC;
EXCEPTION WHEN undefined_function THEN
	RAISE EXCEPTION 'the library of extension "eventstore" that is running here is older than the update'
		USING ERRCODE = 'object_not_in_prerequisite_state', DETAIL = 'Nothing has been changed.',
			  HINT = CASE WHEN current_setting('shared_preload_libraries') ~ 'eventstore'
						  THEN 'It was loaded when the server started: restart the server, and repeat the update.'
						  ELSE 'This session has loaded it already: repeat the update in another session.' END;
END
$$;

-- Where it is not preloaded, sessions from before the installation may have the library of 0.1.0, and would go on with it. The time of a
-- file is known in seconds.
DO $$
DECLARE
	installed_at timestamptz := (SELECT s.change FROM pg_config c, pg_stat_file(c.setting || '/eventstore.so', true) s WHERE c.name = 'PKGLIBDIR');
	sessions text := (SELECT string_agg(a.pid::text, ', ' ORDER BY a.pid) FROM pg_stat_activity a
					  WHERE a.datname = current_database() AND a.pid <> pg_backend_pid() AND a.backend_start < installed_at + interval '1 s'
						AND a.backend_type = 'client backend');
BEGIN
	IF sessions IS NOT NULL AND current_setting('shared_preload_libraries') !~ 'eventstore' THEN
		RAISE EXCEPTION 'there are sessions that may have loaded an older library of extension "eventstore"'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  DETAIL = format('They are older than the library that is installed: process %s. Nothing has been changed.', sessions),
				  HINT = 'End them, with pg_terminate_backend() for example, or restart the server, and repeat the update.';
	END IF;
END
$$;

-- Functions that get other arguments are dropped and made anew. The view that uses one of them does without until it is replaced, so that
-- it keeps its rights, and what the users' own views make of it.
CREATE OR REPLACE VIEW eventstore.parked AS
	SELECT r.subscription, e.position, e.stream, e.category, e.version, e.id, e.type, e.data, e.metadata, e.tags, e.recorded_at,
		   0 AS partition, r.attempts, r.reason, r.parked_at
	FROM eventstore.subscription_retries r
	JOIN eventstore.events e ON e.position = r.position;
DO $$
DECLARE
	dependent record;
BEGIN
	SELECT INTO dependent coalesce('view ' || w.ev_class::regclass, pg_describe_object(d.classid, d.objid, d.objsubid)) AS what,
		   d.refobjid::regprocedure AS function
	FROM pg_depend d LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
	WHERE d.refclassid = 'pg_proc'::regclass AND d.deptype = 'n'
	  AND d.refobjid IN ('@extschema@.es_first(anyelement, bigint)'::regprocedure, '@extschema@.es_last(anyelement, bigint)'::regprocedure,
						 '@extschema@.es_alter_subscription(text, int, text, int, interval)'::regprocedure,
						 '@extschema@.es_create_projection(text, text, text, text[], text[], regclass[], text)'::regprocedure,
						 '@extschema@.es_create_subscription(text, text, text[], bigint, int, int, interval, text)'::regprocedure,
						 '@extschema@.es_fetch(text, text, int, interval)'::regprocedure, '@extschema@.es_partition(text, int)'::regprocedure,
						 '@extschema@.es_replay_parked(text, int)'::regprocedure, '@extschema@.es_save_snapshot(text, bigint, jsonb, int)'::regprocedure,
						 '@extschema@.es_snapshot(text, int)'::regprocedure, '@extschema@.es_load(text, int)'::regprocedure,
						 '@extschema@.es_grant(regrole, text, text)'::regprocedure, '@extschema@.es_revoke(regrole, text, text)'::regprocedure)
	ORDER BY d.objid LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION '% uses %, which has other arguments in version 0.2.0', dependent.what, dependent.function
			USING ERRCODE = 'dependent_objects_still_exist', HINT = 'Drop it, repeat the update, and make it anew: calls stay as they are.';
	END IF;
END
$$;

-- Columns are known by their numbers, and new ones come behind those that are there.
DO $$
DECLARE
	altered text := (SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.relname) FROM pg_class c
					 JOIN (VALUES ('subscriptions', 10), ('subscription_shares', 13), ('subscription_retries', 13), ('snapshots', 6), ('projections', 17)) t (name, columns)
					   ON c.oid = format('eventstore.%I', t.name)::regclass
					 WHERE c.relnatts <> t.columns);
BEGIN
	IF altered IS NOT NULL THEN
		RAISE EXCEPTION 'columns were added to tables of extension "eventstore"' USING ERRCODE = 'object_not_in_prerequisite_state',
			DETAIL = format('They are not as version 0.1.0 has made them: %s.', altered),
			HINT = 'Columns that were dropped count, too: docs/upgrade.md says what to do.';
	END IF;
END
$$;

-- All tables at once, and for moments: who waits for one while he has another makes deadlocks, and whoever comes later waits behind him.
-- In between nobody waits for this. A deadlock is looked for at once: so it is this that gives way, and autovacuum is asked to.
DO $$
DECLARE
	setting text := current_setting('lock_timeout');
	deadlock_setting text := current_setting('deadlock_timeout');
	patience interval := setting;
	begun timestamptz := clock_timestamp();
	told timestamptz := clock_timestamp();
	holders text;
BEGIN
	LOOP
		BEGIN
			PERFORM set_config('lock_timeout', '100ms', true), set_config('deadlock_timeout', '20ms', true);
			LOCK TABLE eventstore.streams, eventstore.events, eventstore.head, eventstore.snapshots, eventstore.projections,
				eventstore.projection_appends, eventstore.subscriptions, eventstore.subscription_shares, eventstore.subscription_retries
				IN ACCESS EXCLUSIVE MODE;
			PERFORM set_config('lock_timeout', setting, true), set_config('deadlock_timeout', deadlock_setting, true);
			EXIT;
		EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
			IF patience > '0' AND clock_timestamp() > begun + patience THEN
				RAISE;
			END IF;
		END;
		IF clock_timestamp() > told + interval '5 s' THEN
			told := 'infinity';
			SELECT INTO holders string_agg(DISTINCT coalesce('process ' || l.pid, format('prepared transaction "%s"', x.gid)), ', ')
			FROM pg_locks l
			LEFT JOIN (pg_locks t JOIN pg_prepared_xacts x ON x.transaction = t.transactionid) ON l.pid IS NULL AND t.virtualtransaction = l.virtualtransaction
			WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_backend_pid()
			  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
			  AND l.relation IN (SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'eventstore'::regnamespace);
			RAISE WARNING 'the update waits for transactions that use the store' USING DETAIL = format('They are: %s.', holders);
		END IF;
		PERFORM pg_sleep(0.1);
	END LOOP;
END
$$;

SELECT eventstore.update_run('CREATE TEMPORARY TABLE members_before ON COMMIT DROP AS
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = ''pg_extension''::regclass AND d.refobjid = e.oid
	WHERE e.extname = ''eventstore'' AND d.deptype = ''e''');

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What goes
-- ---------------------------------------------------------------------------------------------------------------------------------

DROP AGGREGATE @extschema@.es_first(anyelement, bigint);
DROP AGGREGATE @extschema@.es_last(anyelement, bigint);
DROP FUNCTION eventstore.pick_first(internal, anyelement, bigint);
DROP FUNCTION eventstore.pick_last(internal, anyelement, bigint);
DROP FUNCTION eventstore.picked(internal, anyelement, bigint);
DROP FUNCTION @extschema@.es_create_projection(text, text, text, text[], text[], regclass[], text);
DROP FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, int, int, interval, text);
DROP FUNCTION @extschema@.es_alter_subscription(text, int, text, int, interval);
DROP FUNCTION @extschema@.es_fetch(text, text, int, interval);
DROP FUNCTION @extschema@.es_partition(text, int);
DROP FUNCTION @extschema@.es_replay_parked(text, int);
DROP FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, int);
DROP FUNCTION @extschema@.es_snapshot(text, int);
DROP FUNCTION @extschema@.es_load(text, int);
DROP FUNCTION @extschema@.es_grant(regrole, text, text);
DROP FUNCTION @extschema@.es_revoke(regrole, text, text);
DROP FUNCTION eventstore.check_grant(regrole, text, text);
DROP TRIGGER projections_are_cached ON eventstore.projections;
DROP INDEX eventstore.subscription_retries_active_idx;
DROP INDEX eventstore.subscription_retries_blocking_key;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Tables, and what stands in them. Columns with a default get it by UPDATE: else the catalogue would keep a value for rows without one.
-- ---------------------------------------------------------------------------------------------------------------------------------

ALTER TABLE eventstore.subscriptions
	ADD COLUMN next_division bigint, ADD COLUMN is_paused boolean, ADD COLUMN revision bigint, ADD COLUMN tenant text COLLATE "C", ADD COLUMN closed_after bigint;
UPDATE eventstore.subscriptions SET is_paused = false, revision = 0;
ALTER TABLE eventstore.subscriptions
	ALTER COLUMN is_paused SET DEFAULT false, ALTER COLUMN is_paused SET NOT NULL,
	ALTER COLUMN revision SET DEFAULT 0, ALTER COLUMN revision SET NOT NULL;

-- Made anew, so that no dead version of a row stands in the new indexes.
SELECT eventstore.update_run('CREATE TEMPORARY TABLE shares_before ON COMMIT DROP AS SELECT * FROM eventstore.subscription_shares');
TRUNCATE eventstore.subscription_shares;
ALTER TABLE eventstore.subscription_shares
	DROP CONSTRAINT subscription_shares_pkey,
	ADD COLUMN place int NOT NULL, ADD COLUMN revision bigint NOT NULL, ADD COLUMN base bigint NOT NULL,
	ADD CONSTRAINT subscription_shares_pkey PRIMARY KEY (subscription, place, revision);

SELECT eventstore.update_run('CREATE TEMPORARY TABLE retries_before ON COMMIT DROP AS SELECT * FROM eventstore.subscription_retries');
TRUNCATE eventstore.subscription_retries;
ALTER TABLE eventstore.subscription_retries
	ADD COLUMN place int, ADD COLUMN revision bigint, ADD COLUMN base bigint;

-- A snapshot is a cache: one whose event is not there would not count.
ALTER TABLE eventstore.snapshots ADD COLUMN event_id uuid, ADD COLUMN recorded_at timestamptz;
UPDATE eventstore.snapshots k SET event_id = e.id, recorded_at = e.recorded_at
FROM eventstore.events e WHERE e.stream = k.stream AND e.version = k.version AND e.position = k.position;
DELETE FROM eventstore.snapshots WHERE event_id IS NULL;
ALTER TABLE eventstore.snapshots ALTER COLUMN event_id SET NOT NULL, ALTER COLUMN recorded_at SET NOT NULL;

-- In 0.1.0 handlers had to be right for events one by one, as an append may have one; so they are run now. See es_create_projection.
ALTER TABLE eventstore.projections
	ADD COLUMN lookups text[] COLLATE "C", ADD COLUMN granularity text COLLATE "C", ADD COLUMN reducer text COLLATE "C", ADD COLUMN initial jsonb;
UPDATE eventstore.projections SET lookups = '{}', granularity = CASE WHEN is_declared THEN 'batch' ELSE 'event' END;
ALTER TABLE eventstore.projections
	ALTER COLUMN lookups SET DEFAULT '{}', ALTER COLUMN lookups SET NOT NULL, ALTER COLUMN granularity SET NOT NULL,
	ADD CONSTRAINT projections_granularity_check CHECK (granularity IN ('event', 'batch'));

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What sql/ makes. Written by test/upgrade/write-update:

CREATE TABLE eventstore.removed_events
(
	id          uuid             NOT NULL CONSTRAINT removed_events_pkey PRIMARY KEY,
	position    bigint           NOT NULL,
	stream      text COLLATE "C" NOT NULL,
	version     bigint           NOT NULL,
	type        text COLLATE "C" NOT NULL,
	recorded_at timestamptz      NOT NULL,
	removed_at  timestamptz      NOT NULL,
	digest      bytea            NOT NULL
);

CREATE UNIQUE INDEX removed_events_position_idx ON eventstore.removed_events (position);

CREATE UNIQUE INDEX removed_events_stream_version_idx ON eventstore.removed_events (stream, version);
COMMENT ON TABLE eventstore.removed_events IS 'Events that were truncated, deleted or retained no longer: their ids stay known. Written by es_truncate_stream and its kin only.';
COMMENT ON COLUMN eventstore.removed_events.id IS 'Id of the event.';
COMMENT ON COLUMN eventstore.removed_events.position IS 'Its position.';
COMMENT ON COLUMN eventstore.removed_events.stream IS 'Its stream.';
COMMENT ON COLUMN eventstore.removed_events.version IS 'Its version.';
COMMENT ON COLUMN eventstore.removed_events.type IS 'Its type.';
COMMENT ON COLUMN eventstore.removed_events.recorded_at IS 'When it was appended.';
COMMENT ON COLUMN eventstore.removed_events.removed_at IS 'When it was removed.';
COMMENT ON COLUMN eventstore.removed_events.digest IS 'What it was: see eventstore.event_digest.';
REVOKE ALL ON TABLE eventstore.removed_events FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.removed_events', '');

CREATE TABLE eventstore.detached_events
(
	position    bigint           NOT NULL,
	stream      text COLLATE "C" NOT NULL,
	category    text COLLATE "C" NOT NULL,
	version     bigint           NOT NULL,
	id          uuid             NOT NULL,
	type        text COLLATE "C" NOT NULL,
	data        jsonb            NOT NULL,
	metadata    jsonb,
	tags        text[] COLLATE "C",
	recorded_at timestamptz      NOT NULL
) PARTITION BY RANGE (position);
COMMENT ON TABLE eventstore.detached_events IS 'Events whose partition was detached from eventstore.events and is still there. Partitions come and go by es_detach_events, es_attach_events and DROP TABLE.';
COMMENT ON COLUMN eventstore.detached_events.position IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.detached_events.stream IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.detached_events.category IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.detached_events.version IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.detached_events.id IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.detached_events.type IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.detached_events.data IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.detached_events.metadata IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.detached_events.tags IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.detached_events.recorded_at IS 'See eventstore.events.';
REVOKE ALL ON TABLE eventstore.detached_events FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.detached_events', '');

CREATE TRIGGER detached_event_is_immutable BEFORE UPDATE OR DELETE ON eventstore.detached_events
	FOR EACH ROW EXECUTE FUNCTION eventstore.refuse_change();
ALTER TABLE eventstore.detached_events ENABLE ALWAYS TRIGGER detached_event_is_immutable;
COMMENT ON TRIGGER detached_event_is_immutable ON eventstore.detached_events IS 'Refuses UPDATE and DELETE of each event, whatever way they come.';

CREATE TRIGGER detached_events_are_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON eventstore.detached_events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.refuse_change();
ALTER TABLE eventstore.detached_events ENABLE ALWAYS TRIGGER detached_events_are_immutable;
COMMENT ON TRIGGER detached_events_are_immutable ON eventstore.detached_events IS 'Refuses UPDATE, DELETE and TRUNCATE for everyone.';

CREATE VIEW eventstore.gone_events AS
	SELECT id, position, stream, version, type, recorded_at FROM eventstore.removed_events
	UNION ALL
	SELECT id, position, stream, version, type, recorded_at FROM eventstore.detached_events;
COMMENT ON VIEW eventstore.gone_events IS 'What is known of every event that is gone: removed, or in a partition that was detached.';
COMMENT ON COLUMN eventstore.gone_events.id IS 'Id of the event.';
COMMENT ON COLUMN eventstore.gone_events.position IS 'Its position.';
COMMENT ON COLUMN eventstore.gone_events.stream IS 'Its stream.';
COMMENT ON COLUMN eventstore.gone_events.version IS 'Its version.';
COMMENT ON COLUMN eventstore.gone_events.type IS 'Its type.';
COMMENT ON COLUMN eventstore.gone_events.recorded_at IS 'When it was appended.';
REVOKE ALL ON TABLE eventstore.gone_events FROM PUBLIC;

CREATE TABLE eventstore.beginnings
(
	stream      text COLLATE "C" NOT NULL CONSTRAINT beginnings_pkey PRIMARY KEY,
	version     bigint           NOT NULL,
	imported_at timestamptz      NOT NULL
);
COMMENT ON TABLE eventstore.beginnings IS 'Streams that were imported without their first events, as those were gone in the store that they come from. Written by es_import only.';
COMMENT ON COLUMN eventstore.beginnings.stream IS 'Name of the stream.';
COMMENT ON COLUMN eventstore.beginnings.version IS 'Version of the first event that was imported.';
COMMENT ON COLUMN eventstore.beginnings.imported_at IS 'When.';
REVOKE ALL ON TABLE eventstore.beginnings FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.beginnings', '');

CREATE FUNCTION @extschema@.es_version() RETURNS text
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_version';
COMMENT ON FUNCTION @extschema@.es_version() IS
	'Version of the library that this session runs; a WARNING where the extension in this database is of another one.';
REVOKE ALL ON FUNCTION @extschema@.es_version() FROM PUBLIC;

CREATE FUNCTION eventstore.tag_index_handler(internal) RETURNS index_am_handler
	LANGUAGE C VOLATILE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'es_tag_index_handler';
COMMENT ON FUNCTION eventstore.tag_index_handler(internal) IS 'Handler of the index access method eventstore_tags.';
REVOKE ALL ON FUNCTION eventstore.tag_index_handler(internal) FROM PUBLIC;

CREATE ACCESS METHOD eventstore_tags TYPE INDEX HANDLER eventstore.tag_index_handler;
COMMENT ON ACCESS METHOD eventstore_tags IS 'B-tree on (tags, position) of eventstore.events, with an entry for each tag.';

CREATE OPERATOR CLASS eventstore.tag_ops DEFAULT FOR TYPE text[] USING eventstore_tags AS
	FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint),
	STORAGE bigint;
COMMENT ON OPERATOR CLASS eventstore.tag_ops USING eventstore_tags IS 'The first column: an array comes in, a hash of each tag is stored.';
COMMENT ON OPERATOR FAMILY eventstore.tag_ops USING eventstore_tags IS 'Tags.';

CREATE OPERATOR CLASS eventstore.position_ops DEFAULT FOR TYPE bigint USING eventstore_tags AS
	FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint);
COMMENT ON OPERATOR CLASS eventstore.position_ops USING eventstore_tags IS 'The second column: the position.';
COMMENT ON OPERATOR FAMILY eventstore.position_ops USING eventstore_tags IS 'Positions.';

CREATE INDEX events_tags_position_idx ON eventstore.events USING eventstore_tags (tags, position);

CREATE FUNCTION @extschema@.es_append_if(stream text, events jsonb, query jsonb, after_position bigint DEFAULT 0) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append_if';
COMMENT ON FUNCTION @extschema@.es_append_if(text, jsonb, jsonb, bigint) IS
	'Appends events unless one that matches a query of types and tags stands after a position (SE004); returns the version of the last one.';
REVOKE ALL ON FUNCTION @extschema@.es_append_if(text, jsonb, jsonb, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_query(query jsonb, after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000,
										  backward boolean DEFAULT false) RETURNS SETOF eventstore.event
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_read_query';
COMMENT ON FUNCTION @extschema@.es_read_query(jsonb, bigint, bigint, boolean) IS
	'The events that match a query of types and tags, after a position, in order of position; backward: before it, where 0 means from the head.';
REVOKE ALL ON FUNCTION @extschema@.es_read_query(jsonb, bigint, bigint, boolean) FROM PUBLIC;

CREATE FUNCTION eventstore.find_event("position" bigint) RETURNS SETOF eventstore.event
	LANGUAGE C STABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'es_find_event';
COMMENT ON FUNCTION eventstore.find_event(bigint) IS
	'The event at a position, if there is one that the caller may see.';
REVOKE ALL ON FUNCTION eventstore.find_event(bigint) FROM PUBLIC;

CREATE TABLE eventstore.marks
(
	position    bigint      NOT NULL,
	recorded_by timestamptz NOT NULL
);

CREATE INDEX marks_position_idx ON eventstore.marks (position);
COMMENT ON TABLE eventstore.marks IS 'Places in the store-wide order, and when they were reached; for es_position_at.';
COMMENT ON COLUMN eventstore.marks.position IS 'Every event at or below this position, committed or not ...';
COMMENT ON COLUMN eventstore.marks.recorded_by IS '... was recorded by this time.';
REVOKE ALL ON TABLE eventstore.marks FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.marks', '');

CREATE FUNCTION @extschema@.es_position_at(at timestamptz) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_position_at';
COMMENT ON FUNCTION @extschema@.es_position_at(timestamptz) IS
	'The position to start after to get every event that was recorded at or after a time.';
REVOKE ALL ON FUNCTION @extschema@.es_position_at(timestamptz) FROM PUBLIC;

CREATE FUNCTION eventstore.find_notify_status(OUT sent_by text, OUT queue_usage double precision, OUT is_queue_full boolean) RETURNS record
	LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'es_find_notify_status';
COMMENT ON FUNCTION eventstore.find_notify_status() IS 'The row of eventstore.notify_status.';
REVOKE ALL ON FUNCTION eventstore.find_notify_status() FROM PUBLIC;

CREATE VIEW eventstore.notify_status AS
	SELECT sent_by, queue_usage, is_queue_full FROM eventstore.find_notify_status();
COMMENT ON VIEW eventstore.notify_status IS 'How it stands with NOTIFY: who sends it, and whether the server''s queue has room. One row.';
COMMENT ON COLUMN eventstore.notify_status.sent_by IS 'worker, or appender where there is none; null: it is switched off by eventstore.notify.';
COMMENT ON COLUMN eventstore.notify_status.queue_usage IS 'How full the server''s queue of notifications is, from 0 to 1, as pg_notification_queue_usage() tells.';
COMMENT ON COLUMN eventstore.notify_status.is_queue_full IS 'Whether that is beyond eventstore.notify_queue_limit: then no NOTIFY is sent until it has room again.';
REVOKE ALL ON TABLE eventstore.notify_status FROM PUBLIC;

CREATE FUNCTION eventstore.note_foreign_events() RETURNS trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_note_foreign_events';
COMMENT ON FUNCTION eventstore.note_foreign_events() IS 'Has the next append look whether positions go on above the events that came.';
REVOKE ALL ON FUNCTION eventstore.note_foreign_events() FROM PUBLIC;

CREATE TRIGGER foreign_events_are_noted AFTER INSERT ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.note_foreign_events();
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER foreign_events_are_noted;
COMMENT ON TRIGGER foreign_events_are_noted ON eventstore.events IS 'Notes what comes by INSERT and COPY.';

CREATE TRIGGER replicated_events_are_noted AFTER INSERT ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION eventstore.note_foreign_events();
ALTER TABLE eventstore.events ENABLE REPLICA TRIGGER replicated_events_are_noted;
COMMENT ON TRIGGER replicated_events_are_noted ON eventstore.events IS 'Notes what comes by logical replication.';

CREATE FUNCTION eventstore.refuse_insert() RETURNS trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_refuse_insert';
COMMENT ON FUNCTION eventstore.refuse_insert() IS 'Raises SE007, unless it is a restore: events are appended.';
REVOKE ALL ON FUNCTION eventstore.refuse_insert() FROM PUBLIC;

CREATE TRIGGER events_are_appended BEFORE INSERT ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.refuse_insert();
COMMENT ON TRIGGER events_are_appended ON eventstore.events IS 'Refuses INSERT, but a restore''s.';

CREATE TRIGGER streams_are_appended_to BEFORE INSERT ON eventstore.streams
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.refuse_insert();
COMMENT ON TRIGGER streams_are_appended_to ON eventstore.streams IS 'Refuses INSERT, but a restore''s.';

CREATE FUNCTION @extschema@.es_repair_positions(above bigint DEFAULT 0) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_repair_positions';
COMMENT ON FUNCTION @extschema@.es_repair_positions(bigint) IS
	'Has positions go on above every event that there is, all that was read, and a position of one''s own; returns the last one given out.';
REVOKE ALL ON FUNCTION @extschema@.es_repair_positions(bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_repair_streams(OUT stream text, OUT version_before bigint, OUT version bigint) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'es_repair_streams';
COMMENT ON FUNCTION @extschema@.es_repair_streams() IS
	'Moves the rows of streams on to their last events, where events came without an append; returns the streams that it has mended.';
REVOKE ALL ON FUNCTION @extschema@.es_repair_streams() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_slot(stream text) RETURNS int
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_slot';
COMMENT ON FUNCTION @extschema@.es_slot(text) IS
	'The slot of a stream, from 0 to 1023: that of its tenant, or of its whole name where it has none. It never changes.';
REVOKE ALL ON FUNCTION @extschema@.es_slot(text) FROM PUBLIC;

CREATE TABLE eventstore.member
(
	only_row   boolean NOT NULL DEFAULT true CONSTRAINT member_pkey PRIMARY KEY CONSTRAINT member_only_row_check CHECK (only_row),
	cell       int CONSTRAINT member_cell_check CHECK (cell >= 0),
	feed       int CONSTRAINT member_feed_check CHECK (feed BETWEEN 0 AND 1023),
	slots      int4multirange CONSTRAINT member_slots_check CHECK (slots <@ '{[0,1024)}'::int4multirange),
	is_mirror  boolean NOT NULL DEFAULT false,
	epoch      bigint  NOT NULL DEFAULT 0,
	generation bigint  NOT NULL DEFAULT 0,
	CONSTRAINT member_is_whole_check CHECK (num_nulls(cell, feed, slots) IN (0, 3))
);
COMMENT ON TABLE eventstore.member IS 'What this store is among others: a cell, a mirror, or neither. At most one row.';
COMMENT ON COLUMN eventstore.member.only_row IS 'Always true.';
COMMENT ON COLUMN eventstore.member.cell IS 'Number of the cell that it is; null = it is none.';
COMMENT ON COLUMN eventstore.member.feed IS 'The positions that it gives out are this, modulo 1024.';
COMMENT ON COLUMN eventstore.member.slots IS 'It takes appends to streams in these slots only.';
COMMENT ON COLUMN eventstore.member.is_mirror IS 'Whether its events come from another store, by logical replication.';
COMMENT ON COLUMN eventstore.member.epoch IS 'How many times the columns before have changed.';
COMMENT ON COLUMN eventstore.member.generation IS 'How many times the map of cells has.';
REVOKE ALL ON TABLE eventstore.member FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.member', '');

CREATE TABLE eventstore.mapped_cells
(
	cell       int            NOT NULL CONSTRAINT mapped_cells_pkey PRIMARY KEY CONSTRAINT mapped_cells_cell_check CHECK (cell >= 0),
	feed       int            NOT NULL CONSTRAINT mapped_cells_feed_key UNIQUE CONSTRAINT mapped_cells_feed_check CHECK (feed BETWEEN 0 AND 1023),
	slots      int4multirange NOT NULL CONSTRAINT mapped_cells_slots_check CHECK (slots <@ '{[0,1024)}'::int4multirange),
	connection text COLLATE "C"
);
COMMENT ON TABLE eventstore.mapped_cells IS 'The map of cells, as this store has it; see eventstore.cells.';
COMMENT ON COLUMN eventstore.mapped_cells.cell IS 'Number of the cell.';
COMMENT ON COLUMN eventstore.mapped_cells.feed IS 'Its positions are this, modulo 1024.';
COMMENT ON COLUMN eventstore.mapped_cells.slots IS 'It takes appends to streams in these slots only.';
COMMENT ON COLUMN eventstore.mapped_cells.connection IS 'How to connect to it, as libpq takes it; null = nobody has said.';
REVOKE ALL ON TABLE eventstore.mapped_cells FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.mapped_cells', '');

CREATE VIEW eventstore.cells AS
	SELECT c.cell, c.feed, c.slots, c.connection, m.generation FROM eventstore.mapped_cells c, eventstore.member m;
COMMENT ON VIEW eventstore.cells IS 'The map of cells; the same in every cell that has the same generation.';
COMMENT ON COLUMN eventstore.cells.cell IS 'Number of the cell.';
COMMENT ON COLUMN eventstore.cells.feed IS 'Its positions are this, modulo 1024.';
COMMENT ON COLUMN eventstore.cells.slots IS 'It takes appends to streams in these slots only.';
COMMENT ON COLUMN eventstore.cells.connection IS 'How to connect to it, as libpq takes it; null = nobody has said.';
COMMENT ON COLUMN eventstore.cells.generation IS 'Of the map: it grows with every change, and the highest one counts.';
REVOKE ALL ON TABLE eventstore.cells FROM PUBLIC;

CREATE FUNCTION eventstore.put_up_fence() RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_put_up_fence';
COMMENT ON FUNCTION eventstore.put_up_fence() IS
	'Has what eventstore.member says hold for all appends; returns when no other transaction is open that has appended to a stream which the store does not take.';
REVOKE ALL ON FUNCTION eventstore.put_up_fence() FROM PUBLIC;

CREATE FUNCTION eventstore.open_map() RETURNS eventstore.member
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
BEGIN
	LOCK TABLE eventstore.member IN SHARE ROW EXCLUSIVE MODE;
	INSERT INTO eventstore.member DEFAULT VALUES ON CONFLICT DO NOTHING;
	SELECT * INTO STRICT own FROM eventstore.member FOR UPDATE;
	RETURN own;
END
$$;
COMMENT ON FUNCTION eventstore.open_map() IS 'Keeps others from changing what the store is, and the map; returns what it is.';
REVOKE ALL ON FUNCTION eventstore.open_map() FROM PUBLIC;

CREATE FUNCTION eventstore.check_cell(cell bigint, feed bigint, slots int4multirange) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF cell IS NULL OR feed IS NULL OR slots IS NULL THEN
		RAISE EXCEPTION '% must not be null', CASE WHEN cell IS NULL THEN 'cell' WHEN feed IS NULL THEN 'feed' ELSE 'slots' END
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF cell NOT BETWEEN 0 AND 2147483647 THEN
		RAISE EXCEPTION 'cell must be from 0 to 2147483647' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF feed NOT BETWEEN 0 AND 1023 THEN
		RAISE EXCEPTION 'feed must be from 0 to 1023' USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF NOT slots <@ '{[0,1024)}'::int4multirange THEN
		RAISE EXCEPTION 'slots must be from 0 to 1023' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'All of them are {[0,1024)}, none {}.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_cell(bigint, bigint, int4multirange) IS 'Raises unless a cell can be so.';
REVOKE ALL ON FUNCTION eventstore.check_cell(bigint, bigint, int4multirange) FROM PUBLIC;

CREATE FUNCTION eventstore.check_connection(connection text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF connection COLLATE "C" ~* '(password|secret|client_key)[[:space:]]*=' OR connection COLLATE "C" ~* '^[[:space:]]*postgres(ql)?://[^/?]*:[^/?]*@' THEN
		RAISE EXCEPTION 'connection must not have a password' USING ERRCODE = 'invalid_parameter_value',
			DETAIL = 'The map is no place for secrets: whoever calls a router can read it.',
			HINT = 'Say passfile=... or service=..., and put the password into that file on the router''s server.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_connection(text) IS 'Raises 22023 if a connection string has a password in it.';
REVOKE ALL ON FUNCTION eventstore.check_connection(text) FROM PUBLIC;

CREATE FUNCTION eventstore.check_map() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	a record;
BEGIN
	SELECT l.cell, r.cell AS other, lower(range_merge(l.slots * r.slots)) AS slot INTO a
	FROM eventstore.mapped_cells l JOIN eventstore.mapped_cells r ON r.cell > l.cell AND r.slots && l.slots
	ORDER BY l.cell, r.cell LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'cells % and % would both take slot %', a.cell, a.other, a.slot USING ERRCODE = 'invalid_parameter_value',
			HINT = 'One of them has to give it up first, by es_set_cell() there; es_add_cell() or es_adopt_map() tells the others.';
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_map() IS 'Raises where two cells of the map have a slot in common.';
REVOKE ALL ON FUNCTION eventstore.check_map() FROM PUBLIC;

CREATE FUNCTION eventstore.map_cell(cell int, feed int, slots int4multirange, connection text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
#variable_conflict use_column
DECLARE
	other int;
BEGIN
	SELECT c.cell INTO other FROM eventstore.mapped_cells c WHERE c.feed = map_cell.feed AND c.cell <> map_cell.cell;
	IF FOUND THEN
		RAISE EXCEPTION 'feed % is that of cell %', map_cell.feed, other USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Each cell needs a feed of its own, and one that no other cell ever had: positions must not come twice.';
	END IF;
	INSERT INTO eventstore.mapped_cells AS c (cell, feed, slots, connection)
	VALUES (map_cell.cell, map_cell.feed, map_cell.slots, map_cell.connection)
	ON CONFLICT (cell) DO UPDATE SET feed = excluded.feed, slots = excluded.slots, connection = excluded.connection
		WHERE (c.feed, c.slots, c.connection) IS DISTINCT FROM (excluded.feed, excluded.slots, excluded.connection);
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM eventstore.check_map();
	UPDATE eventstore.member SET generation = generation + 1;
	RETURN true;
END
$$;
COMMENT ON FUNCTION eventstore.map_cell(int, int, int4multirange, text) IS 'Puts a cell into the map, or changes it there, in a new generation; returns whether it was not so yet.';
REVOKE ALL ON FUNCTION eventstore.map_cell(int, int, int4multirange, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_set_cell(cell bigint, feed bigint, slots int4multirange) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
BEGIN
	PERFORM eventstore.check_cell(es_set_cell.cell, es_set_cell.feed, es_set_cell.slots);
	own := eventstore.open_map();
	IF own.is_mirror THEN
		RAISE EXCEPTION 'a mirror can be no cell' USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'Its events come from another store; es_unset_mirror() ends that.';
	END IF;
	PERFORM eventstore.map_cell(es_set_cell.cell::int, es_set_cell.feed::int, es_set_cell.slots,
		(SELECT c.connection FROM eventstore.mapped_cells c WHERE c.cell = es_set_cell.cell));
	IF (own.cell, own.feed, own.slots) IS NOT DISTINCT FROM (es_set_cell.cell, es_set_cell.feed, es_set_cell.slots) THEN
		RETURN;
	END IF;
	PERFORM eventstore.take_feed(es_set_cell.cell::int, es_set_cell.feed::int);
	UPDATE eventstore.member m
	SET cell = es_set_cell.cell, feed = es_set_cell.feed, slots = es_set_cell.slots, epoch = epoch + 1;
	PERFORM eventstore.put_up_fence();
	PERFORM eventstore.note_feed(es_set_cell.feed::int);
	-- Split off: what there is belongs to the subscriptions of the cell that it was.
	IF own.cell <> es_set_cell.cell THEN
		PERFORM @extschema@.es_pause_subscription(s.name) FROM eventstore.subscriptions s;
		UPDATE eventstore.subscriptions SET closed_after = (SELECT p.last_value FROM eventstore.positions p) WHERE closed_after IS NULL;
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_set_cell(bigint, bigint, int4multirange) IS
	'Makes this store a cell: it gives out positions of a feed, and takes appends to streams in these slots only; others raise SE009.';
REVOKE ALL ON FUNCTION @extschema@.es_set_cell(bigint, bigint, int4multirange) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_unset_cell() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member := eventstore.open_map();
BEGIN
	IF own.cell IS NULL THEN
		RETURN;
	END IF;
	DELETE FROM eventstore.mapped_cells c WHERE c.cell = own.cell;
	UPDATE eventstore.member SET cell = NULL, feed = NULL, slots = NULL, epoch = epoch + 1, generation = generation + 1;
	PERFORM eventstore.put_up_fence();
END
$$;
COMMENT ON FUNCTION @extschema@.es_unset_cell() IS 'Makes this store an ordinary one again, which takes all streams; the map is without it.';
REVOKE ALL ON FUNCTION @extschema@.es_unset_cell() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_add_cell(cell bigint, feed bigint, slots int4multirange, connection text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
BEGIN
	PERFORM eventstore.check_cell(es_add_cell.cell, es_add_cell.feed, es_add_cell.slots);
	PERFORM eventstore.check_connection(es_add_cell.connection);
	own := eventstore.open_map();
	IF own.cell = es_add_cell.cell AND (own.feed <> es_add_cell.feed OR own.slots <> es_add_cell.slots) THEN
		RAISE EXCEPTION 'this store is cell %, and is otherwise', own.cell USING ERRCODE = 'invalid_parameter_value',
			DETAIL = format('It has feed %s and slots %s.', own.feed, own.slots),
			HINT = 'es_set_cell() changes that; es_add_cell() says how others connect to it.';
	END IF;
	PERFORM eventstore.map_cell(es_add_cell.cell::int, es_add_cell.feed::int, es_add_cell.slots, es_add_cell.connection);
END
$$;
COMMENT ON FUNCTION @extschema@.es_add_cell(bigint, bigint, int4multirange, text) IS
	'Puts a cell into this store''s map, or changes it there; a change makes a new generation of it.';
REVOKE ALL ON FUNCTION @extschema@.es_add_cell(bigint, bigint, int4multirange, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_cell(cell bigint) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
BEGIN
	IF es_drop_cell.cell IS NULL THEN
		RAISE EXCEPTION 'cell must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	own := eventstore.open_map();
	IF own.cell = es_drop_cell.cell THEN
		RAISE EXCEPTION 'this store is cell %', own.cell USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'es_unset_cell() makes it an ordinary store, and takes it from the map.';
	END IF;
	DELETE FROM eventstore.mapped_cells c WHERE c.cell = es_drop_cell.cell;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'cell % does not exist', es_drop_cell.cell USING ERRCODE = 'undefined_object',
			DETAIL = 'The map of this store is without it.';
	END IF;
	UPDATE eventstore.member SET generation = generation + 1;
END
$$;
COMMENT ON FUNCTION @extschema@.es_drop_cell(bigint) IS 'Takes a cell from this store''s map, in a new generation of it.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_cell(bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_adopt_map(map jsonb) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	own eventstore.member;
	adopted bigint;
	other int;
BEGIN
	IF map IS NULL THEN
		RAISE EXCEPTION 'map must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF jsonb_typeof(map) <> 'array' OR jsonb_array_length(map) = 0 OR
	   EXISTS (SELECT FROM jsonb_array_elements(map) e WHERE jsonb_typeof(e) <> 'object') THEN
		RAISE EXCEPTION 'map must be an array of cells' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'In the store that has it: SELECT jsonb_agg(c) FROM eventstore.cells c.';
	END IF;
	PERFORM eventstore.check_cell(c.cell, c.feed, c.slots), eventstore.check_connection(c.connection)
	FROM jsonb_to_recordset(map) AS c (cell int, feed int, slots int4multirange, connection text);
	SELECT max(c.generation) INTO adopted FROM jsonb_to_recordset(map) AS c (generation bigint)
	HAVING count(*) = count(c.generation) AND min(c.generation) = max(c.generation) AND min(c.generation) > 0;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'the cells of a map have one generation' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'In the store that has it: SELECT jsonb_agg(c) FROM eventstore.cells c.';
	END IF;
	-- Nobody could change the map any more.
	IF adopted > 4611686018427387903 THEN
		RAISE EXCEPTION 'generation of a map must be below 4611686018427387904' USING ERRCODE = 'invalid_parameter_value';
	END IF;

	own := eventstore.open_map();
	IF adopted < own.generation THEN
		RAISE NOTICE 'the map of this store is newer, of generation %', own.generation;
		RETURN false;
	END IF;
	IF NOT EXISTS (
		SELECT FROM (SELECT c.cell, c.feed, c.slots, c.connection
					 FROM jsonb_to_recordset(map) AS c (cell int, feed int, slots int4multirange, connection text)) a
		FULL JOIN eventstore.mapped_cells b USING (cell) WHERE (a.feed, a.slots, a.connection) IS DISTINCT FROM (b.feed, b.slots, b.connection))
	THEN
		UPDATE eventstore.member SET generation = adopted WHERE generation < adopted;
		RETURN FOUND;
	END IF;
	IF adopted = own.generation THEN
		RAISE EXCEPTION 'this store has another map of generation %', adopted USING ERRCODE = 'object_not_in_prerequisite_state',
			HINT = 'Change the one that is right, by es_add_cell() or es_set_cell(), and have the others adopt that.';
	END IF;
	SELECT c.cell INTO other FROM jsonb_to_recordset(map) AS c (cell int, feed int) WHERE c.feed = own.feed AND c.cell <> own.cell;
	IF FOUND THEN
		RAISE EXCEPTION 'feed % is that of this store, cell %', own.feed, own.cell USING ERRCODE = 'invalid_parameter_value',
			DETAIL = format('The map has it for cell %s.', other);
	END IF;
	DELETE FROM eventstore.mapped_cells;
	INSERT INTO eventstore.mapped_cells (cell, feed, slots, connection)
	SELECT c.cell, c.feed, c.slots, c.connection
	FROM jsonb_to_recordset(map) AS c (cell int, feed int, slots int4multirange, connection text);
	PERFORM eventstore.check_map();
	UPDATE eventstore.member SET generation = adopted;
	RETURN true;
END
$$;
COMMENT ON FUNCTION @extschema@.es_adopt_map(jsonb) IS
	'Takes over another store''s map of cells, if it is of a later generation; returns whether it was. Which slots this store takes, es_set_cell says.';
REVOKE ALL ON FUNCTION @extschema@.es_adopt_map(jsonb) FROM PUBLIC;

CREATE TABLE eventstore.feeds
(
	feed           int    NOT NULL CONSTRAINT feeds_pkey PRIMARY KEY,
	number         int    NOT NULL CONSTRAINT feeds_number_key UNIQUE,
	after_position bigint NOT NULL
);
COMMENT ON TABLE eventstore.feeds IS 'The feeds that the store has events of, its own being the last one. No row: it was never a cell.';
COMMENT ON COLUMN eventstore.feeds.feed IS 'The feed, as es_set_cell has set it here, or in the store that this one was split off from.';
COMMENT ON COLUMN eventstore.feeds.number IS 'Which one it is: 1, 2, 3 ...';
COMMENT ON COLUMN eventstore.feeds.after_position IS 'Its events are those after this position, up to that of the next one.';
REVOKE ALL ON TABLE eventstore.feeds FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.feeds', '');

CREATE TABLE eventstore.used_feeds
(
	feed   int     NOT NULL CONSTRAINT used_feeds_pkey PRIMARY KEY,
	cell   int     NOT NULL,
	is_own boolean NOT NULL
);
COMMENT ON TABLE eventstore.used_feeds IS 'The feeds that positions were ever given out of, here or in the store that this one was split off from.';
COMMENT ON COLUMN eventstore.used_feeds.feed IS 'The feed.';
COMMENT ON COLUMN eventstore.used_feeds.cell IS 'Number of the cell that had it.';
COMMENT ON COLUMN eventstore.used_feeds.is_own IS 'Whether that is this store; false: it has had another number since, so the feed belongs to the cell that it was.';
REVOKE ALL ON TABLE eventstore.used_feeds FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.used_feeds', '');

CREATE FUNCTION eventstore.take_feed(new_cell int, new_feed int) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
DECLARE
	former int;
BEGIN
	UPDATE eventstore.used_feeds SET is_own = false WHERE is_own AND cell <> new_cell;
	SELECT f.cell INTO former FROM eventstore.used_feeds f WHERE f.feed = new_feed AND NOT f.is_own;
	IF FOUND THEN
		RAISE EXCEPTION 'feed % was that of cell %', new_feed, former USING ERRCODE = 'invalid_parameter_value',
			DETAIL = 'This store has events of it, and was that cell, or was split off from it.',
			HINT = 'Each cell needs a feed of its own, and one that no other cell ever had: positions must not come twice.';
	END IF;
	IF NOT EXISTS (SELECT FROM eventstore.used_feeds) AND EXISTS (
		SELECT FROM (SELECT e.position, lag(e.position) OVER (ORDER BY e.position) AS before
					 FROM (SELECT position FROM eventstore.events ORDER BY position DESC LIMIT 100) e) p
		WHERE p.position % 1024 = new_feed AND p.before % 1024 = new_feed)
	THEN
		RAISE EXCEPTION 'the last events are of feed %', new_feed USING ERRCODE = 'invalid_parameter_value',
			DETAIL = 'They come from another store, which was a cell of that feed.',
			HINT = 'Each cell needs a feed of its own, and one that no other cell ever had: positions must not come twice.';
	END IF;
	INSERT INTO eventstore.used_feeds (feed, cell, is_own) VALUES (new_feed, new_cell, true) ON CONFLICT (feed) DO NOTHING;
END
$$;
COMMENT ON FUNCTION eventstore.take_feed(int, int) IS 'Notes that a feed is this store''s; raises if it was another cell''s.';
REVOKE ALL ON FUNCTION eventstore.take_feed(int, int) FROM PUBLIC;

CREATE FUNCTION eventstore.note_feed(new_feed int) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
DECLARE
	last eventstore.feeds;
BEGIN
	SELECT f.* INTO last FROM eventstore.feeds f ORDER BY f.number DESC LIMIT 1;
	IF new_feed = last.feed THEN
		RETURN;
	END IF;
	-- It goes on with one that it had before: what came in between counts as of that.
	IF EXISTS (SELECT FROM eventstore.feeds f WHERE f.feed = new_feed) THEN
		DELETE FROM eventstore.feeds f WHERE f.number > (SELECT o.number FROM eventstore.feeds o WHERE o.feed = new_feed);
		RETURN;
	END IF;
	-- What others have stored since its snapshot was taken would not be seen.
	IF last.feed IS NOT NULL AND current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE EXCEPTION 'a cell can only be given another feed in a READ COMMITTED transaction' USING ERRCODE = 'active_sql_transaction';
	END IF;
	INSERT INTO eventstore.feeds (feed, number, after_position)
	VALUES (new_feed, coalesce(last.number, 0) + 1,
			CASE WHEN last.feed IS NULL THEN 0 ELSE greatest(last.after_position, (SELECT max(e.position) FROM eventstore.events e)) END);
END
$$;
COMMENT ON FUNCTION eventstore.note_feed(int) IS 'Notes where a feed begins.';
REVOKE ALL ON FUNCTION eventstore.note_feed(int) FROM PUBLIC;

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

CREATE FUNCTION eventstore.may_reveal() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_reveal() IS 'Whoever may execute this has been granted the level "reveal".';
REVOKE ALL ON FUNCTION eventstore.may_reveal() FROM PUBLIC;

CREATE FUNCTION eventstore.may_read_within() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_read_within() IS 'Whoever may execute this has been granted the level "read" within bounds.';
REVOKE ALL ON FUNCTION eventstore.may_read_within() FROM PUBLIC;

CREATE FUNCTION eventstore.may_append_within() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_append_within() IS 'Whoever may execute this has been granted the level "append" within bounds.';
REVOKE ALL ON FUNCTION eventstore.may_append_within() FROM PUBLIC;

CREATE FUNCTION eventstore.may_reveal_within() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_reveal_within() IS 'Whoever may execute this has been granted the level "reveal" within bounds.';
REVOKE ALL ON FUNCTION eventstore.may_reveal_within() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_tenant(stream text) RETURNS text
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_tenant';
COMMENT ON FUNCTION @extschema@.es_tenant(text) IS
	'The tenant of a stream: what stands in the first {...} of its name; null = it has none.';
REVOKE ALL ON FUNCTION @extschema@.es_tenant(text) FROM PUBLIC;

CREATE OR REPLACE VIEW eventstore.grants AS
	SELECT CASE g.grantee WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(g.grantee)::pg_catalog.text END AS role,
		   (CASE g.level WHEN 'administer' THEN 'admin' ELSE g.level END) COLLATE pg_catalog."default" AS level, g.bound ->> 0 AS category, g.bound ->> 1 AS tenant
	FROM (
		SELECT acl.grantee, pg_catalog.split_part(f.proname::pg_catalog.text, '_', 2) AS level,
			   -- The order in which conditions are looked at is the planner's: no cast of another function's source.
			   CASE WHEN f.proname ~ '^may_[a-z]+_within_' THEN
					pg_catalog.replace(pg_catalog.substr(f.prosrc, 9, pg_catalog.length(f.prosrc) - 9), '''''', '''')::pg_catalog.jsonb END AS bound
		FROM pg_catalog.pg_proc f, pg_catalog.aclexplode(f.proacl) acl
		WHERE f.pronamespace = 'eventstore'::pg_catalog.regnamespace AND f.pronargs = 0 AND acl.grantee <> f.proowner
		  AND (f.proname IN ('may_read', 'may_append', 'may_reveal', 'may_administer')
			   OR f.proname ~ '^may_(read|append|reveal)_within_' AND acl.grantee <> 0)
	) g;
COMMENT ON VIEW eventstore.grants IS 'Which role has been granted which level, and within which bounds; see es_grant. Without bounds: the whole store.';
COMMENT ON COLUMN eventstore.grants.level IS 'read, append, reveal or admin.';
COMMENT ON COLUMN eventstore.grants.category IS 'The category that the grant is bound to; null = any.';
COMMENT ON COLUMN eventstore.grants.tenant IS 'The tenant that the grant is bound to; null = any, or none.';

CREATE FUNCTION @extschema@.es_grant(role regrole, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	PERFORM eventstore.check_grant(role, level, category, tenant);
	IF role = eventstore.owner() THEN
		RETURN;
	END IF;
	IF category IS NULL AND tenant IS NULL THEN
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', eventstore.marker_of_level(level), role);
	ELSE
		-- Making the first one switches row security on, unless event triggers are off, or somebody has switched it off again.
		PERFORM eventstore.make_marker_of_bound(level, category, tenant);
		PERFORM eventstore.guard_events();
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s, eventstore.may_%s_within() TO %s',
					   eventstore.marker_of_bound(level, category, tenant), level, role);
	END IF;
	PERFORM eventstore.apply_grants(role);
	IF level = 'read' AND category IS NULL AND tenant IS NULL THEN
		PERFORM eventstore.tell_read_tables(role);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_grant(regrole, text, text, text) IS
	'Lets a role read (all events, and the table), append (and read, by functions), reveal, or admin (all of it, and grant); the first three also for one category, one tenant, or both.';
REVOKE ALL ON FUNCTION @extschema@.es_grant(regrole, text, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_revoke(role regrole, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	marker regprocedure;
BEGIN
	PERFORM eventstore.check_grant(role, level, category, tenant);
	IF NOT level = ANY (eventstore.levels_of_role(role) || eventstore.bound_levels_of_role(role)) THEN
		RETURN;
	END IF;
	IF category IS NULL AND tenant IS NULL THEN
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', eventstore.marker_of_level(level), role);
	END IF;
	FOR marker IN SELECT m FROM eventstore.markers_of_bounds(role, level) m
				  WHERE category IS NULL AND tenant IS NULL OR m = to_regprocedure(eventstore.marker_of_bound(level, category, tenant))
	LOOP
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', marker, role);
	END LOOP;
	IF level <> 'admin' AND NOT EXISTS (SELECT FROM eventstore.markers_of_bounds(role, level)) THEN
		EXECUTE format('REVOKE EXECUTE ON FUNCTION eventstore.may_%s_within() FROM %s', level, role);
	END IF;
	PERFORM eventstore.apply_grants(role);
	PERFORM eventstore.drop_idle_markers();
	PERFORM eventstore.guard_events();
END
$$;
COMMENT ON FUNCTION @extschema@.es_revoke(regrole, text, text, text) IS
	'Takes a level from a role, or one of the bounds that it has it within; what its other grants give stays.';
REVOKE ALL ON FUNCTION @extschema@.es_revoke(regrole, text, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.lock_grants() RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_lock_grants';
COMMENT ON FUNCTION eventstore.lock_grants() IS 'Has es_grant and es_revoke go one at a time; nobody else can take this lock.';
REVOKE ALL ON FUNCTION eventstore.lock_grants() FROM PUBLIC;

CREATE FUNCTION eventstore.tell_read_tables(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	tables text[] := (
		SELECT array_agg(DISTINCT t.name ORDER BY t.name)
		FROM eventstore.projections p, unnest(CASE WHEN p.is_declared THEN p.tables[1:1] ELSE p.tables END) t (name)
		WHERE to_regclass(t.name) IS NOT NULL AND NOT has_table_privilege(role::oid, to_regclass(t.name)::oid, 'SELECT'));
BEGIN
	IF tables IS NOT NULL THEN
		RAISE NOTICE 'role % has been granted no right on % of projections', role, CASE cardinality(tables) WHEN 1 THEN 'a table' ELSE cardinality(tables) || ' tables' END
			USING DETAIL = 'Level "read" is about events. Read tables are their owners'': ' || array_to_string(tables[1:10], ', ') || CASE WHEN cardinality(tables) > 10 THEN ' ...' ELSE '' END || '.',
				  HINT = format('GRANT SELECT ON %s TO %s, and USAGE on the schema; ALTER DEFAULT PRIVILEGES does so for those to come.', array_to_string(tables[1:10], ', ') || CASE WHEN cardinality(tables) > 10 THEN ', ...' ELSE '' END, role);
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.tell_read_tables(regrole) IS 'Tells by a NOTICE which read tables a role may not read.';
REVOKE ALL ON FUNCTION eventstore.tell_read_tables(regrole) FROM PUBLIC;

CREATE FUNCTION eventstore.check_grant(role regrole, level text, category text, tenant text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF role IS NULL OR level IS NULL THEN
		RAISE EXCEPTION '% must not be null', CASE WHEN role IS NULL THEN 'role' ELSE 'level' END
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF role = 0::oid THEN
		RAISE EXCEPTION 'invalid role' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Grant to a role; what PUBLIC may is for DBAs to say with GRANT.';
	END IF;
	IF NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = role) THEN
		RAISE EXCEPTION 'role with OID % does not exist', role USING ERRCODE = 'undefined_object';
	END IF;
	-- Whatever collation the caller compares by: what passes here becomes part of commands that run as the store's owner.
	IF level COLLATE "C" NOT IN ('read', 'append', 'reveal', 'admin') THEN
		RAISE EXCEPTION 'unknown level "%"', level USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The levels are read, append, reveal and admin.';
	END IF;
	IF level = 'admin' AND (category IS NOT NULL OR tenant IS NOT NULL) THEN
		RAISE EXCEPTION 'level "admin" cannot be bound to a category or a tenant' USING ERRCODE = 'invalid_parameter_value',
			HINT = 'Levels read, append and reveal can be.';
	END IF;
	IF octet_length(category) > 512 OR octet_length(tenant) > 512 THEN
		RAISE EXCEPTION '% is too long', CASE WHEN octet_length(category) > 512 THEN 'category' ELSE 'tenant' END
			USING ERRCODE = 'program_limit_exceeded', DETAIL = format('It has %s bytes; the limit is 512.',
				CASE WHEN octet_length(category) > 512 THEN octet_length(category) ELSE octet_length(tenant) END);
	END IF;
	IF category ~ '-' THEN
		RAISE EXCEPTION 'no stream has the category "%"', category USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The category of a stream is what stands before the first "-" of its name.';
	END IF;
	IF tenant = '' OR tenant ~ '}' THEN
		RAISE EXCEPTION 'no stream has the tenant "%"', tenant USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The tenant of a stream is what stands in the first {...} of its name.';
	END IF;
	-- Two at once would update the same rows of the catalogue.
	PERFORM eventstore.lock_grants();
	-- What a role has is looked up by the transaction's snapshot. By one from before somebody else's grant, what that took would be given back:
	-- 40001 instead.
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		PERFORM FROM pg_proc f WHERE f.pronamespace = 'eventstore'::regnamespace AND f.proname ~ '^may_' FOR SHARE;
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.check_grant(regrole, text, text, text) IS
	'Raises unless the arguments of es_grant and es_revoke are right; lets one of them go at a time.';
REVOKE ALL ON FUNCTION eventstore.check_grant(regrole, text, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION eventstore.marker_of_level(level text) RETURNS regprocedure
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE level
		WHEN 'read' THEN 'eventstore.may_read()'::regprocedure
		WHEN 'append' THEN 'eventstore.may_append()'::regprocedure
		WHEN 'reveal' THEN 'eventstore.may_reveal()'::regprocedure
		WHEN 'admin' THEN 'eventstore.may_administer()'::regprocedure
	END;

CREATE FUNCTION eventstore.marker_of_bound(level text, category text, tenant text) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT format('eventstore.may_%s_within_%s()', level,
				  left(encode(sha256(convert_to(jsonb_build_array(category, tenant)::text, getdatabaseencoding())), 'hex'), 32))
$$;
COMMENT ON FUNCTION eventstore.marker_of_bound(text, text, text) IS
	'Name of the function whose EXECUTE right records that a role has a level within a bound; it need not be there.';
REVOKE ALL ON FUNCTION eventstore.marker_of_bound(text, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.make_marker_of_bound(level text, category text, tenant text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	marker text := eventstore.marker_of_bound(level, category, tenant);
	-- Not quote_literal, which makes an E'...' of what JSON escapes by a backslash; src/rights/bound.c reads a plain one.
	source text := 'SELECT ''' || replace(jsonb_build_array(category, tenant)::text, '''', '''''') || '''';
	grantee regrole;
BEGIN
	IF to_regprocedure(marker) IS NULL THEN
		EXECUTE format('CREATE FUNCTION %s RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L', marker, source);
		-- Whom ALTER DEFAULT PRIVILEGES gives new functions to has not been granted this bound.
		FOR grantee IN SELECT DISTINCT acl.grantee FROM pg_proc f, aclexplode(f.proacl) acl
					   WHERE f.oid = to_regprocedure(marker) AND acl.grantee NOT IN (0, f.proowner)
		LOOP
			EXECUTE format('REVOKE ALL ON FUNCTION %s FROM %s', marker, grantee);
		END LOOP;
		EXECUTE format('COMMENT ON FUNCTION %s IS %L', marker, 'A bound of level "' || level || '"; see eventstore.grants.');
		EXECUTE format('ALTER FUNCTION %s DEPENDS ON EXTENSION eventstore', marker);
	END IF;
	-- A restore without rights gives them to PUBLIC.
	EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', marker);
END
$$;
COMMENT ON FUNCTION eventstore.make_marker_of_bound(text, text, text) IS 'Makes that function, if it is not there.';
REVOKE ALL ON FUNCTION eventstore.make_marker_of_bound(text, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.markers_of_bounds(role regrole, level text) RETURNS SETOF regprocedure
	LANGUAGE sql STABLE PARALLEL SAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS
$$
	SELECT f.oid::regprocedure FROM pg_proc f
	WHERE f.pronamespace = 'eventstore'::regnamespace AND f.pronargs = 0 AND f.proname ~ ('^may_' || markers_of_bounds.level || '_within_')
	  AND (markers_of_bounds.role IS NULL OR EXISTS (SELECT FROM aclexplode(f.proacl) acl WHERE acl.grantee = markers_of_bounds.role))
$$;
COMMENT ON FUNCTION eventstore.markers_of_bounds(regrole, text) IS 'The functions that record the bounds that a role, or any, has a level within.';
REVOKE ALL ON FUNCTION eventstore.markers_of_bounds(regrole, text) FROM PUBLIC;

CREATE FUNCTION eventstore.drop_idle_markers() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	marker regprocedure;
BEGIN
	FOR marker IN SELECT m FROM eventstore.markers_of_bounds(NULL, '[a-z]+') m
				  WHERE NOT EXISTS (SELECT FROM pg_proc f, aclexplode(f.proacl) acl WHERE f.oid = m AND acl.grantee NOT IN (0, f.proowner))
	LOOP
		EXECUTE format('DROP FUNCTION %s', marker);
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.drop_idle_markers() IS 'Drops the functions that record bounds which no role has.';
REVOKE ALL ON FUNCTION eventstore.drop_idle_markers() FROM PUBLIC;

CREATE OR REPLACE FUNCTION eventstore.levels_of_role(role regrole) RETURNS text[]
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT coalesce(array_agg(l), '{}')
	FROM unnest(ARRAY['read', 'append', 'reveal', 'admin']) l
	WHERE EXISTS (SELECT FROM pg_proc f, aclexplode(f.proacl) acl
				  WHERE f.oid = eventstore.marker_of_level(l) AND acl.grantee = role AND acl.grantee <> f.proowner)
$$;
COMMENT ON FUNCTION eventstore.levels_of_role(regrole) IS 'The levels that a role has been granted for the whole store.';

CREATE FUNCTION eventstore.bound_levels_of_role(role regrole) RETURNS text[]
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT coalesce(array_agg(l), '{}')
	FROM unnest(ARRAY['read', 'append', 'reveal']) l
	WHERE EXISTS (SELECT FROM eventstore.markers_of_bounds(role, l))
$$;
COMMENT ON FUNCTION eventstore.bound_levels_of_role(regrole) IS 'The levels that a role has been granted within bounds.';
REVOKE ALL ON FUNCTION eventstore.bound_levels_of_role(regrole) FROM PUBLIC;

CREATE FUNCTION eventstore.sees_all() RETURNS boolean
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_sees_all';
COMMENT ON FUNCTION eventstore.sees_all() IS 'Whether grants bind the current role to no category and no tenant.';

CREATE FUNCTION eventstore.sees(stream text) RETURNS boolean
	LANGUAGE C STABLE PARALLEL SAFE STRICT COST 5 AS 'MODULE_PATHNAME', 'es_sees';
COMMENT ON FUNCTION eventstore.sees(text) IS 'Whether a stream is within the bounds that grants put to the current role.';

CREATE FUNCTION eventstore.is_everyone_let_in() RETURNS boolean
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_is_everyone_let_in';
COMMENT ON FUNCTION eventstore.is_everyone_let_in() IS 'Whether nobody has put a permissive policy of his own on eventstore.events.';

CREATE POLICY eventstore_bounds ON eventstore.events AS RESTRICTIVE FOR SELECT
	USING ((SELECT eventstore.sees_all()) OR eventstore.sees(stream));
COMMENT ON POLICY eventstore_bounds ON eventstore.events IS 'Bounds whom es_grant has bound to categories or tenants.';

CREATE POLICY eventstore_everyone ON eventstore.events FOR DELETE USING ((SELECT eventstore.is_everyone_let_in()));
COMMENT ON POLICY eventstore_everyone ON eventstore.events IS
	'Lets all others in, where the store has switched row security on for bounds alone; else it is one for DELETE, and says nothing.';

CREATE FUNCTION eventstore.switch_row_security(is_on boolean, lets_everyone_in boolean) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_switch_row_security';
COMMENT ON FUNCTION eventstore.switch_row_security(boolean, boolean) IS
	'Switches row security on eventstore.events, and policy eventstore_everyone, without waiting for who uses the table.';
REVOKE ALL ON FUNCTION eventstore.switch_row_security(boolean, boolean) FROM PUBLIC;

CREATE FUNCTION eventstore.guard_events() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	is_needed boolean := EXISTS (SELECT FROM eventstore.markers_of_bounds(NULL, '(read|append)'));
	is_on boolean := (SELECT relrowsecurity FROM pg_class WHERE oid = 'eventstore.events'::regclass);
	is_ours boolean := EXISTS (SELECT FROM pg_policy WHERE polrelid = 'eventstore.events'::regclass AND polname = 'eventstore_everyone' AND polcmd <> 'd');
BEGIN
	IF is_needed AND NOT is_on THEN
		PERFORM eventstore.switch_row_security(true, true);
	ELSIF is_ours AND NOT is_needed THEN
		-- It stays on for policies that a DBA has made meanwhile.
		PERFORM eventstore.switch_row_security(EXISTS (SELECT FROM pg_policy WHERE polrelid = 'eventstore.events'::regclass
													   AND polname NOT IN ('eventstore_bounds', 'eventstore_everyone')), false);
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.guard_events() IS 'Has row security on eventstore.events keep bounds as long as there are some.';
REVOKE ALL ON FUNCTION eventstore.guard_events() FROM PUBLIC;

CREATE FUNCTION eventstore.note_marker_of_bound() RETURNS event_trigger
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() c JOIN pg_proc f ON c.classid = 'pg_proc'::regclass AND f.oid = c.objid
			   WHERE f.pronamespace = 'eventstore'::regnamespace AND f.proname ~ '^may_(read|append)_within_')
	THEN
		PERFORM eventstore.guard_events();
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.note_marker_of_bound() IS 'Has eventstore.events guarded as soon as there is a bound, made by es_grant or by a restore.';
REVOKE ALL ON FUNCTION eventstore.note_marker_of_bound() FROM PUBLIC;

CREATE EVENT TRIGGER eventstore_bound ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION eventstore.note_marker_of_bound();
ALTER EVENT TRIGGER eventstore_bound ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_bound IS 'Notices that there is a bound.';

CREATE FUNCTION eventstore.is_for_bound_roles(object text) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT object ~ '^SCHEMA ' OR substring(object FROM '([a-z_]+)(?:[(].*)?$') IN
		('events', 'notify_status', 'subscription_status', 'parked', 'categories', 'types', 'find_tallies',
		 'es_read', 'es_read_all', 'es_read_category', 'es_read_query', 'es_export', 'es_stream_version', 'es_last_event', 'es_stream_as_of', 'find_event',
		 'es_head', 'es_position_at', 'es_wait', 'es_channel', 'find_notify_status', 'es_tenant', 'es_slot', 'es_partition',
		 'es_snapshot', 'es_load', 'es_load_json', 'es_fold', 'es_save_snapshot', 'es_wait_projection', 'es_projection_as_of', 'es_first', 'es_last',
		 'es_any', 'es_exists', 'es_no_stream', 'es_append', 'es_append_streams', 'es_append_if', 'es_assert_version', 'es_last_position',
		 'es_protect', 'es_reveal', 'es_version',
		 'find_subscription_division', 'find_subscription_status', 'es_fetch', 'es_ack', 'es_nack', 'es_release')
$$;
COMMENT ON FUNCTION eventstore.is_for_bound_roles(text) IS 'Whether a right of a level is given within bounds, too.';
REVOKE ALL ON FUNCTION eventstore.is_for_bound_roles(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION eventstore.rights_of_level(level text, OUT privilege text, OUT object text) RETURNS SETOF record
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT r.privilege, r.object
	FROM (VALUES
		('read append reveal admin', 'USAGE', 'SCHEMA eventstore'),
		('read append reveal admin', 'USAGE', 'SCHEMA @extschema@'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_version()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_tenant(text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_slot(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_cell(bigint, bigint, int4multirange)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_cell(bigint, bigint, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_add_cell(bigint, bigint, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_unset_cell()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_add_cell(bigint, bigint, int4multirange, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_cell(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_adopt_map(jsonb)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_adopt_map(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_open_feed(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_mirror()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_unset_mirror()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_announce_head()'),
		('admin',             'SELECT',  'TABLE eventstore.mirror_status'),
		('admin',             'EXECUTE', 'FUNCTION eventstore.find_mirror_status()'),
		('admin',             'SELECT',  'TABLE eventstore.member'),
		('admin',             'SELECT',  'TABLE eventstore.mapped_cells'),
		('admin',             'SELECT',  'TABLE eventstore.cells'),
		('admin',             'SELECT',  'TABLE eventstore.feeds'),
		('admin',             'SELECT',  'TABLE eventstore.used_feeds'),
		('read admin',        'SELECT',  'TABLE eventstore.events'),
		('admin',             'SELECT',  'TABLE eventstore.streams'),
		('admin',             'SELECT',  'TABLE eventstore.head'),
		('admin',             'SELECT',  'TABLE eventstore.marks'),
		('read admin',        'SELECT',  'TABLE eventstore.inflight'),
		('read admin',        'SELECT',  'TABLE eventstore.notify_status'),
		('admin',             'SELECT',  'TABLE eventstore.snapshots'),
		('admin',             'SELECT',  'TABLE eventstore.removed_events'),
		('admin',             'SELECT',  'TABLE eventstore.detached_events'),
		('admin',             'SELECT',  'TABLE eventstore.gone_events'),
		('admin',             'SELECT',  'TABLE eventstore.redactions'),
		('admin',             'SELECT',  'TABLE eventstore.retention'),
		('admin',             'SELECT',  'TABLE eventstore.grants'),
		('read admin',        'SELECT',  'TABLE eventstore.subscription_status'),
		('read admin',        'SELECT',  'TABLE eventstore.parked'),
		('admin',             'SELECT',  'TABLE eventstore.subscriptions'),
		('admin',             'SELECT',  'TABLE eventstore.subscription_shares'),
		('admin',             'SELECT',  'TABLE eventstore.subscription_retries'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read(text, bigint, bigint, boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_all(bigint, bigint, text[], boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_category(text, bigint, bigint, text[], boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_query(jsonb, bigint, bigint, boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_stream_version(text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_last_event(text, text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_stream_as_of(text, timestamptz)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_export(bigint, bigint, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_import(jsonb)'),
		('admin',             'SELECT',  'TABLE eventstore.beginnings'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_event(bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_inflight()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_notify_status()'),
		('read admin',        'SELECT',  'TABLE eventstore.categories'),
		('read admin',        'SELECT',  'TABLE eventstore.types'),
		('read admin',        'SELECT',  'TABLE eventstore.stats'),
		('read admin',        'SELECT',  'TABLE eventstore.health'),
		('admin',             'SELECT',  'TABLE eventstore.tallies'),
		('admin',             'SELECT',  'TABLE eventstore.tally_state'),
		('admin',             'SELECT',  'TABLE eventstore.tally_removals'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_tallies(boolean)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_stats()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.health_level(text, double precision)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_head()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_processes()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_projections()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_subscriptions()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_replication()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_keeping()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.check_tables()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_repair_positions(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_repair_streams()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_truncate_stream(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_delete_stream(text, bigint, boolean)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_redact(uuid, text, text[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_retention(text, interval, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_apply_retention()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_head()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_position_at(timestamptz)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait(bigint, interval, text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_channel(text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_snapshot(text, bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_load(text, bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, regprocedure, jsonb, bigint, timestamptz)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, bigint)'),
		('read admin',        'SELECT',  'TABLE eventstore.projection_status'),
		('admin',             'SELECT',  'TABLE eventstore.projections'),
		('admin',             'SELECT',  'TABLE eventstore.projection_checkpoints'),
		('admin',             'SELECT',  'TABLE eventstore.projection_appends'),
		('admin',             'SELECT',  'TABLE eventstore.stale_projections'),
		('read admin',        'SELECT',  'TABLE eventstore.skipped_events'),
		('admin',             'SELECT',  'TABLE eventstore.projection_missed'),
		('admin',             'SELECT',  'TABLE eventstore.intact_projections'),
		('admin',             'SELECT',  'TABLE eventstore.projection_needs'),
		('admin',             'SELECT',  'TABLE eventstore.projection_facts'),
		('admin',             'SELECT',  'TABLE eventstore.local_projections'),
		('admin',             'SELECT',  'TABLE eventstore.projection_waits'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait_projection(text, bigint, interval)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_first(anyelement, anycompatible)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_last(anyelement, anycompatible)'),
		('admin',             'EXECUTE', 'FUNCTION eventstore.first_by(anyelement, anycompatible, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION eventstore.last_by(anyelement, anycompatible, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_state_projection(text, regprocedure, jsonb, text, text[], text[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_projection(text, text, text, text[], text[], regclass[], text, text, regclass[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_projection(text, boolean)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_reassign_projection(text, regrole)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_pause_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_resume_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_run_projection(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_skip_event(text, bigint, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_rebuild_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_rename_projection(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replace_projection(text, text, text[], text[], regclass[], regclass[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_verify_projection(text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_projection_as_of(text, text, bigint, timestamptz)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_projection_activity()'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_projection_trouble(text)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.count_behind(text, bigint, text[], text[])'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_oldest_behind(text, bigint, text[], text[])'),
		('read append admin', 'EXECUTE', 'FUNCTION eventstore.event_digest(eventstore.event)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_verify()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_seal(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_verify_seals()'),
		('admin',             'SELECT',  'TABLE eventstore.seals'),
		('admin',             'SELECT',  'TABLE eventstore.seal_blocks'),
		('admin',             'SELECT',  'TABLE eventstore.seal_verifications'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_partition_events(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_detach_events(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_attach_events(regclass)'),
		('admin',             'EXECUTE', 'FUNCTION eventstore.describe_partition(regclass)'),
		('admin',             'SELECT',  'TABLE eventstore.event_partitions'),
		('admin',             'SELECT',  'TABLE eventstore.archived_ranges'),
		('admin',             'SELECT',  'TABLE eventstore.foreign_ranges'),
		('admin',             'SELECT',  'TABLE eventstore.partitioning'),
		('admin',             'SELECT',  'TABLE eventstore.partition_ids'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_any()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_exists()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_no_stream()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, jsonb)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, jsonb, jsonb, uuid, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text[], jsonb[], jsonb[], uuid[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, text, text, text, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append_streams(jsonb)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append_if(text, jsonb, jsonb, bigint)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_assert_version(text, bigint)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_last_position()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_partition(text, bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_subscription_division(text)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_subscription_status(text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_fetch(text, text, bigint, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_ack(text, bigint, bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_release(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, interval, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_alter_subscription(text, bigint, text, bigint, interval, text, text[], text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_pause_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_resume_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_reset_subscription(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, uuid)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_parked(text, uuid)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_protect(text, jsonb)'),
		('reveal admin',      'EXECUTE', 'FUNCTION @extschema@.es_reveal(jsonb)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_erase_subject(text, text)'),
		('admin',             'SELECT',  'TABLE eventstore.erasures'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_grant(regrole, text, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_revoke(regrole, text, text, text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_load_json(text, bigint)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, text, text, uuid, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, jsonb, jsonb, text, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append_streams(text)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append_if(text, text, text, bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_query(text, bigint, bigint, boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_stream_as_of(text, eventstore.timestamptz_text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_position_at(eventstore.timestamptz_text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait(bigint, eventstore.interval_text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, eventstore.interval_text, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_alter_subscription(text, bigint, text, bigint, eventstore.interval_text, text, text[], text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_fetch(text, text, bigint, eventstore.interval_text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, eventstore.interval_text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_parked(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_state_projection(text, text, jsonb, text, text[], text[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_state_projection(text, text, text, text, text[], text[])'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait_projection(text, bigint, eventstore.interval_text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_projection_as_of(text, text, bigint, eventstore.timestamptz_text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_reassign_projection(text, text)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_save_snapshot(text, bigint, text, bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, text, jsonb, bigint, timestamptz)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, text, text, bigint, timestamptz)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, text, text, bigint, eventstore.timestamptz_text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_set_retention(text, eventstore.interval_text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_redact(text, text, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_protect(text, text)'),
		('reveal admin',      'EXECUTE', 'FUNCTION @extschema@.es_reveal(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_import(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_grant(text, text, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_revoke(text, text, text, text)')
	) AS r (levels, privilege, object)
	WHERE level = ANY (string_to_array(r.levels, ' '))
$$;

CREATE OR REPLACE FUNCTION eventstore.apply_grants(role regrole) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS
$$
DECLARE
	right_to record;
BEGIN
	-- The role may have USAGE on the functions' schema for reasons of its own: it is given where needed, and never taken.
	FOR right_to IN SELECT DISTINCT privilege, object FROM eventstore.rights_of_level('admin')
					WHERE object <> 'SCHEMA @extschema@'
	LOOP
		EXECUTE format('REVOKE %s ON %s FROM %s', right_to.privilege, right_to.object, role);
	END LOOP;
	FOR right_to IN SELECT DISTINCT r.privilege, r.object
					FROM (SELECT r.privilege, r.object FROM unnest(eventstore.levels_of_role(role)) l, eventstore.rights_of_level(l) r
						  UNION ALL
						  SELECT r.privilege, r.object FROM unnest(eventstore.bound_levels_of_role(role)) l, eventstore.rights_of_level(l) r
						  WHERE eventstore.is_for_bound_roles(r.object)) r
					WHERE r.object <> 'SCHEMA @extschema@'
					   OR NOT has_schema_privilege(role::oid, '@extschema@'::regnamespace::oid, 'USAGE')
	LOOP
		EXECUTE format('GRANT %s ON %s TO %s', right_to.privilege, right_to.object, role);
	END LOOP;
END
$$;
COMMENT ON COLUMN eventstore.subscriptions.next_division IS 'Number of that division: it is the present one as soon as they are drained, whether this row says so yet or not.';
COMMENT ON COLUMN eventstore.subscriptions.is_paused IS 'Whether nothing is delivered.';
COMMENT ON COLUMN eventstore.subscriptions.revision IS 'Number of the present definition: what a fetch has read under another one it reads anew.';
COMMENT ON COLUMN eventstore.subscriptions.tenant IS 'Only events of this tenant''s streams; null = of all.';
COMMENT ON COLUMN eventstore.subscriptions.closed_after IS 'In a cell that was split off: it is paused until es_open_feed has it begin after this position; null = it is not closed.';

CREATE SEQUENCE eventstore.subscription_revisions AS bigint;
COMMENT ON SEQUENCE eventstore.subscription_revisions IS 'Gives out the numbers of revisions of shares and retries. It never goes back.';
REVOKE ALL ON SEQUENCE eventstore.subscription_revisions FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_revisions', '');

CREATE INDEX subscription_shares_revision_idx ON eventstore.subscription_shares (subscription, revision, place);
COMMENT ON COLUMN eventstore.subscription_shares.place IS 'Where it is found; nothing else has the same place at the same time.';
COMMENT ON COLUMN eventstore.subscription_shares.revision IS 'Of a place, only the highest one counts.';
COMMENT ON COLUMN eventstore.subscription_shares.base IS 'Until what wrote it is committed, the highest one up to this counts, too.';

CREATE UNIQUE INDEX subscription_retries_place_key ON eventstore.subscription_retries (subscription, place, revision) WHERE place IS NOT NULL;

CREATE INDEX subscription_retries_revision_idx ON eventstore.subscription_retries (subscription, revision, place) WHERE place IS NOT NULL;

CREATE INDEX subscription_retries_parked_idx ON eventstore.subscription_retries (subscription, position) WHERE parked_at IS NOT NULL;

CREATE INDEX subscription_retries_number_idx ON eventstore.subscription_retries (subscription, retry) WHERE parked_at IS NOT NULL;
COMMENT ON COLUMN eventstore.subscription_retries.place IS 'Where it is found, as in subscription_shares; null = it is parked, and nobody waits for it.';
COMMENT ON COLUMN eventstore.subscription_retries.revision IS 'Of a place, only the highest one counts.';
COMMENT ON COLUMN eventstore.subscription_retries.base IS 'Until what wrote it is committed, the highest one up to this counts, too.';

CREATE FUNCTION @extschema@.es_partition(stream text, partitions bigint) RETURNS int
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_partition';
COMMENT ON FUNCTION @extschema@.es_partition(text, bigint) IS
	'The partition of a stream, from 0; the same on every machine, in every version.';
REVOKE ALL ON FUNCTION @extschema@.es_partition(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_create_subscription(name text, category text DEFAULT NULL, types text[] DEFAULT NULL, after_position bigint DEFAULT 0,
												   partitions bigint DEFAULT 64, max_retries bigint DEFAULT 10, lease interval DEFAULT '30 s',
												   park_policy text DEFAULT 'pass', tenant text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_create_subscription';
COMMENT ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, interval, text, text) IS
	'Makes a subscription to all events, or to those of a category, a tenant or some types, after a position (-1 = the head).';
REVOKE ALL ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, interval, text, text) FROM PUBLIC;

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

CREATE FUNCTION @extschema@.es_replay_parked(subscription text, max_count_or_id text) RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_replay_parked_text';
COMMENT ON FUNCTION @extschema@.es_replay_parked(text, text) IS
	'The same for literals without a type: a number, an id, or NULL for all.';
REVOKE ALL ON FUNCTION @extschema@.es_replay_parked(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_parked(subscription text, id uuid) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_drop_parked';
COMMENT ON FUNCTION @extschema@.es_drop_parked(text, uuid) IS 'Throws one parked event away: it is done for the subscription.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_parked(text, uuid) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_fetch(subscription text, consumer text DEFAULT NULL, max_count bigint DEFAULT 100, wait interval DEFAULT '0',
									 OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text,
									 OUT data jsonb, OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz,
									 OUT partition int, OUT token bigint, OUT attempt int) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_fetch';
COMMENT ON FUNCTION @extschema@.es_fetch(text, text, bigint, interval) IS
	'The next events of a consumer''s partitions, with the token to acknowledge them by; waits for some if it is told to.';
REVOKE ALL ON FUNCTION @extschema@.es_fetch(text, text, bigint, interval) FROM PUBLIC;

CREATE OR REPLACE FUNCTION @extschema@.es_ack(subscription text, token bigint, "position" bigint) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_ack';

CREATE OR REPLACE FUNCTION @extschema@.es_nack(subscription text, token bigint, "position" bigint, reason text, action text DEFAULT 'retry',
									delay interval DEFAULT '0') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_nack';

CREATE OR REPLACE FUNCTION @extschema@.es_release(subscription text, consumer text DEFAULT NULL) RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_release';

CREATE FUNCTION eventstore.find_subscription_shares(subscription text) RETURNS SETOF eventstore.subscription_shares
	LANGUAGE C STABLE PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'es_find_subscription_shares';
COMMENT ON FUNCTION eventstore.find_subscription_shares(text) IS 'The rows of eventstore.subscription_shares of a subscription.';
REVOKE ALL ON FUNCTION eventstore.find_subscription_shares(text) FROM PUBLIC;

CREATE FUNCTION eventstore.find_subscription_retries(subscription text) RETURNS SETOF eventstore.subscription_retries
	LANGUAGE C STABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_find_subscription_retries';
COMMENT ON FUNCTION eventstore.find_subscription_retries(text) IS
	'The rows of eventstore.subscription_retries of a subscription.';
REVOKE ALL ON FUNCTION eventstore.find_subscription_retries(text) FROM PUBLIC;

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

CREATE OR REPLACE FUNCTION eventstore.find_subscription_status(subscription text, OUT partition int, OUT consumer text, OUT checkpoint bigint,
													OUT lag_events bigint, OUT lag_seconds double precision, OUT parked bigint,
													OUT lease_end timestamptz) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 64 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_find_subscription_status';
COMMENT ON FUNCTION eventstore.find_subscription_status(text) IS
	'The rows of eventstore.subscription_status of one subscription; none, if it sees more than the caller''s grants let him see.';

CREATE OR REPLACE VIEW eventstore.subscription_status WITH (security_barrier) AS
	SELECT d.name, s.partition, s.consumer, s.checkpoint, s.lag_events, s.lag_seconds, s.parked, s.lease_end,
		   CASE WHEN d.closed_after IS NOT NULL THEN 'closed' WHEN d.is_paused THEN 'paused' ELSE 'running' END AS state, d.tenant
	FROM eventstore.subscriptions d CROSS JOIN LATERAL eventstore.find_subscription_status(d.name) s;
COMMENT ON COLUMN eventstore.subscription_status.state IS 'State of the subscription: running, paused, or closed: it waits for es_open_feed.';
COMMENT ON COLUMN eventstore.subscription_status.tenant IS 'The tenant that the subscription is narrowed to; null = all.';

CREATE OR REPLACE VIEW eventstore.parked WITH (security_barrier) AS
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
COMMENT ON COLUMN eventstore.parked.partition IS 'The partition of the event''s stream; null: the caller''s grants do not let him see the whole subscription, which is being divided anew.';
COMMENT ON COLUMN eventstore.parked.data IS 'See eventstore.events; null: the event is gone.';
COMMENT ON COLUMN eventstore.projections.owner IS 'The owner''s name when it was noted last. Who the owner is says the projection''s mark, a procedure eventstore.<name>(eventstore.projection).';
COMMENT ON COLUMN eventstore.projections.query IS 'The SQL, as it was given; empty where a reducer stands for it.';
COMMENT ON COLUMN eventstore.projections.is_declared IS 'Whether the query declares a table; else it is a handler, or a reducer stands for it.';
COMMENT ON COLUMN eventstore.projections.tables IS 'Qualified names: of a declared table, and of those with its state, if there are any; of a handler''s tables; of the table with streams'' states.';
COMMENT ON COLUMN eventstore.projections.on_error IS 'fail: the append fails; stop: wait for es_resume_projection or es_skip_event; skip: go on behind the event.';
COMMENT ON COLUMN eventstore.projections.position IS 'The checkpoint when it was made; the present one stands in projection_checkpoints.';
COMMENT ON COLUMN eventstore.projections.events_applied IS 'How many events were applied up to there.';
COMMENT ON COLUMN eventstore.projections.lookups IS 'Qualified names of the tables that a declaration looks rows up in.';
COMMENT ON COLUMN eventstore.projections.granularity IS 'event: a handler runs for one event after the other; batch: for as many as there are at a time.';
COMMENT ON COLUMN eventstore.projections.reducer IS 'Qualified name of a state projection''s reducer; null = it is none.';
COMMENT ON COLUMN eventstore.projections.initial IS 'The state that a stream begins with, of a state projection.';

CREATE TABLE eventstore.projection_checkpoints
(
	projection     text COLLATE "C" NOT NULL,
	revision       bigint           NOT NULL,
	position       bigint           NOT NULL,
	events_applied bigint           NOT NULL,
	CONSTRAINT projection_checkpoints_pkey PRIMARY KEY (projection, revision)
)
WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.projection_checkpoints IS 'How far projections are, one row each.';
COMMENT ON COLUMN eventstore.projection_checkpoints.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_checkpoints.revision IS 'Rises; it is what the newest row is found by.';
COMMENT ON COLUMN eventstore.projection_checkpoints.position IS 'The checkpoint: every event up to here is applied, or skipped.';
COMMENT ON COLUMN eventstore.projection_checkpoints.events_applied IS 'How many events were applied up to the checkpoint.';
REVOKE ALL ON TABLE eventstore.projection_checkpoints FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.projection_checkpoints', '');

CREATE TYPE eventstore.projection AS (name text COLLATE "C");
COMMENT ON TYPE eventstore.projection IS 'The argument of the procedures that say who owns a projection.';

CREATE TABLE eventstore.stale_projections
(
	projection text COLLATE "C" NOT NULL,
	code       text COLLATE "C" NOT NULL,
	reason     text COLLATE "C" NOT NULL,
	noticed_at timestamptz      NOT NULL
);

CREATE INDEX stale_projections_projection_idx ON eventstore.stale_projections (projection);
ALTER TABLE eventstore.stale_projections REPLICA IDENTITY FULL;
COMMENT ON TABLE eventstore.stale_projections IS 'Projections that are not applied any more, as appends have passed them or their rows are gone: each has to be rebuilt, or dropped.';
COMMENT ON COLUMN eventstore.stale_projections.projection IS 'Name of the projection; several rows say the same.';
COMMENT ON COLUMN eventstore.stale_projections.code IS 'SQLSTATE of the reason.';
COMMENT ON COLUMN eventstore.stale_projections.reason IS 'Why it has to be rebuilt.';
COMMENT ON COLUMN eventstore.stale_projections.noticed_at IS 'When that was noticed.';
REVOKE ALL ON TABLE eventstore.stale_projections FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.stale_projections', '');

CREATE UNLOGGED TABLE eventstore.intact_projections
(
	projection text COLLATE "C" NOT NULL
);

CREATE INDEX intact_projections_projection_idx ON eventstore.intact_projections (projection);
COMMENT ON TABLE eventstore.intact_projections IS 'Projections whose tables are unlogged, and have not been emptied by a crash.';
COMMENT ON COLUMN eventstore.intact_projections.projection IS 'Name of the projection.';
REVOKE ALL ON TABLE eventstore.intact_projections FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.intact_projections', '');

CREATE FUNCTION eventstore.note_rewrite() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_note_rewrite';
COMMENT ON FUNCTION eventstore.note_rewrite() IS 'Notes that a projection''s table becomes UNLOGGED or LOGGED.';
REVOKE ALL ON FUNCTION eventstore.note_rewrite() FROM PUBLIC;

CREATE EVENT TRIGGER eventstore_table_rewrite ON table_rewrite EXECUTE FUNCTION eventstore.note_rewrite();
ALTER EVENT TRIGGER eventstore_table_rewrite ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_table_rewrite IS 'A read table that becomes UNLOGGED or LOGGED has to be noticed.';

CREATE TRIGGER projections_are_cached
	AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF name, owner, mode, query, is_declared, tables, categories, types, on_error, settings, state, lookups, granularity, reducer, initial
	ON eventstore.projections FOR EACH STATEMENT EXECUTE FUNCTION eventstore.forget_projections();
ALTER TABLE eventstore.projections ENABLE ALWAYS TRIGGER projections_are_cached;
COMMENT ON TRIGGER projections_are_cached ON eventstore.projections IS 'Sessions keep the definitions; this tells them of a change.';

CREATE TABLE eventstore.skipped_events
(
	projection text   COLLATE "C" NOT NULL,
	position   bigint             NOT NULL,
	code       text   COLLATE "C",
	error      text   COLLATE "C",
	reason     text   COLLATE "C",
	at         timestamptz        NOT NULL,
	CONSTRAINT skipped_events_pkey PRIMARY KEY (projection, position)
);
COMMENT ON TABLE eventstore.skipped_events IS 'Events that a projection has been let go on without; rebuild, verify and as_of leave them out, too.';
COMMENT ON COLUMN eventstore.skipped_events.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.skipped_events.position IS 'Position of the event.';
COMMENT ON COLUMN eventstore.skipped_events.code IS 'SQLSTATE of the error that it has caused; null = it was not tried.';
COMMENT ON COLUMN eventstore.skipped_events.error IS 'Message of that error.';
COMMENT ON COLUMN eventstore.skipped_events.reason IS 'What was given to es_skip_event; null = nothing, or it was skipped by on_error.';
COMMENT ON COLUMN eventstore.skipped_events.at IS 'When it was skipped.';
REVOKE ALL ON TABLE eventstore.skipped_events FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.skipped_events', '');

CREATE TABLE eventstore.projection_missed
(
	projection text   COLLATE "C" NOT NULL,
	position   bigint             NOT NULL,
	code       text   COLLATE "C",
	error      text   COLLATE "C",
	at         timestamptz        NOT NULL,
	CONSTRAINT projection_missed_pkey PRIMARY KEY (projection, position)
);
COMMENT ON TABLE eventstore.projection_missed IS 'Events that an inline projection was not applied to since it has stopped at an error.';
COMMENT ON COLUMN eventstore.projection_missed.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_missed.position IS 'Position of the event.';
COMMENT ON COLUMN eventstore.projection_missed.code IS 'SQLSTATE of the error that it has caused; null = it was not tried.';
COMMENT ON COLUMN eventstore.projection_missed.error IS 'Message of that error.';
COMMENT ON COLUMN eventstore.projection_missed.at IS 'When it was appended.';
REVOKE ALL ON TABLE eventstore.projection_missed FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.projection_missed', '');

CREATE FUNCTION @extschema@.es_create_projection(name text, query text, mode text DEFAULT 'inline', categories text[] DEFAULT NULL, types text[] DEFAULT NULL,
												 tables regclass[] DEFAULT NULL, on_error text DEFAULT 'fail', granularity text DEFAULT 'event',
												 lookups regclass[] DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_create_projection';
COMMENT ON FUNCTION @extschema@.es_create_projection(text, text, text, text[], text[], regclass[], text, text, regclass[]) IS
	'Makes a projection: a declared table (SELECT ... FROM events ... GROUP BY ...) or a handler, and applies it to every event there is.';
REVOKE ALL ON FUNCTION @extschema@.es_create_projection(text, text, text, text[], text[], regclass[], text, text, regclass[]) FROM PUBLIC;

CREATE FUNCTION eventstore.follow_begin() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_follow_begin';
COMMENT ON FUNCTION eventstore.follow_begin() IS 'Refuses to rename or move what a projection could not follow; keeps the old names of what it can.';
REVOKE ALL ON FUNCTION eventstore.follow_begin() FROM PUBLIC;

CREATE FUNCTION eventstore.follow_end() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_follow_end';
COMMENT ON FUNCTION eventstore.follow_end() IS 'Notes the new names of a projection''s tables.';
REVOKE ALL ON FUNCTION eventstore.follow_end() FROM PUBLIC;

CREATE EVENT TRIGGER eventstore_ddl_command_start ON ddl_command_start
	WHEN TAG IN ('ALTER TABLE', 'ALTER INDEX', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE', 'ALTER SCHEMA')
	EXECUTE FUNCTION eventstore.follow_begin();
ALTER EVENT TRIGGER eventstore_ddl_command_start ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_ddl_command_start IS 'A read table that is renamed or moved has to be known by its new name.';

CREATE EVENT TRIGGER eventstore_ddl_command_end ON ddl_command_end
	WHEN TAG IN ('ALTER TABLE', 'ALTER INDEX', 'ALTER VIEW', 'ALTER MATERIALIZED VIEW', 'ALTER FOREIGN TABLE', 'ALTER SCHEMA')
	EXECUTE FUNCTION eventstore.follow_end();
ALTER EVENT TRIGGER eventstore_ddl_command_end ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_ddl_command_end IS 'A read table that is renamed or moved has to be known by its new name.';

CREATE FUNCTION @extschema@.es_create_state_projection(name text, reducer regprocedure, initial jsonb DEFAULT '{}', mode text DEFAULT 'inline',
													   categories text[] DEFAULT NULL, types text[] DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_create_state_projection';
COMMENT ON FUNCTION @extschema@.es_create_state_projection(text, regprocedure, jsonb, text, text[], text[]) IS
	'Makes a projection that keeps the state of each stream: reducer(state, event) for one event after the other.';
REVOKE ALL ON FUNCTION @extschema@.es_create_state_projection(text, regprocedure, jsonb, text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_rename_projection(name text, new_name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_rename_projection';
COMMENT ON FUNCTION @extschema@.es_rename_projection(text, text) IS
	'Gives a projection another name, and its declared table with it.';
REVOKE ALL ON FUNCTION @extschema@.es_rename_projection(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_reassign_projection(name text, owner regrole) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_reassign_projection';
COMMENT ON FUNCTION @extschema@.es_reassign_projection(text, regrole) IS
	'Makes another role the owner of a projection, and of its declared table.';
REVOKE ALL ON FUNCTION @extschema@.es_reassign_projection(text, regrole) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_skip_event(name text, "position" bigint, reason text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_skip_event';
COMMENT ON FUNCTION @extschema@.es_skip_event(text, bigint, text) IS
	'Leaves an event out of a projection that it can not be applied to; one that has stopped there goes on.';
REVOKE ALL ON FUNCTION @extschema@.es_skip_event(text, bigint, text) FROM PUBLIC;

CREATE FUNCTION eventstore.pick_first(internal, anyelement, anycompatible) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_pick_first';
COMMENT ON FUNCTION eventstore.pick_first(internal, anyelement, anycompatible) IS 'Step of aggregate es_first.';
REVOKE ALL ON FUNCTION eventstore.pick_first(internal, anyelement, anycompatible) FROM PUBLIC;

CREATE FUNCTION eventstore.pick_first(internal, anyelement, anycompatible, bigint) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_pick_first';
COMMENT ON FUNCTION eventstore.pick_first(internal, anyelement, anycompatible, bigint) IS 'Step of aggregate first_by.';
REVOKE ALL ON FUNCTION eventstore.pick_first(internal, anyelement, anycompatible, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.pick_last(internal, anyelement, anycompatible) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_pick_last';
COMMENT ON FUNCTION eventstore.pick_last(internal, anyelement, anycompatible) IS 'Step of aggregate es_last.';
REVOKE ALL ON FUNCTION eventstore.pick_last(internal, anyelement, anycompatible) FROM PUBLIC;

CREATE FUNCTION eventstore.pick_last(internal, anyelement, anycompatible, bigint) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_pick_last';
COMMENT ON FUNCTION eventstore.pick_last(internal, anyelement, anycompatible, bigint) IS 'Step of aggregate last_by.';
REVOKE ALL ON FUNCTION eventstore.pick_last(internal, anyelement, anycompatible, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.picked(internal, anyelement, anycompatible) RETURNS anyelement
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_picked';
COMMENT ON FUNCTION eventstore.picked(internal, anyelement, anycompatible) IS 'Result of aggregates es_first and es_last.';
REVOKE ALL ON FUNCTION eventstore.picked(internal, anyelement, anycompatible) FROM PUBLIC;

CREATE FUNCTION eventstore.picked(internal, anyelement, anycompatible, bigint) RETURNS anyelement
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_picked';
COMMENT ON FUNCTION eventstore.picked(internal, anyelement, anycompatible, bigint) IS 'Result of aggregates first_by and last_by.';
REVOKE ALL ON FUNCTION eventstore.picked(internal, anyelement, anycompatible, bigint) FROM PUBLIC;

CREATE AGGREGATE @extschema@.es_first(value anyelement, "by" anycompatible)
	(SFUNC = eventstore.pick_first, STYPE = internal, FINALFUNC = eventstore.picked, FINALFUNC_EXTRA, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.es_first(anyelement, anycompatible) IS
	'The value that another is lowest with, null or not; of several the first one.';
REVOKE ALL ON FUNCTION @extschema@.es_first(anyelement, anycompatible) FROM PUBLIC;

CREATE AGGREGATE @extschema@.es_last(value anyelement, "by" anycompatible)
	(SFUNC = eventstore.pick_last, STYPE = internal, FINALFUNC = eventstore.picked, FINALFUNC_EXTRA, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.es_last(anyelement, anycompatible) IS
	'The value that another is highest with, null or not; of several the last one.';
REVOKE ALL ON FUNCTION @extschema@.es_last(anyelement, anycompatible) FROM PUBLIC;

CREATE AGGREGATE eventstore.first_by(value anyelement, "by" anycompatible, "position" bigint)
	(SFUNC = eventstore.pick_first, STYPE = internal, FINALFUNC = eventstore.picked, FINALFUNC_EXTRA, PARALLEL = SAFE);
COMMENT ON AGGREGATE eventstore.first_by(anyelement, anycompatible, bigint) IS
	'The value that another is lowest with; of several that with the lowest position.';
REVOKE ALL ON FUNCTION eventstore.first_by(anyelement, anycompatible, bigint) FROM PUBLIC;

CREATE AGGREGATE eventstore.last_by(value anyelement, "by" anycompatible, "position" bigint)
	(SFUNC = eventstore.pick_last, STYPE = internal, FINALFUNC = eventstore.picked, FINALFUNC_EXTRA, PARALLEL = SAFE);
COMMENT ON AGGREGATE eventstore.last_by(anyelement, anycompatible, bigint) IS
	'The value that another is highest with; of several that with the highest position.';
REVOKE ALL ON FUNCTION eventstore.last_by(anyelement, anycompatible, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.find_projection_trouble(name text, OUT owner text, OUT code text, OUT reason text, OUT noticed_at timestamptz, OUT obstacle text)
	RETURNS record
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_find_projection_trouble';
COMMENT ON FUNCTION eventstore.find_projection_trouble(text) IS 'Whose a projection is, why it can not be applied until somebody does something about it, and why nobody applies it by itself.';
REVOKE ALL ON FUNCTION eventstore.find_projection_trouble(text) FROM PUBLIC;

CREATE FUNCTION eventstore.count_behind(projection text, "position" bigint, categories text[], types text[]) RETURNS bigint
	LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	SELECT count(*) FROM eventstore.events e
	WHERE e.position > count_behind.position
	  AND (count_behind.categories IS NULL OR e.category = ANY (count_behind.categories))
	  AND (count_behind.types IS NULL OR e.type = ANY (count_behind.types))
	  AND NOT EXISTS (SELECT FROM eventstore.projection_appends a
					  WHERE a.projection = count_behind.projection AND a.position = e.position)
	  AND NOT EXISTS (SELECT FROM eventstore.skipped_events s
					  WHERE s.projection = count_behind.projection AND s.position = e.position)
$$;
COMMENT ON FUNCTION eventstore.count_behind(text, bigint, text[], text[]) IS
	'How many events there are after a position for a projection, but for those that it appended itself, or skips.';
REVOKE ALL ON FUNCTION eventstore.count_behind(text, bigint, text[], text[]) FROM PUBLIC;

CREATE FUNCTION eventstore.find_oldest_behind(projection text, "position" bigint, categories text[], types text[]) RETURNS timestamptz
	LANGUAGE sql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	SELECT e.recorded_at FROM eventstore.events e
	WHERE e.position > find_oldest_behind.position
	  AND (find_oldest_behind.categories IS NULL OR e.category = ANY (find_oldest_behind.categories))
	  AND (find_oldest_behind.types IS NULL OR e.type = ANY (find_oldest_behind.types))
	  AND NOT EXISTS (SELECT FROM eventstore.skipped_events s
					  WHERE s.projection = find_oldest_behind.projection AND s.position = e.position)
	ORDER BY e.position LIMIT 1
$$;
COMMENT ON FUNCTION eventstore.find_oldest_behind(text, bigint, text[], text[]) IS
	'When the first event after a position was recorded that is for a projection, and that it does not skip.';
REVOKE ALL ON FUNCTION eventstore.find_oldest_behind(text, bigint, text[], text[]) FROM PUBLIC;

CREATE OR REPLACE VIEW eventstore.projection_status AS
	SELECT p.name, p.mode,
		   CASE WHEN r.pid IS NOT NULL THEN 'rebuilding' WHEN t.reason IS NOT NULL OR i.is_applied_by_appends AND i.missed_from IS NOT NULL THEN 'failed' ELSE p.state END AS state,
		   CASE WHEN i.missed_from IS NOT NULL THEN i.missed_from - 1 WHEN i.is_applied_by_appends THEN @extschema@.es_head() ELSE p.position END AS position,
		   i.missed + CASE WHEN i.is_applied_by_appends THEN 0 ELSE i.behind END AS lag,
		   coalesce(greatest(extract(epoch FROM pg_catalog.clock_timestamp() - CASE WHEN i.missed_from IS NOT NULL THEN i.missed_since
																					  WHEN NOT i.is_applied_by_appends THEN i.oldest END), 0), 0) AS lag_seconds,
		   coalesce(t.reason, f.error, p.last_error) AS last_error,
		   CASE WHEN t.reason IS NULL THEN coalesce(f.code, p.last_error_code) ELSE t.code END AS last_error_code,
		   CASE WHEN t.reason IS NULL THEN coalesce(f.position, p.last_error_position) END AS last_error_position,
		   CASE WHEN t.reason IS NULL THEN coalesce(f.at, p.last_error_at) ELSE t.noticed_at END AS last_error_at,
		   p.events_applied + CASE WHEN i.is_applied_by_appends THEN i.behind - i.missed ELSE 0 END AS events_applied,
		   t.owner COLLATE pg_catalog."C" AS owner,
		   r.pid AS rebuild_pid, r.events_done AS rebuild_events_done, r.events_total AS rebuild_events_total,
		   (SELECT a.pid FROM eventstore.find_projection_activity() a WHERE a.projection = p.name AND a.activity = 'run' LIMIT 1) AS runner_pid,
		   t.obstacle
	FROM (SELECT d.name, d.mode, d.state, d.categories, d.types, d.last_error, d.last_error_code, d.last_error_position, d.last_error_at,
				 coalesce(c.position, d.position) AS position, coalesce(c.events_applied, d.events_applied) AS events_applied
		  FROM eventstore.projections d
		  LEFT JOIN LATERAL (SELECT k.position, k.events_applied FROM eventstore.projection_checkpoints k
							 WHERE k.projection = d.name ORDER BY k.revision DESC LIMIT 1) c ON true) p
	CROSS JOIN LATERAL eventstore.find_projection_trouble(p.name) t
	LEFT JOIN (SELECT DISTINCT ON (a.projection) a.* FROM eventstore.find_projection_activity() a WHERE a.activity = 'rebuild') r ON r.projection = p.name
	LEFT JOIN LATERAL (SELECT m.* FROM eventstore.projection_missed m WHERE m.projection = p.name AND m.code IS NOT NULL ORDER BY m.position LIMIT 1) f ON true
	CROSS JOIN
		 LATERAL (SELECT p.mode = 'inline' AND p.state = 'running' AND t.reason IS NULL AS is_applied_by_appends,
						 (SELECT m.position FROM eventstore.projection_missed m WHERE m.projection = p.name ORDER BY m.position LIMIT 1) AS missed_from,
						 (SELECT m.at FROM eventstore.projection_missed m WHERE m.projection = p.name ORDER BY m.position LIMIT 1) AS missed_since,
						 (SELECT count(*) FROM eventstore.projection_missed m WHERE m.projection = p.name) AS missed,
						 eventstore.count_behind(p.name, p.position, p.categories, p.types) AS behind,
						 eventstore.find_oldest_behind(p.name, p.position, p.categories, p.types) AS oldest) i;
COMMENT ON COLUMN eventstore.projection_status.owner IS 'The role that its SQL runs as; null = it has lost its owner.';
COMMENT ON COLUMN eventstore.projection_status.obstacle IS 'Why nobody applies an async projection that runs; null = it goes on by itself.';

CREATE FUNCTION @extschema@.es_replace_projection(name text, query text, categories text[] DEFAULT NULL, types text[] DEFAULT NULL,
												  tables regclass[] DEFAULT NULL, lookups regclass[] DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_replace_projection';
COMMENT ON FUNCTION @extschema@.es_replace_projection(text, text, text[], text[], regclass[], regclass[]) IS
	'Gives a projection another query, and makes its tables anew by that, while appends and reads go on; returns to how many events it was applied.';
REVOKE ALL ON FUNCTION @extschema@.es_replace_projection(text, text, text[], text[], regclass[], regclass[]) FROM PUBLIC;

CREATE TABLE eventstore.projection_needs
(
	projection text COLLATE "C" NOT NULL,
	kind       text COLLATE "C" NOT NULL CONSTRAINT projection_needs_kind_check CHECK (kind IN ('list', 'function', 'table', 'index', 'constraint', 'trigger', 'sequence')),
	of_table   text COLLATE "C" NOT NULL,
	object     text COLLATE "C" NOT NULL,
	CONSTRAINT projection_needs_pkey PRIMARY KEY (projection, kind, of_table, object)
);
COMMENT ON TABLE eventstore.projection_needs IS 'What was there when a projection ran: it is not applied after a restore before that is there again.';
COMMENT ON COLUMN eventstore.projection_needs.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_needs.kind IS 'function: a reducer; table, index, constraint, trigger, or sequence: one that has been used; list: this list, which always is there.';
COMMENT ON COLUMN eventstore.projection_needs.of_table IS 'Qualified name of the table that has it; empty for the list and for functions.';
COMMENT ON COLUMN eventstore.projection_needs.object IS 'Its name: qualified for functions, tables, indexes and sequences.';
REVOKE ALL ON TABLE eventstore.projection_needs FROM PUBLIC;

CREATE FUNCTION eventstore.follow_projection() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	IF TG_OP = 'DELETE' THEN
		DELETE FROM eventstore.projection_needs WHERE projection = OLD.name;
	ELSE
		UPDATE eventstore.projection_needs SET projection = NEW.name WHERE projection = OLD.name;
		UPDATE eventstore.projection_checkpoints SET projection = NEW.name WHERE projection = OLD.name;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION eventstore.follow_projection() IS 'Keeps eventstore.projection_needs to the projections that there are, and checkpoints to their names.';
REVOKE ALL ON FUNCTION eventstore.follow_projection() FROM PUBLIC;

CREATE TRIGGER needs_follow_projections AFTER DELETE OR UPDATE OF name ON eventstore.projections
	FOR EACH ROW EXECUTE FUNCTION eventstore.follow_projection();
COMMENT ON TRIGGER needs_follow_projections ON eventstore.projections IS 'What a projection needs goes with it.';
SELECT pg_catalog.pg_extension_config_dump('eventstore.projection_needs',
	$$WHERE kind = 'list' OR kind = 'function' AND pg_catalog.to_regprocedure(object) IS NOT NULL OR EXISTS
		(SELECT FROM pg_catalog.pg_class t
		 WHERE t.oid = pg_catalog.to_regclass(of_table)
		   AND CASE kind
				   WHEN 'constraint' THEN EXISTS (SELECT FROM pg_catalog.pg_constraint c WHERE c.conrelid = t.oid AND c.conname = object)
				   WHEN 'trigger' THEN EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = t.oid AND g.tgname = object)
				   WHEN 'sequence' THEN EXISTS
					   (SELECT FROM pg_catalog.pg_class c
						WHERE c.oid = pg_catalog.to_regclass(object) AND c.relkind = 'S'
						  AND CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_catalog.pg_sequence_last_value(c.oid) IS NOT NULL END)
				   ELSE pg_catalog.to_regclass(object) IS NOT NULL
			   END)$$);

CREATE VIEW eventstore.projection_facts AS
	SELECT n.projection, f.kind, n.of_table, f.object
	FROM eventstore.projection_needs n
	CROSS JOIN LATERAL (SELECT CASE WHEN n.kind = 'table' THEN pg_catalog.to_regclass(n.of_table)::pg_catalog.oid END AS oid) t
	CROSS JOIN LATERAL
		(SELECT n.kind, n.object
		 UNION ALL
		 SELECT 'index', pg_catalog.format('%I.%I', s.nspname, c.relname)
		 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
		 WHERE i.indrelid = t.oid AND i.indisvalid
		 UNION ALL
		 -- Constraints NOT NULL, which are rows since 18, come with the table.
		 SELECT 'constraint', k.conname FROM pg_catalog.pg_constraint k WHERE k.conrelid = t.oid AND k.contype <> 'n'
		 UNION ALL
		 SELECT 'trigger', g.tgname FROM pg_catalog.pg_trigger g WHERE g.tgrelid = t.oid AND NOT g.tgisinternal
		 UNION ALL
		 -- Owned by a column, or of a default
		 SELECT 'sequence', pg_catalog.format('%I.%I', s.nspname, c.relname)
		 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace s ON s.oid = c.relnamespace
		 WHERE c.relkind = 'S'
		   AND c.oid IN (SELECT d.objid FROM pg_catalog.pg_depend d
						 WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
						   AND d.refobjid = t.oid AND d.deptype IN ('a', 'i')
						 UNION ALL
						 SELECT d.refobjid FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_depend d ON d.objid = a.oid
						 WHERE a.adrelid = t.oid
						   AND d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)
		   AND CASE WHEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT, USAGE') THEN pg_catalog.pg_sequence_last_value(c.oid) IS NOT NULL END) f
	WHERE t.oid IS NOT NULL
	UNION ALL
	SELECT n.projection, n.kind, n.of_table, n.object FROM eventstore.projection_needs n
	WHERE n.kind = 'list' OR n.kind = 'function' AND CASE WHEN n.kind = 'function' THEN pg_catalog.to_regprocedure(n.object) IS NOT NULL END;
COMMENT ON VIEW eventstore.projection_facts IS 'What of the kinds in eventstore.projection_needs is there at this moment.';
COMMENT ON COLUMN eventstore.projection_facts.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_facts.kind IS 'As in eventstore.projection_needs.';
COMMENT ON COLUMN eventstore.projection_facts.of_table IS 'As in eventstore.projection_needs.';
COMMENT ON COLUMN eventstore.projection_facts.object IS 'As in eventstore.projection_needs.';
REVOKE ALL ON TABLE eventstore.projection_facts FROM PUBLIC;

CREATE TABLE eventstore.local_projections
(
	projection text COLLATE "C" NOT NULL CONSTRAINT local_projections_pkey PRIMARY KEY
		CONSTRAINT local_projections_projection_fkey REFERENCES eventstore.projections ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE eventstore.local_projections IS 'Projections that were made in this database, or that everything has been found for here.';
COMMENT ON COLUMN eventstore.local_projections.projection IS 'Name of the projection.';
REVOKE ALL ON TABLE eventstore.local_projections FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.local_projections', 'WHERE false');

CREATE VIEW eventstore.projection_waits AS
	SELECT w.projection, w.kind, w.of_table, w.object
	FROM eventstore.projections p
	CROSS JOIN LATERAL
		(SELECT n.projection, n.kind, n.of_table, n.object
		 FROM eventstore.projection_needs n
		 WHERE n.projection = p.name
		   AND NOT EXISTS (SELECT FROM eventstore.projection_facts f
						   WHERE f.projection = n.projection AND f.kind = n.kind AND f.of_table = n.of_table AND f.object = n.object)
		 UNION ALL
		 SELECT p.name, 'list', '', p.name
		 WHERE NOT EXISTS (SELECT FROM eventstore.projection_needs n WHERE n.projection = p.name AND n.kind = 'list')
		 UNION ALL
		 SELECT p.name, 'checkpoint', '', p.name
		 WHERE NOT EXISTS (SELECT FROM eventstore.projection_checkpoints c WHERE c.projection = p.name)
		 UNION ALL
		 SELECT p.name, 'session', '', pg_catalog.format('%s, process %s', a.application_name, a.pid)
		 FROM pg_catalog.pg_stat_activity a
		 WHERE a.datname = pg_catalog.current_database() AND a.application_name = 'pg_restore') w
	WHERE NOT EXISTS (SELECT FROM eventstore.local_projections l WHERE l.projection = p.name);
COMMENT ON VIEW eventstore.projection_waits IS 'What restored projections wait for before they are applied: what the restore has not brought yet. No row: for nothing.';
COMMENT ON COLUMN eventstore.projection_waits.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_waits.kind IS 'As in eventstore.projection_needs; checkpoint: how far it is; session: one that is restoring.';
COMMENT ON COLUMN eventstore.projection_waits.of_table IS 'As in eventstore.projection_needs.';
COMMENT ON COLUMN eventstore.projection_waits.object IS 'Name of what is missing.';
REVOKE ALL ON TABLE eventstore.projection_waits FROM PUBLIC;
COMMENT ON COLUMN eventstore.snapshots.event_id IS 'Id of that event. Another one at the same place is of another history.';
COMMENT ON COLUMN eventstore.snapshots.recorded_at IS 'When that event was recorded: ids that callers give may come again, after a restore of older data.';

CREATE FUNCTION @extschema@.es_save_snapshot(stream text, version bigint, state jsonb, schema_version bigint DEFAULT 1) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_save_snapshot';
COMMENT ON FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, bigint) IS
	'Keeps the state of a stream at a version, unless a later one is kept already.';
REVOKE ALL ON FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_snapshot(stream text, schema_version bigint DEFAULT 1,
										OUT version bigint, OUT state jsonb, OUT saved_at timestamptz) RETURNS record
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_snapshot';
COMMENT ON FUNCTION @extschema@.es_snapshot(text, bigint) IS
	'The latest snapshot of a stream; nulls if there is none that can be used.';
REVOKE ALL ON FUNCTION @extschema@.es_snapshot(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_load(stream text, schema_version bigint DEFAULT 1,
									OUT version bigint, OUT state jsonb, OUT events eventstore.event[]) RETURNS record
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_load';
COMMENT ON FUNCTION @extschema@.es_load(text, bigint) IS
	'The latest snapshot of a stream and the events after it; without a snapshot version 0, state null and all events.';
REVOKE ALL ON FUNCTION @extschema@.es_load(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_load_json(stream text, schema_version bigint DEFAULT 1,
										 OUT version bigint, OUT state jsonb, OUT events jsonb) RETURNS record
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT l.version, l.state, to_jsonb(l.events) FROM @extschema@.es_load(es_load_json.stream, es_load_json.schema_version) l
$$;
COMMENT ON FUNCTION @extschema@.es_load_json(text, bigint) IS
	'As es_load, with the events as a JSON array of objects, whose keys are the columns of eventstore.events.';
REVOKE ALL ON FUNCTION @extschema@.es_load_json(text, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.event_digest(event eventstore.event) RETURNS bytea
	LANGUAGE C IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'es_event_digest';
COMMENT ON FUNCTION eventstore.event_digest(eventstore.event) IS
	'SHA-256 of an event, 32 bytes: of its position, version, id, time, stream, type, data, metadata and tags, in the form of the documentation.';
REVOKE ALL ON FUNCTION eventstore.event_digest(eventstore.event) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_truncate_stream(stream text, before_version bigint) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_truncate_stream';
COMMENT ON FUNCTION @extschema@.es_truncate_stream(text, bigint) IS
	'Forgets the events of a stream before a version; returns how many are gone.';
REVOKE ALL ON FUNCTION @extschema@.es_truncate_stream(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_delete_stream(stream text, expected_version bigint, tombstone boolean DEFAULT false) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_delete_stream';
COMMENT ON FUNCTION @extschema@.es_delete_stream(text, bigint, boolean) IS
	'Forgets all events of a stream; an append goes on at its next version, or, with a tombstone, never.';
REVOKE ALL ON FUNCTION @extschema@.es_delete_stream(text, bigint, boolean) FROM PUBLIC;

CREATE TABLE eventstore.redactions
(
	position      bigint           NOT NULL,
	redaction     int              NOT NULL,
	id            uuid             NOT NULL,
	stream        text COLLATE "C" NOT NULL,
	version       bigint           NOT NULL,
	reason        text COLLATE "C" NOT NULL,
	keys          text[] COLLATE "C",
	redacted_by   text COLLATE "C" NOT NULL,
	redacted_at   timestamptz      NOT NULL,
	digest_before bytea            NOT NULL,
	digest_after  bytea            NOT NULL,
	CONSTRAINT redactions_pkey PRIMARY KEY (position, redaction)
);
COMMENT ON TABLE eventstore.redactions IS 'What was blanked in stored events, by whom and why. Written by es_redact only.';
COMMENT ON COLUMN eventstore.redactions.position IS 'Position of the event.';
COMMENT ON COLUMN eventstore.redactions.redaction IS 'Which redaction of this event it is: 1, 2 ...';
COMMENT ON COLUMN eventstore.redactions.id IS 'Id of the event.';
COMMENT ON COLUMN eventstore.redactions.stream IS 'Its stream.';
COMMENT ON COLUMN eventstore.redactions.version IS 'Its version.';
COMMENT ON COLUMN eventstore.redactions.reason IS 'Why, in the words of who did it.';
COMMENT ON COLUMN eventstore.redactions.keys IS 'Which keys of its data were blanked; null = all of data and metadata.';
COMMENT ON COLUMN eventstore.redactions.redacted_by IS 'Name of the role that did it.';
COMMENT ON COLUMN eventstore.redactions.redacted_at IS 'When.';
COMMENT ON COLUMN eventstore.redactions.digest_before IS 'What the event was: see eventstore.event_digest.';
COMMENT ON COLUMN eventstore.redactions.digest_after IS 'What it is since.';
REVOKE ALL ON TABLE eventstore.redactions FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.redactions', '');

CREATE FUNCTION @extschema@.es_redact(id uuid, reason text, keys text[] DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_redact';
COMMENT ON FUNCTION @extschema@.es_redact(uuid, text, text[]) IS
	'Blanks the data and metadata of a stored event, or some keys of its data; eventstore.redactions says who did it, and why.';
REVOKE ALL ON FUNCTION @extschema@.es_redact(uuid, text, text[]) FROM PUBLIC;

CREATE TABLE eventstore.retention
(
	name        text COLLATE "C" NOT NULL CONSTRAINT retention_pkey PRIMARY KEY,
	max_age     interval,
	max_count   bigint,
	applied_at  timestamptz,
	events_gone bigint           NOT NULL DEFAULT 0
);
COMMENT ON TABLE eventstore.retention IS 'How long the events of streams and categories are kept; see es_set_retention.';
COMMENT ON COLUMN eventstore.retention.name IS 'Name of the stream, which has a "-", or of the category.';
COMMENT ON COLUMN eventstore.retention.max_age IS 'Events that were recorded longer ago are not kept; null = they are.';
COMMENT ON COLUMN eventstore.retention.max_count IS 'How many events of a stream are kept, the last ones; null = all.';
COMMENT ON COLUMN eventstore.retention.applied_at IS 'When it was applied to all of its streams last.';
COMMENT ON COLUMN eventstore.retention.events_gone IS 'How many events are gone by it.';
REVOKE ALL ON TABLE eventstore.retention FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.retention', '');

CREATE FUNCTION @extschema@.es_set_retention(stream_or_category text, max_age interval DEFAULT NULL, max_count bigint DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_set_retention';
COMMENT ON FUNCTION @extschema@.es_set_retention(text, interval, bigint) IS
	'Says how long the events of a stream, or of each stream of a category, are kept, and how many; neither: all of them, for ever.';
REVOKE ALL ON FUNCTION @extschema@.es_set_retention(text, interval, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_apply_retention() RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_apply_retention';
COMMENT ON FUNCTION @extschema@.es_apply_retention() IS
	'Forgets the events that are not to be kept any longer; returns how many are gone. The worker does it by itself.';
REVOKE ALL ON FUNCTION @extschema@.es_apply_retention() FROM PUBLIC;

CREATE TABLE eventstore.subject_keys
(
	subject    text COLLATE "C" NOT NULL,
	id         bytea            NOT NULL CONSTRAINT subject_keys_id_check CHECK (pg_catalog.octet_length(id) = 8),
	key        bytea            NOT NULL CONSTRAINT subject_keys_key_check CHECK (pg_catalog.octet_length(key) = 32),
	created_at timestamptz      NOT NULL,
	CONSTRAINT subject_keys_pkey PRIMARY KEY (subject, id)
);
COMMENT ON TABLE eventstore.subject_keys IS 'The keys under which es_protect encrypts. Nobody but the owner may read it.';
COMMENT ON COLUMN eventstore.subject_keys.subject IS 'Whose values the key protects: 1 to 512 bytes, compared byte by byte.';
COMMENT ON COLUMN eventstore.subject_keys.id IS 'What envelopes call the key: the first 8 bytes of HMAC-SHA256 of "eventstore key id" under it.';
COMMENT ON COLUMN eventstore.subject_keys.key IS 'The key: 32 random bytes.';
COMMENT ON COLUMN eventstore.subject_keys.created_at IS 'When it was made. es_protect uses the newest; there are several where older ones were lost and brought back.';
REVOKE ALL ON TABLE eventstore.subject_keys FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subject_keys', '');

CREATE TABLE eventstore.erasures
(
	subject   text COLLATE "C" NOT NULL CONSTRAINT erasures_pkey PRIMARY KEY,
	erased_at timestamptz      NOT NULL,
	erased_by text COLLATE "C" NOT NULL,
	reason    text COLLATE "C" NOT NULL
);
COMMENT ON TABLE eventstore.erasures IS 'The subjects that es_erase_subject has erased: the fence that keeps them so, whatever keys there are.';
COMMENT ON COLUMN eventstore.erasures.subject IS 'Who was erased.';
COMMENT ON COLUMN eventstore.erasures.erased_at IS 'When that was, the first time.';
COMMENT ON COLUMN eventstore.erasures.erased_by IS 'Name of the role that did it.';
COMMENT ON COLUMN eventstore.erasures.reason IS 'Why, as es_erase_subject was told.';
REVOKE ALL ON TABLE eventstore.erasures FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.erasures', '');

CREATE FUNCTION @extschema@.es_protect(subject text, value jsonb) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_protect';
COMMENT ON FUNCTION @extschema@.es_protect(text, jsonb) IS
	'An envelope with the value, encrypted under the subject''s key: to be put anywhere into data or metadata.';
REVOKE ALL ON FUNCTION @extschema@.es_protect(text, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_reveal(data jsonb) RETURNS jsonb
	LANGUAGE C STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_reveal';
COMMENT ON FUNCTION @extschema@.es_reveal(jsonb) IS
	'The same with every envelope in it opened, at any depth; those of erased subjects become null.';
REVOKE ALL ON FUNCTION @extschema@.es_reveal(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_erase_subject(subject text, reason text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_erase_subject';
COMMENT ON FUNCTION @extschema@.es_erase_subject(text, text) IS
	'Destroys a subject''s keys: nothing that was protected for it opens any more, and nothing more can be.';
REVOKE ALL ON FUNCTION @extschema@.es_erase_subject(text, text) FROM PUBLIC;

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

CREATE TABLE eventstore.seals
(
	seal           bigint      NOT NULL CONSTRAINT seals_pkey PRIMARY KEY,
	after_position bigint      NOT NULL,
	upto           bigint      NOT NULL,
	events         bigint      NOT NULL,
	sealed_at      timestamptz NOT NULL,
	digest         bytea       NOT NULL
);
COMMENT ON TABLE eventstore.seals IS 'One row a seal: a range of history, and the digest of it and of all before. Written by es_seal only.';
COMMENT ON COLUMN eventstore.seals.seal IS 'Number of the seal: 1, 2, 3 ...';
COMMENT ON COLUMN eventstore.seals.after_position IS 'It covers the events after this position ...';
COMMENT ON COLUMN eventstore.seals.upto IS '... and up to this one, which was settled.';
COMMENT ON COLUMN eventstore.seals.events IS 'How many events that were.';
COMMENT ON COLUMN eventstore.seals.sealed_at IS 'When it was sealed.';
COMMENT ON COLUMN eventstore.seals.digest IS 'SHA-256 of the digest of the seal before, those of the blocks, and the columns of this row.';
REVOKE ALL ON TABLE eventstore.seals FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.seals', '');

CREATE TABLE eventstore.seal_blocks
(
	seal          bigint NOT NULL,
	block         bigint NOT NULL,
	last_position bigint NOT NULL,
	events        int    NOT NULL,
	digest        bytea  NOT NULL,
	outline       bytea  NOT NULL,
	CONSTRAINT seal_blocks_pkey PRIMARY KEY (seal, block)
);
ALTER TABLE eventstore.seal_blocks ALTER COLUMN digest SET STORAGE EXTERNAL, ALTER COLUMN outline SET STORAGE EXTERNAL;
COMMENT ON TABLE eventstore.seal_blocks IS 'The blocks of a seal, of 128 events each but the last one.';
COMMENT ON COLUMN eventstore.seal_blocks.seal IS 'Number of the seal.';
COMMENT ON COLUMN eventstore.seal_blocks.block IS 'Number of the block: 1, 2, 3 ...';
COMMENT ON COLUMN eventstore.seal_blocks.last_position IS 'Position of its last event.';
COMMENT ON COLUMN eventstore.seal_blocks.events IS 'How many events it has.';
COMMENT ON COLUMN eventstore.seal_blocks.digest IS 'SHA-256 of the digests of its events, in order of position.';
COMMENT ON COLUMN eventstore.seal_blocks.outline IS '12 bytes an event, by which it is named if it is not what it was: its position, and the first 4 bytes of its digest.';
REVOKE ALL ON TABLE eventstore.seal_blocks FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.seal_blocks', '');

CREATE FUNCTION @extschema@.es_seal(upto bigint DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_seal';
COMMENT ON FUNCTION @extschema@.es_seal(bigint) IS
	'Seals history up to the head, or up to a position below; returns up to where, null if there is nothing new.';
REVOKE ALL ON FUNCTION @extschema@.es_seal(bigint) FROM PUBLIC;

CREATE TABLE eventstore.seal_verifications
(
	verified_at timestamptz      NOT NULL,
	verified_by text COLLATE "C" NOT NULL,
	upto        bigint           NOT NULL,
	differences bigint           NOT NULL
);

CREATE INDEX seal_verifications_verified_at_idx ON eventstore.seal_verifications (verified_at);
COMMENT ON TABLE eventstore.seal_verifications IS 'One row a call of es_verify_seals that could write it down.';
COMMENT ON COLUMN eventstore.seal_verifications.verified_at IS 'When it ended.';
COMMENT ON COLUMN eventstore.seal_verifications.verified_by IS 'Name of the role that called it.';
COMMENT ON COLUMN eventstore.seal_verifications.upto IS 'Up to where history was sealed then.';
COMMENT ON COLUMN eventstore.seal_verifications.differences IS 'How many rows it returned; 0: history was what was sealed.';
REVOKE ALL ON TABLE eventstore.seal_verifications FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.seal_verifications', '');

CREATE FUNCTION @extschema@.es_verify_seals(OUT seal bigint, OUT detail text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_verify_seals';
COMMENT ON FUNCTION @extschema@.es_verify_seals() IS
	'What of sealed history is not what it was. No row: it is, but for what was redacted and removed in due form.';
REVOKE ALL ON FUNCTION @extschema@.es_verify_seals() FROM PUBLIC;

CREATE FUNCTION eventstore.guard_store() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_guard_store';
COMMENT ON FUNCTION eventstore.guard_store() IS 'Has the library loaded, which keeps commands from dropping events (eventstore.allow_drop); refuses to rename the schema.';
REVOKE ALL ON FUNCTION eventstore.guard_store() FROM PUBLIC;

CREATE EVENT TRIGGER eventstore_guard ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED', 'DROP LANGUAGE', 'DROP TABLE', 'ALTER SCHEMA')
	EXECUTE FUNCTION eventstore.guard_store();
ALTER EVENT TRIGGER eventstore_guard ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_guard IS 'What could drop the extension, and all events with it, is looked at.';

CREATE FUNCTION @extschema@.es_export(after_position bigint DEFAULT 0, upto bigint DEFAULT NULL, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS SETOF jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_export';
COMMENT ON FUNCTION @extschema@.es_export(bigint, bigint, text, text) IS
	'The events after a position, up to another or to the head, one as a JSON object each, in order of position; those of a category, a tenant, or both.';
REVOKE ALL ON FUNCTION @extschema@.es_export(bigint, bigint, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_import(events jsonb) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_import';
COMMENT ON FUNCTION @extschema@.es_import(jsonb) IS
	'Stores an array of events as es_export gives them, with stream, version, id and time; returns how many were not there before.';
REVOKE ALL ON FUNCTION @extschema@.es_import(jsonb) FROM PUBLIC;

CREATE TABLE eventstore.partitioning
(
	only_row boolean NOT NULL DEFAULT true CONSTRAINT partitioning_pkey PRIMARY KEY CONSTRAINT partitioning_only_row_check CHECK (only_row),
	every    bigint  NOT NULL
);
COMMENT ON TABLE eventstore.partitioning IS 'How eventstore.events is partitioned. At most one row; written by es_partition_events only.';
COMMENT ON COLUMN eventstore.partitioning.only_row IS 'Always true.';
COMMENT ON COLUMN eventstore.partitioning.every IS 'Positions that a partition has which is made from now on.';
REVOKE ALL ON TABLE eventstore.partitioning FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.partitioning', '');

CREATE TABLE eventstore.partition_ids
(
	partition     oid    NOT NULL CONSTRAINT partition_ids_pkey PRIMARY KEY,
	upto_position bigint NOT NULL,
	lowest        uuid,
	highest       uuid
);
COMMENT ON TABLE eventstore.partition_ids IS 'Between which ids those of a partition are that no event comes into any more; for appends with ids of the caller''s. Written by who makes partitions.';
COMMENT ON COLUMN eventstore.partition_ids.partition IS 'The table.';
COMMENT ON COLUMN eventstore.partition_ids.upto_position IS 'Its range ends before this position.';
COMMENT ON COLUMN eventstore.partition_ids.lowest IS 'The lowest id; null: it is empty.';
COMMENT ON COLUMN eventstore.partition_ids.highest IS 'The highest id.';
REVOKE ALL ON TABLE eventstore.partition_ids FROM PUBLIC;

CREATE FUNCTION @extschema@.es_partition_events(every bigint) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_partition_events';
COMMENT ON FUNCTION @extschema@.es_partition_events(bigint) IS
	'Has eventstore.events be partitioned by ranges of so many positions, without copying it; called again, it changes the width of those that come.';
REVOKE ALL ON FUNCTION @extschema@.es_partition_events(bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.receive_partition() RETURNS event_trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_receive_range';
COMMENT ON FUNCTION eventstore.receive_partition() IS 'Has eventstore.events, while it is empty, be partitioned when the restore of a dump attaches a partition.';
REVOKE ALL ON FUNCTION eventstore.receive_partition() FROM PUBLIC;

CREATE EVENT TRIGGER eventstore_partition ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION eventstore.receive_partition();
ALTER EVENT TRIGGER eventstore_partition ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_partition IS 'The restore of a dump attaches partitions to eventstore.events.';

CREATE FUNCTION eventstore.level_partitions() RETURNS event_trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_level_partitions';
COMMENT ON FUNCTION eventstore.level_partitions() IS 'Has partitions have the owner of eventstore.events, and row security while that has it: who may read all tables sees no more by naming one.';
REVOKE ALL ON FUNCTION eventstore.level_partitions() FROM PUBLIC;

CREATE EVENT TRIGGER eventstore_level ON ddl_command_end WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION eventstore.level_partitions();
ALTER EVENT TRIGGER eventstore_level ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_level IS 'The owner of eventstore.events, and row security that is switched on it, come to be its partitions''.';

CREATE TABLE eventstore.archived_ranges
(
	from_position     bigint      NOT NULL CONSTRAINT archived_ranges_pkey PRIMARY KEY,
	upto_position     bigint      NOT NULL,
	partition         text COLLATE "C" NOT NULL,
	events            bigint,
	first_recorded_at timestamptz,
	last_recorded_at  timestamptz,
	detached_at       timestamptz NOT NULL
);
COMMENT ON TABLE eventstore.archived_ranges IS 'Ranges of positions whose events are away: es_detach_events has let them go, and es_attach_events has not brought them back.';
COMMENT ON COLUMN eventstore.archived_ranges.from_position IS 'The range begins at this position ...';
COMMENT ON COLUMN eventstore.archived_ranges.upto_position IS '... and ends before this one.';
COMMENT ON COLUMN eventstore.archived_ranges.partition IS 'What the table was called when it was detached.';
COMMENT ON COLUMN eventstore.archived_ranges.events IS 'How many events it had; null: its table is still there, in eventstore.detached_events.';
COMMENT ON COLUMN eventstore.archived_ranges.first_recorded_at IS 'When the first of them was recorded.';
COMMENT ON COLUMN eventstore.archived_ranges.last_recorded_at IS 'When the last of them was recorded.';
COMMENT ON COLUMN eventstore.archived_ranges.detached_at IS 'When it was detached.';
REVOKE ALL ON TABLE eventstore.archived_ranges FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.archived_ranges', '');

CREATE TABLE eventstore.foreign_ranges
(
	from_position     bigint      NOT NULL CONSTRAINT foreign_ranges_pkey PRIMARY KEY,
	upto_position     bigint      NOT NULL,
	partition         text COLLATE "C" NOT NULL,
	events            bigint      NOT NULL,
	lowest_id         uuid,
	highest_id        uuid,
	first_recorded_at timestamptz,
	last_recorded_at  timestamptz,
	attached_at       timestamptz NOT NULL
);
COMMENT ON TABLE eventstore.foreign_ranges IS 'Partitions that are foreign tables, which es_attach_events has attached: what is known of them without asking another server.';
COMMENT ON COLUMN eventstore.foreign_ranges.from_position IS 'The range begins at this position ...';
COMMENT ON COLUMN eventstore.foreign_ranges.upto_position IS '... and ends before this one.';
COMMENT ON COLUMN eventstore.foreign_ranges.partition IS 'What the foreign table was called when it was attached.';
COMMENT ON COLUMN eventstore.foreign_ranges.events IS 'How many events it has.';
COMMENT ON COLUMN eventstore.foreign_ranges.lowest_id IS 'The lowest of their ids: who gives another one below need not wait for the other server.';
COMMENT ON COLUMN eventstore.foreign_ranges.highest_id IS 'The highest of their ids.';
COMMENT ON COLUMN eventstore.foreign_ranges.first_recorded_at IS 'When the first of them was recorded.';
COMMENT ON COLUMN eventstore.foreign_ranges.last_recorded_at IS 'When the last of them was recorded.';
COMMENT ON COLUMN eventstore.foreign_ranges.attached_at IS 'When it was attached.';
REVOKE ALL ON TABLE eventstore.foreign_ranges FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.foreign_ranges', '');

CREATE FUNCTION @extschema@.es_detach_events(upto bigint) RETURNS SETOF regclass
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'es_detach_events';
COMMENT ON FUNCTION @extschema@.es_detach_events(bigint) IS
	'Has the partitions leave the store that end at or below a position; returns them, as tables to be dumped, dropped or kept.';
REVOKE ALL ON FUNCTION @extschema@.es_detach_events(bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_attach_events("table" regclass) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_attach_events';
COMMENT ON FUNCTION @extschema@.es_attach_events(regclass) IS
	'Brings a table back that es_detach_events has let go, unless it is not what left, or fits no longer.';
REVOKE ALL ON FUNCTION @extschema@.es_attach_events(regclass) FROM PUBLIC;

CREATE FUNCTION eventstore.note_departure() RETURNS event_trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_note_departure';
COMMENT ON FUNCTION eventstore.note_departure() IS 'Has the ids of a detached partition written down before DROP TABLE or ALTER TABLE ... DETACH PARTITION takes it away.';
REVOKE ALL ON FUNCTION eventstore.note_departure() FROM PUBLIC;

CREATE EVENT TRIGGER eventstore_departure ON ddl_command_start WHEN TAG IN ('DROP TABLE', 'ALTER TABLE') EXECUTE FUNCTION eventstore.note_departure();
ALTER EVENT TRIGGER eventstore_departure ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_departure IS 'The ids of a detached partition stay taken when its table goes.';

CREATE FUNCTION eventstore.describe_partition("table" regclass, OUT rows bigint, OUT first_recorded_at timestamptz, OUT last_recorded_at timestamptz)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
DECLARE
	pages bigint := pg_relation_size("table") / current_setting('block_size')::int;
BEGIN
	IF NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'eventstore.events'::regclass AND inhrelid = "table") THEN
		RAISE EXCEPTION '% is no partition of eventstore.events', "table" USING ERRCODE = 'invalid_parameter_value';
	END IF;
	-- Another server is not asked just to be shown.
	IF (SELECT relkind FROM pg_class WHERE oid = "table") = 'f' THEN
		RETURN;
	END IF;
	EXECUTE format('SELECT (SELECT recorded_at FROM ONLY %1$s ORDER BY position LIMIT 1), (SELECT recorded_at FROM ONLY %1$s ORDER BY position DESC LIMIT 1)', "table")
		INTO first_recorded_at, last_recorded_at;
	IF pages <= 10000 THEN
		EXECUTE format('SELECT count(*) FROM ONLY %s', "table") INTO rows;
	ELSE
		SELECT CASE WHEN reltuples < 0 OR relpages = 0 THEN pg_stat_get_live_tuples(oid) ELSE (reltuples / relpages * pages)::bigint END
			INTO rows FROM pg_class WHERE oid = "table";
	END IF;
END
$$;
COMMENT ON FUNCTION eventstore.describe_partition(regclass) IS 'How many events a partition has, counted up to 10,000 pages and estimated beyond, and of which time; nothing of a foreign table.';
REVOKE ALL ON FUNCTION eventstore.describe_partition(regclass) FROM PUBLIC;

CREATE VIEW eventstore.event_partitions AS
	SELECT c.oid::pg_catalog.regclass AS partition, b.from_position, b.upto_position, coalesce(d.rows, f.events) AS rows,
		pg_catalog.pg_total_relation_size(c.oid) AS size, coalesce(d.first_recorded_at, f.first_recorded_at) AS first_recorded_at,
		coalesce(d.last_recorded_at, f.last_recorded_at) AS last_recorded_at
	FROM pg_catalog.pg_inherits i
	JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
	CROSS JOIN LATERAL (SELECT
		coalesce(pg_catalog.substring(pg_catalog.pg_get_expr(c.relpartbound, c.oid), 'FROM [(]''?(-?[0-9]+)')::bigint, 0) AS from_position,
		pg_catalog.substring(pg_catalog.pg_get_expr(c.relpartbound, c.oid), 'TO [(]''?(-?[0-9]+)')::bigint AS upto_position) b
	CROSS JOIN LATERAL eventstore.describe_partition(c.oid) d
	LEFT JOIN eventstore.foreign_ranges f ON f.from_position = b.from_position AND f.upto_position = b.upto_position AND c.relkind = 'f'
	WHERE i.inhparent = 'eventstore.events'::pg_catalog.regclass AND c.relispartition
	ORDER BY b.from_position;
COMMENT ON VIEW eventstore.event_partitions IS 'The partitions of eventstore.events, if es_partition_events has been called: range, rows, size, times.';
COMMENT ON COLUMN eventstore.event_partitions.partition IS 'The table.';
COMMENT ON COLUMN eventstore.event_partitions.from_position IS 'Its range begins at this position ...';
COMMENT ON COLUMN eventstore.event_partitions.upto_position IS '... and ends before this one.';
COMMENT ON COLUMN eventstore.event_partitions.rows IS 'How many events it has: counted up to 10,000 pages, estimated beyond; of a foreign table as es_attach_events found it.';
COMMENT ON COLUMN eventstore.event_partitions.size IS 'What it takes on disk here with its indexes, in bytes.';
COMMENT ON COLUMN eventstore.event_partitions.first_recorded_at IS 'When its first event was recorded.';
COMMENT ON COLUMN eventstore.event_partitions.last_recorded_at IS 'When its last event was recorded.';
REVOKE ALL ON TABLE eventstore.event_partitions FROM PUBLIC;

CREATE TYPE eventstore.interval_text;

CREATE FUNCTION eventstore.interval_text_in(cstring) RETURNS eventstore.interval_text
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
COMMENT ON FUNCTION eventstore.interval_text_in(cstring) IS 'Input function of eventstore.interval_text.';
REVOKE ALL ON FUNCTION eventstore.interval_text_in(cstring) FROM PUBLIC;

CREATE FUNCTION eventstore.interval_text_out(eventstore.interval_text) RETURNS cstring
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
COMMENT ON FUNCTION eventstore.interval_text_out(eventstore.interval_text) IS 'Output function of eventstore.interval_text.';
REVOKE ALL ON FUNCTION eventstore.interval_text_out(eventstore.interval_text) FROM PUBLIC;

CREATE TYPE eventstore.interval_text (INPUT = eventstore.interval_text_in, OUTPUT = eventstore.interval_text_out, LIKE = text, CATEGORY = 'T');
COMMENT ON TYPE eventstore.interval_text IS 'An interval that is given as text: what functions take, and no column has.';

CREATE CAST (text AS eventstore.interval_text) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (text AS eventstore.interval_text) IS 'A text where a function takes an interval as text.';

CREATE CAST (varchar AS eventstore.interval_text) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (varchar AS eventstore.interval_text) IS 'A varchar where a function takes an interval as text.';

CREATE TYPE eventstore.timestamptz_text;

CREATE FUNCTION eventstore.timestamptz_text_in(cstring) RETURNS eventstore.timestamptz_text
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textin';
COMMENT ON FUNCTION eventstore.timestamptz_text_in(cstring) IS 'Input function of eventstore.timestamptz_text.';
REVOKE ALL ON FUNCTION eventstore.timestamptz_text_in(cstring) FROM PUBLIC;

CREATE FUNCTION eventstore.timestamptz_text_out(eventstore.timestamptz_text) RETURNS cstring
	LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'textout';
COMMENT ON FUNCTION eventstore.timestamptz_text_out(eventstore.timestamptz_text) IS 'Output function of eventstore.timestamptz_text.';
REVOKE ALL ON FUNCTION eventstore.timestamptz_text_out(eventstore.timestamptz_text) FROM PUBLIC;

CREATE TYPE eventstore.timestamptz_text (INPUT = eventstore.timestamptz_text_in, OUTPUT = eventstore.timestamptz_text_out, LIKE = text, CATEGORY = 'D');
COMMENT ON TYPE eventstore.timestamptz_text IS 'A time that is given as text: what functions take, and no column has.';

CREATE CAST (text AS eventstore.timestamptz_text) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (text AS eventstore.timestamptz_text) IS 'A text where a function takes a time as text.';

CREATE CAST (varchar AS eventstore.timestamptz_text) WITHOUT FUNCTION AS IMPLICIT;
COMMENT ON CAST (varchar AS eventstore.timestamptz_text) IS 'A varchar where a function takes a time as text.';

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

CREATE FUNCTION @extschema@.es_append(stream text, expected_version bigint, events text) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append_text';
COMMENT ON FUNCTION @extschema@.es_append(text, bigint, text) IS
	'Appends events given as JSON in a text; returns the version of the last one.';
REVOKE ALL ON FUNCTION @extschema@.es_append(text, bigint, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_append(
	stream text, expected_version bigint, type text, data text, metadata text, id uuid, tags text[] DEFAULT NULL
) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append_json_text';
COMMENT ON FUNCTION @extschema@.es_append(text, bigint, text, text, text, uuid, text[]) IS
	'Appends one event whose data and metadata are given as text; returns its version.';
REVOKE ALL ON FUNCTION @extschema@.es_append(text, bigint, text, text, text, uuid, text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_append(
	stream text, expected_version bigint, type text, data jsonb, metadata jsonb, id text, tags text[] DEFAULT NULL
) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append_id_text';
COMMENT ON FUNCTION @extschema@.es_append(text, bigint, text, jsonb, jsonb, text, text[]) IS
	'Appends one event whose id is given as text; returns its version.';
REVOKE ALL ON FUNCTION @extschema@.es_append(text, bigint, text, jsonb, jsonb, text, text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_append_streams(
	batch text, OUT stream text, OUT version bigint, OUT "position" bigint
) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'es_append_streams_text';
COMMENT ON FUNCTION @extschema@.es_append_streams(text) IS
	'Appends to several streams at once, of a batch given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_append_streams(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_append_if(stream text, events text, query text, after_position bigint DEFAULT 0) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append_if_text';
COMMENT ON FUNCTION @extschema@.es_append_if(text, text, text, bigint) IS
	'Appends events unless one that matches a query stands after a position, of events and a query given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_append_if(text, text, text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_query(
	query text, after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000, backward boolean DEFAULT false
) RETURNS SETOF eventstore.event
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_read_query_text';
COMMENT ON FUNCTION @extschema@.es_read_query(text, bigint, bigint, boolean) IS
	'The events that match a query given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_read_query(text, bigint, bigint, boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_stream_as_of(stream text, at eventstore.timestamptz_text) RETURNS SETOF eventstore.event
	LANGUAGE C STABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_stream_as_of_text';
COMMENT ON FUNCTION @extschema@.es_stream_as_of(text, eventstore.timestamptz_text) IS
	'The events of a stream as it was at a time given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_stream_as_of(text, eventstore.timestamptz_text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_position_at(at eventstore.timestamptz_text) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_position_at_text';
COMMENT ON FUNCTION @extschema@.es_position_at(eventstore.timestamptz_text) IS
	'The position to start after to get every event that was recorded at or after a time given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_position_at(eventstore.timestamptz_text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_wait(
	after_position bigint, timeout eventstore.interval_text, category text DEFAULT NULL
) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_wait_text';
COMMENT ON FUNCTION @extschema@.es_wait(bigint, eventstore.interval_text, text) IS
	'Waits for an event after a position, with a timeout given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_wait(bigint, eventstore.interval_text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_create_subscription(
	name text, category text, types text[], after_position bigint, partitions bigint, max_retries bigint,
	lease eventstore.interval_text, park_policy text DEFAULT 'pass', tenant text DEFAULT NULL
) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_create_subscription_text';
COMMENT ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, eventstore.interval_text, text, text) IS
	'Makes a subscription, with a lease given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, bigint, bigint, eventstore.interval_text, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_alter_subscription(
	name text, partitions bigint, park_policy text, max_retries bigint, lease eventstore.interval_text,
	category text DEFAULT NULL, types text[] DEFAULT NULL, tenant text DEFAULT NULL
) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_alter_subscription_text';
COMMENT ON FUNCTION @extschema@.es_alter_subscription(text, bigint, text, bigint, eventstore.interval_text, text, text[], text) IS
	'Changes a subscription, with a lease given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_alter_subscription(text, bigint, text, bigint, eventstore.interval_text, text, text[], text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_fetch(
	subscription text, consumer text, max_count bigint, wait eventstore.interval_text, OUT "position" bigint,
	OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text, OUT data jsonb,
	OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz, OUT partition int, OUT token bigint,
	OUT attempt int
) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_fetch_text';
COMMENT ON FUNCTION @extschema@.es_fetch(text, text, bigint, eventstore.interval_text) IS
	'The next events of a consumer''s partitions; how long to wait for some is given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_fetch(text, text, bigint, eventstore.interval_text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_nack(
	subscription text, token bigint, "position" bigint, reason text, action text, delay eventstore.interval_text
) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_nack_text';
COMMENT ON FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, eventstore.interval_text) IS
	'One event could not be worked on, with a delay given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, eventstore.interval_text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_parked(subscription text, id text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_drop_parked_text';
COMMENT ON FUNCTION @extschema@.es_drop_parked(text, text) IS
	'Throws one parked event away, whose id is given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_parked(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_create_state_projection(
	name text, reducer text, initial jsonb DEFAULT '{}', mode text DEFAULT 'inline', categories text[] DEFAULT NULL,
	types text[] DEFAULT NULL
) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_create_state_projection_name';
COMMENT ON FUNCTION @extschema@.es_create_state_projection(text, text, jsonb, text, text[], text[]) IS
	'Makes a projection that keeps the state of each stream, by a reducer that is given by its name.';
REVOKE ALL ON FUNCTION @extschema@.es_create_state_projection(text, text, jsonb, text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_create_state_projection(
	name text, reducer text, initial text, mode text DEFAULT 'inline', categories text[] DEFAULT NULL,
	types text[] DEFAULT NULL
) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_create_state_projection_text';
COMMENT ON FUNCTION @extschema@.es_create_state_projection(text, text, text, text, text[], text[]) IS
	'Makes a projection that keeps the state of each stream, by a reducer that is given by its name, from a state given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_create_state_projection(text, text, text, text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_wait_projection(name text, "position" bigint, timeout eventstore.interval_text) RETURNS boolean
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_wait_projection_text';
COMMENT ON FUNCTION @extschema@.es_wait_projection(text, bigint, eventstore.interval_text) IS
	'Waits until a projection has been applied to every event up to a position, with a timeout given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_wait_projection(text, bigint, eventstore.interval_text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_projection_as_of(
	name text, into_table text, "position" bigint, at eventstore.timestamptz_text
) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_projection_as_of_text';
COMMENT ON FUNCTION @extschema@.es_projection_as_of(text, text, bigint, eventstore.timestamptz_text) IS
	'Makes a table of what a projection was at a position and at a time given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_projection_as_of(text, text, bigint, eventstore.timestamptz_text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_reassign_projection(name text, owner text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_reassign_projection_text';
COMMENT ON FUNCTION @extschema@.es_reassign_projection(text, text) IS
	'Makes another role, which is given by its name, the owner of a projection.';
REVOKE ALL ON FUNCTION @extschema@.es_reassign_projection(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_save_snapshot(stream text, version bigint, state text, schema_version bigint DEFAULT 1) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_save_snapshot_text';
COMMENT ON FUNCTION @extschema@.es_save_snapshot(text, bigint, text, bigint) IS
	'Keeps the state of a stream at a version, given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_save_snapshot(text, bigint, text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_fold(
	stream text, reducer text, initial jsonb DEFAULT '{}', at_version bigint DEFAULT NULL, at timestamptz DEFAULT NULL
) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_fold_name';
COMMENT ON FUNCTION @extschema@.es_fold(text, text, jsonb, bigint, timestamptz) IS
	'The state that a stream amounts to, by a reducer that is given by its name.';
REVOKE ALL ON FUNCTION @extschema@.es_fold(text, text, jsonb, bigint, timestamptz) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_fold(
	stream text, reducer text, initial text, at_version bigint DEFAULT NULL, at timestamptz DEFAULT NULL
) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_fold_text';
COMMENT ON FUNCTION @extschema@.es_fold(text, text, text, bigint, timestamptz) IS
	'The state that a stream amounts to, by a reducer that is given by its name, from a state given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_fold(text, text, text, bigint, timestamptz) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_fold(
	stream text, reducer text, initial text, at_version bigint, at eventstore.timestamptz_text
) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_fold_text_at';
COMMENT ON FUNCTION @extschema@.es_fold(text, text, text, bigint, eventstore.timestamptz_text) IS
	'The state that a stream amounts to at a time given as text, by a reducer that is given by its name, from a state given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_fold(text, text, text, bigint, eventstore.timestamptz_text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_import(events text) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_import_text';
COMMENT ON FUNCTION @extschema@.es_import(text) IS
	'Stores an array of events as es_export gives them, which is given as text; returns how many were not there before.';
REVOKE ALL ON FUNCTION @extschema@.es_import(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_set_retention(
	stream_or_category text, max_age eventstore.interval_text, max_count bigint DEFAULT NULL
) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_set_retention_text';
COMMENT ON FUNCTION @extschema@.es_set_retention(text, eventstore.interval_text, bigint) IS
	'Says how long the events of a stream or category are kept, as text.';
REVOKE ALL ON FUNCTION @extschema@.es_set_retention(text, eventstore.interval_text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_redact(id text, reason text, keys text[] DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_redact_text';
COMMENT ON FUNCTION @extschema@.es_redact(text, text, text[]) IS
	'Blanks a stored event whose id is given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_redact(text, text, text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_protect(subject text, value text) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_protect_text';
COMMENT ON FUNCTION @extschema@.es_protect(text, text) IS
	'An envelope with the value, which is JSON given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_protect(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_reveal(data text) RETURNS jsonb
	LANGUAGE C STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_reveal_text';
COMMENT ON FUNCTION @extschema@.es_reveal(text) IS
	'JSON given as text, with every envelope in it opened.';
REVOKE ALL ON FUNCTION @extschema@.es_reveal(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_grant(role text, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	RETURN @extschema@.es_grant(role::pg_catalog.regrole, level, category, tenant);
COMMENT ON FUNCTION @extschema@.es_grant(text, text, text, text) IS
	'Lets a role, which is given by its name, do what belongs to a level; see es_grant(regrole, ...).';
REVOKE ALL ON FUNCTION @extschema@.es_grant(text, text, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_revoke(role text, level text, category text DEFAULT NULL, tenant text DEFAULT NULL) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	RETURN @extschema@.es_revoke(role::pg_catalog.regrole, level, category, tenant);
COMMENT ON FUNCTION @extschema@.es_revoke(text, text, text, text) IS
	'Takes a level from a role, which is given by its name; see es_revoke(regrole, ...).';
REVOKE ALL ON FUNCTION @extschema@.es_revoke(text, text, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_adopt_map(map text) RETURNS boolean
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	BEGIN ATOMIC
		SELECT @extschema@.es_adopt_map(map::pg_catalog.jsonb);
END;
COMMENT ON FUNCTION @extschema@.es_adopt_map(text) IS
	'Takes over a map of cells that is given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_adopt_map(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_set_cell(cell bigint, feed bigint, slots text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	BEGIN ATOMIC
		SELECT @extschema@.es_set_cell(cell, feed, slots::pg_catalog.int4multirange);
END;
COMMENT ON FUNCTION @extschema@.es_set_cell(bigint, bigint, text) IS
	'Makes this store a cell; its slots are given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_set_cell(bigint, bigint, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_add_cell(cell bigint, feed bigint, slots text, connection text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	BEGIN ATOMIC
		SELECT @extschema@.es_add_cell(cell, feed, slots::pg_catalog.int4multirange, connection);
END;
COMMENT ON FUNCTION @extschema@.es_add_cell(bigint, bigint, text, text) IS
	'Puts a cell into this store''s map; its slots are given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_add_cell(bigint, bigint, text, text) FROM PUBLIC;

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

CREATE FUNCTION eventstore.worst(levels text[]) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN CASE WHEN 'critical' = ANY (levels) THEN 'critical' WHEN 'warning' = ANY (levels) THEN 'warning' ELSE 'ok' END;
COMMENT ON FUNCTION eventstore.worst(text[]) IS 'The worst of some levels of health.';
REVOKE ALL ON FUNCTION eventstore.worst(text[]) FROM PUBLIC;

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

-- As far as here by test/upgrade/write-update.
-- ---------------------------------------------------------------------------------------------------------------------------------

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What stood in the tables goes on
-- ---------------------------------------------------------------------------------------------------------------------------------

-- Each row gets a place, and a revision above all others.
INSERT INTO eventstore.subscription_shares (subscription, share, division, consumer, partitions, checkpoint, attempts, retried, token, delivered,
											acked, scanned, lease_end, place, revision, base)
SELECT s.subscription, s.share, s.division, s.consumer, s.partitions, s.checkpoint, s.attempts, s.retried, s.token, s.delivered,
	   s.acked, s.scanned, s.lease_end, s.place, nextval('eventstore.subscription_revisions'), 0
FROM (SELECT *, row_number() OVER (PARTITION BY subscription ORDER BY share) - 1 AS place FROM pg_temp.shares_before) s;

-- Those that are parked, and hold no stream, have no place.
INSERT INTO eventstore.subscription_retries (subscription, position, stream, version, retry, attempts, due, parked_at, is_blocking, is_replayed,
											 delivered_to, delivered_attempts, reason, place, revision, base)
SELECT r.subscription, r.position, r.stream, r.version, r.retry, r.attempts, r.due, r.parked_at, r.is_blocking, r.is_replayed,
	   r.delivered_to, r.delivered_attempts, r.reason,
	   CASE WHEN r.has_place THEN row_number() OVER (PARTITION BY r.subscription, r.has_place ORDER BY r.position) - 1 END,
	   CASE WHEN r.has_place THEN nextval('eventstore.subscription_revisions') END, CASE WHEN r.has_place THEN 0 END
FROM (SELECT *, parked_at IS NULL OR is_blocking AS has_place FROM pg_temp.retries_before) r;

-- The shares of a division that is to come are there from the moment that it is planned: all partitions, free, where the present ones end.
UPDATE eventstore.subscriptions SET next_division = nextval('eventstore.subscription_tokens') WHERE next_partitions IS NOT NULL;
INSERT INTO eventstore.subscription_shares (subscription, share, division, consumer, partitions, checkpoint, attempts, retried, token, delivered,
											acked, scanned, lease_end, place, revision, base)
SELECT d.name, nextval('eventstore.subscription_tokens'), d.next_division, NULL,
	   decode(repeat('ff', d.next_partitions / 8) || CASE WHEN d.next_partitions % 8 > 0 THEN lpad(to_hex((1 << d.next_partitions % 8) - 1), 2, '0') ELSE '' END, 'hex'),
	   d.drain_to, '{}', '{}', 0, 0, 0, 0, '-infinity',
	   (SELECT coalesce(max(s.place) + 1, 0) FROM eventstore.subscription_shares s WHERE s.subscription = d.name),
	   nextval('eventstore.subscription_revisions'), 0
FROM eventstore.subscriptions d WHERE d.next_division IS NOT NULL;

INSERT INTO eventstore.projection_checkpoints (projection, revision, position, events_applied)
SELECT p.name, 1, p.position, p.events_applied FROM eventstore.projections p;

-- They were made here, and have what they need.
INSERT INTO eventstore.local_projections (projection) SELECT p.name FROM eventstore.projections p;
INSERT INTO eventstore.projection_needs (projection, kind, of_table, object)
SELECT p.name, 'list', '', p.name FROM eventstore.projections p
UNION
SELECT p.name, 'table', t, t FROM eventstore.projections p, unnest(p.tables) t;
INSERT INTO eventstore.projection_needs (projection, kind, of_table, object)
SELECT f.projection, f.kind, f.of_table, f.object FROM eventstore.projection_facts f ON CONFLICT DO NOTHING;

INSERT INTO eventstore.intact_projections (projection)
SELECT p.name FROM eventstore.projections p
WHERE EXISTS (SELECT FROM unnest(p.tables) t, pg_class c
			  WHERE c.relpersistence = 'u' AND (c.oid = to_regclass(t) OR c.oid IN (SELECT i.relid FROM pg_partition_tree(to_regclass(t)) i)));

-- Who owns a projection is said by the owner of a procedure, no longer by a name: src/projection/mark.c.
DO $$
DECLARE
	projection record;
	mark text;
	command text;
BEGIN
	FOR projection IN SELECT p.name, p.owner, r.oid AS role FROM eventstore.projections p LEFT JOIN pg_roles r ON r.rolname = p.owner ORDER BY p.name
	LOOP
		IF projection.role IS NULL THEN
			RAISE WARNING 'projection "%" has lost its owner', projection.name
				USING DETAIL = format('There is no role "%s".', projection.owner), HINT = 'es_reassign_projection() makes another role its owner.';
			CONTINUE;
		END IF;
		mark := format('eventstore.%I(eventstore.projection)', projection.name);
		FOREACH command IN ARRAY ARRAY[
			format('CREATE PROCEDURE %s LANGUAGE sql AS %L', mark, ''),
			format('COMMENT ON PROCEDURE %s IS %L', mark, format('Its owner is the owner of projection "%s"; see es_reassign_projection.', projection.name)),
			format('ALTER PROCEDURE %s DEPENDS ON EXTENSION eventstore', mark),
			format('ALTER PROCEDURE %s OWNER TO %I', mark, projection.owner),
			format('REVOKE ALL ON PROCEDURE %s FROM PUBLIC, %I', mark, projection.owner)]
		LOOP
			PERFORM eventstore.update_run(command);
		END LOOP;
	END LOOP;
END
$$;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Rights
-- ---------------------------------------------------------------------------------------------------------------------------------

-- As sql/90_nobody.sql, of what is new.
DO $$
DECLARE
	command text;
BEGIN
	FOR command IN
		SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', o.object, acl.grantee::regrole)
		FROM pg_depend d
		JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
		CROSS JOIN LATERAL (
			SELECT 'FUNCTION ' || f.oid::regprocedure::text, f.proacl, f.proowner
			FROM pg_proc f WHERE d.classid = 'pg_proc'::regclass AND f.oid = d.objid
			UNION ALL
			SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass::text, c.relacl, c.relowner
			FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid
			UNION ALL
			SELECT 'TYPE ' || t.oid::regtype::text, t.typacl, t.typowner
			FROM pg_type t WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid
		) o (object, rights, owner)
		CROSS JOIN LATERAL aclexplode(o.rights) acl
		WHERE e.extname = 'eventstore' AND d.deptype = 'e' AND acl.grantee NOT IN (0, o.owner)
		  AND NOT EXISTS (SELECT FROM pg_temp.members_before b WHERE b.classid = d.classid AND b.objid = d.objid)
	LOOP
		EXECUTE command;
	END LOOP;
END
$$;

-- What levels give now. Nothing that one of them has given is taken, nor what a DBA has granted.
SELECT eventstore.update_run(format('GRANT %s ON %s TO %s', r.privilege, r.object, g.role))
FROM (SELECT DISTINCT acl.grantee::regrole AS role FROM pg_proc f, aclexplode(f.proacl) acl
	  WHERE f.oid IN ('eventstore.may_read()'::regprocedure, 'eventstore.may_append()'::regprocedure, 'eventstore.may_administer()'::regprocedure)
		AND acl.grantee NOT IN (0, f.proowner)) g
CROSS JOIN LATERAL (SELECT DISTINCT r.privilege, r.object FROM unnest(eventstore.levels_of_role(g.role)) l, eventstore.rights_of_level(l) r
					WHERE r.object <> 'SCHEMA @extschema@') r;

SELECT eventstore.update_run('DROP TABLE pg_temp.members_before, pg_temp.shares_before, pg_temp.retries_before');
DROP FUNCTION eventstore.update_run(text);
