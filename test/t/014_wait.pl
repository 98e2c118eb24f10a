# es_wait: it uses no CPU, can be ended, leaves nothing behind, wakes everybody, and holds no state that a pooler would lose.
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

my $node = new_node('wait', 'fsync = off', 'max_connections = 130');
my $head = sub { sql($node, 'SELECT es_head()') };
my $append = sub { sql($node, "SELECT es_append('$_[0]', -1, 'Appended', '{}')") };
my $wait = sub { 'SELECT es_wait(' . join(', ', map { "'$_'" } @_) . ')' };
# Waits until that many sessions sleep in es_wait.
my $until_asleep = sub {
	my ($count) = @_;
	$node->poll_query_until('postgres', <<"SQL") or die 'they do not sleep';
		SELECT count(*) = $count FROM pg_stat_activity
		WHERE query LIKE '%es_wait(%' AND state = 'active' AND wait_event_type = 'Extension' AND pid <> pg_backend_pid()
SQL
};
my $locks = q{SELECT count(*) FROM pg_locks WHERE locktype = 'userlock'};

$append->('a-1');
my $session = session($node);
my $pid = $session->query_safe('SELECT pg_backend_pid()');

# On timeout, NULL, and not before its time.
my $begun = time;
is($session->query_safe($wait->($head->(), '300 ms')), '', 'NULL on timeout');
cmp_ok(time - $begun, '>=', 0.29, 'not before its time');
$begun = time;
is($session->query_safe($wait->($head->(), '0')), '', 'a timeout of 0 looks once');
is($session->query_safe($wait->($head->() - 1, '1 min')), $head->(), 'what is there already is told at once');
cmp_ok(time - $begun, '<', $soon, 'without waiting');
is($session->query_safe($locks), 0, 'and nothing is left of it');

# A century is a time like others.
for my $timeout ('100 years', '1 day', '1 min')
{
	my $before = $head->();
	send_query($session, $wait->($before, $timeout));
	$until_asleep->(1);
	$append->('a-1');
	is_woken($session, $before + 1, "woken from $timeout by an append");
}

# No CPU: what the backend has used, in clock ticks of 10 ms. A tick is charged as a whole to whoever runs when it comes, and who sleeps for a
# time wakes with it; so the least of some measurements counts.
SKIP:
{
	skip 'no /proc here', 2 unless -r "/proc/$pid/stat";
	my $used = sub { my @f = split / /, PostgreSQL::Test::Utils::slurp_file("/proc/$pid/stat") =~ s/.*\) //sr; return $f[11] + $f[12] };
	my $before = $head->();
	for my $prepared (0, 1)
	{
		sql($node, q{BEGIN; SELECT es_append('p-1', -1, 'Prepared', '{}'); PREPARE TRANSACTION 'held'}) if $prepared;
		send_query($session, $wait->($before, '1 min'));
		$until_asleep->(1);
		my $least = 'inf';
		for (1 .. 5)
		{
			my $ticks = -$used->();
			sleep 3;
			$ticks += $used->();
			$least = $ticks if $ticks < $least;
			last if $least <= 5;
		}
		cmp_ok($least, '<=', 5, 'three seconds of waiting cost ' . 10 * $least . ' ms' . ($prepared ? ', with a prepared transaction to look at' : ''));
		if ($prepared) { sql($node, q{COMMIT PREPARED 'held'}) } else { sql($node, "SELECT pg_cancel_backend($pid)") }
		$session->query('');
		$session->{stderr} = '';
	}
}

# What moves the head without telling: a prepared transaction is ended by a session that has not loaded the library.
for my $end ('COMMIT', 'ROLLBACK')
{
	my $before = $head->();
	send_query($session, $wait->($before, '1 min'));
	$until_asleep->(1);
	# Prepared while it sleeps: then it has to begin to look.
	sql($node, q{BEGIN; SELECT es_append('p-1', -1, 'Prepared', '{}'); PREPARE TRANSACTION 'held'});
	$append->('a-1');
	is($head->(), $before, "$end PREPARED: held");
	sql($node, "$end PREPARED 'held'");
	is_woken($session, $before + 2, "$end PREPARED wakes");
}

# In a category: others' events do not end it.
my $before = $head->();
send_query($session, $wait->($before, '1 min', 'b'));
$until_asleep->(1);
$append->('a-1') for 1 .. 5;
sleep 0.1;
$until_asleep->(1);
$append->('b-1');
is_woken($session, $before + 6, 'a category: only its own events end it');
is($session->query_safe($wait->($before + 6, '100 ms', 'b')), '', 'and what is at the position or below does not count');
is($session->query_safe($wait->(0, '0', 'never')), '', 'a category without events');

# Its own open append cannot be waited for.
is($session->query_safe(qq{BEGIN; SELECT es_append('a-1', -1, 'Own', '{}') > 0; @{[$wait->($before + 6, '100 ms')]}; COMMIT}), "t\n", 'its own open append: NULL on timeout');

# Ended by others
$before = $head->();
for my $end ("SELECT pg_cancel_backend($pid)", "SELECT pg_terminate_backend($pid, 10000)")
{
	send_query($session, $wait->($before, '1 min'));
	$until_asleep->(1);
	$begun = time;
	sql($node, $end);
	if ($end =~ /cancel/)
	{
		$session->query('');
		like($session->{stderr}, qr/canceling statement due to user request/, 'can be cancelled');
		$session->{stderr} = '';
		is($session->query_safe($wait->($before - 1, '0')), $before, 'and the session goes on');
	}
	else
	{
		is(sql($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid"), 0, 'can be terminated');
	}
	cmp_ok(time - $begun, '<', $soon, 'at once');
	is(sql($node, $locks), 0, 'and nothing is left of it');
}
eval { $session->quit };
is(sqlstate($node, "SET statement_timeout = '100ms'; " . $wait->($before, '1 min')), '57014', 'statement_timeout ends it');
is(sql($node, <<"SQL"), "0\n0", 'and in a savepoint nothing is left of it, either');
	BEGIN;
	SAVEPOINT s;
	SET LOCAL statement_timeout = '100ms';
	\\unset ON_ERROR_STOP
	\\set VERBOSITY terse
	@{[$wait->($before, '1 min')]};
	\\set ON_ERROR_STOP 1
	ROLLBACK TO s;
	$locks;
	COMMIT;
	$locks;
SQL
is(sqlstate($node, $wait->($before, '-1 s')), '22023', 'a negative timeout is refused');
is(sqlstate($node, $_), '22004', "$_: NULL is refused") for 'SELECT es_wait(NULL)', 'SELECT es_wait(0, NULL)';

# Nothing is kept in the session, so it does not matter which one a pooler gives to whom.
is(sql($node, "@{[$wait->($before, '10 ms')]}; SELECT count(*) FROM pg_listening_channels(); SELECT count(*) FROM pg_prepared_statements; $locks; DISCARD ALL; @{[$wait->($before - 1, '10 ms')]}"),
	"\n0\n0\n0\n$before", 'no state is left in the session');

# 5,000 waits in one statement, most of which sleep.
my ($few, $many) = split /\|/, sql($node, <<"SQL");
	CREATE FUNCTION backend_memory() RETURNS bigint LANGUAGE sql AS 'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
	CREATE FUNCTION wait_often(OUT few bigint, OUT many bigint) LANGUAGE plpgsql AS
	\$\$
	BEGIN
		FOR i IN 1 .. 5000 LOOP
			PERFORM es_wait($before, '1 ms', CASE WHEN i % 2 = 0 THEN 'a' END);
			PERFORM es_wait($before - 1, '0', CASE WHEN i % 2 = 0 THEN 'a' END);
			IF i IN (250, 500, 5000) THEN
				few := many;
				many := backend_memory();
			END IF;
		END LOOP;
	END
	\$\$;
	SELECT few, many FROM wait_often();
SQL
note("$few bytes after 500 waits, $many after 5,000");
cmp_ok($many - $few, '<=', 16 * 1024, '5,000 waits leave no memory behind');
is(sql($node, $locks), 0, 'nor a lock');

# A hundred at once; pgbench ends a client whose division by zero fails.
my $script = PostgreSQL::Test::Utils::tempdir() . '/wait.sql';
PostgreSQL::Test::Utils::append_to_file($script, "SELECT 1 / (coalesce(es_wait($before, '1 min'), 0) = $before + 1)::int;\n");
my ($out, $err) = ('', '');
my $waiting = IPC::Run::start([ 'pgbench', '-n', '-c', 100, '-j', 2, '-t', 1, '-f', $script, $node->connstr('postgres') ], '>', \$out, '2>', \$err);
$until_asleep->(100);
$begun = time;
$append->('a-1');
ok($waiting->finish, 'a hundred sessions are all told') or diag($err);
cmp_ok(time - $begun, '<', $soon, 'at once');
like($out, qr{actually processed: 100/100}, 'each of them');

done_testing();
