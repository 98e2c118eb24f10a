# Exactly once and in order while everything changes: consumers come and go, more of them than there are partitions, two by the same name;
# they give up their partitions, have events delivered again or park them, and roll back; and the number of partitions changes all the
# time. In the end each event has one effect, and the effects came in the order of each stream.
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

my $seconds = 8;
my $seed = $ENV{SEED} // int(rand(2**31));
srand $seed;
note("SEED=$seed");

my $node = new_node('changes', 'deadlock_timeout = 100ms');
create_effects($node);
my $crowd = new_crowd($node);

# An event that is put off or parked holds back the later ones of its stream, which are in the same delivery: they come again.
my $consumer = <<'SQL';
\set events false
BEGIN;
SELECT coalesce(max(token), 0) AS token, coalesce(max(position), 0) AS position, array_agg(position ORDER BY position) AS positions, count(*) > 0 AS events,
	(array_agg(position ORDER BY random()))[1] AS some, random() < 0.2 AS is_retried, random() < 0.1 AS is_skipped, random() < 0.1 AS is_released, random() < 0.3 AS is_parked
FROM es_fetch('SUBSCRIPTION', split_part(:'consumer', ' ', 1), 1 + (random() * 12)::int, '50 ms') \gset
\if :events
\if :is_retried
INSERT INTO effects (position, stream, version, consumer)
SELECT e.position, e.stream, e.version, :'consumer' FROM eventstore.events e, eventstore.events s
WHERE e.position = ANY (:'positions'::bigint[]) AND s.position = :'some' AND (e.stream <> s.stream OR e.position < s.position) ORDER BY e.position;
SELECT es_nack('SUBSCRIPTION', :'token', :'some', 'not now', CASE WHEN :'is_parked' AND PARKS THEN 'park' ELSE 'retry' END, random() * interval '100 ms') \g /dev/null
\else
INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, :'consumer' FROM eventstore.events WHERE position = ANY (:'positions'::bigint[]) ORDER BY position;
\if :is_skipped
SELECT es_nack('SUBSCRIPTION', :'token', :'some', 'done otherwise', 'skip') \g /dev/null
\endif
\endif
SELECT 1 / (random() < 0.95)::int \g /dev/null
SELECT es_ack('SUBSCRIPTION', :'token', :'position') \g /dev/null
SELECT 1 / (random() < 0.95)::int \g /dev/null
\endif
COMMIT;
\if :is_released
SELECT es_release('SUBSCRIPTION', split_part(:'consumer', ' ', 1)) \g /dev/null
\endif
SQL

# One subscription for each policy of parking that keeps the order: none is parked, or what is parked holds its stream back.
sub script
{
	my ($text, $subscription, $parks) = @_;
	return $text =~ s/SUBSCRIPTION/$subscription/gr =~ s/PARKS/$parks/gr;
}
my %categories = (a => 'pass', b => 'block_stream');
for my $category (sort keys %categories)
{
	my $subscription = "work_$category";
	sql($node, "SELECT es_create_subscription('$subscription', category => '$category', partitions => 4, lease => '500 ms', max_retries => 100000, park_policy => '$categories{$category}')");
	add_script($crowd, $subscription, script($consumer, $subscription, $category eq 'b' ? 'true' : 'false'), map { "$category$_" } 1 .. 3, "twin$category 1", "twin$category 2");
}
add_script($crowd, 'admin', <<'SQL', 'admin');
SELECT es_alter_subscription('work_a', 1 + (random() * 11)::int) \g /dev/null
SELECT pg_sleep(random() / 5) \g /dev/null
SELECT es_alter_subscription('work_b', 1 + (random() * 11)::int) \g /dev/null
SELECT pg_sleep(random() / 5) \g /dev/null
SELECT es_replay_parked('work_b') \g /dev/null
SQL
add_script($crowd, 'appender', <<'SQL', 'appender');
SELECT es_append(CASE WHEN random() < 0.5 THEN 'a-' ELSE 'b-' END || (random() * 15)::int, -1, 'Happened', '{}') FROM generate_series(1, 1 + (random() * 3)::int) \g /dev/null
SELECT pg_sleep(0.02) \g /dev/null
SQL

# However slow the machine: what the test is worth.
my $effects = sub { my ($category) = @_; return sql($node, "SELECT count(*) FROM effects WHERE stream LIKE '$category-%'") };
my $is_enough = sub { return !grep { $effects->($_) <= 50 } keys %categories };
my $end = time + $seconds;
while (time < $end || (time < $end + 60 && !$is_enough->()))
{
	keep_running($crowd);
	sleep 0.1;
	next if rand() < 0.7;
	my @names = grep { /^[ab]\d/ } sort keys %{ $crowd->{pids} };
	my $name = $names[ rand @names ] // next;
	kill 'KILL', $crowd->{pids}{$name};
}

# Nothing changes any more, but what is parked is put back, until all is done.
disperse($crowd, qr/appender|admin/);
until_effects($node, sub { keep_running($crowd); sql($node, q{SELECT es_replay_parked('work_b')}) }, keys %categories);
sleep 0.3; # what is done twice would be done now
disperse($crowd, qr/./);

for my $category (sort keys %categories)
{
	my $events = $effects->($category);
	cmp_ok($events, '>', 50, "$categories{$category}: $events effects stand");
	effects_are_exact($node, $category, "$categories{$category}");
}
my $log = PostgreSQL::Test::Utils::slurp_file($crowd->{log});
my %errors = map { $_ => 1 } $log =~ /(?:ERROR|error): +(.*)$/mg;
note(join "\n", sort keys %errors);
delete $errors{$_} for grep { /^division by zero$|^current transaction is aborted|^token \d+ .* not valid any more|deadlock detected/ } keys %errors;
is(join('; ', sort keys %errors), '', 'and no other error was raised than those that were meant');
is_sound($node, 'after all that');
$node->stop;
done_testing();
