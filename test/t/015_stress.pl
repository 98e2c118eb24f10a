# Writers of every kind against readers of every kind (test/stress.c), 15 seconds without the worker and 15 with it and a hot standby.
# `make stress SECONDS=...` does so for as long as one likes. Here other tests run beside it, so a reader may be a second late.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $seconds = $ENV{STRESS_SECONDS} // 15;
my $program = "$FindBin::RealBin/../stress";
plan skip_all => "'make test/stress' has not been run" unless -x $program;

my @settings = ('fsync = off', 'max_connections = 120', 'deadlock_timeout = 100ms');
my $stress = sub {
	my ($name, $node, @options) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ $program, '-s', $seconds, '-l', 1000, @options, $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	note($out);
	ok($ok, "$name: no reader missed anything") or diag($err, $out);
	is_sound($node, $name);
};

my $plain = new_server('stress_plain', @settings);
$stress->('without the worker', $plain);
$plain->stop;

my $primary = new_server('stress_worker', @settings, 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby_feedback = on', "shared_preload_libraries = 'eventstore'");
# Makes what it needs, before there is a standby that would have to wait for it.
IPC::Run::run([ $program, '-s', 1, $primary->connstr('postgres') ], '>', '/dev/null');
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('stress_standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
$stress->('with the worker and a standby', $primary, '-W', '-S', $standby->connstr('postgres'));

done_testing();
