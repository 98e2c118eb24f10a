# Random events, and declared tables of every kind over them, for the property tests of projections: each table has to be what its query
# gives over all events.
#
# The tests note their seed: PROJECTION_SEED=... repeats a run. PROJECTION_ROUNDS=... makes it longer.
package Declared;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

our @EXPORT = qw(@declared $seed $rounds set_up create filters lookups is_equal run_async write_file);

our $seed = $ENV{PROJECTION_SEED} // int(rand(1_000_000));
our $rounds = $ENV{PROJECTION_ROUNDS} // 3;

# What is declared: name, query, the filters by category and type, and the table that is looked up. Each is made inline and async.
our @declared = (
	[ counts => q{SELECT stream, count(*) AS n, count(data ->> 'n') AS with_n, count(metadata) AS with_metadata FROM events GROUP BY stream} ],
	[ sums => q{SELECT stream, sum((data ->> 'n')::int) AS ints, sum((data ->> 'n')::bigint) AS bigints, sum((data ->> 'amount')::numeric) AS amounts,
			sum(make_interval(secs => (data ->> 'n')::int)) AS spans FROM events GROUP BY stream} ],
	[ extremes => q{SELECT data ->> 'k' AS k, min((data ->> 'n')::int) AS least, max((data ->> 'amount')::numeric(20, 4)) AS most, min(data ->> 'note') AS first_note, max(recorded_at) AS last_seen
			FROM events WHERE data ->> 'k' IS NOT NULL GROUP BY data ->> 'k'} ],
	[ averages => q{SELECT stream, type, avg((data ->> 'n')::int) AS ints, avg((data ->> 'amount')::numeric) AS amounts, avg(version) AS versions, avg(make_interval(secs => (data ->> 'n')::int)) AS spans
			FROM events GROUP BY stream, type} ],
	[ flags => q{SELECT category, type, bool_and((data ->> 'flag')::boolean) AS every_one, bool_or((data ->> 'flag')::boolean) AS any_one, every(data ? 'n') AS all_have_n FROM events GROUP BY type, category} ],
	[ ends => q{SELECT stream, (array_agg(data ->> 'note' ORDER BY position))[1] AS first_note, (array_agg(data ->> 'note' ORDER BY position DESC))[1] AS last_note,
			(array_agg(version ORDER BY position DESC))[1] AS last_version FROM events GROUP BY stream} ],
	[ latest => q{SELECT stream, jsonb_object_agg(data ->> 'k', data -> 'n' ORDER BY position) AS state FROM events WHERE data ->> 'k' IS NOT NULL GROUP BY stream} ],
	[ across => q{SELECT data ->> 'k' AS k, (array_agg(stream ORDER BY position))[1] AS first_stream, (array_agg(id ORDER BY position DESC))[1] AS last_id,
			(array_agg(position ORDER BY position DESC))[1] AS last_position FROM events WHERE data ->> 'k' IS NOT NULL GROUP BY data ->> 'k'} ],
	[ latest_across => q{SELECT category, jsonb_object_agg(coalesce(data ->> 'k', 'none'), position ORDER BY position) AS state FROM events GROUP BY category} ],
	[ computed => q{SELECT stream, coalesce(sum((data ->> 'amount')::numeric), 0) - count(*) AS less, CASE WHEN count(*) > 5 THEN 'many' ELSE 'few' END AS how_many,
			max(version) - min(version) + 1 AS span, sum((data ->> 'n')::int) * 2 + length(stream) AS twice FROM events GROUP BY stream} ],
	[ filtered => q{SELECT stream, count(*) FILTER (WHERE type = 'B') AS bs, sum((data ->> 'n')::int) FILTER (WHERE (data ->> 'flag')::boolean) AS flagged,
			min(data ->> 'note') FILTER (WHERE type IN ('A', 'C')) AS note, avg((data ->> 'amount')::numeric) FILTER (WHERE data ->> 'k' = 'x') AS average,
			(array_agg(data -> 'amount' ORDER BY position DESC) FILTER (WHERE type = 'A'))[1] AS last_of_a FROM events GROUP BY stream} ],
	[ keys => q{SELECT category, data ->> 'k' AS k, (data ->> 'n')::int % 3 AS rest, count(*) AS n, bool_or(version = 1) AS begins FROM events
			WHERE data ->> 'k' IS NOT NULL AND data ->> 'n' IS NOT NULL GROUP BY category, data ->> 'k', (data ->> 'n')::int % 3} ],
	[ items => q{SELECT item ->> 'sku' AS sku, sum((item ->> 'q')::int) AS q, count(*) AS lines
			FROM events, jsonb_array_elements(data -> 'items') AS item GROUP BY item ->> 'sku'} ],
	[ only_a => q{SELECT stream, count(*) AS n, sum((data ->> 'amount')::numeric) AS amount FROM events GROUP BY stream}, undef, [ 'A', 'D' ] ],
	[ only_x => q{SELECT type, count(*) AS n, max(position) AS last FROM events GROUP BY type}, ['x'], undef ],
	[ only_xb => q{SELECT data ->> 'flag' AS flag, count(*) AS n, avg((data ->> 'n')::int) AS average FROM events WHERE data ->> 'flag' IS NOT NULL GROUP BY data ->> 'flag'}, [ 'x', 'y-' ], ['B'] ],
	[ tagged => q{SELECT tag, count(*) AS n, min(position) AS first, max(stream) AS last_stream FROM events, unnest(tags) AS tag GROUP BY tag} ],
	[ null_keys => q{SELECT data ->> 'k' AS k, (data ->> 'n')::int % 2 AS rest, tags, count(*) AS n, avg((data ->> 'amount')::numeric) AS average FROM events GROUP BY 1, 2, 3} ],
	[ null_rows => q{SELECT DISTINCT category, data ->> 'flag' AS flag, data -> 'k' AS k FROM events} ],
	[ by_time => q{SELECT stream, es_last(data ->> 'note', (data ->> 'at')::date ORDER BY position) AS last_note, es_first(data -> 'amount', (data ->> 'at')::date ORDER BY position) AS first_amount,
			es_last(version, recorded_at ORDER BY position) FILTER (WHERE type <> 'A') AS latest FROM events GROUP BY stream} ],
	[ by_value => q{SELECT data ->> 'k' AS k, es_last(id, data ->> 'note' ORDER BY position) AS by_text, es_first(position, (data ->> 'amount')::numeric ORDER BY position) AS by_amount, es_last(type, tags ORDER BY position) AS by_tags,
			es_last(data ->> 'note', id) AS by_id FROM events GROUP BY 1} ],
	[ distinct_values => q{SELECT category, count(DISTINCT stream) AS streams, count(DISTINCT (data ->> 'amount')::numeric) FILTER (WHERE type <> 'C') AS amounts, count(DISTINCT tags) AS tags, count(*) AS n FROM events GROUP BY category} ],
	[ distinct_across => q{SELECT data ->> 'k' AS k, count(DISTINCT data ->> 'note') AS notes FROM events GROUP BY 1} ],
	[ distinct_items => q{SELECT type, count(DISTINCT item) AS items, count(DISTINCT item ->> 'sku') AS skus, sum((item ->> 'q')::int) AS q FROM events, jsonb_array_elements(data -> 'items') AS item GROUP BY type} ],
	[ lists => q{SELECT stream, array_agg(data ->> 'note' ORDER BY position) AS notes, jsonb_agg(data -> 'amount' ORDER BY position) FILTER (WHERE data ? 'amount') AS amounts, string_agg(data ->> 'note', '; ' ORDER BY position) AS note FROM events GROUP BY stream} ],
	[ lists_across => q{SELECT data ->> 'k' AS k, array_agg(stream ORDER BY position) AS streams, jsonb_agg(tags ORDER BY position) FILTER (WHERE version < 20) AS tags FROM events GROUP BY 1} ],
	[ with_query => q{WITH noted (s, note, amount) AS (SELECT stream, data ->> 'note', (data ->> 'amount')::numeric FROM events WHERE data ? 'note'), x AS (SELECT * FROM noted) SELECT left(s, 1) AS kind, max(note) AS note, sum(amount) AS amount FROM x GROUP BY 1} ],
	[ looked_up => q{SELECT l.colour, count(*) AS n, es_last(e.stream, e.position) AS last_stream, count(DISTINCT l.k) AS ks FROM events e LEFT JOIN looked l ON l.k = e.data ->> 'k' GROUP BY l.colour}, undef, undef, 'looked' ],
	[ looked_up_inner => q{SELECT e.category, l.weight, sum((data ->> 'n')::int * l.weight) AS weighted FROM events e JOIN looked l ON l.k = e.data ->> 'k' AND l.weight > 1 GROUP BY 1, 2}, undef, ['A', 'B'], 'looked' ]);

# Makes the functions that append at random and compare.
sub set_up
{
	my ($node) = @_;
	note("PROJECTION_SEED=$seed");
sql($node, <<'SQL');
	CREATE TABLE looked (k text PRIMARY KEY, colour text, weight int NOT NULL);
	INSERT INTO looked VALUES ('x', 'red', 1), ('y', 'blue', 2), ('Ü', 'red', 3), ('', NULL, 4);
	CREATE TABLE declared (name text PRIMARY KEY, query text, categories text[], types text[], mode text);

	-- Rows that only the table has, and rows that only the query has.
	CREATE FUNCTION differences(which text) RETURNS SETOF text LANGUAGE plpgsql AS $$
	DECLARE
		d declared;
	BEGIN
		SELECT * INTO STRICT d FROM declared WHERE name = which;
		RETURN QUERY EXECUTE format(
			'WITH events AS (SELECT * FROM eventstore.events WHERE ($1 IS NULL OR category = ANY ($1)) AND ($2 IS NULL OR type = ANY ($2))),
				  stored AS (SELECT stored_row::text AS r FROM %1$I stored_row), expected AS (SELECT expected_row::text AS r FROM (%2$s) expected_row)
			 (SELECT %1$L || '': stored '' || r FROM (TABLE stored EXCEPT ALL TABLE expected) s LIMIT 3)
			 UNION ALL (SELECT %1$L || '': expected '' || r FROM (TABLE expected EXCEPT ALL TABLE stored) e LIMIT 3)', d.name, d.query) USING d.categories, d.types;
	END $$;

	CREATE FUNCTION pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE AS
		$$ SELECT choices[1 + floor(random() * cardinality(choices))] $$;

	-- Each key is missing, null, or has some value.
	CREATE FUNCTION random_data() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
		SELECT coalesce(jsonb_object_agg(key, value), '{}')
		FROM (VALUES ('k', to_jsonb(pick('x', 'y', 'z', 'Ü', ''))),
					 ('n', to_jsonb(floor(random() * 100)::int - 50)),
					 ('amount', to_jsonb(round((random() * 1000)::numeric, floor(random() * 4)::int) * pick('1', '1', '-1', '10000000000')::numeric)),
					 ('flag', to_jsonb(random() < 0.7)),
					 ('at', to_jsonb(pick('2024-01-01', '2024-01-02', '2023-12-31'))),
					 ('note', to_jsonb(pick('a', 'b', 'B', 'é', 'Z', ''))),
					 ('items', (SELECT coalesce(jsonb_agg(jsonb_build_object('sku', pick('s1', 's2', 's3'), 'q', floor(random() * 5)::int)), '[]') FROM generate_series(1, floor(random() * 4)::int)))) v (key, given),
			 LATERAL (SELECT CASE WHEN random() < 0.15 AND key <> 'items' THEN 'null' ELSE given END AS value) n
		WHERE random() < 0.8 $$;
	CREATE FUNCTION random_events() RETURNS jsonb LANGUAGE sql VOLATILE AS $$
		SELECT jsonb_agg(jsonb_build_object('type', pick('A', 'A', 'B', 'B', 'C', 'D', 'E'), 'data', random_data(),
			'metadata', CASE WHEN random() < 0.5 THEN '{"user": 1}'::jsonb ELSE 'null' END, 'tags', to_jsonb(ARRAY(SELECT 't' || i FROM generate_series(1, 3) i WHERE random() < 0.4))))
		FROM generate_series(1, 1 + floor(random() * 5)::int) $$;
	CREATE FUNCTION random_stream() RETURNS text LANGUAGE sql VOLATILE AS
		$$ SELECT pick('x-1', 'x-2', 'x-3', 'y-1', 'y-2', 'y--3', 'x', 'z-1') $$;

	-- An append of any form, or one that is undone
	CREATE FUNCTION append_one() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		CASE pick('one', 'many', 'many', 'streams', 'undone')
			WHEN 'one' THEN
				PERFORM es_append(random_stream(), -1, pick('A', 'B', 'C'), random_data());
			WHEN 'many' THEN
				PERFORM es_append(random_stream(), -1, random_events());
			WHEN 'streams' THEN
				PERFORM es_append_streams(jsonb_build_array(
					jsonb_build_object('stream', random_stream(), 'expected_version', -1, 'events', random_events()),
					jsonb_build_object('stream', random_stream(), 'expected_version', -1, 'events', random_events())));
			WHEN 'undone' THEN
				BEGIN
					PERFORM es_append(random_stream(), -1, random_events());
					RAISE 'undo';
				EXCEPTION WHEN raise_exception THEN
					NULL;
				END;
		END CASE;
	END $$;
	-- One by one, or several in a transaction
	CREATE PROCEDURE append_some(count int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. count LOOP
			PERFORM append_one();
			IF random() < 0.5 THEN
				COMMIT;
			END IF;
		END LOOP;
	END $$;

	CREATE FUNCTION run_all(max_count bigint DEFAULT NULL) RETURNS void LANGUAGE sql AS
		$$ SELECT es_run_projection(name, max_count) FROM declared WHERE mode = 'async' $$;
SQL
	return;
}

sub array { my ($names) = @_; return $names ? "'{" . join(',', @$names) . "}'" : 'NULL' }

# The filters of one of @declared, as arguments
sub filters { my ($declared) = @_; return array($declared->[2]) . ', ' . array($declared->[3]) }

# And the table that it looks up, as one more
sub lookups { my ($declared) = @_; return 'lookups => ' . array($declared->[4] ? [ $declared->[4] ] : undef) }

# Makes all of them, the names ending in $suffix.
sub create
{
	my ($node, $suffix) = @_;
	for my $mode ('inline', 'async')
	{
		for my $d (@declared)
		{
			my ($name, $query) = ("$d->[0]_${mode}_$suffix", $d->[1]);
			my ($filters, $lookups) = (filters($d), lookups($d));
			sql($node, "SELECT es_create_projection('$name', \$q\$$query\$q\$, '$mode', $filters, $lookups); INSERT INTO declared VALUES ('$name', \$q\$$query\$q\$, $filters, '$mode')");
		}
	}
	return;
}

sub is_equal
{
	my ($node, $when, $which) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql($node, 'SELECT differences(name) FROM declared WHERE ' . ($which // 'true')), '', "$when: every table is what its query gives");
}

sub run_async
{
	my ($node) = @_;
	sql($node, 'SELECT run_all()');
	return;
}

sub write_file
{
	my ($name, $text) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . "/$name";
	PostgreSQL::Test::Utils::append_to_file($file, $text);
	return $file;
}

1;
