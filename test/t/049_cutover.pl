# A store that moves to another server by logical replication, which does not carry sequences, and back; and dumps that are restored
# without the sequence. Positions go on above every event that is there, or appends are refused.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $old = new_node('old', 'wal_level = logical', 'max_wal_senders = 5', 'max_replication_slots = 5');
my $new = new_node('new', $in_one_table, 'wal_level = logical', 'max_wal_senders = 5', 'max_replication_slots = 5');
my @tables = map { "eventstore.$_" } qw(events streams subscriptions subscription_shares subscription_retries);
my $tables = join ', ', @tables;
my $append = sub { my ($node, $stream) = @_; return sql($node, "SELECT es_append('$stream', -1, 'Appended', '{}')") };
my $raised = sub {
	my ($node, $statement, $database) = @_;
	my $err = '';
	$node->psql($database // 'postgres', $statement, stderr => \$err);
	return $err;
};
my $is_refused = sub {
	my ($node, $why, $name, $database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sqlstate($node, q{SELECT es_append('a-1', -1, 'Refused', '{}')}, $database), '55000', "$name: appends are refused");
	like($raised->($node, q{SELECT es_append('a-1', -1, 'Refused', '{}')}, $database), qr/ERROR:  $why.*HINT:.*es_repair_positions\(\)/s, "$name: with a hint");
};
my $feeds = qr/events of this store come by logical replication/;
my $behind = qr/positions are behind the events that are stored/;
# What a tailing reader sees from the beginning; and all there is.
my $is_read = sub {
	my ($node, $name, $database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql($node, 'SELECT position, stream, version FROM es_read_all(0, NULL)', $database), sql($node, 'SELECT position, stream, version FROM eventstore.events ORDER BY position', $database), "$name: every event is read");
};
my $replicate = sub {
	my ($from, $to, $name, $options) = @_;
	sql($to, "CREATE SUBSCRIPTION $name CONNECTION \$\$" . $from->connstr('postgres') . "\$\$ PUBLICATION moved WITH ($options)");
};
my $caught_up = sub {
	my ($from, $to) = @_;
	my $all = q{SELECT (SELECT coalesce(string_agg(position::text, ' ' ORDER BY position), '') FROM eventstore.events), (SELECT count(*) FROM eventstore.streams), (SELECT count(*) FROM eventstore.subscription_shares), (SELECT count(*) FROM eventstore.subscriptions)};
	becomes($to, $all, sql($from, $all), 'everything has come');
};

# The old store: gaps by rollbacks, a subscription that has read up to the head, which is a gap, too.
$append->($old, 'a-1') for 1 .. 3;
sql($old, q{BEGIN; SELECT es_append('a-1', -1, '[{"type": "A"}, {"type": "B"}, {"type": "C"}]'); ROLLBACK});
$append->($old, 'b-1') for 1 .. 3;
sql($old, q{BEGIN; SELECT es_append('a-1', -1, '[{"type": "A"}, {"type": "B"}, {"type": "C"}]'); ROLLBACK});
sql($old, q{SELECT es_create_subscription('mail', 'a', partitions => 1)});
sql($old, q{SELECT es_ack('mail', max(token), max(position)) FROM es_fetch('mail', 'c'); SELECT count(*) FROM es_fetch('mail', 'c'); SELECT es_release('mail', 'c')});
my $old_head = sql($old, 'SELECT es_head()');
cmp_ok($old_head, '>', sql($old, 'SELECT max(position) FROM eventstore.events'), 'the head of the old store is above its last event');
sql($old, "CREATE PUBLICATION moved FOR TABLE $tables WITH (publish_via_partition_root = true)");

# While it is fed, nothing is right: events come in the order of commits.
my $session = session($new);
$session->query_safe('SELECT es_head()');
$replicate->($old, $new, 'from_old', 'copy_data = true');
$caught_up->($old, $new);
my @open = (session($old), session($old));
$open[0]->query_safe(q{BEGIN; SELECT es_append('c-1', -1, 'Late', '{}')});
$append->($old, 'b-1');
$caught_up->($old, $new);
is(sql($new, 'SELECT es_head(), (SELECT count(*) FROM es_read_all())'), '0|0', 'fed: no reader goes beyond an append that is still open over there');
$is_refused->($new, $feeds, 'fed');
like($raised->($new, 'SELECT es_repair_positions()'), qr/ERROR:  $feeds.*DETAIL:  Subscription "from_old" feeds "eventstore.events"/s, 'fed: there is nothing to repair yet');
$open[0]->query_safe('COMMIT');
$caught_up->($old, $new);
is(sql($new, 'SELECT es_head()'), '0', 'fed: nor later');
sql($new, 'ALTER SUBSCRIPTION from_old DISABLE');
$is_refused->($new, $feeds, 'paused');
is(sql($new, 'SELECT es_head()'), '0', 'paused: it may go on');
sql($new, 'ALTER SUBSCRIPTION from_old ENABLE');

# The cut-over
sql($new, 'DROP SUBSCRIPTION from_old');
$is_read->($new, 'after the cut-over');
is($session->query_safe('SELECT es_head() = max(position) FROM eventstore.events'), 't', 'after the cut-over: a session that was there before knows');
is(sql($new, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT es_head() = max(position) FROM eventstore.events; COMMIT'), 't', 'after the cut-over: in REPEATABLE READ');
$is_refused->($new, $behind, 'after the cut-over');
is(sql($new, q{SELECT count(*) FROM eventstore.events WHERE type = 'Refused'}), 0, 'after the cut-over: nothing of that is stored');
is(sql($new, q{SELECT count(*) FROM es_fetch('mail', 'c')}), '0', 'after the cut-over: a subscription goes on by itself');
is(sql($new, q{SELECT last_value >= (SELECT max(share) FROM eventstore.subscription_shares) FROM eventstore.subscription_tokens}), 't', 'after the cut-over: its tokens, above all that came');
is(sql($new, q{SELECT last_value >= (SELECT max(revision) FROM eventstore.subscription_shares) FROM eventstore.subscription_revisions}), 't', 'after the cut-over: its revisions, too');
sql($new, q{SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream')});
sql($new, q{SELECT es_create_projection('later', 'SELECT category, count(*) AS n FROM events GROUP BY category', 'async')});
like($raised->($new, q{SELECT es_run_projection('later')}), qr/WARNING:  projection "later" waits: positions are behind.*HINT:.*es_repair_positions\(\)/s, 'after the cut-over: async projections wait');
is(sql($new, 'SELECT count(*) FROM later'), 0, 'after the cut-over: for what the DBA has to do');
cmp_ok(sql($new, 'SELECT es_repair_positions()'), '>=', $old_head, 'repaired: positions go on above what was read over there, too');
$append->($new, $_) for qw(a-1 b-1 a-2);
is($session->query_safe(q{SELECT es_append('a-1', -1, 'Session', '{}') > 0}), 't', 'repaired: a session that was there before appends');
$is_read->($new, 'repaired');
is_sound($new, 'repaired');
is(sql($new, q{SELECT string_agg(stream || version, ' ' ORDER BY position) FROM es_fetch('mail', 'c')}), 'a-14 a-21 a-15', 'repaired: the subscription goes on, and gets all that is new');
sql($new, q{SELECT es_release('mail', 'c')});
is(sql($new, q{SELECT count(*) FROM es_verify_projection('counts')}), 0, 'repaired: a projection that was made before has every event once');
is(sql($new, q{SELECT es_run_projection('later') = count(*) FROM eventstore.events}), 't', 'repaired: and async ones are applied');
sql($new, q{SELECT es_drop_projection('later', true)});
$new->stop('immediate');
$new->start;
$append->($new, 'b-1');
$is_read->($new, 'after a crash');
is_sound($new, 'after a crash');

# And back: the old store has appended itself, and its sessions know that its positions are right.
sql($old, 'DROP PUBLICATION moved');
sql($new, 'CREATE PUBLICATION moved FOR TABLE eventstore.events, eventstore.streams WITH (publish_via_partition_root = true)');
my $told = sql($old, 'SELECT es_head()');
$open[1]->query_safe(q{SELECT es_append('z-1', -1, 'Nobody', '{}')});
is($open[1]->query_safe('SELECT es_last_position() <= max(position) FROM eventstore.events'), 't', 'the old store appends');
sql($old, q{SELECT es_append('z-2', -1, 'Nobody', '{}')});
sql($new, 'SELECT es_repair_positions(above => ' . sql($old, 'SELECT last_value FROM eventstore.positions') . ')');
$replicate->($new, $old, 'from_new', 'copy_data = false');
$append->($new, $_) for qw(n-1 n-2 n-1);
becomes($old, q{SELECT count(*) FROM eventstore.events WHERE category = 'n'}, 3, 'what is new comes back');
$open[1]->query(q{SELECT es_append('z-1', -1, 'Refused', '{}')});
like($open[1]->{stderr}, $feeds, 'back: a session that has appended before is refused');
$open[1]->{stderr} = '';
$is_refused->($old, $feeds, 'back');
sql($old, 'DROP SUBSCRIPTION from_new');
$is_refused->($old, $behind, 'back, cut over');
$is_read->($old, 'back, cut over');
sql($old, 'SELECT es_repair_positions()');
$append->($old, 'n-1');
is($open[1]->query_safe(q{SELECT es_append('z-1', -1, 'Session', '{}')}), 2, 'back, repaired: the session appends');
$is_read->($old, 'back, repaired');
is(sql($old, q{SELECT version FROM es_read('n-1') e WHERE NOT EXISTS (SELECT FROM es_read('n-1') later WHERE later.version > e.version AND later.position < e.position)}), "1\n2\n3", 'back, repaired: a stream is in order');

# Dumps: restored without the sequence, in whatever order, and the data alone.
my $folder = PostgreSQL::Test::Utils::tempdir();
sql($new, q{SELECT es_drop_projection('counts', true); DROP PUBLICATION moved});
$new->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", 'postgres' ], 'dumped');
my ($list) = run_command([ 'pg_restore', '-l', "$folder/dump" ]);
my @entries = split /\n/, $list;
my @sequence = grep { /SEQUENCE SET eventstore positions/ } @entries;
is(scalar @sequence, 1, 'with the sequence');
my $restore = sub {
	my ($database, @lists) = @_;
	sql($new, "CREATE DATABASE $database TEMPLATE template0");
	for my $entries (@lists)
	{
		my $file = "$folder/$database.list";
		unlink $file;
		PostgreSQL::Test::Utils::append_to_file($file, join("\n", @$entries) . "\n");
		$new->command_ok([ 'pg_restore', '--exit-on-error', '-d', $database, '-L', $file, "$folder/dump" ], "restored into $database");
	}
};
my @without = grep { !/SEQUENCE SET eventstore positions/ } @entries;
my @before = grep { !/TABLE DATA|SEQUENCE SET/ } @entries;
my @data = grep { /TABLE DATA/ } @entries;
my $last = sql($new, 'SELECT max(position) FROM eventstore.events');

$restore->('without', \@without);
$is_read->($new, 'without the sequence', 'without');
$is_refused->($new, $behind, 'without the sequence', 'without');
cmp_ok(sql($new, 'SELECT es_repair_positions()', 'without'), '>=', $last, 'without the sequence: repaired');
cmp_ok(sql($new, q{SELECT es_append('a-1', -1, 'After', '{}'); SELECT position FROM es_last_event('a-1')}, 'without') =~ s/.*\n//r, '>', $last, 'without the sequence: it goes on');

$restore->('first', \@before, \@sequence, \@data);
$is_read->($new, 'the sequence first', 'first');
cmp_ok(sql($new, q{SELECT es_append('a-1', -1, 'After', '{}'); SELECT position FROM es_last_event('a-1')}, 'first') =~ s/.*\n//r, '>', $last, 'the sequence first: it goes on');

# A store that was used, for nothing that stayed, before the events came.
sql($new, 'CREATE DATABASE used TEMPLATE template0');
sql($new, 'CREATE EXTENSION eventstore', 'used');
my $user = session($new, 'used');
$user->query_safe(q{BEGIN; SELECT es_append('a-1', -1, 'Gone', '{}'); ROLLBACK});
my $file = "$folder/used.list";
PostgreSQL::Test::Utils::append_to_file($file, join("\n", grep { !/es_catalog/ } @data) . "\n");
$new->command_ok([ 'pg_restore', '--exit-on-error', '--data-only', '-d', 'used', '-L', $file, "$folder/dump" ], 'the data alone, into a store that was used');
$is_read->($new, 'the data alone', 'used');
$user->query(q{SELECT es_append('a-1', -1, 'Refused', '{}')});
like($user->{stderr}, $behind, 'the data alone: a session that has appended before is refused');
$user->{stderr} = '';
$is_refused->($new, $behind, 'the data alone', 'used');
sql($new, 'SELECT es_repair_positions()', 'used');
is($user->query_safe(q{SELECT es_append('a-1', -1, 'After', '{}') > 0}), 't', 'the data alone: repaired');
is_sound($new, 'the data alone', 'used');
eval { $_->quit } for @open, $session, $user;

done_testing();
