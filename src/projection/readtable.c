/*-------------------------------------------------------------------------
 *
 * readtable.c
 *		Read tables: making and dropping those of declarations.
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
 * apply, catalog, declare, projection.
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
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/varlena.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "projection/apply.h"
#include "projection/readtable.h"

static char *
readtable_name(Oid table)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
									  get_rel_name(table));
}

/*
 * Check a table that a handler writes.  Returns its qualified name.
 */
char *
es_readtable_check(Oid table)
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
				 errmsg("\"%s\" can not be a read table", name),
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

/* The schema that a table without one goes to. */
static Oid
readtable_schema(void)
{
	List *schemas = fetch_search_path(false);
	Oid schema = schemas == NIL ? InvalidOid : linitial_oid(schemas);

	if (!OidIsValid(schema))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_SCHEMA),
				 errmsg("no schema has been selected to create in"),
				 errhint("The first schema of search_path is where a declared table is made.")));
	if (isAnyTempNamespace(schema) || schema == get_namespace_oid(ES_SCHEMA, false))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_SCHEMA_NAME),
				 errmsg("a declared table can not be made in schema \"%s\"", isAnyTempNamespace(schema) ? "pg_temp" : ES_SCHEMA),
				 errhint("The first schema of search_path is where a declared table is made.")));
	return schema;
}

static Oid
readtable_find(const char *qualified)
{
	List *names = es_compat_name_list(qualified);

	return RangeVarGetRelid(makeRangeVarFromNameList(names), NoLock, true);
}

/* The state table goes when the read table or the extension goes. */
static void
readtable_depend(const char *read, const char *state)
{
	ObjectAddress from;
	ObjectAddress to;

	ObjectAddressSet(from, RelationRelationId, readtable_find(state));
	ObjectAddressSet(to, RelationRelationId, readtable_find(read));
	recordDependencyOn(&from, &to, DEPENDENCY_AUTO);
	ObjectAddressSet(to, ExtensionRelationId, get_extension_oid(ES_SCHEMA, false));
	recordDependencyOn(&from, &to, DEPENDENCY_AUTO_EXTENSION);
	CommandCounterIncrement();
}

/* Make the tables of a declaration. */
static void
readtable_make_declared(EsProjection *projection, const EsAnalysis *analysis, const char *read,
						const char *state)
{
	if (projection->tables != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("tables must be null where the query declares a table")));
	readtable_execute(es_declare_make_read(analysis, read));
	projection->tables = list_make1(pstrdup(read));
	if (!es_declare_needs_state(analysis))
		return;
	readtable_execute(es_declare_make_state(analysis, state));
	readtable_execute(
		psprintf("COMMENT ON TABLE %s IS %s", state,
				 quote_literal_cstr(
					 psprintf("State of projection \"%s\" of the event store; not to be read or written.",
							  projection->name))));
	projection->tables = lappend(projection->tables, pstrdup(state));
	readtable_depend(read, state);
}

/*
 * Check the query of a new projection; if it declares a table, make that.  Sets
 * is_declared and tables.
 */
void
es_readtable_make(EsProjection *projection)
{
	Oid schema;
	EsDeclareTables tables = {"", ""};
	EsApplier *applier;

	/* First as if it declared a table: the handler's text is no different. */
	projection->is_declared = true;
	applier = es_apply_make_for(projection, &tables, projection->query);
	projection->is_declared = applier->analysis->is_declared;
	if (!projection->is_declared)
		return;

	schema = readtable_schema();
	tables.read = quote_qualified_identifier(get_namespace_name(schema), projection->name);
	tables.state = quote_qualified_identifier(get_namespace_name(schema),
											  ChooseRelationName(projection->name, NULL, "state",
																 schema, false));
	readtable_make_declared(projection, applier->analysis, tables.read, tables.state);
}

/* Drop the tables of a declaration, which is dropped. */
void
es_readtable_drop(const EsProjection *projection, bool drops_read_table)
{
	Oid user;
	Oid owner;
	int security;

	if (!projection->is_declared)
		return;
	GetUserIdAndSecContext(&user, &security);
	owner = get_role_oid(projection->owner, true);
	if (OidIsValid(owner))
		SetUserIdAndSecContext(owner,
							   security | SECURITY_LOCAL_USERID_CHANGE |
								   SECURITY_RESTRICTED_OPERATION);
	if (list_length(projection->tables) > 1)
		readtable_execute(psprintf("DROP TABLE IF EXISTS %s", (char *) lsecond(projection->tables)));
	SetUserIdAndSecContext(user, security);
	if (drops_read_table)
		readtable_execute(psprintf("DROP TABLE %s", (char *) linitial(projection->tables)));
}
