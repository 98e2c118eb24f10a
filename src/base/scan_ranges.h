/*-------------------------------------------------------------------------
 *
 * scan_ranges.h
 *		Scans that go through the ranges of eventstore.events; for those that make up scan.h.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SCAN_RANGES_H
#define ES_SCAN_RANGES_H

#include "access/genam.h"

#include "base/compat.h"
#include "base/scan.h"

extern void es_scan_ranges_leave(EsScan *scan);
extern void es_scan_ranges_begin(EsScan *scan, Snapshot snapshot);
extern bool es_scan_ranges_move_on(EsScan *scan, ScanDirection direction, Buffer *map);

/* Begin with the index of the table, or of the range, that the scan is in. */
static inline void
es_scan_ranges_begin_index(EsScan *scan)
{
	scan->desc = es_compat_index_beginscan(scan->heap, scan->index, scan->snapshot, scan->key_count);
	scan->desc->xs_want_itup = scan->wants_entries;
	index_rescan(scan->desc, scan->keys, scan->key_count, NULL, 0);
}

/* Whether there is a range to go on in; then the scan is in it. */
static inline bool
es_scan_ranges_go_on(EsScan *scan, ScanDirection direction, Buffer *map)
{
	return unlikely(scan->parent != NULL) && es_scan_ranges_move_on(scan, direction, map);
}

/* Whether there is a range to look into, or the table is not made of any; enters the first one. */
static inline bool
es_scan_ranges_are_left(EsScan *scan, ScanDirection direction)
{
	return scan->desc != NULL || scan->is_remote || es_scan_ranges_go_on(scan, direction, NULL);
}

#endif /* ES_SCAN_RANGES_H */
