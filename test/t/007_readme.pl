# The README does what it says: its sql blocks run in order, in one session in a fresh database. A block whose first line is
# "-- raises SE001" has to raise that; all others raise nothing. The targets of make that it names exist.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $top = "$FindBin::RealBin/../..";
plan skip_all => 'there is no README.md' unless -e "$top/README.md";
my $readme = PostgreSQL::Test::Utils::slurp_file("$top/README.md");
my $makefile = PostgreSQL::Test::Utils::slurp_file("$top/Makefile");

my @blocks = $readme =~ /^```sql\n(.*?)^```/msg;
my ($script, @expected) = ('');
for my $i (0 .. $#blocks)
{
	my ($code) = $blocks[$i] =~ /\A-- raises (\w{5})/;
	push @expected, "block $i: " . ($code // '00000');
	$script .= join "\n", '\set ON_ERROR_STOP ' . ($code ? 'off' : 'on'), '\set LAST_ERROR_SQLSTATE 00000', $blocks[$i], '\set LAST :LAST_ERROR_SQLSTATE',
	  "\\echo 'block $i:' :LAST", '';
}

my $node = new_server('readme');
$node->safe_psql('postgres', 'CREATE DATABASE fresh');
my ($out, $err) = ('', '');
$node->psql('fresh', $script, stdout => \$out, stderr => \$err, on_error_stop => 0);
is_deeply([ $out =~ /^(block \d+: \w{5})$/mg ], \@expected, scalar(@blocks) . ' sql blocks run') or diag($err);

for my $target (sort { $a cmp $b } keys %{ { map { $_ => 1 } $readme =~ /^(?:sudo )?make (?:-\S+ )*([\w-]+)/mg } })
{
	next if $target =~ /^(all|install|installcheck|clean)$/; # PGXS has them
	ok($makefile =~ /^\Q$target\E:/m, "make $target exists");
}

done_testing();
