# Partitions that were detached, while they are there and when they go: ids stay taken at every moment, whoever looks; what has a column of a DBA's
# own; which partitions are asked for an id; who waits for whom.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Store;
use Test::More;

my $node = new_node('detached', qq(max_connections = 50\nmax_worker_processes = 32\n));
my $ask = sub { return scalar $node->safe_psql('postgres', $_[0]) };
my $code = sub { return sqlstate($node, $_[0]) };
# Ids of no time: they may be in any partition. And those of a UUIDv7, that rise.
my $any = sub { return sprintf("md5('%d')::uuid", $_[0]) };
my $rising = sub { return sprintf("'%08d-0000-7000-8000-000000000000'::uuid", $_[0]) };
my $retry = sub { my ($stream, $id) = @_; return "SELECT es_append('$stream', 0, 'Given', '{}', NULL, $id)" };

sql($node, 'SELECT es_partition_events(100)');
for my $n (1 .. 8)
{
	sql($node, $retry->("any-$n", $any->($n)));
	sql($node, $retry->("rising-$n", $rising->($n)));
	sql($node, "SELECT es_append('filler-1', -1, (SELECT jsonb_agg(jsonb_build_object('type', 'Filled')) FROM generate_series(1, 98)))");
}

# Bounds of ids are written down by the process that makes partitions; what is not there is asked of the partition.
ok($ask->('SELECT count(*) FROM eventstore.partition_ids') >= 5, 'bounds of closed partitions are written down');
my $retried = sub {
	my ($how, @of) = @_;
	for my $n (@of)
	{
		is($ask->($retry->("any-$n", $any->($n))), '1', "$how: a retry of event $n is exact");
		is($ask->($retry->("rising-$n", $rising->($n))), '1', "$how: by a UUIDv7, too");
		is($code->($retry->("other-$n", $any->($n))), 'SE002', "$how: its id is taken");
		is($code->($retry->("other-$n", $rising->($n))), 'SE002', "$how: so is that");
	}
};
$retried->('attached', 1 .. 8);
sql($node, 'DELETE FROM eventstore.partition_ids WHERE upto_position > 200');
$retried->('bounds not written down', 2, 4);
is($ask->(q{SELECT count(*) FROM eventstore.partition_ids p JOIN pg_class c ON c.oid = p.partition WHERE NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid AND inhparent = 'eventstore.events'::regclass)}), '0', 'none is of another table');

# Detached; a session that has looked before is told.
my $looker = session($node);
is($looker->query($retry->('any-1', $any->(1))), '1', 'a session has looked for an id');
is($ask->('SELECT count(*) FROM es_detach_events(500)'), '5', 'five partitions leave');
is($ask->('SELECT count(*) FROM eventstore.removed_events'), '0', 'and nothing is written of their events');
is($looker->query($retry->('any-1', $any->(1))), '1', 'the session finds it again');
$retried->('detached', 1 .. 5);
is($code->(q{SELECT es_append('any-1', -2, 'More', '{}')}), 'SE001', 'a stream all of whose events are away is not there for -2');
is($ask->(q{SELECT es_append('any-1', 1, 'More', '{}')}), '2', 'and goes on where it was');
is($ask->('SELECT count(*) FROM es_repair_streams()'), '0', 'streams are where they were');
is($ask->('SELECT count(*) FROM es_verify()'), '0', 'the store is sound');

# Who drops one has nobody wait: neither while its ids are written down, nor for a lock that he waits for.
{
	my ($dropper, $holder) = (session($node), session($node));
	$holder->query('BEGIN');
	is($holder->query($retry->('any-2', $any->(2))), '1', 'somebody has looked for an id, and goes on');
	send_query($dropper, 'DROP TABLE eventstore.events_100');
	becomes($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'DROP TABLE%' AND wait_event IN ('Extension', 'relation')}, 't', 'who drops it waits for him');
	is($ask->("SET statement_timeout = '60s'; " . $retry->('any-2', $any->(2))), '1', 'others do not');
	$holder->query('COMMIT');
	$dropper->query('');
	becomes($node, q{SELECT to_regclass('eventstore.events_100') IS NULL}, 't', 'and then it is dropped');
	$_->quit for $dropper, $holder;
}
$retried->('dropped', 2);
is($ask->('SELECT count(*) FROM eventstore.removed_events'), '100', 'its events are written down');

# While sessions retry, a partition comes and goes.
{
	my $mover = session($node);
	send_query($mover, "SELECT es_attach_events('eventstore.events_400'); SELECT es_detach_events(500);" x 8);
	race($node, 'retries, while a partition comes and goes', 4, 60, q{\set n random(1, 5)
SELECT 1 / (es_append('any-' || :n, 0, 'Given', '{}', NULL, md5(:n::text)::uuid) = 1)::int;
});
	like($mover->query('SELECT 1'), qr/1$/, 'it has come and gone');
	$mover->quit;
}
is($ask->('SELECT count(*) FROM eventstore.detached_events WHERE position >= 400'), '100', 'and is away');
is($ask->('SELECT count(*) FROM eventstore.events WHERE type = $$Given$$ AND position < 500'), '0', 'nothing was stored twice');
is($ask->('SELECT count(*) - count(DISTINCT id) FROM (SELECT id FROM eventstore.events UNION ALL SELECT id FROM eventstore.gone_events) e'), '0', 'no id is there twice');
$looker->quit;

# Taken out by hand, it is its owner's, and comes back when it is what it was.
sql($node, 'ALTER TABLE eventstore.detached_events DETACH PARTITION eventstore.events_200');
is($ask->('SELECT count(*) FROM eventstore.removed_events'), '200', 'taken out by hand it is written down as well');
sql($node, 'UPDATE eventstore.events_200 SET type = type');
$retried->('taken out', 3);
is($code->('ALTER TABLE eventstore.detached_events ATTACH PARTITION eventstore.events_200 FOR VALUES FROM (200) TO (300)'), '55000', 'it is not put back behind the back of the store');
is($code->('ALTER TABLE eventstore.detached_events DETACH PARTITION eventstore.events_300 CONCURRENTLY'), '0A000', 'not so that it has two transactions');
sql($node, "SELECT es_attach_events('eventstore.events_$_')") for 400, 300, 200;
is($ask->('SELECT count(*) FROM eventstore.removed_events'), '100', 'it comes back');
$retried->('come back', 1 .. 5);
is($ask->('SELECT count(*) FROM es_verify()'), '0', 'the store is sound');

# A column of a DBA's own.
sql($node, 'ALTER TABLE eventstore.events ADD COLUMN seen boolean');
is($ask->('SELECT count(*) FROM es_detach_events(300)'), '1', 'a partition with a column more leaves');
is($ask->('SELECT count(*) FROM eventstore.removed_events'), '200', 'and is written down at once');
$retried->('with a column more', 1, 3);
sql($node, 'DROP TABLE eventstore.events_200');
$retried->('dropped, too', 3);

done_testing();
