/*-------------------------------------------------------------------------
 *
 * gone.c
 *		What a replay does without: events that were removed.
 *
 * A read table keeps what it was made of when an event goes.  A replay makes a
 * table of what is left, so it may differ from the one that it stands beside;
 * who asks for it is told how many events are missing.
 *
 * Memory: the current context.  Locks: AccessShare on the events that are gone.
 * Calls: catalog, names, projection, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/away.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/scan.h"
#include "projection/replay/gone.h"

static bool
gone_passes(const EsFilter *filter, const text *name)
{
	return !filter->is_on || es_projection_has_name(filter, name);
}

/* Where what is asked of an event that is gone stands in its row. */
typedef struct GoneColumns
{
	EsRelation index; /* by position */
	AttrNumber type;
	AttrNumber stream;
	AttrNumber recorded_at;
} GoneColumns;

/* Whether the projection would have been applied to an event that is gone. */
static bool
gone_is_missed(const EsProjection *projection, const GoneColumns *columns, TupleTableSlot *slot)
{
	slot_getsomeattrs(slot, columns->recorded_at);
	if (projection->recorded_until != 0 &&
		DatumGetTimestampTz(slot->tts_values[columns->recorded_at - 1]) > projection->recorded_until)
		return false;
	return gone_passes(&projection->types, DatumGetTextPP(slot->tts_values[columns->type - 1])) &&
		gone_passes(&projection->categories,
					es_names_category(DatumGetTextPP(slot->tts_values[columns->stream - 1])));
}

static int64
gone_count(const EsProjection *projection, EsRelation table, const GoneColumns *columns, int64 upto)
{
	Relation rel = es_catalog_open(table, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64 count = 0;
	EsScan scan;

	es_scan_open(&scan, rel, columns->index);
	es_scan_add_key(&scan, 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (gone_is_missed(projection, columns, scan.slot))
			count++;
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return count;
}

/*
 * Tell the caller how many events a replay up to a position does without; where
 * there are none, nothing.
 */
void
es_gone_tell(const EsProjection *projection, int64 upto)
{
	static const GoneColumns detached = {ES_EVENTS_PKEY, Anum_events_type, Anum_events_stream,
										 Anum_events_recorded_at};
	static const GoneColumns removed = {ES_REMOVED_POSITION, Anum_removed_type, Anum_removed_stream,
										Anum_removed_recorded_at};
	int64 count = gone_count(projection, ES_DETACHED, &detached, upto) +
		gone_count(projection, ES_REMOVED, &removed, upto);

	if (count > 0)
		ereport(NOTICE,
				(errmsg_plural("projection \"%s\" is made without %lld event that is gone",
							   "projection \"%s\" is made without %lld events that are gone",
							   (unsigned long) count, projection->name, (long long) count),
				 es_away_count(0) > 0
					 ? errdetail("They were truncated, deleted or retained no longer, or are in partitions that were detached; see eventstore.archived_ranges.")
					 : errdetail("They were truncated, deleted or retained no longer.")));
}
