-- Privacy: a shop that keeps every event, a customer who asks to be forgotten, an auditor who wants to know that nothing else was, and a tenant who leaves and
-- takes his events along.
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

-- 5. History is sealed, and the auditor keeps the last digest where the shop can not write: on paper, say.
SELECT es_seal() = es_head() AS sealed;
SELECT seal AS kept_seal, encode(digest, 'hex') AS kept_digest FROM eventstore.seals ORDER BY seal DESC LIMIT 1 \gset

-- 6. Customer 1001 asks to be forgotten. One call, and a line for whoever asks later why. Snapshots of her streams go, too, whatever is in them.
SELECT es_erase_subject('customer-1001', 'request 4711, by letter');
SELECT subject, erased_by = current_user AS by_me, reason FROM eventstore.erasures;

-- Her name is in none of the places where it was: events, read table, state, and dumps and replicas from now on.
SELECT stream, es_reveal(data) FROM eventstore.events WHERE stream <> 'order-2' ORDER BY position;
TABLE customers_in_clear ORDER BY customer;
SELECT version, es_reveal(state) FROM es_load('customer-1001');
-- The events are there, and what is counted is what it was.
SELECT data->>'customer' AS customer, sum((data->>'total')::numeric) AS bought FROM es_read_category('order') GROUP BY 1 ORDER BY 1;

-- 7. A form that was sent late, a retry, an import: nothing about her comes in again.
SELECT es_append('customer-1001', 1, 'Moved', jsonb_build_object('to', es_protect('customer-1001', '"Number Street 3, Turin"')));
SELECT count(*) FROM es_read('customer-1001');

-- 8. The support blanks what it should not have written down. The event stays where it is, and so does the record of it.
SELECT es_append('order-1', 1, 'Noted', '{"note": "told us about her illness", "by": "support"}');
SELECT es_seal() = es_head() AS sealed;
SELECT es_redact(id, 'no business of ours', '{note}') FROM es_last_event('order-1');
SELECT data FROM es_last_event('order-1');

-- 9. The auditor comes. The digest is the one that was kept, and history is what was sealed: an erasure changes no event, a redaction is accounted for. What
-- remains to be compared with orders that were given is these two lists.
CREATE ROLE auditor;
SELECT es_grant('auditor', 'admin');
SET ROLE auditor;
SELECT encode(digest, 'hex') = :'kept_digest' AS is_what_was_kept FROM eventstore.seals WHERE seal = :kept_seal;
SELECT * FROM es_verify_seals();
SELECT * FROM es_verify();
SELECT stream, version, keys, reason FROM eventstore.redactions ORDER BY position;
SELECT subject, reason FROM eventstore.erasures ORDER BY subject;
RESET ROLE;

-- Had somebody with the rights of a superuser changed an amount, it would be known which.
BEGIN;
ALTER TABLE eventstore.events DISABLE TRIGGER ALL;
UPDATE eventstore.events SET data = jsonb_set(data, '{total}', '9.90') WHERE stream = 'order-2' AND version = 1;
SET ROLE auditor;
SELECT regexp_replace(detail, '\d+', 'N', 'g') AS detail FROM es_verify_seals();
RESET ROLE;
ROLLBACK;

-- 10. Shops of others are tenants: the name in braces. Each has a role of its own, which sees its own.
SELECT es_append('order-{acme}-1', 0, 'Placed', jsonb_build_object('total', 5, 'ship_to', es_protect('customer-{acme}-1', '"Babbage Lane 1, Paris"'))),
       es_append('order-{acme}-1', 1, 'Paid', '{"total": 5}'), es_append('order-{zeta}-1', 0, 'Placed', '{"total": 6}'), es_append('stock-{acme}-7', 0, 'Counted', '{"pieces": 3}');
CREATE ROLE acme;
SELECT es_grant('acme', 'read', tenant => 'acme'), es_grant('acme', 'reveal', tenant => 'acme');

-- A tenant takes his events along: as JSON, an event a line, and in clear, as the keys stay here; es_reveal opens a line as it opens data. Into a file it goes by
--   \copy (SELECT es_reveal(e) FROM es_export() e) TO 'acme.copy'
-- and es_import stores it elsewhere, with streams, versions, ids and times (docs/migrate.md).
SET ROLE acme;
SELECT es_reveal(e) - '{id,position,recorded_at,metadata,tags}'::text[] AS event FROM es_export() e;
RESET ROLE;

-- The tenant's end: his keys are destroyed, his streams end for good, and his role goes. Whoever shares the store sees nothing of it.
SELECT es_erase_subject(subject, 'contract ended') FROM (SELECT DISTINCT subject FROM eventstore.subject_keys WHERE es_tenant(subject) = 'acme') s;
SELECT stream, es_delete_stream(stream, version, tombstone => true) FROM eventstore.streams WHERE es_tenant(stream) = 'acme' ORDER BY stream;
DROP OWNED BY acme;
DROP ROLE acme;
SELECT count(*) FROM es_export(tenant => 'acme');
SELECT es_append('order-{acme}-1', es_any(), 'Placed', '{}');
SELECT count(*) FROM es_export(tenant => 'zeta');
SELECT es_seal() = es_head() AS sealed;
SELECT * FROM es_verify_seals();
SELECT * FROM es_verify();

DROP OWNED BY reporting, support, auditor;
DROP ROLE reporting, support, auditor;
