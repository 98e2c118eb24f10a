-- Conditional append: decisions over more than one stream, and what they depend on.

-- An index with an entry for each tag of a row; of a B-tree's kind else. Its operator classes have no operators, so the planner
-- never uses it; our own scans do.
CREATE FUNCTION eventstore.tag_index_handler(internal) RETURNS index_am_handler
	LANGUAGE C VOLATILE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'es_tag_index_handler';
COMMENT ON FUNCTION eventstore.tag_index_handler(internal) IS 'Handler of the index access method eventstore_tags.';
REVOKE ALL ON FUNCTION eventstore.tag_index_handler(internal) FROM PUBLIC;

CREATE ACCESS METHOD eventstore_tags TYPE INDEX HANDLER eventstore.tag_index_handler;
COMMENT ON ACCESS METHOD eventstore_tags IS 'B-tree on (tags, position) of eventstore.events, with an entry for each tag.';

CREATE OPERATOR CLASS eventstore.tag_ops DEFAULT FOR TYPE text[] USING eventstore_tags AS
	FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint),
	STORAGE bigint;
COMMENT ON OPERATOR CLASS eventstore.tag_ops USING eventstore_tags IS 'The first column: an array comes in, a hash of each tag is stored.';
COMMENT ON OPERATOR FAMILY eventstore.tag_ops USING eventstore_tags IS 'Tags.';

CREATE OPERATOR CLASS eventstore.position_ops DEFAULT FOR TYPE bigint USING eventstore_tags AS
	FUNCTION 1 pg_catalog.btint8cmp(bigint, bigint);
COMMENT ON OPERATOR CLASS eventstore.position_ops USING eventstore_tags IS 'The second column: the position.';
COMMENT ON OPERATOR FAMILY eventstore.position_ops USING eventstore_tags IS 'Positions.';

CREATE INDEX events_tags_position_idx ON eventstore.events USING eventstore_tags (tags, position);

CREATE FUNCTION @extschema@.es_append_if(stream text, events jsonb, query jsonb, after_position bigint DEFAULT 0) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_append_if';
COMMENT ON FUNCTION @extschema@.es_append_if(text, jsonb, jsonb, bigint) IS
	'Appends events unless one that matches a query of types and tags stands after a position (SE004); returns the version of the last one.';
REVOKE ALL ON FUNCTION @extschema@.es_append_if(text, jsonb, jsonb, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_query(query jsonb, after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000,
										  backward boolean DEFAULT false) RETURNS SETOF eventstore.event
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_read_query';
COMMENT ON FUNCTION @extschema@.es_read_query(jsonb, bigint, bigint, boolean) IS
	'The events that match a query of types and tags, after a position, in order of position; backward: before it, where 0 means from the head.';
REVOKE ALL ON FUNCTION @extschema@.es_read_query(jsonb, bigint, bigint, boolean) FROM PUBLIC;
