# Crashes: what was committed is there, what was not is not, versions stay dense, positions are never given out twice, and an exact
# retry is recognized afterwards.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('restart', 'restart_after_crash = on', 'checkpoint_timeout = 1h');
my $connection = $node->connstr('postgres');
my $id = '0190a000-0000-7000-8000-000000000001';
my $append = qq{SELECT es_append('a-1', 0, '[{"type": "Opened", "id": "$id"}, {"type": "Deposited", "id": "@{[$id =~ s/1$/2/r]}"}]')};
my $everything = 'SELECT * FROM eventstore.events ORDER BY position';

is(sql($node, $append), '2', 'appended');
sql($node, q{SELECT es_append('b-1', 0, 'Opened', '{}')});
my $committed = sql($node, $everything);
my $last_position = sql($node, 'SELECT max(position) FROM eventstore.events');

# A transaction that gets far and never ends, because its backend is killed; that makes the server start its memory anew.
my $script = <<'SQL';
	BEGIN;
	SELECT es_append('a-1', 2, 'Lost', '{}');
	SELECT es_append('c-1', 0, 'Lost', '{}');
	SELECT pg_backend_pid() AS pid \gset
	\setenv PID :pid
	\! kill -9 $PID
	SELECT 1;
SQL
isnt($node->psql('postgres', $script), 0, 'a backend is killed in the middle of an append');
$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
is(sql($node, $everything), $committed, 'what was committed is there, and nothing else');
is(sql($node, q{SELECT es_append('a-1', 2, 'Withdrawn', '{}')}), '3', 'the stream goes on at its version');
cmp_ok(sql($node, 'SELECT max(position) FROM eventstore.events'), '>', $last_position, 'and above all positions');

$committed = sql($node, $everything);
$last_position = sql($node, 'SELECT max(position) FROM eventstore.events');
$node->stop('immediate');
$node->start;
is(sql($node, $everything), $committed, 'after an immediate stop, too');
is(sql($node, $append), '2', 'an exact retry after it returns the first answer');
is(sql($node, $everything), $committed, 'and stores nothing');
is(sql($node, "$append; SELECT es_last_position() = (SELECT position FROM eventstore.events WHERE stream = 'a-1' AND version = 2)"),
	"2\nt", 'and the first position');
is(sqlstate($node, qq{SELECT es_append('z-1', 0, 'Opened', '{}', NULL, '$id')}), 'SE002', 'the id is still taken for others');
is(sqlstate($node, q{SELECT es_append('a-1', 1, 'Late', '{}')}), 'SE001', 'a conflict is still one');
sql($node, q{SELECT es_append('d-1', 0, 'Opened', '{}')});
cmp_ok(sql($node, 'SELECT max(position) FROM eventstore.events'), '>', $last_position, 'positions go on above');

# The server stops in the midst of four clients that append as fast as they can. Each append they got an answer for has to be there.
my @clients = map {
	my $file = PostgreSQL::Test::Utils::tempdir() . '/client.sql';
	PostgreSQL::Test::Utils::append_to_file($file,
		join("\n", map { "SELECT es_append('crash-$_', -1, 'Counted', '{}');" } ($_) x 100_000));
	{ name => "crash-$_", file => $file, out => '', err => '' }
} 1 .. 4;
for my $client (@clients)
{
	$client->{run} = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $connection, '-f', $client->{file} ],
		'>', \$client->{out}, '2>', \$client->{err});
}
$node->poll_query_until('postgres', 'SELECT count(*) > 2000 FROM eventstore.events') or die 'the clients do not append';
$node->stop('immediate');
$_->{run}->finish for @clients;
$node->start;
for my $client (@clients)
{
	my ($last) = $client->{out} =~ /(\d+)\n\z/;
	my $stored = sql($node, "SELECT es_stream_version('$client->{name}')");
	ok($last > 0 && ($stored == $last || $stored == $last + 1),
		"$client->{name}: $last appends were answered, and at most one more is stored ($stored)");
}
is_sound($node, 'after the crashes');

# Prepared transactions wait for their end across a restart.
sql($node, q{BEGIN; SELECT es_append('p-1', 0, 'Prepared', '{}'); PREPARE TRANSACTION 'commits'});
sql($node, q{BEGIN; SELECT es_append('p-2', 0, 'Prepared', '{}'); PREPARE TRANSACTION 'aborts'});
$node->stop('immediate');
$node->start;
is(sqlstate($node, q{SET lock_timeout = '100ms'; SELECT es_append('p-1', -1, 'Waits', '{}')}), '55P03', 'a prepared append still holds its stream');
sql($node, q{COMMIT PREPARED 'commits'; ROLLBACK PREPARED 'aborts'});
is(sql($node, q{SELECT es_append('p-1', -1, 'After', '{}'), es_append('p-2', -1, 'After', '{}')}), '2|1', 'and either end of it is right');
is_sound($node, 'after prepared transactions');

done_testing();
