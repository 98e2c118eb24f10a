# Three real histories, 16,606 events, go in through examples/load.sql and come back equal: each stream's digest is computed here,
# from the lines that went in and from the rows that come out, without the store's help. Then the demo's tour runs on them.
use strict;
use warnings;
use Digest::MD5 qw(md5_hex);
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Store;
use Test::More;

my $examples = "$FindBin::RealBin/../../examples";
my @histories = qw(emmett eventstore pgvector);
my $node = new_node('history');
$node->append_conf('postgresql.conf', "fsync = off\nsynchronous_commit = off");
$node->reload;

# A flat JSON object as a sorted list of its members; the histories have no others, and no backslash.
sub members
{
	my ($object) = @_;
	my @members = $object =~ /("\w+": (?:"[^"\\]*"|-?\d+|null))/g;
	my $rest = $object;
	$rest =~ s/"\w+": (?:"[^"\\]*"|-?\d+|null)//g;
	die "not a flat object: $object" unless $rest =~ /\A\{[, ]*\}\z/;
	return join ', ', sort @members;
}

my (@sent, %sent);
for my $history (@histories)
{
	my $lines = `gzip -dc $examples/data/$history.ndjson.gz`;
	my $count = 0;
	for my $line (split /\n/, $lines)
	{
		my ($stream, $type, $data, $metadata) =
		  $line =~ /\A\{"stream": "([^"\\]*)", "type": "(\w+)", "data": (\{[^{}]*\}), "metadata": (\{[^{}]*\})\}\z/
		  or die "not understood: $line";
		my $event = join '|', $type, members($data), members($metadata);
		push @sent, "$stream|$event";
		push @{ $sent{$stream} }, $event;
		$count++;
	}
	my $load = "gzip -dc $examples/data/$history.ndjson.gz | psql -X -q -d '@{[$node->connstr('postgres')]}' -f $examples/load.sql";
	is(system($load), 0, "$history: $count events loaded");
}
is_sound($node, 'loaded');

# Stream by stream through es_read, as rows of stream, type, data, metadata.
my $columns = q{e.stream || '|' || e.type, e.data, e.metadata};
my $received = sub {
	my ($query) = @_;
	my $out = '';
	$node->psql('postgres', $query, stdout => \$out, extra_params => [ '-F', "\x01" ]);
	return map { my @row = split /\x01/; join '|', $row[0], members($row[1]), members($row[2]) } split /\n/, $out;
};
my %received;
for my $event ($received->("SELECT $columns FROM eventstore.streams s, LATERAL es_read(s.stream) WITH ORDINALITY e ORDER BY s.stream, e.ordinality"))
{
	my ($stream, $rest) = split /\|/, $event, 2;
	push @{ $received{$stream} }, $rest;
}
my %digest_sent = map { $_ => md5_hex(join "\n", @{ $sent{$_} }) } keys %sent;
my %digest_received = map { $_ => md5_hex(join "\n", @{ $received{$_} }) } keys %received;
is(scalar keys %received, 2245, 'as many streams as went in');
is_deeply(\%digest_received, \%digest_sent, 'each stream reads back equal');

# All of it in order of position, page by page, through the readers across streams.
sql($node, <<'SQL');
	CREATE TABLE pages (page int, e eventstore.event);
	CREATE PROCEDURE read_pages(query text) LANGUAGE plpgsql AS $$
	DECLARE
		page int := 0;
		last bigint := 0;
		added bigint;
	BEGIN
		TRUNCATE pages;
		LOOP
			EXECUTE 'INSERT INTO pages SELECT $1, e FROM ' || query || ' e' USING page, last;
			GET DIAGNOSTICS added = ROW_COUNT;
			EXIT WHEN added = 0;
			SELECT max((e).position) INTO last FROM pages;
			page := page + 1;
		END LOOP;
	END $$;
SQL
for my $reader ('es_read_all($2, 500)', q{es_read_category('file', $2, 500)})
{
	sql($node, "CALL read_pages(\$\$$reader\$\$)");
	is(sql($node, 'SELECT count(DISTINCT page) FROM pages'), '34', "$reader: 34 pages");
	my @got = $received->("SELECT $columns FROM (SELECT (e).* FROM pages) e ORDER BY e.position");
	is(md5_hex(join "\n", @got), md5_hex(join "\n", @sent), "$reader: all events in the order in which they were appended");
}
is(sql($node, q{SELECT count(*) FROM es_read_all(0, NULL, '{FileRenamed}')}), scalar(grep { /\|FileRenamed\|/ } @sent), 'the events of one type');

# What `make demo` shows.
my ($out, $err) = ('', '');
$node->psql('postgres', "\\i $examples/tour.sql", stdout => \$out, stderr => \$err, on_error_stop => 0);
like($out, qr/^SQLSTATE SE001$/m, 'the tour shows the conflict');
is(() = $err =~ /ERROR:/g, 1, 'and runs into nothing else') or diag($err);

done_testing();
