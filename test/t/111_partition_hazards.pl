# What goes on beside a table that is being partitioned, or taken apart: others' locks and rights, rollback, a crash, a standby, settings
# and tables that do not fit.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('hazards', $in_one_table, 'max_worker_processes = 20', 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby = on', 'autovacuum = off');
my $ask = sub { return sql($node, @_) };
my $code = sub { return sqlstate($node, @_) };
my $id = sub { return sprintf 'f190a000-0000-7000-8000-%012d', $_[0] };

sql($node, q{CREATE ROLE hostile; SELECT es_grant('hostile', 'read'); GRANT CREATE ON SCHEMA public TO hostile});
sql($node, q{SELECT es_append('a-1', -1, 'A', jsonb_build_object('long', (SELECT string_agg(md5(j::text), '') FROM generate_series(1, 200) j)), NULL, '} . $id->(1) . q{')});
sql($node, q{SELECT es_append('a-1', -1, 'A', '{}') FROM generate_series(1, 20) i});

# Who may not alter the table does not make others wait for him.
{
	my $reader = session($node);
	$reader->query('BEGIN; SELECT count(*) FROM eventstore.events;');
	is($code->(q{SET ROLE hostile; CREATE TABLE mine (i int); SET lock_timeout = '2s'; ALTER TABLE eventstore.events ATTACH PARTITION mine FOR VALUES FROM (1) TO (2)}),
		'42501', 'ATTACH PARTITION by who is not the owner is refused before it waits for a lock');
	$reader->query('COMMIT');
	$reader->quit;
}

# What cannot be.
sql($node, 'ALTER TABLE eventstore.events SET UNLOGGED');
is($code->('SELECT es_partition_events(10)'), '0A000', 'an unlogged table is not converted');
sql($node, 'ALTER TABLE eventstore.events SET LOGGED');
sql($node, q{CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM count(*) FROM fresh; RETURN NULL; END'});
sql($node, 'CREATE TRIGGER look AFTER INSERT ON eventstore.events REFERENCING NEW TABLE AS fresh FOR EACH ROW EXECUTE FUNCTION look()');
is($code->('SELECT es_partition_events(10)'), '0A000', 'nor one with a trigger that partitions cannot have');
sql($node, 'DROP TRIGGER look ON eventstore.events');

# Rolled back, as a whole and to a savepoint, it was never there.
my $before = $ask->('SELECT * FROM eventstore.events ORDER BY position');
{
	my $session = session($node);
	for my $rollback ('ROLLBACK TO s', 'ROLLBACK; BEGIN')
	{
		$session->query(q{BEGIN; SAVEPOINT s; SELECT es_partition_events(10); SELECT es_append('gone-1', -1, 'A', '{}') FROM generate_series(1, 3);});
		$session->query("$rollback; SELECT es_append('kept-1', -1, 'A', '{}'); COMMIT;");
		is($session->query(q{SELECT count(*) FROM es_verify();}), '0', "sound after $rollback");
	}
	is($session->query(q{SELECT count(*) FROM es_read('kept-1')}), '2', 'appends went on in the session');
	is($session->{stderr}, '', 'without an error');
	$session->quit;
}
is($ask->(q{SELECT * FROM eventstore.events WHERE stream = 'a-1' ORDER BY position}), $before, 'and nothing is lost');

# VACUUM of the TOAST table has no lock on the table: who waits for it does not keep appends waiting.
my $standby;
{
	my $toast = $ask->(q{SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'eventstore.events'::regclass});
	my $holder = session($node);
	my $converter = session($node);

	$holder->query("BEGIN; REINDEX TABLE $toast;");
	send_query($converter, 'SELECT es_partition_events(10)');
	becomes($node, q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'userlock'}, 't', 'a conversion waits');
	is($ask->(q{SET statement_timeout = '60s'; SELECT es_append('beside-1', -1, 'A', '{}')}), '1', 'for the TOAST table, and an append goes on');
	$holder->query('ROLLBACK');
	$holder->quit;
	$node->backup('base');
	$standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'base', has_streaming => 1);
	$standby->start;
	$converter->query('');
	$converter->quit;
	becomes($node, q{SELECT relkind FROM pg_class WHERE oid = 'eventstore.events'::regclass}, 'p', 'the table is partitioned');
}
is($ask->(q{SELECT * FROM eventstore.events WHERE stream = 'a-1' ORDER BY position}), $before, 'every event is there');

# Settings that whoever makes partitions has of the database.
sql($node, 'ALTER DATABASE postgres SET quote_all_identifiers = on');
is($code->(q{SELECT es_append('wide-1', 0, (SELECT jsonb_agg(jsonb_build_object('type', 'A')) FROM generate_series(1, 40) i))}), '', 'partitions are made where names are quoted');

# On a standby, and after a crash.
$node->wait_for_catchup($standby);
my $all = $ask->('SELECT * FROM eventstore.events ORDER BY position');
is(sql($standby, 'SELECT * FROM eventstore.events ORDER BY position'), $all, 'a standby has every event');
is(sql($standby, q{SELECT count(*) FROM es_read('a-1')}), '21', 'and reads streams');
$node->stop('immediate');
$node->start;
is($ask->('SELECT * FROM eventstore.events ORDER BY position'), $all, 'after a crash, too');
is($ask->('SELECT count(*) FROM es_verify()'), '0', 'the store is sound');
is($ask->(q{SELECT es_append('after-1', -1, 'A', '{}', NULL, '} . $id->(2) . q{')}), '1', 'and goes on');

# What comes back comes between appends, and not in the midst of one, which would have looked for its ids here before and there after.
my $end = $ask->('SELECT min(upto_position) FROM eventstore.event_partitions');
sql($node, "SELECT es_detach_events($end)");
{
	my $append = session($node);
	$append->query(q{BEGIN; SELECT es_append('open-1', -1, 'A', '{}');});
	is($code->(q{SET lock_timeout = '300ms'; SELECT es_attach_events('eventstore.events_0')}), '55P03', 'who appends is waited for, no longer than lock_timeout');
	$append->query('COMMIT');
	$append->quit;
}
sql($node, q{SELECT es_attach_events('eventstore.events_0')});
is($code->(q{SELECT es_append('other-1', 0, 'A', '{}', NULL, '} . $id->(1) . q{')}), 'SE002', 'an id that came back is taken');
is($ask->(q{SELECT es_append('a-1', -1, 'A', jsonb_build_object('long', 1), NULL, '} . $id->(1) . q{')}), '1', 'and its retry is one');
is($ask->('SELECT count(*) FROM es_verify()'), '0', 'all is sound');

# Who detaches does not get in a circle with who removes.
{
	my $remover = session($node);
	my $detacher = session($node);

	$remover->query(q{BEGIN; SELECT es_truncate_stream('beside-1', 1);});
	send_query($detacher, "SELECT es_detach_events($end)");
	becomes($node, q{SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'userlock' AND NOT granted}, 't', 'who detaches waits for who removes');
	$remover->query(q{SELECT es_truncate_stream('a-1', 5); COMMIT;});
	is($remover->{stderr}, '', 'who goes on');
	$remover->quit;
	like($detacher->query(''), qr/events_0/, 'and then it is done');
	$detacher->quit;
}
is($ask->('SELECT count(*) FROM es_verify()'), '0', 'all is sound');

done_testing();
