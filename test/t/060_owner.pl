# Whose a projection is: the same role, whatever happens to names, for sessions that know it already, too; after a dump and a restore where
# roles have other OIDs or names that others had; and nobody's where the role is missing, or owners were not restored.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('owner');
my $append = "SELECT es_append('a-1', -1, 'T', '{}')";
my $who = "SELECT string_agg(DISTINCT who, ',') FROM app.log; TRUNCATE app.log";
my $status = "SELECT name, state, coalesce(owner, '-') FROM eventstore.projection_status ORDER BY name";
my $right = "SELECT (SELECT sum(n) FROM app.counts) = (SELECT count(*) FROM eventstore.events)";

sql($node, <<'SQL');
	CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN;
	CREATE SCHEMA app; GRANT ALL ON SCHEMA app TO alice, bob;
	SELECT es_grant('alice', 'admin'), es_grant('bob', 'admin');
	SET ROLE alice; SET search_path = app, public;
	CREATE TABLE log (who text); GRANT ALL ON log TO PUBLIC;
	SELECT es_create_projection('log', 'INSERT INTO log SELECT current_user FROM events', tables => '{log}');
	SELECT es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category');
	SELECT es_create_projection('later', 'SELECT category, count(*) AS n FROM events GROUP BY category', 'async');
SQL

# Sessions that have appended
my $old = session($node);
$old->query($append);
is(sql($node, $who), 'alice', 'it runs as its owner');
sql($node, 'ALTER ROLE alice RENAME TO anna; CREATE ROLE alice SUPERUSER');
$old->query($append);
is(sql($node, $who), 'anna', 'renamed: a session that knows it runs it as the same role');
sql($node, $append);
is(sql($node, $who), 'anna', 'and so does a new one, although another has the name');
is(sql($node, $status), "counts|running|anna\nlater|running|anna\nlog|running|anna", 'the status tells the new name');

# A session with a snapshot from before, at every isolation level
for my $level ('READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE')
{
	$old->query("BEGIN ISOLATION LEVEL $level; SELECT 1");
	sql($node, 'REASSIGN OWNED BY anna TO bob');
	$old->query("$append; COMMIT; $append");
	is(sql($node, $who), 'bob', "$level: given to another role, a session that knows it runs it as that one");
	is(sql($node, $right), 't', "$level: and nothing is lost");
	is($old->{stderr}, '', "$level: and no error") or $old->{stderr} = '';
	sql($node, 'REASSIGN OWNED BY bob TO anna');
}
is(sqlstate($node, 'DROP ROLE anna'), '2BP01', 'an owner can not be dropped');

# Dumped, and restored where roles have other OIDs, and where one of them has the old name
my $folder = PostgreSQL::Test::Utils::tempdir();
my $dump = sub {
	my ($name, @options) = @_;
	$node->command_ok([ 'pg_dump', @options, '-f', "$folder/$name", 'postgres' ], "dumped: $name");
};
$dump->('custom', '-Fc');
$dump->('plain.sql');
$dump->('no_rights', '-Fc', '--no-privileges');

my $restored = new_server('restored');
sql($restored, 'CREATE ROLE a; CREATE ROLE b; CREATE ROLE bob; CREATE ROLE alice SUPERUSER; CREATE ROLE c; CREATE ROLE anna');
sql($restored, "CREATE DATABASE $_ TEMPLATE template0") for 'custom', 'plain', 'no_owner', 'no_rights';
$restored->command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '-d', 'custom', "$folder/custom" ], 'restored from custom');
$restored->command_ok([ 'psql', '-Xqq', '-v', 'ON_ERROR_STOP=1', '-d', 'plain', '-f', "$folder/plain.sql" ], 'restored from SQL');
for my $database ('custom', 'plain')
{
	is(sql($restored, $status, $database), "counts|running|anna\nlater|running|anna\nlog|running|anna", "$database: the same owner, by name");
	sql($restored, $append, $database);
	is(sql($restored, $who, $database), 'anna', "$database: it runs as that one");
	is(sql($restored, $right, $database), 't', "$database: nothing is lost");
	is(sqlstate($restored, 'DROP ROLE anna', $database), '2BP01', "$database: who can not be dropped");
	is(sqlstate($restored, 'DROP EXTENSION eventstore', $database), '', "$database: DROP EXTENSION");
	is(sql($restored, "SELECT count(*) FROM pg_proc WHERE proargtypes::text <> '' AND proname IN ('log', 'counts', 'later') AND pronamespace > 16384", $database), '0', "$database: leaves nothing behind");
}

# Restored without owners, or without rights: what was dropped on the way must not give anybody's SQL a superuser's rights.
$restored->command_ok([ 'pg_restore', '--exit-on-error', '--no-owner', '-d', 'no_owner', "$folder/custom" ], 'restored without owners');
is(sql($restored, $status, 'no_owner'), "counts|failed|-\nlater|failed|-\nlog|failed|-", 'without owners, nobody owns it');
sql($restored, "$append", 'no_owner');
is(sql($restored, $who, 'no_owner'), '', 'its SQL does not run, appends go on');
is(sqlstate($restored, "SELECT es_run_projection('later')", 'no_owner'), '42704', 'nor by hand');
sql($restored, "SELECT es_reassign_projection(name, 'bob') FROM eventstore.projections ORDER BY name", 'no_owner');
is(sql($restored, $status, 'no_owner'), "counts|failed|bob\nlater|running|bob\nlog|failed|bob", 'given to somebody, those that an append has passed have to be rebuilt');
is(sql($restored, "GRANT ALL ON SCHEMA app TO bob; SELECT es_grant('bob', 'admin'); SELECT count(es_rebuild_projection(name)) FROM eventstore.projections WHERE mode = 'inline'; $append", 'no_owner'), "\n2\n" . (sql($restored, "SELECT version FROM es_last_event('a-1')", 'no_owner')), 'which works');
is(sql($restored, "SELECT count(*) FROM app.log WHERE who = 'bob'", 'no_owner'), sql($restored, 'SELECT count(*) FROM eventstore.events', 'no_owner'), 'it runs as that one');
is(sql($restored, $right, 'no_owner'), 't', 'and is right');
$restored->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'no_rights', "$folder/no_rights" ], 'restored without rights');
is(sql($restored, $status, 'no_rights'), "counts|failed|-\nlater|failed|-\nlog|failed|-", 'without rights, only the name that was noted counts: it is another');

# Where the name was noted since the role was renamed, it counts, too.
sql($node, "SELECT es_reassign_projection(name, 'anna') FROM eventstore.projections");
$dump->('noted', '-Fc', '--no-privileges');
sql($restored, 'CREATE DATABASE noted TEMPLATE template0; CREATE DATABASE missing TEMPLATE template0');
$restored->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'noted', "$folder/noted" ], 'restored without rights, the name noted');
is(sql($restored, $status, 'noted'), "counts|running|anna\nlater|running|anna\nlog|running|anna", 'the owner is known by the name');

# Restored where the role is missing
$dump->('latest', '-Fc');
my $empty = new_server('empty');
sql($empty, 'CREATE DATABASE missing TEMPLATE template0; CREATE ROLE bob');
$empty->command_fails([ 'pg_restore', '-d', 'missing', "$folder/latest" ], 'restored where the owner is missing, which pg_restore tells');
is(sql($empty, $status, 'missing'), "counts|failed|-\nlater|failed|-\nlog|failed|-", 'nobody owns it');
is(sql($empty, "$append", 'missing'), sql($empty, 'SELECT count(*) FROM eventstore.events', 'missing'), 'appends go on');
is(sql($empty, $who, 'missing'), '', 'and its SQL does not run as who restored it');
sql($empty, 'CREATE ROLE anna SUPERUSER');
sql($empty, $append, 'missing');
is(sql($empty, $who, 'missing'), '', 'nor as a role that gets the name later');
is(sql($empty, "SELECT count(DISTINCT last_error) FROM eventstore.projection_status WHERE last_error_code = '42704'", 'missing'), '1', 'the status tells why');
is(sqlstate($empty, "SELECT es_drop_projection('log'), es_drop_projection('counts', true)", 'missing'), '', 'it can be dropped');

# DROP OWNED while an append is in flight, and by who has just appended
$old->query("BEGIN; $append");
my $dropper = session($node);
send_query($dropper, 'DROP OWNED BY anna');
$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'DROP OWNED%' AND wait_event_type = 'Lock'");
$old->query("$append; COMMIT");
$dropper->query('');
is($old->{stderr}, '', 'the append that was in flight went through') or $old->{stderr} = '';
$old->query($append);
like($old->{stderr}, qr/WARNING:  projection "log" is not applied any more/, 'the first one after it is told');
$old->{stderr} = '';
$old->query($append);
is($old->{stderr}, '', 'and no other');
is(sql($node, $status), "counts|failed|-\nlater|failed|-\nlog|failed|-", 'its projections have no owner');
is(sqlstate($node, 'DROP ROLE anna'), '', 'the role can be dropped');
sql($node, "CREATE ROLE anna SUPERUSER; $append");
is(sql($node, $status), "counts|failed|-\nlater|failed|-\nlog|failed|-", 'another one of its name gets nothing of it');
is(sql($node, "SELECT count(es_drop_projection(name)) FROM eventstore.projections"), '3', 'they can be dropped');
is(sql($node, 'SELECT count(*) FROM eventstore.stale_projections'), '0', 'and leave nothing behind');
$old->quit;
$dropper->quit;

done_testing();
