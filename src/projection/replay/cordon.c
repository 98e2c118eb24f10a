/*-------------------------------------------------------------------------
 *
 * cordon.c
 *		Keeps the replay of a projection away from what is in use.
 *
 * A replay works on temporary copies of the projection's tables, which its SQL
 * finds because their names are the same.  A function that names a table with
 * its schema, or whose search_path has pg_temp last, would get at the table
 * itself, though, and a replay must change nothing that others see.  So every
 * statement that starts while a projection is replayed is looked at, whoever
 * sent it: it may neither read nor write a table that a copy stands for, and
 * write nothing but temporary tables.  Of utility commands it may run those
 * that change nothing.
 *
 * A replay in place, which has emptied the tables, may write them.
 *
 * Such an error is no event's fault: no projection may skip it.
 *
 * Memory: the current context.  Locks: none; the statement has them already.
 * Calls: apply.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "parser/parsetree.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"

#include "projection/apply.h"
#include "projection/replay/cordon.h"

static ExecutorStart_hook_type cordon_previous_start = NULL;
static ProcessUtility_hook_type cordon_previous_utility = NULL;

#define CORDON_REDUCER_HINT "A reducer works on the state and the event that it is given."

/* The projection that is replayed; NULL: none is. */
static EsApplier *
cordon_replay(void)
{
	const EsApplyScope *scope = es_apply_current();

	if (scope == NULL || !scope->applier->is_replay)
		return NULL;
	return unconstify(EsApplier *, scope->applier);
}

static void
cordon_refuse_hidden(EsApplier *applier, Oid table)
{
	applier->is_refused = true;
	if (applier->states != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("projection \"%s\" can not be replayed beside table \"%s\"",
						applier->projection->name, get_rel_name(table)),
				 errdetail("Its reducer reads the table that is made by it."),
				 errhint(CORDON_REDUCER_HINT)));
	applier->wants_tables = true;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("projection \"%s\" can not be replayed beside table \"%s\"",
					applier->projection->name, get_rel_name(table)),
			 errdetail("A function or view that it uses names the table itself, not its copy."),
			 errhint("In functions, leave out the table's schema, and do not put pg_temp last in a "
					 "search_path of their own.")));
}

static void
cordon_refuse_write(EsApplier *applier, Oid table)
{
	applier->is_refused = true;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("projection \"%s\" writes table \"%s\", which is not among its tables",
					applier->projection->name, get_rel_name(table)),
			 applier->states != NULL
				 ? errhint(CORDON_REDUCER_HINT)
				 : errhint("Make the projection anew, with all the tables that it writes in its argument tables.")));
}

/* Whether a table is among some, or a partition of one of them. */
static bool
cordon_is_among(const List *among, Oid table)
{
	List *tables = list_make1_oid(table);
	ListCell *cell;

	if (get_rel_relispartition(table))
		tables = list_concat(tables, get_partition_ancestors(table));
	foreach (cell, tables)
		if (list_member_oid(among, lfirst_oid(cell)))
			return true;
	return false;
}

/* Whether a replay may write a table: a temporary one, or, in place, its own. */
static bool
cordon_may_write(const EsApplier *applier, Oid table)
{
	return get_rel_persistence(table) == RELPERSISTENCE_TEMP ||
		cordon_is_among(applier->own, table);
}

static void
cordon_check_plan(EsApplier *applier, PlannedStmt *plan)
{
	ListCell *cell;

	foreach (cell, plan->rtable)
	{
		const RangeTblEntry *entry = lfirst_node(RangeTblEntry, cell);

		if (entry->rtekind == RTE_RELATION && cordon_is_among(applier->hidden, entry->relid))
			cordon_refuse_hidden(applier, entry->relid);
	}
	foreach (cell, plan->resultRelations)
	{
		Oid table = rt_fetch(lfirst_int(cell), plan->rtable)->relid;

		if (!cordon_may_write(applier, table))
			cordon_refuse_write(applier, table);
	}
}

static void
cordon_start(QueryDesc *query, int flags)
{
	EsApplier *applier = cordon_replay();

	if (applier != NULL)
		cordon_check_plan(applier, query->plannedstmt);
	if (cordon_previous_start)
		cordon_previous_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

static bool
cordon_may_write_all(const EsApplier *applier, const List *tables)
{
	ListCell *cell;

	foreach (cell, tables)
	{
		Oid table = RangeVarGetRelid(lfirst_node(RangeVar, cell), NoLock, true);

		if (OidIsValid(table) && !cordon_may_write(applier, table))
			return false;
	}
	return true;
}

/* Commands that change nothing, or only what the session has for itself. */
static bool
cordon_may_run(const EsApplier *applier, Node *command)
{
	switch (nodeTag(command))
	{
		case T_VariableSetStmt:
		case T_VariableShowStmt:
		case T_ConstraintsSetStmt:
		case T_DeclareCursorStmt:
		case T_FetchStmt:
		case T_ClosePortalStmt:
		case T_PrepareStmt:
		case T_ExecuteStmt:
		case T_DeallocateStmt:
		case T_ExplainStmt:
		case T_DoStmt:
		case T_CallStmt:
		case T_LockStmt:
		case T_NotifyStmt:
			return true;
		case T_TruncateStmt:
			return cordon_may_write_all(applier, castNode(TruncateStmt, command)->relations);
		default:
			return false;
	}
}

static void
cordon_utility(PlannedStmt *statement, const char *source, bool read_only_tree,
			   ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
			   DestReceiver *receiver, QueryCompletion *completion)
{
	EsApplier *applier = cordon_replay();

	if (applier != NULL && !cordon_may_run(applier, statement->utilityStmt))
	{
		applier->is_refused = true;
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("projection \"%s\" can not be replayed", applier->projection->name),
				 errdetail("It runs %s, which could change what others see.",
						   GetCommandTagName(CreateCommandTag(statement->utilityStmt)))));
	}
	if (cordon_previous_utility)
		cordon_previous_utility(statement, source, read_only_tree, context, params, environment,
								receiver, completion);
	else
		standard_ProcessUtility(statement, source, read_only_tree, context, params, environment,
								receiver, completion);
}

/* Called once, by _PG_init. */
void
es_cordon_init(void)
{
	cordon_previous_start = ExecutorStart_hook;
	ExecutorStart_hook = cordon_start;
	cordon_previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = cordon_utility;
}
