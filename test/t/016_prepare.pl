# PREPARE TRANSACTION makes its entry among the sessions while others look through them: readers find appends in flight by the
# thousand, beside six sessions that prepare and commit as fast as they can, and the server stays up and the order right.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $seconds = 8;
my $node = new_node('prepare', 'fsync = off', 'max_prepared_transactions = 10');
my @pgbench = ('pgbench', '--no-vacuum', '--time', $seconds, '--host', $node->host, '--port', $node->port);
my (@runs, @errors);

for my $client (1 .. 6)
{
	my $file = "$PostgreSQL::Test::Utils::tmp_check/prepare_$client.sql";
	append_to_file($file, <<"SQL");
		BEGIN;
		SELECT es_append('prepare-$client', es_any(), 'Prepared', '{}');
		PREPARE TRANSACTION 'prepare_$client';
		COMMIT PREPARED 'prepare_$client';
SQL
	push @runs, IPC::Run::start([ @pgbench, '--file', $file, 'postgres' ], '>', \my $out, '2>', \$errors[$client]);
}
my $heads = "$PostgreSQL::Test::Utils::tmp_check/heads.sql";
append_to_file($heads, "SELECT es_head() FROM generate_series(1, 1000);\n");
push @runs, IPC::Run::start([ @pgbench, '--client', 2, '--file', $heads, 'postgres' ], '>', \my $out, '2>', \$errors[0]);

ok(IPC::Run::finish($_), 'to the end') for @runs;
is(sql($node, 'SELECT es_head() = max(position) FROM eventstore.events'), 't', 'the head has got to the last event');
is(sql($node, 'SELECT bool_and(version = events) FROM (SELECT stream, count(*) AS events FROM eventstore.events GROUP BY stream) e
	JOIN eventstore.streams USING (stream)'), 't', 'all of them are there');
unlike(slurp_file($node->logfile), qr/terminated by signal/, 'and no process died');

$node->stop;
done_testing();
