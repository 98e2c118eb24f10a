# An update beside what else goes on: open appends, consumers, prepared transactions, a worker, a standby. It waits for transactions that
# use the store, and while it does, nobody waits for it long, nor for ever.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Upgrade;

my $old = '0.1.0';
my $node = new_old_server('beside', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'store'", 'eventstore.projection_workers = 1', 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby = on');
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby', install_path => Upgrade::installation());
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;

restore_old_store($node, 'store');
my $ask = sub { sql($node, $_[0], 'store') };
my $version_of = q{SELECT extversion FROM pg_extension WHERE extname = 'eventstore'};

# The worker is there, and leaves an old store alone.
$node->wait_for_log(qr/WARNING: .*extension "eventstore" is of version 0\.1\.0 in database "store"/);
pass('the worker tells the log of the old store');
is(sqlstate($standby, 'SELECT * FROM es_read_all()', 'postgres'), '42883', 'the standby replays');

# What holds the store's tables is waited for: an open transaction, which has read ...
my $reader = session($node, 'store');
$reader->query('BEGIN');
$reader->query('SELECT count(*) FROM eventstore.events');
my $reader_pid = $reader->query('SELECT pg_backend_pid()');
# ... one that has a row of it locked ...
$ask->(q{BEGIN; SELECT FROM eventstore.streams WHERE stream = 'config' FOR UPDATE; PREPARE TRANSACTION 'open one'});

my $update = session($node, 'store');
my $update_pid = $update->query('SELECT pg_backend_pid()');
send_query($update, 'ALTER EXTENSION eventstore UPDATE');
$node->poll_query_until('store', "SELECT count(*) > 0 FROM pg_locks WHERE pid = $update_pid AND NOT granted") or die;
pass('the update waits');
# Others go on meanwhile, as soon as it lets go.
is($ask->('SELECT count(*) > 0 FROM eventstore.streams'), 't', 'others read beside it');
is($ask->($version_of), $old, 'in the old store');
# Who has a table already, and wants the next, is no deadlock.
my $crosswise = session($node, 'store');
$crosswise->query('BEGIN');
$crosswise->query('SELECT count(*) FROM eventstore.subscription_shares');
is($crosswise->query(q{SELECT count(*) FROM eventstore.streams WHERE stream = 'config'}), '1', 'nor does a transaction that takes tables the other way round stop it');
$crosswise->query('COMMIT');

my $until = time + 60;
$update->{run}->pump_nb while $update->{stderr} !~ /DETAIL/ && time < $until && $update->{run}->pumpable;
like($update->{stderr}, qr/WARNING:  the update waits for transactions that use the store.*They are: .*prepared transaction "open one", process $reader_pid/s,
	'it says for whom it waits');
$reader->query('COMMIT');
$ask->(q{ROLLBACK PREPARED 'open one'});
$update->query('');
is($ask->($version_of), sql($node, q{SELECT default_version FROM pg_available_extensions WHERE name = 'eventstore'}), 'then it is done');
$_->quit for $reader, $update, $crosswise;
is($ask->('SELECT * FROM es_verify()'), '', 'and the store is sound');

# The worker goes on by itself: async projections, what it announces.
$ask->(q{SELECT es_append('account-2', -1, 'Moved', '{"amount": 1, "by": "me"}')});
becomes($node, q{SELECT count(*) FROM eventstore.projection_status WHERE name IN ('latest', 'by_clerk', 'log') AND lag = 0}, '3', 'the worker applies async projections', 'store');
becomes($node, 'SELECT position = es_head() FROM eventstore.head', 't', 'and announces', 'store');

# The standby has replayed it, and answers by the same library.
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(sql($standby, 'SELECT es_version()', 'store'), sql($node, 'SELECT es_version()', 'store'), 'the standby has the new store');
is(sql($standby, q{SELECT count(*) FROM es_read('account-2')}, 'store'), $ask->(q{SELECT es_stream_version('account-2')}), 'and reads it');
is(sqlstate($standby, 'ALTER EXTENSION eventstore UPDATE', 'store'), '25006', 'it has no update of its own');

# lock_timeout is the longest that an update waits.
sql($node, 'CREATE DATABASE patient TEMPLATE template0');
sql($node, "CREATE EXTENSION eventstore VERSION '$old'", 'patient');
my $holder = session($node, 'patient');
$holder->query('BEGIN');
$holder->query('LOCK TABLE eventstore.events IN ROW EXCLUSIVE MODE');
is(sqlstate($node, q{SET lock_timeout = '300ms'; ALTER EXTENSION eventstore UPDATE}, 'patient'), '55P03', 'lock_timeout ends an update that would wait');
is(sql($node, $version_of, 'patient'), $old, 'which has changed nothing');
$holder->query('COMMIT');
is(sql($node, q{SET lock_timeout = '10s'; ALTER EXTENSION eventstore UPDATE; SHOW lock_timeout; SHOW deadlock_timeout; SHOW search_path}, 'patient'), qq(10s\n1s\n"\$user", public), 'and leaves settings as they are');
$holder->quit;

# Appenders that do not stop for it: in the old store they are refused, from one moment on they are not.
sql($node, 'CREATE DATABASE busy TEMPLATE template0');
sql($node, "CREATE EXTENSION eventstore VERSION '$old'", 'busy');
my $appends = <<'SQL';
	DO $$
	BEGIN
		FOR n IN 1 .. 100000 LOOP
			BEGIN
				PERFORM es_append('busy-' || n % 7, -1, 'A', '{}');
				EXIT WHEN (SELECT version FROM eventstore.streams WHERE stream = 'busy-1') > 20;
			EXCEPTION WHEN object_not_in_prerequisite_state THEN
				PERFORM pg_sleep(0.001);
			END;
			COMMIT;
		END LOOP;
	END
	$$
SQL
my @busy = map { session($node, 'busy') } 1 .. 3;
send_query($_, $appends) for @busy;
sql($node, 'ALTER EXTENSION eventstore UPDATE', 'busy');
$_->query('') for @busy;
is(join('', map { $_->{stderr} } @busy), '', 'sessions that append all the while see nothing worse than 55000');
cmp_ok(sql($node, 'SELECT min(version) FROM eventstore.streams', 'busy'), '>', '15', 'and go on in the new store');
is_sound($node, 'busy', 'busy');
$_->quit for @busy;

done_testing();
