# Read tables and who has level read: es_grant says that it gives no right on them; whoever may SELECT from them may see what they were, and
# gets nothing else by that, neither more rows nor a way to have code of his run as the projection's owner.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('reading');
sql($node, <<'SQL');
	CREATE ROLE maker LOGIN;
	CREATE ROLE reporter LOGIN;
	CREATE ROLE outsider LOGIN;
	CREATE ROLE by_category LOGIN;
	CREATE ROLE by_tenant LOGIN;
	CREATE ROLE admin LOGIN;
	SELECT es_grant('maker', 'admin');
	CREATE SCHEMA made; GRANT ALL ON SCHEMA made TO maker; GRANT USAGE ON SCHEMA made TO PUBLIC;
	CREATE SCHEMA results; GRANT ALL ON SCHEMA results TO PUBLIC;
	SELECT es_append('order-' || i % 3, -1, 'Placed', jsonb_build_object('n', i)) FROM generate_series(1, 9) i;
	SELECT es_append('other-1', -1, 'Placed', '{}');
	SET ROLE maker;
	CREATE FUNCTION made.who() RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';
	CREATE FUNCTION made.reduce(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT event.data';
	CREATE TABLE made.log (position bigint PRIMARY KEY, by text);
	CREATE TABLE made.more (position bigint PRIMARY KEY);
	CREATE TABLE made.lookup (stream text PRIMARY KEY, name text);
	SELECT es_create_projection('made.orders', 'SELECT stream, count(*) AS n, array_agg(version ORDER BY position) AS versions FROM events GROUP BY stream', categories => '{order}'),
		   es_create_projection('made.every', 'SELECT category, count(*) AS n FROM events GROUP BY category'),
		   es_create_projection('made.looked', 'SELECT e.stream, count(*) AS n, es_last(l.name, e.version) AS name FROM events e LEFT JOIN made.lookup l ON l.stream = e.stream GROUP BY e.stream', categories => '{order}', lookups => '{made.lookup}'),
		   es_create_projection('log', 'WITH i AS (INSERT INTO made.log SELECT position, made.who() FROM events ON CONFLICT DO NOTHING) INSERT INTO made.more SELECT position FROM events ON CONFLICT DO NOTHING', tables => '{made.log,made.more}'),
		   es_create_projection('loose', 'INSERT INTO made.log SELECT position, made.who() FROM events WHERE false'),
		   es_create_state_projection('made.states', 'made.reduce(jsonb, eventstore.event)', categories => '{order}');
	GRANT SELECT ON made.orders, made.every, made.looked, made.states, made.log TO by_category, by_tenant, outsider;
SQL

# es_grant
my $told = '';
my $grant = sub { $told = ''; $node->psql('postgres', "SELECT es_grant($_[0])", stderr => \$told); return $told };
like($grant->(q{'reporter', 'read'}), qr/NOTICE:  role reporter has been granted no right on 6 tables of projections\nDETAIL: .*made\.every, made\.log, made\.looked, made\.more, made\.orders, made\.states\.\nHINT:  GRANT SELECT ON made\.every, .* TO reporter/, 'es_grant says what read does not give');
sql($node, 'GRANT SELECT ON made.every, made.log, made.looked, made.more, made.states TO reporter');
like($grant->(q{'reporter', 'read'}), qr/on a table of projections\n.*made\.orders\./, 'es_grant says what is missing');
sql($node, 'GRANT SELECT ON made.orders TO reporter');
is($grant->(q{'reporter', 'read'}), '', 'es_grant says nothing where nothing is missing');
is($grant->(q{'by_category', 'read', 'order'}), '', 'nor of what is bound');
is($grant->(q{'by_tenant', 'read', tenant => 'x'}), '', 'nor of what is bound to a tenant');
is($grant->(q{'outsider', 'append'}), '', 'nor of another level');

# As it was, for who may read it as it is
my $as = sub { my ($role, $statements) = @_; "SET ROLE $role; $statements; RESET ROLE" };
my $was = sub { my ($projection, $into, $rest) = @_; "SELECT es_projection_as_of('$projection', '$into'" . ($rest // '') . ')' };
my $now = { orders => 'made.orders', every => 'made.every', looked => 'made.looked', states => 'made.states', log => 'made.log' };
for my $name (sort keys %$now)
{
	my $projection = $name eq 'log' ? 'log' : "made.$name";
	is(sqlstate($node, $as->('reporter', $was->($projection, "results.$name"))), '', "a reader: $name as of now");
	is(sql($node, "SELECT count(*) FROM (TABLE $now->{$name} EXCEPT TABLE results.$name) a"), 0, "$name: the same rows");
	is(sql($node, "SELECT relowner::regrole FROM pg_class WHERE oid = 'results.$name'::regclass"), 'reporter', "$name: the reader's own");
}
is(sql($node, q{SELECT DISTINCT by FROM results.log}), 'maker', 'the SQL ran as the owner');
is(sql($node, $as->('reporter', $was->('made.orders', 'results.early', ', "position" => 4') . '; SELECT sum(n) FROM results.early')), "4\n4", 'as of a position');
is(sqlstate($node, $as->('reporter', $was->('loose', 'results.loose'))), '55000', 'a handler that does not name its tables');

# Who may not
is(sqlstate($node, $as->('outsider', $was->('made.orders', 'results.no'))), '42501', 'without level read');
sql($node, 'REVOKE SELECT ON made.more FROM reporter; REVOKE SELECT ON made.every FROM reporter; GRANT SELECT (category) ON made.every TO reporter');
is(sqlstate($node, $as->('reporter', $was->('log', 'results.no'))), '42501', 'without SELECT on one of the tables');
is(sqlstate($node, $as->('reporter', $was->('made.every', 'results.no'))), '42501', 'without SELECT on one of the columns');
sql($node, 'GRANT SELECT (n) ON made.every TO reporter');
is(sqlstate($node, $as->('reporter', $was->('made.every', 'results.by_columns'))), '', 'with SELECT on each of the columns');
is(sqlstate($node, $as->('reporter', "SELECT * FROM es_verify_projection('made.orders')")), '42501', 'other verbs are the owner\'s');
is(sqlstate($node, $as->('reporter', $was->('made.orders', 'made.no'))), '42501', 'into a schema where the reader may not create');
sql($node, $as->('maker', 'ALTER TABLE made.orders ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON made.orders USING (stream = \'order-1\')'));
is(sqlstate($node, $as->('reporter', $was->('made.orders', 'results.no'))), '42501', 'where row security could hide rows');
is(sqlstate($node, $as->('reporter', 'SET row_security = off; ' . $was->('made.orders', 'results.no'))), '42501', 'whether it is switched off or not');
is(sqlstate($node, $as->('maker', $was->('made.orders', 'results.own'))), '', 'the owner may');
sql($node, $as->('maker', 'ALTER TABLE made.orders DISABLE ROW LEVEL SECURITY'));

# Who is bound: what is made of the bound's events alone
is(sqlstate($node, $as->('by_category', $was->('made.orders', 'results.category'))), '', 'bound to its category');
is(sqlstate($node, $as->('by_category', $was->($_, 'results.no'))), '42501', "bound to a category: $_") for qw(made.every made.looked made.states log);
is(sqlstate($node, $as->('by_tenant', $was->('made.orders', 'results.no'))), '42501', 'bound to a tenant');

# Nothing of the reader's runs as the owner: what is temporary in his session would be found first.
sql($node, <<'SQL');
	CREATE TABLE caught (who text); GRANT ALL ON caught TO PUBLIC;
	GRANT TEMPORARY ON DATABASE postgres TO PUBLIC;
	CREATE FUNCTION results.catch(t text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.caught VALUES (current_user); RETURN true; END $$;
	CREATE DOMAIN made.amount AS text;
	GRANT USAGE ON TYPE made.amount TO PUBLIC;
	SET ROLE maker;
	CREATE TABLE made.typed (position bigint PRIMARY KEY, amount text);
	SET search_path = made, public;
	SELECT es_create_projection('typed', 'INSERT INTO typed SELECT position, (data ->> ''n'')::amount FROM events', tables => '{made.typed}');
	GRANT SELECT ON typed TO reporter;
SQL
my %traps = (
	'a domain' => 'CREATE DOMAIN pg_temp.amount AS text CHECK (results.catch(VALUE))',
	'a type' => 'CREATE TYPE pg_temp.other AS ENUM ()',
	'a table' => 'CREATE TEMPORARY TABLE amount (a int)',
	'a view' => 'CREATE TEMPORARY VIEW v AS SELECT 1');
for my $trap (sort keys %traps)
{
	is(sqlstate($node, $as->('reporter', "$traps{$trap}; " . $was->('typed', 'results.no'))), '55000', "the reader's session has $trap");
	is(sqlstate($node, $as->('reporter', "$traps{$trap}; DISCARD TEMP; " . $was->('typed', 'results.typed') . '; DROP TABLE results.typed')), '', "and may do without $trap");
}
is(sql($node, 'SELECT count(*) FROM caught'), 0, 'nothing was caught');
# Two things that grants keep to themselves: when a subject of others was erased; and the lock that they take, which nobody else can hold.
sql($node, q{SELECT es_grant('by_category', 'append', 'order'); SELECT es_erase_subject('order-1', 'asked'), es_erase_subject('other-1', 'asked')});
my $erased = sub {
	my ($role, $subject) = @_;
	my $err = '';
	$node->psql('postgres', $as->($role, "SELECT es_protect('$subject', '1')"), stderr => \$err);
	return $err;
};
like($erased->('by_category', 'order-1'), qr/subject "order-1" is erased\nDETAIL:  It was erased at \d{4}-/, 'erased: its own, and when');
like($erased->('by_category', 'other-1'), qr/subject "other-1" is erased\nDETAIL:  It was erased\.\n/, 'erased: others\', but not when');
like($erased->('outsider', 'other-1'), qr/It was erased at \d{4}-/, 'erased: who may append everywhere is told when');
my $holder = session($node);
$holder->query_safe('SET ROLE by_tenant');
$holder->query_safe(q{SELECT pg_advisory_lock(classid::bigint::int, objid::bigint::int) FROM (SELECT 'pg_namespace'::regclass::oid AS classid, 'eventstore'::regnamespace::oid AS objid) o});
is(sqlstate($node, q{SET client_min_messages = warning; SET lock_timeout = '2 s'; SELECT es_grant('outsider', 'read')}), '', 'an advisory lock keeps nobody from granting');
$holder->query_safe('RESET ROLE');
$holder->query_safe(q{BEGIN; SELECT es_grant('outsider', 'append')});
is(sqlstate($node, q{SET lock_timeout = '200 ms'; SELECT es_revoke('outsider', 'read')}), '55P03', 'one grants at a time');
$holder->query_safe('ROLLBACK');
$holder->quit;

# The replay leaves nothing temporary behind.
is(sqlstate($node, $as->('reporter', $was->('typed', 'results.a') . '; ' . $was->('typed', 'results.b') . '; ' . $was->('made.states', 'results.c') . '; ' . $was->('made.orders', 'results.d'))), '', 'one after the other');
done_testing();
