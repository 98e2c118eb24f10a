# Who sees what of several cells, and whom a role that may make functions in a cell can have run them: nobody.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Cells;
use Store;
use Test::More;

plan skip_all => 'PL/Proxy is not here: the router is left out' if !have_plproxy();

my $one = new_cell(1, 1, '{[0,512)}');
my $two = new_cell(2, 2, '{[512,1024)}');
sql($one, q{SELECT es_add_cell(2, 2, '{[512,1024)}', '} . where($two) . q{')});
adopt($one, $two);
new_router($one, $one);
my $router = sub { sql($one, "SET client_min_messages = warning; $_[0]", 'router') };
my $refused = sub { sqlstate($one, "SET client_min_messages = warning; $_[0]", 'router') };

# Connections have no secrets in them, wherever they are said.
for my $secret (q{host=a password=x}, q{host='a'password = 'x'}, 'host=a sslpassword=x', 'postgresql://u:x@a/shop', 'postgres://a/shop?password=x', 'host=a oauth_client_secret=x', 'host=a scram_client_key=x')
{
	my $quoted = $secret =~ s/'/''/gr;
	is($refused->("SELECT es_add_cell(3, 3, '{}', '$quoted')"), '22023', "on a router: $secret");
	is(sqlstate($one, "SELECT es_add_cell(3, 3, '{}', '$quoted')"), '22023', 'in a cell');
	for my $where ([ $one, 'router' ], [ $two, 'postgres' ])
	{
		is(sqlstate($where->[0], qq{SELECT es_adopt_map(jsonb_build_array(jsonb_build_object('cell', 3, 'feed', 3, 'slots', '{}', 'generation', 1000, 'connection', '$quoted')))}, $where->[1]), '22023', "in a map for $where->[1]");
	}
}
is($refused->(q{SELECT es_add_cell(3, 3, '{}', '} . "$_'); SELECT es_drop_cell(3)"), '', "no secret: $_") for 'host=a passfile=/x user=u', 'service=cell3', 'postgresql://u@a:5432/shop?sslmode=require';
unlike($router->(q{SELECT es_add_cell(3, 3, '{}', 'host=a')}) . ($one->psql('router', q{SELECT es_add_cell(3, 3, '{}', 'password=secret')}))[2], qr/secret/, 'nor does the error have it');
$router->('SELECT es_drop_cell(3)');

# Addresses are for admins; a role has nothing left once all is taken from it.
sql($_, q{CREATE ROLE reads LOGIN; CREATE ROLE chief LOGIN}) for $one, $two;
$router->(q{SELECT es_grant('reads', 'read'), es_grant('reads', 'append'), es_grant('chief', 'admin')});
my $as = sub { my ($role, $what) = @_; return $router->("SET SESSION AUTHORIZATION $role; $what") };
is($as->('reads', q{SELECT cell, slots, connection FROM eventstore.cells ORDER BY cell}), "1|{[0,512)}|\n2|{[512,1024)}|", 'a reader sees the map without addresses');
is($as->('chief', q{SELECT connection FROM eventstore.cells ORDER BY cell}), where($one) . "\n" . where($two), 'an admin with them');
is(sqlstate($one, 'SET SESSION AUTHORIZATION reads; SELECT * FROM eventstore.mapped_cells', $_), '42501', "nobody reads the table below, in $_") for 'router', 'postgres';
is(sqlstate($one, 'SET SESSION AUTHORIZATION reads; SELECT * FROM eventstore.cells'), '42501', 'in a cell the map is for admins');
$router->(q{SELECT es_revoke('reads', 'append')});
is($as->('reads', 'SELECT count(*) FROM es_read_all()'), 0, 'what is left it may do');
$router->(q{SELECT es_revoke('reads', 'read')});
my $left = q{SELECT count(*) FROM (SELECT proacl FROM pg_proc UNION ALL SELECT relacl FROM pg_class UNION ALL SELECT nspacl FROM pg_namespace WHERE nspname <> 'public') a (acl), aclexplode(acl) x WHERE x.grantee = 'reads'::regrole};
is($router->($left), 0, 'then it has nothing on the router');
is($refused->("SET SESSION AUTHORIZATION reads; $_"), '42501', "as: $_") for 'SELECT * FROM eventstore.cells', q{SELECT plproxy.get_cluster_partitions('eventstore')}, 'SELECT * FROM eventstore.health', 'SELECT es_read_all()';
$router->(q{SELECT es_grant('reads', 'read')});
sql($two, q{SELECT es_revoke('reads', 'read')});
$router->(q{SELECT es_grant('reads', 'append', 'a'), es_revoke('reads', 'read')});
is($as->('reads', q{SELECT es_append(s, -1, 'Made', '{}') FROM (SELECT 'a-' || n AS s FROM generate_series(1, 9) n) a LIMIT 1}), 1, 'what it has within bounds it keeps');
$router->(q{SELECT es_revoke('reads', 'append')});
is($router->($left), 0, 'until that is taken, too');
is($as->('chief', q{SELECT es_grant('reads', 'admin'), es_revoke('reads', 'admin')}), '|', 'an admin shuts others out');
is($router->($left), 0, 'wholly');
$as->('chief', q{SELECT es_revoke('chief', 'admin')});
is($refused->('SET SESSION AUTHORIZATION chief; SELECT es_drop_cell(7)'), '42501', 'and himself');

# An owner of the router who comes to the cells as a role that is admin there and no superuser learns where feeds begin.
sql($_, q{CREATE ROLE service LOGIN; SELECT es_grant('service', 'admin')}) for $one, $two;
sql($one, 'CREATE DATABASE other');
sql($one, 'CREATE EXTENSION plproxy; CREATE EXTENSION eventstore_router', 'other');
sql($one, q{SET client_min_messages = warning; SELECT es_add_cell(1, 1, '{[0,512)}', '} . where($one) . q{ user=service'), es_add_cell(2, 2, '{[512,1024)}', '} . where($two) . q{ user=service')}, 'other');
is(sql($one, 'SELECT feed, cell FROM eventstore.feeds ORDER BY 1', 'other'), "1|1\n2|2", 'an admin of the cells is told their feeds');

# What is sent to a cell: every argument, each of just the type that the cell's function has.
my ($loose, $verbs) = ('', 0);
for (split /\n/, $router->(q{SELECT p.oid::regprocedure || '|' || regexp_replace(p.prosrc, '\s+', ' ', 'g') FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE l.lanname = 'plproxy'}))
{
	my ($name, $source) = split /\|/, $_, 2;
	$source =~ s/^ *CLUSTER.*?; *(SPLIT[^;]*; *)?RUN ON[^;]*; *//;
	while ($source =~ /(?<![\w"])((?:[a-z]\w*\.)*)([a-z]\w*) ?(\((?:[^()]++|(?3))*\))/g)
	{
		my ($schema, $function, $arguments) = ($1, $2, substr $3, 1, -1);
		pos($source) -= length($arguments) + 1;
		next if $schema eq '' && $function =~ /^(coalesce|f|a|operator|from|select|as|on|unnest)$/i && ($function ne 'unnest' || $arguments =~ /,/);
		next if $schema eq 'pg_catalog.';
		if ($schema ne 'public.') { $loose .= "$name: $schema$function\n"; next }
		# What a place in a feed is made of is a bigint.
		my @types = map { /::([\w\s\[\]]+?)\s*$/ ? $1 : /^\s*f\.a( \+ 0 \* h\.n)?\s*$/ ? 'bigint' : /^\s*(true|false)\s*$/ ? 'boolean' : "($_)" } $arguments =~ /((?:[^,()]|\((?:[^()])*\))+)/g;
		my $exact = sql($one, "SELECT count(*) FROM pg_proc WHERE oid = to_regprocedure('public.$function(" . join(', ', @types) . ")')");
		$loose .= "$name: $function(" . join(', ', @types) . ")\n" if $exact ne '1';
		$verbs++;
	}
}
is($loose, '', 'every call means one function of the cell');
cmp_ok($verbs, '>', 50, "of $verbs calls");

# And so nobody captures any: overloads of all functions, with int for bigint, and with fewer arguments.
sql($one, q{CREATE ROLE plants LOGIN; GRANT CREATE ON SCHEMA public TO plants; SELECT es_grant('plants', 'read')});
sql($two, q{CREATE ROLE plants LOGIN; GRANT CREATE ON SCHEMA public TO plants; SELECT es_grant('plants', 'read')});
my $plant = <<'SQL';
SET client_min_messages = warning;
SET SESSION AUTHORIZATION plants;
DO $do$
DECLARE
	f record;
	arguments text;
	n int;
	made int := 0;
BEGIN
	FOR f IN SELECT p.proname, p.pronargs, p.pronargdefaults, array(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) WITH ORDINALITY u (t, o) ORDER BY o) AS types
			 FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.proname ~ '^es_' AND p.prokind = 'f' LOOP
		FOR n IN f.pronargs - f.pronargdefaults .. f.pronargs LOOP
			FOREACH arguments IN ARRAY ARRAY[array_to_string(f.types[1:n], ', '), replace(array_to_string(f.types[1:n], ', '), 'bigint', 'integer')] LOOP
				BEGIN
					EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION ''captured''; END$$', f.proname, arguments);
					made := made + 1;
				EXCEPTION WHEN duplicate_function OR ambiguous_function THEN
					NULL;
				END;
			END LOOP;
		END LOOP;
	END LOOP;
	IF made < 100 THEN
		RAISE EXCEPTION 'only % are made', made;
	END IF;
END
$do$;
SQL
is(sqlstate($_, $plant), '', 'overloads of all functions in ' . $_->name) for $one, $two;
my $offset = -s $one->logfile;
is($refused->($_), '', "not captured: $_") for
	q{SELECT es_append('a-1', -1, '[{"type": "More"}]'::jsonb), es_append('a-1', -1, 'More', '{}'), es_append('a-1', -1, '{More}'::text[], ARRAY['{}']::jsonb[])},
	q{SELECT es_read('a-1'), es_stream_version('a-1'), es_last_event('a-1'), es_stream_as_of('a-1', now())},
	q{SELECT es_save_snapshot('a-1', 1, '{}')}, q{SELECT es_snapshot('a-1'), es_load('a-1')},
	q{SELECT es_read_all()}, q{SELECT es_read_category('a')}, q{SELECT es_read_query('[{"types": ["More"]}]')}, q{SELECT es_head(), es_position_at(now())}, q{SELECT es_wait('{}')},
	q{SELECT es_create_subscription('s', partitions => 2)}, q{SELECT es_alter_subscription('s', max_retries => 3)}, q{SELECT es_fetch('s', 'c', 1)}, q{SELECT es_release('s', 'c')}, q{SELECT es_replay_parked('s')},
	q{SELECT es_pause_subscription('s')}, q{SELECT es_resume_subscription('s')}, q{SELECT es_reset_subscription('s')}, q{SELECT count(*) FROM eventstore.subscription_status},
	q{SELECT es_create_projection('p', 'SELECT type, count(*) AS n FROM events GROUP BY type', 'async')}, q{SELECT es_run_projection('p', 10)}, q{SELECT es_rebuild_projection('p')},
	q{SELECT es_verify_projection('p')}, q{SELECT es_wait_projection('p', '{}'::jsonb)}, q{SELECT count(*) FROM eventstore.projection_status}, q{SELECT count(*) FROM eventstore.health},
	q{SELECT es_set_retention('a-1', max_count => 1000)}, q{SELECT es_apply_retention()}, q{SELECT es_verify()}, q{SELECT es_truncate_stream('a-1', 2)}, q{SELECT es_delete_stream('a-1', -1)},
	q{SELECT es_drop_projection('p', true)}, q{SELECT es_drop_subscription('s')}, q{SELECT es_revoke('plants', 'read')};
is($router->(q{SELECT count(*) FROM es_verify()}), 0, 'and all is sound');
# Functions that run as who owns the store call others
sql($_, q{SELECT es_create_subscription('own'::text, NULL::text, NULL::text[], 0::bigint, 2::bigint, 3::bigint, '5 s'::interval, 'pass'::text, NULL::text)}) for $one;
is(sqlstate($one, $_), '', "not captured in a cell: $_") for
	q{SELECT count(*) FROM eventstore.subscription_status}, q{SELECT count(*) FROM eventstore.health}, q{SELECT count(*) FROM eventstore.parked}, q{SELECT count(*) FROM eventstore.categories}, q{SELECT es_unset_mirror()},
	q{SELECT es_set_cell(1::bigint, 1::bigint, '{[0,400)}'::int4multirange)}, q{SELECT es_open_feed('own'::text)}, q{SELECT es_adopt_map('[{"cell": 9, "feed": 9, "slots": "{}", "generation": 5000}]'::text)};
done_testing();
