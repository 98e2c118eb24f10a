# The store is not dropped by mistake: whatever would drop the extension is refused while there are events, or told by a WARNING where the
# library is not preloaded; in sessions that have called nothing of it, too.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dropping');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
my $folder = PostgreSQL::Test::Utils::tempdir();

# What a session prints that does nothing else.
sub tells
{
	my ($database, $statements) = @_;
	my $err = '';
	$node->psql($database, $statements, stderr => \$err);
	return $err;
}

# Ways to drop the extension, of a role that owns it. Functions stand in a schema of their own.
my %ways = (
	'DROP EXTENSION' => 'DROP EXTENSION eventstore',
	'DROP EXTENSION CASCADE' => 'DROP EXTENSION IF EXISTS eventstore CASCADE',
	'DROP SCHEMA' => 'DROP SCHEMA functions CASCADE',
	'DROP OWNED' => 'DROP OWNED BY store_owner CASCADE',
	'a function' => q{DO $$ BEGIN EXECUTE 'DROP EXTENSION eventstore'; END $$},
	'a replica' => q{SET session_replication_role = replica; DROP EXTENSION eventstore},
	'after ALTER EXTENSION' => 'ALTER EXTENSION eventstore DROP TABLE eventstore.events; DROP TABLE eventstore.events CASCADE');

sub make
{
	my ($database) = @_;
	sql($node, "DROP DATABASE IF EXISTS $database");
	sql($node, "CREATE DATABASE $database");
	sql($node, 'CREATE SCHEMA functions; SET ROLE store_owner; CREATE EXTENSION eventstore SCHEMA functions; RESET ROLE', $database);
	return;
}
sql($node, 'CREATE ROLE store_owner SUPERUSER');
my $fill = q{SELECT functions.es_append('a-1', 0, 'A', '{}')};
my $count = 'SELECT count(*) FROM eventstore.events';

# Not preloaded: a WARNING, or as the setting says.
make('plain');
sql($node, $fill, 'plain');
like(tells('plain', "BEGIN; $ways{$_}; ROLLBACK"), qr/WARNING:  this DELETES ALL EVENTS.*\nDETAIL: .*\nHINT: .*ROLLBACK/, "not preloaded: $_ is told") for sort keys %ways;
is(sql($node, $count, 'plain'), 1, 'and rolled back');
like(tells('plain', "SET eventstore.allow_drop = off; BEGIN; $ways{$_}; ROLLBACK"), qr/ERROR:  cannot drop extension eventstore because its store has events\nDETAIL: .*\nHINT: .*eventstore\.allow_drop/, "off: $_ is refused") for sort keys %ways;
is(sqlstate($node, 'SET eventstore.allow_drop = off; DROP EXTENSION eventstore', 'plain'), '2BP01', 'its SQLSTATE');
is(sql($node, $count, 'plain'), 1, 'the event is there');
sql($node, 'ALTER DATABASE plain SET eventstore.allow_drop = off');
like(tells('plain', 'DROP EXTENSION eventstore'), qr/ERROR:  cannot drop/, 'off for the database');
is(tells('plain', "BEGIN; SET LOCAL eventstore.allow_drop = $_; DROP EXTENSION eventstore; ROLLBACK"), '', "$_: nothing is told") for qw(on true);
sql($node, 'SET eventstore.allow_drop = on; DROP EXTENSION eventstore', 'plain');
is(sql($node, q{SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE 'eventstore%'}, 'plain'), 0, 'dropped: nothing is left');
make('empty');
is(tells('empty', 'SET eventstore.allow_drop = off; DROP EXTENSION eventstore'), '', 'without events nothing is told');

# Preloaded: refused.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'eventstore'");
$node->restart;
make('kept');
is(tells('kept', 'DROP EXTENSION eventstore'), '', 'preloaded: without events nothing is told');
make('kept');
sql($node, $fill, 'kept');
is(sql($node, 'SHOW eventstore.allow_drop', 'kept'), 'off', 'preloaded: the default');
is(sqlstate($node, "BEGIN; $ways{$_}; ROLLBACK", 'kept'), '2BP01', "preloaded: $_ is refused") for sort keys %ways;
is(sqlstate($node, 'ALTER EVENT TRIGGER eventstore_guard DISABLE; DROP EXTENSION eventstore', 'kept'), '2BP01', 'preloaded: it takes no event trigger');
is(sql($node, $count, 'kept'), 1, 'the event is there');
is(sqlstate($node, "BEGIN; $fill; SELECT functions.es_append('b-1', 0, 'A', '{}'); DROP EXTENSION eventstore", 'kept'), 'SE001', 'a transaction that has failed');
sql($node, 'SELECT functions.es_delete_stream(\'a-1\', 1)', 'kept');
is(sqlstate($node, 'BEGIN; DROP EXTENSION eventstore; ROLLBACK', 'kept'), '', 'all events deleted: it may go');
is(sqlstate($node, q{BEGIN; SELECT functions.es_append('c-1', 0, 'A', '{}'); DROP EXTENSION eventstore}, 'kept'), '2BP01', 'one of the same transaction counts');

# It waits for who appends, and then sees what he has appended.
my $appender = session($node, 'kept');
$appender->query_safe(q{BEGIN; SELECT functions.es_append('d-1', 0, 'A', '{}')});
my $dropper = session($node, 'kept');
send_query($dropper, 'DROP EXTENSION eventstore');
becomes($node, q{SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'}, 1, 'it waits');
$appender->query_safe('COMMIT');
$dropper->query('');
like($dropper->{stderr}, qr/cannot drop extension/, 'an append that was in flight counts');
$_->quit for $appender, $dropper;

# Other objects are dropped as ever, and a read table that a user has.
is(tells('kept', 'CREATE TABLE t (); DROP TABLE t; CREATE SCHEMA s; DROP SCHEMA s; CREATE TABLE p (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p DEFAULT; INSERT INTO p VALUES (1); DROP TABLE p1; DROP TABLE p'), '', 'what others drop');
is(sqlstate($node, 'DROP SCHEMA eventstore CASCADE', 'kept'), '2BP01', 'the schema is of the extension');
is(sqlstate($node, 'DROP TABLE eventstore.events CASCADE', 'kept'), '2BP01', 'the table is of the extension');

# pg_restore --clean
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", 'kept' ], 'dumped');
my ($out, $err) = run_command([ 'pg_restore', '--clean', '--if-exists', '--exit-on-error', '-d', $node->connstr('kept'), "$folder/dump" ]);
like($err, qr/cannot drop extension eventstore/, 'pg_restore --clean is refused');
is(sql($node, $count, 'kept'), 1, 'and has taken nothing');
{
	local $ENV{PGOPTIONS} = '-c eventstore.allow_drop=on';
	$node->command_ok([ 'pg_restore', '--clean', '--if-exists', '--exit-on-error', '-d', $node->connstr('kept'), "$folder/dump" ], 'it may with PGOPTIONS');
}
is(sql($node, $count, 'kept'), 1, 'and is the store again');

# The schema keeps its name.
is(sqlstate($node, 'ALTER SCHEMA eventstore RENAME TO other', 'kept'), '0A000', 'the schema can not be renamed');
is(sqlstate($node, 'ALTER EXTENSION eventstore SET SCHEMA public', 'kept'), '0A000', 'the extension can not be moved');
sql($node, 'CREATE SCHEMA other; ALTER SCHEMA other RENAME TO another', 'kept');
is(sql($node, 'SELECT functions.es_stream_version(\'d-1\')', 'kept'), 1, 'the store goes on');

# Partitioned, the events are in other tables: the same holds.
sql($node, 'SELECT functions.es_partition_events(20)', 'kept');
is(sqlstate($node, "BEGIN; $ways{$_}; ROLLBACK", 'kept'), '2BP01', "partitioned: $_ is refused") for 'DROP EXTENSION', 'DROP SCHEMA';
is(sqlstate($node, 'DROP TABLE eventstore.events_0 CASCADE', 'kept'), '2BP01', 'partitioned: a partition with events is not dropped');
sql($node, 'DROP DATABASE kept');
done_testing();
