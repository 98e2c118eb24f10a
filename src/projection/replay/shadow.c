/*-------------------------------------------------------------------------
 *
 * shadow.c
 *		Copies of a projection's tables, for a replay.
 *
 * They are temporary tables, so that they vanish with the transaction and a
 * crash leaves no file behind.  For a handler they have the same names as the
 * tables, and pg_temp stands first in the search_path of a replay: so its SQL,
 * and functions that it calls, find the copy by the name without a schema.
 *
 * Whatever a transaction updates, it can not clean up itself: a row that is
 * updated again and again leaves a chain of dead versions, which is walked
 * through each time.  So a copy is written anew when it has grown by a factor;
 * the cost of that is in proportion to the growth.
 *
 * They are made as the projection's owner, who needs the right to make
 * temporary tables in the database.  That can not be done in a
 * security-restricted operation, so nothing that evaluates the owner's
 * expressions may be in it: not the planner, which does so with those of
 * indexes.
 *
 * Memory: the current context.  Locks: AccessShare on the tables, to the end of
 * the transaction.  Calls: beside.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"

#include "base/compat.h"
#include "projection/beside.h"
#include "projection/replay/shadow.h"

/* A copy is tidied up when it has this many blocks, and has grown this much. */
#define SHADOW_MIN_BLOCKS 8
#define SHADOW_GROWTH     3

/* A name for a temporary table that the session does not have. */
char *
es_shadow_next_name(void)
{
	static uint32 last = 0;
	char *name;

	do
		name = psprintf(ES_SHADOW_PREFIX "%u", ++last);
	while (OidIsValid(RangeVarGetRelid(makeRangeVar(pstrdup("pg_temp"), name, -1), NoLock, true)));
	return psprintf("pg_temp.%s", name);
}

/*
 * Run a command as a role; returns how many rows it has returned or written.
 *
 * security_flags: SECURITY_RESTRICTED_OPERATION where expressions of the tables
 * are evaluated; temporary tables can't be made so.
 */
uint64
es_shadow_execute(Oid role, int security_flags, const char *sql)
{
	Oid user;
	int security;
	int level = NewGUCNestLevel();
	uint64 count;

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(role, security | SECURITY_LOCAL_USERID_CHANGE | security_flags);
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	count = SPI_processed;
	SPI_finish();
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(false, level);
	CommandCounterIncrement();
	return count;
}

/* Raises 42P01 if there is none of this name. */
static Oid
shadow_find(const char *name)
{
	List *names = es_compat_name_list(name);

	return RangeVarGetRelid(makeRangeVarFromNameList(names), AccessShareLock, false);
}

/*
 * Check that a handler's names mean in this session what they mean in others:
 * temporary tables of the session come first in a replay.
 *
 * tables: qualified names.
 */
void
es_shadow_check_names(const List *tables)
{
	const ListCell *a;
	const ListCell *b;

	foreach (a, tables)
		foreach (b, tables)
			if (a != b &&
				strcmp(get_rel_name(shadow_find(lfirst(a))),
					   get_rel_name(shadow_find(lfirst(b)))) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("tables %s and %s of a projection have the same name",
								(char *) lfirst(a), (char *) lfirst(b)),
						 errdetail("In a replay, copies stand for them, in one schema.")));
	if (es_shadow_execute(
			BOOTSTRAP_SUPERUSERID, SECURITY_RESTRICTED_OPERATION,
			"SELECT FROM pg_catalog.pg_class AS t JOIN pg_catalog.pg_class AS c USING (relname) "
			"WHERE t.relnamespace = pg_catalog.pg_my_temp_schema() AND t.relkind IN ('r', 'v', 'S', 'p', 'f', 'c') "
			"AND c.relpersistence <> 't' LIMIT 1") > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a temporary table of this session has the name of another table"),
				 errdetail("The projection's SQL could mean the wrong one in a replay."),
				 errhint("Drop the temporary table, or use another session.")));
}

/*
 * Make a copy, empty.
 *
 * name: of the copy; create: the command that makes it.
 */
EsShadow *
es_shadow_make(Oid owner, char *table_name, char *name, const char *create)
{
	EsShadow *shadow = palloc0(sizeof(EsShadow));

	shadow->owner = owner;
	shadow->table_name = table_name;
	shadow->table = shadow_find(table_name);
	(void) es_shadow_execute(owner, 0, create);
	shadow->name = name;
	shadow->oid = shadow_find(name);
	return shadow;
}

/* Whether a column (its name) of a table is serial or an identity. */
bool
es_shadow_has_sequence(const EsShadow *shadow, const char *column)
{
	return es_shadow_execute(shadow->owner, SECURITY_RESTRICTED_OPERATION,
							 psprintf("SELECT WHERE pg_catalog.pg_get_serial_sequence(%s, %s) IS NOT NULL",
									  quote_literal_cstr(shadow->table_name),
									  quote_literal_cstr(column))) > 0;
}

/*
 * Give a copy's serial columns sequences of its own: so it counts from the start,
 * and does not use up the table's.  LIKE does so for identity columns only.
 */
static void
shadow_own_sequences(const EsShadow *shadow)
{
	Relation rel = relation_open(shadow->oid, AccessShareLock);
	TupleDesc desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
	int i;

	relation_close(rel, NoLock);
	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		const char *name = NameStr(column->attname);
		char *sequence;

		if (column->attisdropped || !column->atthasdef || column->attgenerated != '\0' ||
			!es_shadow_has_sequence(shadow, name))
			continue;
		sequence = es_shadow_next_name();
		name = quote_identifier(name);
		(void) es_shadow_execute(shadow->owner, 0,
								 psprintf("CREATE TEMPORARY SEQUENCE %s OWNED BY %s.%s", sequence,
										  shadow->name, name));
		(void)
			es_shadow_execute(shadow->owner, SECURITY_RESTRICTED_OPERATION,
							  psprintf("ALTER TABLE %s ALTER %s SET DEFAULT pg_catalog.nextval(%s)",
									   shadow->name, name, quote_literal_cstr(sequence)));
	}
}

/* Make a copy, empty, with the table's own name, and columns and indexes like its. */
EsShadow *
es_shadow_make_like(Oid owner, char *table_name)
{
	char *name = psprintf("pg_temp.%s", quote_identifier(get_rel_name(shadow_find(table_name))));
	EsShadow *shadow = es_shadow_make(owner, table_name, name,
									  psprintf("CREATE TEMPORARY TABLE %s (LIKE %s INCLUDING ALL)",
											   name, table_name));

	shadow_own_sequences(shadow);
	return shadow;
}

/*
 * Refuse what changes rows of the tables by itself, as the copies do not have it.
 *
 * shadows: of EsShadow.
 */
void
es_shadow_check_triggers(const List *shadows)
{
	List *tables = NIL;
	const ListCell *cell;
	char *reason;

	foreach (cell, shadows)
		tables = lappend_oid(tables, ((EsShadow *) lfirst(cell))->table);
	reason = es_beside_check_triggers(tables);
	if (reason != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("the projection can not be replayed beside its tables"),
				 errdetail("%s", reason),
				 errhint("Let the projection's SQL do what they do.")));
}

/*
 * The columns of a table that can be written: a list of quoted names.
 */
List *
es_shadow_columns(Oid table)
{
	Relation rel = relation_open(table, AccessShareLock);
	TupleDesc desc = RelationGetDescr(rel);
	List *result = NIL;
	int i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (!column->attisdropped && column->attgenerated == '\0')
			result = lappend(result, pstrdup(quote_identifier(NameStr(column->attname))));
	}
	relation_close(rel, NoLock);
	return result;
}

static BlockNumber
shadow_size(const EsShadow *shadow)
{
	Relation rel = relation_open(shadow->oid, AccessShareLock);
	BlockNumber size = RelationGetNumberOfBlocks(rel);

	relation_close(rel, NoLock);
	return size;
}

static char *
shadow_list(List *columns)
{
	StringInfoData list;
	ListCell *cell;

	initStringInfo(&list);
	foreach (cell, columns)
		appendStringInfo(&list, "%s%s", cell == list_head(columns) ? "" : ", ",
						 (char *) lfirst(cell));
	return list.data;
}

/*
 * A temporary table with a copy's rows, and nothing of its indexes and
 * constraints.  Returns its name.
 *
 * columns: those that it gets, as SQL.
 *
 * Made empty first, which is without the planner: that evaluates expressions of
 * indexes, and temporary tables can not be made in a security-restricted
 * operation.
 */
char *
es_shadow_extract(const EsShadow *shadow, const char *columns)
{
	char *name = es_shadow_next_name();

	(void) es_shadow_execute(shadow->owner, 0,
							 psprintf("CREATE TEMPORARY TABLE %s AS SELECT %s FROM %s WITH NO DATA",
									  name, columns, shadow->name));
	(void) es_shadow_execute(shadow->owner, SECURITY_RESTRICTED_OPERATION,
							 psprintf("INSERT INTO %s SELECT %s FROM %s", name, columns,
									  shadow->name));
	return name;
}

/* Rows as they are, without the versions that no one sees any more. */
static void
shadow_rewrite(const EsShadow *shadow)
{
	char *columns = shadow_list(es_shadow_columns(shadow->oid));
	char *other = es_shadow_extract(shadow, columns);

	(void) es_shadow_execute(shadow->owner, SECURITY_RESTRICTED_OPERATION,
							 psprintf("TRUNCATE %s", shadow->name));
	(void)
		es_shadow_execute(shadow->owner, SECURITY_RESTRICTED_OPERATION,
						  psprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s",
								   shadow->name, columns, columns, other));
	es_shadow_drop(shadow, other);
}

/*
 * Call it from time to time: writes a copy anew that has grown, and gathers
 * statistics, without which plans that were made for an empty table stay.
 */
void
es_shadow_tidy(EsShadow *shadow)
{
	BlockNumber size = shadow_size(shadow);

	if (size < SHADOW_MIN_BLOCKS || size / SHADOW_GROWTH < shadow->size)
		return;
	shadow_rewrite(shadow);
	(void) es_shadow_execute(shadow->owner, SECURITY_RESTRICTED_OPERATION,
							 psprintf("ANALYZE %s", shadow->name));
	shadow->size = shadow_size(shadow);
}

/* Drop a copy, or what es_shadow_extract has made of it. */
void
es_shadow_drop(const EsShadow *shadow, const char *name)
{
	(void) es_shadow_execute(shadow->owner, SECURITY_RESTRICTED_OPERATION,
							 psprintf("DROP TABLE %s", name));
}

/* Let a role read what es_shadow_extract has made of a copy. */
void
es_shadow_grant(const EsShadow *shadow, const char *name, Oid role)
{
	if (role != shadow->owner)
		(void) es_shadow_execute(shadow->owner, SECURITY_RESTRICTED_OPERATION,
								 psprintf("GRANT SELECT ON %s TO %s", name,
										  quote_identifier(GetUserNameFromId(role, false))));
}
