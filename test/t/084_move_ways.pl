# Export and import, by whom and from where: roles, bound and not; row security; a standby; through projections and subscriptions with the worker; and their
# memory, which stays flat.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('primary', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'postgres, other'", 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby_feedback = on');
sql($node, q{SELECT count(es_append('order-{t' || i % 3 || '}-' || i % 50, -1, 'Placed', jsonb_build_object('i', i))), count(es_append('plain-' || i % 7, -1, 'Noted', '{}')) FROM generate_series(1, 600) i});

# ---- Who may
sql($node, <<'SQL');
	CREATE ROLE reader; CREATE ROLE appender; CREATE ROLE administrator; CREATE ROLE nobody; CREATE ROLE by_category; CREATE ROLE by_tenant; CREATE ROLE by_append;
	SELECT es_grant('reader', 'read'), es_grant('appender', 'append'), es_grant('administrator', 'admin'), es_grant('by_category', 'read', 'plain'), es_grant('by_tenant', 'read', 'order', 't1'), es_grant('by_append', 'append', 'order', 't1');
SQL
my $line = q{'[{"stream": "made-1", "version": 1, "id": "00000000-0000-4000-8000-000000000001", "type": "Made", "recorded_at": "2020-01-01T00:00:00Z"}]'};
for my $role (qw(nobody reader appender by_category by_tenant by_append))
{
	is(sqlstate($node, "SET ROLE $role; SELECT es_import($line)"), '42501', "$role may not import");
	is(sqlstate($node, "SET ROLE $role; SELECT es_import('[]')"), '42501', "$role may not even try");
}
is(sqlstate($node, "SET ROLE $_; SELECT count(*) FROM es_export()"), '42501', "$_ may not export") for qw(nobody appender by_append);
is(sql($node, 'SET ROLE reader; SELECT count(*) FROM es_export()'), 1200, 'a reader exports all');
is(sql($node, 'SET ROLE administrator; SELECT count(*) FROM es_export()'), 1200, 'so does an admin');
is(sql($node, q{SET ROLE by_category; SELECT count(*), count(*) FILTER (WHERE e->>'stream' ~ '^plain-') FROM es_export() e}), '600|600', 'who is bound to a category, that');
is(sql($node, q{SET ROLE by_tenant; SELECT count(*), count(*) FILTER (WHERE e->>'stream' ~ '^order-\{t1\}') FROM es_export() e}), '200|200', 'or to a tenant');
is(sql($node, q{SET ROLE by_tenant; SELECT (SELECT count(*) FROM es_export(category => 'plain')), (SELECT count(*) FROM es_export(tenant => 't2')), (SELECT count(*) FROM es_export(tenant => 't1'))}), '0|0|200', 'whatever it asks for');
is(sql($node, "SET ROLE administrator; SELECT es_import($line)"), 1, 'an admin imports');
is(sql($node, "SET ROLE administrator; SELECT es_import($line)"), 0, 'once');
is(sqlstate($node, q{SET ROLE administrator; SELECT es_import(jsonb_set(} . $line . q{, '{0,type}', '"Other"'))}), 'SE002', 'without rights on tables what is stored is compared');
is(sql($node, q{SET ROLE administrator; SELECT es_redact('00000000-0000-4000-8000-000000000001', 'test'), es_import(} . $line . ')'), '|0', 'and what was redacted');
is(sqlstate($node, "SET ROLE administrator; SELECT es_import('[{\"stream\": \"made-1\", \"version\": 3, \"id\": \"00000000-0000-4000-8000-000000000003\", \"type\": \"Made\", \"recorded_at\": \"2020-01-01T00:00:00Z\"}]')"), 'SE001', 'a gap');
sql($node, q{CREATE POLICY odd ON eventstore.events AS RESTRICTIVE FOR SELECT TO reader USING (version % 2 = 1)});
is(sql($node, q{SET ROLE reader; SELECT count(*) FILTER (WHERE (e->>'version')::int % 2 = 0), count(*) = (SELECT count(*) FROM eventstore.events) FROM es_export() e}), '0|t', 'a policy hides what it hides from a SELECT');
is(sqlstate($node, q{SET row_security = off; SET ROLE reader; SELECT count(*) FROM es_export()}), '42501', 'row security can not be switched off');
sql($node, 'DROP POLICY odd ON eventstore.events');

# ---- From a standby
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $all = 'SELECT count(*), md5(string_agg(e::text, chr(10))) FROM es_export() e';
my $here = sql($node, $all);
becomes($standby, 'SELECT es_head()', sql($node, 'SELECT es_head()'), 'the head gets to a standby');
is(sql($standby, $all), $here, 'and what it exports is the same');
is(sql($standby, q{SET ROLE by_tenant; SELECT count(*) FROM es_export()}), 200, 'for who is bound, too');
is(sqlstate($standby, "SELECT es_import($line)"), '25006', 'nothing is imported there');
my $open = session($node);
$open->query_safe(q{BEGIN; SELECT es_append('open-1', 0, 'Open', '{}')});
sql($node, q{SELECT es_append('behind-1', 0, 'Behind', '{}')});
is(sql($node, $all), $here, 'nothing beyond an open append');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(sql($standby, $all), $here, 'on the standby neither');
$open->query_safe('COMMIT');
$open->quit;
$standby->stop;

# ---- Through what is there already
sql($node, 'CREATE DATABASE other');
sql($node, <<'SQL', 'other');
	CREATE EXTENSION eventstore;
	CREATE TABLE lines (line bigint, event jsonb);
	SELECT es_create_projection('now', $$SELECT stream, count(*) AS events, max(recorded_at) AS last FROM events GROUP BY stream$$);
	SELECT es_create_projection('soon', $$SELECT category, count(*) AS events, array_agg(version ORDER BY position) AS versions FROM events GROUP BY category$$, mode => 'async');
	SELECT es_create_subscription('all', partitions => 4);
SQL
my $folder = PostgreSQL::Test::Utils::tempdir();
sql($node, qq{COPY (SELECT row_number() OVER (), e FROM es_export() e) TO '$folder/lines'});
sql($node, qq{COPY lines FROM '$folder/lines'}, 'other');
is(sql($node, 'SELECT es_import((SELECT jsonb_agg(event ORDER BY line) FROM lines WHERE line <= 700))', 'other'), 700, 'a part is imported');
is(sql($node, 'SELECT sum(events) FROM now', 'other'), 700, 'an inline projection has it');
becomes($node, 'SELECT sum(events) FROM soon', 700, 'an async one soon', 'other');
is(sql($node, 'SELECT es_import((SELECT jsonb_agg(event ORDER BY line) FROM lines))', 'other'), 503, 'the rest');
becomes($node, 'SELECT sum(events) FROM soon', 1203, 'follows', 'other');
is(sql($node, q{SELECT count(*) FROM (SELECT * FROM es_verify_projection('now') UNION ALL SELECT * FROM es_verify_projection('soon')) d}, 'other'), 0, 'both are right');
is(sql($node, q{SELECT count(*), bool_and(position > before) IS NOT FALSE FROM (SELECT position, lag(position) OVER (PARTITION BY stream ORDER BY version) AS before FROM es_fetch('all', 'c', 10000)) f}, 'other'), '1203|t', 'a subscription delivers all, in order');
is(sql($node, 'SELECT * FROM es_verify()', 'other'), '', 'the store is sound');
sql($node, 'SELECT es_drop_projection(n, true) FROM unnest(ARRAY[\'now\', \'soon\']) n; SELECT es_drop_subscription(\'all\')', 'other');

# ---- Memory: of an export that is read on, and of import after import
sql($node, <<'SQL', 'other');
	CREATE FUNCTION backend_memory() RETURNS bigint LANGUAGE sql AS 'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';
	CREATE FUNCTION lines(first int, last int) RETURNS jsonb LANGUAGE sql AS $$
		SELECT jsonb_agg(jsonb_build_object('stream', 'flat-' || i % 100, 'version', i / 100, 'id', md5(i::text)::uuid, 'type', 'T', 'data', jsonb_build_object('i', i, 'text', repeat('x', 100)), 'recorded_at', '2020-01-01T00:00:00Z') ORDER BY i)
		FROM generate_series(first, last) i
	$$;
	-- From version 1 of each stream on: 500 lines a transaction, and the ones before once more
	CREATE PROCEDURE import(first int, last int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN first .. last BY 500 LOOP
			PERFORM es_import(lines(greatest(i - 100, 100), i + 499));
			COMMIT;
			BEGIN
				PERFORM es_import(lines(i + 10000, i + 10010));
				RAISE 'the import should have failed';
			EXCEPTION WHEN SQLSTATE 'SE001' THEN
				NULL;
			END;
		END LOOP;
	END $$;
SQL
my ($warm, $after) = split /\n/, sql($node, 'CALL import(100, 5000); SELECT backend_memory(); CALL import(5100, 60000); SELECT backend_memory()', 'other');
note("$warm bytes after 5,000 imported events, $after after 60,000");
cmp_ok($after - $warm, '<=', 16 * 1024, 'import after import: flat');
my ($few, $many) = split /\n/, sql($node, q{BEGIN; DECLARE c CURSOR FOR SELECT es_export(); MOVE 2500 IN c; SELECT backend_memory(); MOVE 50000 IN c; SELECT backend_memory(); COMMIT}, 'other');
note("$few bytes after 2,500 exported events, $many after 52,500");
cmp_ok($many - $few, '<=', 64 * 1024, 'a long export: flat');
# Events of a megabyte: a portion has few of them.
sql($node, q{SELECT count(es_append('big-1', -1, 'Big', to_jsonb(repeat(md5(i::text), 32768)))) FROM generate_series(1, 40) i}, 'other');
($few, $many) = split /\n/, sql($node, q{BEGIN; DECLARE c CURSOR FOR SELECT es_export(category => 'big'); FETCH 0 FROM c; SELECT backend_memory(); MOVE 30 IN c; SELECT backend_memory(); COMMIT}, 'other');
note("$few bytes before, $many after events of a megabyte each");
cmp_ok($many - $few, '<=', 8 * 1024 * 1024, 'of large events, too');
is(sql($node, 'SELECT * FROM es_verify()', 'other'), '', 'the store is sound');
done_testing();
