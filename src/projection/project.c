/*-------------------------------------------------------------------------
 *
 * project.c
 *		The verbs of projections: make, drop, pause, resume, run.
 *
 * Memory: the function call's context.  Locks: the projection's, to the end of
 * the transaction; for inline ones, at last, barrier.c's.  Calls: apply,
 * barrier, definition, intact, order, projection, readtable, run, stale, takeover,
 * terms, transaction, trouble, version, whole, witness.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"

#include "base/version.h"
#include "order/order.h"
#include "order/transaction.h"
#include "projection/apply.h"
#include "projection/barrier.h"
#include "projection/definition.h"
#include "projection/intact.h"
#include "projection/project.h"
#include "projection/projection.h"
#include "projection/readtable.h"
#include "projection/run.h"
#include "projection/stale.h"
#include "projection/takeover.h"
#include "projection/terms.h"
#include "projection/trouble.h"
#include "projection/whole.h"
#include "projection/witness.h"

PG_FUNCTION_INFO_V1(es_create_projection);
PG_FUNCTION_INFO_V1(es_drop_projection);
PG_FUNCTION_INFO_V1(es_pause_projection);
PG_FUNCTION_INFO_V1(es_resume_projection);
PG_FUNCTION_INFO_V1(es_run_projection);

/* Raise where projections can't be changed or run. */
void
es_project_check_call(const char *verb)
{
	PreventCommandIfReadOnly(verb);
	PreventCommandIfParallelMode(verb);
	/* Not by the SQL of one, which may be the very one. */
	if (es_apply_current() != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("%s can not be called by the SQL of a projection", verb)));
}

/*
 * What an existing projection's verbs begin with: the projection that the first
 * argument names, with its lock.
 *
 * verb: for messages.
 */
EsProjection *
es_project_get(FunctionCallInfo fcinfo, const char *verb)
{
	char *name = es_terms_get_name(fcinfo);

	es_project_check_call(verb);
	es_transaction_change_projection();
	es_projection_lock(name);
	return es_projection_get(name);
}

/* Whether appends apply it, or note what it misses. */
bool
es_project_minds_appends(const EsProjection *projection)
{
	return projection->is_inline && !projection->is_stale &&
		(projection->state == ES_PROJECTION_RUNNING || projection->notes_missed);
}

/* Raise 55000 if a projection can not go on where it stands. */
static void
project_check_not_stale(const EsProjection *projection)
{
	EsStale stale = {0};

	if (!es_stale_find(projection->name, &stale) && !es_intact_is_lost(projection, &stale.reason))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("projection \"%s\" has to be rebuilt", projection->name),
			 errdetail("%s", stale.reason), errhint("es_rebuild_projection makes it right again.")));
}

/* ----------------------------------------------------------------------
 * Making
 * ----------------------------------------------------------------------
 */

static EsProjection *
project_read_arguments(FunctionCallInfo fcinfo)
{
	EsProjection *projection = es_terms_read(fcinfo, 2, 3, 4);

	/* The function has not had all of them in every version. */
	es_version_require();
	projection->query = es_terms_get_text(fcinfo, 1, "query");
	projection->tables = es_terms_get_tables(fcinfo, 5, "tables", "read table");
	projection->on_error = es_terms_get_on_error(fcinfo, projection->is_inline);
	projection->is_by_event = es_terms_get_choice(fcinfo, 7, "granularity", "event", "batch");
	projection->lookups = es_terms_get_tables(fcinfo, 8, "lookups", "looked-up table");
	return projection;
}

/* An async projection that nobody applies stands still: who makes it should know. */
static void
project_tell_obstacle(const EsProjection *projection)
{
	const char *obstacle = es_trouble_of_database();

	if (obstacle != NULL)
		ereport(NOTICE,
				(errmsg("projection \"%s\" is not applied by itself", projection->name),
				 errdetail_internal("There is %s.", obstacle),
				 errhint("es_run_projection applies it, from a scheduler for example.")));
}

/* Make a projection: its table, its definition, and what the events make of it. */
void
es_project_create(EsProjection *projection, const char *verb)
{
	es_project_check_call(verb);
	es_transaction_change_projection();
	es_projection_lock(projection->name);
	if (es_projection_find(projection->name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("projection \"%s\" already exists", projection->name)));

	/* Of another of that name, as far as a rename was rolled back. */
	es_witness_forget(projection->name);
	es_readtable_make(projection);
	projection->is_by_event &= !projection->is_declared;
	projection->state = projection->is_inline ? ES_PROJECTION_PAUSED : ES_PROJECTION_RUNNING;
	projection->saved_state = projection->state;
	es_definition_insert(projection);
	es_intact_begin(projection);
	es_whole_begin(projection);
	if (projection->is_inline)
		es_takeover_start(projection, es_apply_make(projection));
	else
		project_tell_obstacle(projection);
}

/*
 * es_create_projection(name text, query text, mode text = 'inline',
 *						categories text[] = NULL, types text[] = NULL,
 *						tables regclass[] = NULL, on_error text = 'fail',
 *						granularity text = 'event', lookups regclass[] = NULL) -> void
 */
Datum
es_create_projection(PG_FUNCTION_ARGS)
{
	es_project_create(project_read_arguments(fcinfo), "es_create_projection()");
	PG_RETURN_VOID();
}

/*
 * es_drop_projection(name text, drop_table boolean = false) -> void
 */
Datum
es_drop_projection(PG_FUNCTION_ARGS)
{
	EsProjection *projection;

	/* A rebuild has locks on the tables, and would wait for the projection's. */
	(void) es_projection_lock_rebuild(es_terms_get_name(fcinfo), true);
	projection = es_project_get(fcinfo, "es_drop_projection()");
	es_terms_check_not_null(fcinfo, 1, "drop_table");
	es_projection_check_owner(projection);
	if (PG_GETARG_BOOL(1) && !es_projection_owns_table(projection))
		ereport(NOTICE,
				(errmsg("tables of projection \"%s\" are not dropped", projection->name),
				 errdetail("It is a handler, whose tables are the user's own.")));
	if (es_project_minds_appends(projection))
		(void) es_barrier_raise();
	es_definition_delete(projection->name);
	es_witness_forget(projection->name);
	es_readtable_drop(projection, PG_GETARG_BOOL(1));
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------------
 * Pausing and running
 * ----------------------------------------------------------------------
 */

/*
 * es_pause_projection(name text) -> void
 */
Datum
es_pause_projection(PG_FUNCTION_ARGS)
{
	EsProjection *projection = es_project_get(fcinfo, "es_pause_projection()");

	es_projection_check_owner(projection);
	if (projection->state == ES_PROJECTION_PAUSED)
		PG_RETURN_VOID();
	if (es_project_minds_appends(projection))
		es_takeover_stop(projection);
	projection->state = ES_PROJECTION_PAUSED;
	es_definition_save(projection, NULL);
	PG_RETURN_VOID();
}

/* Let a projection that does not run go on. */
void
es_project_go_on(EsProjection *projection)
{
	project_check_not_stale(projection);
	if (projection->is_inline)
	{
		es_takeover_start(projection, es_apply_make(projection));
		return;
	}
	projection->state = ES_PROJECTION_RUNNING;
	es_definition_save(projection, NULL);
}

/*
 * es_resume_projection(name text) -> void
 */
Datum
es_resume_projection(PG_FUNCTION_ARGS)
{
	EsProjection *projection = es_project_get(fcinfo, "es_resume_projection()");

	es_projection_check_owner(projection);
	es_whole_accept(projection->name);
	if (projection->state == ES_PROJECTION_RUNNING && !projection->is_stale)
		PG_RETURN_VOID();
	es_project_go_on(projection);
	PG_RETURN_VOID();
}

/* Returns whether a restore has brought what a projection needs; tells if not. */
static bool
project_is_whole(const EsProjection *projection)
{
	if (es_whole_is(projection->name, 0))
		return true;
	if (es_order_is_behind())
		ereport(WARNING,
				(errmsg("projection \"%s\" waits: positions are behind the events that are stored", projection->name),
				 errhint("A restore is not done yet, or es_repair_positions() has to be called.")));
	else
		ereport(WARNING,
				(errmsg("projection \"%s\" waits for the rest of a restore", projection->name),
				 errhint("eventstore.projection_waits shows what is missing; es_resume_projection goes on without it.")));
	return false;
}

/* Returns whether an async projection is running; tells why not. */
static bool
project_may_run(const EsProjection *projection)
{
	if (projection->state == ES_PROJECTION_RUNNING)
		return !projection->is_inline && project_is_whole(projection);
	if (projection->state == ES_PROJECTION_FAILED)
		ereport(WARNING,
				(errmsg("projection \"%s\" has failed", projection->name),
				 errhint("See eventstore.projection_status; es_resume_projection tries again, es_skip_event leaves the event out.")));
	else
		ereport(NOTICE,
				(errmsg("projection \"%s\" is paused", projection->name),
				 errhint("es_resume_projection goes on with it.")));
	return false;
}

/*
 * es_run_projection(name text, max_count bigint = NULL) -> bigint
 */
Datum
es_run_projection(PG_FUNCTION_ARGS)
{
	EsAdvanceBounds bounds = {.upto = PG_INT64_MAX,
							  .max_count = PG_ARGISNULL(1) ? PG_INT64_MAX : PG_GETARG_INT64(1)};
	EsProjection *projection;

	if (bounds.max_count < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_count must not be negative")));
	projection = es_project_get(fcinfo, "es_run_projection()");
	if (!project_may_run(projection))
		PG_RETURN_INT64(0);
	PG_RETURN_INT64(es_run_async(projection, &bounds, true));
}
