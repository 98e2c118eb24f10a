# A snapshot that somebody holds, however long, keeps dead versions of what is written all the time: rows of retries, of streams, of
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

my $node = new_node('held', 'fsync = off', 'synchronous_commit = off', 'autovacuum_naptime = 1s', 'wal_level = replica', 'max_wal_senders = 5');
sql($node, q{
	-- Every third event fails, and is done at the second attempt. Now and then something is taken back.
	CREATE PROCEDURE work(subscription text, cycles int) LANGUAGE plpgsql AS $$
	DECLARE
		e record;
	BEGIN
		FOR i IN 1 .. cycles LOOP
			SELECT token, position, attempt INTO e FROM es_fetch(subscription, 'a', 1);
			IF e.token IS NULL THEN
				RAISE EXCEPTION 'nothing to fetch';
			END IF;
			IF i % 5 = 0 THEN
				BEGIN
					PERFORM es_nack(subscription, e.token, e.position, 'taken back', CASE i % 3 WHEN 0 THEN 'park' WHEN 1 THEN 'skip' ELSE 'retry' END);
					RAISE EXCEPTION USING ERRCODE = 'P0002';
				EXCEPTION WHEN no_data_found THEN NULL;
				END;
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
	CREATE PROCEDURE append(stream text, cycles int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. cycles LOOP
			PERFORM es_append(stream, -1, 'E', '{}');
			COMMIT;
		END LOOP;
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
	SELECT es_create_subscription('hold', 'o', partitions => 8, park_policy => 'block_stream');
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
# A long name, so that few versions of its row fill a page.
my $hot = 'hot-' . 'x' x 500;
my %work = (
	'fetch and ack, with retries' => [ 'CALL work(%s, %d)', 'work', 4500, q{SELECT count(es_ack('work', token, position)) FROM es_fetch('work', 'a', 1)} ],
	'fetch and nack' => [ 'CALL work(%s, %d)', 'work', 0, q{SELECT count(es_nack('work', token, position, 'failed')) FROM es_fetch('work', 'a', 1)} ],
	'fetch and ack, with replays' => [ 'CALL park(%s, %d)', 'park', 500, q{SELECT count(es_ack('park', token, position)) FROM es_fetch('park', 'a', 1)} ],
	'a replay' => [ 'CALL park(%s, %d)', 'park', 0, q{SELECT es_replay_parked('park')} ],
	'fetch and ack, where parked events hold streams' => [ 'CALL park(%s, %d)', 'hold', 500, q{SELECT count(es_ack('hold', token, position)) FROM es_fetch('hold', 'a', 1)} ],
	'200 appends to a hot stream' => [ 'CALL append(%s, %d)', $hot, 6000, qq{SELECT count(es_append('$hot', -1, 'E', '{}')) FROM generate_series(1, 200)} ],
	'the same at REPEATABLE READ' => [ 'CALL append(%s, %d)', $hot, 0, qq{SELECT es_append('$hot', -1, 'E', '{}')}, 'ISOLATION LEVEL REPEATABLE READ' ],
	'the same at SERIALIZABLE' => [ 'CALL append(%s, %d)', $hot, 0, qq{SELECT es_append('$hot', -1, 'E', '{}')}, 'ISOLATION LEVEL SERIALIZABLE' ],
	'a batch of a projection' => [ 'CALL run(%s, %d)', 'seen', 3000, q{SELECT es_run_projection('seen', 1)} ],
	'subscription_status' => [ 'CALL turn(%s, %d)', 'turn', 1000, q{SELECT count(*), sum(lag_events) FROM eventstore.subscription_status WHERE name = 'turn'} ],
	'projection_status' => [ undef, undef, 0, q{SELECT count(*), sum(position) FROM eventstore.projection_status} ],
);
my @order = ('fetch and ack, with retries', 'fetch and nack', 'fetch and ack, with replays', 'a replay', 'fetch and ack, where parked events hold streams', '200 appends to a hot stream', 'the same at REPEATABLE READ',
	'the same at SERIALIZABLE', 'a batch of a projection', 'projection_status', 'subscription_status');

my %free;
for my $what (@order)
{
	my ($call, $object, $cycles, $query, $begin) = @{ $work{$what} };
	$session->query(sprintf($call, "'$object'", 100)) if $cycles;
	$free{$what} = pages($session, $query, $begin);
	cmp_ok($free{$what}, '>', 0, "pages of $what: $free{$what}");
}

my $holder = session($node);
my $status = q{SELECT name, partition, checkpoint, lag_events, parked FROM eventstore.subscription_status UNION ALL SELECT name, NULL, position, lag, events_applied FROM eventstore.projection_status ORDER BY 1, 2};
# Rows that one and the other way to find them do not agree about
my @differing;
for my $table ('shares', 'retries')
{
	my @found = ("SELECT f::text FROM eventstore.subscriptions s, eventstore.find_subscription_$table(s.name) f", "SELECT t::text FROM eventstore.subscription_$table t");
	push @differing, "SELECT '$table', * FROM ($_) d" for "$found[0] EXCEPT ALL $found[1]", "$found[1] EXCEPT ALL $found[0]";
}
my $differing = join ' UNION ALL ', @differing;
$holder->query(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM eventstore.events});
my $seen = $holder->query($status);
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
$late->query(q{SELECT es_stream_version('s-1')});
my $first = pages_once($late, qq{SELECT es_stream_version('$hot')});
cmp_ok($first, '<=', 30, "a hot stream's row is found at once: $first pages");
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
is($holder->query($status), $seen, 'who holds the snapshot sees what there was');
is($holder->query($differing), '', 'whichever way it looks');
is(sql($node, $differing), '', 'so do others see what there is');
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(sql($standby, $status), sql($node, $status), 'so does a standby');
is(sql($standby, $differing), '', 'whichever way it looks there');
$standby->stop;
$holder->query('ROLLBACK');
$_->quit for $session, $late, $holder;
is_sound($node, 'held');
done_testing();
