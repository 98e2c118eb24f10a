/*-------------------------------------------------------------------------
 *
 * separable.c
 *		Handlers for which it is all the same how events come in batches.
 *
 * A handler runs for one event after the other, so that each sees what the one
 * before has done.  Where it can be proven that it does not look, as many as
 * there are can be applied at once, for a fraction of the price.
 *
 * What is proven: an INSERT of rows that each follow from one event and nothing
 * else, in the order of the events, into a table that does nothing by itself.
 * So the SQL is INSERT ... SELECT, with neither ON CONFLICT nor RETURNING, that
 * reads "events" once, and beside it nothing but functions of the event; has no
 * clause that takes several rows together or puts them into another order; and
 * calls only functions that do not read tables: immutable ones, or PostgreSQL's
 * own that are stable.  And the table has no trigger, foreign keys included, no
 * rule, no row security, and no default or check that is a function of somebody's.
 *
 * The SQL is looked at once, the table before each batch: it may get a trigger
 * at any time.
 *
 * Memory: the current context.  Locks: those of the parser on the table; a
 * moment's AccessShare.  Calls: analyze.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "projection/declared/analyze.h"
#include "projection/separable.h"

/* ----------------------------------------------------------------------
 * Functions
 * ----------------------------------------------------------------------
 */

/* Whether a function may look at tables, or not give the same every time. */
static bool
separable_may_look(Oid function, void *context)
{
	char volatility = func_volatile(function);

	return volatility != PROVOLATILE_IMMUTABLE &&
		(volatility != PROVOLATILE_STABLE || function >= FirstNormalObjectId);
}

/* Whether an expression or a query has something that may look at tables. */
static bool
separable_looks(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink) || IsA(node, NextValueExpr) || IsA(node, CoerceToDomain))
		return true;
	if (check_functions_in_node(node, separable_may_look, NULL))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, separable_looks, context, 0);
	return expression_tree_walker(node, separable_looks, context);
}

/* ----------------------------------------------------------------------
 * The SQL
 * ----------------------------------------------------------------------
 */

static bool
separable_has_clause(const Query *query)
{
	return query->cteList != NIL || query->setOperations != NULL || query->hasAggs ||
		query->groupClause != NIL || query->groupingSets != NIL || query->havingQual != NULL ||
		query->hasWindowFuncs || query->distinctClause != NIL || query->sortClause != NIL ||
		query->limitCount != NULL || query->limitOffset != NULL || query->rowMarks != NIL;
}

/*
 * Whether an item of FROM is a function of what stands before it: PostgreSQL can
 * only go through its rows for each of those.
 */
static bool
separable_is_of_event(const RangeTblEntry *rte)
{
	return rte->rtekind == RTE_FUNCTION && rte->lateral &&
		contain_vars_of_level((Node *) rte->functions, 0);
}

/* Count what a part of FROM has; returns false if that is not what can be. */
static bool
separable_check_from(Query *query, Node *node, int *events)
{
	ListCell *cell;

	if (IsA(node, RangeTblRef))
	{
		RangeTblEntry *rte = rt_fetch(((RangeTblRef *) node)->rtindex, query->rtable);

		*events += rte->rtekind == RTE_NAMEDTUPLESTORE;
		return rte->rtekind == RTE_NAMEDTUPLESTORE || separable_is_of_event(rte);
	}
	if (IsA(node, FromExpr))
	{
		foreach (cell, ((FromExpr *) node)->fromlist)
			if (!separable_check_from(query, lfirst(cell), events))
				return false;
		return true;
	}
	else
	{
		JoinExpr *join = castNode(JoinExpr, node);

		return (join->jointype == JOIN_INNER || join->jointype == JOIN_LEFT) &&
			separable_check_from(query, join->larg, events) &&
			separable_check_from(query, join->rarg, events);
	}
}

static bool
separable_check_select(Query *query)
{
	int events = 0;

	return query->commandType == CMD_SELECT && !separable_has_clause(query) &&
		separable_check_from(query, (Node *) query->jointree, &events) && events == 1;
}

/* The SELECT of an INSERT; NULL: it has none. */
static Query *
separable_select(Query *query)
{
	RangeTblRef *reference;
	RangeTblEntry *rte;

	if (list_length(query->jointree->fromlist) != 1 ||
		!IsA(linitial(query->jointree->fromlist), RangeTblRef))
		return NULL;
	reference = linitial_node(RangeTblRef, query->jointree->fromlist);
	rte = rt_fetch(reference->rtindex, query->rtable);
	return rte->rtekind == RTE_SUBQUERY ? rte->subquery : NULL;
}

/*
 * The table that a handler inserts into, if all that its SQL is fulfils what is
 * said above; else InvalidOid.
 *
 * Call it with the settings and the role that the handler runs with.
 */
Oid
es_separable_find(const char *text)
{
	Query *query = es_analyze_query(text, NIL)->handler;
	Query *select;

	if (query == NULL || query->commandType != CMD_INSERT || query->onConflict != NULL ||
		query->returningList != NIL || separable_has_clause(query))
		return InvalidOid;
	select = separable_select(query);
	if (select == NULL || !separable_check_select(select) || separable_looks((Node *) query, NULL))
		return InvalidOid;
	return rt_fetch(query->resultRelation, query->rtable)->relid;
}

/* ----------------------------------------------------------------------
 * The table
 * ----------------------------------------------------------------------
 */

/* Whether a default or check calls a function that is not PostgreSQL's own. */
static bool
separable_is_foreign(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

static bool
separable_calls_foreign(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, separable_is_foreign, NULL))
		return true;
	return expression_tree_walker(node, separable_calls_foreign, context);
}

static bool
separable_has_plain_columns(TupleDesc desc)
{
	const TupleConstr *constraints = desc->constr;
	int i;

	for (i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped &&
			get_typtype(TupleDescAttr(desc, i)->atttypid) == TYPTYPE_DOMAIN)
			return false;
	if (constraints == NULL)
		return true;
	for (i = 0; i < constraints->num_defval; i++)
		if (separable_calls_foreign(stringToNode(constraints->defval[i].adbin), NULL))
			return false;
	for (i = 0; i < constraints->num_check; i++)
		if (separable_calls_foreign(stringToNode(constraints->check[i].ccbin), NULL))
			return false;
	return true;
}

/* Whether a table does nothing by itself with what is inserted into it. */
bool
es_separable_is_plain(Oid table)
{
	Relation rel = table_open(table, AccessShareLock);
	bool is_plain = rel->rd_rel->relkind == RELKIND_RELATION && rel->trigdesc == NULL &&
		rel->rd_rules == NULL && !rel->rd_rel->relrowsecurity &&
		separable_has_plain_columns(RelationGetDescr(rel));

	table_close(rel, AccessShareLock);
	return is_plain;
}
