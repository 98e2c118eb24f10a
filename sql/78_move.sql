-- Move: events as JSON, out of one store and into another.

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
