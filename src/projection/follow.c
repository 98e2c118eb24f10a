/*-------------------------------------------------------------------------
 *
 * follow.c
 *		Tables of projections that are renamed or moved.
 *
 * A projection knows its tables by their qualified names, and its SQL is text.
 * Of a declared table that SQL is ours: so the table may be renamed and moved to
 * another schema, and the definition follows, as it does a state projection's
 * reducer whose schema is renamed.  Where a projection's own text has the name the
 * command is refused (depends.c).  Of one that does not run, the names follow, and
 * its owner gives it the new text.
 *
 * Two event triggers tell of it.  The first is told before the command has taken
 * any lock, and gets those of a verb of projections: so nobody is applying the
 * projection when its table moves, and who does so next knows the new name.  What
 * it has found is kept for the second one, as afterwards nobody could say what the
 * old name was.
 *
 * Memory: TopTransactionContext, between the two.  Locks: those that keep rebuilds
 * out, then barrier.c's, with AccessExclusive on the table.  Calls: barrier,
 * depends, project, projection, readtable, redefine, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "order/transaction.h"
#include "projection/barrier.h"
#include "projection/depends.h"
#include "projection/project.h"
#include "projection/readtable.h"
#include "projection/redefine.h"

PG_FUNCTION_INFO_V1(es_follow_begin);
PG_FUNCTION_INFO_V1(es_follow_end);

/* A table that a command may move, of a projection. */
typedef struct FollowTable
{
	char *projection;
	char *name; /* qualified, before the command */
	Oid oid;
} FollowTable;

/* A command that has begun. */
typedef struct FollowCommand
{
	Node *tree;
	List *tables;        /* of FollowTable */
	List *checked;       /* of char *: projections whose SQL has to be valid afterwards */
	char *schema;        /* that is renamed; NULL: none is */
	char *schema_is_now; /* its new name */
} FollowCommand;

/* The commands that have begun, the innermost first; NIL after the transaction. */
static List *follow_commands = NIL;

static void
follow_forget(void *unused)
{
	follow_commands = NIL;
}

/* ----------------------------------------------------------------------
 * What a command is about
 * ----------------------------------------------------------------------
 */

/* Whether it renames a table, as far as can be seen; ALTER INDEX does so, too. */
static bool
follow_is_rename(const RenameStmt *command)
{
	return command->relation != NULL &&
		(command->renameType == OBJECT_TABLE || command->renameType == OBJECT_INDEX);
}

static bool
follow_is_column(const Node *tree)
{
	return IsA(tree, RenameStmt) && ((const RenameStmt *) tree)->relation != NULL &&
		((const RenameStmt *) tree)->renameType == OBJECT_COLUMN;
}

static bool
follow_is_schema(const Node *tree)
{
	return IsA(tree, RenameStmt) && ((const RenameStmt *) tree)->renameType == OBJECT_SCHEMA;
}

/* The table that a command renames, moves, or renames a column of; NULL: none. */
static const RangeVar *
follow_target(const Node *tree)
{
	if (IsA(tree, AlterObjectSchemaStmt))
		return ((const AlterObjectSchemaStmt *) tree)->relation;
	if (IsA(tree, RenameStmt) &&
		(follow_is_rename((const RenameStmt *) tree) || follow_is_column(tree)))
		return ((const RenameStmt *) tree)->relation;
	return NULL;
}

/* Its OID, if it is a table that the user may alter: else the command itself fails. */
static Oid
follow_find_table(const RangeVar *target)
{
	Oid table = RangeVarGetRelid(target, NoLock, true);

	if (!OidIsValid(table) ||
		(get_rel_relkind(table) != RELKIND_RELATION &&
		 get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE) ||
		!es_compat_owns_relation(table, GetUserId()))
		return InvalidOid;
	return table;
}

/* ----------------------------------------------------------------------
 * Before
 * ----------------------------------------------------------------------
 */

/* Have a projection as its verbs have it, with tables (OIDs) of it, as it is then. */
static EsProjection *
follow_claim(const EsProjection *projection, const List *tables)
{
	es_project_check_call("ALTER");
	es_transaction_change_projection();
	(void) es_projection_lock_rebuild(projection->name, true);
	es_barrier_claim(projection->name, es_project_minds_appends(projection), tables);
	return es_projection_find(projection->name);
}

static void
follow_note(FollowCommand *command, const EsProjection *projection, const char *name, Oid oid)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	FollowTable *table = palloc(sizeof(FollowTable));

	table->projection = pstrdup(projection->name);
	table->name = pstrdup(name);
	table->oid = oid;
	command->tables = lappend(command->tables, table);
	MemoryContextSwitchTo(caller);
}

/* A projection's SQL has to be valid afterwards, if it is now. */
static void
follow_note_check(FollowCommand *command, const EsProjection *projection)
{
	MemoryContext caller;

	if (!es_depends_is_valid(projection))
		return;
	caller = MemoryContextSwitchTo(TopTransactionContext);
	command->checked = lappend(command->checked, pstrdup(projection->name));
	MemoryContextSwitchTo(caller);
}

/* A table is about to be renamed or moved, or a column of it renamed. */
static void
follow_begin_table(FollowCommand *command, Oid oid, const char *column)
{
	ListCell *cell;

	foreach (cell, es_projection_list())
	{
		const EsProjection *projection = lfirst(cell);
		ListCell *name;

		if (es_depends_place(projection->tables, oid) < 0 &&
			es_depends_place(projection->lookups, oid) < 0)
			continue;
		es_depends_check_move(projection, oid, column);
		projection = follow_claim(projection, list_make1_oid(oid));
		if (projection == NULL)
			continue;
		es_depends_check_move(projection, oid, column);
		if (column != NULL)
		{
			follow_note_check(command, projection);
			continue;
		}
		foreach (name, list_concat_copy(projection->tables, projection->lookups))
			if (es_readtable_find(lfirst(name)) == oid)
				follow_note(command, projection, lfirst(name), oid);
	}
}

/* Whether a qualified name is one in a schema. */
static bool
follow_is_in(const char *name, const char *schema)
{
	return strcmp(strVal(linitial(es_compat_name_list(name))), schema) == 0;
}

/* A search_path, as a setting has it, with a schema's new name; NULL: it is not in it. */
static char *
follow_path(const char *setting, const char *schema, const char *new_name)
{
	static const char start[] = "search_path=";
	char *path = pstrdup(setting + strlen(start));
	StringInfoData result;
	bool is_in = false;
	List *schemas;
	ListCell *cell;

	if (!SplitIdentifierString(path, ',', &schemas))
		return NULL;
	initStringInfo(&result);
	appendStringInfoString(&result, start);
	foreach (cell, schemas)
	{
		bool is_it = strcmp(lfirst(cell), schema) == 0;

		is_in |= is_it;
		appendStringInfo(&result, "%s%s", cell == list_head(schemas) ? "" : ", ",
						 quote_identifier(is_it ? new_name : lfirst(cell)));
	}
	return is_in ? result.data : NULL;
}

/* The tables (OIDs) of a projection that are in a schema. */
static List *
follow_tables_in(const EsProjection *projection, const char *schema)
{
	List *result = NIL;
	ListCell *cell;

	foreach (cell, list_concat_copy(projection->tables, projection->lookups))
	{
		Oid oid = es_readtable_find(lfirst(cell));

		if (follow_is_in(lfirst(cell), schema) && OidIsValid(oid))
			result = lappend_oid(result, oid);
	}
	return result;
}

/* Whether a projection's reducer is in a schema. */
static bool
follow_reduces_in(const EsProjection *projection, const char *schema)
{
	return projection->reducer != NULL && follow_is_in(projection->reducer, schema);
}

/* A schema is about to be renamed: so are all tables and reducers in it, and search_paths follow. */
static void
follow_begin_schema(FollowCommand *command, const char *schema)
{
	ListCell *cell;

	foreach (cell, es_projection_list())
	{
		const EsProjection *projection = lfirst(cell);
		List *tables = follow_tables_in(projection, schema);
		ListCell *name;

		if (tables != NIL && !es_projection_owns_table(projection))
			es_depends_check_move(projection, linitial_oid(tables), NULL);
		if (tables != NIL || follow_reduces_in(projection, schema) ||
			follow_path(linitial(projection->settings), schema, command->schema_is_now) != NULL)
			projection = follow_claim(projection, tables);
		if (projection == NULL)
			continue;
		follow_note_check(command, projection);
		foreach (name, list_concat_copy(projection->tables, projection->lookups))
			if (follow_is_in(lfirst(name), schema) && OidIsValid(es_readtable_find(lfirst(name))))
				follow_note(command, projection, lfirst(name), es_readtable_find(lfirst(name)));
	}
}

static FollowCommand *
follow_make_command(Node *tree)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	FollowCommand *command = palloc0(sizeof(FollowCommand));
	MemoryContextCallback *callback;

	if (follow_commands == NIL)
	{
		callback = palloc(sizeof(MemoryContextCallback));
		callback->func = follow_forget;
		callback->arg = NULL;
		MemoryContextRegisterResetCallback(TopTransactionContext, callback);
	}
	command->tree = tree;
	if (follow_is_schema(tree))
	{
		command->schema = pstrdup(((RenameStmt *) tree)->subname);
		command->schema_is_now = pstrdup(((RenameStmt *) tree)->newname);
	}
	follow_commands = lcons(command, follow_commands);
	MemoryContextSwitchTo(caller);
	return command;
}

/* A command begins: one of before that was at its place in memory has failed. */
static void
follow_forget_failed(const Node *tree)
{
	ListCell *cell;

	foreach (cell, follow_commands)
		if (((FollowCommand *) lfirst(cell))->tree == tree)
			follow_commands = foreach_delete_current(follow_commands, cell);
}

static Node *
follow_tree(FunctionCallInfo fcinfo, const char *name)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by event trigger manager", name)));
	/* In a script of our own the tables of the store may not be there yet, or not be as they are to be. */
	if (creating_extension && CurrentExtensionObject == get_extension_oid(ES_SCHEMA, true))
		return NULL;
	return ((EventTriggerData *) fcinfo->context)->parsetree;
}

/*
 * Event trigger on ddl_command_start.
 */
Datum
es_follow_begin(PG_FUNCTION_ARGS)
{
	Node *tree = follow_tree(fcinfo, "follow_begin");
	const RangeVar *target = tree == NULL ? NULL : follow_target(tree);
	Oid oid;

	follow_forget_failed(tree);
	if (target != NULL && OidIsValid(oid = follow_find_table(target)))
		follow_begin_table(follow_make_command(tree), oid,
						   follow_is_column(tree) ? ((RenameStmt *) tree)->subname : NULL);
	else if (tree != NULL && follow_is_schema(tree))
	{
		Oid schema = get_namespace_oid(((RenameStmt *) tree)->subname, true);

		if (OidIsValid(schema) && es_compat_owns_schema(schema, GetUserId()))
			follow_begin_schema(follow_make_command(tree), ((RenameStmt *) tree)->subname);
	}
	PG_RETURN_NULL();
}

/* ----------------------------------------------------------------------
 * Afterwards
 * ----------------------------------------------------------------------
 */

/* The tables beside a declared table go to the schema that it has gone to. */
static void
follow_move_sides(const EsProjection *projection, Oid schema)
{
	ListCell *cell;

	for_each_from (cell, projection->tables, 1)
	{
		Oid side = es_readtable_find(lfirst(cell));

		if (!OidIsValid(side) || get_rel_namespace(side) == schema)
			continue;
		SPI_connect();
		if (SPI_execute(psprintf("ALTER TABLE %s SET SCHEMA %s", (char *) lfirst(cell),
								 quote_identifier(get_namespace_name(schema))),
						false, 0) < 0)
			elog(ERROR, "could not move a table");
		SPI_finish();
		CommandCounterIncrement();
	}
}

static void
follow_end_table(const FollowTable *table)
{
	char *name = get_rel_name(table->oid);
	const EsProjection *projection;
	char *now;

	/* Another event trigger may have dropped it. */
	if (name == NULL)
		return;
	now = quote_qualified_identifier(get_namespace_name(get_rel_namespace(table->oid)), name);
	if (strcmp(now, table->name) == 0)
		return;
	es_redefine_move_table(table->projection, table->name, now);
	projection = es_projection_get(table->projection);
	if (projection->is_declared && es_readtable_find(linitial(projection->tables)) == table->oid)
		follow_move_sides(projection, get_rel_namespace(table->oid));
}

static void
follow_end_schema(const FollowCommand *command)
{
	ListCell *cell;

	foreach (cell, es_projection_list())
	{
		const EsProjection *projection = lfirst(cell);
		char *setting = follow_path(linitial(projection->settings), command->schema,
									command->schema_is_now);

		if (setting != NULL)
			es_redefine_set_path(projection->name, setting);
		if (follow_reduces_in(projection, command->schema))
			es_redefine_move_reducer(projection->name,
									 quote_qualified_identifier(command->schema_is_now,
																strVal(lsecond(es_compat_name_list(
																	projection->reducer)))));
	}
}

/*
 * Event trigger on ddl_command_end.
 */
Datum
es_follow_end(PG_FUNCTION_ARGS)
{
	Node *tree = follow_tree(fcinfo, "follow_end");
	FollowCommand *command = NULL;
	ListCell *cell;

	/* Others before it have failed. */
	foreach (cell, follow_commands)
		if (tree != NULL && ((FollowCommand *) lfirst(cell))->tree == tree)
		{
			command = lfirst(cell);
			break;
		}
	if (command == NULL)
		PG_RETURN_NULL();
	while (linitial(follow_commands) != command)
		follow_commands = list_delete_first(follow_commands);
	follow_commands = list_delete_first(follow_commands);
	foreach (cell, command->tables)
		follow_end_table(lfirst(cell));
	if (command->schema != NULL)
		follow_end_schema(command);
	foreach (cell, command->checked)
		es_depends_check_valid(lfirst(cell), "rename or move that");
	PG_RETURN_NULL();
}
