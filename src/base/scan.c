/*-------------------------------------------------------------------------
 *
 * scan.c
 *		Scans of one index of the store, without planner and executor.
 *
 * A direct scan cannot be planned wrong on a table without statistics, and
 * costs a third of a prepared SELECT to start.  It takes part in serializable
 * snapshot isolation like any index scan, as it runs under an MVCC snapshot.
 *
 * Where eventstore.events is made of ranges of positions, a scan goes through
 * them (scan_ranges.c).  Where policies of a DBA's count, it becomes a SELECT
 * (select.c).
 *
 * Memory: the scan's own things in the current context.  Locks: AccessShare
 * on the index until the end of the transaction; the caller holds the one on the
 * table.  Calls: catalog, ranges, scan_ranges, scan_remote, select.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "base/scan_ranges.h"
#include "base/scan_remote.h"

static void
scan_set_up(EsScan *scan, Relation heap, Relation index, TupleTableSlot *slot)
{
	scan->table = heap;
	scan->heap = heap;
	scan->index = index;
	scan->slot = slot;
	scan->own_slot = NULL;
	scan->key_count = 0;
	scan->wants_entries = false;
	scan->is_limited = false;
	scan->has_policies = false;
	scan->filter = NULL;
	scan->select = NULL;
	scan->is_remote = false;
	scan->is_local = false;
	scan->tags = NULL;
	scan->desc = NULL;
	scan->parent = NULL;
}

/* Of eventstore.events where it is made of ranges: none of them is opened yet. */
static void
scan_set_up_ranges(EsScan *scan, Relation events, EsRelation which, TupleTableSlot *slot)
{
	scan_set_up(scan, NULL, NULL, slot);
	scan->table = events;
	scan->parent = events;
	scan->which = which;
	scan->within_low = PG_INT64_MIN;
	scan->within_high = PG_INT64_MAX;
}

/* Of one of the ranges, by itself. */
static void
scan_set_up_range(EsScan *scan, Relation range, EsRelation which, TupleTableSlot *slot)
{
	scan_set_up(scan, range, NULL, slot);
	scan->which = which;
	scan->is_remote = es_ranges_is_remote(range);
	if (!scan->is_remote)
		scan->index = index_open(es_ranges_index(range, which), AccessShareLock);
}

/*
 * Prepare a scan of an index of heap.  End it with es_scan_close.
 */
void
es_scan_open(EsScan *scan, Relation heap, EsRelation index)
{
	TupleTableSlot *slot = es_ranges_are_of(heap)
		? MakeSingleTupleTableSlot(RelationGetDescr(heap), &TTSOpsBufferHeapTuple)
		: table_slot_create(heap, NULL);

	es_scan_open_into(scan, heap, index, slot);
	scan->own_slot = scan->slot;
}

/*
 * The same, with the caller's slot for the rows.
 */
void
es_scan_open_into(EsScan *scan, Relation heap, EsRelation index, TupleTableSlot *slot)
{
	if (es_ranges_are_of(heap))
		scan_set_up_ranges(scan, heap, index, slot);
	else if (es_ranges_is_one(heap, index))
		scan_set_up_range(scan, heap, index, slot);
	else
		scan_set_up(scan, heap, es_catalog_open(index, AccessShareLock), slot);
}

/*
 * The same as es_scan_open, of a table that is not the store's.
 */
void
es_scan_open_foreign(EsScan *scan, Relation heap, Oid index)
{
	scan_set_up(scan, heap, index_open(index, AccessShareLock), table_slot_create(heap, NULL));
	scan->own_slot = scan->slot;
}

/*
 * Restrict the scan, before it begins: the index's column (from 1) compares
 * so with value.
 */
void
es_scan_add_key(EsScan *scan, AttrNumber column, StrategyNumber strategy, RegProcedure comparison,
				Datum value)
{
	ScanKey key = &scan->keys[scan->key_count++];

	Assert(scan->key_count <= ES_SCAN_MAX_KEYS);
	ScanKeyInit(key, column, strategy, comparison, value);
	key->sk_collation = C_COLLATION_OID;
}

/* ----------------------------------------------------------------------
 * What limits it
 * ----------------------------------------------------------------------
 */

/* The columns of a scan's index; returns how many. */
static int
scan_get_columns(const EsScan *scan, AttrNumber *columns)
{
	int count = scan->index->rd_index->indnkeyatts;
	int i;

	Assert(count <= ES_SELECT_COLUMNS);
	for (i = 0; i < count; i++)
		columns[i] = scan->index->rd_index->indkey.values[i];
	return count;
}

/* Plan the SELECT as which a role sees what the scan looks for. */
static void
scan_plan_policies(EsScan *scan)
{
	EsSelectWhat what = {.table = scan->table,
						 .keys = scan->keys,
						 .key_count = scan->key_count,
						 .role = scan->seen_by,
						 .security = scan->security,
						 .direction = scan->direction};

	if (scan->parent == NULL)
		what.column_count = scan_get_columns(scan, what.columns);
	else
	{
		es_ranges_hear();
		what.column_count = es_ranges_columns(scan->which, what.columns);
		what.is_of_events = true;
		what.low = scan->within_low;
		what.high = scan->within_high;
	}
	scan->select = es_select_plan(&what);
}

/*
 * Have the scan, before it begins and with all its keys, see only what row
 * security lets a role see; where no policies count for the role, that is
 * everything.  It then works with es_scan_next only, in this direction.
 */
void
es_scan_see_as(EsScan *scan, Oid role, ScanDirection direction)
{
	if (!es_select_has_policies(scan->table, role))
		return;
	scan->has_policies = true;
	scan->seen_by = role;
	scan->security = es_select_security(role);
	scan->direction = direction;
	scan->is_limited = true;
}

/*
 * Have the scan, before it begins, pass over rows that a filter does not let a
 * role see.  It then works with es_scan_next only.
 */
void
es_scan_filter(EsScan *scan, EsScanFilter filter, Oid role)
{
	scan->filter = filter;
	scan->role = role;
	scan->is_limited = true;
}

/*
 * Have the scan, before it begins, look for events at some positions only, as
 * far as ranges tell; where the table is not made of any, they do not.  (Where
 * policies count, in just these positions.)
 */
void
es_scan_within(EsScan *scan, int64 low, int64 high)
{
	scan->within_low = low;
	scan->within_high = high;
}

/*
 * Start the scan, or start it again, maybe under another snapshot.
 */
void
es_scan_begin(EsScan *scan, Snapshot snapshot)
{
	es_scan_stop(scan);
	if (unlikely(scan->has_policies))
	{
		if (scan->select == NULL)
			scan_plan_policies(scan);
		es_select_begin(scan->select, snapshot);
		return;
	}
	if (scan->parent != NULL)
	{
		es_scan_ranges_begin(scan, snapshot);
		return;
	}
	scan->snapshot = snapshot;
	if (likely(!scan->is_remote))
		es_scan_ranges_begin_index(scan);
}

/* Move to the next row of the range that the scan is in. */
static bool
scan_next_in_range(EsScan *scan, ScanDirection direction)
{
	return scan->is_remote ? es_scan_remote_next(scan, direction)
						   : index_getnext_slot(scan->desc, direction, scan->slot);
}

/* Move to the next row of the index, or of those of the ranges. */
static bool
scan_next_row(EsScan *scan, ScanDirection direction)
{
	if (likely(scan->desc != NULL) && index_getnext_slot(scan->desc, direction, scan->slot))
		return true;
	if (unlikely(scan->is_remote) && es_scan_remote_next(scan, direction))
		return true;
	while (es_scan_ranges_go_on(scan, direction, NULL))
		if (scan_next_in_range(scan, direction))
			return true;
	return false;
}

/* Move to the next row that policies let through. */
static bool
scan_next_seen(EsScan *scan, ScanDirection direction)
{
	if (!scan->has_policies)
		return scan_next_row(scan, direction);
	scan->slot = es_select_next(scan->select);
	return scan->slot != NULL;
}

/* The same, and the filter. */
static bool
scan_next_limited(EsScan *scan, ScanDirection direction)
{
	while (scan_next_seen(scan, direction))
	{
		if (scan->filter == NULL || scan->filter(scan->role, scan->slot))
			return true;
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

/*
 * Move to the next row in the index's order (or, backward, against it).
 * Returns whether there is one; it is then in scan->slot.
 */
bool
es_scan_next(EsScan *scan, ScanDirection direction)
{
	if (unlikely(scan->is_limited))
		return scan_next_limited(scan, direction);
	return scan_next_row(scan, direction);
}

/* Keys have changed: begin anew, with the first range that they leave. */
static void
scan_jump_ranges(EsScan *scan)
{
	es_scan_stop(scan);
	es_scan_ranges_begin(scan, scan->snapshot);
}

/*
 * Go on from another place: where one of the scan's keys, by number from 0, has
 * another value.
 */
void
es_scan_jump(EsScan *scan, int key, Datum value)
{
	scan->keys[key].sk_argument = value;
	if (scan->parent != NULL)
		scan_jump_ranges(scan);
	else
		index_rescan(scan->desc, scan->keys, scan->key_count, NULL, 0);
}

/* Let go of a SELECT's rows. */
static void
scan_stop_select(EsScan *scan)
{
	if (scan->has_policies)
		es_select_stop(scan->select);
	else
		es_scan_remote_end(scan);
}

/* Let go of the index's pages.  What is in scan->slot stays valid, but where policies count. */
void
es_scan_stop(EsScan *scan)
{
	if (scan->desc != NULL)
		index_endscan(scan->desc);
	scan->desc = NULL;
	if (unlikely(scan->select != NULL))
		scan_stop_select(scan);
}

/* End the scan and free what it took. */
void
es_scan_close(EsScan *scan)
{
	es_scan_stop(scan);
	if (unlikely(scan->select != NULL))
		es_select_free(scan->select);
	if (scan->own_slot != NULL)
		ExecDropSingleTupleTableSlot(scan->own_slot);
	if (scan->parent != NULL)
		es_scan_ranges_leave(scan);
	else if (scan->index != NULL)
		relation_close(scan->index, NoLock);
}

/*
 * The row of eventstore.events in scan->slot as a value of eventstore.event.
 *
 * desc: of the type.  Returns a composite value in the current context, with
 * nothing left out of line.
 */
Datum
es_scan_event(const EsScan *scan, TupleDesc desc)
{
	slot_getsomeattrs(scan->slot, Natts_event);
	return HeapTupleGetDatum(heap_form_tuple(desc, scan->slot->tts_values, scan->slot->tts_isnull));
}

/*
 * The active snapshot, moved on to see what this transaction has done so far.
 *
 * copy: receives the snapshot; valid while the active one is active.
 */
Snapshot
es_scan_snapshot(SnapshotData *copy)
{
	*copy = *GetActiveSnapshot();
	copy->curcid = GetCurrentCommandId(false);
	return copy;
}
