# Inline projections that stop at errors, under appends by many, some of whose events can not be applied, while somebody lets them go on again and
# again, and with a crash: each event is applied once, or was skipped, and appends never fail.
use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $rounds = $ENV{PROJECTION_ROUNDS} // 3;
my $node = new_node('stop', 'client_min_messages = error', 'log_min_messages = error', 'autovacuum = off');
sql($node, <<'SQL');
	CREATE TABLE handled (stream text PRIMARY KEY, n bigint, q bigint);
	SELECT es_create_projection('handled', 'INSERT INTO handled AS h SELECT stream, 1, 12 / data::int FROM events ON CONFLICT (stream) DO UPDATE SET n = h.n + 1, q = h.q + excluded.q', tables => '{handled}', on_error => 'stop');
	SELECT es_create_projection('declared', 'SELECT stream, count(*) AS n, sum(12 / data::int) AS q FROM events GROUP BY stream', on_error => 'stop');
	SELECT es_create_projection('counts', 'SELECT stream, count(*) AS n FROM events GROUP BY stream');

	-- One of thirty events can not be applied.
	CREATE FUNCTION append_some() RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 1 + floor(random() * 3)::int LOOP
			PERFORM es_append('s-' || floor(random() * 6)::int, -1,
				(SELECT jsonb_agg(jsonb_build_object('type', 'T', 'data', CASE WHEN random() < 1 / 30.0 THEN 0 ELSE 1 + floor(random() * 6)::int END)) FROM generate_series(1, 1 + floor(random() * 4)::int)));
		END LOOP;
		IF random() < 0.1 THEN
			RAISE SQLSTATE '40001';
		END IF;
	END $$;
	-- Whoever stands somewhere goes on: without the event or, now and then, first paused, or tried again.
	CREATE FUNCTION go_on() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		m record;
	BEGIN
		FOR m IN SELECT name, last_error_position FROM eventstore.projection_status WHERE state = 'failed' LOOP
			IF random() < 0.2 THEN
				PERFORM es_pause_projection(m.name), es_resume_projection(m.name);
			ELSIF random() < 0.2 THEN
				PERFORM es_resume_projection(m.name);
			END IF;
			PERFORM es_skip_event(m.name, m.last_error_position, 'by the test');
		END LOOP;
	END $$;
SQL

# What a projection should be: of every event that it has not skipped, nor missed, nor that is to come
my $of = sub { my ($name) = @_; "position <= (SELECT CASE state WHEN 'running' THEN 9e18 ELSE c.position END FROM eventstore.projections p JOIN eventstore.projection_checkpoints c ON c.projection = p.name WHERE name = '$name')
	AND position NOT IN (SELECT position FROM eventstore.skipped_events WHERE projection = '$name' UNION ALL SELECT position FROM eventstore.projection_missed WHERE projection = '$name')" };
my $differences = join ' UNION ALL ', (map { "SELECT '$_', e::text, t::text FROM (SELECT stream, count(*) AS n, sum(12 / data::int) AS q FROM eventstore.events WHERE " . $of->($_) . " GROUP BY 1) e FULL JOIN $_ t USING (stream) WHERE (e.n, e.q) IS DISTINCT FROM (t.n, t.q)" } 'handled', 'declared'),
	'SELECT \'counts\', e::text, c::text FROM (SELECT stream, count(*) AS n FROM eventstore.events GROUP BY 1) e FULL JOIN counts c USING (stream) WHERE e.n IS DISTINCT FROM c.n';
my $is_exact = sub {
	my ($when) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql($node, $differences), '', "$when: each is what its events make of it, but those it has missed or skipped");
	is(sql($node, q{SELECT name, v FROM eventstore.projections p, es_verify_projection(name) v}), '', "$when: es_verify_projection says so, too");
	is(sql($node, q{SELECT name FROM eventstore.projection_status WHERE events_applied + lag + (SELECT count(*) FROM eventstore.skipped_events s WHERE s.projection = name) <> (SELECT count(*) FROM eventstore.events)}), '', "$when: and the status counts right");
};

my @scripts = ([ 'append.sql', 'SELECT append_some();' ], [ 'go_on.sql', "SELECT go_on();\n\\sleep 20 ms" ]);
my %files;
for my $script (@scripts)
{
	$files{ $script->[0] } = PostgreSQL::Test::Utils::tempdir() . "/$script->[0]";
	PostgreSQL::Test::Utils::append_to_file($files{ $script->[0] }, $script->[1]);
}
sub pgbench
{
	my ($file, @options) = @_;
	my $out = '';
	return { out => \$out, run => IPC::Run::start([ 'pgbench', '-n', '--max-tries', 10, @options, '-f', $files{$file}, $node->connstr('postgres') ], '>&', \$out) };
}
for my $round (1 .. $rounds)
{
	my $appends = pgbench('append.sql', '-c', 4, '-t', 60);
	my $going = pgbench('go_on.sql', '-c', 1, '-T', 600);
	ok($appends->{run}->finish, "round $round: no append has failed") or diag(${ $appends->{out} });
	sql($node, q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query LIKE 'SELECT go_on%' AND pid <> pg_backend_pid()});
	eval { $going->{run}->finish };
	unlike(${ $going->{out} }, qr/ERROR:(?!.*(serialize|deadlock))/, "round $round: nor has who lets them go on");
	$is_exact->("round $round");
}
cmp_ok(sql($node, 'SELECT count(*) FROM eventstore.skipped_events'), '>', 5, 'some events were skipped');

# A crash in the middle
my $before = sql($node, 'SELECT count(*) FROM eventstore.events');
my @crew = (pgbench('append.sql', '-c', 4, '-T', 600), pgbench('go_on.sql', '-c', 1, '-T', 600));
my $until = time + 60;
sleep 0.05 while sql($node, 'SELECT count(*) FROM eventstore.events') < $before + 100 && time < $until;
$node->stop('immediate');
eval { $_->{run}->finish } for @crew;
$node->start;
$is_exact->('a crash');

# To the end
for (1 .. 1000) { last if sql($node, q{SELECT go_on(); SELECT count(*) FROM eventstore.projection_status WHERE state = 'failed'}) =~ /^0$/m }
$is_exact->('in the end');
is(sql($node, q{SELECT DISTINCT state FROM eventstore.projection_status}), 'running', 'all run');
is(sql($node, 'SELECT es_rebuild_projection(name) = events_applied FROM eventstore.projection_status'), "t\nt\nt", 'rebuilt, of as many events');
$is_exact->('rebuilt');
is_sound($node, 'in the end');
done_testing();
