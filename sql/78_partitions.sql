-- Partitions: a table that grows, made of ranges of positions.

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

-- Not dumped: a restored partition is another table; what is not here is asked of its index.
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

-- A dump attaches partitions to the plain table that CREATE EXTENSION has made.
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

-- A detached partition is what the store knows of its events; before it goes they get rows in eventstore.removed_events.
CREATE FUNCTION eventstore.note_departure() RETURNS event_trigger
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_note_departure';
COMMENT ON FUNCTION eventstore.note_departure() IS 'Has the ids of a detached partition written down before DROP TABLE or ALTER TABLE ... DETACH PARTITION takes it away.';
REVOKE ALL ON FUNCTION eventstore.note_departure() FROM PUBLIC;

CREATE EVENT TRIGGER eventstore_departure ON ddl_command_start WHEN TAG IN ('DROP TABLE', 'ALTER TABLE') EXECUTE FUNCTION eventstore.note_departure();
ALTER EVENT TRIGGER eventstore_departure ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_departure IS 'The ids of a detached partition stay taken when its table goes.';

-- Rows are counted where that is done in a moment, else estimated as the planner does.
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
