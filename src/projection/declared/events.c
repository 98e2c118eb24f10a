/*-------------------------------------------------------------------------
 *
 * events.c
 *		Where a query reads "events".
 *
 * In an analysed query it is a named tuplestore, in FROM or in a subquery there.
 * The column "position" may be handed up through subqueries that do not name it:
 * what is kept by position needs it, whatever the query shows.
 *
 * Memory: the current context.  Locks: none.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"

#include "base/catalog.h"
#include "projection/declared/events.h"
#include "projection/declared/refuse.h"

static bool
events_walk(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
		return ((RangeTblEntry *) node)->rtekind == RTE_NAMEDTUPLESTORE;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, events_walk, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, events_walk, context);
}

/* Whether a query, or a part of one, reads them. */
bool
es_events_are_read(Node *node)
{
	return events_walk(node, NULL);
}

/* ----------------------------------------------------------------------
 * Positions
 * ----------------------------------------------------------------------
 */

/* Whether an expression is their column "position". */
bool
es_events_is_position(Query *query, Node *node)
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

		return entry != NULL && es_events_is_position(rte->subquery, (Node *) entry->expr);
	}
	return false;
}

static bool
events_has_column(const RangeTblEntry *rte, const char *name)
{
	ListCell *cell;

	foreach (cell, rte->eref->colnames)
		if (strcmp(strVal(lfirst(cell)), name) == 0)
			return true;
	return false;
}

/* The number of the column of a subquery that is the position: there, or made. */
static AttrNumber
events_hand_up(RangeTblEntry *rte)
{
	Query *query = rte->subquery;
	Node *position = es_events_position(query);
	char *name = pstrdup("es_position");
	ListCell *cell;

	foreach (cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (!entry->resjunk && es_events_is_position(query, (Node *) entry->expr))
			return entry->resno;
	}
	while (events_has_column(rte, name))
		name = psprintf("%s_", name);
	query->targetList = lappend(query->targetList,
								makeTargetEntry((Expr *) position,
												(AttrNumber) (list_length(query->targetList) + 1),
												name, false));
	rte->eref->colnames = lappend(rte->eref->colnames, makeString(name));
	return (AttrNumber) list_length(query->targetList);
}

/*
 * The column "position" of a query's "events", which it reads once.  Subqueries
 * that do not hand it up are changed so that they do.
 */
Node *
es_events_position(Query *query)
{
	AttrNumber column = InvalidAttrNumber;
	int number = 0;
	ListCell *cell;

	foreach (cell, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

		/* The names of what it joins can't be used any more. */
		if (rte->rtekind == RTE_JOIN && rte->alias != NULL)
			es_refuse(errdetail("It needs the position of events, which stands behind the name of a join, \"%s\".",
								rte->alias->aliasname),
					  errhint("Leave out the name of the join."));
		if (column != InvalidAttrNumber)
			continue;
		if (rte->rtekind == RTE_NAMEDTUPLESTORE)
			column = Anum_events_position;
		else if (rte->rtekind == RTE_SUBQUERY && es_events_are_read((Node *) rte->subquery))
			column = events_hand_up(rte);
		if (column != InvalidAttrNumber)
			number = foreach_current_index(cell) + 1;
	}
	return (Node *) makeVar(number, column, INT8OID, -1, InvalidOid, 0);
}

/* ----------------------------------------------------------------------
 * Names
 * ----------------------------------------------------------------------
 */

static bool
events_name_walk(Node *node, void *context)
{
	int *level = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_NAMEDTUPLESTORE)
		{
			rte->rtekind = RTE_CTE;
			rte->ctename = "events";
			rte->ctelevelsup = *level;
		}
		return false;
	}
	if (IsA(node, Query))
	{
		bool result;

		(*level)++;
		result = query_tree_walker((Query *) node, events_name_walk, context,
								   QTW_EXAMINE_RTES_BEFORE);
		(*level)--;
		return result;
	}
	return expression_tree_walker(node, events_name_walk, context);
}

/* Write them as what the deparser can write: a WITH. */
void
es_events_name(Query *query)
{
	int level = 0;

	(void) query_tree_walker(query, events_name_walk, &level, QTW_EXAMINE_RTES_BEFORE);
}
