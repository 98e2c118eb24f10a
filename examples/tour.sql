-- A minute with the store: an append, a conflict, a read, a consumer, a read table, a report. `make demo` runs it on the history it has loaded.

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
\echo '-- A subscription: consumers share its partitions. Fetch, effect and acknowledgement in one transaction are exactly once:'
SELECT es_create_subscription('mailer', category => 'account', partitions => 10);
WITH batch AS MATERIALIZED (SELECT * FROM es_fetch('mailer', consumer => 'replica-1', max_count => 2)),
	 acked AS (SELECT es_ack('mailer', max(token), max(position)) FROM batch)
SELECT stream, version, type, partition, attempt FROM batch, acked;

\echo
\echo '-- A projection: declared as a query over all events, kept right by every append:'
SELECT es_create_projection('balances', $$
	SELECT stream AS account, sum(CASE type WHEN 'Deposited' THEN 1 ELSE -1 END * (data ->> 'amount')::numeric) AS balance
	FROM events GROUP BY stream $$, categories => '{account}', types => '{Deposited,Withdrawn}');
SELECT es_append('account-42', 3, 'Deposited', '{"amount": 5}');
SELECT * FROM balances;

\echo
\echo '-- eventstore.events is there for reports:'
SELECT category, type, count(*) AS events FROM eventstore.events GROUP BY category, type ORDER BY events DESC, type;
