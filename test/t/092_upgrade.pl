# ALTER EXTENSION eventstore UPDATE: what comes of an older version is a new store, fact by fact, wherever and by whomever it was made;
# until then the library says what to do, and touches nothing.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Upgrade;

my $node = new_old_server('update');
my $old = '0.1.0';

# What the library is, what the control file says, and what installs itself.
my $version = sql($node, q{SELECT default_version FROM pg_available_extensions WHERE name = 'eventstore'});
sql($node, 'CREATE EXTENSION eventstore');
is(sql($node, 'SELECT es_version()'), $version, 'the library is of the version that is installed');
is(sql($node, q{SELECT count(*) FROM pg_extension_update_paths('eventstore') WHERE source <> target AND path IS NULL AND target = (SELECT default_version FROM pg_available_extensions WHERE name = 'eventstore')}),
	'0', 'there is a path to it from each version');

# The same, whatever the schema, and whatever new functions and tables are given to others by default.
my $fresh = inventory($node);
cmp_ok(scalar @$fresh, '>', 2000, 'a store is made of many facts');
sql($node, "CREATE DATABASE u TEMPLATE template0");
sql($node, "CREATE EXTENSION eventstore VERSION '$old'", 'u');
isnt(differs($fresh, inventory($node, 'u')), '', 'an old store is another');
sql($node, 'ALTER EXTENSION eventstore UPDATE', 'u');
is(differs($fresh, inventory($node, 'u')), '', 'an updated one is not');
is_sound($node, 'updated', 'u');

my $q = '"Odd; shop %s"';
for my $database (qw(odd odd_fresh))
{
	sql($node, "CREATE DATABASE $database TEMPLATE template0");
	sql($node, "CREATE SCHEMA $q; CREATE EXTENSION eventstore SCHEMA $q" . ($database eq 'odd' ? " VERSION '$old'" : ''), $database);
}
sql($node, "ALTER EXTENSION eventstore UPDATE", 'odd');
is(differs(inventory($node, 'odd_fresh'), inventory($node, 'odd')), '', 'a schema whose name needs quoting');

sql($node, 'CREATE ROLE nobody_yet; CREATE ROLE reader; CREATE ROLE auditor; CREATE DATABASE granted TEMPLATE template0');
sql($node, "CREATE EXTENSION eventstore VERSION '$old'; SELECT es_grant('reader', 'read'); SELECT es_grant('auditor', 'admin')", 'granted');
sql($node, 'ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO nobody_yet; ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO nobody_yet; ALTER DEFAULT PRIVILEGES GRANT ALL ON TYPES TO nobody_yet', 'granted');
sql($node, "GRANT SELECT ON eventstore.streams TO reader", 'granted');
sql($node, 'CREATE VIEW watched AS SELECT subscription, partition FROM eventstore.parked; GRANT SELECT ON eventstore.parked TO nobody_yet', 'granted');
sql($node, 'ALTER EXTENSION eventstore UPDATE', 'granted');
is(sql($node, 'SELECT count(*) FROM pg_proc f, aclexplode(f.proacl) a WHERE a.grantee = $$nobody_yet$$::regrole', 'granted'), '0', 'default privileges give nothing away');
is(sql($node, 'SELECT role, level FROM eventstore.grants ORDER BY 1', 'granted'), "auditor|admin\nreader|read", 'grants are kept');
my $rights_of = q{SELECT string_agg(o, ',' ORDER BY o) FROM (SELECT oid::regprocedure::text FROM pg_proc f, aclexplode(f.proacl) a WHERE a.grantee = '%1$s'::regrole
	UNION ALL SELECT oid::regclass::text FROM pg_class, aclexplode(relacl) a WHERE a.grantee = '%1$s'::regrole AND oid <> 'eventstore.streams'::regclass) o (o)};
sql($node, "SELECT es_grant('reader', 'read'); SELECT es_grant('auditor', 'admin')");
is(sql($node, sprintf($rights_of, $_), 'granted'), sql($node, sprintf($rights_of, $_)), "$_: and mean what they mean in a new store") for qw(reader auditor);
is(sql($node, q{SELECT has_table_privilege('reader', 'eventstore.streams', 'SELECT')}, 'granted'), 't', 'what a DBA has granted stays');
is(sql($node, q{SELECT has_table_privilege('nobody_yet', 'eventstore.parked', 'SELECT'), count(*) FROM watched}, 'granted'), 't|0', 'also on a view that is replaced, and so do views of it');
# Of rights that came with the extension a dump says nothing: none of these may be among them.
is(sql($node, q{SELECT count(*) FROM pg_init_privs i, aclexplode(i.initprivs) a WHERE a.grantee IN ('reader'::regrole, 'auditor'::regrole, 'nobody_yet'::regrole)}, 'granted'), '0',
	'a dump says who was granted what');

# ----------------------------------------------------------------------------------------------------------------------
# The new library in an old store
# ----------------------------------------------------------------------------------------------------------------------

sql($node, 'CREATE DATABASE before TEMPLATE template0');
sql($node, "CREATE EXTENSION eventstore VERSION '$old'", 'before');
my %calls = (
	append => q{SELECT es_append('a-1', 0, 'A', '{}')},
	read => q{SELECT * FROM es_read('a-1')},
	head => q{SELECT es_head()},
	subscribe => q{SELECT es_create_subscription('s')},
	alter => q{SELECT es_alter_subscription('s', 3)},
	fetch => q{SELECT * FROM es_fetch('s')},
	project => q{SELECT es_create_projection('p', 'SELECT category, count(*) FROM events GROUP BY 1')},
	fold => q{SELECT * FROM es_load('a-1')},
	'projection status' => q{SELECT * FROM eventstore.projection_status, es_head()});
for my $call (sort keys %calls)
{
	is(sqlstate($node, $calls{$call}, 'before'), '55000', "in an old store: $call says that there is something to do");
}
my ($result, $out, $err) = $node->psql('before', $calls{append});
like($err, qr/is of version 0\.1\.0 in database "before", but its library is of version \Q$version\E.*HINT:  ALTER EXTENSION eventstore UPDATE/s, 'and what');
# Every function of the old version, with nulls: an error, a null, or nothing; never worse.
sql($node, q{SELECT format('DO $do$ BEGIN PERFORM %s(%s); EXCEPTION WHEN others THEN NULL; END $do$', f.oid::regproc, (SELECT string_agg(format('NULL::%s', CASE t WHEN 'anyelement'::regtype THEN 'text' ELSE t::regtype::text END), ', ' ORDER BY n) FROM unnest(f.proargtypes::oid[]) WITH ORDINALITY u (t, n)))
	FROM pg_proc f JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
	WHERE f.prokind = 'f' AND f.prorettype <> 'trigger'::regtype AND NOT 'internal'::regtype = ANY (f.proargtypes::oid[]) \gexec}, 'before');
is(sql($node, 'SELECT pg_postmaster_start_time() < now()', 'before'), 't', 'the server lives');

# A session that was there before goes on after the update, and reads no table by an old idea of it.
my $session = session($node, 'before');
$session->query($calls{append});
sql($node, 'ALTER EXTENSION eventstore UPDATE', 'before');
is($session->query($calls{append}), '1', 'after the update the same session appends');
$session->quit;
is_sound($node, 'after the update', 'before');

# A library that is older than the extension, as a session has that was there before an update to a version to come.
$session = session($node, 'before');
$session->query($calls{append});
sql($node, q{UPDATE pg_extension SET extversion = '99.0.0' WHERE extname = 'eventstore'; ALTER TABLE eventstore.streams SET (fillfactor = 65)}, 'before');
$session->{stderr} = '';
$session->query($calls{append});
like($session->{stderr}, qr/is of version 99\.0\.0 in database "before", but its library is of version \Q$version\E.*HINT:  This session has loaded the library before/s,
	'a session notices that the extension has gone on');
$session->quit;
($result, $out, $err) = $node->psql('before', 'SELECT es_version()');
is($out, $version, 'es_version() answers nevertheless');
like($err, qr/WARNING:  extension "eventstore" is of version 99/, 'and warns');
sql($node, "UPDATE pg_extension SET extversion = '$version' WHERE extname = 'eventstore'", 'before');

# A session from before the library was installed may go on with an older one.
sql($node, 'CREATE DATABASE stale TEMPLATE template0');
sql($node, "CREATE EXTENSION eventstore VERSION '$old'", 'stale');
$session = session($node, 'stale');
my $pid = $session->query('SELECT pg_backend_pid()');
install_again();
($result, $out, $err) = $node->psql('stale', 'ALTER EXTENSION eventstore UPDATE');
like($err, qr/older than the library that is installed: process $pid\..*HINT:  End them/s, 'an update does not pull tables away from under older libraries');
$session->quit;
becomes($node, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", '0', 'when they have ended');
sql($node, 'ALTER EXTENSION eventstore UPDATE', 'stale');
is(sql($node, 'SELECT es_head()', 'stale'), '0', 'it goes on');

# ----------------------------------------------------------------------------------------------------------------------
# What an update does not do in silence
# ----------------------------------------------------------------------------------------------------------------------

sql($node, 'CREATE DATABASE used TEMPLATE template0');
sql($node, "CREATE EXTENSION eventstore VERSION '$old'", 'used');
sql($node, 'CREATE VIEW last_type AS SELECT es_last(type, position) FROM eventstore.events; CREATE VIEW status AS SELECT name, partition FROM eventstore.subscription_status', 'used');
($result, $out, $err) = $node->psql('used', 'ALTER EXTENSION eventstore UPDATE');
like($err, qr/view public\.last_type uses public\.es_last\(anyelement,bigint\), which has other arguments.*HINT:  Drop it, repeat the update/s, 'a view that uses what changes is told');
is(sql($node, q{SELECT extversion FROM pg_extension WHERE extname = 'eventstore'}, 'used'), $old, 'and nothing has happened');
sql($node, 'DROP VIEW last_type; ALTER TABLE eventstore.snapshots ADD COLUMN note text', 'used');
($result, $out, $err) = $node->psql('used', 'ALTER EXTENSION eventstore UPDATE');
like($err, qr/columns were added.*eventstore\.snapshots/s, 'so is a column that is not the store\'s');
sql($node, 'DROP DATABASE used; CREATE DATABASE used TEMPLATE template0');
sql($node, "CREATE EXTENSION eventstore VERSION '$old'; CREATE VIEW status AS SELECT name, partition FROM eventstore.subscription_status", 'used');
sql($node, 'ALTER EXTENSION eventstore UPDATE', 'used');
is(sql($node, 'SELECT count(*) FROM status', 'used'), '0', 'a view on one of the store\'s views stays');

is(sqlstate($node, q{SELECT es_update_run('SELECT 1')}), '42883', 'what the script runs commands by is gone');

done_testing();
