# The router and arguments that make no sense: each has a SQLSTATE that says what is wrong, and none leaves the session or a cell worse off.
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
my $told = sub { my ($out, $err) = ('', ''); $node->psql('router', $_[0], stdout => \$out, stderr => \$err, on_error_stop => 0); return ($out, $err) };
my ($in_one, $in_two) = ('a-' . stream_in(0), 'a-' . stream_in(1));
$router->("SELECT es_append('$in_one', 0, 'Made', '{}')");
$router->("SELECT es_append('$in_two', 0, 'Made', '{}')");
$router->(q{SELECT es_create_subscription('s', partitions => 2)});
my $far = '{"1": 999999999999999999, "2": 999999999999999999}';

# What is to come of what
my @cases = map { /^(\w{5}) (.*)/s ? [ $1, $2 ] : () } split /\n/, <<"END";
22004 es_append(NULL, 0, 'x', '{}')
22023 es_append('', 0, 'x', '{}')
22004 es_append('a', NULL, 'x', '{}')
22023 es_append('a', -7, 'x', '{}')
22P02 es_append('a', 0, 'x', 'no JSON')
22023 es_append('a', 0, '[]'::jsonb)
22023 es_append('a', 0, '{}'::text[], '{}'::jsonb[])
22004 es_append_streams(NULL::jsonb)
22023 es_append_streams('[]')
22023 es_append_streams('{}')
22023 es_append_streams('[1]')
22023 es_append_streams('[{"stream": null}]')
22023 es_append_streams('[{"stream": "", "expected_version": 0, "events": {"type": "x"}}]')
0A000 es_append_streams('[{"stream": "$in_one", "expected_version": 1, "events": {"type": "x"}}, {"stream": "$in_two", "expected_version": 1, "events": {"type": "x"}}]')
22004 es_append_if('x-{a}', '{"type": "t"}', NULL::jsonb)
22023 es_append_if('x-{a}', '{"type": "t"}', '[{}]')
22004 es_append_if(NULL, '{"type": "t"}', '[{"types": ["x"]}]')
22023 es_append_if('x-{a}', '{"type": "t"}', '[{"types": ["x"]}]', -1)
22004 es_append_if('x-{a}', '{"type": "t"}', '[{"types": ["x"]}]', NULL::jsonb)
0A000 es_append_if('x', '{"type": "t"}', '[{"types": ["x"]}]')
22004 es_read_all(NULL::jsonb)
22023 es_read_all('[]')
22023 es_read_all('"x"')
22P02 es_read_all('x')
22023 es_read_all('{"1": -1}')
22023 es_read_all('{"1": null}')
22023 es_read_all('{"1": "5"}')
22023 es_read_all('{"1": 1.5}')
22023 es_read_all('{"1": 99999999999999999999}')
22023 es_read_all('{"1024": 5}')
22023 es_read_all('{"2000": 5}')
22023 es_read_all('{"-1": 5}')
22023 es_read_all('{"": 5}')
22023 es_read_all('{"01": 5}')
22023 es_read_all('{}', -1)
22004 es_read_all('{}', 5, '{NULL}')
0A000 es_read_all(0)
00000 es_read_all('{}', 0)
00000 es_read_all('$far')
00000 es_read_all('{}', 5, '{}')
22004 es_read_category(NULL, '{}')
22023 es_read_query('[]', '{}')
22P02 es_read_query('x', '{}')
22004 es_read_query(NULL::jsonb, '{}'::jsonb)
22004 es_wait(NULL::jsonb, '0.1 s'::interval)
22004 es_wait('{}'::jsonb, NULL::interval)
22023 es_wait(es_head(), '-1 s')
22007 es_wait(es_head(), 'x')
00000 es_wait('$far', '0.1 s')
22004 es_position_at(NULL::timestamptz)
00000 es_position_at('infinity'::timestamptz)
22004 es_create_subscription(NULL)
22023 es_create_subscription('')
22023 es_create_subscription('t', partitions => 0)
22023 es_create_subscription('t', after_position => -5)
22023 es_create_subscription('t', after_position => 5)
22004 es_create_subscription('t', after_position => NULL)
22023 es_create_subscription('t', after => '[]')
22023 es_create_subscription('t', after => '$far')
22004 es_fetch('s', 'me', NULL)
22023 es_fetch('s', 'me', -1)
22004 es_fetch('s', 'me', 1, NULL::interval)
22023 es_fetch('s', 'me', 1, '-1 s'::interval)
42704 es_fetch('none', 'me')
22004 es_fetch(NULL, 'me')
22023 es_fetch('s', '')
22004 es_ack(NULL, 's', 1, 1)
42704 es_ack(99, 's', 1, 1)
42704 es_ack(99999999999, 's', 1, 1)
42704 es_ack(-1, 's', 1, 1)
42704 es_ack(1, 'none', 1, 1)
22004 es_ack(1, 's', NULL, 1)
SE005 es_ack(1, 's', 5, 1)
0A000 es_ack('s', 1, 1)
42704 es_nack(99, 's', 1, 1, 'r')
22023 es_nack(1, 's', 1, 1, 'r', 'x')
0A000 es_nack('s', 1, 1, 'r')
42704 es_skip_event(99, 'p', 1)
42704 es_skip_event(1, 'p', 1)
0A000 es_skip_event('p', 1)
22023 es_reset_subscription('s', 5)
22023 es_reset_subscription('s', after => '$far')
42704 es_reset_subscription('none')
42704 es_release('none')
22023 es_replay_parked('s', -1)
42704 es_replay_parked('none', 1)
42704 es_drop_subscription('none')
42704 es_wait_projection('none', '{}'::jsonb, '0')
22004 es_wait_projection('none', '{}'::jsonb, NULL::interval)
22023 es_wait_projection('none', '{}'::jsonb, '-1 s')
22023 es_wait_projection('none', 5)
22023 es_wait_projection('none', -5)
22004 es_wait_projection('none', NULL::bigint)
22023 es_add_cell(5000, 5, '{}', 'host=x')
22004 es_add_cell(NULL, 5, '{}', 'host=x')
22023 es_add_cell(5, 1, '{}', 'host=x')
22023 es_add_cell(5, 5, '{[0,5000)}', 'host=x')
22P02 es_add_cell(5, 5, 'x', 'host=x')
42704 es_drop_cell(77)
22004 es_drop_cell(NULL)
22023 es_adopt_map(NULL::jsonb)
22P02 es_adopt_map('[{"cell": "x"}]')
22004 es_protect(NULL, 'x', '1'::jsonb)
22004 es_protect('a', NULL, '1'::jsonb)
22023 es_export('{"1": -5}')
22023 es_export('{}', '[]')
22004 es_export(NULL::jsonb)
22004 es_create_view(NULL, 'x')
42P01 es_create_view('v', 'none')
42P01 es_drop_view('v')
42704 es_grant('nobody', 'read')
22023 es_grant('postgres', 'x')
22004 es_create_projection(NULL, 'x')
42704 es_drop_projection('none')
42704 es_verify_projection('none')
42883 es_fold('$in_one', 'none')
22004 es_set_retention(NULL, NULL::interval)
22P02 es_replay_parked('s', 'x')
22P02 es_redact('x', 'r')
END
my ($out) = $told->(join '', map { "SELECT $cases[$_][1];\n\\echo \@$_ :SQLSTATE\n" } 0 .. $#cases);
my %came = $out =~ /^@(\d+) (\w{5})$/mg;
is(join("\n", map { ($came{$_} // 'nothing') eq $cases[$_][0] ? () : "$cases[$_][1]: " . ($came{$_} // 'nothing') . " in place of $cases[$_][0]" } 0 .. $#cases), '', 'what makes no sense is refused, with its code');

# In a transaction block: what changes anything is refused, and leaves nothing; what reads does not mind.
my @changing = ("es_append('a', -1, 'x', '{}')", "es_append_streams('[]')", "es_append_if('x-{a}', '{\"type\": \"t\"}', '[{\"types\": [\"x\"]}]')", "es_fetch('s')", "es_ack(1, 's', 1, 1)", "es_nack(1, 's', 1, 1, 'r')",
	"es_create_subscription('t')", "es_drop_subscription('s')", "es_reset_subscription('s')", "es_alter_subscription('s')", "es_release('s')", "es_create_projection('p', 'x')", "es_rebuild_projection('p')",
	"es_import('[]')", "es_seal()", "es_protect('a', 'b', '1'::jsonb)", "es_erase_subject('b', 'r')", "es_redact('00000000-0000-0000-0000-000000000000'::uuid, 'r')", "es_grant('postgres', 'read')", "es_truncate_stream('a', 1)",
	"es_delete_stream('a', 1)", "es_save_snapshot('a', 1, '{}'::jsonb)", "es_set_retention('a', '1 day'::interval)", "es_skip_event(1, 'p', 1)", "es_reassign_projection('p', 'postgres')");
($out) = $told->(join '', map { "BEGIN;\nSELECT $changing[$_];\n\\echo \@$_ :SQLSTATE\nROLLBACK;\n" } 0 .. $#changing);
%came = $out =~ /^@(\d+) (\w{5})$/mg;
is(join("\n", map { ($came{$_} // 'nothing') eq '25001' ? () : "$changing[$_]: " . ($came{$_} // 'nothing') } 0 .. $#changing), '', 'in a transaction block what changes anything is refused');
is($router->(q{BEGIN; SELECT count(*) FROM es_read_all(); SELECT count(*) FROM es_export(); SELECT es_wait(es_head(), '0') IS NULL; COMMIT}), "2\n2\nt", 'what reads is not');
is($router->(q{SELECT count(*) FROM es_read_all(); SELECT count(DISTINCT name) FROM eventstore.subscription_status}), "2\n1", 'and all is as it was');

# A vector with a feed that nobody knows
my ($rows, $err) = $told->(q{SELECT count(*), max(after ->> '7') FROM es_read_all('{"7": 5}')});
is($rows, '2|5', 'a feed that is not known stays in the vector');
like($err, qr/WARNING:  no cell here is known to have events of feed 7\nDETAIL: .*\nHINT: .*es_adopt_map/, 'with a WARNING');
(undef, $err) = $told->(q{SELECT es_create_subscription('t', after => '{"7": 5}')});
like($err, qr/WARNING:  no cell here is known to have events of feed 7/, 'where a group is to begin there, too');

# A router that has yet to hear of a cell hears of it by the vector of another one.
sql($node, q{SELECT es_set_cell(1, 1, '{[0,256)}')});
sql($node, 'CREATE DATABASE three');
sql($node, q{CREATE EXTENSION eventstore; SELECT es_set_cell(3, 3, '{[256,512)}')}, 'three');
sql($node, q{SELECT es_add_cell(3, 3, '{[256,512)}', '} . where($node, 'three') . q{')});
sql($node, q{SELECT count(es_append(s, -1, 'New', '{}')) FROM (SELECT 'n-' || n AS s FROM generate_series(1, 99) n) a WHERE es_slot(s) BETWEEN 256 AND 511}, 'three');
($rows, $err) = $told->(q{SELECT count(*) > 0 FROM es_read_all('{"1": 5000000, "2": 5000000, "3": 0}')});
is("$rows$err", 't', 'which it asks the cells for');

# es_fetch names its cell: a token is good there only.
($rows, $err) = $told->(q{SELECT cell, token, max(position) FROM es_fetch('s', 'me') GROUP BY 1, 2 ORDER BY 1});
my @fetched = map { [ split /\|/ ] } split /\n/, $rows;
like($err, qr/WARNING:  subscription "s" does not exist in cell 3\nHINT: .*es_create_subscription/, 'a cell that came later has not the group');
is(join(' ', map { $_->[0] } @fetched), '1 2', 'events are fetched from two cells');
is(sqlstate($node, "SELECT es_ack(2, 's', $fetched[0][1] + 1000, $fetched[0][2])", 'router'), 'SE005', 'a token that the cell does not know is no good');
$router->("SELECT es_ack($_->[0], 's', $_->[1], $_->[2])") for @fetched;
is($router->(q{SELECT count(*) FROM es_fetch('s', 'me') WHERE cell < 3}), 0, 'each with the cell that it came from: done');

# No cell at all
sql($node, 'CREATE DATABASE bare');
sql($node, 'CREATE EXTENSION plproxy; CREATE EXTENSION eventstore_router', 'bare');
is(sqlstate($node, "SELECT $_", 'bare'), '55000', "without a cell: $_") for q{es_read_all()}, q{es_head()}, q{es_wait('{}', '0')}, q{es_create_subscription('s')}, q{es_drop_subscription('s')}, q{es_fetch('s')}, q{es_verify()}, q{es_import('[{}]')}, q{es_export()}, q{es_seal()}, q{es_create_view('v', 'x')};
is(sqlstate($node, "SELECT $_", 'bare'), 'SE009', "without a cell: $_") for q{es_append('a', 0, 'x', '{}')}, q{es_read('a')}, q{es_protect('a', 'b', '1'::jsonb)};
is_sound($node, 'cell 1');

# Strings in which a backslash means something: it stands in none of the router's own.
is($router->(q{SELECT f.oid::regprocedure FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'eventstore_router' JOIN pg_proc f ON f.oid = d.objid
	JOIN pg_language l ON l.oid = f.prolang WHERE d.classid = 'pg_proc'::regclass AND d.deptype = 'e' AND l.lanname IN ('sql', 'plpgsql', 'plproxy') AND strpos(f.prosrc, '\\') > 0}), '', 'no function has a backslash in it');
($rows, $err) = $told->(q{SET standard_conforming_strings = off; SELECT count(*) > 0 FROM es_read_all(); SELECT es_append('scs-1', 0, 'T', '{}'); SELECT count(*) FROM es_read('scs-1'); SELECT count(*) > 0 FROM eventstore.subscription_status});
is("$rows$err", "t\n1\n1\nt", 'and it works where it does');

done_testing();
