# Declared tables are what their queries give over all events: random events of several types, with nulls, missing keys and many keys,
# under every aggregate that can be kept, inline and async, made before the events and after them and while others append, paused, and
# with crashes in between. And handlers are what their statements make of one event after the other.
use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use Declared;
use Handlers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('projections', 'autovacuum = off');
set_up($node);

# -- One session after another -----------------------------------------------------------------------------------------------

create($node, 'early');
make_handlers(30);
create_handlers($node, 'early');
sql($node, 'SELECT setseed(' . $seed / 2_000_000 . '); CALL append_some(60)');
is_equal($node, 'appended', q{mode = 'inline'});
cmp_ok(sql($node, q{SELECT count(*) FROM declared, differences(name) WHERE mode = 'async'}), '>', 0, 'and the oracle tells those that lag');
run_async($node);
is_equal($node, 'appended and run');
my $run_handlers = sub { my ($count) = @_; sql($node, "SELECT es_run_projection(name, $count) FROM handlers WHERE mode = 'async'") };
handlers_are_right($node, 'appended', q{mode = 'inline'}, 1);
$run_handlers->(1 + int(rand(50)));
$run_handlers->('NULL');
handlers_are_right($node, 'appended and run', q{mode = 'async'}, 1);
create_handlers($node, 'late');
$run_handlers->('NULL');
handlers_are_right($node, 'made on a store with history', q{name LIKE '%late'});
create($node, 'late');
is_equal($node, 'made on a store with history', q{mode = 'inline'});
run_async($node);
is_equal($node, 'and run');
for my $round (1 .. $rounds)
{
	sql($node, 'SELECT setseed(' . ($seed + $round) / 2_000_000 . "); CALL append_some(40); SELECT run_all(" . (1 + $round * 7) . ')');
	is_equal($node, "round $round", q{mode = 'inline'});
	$run_handlers->(1 + int(rand(30)));
	handlers_are_right($node, "round $round", q{mode = 'inline'});
}
$run_handlers->('NULL');
handlers_are_right($node, 'after the rounds', 'true', 1);
run_async($node);
is_equal($node, 'after the rounds');
cmp_ok(sql($node, 'SELECT count(*) FROM eventstore.events'), '>', 200, 'there were events');
is(sql($node, q{SELECT count(*) FROM counts_inline_early}), 8, 'in every stream');

# Paused, and resumed: nothing is lost, nothing applied twice.
sql($node, q{SELECT es_pause_projection(name) FROM declared WHERE name LIKE '%_early'; SELECT es_pause_projection(name) FROM handlers WHERE name LIKE '%_early'; CALL append_some(30)});
is_equal($node, 'others are paused', q{name LIKE '%inline_late'});
sql($node, q{SELECT es_resume_projection(name) FROM declared WHERE name LIKE '%_early'; SELECT es_resume_projection(name) FROM handlers WHERE name LIKE '%_early'});
run_async($node);
is_equal($node, 'resumed');
$run_handlers->('NULL');
handlers_are_right($node, 'resumed');
# What follows appends in several sessions at once: of those, only what happens within a stream has an order that is known.
sql($node, q{SELECT es_drop_projection(name) FROM handlers});

# A prepared transaction
sql($node, q{BEGIN; SELECT es_append('x-1', -1, random_events()); PREPARE TRANSACTION 'p'});
run_async($node);
sql($node, q{COMMIT PREPARED 'p'});
run_async($node);
is_equal($node, 'prepared and committed');

# -- Side by side, and with crashes ------------------------------------------------------------------------------------------

my @work = ('SELECT append_one();', q{\set n random(1, 40)} . "\nSELECT es_run_projection(name, :n) FROM (SELECT name FROM declared WHERE mode = 'async' ORDER BY random() LIMIT 1) d;");
race($node, 'appends and runs', 4, 10 * $rounds, @work);
is_equal($node, 'after a race', q{mode = 'inline'});
run_async($node);
is_equal($node, 'after a race, run');

my @files = map { ('-f', write_file('work.sql', $_)) } @work;
for my $crash (1 .. 2)
{
	my ($before, $out) = (sql($node, 'SELECT count(*) FROM eventstore.events'), '');
	my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', 3, '-T', 60, @files, $node->connstr('postgres') ], '>&', \$out);
	my $until = time + 30;
	sleep 0.05 while sql($node, 'SELECT count(*) FROM eventstore.events') < $before + 60 && time < $until;
	$node->stop('immediate');
	$bench->finish;
	$node->start;
	cmp_ok(sql($node, 'SELECT count(*) FROM eventstore.events'), '>=', $before + 60, "crash $crash: in the middle of it");
	is_equal($node, "crash $crash", q{mode = 'inline'});
	run_async($node);
	is_equal($node, "crash $crash, run");
}

# -- Made, paused, resumed and dropped while others append -------------------------------------------------------------------

my $log = '';
my $appenders = IPC::Run::start([ 'pgbench', '-n', '-c', 3, '-T', 120, @files[0, 1], $node->connstr('postgres') ], '>&', \$log);
for my $i (1 .. 2 + $rounds)
{
	my $d = $declared[ ($seed + $i * 5) % @declared ];
	my ($name, $query, $filters, $lookups) = ("$d->[0]_$i", $d->[1], filters($d), lookups($d));
	for my $mode ('inline', 'async')
	{
		sql($node, "INSERT INTO declared VALUES ('${name}_${mode}', \$q\$$query\$q\$, $filters, '$mode')");
		sql($node, "SELECT es_create_projection('${name}_${mode}', \$q\$$query\$q\$, '$mode', $filters, $lookups)");
	}
	sql($node, "SELECT es_pause_projection('${name}_inline'); SELECT es_pause_projection('counts_inline_late')");
	sql($node, "SELECT es_run_projection('${name}_async', 100)");
	sql($node, "SELECT es_resume_projection('${name}_inline'); SELECT es_resume_projection('counts_inline_late')");
	if ($i % 3 == 0)
	{
		sql($node, "SELECT es_drop_projection('${name}_inline', drop_table => true)");
		sql($node, "DELETE FROM declared WHERE name = '${name}_inline'");
	}
}
$appenders->signal('INT');
$appenders->finish;
# Its sessions end what they are in the middle of.
becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pgbench'}, 0, 'the appenders end');
unlike($log, qr/ERROR|aborted/, 'no appender failed') or diag($log);
is_equal($node, 'made under appends', q{mode = 'inline'});
run_async($node);
is_equal($node, 'made under appends, run');
is_sound($node, 'in the end');

done_testing();
