/*-------------------------------------------------------------------------
 *
 * fold.c
 *		es_fold: a stream's events, reduced to the state they amount to.
 *
 * The reducer, a function of the user's in any language (reducer.c), is called
 * for one event after another, in order of version, as the caller of es_fold.
 *
 * es_fold sees what the calling statement sees, even if the reducer appends, and
 * what row security lets the caller see.
 *
 * Memory: the function call's context holds the state; what a call of the
 * reducer leaves is given back before the next.  Locks: AccessShare on
 * eventstore.events and its index, and what the reducer takes.  Calls:
 * arguments, catalog, reducer, scan, see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/reducer.h"
#include "base/scan.h"
#include "read/whereabouts.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_fold);

/* ----------------------------------------------------------------------
 * Arguments
 * ----------------------------------------------------------------------
 */

/* PG_INT64_MAX: up to the last one. */
static int64
fold_get_at_version(FunctionCallInfo fcinfo)
{
	int64 at_version;

	if (PG_ARGISNULL(3))
		return PG_INT64_MAX;
	at_version = PG_GETARG_INT64(3);
	if (at_version < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("at_version must not be negative")));
	return at_version;
}

/* ----------------------------------------------------------------------
 * Folding
 * ----------------------------------------------------------------------
 */

/* Fold the events recorded by a time; times never decrease along a stream. */
static void
fold_run(EsReducer *reducer, EsFolded *folded, EsScan *scan, TimestampTz at)
{
	while (es_scan_next(scan, ForwardScanDirection))
	{
		bool is_null;
		Datum recorded_at = slot_getattr(scan->slot, Anum_events_recorded_at, &is_null);

		CHECK_FOR_INTERRUPTS();
		if (DatumGetTimestampTz(recorded_at) > at)
			break;
		slot_getsomeattrs(scan->slot, Natts_event);
		es_reducer_fold(reducer, folded, scan->slot->tts_values, scan->slot->tts_isnull);
	}
}

/*
 * es_fold(stream text, reducer regprocedure, initial jsonb = '{}',
 *		   at_version bigint = NULL, at timestamptz = NULL) -> jsonb
 */
Datum
es_fold(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int64 at_version = fold_get_at_version(fcinfo);
	TimestampTz at = PG_ARGISNULL(4) ? DT_NOEND : PG_GETARG_TIMESTAMPTZ(4);
	Relation events;
	EsReducer reducer;
	EsFolded folded;
	EsScan scan;

	es_arguments_check_not_null(fcinfo, 1, "reducer");
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	es_reducer_begin(&reducer, PG_GETARG_OID(1));
	es_reducer_start(&reducer, &folded, PG_GETARG_DATUM(2), PG_ARGISNULL(2));

	es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(&scan, 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(at_version));
	es_see_as(&scan, GetUserId(), ForwardScanDirection);
	es_whereabouts_narrow(&scan, stream, GetActiveSnapshot(), ForwardScanDirection, 1);
	es_scan_begin(&scan, GetActiveSnapshot());
	fold_run(&reducer, &folded, &scan, at);
	es_scan_close(&scan);

	es_reducer_end(&reducer);
	relation_close(events, NoLock);
	if (folded.is_null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(folded.state);
}
