# A cell is split under load by promoting a standby, while each of the two is killed once: readers by vector, a consumer group and
# projections see every event once and in order.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Cells;
use Store;
use Test::More;
use Time::HiRes qw(sleep time);

plan skip_all => 'PL/Proxy is not here: the split is left out' if !have_plproxy();

my $old = new_cell(1, 1, '{[0,1024)}');
my $front = new_server('front');
new_router($front, $old);
my $router = sub { sql($front, $_[0], 'router') };

$router->(q{SELECT es_append('s-' || n % 40, -1, 'Before', '{}') FROM generate_series(1, 200) n});
$router->(q{SELECT es_create_subscription('all', partitions => 4, lease => '5 s')});
$router->(q{SELECT es_create_projection('by_stream', 'SELECT stream, count(*) AS events FROM events GROUP BY stream')});
$router->(q{SELECT es_create_projection('by_type', 'SELECT es_slot(stream) AS slot, type, count(*) AS events FROM events GROUP BY es_slot(stream), type')});
$router->(q{SELECT es_create_view('streams', 'public.by_stream'); });
$router->(q{SELECT es_create_view('types', 'public.by_type', '{"events": "count"}')});

$old->backup('standby');
my $new = PostgreSQL::Test::Cluster->new('cell2');
$new->init_from_backup($old, 'standby', has_streaming => 1);
$new->append_conf('postgresql.conf', 'recovery_min_apply_delay = 0');
$new->start;

# Writers that never give up: what fails, fails. One of each kind of stream's name, so that both halves have some.
my $dir = PostgreSQL::Test::Utils::tempdir();
append_to_file("$dir/appends.sql", q{SELECT es_append('s-' || (random() * 40)::int, -1, 'During', '{}');} . "\n") for 1 .. 50;
my @writers;
for (1 .. 2)
{
	# In their own good time: the readers have to keep up.
	push @writers, IPC::Run::start([ 'sh', '-c', "until [ -e $dir/stop ]; do sleep 0.2; psql -X -q -f $dir/appends.sql -d '" . where($front, 'router') . "'; done" ], '>', '/dev/null', '2>', "$dir/errors$_");
}

# Readers and consumers go on with whatever happens.
my $reader = {};
my %done;
my ($doubled, $disordered) = ('', '');
my $consume = sub {
	my ($out, $err) = ('', '');
	$front->psql('router', q{CREATE TEMP TABLE got AS SELECT * FROM es_fetch('all', 'me', 200);
		SELECT stream, version, id FROM got ORDER BY stream, version;
		SELECT es_ack(cell, 'all', token, max(position)) FROM got GROUP BY cell, token}, stdout => \$out, stderr => \$err);
	# What was not acknowledged is delivered again: it does not count yet.
	return 0 if $err =~ /ERROR/;
	my @rows = grep { /\|/ } split /\n/, $out;
	for (@rows)
	{
		my ($stream, $version, $id) = split /\|/;
		$disordered .= "$stream: $version after " . ($done{$stream} // 0) . "\n" if $version != ($done{$stream} // 0) + 1;
		$doubled .= "$stream $version\n" if $version <= ($done{$stream} // 0);
		$done{$stream} = $version;
	}
	return scalar @rows;
};
my $go_on = sub { read_on($front, $reader, 500, 2); $consume->() };

local $ENV{OLD} = where($old);
local $ENV{NEW} = where($new);
local $ENV{NEW_CELL} = 2;
local $ENV{SLOTS} = '{[512,1024)}';
local $ENV{ROUTERS} = where($front, 'router');
# Runs the script; $at: what it says when $then is called. Returns whether it came to its end.
my $split = sub {
	my ($at, $then) = @_;
	my ($out, $said, $end) = ('', '', time + 120);
	my $run = IPC::Run::start([ 'examples/cells/split', 'run' ], '>', \$out, '2>', \$said);
	while ($run->pumpable && time < $end)
	{
		$run->pump_nb;
		if ($at && $said =~ $at) { $then->(); $at = undef }
		if ($at) { sleep 0.001 } else { $go_on->() }
	}
	$run->finish;
	note($said);
	return ($run->result == 0, $said);
};
my $crash = sub { my ($node) = @_; $node->stop('immediate') };

$go_on->() for 1 .. 3;
is(system_log('examples/cells/split', 'status'), 0, 'the script says how far it is');
my ($is_done, $said) = $split->(qr/Giving up/, sub { $crash->($old) });
ok(!$is_done, 'the old cell dies while it gives up the slots');
$go_on->();
$old->start;
$go_on->() for 1 .. 2;
($is_done, $said) = $split->(qr/Making it/, sub { $crash->($new) });
like($said, qr/Making it/, 'the new one dies when it is about to be a cell');
$go_on->();
$new->start;
$go_on->();
($is_done, $said) = $split->();
ok($is_done, 'the script comes to its end, however often it is broken off');
is(sql($new, 'SELECT cell, feed, slots FROM eventstore.member'), '2|2|{[512,1024)}', 'the standby is a cell');
is(sql($old, 'SELECT cell, feed, slots FROM eventstore.member'), '1|1|{[0,512)}', 'and the old one has the rest');
is($router->(q{SELECT string_agg(concat_ws(' ', feed, cell, after_position > 0, parent), ', ' ORDER BY feed) FROM eventstore.feeds}), '1 1 f, 2 2 t 1', 'the router knows where the new feed begins');
ok($split->(), 'the script has nothing more to do then');

# A while under load after it
my $until = time + 2;
while (time < $until) { $go_on->() }
append_to_file("$dir/stop", '');
$_->finish for @writers;
cmp_ok(sql($new, 'SELECT count(*) FROM eventstore.events WHERE position % 1024 = 2 AND position > (SELECT after_position FROM eventstore.feeds WHERE feed = 2)'), '>', 0, 'there were appends in the new cell');
cmp_ok($router->(q{SELECT es_append('s-1', -1, 'After', '{}')}), '>', 1, 'and there are');

# To the end
$go_on->();
for (my $end = time + $soon; time < $end && $consume->() + $router->(q{SELECT sum(lag_events) FROM eventstore.subscription_status});) { }
read_on($front, $reader);
complete($reader, 'a reader by vector', $front, $old, $new);
my $fresh = {};
read_on($front, $fresh, 37);
complete($fresh, 'one from the beginning', $front, $old, $new);
is($doubled . $disordered, '', 'the group: each event once, each stream in order');
is_deeply(\%done, $reader->{seen}, 'the group: none is missing');
is($router->(q{SELECT count(*) FROM (SELECT stream, events FROM streams EXCEPT SELECT stream, count(*) FROM es_read_all('{}', NULL) GROUP BY stream) a}), 0, 'a read table by stream');
is($router->(q{SELECT count(*) FROM (SELECT type, events FROM types EXCEPT SELECT type, count(*) FROM es_read_all('{}', NULL) GROUP BY type) a}), 0, 'one that is merged');
is($router->(q{SELECT sum(events) = (SELECT count(*) FROM es_read_all('{}', NULL)) FROM types}), 't', 'with all its rows');
is_sound($_, $_->name) for $old, $new;
for ($old, $new)
{
	is(sql($_, q{SELECT count(*) FROM es_verify_projection('by_stream')}), 0, 'a projection in ' . $_->name . ' is right by its own events');
}

# Backward: each event once, each stream from its last event down, whatever feed it is in, page by page as at once.
my $order = q{SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE version <> coalesce(above, top) - CASE WHEN above IS NULL THEN 0 ELSE 1 END)
	FROM (SELECT *, lag(version) OVER (PARTITION BY stream ORDER BY n) AS above, max(version) OVER (PARTITION BY stream) AS top FROM page) p};
my $all = $router->(q{SELECT count(*) FROM es_read_all('{}', NULL)});
is($router->("WITH page AS (SELECT *, row_number() OVER () AS n FROM es_read_all('{}', NULL, backward => true)) $order"), "$all|$all|0", 'backward, at once');
is($router->(qq{CREATE TEMP TABLE page (n bigserial, stream text, version bigint, id uuid, after jsonb);
	DO \$\$DECLARE place jsonb := '{}'; count int; BEGIN
		LOOP
			INSERT INTO page (stream, version, id, after) SELECT stream, version, id, after FROM es_read_all(place, 83, backward => true);
			GET DIAGNOSTICS count = ROW_COUNT;
			EXIT WHEN count = 0;
			place := (SELECT p.after FROM page p ORDER BY n DESC LIMIT 1);
		END LOOP;
	END\$\$; $order}), "$all|$all|0", 'backward, page by page');
is($router->(q{SELECT count(*), count(DISTINCT e ->> 'id'), count(*) FILTER (WHERE (e ->> 'version')::bigint <> before + 1)
	FROM (SELECT e, coalesce(lag((e ->> 'version')::bigint) OVER (PARTITION BY e ->> 'stream' ORDER BY n), 0) AS before FROM es_export('{}') WITH ORDINALITY x (e, n)) x}), "$all|$all|0", 'an export has each event once, each stream in order');

# A group that is made after the split: the new cell waits for what the old one delivers.
%done = ();
$router->(q{SELECT es_create_subscription('later')});
is(sql($new, q{SELECT DISTINCT state FROM eventstore.subscription_status WHERE name = 'later'}), 'paused', 'a group made later waits in the new cell');
my $later = '';
for (my $end = time + $soon; time < $end;)
{
	my $rows = $router->(q{CREATE TEMP TABLE got AS SELECT * FROM es_fetch('later', 'me', 100); SELECT stream, version FROM got ORDER BY stream, version;
		SELECT es_ack(cell, 'later', token, max(position)) FROM got GROUP BY cell, token});
	my @rows = grep { /\|/ } split /\n/, $rows;
	last if !@rows && $router->(q{SELECT count(*) FROM eventstore.groups_to_open}) == 0;
	for (@rows)
	{
		my ($stream, $version) = split /\|/;
		$later .= "$stream: $version after " . ($done{$stream} // 0) . "\n" if $version != ($done{$stream} // 0) + 1;
		$done{$stream} = $version;
	}
}
is($later, '', 'each event once, each stream in order');
is_deeply(\%done, $reader->{seen}, 'none is missing');
is($router->(q{SELECT DISTINCT state FROM eventstore.subscription_status WHERE name = 'later'}), 'running', 'it has begun in both');

done_testing();
