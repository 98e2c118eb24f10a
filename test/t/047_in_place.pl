# A handler that can not be replayed beside its tables is rebuilt in place while others append and read: nobody sees half of it, no event is
# lost or applied twice, and who is stopped in the middle leaves everything as it was.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('in_place');
sql($node, <<'SQL');
	SET client_min_messages = error;
	CREATE TABLE placed (stream text PRIMARY KEY, n bigint NOT NULL);
	CREATE TABLE placed_async (stream text PRIMARY KEY, n bigint NOT NULL);
	CREATE FUNCTION place(e eventstore.event) RETURNS void LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO public.placed AS p VALUES (e.stream, 1) ON CONFLICT (stream) DO UPDATE SET n = p.n + 1; END $$;
	CREATE FUNCTION place_async(e eventstore.event) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS
		$$ BEGIN INSERT INTO placed_async AS p VALUES (e.stream, 1) ON CONFLICT (stream) DO UPDATE SET n = p.n + 1; END $$;
	SELECT es_append('a-' || i % 200, -1, 'A', '{}') FROM generate_series(1, 1000) i;
	SELECT es_create_projection('placed', 'SELECT place(e) FROM events e', tables => '{placed}');
	SELECT es_create_projection('placed_async', 'SELECT place_async(e) FROM events e', 'async', tables => '{placed_async}');
	SELECT es_run_projection('placed_async');
SQL

sub start_clients
{
	my ($clients, $transactions, $script, $out) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/clients.sql';
	PostgreSQL::Test::Utils::append_to_file($file, $script);
	return IPC::Run::start([ 'pgbench', '-n', '-c', $clients, '-j', 1, '-t', $transactions, '-f', $file, $node->connstr('postgres') ], '>', $out, '2>', $out);
}
my ($written, $watched) = ('', '');
my $writers = start_clients(3, 300, <<'SQL', \$written);
\set stream random(1, 300)
SELECT es_append('a-' || :stream, -1, '[{"type": "A"}, {"type": "B"}]');
SQL
my $readers = start_clients(2, 300, <<'SQL', \$watched);
SELECT 1 / CASE WHEN (SELECT sum(n) FROM placed) = (SELECT count(*) FROM eventstore.events) THEN 1 ELSE 0 END;
SELECT 1 / CASE WHEN (SELECT sum(n) FROM placed_async) >= 1000 THEN 1 ELSE 0 END;
\sleep 2ms
SQL
my ($rebuilds, $failed) = (0, '');
while ($writers->pumpable && $rebuilds < 40)
{
	for my $name ('placed', 'placed_async')
	{
		my ($status, $out, $err) = $node->psql('postgres', "SELECT es_rebuild_projection('$name')");
		$failed .= $err if $status != 0;
		like($err, qr/NOTICE:  projection "$name" is rebuilt in place/, "$name is rebuilt in place") if $rebuilds == 0;
	}
	$rebuilds++;
	$writers->pump_nb;
}
$writers->finish;
$readers->finish;
is($failed, '', "$rebuilds rebuilds of both");
unlike($written, qr/abort|error/i, 'no appender failed') or diag($written);
unlike($watched, qr/abort|error/i, 'no reader saw half of it') or diag($watched);
sql($node, q{SELECT es_run_projection('placed_async')});
my $differences = q{SELECT count(*) FROM %s p FULL JOIN (SELECT stream, count(*) AS n FROM eventstore.events GROUP BY stream) e USING (stream) WHERE p.n IS DISTINCT FROM e.n};
is(sql($node, sprintf($differences, $_)), 0, "$_ is right") for 'placed', 'placed_async';

# Ended in the middle, where it waits for a row
sql($node, q{UPDATE placed SET n = 77 WHERE stream = 'a-1'});
my $blocker = session($node);
$blocker->query_safe(q{BEGIN; UPDATE placed SET n = 78 WHERE stream = 'a-2'});
my $session = session($node);
send_query($session, q{SELECT es_rebuild_projection('placed')});
becomes($node, q{SELECT state FROM eventstore.projection_status WHERE name = 'placed'}, 'rebuilding', 'it waits');
sql($node, q{SELECT pg_terminate_backend(rebuild_pid, 10000) FROM eventstore.projection_status WHERE name = 'placed'});
$blocker->query_safe('ROLLBACK');
eval { $session->quit };
$blocker->quit;
is(sql($node, q{SELECT n FROM placed WHERE stream = 'a-1'}), 77, 'everything is as it was');
sql($node, q{SELECT es_append('a-1', -1, 'A', '{}')});
is(sql($node, q{SELECT n FROM placed WHERE stream = 'a-1'}), 78, 'and appends are applied');
sql($node, q{SELECT es_rebuild_projection('placed')});
is(sql($node, sprintf($differences, 'placed')), 0, 'rebuilt: right again');

done_testing();
