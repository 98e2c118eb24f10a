-- Functions of the store in a parallel worker, where a function that is wrongly declared PARALLEL SAFE may bring them: those that can not
-- run there say so, with 25000.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
RESET client_min_messages;
CREATE SCHEMA test_parallel;
SET search_path = test_parallel, public;
\pset tuples_only on
\pset format unaligned
SELECT es_append('parallel-1', 0, 'T', '{}'), es_create_subscription('parallel'),
	   es_create_projection('parallel_inline', 'SELECT stream, count(*) AS n FROM events GROUP BY stream'),
	   es_create_projection('parallel_async', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async');
CREATE FUNCTION reducer(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS 'SELECT state';

CREATE FUNCTION in_worker(call text) RETURNS text LANGUAGE plpgsql PARALLEL SAFE AS
$$
DECLARE
	result text;
BEGIN
	EXECUTE 'SELECT (' || call || ')::text' INTO result;
	RETURN coalesce(result, 'null');
END
$$;
CREATE FUNCTION attempt(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT in_worker(%L)', call) INTO result;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
-- 16 renamed it.
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT attempt('pg_backend_pid() <> ' || pg_backend_pid()) AS is_a_worker;
SELECT call, attempt(call) FROM unnest(ARRAY[
	'es_head()', '(SELECT count(*) FROM es_read_all())', '(SELECT count(*) FROM es_read_category(''parallel''))',
	'es_wait(0, ''1 ms'')', 'es_wait(0, ''1 ms'', ''parallel'')', 'es_last_position()',
	'es_append(''parallel-1'', -1, ''T'', ''{}'')', 'es_append(''parallel-1'', -1, ''{"type": "T"}''::jsonb)', 'es_append(''parallel-1'', -1, ''{T}''::text[], ''{1}''::jsonb[])',
	'(SELECT count(*) FROM es_append_streams(''[{"stream": "parallel-1", "expected_version": -1, "events": {"type": "T"}}]''))', 'es_assert_version(''parallel-1'', 1)',
	'es_save_snapshot(''parallel-1'', 1, ''{}'')',
	'(SELECT count(*) FROM es_fetch(''parallel''))', 'es_ack(''parallel'', 1, 1)', 'es_nack(''parallel'', 1, 1, ''x'')', 'es_release(''parallel'')',
	'es_position_at(now())', 'es_create_subscription(''parallel_new'')', 'es_reset_subscription(''parallel'', -1)', 'es_alter_subscription(''parallel'', 2)', 'es_pause_subscription(''parallel'')', 'es_drop_parked(''parallel'', gen_random_uuid())',
	'es_wait_projection(''parallel_async'', 1, ''1 ms'')', 'es_run_projection(''parallel_async'')']) call;
SELECT split_part(call, ' ', 1), attempt(call) FROM unnest(ARRAY['es_protect(''parallel'', ''1'')', 'es_erase_subject(''parallel'', ''x'')', 'es_reveal(''[1]'')',
	format('es_reveal( ''{"$es": 1, "subject": "parallel", "key": "0123456789abcdef", "box": "%s"}'')', repeat('A', 60))]) call;
-- Those that read as the statement does run there.
SELECT call, attempt(call) FROM unnest(ARRAY[
	'(SELECT count(*) FROM es_read(''parallel-1''))', '(SELECT count(*) FROM es_last_event(''parallel-1''))', '(SELECT count(*) FROM es_stream_as_of(''parallel-1'', now()))',
	'es_stream_version(''parallel-1'')', 'es_channel(''parallel'')', 'es_partition(''parallel-1'', 64)', '(SELECT version FROM es_load(''parallel-1''))',
	'(SELECT count(version) FROM es_snapshot(''parallel-1''))', 'es_fold(''parallel-1'', ''test_parallel.reducer(jsonb,eventstore.event)'')', '(SELECT count(*) FROM eventstore.notify_status)']) call;
-- No function and no view of the store, whatever it is given, ends in an internal error.
SELECT call, attempt(call)
FROM (SELECT format('(SELECT count(*) FROM %s(%s))', f.oid::regproc, (SELECT string_agg(format('NULL::%s', t::regtype), ', ') FROM unnest(proargtypes) t))
	  FROM pg_proc f WHERE pronamespace = 'public'::regnamespace AND proname ~ '^es_' AND prokind = 'f' AND NOT 'anyelement'::regtype = ANY (proargtypes)
	  UNION ALL
	  SELECT format('(SELECT count(*) FROM %s)', c.oid::regclass) FROM pg_class c WHERE relnamespace = 'eventstore'::regnamespace AND relkind IN ('v', 'r')) c (call)
WHERE attempt(call) ~ '^XX';
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');

SELECT es_drop_subscription('parallel'), es_drop_projection('parallel_inline', true), es_drop_projection('parallel_async', true);
SET client_min_messages = warning;
DROP SCHEMA test_parallel CASCADE;
