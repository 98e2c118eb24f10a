/*-------------------------------------------------------------------------
 *
 * select.c
 *		The SELECT that a scan stands for.
 *
 * Two kinds of tables cannot be read by their indexes alone.  Where a DBA has
 * put policies on a table that count for a role, PostgreSQL's own rewriter,
 * planner and executor see to them: whatever is in them, and whatever they will
 * be.  And where a partition of eventstore.events is a foreign table, they and
 * the foreign data wrapper see to what is asked of the other server.
 *
 * The right to call the function that scans is the right to read, so the SELECT
 * needs none on the table; what the policies themselves read, the role has to
 * have rights on, and a foreign server knows the role by its user mapping.
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
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "foreign/foreign.h"
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
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/select.h"

struct EsSelect
{
	MemoryContext context;
	Oid role;
	int security; /* context that the policies run in */
	char *sql;
	ParamListInfo values;
	PlannedStmt *plan;
	QueryDesc *query; /* NULL until it begins */

	/* Of a foreign table. */
	const char *foreign; /* its name; NULL: it is none */
	Oid owner;
	const char *server;
	const char *reader; /* who reads it; NULL: somebody that the server knows */
};

/*
 * Whether policies of a table count for a role.  Raises 42501 where they would
 * and row_security is off.
 */
bool
es_select_has_policies(Relation rel, Oid role)
{
	return rel->rd_rel->relrowsecurity &&
		check_enable_rls(RelationGetRelid(rel), role, false) == RLS_ENABLED;
}

/* ----------------------------------------------------------------------
 * Its text
 * ----------------------------------------------------------------------
 */

static bool
select_is_foreign(const EsSelectWhat *what)
{
	return what->table->rd_rel->relkind == RELKIND_FOREIGN_TABLE;
}

static const char *
select_column(const EsSelectWhat *what, int number)
{
	TupleDesc desc = RelationGetDescr(what->table);

	return quote_identifier(NameStr(TupleDescAttr(desc, what->columns[number - 1] - 1)->attname));
}

static const char *
select_operator(StrategyNumber strategy)
{
	static const char *const operators[] = {[BTLessStrategyNumber] = "<",
											[BTLessEqualStrategyNumber] = "<=",
											[BTEqualStrategyNumber] = "=",
											[BTGreaterEqualStrategyNumber] = ">=",
											[BTGreaterStrategyNumber] = ">"};

	return operators[strategy];
}

/* The columns of a foreign table, each in its place. */
static void
select_add_columns(const EsSelectWhat *what, StringInfo sql)
{
	int i;

	for (i = 0; i < what->row->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(what->row, i);
		bool is_wanted = !column->attisdropped &&
			(what->wants_all || bms_is_member(column->attnum, what->wanted));

		appendStringInfo(sql, "%s%s", i == 0 ? " " : ", ",
						 is_wanted ? quote_identifier(NameStr(column->attname)) : "NULL");
	}
}

/* Add a condition; what follows is the condition itself. */
static const char *
select_and(int *count)
{
	return (*count)++ == 0 ? " WHERE " : " AND ";
}

static void
select_add_conditions(const EsSelectWhat *what, StringInfo sql)
{
	int count = 0;
	int parameter = 0;
	int i;

	for (i = 0; i < what->key_count; i++)
		appendStringInfo(sql, "%s%s OPERATOR(pg_catalog.%s) $%d", select_and(&count),
						 select_column(what, what->keys[i].sk_attno),
						 select_operator(what->keys[i].sk_strategy), ++parameter);
	if (!what->is_of_events)
		return;
	if (what->tags != (Datum) 0)
		appendStringInfo(sql, "%stags OPERATOR(pg_catalog.@>) $%d", select_and(&count), ++parameter);
	if (what->ids != (Datum) 0)
		appendStringInfo(sql, "%sid OPERATOR(pg_catalog.=) ANY ($%d)", select_and(&count),
						 ++parameter);
	/* As constants, which the planner knows partitions by. */
	if (what->low != PG_INT64_MIN)
		appendStringInfo(sql, "%sposition OPERATOR(pg_catalog.>=) '%lld'::pg_catalog.int8",
						 select_and(&count), (long long) what->low);
	if (what->high != PG_INT64_MAX)
		appendStringInfo(sql, "%sposition OPERATOR(pg_catalog.<=) '%lld'::pg_catalog.int8",
						 select_and(&count), (long long) what->high);
}

static char *
select_write(const EsSelectWhat *what)
{
	StringInfoData sql;
	int i;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT");
	if (select_is_foreign(what))
		select_add_columns(what, &sql);
	else
		appendStringInfoString(&sql, " *");
	appendStringInfo(&sql, " FROM %s%s", select_is_foreign(what) ? "ONLY " : "",
					 quote_qualified_identifier(get_namespace_name(
													RelationGetNamespace(what->table)),
												RelationGetRelationName(what->table)));
	select_add_conditions(what, &sql);
	for (i = 1; i <= what->column_count; i++)
		appendStringInfo(&sql, "%s %s%s", i == 1 ? " ORDER BY" : ",", select_column(what, i),
						 ScanDirectionIsBackward(what->direction) ? " DESC" : "");
	return sql.data;
}

/* ----------------------------------------------------------------------
 * Its plan
 * ----------------------------------------------------------------------
 */

static void
select_set_value(ParamListInfo values, int number, Oid type, Datum value)
{
	values->params[number].value = value;
	values->params[number].isnull = false;
	values->params[number].pflags = PARAM_FLAG_CONST;
	values->params[number].ptype = type;
}

/* In the order of select_add_conditions. */
static ParamListInfo
select_values(const EsSelectWhat *what)
{
	TupleDesc desc = RelationGetDescr(what->table);
	bool has_tags = what->is_of_events && what->tags != (Datum) 0;
	bool has_ids = what->is_of_events && what->ids != (Datum) 0;
	ParamListInfo values = makeParamList(what->key_count + has_tags + has_ids);
	int i;

	for (i = 0; i < what->key_count; i++)
	{
		AttrNumber column = what->columns[what->keys[i].sk_attno - 1];

		select_set_value(values, i, TupleDescAttr(desc, column - 1)->atttypid,
						 what->keys[i].sk_argument);
	}
	if (has_tags)
		select_set_value(values, i++, TEXTARRAYOID, what->tags);
	if (has_ids)
		select_set_value(values, i, UUIDARRAYOID, what->ids);
	return values;
}

static PlannedStmt *
select_plan_query(Query *query, const char *sql, ParamListInfo values)
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

/* What the SELECT says.  Names are looked up as the role, or as the owner of a foreign table. */
static Query *
select_analyze(EsSelect *select)
{
	Oid types[INDEX_MAX_KEYS];
	RawStmt *parsed = linitial_node(RawStmt, pg_parse_query(select->sql));
	Query *query;
	int i;

	/* That is in a schema of a DBA's, of which the role need not know. */
	if (select->foreign != NULL)
		SetUserIdAndSecContext(select->owner, select->security | SECURITY_LOCAL_USERID_CHANGE);

	for (i = 0; i < select->values->numParams; i++)
		types[i] = select->values->params[i].ptype;
	query = parse_analyze_fixedparams(parsed, select->sql, types, select->values->numParams, NULL);
	es_compat_waive_rights(query);
	if (select->foreign != NULL)
		SetUserIdAndSecContext(select->role, select->security);
	return query;
}

/*
 * That row security is on, es_select_has_policies has seen, for whoever has asked it:
 * it may be somebody else's setting now.
 */
static void
select_make_plan(EsSelect *select)
{
	int level = NewGUCNestLevel();
	Query *query;

	(void) set_config_option("row_security", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
	query = linitial_node(Query, pg_rewrite_query(select_analyze(select)));
	AtEOXact_GUC(false, level);
	select->plan = select_plan_query(query, select->sql, select->values);
}

/* ----------------------------------------------------------------------
 * Running it
 * ----------------------------------------------------------------------
 */

/* Who calls, to come back to. */
typedef struct SelectCaller
{
	MemoryContext context;
	Oid user;
	int security;
	ErrorContextCallback explains; /* where the table is a foreign one */
} SelectCaller;

/* Say of an error of the other server's where it comes from, and what may be missing. */
static void
select_explain(void *argument)
{
	const EsSelect *select = argument;

	errcontext("reading \"%s\", a foreign table that is a partition of \"%s.events\"",
			   select->foreign, ES_SCHEMA);
	if (select->reader != NULL && geterrcode() == ERRCODE_UNDEFINED_OBJECT)
		errhint("Events are read as the role that calls. CREATE USER MAPPING FOR %s, or FOR PUBLIC, SERVER %s tells the server who that is.",
				select->reader, select->server);
}

/* After an error, the end of the (sub)transaction undoes it. */
static void
select_enter(EsSelect *select, SelectCaller *caller)
{
	caller->context = MemoryContextSwitchTo(select->context);
	GetUserIdAndSecContext(&caller->user, &caller->security);
	SetUserIdAndSecContext(select->role, select->security);
	if (select->foreign == NULL)
		return;
	caller->explains.callback = select_explain;
	caller->explains.arg = select;
	caller->explains.previous = error_context_stack;
	error_context_stack = &caller->explains;
}

static void
select_leave(const EsSelect *select, const SelectCaller *caller)
{
	if (select->foreign != NULL)
		error_context_stack = caller->explains.previous;
	SetUserIdAndSecContext(caller->user, caller->security);
	MemoryContextSwitchTo(caller->context);
}

/* Note what there is to say of a foreign table. */
static void
select_look_foreign(EsSelect *select, Relation table)
{
	ForeignServer *server = GetForeignServer(GetForeignTable(RelationGetRelid(table))->serverid);
	Datum id = ObjectIdGetDatum(server->serverid);

	select->owner = table->rd_rel->relowner;
	select->foreign = pstrdup(RelationGetRelationName(table));
	select->server = pstrdup(quote_identifier(server->servername));
	if (!SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(select->role), id) &&
		!SearchSysCacheExists2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid), id))
		select->reader = pstrdup(quote_identifier(GetUserNameFromId(select->role, false)));
}

/* The security context that a role's policies run in when it is the current role who scans. */
int
es_select_security(Oid role)
{
	int security;
	Oid user;

	GetUserIdAndSecContext(&user, &security);
	return role == user ? security
						: security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION;
}

/*
 * Prepare a scan of a table, in the order of an index, as a role sees it.  End it
 * with es_select_free.
 */
EsSelect *
es_select_plan(const EsSelectWhat *what)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "eventstore select",
												  ALLOCSET_DEFAULT_SIZES);
	EsSelect *select = MemoryContextAllocZero(context, sizeof(EsSelect));
	bool has_snapshot = ActiveSnapshotSet();
	SelectCaller caller;

	select->context = context;
	select->role = what->role;
	select->security = what->security;
	caller.context = MemoryContextSwitchTo(context);
	if (select_is_foreign(what))
		select_look_foreign(select, what->table);
	MemoryContextSwitchTo(caller.context);

	select_enter(select, &caller);
	select->sql = select_write(what);
	select->values = select_values(what);
	if (!has_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	select_make_plan(select);
	if (!has_snapshot)
		PopActiveSnapshot();
	select_leave(select, &caller);
	return select;
}

/*
 * Start the scan, or start it again.
 *
 * snapshot: one that sees what is not committed sees no more than others here.
 */
void
es_select_begin(EsSelect *select, Snapshot snapshot)
{
	SelectCaller caller;

	es_select_stop(select);
	select_enter(select, &caller);
	PushActiveSnapshot(IsMVCCSnapshot(snapshot) ? snapshot : GetLatestSnapshot());
	select->query = CreateQueryDesc(select->plan, select->sql, GetActiveSnapshot(), InvalidSnapshot,
									None_Receiver, select->values, NULL, 0);
	ExecutorStart(select->query, EXEC_FLAG_SKIP_TRIGGERS);
	PopActiveSnapshot();
	select_leave(select, &caller);
}

/* The next row, valid until the next call; NULL at the end. */
TupleTableSlot *
es_select_next(EsSelect *select)
{
	EState *state = select->query->estate;
	TupleTableSlot *slot;
	SelectCaller caller;

	select_enter(select, &caller);
	PushActiveSnapshot(select->query->snapshot);
	MemoryContextSwitchTo(state->es_query_cxt);
	ResetPerTupleExprContext(state);
	slot = ExecProcNode(select->query->planstate);
	PopActiveSnapshot();
	select_leave(select, &caller);
	return TupIsNull(slot) ? NULL : slot;
}

void
es_select_stop(EsSelect *select)
{
	SelectCaller caller;

	if (select->query == NULL)
		return;
	select_enter(select, &caller);
	ExecutorFinish(select->query);
	ExecutorEnd(select->query);
	FreeQueryDesc(select->query);
	select->query = NULL;
	select_leave(select, &caller);
}

void
es_select_free(EsSelect *select)
{
	es_select_stop(select);
	MemoryContextDelete(select->context);
}
