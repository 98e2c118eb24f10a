/*-------------------------------------------------------------------------
 *
 * ordered.c
 *		Aggregates in which the order of events counts.
 *
 * First and last values, the latest value of each key, lists.  They are kept
 * with the positions of the events that they come of, as batches are not merged
 * in the order of positions.  An event must make one row at the most: of several
 * at one position, SQL leaves open which one is the last.
 *
 * Memory: the current context.  Locks: none.  Calls: callable, events, part.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/tlist.h"
#include "parser/parse_oper.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "projection/declared/callable.h"
#include "projection/declared/events.h"
#include "projection/declared/ordered.h"
#include "projection/declared/refuse.h"

static Expr *
ordered_argument(const Aggref *call, int number)
{
	if (list_length(call->args) <= number)
		elog(ERROR, "aggregate %u has no argument %d", call->aggfnoid, number + 1);
	return list_nth_node(TargetEntry, call->args, number)->expr;
}

/*
 * Whether an aggregate takes its rows by position.
 *
 * is_descending: receives whether from the last one on.
 */
static bool
ordered_is_by_position(EsPartsState *state, Aggref *call, bool *is_descending)
{
	SortGroupClause *clause;

	if (list_length(call->aggorder) != 1)
		return false;
	clause = linitial_node(SortGroupClause, call->aggorder);
	return es_events_is_position(state->query, get_sortgroupclause_expr(clause, call->args)) &&
		es_compat_is_ordering(clause->sortop, is_descending);
}

static bool
ordered_is_ascending(EsPartsState *state, Aggref *call)
{
	bool is_descending;

	return ordered_is_by_position(state, call, &is_descending) && !is_descending;
}

/* What all of them need. */
static void
ordered_need_position(EsPartsState *state)
{
	if (!state->analysis->is_one_to_one)
		es_refuse(
			errdetail(
				"It has values by position, of several rows that an event makes: their order is left open."),
			errhint(
				"What is looked up has to be joined by a unique key of it. Else " ES_REFUSE_WRITE_HANDLER));
	state->analysis->needs_position = true;
	state->position = es_events_position(state->query);
}

/* ----------------------------------------------------------------------
 * One value
 * ----------------------------------------------------------------------
 */

/* The value at the first or the last position. */
static Node *
ordered_pick_by_position(EsPartsState *state, Aggref *call, bool is_last)
{
	Expr *value = ordered_argument(call, 0);
	EsPart *part = es_part_get(state, is_last ? ES_PART_LAST : ES_PART_FIRST, call, value, NULL);

	es_part_set_type(part, (Node *) value);
	part->aggregate = es_callable_pick_name(is_last);
	ordered_need_position(state);
	return es_part_var(state, part);
}

/* es_first(value, by), es_last(value, by) */
Node *
es_ordered_pick(EsPartsState *state, Aggref *call, bool is_last)
{
	Expr *value = ordered_argument(call, 0);
	Expr *by = ordered_argument(call, 1);
	EsPart *part;

	if (call->aggorder != NIL && !ordered_is_ascending(state, call))
		es_refuse(errdetail("Aggregate \"%s\" has an ORDER BY that is not the position.",
							get_func_name(call->aggfnoid)),
				  errhint(
					  "Leave it out: where the second argument is the same, the position counts."));
	if (es_events_is_position(state->query, (Node *) by))
		return ordered_pick_by_position(state, call, is_last);
	part = es_part_get(state, is_last ? ES_PART_LAST_BY : ES_PART_FIRST_BY, call, value, by);
	es_part_set_type(part, (Node *) value);
	es_part_set_by(part, (Node *) by, call->inputcollid);
	part->aggregate = is_last ? "eventstore.last_by" : "eventstore.first_by";
	ordered_need_position(state);
	return es_part_var(state, part);
}

/* (array_agg(x ORDER BY position))[1], or by position DESC; NULL: it is not. */
Node *
es_ordered_element(EsPartsState *state, SubscriptingRef *element)
{
	Aggref *call = (Aggref *) element->refexpr;
	Const *number;
	bool is_descending;

	if (!IsA(call, Aggref) || call->aggfnoid != F_ARRAY_AGG_ANYNONARRAY ||
		element->reflowerindexpr != NIL || list_length(element->refupperindexpr) != 1 ||
		call->aggdistinct != NIL || !ordered_is_by_position(state, call, &is_descending))
		return NULL;
	number = linitial(element->refupperindexpr);
	if (!IsA(number, Const) || number->constisnull || DatumGetInt32(number->constvalue) != 1)
		return NULL;
	return ordered_pick_by_position(state, call, is_descending);
}

/* ----------------------------------------------------------------------
 * Many values
 * ----------------------------------------------------------------------
 */

/* jsonb_object_agg(key, value ORDER BY position) */
Node *
es_ordered_latest(EsPartsState *state, Aggref *call)
{
	EsPart *part;

	if (!ordered_is_ascending(state, call))
		es_refuse(errdetail(
					  "It has jsonb_object_agg in no order, so that the value of a key is left to chance."),
				  errhint(
					  "Write jsonb_object_agg(key, value ORDER BY position): the latest value."));
	part = es_part_get(state, ES_PART_LATEST, call, ordered_argument(call, 0),
					   ordered_argument(call, 1));
	part->type = JSONBOID;
	part->aggregate = "pg_catalog.jsonb_object_agg";
	ordered_need_position(state);
	return es_part_var(state, part);
}

static Node *
ordered_call(Oid function, Oid type, Oid collation, List *arguments)
{
	return (Node *) makeFuncExpr(function, type, arguments, collation, collation,
								 COERCE_EXPLICIT_CALL);
}

/* What stands between the values of string_agg: a constant. */
static Expr *
ordered_delimiter(Aggref *call)
{
	Const *delimiter = (Const *) ordered_argument(call, 1);

	if (!IsA(delimiter, Const))
		es_refuse(
			errdetail("The second argument of string_agg is not a constant."),
			errhint(
				"Write array_agg(value ORDER BY position), and put them together when you query the read table."));
	if (!delimiter->constisnull)
		return (Expr *) delimiter;
	return (Expr *) makeConst(TEXTOID, -1, delimiter->constcollid, -1,
							  PointerGetDatum(cstring_to_text("")), false, false);
}

/* The list of values, as an array: a column of "merged". */
static Node *
ordered_array(EsPartsState *state, Aggref *call, Node *value, bool skips_nulls)
{
	Oid type = get_array_type(exprType(value));
	EsPart *part;

	es_part_check_type(exprType(value));
	if (!OidIsValid(type) || type_is_array_domain(exprType(value)))
		es_refuse(errdetail("It has aggregate \"%s\" of arrays.", get_func_name(call->aggfnoid)),
				  errhint("Write jsonb_agg(value ORDER BY position)."));
	part = es_part_get(state, ES_PART_LIST, call, (Expr *) value, NULL);
	part->type = type;
	part->collation = exprCollation(value);
	part->aggregate = "pg_catalog.array_agg";
	part->skips_nulls = skips_nulls;
	ordered_need_position(state);
	return es_part_var(state, part);
}

/* array_agg, jsonb_agg or string_agg(x ORDER BY position) */
Node *
es_ordered_list(EsPartsState *state, Aggref *call)
{
	Node *value = (Node *) ordered_argument(call, 0);
	Node *array;

	if (!ordered_is_ascending(state, call))
		es_refuse(errdetail("It has aggregate \"%s\" in another order than that of events, or in none.",
							get_func_name(call->aggfnoid)),
				  errhint("Write %s(value%s ORDER BY position).", get_func_name(call->aggfnoid),
						  es_callable_which(call->aggfnoid) == ES_CALLABLE_STRING_LIST
							  ? ", delimiter"
							  : ""));
	switch (es_callable_which(call->aggfnoid))
	{
		case ES_CALLABLE_JSONB_LIST:
			if (exprType(value) != JSONBOID)
				value = ordered_call(F_TO_JSONB, JSONBOID, InvalidOid, list_make1(value));
			array = ordered_array(state, call, value, false);
			return ordered_call(F_TO_JSONB, JSONBOID, InvalidOid, list_make1(array));
		case ES_CALLABLE_STRING_LIST:
			array = ordered_array(state, call, value, true);
			return ordered_call(F_ARRAY_TO_STRING_ANYARRAY_TEXT, TEXTOID, call->aggcollid,
								list_make2(array, ordered_delimiter(call)));
		default:
			return ordered_array(state, call, value, false);
	}
}

/* ----------------------------------------------------------------------
 * Ties
 * ----------------------------------------------------------------------
 */

static List *
ordered_by_position(Aggref *call, Node *position)
{
	SortGroupClause *clause = makeNode(SortGroupClause);
	TargetEntry *entry = makeTargetEntry((Expr *) position,
										 (AttrNumber) (list_length(call->args) + 1), NULL, true);

	entry->ressortgroupref = 1;
	call->args = lappend(call->args, entry);
	clause->tleSortGroupRef = 1;
	get_sort_group_operators(INT8OID, true, true, false, &clause->sortop, &clause->eqop, NULL,
							 &clause->hashable);
	return list_make1(clause);
}

/*
 * An output expression, with an ORDER BY position in every es_first and es_last
 * that goes by something else: so they say themselves what they are where that
 * is the same.
 *
 * query: the Query that it stands in.
 */
Node *
es_ordered_break_ties(Node *node, void *query)
{
	Aggref *call = (Aggref *) node;
	EsCallable which;

	if (node == NULL)
		return NULL;
	if (!IsA(node, Aggref))
		return expression_tree_mutator(node, es_ordered_break_ties, query);
	which = es_callable_which(call->aggfnoid);
	if ((which != ES_CALLABLE_FIRST && which != ES_CALLABLE_LAST) || call->aggorder != NIL ||
		es_events_is_position(query, (Node *) ordered_argument(call, 1)))
		return node;
	call = copyObject(call);
	call->aggorder = ordered_by_position(call, es_events_position(query));
	return (Node *) call;
}
