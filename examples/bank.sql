-- A bank: accounts are streams, a transfer is two of them in one transaction, balances are a read table that PostgreSQL keeps.
--
-- Run it in an empty database:  psql -X -a -f examples/bank.sql

CREATE EXTENSION eventstore;
\set SHOW_CONTEXT never

-- 1. The read side first: balance and number of transactions of each account, right at every commit.
SELECT es_create_projection('balances', $$
	SELECT stream AS account,
	       sum(CASE WHEN type IN ('Deposited', 'TransferReceived') THEN (data ->> 'amount')::numeric
	                ELSE -(data ->> 'amount')::numeric END) AS balance,
	       count(*) AS transactions
	FROM events
	WHERE type <> 'Opened'
	GROUP BY stream
$$, categories => '{account}');

-- 2. Accounts are opened; money comes in.
SELECT es_append('account-ada', es_no_stream(), 'Opened', '{"owner": "Ada"}'), es_append('account-bob', es_no_stream(), 'Opened', '{"owner": "Bob"}');
SELECT es_append('account-ada', 1, 'Deposited', '{"amount": 100}'), es_append('account-bob', 1, 'Deposited', '{"amount": 20}');
TABLE balances ORDER BY account;

-- 3. A transfer: read, decide, append to both streams, all or nothing. The expected versions say what was decided on: if either account
-- moves in between, nothing is stored. The caller gives the transfer an id, so that to repeat it does no harm.
CREATE FUNCTION transfer(id uuid, sender text, receiver text, amount numeric, sender_version bigint, receiver_version bigint)
	RETURNS TABLE (account text, version bigint) LANGUAGE plpgsql AS
$$
BEGIN
	IF amount > (SELECT b.balance FROM balances b WHERE b.account = sender)
		AND NOT EXISTS (SELECT FROM eventstore.events e WHERE e.id = transfer.id) THEN
		RAISE EXCEPTION 'account "%" has not enough money', sender;
	END IF;
	RETURN QUERY SELECT s.stream, s.version FROM es_append_streams(jsonb_build_array(
		jsonb_build_object('stream', sender, 'expected_version', sender_version, 'events',
			jsonb_build_object('type', 'TransferSent', 'id', id, 'data', jsonb_build_object('to', receiver, 'amount', amount))),
		jsonb_build_object('stream', receiver, 'expected_version', receiver_version, 'events',
			jsonb_build_object('type', 'TransferReceived', 'id', md5(id::text)::uuid, 'data', jsonb_build_object('from', sender, 'amount', amount))))) s;
END
$$;

SELECT * FROM transfer('0192f0c1-0000-7000-8000-000000000001', 'account-ada', 'account-bob', 30, 2, 2);
TABLE balances ORDER BY account;

-- 4. The network lost the answer, and the client repeats the call: it gets the same answer, and nothing is booked twice.
SELECT * FROM transfer('0192f0c1-0000-7000-8000-000000000001', 'account-ada', 'account-bob', 30, 2, 2);
TABLE balances ORDER BY account;

-- 5. Somebody who decided on what was true before comes too late; one who has not the money is refused. Neither leaves anything behind.
SELECT * FROM transfer('0192f0c1-0000-7000-8000-000000000002', 'account-ada', 'account-bob', 60, 2, 2);
\echo SQLSTATE :LAST_ERROR_SQLSTATE
SELECT * FROM transfer('0192f0c1-0000-7000-8000-000000000002', 'account-ada', 'account-bob', 71, 3, 3);
TABLE balances ORDER BY account;
SELECT count(*) AS events FROM eventstore.events;

-- 6. The end of the day.
SELECT pg_sleep(0.01), clock_timestamp() AS end_of_day, pg_sleep(0.01) \gset
SELECT * FROM transfer('0192f0c1-0000-7000-8000-000000000003', 'account-ada', 'account-bob', 70, 3, 3);
SELECT es_append('account-bob', 4, 'Withdrawn', '{"amount": 5}');
TABLE balances ORDER BY account;

-- 7. What was the balance at the end of the day? Of one account, folded from its events by a function:
CREATE FUNCTION book(balance jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE
	RETURN to_jsonb(balance::numeric + CASE
		WHEN event.type IN ('Deposited', 'TransferReceived') THEN (event.data ->> 'amount')::numeric
		WHEN event.type IN ('Withdrawn', 'TransferSent') THEN -(event.data ->> 'amount')::numeric
		ELSE 0 END);
SELECT es_fold('account-bob', 'book(jsonb, eventstore.event)', '0', at => :'end_of_day') AS at_the_end_of_the_day,
	   es_fold('account-bob', 'book(jsonb, eventstore.event)', '0') AS now;
-- and of all of them, the whole read table as it was:
SELECT es_projection_as_of('balances', 'balances_at_the_end_of_day', at => :'end_of_day') AS events_applied;
TABLE balances_at_the_end_of_day ORDER BY account;

-- 8. How many transactions? In the read table, and from the events:
SELECT account, transactions FROM balances ORDER BY account;
SELECT type, count(*), sum((data ->> 'amount')::numeric) AS amount FROM eventstore.events WHERE category = 'account' GROUP BY type ORDER BY type;

-- 9. Bob complains: "That is not my balance." Somebody with the right to it has written to the read table, which nobody should.
UPDATE balances SET balance = balance - 50 WHERE account = 'account-bob';
SELECT account, balance FROM balances WHERE account = 'account-bob';
-- The events cannot have been changed, not even by a superuser:
UPDATE eventstore.events SET data = '{"amount": 1}' WHERE stream = 'account-bob';
\echo SQLSTATE :LAST_ERROR_SQLSTATE
-- Bob's statement of account, played back from them:
SELECT version, type, data ->> 'amount' AS amount,
	   sum(CASE WHEN type IN ('Deposited', 'TransferReceived') THEN 1 WHEN type = 'Opened' THEN 0 ELSE -1 END * (data ->> 'amount')::numeric) OVER (ORDER BY version) AS balance
FROM es_read('account-bob');
-- What differs, and the remedy: the table is computed anew, while appends and reads go on.
SELECT kind, key, stored ->> 'balance' AS stored, expected ->> 'balance' AS expected FROM es_verify_projection('balances');
SELECT es_rebuild_projection('balances') AS events_applied;
SELECT * FROM es_verify_projection('balances');
TABLE balances ORDER BY account;

-- And no money was made or lost by transfers: what is there is what was paid in, less what was paid out.
SELECT (SELECT sum(balance) FROM balances) AS balances,
	   (SELECT sum(CASE type WHEN 'Deposited' THEN 1 ELSE -1 END * (data ->> 'amount')::numeric) FROM eventstore.events WHERE type IN ('Deposited', 'Withdrawn')) AS paid_in;
