# docs/reference.md and the catalogue say the same: every function with each of its signatures, every relation and every setting stand there,
# and no function stands there that is not.
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
my $page = decode('UTF-8', PostgreSQL::Test::Utils::slurp_file("$top/docs/reference.md"));
my $node = new_node('reference', q{shared_preload_libraries = 'eventstore'});

# Names of arguments, and whether they have a default, from "a text, b bigint = 0" or "a text, b bigint DEFAULT 0".
sub arguments
{
	my ($list) = @_;
	$list =~ s/\([^()]*\)//g; # of a type, or a default's call
	return join ', ', map { /^\s*OUT / ? () : /^\s*"?(?:VARIADIC )?(\w+)"?.*?( = | DEFAULT )/ ? "$1 =" : /^\s*"?(?:VARIADIC )?(\w+)/ ? $1 : () } split /,/, $list;
}

my %told;
for my $block ($page =~ /^```\n(.*?)^```/msg)
{
	$block =~ s/\s+/ /g;
	while ($block =~ /\b((?:eventstore\.)?(?:es_\w+|event_digest)) ?\(((?:[^()]|\([^()]*\))*)\)/g)
	{
		my ($name, $list) = ($1, $2);
		$told{$name}{ arguments($list) } = 1 unless $list =~ /…/; # a form that is told of in short
	}
}

my %there;
for my $row (split /\n/, sql($node, q{
	SELECT CASE n.nspname WHEN 'eventstore' THEN 'eventstore.' ELSE '' END || p.proname || '|' || pg_get_function_arguments(p.oid)
	FROM pg_depend AS d JOIN pg_proc AS p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid JOIN pg_namespace AS n ON n.oid = p.pronamespace
	WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'eventstore') AND d.deptype = 'e'
	AND p.proname ~ '^es_' AND p.prokind = 'f' AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)}))
{
	my ($name, $list) = split /\|/, $row, 2;
	$there{$name}{arguments($list)} = 1;
}

ok(keys %there > 40, 'functions are found: ' . keys %there);
# The forms for typed text have the arguments of the verb itself, with fewer defaults: docs/reference.md tells of them in words.
sub names { return $_[0] =~ s/ =//gr }
my (@untold, @gone);
for my $name (sort { $a cmp $b } keys %there)
{
	my %is_named = map { names($_) => 1 } keys %{ $told{$name} };
	push @untold, map { "$name($_)" } grep { !$is_named{ names($_) } } sort { $a cmp $b } keys %{ $there{$name} };
}
for my $name (sort { $a cmp $b } grep { /^es_/ } keys %told)
{
	push @gone, map { "$name($_)" } grep { !$there{$name}{$_} } sort { $a cmp $b } keys %{ $told{$name} };
}
is(join("\n", @untold), '', 'every signature stands in the reference');
is(join("\n", @gone), '', 'every signature of the reference is there');

is(sql($node, q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'eventstore'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
	AND NOT } . 'relname::text = ANY (' . "ARRAY['" . join("','", $page =~ /eventstore\.(\w+)/g) . "'])"), '', 'every relation stands in the reference');
is(sql($node, q{SELECT string_agg(name, ' ' ORDER BY name) FROM pg_settings WHERE name LIKE 'eventstore.%'
	AND NOT } . 'name::text = ANY (' . "ARRAY['eventstore." . join("','eventstore.", $page =~ /eventstore\.(\w+)/g) . "'])"), '', 'every setting stands in the reference');
done_testing();
