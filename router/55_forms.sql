-- Forms: the verbs once more, for drivers that send as text what is none, as in a store; and by the names of the store's verbs, those that a
-- router has not, or not so.

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Typed text
-- ---------------------------------------------------------------------------------------------------------------------------------

CALL eventstore.make_form('es_append', 'stream text, expected_version bigint, events text', 'bigint', '{"events": "jsonb"}',
	'Appends events given as JSON in a text; returns the version of the last one.');
CALL eventstore.make_form('es_append', 'stream text, expected_version bigint, type text, data text, metadata text, id uuid, tags text[] DEFAULT NULL', 'bigint', '{"data": "jsonb", "metadata": "jsonb"}',
	'Appends one event whose data and metadata are given as text; returns its version.');
CALL eventstore.make_form('es_append', 'stream text, expected_version bigint, type text, data jsonb, metadata jsonb, id text, tags text[] DEFAULT NULL', 'bigint', '{"id": "uuid"}',
	'Appends one event whose id is given as text; returns its version.');
CALL eventstore.make_form('es_append_streams', 'batch text', 'SETOF record', '{"batch": "jsonb"}',
	'Appends to several streams of one cell at once, of a batch given as text.',
	columns => 'OUT stream text, OUT version bigint, OUT "position" bigint');
CALL eventstore.make_form('es_append_if', 'stream text, events text, query text, after_position bigint DEFAULT 0', 'bigint', '{"events": "jsonb", "query": "jsonb"}',
	'Appends events unless one that matches a query stands after a position, both given as text.');
CALL eventstore.make_form('es_append_if', 'stream text, events text, query text, after text', 'bigint', '{"events": "jsonb", "query": "jsonb", "after": "jsonb"}',
	'Appends events unless one that matches a query stands after a vector of positions, all given as text.');
CALL eventstore.make_form('es_stream_as_of', 'stream text, at eventstore.timestamptz_text', 'SETOF eventstore.event', '{"at": "timestamptz"}',
	'The events of a stream as it was at a time given as text.');
CALL eventstore.make_form('es_position_at', 'at eventstore.timestamptz_text', 'jsonb', '{"at": "timestamptz"}',
	'The vector of positions to start after to get every event that was recorded at or after a time given as text.');
CALL eventstore.make_form('es_wait', 'after text, timeout interval DEFAULT ''30 s'', category text DEFAULT NULL', 'jsonb', '{"after": "jsonb"}',
	'Waits until a cell has an event after a vector of positions given as text.');
CALL eventstore.make_form('es_wait', 'after jsonb, timeout eventstore.interval_text, category text DEFAULT NULL', 'jsonb', '{"timeout": "interval"}',
	'Waits until a cell has an event after a vector of positions, with a timeout given as text.');
CALL eventstore.make_form('es_wait', 'after text, timeout eventstore.interval_text, category text DEFAULT NULL', 'jsonb', '{"after": "jsonb", "timeout": "interval"}',
	'Waits until a cell has an event after a vector of positions, both given as text.');
CALL eventstore.make_form('es_export', 'after text, upto text DEFAULT NULL, category text DEFAULT NULL, tenant text DEFAULT NULL', 'SETOF jsonb', '{"after": "jsonb", "upto": "jsonb"}',
	'The events of all cells between vectors of positions given as text.');
CALL eventstore.make_form('es_import', 'events text', 'bigint', '{"events": "jsonb"}',
	'Stores an array of events, given as text, as es_export gives them.');
CALL eventstore.make_form('es_create_subscription', 'name text, category text, types text[], after_position bigint, partitions bigint, max_retries bigint, lease eventstore.interval_text, park_policy text DEFAULT ''pass'', tenant text DEFAULT NULL, after jsonb DEFAULT NULL', 'void', '{"lease": "interval"}',
	'Makes a subscription in all cells, with a lease given as text.');
CALL eventstore.make_form('es_alter_subscription', 'name text, partitions bigint, park_policy text, max_retries bigint, lease eventstore.interval_text, category text DEFAULT NULL, types text[] DEFAULT NULL, tenant text DEFAULT NULL', 'void', '{"lease": "interval"}',
	'Changes a subscription in all cells, with a lease given as text.');
CALL eventstore.make_form('es_fetch', 'subscription text, consumer text, max_count bigint, wait eventstore.interval_text', 'SETOF record', '{"wait": "interval"}',
	'The next events of a consumer''s partitions in all cells, with a time to wait given as text.',
	columns => 'OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text, OUT data jsonb, OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz, OUT partition int, OUT token bigint, OUT attempt int, OUT cell int');
CALL eventstore.make_form('es_nack', 'cell bigint, subscription text, token bigint, "position" bigint, reason text, action text, delay eventstore.interval_text', 'void', '{"delay": "interval"}',
	'One event of a cell could not be worked on, with a delay given as text.');
CALL eventstore.make_form('es_drop_parked', 'subscription text, id text', 'void', '{"id": "uuid"}',
	'Throws a parked event away, whose id is given as text.');
CALL eventstore.make_form('es_create_state_projection', 'name text, reducer text, initial text, mode text DEFAULT ''inline'', categories text[] DEFAULT NULL, types text[] DEFAULT NULL', 'void', '{"initial": "jsonb"}',
	'Makes a projection in all cells that keeps the state of each stream, from a state given as text.');
CALL eventstore.make_form('es_wait_projection', 'name text, after text, timeout interval DEFAULT ''30 s''', 'boolean', '{"after": "jsonb"}',
	'Waits until a projection has been applied in all cells to every event up to a vector of positions given as text.');
CALL eventstore.make_form('es_wait_projection', 'name text, after jsonb, timeout eventstore.interval_text', 'boolean', '{"timeout": "interval"}',
	'Waits until a projection has been applied in all cells to every event up to a vector of positions, with a timeout given as text.');
CALL eventstore.make_form('es_wait_projection', 'name text, after text, timeout eventstore.interval_text', 'boolean', '{"after": "jsonb", "timeout": "interval"}',
	'Waits until a projection has been applied in all cells to every event up to a vector of positions, both given as text.');
CALL eventstore.make_form('es_wait_projection', 'name text, "position" bigint, timeout eventstore.interval_text', 'boolean', '{"timeout": "interval"}',
	'The same up to a position of one''s own, with a timeout given as text.');
CALL eventstore.make_form('es_save_snapshot', 'stream text, version bigint, state text, schema_version bigint DEFAULT 1', 'void', '{"state": "jsonb"}',
	'Keeps the state of a stream at a version, given as text.');
CALL eventstore.make_form('es_fold', 'stream text, reducer text, initial text, at_version bigint DEFAULT NULL, at timestamptz DEFAULT NULL', 'jsonb', '{"initial": "jsonb"}',
	'The state that a stream amounts to, from a state given as text.');
CALL eventstore.make_form('es_fold', 'stream text, reducer text, initial text, at_version bigint, at eventstore.timestamptz_text', 'jsonb', '{"initial": "jsonb", "at": "timestamptz"}',
	'The state that a stream amounts to at a time, both given as text.');
CALL eventstore.make_form('es_set_retention', 'stream_or_category text, max_age eventstore.interval_text, max_count bigint DEFAULT NULL', 'void', '{"max_age": "interval"}',
	'Says in all cells how long events are kept, given as text.');
CALL eventstore.make_form('es_redact', 'id text, reason text, keys text[] DEFAULT NULL', 'void', '{"id": "uuid"}',
	'Blanks a stored event whose id is given as text, in each cell that has it.');
CALL eventstore.make_form('es_protect', 'stream text, subject text, value text', 'jsonb', '{"value": "jsonb"}',
	'An envelope with a value that is given as text, for events of the stream.');
CALL eventstore.make_form('es_reveal', 'stream text, data text', 'jsonb', '{"data": "jsonb"}',
	'The same, of an event of the stream, given as text, with every envelope in it opened.');
CALL eventstore.make_form('es_add_cell', 'cell bigint, feed bigint, slots text, connection text', 'void', '{"slots": "int4multirange"}',
	'Puts a cell into the router''s map, with slots given as text.');
CALL eventstore.make_form('es_adopt_map', 'map text', 'boolean', '{"map": "jsonb"}',
	'Takes over the map of a cell, given as text.');

CREATE FUNCTION @extschema@.es_replay_parked(subscription text, max_count_or_id text) RETURNS int
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	RETURN CASE WHEN max_count_or_id OPERATOR(pg_catalog.~) '^[[:space:]]*[-+]?[0-9]+[[:space:]]*$' THEN @extschema@.es_replay_parked(subscription, max_count_or_id::bigint)
		   ELSE @extschema@.es_replay_parked(subscription, max_count_or_id::uuid) END;
COMMENT ON FUNCTION @extschema@.es_replay_parked(text, text) IS
	'Has parked events delivered again: so many of each cell, or the one of an id, given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_replay_parked(text, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_all(after text, max_count bigint DEFAULT 1000, types text[] DEFAULT NULL, backward boolean DEFAULT false,
	OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text, OUT data jsonb,
	OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz, OUT feed int, OUT after jsonb) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_router_read_all_text';
COMMENT ON FUNCTION @extschema@.es_read_all(text, bigint, text[], boolean) IS 'The same after a vector of positions that is given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_read_all(text, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_category(category text, after text, max_count bigint DEFAULT 1000, types text[] DEFAULT NULL, backward boolean DEFAULT false,
	OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text, OUT data jsonb,
	OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz, OUT feed int, OUT after jsonb) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_router_read_category_text';
COMMENT ON FUNCTION @extschema@.es_read_category(text, text, bigint, text[], boolean) IS 'The same after a vector of positions that is given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_read_category(text, text, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION @extschema@.es_read_query(query text, after text DEFAULT '{}', max_count bigint DEFAULT 1000, backward boolean DEFAULT false,
	OUT "position" bigint, OUT stream text, OUT category text, OUT version bigint, OUT id uuid, OUT type text, OUT data jsonb,
	OUT metadata jsonb, OUT tags text[], OUT recorded_at timestamptz, OUT feed int, OUT after jsonb) RETURNS SETOF record
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 1000 AS 'MODULE_PATHNAME', 'es_router_read_query_text';
COMMENT ON FUNCTION @extschema@.es_read_query(text, text, bigint, boolean) IS 'The same after a vector of positions that is given as text.';
REVOKE ALL ON FUNCTION @extschema@.es_read_query(text, text, bigint, boolean) FROM PUBLIC;

-- ---------------------------------------------------------------------------------------------------------------------------------
-- What a router has not
-- ---------------------------------------------------------------------------------------------------------------------------------

CALL eventstore.make_refusal('es_read_all', 'after_position bigint, max_count bigint DEFAULT 1000, types text[] DEFAULT NULL, backward boolean DEFAULT false', 'SETOF eventstore.event',
	'Positions are compared within one cell: a place over cells is a vector of them, by feed.',
	'es_read_all(''{}'') begins at the beginning; each row has the vector to go on from.');
CALL eventstore.make_refusal('es_read_category', 'category text, after_position bigint, max_count bigint DEFAULT 1000, types text[] DEFAULT NULL, backward boolean DEFAULT false', 'SETOF eventstore.event',
	'Positions are compared within one cell: a place over cells is a vector of them, by feed.',
	'es_read_category(''account'', ''{}'') begins at the beginning; each row has the vector to go on from.');
CALL eventstore.make_refusal('es_read_query', 'query jsonb, after_position bigint, max_count bigint DEFAULT 1000, backward boolean DEFAULT false', 'SETOF eventstore.event',
	'Positions are compared within one cell: a place over cells is a vector of them, by feed.',
	'es_read_query(query, ''{}'') begins at the beginning; each row has the vector to go on from.');
CALL eventstore.make_refusal('es_read_query', 'query text, after_position bigint, max_count bigint DEFAULT 1000, backward boolean DEFAULT false', 'SETOF eventstore.event',
	'Positions are compared within one cell: a place over cells is a vector of them, by feed.',
	'es_read_query(query, ''{}'') begins at the beginning; each row has the vector to go on from.');
CALL eventstore.make_refusal('es_wait', 'after_position bigint, timeout interval DEFAULT ''30 s'', category text DEFAULT NULL', 'bigint',
	'Positions are compared within one cell: a place over cells is a vector of them, by feed.',
	'es_wait takes a vector: the after of the last row that was read, or es_head().');
CALL eventstore.make_refusal('es_wait', 'after_position bigint, timeout eventstore.interval_text, category text DEFAULT NULL', 'bigint',
	'Positions are compared within one cell: a place over cells is a vector of them, by feed.',
	'es_wait takes a vector: the after of the last row that was read, or es_head().');
CALL eventstore.make_refusal('es_export', 'after_position bigint, upto bigint DEFAULT NULL, category text DEFAULT NULL, tenant text DEFAULT NULL', 'SETOF jsonb',
	'Positions are compared within one cell: a place over cells is a vector of them, by feed.',
	'es_export takes vectors: es_export(''{}'') gives the events of all cells.');
CALL eventstore.make_refusal('es_ack', 'subscription text, token bigint, "position" bigint', 'void',
	'A token and a position are those of one cell.',
	'es_ack(cell, subscription, token, position): es_fetch returns the cell with each event.');
CALL eventstore.make_refusal('es_nack', 'subscription text, token bigint, "position" bigint, reason text, action text DEFAULT ''retry'', delay interval DEFAULT ''0''', 'void',
	'A token and a position are those of one cell.',
	'es_nack(cell, subscription, token, position, reason): es_fetch returns the cell with each event.');
CALL eventstore.make_refusal('es_nack', 'subscription text, token bigint, "position" bigint, reason text, action text, delay eventstore.interval_text', 'void',
	'A token and a position are those of one cell.',
	'es_nack(cell, subscription, token, position, reason): es_fetch returns the cell with each event.');
CALL eventstore.make_refusal('es_skip_event', 'name text, "position" bigint, reason text DEFAULT NULL', 'void',
	'A position is one of one cell.',
	'es_skip_event(cell, name, position): eventstore.projection_status says in which cell the projection stands.');
CALL eventstore.make_refusal('es_seal', 'upto bigint', 'bigint',
	'A position is one of one cell.',
	'es_seal() seals each cell up to its head; up to a position, call it in the cell.');
CALL eventstore.make_refusal('es_protect', 'subject text, value jsonb', 'jsonb',
	'Each cell has keys of its own: what one protects, another one cannot open.',
	'es_protect(stream, subject, value) has the cell do it that will have the event.');
CALL eventstore.make_refusal('es_protect', 'subject text, value text', 'jsonb',
	'Each cell has keys of its own: what one protects, another one cannot open.',
	'es_protect(stream, subject, value) has the cell do it that will have the event.');
CALL eventstore.make_refusal('es_reveal', 'data jsonb', 'jsonb',
	'Each cell has keys of its own: what one protects, another one cannot open.',
	'es_reveal(stream, data) asks the cell that has the event.');
CALL eventstore.make_refusal('es_reveal', 'data text', 'jsonb',
	'Each cell has keys of its own: what one protects, another one cannot open.',
	'es_reveal(stream, data) asks the cell that has the event.');
CALL eventstore.make_refusal('es_assert_version', 'stream text, expected_version bigint', 'bigint',
	'What it checks holds until commit, and PL/Proxy commits each call in its cell when it returns.',
	'es_append_streams checks the versions of all its streams; or do it in the cell itself.');
CALL eventstore.make_refusal('es_channel', 'category text DEFAULT NULL', 'text',
	'Cells notify who listens in their databases; nobody notifies who listens here.',
	'es_wait waits for events of all cells; or LISTEN in each cell.');
CALL eventstore.make_refusal('es_announce_head', '', 'bigint',
	'A head is one of one cell.',
	'Call it in the cell. Where eventstore is preloaded, the worker announces the head.');
CALL eventstore.make_refusal('es_projection_as_of', 'name text, into_table text, "position" bigint DEFAULT NULL, at timestamptz DEFAULT NULL', 'bigint',
	'It makes a table in the cell that it is called in.',
	'Call it in each cell; es_create_view shows the tables as one.');
CALL eventstore.make_refusal('es_projection_as_of', 'name text, into_table text, "position" bigint, at eventstore.timestamptz_text', 'bigint',
	'It makes a table in the cell that it is called in.',
	'Call it in each cell; es_create_view shows the tables as one.');
CALL eventstore.make_refusal('es_partition_events', 'every bigint', 'void',
	'It is about the tables of one cell.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_attach_events', '"table" regclass', 'void',
	'It is about the tables of one cell.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_detach_events', 'upto bigint', 'SETOF regclass',
	'It is about the tables of one cell.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_repair_positions', 'above bigint DEFAULT 0', 'bigint',
	'It is about the tables of one cell.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_repair_streams', 'OUT stream text, OUT version_before bigint, OUT version bigint', 'SETOF record',
	'It is about the tables of one cell.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_set_cell', 'cell bigint, feed bigint, slots int4multirange', 'void',
	'It says what the store in which it is called is among others.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_set_cell', 'cell bigint, feed bigint, slots text', 'void',
	'It says what the store in which it is called is among others.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_unset_cell', '', 'void',
	'It says what the store in which it is called is among others.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_set_mirror', '', 'void',
	'It says what the store in which it is called is among others.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_unset_mirror', '', 'bigint',
	'It says what the store in which it is called is among others.',
	'Call it in the cell.');
CALL eventstore.make_refusal('es_open_feed', 'subscription text', 'void',
	'It is for a cell that was split off, once the group has done in the old one what both have.',
	'examples/cells/split calls it; or call it in the cell. A group that was made here begins by itself.');

-- What is here with other arguments only, or has no place here; a call by the store's arguments finds no function, or the right one.
INSERT INTO eventstore.differences (verb, reason, way) VALUES
	('es_create_projection(text, text, text, text[], text[], regclass[], text, text, regclass[])', 'Tables are those of the cells.', 'Name them as text, as the cells know them.'),
	('es_replace_projection(text, text, text[], text[], regclass[], regclass[])', 'Tables are those of the cells.', 'Name them as text, as the cells know them.'),
	('es_create_state_projection(text, regprocedure, jsonb, text, text[], text[])', 'Reducers are those of the cells.', 'Name it as text, as the cells know it.'),
	('es_fold(text, regprocedure, jsonb, bigint, timestamp with time zone)', 'Reducers are those of the cells.', 'Name it as text, as the cells know it.'),
	('es_reassign_projection(text, regrole)', 'Roles are those of the cells.', 'Name it as text.'),
	('es_first(anyelement, anycompatible)', 'It is an aggregate for projections, whose queries run in the cells.', 'Use it in the query of es_create_projection.'),
	('es_last(anyelement, anycompatible)', 'It is an aggregate for projections, whose queries run in the cells.', 'Use it in the query of es_create_projection.');
