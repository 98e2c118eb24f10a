-- Privacy: a shop that keeps every event, and a customer who asks to be forgotten.
--
-- Run it in an empty database:  psql -X -a -f examples/privacy.sql

CREATE EXTENSION eventstore;
\set SHOW_CONTEXT never
\set VERBOSITY terse

-- 1. What is about a person goes into an envelope, under a subject: the customer's number, which says nothing about her. The rest is in clear.
-- In an application the values are parameters, so that they are in no log of statements.
SELECT es_append('customer-1001', 0, 'Registered', jsonb_build_object('plan', 'basic', 'person', es_protect('customer-1001', '{"name": "Ada Lovelace", "email": "ada@example.com"}'))),
       es_append('customer-1002', 0, 'Registered', jsonb_build_object('plan', 'large', 'person', es_protect('customer-1002', '{"name": "Bob Babbage", "email": "bob@example.com"}')));
SELECT es_append('order-' || o, 0, 'Placed', jsonb_build_object('customer', customer, 'total', total, 'ship_to', es_protect('customer-' || customer, to_jsonb(address))))
FROM (VALUES (1, 1001, 12.50, 'Analytical Row 1, London'), (2, 1002, 99.00, 'Difference Lane 2, London'), (3, 1001, 7.20, 'Analytical Row 1, London')) v (o, customer, total, address);

-- What is stored names the subject, and nothing else.
SELECT stream, data - 'person' - 'ship_to' AS in_clear, jsonb_object_keys(coalesce(data->'person', data->'ship_to')) AS envelope, coalesce(data->'person', data->'ship_to')->>'subject' AS subject
FROM eventstore.events WHERE stream IN ('customer-1001', 'order-1') ORDER BY position, 3;

-- 2. Read tables hold envelopes, too, and a view opens them: then an erasure reaches them at once, without a rebuild.
SELECT es_create_projection('customers', $$
	SELECT stream AS customer, es_last(data->>'plan', position) AS plan, es_last(data->'person', position) AS person
	FROM events WHERE category = 'customer' GROUP BY stream
$$);
CREATE VIEW customers_in_clear AS SELECT customer, plan, es_reveal(person)->>'name' AS name, es_reveal(person)->>'email' AS email FROM customers;
TABLE customers_in_clear ORDER BY customer;

-- 3. To read is one right, to reveal another: reports need no names.
CREATE ROLE reporting;
CREATE ROLE support;
SELECT es_grant('reporting', 'read'), es_grant('support', 'read'), es_grant('support', 'reveal');
SET ROLE reporting;
SELECT data->>'customer' AS customer, sum((data->>'total')::numeric) AS bought FROM es_read_category('order') GROUP BY 1 ORDER BY 1;
SELECT es_reveal(data) FROM es_read('customer-1001');
SET ROLE support;
SELECT es_reveal(data) FROM es_read('customer-1001');
RESET ROLE;

-- 4. A state is folded and kept with the envelopes in it, and revealed when it is used: no snapshot has a name in clear.
CREATE FUNCTION customer(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS
$$
	SELECT state || event.data
$$;
SELECT es_save_snapshot('customer-1001', 1, es_fold('customer-1001', 'customer(jsonb, eventstore.event)'));
SELECT version, es_reveal(state) FROM es_load('customer-1001');

-- 5. Customer 1001 asks to be forgotten. One call, and a line for whoever asks later why. Snapshots of her streams go, too, whatever is in them.
SELECT es_erase_subject('customer-1001', 'request 4711, by letter');
SELECT subject, erased_by = current_user AS by_me, reason FROM eventstore.erasures;

-- Her name is in none of the places where it was: events, read table, state, and dumps and replicas from now on.
SELECT stream, es_reveal(data) FROM eventstore.events WHERE stream <> 'order-2' ORDER BY position;
TABLE customers_in_clear ORDER BY customer;
SELECT version, es_reveal(state) FROM es_load('customer-1001');
-- The events are there, and what is counted is what it was.
SELECT data->>'customer' AS customer, sum((data->>'total')::numeric) AS bought FROM es_read_category('order') GROUP BY 1 ORDER BY 1;

-- 6. A form that was sent late, a retry, an import: nothing about her comes in again.
SELECT es_append('customer-1001', 1, 'Moved', jsonb_build_object('to', es_protect('customer-1001', '"Number Street 3, Turin"')));
SELECT count(*) FROM es_read('customer-1001');

DROP OWNED BY reporting, support;
DROP ROLE reporting, support;
