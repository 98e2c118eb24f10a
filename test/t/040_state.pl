# Snapshots under fire: appends, saves, rolled-back saves and loads of the same streams, where a load amounts to the fold of everything
# each time. The memory of a fold stays flat over 200,000 events.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('state', 'autovacuum = off', 'fsync = off', 'synchronous_commit = off');

sql($node, <<'SQL');
	CREATE FUNCTION backend_memory() RETURNS bigint LANGUAGE sql AS
		'SELECT sum(total_bytes)::bigint FROM pg_backend_memory_contexts';

	-- A state that tells whether an event was left out, doubled or taken out of order
	CREATE FUNCTION chain(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS
		$$ SELECT to_jsonb(md5(state::text || event.id || event.version)) $$;
	CREATE FUNCTION fold(state jsonb, events eventstore.event[]) RETURNS jsonb LANGUAGE plpgsql AS $$
	DECLARE
		e eventstore.event;
	BEGIN
		state := coalesce(state, '0');
		FOREACH e IN ARRAY events LOOP
			state := chain(state, e);
		END LOOP;
		RETURN state;
	END $$;

	-- Saves what the stream amounts to, or one of its last versions.
	CREATE FUNCTION save(which text, back int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		at bigint := es_stream_version(which) - back;
	BEGIN
		IF at > 0 THEN
			PERFORM es_save_snapshot(which, at, es_fold(which, 'chain(jsonb, eventstore.event)', '0', at));
		END IF;
	END $$;

	CREATE FUNCTION check_load(which text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT fold(l.state, l.events) IS DISTINCT FROM es_fold(which, 'chain(jsonb, eventstore.event)', '0') FROM es_load(which) l) THEN
			RAISE 'es_load of % does not amount to the fold of everything', which;
		END IF;
	END $$;
SQL

my $k = '\set k random(1, 4)' . "\n";
race($node, 'snapshots', 6, 150,
	"$k SELECT es_append('s-' || :k, -1, 'Appended', '{}');",
	"$k BEGIN; SELECT es_append('s-' || :k, -1, 'Appended', '{}'); SELECT save('s-' || :k, 0); COMMIT;",
	"$k BEGIN; SELECT es_append('s-' || :k, -1, 'Never', '{}'); SELECT save('s-' || :k, 0); ROLLBACK;",
	"$k \\set back random(0, 5)\n SELECT save('s-' || :k, :back);",
	"$k SELECT check_load('s-' || :k);",
	"$k BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT check_load('s-' || :k); SELECT es_stream_version('s-1'); SELECT check_load('s-' || :k); COMMIT;");
is(sql($node, q{SELECT count(*), bool_and(version > 10) FROM eventstore.snapshots}), '4|t', 'every stream has a snapshot');
is(sql($node, q{SELECT count(check_load('s-' || k)) FROM generate_series(1, 4) k}), 4, 'and loads right');
is_sound($node, 'after the race');

# In the middle of one fold, at its 20,000th event and at its 200,000th: what the backend has allocated
sql($node, q{SELECT es_append('long-1', -1, (SELECT jsonb_agg(jsonb_build_object('type', 'Counted', 'data', jsonb_build_object('i', i))) FROM generate_series(1, 10000) i)) FROM generate_series(1, 20)});
sql($node, q{SELECT es_append('long-1', -1, 'Big', jsonb_build_object('text', repeat(md5(i::text), 1000))) FROM generate_series(1, 10) i});
my %reducer = (
	sql => q{LANGUAGE sql AS 'SELECT CASE WHEN event.version IN (20000, 200000) THEN state || to_jsonb(backend_memory()) ELSE state END'},
	plpgsql => q{LANGUAGE plpgsql AS 'BEGIN RETURN CASE WHEN event.version IN (20000, 200000) THEN state || to_jsonb(backend_memory()) ELSE state || ''[]'' END; END'});
for my $language (sort keys %reducer)
{
	sql($node, "CREATE FUNCTION measure_$language(state jsonb, event eventstore.event) RETURNS jsonb $reducer{$language}");
	my ($few, $many) = split /\|/, sql($node, "SELECT s->>0, s->>1 FROM es_fold('long-1', 'measure_$language(jsonb, eventstore.event)', '[]') s");
	note("$language: $few bytes after 20,000 events, $many after 200,000");
	cmp_ok($many - $few, '<=', 64 * 1024, "a reducer in $language: flat over 200,000 events");
}

done_testing();
