-- Erasure by keys: values are encrypted under a key of their subject's, and what is erased is the key.
--
-- Nobody but the owner has a right on the keys: es_protect and es_reveal use them without one. The fence, eventstore.erasures, is a table
-- of its own, so that a dump can carry it without the keys: pg_dump --exclude-table-data=eventstore.subject_keys.

CREATE TABLE eventstore.subject_keys
(
	subject    text COLLATE "C" NOT NULL,
	id         bytea            NOT NULL CONSTRAINT subject_keys_id_check CHECK (pg_catalog.octet_length(id) = 8),
	key        bytea            NOT NULL CONSTRAINT subject_keys_key_check CHECK (pg_catalog.octet_length(key) = 32),
	created_at timestamptz      NOT NULL,
	CONSTRAINT subject_keys_pkey PRIMARY KEY (subject, id)
);
COMMENT ON TABLE eventstore.subject_keys IS 'The keys under which es_protect encrypts. Nobody but the owner may read it.';
COMMENT ON COLUMN eventstore.subject_keys.subject IS 'Whose values the key protects: 1 to 512 bytes, compared byte by byte.';
COMMENT ON COLUMN eventstore.subject_keys.id IS 'What envelopes call the key: the first 8 bytes of HMAC-SHA256 of "eventstore key id" under it.';
COMMENT ON COLUMN eventstore.subject_keys.key IS 'The key: 32 random bytes.';
COMMENT ON COLUMN eventstore.subject_keys.created_at IS 'When it was made. es_protect uses the newest; there are several where older ones were lost and brought back.';
REVOKE ALL ON TABLE eventstore.subject_keys FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.subject_keys', '');

CREATE TABLE eventstore.erasures
(
	subject   text COLLATE "C" NOT NULL CONSTRAINT erasures_pkey PRIMARY KEY,
	erased_at timestamptz      NOT NULL,
	erased_by text COLLATE "C" NOT NULL,
	reason    text COLLATE "C" NOT NULL
);
COMMENT ON TABLE eventstore.erasures IS 'The subjects that es_erase_subject has erased: the fence that keeps them so, whatever keys there are.';
COMMENT ON COLUMN eventstore.erasures.subject IS 'Who was erased.';
COMMENT ON COLUMN eventstore.erasures.erased_at IS 'When that was, the first time.';
COMMENT ON COLUMN eventstore.erasures.erased_by IS 'Name of the role that did it.';
COMMENT ON COLUMN eventstore.erasures.reason IS 'Why, as es_erase_subject was told.';
REVOKE ALL ON TABLE eventstore.erasures FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('eventstore.erasures', '');

CREATE FUNCTION @extschema@.es_protect(subject text, value jsonb) RETURNS jsonb
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_protect';
COMMENT ON FUNCTION @extschema@.es_protect(text, jsonb) IS
	'An envelope with the value, encrypted under the subject''s key: to be put anywhere into data or metadata.';
REVOKE ALL ON FUNCTION @extschema@.es_protect(text, jsonb) FROM PUBLIC;

-- Not for parallel queries: a key provider may do anything.
CREATE FUNCTION @extschema@.es_reveal(data jsonb) RETURNS jsonb
	LANGUAGE C STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_reveal';
COMMENT ON FUNCTION @extschema@.es_reveal(jsonb) IS
	'The same with every envelope in it opened, at any depth; those of erased subjects become null.';
REVOKE ALL ON FUNCTION @extschema@.es_reveal(jsonb) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_erase_subject(subject text, reason text) RETURNS void
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'MODULE_PATHNAME', 'es_erase_subject';
COMMENT ON FUNCTION @extschema@.es_erase_subject(text, text) IS
	'Destroys a subject''s keys: nothing that was protected for it opens any more, and nothing more can be.';
REVOKE ALL ON FUNCTION @extschema@.es_erase_subject(text, text) FROM PUBLIC;
