/*-------------------------------------------------------------------------
 *
 * reducer.c
 *		Folding events into a state by a function of the user's.
 *
 * A reducer is a function (state jsonb, event eventstore.event) -> jsonb in any
 * language.  It is called for one event after another, each time with what it
 * has returned for the one before, and it is treated as an aggregate's
 * transition function: a strict one is not called for a null state, which stays
 * null.  It runs as the current user, who must have the right to execute it.
 *
 * It is called through the function manager, without SQL in between.
 *
 * Memory: states are in the context that es_reducer_begin is called in, or that
 * the caller has put in its place; what a call of the reducer leaves is given
 * back before the next.  Locks: what the reducer takes.  Calls: catalog.  User
 * code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "pgstat.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
#include "utils/varlena.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/reducer.h"

/* ----------------------------------------------------------------------
 * What can be one
 * ----------------------------------------------------------------------
 */

/* An aggregate's transition function, which may be what is meant. */
static char *
reducer_transition(Oid aggregate)
{
	HeapTuple row = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
	char *result = NULL;

	if (!HeapTupleIsValid(row))
		return NULL;
	if (((Form_pg_aggregate) GETSTRUCT(row))->aggtranstype == JSONBOID)
		result = format_procedure(((Form_pg_aggregate) GETSTRUCT(row))->aggtransfn);
	ReleaseSysCache(row);
	return result;
}

/* What keeps a function from being a reducer, as a sentence; NULL: nothing. */
static char *
reducer_find_obstacle(Form_pg_proc function)
{
	if (function->prokind == PROKIND_AGGREGATE)
		return "It is an aggregate, which does not give its state after each event.";
	if (function->prokind == PROKIND_WINDOW)
		return "It is a window function.";
	if (function->prokind == PROKIND_PROCEDURE)
		return "It is a procedure, which returns nothing.";
	if (function->pronargs != 2 || function->proargtypes.values[0] != JSONBOID ||
		function->proargtypes.values[1] != es_catalog_event_type())
		return "Its arguments are not (jsonb, eventstore.event).";
	if (function->proretset)
		return "It returns a set.";
	if (function->prorettype != JSONBOID)
		return psprintf("It returns %s, not jsonb.", format_type_be(function->prorettype));
	return NULL;
}

/* Raise unless a function is of the form (jsonb, eventstore.event) -> jsonb. */
static void
reducer_check_form(Oid oid, Form_pg_proc function)
{
	const char *obstacle = reducer_find_obstacle(function);
	char *transition;

	if (obstacle == NULL)
		return;
	transition = function->prokind == PROKIND_AGGREGATE ? reducer_transition(oid) : NULL;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
			 errmsg("function %s cannot be a reducer", format_procedure(oid)),
			 errdetail("%s", obstacle),
			 transition == NULL
				 ? errhint("A reducer is a function of the arguments (jsonb, eventstore.event) that returns jsonb.")
				 : errhint("Give its transition function, %s, and its initial state.", transition)));
}

/*
 * The function that a text names: one of a reducer's arguments, or one of those
 * that stand behind the name.  Looked for on the search_path, unless it is
 * qualified.  Raises 42883; whether the function can be a reducer is not asked.
 */
Oid
es_reducer_find(text *name)
{
	Oid arguments[] = {JSONBOID, es_catalog_event_type()};
	char *string = text_to_cstring(name);
	List *names;
	Oid function;

	if (strchr(string, '(') != NULL)
		return DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(string)));
	names = textToQualifiedNameList(name);
	function = LookupFuncName(names, lengthof(arguments), arguments, true);
	if (!OidIsValid(function))
		function = LookupFuncName(names, -1, NULL, true);
	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s(jsonb, eventstore.event) does not exist",
						NameListToString(names)),
				 errhint("Name a function of the arguments (jsonb, eventstore.event) that returns jsonb, with its schema "
						 "where that is not in search_path.")));
	return function;
}

/*
 * Raise unless a function can be a reducer and the current user may execute it:
 * 42883, 42501 or 42P13.
 */
void
es_reducer_check(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	AclResult may_execute;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function with OID %u does not exist", function)));
	may_execute = es_compat_may_execute(function, GetUserId());
	if (may_execute != ACLCHECK_OK)
		aclcheck_error(may_execute, OBJECT_FUNCTION,
					   NameStr(((Form_pg_proc) GETSTRUCT(tuple))->proname));
	reducer_check_form(function, (Form_pg_proc) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	InvokeFunctionExecuteHook(function);
}

/* ----------------------------------------------------------------------
 * Folding
 * ----------------------------------------------------------------------
 */

/* Check a function, and make ready to call it.  End it with es_reducer_end. */
void
es_reducer_begin(EsReducer *reducer, Oid function)
{
	es_reducer_check(function);
	fmgr_info(function, &reducer->function);
	reducer->desc = lookup_rowtype_tupdesc(es_catalog_event_type(), -1);
	reducer->context = CurrentMemoryContext;
	reducer->event_context = AllocSetContextCreate(CurrentMemoryContext, "eventstore reducer",
												   ALLOCSET_DEFAULT_SIZES);
}

/* A state to begin with. */
void
es_reducer_start(const EsReducer *reducer, EsFolded *folded, Datum initial, bool is_null)
{
	MemoryContext caller = MemoryContextSwitchTo(reducer->context);

	folded->is_null = is_null;
	folded->state = is_null ? (Datum) 0 : PointerGetDatum(PG_DETOAST_DATUM_COPY(initial));
	MemoryContextSwitchTo(caller);
}

/* Call the reducer for an event, in the current context. */
static Datum
reducer_call(EsReducer *reducer, const EsFolded *folded, Datum event, bool *is_null)
{
	LOCAL_FCINFO(call, 2);
	PgStat_FunctionCallUsage usage;
	Datum state;

	InitFunctionCallInfoData(*call, &reducer->function, 2, InvalidOid, NULL, NULL);
	call->args[0].value = folded->state;
	call->args[0].isnull = folded->is_null;
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
reducer_replace(EsFolded *folded, Datum state, bool is_null)
{
	Datum old = folded->state;
	bool was_null = folded->is_null;

	if (!is_null && !was_null && state == old)
		return;
	folded->is_null = is_null;
	folded->state = is_null ? (Datum) 0 : PointerGetDatum(PG_DETOAST_DATUM_COPY(state));
	if (!was_null)
		pfree(DatumGetPointer(old));
}

/*
 * Fold an event into a state.
 *
 * values, nulls: the event's columns, as eventstore.event has them.
 */
void
es_reducer_fold(EsReducer *reducer, EsFolded *folded, Datum *values, bool *nulls)
{
	MemoryContext caller;
	Datum event;
	Datum state;
	bool is_null;

	if (folded->is_null && reducer->function.fn_strict)
		return;
	MemoryContextReset(reducer->event_context);
	caller = MemoryContextSwitchTo(reducer->event_context);
	event = HeapTupleGetDatum(heap_form_tuple(reducer->desc, values, nulls));
	state = reducer_call(reducer, folded, event, &is_null);
	MemoryContextSwitchTo(reducer->context);
	reducer_replace(folded, state, is_null);
	MemoryContextSwitchTo(caller);
}

void
es_reducer_end(EsReducer *reducer)
{
	ReleaseTupleDesc(reducer->desc);
	MemoryContextDelete(reducer->event_context);
}
