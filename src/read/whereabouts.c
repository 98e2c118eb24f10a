/*-------------------------------------------------------------------------
 *
 * whereabouts.c
 *		Which partitions of eventstore.events a stream is in.
 *
 * Where a stream's events are is written nowhere, as an append would have to
 * write it.  But its row says which version the last one has and when that was
 * recorded, and marks (milestone.c) say above which position everything is that
 * was recorded since: there, or in the next partition, the last event is.  From
 * it on down the streams's versions lead from partition to partition, as there
 * are no gaps, until the first one is found that is asked for.
 *
 * So a stream opens the partitions that it is in, and those between.  Nothing is
 * believed: where the last event is not found, or the first is gone, all
 * partitions are looked into.
 *
 * Memory: the current context.  Locks: AccessShare on eventstore.streams and
 * marks, and on partitions.  Calls: catalog, milestone, ranges, scan, stream.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "base/stream.h"
#include "order/milestone.h"
#include "read/whereabouts.h"

/* What is looked for. */
typedef struct Whereabouts
{
	Relation events;
	const text *stream;
	Snapshot snapshot;
} Whereabouts;

/*
 * The lowest version of the stream in a range, at or above one; 0 if it has none.
 */
static int64
whereabouts_probe(const Whereabouts *what, const EsRange *range, int64 version)
{
	Relation table = table_open(range->table, AccessShareLock);
	int64 found = 0;
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, table, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(what->stream));
	es_scan_add_key(&scan, 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(version));
	es_scan_begin(&scan, what->snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		found = DatumGetInt64(slot_getattr(scan.slot, Anum_events_version, &is_null));
	es_scan_close(&scan);
	table_close(table, NoLock);
	return found;
}

/* Find the range with the last version, from where it may be on up.  Returns its number, or -1. */
static int
whereabouts_find_last(const Whereabouts *what, const EsStream *stream)
{
	int64 position = es_milestone_find(stream->recorded_at, what->snapshot) + 1;
	int number;

	es_ranges_hear();
	for (number = es_ranges_find(what->events, position); number < es_ranges_count(what->events);
		 number++)
	{
		EsRange range = es_ranges_get(what->events, number);

		CHECK_FOR_INTERRUPTS();
		if (whereabouts_probe(what, &range, stream->version) == stream->version)
			return number;
	}
	return -1;
}

/* Find the range that a version is in, or the first one above, from one by number on down. */
static int
whereabouts_find_first(const Whereabouts *what, int number, int64 version)
{
	int first = number;

	for (; number >= 0; number--)
	{
		EsRange range = es_ranges_get(what->events, number);
		int64 found = whereabouts_probe(what, &range, 1);

		CHECK_FOR_INTERRUPTS();
		if (found > 0)
			first = number;
		if (found > 0 && found <= version)
			break;
	}
	return first;
}

/* The row of the stream, as the snapshot sees it. */
static EsStream
whereabouts_get_row(const Whereabouts *what)
{
	Relation streams = es_catalog_open(ES_STREAMS, AccessShareLock);
	EsStream row;

	es_stream_find(&row, streams, what->stream, what->snapshot);
	es_stream_close(&row);
	relation_close(streams, NoLock);
	return row;
}

/*
 * Have a scan of a stream's versions, before it begins, look only where they are.
 *
 * snapshot: that it will begin under.
 * from: the lowest version that is wanted, of a forward scan.
 */
void
es_whereabouts_narrow(EsScan *scan, const text *stream, Snapshot snapshot, ScanDirection direction,
					  int64 from)
{
	Whereabouts what = {scan->table, stream, snapshot};
	int64 low = PG_INT64_MIN;
	EsStream row;
	int last;

	if (!es_ranges_are_of(scan->table) || scan->policy != NULL)
		return;
	row = whereabouts_get_row(&what);
	if (row.version == 0)
		return;
	last = whereabouts_find_last(&what, &row);
	if (last < 0)
		return;
	if (ScanDirectionIsForward(direction))
		low = es_ranges_get(scan->table, whereabouts_find_first(&what, last, Max(from, 1))).from;
	es_scan_within(scan, low, es_ranges_get(scan->table, last).upto - 1);
}
