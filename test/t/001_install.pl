# CREATE EXTENSION and DROP EXTENSION: nothing left behind, any schema, and sessions that go on after the extension was dropped and
# made anew, by themselves or by somebody else.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('install');

# How many rows each catalogue has, but for those that statistics, storage and DROP's own work change.
my $catalogues = <<'SQL';
	SELECT format('SELECT %L, count(*) FROM %s', relname, oid::regclass)
	FROM pg_class
	WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND relname !~ '^pg_(statistic|largeobject)'
	ORDER BY relname \gexec
SQL

sql($node, 'DROP EXTENSION eventstore');
my $before = sql($node, $catalogues);
sql($node, <<'SQL');
	CREATE ROLE reader;
	CREATE EXTENSION eventstore;
	SELECT es_append('a-1', 0, 'Opened', '{}');
	SELECT es_grant('reader', 'read');
	SELECT * FROM es_read_all();
SQL
isnt(sql($node, $catalogues), $before, 'the catalogues show the extension');
sql($node, 'DROP EXTENSION eventstore; DROP ROLE reader');
is(sql($node, $catalogues), $before, 'DROP EXTENSION leaves nothing behind');

# A schema of the administrator's choice.
sql($node, 'CREATE SCHEMA shop; CREATE EXTENSION eventstore SCHEMA shop');
is(sql($node, q{SELECT shop.es_append('a-1', shop.es_no_stream(), 'Opened', '{}')}), '1', 'the functions stand in the chosen schema');
is(sql($node, q{SELECT count(*) FROM pg_proc WHERE proname LIKE 'es\_%' AND pronamespace <> 'shop'::regnamespace}),
	'0', 'and nowhere else');
is(sql($node, q{SELECT stream, version, type FROM shop.es_read('a-1')}), 'a-1|1|Opened', 'and read what they wrote');
is(sqlstate($node, q{SELECT es_append('a-1', 1, 'Closed', '{}')}), '42883', 'without the schema they are not found');
isnt(sqlstate($node, 'ALTER EXTENSION eventstore SET SCHEMA public'), '', 'the extension is not relocatable');
sql($node, 'DROP EXTENSION eventstore');
is(sqlstate($node, 'DROP SCHEMA shop'), '', 'the chosen schema is empty afterwards');

# es_grant and es_revoke, in a schema whose name needs quoting.
my $q = '"Odd; shop %s"';
sql($node, qq{CREATE ROLE clerk; CREATE ROLE "Odd clerk"; CREATE SCHEMA $q; CREATE EXTENSION eventstore SCHEMA $q});
my $granted = q{SELECT string_agg(a, ' ' ORDER BY a) FROM (SELECT oid || ' ' || proacl::text FROM pg_proc WHERE proname ~ '^es_|^may_' UNION ALL SELECT oid || ' ' || relacl::text FROM pg_class WHERE relnamespace = 'eventstore'::regnamespace
	UNION ALL SELECT oid || ' ' || nspacl::text FROM pg_namespace) AS a (a)};
my $nothing = sql($node, $granted);
for my $role ('clerk', '"Odd clerk"')
{
	my $as = "SET ROLE $role; ";
	is(sqlstate($node, "$as SELECT $q.es_append('a-1', -1, 'A', '{}')"), '42501', "$role: may nothing");
	sql($node, "SELECT $q.es_grant('$role', 'append')");
	is(sqlstate($node, "$as SELECT $q.es_append('a-1', -1, 'A', '{}')"), '', "$role: es_grant lets it append");
	is(sql($node, "$as SELECT count(*) > 0 FROM $q.es_read('a-1')"), 't', "$role: and read by functions");
	is(sqlstate($node, "$as SELECT * FROM eventstore.events"), '42501', "$role: but not the table");
	sql($node, "SELECT $q.es_revoke('$role', 'append')");
	is(sqlstate($node, "$as SELECT $q.es_append('a-1', -1, 'A', '{}')"), '42501', "$role: es_revoke takes that");
}
# What it has been given by others stays.
sql($node, "GRANT USAGE ON SCHEMA $q, eventstore TO clerk; GRANT SELECT ON eventstore.events TO clerk");
my $given = sql($node, $granted);
isnt($given, $nothing, 'a role with rights of its own');
sql($node, "SELECT $q.es_revoke('clerk', level) FROM unnest(ARRAY['read', 'append', 'admin']) level");
is(sql($node, $granted), $given, 'es_revoke of what was never granted takes nothing');
sql($node, "SELECT $q.es_grant('clerk', 'admin'); SELECT $q.es_revoke('clerk', 'admin')");
is(sql($node, "SELECT has_schema_privilege('clerk', oid, 'USAGE') FROM pg_namespace WHERE oid = '$q'::regnamespace"), 't', 'USAGE on the schema of the functions stays');
sql($node, "REVOKE ALL ON SCHEMA $q, eventstore FROM clerk; REVOKE ALL ON eventstore.events FROM clerk");
# The owner has everything without a grant, and loses nothing by es_revoke.
$given = sql($node, $granted);
sql($node, "SELECT $q.es_grant(current_user::regrole, level), $q.es_revoke(current_user::regrole, level) FROM unnest(ARRAY['read', 'append', 'admin']) level");
is(sql($node, $granted), $given, 'nothing changes for the owner');
is(sql($node, "SELECT $q.es_append('a-1', -1, 'A', '{}') > 0, (SELECT count(*) FROM eventstore.grants)"), 't|0', 'who goes on');
sql($node, qq{DROP EXTENSION eventstore; DROP SCHEMA $q; DROP OWNED BY clerk, "Odd clerk"; DROP ROLE clerk, "Odd clerk"});

# A library that is loaded and caches what the extension's relations are, while they change under it.
my $elsewhere = sub {
	my ($statements) = @_;
	my $connection = $node->connstr('postgres');
	return qq{\\! psql -X -q -v ON_ERROR_STOP=1 -d "$connection" -c "$statements"\n};
};
my $scenarios = sub {
	my ($what, $prologue) = @_;
	my $append = q{SELECT es_append('a-1', -1, '[{"type": "A"}, {"type": "B"}]'); SELECT count(*) FROM es_read('a-1');};

	sql($node, 'CREATE EXTENSION eventstore');
	is(sql($node, "$prologue $append DROP EXTENSION eventstore; CREATE EXTENSION eventstore; $append $append"),
		"2\n2\n2\n2\n4\n4", "$what: dropped and created in one session");
	is( sql($node,
			"$prologue $append\n" . $elsewhere->('DROP EXTENSION eventstore') . $elsewhere->('CREATE EXTENSION eventstore') . "$append $append"),
		"6\n6\n2\n2\n4\n4",
		"$what: dropped and created by another session");
	is( sql($node,
			"$prologue BEGIN; SAVEPOINT s; DROP EXTENSION eventstore; CREATE EXTENSION eventstore; $append ROLLBACK TO s; $append COMMIT; $append"),
		"2\n2\n6\n6\n8\n8", "$what: dropped and created, and rolled back");
	is_sound($node, $what);
	sql($node, 'DROP EXTENSION eventstore');
};
$scenarios->('caches kept', '');
SKIP:
{
	skip 'the server is built without assertions', 4 unless sql($node, 'SHOW debug_assertions') eq 'on';
	$scenarios->('caches discarded', 'SET debug_discard_caches = 1;');
}

done_testing();
