-- What sessions are doing with projections at this moment; see eventstore.projection_status.

CREATE FUNCTION eventstore.find_projection_activity(OUT projection text, OUT pid int, OUT activity text, OUT events_done bigint, OUT events_total bigint)
	RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 5 AS 'MODULE_PATHNAME', 'es_find_projection_activity';
COMMENT ON FUNCTION eventstore.find_projection_activity() IS 'Which sessions of this database run (activity run) or rebuild (rebuild) a projection, and how far a rebuild is.';
REVOKE ALL ON FUNCTION eventstore.find_projection_activity() FROM PUBLIC;
