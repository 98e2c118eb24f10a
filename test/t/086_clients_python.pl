# psycopg 3 and asyncpg, as the distribution has them: every call, and the programs of examples/clients/python.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Clients;
use Test::More;

my $python = '/usr/bin/python3'; # the distribution's, which has the distribution's drivers
for my $driver ('psycopg', 'asyncpg')
{
	plan skip_all => "no $driver for $python" if system("$python -c 'import $driver' 2>/dev/null") != 0;
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
