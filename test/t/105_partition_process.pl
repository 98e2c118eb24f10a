# Who makes partitions: a process that an append has started, or the worker where there is none to be had; and a worker that meets partitions
# without indexes, as in the middle of a restore, waits.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

# All processes are in use: the launcher's and the worker's.
my $node = new_server('processes', $in_one_table, 'max_worker_processes = 2', 'max_logical_replication_workers = 0', "shared_preload_libraries = 'eventstore'", q{eventstore.databases = 'postgres'});
my $ask = sub { return sql($node, @_) };
my $many = q{SELECT es_append('%s', 0, (SELECT jsonb_agg(jsonb_build_object('type', 'A')) FROM generate_series(1, %d) i))};

sql($node, 'CREATE EXTENSION eventstore; SELECT es_partition_events(100)');
becomes($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'eventstore worker'}, 1, 'there is a worker');
is(sqlstate($node, sprintf $many, 'a-1', 1000), '', 'an append that needs a partition goes through where no process is to be had');
becomes($node, q{SELECT max(upto_position) > 1200 FROM eventstore.event_partitions}, 't', 'and more are made ahead');
is(sqlstate($node, sprintf $many, "b-$_", 50), '', "append $_") for 1 .. 10;
is($ask->('SELECT count(*) FROM es_read_all(0, NULL)'), 1500, 'all is there');
is($ask->('SELECT * FROM es_verify()'), '', 'and sound');

# What keeps the worker from it keeps it from nothing else.
{
	my $holder = session($node);
	my $left = $ask->('SELECT max(upto_position) - 1 - (SELECT max(position) FROM eventstore.events) FROM eventstore.event_partitions');
	$holder->query(q{BEGIN; LOCK TABLE eventstore.events IN SHARE UPDATE EXCLUSIVE MODE;});
	sql($node, sprintf $many, 'c-1', $left - 50);
	becomes($node, q{SELECT position = (SELECT max(position) FROM eventstore.events) FROM eventstore.head}, 't', 'the worker announces the head while it cannot make a partition');
	$holder->query('ROLLBACK');
	$holder->quit;
}
is(sqlstate($node, sprintf $many, 'd-1', 1000), '', 'and makes it later');
is($ask->('SELECT * FROM es_verify()'), '', 'all is sound');

# A partition without an index
my $index = $ask->(q{SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'eventstore.events_0'::regclass AND indisprimary});
my $begun = -s $node->logfile;
sql($node, "ALTER TABLE eventstore.events_0 DROP CONSTRAINT " . ($index =~ s/.*\.//r));
$node->restart;
my $log = sub { return substr(PostgreSQL::Test::Utils::slurp_file($node->logfile), $begun) };
for (1 .. $soon * 10)
{
	last if $log->() =~ /the worker of database "postgres" waits/;
	Time::HiRes::sleep(0.1);
}
like($log->(), qr/WARNING:  the worker of database "postgres" waits, as a partition of "eventstore.events" lacks an index/, 'the worker waits');
my $pid = $ask->(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventstore worker'});
sql($node, q{SELECT es_append('e-1', 0, 'A', '{}')});
sql($node, 'ALTER TABLE eventstore.events_0 ADD PRIMARY KEY (position)');
becomes($node, q{SELECT position = (SELECT max(position) FROM eventstore.events) FROM eventstore.head}, 't', 'until the index is there');
is($ask->(q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventstore worker'}), $pid, 'and has not ended');
unlike($log->(), qr/ERROR:  partition/, 'nor failed');

# Without a worker
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\nmax_worker_processes = 0");
$node->restart;
is(sqlstate($node, sprintf $many, 'f-1', 1000), '53400', 'without a worker and a process the append says so');
is($ask->('SELECT * FROM es_verify()'), '', 'all is sound');

# Who drops the store while partitions are made does not give way to who makes them.
my $dropped = new_server('dropped', $in_one_table, 'max_worker_processes = 20');
for my $round (1 .. 10)
{
	is(sqlstate($dropped, 'CREATE EXTENSION eventstore; SELECT es_partition_events(10); ' . join('; ', (q{SELECT es_append('a-1', -1, 'A', '{}') FROM generate_series(1, 7)}) x 10) . '; DROP EXTENSION eventstore'),
		'', "made, filled and dropped, $round");
}

done_testing();
