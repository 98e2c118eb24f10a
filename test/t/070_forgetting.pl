# Events that are gone: over a crash, a prepared transaction, a dump and its restore, on a standby, at a subscriber of logical replication,
# and where the sequence of positions is lost. Versions, ids and positions are never used again, the head never goes back.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('forgetting', 'wal_level = logical', 'max_wal_senders = 5', 'max_replication_slots = 5');
my $id = sub { sprintf 'd0000000-0000-4000-8000-%012d', $_[0] };
my $append = sub { my ($stream, $nr) = @_; "SELECT es_append('$stream', -1, 'Kept', '{\"secret\": \"s$nr\"}', NULL, '@{[$id->($nr)]}')" };
my $ids = q{SELECT id, position, stream, version, digest FROM eventstore.removed_events ORDER BY position};
my $redactions = q{SELECT * FROM eventstore.redactions ORDER BY position, redaction};

sql($node, $append->('a-1', $_)) for 1 .. 4;
sql($node, $append->('b-1', $_)) for 5 .. 7;
my $last = sql($node, 'SELECT es_head()');
sql($node, q{SELECT es_save_snapshot('a-1', 2, '"two"')});
is(sql($node, q{SELECT es_truncate_stream('a-1', 3)}), 2, 'a stream is truncated');
sql($node, q{SELECT es_delete_stream('b-1', 3)});
sql($node, "SELECT es_redact('@{[$id->(3)]}', 'asked for', '{secret}')");
is(sql($node, 'SELECT es_head()'), $last, 'the last events are gone, and the head is where it was');

# What has to be so everywhere.
sub is_kept
{
	my ($at, $name, $database, $tag) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $ask = sub { sql($at, $_[0], $database) };
	cmp_ok($ask->('SELECT es_head()'), '>=', $last, "$name: the head has not gone back");
	is($ask->($append->('a-1', 1)), 1, "$name: a retry answers as the first time");
	is($ask->($append->('b-1', 7)), 3, "$name: of a deleted stream, too");
	is(sqlstate($at, $append->('c-1', 6), $database), 'SE002', "$name: the id is taken");
	is($ask->(q{SELECT version, data FROM es_read('a-1') WHERE version < 5}), qq(3|{"secret": null}\n4|{"secret": "s4"}), "$name: what is left, and what is blanked");
	is($ask->(q{SELECT version, state FROM es_load('a-1')}), '2|"two"', "$name: the snapshot right before the beginning counts");
	is($ask->("SELECT es_append('b-1', 0, 'Kept', '{}')"), 4, "$name: the deleted stream goes on at the next version");
	cmp_ok($ask->('SELECT es_last_position() FROM es_append(\'b-1\', 4, \'Kept\', \'{}\')'), '>', $last, "$name: above all positions");
	is(sqlstate($at, 'DELETE FROM eventstore.events', $database), 'SE007', "$name: events are immutable");
}

# Dumped and restored, with its last events gone; and without the sequence.
my $folder = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/dump", 'postgres' ], 'dumped');
sql($node, "CREATE DATABASE $_ TEMPLATE template0") for qw(copy behind);
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'copy', "$folder/dump" ], 'restored');
is(sql($node, $ids, 'copy'), sql($node, $ids), 'restored: what is gone is known');
is(sql($node, $redactions, 'copy'), sql($node, $redactions), 'restored: what was blanked, too');
is_kept($node, 'restored', 'copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'behind', "$folder/dump" ], 'restored once more');
sql($node, q{SELECT setval('eventstore.positions', 1)}, 'behind');
is(sqlstate($node, q{SELECT es_append('c-1', 0, 'Kept', '{}')}, 'behind'), '55000', 'with the sequence set back behind what is gone, appends are refused');
is(sql($node, 'SELECT es_head()', 'behind'), $last, 'and the head has not gone back');
is(sql($node, 'SELECT es_repair_positions()', 'behind'), $last, 'it is put right by what is gone');
is_kept($node, 'put right', 'behind');

# A standby, without a worker on the primary
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby_forgets');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
becomes($standby, 'SELECT es_head()', $last, 'on a standby the head is at what is gone');
is(sql($standby, q{SELECT version FROM es_read('a-1')}), "3\n4", 'and a stream begins where it begins');
is(sqlstate($standby, q{SELECT es_truncate_stream('a-1', 4)}), '25006', 'nothing is forgotten there');
is(sqlstate($standby, q{SELECT es_delete_stream('a-1', 4)}), '25006', 'deleted');
is(sqlstate($standby, "SELECT es_redact('@{[$id->(3)]}', 'x')"), '25006', 'blanked');
is(sqlstate($standby, q{SELECT es_set_retention('a', max_count => 1)}), '25006', 'nor is that decided');
is(sqlstate($standby, 'SELECT es_apply_retention()'), '25006', 'nor done');

# Logical replication: what the publisher forgets is forgotten.
my $subscriber = new_node('subscriber', $in_one_table, 'wal_level = logical');
my $tables = 'eventstore.events, eventstore.streams, eventstore.removed_events, eventstore.redactions, eventstore.snapshots';
sql($node, "CREATE PUBLICATION moved FOR TABLE $tables WITH (publish_via_partition_root = true)");
sql($subscriber, 'CREATE SUBSCRIPTION moves CONNECTION $$' . $node->connstr('postgres') . '$$ PUBLICATION moved');
my $all = q{SELECT string_agg(e::text, ' ' ORDER BY position) FROM eventstore.events e};
becomes($subscriber, $all, sql($node, $all), 'a subscriber has everything');
sql($node, $append->('d-1', $_)) for 11 .. 13;
becomes($subscriber, $all, sql($node, $all), 'and more');
sql($node, q{SELECT es_truncate_stream('d-1', 3)});
sql($node, "SELECT es_redact('@{[$id->(13)]}', 'asked for')");
sql($node, q{SELECT es_delete_stream('d-2', 0, true)});
becomes($subscriber, $all, sql($node, $all), 'what is forgotten is forgotten there');
becomes($subscriber, $ids, sql($node, $ids), 'and known');
is(sqlstate($subscriber, 'DELETE FROM eventstore.events'), 'SE007', 'nobody else changes events there');
is(sqlstate($subscriber, $_), '55000', "nor does $_, whose rows those of the publisher would run into")
	for q{SELECT es_truncate_stream('d-1', 4)}, q{SELECT es_delete_stream('d-1', -1)}, "SELECT es_redact('@{[$id->(13)]}', 'x')", 'SELECT es_apply_retention()';
sql($subscriber, 'DROP SUBSCRIPTION moves');
is(sql($subscriber, 'SELECT es_repair_positions()'), sql($node, 'SELECT max(position) FROM eventstore.events'), 'positions go on above all');
is_kept($subscriber, 'at the subscriber', 'postgres');
sql($node, 'DROP PUBLICATION moved');

# A prepared transaction deletes: appends wait for it, readers see what was before.
sql($node, $append->('e-1', $_)) for 21 .. 22;
sql($node, q{BEGIN; SELECT es_delete_stream('e-1', 2); PREPARE TRANSACTION 'deletes'});
is(sql($node, q{SELECT version FROM es_read('e-1')}), "1\n2", 'while a deletion is prepared, the stream is there');
is(sqlstate($node, q{SET lock_timeout = '100ms'; SELECT es_append('e-1', 2, 'Kept', '{}')}), '55P03', 'an append waits for it');
is(sql($node, $append->('e-1', 22)), 2, 'a retry does not');
$node->stop('immediate');
$node->start;
is(sqlstate($node, q{SET lock_timeout = '100ms'; SELECT es_truncate_stream('e-1', 2)}), '55P03', 'nor does who forgets come in between, after a crash');
sql($node, q{COMMIT PREPARED 'deletes'});
is(sql($node, q{SELECT count(*), (SELECT count(*) FROM eventstore.removed_events WHERE stream = 'e-1') FROM es_read('e-1')}), '0|2', 'when it is committed, it is gone');
is_kept($node, 'after a crash', 'postgres');

# Appends, retries and truncations at once: no append is refused, nothing is stored twice, and what is left is dense.
sql($node, q{CREATE SEQUENCE numbers});
race($node, 'truncated while it is appended to', 4, 60, <<'SQL', <<'SQL');
SELECT nextval('numbers') AS n \gset
SELECT es_append('race-' || :n % 3, -1, 'Raced', '{}', NULL, ('aaaaaaaa-0000-4000-8000-' || lpad((:n)::text, 12, '0'))::uuid);
SELECT es_append('race-' || :n % 3, 0, 'Raced', '{}', NULL, ('aaaaaaaa-0000-4000-8000-' || lpad((:n)::text, 12, '0'))::uuid);
SQL
SELECT nextval('numbers') % 3 AS n \gset
SELECT es_truncate_stream('race-' || :n, es_stream_version('race-' || :n));
SELECT es_append('race-' || :n, -1, 'Raced', '{}');
SQL
is(sql($node, <<'SQL'), '', 'every version is there once, or was');
	SELECT stream, max(version), count(*), count(DISTINCT version), count(DISTINCT id)
	FROM (SELECT stream, version, id FROM eventstore.events UNION ALL SELECT stream, version, id FROM eventstore.removed_events) e
	WHERE stream LIKE 'race-%' GROUP BY stream
	HAVING max(version) <> count(*) OR count(*) <> count(DISTINCT version) OR count(*) <> count(DISTINCT id) OR max(version) <> es_stream_version(stream)
SQL
is(sql($node, q{SELECT bool_and(first > gone) FROM (SELECT stream, min(version) AS first FROM eventstore.events WHERE category = 'race' GROUP BY stream) e JOIN (SELECT stream, max(version) AS gone FROM eventstore.removed_events GROUP BY stream) r USING (stream)}),
	't', 'what is gone is the beginning of each stream');

done_testing();
