# A full NOTIFY queue harms nothing: appends go on, without the worker and with it, the worker stays, and the log tells it once. A session that
# LISTENs and stays in a transaction fills it.
#
# What "full" is, is set very low here, as the real queue takes 8 GB. Where the server can be given a small one (17 and later), it is filled to
# its end, too; elsewhere only if PG_TEST_EXTRA has the word notify_queue.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $append = "SELECT es_append('a-1', -1, 'Appended', '{}')";

# How full the queue is, in pages of the number that it may have.
my ($pages, $may_fill);
my $usage = sub { my ($node) = @_; return sql($node, "SELECT round(pg_notification_queue_usage() * $pages)") };
# Fills it by so many pages, one a notification.
my $fill = sub { my ($node, $count) = @_; return sqlstate($node, "SELECT count(pg_notify('elsewhere', repeat('x', 4200) || i)) FROM generate_series(1, $count) i") };
my $logged = sub { my ($node, $what) = @_; return scalar(() = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /$what/g) };
my $head = sub { sql($_[0], 'SELECT es_head()') };
my $status = sub { sql($_[0], 'SELECT sent_by, is_queue_full FROM eventstore.notify_status') };

for my $preload (0, 1)
{
	my $name = $preload ? 'with the worker' : 'without the worker';
	my $node = new_server("queue$preload", $preload ? "shared_preload_libraries = 'eventstore'" : ());
	my $has_setting = sql($node, q{SELECT count(*) FROM pg_settings WHERE name = 'max_notify_queue_pages'});
	$pages = $has_setting ? 64 : 1048576;
	$may_fill = $has_setting || ($ENV{PG_TEST_EXTRA} // '') =~ /\bnotify_queue\b/;
	$node->append_conf('postgresql.conf', "max_notify_queue_pages = $pages\n") if $has_setting;
	$node->append_conf('postgresql.conf', 'eventstore.notify_queue_limit = ' . 10.5 / $pages . "\n");
	$node->restart;
	my $from = -s $node->logfile;
	sql($node, 'CREATE EXTENSION eventstore');
	my $works = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'eventstore worker' AND query = 'waiting for appends'};
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($works) w") or die 'no worker' if $preload;
	my $worker = sql($node, $works);
	my $sender = $preload ? 'worker' : 'appender';

	my ($listener, $session) = (session($node), session($node));
	$listener->query_safe('LISTEN eventstore; LISTEN eventstore_c_a');
	$session->query_safe($append);
	my $now = $head->($node);
	like(join(' ', map { "$_->{channel} $_->{payload}" } notifications($node, $listener, 'eventstore', [ 'eventstore_c_a', $now ])), qr/eventstore $now/, "$name: there is room");
	is($status->($node), "$sender|f", "$name: and so it is shown");
	is($logged->($node, 'sends no NOTIFY'), 0, "$name: nothing to tell");

	my $stranger = session($node);
	$stranger->query_safe('LISTEN elsewhere');
	$stranger->query_safe('BEGIN; SELECT 1');
	my $is_full = sub {
		my ($how) = @_;
		is($session->query_safe($append) > 0, 1, "$how: an append goes on");
		is(sqlstate($node, $append), '', "$how: another session's, too") for 1 .. 10;
		is(sqlstate($node, "BEGIN; $append; SAVEPOINT a; $append; ROLLBACK TO a; SELECT es_append('b-1', -1, 'B', '{}'); COMMIT"), '', "$how: one with savepoints");
		is(sqlstate($node, q{DO $$ BEGIN FOR i IN 1 .. 500 LOOP PERFORM es_append('many' || i, -1, 'Many', '{}'); END LOOP; END $$}), '', "$how: one to many categories");
		my $waiter = session($node);
		send_query($waiter, 'SELECT es_wait(' . $head->($node) . ", '2 min') IS NOT NULL");
		$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE query ~ '^SELECT es_wait' AND state = 'active' AND wait_event = 'Extension'}) or die 'does not wait';
		is(sqlstate($node, $append), '', "$how: an append that somebody waits for");
		is_woken($waiter, 't', "$how: who waits is woken");
		$waiter->quit;
		is($status->($node), "$sender|t", "$how: the status tells");
		if ($preload)
		{
			becomes($node, 'SELECT position = es_head() FROM eventstore.head', 't', "$how: the head is written down for standbys");
			is(sql($node, $works), $worker, "$how: it is the same worker");
		}
		is($logged->($node, 'eventstore sends no NOTIFY for now'), 1, "$how: the log is told once");
	};
	is($fill->($node, 12), '', "$name: the queue is filled");
	cmp_ok($usage->($node), '>=', 11, "$name: beyond the limit");
	$is_full->("$name, beyond the limit");
	is(sqlstate($node, "BEGIN; $append; NOTIFY elsewhere, 'mine'; COMMIT"), '', "$name: a NOTIFY of the user's own is sent");
	is(join(' ', map { $_->{channel} } notifications($node, $listener, 'eventstore')), '', "$name: and none of ours");
	if ($may_fill)
	{
		1 while $fill->($node, $pages / 32) eq '';
		1 while $fill->($node, 1) eq '';
		is($fill->($node, 1), '54000', "$name: now it is full to the end");
		$is_full->("$name, full to the end");
	}

	# The stranger goes on: what was not told is told now, by the worker at once, else by the next append.
	$stranger->query_safe('COMMIT');
	$stranger->quit;
	$session->query_safe($append) if !$preload;
	$now = $head->($node);
	my @told = notifications($node, $listener, 'eventstore', [ 'eventstore', $now ]);
	is((grep { $_->{channel} eq 'eventstore' && $_->{payload} == $now } @told) . '', 1, "$name: when there is room again the head is announced");
	is((grep { $_->{channel} eq 'eventstore_c_a' } @told) > 0, 1, "$name: to its category, too");
	is($status->($node), "$sender|f", "$name: and the status is as before");
	is($logged->($node, 'eventstore sends NOTIFY again'), 1, "$name: which the log is told once");
	is($logged->($node, 'sends no NOTIFY'), 1, "$name: and nothing else");
	is(sql($node, $works), $worker, "$name: by the same worker") if $preload;
	is_sound($node, $name);
	$_->quit for $session, $listener;
	$node->stop;
	my ($before_stop) = PostgreSQL::Test::Utils::slurp_file($node->logfile, $from) =~ /^(.*?)received fast shutdown request/s;
	unlike($before_stop, qr/eventstore worker.*exited/, "$name: no worker has ended before the server");
}

done_testing();
