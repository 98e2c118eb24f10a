# Consumers as processes that are killed, stopped and cut off, with what they fetched committed or still inside a transaction: when
# the lease ends another one goes on, nothing is lost, nothing is done twice, and who comes back too late is refused.
#
# Any process may be kept from running for seconds here, the test itself and the server too. So a lease is either short, and what is said
# holds when it has ended, or longer than the whole test, where something must not happen before its end.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Consumers;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $lease = 0.6;
my $node = new_node('consumers', 'restart_after_crash = on', 'max_connections = 60');
create_effects($node);
my @blocked; # what has to be set free whatever happens
END { kill 'CONT', @blocked }
my $begun = time;

# Each fault: what is done to the consumer's session, and how it can come back to go on with its token, if it can. The ones that it
# cannot come back from leave its session behind.
my ($proxy_folder, $proxy) = new_proxy($node);
my %faults = (
	'client killed' => { is_gone => 1, strike => sub { kill 'KILL', client_pid($_[0]) } },
	'backend terminated' => { is_gone => 1, strike => sub { sql($node, "SELECT pg_terminate_backend($_[1], 10000)") } },
	'client stopped' => { strike => sub { kill 'STOP', block(client_pid($_[0])) }, back => sub { kill 'CONT', client_pid($_[0]) } },
	'backend stopped' => { strike => sub { kill 'STOP', block($_[1]) }, back => sub { kill 'CONT', $_[1] } },
	'cut off' => { strike => sub { kill 'STOP', block($proxy) }, back => sub { kill 'CONT', $proxy } },
);
sub block { push @blocked, @_; return $_[0] }

my $scenario = 0;

# A consumer fetches, and does its work; is struck; another one waits in es_fetch meanwhile, and has it all when the lease ends, done and
# acked. If the first one can come back, its ack is refused.
sub taken_over
{
	my ($fault, $is_open) = @_;
	my $name = $fault . ($is_open ? ', inside its transaction' : '');
	my $category = 'f' . ++$scenario;
	my $struck = $fault eq 'cut off' ? through($node, $proxy_folder, sub { session($node) }) : session($node);
	my $other = session($node);
	my $pid = backend_pid($struck);
	sql($node, "SELECT es_create_subscription('$category', category => '$category', partitions => 4, lease => '$lease s')");
	appended($node, $category, 8, 2);

	$struck->query_safe('BEGIN') if $is_open;
	my $fetched = time;
	my @rows = ask($struck, fetch($category, 'struck', 100));
	is(scalar @rows, 16, "$name: all events are fetched");
	my $effects = sub {
		my ($consumer) = @_;
		"INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, '$consumer' FROM eventstore.events WHERE category = '$category' ORDER BY position";
	};
	$struck->query_safe($effects->('struck')) if $is_open;
	my $struck_at = time;
	$faults{$fault}{strike}->($struck, $pid);

	# While it lives, as far as anybody can know, the events are its own; of a transaction that has come to an end nothing is left.
	my @taken = ask($other, fetch($category, 'other', 100));
	@taken = ask($other, fetch($category, 'other', 100, '1 min')) unless @taken;
	my $taken_at = time;
	cmp_ok($taken_at - $fetched, '>=', $lease, "$name: not for others while the lease lasts") unless $is_open && $faults{$fault}{is_gone};
	is($other->{stderr}, '', "$name: the other one waits without an error");
	is(join(' ', sort map { "$_->[0]/$_->[1]" } @taken), join(' ', sort map { "$_->[0]/$_->[1]" } @rows), "$name: then the other one has them all");
	cmp_ok($taken_at - $struck_at, '<', $soon, "$name: when the lease ends");
	is(sqlstate_of($other, 'BEGIN; ' . $effects->('other') . "; SELECT es_ack('$category', $taken[-1][3], $taken[-1][4]); COMMIT"), '', "$name: and can ack them");

	if (my $back = $faults{$fault}{back})
	{
		$back->($struck, $pid);
		is(sqlstate_of($struck, "SELECT es_ack('$category', $rows[-1][3], $rows[-1][4])"), 'SE005', "$name: who comes back late is refused");
		ask($struck, 'ROLLBACK');
		is(scalar ask($struck, fetch($category, 'struck', 100)), 0, "$name: and finds nothing left to do");
	}
	effects_are_exact($node, $category, $name);
	is(sql($node, "SELECT count(*) FROM eventstore.subscription_status WHERE name = '$category' AND checkpoint < (SELECT max(position) FROM eventstore.events WHERE category = '$category')"), 0, "$name: the checkpoints are at the end");
	$other->quit;
	eval { $faults{$fault}{back} ? $struck->quit : $struck->{run}->kill_kill };
	return;
}

for my $fault (sort keys %faults)
{
	taken_over($fault, $_) for 0, 1;
}

# Late, but nobody has taken over: the ack counts.
{
	my $session = session($node);
	sql($node, "SELECT es_create_subscription('late', category => 'late', lease => '300 ms')");
	appended($node, 'late', 3, 1);
	my @rows = ask($session, fetch('late', 'slow', 10));
	kill 'STOP', block(client_pid($session));
	sleep 0.6;
	kill 'CONT', client_pid($session);
	is(sqlstate_of($session, "SELECT es_ack('late', $rows[-1][3], $rows[-1][4])"), '', 'late, but nobody has taken over: the ack counts');
	is(scalar ask($session, fetch('late', 'other', 10, '600 ms')), 0, 'and nobody does it again');
	$session->quit;
}

# Stopped between ack and commit: the ack has been given and may yet stand, so nobody else may begin. Then it stands, or it does not.
for my $end ('COMMIT', 'terminated')
{
	my ($session, $other) = (session($node), session($node));
	my $category = "acked$end";
	sql($node, "SELECT es_create_subscription('$category', category => '$category', lease => '300 ms')");
	appended($node, $category, 3, 1);
	$session->query_safe('BEGIN');
	my @rows = ask($session, fetch($category, 'slow', 10));
	$session->query_safe("INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, 'slow' FROM eventstore.events WHERE category = '$category'; SELECT es_ack('$category', $rows[-1][3], $rows[-1][4])");
	my $pid = backend_pid($session);
	kill 'STOP', block(client_pid($session));
	my @taken = ask($other, fetch($category, 'other', 10, '1 s'));
	is(scalar @taken, 0, "stopped between ack and $end: nobody else begins");
	if ($end eq 'COMMIT')
	{
		kill 'CONT', client_pid($session);
		is(sqlstate_of($session, 'COMMIT'), '', 'stopped between ack and COMMIT: it stands');
		is(scalar ask($other, fetch($category, 'other', 10, '600 ms')), 0, 'and is done');
		$session->quit;
	}
	else
	{
		sql($node, "SELECT pg_terminate_backend($pid, 10000)");
		@taken = ask($other, fetch($category, 'other', 10, '1 min'));
		is(scalar @taken, 3, 'stopped between ack and the end of its backend: another one has them');
		$other->query_safe("INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, 'other' FROM eventstore.events WHERE category = '$category'; SELECT es_ack('$category', $taken[-1][3], $taken[-1][4])");
		kill 'CONT', client_pid($session);
		eval { $session->{run}->kill_kill };
	}
	effects_are_exact($node, $category, "stopped between ack and $end");
	$other->quit;
}

# Acks what a consumer has been handed, and counts it, unless it has lost it meanwhile.
sub count_done
{
	my ($done, $session, $category, @taken) = @_;
	return if !@taken || sqlstate_of($session, "SELECT es_ack('$category', $taken[-1][3], $taken[-1][4])") eq 'SE005';
	$done->{"$_->[0]/$_->[1]"}++ for @taken;
	return;
}

# A consumer that waits in es_fetch has all partitions; it is killed, and its client is cut off: another one goes on.
for my $fault ('killed', 'cut off')
{
	my $category = "waits$fault" =~ s/ //gr;
	my $waiting = through($node, $proxy_folder, sub { session($node) });
	my $other = session($node);
	my $pid = backend_pid($waiting);
	sql($node, "SELECT es_create_subscription('$category', category => '$category', lease => '$lease s')");
	appended($node, $category, 3, 1);
	my @rows = ask($waiting, fetch($category, 'waiting', 10));
	$waiting->query_safe("SELECT es_ack('$category', $rows[-1][3], $rows[-1][4])");
	send_query($waiting, fetch($category, 'waiting', 10, '1 min'));
	until_asleep($node, $pid);
	if ($fault eq 'killed') { sql($node, "SELECT pg_terminate_backend($pid, 10000)") }
	else { kill 'STOP', block($proxy) }
	appended($node, $category, 3, 1);
	# Cut off, the one that waits is handed them, and they wait for the end of its lease.
	my %done;
	my $until = time + $soon;
	while (keys %done < 3 && time < $until)
	{
		my @taken = ask($other, fetch($category, 'other', 10, '3 s'));
		count_done(\%done, $other, $category, @taken);
	}
	is(join(' ', map { "$_ $done{$_}" } sort keys %done), "$category-1/2 1 $category-2/2 1 $category-3/2 1", "$fault while it waits: another one goes on");
	kill 'CONT', $proxy;
	eval { $waiting->{run}->kill_kill };
	$other->quit;
}

# Who waits lives, however short its lease: it is left what it has, up to its fair share, and is handed what comes.
{
	my ($waiting, $other) = (session($node), session($node));
	my $answer = sub { return map { [ split /\|/, $_, -1 ] } split /\n/, $_[0]->query('') };
	sql($node, q{SELECT es_create_subscription('lives', category => 'lives', partitions => 8, lease => '200 ms')});
	ask($waiting, fetch('lives', 'waiting', 100));
	for ([ $waiting, 'waiting' ], [ $other, 'other' ])
	{
		my ($session, $consumer) = @$_;
		my $pid = backend_pid($session);
		send_query($session, fetch('lives', $consumer, 100, '1 min'));
		until_asleep($node, $pid);
		sleep 0.5;
	}
	appended($node, 'lives', 20, 1);
	my @handed = $answer->($waiting);
	my @taken = $answer->($other);
	ok(@handed > 0 && @taken > 0, 'both that wait longer than their leases are handed events: ' . @handed . ' and ' . @taken);
	is(join(' ', sort map { $_->[0] } @handed, @taken), join(' ', sort map { "lives-$_" } 1 .. 20), 'together each of them once');
	is(sql($node, q{SELECT string_agg(consumer || ' ' || n, ', ' ORDER BY consumer) FROM (SELECT consumer, count(*) n FROM eventstore.subscription_status WHERE name = 'lives' GROUP BY 1) s}),
		'other 4, waiting 4', 'each of its share');
	$_->quit for $waiting, $other;
}

# What a consumer gives away when it fetches is another's at once, while it waits, and when its lease has ended, if it hangs then.
for my $way ('waits', 'hangs')
{
	my $category = "gives$way";
	my ($giver, $other) = (session($node), session($node));
	my $pid = backend_pid($giver);
	sql($node, "SELECT es_create_subscription('$category', category => '$category', partitions => 10, lease => '5 min')");
	appended($node, $category, 20, 1);
	my @rows = ask($giver, fetch($category, 'giver', 100));
	is(scalar ask($other, fetch($category, 'other', 100)), 0, "a giver that $way: another consumer has come, and has nothing yet");
	$giver->query_safe("SELECT es_ack('$category', $rows[-1][3], $rows[-1][4])");
	if ($way eq 'waits')
	{
		send_query($giver, fetch($category, 'giver', 100, '1 min'));
		until_asleep($node, $pid);
	}
	else
	{
		sql($node, "SELECT es_alter_subscription('$category', NULL, lease => '$lease s')");
		$giver->query_safe('BEGIN');
		ask($giver, fetch($category, 'giver', 100));
		kill 'STOP', block(client_pid($giver));
	}
	appended($node, $category, 20, 1);
	my %done;
	my $until = time + $soon;
	while (time < $until && keys %done < ($way eq 'hangs' ? 20 : 1))
	{
		my @taken = ask($other, fetch($category, 'other', 100, '3 s'));
		count_done(\%done, $other, $category, @taken);
	}
	cmp_ok(time, '<', $until, "a giver that $way: another consumer has events, soon");
	if ($way eq 'waits') { $done{"$_->[0]/$_->[1]"}++ for map { [ split /\|/, $_, -1 ] } split /\n/, $giver->query('') }
	else { kill 'CONT', client_pid($giver) }
	is(join(' ', map { "$_ $done{$_}" } sort keys %done), join(' ', sort map { "$category-$_/2 1" } 1 .. 20), "a giver that $way: all events come to somebody, once");
	eval { $_->quit } for $giver, $other;
}

# A backend that is killed takes the whole server through crash recovery, and with it the sessions of all.
for my $is_open (0, 1)
{
	my $name = 'backend killed' . ($is_open ? ', inside its transaction' : '');
	my $category = "crash$is_open";
	my $session = session($node);
	my $pid = backend_pid($session);
	sql($node, "SELECT es_create_subscription('$category', category => '$category', partitions => 4, lease => '$lease s')");
	appended($node, $category, 6, 2);
	$session->query_safe('BEGIN') if $is_open;
	my @rows = ask($session, fetch($category, 'killed', 5));
	my $insert = "INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, '%s' FROM eventstore.events WHERE category = '$category' AND position <= %s ORDER BY position";
	$session->query_safe(sprintf $insert, 'killed', $rows[-1][4]);
	$session->query_safe("SELECT es_ack('$category', $rows[-1][3], $rows[-1][4])");
	my $crashed = -s $node->logfile;
	kill 'KILL', $pid;
	my $until = time + 60;
	sleep 0.05 while time < $until && PostgreSQL::Test::Utils::slurp_file($node->logfile, $crashed) !~ /database system is ready/;
	eval { $session->{run}->kill_kill };

	# Those of partitions with nothing fetched are there at once, the rest when the lease ends.
	my $other = session($node);
	my $done = 0;
	while (my @taken = ask($other, fetch($category, 'other', 100, "$soon s")))
	{
		$other->query_safe("INSERT INTO effects (position, stream, version, consumer) SELECT position, stream, version, 'other' FROM eventstore.events WHERE position IN (@{[join ', ', map { $_->[4] } @taken]}) ORDER BY position; SELECT es_ack('$category', $taken[-1][3], $taken[-1][4])");
		$done += @taken;
		last if $done >= ($is_open ? 12 : 7);
	}
	is($done, $is_open ? 12 : 7, "$name: another one has what was not acked");
	effects_are_exact($node, $category, $name);
	$other->quit;
}

kill 'KILL', $proxy;
waitpid $proxy, 0;
@blocked = ();
is(sql($node, 'SELECT count(*) FROM eventstore.parked'), 0, 'nothing was parked');
is_sound($node, 'in the end');
note(sprintf 'took %.1f s', time - $begun);
$node->stop;
done_testing();
