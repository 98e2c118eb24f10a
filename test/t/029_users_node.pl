# The story of examples/users with its programs in Node.js, and the packages that their package-lock.json names.
use strict;
use warnings;
use File::Copy;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;
use Users;

my $examples = "$FindBin::RealBin/../../examples/users";
for my $command ('node', 'npm')
{
	plan skip_all => "no $command here" if system("command -v $command >/dev/null") != 0;
}

# In a copy: npm puts the packages beside the programs.
my $folder = PostgreSQL::Test::Utils::tempdir();
copy($_, "$folder/") or die "$_: $!" for glob "$examples/node/*.js*";
my $out = '';
if (!IPC::Run::run([qw(npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --fetch-retries=1)], '<', \undef, '>&', \$out, init => sub { chdir $folder or die $! }))
{
	plan skip_all => "npm does not reach its registry: $out" if $out =~ /ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH|E50\d/;
	die "npm ci: $out";
}

tell_story('Node.js', "$examples/schema.sql", sub { ('node', "$folder/$_[0].js") });
done_testing();
