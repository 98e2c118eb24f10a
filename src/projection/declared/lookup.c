/*-------------------------------------------------------------------------
 *
 * lookup.c
 *		Ordinary tables that a declaration joins.
 *
 * They are named when the projection is made, as what stands in them may change
 * without an event: a row is looked up when its event is applied.
 *
 * An event that finds one row of each at the most makes one row, which is what
 * values by position want.  It is so where the join says which row by a unique
 * key.
 *
 * Memory: the current context.  Locks: AccessShare on their indexes; on the
 * tables the parser has it.  Calls: compat.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "nodes/nodeFuncs.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "base/compat.h"
#include "projection/declared/lookup.h"

/* The OIDs of tables by their qualified names; those that are gone left out. */
List *
es_lookup_find(const List *names)
{
	List *result = NIL;
	const ListCell *cell;

	foreach (cell, names)
	{
		List *name = es_compat_name_list(lfirst(cell));
		Oid table = RangeVarGetRelid(makeRangeVarFromNameList(name), NoLock, true);

		if (OidIsValid(table))
			result = lappend_oid(result, table);
	}
	return result;
}

static bool
lookup_check_rights(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		es_lookup_check_rights((Query *) node);
		return false;
	}
	return expression_tree_walker(node, lookup_check_rights, context);
}

/* Raise 42501 where the current user may not read what a query reads. */
void
es_lookup_check_rights(Query *query)
{
	es_compat_check_rights(query);
	(void) query_tree_walker(query, lookup_check_rights, NULL, 0);
}

/* ----------------------------------------------------------------------
 * One row at the most
 * ----------------------------------------------------------------------
 */

static Node *
lookup_strip(Node *node)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* Whether values that a collation calls equal are so for a unique index. */
static bool
lookup_is_same(Oid collation, Oid index_collation)
{
	return !OidIsValid(collation) || collation == index_collation ||
		get_collation_isdeterministic(collation);
}

/* Whether an expression has a column that is not of certain items. */
static bool
lookup_has_other(Node *node, void *determined)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varlevelsup == 0 &&
			!bms_is_member(((Var *) node)->varno, (Bitmapset *) determined);
	return expression_tree_walker(node, lookup_has_other, determined);
}

/* Whether one side of "=" is a column of a table, and the other is determined. */
static bool
lookup_equates(const EsLookup *lookup, Node *column, Node *value, AttrNumber number,
			   Bitmapset *determined)
{
	Var *var = (Var *) lookup_strip(column);

	return IsA(var, Var) && var->varno == lookup->number && var->varlevelsup == 0 &&
		var->varattno == number && !lookup_has_other(value, determined);
}

/* Whether the conditions say the value of a column of an index. */
static bool
lookup_has_value(const EsLookup *lookup, Relation index, int column, Bitmapset *determined)
{
	AttrNumber number = index->rd_index->indkey.values[column];
	const ListCell *cell;

	foreach (cell, lookup->conditions)
	{
		OpExpr *condition = lfirst(cell);

		if (!IsA(condition, OpExpr) || list_length(condition->args) != 2 ||
			get_op_opfamily_strategy(condition->opno, index->rd_opfamily[column]) !=
				BTEqualStrategyNumber ||
			!lookup_is_same(condition->inputcollid, index->rd_indcollation[column]))
			continue;
		if (lookup_equates(lookup, linitial(condition->args), lsecond(condition->args), number,
						   determined) ||
			lookup_equates(lookup, lsecond(condition->args), linitial(condition->args), number,
						   determined))
			return true;
	}
	return false;
}

static bool
lookup_is_unique_by(const EsLookup *lookup, Oid oid, Bitmapset *determined)
{
	Relation index = index_open(oid, AccessShareLock);
	bool result = index->rd_index->indisunique && index->rd_index->indimmediate &&
		index->rd_index->indisvalid &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);
	int i;

	/* The number of an expression is 0: no column has it. */
	for (i = 0; result && i < index->rd_index->indnkeyatts; i++)
		result = lookup_has_value(lookup, index, i, determined);
	index_close(index, NoLock);
	return result;
}

static bool
lookup_is_unique(const EsLookup *lookup, Bitmapset *determined)
{
	Relation table = relation_open(lookup->table, NoLock);
	List *indexes = RelationGetIndexList(table);
	bool result = false;
	ListCell *cell;

	foreach (cell, indexes)
		if (!result)
			result = lookup_is_unique_by(lookup, lfirst_oid(cell), determined);
	relation_close(table, NoLock);
	return result;
}

/*
 * Whether at the most one row of each is found.
 *
 * lookups: of EsLookup *, of one query; determined: numbers of what is there
 * once in its range table, that by which they are looked up.
 */
bool
es_lookup_are_unique(const List *lookups, Bitmapset *determined)
{
	List *left = list_copy(lookups);

	while (left != NIL)
	{
		List *rest = NIL;
		ListCell *cell;

		foreach (cell, left)
		{
			const EsLookup *lookup = lfirst(cell);

			if (lookup_is_unique(lookup, determined))
				determined = bms_add_member(determined, lookup->number);
			else
				rest = lappend(rest, lfirst(cell));
		}
		if (list_length(rest) == list_length(left))
			return false;
		left = rest;
	}
	return true;
}
