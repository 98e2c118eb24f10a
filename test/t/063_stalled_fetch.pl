# A consumer that stalls in a transaction in which it has only fetched does no harm beyond its lease, nor where its fetch was the first after
# es_alter_subscription; and no verb waits for it without limit.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('stalled');
sql($node, q{SELECT es_create_subscription('work', 'work', partitions => 2, lease => '2 s')});
my $fill = sub { sql($node, q{SELECT es_append('work-' || n, -1, 'E', '{}') FROM generate_series(1, 10) n}) };
my $left = sub { sql($node, q{SELECT sum(lag_events) FROM eventstore.subscription_status WHERE name = 'work'}) };
my ($a, $b) = (session($node), session($node));
my $fetch = sub { my ($session, $name) = @_; return scalar $session->query("SELECT count(*), max(token), max(position) FROM es_fetch('work', '$name')") };
my $ack = sub { my ($session, $batch) = @_; my (undef, $token, $position) = split /\|/, $batch; $session->query("SELECT es_ack('work', $token, $position)") };

# Each has one of the two partitions: they say that they are there, before either takes anything.
$fill->();
my $shares = '';
for (1 .. 200)
{
	$a->query(q{SELECT es_fetch('work', 'A', 0)});
	$b->query(q{SELECT es_fetch('work', 'B', 0)});
	$shares = sql($node, q{SELECT string_agg(consumer, ' ' ORDER BY consumer) FROM eventstore.subscription_status WHERE name = 'work'});
	last if $shares eq 'A B';
	sleep 0.05;
}
is($shares, 'A B', 'each has a partition');
my ($of_a, $of_b) = ($fetch->($a, 'A'), $fetch->($b, 'B'));
like($of_a, qr/^[1-9]/, 'one consumer has something');
like($of_b, qr/^[1-9]/, 'the other, too');

# The next division begins when both have acknowledged: neither sees of itself that all is done.
sql($node, q{SELECT es_alter_subscription('work', 8)});
$a->query('BEGIN');
$b->query('BEGIN');
$ack->($a, $of_a);
$ack->($b, $of_b);
$a->query('COMMIT');
$b->query('COMMIT');
$fill->();

# The first that fetches then is stopped in its transaction, for ever.
$a->query('BEGIN');
$fetch->($a, 'A');

my $until = time + 60;
my $worked = 0;
while (time < $until && ($left->() || 0) > 0)
{
	my $batch = $fetch->($b, 'B');
	if ($batch =~ /^([1-9]\d*)\|/)
	{
		$worked += $1;
		$ack->($b, $batch);
	}
	sleep 0.05;
}
is($left->(), 0, 'the other consumer has worked on everything');
cmp_ok($worked, '>', 0, 'and not nothing');
is(sqlstate($node, q{SET statement_timeout = '60 s'; SELECT es_alter_subscription('work', 4)}), '', 'es_alter_subscription does not wait for it');
is(sqlstate($node, q{SET statement_timeout = '60 s'; SELECT es_reset_subscription('work', 0)}), '', 'nor es_reset_subscription');
$a->query('ROLLBACK');
$_->quit for $a, $b;
is_sound($node, 'stalled');
done_testing();
