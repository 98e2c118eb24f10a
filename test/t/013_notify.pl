# NOTIFY without the worker: the appending transaction sends it, once a channel, at commit; and the names of channels.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('notify');
my ($listener, $session) = (session($node), session($node));
my $head = sub { sql($node, 'SELECT es_head()') };
my $append = sub { "SELECT es_append('$_[0]', -1, 'Appended', '{}');" };

# What the listener was told since the last time, as 'channel payload', in order of channels.
my $told = sub {
	return join ', ', sort map { "$_->{channel} $_->{payload}" } notifications($node, $listener, 'eventstore');
};
# What the listener should be told of the head and of these categories.
my $all = sub {
	my ($payload, @categories) = @_;
	return join ', ', map { "$_ $payload" } 'eventstore', map { "eventstore_c_$_" } @categories;
};
$listener->query_safe("LISTEN eventstore; LISTEN eventstore_c_$_") for qw(a b c);

$session->query_safe($append->('a-1'));
is($told->(), $all->($head->(), 'a'), 'an append: its category and all');
$session->query_safe("BEGIN; @{[$append->('a-1')]} @{[$append->('a-2')]} @{[$append->('a-1')]} @{[$append->('b-1')]} @{[$append->('x-1')]} COMMIT");
is($told->(), $all->($head->(), 'a', 'b'), 'five appends in a transaction: once a channel');
$session->query_safe(q{SELECT count(*) FROM es_append_streams('[{"stream": "c-1", "expected_version": -1, "events": [{"type": "A"}, {"type": "B"}]}, {"stream": "b-1", "expected_version": -1, "events": {"type": "A"}}]')});
is($told->(), $all->($head->(), 'b', 'c'), 'several streams in a call: once a channel');
for my $isolation ('REPEATABLE READ', 'SERIALIZABLE')
{
	$session->query_safe("BEGIN ISOLATION LEVEL $isolation; @{[$append->('a-1')]} COMMIT");
	is($told->(), $all->($head->(), 'a'), "$isolation, too");
}

$session->query_safe("BEGIN; @{[$append->('a-1')]} ROLLBACK");
is($told->(), '', 'a rollback sends nothing');
$session->query_safe("BEGIN; @{[$append->('a-1')]} SAVEPOINT s; @{[$append->('b-1')]} SAVEPOINT t; @{[$append->('c-1')]} RELEASE t; ROLLBACK TO s; COMMIT");
is($told->(), $all->($head->(), 'a'), 'what was rolled back to a savepoint is not told');
$session->query_safe("BEGIN; SAVEPOINT s; @{[$append->('b-1')]} ROLLBACK TO s; COMMIT");
is($told->(), '', 'nor is anything, if that was all');
$session->query_safe("BEGIN; SAVEPOINT s; @{[$append->('b-1')]} RELEASE s; SAVEPOINT s; @{[$append->('c-1')]} ROLLBACK TO s; @{[$append->('c-1')]} COMMIT");
is($told->(), $all->($head->(), 'b', 'c'), 'what was released, or appended again, is');
$session->query(q{BEGIN; SELECT es_append('a-1', 777, 'Refused', '{}')});
$session->{stderr} = '';
$session->query_safe('COMMIT');
is($told->(), '', 'a refused append sends nothing');
is(sqlstate($node, q{SELECT 1 FROM es_read_all(); SELECT es_head(); SELECT es_assert_version('a-9', 0)}), '', 'reading and asserting');
is($told->(), '', 'sends nothing');

# An exact retry stores nothing, so there is nothing to tell.
my $with_id = q{SELECT es_append('a-1', -1, 'Given', '{}', NULL, '0190a000-0000-7000-8000-000000000001');};
$session->query_safe($with_id);
is($told->(), $all->($head->(), 'a'), 'an append with an id');
$session->query_safe($with_id);
is($told->(), '', 'an exact retry sends nothing');

# Subtransactions: what has to be told is kept once a category, however many append to it and are rolled back, and their ends do not walk
# through what others have appended.
sql($node, <<'SQL');
	CREATE FUNCTION transaction_memory() RETURNS bigint LANGUAGE sql AS
		$$ SELECT total_bytes FROM pg_backend_memory_contexts WHERE name = 'TopTransactionContext' $$;
	CREATE FUNCTION append_in_blocks(first int, last int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN first .. last LOOP
			BEGIN
				PERFORM es_append('many' || i % 40 || '-1', -1, 'Appended', '{}');
				IF i % 7 = 0 THEN
					PERFORM es_append('never' || i % 50 || '-1', -1, 'Lost', '{}');
					RAISE division_by_zero;
				END IF;
			EXCEPTION WHEN division_by_zero THEN
				NULL;
			END;
		END LOOP;
	END $$;
SQL
$listener->query_safe("LISTEN eventstore_c_many$_; LISTEN eventstore_c_never$_") for 0 .. 49;
my (undef, $memory_before, undef, $memory_after) = split /\n/, $session->query_safe(
	'BEGIN; SELECT append_in_blocks(1, 1000); SELECT transaction_memory(); SELECT append_in_blocks(1001, 21000); SELECT transaction_memory(); COMMIT');
note("the transaction's memory: $memory_before bytes after 1,000 subtransactions, $memory_after after 21,000");
cmp_ok($memory_after - $memory_before, '<', 20000 * 30, 'subtransactions: what has to be told does not grow with their number');
is($told->(), $all->($head->(), sort map { "many$_" } 0 .. 39), 'and each category is told once, none that was rolled back');
$session->query_safe("BEGIN; SAVEPOINT s; SAVEPOINT t; @{[$append->('b-1')]} RELEASE t; @{[$append->('c-1')]} ROLLBACK TO s; @{[$append->('a-1')]} SAVEPOINT t; @{[$append->('a-2')]} @{[$append->('c-1')]} ROLLBACK TO t; COMMIT");
is($told->(), $all->($head->(), 'a'), 'what was released goes with what it was released into; what was there before stays');

# With a lower append open: the payload is what can be read; who was open tells the rest.
my ($before, $open) = ($head->(), session($node));
$open->query_safe("BEGIN; @{[$append->('b-1')]}");
$session->query_safe($append->('a-1'));
is($told->(), $all->($before, 'a'), 'below an open append the payload stays');
$open->query_safe('COMMIT');
is($told->(), $all->($head->(), 'b'), 'and its commit tells the rest');
cmp_ok($head->(), '>', $before, 'which is more');
$open->quit;

# Every payload can be read up to when it arrives, whoever commits when.
my @channels = map { "eventstore_c_race$_" } 0 .. 3;
$listener->query_safe("LISTEN $_") for @channels;
race($node, 'listening', 4, 100, "BEGIN;\nSELECT es_append('race' || :client_id || '-1', -1, 'A', '{}');\n\\sleep 1 ms\nCOMMIT;");
my @notifications = notifications($node, $listener, 'eventstore');
my $mine = grep { $_->{channel} eq 'eventstore' } @notifications;
cmp_ok($mine, '<=', 400, "listening: $mine notifications of 400 appends");
is((sort { $b <=> $a } map { $_->{payload} } @notifications)[0], $head->(), 'listening: the greatest payload is the head');
is(join(' ', sort keys %{ { map { $_->{channel} => 1 } grep { $_->{channel} =~ /race/ } @notifications } }), "@channels", 'listening: every category was told');

# The switch: for a session, for all.
$session->query_safe("SET eventstore.notify = off; @{[$append->('a-1')]}");
is($told->(), '', 'switched off: nothing');
$session->query_safe("SET eventstore.notify = on; @{[$append->('a-1')]}");
is($told->(), $all->($head->(), 'a'), 'switched on again');
sql($node, 'ALTER DATABASE postgres SET eventstore.notify = off');
sql($node, $append->('a-1'));
is($told->(), '', 'switched off for the database, in sessions where the library was not loaded yet');
sql($node, 'ALTER DATABASE postgres RESET eventstore.notify');
is(sqlstate($node, 'SELECT es_head(); SET eventstore.nonsense = 1'), '42602', 'an unknown setting is refused');
isnt(sqlstate($node, 'SELECT es_head(); SET eventstore.notify = sometimes'), '', 'and a value that is none');

# PREPARE TRANSACTION refuses transactions that have sent NOTIFY; appending is not sending.
is(sqlstate($node, "BEGIN; @{[$append->('a-1')]} PREPARE TRANSACTION 'told'"), '', 'PREPARE TRANSACTION after an append works');
is($told->(), '', 'and sends nothing');
is(sqlstate($node, q{COMMIT PREPARED 'told'}), '', 'COMMIT PREPARED, too');
$session->query_safe($append->('a-1'));
is((split / /, $told->())[1], $head->() . ',', 'and the next append tells of it');

# DROP EXTENSION in a transaction that has something to tell
sql($node, "BEGIN; @{[$append->('a-1')]} DROP EXTENSION eventstore; COMMIT; CREATE EXTENSION eventstore");
is($told->(), '', 'no store, nothing to tell');
$listener->quit;

# Names of channels.
my @categories = ('a', '', 'A', 'order item', 'ünïcode', q{it''s}, 'a"b', 'a;b', '_', '1', 'SELECT', 'a.b', 'x' x 40, 'x' x 41, 'x' x 500, '☃' x 40, "tab\tand\nline", '%s', '\\');
my %seen;
for my $category (@categories)
{
	my $short = substr $category, 0, 20;
	my $channel = sql($node, "SELECT es_channel('$category')");
	my $listening = session($node);
	like($channel, qr/^[a-z_][a-z0-9_]{0,62}$/, "channel of \"$short\": a plain identifier of at most 63 bytes");
	ok(!$seen{$channel}++, "channel of \"$short\": no other's");
	$listening->query_safe("LISTEN $channel");
	is($listening->query_safe('SELECT pg_listening_channels()'), $channel, "channel of \"$short\": LISTEN takes it without quotes");
	sql($node, "SELECT es_append('$category-1', -1, 'Appended', '{}')");
	is(join(' ', map { "$_->{channel} $_->{payload}" } notifications($node, $listening, $channel)),
		"$channel " . $head->(), "channel of \"$short\": an append is told there");
	$listening->quit;
}
is(sql($node, 'SELECT es_channel()'), 'eventstore', 'the channel of all');
ok(!$seen{eventstore}, "is no category's");
$session->quit;

done_testing();
