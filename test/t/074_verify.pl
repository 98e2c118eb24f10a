# es_verify and es_verify_seals find nothing on a sound store, whatever is going on beside them, and what is wrong wherever it is looked for: on a
# standby, in a snapshot, with more events than memory. es_seal does not run on a standby.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('verify', 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby_feedback = on');
sql($node, <<'SQL');
	SELECT es_create_subscription('work'), es_create_projection('counts', 'SELECT category, count(*) AS n FROM events GROUP BY category');
	SELECT es_create_projection('later', 'SELECT type, count(*) AS n FROM events GROUP BY type', 'async');
	CREATE FUNCTION is_none(rows text) RETURNS void LANGUAGE plpgsql AS 'BEGIN IF rows IS NOT NULL THEN RAISE EXCEPTION ''found: %'', rows; END IF; END';
	CREATE FUNCTION attempt(statement text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE statement;
	EXCEPTION WHEN OTHERS THEN
		IF SQLSTATE NOT IN ('SE001', 'SE003', '22004', '42704', '40001', '40P01') THEN
			RAISE;
		END IF;
	END $$;
SQL

# Appends, rolled back or not; what takes events from history and changes them; consumers, projections, seals; and who looks.
race($node, 'everything at once', 6, 150,
	<<'SQL', <<'SQL', <<'SQL', <<'SQL', <<'SQL', <<'SQL', <<'SQL', <<'SQL');
\set s random(1, 12)
SELECT es_append('a-:s', -1, jsonb_agg(jsonb_build_object('type', 'T', 'tags', jsonb_build_array('t' || n, 'u')))) FROM generate_series(1, 3) n;
SQL
\set s random(1, 12)
SELECT es_append('b-:s', -1, 'T', '{"n": 1}', tags => '{v}');
SQL
\set s random(1, 12)
BEGIN;
SELECT es_append('a-:s', -1, 'T', '{}');
SAVEPOINT s;
SELECT es_append('c-:s', -1, 'T', '{}');
ROLLBACK TO s;
SELECT es_append('b-:s', -1, 'T', '{}');
ROLLBACK;
SQL
\set s random(1, 12)
\set n random(1, 30)
SELECT attempt('SELECT es_truncate_stream(''a-:s'', :n)');
SELECT attempt('SELECT es_redact((SELECT id FROM eventstore.events ORDER BY random() LIMIT 1), ''why'')');
SELECT attempt('SELECT es_delete_stream(''b-:s'', -1)') WHERE :n = 1;
SQL
SELECT attempt('SELECT es_seal()');
SQL
SELECT count(es_ack('work', token, position)) FROM (SELECT * FROM es_fetch('work', 'c:client_id', 20) ORDER BY position DESC LIMIT 1) e;
SELECT attempt('SELECT es_run_projection(''later'')');
SQL
SELECT is_none(string_agg(v::text, ' ')) FROM es_verify() v;
SELECT is_none(string_agg(v::text, ' ')) FROM es_verify_seals() v;
SQL
BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SELECT count(*) FROM eventstore.events;
SELECT is_none(string_agg(v::text, ' ')) FROM es_verify() v;
SELECT is_none(string_agg(v::text, ' ')) FROM es_verify_seals() v;
SELECT is_none(string_agg(v::text, ' ')) FROM es_verify() v;
COMMIT;
SQL
is_sound($node, 'after the race');
is(sql($node, 'SELECT * FROM es_verify_seals()'), '', 'and history is what was sealed');
cmp_ok(sql($node, 'SELECT max(seal) FROM eventstore.seals'), '>', 1, 'in several seals');

# What is in flight, prepared or not, does not show.
my $open = session($node);
$open->query_safe(q{BEGIN; SELECT es_append('open-1', 0, 'T', '{}'), es_append('open-2', -1, 'T', '{}')});
sql($node, q{BEGIN; SELECT es_append('prepared-1', 0, 'T', '{}'); PREPARE TRANSACTION 'p'});
sql($node, q{SELECT es_append('a-2', -1, 'T', '{}')});
is_sound($node, 'with appends in flight');
is($open->query_safe('SELECT * FROM es_verify()'), '', 'nor to who appends');
is(sql($node, q{BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT es_append('a-3', -1, 'T', '{}') > 0; SELECT * FROM es_verify(); ROLLBACK}), 't', 'nor above READ COMMITTED');
my $held = session($node);
$held->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
sql($node, q{COMMIT PREPARED 'p'});
$open->query_safe('COMMIT');
sql($node, q{SELECT es_delete_stream('a-1', -1), es_append('a-2', -1, 'T', '{}')});
is($held->query_safe('SELECT * FROM es_verify(); SELECT * FROM es_verify_seals()'), '', 'a snapshot that is held is sound');
$_->quit for $open, $held;

# More than memory holds.
sql($node, q{SELECT count(es_append('m-' || n % 97, -1, 'T', jsonb_build_object('n', n))) FROM generate_series(1, 15000) n; SELECT es_seal()});
is(sql($node, q{SET maintenance_work_mem = '1MB'; SET log_temp_files = 0; SELECT * FROM es_verify()}), '', 'sorted on disk');
like(slurp_file($node->logfile), qr/temporary file/, 'it was');

# A standby: the same answers there.
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $replayed = sub { $node->wait_for_catchup($standby, 'replay', $node->lsn('insert')) };
is_sound($standby, 'a standby');
is(sql($standby, 'SELECT * FROM es_verify_seals()'), '', 'a standby: history is what was sealed');
is(sqlstate($standby, 'SELECT es_seal()'), '25006', 'a standby seals nothing');
sql($node, q{SELECT es_append('a-2', -1, 'T', '{}'), es_seal()});
sql($node, q{SELECT count(es_ack('work', token, position)) FROM (SELECT * FROM es_fetch('work', 'x', 20) ORDER BY position DESC LIMIT 1) e});
$replayed->();
is_sound($standby, 'a standby that has followed');
sql($node, q{ALTER TABLE eventstore.events DISABLE TRIGGER ALL; UPDATE eventstore.events SET category = 'z', data = '{"n": 0}' WHERE stream = 'm-1' AND version = 7});
$replayed->();
is(sql($standby, 'SELECT * FROM es_verify()'), 'category|m-1|version 7 is in category "z"', 'a standby finds what is wrong');
like(sql($standby, 'SELECT * FROM es_verify_seals()'), qr/^\d+\|the event at position \d+ is in another category than its stream\n\d+\|the event at position \d+ was changed$/, 'and what was changed');
$standby->stop;
$node->stop;
done_testing();
