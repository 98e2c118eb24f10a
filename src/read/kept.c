/*-------------------------------------------------------------------------
 *
 * kept.c
 *		The snapshot that is kept of a stream, and whether it counts.
 *
 * A snapshot is a cache, which must not change an answer.  It is kept with
 * position, id and time of the event that it was taken at, and it counts only
 * while that very event stands in the stream, as the calling statement sees it.
 * So one that is ahead of the stream is passed over, and stays so when the
 * stream grows past it by other events, as after a restore of older data.
 * Where the stream was truncated right behind that event, it counts, too
 * (beginning.c).
 *
 * Memory: the current context.  Locks: AccessShare on snapshots, events and
 * their indexes.  Calls: arguments, beginning, catalog, scan, see, whereabouts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "read/beginning.h"
#include "read/kept.h"
#include "read/whereabouts.h"
#include "rights/see.h"

/* The number of the state's form, an argument of the verbs. */
int32
es_kept_get_schema_version(FunctionCallInfo fcinfo, int argument)
{
	return (int32) es_arguments_get_number(fcinfo, argument, "schema_version", PG_INT32_MIN,
										   PG_INT32_MAX);
}

static Datum
kept_column(const EsScan *scan, AttrNumber column)
{
	bool is_null;

	return slot_getattr(scan->slot, column, &is_null);
}

/* The snapshot that is kept, whether or not it counts. */
EsKept
es_kept_find(const text *stream, int32 schema_version, Snapshot snapshot)
{
	Relation snapshots = es_catalog_open(ES_SNAPSHOTS, AccessShareLock);
	EsKept kept = {false};
	EsScan scan;

	es_scan_open(&scan, snapshots, ES_SNAPSHOTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(&scan, 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(schema_version));
	es_scan_begin(&scan, snapshot);
	kept.exists = es_scan_next(&scan, ForwardScanDirection);
	if (kept.exists)
	{
		kept.event.version = DatumGetInt64(kept_column(&scan, Anum_snapshots_version));
		kept.event.position = DatumGetInt64(kept_column(&scan, Anum_snapshots_position));
		kept.event.id = *DatumGetUUIDP(kept_column(&scan, Anum_snapshots_event_id));
		kept.event.recorded_at = DatumGetTimestampTz(kept_column(&scan, Anum_snapshots_recorded_at));
		kept.state = PointerGetDatum(
			PG_DETOAST_DATUM_COPY(kept_column(&scan, Anum_snapshots_state)));
		kept.saved_at = DatumGetTimestampTz(kept_column(&scan, Anum_snapshots_saved_at));
	}
	es_scan_close(&scan);
	relation_close(snapshots, NoLock);
	return kept;
}

static void
kept_open_events(EsScan *scan, Relation events, const text *stream, int64 from)
{
	es_scan_open(scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(scan, 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
}

/* Begin a scan of a stream's events that the caller may see, from a version on. */
static void
kept_begin_events(EsScan *scan, Relation events, const text *stream, int64 from, Snapshot snapshot)
{
	kept_open_events(scan, events, stream, from);
	es_see_as(scan, GetUserId(), ForwardScanDirection);
	es_whereabouts_narrow(scan, stream, snapshot, ForwardScanDirection, from);
	es_scan_begin(scan, snapshot);
}

/*
 * Whether row security hides from the caller any event of a stream up to a
 * version.  A snapshot is of all of them: it would tell of what is hidden.
 */
static bool
kept_has_hidden(Relation events, const text *stream, int64 upto, Snapshot snapshot)
{
	EsScan seen;
	EsScan all;
	bool result = false;

	if (!es_see_is_limited(events, GetUserId()))
		return false;
	kept_begin_events(&seen, events, stream, 0, snapshot);
	es_scan_open(&all, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&all, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(&all, 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	es_whereabouts_narrow(&all, stream, snapshot, ForwardScanDirection, 1);
	es_scan_begin(&all, snapshot);
	/* Each event of the one scan has to be the next of the other. */
	while (!result && es_scan_next(&all, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		result = !es_scan_next(&seen, ForwardScanDirection) ||
			DatumGetInt64(kept_column(&seen, Anum_events_version)) !=
				DatumGetInt64(kept_column(&all, Anum_events_version));
	}
	es_scan_close(&all);
	es_scan_close(&seen);
	return result;
}

/* Whether the next event is of a version, and then which it is. */
static bool
kept_next_is(EsScan *scan, int64 version, EsStateEvent *event)
{
	if (!es_scan_next(scan, ForwardScanDirection) ||
		DatumGetInt64(kept_column(scan, Anum_events_version)) != version)
		return false;
	event->version = version;
	event->position = DatumGetInt64(kept_column(scan, Anum_events_position));
	event->id = *DatumGetUUIDP(kept_column(scan, Anum_events_id));
	event->recorded_at = DatumGetTimestampTz(kept_column(scan, Anum_events_recorded_at));
	return true;
}

static bool
kept_is_same(const EsStateEvent *a, const EsStateEvent *b)
{
	return a->version == b->version && a->position == b->position &&
		memcmp(&a->id, &b->id, UUID_LEN) == 0 && a->recorded_at == b->recorded_at;
}

/*
 * Whether a snapshot of events that are gone counts for the caller.  What row
 * security would have hidden of them nobody knows any more; where it hides
 * nothing of what is left of the stream, it is taken to have hidden nothing.
 */
static bool
kept_is_of_removed(Relation events, const text *stream, const EsKept *kept, Snapshot snapshot)
{
	EsStateEvent event;
	EsScan scan;
	bool result;

	if (!es_beginning_follows(events, stream, &kept->event, snapshot))
		return false;
	if (!es_select_has_policies(events, GetUserId()))
		return true;
	kept_begin_events(&scan, events, stream, kept->event.version + 1, snapshot);
	result = kept_next_is(&scan, kept->event.version + 1, &event);
	es_scan_close(&scan);
	return result && !kept_has_hidden(events, stream, PG_INT64_MAX, snapshot);
}

/*
 * Begin a scan of the events after a snapshot.  One that does not count is
 * made one that does not exist, and the scan begins with the first event.
 */
void
es_kept_begin_tail(EsScan *scan, Relation events, const text *stream, EsKept *kept,
				   Snapshot snapshot)
{
	EsStateEvent event;

	if (kept->exists && kept_has_hidden(events, stream, kept->event.version, snapshot))
		kept->exists = false;
	if (kept->exists)
	{
		kept_begin_events(scan, events, stream, kept->event.version, snapshot);
		if (kept_next_is(scan, kept->event.version, &event) && kept_is_same(&event, &kept->event))
			return;
		es_scan_close(scan);
		kept->exists = kept_is_of_removed(events, stream, kept, snapshot);
	}
	kept_begin_events(scan, events, stream, kept->exists ? kept->event.version + 1 : 1, snapshot);
}

/* Find a stream's event of a version, whoever may see it.  Returns false if it is not there. */
bool
es_kept_find_event(const text *stream, int64 version, Snapshot snapshot, EsStateEvent *event)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool is_found;
	EsScan scan;

	kept_open_events(&scan, events, stream, version);
	es_scan_begin(&scan, snapshot);
	is_found = kept_next_is(&scan, version, event);
	es_scan_close(&scan);
	relation_close(events, NoLock);
	return is_found;
}

/* Whether a snapshot that exists counts by its event, which is there. */
static bool
kept_stands(const EsKept *kept, const text *stream, Snapshot snapshot)
{
	EsStateEvent event;

	return es_kept_find_event(stream, kept->event.version, snapshot, &event) &&
		kept_is_same(&event, &kept->event);
}

/* Whether a snapshot that exists counts. */
bool
es_kept_counts(const EsKept *kept, const text *stream, Snapshot snapshot)
{
	Relation events;
	bool result;

	if (kept_stands(kept, stream, snapshot))
		return true;
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	result = es_beginning_follows(events, stream, &kept->event, snapshot);
	relation_close(events, NoLock);
	return result;
}

/* Whether it counts, and tells of no events that the caller may not see. */
bool
es_kept_may_see(const EsKept *kept, const text *stream, Snapshot snapshot)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool result = kept_stands(kept, stream, snapshot)
		? !kept_has_hidden(events, stream, kept->event.version, snapshot)
		: kept_is_of_removed(events, stream, kept, snapshot);

	relation_close(events, NoLock);
	return result;
}
