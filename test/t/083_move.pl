# A store moves to another server by the commands of docs/migrate.md: the import is killed in the middle, by the crash of its server, and goes on; the source
# goes on meanwhile; in the end both are the same. What does not move by itself is brought along as the page says, and dump and restore carry all of it.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $page = PostgreSQL::Test::Utils::slurp_file("$top/docs/migrate.md");
my ($section) = $page =~ /^## From one store to another\n(.*?)(?=^## )/ms;
my @blocks = $section =~ /^```sh\n(.*?)^```/msg;
is(scalar @blocks, 5, 'blocks of commands: moving, comparing, as a file, tombstones and snapshots, keys');
my @steps = split /\n/, $blocks[0];
is(scalar @steps, 4, 'four steps');

my $source = new_node('source');
my $target = new_node('target');

# Runs commands of the page; returns what they print, errors with it.
sub commands
{
	my ($commands, $database) = @_;
	my $out = '';
	local $ENV{SOURCE} = $source->connstr('postgres');
	local $ENV{TARGET} = $target->connstr($database // 'postgres');
	my $ok = IPC::Run::run([ 'bash', '-e', '-u', '-o', 'pipefail', '-c', $commands ], '<', \undef, '>&', \$out, init => sub { chdir $top or die $! });
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok($ok, (split /\n/, $commands)[0]) or diag($out);
	return $out;
}
my $compared = sub { my ($name, $database) = @_; my @lines = grep { /\|/ } split /\n/, commands($blocks[1], $database); is($lines[1], $lines[0], "$name: both stores are the same"); return $lines[0]; };

# A history of everything.
sql($source, <<'SQL');
	SELECT count(es_append('order-{t' || i % 3 || '}-' || i % 100, -1, (SELECT jsonb_agg(jsonb_build_object('type', 'T' || n, 'data', jsonb_build_object('i', i, 'text', E'"\\\t\n☃'), 'metadata', CASE WHEN n = 2 THEN '{"u": 1.50}'::jsonb END,
		'tags', CASE WHEN n = 3 THEN '["a", "b"]'::jsonb END)) FROM generate_series(1, 4) n))) FROM generate_series(1, 1000) i;
	SELECT es_append('stop-1', 0, 'Stop', '[1, null, {"a": []}]');
	SELECT count(es_append('later-' || i % 10, -1, 'Later', 'null')) FROM generate_series(1, 1000) i;
	SELECT es_truncate_stream('later-1', 50);
	SELECT es_save_snapshot('later-1', 100, '{"it''s": 100}');
	SELECT es_redact(id, 'test') FROM es_read('later-2', 3, 1);
	SELECT es_append('gone-1', 0, 'Gone', '{}');
	SELECT es_delete_stream('gone-1', 1, tombstone => true);
	SELECT es_append('person-1', 0, 'Named', jsonb_build_object('name', es_protect('person-1', '"Ada"')));
	SELECT es_append('person-2', 0, 'Named', jsonb_build_object('name', es_protect('person-2', '"Bob"')));
	SELECT es_erase_subject('person-2', 'test');
SQL

# Killed in the middle: a trigger holds it at an event, then the server goes down.
commands(join "\n", @steps[ 0 .. 2 ]);
my $total = sql($target, 'SELECT count(*) FROM moving.lines');
is($total, sql($source, 'SELECT count(*) FROM eventstore.events'), 'all lines are there');
sql($target, <<'SQL');
	CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN new; END$$;
	CREATE TRIGGER hold AFTER INSERT ON eventstore.events FOR EACH ROW WHEN (new.stream = 'stop-1') EXECUTE FUNCTION hold();
SQL
my $holder = session($target);
$holder->query_safe('SELECT pg_advisory_lock(42)');
my ($told, $import) = ('');
{
	(my $step = $steps[3]) =~ s/import\(\)/import(300)/;
	local $ENV{TARGET} = $target->connstr('postgres');
	$import = IPC::Run::start([ 'bash', '-c', $step ], '<', \undef, '>&', \$told);
}
becomes($target, q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted}, 1, 'it is held in the middle');
my $before = sql($target, 'SELECT imported FROM moving.progress');
is($before, 3900, 'thirteen batches are done');
cmp_ok(sql($target, 'SELECT es_head()'), '>=', 3900, 'the head is held back by one batch at the most');
$target->stop('immediate');
IPC::Run::finish($import);
like($told, qr/NOTICE:  3900 of $total lines \(\d+ %\), \d+ a second/, 'it has told how far it was');
$target->start;
is(sql($target, 'SELECT imported, count(*) FROM moving.progress, eventstore.events GROUP BY 1'), '3900|3900', 'what was done is there, and nothing else');
is(sql($target, 'SELECT * FROM es_verify()'), '', 'it is sound');
sql($target, 'DROP TRIGGER hold ON eventstore.events');

# The copy is broken off: nothing has come.
my $arrived = sql($target, 'SELECT moving.arrived(), count(*) FROM moving.lines');
is(sqlstate($target, qq{COPY moving.lines (event) FROM STDIN;\n{"stream": "half-1"}\n\\N\n\\.\n}), '23502', 'a copy that fails');
is(sql($target, 'SELECT moving.arrived(), count(*) FROM moving.lines'), $arrived, 'leaves nothing');

# The source has gone on. Again from the beginning of the page.
sql($source, q{SELECT count(es_append('order-{t1}-1', -1, 'On', '{}')), count(es_append('new-' || i, 0, 'On', '{}')) FROM generate_series(1, 50) i});
like(commands($blocks[0]), qr/NOTICE: .*\(100 %\)/, 'all of it');
my $line = $compared->('moved');
like($line, qr/^\d+\|\d+\|[0-9a-f]{64}$/, $line);
is(sql($target, 'SELECT * FROM es_verify()'), '', 'it is sound');
is(sql($target, 'SELECT imported = (SELECT count(*) FROM eventstore.events) FROM moving.progress'), 't', 'each line was stored once');
is(sql($target, 'SELECT stream, version FROM eventstore.beginnings'), 'later-1|50', 'where a truncated stream begins');
sql($source, q{SELECT es_append('order-{t1}-1', -1, 'On', '{}')});
commands($blocks[0]);
$compared->('and once more');

# What does not move by itself
commands($blocks[3]);
is(sqlstate($target, q{SELECT es_append('gone-1', -1, 'Back', '{}')}), 'SE003', 'tombstones');
is(sql($target, q{SELECT version, state, cardinality(events) FROM es_load('later-1')}), q(100|{"it's": 100}|0), 'snapshots');
is(sqlstate($target, q{SELECT es_reveal(data) FROM es_read('person-1')}), '55000', 'without keys a value is not readable');
commands($blocks[4]);
is(sql($target, q{SELECT stream, es_reveal(data) FROM es_read_category('person')}), qq(person-1|{"name": "Ada"}\nperson-2|{"name": null}), 'keys, and the fence');
is(sqlstate($target, q{SELECT es_protect('person-2', '1')}), 'SE010', 'which holds');
is(sql($target, q{SELECT data, metadata FROM es_read('later-2', 3, 1)}), '{}|', 'a redacted event is as it was');

# As a file of JSON lines
sql($target, 'CREATE DATABASE by_file');
sql($target, 'CREATE EXTENSION eventstore', 'by_file');
my $folder = PostgreSQL::Test::Utils::tempdir();
(my $by_file = $blocks[2]) =~ s,events\.ndjson,$folder/events.ndjson,g;
commands("$steps[0]\n$by_file\n$steps[3]", 'by_file');
$compared->('by a file', 'by_file');
open my $file, '<', "$folder/events.ndjson" or die $!;
my $first = <$file>;
close $file;
like($first, qr/^\{"id": .*\}$/, 'of which each line is a JSON object');
like($first, qr/"text": "\\"\\\\\\t\\n/, 'and not escaped twice');
sql($target, 'DROP SCHEMA moving CASCADE', 'by_file');
is(sql($target, 'SELECT * FROM es_verify()', 'by_file'), '', 'the end');

# Dump and restore afterwards
$target->command_ok([ 'pg_dump', '-f', "$folder/dump.sql", $target->connstr('by_file') ], 'dumped');
sql($target, 'CREATE DATABASE restored TEMPLATE template0');
$target->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $target->connstr('restored'), '-f', "$folder/dump.sql" ], 'restored');
$compared->('restored', 'restored');
is(sql($target, 'SELECT * FROM es_verify()', 'restored'), '', 'sound, with its beginnings');
is(sql($target, 'SELECT es_append(\'later-1\', 100, \'On\', \'{}\')', 'restored'), 101, 'and goes on');
commands($blocks[0], 'restored');
is(sql($target, 'SELECT imported FROM moving.progress', 'restored'), 0, 'all is known there');
done_testing();
