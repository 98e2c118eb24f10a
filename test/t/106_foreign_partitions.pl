# Cold partitions in an archive database, with foreign tables in their place: brought there by verbs, every reader complete and in order
# over them, ids looked up there and only if they may be there, nothing changed through them, and what goes on while the other server is
# away or does not answer.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('warm', 'max_worker_processes = 20');
plan skip_all => 'no postgres_fdw' unless sql($node, q{SELECT count(*) FROM pg_available_extensions WHERE name = 'postgres_fdw'});
my $archive = new_server('archive', q{log_statement = 'all'});
my $ask = sub { return sql($node, @_) };
my $code = sub { return sqlstate($node, @_) };
my $id = sub { return sprintf '0190a000-0000-7000-8000-%012d', $_[0] };
my $v4 = 'a3f1c2d4-5b6a-4c7d-8e9f-0123456789ab';

sql($node, <<"SQL");
	CREATE ROLE reader;
	CREATE ROLE bound;
	CREATE ROLE subject;
	SELECT es_grant('reader', 'read'), es_grant('bound', 'read', category => 'b');
	SELECT es_partition_events(100);
	SELECT es_append('a-' || i % 7, -1, 'Plain', jsonb_build_object('i', i), NULL, NULL, ARRAY['t' || i % 5, 'u' || i % 3]) FROM generate_series(1, 60) i;
	SELECT es_append('given-1', 0, '[{"type": "Given", "id": "@{[ $id->(1) ]}"}, {"type": "Given", "id": "@{[ $id->(2) ]}"}]');
	SELECT es_append('given-4', 0, 'Given', '{}', NULL, '$v4');
	SELECT es_append('b-1', -1, 'B', jsonb_build_object('i', i), '{"user": "x"}') FROM generate_series(1, 60) i;
	SELECT es_append('a-' || i % 7, -1, 'Plain', jsonb_build_object('i', i), NULL, NULL, ARRAY['t' || i % 5, 'u' || i % 3]) FROM generate_series(1, 300) i;
	SELECT es_append('b-2', -1, 'B', jsonb_build_object('i', i)) FROM generate_series(1, 30) i;
	CREATE FUNCTION public.count_events(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE RETURN to_jsonb(state::bigint + 1);
	SELECT es_create_projection('by_stream', 'SELECT stream, count(*) AS n, sum((data->>''i'')::int) AS total FROM events GROUP BY stream');
	SELECT es_create_subscription('behind');
	SELECT es_seal();
SQL

# What readers say, before and after.
my @readers = map { "SELECT count(*), md5(string_agg(e::text, ';')) FROM $_ e" } (
	(map { "es_read_all($_)" } '0, NULL', '0, NULL, NULL, true', '150, 100', '150, 100, NULL, true', q{0, NULL, '{B}'}),
	(map { "es_read_category($_)" } q{'a', 0, NULL}, q{'a', 0, NULL, NULL, true}, q{'b', 70, 20}),
	(map { "es_read($_)" } q{'a-1'}, q{'a-1', NULL, NULL, true}, q{'a-1', 3, 12}, q{'a-1', 40, 30, true}, q{'b-1'}, q{'b-2'}, q{'given-1'}),
	(map { "es_read_query($_)" } q{'[{"tags": ["t1"]}]', 0, 1000}, q{'[{"tags": ["t1", "u2"]}, {"types": ["B"]}]', 0, 1000}, q{'[{"tags": ["u1"], "types": ["Plain"]}]', 0, 1000, true}),
	q{es_stream_as_of('a-1', 'infinity')}, q{es_last_event('b-1')}, q{es_last_event('given-1', 'Given')}, 'es_export()', 'eventstore.find_event(7)', q{es_load('a-3')},
);
push @readers, q{SELECT es_fold('a-1', 'public.count_events', '0')}, q{SELECT es_stream_version('b-1')}, 'SELECT es_head()', q{SELECT es_position_at(recorded_at) FROM eventstore.find_event(20)},
	'SELECT count(*) FROM es_verify()', 'SELECT count(*) FROM es_verify_seals()', q{SELECT count(*) FROM es_verify_projection('by_stream')},
	'SELECT category, events, streams, first_position, last_position, last_recorded_at FROM eventstore.categories ORDER BY 1', 'SELECT * FROM eventstore.events ORDER BY position',
	'SELECT * FROM by_stream ORDER BY stream', q{SELECT lag_events FROM eventstore.subscription_status WHERE name = 'behind'};
my $said = sub { my ($role) = @_; return map { $ask->(($role ? "SET ROLE $role; " : '') . $_) } @readers };
my @before = $said->();
my $folder = PostgreSQL::Test::Utils::tempdir();
my $bound_before = $ask->(q{SET ROLE bound; SELECT count(*), md5(string_agg(e::text, ';')) FROM es_read_all(0, NULL) e});

# es_detach_events, a copy in the archive, es_attach_events of foreign tables.
my ($way) = slurp_file("$FindBin::RealBin/../../docs/partitions.md") =~ /^```sh\n(.*?)^```/ms;
{
	local $ENV{store} = $node->connstr('postgres');
	local $ENV{archive} = $archive->connstr('postgres');
	local $ENV{upto} = 199;
	command_ok([ 'bash', '-euo', 'pipefail', '-c', $way ], 'two partitions leave the store for the archive, as docs/partitions.md shows');
}
sql($archive, 'CREATE ROLE archivist LOGIN');
sql($archive, 'GRANT USAGE ON SCHEMA eventstore TO archivist; GRANT SELECT ON ALL TABLES IN SCHEMA eventstore TO archivist');
my ($host, $port) = ($archive->host, $archive->port);
sql($node, <<"SQL");
	CREATE EXTENSION postgres_fdw;
	CREATE SCHEMA cold;
	CREATE SERVER archive FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '$host', port '$port', dbname 'postgres', truncatable 'false');
	CREATE USER MAPPING FOR CURRENT_USER SERVER archive OPTIONS (user 'archivist');
	IMPORT FOREIGN SCHEMA eventstore LIMIT TO (events_0, events_100) FROM SERVER archive INTO cold;
SQL
is($code->(q{SELECT es_attach_events('cold.events_0')}), '55000', 'a foreign table that is followed by what is away is not attached');
sql($archive, q{UPDATE eventstore.events_100 SET data = '{"i": -1}' WHERE position = 150});
is($code->(q{SELECT es_attach_events('cold.events_100')}), '55000', 'nor one whose event is not what left');
sql($archive, q{UPDATE eventstore.events_100 e SET data = r.data FROM (VALUES (150, '} . $ask->('SELECT data FROM eventstore.events_100 WHERE position = 150') . q{'::jsonb)) r (position, data) WHERE e.position = r.position});
is($code->("SELECT es_attach_events('cold.$_')"), '', "$_ is attached as a foreign table") for qw(events_100 events_0);
is($ask->('SELECT count(*) FROM eventstore.archived_ranges'), '0', 'nothing is away any more');
is($ask->('SELECT count(*) FROM eventstore.removed_events'), '0', 'nor gone');
is($ask->('SELECT partition, from_position, upto_position, rows FROM eventstore.event_partitions LIMIT 3'),
	"cold.events_0|0|100|99\ncold.events_100|100|200|100\neventstore.events_200|200|300|100", 'eventstore.event_partitions shows them among the others');

# Every reader says what it said.
my @after = $said->();
is($after[$_], $before[$_], $readers[$_]) for 0 .. $#readers;
sql($node, q{SELECT es_rebuild_projection('by_stream')});
is($ask->($readers[$_]), $before[$_], "$readers[$_], rebuilt") for grep { $readers[$_] =~ /FROM by_stream/ } 0 .. $#readers;
sql($node, q{SELECT es_create_projection('by_type', 'SELECT type, count(*) AS n FROM events GROUP BY type', mode => 'async'); SELECT es_run_projection('by_type')});
is($ask->('SELECT type, n FROM by_type ORDER BY 1'), "B|90\nGiven|3\nPlain|360", 'a new projection begins with them');
is($ask->(q{SELECT array_agg(position) = (SELECT array_agg(position ORDER BY position) FROM eventstore.events WHERE position <= 220) FROM es_fetch('behind', 'c', 220)}), 't', 'a subscription is delivered them, over the edge');
sql($node, q{SELECT es_ack('behind', (SELECT token FROM es_fetch('behind', 'c', 20) LIMIT 1), 20)});
is_sound($node, 'with foreign tables');

# As whom they are read.
is($code->('SET ROLE reader; SELECT count(*) FROM es_read_all(0, 10)'), '42704', 'who is not known to the server reads nothing of it');
{
	my $err = '';
	$node->psql('postgres', 'SET ROLE reader; SELECT count(*) FROM es_read_all(0, 10)', stderr => \$err);
	like($err, qr/HINT:.*CREATE USER MAPPING FOR reader, or FOR PUBLIC, SERVER archive/, 'the error says what is missing');
	like($err, qr/CONTEXT:.*reading "events_0", a foreign table/, 'and where');
}
is($ask->('SET ROLE reader; SELECT count(*) FROM es_read_all(200, 10)'), '10', 'what is here he reads');
sql($node, q{CREATE USER MAPPING FOR PUBLIC SERVER archive OPTIONS (user 'archivist', password_required 'false')});
is($ask->("SET ROLE reader; $readers[0]"), $before[0], 'with a user mapping, everything');
is($ask->(q{SET ROLE bound; SELECT count(*), md5(string_agg(e::text, ';')) FROM es_read_all(0, NULL) e}), $bound_before, 'who is bound sees his own');
is($ask->('SET ROLE bound; SELECT count(*) FROM eventstore.events'), '90', 'in SQL, too');
isnt($code->('SET ROLE reader; SELECT count(*) FROM cold.events_0'), '', 'nobody but the owner names a foreign table');
sql($node, q{SELECT es_grant('subject', 'read'); CREATE POLICY theirs ON eventstore.events FOR SELECT TO subject USING (stream LIKE 'b-%' OR stream = 'a-1'); ALTER TABLE eventstore.events ENABLE ROW LEVEL SECURITY});
is($ask->("SET ROLE subject; $readers[8]"), $before[8], "a DBA's policies count: what they show is read");
is($ask->(q{SET ROLE subject; SELECT count(*) FROM es_read('a-2')}), '0', 'what they hide is not');
is($ask->('SET ROLE subject; SELECT count(*) FROM es_read_all(0, NULL)'), $ask->(q{SELECT count(*) FROM eventstore.events WHERE stream LIKE 'b-%' OR stream = 'a-1'}), 'across streams, too');

# Ids.
my $asked = sub { my ($from) = @_; return scalar grep { /= ANY/ } split /\n/, slurp_file($archive->logfile, $from) };
is($ask->(qq{SELECT es_append('given-1', 0, '[{"type": "Given", "id": "@{[ $id->(1) ]}"}, {"type": "Given", "id": "@{[ $id->(2) ]}"}]')}), '2', 'a retry is exact when its partition is a foreign table');
is($ask->(qq{SELECT es_append('given-4', 0, 'Given', '{}', NULL, '$v4')}), '1', 'also by a random id');
is($code->(q{SELECT es_append('given-9', 0, 'Given', '{}', NULL, '} . $id->(2) . q{')}), 'SE002', 'an id that is there is taken');
is($code->(qq{SELECT es_append('given-9', 0, '[{"type": "Given", "id": "$v4"}, {"type": "Given", "id": "@{[ $id->(7) ]}"}]')}), 'SE002', 'also among others');
my $from = -s $archive->logfile;
is($ask->(q{SELECT es_append('many-1', 0, (SELECT jsonb_agg(jsonb_build_object('type', 'M', 'id', '0190a000-0000-7000-9000-' || lpad(i::text, 12, '0'))) FROM generate_series(1, 40) i))}), '40', 'forty ids that might be there');
is($asked->($from), 1, 'are asked for at once');
$from = -s $archive->logfile;
is($ask->(q{SELECT es_append('many-2', 0, 'M', '{}', NULL, 'ffffffff-0000-7000-8000-000000000001')}), '1', 'one that cannot be there');
is(-s $archive->logfile, $from, 'is not asked for');

# Nothing is changed through them.
my $there = sql($archive, 'SELECT * FROM eventstore.events_0 ORDER BY position');
isnt($code->($_), '', "$_ is refused") for q{UPDATE eventstore.events SET type = 'x'}, 'DELETE FROM eventstore.events', 'TRUNCATE eventstore.events', q{UPDATE cold.events_0 SET type = 'x'},
	'DELETE FROM cold.events_0', 'TRUNCATE cold.events_0', 'INSERT INTO cold.events_0 SELECT * FROM eventstore.events_0 LIMIT 1';
is($code->($_), '0A000', $_) for q{SELECT es_truncate_stream('a-1', 3)}, q{SELECT es_delete_stream('b-1', -1)}, q{SELECT es_redact('} . $id->(1) . q{', 'by request')};
is(sql($archive, 'SELECT * FROM eventstore.events_0 ORDER BY position'), $there, 'and nothing has');
is($ask->(q{SELECT es_append('warm-1', 0, (SELECT jsonb_agg(jsonb_build_object('type', 'W', 'data', i)) FROM generate_series(1, 30) i))}), '30', 'a stream that is not there');
is($ask->(q{SELECT es_truncate_stream('warm-1', 11)}), '10', 'is truncated');
is($code->(q{SELECT es_redact((SELECT id FROM es_last_event('warm-1')), 'by request')}), '', 'and redacted');

# The archive is down: what needs it says so, and loses nothing; all else goes on.
my $cold_before = $ask->($readers[8]);
my $lag = $ask->(q{SELECT lag_events FROM eventstore.subscription_status WHERE name = 'behind'});
sql($node, 'SELECT count(*) FROM eventstore.categories');
$archive->stop('immediate');
is($code->($_), '08001', "$_: needs it") for q{SELECT count(*) FROM es_read('a-1')}, 'SELECT count(*) FROM es_read_all(100, 10)', q{SELECT count(*) FROM es_fetch('behind', 'c')}, q{SELECT es_rebuild_projection('by_stream')},
	'SELECT count(*) FROM es_verify()', q{SELECT es_append('more-1', 0, 'M', '{}', NULL, '} . $id->(3) . q{')}, q{SELECT es_append_if('more-1', '{"type": "M"}', '[{"tags": ["t1"]}]')}, q{SELECT count(*) FROM eventstore.events};
is($code->($_), '', "$_: does not") for q{SELECT es_append('a-1', -1, 'Plain', '{"i": 1}')}, q{SELECT es_append('a-1', -1, 'Plain', '{"i": 1}', NULL, 'ffffffff-0000-7000-8000-000000000002')}, q{SELECT count(*) FROM es_read('warm-1')},
	q{SELECT count(*) FROM es_read('b-2', NULL, NULL, true)}, q{SELECT count(*) FROM es_read('a-1', 40)}, 'SELECT count(*) FROM es_read_all(199)', 'SELECT count(*) FROM eventstore.events WHERE position >= 200',
	q{SELECT es_append_if('more-2', '{"type": "M"}', '[{"tags": ["none"]}]', 300)}, q{SELECT es_truncate_stream('warm-1', 15)}, q{SELECT es_delete_stream('many-2', 1)}, q{SELECT count(*) FROM es_read('many-2')},
	q{SELECT es_set_retention('warm', max_count => 5); SELECT es_apply_retention()}, q{SELECT es_redact((SELECT id FROM es_last_event('warm-1')), 'by request')}, 'SELECT * FROM eventstore.health', 'SELECT * FROM eventstore.stats',
	'SELECT * FROM eventstore.event_partitions', 'SELECT * FROM eventstore.projection_status', q{SELECT es_run_projection('by_type')}, q{SET ROLE subject; SELECT count(*) FROM es_read('b-2')}, 'SELECT es_head()', 'SELECT es_seal()',
	q{SELECT es_append('edge-1', 0, (SELECT jsonb_agg(jsonb_build_object('type', 'E')) FROM generate_series(1, 350) i))}, q{SELECT es_create_subscription('late', after_position => 300); SELECT count(*) FROM es_fetch('late', 'c')};
is($code->(qq{SELECT es_append('twice-1', 0, '[{"type": "T", "id": "@{[ $id->(8) ]}"}, {"type": "T", "id": "@{[ $id->(8) ]}"}]')}), 'SE002', 'an id given twice is told as ever');
is($ask->(q{SELECT min(version), count(*) FROM es_read('warm-1')}), '26|5', 'what was retained is');
is($ask->('SELECT count(*) > 0 FROM by_stream'), 't', 'a rebuild that fails leaves the table as it was');
$archive->start;
is($ask->(q{SELECT count(*), md5(string_agg(e::text, ';')) FROM es_read('a-1', NULL, } . (split /\|/, $cold_before)[0] . ') e'), $cold_before, 'it is back, and all is read');
is($ask->(q{SELECT array_agg(position) = (SELECT array_agg(position ORDER BY position) FROM (SELECT position FROM eventstore.events WHERE position > 20 ORDER BY position LIMIT 300) e) FROM es_fetch('behind', 'c', 300)}), 't', 'the consumer goes on where it was');
is($ask->(q{SELECT n FROM by_stream WHERE stream = 'a-1'}), $ask->(q{SELECT count(*) FROM es_read('a-1')}), 'an inline projection has what came meanwhile');
is($ask->('SELECT count(*) FROM es_verify_seals()'), '0', 'and seals');
is_sound($node, 'after the archive was down');

# One that does not answer: no append waits for it, be it asked by a reader or by who attaches a partition.
is($ask->('SELECT es_detach_events(99)'), 'cold.events_0', 'a foreign table leaves the store like any other');
my $here = $ask->(q{SELECT count(*) FROM es_read('b-1')});
my $blocker = session($archive);
$blocker->query_safe('BEGIN; LOCK TABLE eventstore.events_0, eventstore.events_100');
my $attaches = session($node);
my $reads = session($node);
send_query($attaches, q{SELECT es_attach_events('cold.events_0')});
send_query($reads, q{SELECT count(*) FROM es_read('b-1')});
becomes($archive, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'}, '2', 'both wait for the archive');
is($ask->(q{SELECT es_append('slow-1', 0, (SELECT jsonb_agg(jsonb_build_object('type', 'S')) FROM generate_series(1, 450) i))}), '450', 'an append goes on, and has partitions made');
$blocker->query_safe('COMMIT');
is($reads->query(''), $here, 'the reader gets what it wants');
$attaches->query('');
is($attaches->{stderr}, '', 'and the table is attached');
$_->quit for $blocker, $attaches, $reads;
is($ask->("$readers[14]"), $before[14], 'its events are read');

# Dump and restore.
my $all = $ask->('SELECT * FROM es_read_all(0, NULL)');
my $partitions = $ask->('SELECT partition, from_position, upto_position, rows FROM eventstore.event_partitions');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$folder/store", $node->connstr('postgres') ], 'pg_dump of the store');
sql($node, 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), "$folder/store" ], 'and its restore');
is($ask->('SELECT * FROM es_read_all(0, NULL)', 'restored'), $all, 'has the same events, through foreign tables');
is($ask->('SELECT partition, from_position, upto_position, rows FROM eventstore.event_partitions', 'restored'), $partitions, 'in the same partitions');
is($ask->(q{SELECT es_append('given-1', 2, 'More', '{}', NULL, 'ffffffff-0000-7000-8000-000000000009')}, 'restored'), '3', 'and goes on');

# Back again, as tables of the store's own.
sql($node, 'SELECT es_detach_events(199)');
is($code->("SELECT es_attach_events('eventstore.$_')"), '', "$_ comes back") for qw(events_100 events_0);
is($ask->('SELECT * FROM es_read_all(0, NULL)'), $all, 'all is read from here');
is($ask->('SELECT count(*) FROM eventstore.foreign_ranges'), '0', 'nothing is noted of foreign tables');
is($code->(q{SELECT es_truncate_stream('a-1', 3)}), '', 'what may be removed is');
is_sound($node, 'without foreign tables');

done_testing();
