-- Projections whose SQL appends: they never see what they have appended themselves, others do, and two that answer each other are stopped.
SET client_min_messages = warning;
SET partitioned.every = 10000; -- a transaction that has created an inline projection makes no partition
DROP EXTENSION IF EXISTS eventstore CASCADE;
CREATE EXTENSION eventstore;
RESET client_min_messages;
CREATE SCHEMA test_managers;
SET search_path = test_managers, public;
\set VERBOSITY terse

-- It answers every event there is: its own ones, too, if it saw them.
CREATE FUNCTION answer(event eventstore.event, by text) RETURNS bigint LANGUAGE sql AS
$$
	SELECT es_append('answer-' || by, es_any(), 'Answered', jsonb_build_object('by', by, 'stream', event.stream, 'version', event.version))
$$;
SELECT es_append('order-1', 0, 'Ordered', '{}');
SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');
SELECT es_create_projection('inline_answer', 'SELECT answer(e, ''inline'') FROM events e');
SELECT es_create_projection('async_answer', 'SELECT answer(e, ''async'') FROM events e', 'async');
SELECT stream, version, data FROM eventstore.events ORDER BY position;
SELECT es_append('order-1', 1, '[{"type": "Ordered"}, {"type": "Paid"}]'), es_append('order-2', 0, 'Ordered', '{}');
-- What a projection appends is not what the session did last.
SELECT stream FROM eventstore.events WHERE position = es_last_position();
SELECT stream, count(*) FROM eventstore.events GROUP BY stream ORDER BY stream;

-- Async: it answers the inline one's answers, and is answered by it, but not itself.
SELECT es_run_projection('async_answer');
SELECT stream, count(*) FROM eventstore.events GROUP BY stream ORDER BY stream;
-- The next time it sees what came meanwhile: the inline one's answers to its own events, and answers those
SELECT es_run_projection('async_answer');
SELECT es_run_projection('async_answer', 3);
SELECT count(*) FILTER (WHERE data->>'stream' = stream) AS answered_itself FROM eventstore.events;
SELECT count(*) FROM counts FULL JOIN (SELECT stream, count(*) AS n FROM eventstore.events GROUP BY stream) e USING (stream) WHERE counts.n IS DISTINCT FROM e.n;
SELECT name, events_applied, (SELECT count(*) FROM eventstore.events e WHERE e.position <= p.position AND NOT EXISTS (SELECT FROM eventstore.projection_appends a WHERE a.projection = name AND a.position = e.position)) AS not_its_own
FROM eventstore.projection_status p WHERE name LIKE '%answer' ORDER BY name;
SELECT projection, count(*) = (SELECT count(*) FROM eventstore.events WHERE data->>'by' || '_answer' = projection) AS all_noted FROM eventstore.projection_appends GROUP BY projection ORDER BY projection;
-- Paused and resumed, it does not see its own either.
SELECT es_pause_projection('inline_answer');
SELECT es_append('order-3', 0, 'Ordered', '{}');
SELECT es_resume_projection('inline_answer');
SELECT data FROM eventstore.events ORDER BY position DESC LIMIT 1;
SELECT count(*) FILTER (WHERE data->>'stream' = stream) AS answered_itself FROM eventstore.events;

-- A failed append of a projection fails the append that it answers.
SELECT es_create_projection('late', 'SELECT es_append(''order-1'', 0, ''Late'', ''{}'') FROM events', types => '{Late?}');
DO $$
DECLARE
	d text;
BEGIN
	PERFORM es_append('order-9', 0, 'Late?', '{}');
EXCEPTION WHEN SQLSTATE 'SE006' THEN
	GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '%', regexp_replace(d, 'position \d+', 'position N');
END $$;
SELECT es_stream_version('order-9');
SELECT es_drop_projection('late');

-- Dropping one forgets what it has appended.
SELECT es_drop_projection('async_answer');
SELECT DISTINCT projection FROM eventstore.projection_appends;

-- Two that answer each other: stopped, whichever way they meet, and nothing is stored
CREATE TABLE before AS SELECT count(*) AS n FROM eventstore.events;
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	d text; m text; h text;
BEGIN
	EXECUTE call;
	RETURN 'done';
EXCEPTION WHEN SQLSTATE 'SE006' THEN
	GET STACKED DIAGNOSTICS m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(' / ', m, d, h);
END $$;
SELECT attempt($$SELECT es_create_projection('second_answer', 'SELECT answer(e, ''second'') FROM events e')$$);
SELECT count(*) - (SELECT n FROM before) AS more, (SELECT count(*) FROM eventstore.projections) AS projections FROM eventstore.events;
SELECT es_pause_projection('inline_answer');
SELECT es_create_projection('second_answer', 'SELECT answer(e, ''second'') FROM events e');
SELECT count(*) - (SELECT n FROM before) = (SELECT n FROM before) AS answered_once FROM eventstore.events;
SELECT attempt('SELECT es_resume_projection(''inline_answer'')');
SELECT es_append('order-1', -1, 'Ordered', '{}') > 0;
-- Both are made to run, where there is nothing to answer yet.
SELECT es_drop_projection('inline_answer'), es_drop_projection('second_answer');
SELECT es_create_projection('ping', 'SELECT es_append(''ping-1'', es_any(), ''Ping'', ''{}'') FROM events', types => '{Pong}'), es_create_projection('pong', 'SELECT es_append(''pong-1'', es_any(), ''Pong'', ''{}'') FROM events', types => '{Ping}');
SELECT attempt('SELECT es_append(''ping-1'', 0, ''Ping'', ''{}'')');
SELECT es_stream_version('ping-1'), es_stream_version('pong-1');
SELECT name, state FROM eventstore.projection_status ORDER BY name;

-- Others see what is appended in the order of positions, whatever their names: after what it answers. What a handler takes back, nobody sees.
SELECT es_drop_projection(name) FROM eventstore.projections ORDER BY name;
CREATE TABLE log (nr bigint GENERATED ALWAYS AS IDENTITY, type text, position bigint);
CREATE TABLE last (stream text COLLATE "C" PRIMARY KEY, type text);
CREATE FUNCTION pay(event eventstore.event) RETURNS void LANGUAGE plpgsql AS
$$
BEGIN
	PERFORM es_append(event.stream, es_any(), 'Paid', '{}');
	BEGIN
		PERFORM es_append(event.stream, es_any(), 'Taken back', '{}');
		RAISE division_by_zero;
	EXCEPTION WHEN division_by_zero THEN
		NULL;
	END;
	PERFORM es_append(event.stream, es_any(), 'Thanked', '{}');
END
$$;
SELECT es_create_projection('a_log', 'INSERT INTO log (type, position) SELECT type, position FROM events', categories => '{sale}'), es_create_projection('pay', 'SELECT pay(e) FROM events e', types => '{Ordered}', categories => '{sale}'),
	   es_create_projection('z_last', 'INSERT INTO last AS l SELECT DISTINCT ON (stream) stream, type FROM events ORDER BY stream, position DESC ON CONFLICT (stream) DO UPDATE SET type = excluded.type', categories => '{sale}');
SELECT es_append('sale-1', 0, '[{"type": "Opened"}, {"type": "Ordered"}]');
SELECT version, type FROM es_read('sale-1');
SELECT type, position > lag(position) OVER (ORDER BY nr) AS rises FROM log ORDER BY nr;
TABLE last;

SET client_min_messages = warning;
DROP EXTENSION eventstore CASCADE;
DROP SCHEMA test_managers CASCADE;
