# What the tests of updates share: servers that can make a store of an older version, and whether two stores are made of the same.
package Upgrade;

use strict;
use warnings;
use Exporter 'import';
use File::Basename;
use File::Path;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

our @EXPORT = qw(new_old_server install_again restore_old_store inventory differs);

# This installation once more, with the scripts of older versions beside those that are installed. Programs find their files by the place
# that they are run from, so these are copied; what is only read is linked to.
sub installation
{
	our ($root, $installation);
	return $installation if $installation;
	$root = PostgreSQL::Test::Utils::tempdir();
	chomp(my ($bindir, $libdir, $sharedir) = map { scalar `pg_config --$_` } qw(bindir pkglibdir sharedir));
	mkpath("$root$bindir");
	system('cp', '-L', (grep { -f } glob "$bindir/*"), "$root$bindir") == 0 or die "could not copy $bindir";
	for my $folder ($libdir, $sharedir)
	{
		mkpath(dirname("$root$folder"));
		system('cp', '-rs', $folder, "$root$folder") == 0 or die "could not link $folder";
	}
	system('cp', '--remove-destination', (glob dirname(__FILE__) . '/../upgrade/eventstore--*.sql'), "$root$sharedir/extension") == 0 or die "no scripts of older versions";
	return $installation = $root . dirname($bindir);
}

# The library once more, as a package does it: another file of the same name.
sub install_again
{
	chomp(my $libdir = `pg_config --pkglibdir`);
	my ($library) = glob our $root . "$libdir/eventstore.*";
	unlink $library;
	system('cp', "$libdir/" . basename($library), $library) == 0 or die "could not install $library";
	return;
}

# A running server where CREATE EXTENSION eventstore VERSION '0.1.0' works.
sub new_old_server
{
	my ($name, @settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => installation());
	$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', join("\n", 'max_prepared_transactions = 20', @settings, ''));
	$node->start;
	return $node;
}

# A database with the store in use of version 0.1.0 (test/upgrade/store-0.1.0.sql), whose roles are made, too.
sub restore_old_store
{
	my ($node, $database) = @_;
	sql($node, "CREATE ROLE $_") for qw(shop_app shop_reader shop_admin shop_reports);
	sql($node, "CREATE DATABASE $database TEMPLATE template0");
	sql($node, q{CREATE EXTENSION eventstore VERSION '0.1.0'}, $database);
	return $node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', dirname(__FILE__) . '/../upgrade/store-0.1.0.dump' ],
		'a store of 0.1.0 is there');
}

# A database's store, fact by fact.
sub inventory
{
	my ($node, $database) = @_;
	return [ split /\n/, sql($node, PostgreSQL::Test::Utils::slurp_file(dirname(__FILE__) . '/../upgrade/inventory.sql'), $database) ];
}

# What one list has and the other has not, in a few lines.
sub differs
{
	my ($expected, $got) = @_;
	my %is_expected = map { $_ => 1 } @$expected;
	my %is_got = map { $_ => 1 } @$got;
	my @differences = ((map { "missing: $_" } grep { !$is_got{$_} } @$expected), (map { "extra: $_" } grep { !$is_expected{$_} } @$got));
	return join "\n", map { substr $_, 0, 400 } @differences[ 0 .. ($#differences < 20 ? $#differences : 20) ];
}

1;
