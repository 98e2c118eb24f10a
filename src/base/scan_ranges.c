/*-------------------------------------------------------------------------
 *
 * scan_ranges.c
 *		Scans that go through the ranges of eventstore.events.
 *
 * A scan goes through them one after the other, and opens only those that its
 * keys leave.  That is the order of each of the indexes, as long as keys say of
 * which stream, category or tag: positions rise along each of them.  An id is
 * looked for in the newest range first.
 *
 * A range that is a foreign table is entered without asking the other server
 * for anything: that is left to who wants a row (scan_remote.c).
 *
 * Memory: the current context.  Locks: AccessShare on a range and its index,
 * until the end of the transaction; the caller holds the one on the table.
 * Calls: ranges, scan_remote.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "base/scan_ranges.h"
#include "base/scan_remote.h"

/* Let go of the range that the scan is in, if it is in one. */
void
es_scan_ranges_leave(EsScan *scan)
{
	if (scan->heap == NULL)
		return;
	if (scan->is_remote)
		es_scan_remote_end(scan);
	else
		index_close(scan->index, NoLock);
	table_close(scan->heap, NoLock);
	scan->heap = NULL;
	scan->index = NULL;
	scan->is_remote = false;
}

static void
ranges_enter(EsScan *scan, int number)
{
	scan->range = es_ranges_get(scan->parent, number);
	scan->heap = table_open(scan->range.table, AccessShareLock);
	scan->is_remote = es_ranges_is_remote(scan->heap);
	if (scan->is_remote)
		return;
	scan->index = index_open(es_ranges_index(scan->heap, scan->which), AccessShareLock);
	es_scan_ranges_begin_index(scan);
}

/* Have the keys say which positions are left. */
static void
ranges_set_bounds(EsScan *scan)
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
		/* A range that ends before what is asked for is not opened. */
		if (strategy == BTGreaterStrategyNumber && value < PG_INT64_MAX)
			value++;
		if (strategy == BTLessStrategyNumber && value > PG_INT64_MIN)
			value--;
		if (strategy >= BTEqualStrategyNumber)
			scan->low = Max(scan->low, value);
		if (strategy <= BTEqualStrategyNumber)
			scan->high = Min(scan->high, value);
	}
}

/* An id may be anywhere; most likely it is asked for again soon. */
static bool
ranges_is_forward(const EsScan *scan, ScanDirection direction)
{
	return ScanDirectionIsForward(direction) && scan->which != ES_EVENTS_ID;
}

/*
 * The number of the range that comes next; -1: there is none.  It is found by
 * position, as numbers are others as soon as somebody attaches a range.
 */
static int
ranges_next(const EsScan *scan, ScanDirection direction)
{
	bool is_first = scan->heap == NULL;
	int count = es_ranges_count(scan->parent);
	int number;

	if (ranges_is_forward(scan, direction))
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

/* Have the scan begin with the first range that its keys leave. */
void
es_scan_ranges_begin(EsScan *scan, Snapshot snapshot)
{
	es_ranges_hear();
	es_scan_ranges_leave(scan);
	ranges_set_bounds(scan);
	scan->snapshot = snapshot;
	scan->is_over = false;
}

/* Leave one range for the next one; returns false if there is none. */
static bool
ranges_move_on(EsScan *scan, ScanDirection direction)
{
	int number = ranges_next(scan, direction);

	if (number < 0)
	{
		scan->is_over = true;
		return false;
	}
	if (scan->desc != NULL)
		index_endscan(scan->desc);
	scan->desc = NULL;
	es_scan_ranges_leave(scan);
	ranges_enter(scan, number);
	return true;
}

/*
 * Go on in the next range of a table that is made of them.  Returns false where
 * there is none.
 *
 * map: of es_scan_next_unsettled and its kin, which is another range's then; or NULL.
 */
bool
es_scan_ranges_move_on(EsScan *scan, ScanDirection direction, Buffer *map)
{
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (scan->is_over || !ranges_move_on(scan, direction))
			return false;
	} while (scan->is_remote && scan->is_local);
	if (map != NULL && BufferIsValid(*map))
	{
		ReleaseBuffer(*map);
		*map = InvalidBuffer;
	}
	return true;
}
