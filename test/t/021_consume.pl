# Consumers of every kind (test/consume.c): each event has its effect once, along each stream in the order of versions. Without the worker
# and with it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $seconds = $ENV{STRESS_SECONDS} // 10;
my $program = "$FindBin::RealBin/../consume";
plan skip_all => "'make test/consume' has not been run" unless -x $program;

for my $preload ('', 'eventstore')
{
	my $name = $preload ? 'with the worker' : 'without the worker';
	my $node = new_server('consume_' . ($preload || 'plain'), 'fsync = off', 'deadlock_timeout = 100ms', "shared_preload_libraries = '$preload'");
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ $program, '-s', $seconds, '-r', $preload ? 1 : 2, $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	note($out);
	ok($ok, "$name: every event once, and in order") or diag($out, $err);
	is_sound($node, $name);
	$node->stop;
}

done_testing();
