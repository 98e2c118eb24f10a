# What the TAP tests share: a node with the extension in it, a client whose errors are SQLSTATEs, races by pgbench, and the
# invariants that hold after whatever happened.
package Store;

use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our $soon = 20; # seconds: "at once", on a machine that may keep any process waiting for some; waits in tests are longer

# With PARTITIONED in the environment each store is in partitions of a hundred positions from the beginning (test/partitioned.sql). Settings
# of a server that say otherwise: so many positions; or none, as the test itself has it partitioned, or events come to it from elsewhere.
sub in_partitions_of { return "partitioned.every = $_[0]" }
our $in_one_table = in_partitions_of(0);

our @EXPORT = qw($soon $in_one_table in_partitions_of in_partitions new_server new_node sql sqlstate session send_query is_woken becomes notifications race is_sound);

# A running server, whatever the environment's locale is. Settings are lines of postgresql.conf.
sub new_server
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	unshift @settings, 'max_worker_processes = 20' if $ENV{PARTITIONED}; # some of them make partitions
	$node->append_conf('postgresql.conf', join("\n", 'max_prepared_transactions = 20', 'eventstore.allow_drop = on', @settings, ''));
	$node->start;
	in_partitions($node);
	return $node;
}

# Has the stores that come to be on a server be in partitions, where the environment says so. Restores go to databases that are made of
# template0.
sub in_partitions
{
	my ($node) = @_;
	return unless $ENV{PARTITIONED};
	sql($node, PostgreSQL::Test::Utils::slurp_file(dirname(__FILE__) . '/../partitioned.sql'), $_) for qw(postgres template1);
	return;
}

# One with the extension in database postgres.
sub new_node
{
	my $node = new_server(@_);
	$node->safe_psql('postgres', 'CREATE EXTENSION eventstore');
	return $node;
}

# The rows of statements that have to succeed: columns by |, a line each.
sub sql
{
	my ($node, $statements, $database) = @_;
	return $node->safe_psql($database // 'postgres', $statements);
}

# The SQLSTATE that statements raise; '' if they raise none.
sub sqlstate
{
	my ($node, $statements, $database) = @_;
	my $err = '';
	$node->psql($database // 'postgres', "\\set VERBOSITY sqlstate\n$statements", stderr => \$err);
	return $err =~ /(?:ERROR|FATAL|PANIC): +(\w{5})/ ? $1 : $err;
}

# A session that stays open: $session->query(...) returns what a query prints, errors go to $session->{stderr}.
sub session
{
	my ($node, $database) = @_;
	return $node->background_psql($database // 'postgres', on_error_stop => 0);
}

# Does not wait for the answer, which the next $session->query('') returns.
sub send_query
{
	my ($session, $query) = @_;
	$session->{stdin} .= "$query;\n";
	$session->{run}->pump_nb;
	return;
}

# Tests that a session that has been sent es_wait gets its answer, and soon. It has to wait for a minute or more, and so have the session's
# earlier statements: an alarm that is left over from one of them wakes it some time or other in any case.
sub is_woken
{
	my ($session, $expected, $name) = @_;
	my $begun = time;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($session->query(''), $expected, $name);
	return cmp_ok(time - $begun, '<', $soon, "$name, at once");
}

# Tests that what a query returns becomes what is expected, soon.
sub becomes
{
	my ($node, $query, $expected, $name, $database) = @_;
	my $until = time + $soon;
	my $got = sql($node, $query, $database);
	while ($got ne $expected && time < $until)
	{
		sleep 0.02;
		$got = sql($node, $query, $database);
	}
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($got, $expected, $name);
}

# What a session that LISTENs on a channel has been told up to now: hashes of channel, payload and pid. With $until, waits until one
# matches it, 'channel payload', and then looks whether more come.
sub notifications
{
	my ($node, $session, $channel, $until) = @_;
	my $told = '';
	my $look = sub {
		my ($pattern) = @_;
		my $end = time + $soon;
		while ($told !~ $pattern && time < $end)
		{
			$told .= $session->query('') . "\n";
			sleep 0.01;
		}
	};
	$look->(qr/"$until->[0]" with payload "$until->[1]"/) if $until;
	sql($node, "NOTIFY $channel, 'end'");
	$look->(qr/with payload "end"/);
	return map { /^Asynchronous notification "(.*?)" with payload "(?!end")(.*?)" received from server process with PID (\d+)/ ? { channel => $1, payload => $2, pid => $3 } : () }
	  split /\n/, $told;
}

# Runs pgbench scripts against each other, each client $transactions times, and tests that no client gave up, which they do at any
# error but 40001 and 40P01, and that there was no deadlock. Returns what pgbench printed.
sub race
{
	my ($node, $name, $clients, $transactions, @scripts) = @_;
	my @files;
	for my $script (@scripts)
	{
		my $file = PostgreSQL::Test::Utils::tempdir() . '/race.sql';
		PostgreSQL::Test::Utils::append_to_file($file, $script);
		push @files, '-f', $file;
	}
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run(
		[
			'pgbench', '-n', '--failures-detailed', '-j', 2, '-c', $clients, '-t', $transactions, '-D', 'n=0',
			@files, $node->connstr('postgres')
		],
		'>', \$out, '2>', \$err);
	ok($ok, "$name: no client of $clients failed") or diag($err);
	like($out, qr/deadlock failures: 0 /, "$name: no deadlock");
	return $out;
}

# The contract's invariants, over the whole store.
sub is_sound
{
	my ($node, $name, $database) = @_;
	my $wrong = sql($node, <<'SQL', $database);
		WITH e AS (
			SELECT stream, version, position, recorded_at,
			       row_number() OVER w AS expected,
			       lag(position) OVER w AS position_before,
			       lag(recorded_at) OVER w AS recorded_before
			FROM (SELECT stream, version, position, recorded_at FROM eventstore.events
			      UNION ALL SELECT stream, version, position, recorded_at FROM eventstore.removed_events) a
			WINDOW w AS (PARTITION BY stream ORDER BY version)
		)
		SELECT 'version not dense', stream, version FROM e WHERE version <> expected
		UNION ALL
		SELECT 'position not rising', stream, version FROM e WHERE position <= position_before
		UNION ALL
		SELECT 'recorded_at falling', stream, version FROM e WHERE recorded_at < recorded_before
		UNION ALL
		SELECT 'stream row differs', coalesce(s.stream, m.stream), s.version
		FROM (SELECT stream, max(version) AS version FROM e GROUP BY stream) m
		FULL JOIN (SELECT stream, version FROM eventstore.streams WHERE version > 0) s USING (stream)
		WHERE s.version IS DISTINCT FROM m.version
		UNION ALL
		SELECT 'category differs', stream, version FROM eventstore.events
		WHERE category <> split_part(stream, '-', 1)
		LIMIT 20
SQL
	$wrong .= sql($node, 'SELECT * FROM es_verify() LIMIT 20', $database);
	is($wrong, '', "$name: the store is sound");
}

1;
