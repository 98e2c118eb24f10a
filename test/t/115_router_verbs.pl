# The router and the functions of a store: it has each, or says why not; forms for typed text; events in and out; protecting, sealing.
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
my $refused = sub { sqlstate($node, $_[0], 'router') };
my $told = sub { my ($out, $err) = ('', ''); $node->psql('router', $_[0], stdout => \$out, stderr => \$err); return ($out, $err) };

# Functions, as name(types), with how many arguments there have to be.
my $functions = q{SELECT p.proname, p.pronargs - p.pronargdefaults, (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY u (t, n))
	FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname ~ '^eventstore'
	WHERE p.proname ~ '^es_' AND p.pronamespace <> 'eventstore'::regnamespace ORDER BY 1, 3};
my @store = map { [ split /\|/, $_, -1 ] } split /\n/, sql($node, $functions);
my @here = map { [ split /\|/, $_, -1 ] } split /\n/, $router->($functions);
my %differs = map { $_ => 1 } split /\n/, $router->('SELECT verb FROM eventstore.differences');
my (@lacking, %is_store);
for my $function (@store)
{
	my ($name, undef, $types) = @$function;
	my $called = "$name($types)";
	$is_store{$called} = 1;
	my $count = () = $types =~ /[^,]+/g;
	next if $differs{$called};
	next if grep { $_->[0] eq $name && ($_->[2] eq $types || $types eq '' && $_->[1] == 0 || index($_->[2], "$types, ") == 0 && $_->[1] <= $count) } @here;
	push @lacking, $called;
}
cmp_ok(scalar @store, '>', 100, 'a store has functions');
is(join("\n", @lacking), '', 'the router has each of them, or names it among the differences');
is(join("\n", grep { !$is_store{$_} } sort keys %differs), '', 'differences are from functions that a store has');
my $page = PostgreSQL::Test::Utils::slurp_file("$FindBin::RealBin/../../docs/cells.md");
is(join(' ', grep { $page !~ /\b\Q$_\E\b/ } map { /^(\w+)/ } sort keys %differs), '', 'docs/cells.md names each of these');

# What is refused says why, and the way.
my @silent;
for my $called (split /\n/, $router->(q{SELECT d.verb FROM eventstore.differences d JOIN pg_proc p ON p.prosrc = format('BEGIN PERFORM eventstore.refuse(%L); END', d.verb) ORDER BY 1}))
{
	my ($name, $types) = $called =~ /^(\w+)\((.*)\)$/;
	my (undef, $err) = $told->("\\set VERBOSITY verbose\nSELECT $name(" . join(', ', map {"NULL::$_"} split /, /, $types) . ')');
	push @silent, "$called: $err" if $err !~ /0A000: .*a router has no \Q$called\E\nDETAIL: .*\.\nHINT: .*\./;
}
is(join("\n", @silent), '', 'what is refused is refused by name, with the reason and the way');

# Objects of the router have a comment; PUBLIC may call none.
is($router->(q{SELECT string_agg(pg_describe_object(d.classid, d.objid, 0), ', ') FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'eventstore_router'
	WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND obj_description(d.objid, (SELECT relname FROM pg_class WHERE oid = d.classid)) IS NULL
	  AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid WHERE t.oid = d.objid AND (t.typelem <> 0 OR c.relkind IN ('r', 'v', 'S'))))}),
	'', 'each object has a comment');
is($router->(q{SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'eventstore_router' WHERE p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) WHERE grantee = 0)}),
	'', 'no function is everybody\'s');
is($router->(q{SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
	JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'eventstore_router' JOIN pg_language l ON l.oid = p.prolang
	WHERE l.lanname NOT IN ('c', 'internal', 'plproxy') AND p.prosqlbody IS NULL AND p.proname NOT IN ('es_create_view', 'es_drop_view') AND NOT coalesce(p.proconfig, '{}') && '{"search_path=pg_catalog, pg_temp"}'}),
	'', 'no search_path is the caller\'s');

# Typed text: what a driver sends that gives a type to each string
my $text = sub { my ($sql) = @_; $sql =~ s/T'((?:[^']|'')*)'/'$1'::text/g; return $router->($sql) };
is($text->(q{SELECT es_append(T'a-1', 0, T'[{"type": "Made"}]')}), 1, 'events as text');
is($text->(q{SELECT es_append(T'a-1', 1, T'Made', T'{"n": 1}', T'{"m": 2}', T'00000000-0000-4000-8000-000000000001')}), 2, 'an event as text');
is($text->(q{SELECT es_append(T'a-1', 2, T'Made', T'{}', T'{}', '00000000-0000-4000-8000-000000000002'::uuid)}), 3, 'its id as a uuid');
is($text->(q{SELECT es_append(T'a-1', 3, T'Made', '{}'::jsonb, NULL::jsonb, T'00000000-0000-4000-8000-000000000003')}), 4, 'its id alone as text');
is($text->(q{SELECT version FROM es_append_streams(T'[{"stream": "x-{acme}", "expected_version": 0, "events": {"type": "Both", "tags": ["t"]}}]')}), 1, 'a batch as text');
is($text->(q{SELECT es_append_if(T'x-{acme}', T'{"type": "Taken", "tags": ["t"]}', T'[{"tags": ["t"]}]', es_head()::text)}), 2, 'a condition and a vector as text');
is($text->(q{SELECT count(*) FROM es_read_all(T'{}', 100, '{Made}')}), 4, 'a vector as text');
is($text->(q{SELECT count(*) FROM es_read_category(T'x', T'{}')}), 2, 'in a category');
is($text->(q{SELECT count(*) FROM es_read_query(T'[{"tags": ["t"]}]', T'{}')}), 2, 'with a query');
is($router->(q{SELECT count(*) FROM es_read_query('[{"tags": ["t"]}]')}), 2, 'a literal needs no cast');
is($text->(q{SELECT count(*) FROM es_stream_as_of(T'a-1', T'2000-01-01')}), 0, 'a time as text');
is($text->(q{SELECT (es_position_at(T'2000-01-01') ->> '1')::bigint}), 0, 'a time as text, for a vector');
is($text->(q{SELECT es_wait(es_head()::text, T'0.1 s') IS NULL, es_wait(es_head(), T'0.1 s') IS NULL, es_wait(es_head()::text) IS NULL FROM (SELECT set_config('x.y', 'z', false)) s LIMIT 0}), '', 'waits as text');
is($text->(q{SELECT es_wait(es_head()::text, T'0.1 s') IS NULL}), 't', 'a timeout as text');
$text->(q{SELECT es_create_subscription(T'group', T'a', NULL::text[], 0, 4, 3, T'5 s')});
$text->(q{SELECT es_alter_subscription(T'group', 2, NULL::text, NULL::bigint, T'6 s')});
is($router->(q{SELECT count(*) FROM eventstore.subscription_status}), 4, 'a lease as text');
is($text->(q{SELECT count(*) FROM es_fetch(T'group', T'me', 1, T'0')}), 1, 'a wait as text');
my $nack = $router->(q{SELECT format('%s, ''group'', %s, %s', cell, token, position) FROM es_fetch('group', 'me', 1)});
$text->("SELECT es_nack($nack, T'no good', T'park', T'0')") if $nack;
is($router->('SELECT count(*) FROM eventstore.parked'), $nack ? 1 : 0, 'a delay as text');
is($text->(q{SELECT es_replay_parked(T'group', T'5')}), $nack ? 1 : 0, 'how many, as text');
is($text->(q{SELECT es_replay_parked(T'group', T'00000000-0000-4000-8000-00000000ffff')}), 0, 'or which, as text');
is($refused->(q{SELECT es_drop_parked('group'::text, '00000000-0000-4000-8000-00000000ffff'::text)}), '42704', 'an id as text');
$text->(q{SELECT es_save_snapshot(T'a-1', 1, T'{"s": 1}')});
is($text->(q{SELECT version, jsonb_array_length(events) FROM es_load_json(T'a-1')}), '1|3', 'a state as text; events as JSON');
$text->(q{SELECT es_redact(T'00000000-0000-4000-8000-000000000001', T'asked to')});
is($router->(q{SELECT data FROM es_read('a-1', 2, 1)}), '{}', 'an event is redacted by its id as text');
$text->(q{SELECT es_set_retention(T'b', T'1 day')});
sql($node, q{CREATE ROLE reads}) ;
$text->(q{SELECT es_grant(T'reads', T'read')});
is($router->(q{SELECT has_function_privilege('reads', 'es_version()', 'execute'), es_version() = (SELECT default_version FROM pg_available_extensions WHERE name = 'eventstore')}), 't|t', 'a role as text');
is(sql($node, q{SELECT count(*) FROM eventstore.grants WHERE role = 'reads' AND level = 'read'}), 1, 'who is granted it in the cells');
$text->(q{SELECT es_revoke(T'reads', T'read')});
is($router->(q{SELECT es_partition('a-1', 64)}), sql($node, q{SELECT es_partition('a-1', 64)}), 'partitions are those of a store');

# Times and intervals are sent as they are meant, whatever the session writes them as.
for my $setting ("datestyle = 'SQL, DMY'", "datestyle = 'German'", "datestyle = 'Postgres, MDY'", 'intervalstyle = sql_standard')
{
	is($router->(qq{SET $setting; SELECT count(*) FROM es_stream_as_of('a-1', make_timestamptz(2001, 12, 25, 5, 6, 7)); SELECT es_position_at(make_timestamptz(2000, 12, 25, 5, 6, 7)) ->> '1';
		SELECT es_alter_subscription('group', lease => make_interval(days => 1, mins => 1))}), "0\n0\n", "with $setting");
}
is(sql($node, q{SELECT lease FROM eventstore.subscriptions}), '1 day 00:01:00', 'an interval came as it was');

# Protecting and revealing, in the cell that has the stream
for my $stream ('p-' . stream_in(0), 'p-' . stream_in(1))
{
	$router->(qq{SELECT es_append('$stream', 0, 'Kept', jsonb_build_object('name', es_protect('$stream', 'Ann', '"Ann Smith"'::jsonb)))});
	is($router->(qq{SELECT es_reveal('$stream', data) ->> 'name' FROM es_read('$stream')}), 'Ann Smith', "what is protected for $stream is revealed");
}
is($text->(q{SELECT es_reveal(T'a-1', es_protect(T'a-1', T'Bob', T'"Bob"')::text)}), '"Bob"', 'both as text');
$router->(q{SELECT es_erase_subject('Ann', 'asked to')});
is($router->(q{SELECT count(*) FROM es_read_category('p') p WHERE es_reveal(stream, data) ->> 'name' IS NULL}), 2, 'erased in all cells');
is($refused->(q{SELECT es_protect('a-1', 'Ann', '1'::jsonb)}), 'SE010', 'for good');

# Sealing
is($router->(q{SELECT es_seal() = es_head()}), 't', 'all cells are sealed up to their heads');
is($router->(q{SELECT es_seal()}), '{}', 'of which nothing is new then');
is($router->(q{SELECT count(*) FROM es_verify_seals()}), 0, 'and it is what it was');
is($router->(q{SELECT count(*) FROM es_verify()}), 0, 'all cells are sound');
is($router->(q{SELECT es_apply_retention()}), 0, 'nothing is too old');

# In and out: a store becomes cells, and cells a store.
sql($node, 'CREATE DATABASE whole');
sql($node, q{CREATE EXTENSION eventstore; SELECT count(es_append('w-' || n % 50, -1, 'Made', jsonb_build_object('n', n))) FROM generate_series(1, 2500) n}, 'whole');
sql($node, q{CREATE TABLE lines AS SELECT * FROM es_export() AS line}, 'whole');
my $lines = sql($node, q{SELECT jsonb_agg(line) FROM lines}, 'whole');
is($router->("SELECT es_import(\$\$$lines\$\$::jsonb)"), 2500, 'what a store has exported is imported, each event in its cell');
is($router->("SELECT es_import(\$\$$lines\$\$::text)"), 0, 'once');
cmp_ok(sql($node, q{SELECT count(*) FROM eventstore.events WHERE category = 'w'}, $_), '>', 500, "database $_ has some") for 'postgres', 'two';
is($router->(q{SELECT count(*), count(DISTINCT e ->> 'id') FROM es_export('{}', category => 'w') e}), '2500|2500', 'all of it comes out again');
my $exported = $router->(q{SELECT jsonb_agg(e) FROM es_export('{}', category => 'w') e});
is(sql($node, qq{SELECT es_import(\$\$$exported\$\$)}, 'whole'), 0, 'as it was');
sql($node, 'CREATE DATABASE again');
$exported = $router->(q{SELECT jsonb_agg(e) FROM es_export() e WHERE e ->> 'stream' ~ '^[wap]-'});
is(sql($node, qq{CREATE EXTENSION eventstore; SELECT es_import(\$\$$exported\$\$) > 2500}, 'again'), 't', 'a store takes it');
is($router->(q{SELECT count(*) FROM es_export(es_head()); SELECT count(*) FROM es_export('{}', '{}'); SELECT count(*) = (SELECT count(*) FROM es_read_all('{}', NULL)) FROM es_export('{}', es_head())}), "0\n0\nt", 'from a vector to another');
is($refused->(q{SELECT es_import('[{"stream": "w-1", "version": 9, "id": "00000000-0000-4000-8000-0000000000ff", "type": "x", "recorded_at": "2030-01-01"}]')}), 'SE001', 'what does not fit is refused');
is($refused->("SELECT es_import($_)"), '22023', "so is $_") for q{'{}'}, q{'[1]'}, q{'[{}]'}, q{'[{"stream": 5}]'};
is($refused->('SELECT es_import(NULL::jsonb)'), '22004', 'so is null');
is($router->(q{SELECT es_import('[]')}), 0, 'nothing is nothing');
is($refused->(q{BEGIN; SELECT es_import('[]')}), '25001', 'not in a transaction block');

# Readers across streams ask in rounds; what is returned does not depend on them.
is($router->(q{SELECT count(*), count(DISTINCT id) FROM es_read_all('{}', NULL)}), $router->(q{SELECT count(*), count(*) FROM es_read_all('{}', 100000)}), 'all, without a limit');
sql($node, q{SELECT count(es_append(s, -1, 'Many', '{}')) FROM (SELECT 'm-' || n AS s FROM generate_series(1, 5000) n) a WHERE es_slot(s) < 512});
is($router->(q{WITH r AS MATERIALIZED (SELECT *, row_number() OVER () AS n FROM es_read_all('{}', NULL)),
	w AS (SELECT *, lag(position) OVER (PARTITION BY feed ORDER BY n) AS previous, lag(version) OVER (PARTITION BY stream ORDER BY n) AS before FROM r)
	SELECT count(*) FILTER (WHERE previous >= position), count(*) FILTER (WHERE version <> coalesce(before, 0) + 1), count(*) FILTER (WHERE (after ->> feed::text)::bigint <> position) FROM w}),
	'0|0|0', 'where one cell has many more, each feed is in order, each stream in version order, and each vector is where it stands');
is($router->(q{SELECT count(*) FROM es_read_all('{}', NULL)}), sql($node, 'SELECT count(*) FROM eventstore.events') + sql($node, 'SELECT count(*) FROM eventstore.events', 'two'), 'and none is missing');
is($router->(q{SELECT count(*) FROM es_read_all('{}', 3001)}), 3001, 'a limit is kept');
is($router->(q{SELECT count(*), min(feed), max(feed) FROM es_read_all('{}', NULL, '{Many}')}), sql($node, q{SELECT count(*), 1, 1 FROM eventstore.events WHERE type = 'Many'}), 'types that one cell has');
my $steps = $router->(q{WITH RECURSIVE s AS (SELECT '{}'::jsonb AS after, 0::bigint AS count UNION ALL
	SELECT r.after, s.count + r.count FROM s CROSS JOIN LATERAL (SELECT (array_agg(a.after ORDER BY a.n DESC))[1] AS after, count(*) AS count FROM (SELECT *, row_number() OVER () AS n FROM es_read_all(s.after, 997)) a) r WHERE r.count > 0) SELECT max(count) FROM s});
is($steps, $router->(q{SELECT count(*) FROM es_read_all('{}', NULL)}), 'step by step one gets all');


# Backward
is($router->(q{SELECT count(*), count(DISTINCT id), bool_and(position < coalesce(above, position + 1)) FROM (SELECT *, lag(position) OVER (PARTITION BY feed ORDER BY n) AS above
	FROM (SELECT *, row_number() OVER () AS n FROM es_read_all('{}', NULL, NULL, true)) a) b}), $router->(q{SELECT count(*), count(*), 't' FROM es_read_all('{}', NULL)}), 'backward, all of them, each feed from its end');
is($router->(q{SELECT string_agg(position::text, ' ' ORDER BY position) FROM es_read_all('{}', 2, '{Made}', true)}),
	$router->(q{SELECT string_agg(p::text, ' ' ORDER BY p) FROM (SELECT max(position) AS p FROM es_read_all('{}', NULL, '{Made}') GROUP BY feed) a}), 'the last one of each cell comes first');
is($router->(q{WITH a AS MATERIALIZED (SELECT after, row_number() OVER () AS n FROM es_read_all('{}', 10, backward => true)) SELECT count(*) FROM a, es_read_all(a.after, NULL, backward => true) WHERE a.n = 10}) + 10,
	$router->(q{SELECT count(*) FROM es_read_all('{}', NULL)}), 'and so on from there');
is($router->(q{SELECT count(*) FROM es_read_all('{"1": 0, "2": 0}', 10, backward => true)}), 0, 'before the beginning there is nothing');
is($router->(q{SELECT string_agg(version::text, ' ') FROM es_read_category('x', '{}', 10, backward => true)}), '2 1', 'a category backward');
is($router->(q{SELECT string_agg(version::text, ' ') FROM es_read_query('[{"tags": ["t"]}]', '{}', 1, true)}), '2', 'a query backward');
# Whoever has begun at the end reads on from there, whatever comes meanwhile.
my $place = $router->(q{SELECT after FROM es_read_all('{}', 1, backward => true)});
$router->(q{SELECT es_append('b-' || n, 0, 'New', '{}') FROM generate_series(1, 20) n});
is($router->("SELECT count(*) FROM es_read_all('$place', NULL, '{New}', true)"), 0, 'what comes meanwhile is not for a reader who goes backward');

done_testing();
