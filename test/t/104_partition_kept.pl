# What partitions have in common with the table, whatever is done to it: owner, settings, constraints; and that a conversion can be taken
# back in the transaction that has made the store, and is refused where events come from elsewhere.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('kept', $in_one_table, 'max_worker_processes = 20', q{shared_preload_libraries = 'eventstore'});
my $ask = sub { return sql($node, @_) };
my $code = sub { return sqlstate($node, @_) };
my $some = q{SELECT es_append('a-1', -1, 'A', '{}', NULL, gen_random_uuid()) FROM generate_series(1, %d) i};
my $ranges = q{SELECT inhrelid FROM pg_inherits WHERE inhparent = 'eventstore.events'::regclass};

# A savepoint takes the conversion back in the transaction that has made the store, or its indexes anew; and it is converted once more.
for my $begun ('DROP EXTENSION eventstore; CREATE EXTENSION eventstore', 'REINDEX TABLE eventstore.events')
{
	my $session = session($node);
	$session->query("BEGIN; $begun; " . sprintf($some, 5));
	my $count = $session->query('SELECT count(*) FROM eventstore.events');
	$session->query('SAVEPOINT s; SELECT es_partition_events(10); ' . sprintf($some, 3) . '; ROLLBACK TO s');
	is($session->query('SELECT * FROM es_verify()'), '', "sound after: $begun, and a conversion that is rolled back");
	$session->query(sprintf($some, 2));
	$count += 2;
	is($session->query(q{SELECT count(*), max(version) FROM es_read('a-1')}), "$count|$count", 'read by its index');
	$session->query('SAVEPOINT t; SELECT es_partition_events(10); RELEASE t; ' . sprintf($some, 2));
	$count += 2;
	is($session->query(q{SELECT count(*), max(version) FROM es_read('a-1')}), "$count|$count", 'the same when it is converted');
	is($session->query('SELECT * FROM es_verify()'), '', 'and sound');
	$session->query('COMMIT');
	is($session->{stderr}, '', 'without an error');
	is($ask->('SELECT * FROM es_verify()'), '', 'sound in another session, too');
	$session->quit;
	sql($node, 'DROP EXTENSION eventstore; CREATE EXTENSION eventstore');
}

# What the table has, of which a partition that is made has the same.
sql($node, <<'SQL');
	SELECT es_append('a-1', -1, CASE WHEN i % 2 = 0 THEN 'Even' ELSE 'Odd' END, '{}') FROM generate_series(1, 20) i;
	ALTER TABLE eventstore.events SET (autovacuum_vacuum_insert_threshold = 4321, toast.autovacuum_enabled = off, toast_tuple_target = 512);
	ALTER TABLE eventstore.events ADD CONSTRAINT never_odd CHECK (type <> 'Odd') NOT VALID;
	SELECT es_partition_events(10);
SQL
sql($node, q{SELECT es_append('a-1', -1, 'Even', '{}') FROM generate_series(1, 40) i});
is($ask->("SELECT DISTINCT c.reloptions, t.reloptions FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid WHERE c.oid IN ($ranges)"),
	'{autovacuum_vacuum_insert_threshold=4321,toast_tuple_target=512}|{autovacuum_enabled=off}', 'settings of its storage, and of its TOAST table');
is($ask->("SELECT conrelid::regclass FROM pg_constraint WHERE conname = 'never_odd' AND NOT convalidated ORDER BY 1"), "eventstore.events\neventstore.events_0", 'a constraint that is not valid stays so where the rows are');
is($ask->(q{SET constraint_exclusion = on; SELECT count(*) FROM eventstore.events WHERE type = 'Odd'}), '10', 'nothing is planned on it');
is($code->(q{SELECT es_append('a-1', -1, 'Odd', '{}')}), '23514', 'new events are held to it');
is($code->('ALTER TABLE eventstore.events VALIDATE CONSTRAINT never_odd'), '23514', 'and it can be validated no sooner');
sql($node, 'ALTER TABLE eventstore.events DROP CONSTRAINT never_odd');

# Whose it is.
my $owners = "SELECT DISTINCT r.rolname FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE c.oid IN ($ranges) OR c.oid = 'eventstore.events'::regclass";
sql($node, 'CREATE ROLE keeper; CREATE ROLE other SUPERUSER');
is($code->('ALTER TABLE eventstore.events OWNER TO keeper'), '42501', 'who could make no partitions becomes no owner');
is($ask->($owners), 'postgres', 'and none is');
sql($node, 'GRANT USAGE, CREATE ON SCHEMA eventstore TO keeper; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA eventstore TO keeper');
is($code->('ALTER TABLE eventstore.events OWNER TO keeper'), '42501', 'nor who could write down nothing of them');
sql($node, 'GRANT ALL ON ALL TABLES IN SCHEMA eventstore TO keeper; ALTER TABLE eventstore.events OWNER TO keeper');
is($ask->($owners), 'keeper', 'another owner is that of the partitions');
my $noted = $ask->('SELECT count(*) FROM eventstore.partition_ids');
sql($node, q{SELECT es_append('a-1', -1, 'A', '{}') FROM generate_series(1, 50) i});
is($ask->($owners), 'keeper', 'and of those that are made');
# What is closed is written down when the next one is made.
sql($node, q{SELECT es_append('a-1', -1, 'A', '{}') FROM generate_series(1, 50) i});
becomes($node, "SELECT count(*) > $noted FROM eventstore.partition_ids", 't', 'and what is known of those that are closed is written down by it');
sql($node, 'ALTER TABLE eventstore.events_0 OWNER TO other');
is($ask->($owners), 'keeper', 'a partition has no owner of its own');
sql($node, 'REASSIGN OWNED BY keeper TO other');
is($ask->($owners), 'other', 'REASSIGN OWNED reaches all');
sql($node, q{SELECT es_append('a-1', -1, 'A', '{}') FROM generate_series(1, 50) i});
is($ask->('SELECT * FROM es_verify()'), '', 'all is sound');

# In a transaction that has read before, verbs find what others have appended meanwhile to partitions that were not there.
sql($node, 'DROP EXTENSION eventstore; CREATE EXTENSION eventstore; SELECT es_partition_events(10)');
sql($node, q{SELECT es_append('a-1', -1, 'A', '{}', NULL, NULL, '{t}') FROM generate_series(1, 5) i});
{
	my $reader = session($node);
	my %verbs = (
		es_read => q{SELECT count(*) FROM es_read('a-1')},
		es_read_all => 'SELECT count(*) FROM es_read_all(0, NULL)',
		es_read_category => q{SELECT count(*) FROM es_read_category('a', 0, 100000)},
		es_read_query => q{SELECT count(*) FROM es_read_query('[{"tags": ["t"]}]', 0, 10000)},
		es_append_if => q{SELECT es_append_if('if-1', '{"type": "If", "tags": ["if"]}', '[{"tags": ["t"]}]', %d)});
	my $count = 5;
	for my $verb (sort keys %verbs)
	{
		my $conditional = $verb eq 'es_append_if';
		my $head = $ask->('SELECT es_head()');
		$reader->query("PREPARE $verb AS " . sprintf($verbs{$verb}, $head));
		$reader->query('BEGIN');
		$reader->query("EXECUTE $verb") for 1 .. $conditional ? 1 : 8; # until it looks nothing up in the catalogue any more
		sql($node, q{SELECT es_append('a-1', -1, 'A', '{}', NULL, NULL, '{t}') FROM generate_series(1, 50) i});
		$count += 50;
		my $found = $reader->query("EXECUTE $verb");
		$conditional ? like($reader->{stderr}, qr/condition/, 'a condition of es_append_if') : is($found, $count, "$verb in a transaction that has read before");
		$reader->query('ROLLBACK');
	}
	$reader->quit;
}

# Where events come from elsewhere.
sql($node, 'DROP EXTENSION eventstore; CREATE EXTENSION eventstore; SELECT es_set_mirror()');
is($code->('SELECT es_partition_events(10)'), '0A000', 'a mirror is not partitioned');
sql($node, 'SELECT es_unset_mirror(); SELECT es_partition_events(10)');
is($code->('SELECT es_set_mirror()'), '0A000', 'what is partitioned becomes no mirror');
is($ask->(q{SELECT es_append('a-1', -1, 'A', '{}')}), '1', 'and is a store as before');
my $feeder = new_node('feeder', $in_one_table, 'wal_level = logical', 'max_wal_senders = 5');
sql($feeder, 'CREATE PUBLICATION p FOR TABLE eventstore.events, eventstore.streams');
sql($node, 'DROP EXTENSION eventstore; CREATE EXTENSION eventstore; CREATE SUBSCRIPTION s CONNECTION $$' . $feeder->connstr('postgres') . '$$ PUBLICATION p');
is($code->('SELECT es_partition_events(10)'), '0A000', 'nor is a store partitioned that has a feed');
is($ask->(q{SELECT relkind FROM pg_class WHERE oid = 'eventstore.events'::regclass}), 'r', 'it stays one table');
sql($node, 'DROP SUBSCRIPTION s; SELECT es_partition_events(10)');
is($ask->(q{SELECT relkind FROM pg_class WHERE oid = 'eventstore.events'::regclass}), 'p', 'until that is dropped');

# Partitioned, it has none to attach or detach while events come to it.
sql($node, q{SELECT es_append('a-1', -1, 'A', '{}') FROM generate_series(1, 30) i});
sql($node, 'CREATE SUBSCRIPTION s CONNECTION $$' . $feeder->connstr('postgres') . '$$ PUBLICATION p');
is($code->('SELECT es_detach_events(10)'), '55000', 'a store that has a feed detaches nothing');
sql($node, 'DROP SUBSCRIPTION s');
is($ask->('SELECT es_detach_events(10)'), 'eventstore.events_0', 'without it, it does');

done_testing();
