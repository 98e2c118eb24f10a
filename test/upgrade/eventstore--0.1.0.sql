\echo Use "CREATE EXTENSION eventstore" to load this file. \quit
-- The store: one row an event, one row a stream, one sequence for positions.
--
-- All names are qualified; the functions go into the schema that CREATE EXTENSION is given, everything else into eventstore.

CREATE SCHEMA eventstore;
COMMENT ON SCHEMA eventstore IS 'The relations of the event store; its functions, es_..., stand in the schema that CREATE EXTENSION was given.';
REVOKE ALL ON SCHEMA eventstore FROM PUBLIC;

CREATE TYPE eventstore.event AS
(
	position    bigint,
	stream      text COLLATE "C",
	category    text COLLATE "C",
	version     bigint,
	id          uuid,
	type        text COLLATE "C",
	data        jsonb,
	metadata    jsonb,
	tags        text[] COLLATE "C",
	recorded_at timestamptz
);
COMMENT ON TYPE eventstore.event IS 'An event as every reading function returns it; the columns of eventstore.events.';

-- One row a stream. Its row lock is what appends to the stream queue on, so it must stay small, and nothing that an append changes
-- may be indexed: the update has to be HOT. The free space is for the row versions that wait to be pruned.
CREATE TABLE eventstore.streams
(
	stream      text COLLATE "C" NOT NULL CONSTRAINT streams_pkey PRIMARY KEY,
	version     bigint           NOT NULL,
	recorded_at timestamptz      NOT NULL,
	tombstoned  boolean          NOT NULL DEFAULT false
)
WITH (fillfactor = 65);
COMMENT ON TABLE eventstore.streams IS 'One row a stream: where it is. Written by es_append and its kin only.';
COMMENT ON COLUMN eventstore.streams.stream IS 'Name of the stream, 1 to 512 bytes, compared byte by byte.';
COMMENT ON COLUMN eventstore.streams.version IS 'Version of the last event; 0 = no event yet (the row then comes from es_assert_version).';
COMMENT ON COLUMN eventstore.streams.recorded_at IS 'When the last event was appended; the next one is not recorded before it.';
COMMENT ON COLUMN eventstore.streams.tombstoned IS 'Whether the stream is deleted for good: appends raise SE003.';
REVOKE ALL ON TABLE eventstore.streams FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.streams', '');

CREATE SEQUENCE eventstore.positions AS bigint;
COMMENT ON SEQUENCE eventstore.positions IS 'Gives out positions. Never cached: within a stream they must rise with the versions.';
REVOKE ALL ON SEQUENCE eventstore.positions FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.positions', '');

CREATE TABLE eventstore.events
(
	position    bigint           NOT NULL CONSTRAINT events_pkey PRIMARY KEY,
	stream      text COLLATE "C" NOT NULL,
	category    text COLLATE "C" NOT NULL,
	version     bigint           NOT NULL,
	id          uuid             NOT NULL,
	type        text COLLATE "C" NOT NULL,
	data        jsonb            NOT NULL,
	metadata    jsonb,
	tags        text[] COLLATE "C",
	recorded_at timestamptz      NOT NULL,
	CONSTRAINT events_stream_version_key UNIQUE (stream, version),
	CONSTRAINT events_id_key UNIQUE (id)
);
-- No two entries are equal: each full page would be searched in vain for what to merge, at 1 % of an append.
CREATE INDEX events_category_position_idx ON eventstore.events (category, position) WITH (deduplicate_items = off);
COMMENT ON TABLE eventstore.events IS 'Every event of the store. Rows are never changed: UPDATE, DELETE and TRUNCATE raise SE007.';
COMMENT ON COLUMN eventstore.events.position IS 'Place in the store-wide order: unique, rising along every stream, with gaps, never reused.';
COMMENT ON COLUMN eventstore.events.stream IS 'Name of the stream, 1 to 512 bytes.';
COMMENT ON COLUMN eventstore.events.category IS 'What stands before the first "-" of the stream''s name; the whole name where there is none.';
COMMENT ON COLUMN eventstore.events.version IS 'Place in the stream: 1, 2, 3 ... without gaps.';
COMMENT ON COLUMN eventstore.events.id IS 'Identity of the event, unique for ever; given by the caller or made as UUIDv7.';
COMMENT ON COLUMN eventstore.events.type IS 'Type of the event, 1 to 256 bytes.';
COMMENT ON COLUMN eventstore.events.data IS 'What happened: any JSON.';
COMMENT ON COLUMN eventstore.events.metadata IS 'What is known about the event (correlation_id, causation_id, user ...): an object, or null.';
COMMENT ON COLUMN eventstore.events.tags IS 'Tags of the event, or null.';
COMMENT ON COLUMN eventstore.events.recorded_at IS 'Wall clock at append, never decreasing along a stream.';
REVOKE ALL ON TABLE eventstore.events FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.events', '');

CREATE FUNCTION eventstore.refuse_change() RETURNS trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_refuse_change';
COMMENT ON FUNCTION eventstore.refuse_change() IS 'Raises SE007: stored events are immutable.';
REVOKE ALL ON FUNCTION eventstore.refuse_change() FROM PUBLIC;

CREATE TRIGGER events_are_immutable BEFORE UPDATE OR DELETE OR TRUNCATE ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.refuse_change();
-- ALWAYS: session_replication_role = replica must not switch it off.
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER events_are_immutable;
COMMENT ON TRIGGER events_are_immutable ON eventstore.events IS 'Refuses UPDATE, DELETE and TRUNCATE for everyone.';

-- The statement's trigger does not fire where events are reached through a table that they were made to inherit from.
CREATE TRIGGER every_event_is_immutable BEFORE UPDATE OR DELETE ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION eventstore.refuse_change();
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER every_event_is_immutable;
COMMENT ON TRIGGER every_event_is_immutable ON eventstore.events IS 'Refuses UPDATE and DELETE of each event, whatever way they come.';
-- Append: the verbs that write events, and the named values of expected_version.
--
-- None is STRICT: a null argument raises 22004 with a hint instead of being answered by null.

CREATE FUNCTION @extschema@.es_any() RETURNS bigint
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN (-1)::bigint;
COMMENT ON FUNCTION @extschema@.es_any() IS 'Expected version -1: any version will do; the append never conflicts.';
REVOKE ALL ON FUNCTION @extschema@.es_any() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_exists() RETURNS bigint
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN (-2)::bigint;
COMMENT ON FUNCTION @extschema@.es_exists() IS 'Expected version -2: the stream has at least one event.';
REVOKE ALL ON FUNCTION @extschema@.es_exists() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_no_stream() RETURNS bigint
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 0::bigint;
COMMENT ON FUNCTION @extschema@.es_no_stream() IS 'Expected version 0: the stream has no event.';
REVOKE ALL ON FUNCTION @extschema@.es_no_stream() FROM PUBLIC;

CREATE FUNCTION @extschema@.es_append(stream text, expected_version bigint, events jsonb) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append';
COMMENT ON FUNCTION @extschema@.es_append(text, bigint, jsonb) IS
	'Appends events, an array of {type, data, metadata, id, tags} or one such object; returns the version of the last one.';
REVOKE ALL ON FUNCTION @extschema@.es_append(text, bigint, jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_append(stream text, expected_version bigint, type text, data jsonb,
									  metadata jsonb DEFAULT NULL, id uuid DEFAULT NULL, tags text[] DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append_event';
COMMENT ON FUNCTION @extschema@.es_append(text, bigint, text, jsonb, jsonb, uuid, text[]) IS
	'Appends one event; returns its version.';
REVOKE ALL ON FUNCTION @extschema@.es_append(text, bigint, text, jsonb, jsonb, uuid, text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_append(stream text, expected_version bigint, types text[], data jsonb[],
									  metadata jsonb[] DEFAULT NULL, ids uuid[] DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append_arrays';
COMMENT ON FUNCTION @extschema@.es_append(text, bigint, text[], jsonb[], jsonb[], uuid[]) IS
	'Appends events given as arrays of one length; returns the version of the last one.';
REVOKE ALL ON FUNCTION @extschema@.es_append(text, bigint, text[], jsonb[], jsonb[], uuid[]) FROM PUBLIC;

-- Untyped literals and untyped parameters could mean jsonb or jsonb[], and PostgreSQL refuses to choose, unless a candidate takes
-- text: that one wins. So this form stands in for the one-event form where types are unknown.
CREATE FUNCTION @extschema@.es_append(stream text, expected_version bigint, type text, data text,
									  metadata text DEFAULT NULL, id text DEFAULT NULL, tags text[] DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append_literals';
COMMENT ON FUNCTION @extschema@.es_append(text, bigint, text, text, text, text, text[]) IS
	'Appends one event given as untyped literals; returns its version.';
REVOKE ALL ON FUNCTION @extschema@.es_append(text, bigint, text, text, text, text, text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_append_streams(batch jsonb, OUT stream text, OUT version bigint, OUT "position" bigint) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'es_append_streams';
COMMENT ON FUNCTION @extschema@.es_append_streams(jsonb) IS
	'Appends to several streams at once: [{stream, expected_version, events}, ...]; a row an entry: its stream, last version, last position.';
REVOKE ALL ON FUNCTION @extschema@.es_append_streams(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_assert_version(stream text, expected_version bigint) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_assert_version';
COMMENT ON FUNCTION @extschema@.es_assert_version(text, bigint) IS
	'Checks the version of a stream that one does not write to; it stays so until commit. Returns the version.';
REVOKE ALL ON FUNCTION @extschema@.es_assert_version(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_last_position() RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'es_last_position';
COMMENT ON FUNCTION @extschema@.es_last_position() IS
	'Position of the last event that this session appended; null if none.';
REVOKE ALL ON FUNCTION @extschema@.es_last_position() FROM PUBLIC;
-- Read: the verbs that return events, each a direct scan of one index of eventstore.events.

CREATE FUNCTION @extschema@.es_read(stream text, from_version bigint DEFAULT NULL, max_count bigint DEFAULT NULL,
									backward boolean DEFAULT false) RETURNS SETOF eventstore.event
	LANGUAGE C STABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_read';
COMMENT ON FUNCTION @extschema@.es_read(text, bigint, bigint, boolean) IS
	'The events of a stream: from from_version (default the first) up, or backward from it (default the last) down; at most max_count.';
REVOKE ALL ON FUNCTION @extschema@.es_read(text, bigint, bigint, boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_all(after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000, types text[] DEFAULT NULL,
										backward boolean DEFAULT false) RETURNS SETOF eventstore.event
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_read_all';
COMMENT ON FUNCTION @extschema@.es_read_all(bigint, bigint, text[], boolean) IS
	'The events of the store after a position, in order of position; backward: before it, where 0 means from the head.';
REVOKE ALL ON FUNCTION @extschema@.es_read_all(bigint, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_category(category text, after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000,
											 types text[] DEFAULT NULL, backward boolean DEFAULT false) RETURNS SETOF eventstore.event
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_read_category';
COMMENT ON FUNCTION @extschema@.es_read_category(text, bigint, bigint, text[], boolean) IS
	'The events of a category after a position, in order of position; backward: before it, where 0 means from the head.';
REVOKE ALL ON FUNCTION @extschema@.es_read_category(text, bigint, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_stream_version(stream text) RETURNS bigint
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_stream_version';
COMMENT ON FUNCTION @extschema@.es_stream_version(text) IS
	'Version of a stream''s last event; 0 = no event yet.';
REVOKE ALL ON FUNCTION @extschema@.es_stream_version(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_last_event(stream text, type text DEFAULT NULL) RETURNS SETOF eventstore.event
	LANGUAGE C STABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'es_last_event';
COMMENT ON FUNCTION @extschema@.es_last_event(text, text) IS
	'The last event of a stream, or the last of one type; no row if there is none.';
REVOKE ALL ON FUNCTION @extschema@.es_last_event(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_stream_as_of(stream text, at timestamptz) RETURNS SETOF eventstore.event
	LANGUAGE C STABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_stream_as_of';
COMMENT ON FUNCTION @extschema@.es_stream_as_of(text, timestamptz) IS
	'The events of a stream as it was at a time: those recorded at or before it.';
REVOKE ALL ON FUNCTION @extschema@.es_stream_as_of(text, timestamptz) FROM PUBLIC;
-- Order: the head of the store, and the appends that hold it back.

-- Written by the worker: what it has announced last; standbys read their head here. A dump leaves the row out: the worker of the
-- database that it is restored into may be quicker than COPY.
CREATE TABLE eventstore.head
(
	only_row boolean NOT NULL DEFAULT true CONSTRAINT head_pkey PRIMARY KEY CONSTRAINT head_only_row_check CHECK (only_row),
	position bigint  NOT NULL
)
WITH (fillfactor = 10);
COMMENT ON TABLE eventstore.head IS 'The head that the worker has announced last; es_head() on a standby. At most one row.';
COMMENT ON COLUMN eventstore.head.only_row IS 'Always true.';
COMMENT ON COLUMN eventstore.head.position IS 'Every event at or below this position is settled.';
REVOKE ALL ON TABLE eventstore.head FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.head', 'WHERE false');

CREATE FUNCTION @extschema@.es_head() RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_head';
COMMENT ON FUNCTION @extschema@.es_head() IS
	'Position up to which the store is settled: no event at or below it can appear any more.';
REVOKE ALL ON FUNCTION @extschema@.es_head() FROM PUBLIC;

-- A function, as pg_stat_activity hides from most roles when a transaction began. The tag of the lock is made in src/inflight.c:
-- database, high and low half of the last position given out before, 17665.
CREATE FUNCTION eventstore.find_inflight(OUT pid int, OUT xact_start timestamptz, OUT lowest_position bigint) RETURNS SETOF record
	LANGUAGE sql VOLATILE PARALLEL RESTRICTED ROWS 10 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
	SELECT l.pid, coalesce(a.xact_start, x.prepared), (l.classid::bigint << 32) + l.objid::bigint + 1
	FROM pg_locks l
	LEFT JOIN pg_stat_activity a ON a.pid = l.pid
	LEFT JOIN (pg_locks t JOIN pg_prepared_xacts x ON x.transaction = t.transactionid)
		   ON l.pid IS NULL AND t.pid IS NULL AND t.virtualtransaction = l.virtualtransaction
	WHERE l.locktype = 'userlock' AND l.objsubid = 17665
	  AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
$$;
COMMENT ON FUNCTION eventstore.find_inflight() IS 'The rows of eventstore.inflight.';
REVOKE ALL ON FUNCTION eventstore.find_inflight() FROM PUBLIC;

CREATE VIEW eventstore.inflight AS
	SELECT pid, xact_start, lowest_position FROM eventstore.find_inflight();
COMMENT ON VIEW eventstore.inflight IS 'Open transactions that append: they hold the head back. One row each.';
COMMENT ON COLUMN eventstore.inflight.pid IS 'Process of the session; null for a prepared transaction.';
COMMENT ON COLUMN eventstore.inflight.xact_start IS 'When the transaction began, or was prepared.';
COMMENT ON COLUMN eventstore.inflight.lowest_position IS 'Its events are at this position or above; the head stays below.';
REVOKE ALL ON TABLE eventstore.inflight FROM PUBLIC;
-- Notify: being told that events were appended.

CREATE FUNCTION @extschema@.es_wait(after_position bigint, timeout interval DEFAULT '30 s', category text DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_wait';
COMMENT ON FUNCTION @extschema@.es_wait(bigint, interval, text) IS
	'Waits until there is an event after a position (of a category): returns the head, as soon as it is beyond; null on timeout.';
REVOKE ALL ON FUNCTION @extschema@.es_wait(bigint, interval, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_channel(category text DEFAULT NULL) RETURNS text
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_channel';
COMMENT ON FUNCTION @extschema@.es_channel(text) IS
	'Name of the LISTEN channel of all events, or of one category''s; the payload is the head.';
REVOKE ALL ON FUNCTION @extschema@.es_channel(text) FROM PUBLIC;
-- Access: who may do what. PUBLIC may nothing; es_grant gives a role one of three levels.
--
-- A level is a set of rights (eventstore.rights_of_level). That a role has been given a level is recorded as its right to execute the
-- level's function eventstore.may_...: so dumps carry it, renaming and dropping a role keep it true, and there is no table to disagree.

CREATE FUNCTION eventstore.may_read() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_read() IS 'Whoever may execute this has been granted the level "read".';
REVOKE ALL ON FUNCTION eventstore.may_read() FROM PUBLIC;

CREATE FUNCTION eventstore.may_append() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_append() IS 'Whoever may execute this has been granted the level "append".';
REVOKE ALL ON FUNCTION eventstore.may_append() FROM PUBLIC;

CREATE FUNCTION eventstore.may_administer() RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true;
COMMENT ON FUNCTION eventstore.may_administer() IS 'Whoever may execute this has been granted the level "admin".';
REVOKE ALL ON FUNCTION eventstore.may_administer() FROM PUBLIC;

CREATE VIEW eventstore.grants AS
	SELECT CASE acl.grantee WHEN 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(acl.grantee)::pg_catalog.text END AS role,
		   CASE f.proname WHEN 'may_read' THEN 'read' WHEN 'may_append' THEN 'append' ELSE 'admin' END AS level,
		   NULL::pg_catalog.text AS category
	FROM pg_catalog.pg_proc f, pg_catalog.aclexplode(f.proacl) acl
	WHERE f.oid IN ('eventstore.may_read()'::pg_catalog.regprocedure,
					'eventstore.may_append()'::pg_catalog.regprocedure,
					'eventstore.may_administer()'::pg_catalog.regprocedure)
	  AND acl.grantee <> f.proowner;
COMMENT ON VIEW eventstore.grants IS 'Which role has been granted which level; see es_grant. category: null = the whole store.';
COMMENT ON COLUMN eventstore.grants.role IS 'Name of the role.';
COMMENT ON COLUMN eventstore.grants.level IS 'read, append or admin.';
COMMENT ON COLUMN eventstore.grants.category IS 'The category that the grant is bound to; null = the whole store.';
REVOKE ALL ON TABLE eventstore.grants FROM PUBLIC;

CREATE FUNCTION @extschema@.es_grant(role regrole, level text, category text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	PERFORM eventstore.check_grant(role, level, category);
	IF role <> eventstore.owner() THEN
		EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', eventstore.marker_of_level(level), role);
		PERFORM eventstore.apply_grants(role);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_grant(regrole, text, text) IS
	'Lets a role read (all events, and the table), append (and read, by functions) or admin (all of it, and grant).';
REVOKE ALL ON FUNCTION @extschema@.es_grant(regrole, text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_revoke(role regrole, level text, category text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
BEGIN
	PERFORM eventstore.check_grant(role, level, category);
	IF level = ANY (eventstore.levels_of_role(role)) THEN
		EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM %s', eventstore.marker_of_level(level), role);
		PERFORM eventstore.apply_grants(role);
	END IF;
END
$$;
COMMENT ON FUNCTION @extschema@.es_revoke(regrole, text, text) IS
	'Takes a level from a role; what its other levels give stays.';
REVOKE ALL ON FUNCTION @extschema@.es_revoke(regrole, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.check_grant(role regrole, level text, category text) RETURNS void
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
	IF level NOT IN ('read', 'append', 'admin') THEN
		RAISE EXCEPTION 'unknown level "%"', level USING ERRCODE = 'invalid_parameter_value',
			HINT = 'The levels are read, append and admin.';
	END IF;
	IF category IS NOT NULL THEN
		RAISE EXCEPTION 'grants for one category are not supported' USING ERRCODE = 'feature_not_supported';
	END IF;
	-- Two at once would update the same rows of the catalogue.
	PERFORM pg_advisory_xact_lock('pg_namespace'::regclass::oid::int, 'eventstore'::regnamespace::oid::int);
END
$$;
COMMENT ON FUNCTION eventstore.check_grant(regrole, text, text) IS
	'Raises unless the arguments of es_grant and es_revoke are right; lets one of them go at a time.';
REVOKE ALL ON FUNCTION eventstore.check_grant(regrole, text, text) FROM PUBLIC;

CREATE FUNCTION eventstore.marker_of_level(level text) RETURNS regprocedure
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN CASE level
		WHEN 'read' THEN 'eventstore.may_read()'::regprocedure
		WHEN 'append' THEN 'eventstore.may_append()'::regprocedure
		WHEN 'admin' THEN 'eventstore.may_administer()'::regprocedure
	END;
COMMENT ON FUNCTION eventstore.marker_of_level(text) IS 'The function whose EXECUTE right records that a role has a level.';
REVOKE ALL ON FUNCTION eventstore.marker_of_level(text) FROM PUBLIC;

CREATE FUNCTION eventstore.owner() RETURNS regrole
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'eventstore'
$$;
COMMENT ON FUNCTION eventstore.owner() IS 'Who owns the store, and may do everything without a grant.';
REVOKE ALL ON FUNCTION eventstore.owner() FROM PUBLIC;

CREATE FUNCTION eventstore.levels_of_role(role regrole) RETURNS text[]
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT coalesce(array_agg(l), '{}')
	FROM unnest(ARRAY['read', 'append', 'admin']) l
	WHERE EXISTS (SELECT FROM pg_proc f, aclexplode(f.proacl) acl
				  WHERE f.oid = eventstore.marker_of_level(l) AND acl.grantee = role AND acl.grantee <> f.proowner)
$$;
COMMENT ON FUNCTION eventstore.levels_of_role(regrole) IS 'The levels that a role has been granted.';
REVOKE ALL ON FUNCTION eventstore.levels_of_role(regrole) FROM PUBLIC;

-- A new function of the store is added here, under the lowest level that may call it.
CREATE FUNCTION eventstore.rights_of_level(level text, OUT privilege text, OUT object text) RETURNS SETOF record
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT r.privilege, r.object
	FROM (VALUES
		('read append admin', 'USAGE',   'SCHEMA eventstore'),
		('read append admin', 'USAGE',   'SCHEMA @extschema@'),
		('read admin',        'SELECT',  'TABLE eventstore.events'),
		('admin',             'SELECT',  'TABLE eventstore.streams'),
		('admin',             'SELECT',  'TABLE eventstore.head'),
		('read admin',        'SELECT',  'TABLE eventstore.inflight'),
		('admin',             'SELECT',  'TABLE eventstore.snapshots'),
		('admin',             'SELECT',  'TABLE eventstore.grants'),
		('read admin',        'SELECT',  'TABLE eventstore.subscription_status'),
		('read admin',        'SELECT',  'TABLE eventstore.parked'),
		('admin',             'SELECT',  'TABLE eventstore.subscriptions'),
		('admin',             'SELECT',  'TABLE eventstore.subscription_shares'),
		('admin',             'SELECT',  'TABLE eventstore.subscription_retries'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read(text, bigint, bigint, boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_all(bigint, bigint, text[], boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_read_category(text, bigint, bigint, text[], boolean)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_stream_version(text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_last_event(text, text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_stream_as_of(text, timestamptz)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_inflight()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_head()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait(bigint, interval, text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_channel(text)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_snapshot(text, int)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_load(text, int)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_fold(text, regprocedure, jsonb, bigint, timestamptz)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, int)'),
		('read admin',        'SELECT',  'TABLE eventstore.projection_status'),
		('admin',             'SELECT',  'TABLE eventstore.projections'),
		('admin',             'SELECT',  'TABLE eventstore.projection_appends'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_wait_projection(text, bigint, interval)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_first(anyelement, bigint)'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_last(anyelement, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_projection(text, text, text, text[], text[], regclass[], text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_projection(text, boolean)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_pause_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_resume_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_run_projection(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_rebuild_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_verify_projection(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_projection_as_of(text, text, bigint, timestamptz)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_projection_activity()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_any()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_exists()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_no_stream()'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, jsonb)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, jsonb, jsonb, uuid, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text[], jsonb[], jsonb[], uuid[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append(text, bigint, text, text, text, text, text[])'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_append_streams(jsonb)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_assert_version(text, bigint)'),
		('append admin',      'EXECUTE', 'FUNCTION @extschema@.es_last_position()'),
		('read append admin', 'EXECUTE', 'FUNCTION @extschema@.es_partition(text, int)'),
		('read admin',        'EXECUTE', 'FUNCTION eventstore.find_subscription_status(text)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_fetch(text, text, int, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_ack(text, bigint, bigint)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, interval)'),
		('read admin',        'EXECUTE', 'FUNCTION @extschema@.es_release(text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, int, int, interval, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_drop_subscription(text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_alter_subscription(text, int, text, int, interval)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_reset_subscription(text, bigint)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_replay_parked(text, int)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_grant(regrole, text, text)'),
		('admin',             'EXECUTE', 'FUNCTION @extschema@.es_revoke(regrole, text, text)')
	) AS r (levels, privilege, object)
	WHERE level = ANY (string_to_array(r.levels, ' '))
$$;
COMMENT ON FUNCTION eventstore.rights_of_level(text) IS 'What a level of es_grant lets a role do.';
REVOKE ALL ON FUNCTION eventstore.rights_of_level(text) FROM PUBLIC;

CREATE FUNCTION eventstore.apply_grants(role regrole) RETURNS void
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
					FROM unnest(eventstore.levels_of_role(role)) l, eventstore.rights_of_level(l) r
					WHERE r.object <> 'SCHEMA @extschema@'
					   OR NOT has_schema_privilege(role::oid, '@extschema@'::regnamespace::oid, 'USAGE')
	LOOP
		EXECUTE format('GRANT %s ON %s TO %s', right_to.privilege, right_to.object, role);
	END LOOP;
END
$$;
COMMENT ON FUNCTION eventstore.apply_grants(regrole) IS 'Gives a role exactly the rights of the levels that it has.';
REVOKE ALL ON FUNCTION eventstore.apply_grants(regrole) FROM PUBLIC;
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
	drain_to        bigint
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
REVOKE ALL ON TABLE eventstore.subscriptions FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscriptions', '');

CREATE SEQUENCE eventstore.subscription_tokens AS bigint;
COMMENT ON SEQUENCE eventstore.subscription_tokens IS 'Gives out the numbers of shares and retries, and those that tokens begin with. It never goes back.';
REVOKE ALL ON SEQUENCE eventstore.subscription_tokens FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_tokens', '');

-- Written by every fetch and every ack: the updates have to be HOT, so nothing but the key is indexed.
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
	CONSTRAINT subscription_shares_pkey PRIMARY KEY (subscription, share)
)
WITH (fillfactor = 20);
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
	CONSTRAINT subscription_retries_pkey PRIMARY KEY (subscription, position)
);
CREATE INDEX subscription_retries_active_idx ON eventstore.subscription_retries (subscription, position) WHERE due IS NOT NULL OR is_blocking;
CREATE UNIQUE INDEX subscription_retries_blocking_key ON eventstore.subscription_retries (subscription, stream) WHERE is_blocking;
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
REVOKE ALL ON TABLE eventstore.subscription_retries FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subscription_retries', '');

CREATE FUNCTION @extschema@.es_partition(stream text, partitions int) RETURNS int
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_partition';
COMMENT ON FUNCTION @extschema@.es_partition(text, int) IS
	'The partition of a stream, from 0; the same on every machine, in every version.';
REVOKE ALL ON FUNCTION @extschema@.es_partition(text, int) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What admins do
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.es_create_subscription(name text, category text DEFAULT NULL, types text[] DEFAULT NULL, after_position bigint DEFAULT 0,
												   partitions int DEFAULT 64, max_retries int DEFAULT 10, lease interval DEFAULT '30 s',
												   park_policy text DEFAULT 'pass') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_create_subscription';
COMMENT ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, int, int, interval, text) IS
	'Makes a subscription to all events, or to those of a category or of some types, after a position (-1 = the head).';
REVOKE ALL ON FUNCTION @extschema@.es_create_subscription(text, text, text[], bigint, int, int, interval, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_subscription(name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_drop_subscription';
COMMENT ON FUNCTION @extschema@.es_drop_subscription(text) IS 'Removes a subscription, with its checkpoints and its parked events.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_subscription(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_alter_subscription(name text, partitions int, park_policy text DEFAULT NULL, max_retries int DEFAULT NULL,
												  lease interval DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_alter_subscription';
COMMENT ON FUNCTION @extschema@.es_alter_subscription(text, int, text, int, interval) IS
	'Changes how many partitions a subscription has, and its settings; null = leave as it is.';
REVOKE ALL ON FUNCTION @extschema@.es_alter_subscription(text, int, text, int, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_reset_subscription(name text, after_position bigint) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_reset_subscription';
COMMENT ON FUNCTION @extschema@.es_reset_subscription(text, bigint) IS
	'Puts a subscription where it would be had it just been made after a position (-1 = the head).';
REVOKE ALL ON FUNCTION @extschema@.es_reset_subscription(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_replay_parked(subscription text, max_count int DEFAULT NULL) RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_replay_parked';
COMMENT ON FUNCTION @extschema@.es_replay_parked(text, int) IS
	'Has parked events delivered again, the lowest positions first; returns how many.';
REVOKE ALL ON FUNCTION @extschema@.es_replay_parked(text, int) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What consumers do
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION @extschema@.es_fetch(subscription text, consumer text DEFAULT NULL, max_count int DEFAULT 100, wait interval DEFAULT '0',
									 OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text,
									 OUT data jsonb, OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz,
									 OUT partition int, OUT token bigint, OUT attempt int) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_fetch';
COMMENT ON FUNCTION @extschema@.es_fetch(text, text, int, interval) IS
	'The next events of a consumer''s partitions, with the token to acknowledge them by; waits for some if it is told to.';
REVOKE ALL ON FUNCTION @extschema@.es_fetch(text, text, int, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_ack(subscription text, token bigint, "position" bigint) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_ack';
COMMENT ON FUNCTION @extschema@.es_ack(text, bigint, bigint) IS
	'Done with everything delivered under a token up to a position.';
REVOKE ALL ON FUNCTION @extschema@.es_ack(text, bigint, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_nack(subscription text, token bigint, "position" bigint, reason text, action text DEFAULT 'retry',
									delay interval DEFAULT '0') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_nack';
COMMENT ON FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, interval) IS
	'One event could not be worked on: have it delivered again (retry), put aside (park), or leave it (skip).';
REVOKE ALL ON FUNCTION @extschema@.es_nack(text, bigint, bigint, text, text, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_release(subscription text, consumer text DEFAULT NULL) RETURNS int
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_release';
COMMENT ON FUNCTION @extschema@.es_release(text, text) IS
	'A consumer leaves, and its partitions are free at once; returns how many it had.';
REVOKE ALL ON FUNCTION @extschema@.es_release(text, text) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What there is to see
-- ---------------------------------------------------------------------------------------------------------------------------------

-- Of one subscription, so that who asks about one does not count the events of all.
CREATE FUNCTION eventstore.find_subscription_status(subscription text, OUT partition int, OUT consumer text, OUT checkpoint bigint,
													OUT lag_events bigint, OUT lag_seconds double precision, OUT parked bigint,
													OUT lease_end timestamptz) RETURNS SETOF record
	LANGUAGE sql VOLATILE PARALLEL RESTRICTED ROWS 64 SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$
	WITH p AS MATERIALIZED (
		SELECT s.category, s.types, s.partitions, p AS partition, h.consumer, least(h.checkpoint, r.before) AS checkpoint,
			   coalesce(r.parked, 0) AS parked, CASE WHEN h.consumer IS NOT NULL THEN h.lease_end END AS lease_end
		FROM eventstore.subscriptions s
		CROSS JOIN LATERAL generate_series(0, s.partitions - 1) p
		CROSS JOIN LATERAL (
			SELECT h.consumer, h.checkpoint, h.lease_end FROM eventstore.subscription_shares h
			WHERE h.subscription = s.name AND h.division = s.division AND get_bit(h.partitions, p) = 1 ORDER BY h.share DESC LIMIT 1
		) h
		LEFT JOIN (
			-- What was parked once does not take the checkpoint back when it is replayed.
			SELECT @extschema@.es_partition(r.stream, s.partitions) AS partition, count(r.parked_at) AS parked,
				   min(CASE WHEN r.is_blocking AND (r.is_replayed OR r.parked_at IS NOT NULL) THEN r.position
							WHEN r.due IS NOT NULL AND NOT r.is_replayed THEN r.position - 1 END) AS before
			FROM eventstore.subscriptions s JOIN eventstore.subscription_retries r ON r.subscription = s.name
			WHERE s.name = find_subscription_status.subscription GROUP BY 1
		) r ON r.partition = p
		WHERE s.name = find_subscription_status.subscription
	), l AS (
		SELECT p.partition, count(*) AS events, min(e.recorded_at) AS oldest
		FROM (SELECT p.category, p.types, p.partitions, min(p.checkpoint) AS lowest FROM p GROUP BY 1, 2, 3) s
		CROSS JOIN LATERAL (
			SELECT e.position, e.recorded_at, @extschema@.es_partition(e.stream, s.partitions) AS partition FROM eventstore.events e
			WHERE e.position > s.lowest AND (s.category IS NULL OR e.category = s.category) AND (s.types IS NULL OR e.type = ANY (s.types))
		) e
		JOIN p ON p.partition = e.partition AND p.checkpoint < e.position
		GROUP BY 1
	)
	SELECT p.partition, p.consumer, p.checkpoint, coalesce(l.events, 0),
		   coalesce(extract(epoch FROM greatest(clock_timestamp() - l.oldest, interval '0')), 0)::double precision, p.parked, p.lease_end
	FROM p LEFT JOIN l ON l.partition = p.partition
$$;
COMMENT ON FUNCTION eventstore.find_subscription_status(text) IS 'The rows of eventstore.subscription_status of one subscription.';
REVOKE ALL ON FUNCTION eventstore.find_subscription_status(text) FROM PUBLIC;

CREATE VIEW eventstore.subscription_status AS
	SELECT d.name, s.partition, s.consumer, s.checkpoint, s.lag_events, s.lag_seconds, s.parked, s.lease_end
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
REVOKE ALL ON TABLE eventstore.subscription_status FROM PUBLIC;

CREATE VIEW eventstore.parked AS
	SELECT r.subscription, e.position, e.stream, e.category, e.version, e.id, e.type, e.data, e.metadata, e.tags, e.recorded_at,
		   @extschema@.es_partition(r.stream, s.partitions) AS partition, r.attempts, r.reason, r.parked_at
	FROM eventstore.subscription_retries r
	JOIN eventstore.subscriptions s ON s.name = r.subscription
	JOIN eventstore.events e ON e.position = r.position
	WHERE r.parked_at IS NOT NULL;
COMMENT ON VIEW eventstore.parked IS 'Events that a subscription has put aside, with the reason; see es_replay_parked.';
COMMENT ON COLUMN eventstore.parked.subscription IS 'Name of the subscription.';
COMMENT ON COLUMN eventstore.parked.partition IS 'The partition of the event''s stream.';
COMMENT ON COLUMN eventstore.parked.attempts IS 'How many times the event was delivered.';
COMMENT ON COLUMN eventstore.parked.reason IS 'Why it was parked.';
COMMENT ON COLUMN eventstore.parked.parked_at IS 'When it was parked.';
COMMENT ON COLUMN eventstore.parked.position IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.stream IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.category IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.version IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.id IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.type IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.data IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.metadata IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.tags IS 'See eventstore.events.';
COMMENT ON COLUMN eventstore.parked.recorded_at IS 'See eventstore.events.';
REVOKE ALL ON TABLE eventstore.parked FROM PUBLIC;
-- What sessions are doing with projections at this moment; see eventstore.projection_status.

CREATE FUNCTION eventstore.find_projection_activity(OUT projection text, OUT pid int, OUT activity text, OUT events_done bigint, OUT events_total bigint)
	RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 5 AS 'MODULE_PATHNAME', 'es_find_projection_activity';
COMMENT ON FUNCTION eventstore.find_projection_activity() IS 'Which sessions of this database run (activity run) or rebuild (rebuild) a projection, and how far a rebuild is.';
REVOKE ALL ON FUNCTION eventstore.find_projection_activity() FROM PUBLIC;
-- Projections: SQL that is applied to every event, and the read tables that come of it.

-- What users made: the definitions, and how far they have come. A running inline projection has been applied to every event; its
-- position is where the appends took over.
CREATE TABLE eventstore.projections
(
	name                text   COLLATE "C" NOT NULL CONSTRAINT projections_pkey PRIMARY KEY,
	owner               text   COLLATE "C" NOT NULL,
	mode                text   COLLATE "C" NOT NULL CONSTRAINT projections_mode_check CHECK (mode IN ('inline', 'async')),
	query               text   COLLATE "C" NOT NULL,
	is_declared         boolean            NOT NULL,
	tables              text[] COLLATE "C" NOT NULL,
	categories          text[] COLLATE "C",
	types               text[] COLLATE "C",
	on_error            text   COLLATE "C" NOT NULL CONSTRAINT projections_on_error_check CHECK (on_error IN ('fail', 'stop', 'skip')),
	settings            text[] COLLATE "C" NOT NULL,
	state               text   COLLATE "C" NOT NULL CONSTRAINT projections_state_check CHECK (state IN ('running', 'paused', 'failed')),
	position            bigint             NOT NULL,
	events_applied      bigint             NOT NULL,
	last_error          text   COLLATE "C",
	last_error_code     text   COLLATE "C",
	last_error_position bigint,
	last_error_at       timestamptz
)
WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.projections IS 'One row a projection; written by es_create_projection and its kin only.';
COMMENT ON COLUMN eventstore.projections.name IS 'Name of the projection, 1 to 63 bytes.';
COMMENT ON COLUMN eventstore.projections.owner IS 'Name of the role that made it; its SQL runs with the rights of that role.';
COMMENT ON COLUMN eventstore.projections.mode IS 'inline: applied by the append itself; async: by the worker or es_run_projection.';
COMMENT ON COLUMN eventstore.projections.query IS 'The SQL, as it was given.';
COMMENT ON COLUMN eventstore.projections.is_declared IS 'Whether the query declares a table; else it is a handler.';
COMMENT ON COLUMN eventstore.projections.tables IS 'Qualified names: of a declared table, and of the one with its state, if there is one; of a handler''s tables.';
COMMENT ON COLUMN eventstore.projections.categories IS 'Only events of these categories; null = of all.';
COMMENT ON COLUMN eventstore.projections.types IS 'Only events of these types; null = of all.';
COMMENT ON COLUMN eventstore.projections.on_error IS 'fail: the append fails; stop: wait for es_resume_projection; skip: go on behind the event.';
COMMENT ON COLUMN eventstore.projections.settings IS 'Settings that its SQL runs with, name=value: those of its creation.';
COMMENT ON COLUMN eventstore.projections.state IS 'running, paused or failed.';
COMMENT ON COLUMN eventstore.projections.position IS 'The checkpoint: every event up to here is applied, or skipped.';
COMMENT ON COLUMN eventstore.projections.events_applied IS 'How many events were applied up to the checkpoint.';
COMMENT ON COLUMN eventstore.projections.last_error IS 'Message of the last error.';
COMMENT ON COLUMN eventstore.projections.last_error_code IS 'SQLSTATE of the last error.';
COMMENT ON COLUMN eventstore.projections.last_error_position IS 'Position of the event that the last error came up with.';
COMMENT ON COLUMN eventstore.projections.last_error_at IS 'When the last error came up.';
REVOKE ALL ON TABLE eventstore.projections FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.projections', '');

CREATE FUNCTION eventstore.forget_projections() RETURNS trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_forget_projections';
COMMENT ON FUNCTION eventstore.forget_projections() IS 'Makes every session read the definitions anew.';
REVOKE ALL ON FUNCTION eventstore.forget_projections() FROM PUBLIC;

-- Not for what changes with every batch.
CREATE TRIGGER projections_are_cached
	AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF name, owner, mode, query, is_declared, tables, categories, types, on_error, settings, state
	ON eventstore.projections FOR EACH STATEMENT EXECUTE FUNCTION eventstore.forget_projections();
-- ALWAYS: a change that comes by logical replication has to be noticed, too.
ALTER TABLE eventstore.projections ENABLE ALWAYS TRIGGER projections_are_cached;
COMMENT ON TRIGGER projections_are_cached ON eventstore.projections IS 'Sessions keep the definitions; this tells them of a change.';

-- A projection never sees the events that its own SQL has appended: these.
CREATE TABLE eventstore.projection_appends
(
	projection text COLLATE "C" NOT NULL,
	position   bigint           NOT NULL,
	CONSTRAINT projection_appends_pkey PRIMARY KEY (projection, position)
);
COMMENT ON TABLE eventstore.projection_appends IS 'Events that were appended by a projection''s own SQL: that projection does not see them.';
COMMENT ON COLUMN eventstore.projection_appends.projection IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_appends.position IS 'Position of the event.';
REVOKE ALL ON TABLE eventstore.projection_appends FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.projection_appends', '');

CREATE FUNCTION @extschema@.es_create_projection(name text, query text, mode text DEFAULT 'inline', categories text[] DEFAULT NULL, types text[] DEFAULT NULL,
												 tables regclass[] DEFAULT NULL, on_error text DEFAULT 'fail') RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_create_projection';
COMMENT ON FUNCTION @extschema@.es_create_projection(text, text, text, text[], text[], regclass[], text) IS
	'Makes a projection: a declared table (SELECT ... FROM events ... GROUP BY ...) or a handler, and applies it to every event there is.';
REVOKE ALL ON FUNCTION @extschema@.es_create_projection(text, text, text, text[], text[], regclass[], text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_drop_projection(name text, drop_table boolean DEFAULT false) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_drop_projection';
COMMENT ON FUNCTION @extschema@.es_drop_projection(text, boolean) IS
	'Drops a projection, and its declared table if asked to.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_projection(text, boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_pause_projection(name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_pause_projection';
COMMENT ON FUNCTION @extschema@.es_pause_projection(text) IS
	'Stops applying a projection, until es_resume_projection.';
REVOKE ALL ON FUNCTION @extschema@.es_pause_projection(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_resume_projection(name text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_resume_projection';
COMMENT ON FUNCTION @extschema@.es_resume_projection(text) IS
	'Goes on with a projection that is paused or has failed; an inline one is applied to what it has missed first.';
REVOKE ALL ON FUNCTION @extschema@.es_resume_projection(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_run_projection(name text, max_count bigint DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_run_projection';
COMMENT ON FUNCTION @extschema@.es_run_projection(text, bigint) IS
	'Applies an async projection to the events after its checkpoint, at most max_count; returns to how many.';
REVOKE ALL ON FUNCTION @extschema@.es_run_projection(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_wait_projection(name text, "position" bigint, timeout interval DEFAULT '30 s') RETURNS boolean
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_wait_projection';
COMMENT ON FUNCTION @extschema@.es_wait_projection(text, bigint, interval) IS
	'Waits until a projection has been applied to every event up to a position; false on timeout.';
REVOKE ALL ON FUNCTION @extschema@.es_wait_projection(text, bigint, interval) FROM PUBLIC;

-- The value at the first and at the last position. They have no way to combine: PostgreSQL computes them in one process.
CREATE FUNCTION eventstore.pick_first(internal, anyelement, bigint) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_pick_first';
COMMENT ON FUNCTION eventstore.pick_first(internal, anyelement, bigint) IS 'Step of aggregate es_first.';
REVOKE ALL ON FUNCTION eventstore.pick_first(internal, anyelement, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.pick_last(internal, anyelement, bigint) RETURNS internal
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_pick_last';
COMMENT ON FUNCTION eventstore.pick_last(internal, anyelement, bigint) IS 'Step of aggregate es_last.';
REVOKE ALL ON FUNCTION eventstore.pick_last(internal, anyelement, bigint) FROM PUBLIC;

CREATE FUNCTION eventstore.picked(internal, anyelement, bigint) RETURNS anyelement
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_picked';
COMMENT ON FUNCTION eventstore.picked(internal, anyelement, bigint) IS 'Result of aggregates es_first and es_last.';
REVOKE ALL ON FUNCTION eventstore.picked(internal, anyelement, bigint) FROM PUBLIC;

CREATE AGGREGATE @extschema@.es_first(value anyelement, "position" bigint)
	(SFUNC = eventstore.pick_first, STYPE = internal, FINALFUNC = eventstore.picked, FINALFUNC_EXTRA, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.es_first(anyelement, bigint) IS
	'The value at the lowest position, null or not.';
REVOKE ALL ON FUNCTION @extschema@.es_first(anyelement, bigint) FROM PUBLIC;

CREATE AGGREGATE @extschema@.es_last(value anyelement, "position" bigint)
	(SFUNC = eventstore.pick_last, STYPE = internal, FINALFUNC = eventstore.picked, FINALFUNC_EXTRA, PARALLEL = SAFE);
COMMENT ON AGGREGATE @extschema@.es_last(anyelement, bigint) IS
	'The value at the highest position, null or not.';
REVOKE ALL ON FUNCTION @extschema@.es_last(anyelement, bigint) FROM PUBLIC;

-- Events are counted only where a column is asked for that needs it, and not for running inline projections' lag.
CREATE VIEW eventstore.projection_status AS
	SELECT p.name, p.mode, CASE WHEN r.pid IS NOT NULL THEN 'rebuilding' ELSE p.state END AS state,
		   CASE WHEN i.is_applied_by_appends THEN @extschema@.es_head() ELSE p.position END AS position,
		   CASE WHEN i.is_applied_by_appends THEN 0 ELSE i.behind END AS lag,
		   CASE WHEN i.is_applied_by_appends OR i.oldest IS NULL THEN 0
				ELSE greatest(extract(epoch FROM pg_catalog.clock_timestamp() - i.oldest), 0) END AS lag_seconds,
		   p.last_error, p.last_error_code, p.last_error_position, p.last_error_at,
		   p.events_applied + CASE WHEN i.is_applied_by_appends THEN i.behind ELSE 0 END AS events_applied,
		   p.owner,
		   r.pid AS rebuild_pid, r.events_done AS rebuild_events_done, r.events_total AS rebuild_events_total,
		   (SELECT a.pid FROM eventstore.find_projection_activity() a WHERE a.projection = p.name AND a.activity = 'run' LIMIT 1) AS runner_pid
	FROM eventstore.projections p
	LEFT JOIN (SELECT DISTINCT ON (a.projection) a.* FROM eventstore.find_projection_activity() a WHERE a.activity = 'rebuild') r ON r.projection = p.name
	CROSS JOIN
		 LATERAL (SELECT p.mode = 'inline' AND p.state = 'running' AS is_applied_by_appends,
						 (SELECT count(*) FROM eventstore.events e
						  WHERE e.position > p.position
							AND (p.categories IS NULL OR e.category = ANY (p.categories))
							AND (p.types IS NULL OR e.type = ANY (p.types))
							AND NOT EXISTS (SELECT FROM eventstore.projection_appends a
											WHERE a.projection = p.name AND a.position = e.position)) AS behind,
						 (SELECT e.recorded_at FROM eventstore.events e
						  WHERE e.position > p.position
							AND (p.categories IS NULL OR e.category = ANY (p.categories))
							AND (p.types IS NULL OR e.type = ANY (p.types))
						  ORDER BY e.position LIMIT 1) AS oldest) i;
COMMENT ON VIEW eventstore.projection_status IS 'How far each projection is. One row each.';
COMMENT ON COLUMN eventstore.projection_status.name IS 'Name of the projection.';
COMMENT ON COLUMN eventstore.projection_status.mode IS 'inline or async.';
COMMENT ON COLUMN eventstore.projection_status.state IS 'running, paused, failed or rebuilding.';
COMMENT ON COLUMN eventstore.projection_status.position IS 'It has been applied to every event up to here.';
COMMENT ON COLUMN eventstore.projection_status.lag IS 'How many events it has not been applied to yet; counting them takes time where they are many.';
COMMENT ON COLUMN eventstore.projection_status.lag_seconds IS 'Age of the first of those events, in seconds.';
COMMENT ON COLUMN eventstore.projection_status.last_error IS 'Message of the last error.';
COMMENT ON COLUMN eventstore.projection_status.last_error_code IS 'SQLSTATE of the last error.';
COMMENT ON COLUMN eventstore.projection_status.last_error_position IS 'Position of the event that the last error came up with.';
COMMENT ON COLUMN eventstore.projection_status.last_error_at IS 'When the last error came up.';
COMMENT ON COLUMN eventstore.projection_status.events_applied IS 'To how many events it has been applied; for inline ones they are counted when this is read.';
COMMENT ON COLUMN eventstore.projection_status.owner IS 'The role that its SQL runs as.';
COMMENT ON COLUMN eventstore.projection_status.rebuild_pid IS 'The session that rebuilds it; null = none.';
COMMENT ON COLUMN eventstore.projection_status.rebuild_events_done IS 'To how many events the rebuild has applied it.';
COMMENT ON COLUMN eventstore.projection_status.rebuild_events_total IS 'To how many it will, as far as is known.';
COMMENT ON COLUMN eventstore.projection_status.runner_pid IS 'The process of the worker that is applying it at this moment; null = none.';
REVOKE ALL ON TABLE eventstore.projection_status FROM PUBLIC;
-- Projections applied to the history once more: to make their tables anew, to check them, to see them as they were.

CREATE FUNCTION @extschema@.es_rebuild_projection(name text) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_rebuild_projection';
COMMENT ON FUNCTION @extschema@.es_rebuild_projection(text) IS
	'Makes a projection''s tables anew from every event, while appends and reads go on; returns to how many events it was applied.';
REVOKE ALL ON FUNCTION @extschema@.es_rebuild_projection(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_verify_projection(name text, OUT kind text, OUT key jsonb, OUT stored jsonb, OUT expected jsonb) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'es_verify_projection';
COMMENT ON FUNCTION @extschema@.es_verify_projection(text) IS
	'Compares a projection''s tables with what the events make of them; a row is missing, extra or different. No row: right.';
REVOKE ALL ON FUNCTION @extschema@.es_verify_projection(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_projection_as_of(name text, into_table text, "position" bigint DEFAULT NULL, at timestamptz DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_projection_as_of';
COMMENT ON FUNCTION @extschema@.es_projection_as_of(text, text, bigint, timestamptz) IS
	'Makes a table of what a projection was at a position, at a time, or both; returns to how many events it was applied.';
REVOKE ALL ON FUNCTION @extschema@.es_projection_as_of(text, text, bigint, timestamptz) FROM PUBLIC;
-- State: snapshots, and folding a stream into what it amounts to.
--
-- A snapshot is a cache: es_load and es_snapshot pass over one that is not of the stream as it is seen, so that the answer is the same
-- with it and without. What says so is the position: the snapshot counts where the event that it was taken at stands in the stream.

-- One row a stream and schema version, replaced in place: nothing that a new snapshot changes is indexed, so the update can be HOT.
CREATE TABLE eventstore.snapshots
(
	stream         text COLLATE "C" NOT NULL,
	schema_version int              NOT NULL,
	version        bigint           NOT NULL,
	position       bigint           NOT NULL,
	state          jsonb            NOT NULL,
	saved_at       timestamptz      NOT NULL,
	CONSTRAINT snapshots_pkey PRIMARY KEY (stream, schema_version)
)
WITH (fillfactor = 80);
COMMENT ON TABLE eventstore.snapshots IS 'The latest snapshot of a stream for each schema version. Written by es_save_snapshot only.';
COMMENT ON COLUMN eventstore.snapshots.stream IS 'Name of the stream.';
COMMENT ON COLUMN eventstore.snapshots.schema_version IS 'Which form the state has: the application''s own number.';
COMMENT ON COLUMN eventstore.snapshots.version IS 'Version of the last event that the state counts in.';
COMMENT ON COLUMN eventstore.snapshots.position IS 'Position of that event. A snapshot whose event is not there, or elsewhere, is passed over.';
COMMENT ON COLUMN eventstore.snapshots.state IS 'The state: any JSON.';
COMMENT ON COLUMN eventstore.snapshots.saved_at IS 'When it was saved.';
REVOKE ALL ON TABLE eventstore.snapshots FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.snapshots', '');

CREATE FUNCTION @extschema@.es_save_snapshot(stream text, version bigint, state jsonb, schema_version int DEFAULT 1) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_save_snapshot';
COMMENT ON FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, int) IS
	'Keeps the state of a stream at a version, unless a later one is kept already.';
REVOKE ALL ON FUNCTION @extschema@.es_save_snapshot(text, bigint, jsonb, int) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_snapshot(stream text, schema_version int DEFAULT 1,
										OUT version bigint, OUT state jsonb, OUT saved_at timestamptz) RETURNS record
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_snapshot';
COMMENT ON FUNCTION @extschema@.es_snapshot(text, int) IS
	'The latest snapshot of a stream; nulls if there is none that can be used.';
REVOKE ALL ON FUNCTION @extschema@.es_snapshot(text, int) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_load(stream text, schema_version int DEFAULT 1,
									OUT version bigint, OUT state jsonb, OUT events eventstore.event[]) RETURNS record
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_load';
COMMENT ON FUNCTION @extschema@.es_load(text, int) IS
	'The latest snapshot of a stream and the events after it; without a snapshot version 0, state null and all events.';
REVOKE ALL ON FUNCTION @extschema@.es_load(text, int) FROM PUBLIC;

-- Volatile and not for parallel workers, as the reducer may be so.
CREATE FUNCTION @extschema@.es_fold(stream text, reducer regprocedure, initial jsonb DEFAULT '{}', at_version bigint DEFAULT NULL,
									at timestamptz DEFAULT NULL) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_fold';
COMMENT ON FUNCTION @extschema@.es_fold(text, regprocedure, jsonb, bigint, timestamptz) IS
	'The state that a stream amounts to: reducer(state, event) for each event from the first to at_version, at the time at.';
REVOKE ALL ON FUNCTION @extschema@.es_fold(text, regprocedure, jsonb, bigint, timestamptz) FROM PUBLIC;
