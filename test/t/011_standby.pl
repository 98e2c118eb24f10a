# A hot standby: the worker of the primary carries the head there; readers see as much there as is settled, and go on after promotion.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $primary = new_node('primary', "shared_preload_libraries = 'eventstore'", 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby_feedback = on');
my $append = sub { sql($primary, "SELECT es_append('$_[0]', -1, 'Appended', '{}')") };
$append->('a-1') for 1 .. 3;
sql($primary, q{CREATE FUNCTION counting(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN RETURN jsonb_build_object(''count'', event.version); END'});
$primary->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'backup', has_streaming => 1);
$standby->start;
my $replayed = sub { $primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert')) };
my $is_settled = sub {
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $head = sql($primary, 'SELECT es_head()');
	becomes($standby, 'SELECT es_head()', $head, "$name: the head gets there");
	is(sql($standby, 'SELECT position, stream, version FROM es_read_all(0, NULL)'), sql($primary, "SELECT position, stream, version FROM eventstore.events WHERE position <= $head ORDER BY position"),
		"$name: and all that is below can be read");
};

is(sql($standby, 'SELECT pg_is_in_recovery()'), 't', 'a hot standby');
$is_settled->('at first');
$append->('b-1');
sql($primary, q{BEGIN; SELECT es_append('lost-1', 0, 'Lost', '{}'); ROLLBACK});
$append->('a-1');
$is_settled->('after more');
is(sql($standby, q{SELECT stream, version FROM es_read_category('a')}), "a-1|1\na-1|2\na-1|3\na-1|4", 'a category');
is(sql($standby, q{SELECT stream, version FROM es_read_all(0, 2, backward => true)}), "a-1|4\nb-1|1", 'backward');
is(sql($standby, q{SELECT version FROM es_read('a-1')}), "1\n2\n3\n4", 'a stream');
is(sql($standby, q{SELECT es_stream_version('a-1'), (SELECT version FROM es_last_event('a-1')), es_last_position()}), '4|4|', 'and the other readers');
is(sql($standby, 'SELECT count(*) FROM eventstore.inflight'), 0, 'nothing is in flight there');

# An open append on the primary holds back what came later, which an ordinary SELECT sees.
my ($open, $reader) = (session($primary), session($standby));
my $told = sql($standby, 'SELECT es_head()');
$open->query_safe(q{BEGIN; SELECT es_append('a-1', -1, 'Open', '{}')});
$append->('b-1') for 1 .. 3;
$replayed->();
is(sql($standby, "SELECT es_head(), (SELECT count(*) FROM es_read_all($told)), (SELECT count(*) FROM es_read_category('b', $told)), (SELECT count(*) FROM eventstore.events WHERE position > $told)"),
	"$told|0|0|3", 'an open append on the primary: nothing is read beyond');

# A transaction that has begun before another one may take a later position, and commit first; then the other one's xid is above all
# that the standby knows as completed, and its snapshots do not list it as in progress.
my $crossed = sub {
	my ($name) = @_;
	my ($first, $second, $tail) = (session($primary), session($primary), session($standby));
	my $from = $tail->query_safe('SELECT es_head()');
	my $seen = '';
	my $read = sub { $seen = join "\n", grep { $_ ne '' } $seen, $tail->query_safe("SELECT position FROM es_read_all(greatest($from, " . (split(/\n/, $seen))[-1] . '))') };
	$seen = $from;
	$first->query_safe(q{BEGIN; SELECT es_append('q-1', -1, 'Crossed', '{}')});
	$second->query_safe(q{BEGIN; SELECT es_append('t-1', -1, 'Crossed', '{}')});
	$first->query_safe(q{SELECT es_append('q-2', -1, 'Crossed', '{}'); COMMIT});
	$replayed->();
	$read->();
	$second->query_safe('COMMIT');
	$replayed->();
	becomes($standby, 'SELECT es_head()', sql($primary, 'SELECT es_head()'), "$name: the head gets there");
	$read->();
	is($seen, sql($primary, "SELECT $from UNION ALL SELECT position FROM eventstore.events WHERE position > $from ORDER BY 1"), "$name: a tailing reader has seen every event once");
	$_->quit for $first, $second, $tail;
};

# A transaction with one snapshot, begun before it is committed.
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($reader->query_safe('SELECT es_head()'), $told, 'REPEATABLE READ: the head');
my $waiter = session($standby);
send_query($waiter, "SELECT es_wait($told, '1 min')");
$open->query_safe('COMMIT');
is_woken($waiter, sql($primary, 'SELECT es_head()'), 'es_wait is woken there');
$is_settled->('committed');
$crossed->('crossed, with the worker');
is($reader->query_safe("SELECT es_head(), (SELECT count(*) FROM es_read_all($told)), (SELECT count(*) FROM es_read_category('b', $told)), (SELECT count(*) FROM es_read_all(backward => true))"),
	"$told|0|0|" . sql($primary, "SELECT count(*) FROM eventstore.events WHERE position <= $told"), 'REPEATABLE READ: it stands still');
is($reader->query_safe("COMMIT; SELECT count(*) FROM es_read_all($told)"), 7, 'REPEATABLE READ: and the next transaction reads the rest');
$told = sql($primary, 'SELECT es_head()');
is($waiter->query_safe("SELECT es_wait($told, '200 ms')"), '', 'es_wait: NULL on timeout');
send_query($waiter, "SELECT es_wait($told, '1 min', 'b')");
$append->('a-1');
$is_settled->('another category');
$append->('b-1');
is_woken($waiter, $told + 2, 'es_wait for a category');

# A switched-off NOTIFY does not stop the head.
sql($primary, 'ALTER SYSTEM SET eventstore.notify = off; SELECT pg_reload_conf()');
$append->('a-1');
$is_settled->('eventstore.notify off');

# Without a worker on the primary: where nothing is in progress, all that can be seen is settled.
sql($primary, q{ALTER SYSTEM SET eventstore.databases = ''; SELECT pg_reload_conf()});
becomes($primary, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'}, 0, 'the worker ends');
$append->('a-1');
$is_settled->('without a worker');
is(sql($primary, 'SELECT position < es_head() FROM eventstore.head'), 't', 'though it is not written down');
$told = $reader->query_safe('SELECT es_head()');
is($told, sql($primary, 'SELECT es_head()'), 'a session is told');
$open->query_safe(q{BEGIN; SELECT es_append('a-1', -1, 'Open', '{}')});
$append->('b-1');
$replayed->();
is(sql($standby, "SELECT es_head() <= $told, count(*) FROM es_read_all($told)"), "t|0", 'without a worker: nothing is read beyond an open append');
is($reader->query_safe("SELECT es_head(), count(*) FROM es_read_all($told)"), "$told|0", 'without a worker: for a session that knows one, too');
$open->query_safe('COMMIT');
$is_settled->('without a worker, committed');
$crossed->('crossed, without a worker');
$is_settled->('crossed, without a worker');

# What is in progress later does not matter to a snapshot, nor to a session that knows better.
sql($primary, 'CREATE TABLE stranger (n int)');
$replayed->();
$told = sql($primary, 'SELECT es_head()');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
is($reader->query_safe('SELECT es_head()'), $told, 'without a worker, REPEATABLE READ: the head');
my @strangers = (session($primary), session($primary));
$strangers[0]->query_safe('BEGIN; INSERT INTO stranger VALUES (1)');
$append->('d-1');
$replayed->();
is($reader->query_safe("SELECT es_head(), (SELECT count(*) FROM es_read_all($told))"), "$told|0", 'without a worker, REPEATABLE READ: it stands still');
$reader->query_safe('COMMIT');

# Strangers that overlap: there is no moment without a transaction in progress, but each ends some time.
is($reader->query_safe('SELECT es_head()'), $told, 'strangers: the first one holds the head back');
my $last = sql($primary, 'SELECT es_head()');
$strangers[1]->query_safe('BEGIN; INSERT INTO stranger VALUES (2)');
$strangers[0]->query_safe('COMMIT');
$replayed->();
is($reader->query_safe("SELECT es_head(), (SELECT count(*) FROM es_read_all($told))"), "$last|1", 'strangers: when it has ended, what was there before the next one is read');
$append->('d-1');
$strangers[0]->query_safe(q{BEGIN; INSERT INTO stranger VALUES (3)});
$strangers[1]->query_safe(q{PREPARE TRANSACTION 'stranger'});
$replayed->();
is($reader->query_safe("SELECT es_head(), (SELECT count(*) FROM es_read_all($last))"), "$last|0", 'strangers: a prepared one is in progress');
sql($primary, q{ROLLBACK PREPARED 'stranger'});
$replayed->();
$reader->query_safe('SELECT es_head()');
$strangers[0]->query_safe('ROLLBACK');
$is_settled->('strangers are gone');
eval { $_->quit } for @strangers;

# A prepared append holds the head back there, and what came later with it.
$told = sql($standby, 'SELECT es_head()');
sql($primary, q{BEGIN; SELECT es_append('p-2', -1, 'Prepared', '{}'); PREPARE TRANSACTION 'append'});
$append->('d-1');
$replayed->();
is($reader->query_safe("SELECT es_head(), (SELECT count(*) FROM es_read_all($told))"), "$told|0", 'without a worker: nothing is read beyond a prepared append');
sql($primary, q{COMMIT PREPARED 'append'});
$is_settled->('without a worker, prepared and committed');
sql($primary, q{ALTER SYSTEM RESET eventstore.databases; SELECT pg_reload_conf()});
becomes($primary, 'SELECT position = es_head() FROM eventstore.head', 't', 'a new worker writes it down');

# What writes is refused.
is(sqlstate($standby, $_), '25006', "$_ is refused") for q{SELECT es_append('a-1', -1, 'A', '{}')},
  q{SELECT es_append('a-1', -1, '[{"type": "A"}]')}, q{SELECT es_append('a-1', -1, ARRAY['A'], ARRAY['1']::jsonb[])},
  q{SELECT * FROM es_append_streams('[{"stream": "a-1", "expected_version": -1, "events": {"type": "A"}}]')},
  q{SELECT es_assert_version('a-1', -1)}, q{SELECT es_assert_version('new-1', 0)},
  q{SELECT es_save_snapshot('a-1', 1, '1')}, q{SELECT es_grant('pg_monitor', 'read')}, q{SELECT es_repair_positions()};
sql($primary, q{SELECT es_save_snapshot('a-1', 2, '{"count": 2}')});
$replayed->();
is(sql($standby, q{SELECT l.version, l.state, cardinality(l.events) + 2 = es_stream_version('a-1'), s.version FROM es_load('a-1') l, es_snapshot('a-1') s}), '2|{"count": 2}|t|2', 'a snapshot there');
is(sql($standby, q{SELECT (es_fold('a-1', 'counting(jsonb, eventstore.event)') ->> 'count')::bigint = es_stream_version('a-1')}), 't', 'a fold there');
is(sqlstate($standby, $_), '', "$_ is not") for q{SELECT es_channel('a')}, 'SELECT * FROM eventstore.grants', q{SELECT * FROM es_stream_as_of('a-1', now())};

# Promotion, with one append prepared and one open.
sql($primary, q{BEGIN; SELECT es_append('p-1', 0, 'Prepared', '{}'); PREPARE TRANSACTION 'held'});
$open->query_safe(q{BEGIN; SELECT es_append('a-1', -1, 'Never', '{}')});
$append->('b-1') for 1 .. 2;
$replayed->();
$told = sql($standby, 'SELECT es_head()');
is($told, sql($primary, 'SELECT es_head()'), 'before promotion: the head');
$last = sql($primary, 'SELECT last_value FROM eventstore.positions');
send_query($waiter, "SELECT es_wait($told, '1 min')");
$primary->stop('immediate');
$standby->promote;
is(sql($standby, 'SELECT es_head()'), $told, 'after it: the prepared append still holds the head');
is(sql($standby, 'SELECT pid IS NULL, lowest_position > es_head() FROM eventstore.inflight'), 't|t', 'and is all that is in flight');
is($reader->query_safe("SELECT es_head(), count(*) FROM es_read_all($told)"), "$told|0", 'for a session that was there before, too');
is(sql($standby, q{SELECT es_append('b-1', 8, 'After', '{}')}), 9, 'appends go on');
cmp_ok(sql($standby, q{SELECT position FROM es_last_event('b-1')}), '>', $last, 'above all positions of the old primary');
is(sql($standby, "SELECT es_head(), count(*) FROM es_read_all($told)"), "$told|0", 'still held');
sql($standby, q{COMMIT PREPARED 'held'});
$last = sql($standby, 'SELECT max(position) FROM eventstore.events');
is(sql($standby, 'SELECT es_head()'), $last, 'COMMIT PREPARED releases it');
is_woken($waiter, $last, 'and wakes who has waited since before promotion');
is($reader->query_safe("SELECT stream, version FROM es_read_all($told)"), "p-1|1\nb-1|7\nb-1|8\nb-1|9", 'everything is read, but what was lost with the old primary');
is($reader->query_safe(q{SELECT es_append('a-1', -1, 'After', '{}') > 0}), 't', 'a session that was there before appends');
is($reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT es_head() = es_last_position(); COMMIT'), 't', 'and reads it');

# The new primary has a worker of its own.
sql($standby, 'ALTER SYSTEM SET eventstore.notify = on; SELECT pg_reload_conf()');
becomes($standby, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND query = 'waiting for appends'}, 1, 'the new primary has a worker');
becomes($standby, 'SELECT position = es_head() FROM eventstore.head', 't', 'which writes the head down');
is_sound($standby, 'the new primary');
eval { $_->quit } for $open, $reader, $waiter;

done_testing();
