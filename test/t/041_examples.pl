# The examples do what they say: each script of examples/ and examples/dcb/ with an expected output beside it, run by psql in a database of its own. With
# the worker, too, which must make no difference. After a failure the outputs are in log/, to be looked at and, if right, kept.
use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $examples = "$FindBin::RealBin/../../examples";
my @names = map { m,^\Q$examples\E/(.+)\.out$, } sort glob("$examples/*.out $examples/dcb/*.out");
cmp_ok(scalar @names, '>=', 9, 'there are examples');

# The database of a script
sub database
{
	my ($name) = @_;
	return $name =~ s,.*/,,r;
}

# Queries and results, notices and errors, in the order in which they come
sub output
{
	my ($node, $name) = @_;
	my $database = database($name);
	my $out = '';
	sql($node, "DROP DATABASE IF EXISTS $database (FORCE)");
	sql($node, "CREATE DATABASE $database");
	IPC::Run::run([ 'psql', '-X', '-a', '-q', '-d', $node->connstr($database) ], '<', "$examples/$name.sql", '>&', \$out);
	return $out;
}

# It shows how far async projections lag when nothing but the script runs them.
my @with_worker = grep { $_ ne 'url_shortener' } @names;
my $databases = join ', ', map { database($_) } @with_worker;
for my $settings ([], [ "shared_preload_libraries = 'eventstore'", "eventstore.databases = '$databases'" ])
{
	my $how = @$settings ? 'with the worker' : 'without the worker';
	my $node = new_server(@$settings ? 'worker' : 'plain', @$settings);
	for my $name (@$settings ? @with_worker : @names)
	{
		my $out = output($node, $name);
		my $file = "$PostgreSQL::Test::Utils::log_path/" . database($name) . '.out';
		PostgreSQL::Test::Utils::append_to_file($file, $out);
		is($out, PostgreSQL::Test::Utils::slurp_file("$examples/$name.out"), "$name, $how");
		is_sound($node, "$name, $how", database($name));
	}
	$node->stop;
}

done_testing();
