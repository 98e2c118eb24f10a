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
 * them one after the other, and opens only those that its keys leave.  That is
 * the order of each of the indexes, as long as keys say of which stream,
 * category or tag: positions rise along each of them.  An id is looked for in
 * the newest range first.
 *
 * Memory: the scan's own things in the current context.  Locks: AccessShare
 * on the index, and on a range, until the end of the transaction; the caller
 * holds the one on the table.  Calls: catalog, policy, ranges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relation.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "base/scan.h"

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
	scan->policy = NULL;
	scan->filter = NULL;
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
		scan_set_up(scan, heap, index_open(es_ranges_index(heap, index), AccessShareLock), slot);
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
 * Ranges
 * ----------------------------------------------------------------------
 */

static void
scan_close_range(EsScan *scan)
{
	if (scan->heap == NULL)
		return;
	index_close(scan->index, NoLock);
	table_close(scan->heap, NoLock);
	scan->heap = NULL;
	scan->index = NULL;
}

static void
scan_open_range(EsScan *scan, int number)
{
	EsRange range = es_ranges_get(scan->parent, number);

	scan->heap = table_open(range.table, AccessShareLock);
	scan->index = index_open(es_ranges_index(scan->heap, scan->which), AccessShareLock);
	scan->range = range;
}

/* Have the keys say which positions are left. */
static void
scan_set_bounds(EsScan *scan)
{
	AttrNumber column = 0;
	int i;

	if (scan->which == ES_EVENTS_PKEY)
		column = 1;
	else if (scan->which == ES_EVENTS_CATEGORY_POSITION || scan->which == ES_EVENTS_TAGS)
		column = 2;
	scan->low = scan->within_low;
	scan->high = scan->within_high;
	for (i = 0; i < scan->key_count; i++)
	{
		StrategyNumber strategy = scan->keys[i].sk_strategy;
		int64 value = DatumGetInt64(scan->keys[i].sk_argument);

		if (scan->keys[i].sk_attno != column)
			continue;
		if (strategy >= BTEqualStrategyNumber)
			scan->low = Max(scan->low, value);
		if (strategy <= BTEqualStrategyNumber)
			scan->high = Min(scan->high, value);
	}
}

/* An id may be anywhere; most likely it is asked for again soon. */
static bool
scan_is_forward(const EsScan *scan, ScanDirection direction)
{
	return ScanDirectionIsForward(direction) && scan->which != ES_EVENTS_ID;
}

/*
 * The number of the range that comes next; -1: there is none.  It is found by
 * position, as numbers are others as soon as somebody attaches a range.
 */
static int
scan_next_range(const EsScan *scan, ScanDirection direction)
{
	bool is_first = scan->heap == NULL;
	int count = es_ranges_count(scan->parent);
	int number;

	if (scan_is_forward(scan, direction))
	{
		number = es_ranges_find(scan->parent, is_first ? scan->low : scan->range.upto);
		return number < count && es_ranges_get(scan->parent, number).from <= scan->high ? number
																						: -1;
	}
	number = is_first ? Min(es_ranges_find(scan->parent, scan->high), count - 1)
					  : es_ranges_find(scan->parent, scan->range.from) - 1;
	if (number >= 0 && es_ranges_get(scan->parent, number).from > scan->high)
		number--;
	return number >= 0 && es_ranges_get(scan->parent, number).upto > scan->low ? number : -1;
}

static void
scan_begin_range(EsScan *scan)
{
	scan->desc = es_compat_index_beginscan(scan->heap, scan->index, scan->snapshot, scan->key_count);
	scan->desc->xs_want_itup = scan->wants_entries;
	index_rescan(scan->desc, scan->keys, scan->key_count, NULL, 0);
}

/*
 * Go on in the next range, where there is nothing left in the one that the scan
 * is in.  Returns false where there is none, or the table is not made of any.
 *
 * map: of es_scan_next_unsettled and its kin, which is another range's then; or NULL.
 */
static bool
scan_go_on(EsScan *scan, ScanDirection direction, Buffer *map)
{
	int number;

	if (likely(scan->parent == NULL) || scan->is_over)
		return false;
	CHECK_FOR_INTERRUPTS();
	number = scan_next_range(scan, direction);
	if (number < 0)
	{
		scan->is_over = true;
		return false;
	}
	if (scan->desc != NULL)
		index_endscan(scan->desc);
	scan->desc = NULL;
	if (map != NULL && BufferIsValid(*map))
	{
		ReleaseBuffer(*map);
		*map = InvalidBuffer;
	}
	scan_close_range(scan);
	scan_open_range(scan, number);
	scan_begin_range(scan);
	return true;
}

/* Have the scan begin with the first range that is left. */
static void
scan_begin_ranges(EsScan *scan, Snapshot snapshot)
{
	es_ranges_hear();
	scan_close_range(scan);
	scan_set_bounds(scan);
	scan->snapshot = snapshot;
	scan->is_over = false;
}

/* Whether there is a range to look into; opens the first one. */
static bool
scan_is_in_range(EsScan *scan, ScanDirection direction)
{
	return scan->desc != NULL || scan_go_on(scan, direction, NULL);
}

static void
scan_plan_policies(EsScan *scan, Oid role, ScanDirection direction)
{
	if (scan->parent == NULL)
	{
		scan->policy = es_policy_plan(scan->heap, scan->index, scan->keys, scan->key_count, role,
									  direction);
		return;
	}
	es_ranges_hear();
	/* All have the same columns; where there is none, there is nothing to see. */
	if (es_ranges_count(scan->parent) == 0)
		return;
	scan_open_range(scan, es_ranges_count(scan->parent) - 1);
	scan->policy = es_policy_plan(scan->parent, scan->index, scan->keys, scan->key_count, role,
								  direction);
	scan_close_range(scan);
}

/*
 * Have the scan, before it begins and with all its keys, see only what row
 * security lets a role see; where no policies count for the role, that is
 * everything.  It then works with es_scan_next only, in this direction.
 */
void
es_scan_see_as(EsScan *scan, Oid role, ScanDirection direction)
{
	if (!es_policy_applies(scan->table, role))
		return;
	scan_plan_policies(scan, role, direction);
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
 * far as ranges tell; where the table is not made of any, they do not.
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
	if (scan->policy != NULL)
	{
		es_policy_begin(scan->policy, snapshot);
		return;
	}
	if (scan->parent != NULL)
	{
		scan_begin_ranges(scan, snapshot);
		return;
	}
	scan->snapshot = snapshot;
	scan_begin_range(scan);
}

/* Move to the next row of the index, or of those of the ranges. */
static bool
scan_next_row(EsScan *scan, ScanDirection direction)
{
	if (likely(scan->desc != NULL) && index_getnext_slot(scan->desc, direction, scan->slot))
		return true;
	while (scan_go_on(scan, direction, NULL))
		if (index_getnext_slot(scan->desc, direction, scan->slot))
			return true;
	return false;
}

/* Move to the next row that policies let through. */
static bool
scan_next_seen(EsScan *scan, ScanDirection direction)
{
	if (scan->policy == NULL)
		return scan_next_row(scan, direction);
	scan->slot = es_policy_next(scan->policy);
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

/*
 * Like es_scan_next, forward, but pass over rows on pages that the visibility
 * map knows to be visible to everybody.
 *
 * map: InvalidBuffer at first; to be released by the caller.
 */
bool
es_scan_next_unsettled(EsScan *scan, Buffer *map)
{
	if (!scan_is_in_range(scan, ForwardScanDirection))
		return false;
	for (;;)
	{
		if (!scan->desc->xs_heap_continue)
		{
			ItemPointer tid = index_getnext_tid(scan->desc, ForwardScanDirection);

			if (tid == NULL)
			{
				if (scan_go_on(scan, ForwardScanDirection, map))
					continue;
				return false;
			}
			CHECK_FOR_INTERRUPTS();
			if (VM_ALL_VISIBLE(scan->heap, ItemPointerGetBlockNumber(tid), map))
				continue;
		}
		if (index_fetch_heap(scan->desc, scan->slot))
			return true;
	}
}

/*
 * Whether a table has a page.  That it had it when the storage manager looked
 * last will do: pages are cut off under AccessExclusiveLock, smgrtruncate has
 * everybody forget the size first, and the caller, who locked the table, has
 * heard of it.  Of pages that were added the storage manager need not know.
 */
static bool
scan_has_page(Relation heap, BlockNumber page)
{
	BlockNumber known = RelationGetSmgr(heap)->smgr_cached_nblocks[MAIN_FORKNUM];

	return (known != InvalidBlockNumber && page < known) || page < RelationGetNumberOfBlocks(heap);
}

static bool
scan_is_of_heap(const EsScan *scan)
{
	return scan->heap->rd_tableam == GetHeapamTableAmRoutine();
}

/*
 * What index_fetch_heap does with a row of a heap, except that the row's page
 * is pruned only if less than room is free on it.  Predicate locks and checks
 * for serialization conflicts are heap_hot_search_buffer's, as there.
 *
 * is_dead: NULL, or receives whether nobody can see anything at tid.
 */
static bool
scan_fetch_roomy(EsScan *scan, ItemPointerData tid, Snapshot snapshot, Size room, bool *is_dead)
{
	HeapTuple row = &((BufferHeapTupleTableSlot *) scan->slot)->base.tupdata;
	Buffer buffer = ReadBuffer(scan->heap, ItemPointerGetBlockNumber(&tid));
	Page page = BufferGetPage(buffer);
	bool is_found;

	/* Without a lock, as heap_page_prune_opt looks: it is but a hint. */
	if (PageIsFull(page) || PageGetHeapFreeSpace(page) < room)
		heap_page_prune_opt(scan->heap, buffer);

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	is_found = heap_hot_search_buffer(&tid, scan->heap, buffer, snapshot, row, is_dead, true);
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (!is_found)
	{
		ReleaseBuffer(buffer);
		return false;
	}
	ExecStorePinnedBufferHeapTuple(row, scan->slot, buffer);
	scan->slot->tts_tableOid = RelationGetRelid(scan->heap);
	return true;
}

/*
 * Fetch a row that is about to be updated in place from where it may be, under
 * an MVCC snapshot.  Makes room on its page only where there is too little.
 * An index scan prunes a page whenever it is fuller than the fillfactor says,
 * which a page of rows that are updated always is: it would cost each update
 * more than the update itself, and a WAL record.
 *
 * tid: the beginning of the row's chain of versions, or anything else that is
 * valid as such.
 * room: what the row's next version takes, in bytes.
 * slot: receives the row; empty.
 *
 * Returns false if the snapshot sees no row there.
 */
bool
es_scan_fetch_to_update(Relation heap, ItemPointer tid, Snapshot snapshot, Size room,
						TupleTableSlot *slot)
{
	EsScan scan = {.heap = heap, .slot = slot};

	return scan_is_of_heap(&scan) && scan_has_page(heap, ItemPointerGetBlockNumber(tid)) &&
		scan_fetch_roomy(&scan, *tid, snapshot, room, NULL);
}

/*
 * Like es_scan_next, backward, under an MVCC snapshot, for a row that is about
 * to be updated in place: see es_scan_fetch_to_update.
 */
bool
es_scan_next_to_update(EsScan *scan, Size room)
{
	IndexScanDesc desc = scan->desc;

	if (!scan_is_of_heap(scan))
		return es_scan_next(scan, BackwardScanDirection);

	while (index_getnext_tid(desc, BackwardScanDirection) != NULL)
	{
		bool is_dead;

		if (scan_fetch_roomy(scan, desc->xs_heaptid, desc->xs_snapshot, room, &is_dead))
		{
			pgstat_count_heap_fetch(desc->indexRelation);
			return true;
		}
		if (!desc->xactStartedInRecovery)
			desc->kill_prior_tuple = is_dead;
	}
	return false;
}

/*
 * Like es_scan_next, forward, but only tell one of the index's columns, of type
 * bigint, without looking at rows on pages that are visible to everybody.
 *
 * scan: begun with wants_entries.  map: as of es_scan_next_unsettled.
 */
bool
es_scan_next_entry(EsScan *scan, AttrNumber column, Buffer *map, int64 *value)
{
	bool is_null;

	if (!scan_is_in_range(scan, ForwardScanDirection))
		return false;
	for (;;)
	{
		IndexScanDesc desc = scan->desc;
		ItemPointer tid = index_getnext_tid(desc, ForwardScanDirection);
		bool is_visible;

		if (tid == NULL)
		{
			if (scan_go_on(scan, ForwardScanDirection, map))
				continue;
			return false;
		}
		CHECK_FOR_INTERRUPTS();
		is_visible = VM_ALL_VISIBLE(scan->heap, ItemPointerGetBlockNumber(tid), map);
		if (is_visible)
			PredicateLockPage(scan->heap, ItemPointerGetBlockNumber(tid), desc->xs_snapshot);
		else
			is_visible = index_fetch_heap(desc, scan->slot);
		if (!is_visible)
			continue;
		*value = DatumGetInt64(index_getattr(desc->xs_itup, column, desc->xs_itupdesc, &is_null));
		return true;
	}
}

/*
 * Move to the next entry of the index, whether or not anybody sees its row, and
 * tell one of its columns, of type bigint.
 *
 * scan: begun with wants_entries.
 */
bool
es_scan_next_any_entry(EsScan *scan, ScanDirection direction, AttrNumber column, int64 *value)
{
	IndexScanDesc desc;
	bool is_null;

	if (!scan_is_in_range(scan, direction))
		return false;
	while (index_getnext_tid(scan->desc, direction) == NULL)
		if (!scan_go_on(scan, direction, NULL))
			return false;
	desc = scan->desc;
	*value = DatumGetInt64(index_getattr(desc->xs_itup, column, desc->xs_itupdesc, &is_null));
	return true;
}

/* Fetch the row of that entry; false: the scan's snapshot sees none. */
bool
es_scan_fetch(EsScan *scan)
{
	return index_fetch_heap(scan->desc, scan->slot);
}

/* Keys have changed: begin anew, with the first range that they leave. */
static void
scan_jump_ranges(EsScan *scan)
{
	es_scan_stop(scan);
	scan_begin_ranges(scan, scan->snapshot);
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

/* Let go of the index's pages.  What is in scan->slot stays valid, but where policies count. */
void
es_scan_stop(EsScan *scan)
{
	if (scan->desc != NULL)
		index_endscan(scan->desc);
	scan->desc = NULL;
	if (scan->policy != NULL)
		es_policy_stop(scan->policy);
}

/* End the scan and free what it took. */
void
es_scan_close(EsScan *scan)
{
	es_scan_stop(scan);
	if (scan->policy != NULL)
		es_policy_free(scan->policy);
	if (scan->own_slot != NULL)
		ExecDropSingleTupleTableSlot(scan->own_slot);
	if (scan->parent != NULL)
		scan_close_range(scan);
	else
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
