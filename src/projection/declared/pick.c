/*-------------------------------------------------------------------------
 *
 * pick.c
 *		The aggregates es_first and es_last.
 *
 * Each keeps the value that another one, by which it goes, is lowest or highest
 * with; rows where that is null do not count.  Of several, es_first keeps the
 * first one that it is given and es_last the last one; eventstore.first_by and
 * last_by, which declared tables are kept with, those of the lowest and of the
 * highest position.
 *
 * Memory: the aggregate's context.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(es_pick_first);
PG_FUNCTION_INFO_V1(es_pick_last);
PG_FUNCTION_INFO_V1(es_picked);

typedef struct PickValue
{
	Datum value;
	bool is_null;
	bool by_value;
	int16 length;
} PickValue;

typedef struct Pick
{
	PickValue value;
	PickValue by;
	int64 position;    /* of the aggregates that are given it */
	FmgrInfo *compare; /* NULL: both are bigint */
} Pick;

/* Arguments, from 0. */
#define PICK_VALUE    1
#define PICK_BY       2
#define PICK_POSITION 3

static FmgrInfo *
pick_find_comparison(Oid type)
{
	TypeCacheEntry *entry;

	if (type == INT8OID)
		return NULL;
	entry = lookup_type_cache(type, TYPECACHE_CMP_PROC_FINFO);
	if (!OidIsValid(entry->cmp_proc_finfo.fn_oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not identify a comparison function for type %s",
						format_type_be(type))));
	return &entry->cmp_proc_finfo;
}

static Pick *
pick_begin(FunctionCallInfo fcinfo, MemoryContext context)
{
	Pick *pick = MemoryContextAllocZero(context, sizeof(Pick));
	Oid by = get_fn_expr_argtype(fcinfo->flinfo, PICK_BY);

	pick->compare = pick_find_comparison(by);
	get_typlenbyval(get_fn_expr_argtype(fcinfo->flinfo, PICK_VALUE), &pick->value.length,
					&pick->value.by_value);
	get_typlenbyval(by, &pick->by.length, &pick->by.by_value);
	pick->value.is_null = true;
	pick->by.is_null = true;
	return pick;
}

static void
pick_set(PickValue *value, Datum given, bool is_null)
{
	if (!value->is_null && !value->by_value)
		pfree(DatumGetPointer(value->value));
	value->is_null = is_null;
	value->value = is_null ? (Datum) 0 : datumCopy(given, value->by_value, value->length);
}

/* By what a row goes, against the one that is kept: < 0, 0, > 0. */
static int
pick_compare(const Pick *pick, FunctionCallInfo fcinfo)
{
	if (pick->compare == NULL)
	{
		int64 given = PG_GETARG_INT64(PICK_BY);
		int64 kept = DatumGetInt64(pick->by.value);

		return given < kept ? -1 : given > kept ? 1 : 0;
	}
	return DatumGetInt32(FunctionCall2Coll(pick->compare, PG_GET_COLLATION(),
										   PG_GETARG_DATUM(PICK_BY), pick->by.value));
}

/* Whether a row takes the place of the one that is kept. */
static bool
pick_is_better(const Pick *pick, FunctionCallInfo fcinfo, bool is_last)
{
	int order = pick_compare(pick, fcinfo);

	if (order != 0)
		return is_last ? order > 0 : order < 0;
	if (PG_NARGS() <= PICK_POSITION)
		return is_last;
	return is_last ? PG_GETARG_INT64(PICK_POSITION) > pick->position
				   : PG_GETARG_INT64(PICK_POSITION) < pick->position;
}

/* A step; rows that go by null do not count. */
static Datum
pick_step(FunctionCallInfo fcinfo, bool is_last)
{
	MemoryContext context;
	MemoryContext caller;
	Pick *pick;

	if (!AggCheckCallContext(fcinfo, &context))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("aggregate function called in non-aggregate context")));
	if (PG_ARGISNULL(PICK_BY) || (PG_NARGS() > PICK_POSITION && PG_ARGISNULL(PICK_POSITION)))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	pick = PG_ARGISNULL(0) ? pick_begin(fcinfo, context) : (Pick *) PG_GETARG_POINTER(0);
	if (!pick->by.is_null && !pick_is_better(pick, fcinfo, is_last))
		PG_RETURN_POINTER(pick);
	caller = MemoryContextSwitchTo(context);
	pick_set(&pick->value, PG_ARGISNULL(PICK_VALUE) ? (Datum) 0 : PG_GETARG_DATUM(PICK_VALUE),
			 PG_ARGISNULL(PICK_VALUE));
	pick_set(&pick->by, PG_GETARG_DATUM(PICK_BY), false);
	if (PG_NARGS() > PICK_POSITION)
		pick->position = PG_GETARG_INT64(PICK_POSITION);
	MemoryContextSwitchTo(caller);
	PG_RETURN_POINTER(pick);
}

/*
 * eventstore.pick_first(internal, anyelement, anycompatible) -> internal
 * eventstore.pick_first(internal, anyelement, anycompatible, bigint) -> internal
 */
Datum
es_pick_first(PG_FUNCTION_ARGS)
{
	return pick_step(fcinfo, false);
}

/*
 * eventstore.pick_last(internal, anyelement, anycompatible) -> internal
 * eventstore.pick_last(internal, anyelement, anycompatible, bigint) -> internal
 */
Datum
es_pick_last(PG_FUNCTION_ARGS)
{
	return pick_step(fcinfo, true);
}

/*
 * eventstore.picked(internal, anyelement, anycompatible) -> anyelement
 * eventstore.picked(internal, anyelement, anycompatible, bigint) -> anyelement
 */
Datum
es_picked(PG_FUNCTION_ARGS)
{
	const Pick *pick;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	pick = (const Pick *) PG_GETARG_POINTER(0);
	if (pick->value.is_null)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(pick->value.value);
}
