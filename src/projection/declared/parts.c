/*-------------------------------------------------------------------------
 *
 * parts.c
 *		Aggregates taken apart into partial ones that can be merged.
 *
 * A declared table is kept by partial aggregates: each is computed for a
 * batch, and merged into what is stored.  Most are the aggregate itself; an
 * average is a sum and a count.  An output expression is then an expression of
 * keys and parts.
 *
 * A result must not depend on the order in which batches are merged: inline
 * projections apply events of different streams in the order of their row
 * locks, not of their positions.  So first, last and latest values are kept
 * with their positions, and sums of floating-point numbers are refused.
 *
 * Memory: the current context.  Locks: none.  Calls: callable, catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_aggregate.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "projection/declared/callable.h"
#include "projection/declared/parts.h"
#include "projection/declared/refuse.h"

/* ----------------------------------------------------------------------
 * Parts
 * ----------------------------------------------------------------------
 */

/* Number of a column of rows; 0 for no expression. */
static int
parts_argument(EsPartsState *state, void *expression)
{
	ListCell *cell;

	if (expression == NULL)
		return 0;
	foreach (cell, state->arguments)
		if (equal(lfirst(cell), expression))
			return foreach_current_index(cell) + 1;
	state->arguments = lappend(state->arguments, expression);
	return list_length(state->arguments);
}

/*
 * The part of a kind with these arguments: there already, or new.  Valid until
 * the next call.
 */
static EsPart *
parts_get(EsPartsState *state, EsPartKind kind, Aggref *call, Expr *first, Expr *second)
{
	EsAnalysis *analysis = state->analysis;
	Oid function = kind == ES_PART_COMBINE ? call->aggfnoid : InvalidOid;
	int argument = parts_argument(state, first);
	int second_argument = parts_argument(state, second);
	int filter = parts_argument(state, call->aggfilter);
	EsPart *part;
	int i;

	for (i = 0; i < analysis->part_count; i++)
	{
		part = &analysis->parts[i];
		if (part->kind == kind && part->function == function && part->argument == argument &&
			part->second_argument == second_argument && part->filter == filter)
			return part;
	}

	analysis->part_count++;
	analysis->parts = analysis->part_count == 1
		? palloc(sizeof(EsPart))
		: repalloc(analysis->parts, sizeof(EsPart) * analysis->part_count);
	part = &analysis->parts[analysis->part_count - 1];
	memset(part, 0, sizeof(EsPart));
	part->kind = kind;
	part->function = function;
	part->argument = argument;
	part->second_argument = second_argument;
	part->filter = filter;
	part->typmod = -1;
	part->collation = call->aggcollid;
	return part;
}

/* The column of "merged" that holds a part. */
static Node *
parts_var(EsPartsState *state, const EsPart *part)
{
	int column = state->analysis->key_count + (int) (part - state->analysis->parts) + 1;

	return (Node *) makeVar(1, (AttrNumber) column, part->type, part->typmod, part->collation, 0);
}

/* ----------------------------------------------------------------------
 * Sums
 * ----------------------------------------------------------------------
 */

static Node *
parts_count(EsPartsState *state, Aggref *call, Expr *argument)
{
	EsPart *part = parts_get(state, ES_PART_COUNT, call, argument, NULL);

	part->type = INT8OID;
	part->aggregate = "pg_catalog.count";
	return parts_var(state, part);
}

static Node *
parts_sum(EsPartsState *state, Aggref *call, Expr *argument)
{
	Oid input = exprType((Node *) argument);
	EsPart *part;

	if (input == FLOAT4OID || input == FLOAT8OID)
		es_refuse(errdetail("It has aggregate \"%s\" of floating-point numbers, whose result depends on their order.",
							get_func_name(call->aggfnoid)),
				  errhint("Cast to numeric."));
	part = parts_get(state, ES_PART_SUM, call, argument, NULL);
	part->aggregate = "pg_catalog.sum";
	if (input == INT2OID || input == INT4OID)
		part->type = INT8OID;
	else if (input == INTERVALOID || input == CASHOID)
		part->type = input;
	else
		part->type = NUMERICOID;
	return parts_var(state, part);
}

static Node *
parts_call(Oid function, Oid type, List *arguments)
{
	return (Node *) makeFuncExpr(function, type, arguments, InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* As PostgreSQL computes it: the sum, divided by the count. */
static Node *
parts_avg(EsPartsState *state, Aggref *call, Expr *argument)
{
	Node *sum = parts_sum(state, call, argument);
	Node *count = parts_count(state, call, argument);

	if (exprType(sum) == INTERVALOID)
		return parts_call(F_INTERVAL_DIV, INTERVALOID,
						  list_make2(sum, parts_call(F_FLOAT8_INT8, FLOAT8OID, list_make1(count))));
	if (exprType(sum) == INT8OID)
		sum = parts_call(F_NUMERIC_INT8, NUMERICOID, list_make1(sum));
	count = parts_call(F_NUMERIC_INT8, NUMERICOID, list_make1(count));
	return parts_call(F_NUMERIC_DIV, NUMERICOID, list_make2(sum, count));
}

/* ----------------------------------------------------------------------
 * By position
 * ----------------------------------------------------------------------
 */

/* Whether an expression is the column "position" of "events". */
static bool
parts_is_position(Query *query, Node *node)
{
	Var *var = (Var *) node;
	RangeTblEntry *rte;

	if (!IsA(node, Var) || var->varlevelsup != 0 || var->varattno <= 0)
		return false;
	rte = rt_fetch(var->varno, query->rtable);
	if (rte->rtekind == RTE_NAMEDTUPLESTORE)
		return var->varattno == Anum_events_position;
	if (rte->rtekind == RTE_SUBQUERY)
	{
		TargetEntry *entry = get_tle_by_resno(rte->subquery->targetList, var->varattno);

		return entry != NULL && parts_is_position(rte->subquery, (Node *) entry->expr);
	}
	return false;
}

/*
 * Whether an aggregate takes its rows by position.
 *
 * is_descending: receives whether from the last one on.
 */
static bool
parts_is_by_position(EsPartsState *state, Aggref *call, bool *is_descending)
{
	SortGroupClause *clause;
	Node *expression;

	if (list_length(call->aggorder) != 1)
		return false;
	clause = linitial_node(SortGroupClause, call->aggorder);
	expression = get_sortgroupclause_expr(clause, call->args);
	if (!parts_is_position(state->query, expression))
		return false;
	state->position = expression;
	return es_compat_is_ordering(clause->sortop, is_descending);
}

/* Of several rows at one position, SQL leaves open which one is the last. */
static void
parts_check_one_to_one(EsPartsState *state)
{
	if (!state->analysis->is_one_to_one)
		es_refuse(errdetail(
					  "It has values by position, of several rows that an event makes: their order is left open."),
				  errhint(ES_REFUSE_HANDLER_HINT));
	state->analysis->needs_position = true;
}

/* The value at the first or the last position. */
static Node *
parts_pick(EsPartsState *state, Aggref *call, bool is_last)
{
	Expr *argument = linitial_node(TargetEntry, call->args)->expr;
	EsPart *part = parts_get(state, is_last ? ES_PART_LAST : ES_PART_FIRST, call, argument, NULL);

	part->type = exprType((Node *) argument);
	part->typmod = exprTypmod((Node *) argument);
	part->collation = exprCollation((Node *) argument);
	part->aggregate = es_callable_pick_name(is_last);
	parts_check_one_to_one(state);
	return parts_var(state, part);
}

/* What every call of an aggregate of two arguments has. */
static Expr *
parts_second_argument(const Aggref *call)
{
	if (list_length(call->args) < 2)
		elog(ERROR, "aggregate %u has no second argument", call->aggfnoid);
	return lsecond_node(TargetEntry, call->args)->expr;
}

/* es_first(value, position), es_last(value, position) */
static Node *
parts_own_pick(EsPartsState *state, Aggref *call, bool is_last)
{
	Node *expression = (Node *) parts_second_argument(call);

	if (!parts_is_position(state->query, expression))
		es_refuse(errdetail("The second argument of aggregate \"%s\" is not the position.",
							get_func_name(call->aggfnoid)),
				  errhint("Write %s(value, position).", get_func_name(call->aggfnoid)));
	state->position = expression;
	return parts_pick(state, call, is_last);
}

/* jsonb_object_agg(key, value ORDER BY position) */
static Node *
parts_latest(EsPartsState *state, Aggref *call)
{
	bool is_descending;
	EsPart *part;

	if (!parts_is_by_position(state, call, &is_descending) || is_descending)
		es_refuse(errdetail(
					  "It has jsonb_object_agg in no order, so that the value of a key is left to chance."),
				  errhint(
					  "Write jsonb_object_agg(key, value ORDER BY position): the latest value."));
	part = parts_get(state, ES_PART_LATEST, call, linitial_node(TargetEntry, call->args)->expr,
					 parts_second_argument(call));
	part->type = JSONBOID;
	part->aggregate = "pg_catalog.jsonb_object_agg";
	parts_check_one_to_one(state);
	return parts_var(state, part);
}

/* (array_agg(x ORDER BY position))[1], or by position DESC; NULL: it is not. */
static Node *
parts_element(EsPartsState *state, SubscriptingRef *element)
{
	Aggref *call = (Aggref *) element->refexpr;
	Const *number;
	bool is_descending;

	if (!IsA(call, Aggref) || call->aggfnoid != F_ARRAY_AGG_ANYNONARRAY ||
		element->reflowerindexpr != NIL || list_length(element->refupperindexpr) != 1 ||
		call->aggdistinct != NIL || !parts_is_by_position(state, call, &is_descending))
		return NULL;
	number = linitial(element->refupperindexpr);
	if (!IsA(number, Const) || number->constisnull || DatumGetInt32(number->constvalue) != 1)
		return NULL;
	return parts_pick(state, call, is_descending);
}

/* ----------------------------------------------------------------------
 * All aggregates
 * ----------------------------------------------------------------------
 */

/* Aggregates whose state is their result, and which can merge two of them. */
static Node *
parts_combined(EsPartsState *state, Aggref *call, Expr *argument)
{
	EsCallableCombine combine;
	EsPart *part;

	if (list_length(call->args) != 1 || !es_callable_find_combine(call->aggfnoid, &combine))
		es_refuse(errdetail("There is no way to merge a batch into the result of aggregate \"%s\".",
							get_func_name(call->aggfnoid)),
				  errhint(
					  "Supported are count, sum, min, max, avg, bool_and, bool_or, es_first, es_last, "
					  "jsonb_object_agg by position, and aggregates whose state is their result."));
	part = parts_get(state, ES_PART_COMBINE, call, argument, NULL);
	part->type = call->aggtype;
	part->aggregate = es_callable_name(call->aggfnoid);
	part->combine = combine.name;
	part->starts_with_input = combine.starts_with_input;
	return parts_var(state, part);
}

static void
parts_check(Aggref *call)
{
	char *name = get_func_name(call->aggfnoid);

	if (call->aggdistinct != NIL)
		es_refuse(errdetail("It has DISTINCT in aggregate \"%s\", which would need all earlier values.",
							name),
				  errhint("Group by the value, and aggregate when you query the read table."));
	if (call->aggkind != AGGKIND_NORMAL || call->aggvariadic)
		es_refuse(errdetail("There is no way to merge a batch into the result of aggregate \"%s\".",
							name));
}

/* What stands for an aggregate in the output expression. */
static Node *
parts_aggregate(EsPartsState *state, Aggref *call)
{
	Expr *argument = call->args == NIL ? NULL : linitial_node(TargetEntry, call->args)->expr;

	parts_check(call);
	switch (es_callable_which(call->aggfnoid))
	{
		case ES_CALLABLE_COUNT:
			return parts_count(state, call, argument);
		case ES_CALLABLE_SUM:
			return parts_sum(state, call, argument);
		case ES_CALLABLE_AVG:
			return parts_avg(state, call, argument);
		case ES_CALLABLE_LATEST:
			return parts_latest(state, call);
		case ES_CALLABLE_FIRST:
			return parts_own_pick(state, call, false);
		case ES_CALLABLE_LAST:
			return parts_own_pick(state, call, true);
		case ES_CALLABLE_OTHER:
			break;
	}
	return parts_combined(state, call, argument);
}

/*
 * An output expression, with columns of "merged" in place of keys and
 * aggregates.
 *
 * context: an EsPartsState.  Raises 0A000 for what can not be merged.
 */
Node *
es_parts_replace(Node *node, void *context)
{
	EsPartsState *state = context;
	ListCell *cell;

	if (node == NULL)
		return NULL;
	foreach (cell, state->key_exprs)
		if (equal(lfirst(cell), node))
			return (Node *) makeVar(1, foreach_current_index(cell) + 1, exprType(node),
									exprTypmod(node), exprCollation(node), 0);
	if (IsA(node, SubscriptingRef))
	{
		Node *element = parts_element(state, (SubscriptingRef *) node);

		if (element != NULL)
			return element;
	}
	if (IsA(node, Aggref))
		return parts_aggregate(state, (Aggref *) node);
	return expression_tree_mutator(node, es_parts_replace, context);
}
