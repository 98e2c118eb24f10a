# Roles that are bound to a category or a tenant, and hostile: they try every function and every relation of the store that they may use
# for a word of others' events, and for a way to write where they may not. What they may use is asked of the catalogue: a function or
# relation that is not in the lists below makes the test fail, so that whoever adds one thinks of them.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $node = new_node('hostile');
my $id = '5ec4e700-0000-7000-8000-000000000001';

# What is others' has a name with "hush" in it, and a position from 770001 on.
my $secret = qr/hush|5ec4e7|\b77\d{4}\b/i;
sql($node, <<"SQL");
	CREATE ROLE by_category LOGIN;
	CREATE ROLE by_tenant LOGIN;
	CREATE ROLE free LOGIN;
	SELECT es_grant('free', 'read'), es_grant('free', 'append');
	SELECT es_grant(r::regrole, l, 'mine') FROM unnest('{by_category}'::text[]) r, unnest('{read,append,reveal}'::text[]) l;
	SELECT es_grant(r::regrole, l, tenant => 'mine') FROM unnest('{by_tenant}'::text[]) r, unnest('{read,append,reveal}'::text[]) l;
	CREATE SCHEMA hostile;
	GRANT ALL ON SCHEMA hostile TO by_category, by_tenant, free;
	-- It is as cheap as a function can be, so that the planner calls it first.
	CREATE FUNCTION hostile.leak(what text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS 'BEGIN RAISE NOTICE ''%'', what; RETURN true; END';
	CREATE FUNCTION hostile.reduce(state jsonb, event eventstore.event) RETURNS jsonb LANGUAGE sql AS 'SELECT state || to_jsonb(event)';

	SELECT es_append('mine-{mine}-1', 0, 'Mine', '{}', NULL, NULL, '{tag}'), es_append('mine-{mine}-2', 0, 'Mine', '{}');
	SELECT setval('eventstore.positions', 770000);
	SELECT es_append('hush-{hush}-' || i, 0, 'Hush', '{"text": "hush"}', '{"by": "hush"}', CASE i WHEN 1 THEN '$id'::uuid END, '{hush,tag}') FROM generate_series(1, 5) i;
	SELECT es_append('hush', 0, 'Mine', '{"text": "hush"}');
	SELECT es_save_snapshot('hush-{hush}-1', 1, '"hush"');
	SELECT es_create_subscription('hush', 'hush', partitions => 1), es_create_subscription('everything_hush', partitions => 1), es_create_subscription('mine', 'mine', tenant => 'mine', partitions => 1);
	SELECT es_create_projection('hush', 'SELECT category, count(*) AS n FROM events GROUP BY category');
	SELECT count(*) FROM es_fetch('hush', 'hush');
	SELECT setval('eventstore.positions', 880000);
SQL
my $token = sql($node, q{SELECT token FROM es_fetch('hush', 'hush', 4) LIMIT 1});
sql($node, qq{SELECT es_nack('hush', $token, (SELECT min(position) FROM eventstore.events WHERE category = 'hush'), 'hush', 'park')});
$token = sql($node, q{SELECT token FROM es_fetch('hush', 'hush', 4) LIMIT 1});
my $position = sql($node, q{SELECT position FROM es_last_event('hush-{hush}-3')});

my $envelope = sql($node, q{SELECT es_protect('person-{other}', '"hush"')});

my %calls = (
	'es_tenant(text)' => [ q{es_tenant('a-{b}')} ],
	'es_slot(text)' => [ q{es_slot('a-{b}')} ],
	'es_partition(text,bigint)' => [ q{es_partition('a', 4)} ],
	'es_any()' => ['es_any()'],
	'es_version()' => ['es_version()'],
	'es_exists()' => ['es_exists()'],
	'es_no_stream()' => ['es_no_stream()'],
	'es_channel(text)' => ['es_channel()'],
	'sees_all()' => ['eventstore.sees_all()'],
	'sees(text)' => [ q{eventstore.sees('a')} ],
	'is_everyone_let_in()' => ['eventstore.is_everyone_let_in()'],
	'find_notify_status()' => ['eventstore.find_notify_status()'],
	'es_first(anyelement,anycompatible)' => ['es_first(stream, version) FROM eventstore.events'],
	'es_last(anyelement,anycompatible)' => ['es_last(stream, version) FROM eventstore.events'],
	'may_read_within()' => ['eventstore.may_read_within()'],
	'may_append_within()' => ['eventstore.may_append_within()'],
	'may_reveal_within()' => ['eventstore.may_reveal_within()'],

	'es_read(text,bigint,bigint,boolean)' => [ q{es_read('hush-{hush}-1')}, q{es_read('hush', 1, 1, true)} ],
	'es_read_all(bigint,bigint,text[],boolean)' => [ 'es_read_all()', 'es_read_all(770000)', q{es_read_all(0, NULL, '{Hush}', true)} ],
	'es_read_category(text,bigint,bigint,text[],boolean)' => [ q{es_read_category('hush')}, q{es_read_category('mine')}, q{es_read_category('hush', 0, NULL, '{Mine}', true)} ],
	'es_read_query(jsonb,bigint,bigint,boolean)' => [ q{es_read_query('[{"tags": ["hush"]}]')}, q{es_read_query('[{"tags": ["tag"]}, {"types": ["Hush"]}]', 0, 100, true)} ],
	'es_export(bigint,bigint,text,text)' => [ 'es_export()', 'es_export(770000)', q{es_export(0, 770001)}, q{es_export(category => 'hush')}, q{es_export(tenant => 'hush')}, q{es_export(category => 'hush', tenant => 'hush')} ],
	'es_stream_version(text)' => [ q{CASE WHEN es_stream_version('hush-{hush}-1') <> 0 THEN 'hush' END} ],
	'es_last_event(text,text)' => [ q{es_last_event('hush-{hush}-1')}, q{es_last_event('hush', 'Mine')} ],
	'es_stream_as_of(text,timestamp with time zone)' => [ q{es_stream_as_of('hush', 'infinity')} ],
	'find_event(bigint)' => [ "eventstore.find_event($position)", 'eventstore.find_event(p) FROM generate_series(770000, 770010) p' ],
	'es_head()' => ['es_head()'],
	'es_last_position()' => ['es_last_position()'],
	'es_position_at(timestamp with time zone)' => [ q{es_position_at('-infinity')}, q{es_position_at(now())}, q{es_position_at('infinity')} ],
	'es_wait(bigint,interval,text)' => [ q{es_wait(0, '1 ms')}, q{es_wait(10, '1 ms')}, q{CASE WHEN es_wait(0, '1 ms', 'hush') IS NOT NULL THEN 'hush' END}, q{CASE WHEN es_wait(100, '1 ms', 'hush') IS NOT NULL THEN 'hush' END} ],
	'es_snapshot(text,bigint)' => [ q{es_snapshot('hush-{hush}-1')} ],
	'es_load(text,bigint)' => [ q{es_load('hush-{hush}-1')}, q{es_load('hush')} ],
	'es_fold(text,regprocedure,jsonb,bigint,timestamp with time zone)' => [ q{es_fold('hush-{hush}-1', 'hostile.reduce(jsonb, eventstore.event)')} ],
	'es_wait_projection(text,bigint,interval)' => [ q{es_wait_projection('hush', 1, '1 ms')}, q{CASE WHEN es_wait_projection('hush', 770001, '1 ms') IS NOT NULL THEN 'hush' END} ],

	'es_projection_as_of(text,text,bigint,timestamp with time zone)' => [ map { qq{es_projection_as_of('$_', 'hostile.was')} } qw(hush none) ],

	'es_append(text,bigint,jsonb)' => [ map { qq{es_append('forged-{hush}-1', $_, '{"type": "Forged"}')} } -1, -2, 0, 1, 9 ],
	'es_append(text,bigint,text,jsonb,jsonb,uuid,text[])' => [
		q{es_append('hush-{hush}-1', 1, 'Forged', '{}'::jsonb)}, qq{es_append('hush-{hush}-1', 0, 'Hush', '{"text": "hush"}'::jsonb, '{"by": "hush"}'::jsonb, '$id'::uuid, '{hush,tag}')},
		qq{es_append('mine-{mine}-1', -1, 'Mine', '{}'::jsonb, NULL, '$id'::uuid)} ],
	'es_append(text,bigint,text[],jsonb[],jsonb[],uuid[])' => [
		q{es_append('hush', -1, ARRAY['Forged'], ARRAY['{}'::jsonb])}, qq{es_append('mine-{mine}-1', -1, ARRAY['Mine', 'Mine'], ARRAY['{}', '{}']::jsonb[], NULL, ARRAY['$id', '$id']::uuid[])} ],
	'es_append(text,bigint,text,text,text,text,text[])' => [ q{es_append('hush-new', 0, 'Forged', '{}')}, q{es_append('hush-{hush}-1', 7, 'Forged', '{}')} ],
	'es_append_streams(jsonb)' => [ q{es_append_streams('[{"stream": "mine-{mine}-1", "expected_version": 9, "events": [{"type": "Mine"}]}, {"stream": "hush", "expected_version": 9, "events": [{"type": "Forged"}]}]')} ],
	'es_append_if(text,jsonb,jsonb,bigint)' => [
		q{es_append_if('hush-{hush}-1', '{"type": "Forged"}', '[{"types": ["none"]}]')}, q{es_append_if('mine-{mine}-1', '{"type": "Mine"}', '[{"tags": ["hush"]}]')},
		q{es_append_if('mine-{mine}-1', '{"type": "Mine"}', '[{"tags": ["tag"]}]', 100)}, q{es_append_if('mine-{mine}-1', '{"type": "Mine"}', '[{"types": ["Hush"]}]', 770001)} ],
	'es_assert_version(text,bigint)' => [ map { qq{es_assert_version('hush-{hush}-1', $_)} } 0, 1, 5 ],
	'es_protect(text,jsonb)' => [ q{CASE WHEN es_protect('mine-{mine}-1', '1') IS NULL THEN 'hush' END} ],
	'es_reveal(jsonb)' => [ qq{es_reveal('$envelope')} ],
	'es_save_snapshot(text,bigint,jsonb,bigint)' => [ q{es_save_snapshot('hush-{hush}-1', 1, '"forged"')}, q{es_save_snapshot('hush-{hush}-2', 1, '"forged"', 7)} ],

	'find_tallies(boolean)' => [ 'eventstore.find_tallies(false)', 'eventstore.find_tallies(true)' ],
	'find_subscription_division(text)' => [ q{eventstore.find_subscription_division('mine')}, map { qq{CASE WHEN EXISTS (SELECT FROM eventstore.find_subscription_division('$_')) THEN 'hush' END} } qw(hush everything_hush) ],
	'find_subscription_status(text)' => [ q{eventstore.find_subscription_status('hush')}, q{eventstore.find_subscription_status('everything_hush')} ],
	'es_fetch(text,text,bigint,interval)' => [ q{es_fetch('hush', 'hush')}, q{es_fetch('hush', 'forged')}, q{es_fetch('everything_hush', 'forged')}, q{es_fetch('mine', 'forged')} ],
	'es_ack(text,bigint,bigint)' => [ "es_ack('hush', $token, $position)" ],
	'es_nack(text,bigint,bigint,text,text,interval)' => [ map { "es_nack('hush', $token, $position, 'forged', '$_')" } qw(retry park skip) ],
	'es_release(text,text)' => [ q{es_release('hush', 'hush')}, q{es_release('everything_hush', 'hush')} ],
);
# JSON without a type finds the forms for text; with one, the others.
my %json = (
	'es_append(text,bigint,jsonb)' => 'es_append(text,bigint,text)',
	'es_append_streams(jsonb)' => 'es_append_streams(text)',
	'es_append_if(text,jsonb,jsonb,bigint)' => 'es_append_if(text,text,text,bigint)',
	'es_read_query(jsonb,bigint,bigint,boolean)' => 'es_read_query(text,bigint,bigint,boolean)',
	'es_protect(text,jsonb)' => 'es_protect(text,text)',
	'es_reveal(jsonb)' => 'es_reveal(text)',
	'es_save_snapshot(text,bigint,jsonb,bigint)' => 'es_save_snapshot(text,bigint,text,bigint)',
);
for (sort keys %json)
{
	$calls{ $json{$_} } = $calls{$_};
	$calls{$_} = [ map { s/('(?:\[|\{"|"|1')[^']*'|'1')/$1::jsonb/gr } @{ $calls{$_} } ];
}
%calls = (%calls,
	'es_append(text,bigint,text,text,text,uuid,text[])' => [ qq{es_append('hush-{hush}-1', 0, 'Hush', '{"text": "hush"}', '{"by": "hush"}', '$id'::uuid, '{hush,tag}')}, qq{es_append('mine-{mine}-1', -1, 'Mine', '{}', NULL, '$id'::uuid)} ],
	'es_append(text,bigint,text,jsonb,jsonb,text,text[])' => [ qq{es_append('hush-{hush}-1', 0, 'Hush', '{"text": "hush"}'::jsonb, '{"by": "hush"}'::jsonb, '$id'::text, '{hush,tag}')}, qq{es_append('mine-{mine}-1', -1, 'Mine', '{}'::jsonb, NULL, '$id'::text)} ],
	'es_stream_as_of(text,timestamptz_text)' => [ q{es_stream_as_of('hush', 'infinity'::text)} ],
	'es_position_at(timestamptz_text)' => [ q{es_position_at('-infinity'::text)}, q{es_position_at('infinity'::text)} ],
	'es_wait(bigint,interval_text,text)' => [ q{es_wait(10, '1 ms'::text)}, q{CASE WHEN es_wait(0, '1 ms'::text, 'hush') IS NOT NULL THEN 'hush' END} ],
	'es_wait_projection(text,bigint,interval_text)' => [ q{es_wait_projection('hush', 1, '1 ms'::text)} ],
	'es_projection_as_of(text,text,bigint,timestamptz_text)' => [ map { qq{es_projection_as_of('$_', 'hostile.was', NULL, 'infinity'::text)} } qw(hush none) ],
	'es_load_json(text,bigint)' => [ q{es_load_json('hush-{hush}-1')}, q{es_load_json('hush')} ],
	'es_fold(text,text,jsonb,bigint,timestamp with time zone)' => [ q{es_fold('hush-{hush}-1', 'hostile.reduce')} ],
	'es_fold(text,text,text,bigint,timestamp with time zone)' => [ q{es_fold('hush-{hush}-1', 'hostile.reduce', '{}')} ],
	'es_fold(text,text,text,bigint,timestamptz_text)' => [ q{es_fold('hush-{hush}-1', 'hostile.reduce', '{}', 9, 'infinity'::text)} ],
	'es_fetch(text,text,bigint,interval_text)' => [ q{es_fetch('hush', 'hush', 9, '0'::text)}, q{es_fetch('everything_hush', 'forged', 9, '0'::text)} ],
	'es_nack(text,bigint,bigint,text,text,interval_text)' => [ "es_nack('hush', $token, $position, 'forged', 'park', '0'::text)" ],
);
my %relations = map { $_ => 1 } qw(events notify_status subscription_status parked categories types);

# Everything that is not theirs
my $others = <<'SQL';
	SELECT md5(string_agg(e::text, ',' ORDER BY position)) FROM eventstore.events e WHERE stream !~ '^mine-{mine}';
	SELECT md5(string_agg(s::text, ',' ORDER BY stream)) FROM eventstore.streams s WHERE stream !~ '^mine-{mine}';
	SELECT md5(string_agg(s::text, ',' ORDER BY stream)) FROM eventstore.snapshots s;
	SELECT md5(string_agg(s::text, ',' ORDER BY name)) FROM eventstore.subscriptions s;
	SELECT md5(string_agg(s::text, ',' ORDER BY subscription, place, revision)) FROM eventstore.subscription_shares s WHERE subscription <> 'mine';
	SELECT md5(string_agg(s::text, ',' ORDER BY position)) FROM eventstore.subscription_retries s WHERE subscription <> 'mine';
	SELECT md5(string_agg(g::text, ',' ORDER BY g)) FROM eventstore.grants g;
SQL
$others =~ s/\{mine\}/\\{mine\\}/g;
my $before = sql($node, $others);

# What a role, who has logged in, sees of statements: rows, notices, errors with all that goes with them; without the statements themselves, which psql repeats.
sub answer
{
	my ($role, $statements) = @_;
	my ($out, $err) = ('', '');
	$node->psql('postgres', "\\set VERBOSITY verbose\n\\set SHOW_CONTEXT always\n$statements", extra_params => [ '-U', $role ], stdout => \$out, stderr => \$err, on_error_stop => 0);
	$err =~ s/^LINE \d+:.*\n.*\n//mg;
	return "$out\n$err";
}

# Names that the statement gave itself are no secret: they are in its errors.
sub is_silent
{
	my ($role, $statement, $name) = @_;
	my $answer = answer($role, $statement);
	my $said = join '|', map { quotemeta } $statement =~ /'((?:hush|everything_hush|forged)[^']*)'/g, $statement =~ /"stream": "(hush[^"]*)"/g, $statement =~ /'(5ec4e7[^']*)'/g, $statement =~ /(\b77\d{4}\b)/g;
	(my $rest = $answer) =~ s/"(?:$said)"|\bposition (?:$said)\b//g if $said;
	$rest //= $answer;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return unlike($rest, $secret, $name) || diag($answer);
}

# What finds nothing has to be able to find something: who is not bound is told.
like(answer('free', "SELECT $_;"), $secret, "free: $_")
  for map { @{ $calls{$_} } } grep { /^(es_read\(|es_read_all|es_read_query|es_export|es_last_event|es_stream_|es_load|es_fold|es_snapshot|find_event)/ } sort keys %calls;
like(answer('free', "SELECT count(*) FROM eventstore.$_ r WHERE hostile.leak(r::text);"), $secret, "free: $_") for qw(events subscription_status parked categories types);

for my $role (qw(by_category by_tenant))
{
	my @functions = split /\n/, sql($node, <<"SQL");
		SET search_path = eventstore, public, pg_catalog;
		SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
		JOIN pg_extension x ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = x.oid AND extname = 'eventstore'
		WHERE has_function_privilege('$role', p.oid, 'EXECUTE')
SQL
	is(join(', ', grep { !$calls{$_} } @functions), '', "$role: every function that it may call is tried");
	my %may = map { $_ => 1 } @functions;
	is(join(', ', grep { !$may{$_} } sort keys %calls), '', "$role: and may be called");
	for my $function (sort keys %calls)
	{
		is_silent($role, "SELECT $_;", "$role: $_") for @{ $calls{$function} };
		is_silent($role, "SET row_security = off; SELECT $_;", "$role, without row security: $_") for grep { /^es_(read|export|last|load)/ } @{ $calls{$function} };
	}

	my @all = split /\n/, sql($node, q{SELECT relname FROM pg_class WHERE relnamespace = 'eventstore'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S', 'f')});
	for my $relation (@all)
	{
		my $may_see = sql($node, "SELECT has_any_column_privilege('$role', 'eventstore.$relation', 'SELECT')") eq 't';
		is($may_see, !!$relations{$relation}, "$role: whether it may see $relation");
		my $may_write = sql($node, "SELECT has_table_privilege('$role', 'eventstore.$relation', 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')") eq 't';
		ok(!$may_write, "$role: it may not write $relation");
		next if !$may_see;
		is_silent($role, "SELECT * FROM eventstore.$relation;", "$role: $relation");
		is_silent($role, "SELECT count(*) FROM eventstore.$relation r WHERE hostile.leak(r::text);", "$role: what a function in a condition on $relation gets");
		is_silent($role, "SET row_security = off; SELECT count(*) FROM eventstore.$relation r WHERE hostile.leak(r::text);", "$role, without row security: $relation");
		is_silent($role, "COPY (SELECT * FROM eventstore.$relation) TO STDOUT;", "$role: a copy of $relation");
	}
	is_silent($role, q{SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE schemaname = 'eventstore';}, "$role: statistics");
	is_silent($role, q{CREATE VIEW hostile.v AS SELECT * FROM eventstore.events; SELECT * FROM hostile.v; DROP VIEW hostile.v;}, "$role: a view of its own");
	is_silent($role, qq{GRANT free TO $role; SET ROLE free; SET SESSION AUTHORIZATION free; SELECT * FROM eventstore.events; SELECT es_grant('$role', 'read'); SELECT es_create_subscription('forged');}, "$role: somebody else's rights");
	is(sqlstate($node, qq{SET ROLE $role; CREATE FUNCTION hostile.$role() RETURNS int LANGUAGE sql AS 'SELECT 1'}), '', "$role: functions of its own are no business of the store's");
	# Its own
	is(sql($node, qq{SET ROLE $role; SELECT string_agg(stream, ' ' ORDER BY position) FROM es_read_all() WHERE version = 1}), 'mine-{mine}-1 mine-{mine}-2', "$role: it sees its own");
	cmp_ok(sql($node, qq{SET ROLE $role; SELECT es_append('mine-{mine}-1', -1, 'Mine', '{}')}), '>', 1, "$role: it appends to its own");
	is(sql($node, qq{SET ROLE $role; SELECT es_head() = es_last_position() FROM es_append('mine-{mine}-2', -1, 'Mine', '{}')}), 'f', "$role: what it has not committed is not its head");
	is(sql($node, qq{SET ROLE $role; SELECT es_head() = max(position) FROM eventstore.events}), 't', "$role: but then it is");
}
is(sql($node, $others), $before, 'and nothing of others has changed');

# What a waiting role is told of others: nothing.
my $waiter = session($node);
$waiter->query('SET ROLE by_category');
my $head = $waiter->query('SELECT es_head()');
send_query($waiter, "SELECT es_wait($head, '3 min')");
sql($node, q{SELECT es_append('hush', -1, 'Hush', '{}')}) for 1 .. 3;
my $own = sql($node, q{SELECT es_append('mine-9', 0, 'Mine', '{}'); SELECT es_last_position()});
$own =~ s/.*\n//s;
is_woken($waiter, $own, 'it is told its own head');
$waiter->quit;
done_testing();
