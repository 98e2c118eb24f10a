# A feed belongs to the cell that had it, in every store that has events of it: in a copy that became another cell, in a mirror, and whatever the map says.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('feeds', 'wal_level = logical', 'max_wal_senders = 5', 'max_replication_slots = 5', q{shared_preload_libraries = 'eventstore'});
my $refused = sub {
	my ($database, $statement, $name) = @_;
	my ($out, $err) = ('', '');
	$node->psql($database, "\\set VERBOSITY verbose\n$statement", stderr => \$err);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return like($err, qr/ERROR:  22023: .*feed.*\nDETAIL: .*\nHINT:  Each cell needs a feed of its own/, $name);
};

# Positions as an ordinary store gives them out say nothing.
sql($node, q{SELECT es_append('a-1', -1, 'Old', '{}') FROM generate_series(1, 3) i});
sql($node, q{SELECT es_set_cell(1, 1, '{[0,1024)}'); SELECT es_append('a-1', -1, 'One', '{}'), es_append('a-1', -1, 'One', '{}')});
sql($node, q{SELECT es_set_cell(1, 2, '{[0,1024)}'); SELECT es_append('a-1', -1, 'Two', '{}')});
sql($node, q{SELECT es_set_cell(1, 1, '{[0,512)}')});
is(sql($node, 'SELECT feed, cell, is_own FROM eventstore.used_feeds ORDER BY 1'), "1|1|t\n2|1|t", 'a cell may come back to a feed that it had, and both are noted');

# A copy, that becomes another cell
sql($node, 'CREATE DATABASE copy TEMPLATE postgres', 'template1');
my $copy = sub { sql($node, $_[0], 'copy') };
$copy->(q{SELECT es_set_cell(2, 3, '{[512,1024)}'); SELECT es_append('a-3', -1, 'Three', '{}')});
$copy->(q{SELECT es_drop_cell(1)});
$refused->('copy', qq{SELECT es_set_cell($_->[0], $_->[1], '{}')}, "$_->[2]") for [ 2, 1, 'the feed that the other one has' ], [ 2, 2, 'one that it had once' ], [ 1, 1, 'not as what it was before, either' ];
is($copy->('SELECT feed, cell, is_own FROM eventstore.used_feeds ORDER BY 1'), "1|1|f\n2|1|f\n3|2|t", 'whose they are is noted');
is($copy->(q{SELECT cell, feed, slots FROM eventstore.member}), '2|3|{[512,1024)}', 'what is refused changes nothing');
$copy->(q{SELECT es_unset_cell()});
$refused->('copy', q{SELECT es_set_cell(2, 1, '{}')}, 'not after it was an ordinary store, either');
$refused->('copy', q{SELECT es_set_cell(7, 3, '{}')}, 'nor its own by another number');
$copy->(q{SELECT es_set_cell(2, 3, '{}'); SELECT es_set_cell(2, 4, '{}'); SELECT es_set_cell(2, 3, '{[512,1024)}')});
is($copy->(q{SELECT cell, feed FROM eventstore.member}), '2|3', 'its own it may take again, and new ones');
sql($node, q{SELECT es_set_cell(1, 2, '{[0,512)}'); SELECT es_set_cell(1, 1, '{[0,512)}')});
is(sql($node, q{SELECT cell, feed FROM eventstore.member}), '1|1', 'and so may the other');

# A dump has it.
my $temp = PostgreSQL::Test::Utils::tempdir();
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$temp/dump", 'copy' ], 'dumped');
sql($node, 'CREATE DATABASE restored TEMPLATE template0');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', "$temp/dump" ], 'restored');
$refused->('restored', q{SELECT es_set_cell(2, 1, '{}')}, 'what is restored knows it, too');

# A mirror knows it of the tables, if they are published, and else of the events.
sql($node, q{SELECT es_append('b-' || i, -1, 'Three', '{}') FROM generate_series(1, 50) i WHERE es_slot('b-' || i) < 512});
my $connection = $node->connstr('postgres') =~ s/'/''/gr;
for my $more ('', ', eventstore.feeds, eventstore.used_feeds')
{
	my $name = $more ? 'told' : 'untold';
	sql($node, "CREATE PUBLICATION $name FOR TABLE eventstore.events, eventstore.streams, eventstore.head$more");
	sql($node, "CREATE DATABASE $name");
	sql($node, 'CREATE EXTENSION eventstore; SELECT es_set_mirror()', $name);
	$node->safe_psql('postgres', "SELECT pg_create_logical_replication_slot('$name', 'pgoutput')");
	sql($node, "CREATE SUBSCRIPTION $name CONNECTION '$connection' PUBLICATION $name WITH (create_slot = false, slot_name = '$name')", $name);
	becomes($node, 'SELECT es_head()', sql($node, 'SELECT es_head()'), "$name: it has all", $name);
	sql($node, "DROP SUBSCRIPTION $name", $name);
	sql($node, 'SELECT es_unset_mirror()', $name);
	$refused->($name, q{SELECT es_set_cell(5, 1, '{}')}, "$name: another cell's feed is none for a mirror");
	sql($node, q{SELECT es_set_cell(5, 6, '{[0,1024)}'); SELECT es_append('a-1', -1, 'Six', '{}')}, $name);
	is(sql($node, 'SELECT es_last_position() % 1024 FROM es_append($$a-1$$, -1, $$Six$$, $${}$$::jsonb)', $name), 6, "$name: one of its own is");
}
is(sql($node, 'SELECT feed FROM eventstore.feeds ORDER BY number', 'told'), "1\n6", 'told, it knows which of its events are of which feed');
is_sound($node, $_, $_) for qw(postgres copy restored told untold);
done_testing();
