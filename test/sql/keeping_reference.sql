-- Foreign keys that refer to events: what they keep is not forgotten, nor anything else of the call.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_reference;
SET search_path = test_reference, public;
\pset tuples_only on
\pset format unaligned
SELECT plan(2);

CREATE TABLE referring (id uuid REFERENCES eventstore.events (id));
SELECT es_append('referred-1', 0, ARRAY['A', 'B'], ARRAY['1', '2']::jsonb[]);
INSERT INTO referring SELECT id FROM eventstore.events WHERE stream = 'referred-1' AND version = 2;
SELECT throws_ok($$SELECT es_delete_stream('referred-1', 2)$$, '23503', NULL, 'a foreign key keeps an event');
SELECT is((SELECT array_agg(version) FROM es_read('referred-1')), '{1,2}', 'and all of the call');
SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_reference CASCADE;
