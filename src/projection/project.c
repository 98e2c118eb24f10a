/*-------------------------------------------------------------------------
 *
 * project.c
 *		The verbs of projections: make, drop, pause, resume, run, wait.
 *
 * Memory: the function call's context.  Locks: the projection's, to the end of
 * the transaction; for inline ones, at last, barrier.c's.  Calls: apply,
 * arguments, barrier, definition, environment, intact, order, projection, readtable,
 * rights, run, see, stale, takeover, transaction, trouble, version, whole, witness.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/version.h"
#include "order/order.h"
#include "order/transaction.h"
#include "projection/apply.h"
#include "projection/barrier.h"
#include "projection/definition.h"
#include "projection/environment.h"
#include "projection/intact.h"
#include "projection/project.h"
#include "projection/projection.h"
#include "projection/readtable.h"
#include "projection/run.h"
#include "projection/stale.h"
#include "projection/takeover.h"
#include "projection/trouble.h"
#include "projection/whole.h"
#include "projection/witness.h"
#include "rights/rights.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_create_projection);
PG_FUNCTION_INFO_V1(es_drop_projection);
PG_FUNCTION_INFO_V1(es_pause_projection);
PG_FUNCTION_INFO_V1(es_resume_projection);
PG_FUNCTION_INFO_V1(es_run_projection);
PG_FUNCTION_INFO_V1(es_wait_projection);

/* How often es_wait_projection looks, in milliseconds. */
#define PROJECT_LOOK_MS 20

/* ----------------------------------------------------------------------
 * Arguments
 * ----------------------------------------------------------------------
 */

static void
project_check_not_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

char *
es_project_get_text(FunctionCallInfo fcinfo, int argument, const char *name)
{
	project_check_not_null(fcinfo, argument, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

/* Whether a word is the first of two that it has to be one of. */
static bool
project_choose(const char *value, const char *name, const char *first, const char *second)
{
	if (strcmp(value, first) != 0 && strcmp(value, second) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown %s \"%s\"", name, value),
				 errhint("It is \"%s\" or \"%s\".", first, second)));
	return strcmp(value, first) == 0;
}

/* An argument that has to be one of two words; returns whether it is the first. */
static bool
project_get_choice(FunctionCallInfo fcinfo, int argument, const char *name, const char *first,
				   const char *second)
{
	return project_choose(es_project_get_text(fcinfo, argument, name), name, first, second);
}

/* Raise where a projection can not have a name. */
void
es_project_check_name(const char *name)
{
	if (name[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("projection name must not be empty")));
	if (strlen(name) > ES_MAX_PROJECTION_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("projection name is too long"),
				 errdetail("It has %zu bytes; the limit is %d.", strlen(name), ES_MAX_PROJECTION_BYTES)));
}

char *
es_project_get_name(FunctionCallInfo fcinfo)
{
	char *name = es_project_get_text(fcinfo, 0, "name");

	es_project_check_name(name);
	return name;
}

/* Elements of an array argument without nulls; at least one. */
static Datum *
project_get_array(FunctionCallInfo fcinfo, int argument, const char *name, int *count)
{
	ArrayType *array = PG_GETARG_ARRAYTYPE_P(argument);
	Oid type = ARR_ELEMTYPE(array);
	bool *nulls;
	Datum *elements;
	int16 length;
	bool by_value;
	char align;
	int i;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	if (ARR_NDIM(array) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be a one-dimensional array with at least one element", name),
				 errhint("NULL stands for no restriction.")));
	deconstruct_array(array, type, length, by_value, align, &elements, &nulls, count);
	for (i = 0; i < *count; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not contain nulls", name)));
	return elements;
}

void
es_project_get_filter(FunctionCallInfo fcinfo, int argument, const char *name, EsFilter *filter)
{
	Datum *elements;
	int i;

	if (PG_ARGISNULL(argument))
		return;
	elements = project_get_array(fcinfo, argument, name, &filter->count);
	filter->is_on = true;
	filter->names = palloc(sizeof(text *) * filter->count);
	for (i = 0; i < filter->count; i++)
		filter->names[i] = DatumGetTextPP(elements[i]);
}

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
	char *name = es_project_get_name(fcinfo);

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

/*
 * Tables, as the user named them.
 *
 * name: of the argument; what: what a table can not be that is none.
 */
List *
es_project_get_tables(FunctionCallInfo fcinfo, int argument, const char *name, const char *what)
{
	List *result = NIL;
	ListCell *cell;
	Datum *elements;
	int count;
	int i;

	if (PG_ARGISNULL(argument))
		return NIL;
	elements = project_get_array(fcinfo, argument, name, &count);
	for (i = 0; i < count; i++)
	{
		char *table = es_readtable_check(DatumGetObjectId(elements[i]), what);

		if (list_member(result, makeString(table)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("%s names %s twice", name, table)));
		result = lappend(result, makeString(table));
	}
	foreach (cell, result)
		lfirst(cell) = strVal(lfirst(cell));
	return result;
}

/* An async projection has no append to fail: it stops. */
static EsOnError
project_get_on_error(FunctionCallInfo fcinfo, bool is_inline)
{
	const char *value = es_project_get_text(fcinfo, 6, "on_error");

	if (is_inline)
		return project_choose(value, "on_error of an inline projection", "fail", "stop")
			? ES_ON_ERROR_FAIL
			: ES_ON_ERROR_STOP;
	if (strcmp(value, "fail") == 0)
		return ES_ON_ERROR_STOP;
	return project_choose(value, "on_error of an async projection", "skip", "stop")
		? ES_ON_ERROR_SKIP
		: ES_ON_ERROR_STOP;
}

/*
 * What is said of every new projection, the name in the first argument.
 *
 * mode, categories, types: numbers of these arguments, from 0.
 */
EsProjection *
es_project_read(FunctionCallInfo fcinfo, int mode, int categories, int types)
{
	EsProjection *projection = palloc0(sizeof(EsProjection));

	projection->name = es_project_get_name(fcinfo);
	projection->is_inline = project_get_choice(fcinfo, mode, "mode", "inline", "async");
	es_project_get_filter(fcinfo, categories, "categories", &projection->categories);
	es_project_get_filter(fcinfo, types, "types", &projection->types);
	projection->role = GetUserId();
	projection->owner = GetUserNameFromId(projection->role, false);
	projection->settings = es_environment_describe();
	return projection;
}

static EsProjection *
project_read_arguments(FunctionCallInfo fcinfo)
{
	EsProjection *projection = es_project_read(fcinfo, 2, 3, 4);

	/* The function has not had all of them in every version. */
	es_version_require();
	projection->query = es_project_get_text(fcinfo, 1, "query");
	projection->tables = es_project_get_tables(fcinfo, 5, "tables", "read table");
	projection->on_error = project_get_on_error(fcinfo, projection->is_inline);
	projection->is_by_event = project_get_choice(fcinfo, 7, "granularity", "event", "batch");
	projection->lookups = es_project_get_tables(fcinfo, 8, "lookups", "looked-up table");
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
	(void) es_projection_lock_rebuild(es_project_get_name(fcinfo), true);
	projection = es_project_get(fcinfo, "es_drop_projection()");
	project_check_not_null(fcinfo, 1, "drop_table");
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

/* ----------------------------------------------------------------------
 * Waiting
 * ----------------------------------------------------------------------
 */

/*
 * Whether the next statement sees what a projection made of every event up to a
 * position.
 */
static bool
project_has_reached(const char *name, int64 position)
{
	EsProjection *projection = es_projection_get_visible(name);
	EsView view;

	if (projection->first_missed != 0 && position >= projection->first_missed)
		return false;
	if (!es_project_minds_appends(projection))
		return projection->position >= position;
	/* What this session appends itself, it sees already. */
	if (!IsolationUsesXactSnapshot())
		return es_order_head_after_commit() >= position;
	es_order_begin_view(&view);
	es_order_end_view(&view);
	return view.head >= position;
}

/*
 * Raise 42501 if the current role is bound by its grants, and position is not that
 * of an event within its bounds: how far a projection is tells of others' events.
 */
static void
project_check_position(int64 position)
{
	Relation events;
	Snapshot snapshot;

	if (es_rights_of(GetUserId())->sees.has_all)
		return;
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!es_see_position(events, position, GetUserId(), snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to wait for position %lld", (long long) position),
				 errdetail("Role \"%s\" sees no event there.", GetUserNameFromId(GetUserId(), false)),
				 errhint("Wait for the position of an event of one's own, such as es_last_position() after an append.")));
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
}

/*
 * es_wait_projection(name text, position bigint, timeout interval = '30 s') -> boolean
 */
Datum
es_wait_projection(PG_FUNCTION_ARGS)
{
	char *name = es_project_get_name(fcinfo);
	TimestampTz until;
	int64 position;

	project_check_not_null(fcinfo, 1, "position");
	position = PG_GETARG_INT64(1);
	if (position < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position must not be negative")));
	until = es_arguments_get_time_after(fcinfo, 2, "timeout", GetCurrentTimestamp());
	PreventCommandIfParallelMode("es_wait_projection()");
	project_check_position(position);
	while (!project_has_reached(name, position))
	{
		long ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		/* Above READ COMMITTED, what the next statement sees does not change. */
		if (ms <= 0 || IsolationUsesXactSnapshot())
			PG_RETURN_BOOL(false);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(ms, PROJECT_LOOK_MS), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_BOOL(true);
}
