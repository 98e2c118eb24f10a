-- A command that comes twice is carried out once: a key that the client makes is a tag, and the condition is that nobody has used it. After
-- "Prevent record duplication" at dcb.events. (Where the client can give the ids of the events themselves, an exact retry does without:
-- it gets the first answer again.)

CREATE EXTENSION eventstore;
\set SHOW_CONTEXT never

CREATE FUNCTION place_order(id text, item text, key uuid) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	PERFORM es_append_if('order-' || id, jsonb_build_object('type', 'OrderPlaced', 'data', jsonb_build_object('item', item), 'tags', jsonb_build_array('idempotency:' || key)),
						 jsonb_build_array(jsonb_build_object('tags', jsonb_build_array('idempotency:' || key))));
	RETURN 'placed';
EXCEPTION
	WHEN SQLSTATE 'SE004' THEN
		RETURN (SELECT 'placed before, as ' || stream FROM es_read_query(jsonb_build_array(jsonb_build_object('tags', jsonb_build_array('idempotency:' || key)))));
END
$$;

SELECT place_order('1', 'tea', 'a0000000-0000-0000-0000-000000000001');
SELECT place_order('2', 'tea', 'a0000000-0000-0000-0000-000000000001');
SELECT place_order('3', 'tea', 'a0000000-0000-0000-0000-000000000002');

-- The same by event ids: nothing but es_append.
SELECT es_append('order-4', 0, 'OrderPlaced', '{"item": "cup"}', id => 'a0000000-0000-0000-0000-000000000004');
SELECT es_append('order-4', 0, 'OrderPlaced', '{"item": "cup"}', id => 'a0000000-0000-0000-0000-000000000004');
SELECT stream, version, type FROM eventstore.events ORDER BY position;
