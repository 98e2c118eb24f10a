# A cell of two members fails over by Patroni, with synchronous replication, under load: no acknowledged append is lost, no reader and no
# consumer passes anything over, and appends go on. For `make cells` only, as it takes a minute and more.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'takes long: make cells runs it' if !$ENV{CELLS};
for my $program (qw(etcd patroni haproxy))
{
	plan skip_all => "$program is not here" if !grep { -x "$_/$program" } split(/:/, $ENV{PATH}), '/usr/sbin';
}

# Eight ports in a row that nobody has, as far as one can tell.
my $port = PostgreSQL::Test::Cluster::get_free_port() % 10000 + 20000;
my $dir = PostgreSQL::Test::Utils::tempdir();
my $local = "$FindBin::RealBin/../../examples/cells/patroni/local";
$ENV{PORT} = $port;
$ENV{PGPASSWORD} = 'try';
$ENV{PGCONNECT_TIMEOUT} = 3;
my $psql = sub {
	my ($statements) = @_;
	my ($out, $err) = ('', '');
	my $is_done = IPC::Run::run([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-h', '127.0.0.1', '-p', $port, '-U', 'postgres', '-d', 'cell', '-f', '-' ],
		'<', \$statements, '>', \$out, '2>', \$err, IPC::Run::timeout(30));
	chomp $out;
	return ($is_done, $out, $err);
};
END { my $status = $?; system($local, 'stop', $dir) if $dir && -e "$dir/port"; $? = $status; }

is(system($local, 'start', $dir), 0, 'a primary and a synchronous standby') or BAIL_OUT('no cell');
ok(($psql->(q{SELECT es_set_cell(1, 1, '{[0,1024)}'), es_create_subscription('all', lease => '2 s')}))[0], 'a cell');

# One step of everybody; what fails, fails.
my (%acknowledged, %seen, %done, $passed_over, $gaps);
($passed_over, $gaps) = ('', '');
my ($head, $count, $longest, $last) = (0, 0, 0, time);
my $step = sub {
	my $n = ++$count;
	my $stream = 's-' . $n % 10;
	my $id = sprintf '00000000-0000-7000-8000-%012d', $n;
	my ($is_done) = eval { $psql->("SELECT es_append('$stream', -1, 'Kept', '{}'::jsonb, NULL, '$id'::uuid)") };
	if ($is_done)
	{
		$acknowledged{$id} = 1;
		$longest = time - $last if time - $last > $longest;
		$last = time;
	}
	my ($has_read, $rows) = eval { $psql->("SELECT position, stream, version FROM es_read_all($head)") };
	for ($has_read ? split(/\n/, $rows) : ())
	{
		my ($position, $of, $version) = split /\|/;
		$passed_over .= "$of $version after " . ($seen{$of} // 0) . "\n" if $version != ($seen{$of} // 0) + 1;
		($seen{$of}, $head) = ($version, $position);
	}
	# In one transaction: it is acknowledged, or was not delivered.
	my ($has_acked, $got) = eval {
		$psql->(q{BEGIN; CREATE TEMP TABLE got ON COMMIT DROP AS SELECT * FROM es_fetch('all', 'me'); SELECT stream, version FROM got ORDER BY position;
			SELECT es_ack('all', token, max(position)) FROM got GROUP BY token; COMMIT})
	};
	for ($has_acked ? grep { /\|/ } split(/\n/, $got) : ())
	{
		my ($of, $version) = split /\|/;
		$gaps .= "$of $version after " . ($done{$of} // 0) . "\n" if $version != ($done{$of} // 0) + 1;
		$done{$of} = $version;
	}
	return $is_done;
};
my $primary = sub { my ($is_done, $got) = eval { $psql->('SELECT inet_server_port()') }; return $is_done ? $got - $port - 5 : 0 };

$step->() for 1 .. 30;
for my $round (1 .. 2)
{
	my $old = $primary->();
	is(system($local, 'kill', $dir, $old), 0, "round $round: member $old dies");
	$last = time;
	$longest = 0;
	my $end = time + 120;
	my $went_on = 0;
	while (time < $end && $went_on < 20) { $went_on++ if $step->(); sleep 0.05 }
	is($went_on, 20, 'appends go on');
	note("after $longest s");
	isnt($primary->(), $old, 'in the other member');
	is(system($local, 'member', $dir, $old), 0, 'it comes back');
	$end = time + 90;
	while (time < $end && system($local, 'ready', $dir)) { $step->(); sleep 0.3 }
	is(system($local, 'ready', $dir), 0, 'as the synchronous standby');
}
$step->() for 1 .. 10;

my %stored = map { $_ => 1 } split /\n/, ($psql->('SELECT id FROM eventstore.events'))[1];
is(join(' ', grep { !$stored{$_} } sort keys %acknowledged), '', 'no acknowledged append is lost, of ' . keys(%acknowledged));
is($passed_over, '', 'a reader has passed nothing over, and read nothing twice');
is($gaps, '', 'nor has a consumer');
is(($psql->('SELECT * FROM es_verify()'))[1], '', 'the store is sound');
my %there = map { split /\|/ } split /\n/, ($psql->('SELECT stream, version FROM eventstore.streams'))[1];
is_deeply(\%seen, \%there, 'all was read');
is_deeply(\%done, \%there, 'and worked on');

done_testing();
