# Declared tables are what their queries give over all events when they are rebuilt, spoilt and rebuilt, or looked at as of a position. And
# a reader never sees a table half built while it is rebuilt under appends.
use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use Declared;
use Handlers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('projections', 'autovacuum = off');
set_up($node);

create($node, 'early');
make_handlers(30);
create_handlers($node, 'early');
sql($node, 'SELECT setseed(' . $seed / 2_000_000 . '); CALL append_some(150)');
run_async($node);

# -- Rebuilt -----------------------------------------------------------------------------------------------------------------

sql($node, q{SELECT es_rebuild_projection(name) FROM declared WHERE name LIKE '%_early'});
is_equal($node, 'rebuilt', q{name LIKE '%_early'});
sql($node, 'UPDATE counts_inline_early SET n = n + 1; DELETE FROM sums_async_early; UPDATE extremes_inline_early SET least = NULL');
isnt(sql($node, q{SELECT differences('counts_inline_early')}), '', 'spoilt');
is(sql($node, q{SELECT count(*) > 0 FROM es_verify_projection('counts_inline_early')}), 't', 'es_verify_projection tells');
sql($node, q{SELECT es_rebuild_projection(name) FROM declared WHERE name IN ('counts_inline_early', 'sums_async_early', 'extremes_inline_early')});
is_equal($node, 'spoilt and rebuilt');
is(sql($node, q{SELECT name, v FROM declared, es_verify_projection(name) v}), '', 'es_verify_projection finds nothing');

# Handlers: rebuilt; spoilt, and rebuilt
my $run_handlers = sub { sql($node, q{SELECT es_run_projection(name) FROM handlers WHERE mode = 'async'}) };
$run_handlers->();
sql($node, q{SELECT es_rebuild_projection(name) FROM handlers});
handlers_are_right($node, 'rebuilt', 'true', 1);
sql($node, "DELETE FROM $_ WHERE k < 'm'; INSERT INTO $_ VALUES ('spoilt', 0, ''); UPDATE $_ SET n = n + 7") for map { ("$_->[0]_inline_early", "$_->[0]_async_early") } @handlers;
is(sql($node, q{SELECT count(*) FROM handlers h WHERE NOT EXISTS (SELECT FROM es_verify_projection(name))}), 0, 'es_verify_projection tells of each');
sql($node, q{SELECT es_rebuild_projection(name) FROM handlers});
handlers_are_right($node, 'spoilt and rebuilt', 'true', 1);

# What was rebuilt goes on.
sql($node, 'CALL append_some(20)');
run_async($node);
is_equal($node, 'rebuilt, and goes on');
$run_handlers->();
handlers_are_right($node, 'rebuilt, and goes on');

# As of a position: what the query gave then
my $middle = sql($node, 'SELECT position FROM eventstore.events ORDER BY position OFFSET 150 LIMIT 1');
for my $name (map { "$_->[0]_inline_early" } @declared)
{
	sql($node, "SELECT es_projection_as_of('$name', '${name}_then', $middle)");
	my $differences = sql($node, qq{
		SELECT format('WITH events AS (SELECT * FROM eventstore.events WHERE position <= $middle AND (\$1 IS NULL OR category = ANY (\$1)) AND (\$2 IS NULL OR type = ANY (\$2)))
			SELECT count(*) FROM ((SELECT stored_row::text FROM ${name}_then stored_row EXCEPT ALL SELECT expected_row::text FROM (%1\$s) expected_row) UNION ALL (SELECT expected_row::text FROM (%1\$s) expected_row EXCEPT ALL SELECT stored_row::text FROM ${name}_then stored_row)) d', query)
			FROM declared WHERE name = '$name'});
	my ($categories, $types) = split /\|/, sql($node, "SELECT coalesce(quote_literal(categories::text), 'NULL'), coalesce(quote_literal(types::text), 'NULL') FROM declared WHERE name = '$name'");
	$differences =~ s/\$1/$categories\::text[]/g;
	$differences =~ s/\$2/$types\::text[]/g;
	is(sql($node, $differences), 0, "as of a position: $name");
}

for my $handler (@handlers)
{
	sql($node, "SELECT es_projection_as_of('$handler->[0]_inline_early', '$handler->[0]_then', $middle)");
	is(sql($node, "SELECT rows_of('$handler->[0]_then')"), sql($node, "SELECT oracle('$handler->[0]_inline_early', $middle)"), "as of a position: $handler->[0]");
}
sql($node, q{SELECT es_drop_projection(name) FROM handlers});

# -- A reader that watches an invariant while tables are rebuilt under appends -----------------------------------------------
#
# A transfer takes from one account what it gives another, in one transaction: whenever one looks, the balances add up to nothing, and the
# transfers never get fewer.

sql($node, <<'SQL');
	SELECT es_create_projection('balances', $$
		SELECT stream AS account, sum((data ->> 'amount')::numeric) AS balance, count(*) AS transfers FROM events GROUP BY stream $$, categories => '{account}');
	SELECT es_create_projection('balances_async', $$
		SELECT stream AS account, sum((data ->> 'amount')::numeric) AS balance, count(*) AS transfers FROM events GROUP BY stream $$, 'async', categories => '{account}');
	INSERT INTO declared
		SELECT name, 'SELECT stream AS account, sum((data ->> ''amount'')::numeric) AS balance, count(*) AS transfers FROM events GROUP BY stream', '{account}', NULL, mode
		FROM (VALUES ('balances', 'inline'), ('balances_async', 'async')) v (name, mode);
	CREATE FUNCTION transfer(a int, b int, amount numeric) RETURNS void LANGUAGE sql AS $$
		SELECT es_append_streams(jsonb_build_array(
			jsonb_build_object('stream', 'account-' || a, 'expected_version', -1, 'events', jsonb_build_object('type', 'Moved', 'data', jsonb_build_object('amount', -amount))),
			jsonb_build_object('stream', 'account-' || b, 'expected_version', -1, 'events', jsonb_build_object('type', 'Moved', 'data', jsonb_build_object('amount', amount))))) $$;
	CREATE TABLE seen (reader int, count bigint, at bigint GENERATED ALWAYS AS IDENTITY);
	CREATE FUNCTION look(reader int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		total numeric;
		halves bigint;
	BEGIN
		SELECT sum(balance), sum(transfers) INTO total, halves FROM balances;
		IF total <> 0 OR halves % 2 <> 0 THEN
			RAISE 'balances add up to %, after % halves of transfers', total, halves;
		END IF;
		INSERT INTO seen (reader, count) VALUES (look.reader, halves);
	END $$;
	SELECT transfer(i % 20, (i + 7) % 20, i) FROM generate_series(1, 500) i;
SQL
my ($bench_out, $look_out) = ('', '');
my $writers = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 4, '-t', 400, '--max-tries', 100,
		'-f', write_file('transfer.sql', '\set a random(0, 19)' . "\n" . '\set b random(0, 19)' . "\n" . '\set c random(1, 100)' . "\nSELECT transfer(:a, (:a + 1 + :b) % 20, :c);"), $node->connstr('postgres') ],
	'>&', \$bench_out);
my $readers = IPC::Run::start(
	[ 'pgbench', '-n', '-c', 2, '-t', 600, '-f', write_file('look.sql', 'SELECT look(:client_id);'),
		'-f', write_file('look_twice.sql', 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT look(:client_id); SELECT look(:client_id); COMMIT;'), $node->connstr('postgres') ],
	'>&', \$look_out);
my $rebuilds = 0;
while ($writers->pumpable && $rebuilds < 50)
{
	sql($node, q{SELECT es_rebuild_projection('balances')});
	sql($node, q{SELECT es_run_projection('balances_async', 300)});
	sql($node, q{SELECT es_rebuild_projection('balances_async')}) if $rebuilds % 2;
	$rebuilds++;
	$writers->pump_nb;
}
$writers->finish;
$readers->finish;
note("$rebuilds rebuilds");
cmp_ok($rebuilds, '>=', 2, 'rebuilt while others append and read');
is($writers->full_result(0), 0, 'no writer failed') or diag($bench_out);
is($readers->full_result(0), 0, 'no reader saw the invariant broken') or diag($look_out);
is(sql($node, 'SELECT count(*) FROM (SELECT count, lag(count) OVER (PARTITION BY reader ORDER BY at) AS before FROM seen) s WHERE count < before'), 0, 'nor a table that was older than before');
is_equal($node, 'rebuilt under appends', q{name = 'balances'});
run_async($node);
is_equal($node, 'rebuilt under appends, run');
is(sql($node, q{SELECT name, v FROM declared, es_verify_projection(name) v}), '', 'es_verify_projection finds nothing in the end');
is_sound($node, 'in the end');

done_testing();
