# Definitions that change in both modes, and names, while four clients append and others watch an invariant; killed, and the server stopped at once, in
# the middle; dumped and restored.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(time);

my $node = new_node('replace', "shared_preload_libraries = 'eventstore'", 'max_worker_processes = 20', "deadlock_timeout = '200ms'");

# Each event moves an amount from one of ten accounts to another, so that after every event the balances add up to nothing.
my $from = q{FROM events, LATERAL (VALUES (data->>'from', -(data->>'amount')::int), (data->>'to', (data->>'amount')::int)) AS a (account, amount) GROUP BY a.account};
my $basic = "sum(a.amount) AS balance, count(*) AS moves";
my $plain = "SELECT a.account, $basic $from";
my @others = (
	"SELECT a.account, $basic, avg(a.amount) AS mean, count(DISTINCT stream) AS streams $from",
	"SELECT a.account, max(a.amount) AS most, $basic $from",
	"SELECT a.account, $basic, max(a.amount)::text AS most $from");
my $upsert = sub { qq{INSERT INTO public.handled AS h (account, balance, moves, extra) SELECT m.*, $_[0] FROM ($plain) AS m ORDER BY account
	ON CONFLICT (account) DO UPDATE SET balance = h.balance + excluded.balance, moves = h.moves + excluded.moves, extra = $_[0]} };
sql($node, <<"SQL");
	SELECT es_append('move-' || i % 20, -1, 'Moved', jsonb_build_object('from', i % 10, 'to', (i * 7 + 1) % 10, 'amount', i)) FROM generate_series(1, 3000) i;
	SELECT es_create_projection('now', \$\$$plain\$\$, categories => '{move}');
	SELECT es_create_projection('soon', \$\$$plain\$\$, 'async', categories => '{move}');
	CREATE TABLE handled (account text PRIMARY KEY, balance bigint, moves bigint, extra int);
	SELECT es_create_projection('handled', \$\$@{[$upsert->(1)]}\$\$, tables => '{handled}', categories => '{move}');
	ALTER TABLE now ADD note text DEFAULT 'mine';
	UPDATE now SET note = 'mine';
	CREATE TABLE refers (account text REFERENCES now (account) ON DELETE CASCADE);
	INSERT INTO refers SELECT account FROM now;
	CREATE VIEW sees_now AS SELECT account, balance, moves FROM now;
SQL
becomes($node, q{SELECT count(*) FROM soon}, 10, 'async: applied');
sql($node, 'CREATE VIEW sees_soon AS SELECT account, balance, moves FROM soon');
my $differs = sub { sql($node, "SELECT count(*) FROM es_verify_projection('$_[0]')") };

sub start_clients
{
	my ($clients, $seconds, $script, $out) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/clients.sql';
	PostgreSQL::Test::Utils::append_to_file($file, $script);
	return IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-j', 1, '-T', $seconds, '-f', $file, $node->connstr('postgres') ], '>', $out, '2>', $out);
}

# A client that has read the table, appends then: nobody may be caught between the two.
my ($written, $watched, $decided) = ('', '', '');
my $seconds = 9;
my $writers = start_clients(4, $seconds, <<'SQL', \$written);
\set stream random(1, 30)
\set from random(0, 9)
\set to random(0, 9)
SELECT es_append('move-' || :stream, -1, 'Moved', jsonb_build_object('from', :from, 'to', :to, 'amount', 7));
SQL
my $readers = start_clients(2, $seconds, <<'SQL', \$watched);
SELECT 1 / CASE WHEN count(*) = 10 AND sum(balance) = 0 AND sum(moves) >= 6000 THEN 1 ELSE 0 END FROM sees_now;
SELECT 1 / CASE WHEN count(*) = 10 AND sum(balance) = 0 AND sum(moves) >= 6000 THEN 1 ELSE 0 END FROM sees_soon;
SELECT 1 / CASE WHEN count(*) = 10 AND sum(balance) = 0 AND sum(moves) >= 6000 THEN 1 ELSE 0 END FROM handled;
SELECT 1 / CASE WHEN count(*) = 10 THEN 1 ELSE 0 END FROM refers;
\sleep 2ms
SQL
my $deciders = start_clients(1, $seconds, <<'SQL', \$decided);
BEGIN;
SELECT 1 / CASE WHEN sum(balance) = 0 THEN 1 ELSE 0 END FROM sees_now;
SELECT es_append('move-99', -1, 'Moved', '{"from": 1, "to": 2, "amount": 3}');
COMMIT;
\sleep 5ms
SQL
my $until = time + $seconds - 1;
my ($rounds, $changes, $wrong) = (0, 0, '');
my $call = sub {
	my ($status, $out, $err) = $node->psql('postgres', $_[0]);
	$wrong .= "$_[0]: $err\n" if $status != 0;
	$changes++;
};
my ($now, $soon) = ('now', 'soon');
my $rename = sub {
	my ($name, $new) = @_;
	$call->("SELECT es_rename_projection('$name', '$new')");
	return $new;
};
# At least twice, however slow the machine is
do
{
	my $query = $others[ $rounds % 3 ];
	$call->("SELECT es_replace_projection('$_', \$\$$query\$\$)") for $now, $soon;
	$call->("SELECT es_replace_projection('handled', \$\$@{[$upsert->($rounds)]}\$\$)") if $rounds == 0;
	$now = $rename->($now, $now eq 'now' ? 'then' : 'now');
	$soon = $rename->($soon, $soon eq 'soon' ? 'later' : 'soon');
	for my $name ($now, $soon, 'handled')
	{
		$wrong .= "$name differs\n" if $differs->($name) ne '0';
	}
	$rounds++;
} while (time < $until || $rounds < 2);
$_->finish for $writers, $readers, $deciders;
is($wrong, '', "$changes changes in $rounds rounds while others append, and a look at each");
unlike($written, qr/abort|error/i, 'nobody who appends is disturbed') or diag($written);
unlike($watched, qr/abort|error/i, 'nobody who reads sees half of it') or diag($watched);
unlike($decided, qr/abort|error/i, 'nor who reads and then appends') or diag($decided);
my $events = sql($node, 'SELECT count(*) FROM eventstore.events');
cmp_ok($events, '>', 3050, 'there were appends');
becomes($node, 'SELECT sum(moves) FROM sees_soon', 2 * $events, 'async: nothing is lost or applied twice');
is(sql($node, 'SELECT sum(moves) FROM sees_now'), 2 * $events, 'inline: the same');
is(sql($node, 'SELECT sum(moves) FROM handled'), 2 * $events, 'handler: the same');
is(sql($node, qq{SELECT count(*) FROM "$now" WHERE note = 'mine'}), 10, "the owner's column is as it was");
$now = $rename->($now, 'now') if $now ne 'now';
$soon = $rename->($soon, 'soon') if $soon ne 'soon';
is(sql($node, q{SELECT string_agg(name, ' ' ORDER BY name) FROM eventstore.projections}), 'handled now soon', 'the names of the beginning');
is(sql($node, q{SELECT count(*) FROM pg_class WHERE relname ~ '^(now|then|soon|later)_(state|values)' AND relkind = 'r'}),
	sql($node, q{SELECT sum(cardinality(tables) - 1) FROM eventstore.projections}), 'nothing is left of what they were in between');
is_sound($node, 'after the changes');

# In the middle: while it replays, and after it has altered everything.
sql($node, <<'SQL');
	CREATE FUNCTION slowly(bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		PERFORM pg_sleep(coalesce(current_setting('test.seconds', true)::float8, 0));
		RETURN $1;
	END $$;
SQL
my $definition = q{SELECT p.query, p.tables, p.state, (SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = p.name::regclass AND attnum > 0 AND NOT attisdropped)
	FROM eventstore.projections p WHERE p.name IN ('now', 'soon') ORDER BY 1, 2};
sql($node, qq{SELECT es_replace_projection('$_', \$\$$others[0]\$\$)}) for qw(now soon);
my $before = sql($node, $definition);
my $slow = "SELECT a.account, $basic, max(slowly(position)) AS most $from";
my $as_it_was = sub {
	my ($how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql($node, $definition), $before, "$how: everything is as it was");
	sql($node, q{SELECT es_append('move-1', -1, 'Moved', '{"from": 1, "to": 2, "amount": 1}')});
	$events++;
	becomes($node, q{SELECT sum(moves) FROM soon}, 2 * $events, "$how: async goes on");
	is($differs->($_), 0, "$how: $_ is right") for qw(now soon);
};
for my $name (qw(now soon))
{
	for my $how ('cancelled', 'ended', 'stopped at once')
	{
		my $session = session($node);
		$session->query_safe(q{SET test.seconds = 60});
		send_query($session, qq{SELECT es_replace_projection('$name', \$\$$slow\$\$)});
		becomes($node, qq{SELECT state FROM eventstore.projection_status WHERE name = '$name'}, 'rebuilding', "$name: being replaced");
		is(sqlstate($node, qq{SELECT es_replace_projection('$name', \$\$$plain\$\$)}), '55006', 'not by two');
		if ($how eq 'stopped at once')
		{
			$node->stop('immediate');
			$node->start;
		}
		else
		{
			my $function = $how eq 'ended' ? 'pg_terminate_backend' : 'pg_cancel_backend';
			sql($node, qq{SELECT $function(rebuild_pid) FROM eventstore.projection_status WHERE name = '$name'});
			becomes($node, qq{SELECT state FROM eventstore.projection_status WHERE name = '$name'}, 'running', 'it is no more');
		}
		eval { $session->quit };
		$as_it_was->("$name, $how");
	}
	for my $how ('ended', 'stopped at once')
	{
		my $session = session($node);
		$session->query_safe(qq{BEGIN; SELECT es_replace_projection('$name', \$\$SELECT a.account, $basic, min(a.amount) AS least $from\$\$); SELECT es_rename_projection('$name', 'elsewhere')});
		my $pid = $session->query_safe('SELECT pg_backend_pid()');
		if ($how eq 'ended') { sql($node, "SELECT pg_terminate_backend($pid, 60000)") }
		else
		{
			$node->stop('immediate');
			$node->start;
		}
		eval { $session->quit };
		$as_it_was->("$name, changed, $how");
	}
}
# An event that the new query fails at
is(sqlstate($node, qq{SELECT es_replace_projection('now', \$\$SELECT a.account, $basic, max(1 / (version - 2)) AS q $from\$\$)}), 'SE006', 'a query that fails');
$as_it_was->('failed');

# What is committed survives the server.
sql($node, qq{SELECT es_replace_projection('now', \$\$$others[1]\$\$), es_replace_projection('soon', \$\$$others[1]\$\$), es_rename_projection('now', 'Now'), es_rename_projection('soon', 'Soon')});
$node->stop('immediate');
$node->start;
sql($node, q{SELECT es_append('move-1', -1, 'Moved', '{"from": 1, "to": 2, "amount": 1}')});
$events++;
becomes($node, q{SELECT sum(moves) FROM "Soon"}, 2 * $events, 'after a stop at once: async goes on under its new name');
is(sql($node, q{SELECT sum(moves) FROM "Now"}), 2 * $events, 'inline, too');
is($differs->($_), 0, "$_ is right") for qw(Now Soon);

# By the runners: one that has stopped at an event is replaced, and goes on.
sql($node, q{SELECT es_create_projection('ratios', $$SELECT category, sum(10 / (data->>'per')::int) AS r FROM events GROUP BY category$$, 'async', categories => '{ratio}')});
sql($node, q{SELECT es_append('ratio-1', -1, 'Given', '{"per": 5}'), es_append('ratio-1', -1, 'Given', '{"per": 0}'), es_append('ratio-1', -1, 'Given', '{"per": 1}')});
becomes($node, q{SELECT state FROM eventstore.projection_status WHERE name = 'ratios'}, 'failed', 'one that has stopped');
sql($node, q{SELECT es_rename_projection('ratios', 'shares')});
is(sql($node, q{SELECT state, last_error FROM eventstore.projection_status WHERE name = 'shares'}), 'failed|division by zero', 'renamed, it still has');
sql($node, q{SELECT es_replace_projection('shares', $$SELECT category, sum(10 / nullif((data->>'per')::int, 0)) AS r FROM events GROUP BY category$$)});
sql($node, q{SELECT es_append('ratio-1', -1, 'Given', '{"per": 2}')});
becomes($node, q{SELECT r FROM shares}, 17, 'and replaced, it goes on');

# Dumped and restored: moved tables are found, and can be moved again.
sql($node, <<"SQL");
	CREATE SCHEMA rpt;
	CREATE SCHEMA "other schema";
	SELECT es_create_projection('rpt.moves', 'SELECT stream, avg(version) AS mean, count(*) AS n FROM events GROUP BY stream');
	ALTER TABLE "Now" RENAME TO "moved away";
	ALTER TABLE "moved away" SET SCHEMA "other schema";
	ALTER TABLE handled ADD note text;
SQL
my $projections = q{SELECT name, query, tables, mode, state FROM eventstore.projections ORDER BY 1};
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'restored');
is(sql($node, $projections, 'copy'), sql($node, $projections), 'the same projections');
my $append = q{SELECT es_append('move-1', -1, 'Moved', '{"from": 1, "to": 2, "amount": 1}') > 0};
my $are_right = sub {
	my ($how) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	sql($node, $append, 'copy');
	sql($node, q{SELECT es_run_projection(name) FROM eventstore.projections WHERE mode = 'async' ORDER BY name}, 'copy');
	is(sql($node, q{SELECT string_agg(name, ' ') FROM eventstore.projections p WHERE EXISTS (SELECT FROM es_verify_projection(p.name))}, 'copy'), '', "restored: $how");
};
$are_right->('they go on');
sql($node, <<"SQL", 'copy');
	ALTER TABLE "other schema"."moved away" RENAME TO again;
	ALTER SCHEMA "other schema" RENAME TO plain;
	SELECT es_rename_projection('Soon', 'soon'), es_rename_projection('rpt.moves', 'plain.moves');
SQL
$are_right->('renamed and moved');
is(sql($node, q{SELECT string_agg(t, ' ' ORDER BY t COLLATE "C") FROM eventstore.projections, unnest(tables) t}, 'copy'), 'plain.again plain.moves plain.moves_state public.handled public.shares public.soon', 'under these names');
sql($node, qq{SELECT es_replace_projection('$_', \$\$$others[0]\$\$)}, 'copy') for qw(Now soon);
sql($node, q{SELECT es_replace_projection('plain.moves', 'SELECT stream, count(*) AS n FROM events GROUP BY stream')}, 'copy');
$are_right->('replaced');
sql($node, 'DROP TABLE plain.again CASCADE; DROP TABLE plain.moves', 'copy');
is(sqlstate($node, $append, 'copy'), 'SE006', 'tables dropped by hand');
sql($node, q{SELECT es_rebuild_projection('Now'), es_rebuild_projection('plain.moves')}, 'copy');
$are_right->('made anew');
sql($node, q{SELECT es_drop_projection('plain.moves', true); DROP EXTENSION eventstore CASCADE}, 'copy');

done_testing();
