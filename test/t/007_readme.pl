# README and the pages of docs/ do what they say: their sql blocks run in order, for each page in one session in a fresh database. A block
# whose first line is "-- raises SE001" has to raise that; all others raise nothing. A line that ends with "-- → 42", where a statement does,
# says what the last row of that is. The targets of make that README names exist. What docs/cells.md and docs/migrate.md do
# in several databases is run by 098_cells_page.pl and 085_migrate.pl.
use strict;
use warnings;
use utf8;
use FindBin;
use lib $FindBin::RealBin;
use Encode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $top = "$FindBin::RealBin/../..";
plan skip_all => 'there is no README.md' unless -e "$top/README.md";
my $makefile = PostgreSQL::Test::Utils::slurp_file("$top/Makefile");
my $node = new_server('readme');

# The script of a page, and what it has to print.
sub read_blocks
{
	my ($text) = @_;
	my ($script, @expected) = ('');
	my @blocks = $text =~ /^```sql\n(.*?)^```/msg;
	for my $i (0 .. $#blocks)
	{
		my ($code) = $blocks[$i] =~ /\A-- raises (\w{5})/;
		my $check = 0;
		while ($blocks[$i] =~ /;[ \t]*-- → (.*)$/mg)
		{
			push @expected, "block $i, row " . ++$check . ": $1";
		}
		$check = 0;
		$blocks[$i] =~ s/;[ \t]*-- → .*$/"\n\\g (format=unaligned tuples_only=on) |tail -n 1 | sed 's\x01^\x01block $i, row " . ++$check . ": \x01'"/meg;
		push @expected, "block $i: " . ($code // '00000');
		$script .= join "\n", '\set ON_ERROR_STOP ' . ($code ? 'off' : 'on'), '\set LAST_ERROR_SQLSTATE 00000', $blocks[$i], '\set LAST :LAST_ERROR_SQLSTATE',
		  "\\echo 'block $i:' :LAST", '';
	}
	return ($script, \@expected, scalar(@blocks));
}

for my $page ('README.md', grep { !m{^docs/(cells|migrate)\.md$} } map { s/^\Q$top\E\///r } sort { $a cmp $b } glob("$top/docs/*.md"))
{
	my ($script, $expected, $count) = read_blocks(decode('UTF-8', PostgreSQL::Test::Utils::slurp_file("$top/$page")));
	next if $count == 0;
	my $database = lc($page =~ s/\W+/_/gr);
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	my ($out, $err) = ('', '');
	$node->psql($database, encode('UTF-8', $script), stdout => \$out, stderr => \$err, on_error_stop => 0);
	is_deeply([ decode('UTF-8', $out) =~ /^(block \d+.*: .*)$/mg ], $expected, "$page: $count sql blocks run") or diag($err);
}

my $readme = PostgreSQL::Test::Utils::slurp_file("$top/README.md");
for my $target (sort { $a cmp $b } keys %{ { map { $_ => 1 } $readme =~ /^(?:sudo )?make (?:-\S+ )*([\w-]+)/mg } })
{
	next if $target =~ /^(all|install|installcheck|clean)$/; # PGXS has them
	ok($makefile =~ /^\Q$target\E:/m, "make $target exists");
}

done_testing();
