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

CREATE TABLE eventstore.redactions
(
	position      bigint           NOT NULL,
	redaction     int              NOT NULL,
	id            uuid             NOT NULL,
	stream        text COLLATE "C" NOT NULL,
	version       bigint           NOT NULL,
	reason        text COLLATE "C" NOT NULL,
	keys          text[] COLLATE "C",
	redacted_by   text COLLATE "C" NOT NULL,
	redacted_at   timestamptz      NOT NULL,
	digest_before bytea            NOT NULL,
	digest_after  bytea            NOT NULL,
	CONSTRAINT redactions_pkey PRIMARY KEY (position, redaction)
);
COMMENT ON TABLE eventstore.redactions IS 'What was blanked in stored events, by whom and why. Written by es_redact only.';
COMMENT ON COLUMN eventstore.redactions.position IS 'Position of the event.';
COMMENT ON COLUMN eventstore.redactions.redaction IS 'Which redaction of this event it is: 1, 2 ...';
COMMENT ON COLUMN eventstore.redactions.id IS 'Id of the event.';
COMMENT ON COLUMN eventstore.redactions.stream IS 'Its stream.';
COMMENT ON COLUMN eventstore.redactions.version IS 'Its version.';
COMMENT ON COLUMN eventstore.redactions.reason IS 'Why, in the words of who did it.';
COMMENT ON COLUMN eventstore.redactions.keys IS 'Which keys of its data were blanked; null = all of data and metadata.';
COMMENT ON COLUMN eventstore.redactions.redacted_by IS 'Name of the role that did it.';
COMMENT ON COLUMN eventstore.redactions.redacted_at IS 'When.';
COMMENT ON COLUMN eventstore.redactions.digest_before IS 'What the event was: see eventstore.event_digest.';
COMMENT ON COLUMN eventstore.redactions.digest_after IS 'What it is since.';
REVOKE ALL ON TABLE eventstore.redactions FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.redactions', '');

CREATE FUNCTION @extschema@.es_redact(id uuid, reason text, keys text[] DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_redact';
COMMENT ON FUNCTION @extschema@.es_redact(uuid, text, text[]) IS
	'Blanks the data and metadata of a stored event, or some keys of its data; eventstore.redactions says who did it, and why.';
REVOKE ALL ON FUNCTION @extschema@.es_redact(uuid, text, text[]) FROM PUBLIC;

CREATE TABLE eventstore.retention
(
	name        text COLLATE "C" NOT NULL CONSTRAINT retention_pkey PRIMARY KEY,
	max_age     interval,
	max_count   bigint,
	applied_at  timestamptz,
	events_gone bigint           NOT NULL DEFAULT 0
);
COMMENT ON TABLE eventstore.retention IS 'How long the events of streams and categories are kept; see es_set_retention.';
COMMENT ON COLUMN eventstore.retention.name IS 'Name of the stream, which has a "-", or of the category.';
COMMENT ON COLUMN eventstore.retention.max_age IS 'Events that were recorded longer ago are not kept; null = they are.';
COMMENT ON COLUMN eventstore.retention.max_count IS 'How many events of a stream are kept, the last ones; null = all.';
COMMENT ON COLUMN eventstore.retention.applied_at IS 'When it was applied to all of its streams last.';
COMMENT ON COLUMN eventstore.retention.events_gone IS 'How many events are gone by it.';
REVOKE ALL ON TABLE eventstore.retention FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.retention', '');

CREATE FUNCTION @extschema@.es_set_retention(stream_or_category text, max_age interval DEFAULT NULL, max_count bigint DEFAULT NULL) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_set_retention';
COMMENT ON FUNCTION @extschema@.es_set_retention(text, interval, bigint) IS
	'Says how long the events of a stream, or of each stream of a category, are kept, and how many; neither: all of them, for ever.';
REVOKE ALL ON FUNCTION @extschema@.es_set_retention(text, interval, bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_apply_retention() RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_apply_retention';
COMMENT ON FUNCTION @extschema@.es_apply_retention() IS
	'Forgets the events that are not to be kept any longer; returns how many are gone. The worker does it by itself.';
REVOKE ALL ON FUNCTION @extschema@.es_apply_retention() FROM PUBLIC;
