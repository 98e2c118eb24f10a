# Streams that a parked event holds (park_policy block_stream): letting one go on costs what is delivered next, and not what comes later in the
# stream, how many others are held, nor how many partitions there are; also beside a snapshot that somebody holds. Told by the pages that a call
# looks at. And in all that consumers, kills and admins do at once, each event still has one effect, in the order of its stream.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Consumers;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{SEED} // int(rand(2**31));
srand $seed;
note("SEED=$seed");

my $node = new_node('held', 'fsync = off', 'synchronous_commit = off', 'autovacuum = off', 'deadlock_timeout = 100ms');
my $session = session($node);
$session->query('\pset tuples_only on');
$session->query('\pset format unaligned');

sub pages
{
	my ($query) = @_;
	my $root = decode_json($session->query("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) $query"))->[0]{Plan};
	return $root->{'Shared Hit Blocks'} + $root->{'Shared Read Blocks'};
}
my $id = sub { my ($position) = @_; return sql($node, "SELECT id FROM eventstore.events WHERE position = $position") };
my $rows = sub { my ($name) = @_; return sql($node, "SELECT string_agg(position || CASE WHEN is_blocking THEN '!' ELSE '' END, ' ' ORDER BY position) FROM eventstore.subscription_retries WHERE subscription = '$name'") };
my $fetched = sub { my ($name, $count) = @_; return $session->query("SELECT count(*), coalesce(min(position), 0), coalesce(max(position), 0), coalesce(max(token), 0) FROM es_fetch('$name', 'a', $count)") };

# ----------------------------------------------------------------------
# What comes later in the stream
# ----------------------------------------------------------------------

# Nothing of it has been looked at yet: the consumer is far behind.
sub pages_of_drop
{
	my ($name, $later) = @_;
	sql($node, "SELECT count(es_append('$name-1', -1, 'E', '{}')) FROM generate_series(0, $later)");
	sql($node, "SELECT es_create_subscription('$name', '$name', partitions => 1, park_policy => 'block_stream')");
	my @pages;
	for (1 .. 5)
	{
		my (undef, $position, undef, $token) = split /\|/, $fetched->($name, 1);
		sql($node, "SELECT es_nack('$name', $token, $position, 'failed', 'park')");
		is($rows->($name), "$position!", "$name: it is parked, and holds its stream");
		push @pages, pages("SELECT es_drop_parked('$name', '@{[$id->($position)]}')");
		is($rows->($name), '', "$name: it is thrown away, and holds it no more");
	}
	return (sort { $a <=> $b } @pages)[2];
}
my $few = pages_of_drop('few', 20);
my $many = pages_of_drop('many', 20000);
cmp_ok($many, '<=', $few + 10, "es_drop_parked before 20,000 events of the stream: $many pages, before 20: $few");

# ----------------------------------------------------------------------
# How many are held
# ----------------------------------------------------------------------

# Two events for each of so many streams; the first of each is parked.
sub held_streams
{
	my ($name, $streams) = @_;
	sql($node, "SELECT count(es_append('$name-' || s, -1, 'E', '{}')) FROM generate_series(1, 3) e, generate_series(1, $streams) s");
	sql($node, "SELECT es_create_subscription('$name', '$name', partitions => 4, park_policy => 'block_stream')");
	sql($node, "DO \$\$ DECLARE t bigint; p bigint[]; i bigint; BEGIN SELECT max(token), array_agg(position) INTO t, p FROM es_fetch('$name', 'a', $streams); FOREACH i IN ARRAY p LOOP PERFORM es_nack('$name', t, i, 'failed', 'park'); END LOOP; END \$\$");
	my ($count) = split /\|/, $fetched->($name, 10);
	is($count, 0, "$name: all are held");
	return sql($node, "SELECT min(position) FROM eventstore.subscription_retries WHERE subscription = '$name'");
}

# Pages for each stream that goes on by an acknowledgement of all, and of a drop of one.
sub pages_of_ack
{
	my ($name, $streams) = @_;
	my $drop = pages("SELECT es_drop_parked('$name', '@{[$id->($rows->($name) =~ s/!.*//r)]}')");
	sql($node, "SELECT es_replay_parked('$name')");
	my ($count, undef, $last, $token) = split /\|/, $fetched->($name, $streams);
	is($count, $streams, "$name: one of each is delivered");
	my $ack = pages("SELECT es_ack('$name', $token, $last)");
	return ($ack / $streams, $drop);
}
my %of = (small => 50, large => 1500);
my (%ack, %drop);
held_streams($_, $of{$_}) for sort keys %of;
($ack{$_}, $drop{$_}) = pages_of_ack($_, $of{$_}) for sort keys %of;
cmp_ok($ack{large}, '<=', 1.5 * $ack{small}, "pages for each of $of{large} streams that go on: $ack{large}, of $of{small}: $ack{small}");
cmp_ok($drop{large}, '<=', $drop{small} + $of{large} / 10, "es_drop_parked among $of{large}: $drop{large}, among $of{small}: $drop{small}");

# Beside a snapshot, with what has become of rows since
my $holder = session($node);
$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM eventstore.events');
for my $name (sort keys %of)
{
	for (1 .. 3)
	{
		my (undef, undef, $last, $token) = split /\|/, $fetched->($name, 10);
		last if $token == 0;
		sql($node, "SELECT es_nack('$name', $token, $last, 'failed', 'park')");
		sql($node, "SELECT es_replay_parked('$name')");
	}
	my ($count, undef, $last, $token) = split /\|/, $fetched->($name, $of{$name});
	cmp_ok($count, '>=', $of{$name} - 1, "$name: the next of each is delivered");
	my $ack = pages("SELECT es_ack('$name', $token, $last)") / $count;
	cmp_ok($ack, '<=', 1.5 * $ack{small}, "$name, beside a snapshot: $ack");
	while ((undef, undef, $last, $token) = split /\|/, $fetched->($name, 100000))
	{
		last if $token == 0;
		sql($node, "SELECT es_ack('$name', $token, $last)");
	}
	is($rows->($name), '', "$name: in the end nothing is held any more");
}
my $drop = pages_of_drop('late', 5000);
cmp_ok($drop, '<=', $few + 10, "es_drop_parked beside a snapshot: $drop pages");
$holder->query_safe('ROLLBACK');
$holder->quit;

# ----------------------------------------------------------------------
# How many partitions
# ----------------------------------------------------------------------

sql($node, 'SELECT es_partition_events(100)');
sql($node, q{SELECT es_create_subscription('wide', 'wide', partitions => 1, park_policy => 'block_stream')});
my %pages_among;
for my $partitions (3, 30)
{
	while (sql($node, 'SELECT count(*) FROM eventstore.event_partitions') < $partitions)
	{
		sql($node, q{SELECT count(es_append('wide-0', -1, 'E', '{}')) FROM generate_series(1, 100)});
	}
	my (undef, undef, $last, $token) = split /\|/, $fetched->('wide', 100000);
	sql($node, "SELECT es_ack('wide', $token, $last)") if $token;
	sql($node, q{SELECT es_append('wide-1', -1, 'E', '{}') FROM generate_series(1, 12)});
	my @pages;
	(undef, my $first, $last, $token) = split /\|/, $fetched->('wide', 100);
	sql($node, "SELECT es_nack('wide', $token, $first, 'failed')");
	sql($node, "SELECT es_ack('wide', $token, $last)");
	for (1 .. 9)
	{
		(undef, $first, undef, $token) = split /\|/, $fetched->('wide', 100);
		push @pages, pages("SELECT es_ack('wide', $token, $first)");
	}
	$pages_among{$partitions} = (sort { $a <=> $b } @pages)[4];
}
cmp_ok($pages_among{30}, '<=', $pages_among{3} + 6, "the next one of a stream is found at the same cost among 30 partitions: $pages_among{30}, 3: $pages_among{3}");
$session->quit;

# ----------------------------------------------------------------------
# Who waits meanwhile
# ----------------------------------------------------------------------

# It has seen what was held, and passed over it: when the stream goes on it is not beyond that.
my $waiter = session($node);
my $waiter_pid = backend_pid($waiter);
for my $way ('es_drop_parked', 'pass')
{
	sql($node, "SELECT es_create_subscription('$way', 'wait', after_position => -1, partitions => 1, park_policy => 'block_stream')");
	sql($node, qq{SELECT es_append('wait-$way', -1, 'E', '{}')});
	my (undef, $first, undef, $token) = split /\|/, sql($node, "SELECT count(*), min(position), max(position), max(token) FROM es_fetch('$way', 'a', 100)");
	sql($node, "SELECT es_nack('$way', $token, $first, 'failed', 'park')");
	sql($node, qq{SELECT es_append('wait-$way', -1, 'E', '{}')});
	send_query($waiter, "SELECT stream || '/' || version FROM es_fetch('$way', 'a', 100, '30 s')");
	until_asleep($node, $waiter_pid);
	sql($node, $way eq 'pass' ? q{SELECT es_alter_subscription('pass', park_policy => 'pass')} : "SELECT es_drop_parked('$way', '@{[$id->($first)]}')");
	like($waiter->query(''), qr{^wait-$way/2$}m, "$way: a fetch that waits gets what was held");
}
$waiter->quit;

# ----------------------------------------------------------------------
# At once
# ----------------------------------------------------------------------

create_effects($node);
my $crowd = new_crowd($node);
sql($node, q{SELECT es_create_subscription('work', category => 'w', partitions => 3, types => '{Happened}', lease => '500 ms', max_retries => 3, park_policy => 'block_stream')});

# One event fails now and then: it is parked, or to be tried again, or its consumer dies of it. What comes before it has its effect.
add_script($crowd, 'consumer', <<'SQL', map { "c$_" } 1 .. 4);
\set events false
BEGIN;
SELECT coalesce(max(token), 0) AS token, coalesce(max(position), 0) AS position, array_agg(position ORDER BY position) AS positions, count(*) > 0 AS events,
	(array_agg(position ORDER BY random()))[1] AS some, random() < 0.3 AS fails, random() < 0.5 AS is_parked, random() < 0.05 AS dies
FROM es_fetch('work', :'consumer', 1 + (random() * 12)::int, '50 ms') \gset
\if :events
\if :dies
COMMIT;
SELECT pg_terminate_backend(pg_backend_pid()) \g /dev/null
\endif
\if :fails
INSERT INTO effects (position, stream, version, consumer)
SELECT e.position, e.stream, e.version, :'consumer' FROM eventstore.events e, eventstore.events s
WHERE e.position = ANY (:'positions'::bigint[]) AND s.position = :'some' AND (e.stream <> s.stream OR e.position < s.position) ORDER BY e.position;
SELECT es_nack('work', :'token', :'some', 'not now', CASE WHEN :'is_parked' THEN 'park' ELSE 'retry' END) \g /dev/null
\else
INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, :'consumer' FROM eventstore.events WHERE position = ANY (:'positions'::bigint[]) ORDER BY position;
\endif
SELECT 1 / (random() < 0.95)::int \g /dev/null
SELECT es_ack('work', :'token', :'position') \g /dev/null
SELECT 1 / (random() < 0.95)::int \g /dev/null
\endif
COMMIT;
SQL
# What is thrown away has its effect by who does so.
add_script($crowd, 'admin', <<'SQL', 'admin');
SELECT es_replay_parked('work', 2) \g /dev/null
SELECT pg_sleep(random() / 10) \g /dev/null
BEGIN;
INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, 'admin' FROM eventstore.parked WHERE subscription = 'work' ORDER BY random() LIMIT 1;
SELECT es_drop_parked('work', e.id) FROM eventstore.events e JOIN effects f USING (position) WHERE f.id = lastval() AND f.consumer = 'admin' AND f.xmin::text = pg_current_xact_id()::xid::text \g /dev/null
SELECT 1 / (random() < 0.8)::int \g /dev/null
COMMIT;
SELECT pg_sleep(random() / 10) \g /dev/null
SQL
add_script($crowd, 'appender', <<'SQL', 'appender');
SELECT es_append('w-' || (random() * 12)::int, -1, CASE WHEN random() < 0.8 THEN 'Happened' ELSE 'Other' END, '{}') FROM generate_series(1, 1 + (random() * 4)::int) \g /dev/null
SELECT pg_sleep(0.02) \g /dev/null
SQL
my $reader = session($node);
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM eventstore.subscription_retries');
my $effects = sub { my ($more) = @_; return sql($node, "SELECT count(*) FROM effects WHERE true $more") };
my $end = time + 8;
while (time < $end || (time < $end + 60 && !($effects->('') > 80 && $effects->(q{AND consumer = 'admin'}) > 3)))
{
	keep_running($crowd);
	sleep 0.1;
	next if rand() < 0.8;
	my @names = grep { /^c\d/ } sort keys %{ $crowd->{pids} };
	my $name = $names[ rand @names ] // next;
	kill 'KILL', $crowd->{pids}{$name};
}
disperse($crowd, qr/appender|admin/);
# What is not wanted is none of the subscription's events.
sql($node, q{INSERT INTO effects (position, stream, version, consumer) SELECT position, 'x' || stream, version, 'nobody' FROM eventstore.events WHERE category = 'w' AND type = 'Other'});
until_effects($node, sub { keep_running($crowd); sql($node, q{SELECT es_replay_parked('work')}) }, 'w');
sleep 0.3; # what is done twice would be done now
disperse($crowd, qr/./);
$reader->quit;
is(sql($node, q{
	WITH happened AS (SELECT position, stream FROM eventstore.events WHERE category = 'w' AND type = 'Happened'),
	done AS (SELECT *, lag(position) OVER (PARTITION BY stream ORDER BY id) AS before FROM effects WHERE consumer <> 'nobody')
	(SELECT 'lost', stream, position FROM happened WHERE position NOT IN (SELECT position FROM done) ORDER BY position LIMIT 5)
	UNION ALL (SELECT 'doubled', stream, position FROM done GROUP BY stream, position HAVING count(*) > 1 ORDER BY position LIMIT 5)
	UNION ALL (SELECT 'out of order', stream, position FROM done WHERE position <= before ORDER BY id LIMIT 5)
	UNION ALL (SELECT 'never happened', stream, position FROM done WHERE position NOT IN (SELECT position FROM happened) LIMIT 5)}),
	'', 'each event has one effect, in the order of its stream; ' . $effects->(q{AND consumer <> 'nobody'}) . ' of them, ' . $effects->(q{AND consumer = 'admin'}) . ' by who threw an event away');
is(sql($node, q{SELECT count(*) FROM eventstore.subscription_retries WHERE subscription = 'work' AND (parked_at IS NOT NULL OR due IS NOT NULL OR is_blocking)}), '0', 'nothing is held');
my %errors = map { $_ => 1 } PostgreSQL::Test::Utils::slurp_file($crowd->{log}) =~ /(?:ERROR|error): +(.*)$/mg;
delete $errors{$_} for grep { /^division by zero$|^current transaction is aborted|^token \d+ .* not valid any more|deadlock detected|is not parked in subscription|is in use|could not obtain|terminating connection|server closed|connection to server/ } keys %errors;
is(join('; ', sort keys %errors), '', 'and no other error was raised than those that were meant');
is_sound($node, 'after all that');
$node->stop;
done_testing();
