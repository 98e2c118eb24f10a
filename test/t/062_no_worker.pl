# An async projection that nobody applies by itself: who makes it is told, and the status says why; with the library preloaded or not.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $make = sub { "SELECT es_create_projection('$_[0]', 'SELECT stream, count(*) AS n FROM events GROUP BY 1', 'async')" };
my $obstacle = "SELECT coalesce(obstacle, '-') FROM eventstore.projection_status WHERE name = 'p'";

# What statements tell
sub told
{
	my ($server, $statements, $database) = @_;
	my $err = '';
	$server->psql($database // 'postgres', $statements, stderr => \$err);
	return $err;
}

my $plain = new_node('plain');
like(told($plain, $make->('p')), qr/NOTICE:  projection "p" is not applied by itself\n.*DETAIL:  There is no worker in this database: the library is not in shared_preload_libraries\.\n.*HINT:  es_run_projection/s, 'not preloaded: told');
is(sql($plain, $obstacle), 'no worker in this database: the library is not in shared_preload_libraries', 'and shown');
is(told($plain, "SELECT es_create_projection('i', 'SELECT stream, count(*) AS n FROM events GROUP BY 1')"), '', 'an inline one is none of it');
is(sql($plain, "SELECT count(*) FROM eventstore.projection_status WHERE name = 'i' AND obstacle IS NULL"), '1', 'nor shown so');
sql($plain, "SELECT es_pause_projection('p')");
is(sql($plain, $obstacle), '-', 'nor is one that is paused');

my $node = new_node('workers', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'postgres'", 'max_worker_processes = 20', 'max_logical_replication_workers = 0');
my $set = sub { sql($node, "ALTER SYSTEM SET $_[0] = $_[1]; SELECT pg_reload_conf()") };
sql($node, 'CREATE DATABASE "Shop, 2"');
sql($node, 'CREATE EXTENSION eventstore', 'Shop, 2');
is(told($node, $make->('p')), '', 'with a worker nobody is told');
becomes($node, $obstacle, '-', 'nor shown', 'postgres');
like(told($node, $make->('p'), 'Shop, 2'), qr/DETAIL:  There is no worker in this database: it is not in eventstore.databases\./, 'in another database: told');
is(sql($node, $obstacle, 'Shop, 2'), 'no worker in this database: it is not in eventstore.databases', 'and shown');
sql($node, "SELECT es_append('a-1', 0, 'T', '{}')", 'Shop, 2');
is(sql($node, "SELECT es_wait_projection('p', es_head(), '100 ms'), state, lag, obstacle IS NULL FROM eventstore.projection_status", 'Shop, 2'), 'f|running|1|f', 'it stands still');
$set->('eventstore.databases', q{'postgres, "Shop, 2"'});
becomes($node, $obstacle, '-', 'listed, the database gets a worker', 'Shop, 2');
becomes($node, "SELECT lag FROM eventstore.projection_status", '0', 'which applies it', 'Shop, 2');
is(told($node, $make->('q'), 'Shop, 2'), '', 'the next one is made without a word');

$set->('eventstore.projection_workers', 0);
becomes($node, $obstacle, 'no process to apply it: eventstore.projection_workers is 0', 'no processes for it: shown');
like(told($node, $make->('none')), qr/DETAIL:  There is no process to apply it: eventstore.projection_workers is 0\./, 'and told');
$set->('eventstore.projection_workers', 2);
becomes($node, $obstacle, '-', 'allowed again');

# No free process: the launcher and two workers take them all.
sql($node, "ALTER SYSTEM SET max_worker_processes = 3");
$node->restart;
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'", '2', 'both workers are there');
sql($node, "SELECT es_append('a-1', -1, 'T', '{}')");
becomes($node, $obstacle, 'no free process to apply it: max_worker_processes', 'no free process: shown');
is(sql($node, "SELECT es_run_projection('p') > 0"), 't', 'it can be applied by hand');
sql($node, 'ALTER SYSTEM SET max_worker_processes = 20');
$node->restart;
sql($node, "SELECT es_append('a-1', -1, 'T', '{}')");
becomes($node, "SELECT lag FROM eventstore.projection_status WHERE name = 'p'", '0', 'with free ones it goes on');
becomes($node, $obstacle, '-', 'and nothing is in the way');

# A worker that can not be started
sql($node, 'ALTER SYSTEM SET max_worker_processes = 1');
$node->restart;
becomes($node, $obstacle, 'no worker in this database: it has ended or could not be started, see the server\'s log', 'no worker: shown');

done_testing();
