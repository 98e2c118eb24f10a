# Whether the router and its cells fit together, and what comes of it where they do not: eventstore.cell_status, cells of other versions.
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

my $node = new_cells_and_router();
my $router = sub { sql($node, $_[0], 'router') };
my $told = sub { my ($out, $err) = ('', ''); $node->psql('router', $_[0], stdout => \$out, stderr => \$err); return ($out, $err) };
# Of a cell, or the router (0): its status and what is wrong, with what to do.
my $status = sub { $router->("SELECT concat_ws(' ', status, detail, hint) FROM eventstore.cell_status WHERE coalesce(cell, 0) = $_[0]") };

is($router->(q{SELECT string_agg(concat_ws(' ', cell, status, version = es_version(), cardinality(missing), detail), ', ' ORDER BY cell NULLS FIRST) FROM eventstore.cell_status}), 'ok t 0, 1 ok t 0, 2 ok t 0', 'all is well');
is($router->(q{SELECT count(DISTINCT generation) FROM eventstore.cell_status}), 1, 'with one map');
cmp_ok($router->(q{SELECT cardinality(eventstore.sent_verbs())}), '>', 50, 'it knows what it calls');
is($router->(q{SELECT 'es_verify' = ANY (v), 'es_apply_retention' = ANY (v), 'es_append' = ANY (v) FROM eventstore.sent_verbs() v}), 't|t|t', 'all of it');

# Maps
sql($node, q{SELECT es_set_cell(2, 2, '{[512,1000)}')}, 'two');
like($status->(2), qr/^warning It has feed 2 and slots \{\[512,1000\)\}, the map here feed 2 and slots \{\[512,1024\)\}\. es_refresh_map/, 'a cell has other slots than the map says');
is($router->('SELECT es_refresh_map()'), 't', 'which the router can hear');
like($status->(0), qr/^warning No cell takes slots \{\[1000,1024\)\}\./, 'slots that nobody takes');
like($status->(1), qr/^warning Its map is of generation \d+, that of the router of \d+\. A change .* es_adopt_map/, 'a cell whose map is older');
sql($node, q{SELECT es_set_cell(2, 2, '{[512,1024)}')}, 'two');
$router->('SELECT es_refresh_map()');
my $map = sql($node, 'SELECT jsonb_agg(to_jsonb(c)) FROM eventstore.cells c', 'two');
sql($node, "SELECT es_adopt_map(\$\$$map\$\$)");
is($router->(q{SELECT string_agg(DISTINCT status, ',') FROM eventstore.cell_status}), 'ok', 'one map again');
my $two = where($node, 'two');
$router->("SELECT es_add_cell(2, 2, '{[512,1024)}', '" . where($node) . "')");
like($status->(2), qr/^critical The connection leads to cell 1\. es_add_cell/, 'a connection that leads elsewhere');
$router->("SELECT es_add_cell(2, 2, '{[512,1024)}', '" . where($node, 'template1') . "')");
like($status->(2), qr/^critical Its database has no extension eventstore\./, 'to a database without a store');
$router->("SELECT es_add_cell(2, 2, '{[512,1024)}', 'host=" . $node->host . " port=1 dbname=none')");
like($status->(2), qr/^critical It cannot be reached: .*PL\/Proxy/, 'to nowhere');
is($router->('SELECT status FROM eventstore.cell_status WHERE cell = 1') =~ /ok|warning/ ? 1 : 0, 1, 'the others are looked at all the same');
$router->("SELECT es_add_cell(2, 2, '{[512,1024)}', '$two')");
# All get the router's map.
my $share = sub { my $rows = $router->('SELECT jsonb_agg(to_jsonb(c)) FROM eventstore.cells c'); sql($node, "SELECT es_adopt_map(\$\$$rows\$\$)", $_) for 'postgres', 'two' };
$share->();
is($router->(q{SELECT string_agg(DISTINCT status, ',') FROM eventstore.cell_status}), 'ok', 'all is well again');
# As if the extension in a database were of this version: the library there would not work with it.
my $pretend = sub { sql($node, "UPDATE pg_extension SET extversion = $_[0] WHERE extname = 'eventstore'", 'two') };
my $now = q{(SELECT default_version FROM pg_available_extensions WHERE name = 'eventstore')};

# Who may look
sql($node, 'CREATE ROLE chief LOGIN; CREATE ROLE reads LOGIN');
$router->(q{SET client_min_messages = warning; SELECT es_grant('chief', 'admin'), es_grant('reads', 'read')});
is($router->(q{SET SESSION AUTHORIZATION chief; SELECT count(*) FROM eventstore.cell_status}), 3, 'an admin');
is(sqlstate($node, q{SET SESSION AUTHORIZATION reads; SELECT count(*) FROM eventstore.cell_status}, 'router'), '42501', 'nobody else');
is($router->(q{SET SESSION AUTHORIZATION reads; SELECT count(*) > 0 FROM eventstore.differences}), 't', 'what a router has not everybody may know whom it lets in');

# A cell of a later version: more columns at the end, which the router does not ask for.
sql($node, q{SET client_min_messages = warning; ALTER EXTENSION eventstore DROP FUNCTION es_snapshot(text, bigint); DROP FUNCTION es_snapshot(text, bigint);
	CREATE FUNCTION es_snapshot(stream text, schema_version bigint DEFAULT 1, OUT version bigint, OUT state jsonb, OUT saved_at timestamptz, OUT more text) LANGUAGE sql AS $$SELECT 7, '{}'::jsonb, now(), 'more'$$}, $_) for 'postgres', 'two';
is($router->(q{SELECT version FROM es_snapshot('a-1')}), 7, 'a function that returns more than it did');
$pretend->("'9.9.9'");
like($status->(2), qr/^warning It is of version 9\.9\.9, the router of [\d.]+\. That does for as long as an upgrade takes\. Cells first/, 'a version that is later');
$pretend->($now);
is($router->(q{SELECT sum(es_append('a-' || n, 0, 'Made', '{}')) FROM generate_series(1, 20) n}), 20, 'the rest goes on');
is($router->(q{SELECT count(*) = (SELECT count(DISTINCT stream) FROM es_read_all()) FROM es_read_all()}), 't', 'for readers, too');

# One of an earlier version: functions are not there.
sql($node, q{SET client_min_messages = warning; ALTER EXTENSION eventstore DROP FUNCTION es_load_json(text, bigint); DROP FUNCTION es_load_json(text, bigint)}, 'two');
like($status->(2), qr/^critical It has not all that the router calls: it is of version [\d.]+, .* ALTER EXTENSION eventstore UPDATE there/, 'functions that are missing');
is($router->('SELECT missing FROM eventstore.cell_status WHERE cell = 2'), '{es_load_json}', 'by name');
is(sqlstate($node, "SELECT * FROM es_load_json('a-" . stream_in(1) . "')", 'router'), '42883', 'what needs them fails');
is($router->("SELECT count(*) FROM es_load('a-" . stream_in(1) . "')"), 1, 'nothing else does');

# What answers otherwise than it should is no cell that is down.
sql($node, q{SET client_min_messages = warning; ALTER EXTENSION eventstore DROP FUNCTION es_last_event(text, text); DROP FUNCTION es_last_event(text, text);
	CREATE FUNCTION es_last_event(stream text, type text DEFAULT NULL, OUT "position" bigint) LANGUAGE sql AS $$SELECT 7::bigint$$}, 'two');
isnt(sqlstate($node, "SELECT * FROM es_last_event('a-" . stream_in(1) . "')", 'router'), '08006', 'a function that returns less');

# Settings
sql($node, q{ALTER DATABASE two SET datestyle = 'German'}, 'two');
sql($node, q{CREATE FUNCTION es_load_json(text) RETURNS int LANGUAGE sql AS 'SELECT 1'}, 'two');
like($status->(2), qr/^warning It writes times as "German.*ALTER DATABASE .* datestyle/, 'a cell that writes times otherwise');
is($router->(q{SELECT count(*) FROM es_read_all() WHERE recorded_at BETWEEN now() - interval '1 hour' AND now() + interval '1 hour'}), $router->('SELECT count(*) FROM es_read_all()'), 'which readers across streams do not mind');

done_testing();
