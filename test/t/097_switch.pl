# examples/upgrade/switch: a store moves to another server while it is appended to and consumed; nothing is lost, and nothing done twice.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Cells;
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
sql($old, q{CREATE PUBLICATION other FOR TABLE eventstore.marks});
sql($_, 'CREATE TABLE done (stream text, version bigint)') for $old, $new;

# What others know of it: a cell beside it, and a router
sql($old, q{SELECT es_add_cell(3, 2, '{[0,1024)}', '} . where($old) . q{'), es_add_cell(5, 5, '{}', '} . where($old, 'five') . q{'), es_add_cell(6, 6, '{}', 'host=/nowhere')});
sql($old, 'CREATE DATABASE five');
sql($old, q{CREATE EXTENSION eventstore; SELECT es_set_cell(5, 5, '{}')}, 'five');
adopt($old, $old, 'five');
if (have_plproxy())
{
	new_router($old, $old);
	sql($old, 'CREATE DATABASE untold');
	sql($old, 'CREATE EXTENSION plproxy; CREATE EXTENSION eventstore_router', 'untold');
	adopt($old, $old, 'untold');
}
# What is not there on the other side, it says; what would spoil it, it refuses.
sql($old, q{CREATE ROLE reads; SELECT es_grant('reads', 'read', 'a'); SELECT es_seal()});
sql($new, q{CREATE ROLE reads});
my $said = $switch->('check');
like($said, qr/lacks projections of the old one: counts$/m, 'it says which projections are to be made');
like($said, qr/lacks grants of the old one: reads read category a$/m, 'and which grants');
my $refuses = sub {
	my ($from, $to, $why, $name) = @_;
	my ($out, $err) = ('', '');
	ok(!IPC::Run::run([ "$FindBin::RealBin/../../examples/upgrade/switch", 'check', $from, $to ], '>', \$out, '2>', \$err), "$name: refused");
	like($err, $why, "$name: with the way out");
};
my $other = new_node('other');
$refuses->($other->connstr('postgres'), $new->connstr('postgres'), qr/wal_level = \w+\nswitch: HINT: Set wal_level = logical/, 'a server without logical replication');
$refuses->($new->connstr('postgres'), $old->connstr('postgres'), qr/there is no store in OLD/, 'no store');
$refuses->($old->connstr('postgres'), $old->connstr('five') . ' password=x', qr/cannot have this address.*HINT: Set CONNECTION/s, 'a password');
sql($other, q{SELECT es_append('a-1', 0, 'There', '{}')});
$refuses->($old->connstr('postgres'), $other->connstr('postgres'), qr/has events\nswitch: HINT:/, 'a store in use');
my @runs = ($start->($old, 'append', $append), $start->($old, 'consume', $consume));

# Begun, given up, begun anew
$switch->('begin');
like($switch->('status'), qr/old: head \d+\nnew: head \d+, (not )?whole/, 'it tells how far it is');
$switch->('back');
sql($new, 'DROP EXTENSION eventstore');
is(sql($old, q{SELECT string_agg(pubname, ',') FROM pg_publication}), 'other', 'given up, nothing is left in the old store');
$switch->('begin');
like($switch->('begin'), qr/begun already/, 'once more does no harm');
becomes($new, 'SELECT is_whole FROM eventstore.mirror_status', 't', 'it is whole');
sql($new, q{SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async')});

# The old store stops appends, as its writers notice, and the new one goes on.
local $ENV{ROUTERS} = have_plproxy() ? where($old, 'router') : '';
local $ENV{CONNECTION} = where($new);
# It breaks down in the middle, and is called again.
sql($new, 'ALTER TABLE eventstore.used_feeds ADD CONSTRAINT broken CHECK (false) NOT VALID');
my ($out, $err) = ('', '');
ok(!IPC::Run::run([ "$FindBin::RealBin/../../examples/upgrade/switch", 'finish', $old->connstr('postgres'), $new->connstr('postgres') ], '>', \$out, '2>', \$err), 'it breaks down');
like($out . $err, qr/takes no more appends.*broken/s, 'when the old one takes no more appends, and the new one none yet');
is(sql($new, 'SELECT count(*) FROM eventstore.mirror_status'), 1, 'and is a mirror still');
sql($new, 'ALTER TABLE eventstore.used_feeds DROP CONSTRAINT broken');
like($switch->('finish'), qr/cell 6 is not told.*has taken over/s, 'it switches');
like($switch->('finish'), qr/has taken over/, 'once more does no harm');
IPC::Run::finish($runs[0]);
is(sqlstate($old, q{SELECT es_append('a-1', -1, 'Refused', '{}')}), 'SE009', 'the old store takes none');
is(sql($new, 'SELECT cell, feed, slots FROM eventstore.member'), '3|2|{[0,1024)}', 'the new one is the cell');
my $feeds = 'SELECT feed, number, after_position FROM eventstore.feeds ORDER BY number';
is(sql($new, $feeds), sql($old, $feeds), 'which has events of the same feeds');
my $used = 'SELECT feed, cell, is_own FROM eventstore.used_feeds ORDER BY 1';
is(sql($new, $used), "1|3|t\n2|3|t", 'and knows which it had');
my $map = q{SELECT cell, feed, slots, connection FROM eventstore.cells ORDER BY cell};
my $there = "3|2|{[0,1024)}|" . where($new) . "\n5|5|{}|" . where($old, 'five') . "\n6|6|{}|host=/nowhere";
is(sql($new, $map), $there, 'its map has its new address');
is(sql($old, $map), $there, 'the old one can tell it');
is(sql($old, $map, 'five'), $there, 'the other cell knows it');
is(sql($new, 'SELECT upto, digest FROM eventstore.seals'), sql($old, 'SELECT upto, digest FROM eventstore.seals'), 'what was sealed is');
is(sql($new, 'SELECT * FROM es_verify_seals()'), '', 'and is as it was');
if (have_plproxy())
{
	is(sql($old, $map, 'router'), $there, 'so does the router');
	cmp_ok(sql($old, q{SELECT es_append('a-1', -1, 'Routed', '{}')}, 'router'), '>', 0, 'which leads appends to the new one');
	is(sql($new, q{SELECT type FROM es_last_event('a-1')}), 'Routed', 'where they are');
	cmp_ok(sql($old, q{SET client_min_messages = error; SET eventstore_router.patience = '5 min'; SELECT es_append('a-1', -1, 'Routed', '{}')}, 'untold'), '>', 0, 'one that was not told asks the old one');
	is(sql($old, $map, 'untold'), $there, 'and knows then');
}
my $events = 'SELECT md5(string_agg(e::text, $$ $$ ORDER BY position)) FROM eventstore.events e';
is(sql($new, qq{$events WHERE type <> 'Routed'}), sql($old, $events), 'the new one has all');
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
is(sql($old, q{SELECT (SELECT string_agg(pubname, ',') FROM pg_publication), count(*) FROM pg_replication_slots}), 'other|0', 'nor here');
is(sql($new, q{SELECT es_append('x-7', 0, 'Again', '{}') = 2}), 't', 'a stream that was deleted goes on at its next version');
is_sound($new, 'the new store');
done_testing();
