# node-postgres and Postgres.js, as package-lock.json names them: every call, and the programs of examples/clients/node.
use strict;
use warnings;
use File::Copy;
use FindBin;
use lib $FindBin::RealBin;
use Clients;
use PostgreSQL::Test::Utils;
use Test::More;
use Users;

# In a copy: npm puts the packages beside the programs.
my $folder = PostgreSQL::Test::Utils::tempdir();
copy($_, "$folder/") or die "$_: $!" for glob("$examples/node/*.js*"), "$calls/calls.js";
my $why_not = npm_ci($folder);
plan skip_all => $why_not if $why_not;
new_clients_server();

for my $driver ('pg', 'postgres')
{
	calls_are_answered($driver, sub { ('node', "$folder/calls.js", $driver) });
}
withdraws('pg', sub { ('node', "$folder/withdraw.js", @_) });
withdraws('postgres', sub { ('node', "$folder/withdraw-postgres.js", @_) });
consumes('pg', sub { ('node', "$folder/consume.js", @_) });
done_testing();
