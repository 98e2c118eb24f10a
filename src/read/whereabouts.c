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
 * Memory: the current context.  Locks: AccessShare on eventstore.streams,
 * removed events and marks, and on partitions.  Calls: catalog, milestone, ranges,
 * removed, scan, stream.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "base/removed.h"
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
	/* Of a foreign table the rest need not come. */
	scan.wants_entries = scan.is_remote;
	es_scan_begin(&scan, what->snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		found = DatumGetInt64(slot_getattr(scan.slot, Anum_events_version, &is_null));
	es_scan_close(&scan);
	table_close(table, NoLock);
	return found;
}

static bool
whereabouts_is_remote(const EsRange *range)
{
	return get_rel_relkind(range->table) == RELKIND_FOREIGN_TABLE;
}

/*
 * Find the range with the last version, of those that are foreign tables or of the
 * others, from one by number on up.  Returns its number, or -1.
 */
static int
whereabouts_find_last_among(const Whereabouts *what, const EsStream *stream, int number,
							bool is_remote)
{
	for (; number < es_ranges_count(what->events); number++)
	{
		EsRange range = es_ranges_get(what->events, number);

		CHECK_FOR_INTERRUPTS();
		if (whereabouts_is_remote(&range) == is_remote &&
			whereabouts_probe(what, &range, stream->version) == stream->version)
			return number;
	}
	return -1;
}

/* The same of all, from where it may be on up.  Other servers are asked last. */
static int
whereabouts_find_last(const Whereabouts *what, const EsStream *stream)
{
	int64 position = es_milestone_find(stream->recorded_at, what->snapshot) + 1;
	int lowest;
	int number;

	es_ranges_hear();
	lowest = es_ranges_find(what->events, position);
	number = whereabouts_find_last_among(what, stream, lowest, false);
	return number >= 0 ? number : whereabouts_find_last_among(what, stream, lowest, true);
}

/*
 * Whether another server need not be asked for what is below a version: that was
 * removed, which nothing is whose stream has an event in a foreign table.
 */
static bool
whereabouts_may_pass(const Whereabouts *what, const EsRange *range, int64 lowest)
{
	return whereabouts_is_remote(range) && lowest != PG_INT64_MAX &&
		es_removed_is_version(what->stream, lowest - 1, what->snapshot);
}

/* Find the range that a version is in, or the first one above, from one by number on down. */
static int
whereabouts_find_first(const Whereabouts *what, int number, int64 version)
{
	int first = number;
	int64 lowest = PG_INT64_MAX;

	for (; number >= 0 && lowest > version; number--)
	{
		EsRange range = es_ranges_get(what->events, number);
		int64 found;

		CHECK_FOR_INTERRUPTS();
		if (whereabouts_may_pass(what, &range, lowest))
			continue;
		found = whereabouts_probe(what, &range, 1);
		if (found > 0)
		{
			first = number;
			lowest = found;
		}
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

	if (!es_ranges_are_of(scan->table))
		return;
	row = whereabouts_get_row(&what);
	if (row.version == 0)
		return;
	if (es_ranges_have_remote(scan->table) && es_removed_is_version(stream, row.version, snapshot))
	{
		/* All of it was, as nothing is whose stream has an event in a foreign table. */
		scan->is_local = true;
		return;
	}
	last = whereabouts_find_last(&what, &row);
	if (last < 0)
		return;
	/* Backward, who reads ends where it begins; a SELECT is planned over all that is left. */
	if (ScanDirectionIsBackward(direction))
		from = 1;
	if (ScanDirectionIsForward(direction) || scan->has_policies)
		low = es_ranges_get(scan->table, whereabouts_find_first(&what, last, Max(from, 1))).from;
	es_scan_within(scan, low, es_ranges_get(scan->table, last).upto - 1);
}
