-- A store in use, for a server that has version 0.1.0: what test/upgrade/store-0.1.0.dump was made of. Its only way back is the source of that
-- version: build it, run this by psql -v ON_ERROR_STOP=1 as a superuser in a database of its own, and pg_dump --no-comments that.
--
-- Every effect of a consumer stands in public.effects, in the transaction of its ack: so that a test can tell what is done from what is not.
CREATE ROLE shop_app;
CREATE ROLE shop_reader;
CREATE ROLE shop_admin;
CREATE ROLE shop_reports;
CREATE ROLE shop_gone;
CREATE EXTENSION eventstore VERSION '0.1.0';
SELECT es_grant('shop_app', 'append'), es_grant('shop_reader', 'read'), es_grant('shop_admin', 'admin'), es_grant('shop_reports', 'admin'), es_grant('shop_gone', 'admin');
GRANT CREATE ON SCHEMA public TO shop_reports, shop_gone;
GRANT shop_admin TO CURRENT_USER;

CREATE TABLE effects (subscription text, "position" bigint, version bigint, stream text, PRIMARY KEY (subscription, "position"));

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Events: streams of several lengths, ids that callers gave, tags, metadata, a stream that is only asserted, positions that are left out
-- ---------------------------------------------------------------------------------------------------------------------------------

SELECT count(es_append('account-' || n % 17, -1, CASE n % 5 WHEN 0 THEN 'Opened' WHEN 1 THEN 'Moved' ELSE 'Deposited' END,
					   jsonb_build_object('amount', n % 7, 'by', 'clerk ' || n % 3, 'flag', n % 2 = 0),
					   CASE WHEN n % 3 = 0 THEN jsonb_build_object('correlation_id', n) END, NULL,
					   CASE WHEN n % 4 = 0 THEN ARRAY['customer:' || n % 5, 'branch:' || n % 2] END))
FROM generate_series(1, 120) n;
SELECT es_append('order-{acme}-1', 0, '[{"type": "Placed", "data": {"amount": 3}, "id": "00000000-0000-4000-8000-000000000001", "tags": ["customer:1"]},
	{"type": "Paid", "data": {"amount": 3}, "id": "00000000-0000-4000-8000-000000000002"}]');
SELECT es_append('config', 0, 'Set', '{"amount": null}', NULL, '00000000-0000-4000-8000-000000000003', ARRAY['customer:2', 'größe', '']::text[]) WHERE false;
SELECT es_append('config', 0, 'Set', '{"amount": null}', NULL, '00000000-0000-4000-8000-000000000003', ARRAY['customer:2', 'größe']);
SELECT es_assert_version('asserted-1', 0);
BEGIN;
SELECT es_append('rolled-1', 0, 'Back', '{}');
ROLLBACK;

SELECT es_save_snapshot('account-1', 3, '{"n": 3}'), es_save_snapshot('account-1', 5, '{"n": 5}', 2), es_save_snapshot('order-{acme}-1', 2, '{"paid": true}');

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Subscriptions
-- ---------------------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION work(subscription text, consumer text, max_count int, acks int) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	event record;
	done int := 0;
BEGIN
	FOR event IN SELECT * FROM es_fetch(subscription, consumer, max_count) f LOOP
		EXIT WHEN done >= acks;
		INSERT INTO effects VALUES (subscription, event.position, event.version, event.stream);
		PERFORM es_ack(subscription, event.token, event.position);
		done := done + 1;
	END LOOP;
	RETURN done;
END
$$;

-- In the middle: two consumers, whose leases never end, each with events that were delivered and are not done.
SELECT es_create_subscription('middle', 'account', partitions => 8, lease => '100 years');
SELECT work('middle', 'one', 10, 0), work('middle', 'two', 10, 0);
SELECT work('middle', 'one', 10, 4), work('middle', 'two', 10, 6), work('middle', 'one', 10, 3);

-- Retries: later, at once, parked, skipped beyond the checkpoint; a consumer whose lease has ended.
SELECT es_create_subscription('retries', partitions => 4, max_retries => 2, lease => '1 ms', types => ARRAY['Opened', 'Deposited']);
BEGIN;
CREATE TEMP TABLE fetched ON COMMIT DROP AS SELECT * FROM es_fetch('retries', 'one', 12);
SELECT es_nack('retries', token, position, 'later', 'retry', '100 years') FROM (SELECT * FROM fetched ORDER BY position LIMIT 1) f;
SELECT es_nack('retries', token, position, 'at once') FROM (SELECT * FROM fetched ORDER BY position OFFSET 1 LIMIT 1) f;
SELECT es_nack('retries', token, position, 'no use', 'park') FROM (SELECT * FROM fetched ORDER BY position OFFSET 2 LIMIT 2) f;
SELECT es_nack('retries', token, position, 'not mine', 'skip') FROM (SELECT * FROM fetched ORDER BY position OFFSET 6 LIMIT 1) f;
COMMIT;

-- Streams that wait behind what is parked, and one that has been replayed.
SELECT es_create_subscription('blocking', 'account', partitions => 3, max_retries => 0, park_policy => 'block_stream', lease => '1 ms');
BEGIN;
CREATE TEMP TABLE fetched ON COMMIT DROP AS SELECT * FROM es_fetch('blocking', 'one', 9);
SELECT es_nack('blocking', token, position, 'bad', 'park') FROM (SELECT * FROM fetched ORDER BY position LIMIT 3) f;
COMMIT;
SELECT es_replay_parked('blocking', 1);

-- From eight partitions to five, while something is being worked on.
SELECT es_create_subscription('dividing', 'account', partitions => 8, lease => '100 years');
SELECT work('dividing', 'one', 20, 5);
SELECT es_alter_subscription('dividing', 5);
SELECT es_create_subscription('untouched', after_position => 40);

-- ---------------------------------------------------------------------------------------------------------------------------------
-- Projections
-- ---------------------------------------------------------------------------------------------------------------------------------

SELECT es_create_projection('totals', $$SELECT stream, count(*) AS events, sum((data->>'amount')::numeric) AS total, min(version) AS least, max(recorded_at) AS latest,
	avg((data->>'amount')::int) AS average, bool_and((data->>'flag')::boolean) AS every_flag, bool_or((data->>'flag')::boolean) AS any_flag,
	es_first(type, position) AS first_type, es_last(data->>'by', position) AS last_by, count(*) FILTER (WHERE type = 'Moved') AS moves FROM events GROUP BY stream$$);
SELECT es_create_projection('simple', $$SELECT category, type, count(*) AS events, max(position) AS latest FROM events GROUP BY category, type$$);
SELECT es_create_projection('latest', $$SELECT category, jsonb_object_agg(type, data ORDER BY position) AS by_type FROM events GROUP BY category$$, 'async');
SELECT es_create_projection('by_clerk', $$SELECT data->>'by' AS clerk, count(*) AS events FROM events WHERE data ? 'by' GROUP BY 1$$, 'async', categories => ARRAY['account']);
SELECT es_run_projection('by_clerk', 50), es_run_projection('latest', 30);

SET ROLE shop_reports;
CREATE TABLE report (stream text PRIMARY KEY, n bigint NOT NULL, ids uuid[]);
CREATE TABLE log (n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "position" bigint UNIQUE, type text);
CREATE INDEX log_type ON log (type);
SELECT es_create_projection('report', $$INSERT INTO report AS r SELECT stream, count(*), array_agg(id ORDER BY position) FROM events GROUP BY stream
	ON CONFLICT (stream) DO UPDATE SET n = r.n + excluded.n, ids = r.ids || excluded.ids$$, tables => ARRAY['report'::regclass]);
SELECT es_create_projection('log', $$INSERT INTO log (position, type) SELECT position, type FROM events ORDER BY position$$, 'async', tables => ARRAY['log'::regclass], on_error => 'skip');
SELECT es_run_projection('log', 60);
CREATE UNLOGGED TABLE quick (category text PRIMARY KEY, n bigint);
SELECT es_create_projection('quick', $$INSERT INTO quick AS q SELECT category, count(*) FROM events GROUP BY 1 ON CONFLICT (category) DO UPDATE SET n = q.n + excluded.n$$,
	tables => ARRAY['quick'::regclass]);
SELECT es_create_projection('answers', $$SELECT es_append('answer-' || version, -1, 'Answered', '{}') FROM events WHERE type = 'Paid'$$, 'async');
SELECT es_run_projection('answers');
SELECT es_create_projection('paused', $$SELECT type, count(*) AS events FROM events GROUP BY type$$);
SELECT es_pause_projection('paused');
CREATE TABLE fails (n int PRIMARY KEY);
SELECT es_create_projection('failing', $$INSERT INTO fails SELECT 1 FROM events WHERE type = 'Moved'$$, 'async', tables => ARRAY['fails'::regclass]);
SELECT es_run_projection('failing');
SET ROLE shop_gone;
SELECT es_create_projection('orphan', $$SELECT category, count(*) AS events FROM events GROUP BY category$$);
RESET ROLE;
SELECT es_pause_projection('orphan');
REASSIGN OWNED BY shop_gone TO shop_reports;
DROP OWNED BY shop_gone;
DROP ROLE shop_gone;

-- Events that come after.
SELECT es_append('account-3', -1, 'Moved', '{"amount": 1}'), es_append('account-{acme}-9', 0, 'Opened', '{"by": "late", "amount": 2}', NULL, NULL, ARRAY['customer:1']);
