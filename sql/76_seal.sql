-- Seals: what history was, so that anybody can tell whether it still is. docs/keeping.md says how a seal is computed.

CREATE TABLE eventstore.seals
(
	seal           bigint      NOT NULL CONSTRAINT seals_pkey PRIMARY KEY,
	after_position bigint      NOT NULL,
	upto           bigint      NOT NULL,
	events         bigint      NOT NULL,
	sealed_at      timestamptz NOT NULL,
	digest         bytea       NOT NULL
);
COMMENT ON TABLE eventstore.seals IS 'One row a seal: a range of history, and the digest of it and of all before. Written by es_seal only.';
COMMENT ON COLUMN eventstore.seals.seal IS 'Number of the seal: 1, 2, 3 ...';
COMMENT ON COLUMN eventstore.seals.after_position IS 'It covers the events after this position ...';
COMMENT ON COLUMN eventstore.seals.upto IS '... and up to this one, which was settled.';
COMMENT ON COLUMN eventstore.seals.events IS 'How many events that were.';
COMMENT ON COLUMN eventstore.seals.sealed_at IS 'When it was sealed.';
COMMENT ON COLUMN eventstore.seals.digest IS 'SHA-256 of the digest of the seal before, those of the blocks, and the columns of this row.';
REVOKE ALL ON TABLE eventstore.seals FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.seals', '');

CREATE TABLE eventstore.seal_blocks
(
	seal          bigint NOT NULL,
	block         bigint NOT NULL,
	last_position bigint NOT NULL,
	events        int    NOT NULL,
	digest        bytea  NOT NULL,
	outline       bytea  NOT NULL,
	CONSTRAINT seal_blocks_pkey PRIMARY KEY (seal, block)
);
-- Digests do not compress.
ALTER TABLE eventstore.seal_blocks ALTER COLUMN digest SET STORAGE EXTERNAL, ALTER COLUMN outline SET STORAGE EXTERNAL;
COMMENT ON TABLE eventstore.seal_blocks IS 'The blocks of a seal, of 128 events each but the last one.';
COMMENT ON COLUMN eventstore.seal_blocks.seal IS 'Number of the seal.';
COMMENT ON COLUMN eventstore.seal_blocks.block IS 'Number of the block: 1, 2, 3 ...';
COMMENT ON COLUMN eventstore.seal_blocks.last_position IS 'Position of its last event.';
COMMENT ON COLUMN eventstore.seal_blocks.events IS 'How many events it has.';
COMMENT ON COLUMN eventstore.seal_blocks.digest IS 'SHA-256 of the digests of its events, in order of position.';
COMMENT ON COLUMN eventstore.seal_blocks.outline IS '12 bytes an event, by which it is named if it is not what it was: its position, and the first 4 bytes of its digest.';
REVOKE ALL ON TABLE eventstore.seal_blocks FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.seal_blocks', '');

CREATE FUNCTION @extschema@.es_seal(upto bigint DEFAULT NULL) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_seal';
COMMENT ON FUNCTION @extschema@.es_seal(bigint) IS
	'Seals history up to the head, or up to a position below; returns up to where, null if there is nothing new.';
REVOKE ALL ON FUNCTION @extschema@.es_seal(bigint) FROM PUBLIC;

CREATE TABLE eventstore.seal_verifications
(
	verified_at timestamptz      NOT NULL,
	verified_by text COLLATE "C" NOT NULL,
	upto        bigint           NOT NULL,
	differences bigint           NOT NULL
);
CREATE INDEX seal_verifications_verified_at_idx ON eventstore.seal_verifications (verified_at);
COMMENT ON TABLE eventstore.seal_verifications IS 'One row a call of es_verify_seals that could write it down.';
COMMENT ON COLUMN eventstore.seal_verifications.verified_at IS 'When it ended.';
COMMENT ON COLUMN eventstore.seal_verifications.verified_by IS 'Name of the role that called it.';
COMMENT ON COLUMN eventstore.seal_verifications.upto IS 'Up to where history was sealed then.';
COMMENT ON COLUMN eventstore.seal_verifications.differences IS 'How many rows it returned; 0: history was what was sealed.';
REVOKE ALL ON TABLE eventstore.seal_verifications FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.seal_verifications', '');

CREATE FUNCTION @extschema@.es_verify_seals(OUT seal bigint, OUT detail text) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_verify_seals';
COMMENT ON FUNCTION @extschema@.es_verify_seals() IS
	'What of sealed history is not what it was. No row: it is, but for what was redacted and removed in due form.';
REVOKE ALL ON FUNCTION @extschema@.es_verify_seals() FROM PUBLIC;
