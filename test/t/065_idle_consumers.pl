# Who waits is woken by what it waits for, and by nothing else: it does not even run while events come that are not its own. And where an open
# append keeps the head below an event, it is woken by that one's end, whatever it had to do with, and however it ends.
# Without the library preloaded, preloaded without a worker, and with one.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Consumers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $appends = 200; # elsewhere, each in a transaction
my $few = 20;      # times that a session may run for other reasons meanwhile

my $node = new_node('idle', 'fsync = off', 'autovacuum = off', 'max_worker_processes = 20');
my ($writer, $holder, $second);
my $append = sub {
	my ($stream, $type) = @_;
	$type //= 'Happened';
	return $writer->query_safe("SELECT es_append('$stream', -1, '$type', '{}')");
};

sql($node, 'CREATE DATABASE other');
sql($node, 'CREATE EXTENSION eventstore', 'other');
sql($node, $_)
  for q{SELECT es_create_subscription('by_category', 'quiet')},
  q{SELECT es_create_subscription('by_type', NULL, '{Rare,Rarer}')},
  q{SELECT es_create_subscription('by_both', 'quiet', '{Rare}')},
  q{SELECT es_create_subscription('paused', 'busy')},
  q{SELECT es_pause_subscription('paused')},
  q{CREATE FUNCTION make_rare() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.type := ''Rare''; RETURN NEW; END'},
  q{CREATE TRIGGER make_rare BEFORE INSERT ON eventstore.events FOR EACH ROW EXECUTE FUNCTION make_rare()},
  q{ALTER TABLE eventstore.events DISABLE TRIGGER make_rare};

# Sessions that wait, each for an event of type Rare in category quiet.
my @waiters;
my $new_waiter = sub {
	my ($name, $subscription) = @_;
	my $session = session($node);
	return { name => $name, subscription => $subscription, session => $session, pid => backend_pid($session) };
};
my $begin = sub {
	for my $waiter (@_)
	{
		my $head = sql($node, 'SELECT es_head()');
		send_query($waiter->{session}, defined $waiter->{subscription} ? fetch($waiter->{subscription}, 'c', 10, '5 min') : "SELECT es_wait($head, '5 min', 'quiet')");
	}
	until_asleep($node, $_->{pid}) for @_;
	return;
};
# They get their answer, and soon; what was delivered is acknowledged.
my $are_told = sub {
	my ($what, $stream) = @_;
	for my $waiter (grep { ($_->{subscription} // '') ne 'paused' } @waiters)
	{
		my $begun = time;
		my $answer = $waiter->{session}->query('');
		my $took = time - $begun;
		if (defined $waiter->{subscription})
		{
			my @row = split /\|/, $answer;
			is($row[0], $stream, "$what: $waiter->{name}");
			$waiter->{session}->query_safe("SELECT es_ack('$waiter->{subscription}', $row[3], $row[4])");
		}
		else
		{
			like($answer, qr/^\d+$/, "$what: $waiter->{name}");
		}
		cmp_ok($took, '<', $soon, "$what: $waiter->{name}, at once");
	}
	return;
};

# How often a process has gone to sleep.
my $switches = sub {
	my ($waiter) = @_;
	return slurp_file("/proc/$waiter->{pid}/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : die;
};
# That they do not run while something is done.
my $sleep_on = sub {
	my ($what, $action) = @_;
  SKIP:
	{
		skip 'no /proc here', scalar @waiters unless -r "/proc/$waiters[0]{pid}/status";
		my %before = map { $_->{pid} => $switches->($_) } @waiters;
		$action->();
		for my $waiter (@waiters)
		{
			my $count = $switches->($waiter) - $before{ $waiter->{pid} };
			cmp_ok($count, '<=', $few, "$what: $waiter->{name} has run $count times");
		}
	}
	return;
};
my $elsewhere = sub { $append->("busy-$_", 'Common') for 1 .. $appends };

# The locks by which a session says what it waits for: one more when it waits behind an append.
my $locks = sub { sql($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'userlock' AND pid = $_[0]{pid}") };

for my $way ('not preloaded', 'without a worker', 'with a worker')
{
	if ($way eq 'without a worker')
	{
		$node->append_conf('postgresql.conf', "shared_preload_libraries = 'eventstore'\neventstore.databases = ''\n");
		$node->restart;
	}
	elsif ($way eq 'with a worker')
	{
		sql($node, q{ALTER SYSTEM SET eventstore.databases = 'postgres'});
		$node->restart;
		becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND query = 'waiting for appends'}, 1, 'the worker works');
	}
	my $has_worker = $way eq 'with a worker';
	($writer, $holder, $second) = map { session($node) } 1 .. 3;
	@waiters = map { $new_waiter->(@$_) }[ 'es_wait', undef ], [ 'es_fetch of a category', 'by_category' ], [ 'es_fetch of types', 'by_type' ],
	  [ 'es_fetch of a category and a type', 'by_both' ], [ 'es_fetch, paused', 'paused' ];
	# Consumers are known from now on.
	$_->{session}->query_safe(fetch($_->{subscription}, 'c', 0)) for @waiters[ 1 .. 4 ];

	# Nothing of theirs; then one each, that is not another's. What waits for everything runs each time: it can be counted.
	my $general = $new_waiter->('es_wait for all', undef);
	$begin->(@waiters);
	send_query($general->{session}, q{SELECT es_wait(1000000000, '5 min')});
	until_asleep($node, $general->{pid});
	my $before = $switches->($general);
	$sleep_on->("$way, events elsewhere", $elsewhere);
	cmp_ok($switches->($general) - $before, '>', $few, "$way: who waits for everything runs") if -r "/proc/$general->{pid}/status";
	sql($node, "SELECT pg_cancel_backend($general->{pid})");
	$general->{session}->query('');
	$general->{session}->quit;
	$sleep_on->("$way, events in another database", sub { sql($node, join(';', map { "SELECT es_append('quiet-$_', -1, 'Rare', '{}')" } 1 .. $appends), 'other') });
	# Types: neither of another type, nor, where a category is wanted, of another category.
	my @all = @waiters;
	@waiters = @all[ 2, 3 ];
	$sleep_on->("$way, another type in the category", sub { $append->("quiet-$_", 'Common') for 1 .. $appends });
	@waiters = $all[3];
	$sleep_on->("$way, the type in another category", sub { $append->("busy-$_", 'Rare') for 1 .. $appends });
	# The others have got theirs meanwhile.
	@waiters = @all;
	$_->{session}->query('') for @waiters[ 0 .. 2 ];
	sql($node, qq{SELECT es_reset_subscription('$_', -1)}) for qw(by_category by_type);
	$begin->(@waiters[ 0 .. 2 ]);
	$append->('quiet-1', 'Rare');
	$are_told->("$way, an event", 'quiet-1');

	# A batch of more categories and types than are told apart
	$begin->(@waiters[ 0 .. 3 ]);
	$writer->query_safe(q{SELECT count(*) FROM es_append_streams((SELECT jsonb_agg(jsonb_build_object('stream', c || '-1', 'expected_version', -1, 'events', jsonb_build_object('type', t)))
		FROM (SELECT CASE n WHEN 90 THEN 'quiet' ELSE 'many' || n END, CASE n WHEN 90 THEN 'Rare' ELSE 'Type' || n END FROM generate_series(1, 100) n) s (c, t)))});
	$are_told->("$way, an event among many", 'quiet-1');

	# An append elsewhere keeps the head below an event of theirs, and ends one way or the other.
	my %ends = (
		'committed' => sub { $holder->query_safe('COMMIT') },
		'rolled back' => sub { $holder->query_safe('ROLLBACK') },
		'rolled back to a savepoint' => sub { $holder->query_safe('ROLLBACK TO before') },
		'ended from outside' => sub {
			my $ended = $holder;
			$holder = session($node);
			sql($node, q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'holder'});
			eval { $ended->quit };
		},
		'prepared and committed' => sub { $holder->query_safe(q{PREPARE TRANSACTION 'held'}); sql($node, q{COMMIT PREPARED 'held'}) },
		'prepared and rolled back' => sub { $holder->query_safe(q{PREPARE TRANSACTION 'held'}); sql($node, q{ROLLBACK PREPARED 'held'}) },
		'committed, and it was not the only one' => sub {
			$holder->query_safe('COMMIT');
			becomes($node, 'SELECT count(*) FROM eventstore.inflight', 1, "$way: another one is open");
			$second->query_safe('COMMIT');
		});
	for my $end (sort keys %ends)
	{
		$begin->(@waiters[ 0 .. 3 ]);
		my %before = map { $_->{pid} => $locks->($_) } @waiters;
		$holder->query_safe(q{SET application_name = 'holder'; BEGIN; SAVEPOINT before; SELECT es_append('open-1', -1, 'Common', '{}')});
		$second->query_safe(q{BEGIN; SELECT es_append('open-2', -1, 'Common', '{}')}) if $end =~ /only/;
		$append->('quiet-2', 'Rare');
		becomes($node, "SELECT count(*) FROM pg_locks WHERE locktype = 'userlock' AND pid = $_->{pid}", $before{ $_->{pid} } + 1, "$way, held back: $_->{name} waits behind")
		  for $has_worker ? () : @waiters[ 0 .. 3 ];
		until_asleep($node, $_->{pid}) for @waiters;
		$sleep_on->("$way, held back", $elsewhere) if $end eq 'committed';
		$ends{$end}->();
		$are_told->("$way, $end", 'quiet-2');
		$holder->query('ROLLBACK');
		$holder->{stderr} = '';
	}

	# Held back already when they begin to wait
	$holder->query_safe(q{BEGIN; SELECT es_append('open-1', -1, 'Common', '{}')});
	$append->('quiet-3', 'Rare');
	$begin->(@waiters[ 0 .. 3 ]);
	$sleep_on->("$way, held back before", $elsewhere);
	$holder->query_safe('COMMIT');
	$are_told->("$way, held back before", 'quiet-3');

	# Prepared before they begin, with an event of theirs; another append is open below it and above.
	$holder->query_safe(q{BEGIN; SELECT es_append('open-1', -1, 'Common', '{}')});
	$writer->query_safe(q{BEGIN; SELECT es_append('quiet-4', -1, 'Rare', '{}'); PREPARE TRANSACTION 'held'});
	$begin->(@waiters[ 0 .. 3 ]);
	sql($node, q{COMMIT PREPARED 'held'});
	sleep 0.2;
	$holder->query_safe('COMMIT');
	$are_told->("$way, prepared below another one", 'quiet-4');

	# In REPEATABLE READ es_wait tells of what its snapshot does not see.
	$waiters[0]{session}->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
	$begin->($waiters[0]);
	$holder->query_safe(q{BEGIN; SELECT es_append('open-1', -1, 'Common', '{}')});
	$append->('quiet-5', 'Rare');
	$holder->query_safe('COMMIT');
	is_woken($waiters[0]{session}, sql($node, 'SELECT es_head()'), "$way, REPEATABLE READ");
	$waiters[0]{session}->query_safe('COMMIT');
	for my $waiter (@waiters[ 1 .. 3 ])
	{
		my ($row) = ask($waiter->{session}, fetch($waiter->{subscription}, 'c', 10));
		$waiter->{session}->query_safe("SELECT es_ack('$waiter->{subscription}', $row->[3], $row->[4])");
	}

	# A trigger gives an event the type that is waited for.
	sql($node, 'ALTER TABLE eventstore.events ENABLE TRIGGER make_rare');
	$begin->(@waiters[ 0 .. 3 ]);
	$append->('quiet-6', 'Common');
	$are_told->("$way, a trigger", 'quiet-6');
	sql($node, 'ALTER TABLE eventstore.events DISABLE TRIGGER make_rare');

	# An event that was not appended
	$begin->(@waiters[ 0 .. 3 ]);
	sql($node, q{SET eventstore.restoring = on; INSERT INTO eventstore.events (position, stream, category, version, id, type, data, recorded_at)
		SELECT es_head() + 10, 'quiet-foreign', 'quiet', count(*) + 1, gen_random_uuid(), 'Rare', '{}', now() FROM eventstore.events WHERE stream = 'quiet-foreign'});
	$are_told->("$way, an event that was not appended", 'quiet-foreign');
	sql($node, 'SELECT es_repair_positions()');

	if ($has_worker)
	{
		# The worker ends, and comes again, while they wait.
		$begin->(@waiters[ 0 .. 3 ]);
		sql($node, q{ALTER SYSTEM SET eventstore.databases = ''; SELECT pg_reload_conf()});
		becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'}, 0, 'the worker has ended');
		$append->('quiet-7', 'Rare');
		$are_told->('the worker has ended', 'quiet-7');
		$begin->(@waiters[ 0 .. 3 ]);
		$holder->query_safe(q{BEGIN; SELECT es_append('open-1', -1, 'Common', '{}')});
		$append->('quiet-8', 'Rare');
		sql($node, q{ALTER SYSTEM SET eventstore.databases = 'postgres'; SELECT pg_reload_conf()});
		becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND query = 'waiting for appends'}, 1, 'the worker is there again');
		$holder->query_safe('COMMIT');
		$are_told->('the worker is there again', 'quiet-8');
		# An append that was left to the worker, and ends without one
		$begin->(@waiters[ 0 .. 3 ]);
		$holder->query_safe(q{BEGIN; SELECT es_append('quiet-9', -1, 'Rare', '{}')});
		sql($node, q{ALTER SYSTEM SET eventstore.databases = ''; SELECT pg_reload_conf()});
		becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'}, 0, 'the worker has ended again');
		until_asleep($node, $_->{pid}) for @waiters;
		$holder->query_safe('COMMIT');
		$are_told->('left to a worker that has ended', 'quiet-9');
		# With eventstore.notify off it tells who waits, all the same.
		sql($node, q{ALTER SYSTEM SET eventstore.databases = 'postgres'; ALTER SYSTEM SET eventstore.notify = off; SELECT pg_reload_conf()});
		becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND query = 'waiting for appends'}, 1, 'the worker is there once more');
		$begin->(@waiters[ 0 .. 3 ]);
		$sleep_on->('without NOTIFY', $elsewhere);
		$append->('quiet-10', 'Rare');
		$are_told->('without NOTIFY', 'quiet-10');
	}
	sql($node, "SELECT pg_cancel_backend($waiters[4]{pid})");
	$_->{session}->query('') for @waiters;
	$_->{session}->quit for @waiters;
	$_->quit for $writer, $holder, $second;
	is(sql($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'userlock' AND pid IN (SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend')}), 0, "$way: no lock is left");
}

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'nothing untoward');
done_testing();
