/*-------------------------------------------------------------------------
 *
 * readtable.c
 *		Read tables: making and dropping those of declarations and of states.
 *
 * A declared table is made in the first schema of the search_path, under the
 * projection's name, by and for who declares it.  Beside it goes a table with
 * its state, where it needs one; that is dropped with the projection, with the
 * read table, and with the extension.  It does not stand in the extension's own
 * schema, as DROP EXTENSION would stumble over it after a restore, which does
 * not bring back what it depends on.
 *
 * Tables are known by their qualified names, as OIDs do not survive a dump.
 *
 * Memory: the current context.  Locks: those of CREATE and DROP TABLE.  Calls:
 * apply, beside, catalog, declare, projection, statetable, target.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "projection/apply.h"
#include "projection/beside.h"
#include "projection/readtable.h"
#include "projection/target.h"

static char *
readtable_name(Oid table)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
									  get_rel_name(table));
}

/*
 * Check a table that a handler writes, or that is looked up.  Returns its
 * qualified name.
 *
 * what: what it can not be, else.
 */
char *
es_readtable_check(Oid table, const char *what)
{
	char *name = get_rel_name(table);
	char kind = get_rel_relkind(table);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", table)));
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", name)));
	if (get_rel_namespace(table) == get_namespace_oid(ES_SCHEMA, false) ||
		isAnyTempNamespace(get_rel_namespace(table)) || IsCatalogRelationOid(table))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("\"%s\" can not be a %s", name, what),
				 errdetail("It is temporary, or one of the event store's or PostgreSQL's own.")));
	return readtable_name(table);
}

static void
readtable_execute(const char *sql)
{
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
	CommandCounterIncrement();
}

/* Raise where a declared table can not be made in a schema. */
static void
readtable_check_schema(Oid schema, const char *hint)
{
	if (isAnyTempNamespace(schema) || schema == get_namespace_oid(ES_SCHEMA, false))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_SCHEMA_NAME),
				 errmsg("a declared table can not be made in schema \"%s\"", isAnyTempNamespace(schema) ? "pg_temp" : ES_SCHEMA),
				 errhint("%s", hint)));
}

/* The schema that a table without one goes to. */
static Oid
readtable_schema(void)
{
	static const char hint[] = "The first schema of search_path is where a declared table is made.";
	List *schemas = fetch_search_path(false);
	Oid schema = schemas == NIL ? InvalidOid : linitial_oid(schemas);

	if (!OidIsValid(schema))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("no schema has been selected to create in"), errhint("%s", hint)));
	readtable_check_schema(schema, hint);
	return schema;
}

/* Raise where the schema that a declaration's name says is none for its table. */
void
es_readtable_check_place(const char *projection)
{
	static const char hint[] =
		"What stands before the dot in the name of a declaration is the schema of its table.";
	char *schema = es_readtable_schema_of(projection);
	Oid oid = schema == NULL ? InvalidOid : get_namespace_oid(schema, true);

	if (schema == NULL)
		return;
	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("schema \"%s\" does not exist", schema), errhint("%s", hint)));
	readtable_check_schema(oid, hint);
}

/* The qualified name of the table that a declaration of some name makes. */
static char *
readtable_place(const char *projection)
{
	char *schema = es_readtable_schema_of(projection);

	es_readtable_check_place(projection);
	if (schema == NULL)
		schema = get_namespace_name(readtable_schema());
	return quote_qualified_identifier(schema, es_readtable_name_of(projection));
}

/* What a declaration's name says of its table's schema; NULL: nothing. */
char *
es_readtable_schema_of(const char *projection)
{
	const char *dot = strchr(projection, '.');

	if (dot == NULL || dot == projection || dot[1] == '\0')
		return NULL;
	return pnstrdup(projection, dot - projection);
}

/* What it says of its table's name. */
const char *
es_readtable_name_of(const char *projection)
{
	return es_readtable_schema_of(projection) == NULL ? projection : strchr(projection, '.') + 1;
}

/* A table by its qualified name; InvalidOid: it is not there. */
Oid
es_readtable_find(const char *qualified)
{
	List *names = es_compat_name_list(qualified);
	Oid schema = get_namespace_oid(strVal(linitial(names)), true);

	/* Not as a name in SQL: who appends may have no right on the schema. */
	if (!OidIsValid(schema) || list_length(names) != 2)
		return InvalidOid;
	return get_relname_relid(strVal(lsecond(names)), schema);
}

/* A table beside the read table goes when that or the extension goes. */
static void
readtable_depend(const char *read, const char *side)
{
	ObjectAddress from;
	ObjectAddress to;

	ObjectAddressSet(from, RelationRelationId, es_readtable_find(side));
	ObjectAddressSet(to, RelationRelationId, es_readtable_find(read));
	recordDependencyOn(&from, &to, DEPENDENCY_AUTO);
	ObjectAddressSet(to, ExtensionRelationId, get_extension_oid(ES_SCHEMA, false));
	recordDependencyOn(&from, &to, DEPENDENCY_AUTO_EXTENSION);
	CommandCounterIncrement();
}

/*
 * Run CREATE TABLE.  A key that can be null identifies no row for logical
 * replication, and where a publication has all tables, updates would fail.
 */
static void
readtable_create(const EsAnalysis *analysis, const char *table, const char *create)
{
	readtable_execute(create);
	if (analysis->has_nullable_key)
		readtable_execute(psprintf("ALTER TABLE %s REPLICA IDENTITY FULL", table));
}

/* What people read of a table beside a read table. */
void
es_readtable_comment_side(const char *projection, const char *table)
{
	readtable_execute(
		psprintf("COMMENT ON TABLE %s IS %s", table,
				 quote_literal_cstr(
					 psprintf("State of projection \"%s\" of the event store; not to be read or written.",
							  projection))));
}

/* Make the n-th table beside the read table, from 0. */
static void
readtable_make_side(const EsProjection *projection, const EsAnalysis *analysis, int n,
					const char *table)
{
	readtable_create(analysis, table, es_declare_make_side(analysis, n, table));
	es_readtable_comment_side(projection->name, table);
	readtable_depend(linitial(projection->tables), table);
}

/* Make tables beside the read table, by new names, which are added to the projection's. */
void
es_readtable_make_sides(EsProjection *projection, const EsAnalysis *analysis)
{
	List *read = es_compat_name_list(linitial(projection->tables));
	Oid schema = get_namespace_oid(strVal(linitial(read)), false);
	int i;

	for (i = 0; i < es_declare_side_count(analysis); i++)
	{
		char *name = ChooseRelationName(strVal(lsecond(read)), NULL,
										es_declare_side_label(analysis, i), schema, false);
		char *table = quote_qualified_identifier(strVal(linitial(read)), name);

		readtable_make_side(projection, analysis, i, table);
		projection->tables = lappend(projection->tables, table);
	}
}

/*
 * Tables beside the read table that were made while others had their names get
 * those, as the owner, now that they are free.
 */
void
es_readtable_settle_sides(EsProjection *projection, const EsAnalysis *analysis)
{
	List *read = es_compat_name_list(linitial(projection->tables));
	Oid schema = get_namespace_oid(strVal(linitial(read)), false);
	int security;
	ListCell *cell;
	Oid user;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(es_projection_owner(projection),
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	for_each_from (cell, projection->tables, 1)
	{
		const char *label = es_declare_side_label(analysis, foreach_current_index(cell) - 1);
		char *name = ChooseRelationName(strVal(lsecond(read)), NULL, label, schema, false);

		/* Else a number stands behind it. */
		if (strlen(name) >= strlen(get_rel_name(es_readtable_find(lfirst(cell)))))
			continue;
		readtable_execute(
			psprintf("ALTER TABLE %s RENAME TO %s", (char *) lfirst(cell), quote_identifier(name)));
		lfirst(cell) = quote_qualified_identifier(strVal(linitial(read)), name);
	}
	SetUserIdAndSecContext(user, security);
}

/* Make the tables of a declaration. */
static void
readtable_make_declared(EsProjection *projection, const EsAnalysis *analysis)
{
	char *table;

	if (projection->tables != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tables must be null where the query declares a table")));
	table = readtable_place(projection->name);
	readtable_create(analysis, table, es_declare_make_read(analysis, table));
	projection->tables = list_make1(table);
	es_readtable_make_sides(projection, analysis);
}

/* Make those of a projection's own tables that somebody has dropped, as its owner. */
void
es_readtable_make_missing(const EsProjection *projection)
{
	const EsAnalysis *analysis = NULL;
	const ListCell *cell;
	int security;
	Oid user;

	foreach (cell, projection->tables)
	{
		const char *table = lfirst(cell);
		int n = foreach_current_index(cell);

		if (OidIsValid(es_readtable_find(table)))
			continue;
		if (analysis == NULL && projection->is_declared)
			analysis = es_apply_make_for(projection, NULL, projection->query)->analysis;
		GetUserIdAndSecContext(&user, &security);
		SetUserIdAndSecContext(es_projection_owner(projection),
							   security | SECURITY_LOCAL_USERID_CHANGE |
								   SECURITY_RESTRICTED_OPERATION);
		if (!projection->is_declared)
			readtable_execute(es_statetable_create(table));
		else if (n == 0)
			readtable_create(analysis, table, es_declare_make_read(analysis, table));
		else
			readtable_make_side(projection, analysis, n - 1, table);
		SetUserIdAndSecContext(user, security);
	}
}

/* Every table that is named to be looked up has to be. */
static void
readtable_check_lookups(const EsProjection *projection, const EsAnalysis *analysis)
{
	const ListCell *cell;

	if (projection->lookups != NIL && !analysis->is_declared)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lookups must be null where the query is a handler"),
				 errdetail("A handler may read any table.")));
	foreach (cell, projection->lookups)
		if (!list_member_oid(analysis->looked_up, es_readtable_find(lfirst(cell))))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("lookups names table %s, which the query does not read",
							(char *) lfirst(cell))));
}

/* Refuse, or tell of, what would not work for a handler later. */
static void
readtable_check_handler(const EsProjection *projection, Query *handler)
{
	List *tables = NIL;
	const ListCell *cell;
	char *obstacle;

	foreach (cell, projection->tables)
		tables = lappend_oid(tables, es_readtable_find(lfirst(cell)));
	es_target_check(handler, tables);
	/* Without tables it can not be replayed at all. */
	if (tables == NIL)
		return;
	obstacle = es_beside_check_triggers(tables);
	if (obstacle == NULL)
		obstacle = es_beside_check_query(handler, tables);
	if (obstacle != NULL)
		ereport(WARNING,
				(errmsg("projection \"%s\" can not be replayed beside its tables", projection->name),
				 errdetail("%s", obstacle),
				 errhint("It can not be verified nor seen as of the past, and es_rebuild_projection has to empty its tables while appends wait. "
						 "In functions, leave out the table's schema, and do not put pg_temp last in a search_path of their own.")));
}

/* Check the query of a projection.  Sets is_declared, and returns what it says. */
const EsAnalysis *
es_readtable_analyze(EsProjection *projection)
{
	const EsAnalysis *analysis;

	/* First as if it declared a table: the handler's text is no different. */
	projection->is_declared = true;
	analysis = es_apply_make_for(projection, NULL, projection->query)->analysis;
	projection->is_declared = analysis->is_declared;
	return analysis;
}

/* Check the rest of a definition: what is looked up, and the tables of a handler. */
void
es_readtable_check_definition(const EsProjection *projection, const EsAnalysis *analysis)
{
	readtable_check_lookups(projection, analysis);
	if (!projection->is_declared)
		readtable_check_handler(projection, analysis->handler);
}

/* Make the table of a state projection. */
static void
readtable_make_states(EsProjection *projection)
{
	char *table = readtable_place(projection->name);

	readtable_execute(es_statetable_create(table));
	projection->tables = list_make1(table);
}

/*
 * Check the query of a new projection; if it declares a table, make that.  Sets
 * is_declared and tables.
 */
void
es_readtable_make(EsProjection *projection)
{
	const EsAnalysis *analysis;

	if (projection->reducer != NULL)
	{
		readtable_make_states(projection);
		return;
	}
	analysis = es_readtable_analyze(projection);
	es_readtable_check_definition(projection, analysis);
	if (projection->is_declared)
		readtable_make_declared(projection, analysis);
}

/*
 * What somebody has taken away from a table that the projection owns, as the
 * message of an error; NULL: nothing.
 */
char *
es_readtable_missing(const EsApplier *applier)
{
	const EsAnalysis *analysis = applier->analysis;
	Oid table;
	ListCell *cell;
	int i;

	foreach (cell, applier->projection->tables)
		if (!OidIsValid(es_readtable_find(lfirst(cell))))
			return psprintf("table %s is gone", (char *) lfirst(cell));
	table = es_readtable_find(linitial(applier->projection->tables));
	if (applier->states != NULL)
		return es_statetable_missing(table);
	for (i = 0; i < analysis->column_count; i++)
		if (get_attnum(table, analysis->columns[i].name) == InvalidAttrNumber)
			return psprintf("column \"%s\" of the read table is gone", analysis->columns[i].name);
	return NULL;
}

/* What is missing of a declared table where its SQL has raised an error; NULL: nothing. */
static char *
readtable_missing_at(const EsApplier *applier, const ErrorData *error)
{
	if (applier == NULL || !es_projection_owns_table(applier->projection) || applier->is_replay ||
		(error->sqlerrcode != ERRCODE_UNDEFINED_COLUMN &&
		 error->sqlerrcode != ERRCODE_UNDEFINED_TABLE))
		return NULL;
	return es_readtable_missing(applier);
}

/*
 * The message of an error that a projection's SQL has raised.  Of a declared
 * table the SQL is ours, and so is not to be spoken of.
 *
 * applier: NULL: it could not be made.
 */
char *
es_readtable_explain(const EsApplier *applier, const ErrorData *error)
{
	char *missing = readtable_missing_at(applier, error);

	return missing != NULL ? missing : error->message;
}

/* The way out of such an error, as a sentence; NULL: it is none. */
char *
es_readtable_way_out(const EsApplier *applier, const ErrorData *error)
{
	char *name;

	if (readtable_missing_at(applier, error) == NULL ||
		(applier->states != NULL && error->sqlerrcode != ERRCODE_UNDEFINED_TABLE))
		return NULL;
	name = quote_literal_cstr(applier->projection->name);
	if (error->sqlerrcode == ERRCODE_UNDEFINED_TABLE)
		return psprintf("es_rebuild_projection(%s) makes the table anew.", name);
	return psprintf(
		"es_replace_projection(%s, ...) with the same query adds the column again, one with another does without it.",
		name);
}

static bool
readtable_is_among(const List *tables, const char *table)
{
	const ListCell *cell;

	foreach (cell, tables)
		if (strcmp(lfirst(cell), table) == 0)
			return true;
	return false;
}

/* Drop the tables beside a declaration's read table, but for some, as its owner. */
void
es_readtable_drop_sides(const EsProjection *projection, const List *kept)
{
	int security;
	Oid user;
	ListCell *cell;

	GetUserIdAndSecContext(&user, &security);
	if (OidIsValid(projection->role))
		SetUserIdAndSecContext(projection->role,
							   security | SECURITY_LOCAL_USERID_CHANGE |
								   SECURITY_RESTRICTED_OPERATION);
	for_each_from (cell, projection->tables, 1)
		if (OidIsValid(es_readtable_find(lfirst(cell))) && !readtable_is_among(kept, lfirst(cell)))
			readtable_execute(psprintf("DROP TABLE %s", (char *) lfirst(cell)));
	SetUserIdAndSecContext(user, security);
}

/* Drop the tables of a declaration, which is dropped. */
void
es_readtable_drop(const EsProjection *projection, bool drops_read_table)
{
	const char *table;

	if (!es_projection_owns_table(projection))
		return;
	es_readtable_drop_sides(projection, NIL);
	table = linitial(projection->tables);
	if (!drops_read_table)
		return;
	if (OidIsValid(es_readtable_find(table)))
		readtable_execute(psprintf("DROP TABLE %s", table));
	else
		ereport(NOTICE, (errmsg("table %s does not exist, skipping", table)));
}
