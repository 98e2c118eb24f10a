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
 * Memory: the current context.  Locks: none.  Calls: callable, ordered, part.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_aggregate.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "projection/declared/callable.h"
#include "projection/declared/ordered.h"
#include "projection/declared/parts.h"
#include "projection/declared/refuse.h"

/* ----------------------------------------------------------------------
 * Sums
 * ----------------------------------------------------------------------
 */

static Node *
parts_count(EsPartsState *state, Aggref *call, Expr *argument)
{
	EsPart *part = es_part_get(state, ES_PART_COUNT, call, argument, NULL);

	part->type = INT8OID;
	part->aggregate = "pg_catalog.count";
	return es_part_var(state, part);
}

/* count(DISTINCT x): how many values were new each time. */
static Node *
parts_count_distinct(EsPartsState *state, Aggref *call, Expr *argument)
{
	EsPart *part = es_part_get(state, ES_PART_DISTINCT, call, argument, NULL);

	part->type = INT8OID;
	es_part_set_by(part, (Node *) argument, exprCollation((Node *) argument));
	return es_part_var(state, part);
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
	part = es_part_get(state, ES_PART_SUM, call, argument, NULL);
	part->aggregate = "pg_catalog.sum";
	if (input == INT2OID || input == INT4OID)
		part->type = INT8OID;
	else if (input == INTERVALOID || input == CASHOID)
		part->type = input;
	else
		part->type = NUMERICOID;
	return es_part_var(state, part);
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
 * All aggregates
 * ----------------------------------------------------------------------
 */

/* Aggregates whose state is their result, and which can merge two of them. */
static Node *
parts_combined(EsPartsState *state, Aggref *call, Expr *argument)
{
	EsCallableCombine combine;
	EsPart *part;

	if (!es_callable_find_combine(call->aggfnoid, &combine) || list_length(call->args) != 1)
		es_refuse(errdetail("There is no way to merge a batch into the result of aggregate \"%s\": %s.",
							get_func_name(call->aggfnoid),
							combine.reason != NULL ? combine.reason : "it has not one argument"),
				  errhint("%s",
						  combine.hint != NULL
							  ? combine.hint
							  : "Supported are count, sum, min, max, avg, bool_and, bool_or, es_first, es_last; "
								"by position array_agg, jsonb_agg, string_agg and jsonb_object_agg; "
								"and aggregates whose state is their result."));
	part = es_part_get(state, ES_PART_COMBINE, call, argument, NULL);
	part->type = call->aggtype;
	part->aggregate = es_callable_name(call->aggfnoid);
	part->combine = combine.name;
	part->starts_with_input = combine.starts_with_input;
	return es_part_var(state, part);
}

static void
parts_check(Aggref *call)
{
	char *name = get_func_name(call->aggfnoid);

	if (call->aggdistinct != NIL && es_callable_which(call->aggfnoid) != ES_CALLABLE_COUNT)
		es_refuse(
			errdetail("It has DISTINCT in aggregate \"%s\", which would need all earlier values.",
					  name),
			errhint(
				"Only count(DISTINCT ...) is kept; else group by the value, and aggregate when you query the read table."));
	if (call->aggkind != AGGKIND_NORMAL)
		es_refuse(
			errdetail("It has aggregate \"%s\", which needs all values at once.", name),
			errhint(
				"Group by the value, or by ranges of it, with count(*), and compute it when you query the read table."));
	if (call->aggvariadic)
		es_refuse(
			errdetail("There is no way to merge a batch into the result of aggregate \"%s\": it is variadic.",
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
			return call->aggdistinct != NIL ? parts_count_distinct(state, call, argument)
											: parts_count(state, call, argument);
		case ES_CALLABLE_SUM:
			return parts_sum(state, call, argument);
		case ES_CALLABLE_AVG:
			return parts_avg(state, call, argument);
		case ES_CALLABLE_LATEST:
			return es_ordered_latest(state, call);
		case ES_CALLABLE_FIRST:
			return es_ordered_pick(state, call, false);
		case ES_CALLABLE_LAST:
			return es_ordered_pick(state, call, true);
		case ES_CALLABLE_LIST:
		case ES_CALLABLE_JSONB_LIST:
		case ES_CALLABLE_STRING_LIST:
			return es_ordered_list(state, call);
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
		Node *element = es_ordered_element(state, (SubscriptingRef *) node);

		if (element != NULL)
			return element;
	}
	node = es_compat_unwrap_json_aggregate(node);
	if (IsA(node, Aggref))
		return parts_aggregate(state, (Aggref *) node);
	return expression_tree_mutator(node, es_parts_replace, context);
}
