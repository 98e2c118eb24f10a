# Grants within bounds go where the roles go: through dumps of every kind into another database and another cluster, through renaming and
# dropping roles, to sessions that are open, and to a standby. Never does a bound become none.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_server('granted', 'wal_level = replica', 'max_wal_senders = 5', 'hot_standby = on');
$node->append_conf('pg_hba.conf', 'local replication all trust');
$node->reload;
$node->safe_psql('postgres', 'CREATE EXTENSION eventstore');
sql($node, <<'SQL');
	CREATE ROLE reader;
	CREATE ROLE "tenant's ""reader""";
	CREATE ROLE appender;
	CREATE ROLE members;
	CREATE ROLE member IN ROLE members;
	CREATE ROLE free;
	SELECT es_grant('reader', 'read', 'a'), es_grant('"tenant''s ""reader"""', 'read', tenant => 'it''s \ "x'), es_grant('appender', 'append', 'a', 'x'), es_grant('members', 'read', 'b'),
		es_grant('free', 'read'), es_grant('reader', 'reveal', tenant => 'x');
	SELECT es_append(s, 0, 'T', '{}') FROM unnest(ARRAY['a-1', 'a-{x}-1', 'b-1', 'b-{it''s \ "x}-1']) s;
SQL

my @roles = ('reader', q{"tenant's ""reader"""}, 'appender', 'member', 'free');
# What each sees by a function and by the table, what may be appended, and the grants
sub state
{
	my ($store, $database) = @_;
	my $state = sql($store, 'SELECT * FROM eventstore.grants ORDER BY 1, 2, 3, 4', $database) . "\n";
	for my $role (@roles)
	{
		$state .= "$role: " . (sqlstate($store, "SET ROLE $role; SELECT * FROM es_read_all()", $database) || sql($store, "SET ROLE $role; SELECT string_agg(stream, ' ' ORDER BY position) FROM es_read_all()", $database));
		$state .= ", " . (sqlstate($store, "SET ROLE $role; SELECT * FROM eventstore.events", $database) || sql($store, "SET ROLE $role; SELECT string_agg(stream, ' ' ORDER BY position) FROM eventstore.events", $database));
		$state .= ", $_ " . sqlstate($store, "SET ROLE $role; BEGIN; SELECT es_append('$_', -1, 'T', '{}')", $database) for 'a-1', 'a-{x}-9', 'b-{x}-9';
		$state .= "\n";
	}
	return $state;
}
my $state = state($node);
is($state, <<'TEXT', 'what roles may do');
appender|append|a|x
free|read||
members|read|b|
reader|read|a|
reader|reveal||x
tenant's "reader"|read||it's \ "x
reader: a-1 a-{x}-1, a-1 a-{x}-1, a-1 42501, a-{x}-9 42501, b-{x}-9 42501
"tenant's ""reader""": b-{it's \ "x}-1, b-{it's \ "x}-1, a-1 42501, a-{x}-9 42501, b-{x}-9 42501
appender: a-{x}-1, 42501, a-1 42501, a-{x}-9 , b-{x}-9 42501
member: b-1 b-{it's \ "x}-1, b-1 b-{it's \ "x}-1, a-1 42501, a-{x}-9 42501, b-{x}-9 42501
free: a-1 a-{x}-1 b-1 b-{it's \ "x}-1, a-1 a-{x}-1 b-1 b-{it's \ "x}-1, a-1 42501, a-{x}-9 42501, b-{x}-9 42501
TEXT

# Dumps
my $folder = PostgreSQL::Test::Utils::tempdir();
my $other = new_server('other');
command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$folder/plain" ], 'a plain dump');
command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-Fc', '-f', "$folder/custom" ], 'a custom dump');
command_ok([ 'pg_dumpall', '-d', $node->connstr('postgres'), '--globals-only', '-f', "$folder/globals" ], 'the roles');
sub restore
{
	my ($store, $database, @options) = @_;
	sql($store, qq{CREATE DATABASE "$database" TEMPLATE template0}) if sql($store, "SELECT count(*) FROM pg_database WHERE datname = '$database'") eq '0';
	return system('pg_restore', '-d', $store->connstr($database), @options, "$folder/custom") == 0;
}

sql($node, 'CREATE DATABASE plain TEMPLATE template0');
command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('plain'), '-f', "$folder/plain" ], 'restored by psql');
is(state($node, 'plain'), $state, 'by psql into another database: the same');
ok(restore($node, 'parts', '--schema-only') && restore($node, 'parts', '--data-only', '--disable-triggers'), 'restored in two parts, without triggers');
is(state($node, 'parts'), $state, 'in two parts: the same');

# A cluster that has none of the roles: nobody gets their rights, not even who is called so later.
restore($other, 'early');
sql($other, "CREATE ROLE $_") for @roles;
is(sqlstate($other, 'SET ROLE reader; SELECT * FROM eventstore.events', 'early'), '42501', 'a role that was made later has no rights');
is(sql($other, 'SELECT count(*) FROM eventstore.grants', 'early'), '0', 'and no grants');
sql($other, "DROP ROLE $_") for @roles;
system('psql', '-X', '-q', '-d', $other->connstr('postgres'), '-f', "$folder/globals");
ok(restore($other, 'parallel', '-j', '2'), 'restored into another cluster, by two jobs');
is(state($other, 'parallel'), $state, 'into another cluster: the same');

# Without rights: nobody has any, and what is granted then is what is granted.
ok(restore($other, 'bare', '--no-privileges', '--no-owner'), 'restored without rights');
is(sqlstate($other, "SET ROLE $_; SELECT * FROM eventstore.events", 'bare'), '42501', "without rights: $_ has none") for @roles;
sql($other, q{SELECT es_grant('reader', 'read', 'b')}, 'bare');
is(sql($other, q{SET ROLE reader; SELECT string_agg(stream, ' ' ORDER BY position) FROM eventstore.events}, 'bare'), q{b-1 b-{it's \ "x}-1}, 'and then what it is granted anew');
is(sql($other, 'SELECT * FROM eventstore.grants', 'bare'), 'reader|read|b|', 'which is all that there is');

# Roles
sql($node, "DROP DATABASE $_") for qw(plain parts);
sql($node, 'ALTER ROLE reader RENAME TO renamed; CREATE ROLE reader');
is(sqlstate($node, 'SET ROLE reader; SELECT * FROM es_read_all()'), '42501', 'a new role of the name has nothing');
is(sql($node, q{SET ROLE renamed; SELECT string_agg(stream, ' ' ORDER BY position) FROM eventstore.events}), 'a-1 a-{x}-1', 'a renamed role has what it had');
is(sql($node, q{SELECT string_agg(level, ' ' ORDER BY level) FROM eventstore.grants WHERE role = 'renamed'}), 'read reveal', 'and its grants');
is(sqlstate($node, 'DROP ROLE renamed'), '2BP01', 'a role that has grants is not dropped');
my $reader = session($node);
$reader->query('SET ROLE renamed');
is($reader->query('SELECT count(*) FROM es_read_all()'), '2', 'an open session');
sql($node, q{SELECT es_grant('renamed', 'read', 'b')});
is($reader->query('SELECT count(*) FROM es_read_all()'), '4', 'gets what is granted');
is($reader->query('SELECT count(*) FROM eventstore.events'), '4', 'by the table, too');
sql($node, q{SELECT es_revoke('renamed', 'read', 'a')});
is($reader->query('SELECT count(*) FROM es_read_all()'), '2', 'and loses what is taken');
sql($node, 'DROP OWNED BY renamed');
like($reader->query('SELECT count(*) FROM es_read_all()') . $reader->{stderr}, qr/permission denied/, 'to the last');
$reader->quit;
sql($node, 'DROP ROLE renamed; CREATE ROLE renamed');
is(sql($node, q{SELECT count(*) FROM eventstore.grants WHERE role = 'renamed'}), '0', 'a role of a dropped one\'s name has no grants');
is(sqlstate($node, 'SET ROLE renamed; SELECT * FROM es_read_all()'), '42501', 'and nothing else');
sql($node, q{SELECT es_revoke('members', 'read', 'b')});
is(sql($node, q{SELECT count(*) FROM pg_proc WHERE proname ~ '^may_.*_within_'}), '2', 'bounds that nobody has are gone');

# The first bound of a store waits for nobody who reads, appends or waits, and counts for statements that are prepared already.
sql($node, 'CREATE DATABASE first');
sql($node, q{CREATE EXTENSION eventstore; SELECT es_append('a-1', 0, 'T', '{}'), es_append('b-1', 0, 'T', '{}'); SELECT es_grant('free', 'read'), es_grant('free', 'append')}, 'first');
my $busy = session($node, 'first');
$busy->query(q{BEGIN});
$busy->query(q{SELECT es_append('c-1', 0, 'T', '{}')});
$busy->query(q{SELECT count(*) FROM eventstore.events});
my $prepared = session($node, 'first');
$prepared->query('SET plan_cache_mode = force_generic_plan');
$prepared->query('SET ROLE free');
$prepared->query('PREPARE p AS SELECT count(*) FROM eventstore.events');
is($prepared->query('EXECUTE p'), '2', 'who is not bound sees all');
is(sqlstate($node, q{SET lock_timeout = '10 s'; BEGIN; SELECT es_revoke('free', 'read'), es_revoke('free', 'append'); SELECT es_grant('free', 'read', 'a'); COMMIT}, 'first'), '', 'and is bound while others read and append');
is($prepared->query('EXECUTE p'), '1', 'a prepared statement is bound');
$busy->query('COMMIT');
is(sql($node, q{SELECT count(*) FROM eventstore.events}, 'first'), '3', 'others were not held up');
is(sqlstate($node, q{SELECT es_revoke('free', 'read'); SELECT es_grant('free', 'read')}, 'first'), '', 'the last bound is taken');
is($prepared->query('EXECUTE p'), '3', 'and nothing is bound any more');
is(sql($node, q{SELECT relrowsecurity FROM pg_class WHERE oid = 'eventstore.events'::regclass}, 'first'), 'f', 'nor is row security on');
$_->quit for $busy, $prepared;

# A standby
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
my $there = session($standby);
$there->query('SET ROLE appender');
is($there->query(q{SELECT count(*) FROM es_read('a-{x}-1')}), '1', 'a bound role on a standby sees its own');
is($there->query(q{SELECT count(*) FROM es_read('a-1')}), '0', 'and nothing else');
$there->query('RESET ROLE');
$there->query(q{SET ROLE "tenant's ""reader"""});
is($there->query(q{SELECT string_agg(stream, ' ') FROM eventstore.events}), q{b-{it's \ "x}-1}, 'nor by the table');
sql($node, q{SELECT es_grant('"tenant''s ""reader"""', 'read', 'a')});
$node->wait_for_catchup($standby);
is($there->query(q{SELECT count(*) FROM eventstore.events}), '3', 'what is granted arrives there');
$there->quit;
$standby->stop;
done_testing();
