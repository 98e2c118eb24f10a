/*-------------------------------------------------------------------------
 *
 * state_projection.c
 *		es_create_state_projection: a table with the state of each stream.
 *
 * From then on it is a projection like any other.  The reducer is known by its
 * name, as OIDs do not survive a dump.
 *
 * Memory: the function call's context.  Locks: project.c's.  Calls: arguments,
 * project, reducer.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "base/arguments.h"
#include "base/reducer.h"
#include "projection/project.h"
#include "projection/terms.h"

PG_FUNCTION_INFO_V1(es_create_state_projection);

/* The reducer's qualified name; raises unless it is one, and other sessions have it. */
static char *
state_projection_get_reducer(Oid reducer)
{
	es_reducer_check(reducer);
	if (isAnyTempNamespace(get_func_namespace(reducer)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s cannot be a reducer", format_procedure(reducer)),
				 errdetail("It is temporary: other sessions, which apply the projection, do not have it.")));
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(reducer)),
									  get_func_name(reducer));
}

/*
 * es_create_state_projection(name text, reducer regprocedure, initial jsonb = '{}',
 *							  mode text = 'inline', categories text[] = NULL,
 *							  types text[] = NULL) -> void
 */
Datum
es_create_state_projection(PG_FUNCTION_ARGS)
{
	EsProjection *projection = es_terms_read(fcinfo, 3, 4, 5);

	es_arguments_check_not_null(fcinfo, 1, "reducer");
	projection->reducer = state_projection_get_reducer(PG_GETARG_OID(1));
	if (!PG_ARGISNULL(2))
		projection->initial = DatumGetCString(DirectFunctionCall1(jsonb_out, PG_GETARG_DATUM(2)));
	projection->query = "";
	projection->on_error = projection->is_inline ? ES_ON_ERROR_FAIL : ES_ON_ERROR_STOP;
	es_project_create(projection, "es_create_state_projection()");
	PG_RETURN_VOID();
}
