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
	skip 'no node or npm here', 1 if grep { system("command -v $_ >/dev/null") != 0 } 'node', 'npm';
	my $folder = PostgreSQL::Test::Utils::tempdir();
	copy($_, "$folder/") or die "$_: $!" for glob "$top/examples/users/node/package*.json";
	my ($program) = $page =~ /^```js\n(.*?)^```/ms;
	PostgreSQL::Test::Utils::append_to_file("$folder/program.mjs", $program);
	my $npm = '';
	if (!IPC::Run::run([qw(npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --fetch-retries=1)], '<', \undef, '>&', \$npm, init => sub { chdir $folder or die $! }))
	{
		skip "npm does not reach its registry: $npm", 1 if $npm =~ /ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH|E50\d/;
		die "npm ci: $npm";
	}
	IPC::Run::run([ 'node', "$folder/program.mjs" ], '>', \$out, '2>', \$err);
	is($out, "1 null\n", 'the program in Node.js') or diag($err);
}

is(sql($node, q{SELECT count(*) FROM es_read_query('[{"types": ["SeatTaken"], "tags": ["seat:12A"]}]')}), 1, 'each seat is taken once');
done_testing();
