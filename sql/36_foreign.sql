-- Foreign: events that are stored without an append, by a restore, a COPY or logical replication; and positions that are behind them.

CREATE FUNCTION eventstore.note_foreign_events() RETURNS trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_note_foreign_events';
COMMENT ON FUNCTION eventstore.note_foreign_events() IS 'Has the next append look whether positions go on above the events that came.';
REVOKE ALL ON FUNCTION eventstore.note_foreign_events() FROM PUBLIC;

-- Their names stand in src/base/catalog.h: appends pass them over.
CREATE TRIGGER foreign_events_are_noted AFTER INSERT ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.note_foreign_events();
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER foreign_events_are_noted;
COMMENT ON TRIGGER foreign_events_are_noted ON eventstore.events IS 'Notes what comes by INSERT and COPY.';

-- Logical replication applies row by row, without triggers of statements.
CREATE TRIGGER replicated_events_are_noted AFTER INSERT ON eventstore.events
	FOR EACH ROW EXECUTE FUNCTION eventstore.note_foreign_events();
ALTER TABLE eventstore.events ENABLE REPLICA TRIGGER replicated_events_are_noted;
COMMENT ON TRIGGER replicated_events_are_noted ON eventstore.events IS 'Notes what comes by logical replication.';

-- Their names stand in src/base/catalog.h, too.
CREATE FUNCTION eventstore.refuse_insert() RETURNS trigger
	LANGUAGE C AS 'MODULE_PATHNAME', 'es_refuse_insert';
COMMENT ON FUNCTION eventstore.refuse_insert() IS 'Raises SE007, unless it is a restore: events are appended.';
REVOKE ALL ON FUNCTION eventstore.refuse_insert() FROM PUBLIC;

CREATE TRIGGER events_are_appended BEFORE INSERT ON eventstore.events
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.refuse_insert();
COMMENT ON TRIGGER events_are_appended ON eventstore.events IS 'Refuses INSERT, but a restore''s.';

CREATE TRIGGER streams_are_appended_to BEFORE INSERT ON eventstore.streams
	FOR EACH STATEMENT EXECUTE FUNCTION eventstore.refuse_insert();
COMMENT ON TRIGGER streams_are_appended_to ON eventstore.streams IS 'Refuses INSERT, but a restore''s.';

CREATE FUNCTION @extschema@.es_repair_positions(above bigint DEFAULT 0) RETURNS bigint
	LANGUAGE C VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'es_repair_positions';
COMMENT ON FUNCTION @extschema@.es_repair_positions(bigint) IS
	'Has positions go on above every event that there is, all that was read, and a position of one''s own; returns the last one given out.';
REVOKE ALL ON FUNCTION @extschema@.es_repair_positions(bigint) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_repair_streams(OUT stream text, OUT version_before bigint, OUT version bigint) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 AS 'MODULE_PATHNAME', 'es_repair_streams';
COMMENT ON FUNCTION @extschema@.es_repair_streams() IS
	'Moves the rows of streams on to their last events, where events came without an append; returns the streams that it has mended.';
REVOKE ALL ON FUNCTION @extschema@.es_repair_streams() FROM PUBLIC;
