# Erasure by keys: what docs/keeping.md says of it, in SQL and by another program; dumps with and without keys, a standby, a crash, prepared
# transactions, other encodings; and a build without OpenSSL.
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
my $page = PostgreSQL::Test::Utils::slurp_file("$top/docs/keeping.md");
my ($section) = $page =~ /^(## Erasure by keys\n.*?)(?=^## |\z)/ms;
my $node = new_node('erasure', 'wal_level = replica', 'max_wal_senders = 5');
my $connection = $node->connstr('postgres');

# The page: its sql blocks in order, with the values that it says they have.
for my $block ($section =~ /^```sql\n(.*?)^```/msg)
{
	my ($code) = $block =~ /\A-- raises (\w{5})/;
	my $err = '';
	my $out = '';
	$node->psql('postgres', $block, stdout => \$out, stderr => \$err, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	my ($raised) = $err =~ /ERROR: +(\w{5})/;
	is($raised // '', $code // '', 'docs/keeping.md: ' . ($block =~ /^((?!--)\S.*)$/m)[0]) or diag($err);
	is(join("\n", grep { $_ ne '' } split /\n/, $out), join("\n", $block =~ /-- → (.*)$/mg), 'and what it returns') if !$code;
}

# The vectors: by the store ...
my ($vectors) = $section =~ /^```json\n(.*?)^```/ms;
my @envelopes = split /\n/, $vectors;
my ($keys) = $section =~ /^\| subject's key \| (.*) \|$/m;
my @keys = $keys =~ /`(\w+)`/g;
my ($texts) = $section =~ /^\| plaintext \| (.*) \|$/m;
my @texts = $texts =~ /`(.*?)`/g;
is(scalar @envelopes, 2, 'two vectors');
sql($node, 'CREATE DATABASE vectors');
sql($node, 'CREATE EXTENSION eventstore', 'vectors');
for my $i (0 .. $#envelopes)
{
	sql($node, "INSERT INTO eventstore.subject_keys SELECT e->>'subject', decode(e->>'key', 'hex'), '\\x$keys[$i]', now() FROM (SELECT '$envelopes[$i]'::jsonb) v (e)", 'vectors');
	is(sql($node, "SELECT es_reveal('$envelopes[$i]')", 'vectors'), $texts[$i], "vector $i opens in the store");
}
# ... and by the page's program, each opening what the other has made.
SKIP:
{
	if (system(q{/usr/bin/python3 -c 'import cryptography' 2>/dev/null}) != 0)
	{
		diag('no python3-cryptography here: no other program has opened an envelope');
		skip 'no python3-cryptography here', 4;
	}
	my ($program) = $section =~ /^```python\n(.*?)^```/ms;
	my $python = sub {
		my ($call, @arguments) = @_;
		my ($out, $err) = ('', '');
		IPC::Run::run([ '/usr/bin/python3', '-X', 'utf8', '-c', "$program\nimport sys\n$call", @arguments ], '>', \$out, '2>', \$err) or diag($err);
		return $out =~ s/\n\z//r;
	};
	my $open = 'print(reveal(bytes.fromhex(sys.argv[1]), json.loads(sys.argv[2])))';
	my $make = 'print(json.dumps(protect(bytes.fromhex(sys.argv[1]), sys.argv[2], sys.argv[3])))';
	is($python->($open, $keys[$_], $envelopes[$_]), $texts[$_], "vector $_ opens in Python") for 0, 1;
	my $envelope = sql($node, q{SELECT es_protect('Zoë ☃', '{"snow": "☃", "n": 1.50}')}, 'vectors');
	is($python->($open, $keys[1], $envelope), '{"n": 1.50, "snow": "☃"}', 'what the store makes opens in Python');
	$envelope = $python->($make, $keys[0], 'customer-42', '{"snow": "☃", "n": 1.50}');
	is(sql($node, "SELECT es_reveal('$envelope')", 'vectors'), '{"n": 1.50, "snow": "☃"}', 'what Python makes opens in the store');
}

# In another encoding the same envelope opens.
sql($node, q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
sql($node, q{CREATE EXTENSION eventstore}, 'latin');
my $key = sql($node, q{SELECT es_protect('Zoë', '"für Zoë"'); SELECT encode(key, 'hex') FROM eventstore.subject_keys WHERE subject = 'Zoë'}, 'vectors');
my ($of_utf8) = $key =~ /^(.*)$/m;
($key) = $key =~ /^(\w{64})$/m;
is(sql($node, "SET client_encoding = 'UTF8'; INSERT INTO eventstore.subject_keys SELECT e->>'subject', decode(e->>'key', 'hex'), '\\x$key', now() FROM (SELECT '$of_utf8'::jsonb) v (e); SELECT es_reveal('$of_utf8')", 'latin'),
	'"für Zoë"', 'an envelope from UTF8 opens in LATIN1');
my $of_latin = sql($node, q{SET client_encoding = 'UTF8'; SELECT es_protect('Zoë', '"für Zoë"')}, 'latin');
is(sql($node, "SELECT es_reveal('$of_latin')", 'vectors'), '"für Zoë"', 'and the other way round');

# A store with one who is erased and one who is not; what its dumps carry
sql($node, <<'SQL');
	RESET eventstore.key_provider;
	SELECT es_append('person-1', 0, 'Named', jsonb_build_object('name', es_protect('erased', '"Emil"')));
	SELECT es_append('person-2', 0, 'Named', jsonb_build_object('name', es_protect('kept', '"Karl"')));
	SELECT es_erase_subject('erased', 'asked for it');
SQL
my $names = q{SELECT stream, es_reveal(data)->>'name' FROM eventstore.events WHERE stream IN ('person-1', 'person-2') ORDER BY stream};
my $as_it_was = "person-1|\nperson-2|Karl";
my $folder = PostgreSQL::Test::Utils::tempdir();
is(sql($node, $names), $as_it_was, 'one is erased, one is not');

sub restore
{
	my ($database, @files) = @_;
	sql($node, "CREATE DATABASE $database TEMPLATE template0");
	$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($database), '-f', $_ ], "$database: restored " . s,.*/,,r) for @files;
	return;
}
my ($commands) = $section =~ /^```sh\n(.*?)^```/ms;
my @commands = map { [ split ' ', $_ ] } split /\n/, $commands;
is(scalar @commands, 2, 'two commands');
$node->command_ok([ 'pg_dump', '-f', "$folder/whole.sql", $connection ], 'dumped');
for my $command (@commands)
{
	my @words = map { s,^(\w+\.sql)$,$folder/$1,r } @$command;
	$node->command_ok([ @words, $connection ], "docs/keeping.md: @$command");
}
unlike(PostgreSQL::Test::Utils::slurp_file("$folder/store.sql"), qr/kept.*\\\\x/, 'a dump without keys has none');

restore('whole', "$folder/whole.sql");
is(sql($node, $names, 'whole'), $as_it_was, 'a dump carries keys and fence');
is(sqlstate($node, q{SELECT es_protect('erased', '1')}, 'whole'), 'SE010', 'which holds');
is(sql($node, q{SELECT subject, erased_by, reason FROM eventstore.erasures WHERE subject = 'erased'}, 'whole'), sql($node, q{SELECT subject, erased_by, reason FROM eventstore.erasures WHERE subject = 'erased'}), 'and says the same');

restore('keyless', "$folder/store.sql");
is(sql($node, 'SELECT count(*) FROM eventstore.subject_keys', 'keyless'), 0, 'without keys there are none');
is(sql($node, q{SELECT es_reveal(data) FROM es_read('person-1')}, 'keyless'), '{"name": null}', 'what was erased is null');
is(sqlstate($node, q{SELECT es_reveal(data) FROM es_read('person-2')}, 'keyless'), '55000', 'what was not, lacks its key');
is(sqlstate($node, q{SELECT es_protect('erased', '1')}, 'keyless'), 'SE010', 'the fence holds');
is(sql($node, q{SELECT es_reveal(es_protect('kept', '1'))}, 'keyless'), 1, 'others get new keys');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('keyless'), '-f', "$folder/keys.sql" ], 'the keys come later');
is(sql($node, $names, 'keyless'), $as_it_was, 'and open what is theirs');

# Keys that come back from before an erasure open nothing.
sql($node, q{SELECT es_erase_subject('kept', 'asked for it, too')}, 'keyless');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('keyless'), '-f', "$folder/keys.sql" ], 'old keys come back');
is(sql($node, $names, 'keyless'), "person-1|\nperson-2|", 'the fence holds against them');
# In a copy that has the key, but not the fence: this is what has to be erased again after a restore.
is(sql($node, $names, 'whole'), $as_it_was, 'an older copy knows nothing of the erasure');

# A prepared transaction that has made a key, or erased its subject, is waited for.
for my $end ('COMMIT', 'ROLLBACK')
{
	my $envelope = sql($node, qq{BEGIN; SELECT es_protect('prepared-$end', '"P"'); PREPARE TRANSACTION 'protects'});
	my $waiter = session($node);
	send_query($waiter, "SELECT es_erase_subject('prepared-$end', 'asked for it')");
	becomes($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'userlock' AND NOT granted}, 1, "$end: an erasure waits for a prepared transaction that has made the key");
	sql($node, "$end PREPARED 'protects'");
	$waiter->query('');
	is(sql($node, "SELECT es_reveal('$envelope'), count(k) FROM (SELECT 1) x LEFT JOIN eventstore.subject_keys k ON k.subject = 'prepared-$end' GROUP BY 1"), 'null|0', 'and then takes it');

	sql($node, qq{BEGIN; SELECT es_erase_subject('erased-$end', 'asked for it'); PREPARE TRANSACTION 'erases'});
	send_query($waiter, "SELECT es_protect('erased-$end', '1')->>'subject'");
	becomes($node, q{SELECT count(*) FROM pg_locks WHERE locktype = 'userlock' AND NOT granted}, 1, "$end: who makes a key waits for a prepared erasure");
	sql($node, "$end PREPARED 'erases'");
	is($waiter->query(''), $end eq 'COMMIT' ? '' : "erased-$end", 'and goes by what becomes of it');
	$waiter->quit;
}

# A standby reveals, and protects with keys that are there.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
sql($node, q{SELECT es_append('person-3', 0, 'Named', jsonb_build_object('name', es_protect('later', '"Lena"')))});
my $replayed = sub { $node->wait_for_catchup($standby, 'replay', $node->lsn('insert')) };
$replayed->();
is(sql($standby, q{SELECT es_reveal(data) FROM es_read('person-3')}), '{"name": "Lena"}', 'a standby reveals');
is(sql($standby, q{SELECT es_reveal(es_protect('later', '1'))}), 1, 'and protects with a key that is there');
is(sqlstate($standby, q{SELECT es_protect('new', '1')}), '25006', 'and makes none');
is(sqlstate($standby, q{SELECT es_erase_subject('later', 'x')}), '25006', 'nor destroys one');
my $reader = session($standby);
is($reader->query(q{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT es_reveal(data) FROM es_read('person-3')}), '{"name": "Lena"}', 'a snapshot there');
sql($node, q{SELECT es_erase_subject('later', 'asked for it')});
$replayed->();
is($reader->query(q{SELECT es_reveal(data) FROM es_read('person-3')}), '{"name": null}', 'does not keep what is erased');
is(sqlstate($standby, q{SELECT es_protect('later', '1')}), 'SE010', 'nor is it protected there');
$reader->quit;
$standby->stop;

# A crash right after an erasure
sql($node, q{SELECT es_erase_subject('kept', 'asked for it')});
$node->stop('immediate');
$node->start;
is(sql($node, $names), "person-1|\nperson-2|", 'an erasure that is committed survives a crash');
is(sqlstate($node, q{SELECT es_protect('kept', '1')}), 'SE010', 'with its fence');
is(sql($node, q{SELECT count(*) FROM eventstore.subject_keys WHERE subject IN ('kept', 'erased', 'later')}), 0, 'and no key');
is_sound($node, 'erasure');
$node->stop;

# A build without OpenSSL: in a copy, against a library of its own.
SKIP:
{
	my $config = $ENV{PG_CONFIG} // 'pg_config';
	my $build = PostgreSQL::Test::Utils::tempdir();
	skip 'no compiler here', 9 if system('command -v make >/dev/null && command -v gcc >/dev/null') != 0;
	system("cp -r '$top/Makefile' '$top/eventstore.control' '$top/router' '$top/sql' '$top/src' '$build' && find '$build' -name '*.o' -delete") == 0 or die 'no copy';
	# Not optimized, as it takes a third of the time.
	my $said = `cd '$build' && env -u CI -u MAKELEVEL MAKEFLAGS= make -j2 with_llvm=no with_crypto=no COPT='-O0 -g0' PG_CONFIG='$config' all 2>&1`;
	is($?, 0, 'it builds without OpenSSL') or diag($said);
	like($said, qr/^Built without OpenSSL: es_protect and es_reveal will say so, all else is there$/m, 'and make says so');
	unlike(`ldd '$build/eventstore.so'`, qr/libcrypto/, 'it is not linked with it');
	# The extension that is installed, with this library in place of its own
	chmod 0755, $build;
	my $plain = new_node('plain');
	sql($plain, "UPDATE pg_proc SET probin = '$build/eventstore' WHERE probin = '\$libdir/eventstore'");
	is(sqlstate($plain, q{SELECT es_protect('a', '1')}), '0A000', 'es_protect says that it cannot');
	is(sqlstate($plain, qq{SELECT es_reveal('$envelopes[0]')}), '0A000', 'so does es_reveal of an envelope');
	is(sql($plain, q{SELECT es_append('a-1', 0, 'A', '{"b": 1}')}), 1, 'an append works');
	is(sql($plain, q{SELECT es_reveal(data) FROM es_read('a-1')}), '{"b": 1}', 'and reading');
	is(sql($plain, qq{SELECT es_erase_subject('customer-42', 'x'); SELECT es_reveal('$envelopes[0]')}) =~ s/^\n//r, 'null', 'and erasing');
	$plain->stop;
}
done_testing();
