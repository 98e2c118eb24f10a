/*-------------------------------------------------------------------------
 *
 * scan_update.c
 *		Rows that are about to be updated in place, found without pruning their pages.
 *
 * Memory: as scan.c.  Locks: none of its own.  Calls: scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/relscan.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/bufmgr.h"

#include "base/compat.h"
#include "base/scan.h"

/*
 * Whether a table has a page.  That it had it when the storage manager looked
 * last will do: pages are cut off under AccessExclusiveLock, smgrtruncate has
 * everybody forget the size first, and the caller, who locked the table, has
 * heard of it.  Of pages that were added the storage manager need not know.
 */
static bool
update_has_page(Relation heap, BlockNumber page)
{
	BlockNumber known = RelationGetSmgr(heap)->smgr_cached_nblocks[MAIN_FORKNUM];

	return (known != InvalidBlockNumber && page < known) || page < RelationGetNumberOfBlocks(heap);
}

static bool
update_is_of_heap(const EsScan *scan)
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
update_fetch_roomy(EsScan *scan, ItemPointerData tid, Snapshot snapshot, Size room, bool *is_dead)
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

	return update_is_of_heap(&scan) && update_has_page(heap, ItemPointerGetBlockNumber(tid)) &&
		update_fetch_roomy(&scan, *tid, snapshot, room, NULL);
}

/*
 * Like es_scan_next, backward, under an MVCC snapshot, for a row that is about
 * to be updated in place: see es_scan_fetch_to_update.
 */
bool
es_scan_next_to_update(EsScan *scan, Size room)
{
	IndexScanDesc desc = scan->desc;

	if (!update_is_of_heap(scan))
		return es_scan_next(scan, BackwardScanDirection);

	while (index_getnext_tid(desc, BackwardScanDirection) != NULL)
	{
		bool is_dead;

		if (update_fetch_roomy(scan, desc->xs_heaptid, desc->xs_snapshot, room, &is_dead))
		{
			pgstat_count_heap_fetch(desc->indexRelation);
			return true;
		}
		if (!desc->xactStartedInRecovery)
			desc->kill_prior_tuple = is_dead;
	}
	return false;
}
