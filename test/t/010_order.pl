# The head over crashes, restarts and databases: it is never below one that was told, and only what is open holds it back; and snapshots
# that are older than the session that reads with them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep);

# The WAL writer sleeps, once it has been woken for the first time: what is flushed is flushed by those who need it.
my $node = new_node('order', 'restart_after_crash = on', 'wal_writer_delay = 10s', 'checkpoint_timeout = 1h', 'autovacuum = off');
my $head = sub { sql($node, 'SELECT es_head()') };
my $last = sub { sql($node, 'SELECT coalesce(max(position), 0) FROM eventstore.events') };
my $append = sub { sql($node, "SELECT es_append('$_[0]', -1, 'Appended', '{}')") };
my $told;

my $is_kept = sub {
	my ($what) = @_;
	cmp_ok($head->(), '>=', $told, "$what: the head is not below the one that was told");
	$append->('after-1');
	cmp_ok($last->(), '>', $told, "$what: no position that it covered is given out again");
	is($head->(), $last->(), "$what: and it goes on");
	is(sql($node, 'SELECT count(*) FROM eventstore.inflight'), 0, "$what: nothing is in flight");
	is(sql($node, 'SELECT count(*) FROM es_read_all(0, NULL)'), sql($node, 'SELECT count(*) FROM eventstore.events'), "$what: all is read");
};

my $tire_wal_writer = sub {
	sql($node, q{SET synchronous_commit = off; SELECT count(es_append('warm-' || i, -1, 'Warm', '{}')) FROM generate_series(1, 100) i});
	sleep 0.3;
};

# Positions that were only rolled back, more than the sequence logs at a time.
$tire_wal_writer->();
$append->('a-1');
$told = sql($node, q{BEGIN; DO $$ BEGIN PERFORM es_append('lost-' || i, 0, 'Lost', '{}') FROM generate_series(1, 100) i; END $$; ROLLBACK; SELECT es_head()});
$node->stop('immediate');
cmp_ok($told, '>=', 201, 'a head beyond what was rolled back was told');
$node->start;
$is_kept->('rolled back, and a crash');

# Commits that are not flushed yet.
$tire_wal_writer->();
$told = sql($node, q{SET synchronous_commit = off; DO $$ BEGIN PERFORM es_append('async-' || i, 0, 'Async', '{}') FROM generate_series(1, 100) i; END $$; SELECT es_head()});
$node->stop('immediate');
$node->start;
$is_kept->('commits that are not flushed, and a crash');

# Killed in the middle of an append, while a later one has been committed.
my $killed = <<'SQL';
	BEGIN;
	SELECT es_append('a-1', -1, 'Lost', '{}');
	\! psql -X -q -c "SELECT es_append('b-1', -1, 'Kept', '{}')"
	SELECT pg_backend_pid() AS pid \gset
	\setenv PID :pid
	\! kill -9 $PID
	SELECT 1;
SQL
$told = $head->();
{
	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');
	isnt($node->psql('postgres', $killed), 0, 'a backend is killed in the middle of an append');
}
$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
is(sql($node, q{SELECT type FROM es_last_event('b-1')}), 'Kept', 'what was committed meanwhile is there');
cmp_ok($head->(), '>=', $last->(), 'and no longer held back');
$is_kept->('killed');

# Terminated, or its client has gone.
for my $how ('terminated', 'its client has gone')
{
	my $session = session($node);
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	$session->query_safe(q{BEGIN; SELECT es_append('a-1', -1, 'Lost', '{}')});
	$told = $head->();
	$append->('b-1');
	is($head->(), $told, "$how: an open append holds the head back");
	is(sql($node, 'SELECT pid, lowest_position > es_head() FROM eventstore.inflight'), "$pid|t", "$how: and is named");
	if ($how eq 'terminated')
	{
		sql($node, "SELECT pg_terminate_backend($pid, 10000)");
	}
	else
	{
		$session->{run}->kill_kill;
		$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)");
	}
	is($head->(), $last->(), "$how: not any longer");
	$is_kept->($how);
	eval { $session->quit };
}

# Prepared transactions hold the head over restarts of every kind.
for my $end ('COMMIT', 'ROLLBACK')
{
	$told = $head->();
	sql($node, q{BEGIN; SELECT es_append('p-1', -1, 'Prepared', '{}'); PREPARE TRANSACTION 'held'});
	$append->('b-1');
	for my $stop ('fast', 'immediate')
	{
		is($head->(), $told, "$end PREPARED: held before");
		$node->stop($stop);
		$node->start;
		is($head->(), $told, "$end PREPARED: held after a stop ($stop)");
		is(sql($node, 'SELECT count(*) FROM es_read_all(' . $told . ')'), 0, "$end PREPARED: and nothing is read beyond");
		is(sql($node, 'SELECT pid IS NULL, xact_start = (SELECT prepared FROM pg_prepared_xacts), lowest_position > es_head() FROM eventstore.inflight'),
			't|t|t', "$end PREPARED: it is named");
		$append->('b-1');
	}
	sql($node, "$end PREPARED 'held'");
	is($head->(), $last->(), "$end PREPARED: released");
	is(sql($node, "SELECT stream, count(*) FROM es_read_all($told) GROUP BY stream ORDER BY stream DESC"),
		($end eq 'COMMIT' ? "p-1|1\n" : '') . 'b-1|3', "$end PREPARED: and everything is read");
	$is_kept->("$end PREPARED");
}

# Other databases: their appends, their long transactions, their prepared ones, here and there.
sql($node, 'CREATE DATABASE other');
sql($node, 'CREATE EXTENSION eventstore; CREATE TABLE stranger (n int)', 'other');
my ($appender, $stranger) = (session($node, 'other'), session($node, 'other'));
$appender->query_safe(q{BEGIN; SELECT es_append('a-1', 0, 'Open', '{}')});
$stranger->query_safe('BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO stranger VALUES (1)');
sql($node, q{BEGIN; SELECT es_append('b-1', 0, 'Prepared', '{}'); PREPARE TRANSACTION 'elsewhere'}, 'other');
is(sql($node, 'SELECT count(*), es_head() FROM eventstore.inflight', 'other'), '2|0', 'other database: two are in flight there');
$append->('b-1');
is($head->(), $last->(), 'other database: none holds the head here');
$is_kept->('other database');
$appender->query_safe('COMMIT');
is(sql($node, 'SELECT count(*), es_head() FROM eventstore.inflight', 'other'), '1|1', 'other database: its own head follows its own appends');
sql($node, q{COMMIT PREPARED 'elsewhere'}, 'other');
is(sql($node, 'SELECT es_head()', 'other'), 2, 'other database: to the end');
$stranger->query_safe('COMMIT');
$_->quit for $appender, $stranger;

# A snapshot that somebody else took, and that is older than all that the importing session has read.
my ($open, $exporter) = (session($node), session($node));
for my $subtransactions (0, 200)
{
	my $what = "imported snapshot, $subtransactions subtransactions";
	$told = $head->();
	$open->query_safe('BEGIN');
	# More than a backend can list make the snapshot "overflowed".
	$open->query_safe(<<"SQL");
		DO \$\$ BEGIN FOR i IN 1 .. $subtransactions LOOP
			BEGIN PERFORM es_append('sub-1', -1, 'Sub', '{}'); EXCEPTION WHEN division_by_zero THEN NULL; END;
		END LOOP; END \$\$
SQL
	$open->query_safe(q{SELECT es_append('a-1', -1, 'Late', '{}')});
	$append->('b-1');
	my $snapshot = $exporter->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot()');
	$open->query_safe('COMMIT');
	my $read = "SELECT es_head(), count(*) FROM es_read_all($told, NULL)";
	my $import = "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '$snapshot'; $read; $read; COMMIT";
	my $everything = $last->() . '|' . ($subtransactions + 2);

	is(sql($node, $import), "$told|0\n$told|0", "$what: nothing is read beyond what was in flight");
	is(sql($node, "$read; $import; $read"), "$everything\n$told|0\n$told|0\n$everything", "$what: nor by a session that knows more");
	is(sql($node, "BEGIN ISOLATION LEVEL REPEATABLE READ; $read; COMMIT; $import; BEGIN ISOLATION LEVEL REPEATABLE READ; $read; COMMIT"),
		"$everything\n$told|0\n$told|0\n$everything", "$what: even of an earlier snapshot");
	sql($node, 'VACUUM eventstore.events');
	is(sql($node, $import), "$told|0\n$told|0", "$what: nor after VACUUM");
	is($exporter->query_safe("$read; COMMIT"), "$told|0", "$what: nor by who exported it");
	is($exporter->query_safe($read), $everything, "$what: and everything by the next transaction");
}

# A table of many pages, most of which are visible to everybody.
sql($node, q{SELECT count(es_append('many-' || i % 10, -1, 'Many', jsonb_build_object('fill', repeat('x', 500)))) FROM generate_series(1, 3000) i});
sql($node, 'VACUUM eventstore.events');
$told = $head->();
$open->query_safe(q{BEGIN; SELECT es_append('a-1', -1, 'Late', '{}')});
sql($node, q{SELECT count(es_append('many-' || i % 10, -1, 'Many', jsonb_build_object('fill', repeat('x', 500)))) FROM generate_series(1, 300) i});
$exporter->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$open->query_safe('COMMIT');
sql($node, 'VACUUM eventstore.events');
is($exporter->query_safe('SELECT es_head()'), $told, 'many pages: the oldest snapshot finds what was in flight');
is($exporter->query_safe("SELECT count(*) FROM es_read_all($told, NULL)"), 0, 'many pages: and reads nothing beyond');
$exporter->query_safe('COMMIT');
is($exporter->query_safe("SELECT count(*) FROM es_read_all($told, NULL)"), 301, 'many pages: afterwards it reads all');
$_->quit for $open, $exporter;
is_sound($node, 'at the end');

# Positions go up by one, whatever the sequence says of its values.
sql($node, 'ALTER SEQUENCE eventstore.positions CACHE 10 INCREMENT 7 CYCLE');
my @cached = (session($node), session($node));
$told = $last->();
$cached[$_ % 2]->query_safe("SELECT es_append('a-1', -1, array_fill('Any'::text, ARRAY[$_]), array_fill('{}'::jsonb, ARRAY[$_]))") for 1 .. 4;
is(sql($node, "SELECT string_agg((position - $told)::text, ' ' ORDER BY version) FROM eventstore.events WHERE stream = 'a-1' AND position > $told"),
	join(' ', 1 .. 10), 'neither cache nor increment of the sequence leave gaps');
sql($node, 'ALTER SEQUENCE eventstore.positions CACHE 1 INCREMENT 1 NO CYCLE');

# What was given out last is not given out again: not in a transaction that has published it, nor at the end of all.
$cached[0]->query_safe(q{BEGIN; SELECT es_append('a-1', -1, 'First', '{}')});
$told = $last->();
sql($node, "SELECT setval('eventstore.positions', $told - 5)");
$cached[0]->query(q{SELECT es_append('a-1', -1, 'Second', '{}')});
like($cached[0]->{stderr}, qr/positions are behind the events that are stored/, 'a sequence that was set back is refused');
$cached[0]->{stderr} = '';
$cached[0]->query_safe('ROLLBACK');
sql($node, "SELECT setval('eventstore.positions', 9223372036854775806)");
$cached[0]->query(q{SELECT es_append('a-1', -1, '[{"type": "Last"}, {"type": "TooMuch"}]')});
like($cached[0]->{stderr}, qr/the store has no position left/, 'where positions end, a batch is refused');
sql($node, "SELECT setval('eventstore.positions', $told)");
is(sql($node, "SELECT count(*) FROM eventstore.events WHERE type IN ('First', 'Second', 'Last', 'TooMuch')"), 0, 'and nothing of all that is stored');
$_->quit for @cached;
$is_kept->('a sequence that was meddled with');

# After a crash, positions go on above those of a batch that were logged at once, and of those that were not logged any more.
for my $appends ([100], [1], [1, 31], [1, 32, 1], [40, 40]) {
	sql($node, 'CHECKPOINT') if @$appends > 1;
	sql($node, "SELECT es_append('crash-1', -1, array_fill('Any'::text, ARRAY[$_]), array_fill('{}'::jsonb, ARRAY[$_]))") for @$appends;
	my $before = $last->();
	$node->stop('immediate');
	$node->start;
	cmp_ok(sql($node, q{SELECT es_append('crash-1', -1, 'After', '{}'); SELECT es_last_position()}) =~ s/.*\n//r, '>', $before,
		"after appends of @$appends and a crash, positions go on");
}
is_sound($node, 'after the crashes');

done_testing();
