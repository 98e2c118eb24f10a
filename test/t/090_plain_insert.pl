# Events that are stored without an append: a plain INSERT is refused, to whomever; a restore goes on working in each form that there is; and
# what has come by COPY without its stream's row is found by es_verify, and mended by es_repair_streams.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_server('inserting', 'wal_level = logical', 'max_wal_senders = 8', 'max_replication_slots = 8');
my $folder = PostgreSQL::Test::Utils::tempdir();
my $event = sub { my ($stream, $version, $position) = @_; "($position, '$stream', split_part('$stream', '-', 1), $version, gen_random_uuid(), 'T', '{}', NULL, NULL, now())" };

sql($node, <<'SQL');
	CREATE EXTENSION eventstore;
	CREATE ROLE some_owner;
	CREATE ROLE some_admin;
	SELECT es_grant('some_admin', 'admin');
	SELECT es_append('a-' || i % 3, -1, 'A', jsonb_build_object('i', i)) FROM generate_series(1, 50) i;
	SELECT es_append('b-1', 0, '[{"type": "B", "tags": ["x"]}, {"type": "B"}, {"type": "B"}]'), es_truncate_stream('b-1', 3), es_assert_version('c-1', 0);
	SELECT es_append('d-1', 0, 'D', '{}'), es_delete_stream('d-1', 1, true);
	CREATE TABLE rows AS SELECT * FROM eventstore.events LIMIT 1;
	CREATE TABLE source (a int);
	CREATE FUNCTION put() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO eventstore.events SELECT 1000, 'x-1', 'x', 1, gen_random_uuid(), 'T', '{}', NULL, NULL, now(); RETURN new; END $$;
	CREATE FUNCTION put_one() RETURNS int LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO eventstore.events SELECT 1000, 'x-1', 'x', 1, gen_random_uuid(), 'T', '{}', NULL, NULL, now(); RETURN 1; END $$;
	CREATE TABLE with_default (a int DEFAULT put_one(), b int);
	CREATE TRIGGER putting BEFORE INSERT ON source FOR EACH ROW EXECUTE FUNCTION put();
SQL

# Everything else than a restore
my %ways = (
	'INSERT' => 'INSERT INTO eventstore.events VALUES ' . $event->('x-1', 1, 1000),
	'INSERT of next positions' => q{INSERT INTO eventstore.events VALUES } . $event->('x-1', 1, q{nextval('eventstore.positions')}),
	'INSERT of too little' => q{INSERT INTO eventstore.events (stream) VALUES ('x-1')},
	'INSERT of no row' => 'INSERT INTO eventstore.events SELECT * FROM rows WHERE false',
	'INSERT ... ON CONFLICT' => 'INSERT INTO eventstore.events SELECT * FROM rows ON CONFLICT DO NOTHING',
	'INSERT in WITH' => 'WITH i AS (INSERT INTO eventstore.events SELECT * FROM rows RETURNING *) SELECT count(*) FROM i',
	'MERGE' => 'MERGE INTO eventstore.events e USING rows r ON false WHEN NOT MATCHED THEN INSERT VALUES ' . $event->('x-1', 1, 1000),
	'PREPARE' => 'PREPARE p AS INSERT INTO eventstore.events VALUES ' . $event->('x-1', 1, 1000) . '; EXECUTE p',
	'DO' => q{DO $do$ BEGIN INSERT INTO eventstore.events SELECT * FROM rows; END $do$},
	'a trigger' => 'INSERT INTO source VALUES (1)',
	'a trigger, by COPY' => "COPY source FROM STDIN;\n1\n\\.\n",
	'a function, by COPY' => 'COPY (SELECT put_one()) TO STDOUT',
	'a default, by COPY' => "COPY with_default (b) FROM STDIN;\n1\n\\.\n",
	'COPY in a function' => qq{DO \$do\$ BEGIN EXECUTE 'COPY eventstore.events FROM ''$folder/none'''; END \$do\$},
	'INSERT of a stream' => q{INSERT INTO eventstore.streams VALUES ('x-1', 7, now())},
	'INSERT of a stream with ON CONFLICT' => q{INSERT INTO eventstore.streams VALUES ('a-1', 7, now()) ON CONFLICT (stream) DO UPDATE SET version = 7});
PostgreSQL::Test::Utils::append_to_file("$folder/none", '');
chmod 0755, $folder;
my $count = 'SELECT count(*) FROM eventstore.events';
my $events = sql($node, $count);
is(sqlstate($node, $ways{$_}), 'SE007', "refused: $_") for sort keys %ways;
is(sqlstate($node, "SET session_replication_role = local; $ways{INSERT}"), 'SE007', 'refused: as local');
is(sql($node, $count), $events, 'nothing is stored');
sql($node, 'DROP TABLE with_default');
my $told = '';
$node->psql('postgres', $ways{INSERT}, stderr => \$told);
like($told, qr/ERROR:  INSERT on "events" is not permitted.*\nDETAIL: .*\nHINT: .*es_append\(\)/, 'what it says');
sql($node, 'BEGIN; ALTER TABLE eventstore.events OWNER TO some_owner; GRANT USAGE ON SCHEMA eventstore TO some_owner; COMMIT');
is(sqlstate($node, "SET ROLE some_owner; $ways{INSERT}"), 'SE007', 'refused to its owner');
sql($node, 'ALTER TABLE eventstore.events OWNER TO postgres');

# Appends fire triggers of users' as ever, and none of these.
sql($node, q{CREATE FUNCTION seen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'statement'; RETURN NULL; END $$; CREATE TRIGGER seen BEFORE INSERT ON eventstore.events EXECUTE FUNCTION seen()});
is(sql($node, q{SELECT es_append('e-1', 0, 'A', '{}'), es_assert_version('f-1', 0)}), '1|0', 'an append by the executor, too');
sql($node, 'DROP TRIGGER seen ON eventstore.events');

# Restores: into a new database; the data alone into one that has the extension; as COPY and as INSERT.
my $store = 'SELECT * FROM eventstore.events ORDER BY position; SELECT * FROM eventstore.streams ORDER BY stream; SELECT * FROM eventstore.removed_events ORDER BY position; SELECT last_value FROM eventstore.positions';
my $original = sql($node, $store);
my $restored = sub {
	my ($how, $options, $data_only) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($file, $custom) = ("$folder/dump", grep { /-Fc/ } @$options);
	sql($node, 'DROP DATABASE IF EXISTS copy');
	sql($node, 'CREATE DATABASE copy TEMPLATE template0');
	sql($node, 'CREATE EXTENSION eventstore; CREATE TABLE rows (LIKE eventstore.events); CREATE TABLE source (a int)', 'copy') if $data_only;
	$node->command_ok([ 'pg_dump', @$options, '-f', $file, 'postgres' ], "dumped: $how");
	if ($custom) { $node->command_ok([ 'pg_restore', '--exit-on-error', '-j', 2, '-d', 'copy', $file ], "restored: $how"); }
	else { $node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-d', 'copy', '-f', $file ], "restored: $how"); }
	is(sql($node, $store, 'copy'), $original, "$how: the same store");
	is(sql($node, q{SELECT count(*) FROM es_verify()}, 'copy'), 0, "$how: it is sound");
	is(sql($node, q{SELECT es_append('e-1', 1, 'A', '{}'), es_append('b-1', 3, 'B', '{}'), es_append('new-1', 0, 'B', '{}')}, 'copy'), '2|4|1', "$how: appends go on");
	is(sqlstate($node, $ways{INSERT}, 'copy'), 'SE007', "$how: INSERT is refused");
};
$restored->('plain', []);
$restored->('--inserts', ['--inserts']);
$restored->('--rows-per-insert', ['--rows-per-insert=20']);
$restored->('--column-inserts, custom', [ '--column-inserts', '-Fc' ]);
$restored->('custom', ['-Fc']);
$restored->('--data-only', ['--data-only'], 1);
$restored->('--data-only --inserts', [ '--data-only', '--inserts' ], 1);
$restored->('--data-only --disable-triggers', [ '--data-only', '--disable-triggers', '--inserts' ], 1);
$restored->('--data-only, custom', [ '--data-only', '-Fc' ], 1);

# By a tool that knows nothing of all that
sql($node, 'DROP DATABASE copy');
sql($node, 'CREATE DATABASE copy TEMPLATE template0');
sql($node, 'CREATE EXTENSION eventstore', 'copy');
sql($node, "COPY (SELECT format('INSERT INTO eventstore.streams VALUES (%L, %L, %L, %L);', stream, version, recorded_at, tombstoned) FROM eventstore.streams UNION ALL SELECT format('INSERT INTO eventstore.events SELECT (%L::eventstore.event).*;', (e::text)) FROM eventstore.events e) TO '$folder/own.sql'");
is(sqlstate($node, "\\i $folder/own.sql", 'copy'), 'SE007', 'a tool of one\'s own is refused');
is(sqlstate($node, "SET eventstore.restoring = on;\n\\i $folder/own.sql\n", 'copy'), '', 'and let through with eventstore.restoring');
is(sql($node, $count, 'copy'), sql($node, $count), 'its events');

# Logical replication, the first copy and what comes later
sql($node, 'DROP DATABASE copy');
sql($node, 'CREATE DATABASE copy TEMPLATE template0');
sql($node, 'CREATE EXTENSION eventstore', 'copy');
sql($node, q{CREATE PUBLICATION p FOR TABLE eventstore.events, eventstore.streams, eventstore.removed_events WITH (publish_via_partition_root = true); SELECT pg_create_logical_replication_slot('s', 'pgoutput')});
sql($node, q{CREATE SUBSCRIPTION s CONNECTION '} . $node->connstr . q{ dbname=postgres' PUBLICATION p WITH (create_slot = false, slot_name = 's')}, 'copy');
becomes($node, $count, sql($node, $count), 'replicated: what was there', 'copy');
sql($node, q{SELECT es_append('r-1', 0, 'A', '{}'), es_append('r-1', 1, 'A', '{}')});
becomes($node, q{SELECT version FROM eventstore.streams WHERE stream = 'r-1'}, 2, 'replicated: what comes', 'copy');
is(sqlstate($node, 'SELECT * FROM es_repair_streams()', 'copy'), '55000', 'replicated: more is to come, nothing is mended');
sql($node, 'DROP SUBSCRIPTION s', 'copy');

# What a COPY has brought without a row of its stream
sql($node, <<'SQL', 'copy');
	SELECT es_repair_positions();
	COPY eventstore.events FROM STDIN;
2000	x-1	x	1	00000000-0000-0000-0000-000000000001	T	{}	\N	\N	2020-01-01 00:00:00+00
2001	x-1	x	2	00000000-0000-0000-0000-000000000002	T	{}	\N	\N	2021-01-01 00:00:00+00
2002	r-1	r	3	00000000-0000-0000-0000-000000000003	T	{}	\N	\N	2222-01-01 00:00:00+00
\.
	SELECT es_repair_positions();
SQL
is(sql($node, q{SELECT check_name, stream FROM es_verify() ORDER BY 2}, 'copy'), "stream|r-1\nstream|x-1", 'copied: es_verify finds it');
for my $call (q{SELECT es_append('x-1', 0, 'A', '{}')}, q{SELECT es_append('r-1', 2, '[{"type": "A", "id": "00000000-0000-0000-0000-000000000009"}]')})
{
	$node->psql('copy', $call, stderr => \$told);
	like($told, qr/ERROR: .*events_stream_version_key.*HINT: .*es_repair_streams/s, 'copied: the next append says what to do');
}
is(sqlstate($node, 'BEGIN READ ONLY; SELECT * FROM es_repair_streams()', 'copy'), '25006', 'read only: refused');
sql($node, 'SELECT es_grant(\'some_admin\', \'admin\')', 'copy');
is(sql($node, 'SET ROLE some_admin; SELECT * FROM es_repair_streams()', 'copy'), "r-1|2|3\nx-1|0|2", 'copied: an admin mends it');
is(sql($node, 'SELECT * FROM es_repair_streams()', 'copy'), '', 'copied: there is no more to mend');
is(sql($node, 'SELECT * FROM es_verify()', 'copy'), '', 'copied: the store is sound');
is(sql($node, q{SELECT es_append('x-1', 2, 'A', '{}'), es_append('r-1', 3, 'A', '{}')}, 'copy'), '3|4', 'copied: appends go on');
is(sqlstate($node, 'SELECT * FROM es_repair_streams(); INSERT INTO eventstore.streams VALUES (\'y-1\', 1, now())', 'copy'), 'SE007', 'what mends lets nobody else through');
# Nothing is moved back: a row whose events are missing is for es_verify to tell.
sql($node, q{SET eventstore.restoring = on; INSERT INTO eventstore.streams VALUES ('z-1', 9, now())}, 'copy');
is(sql($node, 'SELECT * FROM es_repair_streams()', 'copy'), '', 'a row that is ahead of its events stays');
is(sql($node, 'SELECT stream FROM es_verify()', 'copy'), 'z-1', 'and is told');

# It waits for who is storing events.
my $writer = session($node, 'copy');
$writer->query_safe(q{BEGIN; SET LOCAL eventstore.restoring = on; INSERT INTO eventstore.events VALUES } . $event->('w-1', 1, 3000));
my $mender = session($node, 'copy');
send_query($mender, 'SELECT * FROM es_repair_streams()');
becomes($node, q{SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'ShareRowExclusiveLock'}, 1, 'it waits', 'copy');
$writer->query_safe('COMMIT');
is($mender->query(''), 'w-1|0|1', 'and sees what came');
$_->quit for $writer, $mender;
done_testing();
