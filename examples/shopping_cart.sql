-- A shop: commands come in by a stream, and each is decided on and carried out in one transaction over four other streams: the
-- customer's cart and credit, the stock, and the order. Snapshots make loading a long stream cheap, and never change what it amounts to.
--
-- Run it in an empty database:  psql -X -a -f examples/shopping_cart.sql

CREATE EXTENSION eventstore;
\pset null '(null)'

-- 1. What the events mean. One reducer for all four kinds of streams: the event's type says which.
CREATE FUNCTION evolve(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE
	RETURN CASE event.type
		-- cart: {"book": 2, "pen": 10}
		WHEN 'ItemAdded' THEN state || jsonb_build_object(event.data ->> 'product',
			coalesce((state ->> (event.data ->> 'product'))::int, 0) + (event.data ->> 'quantity')::int)
		WHEN 'ItemRemoved' THEN state - (event.data ->> 'product')
		WHEN 'CheckedOut' THEN '{}'
		-- stock: {"book": {"units": 5, "price": 20}}
		WHEN 'Received' THEN state || jsonb_build_object(event.data ->> 'product', jsonb_build_object('price', event.data -> 'price',
			'units', coalesce((state -> (event.data ->> 'product') ->> 'units')::int, 0) + (event.data ->> 'units')::int))
		WHEN 'Reserved' THEN (
			SELECT jsonb_object_agg(product, entry || jsonb_build_object('units', (entry ->> 'units')::int - coalesce((event.data ->> product)::int, 0)))
			FROM jsonb_each(state) s (product, entry))
		-- credit: {"amount": 100}
		WHEN 'Granted' THEN jsonb_build_object('amount', coalesce((state ->> 'amount')::numeric, 0) + (event.data ->> 'amount')::numeric)
		WHEN 'Charged' THEN jsonb_build_object('amount', (state ->> 'amount')::numeric - (event.data ->> 'amount')::numeric)
		-- order: what was decided
		ELSE state || event.data || jsonb_build_object('status', lower(event.type))
	END;

-- 2. What a stream amounts to, and its version: the latest snapshot, and the events after it.
CREATE FUNCTION load(stream text, OUT version bigint, OUT state jsonb, OUT tail int) LANGUAGE plpgsql STABLE AS
$$
DECLARE
	events eventstore.event[];
	event eventstore.event;
BEGIN
	SELECT l.version, coalesce(l.state, '{}'), l.events, cardinality(l.events) INTO version, state, events, tail FROM es_load(stream) l;
	FOREACH event IN ARRAY events LOOP
		state := evolve(state, event);
		version := event.version;
	END LOOP;
END
$$;

-- A snapshot is due when there are three events or more to read.
CREATE FUNCTION snapshot_if_due(stream text) RETURNS void LANGUAGE sql AS
$$
	SELECT es_save_snapshot(stream, version, state) FROM load(stream) WHERE tail >= 3
$$;

-- 3. How a command is handled: load, decide, append. handled-checkout gets one event for each command, expected at the version before,
-- so that a command cannot be handled twice, nor before its predecessor, however many handlers there are.
CREATE FUNCTION handle_checkout(command eventstore.event) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	customer text := command.data ->> 'customer';
	order_stream text := 'order-' || command.version;
	cause jsonb := jsonb_build_object('causation_id', command.id);
	cart record;
	stock record;
	credit record;
	total numeric;
	missing text;
	refusal text;
	batch jsonb;
BEGIN
	IF es_stream_version('handled-checkout') >= command.version THEN
		RETURN 'handled before';
	END IF;

	SELECT * INTO cart FROM load('cart-' || customer);
	SELECT * INTO stock FROM load('stock-main');
	SELECT * INTO credit FROM load('credit-' || customer);
	SELECT sum(quantity::int * (stock.state -> product ->> 'price')::numeric),
		   string_agg(product, ', ' ORDER BY product) FILTER (WHERE quantity::int > coalesce((stock.state -> product ->> 'units')::int, 0))
	INTO total, missing
	FROM jsonb_each_text(cart.state) c (product, quantity);
	refusal := CASE WHEN cart.state = '{}' THEN 'the cart is empty'
					WHEN missing IS NOT NULL THEN 'out of stock: ' || missing
					WHEN total > coalesce((credit.state ->> 'amount')::numeric, 0) THEN 'not enough credit' END;

	batch := jsonb_build_array(jsonb_build_object('stream', 'handled-checkout', 'expected_version', command.version - 1,
		'events', jsonb_build_object('type', 'Handled', 'metadata', cause)));
	IF refusal IS NULL THEN
		batch := batch || jsonb_build_array(
			jsonb_build_object('stream', 'cart-' || customer, 'expected_version', cart.version,
				'events', jsonb_build_object('type', 'CheckedOut', 'metadata', cause)),
			jsonb_build_object('stream', 'stock-main', 'expected_version', stock.version,
				'events', jsonb_build_object('type', 'Reserved', 'data', cart.state, 'metadata', cause)),
			jsonb_build_object('stream', 'credit-' || customer, 'expected_version', credit.version,
				'events', jsonb_build_object('type', 'Charged', 'data', jsonb_build_object('amount', total), 'metadata', cause)),
			jsonb_build_object('stream', order_stream, 'expected_version', es_no_stream(),
				'events', jsonb_build_object('type', 'Placed', 'data', jsonb_build_object('customer', customer, 'items', cart.state, 'total', total), 'metadata', cause)));
	ELSE
		batch := batch || jsonb_build_array(
			jsonb_build_object('stream', order_stream, 'expected_version', es_no_stream(),
				'events', jsonb_build_object('type', 'Refused', 'data', jsonb_build_object('customer', customer, 'reason', refusal), 'metadata', cause)));
	END IF;
	PERFORM es_append_streams(batch);
	PERFORM snapshot_if_due(s) FROM unnest(ARRAY['cart-' || customer, 'stock-main', 'credit-' || customer]) s;
	RETURN coalesce('refused: ' || refusal, 'placed');
END
$$;

-- 4. The shop opens, and customers fill their carts.
SELECT es_append('stock-main', 0, '[{"type": "Received", "data": {"product": "book", "units": 5, "price": 20}},
                                    {"type": "Received", "data": {"product": "pen", "units": 100, "price": 1.5}}]');
SELECT es_append('credit-ada', 0, 'Granted', '{"amount": 100}'), es_append('credit-bob', 0, 'Granted', '{"amount": 30}');
SELECT es_append('cart-ada', 0, '[{"type": "ItemAdded", "data": {"product": "book", "quantity": 1}},
                                  {"type": "ItemAdded", "data": {"product": "pen", "quantity": 10}},
                                  {"type": "ItemAdded", "data": {"product": "book", "quantity": 2}}]');
SELECT es_append('cart-bob', 0, '[{"type": "ItemAdded", "data": {"product": "book", "quantity": 3}},
                                  {"type": "ItemAdded", "data": {"product": "cup", "quantity": 1}}]');
SELECT * FROM load('cart-ada');

-- 5. They check out: each command is an event of the command stream.
SELECT es_append('command-checkout', es_any(), '[{"type": "CheckOut", "data": {"customer": "ada"}},
                                                 {"type": "CheckOut", "data": {"customer": "bob"}},
                                                 {"type": "CheckOut", "data": {"customer": "ada"}}]');

-- The handler takes what has not been handled yet; as many at a time as it likes.
BEGIN;
SELECT version, data ->> 'customer' AS customer, handle_checkout(command) AS outcome
FROM es_read('command-checkout', from_version => es_stream_version('handled-checkout') + 1, max_count => 10) command;
COMMIT;

-- All that came of the first command, in one transaction
SELECT e.stream, e.version, e.type, e.data
FROM eventstore.events e, es_read('command-checkout', 1, 1) command
WHERE e.metadata ->> 'causation_id' = command.id::text ORDER BY e.position;
SELECT stream, state FROM unnest(ARRAY['cart-ada', 'credit-ada', 'stock-main', 'order-1', 'order-2', 'order-3']) stream, load(stream);

-- 6. A command that is delivered again does no harm.
SELECT version, handle_checkout(command) AS outcome FROM es_read('command-checkout') command;
SELECT count(*) AS orders FROM eventstore.events WHERE category = 'order';

-- Bob takes the cup out, and some books: a cart that is too dear, until his credit is raised.
SELECT es_append('cart-bob', 2, '[{"type": "ItemRemoved", "data": {"product": "cup"}},
                                  {"type": "ItemRemoved", "data": {"product": "book"}},
                                  {"type": "ItemAdded", "data": {"product": "book", "quantity": 2}}]');
SELECT es_append('command-checkout', es_any(), 'CheckOut', '{"customer": "bob"}');
SELECT version, handle_checkout(command) AS outcome FROM es_read('command-checkout', es_stream_version('handled-checkout') + 1) command;
SELECT es_append('credit-bob', 1, 'Granted', '{"amount": 10}');
SELECT es_append('command-checkout', es_any(), 'CheckOut', '{"customer": "bob"}');
SELECT version, handle_checkout(command) AS outcome FROM es_read('command-checkout', es_stream_version('handled-checkout') + 1) command;

-- Two handlers at once: both decided on what was true before; the second is told so, and stores nothing.
SELECT es_append('handled-checkout', 4, 'Handled', '{}');

-- 7. The snapshots that were saved on the way
SELECT stream, version, state FROM eventstore.snapshots ORDER BY stream;
SELECT version, state, tail AS events_read, es_stream_version('stock-main') AS events_in_all FROM load('stock-main');

-- They are a cache. Whatever there is of them, every stream amounts to the same:
CREATE VIEW differences AS
	SELECT s.stream, l.state AS loaded, es_fold(s.stream, 'evolve(jsonb, eventstore.event)') AS folded
	FROM (SELECT DISTINCT stream FROM eventstore.events WHERE category IN ('cart', 'stock', 'credit', 'order')) s, load(s.stream) l
	WHERE l.state IS DISTINCT FROM es_fold(s.stream, 'evolve(jsonb, eventstore.event)');
SELECT * FROM differences;
-- one that is old,
SELECT es_append('stock-main', 4, 'Received', '{"product": "cup", "units": 7, "price": 4}');
SELECT * FROM differences;
-- one that is ahead of its stream,
SELECT es_save_snapshot('cart-ada', 99, '{"diamond": 1000}');
SELECT * FROM differences;
-- one of a form that the state had formerly,
SELECT es_save_snapshot('cart-ada', 4, '[]', schema_version => 0);
SELECT * FROM differences;
-- and none.
DELETE FROM eventstore.snapshots;
SELECT * FROM differences;
