/*-------------------------------------------------------------------------
 *
 * from.c
 *		What a declaration reads.
 *
 * It reads "events" once, so that each event counts for itself.  Beside that it
 * may read what comes of the event's own columns, and tables that are named for
 * it to look up.  No outer join may keep rows that no event made.
 *
 * Memory: the current context.  Locks: lookup.c's.  Calls: clauses, lookup.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"

#include "projection/declared/clauses.h"
#include "projection/declared/from.h"
#include "projection/declared/lookup.h"
#include "projection/declared/refuse.h"

/* What is known of the FROM of one query. */
typedef struct FromLevel
{
	Query *query;
	EsFrom *from;
	List *lookups;         /* of EsLookup */
	Bitmapset *determined; /* numbers of items of which an event makes one row */
	bool is_one_to_one;
} FromLevel;

static int from_check_query(Query *query, EsFrom *from, bool *is_one_to_one);

static void
from_check_table(FromLevel *level, int number, Oid table, List *conditions)
{
	EsLookup *lookup = palloc(sizeof(EsLookup));

	if (!list_member_oid(level->from->may_look_up, table))
		es_refuse(errdetail("It reads \"%s\", and its result would change with that.",
							get_rel_name(table)),
				  errhint("Join the read table when you query it; or name \"%s\" in the argument lookups: "
						  "a row is then looked up when its event is applied.",
						  get_rel_name(table)));
	lookup->number = number;
	lookup->table = table;
	lookup->conditions = conditions;
	level->lookups = lappend(level->lookups, lookup);
	level->from->looked_up = list_append_unique_oid(level->from->looked_up, table);
}

static int
from_check_subquery(FromLevel *level, int number, Query *query)
{
	bool is_one_to_one;
	int count;

	es_clauses_check(query, true);
	count = from_check_query(query, level->from, &is_one_to_one);
	if (!is_one_to_one)
		level->is_one_to_one = false;
	else
		level->determined = bms_add_member(level->determined, number);
	return count;
}

/*
 * Returns how many times an item of FROM reads "events".
 *
 * conditions: what has to hold for its rows.
 */
static int
from_check_item(FromLevel *level, int number, List *conditions)
{
	RangeTblEntry *rte = rt_fetch(number, level->query->rtable);

	switch (rte->rtekind)
	{
		case RTE_NAMEDTUPLESTORE:
			level->determined = bms_add_member(level->determined, number);
			return 1;
		case RTE_SUBQUERY:
			return from_check_subquery(level, number, rte->subquery);
		case RTE_FUNCTION:
		case RTE_VALUES:
		case RTE_TABLEFUNC:
			level->is_one_to_one = false;
			return 0;
		case RTE_RELATION:
			from_check_table(level, number, rte->relid, conditions);
			return 0;
		default:
			es_refuse(errdetail("It reads something else than \"events\"."));
			return 0;
	}
}

static int from_check_node(FromLevel *level, Node *node, List *conditions);

static int
from_check_join(FromLevel *level, const JoinExpr *join, List *conditions)
{
	List *both = list_concat_copy(conditions, make_ands_implicit((Expr *) join->quals));
	int left = from_check_node(level, join->larg, join->jointype == JOIN_LEFT ? conditions : both);
	int right = from_check_node(level, join->rarg, join->jointype == JOIN_RIGHT ? conditions : both);

	if (join->jointype == JOIN_FULL || (join->jointype == JOIN_LEFT && right > 0) ||
		(join->jointype == JOIN_RIGHT && left > 0))
		es_refuse(errdetail("It has an outer join that keeps rows which no event made."),
				  errhint("Write events LEFT JOIN ..., which keeps events only."));
	return left + right;
}

/* Returns how many times a part of FROM reads "events". */
static int
from_check_node(FromLevel *level, Node *node, List *conditions)
{
	int count = 0;
	ListCell *cell;

	if (IsA(node, RangeTblRef))
		return from_check_item(level, ((RangeTblRef *) node)->rtindex, conditions);
	if (!IsA(node, FromExpr))
		return from_check_join(level, castNode(JoinExpr, node), conditions);
	conditions = list_concat_copy(conditions,
								  make_ands_implicit((Expr *) ((FromExpr *) node)->quals));
	foreach (cell, ((FromExpr *) node)->fromlist)
		count += from_check_node(level, lfirst(cell), conditions);
	return count;
}

/* Returns how many times a query reads "events". */
static int
from_check_query(Query *query, EsFrom *from, bool *is_one_to_one)
{
	FromLevel level = {.query = query, .from = from, .is_one_to_one = true};
	int count = from_check_node(&level, (Node *) query->jointree, NIL);

	*is_one_to_one = level.is_one_to_one && es_lookup_are_unique(level.lookups, level.determined);
	return count;
}

/* Check what a declaration reads.  Raises 0A000. */
void
es_from_check(Query *query, EsFrom *from)
{
	from->event_count = from_check_query(query, from, &from->is_one_to_one);
}
