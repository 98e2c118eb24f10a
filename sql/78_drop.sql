-- Drop: the store is not dropped by mistake, nor is its schema renamed.

CREATE FUNCTION eventstore.guard_store() RETURNS event_trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_guard_store';
COMMENT ON FUNCTION eventstore.guard_store() IS 'Has the library loaded, which keeps commands from dropping events (eventstore.allow_drop); refuses to rename the schema.';
REVOKE ALL ON FUNCTION eventstore.guard_store() FROM PUBLIC;

CREATE EVENT TRIGGER eventstore_guard ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED', 'DROP LANGUAGE', 'DROP TABLE', 'ALTER SCHEMA')
	EXECUTE FUNCTION eventstore.guard_store();
ALTER EVENT TRIGGER eventstore_guard ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER eventstore_guard IS 'What could drop the extension, and all events with it, is looked at.';
