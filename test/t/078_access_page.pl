# docs/access.md does what it says: its sql blocks run in order, and what its comments say is so.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $page = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../docs/access.md");
my $node = new_server('page');

for my $block ($page =~ /^```sql\n(.*?)^```/msg)
{
	my ($code) = $block =~ /\A-- raises (\w{5})/;
	my ($first) = $block =~ /^((?!--)\S.*)$/m;
	is(sqlstate($node, $block), $code // '', $first);
}

is(sql($node, 'SELECT role, level, category, tenant FROM eventstore.grants ORDER BY role'), "acme|read||acme\noperator|admin||\nreports|read||\nshop|append||", 'what is granted in the end');
is(sql($node, q{SET ROLE acme; SELECT string_agg(stream, ' ' ORDER BY position) FROM es_read_all()}), 'order-{acme}-7 invoice-{acme}-7', 'what a tenant reads');
is(sql($node, 'SET ROLE acme; SELECT count(*) FROM eventstore.events'), '2', 'and by the table');
is(sql($node, q{SET ROLE acme; SELECT es_stream_version('order-{beta}-1')}), '0', 'and of others');
is(sql($node, q{SET ROLE acme; SELECT es_head() = (SELECT max(position) FROM eventstore.events)}), 'f', 'its head is that of its bounds, policies or not');
is(sql($node, q{SET ROLE acme; SELECT count(*) FROM es_read('order-{acme}-7')}), '1', 'but for what a policy hides');
is(sql($node, q{SELECT tenant, lag_events FROM eventstore.subscription_status}), 'acme|3', 'a subscription of one tenant');
done_testing();
