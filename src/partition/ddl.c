/*-------------------------------------------------------------------------
 *
 * ddl.c
 *		Commands that make, attach and detach ranges.
 *
 * They run as the owner of eventstore.events, whom row security hides nothing from,
 * be it forced or not, with a pinned search_path: the right to call the verb is the right to do it.  The tables that come of it are
 * his, and no members of the extension, so that a dump has them whole.
 *
 * Memory: SPI's own.  Locks: what the commands take.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_constraint.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "access/relation.h"
#include "base/catalog.h"
#include "partition/ddl.h"

/* The owner of eventstore.events. */
static Oid
ddl_owner(void)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Oid owner = RelationGetForm(events)->relowner;

	relation_close(events, NoLock);
	return owner;
}

static void
ddl_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

/* Run a command.  Returns how many rows it has returned, or changed. */
static uint64
ddl_execute(const char *command)
{
	int level = NewGUCNestLevel();
	uint64 count;
	int security;
	Oid user;

	ddl_set("search_path", "pg_catalog, pg_temp");
	ddl_set("client_min_messages", "warning");
	ddl_set("default_tablespace", "");
	/* Its files may come to be another table's. */
	ddl_set("default_table_access_method", "heap");
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(ddl_owner(),
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	SPI_connect();
	if (SPI_execute(command, false, 0) < 0)
		elog(ERROR, "could not run: %s", command);
	count = SPI_processed;
	SPI_finish();
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(false, level);
	CommandCounterIncrement();
	return count;
}

static void
ddl_format(StringInfo command, const char *format, va_list arguments) pg_attribute_printf(2, 0);

static void
ddl_format(StringInfo command, const char *format, va_list arguments)
{
	initStringInfo(command);
	for (;;)
	{
		va_list copy;
		int needed;

		va_copy(copy, arguments);
		needed = appendStringInfoVA(command, format, copy);
		va_end(copy);
		if (needed == 0)
			break;
		enlargeStringInfo(command, needed);
	}
}

/*
 * Run a command.
 *
 * format: as of psprintf; names are quoted already.
 */
void
es_ddl_run(const char *format, ...)
{
	StringInfoData command;
	va_list arguments;

	va_start(arguments, format);
	ddl_format(&command, format, arguments);
	va_end(arguments);
	(void) ddl_execute(command.data);
	pfree(command.data);
}

/* Whether a query has a row; see es_ddl_run. */
bool
es_ddl_has(const char *format, ...)
{
	StringInfoData command;
	va_list arguments;
	bool result;

	va_start(arguments, format);
	ddl_format(&command, format, arguments);
	va_end(arguments);
	result = ddl_execute(command.data) > 0;
	pfree(command.data);
	return result;
}

/* The name of a table as commands want it. */
const char *
es_ddl_table(Oid table)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
									  get_rel_name(table));
}

/*
 * Add the settings of a table's storage to a list.
 *
 * prefix: of their names.  toast: NULL, or receives its TOAST table.
 */
static void
ddl_add_settings(StringInfo settings, Oid table, const char *prefix, Oid *toast)
{
	HeapTuple row = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(table));
	bool is_null;
	Datum options;
	Datum *values;
	int count = 0;
	int i;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for relation %u", table);
	if (toast != NULL)
		*toast = ((Form_pg_class) GETSTRUCT(row))->reltoastrelid;
	options = SysCacheGetAttr(RELOID, row, Anum_pg_class_reloptions, &is_null);
	if (!is_null)
		deconstruct_array(DatumGetArrayTypeP(options), TEXTOID, -1, false, TYPALIGN_INT, &values,
						  NULL, &count);
	for (i = 0; i < count; i++)
	{
		char *name = TextDatumGetCString(values[i]);
		char *value = strchr(name, '=');

		*value++ = '\0';
		appendStringInfo(settings, "%s%s%s = %s", settings->len == 0 ? "" : ", ", prefix,
						 quote_identifier(name), quote_literal_cstr(value));
	}
}

/* The settings of a table's storage, as WITH wants them; NULL: none. */
char *
es_ddl_settings(Oid table)
{
	StringInfoData settings;
	Oid toast;

	initStringInfo(&settings);
	ddl_add_settings(&settings, table, "", &toast);
	if (OidIsValid(toast))
		ddl_add_settings(&settings, toast, "toast.", NULL);
	return settings.len > 0 ? settings.data : NULL;
}

/* Take from everybody but the owner what default privileges have given. */
static void
ddl_revoke(Oid table)
{
	HeapTuple row = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
	Datum value;
	bool is_null;
	Acl *acl;
	int i;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for relation %u", table);
	value = SysCacheGetAttr(RELOID, row, Anum_pg_class_relacl, &is_null);
	acl = is_null ? NULL : DatumGetAclPCopy(value);
	ReleaseSysCache(row);
	for (i = 0; acl != NULL && i < ACL_NUM(acl); i++)
	{
		Oid grantee = ACL_DAT(acl)[i].ai_grantee;

		if (grantee == ACL_ID_PUBLIC)
			es_ddl_run("REVOKE ALL ON TABLE %s FROM PUBLIC CASCADE", es_ddl_table(table));
		else if (grantee != ddl_owner())
			es_ddl_run("REVOKE ALL ON TABLE %s FROM %s CASCADE", es_ddl_table(table),
					   quote_identifier(GetUserNameFromId(grantee, false)));
	}
}

/*
 * Run the commands that a query returns.
 *
 * query: asks for texts, maybe nulls.
 */
static void
ddl_run_all(const char *query)
{
	List *commands = NIL;
	ListCell *cell;
	MemoryContext caller = CurrentMemoryContext;
	int level = NewGUCNestLevel();
	uint64 i;

	ddl_set("search_path", "pg_catalog, pg_temp");
	ddl_set("quote_all_identifiers", "off");
	SPI_connect();
	if (SPI_execute(query, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", query);
	for (i = 0; i < SPI_processed; i++)
	{
		char *command = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext own = MemoryContextSwitchTo(caller);

		if (command != NULL)
			commands = lappend(commands, pstrdup(command));
		MemoryContextSwitchTo(own);
	}
	SPI_finish();
	AtEOXact_GUC(false, level);
	foreach (cell, commands)
		es_ddl_run("%s", (const char *) lfirst(cell));
}

/* The store's own triggers for statements; those for rows come and go with the range. */
#define DDL_TRIGGERS \
	"FROM pg_trigger t JOIN pg_proc f ON f.oid = t.tgfoid WHERE t.tgrelid = %s AND NOT t.tgisinternal " \
	"AND (t.tgtype & 1) = 0 AND f.pronamespace = 'eventstore'::regnamespace ORDER BY t.tgname"

/*
 * Protect a range as eventstore.events is: nobody may name it but the owner, and
 * it refuses what that refuses, by the same triggers.
 */
void
es_ddl_protect(Oid table)
{
	char *name = quote_literal_cstr(es_ddl_table(table));
	/* TRUNCATE of a foreign table is the other server's to refuse: PostgreSQL 15 knows no triggers for it. */
	const char *less = get_rel_relkind(table) == RELKIND_FOREIGN_TABLE ? " OR TRUNCATE" : "";

	ddl_run_all(psprintf(
		"SELECT replace(replace(pg_get_triggerdef(t.oid), '%s', ''), ' ON eventstore.events ', ' ON ' || %s || ' ') " DDL_TRIGGERS,
		less, name, "'eventstore.events'::regclass"));
	ddl_run_all(psprintf(
		"SELECT format('ALTER TABLE ONLY %%s ENABLE %%s TRIGGER %%I', %s, CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' ELSE 'REPLICA' END, t.tgname) "
		"FROM (SELECT * FROM pg_trigger WHERE tgenabled IN ('A', 'R')) t JOIN pg_proc f ON f.oid = t.tgfoid "
		"WHERE t.tgrelid = 'eventstore.events'::regclass AND NOT t.tgisinternal "
		"AND (t.tgtype & 1) = 0 AND f.pronamespace = 'eventstore'::regnamespace ORDER BY t.tgname",
		name));
	ddl_revoke(table);
}

/* Undo that: from now on the table is its owner's. */
void
es_ddl_release(Oid table)
{
	char *name = quote_literal_cstr(es_ddl_table(table));

	ddl_run_all(psprintf("SELECT format('DROP TRIGGER %%I ON %%s', t.tgname, %s) " DDL_TRIGGERS,
						 name, psprintf("%s::regclass", name)));
}

/* ----------------------------------------------------------------------
 * From one table to another
 * ----------------------------------------------------------------------
 */

#define DDL_CONSTRAINT "rows_are_in_range"

/* Have a constraint that was made NOT VALID count as valid: we know that it is. */
static void
ddl_believe(Oid table)
{
	Relation constraints = table_open(ConstraintRelationId, RowExclusiveLock);
	Oid oid = get_relation_constraint_oid(table, DDL_CONSTRAINT, false);
	HeapTuple row = SearchSysCacheCopy1(CONSTROID, ObjectIdGetDatum(oid));

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for constraint %u", oid);
	((Form_pg_constraint) GETSTRUCT(row))->convalidated = true;
	CatalogTupleUpdate(constraints, &row->t_self, row);
	heap_freetuple(row);
	table_close(constraints, RowExclusiveLock);
	CacheInvalidateRelcacheByRelid(table);
	CommandCounterIncrement();
}

/*
 * Attach a table whose rows are known to be in the range: PostgreSQL would read
 * all of it to see that, unless a constraint says so.
 *
 * parent: eventstore.events or eventstore.detached_events.
 * from: PG_INT64_MIN: it has no lower bound.
 */
void
es_ddl_attach(const char *parent, Oid table, int64 from, int64 upto)
{
	const char *name = es_ddl_table(table);
	const char *lowest = from == PG_INT64_MIN ? "MINVALUE" : psprintf("%lld", (long long) from);

	es_ddl_run("ALTER TABLE ONLY %s ADD CONSTRAINT " DDL_CONSTRAINT
			   " CHECK (%s%s position < %lld) NOT VALID",
			   name, from == PG_INT64_MIN ? "" : psprintf("position >= %s", lowest),
			   from == PG_INT64_MIN ? "" : " AND", (long long) upto);
	ddl_believe(table);
	es_ddl_run("ALTER TABLE ONLY %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%lld)", parent,
			   name, lowest, (long long) upto);
	es_ddl_run("ALTER TABLE ONLY %s DROP CONSTRAINT " DDL_CONSTRAINT, name);
}
