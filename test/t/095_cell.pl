# A store changes what it takes while others append: no append to a slot that was given up comes later, whoever it is by; over crashes, dumps, and
# the promotion of a standby beside its living primary.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('cell');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "max_prepared_transactions = 20\nfsync = off");
$node->start;
sql($node, 'CREATE EXTENSION eventstore');
my $temp = PostgreSQL::Test::Utils::tempdir();
my $waits = sub {
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%es_set_cell%'}, 1, "$name: waits");
};
my $moved = q{SELECT es_append('a-1', -1, 'Moved', '{}')}; # slot 264
my $stays = q{SELECT es_append('a-3', -1, 'Stays', '{}')}; # slot 788

# Prepared transactions are waited for.
my $setter = session($node);
for my $end ('COMMIT', 'ROLLBACK')
{
	sql($node, "SELECT es_set_cell(1, 1, '{[0,1024)}'); BEGIN; $moved; PREPARE TRANSACTION 'p'");
	sql($node, q{BEGIN; SELECT es_append('a-5', -1, 'Stays', '{}'); PREPARE TRANSACTION 'q'});
	send_query($setter, q{SELECT es_set_cell(1, 1, '{[512,1024)}')});
	$waits->("$end PREPARED");
	is(sql($node, $stays) > 0, 1, "$end PREPARED: others go on meanwhile");
	sql($node, "$end PREPARED 'p'");
	is($setter->query(''), '', "$end PREPARED: then it returns");
	is(sqlstate($node, $moved), 'SE009', "$end PREPARED: and the slot is given up");
	sql($node, "COMMIT PREPARED 'q'");
	is(sqlstate($node, $stays), '', "$end PREPARED: the others are not");
}
is(sql($node, q{SELECT count(*) FROM es_read('a-1')}), 1, 'what was committed is there');

# It gives up waiting, and all is as it was.
sql($node, q{SELECT es_set_cell(1, 1, '{[0,1024)}')});
my $open = session($node);
$open->query_safe("BEGIN; $moved");
is(sqlstate($node, q{SET lock_timeout = '200 ms'; SELECT es_set_cell(1, 1, '{[512,1024)}')}), '55P03', 'lock_timeout bounds the wait');
is(sql($node, q{SELECT slots FROM eventstore.cells}), '{[0,1024)}', 'the map is as it was');
$open->query_safe('COMMIT');
is(sqlstate($node, $moved), '', 'and so is what the store takes');

# A session that waits for the fence, and is cancelled
$open->query_safe(q{BEGIN; SELECT es_set_cell(1, 1, '{[512,1024)}')});
is(sqlstate($node, "SET lock_timeout = '200 ms'; $moved"), '55P03', 'who appends to what is given up waits');
$open->query_safe('ROLLBACK');
is(sqlstate($node, $moved), '', 'and goes on where it is not');

# Killed, while it waits: a crash of the server.
$open->query_safe("BEGIN; $moved");
send_query($setter, q{SELECT es_set_cell(1, 1, '{[512,1024)}')});
$waits->('killed');
$node->stop('immediate');
$node->start;
is(sql($node, q{SELECT slots FROM eventstore.cells}), '{[0,1024)}', 'a crash: the map is as it was');
is(sqlstate($node, $moved), '', 'a crash: and so is what the store takes');
sql($node, q{SELECT es_set_cell(1, 1, '{[512,1024)}')});
$node->stop('immediate');
$node->start;
is(sqlstate($node, $moved), 'SE009', 'a crash: what was set is set');
is(sqlstate($node, $stays), '', 'a crash: and others go on');
is_sound($node, 'a crash');
eval { $_->quit } for $setter, $open;

# A feed begins after all that was open when the store was given it, and is committed by then.
sql($node, "SELECT es_set_cell(1, 1, '{[0,1024)}'); BEGIN; $moved; PREPARE TRANSACTION 'p'");
$setter = session($node);
send_query($setter, q{SELECT es_set_cell(1, 2, '{[512,1024)}')});
$waits->('another feed');
sql($node, q{COMMIT PREPARED 'p'});
is($setter->query(''), '', 'another feed: it returns');
is(sql($node, q{SELECT after_position = (SELECT max(position) FROM eventstore.events) FROM eventstore.feeds WHERE feed = 2}), 't', 'another feed: begins after what was prepared meanwhile');
$setter->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM eventstore.events LIMIT 1');
sql($node, $stays);
like($setter->query(q{\set VERBOSITY sqlstate} . "\n" . q{SELECT es_set_cell(1, 3, '{[512,1024)}')}) . $setter->{stderr}, qr/25001/, 'another feed: not where the last events are not seen');
$setter->query('ROLLBACK');
$setter->quit;
sql($node, q{SELECT es_set_cell(1, 1, '{[512,1024)}')});

# A dump, and what is restored of it, say the same.
sql($node, q{SELECT es_add_cell(2, 2, '{[0,512)}', 'host=b')});
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$temp/dump", 'postgres' ], 'dumped');
sql($node, 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', "$temp/dump" ], 'restored');
is(sql($node, 'SELECT * FROM eventstore.cells ORDER BY cell', 'restored'), sql($node, 'SELECT * FROM eventstore.cells ORDER BY cell'), 'restored: the map');
is(sqlstate($node, $moved, 'restored'), 'SE009', 'restored: what it takes not');
is(sql($node, "$stays; SELECT es_last_position() % 1024", 'restored') =~ s/.*\n//sr, '1', 'restored: its feed');
is(sql($node, q{SELECT es_unset_cell(); SELECT es_append('a-1', -1, 'Copy', '{}') > 0}, 'restored'), "\nt", 'restored: until it is told otherwise');
is_sound($node, 'restored', 'restored');

# Under load, the store goes round: a quarter of the slots each time, with another feed. Appends by every way; who is refused goes on.
sql($node, q{SELECT es_drop_cell(2); SELECT es_set_cell(1, 1, '{[0,256)}')});
sql($node, <<'SQL');
	CREATE TABLE turns (n int PRIMARY KEY, quarter int, feed int, last bigint, given_up bigint);
	CREATE TABLE refused (n bigint);
	CREATE FUNCTION try(what text, VARIADIC streams text[]) RETURNS void LANGUAGE plpgsql AS
	$$
	BEGIN
		CASE what
			WHEN 'one' THEN PERFORM es_append(streams[1], -1, 'One', '{}');
			WHEN 'batch' THEN PERFORM es_append(streams[1], -1, array_fill('Batch'::text, ARRAY[3]), array_fill('{}'::jsonb, ARRAY[3]));
			WHEN 'streams' THEN PERFORM es_append_streams((SELECT jsonb_agg(jsonb_build_object('stream', s, 'expected_version', -1, 'events', '{"type": "Streams"}'::jsonb)) FROM unnest(streams) s));
			WHEN 'if' THEN PERFORM es_append_if(streams[1], '{"type": "If"}', '[{"types": ["None"]}]', 0);
		END CASE;
	EXCEPTION WHEN SQLSTATE 'SE009' THEN
		INSERT INTO refused VALUES (1);
	END
	$$;
	CREATE PROCEDURE turn(n int) LANGUAGE plpgsql AS
	$$
	BEGIN
		PERFORM es_set_cell(1, 100 + n % 900, int4multirange(int4range(256 * (n % 4), 256 * (n % 4) + 256)));
		COMMIT;
		INSERT INTO turns SELECT n, n % 4, 100 + n % 900, last_value, (SELECT count(*) FROM eventstore.events WHERE es_slot(stream) / 256 = (n + 3) % 4) FROM eventstore.positions;
		COMMIT;
	END
	$$;
SQL
my @runs;
for my $client (1 .. 5)
{
	my $file = "$temp/writer_$client.sql";
	append_to_file($file, <<"SQL");
		\\set a random(1, 300)
		\\set b random(1, 300)
		\\set how random(1, 10)
		BEGIN;
		\\if :how <= 5
			SELECT try('one', 'c-' || :a);
		\\elif :how = 6
			SELECT try('batch', 'c-' || :a), try('one', 'd$client-' || :b);
		\\elif :how = 7
			SELECT try('streams', 'c-' || :a, 'c-' || :b);
		\\elif :how = 8
			SELECT try('if', 'd$client-' || :a);
			SAVEPOINT x;
			SELECT try('one', 'd$client-' || :b);
			ROLLBACK TO x;
			SELECT try('one', 'd$client-' || :a);
		\\elif :how = 9
			SELECT try('one', 'd$client-' || :a);
			SELECT pg_sleep(0.01);
			SELECT try('one', 'd$client-' || :b);
		\\endif
		\\if :how = 10
			SELECT try('one', 'd$client-' || :a);
			PREPARE TRANSACTION 'c$client';
			SELECT pg_sleep(0.01);
			COMMIT PREPARED 'c$client';
		\\else
			COMMIT;
		\\endif
SQL
	push @runs, IPC::Run::start([ 'pgbench', '--no-vacuum', '--time', 8, '--max-tries', 100, '--file', $file, $node->connstr('postgres') ], '>', \my $out, '2>', \my $err);
}
my $turns = 0;
my $until = time + 7;
sql($node, 'CALL turn(' . ++$turns . ')') while time < $until;
ok(IPC::Run::finish($_), 'a writer has got to the end') for @runs;
cmp_ok($turns, '>', 3, "round and round, $turns times");
cmp_ok(sql($node, 'SELECT count(*) FROM refused'), '>', 0, 'some were refused');
my $between = 'FROM eventstore.events e JOIN (SELECT *, lead(last) OVER w AS next_last, lead(quarter) OVER w AS next_quarter, lead(feed) OVER w AS next_feed FROM turns WINDOW w AS (ORDER BY n)) t ON e.position > t.last AND e.position <= t.next_last';
cmp_ok(sql($node, "SELECT count(*) $between"), '>', 100, 'and many were not');
is(sql($node, "SELECT e.stream, e.version, e.position, t.n $between AND es_slot(e.stream) / 256 NOT IN (t.quarter, t.next_quarter) LIMIT 5"), '', 'no event is in a slot that the store did not take then');
is(sql($node, "SELECT e.stream, e.version, e.position, t.n $between AND e.position % 1024 NOT IN (t.feed, t.next_feed) LIMIT 5"), '', 'nor of another feed');
is(sql($node, q{SELECT n, given_up FROM turns t WHERE given_up <> (SELECT count(*) FROM eventstore.events e WHERE e.position <= t.last AND es_slot(e.stream) / 256 = (t.n + 3) % 4) LIMIT 5}), '', 'what was given up was all there by then');
is_sound($node, 'round and round');

# A standby is promoted beside its primary, and takes half of the slots: the old cell gives them up first.
sql($node, q{SELECT es_set_cell(1, 1, '{[0,1024)}')});
$node->backup('base');
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init_from_backup($node, 'base', has_streaming => 1);
$other->start;
sql($node, q{SELECT es_append('e-' || i, -1, 'Before', '{}') FROM generate_series(1, 100) i});
$node->wait_for_catchup($other, 'replay', $node->lsn('insert'));
my $reader = session($other);
is($reader->query_safe(q{SELECT count(*) FROM es_read_category('e')}), 100, 'a session on the standby');
sql($node, q{SELECT es_set_cell(1, 1, '{[0,512)}')});
sql($node, q{SELECT es_append('e-' || i, -1, 'Old', '{}') FROM generate_series(1, 100) i WHERE es_slot('e-' || i) < 512});
$node->wait_for_catchup($other, 'replay', $node->lsn('insert'));
sql($node, q{SELECT es_append('e-' || i, -1, 'Later', '{}') FROM generate_series(1, 100) i WHERE es_slot('e-' || i) < 512});
is(sqlstate($other, q{SELECT es_set_cell(2, 2, '{[512,1024)}')}), '25006', 'a standby is set nothing');
$other->promote;
is(sqlstate($other, q{SELECT es_append('e-' || i, -1, 'Old', '{}') FROM generate_series(1, 100) i WHERE es_slot('e-' || i) >= 512}), 'SE009', 'promoted, it is what its primary was');
is(sqlstate($other, q{SELECT es_set_cell(2, 1, '{[512,1024)}')}), '22023', 'it needs a feed of its own');
is(sqlstate($other, q{SELECT es_set_cell(2, 2, '{[512,1024)}')}), '22023', 'and one that its primary never had');
$reader->query_safe(q{SELECT es_set_cell(2, 3, '{[512,1024)}')});
is($reader->query_safe(q{SELECT count(es_append('e-' || i, -1, 'New', '{}')) > 0 FROM generate_series(1, 100) i WHERE es_slot('e-' || i) >= 512}), 't', 'it takes the other half');
is(sqlstate($other, q{SELECT es_append('e-' || i, -1, 'New', '{}') FROM generate_series(1, 100) i WHERE es_slot('e-' || i) < 512}), 'SE009', 'and no more');
is(sql($other, q{SELECT string_agg(DISTINCT (position % 1024)::text, ' ') FROM eventstore.events WHERE type = 'New'}), '3', 'its positions are of its feed');
is(sql($other, q{SELECT min(n.position) > max(o.position) FROM eventstore.events n, eventstore.events o WHERE n.type = 'New' AND o.type <> 'New'}), 't', 'and above all that it had');
my @new = split /\n/, sql($other, q{SELECT position FROM eventstore.events WHERE type = 'New'});
is(sql($node, 'SELECT count(*) FROM eventstore.events WHERE position IN (' . join(', ', @new) . ')'), 0, 'none is given out twice');
is(sql($node, q{SELECT es_adopt_map('} . sql($other, 'SELECT jsonb_agg(c) FROM eventstore.cells c') . q{')}), 't', 'the old cell adopts the map');
my $err = '';
$node->psql('postgres', q{SELECT es_append('e-' || i, -1, 'Wrong', '{}') FROM generate_series(1, 100) i WHERE es_slot('e-' || i) >= 512}, stderr => \$err);
like($err, qr/DETAIL:  Its slot is \d+, of cell 2; this store is cell 1\./, 'and tells where to go');
is_sound($_, $_->name) for $node, $other;
$reader->quit;
done_testing();
