/*-------------------------------------------------------------------------
 *
 * mend.c
 *		Making tables like their copies.
 *
 * Only what differs is written: so a table stays what it is, with its indexes,
 * rights, views and foreign keys, and readers go on.  One that has nothing to
 * tell its rows apart by is written all anew.
 *
 * Rows are deleted from the tables that refer to others first, and inserted
 * there last.
 *
 * Memory: the current context.  Locks: RowExclusive on the tables.  Calls:
 * attempt, difference, shadow.  Triggers of the tables run here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_constraint.h"
#include "executor/spi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/relcache.h"

#include "base/attempt.h"
#include "base/compat.h"
#include "projection/replay/mend.h"

static uint64
mend_execute(const char *sql)
{
	uint64 count;

	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	count = SPI_processed;
	SPI_finish();
	return count;
}

/*
 * Make a table for notes of which rows differ: the place of the row in the table
 * and of that in its copy, null where there is none.  To be called before
 * es_mend_apply, by who may make temporary tables.
 */
void
es_mend_prepare(EsDifference *difference)
{
	const EsShadow *shadow = difference->shadow;

	if (difference->keys == NIL)
		return;
	difference->changes = es_shadow_next_name();
	(void) es_shadow_execute(shadow->owner, 0,
							 psprintf("CREATE TEMPORARY TABLE %s (part oid, old tid, new tid)",
									  difference->changes));
}

void
es_mend_drop(const EsDifference *difference)
{
	if (difference->keys != NIL)
		(void) es_shadow_execute(difference->shadow->owner, SECURITY_RESTRICTED_OPERATION,
								 psprintf("DROP TABLE %s", difference->changes));
}

/*
 * Note which rows differ: the only time that all of both tables is read.  From
 * here on row security that is forced on the tables' owner does not count.
 */
static void
mend_find(const EsDifference *difference)
{
	const EsShadow *shadow = difference->shadow;
	int level = NewGUCNestLevel();

	es_difference_see_all();
	if (difference->keys == NIL)
		(void) mend_execute(psprintf("SELECT FROM %s LIMIT 0", shadow->table_name));
	else
		(void) mend_execute(
			psprintf("INSERT INTO %s SELECT es_t.tableoid, es_t.ctid, es_c.ctid FROM %s AS es_t FULL JOIN %s AS es_c ON %s "
					 "WHERE es_t.ctid IS NULL OR es_c.ctid IS NULL OR %s",
					 difference->changes, shadow->table_name, shadow->name,
					 es_difference_match(difference),
					 difference->updatable == NIL
						 ? "false"
						 : es_difference_differs(difference, difference->updatable)));
	AtEOXact_GUC(false, level);
}

/*
 * Delete rows that the copy does not have.
 *
 * deletes_different: also those that it has with other values.
 */
static void
mend_delete(const EsDifference *difference, bool deletes_different)
{
	const EsShadow *shadow = difference->shadow;

	if (difference->keys == NIL)
		(void) mend_execute(psprintf("DELETE FROM %s", shadow->table_name));
	else
		(void) mend_execute(
			psprintf("DELETE FROM %s AS es_t USING %s AS es_d WHERE es_t.tableoid OPERATOR(pg_catalog.=) es_d.part "
					 "AND es_t.ctid OPERATOR(pg_catalog.=) es_d.old AND es_d.new IS %s NULL",
					 shadow->table_name, difference->changes, deletes_different ? "NOT" : ""));
}

static void
mend_update(const EsDifference *difference)
{
	const EsShadow *shadow = difference->shadow;
	StringInfoData sql;
	ListCell *cell;

	if (difference->updatable == NIL)
		return;
	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS es_t SET ", shadow->table_name);
	foreach (cell, difference->updatable)
		appendStringInfo(&sql, "%s%s = es_c.%s",
						 cell == list_head(difference->updatable) ? "" : ", ",
						 (char *) lfirst(cell), (char *) lfirst(cell));
	appendStringInfo(
		&sql,
		" FROM %s AS es_d JOIN %s AS es_c ON es_c.ctid OPERATOR(pg_catalog.=) es_d.new "
		"WHERE es_t.tableoid OPERATOR(pg_catalog.=) es_d.part AND es_t.ctid OPERATOR(pg_catalog.=) es_d.old",
		difference->changes, shadow->name);
	(void) mend_execute(sql.data);
}

/*
 * Insert rows of the copy that the table does not have.
 *
 * inserts_different: also those that it had with other values.
 */
static void
mend_insert(const EsDifference *difference, bool inserts_different)
{
	const EsShadow *shadow = difference->shadow;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS es_c",
					 shadow->table_name, es_difference_list(difference->columns, ""),
					 es_difference_list(difference->columns, "es_c."), shadow->name);
	if (difference->keys != NIL)
		appendStringInfo(&sql, " JOIN %s AS es_d ON es_c.ctid OPERATOR(pg_catalog.=) es_d.new",
						 difference->changes);
	if (difference->keys != NIL && !inserts_different)
		appendStringInfoString(&sql, " WHERE es_d.old IS NULL");
	(void) mend_execute(sql.data);
}

/* Columns with a sequence of their own go on behind the highest value. */
static void
mend_move_identity(const EsDifference *difference)
{
	const EsShadow *shadow = difference->shadow;
	Relation table = relation_open(shadow->table, AccessShareLock);
	int i;

	for (i = 0; i < RelationGetDescr(table)->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(table), i);
		char *name = NameStr(column->attname);
		char *sequence;

		if (column->attisdropped || !es_shadow_has_sequence(shadow, name))
			continue;
		sequence = psprintf("pg_catalog.pg_get_serial_sequence(%s, %s)::pg_catalog.regclass",
							quote_literal_cstr(shadow->table_name), quote_literal_cstr(name));
		(void) mend_execute(
			psprintf("SELECT pg_catalog.setval(%s, m) FROM (SELECT pg_catalog.max(%s)::pg_catalog.int8 AS m FROM %s) AS es_row "
					 "WHERE m > COALESCE(pg_catalog.pg_sequence_last_value(%s), 0)",
					 sequence, quote_identifier(name), shadow->name, sequence));
	}
	relation_close(table, NoLock);
}

/* Whether rows of other tables can refer to a table's. */
bool
es_mend_is_referenced(Oid table)
{
	Relation constraints = table_open(ConstraintRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(constraints, InvalidOid, false, NULL, 0, NULL);
	bool result = false;
	HeapTuple row;

	while (!result && (row = systable_getnext(scan)) != NULL)
		result = ((Form_pg_constraint) GETSTRUCT(row))->contype == CONSTRAINT_FOREIGN &&
			((Form_pg_constraint) GETSTRUCT(row))->confrelid == table;
	systable_endscan(scan);
	table_close(constraints, AccessShareLock);
	return result;
}

static void
mend_try_update(void *difference)
{
	mend_update(difference);
}

/*
 * Update rows that differ; returns whether it worked.  Where rows exchange
 * values of a unique column, that fails on the way: then they are deleted, to be
 * inserted anew, unless rows of other tables refer to them.
 */
static bool
mend_change(EsDifference *difference)
{
	ErrorData *error = es_attempt(mend_try_update, difference);

	if (error == NULL)
		return true;
	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION ||
		es_mend_is_referenced(difference->shadow->table))
		ReThrowError(error);
	mend_delete(difference, true);
	return false;
}

/* Whether a table has a foreign key to another. */
static bool
mend_refers(Oid from, Oid to)
{
	Relation rel = relation_open(from, AccessShareLock);
	ListCell *cell;
	bool result = false;

	foreach (cell, RelationGetFKeyList(rel))
		if (((ForeignKeyCacheInfo *) lfirst(cell))->confrelid == to)
			result = true;
	relation_close(rel, NoLock);
	return result;
}

/* Tables (OIDs) in the order in which to insert: behind those that they refer to. */
static List *
mend_sort_tables(const List *tables)
{
	List *left = list_copy(tables);
	List *result = NIL;

	while (left != NIL)
	{
		Oid next = linitial_oid(left);
		ListCell *a;
		ListCell *b;

		foreach (a, left)
		{
			bool is_free = true;

			foreach (b, left)
				if (a != b && mend_refers(lfirst_oid(a), lfirst_oid(b)))
					is_free = false;
			if (is_free)
			{
				next = lfirst_oid(a);
				break;
			}
		}
		/* Of tables that refer to each other, any is first. */
		left = list_delete_oid(left, next);
		result = lappend_oid(result, next);
	}
	return result;
}

/* The same of EsDifference. */
static List *
mend_sort(const List *differences)
{
	List *tables = NIL;
	List *result = NIL;
	const ListCell *a;
	const ListCell *b;

	foreach (a, differences)
		tables = lappend_oid(tables, ((EsDifference *) lfirst(a))->shadow->table);
	tables = mend_sort_tables(tables);
	foreach (a, tables)
		foreach (b, differences)
			if (((EsDifference *) lfirst(b))->shadow->table == lfirst_oid(a))
				result = lappend(result, lfirst(b));
	return result;
}

/*
 * Delete all rows of tables (OIDs).  Not by TRUNCATE, which readers would wait
 * for.  Call it with the settings and the role that the projection runs with.
 */
void
es_mend_empty(const List *tables)
{
	List *sorted = mend_sort_tables(tables);
	int i;

	for (i = list_length(sorted) - 1; i >= 0; i--)
	{
		Oid table = list_nth_oid(sorted, i);

		(void) mend_execute(
			psprintf("DELETE FROM %s",
					 quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
												get_rel_name(table))));
	}
}

/*
 * Make tables like their copies.  Call it with the settings and the role that
 * the projection runs with, once, after es_mend_prepare.
 *
 * differences: of EsDifference.
 */
void
es_mend_apply(const List *differences)
{
	List *sorted = mend_sort(differences);
	ListCell *cell;
	int i;

	foreach (cell, sorted)
		mend_find(lfirst(cell));
	for (i = list_length(sorted) - 1; i >= 0; i--)
		mend_delete(list_nth(sorted, i), false);
	foreach (cell, sorted)
	{
		EsDifference *difference = lfirst(cell);
		bool is_changed = difference->keys == NIL || mend_change(difference);

		mend_insert(difference, !is_changed);
		mend_move_identity(difference);
	}
}
