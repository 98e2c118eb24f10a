/*-------------------------------------------------------------------------
 *
 * retry_row.c
 *		Rows of retries: found, read, written.
 *
 * Rows that a fetch has to know of have places (place.c), so that it finds them
 * at the same cost, whoever keeps dead versions of them from being removed:
 * all but those that are parked and hold no stream, of which there may be very
 * many.  These are found by position, and so are rows after a checkpoint, where
 * few are dead.
 *
 * A row is never written in place: the old one is deleted, and the new one has
 * another revision, if it has a place.
 *
 * Memory: the current context.  Locks: AccessShare or RowExclusive on the table;
 * the caller has the subscription's mutex or changes it as a whole (guard.c).
 * Calls: catalog, lowest, partition, place, recall, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/partition.h"
#include "base/scan.h"
#include "subscription/lowest.h"
#include "subscription/retry_row.h"

static const EsPlaceTable retry_row_table = {ES_RETRIES,          ES_RETRIES_PLACE,
											 ES_RETRIES_REVISION, Anum_retries_subscription,
											 Anum_retries_place,  Anum_retries_revision,
											 Anum_retries_base};

/* The table, as place.c has to know it. */
const EsPlaceTable *
es_retry_row_table(void)
{
	return &retry_row_table;
}

static bool
retry_row_has_place(const EsRetry *retry)
{
	return !retry->is_parked || retry->is_blocking;
}

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

static void
retry_row_read(EsRetry *retry, const Datum *columns, const bool *column_nulls, int partitions)
{
	const Datum *values = columns - 1;
	const bool *nulls = column_nulls - 1;

	retry->position = DatumGetInt64(values[Anum_retries_position]);
	retry->stream = DatumGetTextPCopy(values[Anum_retries_stream]);
	retry->version = DatumGetInt64(values[Anum_retries_version]);
	retry->number = DatumGetInt64(values[Anum_retries_retry]);
	retry->attempts = DatumGetInt32(values[Anum_retries_attempts]);
	retry->due = nulls[Anum_retries_due] ? DT_NOEND : DatumGetTimestampTz(values[Anum_retries_due]);
	retry->is_parked = !nulls[Anum_retries_parked_at];
	retry->is_blocking = DatumGetBool(values[Anum_retries_is_blocking]);
	retry->is_active = !nulls[Anum_retries_due] || retry->is_blocking;
	retry->delivered_to = DatumGetInt64(values[Anum_retries_delivered_to]);
	retry->delivered_attempts = DatumGetInt32(values[Anum_retries_delivered_attempts]);
	retry->hash = es_partition_hash(retry->stream);
	retry->partition = (int) (retry->hash % (uint64) partitions);
}

static void
retry_row_collect(EsRetries *retries, int *space, const EsRetry *retry)
{
	if (retries->count == *space)
	{
		*space = Max(16, *space * 2);
		retries->items = retries->items == NULL
			? palloc(sizeof(EsRetry) * *space)
			: repalloc_huge(retries->items, sizeof(EsRetry) * *space);
	}
	retries->items[retries->count++] = *retry;
}

/*
 * Add rows that have a place, as they are committed, or written by this
 * transaction.  Returns false if another transaction has ended meanwhile, and some
 * may be missing.
 */
static bool
retry_row_add_placed(EsRetries *retries, int *space, const EsSubscription *subscription,
					 Relation rel)
{
	EsPlaces rows = es_recall_rows(&retry_row_table, rel, subscription->name);
	Datum values[Natts_retries];
	bool nulls[Natts_retries];
	int i;

	retries->count = 0;
	for (i = 0; i < rows.count; i++)
	{
		const EsPlaced *placed = &rows.items[i];
		EsRetry retry;

		CHECK_FOR_INTERRUPTS();
		if (es_place_is_stale(&placed->row))
			return false;
		if (TransactionIdIsValid(placed->row.writer))
			continue;
		heap_deform_tuple(placed->tuple, RelationGetDescr(rel), values, nulls);
		retry_row_read(&retry, values, nulls, subscription->partitions);
		retry_row_collect(retries, space, &retry);
	}
	return true;
}

/* Add rows after a position that have none. */
static void
retry_row_add_others(EsRetries *retries, int *space, const EsSubscription *subscription,
					 Relation rel, int64 after)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsScan scan;

	es_scan_open(&scan, rel, ES_RETRIES_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(subscription->name));
	es_scan_add_key(&scan, 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		EsRetry retry;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(scan.slot);
		if (!scan.slot->tts_isnull[Anum_retries_place - 1])
			continue;
		retry_row_read(&retry, scan.slot->tts_values, scan.slot->tts_isnull,
					   subscription->partitions);
		retry_row_collect(retries, space, &retry);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
}

/*
 * The rows of a subscription, in no certain order: all that have a place, and
 * those that have none after a position.
 */
EsRetries
es_retry_row_load(const EsSubscription *subscription, int64 others_after)
{
	Relation rel = es_catalog_open(ES_RETRIES, AccessShareLock);
	EsRetries retries = {0};
	int space = 0;

	while (!retry_row_add_placed(&retries, &space, subscription, rel))
		CHECK_FOR_INTERRUPTS();
	if (others_after < PG_INT64_MAX)
		retry_row_add_others(&retries, &space, subscription, rel, others_after);
	relation_close(rel, NoLock);
	return retries;
}

/* ----------------------------------------------------------------------
 * Finding
 * ----------------------------------------------------------------------
 */

/*
 * Begin to find and write rows; end with es_retry_row_close.
 */
void
es_retry_row_open(EsRetryWriter *writer, const EsSubscription *subscription)
{
	*writer = (EsRetryWriter){.subscription = subscription};
	writer->rel = es_catalog_open(ES_RETRIES, RowExclusiveLock);
	writer->slot = table_slot_create(writer->rel, NULL);
}

void
es_retry_row_close(EsRetryWriter *writer)
{
	if (writer->info != NULL)
	{
		ExecCloseIndices(writer->info);
		FreeExecutorState(writer->estate);
	}
	ExecDropSingleTupleTableSlot(writer->slot);
	bms_free(writer->taken);
	relation_close(writer->rel, NoLock);
}

/* Take over the row in the writer's slot. */
static void
retry_row_take(EsRetryWriter *writer, EsRetryRow *row)
{
	TupleTableSlot *slot = writer->slot;
	Datum *values = slot->tts_values - 1;
	bool *nulls = slot->tts_isnull - 1;
	HeapTupleHeader header = ExecFetchSlotHeapTuple(slot, false, NULL)->t_data;

	slot_getallattrs(slot);
	retry_row_read(&row->retry, slot->tts_values, slot->tts_isnull,
				   writer->subscription->partitions);
	row->is_replayed = DatumGetBool(values[Anum_retries_is_replayed]);
	row->parked_at = DatumGetTimestampTz(values[Anum_retries_parked_at]);
	row->reason = nulls[Anum_retries_reason] ? NULL
											 : DatumGetTextPCopy(values[Anum_retries_reason]);
	row->tid = slot->tts_tid;
	row->place = nulls[Anum_retries_place] ? -1 : DatumGetInt32(values[Anum_retries_place]);
	row->base = DatumGetInt64(
		values[TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header))
				   ? Anum_retries_base
				   : Anum_retries_revision]);
}

/*
 * Find the row of a position, as it is at the moment.  Returns whether there is
 * one.
 */
bool
es_retry_row_find(EsRetryWriter *writer, int64 position, EsRetryRow *row)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsScan scan;
	bool is_found;

	es_scan_open_into(&scan, writer->rel, ES_RETRIES_PKEY, writer->slot);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ,
					PointerGetDatum(writer->subscription->name));
	es_scan_add_key(&scan, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(position));
	es_scan_begin(&scan, snapshot);
	/* The newest one is the last, as a rule. */
	is_found = es_scan_next(&scan, BackwardScanDirection);
	if (is_found)
		retry_row_take(writer, row);
	es_scan_close(&scan);
	ExecClearTuple(writer->slot);
	UnregisterSnapshot(snapshot);
	return is_found;
}

/* Scan the parked rows of some positions, under a dirty snapshot. */
static void
retry_row_scan_parked(EsScan *scan, Relation rel, TupleTableSlot *slot, const text *name,
					  int64 first, int64 last, Snapshot dirty)
{
	es_scan_open_into(scan, rel, ES_RETRIES_PARKED, slot);
	es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(name));
	es_scan_add_key(scan, 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(first));
	es_scan_add_key(scan, 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(last));
	es_scan_begin(scan, dirty);
}

/*
 * Positions of parked rows between two positions that no open transaction has
 * written, the lowest ones first: a list of int64 *.
 */
List *
es_retry_row_list_parked(EsRetryWriter *writer, int64 max_count, int64 first, int64 last)
{
	const text *name = writer->subscription->name;
	bool is_of_all = first <= 0 && last == PG_INT64_MAX && max_count > 0;
	int64 lowest = PG_INT64_MAX;
	List *positions = NIL;
	SnapshotData dirty;
	int64 number;
	EsScan scan;

	if (is_of_all)
		first = es_lowest_find(writer->rel, name, &number);
	InitDirtySnapshot(dirty);
	retry_row_scan_parked(&scan, writer->rel, writer->slot, name, first, last, &dirty);
	while (list_length(positions) < max_count && es_scan_next(&scan, ForwardScanDirection))
	{
		int64 *position;
		bool is_null;

		CHECK_FOR_INTERRUPTS();
		position = palloc(sizeof(int64));
		*position = DatumGetInt64(slot_getattr(scan.slot, Anum_retries_position, &is_null));
		lowest = Min(lowest, *position);
		if (!TransactionIdIsValid(dirty.xmin) && !TransactionIdIsValid(dirty.xmax))
			positions = lappend(positions, position);
	}
	es_scan_close(&scan);
	ExecClearTuple(writer->slot);
	if (is_of_all)
		es_lowest_note(writer->rel, name, lowest, number);
	return positions;
}

/*
 * An open transaction of somebody else that has changed parked rows of the
 * partitions of some shares: a replay, as nobody else may.
 */
TransactionId
es_retry_row_find_replay(const EsSubscription *subscription, const EsShares *shares)
{
	Relation rel = es_catalog_open(ES_RETRIES, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TransactionId found = InvalidTransactionId;
	SnapshotData dirty;
	EsScan scan;

	InitDirtySnapshot(dirty);
	retry_row_scan_parked(&scan, rel, slot, subscription->name, 0, PG_INT64_MAX, &dirty);
	while (!TransactionIdIsValid(found) && es_scan_next(&scan, ForwardScanDirection))
	{
		TransactionId writer = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		EsRetry retry;

		CHECK_FOR_INTERRUPTS();
		if (!TransactionIdIsValid(writer))
			continue;
		slot_getallattrs(slot);
		retry_row_read(&retry, slot->tts_values, slot->tts_isnull, subscription->partitions);
		if (es_share_of_partition(shares, retry.partition) != NULL)
			found = writer;
	}
	es_scan_close(&scan);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(rel, NoLock);
	return found;
}

/* ----------------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------------
 */

static int
retry_row_take_place(EsRetryWriter *writer)
{
	if (!writer->knows_places)
		writer->taken = es_recall_taken(&retry_row_table, writer->rel, writer->subscription->name);
	writer->knows_places = true;
	writer->free_place = es_recall_free_place(writer->taken, writer->free_place);
	return writer->free_place++;
}

static void
retry_row_fill(EsRetryWriter *writer, const EsRetryRow *row)
{
	const EsRetry *retry = &row->retry;
	Datum *values = writer->slot->tts_values - 1;
	bool *nulls = writer->slot->tts_isnull - 1;

	ExecClearTuple(writer->slot);
	memset(writer->slot->tts_isnull, 0, sizeof(bool) * Natts_retries);
	values[Anum_retries_subscription] = PointerGetDatum(writer->subscription->name);
	values[Anum_retries_position] = Int64GetDatum(retry->position);
	values[Anum_retries_stream] = PointerGetDatum(retry->stream);
	values[Anum_retries_version] = Int64GetDatum(retry->version);
	values[Anum_retries_retry] = Int64GetDatum(retry->number);
	values[Anum_retries_attempts] = Int32GetDatum(retry->attempts);
	values[Anum_retries_due] = TimestampTzGetDatum(retry->due);
	nulls[Anum_retries_due] = retry->due == DT_NOEND;
	values[Anum_retries_parked_at] = TimestampTzGetDatum(row->parked_at);
	nulls[Anum_retries_parked_at] = !retry->is_parked;
	values[Anum_retries_is_blocking] = BoolGetDatum(retry->is_blocking);
	values[Anum_retries_is_replayed] = BoolGetDatum(row->is_replayed);
	values[Anum_retries_delivered_to] = Int64GetDatum(retry->delivered_to);
	values[Anum_retries_delivered_attempts] = Int32GetDatum(retry->delivered_attempts);
	values[Anum_retries_reason] = PointerGetDatum(row->reason);
	nulls[Anum_retries_reason] = row->reason == NULL;
	values[Anum_retries_place] = values[Anum_retries_revision] = values[Anum_retries_base] = 0;
	nulls[Anum_retries_place] = nulls[Anum_retries_revision] = nulls[Anum_retries_base] = true;
	if (retry_row_has_place(retry))
	{
		bool keeps_place = row->place >= 0;

		nulls[Anum_retries_place] = nulls[Anum_retries_revision] = nulls[Anum_retries_base] = false;
		values[Anum_retries_place] = Int32GetDatum(keeps_place ? row->place
															   : retry_row_take_place(writer));
		values[Anum_retries_base] = Int64GetDatum(keeps_place ? row->base : 0);
		values[Anum_retries_revision] = Int64GetDatum(
			es_recall_next_revision(&retry_row_table, writer->subscription->name));
	}
	ExecStoreVirtualTuple(writer->slot);
}

/* The executor's view of the table, to insert into its indexes with. */
static void
retry_row_open_indexes(EsRetryWriter *writer)
{
	MemoryContext caller;

	if (writer->info != NULL)
		return;
	writer->estate = CreateExecutorState();
	caller = MemoryContextSwitchTo(writer->estate->es_query_cxt);
	writer->info = makeNode(ResultRelInfo);
	InitResultRelInfo(writer->info, writer->rel, 0, NULL, 0);
	ExecOpenIndices(writer->info, false);
	MemoryContextSwitchTo(caller);
}

static void
retry_row_insert(EsRetryWriter *writer, const EsRetryRow *row)
{
	retry_row_fill(writer, row);
	retry_row_open_indexes(writer);
	table_tuple_insert(writer->rel, writer->slot, GetCurrentCommandId(true), 0, NULL);
	(void) es_compat_add_entries(writer->info, writer->slot, writer->estate);
	ResetPerTupleExprContext(writer->estate);
	ExecClearTuple(writer->slot);
	CommandCounterIncrement();
}

/* Insert a row for an event that has none; it may take over a place with its base. */
void
es_retry_row_add(EsRetryWriter *writer, const EsRetryRow *row)
{
	retry_row_insert(writer, row);
}

/* Write a row that was found. */
void
es_retry_row_replace(EsRetryWriter *writer, const EsRetryRow *row)
{
	ItemPointerData tid = row->tid;

	CatalogTupleDelete(writer->rel, &tid);
	retry_row_insert(writer, row);
}

void
es_retry_row_remove(EsRetryWriter *writer, const EsRetryRow *row)
{
	ItemPointerData tid = row->tid;

	CatalogTupleDelete(writer->rel, &tid);
	CommandCounterIncrement();
}
