# Read tables that are UNLOGGED: a crash, and the promotion of a standby, empties them. Their projections do not count on from nothing: they
# stop, appends go on, and a rebuild makes them right.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $preload = ($ENV{PRELOAD} // '0') eq '1';
my $node = new_node('unlogged', 'max_wal_senders = 5', 'wal_level = replica', 'restart_after_crash = on', $preload ? "shared_preload_libraries = 'eventstore'" : ());
my $append = "SELECT es_append('a-1', -1, 'T', '{}')";
my $count = 'SELECT stream, count(*) AS n FROM events GROUP BY stream';
my $handler = sub { "INSERT INTO $_[0] AS h SELECT stream, count(*) FROM events GROUP BY 1 ON CONFLICT (stream) DO UPDATE SET n = h.n + excluded.n" };

# What statements tell, by client_min_messages = notice
sub told
{
	my ($server, $statements) = @_;
	my $err = '';
	$server->psql('postgres', $statements, stderr => \$err);
	return $err;
}

# Which projections' tables are not what the events make of them
sub wrong
{
	my ($server, @tables) = @_;
	return join(' ', grep { sql($server, "SELECT coalesce((SELECT sum(n) FROM $_), 0) = (SELECT count(*) FROM eventstore.events)") ne 't' } @tables);
}
my $crash = sub {
	$node->stop('immediate');
	$node->start;
};
my $states = "SELECT name || ' ' || state FROM eventstore.projection_status ORDER BY name";

sql($node, 'CREATE UNLOGGED TABLE inline (stream text PRIMARY KEY, n bigint); CREATE TABLE plain (stream text PRIMARY KEY, n bigint); CREATE TABLE other (a int)');
like(told($node, q{SELECT es_create_projection('inline', $$} . $handler->('inline') . q{$$, tables => '{inline}')}), qr/WARNING:  table public.inline of projection "inline" is unlogged\n.*DETAIL:  A crash empties it/s, 'who makes one on an unlogged table is warned');
is(told($node, q{SELECT es_create_projection('plain', $$} . $handler->('plain') . q{$$, tables => '{plain}')}), '', 'and nobody else');
sql($node, "SELECT es_create_projection('later', '$count', 'async'), es_create_projection('declared', '$count')");
like(told($node, 'ALTER TABLE later SET UNLOGGED'), qr/WARNING:  table public.later of projection "later" is unlogged/, 'so is who makes a read table unlogged');
like(told($node, 'ALTER TABLE declared SET UNLOGGED'), qr/WARNING:  table public.declared of projection "declared" is unlogged/, 'of a declaration, too');
is(told($node, 'ALTER TABLE other SET UNLOGGED; ALTER TABLE other SET LOGGED; ALTER TABLE other ALTER a TYPE bigint'), '', 'other tables are nobody\'s concern');
my $run = $preload ? "SELECT es_wait_projection('later', es_head(), '60 s')" : "SELECT es_run_projection('later')";
sql($node, "$append; $append");
sql($node, $run);
is(wrong($node, qw(inline plain later declared)), '', 'all tables are right');

# A clean restart
$node->restart;
sql($node, $append);
sql($node, $run);
is(wrong($node, qw(inline plain later declared)), '', 'they are so after a restart');
is(sql($node, $states), "declared running\ninline running\nlater running\nplain running", 'and run');

# A crash
$crash->();
is(sql($node, $states), "declared failed\ninline failed\nlater failed\nplain running", 'after a crash, those with an unlogged table have failed');
is(sql($node, "SELECT count(*) FROM eventstore.projection_status WHERE last_error ~ 'unlogged, and a crash has emptied it' AND last_error_code = '55000'"), '3', 'which the status explains');
my $told = told($node, $append);
like($told, qr/WARNING:  projection "declared" is not applied any more\n.*WARNING:  projection "inline" is not applied any more/s, 'the first append tells it');
unlike($told, qr/ERROR/, 'and goes through');
is(told($node, "$append; $append"), '', 'later ones do not');
is(wrong($node, 'plain'), '', 'the other projection is applied');
is(sql($node, 'SELECT count(*) FROM inline, declared'), '0', 'they are not');
sql($node, "SELECT es_run_projection('later')") if !$preload;
is(sql($node, 'SELECT count(*) FROM later'), '0', 'the async one is not, either');
is(sqlstate($node, "SELECT es_resume_projection('$_')"), '55000', "$_ can not just be resumed") for qw(inline later declared);
is(sql($node, "SELECT es_wait_projection('inline', es_head(), '0')"), 'f', 'nobody is told that it has been applied');

# Made LOGGED, it is as empty as before.
like(told($node, 'ALTER TABLE later SET LOGGED; ALTER TABLE declared SET LOGGED; ALTER TABLE inline SET LOGGED'), qr/^((?!WARNING.*"(declared|inline)").)*$/s, 'made logged');
sql($node, $append);
is(sql($node, $states), "declared failed\ninline failed\nlater failed\nplain running", 'they have failed all the same');
is(sql($node, "SELECT es_rebuild_projection('$_') = (SELECT count(*) FROM eventstore.events)"), 't', "$_ is rebuilt") for qw(inline later declared);
sql($node, $append);
sql($node, $run);
is(wrong($node, qw(inline plain later declared)), '', 'then all are right');
is(sql($node, $states), "declared running\ninline running\nlater running\nplain running", 'and run');
is(sql($node, 'SELECT count(*) FROM eventstore.stale_projections'), '0', 'nothing is left of it');
$crash->();
sql($node, $append);
sql($node, $run);
is(wrong($node, qw(inline plain later declared)), '', 'logged, they stand a crash');

# A crash, and made LOGGED before anything else happens
sql($node, 'ALTER TABLE inline SET UNLOGGED; ALTER TABLE later SET UNLOGGED');
sql($node, $append);
sql($node, $run);
$crash->();
like(told($node, 'ALTER TABLE inline SET LOGGED'), qr/WARNING:  projection "inline" is not applied any more/, 'made logged after a crash: that is noticed');
sql($node, $append);
is(sql($node, $states), "declared running\ninline failed\nlater failed\nplain running", 'and stays so');
# While it is paused, too
sql($node, "SELECT es_pause_projection('inline'), es_pause_projection('later')");
is(sqlstate($node, "SELECT es_resume_projection('$_')"), '55000', "$_, paused, can not be resumed") for qw(inline later);
sql($node, "SELECT es_rebuild_projection('inline'), es_rebuild_projection('later')");
is(sql($node, $states), "declared running\ninline paused\nlater paused\nplain running", 'rebuilt, it is paused');
is(wrong($node, qw(inline later)), '', 'and right');
sql($node, "SELECT es_resume_projection('inline'), es_resume_projection('later')");
sql($node, $append);
sql($node, $run);
is(wrong($node, qw(inline plain later declared)), '', 'resumed, it goes on');
# "later" is unlogged still: rebuilt after the crash, it is watched again.
$crash->();
is(sql($node, $states), "declared running\ninline running\nlater failed\nplain running", 'the next crash is noticed again');
sql($node, "SELECT es_rebuild_projection('later')");

# A partition
sql($node, q{CREATE TABLE parted (stream text PRIMARY KEY, n bigint) PARTITION BY HASH (stream); CREATE UNLOGGED TABLE part PARTITION OF parted FOR VALUES WITH (MODULUS 1, REMAINDER 0)});
like(told($node, q{SELECT es_create_projection('parted', $$} . $handler->('parted') . q{$$, tables => '{parted}')}), qr/WARNING:  table public.parted of projection "parted" is unlogged/, 'an unlogged partition counts');
$crash->();
sql($node, $append);
is(sql($node, "SELECT state FROM eventstore.projection_status WHERE name = 'parted'"), 'failed', 'and its loss');
like(told($node, "SELECT es_rebuild_projection('parted'); ALTER TABLE part SET LOGGED; ALTER TABLE part SET UNLOGGED"), qr/WARNING:  table public.part of projection "parted" is unlogged/, 'ALTER TABLE of a partition is noticed');
sql($node, "SELECT es_rebuild_projection('later')");
is(wrong($node, 'parted', 'later'), '', 'rebuilt, all is right');

# A dump has the rows of unlogged tables, unless it shall not.
my $folder = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/filled", 'postgres' ], 'dumped');
$node->command_ok([ 'pg_dump', '-Fc', '--no-unlogged-table-data', '-f', "$folder/bare", 'postgres' ], 'dumped without the data of unlogged tables');
my $copies = new_server('copies');
for my $name ('filled', 'bare')
{
	sql($copies, "CREATE DATABASE $name TEMPLATE template0");
	$copies->command_ok([ 'pg_restore', '--exit-on-error', '-d', $name, "$folder/$name" ], "restored $name");
}
is(sql($copies, $states, 'filled'), "declared running\ninline running\nlater running\nparted running\nplain running", 'with the data, they go on');
is(sql($copies, $states, 'bare'), "declared running\ninline running\nlater failed\nparted failed\nplain running", 'without, they have to be rebuilt');
is(sql($copies, "SELECT es_append('a-1', -1, 'T', '{}'); SELECT es_rebuild_projection('later') + es_rebuild_projection('parted') = 2 * count(*) FROM eventstore.events", 'bare') =~ s/^\d+\n//r, 't', 'which works');
is(sql($copies, $states, 'bare'), "declared running\ninline running\nlater running\nparted running\nplain running", 'and has them run');

# A standby, and its promotion
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
sql($node, $append);
$node->wait_for_catchup($standby);
is(sql($standby, 'SELECT count(*) FROM eventstore.projection_status'), '5', 'a standby tells the status');
$node->stop;
$standby->promote;
is(sql($standby, $states), "declared running\ninline running\nlater failed\nparted failed\nplain running", 'promoted, it has lost what was unlogged');
sql($standby, $append);
is(sql($standby, "SELECT es_rebuild_projection('later') + es_rebuild_projection('parted') = 2 * count(*) FROM eventstore.events"), 't', 'a rebuild works there');
is(wrong($standby, qw(inline plain later declared parted)), '', 'and all is right');

# Dropped, nothing is left; a new one of the name is not affected.
sql($standby, "SELECT es_drop_projection('later', true); CREATE TABLE later (stream text PRIMARY KEY, n bigint)");
is(sql($standby, 'SELECT count(*) FROM eventstore.intact_projections WHERE projection = \'later\''), '0', 'nothing is left of a projection that was dropped');

done_testing();
