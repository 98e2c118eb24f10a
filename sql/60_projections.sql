-- Projections: SQL that is applied to every event, and the read tables that come of it.

-- What users made: the definitions.
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
	last_error_at       timestamptz,
	lookups             text[] COLLATE "C" NOT NULL DEFAULT '{}',
	granularity         text   COLLATE "C" NOT NULL CONSTRAINT projections_granularity_check CHECK (granularity IN ('event', 'batch')),
	reducer             text   COLLATE "C",
	initial             jsonb
)
WITH (fillfactor = 50);
COMMENT ON TABLE eventstore.projections IS 'One row a projection; written by es_create_projection and its kin only.';
COMMENT ON COLUMN eventstore.projections.name IS 'Name of the projection, 1 to 63 bytes.';
COMMENT ON COLUMN eventstore.projections.owner IS 'The owner''s name when it was noted last. Who the owner is says the projection''s mark, a procedure eventstore.<name>(eventstore.projection).';
COMMENT ON COLUMN eventstore.projections.mode IS 'inline: applied by the append itself; async: by the worker or es_run_projection.';
COMMENT ON COLUMN eventstore.projections.query IS 'The SQL, as it was given; empty where a reducer stands for it.';
COMMENT ON COLUMN eventstore.projections.is_declared IS 'Whether the query declares a table; else it is a handler, or a reducer stands for it.';
COMMENT ON COLUMN eventstore.projections.tables IS 'Qualified names: of a declared table, and of those with its state, if there are any; of a handler''s tables; of the table with streams'' states.';
COMMENT ON COLUMN eventstore.projections.categories IS 'Only events of these categories; null = of all.';
COMMENT ON COLUMN eventstore.projections.types IS 'Only events of these types; null = of all.';
COMMENT ON COLUMN eventstore.projections.on_error IS 'fail: the append fails; stop: wait for es_resume_projection or es_skip_event; skip: go on behind the event.';
COMMENT ON COLUMN eventstore.projections.settings IS 'Settings that its SQL runs with, name=value: those of its creation.';
COMMENT ON COLUMN eventstore.projections.state IS 'running, paused or failed.';
COMMENT ON COLUMN eventstore.projections.position IS 'The checkpoint when it was made; the present one stands in projection_checkpoints.';
COMMENT ON COLUMN eventstore.projections.events_applied IS 'How many events were applied up to there.';
COMMENT ON COLUMN eventstore.projections.last_error IS 'Message of the last error.';
COMMENT ON COLUMN eventstore.projections.last_error_code IS 'SQLSTATE of the last error.';
COMMENT ON COLUMN eventstore.projections.last_error_position IS 'Position of the event that the last error came up with.';
COMMENT ON COLUMN eventstore.projections.last_error_at IS 'When the last error came up.';
COMMENT ON COLUMN eventstore.projections.lookups IS 'Qualified names of the tables that a declaration looks rows up in.';
COMMENT ON COLUMN eventstore.projections.granularity IS 'event: a handler runs for one event after the other; batch: for as many as there are at a time.';
COMMENT ON COLUMN eventstore.projections.reducer IS 'Qualified name of a state projection''s reducer; null = it is none.';
COMMENT ON COLUMN eventstore.projections.initial IS 'The state that a stream begins with, of a state projection.';
REVOKE ALL ON TABLE eventstore.projections FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.projections', '');

-- Written by every batch: not in the row of the definition, whose dead versions all would walk through while somebody holds a snapshot.
-- A running inline projection has been applied to every event; its position is where the appends took over.
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

-- The argument of projections' marks. A mark is a procedure that has the projection's name and does nothing, and whose owner is the
-- projection's: so PostgreSQL itself sees to REASSIGN OWNED, DROP ROLE and the rest, and a dump carries it.
CREATE TYPE eventstore.projection AS (name text COLLATE "C");
COMMENT ON TYPE eventstore.projection IS 'The argument of the procedures that say who owns a projection.';

-- Appends add to it, without waiting for each other: so it has no key.
CREATE TABLE eventstore.stale_projections
(
	projection text COLLATE "C" NOT NULL,
	code       text COLLATE "C" NOT NULL,
	reason     text COLLATE "C" NOT NULL,
	noticed_at timestamptz      NOT NULL
);
CREATE INDEX stale_projections_projection_idx ON eventstore.stale_projections (projection);
-- Else rows could not be deleted where a publication has all tables.
ALTER TABLE eventstore.stale_projections REPLICA IDENTITY FULL;
COMMENT ON TABLE eventstore.stale_projections IS 'Projections that are not applied any more, as appends have passed them or their rows are gone: each has to be rebuilt, or dropped.';
COMMENT ON COLUMN eventstore.stale_projections.projection IS 'Name of the projection; several rows say the same.';
COMMENT ON COLUMN eventstore.stale_projections.code IS 'SQLSTATE of the reason.';
COMMENT ON COLUMN eventstore.stale_projections.reason IS 'Why it has to be rebuilt.';
COMMENT ON COLUMN eventstore.stale_projections.noticed_at IS 'When that was noticed.';
REVOKE ALL ON TABLE eventstore.stale_projections FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.stale_projections', '');

-- UNLOGGED on purpose: a crash or the promotion of a standby empties it together with the tables that it is about.
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

CREATE FUNCTION eventstore.forget_projections() RETURNS trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_forget_projections';
COMMENT ON FUNCTION eventstore.forget_projections() IS 'Makes every session read the definitions anew.';
REVOKE ALL ON FUNCTION eventstore.forget_projections() FROM PUBLIC;

-- Not for what changes with every batch.
CREATE TRIGGER projections_are_cached
	AFTER INSERT OR DELETE OR TRUNCATE OR UPDATE OF name, owner, mode, query, is_declared, tables, categories, types, on_error, settings, state, lookups, granularity, reducer, initial
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

-- Appends write here where an inline projection has stopped; there is no other record of which events it was not applied to.
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

-- Tables of projections may be renamed and moved: see src/projection/follow.c.
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

CREATE FUNCTION @extschema@.es_drop_projection(name text, drop_table boolean DEFAULT false) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_drop_projection';
COMMENT ON FUNCTION @extschema@.es_drop_projection(text, boolean) IS
	'Drops a projection, and its declared table if asked to.';
REVOKE ALL ON FUNCTION @extschema@.es_drop_projection(text, boolean) FROM PUBLIC;

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

CREATE FUNCTION @extschema@.es_skip_event(name text, "position" bigint, reason text DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_skip_event';
COMMENT ON FUNCTION @extschema@.es_skip_event(text, bigint, text) IS
	'Leaves an event out of a projection that it can not be applied to; one that has stopped there goes on.';
REVOKE ALL ON FUNCTION @extschema@.es_skip_event(text, bigint, text) FROM PUBLIC;

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

-- The first and the last value by another. They have no way to combine: PostgreSQL computes them in one process.
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

-- A function, so that what the planner thinks it costs to count does not make it compile the view, which takes longer. Not volatile, so
-- that it is called only where its result is asked for.
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

-- A function, too: by its argument PostgreSQL knows, before it begins, which partitions it can do without.
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

-- Events are counted only where a column is asked for that needs it, and not for running inline projections' lag.
CREATE VIEW eventstore.projection_status AS
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
COMMENT ON COLUMN eventstore.projection_status.owner IS 'The role that its SQL runs as; null = it has lost its owner.';
COMMENT ON COLUMN eventstore.projection_status.rebuild_pid IS 'The session that rebuilds it; null = none.';
COMMENT ON COLUMN eventstore.projection_status.rebuild_events_done IS 'To how many events the rebuild has applied it.';
COMMENT ON COLUMN eventstore.projection_status.rebuild_events_total IS 'To how many it will, as far as is known.';
COMMENT ON COLUMN eventstore.projection_status.runner_pid IS 'The process of the worker that is applying it at this moment; null = none.';
COMMENT ON COLUMN eventstore.projection_status.obstacle IS 'Why nobody applies an async projection that runs; null = it goes on by itself.';
REVOKE ALL ON TABLE eventstore.projection_status FROM PUBLIC;
