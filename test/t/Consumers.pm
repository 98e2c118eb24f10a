# What the tests of consumers as real processes share: sessions whose client and backend can be stopped and killed, ways to reach the
# server that others can block, a table of effects, and what has to be true of it in the end.
package Consumers;

use strict;
use warnings;
use Exporter 'import';
use IO::Select;
use IO::Socket::UNIX;
use IPC::Run;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(client_pid backend_pid fetch ask sqlstate_of until_asleep through new_proxy new_pooler create_effects appended
  effects_are_exact effects_are_missing until_effects new_crowd add_script keep_running disperse);

# The process of a session's psql, and that of its backend.
sub client_pid { return $_[0]->{run}{KIDS}[0]{PID} }
sub backend_pid { return $_[0]->query_safe('SELECT pg_backend_pid()') }

# The text of a fetch, a row an event: stream, version, attempt, token, position.
sub fetch
{
	my ($subscription, $consumer, $max_count, $wait) = @_;
	$wait //= '0';
	return "SELECT stream, version, attempt, token, position FROM es_fetch('$subscription', '$consumer', $max_count, '$wait')";
}

# The rows that a query returns in a session, as arrays; what it raises stays in $session->{stderr}.
sub ask
{
	my ($session, $query) = @_;
	$session->{stderr} = '';
	return map { [ split /\|/, $_, -1 ] } split /\n/, $session->query($query);
}

# The SQLSTATE that a statement raises in a session; '' if none, and then the session goes on.
sub sqlstate_of
{
	my ($session, $statement) = @_;
	$session->{stderr} = '';
	$session->query("\\set VERBOSITY sqlstate\n$statement");
	my ($code) = $session->{stderr} =~ /(?:ERROR|FATAL): +(\w{5})/;
	$code //= $session->{stderr};
	$session->{stderr} = '';
	return $code;
}

# Waits until a session that has been sent es_fetch sleeps in it.
sub until_asleep
{
	my ($node, $pid) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $pid AND state = 'active' AND wait_event_type = 'Extension'")
	  or die "backend $pid does not sleep";
	return;
}

# Calls a function that connects to the node: all of that goes through the socket in another folder.
sub through
{
	my ($node, $folder, $function) = @_;
	local $node->{_host} = $folder;
	return $function->();
}

my @proxies;
END { kill 'KILL', @proxies }

# A proxy in front of the node, in a process of its own: returns the folder of its socket and its process. Stopped by a signal, it passes
# nothing on, so that neither side learns what has become of the other: a network that is gone.
sub new_proxy
{
	my ($node) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir_short();
	my $socket = '.s.PGSQL.' . $node->port;
	my $server = $node->host . "/$socket";
	my $listener = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => "$folder/$socket", Listen => 10) or die "$folder/$socket: $!";
	defined(my $pid = fork) or die $!;
	push @proxies, $pid;
	return ($folder, $pid) if $pid;
	eval { relay($listener, $server) };
	POSIX::_exit(0); # what the test does at its end is not for this process
}

sub relay
{
	my ($listener, $server) = @_;
	local $SIG{PIPE} = 'IGNORE';
	my $select = IO::Select->new($listener);
	my %other;
	while (my @ready = $select->can_read)
	{
		for my $from (@ready)
		{
			if ($from == $listener)
			{
				my $client = $listener->accept or next;
				my $backend = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $server) or next;
				@other{ $client, $backend } = ($backend, $client);
				$select->add($client, $backend);
			}
			elsif (my $to = $other{$from})
			{
				my $data = '';
				next if $from->sysread($data, 65536) && $to->syswrite($data);
				$select->remove($from, $to);
				delete @other{ $from, $to };
				$_->close for $from, $to;
			}
		}
	}
	return;
}

# pgbouncer in front of the node, each transaction over another of its connections in turn; returns the folder of its socket and its
# process, or nothing where there is no pgbouncer.
sub new_pooler
{
	my ($node) = @_;
	local $ENV{PATH} = "$ENV{PATH}:/usr/sbin";
	return if system('command -v pgbouncer >/dev/null') != 0;
	my $folder = PostgreSQL::Test::Utils::tempdir_short();
	my ($host, $port, $user) = ($node->host, $node->port, scalar getpwuid($<));
	PostgreSQL::Test::Utils::append_to_file("$folder/pgbouncer.ini", <<"INI");
		[databases]
		postgres = host=$host port=$port dbname=postgres user=$user
		[pgbouncer]
		unix_socket_dir = $folder
		listen_port = $port
		auth_type = any
		pool_mode = transaction
		server_round_robin = 1
		default_pool_size = 4
		ignore_startup_parameters = extra_float_digits
INI
	my $log = '';
	my $pooler = IPC::Run::start([ 'pgbouncer', "$folder/pgbouncer.ini" ], '<', \undef, '>&', \$log);
	for (1 .. 200)
	{
		last if -S "$folder/.s.PGSQL.$port";
		$pooler->pump_nb;
		sleep 0.02;
	}
	-S "$folder/.s.PGSQL.$port" or die "pgbouncer does not start: $log";
	return ($folder, $pooler);
}

# Effects as consumers write them; no constraint keeps an event from having two.
sub create_effects
{
	my ($node) = @_;
	sql($node, 'CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, position bigint NOT NULL, stream text NOT NULL, version bigint NOT NULL, consumer text NOT NULL)');
	return;
}

# Appends so many events to each of so many streams, in turn; they all are of one category.
sub appended
{
	my ($node, $category, $streams, $events) = @_;
	return sql($node, "SELECT count(es_append('$category-' || s, -1, 'Happened', '{}')) FROM generate_series(1, $events) e, generate_series(1, $streams) s");
}

# Tests that each event of a category has one effect, and that the effects came in each stream's order.
sub effects_are_exact
{
	my ($node, $category, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(sql($node, <<"SQL"), '', "$name: each event has one effect, in the order of its stream");
		WITH happened AS (SELECT position, stream FROM eventstore.events WHERE category = '$category'),
		done AS (SELECT *, lag(position) OVER (PARTITION BY stream ORDER BY id) AS before FROM effects WHERE split_part(stream, '-', 1) = '$category')
		(SELECT 'lost', stream, position FROM happened WHERE position NOT IN (SELECT position FROM done) ORDER BY position LIMIT 5)
		UNION ALL (SELECT 'doubled', stream, position FROM done GROUP BY stream, position HAVING count(*) > 1 ORDER BY position LIMIT 5)
		UNION ALL (SELECT 'out of order', stream, position FROM done WHERE position <= before ORDER BY id LIMIT 5)
		UNION ALL (SELECT 'never happened', stream, position FROM done WHERE position NOT IN (SELECT position FROM happened) LIMIT 5)
SQL
}

# Does something again and again until each event of the categories has its effect, or no more effects come for some time.
sub until_effects
{
	my ($node, $round, @categories) = @_;
	my ($before, $until) = ('inf', time + 30);
	while (time < $until)
	{
		$round->();
		my $missing = 0;
		$missing += effects_are_missing($node, $_) // 'inf' for @categories;
		return if $missing == 0;
		$until = time + 30 if $missing < $before;
		$before = $missing;
		sleep 0.1;
	}
	return;
}

# How many events of a category have no effect yet; undef if the server is away.
sub effects_are_missing
{
	my ($node, $category) = @_;
	my ($missing, $err) = ('', '');
	$node->psql('postgres', "SELECT count(*) FROM eventstore.events e WHERE category = '$category' AND NOT EXISTS (SELECT FROM effects f WHERE f.position = e.position)",
		stdout => \$missing, stderr => \$err);
	return $missing eq '' ? undef : $missing;
}

# Processes of psql that run scripts: {scripts} says which by the name of the process, {pids} are those that live, {log} is what they print.
# The name is also psql's variable "consumer", and the application_name.
my @crowds;
END { my $status = $?; kill 'KILL', map { values %{ $_->{pids} } } @crowds; $? = $status }

sub new_crowd
{
	my ($node) = @_;
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $crowd = { node => $node, folder => $folder, log => "$folder/log", scripts => {}, pids => {} };
	push @crowds, $crowd;
	return $crowd;
}

sub add_script
{
	my ($crowd, $script, $text, @names) = @_;
	PostgreSQL::Test::Utils::append_to_file("$crowd->{folder}/$script.sql", $text x 1000);
	$crowd->{scripts}{$_} = $script for @names;
	return;
}

# Starts those that are not there, or are gone.
sub keep_running
{
	my ($crowd) = @_;
	my ($scripts, $pids) = @{$crowd}{qw(scripts pids)};
	while ((my $pid = waitpid -1, POSIX::WNOHANG()) > 0)
	{
		delete $pids->{$_} for grep { $pids->{$_} == $pid } keys %$pids;
	}
	for my $name (grep { !$pids->{$_} } keys %$scripts)
	{
		my @command = ('psql', '-Xq', '-d', $crowd->{node}->connstr('postgres'), '-v', "consumer=$name", '-f', "$crowd->{folder}/$scripts->{$name}.sql");
		defined(my $pid = fork) or die $!;
		if (!$pid)
		{
			open STDIN, '<', '/dev/null';
			open STDOUT, '>>', $crowd->{log};
			open STDERR, '>>', $crowd->{log};
			$ENV{PGAPPNAME} = $name;
			exec @command or POSIX::_exit(1);
		}
		$pids->{$name} = $pid;
	}
	return;
}

# Ends those whose names match, for good.
sub disperse
{
	my ($crowd, $pattern) = @_;
	for my $name (grep { $_ =~ $pattern } keys %{ $crowd->{scripts} })
	{
		delete $crowd->{scripts}{$name};
		my $pid = delete $crowd->{pids}{$name} or next;
		kill 'KILL', $pid;
		waitpid $pid, 0;
	}
	return;
}

1;
