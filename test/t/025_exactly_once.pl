# Exactly once, whatever happens: consumers that fetch, work and ack in one transaction, or fetch in one and work and ack in the next,
# while others append; a tenth of the transactions is rolled back, clients are killed and stopped past their lease, backends are terminated and killed, the server is stopped at once
# and restarted. In the end each event has one effect, and the effects came in the order of each stream.
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

my $seconds = 9;
my $seed = $ENV{SEED} // int(rand(2**31));
srand $seed;
note("SEED=$seed");

my $node = new_node('once', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'postgres'", 'restart_after_crash = on', 'deadlock_timeout = 100ms');
create_effects($node);
sql($node, q{SELECT es_create_subscription('work', category => 'a', partitions => 16, lease => '700 ms', max_retries => 100000)});
my $crowd = new_crowd($node);

# A consumer's life: psql runs it and leaves when its connection is lost. A rolled-back transaction takes the fetch with it.
my $round = <<'SQL';
\set events false
BEGIN;
SELECT coalesce(max(token), 0) AS token, coalesce(max(position), 0) AS position, array_agg(position ORDER BY position) AS positions, count(*) > 0 AS events FROM es_fetch('work', :'consumer', 1 + (random() * 12)::int, '100 ms') \gset
\if :events
INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, :'consumer' FROM eventstore.events WHERE position = ANY (:'positions'::bigint[]) ORDER BY position;
SELECT 1 / (random() < 0.95)::int \g /dev/null
SELECT es_ack('work', :'token', :'position') \g /dev/null
SELECT 1 / (random() < 0.95)::int \g /dev/null
\endif
COMMIT;
SQL
# The same as one statement: the ack in the statement that fetches.
my $statement = <<'SQL';
BEGIN;
WITH fetched AS MATERIALIZED (SELECT * FROM es_fetch('work', :'consumer', 1 + (random() * 12)::int, '100 ms')),
effect AS (INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, :'consumer' FROM fetched ORDER BY position)
SELECT es_ack('work', max(token), max(position)) FROM fetched HAVING count(*) > 0 \g /dev/null
SELECT 1 / (random() < 0.9)::int \g /dev/null
COMMIT;
SQL
# Fetch for itself; then some time, now and then more than the lease; then ack and effect in one transaction.
my $apart = <<'SQL';
\set events false
SELECT coalesce(max(token), 0) AS token, coalesce(max(position), 0) AS position, array_agg(position ORDER BY position) AS positions, count(*) > 0 AS events FROM es_fetch('work', :'consumer', 1 + (random() * 12)::int, '100 ms') \gset
\if :events
SELECT pg_sleep(random()) WHERE random() < 0.1 \g /dev/null
BEGIN;
SELECT es_ack('work', :'token', :'position') \g /dev/null
INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, :'consumer' FROM eventstore.events WHERE position = ANY (:'positions'::bigint[]) ORDER BY position;
SELECT 1 / (random() < 0.95)::int \g /dev/null
COMMIT;
\endif
SQL
add_script($crowd, 'together', $round, 'consumer 1', 'consumer 2');
add_script($crowd, 'apart', $apart, 'consumer 3');
add_script($crowd, 'statement', $statement, 'consumer 4');
add_script($crowd, 'appender', <<'SQL', 'appender 1', 'appender 2');
SELECT es_append('a-' || (random() * 30)::int, -1, 'Happened', '{}') FROM generate_series(1, 1 + (random() * 3)::int) \g /dev/null
SELECT pg_sleep(0.02) \g /dev/null
SQL

sub backend
{
	my $pid = '';
	$node->psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'consumer%' ORDER BY random() LIMIT 1}, stdout => \$pid, stderr => \my $err);
	return $pid;
}
my @stopped; # [process, when it goes on]
my %struck;
my $crash = sub { my $pid = backend() or return 0; return kill 'KILL', $pid };
my $restart = sub { $node->stop('immediate'); $node->start; return 1 };
my %strikes = (
	'client killed' => sub { return kill 'KILL', $crowd->{pids}{ 'consumer ' . (1 + int rand 4) } // return 0 },
	'client stopped' => sub {
		my $pid = $crowd->{pids}{ 'consumer ' . (1 + int rand 4) } // return 0;
		return 0 if grep { $_->[0] == $pid } @stopped;
		push @stopped, [ $pid, time + 0.4 + rand 1.2 ];
		return kill 'STOP', $pid;
	},
	'backend terminated' => sub { my $pid = backend() or return 0; $node->psql('postgres', "SELECT pg_terminate_backend($pid)", stdout => \my $out, stderr => \my $err); return 1 },
);
sub strike
{
	my ($name, $strike) = @_;
	$struck{$name} += $strike->() ? 1 : 0;
	return;
}
sub go_on
{
	my ($now) = @_;
	kill 'CONT', $_->[0] for grep { $_->[1] <= $now } @stopped;
	@stopped = grep { $_->[1] > $now } @stopped;
	return;
}

# What the test is worth, however slow the machine: how many effects, by how many consumers, how many transactions undone.
sub done
{
	my $done = '';
	$node->psql('postgres', 'SELECT count(*), count(DISTINCT consumer) FROM effects', stdout => \$done, stderr => \my $err);
	my ($effects, $consumers) = split /\|/, $done;
	my $undone = () = PostgreSQL::Test::Utils::slurp_file($crowd->{log}) =~ /ERROR: +division by zero/g;
	return ($effects // 0, $consumers // 0, $undone);
}
sub is_enough
{
	my ($effects, $consumers, $undone) = done();
	return $effects > 300 && $consumers == 4 && $undone > 10 && !grep { !$struck{$_} } 'backend killed', 'immediate restart', keys %strikes;
}

keep_running($crowd);
my $end = time + $seconds;
my @late = ([ 'backend killed', $crash, 0.3 ], [ 'immediate restart', $restart, 0.5 ], [ 'backend killed', $crash, 0.7 ], [ 'immediate restart', $restart, 0.85 ]);
while (time < $end || (time < $end + 60 && !is_enough()))
{
	sleep 0.1;
	keep_running($crowd);
	go_on(time);
	if (@late && time > $end - $seconds * (1 - $late[0][2]))
	{
		my ($name, $strike) = @{ $late[0] };
		strike($name, $strike);
		shift @late if $struck{$name};
	}
	elsif (rand() < 0.5)
	{
		my $name = (sort keys %strikes)[ rand keys %strikes ];
		strike($name, $strikes{$name});
	}
}
go_on('inf');
ok($struck{$_}, "$_: " . ($struck{$_} // 0)) for 'backend killed', 'immediate restart', sort keys %strikes;

# No more strikes; the consumers go on until all is done.
disperse($crowd, qr/appender/);
until_effects($node, sub { keep_running($crowd) }, 'a');
sleep 0.3; # what is done twice would be done now
disperse($crowd, qr/./);

my $log = PostgreSQL::Test::Utils::slurp_file($crowd->{log});
my ($events, $consumers, $undone) = done();
cmp_ok($events, '>', 300, "$events effects stand");
is($consumers, 4, 'by every consumer');
cmp_ok($undone, '>', 10, "$undone transactions were rolled back at random");
effects_are_exact($node, 'a', 'after all that');
is(sql($node, 'SELECT count(*) FROM eventstore.parked'), 0, 'nothing was parked');
my %errors = map { $_ => 1 } $log =~ /(?:ERROR|error): +(.*)$/mg;
delete $errors{$_} for grep { /^division by zero$|^current transaction is aborted|lease|token|terminating connection|deadlock detected|connection to server|server closed the connection|the database system is/ } keys %errors;
is(join('; ', sort keys %errors), '', 'and no other error was raised than those that were meant');
is_sound($node, 'after all that');
$node->stop;
done_testing();
