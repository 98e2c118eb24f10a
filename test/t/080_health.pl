# eventstore.health: each state that it warns of is brought about and told by its row, who is at it and what to do included; and it goes away
# with what it was about. eventstore.stats counts what was committed, and what was refused.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my @wal = ('wal_level = replica', 'max_wal_senders = 5');
my $plain = new_node('plain', @wal, 'autovacuum = off');
my $node = new_node('health', @wal, "shared_preload_libraries = 'eventstore'", 'max_logical_replication_workers = 0', 'max_worker_processes = 8');
my $append = sub { "SELECT es_append('$_[0]', -1, '" . ($_[1] // 'T') . "', '{}')" };

# What the views tell of one check. Settings by statements before.
sub status
{
	my ($server, $check, $settings) = @_;
	return sql($server, ($settings // '') . "; SELECT status FROM eventstore.health WHERE name = '$check'");
}
sub detail
{
	my ($server, $check, $settings) = @_;
	return sql($server, ($settings // '') . "; SELECT detail FROM eventstore.health WHERE name = '$check'");
}
# Tests that a check comes to a status, and that its detail says so.
sub comes_to
{
	my ($server, $check, $status, $pattern, $name, $settings) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	becomes($server, ($settings // '') . "; SELECT status FROM eventstore.health WHERE name = '$check'", $status, "$name: $check is $status");
	return like(detail($server, $check, $settings), $pattern, "$name: $check says so");
}
# From a second on, a measure of seconds is critical.
my $soon_critical = sub { "SET eventstore.health_$_[0]_warning = -1; SET eventstore.health_$_[0]_critical = 1" };

# All is well, by the same checks everywhere, also for who may read and nothing else.
my @checks = qw(freeze head notify parked projections_behind projections_failed replication retention runners seals sequence size slots subscriptions_behind vacuum worker);
for my $server ($plain, $node)
{
	sql($server, q{CREATE ROLE reads; CREATE ROLE bound; CREATE ROLE appends; SELECT es_grant('reads', 'read'), es_grant('bound', 'read', 'mine'), es_grant('appends', 'append')});
	becomes($server, q{SELECT count(*) FROM eventstore.health WHERE status <> 'ok'}, 0, 'all is well');
	for my $role (qw(postgres reads))
	{
		is(sql($server, "SET ROLE $role; SELECT string_agg(name, ' ' ORDER BY name) FROM eventstore.health WHERE status = 'ok'"), "@checks", "$role: every check");
		is(sql($server, "SET ROLE $role; SELECT count(*) FROM eventstore.health WHERE detail IS NULL OR detail !~ '[.]\$'"), 0, "$role: each says something");
		is(sql($server, "SET ROLE $role; SELECT head, head_lag_seconds, head_lag_positions, waiters FROM eventstore.stats"), '0|0|0|0', "$role: statistics");
	}
	is(sqlstate($server, "SET ROLE $_; SELECT * FROM eventstore.health"), '42501', "$_ may not ask") for qw(bound appends);
	is(sqlstate($server, q{SET ROLE reads; SELECT eventstore.health_level('nothing', 1)}), '22023', 'there is no such measure');
	is(sqlstate($server, "SET ROLE $_; SELECT * FROM eventstore.stats"), '42501', "$_ may not ask for statistics") for qw(bound appends);
	is(sqlstate($server, "SET ROLE reads; SELECT * FROM eventstore.$_"), '42501', "nor readers for $_") for qw(tally_state retention seals);
}
is(sql($node, q{SELECT count(*), count(*) FILTER (WHERE name ~ '_warning$'), count(*) FILTER (WHERE context <> 'user') FROM pg_settings WHERE name ~ '^eventstore.health_'}), '24|12|0', 'each measure has two settings');
like(detail($plain, 'worker'), qr/^This database has no worker: the library is not in shared_preload_libraries\.$/, 'a store without a worker is well if there is nothing to do for one');

# Held back by an open append, by a prepared one, by several.
my $importer = session($node);
$importer->query_safe(q{SET application_name = 'importer'; BEGIN; } . $append->('held-1'));
my $pid = $importer->query_safe('SELECT pg_backend_pid()');
sql($node, $append->('held-2'));
my $late = $soon_critical->('head_lag');
comes_to($node, 'head', 'critical', qr/held back at 0 by process $pid \(importer\), idle in transaction, which has an append open\. .*pg_terminate_backend\($pid\)/, 'an open append', $late);
is(status($node, 'head'), 'ok', 'but not by the defaults, for a moment');
like(detail($node, 'head', "$late; SET ROLE reads"), qr/by process $pid \(importer\), which/, 'who may not see what the session does is told its application_name, as pg_stat_activity does');
is(sql($node, 'SELECT head_lag_seconds > 0, head_lag_positions, head FROM eventstore.stats'), 't|2|0', 'statistics tell of it');
is(sql($node, q{SELECT since < clock_timestamp() AND abs(extract(epoch FROM clock_timestamp() - since) - value) < 1 FROM eventstore.health WHERE name = 'head'}), 't', 'since');
$importer->query_safe("PREPARE TRANSACTION 'forgotten'");
comes_to($node, 'head', 'critical', qr/by prepared transaction 'forgotten', which has an append open\. .*ROLLBACK PREPARED/, 'a prepared one', $late);
sql($node, "COMMIT PREPARED 'forgotten'");
$importer->quit;
comes_to($node, 'head', 'ok', qr/^The head is at 2, and nothing holds it back\.$/, 'it is over', $late);

# Counted: what is committed, by whatever way; what is refused; who waits.
my $counts = 'SELECT appends, events, conflicts, retries FROM eventstore.stats';
is(sql($node, 'SELECT appends IS NULL AND events IS NULL AND conflicts IS NULL AND retries IS NULL AND since IS NULL AND head = 0 FROM eventstore.stats'), 'f', 'counted where the library is preloaded');
is(sql($plain, 'SELECT appends IS NULL AND events IS NULL AND conflicts IS NULL AND retries IS NULL AND since IS NULL AND head = 0 FROM eventstore.stats'), 't', 'and elsewhere said that it is not');
is(sql($node, 'SELECT since >= pg_postmaster_start_time() AND since < now() FROM eventstore.stats'), 't', 'since the server, or the store, has begun');
is(sql($node, $counts), '1|1|0|0', 'what a prepared transaction has appended is not counted');
sql($node, q{SELECT es_append('c-1', 0, '[{"type": "A"}, {"type": "B"}]'); SELECT es_append_streams('[{"stream": "c-2", "expected_version": 0, "events": [{"type": "A"}]}, {"stream": "c-3", "expected_version": 0, "events": [{"type": "A"}]}]')});
is(sql($node, $counts), '4|5|0|0', 'appends, and entries of es_append_streams');
sql($node, qq{BEGIN; @{[$append->('c-1')]}; SAVEPOINT a; @{[$append->('c-1')]}; SAVEPOINT b; @{[$append->('c-1')]}; RELEASE b; ROLLBACK TO a; SAVEPOINT c; @{[$append->('c-1')]}; RELEASE c; COMMIT; BEGIN; @{[$append->('c-1')]}; ROLLBACK});
is(sql($node, $counts), '6|7|0|0', 'what is rolled back is not counted, nor what a savepoint takes back');
sqlstate($node, q{SELECT es_append('c-1', 0, 'A', '{}')});
sqlstate($node, q{SELECT es_append_if('c-1', '{"type": "A"}', '[{"types": ["A"]}]')});
sqlstate($node, q{SELECT es_assert_version('c-1', 77)});
is(sql($node, $counts), '6|7|3|0', 'conflicts');
sql($node, q{SELECT es_append('c-4', 0, 'A', '{}', NULL, '11111111-0000-7000-8000-000000000001') FROM generate_series(1, 3)});
is(sql($node, $counts), '7|8|3|2', 'exact retries');
my $waiter = session($node);
send_query($waiter, q{SELECT es_wait(es_head(), '1 min')});
becomes($node, 'SELECT waiters FROM eventstore.stats', 1, 'who waits');
sql($node, $append->('c-1'));
$waiter->query('');
$waiter->quit;
sql($node, 'CREATE DATABASE other');
sql($node, "CREATE EXTENSION eventstore; @{[$append->('a-1')]}", 'other');
is(sql($node, $counts, 'other'), '1|1|0|0', 'each store for itself');
sql($node, 'DROP EXTENSION eventstore; CREATE EXTENSION eventstore', 'other');
is(sql($node, $counts, 'other'), '0|0|0|0', 'one that is made anew begins at nothing');

# Projections: failed, inline and async; behind.
sql($node, q{CREATE TABLE broken (n int); SELECT es_create_projection('broken', 'INSERT INTO broken SELECT 1 / (version - 1) FROM events', 'async', '{bad}', tables => '{broken}', on_error => 'stop')});
sql($node, $append->('bad-1'));
comes_to($node, 'projections_failed', 'critical', qr/Projection "broken" has stopped before position \d+: division by zero \(22012\)\..*es_skip_event/, 'an async projection');
is(sql($node, q{SELECT value, since IS NOT NULL FROM eventstore.health WHERE name = 'projections_failed'}), '1|t', 'how many, since when');
is(status($node, 'projections_behind', $soon_critical->('projection_lag')), 'ok', 'one that has failed is not called behind');
sql($node, q{CREATE TABLE inl (n int); SELECT es_create_projection('inl', 'INSERT INTO inl SELECT 1 / (version - 1) FROM events', 'inline', '{bad}', tables => '{inl}', on_error => 'stop')});
sql($node, $append->('bad-2'));
comes_to($node, 'projections_failed', 'critical', qr/Projection "inl" has stopped/, 'an inline one');
sql($node, q{SELECT es_drop_projection('broken', true), es_drop_projection('inl', true)});
comes_to($node, 'projections_failed', 'ok', qr/^No projection has failed\.$/, 'gone');
sql($plain, q{SELECT es_create_projection('slow', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async', '{slow}')});
sql($plain, $append->('other-1'));
is(sql($plain, q{SELECT status, value FROM eventstore.health WHERE name = 'projections_behind'}), 'ok|0', 'events that it does not care for');
sql($plain, $append->('slow-1'));
comes_to($plain, 'projections_behind', 'critical', qr/Projection "slow" was not applied to the event at position 2, of \d+ s ago: no worker in this database/, 'nobody applies it', $soon_critical->('projection_lag'));
comes_to($plain, 'worker', 'warning', qr/has no worker: .* Nobody does by himself what is to be done here: 1 async projections\.$/, 'there is work for one');
sql($plain, q{SELECT es_run_projection('slow')});
comes_to($plain, 'projections_behind', 'ok', qr/^Every running async projection/, 'applied', $soon_critical->('projection_lag'));
sql($plain, q{SELECT es_drop_projection('slow', true)});
is(status($plain, 'worker'), 'ok', 'and no work for a worker any more');

# Subscriptions: nobody fetches, somebody does not acknowledge, what is not for them; retried, parked.
my $behind = $soon_critical->('subscription_lag');
sql($plain, q{SELECT es_create_subscription('mail', 'sub', partitions => 4, lease => '1 min'), es_create_subscription('rare', types => '{Rare}', partitions => 4)});
sql($plain, $append->("sub-$_")) for 1 .. 8;
comes_to($plain, 'subscriptions_behind', 'critical', qr/^Subscription "mail" has not done the event at position 3, of \d+ s ago: nobody fetches it\. See/, 'nobody fetches', $behind);
my $token = sql($plain, q{SELECT max(token) FROM es_fetch('mail', 'one', 100)});
comes_to($plain, 'subscriptions_behind', 'critical', qr/position 3, of \d+ s ago: consumer "one" is at it/, 'not acknowledged', $behind);
my $last = sql($plain, q{SELECT max(position) FROM eventstore.events});
sql($plain, qq{SELECT es_ack('mail', $token, $last)});
comes_to($plain, 'subscriptions_behind', 'ok', qr/^Every subscription has done all events\.$/, 'acknowledged', $behind);
sql($plain, q{SELECT es_append('x-1', -1, array_fill('T'::text, ARRAY[1500]), array_fill('{}'::jsonb, ARRAY[1500]))});
is(status($plain, 'subscriptions_behind', $behind), 'ok', 'many events that nobody is subscribed to');
sql($plain, $append->('x-1', 'Rare'));
comes_to($plain, 'subscriptions_behind', 'critical', qr/Subscription "rare" has not done the event at position \d+/, 'one behind them that somebody is', $behind);
sql($plain, q{SELECT es_pause_subscription('rare')});
is(status($plain, 'subscriptions_behind', $behind), 'ok', 'who is paused is not behind');
sql($plain, q{SELECT es_drop_subscription('rare')});
sql($plain, $append->('sub-1'));
my ($position, $fetched) = split /\|/, sql($plain, q{SELECT position, token FROM es_fetch('mail', 'one', 100)});
sql($plain, "SELECT es_nack('mail', $fetched, $position, 'later', 'retry', '1 hour')");
comes_to($plain, 'subscriptions_behind', 'critical', qr/the event at position $position,/, 'an event that waits for another attempt', $behind);
is(status($plain, 'parked'), 'ok', 'it is not parked');
sql($plain, q{SELECT es_reset_subscription('mail', 0)});
($position, $fetched) = split /\|/, sql($plain, q{SELECT position, token FROM es_fetch('mail', 'one', 1)});
sql($plain, "SELECT es_nack('mail', $fetched, $position, 'bad', 'park')");
comes_to($plain, 'parked', 'warning', qr/^Subscription "mail" has parked 1\..*es_replay_parked/, 'a parked event');
is(status($plain, 'parked', 'SET eventstore.health_parked_critical = 1'), 'critical', 'as the settings say');
is(sql($plain, q{SELECT value, since IS NOT NULL FROM eventstore.health WHERE name = 'parked'}), '1|t', 'how many, since when');
sql($plain, q{SELECT es_drop_parked('mail', id) FROM eventstore.parked; SELECT es_drop_subscription('mail')});
is(status($plain, 'parked'), 'ok', 'none any more');

# The sequence behind the events
$last = sql($plain, 'SELECT last_value FROM eventstore.positions');
sql($plain, q{SELECT setval('eventstore.positions', 3)});
comes_to($plain, 'sequence', 'critical', qr/Positions are behind the events .*es_repair_positions/, 'set back');
sql($plain, 'SELECT es_repair_positions()');
comes_to($plain, 'sequence', 'ok', qr/^Positions go on above all events\.$/, 'mended');

# Retention that nobody applies, by age and by number
sql($plain, q{LOAD 'eventstore'; ALTER SYSTEM SET eventstore.retention_interval = 1});
sql($plain, 'SELECT pg_reload_conf()');
my $overdue = $soon_critical->('retention_overdue');
sql($plain, q{SELECT es_set_retention('x', max_age => '1 ms'), es_set_retention('sub-1', max_count => 1)});
comes_to($plain, 'retention', 'critical', qr/^Retention of "x" is overdue for \d+ s\. .*es_apply_retention/, 'by age', $overdue);
sql($plain, 'SELECT es_apply_retention()');
is(status($plain, 'retention', 'SET eventstore.health_retention_overdue_critical = 60'), 'ok', 'applied');
sql($plain, q{SELECT es_set_retention('x')});
comes_to($plain, 'retention', 'critical', qr/^Retention of "sub-1" is overdue .* applied to all of its streams at/, 'by number', $overdue);
sql($plain, q{SELECT es_set_retention('sub-1')});
comes_to($plain, 'retention', 'ok', qr/^All events are kept for ever\.$/, 'no rule');

# Vacuum: what retention has left; sizes; freezing
sql($plain, q{SELECT es_append('big-1', -1, array_fill('T'::text, ARRAY[12000]), array_fill('{}'::jsonb, ARRAY[12000])); SELECT es_delete_stream('big-1', -1)});
comes_to($plain, 'vacuum', 'critical', qr/^Of the rows of eventstore\.events, \d+ % are dead; it was never vacuumed\. .*VACUUM eventstore\.events\.$/, 'dead rows', 'SET eventstore.health_dead_rows_critical = 40');
sql($plain, 'VACUUM eventstore.events');
comes_to($plain, 'vacuum', 'ok', qr/^No table of the store has many dead rows\.$/, 'vacuumed');
comes_to($plain, 'size', 'critical', qr/^The tables of the store have \d+ \w+ with their indexes; \w+: /, 'size', 'SET eventstore.health_size_critical = 1');
is(sql($plain, q{SELECT value BETWEEN 1 AND 100 FROM eventstore.health WHERE name = 'size'}), 't', 'in megabytes');
comes_to($plain, 'freeze', 'critical', qr/transactions old; .*VACUUM \(FREEZE\) eventstore\.\w+/, 'freeze age', 'SET eventstore.health_freeze_age_critical = 10');
comes_to($plain, 'notify', 'critical', qr/full to 0\.0 %; the appender sends NOTIFY\.$/, 'queue of notifications', 'SET eventstore.health_notify_queue_critical = 0');

# Seals: overdue; verified, and found to be wrong
sql($plain, q{LOAD 'eventstore'; ALTER SYSTEM SET eventstore.seal_interval = 1});
sql($plain, 'SELECT pg_reload_conf()');
my $unsealed = $soon_critical->('seal_overdue');
sql($plain, $append->('sealed-1'));
comes_to($plain, 'seals', 'critical', qr/^History is sealed up to 0; the event at position \d+, .*, is not, and it is overdue\. .*es_seal\(\)/, 'never sealed', $unsealed);
sql($plain, 'SELECT es_seal()');
comes_to($plain, 'seals', 'ok', qr/^All of history is sealed, up to \d+; it was never verified\.$/, 'sealed', $unsealed);
is(sql($plain, 'SELECT count(*) FROM es_verify_seals()'), 0, 'verified');
comes_to($plain, 'seals', 'ok', qr/; it was verified last at .+\.$/, 'verified', $unsealed);
sql($plain, q{SET session_replication_role = replica; UPDATE eventstore.seals SET events = events + 1});
cmp_ok(sql($plain, 'SELECT count(*) FROM es_verify_seals()'), '>', 0, 'verified again, after somebody has changed it');
comes_to($plain, 'seals', 'critical', qr/^History is not what was sealed: es_verify_seals\(\) has found \d+ differences? at .+\./, 'found wrong');
is(sql($plain, 'BEGIN READ ONLY; SELECT count(*) > 0 FROM es_verify_seals(); COMMIT'), 't', 'who may not write verifies, too');
sql($plain, q{SET session_replication_role = replica; UPDATE eventstore.seals SET events = events - 1});
is(sql($plain, 'SELECT count(*) FROM es_verify_seals()'), 0, 'mended');
is(status($plain, 'seals'), 'ok', 'and well again');
sql($plain, q{LOAD 'eventstore'; ALTER SYSTEM RESET eventstore.seal_interval; ALTER SYSTEM RESET eventstore.retention_interval; SELECT pg_reload_conf()});

# Replication: a slot that nobody reads; a standby that does not keep up.
sql($node, q{SELECT pg_create_physical_replication_slot('gone', true)});
sql($node, q{SELECT es_append('wal-' || i, -1, array_fill('T'::text, ARRAY[1000]), array_fill('{}'::jsonb, ARRAY[1000])) FROM generate_series(1, 8) i});
comes_to($node, 'slots', 'critical', qr/^Slot "gone" keeps \d+ MB of WAL, and nobody reads it: .*pg_drop_replication_slot\.?/, 'a slot', 'SET eventstore.health_slot_wal_critical = 1');
sql($node, q{SELECT pg_drop_replication_slot('gone')});
is(status($node, 'slots', 'SET eventstore.health_slot_wal_critical = 0'), 'ok', 'none any more');
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $lag = $soon_critical->('replication_lag');
comes_to($node, 'replication', 'ok', qr/^Standby "standby" \(process \d+, streaming\) has replayed/, 'a standby');
comes_to($standby, 'replication', 'ok', qr/^This standby has replayed what is 0 s old\.$/, 'itself');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is(sql($standby, "SET ROLE reads; SELECT string_agg(name, ' ' ORDER BY name) FROM eventstore.health"), "@checks", 'all checks on a standby');
is(sql($standby, q{SELECT string_agg(name, ' ') FROM eventstore.health WHERE status <> 'ok'}), '', 'all is well there');
is(sql($standby, 'SELECT head_lag_positions >= 0, waiters FROM eventstore.stats'), 't|0', 'and statistics');
sql($standby, 'SELECT pg_wal_replay_pause()');
becomes($standby, 'SELECT pg_get_wal_replay_pause_state()', 'paused', 'the standby does not replay');
sql($node, $append->('late-1'));
comes_to($standby, 'replication', 'critical', qr/^This standby has replayed what is \d+ s old\.$/, 'a standby that is behind', $lag);
sql($standby, 'SELECT pg_wal_replay_resume()');
comes_to($standby, 'replication', 'ok', qr/0 s old/, 'that is not any more', $lag);
$node->stop('immediate');
comes_to($standby, 'replication', 'warning', qr/^This standby receives nothing: /, 'a standby whose primary is gone');
$standby->stop;
$node->start;

# No process for runners, for the worker; and a database that has none.
sql($node, q{SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream', 'async')});
sql($node, 'ALTER SYSTEM SET max_worker_processes = 2');
$node->restart;
sql($node, $append->('w-1'));
comes_to($node, 'runners', 'critical', qr/no free process .* max_worker_processes\.$/, 'no process for runners');
comes_to($node, 'projections_behind', 'critical', qr/Projection "counts" .*: no free process to apply it: max_worker_processes\./, 'and so it is behind', $soon_critical->('projection_lag'));
sql($node, 'ALTER SYSTEM SET max_worker_processes = 1');
$node->restart;
comes_to($node, 'worker', 'critical', qr/^This database has no worker: it has ended or could not be started; .* Nobody does by himself what is to be done here: 1 async projections\.$/, 'no process for the worker');
sql($node, 'ALTER SYSTEM RESET max_worker_processes');
$node->restart;
comes_to($node, 'worker', 'ok', qr/^The worker of this database is process \d+\.$/, 'a worker');
comes_to($node, 'projections_behind', 'ok', qr/^Every/, 'which applies it');
$pid = sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND datname = 'postgres'});
sql($node, "SELECT pg_terminate_backend($pid)");
becomes($node, qq{SELECT status = 'ok' AND detail !~ ' $pid\\.' FROM eventstore.health WHERE name = 'worker'}, 't', 'another one, after it was killed');
sql($node, q{CREATE FUNCTION die() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN 1; END $$});
sql($node, q{CREATE TABLE dies (n int); SELECT es_create_projection('dies', 'INSERT INTO dies SELECT die() FROM events', 'async', '{deadly}', tables => '{dies}', on_error => 'stop')});
sql($node, $append->('deadly-1'));
comes_to($node, 'runners', 'warning', qr/^A process that applies async projections has died at /, 'a runner that dies');
sql($node, q{ALTER SYSTEM SET eventstore.databases = 'other'});
sql($node, 'SELECT pg_reload_conf()');
comes_to($node, 'worker', 'warning', qr/it is not in eventstore\.databases\. Nobody does/, 'not in the list');
sql($node, q{SELECT es_drop_projection(name, true) FROM eventstore.projections});
is(status($node, 'worker'), 'ok', 'nor has there to be one');

done_testing();
