# docs/cells.md does what it says: its sql blocks, on a server for each machine.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $page = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../docs/cells.md");
my ($making, $opening, $mirroring) = $page =~ /^```sql\n(.*?)^```/msg;
my $a = new_server('a', 'wal_level = logical', 'max_wal_senders = 5', 'max_replication_slots = 5', q{shared_preload_libraries = 'eventstore'});
my $b = new_server('b', q{shared_preload_libraries = 'eventstore'});
my %nodes = (a => $a, b => $b);

# Cells
my %parts = $making =~ /^-- on machine (\w)\n(.*?)(?=^-- on machine|\z)/msg;
my $map = (split /\n/, sql($a, $parts{a}))[-1];
like(sql($b, $parts{b}), qr/t$/, 'b adopts the map of a');
my $rows = q{SELECT * FROM eventstore.cells ORDER BY cell};
is(sql($b, $rows), sql($a, $rows), 'which is the same');
is(sql($a, "SELECT es_adopt_map('$map')"), 'f', 'and what is printed is what is adopted');
my $owner = sub { my ($stream) = @_; return sql($a, "SELECT CASE WHEN es_slot('$stream') < 512 THEN 'a' ELSE 'b' END") };
for my $stream (qw(order-{acme}-7 order-{beta}-1 cart-1 cart-2 cart-3))
{
	for my $machine (qw(a b))
	{
		is(sqlstate($nodes{$machine}, "SELECT es_append('$stream', -1, 'Made', '{}')"), $owner->($stream) eq $machine ? '' : 'SE009', "$stream on $machine");
	}
}
is(sql($a, q{SELECT string_agg(DISTINCT (position % 1024)::text, ' ') FROM eventstore.events}), '1', 'the feed of a');
is(sql($b, q{SELECT string_agg(DISTINCT (position % 1024)::text, ' ') FROM eventstore.events}), '2', 'the feed of b');

# A group that is closed, as by another number
sql($a, q{SELECT es_create_subscription('mail', partitions => 2); SELECT es_create_subscription('other', partitions => 2)});
my ($ask) = $opening =~ /^-- in the old cell.*?\n(.*?)^--/ms;
my ($open) = $opening =~ /^-- then.*?\n(.*)/ms;
my $split = sql($a, 'SELECT es_head()');
$ask =~ s/4711/$split/;
is(sql($a, $ask), 'f', 'it has not passed the split');
sql($a, q{SELECT es_ack('mail', token, max(position)) FROM es_fetch('mail', 'c') GROUP BY token});
is(sql($a, $ask), 't', 'it has');
is(sql($a, $open), '', 'opened where it is not closed');
sql($a, q{SELECT es_set_cell(3, 3, '{}'); SELECT es_drop_cell(1); SELECT es_set_cell(3, 3, '{[0,512)}')});
my ($mine) = grep { $owner->($_) eq 'a' } map { "cart-$_" } 1 .. 9;
sql($a, "SELECT es_append('$mine', -1, 'Since', '{}')");
is(sql($a, q{SELECT DISTINCT name, state FROM eventstore.subscription_status ORDER BY 1}), "mail|closed\nother|closed", 'another number closes all');
is(sql($a, q{SELECT count(*) FROM es_fetch('other', 'c')}), 0, 'a closed one delivers nothing');
is(sqlstate($a, q{SELECT es_resume_subscription('other')}), '55000', 'nor is it resumed');
sql($a, q{SELECT es_open_feed('other')});
is(sql($a, q{SELECT string_agg(type, ' ') FROM es_fetch('other', 'c')}), 'Since', 'opened, it delivers what was appended since');
is(sqlstate($a, q{SELECT es_open_feed('unknown')}), '42704', 'there has to be one');
is(sqlstate($a, q{SELECT es_open_feed(NULL)}), '22004', 'and a name');
sql($a, $open);
is(sql($a, q{SELECT DISTINCT name, state FROM eventstore.subscription_status ORDER BY 1}), "mail|running\nother|running", 'both are open');

# A mirror of a
sql($b, 'DROP EXTENSION eventstore');
my ($publication) = $mirroring =~ /^-- where.*?\n(.*?)^--/ms;
my ($mirror) = $mirroring =~ /^-- in the mirror\n(.*)/ms;
sql($a, $publication);
my $connection = $a->connstr('postgres');
$mirror =~ s/host=a dbname=shop/$connection =~ s,','',gr/e;
my ($before, $subscription, $after) = $mirror =~ /(.*?)(CREATE SUBSCRIPTION[^;]*;)(.*)/s;
sql($b, $before);
sql($b, $subscription);
becomes($b, 'SELECT is_whole, detail FROM eventstore.mirror_status', 't|', 'it is whole');
becomes($b, 'SELECT es_head()', sql($a, 'SELECT es_head()'), 'and has the head of a');
is(sql($b, 'SELECT count(*) FROM es_read_all()'), sql($a, 'SELECT count(*) FROM es_read_all()'), 'and its events');
like(sql($b, $after), qr/^from_shop\|t\|\d+\|$/, 'as the page shows');
sql($b, 'DROP SUBSCRIPTION from_shop');
done_testing();
