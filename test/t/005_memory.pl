# The memory of a backend stays flat over 200,000 appends: to ever new streams, to one stream, with ids and retries of them, and
# failing ones.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('memory', 'autovacuum = off', 'fsync = off', 'synchronous_commit = off');

sql($node, <<'SQL');
	CREATE FUNCTION backend_memory() RETURNS bigint LANGUAGE sql AS
		'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';

	-- Appends the events numbered first to last, 500 a transaction.
	CREATE PROCEDURE append(first int, last int) LANGUAGE plpgsql AS $$
	DECLARE
		new_id uuid;
	BEGIN
		FOR i IN first .. last LOOP
			CASE i % 5
				WHEN 0 THEN PERFORM es_append('new-' || i, 0, 'Opened', '{"a": 1}');
				WHEN 1 THEN PERFORM es_append('one-1', -1, '[{"type": "A", "tags": ["x", "y"]}, {"type": "B", "metadata": {"k": "v"}}]');
				WHEN 2 THEN
					new_id := gen_random_uuid();
					PERFORM es_append('id-' || i % 100, -1, 'Given', '{}', NULL, new_id);
					PERFORM es_append('id-' || i % 100, -1, 'Given', '{}', NULL, new_id);
				WHEN 3 THEN PERFORM * FROM es_append_streams(jsonb_build_array(
					jsonb_build_object('stream', 'many-' || i % 50, 'expected_version', -1, 'events', '{"type": "A"}'::jsonb),
					jsonb_build_object('stream', 'other-' || i, 'expected_version', 0, 'events', '{"type": "A"}'::jsonb)));
				WHEN 4 THEN
					BEGIN
						PERFORM es_append('one-1', 0, 'Late', '{"a": [1, 2, 3]}');
						RAISE 'the append should have failed';
					EXCEPTION WHEN SQLSTATE 'SE001' THEN
						NULL;
					END;
			END CASE;
			IF i % 500 = 0 THEN
				COMMIT;
			END IF;
		END LOOP;
	END $$;
SQL

# One session: warm, then ten times as much.
my ($warm, $after) = split /\n/, sql($node, <<'SQL');
	CALL append(1, 20000);
	SELECT backend_memory();
	CALL append(20001, 200000);
	SELECT backend_memory();
SQL
note("$warm bytes after 20,000 appends, $after after 200,000");
cmp_ok($after - $warm, '<=', 16 * 1024, 'flat over 200,000 appends');
is_sound($node, 'afterwards');

# Within one statement, where nothing is given back before its end but what an append gives back itself.
my ($few, $many) = split /\n/, sql($node, <<'SQL');
	SELECT CASE WHEN i IN (5000, 50000) THEN backend_memory() END
	FROM (SELECT i, es_append('in-' || i, 0, 'Opened', '{"a": 1}') FROM generate_series(1, 50000) i OFFSET 0) appended
	WHERE i IN (5000, 50000);
SQL
note("$few bytes after 5,000 appends in one statement, $many after 50,000");
cmp_ok($many - $few, '<=', 64 * 1024, 'flat within one statement');

# es_verify_seals where one event in each block was redacted: of which the documents of a store are some hundred MB, and those of a block few.
my $peak = q{SELECT substring(pg_read_file('/proc/' || pg_backend_pid() || '/status') FROM 'VmHWM:\s*(\d+)')::bigint};
sql($node, <<'SQL');
	SELECT count(es_append('long-1', -1, 'Long', jsonb_build_object('text', repeat(md5(n::text), 4000)), NULL, ('f0000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid)) FROM generate_series(1, 2560) n;
	SELECT es_seal();
	SELECT count(es_redact(('f0000000-0000-4000-8000-' || lpad((n * 128)::text, 12, '0'))::uuid, 'asked for')) FROM generate_series(1, 19) n;
SQL
my ($found, $kilobytes) = split /\n/, sql($node, "SELECT count(*) FROM es_verify_seals(); $peak");
is($found, 0, 'seals are right where events were redacted');
note("$kilobytes kB at most");
cmp_ok($kilobytes, '<=', 200 * 1024, 'a block at a time');

done_testing();
