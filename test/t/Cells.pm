# What the tests of several machines share: servers that are cells, a router, and a reader that remembers what it has seen.
package Cells;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

our @EXPORT = qw(have_plproxy new_cell new_router new_cells_and_router stream_in where adopt read_on complete);

# Whether the router can be made here.
sub have_plproxy
{
	my $share = `pg_config --sharedir`;
	chomp $share;
	return -e "$share/extension/plproxy.control";
}

# How others connect to a server's database.
sub where
{
	my ($node, $database) = @_;
	return 'host=' . $node->host . ' port=' . $node->port . ' dbname=' . ($database // 'postgres');
}

# A server whose database postgres is a cell; settings are lines of postgresql.conf.
sub new_cell
{
	my ($cell, $feed, $slots, @settings) = @_;
	my $node = new_node("cell$cell", 'wal_level = replica', 'max_wal_senders = 5', @settings);
	sql($node, "SELECT es_set_cell($cell, $feed, '$slots'); SELECT es_add_cell($cell, $feed, '$slots', '" . where($node) . "')");
	return $node;
}

# Has the store or router in one place take over the map of another.
sub adopt
{
	my ($from, $to, $to_database) = @_;
	my $map = sql($from, 'SELECT jsonb_agg(to_jsonb(c)) FROM eventstore.cells c');
	return sql($to, "SELECT es_adopt_map(\$\$$map\$\$)", $to_database);
}

# Database router on a server, with the map of a cell.
sub new_router
{
	my ($node, $cell) = @_;
	sql($node, 'CREATE DATABASE router');
	sql($node, 'CREATE EXTENSION plproxy; CREATE EXTENSION eventstore_router', 'router');
	adopt($cell, $node, 'router');
	return;
}

# A server with two cells, databases postgres and two, and their router, database router: where machines do not matter.
sub new_cells_and_router
{
	my $node = new_node('cells');
	sql($node, 'CREATE DATABASE two');
	sql($node, "CREATE EXTENSION eventstore; SELECT es_set_cell(2, 2, '{[512,1024)}')", 'two');
	sql($node, "SELECT es_set_cell(1, 1, '{[0,512)}'); SELECT es_add_cell(1, 1, '{[0,512)}', '" . where($node) . "'); SELECT es_add_cell(2, 2, '{[512,1024)}', '" . where($node, 'two') . "')");
	adopt($node, $node, 'two');
	new_router($node, $node);
	return $node;
}

# What a stream's name may end in to be in the first cell of these (0), or in the second (1): a tenant of that half of the slots.
sub stream_in
{
	my ($half) = @_;
	return $half == 0 ? '{t1}' : '{t5}';
}

# Reads through a router from where the reader has come, a hash with after and seen, so many events at a time, up to where there is nothing
# more, or for so many times; returns how many.
sub read_on
{
	my ($node, $reader, $step, $times) = @_;
	$reader->{after} //= '{}';
	my $count = 0;
	for (my $n = 0; !defined $times || $n < $times; $n++)
	{
		my ($out, $err) = ('', '');
		$node->psql('router', "SELECT stream, version, id, feed, position, after FROM es_read_all('$reader->{after}', " . ($step // 100) . ')', stdout => \$out, stderr => \$err);
		$reader->{warnings} .= $err;
		my @rows = split /\n/, $out;
		last if !@rows;
		for my $row (@rows)
		{
			my ($stream, $version, $id, $feed, $position, $after) = split /\|/, $row;
			$reader->{wrong} .= "$stream: version $version after " . ($reader->{seen}{$stream} // 0) . "\n" if $version != ($reader->{seen}{$stream} // 0) + 1;
			$reader->{wrong} .= "id $id twice\n" if $reader->{ids}{$id}++;
			$reader->{seen}{$stream} = $version;
			$reader->{after} = $after;
		}
		$count += @rows;
	}
	return $count;
}

# Tests that a reader has seen every event of the cells once, each stream in order; each cell has what its slots have.
sub complete
{
	my ($reader, $name, $router, @cells) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my %there;
	for my $cell (@cells)
	{
		for (split /\n/, sql($cell, 'SELECT s.stream, s.version FROM eventstore.streams s, eventstore.member m WHERE s.version > 0 AND m.slots @> es_slot(s.stream)'))
		{
			my ($stream, $version) = split /\|/;
			$there{$stream} = $version;
		}
	}
	is($reader->{wrong} // '', '', "$name: each event once, each stream in order");
	is_deeply($reader->{seen}, \%there, "$name: none is missing");
	return;
}

1;
