# A rebuild in both modes while four clients append and two watch an invariant; killed, and the server stopped at once, in the middle.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('rebuild', "shared_preload_libraries = 'eventstore'", 'max_worker_processes = 20');

# Each event moves an amount from one of ten accounts to another, so that after every event the balances add up to nothing.
my $moves = q{SELECT a.account, sum(a.amount) AS balance, count(*) AS moves
	FROM events, LATERAL (VALUES (data->>'from', -(data->>'amount')::int), (data->>'to', (data->>'amount')::int)) AS a (account, amount) GROUP BY a.account};
sql($node, <<"SQL");
	SELECT es_append('move-' || i % 20, -1, 'Moved', jsonb_build_object('from', i % 10, 'to', (i * 7 + 1) % 10, 'amount', i)) FROM generate_series(1, 5500) i;
	SELECT es_create_projection('now', \$\$$moves\$\$);
	SELECT es_create_projection('soon', \$\$$moves\$\$, 'async');
	CREATE TABLE handled (account text PRIMARY KEY, balance bigint, moves bigint);
	SELECT es_create_projection('handled', \$\$INSERT INTO public.handled AS h SELECT * FROM ($moves) AS m ORDER BY account
		ON CONFLICT (account) DO UPDATE SET balance = h.balance + excluded.balance, moves = h.moves + excluded.moves\$\$, tables => '{handled}');
SQL
my $differs = sub { sql($node, "SELECT count(*) FROM es_verify_projection('$_[0]')") };
becomes($node, q{SELECT count(*) FROM soon}, 10, 'async: applied');

sub start_clients
{
	my ($clients, $seconds, $script, $out) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/clients.sql';
	PostgreSQL::Test::Utils::append_to_file($file, $script);
	return IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-j', 1, '-T', $seconds, '-f', $file, $node->connstr('postgres') ], '>', $out, '2>', $out);
}

my ($written, $watched) = ('', '');
my $writers = start_clients(4, 5, <<'SQL', \$written);
\set stream random(1, 30)
\set from random(0, 9)
\set to random(0, 9)
SELECT es_append('move-' || :stream, -1, 'Moved', jsonb_build_object('from', :from, 'to', :to, 'amount', 7));
SQL
my $readers = start_clients(2, 5, <<'SQL', \$watched);
SELECT 1 / CASE WHEN count(*) = 10 AND sum(balance) = 0 AND sum(moves) >= 11000 THEN 1 ELSE 0 END FROM now;
SELECT 1 / CASE WHEN count(*) = 10 AND sum(balance) = 0 AND sum(moves) >= 11000 THEN 1 ELSE 0 END FROM soon;
SELECT 1 / CASE WHEN count(*) = 10 AND sum(balance) = 0 AND sum(moves) >= 11000 THEN 1 ELSE 0 END FROM handled;
\sleep 2ms
SQL
my $until = time + 4;
my $rebuilds = 0;
my $wrong = '';
while (time < $until)
{
	for my $name (qw(now soon handled))
	{
		my ($status, $out, $err) = $node->psql('postgres', "SELECT es_rebuild_projection('$name')");
		$wrong .= "$name: $err\n" if $status != 0;
		$wrong .= "$name differs\n" if $differs->($name) ne '0';
		$rebuilds++;
	}
}
$writers->finish;
$readers->finish;
is($wrong, '', "$rebuilds rebuilds while others append, and a look at each");
cmp_ok($rebuilds, '>=', 3, 'each at least once');
unlike($written, qr/abort|error/i, 'nobody who appends is disturbed') or diag($written);
unlike($watched, qr/abort|error/i, 'and nobody who reads sees half of it') or diag($watched);
my $events = sql($node, 'SELECT count(*) FROM eventstore.events');
cmp_ok($events, '>', 5600, 'there were appends');
becomes($node, q{SELECT sum(moves) FROM soon}, 2 * $events, 'async: nothing is lost or applied twice');
is(sql($node, 'SELECT sum(moves) FROM now'), 2 * $events, 'inline: the same');
is(sql($node, 'SELECT sum(moves) FROM handled'), 2 * $events, 'handler: the same');
is($differs->($_), 0, "$_ is right") for qw(now soon handled);
is_sound($node, 'after rebuilds');

# One that takes its time; in a replay only.
sql($node, <<'SQL');
	CREATE TABLE slow (position bigint PRIMARY KEY);
	CREATE FUNCTION slowly(bigint) RETURNS bigint LANGUAGE plpgsql AS $$
	BEGIN
		IF to_regclass('pg_temp.slow') IS NOT NULL AND $1 = 1 THEN
			PERFORM pg_sleep(current_setting('test.seconds')::float);
		END IF;
		RETURN $1;
	END $$;
	SELECT es_create_projection('slow', 'INSERT INTO slow SELECT slowly(position) FROM events', tables => '{slow}');
	DELETE FROM slow WHERE position <= 10;
SQL
my $slow_is = sub {
	my ($missing, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql($node, "SET test.seconds = 0; SELECT count(*), max(kind) FROM es_verify_projection('slow')"), $missing ? "$missing|missing" : '0|', $name);
};
my ($status, $out, $err) = $node->psql('postgres', q{SET test.seconds = 2.1; SELECT es_rebuild_projection('slow'); ROLLBACK});
like($err, qr/^psql:\S+ NOTICE:  rebuilding projection "slow": 1000 of $events events$/m, 'it tells how far it is');
is($status, 0, 'and gets there');
$slow_is->(0, 'rebuilt');
sql($node, 'DELETE FROM slow WHERE position <= 10');

my $start = sub {
	my $session = session($node);
	$session->query_safe(q{SET test.seconds = 60});
	send_query($session, q{SELECT es_rebuild_projection('slow')});
	becomes($node, q{SELECT state, rebuild_pid IS NOT NULL, rebuild_events_done, rebuild_events_total FROM eventstore.projection_status WHERE name = 'slow'},
		"rebuilding|t|0|$events", 'being rebuilt');
	return $session;
};
my $session = $start->();
is(sqlstate($node, q{SELECT es_rebuild_projection('slow')}), '55006', 'not by two');
sql($node, q{SELECT es_append('move-1', -1, 'Moved', '{"from": 1, "to": 2, "amount": 1}')});
$events++;
sql($node, q{SELECT pg_terminate_backend(rebuild_pid, 10000) FROM eventstore.projection_status WHERE name = 'slow'});
is(sql($node, q{SELECT state FROM eventstore.projection_status WHERE name = 'slow'}), 'running', 'ended: it is no more');
$slow_is->(10, 'everything is as it was');
is(sql($node, 'SELECT max(position) = es_head() FROM slow'), 't', 'and appends were applied');
eval { $session->quit };

$session = $start->();
$node->stop('immediate');
$node->start;
eval { $session->quit };
$slow_is->(10, 'after a stop at once: everything is as it was');
sql($node, q{SELECT es_append('move-1', -1, 'Moved', '{"from": 1, "to": 2, "amount": 1}')});
is(sql($node, q{SET test.seconds = 0; SELECT es_rebuild_projection('slow')}), $events + 1, 'it can be rebuilt');
$slow_is->(0, 'and is right');

# An append that stays open holds a rebuild up for lock_timeout, and nobody else for long (but who changes the same rows of the read table).
my $open = session($node);
$open->query_safe(q{BEGIN; SELECT es_append('move-99', -1, 'Moved', '{"from": 8, "to": 9, "amount": 1}')});
$session = session($node);
send_query($session, q{SET lock_timeout = '1min'; SELECT es_rebuild_projection('now')});
my $held_up = q{SELECT count(*) FROM pg_stat_activity WHERE query ~ 'rebuild_projection' AND pid <> pg_backend_pid() AND state = 'active'};
becomes($node, $held_up, 1, 'held up');
my @times;
for (1 .. 9)
{
	my $begun = time;
	sql($node, q{SELECT es_append('move-98', -1, 'Moved', '{"from": 1, "to": 2, "amount": 1}')});
	push @times, time - $begun;
}
is(sql($node, $held_up), 1, 'others append meanwhile');
cmp_ok((sort { $a <=> $b } @times)[4], '<', 1, 'and do not wait long for it'); # in the middle: the machine may be busy
sql($node, q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query ~ 'rebuild_projection' AND pid <> pg_backend_pid() AND state = 'active'});
$session->query('');
$session->{stderr} = '';
$session->query(q{SET lock_timeout = '500ms'; SELECT es_rebuild_projection('now')});
like($session->{stderr}, qr/canceling statement due to lock timeout/, 'until lock_timeout');
$open->query_safe('COMMIT');
is($differs->('now'), 0, 'nothing has changed');
$_->quit for $session, $open;

done_testing();
