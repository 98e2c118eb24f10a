/*-------------------------------------------------------------------------
 *
 * scan.h
 *		Scans of one index of the store, without planner and executor.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SCAN_H
#define ES_SCAN_H

#include "access/genam.h"
#include "access/sdir.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "storage/buf.h"
#include "utils/snapshot.h"

#include "base/catalog.h"
#include "base/ranges.h"
#include "base/select.h"

/* A category or a tag, and a range of positions. */
#define ES_SCAN_MAX_KEYS 3

/* Whether a role may see a row of the table. */
typedef bool (*EsScanFilter)(Oid role, TupleTableSlot *slot);

typedef struct EsScan
{
	/* Set by es_scan_open. */
	Relation table; /* the caller's */
	Relation heap;  /* the same, or the range of it that the scan is in */
	Relation index;
	TupleTableSlot *slot; /* the row found last */
	TupleTableSlot *own_slot;

	/* Set by es_scan_add_key. */
	ScanKeyData keys[ES_SCAN_MAX_KEYS];
	int key_count;

	bool wants_entries; /* set it before es_scan_begin for es_scan_next_entry */

	/* What limits what es_scan_next finds. */
	bool is_limited;
	bool has_policies; /* set by es_scan_see_as, where they count */
	Oid seen_by;       /* that they count for */
	int security;      /* context that they run in */
	ScanDirection direction;
	EsScanFilter filter; /* set by es_scan_filter; or NULL */
	Oid role;            /* that the filter asks for */

	/* What is read as the SELECT that it stands for: all of it for policies, or a range that is a foreign table. */
	EsSelect *select;  /* NULL until it begins */
	bool is_remote;    /* heap is a foreign table, and has no index */
	bool is_local;     /* set it before es_scan_begin to pass over such ranges */
	const Datum *tags; /* set them for ES_EVENTS_TAGS: texts, all of which its rows have */
	int tag_count;

	IndexScanDesc desc; /* NULL until es_scan_begin */

	/* Where the table is made of ranges: see scan_ranges.c. */
	Relation parent;  /* the caller's; NULL: it is not */
	EsRelation which; /* of a range, too */
	Snapshot snapshot;
	EsRange range; /* the one that heap is, if it is any */
	int64 low;     /* positions that the keys leave */
	int64 high;
	int64 within_low; /* positions that es_scan_within leaves */
	int64 within_high;
	bool is_over;
} EsScan;

extern void es_scan_open(EsScan *scan, Relation heap, EsRelation index);
extern void es_scan_open_into(EsScan *scan, Relation heap, EsRelation index, TupleTableSlot *slot);
extern void es_scan_open_foreign(EsScan *scan, Relation heap, Oid index);
extern void es_scan_add_key(EsScan *scan, AttrNumber column, StrategyNumber strategy,
							RegProcedure comparison, Datum value);
extern void es_scan_see_as(EsScan *scan, Oid role, ScanDirection direction);
extern void es_scan_filter(EsScan *scan, EsScanFilter filter, Oid role);
extern void es_scan_within(EsScan *scan, int64 low, int64 high);
extern void es_scan_begin(EsScan *scan, Snapshot snapshot);
extern bool es_scan_next(EsScan *scan, ScanDirection direction);
extern bool es_scan_next_to_update(EsScan *scan, Size room);
extern bool es_scan_next_unsettled(EsScan *scan, Buffer *map);
extern bool es_scan_next_entry(EsScan *scan, AttrNumber column, Buffer *map, int64 *value);
extern bool
es_scan_next_any_entry(EsScan *scan, ScanDirection direction, AttrNumber column, int64 *value);
extern bool es_scan_fetch(EsScan *scan);
extern void es_scan_jump(EsScan *scan, int key, Datum value);
extern void es_scan_stop(EsScan *scan);
extern void es_scan_close(EsScan *scan);

extern bool es_scan_fetch_to_update(Relation heap, ItemPointer tid, Snapshot snapshot, Size room,
									TupleTableSlot *slot);

extern Datum es_scan_event(const EsScan *scan, TupleDesc desc);

extern Snapshot es_scan_snapshot(SnapshotData *copy);

#endif /* ES_SCAN_H */
