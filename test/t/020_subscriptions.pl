# Subscriptions outlive restart, crash, dump and restore; waiting consumers are woken, live beyond their lease, and use no CPU; consumers
# over as many connections as calls; a standby refuses.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('subscriptions', 'fsync = on', 'wal_level = replica', 'max_wal_senders = 5');
my $append = sub { sql($node, "SELECT es_append('$_', -1, 'T', '{}')") for @_ };
# Each call in a connection of its own. Returns token, position of the last, and events.
my $fetch = sub {
	my ($consumer, $count, $where, $subscription) = @_;
	my ($on, $database) = $where ? @$where : ($node, 'postgres');
	my @rows = map { [ split /\|/ ] } split /\n/,
	  sql($on, "SELECT token, position, stream || '/' || version || ':' || attempt FROM es_fetch('" . ($subscription // 's') . "', '$consumer', " . ($count // 100) . ')', $database);
	return ($rows[-1][0], $rows[-1][1], join ' ', map { $_->[2] } @rows);
};
my $ack = sub {
	my ($token, $position, $where) = @_;
	my ($on, $database) = $where ? @$where : ($node, 'postgres');
	return sqlstate($on, "SELECT es_ack('s', $token, $position)", $database);
};
my $until_asleep = sub {
	my ($count) = @_;
	$node->poll_query_until('postgres', <<"SQL") or die 'they do not sleep';
		SELECT count(*) = $count FROM pg_stat_activity
		WHERE query LIKE '%es_fetch(%' AND state = 'active' AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()
SQL
};

sql($node, "SELECT es_create_subscription('s', partitions => 4, lease => '1 min')");
$append->('a-1', 'a-2', 'a-3', 'a-1', 'a-2', 'a-3');

# Restart and crash
my ($token, $position, $events) = $fetch->('c', 3);
is($events, 'a-1/1:1 a-2/1:1 a-3/1:1', 'delivered');
$node->restart;
is($ack->($token, $position), '', 'a token outlives a restart');
($token, $position, $events) = $fetch->('c', 2);
is($events, 'a-1/2:1 a-2/2:1', 'and so does the checkpoint');
sql($node, "SELECT es_nack('s', $token, $position, 'later', 'retry', '1 hour')");
$node->stop('immediate');
$node->start;
is($ack->($token, $position), '', 'a token outlives a crash');
is(($fetch->('c'))[2], 'a-3/2:1', 'and so do checkpoint and retry');
my ($before) = $fetch->('c');
sql($node, "SELECT es_nack('s', $before, (SELECT position FROM es_last_event('a-3')), 'bad', 'park')");

# Dump and restore: the same checkpoints, retries, parked events; tokens go on above.
$append->('a-4');
sql($node, "SELECT es_create_subscription('paused', partitions => 1), es_pause_subscription('paused')");
my $state = <<'SQL';
	SELECT name, category, types, partitions, max_retries, lease, park_policy, division, is_paused, revision FROM eventstore.subscriptions;
	SELECT subscription, share, division, consumer, partitions, checkpoint, attempts, token, delivered, acked, scanned FROM eventstore.subscription_shares ORDER BY share;
	SELECT * FROM eventstore.subscription_retries ORDER BY position;
	SELECT last_value, is_called FROM eventstore.subscription_tokens;
	SELECT name, partition, consumer, checkpoint, lag_events, parked, state FROM eventstore.subscription_status ORDER BY name, partition;
	SELECT * FROM eventstore.parked;
SQL
my $folder = PostgreSQL::Test::Utils::tempdir();
my $other = new_server('subscriptions_copy');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/custom", 'postgres' ], 'dumped');
sql($other, 'CREATE DATABASE copy TEMPLATE template0');
$other->command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '-d', 'copy', "$folder/custom" ], 'restored in another cluster');
is(sql($other, $state, 'copy'), sql($node, $state), 'the same state');
is((sql($other, "SELECT state || count(f) FROM eventstore.subscription_status s LEFT JOIN es_fetch('paused', 'c') f ON true WHERE name = 'paused' GROUP BY state", 'copy'))[0], 'paused0', 'what is paused stays so');
sql($node, "SELECT es_drop_subscription('paused')");
my $highest = sql($node, 'SELECT last_value FROM eventstore.subscription_tokens');
($token, $position, $events) = $fetch->('c', 100, [ $other, 'copy' ]);
is($events, 'a-4/1:1', 'the copy goes on where the first one was');
cmp_ok($token, '>', $highest, 'with higher tokens');
is($ack->($token, $position, [ $other, 'copy' ]), '', 'which are good');
is(sql($other, "SELECT es_replay_parked('s')", 'copy'), 1, 'parked events can be replayed');
is(($fetch->('c', 100, [ $other, 'copy' ]))[2], 'a-3/2:1', 'and come');
$other->stop;
is(($fetch->('c'))[2], 'a-4/1:1', 'so does the first one');

# A prepared transaction keeps an ack open.
($token, $position) = $fetch->('c');
sql($node, "BEGIN; SELECT es_ack('s', $token, $position); PREPARE TRANSACTION 'acked'");
is(sql($node, "SELECT count(*) FROM es_fetch('s', 'c')"), 0, 'prepared: nobody gets it');
$node->restart;
is(sql($node, "SELECT count(*) FROM es_fetch('s', 'c')"), 0, 'neither after a restart');
sql($node, "ROLLBACK PREPARED 'acked'");
($token, $position, $events) = $fetch->('c');
is($events, 'a-4/1:3', 'rolled back: it comes again');
is($ack->($token, $position), '', 'done');

# Long poll: woken at once by an append, a release, the end of a lease; by what is appended in another category not at all.
sql($node, "SELECT es_create_subscription('w', 'w', after_position => -1, partitions => 2, lease => '1 s')");
my @waiting = map { session($node) } 1 .. 2;
my $wait = sub { "SELECT string_agg(stream || '/' || version, ' ' ORDER BY position) FROM es_fetch('w', '$_[0]', 10, '" . ($_[1] // '1 min') . "')" };
send_query($waiting[0], $wait->('w1'));
$until_asleep->(1);
$append->('x-1');
sleep 0.2;
$until_asleep->(1);
$append->('w-1');
is_woken($waiting[0], 'w-1/1', 'a new consumer that waits gets what comes');
my $ack_all = sub { sql($node, "SELECT es_ack('w', token, delivered) FROM eventstore.subscription_shares WHERE subscription = 'w' AND acked < delivered AND consumer = '$_[0]'") };
$ack_all->('w1');
# Two new ones wait, longer than their leases, and are there all the same: each gets its part. Who is served second may have been kept
# waiting until the other's lease has ended, on a machine that is busy: then it gets the other's events, too, again.
send_query($waiting[$_], $wait->('v' . $_)) for 0 .. 1;
$until_asleep->(2);
sleep 2.5;
$until_asleep->(2);
my @streams = map { my $p = $_; (sql($node, "SELECT 'w-' || i FROM generate_series(1, 100) i WHERE es_partition('w-' || i, 2) = $p LIMIT 1")) } 0 .. 1;
my $append_both = sub { sql($node, "BEGIN; SELECT es_append('$streams[0]', -1, 'T', '{}'); SELECT es_append('$streams[1]', -1, 'T', '{}'); COMMIT") };
$append_both->();
my @got = map { scalar $_->query('') =~ s{/\d+}{}gr } @waiting;
my ($first, $second) = sort { length $a <=> length $b } @got;
my ($others) = grep { $_ ne $first } @streams;
ok((grep { $_ eq $first } @streams) && $second =~ /\b$others\b/, 'two that wait: each gets the events of its partition')
  or diag("'$got[0]' and '$got[1]', of '@streams'");
# From here on nobody's lease ends.
sql($node, "SELECT es_alter_subscription('w', NULL, lease => '1 hour')");
for my $consumer ('v0', 'v1', 'v0')
{
	sql($node, "SELECT es_fetch('w', '$consumer')");
	$ack_all->($consumer);
}
is(sql($node, "SELECT string_agg(consumer, ' ' ORDER BY consumer) FROM eventstore.subscription_status WHERE name = 'w' AND lag_events = 0"), 'v0 v1', 'they share, and have done all');
# One of them leaves, with what it has not acknowledged: the other takes over while it waits.
$append_both->();
my $stream = sql($node, "SELECT stream FROM es_fetch('w', 'v1')");
$append_both->();
my $left = sql($node, "SELECT string_agg(stream || '/' || version, ' ' ORDER BY position) FROM (SELECT * FROM eventstore.events WHERE stream = '$stream' ORDER BY position DESC LIMIT 2) e");
send_query($waiting[0], $wait->('v0'));
like($waiting[0]->query(''), qr{^(w-\d+)/\d \1/\d$}, 'the other one gets its own events');
$ack_all->('v0');
send_query($waiting[0], $wait->('v0'));
$until_asleep->(1);
sql($node, "SELECT es_release('w', 'v1')");
is_woken($waiting[0], $left, 'those of the one that left come to the one that waits');
$ack_all->('v0');

# It uses no CPU, and can be cancelled.
SKIP:
{
	my $pid = $waiting[0]->query_safe('SELECT pg_backend_pid()');
	skip 'no /proc here', 1 unless -r "/proc/$pid/stat";
	my $used = sub { my @f = split / /, PostgreSQL::Test::Utils::slurp_file("/proc/$pid/stat") =~ s/.*\) //sr; return $f[11] + $f[12] };
	send_query($waiting[0], $wait->('v0'));
	$until_asleep->(1);
	my $ticks = -$used->();
	sleep 2;
	$ticks += $used->();
	cmp_ok($ticks, '<=', 4, 'two seconds of waiting cost ' . 10 * $ticks . ' ms');
	sql($node, "SELECT pg_cancel_backend($pid)");
	$waiting[0]->query('');
	like($waiting[0]->{stderr}, qr/canceling statement/, 'it can be cancelled');
	$waiting[0]->{stderr} = '';
}
is(sql($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'userlock'}), 0, 'nothing is left of all that');

# Killed with its connection: its lease ends, another gets it all.
sql($node, "SELECT es_reset_subscription('w', 0)");
my $killed = $waiting[1]->query_safe('SELECT pg_backend_pid()');
$waiting[1]->query("BEGIN; SELECT count(*) FROM es_fetch('w', 'killed')");
sql($node, "SELECT pg_terminate_backend($killed)");
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $killed");
my $all = sql($node, "SELECT string_agg(stream || '/' || version || ':1', ' ' ORDER BY position) FROM eventstore.events WHERE category = 'w'");
is(($fetch->('heir', 100, undef, 'w'))[2], $all, 'a transaction that was killed has delivered nothing');

# Standby
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('subscriptions_standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
is(sqlstate($standby, $_), '25006', "$_ on a standby")
  for "SELECT es_fetch('s', 'c')", "SELECT es_ack('s', 1, 1)", "SELECT es_nack('s', 1, 1, 'no')", "SELECT es_release('s')", "SELECT es_create_subscription('t')", "SELECT es_reset_subscription('s', 0)",
  "SELECT es_replay_parked('s')", "SELECT es_alter_subscription('s', 2)", "SELECT es_pause_subscription('s')", "SELECT es_resume_subscription('s')", "SELECT es_drop_parked('s', gen_random_uuid())", "SELECT es_drop_subscription('s')";
cmp_ok(sql($standby, 'SELECT count(*) FROM eventstore.subscription_status'), '>', 0, 'the status can be seen there');
is(sql($standby, "SELECT es_position_at('-infinity')"), sql($node, "SELECT es_position_at('-infinity')"), 'a position is found by time there');

# DROP and CREATE EXTENSION in one session: nothing is kept of the old one's plans and relations.
my $session = session($node);
for (1 .. 2)
{
	is($session->query_safe(<<'SQL'), "1\n1", 'dropped and made again in one session');
		SET client_min_messages = warning;
		DROP EXTENSION eventstore;
		CREATE EXTENSION eventstore;
		SELECT es_append('n-1', 0, 'T', '{}');
		DO $$ BEGIN PERFORM es_create_subscription('n'); PERFORM es_nack('n', f.token, f.position, 'no') FROM es_fetch('n', 'c') f; END $$;
		SELECT count(*) FROM es_fetch('n', 'c');
SQL
}
$session->quit;
$waiting[0]->quit;
$standby->stop;

done_testing();
