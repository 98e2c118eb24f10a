# Who makes or resumes an async projection, or just has had its lock, wakes those who apply it when there is something to see: the worker is
# told neither before it can know of the change nor before it can have the lock. A session is held in the middle of its commit.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $late = "$FindBin::RealBin/../late.so";
my $gate = PostgreSQL::Test::Utils::tempdir() . '/gate';
my $node = new_node('wakeup', "shared_preload_libraries = '$late, eventstore'", "eventstore.databases = 'postgres'", 'max_worker_processes = 20');

# A round of the worker, seen from outside: it has announced an append.
sub round
{
	my $position = sql($node, q{SELECT es_append('round-1', -1, 'Round', '{}'); SELECT es_last_position()});
	$node->poll_query_until('postgres', 'SELECT position >= ' . (split /\n/, $position)[1] . ' FROM eventstore.head') or die 'the worker does not go on';
	return;
}

# Statements that commit with the worker looking in the middle of it. Returns how many seconds after its end the projection has been applied
# to everything; a process that was not told looks after ten.
sub seconds_after
{
	my ($name, @statements) = @_;
	my $session = session($node);
	$session->query_safe("SET late.gate = '$gate'");
	$session->query_safe($_) for @statements[ 0 .. $#statements - 1 ];
	PostgreSQL::Test::Utils::append_to_file($gate, '');
	send_query($session, $statements[-1]);
	for (1 .. 600) { last if -e "$gate.reached"; sleep 0.1 }
	ok(-e "$gate.reached", "$name: committed, as others see it");
	round();
	round();
	unlink "$gate.reached", $gate;
	my $begun = time;
	$session->query('');
	$session->quit;
	$node->poll_query_until('postgres', "SELECT lag = 0 FROM eventstore.projection_status WHERE name = 'p'");
	return time - $begun;
}

# Each a few times: a machine that is busy may be so for a while, who is not told is late each time.
sub is_told
{
	my ($name, $before, @statements) = @_;
	my $seconds;
	for my $try (1 .. 3)
	{
		$before->();
		$seconds = seconds_after($name, @statements);
		last if $seconds < 6;
	}
	cmp_ok($seconds, '<', 6, "$name: applied at once");
	return;
}

my $create = q{SELECT es_create_projection('p', 'SELECT type, count(*) AS n FROM events GROUP BY type', 'async')};
is_told('made', sub { sql($node, q{SELECT es_drop_projection(name, true) FROM eventstore.projections}) }, $create);
is_told('resumed', sub { sql($node, q{SELECT es_pause_projection('p')}); round() }, q{SELECT es_resume_projection('p')});
# A runner that has found the projection locked is told when it is not.
is_told('unlocked', sub { sql($node, $_) for q{SELECT es_pause_projection('p')}, q{SELECT es_resume_projection('p')} }, 'BEGIN', q{SELECT es_run_projection('p', 0)}, 'COMMIT');
# Written by hand, as its owner may be
is_told('changed by hand', sub { sql($node, q{SELECT es_pause_projection('p')}); round() }, q{UPDATE eventstore.projections SET state = 'running'});

# A prepared transaction: nobody has the projection before it is ended, and nobody's callback tells of that.
for my $end ('COMMIT', 'ROLLBACK')
{
	my $seconds;
	for my $try (1 .. 3)
	{
		sql($node, qq{BEGIN; SELECT es_run_projection('p', 0); PREPARE TRANSACTION 'p'});
		round();
		is(sql($node, 'SELECT count(*) FROM eventstore.inflight'), 0, "$end PREPARED: nothing is in flight");
		my $begun = time;
		sql($node, "$end PREPARED 'p'");
		$node->poll_query_until('postgres', "SELECT lag = 0 FROM eventstore.projection_status WHERE name = 'p'");
		$seconds = time - $begun;
		last if $seconds < 6;
	}
	cmp_ok($seconds, '<', 6, "$end PREPARED: applied at once");
}

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|could not start a process/, 'nothing untoward');
done_testing();
