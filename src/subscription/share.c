/*-------------------------------------------------------------------------
 *
 * share.c
 *		Shares: a consumer's part of a subscription.  Each is a row with some
 *		partitions, the checkpoint at which all of them stand, and the consumer
 *		that works on them, if any.
 *
 * A partition belongs to the share of the highest number that has it, of all
 * that are there, committed or not.  So whoever takes partitions inserts a new
 * share, and writes to no row that somebody else may have locked: a consumer
 * that has stalled inside its transaction can be passed.  If the taker rolls
 * back, the share below counts again, and nothing has changed.
 *
 * All reading and writing of shares happens under the subscription's mutex
 * (guard.c), and reads what is there at the moment, open transactions
 * included, at every isolation level.  So no row moves while it is read.  They
 * have places (place.c), as each delivery writes one.
 *
 * Three rules keep this right:
 *
 * - Nobody takes partitions from a share while an ack in it is open (guard.c,
 *	 "settles"), or in another that it was made of by the same transaction.
 * - What is taken is taken from the newest committed state.  A fetch that is
 *	 open and has not acked may be ahead of that in nothing that matters: its
 *	 checkpoint has moved over events that are not of this subscription.
 * - A share is written in place only while all of its partitions are still its
 *	 own; otherwise its consumer makes a new one, and leaves the old one for
 *	 those who roll back to.
 *
 * Memory: the current context.  Locks: RowExclusive on the table; the caller
 * holds the mutex.  Calls: catalog, pairs, place, position,
 * recall, subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "commands/sequence.h"
#include "common/pg_prng.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/partition.h"
#include "base/scan.h"
#include "order/position.h"
#include "subscription/share.h"

/* Of a token, the bits behind the number. */
#define SHARE_RANDOM_BITS 16

static const EsPlaceTable share_table = {ES_SHARES,          ES_SHARES_PKEY,
										 ES_SHARES_REVISION, Anum_shares_subscription,
										 Anum_shares_place,  Anum_shares_revision,
										 Anum_shares_base};

/* The table, as place.c has to know it. */
const EsPlaceTable *
es_share_table(void)
{
	return &share_table;
}

/* The next number of a share, a retry or a division. */
int64
es_share_next_number(void)
{
	return nextval_internal(es_catalog_oid(ES_TOKENS), false);
}

/*
 * A new token, higher than all before.
 *
 * What a sequence has given out, and nobody has committed, it may give out
 * again after a crash, as it may on a standby that takes over or in a restored
 * dump.  So the number alone would let in a consumer that has come from before
 * that: behind it are random bits.
 */
int64
es_share_make_token(void)
{
	uint32 bits = pg_prng_uint32(&pg_global_prng_state) >> (32 - SHARE_RANDOM_BITS);

	return (es_share_next_number() << SHARE_RANDOM_BITS) | bits;
}

/* ----------------------------------------------------------------------
 * How far it is
 * ----------------------------------------------------------------------
 */

/* How many times events at a position beyond the checkpoint were delivered. */
int
es_share_attempts_at(const EsShare *share, int64 position)
{
	int i;

	for (i = 0; i < share->attempts.count; i++)
		if (position <= share->attempts.items[i].key)
			return (int) share->attempts.items[i].count;
	return 0;
}

static void
share_add_attempts(EsPairs *pairs, int64 key, int64 count)
{
	if (pairs->count > 0 && pairs->items[pairs->count - 1].count == count)
		pairs->items[pairs->count - 1].key = key;
	else
		pairs->items[pairs->count++] = (EsPair){key, count};
}

/* Events beyond the checkpoint, up to a position, are delivered once more. */
void
es_share_count_attempt(EsShare *share, int64 position)
{
	EsPairs counted = {0, palloc(sizeof(EsPair) * (share->attempts.count + 2))};
	int64 up_to = share->checkpoint;
	int i;

	if (position <= share->checkpoint)
		return;
	for (i = 0; i < share->attempts.count; i++)
	{
		EsPair step = share->attempts.items[i];

		if (up_to < position)
			share_add_attempts(&counted, Min(step.key, position), step.count + 1);
		if (step.key > position)
			share_add_attempts(&counted, step.key, step.count);
		up_to = step.key;
	}
	if (up_to < position)
		share_add_attempts(&counted, position, 1);
	share->attempts = counted;
}

/*
 * Up to where events of a stream that is held are not in the run any more: the
 * deliveries have passed them, or counted them as if delivered.
 */
int64
es_share_passed(const EsShare *share)
{
	int64 passed = Max(share->checkpoint, share->scanned);

	if (share->attempts.count > 0)
		passed = Max(passed, share->attempts.items[share->attempts.count - 1].key);
	return passed;
}

/* Move the checkpoint on; it never goes back. */
void
es_share_advance(EsShare *share, int64 checkpoint)
{
	EsPairs *attempts = &share->attempts;

	share->checkpoint = Max(share->checkpoint, checkpoint);
	while (attempts->count > 0 && attempts->items[0].key <= share->checkpoint)
	{
		attempts->items++;
		attempts->count--;
	}
}

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

static int64
share_division(const EsPlaced *placed, TupleDesc desc)
{
	bool is_null;

	return DatumGetInt64(heap_getattr(placed->tuple, Anum_shares_division, desc, &is_null));
}

static void
share_read_row(EsShare *share, const EsPlaced *placed, TupleDesc desc,
			   const EsSubscription *subscription)
{
	int set_bytes = es_partition_set_bytes(subscription->partitions);
	Datum values[Natts_shares + 1];
	bool nulls[Natts_shares + 1];
	bytea *set;

	heap_deform_tuple(placed->tuple, desc, values + 1, nulls + 1);
	share->number = DatumGetInt64(values[Anum_shares_share]);
	share->consumer = nulls[Anum_shares_consumer] ? NULL
												  : DatumGetTextPCopy(values[Anum_shares_consumer]);
	set = DatumGetByteaPP(values[Anum_shares_partitions]);
	share->partitions = palloc0(set_bytes);
	memcpy(share->partitions, VARDATA_ANY(set), Min(set_bytes, VARSIZE_ANY_EXHDR(set)));
	share->checkpoint = DatumGetInt64(values[Anum_shares_checkpoint]);
	share->attempts = es_pairs_read(values[Anum_shares_attempts]);
	share->retried = es_pairs_read(values[Anum_shares_retried]);
	share->token = DatumGetInt64(values[Anum_shares_token]);
	share->delivered = DatumGetInt64(values[Anum_shares_delivered]);
	share->acked = DatumGetInt64(values[Anum_shares_acked]);
	share->scanned = DatumGetInt64(values[Anum_shares_scanned]);
	share->lease_end = DatumGetTimestampTz(values[Anum_shares_lease_end]);
	share->row = placed->row;
	share->before = NULL;
}

/* By number; of two versions of one share, the one of an open transaction is the newer one. */
static int
share_compare(const void *a, const void *b)
{
	const EsShare *left = a;
	const EsShare *right = b;

	if (left->number != right->number)
		return left->number < right->number ? -1 : 1;
	return (int) TransactionIdIsValid(left->row.writer) -
		(int) TransactionIdIsValid(right->row.writer);
}

/* In ascending order of numbers, the older version of a share behind the newer one. */
static void
share_arrange(EsShares *shares)
{
	int count = 0;
	int i;

	qsort(shares->items, shares->count, sizeof(EsShare), share_compare);
	for (i = 0; i < shares->count; i++)
	{
		EsShare share = shares->items[i];

		if (count > 0 && shares->items[count - 1].number == share.number)
		{
			EsShare *before = palloc(sizeof(EsShare));

			*before = shares->items[--count];
			share.before = TransactionIdIsValid(share.row.writer) ? before : NULL;
		}
		shares->items[count++] = share;
	}
	shares->count = count;
}

static EsShares
share_read(const EsSubscription *subscription, Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);
	EsPlaces rows = es_recall_rows(&share_table, rel, subscription->name);
	EsShares shares = {.items = palloc(sizeof(EsShare) * (rows.count + 1))};
	int i;

	for (i = 0; i < rows.count; i++)
	{
		int64 division = share_division(&rows.items[i], desc);

		shares.has_older |= division < subscription->division;
		if (division == subscription->division)
			share_read_row(&shares.items[shares.count++], &rows.items[i], desc, subscription);
	}
	return shares;
}

static bool
share_is_any_stale(const EsShares *shares)
{
	int i;

	for (i = 0; i < shares->count; i++)
		if (es_share_is_stale(&shares->items[i]))
			return true;
	return false;
}

/*
 * The shares of a subscription's present division.  Call it with the mutex.
 */
EsShares
es_share_load(const EsSubscription *subscription)
{
	Relation rel = es_catalog_open(ES_SHARES, RowExclusiveLock);
	EsShares shares;

	do
	{
		CHECK_FOR_INTERRUPTS();
		shares = share_read(subscription, rel);
	} while (share_is_any_stale(&shares));
	share_arrange(&shares);
	relation_close(rel, NoLock);
	return shares;
}

/* The share that has a partition; NULL if none of some has. */
const EsShare *
es_share_of_partition(const EsShares *shares, int partition)
{
	int i;

	for (i = 0; i < shares->count; i++)
		if (es_partition_set_has(shares->items[i].partitions, partition))
			return &shares->items[i];
	return NULL;
}

/* ----------------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------------
 */

static HeapTuple
share_make_row(Relation rel, const EsSubscription *subscription, const EsShare *share)
{
	int set_bytes = es_partition_set_bytes(subscription->partitions);
	bytea *set = palloc(VARHDRSZ + set_bytes);
	bool nulls[Natts_shares] = {false};
	Datum values[Natts_shares + 1];

	SET_VARSIZE(set, VARHDRSZ + set_bytes);
	memcpy(VARDATA(set), share->partitions, set_bytes);
	values[Anum_shares_subscription] = PointerGetDatum(subscription->name);
	values[Anum_shares_place] = Int32GetDatum(share->row.place);
	values[Anum_shares_revision] = Int64GetDatum(share->row.revision);
	values[Anum_shares_base] = Int64GetDatum(share->row.base);
	values[Anum_shares_share] = Int64GetDatum(share->number);
	values[Anum_shares_division] = Int64GetDatum(subscription->division);
	values[Anum_shares_consumer] = PointerGetDatum(share->consumer);
	nulls[Anum_shares_consumer - 1] = share->consumer == NULL;
	values[Anum_shares_partitions] = PointerGetDatum(set);
	values[Anum_shares_checkpoint] = Int64GetDatum(share->checkpoint);
	values[Anum_shares_attempts] = es_pairs_write(share->attempts);
	values[Anum_shares_retried] = es_pairs_write(share->retried);
	values[Anum_shares_token] = Int64GetDatum(share->token);
	values[Anum_shares_delivered] = Int64GetDatum(share->delivered);
	values[Anum_shares_acked] = Int64GetDatum(share->acked);
	values[Anum_shares_scanned] = Int64GetDatum(share->scanned);
	values[Anum_shares_lease_end] = TimestampTzGetDatum(share->lease_end);
	return heap_form_tuple(RelationGetDescr(rel), values + 1, nulls);
}

/* The highest number of a subscription's shares; 0: it has none. */
static int64
share_last_number(const EsSubscription *subscription, Relation rel)
{
	EsPlaces rows = es_recall_rows(&share_table, rel, subscription->name);
	int64 last = 0;
	bool is_null;
	int i;

	for (i = 0; i < rows.count; i++)
		last = Max(last,
				   DatumGetInt64(heap_getattr(rows.items[i].tuple, Anum_shares_share,
											  RelationGetDescr(rel), &is_null)));
	return last;
}

/* The highest value of a column. */
static int64
share_highest(EsRelation table, EsRelation index, AttrNumber column)
{
	Relation rel = es_catalog_open(table, AccessShareLock);
	SnapshotData dirty;
	int64 highest = 0;
	EsScan scan;

	InitDirtySnapshot(dirty);
	es_scan_open(&scan, rel, index);
	es_scan_begin(&scan, &dirty);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		bool is_null;
		int64 value = DatumGetInt64(slot_getattr(scan.slot, column, &is_null));

		highest = Max(highest, value);
	}
	es_scan_close(&scan);
	relation_close(rel, NoLock);
	return highest;
}

/* The highest number that is in use, of shares, tokens, retries and divisions. */
int64
es_share_highest_number(void)
{
	int64 numbers[] = {share_highest(ES_SHARES, ES_SHARES_PKEY, Anum_shares_share),
					   share_highest(ES_SHARES, ES_SHARES_PKEY, Anum_shares_token) >>
						   SHARE_RANDOM_BITS,
					   share_highest(ES_RETRIES, ES_RETRIES_PKEY, Anum_retries_retry),
					   share_highest(ES_SUBSCRIPTIONS, ES_SUBSCRIPTIONS_PKEY,
									 Anum_subscriptions_division)};
	int64 highest = 0;
	int i;

	for (i = 0; i < lengthof(numbers); i++)
		highest = Max(highest, numbers[i]);
	return highest;
}

/*
 * The number of a new share, above those of all others.  A sequence that was
 * left behind when the shares came from elsewhere goes on above them: else
 * theirs would count before the new one, for ever and in silence.
 */
static int64
share_make_number(const EsSubscription *subscription, Relation rel)
{
	int64 number = es_share_next_number();

	if (number > share_last_number(subscription, rel))
		return number;
	(void) es_position_raise(ES_TOKENS, es_share_highest_number(), 0);
	return es_share_next_number();
}

/* Insert a share; it receives its number, above all others. */
void
es_share_insert(const EsSubscription *subscription, EsShare *share)
{
	Relation rel = es_catalog_open(ES_SHARES, RowExclusiveLock);

	share->number = share_make_number(subscription, rel);
	share->row.place = es_recall_free_place(es_recall_taken(&share_table, rel, subscription->name),
											0);
	share->row.revision = es_recall_next_revision(&share_table, subscription->name);
	share->row.base = 0;
	CatalogTupleInsert(rel, share_make_row(rel, subscription, share));
	relation_close(rel, NoLock);
	CommandCounterIncrement();
}

/* Its next version goes to another page. */
static void
share_move(Relation rel, const EsSubscription *subscription, EsShare *share)
{
	HeapTuple row;

	CommandCounterIncrement();
	share->row.revision = es_recall_next_revision(&share_table, subscription->name);
	row = share_make_row(rel, subscription, share);
	CatalogTupleDelete(rel, &share->row.tid);
	CatalogTupleInsert(rel, row);
	share->row.tid = row->t_self;
}

/*
 * Write a share in place; no other transaction has it open.
 *
 * Every version that is not HOT has a revision of its own: recall.c looks for
 * entries of the index by that.
 */
void
es_share_update(const EsSubscription *subscription, EsShare *share)
{
	Relation rel = es_catalog_open(ES_SHARES, RowExclusiveLock);
	HeapTuple row = share_make_row(rel, subscription, share);

	if (!es_place_has_room(rel, &share->row, row->t_len) ||
		es_place_find_lower(rel, &share->row, row->t_len))
		share_move(rel, subscription, share);
	else
	{
		CatalogTupleUpdate(rel, &share->row.tid, row);
		share->row.tid = row->t_self;
		/* Somebody may have taken the room meanwhile. */
		if (!HeapTupleIsHeapOnly(row))
			share_move(rel, subscription, share);
	}
	relation_close(rel, NoLock);
	CommandCounterIncrement();
}

/* The same for deleting it. */
void
es_share_delete(const EsShare *share)
{
	Relation rel = es_catalog_open(ES_SHARES, RowExclusiveLock);
	ItemPointerData tid = share->row.tid;

	CatalogTupleDelete(rel, &tid);
	relation_close(rel, NoLock);
	CommandCounterIncrement();
}

/*
 * Delete the shares of divisions that do not count, or are not to, from one to
 * another.  Those that are open stay; if they are committed, they do not count
 * either.
 */
void
es_share_forget(const EsSubscription *subscription, int64 first, int64 last)
{
	Relation rel = es_catalog_open(ES_SHARES, RowExclusiveLock);
	EsPlaces rows = es_recall_rows(&share_table, rel, subscription->name);
	int i;

	for (i = 0; i < rows.count; i++)
	{
		EsPlaceRow *row = &rows.items[i].row;
		int64 division = share_division(&rows.items[i], RelationGetDescr(rel));

		if (division >= first && division <= last && !TransactionIdIsValid(row->writer) &&
			!TransactionIdIsValid(row->remover))
			CatalogTupleDelete(rel, &row->tid);
	}
	relation_close(rel, NoLock);
	CommandCounterIncrement();
}
