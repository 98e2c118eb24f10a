/*-------------------------------------------------------------------------
 *
 * forms.c
 *		Forms of a declaration that are others in disguise.
 *
 * A WITH is a subquery in FROM, and SELECT DISTINCT groups by every column.
 * They are written as such, so that nobody else has to know them.
 *
 * Memory: the current context.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteManip.h"

#include "projection/declared/forms.h"
#include "projection/declared/refuse.h"

typedef struct FormsWith
{
	const CommonTableExpr *cte;
	int level; /* how deep below the query that has it; -1: above */
} FormsWith;

/* The subquery's columns are called what the WITH calls them. */
static void
forms_name_columns(const RangeTblEntry *rte)
{
	ListCell *name = list_head(rte->eref->colnames);
	ListCell *cell;

	foreach (cell, rte->subquery->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (entry->resjunk || name == NULL)
			continue;
		entry->resname = pstrdup(strVal(lfirst(name)));
		name = lnext(rte->eref->colnames, name);
	}
}

/* As the planner does it (inline_cte). */
static bool
forms_inline(Node *node, void *context)
{
	FormsWith *with = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		with->level++;
		(void) query_tree_walker((Query *) node, forms_inline, context, QTW_EXAMINE_RTES_AFTER);
		with->level--;
		return false;
	}
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_CTE && (int) rte->ctelevelsup == with->level &&
			strcmp(rte->ctename, with->cte->ctename) == 0)
		{
			Query *query = copyObject(castNode(Query, with->cte->ctequery));

			if (with->level > 0)
				IncrementVarSublevelsUp((Node *) query, with->level, 1);
			rte->rtekind = RTE_SUBQUERY;
			rte->subquery = query;
			rte->ctename = NULL;
			rte->ctelevelsup = 0;
			rte->coltypes = NIL;
			rte->coltypmods = NIL;
			rte->colcollations = NIL;
			forms_name_columns(rte);
		}
		return false;
	}
	return expression_tree_walker(node, forms_inline, context);
}

static bool
forms_replace_with_below(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		es_forms_replace_with((Query *) node);
		return false;
	}
	return expression_tree_walker(node, forms_replace_with_below, context);
}

/*
 * Write what is in WITH as subqueries where it is used, at every level.  Raises
 * 0A000 where that can't be.
 */
void
es_forms_replace_with(Query *query)
{
	while (query->cteList != NIL)
	{
		FormsWith with = {linitial_node(CommonTableExpr, query->cteList), -1};

		if (with.cte->cterecursive)
			es_refuse(errdetail("It has WITH RECURSIVE."), errhint(ES_REFUSE_HANDLER_HINT));
		query->cteList = list_delete_first(query->cteList);
		(void) forms_inline((Node *) query, &with);
	}
	query->hasRecursive = false;
	(void) query_tree_walker(query, forms_replace_with_below, NULL, 0);
}

/*
 * Write SELECT DISTINCT as GROUP BY.  Where rows are grouped already it says
 * nothing new: every key is an output column.
 */
void
es_forms_replace_distinct(Query *query)
{
	if (query->distinctClause == NIL || query->hasDistinctOn || query->hasWindowFuncs)
		return;
	if (!query->hasAggs && query->groupClause == NIL && query->groupingSets == NIL)
		query->groupClause = query->distinctClause;
	query->distinctClause = NIL;
}
