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

-- Written by one append in some thousand (src/order/mark.c). Not unique: positions are not, where somebody sets their sequence back.
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

-- A function, as pg_stat_activity hides from most roles when a transaction began. The tag of the lock is made in src/order/inflight.c:
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
