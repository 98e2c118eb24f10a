# Projections through a dump and a restore, a crash, DROP and CREATE EXTENSION in one session and in two, without any cache, behind
# prepared transactions, on a standby, and by logical replication.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $balances = <<'SQL';
	SELECT es_create_projection('balances', $$SELECT stream, coalesce(sum(data::int), 0) * 2 AS twice, avg(data::int) AS mean, es_last(type, position) AS last FROM events GROUP BY stream$$);
	SELECT es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category');
	SELECT es_create_projection('async_counts', 'SELECT category, count(*) AS n FROM events GROUP BY category', 'async');
	SELECT es_create_projection('noted', 'INSERT INTO noted SELECT position, stream FROM events', types => '{T}', tables => '{noted}');
	SELECT es_create_projection('paused', 'SELECT type, count(*) AS n FROM events GROUP BY type');
	SELECT es_pause_projection('paused');
SQL

# Read tables that differ from the query over all events; nothing if all is well
sub differing
{
	my ($node, $database) = @_;
	return sql($node, <<'SQL', $database);
		SELECT 'balances' FROM balances b FULL JOIN (SELECT stream, coalesce(sum(data::int), 0) * 2 AS twice, avg(data::int) AS mean, (array_agg(type ORDER BY position DESC))[1] AS last
			FROM eventstore.events GROUP BY stream) e USING (stream) WHERE (b.twice, b.mean, b.last) IS DISTINCT FROM (e.twice, e.mean, e.last)
		UNION ALL SELECT 'counts' FROM counts c FULL JOIN (SELECT category, count(*) AS n FROM eventstore.events GROUP BY category) e USING (category) WHERE c.n IS DISTINCT FROM e.n
		UNION ALL SELECT 'async_counts' FROM async_counts c FULL JOIN (SELECT category, count(*) AS n FROM eventstore.events
			WHERE position <= (SELECT position FROM eventstore.projection_checkpoints WHERE projection = 'async_counts') GROUP BY category) e USING (category) WHERE c.n IS DISTINCT FROM e.n
		UNION ALL SELECT 'noted' FROM noted n FULL JOIN (SELECT position FROM eventstore.events WHERE type = 'T') e USING (position) WHERE n.position IS NULL OR e.position IS NULL
		UNION ALL SELECT 'paused' FROM paused p FULL JOIN (SELECT type, count(*) AS n FROM eventstore.events
			WHERE position <= (SELECT CASE state WHEN 'paused' THEN c.position ELSE 1e9 END FROM eventstore.projections p JOIN eventstore.projection_checkpoints c ON c.projection = p.name WHERE name = 'paused') GROUP BY type) e USING (type) WHERE p.n IS DISTINCT FROM e.n
SQL
}

my $append = "SELECT es_append('a-' || i % 5, es_any(), CASE WHEN i % 2 = 0 THEN 'T' ELSE 'U' END, to_jsonb(i)) FROM generate_series(1, 20) i;";

my $node = new_node('projections', 'wal_level = logical', 'max_wal_senders = 5');
sql($node, "CREATE TABLE noted (position bigint PRIMARY KEY, stream text); $append $balances $append SELECT es_run_projection('async_counts', 7); $append");
is(differing($node), '', 'all tables are right');

# One that has been let go on without an event, and has stopped at another
sql($node, q{
	SET client_min_messages = error;
	SELECT es_create_projection('stopped', 'SELECT stream, count(*) AS n, sum(12 / data::int) AS q FROM events GROUP BY stream', types => '{S}', on_error => 'stop');
	SELECT es_append('a-1', es_any(), 'S', d::jsonb) FROM unnest('{1,0,2}'::text[]) d;
	SELECT es_skip_event('stopped', last_error_position, 'no quotient') FROM eventstore.projection_status WHERE name = 'stopped';
	SELECT es_append('a-1', es_any(), 'S', d::jsonb) FROM unnest('{3,0,4}'::text[]) d});
my $stopped = q{SELECT state, lag, events_applied, last_error, n, q, (SELECT count(*) FROM es_verify_projection('stopped')), (SELECT array_agg(m.position - last_error_position ORDER BY m.position) FROM eventstore.projection_missed m),
	(SELECT string_agg(concat_ws(' ', projection, s.position, code, error, reason, at), ', ') FROM eventstore.skipped_events s) FROM eventstore.projection_status, stopped WHERE name = 'stopped'};
like(sql($node, $stopped), qr/^failed\|2\|3\|division by zero\|3\|22\|0\|\{0,1\}\|stopped \d+ 22012 division by zero no quotient /, 'stopped at an event, and skipped another');

# A dump
for my $format ('plain', 'custom')
{
	my $file = PostgreSQL::Test::Utils::tempdir() . "/dump.$format";
	command_ok([ 'pg_dump', '-F', $format, '-f', $file, $node->connstr('postgres') ], "dumped as $format");
	sql($node, "CREATE DATABASE $format");
	command_ok($format eq 'plain' ? [ 'psql', '-Xqq', '-v', 'ON_ERROR_STOP=1', '-f', $file, $node->connstr($format) ]
		: [ 'pg_restore', '--exit-on-error', '-d', $node->connstr($format), $file ], "restored from $format");
	is(differing($node, $format), '', "$format: nothing was applied by the restore");
	is(sql($node, 'SELECT name, state, c.position, c.events_applied FROM eventstore.projections p JOIN eventstore.projection_checkpoints c ON c.projection = p.name ORDER BY name', $format),
		sql($node, 'SELECT name, state, c.position, c.events_applied FROM eventstore.projections p JOIN eventstore.projection_checkpoints c ON c.projection = p.name ORDER BY name'), "$format: the definitions and checkpoints are there");
	sql($node, "$append SELECT es_run_projection('async_counts'), es_resume_projection('paused'); $append", $format);
	is(differing($node, $format), '', "$format: they go on where they were");
	is(sql($node, "SELECT sum(n) = (SELECT count(*) FROM eventstore.events) FROM paused", $format), 't', "$format: the paused one has caught up");
	is(sql($node, $stopped, $format), sql($node, $stopped), "$format: what was skipped and missed is there");
	sql($node, q{SELECT es_skip_event('stopped', min(position)) FROM eventstore.projection_missed}, $format);
	is(sql($node, q{SELECT n, q, lag, (SELECT count(*) FROM es_verify_projection('stopped')) FROM stopped, eventstore.projection_status WHERE name = 'stopped'}, $format), '4|25|0|0', "$format: and it goes on without it");
	sql($node, 'DROP EXTENSION eventstore', $format);
	is(sql($node, "SELECT count(*) FROM balances", $format), '5', "$format: DROP EXTENSION leaves the read tables");
}

# A crash
sql($node, "BEGIN; $append PREPARE TRANSACTION 'p'");
my $open = session($node);
send_query($open, "BEGIN; $append");
$node->stop('immediate');
$node->start;
is(differing($node), '', 'a crash takes an append and what it applied away');
eval { $open->{run}->kill_kill };
is(sqlstate($node, "SET lock_timeout = '300 ms'; SELECT es_pause_projection('counts')"), '55P03', 'a prepared append keeps an inline projection from being changed, as long as lock_timeout says');
sql($node, "COMMIT PREPARED 'p'");
is(differing($node), '', 'what a prepared transaction has applied is there after a crash');
sql($node, "SELECT es_pause_projection('counts'), es_resume_projection('counts')");

# Two sessions: one keeps definitions and plans while the other replaces all
my $one = session($node);
$one->query($append);
sql($node, 'DROP EXTENSION eventstore; DROP TABLE balances, counts, async_counts, paused, stopped; TRUNCATE noted; CREATE EXTENSION eventstore');
$one->query($append);
is(sql($node, 'SELECT count(*) FROM eventstore.events'), '20', 'the other session appends to the new store');
sql($node, $balances);
$one->query($append);
is(differing($node), '', 'and applies its projections');
sql($node, "SELECT es_drop_projection('counts', true); SELECT es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category')");
$one->query($append);
is(differing($node), '', 'also where one was replaced by another of the same name');
sql($node, 'ALTER TABLE counts ALTER n SET NOT NULL; CREATE INDEX ON balances (twice); ALTER TABLE noted ADD COLUMN more int DEFAULT 1');
$one->query($append);
is(differing($node), '', 'and where read tables were altered');
$one->query("DROP EXTENSION eventstore; DROP TABLE balances, counts, async_counts, paused, noted; CREATE TABLE noted (position bigint PRIMARY KEY, stream text); CREATE EXTENSION eventstore; $append $balances; $append");
is(differing($node), '', 'a session that replaces all itself');
$one->quit;

# Nothing is kept: every definition and plan is made anew, again and again. Only servers with assertions can do that.
SKIP:
{
	skip 'no debug_discard_caches', 1 if sqlstate($node, 'SET debug_discard_caches = 1') ne '';
	sql($node, "SET debug_discard_caches = 1; SELECT es_append('a-1', -1, 'T', '1'); SELECT es_append('a-1', -1, '[{\"type\": \"T\", \"data\": 1}, {\"type\": \"U\", \"data\": 2}]'); SELECT es_run_projection('async_counts')");
	is(differing($node), '', 'nothing depends on what is cached');
}

# Logical replication: the subscriber gets events, and no projection is applied to them there.
my $subscriber = new_node('subscriber', $in_one_table, 'wal_level = logical');
sql($subscriber, "SELECT es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category')");
sql($node, 'CREATE PUBLICATION p FOR TABLE eventstore.events WITH (publish_via_partition_root = true)');
my $connection = $node->connstr('postgres') =~ s/'/''/gr;
sql($subscriber, "CREATE SUBSCRIPTION s CONNECTION '$connection' PUBLICATION p");
sql($node, $append);
becomes($subscriber, 'SELECT count(*) FROM eventstore.events', sql($node, 'SELECT count(*) FROM eventstore.events'), 'events arrive at the subscriber');
is(sql($subscriber, 'SELECT count(*) FROM counts'), '0', 'and are not applied there');
sql($subscriber, 'DROP SUBSCRIPTION s');

# A standby
$node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
sql($node, $append);
$node->wait_for_catchup($standby);
is(differing($standby), '', 'a standby has the read tables');
is(sql($standby, "SELECT count(*) FROM eventstore.projection_status"), '5', 'and their status');
for my $call ("es_create_projection('x', 'SELECT category, count(*) AS n FROM events GROUP BY category')", "es_drop_projection('counts')", "es_pause_projection('counts')", "es_resume_projection('counts')", "es_run_projection('async_counts')")
{
	is(sqlstate($standby, "SELECT $call"), '25006', "$call on a standby");
}
is(sql($standby, "SELECT es_wait_projection('async_counts', 0)"), 't', 'es_wait_projection on a standby');

done_testing();
