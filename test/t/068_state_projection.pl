# State projections: random events, in whatever way they come, and several reducers. Each row has to be what the reducer makes of the stream's events
# one after the other: inline, async under the worker, made late, beside other appends, after a crash, rebuilt, as of a position, and after dump and restore.
use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use Declared;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('states', 'autovacuum = off', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'postgres, copy, parts'", 'max_worker_processes = 20');
my $folder = PostgreSQL::Test::Utils::tempdir();
set_up($node);

sql($node, <<'SQL');
	-- Tells any order from the right one, and what is left out or doubled
	CREATE FUNCTION chain(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		RETURN jsonb_build_object('n', coalesce((state ->> 'n')::int, 0) + 1, 'hash', md5(coalesce(state ->> 'hash', '') || to_jsonb(event)::text));
	END $$;
	CREATE FUNCTION latest(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$ SELECT state || event.data || jsonb_build_object('v', event.version) $$;
	-- States that are null, for a while or for ever
	CREATE FUNCTION sometimes(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE AS
		$$ SELECT CASE WHEN event.data ->> 'k' = 'x' THEN NULL ELSE coalesce(state, '[]') || coalesce(event.data -> 'n', 'null') END $$;
	CREATE FUNCTION sometimes_strict(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql STRICT AS
		$$ SELECT CASE WHEN event.data ->> 'k' = 'z' THEN NULL ELSE state || coalesce(event.data -> 'n', 'null') END $$;
	-- States that grow
	CREATE FUNCTION all_of_them(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN state || jsonb_build_array(event.id, event.tags, repeat(md5(event.id::text), 8)); END $$;

	CREATE TABLE folded (name text PRIMARY KEY, reducer text, initial jsonb, mode text, categories text[], types text[]);
	CREATE FUNCTION make(suffix text, which text DEFAULT '') RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		f folded;
	BEGIN
		FOR f IN SELECT format('%s_%s_%s', v.name, m, suffix), reducer, initial, m, categories, types
			FROM (VALUES ('chains', 'chain', '{}'::jsonb, NULL::text[], NULL::text[]), ('a_to_c', 'chain', '{"n": 7}', NULL, '{A,C}'), ('of_x', 'latest', '{}', '{x}', NULL),
						 ('somes', 'sometimes', '[1]', NULL, NULL), ('stricts', 'sometimes_strict', '[]', '{x,y}', '{A,B,D}'), ('never', 'sometimes_strict', NULL, NULL, NULL),
						 ('alls', 'all_of_them', '[]', NULL, NULL)) v (name, reducer, initial, categories, types),
				 unnest('{inline,async}'::text[]) m
			WHERE v.name ~ which LOOP
			INSERT INTO folded VALUES (f.*);
			PERFORM es_create_state_projection(f.name, format('%I(jsonb, eventstore.event)', f.reducer)::regprocedure, f.initial, f.mode, f.categories, f.types);
		END LOOP;
	END $$;

	-- What it should have, by nothing but calls of the reducer
	CREATE FUNCTION expected(which text, upto bigint) RETURNS TABLE (stream text, version bigint, state jsonb, recorded_at timestamptz) LANGUAGE plpgsql AS $$
	DECLARE
		f folded;
		e eventstore.event;
	BEGIN
		SELECT * INTO STRICT f FROM folded WHERE name = which;
		FOR e IN SELECT v.* FROM eventstore.events v WHERE position <= upto AND (f.categories IS NULL OR category = ANY (f.categories)) AND (f.types IS NULL OR type = ANY (f.types)) ORDER BY v.stream, v.version LOOP
			IF stream IS DISTINCT FROM e.stream THEN
				IF stream IS NOT NULL THEN
					RETURN NEXT;
				END IF;
				state := f.initial;
			END IF;
			EXECUTE format('SELECT %I($1, $2)', f.reducer) INTO state USING state, e;
			stream := e.stream; version := e.version; recorded_at := e.recorded_at;
		END LOOP;
		IF stream IS NOT NULL THEN
			RETURN NEXT;
		END IF;
	END $$;
	-- Rows that only one of both has
	CREATE FUNCTION differs(which text, stored text DEFAULT NULL, upto bigint DEFAULT 9223372036854775807) RETURNS SETOF text LANGUAGE plpgsql AS $$
	BEGIN
		RETURN QUERY EXECUTE format('(SELECT ''stored '' || s::text FROM (SELECT stream, version, state, recorded_at FROM %1$I EXCEPT ALL SELECT * FROM expected(%2$L, %3$s)) s LIMIT 3)
			UNION ALL (SELECT ''expected '' || e::text FROM (SELECT * FROM expected(%2$L, %3$s) EXCEPT ALL SELECT stream, version, state, recorded_at FROM %1$I) e LIMIT 3)', coalesce(stored, which), which, upto);
	END $$;
SQL

# Inline ones are right at any moment; async ones soon.
my $wrong = q{SELECT name || ': ' || d FROM folded, differs(name) d};
sub are_right
{
	my ($how, $database) = @_;
	is(sql($node, "$wrong WHERE mode = 'inline'", $database), '', "$how: inline");
	becomes($node, "SELECT count(*) FROM folded, differs(name)", 0, "$how: async", $database);
}

# -- As events come ----------------------------------------------------------------------------------------------------------

sql($node, q{SELECT make('early')});
sql($node, 'SELECT setseed(' . $seed / 2_000_000 . '); CALL append_some(50)');
are_right('appended');
sql($node, q{SELECT make('late', 'chains|of_x|somes')});
are_right('made on a store with history');
cmp_ok(sql($node, 'SELECT count(*) FROM chains_inline_early'), '>=', 7, 'there are states');
is(sql($node, q{SELECT count(*) FROM chains_inline_late WHERE state IS DISTINCT FROM es_fold(stream, 'chain(jsonb, eventstore.event)')}), 0, 'as es_fold has them');
cmp_ok(sql($node, q{SELECT count(*) FROM somes_inline_late WHERE state IS NULL} ) + sql($node, 'SELECT count(*) FROM never_inline_early WHERE state IS NULL'), '>', 0, 'null states among them');

race($node, 'appends side by side', 4, 15 * $rounds, 'SELECT append_one();');
are_right('after a race');
sql($node, q{SELECT es_pause_projection(name) FROM folded WHERE name LIKE '%early'; CALL append_some(20)});
sql($node, q{SELECT es_resume_projection(name) FROM folded WHERE name LIKE '%early'});
are_right('paused and resumed');
sql($node, q{BEGIN; SELECT es_append('x-1', -1, random_events()); SELECT es_append('new-1', -1, random_events()); PREPARE TRANSACTION 'p'});
sql($node, q{COMMIT PREPARED 'p'});
are_right('prepared and committed');

# -- A crash, and rebuilt beside appends -------------------------------------------------------------------------------------

my $appenders = IPC::Run::start([ 'pgbench', '-n', '-c', 3, '-T', 60, '-f', write_file('append.sql', 'SELECT append_one();'), $node->connstr('postgres') ], '>&', \my $ignored);
my $before = sql($node, 'SELECT count(*) FROM eventstore.events');
my $until = time + 30;
sleep 0.05 while sql($node, 'SELECT count(*) FROM eventstore.events') < $before + 60 && time < $until;
$node->stop('immediate');
$appenders->finish;
$node->start;
are_right('after a crash');

my $log = '';
sql($node, q{UPDATE chains_inline_early SET state = '{}'; DELETE FROM alls_async_early; UPDATE of_x_inline_late SET version = version + 1; INSERT INTO somes_async_late VALUES ('no-1', 1, NULL, now())});
is(sql($node, q{SELECT string_agg(name, ' ' ORDER BY name) FROM folded WHERE EXISTS (SELECT FROM es_verify_projection(name))}), 'alls_async_early chains_inline_early of_x_inline_late somes_async_late', 'es_verify_projection tells of what is spoilt');
$appenders = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-t', 20 * $rounds, '-f', write_file('append.sql', 'SELECT append_one();'), $node->connstr('postgres') ], '>&', \$log);
sql($node, q{SELECT format('SELECT es_rebuild_projection(%L)', name) FROM folded ORDER BY name \gexec});
$appenders->finish;
is($appenders->full_result(0), 0, 'appends go on beside rebuilds') or diag($log);
are_right('rebuilt');
is(sql($node, 'SELECT name, v FROM folded, es_verify_projection(name) v'), '', 'es_verify_projection finds nothing');

my $middle = sql($node, 'SELECT position FROM eventstore.events ORDER BY position OFFSET 80 LIMIT 1');
for my $name (split /\n/, sql($node, q{SELECT name FROM folded WHERE name LIKE '%late' ORDER BY name}))
{
	sql($node, "SELECT es_projection_as_of('$name', '${name}_then', $middle)");
	is(sql($node, "SELECT differs('$name', '${name}_then', $middle)"), '', "as of a position: $name");
	sql($node, "DROP TABLE ${name}_then");
}

# -- Dump and restore --------------------------------------------------------------------------------------------------------

# A reducer that a dump brings after the tables' keys: it needs one.
sql($node, <<'SQL');
	CREATE TABLE weight (k text PRIMARY KEY, n int);
	INSERT INTO weight VALUES ('x', 3), ('y', 5);
	CREATE FUNCTION weigh(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql BEGIN ATOMIC
		SELECT to_jsonb(state::int + coalesce((SELECT w.n FROM weight w WHERE w.k = event.data ->> 'k' GROUP BY w.k), 1));
	END;
	INSERT INTO folded VALUES ('weighed_async', 'weigh', '0', 'async'), ('weighed_inline', 'weigh', '0', 'inline');
	SELECT es_create_state_projection(name, 'weigh(jsonb, eventstore.event)', '0', mode) FROM folded WHERE reducer = 'weigh';
SQL
are_right('weighed');
# So that there is something to do after the restore
my $locker = session($node);
$locker->query_safe('BEGIN; LOCK TABLE weighed_async, chains_async_late IN SHARE MODE');
sql($node, 'CALL append_some(10)');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", 'postgres' ], 'dumped, while two lag');
$locker->query_safe('ROLLBACK');
$locker->quit;

sql($node, 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '-j', 2, '-d', 'copy', "$folder/dump" ], 'restored');
are_right('restored', 'copy');
sql($node, 'CALL append_some(20)', 'copy');
are_right('restored, and goes on', 'copy');
is(sql($node, 'SELECT name, v FROM folded, es_verify_projection(name) v', 'copy'), '', 'restored: es_verify_projection finds nothing');

# In steps: nothing is applied before the reducer is there.
sql($node, 'CREATE DATABASE parts');
$node->command_ok([ 'pg_restore', "--section=$_", '-d', 'parts', "$folder/dump" ], "$_ restored") for 'pre-data', 'data';
is(sql($node, q{SELECT object FROM eventstore.projection_waits WHERE projection = 'weighed_async' AND kind = 'function'}, 'parts'), 'public.weigh(pg_catalog.jsonb,eventstore.event)', 'the reducer is waited for');
$node->command_ok([ 'pg_restore', '--section=post-data', '-d', 'parts', "$folder/dump" ], 'the rest restored');
are_right('restored in parts', 'parts');
is_sound($node, 'in the end');

done_testing();
