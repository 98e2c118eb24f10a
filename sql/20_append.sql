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
