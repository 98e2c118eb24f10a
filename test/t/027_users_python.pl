# The story of examples/users with its programs in Python.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Test::More;
use Users;

my $examples = "$FindBin::RealBin/../../examples/users";
my $python = '/usr/bin/python3'; # the distribution's, which has the distribution's psycopg2
plan skip_all => "no psycopg2 for $python" if system("$python -c 'import psycopg2' 2>/dev/null") != 0;

tell_story('Python', "$examples/schema.sql", sub { ($python, '-B', "$examples/python/" . $_[0] =~ tr/-/_/r . '.py') });
done_testing();
