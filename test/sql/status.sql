-- What the views of status cost to show: compiling them (jit, on by default) takes longer than all else, so they must not look dear to the
-- planner, however many events there are; and what they count is counted by functions that are never compiled.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_status;
SET search_path = test_status, public;

CREATE FUNCTION cost(query text) RETURNS numeric LANGUAGE plpgsql AS
$$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON) ' || query INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Total Cost')::numeric;
END
$$;
-- Whether a query is compiled where everything is that seems to cost more than 2000.
CREATE FUNCTION is_compiled(query text) RETURNS boolean LANGUAGE plpgsql SET jit = on SET jit_above_cost = 2000 AS
$$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, FORMAT JSON) ' || query INTO plan;
	RETURN plan -> 0 -> 'JIT' IS NOT NULL;
END
$$;

\pset tuples_only on
\pset format unaligned
SELECT * FROM no_plan();
SELECT count(es_append('status-' || i, -1, array_fill('T'::text, ARRAY[1000]), array_fill('{}'::jsonb, ARRAY[1000]))) FROM generate_series(1, 30) i;
ANALYZE eventstore.events, eventstore.subscriptions, eventstore.subscription_retries, eventstore.projections;
SELECT es_create_projection('status_' || i, 'SELECT stream, count(*) AS n FROM events GROUP BY stream', m) FROM unnest('{async,async,inline}'::text[]) WITH ORDINALITY u (m, i);
SELECT es_create_subscription('status', 'status');

SELECT cmp_ok(cost('SELECT count(data::text) FROM eventstore.events'), '>', 500::numeric, 'events are many enough for this');
SELECT cmp_ok(cost('SELECT * FROM ' || v), '<', 2000::numeric, v), ok(NOT is_compiled('SELECT * FROM ' || v), v || ' is not compiled')
FROM unnest('{eventstore.subscription_status,eventstore.projection_status,eventstore.parked,eventstore.inflight,eventstore.grants,eventstore.health,eventstore.stats,eventstore.categories,eventstore.types}'::text[]) v;
SELECT is((SELECT sum(lag_events) FROM eventstore.subscription_status WHERE name = 'status'), 30000::numeric, 'a subscription''s lag');
SELECT is((SELECT sum(lag) FROM eventstore.projection_status WHERE name LIKE 'status%'), 2 * (SELECT count(*) FROM eventstore.events)::numeric, 'projections'' lag');
SELECT is((SELECT min(events_applied) FROM eventstore.projection_status WHERE name = 'status_3'), (SELECT count(*) FROM eventstore.events), 'what is counted for an inline one');

-- Nothing is counted that is not asked for.
BEGIN;
SET LOCAL track_functions = 'all';
SELECT is((SELECT string_agg(state, ' ' ORDER BY name) FROM eventstore.projection_status WHERE name LIKE 'status%'), 'running running running', 'states');
SELECT is((SELECT lag FROM eventstore.projection_status WHERE name = 'status_3'), 0::bigint, 'the lag of a running inline one');
SELECT is((SELECT count(*) FROM pg_stat_xact_user_functions WHERE funcname = 'count_behind'), 0::bigint, 'are told without counting');
COMMIT;

SELECT es_drop_projection('status_' || i, true) FROM generate_series(1, 3) i;
SELECT es_drop_subscription('status');
SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_status CASCADE;
