# The story of examples/users, told to one language's programs: three replicas of the user service share the commands, one of them is
# killed in the middle, and two groups of notifiers get every event. Whatever happens, each command is answered once, each event is
# told once a group, and each stream's order holds.
package Users;

use strict;
use warnings;
use Exporter 'import';
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(npm_ci tell_story);

# Puts the packages that a folder's package-lock.json names beside it. Returns why that cannot be done here, or ''.
sub npm_ci
{
	my ($folder) = @_;
	my $out = '';
	for my $command ('node', 'npm')
	{
		return "no $command here" if system("command -v $command >/dev/null") != 0;
	}
	return '' if IPC::Run::run([qw(npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --fetch-retries=1)], '<', \undef, '>&', \$out, init => sub { chdir $folder or die $! });
	return "npm does not reach its registry: $out" if $out =~ /ENOTFOUND|EAI_AGAIN|ECONN|ETIMEDOUT|ENETUNREACH|E50\d|CERT/;
	die "npm ci: $out";
}

# The commands of the story: lines for the sender. Users 1 to $users live through everything; the twins want one name.
my $users = 40;
sub commands
{
	my @commands;
	for my $n (1 .. $users)
	{
		push @commands, [ 'CreateUser', $n, { name => "user.$n", email => "user$n\@example.com" } ];
	}
	push @commands, map { [ 'CreateUser', "twin-$_", { name => 'twin', email => "twin$_\@example.com" } ] } 1 .. 6;
	push @commands, map { [ 'CreateUser', "echo-$_", { name => "echo$_", email => $_ % 2 ? 'Echo@example.com' : 'echo@example.com' } ] } 1 .. 6;
	push @commands, [ 'CreateUser', 'bad-name', { name => 'no blanks', email => 'a@example.com' } ], [ 'CreateUser', 'bad-mail', { name => 'mail', email => 'nowhere' } ],
	  [ 'LogIn', 'nobody', {} ], [ 'Promote', 1, {} ];
	for my $step (
		[ 'LogIn', {} ],
		[ 'UpdateUser', sub { { email => "new$_[0]\@example.com" } } ],
		[ 'AssignRole', { role => 'admin' } ],
		[ 'AssignRole', { role => 'admin' } ],
		[ 'AssignRole', { role => 'pope' } ],
		[ 'LogIn', {} ],
		[ 'UnassignRole', { role => 'admin' } ])
	{
		push @commands, map { [ $step->[0], $_, ref $step->[1] eq 'CODE' ? $step->[1]->($_) : $step->[1] ] } 1 .. $users;
	}
	push @commands, map { [ 'DeleteUser', $_, {} ] } 1 .. $users / 2;
	return join '', map { encode_json({ command => $_->[0], user => "$_->[1]", data => $_->[2] }) . "\n" } @commands;
}

sub role_commands { return join '', map { encode_json({ command => $_->[0], role => $_->[1], data => { permissions => ['x'] } }) . "\n" } @_ }

# Tells it. $schema: the file that sets a database up; $program->(name): the command that runs the program of this name.
sub tell_story
{
	my ($language, $schema, $program) = @_;
	my $node = new_server('users', 'max_connections = 50');
	my $database = 'postgres';
	my %processes;
	local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE)} = ($node->host, $node->port, scalar getpwuid($<));

	$node->command_ok([ 'psql', '-Xq', '-d', $database, '-f', $schema ], "$language: the schema");
	my $query = sub { sql($node, $_[0]) };
	my $start = sub {
		my ($name, @program) = @_;
		my $log = "$PostgreSQL::Test::Utils::log_path/" . $node->name . "_$name.log";
		$processes{$name} = IPC::Run::start([@program], '<', \undef, '>', $log, '2>&1');
	};
	# Sends commands; returns what became of them.
	my $send = sub {
		my ($commands, $meanwhile) = @_;
		my ($out, $err) = ('', '');
		my $sender = IPC::Run::start([ $program->('send') ], '<', \$commands, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
		$meanwhile->($sender) if $meanwhile;
		my $ok = eval { $sender->finish };
		ok($ok, "$language: all commands are answered") or diag($@, $err);
		$sender->kill_kill unless $ok;
		return $out;
	};

	$start->("replica-$_", $program->('user-service'), "replica-$_") for 1 .. 3;
	$start->("mailer-$_", $program->('notifier'), 'e-mail', "mailer-$_") for 1 .. 2;
	$start->('slack-1', $program->('notifier'), 'slack', 'slack-1');
	my $shares = q{SELECT string_agg(n::text, '/' ORDER BY n DESC) FROM (SELECT count(*) n FROM eventstore.subscription_status WHERE name = '%s' AND consumer IS NOT NULL GROUP BY consumer) s};
	becomes($node, sprintf($shares, 'user-service'), '4/3/3', "$language: three replicas share ten partitions");

	is(join('; ', sort split /\n/, $send->(role_commands([ 'CreateRole', 'admin' ], [ 'CreateRole', 'guest' ], [ 'UpdateRole', 'guest' ], [ 'DeleteRole', 'guest' ], [ 'DeleteRole', 'guest' ]))),
		'CreateRole admin: done; CreateRole guest: done; DeleteRole guest: done; DeleteRole guest: there is no role guest; UpdateRole guest: done', "$language: roles");

	my $killed;
	my $answers = $send->(commands(), sub {
			my ($sender) = @_;
			my $until = time + 30;
			while (time < $until && $query->(q{SELECT count(*) FROM replies WHERE replica = 'replica-2'}) < 25) { $sender->pump_nb; sleep 0.01 }
			$processes{'replica-2'}->signal('KILL');
			eval { $processes{'replica-2'}->finish };
			delete $processes{'replica-2'};
			$killed = $query->(q{SELECT count(*) FROM replies WHERE replica = 'replica-2'});
	});
	cmp_ok($killed, '>=', 25, "$language: a replica was killed in the middle, after $killed commands");
	is($query->(q{SELECT count(*) FROM replies WHERE replica = 'replica-2'}), $killed, "$language: it did nothing after that");
	becomes($node, sprintf($shares, 'user-service'), '5/5', "$language: the others have its partitions");
	is($query->(q{SELECT count(DISTINCT replica) FROM replies}), 3, "$language: each replica has worked");

	# The last events may still be on their way to the notifiers.
	my $events = $query->(q{SELECT count(*) FROM eventstore.events WHERE category <> 'command'});
	becomes($node, q{SELECT string_agg(channel || ' ' || n, ', ' ORDER BY channel) FROM (SELECT channel, count(*) n FROM messages GROUP BY 1) m}, "e-mail $events, slack $events", "$language: both groups were told $events events");
	is($query->(q{SELECT count(*) FROM messages m FULL JOIN (SELECT id, c FROM eventstore.events, unnest(ARRAY['e-mail', 'slack']) c WHERE category <> 'command') e ON (m.event, m.channel) = (e.id, e.c) WHERE m.event IS NULL OR e.id IS NULL}),
		0, "$language: each group each event once");
	is($query->(q{SELECT count(*) FROM (SELECT version, lag(version, 1, 0::bigint) OVER (PARTITION BY channel, stream ORDER BY id) AS before FROM messages) m WHERE version <> before + 1}),
		0, "$language: in the order of each stream");
	is($query->(q{SELECT count(*) FROM (SELECT id FROM eventstore.events WHERE category = 'command') c FULL JOIN replies r ON r.command = c.id WHERE c.id IS NULL OR r.id IS NULL}) . ' '
		  . $query->(q{SELECT count(*) - count(DISTINCT command) FROM replies}), '0 0', "$language: each command was answered once");
	is($query->(q{SELECT count(*) FROM replies r WHERE (answer = 'done') <> EXISTS (SELECT FROM eventstore.events e WHERE e.metadata->>'causation_id' = r.command::text)}) . ' '
		  . $query->(q{SELECT count(*) - count(DISTINCT metadata->>'causation_id') FROM eventstore.events WHERE category <> 'command'}), '0 0', "$language: what was done is one event, what was refused is none");
	is($query->(q{SELECT count(*) FROM (SELECT c.position, lag(c.position) OVER (PARTITION BY e.stream ORDER BY e.version) AS before FROM eventstore.events e JOIN eventstore.events c ON c.id::text = e.metadata->>'causation_id') x WHERE position < before}),
		0, "$language: in the order of the commands");

	is(scalar(() = $answers =~ /^CreateUser twin-\d: done$/mg) . ' ' . scalar(() = $answers =~ /^CreateUser twin-\d: the name is taken$/mg), '1 5', "$language: a name is given once");
	is(scalar(() = $answers =~ /^CreateUser echo-\d: done$/mg) . ' ' . scalar(() = $answers =~ /^CreateUser echo-\d: the e-mail address is taken$/mg), '1 5', "$language: an address is given once, whatever its case");
	for ('CreateUser bad-name: not a valid name', 'CreateUser bad-mail: not a valid email', 'LogIn nobody: there is no user nobody', 'Promote 1: there is no such command',
		'AssignRole 7: the user has this role', 'AssignRole 7: there is no role pope')
	{
		like($answers, qr/^\Q$_\E$/m, "$language: $_");
	}
	is($query->(q{SELECT string_agg(type || ' ' || n, ', ' ORDER BY type) FROM (SELECT type, count(*) n FROM eventstore.events WHERE category <> 'command' GROUP BY 1) t}),
		join(', ', 'RoleAssignedToUserEvent 40', 'RoleCreatedEvent 2', 'RoleDeletedEvent 1', 'RoleUnassignedFromUserEvent 40', 'RoleUpdatedEvent 1', 'UserCreatedEvent 42', 'UserDeletedEvent 20', 'UserLoggedInEvent 80', 'UserUpdatedEvent 40'),
		"$language: nine types of events");
	is($query->(q{SELECT count(*) FROM (SELECT id, name, email, logins, version FROM users EXCEPT
			SELECT substr(stream, 6), min(data->>'name') FILTER (WHERE type = 'UserCreatedEvent'), max(data->>'email') FILTER (WHERE type IN ('UserUpdatedEvent', 'UserCreatedEvent') AND (type = 'UserUpdatedEvent' OR substr(stream, 6) !~ '^\d')), count(*) FILTER (WHERE type = 'UserLoggedInEvent'), max(version)
			FROM eventstore.events WHERE category = 'user' GROUP BY stream HAVING NOT bool_or(type = 'UserDeletedEvent')) x}) . ' ' . $query->('SELECT count(*) FROM users'),
		'0 22', "$language: the read table says what the events say");
	is($query->(q{SELECT count(*) FROM eventstore.parked}), 0, "$language: nothing was parked");

	# Asked to stop, they give up their partitions and go.
	$_->signal('TERM') for values %processes;
	for my $name (sort keys %processes)
	{
		ok(eval { $processes{$name}->finish }, "$language: $name ends as it should") or diag($@ . PostgreSQL::Test::Utils::slurp_file("$PostgreSQL::Test::Utils::log_path/" . $node->name . "_$name.log"));
	}
	is($query->(q{SELECT count(*) FROM eventstore.subscription_status WHERE consumer IS NOT NULL}), 0, "$language: and the partitions are free");
	is($query->(q{SELECT sum(lag_events) FROM eventstore.subscription_status}), 0, "$language: with nothing left to do");
	$node->stop;
	return;
}

1;
