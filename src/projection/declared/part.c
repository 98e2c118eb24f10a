/*-------------------------------------------------------------------------
 *
 * part.c
 *		The list of partial aggregates that a declared table is kept by.
 *
 * Each that is needed is there once, and so is each expression that is an
 * argument of one.
 *
 * Memory: the current context.  Locks: none.  Calls: callable.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#include "projection/declared/callable.h"
#include "projection/declared/part.h"
#include "projection/declared/refuse.h"

/* Number of a column of rows; 0 for no expression. */
static int
part_argument(EsPartsState *state, void *expression)
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

static bool
part_is_same(const EsPart *a, const EsPart *b)
{
	return a->kind == b->kind && a->function == b->function && a->argument == b->argument &&
		a->second_argument == b->second_argument && a->filter == b->filter;
}

/*
 * The part of a kind with these arguments: there already, or new.  Valid until
 * the next call.
 */
EsPart *
es_part_get(EsPartsState *state, EsPartKind kind, Aggref *call, Expr *first, Expr *second)
{
	EsAnalysis *analysis = state->analysis;
	EsPart part = {.kind = kind, .typmod = -1, .collation = call->aggcollid};
	int i;

	/* Lists of the same values are not the same, as some leave out nulls. */
	if (kind == ES_PART_COMBINE || kind == ES_PART_LIST)
		part.function = call->aggfnoid;
	part.argument = part_argument(state, first);
	part.second_argument = part_argument(state, second);
	part.filter = part_argument(state, call->aggfilter);
	for (i = 0; i < analysis->part_count; i++)
		if (part_is_same(&analysis->parts[i], &part))
			return &analysis->parts[i];

	analysis->part_count++;
	analysis->parts = analysis->part_count == 1
		? palloc(sizeof(EsPart))
		: repalloc(analysis->parts, sizeof(EsPart) * analysis->part_count);
	analysis->parts[analysis->part_count - 1] = part;
	return &analysis->parts[analysis->part_count - 1];
}

/* The column of "merged" that holds a part. */
Node *
es_part_var(EsPartsState *state, const EsPart *part)
{
	int column = state->analysis->key_count + (int) (part - state->analysis->parts) + 1;

	return (Node *) makeVar(1, (AttrNumber) column, part->type, part->typmod, part->collation, 0);
}

/* Raise 0A000 if no column can be of a type. */
void
es_part_check_type(Oid type)
{
	if (get_typtype(type) == TYPTYPE_PSEUDO)
		es_refuse(errdetail("It has values of type %s, which no column can have.",
							format_type_be(type)),
				  errhint("Cast them to a type that you have created, or to jsonb or text."));
}

/* The part is a value. */
void
es_part_set_type(EsPart *part, Node *value)
{
	part->type = exprType(value);
	part->typmod = exprTypmod(value);
	part->collation = exprCollation(value);
	es_part_check_type(part->type);
}

/* The part goes by values like this one, compared by a collation. */
void
es_part_set_by(EsPart *part, Node *value, Oid collation)
{
	Oid type = exprType(value);
	TypeCacheEntry *entry = lookup_type_cache(type,
											  TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR |
												  TYPECACHE_GT_OPR);
	Oid before = part->kind == ES_PART_FIRST_BY ? entry->lt_opr : entry->gt_opr;

	es_part_check_type(type);
	if (!OidIsValid(entry->eq_opr) || !OidIsValid(before))
		es_refuse(errdetail("Values of type %s have no order.", format_type_be(type)),
				  errhint("Cast them to a type that has one."));
	if (OidIsValid(get_typcollation(type)) && !OidIsValid(collation))
		es_refuse(errdetail("It compares values whose collation is left open."),
				  errhint("Say which by COLLATE."));
	part->by_type = type;
	part->by_typmod = exprTypmod(value);
	part->by_collation = OidIsValid(get_typcollation(type)) ? collation : InvalidOid;
	part->by_equals = es_callable_operator(entry->eq_opr);
	part->by_before = es_callable_operator(before);
}
