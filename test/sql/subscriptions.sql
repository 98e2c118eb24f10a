-- Subscriptions: every rule of es_fetch, es_ack, es_nack, es_release and of the verbs that manage.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_subscriptions;
SET search_path = test_subscriptions, public;

-- What was delivered, to speak of events by stream and version: 'a-1/3'
CREATE TABLE deliveries (nr int GENERATED ALWAYS AS IDENTITY, subscription text, consumer text, token bigint, event text, position bigint);
-- Fetches, and returns events as stream/version:attempt; '-': nothing.
CREATE FUNCTION fetched(subscription text, consumer text, max_count int DEFAULT 100, wait interval DEFAULT '0') RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
BEGIN
	WITH f AS MATERIALIZED (SELECT * FROM es_fetch(subscription, consumer, max_count, wait)),
	i AS (INSERT INTO test_subscriptions.deliveries (subscription, consumer, token, event, position)
		  SELECT fetched.subscription, fetched.consumer, f.token, f.stream || '/' || f.version, f.position FROM f)
	SELECT string_agg(f.stream || '/' || f.version || ':' || f.attempt, ' ' ORDER BY f.position) INTO result FROM f;
	RETURN coalesce(result, '-');
END
$$;
CREATE FUNCTION last_token(subscription text, consumer text) RETURNS bigint LANGUAGE sql AS
	'SELECT max(token) FROM test_subscriptions.deliveries d WHERE d.subscription = $1 AND d.consumer = $2';
CREATE FUNCTION position_of(event text) RETURNS bigint LANGUAGE sql AS
	$$SELECT position FROM eventstore.events WHERE stream = split_part(event, '/', 1) AND version = split_part(event, '/', 2)::bigint$$;
-- 'ok', or SQLSTATE and DETAIL
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	detail text;
BEGIN
	EXECUTE call;
	RETURN 'ok';
EXCEPTION
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		RETURN rtrim(SQLSTATE || ' ' || regexp_replace(detail, '\d+', 'N', 'g'));
END
$$;
-- Acknowledge up to an event, or all of the last delivery.
CREATE FUNCTION acked(subscription text, consumer text, event text DEFAULT NULL) RETURNS text LANGUAGE sql AS
$$
	SELECT attempt(format('SELECT es_ack(%L, %L, %L)', subscription, last_token(subscription, consumer),
						  coalesce(position_of(event), (SELECT max(position) FROM deliveries d WHERE d.token = last_token($1, $2)))))
$$;
CREATE FUNCTION nacked(subscription text, consumer text, event text, action text DEFAULT 'retry', delay interval DEFAULT '0') RETURNS text LANGUAGE sql AS
	$$SELECT attempt(format('SELECT es_nack(%L, %L, %L, %L, %L, %L)', subscription, last_token(subscription, consumer), position_of(event), 'because', action, delay))$$;
-- Counts of partitions by consumer: 'c1=4 c2=3 c3=3'
CREATE FUNCTION shares(subscription text) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(coalesce(consumer, 'nobody') || '=' || count, ' ' ORDER BY consumer) FROM (SELECT consumer, count(*) FROM eventstore.subscription_status WHERE name = $1 GROUP BY consumer) s$$;
-- The same without names
CREATE FUNCTION counts(subscription text) RETURNS text LANGUAGE sql AS
	$$SELECT array_agg(count ORDER BY count)::text FROM (SELECT count(*) FROM eventstore.subscription_status WHERE name = $1 GROUP BY consumer) s$$;
-- Checkpoint of an event's partition, as the last event of the store at or below it that the stream has; 0: none
CREATE FUNCTION checkpoint_of(subscription text, of_stream text) RETURNS bigint LANGUAGE sql AS
$$
	SELECT coalesce(max(e.version), 0) FROM eventstore.subscription_status s, eventstore.events e, eventstore.subscriptions d
	WHERE s.name = $1 AND d.name = $1 AND s.partition = es_partition($2, d.partitions) AND e.stream = $2 AND e.position <= s.checkpoint
$$;
CREATE FUNCTION fill(VARIADIC streams text[]) RETURNS void LANGUAGE sql AS $$SELECT es_append(s, -1, 'T', '{}') FROM unnest(streams) s$$;
CREATE FUNCTION parked_of(subscription text) RETURNS text LANGUAGE sql AS
	$$SELECT coalesce(string_agg(stream || '/' || version || ':' || attempts || ' ' || reason, ', ' ORDER BY position), '-') FROM eventstore.parked p WHERE p.subscription = $1$$;

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

-- Partitions: fixed for ever, on every machine
SELECT results_eq($$SELECT es_partition(s, 64), es_partition(s, 10), es_partition(s, 1), es_partition(s, 2147483647)
					FROM unnest(ARRAY['a', 'account-42', 'user-7c9e6679-7425-40de-944b-e07fc1f90ae7', 'ünïcode-☃', repeat('x', 512)]) WITH ORDINALITY u (s, n) ORDER BY n$$,
				  $$VALUES (27, 5, 0, 788799758), (31, 3, 0, 132393424), (6, 4, 0, 226037691), (43, 3, 0, 452407478), (42, 2, 0, 1353305563)$$, 'by the bytes of the name')
WHERE getdatabaseencoding() = 'UTF8';
SELECT is((SELECT count(*) FROM (SELECT es_partition('p-' || i, 64) p, count(*) c FROM generate_series(1, 64000) i GROUP BY 1) x WHERE c BETWEEN 800 AND 1200), 64::bigint, 'streams spread evenly over partitions');

-- Delivery, acknowledgement
SELECT fill('one-a', 'one-b', 'one-a', 'one-b', 'one-a', 'other-1');
SELECT es_create_subscription('one', 'one');
SELECT is(fetched('one', 'c', 3), 'one-a/1:1 one-b/1:1 one-a/2:1', 'the first events, in order of position');
SELECT is((SELECT count(DISTINCT token) FROM deliveries WHERE subscription = 'one'), 1::bigint, 'one token a fetch');
SELECT is((SELECT array_agg(f.partition) FROM es_fetch('one', 'c', 1) f), ARRAY[es_partition('one-a', 64)], 'with the partition of the stream');
SELECT is(acked('one', 'c'), 'SE005 A later delivery, a release or a change of the subscription has replaced it.', 'fetched again: the older token is refused');
SELECT is(fetched('one', 'c', 3), 'one-a/1:3 one-b/1:2 one-a/2:2', 'what was not acknowledged comes again, each with its own attempt');
SELECT is(acked('one', 'c', 'one-b/1'), 'ok', 'acknowledge up to an event');
SELECT is(acked('one', 'c', 'one-a/1'), 'ok', 'what is acknowledged already: nothing happens');
SELECT is(attempt(format('SELECT es_ack(''one'', %s, 0)', last_token('one', 'c'))), 'ok', 'the same for position 0');
SELECT is(attempt(format('SELECT es_ack(''one'', %s, %s)', last_token('one', 'c'), position_of('one-b/2'))), '22023 The last position delivered under it is N.', 'beyond what was delivered');
SELECT is(fetched('one', 'c'), 'one-a/2:3 one-b/2:1 one-a/3:1', 'after the checkpoint');
SELECT is(checkpoint_of('one', 'one-b'), 1::bigint, 'the checkpoint is where all is acknowledged');
SELECT is((SELECT sum(lag_events) FROM eventstore.subscription_status WHERE name = 'one'), 3::numeric, 'lag in events');
SELECT ok((SELECT bool_and(lag_seconds > 0) FROM eventstore.subscription_status WHERE name = 'one' AND lag_events > 0), 'lag in seconds');
SELECT is(acked('one', 'c'), 'ok', 'acknowledge all');
SELECT is(fetched('one', 'c'), '-', 'then there is nothing');
SELECT is((SELECT min(checkpoint) FROM eventstore.subscription_status WHERE name = 'one'), es_head(), 'all partitions are at the head, beyond events of other categories');
SELECT is((SELECT sum(lag_events)::text || sum(lag_seconds) FROM eventstore.subscription_status WHERE name = 'one'), '00', 'no lag');
SELECT is(acked('one', 'c'), 'ok', 'the token is still good');
SELECT is(attempt('SELECT es_ack(''one'', 0, 0)'), 'SE005 A later delivery, a release or a change of the subscription has replaced it.', 'no token is 0');
SELECT is(fetched('one', 'c', 0), '-', 'max_count 0: no rows');
SELECT fill('one-a');
SELECT is(fetched('one', 'c', 0), '-', 'max_count 0: no rows though there are some');
SELECT is(fetched('one', 'c'), 'one-a/4:1', 'which does not count as an attempt');
SELECT is(fetched('one', 'c', 0), '-', 'max_count 0 again');
SELECT is(acked('one', 'c'), 'ok', 'leaves what is outstanding alone');

-- A crash may take the sequence back behind what an open transaction was given: who had that is not let in.
SELECT es_create_subscription('crash', 'one');
SELECT last_value AS before FROM eventstore.subscription_tokens \gset
BEGIN;
SELECT max(token) AS old FROM es_fetch('crash', 'c') \gset
ROLLBACK;
SELECT setval('eventstore.subscription_tokens', :before) = :before;
SELECT max(token) AS new, max(position) AS last FROM es_fetch('crash', 'd') \gset
SELECT isnt(:new::bigint, :old::bigint, 'the same number makes another token');
SELECT is(left(attempt(format('SELECT es_ack(''crash'', %s, %s)', :old, :last)), 5), 'SE005', 'and the old one is refused');
SELECT es_drop_subscription('crash');

-- Filters
SELECT es_append('flt-1', 0, ARRAY['A', 'B', 'C', 'A', 'B'], '{1,2,3,4,5}'::jsonb[]);
SELECT es_create_subscription('types', types => '{A,C}', after_position => position_of('flt-1/1') - 1);
SELECT is(fetched('types', 'c'), 'flt-1/1:1 flt-1/3:1 flt-1/4:1', 'types');
SELECT is(acked('types', 'c'), 'ok', 'acknowledged');
SELECT is((SELECT min(checkpoint) FROM eventstore.subscription_status WHERE name = 'types'), es_head(), 'the checkpoint is beyond what does not match');
SELECT es_create_subscription('both', 'flt', '[3:3]={B}'::text[]);
SELECT is(fetched('both', 'c', 1), 'flt-1/2:1', 'category and types');
SELECT is(acked('both', 'c'), 'ok', 'acknowledged');
SELECT is(fetched('both', 'c'), 'flt-1/5:1', 'and the next');
SELECT es_create_subscription('late', after_position => -1);
SELECT is(fetched('late', 'c'), '-', 'from the head on');
SELECT fill('late-1');
SELECT is(fetched('late', 'c'), 'late-1/1:1', 'only what comes');
SELECT es_create_subscription('never', 'never');
SELECT fetched('never', 'c');
SELECT is((SELECT min(checkpoint) FROM eventstore.subscription_status WHERE name = 'never'), es_head(), 'a filter that matches nothing moves the checkpoint');

-- Shares
SELECT es_create_subscription('share', 'share', partitions => 10, lease => '1 s');
SELECT is(shares('share'), 'nobody=10', 'nobody has any');
SELECT fetched('share', c) FROM unnest('{c1,c2,c3}'::text[]) c;
SELECT fetched('share', c) FROM unnest('{c1,c2,c3}'::text[]) c;
SELECT is(counts('share'), '{3,3,4}', '10 partitions, 3 consumers');
SELECT is((SELECT count(*) FROM eventstore.subscription_status WHERE name = 'share' AND consumer = 'c2'), es_release('share', 'c2')::bigint, 'release tells how many');
SELECT is(shares('share') ~ '^c1=\d c3=\d nobody=[34]$', true, 'which are free at once');
SELECT is(es_release('share', 'c2'), 0, 'none are left');
SELECT fetched('share', c) FROM unnest('{c3,c1}'::text[]) c;
SELECT is(shares('share'), 'c1=5 c3=5', 'others take them');
SELECT fetched('share', 'c' || i) FROM generate_series(1, 12) i;
SELECT fetched('share', 'c' || i) FROM generate_series(1, 12) i;
SELECT is((SELECT array_agg(DISTINCT count) FROM (SELECT count(*) FROM eventstore.subscription_status WHERE name = 'share' GROUP BY consumer) s), '{1}'::bigint[], 'twelve consumers: one each, two have none');
SELECT is((SELECT count(DISTINCT consumer) FROM eventstore.subscription_status WHERE name = 'share'), 10::bigint, 'ten of them');
SELECT pg_sleep(1.1);
SELECT fetched('share', 'c' || i) FROM generate_series(1, 2) i;
SELECT fetched('share', 'c' || i) FROM generate_series(1, 2) i;
SELECT is(shares('share'), 'c1=5 c2=5', 'leases have ended: two are left');

-- A busy consumer keeps what it works on, until it fetches again or has acknowledged.
SELECT es_create_subscription('busy', 'busy', partitions => 4);
SELECT fill('busy-1', 'busy-2', 'busy-3', 'busy-4', 'busy-5', 'busy-6');
SELECT is(fetched('busy', 'c1', 3), 'busy-1/1:1 busy-2/1:1 busy-3/1:1', 'one consumer has all');
SELECT is(fetched('busy', 'c2'), '-', 'a new one gets none of what is worked on');
SELECT is(shares('busy'), 'c1=4', 'and no partition');
SELECT is(acked('busy', 'c1'), 'ok', 'acknowledged');
SELECT isnt(fetched('busy', 'c2'), '-', 'now it does');
SELECT is(shares('busy'), 'c1=2 c2=2', 'even shares');
SELECT isnt(fetched('busy', 'c1'), '-', 'the first one goes on with its own');
SELECT is((SELECT string_agg(event, ' ' ORDER BY position) FROM deliveries WHERE subscription = 'busy'), 'busy-1/1 busy-2/1 busy-3/1 busy-4/1 busy-5/1 busy-6/1', 'each event once');
SELECT is(acked('busy', c), 'ok', 'acknowledged by ' || c) FROM unnest('{c1,c2}'::text[]) c;
-- One that fetches again without having acknowledged gives away what is too much.
SELECT es_reset_subscription('busy', 0);
SELECT fetched('busy', 'c1');
SELECT fetched('busy', 'c2');
SELECT isnt(fetched('busy', 'c1'), 'busy-1/1:2 busy-2/1:2 busy-3/1:2 busy-4/1:2 busy-5/1:2 busy-6/1:2', 'fetched again: only its own share');
SELECT ok(fetched('busy', 'c2') ~ '^(busy-\d/1:2 ?)+$', 'the rest comes to the other, as a second attempt');
SELECT is(shares('busy'), 'c1=2 c2=2', 'even shares');

-- A lease that has ended
SELECT es_create_subscription('lease', 'lease', partitions => 3, lease => '300 ms');
SELECT fill('lease-1', 'lease-2');
SELECT is(fetched('lease', 'c1'), 'lease-1/1:1 lease-2/1:1', 'delivered');
SELECT is(fetched('lease', 'c2'), '-', 'the lease lasts');
SELECT pg_sleep(0.4);
SELECT is(acked('lease', 'c1', 'lease-1/1'), 'ok', 'nobody has taken over: an ack after the end of the lease counts');
SELECT is(fetched('lease', 'c2'), '-', 'and renews it');
SELECT pg_sleep(0.4);
SELECT is(fetched('lease', 'c2'), 'lease-2/1:2', 'the lease has ended: taken over');
SELECT is(acked('lease', 'c1'), 'SE005 Consumer "cN" has what was delivered under it.', 'the token is refused, and who has it is told');
SELECT is(nacked('lease', 'c1', 'lease-2/1'), 'SE005 Consumer "cN" has what was delivered under it.', 'the same for a nack');
SELECT is(fetched('lease', 'c1'), '-', 'the one that was replaced comes back, and gets nothing of it');
SELECT is(acked('lease', 'c2'), 'ok', 'the new one acknowledges');
SELECT is(fetched('lease', 'c2'), '-', 'nothing is left');
SELECT is(fetched('lease', 'c1'), '-', 'nothing is left');
SELECT is((SELECT sum(lag_events) FROM eventstore.subscription_status WHERE name = 'lease'), 0::numeric, 'all is done');
-- Released while it works
SELECT fill('lease-1', 'lease-2');
SELECT es_release('lease', c) FROM unnest('{c1,c2}'::text[]) c;
SELECT is(fetched('lease', 'c1'), 'lease-1/2:1 lease-2/2:1', 'delivered');
SELECT is(es_release('lease', 'c1'), 3, 'released');
SELECT is(left(acked('lease', 'c1'), 5), 'SE005', 'its token is refused');
SELECT is(fetched('lease', 'c2'), 'lease-1/2:1 lease-2/2:1', 'another gets all of it again: it was no attempt');
-- A consumer without a name is the session.
SELECT es_release('lease', 'c2');
SELECT isnt_empty('SELECT es_fetch(''lease'')', 'fetched without a name');
SELECT is((SELECT count(DISTINCT consumer) FROM eventstore.subscription_status WHERE name = 'lease' AND consumer LIKE 'session %.' || to_hex(pg_backend_pid())), 1::bigint, 'its name tells the process');
SELECT is(es_release('lease'), 3, 'released without a name');

-- Retries
SELECT es_create_subscription('retry', 'redo', partitions => 2, max_retries => 2);
SELECT fill('redo-1', 'redo-2', 'redo-1', 'redo-2', 'redo-1');
SELECT is(fetched('retry', 'c'), 'redo-1/1:1 redo-2/1:1 redo-1/2:1 redo-2/2:1 redo-1/3:1', 'delivered');
SELECT is(nacked('retry', 'c', 'redo-1/1', 'retry', '1 hour'), 'ok', 'the first one is to be tried again, later');
SELECT is(nacked('retry', 'c', 'redo-1/1'), '22023 It was not delivered under it, is settled already, or waits for an earlier event of its stream.', 'it is not outstanding any more');
SELECT is(nacked('retry', 'c', 'redo-1/2'), '22023 It was not delivered under it, is settled already, or waits for an earlier event of its stream.', 'nor is a later one of its stream');
SELECT is(acked('retry', 'c'), 'ok', 'the others are done');
SELECT is(fetched('retry', 'c'), '-', 'it is not due yet, and its stream waits');
SELECT is(checkpoint_of('retry', 'redo-1'), 0::bigint, 'the checkpoint waits, too');
SELECT is(checkpoint_of('retry', 'redo-2'), 2::bigint, 'others do not') WHERE es_partition('redo-1', 2) <> es_partition('redo-2', 2);
SELECT fill('redo-1', 'redo-2');
SELECT is(fetched('retry', 'c'), 'redo-2/3:1', 'new events of the stream wait; others go on');
SELECT is(acked('retry', 'c'), 'ok', 'acknowledged');
UPDATE eventstore.subscription_retries SET due = now() WHERE subscription = 'retry';
SELECT is(fetched('retry', 'c'), 'redo-1/1:2', 'due: delivered again');
SELECT is(nacked('retry', 'c', 'redo-1/1', 'retry', '200 ms'), 'ok', 'and again');
SELECT is(fetched('retry', 'c'), '-', 'not yet');
SELECT is(fetched('retry', 'c', 100, '5 s'), 'redo-1/1:3', 'a fetch that waits gets it when it is due');
SELECT is(acked('retry', 'c'), 'ok', 'done at last');
SELECT is(fetched('retry', 'c'), 'redo-1/2:2', 'then the next of the stream, which had been delivered, too');
SELECT is(acked('retry', 'c'), 'ok', 'done');
SELECT is(checkpoint_of('retry', 'redo-1'), 2::bigint, 'the checkpoint follows');
SELECT is(fetched('retry', 'c'), 'redo-1/3:2', 'the next');
SELECT is(acked('retry', 'c'), 'ok', 'done');
SELECT is(fetched('retry', 'c'), 'redo-1/4:1', 'the next, which had not been delivered');
SELECT is(acked('retry', 'c'), 'ok', 'done');
SELECT is(fetched('retry', 'c'), '-', 'nothing is left');
SELECT is((SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'retry'), 0::bigint, 'nor a row');
SELECT fill('redo-1', 'redo-1', 'redo-2');
SELECT is(fetched('retry', 'c'), 'redo-1/5:1 redo-1/6:1 redo-2/4:1', 'the stream is free');
-- Acknowledged only up to the one that is to be tried again: what follows it is held.
SELECT is(nacked('retry', 'c', 'redo-1/5'), 'ok', 'again');
SELECT is(acked('retry', 'c', 'redo-1/5'), 'ok', 'acknowledged up to it, which does not settle it');
SELECT is(fetched('retry', 'c'), 'redo-1/5:2 redo-2/4:2', 'it comes again, before later ones of its stream');
SELECT is(acked('retry', 'c', 'redo-1/5'), 'ok', 'done');
SELECT is(acked('retry', 'c'), 'ok', 'all');
SELECT is(fetched('retry', 'c'), 'redo-1/6:2', 'nothing is lost');
SELECT is(acked('retry', 'c'), 'ok', 'done');
SELECT is(fetched('retry', 'c'), '-', 'nothing is left');
-- Attempts used up
SELECT fill('redo-1', 'redo-1');
SELECT is(fetched('retry', 'c', 1), 'redo-1/7:1', 'first');
SELECT is(nacked('retry', 'c', 'redo-1/7'), 'ok', 'failed');
SELECT is(fetched('retry', 'c', 1), 'redo-1/7:2', 'second');
SELECT is(nacked('retry', 'c', 'redo-1/7'), 'ok', 'failed');
SELECT is(parked_of('retry'), '-', 'not parked yet');
SELECT is(fetched('retry', 'c', 1), 'redo-1/7:3', 'third and last');
SELECT is(nacked('retry', 'c', 'redo-1/7'), 'ok', 'failed');
SELECT is(parked_of('retry'), 'redo-1/7:3 because', 'parked');
SELECT is(fetched('retry', 'c'), 'redo-1/8:1', 'the next one passes');
SELECT is(acked('retry', 'c'), 'ok', 'done');
SELECT is(checkpoint_of('retry', 'redo-1'), 8::bigint, 'what is parked does not hold the checkpoint');
SELECT is((SELECT sum(parked) FROM eventstore.subscription_status WHERE name = 'retry'), 1::numeric, 'and is counted');
-- Replay
SELECT is(es_replay_parked('retry', 0), 0, 'replay none');
SELECT is(es_replay_parked('retry'), 1, 'replay one');
SELECT is(es_replay_parked('retry'), 0, 'there is none any more');
SELECT is(checkpoint_of('retry', 'redo-1'), 8::bigint, 'the checkpoint stays');
SELECT is(fetched('retry', 'c'), 'redo-1/7:1', 'delivered as new, though later ones are done');
SELECT is(nacked('retry', 'c', 'redo-1/7', 'retry', '1 hour'), 'ok', 'fails again');
SELECT is(checkpoint_of('retry', 'redo-1'), 8::bigint, 'the checkpoint stays');
SELECT fill('redo-1');
SELECT is(fetched('retry', 'c'), 'redo-1/9:1', 'later ones do not wait for it');
SELECT is(acked('retry', 'c'), 'ok', 'done');
UPDATE eventstore.subscription_retries SET due = now() WHERE subscription = 'retry';
SELECT is(fetched('retry', 'c'), 'redo-1/7:2', 'due');
SELECT is(acked('retry', 'c'), 'ok', 'done');
SELECT is(parked_of('retry') || fetched('retry', 'c'), '--', 'nothing is left');

-- Park and skip
SELECT es_create_subscription('park', 'park', partitions => 2);
SELECT fill('park-1', 'park-1', 'park-2', 'park-1', 'park-2');
SELECT is(fetched('park', 'c'), 'park-1/1:1 park-1/2:1 park-2/1:1 park-1/3:1 park-2/2:1', 'delivered');
SELECT is(nacked('park', 'c', 'park-1/2', 'park'), 'ok', 'park one');
SELECT is(nacked('park', 'c', 'park-2/1', 'skip'), 'ok', 'skip one');
SELECT is(nacked('park', 'c', e, a), '22023 It was not delivered under it, is settled already, or waits for an earlier event of its stream.', e || ' is settled')
FROM unnest('{park-1/2,park-2/1}'::text[]) e, unnest('{retry,park,skip}'::text[]) a;
SELECT is(parked_of('park'), 'park-1/2:1 because', 'parked');
SELECT is(fetched('park', 'c'), 'park-1/1:2 park-1/3:2 park-2/2:2', 'fetched again: neither comes');
SELECT is(acked('park', 'c', 'park-1/1'), 'ok', 'one is done');
SELECT is(nacked('park', 'c', 'park-1/1', 'skip'), '22023 It was not delivered under it, is settled already, or waits for an earlier event of its stream.', 'and settled');
SELECT is(nacked('park', 'c', 'park-1/3', 'skip'), 'ok', 'skip the next');
SELECT is(nacked('park', 'c', 'park-2/2', 'park'), 'ok', 'park the last');
SELECT is((SELECT min(checkpoint) FROM eventstore.subscription_status WHERE name = 'park'), es_head(), 'all is settled, so the delivery is done');
SELECT is((SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'park' AND parked_at IS NULL), 0::bigint, 'what was skipped needs no row');
SELECT is(fetched('park', 'c'), '-', 'nothing is left');
SELECT is(es_replay_parked('park', 1), 1, 'replay one');
SELECT is(fetched('park', 'c'), 'park-1/2:1', 'the lowest position first');
SELECT is(nacked('park', 'c', 'park-1/2', 'park'), 'ok', 'park it again');
SELECT is(es_replay_parked('park', 5), 2, 'replay all');
SELECT is(fetched('park', 'c'), 'park-1/2:1 park-2/2:1', 'both');
SELECT is(nacked('park', 'c', 'park-1/2', 'skip'), 'ok', 'skip one');
SELECT is(acked('park', 'c'), 'ok', 'done');
SELECT is((SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'park'), 0::bigint, 'nothing is left');

-- park_policy block_stream
SELECT es_create_subscription('block', 'block', partitions => 1, max_retries => 0, park_policy => 'block_stream');
SELECT fill('block-1', 'block-2', 'block-1', 'block-2', 'block-1');
SELECT is(fetched('block', 'c', 3), 'block-1/1:1 block-2/1:1 block-1/2:1', 'delivered');
SELECT is(nacked('block', 'c', 'block-1/1', 'retry'), 'ok', 'no attempt is left');
SELECT is(parked_of('block'), 'block-1/1:1 because', 'parked');
SELECT is(acked('block', 'c'), 'ok', 'others are done');
SELECT is(fetched('block', 'c'), 'block-2/2:1', 'the stream waits');
SELECT is(acked('block', 'c'), 'ok', 'done');
SELECT is(checkpoint_of('block', 'block-1'), 1::bigint, 'the checkpoint is at what is parked');
SELECT is(es_replay_parked('block'), 1, 'replayed');
SELECT is(checkpoint_of('block', 'block-1'), 1::bigint, 'the checkpoint stays');
SELECT is(fetched('block', 'c'), 'block-1/1:1', 'it comes');
SELECT is(acked('block', 'c'), 'ok', 'done');
SELECT is(fetched('block', 'c'), 'block-1/2:1', 'the next one was delivered, too, but has not failed: it has its attempt');
SELECT is(acked('block', 'c'), 'ok', 'done');
SELECT is(fetched('block', 'c'), 'block-1/3:1', 'and the next');
SELECT is(nacked('block', 'c', 'block-1/3', 'park'), 'ok', 'parked');
SELECT fill('block-1', 'block-1', 'block-2');
SELECT is(fetched('block', 'c'), 'block-2/3:1', 'the stream waits again');
SELECT is(acked('block', 'c'), 'ok', 'done');
SELECT is(checkpoint_of('block', 'block-1'), 3::bigint, 'the checkpoint is at what is parked');
SELECT is(es_replay_parked('block'), 1, 'replayed');
SELECT is(fetched('block', 'c'), 'block-1/3:1', 'it comes');
SELECT is(nacked('block', 'c', 'block-1/3', 'skip'), 'ok', 'skipped');
SELECT is(fetched('block', 'c'), 'block-1/4:1', 'the stream goes on');
SELECT is(acked('block', 'c'), 'ok', 'done');
SELECT is(fetched('block', 'c'), 'block-1/5:1', 'to its end');
SELECT is(acked('block', 'c'), 'ok', 'done');
SELECT is(fetched('block', 'c') || (SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'block'), '-0', 'nothing is left');

-- Several of one stream, the later one first: each waits for the earlier ones.
SELECT es_create_subscription('order', 'order', partitions => 1, max_retries => 3);
SELECT fill('order-1', 'order-1', 'order-1', 'order-1', 'order-2');
SELECT is(fetched('order', 'c'), 'order-1/1:1 order-1/2:1 order-1/3:1 order-1/4:1 order-2/1:1', 'delivered');
SELECT is(nacked('order', 'c', 'order-1/3'), 'ok', 'a later one fails');
SELECT is(nacked('order', 'c', 'order-1/1'), 'ok', 'and an earlier one');
SELECT is(acked('order', 'c'), 'ok', 'the rest is done');
SELECT is(fetched('order', 'c'), 'order-1/1:2', 'the first');
SELECT is(acked('order', 'c'), 'ok', 'done');
SELECT is(fetched('order', 'c'), 'order-1/2:2', 'the one between');
SELECT is(acked('order', 'c'), 'ok', 'done');
SELECT is(fetched('order', 'c'), 'order-1/3:2', 'the later one');
SELECT is(nacked('order', 'c', 'order-1/3', 'skip'), 'ok', 'skipped');
SELECT is(fetched('order', 'c'), 'order-1/4:2', 'the last');
SELECT is(acked('order', 'c'), 'ok', 'done');
SELECT is(fetched('order', 'c') || (SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'order'), '-0', 'nothing is left');
-- The same where the earlier one is parked because its consumer died of it.
SELECT es_alter_subscription('order', 1, 'block_stream', 1);
SELECT fill('order-1', 'order-1');
SELECT is(fetched('order', 'c'), 'order-1/5:1 order-1/6:1', 'delivered');
SELECT is(nacked('order', 'c', 'order-1/6', 'retry', '1 hour'), 'ok', 'the later one fails');
SELECT is(fetched('order', 'c'), 'order-1/5:2', 'the earlier one again');
SELECT is(fetched('order', 'c'), '-', 'it is parked, and blocks');
SELECT is(parked_of('order'), 'order-1/5:2 not acknowledged', 'it is parked');
UPDATE eventstore.subscription_retries SET due = now() WHERE subscription = 'order' AND due IS NOT NULL;
SELECT is(fetched('order', 'c'), '-', 'the later one waits, though it is due');
SELECT is(es_replay_parked('order'), 1, 'replayed');
SELECT is(fetched('order', 'c'), 'order-1/5:1', 'the earlier one');
SELECT is(acked('order', 'c'), 'ok', 'done');
SELECT is(fetched('order', 'c'), 'order-1/6:2', 'the later one');
SELECT is(acked('order', 'c'), 'ok', 'done');
SELECT is(fetched('order', 'c') || (SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'order'), '-0', 'nothing is left');

-- The fetch that parks an event delivers none of its stream behind it, retries neither.
SELECT es_create_subscription('behind', 'behind', partitions => 1, max_retries => 1, park_policy => 'block_stream');
SELECT fill('behind-1', 'behind-1', 'behind-1');
SELECT is(fetched('behind', 'c'), 'behind-1/1:1 behind-1/2:1 behind-1/3:1', 'delivered');
SELECT is(nacked('behind', 'c', 'behind-1/3'), 'ok', 'the last one fails');
SELECT is(fetched('behind', 'c'), 'behind-1/1:2', 'the last attempt');
SELECT is(fetched('behind', 'c'), '-', 'parked: all others wait');
SELECT es_alter_subscription('behind', NULL, 'pass');
SELECT is(fetched('behind', 'c'), 'behind-1/2:2', 'pass: the stream goes on');
SELECT is(acked('behind', 'c'), 'ok', 'done');
SELECT is(fetched('behind', 'c'), 'behind-1/3:2', 'to its end');
SELECT is(acked('behind', 'c'), 'ok', 'done');
SELECT is(fetched('behind', 'c') || parked_of('behind'), '-behind-1/1:2 not acknowledged', 'one is parked');

-- What was held was not delivered.
SELECT es_create_subscription('held', 'held', partitions => 1, max_retries => 1);
SELECT fill('held-1');
SELECT is(fetched('held', 'c'), 'held-1/1:1', 'delivered');
SELECT is(nacked('held', 'c', 'held-1/1', 'retry', '1 hour'), 'ok', 'it fails');
SELECT fill('held-2', 'held-1', 'held-2');
SELECT is(fetched('held', 'c'), 'held-2/1:1 held-2/2:1', 'the other stream');
UPDATE eventstore.subscription_retries SET due = now() WHERE subscription = 'held';
SELECT is(fetched('held', 'c', 1), 'held-1/1:2', 'due');
SELECT is(acked('held', 'c'), 'ok', 'done');
SELECT is(fetched('held', 'c', 1), 'held-2/1:2', 'again');
SELECT is(acked('held', 'c'), 'ok', 'done');
SELECT is(fetched('held', 'c', 1), 'held-1/2:1', 'for the first time');
SELECT is(acked('held', 'c'), 'ok', 'done');
SELECT is(fetched('held', 'c'), 'held-2/2:2', 'the last');

-- Replayed before the checkpoint has passed it, and skipped: it does not come again.
SELECT fill('order-1', 'order-2');
SELECT is(fetched('order', 'c'), 'order-1/7:1 order-2/2:1', 'delivered');
SELECT is(nacked('order', 'c', 'order-2/2', 'park'), 'ok', 'parked');
SELECT is(es_replay_parked('order'), 1, 'replayed');
SELECT is(fetched('order', 'c', 1), 'order-1/7:2', 'the last attempt is made alone');
SELECT es_alter_subscription('order', NULL, max_retries => 9);
SELECT is(fetched('order', 'c'), 'order-1/7:3 order-2/2:1', 'both come');
SELECT is(nacked('order', 'c', 'order-2/2', 'skip'), 'ok', 'skipped');
SELECT is(acked('order', 'c', 'order-1/7'), 'ok', 'the other is done');
SELECT is(fetched('order', 'c') || (SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'order'), '-0', 'nothing is left');

-- One that has no partition leaves, too.
SELECT es_create_subscription('leave', 'leave', partitions => 4);
SELECT fill('leave-1', 'leave-2');
SELECT is(fetched('leave', 'c1'), 'leave-1/1:1 leave-2/1:1', 'delivered');
SELECT is(fetched('leave', 'c2'), '-', 'another comes');
SELECT is(es_release('leave', 'c2'), 0, 'and leaves');
SELECT is(fetched('leave', 'c1') || ' ' || shares('leave'), 'leave-1/1:2 leave-2/1:2 c1=4', 'nothing is given away to it');

-- max_count 0 takes nothing away from what is outstanding.
SELECT es_create_subscription('beat', 'beat', partitions => 4);
SELECT fill('beat-1', 'beat-2', 'beat-3');
SELECT is(fetched('beat', 'c1'), 'beat-1/1:1 beat-2/1:1 beat-3/1:1', 'delivered');
SELECT is(fetched('beat', 'c2'), '-', 'another has come');
SELECT is(fetched('beat', 'c1', 0), '-', 'a heartbeat');
SELECT is(acked('beat', 'c1'), 'ok', 'the token is good');

-- The last attempt is made alone: one that the consumer dies of takes no others with it.
SELECT es_create_subscription('poison', 'poison', partitions => 4, max_retries => 2);
SELECT fill('poison-1', 'poison-2', 'poison-3');
SELECT is(fetched('poison', 'c'), 'poison-1/1:1 poison-2/1:1 poison-3/1:1', 'first attempt');
SELECT is(fetched('poison', 'c'), 'poison-1/1:2 poison-2/1:2 poison-3/1:2', 'second');
SELECT is(fetched('poison', 'c'), 'poison-1/1:3', 'the last one alone');
SELECT is(acked('poison', 'c'), 'ok', 'it was not the one');
SELECT is(fetched('poison', 'c'), 'poison-2/1:3', 'the next one alone');
SELECT is(fetched('poison', 'c'), 'poison-3/1:3', 'that was it: the next one alone');
SELECT is(parked_of('poison'), 'poison-2/1:3 not acknowledged', 'it is parked');
SELECT is(acked('poison', 'c'), 'ok', 'done');
SELECT is(fetched('poison', 'c'), '-', 'nothing is left');
SELECT fill('poison-1', 'poison-2');
SELECT is(fetched('poison', 'c'), 'poison-1/2:1 poison-2/2:1', 'new ones come as usual');
-- With max_retries 0 there is but one attempt.
SELECT es_alter_subscription('poison', NULL, max_retries => 0);
SELECT is(fetched('poison', 'c'), '-', 'no attempt is left');
SELECT is(parked_of('poison'), 'poison-2/1:3 not acknowledged, poison-1/2:1 not acknowledged, poison-2/2:1 not acknowledged', 'all are parked');

-- Exactly once: what is rolled back has not been.
SELECT es_create_subscription('once', 'once');
SELECT fill('once-1', 'once-1');
BEGIN;
SELECT is(fetched('once', 'c'), 'once-1/1:1 once-1/2:1', 'fetched and acknowledged ...');
SELECT is(acked('once', 'c'), 'ok', '... in one transaction');
SELECT is(fetched('once', 'c'), '-', 'and fetched again');
ROLLBACK;
SELECT is(fetched('once', 'c'), 'once-1/1:1 once-1/2:1', 'rolled back: as if it had not been');
BEGIN;
SAVEPOINT s;
SELECT is(acked('once', 'c'), 'ok', 'acknowledged in a subtransaction');
ROLLBACK TO s;
SELECT is(fetched('once', 'c', 1), 'once-1/1:2', 'which is rolled back');
SELECT is(acked('once', 'c'), 'ok', 'acknowledged');
SAVEPOINT s;
SELECT is(fetched('once', 'd'), '-', 'another consumer in the same transaction');
SELECT is(fetched('once', 'c', 1), 'once-1/2:2', 'and the first one');
ROLLBACK TO s;
COMMIT;
SELECT is(fetched('once', 'c'), 'once-1/2:2', 'the rest');
SELECT is(acked('once', 'c'), 'ok', 'done');

-- A transaction's own events hold the head back: they come after commit.
BEGIN;
SELECT fill('once-1');
SELECT is(fetched('once', 'c', 10, '50 ms'), '-', 'not in the transaction itself');
COMMIT;
SELECT is(fetched('once', 'c'), 'once-1/3:1', 'but then');

-- Reset
SELECT es_create_subscription('reset', 'reset', partitions => 2);
SELECT fill('reset-1', 'reset-2', 'reset-1', 'reset-2', 'reset-1');
SELECT fetched('reset', 'c');
SELECT nacked('reset', 'c', 'reset-1/1', 'park');
SELECT nacked('reset', 'c', 'reset-2/1', 'retry', '1 hour');
SELECT nacked('reset', 'c', 'reset-1/3', 'park');
SELECT es_reset_subscription('reset', position_of('reset-1/2'));
SELECT is(left(acked('reset', 'c'), 5), 'SE005', 'outstanding tokens are refused');
SELECT is(parked_of('reset'), 'reset-1/1:1 because', 'what is parked at or below stays');
SELECT is((SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'reset'), 1::bigint, 'all else is forgotten');
SELECT is(shares('reset'), 'nobody=2', 'nobody has any partition');
SELECT is(fetched('reset', 'd'), 'reset-2/2:1 reset-1/3:1', 'as if made there');
SELECT is(acked('reset', 'd'), 'ok', 'done');
SELECT es_reset_subscription('reset', 0);
SELECT is(parked_of('reset'), '-', 'from the beginning: nothing is parked');
SELECT is(fetched('reset', 'd'), 'reset-1/1:1 reset-2/1:1 reset-1/2:1 reset-2/2:1 reset-1/3:1', 'all again');
SELECT es_reset_subscription('reset', -1);
SELECT is(fetched('reset', 'd'), '-', 'to the head');
SELECT is((SELECT min(checkpoint) FROM eventstore.subscription_status WHERE name = 'reset'), es_head(), 'all partitions');

-- Another number of partitions
SELECT es_alter_subscription('reset', 5);
SELECT is(shares('reset'), 'nobody=5', 'nothing is outstanding: at once');
SELECT is(fetched('reset', 'd'), '-', 'nothing comes again');
SELECT is(shares('reset'), 'd=5', 'and goes on');
SELECT fill('reset-1', 'reset-2', 'reset-3', 'reset-1', 'reset-2');
SELECT is(fetched('reset', 'd', 3), 'reset-1/4:1 reset-2/3:1 reset-3/1:1', 'delivered');
SELECT is(acked('reset', 'd', 'reset-1/4'), 'ok', 'one is done');
SELECT es_alter_subscription('reset', 3);
SELECT is(shares('reset'), 'd=5', 'while something is outstanding the old partitions stay');
SELECT is(acked('reset', 'd', 'reset-2/3'), 'ok', 'their tokens are good');
SELECT is(fetched('reset', 'd'), 'reset-3/1:2', 'up to what was delivered');
SELECT is(fetched('reset', 'e'), '-', 'nothing for others');
SELECT is(acked('reset', 'd'), 'ok', 'done');
SELECT is(fetched('reset', 'e'), 'reset-1/5:1 reset-2/4:1', 'then it goes on in new ones') ;
SELECT is(shares('reset'), 'e=3', 'as many as were asked for');
SELECT is(acked('reset', 'e'), 'ok', 'done');
SELECT is((SELECT count(*) FROM (SELECT event FROM deliveries WHERE subscription = 'reset' AND event IN ('reset-1/4', 'reset-2/3', 'reset-1/5', 'reset-2/4') GROUP BY event HAVING count(*) > 1) x), 0::bigint, 'nothing acknowledged came again');
SELECT is(fetched('reset', 'e', 10, '10 ms'), '-', 'nothing is left');
-- Held streams and parked events belong to the new partitions.
SELECT fill('reset-1', 'reset-1');
SELECT fetched('reset', 'e');
SELECT nacked('reset', 'e', 'reset-1/6');
SELECT acked('reset', 'e');
SELECT es_alter_subscription('reset', 64);
SELECT is(fetched('reset', 'f'), 'reset-1/6:2', 'a retry');
SELECT is(acked('reset', 'f'), 'ok', 'done');
SELECT is(fetched('reset', 'f'), 'reset-1/7:2', 'and what waited for it');
SELECT is(acked('reset', 'f'), 'ok', 'done');
SELECT es_alter_subscription('reset', NULL, 'block_stream', 7, '5 s');
SELECT results_eq($$SELECT partitions, park_policy, max_retries, lease FROM eventstore.subscriptions WHERE name = 'reset'$$, $$VALUES (64, 'block_stream' COLLATE "C", 7, interval '5 s')$$, 'settings');
SELECT es_alter_subscription('reset', 64);
SELECT is(shares('reset'), 'f=64', 'the same number: nothing happens');

-- Names by which functions are called, in the contract's order and by name
SELECT lives_ok($$SELECT es_create_subscription('named', 'cat', '{A}', 5, 16, 3, '10 s')$$, 'by place');
SELECT results_eq($$SELECT category, types, partitions, max_retries, lease, park_policy FROM eventstore.subscriptions WHERE name = 'named'$$, $$VALUES ('cat' COLLATE "C", '{A}'::text[] COLLATE "C", 16, 3, interval '10 s', 'pass' COLLATE "C")$$, 'all of them');
SELECT lives_ok($$SELECT es_drop_subscription(name => 'named')$$, 'dropped');
SELECT lives_ok($$SELECT es_create_subscription(name => 'named', category => 'cat', types => '{A}', after_position => 5, partitions => 16, max_retries => 3, lease => '10 s')$$, 'by name');
SELECT is((SELECT min(checkpoint) FROM eventstore.subscription_status WHERE name = 'named'), 5::bigint, 'after a position');
SELECT is_empty($$SELECT es_fetch(subscription => 'named', consumer => 'c', max_count => 1, wait => '0')$$, 'fetch by name');
SELECT columns_are('eventstore'::name, 'subscription_status'::name, '{name,partition,consumer,checkpoint,lag_events,lag_seconds,parked,lease_end,state,tenant}'::name[]);

BEGIN;
SET LOCAL track_functions = 'all';
SELECT is((SELECT count(*) FROM eventstore.subscription_status WHERE name = 'busy'), 4::bigint, 'the status of one subscription ...');
SELECT is((SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'find_subscription_status'), 1::bigint, '... is not made for all');
COMMIT;

-- Drop
SELECT es_drop_subscription(name) FROM eventstore.subscriptions WHERE name IN ('one', 'types', 'both', 'late', 'never', 'share', 'busy', 'lease', 'retry', 'park', 'block', 'poison', 'once', 'reset', 'named', 'order', 'beat', 'leave', 'behind', 'held');
SELECT is((SELECT count(*) FROM eventstore.subscription_shares s WHERE subscription NOT IN (SELECT name FROM eventstore.subscriptions))
		  + (SELECT count(*) FROM eventstore.subscription_retries s WHERE subscription NOT IN (SELECT name FROM eventstore.subscriptions)), 0::bigint, 'nothing is left of them');
SELECT is(attempt(format('SELECT es_ack(''one'', %s, 1)', last_token('one', 'c'))), '42704', 'their tokens lead nowhere');

SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_subscriptions CASCADE;
