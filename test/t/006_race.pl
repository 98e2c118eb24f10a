# Races of 8 and 16 clients: "any" never fails, an exact version has one winner, batches in opposite orders do not deadlock, snapshots
# raise 40001 and nothing else, savepoints take back what they should.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('race', 'fsync = off', 'deadlock_timeout = 50ms', 'max_connections = 50');
my $count = sub { sql($node, "SELECT count(*) FROM eventstore.events WHERE category = '$_[0]'") };

sql($node, <<'SQL');
	-- Which client won which version, written in the transaction that won it.
	CREATE TABLE wins (stream text, version bigint, client int, UNIQUE (stream, version));
	CREATE TABLE conflicts (detail text);

	CREATE FUNCTION try_append(stream text, expected bigint, client int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		detail text;
	BEGIN
		INSERT INTO wins VALUES (stream, es_append(stream, expected, 'Won', jsonb_build_object('client', client)), client);
	EXCEPTION WHEN SQLSTATE 'SE001' THEN
		GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
		INSERT INTO conflicts VALUES (detail);
	END $$;
SQL

for my $clients (8, 16)
{
	# Each transaction is the first of a stream that the others reach at about the same time.
	race($node, 'any, new streams', $clients, 300, <<"SQL");
		\\set n :n + 1
		SELECT es_append('new$clients-' || :n, -1, 'Opened', '{}');
SQL
	is($count->("new$clients"), $clients * 300, "any, new streams, $clients clients: every append is there");
	is(sql($node, "SELECT count(*) FROM eventstore.streams WHERE stream LIKE 'new$clients-%' AND version = $clients"),
		300, "any, new streams, $clients clients: each version once");

	race($node, 'any, one stream', $clients, 300, "SELECT es_append('any$clients-1', es_any(), 'Counted', '{}');");
	is(sql($node, "SELECT es_stream_version('any$clients-1')"), $clients * 300, "any, one stream, $clients clients: every append is there");

	race($node, 'exact version', $clients, 300, <<"SQL");
		\\set n :n + 1
		SELECT try_append('exact$clients-' || :n / 10, :n % 10, :client_id);
SQL
	race($node, 'exact version as read', $clients, 300, <<"SQL");
		SELECT es_stream_version('read$clients-1') AS version \\gset
		SELECT try_append('read$clients-1', :version, :client_id);
SQL
	is(sql($node, <<"SQL"), '0|t', "exact version, $clients clients: one winner a version, which is the one that stands there");
		SELECT count(*) FILTER (WHERE w.client IS DISTINCT FROM (e.data->>'client')::int), count(*) > 300
		FROM wins w FULL JOIN (SELECT * FROM eventstore.events WHERE category IN ('exact$clients', 'read$clients')) e USING (stream, version)
SQL
	is(sql($node, 'SELECT count(*) FROM wins') + sql($node, 'SELECT count(*) FROM conflicts'),
		$clients * 600, "exact version, $clients clients: all others were told");
	is(sql($node, q{SELECT count(*) FROM conflicts WHERE detail !~ '^Stream ".*" is at version \d+, expected \d+\.$'}), 0, 'in so many words');
	cmp_ok(sql($node, 'SELECT count(*) FROM conflicts'), '>', 0, 'there were conflicts');
	sql($node, 'TRUNCATE wins, conflicts');

	# Several streams at once, in any order, against appends to one of them.
	my $batch = sub {
		join ', ', map { qq{jsonb_build_object('stream', 'batch$clients-' || $_, 'expected_version', -1, 'events', '{"type": "A"}'::jsonb)} } @_;
	};
	race($node, 'batches in any order', $clients, 300,
		"SELECT * FROM es_append_streams(jsonb_build_array(@{[$batch->(1, 2, 3)]}));",
		"SELECT * FROM es_append_streams(jsonb_build_array(@{[$batch->(3, 2, 1)]}));",
		"SELECT * FROM es_append_streams(jsonb_build_array(@{[$batch->(2, 4, 1)]}));",
		"\\set n :n + 1\nSELECT * FROM es_append_streams(jsonb_build_array(@{[$batch->(q{'new' || :n}, 3, q{:n})]}));",
		"SELECT es_append('batch$clients-2', -1, 'A', '{}');");
	is_sound($node, "batches, $clients clients");

	# Exact retries that race their original: all get its answer, and it is stored once.
	race($node, 'exact retries', $clients, 200, <<"SQL");
		\\set n :n + 1
		SELECT 1 / (es_append('retry$clients-' || :n, 0, ARRAY['A', 'B'], ARRAY['1', '2']::jsonb[], NULL, ARRAY[md5('a$clients' || :n), md5('b$clients' || :n)]::uuid[]) = 2)::int;
SQL
	my $entry = sub {
		my ($stream) = @_;
		return join ', ', "jsonb_build_object('stream', 'retries$clients-$stream' || :n, 'expected_version', 0, 'events', jsonb_build_array("
		  . "jsonb_build_object('type', 'A', 'id', md5('a$stream$clients' || :n)::uuid), jsonb_build_object('type', 'B', 'id', md5('b$stream$clients' || :n)::uuid)))";
	};
	race($node, 'exact retries of batches', $clients, 200,
		map { "\\set n :n + 1\nSELECT 1 / (count(*) = 2 AND sum(version) = 4)::int FROM es_append_streams(jsonb_build_array(@{[$entry->($_->[0])]}, @{[$entry->($_->[1])]}));" } [ 'x', 'y' ], [ 'y', 'x' ]);
	for my $category ("retry$clients", "retries$clients")
	{
		is(sql($node, "SELECT count(*) FROM (SELECT stream FROM eventstore.events WHERE category = '$category' GROUP BY stream HAVING count(*) <> 2 OR max(version) <> 2) s"),
			0, "$category: each once");
		cmp_ok($count->($category), '>=', 400, "$category: and all of them");
	}

	# Snapshots: 40001 is what pgbench counts as a failure that may be tried again; anything else would end its client.
	for my $isolation ('REPEATABLE READ', 'SERIALIZABLE')
	{
		my $category = lc(substr $isolation, 0, 3) . $clients;
		my $out = race($node, $isolation, $clients, 200, <<"SQL");
			BEGIN ISOLATION LEVEL $isolation;
			SELECT es_stream_version('$category-1') AS version \\gset
			SELECT es_append('$category-1', :version, 'A', '{}');
			SELECT es_append('$category-' || :client_id, -1, 'A', '{}');
			SELECT * FROM es_append_streams(jsonb_build_array(
				jsonb_build_object('stream', '$category-x', 'expected_version', -1, 'events', '{"type": "A"}'::jsonb),
				jsonb_build_object('stream', '$category-' || (1 + :client_id), 'expected_version', -1, 'events', '{"type": "A"}'::jsonb)));
			COMMIT;
SQL
		my ($done) = $out =~ /transactions actually processed: (\d+)/;
		my ($retries) = $out =~ /serialization failures: (\d+)/;
		is($count->($category), $done * 4, "$isolation, $clients clients: $done transactions are there");
		cmp_ok($retries, '>', 0, "$isolation, $clients clients: $retries met 40001");
		is($done + $retries, $clients * 200, "$isolation, $clients clients: and nothing else");
	}

	race($node, 'savepoints', $clients, 200, <<"SQL", <<"SQL");
		BEGIN;
		SELECT es_append('save$clients-1', -1, 'Kept', '{}');
		SAVEPOINT a;
		SELECT es_append('save$clients-1', -1, 'Lost', '{}');
		SELECT es_append('save$clients-' || (100 + random() * 50)::int, -1, 'Lost', '{}');
		SAVEPOINT b;
		SELECT es_append('save$clients-1', -1, 'Lost', '{}');
		RELEASE b;
		ROLLBACK TO a;
		SELECT es_append('save$clients-1', -1, 'Kept', '{}');
		COMMIT;
SQL
		BEGIN;
		SELECT es_append('save$clients-1', -1, 'Lost', '{}');
		SELECT es_append('save$clients-' || (100 + random() * 50)::int, -1, 'Lost', '{}');
		ROLLBACK;
SQL
	is(sql($node, "SELECT count(*) FROM eventstore.events WHERE category = 'save$clients' AND type = 'Lost'"), 0, "savepoints, $clients clients: what was taken back is gone");
	is_sound($node, "$clients clients");
}

# New streams and ids while the indexes that tell them from old ones are built anew.
my $reindex = PostgreSQL::Test::Utils::tempdir() . '/reindex.sql';
PostgreSQL::Test::Utils::append_to_file($reindex, <<'SQL' x 10);
	REINDEX INDEX CONCURRENTLY eventstore.streams_pkey;
	SELECT format('REINDEX INDEX CONCURRENTLY %s', indexrelid::regclass) FROM pg_index
	WHERE indrelid = (SELECT tableoid FROM eventstore.events ORDER BY position DESC LIMIT 1) AND pg_get_indexdef(indexrelid) LIKE '%(id)' \gexec
SQL
my ($out, $err) = ('', '');
my $reindexing = IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', $reindex ], '>', \$out, '2>', \$err);
my $runs = 0;
while ($reindexing->pumpable && $runs < 50)
{
	$runs++;
	race($node, "reindexing, run $runs", 8, 100, <<"SQL");
		\\set n :n + 1
		SELECT es_append('reindex-$runs-' || :n, es_any(), 'A', '{}', NULL, gen_random_uuid());
		SELECT es_append('reindex-$runs-own-' || :client_id || '-' || :n, es_any(), 'A', '{}', NULL, gen_random_uuid());
SQL
	$reindexing->pump_nb;
}
ok($reindexing->finish, 'reindexing: goes on meanwhile') or diag($err);
is($count->('reindex'), $runs * 1600, 'reindexing: every append is there');
is(sql($node, 'SELECT count(*) FROM pg_index WHERE NOT indisvalid'), 0, 'reindexing: and no index is left over');
is_sound($node, 'reindexing');

done_testing();
