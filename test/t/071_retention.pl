# The worker applies retention: by number and by age, in small steps, waiting for nobody, and again and again; what fails is told the log.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('retention', "shared_preload_libraries = 'eventstore'", "eventstore.retention_interval = '1s'");
my $fill = sub { my ($stream, $count) = @_; sql($node, "SELECT count(es_append('$stream', -1, 'Kept', '{}')) FROM generate_series(1, $count)") };
my $kept = sub { "SELECT string_agg(version::text, ',' ORDER BY version) FROM eventstore.events WHERE stream = '$_[0]'" };

# More than fits into one step, in one stream and in many
$fill->('log-1', 1050);
sql($node, q{SELECT count(es_append('log-' || n, 0, '[{"type": "Kept"}, {"type": "Kept"}]')) FROM generate_series(2, 500) n});
sql($node, q{SELECT es_set_retention('log', max_count => 1)});
becomes($node, q{SELECT count(*), min(version), max(version) FROM eventstore.events WHERE category = 'log'}, '500|2|1050', 'the worker keeps the last event of each stream');
becomes($node, q{SELECT events_gone, applied_at IS NOT NULL FROM eventstore.retention WHERE name = 'log'}, '1548|t', 'and notes what it has done');
is(sql($node, q{SELECT count(*) FROM eventstore.removed_events}), 1548, 'all of it is on record');
$fill->('log-7', 3);
becomes($node, $kept->('log-7'), '5', 'it goes on with what comes');
sql($node, q{SELECT es_set_retention('log-7', max_age => '0')});
becomes($node, "SELECT count(*) FROM eventstore.events WHERE stream = 'log-7'", '0', 'a stream with a rule of its own, by age: what was recorded before now');
is(sql($node, q{SELECT es_append('log-7', 0, 'Kept', '{}')}), 6, 'its versions go on');
sql($node, q{SELECT es_set_retention('log-7')});

# Who has a stream in an open transaction is not waited for, nor does it wait; other streams go on.
my ($appends, $truncates) = (session($node), session($node));
$fill->('log-8', 2);
becomes($node, $kept->('log-8'), '4', 'a stream as it is kept');
$truncates->query_safe(q{BEGIN; SELECT es_truncate_stream('log-8', 1), es_save_snapshot('log-8', 4, '4')});
$appends->query_safe(q{BEGIN; SELECT es_append('log-9', -1, 'Open', '{}')});
$fill->('log-8', 2);
$fill->('log-10', 2);
becomes($node, $kept->('log-10'), '4', 'another stream');
is(sql($node, $kept->('log-8')), '4,5,6', 'one that somebody else truncates is left alone');
$appends->query_safe('COMMIT');
$truncates->query_safe('COMMIT');
becomes($node, $kept->('log-8'), '6', 'until he is done');
becomes($node, $kept->('log-9'), '3', 'and one that was appended to');
$_->quit for $appends, $truncates;

# An event that can not go, by a foreign key or, where there are partitions, which take none, by a trigger: the log tells, and the others go.
my $keeps = $ENV{PARTITIONED}
  ? q{CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''kept''; END';
	  CREATE TRIGGER keep BEFORE DELETE ON eventstore.events FOR EACH ROW WHEN (old.stream = 'log-11') EXECUTE FUNCTION keep()}
  : q{CREATE TABLE referring (position bigint REFERENCES eventstore.events); INSERT INTO referring SELECT max(position) FROM eventstore.events WHERE stream = 'log-11'};
sql($node, $keeps);
my $from = -s $node->logfile;
sql($node, q{SELECT es_append(s, -1, '[{"type": "A"}]') FROM unnest('{log-10,log-11,log-12}'::text[]) s});
becomes($node, $kept->('log-12'), '3', 'a stream behind one that can not be truncated');
becomes($node, $kept->('log-10'), '5', 'and one before it, which is not taken back with it');
is(sql($node, $kept->('log-11')), '2,3', 'which is as it was');
$node->wait_for_log(qr/could not apply the retention of "log" to stream "log-11": (update or delete on table "events" violates foreign key|kept)/, $from);
pass('the log tells of it');
is(sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'}), 1, 'the worker is there');
sql($node, $ENV{PARTITIONED} ? 'DROP FUNCTION keep() CASCADE' : 'DROP TABLE referring');
becomes($node, $kept->('log-11'), '3', 'and does it when it can');

# Another transaction's lock on an event is waited for no longer than a moment.
my $refers = session($node);
$refers->query_safe(q{BEGIN; SELECT position FROM eventstore.events WHERE stream = 'log-11' FOR KEY SHARE});
$fill->('log-11', 1);
$fill->('log-12', 1);
becomes($node, $kept->('log-12'), '4', 'a stream behind one whose event is locked');
my $head = sql($node, q{SELECT es_last_position() FROM es_append('other-1', -1, 'Kept', '{}')});
becomes($node, 'SELECT position >= ' . $head . ' FROM eventstore.head', 't', 'and the head is announced');
$refers->query_safe('ROLLBACK');
becomes($node, $kept->('log-11'), '4', 'it goes when the lock is gone');
$refers->quit;

# A long stream, step by step, while somebody holds a snapshot to which all is there still: no step walks over what the ones before have taken.
$fill->('long-1', 5000);
my $holds = session($node);
$holds->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM eventstore.events');
my $looked = q{(SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE indexrelname ~ '^events_.*stream_version_key$')};
my $deleted = q{(SELECT sum(n_tup_del) FROM pg_stat_user_tables WHERE relname ~ '^events(_[0-9]+)?$' AND schemaname = 'eventstore')};
my ($looked_before, $deleted_before) = split /\|/, sql($node, "SELECT $looked, $deleted");
sql($node, q{SELECT es_set_retention('long', max_count => 10)});
becomes($node, q{SELECT events_gone FROM eventstore.retention WHERE name = 'long'}, 4990, 'a long stream is taken in steps');
becomes($node, "SELECT $deleted - $deleted_before >= 4990", 't', 'and counted');
# Some more for the walks that come after it; were it each step, it would be sixty times.
cmp_ok(sql($node, "SELECT $looked - $looked_before"), '<', 12 * 5000, 'each step begins where the last one has ended');
is(sql($node, q{SELECT count(*), min(version) FROM eventstore.events WHERE stream = 'long-1'}), '10|4991', 'and leaves nothing out');
$holds->quit;
sql($node, q{SELECT es_set_retention('long')});

# Off, and without the extension
sql($node, q{ALTER SYSTEM SET eventstore.retention_interval = 0});
sql($node, q{SELECT pg_reload_conf()});
becomes($node, 'SHOW eventstore.retention_interval', '0', 'switched off');
sql($node, 'DROP EXTENSION eventstore CASCADE; CREATE EXTENSION eventstore');
sql($node, q{ALTER SYSTEM RESET eventstore.retention_interval});
sql($node, q{SELECT pg_reload_conf()});
$fill->('log-1', 5);
sql($node, q{SELECT es_set_retention('log-1', max_count => 2)});
becomes($node, $kept->('log-1'), '4,5', 'a store that was made anew');

done_testing();
