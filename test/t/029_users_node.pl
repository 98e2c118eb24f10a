# The story of examples/users with its programs in Node.js, and the packages that their package-lock.json names.
use strict;
use warnings;
use File::Copy;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Utils;
use Test::More;
use Users;

my $examples = "$FindBin::RealBin/../../examples/users";

# In a copy: npm puts the packages beside the programs.
my $folder = PostgreSQL::Test::Utils::tempdir();
copy($_, "$folder/") or die "$_: $!" for glob "$examples/node/*.js*";
my $why_not = npm_ci($folder);
plan skip_all => $why_not if $why_not;

tell_story('Node.js', "$examples/schema.sql", sub { ('node', "$folder/$_[0].js") });
done_testing();
