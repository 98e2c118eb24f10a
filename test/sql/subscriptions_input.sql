-- Subscriptions: each wrong argument raises the right SQLSTATE, changes nothing, and the session goes on.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
CREATE SCHEMA test_subscriptions_input;
SET search_path = test_subscriptions_input, public;
CREATE TABLE bad_calls (nr int GENERATED ALWAYS AS IDENTITY, want text, call text);
SELECT es_create_subscription('input', partitions => 4);
SELECT es_append('input-1', 0, 'T', '{}');
SELECT count(*) > 0 AS delivered FROM es_fetch('input', 'c');
CREATE TABLE given AS SELECT max(token) AS token, max(delivered) AS position FROM eventstore.subscription_shares WHERE subscription = 'input';

-- The name, in all verbs
INSERT INTO bad_calls (want, call)
SELECT want, replace(verb, '$', name)
FROM unnest(ARRAY['es_create_subscription($)', 'es_drop_subscription($)', 'es_alter_subscription($, 5)', 'es_reset_subscription($, 0)', 'es_replay_parked($)', 'es_fetch($)',
				  'es_replay_parked($, ''00000000-0000-0000-0000-000000000000''::uuid)', 'es_replay_parked($, ''1''::text)', 'es_drop_parked($, ''00000000-0000-0000-0000-000000000000'')',
				  'es_pause_subscription($)', 'es_resume_subscription($)',
				  'es_ack($, 1, 1)', 'es_nack($, 1, 1, ''no'')', 'es_release($)']) verb,
	 (VALUES ('22004', 'NULL'), ('22023', ''''''), ('54000', 'repeat(''x'', 513)'), ('42704', '''no such''')) n (want, name)
WHERE verb !~ 'create' OR want <> '42704';
INSERT INTO bad_calls (want, call) VALUES
	('42710', $$es_create_subscription('input')$$),
	('22023', $$es_create_subscription('new', types => '{}')$$),
	('22023', $$es_create_subscription('new', types => '{{A},{B}}')$$),
	('22004', $$es_create_subscription('new', types => '{A,NULL}')$$),
	('22023', $$es_create_subscription('new', types => '{A,""}')$$),
	('54000', $$es_create_subscription('new', types => ARRAY[repeat('x', 257)])$$),
	('54000', $$es_create_subscription('new', category => repeat('x', 513))$$),
	('22004', $$es_create_subscription('new', after_position => NULL)$$),
	('22023', $$es_create_subscription('new', after_position => -2)$$),
	('22004', $$es_create_subscription('new', partitions => NULL)$$),
	('22023', $$es_create_subscription('new', partitions => 0)$$),
	('22023', $$es_create_subscription('new', partitions => -1)$$),
	('22023', $$es_create_subscription('new', partitions => 4097)$$),
	('22004', $$es_create_subscription('new', max_retries => NULL)$$),
	('22023', $$es_create_subscription('new', max_retries => -1)$$),
	('22004', $$es_create_subscription('new', lease => NULL)$$),
	('22023', $$es_create_subscription('new', lease => '0')$$),
	('22023', $$es_create_subscription('new', lease => '-1 s')$$),
	('22004', $$es_create_subscription('new', park_policy => NULL)$$),
	('22023', $$es_create_subscription('new', park_policy => 'Pass')$$),
	('22023', $$es_create_subscription('new', after_position => es_head() + 1)$$),
	('22023', $$es_create_subscription('new', after_position => 9223372036854775807)$$),
	('54000', $$es_alter_subscription('input', category => repeat('x', 513))$$),
	('22023', $$es_alter_subscription('input', types => '{A,""}')$$),
	('22023', $$es_alter_subscription('input', types => '{{A},{B}}')$$),
	('22004', $$es_alter_subscription('input', types => '{A,NULL}')$$),
	('54000', $$es_alter_subscription('input', types => ARRAY[repeat('x', 257)])$$),
	('22023', $$es_alter_subscription('input', 0)$$),
	('22023', $$es_alter_subscription('input', 4097)$$),
	('22023', $$es_alter_subscription('input', 4, park_policy => 'block')$$),
	('22023', $$es_alter_subscription('input', 4, max_retries => -1)$$),
	('22023', $$es_alter_subscription('input', 4, lease => '0')$$),
	('22004', $$es_reset_subscription('input', NULL)$$),
	('22023', $$es_reset_subscription('input', -2)$$),
	('22023', $$es_reset_subscription('input', es_head() + 1)$$),
	('22023', $$es_reset_subscription('input', 9223372036854775807)$$),
	('22023', $$es_replay_parked('input', -1)$$),
	('22023', $$es_replay_parked('input', '-1')$$),
	('22P02', $$es_replay_parked('input', 'one')$$),
	('22P02', $$es_replay_parked('input', '00000000-0000-0000-0000-00000000000x')$$),
	('22004', $$es_replay_parked('input', NULL::uuid)$$),
	('22004', $$es_replay_parked('input', id => NULL)$$),
	('22004', $$es_drop_parked('input', NULL)$$),
	('42704', $$es_drop_parked('input', '00000000-0000-0000-0000-000000000000')$$),
	('42704', $$es_drop_parked('input', (SELECT id FROM eventstore.events WHERE stream = 'input-1'))$$),
	('22023', $$es_fetch('input', '')$$),
	('54000', $$es_fetch('input', repeat('x', 513))$$),
	('22004', $$es_fetch('input', 'c', NULL)$$),
	('22023', $$es_fetch('input', 'c', -1)$$),
	('22004', $$es_fetch('input', 'c', 1, NULL)$$),
	('22023', $$es_fetch('input', 'c', 1, '-1 s')$$),
	('22004', $$es_ack('input', NULL, 1)$$),
	('22004', $$es_ack('input', 1, NULL)$$),
	('22023', $$es_ack('input', (SELECT token FROM given), -1)$$),
	('22023', $$es_ack('input', (SELECT token FROM given), (SELECT position + 1 FROM given))$$),
	('22023', $$es_ack('input', (SELECT token FROM given), 9223372036854775807)$$),
	('SE005', $$es_ack('input', (SELECT token + 1000 FROM given), 1)$$),
	('SE005', $$es_ack('input', 0, 0)$$),
	('SE005', $$es_ack('input', -1, 0)$$),
	('22004', $$es_nack('input', NULL, 1, 'no')$$),
	('22004', $$es_nack('input', 1, NULL, 'no')$$),
	('22004', $$es_nack('input', (SELECT token FROM given), (SELECT position FROM given), NULL)$$),
	('22004', $$es_nack('input', (SELECT token FROM given), (SELECT position FROM given), 'no', NULL)$$),
	('22023', $$es_nack('input', (SELECT token FROM given), (SELECT position FROM given), 'no', 'again')$$),
	('22004', $$es_nack('input', (SELECT token FROM given), (SELECT position FROM given), 'no', 'retry', NULL)$$),
	('22023', $$es_nack('input', (SELECT token FROM given), (SELECT position FROM given), 'no', 'retry', '-1 s')$$),
	('22023', $$es_nack('input', (SELECT token FROM given), (SELECT position + 1 FROM given), 'no')$$),
	('22023', $$es_nack('input', (SELECT token FROM given), 0, 'no')$$),
	('22023', $$es_nack('input', (SELECT token FROM given), -1, 'no')$$),
	('SE005', $$es_nack('input', (SELECT token + 1000 FROM given), 1, 'no')$$),
	('22023', $$es_release('input', '')$$),
	('54000', $$es_release('input', repeat('x', 513))$$),
	('22004', $$es_partition(NULL, 1)$$),
	('22004', $$es_partition('a', NULL)$$),
	('22023', $$es_partition('', 1)$$),
	('54000', $$es_partition(repeat('x', 513), 1)$$),
	('22023', $$es_partition('a', 0)$$),
	('22023', $$es_partition('a', -1)$$);

CREATE FUNCTION state() RETURNS text LANGUAGE sql AS
$$
	SELECT (SELECT string_agg(s::text, ';' ORDER BY s::text) FROM eventstore.subscriptions s) || (SELECT string_agg(s::text, ';' ORDER BY s::text) FROM eventstore.subscription_shares s)
		   || coalesce((SELECT string_agg(s::text, ';' ORDER BY s::text) FROM eventstore.subscription_retries s), '')
$$;
CREATE FUNCTION run_bad_calls() RETURNS TABLE (nr int, want text, got text, message text) LANGUAGE plpgsql AS
$$
DECLARE
	before text := state();
	bad record;
BEGIN
	FOR bad IN SELECT * FROM bad_calls b ORDER BY b.nr LOOP
		nr := bad.nr;
		want := bad.want;
		got := 'no error';
		message := NULL;
		BEGIN
			EXECUTE 'SELECT count(t::text) FROM (SELECT ' || bad.call || ') t';
		EXCEPTION
			WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS got = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
		END;
		IF before <> state() THEN
			got := got || ', and something has changed';
			before := state();
		END IF;
		RETURN NEXT;
	END LOOP;
END
$$;
CREATE TABLE outcomes AS SELECT * FROM run_bad_calls();
-- The wrong ones: none
SELECT o.nr, call, o.want, got, message FROM outcomes o JOIN bad_calls USING (nr) WHERE got <> o.want ORDER BY nr;
SELECT got, count(*) FROM outcomes GROUP BY 1 ORDER BY 1;
-- The messages
SELECT DISTINCT got, regexp_replace(message, '(?<=event )[0-9a-f-]{36}|\d{2,}|(?<=(token|position) )\d+', 'N', 'g') COLLATE "C" AS message FROM outcomes ORDER BY got, message;

-- Read-only transactions
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'no error';
EXCEPTION
	WHEN OTHERS THEN
		RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
BEGIN READ ONLY;
SELECT call, attempt(call)
FROM unnest(ARRAY['es_create_subscription(''new'')', 'es_drop_subscription(''input'')', 'es_alter_subscription(''input'', 5)', 'es_reset_subscription(''input'', 0)', 'es_replay_parked(''input'')', 'es_fetch(''input'')',
				  'es_pause_subscription(''input'')', 'es_resume_subscription(''input'')', 'es_drop_parked(''input'', gen_random_uuid())', 'es_replay_parked(''input'', gen_random_uuid())',
				  'es_ack(''input'', 1, 1)', 'es_nack(''input'', 1, 1, ''no'')', 'es_release(''input'')', 'es_partition(''input-1'', 1)', 'count(*) FROM eventstore.subscription_status', 'count(*) FROM eventstore.parked']) call;
COMMIT;

-- Times without end; there are infinite intervals since version 17.
SELECT CASE WHEN current_setting('server_version_num')::int < 170000 THEN '22023 delay must be finite'
			ELSE attempt($$es_nack('input', (SELECT token FROM given), (SELECT position FROM given), 'no', delay => 'infinity')$$) END AS never_again;
SELECT CASE WHEN current_setting('server_version_num')::int < 170000 THEN 'no error' ELSE attempt($$es_create_subscription('endless', lease => 'infinity')$$) END AS endless_lease;
SELECT CASE WHEN current_setting('server_version_num')::int < 170000 THEN 'no error' ELSE attempt($$count(*) FROM es_fetch('endless', 'c', wait => 'infinity')$$) END AS endless_wait;
DO $$ BEGIN IF current_setting('server_version_num')::int >= 170000 THEN PERFORM es_drop_subscription('endless'); END IF; END $$;
SELECT es_create_subscription('long', partitions => 1, lease => '100000 years', max_retries => 2147483647);
SELECT count(*) > 0 AS delivered FROM es_fetch('long', 'c');
SELECT es_nack('long', (SELECT token FROM eventstore.subscription_shares WHERE subscription = 'long'), (SELECT position FROM given), 'later', delay => '100000 years');
SELECT es_drop_subscription('long');
-- As many partitions as there may be, as few as there may be
SELECT es_create_subscription('many', partitions => 4096), es_create_subscription('few', partitions => 1);
SELECT count(*) > 0 AS delivered FROM es_fetch('many', 'c');
SELECT count(*) > 0 AS delivered FROM es_fetch('few', 'c');
SELECT name, consumer, count(*) FROM eventstore.subscription_status WHERE name IN ('many', 'few') GROUP BY 1, 2 ORDER BY 1;
SELECT es_drop_subscription('many'), es_drop_subscription('few'), es_drop_subscription('input');
SET client_min_messages = warning;
DROP SCHEMA test_subscriptions_input CASCADE;
