# A mirror: events, streams and head of a store come by logical replication, while that appends in every way. Readers of the mirror, from before
# the initial copy on, over crashes of both, see every event once; a consumer group and a projection of its own, too.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my @settings = ('wal_level = logical', 'max_wal_senders = 10', 'max_replication_slots = 10', 'max_logical_replication_workers = 8', 'max_worker_processes = 20',
	'max_sync_workers_per_subscription = 3', 'wal_retrieve_retry_interval = 100ms', 'fsync = off');
my $worker = q{shared_preload_libraries = 'eventstore'};
my $store = new_node('store', @settings, $worker);
my $mirror = new_node('mirror', $in_one_table, @settings, $worker);
my $all = 'eventstore.events, eventstore.streams, eventstore.head, eventstore.removed_events, eventstore.redactions, eventstore.marks';
my $temp = PostgreSQL::Test::Utils::tempdir();
my $raised = sub {
	my ($node, $statement) = @_;
	my $err = '';
	$node->psql('postgres', $statement, stderr => \$err);
	return $err;
};
my $pgbench = sub {
	my ($node, $name, $seconds, $clients, $script) = @_;
	my $file = "$temp/$name.sql";
	unlink $file;
	append_to_file($file, $script);
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'pgbench', '--no-vacuum', '--time', $seconds, '--client', $clients, '--max-tries', 1000, '--file', $file, '--define', 'n=0', $node->connstr('postgres') ], '>', \$out, '2>', \$err);
	return sub {
		my ($may_fail) = @_;
		my $ok = IPC::Run::finish($run);
		ok($ok, "$name: to the end") or diag($err) if !$may_fail;
	};
};

# What becomes a mirror, and what not
sql($store, q{SELECT es_append('old-' || i % 100, -1, 'Old', '{}') FROM generate_series(1, 5000) i});
is(sqlstate($store, 'SELECT es_set_mirror()'), '55000', 'a store that has events becomes no mirror');
is(sqlstate($mirror, 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT es_set_mirror()'), '25001', 'nor does one by an old snapshot');
sql($mirror, q{SELECT es_create_projection('inline', 'SELECT stream, count(*) AS n FROM events GROUP BY stream')});
is(sqlstate($mirror, 'SELECT es_set_mirror()'), '55000', 'nor one with an inline projection');
sql($mirror, q{SELECT es_drop_projection('inline', true); SELECT es_set_cell(1, 1, '{}')});
is(sqlstate($mirror, 'SELECT es_set_mirror()'), '55000', 'nor a cell');
sql($mirror, q{SELECT es_unset_cell(); SELECT es_assert_version('old-1', 0)});
my $reading = session($mirror);
$reading->query_safe('BEGIN; SELECT count(*) FROM es_read_all()');
is(sqlstate($mirror, "SET lock_timeout = '200 ms'; SELECT es_set_mirror()"), '55P03', 'nor one that is being read: who reads on has to know');
$reading->query_safe('COMMIT');
$reading->quit;
my $before = session($mirror);
$before->query_safe('SELECT es_head()');
is($mirror->safe_psql('postgres', 'SELECT es_set_mirror()'), '', 'an empty store does');
is(sql($mirror, 'SELECT es_set_mirror(), es_head()'), '|0', 'and stays one');
is(sql($mirror, 'SELECT is_whole, head, detail FROM eventstore.mirror_status'), 'f|0|No subscription feeds it.', 'its status says what it waits for');

my $is_closed = sub {
	my ($when) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $statement (
		q{es_append('old-1', -1, 'Refused', '{}')}, q{es_append('old-1', -1, '[{"type": "Refused"}]')}, q{es_append('old-1', -1, array['Refused'], array['{}']::jsonb[])},
		q{es_append_streams('[{"stream": "old-1", "expected_version": -1, "events": {"type": "Refused"}}]')}, q{es_append_if('old-1', '{"type": "Refused"}', '[{"types": ["None"]}]')},
		q{es_assert_version('old-1', 0)}, q{es_truncate_stream('old-1', 2)}, q{es_delete_stream('old-1', -1)}, q{es_redact(gen_random_uuid(), 'why')}, q{es_announce_head()},
		q{es_set_cell(1, 1, '{}')}, q{es_create_projection('inline', 'SELECT stream, count(*) AS n FROM events GROUP BY stream')})
	{
		is(sqlstate($mirror, "SELECT $statement"), '55000', "$when: $statement is refused");
	}
};
$is_closed->('empty');
$before->query(q{SELECT es_append('old-1', -1, 'Refused', '{}')});
like($before->{stderr}, qr/this store is a mirror/, 'a session that was there before is refused, too');
$before->quit;

# Readers of every kind begin before there is anything to read. What one has seen stands in a table; it asks for what comes after the last.
my %readers = (
	plain => q{INSERT INTO seen_plain SELECT position FROM es_read_all((SELECT coalesce(max(position), 0) FROM seen_plain), 300)},
	category => q{INSERT INTO seen_category SELECT position FROM es_read_category('new', (SELECT coalesce(max(position), 0) FROM seen_category), 300)},
	repeatable => q{BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO seen_repeatable SELECT position FROM es_read_all((SELECT coalesce(max(position), 0) FROM seen_repeatable), 300); COMMIT});
sql($mirror, "CREATE TABLE seen_$_ (position bigint, n serial)") for keys %readers, 'group';
sql($mirror, q{SELECT es_create_subscription('group', partitions => 4); SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n, max(version) AS version FROM events GROUP BY stream', 'async')});
my $consume = <<'SQL';
	BEGIN;
	WITH f AS MATERIALIZED (SELECT * FROM es_fetch('group', 'c' || :client_id, 200)), i AS (INSERT INTO seen_group SELECT position FROM f)
	SELECT es_ack('group', token, max(position)) FROM f GROUP BY token;
	COMMIT;
SQL
my $write = <<'SQL';
	\set stream random(1, 200)
	\set how random(1, 12)
	BEGIN;
	SELECT es_append('new-' || :stream, -1, 'New', '{}');
	\if :how = 1
		ROLLBACK;
	\elif :how = 2
		SAVEPOINT x;
		SELECT es_append('more-' || :client_id, -1, 'More', '{}');
		ROLLBACK TO x;
		SELECT es_append('more-' || :client_id, -1, 'Other', '{}');
		COMMIT;
	\elif :how = 3
		SELECT pg_sleep(0.05);
		COMMIT;
	\elif :how = 4
		PREPARE TRANSACTION 'm:client_id';
		SELECT pg_sleep(0.02);
		COMMIT PREPARED 'm:client_id';
	\else
		COMMIT;
	\endif
SQL

sql($store, "CREATE PUBLICATION mirrored FOR TABLE $all WITH (publish_via_partition_root = true)");
my $load = sub {
	my ($seconds, $may_fail, $meanwhile) = @_;
	my @runs = map { $pgbench->($store, "writer_$_", $seconds, 1, $write =~ s/m:client_id/m$_/gr =~ s/:client_id/$_/gr) } 1 .. 4;
	my @reads = ((map { $pgbench->($mirror, "reader_$_", $seconds + 1, 1, "$readers{$_};\n") } sort keys %readers), $pgbench->($mirror, 'consumers', $seconds + 1, 2, $consume));
	$meanwhile->() if $meanwhile;
	$_->() for @runs;
	$_->($may_fail) for @reads;
};
my $catches_up = sub {
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $head = sql($store, 'SELECT es_head()');
	becomes($mirror, 'SELECT es_head()', $head, "$name: the head comes");
	for my $reader (sort keys %readers)
	{
		my $wanted = $reader eq 'category' ? q{category = 'new'} : 'true';
		sql($mirror, $readers{$reader}) for 1 .. 100;
		is(sql($mirror, "SELECT count(*) FROM eventstore.events e WHERE $wanted AND NOT EXISTS (SELECT FROM seen_$reader s WHERE s.position = e.position)"), 0, "$name: reader $reader has missed nothing");
		is(sql($mirror, "SELECT count(*) - count(DISTINCT position) FROM seen_$reader"), 0, "$name: and seen nothing twice");
	}
	# Those that have died would keep their partitions as long as their leases.
	sql($mirror, q{SELECT es_release('group', consumer) FROM (VALUES ('c0'), ('c1')) v (consumer)});
	sql($mirror, q{WITH f AS MATERIALIZED (SELECT * FROM es_fetch('group', 'c', 100000)), i AS (INSERT INTO seen_group SELECT position FROM f) SELECT es_ack('group', token, max(position)) FROM f GROUP BY token}) for 1 .. 5;
	is(sql($mirror, 'SELECT count(*) FROM eventstore.events e WHERE NOT EXISTS (SELECT FROM seen_group s WHERE s.position = e.position)'), 0, "$name: the group has missed nothing");
	is(sql($mirror, 'SELECT count(*) - count(DISTINCT position) FROM seen_group'), 0, "$name: and had nothing twice");
	is(sql($mirror, q{SELECT es_wait_projection('counts', es_head(), '60 s')}), 't', "$name: the projection comes");
	is(sql($mirror, q{SELECT count(*) FROM es_verify_projection('counts')}), 0, "$name: and is right");
	is(sql($mirror, 'SELECT md5(string_agg(e::text, $$ $$ ORDER BY position)) FROM eventstore.events e'), sql($store, 'SELECT md5(string_agg(e::text, $$ $$ ORDER BY position)) FROM eventstore.events e'), "$name: all is as over there");
	is(sql($mirror, 'SELECT es_verify()'), '', "$name: the mirror is sound");
};

# The initial copy, under load
$load->(6, 0, sub {
	sql($mirror, 'CREATE SUBSCRIPTION from_store CONNECTION $$' . $store->connstr('postgres') . '$$ PUBLICATION mirrored');
});
$catches_up->('the initial copy');
is(sql($mirror, 'SELECT subscription, is_whole, detail FROM eventstore.mirror_status'), 'from_store|t|', 'its status says that it is whole');
$is_closed->('fed');
is(sql($mirror, q{SELECT count(*) FROM eventstore.events WHERE type = 'Refused'}), 0, 'nothing of that is stored');

# A crash of the mirror, and then of the other store
$load->(3, 1, sub { $mirror->stop('immediate'); $mirror->start; });
$catches_up->('a crash of the mirror');
my @dying = map { $pgbench->($mirror, "reader_$_", 3, 1, "$readers{$_};\n") } sort keys %readers;
$store->stop('immediate');
$store->start;
$_->() for @dying;
$load->(2, 0);
$catches_up->('a crash of the other store');

# Being told, with the mirror's worker and without
my $waits = sub {
	my ($name) = @_;
	my $waiter = session($mirror);
	my $head = sql($mirror, 'SELECT es_head()');
	send_query($waiter, "SELECT es_wait($head, '100 s', 'told') > $head");
	becomes($mirror, q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%es_wait(%' AND wait_event_type IN ('Extension', 'IPC', 'Timeout') AND pid <> pg_backend_pid()}, 1, "$name: somebody waits");
	sql($store, q{SELECT es_append('told-1', -1, 'Told', '{}')});
	sql($store, q{SELECT es_announce_head()});
	is_woken($waiter, 't', "$name: and is woken");
	$waiter->quit;
};
$waits->('with the worker');
is(sql($store, q{SELECT es_delete_stream('old-1', -1)}), '', 'what is forgotten');
becomes($mirror, q{SELECT count(*) FROM es_read('old-1')}, 0, 'is forgotten in the mirror');

$_->append_conf('postgresql.conf', q{shared_preload_libraries = ''}) for $store, $mirror;
$_->restart for $store, $mirror;
$waits->('without');
is(sql($mirror, q{SELECT es_run_projection('counts') >= 0}), 't', 'without: a projection is run by hand');

# It becomes a store of its own.
is(sqlstate($mirror, 'SELECT es_unset_mirror()'), '55000', 'not while it is fed');
sql($mirror, 'DROP SUBSCRIPTION from_store');
is(sql($mirror, 'SELECT es_head()'), 0, 'nobody says that it has all');
is(sqlstate($mirror, q{SELECT es_append('old-2', -1, 'Refused', '{}')}), '55000', 'and it is still a mirror');
cmp_ok(sql($mirror, 'SELECT es_unset_mirror()'), '>=', sql($store, 'SELECT position FROM eventstore.head'), 'positions go on above the head that came');
is(sql($mirror, q{SELECT es_append('old-2', -1, 'Own', '{}') > 0, es_head() = es_last_position() FROM es_head()}), 't|f', 'it appends');
is(sql($mirror, q{SELECT es_head() = max(position) FROM eventstore.events}), 't', 'and has a head of its own');
sql($mirror, "SELECT es_release('group', '$_')") for qw(c c0 c1);
is(sql($mirror, q{SELECT string_agg(stream, ' ' ORDER BY position) FROM es_fetch('group', 'c', 1000)}), 'told-1 told-1 old-2', 'the group goes on');
is_sound($mirror, 'a store of its own');
done_testing();
