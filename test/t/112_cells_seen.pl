# What there is to see of several cells through a router: status and health of each, with its number; and with one of them down.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Cells;
use Store;
use Test::More;

plan skip_all => 'PL/Proxy is not here: the router is left out' if !have_plproxy();

my $one = new_cell(1, 1, '{[0,512)}');
my $two = new_cell(2, 2, '{[512,1024)}');
sql($one, q{SELECT es_add_cell(2, 2, '{[512,1024)}', '} . where($two) . q{')});
adopt($one, $two);
new_router($one, $one);
my $router = sub { sql($one, $_[0], 'router') };
my $told = sub { my ($out, $err) = ('', ''); $one->psql('router', $_[0], stdout => \$out, stderr => \$err); return ($out, $err) };

$router->(q{SELECT es_append('a-' || n, 0, 'Made', '{}') FROM generate_series(1, 40) n});
$router->(q{SELECT es_create_subscription('mail', partitions => 2); });
$router->(q{SELECT es_create_projection('by_type', 'SELECT type, count(*) AS n FROM events GROUP BY type', 'async')});

# Each cell says of itself what a store says: asked by the router, the same as asked there.
my %cells = (1 => $one, 2 => $two);
my $same = sub {
	my ($view, $columns, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $there = join "\n", map { my $cell = $_; map { "$cell|$_" } split /\n/, sql($cells{$cell}, "SELECT $columns FROM eventstore.$view ORDER BY 1, 2") } sort keys %cells;
	is($router->("SELECT cell, $columns FROM eventstore.$view ORDER BY 1, 2, 3"), $there, $name);
};
$same->('subscription_status', 'name, partition, consumer, checkpoint, lag_events, parked, state, tenant', 'subscriptions of both cells');
$same->('projection_status', 'name, mode, state, position, lag, events_applied, owner', 'projections of both cells');
my $checks = sql($one, q{SELECT string_agg(name, ',' ORDER BY name) FROM eventstore.health});
for my $cell (1, 2)
{
	is($router->("SELECT string_agg(name, ',' ORDER BY name) FROM eventstore.health WHERE cell = $cell AND name <> 'cell'"), $checks, "every check of cell $cell");
}
is($router->(q{SELECT cell, status, detail FROM eventstore.health WHERE name = 'cell' ORDER BY cell}), "1|ok|\n2|ok|", 'and that it can be reached');

# What is wrong with one is said of that one.
is($router->(q{SELECT count(*), count(DISTINCT cell) FROM es_fetch('mail', 'me', 1000)}), '40|2', 'a consumer has events of both');
my $open = session($two);
$open->query_safe(q{BEGIN; SELECT es_append(s, -1, 'Open', '{}') FROM (SELECT 'open-' || n AS s FROM generate_series(1, 99) n) a WHERE es_slot(s) >= 512 LIMIT 1});
is($router->(q{SELECT DISTINCT cell FROM eventstore.inflight}), 2, 'who appends in which cell');
$open->query_safe('ROLLBACK');
$open->quit;
$router->(q{SELECT es_create_projection('handler', 'SELECT type, count(*) AS n FROM events GROUP BY type', 'async')});
sql($two, q{ALTER TABLE handler ADD CHECK (n < 0)});
$told->(q{SELECT es_run_projection('handler')});
is($router->(q{SELECT cell, state, lag > 0 FROM eventstore.projection_status WHERE name = 'handler' ORDER BY cell}), "1|running|f\n2|failed|t", 'a projection that goes on in one cell and has failed in the other');
is($router->(q{SELECT cell, status FROM eventstore.health WHERE name ~ 'projection' AND status <> 'ok' AND detail ~ 'handler'}), '2|critical', 'which is critical for that cell');
$router->(q{SELECT es_drop_projection('handler', true)});

# One is down.
my $rows = $router->(q{SELECT count(*) FROM eventstore.health WHERE cell = 1});
$two->stop('immediate');
for my $view (qw(subscription_status projection_status inflight parked))
{
	my ($out, $err) = $told->("SELECT coalesce(string_agg(DISTINCT cell::text, ','), '') FROM eventstore.$view");
	is($out, $view =~ /status/ ? 1 : '', "$view shows the cell that is up");
	like($err, qr/WARNING: +cell 2 cannot be reached\nDETAIL: .*\nHINT: +What it has is missing/s, "$view names the other");
	is(() = $err =~ /WARNING/g, 1, "$view names it once");
}
my ($out, $err) = $told->(q{SELECT cell, status, detail FROM eventstore.health WHERE name = 'cell' ORDER BY cell; SELECT count(*) FROM eventstore.health WHERE cell = 1; SELECT string_agg(name, ',') FROM eventstore.health WHERE cell = 2});
is($out, "1|ok|\n2|critical|It cannot be reached.\n$rows\ncell", 'health: one is as it was, the other critical');
like($err, qr/WARNING: +cell 2 cannot be reached/, 'which is a warning, too');
my $session = session($one, 'router');
my $ask = q{SELECT string_agg(cell || ' ' || status, ', ' ORDER BY cell) FROM eventstore.health WHERE name = 'cell'};
is($session->query($ask), '1 ok, 2 critical', 'a session that has seen it down');
$two->start;
$session->{stderr} = '';
is($session->query_safe($ask), '1 ok, 2 ok', 'sees it come back');
is($session->query_safe(q{SELECT string_agg(DISTINCT cell::text, ',') FROM eventstore.subscription_status}), '1,2', 'with all that it has');
$session->quit;

# A cell that does not take connections is down as well; one that refuses the role is not.
sql($two, q{CREATE ROLE watches LOGIN});
sql($one, q{CREATE ROLE watches LOGIN});
$router->(q{SELECT es_grant('watches', 'read')});
is($router->(q{SET SESSION AUTHORIZATION watches; SELECT string_agg(cell || ' ' || status, ', ' ORDER BY cell) FROM eventstore.health WHERE name = 'cell'}), '1 ok, 2 ok', 'a reader sees health');
sql($two, q{SELECT es_revoke('watches', 'read')});
is(sqlstate($one, q{SET SESSION AUTHORIZATION watches; SELECT count(*) FROM eventstore.health}, 'router'), '42501', 'what a cell refuses is an error, not a cell that is down');
is_sound($_, $_->name) for $one, $two;
done_testing();
