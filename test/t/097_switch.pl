# examples/upgrade/switch: a store moves to another server while it is appended to and consumed; nothing is lost, and nothing done twice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my @settings = ('wal_level = logical', 'max_wal_senders = 10', 'max_replication_slots = 10', 'max_worker_processes = 20', 'max_logical_replication_workers = 8',
	'wal_retrieve_retry_interval = 100ms', 'fsync = off', q{shared_preload_libraries = 'eventstore'});
my $old = new_node('old', @settings);
my $new = new_server('new', @settings);
my $temp = PostgreSQL::Test::Utils::tempdir();
my $switch = sub {
	my ($action) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ "$FindBin::RealBin/../../examples/upgrade/switch", $action, $old->connstr('postgres'), $new->connstr('postgres') ], '>', \$out, '2>', \$err);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, "switch $action") or diag("$out$err");
	return "$out$err";
};
my $start = sub {
	my ($node, $name, $script) = @_;
	my $file = "$temp/$name.sql";
	append_to_file($file, $script);
	return IPC::Run::start([ 'pgbench', '--no-vacuum', '--time', 60, '--max-tries', 1000, '--client', 2, '--file', $file, $node->connstr('postgres') ], '>', \my $out, '2>', \my $err);
};
my $append = q{SELECT es_append('a-' || (random() * 50)::int, -1, 'Appended', '{}'), pg_sleep(0.002);};
my $consume = <<'SQL';
	BEGIN;
	WITH f AS MATERIALIZED (SELECT * FROM es_fetch('group', 'c' || :client_id, 50, '100 ms')), i AS (INSERT INTO done SELECT stream, version FROM f)
	SELECT es_ack('group', token, max(position)) FROM f GROUP BY token;
	COMMIT;
SQL

# A cell, that has had another feed before
sql($old, q{SELECT es_set_cell(3, 1, '{[0,1024)}'); SELECT es_append('x-6', 0, 'First', '{}'); SELECT es_set_cell(3, 2, '{[0,1024)}')});
sql($old, q{SELECT es_append('a-' || i % 50, -1, 'Old', '{}') FROM generate_series(1, 3000) i; SELECT es_create_subscription('group', 'a', partitions => 4, lease => '2 s'); SELECT es_append('x-7', 0, 'Gone', '{}'); SELECT es_delete_stream('x-7', -1)});
sql($old, q{SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream')});
sql($_, 'CREATE TABLE done (stream text, version bigint)') for $old, $new;
my @runs = ($start->($old, 'append', $append), $start->($old, 'consume', $consume));

# Begun, given up, begun anew
$switch->('begin');
like($switch->('status'), qr/old: head \d+\nnew: head \d+, (not )?whole/, 'it tells how far it is');
$switch->('back');
sql($new, 'DROP EXTENSION eventstore');
is(sql($old, q{SELECT count(*) FROM pg_publication}), 0, 'given up, nothing is left in the old store');
$switch->('begin');
like($switch->('begin'), qr/begun already/, 'once more does no harm');
becomes($new, 'SELECT is_whole FROM eventstore.mirror_status', 't', 'it is whole');
sql($new, q{SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async')});

# The old store stops appends, as its writers notice, and the new one goes on.
like($switch->('finish'), qr/takes no more appends.*has taken over/s, 'it switches');
like($switch->('finish'), qr/has taken over/, 'once more does no harm');
IPC::Run::finish($runs[0]);
is(sqlstate($old, q{SELECT es_append('a-1', -1, 'Refused', '{}')}), 'SE009', 'the old store takes none');
is(sql($new, 'SELECT cell, feed, slots FROM eventstore.member'), '3|2|{[0,1024)}', 'the new one is the cell');
my $feeds = 'SELECT feed, number, after_position FROM eventstore.feeds ORDER BY number';
is(sql($new, $feeds), sql($old, $feeds), 'which has events of the same feeds');
my $events = 'SELECT md5(string_agg(e::text, $$ $$ ORDER BY position)) FROM eventstore.events e';
is(sql($new, $events), sql($old, $events), 'the new one has all');
my $last = sql($new, 'SELECT max(position) FROM eventstore.events');
push @runs, $start->($new, 'append_new', $append), $start->($new, 'consume_new', $consume);
becomes($new, "SELECT count(*) > 500 FROM eventstore.events WHERE position > $last", 't', 'it is appended to');
$runs[$_]->kill_kill for 1, 2;
is(sql($old, 'SELECT state FROM eventstore.subscription_status LIMIT 1'), 'paused', 'the group of the old store delivers no more');
is(sql($new, 'SELECT state FROM eventstore.subscription_status LIMIT 1'), 'running', 'that of the new one does');
becomes($new, 'SELECT sum(lag_events) FROM eventstore.subscription_status', 0, 'and gets to the end');
$runs[3]->kill_kill;
sql($new, 'CREATE TABLE done_before (stream text, version bigint)');
sql($new, join ';', map { my ($stream, $version) = split /\|/; "INSERT INTO done_before VALUES ('$stream', $version)" } split /\n/, sql($old, 'SELECT * FROM done'));
my $done = '(SELECT * FROM done UNION ALL SELECT * FROM done_before) d';
is(sql($new, "SELECT stream, version, count(*) FROM $done GROUP BY 1, 2 HAVING count(*) > 1 LIMIT 5"), '', 'no event was done twice');
is(sql($new, "SELECT stream, version FROM eventstore.events e WHERE category = 'a' AND NOT EXISTS (SELECT FROM $done WHERE d.stream = e.stream AND d.version = e.version) LIMIT 5"), '', 'and none was left out');
is(sql($new, q{SELECT es_wait_projection('counts', es_head(), '60 s'), (SELECT count(*) FROM es_verify_projection('counts'))}), 't|0', 'the projection is right');
is(sql($new, 'SELECT count(*) FROM pg_subscription'), 0, 'nothing is left of it there');
is(sql($old, q{SELECT count(*) FROM pg_publication, pg_replication_slots}), 0, 'nor here');
is(sql($new, q{SELECT es_append('x-7', 0, 'Again', '{}') = 2}), 't', 'a stream that was deleted goes on at its next version');
is_sound($new, 'the new store');
done_testing();
