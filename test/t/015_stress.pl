# Writers of every kind against readers of every kind (test/stress.c), 15 seconds without the worker and 15 with it, on hot standbys, too.
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

# The program makes what it needs before there is a standby that would have to wait for it.
my $new_primary = sub {
	my ($name, @more) = @_;
	my $node = new_server($name, @settings, 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby_feedback = on', @more);
	IPC::Run::run([ $program, '-s', 1, $node->connstr('postgres') ], '>', '/dev/null');
	return $node;
};
my $new_standby = sub {
	my ($name, $of) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$of->backup('backup');
	$node->init_from_backup($of, 'backup', has_streaming => 1);
	$node->start;
	return $node;
};

my $plain = $new_primary->('stress_plain');
my $standby = $new_standby->('stress_plain_standby', $plain);
my $second = $new_standby->('stress_second_standby', $standby);
$stress->('without the worker', $plain, '-S', $standby->connstr('postgres'), '-S', $second->connstr('postgres'));
$_->stop for $second, $standby, $plain;

my $primary = $new_primary->('stress_worker', "shared_preload_libraries = 'eventstore'");
$standby = $new_standby->('stress_standby', $primary);
$stress->('with the worker', $primary, '-W', '-S', $standby->connstr('postgres'));

done_testing();
