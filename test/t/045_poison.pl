# An event of which the process dies that applies it: it is found out, after the server has gone down twice at most, and treated as on_error
# says. Who is killed because of somebody else has not died of an event.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('poison', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'postgres'", 'restart_after_crash = on', 'max_worker_processes = 20');
my $log = sub { PostgreSQL::Test::Utils::slurp_file($node->logfile, $_[0] // 0) };
my $crashes = sub { my $text = $log->($_[0]); return scalar(() = $text =~ /was terminated by signal 9/g) };
my $is_up = sub { $node->poll_query_until('postgres', 'SELECT true') };
my $status = sub { "SELECT state, lag, last_error_code, last_error, last_error_position = (SELECT position FROM eventstore.events WHERE type = 'Bad' AND category = '$_[0]') FROM eventstore.projection_status WHERE name = '$_[0]'" };
my $marks = sub { my @files = glob($node->data_dir . '/pg_stat_tmp/eventstore.*'); return @files ? "@files" : 'none' };
my $offset;

# What comes of a query in the end, with the server going down meanwhile.
sub comes_to
{
	my ($query, $expected, $name) = @_;
	my ($got, $until) = ('', time + 60);
	while ($got ne $expected && time < $until)
	{
		sleep 0.2;
		$node->psql('postgres', $query, stdout => \$got);
	}
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($got, $expected, $name);
}

sql($node, q{
	SELECT es_create_projection('counts', 'SELECT type, count(*) AS n FROM events GROUP BY type', 'async');
	CREATE TABLE seen (projection text, position bigint, PRIMARY KEY (projection, position));
	CREATE TABLE gate (is_closed boolean NOT NULL);
	INSERT INTO gate VALUES (true);
	CREATE FUNCTION die(how text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF how = 'kill' THEN
			EXECUTE format('COPY (SELECT 1) TO PROGRAM ''kill -9 %s''', pg_backend_pid());
		ELSE
			PERFORM pg_terminate_backend(pg_backend_pid());
		END IF;
		PERFORM pg_sleep(60);
	END $$;
	CREATE FUNCTION see(projection text, e eventstore.event) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF e.type = 'Bad' THEN
			PERFORM die(e.data ->> 'how');
		ELSIF e.type = 'Waits' THEN
			WHILE (SELECT is_closed FROM gate) LOOP
				PERFORM pg_sleep(0.05);
			END LOOP;
		END IF;
		INSERT INTO seen VALUES (projection, e.position);
	END $$});
my $create = sub { my ($name, $on_error) = @_; sql($node, "SELECT es_create_projection('$name', 'SELECT see(''$name'', e) FROM events e', 'async', categories => '{$name}', tables => '{seen}', on_error => '$on_error')") };
# In one transaction, as the server may not be there after the first.
my $append = sub { my ($category, $how, @types) = @_; sql($node, 'BEGIN;' . join('', map { "SELECT es_append('$category-1', -1, '$_', jsonb_build_object('how', '$how'));" } @types) . 'COMMIT') };

# One that terminates itself: the server stays, the projection stops there, and status tells.
$create->('fatal', 'stop');
$append->('fatal', '', 'Good');
becomes($node, q{SELECT lag FROM eventstore.projection_status WHERE name = 'fatal'}, 0, 'before');
$append->('fatal', 'terminate', 'Bad', 'Good');
$node->poll_query_until('postgres', q{SELECT last_error_code IS NOT NULL FROM eventstore.projection_status WHERE name = 'fatal'});
is(sql($node, q{SELECT state, last_error_code FROM eventstore.projection_status WHERE name = 'fatal'}), 'running|57P01', 'status tells of the first time');
$node->poll_query_until('postgres', q{SELECT state <> 'running' FROM eventstore.projection_status WHERE name = 'fatal'});
like(sql($node, $status->('fatal')), qr/^failed\|2\|57P01\|terminating .*\|t$/, 'stopped at the event');
is(sql($node, q{SELECT count(*) FROM seen WHERE projection = 'fatal'}), 1, 'which leaves nothing behind');
is($crashes->(), 0, 'and has harmed nobody');
is($marks->(), 'none', 'nothing is left to be remembered');

# One that is killed, a single one: twice.
$create->('single', 'stop');
$offset = -s $node->logfile;
$append->('single', 'kill', 'Bad', 'Good');
comes_to($status->('single'), 'failed|2|57P02|the process that applied it was killed, or crashed|t', 'killed: stopped at the event');
cmp_ok($crashes->($offset), '<=', 2, 'the server has gone down twice at most');

# Among many: it is skipped, and all others are applied, once.
$create->('many', 'skip');
sql($node, q{SELECT es_pause_projection('many')});
sql($node, q{SELECT count(*) FROM (SELECT es_append('many-' || i % 7, -1, CASE i WHEN 613 THEN 'Bad' ELSE 'Good' END, '{"how": "kill"}') FROM generate_series(1, 1000) i) x});
$offset = -s $node->logfile;
sql($node, q{SELECT es_resume_projection('many')});
comes_to($status->('many'), 'running|0|57P02|the process that applied it was killed, or crashed|t', 'killed among many: skipped');
cmp_ok($crashes->($offset), '<=', 2, 'the server has gone down twice at most');
is(sql($node, q{SELECT count(*) FROM seen WHERE projection = 'many'}), 999, 'all others are applied, once');
comes_to(q{SELECT count(*) FROM es_verify_projection('counts')}, 0, 'other projections are right');

# Somebody else is killed while an event is applied, again and again.
my $open = sub { sql($node, 'UPDATE gate SET is_closed = false') };
my $is_at_work = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore runner' AND wait_event = 'PgSleep'};
$create->('innocent', 'skip');
$append->('innocent', '', 'Waits');
comes_to($is_at_work, 1, 'at work');
for my $time (1 .. 3)
{
	my $victim = session($node);
	$offset = -s $node->logfile;
	kill 'KILL', $victim->query_safe('SELECT pg_backend_pid()');
	eval { $victim->quit };
	for (1 .. 300) { last if $log->($offset) =~ /database system is ready to accept connections/; sleep 0.1 }
	comes_to($is_at_work, 1, "somebody was killed, $time: at work again");
}
$open->();
comes_to(q{SELECT state, lag, last_error FROM eventstore.projection_status WHERE name = 'innocent'}, 'running|0|', 'applied in the end, without an error');

# Terminated by others: told, and tried again for ever
sql($node, 'UPDATE gate SET is_closed = true');
$append->('innocent', '', 'Waits');
comes_to($is_at_work, 1, 'at work once more');
for my $time (1 .. 3)
{
	sql($node, q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'eventstore runner' AND wait_event = 'PgSleep'});
	comes_to($is_at_work, 1, "terminated, $time: at work again");
}
is(sql($node, q{SELECT state, lag, last_error_code FROM eventstore.projection_status WHERE name = 'innocent'}), 'running|1|57P01', 'and told');

# The server is stopped while an event is applied.
for my $how ('fast', 'immediate')
{
	$node->stop($how);
	$node->start;
	comes_to($is_at_work, 1, "stopped ($how) and started: at work again");
}
$open->();
comes_to(q{SELECT state, lag FROM eventstore.projection_status WHERE name = 'innocent'}, 'running|0', 'applied in the end');
is(sql($node, q{SELECT count(*) FROM seen WHERE projection = 'innocent'}), 2, 'each once');

# Dropped with something to be remembered of it
$create->('dropped', 'stop');
$append->('dropped', 'terminate', 'Bad');
$node->poll_query_until('postgres', q{SELECT last_error_code IS NOT NULL FROM eventstore.projection_status WHERE name = 'dropped'});
sql($node, q{SELECT es_drop_projection('dropped')});
comes_to(q{SELECT max(lag) FROM eventstore.projection_status WHERE state = 'running'}, 0, 'all that runs has nothing to do');
is($marks->(), 'none', 'nothing is left to be remembered in the end');

$node->stop;
done_testing();
