-- Read: the verbs that return events, each a direct scan of one index of eventstore.events.

CREATE FUNCTION @extschema@.es_read(stream text, from_version bigint DEFAULT NULL, max_count bigint DEFAULT NULL,
									backward boolean DEFAULT false) RETURNS SETOF eventstore.event
	LANGUAGE C STABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_read';
COMMENT ON FUNCTION @extschema@.es_read(text, bigint, bigint, boolean) IS
	'The events of a stream: from from_version (default the first) up, or backward from it (default the last) down; at most max_count.';
REVOKE ALL ON FUNCTION @extschema@.es_read(text, bigint, bigint, boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_all(after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000, types text[] DEFAULT NULL,
										backward boolean DEFAULT false) RETURNS SETOF eventstore.event
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_read_all';
COMMENT ON FUNCTION @extschema@.es_read_all(bigint, bigint, text[], boolean) IS
	'The events of the store after a position, in order of position; backward: before it, where 0 means from the head.';
REVOKE ALL ON FUNCTION @extschema@.es_read_all(bigint, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_category(category text, after_position bigint DEFAULT 0, max_count bigint DEFAULT 1000,
											 types text[] DEFAULT NULL, backward boolean DEFAULT false) RETURNS SETOF eventstore.event
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_read_category';
COMMENT ON FUNCTION @extschema@.es_read_category(text, bigint, bigint, text[], boolean) IS
	'The events of a category after a position, in order of position; backward: before it, where 0 means from the head.';
REVOKE ALL ON FUNCTION @extschema@.es_read_category(text, bigint, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_stream_version(stream text) RETURNS bigint
	LANGUAGE C STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_stream_version';
COMMENT ON FUNCTION @extschema@.es_stream_version(text) IS
	'Version of a stream''s last event; 0 = no event yet.';
REVOKE ALL ON FUNCTION @extschema@.es_stream_version(text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_last_event(stream text, type text DEFAULT NULL) RETURNS SETOF eventstore.event
	LANGUAGE C STABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'es_last_event';
COMMENT ON FUNCTION @extschema@.es_last_event(text, text) IS
	'The last event of a stream, or the last of one type; no row if there is none.';
REVOKE ALL ON FUNCTION @extschema@.es_last_event(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_stream_as_of(stream text, at timestamptz) RETURNS SETOF eventstore.event
	LANGUAGE C STABLE PARALLEL SAFE ROWS 100 AS 'MODULE_PATHNAME', 'es_stream_as_of';
COMMENT ON FUNCTION @extschema@.es_stream_as_of(text, timestamptz) IS
	'The events of a stream as it was at a time: those recorded at or before it.';
REVOKE ALL ON FUNCTION @extschema@.es_stream_as_of(text, timestamptz) FROM PUBLIC;

CREATE FUNCTION eventstore.find_event("position" bigint) RETURNS SETOF eventstore.event
	LANGUAGE C STABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'es_find_event';
COMMENT ON FUNCTION eventstore.find_event(bigint) IS
	'The event at a position, if there is one that the caller may see.';
REVOKE ALL ON FUNCTION eventstore.find_event(bigint) FROM PUBLIC;
