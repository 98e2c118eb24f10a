/*-------------------------------------------------------------------------
 *
 * analyze.c
 *		Analysis of a projection's query, by PostgreSQL's own parser.
 *
 * "events" stands for the batch: it is made known to the parser as an
 * ephemeral relation with the columns of eventstore.event.
 *
 * A SELECT with aggregates, GROUP BY or DISTINCT declares a table, everything
 * else is a handler.  Of a declaration it is checked that its result after some
 * events can be computed from its result before them and the events alone: so it
 * reads nothing but "events", each row of which counts for itself, and what it
 * may look up (from.c), has no clause to the contrary (clauses.c), and every
 * aggregate has a way to merge (parts.c).  What can not be kept so is refused,
 * with the reason.
 *
 * The result is text: PostgreSQL's own deparser writes the user's expressions
 * into the two pieces of SQL that declare.c puts its statements together from,
 * so that their names mean what they meant to the parser.  Call it with the
 * settings and the role that the projection runs with.
 *
 * Memory: results in the current context.  Locks: AccessShare on relations
 * that the query names, to the end of the transaction.  Calls: catalog and, in
 * this folder, what the paragraph above names, events, forms, lookup, nullable,
 * ordered.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/queryenvironment.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "projection/declared/analyze.h"
#include "projection/declared/clauses.h"
#include "projection/declared/events.h"
#include "projection/declared/forms.h"
#include "projection/declared/from.h"
#include "projection/declared/lookup.h"
#include "projection/declared/nullable.h"
#include "projection/declared/ordered.h"
#include "projection/declared/parts.h"
#include "projection/declared/refuse.h"

/* The columns of eventstore.event. */
TupleDesc
es_analyze_event_desc(void)
{
	Oid type = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("event"),
							   ObjectIdGetDatum(get_namespace_oid(ES_SCHEMA, false)));

	return lookup_rowtype_tupdesc_copy(type, -1);
}

/* ----------------------------------------------------------------------
 * The parser
 * ----------------------------------------------------------------------
 */

static QueryEnvironment *
analyze_environment(void)
{
	QueryEnvironment *environment = create_queryEnv();
	EphemeralNamedRelation events = palloc0(sizeof(EphemeralNamedRelationData));

	events->md.name = "events";
	events->md.tupdesc = es_analyze_event_desc();
	events->md.enrtype = ENR_NAMED_TUPLESTORE;
	events->md.enrtuples = 100;
	register_ENR(environment, events);
	return environment;
}

static Query *
analyze_parse(const char *query)
{
	List *statements = raw_parser(query, RAW_PARSE_DEFAULT);
	Query *result;

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("query of a projection must be one SQL statement"),
				 errdetail("It has %d statements.", list_length(statements))));

	result = parse_analyze_fixedparams(linitial_node(RawStmt, statements), query, NULL, 0,
									   analyze_environment());
	if (result->commandType == CMD_UTILITY)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("query of a projection must be SELECT, INSERT, UPDATE, DELETE or MERGE")));
	return result;
}

/* ----------------------------------------------------------------------
 * What a declaration must not contain
 * ----------------------------------------------------------------------
 */

static void
analyze_check(Query *query, EsAnalysis *analysis, const List *lookups)
{
	EsFrom from = {.may_look_up = lookups};

	es_clauses_check(query, false);
	es_from_check(query, &from);
	if (from.event_count != 1)
		es_refuse(errdetail("It reads \"events\" several times, so rows depend on pairs of events."),
				  errhint(ES_REFUSE_HANDLER_HINT));
	es_clauses_check_functions(query);
	if (query->groupClause == NIL)
		es_refuse(errdetail("It has no GROUP BY, so its table would have no key."),
				  errhint(
					  "Group by a column of \"events\", such as category; or, for a row of each event, "
					  "write a handler: INSERT ... SELECT ... FROM events."));
	if (from.looked_up != NIL)
		es_lookup_check_rights(query);
	analysis->looked_up = from.looked_up;
	analysis->is_one_to_one = from.is_one_to_one;
}

/* ----------------------------------------------------------------------
 * Output columns and keys
 * ----------------------------------------------------------------------
 */

static void
analyze_check_name(const EsAnalysis *analysis, const char *name)
{
	int i;

	if (strcmp(name, "?column?") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_DEFINITION),
				 errmsg("output column %d has no name", analysis->column_count + 1),
				 errhint("Name it with AS.")));
	for (i = 0; i < analysis->column_count; i++)
		if (strcmp(analysis->columns[i].name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("output column \"%s\" specified more than once", name),
					 errhint("Name it with AS.")));
}

/* The output columns, and which of them are keys. */
static void
analyze_columns(Query *query, EsAnalysis *analysis)
{
	ListCell *cell;

	analysis->columns = palloc0(sizeof(EsColumn) * list_length(query->targetList));
	analysis->keys = palloc0(sizeof(EsColumn *) * list_length(query->targetList));
	foreach (cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		EsColumn *column = &analysis->columns[analysis->column_count];
		bool is_key = entry->ressortgroupref != 0 &&
			get_sortgroupref_clause_noerr(entry->ressortgroupref, query->groupClause) != NULL;

		if (entry->resjunk && is_key)
			es_refuse(errdetail("It groups by something that is no output column."),
					  errhint("Add it to the output columns."));
		if (entry->resjunk)
			continue;
		analyze_check_name(analysis, entry->resname);
		analysis->column_count++;
		column->name = entry->resname;
		column->type = exprType((Node *) entry->expr);
		column->typmod = exprTypmod((Node *) entry->expr);
		column->collation = exprCollation((Node *) entry->expr);
		if (is_key)
		{
			analysis->keys[analysis->key_count++] = column;
			column->key = analysis->key_count;
			column->is_nullable = es_nullable_is(query, (Node *) entry->expr);
			if (column->is_nullable)
				analysis->has_nullable_key = true;
		}
	}
}

/* ----------------------------------------------------------------------
 * SQL
 * ----------------------------------------------------------------------
 */

static void
analyze_add_target(Query *query, Node *expression, char *name)
{
	AttrNumber number = (AttrNumber) (list_length(query->targetList) + 1);

	query->targetList = lappend(query->targetList,
								makeTargetEntry((Expr *) expression, number, name, false));
}

static char *
analyze_write_rows(EsPartsState *state)
{
	Query *query = copyObject(state->query);
	ListCell *cell;

	query->targetList = NIL;
	query->groupClause = NIL;
	query->hasAggs = false;
	es_compat_forget_group(query);
	foreach (cell, state->key_exprs)
		analyze_add_target(query, lfirst(cell), psprintf("k%d", foreach_current_index(cell) + 1));
	foreach (cell, state->arguments)
		analyze_add_target(query, lfirst(cell), psprintf("a%d", foreach_current_index(cell) + 1));
	if (state->analysis->needs_position)
		analyze_add_target(query, state->position, "position");
	es_events_name(query);
	return pg_get_querydef(query, false);
}

/*
 * The query itself.  Where the order of events counts but is not written, it is
 * now.
 */
static char *
analyze_write_query(const EsPartsState *state)
{
	Query *query = copyObject(state->query);

	query->targetList = (List *) es_ordered_break_ties((Node *) query->targetList, query);
	es_compat_forget_group(query);
	es_events_name(query);
	return pg_get_querydef(query, false);
}

static char *
analyze_write_output(EsPartsState *state, List *expressions)
{
	EsAnalysis *analysis = state->analysis;
	Query *query = makeNode(Query);
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	RangeTblRef *reference = makeNode(RangeTblRef);
	List *names = NIL;
	ListCell *cell;
	int i;

	for (i = 1; i <= analysis->key_count; i++)
		names = lappend(names, makeString(psprintf("k%d", i)));
	for (i = 1; i <= analysis->part_count; i++)
		names = lappend(names, makeString(psprintf("p%d", i)));
	rte->rtekind = RTE_CTE;
	rte->ctename = "merged";
	rte->eref = makeAlias("merged", names);
	rte->inFromCl = true;
	reference->rtindex = 1;
	query->commandType = CMD_SELECT;
	query->rtable = list_make1(rte);
	query->jointree = makeFromExpr(list_make1(reference), NULL);
	foreach (cell, expressions)
		analyze_add_target(query, lfirst(cell), analysis->columns[foreach_current_index(cell)].name);
	return pg_get_querydef(query, false);
}

/* ----------------------------------------------------------------------
 * All of it
 * ----------------------------------------------------------------------
 */

static void
analyze_declaration(Query *query, EsAnalysis *analysis, const List *lookups)
{
	EsPartsState state = {.query = query, .analysis = analysis};
	List *expressions = NIL;
	ListCell *cell;

	analysis->is_declared = true;
	es_compat_flatten_group(query);
	es_forms_replace_with(query);
	es_forms_replace_distinct(query);
	analyze_check(query, analysis, lookups);
	analyze_columns(query, analysis);
	foreach (cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (!entry->resjunk && analysis->columns[foreach_current_index(cell)].key > 0)
			state.key_exprs = lappend(state.key_exprs, entry->expr);
	}
	foreach (cell, query->targetList)
	{
		EsColumn *column = &analysis->columns[foreach_current_index(cell)];
		Node *expression = es_parts_replace((Node *) lfirst_node(TargetEntry, cell)->expr, &state);

		expressions = lappend(expressions, expression);
		if (IsA(expression, Var) && column->key == 0)
			column->part = Max(castNode(Var, expression)->varattno - analysis->key_count, 0);
	}
	analysis->query = analyze_write_query(&state);
	analysis->rows = analyze_write_rows(&state);
	analysis->output = analyze_write_output(&state, expressions);
}

/* A handler that only reads has to call a function that does something. */
static bool
analyze_does_something(Query *query)
{
	return query->commandType != CMD_SELECT || query->hasModifyingCTE ||
		contain_volatile_functions((Node *) query);
}

/* Whether a SELECT looks as if it declared a table. */
static bool
analyze_is_declaration(Query *query)
{
	if (query->commandType != CMD_SELECT || query->hasModifyingCTE)
		return false;
	return query->hasAggs || query->groupClause != NIL || query->groupingSets != NIL ||
		!analyze_does_something(query);
}

/*
 * Parse and check a query.  Raises what the parser raises, and 0A000 for a
 * declaration that can't be kept.
 *
 * lookups: qualified names of tables that a declaration may read.
 */
EsAnalysis *
es_analyze_query(const char *query, const List *lookups)
{
	Query *parsed = analyze_parse(query);
	EsAnalysis *analysis = palloc0(sizeof(EsAnalysis));

	if (!es_events_are_read((Node *) parsed))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the query does not read \"events\""),
				 errhint("In a projection's query, \"events\" is the batch of new events.")));
	if (analyze_is_declaration(parsed))
		analyze_declaration(parsed, analysis, es_lookup_find(lookups));
	else
		analysis->handler = parsed;
	return analysis;
}
