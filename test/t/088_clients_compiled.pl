# JDBC and pgx, where there are compilers for them: every call, and the programs of examples/clients/java and go. Neither compiler is
# installed for the sake of this.
use strict;
use warnings;
use File::Copy;
use FindBin;
use lib $FindBin::RealBin;
use Clients;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

# Out of a SKIP block, with a line that is seen.
sub leave_out
{
	my ($why) = @_;
	$why =~ s/\s+/ /g;
	diag("left out: $why");
	no warnings 'exiting';
	return skip($why, 1);
}

my $folder = PostgreSQL::Test::Utils::tempdir();
new_clients_server();

SKIP:
{
	my $jar = '/usr/share/java/postgresql.jar'; # the distribution's
	my $why_not = !is_here('javac') ? 'no javac here' : !-e $jar ? "there is no $jar" : '';
	leave_out("JDBC: $why_not") if $why_not;
	PostgreSQL::Test::Utils::system_or_bail('javac', '-cp', $jar, '-d', "$folder/java", glob("$examples/java/*.java"), "$calls/Calls.java");

	my $java = sub {
		my ($class, @arguments) = @_;
		return ('java', '-XX:TieredStopAtLevel=1', '-cp', "$folder/java:$jar", $class, "jdbc:postgresql://127.0.0.1:$ENV{PGPORT}/$ENV{PGDATABASE}?user=$ENV{PGUSER}", @arguments);
	};
	calls_are_answered('JDBC', sub { $java->('Calls') });
	withdraws('JDBC', sub { $java->('Withdraw', @_) });
	consumes('JDBC', sub { $java->('Consume', @_) });
}

SKIP:
{
	leave_out('pgx: no go here') unless is_here('go');
	mkdir $_ or die "$_: $!" for map { "$folder/$_" } qw(go go/withdraw go/consume go/calls programs);
	copy("$examples/go/$_", "$folder/go/$_") or die "$_: $!" for qw(go.mod go.sum withdraw/main.go consume/main.go);
	copy("$calls/calls.go", "$folder/go/calls/main.go") or die $!;

	# Without optimization, and without a C compiler's help: it is compiled for one run.
	local %ENV = (%ENV, GOTOOLCHAIN => 'local', GOFLAGS => '-mod=readonly -modcacherw', CGO_ENABLED => 0, GOCACHE => "$folder/gocache", GOPATH => "$folder/gopath", GOENV => 'off');
	delete $ENV{GOMODCACHE};
	my $out = '';
	my $is_built = IPC::Run::run([ 'go', 'build', '-gcflags=all=-N -l', '-ldflags=-s -w', '-o', "$folder/programs/", './...' ], '<', \undef, '>&', \$out, init => sub { chdir "$folder/go" or die $! });
	if (!$is_built)
	{
		leave_out("pgx: go does not reach its registry: $out") if $out =~ /dial tcp|no such host|i\/o timeout|proxyconnect|TLS handshake|x509:|: 50\d |unexpected EOF/;
		leave_out("pgx: go is too old: $out") if $out =~ /note: module requires|requires go/;
		die "go build: $out";
	}
	calls_are_answered('pgx', sub { ("$folder/programs/calls") });
	withdraws('pgx', sub { ("$folder/programs/withdraw", @_) });
	consumes('pgx', sub { ("$folder/programs/consume", @_) });
}

ok(1, 'what could be run was run');
done_testing();
