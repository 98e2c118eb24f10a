# Seals that the worker makes at intervals; that outlive a crash, dump and restore; and that another program computes from a SELECT.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $folder = PostgreSQL::Test::Utils::tempdir();
my $node = new_node('seals', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'postgres, copy, jobs'");
my $reload = sub {
	my ($interval) = @_;
	sql($node, "ALTER SYSTEM SET eventstore.seal_interval = '$interval'");
	sql($node, 'SELECT pg_reload_conf()');
};
my $is_sealed = sub {
	my ($name, $database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	becomes($node, 'SELECT (SELECT max(upto) FROM eventstore.seals) >= (SELECT max(position) FROM eventstore.events)', 't', "$name: all is sealed", $database);
	is(sql($node, 'SELECT * FROM es_verify_seals()', $database), '', "$name: and is what it was");
};
is(sql($node, 'SHOW eventstore.seal_interval'), 0, 'the worker seals nothing unless it is told to');
is(sqlstate($node, 'SET eventstore.seal_interval = 5'), '55P02', 'nor can a session tell it');
sql($node, q{SELECT count(es_append('a-' || n % 7, -1, 'Counted', jsonb_build_object('n', n, 'text', 'snow ☃, "quoted", \\, ' || chr(9)), '{"by": "ü"}', tags => CASE n % 3 WHEN 0 THEN '{x,ö}'::text[] WHEN 1 THEN '{}' END))
	FROM generate_series(1, 10000) n});
sql($node, q{SELECT es_append('b-1', 0, 'Ärger', 'null'), es_append('b-2', 0, 'Big', jsonb_build_object('text', repeat('long ', 100000)))});
is(sql($node, 'SELECT count(*) FROM eventstore.seals'), 0, 'so far');
$reload->('1s');
$is_sealed->('the worker');
cmp_ok(sql($node, 'SELECT count(*) FROM eventstore.seals'), '>', 1, 'many events: in several seals');
sql($node, q{SELECT es_append('b-1', 1, 'Later', '{}')});
$is_sealed->('later');

# An open delete: the worker does not wait for it, and goes on announcing.
my $open = session($node);
$open->query_safe(q{BEGIN; SELECT es_delete_stream('b-2', 1)});
sql($node, q{SELECT es_append('b-1', 2, 'Later', '{}')});
becomes($node, 'SELECT es_head() = (SELECT position FROM eventstore.head)', 't', 'the head is announced while a delete is open');
my $sealed = sql($node, 'SELECT max(upto) FROM eventstore.seals');
sleep 1.5; # time to do it wrongly
is(sql($node, 'SELECT max(upto) FROM eventstore.seals'), $sealed, 'nothing is sealed meanwhile');
$open->query_safe('COMMIT');
$open->quit;
$is_sealed->('when the delete is over');

# A crash.
$node->stop('immediate');
$node->start;
is(sql($node, 'SELECT * FROM es_verify_seals()'), '', 'after a crash history is what was sealed');
is_sound($node, 'after a crash');
sql($node, q{SELECT es_append('b-1', 3, 'Later', '{}')});
$is_sealed->('after a crash');
$reload->('0');

# Another program, which knows no more than the documentation.
SKIP:
{
	skip 'no python3', 2 if system('python3 -c "" 2>/dev/null') != 0;
	PostgreSQL::Test::Utils::append_to_file("$folder/chain.py", <<'PY');
import csv, hashlib, struct, sys, uuid

csv.field_size_limit(1 << 30)

def counted(text):
    if text is None:
        return b'\xff\xff\xff\xff'
    data = text.encode('utf-8')
    return struct.pack('>i', len(data)) + data

def null(value):
    return None if value == 'N' else value[1:]

def event(row):
    position, version, id, microseconds, stream, type, data, metadata, count, *tags = row
    form = b'\x01' + struct.pack('>qq', int(position), int(version)) + uuid.UUID(id).bytes + struct.pack('>q', int(microseconds))
    form += counted(stream) + counted(type) + counted(data) + counted(null(metadata))
    form += b'\xff\xff\xff\xff' if count == 'N' else struct.pack('>i', int(count)) + b''.join(counted(t) for t in tags[:int(count)])
    return int(position), hashlib.sha256(form).digest()

def gone(row):
    return int(row[0]), bytes.fromhex(row[1])

folder = sys.argv[1]
leaves = sorted([event(row) for row in csv.reader(open(folder + '/events.csv', newline=''))] + [gone(row) for row in csv.reader(open(folder + '/gone.csv', newline=''))])
before, number, bad = bytes(32), 0, 0
for seal, after, upto, events, microseconds, digest in csv.reader(open(folder + '/seals.csv')):
    covered = [leaf for position, leaf in leaves if int(after) < position <= int(upto)]
    blocks = [hashlib.sha256(b''.join(covered[i:i + 128])).digest() for i in range(0, len(covered), 128)]
    row = struct.pack('>qqqqq', *map(int, (seal, after, upto, events, microseconds)))
    before = hashlib.sha256(b'\x01' + before + b''.join(blocks) + row).digest()
    bad += before.hex() != digest or len(covered) != int(events)
    number += 1
print(number, bad, before.hex())
PY
	my $microseconds = sub { "(extract(epoch FROM $_[0]) * 1000000)::bigint - 946684800000000" };
	sql($node, "COPY (SELECT position, version, id, " . $microseconds->('recorded_at') . ", stream, type, data, CASE WHEN metadata IS NULL THEN 'N' ELSE 'J' || metadata::text END,
		coalesce(cardinality(tags)::text, 'N'), tags[1], tags[2] FROM eventstore.events ORDER BY position) TO '$folder/events.csv' (FORMAT csv)");
	sql($node, "COPY (SELECT position, encode(digest, 'hex') FROM eventstore.removed_events) TO '$folder/gone.csv' (FORMAT csv)");
	sql($node, "COPY (SELECT seal, after_position, upto, events, " . $microseconds->('sealed_at') . ", encode(digest, 'hex') FROM eventstore.seals ORDER BY seal) TO '$folder/seals.csv' (FORMAT csv)");
	my ($out, $err) = ('', '');
	ok(IPC::Run::run([ 'python3', '-B', "$folder/chain.py", $folder ], '>', \$out, '2>', \$err), 'the digests were computed') or diag($err);
	is($out, sql($node, q{SELECT format('%s 0 %s', count(*), (SELECT encode(digest, 'hex') FROM eventstore.seals ORDER BY seal DESC LIMIT 1)) FROM eventstore.seals}) . "\n", 'and are those of the seals');
}

# Dump and restore, beside a worker that seals.
my $seals = 'SELECT * FROM eventstore.seals ORDER BY seal';
my $original = sql($node, $seals);
$reload->('1s');
$node->command_ok([ 'pg_dump', '-f', "$folder/plain.sql", 'postgres' ], 'dumped as SQL');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/custom", 'postgres' ], 'dumped in the custom format');
sql($node, 'CREATE DATABASE copy TEMPLATE template0');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'copy', '-f', "$folder/plain.sql" ], 'restored from SQL');
sql($node, 'CREATE DATABASE jobs TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-j', '3', '-d', 'jobs', "$folder/custom" ], 'restored by three jobs');
for my $database ('copy', 'jobs')
{
	is(sql($node, "$seals LIMIT " . (() = $original =~ /^/mg), $database), $original, "$database: the same seals");
	is(sql($node, 'SELECT * FROM es_verify_seals()', $database), '', "$database: history is what was sealed");
	sql($node, q{SELECT es_append('b-1', -1, 'Restored', '{}')}, $database);
	$is_sealed->($database, $database);
	is_sound($node, $database, $database);
}
$node->stop;
done_testing();
