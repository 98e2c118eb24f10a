/*-------------------------------------------------------------------------
 *
 * policy.c
 *		Scans that see what row security lets a role see.
 *
 * Where a DBA has put policies on a table that count for a role, a scan of one
 * of its indexes becomes the SELECT that it stands for, and PostgreSQL's own
 * rewriter, planner and executor see to the policies: whatever is in them, and
 * whatever they will be.  The right to call the function that scans is the
 * right to read, so the SELECT needs none on the table; what the policies
 * themselves read, the role has to have rights on.
 *
 * There is nothing to choose for the planner but the index, which has the
 * order.  The plan is made anew each time: it depends on the role and on
 * settings, and nobody is here for whom that is too slow.
 *
 * Memory: a context of its own for each scan, below the current one.  Locks:
 * AccessShare on what the policies read.  Calls: nothing of ours.  The
 * policies' functions run here, as the role.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/stratnum.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "parser/analyze.h"
#include "tcop/dest.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/policy.h"

struct EsPolicyScan
{
	MemoryContext context;
	Oid role;
	int security; /* context that the policies run in */
	char *sql;
	ParamListInfo values;
	PlannedStmt *plan;
	QueryDesc *query; /* NULL until it begins */
};

/*
 * Whether policies of a table count for a role.  Raises 42501 where they would
 * and row_security is off.
 */
bool
es_policy_applies(Relation rel, Oid role)
{
	return rel->rd_rel->relrowsecurity &&
		check_enable_rls(RelationGetRelid(rel), role, false) == RLS_ENABLED;
}

/* ----------------------------------------------------------------------
 * The SELECT
 * ----------------------------------------------------------------------
 */

static const char *
policy_column(Relation rel, Relation index, int number)
{
	AttrNumber column = index->rd_index->indkey.values[number - 1];

	return quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(rel), column - 1)->attname));
}

static const char *
policy_operator(StrategyNumber strategy)
{
	static const char *const operators[] = {[BTLessStrategyNumber] = "<",
											[BTLessEqualStrategyNumber] = "<=",
											[BTEqualStrategyNumber] = "=",
											[BTGreaterEqualStrategyNumber] = ">=",
											[BTGreaterStrategyNumber] = ">"};

	return operators[strategy];
}

static char *
policy_sql(Relation rel, Relation index, const ScanKeyData *keys, int key_count,
		   ScanDirection direction)
{
	StringInfoData sql;
	int i;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT * FROM %s",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)),
												RelationGetRelationName(rel)));
	for (i = 0; i < key_count; i++)
		appendStringInfo(&sql, " %s %s OPERATOR(pg_catalog.%s) $%d", i == 0 ? "WHERE" : "AND",
						 policy_column(rel, index, keys[i].sk_attno),
						 policy_operator(keys[i].sk_strategy), i + 1);
	for (i = 0; i < index->rd_index->indnkeyatts; i++)
		appendStringInfo(&sql, "%s %s%s", i == 0 ? " ORDER BY" : ",",
						 policy_column(rel, index, i + 1),
						 ScanDirectionIsBackward(direction) ? " DESC" : "");
	return sql.data;
}

static ParamListInfo
policy_values(Relation index, const ScanKeyData *keys, int key_count)
{
	ParamListInfo values = makeParamList(key_count);
	int i;

	for (i = 0; i < key_count; i++)
	{
		values->params[i].value = keys[i].sk_argument;
		values->params[i].isnull = false;
		values->params[i].pflags = PARAM_FLAG_CONST;
		values->params[i].ptype =
			TupleDescAttr(RelationGetDescr(index), keys[i].sk_attno - 1)->atttypid;
	}
	return values;
}

static PlannedStmt *
policy_plan_query(Query *query, const char *sql, ParamListInfo values)
{
	static const char *const off[] = {"enable_seqscan", "enable_bitmapscan", "enable_sort", "jit"};
	static const char *const on[] = {"enable_indexscan"};
	int level = NewGUCNestLevel();
	PlannedStmt *plan;
	int i;

	for (i = 0; i < lengthof(off); i++)
		(void) set_config_option(off[i], "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true,
								 0, false);
	for (i = 0; i < lengthof(on); i++)
		(void) set_config_option(on[i], "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								 false);
	plan = pg_plan_query(query, sql, 0, values);
	AtEOXact_GUC(false, level);
	return plan;
}

static void
policy_make_plan(EsPolicyScan *scan)
{
	Oid types[INDEX_MAX_KEYS];
	RawStmt *parsed = linitial_node(RawStmt, pg_parse_query(scan->sql));
	Query *query;
	int i;

	for (i = 0; i < scan->values->numParams; i++)
		types[i] = scan->values->params[i].ptype;
	query = parse_analyze_fixedparams(parsed, scan->sql, types, scan->values->numParams, NULL);
	es_compat_waive_rights(query);
	query = linitial_node(Query, pg_rewrite_query(query));
	scan->plan = policy_plan_query(query, scan->sql, scan->values);
}

/* ----------------------------------------------------------------------
 * Running it
 * ----------------------------------------------------------------------
 */

/* Who calls, to come back to. */
typedef struct PolicyCaller
{
	MemoryContext context;
	Oid user;
	int security;
} PolicyCaller;

/* After an error, the end of the (sub)transaction undoes it. */
static void
policy_enter(const EsPolicyScan *scan, PolicyCaller *caller)
{
	caller->context = MemoryContextSwitchTo(scan->context);
	GetUserIdAndSecContext(&caller->user, &caller->security);
	SetUserIdAndSecContext(scan->role, scan->security);
}

static void
policy_leave(const PolicyCaller *caller)
{
	SetUserIdAndSecContext(caller->user, caller->security);
	MemoryContextSwitchTo(caller->context);
}

/*
 * Prepare a scan of a table, in the order of an index, as a role sees it; its
 * policies count for that role.  End it with es_policy_free.
 *
 * keys: on the index's columns; their values stay valid.
 */
EsPolicyScan *
es_policy_plan(Relation rel, Relation index, const ScanKeyData *keys, int key_count, Oid role,
			   ScanDirection direction)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "eventstore policies",
												  ALLOCSET_DEFAULT_SIZES);
	EsPolicyScan *scan = MemoryContextAllocZero(context, sizeof(EsPolicyScan));
	PolicyCaller caller;
	bool has_snapshot = ActiveSnapshotSet();

	scan->context = context;
	scan->role = role;
	GetUserIdAndSecContext(&caller.user, &scan->security);
	if (role != caller.user)
		scan->security |= SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION;
	policy_enter(scan, &caller);
	scan->sql = policy_sql(rel, index, keys, key_count, direction);
	scan->values = policy_values(index, keys, key_count);
	if (!has_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	policy_make_plan(scan);
	if (!has_snapshot)
		PopActiveSnapshot();
	policy_leave(&caller);
	return scan;
}

/* Start the scan, or start it again. */
void
es_policy_begin(EsPolicyScan *scan, Snapshot snapshot)
{
	PolicyCaller caller;

	es_policy_stop(scan);
	policy_enter(scan, &caller);
	PushActiveSnapshot(snapshot);
	scan->query = CreateQueryDesc(scan->plan, scan->sql, GetActiveSnapshot(), InvalidSnapshot,
								  None_Receiver, scan->values, NULL, 0);
	ExecutorStart(scan->query, EXEC_FLAG_SKIP_TRIGGERS);
	PopActiveSnapshot();
	policy_leave(&caller);
}

/* The next row, valid until the next call; NULL at the end. */
TupleTableSlot *
es_policy_next(EsPolicyScan *scan)
{
	EState *state = scan->query->estate;
	TupleTableSlot *slot;
	PolicyCaller caller;

	policy_enter(scan, &caller);
	PushActiveSnapshot(scan->query->snapshot);
	MemoryContextSwitchTo(state->es_query_cxt);
	ResetPerTupleExprContext(state);
	slot = ExecProcNode(scan->query->planstate);
	PopActiveSnapshot();
	policy_leave(&caller);
	return TupIsNull(slot) ? NULL : slot;
}

void
es_policy_stop(EsPolicyScan *scan)
{
	if (scan->query == NULL)
		return;
	ExecutorFinish(scan->query);
	ExecutorEnd(scan->query);
	FreeQueryDesc(scan->query);
	scan->query = NULL;
}

void
es_policy_free(EsPolicyScan *scan)
{
	es_policy_stop(scan);
	MemoryContextDelete(scan->context);
}
