/*-------------------------------------------------------------------------
 *
 * past.c
 *		The head as it was when a snapshot was taken.
 *
 * A snapshot that is older than the head does not see events which were in
 * flight when it was taken.  For its transaction the head is below the lowest
 * of those.
 *
 * They are found by a scan of the position index, whatever the visibility of
 * rows.  Pages that the visibility map knows to be visible to everybody are
 * passed over: while the snapshot lives, a page with a row that it does not
 * see can not become so.  An event that was redacted since has a newer row, but
 * an older one that the snapshot sees.  The scan starts from a head that is known to be
 * older than the snapshot: one that the snapshot sees announced, or one of an
 * earlier transaction of this session.  The latter is remembered with what was
 * in progress then, as a snapshot can be imported, and then be older.
 *
 * Memory: static variables, and what was in progress in TopMemoryContext.
 * Locks: AccessShare on the relations.  Calls: catalog, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/scan.h"
#include "order/past.h"

/* A head, and a snapshot that sees every event up to it. */
typedef struct PastKnown
{
	Oid store; /* whose head, by its sequence's OID; InvalidOid: none */
	int64 head;
	TransactionId xmax;  /* of the snapshot */
	TransactionId *xids; /* in progress for it; sorted on first use */
	uint32 count;
	uint32 size; /* of the array */
	bool is_sorted;
} PastKnown;

static PastKnown past_known = {0};

/* The result for the current transaction: its snapshot stays. */
static int64 past_head = 0;
static LocalTransactionId past_lxid = InvalidLocalTransactionId;

/*
 * Remember a head, for later transactions to start from.
 *
 * snapshot: sees every event up to head.
 */
void
es_past_remember(Snapshot snapshot, int64 head)
{
	uint32 count = snapshot->xcnt + (uint32) snapshot->subxcnt;

	past_known.store = InvalidOid;
	if (snapshot->suboverflowed)
		return;
	if (count > past_known.size)
	{
		if (past_known.xids != NULL)
			pfree(past_known.xids);
		past_known.xids = NULL;
		past_known.size = 0;
		past_known.xids = MemoryContextAlloc(TopMemoryContext, count * sizeof(TransactionId));
		past_known.size = count;
	}
	if (snapshot->xcnt > 0)
		memcpy(past_known.xids, snapshot->xip, snapshot->xcnt * sizeof(TransactionId));
	if (snapshot->subxcnt > 0)
		memcpy(past_known.xids + snapshot->xcnt, snapshot->subxip,
			   snapshot->subxcnt * sizeof(TransactionId));
	past_known.count = count;
	past_known.is_sorted = false;
	past_known.xmax = snapshot->xmax;
	past_known.head = head;
	past_known.store = es_catalog_oid(ES_POSITIONS);
}

static int
past_compare(const void *a, const void *b)
{
	TransactionId left = *(const TransactionId *) a;
	TransactionId right = *(const TransactionId *) b;

	return (left > right) - (left < right);
}

/* Whether all of xids was in progress, or not begun, when the head was. */
static bool
past_knows(const TransactionId *xids, uint32 count)
{
	uint32 i;

	for (i = 0; i < count; i++)
		if (TransactionIdPrecedes(xids[i], past_known.xmax) &&
			bsearch(&xids[i], past_known.xids, past_known.count, sizeof(TransactionId),
					past_compare) == NULL)
			return false;
	return true;
}

/* Whether a snapshot sees every event up to the head that is remembered. */
static bool
past_is_known_to(Snapshot snapshot)
{
	if (past_known.store != es_catalog_oid(ES_POSITIONS) || snapshot->suboverflowed ||
		TransactionIdPrecedes(snapshot->xmax, past_known.xmax))
		return false;
	if (!past_known.is_sorted && past_known.count > 0)
		qsort(past_known.xids, past_known.count, sizeof(TransactionId), past_compare);
	past_known.is_sorted = true;
	return past_knows(snapshot->xip, snapshot->xcnt) &&
		past_knows(snapshot->subxip, snapshot->subxcnt);
}

/*
 * Whether the row in a slot was stored by a transaction that a snapshot takes
 * for in progress, and that has not been rolled back.
 */
static bool
past_was_in_flight(TupleTableSlot *slot, Snapshot snapshot)
{
	bool should_free;
	HeapTuple row = ExecFetchSlotHeapTuple(slot, false, &should_free);
	TransactionId xmin = HeapTupleHeaderGetXmin(row->t_data);
	bool result;

	result = TransactionIdIsNormal(xmin) && XidInMVCCSnapshot(xmin, snapshot) &&
		(TransactionIdIsInProgress(xmin) || TransactionIdDidCommit(xmin));
	if (should_free)
		heap_freetuple(row);
	return result;
}

/* Whether a snapshot sees an event at a position. */
static bool
past_is_seen(Relation events, int64 position, Snapshot snapshot)
{
	EsScan scan;
	bool result;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(position));
	es_scan_begin(&scan, snapshot);
	result = es_scan_next(&scan, ForwardScanDirection);
	es_scan_close(&scan);
	return result;
}

/* The lowest position of such a row in a range; head + 1 if there is none. */
static int64
past_find_in_flight(Snapshot snapshot, int64 after, int64 head)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Buffer map = InvalidBuffer;
	int64 position = head + 1;
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_scan_add_key(&scan, 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(head));
	es_scan_begin(&scan, SnapshotAny);
	while (es_scan_next_unsettled(&scan, &map))
	{
		bool is_null;
		int64 found;

		if (!past_was_in_flight(scan.slot, snapshot))
			continue;
		found = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));
		if (past_is_seen(events, found, snapshot))
			continue;
		position = found;
		break;
	}
	es_scan_close(&scan);
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	relation_close(events, NoLock);
	return position;
}

/*
 * The head for the snapshot of a REPEATABLE READ or SERIALIZABLE transaction.
 *
 * known: a head up to which the snapshot sees every event; 0 if none is known.
 * now: the head of this moment.
 */
int64
es_past_head(Snapshot snapshot, int64 known, int64 now)
{
	if (past_lxid == es_compat_proc_lxid(MyProc))
		return past_head;

	if (past_is_known_to(snapshot))
		known = Max(known, past_known.head);
	past_head = past_find_in_flight(snapshot, known, now) - 1;
	past_lxid = es_compat_proc_lxid(MyProc);
	es_past_remember(snapshot, past_head);
	return past_head;
}
