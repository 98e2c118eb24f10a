-- Digest: what an event comes down to. docs/keeping.md says which bytes it is made of.

CREATE FUNCTION eventstore.event_digest(event eventstore.event) RETURNS bytea
	LANGUAGE C IMMUTABLE PARALLEL SAFE STRICT AS 'MODULE_PATHNAME', 'es_event_digest';
COMMENT ON FUNCTION eventstore.event_digest(eventstore.event) IS
	'SHA-256 of an event, 32 bytes: of its position, version, id, time, stream, type, data, metadata and tags, in the form of the documentation.';
REVOKE ALL ON FUNCTION eventstore.event_digest(eventstore.event) FROM PUBLIC;
