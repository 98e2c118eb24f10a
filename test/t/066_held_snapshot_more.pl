# A snapshot that somebody holds, however long, keeps dead versions of what is written all the time: rows of retries, of
# checkpoints. Neither who writes them nor who looks at the status must walk through them. Told by the pages that a call looks at, which
# do not depend on the machine.
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
	-- Every third event fails, and is done at the second attempt.
	CREATE PROCEDURE work(subscription text, cycles int) LANGUAGE plpgsql AS $$
	DECLARE
		e record;
	BEGIN
		FOR i IN 1 .. cycles LOOP
			SELECT token, position, attempt INTO e FROM es_fetch(subscription, 'a', 1);
			IF e.token IS NULL THEN
				RAISE EXCEPTION 'nothing to fetch';
			END IF;
			IF e.attempt = 1 AND e.position % 3 = 0 THEN
				PERFORM es_nack(subscription, e.token, e.position, 'failed');
			ELSE
				PERFORM es_ack(subscription, e.token, e.position);
			END IF;
			COMMIT;
		END LOOP;
	END $$;
	-- Every event is parked, replayed, and done.
	CREATE PROCEDURE park(subscription text, cycles int) LANGUAGE plpgsql AS $$
	DECLARE
		e record;
	BEGIN
		FOR i IN 1 .. cycles LOOP
			SELECT token, position INTO e FROM es_fetch(subscription, 'a', 1);
			PERFORM es_nack(subscription, e.token, e.position, 'failed', 'park');
			COMMIT;
			PERFORM es_replay_parked(subscription);
			COMMIT;
			SELECT token, position INTO e FROM es_fetch(subscription, 'a', 1);
			PERFORM es_ack(subscription, e.token, e.position);
			COMMIT;
		END LOOP;
	END $$;
	-- One event after the other is appended, fails, and is done: then there is nothing more.
	CREATE PROCEDURE turn(subscription text, cycles int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. cycles LOOP
			PERFORM es_append('s-1', -1, 'E', '{}');
			COMMIT;
			PERFORM es_nack(subscription, token, position, 'failed') FROM es_fetch(subscription, 'a', 1);
			COMMIT;
			PERFORM es_ack(subscription, token, position) FROM es_fetch(subscription, 'a', 1);
			COMMIT;
		END LOOP;
		PERFORM FROM es_fetch(subscription, 'a', 1);
	END $$;
	CREATE TABLE seen (position bigint);
	SELECT es_create_projection('seen', 'INSERT INTO seen SELECT position FROM events', mode => 'async', tables => ARRAY['seen'::regclass]);
	CREATE PROCEDURE run(projection text, cycles int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. cycles LOOP
			PERFORM es_run_projection(projection, 1);
			COMMIT;
		END LOOP;
	END $$;
	SELECT count(es_append('o-' || g % 50, -1, 'E', '{}')) FROM generate_series(1, 6000) g;
	SELECT es_create_subscription('work', 'o', partitions => 8);
	SELECT es_create_subscription('park', 'o', partitions => 8);
	SELECT es_create_subscription('turn', 's', partitions => 8);
});

# Pages that a query looks at; and in a session that has run it before: the middle one of some.
sub pages_once
{
	my ($session, $query) = @_;
	my $root = decode_json($session->query("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) $query"))->[0]{Plan};
	return $root->{'Shared Hit Blocks'} + $root->{'Shared Read Blocks'};
}

sub pages
{
	my ($session, $query, $begin) = @_;
	my @pages;
	for (1 .. 9)
	{
		$session->query("BEGIN $begin") if $begin;
		push @pages, pages_once($session, $query);
		$session->query('COMMIT') if $begin;
	}
	return (sort { $a <=> $b } @pages)[4];
}

my $session = session($node);
$session->query('\pset tuples_only on');
$session->query('\pset format unaligned');
my %work = (
	'fetch and ack, with retries' => [ 'CALL work(%s, %d)', 'work', 4500, q{SELECT count(es_ack('work', token, position)) FROM es_fetch('work', 'a', 1)} ],
	'fetch and nack' => [ 'CALL work(%s, %d)', 'work', 0, q{SELECT count(es_nack('work', token, position, 'failed')) FROM es_fetch('work', 'a', 1)} ],
	'fetch and ack, with replays' => [ 'CALL park(%s, %d)', 'park', 500, q{SELECT count(es_ack('park', token, position)) FROM es_fetch('park', 'a', 1)} ],
	'a batch of a projection' => [ 'CALL run(%s, %d)', 'seen', 3000, q{SELECT es_run_projection('seen', 1)} ],
	'subscription_status' => [ 'CALL turn(%s, %d)', 'turn', 1000, q{SELECT count(*), sum(lag_events) FROM eventstore.subscription_status WHERE name = 'turn'} ],
	'projection_status' => [ undef, undef, 0, q{SELECT count(*), sum(position) FROM eventstore.projection_status} ],
);
my @order = ('fetch and ack, with retries', 'fetch and nack', 'fetch and ack, with replays',
	'a batch of a projection', 'projection_status', 'subscription_status');

my %free;
for my $what (@order)
{
	my ($call, $object, $cycles, $query, $begin) = @{ $work{$what} };
	$session->query(sprintf($call, "'$object'", 100)) if $cycles;
	$free{$what} = pages($session, $query, $begin);
	cmp_ok($free{$what}, '>', 0, "pages of $what: $free{$what}");
}

my $holder = session($node);
$holder->query(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM eventstore.events});
# At once, so that each one's dead versions are there when the others are looked at.
for my $what (@order)
{
	my ($call, $object, $cycles) = @{ $work{$what} };
	$session->query(sprintf($call, "'$object'", $cycles)) if $cycles;
}
# A session that begins meanwhile need not walk through them, either.
my $late = session($node);
$late->query('\pset tuples_only on');
$late->query('\pset format unaligned');
for my $what (@order)
{
	my (undef, undef, undef, $query, $begin) = @{ $work{$what} };
	# The status counts what comes after checkpoints.
	$session->query(q{CALL turn('turn', 0)});
	my $held = pages($session, $query, $begin);
	cmp_ok($held, '<=', 2 * $free{$what} + 8, "$what, beside a held snapshot: $held, was $free{$what}");
	$held = pages($late, $query, $begin);
	cmp_ok($held, '<=', 2 * $free{$what} + 8, "$what, the same in a session that was not there before: $held");
}
$holder->query('ROLLBACK');
$_->quit for $session, $late, $holder;
is_sound($node, 'held');
done_testing();
