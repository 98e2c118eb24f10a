# A snapshot that somebody holds, however long, keeps dead versions of what consumers write; fetch and ack must not walk through them. Told
# by the pages that a call looks at, which do not depend on the machine.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('held', 'fsync = off', 'synchronous_commit = off', 'autovacuum_naptime = 1s');
sql($node, q{
	CREATE PROCEDURE consume(subscription text, cycles int) LANGUAGE plpgsql AS $$
	DECLARE
		t bigint;
		p bigint;
	BEGIN
		FOR i IN 1 .. cycles LOOP
			SELECT max(token), max(position) INTO t, p FROM es_fetch(subscription, 'a', 1);
			IF t IS NULL THEN
				RAISE EXCEPTION 'nothing to fetch';
			END IF;
			PERFORM es_ack(subscription, t, p);
			COMMIT;
		END LOOP;
	END $$;
	SELECT es_append('o-' || g, -1, (SELECT jsonb_agg(jsonb_build_object('type', 'E')) FROM generate_series(1, 200))) FROM generate_series(1, 100) g;
	SELECT es_create_subscription('free', 'o', partitions => 8);
	SELECT es_create_subscription('held', 'o', partitions => 8);
	SELECT es_create_subscription('waited', 'o', partitions => 8);
});

# Pages that a fetch and an ack look at, in a session that has done so before: the middle one of some.
sub pages
{
	my ($session, $subscription) = @_;
	my @pages;
	for (1 .. 9)
	{
		my $plan = $session->query(qq{EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT count(es_ack('$subscription', token, position)) FROM es_fetch('$subscription', 'a', 1)});
		my $root = decode_json($plan)->[0]{Plan};
		push @pages, $root->{'Shared Hit Blocks'} + $root->{'Shared Read Blocks'};
	}
	return (sort { $a <=> $b } @pages)[4];
}

my $consumer = session($node);
$consumer->query('\pset tuples_only on');
$consumer->query('\pset format unaligned');
$consumer->query(q{CALL consume('free', 200)});
my $free = pages($consumer, 'free');
cmp_ok($free, '>', 0, "pages of a fetch and an ack: $free");

my $holder = session($node);
$holder->query(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM eventstore.events});
$consumer->query(q{CALL consume('held', 6000)});
my $held = pages($consumer, 'held');
cmp_ok($held, '<', 2 * $free, "beside a transaction that holds a snapshot: $held");
$holder->query('ROLLBACK');

# Another session in es_wait holds none.
send_query($holder, q{SELECT es_wait(es_head(), '10 min', 'rare')});
is($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%es_wait(es_head()%' AND wait_event_type = 'Extension'}), 1, 'a session waits');
is(sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%es_wait(es_head()%' AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL}), 0, 'and holds no snapshot');
$consumer->query(q{CALL consume('waited', 3000)});
my $waited = pages($consumer, 'waited');
cmp_ok($waited, '<', 2 * $free, "beside a session that waits: $waited");
sql($node, q{SELECT es_append('rare-1', -1, 'E', '{}')});
is_woken($holder, sql($node, 'SELECT es_head()'), 'the session that waits is told');

$_->quit for $consumer, $holder;
is_sound($node, 'held');
done_testing();
