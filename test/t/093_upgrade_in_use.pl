# A store of version 0.1.0 in use, updated: appends, consumers and projections go on from where they were. The store is a dump that a
# server of that version has made: test/upgrade/store-0.1.0.sql says what is in it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Upgrade;

my $node = new_old_server('in_use');
restore_old_store($node, 'store');
my $ask = sub { sql($node, $_[0], 'store') };
my $code = sub { sqlstate($node, $_[0], 'store') };

my $history = 'SELECT * FROM eventstore.events ORDER BY position; SELECT * FROM eventstore.streams ORDER BY stream; SELECT last_value FROM eventstore.positions';
my $status = 'SELECT name, partition, consumer, checkpoint, lag_events, parked, lease_end FROM eventstore.subscription_status ORDER BY name, partition';
my $tables = join ';', map { "SELECT * FROM $_ t ORDER BY t::text" } qw(totals simple latest by_clerk report log quick paused fails orphan effects);
my $tokens = 'SELECT subscription, consumer, token, delivered, acked FROM eventstore.subscription_shares WHERE token <> 0 ORDER BY 1, 2';
my %before = map { $_ => $ask->($_) } ($history, $status, $tables, $tokens);

my ($result, $out, $err) = $node->psql('store', 'ALTER EXTENSION eventstore UPDATE');
is($result, 0, 'the store is updated') or diag $err;
like($err, qr/WARNING:  projection "orphan" has lost its owner.*There is no role "shop_gone"/s, 'an owner that is gone is told of');

is($ask->($history), $before{$history}, 'the same events, streams and positions');
is($ask->($tables), $before{$tables}, 'the same read tables');
is($ask->($tokens), $before{$tokens}, 'the same tokens');
is($ask->($status), $before{$status}, 'every partition stands where it stood, with who works on it');
is($ask->('SELECT * FROM es_verify()'), '', 'es_verify() finds nothing');
sql($node, 'CREATE EXTENSION eventstore; ' . join ';', map { "SELECT es_grant('$_->[0]', '$_->[1]')" } [ 'shop_app', 'append' ], [ 'shop_reader', 'read' ], [ 'shop_admin', 'admin' ], [ 'shop_reports', 'admin' ]);
is(differs(inventory($node), inventory($node, 'store')), '', 'the same objects as in a new store, with the same rights');

# ----------------------------------------------------------------------------------------------------------------------
# Append, read, decide
# ----------------------------------------------------------------------------------------------------------------------

my $batch = q{'[{"type": "Placed", "data": {"amount": 3}, "id": "00000000-0000-4000-8000-000000000001", "tags": ["customer:1"]}, {"type": "Paid", "data": {"amount": 3}, "id": "00000000-0000-4000-8000-000000000002"}]'};
is($ask->("SET ROLE shop_app; SELECT es_append('order-{acme}-1', 0, $batch)"), '2', 'an exact retry of an old append is known');
is($ask->('SELECT count(*) FROM eventstore.events'), '126', 'and stores nothing');
is($code->(q{SELECT es_append('new-1', 0, 'A', '{}', NULL, '00000000-0000-4000-8000-000000000003')}), 'SE002', 'an old id is taken');
is($code->(q{SELECT es_append('account-1', 3, 'A', '{}')}), 'SE001', 'an old version is a conflict');
is($ask->(q{SELECT l.version, l.state, array_length(l.events, 1) FROM es_load('account-1') l}), $ask->(q{SELECT 3, '{"n": 3}'::jsonb, es_stream_version('account-1') - 3}), 'a snapshot counts');
is($ask->(q{SELECT version, state FROM es_snapshot('order-{acme}-1')}), '2|{"paid": true}', 'another, too');

for my $tag ('customer:1', 'customer:2', 'branch:0', 'größe', 'nobody')
{
	is($ask->(qq{SELECT position FROM es_read_query('[{"tags": ["$tag"]}]', 0, NULL) ORDER BY 1}), $ask->("SELECT position FROM eventstore.events WHERE '$tag' = ANY (tags) ORDER BY 1"),
		"old events are found by tag $tag");
}
is($code->(q{SELECT es_append_if('decision-1', '[{"type": "D"}]', '[{"tags": ["customer:3", "branch:1"]}]')}), $ask->(q{SELECT CASE count(*) WHEN 0 THEN '' ELSE 'SE004' END FROM eventstore.events WHERE tags @> '{customer:3,branch:1}'}), 'a decision knows old events');
is($code->(q{SELECT es_append_if('decision-2', '[{"type": "D"}]', '[{"tags": ["customer:3"]}]')}), 'SE004', 'and by one tag');
is($ask->(q{SELECT es_append_if('decision-2', '[{"type": "D", "tags": ["customer:3"]}]', '[{"tags": ["customer:3"]}]', es_head())}), '1', 'from the head on there is nothing');
is($ask->('SELECT es_head() = max(position) FROM eventstore.events'), 't', 'the head is at the end');
is($ask->(q{SELECT count(*) FROM eventstore.events e WHERE es_position_at(e.recorded_at) >= e.position}), '0', 'es_position_at() leaves out no old event');
is($ask->('SELECT category, events, streams, first_position, last_position FROM eventstore.categories ORDER BY 1'),
	$ask->('SELECT category, count(*), count(DISTINCT stream), min(position), max(position) FROM eventstore.events GROUP BY 1 ORDER BY 1'), 'old events are counted by category');
is($ask->('SELECT type, events FROM eventstore.types ORDER BY 1'), $ask->('SELECT type, count(*) FROM eventstore.events GROUP BY 1 ORDER BY 1'), 'and by type');
is($ask->(q{SELECT es_tenant(stream), count(*) FROM eventstore.events GROUP BY 1 ORDER BY 1 NULLS LAST LIMIT 1}), 'acme|3', 'tenants are what names say');

# ----------------------------------------------------------------------------------------------------------------------
# Consumers
# ----------------------------------------------------------------------------------------------------------------------

# Takes what there is for a consumer, and raises where an effect comes twice, or before one of an earlier version.
$ask->(<<'SQL');
	CREATE FUNCTION work_on(subscription text, consumer text) RETURNS bigint LANGUAGE plpgsql AS
	$$
	DECLARE
		event record;
		done bigint := 0;
		was bigint;
	BEGIN
		LOOP
			was := done;
			FOR event IN SELECT * FROM es_fetch(subscription, consumer, 7) f LOOP
				IF EXISTS (SELECT FROM effects e WHERE e.subscription = work_on.subscription AND e.stream = event.stream AND e.version >= event.version) THEN
					RAISE EXCEPTION 'version % of % comes late', event.version, event.stream;
				END IF;
				INSERT INTO effects VALUES (subscription, event.position, event.version, event.stream);
				PERFORM es_ack(subscription, event.token, event.position);
				done := done + 1;
			END LOOP;
			EXIT WHEN done = was;
		END LOOP;
		RETURN done;
	END
	$$
SQL
# What is neither done nor put aside, of events that match.
my $left = sub {
	my ($subscription) = @_;
	return $ask->(qq{
		SELECT string_agg(e.position::text, ' ' ORDER BY e.position) FROM eventstore.subscriptions s JOIN eventstore.events e
			ON (s.category IS NULL OR e.category = s.category) AND (s.types IS NULL OR e.type = ANY (s.types)) AND (s.name <> 'untouched' OR e.position > 40)
		WHERE s.name = '$subscription' AND NOT EXISTS (SELECT FROM effects f WHERE f.subscription = s.name AND f.position = e.position)});
};

my ($token) = $ask->(q{SELECT token FROM eventstore.subscription_shares WHERE subscription = 'middle' AND consumer = 'one'});
my $outstanding = $ask->(q{SELECT s.delivered FROM eventstore.subscription_shares s WHERE s.token = } . $token);
$ask->(qq{INSERT INTO effects SELECT 'middle', position, version, stream FROM eventstore.events e WHERE category = 'account' AND position <= $outstanding AND es_partition(stream, 8) < 4
	AND NOT EXISTS (SELECT FROM effects f WHERE f.subscription = 'middle' AND f.position = e.position); SELECT es_ack('middle', $token, $outstanding)});
is($code->("SELECT es_ack('middle', $token, $outstanding)"), '', 'a token of before acknowledges what was delivered before');
$ask->(q{SELECT work_on('middle', c) FROM unnest('{one,two,one}'::text[]) c});
is($left->('middle'), '', 'middle: each event once, in order of versions');
is($ask->(q{SELECT consumer, count(*) FROM eventstore.subscription_status WHERE name = 'middle' GROUP BY 1 ORDER BY 1}), "one|4\ntwo|4", 'and both consumers have what they had');

is($ask->(q{SELECT position, attempt FROM es_fetch('retries', 'other', 1)}), '3|2', 'retries: an event that failed before comes again, as the second attempt');
$ask->(q{SELECT es_release('retries', 'other'); SELECT work_on('retries', 'other')});
my $waits = $ask->(q{SELECT stream FROM eventstore.events WHERE position = 2});
is($left->('retries'), $ask->(qq{SELECT string_agg(position::text, ' ' ORDER BY position) FROM eventstore.events WHERE type IN ('Opened', 'Deposited') AND (stream = '$waits' OR position IN (4, 5, 9))}),
	'retries: all but what is parked, skipped, or waits for a later attempt');
is($ask->(q{SELECT position, attempts, reason FROM eventstore.parked WHERE subscription = 'retries' ORDER BY 1}), "4|1|no use\n5|1|no use", 'what is parked is there');
is($ask->(q{SELECT es_replay_parked('retries', (SELECT id FROM eventstore.events WHERE position = 4))}), '1', 'and can be replayed');
is($ask->(q{SELECT position FROM es_fetch('retries', 'other')}), '4', 'which delivers it');

$ask->(q{SELECT work_on('blocking', 'other')});
# Those that were delivered once, and have no second attempt, are parked, too.
my $blocked = q{(SELECT stream FROM eventstore.events WHERE position BETWEEN 2 AND 9)};
is($left->('blocking'), $ask->("SELECT string_agg(position::text, ' ' ORDER BY position) FROM eventstore.events WHERE category = 'account' AND stream IN $blocked"), 'blocking: streams behind a parked event wait, all else is done');
$ask->(q{SELECT es_replay_parked('blocking'); SELECT work_on('blocking', 'other')});
is($left->('blocking'), '', 'and go on when it is replayed');

$token = $ask->(q{SELECT token FROM eventstore.subscription_shares WHERE subscription = 'dividing' AND consumer = 'one'});
is($code->("SELECT es_fetch('dividing', 'two')"), '', 'dividing: nobody gets more before the old partitions are done');
$ask->(qq{INSERT INTO effects SELECT 'dividing', position, version, stream FROM eventstore.events e WHERE category = 'account' AND position <= 20
	AND NOT EXISTS (SELECT FROM effects f WHERE f.subscription = 'dividing' AND f.position = e.position); SELECT es_ack('dividing', $token, 20)});
$ask->(q{SELECT work_on('dividing', c) FROM unnest('{one,two,one}'::text[]) c});
is($left->('dividing'), '', 'then all go on, each event once');
is($ask->(q{SELECT count(*) FROM eventstore.subscription_status WHERE name = 'dividing'}), '5', 'in the partitions that were planned');
$ask->(q{SELECT work_on('untouched', 'one')});
is($left->('untouched'), '', 'untouched: begins where it was to begin');

# ----------------------------------------------------------------------------------------------------------------------
# Projections
# ----------------------------------------------------------------------------------------------------------------------

is($ask->(q{SELECT name, mode, state, owner, last_error_code FROM eventstore.projection_status ORDER BY name}), <<'ROWS' =~ s/\n\z//r, 'projections are what they were, and whose');
answers|async|running|shop_reports|
by_clerk|async|running|postgres|
failing|async|failed|shop_reports|23505
latest|async|running|postgres|
log|async|running|shop_reports|
orphan|inline|failed||42704
paused|inline|paused|shop_reports|
quick|inline|running|shop_reports|
report|inline|running|shop_reports|
simple|inline|running|postgres|
totals|inline|running|postgres|
ROWS
is($ask->('SELECT name, position, events_applied FROM eventstore.projections WHERE mode = $$async$$ ORDER BY 1'),
	$ask->('SELECT p.name, c.position, c.events_applied FROM eventstore.projections p JOIN eventstore.projection_checkpoints c ON c.projection = p.name WHERE mode = $$async$$ ORDER BY 1'), 'and stand where they stood');

$ask->(q{SELECT es_append('account-' || n % 17, -1, 'Moved', jsonb_build_object('amount', n, 'by', 'clerk ' || n % 4, 'flag', true)) FROM generate_series(1, 20) n;
	SELECT es_append('order-{acme}-1', 2, 'Paid', '{"amount": 1}')});
is($ask->('SELECT max("position") FROM log'), '60', 'async ones wait for who runs them');
$ask->("SELECT es_run_projection('$_')") for qw(latest by_clerk log answers);
is($ask->('SELECT count(*), count(DISTINCT "position"), max(n) - min(n) + 1 FROM log'),
	$ask->(q{SELECT count(*), count(*), count(*) FROM eventstore.events WHERE position <= (SELECT position FROM eventstore.projection_checkpoints WHERE projection = 'log')}),
	'log: each event once, and its numbers go on');
is($ask->(q{SELECT count(*) FROM eventstore.events WHERE type = 'Answered'}), '2', 'answers: one for each payment, the old one is not answered again');
$ask->(q{SELECT es_run_projection('log')});
for my $projection (qw(totals simple latest by_clerk report log quick))
{
	is($ask->("SELECT * FROM es_verify_projection('$projection')"), '', "$projection: is what the events make of it");
}
for my $projection (qw(totals simple latest by_clerk report quick))
{
	my $rows = "SELECT * FROM $projection t ORDER BY t::text";
	my $was = $ask->($rows);
	$ask->("SELECT es_rebuild_projection('$projection')");
	is($ask->($rows), $was, "$projection: a rebuild makes the same");
}
$ask->(q{SELECT es_resume_projection('paused')});
is($ask->(q{SELECT * FROM es_verify_projection('paused')}), '', 'paused: goes on with what it has missed');
$ask->(q{SELECT es_reassign_projection('orphan', 'shop_reports'); ALTER TABLE orphan OWNER TO shop_reports; SELECT es_resume_projection('orphan')});
is($ask->(q{SELECT * FROM es_verify_projection('orphan')}), '', 'orphan: somebody else takes it over');
is($code->(q{DROP ROLE shop_reports}), '2BP01', 'an owner can not be dropped any more');
$ask->(q{SELECT es_skip_event('failing', 6, 'twice')});
is($ask->(q{SELECT projection, position, reason FROM eventstore.skipped_events}), 'failing|6|twice', 'failing: the event can be skipped');

# A key of 0.1.0 can not be null; the same query anew can.
$ask->(q{SELECT es_append('account-1', -1, 'Moved', '{"by": null}')});
$node->psql('store', q{SELECT es_run_projection('by_clerk')});
is($ask->(q{SELECT state, last_error_code FROM eventstore.projection_status WHERE name = 'by_clerk'}), 'failed|23502', 'by_clerk: null is no group of a table that 0.1.0 has made');
$ask->(q{SELECT es_replace_projection('by_clerk', $$SELECT data->>'by' AS clerk, count(*) AS events FROM events WHERE data ? 'by' GROUP BY 1$$); SELECT es_resume_projection('by_clerk'); SELECT es_run_projection('by_clerk')});
is($ask->(q{SELECT clerk IS NULL, events FROM by_clerk ORDER BY clerk DESC LIMIT 1}), 't|1', 'but is where it is replaced by the same query');
is($ask->(q{SELECT * FROM es_verify_projection('by_clerk')}), '', 'which makes it right');

is($ask->('SELECT * FROM es_verify()'), '', 'es_verify() still finds nothing');
is_sound($node, 'in use', 'store');

# ----------------------------------------------------------------------------------------------------------------------
# A dump of it
# ----------------------------------------------------------------------------------------------------------------------

my $folder = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-f', "$folder/store.sql", 'store' ], 'dumped');
sql($node, 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'copy', '-f', "$folder/store.sql" ], 'and restored');
for my $what ($history, $status, $tables, 'SELECT name, owner, state FROM eventstore.projection_status WHERE name <> $$quick$$ ORDER BY 1', 'SELECT role, level FROM eventstore.grants ORDER BY 1, 2')
{
	is(sql($node, $what, 'copy'), $ask->($what), 'the same: ' . substr $what, 0, 40);
}
is(differs(inventory($node), inventory($node, 'copy')), '', 'of the same objects');

done_testing();
