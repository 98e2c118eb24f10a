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

CREATE FUNCTION eventstore.find_notify_status(OUT sent_by text, OUT queue_usage double precision, OUT is_queue_full boolean) RETURNS record
	LANGUAGE C VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'es_find_notify_status';
COMMENT ON FUNCTION eventstore.find_notify_status() IS 'The row of eventstore.notify_status.';
REVOKE ALL ON FUNCTION eventstore.find_notify_status() FROM PUBLIC;

CREATE VIEW eventstore.notify_status AS
	SELECT sent_by, queue_usage, is_queue_full FROM eventstore.find_notify_status();
COMMENT ON VIEW eventstore.notify_status IS 'How it stands with NOTIFY: who sends it, and whether the server''s queue has room. One row.';
COMMENT ON COLUMN eventstore.notify_status.sent_by IS 'worker, or appender where there is none; null: it is switched off by eventstore.notify.';
COMMENT ON COLUMN eventstore.notify_status.queue_usage IS 'How full the server''s queue of notifications is, from 0 to 1, as pg_notification_queue_usage() tells.';
COMMENT ON COLUMN eventstore.notify_status.is_queue_full IS 'Whether that is beyond eventstore.notify_queue_limit: then no NOTIFY is sent until it has room again.';
REVOKE ALL ON TABLE eventstore.notify_status FROM PUBLIC;
