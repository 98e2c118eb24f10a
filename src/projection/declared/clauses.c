/*-------------------------------------------------------------------------
 *
 * clauses.c
 *		Clauses and functions that a declaration must not have.
 *
 * A row of the result must not depend on other rows, nor on when the query is
 * run.  Who is refused is told what to write instead.
 *
 * Memory: the current context.  Locks: none.  Calls: callable.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/nodeFuncs.h"

#include "projection/declared/callable.h"
#include "projection/declared/clauses.h"
#include "projection/declared/refuse.h"

#define CLAUSES_LATER "Apply it when you query the read table."

/*
 * The first clause that makes a row of the result depend on other rows; NULL:
 * there is none.
 *
 * is_subquery: it stands in FROM.  hint: receives what to write in its place.
 */
static const char *
clauses_find(const Query *query, bool is_subquery, const char **hint)
{
	*hint = "Apply it when you query the read table.";
	if (query->setOperations != NULL)
	{
		*hint = "Make a projection of each part, and unite them when you query the read tables.";
		return "UNION, INTERSECT or EXCEPT";
	}
	if (query->hasDistinctOn)
	{
		*hint =
			"For the latest row of each key, write es_last(column, position) for each column, and GROUP BY the key.";
		return "DISTINCT ON";
	}
	if (query->groupingSets != NIL)
	{
		*hint = "Group by all of the columns, and add up when you query the read table.";
		return "GROUPING SETS, ROLLUP or CUBE";
	}
	if (query->havingQual != NULL)
		return "HAVING";
	if (query->hasWindowFuncs)
	{
		if (is_subquery)
			*hint =
				"What depends on the event before, as a session does, is for a handler, which keeps that in its table.";
		return "a window function";
	}
	if (query->distinctClause != NIL)
	{
		*hint =
			"Write count(DISTINCT ...), or make the distinct rows a projection of their own: SELECT DISTINCT ... FROM events.";
		return "DISTINCT";
	}
	if (query->sortClause != NIL)
		return "ORDER BY";
	if (query->limitCount != NULL || query->limitOffset != NULL)
		return "LIMIT or OFFSET";
	if (query->rowMarks != NIL)
		return "FOR UPDATE or FOR SHARE";
	if (query->hasTargetSRFs)
	{
		*hint = "Write it in FROM.";
		return "a set-returning function among its columns";
	}
	return NULL;
}

/* Check the clauses of a query that declares a table, or of a subquery in its FROM. */
void
es_clauses_check(const Query *query, bool is_subquery)
{
	const char *hint;
	const char *clause = clauses_find(query, is_subquery, &hint);

	if (clause != NULL)
		es_refuse(errdetail("It has %s.", clause), errhint("%s", hint));
	if (is_subquery && (query->hasAggs || query->groupClause != NIL))
		es_refuse(
			errdetail("It has an aggregate in a subquery."),
			errhint(
				"Make the subquery a projection, and aggregate when you query its read table; or write a handler."));
}

/* ----------------------------------------------------------------------
 * Functions
 * ----------------------------------------------------------------------
 */

/* None whose result may be another the next time. */
static bool
clauses_check_functions(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, SubLink))
		es_refuse(errdetail("It has a subquery in an expression, whose result may change."),
				  errhint(
					  "Join the table in FROM, and name it in the argument lookups; or write a handler."));
	if (IsA(node, GroupingFunc))
		es_refuse(errdetail("It has GROUPING."));
	if (IsA(node, SQLValueFunction) || IsA(node, NextValueExpr))
		es_refuse(errdetail("It depends on when, or by whom, it is run."),
				  errhint("Use the event's own columns, such as recorded_at or metadata."));
	/* What of an aggregate counts is how it merges: parts.c knows. */
	if (!IsA(node, Aggref))
		(void) check_functions_in_node(node, es_callable_check, context);
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, clauses_check_functions, context, 0);
	return expression_tree_walker(node, clauses_check_functions, context);
}

/* Check the functions of a query that declares a table. */
void
es_clauses_check_functions(Query *query)
{
	(void) query_tree_walker(query, clauses_check_functions, NULL, 0);
}
