# Declared tables are what their queries give over all events when the worker applies the async ones, with appends going on and a crash.
use strict;
use warnings;
use FindBin;
use IPC::Run;
use lib $FindBin::RealBin;
use Declared;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = new_node('projections', 'autovacuum = off', "shared_preload_libraries = 'eventstore'", "eventstore.databases = 'postgres'");
set_up($node);
sql($node, 'SELECT setseed(' . $seed / 2_000_000 . '); CALL append_some(60)');
create($node, 'late');
my $differences = q{SELECT count(*) FROM declared, differences(name)};
becomes($node, $differences, 0, 'the worker applies what there is');

race($node, 'under the worker', 3, 10 * $rounds, 'SELECT append_one();');
is_equal($node, 'under the worker', q{mode = 'inline'});
becomes($node, $differences, 0, 'the worker applies all');

my $appenders = IPC::Run::start([ 'pgbench', '-n', '-c', 3, '-T', 60, '-f', write_file('append.sql', 'SELECT append_one();'), $node->connstr('postgres') ], '>&', \my $ignored);
my $before = sql($node, 'SELECT count(*) FROM eventstore.events');
my $until = time + 30;
sleep 0.05 while sql($node, 'SELECT count(*) FROM eventstore.events') < $before + 60 && time < $until;
$node->stop('immediate');
$appenders->finish;
$node->start;
is_equal($node, 'a crash', q{mode = 'inline'});
becomes($node, $differences, 0, 'the worker goes on');
is_sound($node, 'in the end');

done_testing();
