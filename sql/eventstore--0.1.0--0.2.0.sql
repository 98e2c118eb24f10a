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

-- Functions that get other arguments are dropped and made anew.
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
	ADD COLUMN next_division bigint, ADD COLUMN is_paused boolean, ADD COLUMN revision bigint, ADD COLUMN tenant text COLLATE "C";
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
	PERFORM pg_advisory_xact_lock('pg_namespace'::regclass::oid::int, 'eventstore'::regnamespace::oid::int);
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
	SELECT object ~ '^SCHEMA ' OR substring(object FROM '([a-z_]+)(?:\(.*)?$') IN
		('events', 'notify_status', 'subscription_status', 'parked',
		 'es_read', 'es_read_all', 'es_read_category', 'es_read_query', 'es_export', 'es_stream_version', 'es_last_event', 'es_stream_as_of', 'find_event',
		 'es_head', 'es_position_at', 'es_wait', 'es_channel', 'find_notify_status', 'es_tenant', 'es_partition',
		 'es_snapshot', 'es_load', 'es_fold', 'es_save_snapshot', 'es_wait_projection', 'es_projection_as_of', 'es_first', 'es_last',
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
		('read admin',        'SELECT',  'TABLE eventstore.events'),
		('admin',             'SELECT',  'TABLE eventstore.streams'),
		('admin',             'SELECT',  'TABLE eventstore.head'),
		('admin',             'SELECT',  'TABLE eventstore.marks'),
		('read admin',        'SELECT',  'TABLE eventstore.inflight'),
		('read admin',        'SELECT',  'TABLE eventstore.notify_status'),
		('admin',             'SELECT',  'TABLE eventstore.snapshots'),
		('admin',             'SELECT',  'TABLE eventstore.removed_events'),
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
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_snapshot(text, int)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_load(text, int)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, regprocedure, jsonb, bigint, timestamptz)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, int)'),
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
		('read append admin', 'EXECUTE', 'FUNCTION eventstore.event_digest(eventstore.event)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_verify()'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_seal(bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_verify_seals()'),
		('admin',             'SELECT',  'TABLE eventstore.seals'),
		('admin',             'SELECT',  'TABLE eventstore.seal_blocks'),
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
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_partition(text, int)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_subscription_division(text)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_subscription_status(text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_fetch(text, text, int, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_ack(text, bigint, bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_release(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, int, int, interval, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_alter_subscription(text, int, text, int, interval, text, text[])'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_pause_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_resume_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_reset_subscription(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, int)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, uuid)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_parked(text, uuid)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_protect(text, jsonb)'),
		('reveal admin',      'EXECUTE', 'FUNCTION @extschema@.es_reveal(jsonb)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_erase_subject(text, text)'),
		('admin',             'SELECT',  'TABLE eventstore.erasures'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_grant(regrole, text, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_revoke(regrole, text, text, text)')
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
COMMENT ON COLUMN eventstore.subscription_retries.place IS 'Where it is found, as in subscription_shares; null = it is parked, and nobody waits for it.';
COMMENT ON COLUMN eventstore.subscription_retries.revision IS 'Of a place, only the highest one counts.';
COMMENT ON COLUMN eventstore.subscription_retries.base IS 'Until what wrote it is committed, the highest one up to this counts, too.';

CREATE FUNCTION @extschema@.es_create_subscription(name text, category text DEFAULT NULL, types text[] DEFAULT NULL, after_position bigint DEFAULT 0,
												   partitions int DEFAULT 64, max_retries int DEFAULT 10, lease interval DEFAULT '30 s',
												   park_policy text DEFAULT 'pass', tenant text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_create_subscription';
COMMENT ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, int, int, interval, text, text) IS
	'Makes a subscription to all events, or to those of a category, a tenant or some types, after a position (-1 = the head).';
REVOKE ALL ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, int, int, interval, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_alter_subscription(name text, partitions int DEFAULT NULL, park_policy text DEFAULT NULL,
												  max_retries int DEFAULT NULL, lease interval DEFAULT NULL, category text DEFAULT NULL,
												  types text[] DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_alter_subscription';
COMMENT ON FUNCTION @extschema@.es_alter_subscription(text, int, text, int, interval, text, text[]) IS
	'Changes a subscription: how many partitions it has, its settings, which events it sees from its checkpoints on; null = leave as it is.';
REVOKE ALL ON FUNCTION @extschema@.es_alter_subscription(text, int, text, int, interval, text, text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_pause_subscription(name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_pause_subscription';
COMMENT ON FUNCTION @extschema@.es_pause_subscription(text) IS 'Stops delivering a subscription''s events, until es_resume_subscription.';
REVOKE ALL ON FUNCTION @extschema@.es_pause_subscription(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_resume_subscription(name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_resume_subscription';
COMMENT ON FUNCTION @extschema@.es_resume_subscription(text) IS 'Goes on delivering the events of a subscription that is paused.';
REVOKE ALL ON FUNCTION @extschema@.es_resume_subscription(text) FROM PUBLIC;

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

CREATE OR REPLACE FUNCTION @extschema@.es_fetch(subscription text, consumer text DEFAULT NULL, max_count int DEFAULT 100, wait interval DEFAULT '0',
									 OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text,
									 OUT data jsonb, OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz,
									 OUT partition int, OUT token bigint, OUT attempt int) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_fetch';

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

CREATE FUNCTION eventstore.find_subscription_division(subscription text, OUT division bigint, OUT partitions int) RETURNS SETOF record
	LANGUAGE sql STABLE PARALLEL SAFE ROWS 1 SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS
$$
	WITH shares AS MATERIALIZED (SELECT * FROM eventstore.find_subscription_shares(find_subscription_division.subscription))
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
	WHERE s.name = find_subscription_division.subscription
$$;
COMMENT ON FUNCTION eventstore.find_subscription_division(text) IS 'The present division of a subscription into partitions.';
REVOKE ALL ON FUNCTION eventstore.find_subscription_division(text) FROM PUBLIC;

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
		CROSS JOIN eventstore.find_subscription_division(count_subscription_status.subscription) d
		CROSS JOIN LATERAL generate_series(0, d.partitions - 1) p
		CROSS JOIN LATERAL (
			SELECT h.consumer, h.checkpoint, h.lease_end FROM shares h
			WHERE h.division = d.division AND get_bit(h.partitions, p) = 1 ORDER BY h.share DESC LIMIT 1
		) h
		LEFT JOIN (
			-- What was parked once does not take the checkpoint back when it is replayed.
			SELECT @extschema@.es_partition(r.stream, d.partitions) AS partition, count(r.parked_at) AS parked,
				   min(CASE WHEN r.is_blocking AND (r.is_replayed OR r.parked_at IS NOT NULL) THEN r.position
							WHEN r.due IS NOT NULL AND NOT r.is_replayed THEN r.position - 1 END) AS before
			FROM eventstore.find_subscription_retries(count_subscription_status.subscription) r
			CROSS JOIN eventstore.find_subscription_division(count_subscription_status.subscription) d GROUP BY 1
		) r ON r.partition = p
		WHERE s.name = count_subscription_status.subscription
	), l AS (
		SELECT p.partition, count(*) AS events, min(e.recorded_at) AS oldest
		FROM (SELECT p.category, p.tenant, p.types, p.partitions, min(p.checkpoint) AS lowest FROM p GROUP BY 1, 2, 3, 4) s
		CROSS JOIN LATERAL (
			SELECT e.position, e.recorded_at, @extschema@.es_partition(e.stream, s.partitions) AS partition FROM eventstore.events e
			WHERE e.position > s.lowest AND (s.category IS NULL OR e.category = s.category) AND (s.types IS NULL OR e.type = ANY (s.types))
			  AND (s.tenant IS NULL OR @extschema@.es_tenant(e.stream) = s.tenant)
		) e
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
		   CASE WHEN d.is_paused THEN 'paused' ELSE 'running' END AS state, d.tenant
	FROM eventstore.subscriptions d CROSS JOIN LATERAL eventstore.find_subscription_status(d.name) s;
COMMENT ON COLUMN eventstore.subscription_status.state IS 'State of the subscription: running or paused.';
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
	LEFT JOIN eventstore.removed_events g ON g.position = r.position AND NOT pg_catalog.row_security_active('eventstore.events'::pg_catalog.text)
	WHERE r.parked_at IS NOT NULL AND (e.position IS NOT NULL OR g.position IS NOT NULL);
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
						 (SELECT e.recorded_at FROM eventstore.events e
						  WHERE e.position > p.position
							AND (p.categories IS NULL OR e.category = ANY (p.categories))
							AND (p.types IS NULL OR e.type = ANY (p.types))
							AND NOT EXISTS (SELECT FROM eventstore.skipped_events s
											WHERE s.projection = p.name AND s.position = e.position)
						  ORDER BY e.position LIMIT 1) AS oldest) i;
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
	  AND NOT EXISTS (SELECT FROM eventstore.removed_events g WHERE g.position = o.position)
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
