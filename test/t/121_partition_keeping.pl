# Partitions that leave the store and come back, where something about them or about the session is unusual: names, row security that is forced, tables
# that a crash empties, strings with backslashes, a restore without data.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('keeping', 'fsync = off');
my $store = sub {
	my ($database) = @_;
	sql($node, "CREATE DATABASE $database");
	sql($node, 'CREATE EXTENSION eventstore', $database);
	sql($node, q{SELECT count(es_append('o-' || g % 10, -1, 'T', '{}')) FROM generate_series(1, 1000) g}, $database);
	sql($node, 'SELECT es_partition_events(300)', $database);
	sql($node, q{SELECT count(es_append('o-' || g % 10, -1, 'T', '{}')) FROM generate_series(1, 1000) g}, $database);
};
my $is_whole = sub {
	my ($database, $name) = @_;
	is(sql($node, 'SELECT * FROM es_verify()', $database), '', "$name: the store is sound");
	is(sql($node, 'SELECT count(*), (SELECT count(*) FROM eventstore.removed_events) FROM eventstore.events', $database), '2000|0', "$name: all events are there");
};

# A name that has to be quoted, as an identifier and as a literal
$store->('names');
for my $name (q{ev'il}, q{back\\1slash}, q{per%s cent})
{
	my $quoted = qq{"$name"};
	sql($node, "ALTER TABLE eventstore.events_0 RENAME TO $quoted", 'names');
	is(sql($node, 'SELECT count(*) FROM es_detach_events(1300)', 'names'), '1', "$name: it is detached");
	sql($node, "ALTER TABLE eventstore.detached_events DETACH PARTITION eventstore.$quoted", 'names');
	is(sql($node, 'SELECT partition, events FROM eventstore.archived_ranges', 'names'), "$name|1199", "$name: and noted");
	sql($node, q{SELECT es_attach_events(format('eventstore.%I', partition)::regclass) FROM eventstore.archived_ranges}, 'names');
	is(sqlstate($node, "DELETE FROM eventstore.$quoted", 'names'), 'SE007', "$name: it is protected again");
	$is_whole->('names', $name);
	sql($node, "ALTER TABLE eventstore.$quoted RENAME TO events_0", 'names');
}

# Backslashes in literals that mean something else
sql($node, 'CREATE ROLE reader');
sql($node, 'CREATE DATABASE slashes');
sql($node, 'SET standard_conforming_strings = off; SET escape_string_warning = off; CREATE EXTENSION eventstore', 'slashes');
sql($node, 'SELECT es_partition_events(300)', 'slashes');
is(sql($node, 'SELECT from_position, upto_position FROM eventstore.event_partitions ORDER BY 1', 'slashes'), "0|300\n300|600\n600|900", 'standard_conforming_strings = off: partitions are shown');
is(sqlstate($node, q{SET standard_conforming_strings = off; SELECT es_grant('reader', 'read', 'o')}, 'slashes'), '', 'and a right is given');
is(sqlstate($node, q{SET ROLE reader; SELECT count(*) FROM es_read_category('o')}, 'slashes'), '', 'which holds');

# An owner whom row security would hide rows from
$store->('forced');
sql($node, 'CREATE ROLE keeper');
sql($node, q{
	GRANT ALL ON SCHEMA eventstore TO keeper;
	GRANT ALL ON ALL SEQUENCES IN SCHEMA eventstore TO keeper;
	GRANT ALL ON ALL TABLES IN SCHEMA eventstore TO keeper;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventstore TO keeper;
	DO $$ DECLARE t regclass; BEGIN
		FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'eventstore'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition LOOP EXECUTE format('ALTER TABLE %s OWNER TO keeper', t); END LOOP;
	END $$;
	CREATE POLICY few ON eventstore.events USING (stream = 'o-1');
	ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
	ALTER TABLE eventstore.events_0 FORCE ROW LEVEL SECURITY}, 'forced');
is(sql($node, 'SELECT count(*) FROM es_detach_events(1300)', 'forced'), '1', 'row security that is forced: detached');
sql($node, 'ALTER TABLE eventstore.detached_events DETACH PARTITION eventstore.events_0', 'forced');
is(sql($node, 'SELECT events, (SELECT count(*) FROM eventstore.removed_events) FROM eventstore.archived_ranges', 'forced'), '1199|1199', 'all of its events are noted');
sql($node, q{SELECT es_attach_events('eventstore.events_0')}, 'forced');
$is_whole->('forced', 'row security that is forced');

# A table that a crash empties
sql($node, 'SELECT es_detach_events(1300); ALTER TABLE eventstore.events_0 SET UNLOGGED', 'names');
is(sqlstate($node, q{SELECT es_attach_events('eventstore.events_0')}, 'names'), '55000', 'an unlogged table is not attached');
sql($node, q{ALTER TABLE eventstore.events_0 SET LOGGED; SELECT es_attach_events('eventstore.events_0')}, 'names');
$node->stop('immediate');
$node->start;
$is_whole->('names', 'after a crash');

# A copy of one that is the owner's by now, with something changed that no digest has; an index that is missing; no table at all
sql($node, q{
	SELECT es_detach_events(1300);
	ALTER TABLE eventstore.detached_events DETACH PARTITION eventstore.events_0;
	UPDATE eventstore.events_0 SET category = 'x' WHERE position = 7}, 'names');
is(sqlstate($node, q{SELECT es_attach_events('eventstore.events_0')}, 'names'), '55000', 'an event in another category is not what was detached');
sql($node, q{UPDATE eventstore.events_0 SET category = 'o' WHERE position = 7; SELECT es_attach_events('eventstore.events_0')}, 'names');
$is_whole->('names', 'as it was');
sql($node, q{SELECT es_detach_events(1300); ALTER TABLE eventstore.events_0 DROP CONSTRAINT events_0_stream_version_key; SELECT es_attach_events('eventstore.events_0')}, 'names');
$is_whole->('names', 'an index that is missing is made');
is(sqlstate($node, 'SELECT es_attach_events(1)', 'names'), '42P01', 'no table has this OID');

# Who has not done them yet
my $warned = sub {
	my $said = '';
	$node->psql('names', 'BEGIN; SELECT es_detach_events(1300); ROLLBACK', stderr => \$said);
	return $said;
};
is($warned->(), '', 'nobody follows: there is nothing to warn of');
sql($node, q{
	SELECT es_create_subscription('others', 'other'), es_create_subscription('slow', 'o', partitions => 2), es_create_subscription('paused', 'o', partitions => 1), es_create_subscription('late', after_position => 1500);
	SELECT es_pause_subscription('paused');
	SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', mode => 'async')}, 'names');
like($warned->(), qr/WARNING: .*DETAIL: +Behind position 1200: projection "counts", subscription "paused", subscription "slow"[.]\n/s, 'who has not done events that leave is named');
sql($node, q{SELECT es_run_projection('counts'); SELECT es_drop_subscription('paused')}, 'names');
sql($node, q{SELECT es_ack('slow', token, position) FROM es_fetch('slow', 'c', 1300) ORDER BY position DESC LIMIT 1}, 'names');
is($warned->(), '', 'and nobody any more, once they have');
sql($node, q{SELECT es_drop_projection('counts'); SELECT es_drop_subscription('slow')}, 'names');

# A partition that is dropped alone
is(sqlstate($node, 'SET eventstore.allow_drop = off; DROP TABLE eventstore.events_0', 'names'), '2BP01', 'a partition with events is not dropped');
my $err = '';
$node->psql('names', 'SET eventstore.allow_drop = off; DROP TABLE eventstore.events_0', stderr => \$err);
like($err, qr/es_detach_events/, 'and how it leaves the store is told');

# A restore without data, of a store whose first partition is away: its positions are no more
sql($node, 'SELECT es_detach_events(1300)', 'names');
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
$node->command_ok([ 'pg_dump', '--schema-only', '-d', $node->connstr('names'), '-f', $dump ], 'a dump of the schema');
sql($node, 'CREATE DATABASE empty');
$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('empty'), '-f', $dump ], 'is restored');
is(sqlstate($node, q{SELECT es_append('o-1', -1, 'T', '{}')}, 'empty'), '55000', 'it does not give out positions that no partition has');
cmp_ok(sql($node, 'SELECT es_repair_positions()', 'empty'), '>=', 1199, 'es_repair_positions has them go on where there is one');
is(sql($node, q{SELECT es_append('o-1', -1, 'T', '{}')}, 'empty'), '1', 'and appends, too');
is(sql($node, 'SELECT * FROM es_verify()', 'empty'), '', 'the store is sound');
$node->stop;
done_testing();
