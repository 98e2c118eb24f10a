-- Subscriptions that are changed while they are in use: paused, with another filter, parked events dropped and replayed one by one,
-- what is given back by es_release, positions that are not there yet.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_subscriptions_change;
SET search_path = test_subscriptions_change, public;

-- Fetches, and returns events as stream/version:attempt; '-': nothing. The token is kept for acked and nacked.
CREATE FUNCTION fetched(subscription text, consumer text DEFAULT 'c', max_count int DEFAULT 100, wait interval DEFAULT '0') RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
	token bigint;
	last bigint;
BEGIN
	SELECT string_agg(f.stream || '/' || f.version || ':' || f.attempt, ' ' ORDER BY f.position), max(f.token), max(f.position) INTO result, token, last
	FROM es_fetch(subscription, consumer, max_count, wait) f;
	IF token IS NOT NULL THEN
		PERFORM set_config('test.token', token::text, false), set_config('test.last', last::text, false);
	END IF;
	RETURN coalesce(result, '-');
END
$$;
CREATE FUNCTION position_of(event text) RETURNS bigint LANGUAGE sql AS
	$$SELECT position FROM eventstore.events WHERE stream = split_part(event, '/', 1) AND version = split_part(event, '/', 2)::bigint$$;
CREATE FUNCTION id_of(event text) RETURNS uuid LANGUAGE sql AS
	$$SELECT id FROM eventstore.events WHERE stream = split_part(event, '/', 1) AND version = split_part(event, '/', 2)::bigint$$;
-- 'ok', or SQLSTATE
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'ok';
EXCEPTION
	WHEN OTHERS THEN
		RETURN SQLSTATE;
END
$$;
CREATE FUNCTION counted(call text) RETURNS int LANGUAGE plpgsql AS
$$
DECLARE
	result int;
BEGIN
	EXECUTE 'SELECT ' || call INTO result;
	RETURN result;
END
$$;
CREATE FUNCTION acked(subscription text, event text DEFAULT NULL) RETURNS text LANGUAGE sql AS
	$$SELECT attempt(format('es_ack(%L, %s, %s)', subscription, current_setting('test.token'), coalesce(position_of(event)::text, current_setting('test.last'))))$$;
CREATE FUNCTION nacked(subscription text, event text, action text DEFAULT 'retry', delay interval DEFAULT '0') RETURNS text LANGUAGE sql AS
	$$SELECT attempt(format('es_nack(%L, %s, %s, %L, %L, %L)', subscription, current_setting('test.token'), position_of(event), 'because', action, delay))$$;
CREATE FUNCTION fill(VARIADIC streams text[]) RETURNS void LANGUAGE sql AS $$SELECT es_append(s, -1, 'T', '{}') FROM unnest(streams) s$$;
CREATE FUNCTION parked_of(subscription text) RETURNS text LANGUAGE sql AS
	$$SELECT coalesce(string_agg(stream || '/' || version || ':' || attempts, ' ' ORDER BY position), '-') FROM eventstore.parked p WHERE p.subscription = $1$$;
CREATE FUNCTION rows_of(subscription text) RETURNS bigint LANGUAGE sql AS
	$$SELECT count(*) FROM eventstore.subscription_retries r WHERE r.subscription = $1$$;
CREATE FUNCTION state_of(subscription text) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(DISTINCT state, ' ') FROM eventstore.subscription_status s WHERE s.name = $1$$;

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

-- A position that the store does not have yet
SELECT fill('beyond-1', 'beyond-1');
SELECT throws_ok($$SELECT es_create_subscription('beyond', after_position => es_head() + 1000)$$, '22023', format('after_position %s is beyond the head', es_head() + 1000), 'made beyond the head');
SELECT is(attempt($$count(*) FROM eventstore.subscription_status WHERE name = 'beyond'$$) || (SELECT count(*) FROM eventstore.subscriptions WHERE name = 'beyond'), 'ok0', 'there is none');
SELECT lives_ok($$SELECT es_create_subscription('beyond', after_position => es_head())$$, 'at the head');
SELECT throws_ok($$SELECT es_reset_subscription('beyond', es_head() + 1)$$, '22023', format('after_position %s is beyond the head', es_head() + 1), 'reset beyond the head');
SELECT fill('beyond-1');
SELECT is(fetched('beyond'), 'beyond-1/3:1', 'it is where it was');
SELECT lives_ok($$SELECT es_reset_subscription('beyond', es_head())$$, 'reset to the head');
SELECT es_drop_subscription('beyond');

-- What is given back by es_release was no attempt, however often.
SELECT es_create_subscription('polite', 'polite', partitions => 2, max_retries => 2);
SELECT fill('polite-1', 'polite-2', 'polite-1', 'polite-2', 'polite-3');
SELECT is(string_agg(fetched('polite') || ' ' || es_release('polite', 'c'), '; '), 'polite-1/1:1 polite-2/1:1 polite-1/2:1 polite-2/2:1 polite-3/1:1 2; polite-1/1:1 polite-2/1:1 polite-1/2:1 polite-2/2:1 polite-3/1:1 2; '
		  || 'polite-1/1:1 polite-2/1:1 polite-1/2:1 polite-2/2:1 polite-3/1:1 2; polite-1/1:1 polite-2/1:1 polite-1/2:1 polite-2/2:1 polite-3/1:1 2', 'four times released')
FROM generate_series(1, 4);
SELECT is(fetched('polite', 'c', 2), 'polite-1/1:1 polite-2/1:1', 'a part');
SELECT is(fetched('polite', 'c', 1), 'polite-1/1:2', 'again, which counts');
SELECT is(es_release('polite', 'c'), 2, 'released');
SELECT is(fetched('polite'), 'polite-1/1:2 polite-2/1:2 polite-1/2:1 polite-2/2:1 polite-3/1:1', 'only what was given back was no attempt');
SELECT is(acked('polite', 'polite-2/1'), 'ok', 'some are done');
SELECT is(es_release('polite', 'c'), 2, 'the rest is given back');
SELECT is(fetched('polite', 'd'), 'polite-1/2:1 polite-2/2:1 polite-3/1:1', 'to another');
SELECT is(nacked('polite', 'polite-1/2'), 'ok', 'a retry');
SELECT is(es_release('polite', 'd'), 2, 'given back');
SELECT is(fetched('polite', 'd'), 'polite-1/2:2 polite-2/2:1 polite-3/1:1', 'what was refused by es_nack counts');
SELECT is(es_release('polite', 'd'), 2, 'given back');
SELECT is(fetched('polite', 'd'), 'polite-1/2:2 polite-2/2:1 polite-3/1:1', 'the retry was no attempt, either');
SELECT is(nacked('polite', 'polite-1/2'), 'ok', 'it fails again');
SELECT is(fetched('polite', 'd', 1), 'polite-1/2:3', 'its last attempt, alone');
SELECT is(es_release('polite', 'd'), 2, 'given back');
SELECT is(fetched('polite', 'd'), 'polite-1/2:3', 'comes once more');
SELECT is(nacked('polite', 'polite-1/2'), 'ok', 'and fails');
SELECT is(parked_of('polite'), 'polite-1/2:3', 'parked after its attempts');
SELECT es_release('polite', 'd');
-- Fetched again, and then given back: of two deliveries one has failed.
SELECT is(fetched('polite'), 'polite-2/2:2 polite-3/1:2', 'what the one that failed had with it');
SELECT is(fetched('polite'), 'polite-2/2:3', 'the last attempt');
SELECT is(es_release('polite', 'c'), 2, 'given back');
SELECT is(fetched('polite'), 'polite-2/2:3', 'is the last one still');
SELECT is(acked('polite'), 'ok', 'done');
SELECT es_drop_subscription('polite');

-- Paused: nothing is delivered; what is outstanding may be settled; everything else is as it was.
SELECT es_create_subscription('pause', 'pause', partitions => 2);
SELECT fill('pause-1', 'pause-2', 'pause-1');
SELECT is(state_of('pause'), 'running', 'it runs');
SELECT is(fetched('pause', 'c', 2), 'pause-1/1:1 pause-2/1:1', 'delivered');
SELECT es_pause_subscription('pause');
SELECT is(state_of('pause'), 'paused', 'it is paused');
SELECT is(fetched('pause'), '-', 'nothing comes');
SELECT is(fetched('pause', 'd'), '-', 'nor to others');
SELECT is(fetched('pause', 'c', 100, '50 ms'), '-', 'nor to those who wait');
SELECT is(nacked('pause', 'pause-2/1'), 'ok', 'the token is good: one fails');
SELECT is(acked('pause', 'pause-1/1'), 'ok', 'one is done');
SELECT is(fetched('pause') || fetched('pause', 'd'), '--', 'nothing comes, no retry either');
SELECT is((SELECT sum(lag_events) FROM eventstore.subscription_status WHERE name = 'pause'), 2::numeric, 'what is left is counted');
SELECT lives_ok($$SELECT es_pause_subscription('pause')$$, 'paused already');
SELECT es_alter_subscription('pause', max_retries => 5);
SELECT is(state_of('pause'), 'paused', 'changed while paused: it stays so');
SELECT es_reset_subscription('pause', 0);
SELECT is(state_of('pause') || fetched('pause'), 'paused-', 'reset while paused: it stays so');
BEGIN;
SELECT es_resume_subscription('pause');
SELECT is(state_of('pause') || ' ' || fetched('pause'), 'running pause-1/1:1 pause-2/1:1 pause-1/2:1', 'resumed in a transaction: it gets its events');
ROLLBACK;
SELECT is(state_of('pause') || fetched('pause'), 'paused-', 'rolled back');
SELECT es_resume_subscription('pause');
SELECT is(state_of('pause'), 'running', 'it runs');
SELECT is((SELECT string_agg(fetched('pause', c), ' ') FROM unnest('{c,d,c}'::text[]) c) ~ 'pause-1/1:1', true, 'all comes now, for the first time since the reset');
SELECT lives_ok($$SELECT es_resume_subscription('pause')$$, 'it runs already');
SELECT es_drop_subscription('pause');

-- Another filter, from the checkpoints on
SELECT es_create_subscription('filter', 'ham', partitions => 2, max_retries => 3);
SELECT fill('ham-1', 'egg-1', 'ham-2', 'egg-2', 'ham-1', 'egg-1');
SELECT is(fetched('filter', 'c', 2), 'ham-1/1:1 ham-2/1:1', 'of one category');
SELECT is(acked('filter', 'ham-1/1'), 'ok', 'one is done');
SELECT lives_ok($$SELECT es_alter_subscription('filter')$$, 'nothing is changed');
SELECT lives_ok($$SELECT es_alter_subscription('filter', category => 'ham', partitions => 2)$$, 'nor by what is so already');
SELECT is(acked('filter', 'ham-1/1'), 'ok', 'the token is good');
SELECT es_alter_subscription('filter', category => 'egg');
SELECT results_eq($$SELECT category, types, partitions, max_retries FROM eventstore.subscriptions WHERE name = 'filter'$$, $$VALUES ('egg' COLLATE "C", NULL::text[] COLLATE "C", 2, 3)$$, 'another category');
SELECT is(acked('filter'), 'SE005', 'what was delivered cannot be acknowledged: that would pass events of the new one');
SELECT is(fetched('filter'), 'egg-1/1:1 egg-2/1:1 egg-1/2:1', 'after the checkpoint');
SELECT es_alter_subscription('filter', category => '');
SELECT is((SELECT category FROM eventstore.subscriptions WHERE name = 'filter'), NULL, 'all categories');
SELECT is(fetched('filter'), 'egg-1/1:1 ham-2/1:1 egg-2/1:1 ham-1/2:1 egg-1/2:1', 'what is not acknowledged of both; attempts count anew');
SELECT is(acked('filter'), 'ok', 'done');
SELECT fill('jam-1');
SELECT es_append('ham-1', 2, ARRAY['A', 'B', 'C', 'A', 'B'], '{3,4,5,6,7}'::jsonb[]), es_append('egg-1', 2, ARRAY['A', 'B', 'C'], '{3,4,5}'::jsonb[]);
SELECT es_alter_subscription('filter', types => '{A,B}');
SELECT is(fetched('filter', 'c', 3), 'ham-1/3:1 ham-1/4:1 ham-1/6:1', 'of some types');
SELECT is(acked('filter', 'ham-1/3'), 'ok', 'one is done');
SELECT es_alter_subscription('filter', types => '[5:6]={B,C}'::text[], category => 'ham');
SELECT is(fetched('filter'), 'ham-1/4:1 ham-1/5:1 ham-1/7:1', 'both filters');
SELECT is(nacked('filter', 'ham-1/4', 'retry', '1 hour'), 'ok', 'one fails');
SELECT is(acked('filter'), 'ok', 'the others of its stream wait for it');
-- A stream that waits for an event that is not wanted any more goes on behind it.
SELECT es_alter_subscription('filter', types => '{C}');
SELECT is(fetched('filter'), 'ham-1/5:2', 'one that had waited');
SELECT is(acked('filter'), 'ok', 'done');
SELECT is(fetched('filter') || rows_of('filter'), '-0', 'nothing is left');
-- One that is still wanted is still to come.
SELECT es_append('ham-1', 7, 'C', '8'), es_append('ham-1', 8, 'D', '9'), es_append('ham-1', 9, 'C', '10');
SELECT is(fetched('filter'), 'ham-1/8:1 ham-1/10:1', 'delivered');
SELECT is(nacked('filter', 'ham-1/8'), 'ok', 'it fails');
SELECT is(acked('filter'), 'ok', 'the other one waits');
SELECT es_alter_subscription('filter', types => '{}', category => '');
SELECT results_eq($$SELECT category, types FROM eventstore.subscriptions WHERE name = 'filter'$$, $$VALUES (NULL::text COLLATE "C", NULL::text[] COLLATE "C")$$, 'everything');
SELECT is(fetched('filter'), 'ham-1/8:2', 'the retry');
SELECT is(acked('filter'), 'ok', 'done');
SELECT is(fetched('filter'), 'ham-1/9:2', 'its stream had not gone on: all that comes now is by the new filter');
SELECT is(acked('filter'), 'ok', 'done');
SELECT is(fetched('filter'), 'ham-1/10:2', 'to its end');
SELECT is(acked('filter'), 'ok', 'done');
SELECT is(fetched('filter') || rows_of('filter'), '-0', 'nothing is left');
-- A category that is not wanted any more takes its retries with it, and leaves what is parked.
SELECT fill('ham-1', 'ham-1', 'ham-2', 'ham-3', 'egg-1');
SELECT is(fetched('filter'), 'ham-1/11:1 ham-1/12:1 ham-2/2:1 ham-3/1:1 egg-1/6:1', 'delivered');
SELECT is(nacked('filter', 'ham-1/11') || nacked('filter', 'ham-2/2', 'park') || nacked('filter', 'ham-3/1', 'skip'), 'okokok', 'one fails, one is parked, one is skipped');
SELECT es_alter_subscription('filter', category => 'egg');
SELECT is(fetched('filter'), 'egg-1/6:1', 'only of the new category');
SELECT is(parked_of('filter'), 'ham-2/2:1', 'what is parked stays');
SELECT is(acked('filter'), 'ok', 'done');
SELECT is(es_replay_parked('filter', id_of('ham-2/2')), 1, 'and can be replayed');
SELECT is(fetched('filter'), 'ham-2/2:1', 'it comes as it is');
SELECT is(acked('filter'), 'ok', 'done');
SELECT is(fetched('filter'), '-', 'nothing is left');
-- A new division with it
SELECT fill('egg-3', 'ham-3');
SELECT is(fetched('filter'), 'egg-3/1:1', 'delivered');
SELECT es_alter_subscription('filter', 3, category => 'ham');
SELECT is(fetched('filter') || acked('filter') || fetched('filter'), 'ham-3/2:1ok-', 'other partitions, another category');
SELECT is((SELECT partitions || ' ' || category FROM eventstore.subscriptions WHERE name = 'filter'), '3 ham', 'both are so');
SELECT es_drop_subscription('filter');
-- Rolled back: tokens are good, everything is as it was.
SELECT es_create_subscription('undo', 'undo', partitions => 1);
SELECT fill('undo-1', 'undo-1');
SELECT is(fetched('undo', 'c', 1), 'undo-1/1:1', 'delivered');
BEGIN;
SELECT es_alter_subscription('undo', category => 'redone');
SELECT is(fetched('undo'), '-', 'nothing of it');
ROLLBACK;
SELECT is(acked('undo'), 'ok', 'the token is good');
SELECT is(fetched('undo'), 'undo-1/2:1', 'it goes on');
-- In one transaction with an acknowledgement
BEGIN;
SELECT is(acked('undo'), 'ok', 'acknowledged ...');
SELECT es_alter_subscription('undo', types => '{X}');
COMMIT;
SELECT es_alter_subscription('undo', types => '{}');
SELECT is(fetched('undo'), '-', '... before the change, which counts');
SELECT es_drop_subscription('undo');

-- Parked events one by one
SELECT es_create_subscription('single', 'single', partitions => 2, max_retries => 0);
SELECT fill('single-1', 'single-2', 'single-3', 'single-4', 'single-1');
SELECT is(fetched('single'), 'single-1/1:1 single-2/1:1 single-3/1:1 single-4/1:1 single-1/2:1', 'delivered');
SELECT is(string_agg(nacked('single', 'single-' || i || '/1'), ''), 'okokokok', 'all fail') FROM generate_series(1, 4) i;
SELECT is(parked_of('single'), 'single-1/1:1 single-2/1:1 single-3/1:1 single-4/1:1', 'all are parked');
SELECT lives_ok($$SELECT es_drop_parked('single', id_of('single-1/1'))$$, 'one is thrown away before its checkpoint has passed it');
SELECT is(attempt($$es_drop_parked('single', id_of('single-1/1'))$$), '42704', 'it is not parked any more');
SELECT is(attempt($$es_drop_parked('single', id_of('single-1/2'))$$), '42704', 'nor is one that never was');
SELECT is(es_replay_parked('single', id_of('single-1/1')), 0, 'neither can be replayed');
SELECT is(parked_of('single'), 'single-2/1:1 single-3/1:1 single-4/1:1', 'the others are');
SELECT is(acked('single'), 'ok', 'done');
SELECT is(fetched('single'), '-', 'what was thrown away does not come');
SELECT is(rows_of('single'), 3::bigint, 'and has left no row');
SELECT lives_ok($$SELECT es_drop_parked(subscription => 'single', id => id_of('single-2/1'))$$, 'another one, by names');
SELECT is(es_replay_parked('single', id_of('single-4/1')), 1, 'one is replayed');
SELECT is(fetched('single'), 'single-4/1:1', 'that one');
SELECT is(nacked('single', 'single-4/1'), 'ok', 'it fails');
-- What the parser finds for literals
SELECT is(es_replay_parked('single', NULL), 2, 'NULL: all');
SELECT is(fetched('single'), 'single-3/1:1 single-4/1:1', 'they come');
SELECT is(nacked('single', 'single-3/1') || nacked('single', 'single-4/1'), 'okok', 'they fail');
SELECT is(es_replay_parked('single', '1'), 1, 'a number as text');
SELECT is(fetched('single'), 'single-3/1:1', 'it comes');
SELECT is(nacked('single', 'single-3/1'), 'ok', 'it fails');
SELECT is(counted(format('es_replay_parked(%L, %L)', 'single', id_of('single-3/1'))), 1, 'an id as text');
SELECT is(fetched('single'), 'single-3/1:1', 'it comes');
SELECT is(nacked('single', 'single-3/1'), 'ok', 'it fails');
SELECT is(es_replay_parked('single', max_count => NULL), 2, 'NULL by name: all');
SELECT is(es_replay_parked('single'), 0, 'none is left');
SELECT is(fetched('single'), 'single-3/1:1 single-4/1:1', 'they come');
SELECT is(acked('single') || rows_of('single'), 'ok0', 'done');
SELECT es_drop_subscription('single');

-- Thrown away, or replayed, where it holds its stream
SELECT es_create_subscription('hold', 'hold', partitions => 1, max_retries => 0, park_policy => 'block_stream');
SELECT fill('hold-1', 'hold-1', 'hold-2', 'hold-1');
SELECT is(fetched('hold', 'c', 3), 'hold-1/1:1 hold-1/2:1 hold-2/1:1', 'delivered');
SELECT is(nacked('hold', 'hold-1/1'), 'ok', 'one is parked');
SELECT is(acked('hold'), 'ok', 'acknowledged');
SELECT is(fetched('hold'), '-', 'its stream waits');
SELECT es_drop_parked('hold', id_of('hold-1/1'));
SELECT is(fetched('hold'), 'hold-1/2:1', 'thrown away: the next one comes');
SELECT is(nacked('hold', 'hold-1/2'), 'ok', 'is parked');
SELECT is(fetched('hold'), '-', 'and holds the last one');
SELECT is(es_replay_parked('hold', id_of('hold-1/2')), 1, 'replayed');
SELECT is(fetched('hold'), 'hold-1/2:1', 'it comes, and still holds the last one');
SELECT is(nacked('hold', 'hold-1/2'), 'ok', 'is parked again');
SELECT es_drop_parked('hold', id_of('hold-1/2'));
SELECT is(fetched('hold'), 'hold-1/3:1', 'thrown away: the last one comes');
SELECT is(acked('hold') || fetched('hold') || rows_of('hold'), 'ok-0', 'nothing is left');
-- While a later event of the stream is outstanding under a token
SELECT fill('hold-1', 'hold-1', 'hold-2');
SELECT is(fetched('hold'), 'hold-1/4:1 hold-1/5:1 hold-2/2:1', 'delivered');
SELECT is(nacked('hold', 'hold-1/4', 'park'), 'ok', 'one is parked, before the checkpoint');
SELECT es_drop_parked('hold', id_of('hold-1/4'));
SELECT is(acked('hold'), 'ok', 'the token is good');
SELECT is(fetched('hold'), 'hold-1/5:1', 'what had waited comes, though it was acknowledged: it had not counted');
SELECT is(acked('hold') || fetched('hold') || rows_of('hold'), 'ok-0', 'nothing is left');
-- One that was parked, and waits behind an earlier one that failed after it: replayed, it holds the stream when its turn comes
SELECT fill('hold-3', 'hold-3', 'hold-3');
SELECT es_alter_subscription('hold', max_retries => 5);
SELECT is(fetched('hold'), 'hold-3/1:1 hold-3/2:1 hold-3/3:1', 'delivered');
SELECT is(nacked('hold', 'hold-3/2', 'park'), 'ok', 'one is parked');
SELECT is(es_replay_parked('hold'), 1, 'and replayed');
SELECT is(nacked('hold', 'hold-3/1'), 'ok', 'the one before fails');
SELECT is(acked('hold') || fetched('hold'), 'okhold-3/1:2', 'the rest waits');
SELECT is(acked('hold') || fetched('hold'), 'okhold-3/2:1', 'it comes alone');
SELECT is(nacked('hold', 'hold-3/2', 'park'), 'ok', 'it is parked again');
SELECT is(fetched('hold'), '-', 'and holds the last one');
SELECT is(es_replay_parked('hold'), 1, 'replayed');
SELECT is(fetched('hold') || acked('hold') || fetched('hold') || acked('hold'), 'hold-3/2:1okhold-3/3:2ok', 'one after the other');
-- Replayed while it waits already
SELECT fill('hold-4', 'hold-4', 'hold-4');
SELECT is(fetched('hold'), 'hold-4/1:1 hold-4/2:1 hold-4/3:1', 'delivered');
SELECT is(nacked('hold', 'hold-4/2', 'park') || nacked('hold', 'hold-4/1') || acked('hold'), 'okokok', 'one is parked, and the one before fails');
SELECT is(es_replay_parked('hold'), 1, 'replayed');
SELECT is(fetched('hold') || acked('hold') || fetched('hold') || acked('hold') || fetched('hold'), 'hold-4/1:2okhold-4/2:1okhold-4/3:2', 'one after the other');
SELECT is(acked('hold') || fetched('hold') || rows_of('hold'), 'ok-0', 'nothing is left');
-- Thrown away while it waits, it does not come again
SELECT fill('hold-5', 'hold-5', 'hold-5');
SELECT is(fetched('hold'), 'hold-5/1:1 hold-5/2:1 hold-5/3:1', 'delivered');
SELECT is(nacked('hold', 'hold-5/2', 'park') || nacked('hold', 'hold-5/1') || acked('hold'), 'okokok', 'one is parked, and the one before fails');
SELECT es_drop_parked('hold', id_of('hold-5/2'));
SELECT is(fetched('hold') || acked('hold') || fetched('hold') || acked('hold'), 'hold-5/1:2okhold-5/3:2ok', 'the others come, one after the other');
SELECT is(fetched('hold') || rows_of('hold'), '-0', 'nothing is left');
SELECT es_drop_subscription('hold');
-- A later one that is to be tried again, and is delivered with an earlier one that fails then, was held: what is acknowledged does not count
SELECT es_create_subscription('overdue', 'overdue', partitions => 1);
SELECT fill('overdue-1', 'overdue-1', 'overdue-1', 'overdue-2');
SELECT is(fetched('overdue'), 'overdue-1/1:1 overdue-1/2:1 overdue-1/3:1 overdue-2/1:1', 'delivered');
SELECT is(nacked('overdue', 'overdue-1/2'), 'ok', 'one fails');
SELECT is(fetched('overdue'), 'overdue-1/1:2 overdue-1/2:2 overdue-2/1:2', 'again, with the one before');
SELECT is(nacked('overdue', 'overdue-1/1'), 'ok', 'that fails');
SELECT is(nacked('overdue', 'overdue-1/2'), '22023', 'the later one is held');
SELECT is(acked('overdue') || fetched('overdue') || acked('overdue'), 'okoverdue-1/1:3ok', 'the rest is acknowledged; the earlier one comes');
SELECT is(fetched('overdue') || acked('overdue'), 'overdue-1/2:2ok', 'then the later one, too');
SELECT is(fetched('overdue') || acked('overdue') || fetched('overdue') || rows_of('overdue'), 'overdue-1/3:2ok-0', 'and the last');
SELECT es_drop_subscription('overdue');
-- The same where parked events are passed
SELECT es_create_subscription('hold', 'hold', '{T}', after_position => -1, partitions => 1);
SELECT fill('hold-6', 'hold-6', 'hold-6');
SELECT is(fetched('hold'), 'hold-6/1:1 hold-6/2:1 hold-6/3:1', 'delivered');
SELECT is(nacked('hold', 'hold-6/2', 'park') || nacked('hold', 'hold-6/1') || acked('hold'), 'okokok', 'one is parked, and the one before fails');
SELECT es_drop_parked('hold', id_of('hold-6/2'));
SELECT is(fetched('hold') || acked('hold') || fetched('hold') || acked('hold'), 'hold-6/1:2okhold-6/3:2ok', 'the others come, one after the other');
SELECT is(fetched('hold') || rows_of('hold'), '-0', 'nothing is left');
SELECT es_drop_subscription('hold');

-- Another tenant, from the checkpoints on; what waits for another attempt and is not of it is forgotten
SELECT es_create_subscription('rent', 'rent', partitions => 1);
SELECT fill('rent-{a}-1', 'rent-{b}-1', 'rent-2');
SELECT is(fetched('rent'), 'rent-{a}-1/1:1 rent-{b}-1/1:1 rent-2/1:1', 'of all tenants');
SELECT is(nacked('rent', 'rent-{b}-1/1'), 'ok', 'one is to be tried again');
SELECT es_alter_subscription('rent', tenant => 'a');
SELECT is((SELECT tenant FROM eventstore.subscriptions WHERE name = 'rent'), 'a', 'it is narrowed to a tenant');
SELECT is(fetched('rent'), 'rent-{a}-1/1:1', 'what is of the tenant comes again');
SELECT is(acked('rent'), 'ok', 'acknowledged');
SELECT fill('rent-{a}-1', 'rent-{b}-1', 'rent-2');
SELECT is(fetched('rent'), 'rent-{a}-1/2:1', 'of the tenant alone');
SELECT is(acked('rent'), 'ok', 'acknowledged');
SELECT es_alter_subscription('rent', tenant => NULL, max_retries => 3);
SELECT is((SELECT tenant FROM eventstore.subscriptions WHERE name = 'rent'), 'a', 'null leaves the tenant');
SELECT es_alter_subscription('rent', tenant => '', partitions => 2);
SELECT is((SELECT tenant FROM eventstore.subscriptions WHERE name = 'rent'), NULL, 'empty: all tenants');
SELECT fill('rent-{b}-1');
SELECT is(fetched('rent'), 'rent-{b}-1/3:1', 'of all tenants, from the checkpoint on');
SELECT throws_ok($$SELECT es_alter_subscription('rent', tenant => 'a}')$$, '22023');
SELECT es_drop_subscription('rent');

-- What waits, and brings the last partition to where the present ones end, does not go on waiting: the next ones begin when that is committed
SELECT es_create_subscription('drain', 'drain', '{T}', partitions => 2);
SELECT is(fetched('drain', 'c') || fetched('drain', 'd') || fetched('drain', 'c') || fetched('drain', 'd'), '----', 'two share the partitions');
SELECT fill(VARIADIC array_agg('drain-' || i)) FROM generate_series(1, 8) i;
SELECT ok(fetched('drain', 'd') <> '-', 'events of one');
SELECT is(acked('drain'), 'ok', 'acknowledged');
SELECT es_append('drain-1', -1, 'U', '{}');
SELECT ok(fetched('drain', 'c') <> '-', 'those of the other');
SELECT es_alter_subscription('drain', 4);
SELECT is(acked('drain'), 'ok', 'are acknowledged, after the present partitions'' end is known');
SELECT fill('drain-1');
SET statement_timeout = '30s';
SELECT is(fetched('drain', 'd', 100, '1 hour'), '-', 'the first one comes to that end, and back');
RESET statement_timeout;
SELECT is(length(fetched('drain', 'c') || fetched('drain', 'd')), length('-drain-1/3:1'), 'then either has what comes after');
SELECT es_drop_subscription('drain');

SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_subscriptions_change CASCADE;
