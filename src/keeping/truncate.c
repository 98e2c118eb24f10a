/*-------------------------------------------------------------------------
 *
 * truncate.c
 *		The verbs that forget a stream: es_truncate_stream, es_delete_stream.
 *
 * Where a stream begins is written nowhere: it begins with its first event that
 * is there.  Its row goes on saying of which version the last one was, so no
 * version is given out again.
 *
 * A truncation takes what is there and older, and leaves the row alone: no
 * append waits for it.  A deletion checks an expected version, so it takes the
 * row as an append does, and writes it, so that an append that had seen the
 * stream looks again.
 *
 * Snapshots of what is gone go with it; a truncation leaves those of the version
 * right before the new beginning, which is what it is for.
 *
 * Memory: the function call's context.  Locks: userlocks "custody" and "keeps",
 * first; es_delete_stream the stream's row FOR NO KEY UPDATE; the rows of events.
 * Calls: arguments, catalog, custody, expected, forget, removed, stream.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "append/expected.h"
#include "base/arguments.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/event.h"
#include "base/removed.h"
#include "base/scan.h"
#include "base/stream.h"
#include "keeping/custody.h"
#include "keeping/forget.h"
#include "keeping/truncate.h"

PG_FUNCTION_INFO_V1(es_truncate_stream);
PG_FUNCTION_INFO_V1(es_delete_stream);

/* The version that a stream has at this moment, for this transaction. */
static int64
truncate_find_version(const text *name)
{
	Relation streams = es_catalog_open(ES_STREAMS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsStream stream;

	es_stream_find(&stream, streams, name, snapshot);
	es_stream_close(&stream);
	UnregisterSnapshot(snapshot);
	relation_close(streams, NoLock);
	return stream.version;
}

/*
 * Have a stream begin with a version; the caller holds the userlocks.  Returns
 * how many events are gone.
 *
 * from: the first version that there may be.
 */
int64
es_truncate_between(const text *stream, int64 from, int64 before_version)
{
	int64 last = Min(before_version - 1, truncate_find_version(stream));
	int64 count;

	if (last < from)
		return 0;
	count = es_forget_events(stream, from, last);
	if (count > 0)
		es_forget_snapshots(stream, 1, last - 1);
	return count;
}

/*
 * es_truncate_stream(stream text, before_version bigint) -> bigint
 */
Datum
es_truncate_stream(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int64 before_version;

	es_arguments_check_not_null(fcinfo, 1, "before_version");
	before_version = PG_GETARG_INT64(1);
	if (before_version < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("before_version must not be negative")));
	PreventCommandIfReadOnly("es_truncate_stream()");
	PreventCommandIfParallelMode("es_truncate_stream()");

	CommandCounterIncrement();
	es_custody_alter();
	es_removed_guard(stream);
	PG_RETURN_INT64(es_truncate_between(stream, 1, before_version));
}

static void
truncate_get_target(FunctionCallInfo fcinfo, EsAppend *target)
{
	es_arguments_check_not_null(fcinfo, 0, "stream");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("expected_version must not be null"),
				 errhint("Use es_any(), -1, to delete the stream whatever its version is.")));
	es_event_append_init(target, PG_GETARG_TEXT_PP(0), PG_GETARG_INT64(1));
}

/*
 * Write the row of a stream that is locked, as it is or as a tombstone; one that
 * has none gets one.
 */
static void
truncate_write_row(EsStream *stream, int64 expected_version, bool tombstone)
{
	for (;;)
	{
		TimestampTz recorded_at = stream->exists ? stream->recorded_at : GetCurrentTimestamp();

		stream->is_tombstoned = tombstone;
		if (es_stream_advance(stream, stream->version, recorded_at))
			return;
		/* Somebody was quicker to make it. */
		es_expected_check(stream, expected_version, stream->version);
	}
}

/* Raise if a trigger has kept an event of a stream of which all should be gone. */
static void
truncate_check_empty(const text *stream)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Snapshot snapshot;
	EsScan scan;

	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	/* In a foreign table it has none. */
	scan.is_local = true;
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
				 errmsg("stream \"%s\" was not deleted", text_to_cstring(stream)),
				 errdetail("A trigger on \"events\" has kept events of it.")));
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
}

/* Delete a stream whose row is locked, and is where it is expected. */
static void
truncate_delete(EsStream *stream, int64 expected_version, bool tombstone)
{
	bool has_gone = stream->version > 0 && es_forget_events(stream->name, 1, stream->version) > 0;

	truncate_check_empty(stream->name);
	es_forget_snapshots(stream->name, 1, PG_INT64_MAX);
	if (has_gone || tombstone)
		truncate_write_row(stream, expected_version, tombstone);
}

/*
 * es_delete_stream(stream text, expected_version bigint, tombstone boolean = false) -> void
 *
 * A tombstoned stream is what the caller wants already.
 */
Datum
es_delete_stream(PG_FUNCTION_ARGS)
{
	EsAppend target;
	SnapshotData snapshot;
	Relation streams;
	EsStream stream;

	truncate_get_target(fcinfo, &target);
	es_arguments_check_not_null(fcinfo, 2, "tombstone");
	PreventCommandIfReadOnly("es_delete_stream()");
	PreventCommandIfParallelMode("es_delete_stream()");

	CommandCounterIncrement();
	es_custody_alter();
	es_removed_guard(target.stream);
	streams = es_catalog_open(ES_STREAMS, RowExclusiveLock);
	es_stream_find(&stream, streams, target.stream, es_scan_snapshot(&snapshot));
	es_stream_lock(&stream, LockTupleNoKeyExclusive);
	if (!stream.is_tombstoned)
	{
		es_expected_check(&stream, target.expected_version, stream.version);
		truncate_delete(&stream, target.expected_version, PG_GETARG_BOOL(2));
	}
	es_stream_close(&stream);
	relation_close(streams, NoLock);
	PG_RETURN_VOID();
}
