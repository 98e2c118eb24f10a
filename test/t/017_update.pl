# Rows of streams are updated in place (HOT), whatever the load: their pages are pruned in time, though no more often than needed.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

# In partitions that are wider than usual here: who makes one keeps rows from being pruned meanwhile.
my $node = new_node('update', in_partitions_of(10_000), 'fsync = off', 'autovacuum = off', 'stats_fetch_consistency = none');

# updates WHAT, MINIMUM, CLIENTS, CALLS, SQL: runs a script of pgbench's, and tells how many of the updates were HOT, in percent.
sub updates
{
	my ($what, $minimum, $clients, $calls, $script) = @_;
	my $count = sub { split /\|/, sql($node, q{SELECT pg_stat_force_next_flush(); SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relid = 'eventstore.streams'::regclass}) =~ s/.*\n//r };
	my @before = $count->();
	race($node, $what, $clients, $calls, $script);
	my @after = $count->();
	is($after[0] - $before[0], $clients * $calls, "$what: each append updates a row");
	cmp_ok(100 * ($after[1] - $before[1]) / ($after[0] - $before[0]), '>=', $minimum, "$what: at least $minimum % in place");
}

# Names of many lengths, so that versions of rows differ in size.
sql($node, <<'SQL');
	SELECT count(es_append('s' || i || '-' || repeat('x', i % 100), 0, 'Opened', '{}')) FROM generate_series(0, 999) i;
	VACUUM eventstore.streams;
	SELECT es_append('hot-1', 0, 'Opened', '{}'), es_append(repeat('long', 128), 0, 'Opened', '{}');
SQL
my $size = sql($node, q{SELECT pg_relation_size('eventstore.streams')});
updates('streams at random', 99, 4, 5000, <<'SQL');
	\set i random(0, 999)
	SELECT es_append('s' || :i || '-' || repeat('x', :i % 100), -1, 'Counted', '{}');
SQL
cmp_ok(sql($node, q{SELECT pg_relation_size('eventstore.streams')}), '<=', 1.2 * $size, 'streams at random: the table does not grow');
updates('one stream', 97, 8, 1000, q{SELECT es_append('hot-1', -1, 'Counted', '{}');});
updates('the longest name', 99, 1, 1000, q{SELECT es_append(repeat('long', 128), -1, 'Counted', '{}');});
is_sound($node, 'updates');
done_testing();
