# examples/cells/split, with what stands about when it begins: commits that are not flushed yet, and transactions that are prepared.
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

my $old = new_cell(1, 1, '{[0,1024)}', 'max_prepared_transactions = 5', 'synchronous_commit = off', 'wal_writer_delay = 10s', 'fsync = off');
sql($old, q{SELECT es_append('a-' || n, 0, 'Before', '{}') FROM generate_series(1, 9) n});
$old->backup('standby');
my $new = PostgreSQL::Test::Cluster->new('cell2');
$new->init_from_backup($old, 'standby', has_streaming => 1);
$new->start;

# a-1 is in slot 264, a-3 in 788.
sql($old, q{BEGIN; SELECT es_append('a-3', -1, 'Prepared', '{}'); PREPARE TRANSACTION 'it''s $q'});
$old->wait_for_catchup($new, 'replay', $old->lsn('flush'));
sql($old, q{SELECT es_append('a-1', -1, 'During', '{}') FROM generate_series(1, 3)});

local $ENV{OLD} = where($old);
local $ENV{NEW} = where($new);
local $ENV{NEW_CELL} = 2;
local $ENV{SLOTS} = '{[0,512)}';
my ($out, $said) = ('', '');
my $run = IPC::Run::start([ 'examples/cells/split', 'run' ], '>', \$out, '2>', \$said, IPC::Run::timeout(2 * $soon));
my $is_done = eval { $run->finish; 1 } && $run->result == 0;
$run->kill_kill if !$is_done;
ok($is_done, 'it comes to its end, though a transaction is prepared') or diag($said);
is(sql($new, 'SELECT cell, feed, slots FROM eventstore.member'), '2|2|{[0,512)}', 'the standby is a cell');
is(sql($new, q{SELECT es_stream_version('a-1')}), 4, 'which has what was not flushed when it began');
is(sql($new, 'SELECT count(*) FROM pg_prepared_xacts'), 0, 'what was prepared is left to the old cell');
is(sql($new, q{SELECT es_append('a-1', 4, 'After', '{}')}), 5, 'the new one is appended to');
is(sql($new, 'SELECT es_head() = max(position) FROM eventstore.events'), 't', 'and read to the end');
sql($old, q{COMMIT PREPARED 'it''s $q'});
is(sql($old, q{SELECT es_stream_version('a-3'), es_head() >= max(position) FROM eventstore.events}), '2|t', 'what was prepared is committed in the old one');
is_sound($_, $_->name) for $old, $new;
done_testing();
