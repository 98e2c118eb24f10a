# Subscriptions through a pooler in transaction mode: every call of a consumer comes to another backend, and all goes as if it were one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Consumers;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('pooler');
my ($folder, $pooler) = new_pooler($node);
if (!$folder)
{
	$node->stop;
	plan skip_all => 'no pgbouncer here';
}
create_effects($node);
sql($node, q{SELECT es_create_subscription('mail', category => 'a', partitions => 4, lease => '1 hour')});
appended($node, 'a', 20, 3);

# Each statement connects to the pooler anew. It has four connections to the server, which take turns.
my @backends;
my $pooled = sub {
	my ($statements) = @_;
	my ($pid, @rows) = split /\n/, through($node, $folder, sub { sql($node, "BEGIN; SELECT pg_backend_pid(); $statements; COMMIT") }), -1;
	push @backends, $pid;
	return map { [ split /\|/, $_, -1 ] } grep { $_ ne '' } @rows;
};
my $raises = sub { my ($statements) = @_; return through($node, $folder, sub { sqlstate($node, $statements) }) };
through($node, $folder, sub {
		my @open = map { session($node) } 1 .. 4;
		$_->query_safe('BEGIN') for @open;
		$_->query_safe('COMMIT') for @open;
		$_->quit for @open;
});
$pooled->('SELECT 1') for 1 .. 8;
is(scalar(keys %{ { map { $_ => 1 } @backends } }), 4, 'the pooler has four backends');
@backends = ();

# Two consumers, in turn
my %seen;
my $work = sub {
	my ($consumer) = @_;
	my @rows = $pooled->(fetch('mail', $consumer, 7));
	$pooled->("SELECT es_ack('mail', $rows[-1][3], $rows[-1][4])") if @rows;
	push @{ $seen{ $_->[0] } }, { consumer => $consumer, version => $_->[1], attempt => $_->[2] } for @rows;
	return scalar @rows;
};
my $idle = 0;
for (my $n = 0; $n < 60 && $idle < 2; $n++)
{
	$idle = $work->("c" . $n % 2) ? 0 : $idle + 1;
}
is(scalar(grep { join(' ', map { "$_->{version}/$_->{attempt}" } @{ $seen{$_} }) ne '1/1 2/1 3/1' } keys %seen) . '/' . keys %seen, '0/20', 'two consumers: each event once, in order');
is(sql($node, q{SELECT string_agg(consumer || ' ' || n, ', ' ORDER BY consumer) FROM (SELECT consumer, count(*) n FROM eventstore.subscription_status WHERE name = 'mail' GROUP BY 1) s}),
	'c0 2, c1 2', 'they share the partitions');
is(scalar(grep { $backends[$_] == $backends[ $_ - 1 ] } 1 .. $#backends), 0, 'and no two calls in succession had the same backend');

# Retry, skip, park; the token is all that a consumer has to remember.
$pooled->(q{SELECT es_release('mail', 'c1')});
appended($node, 'a', 3, 1);
my @rows = $pooled->(fetch('mail', 'c0', 10));
is(join(' ', map { $_->[0] } @rows), 'a-1 a-2 a-3', 'released partitions are there at once for the other consumer');
my $token = $rows[0][3];
$pooled->("SELECT es_nack('mail', $token, $rows[0][4], 'later', 'retry')");
$pooled->("SELECT es_nack('mail', $token, $rows[1][4], 'never', 'park')");
$pooled->("SELECT es_nack('mail', $token, $rows[2][4], 'not for us', 'skip')");
@rows = $pooled->(fetch('mail', 'c0', 10));
is(join(' ', map { "$_->[0]/$_->[2]" } @rows), 'a-1/2', 'nacked: what is to be tried again comes again');
is($raises->("SELECT es_ack('mail', $token, $rows[0][4])"), 'SE005', 'the token before is refused');
$pooled->("SELECT es_ack('mail', $rows[0][3], $rows[0][4])");
is(sql($node, q{SELECT stream, reason FROM eventstore.parked}), 'a-2|never', 'what was parked is to be seen');
is(sql($node, q{SELECT es_replay_parked('mail')}), 1, 'and put back');
@rows = $pooled->(fetch('mail', 'c0', 10));
is(join(' ', map { "$_->[0]/$_->[2]" } @rows), 'a-2/1', 'comes as if new');
$pooled->("SELECT es_ack('mail', $rows[0][3], $rows[0][4])");

# Waiting
my ($out, $err) = ('', '');
my $waiting = through($node, $folder, sub { IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', fetch('mail', 'c0', 10, '1 min') ], '<', \undef, '>', \$out, '2>', \$err) });
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%es_fetch(''mail''%' AND state = 'active' AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()})
  or die 'it does not sleep';
my $begun = time;
appended($node, 'a', 1, 1);
$waiting->finish;
cmp_ok(time - $begun, '<', $soon, 'who waits is woken at once');
like($out, qr/^a-1\|5\|1\|/, 'with the event') or diag($err);
$token = (split /\|/, $out)[3];
my $position = sql($node, 'SELECT es_head()');

# Nobody takes what is leased; then the lease ends: it is renewed to a shorter one.
is(join(' ', $pooled->(fetch('mail', 'c1', 10))), '', 'leased: not for others');
sql($node, q{SELECT es_alter_subscription('mail', NULL, lease => '500 ms')});
$pooled->(fetch('mail', 'c0', 0));
@rows = $pooled->(fetch('mail', 'c1', 10, '1 min'));
is(join(' ', map { "$_->[0]/$_->[2]" } @rows), 'a-1/2', 'when the lease ends the other one has it');
is($raises->("SELECT es_ack('mail', $token, $position)"), 'SE005', 'and who had it is refused');
is($raises->("SELECT es_nack('mail', $token, $position, 'late')"), 'SE005', 'whatever it wants');
is($raises->("SELECT es_ack('mail', $rows[0][3], $position)"), '', 'the other one is not');

# Exactly once, four clients of the pooler at a time
sql($node, q{SELECT es_create_subscription('work', category => 'b', partitions => 16, lease => '1 hour')});
appended($node, 'b', 40, 25);
my $script = PostgreSQL::Test::Utils::tempdir() . '/work.sql';
PostgreSQL::Test::Utils::append_to_file($script, <<'SQL');
BEGIN;
SELECT coalesce(max(token), 0) AS token, coalesce(max(position), 0) AS position, quote_literal(array_agg(position ORDER BY position)) AS positions, count(*) AS events FROM es_fetch('work', 'c' || :client_id, 10, '100 ms') \gset
\if :events > 0
INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, 'c' || :client_id FROM eventstore.events WHERE position = ANY (:positions::bigint[]) ORDER BY position;
SELECT es_ack('work', :token, :position);
\endif
COMMIT;
SQL
($out, $err) = ('', '');
ok(through($node, $folder, sub { IPC::Run::run([ 'pgbench', '-n', '-c', 4, '-j', 2, '-t', 60, '-f', $script, $node->connstr('postgres') ], '>', \$out, '2>', \$err) }), 'four clients of the pooler')
  or diag($err);
# What a client left that came late, or had many partitions for long.
sql($node, "SELECT es_release('work', 'c$_')") for 0 .. 3;
while ((my @left = $pooled->(fetch('work', 'last', 100))) > 0)
{
	$pooled->("INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, 'last' FROM eventstore.events WHERE position IN (@{[join ', ', map { $_->[4] } @left]}) ORDER BY position;"
		  . "SELECT es_ack('work', $left[-1][3], $left[-1][4])");
}
effects_are_exact($node, 'b', 'through the pooler');
cmp_ok(sql($node, 'SELECT count(DISTINCT consumer) FROM effects'), '>', 1, 'by more than one consumer');

# Nothing is left in the backends.
is(sql($node, q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.pid <> pg_backend_pid() AND a.datname = 'postgres' AND l.locktype IN ('userlock', 'advisory')}), 0, 'no lock stays behind');
$pooler->signal('INT');
$pooler->finish;
$node->stop;
done_testing();
