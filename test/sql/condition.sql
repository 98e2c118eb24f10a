-- Conditional append and reading by query: what matches, what is refused, exact retries, and both against plain SQL.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_condition;
SET search_path = test_condition, public;
\pset tuples_only on
\pset format unaligned

-- What a call returns, or how it fails
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
	hint   text;
BEGIN
	EXECUTE call INTO result;
	RETURN coalesce(result, 'null');
EXCEPTION
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
		RETURN concat_ws(' ', SQLSTATE, SQLERRM || '.', nullif(hint, ''));
END
$$;

SELECT * FROM no_plan();

-- Queries that are none
SELECT attempt(format('SELECT count(*) FROM es_read_query(%L)', query)) FROM unnest(ARRAY[
	'null', '{}', '"x"', '7', '[]', '[null]', '[[]]', '["x"]', '[{}]', '[{"tags": []}]', '[{"types": []}]', '[{"tags": ["a"], "types": []}]',
	'[{"tags": null}]', '[{"tags": "a"}]', '[{"tags": ["a", null]}]', '[{"tags": ["a", 1]}]', '[{"tags": [""]}]', '[{"types": [""]}]',
	'[{"tag": ["a"]}]', '[{"tags": ["a"]}, {}]', '[{"tags": ["a"], "streams": ["b"]}]', '{"tags": ["a"]}']) query;
SELECT attempt(format('SELECT count(*) FROM es_read_query(%L)', jsonb_build_array(jsonb_build_object('tags', ARRAY[repeat('x', 513)]))));
SELECT attempt(format('SELECT count(*) FROM es_read_query(%L)', (SELECT jsonb_agg(jsonb_build_object('tags', ARRAY['t' || n])) FROM generate_series(1, 1001) n)));
SELECT attempt($$SELECT count(*) FROM es_read_query(NULL)$$);
SELECT attempt($$SELECT count(*) FROM es_read_query('[{"tags": ["a"]}]', NULL)$$);
SELECT attempt($$SELECT count(*) FROM es_read_query('[{"tags": ["a"]}]', -1)$$);
SELECT attempt($$SELECT count(*) FROM es_read_query('[{"tags": ["a"]}]', 0, -1)$$);
SELECT attempt($$SELECT count(*) FROM es_read_query('[{"tags": ["a"]}]', 0, 1, NULL)$$);
SELECT attempt($$SELECT es_append_if(NULL, '{"type": "T"}', '[{"tags": ["a"]}]')$$);
SELECT attempt($$SELECT es_append_if('if-1', NULL, '[{"tags": ["a"]}]')$$);
SELECT attempt($$SELECT es_append_if('if-1', '{"type": "T"}', NULL)$$);
SELECT attempt($$SELECT es_append_if('if-1', '{"type": "T"}', '[{"tags": ["a"]}]', NULL)$$);
SELECT attempt($$SELECT es_append_if('if-1', '{"type": "T"}', '[{"tags": ["a"]}]', -1)$$);
SELECT attempt($$SELECT es_append_if('if-1', '[]', '[{"tags": ["a"]}]')$$);
SELECT is((SELECT count(*) FROM eventstore.events WHERE category = 'if'), 0::bigint, 'nothing is stored');

-- What matches: all of the tags, one of the types; the call's own events do not count, those after the position do
SELECT is(es_append_if('if-1', '[{"type": "Opened", "tags": ["if:1", "if:red"]}, {"type": "Opened", "tags": ["if:1"]}]', '[{"tags": ["if:1"]}]'), 2::bigint,
	'nothing matches but what is appended');
CREATE TABLE first AS SELECT es_last_position() AS position;
SELECT is(attempt($$SELECT es_append_if('if-2', '{"type": "Closed", "tags": ["if:2"]}', '[{"tags": ["if:1"]}]')$$),
	'SE004 the condition of the append failed. Read by the query again, decide anew, and append with the position that was read up to.', 'a tag');
SELECT is(es_append_if('if-2', '{"type": "Closed", "tags": ["if:2"]}', query::jsonb), n, query)
FROM unnest(ARRAY['[{"tags": ["if:3"]}]', '[{"tags": ["if:1", "if:blue"]}]', '[{"tags": ["if:2", "if:1"], "types": ["Opened"]}]', '[{"tags": ["if:red"], "types": ["Closed", "x"]}]',
				  '[{"types": ["opened", "Open"]}]', '[{"tags": ["if"]}]', '[{"tags": ["IF:1"]}, {"tags": ["if:1", "if:4"]}]']) WITH ORDINALITY q (query, n);
SELECT is(attempt(format($$SELECT es_append_if('if-3', '{"type": "T", "tags": ["if:3"]}', %L)$$, query)) ~ '^SE004', true, query)
FROM unnest(ARRAY['[{"tags": ["if:red", "if:1"]}]', '[{"types": ["x", "Opened"]}]', '[{"tags": ["if:nobody"]}, {"tags": ["if:1", "if:red"], "types": ["Opened"]}]', '[{"tags": ["if:2"]}]',
				  '[{"types": ["Closed"], "tags": ["if:2", "if:2"]}]']) query;
SELECT is(es_append_if('if-3', '{"type": "T"}', '[{"tags": ["if:1"]}]', (SELECT position FROM first)), 1::bigint, 'up to the position nothing counts');
SELECT is(attempt(format($$SELECT es_append_if('if-3', '{"type": "T"}', '[{"tags": ["if:1"]}]', %s)$$, position - 1)) ~ '^SE004', true, 'after it, it does') FROM first;
SELECT is(es_append_if('if-3', '{"type": "T"}', '[{"tags": ["if:1"]}]', 9223372036854775807), 2::bigint, 'a position that will never be');

-- The first match is named.
DO $$
DECLARE
	detail text;
BEGIN
	PERFORM es_append_if('if-4', '{"type": "T"}', '[{"tags": ["if:2"]}, {"types": ["Opened"]}]');
EXCEPTION
	WHEN SQLSTATE 'SE004' THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		IF detail <> format('The first event that matches is at position %s.', (SELECT min(position) FROM eventstore.events WHERE type = 'Opened')) THEN
			RAISE EXCEPTION '%', detail;
		END IF;
END $$;
SELECT is(es_stream_version('if-4'), 0::bigint, 'the position of the first match is told, and nothing is stored');

-- Exact retries by id: whatever matches by now
SELECT is(es_append_if('if-5', '[{"type": "T", "tags": ["if:5"], "id": "c0000000-0000-0000-0000-000000000001"}]', '[{"tags": ["if:5"]}]'), 1::bigint, 'the first time');
SELECT is(es_append_if('if-5', '[{"type": "T", "tags": ["if:5"], "id": "c0000000-0000-0000-0000-000000000001"}]', '[{"tags": ["if:5"]}]'), 1::bigint, 'again');
SELECT is(attempt($$SELECT es_append_if('if-6', '[{"type": "T", "tags": ["if:5"], "id": "c0000000-0000-0000-0000-000000000001"}]', '[{"tags": ["if:6"]}]')$$) ~ '^SE002', true, 'in another stream');
SELECT is(attempt($$SELECT es_append_if('if-6', '[{"type": "T", "tags": ["if:5"], "id": "c0000000-0000-0000-0000-000000000002"}]', '[{"tags": ["if:5"]}]')$$) ~ '^SE004', true, 'with an id of its own');

-- Several in one statement, of which each sees those before
SELECT is(attempt($$SELECT es_append_if('if-7', '{"type": "T", "tags": ["if:7"]}', '[{"tags": ["if:7"]}]') FROM generate_series(1, 2)$$) ~ '^SE004', true, 'twice in a statement');
SELECT is((SELECT count(*) FROM (SELECT es_append_if('if-8', jsonb_build_object('type', 'T', 'tags', ARRAY['if:8:' || n]), jsonb_build_array(jsonb_build_object('tags', ARRAY['if:8:' || n])))
								 FROM generate_series(1, 3) n) a), 3::bigint, 'different tags in a statement');

-- An inline projection of events that were refused has not run.
CREATE TABLE seen (position bigint);
SELECT es_create_projection('condition_seen', 'INSERT INTO seen SELECT position FROM events', categories => '{if}', tables => '{seen}');
CREATE TABLE seen_before AS SELECT count(*) AS n FROM seen;
SELECT is(attempt($$SELECT es_append_if('if-9', '{"type": "T"}', '[{"tags": ["if:1"]}]')$$) ~ '^SE004', true, 'refused');
SELECT is(es_append_if('if-9', '{"type": "T"}', '[{"tags": ["if:9"]}]'), 1::bigint, 'accepted');
SELECT is((SELECT count(*) FROM seen), n + 1, 'the projection has seen the one') FROM seen_before;
SELECT es_drop_projection('condition_seen');

-- Against plain SQL: random events and queries, forward and backward, with limits
CREATE FUNCTION matches(e eventstore.events, query jsonb) RETURNS boolean LANGUAGE sql AS
$$
	SELECT bool_or((NOT item ? 'types' OR item -> 'types' ? e.type)
				   AND (NOT item ? 'tags' OR coalesce(e.tags @> ARRAY(SELECT jsonb_array_elements_text(item -> 'tags')), false)))
	FROM jsonb_array_elements(query) item
$$;
CREATE FUNCTION some_of(prefix text, among int, at_most int) RETURNS text[] LANGUAGE sql VOLATILE AS
$$ SELECT array_agg(DISTINCT prefix || (random() * random() * among)::int) FROM generate_series(1, 1 + (random() * (at_most - 1))::int) $$;
CREATE FUNCTION query() RETURNS jsonb LANGUAGE sql VOLATILE AS
$$
	SELECT jsonb_agg(CASE WHEN random() < 0.25 THEN jsonb_build_object('types', some_of('R', 5, 2))
						  ELSE jsonb_build_object('tags', some_of('r:', 12, 3)) || CASE WHEN random() < 0.4 THEN jsonb_build_object('types', some_of('R', 5, 2)) ELSE '{}' END END)
	FROM generate_series(1, 1 + (random() * 2)::int)
$$;
SELECT setseed(0.42);
DO $$
BEGIN
	FOR n IN 1 .. 1500 LOOP
		PERFORM es_append('random-' || n % 50, -1, 'R' || (random() * 5)::int, '{}', tags => CASE WHEN random() < 0.9 THEN some_of('r:', 12, 5) END);
	END LOOP;
END $$;
CREATE TABLE asked AS
	SELECT n, query() AS query, CASE WHEN random() < 0.5 THEN 0 ELSE (SELECT position FROM es_read_all(0, 1) f) + (random() * 1500)::bigint END AS after,
		   CASE WHEN random() < 0.5 THEN 10000 ELSE (random() * 20)::bigint END AS max_count, random() < 0.5 AS backward
	FROM generate_series(1, 400) n;
CREATE FUNCTION expected(asked) RETURNS bigint[] LANGUAGE sql AS
$$
	SELECT array_agg(position) FROM
		(SELECT position FROM eventstore.events e
		 WHERE category = 'random' AND matches(e, $1.query) AND CASE WHEN NOT $1.backward THEN position > $1.after ELSE position < $1.after OR $1.after = 0 END
		 ORDER BY CASE WHEN $1.backward THEN -position ELSE position END LIMIT $1.max_count) e
$$;
SELECT is((SELECT count(*) FROM asked), 400::bigint);
SELECT is((SELECT count(*) FROM asked a WHERE expected(a) IS NOT NULL) > 100, true, 'most queries find something');
SELECT is((SELECT array_agg(a.n) FROM asked a
		   WHERE (SELECT array_agg(position) FROM es_read_query(a.query, a.after, a.max_count, a.backward)) IS DISTINCT FROM expected(a)), NULL,
	'es_read_query is what SQL finds');
SELECT is((SELECT array_agg(a.n) FROM asked a
		   WHERE (attempt(format($a$SELECT es_append_if('if-random', '{"type": "T"}', %L, %s)$a$, query, after)) ~ '^SE004')
				 <> EXISTS (SELECT FROM eventstore.events e WHERE category = 'random' AND matches(e, a.query) AND position > a.after)), NULL,
	'es_append_if refuses where SQL finds something, and nowhere else');

-- The index of tags made anew, and by a session that adds a column: the same
REINDEX TABLE eventstore.events;
SELECT is((SELECT array_agg(a.n) FROM asked a
		   WHERE (SELECT array_agg(position) FROM es_read_query(a.query, a.after, a.max_count, a.backward)) IS DISTINCT FROM expected(a)), NULL,
	'after REINDEX, too');
BEGIN;
ALTER TABLE eventstore.events ADD COLUMN extra text DEFAULT 'x';
SELECT is(es_append('if-extra', 0, 'T', '{}', tags => '{if:extra, if:extra, if:more}'), 1::bigint, 'the way by the executor');
SELECT is(attempt($$SELECT es_append_if('if-other', '{"type": "T"}', '[{"tags": ["if:more", "if:extra"]}]')$$) ~ '^SE004', true, 'writes the index of tags, too');
ROLLBACK;

-- Two tags of the same key in the index of tags: each finds its own.
SELECT es_append('if-collision-1', 0, 'T', '{}', tags => '{8yn0iYCKYHlIj4-BwPqk}'), es_append('if-collision-2', 0, 'T', '{}', tags => '{GReLUrM4wMqfg9yzV3KQ,if:collision}');
SELECT is((SELECT array_agg(stream) FROM es_read_query('[{"tags": ["8yn0iYCKYHlIj4-BwPqk"]}]')), '{if-collision-1}', 'tags of the same key');
SELECT is((SELECT array_agg(stream) FROM es_read_query('[{"tags": ["GReLUrM4wMqfg9yzV3KQ"]}]')), '{if-collision-2}', 'each finds its own');
SELECT is((SELECT count(*) FROM es_read_query('[{"tags": ["8yn0iYCKYHlIj4-BwPqk", "if:collision"]}]')), 0::bigint, 'and both together none');
SELECT is(es_append('if-collision-3', 0, 'T', '{}', tags => '{8yn0iYCKYHlIj4-BwPqk,GReLUrM4wMqfg9yzV3KQ}'), 1::bigint, 'an event may have both');
SELECT is((SELECT array_agg(stream) FROM es_read_query('[{"tags": ["8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"]}]')), '{if-collision-3}', 'and is found by them');
SELECT is(attempt($$SELECT es_append_if('if-other', '{"type": "T"}', '[{"tags": ["GReLUrM4wMqfg9yzV3KQ"]}]', (SELECT max(position) FROM eventstore.events WHERE stream = 'if-collision-2'))$$) ~ '^SE004',
	true, 'and refused for');

-- The planner never takes it for an index of its columns.
SET enable_seqscan = off;
CREATE FUNCTION plan(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (COSTS off) ' || query; END $$;
SELECT is((SELECT count(*) FROM unnest(ARRAY['SELECT position FROM eventstore.events WHERE tags = ''{a}''', 'SELECT position FROM eventstore.events WHERE tags IS NULL',
	'SELECT tags, position FROM eventstore.events ORDER BY tags, position', 'SELECT position FROM eventstore.events WHERE tags @> ''{a}'' AND position > 7',
	'SELECT max(tags) FROM eventstore.events', 'SELECT count(*) FROM eventstore.events']) q, plan(q) p WHERE p ~ 'events_.*tags_position_idx'), 0::bigint, 'no plan uses it');

SELECT * FROM finish();
SET client_min_messages = warning;
DROP SCHEMA test_condition CASCADE;
