/*-------------------------------------------------------------------------
 *
 * beginning.c
 *		Where a stream begins.
 *
 * A stream that was truncated begins with the first event that is left.  What it
 * was up to then is known to a snapshot only, of the event right before: so that
 * one counts, as long as nothing is missing in between.
 *
 * Memory: the current context.  Locks: AccessShare on removed events, streams
 * and indexes.  Calls: catalog, names, removed, scan, stream,
 * whereabouts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "utils/fmgroids.h"

#include "base/names.h"
#include "base/removed.h"
#include "base/scan.h"
#include "base/stream.h"
#include "read/beginning.h"
#include "read/whereabouts.h"

/* Whether it is this very event that was removed. */
static bool
beginning_was_removed(const text *stream, const EsStateEvent *event, Snapshot snapshot)
{
	EsRemovedLook look;
	EsRemoved removed;
	bool is_found;

	es_removed_open(&look);
	is_found = es_removed_find(&look, &event->id, snapshot, &removed);
	es_removed_close(&look);
	return is_found && removed.position == event->position && removed.version == event->version &&
		removed.recorded_at == event->recorded_at && es_names_equal(removed.stream, stream);
}

/* The version of the first event that is left, whoever may see it; 0 if none is. */
static int64
beginning_find(Relation events, const text *stream, Snapshot snapshot)
{
	int64 version = 0;
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_whereabouts_narrow(&scan, stream, snapshot, ForwardScanDirection, 1);
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		version = DatumGetInt64(slot_getattr(scan.slot, Anum_events_version, &is_null));
	es_scan_close(&scan);
	return version;
}

/* The version that a stream has, whether or not its events are there. */
static int64
beginning_find_end(const text *name, Snapshot snapshot)
{
	Relation streams = es_catalog_open(ES_STREAMS, AccessShareLock);
	EsStream stream;

	es_stream_find(&stream, streams, name, snapshot);
	es_stream_close(&stream);
	relation_close(streams, NoLock);
	return stream.version;
}

/*
 * Whether a stream begins right after an event that was removed, or has nothing
 * left and that was its last one.
 */
bool
es_beginning_follows(Relation events, const text *stream, const EsStateEvent *event,
					 Snapshot snapshot)
{
	int64 first;

	if (!beginning_was_removed(stream, event, snapshot))
		return false;
	first = beginning_find(events, stream, snapshot);
	return first != 0 ? first == event->version + 1
					  : beginning_find_end(stream, snapshot) == event->version;
}
