# Promotion under load: readers that tail a hot standby go on through it, and have seen at the end what the new primary has, each event
# once; without the worker and with it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

# Transactions that overlap, of several appends, some of them rolled back, some prepared and left to somebody.
my $script = PostgreSQL::Test::Utils::tempdir() . '/append.sql';
PostgreSQL::Test::Utils::append_to_file($script, <<'SQL');
\set kind random(1, 20)
\set a random(1, 200)
\set b random(1, 200)
BEGIN;
SELECT es_append('a-' || :a, -1, 'Appended', '{}');
\sleep 2 ms
SELECT es_append('b-' || :b, -1, '[{"type": "First"}, {"type": "Second"}]');
\if :kind = 1
ROLLBACK;
\elif :kind = 2
PREPARE TRANSACTION 'p:client_id';
COMMIT PREPARED 'p:client_id';
\else
COMMIT;
\endif
SQL
my $begin_load = sub {
	my ($node) = @_;
	my ($out, $err) = ('', '');
	# It ends with the server, or when told to.
	return IPC::Run::start([ 'pgbench', '-n', '-c', 6, '-j', 2, '-T', 600, '--max-tries', 10, '-f', $script, $node->connstr('postgres') ], '>', \$out, '2>', \$err);
};

for my $preload ('', "shared_preload_libraries = 'eventstore'")
{
	my $name = $preload ? 'with the worker' : 'without';
	my $suffix = $preload ? 'worker' : 'plain';
	my $primary = new_node("primary_$suffix", 'fsync = off', 'max_connections = 50', 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby_feedback = on', 'deadlock_timeout = 100ms', $preload);
	$primary->backup('backup');
	my $standby = PostgreSQL::Test::Cluster->new("standby_$suffix");
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	$standby->start;

	# Each remembers the last position seen, and reads on from there; one in READ COMMITTED, one in snapshots that stand for a while.
	my @readers = map { { session => session($standby), cursor => 0, seen => [], in_snapshot => $_ } } 0, 1;
	my $read = sub {
		for my $reader (@readers)
		{
			my $take = sub {
				my @new = split /\n/, $reader->{session}->query_safe("SELECT position FROM es_read_all($reader->{cursor}, 500)");
				push @{ $reader->{seen} }, @new;
				$reader->{cursor} = $new[-1] if @new;
			};
			if ($reader->{in_snapshot})
			{
				$reader->{session}->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT es_head()');
				$take->() for 1 .. 2;
				$reader->{session}->query_safe('COMMIT');
			}
			else
			{
				$take->() for 1 .. 3;
			}
		}
	};
	my $read_until = sub {
		my ($enough) = @_;
		my $end = time + 60;
		$read->() while !$enough->() && time < $end;
	};

	my $load = $begin_load->($primary);
	$read_until->(sub { $readers[0]{cursor} > 500 && $readers[1]{cursor} > 500 });
	cmp_ok($_->{cursor}, '>', 500, "$name: a reader tails the standby") for @readers;
	$primary->stop('immediate');
	eval { $load->kill_kill };
	$read->();
	my @before = map { $_->{cursor} } @readers;
	$standby->promote;
	$read->();
	# What was prepared over there and not ended yet holds the head back, until somebody ends it.
	my $prepared = sql($standby, 'SELECT count(*) FROM pg_prepared_xacts');
	is(sql($standby, 'SELECT count(*) FROM eventstore.inflight'), $prepared, "$name: what is prepared is in flight");
	sql($standby, $_) for split /\n/, sql($standby, q{SELECT format('COMMIT PREPARED %L', gid) FROM pg_prepared_xacts});

	$load = $begin_load->($standby);
	$read_until->(sub { $readers[0]{cursor} > $before[0] + 500 && $readers[1]{cursor} > $before[1] + 500 });
	eval { $load->kill_kill };
	becomes($standby, q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'}, 0, "$name: the load ends");
	sql($standby, $_) for split /\n/, sql($standby, q{SELECT format('COMMIT PREPARED %L', gid) FROM pg_prepared_xacts});
	my $last = sql($standby, 'SELECT max(position) FROM eventstore.events');
	$read_until->(sub { $readers[0]{cursor} >= $last && $readers[1]{cursor} >= $last });
	my $there = sql($standby, 'SELECT position FROM eventstore.events ORDER BY position');
	ok(join("\n", @{ $_->{seen} }) eq $there, "$name: a reader has seen every event of the new primary once" . ($_->{in_snapshot} ? ', in snapshots' : '')) for @readers;
	is_sound($standby, $name);
	eval { $_->{session}->quit } for @readers;
	$standby->stop;
}

done_testing();
