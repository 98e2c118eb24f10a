/*-------------------------------------------------------------------------
 *
 * fold.c
 *		es_fold: a stream's events, reduced to the state they amount to.
 *
 * The reducer, a function of the user's in any language, is called for one
 * event after another, in order of version.  It runs as the caller of
 * es_fold, who must have the right to execute it, and it is treated as an
 * aggregate's transition function: a strict one is not called for a null
 * state, which stays null.
 *
 * es_fold sees what the calling statement sees, even if the reducer appends, and
 * what row security lets the caller see.
 *
 * Memory: the function call's context holds the state; what a call of the
 * reducer leaves is given back before the next.  Locks: AccessShare on
 * eventstore.events and its index, and what the reducer takes.  Calls:
 * arguments, catalog, scan, see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/scan.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_fold);

/* A state on its way through the events. */
typedef struct Fold
{
	FmgrInfo reducer;
	TupleDesc desc; /* of eventstore.event */
	Datum state;    /* jsonb, in context */
	bool is_null;
	MemoryContext context;
	MemoryContext event_context; /* of one call of the reducer */
} Fold;

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

/* Raise unless a function is of the form (jsonb, eventstore.event) -> jsonb. */
static void
fold_check_form(Oid oid, Form_pg_proc function)
{
	if (function->prokind == PROKIND_FUNCTION && !function->proretset &&
		function->prorettype == JSONBOID && function->pronargs == 2 &&
		function->proargtypes.values[0] == JSONBOID &&
		function->proargtypes.values[1] == es_catalog_event_type())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
			 errmsg("function %s cannot be a reducer", format_procedure(oid)),
			 errdetail("A reducer is a function of the arguments (jsonb, eventstore.event) that returns jsonb.")));
}

static void
fold_check_reducer(Oid oid)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
	AclResult may_execute;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", oid)));
	may_execute = es_compat_may_execute(oid, GetUserId());
	if (may_execute != ACLCHECK_OK)
		aclcheck_error(may_execute, OBJECT_FUNCTION,
					   NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname));
	fold_check_form(oid, (Form_pg_proc) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	InvokeFunctionExecuteHook(oid);
}

/* ----------------------------------------------------------------------
 * Folding
 * ----------------------------------------------------------------------
 */

static void
fold_begin(Fold *fold, Oid reducer, Datum initial, bool is_null)
{
	fold_check_reducer(reducer);
	fmgr_info(reducer, &fold->reducer);
	fold->desc = lookup_rowtype_tupdesc(es_catalog_event_type(), -1);
	fold->context = CurrentMemoryContext;
	fold->event_context = AllocSetContextCreate(CurrentMemoryContext, "eventstore fold",
												ALLOCSET_DEFAULT_SIZES);
	fold->is_null = is_null;
	if (!is_null)
		fold->state = PointerGetDatum(PG_DETOAST_DATUM_COPY(initial));
}

/* Call the reducer for an event, in the current context. */
static Datum
fold_call(Fold *fold, Datum event, bool *is_null)
{
	LOCAL_FCINFO(call, 2);
	PgStat_FunctionCallUsage usage;
	Datum state;

	InitFunctionCallInfoData(*call, &fold->reducer, 2, InvalidOid, NULL, NULL);
	call->args[0].value = fold->state;
	call->args[0].isnull = fold->is_null;
	call->args[1].value = event;
	call->args[1].isnull = false;
	pgstat_init_function_usage(call, &usage);
	state = FunctionCallInvoke(call);
	pgstat_end_function_usage(&usage, true);
	*is_null = call->isnull;
	return state;
}

/* Make what the reducer returned the state; it may be the old one. */
static void
fold_replace(Fold *fold, Datum state, bool is_null)
{
	Datum old = fold->state;
	bool was_null = fold->is_null;

	if (!is_null && !was_null && state == old)
		return;
	fold->is_null = is_null;
	if (!is_null)
		fold->state = PointerGetDatum(PG_DETOAST_DATUM_COPY(state));
	if (!was_null)
		pfree(DatumGetPointer(old));
}

static void
fold_add(Fold *fold, const EsScan *scan)
{
	Datum state;
	bool is_null;

	if (fold->is_null && fold->reducer.fn_strict)
		return;
	MemoryContextReset(fold->event_context);
	MemoryContextSwitchTo(fold->event_context);
	state = fold_call(fold, es_scan_event(scan, fold->desc), &is_null);
	MemoryContextSwitchTo(fold->context);
	fold_replace(fold, state, is_null);
}

static void
fold_end(Fold *fold)
{
	ReleaseTupleDesc(fold->desc);
	MemoryContextDelete(fold->event_context);
}

/* Fold the events recorded by a time; times never decrease along a stream. */
static void
fold_run(Fold *fold, EsScan *scan, TimestampTz at)
{
	while (es_scan_next(scan, ForwardScanDirection))
	{
		bool is_null;
		Datum recorded_at = slot_getattr(scan->slot, Anum_events_recorded_at, &is_null);

		CHECK_FOR_INTERRUPTS();
		if (DatumGetTimestampTz(recorded_at) > at)
			break;
		fold_add(fold, scan);
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
	EsScan scan;
	Fold fold;

	es_arguments_check_not_null(fcinfo, 1, "reducer");
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	fold_begin(&fold, PG_GETARG_OID(1), PG_GETARG_DATUM(2), PG_ARGISNULL(2));

	es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(&scan, 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(at_version));
	es_see_as(&scan, GetUserId(), ForwardScanDirection);
	es_scan_begin(&scan, GetActiveSnapshot());
	fold_run(&fold, &scan, at);
	es_scan_close(&scan);

	fold_end(&fold);
	relation_close(events, NoLock);
	if (fold.is_null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(fold.state);
}
