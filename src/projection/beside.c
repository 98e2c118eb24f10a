/*-------------------------------------------------------------------------
 *
 * beside.c
 *		Whether a handler can be replayed beside its tables.
 *
 * A replay works on temporary copies, which have the tables' names and nothing
 * of what acts on them.  It can not do so where a trigger changes rows, or where
 * a function or a view means a table itself, whatever stands first in the
 * search_path: it names the table with its schema, or puts pg_temp last.
 *
 * What is found here is what can be seen when the projection is made: in the
 * functions that its text calls, not in those that they call.  For the rest, a
 * replay looks at what is done (cordon.c).
 *
 * Memory: the current context.  Locks: AccessShare on tables and views, to the
 * end of the transaction.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/proclang.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/scansup.h"
#include "rewrite/rewriteHandler.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "projection/beside.h"

/* ----------------------------------------------------------------------
 * Triggers
 * ----------------------------------------------------------------------
 */

/* Whether a foreign key's trigger changes rows of the table that refers. */
static bool
beside_is_cascade(const Trigger *trigger)
{
	switch (trigger->tgfoid)
	{
		case F_RI_FKEY_CASCADE_DEL:
		case F_RI_FKEY_CASCADE_UPD:
		case F_RI_FKEY_SETNULL_DEL:
		case F_RI_FKEY_SETNULL_UPD:
		case F_RI_FKEY_SETDEFAULT_DEL:
		case F_RI_FKEY_SETDEFAULT_UPD:
			return true;
		default:
			return false;
	}
}

static bool
beside_is_before_row(const Trigger *trigger)
{
	return !trigger->tgisinternal && TRIGGER_FOR_ROW(trigger->tgtype) &&
		TRIGGER_FOR_BEFORE(trigger->tgtype) && trigger->tgenabled != TRIGGER_DISABLED;
}

static char *
beside_check_trigger(Relation table, const Trigger *trigger, const List *tables)
{
	if (beside_is_before_row(trigger))
		return psprintf(
			"Trigger \"%s\" of table \"%s\" changes rows before they are written; a copy has no triggers.",
			trigger->tgname, RelationGetRelationName(table));
	if (beside_is_cascade(trigger) && list_member_oid(tables, trigger->tgconstrrelid))
		return psprintf(
			"A foreign key of table \"%s\" to table \"%s\" changes rows by itself; a copy has no foreign keys.",
			get_rel_name(trigger->tgconstrrelid), RelationGetRelationName(table));
	return NULL;
}

/*
 * What changes rows of some tables (OIDs) by itself, as copies do not have it:
 * triggers before a row, and foreign keys between them that cascade.  A
 * sentence; NULL: there is nothing.
 */
char *
es_beside_check_triggers(const List *tables)
{
	char *result = NULL;
	const ListCell *cell;

	foreach (cell, tables)
	{
		Relation table = relation_open(lfirst_oid(cell), AccessShareLock);
		int count = table->trigdesc == NULL ? 0 : table->trigdesc->numtriggers;
		int i;

		for (i = 0; i < count && result == NULL; i++)
			result = beside_check_trigger(table, &table->trigdesc->triggers[i], tables);
		relation_close(table, NoLock);
	}
	return result;
}

/* ----------------------------------------------------------------------
 * Functions
 * ----------------------------------------------------------------------
 */

/* What is looked for, and what is found. */
typedef struct BesideSearch
{
	const List *tables; /* OIDs */
	List *seen;         /* OIDs of functions and views that have been looked at */
	char *found;        /* a sentence; NULL: nothing yet */
} BesideSearch;

static bool beside_walk(Node *node, void *context);

/* An identifier, and what follows it. */
static const char *
beside_read_name(const char *text, char **name)
{
	const char *start = text;

	if (*text != '"')
	{
		while (*text != '\0' &&
			   (isalnum((unsigned char) *text) || *text == '_' || *text == '$' ||
				IS_HIGHBIT_SET(*text)))
			text++;
		*name = downcase_truncate_identifier(start, (int) (text - start), false);
		return text;
	}
	do
		text++;
	while (*text != '\0' && *text != '"');
	*name = pnstrdup(start + 1, text - start - 1);
	return *text == '"' ? text + 1 : text;
}

static const char *
beside_skip_comment(const char *text)
{
	const char *end = text[0] == '-' ? strchr(text, '\n') : strstr(text + 2, "*/");

	if (end == NULL)
		return text + strlen(text);
	return text[0] == '-' ? end + 1 : end + 2;
}

static bool
beside_is_table(const List *tables, const char *schema, const char *name)
{
	const ListCell *cell;

	foreach (cell, tables)
		if (strcmp(get_rel_name(lfirst_oid(cell)), name) == 0 &&
			strcmp(get_namespace_name(get_rel_namespace(lfirst_oid(cell))), schema) == 0)
			return true;
	return false;
}

/*
 * The first of some tables that a text in SQL names with its schema; NULL: none.
 * In strings, too, as they may be run.
 */
static char *
beside_find_name(const char *text, const List *tables)
{
	char *before = NULL; /* the name that stands before a dot */
	char *name = NULL;

	while (*text != '\0')
	{
		if ((text[0] == '-' && text[1] == '-') || (text[0] == '/' && text[1] == '*'))
			text = beside_skip_comment(text);
		else if (*text == '"' || *text == '_' || isalpha((unsigned char) *text) ||
				 IS_HIGHBIT_SET(*text))
		{
			text = beside_read_name(text, &name);
			if (before != NULL && beside_is_table(tables, before, name))
				return psprintf("%s.%s", before, name);
			before = NULL;
		}
		else if (*text == '.')
		{
			before = name;
			text++;
		}
		else
		{
			if (!scanner_isspace(*text))
				before = name = NULL;
			text++;
		}
	}
	return NULL;
}

/* Whether a function's own search_path finds temporary tables after others. */
static bool
beside_has_late_pg_temp(HeapTuple function)
{
	bool is_null;
	Datum config = SysCacheGetAttr(PROCOID, function, Anum_pg_proc_proconfig, &is_null);
	Datum *settings;
	int count;
	int i;

	if (is_null)
		return false;
	deconstruct_array(DatumGetArrayTypeP(config), TEXTOID, -1, false, TYPALIGN_INT, &settings, NULL,
					  &count);
	for (i = 0; i < count; i++)
	{
		char *setting = TextDatumGetCString(settings[i]);
		List *schemas;
		ListCell *cell;

		if (strncmp(setting, "search_path=", strlen("search_path=")) != 0 ||
			!SplitIdentifierString(setting + strlen("search_path="), ',', &schemas))
			continue;
		foreach (cell, schemas)
			if (cell != list_head(schemas) && strcmp(lfirst(cell), "pg_temp") == 0)
				return true;
	}
	return false;
}

static void
beside_check_source(BesideSearch *search, HeapTuple row, const char *name)
{
	bool is_null;
	Datum body = SysCacheGetAttr(PROCOID, row, Anum_pg_proc_prosqlbody, &is_null);
	char *table;

	/* A body that is parsed already means the tables, whatever their names. */
	if (!is_null)
	{
		if (beside_walk(stringToNode(TextDatumGetCString(body)), search))
			search->found =
				psprintf("Function \"%s\" has a body that is bound to table \"%s\" itself.", name,
						 search->found);
		return;
	}
	body = SysCacheGetAttr(PROCOID, row, Anum_pg_proc_prosrc, &is_null);
	if (is_null)
		return;
	table = beside_find_name(TextDatumGetCString(body), search->tables);
	if (table != NULL)
		search->found = psprintf("Function \"%s\" names table \"%s\" with its schema.", name, table);
}

/* Returns whether something was found; for check_functions_in_node. */
static bool
beside_check_function(Oid function, void *context)
{
	BesideSearch *search = context;
	Oid languages[] = {SQLlanguageId, get_language_oid("plpgsql", true)};
	Form_pg_proc form;
	HeapTuple row;

	if (function < FirstNormalObjectId || list_member_oid(search->seen, function))
		return false;
	search->seen = lappend_oid(search->seen, function);
	row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	form = (Form_pg_proc) GETSTRUCT(row);
	if (form->prolang == languages[0] || form->prolang == languages[1])
	{
		if (beside_has_late_pg_temp(row))
			search->found =
				psprintf("Function \"%s\" finds temporary tables last: its search_path says so.",
						 NameStr(form->proname));
		else
			beside_check_source(search, row, NameStr(form->proname));
	}
	ReleaseSysCache(row);
	return search->found != NULL;
}

/* ----------------------------------------------------------------------
 * Views, and all of it
 * ----------------------------------------------------------------------
 */

/* Returns whether a view reads one of the tables. */
static bool
beside_check_view(BesideSearch *search, Oid view)
{
	Relation rel;
	bool result;

	/* A view's own query has the view in it, too. */
	if (list_member_oid(search->seen, view))
		return false;
	search->seen = lappend_oid(search->seen, view);
	rel = relation_open(view, AccessShareLock);
	result = beside_walk((Node *) get_view_query(rel), search);
	relation_close(rel, NoLock);
	return result;
}

/*
 * Look for what is bound to a table itself: in views, and in bodies of functions
 * that are parsed.  There the table's name is what is found.
 */
static bool
beside_walk(Node *node, void *context)
{
	BesideSearch *search = context;

	check_stack_depth();
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		const RangeTblEntry *rte = (const RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && list_member_oid(search->tables, rte->relid))
			search->found = get_rel_name(rte->relid);
		else if (rte->rtekind == RTE_RELATION && rte->relkind == RELKIND_VIEW)
			(void) beside_check_view(search, rte->relid);
		return search->found != NULL;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, beside_walk, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, beside_walk, context);
}

/* The handler's own text, in which the tables' names are redirected. */
static bool
beside_walk_handler(Node *node, void *context)
{
	BesideSearch *search = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		const RangeTblEntry *rte = (const RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && rte->relkind == RELKIND_VIEW &&
			beside_check_view(search, rte->relid))
			search->found = psprintf("View \"%s\" is bound to table \"%s\" itself.",
									 get_rel_name(rte->relid), search->found);
		return search->found != NULL;
	}
	if (check_functions_in_node(node, beside_check_function, context))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, beside_walk_handler, context,
								 QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, beside_walk_handler, context);
}

/*
 * Why a handler's SQL can not be replayed beside its tables (OIDs), as far as
 * its text tells: a sentence.  NULL: nothing was found.
 */
char *
es_beside_check_query(Query *handler, const List *tables)
{
	BesideSearch search = {.tables = tables};

	(void) beside_walk_handler((Node *) handler, &search);
	return search.found;
}
