/*-------------------------------------------------------------------------
 *
 * seen.c
 *		What a statement sees of a subscription's shares and retries: the rows that
 *		eventstore.subscription_status is made of.
 *
 * To the statement's snapshot they are rows like any others; but who reads them
 * as such walks over all that is dead and can not be removed yet.  So the newest
 * one of each place that the snapshot sees is looked for, from the end of the
 * index (place.c).  Where it sees that there was one, it sees none that is older.
 *
 * Memory: the function call's context; rows go into the result's tuplestore.
 * Locks: AccessShare on the tables.  Calls: arguments, catalog, place, retry_row,
 * scan, share.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/scan.h"
#include "subscription/retry_row.h"

PG_FUNCTION_INFO_V1(es_find_subscription_shares);
PG_FUNCTION_INFO_V1(es_find_subscription_retries);

/* Entries to pass over one by one before the index is asked anew. */
#define SEEN_STEPS 16

/* A look at the places of a table, one after the other. */
typedef struct SeenLook
{
	const EsPlaceTable *table;
	EsScan scan;
	struct IndexFetchTableData *fetch;
	Snapshot snapshot;
	int place;    /* of the last entry; -1: there was none */
	bool is_done; /* older ones of it need not be looked at */
	int passed;   /* entries since then */
} SeenLook;

/* Whether a snapshot sees that a version was inserted. */
static bool
seen_sees_insertion(const SeenLook *look)
{
	HeapTupleHeader row = ExecFetchSlotHeapTuple(look->scan.slot, false, NULL)->t_data;
	TransactionId xmin = HeapTupleHeaderGetXmin(row);

	if (HeapTupleHeaderXminFrozen(row))
		return true;
	return !TransactionIdIsCurrentTransactionId(xmin) && !XidInMVCCSnapshot(xmin, look->snapshot) &&
		(HeapTupleHeaderXminCommitted(row) || TransactionIdDidCommit(xmin));
}

/* Whether the place of an entry that the snapshot sees no row of had one in its eyes. */
static bool
seen_is_over(const SeenLook *look, ItemPointerData tid)
{
	bool goes_on = false;

	while (table_index_fetch_tuple(look->fetch, &tid, SnapshotAny, look->scan.slot, &goes_on, NULL))
		if (seen_sees_insertion(look))
			return true;
	return false;
}

/* Look at the entry that the scan stands at.  Returns whether there is a row. */
static bool
seen_visit(SeenLook *look)
{
	ItemPointerData tid = look->scan.desc->xs_heaptid;
	ItemPointerData place = tid;
	bool goes_on = false;

	if (table_index_fetch_tuple(look->fetch, &tid, look->snapshot, look->scan.slot, &goes_on, NULL))
	{
		look->is_done = true;
		return true;
	}
	look->is_done = seen_is_over(look, place);
	return false;
}

/* Move to the next row that the snapshot sees.  Returns false at the end. */
static bool
seen_next(SeenLook *look)
{
	IndexScanDesc desc = look->scan.desc;

	while (index_getnext_tid(desc, BackwardScanDirection) != NULL)
	{
		bool is_null;
		int place = DatumGetInt32(index_getattr(desc->xs_itup, 2, desc->xs_itupdesc, &is_null));

		CHECK_FOR_INTERRUPTS();
		if (place != look->place)
			look->is_done = false;
		look->place = place;
		if (!look->is_done)
		{
			look->passed = 0;
			if (seen_visit(look))
				return true;
		}
		else if (++look->passed == SEEN_STEPS)
			es_scan_jump(&look->scan, 1, Int32GetDatum(place - 1));
	}
	return false;
}

/* Return the rows of a subscription that have places, as the statement sees them. */
static void
seen_put_placed(const EsPlaceTable *table, Relation heap, const text *name, ReturnSetInfo *result)
{
	SeenLook look = {.table = table, .snapshot = GetActiveSnapshot(), .place = -1};

	look.fetch = table_index_fetch_begin(heap);
	es_scan_open(&look.scan, heap, table->by_place);
	look.scan.wants_entries = true;
	es_scan_add_key(&look.scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(name));
	es_scan_add_key(&look.scan, 2, BTLessEqualStrategyNumber, F_INT4LE, Int32GetDatum(PG_INT32_MAX));
	es_scan_begin(&look.scan, SnapshotAny);
	while (seen_next(&look))
		tuplestore_puttupleslot(result->setResult, look.scan.slot);
	es_scan_close(&look.scan);
	table_index_fetch_end(look.fetch);
}

/* Return the parked ones that have none. */
static void
seen_put_parked(Relation heap, const text *name, ReturnSetInfo *result)
{
	EsScan scan;

	es_scan_open(&scan, heap, ES_RETRIES_PARKED);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(name));
	es_scan_begin(&scan, GetActiveSnapshot());
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (slot_attisnull(scan.slot, Anum_retries_place))
			tuplestore_puttupleslot(result->setResult, scan.slot);
	}
	es_scan_close(&scan);
}

/*
 * eventstore.find_subscription_shares(subscription text)
 *		-> SETOF eventstore.subscription_shares
 */
Datum
es_find_subscription_shares(PG_FUNCTION_ARGS)
{
	text *name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	Relation heap = es_catalog_open(ES_SHARES, AccessShareLock);

	InitMaterializedSRF(fcinfo, 0);
	seen_put_placed(es_share_table(), heap, name, (ReturnSetInfo *) fcinfo->resultinfo);
	relation_close(heap, NoLock);
	return (Datum) 0;
}

/*
 * eventstore.find_subscription_retries(subscription text)
 *		-> SETOF eventstore.subscription_retries
 */
Datum
es_find_subscription_retries(PG_FUNCTION_ARGS)
{
	text *name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	Relation heap = es_catalog_open(ES_RETRIES, AccessShareLock);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	seen_put_placed(es_retry_row_table(), heap, name, result);
	seen_put_parked(heap, name, result);
	relation_close(heap, NoLock);
	return (Datum) 0;
}
