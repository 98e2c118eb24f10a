# eventstore.categories and eventstore.types say what a count of the events up to the head says: at every moment, whoever appends, rolls
# back, prepares, removes and counts meanwhile; with the worker and without, on a standby, after a restore; within bounds and under policies.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

# What the views should show to who sees all, by counting.
my $brute = <<'SQL';
	CREATE FUNCTION brute(by_type boolean, head bigint) RETURNS TABLE (name text, events bigint, streams bigint, first_position bigint, last_position bigint, last_recorded_at timestamptz) LANGUAGE sql STABLE AS
	$$
		SELECT CASE WHEN by_type THEN type ELSE category END, count(*), count(DISTINCT stream), min(position), max(position), (array_agg(recorded_at ORDER BY position DESC))[1]
		FROM eventstore.events WHERE position <= head GROUP BY 1
	$$;
	-- Where the views differ from it, as long as the head does not move meanwhile.
	CREATE FUNCTION wrong() RETURNS TABLE (name text, told text, counted text) LANGUAGE plpgsql AS
	$$
	DECLARE
		before bigint := es_head();
		found  text;
	BEGIN
		CREATE TEMP TABLE c ON COMMIT DROP AS SELECT category AS name, events, streams, first_position, last_position, last_recorded_at FROM eventstore.categories;
		CREATE TEMP TABLE t ON COMMIT DROP AS SELECT type AS name, events, 0 AS streams, first_position, last_position, last_recorded_at FROM eventstore.types;
		IF es_head() = before THEN
			RETURN QUERY
				SELECT coalesce(c.name, b.name), c::text, b::text FROM c FULL JOIN brute(false, before) b USING (name) WHERE c::text IS DISTINCT FROM b::text
				UNION ALL
				SELECT coalesce(t.name, b.name), t::text, b::text FROM t
				FULL JOIN (SELECT b.name, b.events, 0 AS streams, b.first_position, b.last_position, b.last_recorded_at FROM brute(true, before) b) b USING (name)
				WHERE t::text IS DISTINCT FROM b::text;
		END IF;
		DROP TABLE c, t;
	END
	$$;
SQL
sub is_right
{
	my ($node, $name, $database) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql($node, 'SELECT * FROM wrong()', $database), '', $name);
}

my $node = new_node('tallies', 'wal_level = logical', 'max_wal_senders = 8', 'max_replication_slots = 8');
sql($node, $brute);
is(sql($node, 'SELECT count(*) FROM eventstore.categories'), 0, 'an empty store');

my $fold = sub { sql($node, "SELECT eventstore.fold_tallies(1, $_[0], es_head())") };
my $folded = sub { $fold->(1000000); is_right($node, $_[0]) };
sql($node, q{SELECT es_append('a-' || i, -1, '[{"type": "A"}, {"type": "B"}]') FROM generate_series(1, 3) i});
is(sql($node, 'SELECT category, events, streams, first_position, last_position FROM eventstore.categories'), 'a|6|3|1|6', 'a category');
is(sql($node, 'SELECT type, events, first_position, last_position FROM eventstore.types ORDER BY 1'), "A|3|1|5\nB|3|2|6", 'types');
is_right($node, 'what was never counted before');
is($fold->(4), 't', 'a part of it is counted, and there is more');
is_right($node, 'what was counted in part');
$folded->('what was counted');
sql($node, q{BEGIN; SELECT es_append('a-1', -1, 'Lost', '{}'); ROLLBACK; BEGIN; SELECT es_append('b-1', 0, 'A', '{}'); SAVEPOINT s; SELECT es_append('b-2', 0, 'Lost', '{}'); ROLLBACK TO s; COMMIT});
is_right($node, 'what is rolled back does not count');
is(sql($node, q{SELECT count(*) FROM eventstore.types WHERE type = 'Lost'}), 0, 'at all');
sql($node, q{BEGIN; SELECT es_append('p-1', -1, 'A', '{}'); PREPARE TRANSACTION 'p'; SELECT es_append('a-1', -1, 'A', '{}')});
is(sql($node, q{SELECT count(*) FROM eventstore.categories WHERE category = 'p'}), 0, 'nor what is prepared');
$folded->('nor what stands behind it');
sql($node, q{COMMIT PREPARED 'p'});
is(sql($node, q{SELECT events FROM eventstore.categories WHERE category = 'p'}), 1, 'until it is committed');
is_right($node, 'then all of it');

# Removed: counted already, not yet, and in between; the first, the last, all of a category; and what comes after.
sql($node, q{SELECT es_truncate_stream('a-1', 2)});
is_right($node, 'the first event is removed');
sql($node, q{SELECT es_append('a-3', -1, 'Z', '{}')});
$folded->('counted');
sql($node, q{SELECT es_truncate_stream('a-3', 4)});
is_right($node, 'the last event is removed, and a type with it');
is(sql($node, q{SELECT count(*) FROM eventstore.types WHERE type = 'Z'}), 0, 'which is not told of');
sql($node, q{SELECT es_append('a-3', -1, 'Z', '{}'); SELECT es_truncate_stream('a-3', 5)});
is_right($node, 'what has come and gone since it was counted');
$folded->('counted');
sql($node, q{BEGIN; SELECT es_delete_stream('a-2', -1); SELECT es_append('a-2', -1, 'Again', '{}'); COMMIT});
is_right($node, 'a stream that was deleted and begins anew');
$folded->('counted');
sql($node, q{SELECT es_delete_stream(stream, -1, true) FROM eventstore.streams WHERE stream ~ '^p'});
is_right($node, 'a category that is gone');
$folded->('counted');
is(sql($node, q{SELECT count(*) FROM eventstore.tallies WHERE category = 'p'}), 0, 'no tally stays of it');
is(sql($node, q{SELECT count(*) FROM eventstore.tally_removals}), 0, 'nor a note of what was removed');

# Who removes while somebody else counts: neither waits, and nothing is counted twice.
my ($counts, $removes) = (session($node), session($node));
sql($node, q{SELECT es_append('r-' || i, -1, '[{"type": "A"}, {"type": "B"}]') FROM generate_series(1, 3) i});
$removes->query_safe(q{BEGIN; SELECT es_truncate_stream('r-1', 2)});
$counts->query_safe(q{BEGIN; SELECT eventstore.fold_tallies(1, 1000000, es_head())});
is_right($node, 'somebody counts and somebody removes');
is(sql($node, 'SELECT eventstore.fold_tallies(1, 1000, es_head())'), 'f', 'one counts at a time, and nobody waits');
$removes->query_safe('COMMIT');
is_right($node, 'the removal first');
$counts->query_safe('COMMIT');
is_right($node, 'then the count, which did not see it');
$removes->query_safe(q{BEGIN; SELECT es_truncate_stream('r-2', 2)});
$counts->query_safe(q{BEGIN; SELECT es_append('r-3', -1, 'A', '{}'); COMMIT; BEGIN; SELECT eventstore.fold_tallies(1, 1000000, es_head()); COMMIT});
is_right($node, 'the count first');
$removes->query_safe('COMMIT');
is_right($node, 'then the removal');
$counts->query_safe(q{BEGIN; SELECT eventstore.fold_tallies(1, 1000000, es_head()); ROLLBACK});
is_right($node, 'a count that is rolled back');
$folded->('and one that is not');
$_->quit for $counts, $removes;

# In a REPEATABLE READ transaction, with what it sees
my $repeats = session($node);
$repeats->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
sql($node, q{SELECT es_append('late-1', -1, 'A', '{}'); SELECT eventstore.fold_tallies(1, 1000, es_head()); SELECT es_truncate_stream('r-3', 2)});
is($repeats->query_safe('SELECT * FROM wrong()'), '', 'REPEATABLE READ');
is($repeats->query_safe(q{SELECT count(*) FROM eventstore.categories WHERE category = 'late'}), 0, 'by its snapshot');
$repeats->query_safe('COMMIT');
$repeats->quit;
is(sql($node, 'BEGIN READ ONLY; SELECT count(*) > 0 FROM eventstore.categories; COMMIT'), 't', 'in a READ ONLY transaction');

# Events that come without an append, below where it was counted
sql($node, q{BEGIN; SELECT es_append('lost-1', 0, 'Lost', '{}'); ROLLBACK; SELECT es_append('kept-1', 0, 'A', '{}'); SELECT eventstore.fold_tallies(1, 1000000, es_head())});
my $gap = sql($node, q{SELECT es_head() - 1});
sql($node, qq{BEGIN; SET LOCAL eventstore.restoring = on; INSERT INTO eventstore.events SELECT $gap, 'came-1', 'came', 1, gen_random_uuid(), 'Came', '{}', NULL, NULL, now();
	INSERT INTO eventstore.streams SELECT 'came-1', 1, now(); COMMIT});
is(sql($node, q{SELECT events FROM eventstore.types WHERE type = 'Came'}), 1, 'what came below where it was counted');
is_right($node, 'and all the rest');
$folded->('counted anew');

# All at once. Whoever looks in a REPEATABLE READ transaction can compare with a count of the events.
sql($node, <<'SQL');
	CREATE FUNCTION some_stream() RETURNS text LANGUAGE sql AS
		$$ SELECT (ARRAY['u', 'v', 'w'])[1 + floor(random() * 3)::int] || (ARRAY['-', '-{x}', '-{y}'])[1 + floor(random() * 3)::int] || floor(random() * 4)::int $$;
	CREATE FUNCTION some_append() RETURNS bigint LANGUAGE sql AS
		$$ SELECT es_append(some_stream(), -1, (SELECT jsonb_agg(jsonb_build_object('type', 'T' || floor(random() * 4)::int)) FROM generate_series(1, 1 + floor(random() * 3)::int))) $$;
	CREATE FUNCTION some_removal() RETURNS void LANGUAGE plpgsql AS
	$$
	DECLARE
		stream  text := some_stream();
		version bigint := es_stream_version(stream);
	BEGIN
		IF version = 0 THEN
			RETURN;
		ELSIF random() < 0.3 THEN
			PERFORM es_delete_stream(stream, -1);
		ELSE
			PERFORM es_truncate_stream(stream, greatest(1, version - floor(random() * 3)::int));
		END IF;
	END
	$$;
	CREATE FUNCTION look() RETURNS void LANGUAGE plpgsql AS
	$$
	DECLARE
		found text := (SELECT string_agg(w::text, '; ') FROM wrong() w);
	BEGIN
		IF found IS NOT NULL THEN
			RAISE EXCEPTION 'differs: %', found;
		END IF;
	END
	$$;
SQL
race($node, 'everything at once', 8, 60,
	"SELECT some_append();\nBEGIN;\nSELECT some_append();\nSAVEPOINT s;\nSELECT some_append();\nROLLBACK TO s;\nSELECT some_append();\nCOMMIT;\nBEGIN;\nSELECT some_append();\nROLLBACK;\n",
	"BEGIN;\nSELECT some_append();\nPREPARE TRANSACTION 'p:client_id';\nCOMMIT PREPARED 'p:client_id';\n",
	"SELECT some_removal();\nSELECT some_append();\nBEGIN;\nSELECT some_removal();\nROLLBACK;\n",
	"SELECT eventstore.fold_tallies(1, 5, es_head());\nSELECT count(*) FROM eventstore.categories;\n",
	"BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT look();\nCOMMIT;\n");
is_right($node, 'after all of it');
$folded->('counted');
is_sound($node, 'after all of it');
my $before = sql($node, 'SELECT * FROM eventstore.tallies ORDER BY 1, 2, 3');
sql($node, 'SELECT eventstore.reset_tallies()');
is_right($node, 'nothing is counted any more');
$folded->('all is counted anew');
is(sql($node, 'SELECT * FROM eventstore.tallies ORDER BY 1, 2, 3'), $before, 'and is what it was, tenants too');

# Within bounds
my $within = sub {
	my ($role, $condition, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $by ('category', 'type')
	{
		my $view = $by eq 'type' ? 'types' : 'categories';
		my $streams = $by eq 'type' ? '' : ', streams';
		my $counted = $by eq 'type' ? '' : ', count(DISTINCT stream)';
		is(sql($node, "SET ROLE $role; SELECT $by, events$streams, first_position, last_position, last_recorded_at FROM eventstore.$view ORDER BY 1"),
			sql($node, "SELECT $by, count(*)$counted, min(position), max(position), (array_agg(recorded_at ORDER BY position DESC))[1] FROM eventstore.events WHERE $condition GROUP BY 1 ORDER BY 1"),
			"$name: $view");
	}
};
sql($node, <<'SQL');
	CREATE ROLE everything; CREATE ROLE by_category; CREATE ROLE by_tenant; CREATE ROLE by_both; CREATE ROLE by_several; CREATE ROLE nobody; CREATE ROLE appends;
	SELECT es_grant('everything', 'read'), es_grant('by_category', 'read', 'u'), es_grant('by_tenant', 'read', tenant => 'x'), es_grant('by_both', 'read', 'v', 'x'), es_grant('appends', 'append');
	SELECT es_grant('by_several', 'read', 'u'), es_grant('by_several', 'read', 'v', 'x'), es_grant('by_several', 'read', tenant => 'y'), es_grant('by_several', 'read', 'u', 'x');
SQL
for my $round ('counted', 'and what has come and gone since')
{
	$within->('everything', 'true', "all, $round");
	$within->('by_category', q{category = 'u'}, "a category, $round");
	$within->('by_tenant', q{es_tenant(stream) = 'x'}, "a tenant, $round");
	$within->('by_both', q{category = 'v' AND es_tenant(stream) = 'x'}, "a tenant in a category, $round");
	$within->('by_several', q{category = 'u' OR es_tenant(stream) = 'y' OR category = 'v' AND es_tenant(stream) = 'x'}, "several, $round");
	sql($node, q{SELECT some_append(), some_removal() FROM generate_series(1, 20)});
}
is(sqlstate($node, "SET ROLE $_; SELECT * FROM eventstore.categories"), '42501', "$_ may not") for qw(nobody appends);
is(sqlstate($node, "SET ROLE everything; SELECT * FROM eventstore.tallies"), '42501', 'nor may readers see the tallies');

# Under row security of the users' own
sql($node, q{CREATE POLICY few ON eventstore.events AS RESTRICTIVE FOR SELECT TO everything, by_category USING (type <> 'T1')});
$within->('everything', q{type <> 'T1'}, 'a policy');
$within->('by_category', q{category = 'u' AND type <> 'T1'}, 'a policy, and a bound');
$within->('by_tenant', q{es_tenant(stream) = 'x'}, 'a policy that is for others');
sql($node, 'DROP POLICY few ON eventstore.events');

# Restored
$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->backup_dir . '.dump', $node->connstr('postgres') ], 'dump');
sql($node, 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '-d', $node->connstr('restored'), $node->backup_dir . '.dump' ], 'restore');
is(sql($node, 'SELECT upto FROM eventstore.tally_state', 'restored'), 0, 'a dump leaves tallies out');
is_right($node, 'restored', 'restored');
sql($node, 'SELECT some_append(), some_removal() FROM generate_series(1, 20)', 'restored');
is_right($node, 'and going on', 'restored');

# Who asks counts for all, where there is no worker and it has become much.
sql($node, q{SELECT eventstore.fold_tallies(1, 1000000, es_head())});
my $upto = sql($node, 'SELECT upto FROM eventstore.tally_state');
sql($node, q{SELECT some_append()});
sql($node, q{SET ROLE everything; SELECT count(*) FROM eventstore.types});
is(sql($node, 'SELECT upto FROM eventstore.tally_state'), $upto, 'who asks does not write for a few events');
sql($node, q{SELECT es_append('much-' || i, 0, array_fill('T0'::text, ARRAY[100]), array_fill('{}'::jsonb, ARRAY[100])) FROM generate_series(1, 12) i});
sql($node, q{SET ROLE everything; BEGIN READ ONLY; SELECT count(*) FROM eventstore.types; COMMIT});
is(sql($node, 'SELECT upto FROM eventstore.tally_state'), $upto, 'nor where he may not');
sql($node, q{SET ROLE everything; SELECT count(*) FROM eventstore.types});
cmp_ok(sql($node, 'SELECT upto FROM eventstore.tally_state'), '>', $upto, 'but for many');
is_right($node, 'and right it is');

# With the worker, and a standby of it
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'eventstore'\n");
$node->restart;
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
my $goes_on = sub { becomes($node, 'SELECT upto = es_head() FROM eventstore.tally_state', 't', $_[0]) };
my $views = q{SELECT * FROM eventstore.categories ORDER BY 1; SELECT * FROM eventstore.types ORDER BY 1};
my $same = sub {
	$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
	becomes($standby, 'SELECT es_head()', sql($node, 'SELECT es_head()'), "$_[0]: the standby's head");
	is(sql($standby, $views), sql($node, $views), "$_[0]: the standby says the same");
};
sql($node, q{SELECT some_append(), some_removal() FROM generate_series(1, 200)});
$same->('what is not counted yet');
is_right($node, 'what is not counted yet');
$goes_on->('the worker counts');
is_right($node, 'counted by the worker');
$same->('counted by the worker');
$standby->stop;

# A mirror, with a worker and without: its events come and go by logical replication.
sql($node, 'CREATE PUBLICATION mirrored FOR TABLE eventstore.events, eventstore.streams, eventstore.head, eventstore.removed_events WITH (publish_via_partition_root = true)');
for my $settings ([], [ "shared_preload_libraries = 'eventstore'" ])
{
	my $how = @$settings ? 'a mirror with a worker' : 'a mirror';
	my $subscription = @$settings ? 'by_worker' : 'alone';
	my $mirror = new_node("mirror_$subscription", $in_one_table, 'wal_level = logical', @$settings);
	sql($mirror, 'SELECT es_set_mirror()');
	is(sql($mirror, q{SELECT status, detail FROM eventstore.health WHERE name = 'replication'}), 'critical|This mirror waits: No subscription feeds it.', "$how: it is not fed yet");
	sql($mirror, "CREATE SUBSCRIPTION $subscription CONNECTION \$\$" . $node->connstr('postgres') . "\$\$ PUBLICATION mirrored");
	my $as_here = sub {
		becomes($mirror, 'SELECT es_head()', sql($node, 'SELECT es_head()'), "$how: $_[0], the head");
		becomes($mirror, 'SELECT count(*) FROM eventstore.removed_events', sql($node, 'SELECT count(*) FROM eventstore.removed_events'), "$how: $_[0], what was removed");
		is(sql($mirror, $views), sql($node, $views), "$how: $_[0]");
	};
	$goes_on->('the worker counts');
	$as_here->('the initial copy');
	if (@$settings) { becomes($mirror, 'SELECT upto = es_head() FROM eventstore.tally_state', 't', "$how: its worker counts") }
	else { sql($mirror, 'SELECT eventstore.fold_tallies(1, 1000000, es_head())') }
	sql($node, q{SELECT some_append(), some_removal() FROM generate_series(1, 100)});
	$as_here->('what has come and gone');
	sql($mirror, 'SELECT eventstore.fold_tallies(1, 1000000, es_head())');
	$as_here->('counted');
	is(sql($mirror, q{SELECT string_agg(name, ' ') FROM eventstore.health WHERE status <> 'ok' AND name <> 'slots'}), '', "$how: all is well");
	sql($mirror, "DROP SUBSCRIPTION $subscription");
	$mirror->stop;
}
sql($node, q{SET session_replication_role = replica; SELECT some_removal() FROM generate_series(1, 10)});
is_right($node, 'removed by who calls himself a replica');
$folded->('counted');

done_testing();
