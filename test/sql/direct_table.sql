-- Whatever makes an insertion into eventstore.events more than a row and its keys is seen to when it stands there alone, of what a table
-- in partitions cannot have: each case changes the table in one way, and appends one event and then a batch.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS eventstore;
CREATE EXTENSION eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_direct;
SET search_path = test_direct, public;

CREATE TABLE log (line text);
CREATE SEQUENCE goods;
\i test/direct.sql
SELECT plan(8);

CREATE TRIGGER t AFTER INSERT ON eventstore.events REFERENCING NEW TABLE AS new_table FOR EACH ROW EXECUTE FUNCTION log_table();
SELECT is(logged(), 'AFTER ROW X, AFTER ROW Y+Z, AFTER ROW Y+Z', 'a transition table of rows');
DROP TRIGGER t ON eventstore.events;
ALTER TABLE eventstore.events ADD CONSTRAINT at_last UNIQUE (stream, type, tags) DEFERRABLE;
SELECT is(refused('{"type": "Unlike", "tags": ["direct", "too"]}'), 'stored 23505', 'a deferrable constraint');
BEGIN;
SET CONSTRAINTS eventstore.at_last DEFERRED;
SELECT is(refused('{"type": "Unlike", "tags": ["direct", "too"]}'), 'stored stored', 'that is deferred');
SELECT throws_ok('SET CONSTRAINTS eventstore.at_last IMMEDIATE', '23505', NULL, 'and is checked then');
ROLLBACK;
ALTER TABLE eventstore.events DROP CONSTRAINT at_last;
CREATE UNIQUE INDEX once ON eventstore.events (stream, type, tags);
SELECT is(refused('{"type": "Once", "tags": ["direct"]}'), 'stored 23505', 'a unique one');
DROP INDEX eventstore.once;
CREATE UNIQUE INDEX several ON eventstore.events (stream) WHERE type = 'B';
SELECT is(refused('{"type": "A"}'), 'stored stored', 'another type');
SELECT is(refused('{"type": "B"}'), 'stored 23505', 'a unique index of some events');
DROP INDEX eventstore.several;
ALTER TABLE eventstore.events ADD CONSTRAINT unlike EXCLUDE USING btree (stream WITH =, type WITH =, tags WITH =);
SELECT is(refused('{"type": "Unlike", "tags": ["direct"]}'), 'stored 23P01', 'an exclusion constraint');
ALTER TABLE eventstore.events DROP CONSTRAINT unlike;

SELECT finish();
SET client_min_messages = warning;
DROP SCHEMA test_direct CASCADE;
DROP EXTENSION eventstore;
