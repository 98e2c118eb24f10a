/*-------------------------------------------------------------------------
 *
 * lowest.c
 *		The lowest parked event, as a session remembers it.
 *
 * A replay takes parked events from the lowest position on.  While somebody holds
 * a snapshot, the rows of all that were parked once stay in table and index, and
 * lie before those that are: each replay would walk over them.  So a session
 * remembers the lowest position that it has found, and the last number that had
 * been given out by then.  Whatever is parked later has a higher number, and these
 * are looked at by an index of numbers: what is dead there is walked over once.
 *
 * What is remembered counts rows that others have not committed yet as being
 * there, and nothing is remembered once the transaction has written: what it does
 * may be rolled back.
 *
 * Memory: what is remembered of LOWEST_MAX subscriptions, in TopMemoryContext.
 * Locks: the caller has the mutex, and a lock on the table; AccessShare on the
 * index and the sequence.  Calls: catalog, names, partition, position, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/names.h"
#include "base/partition.h"
#include "base/scan.h"
#include "order/position.h"
#include "subscription/lowest.h"

/* Subscriptions to remember; of two of the same place the last. */
#define LOWEST_MAX 64

typedef struct Lowest
{
	Oid retries;        /* the table: another one where the extension was made anew */
	text *subscription; /* NULL: nothing is remembered */
	int64 position;
	int64 number;
} Lowest;

static Lowest lowest_known[LOWEST_MAX];

static Lowest *
lowest_place(const text *subscription)
{
	return &lowest_known[es_partition_hash(subscription) % LOWEST_MAX];
}

/* The lowest position of what is parked under a number above another one, or this. */
static int64
lowest_of_newer(Relation retries, const text *subscription, int64 number, int64 lowest)
{
	SnapshotData dirty;
	EsScan scan;

	InitDirtySnapshot(dirty);
	es_scan_open(&scan, retries, ES_RETRIES_NUMBER);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(subscription));
	es_scan_add_key(&scan, 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(number));
	es_scan_begin(&scan, &dirty);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		bool is_null;

		CHECK_FOR_INTERRUPTS();
		lowest = Min(lowest,
					 DatumGetInt64(slot_getattr(scan.slot, Anum_retries_position, &is_null)));
	}
	es_scan_close(&scan);
	return lowest;
}

/*
 * From which position on there may be parked events of a subscription.
 *
 * number: receives what es_lowest_note wants.
 */
int64
es_lowest_find(Relation retries, const text *subscription, int64 *number)
{
	const Lowest *known = lowest_place(subscription);

	*number = es_position_last_number(ES_TOKENS);
	if (known->subscription == NULL || known->retries != RelationGetRelid(retries) ||
		known->number > *number || !es_names_equal(known->subscription, subscription))
		return 0;
	return lowest_of_newer(retries, subscription, known->number, known->position);
}

/*
 * There are none before a position.
 *
 * position: PG_INT64_MAX: there are none at all.  number: from es_lowest_find, which
 * was called before it was looked.
 */
void
es_lowest_note(Relation retries, const text *subscription, int64 position, int64 number)
{
	Lowest *known = lowest_place(subscription);
	Size size = VARSIZE_ANY(subscription);

	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	if (known->subscription == NULL || !es_names_equal(known->subscription, subscription))
	{
		text *copy = MemoryContextAlloc(TopMemoryContext, size);

		memcpy(copy, subscription, size);
		if (known->subscription != NULL)
			pfree(known->subscription);
		known->subscription = copy;
	}
	known->retries = RelationGetRelid(retries);
	known->position = position;
	known->number = number;
}
