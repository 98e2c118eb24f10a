# docs/migrate.md does what it says: a small store of each kind, by the schema that it is documented with, moves here by the page's view, its commands and
# es_import. message-db's is its own, from the npm registry, where that can be reached.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $page = PostgreSQL::Test::Utils::slurp_file("$top/docs/migrate.md");
my ($elsewhere) = $page =~ /^## From elsewhere\n(.*)/ms;
my ($commands) = $elsewhere =~ /^```sh\n(.*?)^```/ms;
my %recipes = $elsewhere =~ /^### From ([^\n]+)\n(.*?)(?=^### |\z)/msg;
is(join(', ', sort keys %recipes), 'KurrentDB, Marten, an audit table, message-db', 'the recipes');
is(scalar(() = $page =~ /^```sql\n/mg), scalar(map { /^```sql\n/mg } values %recipes), 'every SQL block is one of theirs');
my $node = new_server('node');

# The databases of a recipe: the old store, with the page's objects, and the new one
sub make
{
	my ($name, $schema, $rows) = @_;
	(my $old = lc "old_$name") =~ s/\W/_/g;
	(my $new = $old) =~ s/^old/new/;
	sql($node, "CREATE DATABASE $_ TEMPLATE template0 ENCODING 'UTF8'") for $old, $new;
	sql($node, 'CREATE EXTENSION eventstore', $new);
	my @blocks = $recipes{$name} =~ /^```sql\n(.*?)^```/msg;
	sql($node, $_, $old) for grep { $_ ne '' } $schema, grep { /^CREATE TABLE/ } @blocks;
	sql($node, $rows, $old);
	sql($node, $_, $old) for grep { !/^CREATE TABLE/ } @blocks;
	return ($old, $new);
}

sub move
{
	my ($old, $new, $name) = @_;
	my $out = '';
	local $ENV{SOURCE} = $node->connstr($old);
	local $ENV{TARGET} = $node->connstr($new);
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(IPC::Run::run([ 'bash', '-e', '-u', '-o', 'pipefail', '-c', $commands ], '<', \undef, '>&', \$out, init => sub { chdir $top or die $! }), "$name: moved") or diag($out);
	is(sql($node, 'SELECT * FROM es_verify()', $new), '', "$name: the store is sound");
	return;
}

# Moves, moves again, and once more with what has come: compares it with what is expected, a line an event.
sub moves
{
	my ($name, $schema, $rows, $expected, $more, $more_expected) = @_;
	my ($old, $new) = make($name, $schema, $rows);
	my $events = q{SELECT stream, version, type, data, metadata, tags, recorded_at AT TIME ZONE 'UTC' FROM es_read_all(0, NULL)};
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	move($old, $new, $name);
	is(sql($node, $events, $new), $expected, "$name: what came");
	my $ids = sql($node, 'SELECT id, position FROM eventstore.events ORDER BY position', $new);
	move($old, $new, "$name, again");
	is(sql($node, 'SELECT id, position FROM eventstore.events ORDER BY position', $new), $ids, "$name: once");
	sql($node, $more, $old);
	move($old, $new, "$name, more");
	is(sql($node, $events, $new), "$expected\n$more_expected", "$name: and what has come since");
	return ($old, $new);
}

# ---- message-db. Columns as of version 1.3.1, MIT licence, github.com/message-db/message-db.
my $message_db = <<'SQL';
	CREATE SCHEMA message_store;
	CREATE TABLE message_store.messages (global_position bigserial PRIMARY KEY, position bigint NOT NULL, time timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'), stream_name text NOT NULL,
		type text NOT NULL, data jsonb, metadata jsonb, id uuid NOT NULL DEFAULT gen_random_uuid(), UNIQUE (stream_name, position), UNIQUE (id));
SQL
my $messages = <<'SQL';
	INSERT INTO message_store.messages (position, time, stream_name, type, data, metadata) VALUES
		(0, '2024-01-01 10:00', 'account-1', 'Opened', '{"by": "x"}', '{"correlationStreamName": "signup-1"}'), (0, '2024-01-01 10:01', 'account:command-1', 'Deposit', '{"amount": 1.50}', NULL),
		(1, '2024-01-01 09:59', 'account-1', 'Deposited', '{"amount": 1.50}', NULL), (0, '2024-01-01 10:02', 'settings', 'Set', NULL, NULL);
SQL
my $message_db_events = join "\n", 'account-1|1|Opened|{"by": "x"}|{"correlationStreamName": "signup-1"}||2024-01-01 10:00:00', 'account:command-1|1|Deposit|{"amount": 1.50}|||2024-01-01 10:01:00',
  'account-1|2|Deposited|{"amount": 1.50}|||2024-01-01 10:00:00', 'settings|1|Set|{}|||2024-01-01 10:02:00';
my (undef, $accounts) = moves('message-db', $message_db, $messages, $message_db_events,
	q{INSERT INTO message_store.messages (position, time, stream_name, type, data) VALUES (2, '2024-01-02 10:00', 'account-1', 'Closed', '{}')}, 'account-1|3|Closed|{}|||2024-01-02 10:00:00');
is(sql($node, q{SELECT string_agg(DISTINCT category, ' ' ORDER BY category) FROM eventstore.events}, $accounts), 'account account:command settings', 'message-db: categories');

# ---- Marten. Columns as its documentation and sources have them (events in the style of guids, metadata switched on), MIT licence, github.com/JasperFx/marten.
my $marten = <<'SQL';
	CREATE TABLE mt_streams (id uuid NOT NULL PRIMARY KEY, type varchar, version bigint, timestamp timestamptz NOT NULL DEFAULT now(), snapshot jsonb, snapshot_version integer, created timestamptz NOT NULL DEFAULT now(),
		tenant_id varchar DEFAULT '*DEFAULT*', is_archived boolean DEFAULT false);
	CREATE TABLE mt_events (seq_id bigint NOT NULL PRIMARY KEY, id uuid NOT NULL, stream_id uuid REFERENCES mt_streams, version bigint NOT NULL, data jsonb NOT NULL, type varchar(500) NOT NULL, timestamp timestamptz NOT NULL DEFAULT now(),
		tenant_id varchar DEFAULT '*DEFAULT*', mt_dotnet_type varchar, correlation_id varchar, causation_id varchar, headers jsonb, is_archived boolean DEFAULT false, UNIQUE (stream_id, version));
SQL
my $marten_rows = <<'SQL';
	INSERT INTO mt_streams (id, type, version, tenant_id) VALUES ('11111111-1111-4111-8111-111111111111', 'invoice', 2, '*DEFAULT*'), ('22222222-2222-4222-8222-222222222222', NULL, 1, 'acme');
	INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, timestamp, tenant_id, mt_dotnet_type, correlation_id, headers) VALUES
		(3, gen_random_uuid(), '11111111-1111-4111-8111-111111111111', 1, '{"Amount": 5}', 'invoice_created', '2024-01-01 10:00Z', '*DEFAULT*', 'Shop.InvoiceCreated, Shop', 'c-1', '{"h": 1}'),
		(4, gen_random_uuid(), '22222222-2222-4222-8222-222222222222', 1, '{}', 'opened', '2024-01-01 10:00Z', 'acme', NULL, NULL, NULL),
		(7, gen_random_uuid(), '11111111-1111-4111-8111-111111111111', 2, '{}', 'invoice_paid', '2024-01-01 10:05Z', '*DEFAULT*', NULL, NULL, NULL);
SQL
my $marten_events = join "\n", 'invoice-11111111-1111-4111-8111-111111111111|1|invoice_created|{"Amount": 5}|{"headers": {"h": 1}, "dotnet_type": "Shop.InvoiceCreated, Shop", "correlation_id": "c-1"}||2024-01-01 10:00:00',
  'stream-{acme}-22222222-2222-4222-8222-222222222222|1|opened|{}|||2024-01-01 10:00:00', 'invoice-11111111-1111-4111-8111-111111111111|2|invoice_paid|{}|||2024-01-01 10:05:00';
moves('Marten', $marten, $marten_rows, $marten_events,
	q{INSERT INTO mt_events (seq_id, id, stream_id, version, data, type, timestamp, tenant_id) VALUES (9, gen_random_uuid(), '22222222-2222-4222-8222-222222222222', 2, '{}', 'closed', '2024-01-02 10:00Z', 'acme')},
	'stream-{acme}-22222222-2222-4222-8222-222222222222|2|closed|{}|||2024-01-02 10:00:00');
# ---- KurrentDB. Pages as its documentation shows them (docs.kurrent.io, HTTP API, embedding data into streams in JSON format).
sub entry
{
	my ($stream, $number, $type, $data, $more) = @_;
	my $id = sprintf '%08x-0000-4000-8000-%012x', unpack('%32C*', "$stream$type"), $number;
	return qq({"eventId": "$id", "eventType": "$type", "eventNumber": $number, "data": $data, "streamId": "$stream", "isJson": true, "isMetaData": false, "isLinkMetaData": false, )
	  . qq("positionEventNumber": $number, "positionStreamId": "$stream", "title": "$number\@$stream", "id": "http://127.0.0.1:2113/streams/$stream/$number", "updated": "2024-01-01T10:0$number:00.123456Z", "author": {"name": "KurrentDB"}, "summary": "$type", "links": []) . ($more // '') . '}';
}
sub page
{
	my @entries = @_;
	my $entries = join ', ', reverse @entries;
	return qq!INSERT INTO kurrent_pages (page) VALUES ('{"title": "All events", "id": "http://127.0.0.1:2113/streams/%24all", "headOfStream": false, "links": [], "entries": [$entries]}');\n!;
}
my $kurrent = page(
	entry('$settings', 0, '$settings', '"{}"'),
	entry('cart-1', 0, 'Opened', '"{\"by\": \"x\"}"', ', "metaData": "{\"$correlationId\": \"c-1\"}"'),
	entry('cart-2', 3, 'ItemAdded', '"{\n  \"sku\": \"a\"\n}"', ', "metaData": ""'))
  . page(entry('cart-1', 1, 'ItemAdded', '"{}"'), entry('$ce-cart', 0, '$>', '"0@cart-1"'), entry('cart-2', 4, 'Closed', '"[1]"'));
my $kurrent_events = join "\n", 'cart-1|1|Opened|{"by": "x"}|{"$correlationId": "c-1"}||2024-01-01 10:00:00.123456', 'cart-2|4|ItemAdded|{"sku": "a"}|||2024-01-01 10:03:00.123456', 'cart-1|2|ItemAdded|{}|||2024-01-01 10:01:00.123456',
  'cart-2|5|Closed|[1]|||2024-01-01 10:04:00.123456';
my (undef, $carts) = moves('KurrentDB', '', $kurrent, $kurrent_events, page(entry('cart-1', 2, 'Closed', '"{}"')), 'cart-1|3|Closed|{}|||2024-01-01 10:02:00.123456');
is(sql($node, 'SELECT stream, version FROM eventstore.beginnings', $carts), 'cart-2|4', 'KurrentDB: a stream without its beginning');

# ---- An audit table
my $records = <<'SQL';
	INSERT INTO audit_log (table_name, row_id, action, old_row, new_row, changed_by, changed_at) VALUES
		('customer', '7', 'INSERT', NULL, '{"id": 7, "name": "Ann", "city": "Utrecht"}', 'x', '2024-01-01 10:00Z'), ('invoice', '7', 'INSERT', NULL, '{"id": 7}', NULL, '2024-01-01 10:00Z'),
		('customer', '7', 'UPDATE', '{"id": 7, "name": "Ann", "city": "Utrecht"}', '{"id": 7, "name": "Ann", "city": "Delft"}', 'y', '2024-01-01 09:00Z');
SQL
my $audit_events = join "\n", 'customer-7|1|CustomerCreated|{"id": 7, "city": "Utrecht", "name": "Ann"}|{"user": "x"}||2024-01-01 10:00:00', 'invoice-7|1|InvoiceCreated|{"id": 7}|{}||2024-01-01 10:00:00',
  'customer-7|2|CustomerChanged|{"city": "Delft"}|{"user": "y"}||2024-01-01 10:00:00';
moves('an audit table', '', $records, $audit_events,
	q{INSERT INTO audit_log (table_name, row_id, action, old_row, changed_at) VALUES ('customer', '7', 'DELETE', '{"id": 7}', '2024-01-02 10:00Z')}, 'customer-7|3|CustomerDeleted|{"id": 7}|{}||2024-01-02 10:00:00');

# ---- message-db as it ships, its own functions writing
SKIP:
{
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $out = '';
	skip 'no npm here', 4 if system('command -v npm >/dev/null') != 0;
	my $ok = IPC::Run::run([qw(npm install --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --no-update-notifier --fetch-retries=1 --prefix), $folder, '@eventide/message-db@1.3.1'], '<', \undef, '>&', \$out);
	skip "npm does not reach its registry: $out", 4 if !$ok;
	{
		local @ENV{qw(DATABASE_NAME PGHOST PGPORT PGUSER)} = ('shipped', $node->host, $node->port, (getpwuid $<)[0]);
		ok(IPC::Run::run([ 'bash', "$folder/node_modules/\@eventide/message-db/database/install.sh" ], '<', \undef, '>&', \$out), 'message-db as it ships') or diag($out);
	}
	sql($node, q{SET search_path = message_store; SELECT write_message(gen_random_uuid()::text, 'account-' || i % 3, 'Written', '{"i": 1}', '{"m": 1}') FROM generate_series(1, 30) i}, 'shipped');
	sql($node, ($recipes{'message-db'} =~ /^```sql\n(.*?)^```/ms)[0], 'shipped');
	sql($node, 'CREATE DATABASE from_shipped');
	sql($node, 'CREATE EXTENSION eventstore', 'from_shipped');
	move('shipped', 'from_shipped', 'message-db as it ships');
	is(sql($node, 'SELECT count(*), max(version), min(version) FROM eventstore.events', 'from_shipped'), '30|10|1', 'all of it is here');
}
done_testing();
