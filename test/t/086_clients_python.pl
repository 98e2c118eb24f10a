# psycopg 3 and asyncpg, as the distribution has them: every call, and the programs of examples/clients/python. And what docs/clients.md
# shows of the programs is what they are.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Clients;
use PostgreSQL::Test::Utils;
use Test::More;

my $page = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../docs/clients.md");
my %shown;
while ($page =~ /\(\.\.\/examples\/clients\/([\w\/.]+)\):\n\n```\w+\n(.*?)^```/msg)
{
	my ($file, $block) = ($1, $2);
	isnt(index(PostgreSQL::Test::Utils::slurp_file("$examples/$file"), $block), -1, "docs/clients.md: $file");
	$shown{$file} = 1;
}
is(scalar keys %shown, scalar(() = $page =~ /^```(?:python|js|go|java)$/mg), 'docs/clients.md: each program is one of examples/clients');

my $python = '/usr/bin/python3'; # the distribution's, which has the distribution's drivers
for my $driver ('psycopg', 'asyncpg')
{
	next if system("$python -c 'import $driver' 2>/dev/null") == 0;
	diag("left out: no $driver for $python");
	done_testing();
	exit;
}
new_clients_server();

for my $driver ('psycopg', 'asyncpg')
{
	calls_are_answered($driver, sub { ($python, '-B', "$calls/calls.py", $driver) });
}
withdraws('psycopg', sub { ($python, '-B', "$examples/python/withdraw.py", @_) });
withdraws('asyncpg', sub { ($python, '-B', "$examples/python/withdraw_asyncpg.py", @_) });
consumes('psycopg', sub { ($python, '-B', "$examples/python/consume.py", @_) });
done_testing();
