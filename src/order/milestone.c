/*-------------------------------------------------------------------------
 *
 * milestone.c
 *		Marks: by when positions had been given out.
 *
 * Times do not rise with positions: an append reads the clock before it takes
 * positions, and may wait in between, for another stream's row.  But it cannot
 * read it afterwards.  So whoever has taken a position and reads the clock then
 * knows a time by which all events up to there were recorded, those in flight
 * too.  One append in some thousand writes that down, and who looks for a time
 * begins at the last mark before it, instead of at the beginning.
 *
 * What a mark says is true whether or not its transaction commits, and for
 * every snapshot.  It leans on the clock, which may be set back by less than
 * ES_MARK_MARGIN_MS, also from a server to the one that takes over from it.
 *
 * Memory: the current context.  Locks: RowExclusive or AccessShare on
 * eventstore.marks.  Calls: catalog, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/indexing.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/scan.h"
#include "order/milestone.h"

/*
 * Note that everything up to a position, which this transaction has taken, was
 * recorded by now.
 *
 * recorded_at: of its own events; later than now where their streams' last
 * events are.
 */
void
es_milestone_set(int64 position, TimestampTz recorded_at)
{
	Relation rel = es_catalog_open(ES_MARKS, RowExclusiveLock);
	TimestampTz now = GetCurrentTimestamp();
	bool nulls[Natts_marks] = {false};
	Datum values[Natts_marks];

	values[Anum_marks_position - 1] = Int64GetDatum(position);
	values[Anum_marks_recorded_by - 1] = TimestampTzGetDatum(Max(now, recorded_at));
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	relation_close(rel, NoLock);
}

/*
 * A position up to which nothing was recorded at or after a time, as near to
 * the first such event as the marks tell; 0 if they do not.
 */
int64
es_milestone_find(TimestampTz at, Snapshot snapshot)
{
	Relation rel = es_catalog_open(ES_MARKS, AccessShareLock);
	int64 position = 0;
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, rel, ES_MARKS_POSITION);
	es_scan_begin(&scan, snapshot);
	/* To the first that is too late, though later ones may not be. */
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		TimestampTz by = DatumGetTimestampTz(
			slot_getattr(scan.slot, Anum_marks_recorded_by, &is_null));

		CHECK_FOR_INTERRUPTS();
		if (at <= TimestampTzPlusMilliseconds(by, ES_MARK_MARGIN_MS))
			break;
		position = DatumGetInt64(slot_getattr(scan.slot, Anum_marks_position, &is_null));
	}
	es_scan_close(&scan);
	relation_close(rel, NoLock);
	return position;
}
