# Conditional appends of every kind (test/decide.c): what only conditions protect holds at every position; without the worker, with it, and
# over a crash of the server. `make stress` does so for as long as one likes.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep);

my $seconds = $ENV{STRESS_SECONDS} // 10;
my $program = "$FindBin::RealBin/../decide";
plan skip_all => "'make test/decide' has not been run" unless -x $program;

my @settings = ('fsync = off', 'max_connections = 120', 'deadlock_timeout = 100ms');
my $decide = sub {
	my ($name, $node, $seed, $meanwhile) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ $program, '-s', $seconds, '-r', $seed, $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	$meanwhile->() if $meanwhile;
	my $ok = $run->finish;
	note($out);
	ok($ok, "$name: no decision was made on what had changed") or diag($err, $out);
	is_sound($node, $name);
};

my $plain = new_server('decide_plain', @settings);
$decide->('without the worker', $plain, 1);

# In the middle of it the server goes down, and comes back.
$decide->(
	'over a crash',
	$plain, 2,
	sub {
		$plain->poll_query_until('postgres', "SELECT count(*) > 50 FROM eventstore.events WHERE recorded_at > now() - interval '5 s'");
		$plain->stop('immediate');
		$plain->start;
	});
$plain->stop;

my $worker = new_server('decide_worker', @settings, "shared_preload_libraries = 'eventstore'");
$decide->('with the worker', $worker, 3);

done_testing();
