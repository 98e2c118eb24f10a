/*-------------------------------------------------------------------------
 *
 * state.c
 *		What a stream amounts to, by a snapshot and what came after it:
 *		es_load, es_snapshot.
 *
 * They see what the calling statement sees: snapshot and tail come from one
 * MVCC snapshot; and what row security lets the caller see.
 *
 * Memory: the function call's context.  Locks: AccessShare on snapshots, events
 * and their indexes.  Calls: arguments, catalog, kept, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/scan.h"
#include "read/kept.h"

PG_FUNCTION_INFO_V1(es_snapshot);
PG_FUNCTION_INFO_V1(es_load);

static Datum
state_make_result(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type is not a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * es_snapshot(stream text, schema_version bigint = 1)
 *	 -> (version bigint, state jsonb, saved_at timestamptz)
 */
Datum
es_snapshot(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int32 schema_version = es_kept_get_schema_version(fcinfo, 1);
	EsKept kept = es_kept_find(stream, schema_version, GetActiveSnapshot());
	bool is_none = !kept.exists || !es_kept_may_see(&kept, stream, GetActiveSnapshot());
	Datum values[3] = {Int64GetDatum(kept.event.version), kept.state,
					   TimestampTzGetDatum(kept.saved_at)};
	bool nulls[3] = {is_none, is_none, is_none};

	PG_RETURN_DATUM(state_make_result(fcinfo, values, nulls));
}

static void
state_check_size(Size size)
{
	if (size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events for one array"),
				 errdetail("They take more than %zu bytes.", (Size) MaxAllocSize),
				 errhint("Read them with es_read(), or fold them with es_fold(), and save a snapshot.")));
}

/* The rest of a scan's events as eventstore.event[]. */
static Datum
state_collect(EsScan *scan)
{
	Oid type = es_catalog_event_type();
	TupleDesc desc = lookup_rowtype_tupdesc(type, -1);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext event_context = AllocSetContextCreate(caller, "eventstore load",
														ALLOCSET_DEFAULT_SIZES);
	ArrayBuildState *array = initArrayResult(type, caller, false);
	Size size = 0;

	while (es_scan_next(scan, ForwardScanDirection))
	{
		Datum event;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(event_context);
		event = es_scan_event(scan, desc);
		MemoryContextSwitchTo(caller);
		size += VARSIZE_ANY(DatumGetPointer(event));
		state_check_size(size);
		accumArrayResult(array, event, false, type, caller);
		MemoryContextReset(event_context);
	}
	MemoryContextDelete(event_context);
	ReleaseTupleDesc(desc);
	return makeArrayResult(array, caller);
}

/*
 * es_load(stream text, schema_version bigint = 1)
 *	 -> (version bigint, state jsonb, events eventstore.event[])
 *
 * Without a snapshot that counts: version 0, state null and all events.
 */
Datum
es_load(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int32 schema_version = es_kept_get_schema_version(fcinfo, 1);
	EsKept kept = es_kept_find(stream, schema_version, GetActiveSnapshot());
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Datum values[3];
	bool nulls[3] = {false, false, false};
	EsScan scan;

	es_kept_begin_tail(&scan, events, stream, &kept, GetActiveSnapshot());
	values[0] = Int64GetDatum(kept.exists ? kept.event.version : 0);
	values[1] = kept.state;
	values[2] = state_collect(&scan);
	nulls[1] = !kept.exists;
	es_scan_close(&scan);
	relation_close(events, NoLock);
	PG_RETURN_DATUM(state_make_result(fcinfo, values, nulls));
}
