/*-------------------------------------------------------------------------
 *
 * rebuild.c
 *		es_rebuild_projection: make a projection's tables anew, in use.
 *
 * The history is replayed into copies, while appends, reads and the projection
 * itself go on.  When the copies have come close to the head, the projection is
 * locked, and appends, if they apply it, are kept waiting for a moment; the
 * copies are brought up to date; and what differs in the tables is made like
 * them.  So readers see the old rows before the commit and the new ones after
 * it, at every isolation level, and never wait.
 *
 * Where a handler can not be replayed on copies, its tables are emptied, and
 * every event is applied to them again.
 *
 * All of it is one transaction: whatever goes wrong, everything stays as it was.
 *
 * Memory: the function call's context.  Locks: that against other rebuilds;
 * AccessShare on the tables; then the projection's, barrier.c's, and those of
 * the changes, all to the end of the transaction.  Calls: advance, apply, attempt,
 * barrier, beside, difference, follow, intact, mend, omission, order, progress, projection,
 * readtable, redefine, replay, reshape, stale.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/regproc.h"

#include "base/attempt.h"
#include "base/compat.h"
#include "order/order.h"
#include "order/transaction.h"
#include "projection/advance.h"
#include "projection/barrier.h"
#include "projection/beside.h"
#include "projection/definition.h"
#include "projection/depends.h"
#include "projection/intact.h"
#include "projection/omission.h"
#include "projection/progress.h"
#include "projection/readtable.h"
#include "projection/redefine.h"
#include "projection/replay/gone.h"
#include "projection/replay/mend.h"
#include "projection/replay/rebuild.h"
#include "projection/replay/replay.h"
#include "projection/stale.h"

PG_FUNCTION_INFO_V1(es_rebuild_projection);

/* How close to the head a replay has to come by itself, in events. */
#define REBUILD_CLOSE 1000

/* For how long appends in flight are waited for, unless lock_timeout says. */
#define REBUILD_PATIENCE "300s"

static void
rebuild_check_isolation(const char *verb)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s works in READ COMMITTED transactions only", verb),
				 errdetail("It has to see what is committed while it runs.")));
}

/* Replay up to the head of the moment, and again, until little is left. */
static void
rebuild_replay(EsReplay *replay)
{
	int64 before;

	replay->is_shown = true;
	replay->total = es_advance_count(&replay->projection, 0, es_order_head(NULL));
	do
	{
		before = replay->projection.events_applied;
		es_replay_advance(replay, es_order_head(NULL));
	} while (replay->projection.events_applied - before > REBUILD_CLOSE);
}

/* The position up to which the copies have to be, when nothing moves any more. */
static int64
rebuild_stop_appends(const EsProjection *projection)
{
	int level = NewGUCNestLevel();
	int64 last;

	/* One that has failed runs again. */
	if (!projection->is_inline || projection->state == ES_PROJECTION_PAUSED)
		return es_order_head(NULL);
	if (LockTimeout == 0)
		(void) set_config_option("lock_timeout", REBUILD_PATIENCE, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	last = es_barrier_raise();
	AtEOXact_GUC(false, level);
	return last;
}

/* ----------------------------------------------------------------------
 * With another query
 * ----------------------------------------------------------------------
 */

/*
 * Have a declared table for oneself, where it has to be altered, and those beside
 * it, which go.
 */
static void
rebuild_claim(const EsProjection *projection, const EsReshape *reshape)
{
	int level = NewGUCNestLevel();
	List *tables = NIL;
	ListCell *cell;

	if (es_reshape_is_needed(reshape))
		tables = lappend_oid(tables, reshape->table);
	for_each_from (cell, projection->tables, 1)
		if (OidIsValid(es_readtable_find(lfirst(cell))))
			tables = lappend_oid(tables, es_readtable_find(lfirst(cell)));
	if (LockTimeout == 0)
		(void) set_config_option("lock_timeout", REBUILD_PATIENCE, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	es_barrier_claim(projection->name, projection->is_inline, tables);
	AtEOXact_GUC(false, level);
}

/* A projection as it stands, with the definition of its successor. */
static EsProjection *
rebuild_take(const char *name, const EsSuccessor *successor)
{
	EsProjection *projection = es_projection_get(name);

	if (successor == NULL)
		return projection;
	projection->query = successor->definition->query;
	projection->categories = successor->definition->categories;
	projection->types = successor->definition->types;
	projection->tables = successor->definition->tables;
	projection->lookups = successor->definition->lookups;
	projection->settings = successor->definition->settings;
	return projection;
}

static void
rebuild_reshape(const EsReplay *replay, const EsProjection *projection, const EsReshape *reshape)
{
	EsApplier applier = {.projection = projection, .owner = replay->applier->owner};
	EsApplyScope scope;
	List *others;

	if (!es_reshape_is_needed(reshape))
		return;
	/* They may look up columns that go. */
	others = es_depends_list_valid(projection->name);
	es_apply_enter(&scope, &applier);
	PG_TRY();
	{
		es_reshape_apply(reshape);
	}
	PG_FINALLY();
	{
		es_apply_leave(&scope);
	}
	PG_END_TRY();
	es_depends_check_all(others, reshape->table_name);
}

/* How the tables are compared with the copies: a list of EsDifference. */
static List *
rebuild_prepare(const EsReplay *replay)
{
	List *differences = NIL;
	ListCell *cell;

	foreach (cell, replay->shadows)
	{
		EsDifference *difference = es_difference_make(lfirst(cell));

		es_mend_prepare(difference);
		differences = lappend(differences, difference);
	}
	return differences;
}

/* Make the tables like the copies, by what the projection's SQL may do. */
static void
rebuild_apply(const EsReplay *replay, const EsProjection *projection, const List *differences)
{
	EsApplier applier = {.projection = projection, .owner = replay->applier->owner};
	EsApplyScope scope;
	const ListCell *cell;

	es_apply_enter(&scope, &applier);
	PG_TRY();
	{
		/* Like an index that is built: once, and with others waiting for it. */
		(void) set_config_option("work_mem", GetConfigOption("maintenance_work_mem", false, false),
								 PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		es_mend_apply(differences);
	}
	PG_FINALLY();
	{
		es_apply_leave(&scope);
	}
	PG_END_TRY();
	foreach (cell, differences)
		es_mend_drop(lfirst(cell));
}

/* A paused projection stays so; one that had failed runs again. */
static void
rebuild_save(const EsReplay *replay, EsProjection *projection)
{
	const ListCell *cell;

	projection->position = replay->projection.position;
	projection->events_applied = replay->projection.events_applied;
	if (projection->state == ES_PROJECTION_FAILED)
		projection->state = ES_PROJECTION_RUNNING;
	es_definition_save(projection, NULL);
	if (projection->is_stale)
		es_stale_forget(projection->name);
	es_definition_forget_missed(projection->name, 0, PG_INT64_MAX);
	foreach (cell, replay->projection.skipped)
	{
		const EsProjectionError *skipped = lfirst(cell);

		es_omission_add(ES_OMISSION_SKIPPED, projection->name, skipped->position, skipped);
	}
	es_intact_begin(projection);
}

/*
 * Rebuild it beside its tables; replay: up to the head, or close to it.
 *
 * successor: with another query; NULL: with its own.
 */
static int64
rebuild_beside(EsProjection *projection, EsReplay *replay, const EsSuccessor *successor)
{
	const EsReshape *reshape = successor == NULL ? NULL : successor->reshape;
	const EsProjection *before = projection;
	List *differences = NIL;
	int64 count;

	if (reshape == NULL)
		differences = rebuild_prepare(replay);
	/* Paused, resumed or run meanwhile it may be, but not dropped. */
	if (reshape != NULL)
		rebuild_claim(projection, reshape);
	else
		es_projection_lock(projection->name);
	projection = rebuild_take(projection->name, successor);
	es_replay_advance(replay, rebuild_stop_appends(projection));
	if (reshape != NULL)
	{
		rebuild_reshape(replay, projection, reshape);
		differences = rebuild_prepare(replay);
	}
	rebuild_apply(replay, projection, differences);
	if (reshape != NULL)
	{
		es_readtable_drop_sides(before, projection->tables);
		es_readtable_settle_sides(projection, reshape->now);
	}
	if (successor != NULL)
		es_redefine_save(projection);
	rebuild_save(replay, projection);
	count = replay->projection.events_applied;
	es_replay_end(replay);
	return count;
}

/* ----------------------------------------------------------------------
 * In place
 * ----------------------------------------------------------------------
 */

static void
rebuild_empty(const EsReplay *replay)
{
	EsApplier applier = {.projection = &replay->projection, .owner = replay->applier->owner};
	EsApplyScope scope;

	es_apply_enter(&scope, &applier);
	PG_TRY();
	{
		es_mend_empty(replay->applier->own);
	}
	PG_FINALLY();
	{
		es_apply_leave(&scope);
	}
	PG_END_TRY();
	CommandCounterIncrement();
}

/*
 * Empty the tables of a handler and apply every event again, for what can not be
 * replayed beside them.  Readers see the old rows until the commit; appends wait
 * all the time, if they apply it.
 *
 * reason: why it can not be.
 */
static int64
rebuild_in_place(EsProjection *projection, const char *reason, const EsSuccessor *successor)
{
	EsReplay *replay;
	int64 last;

	ereport(NOTICE,
			(errmsg("projection \"%s\" is rebuilt in place", projection->name),
			 errdetail("%s", reason),
			 projection->is_inline ? errhint("Appends of its events wait until it is done.") : 0));
	es_projection_lock(projection->name);
	projection = rebuild_take(projection->name, successor);
	last = rebuild_stop_appends(projection);
	replay = es_replay_begin_in_place(projection);
	replay->is_shown = true;
	replay->total = es_advance_count(&replay->projection, 0, last);
	es_progress_show(projection->name, ES_ACTIVITY_REBUILD, 0, replay->total);
	rebuild_empty(replay);
	es_replay_advance(replay, last);
	if (successor != NULL)
		es_redefine_save(projection);
	rebuild_save(replay, projection);
	return replay->projection.events_applied;
}

/* ----------------------------------------------------------------------
 * Which of the two
 * ----------------------------------------------------------------------
 */

typedef struct RebuildTry
{
	const EsProjection *projection;
	bool checks_table; /* it has to have all columns already */
	EsReplay *replay;  /* receives it */
} RebuildTry;

static void
rebuild_try(void *argument)
{
	RebuildTry *try = argument;

	try->replay = es_replay_begin(try->projection);
	if (try->checks_table)
		es_replay_check_table(try->replay);
	rebuild_replay(try->replay);
}

/* Why triggers keep a projection from being replayed beside its tables; NULL: they do not. */
static char *
rebuild_find_obstacle(const EsProjection *projection)
{
	List *tables = NIL;
	ListCell *cell;

	if (es_projection_owns_table(projection))
		return NULL;
	foreach (cell, projection->tables)
	{
		List *name = es_compat_name_list(lfirst(cell));
		Oid table = RangeVarGetRelid(makeRangeVarFromNameList(name), AccessShareLock, true);

		if (OidIsValid(table))
			tables = lappend_oid(tables, table);
	}
	return es_beside_check_triggers(tables);
}

/* What a rebuild begins with; verb: for messages. */
void
es_rebuild_begin(const EsProjection *projection, const char *verb)
{
	rebuild_check_isolation(verb);
	if (!es_projection_lock_rebuild(projection->name, false))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("projection \"%s\" is being rebuilt", projection->name),
				 errdetail("Another session does it, or drops or renames it.")));
	es_transaction_change_projection();
}

/*
 * Rebuild a projection.
 *
 * successor: with another query; NULL: with its own.
 *
 * Returns to how many events it was applied.
 */
int64
es_rebuild_run(EsProjection *projection, const EsSuccessor *successor)
{
	const EsProjection *definition = successor == NULL ? projection : successor->definition;
	RebuildTry try = {.projection = definition, .checks_table = successor == NULL};
	ErrorData *error = NULL;
	char *obstacle = rebuild_find_obstacle(definition);
	int64 count;

	/* What a handler does is found out on the way. */
	if (es_projection_owns_table(definition))
		rebuild_try(&try);
	else if (obstacle == NULL)
		error = es_attempt(rebuild_try, &try);
	if (error != NULL && (try.replay == NULL || !try.replay->applier->wants_tables))
		ReThrowError(error);
	if (error != NULL)
		obstacle = error->detail;
	count = obstacle == NULL ? rebuild_beside(projection, try.replay, successor)
							 : rebuild_in_place(projection, obstacle, successor);
	es_progress_hide();
	es_gone_tell(definition, PG_INT64_MAX);
	return count;
}

static Datum
rebuild_call(PG_FUNCTION_ARGS)
{
	EsProjection *projection = es_replay_get(fcinfo, "es_rebuild_projection()");

	es_rebuild_begin(projection, "es_rebuild_projection()");
	if (es_projection_owns_table(projection))
		es_readtable_make_missing(projection);
	PG_RETURN_INT64(es_rebuild_run(projection, NULL));
}

/*
 * es_rebuild_projection(name text) -> bigint
 */
Datum
es_rebuild_projection(PG_FUNCTION_ARGS)
{
	return es_replay_call(rebuild_call, fcinfo);
}
