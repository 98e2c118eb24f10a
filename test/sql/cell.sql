-- Cells: slots, what a store takes, positions of a feed, the map.
SET client_min_messages = warning;
SET partitioned.every = 100000; -- positions of a cell are far apart
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
DROP ROLE IF EXISTS regress_es_cells, regress_es_reader, regress_es_bound;
RESET client_min_messages;
CREATE SCHEMA test_cell;
SET search_path = test_cell, public;

\set SHOW_CONTEXT never

-- A slot is for ever: a tenant's is that of its name, wherever it stands.
SELECT s, es_slot(s) FROM unnest('{a-1,a-2,a-3,a-4,a-5,acme,x,café}'::text[]) s;
SELECT es_slot('order-{acme}-7') = es_slot('acme'), es_slot('{acme}') = es_slot('acme'), es_slot('{acme}-{b}') = es_slot('acme'),
	   es_slot('{}') = es_slot('acme'), es_slot('order-{acme') = es_slot('acme');
SELECT min(n), max(n), count(*) FROM (SELECT es_slot('s-' || i) AS s, count(*) AS n FROM generate_series(1, 102400) i GROUP BY 1) c;
-- Streams of a slot are in all partitions.
SELECT count(DISTINCT es_partition('s-' || i, 16)) FROM generate_series(1, 102400) i WHERE es_slot('s-' || i) = 5;
SELECT es_slot('');
SELECT es_slot(NULL);
SELECT es_slot(repeat('x', 513));

-- An ordinary store takes all, and has no map.
SELECT es_append('a-1', 0, 'A', '{}'), es_append('a-3', 0, 'A', '{}'), es_last_position();
SELECT * FROM eventstore.cells ORDER BY cell;

-- What a cell can be
SELECT es_set_cell(NULL, 1, '{}');
SELECT es_set_cell(1, NULL, '{}');
SELECT es_set_cell(1, 1, NULL);
SELECT es_set_cell(-1, 1, '{}');
SELECT es_set_cell(1, 1024, '{}');
SELECT es_set_cell(1, -1, '{}');
SELECT es_set_cell(1, 1, '{[0,1024]}');
SELECT es_set_cell(1, 1, '{[-1,3)}');
SELECT es_set_cell(1, 1, '{(,)}');
SELECT * FROM eventstore.cells ORDER BY cell;

-- A cell: others are refused, and what is refused has done nothing.
SELECT es_set_cell(1, 7, '{[0,500],[1009,1010)}');
SELECT * FROM eventstore.cells ORDER BY cell;
SELECT es_append('a-1', 1, 'B', '{}'), es_append('a-5', 0, 'B', '{}'), es_append('a-2', -1, array['B', 'C'], array['{}', '{}']::jsonb[]), es_last_position();
\set VERBOSITY sqlstate
SELECT es_append('a-3', -1, 'B', '{}');
\set VERBOSITY default
SELECT es_append('a-3', 7, '{"type": "B"}');
SELECT es_append('a-3', -1, array['B'], array['{}']::jsonb[]);
SELECT es_append('never-{x}', -1, 'B', '{}');
SELECT * FROM es_append_streams('[{"stream": "a-1", "expected_version": -1, "events": {"type": "D"}}, {"stream": "a-3", "expected_version": -1, "events": {"type": "D"}}]');
SELECT es_append_if('a-3', '{"type": "D"}', '[{"types": ["None"]}]');
SELECT es_import('[{"stream": "a-3", "version": 2, "id": "0193c000-0000-7000-8000-000000000001", "type": "D", "data": {}, "metadata": null, "tags": null, "recorded_at": "2026-01-01T00:00:00Z"}]');
SELECT es_assert_version('a-3', 1);
SELECT es_assert_version('a-1', 2);
-- Not even an exact retry is answered: where it belongs, it is.
SELECT es_append('a-3', 0, 'A', '{}', NULL, (SELECT id FROM eventstore.events WHERE stream = 'a-3'));
SELECT stream, version, type, position % 1024 AS feed FROM eventstore.events ORDER BY position;
SELECT es_head() = max(position) AS is_settled FROM eventstore.events;
-- A name that is refused for what it is
SELECT es_append('', -1, 'B', '{}');
-- Reading and forgetting go on: the history is here.
SELECT version FROM es_read('a-3');
SELECT es_truncate_stream('a-3', 2), es_delete_stream('a-3', -1, true);
SELECT * FROM es_verify();

-- The map says who takes the others.
SELECT es_add_cell(2, 7, '{[512,1000)}', 'dbname=b');
SELECT es_add_cell(2, 8, '{[400,1000)}', 'dbname=b');
SELECT es_add_cell(2, 8, '{[512,1024]}', 'dbname=b');
SELECT es_add_cell(2, NULL, '{}', 'dbname=b');
SELECT es_add_cell(2, 8, '{[512,1000)}', 'dbname=b');
SELECT es_add_cell(2, 8, '{[512,1000)}', 'dbname=b');
SELECT * FROM eventstore.cells ORDER BY cell;
SELECT es_append('a-3', -1, 'B', '{}');
SELECT es_add_cell(2, 9, '{[501,1000)}', 'dbname=c');
SELECT es_add_cell(1, 7, '{[0,500],[1009,1010)}', 'dbname=a');
SELECT es_add_cell(1, 7, '{[0,500]}', 'dbname=a');
SELECT es_drop_cell(1);
SELECT es_drop_cell(3);
SELECT es_drop_cell(NULL);
SELECT es_set_cell(1, 9, '{[0,10)}');
SELECT es_set_cell(1, 10, '{[0,600)}');
SELECT es_set_cell(1, 7, '{[0,400)}');
SELECT * FROM eventstore.cells ORDER BY cell;
SELECT es_append('a-2', -1, 'B', '{}');

-- Another feed: positions rise. None: they go on.
SELECT es_last_position() AS last \gset
SELECT es_set_cell(1, 6, '{[0,400)}');
SELECT es_append('a-1', -1, 'E', '{}'), es_last_position() > :last, es_last_position() - :last < 1024, es_last_position() % 1024;
SELECT es_set_cell(1, 0, '{[0,400)}');
SELECT es_append('a-1', -1, 'F', '{}'), es_last_position() % 1024;
BEGIN;
SELECT es_set_cell(1, 5, '{[0,400)}');
SELECT es_append('a-1', -1, 'G', '{}'), es_last_position() % 1024;
ROLLBACK;
SELECT es_append('a-1', -1, 'H', '{}'), es_last_position() % 1024;
BEGIN;
SAVEPOINT x;
SELECT es_set_cell(1, 5, '{}');
SELECT es_append('a-1', -1, 'I', '{}');
ROLLBACK TO x;
SELECT es_append('a-1', -1, 'I', '{}'), es_last_position() % 1024;
COMMIT;
SELECT es_set_cell(4, 11, '{}');
SELECT es_append('a-1', -1, 'J', '{}');
SELECT cell, feed, slots FROM eventstore.cells ORDER BY cell;
SELECT es_unset_cell();
SELECT es_unset_cell();
SELECT cell, feed, slots FROM eventstore.cells ORDER BY cell;
SELECT es_last_position() AS last \gset
SELECT es_append('a-2', -1, 'K', '{}'), es_last_position() - :last;
SELECT es_append('a-2', -1, 'L', '{}'), es_last_position() - :last;
SELECT stream, string_agg(version || '@' || position % 1024, ' ' ORDER BY position) FROM eventstore.events GROUP BY stream ORDER BY stream;
SELECT * FROM es_verify();

-- One append in some thousand makes a mark, with a feed, too.
SELECT count(*) AS marks FROM eventstore.marks \gset
SELECT es_drop_cell(1), es_drop_cell(2);
SELECT es_set_cell(1, 3, '{[0,1024)}');
SELECT count(es_append('m-' || i % 50, -1, 'M', '{}')) FROM generate_series(1, 5000) i;
SELECT count(*) - :marks AS marks FROM eventstore.marks;
SELECT es_position_at('-infinity') < min(position) FROM eventstore.events;
SELECT bool_and(position % 1024 = 3), count(*) FROM eventstore.events WHERE category = 'm';

-- A map from another store
SELECT es_adopt_map(NULL);
SELECT es_adopt_map('[]');
SELECT es_adopt_map('{}');
SELECT es_adopt_map('[1]');
SELECT es_adopt_map('[{"cell": 1, "feed": 2}]');
SELECT es_adopt_map('[{"cell": 1, "feed": 2, "slots": "{}", "generation": 3}, {"cell": 2, "feed": 3, "slots": "{}", "generation": 4}]');
SELECT es_adopt_map('[{"cell": 1, "feed": 2, "slots": "{}"}]');
SELECT es_adopt_map('[{"cell": 1, "feed": 2, "slots": "{}", "generation": 9223372036854775807}]');
SELECT es_adopt_map('[{"cell": 1, "feed": 2, "slots": "{[0,3)}", "generation": 100}, {"cell": 2, "feed": 4, "slots": "{[2,5)}", "generation": 100}]');
SELECT es_adopt_map('[{"cell": 1, "feed": 2, "slots": "{[0,3)}", "generation": 100}, {"cell": 2, "feed": 2, "slots": "{[3,5)}", "generation": 100}]');
SELECT es_adopt_map('[{"cell": 1, "feed": 2, "slots": "{[0,3)}", "generation": 100}, {"cell": 2, "feed": 3, "slots": "{[3,5)}", "generation": 100}]');
SELECT es_adopt_map('[{"cell": 1, "feed": 2, "slots": "{[0,3)}", "generation": 1}]');
SELECT es_adopt_map('[{"cell": 1, "feed": 3, "slots": "{[0,100)}", "connection": "dbname=a", "generation": 100}, {"cell": 2, "feed": 4, "slots": "{[100,1024)}", "generation": 100}]');
SELECT * FROM eventstore.cells ORDER BY cell;
SELECT jsonb_agg(c) AS map FROM eventstore.cells c \gset
SELECT es_adopt_map(:'map');
SELECT es_adopt_map('[{"cell": 1, "feed": 3, "slots": "{[0,100)}", "generation": 100}]');
-- What this store takes is for es_set_cell to say.
SELECT es_append('a-2', -1, 'N', '{}');
SELECT es_set_cell(1, 3, '{[0,100)}');
SELECT es_append('a-2', -1, 'N', '{}');

-- Who may: an admin. The slot is no secret.
CREATE ROLE regress_es_cells;
CREATE ROLE regress_es_reader;
CREATE ROLE regress_es_bound;
SELECT es_grant('regress_es_cells', 'admin'), es_grant('regress_es_reader', 'read'), es_grant('regress_es_bound', 'append', tenant => 'acme');
SET ROLE regress_es_reader;
SELECT es_slot('a-1');
SELECT es_set_cell(1, 3, '{[0,1024)}');
SELECT es_unset_cell();
SELECT es_add_cell(3, 5, '{}', '');
SELECT es_drop_cell(2);
SELECT es_adopt_map('[]');
SELECT * FROM eventstore.cells ORDER BY cell;
SET ROLE regress_es_bound;
SELECT es_append('a-3', -1, 'O', '{}');
SELECT es_append('a-{acme}', -1, 'O', '{}');
SET ROLE regress_es_cells;
SELECT es_drop_cell(2), es_set_cell(1, 3, '{[0,1024)}'), es_add_cell(2, 5, '{}', ''), es_drop_cell(2), es_unset_cell();
SELECT * FROM eventstore.cells ORDER BY cell;
RESET ROLE;
SELECT es_revoke('regress_es_cells', 'admin'), es_revoke('regress_es_reader', 'read'), es_revoke('regress_es_bound', 'append');

-- Not in a read-only transaction
BEGIN READ ONLY;
SELECT es_slot('a-1');
SELECT es_set_cell(1, 1, '{}');
ROLLBACK;

SET client_min_messages = warning;
DROP SCHEMA test_cell CASCADE;
DROP EXTENSION eventstore CASCADE;
DROP ROLE regress_es_cells, regress_es_reader, regress_es_bound;
CREATE EXTENSION eventstore;
