-- Notify: being told that events were appended.

CREATE FUNCTION @extschema@.es_wait(after_position bigint, timeout interval DEFAULT '30 s', category text DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_wait';
COMMENT ON FUNCTION @extschema@.es_wait(bigint, interval, text) IS
	'Waits until there is an event after a position (of a category): returns the head, as soon as it is beyond; null on timeout.';
REVOKE ALL ON FUNCTION @extschema@.es_wait(bigint, interval, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_channel(category text DEFAULT NULL) RETURNS text
	LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'es_channel';
COMMENT ON FUNCTION @extschema@.es_channel(text) IS
	'Name of the LISTEN channel of all events, or of one category''s; the payload is the head.';
REVOKE ALL ON FUNCTION @extschema@.es_channel(text) FROM PUBLIC;
