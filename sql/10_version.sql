-- Version: of the library, which a package replaces at once, and of the extension, which ALTER EXTENSION ... UPDATE brings after it.

CREATE FUNCTION @extschema@.es_version() RETURNS text
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_version';
COMMENT ON FUNCTION @extschema@.es_version() IS
	'Version of the library that this session runs; a WARNING where the extension in this database is of another one.';
REVOKE ALL ON FUNCTION @extschema@.es_version() FROM PUBLIC;
