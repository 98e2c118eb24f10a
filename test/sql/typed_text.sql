-- Every verb can be called with arguments as drivers send them: without a type, as text, varchar, smallint, int or bigint. The first part asks the
-- catalogue, so that it covers what comes later; the second calls each form that sql/80_typed_text.sql makes.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS eventstore;
CREATE EXTENSION IF NOT EXISTS pgtap;
RESET client_min_messages;
CREATE SCHEMA test_typed_text;
SET search_path = test_typed_text, public;

-- What is sent for an argument of a type. A verb with an argument of a type that is missing here gets a row, and a form for text where it needs one.
CREATE TABLE kinds (declared regtype PRIMARY KEY, "text and int" text NOT NULL, "varchar and bigint" text NOT NULL, "jsonb and smallint" text NOT NULL,
					"its own" text NOT NULL, "JDBC" text NOT NULL, "mapper" text NOT NULL);
INSERT INTO kinds VALUES
	('text',         'text',    'varchar',   'unknown',     'text',         'varchar',     'varchar'),
	('bigint',       'int',     'bigint',    'smallint',    'bigint',       'bigint',      'int'),
	('int',          'int',     'bigint',    'smallint',    'int',          'bigint',      'int'),
	('jsonb',        'text',    'varchar',   'jsonb',       'jsonb',        'varchar',     'jsonb'),
	('uuid',         'text',    'varchar',   'uuid',        'uuid',         'uuid',        'varchar'),
	('interval',     'text',    'varchar',   'interval',    'interval',     'varchar',     'interval'),
	('timestamptz',  'text',    'varchar',   'timestamptz', 'timestamptz',  'timestamptz', 'timestamp'),
	('regrole',      'text',    'varchar',   'unknown',     'regrole',      'varchar',     'name'),
	('regprocedure', 'text',    'varchar',   'regproc',     'regprocedure', 'varchar',     'varchar'),
	('boolean',      'boolean', 'boolean',   'boolean',     'boolean',      'boolean',     'boolean'),
	('text[]',       'text[]',  'varchar[]', 'text[]',      'text[]',       'varchar[]',   'varchar[]'),
	('regclass',     'text',    'varchar',   'unknown',     'regclass',     'varchar',     'varchar'),
	('regclass[]',   'text[]',  'varchar[]', 'text[]',      'regclass[]',   'varchar[]',   'varchar[]'),
	('int4multirange', 'text',  'varchar',   'int4multirange', 'int4multirange', 'varchar',  'varchar'),
	('jsonb[]',      'jsonb[]', 'jsonb[]',   'jsonb[]',     'jsonb[]',      'jsonb[]',     'jsonb[]'),
	('uuid[]',       'uuid[]',  'uuid[]',    'uuid[]',      'uuid[]',       'uuid[]',      'uuid[]'),
	-- How forms for text declare them
	('eventstore.interval_text',    'text', 'varchar', 'interval',    'interval',    'varchar',     'interval'),
	('eventstore.timestamptz_text', 'text', 'varchar', 'timestamptz', 'timestamptz', 'timestamptz', 'timestamp');
CREATE TABLE ways AS SELECT k.declared, s.key AS way, s.value AS sent FROM kinds k, jsonb_each_text(to_jsonb(k) - 'declared' || '{"no type": "unknown"}') s;

CREATE VIEW arguments AS
	SELECT p.oid, p.proname, p.pronargs::int AS most, p.pronargs - p.pronargdefaults AS least, a.n, a.type::regtype AS type
	FROM pg_proc p
	JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'eventstore'
	CROSS JOIN LATERAL unnest(p.proargtypes) WITH ORDINALITY a (type, n)
	WHERE p.pronamespace <> 'eventstore'::regnamespace AND p.prokind = 'f';
-- With as few arguments as a verb takes, as many, and all between; with each of them without a type besides, as a null is.
CREATE TABLE calls AS
	WITH sent AS (
		SELECT a.proname, array_agg(w.sent ORDER BY a.n) AS types
		FROM arguments a CROSS JOIN LATERAL generate_series(greatest(a.least, 1), a.most) shape (count) JOIN ways w ON w.declared = a.type
		WHERE a.n <= shape.count
		GROUP BY a.oid, a.proname, shape.count, w.way
	)
	SELECT proname, types FROM sent
	UNION SELECT proname, types[:n - 1] || '{unknown}' || types[n + 1:] FROM sent, generate_subscripts(types, 1) n;
CREATE FUNCTION refusal(verb text, types text[]) RETURNS text LANGUAGE plpgsql AS
$$
BEGIN
	EXECUTE format('PREPARE attempt (%s) AS SELECT public.%I(%s)', array_to_string(types, ', '), verb,
				   (SELECT string_agg('$' || n, ', ' ORDER BY n) FROM generate_subscripts(types, 1) n));
	DEALLOCATE attempt;
	RETURN NULL;
EXCEPTION
	WHEN undefined_function OR ambiguous_function OR datatype_mismatch OR cannot_coerce THEN
		RETURN SQLERRM;
END
$$;

SELECT plan(60);

SELECT is_empty('SELECT DISTINCT proname, type FROM arguments WHERE type NOT IN (SELECT declared FROM kinds)', 'the type of every argument is known');
SELECT cmp_ok((SELECT count(*) FROM calls), '>', 2000::bigint, 'there are calls to try');
SELECT is_empty('SELECT * FROM (SELECT refusal(proname, types) FROM calls ORDER BY 1) r WHERE refusal IS NOT NULL', 'every verb takes what drivers send');
-- That it can find something
SELECT is(refusal('es_append', '{text, bigint, json}'), 'function public.es_append(text, bigint, json) does not exist', 'what is refused is told');

-- What a driver is told that asks for the types of parameters
CREATE FUNCTION told(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	types text;
BEGIN
	EXECUTE 'PREPARE question AS SELECT ' || call;
	SELECT array_to_string(parameter_types, ' ') FROM pg_prepared_statements WHERE name = 'question' INTO types;
	DEALLOCATE question;
	RETURN types;
END
$$;
SELECT is(told('es_append($1, $2, $3)'), 'text bigint text', 'JSON without a cast is text');
SELECT is(told('es_append($1, $2, $3::jsonb)'), 'text bigint jsonb', 'and with one it is not');
SELECT is(told('es_append($1, $2, $3, $4, $5, $6, $7)'), 'text bigint text text text text text[]', 'one event');
SELECT is(told('es_append($1, $2, $3, $4::jsonb)'), 'text bigint text jsonb', 'its data as JSON');
SELECT is(told('es_append($1, $2, $3, $4, NULL, $5::uuid)'), 'text bigint text text uuid', 'its id as a uuid');
SELECT is(told('es_append($1, $2, $3, $4::jsonb, $5, $6::uuid)'), 'text bigint text jsonb jsonb uuid', 'both');
SELECT is(told('es_append($1, $2, $3::text[], $4::jsonb[])'), 'text bigint text[] jsonb[]', 'arrays');
SELECT is(told('es_fetch($1, $2, $3, $4)'), 'text text bigint interval', 'an interval is one');
SELECT is(told('es_wait($1, $2, $3)'), 'bigint interval text', 'so is this');
SELECT is(told('es_stream_as_of($1, $2)'), 'text timestamp with time zone', 'a time is one');
SELECT is(told('es_fold($1, $2)'), 'text text', 'a reducer has a name');

-- Each form does what the verb does. The arguments of a call stand still: it is executed twice.
SELECT is((SELECT array_agg(es_append('typed_text-1', -1, '[{"type": "A", "data": {"n": 1}}]'::text)) FROM generate_series(1, 2)), '{1,2}', 'events as text');
SELECT is((SELECT array_agg(es_append('typed_text-1', n, '{"type": "B"}'::varchar)) FROM generate_series(2, 3) n), '{3,4}', 'events as varchar');
SELECT is(es_append('typed_text-1', 4, 'C', '{"n": 5}'::text, '{"by": "x"}'::text, '0193c000-0000-7000-8000-000000000005'::uuid), 5::bigint, 'text with a uuid');
SELECT is(es_append('typed_text-1', 4, 'C', '{"n": 5}'::jsonb, '{"by": "x"}'::jsonb, '0193c000-0000-7000-8000-000000000005'::text), 5::bigint, 'jsonb with an id as text, which is a retry');
SELECT is(es_append('typed_text-1', 5::int, 'C'::varchar, '{"n": 6}'::varchar, NULL, NULL::uuid, '{x}'::varchar[]), 6::bigint, 'varchar without an id');
SELECT is((SELECT jsonb_agg(to_jsonb(e) - '{position, recorded_at, id}'::text[] ORDER BY version) FROM es_read('typed_text-1', 5) e),
	'[{"stream": "typed_text-1", "category": "typed_text", "version": 5, "type": "C", "data": {"n": 5}, "metadata": {"by": "x"}, "tags": null},
	  {"stream": "typed_text-1", "category": "typed_text", "version": 6, "type": "C", "data": {"n": 6}, "metadata": null, "tags": ["x"]}]'::jsonb, 'what is stored');
SELECT is((SELECT string_agg(stream || ' ' || version, ', ') FROM es_append_streams('[{"stream": "typed_text-2", "expected_version": 0, "events": {"type": "A"}}]'::text)), 'typed_text-2 1', 'streams');
SELECT is(es_import((SELECT jsonb_agg(e)::text FROM es_export(category => 'typed_text') e)), 0::bigint, 'an import, of what is there');
SELECT is(es_append_if('typed_text-3', '{"type": "A", "tags": ["typed_text"]}'::text, '[{"tags": ["typed_text"]}]'::text), 1::bigint, 'conditional append');
SELECT throws_ok($$SELECT es_append_if('typed_text-3', '{"type": "A"}'::text, '[{"tags": ["typed_text"]}]'::text, 0::smallint)$$, 'SE004', NULL, 'and its condition');
SELECT is((SELECT count(*) FROM es_read_query('[{"tags": ["typed_text"]}]'::varchar, 0::int, 10::smallint)), 1::bigint, 'query');
SELECT is((SELECT count(*) FROM es_stream_as_of('typed_text-1', 'infinity'::text)), 6::bigint, 'stream as of');
SELECT is(es_position_at('infinity'::varchar), es_head(), 'position at');
SELECT is(es_wait(es_head(), '0 s'::text, 'typed_text'::varchar), NULL, 'wait');
SELECT cmp_ok(es_wait(0, '1 s'::text), '>', 0::bigint, 'for what is there');

SELECT lives_ok($$SELECT es_create_subscription('typed_text'::varchar, 'typed_text', NULL, 0, 4::bigint, 3::smallint, '7 s'::varchar)$$, 'a subscription');
SELECT lives_ok($$SELECT es_alter_subscription('typed_text', NULL, 'block_stream', 5::bigint, '8 s'::text)$$, 'altered');
SELECT is((SELECT extract(epoch FROM lease)::int || ' ' || max_retries || ' ' || park_policy FROM eventstore.subscriptions WHERE name = 'typed_text'), '8 5 block_stream', 'as it was told');
SELECT is((SELECT count(*) FROM es_fetch('typed_text', 'me', 100::bigint, '0 s'::text)), 8::bigint, 'fetch');
SELECT lives_ok($$SELECT es_nack('typed_text', token, position, 'no', 'park', '0 s'::text) FROM es_fetch('typed_text', 'me', 9000000000, '0 s'::varchar) ORDER BY position LIMIT 1$$, 'nack');
SELECT is((SELECT es_replay_parked('typed_text', 10::bigint)), 1, 'replay');
SELECT lives_ok($$SELECT es_nack('typed_text', token, position, 'no', 'park'::text, '0 s'::text) FROM es_fetch('typed_text', 'me') LIMIT 1$$, 'once more');
SELECT lives_ok($$SELECT es_drop_parked('typed_text', (SELECT id::text FROM eventstore.parked WHERE subscription = 'typed_text'))$$, 'dropped');
SELECT is((SELECT count(*) FROM eventstore.parked WHERE subscription = 'typed_text'), 0::bigint, 'and gone');

CREATE FUNCTION counted(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS $$ SELECT CASE state WHEN '{}' THEN '1' ELSE to_jsonb(state::int + 1) END $$;
CREATE FUNCTION counted(state jsonb, event text) RETURNS jsonb LANGUAGE sql AS $$ SELECT state $$;
CREATE FUNCTION other(state jsonb, event text) RETURNS jsonb LANGUAGE sql AS $$ SELECT state $$;
SELECT is(es_fold('typed_text-1', 'counted', '0'), '6', 'a reducer by its name');
SELECT is(es_fold('typed_text-1', reducer => 'test_typed_text.counted', initial => '10'::jsonb, at_version => 2), '12', 'with its schema');
SELECT is(es_fold('typed_text-1', 'counted(jsonb, eventstore.event)', '0'::varchar, 4), '4', 'with its arguments');
SELECT is(es_fold('typed_text-1', 'counted(jsonb, eventstore.event)'::regprocedure, '0', at => 'infinity'), '6', 'as a regprocedure');
SELECT is(es_fold('typed_text-1', 'counted'::text, '0'::text, 3, 'infinity'::text), '3', 'all text');
PREPARE missing AS SELECT es_fold('typed_text-1', 'nowhere.counted', '0');
SELECT throws_ok('missing', '42883', 'function nowhere.counted(jsonb, eventstore.event) does not exist', 'one that is not there');
SELECT throws_ok($$SELECT es_fold('typed_text-1', 'other', '0')$$, '42P13', NULL, 'one of other arguments');
SELECT throws_ok($$SELECT es_fold('typed_text-1', 'two words', '0')$$, '42602', NULL, 'no name');
SELECT lives_ok($$SELECT es_create_state_projection('typed_text', 'counted'), es_create_state_projection('typed_text_0', 'counted'::varchar, '0'::varchar, 'async')$$, 'projections of states');
SELECT is(es_wait_projection('typed_text', 0, '1 s'::text), true, 'that one waits for');
SELECT is((SELECT version FROM es_load_json('typed_text-1', 1::smallint)) || ' ' || (SELECT jsonb_path_query_array(events, '$[*].version') FROM es_load_json('typed_text-1')), '0 [1, 2, 3, 4, 5, 6]', 'events as JSON');
SELECT lives_ok($$SELECT es_save_snapshot('typed_text-1', 5, '{"n": 5}'::varchar, 2::bigint)$$, 'a snapshot');
SELECT is((SELECT l::text FROM es_load_json('typed_text-1', 2::bigint) AS l) ~ '^\(5,"\{""n"": 5\}","\[\{.*""version"": 6', true, 'that is loaded');

-- Nothing of a payload is told, which the parser would do.
CREATE FUNCTION told_of(call text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
	message text;
	detail  text;
	context text;
BEGIN
	EXECUTE 'SELECT ' || call;
	RETURN 'nothing';
EXCEPTION
	WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
		RETURN SQLSTATE || ' ' || message || ' ' || detail || regexp_replace(context, '(SQL statement|PL/pgSQL).*', '', 'g');
END
$$;
PREPARE secrets AS
	SELECT told_of(format(call, '{"type": "secret", }')) ~ '^22P02 [^}]*$' FROM unnest(ARRAY['es_append($$a-1$$, 0, $$%s$$)', 'es_append($$a-1$$, 0, $$A$$, $$%s$$, NULL, NULL::uuid)',
		'es_append_streams($$%s$$)', 'es_append_if($$a-1$$, $$%s$$, $$[]$$)', 'es_protect($$x$$, $$%s$$)', 'es_reveal($$%s$$)', 'es_save_snapshot($$a-1$$, 1, $$%s$$)']) call;
SELECT results_eq('secrets', 'VALUES (true), (true), (true), (true), (true), (true), (true)', 'nothing of a payload is in an error');

CREATE ROLE test_typed_text;
SET client_min_messages = warning;
SELECT lives_ok($$SELECT es_grant('test_typed_text'::varchar, 'read'), es_grant('test_typed_text', 'append'), es_grant('test_typed_text'::name, 'append', 'typed_text')$$, 'a role by its name');
SELECT is((SELECT string_agg(level, ' ' ORDER BY level, category) FROM eventstore.grants WHERE role = 'test_typed_text'), 'append append read', 'has been granted that');
SELECT lives_ok($$SELECT es_revoke('test_typed_text'::text, l) FROM unnest('{read,append}'::text[]) l$$, 'and loses it');
SELECT lives_ok($$SELECT es_reassign_projection('typed_text', current_user::text), es_set_retention('typed_text', '1 year'::text, NULL), es_projection_as_of('typed_text', 'then', NULL, 'infinity'::text)$$, 'what owners do');
SELECT is_empty($$SELECT name, array_agg(DISTINCT levels)
	FROM (SELECT substring(object FROM '([a-z_]+)\(') AS name, string_agg(l, ' ' ORDER BY l) AS levels
		  FROM unnest(ARRAY['read', 'append', 'reveal', 'admin']) l, eventstore.rights_of_level(l) WHERE object ~ '^FUNCTION ' GROUP BY object) r
	GROUP BY name HAVING count(DISTINCT levels) > 1$$, 'each form is for those whom the others are for');
SELECT lives_ok($$SELECT es_redact('0193c000-0000-7000-8000-000000000005'::text, 'a test')$$, 'a redaction');
SELECT lives_ok($$SELECT es_set_cell(1::smallint, 1, '{}'::text), es_add_cell(2::int, 2::bigint, '{[0,5)}'::varchar, 'b'::varchar), es_adopt_map('[{"cell": 2, "feed": 2, "slots": "{}", "generation": 100}]'::text), es_unset_cell()$$, 'cells');

SELECT finish();
SET client_min_messages = warning;
DROP EXTENSION eventstore CASCADE;
DROP SCHEMA test_typed_text CASCADE;
DROP ROLE test_typed_text;
