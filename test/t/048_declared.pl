# Declared tables with nullable keys, sets of values and looked-up tables: where all tables are published, appends go on; and a dump, restored
# into another database, goes on where the first one was.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('declared', 'wal_level = logical');
sql($node, <<'SQL');
	CREATE TABLE customer (id text PRIMARY KEY, country text);
	INSERT INTO customer VALUES ('c1', 'DE'), ('c2', NULL);
	SELECT es_create_projection('groups', 'SELECT data->>''k'' AS k, count(*) AS n, avg((data->>''n'')::int) AS mean, count(DISTINCT stream) AS streams FROM events GROUP BY 1');
	SELECT es_create_projection('countries', 'SELECT c.country, count(*) AS n, es_last(e.stream, (data->>''at'')::date) AS last, array_agg(e.version ORDER BY position) AS versions FROM events e LEFT JOIN customer c ON c.id = data->>''c'' GROUP BY 1', lookups => '{customer}');
	CREATE PUBLICATION everything FOR ALL TABLES WITH (publish_via_partition_root = true);
SQL
my $append = q{SELECT es_append('a-' || i % 3, -1, 'A', jsonb_strip_nulls(jsonb_build_object('k', nullif(i % 4, 0)::text, 'c', 'c' || i % 4, 'n', i, 'at', '2024-01-0' || 1 + i % 2))) FROM generate_series(1, 20) i};
is(sqlstate($node, $append), '', 'published: rows are updated');
my $differences = q{SELECT name, v FROM eventstore.projections, es_verify_projection(name) v};
is(sql($node, $differences), '', 'and are right');
is(sql($node, q{SELECT es_rebuild_projection('groups')}), 20, 'and can be rebuilt');

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'dumped');
sql($node, 'CREATE DATABASE other');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('other') ], 'restored');
my $tables = q{SELECT 'g', k, n, mean, streams, NULL FROM groups UNION ALL SELECT 'c', country, n, NULL, NULL, last FROM countries ORDER BY 1, 2};
is(sql($node, $tables, 'other'), sql($node, $tables), 'the same tables');
is(sql($node, $differences, 'other'), '', 'which are right');
is(sqlstate($node, "$append; $append", 'other'), '', 'appends go on');
is(sql($node, $differences, 'other'), '', 'and the tables with them');
is(sql($node, q{SELECT count(*), sum(n) FROM groups}, 'other'), '4|60', 'a group for null, as before');
is(sql($node, q{SELECT es_rebuild_projection(name) FROM eventstore.projections ORDER BY name}, 'other'), "60\n60", 'rebuilt');
is(sql($node, $differences, 'other'), '', 'right');
sql($node, q{SELECT es_drop_projection(name, true) FROM eventstore.projections}, 'other');
is(sql($node, q{SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1}, 'other'), 'customer', 'dropped with all that was beside them');

done_testing();
