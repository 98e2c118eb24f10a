/*-------------------------------------------------------------------------
 *
 * pick.c
 *		The aggregates es_first and es_last.
 *
 * Each keeps the value at the lowest, or highest, position seen so far.  Of
 * several at one position it is the first.
 *
 * Memory: the aggregate's context.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(es_pick_first);
PG_FUNCTION_INFO_V1(es_pick_last);
PG_FUNCTION_INFO_V1(es_picked);

typedef struct Pick
{
	int64 position;
	Datum value;
	bool is_null;
	bool by_value;
	int16 length;
} Pick;

static Pick *
pick_begin(FunctionCallInfo fcinfo, MemoryContext context)
{
	Pick *pick = MemoryContextAllocZero(context, sizeof(Pick));

	get_typlenbyval(get_fn_expr_argtype(fcinfo->flinfo, 1), &pick->length, &pick->by_value);
	return pick;
}

static void
pick_set(Pick *pick, FunctionCallInfo fcinfo, MemoryContext context)
{
	MemoryContext caller = MemoryContextSwitchTo(context);

	if (!pick->is_null && !pick->by_value && DatumGetPointer(pick->value) != NULL)
		pfree(DatumGetPointer(pick->value));
	pick->position = PG_GETARG_INT64(2);
	pick->is_null = PG_ARGISNULL(1);
	pick->value = pick->is_null ? (Datum) 0
								: datumCopy(PG_GETARG_DATUM(1), pick->by_value, pick->length);
	MemoryContextSwitchTo(caller);
}

/* A step; rows without a position do not count. */
static Datum
pick_step(FunctionCallInfo fcinfo, bool is_last)
{
	MemoryContext context;
	Pick *pick;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("aggregate function called in non-aggregate context")));
	if (PG_ARGISNULL(2))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	if (PG_ARGISNULL(0))
	{
		pick = pick_begin(fcinfo, context);
		pick_set(pick, fcinfo, context);
		PG_RETURN_POINTER(pick);
	}
	pick = (Pick *) PG_GETARG_POINTER(0);
	if (is_last ? PG_GETARG_INT64(2) > pick->position : PG_GETARG_INT64(2) < pick->position)
		pick_set(pick, fcinfo, context);
	PG_RETURN_POINTER(pick);
}

/*
 * eventstore.pick_first(internal, anyelement, bigint) -> internal
 */
Datum
es_pick_first(PG_FUNCTION_ARGS)
{
	return pick_step(fcinfo, false);
}

/*
 * eventstore.pick_last(internal, anyelement, bigint) -> internal
 */
Datum
es_pick_last(PG_FUNCTION_ARGS)
{
	return pick_step(fcinfo, true);
}

/*
 * eventstore.picked(internal, anyelement, bigint) -> anyelement
 */
Datum
es_picked(PG_FUNCTION_ARGS)
{
	const Pick *pick;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	pick = (const Pick *) PG_GETARG_POINTER(0);
	if (pick->is_null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(pick->value);
}
