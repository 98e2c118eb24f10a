# What the tests of drivers share: that the verbs answer what they should, called as test/clients does, and that the programs of
# examples/clients do what they are there for.
package Clients;

use strict;
use warnings;
use Exporter 'import';
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw($examples $calls new_clients_server is_here calls_are_answered withdraws consumes);

our $examples = "$FindBin::RealBin/../../examples/clients";
our $calls = "$FindBin::RealBin/../clients";
my ($node, $name);

# A server that is reached by TCP, too, which is all that JDBC knows.
sub new_clients_server
{
	$node = new_server('clients', q{listen_addresses = '127.0.0.1'});
	@ENV{qw(PGHOST PGPORT PGUSER)} = ('127.0.0.1', $node->port, scalar getpwuid($<));
	return;
}

sub is_here { return system("command -v $_[0] >/dev/null") == 0 }

# A database of its own for each driver, made by a script.
sub begin
{
	my ($script) = @_;
	($name) = @_[ 1 .. $#_ ];
	$ENV{PGDATABASE} = 'postgres';
	my $database = 'of_' . lc($name =~ s/\W+/_/gr);
	sql($node, "DROP DATABASE IF EXISTS $database (FORCE)");
	sql($node, 'DROP ROLE IF EXISTS reporting');
	sql($node, "CREATE DATABASE $database");
	$ENV{PGDATABASE} = $database;
	system('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-o', '/dev/null', '-f', $script) == 0 or die "$script failed";
	return;
}

# A program's output; what it writes to standard error is shown where it fails.
sub output
{
	my (@program) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([@program], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120)) or diag("@program: $err");
	return $out;
}

# Runs the program of test/clients for a driver.
sub calls_are_answered
{
	my ($driver, $program) = @_;
	begin("$calls/schema.sql", $driver);
	is(output($program->()), PostgreSQL::Test::Utils::slurp_file("$calls/calls.out"), "$driver: every call is answered");
	my $database = $ENV{PGDATABASE};
	$ENV{PGDATABASE} = 'postgres';
	sql($node, "DROP DATABASE $database (FORCE)");
	return;
}

# Runs the command handler: somebody else appends between its read and its append.
sub withdraws
{
	my ($driver, $program) = @_;
	begin("$examples/schema.sql", $driver);
	my $other = session($node, $ENV{PGDATABASE});
	$other->query(q{BEGIN; SELECT es_append('account-1', 1, 'Deposited', '{"amount": 5}')});
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ $program->(1, 30) ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE datname = '$ENV{PGDATABASE}' AND wait_event_type = 'Lock'", 1, "$driver: an append waits for another");
	$other->query('COMMIT');
	ok($run->finish, "$driver: it gets its turn") or diag($err);
	is($out, "done: version 3\n", "$driver: and decides anew");
	$other->quit;
	is(output($program->(1, 100)), "refused: there are 75\n", "$driver: what is not there is not withdrawn");
	is(sql($node, q{SELECT string_agg(type || ' ' || data, ', ' ORDER BY version) FROM es_read('account-1')}, $ENV{PGDATABASE}),
		'Deposited {"amount": 100}, Deposited {"amount": 5}, Withdrawn {"amount": 30}', "$driver: what is stored");
	$ENV{PGDATABASE} = 'postgres';
	return;
}

# Runs the consumer: it enters what is there, and what comes.
sub consumes
{
	my ($driver, $program) = @_;
	begin("$examples/schema.sql", $driver);
	my $database = $ENV{PGDATABASE};
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ $program->('one') ], '<', \undef, '>', \$out, '2>', \$err, IPC::Run::timeout(120));
	becomes($node, 'SELECT count(*) FROM ledger', 1, "$driver: what is there is entered", $database);
	sql($node, q{SELECT es_append('account-' || n, -1, '[{"type": "Deposited", "data": {"amount": 7}}, {"type": "Withdrawn", "data": {"amount": 2}}]') FROM generate_series(1, 10) n}, $database);
	becomes($node, q{SELECT count(*) || ' ' || sum(amount) FROM ledger}, '21 150', "$driver: and what comes", $database);
	becomes($node, 'SELECT sum(lag_events) FROM eventstore.subscription_status', 0, "$driver: it is acknowledged", $database);
	$run->signal('TERM');
	ok(eval { $run->finish; 1 }, "$driver: asked to, it ends") or diag($@, $err);
	is(sql($node, 'SELECT count(*) FROM eventstore.subscription_status WHERE consumer IS NOT NULL', $database), 0, "$driver: and leaves its partitions to others") or diag($err);
	$ENV{PGDATABASE} = 'postgres';
	return;
}

1;
