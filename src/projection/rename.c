/*-------------------------------------------------------------------------
 *
 * rename.c
 *		es_rename_projection: another name for a projection.
 *
 * All that is kept under the name goes with it, its mark as well (redefine.c).  A
 * declared table that has the projection's name gets the new one, too, and so do
 * those beside it; one that somebody has given another name keeps that.
 *
 * Appends that are in flight note things under the old name: so none is, where
 * they apply the projection.
 *
 * Memory: the function call's context.  Locks: those that keep rebuilds out; the
 * new name's; barrier.c's, with AccessExclusive on the tables that are renamed.
 * Calls: barrier, project, projection, readtable, redefine, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/value.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"

#include "base/compat.h"
#include "order/transaction.h"
#include "projection/barrier.h"
#include "projection/project.h"
#include "projection/terms.h"
#include "projection/readtable.h"
#include "projection/redefine.h"

PG_FUNCTION_INFO_V1(es_rename_projection);

static void
rename_execute(const char *sql)
{
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
	CommandCounterIncrement();
}

/* A name, qualified and quoted, in two parts. */
static char *
rename_schema_of(const char *table)
{
	return strVal(linitial(es_compat_name_list(table)));
}

static char *
rename_bare(const char *table)
{
	return strVal(lsecond(es_compat_name_list(table)));
}

/* Whether a declared table, that is there, has the name that its projection says. */
static bool
rename_goes_with(const EsProjection *projection)
{
	const char *schema = es_readtable_schema_of(projection->name);
	const char *table;

	if (!es_projection_owns_table(projection))
		return false;
	table = linitial(projection->tables);
	return OidIsValid(es_readtable_find(table)) &&
		strcmp(rename_bare(table), es_readtable_name_of(projection->name)) == 0 &&
		(schema == NULL || strcmp(rename_schema_of(table), schema) == 0);
}

/* The OIDs of the tables that are renamed. */
static List *
rename_list(const EsProjection *projection)
{
	List *result = NIL;
	ListCell *cell;

	if (!rename_goes_with(projection))
		return NIL;
	foreach (cell, projection->tables)
		if (OidIsValid(es_readtable_find(lfirst(cell))))
			result = lappend_oid(result, es_readtable_find(lfirst(cell)));
	return result;
}

/* Rename a table; returns its qualified name. */
static char *
rename_table(const EsProjection *projection, const char *table, const char *bare)
{
	char *now = quote_qualified_identifier(rename_schema_of(table), bare);

	if (strcmp(table, now) == 0)
		return now;
	rename_execute(psprintf("ALTER TABLE %s RENAME TO %s", table, quote_identifier(bare)));
	/* An event trigger has done so already, unless it is switched off. */
	es_redefine_move_table(projection->name, table, now);
	return now;
}

/* A table beside the read table: what its name ends with stays. */
static void
rename_side(const EsProjection *projection, const char *table, const char *old_bare,
			const char *new_name)
{
	const char *bare = rename_bare(table);
	size_t length = strlen(old_bare);

	if (strcmp(old_bare, es_readtable_name_of(new_name)) != 0 &&
		strncmp(bare, old_bare, length) == 0 && bare[length] == '_')
		table = rename_table(projection, table,
							 ChooseRelationName(es_readtable_name_of(new_name), NULL,
												bare + length + 1,
												get_namespace_oid(rename_schema_of(table), false),
												false));
	es_readtable_comment_side(new_name, table);
}

/* The read table and those beside it get the new name, and go to its schema. */
static void
rename_tables(const char *name, const char *new_name)
{
	const EsProjection *projection = es_projection_get(name);
	const char *schema = es_readtable_schema_of(new_name);
	char *table = linitial(projection->tables);
	ListCell *cell;

	if (schema != NULL && strcmp(schema, rename_schema_of(table)) != 0)
	{
		char *now = quote_qualified_identifier(schema, rename_bare(table));

		es_readtable_check_place(new_name);
		rename_execute(psprintf("ALTER TABLE %s SET SCHEMA %s", table, quote_identifier(schema)));
		es_redefine_move_table(name, table, now);
		projection = es_projection_get(name);
		table = linitial(projection->tables);
	}
	(void) rename_table(projection, table, es_readtable_name_of(new_name));
	for_each_from (cell, projection->tables, 1)
		if (OidIsValid(es_readtable_find(lfirst(cell))))
			rename_side(projection, lfirst(cell), rename_bare(table), new_name);
}

/* The same, as the projection's owner. */
static void
rename_tables_as_owner(const EsProjection *projection, const char *new_name)
{
	int security;
	Oid user;

	GetUserIdAndSecContext(&user, &security);
	if (OidIsValid(projection->role))
		SetUserIdAndSecContext(projection->role,
							   security | SECURITY_LOCAL_USERID_CHANGE |
								   SECURITY_RESTRICTED_OPERATION);
	rename_tables(projection->name, new_name);
	SetUserIdAndSecContext(user, security);
}

static void
rename_check_free(const char *new_name)
{
	if (es_projection_find(new_name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("projection \"%s\" already exists", new_name)));
}

/*
 * es_rename_projection(name text, new_name text) -> void
 */
Datum
es_rename_projection(PG_FUNCTION_ARGS)
{
	char *name = es_terms_get_name(fcinfo);
	char *new_name = es_terms_get_text(fcinfo, 1, "new_name");
	EsProjection *projection;

	es_terms_check_name(new_name);
	es_project_check_call("es_rename_projection()");
	es_transaction_change_projection();
	projection = es_projection_get(name);
	es_projection_check_owner(projection);
	/* Who makes one of that name waits, and so do rebuilds. */
	(void) es_projection_lock_rebuild(name, true);
	es_projection_lock(new_name);
	rename_check_free(new_name);
	es_barrier_claim(name, es_project_minds_appends(es_projection_get(name)),
					 rename_list(es_projection_get(name)));
	projection = es_projection_get(name);
	es_projection_check_owner(projection);
	if (rename_goes_with(projection))
		rename_tables_as_owner(projection, new_name);
	es_redefine_rename(name, new_name);
	PG_RETURN_VOID();
}
