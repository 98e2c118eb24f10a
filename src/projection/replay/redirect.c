/*-------------------------------------------------------------------------
 *
 * redirect.c
 *		A handler's SQL, with copies in place of its tables.
 *
 * Copies are temporary tables of the same names, so all that has to be changed
 * is the schema, where a name has one: in the names of tables, and in columns
 * that are named with schema and table.  PostgreSQL's own parser says where in
 * the text they stand.
 *
 * Memory: the current context.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "common/keywords.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "parser/scanner.h"

#include "base/compat.h"
#include "projection/replay/redirect.h"

/* A name with a schema. */
typedef struct RedirectName
{
	int location; /* in the text, in bytes */
	int parts;    /* that stand before the table's own */
} RedirectName;

typedef struct RedirectState
{
	const List *tables; /* OIDs */
	List *names;        /* of RedirectName */
} RedirectState;

static void
redirect_note(RedirectState *state, char *catalog, char *schema, char *table, int location)
{
	RangeVar *reference = makeRangeVar(schema, table, location);
	RedirectName *name;
	ListCell *cell;

	reference->catalogname = catalog;
	if (!list_member_oid(state->tables, RangeVarGetRelid(reference, NoLock, true)))
		return;
	foreach (cell, state->names)
		if (((RedirectName *) lfirst(cell))->location == location)
			return;
	name = palloc(sizeof(RedirectName));
	name->location = location;
	name->parts = catalog == NULL ? 1 : 2;
	state->names = lappend(state->names, name);
}

/* schema.table.column, maybe with a database before it */
static void
redirect_note_column(RedirectState *state, const ColumnRef *column)
{
	int count = list_length(column->fields);
	char *names[] = {NULL, NULL, NULL};
	int i;

	if (count < 3 || count > 4)
		return;
	for (i = 0; i < count - 1; i++)
		names[i + 4 - count] = strVal(list_nth(column->fields, i));
	redirect_note(state, names[0], names[1], names[2], column->location);
}

static bool
redirect_walk(Node *node, void *context)
{
	RedirectState *state = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeVar))
	{
		const RangeVar *table = (const RangeVar *) node;

		if (table->schemaname != NULL)
			redirect_note(state, table->catalogname, table->schemaname, table->relname,
						  table->location);
		return false;
	}
	if (IsA(node, ColumnRef))
	{
		redirect_note_column(state, (const ColumnRef *) node);
		return false;
	}
	return raw_expression_tree_walker(node, redirect_walk, context);
}

static int
redirect_compare(const ListCell *a, const ListCell *b)
{
	return ((RedirectName *) lfirst(a))->location - ((RedirectName *) lfirst(b))->location;
}

/* Bytes up to the table's own name: of the parts before it, each with its dot. */
static int
redirect_measure(const char *text, int parts)
{
	core_yy_extra_type extra;
	core_yyscan_t scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	core_YYSTYPE value;
	YYLTYPE location = 0;
	int i;

	for (i = 0; i < 2 * parts + 1; i++)
		(void) core_yylex(&value, &location, scanner);
	scanner_finish(scanner);
	return location;
}

/*
 * The text of a handler, with names that mean one of some tables (OIDs) made to
 * mean the temporary tables of the same names.  Call it with the settings and
 * the role that the projection runs with.
 */
char *
es_redirect_query(const char *query, const List *tables)
{
	RedirectState state = {tables, NIL};
	StringInfoData result;
	int done = 0;
	ListCell *cell;

	foreach (cell, raw_parser(query, RAW_PARSE_DEFAULT))
		(void) redirect_walk(lfirst_node(RawStmt, cell)->stmt, &state);
	list_sort(state.names, redirect_compare);

	initStringInfo(&result);
	foreach (cell, state.names)
	{
		const RedirectName *name = lfirst(cell);

		appendBinaryStringInfo(&result, query + done, name->location - done);
		appendStringInfoString(&result, "pg_temp.");
		done = name->location + redirect_measure(query + name->location, name->parts);
	}
	appendStringInfoString(&result, query + done);
	return result.data;
}
