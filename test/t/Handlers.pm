# Random handlers of every form, for the property tests of projections: whichever way its events come, each table has to be what its statement
# makes of one event after the other. They work on the events that Declared.pm appends at random, and are as random as its seed.
package Handlers;

use strict;
use warnings;
use Exporter 'import';
use Declared;
use Store;
use Test::More;

our @EXPORT = qw(@handlers make_handlers create_handlers handlers_are_right);

# name, statement, filters by category and type; %s is the table: (k text PRIMARY KEY, n int, s text).
our @handlers;

sub one_of { return $_[ int(rand(@_)) ] }

my @keys = ('stream', 'category', 'type', q{coalesce(data ->> 'k', 'none')}, 'left(stream, 1)', 'stream || type');
my @values = ('type', q{data ->> 'note'}, 'version::text', q{data ->> 'amount'}, 'left(id::text, 0)');
sub condition { return one_of('true', q{type IN ('A', 'B')}, q{type <> 'A'}, q{data ? 'n'}, q{(data ->> 'flag')::boolean}, q{version % 2 = 0}, q{cardinality(tags) > 0}) }

# A statement on table %s for events that fulfil something.
my %forms = (
	upsert => sub {
		my ($key, $value, $condition) = @_;
		my $where = one_of('', '', ' WHERE u.n < 5');
		return "INSERT INTO %s AS u SELECT $key, 1, $value FROM events WHERE $condition ON CONFLICT (k) DO UPDATE SET n = u.n + 1, s = excluded.s$where";
	},
	insert_once => sub {
		my ($key, $value, $condition) = @_;
		return "INSERT INTO %s SELECT $key, version, $value FROM events WHERE $condition ON CONFLICT DO NOTHING";
	},
	insert_unless => sub {
		my ($key, $value, $condition) = @_;
		return "INSERT INTO %s SELECT x.k, 0, x.v FROM (SELECT $key AS k, $value AS v FROM events WHERE $condition) x WHERE NOT EXISTS (SELECT FROM %s u WHERE u.k = x.k)";
	},
	update => sub {
		my ($key, $value, $condition) = @_;
		return "UPDATE %s u SET n = u.n * 2 % 1000003 + 1, s = concat(right(u.s, 20), x.v) FROM (SELECT $key AS k, $value AS v FROM events WHERE $condition) x WHERE u.k = x.k";
	},
	delete => sub {
		my ($key, $value, $condition) = @_;
		return "DELETE FROM %s u USING (SELECT $key AS k FROM events WHERE $condition) x WHERE u.k = x.k";
	},
	merge => sub {
		my ($key, $value, $condition) = @_;
		my $delete = one_of('', q{WHEN MATCHED AND x.t = 'C' THEN DELETE});
		return "MERGE INTO %s u USING (SELECT $key AS k, $value AS v, type AS t FROM events WHERE $condition) x ON u.k = x.k $delete
			WHEN MATCHED THEN UPDATE SET n = u.n + 2, s = x.v WHEN NOT MATCHED THEN INSERT VALUES (x.k, 1, x.v)";
	},
	plain => sub {
		my ($key, $value, $condition) = @_;
		return "INSERT INTO %s SELECT position::text, version, $value FROM events WHERE $condition";
	},
	items => sub {
		my ($key, $value, $condition) = @_;
		return "INSERT INTO %s AS u SELECT i ->> 'sku', sum((i ->> 'q')::int), max($value) FROM events, jsonb_array_elements(data -> 'items') i WHERE $condition GROUP BY 1 ON CONFLICT (k) DO UPDATE SET n = u.n + excluded.n, s = excluded.s";
	});

# Several in one WITH, each for events of types of its own, as nobody can say which of two comes first that change the same row.
sub with_of_several
{
	my @parts = (q{type IN ('A', 'B')}, q{type = 'C'}, q{type IN ('D', 'E')});
	my @statements = map { $forms{ one_of(qw(upsert insert_once insert_unless update delete merge)) }->(one_of(@keys), one_of(@values), "$_ AND (" . condition() . ')') } @parts;
	s/^MERGE.*//s for @statements[ 0, 1 ];    # not in a WITH, before version 17
	my $last = pop @statements;
	my @with = map { "w$_ AS ($statements[$_])" } grep { $statements[$_] ne '' } 0 .. $#statements;
	return (@with ? 'WITH ' . join(', ', @with) . ' ' : '') . $last;
}

# Makes @handlers: each form at least once.
sub make_handlers
{
	my ($count) = @_;
	srand($seed);
	my @names = sort keys %forms;
	for my $nr (1 .. $count)
	{
		my $form = $nr <= @names ? $names[ $nr - 1 ] : one_of(@names, ('with') x 6);
		my $statement = $form eq 'with' ? with_of_several() : $forms{$form}->(one_of(@keys), one_of(@values), condition());
		push @handlers, [ "h${nr}_$form", $statement, one_of(undef, undef, ['x'], [ 'x', 'y' ]), one_of(undef, undef, [ 'A', 'B', 'C' ]) ];
	}
	return;
}

# Before the node has any: the oracle, which applies each statement to one event after the other, in a table of its own.
sub set_up_oracle
{
	my ($node) = @_;
	sql($node, <<'SQL');
		CREATE TABLE handlers (name text PRIMARY KEY, handler text, mode text, query text, categories text[], types text[]);
		-- What the statement makes of the events up to a position, of an empty table
		CREATE FUNCTION oracle(which text, upto bigint) RETURNS text LANGUAGE plpgsql AS $$
		DECLARE
			h handlers;
			e eventstore.events;
			result text;
		BEGIN
			SELECT * INTO STRICT h FROM handlers WHERE name = which;
			CREATE TEMP TABLE oracle_rows (k text COLLATE "C" PRIMARY KEY, n int, s text);
			CREATE TEMP TABLE events (LIKE eventstore.events);
			FOR e IN SELECT * FROM eventstore.events o WHERE position <= upto AND (h.categories IS NULL OR o.category = ANY (h.categories)) AND (h.types IS NULL OR o.type = ANY (h.types)) ORDER BY position LOOP
				DELETE FROM events;
				INSERT INTO events VALUES (e.*);
				EXECUTE replace(h.query, '%s', 'oracle_rows');
			END LOOP;
			SELECT coalesce(string_agg(r::text, E'\n' ORDER BY k), 'none') INTO result FROM oracle_rows r;
			DROP TABLE oracle_rows, events;
			RETURN result;
		END $$;
		CREATE FUNCTION rows_of(which text) RETURNS text LANGUAGE plpgsql AS $$
		DECLARE
			result text;
		BEGIN
			EXECUTE format('SELECT coalesce(string_agg(r::text, E''\n'' ORDER BY k), ''none'') FROM %I r', which) INTO result;
			RETURN result;
		END $$;
SQL
	return;
}

# Makes a projection of each, in each mode, the names ending in $suffix.
sub create_handlers
{
	my ($node, $suffix) = @_;
	set_up_oracle($node) if sql($node, q{SELECT to_regclass('handlers') IS NULL}) eq 't';
	for my $mode ('inline', 'async')
	{
		for my $handler (@handlers)
		{
			my $name = "$handler->[0]_${mode}_$suffix";
			my $filters = filters($handler);
			(my $query = $handler->[1]) =~ s/%s/$name/g;
			sql($node, qq{CREATE TABLE $name (k text COLLATE "C" PRIMARY KEY, n int, s text);
				INSERT INTO handlers VALUES ('$name', '$handler->[0]', '$mode', \$q\$$handler->[1]\$q\$, $filters);
				SELECT es_create_projection('$name', \$q\$$query\$q\$, '$mode', $filters, tables => '{$name}')});
		}
	}
	return;
}

# Tests that each table is what the oracle says; and that verify says so, if told to.
sub handlers_are_right
{
	my ($node, $when, $which, $verifies) = @_;
	$which //= 'true';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql($node, "SELECT name, query FROM handlers h WHERE ($which) AND rows_of(name) <> oracle(name, 9223372036854775807)"), '', "$when: handlers' tables are what one event after the other makes of them");
	is(sql($node, "SELECT name, query, v FROM handlers h, es_verify_projection(name) v WHERE $which"), '', "$when: es_verify_projection says so, too") if $verifies;
	return;
}

1;
