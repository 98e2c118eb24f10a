-- Keeping: what is forgotten, and what stays of it.

CREATE FUNCTION @extschema@.es_truncate_stream(stream text, before_version bigint) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_truncate_stream';
COMMENT ON FUNCTION @extschema@.es_truncate_stream(text, bigint) IS
	'Forgets the events of a stream before a version; returns how many are gone.';
REVOKE ALL ON FUNCTION @extschema@.es_truncate_stream(text, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_delete_stream(stream text, expected_version bigint, tombstone boolean DEFAULT false) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_delete_stream';
COMMENT ON FUNCTION @extschema@.es_delete_stream(text, bigint, boolean) IS
	'Forgets all events of a stream; an append goes on at its next version, or, with a tombstone, never.';
REVOKE ALL ON FUNCTION @extschema@.es_delete_stream(text, bigint, boolean) FROM PUBLIC;
