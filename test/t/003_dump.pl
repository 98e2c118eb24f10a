# pg_dump and restore, plain into another database and custom with parallel jobs into another cluster: the same store, which goes on
# where the first one was.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('dumped');
my $id = '0190a000-0000-7000-8000-00000000000';
my $batch = qq{'[{"type": "First", "id": "${id}1"}, {"type": "Second", "id": "${id}2", "tags": ["x", "with, comma", "\\"quoted\\""]}]'};

sql($node, <<"SQL");
	CREATE ROLE reader;
	CREATE ROLE appender;
	SELECT es_grant('reader', 'read');
	SELECT es_grant('appender', 'append');
	SELECT es_append('retried-1', 0, $batch);
	SELECT es_append('odd-\\t' || chr(9) || ' and ' || chr(10) || '\\N', 0, 'Ünïcode ☃', '{"s": "tab \\t, line \\n, snow ☃, \\\\N", "n": 1e300, "deep": [[{"a": null}]]}');
	SELECT es_append('odd-2', 0, 'Null', 'null'::jsonb, '{"correlation_id": "c-1"}'::jsonb, NULL, '{}'::text[]);
	SELECT es_append('odd-3', 0, 'Big', jsonb_build_object('text', repeat('long ', 100000)));
	SELECT es_append('many-' || i % 7, -1, 'Counted', jsonb_build_object('i', i)) FROM generate_series(1, 2000) i;
	SELECT es_assert_version('asserted-1', 0);
	SELECT es_save_snapshot('retried-1', 1, '{"seen": ["First"]}');
	SELECT es_save_snapshot('many-1', 200, '200', 7);
	SELECT es_assert_version('gone-1', 0);
	UPDATE eventstore.streams SET tombstoned = true WHERE stream = 'gone-1';
SQL
# Positions that were given out and lost must not come back either.
is(sqlstate($node, q{BEGIN; SELECT es_append('lost-1', 0, 'Lost', '{}'); SELECT 1/0}), '22012', 'an append is rolled back');

my $store = <<'SQL';
	SELECT * FROM eventstore.events ORDER BY position;
	SELECT * FROM eventstore.streams ORDER BY stream;
	SELECT * FROM eventstore.snapshots ORDER BY stream, schema_version;
	SELECT last_value, is_called FROM eventstore.positions;
SQL
my $rights = <<'SQL';
	SELECT c.oid::regclass::text, a.grantee::regrole, a.privilege_type
	FROM pg_class c, aclexplode(c.relacl) a WHERE relnamespace = 'eventstore'::regnamespace AND a.grantee <> c.relowner
	UNION ALL
	SELECT p.oid::regprocedure::text, a.grantee::regrole, a.privilege_type
	FROM pg_proc p, aclexplode(p.proacl) a WHERE proname LIKE 'es\_%' AND a.grantee <> p.proowner ORDER BY 1, 2, 3
SQL
my ($original, $original_rights) = (sql($node, $store), sql($node, $rights));
my $last_position = sql($node, 'SELECT last_value FROM eventstore.positions');

sub is_same_store
{
	my ($copy, $database, $how) = @_;
	my $ask = sub { sql($copy, $_[0], $database) };
	my $code = sub { sqlstate($copy, $_[0], $database) };

	is($ask->($store), $original, "$how: the same events, streams and position");
	is($ask->('SELECT es_head()'), $last_position, "$how: the head is the last position");
	is($ask->('SELECT count(*) FROM es_read_all(0, NULL)'), $ask->('SELECT count(*) FROM eventstore.events'), "$how: and all can be read up to there");
	is($ask->($rights), $original_rights, "$how: the same rights");
	is_sound($copy, $how, $database);
	is($ask->("SELECT es_append('retried-1', 0, $batch)"), '2', "$how: an exact retry is recognized");
	is($ask->('SELECT count(*) FROM eventstore.events'), sql($node, 'SELECT count(*) FROM eventstore.events'), "$how: and stores nothing");
	is($code->(qq{SELECT es_append('retried-2', 0, 'First', '{}', NULL, '${id}1')}), 'SE002', "$how: an id is taken for ever");
	is($code->(q{SELECT es_append('retried-1', 1, 'Late', '{}')}), 'SE001', "$how: a conflict is still one");
	is($code->(q{SELECT es_append('gone-1', -1, 'Late', '{}')}), 'SE003', "$how: a tombstone stays");
	is($ask->(q{SELECT es_append('retried-1', 2, 'Third', '{}')}), '3', "$how: a stream goes on at its version");
	cmp_ok($ask->(q{SELECT position FROM es_last_event('retried-1')}), '>', $last_position, "$how: and above all positions");
	is($ask->(q{SELECT es_head() = position FROM es_last_event('retried-1')}), 't', "$how: which is where the head is then");
	is($ask->(q{SELECT l.version, l.state, e.version, e.type FROM es_load('retried-1') l, unnest(l.events) e}), qq(1|{"seen": ["First"]}|2|Second\n1|{"seen": ["First"]}|3|Third), "$how: a snapshot counts");
	is($code->($_), 'SE007', "$how: $_ is refused")
	  for "UPDATE eventstore.events SET type = 'x'", 'DELETE FROM eventstore.events', 'TRUNCATE eventstore.events';
	is($ask->(q{SET ROLE reader; SELECT version FROM es_last_event('retried-1')}), '3', "$how: a reader reads");
	is($code->(q{SET ROLE reader; SELECT es_append('retried-1', 3, 'x', '{}')}), '42501', "$how: and appends nothing");
	is($ask->(q{SET ROLE appender; SELECT es_append('retried-1', 3, 'Fourth', '{}')}), '4', "$how: an appender appends");
	is($ask->(q{SELECT count(*) FROM pg_extension WHERE extname = 'eventstore'}), '1', "$how: the extension is there");
	is($code->('DROP EXTENSION eventstore'), '', "$how: and can be dropped");
}

my $folder = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-f', "$folder/plain.sql", 'postgres' ], 'dumped as SQL');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/custom", 'postgres' ], 'dumped in the custom format');

sql($node, 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'copy', '-f', "$folder/plain.sql" ], 'restored from SQL');
is_same_store($node, 'copy', 'from SQL');

my $other = new_server('restored');
sql($other, 'CREATE ROLE reader; CREATE ROLE appender; CREATE DATABASE copy TEMPLATE template0');
$other->command_ok([ 'pg_restore', '--exit-on-error', '-j', '4', '-d', 'copy', "$folder/custom" ], 'restored by four jobs into another cluster');
is_same_store($other, 'copy', 'from the custom format');

is(sql($node, $store), $original, 'the first store is as it was');

# A dump of the data alone goes into a store that was made by CREATE EXTENSION, where that has the same partitions or none, and into one that
# was made by a dump of all else.
$node->command_ok([ 'pg_dump', '--data-only', '-f', "$folder/data.sql", 'postgres' ], 'dumped the data alone');
$node->command_ok([ 'pg_dump', '--schema-only', '-f', "$folder/schema.sql", 'postgres' ], 'dumped all else');
sql($other, "CREATE DATABASE $_ TEMPLATE template0") for qw(data halves);
sql($other, 'CREATE EXTENSION eventstore', 'data');
$other->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'halves', '-f', "$folder/schema.sql" ], 'restored all else');
for my $database ($ENV{PARTITIONED} ? () : 'data', 'halves')
{
	$other->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $database, '-f', "$folder/data.sql" ], "$database: restored the data alone");
	is(sql($other, $store, $database), $original, "$database: the same store");
}

done_testing();
