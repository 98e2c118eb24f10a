-- State: snapshots, and folding a stream into what it amounts to.
--
-- A snapshot is a cache: es_load and es_snapshot pass over one that is not of the stream as it is seen, so that the answer is the same
-- with it and without. It counts where the event that it was taken at stands in the stream, which is that of its position, id and time:
-- after a restore of older data others may come to the same version and position.

-- One row a stream and schema version, replaced in place: nothing that a new snapshot changes is indexed, so the update can be HOT.
CREATE TABLE eventstore.snapshots
(
	stream         text COLLATE "C" NOT NULL,
	schema_version int              NOT NULL,
	version        bigint           NOT NULL,
	position       bigint           NOT NULL,
	state          jsonb            NOT NULL,
	saved_at       timestamptz      NOT NULL,
	event_id       uuid             NOT NULL,
	recorded_at    timestamptz      NOT NULL,
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
COMMENT ON COLUMN eventstore.snapshots.event_id IS 'Id of that event. Another one at the same place is of another history.';
COMMENT ON COLUMN eventstore.snapshots.recorded_at IS 'When that event was recorded: ids that callers give may come again, after a restore of older data.';
REVOKE ALL ON TABLE eventstore.snapshots FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.snapshots', '');

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

-- An array of a composite type is what few drivers can read.
CREATE FUNCTION @extschema@.es_load_json(stream text, schema_version bigint DEFAULT 1,
										 OUT version bigint, OUT state jsonb, OUT events jsonb) RETURNS record
	LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS
$$
	SELECT l.version, l.state, to_jsonb(l.events) FROM @extschema@.es_load(es_load_json.stream, es_load_json.schema_version) l
$$;
COMMENT ON FUNCTION @extschema@.es_load_json(text, bigint) IS
	'As es_load, with the events as a JSON array of objects, whose keys are the columns of eventstore.events.';
REVOKE ALL ON FUNCTION @extschema@.es_load_json(text, bigint) FROM PUBLIC;

-- Volatile and not for parallel workers, as the reducer may be so.
CREATE FUNCTION @extschema@.es_fold(stream text, reducer regprocedure, initial jsonb DEFAULT '{}', at_version bigint DEFAULT NULL,
									at timestamptz DEFAULT NULL) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_fold';
COMMENT ON FUNCTION @extschema@.es_fold(text, regprocedure, jsonb, bigint, timestamptz) IS
	'The state that a stream amounts to: reducer(state, event) for each event from the first to at_version, at the time at.';
REVOKE ALL ON FUNCTION @extschema@.es_fold(text, regprocedure, jsonb, bigint, timestamptz) FROM PUBLIC;
