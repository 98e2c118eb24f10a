# What the TAP tests share: a node with the extension in it, a client whose errors are SQLSTATEs, races by pgbench, and the
# invariants that hold after whatever happened.
package Store;

use strict;
use warnings;
use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_server new_node sql sqlstate race is_sound);

# A running server, whatever the environment's locale is. Settings are lines of postgresql.conf.
sub new_server
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', join("\n", 'max_prepared_transactions = 20', @settings, ''));
	$node->start;
	return $node;
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
			FROM eventstore.events WINDOW w AS (PARTITION BY stream ORDER BY version)
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
	is($wrong, '', "$name: the store is sound");
}

1;
