/*-------------------------------------------------------------------------
 *
 * nullable.c
 *		Whether a key of a declaration can be null.
 *
 * A declared table has a primary key where no key can be null, which tools
 * that write to it or replicate it like; else null is a group as any other,
 * and its unique key says so.  What is not known not to be null can be.
 *
 * Memory: the current context.  Locks: none.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "projection/declared/nullable.h"

/*
 * PostgreSQL's strict functions of which is known that they return null for
 * nothing but null; sorted.
 */
static const char *const nullable_total[] = {
	"abs",          "btrim",   "ceil",        "ceiling",     "date",        "date_bin",
	"date_trunc",   "float8",  "floor",       "initcap",     "int2",        "int4",
	"int4div",      "int4mi",  "int4mod",     "int4mul",     "int4pl",      "int8",
	"int8div",      "int8mi",  "int8mod",     "int8mul",     "int8pl",      "jsonb_exists",
	"jsonb_typeof", "left",    "length",      "lower",       "ltrim",       "md5",
	"mod",          "numeric", "numeric_add", "numeric_mul", "numeric_sub", "replace",
	"reverse",      "right",   "round",       "rtrim",       "split_part",  "textcat",
	"texteq",       "textne",  "timestamp",   "timestamptz", "timezone",    "to_date",
	"to_timestamp", "trunc",   "upper",
};

/* And some that do so for times that are finite, as recorded_at is. */
static const char *const nullable_total_if_finite[] = {
	"date_part",
	"extract",
	"to_char",
};

static int
nullable_compare(const void *key, const void *entry)
{
	return strcmp(key, *(const char *const *) entry);
}

#define nullable_has(names, name) \
	(bsearch(name, names, lengthof(names), sizeof(char *), nullable_compare) != NULL)

/* Whether a time is finite: it comes of an event's own columns, and constants. */
static bool
nullable_is_finite(Query *query, Node *node)
{
	ListCell *cell;

	if (IsA(node, Var))
		return ((Var *) node)->varlevelsup == 0 &&
			rt_fetch(((Var *) node)->varno, query->rtable)->rtekind == RTE_NAMEDTUPLESTORE;
	if (IsA(node, Const))
		return !((Const *) node)->constisnull &&
			(((Const *) node)->consttype != TEXTOID ||
			 VARSIZE_ANY_EXHDR(DatumGetPointer(((Const *) node)->constvalue)) > 0);
	if (!IsA(node, FuncExpr))
		return false;
	foreach (cell, ((FuncExpr *) node)->args)
		if (!nullable_is_finite(query, lfirst(cell)))
			return false;
	return true;
}

static bool
nullable_is_total(Query *query, Oid function, List *arguments)
{
	const char *name = get_func_name(function);
	ListCell *cell;

	if (get_func_namespace(function) != PG_CATALOG_NAMESPACE || !func_strict(function))
		return false;
	if (nullable_has(nullable_total, name))
		return true;
	if (!nullable_has(nullable_total_if_finite, name))
		return false;
	foreach (cell, arguments)
		if (!nullable_is_finite(query, lfirst(cell)))
			return false;
	return true;
}

/* ----------------------------------------------------------------------
 * What a condition says
 * ----------------------------------------------------------------------
 */

/* Whether an expression is null wherever another is. */
static bool
nullable_follows(Node *clause, Node *node)
{
	List *arguments = NIL;
	ListCell *cell;

	if (clause == NULL)
		return false;
	if (equal(clause, node))
		return true;
	if (IsA(clause, OpExpr) && op_strict(((OpExpr *) clause)->opno))
		arguments = ((OpExpr *) clause)->args;
	else if (IsA(clause, ScalarArrayOpExpr) && op_strict(((ScalarArrayOpExpr *) clause)->opno))
		arguments = list_make1(linitial(((ScalarArrayOpExpr *) clause)->args));
	else if (IsA(clause, FuncExpr) && func_strict(((FuncExpr *) clause)->funcid))
		arguments = ((FuncExpr *) clause)->args;
	else if (IsA(clause, RelabelType))
		arguments = list_make1(((RelabelType *) clause)->arg);
	else if (IsA(clause, CoerceViaIO))
		arguments = list_make1(((CoerceViaIO *) clause)->arg);
	else if (IsA(clause, BoolExpr) && ((BoolExpr *) clause)->boolop == NOT_EXPR)
		arguments = ((BoolExpr *) clause)->args;
	foreach (cell, arguments)
		if (nullable_follows(lfirst(cell), node))
			return true;
	return false;
}

/* Whether a condition that holds says that an expression is not null. */
static bool
nullable_is_excluded(Node *condition, Node *node)
{
	ListCell *cell;

	foreach (cell, make_ands_implicit((Expr *) condition))
	{
		Node *clause = lfirst(cell);

		if (IsA(clause, NullTest) && ((NullTest *) clause)->nulltesttype == IS_NOT_NULL &&
			!((NullTest *) clause)->argisrow)
			clause = (Node *) ((NullTest *) clause)->arg;
		/* "x IS NOT DISTINCT FROM" and the like are not strict. */
		if (nullable_follows(clause, node))
			return true;
	}
	return false;
}

/* Whether FROM and WHERE let no row pass in which an expression is null. */
static bool
nullable_is_excluded_by(Node *from, Node *node)
{
	ListCell *cell;

	if (IsA(from, FromExpr))
	{
		foreach (cell, ((FromExpr *) from)->fromlist)
			if (nullable_is_excluded_by(lfirst(cell), node))
				return true;
		return nullable_is_excluded(((FromExpr *) from)->quals, node);
	}
	if (IsA(from, JoinExpr))
	{
		JoinExpr *join = (JoinExpr *) from;

		if (join->jointype == JOIN_INNER && nullable_is_excluded(join->quals, node))
			return true;
		if (join->jointype != JOIN_RIGHT && nullable_is_excluded_by(join->larg, node))
			return true;
		return join->jointype != JOIN_LEFT && nullable_is_excluded_by(join->rarg, node);
	}
	return false;
}

/* ----------------------------------------------------------------------
 * Columns
 * ----------------------------------------------------------------------
 */

/*
 * Whether an item of FROM may be missing, all its columns being null.
 *
 * is_outer: whether what is looked at is on that side of a join itself.
 */
static bool
nullable_is_outer(Node *from, int number, bool is_outer)
{
	ListCell *cell;

	if (IsA(from, RangeTblRef))
		return is_outer && ((RangeTblRef *) from)->rtindex == number;
	if (IsA(from, FromExpr))
	{
		foreach (cell, ((FromExpr *) from)->fromlist)
			if (nullable_is_outer(lfirst(cell), number, is_outer))
				return true;
		return false;
	}
	else
	{
		JoinExpr *join = castNode(JoinExpr, from);

		return nullable_is_outer(join->larg, number, is_outer || join->jointype == JOIN_RIGHT) ||
			nullable_is_outer(join->rarg, number, is_outer || join->jointype == JOIN_LEFT);
	}
}

static bool
nullable_has_not_null(Oid table, AttrNumber column)
{
	HeapTuple row = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table), Int16GetDatum(column));
	bool result;

	if (!HeapTupleIsValid(row))
		return false;
	result = ((Form_pg_attribute) GETSTRUCT(row))->attnotnull;
	ReleaseSysCache(row);
	return result;
}

static bool
nullable_is_column(Query *query, const Var *var)
{
	RangeTblEntry *rte;
	TargetEntry *entry;

	if (var->varlevelsup != 0 || var->varattno <= 0)
		return true;
	rte = rt_fetch(var->varno, query->rtable);
	if (rte->rtekind == RTE_JOIN)
		return es_nullable_is(query, list_nth(rte->joinaliasvars, var->varattno - 1));
	if (nullable_is_outer((Node *) query->jointree, var->varno, false))
		return true;
	switch (rte->rtekind)
	{
		case RTE_NAMEDTUPLESTORE:
			return var->varattno == Anum_events_metadata || var->varattno == Anum_events_tags;
		case RTE_RELATION:
			return !nullable_has_not_null(rte->relid, var->varattno);
		case RTE_SUBQUERY:
			entry = get_tle_by_resno(rte->subquery->targetList, var->varattno);
			return entry == NULL || es_nullable_is(rte->subquery, (Node *) entry->expr);
		default:
			return true;
	}
}

/* ----------------------------------------------------------------------
 * Expressions
 * ----------------------------------------------------------------------
 */

static bool
nullable_is_any(Query *query, List *nodes)
{
	ListCell *cell;

	foreach (cell, nodes)
		if (es_nullable_is(query, lfirst(cell)))
			return true;
	return false;
}

static bool
nullable_are_all(Query *query, List *nodes)
{
	ListCell *cell;

	foreach (cell, nodes)
		if (!es_nullable_is(query, lfirst(cell)))
			return false;
	return true;
}

static bool
nullable_is_case(Query *query, const CaseExpr *expression)
{
	ListCell *cell;

	foreach (cell, expression->args)
		if (es_nullable_is(query, (Node *) lfirst_node(CaseWhen, cell)->result))
			return true;
	return es_nullable_is(query, (Node *) expression->defresult);
}

static bool
nullable_is_by_kind(Query *query, Node *node)
{
	switch (nodeTag(node))
	{
		case T_Const:
			return ((Const *) node)->constisnull;
		case T_Var:
			return nullable_is_column(query, (Var *) node);
		case T_RelabelType:
			return es_nullable_is(query, (Node *) ((RelabelType *) node)->arg);
		case T_CoerceViaIO:
			return es_nullable_is(query, (Node *) ((CoerceViaIO *) node)->arg);
		case T_CollateExpr:
			return es_nullable_is(query, (Node *) ((CollateExpr *) node)->arg);
		case T_CoalesceExpr:
			return nullable_are_all(query, ((CoalesceExpr *) node)->args);
		case T_MinMaxExpr:
			return nullable_are_all(query, ((MinMaxExpr *) node)->args);
		case T_CaseExpr:
			return nullable_is_case(query, (CaseExpr *) node);
		case T_FuncExpr:
			return !nullable_is_total(query, ((FuncExpr *) node)->funcid,
									  ((FuncExpr *) node)->args) ||
				nullable_is_any(query, ((FuncExpr *) node)->args);
		case T_OpExpr:
			return !nullable_is_total(query, get_opcode(((OpExpr *) node)->opno),
									  ((OpExpr *) node)->args) ||
				nullable_is_any(query, ((OpExpr *) node)->args);
		case T_BoolExpr:
			return nullable_is_any(query, ((BoolExpr *) node)->args);
		case T_NullTest:
		case T_BooleanTest:
		case T_DistinctExpr:
			return false;
		default:
			return true;
	}
}

/* Whether an expression can be null in a row that a query reads. */
bool
es_nullable_is(Query *query, Node *node)
{
	check_stack_depth();
	return node == NULL ||
		(nullable_is_by_kind(query, node) &&
		 !nullable_is_excluded_by((Node *) query->jointree, node));
}
