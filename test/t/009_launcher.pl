# What stands in the way of workers and runners is told in the log once: databases that are not there, or without the extension; no free process.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep);

my $logged = sub { my ($node, $what) = @_; return scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /$what/g) };
# Waits until the log has something, and tests how often.
my $is_told = sub {
	my ($node, $what, $count, $name) = @_;
	my $until = time + $soon;
	sleep 0.05 while $logged->($node, $what) < $count && time < $until;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($logged->($node, $what), $count, $name);
};
# Has the launcher look several times, and try again what it may.
my $looks = sub {
	my ($node) = @_;
	for (1 .. 3)
	{
		sleep 1.1;
		sql($node, 'SELECT pg_reload_conf()');
	}
};

# Databases
my $node = new_server('databases', "shared_preload_libraries = 'eventstore'", 'max_worker_processes = 20');
sql($node, 'CREATE DATABASE empty');
sql($node, 'CREATE DATABASE shut ALLOW_CONNECTIONS false');
sql($node, 'CREATE EXTENSION eventstore');
sql($node, q{ALTER SYSTEM SET eventstore.databases = postgres, nowhere, template1, empty, shut, later});
sql($node, 'SELECT pg_reload_conf()');
$is_told->($node, qr/WARNING:  database "nowhere" of eventstore.databases can have no worker\n.*DETAIL:  It does not exist/, 1, 'a database that is not there');
$is_told->($node, qr/WARNING:  database "template1".*\n.*DETAIL:  It is a template/, 1, 'a template');
$is_told->($node, qr/WARNING:  database "shut".*\n.*DETAIL:  It allows no connections/, 1, 'one that is shut');
$is_told->($node, qr/WARNING:  extension "eventstore" is not installed in database "empty"/, 1, 'one without the extension');
$looks->($node);
sql($node, q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND datname = 'empty'});
$looks->($node);
is($logged->($node, qr/WARNING:  database "$_"/), 1, "\"$_\" once") for qw(nowhere template1 later);
is($logged->($node, qr/WARNING:  extension "eventstore" is not installed in database "empty"/), 1, 'the extension once, though its worker was started again');
sql($node, 'CREATE DATABASE later');
sql($node, 'CREATE EXTENSION eventstore', 'later');
becomes($node, q{SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'}, 'empty later postgres', 'one that comes has its worker');
sql($node, 'DROP DATABASE later');
$is_told->($node, qr/WARNING:  database "later"/, 2, 'one that goes is told of anew');
sql($node, q{ALTER SYSTEM SET eventstore.databases = postgres; SELECT pg_reload_conf()});
becomes($node, q{SELECT string_agg(datname, ' ') FROM pg_stat_activity WHERE backend_type = 'eventstore worker'}, 'postgres', 'taken from the list');
sql($node, q{ALTER SYSTEM SET eventstore.databases = postgres, nowhere; SELECT pg_reload_conf()});
$is_told->($node, qr/WARNING:  database "nowhere"/, 2, 'and put there again');
$node->stop;

# No process for the worker: one is replication's launcher, one is ours.
$node = new_server('slots', "shared_preload_libraries = 'eventstore'", q{eventstore.databases = 'postgres, shop'}, 'max_worker_processes = 2');
sql($node, 'CREATE DATABASE shop');
sql($node, 'CREATE EXTENSION eventstore');
$is_told->($node, qr/LOG:  could not start the eventstore worker for database "$_"/, 1, "no process for the worker of $_") for qw(postgres shop);
$looks->($node);
is($logged->($node, qr/could not start the eventstore worker for database "$_"/), 1, "which is told once of $_") for qw(postgres shop);
is(sqlstate($node, q{SELECT es_append('a-1', -1, 'A', '{}')}), '', 'appends go on');
$node->stop;

# One for the worker, none for a runner: tried at every round.
$node = new_server('runners', "shared_preload_libraries = 'eventstore'", 'max_worker_processes = 3');
sql($node, 'CREATE EXTENSION eventstore');
becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND query = 'waiting for appends'}, 1, 'a worker');
sql($node, q{SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async')});
for (1 .. 20)
{
	sql($node, q{SELECT es_append('a-1', -1, 'A', '{}')});
	becomes($node, 'SELECT position = es_head() FROM eventstore.head', 't', "round $_");
}
$is_told->($node, qr/could not start a process to apply projections/, 1, 'no process for a runner is told once');
$looks->($node);
is($logged->($node, qr/could not start a process to apply projections/), 1, 'and not again');
is(sql($node, q{SELECT es_run_projection('counts')}), 20, 'es_run_projection does the same');
$node->stop;

done_testing();
