-- A minute with the store: an append, a conflict, a read, a report. `make demo` runs it on the history it has loaded.

\pset null '(null)'
\pset border 2

\echo
\echo '-- An append says where it expects the stream to be: 0 is a stream without events. The answer is the new version.'
SELECT es_append('account-42', 0, 'Opened', '{"owner": "Ada"}');
SELECT es_append('account-42', 1, '[{"type": "Deposited", "data": {"amount": 100}}, {"type": "Withdrawn", "data": {"amount": 30}}]');

\echo
\echo '-- Somebody who decided on what was true at version 1 comes too late:'
SELECT es_append('account-42', 1, 'Withdrawn', '{"amount": 80}');
\echo SQLSTATE :LAST_ERROR_SQLSTATE

\echo
\echo '-- The stream reads back:'
SELECT version, type, data, recorded_at FROM es_read('account-42');

\echo
\echo '-- Readers follow the whole store from where they stopped, and sleep until there is more:'
SELECT es_wait(after_position => es_last_position() - 1) = es_head() AS told_the_head;
SELECT stream, version, type FROM es_read_all(after_position => es_last_position() - 2);

\echo
\echo '-- eventstore.events is there for reports:'
SELECT category, type, count(*) AS events FROM eventstore.events GROUP BY category, type ORDER BY events DESC, type;
