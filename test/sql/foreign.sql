-- Events that are stored without an append, and a sequence that others write: positions go on above every event, or appends are refused.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
DROP ROLE IF EXISTS regress_es_repairer, regress_es_appender;
RESET client_min_messages;
-- As a restore does
SET eventstore.restoring = on;
CREATE SCHEMA test_foreign;
SET search_path = test_foreign, public;

-- A row as others would write it
CREATE FUNCTION put(at bigint, stream text, version bigint) RETURNS void LANGUAGE sql AS
$$
	INSERT INTO eventstore.events VALUES (at, stream, split_part(stream, '-', 1), version, gen_random_uuid(), 'Foreign', '{}', NULL, NULL, now());
	INSERT INTO eventstore.streams VALUES (stream, version, now()) ON CONFLICT ON CONSTRAINT streams_pkey DO UPDATE SET version = excluded.version;
$$;
CREATE VIEW positions AS SELECT es_head() AS head, (SELECT string_agg(position::text, ' ' ORDER BY position) FROM es_read_all()) AS read;

-- A new store has nothing to repair, and a dump of it can be restored.
SELECT es_repair_positions();
SELECT last_value, is_called FROM eventstore.positions;
BEGIN;
SELECT put(1, 'z-1', 1);
SELECT last_value, is_called FROM eventstore.positions;
ROLLBACK;
SELECT es_append('a-1', 0, 'A', '{}'), es_last_position();
SELECT es_append('a-1', 1, '[{"type": "B"}, {"type": "C"}]'), es_last_position();
SELECT es_repair_positions();
TABLE positions;

-- The sequence set back, by whatever way: the session that has appended before is refused like any other, readers go on.
\set append 'SELECT es_append(''a-1'', -1, ''D'', ''{}''), es_last_position();'
SELECT setval('eventstore.positions', 1);
:append
TABLE positions;
SELECT es_repair_positions();
:append
ALTER SEQUENCE eventstore.positions RESTART;
:append
TABLE positions;
SELECT es_repair_positions();
:append
TABLE positions;

-- What puts it on does no harm, nor what leaves it where it is.
SELECT nextval('eventstore.positions');
:append
SELECT setval('eventstore.positions', 20);
:append
SELECT setval('eventstore.positions', 21, true);
:append
ALTER SEQUENCE eventstore.positions INCREMENT 1 CACHE 1;
:append
TABLE positions;

-- Events by INSERT and COPY, above and below
SELECT put(25, 'b-1', 1);
:append
TABLE positions;
BEGIN;
SELECT put(30, 'b-1', 2);
:append
ROLLBACK;
SELECT es_repair_positions();
:append
-- A transaction's own do not count before it commits: a head that it hands on must hold for others.
BEGIN;
SELECT put(40, 'b-1', 2);
TABLE positions;
ROLLBACK;
:append
COPY eventstore.events FROM STDIN;
50	c-1	c	1	00000000-0000-0000-0000-000000000001	Foreign	{}	\N	\N	2020-01-01 00:00:00+00
48	c-2	c	1	00000000-0000-0000-0000-000000000002	Foreign	{}	\N	\N	2020-01-01 00:00:00+00
\.
:append
TABLE positions;
SELECT es_repair_positions();
:append
SELECT put(49, 'c-3', 1);
:append

-- As logical replication writes. Where the trigger is switched off, sessions hear of that, and look.
SET session_replication_role = replica;
SELECT put(60, 'd-1', 1);
RESET session_replication_role;
:append
SELECT es_repair_positions();
:append
ALTER TABLE eventstore.events DISABLE TRIGGER foreign_events_are_noted;
SELECT put(70, 'd-2', 1);
ALTER TABLE eventstore.events ENABLE ALWAYS TRIGGER foreign_events_are_noted;
:append
SELECT es_repair_positions();
:append

-- In the transaction that appends
BEGIN;
SELECT es_append('e-1', 0, 'A', '{}'), es_last_position();
SELECT put(80, 'e-2', 1);
SAVEPOINT s;
:append
ROLLBACK TO s;
SELECT es_repair_positions();
:append
COMMIT;
TABLE positions;

-- Who has read further than the last event would not see what comes below: a subscription, a projection, who was told a head.
SELECT es_create_subscription('reads', 'f', partitions => 1);
SELECT es_create_projection('runs', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async');
BEGIN;
SELECT es_append('f-1', 0, '[{"type": "A"}, {"type": "B"}, {"type": "C"}, {"type": "D"}, {"type": "E"}]') FROM generate_series(1, 1);
ROLLBACK;
SELECT count(*) FROM es_fetch('reads', 'c');
SELECT es_run_projection('runs'), es_head();
SELECT setval('eventstore.positions', max(position)) FROM eventstore.events;
:append
SELECT es_repair_positions();
:append
SELECT es_drop_projection('runs', true);
-- One that begins nowhere does not count.
SELECT es_append('far-1', 0, 'A', '{}') > 0;
UPDATE eventstore.subscription_shares SET checkpoint = 9000000000000000000, scanned = 9000000000000000000;
SELECT nextval('eventstore.positions') < 1000, es_repair_positions() < 1000;
SELECT es_drop_subscription('reads');

-- An inline projection is applied once to every event, though it is paused where the sequence is behind.
SELECT es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category');
SELECT setval('eventstore.positions', 1);
SELECT es_pause_projection('counts'), es_resume_projection('counts');
SELECT count(*) FROM es_verify_projection('counts');
SELECT es_repair_positions() = max(position) FROM eventstore.events;
:append
SELECT count(*) FROM es_verify_projection('counts');
SELECT position = es_last_position() FROM es_read_all(backward => true) LIMIT 1;
SELECT es_drop_projection('counts', true);

-- Above a position of one's own
SELECT es_repair_positions(above => 1000), es_repair_positions(above => 10), es_repair_positions(1001);
:append
SELECT es_repair_positions(NULL);
SELECT es_repair_positions(-1);
SELECT es_repair_positions(9223372036854775807);
BEGIN READ ONLY;
SELECT es_repair_positions();
ROLLBACK;

-- Admins may; who may, need not be able to read or write any table.
CREATE ROLE regress_es_repairer;
CREATE ROLE regress_es_appender;
SELECT es_grant('regress_es_repairer', 'admin'), es_grant('regress_es_appender', 'append');
GRANT USAGE ON SCHEMA test_foreign TO PUBLIC;
SELECT setval('eventstore.positions', 1);
SET ROLE regress_es_appender;
SELECT es_repair_positions();
:append
SET ROLE regress_es_repairer;
SELECT es_repair_positions();
RESET ROLE;
:append

-- At every isolation level
SELECT setval('eventstore.positions', 1);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT es_head(), count(*) FROM es_read_all();
:append
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT es_head() = max(position) FROM es_read_all();
SELECT es_repair_positions();
:append
COMMIT;

SET client_min_messages = warning;
SELECT es_revoke('regress_es_repairer', 'admin'), es_revoke('regress_es_appender', 'append');
DROP SCHEMA test_foreign CASCADE;
DROP EXTENSION eventstore CASCADE;
DROP ROLE regress_es_repairer, regress_es_appender;
CREATE EXTENSION eventstore;
