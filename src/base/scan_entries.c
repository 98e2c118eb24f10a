/*-------------------------------------------------------------------------
 *
 * scan_entries.c
 *		Scans that look at an index's entries before their rows, or instead of them.
 *
 * Memory: as scan.c.  Locks: none of its own.  Calls: scan_ranges, scan_remote.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/visibilitymap.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"

#include "base/compat.h"
#include "base/scan_ranges.h"
#include "base/scan_remote.h"

/*
 * Like es_scan_next, forward, but pass over rows on pages that the visibility
 * map knows to be visible to everybody.
 *
 * map: InvalidBuffer at first; to be released by the caller.
 */
bool
es_scan_next_unsettled(EsScan *scan, Buffer *map)
{
	/* Who is in flight does not write into a foreign table. */
	scan->is_local = true;
	if (!es_scan_ranges_are_left(scan, ForwardScanDirection))
		return false;
	for (;;)
	{
		if (!scan->desc->xs_heap_continue)
		{
			ItemPointer tid = index_getnext_tid(scan->desc, ForwardScanDirection);

			if (tid == NULL)
			{
				if (es_scan_ranges_go_on(scan, ForwardScanDirection, map))
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
 * Like es_scan_next, forward, but only tell one of the index's columns, of type
 * bigint, without looking at rows on pages that are visible to everybody.
 *
 * scan: begun with wants_entries.  map: as of es_scan_next_unsettled.
 */
bool
es_scan_next_entry(EsScan *scan, AttrNumber column, Buffer *map, int64 *value)
{
	bool is_null;

	if (!es_scan_ranges_are_left(scan, ForwardScanDirection))
		return false;
	for (;;)
	{
		IndexScanDesc desc = scan->desc;
		ItemPointer tid;
		bool is_visible;

		if (scan->is_remote && es_scan_remote_next(scan, ForwardScanDirection))
		{
			*value = DatumGetInt64(es_scan_remote_column(scan, column));
			return true;
		}
		tid = scan->is_remote ? NULL : index_getnext_tid(desc, ForwardScanDirection);
		if (tid == NULL)
		{
			if (es_scan_ranges_go_on(scan, ForwardScanDirection, map))
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

	if (!es_scan_ranges_are_left(scan, direction))
		return false;
	while (scan->is_remote ? !es_scan_remote_next(scan, direction)
						   : index_getnext_tid(scan->desc, direction) == NULL)
		if (!es_scan_ranges_go_on(scan, direction, NULL))
			return false;
	if (scan->is_remote)
	{
		*value = DatumGetInt64(es_scan_remote_column(scan, column));
		return true;
	}
	desc = scan->desc;
	*value = DatumGetInt64(index_getattr(desc->xs_itup, column, desc->xs_itupdesc, &is_null));
	return true;
}

/* Fetch the row of that entry; false: the scan's snapshot sees none. */
bool
es_scan_fetch(EsScan *scan)
{
	/* Of a foreign table it has come with the entry. */
	return scan->is_remote || index_fetch_heap(scan->desc, scan->slot);
}
