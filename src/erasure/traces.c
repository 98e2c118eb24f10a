/*-------------------------------------------------------------------------
 *
 * traces.c
 *		Snapshots of what an erased subject's values may be in.
 *
 * Whoever folds a stream may reveal what is in it, and a snapshot keeps what
 * comes of that.  What was an envelope can not be told by looking at the
 * snapshot, but by looking at what it was made of: a snapshot goes if its stream
 * has an envelope of the subject up to its version, or if it holds one itself.
 *
 * Only streams that have snapshots are looked through, each up to the first
 * envelope or the latest snapshot; no index knows of subjects.
 *
 * Memory: a context of its own, reset for each snapshot and each event.  Locks:
 * AccessShare on snapshots and events; RowExclusive on snapshots and the rows
 * that go.  Calls: catalog, envelope, scan, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/names.h"
#include "base/scan.h"
#include "base/sql.h"
#include "erasure/envelope.h"
#include "erasure/traces.h"

typedef struct Traces
{
	const text *subject;
	Relation events;
	Snapshot snapshot;
	MemoryContext scratch; /* for a snapshot or an event */

	/* The stream that was looked through last, and how far, in versions. */
	text *stream;
	int64 looked_upto;
	int64 found_at; /* 0: not found yet */

	int64 removed;
} Traces;

static bool
traces_is_in_column(const Traces *traces, const EsScan *scan, AttrNumber column)
{
	bool is_null;
	Datum value = slot_getattr(scan->slot, column, &is_null);

	return !is_null && es_envelope_is_in(&DatumGetJsonbP(value)->root, traces->subject);
}

/* Look through the events of the stream after where that was done, up to a version. */
static void
traces_look(Traces *traces, int64 upto)
{
	EsScan scan;

	es_scan_open(&scan, traces->events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(traces->stream));
	es_scan_add_key(&scan, 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(traces->looked_upto));
	es_scan_add_key(&scan, 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	es_scan_begin(&scan, traces->snapshot);
	while (traces->found_at == 0 && es_scan_next(&scan, ForwardScanDirection))
	{
		MemoryContext caller = MemoryContextSwitchTo(traces->scratch);
		bool is_null;

		CHECK_FOR_INTERRUPTS();
		if (traces_is_in_column(traces, &scan, Anum_events_data) ||
			traces_is_in_column(traces, &scan, Anum_events_metadata))
			traces->found_at = DatumGetInt64(slot_getattr(scan.slot, Anum_events_version, &is_null));
		MemoryContextSwitchTo(caller);
		MemoryContextReset(traces->scratch);
	}
	es_scan_close(&scan);
	traces->looked_upto = upto;
}

/* Whether the stream has an envelope of the subject up to a version. */
static bool
traces_are_in_stream(Traces *traces, const text *stream, int64 upto)
{
	if (traces->stream == NULL || !es_names_equal(traces->stream, stream))
	{
		traces->stream = DatumGetTextPCopy(PointerGetDatum(stream));
		traces->looked_upto = 0;
		traces->found_at = 0;
	}
	if (traces->found_at == 0 && traces->looked_upto < upto)
		traces_look(traces, upto);
	return traces->found_at != 0 && traces->found_at <= upto;
}

static void
traces_delete(Traces *traces, Datum stream, Datum schema_version)
{
	static EsSql statement =
		ES_SQL("DELETE FROM eventstore.snapshots WHERE stream = $1 AND schema_version = $2",
			   TEXTOID, INT4OID);
	Datum values[] = {stream, schema_version};

	traces->removed += es_sql_run(&statement, values, NULL);
}

/* Decide about the snapshot that the scan stands at. */
static void
traces_judge(Traces *traces, EsScan *scan)
{
	bool is_null;
	Datum stream = slot_getattr(scan->slot, Anum_snapshots_stream, &is_null);
	Datum schema_version = slot_getattr(scan->slot, Anum_snapshots_schema_version, &is_null);
	int64 version = DatumGetInt64(slot_getattr(scan->slot, Anum_snapshots_version, &is_null));
	MemoryContext caller = MemoryContextSwitchTo(traces->scratch);
	bool is_held = traces_is_in_column(traces, scan, Anum_snapshots_state);

	MemoryContextSwitchTo(caller);
	MemoryContextReset(traces->scratch);
	if (is_held || traces_are_in_stream(traces, DatumGetTextPP(stream), version))
		traces_delete(traces, stream, schema_version);
}

/*
 * Delete the snapshots that may hold a subject's values, as the store's owner,
 * and say how many they were.
 */
void
es_traces_remove(const text *subject)
{
	Relation snapshots = es_catalog_open(ES_SNAPSHOTS, AccessShareLock);
	Traces traces = {.subject = subject,
					 .events = es_catalog_open(ES_EVENTS, AccessShareLock),
					 .snapshot = RegisterSnapshot(GetLatestSnapshot()),
					 .scratch = AllocSetContextCreate(CurrentMemoryContext, "eventstore traces",
													  ALLOCSET_DEFAULT_SIZES)};
	EsScan scan;

	es_scan_open(&scan, snapshots, ES_SNAPSHOTS_PKEY);
	es_scan_begin(&scan, traces.snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		traces_judge(&traces, &scan);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(traces.snapshot);
	MemoryContextDelete(traces.scratch);
	relation_close(traces.events, NoLock);
	relation_close(snapshots, NoLock);
	if (traces.removed > 0)
		ereport(NOTICE,
				(errmsg_plural("%lld snapshot that may hold what subject \"%s\" had is deleted",
							   "%lld snapshots that may hold what subject \"%s\" had are deleted",
							   (unsigned long) traces.removed, (long long) traces.removed,
							   text_to_cstring(subject))));
}
