-- Projections applied to the history once more: to make their tables anew, to check them, to see them as they were.

CREATE FUNCTION @extschema@.es_rebuild_projection(name text) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_rebuild_projection';
COMMENT ON FUNCTION @extschema@.es_rebuild_projection(text) IS
	'Makes a projection''s tables anew from every event, while appends and reads go on; returns to how many events it was applied.';
REVOKE ALL ON FUNCTION @extschema@.es_rebuild_projection(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_replace_projection(name text, query text, categories text[] DEFAULT NULL, types text[] DEFAULT NULL,
												  tables regclass[] DEFAULT NULL, lookups regclass[] DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_replace_projection';
COMMENT ON FUNCTION @extschema@.es_replace_projection(text, text, text[], text[], regclass[], regclass[]) IS
	'Gives a projection another query, and makes its tables anew by that, while appends and reads go on; returns to how many events it was applied.';
REVOKE ALL ON FUNCTION @extschema@.es_replace_projection(text, text, text[], text[], regclass[], regclass[]) FROM PUBLIC;

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
