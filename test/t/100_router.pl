# The router: the verbs of the store over two cells, what it refuses, a cell that is down, a map that is old.
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
my $refused = sub { sqlstate($one, $_[0], 'router') };
my $told = sub { my ($out, $err) = ('', ''); $one->psql('router', $_[0], stdout => \$out, stderr => \$err); return ($out, $err) };

is($router->(q{SELECT string_agg(concat_ws(' ', cell, feed, slots), ', ' ORDER BY cell) FROM eventstore.cells}), '1 1 {[0,512)}, 2 2 {[512,1024)}', 'the map came from a cell');
is($router->(q{SELECT string_agg(concat_ws(' ', feed, cell, after_position), ', ' ORDER BY feed) FROM eventstore.feeds}), '1 1 0, 2 2 0', 'where feeds begin came from each');
is(sqlstate($one, 'CREATE EXTENSION plproxy; CREATE EXTENSION eventstore_router'), '55000', 'a store is no place for a router');

# One stream
is($router->(q{SELECT string_agg(es_append('a-' || n, 0, 'Made', '{}')::text, '') FROM generate_series(1, 20) n}), '1' x 20, 'streams anywhere');
cmp_ok(sql($one, 'SELECT count(*) FROM eventstore.events'), '>', 0, 'some are in one cell');
cmp_ok(sql($two, 'SELECT count(*) FROM eventstore.events'), '>', 0, 'and some in the other');
is($router->(q{SELECT es_append('a-1', 1, '[{"type": "More"}, {"type": "More"}]')}), 3, 'events as JSON');
is($router->(q{SELECT es_append('a-1', 3, '{More,More}'::text[], array['1', '2']::jsonb[])}), 5, 'events as arrays');
is($router->(q{SELECT es_append('a-1', 5, 'More'::text, '{}'::jsonb), es_last_position() % 1024 = feed FROM eventstore.cells WHERE slots @> es_slot('a-1')}), '6|t', 'the last position is known');
is($router->(q{SELECT string_agg(version::text, '') FROM es_read('a-1', 2)}), '23456', 'a stream is read');
is($router->(q{SELECT es_stream_version('a-1'), (es_last_event('a-1')).type}), '6|More', 'its version, its last event');
$router->(q{SELECT es_save_snapshot('a-1', 4, '{"n": 4}')});
is($router->(q{SELECT version, state, cardinality(events) FROM es_load('a-1')}), '4|{"n": 4}|2', 'its state');

# Errors are those of the cell.
my ($out, $err) = $told->(qq{\\set VERBOSITY verbose\nSELECT es_append('a-1', 1, 'More', '{}')});
like($err, qr/SE001: .*wrong expected version for stream "a-1"/, 'SQLSTATE and message');
like($err, qr/DETAIL: .*Stream "a-1" is at version 6, expected 1\./, 'DETAIL');
like($err, qr/HINT: .*Read the stream again/, 'HINT');
is($router->(q{SELECT es_append('a-1', 6, 'More', '{}')}), 7, 'and the next call is as good as ever');

# What is not atomic, or could be taken back
is($refused->(q{BEGIN; SELECT es_append('a-1', -1, 'More', '{}')}), '25001', 'no append in a transaction block');
is($refused->(q{DO $$BEGIN PERFORM es_append('a-1', -1, 'More', '{}'); EXCEPTION WHEN SQLSTATE 'SE001' THEN NULL; END$$}), '25001', 'nor where an error is caught');
is($refused->(q{BEGIN; SELECT es_fetch('g')}), '25001', 'nor anything else that changes something');
is($router->(q{BEGIN; SELECT es_stream_version('a-1'); COMMIT}), 7, 'reading may be in one');
($out, $err) = $told->(q{SELECT es_append_streams(jsonb_agg(jsonb_build_object('stream', 'a-' || n, 'expected_version', -1, 'events', '{"type": "Both"}'::jsonb))) FROM generate_series(1, 20) n});
like($err, qr/cannot append to streams of several cells.*is in cell \d, stream "a-\d+" in cell \d\..*tenant/s, 'streams of several cells are refused by name');
is($router->(q{SELECT count(*) FROM es_read_all('{}', 1000, '{Both}')}), 0, 'and nothing of it is stored');
is($router->(q{SELECT string_agg(stream || version, ' ') FROM es_append_streams('[{"stream": "x-{acme}", "expected_version": 0, "events": {"type": "Both"}},
	{"stream": "y-{acme}", "expected_version": 0, "events": {"type": "Both", "tags": ["t"]}}]')}), 'x-{acme}1 y-{acme}1', 'those of a tenant are in one');
is($refused->(q{SELECT es_append_if('a-1', '{"type": "Taken", "tags": ["t"]}', '[{"tags": ["t"]}]')}), '0A000', 'a condition over all cells is refused');
is($refused->(q{SELECT es_append_if('x-{acme}', '{"type": "Taken", "tags": ["t"]}', '[{"tags": ["t"]}]')}), 'SE004', 'one within a tenant is decided');
is($router->(q{SELECT es_append_if('x-{acme}', '{"type": "Taken", "tags": ["t"]}', '[{"tags": ["t"]}]', es_head())}), 2, 'after a vector, too');
is($router->(q{SELECT count(*) FROM es_read_query('[{"tags": ["t"]}]')}), 2, 'and can be read');

# Readers across streams
my $reader = {};
is(read_on($one, $reader, 7), 29, 'a reader by vector, seven at a time');
complete($reader, 'two cells', $one, $one, $two);
is(read_on($one, $reader), 0, 'and then nothing');
is($router->(qq{SELECT es_wait('$reader->{after}', '0.2 s') IS NULL}), 't', 'for which one can wait');
my $waits = session($one, 'router');
send_query($waits, qq{SELECT (es_wait('$reader->{after}', '5 min') ->> '2')::bigint > coalesce('$reader->{after}'::jsonb ->> '2', '0')::bigint});
sql($two, q{SELECT es_append(s, -1, 'Late', '{}') FROM (SELECT 'late-' || n AS s FROM generate_series(1, 99) n) a WHERE es_slot(s) >= 512 LIMIT 1});
is_woken($waits, 't', 'until one cell has an event');
$waits->quit;
is($router->(q{SELECT count(*), min(category) FROM es_read_category('late')}), '1|late', 'a category');
is($router->(q{SELECT es_head() ? '1', es_head() ? '2'}), 't|t', 'the head is a vector');
is($router->(q{SELECT (SELECT count(*) FROM es_read_all(es_position_at('2000-01-01'))) = (SELECT count(*) FROM es_read_all())}), 't', 'so is the position at a time');
is($refused->(q{SELECT es_read_all('{"1": "x"}')}), '22023', 'a vector that is none');
is($refused->(q{SELECT es_read_all('{"0001": 1}')}), '22023', 'nor this');
is($refused->(q{SELECT es_read_all(NULL)}), '22004', 'nor null');
read_on($one, $reader);

# Consumer groups
$router->(q{SELECT es_create_subscription('all', partitions => 4)});
is($refused->(q{SELECT es_create_subscription('all')}), '42710', 'made in all cells once');
is($refused->(q{SELECT es_create_subscription('some', after_position => 5)}), '22023', 'a position is one of a cell');
is($router->(q{SELECT count(DISTINCT (cell, partition)) FROM eventstore.subscription_status}), 8, 'it is in both');
my $consumer = session($one, 'router');
is($consumer->query_safe(q{CREATE TEMP TABLE done AS SELECT * FROM es_fetch('all', 'me', 1000); SELECT count(*), count(DISTINCT cell), count(DISTINCT id) FROM done}), '30|2|30', 'one fetch gets events of both');
$consumer->query_safe(q{SELECT es_ack(cell, 'all', token, max(position)) FROM done GROUP BY cell, token});
is($consumer->query_safe(q{SELECT count(*) FROM es_fetch('all', 'me', 1000)}), 0, 'which are acknowledged in both');
$router->(q{SELECT es_append('a-1', -1, 'Bad', '{}')});
is($consumer->query_safe(q{SELECT count(es_nack(cell, 'all', token, position, 'no good', 'park')::text) FROM es_fetch('all', 'me', 1, '10 s')}), 1, 'or not');
is($router->(q{SELECT stream, type, reason FROM eventstore.parked}), 'a-1|Bad|no good', 'what is parked is seen');
is($router->(q{SELECT es_replay_parked('all')}), 1, 'and replayed');
$router->(q{SELECT es_alter_subscription('all', partitions => 2); });
$router->(q{SELECT es_drop_subscription('all')});
is($refused->(q{SELECT es_drop_subscription('all')}), '42704', 'dropped in all');
$consumer->quit;

# Projections and their tables
$router->(q{SELECT es_create_projection('by_stream', 'SELECT stream, count(*) AS events FROM events GROUP BY stream')});
$router->(q{SELECT es_create_projection('by_type', 'SELECT es_slot(stream) AS slot, type, count(*) AS events, sum(version) AS total, min(version) AS lowest, max(version) AS highest, avg(version) AS mean
	FROM events GROUP BY es_slot(stream), type')});
is($refused->(q{SELECT es_create_projection('none', 'SELECT nonsense FROM events GROUP BY 1')}), '42703', 'one that no cell takes');
is($router->(q{SELECT count(*) FROM eventstore.projection_status}), 4, 'is in none');
sql($two, 'CREATE TABLE half (type text, n bigint)');
is($refused->(q{SELECT es_create_projection('half', 'SELECT type, count(*) AS n FROM events GROUP BY type')}), '42P07', 'one that only the first takes');
is($router->(q{SELECT count(*) FROM eventstore.projection_status}), 4, 'is in none, either');
$router->(q{SELECT es_create_view('streams', 'public.by_stream')});
$router->(q{SELECT es_create_view('types', 'public.by_type', '{"events": "count", "total": "sum", "lowest": "min", "highest": "max", "mean": "avg(events)"}')});
is($router->(q{SELECT count(*), count(DISTINCT stream), sum(events) FROM streams}), '23|23|31', 'a read table of all cells');
is($router->(q{SELECT string_agg(t::text, ';') FROM (SELECT type, events, total, lowest, highest, round(mean, 6) FROM types
	EXCEPT SELECT type, count(*), sum(version), min(version), max(version), round(avg(version), 6) FROM es_read_all() GROUP BY type) t}), '', 'one that is merged is what all events make of it');
is($router->(q{SELECT count(*) = (SELECT count(DISTINCT type) FROM es_read_all()) FROM types}), 't', 'with all its rows');
is($refused->(q{SELECT es_create_view('wrong', 'public.by_type', '{"mean": "avg"}')}), '22023', 'an average needs its count');
is($router->(q{SELECT es_rebuild_projection('by_type')}), 31, 'a rebuild is of all');
is($router->(q{SELECT count(*) FROM es_verify_projection('by_type')}), 0, 'and it is right everywhere');
is($router->(q{SELECT es_wait_projection('by_type', es_head()), es_wait_projection('by_type', '{}'::jsonb)}), 't|t', 'it can be waited for');
$router->(q{SELECT es_redact((SELECT id FROM es_read('a-1', 2, 1)), 'asked to'), es_append('a-1', -1, 'Secret', '{"a": 1}')});
is($router->(q{SELECT data FROM es_read('a-1', 2, 1)}), '{}', 'an event is blanked, wherever it is');
is($refused->(q{SELECT es_redact('00000000-0000-0000-0000-000000000000', 'none')}), '42704', 'one that is nowhere is not');
is($refused->(q{SELECT es_assert_version('a-1', 1)}), '0A000', 'what holds until commit is refused');
$router->(q{SELECT es_drop_view('streams'); });
$router->(q{SELECT es_drop_projection('by_stream', true)});
is($router->(q{SELECT string_agg(DISTINCT name, ',') FROM eventstore.projection_status}), 'by_type', 'dropped in all');

# docs/cells.md shows the same.
my ($shown) = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../docs/cells.md") =~ /^```postgresql\n([^`]*es_create_view.*?)^```/ms;
$shown =~ s/by_type/kinds/g;
is($refused->($shown), '', 'the page on cells shows how');
is($router->(q{SELECT (SELECT count(*) FROM kinds) = (SELECT count(*) FROM types), (SELECT count(*) FROM balances)}), 't|23', 'and it is so');

# Who may what is the cells' to say.
sql($_, 'CREATE ROLE reads LOGIN') for $one, $two;
is($refused->(q{SET SESSION AUTHORIZATION reads; SELECT es_read_all()}), '42501', 'nobody calls the router by himself');
$router->(q{SELECT es_grant('reads', 'read')});
is($router->(q{SET SESSION AUTHORIZATION reads; SELECT count(*) FROM es_read_all()}), 32, 'a reader reads');
is($refused->(q{SET SESSION AUTHORIZATION reads; SELECT es_append('a-1', -1, 'More', '{}')}), '42501', 'and does not append');
is($refused->(q{SET SESSION AUTHORIZATION reads; SELECT es_drop_cell(1)}), '42501', 'nor change the map');
$router->(q{SELECT es_revoke('reads', 'read')});
is($refused->(q{SET SESSION AUTHORIZATION reads; SELECT es_read_all()}), '42501', 'until it is taken back');

# An admin who does not own the router grants and revokes as its owner does.
sql($_, 'CREATE ROLE chief LOGIN; CREATE ROLE deputy LOGIN') for $one, $two;
$router->(q{SET client_min_messages = warning; SELECT es_grant('chief', 'admin')});
my $chief = sub { my ($out, $err) = $told->("SET client_min_messages = warning; SET SESSION AUTHORIZATION chief; $_[0]"); return $out . $err };
is($chief->(q{SELECT es_grant('reads', 'read'), es_grant('deputy', 'admin')}), '|', 'an admin grants, and without a warning');
is($router->(q{SET SESSION AUTHORIZATION reads; SELECT count(*) FROM es_read_all()}), 32, 'a reader that he has let in reads');
is($refused->(q{SET SESSION AUTHORIZATION deputy; SELECT es_drop_cell(7)}), '42704', 'an admin whom he has let in may change the map');
is($refused->(q{SET SESSION AUTHORIZATION reads; SELECT eventstore.let_in('reads', true)}), '42501', 'nobody lets himself in');
is($refused->(q{SET SESSION AUTHORIZATION reads; SELECT eventstore.keep_out('deputy')}), '42501', 'nor keeps others out');
is($chief->(q{SELECT es_revoke('deputy', 'admin'), es_revoke('reads', 'read')}), '|', 'an admin revokes');
is($refused->(q{SET SESSION AUTHORIZATION deputy; SELECT es_drop_cell(7)}), '42501', 'and who was an admin changes the map no more');

# A map that cannot be is refused as a whole, and says nothing of connections; one that a cell has harms nobody.
is($refused->("SELECT es_adopt_map('$_')"), '22023', "no map: $_") for '[1]', '[]', '[{"cell": 1}]', '[{"cell": 2000, "feed": 5, "slots": "{}", "generation": 1000}]',
	'[{"cell": 1, "feed": 1, "slots": "{[0,5000)}", "generation": 1000}]', '[{"cell": 1, "feed": 1, "slots": "{}", "generation": 1000}, {"cell": 2, "feed": 1, "slots": "{}", "generation": 1000}]',
	'[{"cell": 1, "feed": 1, "slots": "{}", "generation": 1000}, {"cell": 1, "feed": 2, "slots": "{}", "generation": 1000}]',
	'[{"cell": 1, "feed": 1, "slots": "{}", "generation": 1000}, {"cell": 2, "feed": 2, "slots": "{}", "generation": 1001}]';
sql($one, q{SELECT es_add_cell(2000, 5, '{}', 'host=nowhere')});
($out, $err) = $told->('SELECT es_refresh_map()');
is($out, 'f', 'a cell has a map that the router cannot take');
like($err, qr/WARNING: .*map of cell 1 .*\n.*from 0 to 1023/, 'which it says');
sql($one, q{SELECT es_drop_cell(2000)});

# What is sent to a cell is sent as who owns the router: nobody there can have it mean something of his own.
sql($_, q{CREATE ROLE plants LOGIN; GRANT CREATE ON SCHEMA public TO plants}) for $one, $two;
$router->(q{SELECT es_grant('plants', 'read')});
sql($one, q{SET SESSION AUTHORIZATION plants;
	CREATE FUNCTION public.to_jsonb(eventstore.cells) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN RAISE 'captured'; END$$;
	CREATE FUNCTION public.jsonb_agg(jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$BEGIN RAISE 'captured'; END$$;
	CREATE FUNCTION public.captured(oid, regclass) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'captured'; END$$;
	CREATE OPERATOR public.= (FUNCTION = public.captured, LEFTARG = oid, RIGHTARG = regclass)});
is($refused->(q{SET client_min_messages = warning; SELECT eventstore.ask_map(1)}), '', 'nobody in a cell captures what is asked of it: its map');
is($refused->(q{SET client_min_messages = warning; SELECT eventstore.ask_columns(1, 'pg_class')}), '', 'nor columns');
sql($one, q{DROP OWNED BY plants CASCADE});

# A cell is down.
$two->stop('immediate');
$router->(q{SELECT es_append(s, -1, 'Alone', '{}') FROM (SELECT 'alone-' || n AS s FROM generate_series(1, 99) n) a WHERE es_slot(s) < 512 LIMIT 3});
my $before = $reader->{after};
read_on($one, $reader);
like($reader->{warnings}, qr/WARNING: +cell 2 cannot be reached/, 'a cell that is down is named');
is($router->(qq{SELECT ('$reader->{after}'::jsonb -> '2') = ('$before'::jsonb -> '2')}), 't', 'its place is unmoved');
is($refused->(q{SELECT es_append(s, -1, 'Alone', '{}') FROM (SELECT 'alone-' || n AS s FROM generate_series(1, 99) n) a WHERE es_slot(s) >= 512 LIMIT 1}), '08006', 'an append there fails as a connection does');
($out, $err) = $told->(q{SELECT DISTINCT cell FROM eventstore.projection_status});
is($out, '1', 'views show what there is');
is($refused->($_), '08006', "so does $_") for q{SELECT es_create_subscription('down')}, q{SELECT es_create_projection('down', 'SELECT stream, count(*) AS n FROM events GROUP BY stream')}, q{SELECT count(*) FROM es_export()},
	q{SELECT es_position_at('2000-01-01')}, q{SELECT es_seal()};
is($router->(q{SELECT string_agg(concat_ws(' ', cell, status), ', ' ORDER BY cell) FROM eventstore.cell_status WHERE status = 'critical'}), '2 critical', 'the status of cells says it');
is(sql($one, q{SELECT (SELECT count(*) FROM eventstore.subscriptions WHERE name = 'down') + (SELECT count(*) FROM eventstore.projections WHERE name = 'down')}), 0, 'what is to be in all cells is in none');
$two->start;
read_on($one, $reader);
complete($reader, 'a cell was down', $one, $one, $two);
is($router->(q{SELECT count(DISTINCT cell) FROM eventstore.inflight; SELECT count(DISTINCT cell) FROM eventstore.projection_status}), "0\n2", 'and all when it is back');

# Slots move: the router hears of it by the refusal.
sql($one, q{SELECT es_set_cell(1, 1, '{[0,256)}')});
adopt($one, $two);
sql($two, q{SELECT es_set_cell(2, 2, '{[256,1024)}')});
adopt($two, $one);
is($router->(q{SELECT es_append(min(s), -1, 'Moved', '{}') FROM (SELECT 'moved-' || n AS s FROM generate_series(1, 99) n) a WHERE es_slot(s) BETWEEN 256 AND 511}), 1,
	'an append by an old map finds its cell');
is($router->(q{SELECT slots FROM eventstore.cells WHERE cell = 2}), '{[256,1024)}', 'the map is new then');
# Meanwhile nobody takes them, which is waited for.
sql($one, q{SELECT es_set_cell(1, 1, '{[0,128)}')});
adopt($one, $two);
my @waiting = map { session($one, 'router') } 1 .. 3;
$_->query_safe(q{SET eventstore_router.patience = '5 min'}) for @waiting;
my $moves = q{(SELECT min(s) FROM (SELECT 'moved-' || n AS s FROM generate_series(1, 99) n) a WHERE es_slot(s) BETWEEN 128 AND 255)};
send_query($waiting[0], qq{SELECT es_append($moves, -1, 'Moved', '{}')});
becomes($one, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}, 1, 'who appends by an old map waits');
is(adopt($one, $one, 'router'), 't', 'and the router can be told that nobody takes it');
send_query($waiting[1], qq{SELECT es_append($moves, -1, 'Moved', '{}')});
send_query($waiting[2], qq{SELECT es_stream_version($moves) IS NOT NULL});
becomes($one, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'}, 3, 'so do who appends by the new one, and who reads');
sql($two, q{SELECT es_set_cell(2, 2, '{[128,1024)}')});
adopt($two, $one, 'router');
like($_->query(''), qr/^[12t]$/, 'until a cell does') for @waiting[0, 1], $waiting[2];
$_->quit for @waiting;
is($refused->(qq{SET eventstore_router.patience = '0'; SELECT es_add_cell(1, 1, '{}', '} . where($one) . qq{'); SELECT es_append(s, -1, 'Nowhere', '{}') FROM (SELECT 'x-' || n AS s FROM generate_series(1, 99) n) a WHERE es_slot(s) < 128 LIMIT 1}), 'SE009', 'if one does in time');
is_sound($_, 'a cell') for $one, $two;

done_testing();
