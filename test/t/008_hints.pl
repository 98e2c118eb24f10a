# Where a stream's row was seen last (src/base/hint.c) is only a hint: whatever has become of the place since, an append goes to its own stream, and
# to the version that comes next. In shared memory and in a backend's own.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $scans = q{SELECT pg_stat_force_next_flush(); SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'streams_pkey'};

# Rows without events, which may be taken away; in some blocks of their own.
my $fill = sub { "SELECT count(es_assert_version('$_[0]-' || i || repeat('x', 200), 0)) FROM generate_series(1, 300) i" };
my $take_away = sub { "DELETE FROM eventstore.streams WHERE version = 0 AND stream LIKE '$_[0]-%'" };

for my $preload ('', 'eventstore')
{
	my $where = $preload eq '' ? 'own memory' : 'shared memory';
	my $node = new_node("hints$preload", "shared_preload_libraries = '$preload'", 'autovacuum = off', 'fsync = off', 'max_worker_processes = 20');
	my $session = session($node);
	my $append = sub { $session->query("SELECT es_append('$_[0]', @{[ $_[1] // -1 ]}, 'Appended', '{}')") };
	my $pages = sub { sql($node, q{SELECT pg_relation_size('eventstore.streams') / current_setting('block_size')::int}) };

	# That it is used at all. (Builds with assertions ask the index, too, except in serializable transactions.)
	$session->query(q{SET default_transaction_isolation = 'serializable'});
	is($append->('a-1', 0), 1, "$where: a stream's first event");
	my $before = $session->query($scans);
	is($session->query(q{SELECT sum(es_append('a-1', i, 'Appended', '{}')) FROM generate_series(1, 20) i}), 230, "$where: and more");
	is($session->query($scans), $before, "$where: which took no look into the index");
	$session->query('RESET default_transaction_isolation');
	my $other = session($node);
	$other->query(q{SET default_transaction_isolation = 'serializable'});
	$other->query(q{SELECT es_append('a-1', 21, 'Appended', '{}')});
	is($other->query($scans) - $before, $preload eq '' ? 1 : 0, "$where: another session's took " . ($preload eq '' ? 'one' : 'none, either'));

	# A row that is gone, with its line pointer, its page and its file.
	$session->query($fill->('gone'));
	my $gone = 'gone-300' . 'x' x 200;
	sql($node, 'CREATE TABLE places AS SELECT ctid AS place, stream FROM eventstore.streams');
	sql($node, $take_away->('gone'));
	is($append->($gone, 0), 1, "$where: a row that was deleted");
	sql($node, $_) for $take_away->('gone'), 'VACUUM eventstore.streams';
	$session->query($fill->('new'));
	my ($was, $is) = split /\|/, sql($node, 'SELECT p.stream, s.stream FROM places p JOIN eventstore.streams s ON s.ctid = p.place AND s.stream <> p.stream ORDER BY p.stream LIMIT 1');
	is($append->($was, 0), 1, "$where: a place that another stream's row has taken");
	is($append->($is, 0), 1, "$where: which has not got the event");
	$session->query($fill->('cut'));
	my $long = $pages->();
	sql($node, $_) for $take_away->('cut'), 'VACUUM eventstore.streams';
	cmp_ok($pages->(), '<', $long, "$where: vacuum cut pages off");
	is($append->('cut-300' . 'x' x 200, 0), 1, "$where: a page that was cut off");
	is($session->query('SELECT es_stream_version(' . "'cut-299" . 'x' x 200 . "')"), 0, "$where: read from there");
	sql($node, 'VACUUM FULL eventstore.streams');
	is($append->('a-1', 22), 23, "$where: a table that was rewritten");
	sql($node, 'ALTER TABLE eventstore.streams SET (fillfactor = 100); VACUUM FULL eventstore.streams');
	is($session->query(q{SELECT count(DISTINCT es_append('a-1', i, 'Appended', '{}')) FROM generate_series(23, 322) i}), 300, "$where: a row that moves from page to page");

	# An index that changes with each append: then no update is HOT, or (from 16 on) a summarizing index gets its due all the same.
	sql($node, 'CREATE INDEX ON eventstore.streams USING brin (recorded_at)');
	$session->query(q{SET default_transaction_isolation = 'serializable'});
	$append->('a-1');
	$before = $session->query($scans);
	is($session->query(q{SELECT count(es_append('a-1', -1, 'Appended', '{}')) FROM generate_series(1, 20)}), 20, "$where: with another index");
	is($session->query($scans), $before, "$where: the row's own is not asked");
	$session->query('RESET default_transaction_isolation');

	# A snapshot that sees the row where it was.
	my $reader = session($node);
	$reader->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
	is($reader->query(q{SELECT es_stream_version('a-1')}), 344, "$where: a stream's version");
	$session->query(q{SELECT count(es_append('a-1', -1, 'Appended', '{}')) FROM generate_series(1, 200)});
	is($reader->query(q{SELECT es_stream_version('a-1')}), 344, "$where: under the same snapshot, after the row has moved");
	is($append->('a-1', 544), 545, "$where: and goes on");
	$reader->quit;

	# What a transaction did that was taken back.
	$session->query('BEGIN');
	$append->('back-1', 0);
	$session->query('ROLLBACK');
	is($append->('back-1', 0), 1, "$where: a row that was rolled back");
	$session->query('BEGIN; SAVEPOINT s');
	$append->('back-2', 0);
	$session->query('ROLLBACK TO s');
	is($append->('back-2', 0), 1, "$where: or to a savepoint");
	$session->query('COMMIT');
	is($append->('back-2', 1), 2, "$where: and then stays");

	# A database with the same files, a store that was made again.
	$other->quit;
	$session->quit;
	sql($node, 'CREATE DATABASE twin TEMPLATE postgres', 'template1');
	is(sql($node, q{SELECT es_append('twin-1', 0, 'Appended', '{}'), es_append('a-1', 545, 'Appended', '{}')}, 'twin'), '1|546', "$where: a database's copy");
	is(sql($node, q{SELECT es_append('a-1', 545, 'Appended', '{}'), es_append('twin-1', 0, 'Appended', '{}')}), '546|1', "$where: and what it was copied from");
	$session = session($node);
	$append->('a-1');
	$session->query('DROP EXTENSION eventstore CASCADE; CREATE EXTENSION eventstore');
	is($append->('a-1', 0), 1, "$where: another store");
	$session->quit;
	is_sound($node);
	is_sound($node, 'twin');
	$node->stop;
}

# On a standby, which has its own.
my $primary = new_node('hints_primary', 'autovacuum = off', "shared_preload_libraries = 'eventstore'", 'max_worker_processes = 20', 'wal_level = replica', 'max_wal_senders = 4');
sql($primary, $fill->('cut'));
$primary->backup('hints');
my $standby = PostgreSQL::Test::Cluster->new('hints_standby');
$standby->init_from_backup($primary, 'hints', has_streaming => 1);
$standby->start;
my $version_of_cut = q{SELECT es_stream_version('cut-300' || repeat('x', 200)), es_stream_version('cut-1' || repeat('x', 200))};
my $reader = session($standby);
is($reader->query("SELECT count(*) FROM ($version_of_cut) v"), 1, 'a standby finds rows');
sql($primary, $_) for $take_away->('cut'), 'VACUUM eventstore.streams';
$primary->wait_for_catchup($standby);
is(sql($standby, q{SELECT pg_relation_size('eventstore.streams')}), 0, 'whose pages are cut off');
is($reader->query($version_of_cut), '0|0', 'and then finds none');
$reader->quit;
$standby->stop;
$primary->stop;

# Many more streams than hints, by several sessions.
my $node = new_node('hints_few', "shared_preload_libraries = 'eventstore'", 'shared_buffers = 1MB', 'fsync = off', 'max_connections = 20');
cmp_ok(sql($node, q{SELECT size / 8 FROM pg_shmem_allocations WHERE name = 'eventstore hints'}), '<', 1000, 'a small server keeps few hints');
race($node, 'few hints', 8, 2000, <<'SQL');
	\set stream random(1, 3000)
	SELECT es_append('many-' || :stream, -1, 'Appended', '{}');
SQL
is(sql($node, 'SELECT sum(version) FROM eventstore.streams'), 16000, 'more streams than hints: every append is there');
is_sound($node);
$node->stop;

done_testing();
