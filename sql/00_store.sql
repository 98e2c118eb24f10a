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

-- A row for each event that is gone: as ids are unique for ever, it can not go itself.
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

-- Events whose partition was detached, as long as their table is at hand: the table itself says what they were. What goes from here for
-- good leaves rows in removed_events first. Partitioned as eventstore.events is, once es_partition_events has been called.
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

-- What a stream that was imported begins with, where that is not version 1: what was before has no row in removed_events here.
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
