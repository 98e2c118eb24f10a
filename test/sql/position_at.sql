-- es_position_at: the place from which on everything was recorded at or after a time, without looking at all that was before.
SET client_min_messages = warning;
SET partitioned.every = 10000;
DROP EXTENSION IF EXISTS eventstore;
CREATE EXTENSION eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_position_at;
SET search_path = test_position_at, public;

-- What it has to be, found by looking at all events
CREATE FUNCTION expected(at timestamptz) RETURNS bigint LANGUAGE sql AS
	$$SELECT coalesce(min(position) - 1, es_head()) FROM eventstore.events WHERE recorded_at >= at$$;
-- How many pages a query looks at
CREATE FUNCTION pages(query text) RETURNS bigint LANGUAGE plpgsql AS
$$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint;
END
$$;
CREATE TABLE times (nr int GENERATED ALWAYS AS IDENTITY, at timestamptz);
-- 20000 events, in many appends, then some time
CREATE PROCEDURE fill() LANGUAGE plpgsql AS
$$
BEGIN
	INSERT INTO test_position_at.times (at) VALUES (clock_timestamp());
	FOR i IN 1 .. 200 LOOP
		PERFORM es_append('at-' || i % 7, -1, array_fill('T'::text, ARRAY[100]), array_fill('{}'::jsonb, ARRAY[100]));
		COMMIT;
	END LOOP;
	PERFORM pg_sleep(1.2);
END
$$;

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();

SELECT is(es_position_at(clock_timestamp()), es_head(), 'nothing was recorded from now on: the head');
CALL fill();
CALL fill();
CALL fill();
INSERT INTO times (at) VALUES (clock_timestamp());
SELECT is(count(*) FILTER (WHERE es_position_at(at) = expected(at)), 4::bigint, 'right before what was recorded since') FROM times;
SELECT is(count(*) FILTER (WHERE es_position_at(at) <> expected(at)), 0::bigint, 'at the times of events, right before, right after')
FROM (SELECT recorded_at + d AS at FROM eventstore.events CROSS JOIN unnest('{-1 us,0,1 us}'::interval[]) d WHERE stream = 'at-1' AND version % 83 = 1) t;
SELECT is(es_position_at('-infinity'), (SELECT min(position) - 1 FROM eventstore.events), 'from the beginning of time');
SELECT is(es_position_at('infinity'), es_head(), 'from its end');
SELECT is(es_position_at('2000-01-01'), (SELECT min(position) - 1 FROM eventstore.events), 'long ago');
SELECT is(es_position_at(at => '3000-01-01'), es_head(), 'not yet');
SELECT throws_ok('SELECT es_position_at(NULL)', '22004', 'at must not be null');

-- With what takes an after_position
SELECT results_eq($$SELECT count(*), bool_and(recorded_at >= (SELECT at FROM times WHERE nr = 3)) FROM es_read_category('at', es_position_at((SELECT at FROM times WHERE nr = 3)), 100000)$$,
				  $$VALUES (20000::bigint, true)$$, 'read from there: all of it, and nothing else');
SELECT lives_ok($$SELECT es_create_subscription('at', 'at', after_position => es_position_at(clock_timestamp()))$$, 'a subscription from now on');
SELECT es_drop_subscription('at');

-- It does not look at all that was before.
SELECT cmp_ok(pages(format('SELECT es_position_at(%L)', at)), '<', pages('SELECT count(*) FROM eventstore.events WHERE position > 0 AND recorded_at IS NOT NULL') / 3, 'few pages, time ' || nr)
FROM times WHERE nr IN (3, 4) ORDER BY nr;

-- A transaction's own events are in flight, and so beyond what it is told.
BEGIN;
SELECT clock_timestamp() AS now \gset
SELECT count(es_append('at-1', -1, 'T', '{}')) FROM generate_series(1, 5000);
SELECT is(es_position_at(:'now'), es_head(), 'not beyond the head');
ROLLBACK;
SELECT is(es_position_at(:'now'), es_head(), 'rolled back');
-- One that rolls back has marked nothing, but the next ones do.
SELECT is((SELECT count(*) FROM eventstore.marks WHERE position > (SELECT max(position) FROM eventstore.events)), 0::bigint, 'no mark is beyond the events');
SELECT cmp_ok((SELECT count(*) FROM eventstore.marks), '>=', 14::bigint, 'marks');
SELECT is((SELECT count(*) FROM eventstore.marks m WHERE EXISTS (SELECT FROM eventstore.events e WHERE e.position <= m.position AND e.recorded_at > m.recorded_by)), 0::bigint, 'all of them tell the truth');

SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_position_at CASCADE;
