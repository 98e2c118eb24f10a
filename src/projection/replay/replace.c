/*-------------------------------------------------------------------------
 *
 * replace.c
 *		es_replace_projection: another query under the same name.
 *
 * A rebuild with another query: the history is replayed into copies of what the
 * tables are to be, while the old query is applied as ever; then the read table
 * gets its new columns, and is made like its copy.  Tables beside it that keep
 * its state are made anew, and the old ones dropped at the end.
 *
 * What is not given stays: filters, tables, mode, on_error, granularity, owner.
 * The new query runs with the settings of this session, as one of a new
 * projection does.
 *
 * Memory: the function call's context.  Locks: rebuild.c's; AccessShare on the
 * read table, and AccessExclusive from the moment that it is altered.  Calls:
 * apply, attempt, environment, projection, project, readtable, rebuild, replay,
 * reshape.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"

#include "base/attempt.h"
#include "projection/environment.h"
#include "projection/project.h"
#include "projection/terms.h"
#include "projection/readtable.h"
#include "projection/replay/rebuild.h"
#include "projection/replay/replay.h"

PG_FUNCTION_INFO_V1(es_replace_projection);

/* The definition that the arguments make of one. */
static EsProjection *
replace_read_arguments(FunctionCallInfo fcinfo, const EsProjection *before)
{
	EsProjection *projection = palloc(sizeof(EsProjection));

	*projection = *before;
	projection->query = es_terms_get_text(fcinfo, 1, "query");
	es_terms_get_filter(fcinfo, 2, "categories", &projection->categories);
	es_terms_get_filter(fcinfo, 3, "types", &projection->types);
	if (!PG_ARGISNULL(4))
		projection->tables = es_terms_get_tables(fcinfo, 4, "tables", "read table");
	if (!PG_ARGISNULL(5))
		projection->lookups = es_terms_get_tables(fcinfo, 5, "lookups", "looked-up table");
	projection->settings = es_environment_describe();
	return projection;
}

/* Of the tables that were looked up, those that the new query looks up. */
static List *
replace_keep_lookups(const List *lookups, const EsAnalysis *analysis)
{
	List *result = NIL;
	const ListCell *cell;

	foreach (cell, lookups)
		if (list_member_oid(analysis->looked_up, es_readtable_find(lfirst(cell))))
			result = lappend(result, lfirst(cell));
	return result;
}

static void
replace_refuse_states(const EsProjection *projection)
{
	if (projection->reducer != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("projection \"%s\" is a state projection, which has no query",
						projection->name),
				 errhint("CREATE OR REPLACE FUNCTION puts another reducer in place of its own, es_rebuild_projection applies it to all events.")));
}

static void
replace_check_form(const EsProjection *before, const EsProjection *now)
{
	if (before->is_declared == now->is_declared)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 before->is_declared
				 ? errmsg("projection \"%s\" declares a table, and can not become a handler",
						  now->name)
				 : errmsg("projection \"%s\" is a handler, and can not become a declared table",
						  now->name),
			 errhint("Make another projection of it, and drop this one.")));
}

typedef struct ReplaceLook
{
	const EsProjection *projection;
	const EsAnalysis *analysis; /* receives it */
} ReplaceLook;

static void
replace_look(void *argument)
{
	ReplaceLook *look = argument;

	look->analysis = es_apply_make_for(look->projection, NULL, look->projection->query)->analysis;
}

/* What the old query was; NULL: it does not work any more, which may be why it is replaced. */
static const EsAnalysis *
replace_look_back(const EsProjection *before)
{
	ReplaceLook look = {.projection = before};
	ErrorData *error = es_attempt(replace_look, &look);

	if (error == NULL)
		return look.analysis;
	ereport(NOTICE,
			(errmsg("the query that projection \"%s\" has had is not valid any more",
					before->name),
			 errdetail("%s", error->message),
			 errhint("Columns of its table that the new query does not have stay, and are not filled any more.")));
	return NULL;
}

/*
 * A declared table: what has to be done with it, and new tables beside it.  It is
 * made first, where somebody has dropped it.
 */
static EsReshape *
replace_prepare_declared(EsProjection *projection, const EsProjection *before,
						 const EsAnalysis *analysis)
{
	char *table = linitial(before->tables);
	bool is_there = OidIsValid(es_readtable_find(table));
	EsReshape *reshape;
	int security;
	Oid user;

	projection->tables = list_make1(table);
	if (!is_there)
		es_readtable_make_missing(projection);
	LockRelationOid(es_readtable_find(table), AccessShareLock);
	reshape = es_reshape_plan(table, is_there ? replace_look_back(before) : analysis, analysis);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(es_projection_owner(projection),
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	es_readtable_make_sides(projection, analysis);
	SetUserIdAndSecContext(user, security);
	return reshape;
}

static Datum
replace_call(PG_FUNCTION_ARGS)
{
	EsProjection *before = es_replay_get(fcinfo, "es_replace_projection()");
	EsSuccessor successor = {0};
	EsProjection *projection;
	const EsAnalysis *analysis;

	es_project_check_call("es_replace_projection()");
	es_rebuild_begin(before, "es_replace_projection()");
	before = es_projection_get(before->name);
	replace_refuse_states(before);
	projection = replace_read_arguments(fcinfo, before);
	analysis = es_readtable_analyze(projection);
	replace_check_form(before, projection);
	if (projection->is_declared && !PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tables must be null where the query declares a table")));
	if (PG_ARGISNULL(5))
		projection->lookups = replace_keep_lookups(projection->lookups, analysis);
	es_readtable_check_definition(projection, analysis);
	successor.definition = projection;
	if (projection->is_declared)
		successor.reshape = replace_prepare_declared(projection, before, analysis);
	PG_RETURN_INT64(es_rebuild_run(before, &successor));
}

/*
 * es_replace_projection(name text, query text, categories text[] = NULL,
 *		types text[] = NULL, tables regclass[] = NULL, lookups regclass[] = NULL) -> bigint
 */
Datum
es_replace_projection(PG_FUNCTION_ARGS)
{
	return es_replay_call(replace_call, fcinfo);
}
