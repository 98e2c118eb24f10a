/*-------------------------------------------------------------------------
 *
 * place.c
 *		Places: how rows that are written all the time are found at the same
 *		cost, whoever keeps their dead versions from being removed.
 *
 * While anybody in the database holds a snapshot, each update of a row leaves
 * a version behind that stays.  Who looks for the row by its key walks over
 * all of them.  So here the key is a place, and a revision, which is a number
 * that rises: of a place only the newest revision is looked at (recall.c).
 * Places are few: a new row takes the lowest one that is free.
 *
 * A row keeps its revision as long as its page has room for its next version:
 * the update is HOT then, and touches no index.  After that it takes another
 * revision, on another page.  So there are never more versions of a revision
 * than a page holds; and where nobody holds a snapshot, pages are cleaned, and
 * revisions stay.
 *
 * That the newest is all there is to look at follows from this: who writes a
 * revision deletes the one before, in the same subtransaction.  So where one
 * was committed, older ones are dead, whatever became of it.  One that was
 * rolled back says nothing, and the next below is looked at.  If it is of an
 * open transaction, then what was before counts, too: the base, which is the
 * revision that the transaction found, and which is kept in the row, as the
 * transaction may have written many in between.
 *
 * Rows are read as they are at the moment, open transactions included.  The
 * caller keeps everybody from writing meanwhile; that transactions end, he
 * cannot help.
 *
 * Memory: the current context.  Locks: the caller's on the table.  Calls:
 * names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "storage/freespace.h"
#include "storage/procarray.h"

#include "base/compat.h"
#include "base/names.h"
#include "subscription/place.h"

/* Pages from the begin that a row may stay on. */
#define PLACE_NEAR_PAGES 32

/* Of how many questions whether it had better not, one is answered. */
#define PLACE_ASK 64

/*
 * Begin to visit entries; end with es_place_close.
 */
void
es_place_open(EsPlaceVisit *visit, const EsPlaceTable *table, Relation heap,
			  const text *subscription, EsPlaces *found)
{
	visit->table = table;
	visit->heap = heap;
	visit->subscription = subscription;
	visit->fetch = table_index_fetch_begin(heap);
	visit->slot = table_slot_create(heap, NULL);
	visit->found = found;
	InitDirtySnapshot(visit->dirty);
}

void
es_place_close(EsPlaceVisit *visit)
{
	table_index_fetch_end(visit->fetch);
	ExecDropSingleTupleTableSlot(visit->slot);
}

static HeapTupleHeader
place_header(const EsPlaceVisit *visit)
{
	return ExecFetchSlotHeapTuple(visit->slot, false, NULL)->t_data;
}

static int64
place_get(const EsPlaceVisit *visit, AttrNumber column)
{
	bool is_null;

	return DatumGetInt64(slot_getattr(visit->slot, column, &is_null));
}

/* Whether the row in the slot is of the entry: places in a table are used again. */
static bool
place_is_of(const EsPlaceVisit *visit, const EsPlaceEntry *entry)
{
	const EsPlaceTable *table = visit->table;
	bool is_null;

	return place_get(visit, table->revision) == entry->revision &&
		DatumGetInt32(slot_getattr(visit->slot, table->place, &is_null)) == entry->place &&
		es_names_equal(DatumGetTextPP(slot_getattr(visit->slot, table->subscription, &is_null)),
					   visit->subscription);
}

/* Whether an open transaction has written a version, and gone on from it. */
static bool
place_is_superseded(HeapTupleHeader row)
{
	return !(row->t_infomask & HEAP_XMAX_INVALID) && !HEAP_XMAX_IS_LOCKED_ONLY(row->t_infomask) &&
		TransactionIdIsInProgress(HeapTupleHeaderGetUpdateXid(row));
}

/* Keep the row in the slot for the caller. */
static void
place_add(EsPlaceVisit *visit, const EsPlaceEntry *entry)
{
	EsPlaces *found = visit->found;
	HeapTupleHeader header = place_header(visit);
	EsPlaced *placed;

	if (found->count == found->space)
	{
		found->space = Max(8, found->space * 2);
		found->items = found->items == NULL
			? palloc(sizeof(EsPlaced) * found->space)
			: repalloc(found->items, sizeof(EsPlaced) * found->space);
	}
	placed = &found->items[found->count++];
	placed->tuple = ExecCopySlotHeapTuple(visit->slot);
	placed->row.place = entry->place;
	placed->row.revision = entry->revision;
	placed->row.is_own = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(header));
	placed->row.base = placed->row.is_own ? place_get(visit, visit->table->base) : entry->revision;
	placed->row.tid = visit->slot->tts_tid;
	placed->row.writer = visit->dirty.xmin;
	placed->row.remover = visit->dirty.xmax;
	visit->has_row = true;
}

/* Of an entry with no version that is there: what has become of them. */
static EsPlaceState
place_find_end(EsPlaceVisit *visit, const EsPlaceEntry *entry)
{
	EsPlaceState state = ES_PLACE_GONE;
	ItemPointerData tid = entry->tid;
	bool goes_on = false;

	while (table_index_fetch_tuple(visit->fetch, &tid, SnapshotAny, visit->slot, &goes_on, NULL))
	{
		HeapTupleHeader row = place_header(visit);
		TransactionId xmin = HeapTupleHeaderGetXmin(row);

		if (!place_is_of(visit, entry))
			return ES_PLACE_GONE;
		if (HeapTupleHeaderXminCommitted(row) || TransactionIdIsCurrentTransactionId(xmin) ||
			TransactionIdDidCommit(xmin))
			state = TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetUpdateXid(row))
				? ES_PLACE_DELETED
				: ES_PLACE_OVER;
		else if (state == ES_PLACE_GONE)
			state = ES_PLACE_ABORTED;
	}
	return state;
}

/*
 * Look what there is of an entry.  What counts is added to the rows found.
 */
EsPlaceState
es_place_visit(EsPlaceVisit *visit, const EsPlaceEntry *entry)
{
	EsPlaceState state = ES_PLACE_GONE;
	ItemPointerData tid = entry->tid;
	bool goes_on = false;

	visit->base = PG_INT64_MAX;
	visit->has_row = false;
	while (table_index_fetch_tuple(visit->fetch, &tid, &visit->dirty, visit->slot, &goes_on, NULL))
	{
		if (!place_is_of(visit, entry))
			return ES_PLACE_GONE;
		if (TransactionIdIsValid(visit->dirty.xmin))
		{
			visit->base = Min(visit->base, place_get(visit, visit->table->base));
			if (state == ES_PLACE_GONE)
				state = ES_PLACE_OPEN;
			if (place_is_superseded(place_header(visit)))
				continue;
		}
		else
			state = ES_PLACE_SETTLED;
		place_add(visit, entry);
	}
	return state == ES_PLACE_GONE ? place_find_end(visit, entry) : state;
}

/*
 * Whether a row was open when it was read, and is not any more: what was read
 * of its place may be neither what was before nor what is.
 */
bool
es_place_is_stale(const EsPlaceRow *row)
{
	return (TransactionIdIsValid(row->writer) && !TransactionIdIsInProgress(row->writer)) ||
		(TransactionIdIsValid(row->remover) && !TransactionIdIsInProgress(row->remover));
}

/*
 * Whether the next version of a row will stay on its page, and so can keep its
 * revision.
 *
 * length: of the version, in bytes.
 */
bool
es_place_has_room(Relation heap, const EsPlaceRow *row, Size length)
{
	Buffer buffer = ReadBuffer(heap, ItemPointerGetBlockNumber(&row->tid));
	bool has_room = PageGetHeapFreeSpace(BufferGetPage(buffer)) >= MAXALIGN(length);

	ReleaseBuffer(buffer);
	return has_room;
}

/*
 * Whether a row had better go to another page: where dead versions have been
 * removed after they had made the table large, it can not shrink as long as
 * the last pages hold what counts.  Asked now and then only.
 *
 * Returns whether there is a page; the next row to be inserted goes there.
 */
bool
es_place_find_lower(Relation heap, const EsPlaceRow *row, Size length)
{
	static uint32 asked = 0;
	BlockNumber page = ItemPointerGetBlockNumber(&row->tid);
	BlockNumber lower;

	if (page < PLACE_NEAR_PAGES || ++asked % PLACE_ASK != 0)
		return false;
	lower = GetPageWithFreeSpace(heap,
								 MAXALIGN(length) +
									 RelationGetTargetPageFreeSpace(heap, HEAP_DEFAULT_FILLFACTOR));
	if (lower == InvalidBlockNumber || lower >= page / 2)
		return false;
	RelationSetTargetBlock(heap, lower);
	return true;
}
