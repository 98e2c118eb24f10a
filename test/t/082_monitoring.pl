# examples/monitoring: the queries of both exporters run as they stand, by a role that may read and nothing else, and give the same metrics;
# every metric that the dashboard and the alerts ask for is one of them. docs/monitoring.md tells of every check and every setting.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use YAML::XS;

my $top = "$FindBin::RealBin/../..";
my $file = sub { PostgreSQL::Test::Utils::slurp_file("$top/examples/monitoring/$_[0]") };
my $postgres_exporter = YAML::XS::Load($file->('postgres_exporter.yaml'));
my $sql_exporter = YAML::XS::Load($file->('sql_exporter.yaml'));
my $alerts = YAML::XS::Load($file->('alerts.yaml'));
my $dashboard = JSON::PP::decode_json($file->('dashboard.json'));

# By postgres_exporter: name of a query and of its columns. By sql_exporter: as it says. Each is a hash of metric => query, kind, labels.
my (%one, %other);
for my $name (sort keys %$postgres_exporter)
{
	my $of = $postgres_exporter->{$name};
	my %usage = map { my $metric = $_; map { $_ => $metric->{$_}{usage} } keys %$metric } @{ $of->{metrics} };
	my $labels = join ',', sort grep { $usage{$_} eq 'LABEL' } keys %usage;
	$one{"${name}_$_"} = { query => $of->{query}, kind => lc $usage{$_}, labels => $labels, columns => [ sort keys %usage ] } for grep { $usage{$_} ne 'LABEL' } keys %usage;
}
my %query = map { $_->{query_name} => $_->{query} } @{ $sql_exporter->{queries} };
for my $metric (@{ $sql_exporter->{metrics} })
{
	$other{ $metric->{metric_name} } = { query => $query{ $metric->{query_ref} }, kind => $metric->{type}, labels => join(',', sort @{ $metric->{key_labels} // [] }) };
}
cmp_ok(scalar keys %one, '>', 10, 'there are metrics');
is_deeply({ map { $_ => [ @{ $one{$_} }{qw(query kind labels)} ] } keys %one }, { map { $_ => [ @{ $other{$_} }{qw(query kind labels)} ] } keys %other }, 'both exporters give the same metrics');

# A label's values, per metric
my %checks;
for my $settings ([], [ "shared_preload_libraries = 'eventstore'" ])
{
	my $how = @$settings ? 'with the worker' : 'without the worker';
	my $node = new_node(@$settings ? 'worker' : 'plain', @$settings);
	sql($node, q{CREATE ROLE monitoring LOGIN; SELECT es_grant('monitoring', 'read'); SELECT es_append('a-1', 0, '[{"type": "A"}, {"type": "B"}]')});
	for my $name (sort keys %$postgres_exporter)
	{
		my ($out, $err) = ('', '');
		$node->psql('postgres', $postgres_exporter->{$name}{query}, extra_params => [ '-U', 'monitoring', '-A', '-P', 'tuples_only=off', '-P', 'footer=off' ], stdout => \$out, stderr => \$err);
		is($err, '', "$name runs, $how");
		my ($head, @rows) = split /\n/, $out;
		my @columns = split /\|/, $head // '';
		my ($metric) = grep { $one{$_}{query} eq $postgres_exporter->{$name}{query} } keys %one;
		is_deeply([ sort @columns ], $one{$metric}{columns}, "$name: its columns are those that are told of, $how");
		cmp_ok(scalar @rows, '>', 0, "$name: it has rows, $how");
		my %labels = map { $_ => 1 } split /,/, $one{$metric}{labels};
		my @wrong;
		for my $row (@rows)
		{
			my %value;
			@value{@columns} = split /\|/, $row, -1;
			push @wrong, $row if grep { !$labels{$_} && $value{$_} !~ /^(NaN|-?\d+(\.\d+)?(e[+-]?\d+)?)$/ } @columns;
			$checks{ $value{check} } = 1 if defined $value{check};
		}
		is("@wrong", '', "$name: each value is a number, $how");
	}
	is(sql($node, q{SELECT string_agg(name, ' ' ORDER BY name) FROM eventstore.health}), join(' ', sort keys %checks), "all checks, $how");
	if (!@$settings)
	{
		my $page = PostgreSQL::Test::Utils::slurp_file("$top/docs/monitoring.md");
		my ($well) = $page =~ /^## Is all well(.*?)^## /ms;
		is_deeply([ sort $well =~ /^\| `(\w+)` \| /mg ], [ sort keys %checks ], 'docs/monitoring.md has a row for each check');
		my @settings = split /\n/, sql($node, q{SELECT name FROM pg_settings WHERE name ~ '^eventstore.health_' ORDER BY 1});
		for my $setting (map { s/_(warning|critical)$//r } grep { /_warning$/ } @settings)
		{
			my ($warning, $critical) = map { sql($node, "SELECT es_any(); SHOW $_") =~ s/^-1\n//r } "${setting}_warning", "${setting}_critical";
			like($page, qr/`\Q$setting\E_warning`, `_critical` \| `\Q$warning\E` \| `\Q$critical\E` \|/, "docs/monitoring.md has $setting and its defaults");
		}
	}
	$node->stop;
}

# Every text of a structure that an expression may be
sub expressions
{
	my ($what) = @_;
	return map { expressions($_) } @$what if ref $what eq 'ARRAY';
	return ((map { $what->{$_} } grep { defined $what->{$_} && !ref $what->{$_} } qw(expr query)), map { expressions($_) } grep { ref } values %$what) if ref $what eq 'HASH';
	return;
}
for my $asks ([ 'the dashboard', $dashboard, 14 ], [ 'the alerts', $alerts, 5 ])
{
	my ($name, $what, $least) = @$asks;
	my @expressions = expressions($what);
	cmp_ok(scalar @expressions, '>=', $least, "$name: there are expressions");
	my %asked = map { $_ => 1 } map { /\b(eventstore_\w+)/g } @expressions;
	is(join(' ', grep { !$one{$_} } sort keys %asked), '', "$name: every metric is one that the queries give");
	my %named = map { $_ => 1 } map { map { split /\|/ } /check=~?"([^"]+)"/g } @expressions;
	is(join(' ', grep { !$checks{$_} } sort keys %named), '', "$name: every check is one that there is");
	is(join(' ', grep { /rate\((eventstore_\w+)/ && $one{$1}{kind} ne 'counter' } @expressions), '', "$name: rates are of counters");
}
my @without = grep { !$_->{expr} || !$_->{labels}{severity} || !$_->{annotations}{summary} } map { @{ $_->{rules} } } @{ $alerts->{groups} };
is(scalar @without, 0, 'each alert has an expression, a severity and a summary');
my %ids;
$ids{ $_->{id} }++ for @{ $dashboard->{panels} };
is(join(' ', grep { $ids{$_} > 1 } keys %ids), '', 'panels have ids of their own');

done_testing();
