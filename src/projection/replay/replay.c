/*-------------------------------------------------------------------------
 *
 * replay.c
 *		Applying a projection to the history, beside its tables.
 *
 * Its SQL runs over the events from the first one on, with copies (shadow.c) in
 * place of its tables: of a declared table, the copies' names are put into the
 * statement; a handler's SQL is redirected to them (redirect.c), and cordon.c
 * keeps it from everything else.  It may not append.
 *
 * What a declared table should be can also be computed at once, by the query
 * that declares it: independent of how the table is kept.
 *
 * Events that can not be applied stop the replay, or are skipped, as the
 * projection says.
 *
 * Memory: the current context.  Locks: shadow.c's, advance.c's.  Calls:
 * advance, apply, declare, omission, progress, projection, readtable, redirect,
 * shadow, statetable.  User code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "projection/advance.h"
#include "projection/omission.h"
#include "projection/progress.h"
#include "projection/readtable.h"
#include "projection/replay/redirect.h"
#include "projection/replay/replay.h"

/* Events between two looks at the copies and two reports of progress. */
#define REPLAY_HANDLER_STEP  1000
#define REPLAY_DECLARED_STEP 250000

/* Milliseconds between two NOTICEs. */
#define REPLAY_NOTICE_MS 2000

/* Whether SQL, or where in SQL an error came up, is ours. */
static bool
replay_is_own_sql(const char *text)
{
	return text != NULL && strstr(text, ES_SHADOW_PREFIX) != NULL;
}

/*
 * Call a function that works by statements in SQL which its caller has not
 * written: an error is raised without them.
 */
Datum
es_replay_call(PGFunction body, FunctionCallInfo fcinfo)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorContextCallback *outer = error_context_stack;
	Datum result = (Datum) 0;

	PG_TRY();
	{
		error_context_stack = NULL;
		result = body(fcinfo);
		error_context_stack = outer;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		if (replay_is_own_sql(error->internalquery))
		{
			error->internalpos = 0;
			error->internalquery = NULL;
		}
		if (replay_is_own_sql(error->context))
			error->context = NULL;
		/* With the context that the call itself is in. */
		ThrowErrorData(error);
	}
	PG_END_TRY();
	return result;
}

/*
 * What the verbs that replay begin with: the projection.
 */
EsProjection *
es_replay_get_any(FunctionCallInfo fcinfo, const char *verb)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("name must not be null")));
	PreventCommandIfReadOnly(verb);
	PreventCommandIfParallelMode(verb);
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("cannot execute %s within a security-restricted operation", verb)));
	return es_projection_get(text_to_cstring(PG_GETARG_TEXT_PP(0)));
}

/* The same, of those for the projection's owner. */
EsProjection *
es_replay_get(FunctionCallInfo fcinfo, const char *verb)
{
	EsProjection *projection = es_replay_get_any(fcinfo, verb);

	es_projection_check_owner(projection);
	return projection;
}

/* ----------------------------------------------------------------------
 * Begin and end
 * ----------------------------------------------------------------------
 */

/*
 * A projection as it is before the first event.  A handler finds temporary tables
 * first; what a declaration looks up is never one.
 */
static void
replay_reset(EsProjection *projection)
{
	const char *path = (const char *) linitial(projection->settings) + strlen("search_path=");

	projection->position = 0;
	projection->events_applied = 0;
	projection->state = ES_PROJECTION_RUNNING;
	if (es_projection_owns_table(projection))
		return;
	projection->settings = list_copy(projection->settings);
	linitial(projection->settings) = psprintf("search_path=pg_temp, %s", path);
}

/* Raise 42P01 where a declared table is gone. */
static void
replay_check_there(const EsProjection *projection)
{
	const char *table = linitial(projection->tables);

	if (!OidIsValid(es_readtable_find(table)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table %s is gone", table),
				 errdetail("Projection \"%s\" keeps it.", projection->name),
				 errhint("es_rebuild_projection makes it anew.")));
}

static void
replay_begin_declared(EsReplay *replay)
{
	const EsProjection *projection = &replay->projection;
	const EsAnalysis *analysis = es_apply_make_for(projection, NULL, projection->query)->analysis;
	EsDeclareTables tables = {es_shadow_next_name(), NIL};
	Oid owner;
	int i;

	replay_check_there(projection);
	for (i = 0; i < es_declare_side_count(analysis); i++)
		tables.sides = lappend(tables.sides, es_shadow_next_name());
	replay->applier = es_apply_make_for(projection, &tables, projection->query);
	owner = replay->applier->owner;
	replay->shadows = list_make1(es_shadow_make(owner, linitial(projection->tables),
												unconstify(char *, tables.read),
												es_declare_make_read(analysis, tables.read)));
	for (i = 0; i < list_length(tables.sides); i++)
	{
		char *side = list_nth(tables.sides, i);

		replay->shadows = lappend(replay->shadows,
								  es_shadow_make(owner, list_nth(projection->tables, i + 1), side,
												 es_declare_make_side(analysis, i, side)));
	}
}

/* Its reducer may not read the table itself, either. */
static void
replay_begin_states(EsReplay *replay)
{
	const EsProjection *projection = &replay->projection;
	char *name = es_shadow_next_name();
	EsShadow *shadow;

	replay->applier = es_apply_make_for(projection, NULL, projection->query);
	shadow = es_shadow_make(replay->applier->owner, linitial(projection->tables), name,
							es_statetable_create(name));
	es_statetable_use(replay->applier->states->table, name, shadow->oid);
	replay->applier->hidden = list_make1_oid(shadow->table);
	replay->shadows = list_make1(shadow);
}

static void
replay_redirect(EsApplier *applier)
{
	EsApplyScope scope;

	es_apply_enter(&scope, applier);
	PG_TRY();
	{
		applier->sql[ES_SOURCE_BATCH] = es_redirect_query(applier->sql[ES_SOURCE_BATCH],
														  applier->hidden);
	}
	PG_FINALLY();
	{
		es_apply_leave(&scope);
	}
	PG_END_TRY();
}

static void
replay_begin_handler(EsReplay *replay)
{
	const EsProjection *projection = &replay->projection;
	Oid owner = es_projection_owner(projection);
	ListCell *cell;

	if (projection->tables == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("projection \"%s\" does not say which tables it writes", projection->name),
				 errhint("Make it anew, with the argument tables.")));
	es_shadow_check_names(projection->tables);
	foreach (cell, projection->tables)
		replay->shadows = lappend(replay->shadows, es_shadow_make_like(owner, lfirst(cell)));
	es_shadow_check_triggers(replay->shadows);
	replay->applier = es_apply_make_for(projection, NULL, projection->query);
	foreach (cell, replay->shadows)
		replay->applier->hidden = lappend_oid(replay->applier->hidden,
											  ((EsShadow *) lfirst(cell))->table);
	replay_redirect(replay->applier);
}

static void
replay_check_owner(const EsProjection *projection)
{
	Oid owner = es_projection_owner(projection);

	if (es_compat_database_privilege(MyDatabaseId, owner, ACL_CREATE_TEMP) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" must be allowed to make temporary tables in this database",
						GetUserNameFromId(owner, false)),
				 errdetail("It owns projection \"%s\", whose replay works on temporary copies.",
						   projection->name)));
}

/* Make ready to apply a projection to empty copies of its tables. */
EsReplay *
es_replay_begin(const EsProjection *projection)
{
	EsReplay *replay = palloc0(sizeof(EsReplay));

	replay_check_owner(projection);
	replay->projection = *projection;
	replay_reset(&replay->projection);
	if (projection->is_declared)
		replay_begin_declared(replay);
	else if (projection->reducer != NULL)
		replay_begin_states(replay);
	else
		replay_begin_handler(replay);
	replay->applier->is_replay = true;
	return replay;
}

/*
 * Make ready to apply a projection to its own tables, a handler's, which are
 * empty.  It may write no others.
 */
EsReplay *
es_replay_begin_in_place(const EsProjection *projection)
{
	EsReplay *replay = palloc0(sizeof(EsReplay));
	ListCell *cell;

	replay->projection = *projection;
	replay->projection.position = 0;
	replay->projection.events_applied = 0;
	replay->projection.state = ES_PROJECTION_RUNNING;
	replay->applier = es_apply_make(&replay->projection);
	replay->applier->is_replay = true;
	foreach (cell, projection->tables)
	{
		List *name = es_compat_name_list(lfirst(cell));

		replay->applier->own = lappend_oid(replay->applier->own,
										   RangeVarGetRelid(makeRangeVarFromNameList(name),
															AccessShareLock, false));
	}
	return replay;
}

/* Raise 42703 where columns of a projection's own table are gone that its copy has. */
void
es_replay_check_table(const EsReplay *replay)
{
	const char *missing = es_projection_owns_table(&replay->projection)
		? es_readtable_missing(replay->applier)
		: NULL;

	if (missing != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("%s", missing),
				 replay->projection.is_declared
					 ? errdetail("Projection \"%s\" keeps the columns of its query.",
								 replay->projection.name)
					 : errdetail("Projection \"%s\" keeps the columns that its table was made with.",
								 replay->projection.name),
				 replay->projection.is_declared
					 ? errhint("es_replace_projection with the same query adds it again, one with another does without it.")
					 : 0));
}

/* Drop the copies; after an error, they go with the transaction. */
void
es_replay_end(EsReplay *replay)
{
	ListCell *cell;

	foreach (cell, replay->shadows)
		es_shadow_drop(lfirst(cell), ((EsShadow *) lfirst(cell))->name);
}

/* ----------------------------------------------------------------------
 * Applying
 * ----------------------------------------------------------------------
 */

/* Tell how far it is. */
static void
replay_show(EsReplay *replay)
{
	const EsProjection *projection = &replay->projection;
	TimestampTz now = GetCurrentTimestamp();
	int64 done = projection->events_applied;

	if (!replay->is_shown)
		return;
	/* Events may have come after the count. */
	replay->total = Max(replay->total, done);
	es_progress_show(projection->name, ES_ACTIVITY_REBUILD, done, replay->total);
	if (replay->noticed_at == 0)
		replay->noticed_at = now;
	if (!TimestampDifferenceExceeds(replay->noticed_at, now, REPLAY_NOTICE_MS))
		return;
	replay->noticed_at = now;
	ereport(NOTICE,
			(errmsg("rebuilding projection \"%s\": %lld of %lld events", projection->name,
					(long long) done, (long long) replay->total)));
}

/*
 * Apply the projection to what it has not been applied to, up to a position.
 * Raises SE006 where its SQL raises.
 */
void
es_replay_advance(EsReplay *replay, int64 upto)
{
	EsProjection *projection = &replay->projection;
	const int64 step = projection->is_declared ? REPLAY_DECLARED_STEP : REPLAY_HANDLER_STEP;
	ListCell *cell;

	while (projection->position < upto)
	{
		EsAdvanceBounds bounds = {.upto = upto, .max_count = step};
		EsProjectionError error;

		replay_show(replay);
		(void) es_advance(projection, replay->applier, &bounds, &error);
		if (projection->state == ES_PROJECTION_FAILED)
			es_projection_raise(projection, &error);
		foreach (cell, replay->shadows)
			es_shadow_tidy(lfirst(cell));
	}
	replay_show(replay);
}

/*
 * What keeps events out that the projection is not applied to, though they pass
 * its filters.
 *
 * table: that has their positions.
 */
static char *
replay_without(const EsProjection *projection, const char *table)
{
	return psprintf(" AND NOT EXISTS (SELECT FROM eventstore.%s AS a WHERE a.projection OPERATOR(pg_catalog.=) %s "
					"AND a.position OPERATOR(pg_catalog.=) events.position)",
					table, quote_literal_cstr(projection->name));
}

static char *
replay_omissions(const EsProjection *projection)
{
	const char *name = projection->name;
	bool has_appended = es_omission_first(ES_OMISSION_APPENDED, name) != 0;
	bool has_skipped = es_omission_first(ES_OMISSION_SKIPPED, name) != 0;

	return psprintf("%s%s%s", has_appended ? replay_without(projection, "projection_appends") : "",
					has_skipped ? replay_without(projection, "skipped_events") : "",
					projection->leaves_missed ? replay_without(projection, "projection_missed")
											  : "");
}

/* INSERT of the declared query's result. */
static char *
replay_select_sql(const EsReplay *replay)
{
	const EsProjection *projection = &replay->projection;
	const char *until = projection->recorded_until == 0
		? ""
		: " AND recorded_at OPERATOR(pg_catalog.<=) $3";
	char *condition = psprintf("%s%s%s", es_apply_range_condition(projection),
							   replay_omissions(projection), until);

	return psprintf("INSERT INTO %s WITH events AS (%s) %s",
					((EsShadow *) linitial(replay->shadows))->name,
					es_declare_events(ES_SOURCE_RANGE, condition),
					replay->applier->analysis->query);
}

static void
replay_select(const char *sql, const EsProjection *projection, Snapshot snapshot, int64 upto)
{
	Oid types[] = {INT8OID, INT8OID, TIMESTAMPTZOID};
	Datum values[] = {Int64GetDatum(0), Int64GetDatum(upto),
					  TimestampTzGetDatum(projection->recorded_until)};
	SPIPlanPtr plan;

	SPI_connect();
	plan = SPI_prepare(sql, projection->recorded_until == 0 ? 2 : 3, types);
	if (plan == NULL ||
		SPI_execute_snapshot(plan, values, NULL, snapshot, InvalidSnapshot, false, true, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
}

/*
 * Fill the copy of a declared table by its query over all events up to a
 * position that a snapshot sees.
 */
void
es_replay_select(EsReplay *replay, Snapshot snapshot, int64 upto)
{
	EsApplyScope scope;

	es_apply_enter(&scope, replay->applier);
	PG_TRY();
	{
		replay_select(replay_select_sql(replay), &replay->projection, snapshot, upto);
	}
	PG_FINALLY();
	{
		es_apply_leave(&scope);
	}
	PG_END_TRY();
	CommandCounterIncrement();
}
