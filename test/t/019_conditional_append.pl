# docs/conditional-append.md does what it says: its sql blocks run in order, then its programs in Python and Node.js.
use strict;
use warnings;
use File::Copy;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Users;

my $top = "$FindBin::RealBin/../..";
my $page = PostgreSQL::Test::Utils::slurp_file("$top/docs/conditional-append.md");
my $node = new_server('page');
local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} = ($node->host, $node->port, scalar getpwuid($<), 'postgres');

for my $block ($page =~ /^```sql\n(.*?)^```/msg)
{
	my ($code) = $block =~ /\A-- raises (\w{5})/;
	my ($first) = $block =~ /^((?!--)\S.*)$/m;
	is(sqlstate($node, $block), $code // '', $first);
}

my ($python) = $page =~ /^```python\n(.*?)^```/ms;
my ($out, $err) = ('', '');
IPC::Run::run([ '/usr/bin/python3', '-c', $python ], '>', \$out, '2>', \$err);
is($out, "1 None\n", 'the program in Python') or diag($err);

SKIP:
{
	my $folder = PostgreSQL::Test::Utils::tempdir();
	copy($_, "$folder/") or die "$_: $!" for glob "$top/examples/users/node/package*.json";
	my ($program) = $page =~ /^```js\n(.*?)^```/ms;
	PostgreSQL::Test::Utils::append_to_file("$folder/program.mjs", $program);
	my $why_not = npm_ci($folder);
	skip $why_not, 1 if $why_not;
	IPC::Run::run([ 'node', "$folder/program.mjs" ], '>', \$out, '2>', \$err);
	is($out, "1 null\n", 'the program in Node.js') or diag($err);
}

is(sql($node, q{SELECT count(*) FROM es_read_query('[{"types": ["SeatTaken"], "tags": ["seat:12A"]}]')}), 1, 'each seat is taken once');
done_testing();
