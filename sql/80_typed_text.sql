-- Typed text: forms of the verbs for drivers that send what is no text as text.
--
-- To PostgreSQL a parameter without a type is whatever the function takes. But many drivers give a type to each string, text or varchar
-- (JDBC, Npgsql, SQLAlchemy, psycopg 3 in binary), and of those nothing becomes jsonb, uuid, interval or timestamptz without a cast. So
-- each verb that takes one of these has a form that takes text. Numbers need none: where a number is kept as an int, the verb takes a
-- bigint, which smallint, int and bigint all become.
--
-- A second form must not spoil what works without a cast. Where there are several, PostgreSQL takes a literal or parameter without a
-- type as text if a form takes text there. That does for JSON, ids and names, which are read as the literal would be. Drivers that ask for the
-- types of parameters (asyncpg, pgx, postgres.js) would then be told to send text where they have objects of their own for intervals and
-- times; so what takes those as text takes types of their own (79_text_types.sql), which are text of another category: in that, interval and timestamptz are
-- preferred, so that a parameter without a type is one of these, and only text is text.
--
-- What comes before the argument that makes the difference has no default here: two forms that are called alike could not be told apart.
-- So a named argument in the middle, given as text, needs a cast. docs/clients.md says what users have to know.

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
