# Async projections run by themselves where the library is preloaded: several at a time, exactly once whatever ends the processes, out of the
# way of commands that need the database or the projection; and not at all where they shall not.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('runner', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'postgres, shop, store'", 'restart_after_crash = on', 'max_worker_processes = 20');
my $append = sub { my ($n, $type) = @_; 'SELECT count(*) FROM (SELECT es_append(\'a-\' || i % 7, -1, \'' . ($type // 'In') . "', jsonb_build_object('n', i)) FROM generate_series(1, $n) i) x;" };
my $count = q{SELECT type, count(*) AS n FROM events GROUP BY type};
my $set = sub { sql($node, "ALTER SYSTEM SET $_[0] = $_[1]; SELECT pg_reload_conf()") };
my $runners = sub { my $database = $_[0] // 'postgres'; "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore runner' AND datname = '$database'" };
my $log = sub { PostgreSQL::Test::Utils::slurp_file($node->logfile, $_[0]) };
# Tests that a projection is applied to everything, exactly once.
my $is_right = sub {
	my ($projection, $name, $database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	becomes($node, "SELECT lag FROM eventstore.projection_status WHERE name = '$projection'", 0, "$name: all is applied", $database);
	is(sql($node, "SELECT count(*) FROM es_verify_projection('$projection')", $database), 0, "$name: and right");
};

# None without work
sql($node, $append->(100));
is(sql($node, $runners->()), 0, 'no async projection: no runner');
sql($node, "SELECT es_create_projection('counts', \$\$$count\$\$, 'async')");
$is_right->('counts', 'made on a store with history');
becomes($node, q{SELECT application_name, state, query, wait_event_type FROM pg_stat_activity WHERE backend_type = 'eventstore runner'},
	'eventstore|idle|waiting for events|Extension', 'it shows in pg_stat_activity');

# Soon
sql($node, q{CREATE TABLE delays (position bigint, delay interval);
	SELECT es_create_projection('delays', 'INSERT INTO delays SELECT position, clock_timestamp() - recorded_at FROM events', 'async', types => '{Timed}', tables => '{delays}')});
$is_right->('counts', 'before');
# A machine that is busy may be so for one round, or two; who is not told is late in all of them.
my @medians;
for my $round (1 .. 5)
{
	last if @medians && $medians[-1] < 50;
	sql($node, 'TRUNCATE delays');
	sql($node, q{SELECT es_append('t-1', -1, 'Timed', '{}')}), sleep 0.02 for 1 .. 40;
	$node->poll_query_until('postgres', 'SELECT count(*) = 40 FROM delays');
	push @medians, sql($node, 'SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM delay)) * 1000 FROM delays');
}
is(sql($node, 'SELECT count(DISTINCT position) FROM delays'), 40, 'each is applied');
cmp_ok($medians[-1], '<', 50, "within 50 ms of the append, half of them: @medians");

# Several at a time; the slow ones take some time in any case, and have to wait while the gate is closed.
my $gate = session($node);
my $close = sub { $gate->query_safe('SELECT pg_advisory_lock(1)') };
my $open = sub { $gate->query_safe('SELECT pg_advisory_unlock(1)') };
sql($node, q{CREATE TABLE slow (projection text, position bigint, PRIMARY KEY (projection, position));
	CREATE FUNCTION slowly(p bigint) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.3), pg_advisory_xact_lock_shared(1); RETURN p; END'});
sql($node, "SELECT es_create_projection('slow_$_', 'INSERT INTO slow SELECT ''$_'', slowly(position) FROM events', 'async', types => '{Slow}', tables => '{slow}')") for 1 .. 3;
becomes($node, q{SELECT max(lag) FROM eventstore.projection_status}, 0, 'slow ones are made');
$close->();
sql($node, q{SELECT es_append('s-1', -1, 'Slow', '{}')});
becomes($node, q{SELECT count(DISTINCT runner_pid) FROM eventstore.projection_status}, 2, 'two at work, as the status tells');
is(sql($node, $runners->()), 2, 'no more than projection_workers');
$open->();
becomes($node, q{SELECT count(*), count(DISTINCT projection) FROM slow}, '3|3', 'all get their turn, once');
$set->('eventstore.projection_workers', 3);
$close->();
sql($node, q{SELECT es_append('s-1', -1, 'Slow', '{}')});
becomes($node, q{SELECT count(DISTINCT runner_pid) FROM eventstore.projection_status}, 3, 'three, when set so');
$open->();
# A session that has the projection's lock goes first, and others wait for nothing but its own projection.
my $session = session($node);
becomes($node, q{SELECT max(lag) FROM eventstore.projection_status}, 0, 'idle');
$session->query_safe(q{BEGIN; SELECT es_run_projection('slow_1')});
sql($node, q{SELECT es_append('s-1', -1, 'Slow', '{}')});
becomes($node, q{SELECT lag FROM eventstore.projection_status WHERE name IN ('slow_1', 'slow_2', 'slow_3') ORDER BY name}, "1\n0\n0", 'a projection that a session has to itself waits');
$session->query_safe('COMMIT');
becomes($node, q{SELECT max(lag) FROM eventstore.projection_status}, 0, 'until that lets go');
$session->query_safe(q{BEGIN; SELECT es_run_projection('slow_1')});
sql($node, q{SELECT es_append('s-1', -1, 'Slow', '{}')});
$session->query_safe('ROLLBACK');
becomes($node, q{SELECT max(lag) FROM eventstore.projection_status}, 0, 'rolled back: the same');
is(sql($node, q{SELECT count(*) FROM slow}), 12, 'once each');

# Errors: what stops, stops at the event; what skips, goes on; nobody else is held up.
sql($node, q{CREATE TABLE quotients (projection text, position bigint, q int)});
sql($node, "SELECT es_create_projection('$_', 'INSERT INTO quotients SELECT ''$_'', position, 6 / (data->>''n'')::int FROM events', 'async', types => '{Divided}', tables => '{quotients}', on_error => '$_')")
  for 'stop', 'skip';
sql($node, qq{SELECT es_append('d-1', -1, 'Divided', '{"n": $_}')}) for 1, 2, 0, 3;
becomes($node, q{SELECT name, state, lag, last_error FROM eventstore.projection_status WHERE name IN ('stop', 'skip') ORDER BY 1},
	"skip|running|0|division by zero\nstop|failed|2|division by zero", 'on_error');
is(sql($node, q{SELECT projection, count(*) FROM quotients GROUP BY projection ORDER BY 1}), "skip|3\nstop|2", 'each has what can be applied');
$is_right->('counts', 'another one');

# What is not the SQL's fault: tried again, after a pause, while others go on
sql($node, q{CREATE TABLE busy (position bigint);
	SELECT es_create_projection('busy', 'INSERT INTO busy SELECT position FROM events', 'async', types => '{Busy}', tables => '{busy}')});
becomes($node, q{SELECT lag FROM eventstore.projection_status WHERE name = 'busy'}, 0, 'before');
my $offset = -s $node->logfile;
$session->query_safe('BEGIN; LOCK TABLE busy');
sql($node, q{SELECT es_append('b-1', -1, 'Busy', '{}')});
becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore runner' AND wait_event_type = 'Lock'}, 1, 'one waits for a lock');
sql($node, q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'eventstore runner' AND wait_event_type = 'Lock'});
my $end = time + 20;
sleep 0.02 while $log->($offset) !~ /ERROR:  canceling statement due to user request/ && time < $end;
like($log->($offset), qr/ERROR:  canceling statement due to user request/, 'cancelled: the log tells');
$session->query_safe('COMMIT');
$is_right->('busy', 'tried again');
is(sql($node, q{SELECT state FROM eventstore.projection_status WHERE name = 'busy'}), 'running', 'it has not failed');

# Two that wait for each other: it is the runner who begins anew, not who waits longer.
sql($node, q{CREATE TABLE circle (id int PRIMARY KEY, n int); INSERT INTO circle VALUES (1, 0), (2, 0); CREATE TABLE crossed (position bigint);
	CREATE FUNCTION cross_over(p bigint) RETURNS bigint LANGUAGE plpgsql AS
		'BEGIN UPDATE circle SET n = n + 1 WHERE id = 1; PERFORM pg_advisory_xact_lock_shared(1); UPDATE circle SET n = n + 1 WHERE id = 2; RETURN p; END';
	SELECT es_create_projection('crossed', 'INSERT INTO crossed SELECT cross_over(position) FROM events', 'async', types => '{Crossing}', tables => '{crossed, circle}')});
becomes($node, q{SELECT lag FROM eventstore.projection_status WHERE name = 'crossed'}, 0, 'before');
$close->();
sql($node, q{SELECT es_append('c-1', -1, 'Crossing', '{}')});
becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore runner' AND wait_event = 'advisory'}, 1, 'a runner has one row');
$session->{stderr} = '';
$session->query_safe('BEGIN; UPDATE circle SET n = n + 10 WHERE id = 2');
send_query($session, 'UPDATE circle SET n = n + 10 WHERE id = 1');
becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE circle%' AND wait_event_type = 'Lock'}, 1, 'a session has the other, and waits');
$open->();
$session->query('');
is($session->{stderr}, '', 'the session has it without an error');
$session->query_safe('COMMIT');
becomes($node, q{SELECT lag FROM eventstore.projection_status WHERE name = 'crossed'}, 0, 'the runner tries again');
is(sql($node, q{SELECT * FROM circle ORDER BY id}), "1|11\n2|11", 'both have done what they had to, once');

# Slow ones: a batch has as many events as there is time for, a single one where that takes long by itself, and others get their turn in between.
sql($node, q{CREATE TABLE done (projection text, type text, position bigint, xid xid8 DEFAULT pg_current_xact_id(), PRIMARY KEY (projection, position));
	CREATE TABLE hurry (is_on boolean);
	CREATE FUNCTION do_slowly(t text, p bigint) RETURNS bigint LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_sleep(0.45) WHERE t = ''Sluggish'' AND NOT EXISTS (SELECT FROM hurry); RETURN p; END'});
sql($node, "SELECT es_create_projection('sluggish_$_', 'INSERT INTO done SELECT ''$_'', type, do_slowly(type, position) FROM events', 'async', types => '{Quick,Sluggish}', tables => '{done}', granularity => '$_')") for 'event', 'batch';
sql($node, $append->(1, 'Quick'));
becomes($node, q{SELECT max(lag) FROM eventstore.projection_status WHERE name LIKE 'sluggish%'}, 0, 'before');
sql($node, q{SELECT es_pause_projection('sluggish_event')});
sql($node, $append->(300, 'Quick'));
# Of a batch, one statement, it is not known before that it is slow: it learns that from a few.
sql($node, $append->(3, 'Sluggish'));
becomes($node, q{SELECT lag FROM eventstore.projection_status WHERE name = 'sluggish_batch'}, 0, 'a few slow ones');
sql($node, $append->(200, 'Sluggish'));
sql($node, q{SELECT es_resume_projection('sluggish_event')});
becomes($node, q{SELECT count(*) FROM (SELECT DISTINCT projection FROM done WHERE type = 'Sluggish') p}, 2, 'both are at work on slow ones');
sql($node, $append->(1));
$node->poll_query_until('postgres', "SELECT position >= (SELECT max(position) FROM eventstore.events) FROM eventstore.projection_status WHERE name = 'counts'");
my $behind = sql($node, q{SELECT string_agg((lag > 0)::text, ' ') FROM eventstore.projection_status WHERE name LIKE 'sluggish%'});
is($behind, 'true true', 'another is applied meanwhile');
is(sql($node, q{SELECT max(n) FROM (SELECT count(*) AS n FROM done WHERE type = 'Sluggish' AND projection = 'event' GROUP BY xid) b}), 1, 'event by event: a transaction ends behind a slow one');
# They need not be slow to the end.
sql($node, q{INSERT INTO hurry VALUES (true)});
becomes($node, q{SELECT max(lag) FROM eventstore.projection_status WHERE name LIKE 'sluggish%'}, 0, 'all are applied');
is(sql($node, q{SELECT count(*) FROM done}), 1008, 'once each');

# Ended, by whoever, in the middle
$close->();
sql($node, q{SELECT es_append('s-1', -1, 'Slow', '{}')});
becomes($node, q{SELECT count(DISTINCT runner_pid) > 0 FROM eventstore.projection_status}, 't', 'at work');
sql($node, q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'eventstore runner'});
$open->();
becomes($node, q{SELECT max(lag) FROM eventstore.projection_status WHERE state = 'running'}, 0, 'terminated: started again');
is(sql($node, q{SELECT count(*) FROM slow}), 15, 'once each');
$close->();
sql($node, q{SELECT es_append('s-1', -1, 'Slow', '{}')});
becomes($node, q{SELECT count(DISTINCT runner_pid) > 0 FROM eventstore.projection_status}, 't', 'at work again');
kill 'KILL', split /\n/, sql($node, q{SELECT runner_pid FROM eventstore.projection_status WHERE runner_pid IS NOT NULL});
$node->poll_query_until('postgres', q{SELECT max(lag) = 0 FROM eventstore.projection_status WHERE state = 'running'});
is(sql($node, q{SELECT count(*) FROM slow}), 18, 'killed, and the server with it: once each');
eval { $_->quit } for $session, $gate;
$node->stop('immediate');
$node->start;
$is_right->('counts', 'after a stop at once');

# Commands that need the projection, the extension or the database
sql($node, q{SELECT es_append('s-1', -1, 'Slow', '{}')});
sql($node, q{SELECT es_drop_projection('slow_2'), es_pause_projection('slow_3')});
is(sql($node, q{SELECT string_agg(name, ' ' ORDER BY name) FROM eventstore.projection_status WHERE name LIKE 'slow%'}), 'slow_1 slow_3', 'dropped at work');
sql($node, 'CREATE DATABASE shop');
sql($node, "CREATE EXTENSION eventstore; SELECT es_create_projection('counts', \$\$$count\$\$, 'async');" . $append->(100), 'shop');
$is_right->('counts', 'another database', 'shop');
cmp_ok(sql($node, $runners->('shop')), '>', 0, 'it has runners of its own');
sql($node, 'ALTER DATABASE shop RENAME TO store');
sql($node, $append->(10), 'store');
$is_right->('counts', 'renamed', 'store');
sql($node, 'CREATE DATABASE shop TEMPLATE store');
$is_right->('counts', 'copied', 'shop');
sql($node, $append->(10), 'store');
sql($node, 'DROP DATABASE store');
is(sql($node, $runners->('store')), 0, 'dropped');
sql($node, $append->(100), 'shop');
# The deadlock detector may choose who drops what a runner is at work on, if that has begun to wait at the same time.
my $dropped = '40P01';
for (1 .. 10) { $dropped = sqlstate($node, 'DROP EXTENSION eventstore CASCADE', 'shop') if $dropped eq '40P01' }
is($dropped, '', 'DROP EXTENSION of one at work');
sql($node, "CREATE EXTENSION eventstore; DROP TABLE counts; SELECT es_create_projection('counts', \$\$$count\$\$, 'async');" . $append->(5), 'shop');
$is_right->('counts', 'dropped and made anew', 'shop');

# Not at all
$set->('eventstore.projection_workers', 0);
becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore runner'}, 0, 'none');
sql($node, $append->(10));
sleep 0.2;
is(sql($node, q{SELECT lag FROM eventstore.projection_status WHERE name = 'counts'}), 10, 'nobody does it');
is(sql($node, q{SELECT es_run_projection('counts')}), 10, 'but who calls es_run_projection');
sql($node, $append->(10));
$set->('eventstore.projection_workers', 1);
$is_right->('counts', 'one');
$session = session($node);
$session->query_safe('BEGIN; LOCK TABLE busy');
sql($node, q{SELECT es_append('b-1', -1, 'Busy', '{}')});
becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore runner' AND wait_event_type = 'Lock'}, 1, 'it waits for a lock');
sql($node, q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'eventstore runner' AND wait_event_type = 'Lock'});
becomes($node, q{SELECT state, last_error_code, last_error FROM eventstore.projection_status WHERE name = 'busy'}, 'running|57014|canceling statement due to user request',
	'what keeps it from going on is told');
$session->query_safe('COMMIT');
$session->quit;
$is_right->('busy', 'and tried again');
$set->('eventstore.databases', 'shop');
becomes($node, $runners->(), 0, 'a database taken from the list: none');
$node->stop('fast');
unlike($log->(0), qr/PANIC|TRAP|could not start a process/, 'nothing untoward');
done_testing();
