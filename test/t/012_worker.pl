# The background worker: one a database of eventstore.databases, which comes back whatever ends it, gets out of the way of commands that
# need its database empty, and announces what was missed; NOTIFY is its own and nobody else's.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep);

my $node = new_node('worker', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'postgres, shop'", 'restart_after_crash = on', 'max_worker_processes = 20');
my $head = sub { sql($node, 'SELECT es_head()', $_[0]) };
my $append = sub { "SELECT es_append('$_[0]', -1, 'Appended', '{}');" };
my $worker = sub { my $database = $_[0] // 'postgres'; sql($node, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND datname = '$database'") };
my $launcher = sub { sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventstore launcher'}) };
# Tests which databases have a worker at work, one each, soon.
my $works_in = sub {
	my ($databases, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	becomes($node, q{SELECT coalesce(string_agg(datname, ', ' ORDER BY datname), '') FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND query = 'waiting for appends'},
		$databases, $name);
};
my $set = sub { sql($node, "ALTER SYSTEM SET $_[0] = $_[1]; SELECT pg_reload_conf()") };
my $log = sub { PostgreSQL::Test::Utils::slurp_file($node->logfile, $_[0]) };

$works_in->('postgres', 'a worker in each database of the list that there is');
sql($node, 'CREATE DATABASE shop');
$works_in->('postgres, shop', 'and in one that comes into being');
sql($node, 'CREATE EXTENSION eventstore', 'shop');
becomes($node, q{SELECT application_name, state, query, wait_event_type FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND datname = 'postgres'},
	'eventstore|idle|waiting for appends|Extension', 'it shows in pg_stat_activity, with what it does');
becomes($node, q{SELECT datname IS NULL, query FROM pg_stat_activity WHERE backend_type = 'eventstore launcher'}, 't|watching the workers', 'and so does the launcher');

# NOTIFY: from the worker, with the head.
my $listener = session($node);
$listener->query_safe("LISTEN eventstore$_") for '', '_c_a', '_c_b';
my $told = sub { notifications($node, $listener, 'eventstore', @_) };
my $is_told = sub {
	my ($name, @categories) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $now = $head->();
	my @all = $told->([ 'eventstore', $now ]);
	is(join(', ', sort map { "$_->{channel} $_->{payload}" } grep { $_->{payload} == $now } @all),
		join(', ', map { "$_ $now" } 'eventstore', map { "eventstore_c_$_" } @categories), "$name: told once a channel");
	my $pid = $worker->();
	is(join(', ', grep { $_ != $pid } map { $_->{pid} } @all), '', "$name: by the worker only");
	is(sql($node, "SELECT max(position) FROM es_read_all(0, NULL)"), $now, "$name: and all of it can be read");
};
sql($node, $append->('a-1'));
$is_told->('an append', 'a');
sql($node, "BEGIN; @{[$append->('a-1')]} @{[$append->('b-1')]} @{[$append->('a-2')]} @{[$append->('x-2')]} COMMIT");
$is_told->('four appends in a transaction', 'a', 'b');
sql($node, q{SELECT es_append('a-1', -1, 'Appended', '{}'); BEGIN; SELECT es_append('b-1', -1, 'Lost', '{}'); ROLLBACK});
my @rolled_back = $told->([ 'eventstore', '\d+' ]);
is((grep { $_->{channel} eq 'eventstore_c_b' } @rolled_back), 0, 'a rolled-back append is told to nobody');
# What was rolled back alone is not announced at all, though the head goes on: it is written down in the transaction that would announce it.
my $goes_on = sub { becomes($node, 'SELECT position = es_head() FROM eventstore.head', 't', $_[0]) };
$goes_on->('the head is written down');
$told->();
for my $lost ("BEGIN; @{[$append->('b-1')]} ROLLBACK", "BEGIN; SAVEPOINT s; @{[$append->('b-1')]} ROLLBACK TO s; COMMIT", "BEGIN; @{[$append->('b-1') x 3]} SELECT 1 / 0; COMMIT",
	'DO $$ BEGIN PERFORM es_append(\'b-1\', -1, \'Lost\', \'{}\'); RAISE division_by_zero; EXCEPTION WHEN division_by_zero THEN NULL; END $$',
	"BEGIN; @{[$append->('b-1')]} PREPARE TRANSACTION 'lost'; ROLLBACK PREPARED 'lost'")
{
	sqlstate($node, $lost);
	$goes_on->("the head goes on: $lost");
	is(join(', ', map { "$_->{channel} $_->{payload}" } $told->()), '', "and nothing is announced: $lost");
}
# One that has held others back is: they can be read now.
my $holder = session($node);
$holder->query_safe("BEGIN; @{[$append->('b-1')]}");
sql($node, $append->('a-1'));
my $held_head = $head->();
$goes_on->('behind an open append');
is(join(', ', map { "$_->{channel} $_->{payload}" } $told->()), '', 'an append behind an open one waits');
$holder->query_safe('ROLLBACK');
$holder->quit;
$is_told->('what the open one has held back, when it is rolled back', 'a');
cmp_ok($head->(), '>', $held_head, 'the head has gone on');
sql($node, $append->('a-1'), 'shop');
becomes($node, 'SELECT position = es_head() FROM eventstore.head', 't', 'the head is written down');
becomes($node, 'SELECT position FROM eventstore.head', 1, 'in each database its own', 'shop');

# Many appends, one NOTIFY: the worker stands still meanwhile.
kill 'STOP', $worker->();
sql($node, $append->('a-1') x 50);
kill 'CONT', $worker->();
my $now = $head->();
is(join(', ', map { "$_->{channel} $_->{payload}" } sort { $a->{channel} cmp $b->{channel} } $told->([ 'eventstore', $now ])),
	"eventstore $now, eventstore_c_a $now", 'fifty appends: one NOTIFY a channel, with the head');

# Appenders leave all NOTIFY to it, even if they were there before.
my $session = session($node);
$session->query_safe($append->('a-1'));
$is_told->('a session that stays', 'a');

# Ended, it comes back. es_wait needs none. (Who appends while there is none sends NOTIFY itself.)
my $ended = $worker->();
sql($node, "SELECT pg_terminate_backend($ended, 10000)");
$works_in->('postgres, shop', 'ended: it comes back');
isnt($worker->(), $ended, 'as another process');
sql($node, $append->('b-1'));
$is_told->('ended', 'b');

$session->query_safe("BEGIN; @{[$append->('b-1')]}");
$set->('eventstore.databases', "'shop'");
$works_in->('shop', 'taken from the list: it ends');
my $waiter = session($node);
send_query($waiter, 'SELECT es_wait(' . $head->() . ", '1 min')");
$session->query_safe('COMMIT');
is_woken($waiter, $head->(), 'the worker ended between append and commit: who waits is woken');
$waiter->quit;
$session->query_safe("BEGIN; @{[$append->('a-1')]}");
$set->('eventstore.databases', q{'shop, "postgres", nowhere, postgres'});
$works_in->('postgres, shop', 'put on the list again: it begins');
is(join(', ', map { "$_->{channel} $_->{payload}" } sort { $a->{channel} cmp $b->{channel} } $told->([ 'eventstore_c_b', '\d+' ])),
	"eventstore @{[$head->()]}, eventstore_c_b @{[$head->()]}", 'and announces what was missed');
$session->query_safe('COMMIT');
$is_told->('begun between append and commit', 'a');

# The launcher ends, and comes back; its workers stay, and so does the care for them.
my ($old_launcher, $old_workers) = ($launcher->(), $worker->() . $worker->('shop'));
sql($node, "SELECT pg_terminate_backend($old_launcher, 10000)");
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore launcher' AND query = 'watching the workers' AND pid <> $old_launcher", 1, 'the launcher comes back');
$works_in->('postgres, shop', 'with one worker a database');
is($worker->() . $worker->('shop'), $old_workers, 'the same');
sql($node, "SELECT pg_terminate_backend(@{[$worker->()]}, 10000)");
$works_in->('postgres, shop', 'and starts them again');
sql($node, $append->('a-1'));
$is_told->('under a new launcher', 'a');

# Prepared transactions: nobody tells it that they end.
sql($node, "BEGIN; @{[$append->('b-1')]} PREPARE TRANSACTION 'held'");
sql($node, q{COMMIT PREPARED 'held'});
$is_told->('COMMIT PREPARED', 'b');

# Settings of the database or the cluster that would get in its way.
my @hostile = ('default_transaction_read_only = on', 'default_transaction_isolation = serializable', 'search_path = nowhere', 'statement_timeout = 1', 'row_security = off');
sql($node, join '; ', (map { "ALTER DATABASE postgres SET $_" } @hostile), 'ALTER SYSTEM SET default_transaction_read_only = on', 'SELECT pg_reload_conf()');
{
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0 -c search_path=public -c default_transaction_isolation=read\ committed';
	sql($node, "SELECT pg_terminate_backend(@{[$worker->()]}, 10000)");
	$works_in->('postgres, shop', 'settings that would get in its way');
	sql($node, $append->('a-1'));
	$is_told->('settings that would get in its way', 'a');
	sql($node, 'ALTER DATABASE postgres RESET ALL; ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf()');
}

# Switched off: nothing is told, but the head is written down. When the worker reads the setting is not to be seen but by that.
my $tells = sub {
	sql($node, $append->('a-1'));
	$node->poll_query_until('postgres', 'SELECT position = es_head() FROM eventstore.head') or die 'the head is not written down';
	return scalar(() = $told->());
};
my $tries = 50;
$set->('eventstore.notify', 'off');
0 while $tries-- > 0 && $tells->();
is($tells->(), 0, 'switched off: nothing is told, and the head is written down');
$set->('eventstore.notify', 'on');
0 while $tries-- > 0 && !$tells->();
isnt($tells->(), 0, 'switched on again');

# DROP and CREATE EXTENSION
my $logged = -s $node->logfile;
$ended = $worker->();
sql($node, 'DROP EXTENSION eventstore');
sql($node, 'CREATE EXTENSION eventstore');
sql($node, $append->('a-1'));
is($head->(), 1, 'DROP and CREATE EXTENSION: a new store');
$is_told->('DROP and CREATE EXTENSION', 'a');
is(sqlstate($node, "BEGIN; @{[$append->('a-1')]} DROP EXTENSION eventstore; CREATE EXTENSION eventstore; @{[$append->('b-1')]} COMMIT"), '', 'all that in one transaction, after an append');
$is_told->('DROP and CREATE EXTENSION after an append', 'b');
is($worker->(), $ended, 'by the same worker');
unlike($log->($logged), qr/ERROR|FATAL|exited/, 'and nothing went wrong');

# Commands that need its database empty
sql($node, 'CREATE ROLE nobody');
my $undisturbed = $worker->('shop');
is(sqlstate($node, 'SET ROLE nobody; DROP DATABASE shop'), '42501', 'DROP DATABASE by somebody else');
is($worker->('shop'), $undisturbed, 'does not disturb it');
is(sqlstate($node, 'CREATE DATABASE copy TEMPLATE shop'), '', 'CREATE DATABASE TEMPLATE of a database with a worker');
$works_in->('postgres, shop', 'which returns');
is(sql($node, 'SELECT es_head()', 'copy'), 1, 'and the copy is a store');
is(sql($node, "@{[$append->('a-1')]} SELECT es_head()", 'copy'), "2\n2", 'which goes on');
is(sqlstate($node, 'ALTER DATABASE shop RENAME TO store'), '', 'ALTER DATABASE RENAME');
$works_in->('postgres', 'takes it off the list');
is(sqlstate($node, 'ALTER DATABASE store RENAME TO shop'), '', 'and back');
$works_in->('postgres, shop', 'puts it there again');
is(sqlstate($node, 'BEGIN; DROP DATABASE shop'), '25001', 'DROP DATABASE in a transaction fails');
$works_in->('postgres, shop', 'and the worker returns');
my $user = session($node, 'shop');
is(sqlstate($node, 'DROP DATABASE shop'), '55006', 'DROP DATABASE of one in use fails');
$works_in->('postgres, shop', 'and the worker returns');
# Whoever drops it is ended while it waits for others to leave.
my $dropper = session($node);
my $pid = $dropper->query_safe('SELECT pg_backend_pid()');
send_query($dropper, 'DROP DATABASE shop');
$works_in->('postgres', 'DROP DATABASE of one in use');
sql($node, "SELECT pg_terminate_backend($pid, 10000)");
$works_in->('postgres, shop', 'is ended, and the worker returns');
eval { $dropper->quit };
$user->quit;
is(sqlstate($node, 'DROP DATABASE shop'), '', 'DROP DATABASE with a worker in it');
$works_in->('postgres', 'which is gone');
sql($node, 'CREATE DATABASE shop');
$works_in->('postgres, shop', 'made anew');
is(sqlstate($node, 'DROP DATABASE shop WITH (FORCE)'), '', 'DROP DATABASE WITH (FORCE)');
$works_in->('postgres', 'with it gone');
is(sqlstate($node, 'DROP DATABASE shop'), '3D000', 'no such database');

# A name that needs quoting
sql($node, 'CREATE DATABASE "Odd, name"');
$set->('eventstore.databases', q{'Postgres, "Odd, name"'});
$works_in->('Odd, name, postgres', 'a name that needs quoting');
is(sqlstate($node, q{ALTER SYSTEM SET eventstore.databases = 'a,,b'}), '22023', 'a list that is none is refused');
is(sqlstate($node, 'SET eventstore.nonsense = 1'), '42602', 'an unknown setting is refused');
is(sqlstate($node, q{SET eventstore.databases = 'a'}), '55P02', 'the list is for the server');

# Killed, so that the server starts its memory anew.
$ended = $worker->();
sql($node, $append->('a-1'));
kill 'KILL', $ended;
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND datname = 'postgres' AND query = 'waiting for appends' AND pid <> $ended", 1, 'killed: it comes back')
  if $node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $ended)");
$listener->{run}->kill_kill;
$listener = session($node);
$listener->query_safe("LISTEN eventstore$_") for '', '_c_a', '_c_b';
sql($node, $append->('b-1'));
$is_told->('killed', 'b');

# A restart
$listener->quit;
eval { $session->quit };
$node->restart;
$works_in->('Odd, name, postgres', 'a restart: it comes back');
$node->stop('fast');
unlike($log->(0), qr/TRAP|PANIC|could not save the head/, 'and the log is clean');

done_testing();
