# es_fetch that waits: it is woken by what it waits for, at once, with the worker and without; while it sleeps it uses no CPU, has no
# transaction id and holds nothing that others would want.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Consumers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('fetchwait', "shared_preload_libraries = 'eventstore'", "eventstore.databases = ''");
my $session = session($node);
my $pid = backend_pid($session);
my $other = session($node);
sql($node, q{SELECT es_create_subscription('s', category => 'a', partitions => 8, lease => '1 hour')});
my $append = sub { sql($node, "SELECT es_append('$_[0]', -1, 'Happened', '{}')") };
my $ack = sub {
	my ($who, @rows) = @_;
	$who->query_safe("SELECT es_ack('s', $rows[-1][3], $rows[-1][4])") if @rows;
	return;
};
my $answer = sub { return map { [ split /\|/, $_, -1 ] } split /\n/, $session->query('') };

is(scalar ask($session, fetch('s', 'c', 10, '0')), 0, 'no wait: nothing there');
my $begun = time;
is(scalar ask($session, fetch('s', 'c', 10, '300 ms')), 0, 'nothing comes');
my $took = time - $begun;
ok($took >= 0.29 && $took < $soon, sprintf('for as long as was said: %.3f s', $took));

for my $way ('without the worker', 'with the worker')
{
	if ($way eq 'with the worker')
	{
		sql($node, q{ALTER SYSTEM SET eventstore.databases = 'postgres'; SELECT pg_reload_conf()});
		becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND query = 'waiting for appends'}, 1, 'the worker works');
	}

	# While it sleeps
	send_query($session, fetch('s', 'c', 10, '1 min'));
	until_asleep($node, $pid);
	is(sql($node, "SELECT backend_xid FROM pg_stat_activity WHERE pid = $pid"), '', "$way: no transaction id while it sleeps");
	is(sql($node, "SELECT string_agg(DISTINCT mode, ', ') FROM pg_locks WHERE pid = $pid AND locktype NOT IN ('virtualxid') AND mode NOT IN ('AccessShareLock', 'RowShareLock', 'RowExclusiveLock')"), '', "$way: nor a lock that others would meet");
  SKIP:
	{
		skip 'no /proc here', 1 unless -r "/proc/$pid/stat";
		my $used = sub { my @f = split / /, PostgreSQL::Test::Utils::slurp_file("/proc/$pid/stat") =~ s/.*\) //sr; return $f[11] + $f[12] };
		my $ticks = -$used->();
		sleep 2;
		$ticks += $used->();
		cmp_ok($ticks, '<=', 4, "$way: two seconds of sleep cost " . 10 * $ticks . ' ms');
	}
	# What others append to other categories does not end it.
	$append->('b-1') for 1 .. 3;
	sleep 0.2;
	$begun = time;
	$append->('a-1');
	my @rows = $answer->();
	cmp_ok(time - $begun, '<', $soon, "$way: an append ends it, at once");
	is(join(' ', map { $_->[0] } @rows), 'a-1', "$way: with the event");
	$ack->($session, @rows);

	# How soon: from before the append is sent to the row being there, so that a round trip and an append are in it. A machine that is
	# busy may be so for one round, or two; who is not told is late in all of them.
	my $median;
	for my $round (1 .. 5)
	{
		my @times;
		for my $n (1 .. 15)
		{
			send_query($session, fetch('s', 'c', 10, '1 min'));
			until_asleep($node, $pid);
			$begun = time;
			$other->query_safe("SELECT es_append('a-$n', -1, 'Happened', '{}')");
			@rows = $answer->();
			push @times, time - $begun;
			$ack->($session, @rows);
		}
		$median = (sort { $a <=> $b } @times)[ @times / 2 ];
		last if $median < 0.25;
	}
	cmp_ok($median, '<', 0.25, sprintf('%s: from append to delivery %.1f ms (median)', $way, 1000 * $median));

	# A rolled-back append moves the head without anything to deliver, and a long transaction that appends holds back.
	send_query($session, fetch('s', 'c', 10, '1 min'));
	until_asleep($node, $pid);
	$other->query_safe(q{BEGIN; SELECT es_append('a-1', -1, 'Lost', '{}')});
	$append->('a-2');
	sleep 0.2;
	$begun = time;
	$other->query_safe('ROLLBACK');
	@rows = $answer->();
	cmp_ok(time - $begun, '<', $soon, "$way: the end of an append that held others back ends it");
	is(join(' ', map { $_->[0] } @rows), 'a-2', "$way: with what it held back");
	$ack->($session, @rows);

	# A retry that becomes due
	$append->('a-3');
	@rows = ask($session, fetch('s', 'c', 10));
	$begun = time;
	$session->query_safe("SELECT es_nack('s', $rows[0][3], $rows[0][4], 'not yet', 'retry', '700 ms')");
	@rows = ask($session, fetch('s', 'c', 10, '1 min'));
	$took = time - $begun;
	ok($took >= 0.7 && $took < $soon, sprintf('%s: a retry comes when it is due: %.2f s', $way, $took));
	is(join(' ', map { "$_->[0]/$_->[2]" } @rows), 'a-3/2', "$way: once more");
	$ack->($session, @rows);
	is(scalar ask($session, fetch('s', 'c', 10, '0')), 0, "$way: once");

	# Paused while it waits, with events that come: it goes on waiting, until the subscription is resumed. The same where its partitions
	# are taken back, for another filter.
	send_query($session, fetch('s', 'c', 10, '1 min'));
	until_asleep($node, $pid);
	sql($node, q{SELECT es_pause_subscription('s')});
	$append->('a-4');
	sleep 0.5;
	until_asleep($node, $pid);
	is(sql($node, q{SELECT string_agg(DISTINCT state || consumer, ' ') FROM eventstore.subscription_status WHERE consumer IS NOT NULL}), 'pausedc', "$way: paused, it keeps what it has");
	$begun = time;
	sql($node, q{SELECT es_resume_subscription('s')});
	@rows = $answer->();
	cmp_ok(time - $begun, '<', $soon, "$way: resumed, it is told at once");
	is(join(' ', map { "$_->[0]/$_->[2]" } @rows), 'a-4/1', "$way: what came meanwhile");
	$ack->($session, @rows);
	send_query($session, fetch('s', 'c', 10, '1 min'));
	until_asleep($node, $pid);
	sql($node, q{SELECT es_alter_subscription('s', category => 'filter')});
	$append->('a-4');
	sleep 0.2;
	until_asleep($node, $pid);
	$append->('filter-1');
	@rows = $answer->();
	is(join(' ', map { "$_->[0]/$_->[2]" } @rows), 'filter-1/1', "$way: another filter, for one that waits");
	$ack->($session, @rows);
	sql($node, q{SELECT es_alter_subscription('s', category => 'a')});

	# Partitions that another one gives up, with events in them. It had them all before this one came.
	$session->query_safe(q{SELECT es_release('s', 'c')});
	$append->("a-$_") for 1 .. 20;
	my @others = ask($other, fetch('s', 'd', 100));
	is(scalar @others, 20, "$way: another consumer has all of them");
	send_query($session, fetch('s', 'c', 100, '1 min'));
	until_asleep($node, $pid);
	$begun = time;
	$other->query_safe(q{SELECT es_release('s', 'd')});
	@rows = $answer->();
	cmp_ok(time - $begun, '<', $soon, "$way: what it releases is there at once");
	is(scalar @rows, 20, "$way: all of it");
	$ack->($session, @rows);
}

# Cancelled and ended from outside
send_query($session, fetch('s', 'c', 10, '60 s'));
until_asleep($node, $pid);
sql($node, "SELECT pg_cancel_backend($pid)");
$session->query('');
like($session->{stderr}, qr/canceling statement due to user request/, 'can be cancelled');
$session->{stderr} = '';
is(scalar ask($session, fetch('s', 'c', 10, '10 ms')), 0, 'and the session goes on');
is(sqlstate($node, q{SET statement_timeout = '200ms'; } . fetch('s', 'c', 10, '60 s')), '57014', 'statement_timeout ends it');
is(sql($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'userlock' AND pid NOT IN (SELECT pid FROM pg_stat_activity WHERE backend_type <> 'client backend')}), 0, 'nothing is left of it');

$session->quit;
$other->quit;
$node->stop;
done_testing();
