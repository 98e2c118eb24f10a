/*-------------------------------------------------------------------------
 *
 * reshape.c
 *		A declared table that gets the columns of another query.
 *
 * The table stays: it gets new columns, loses those that the query has no more,
 * and types change, each by ALTER TABLE; so its indexes, rights, views, triggers
 * and the columns that its owner has added stay, too.  What depends on a column
 * that is to go keeps it from going: nothing is dropped for that.
 *
 * Values are mended afterwards.  So where a type changes, what is there needs to be
 * no more than a value of the new type: the old one as far as it can be cast, else
 * null, else the table is emptied.  It is emptied, too, where its key changes, as
 * then all rows are others.
 *
 * Memory: the current context.  Locks: the caller has AccessExclusive on the
 * table.  Calls: attempt, declare, mend.  Expressions of the owner run here, so
 * call it as a projection's SQL is run.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/attempt.h"
#include "projection/declared/declare.h"
#include "projection/readtable.h"
#include "projection/replay/mend.h"
#include "projection/replay/reshape.h"

/* ----------------------------------------------------------------------
 * What has to be done
 * ----------------------------------------------------------------------
 */

static EsColumn *
reshape_find(const EsAnalysis *analysis, const char *name)
{
	int i;

	for (i = 0; analysis != NULL && i < analysis->column_count; i++)
		if (strcmp(analysis->columns[i].name, name) == 0)
			return &analysis->columns[i];
	return NULL;
}

static char *
reshape_quote(const char *name)
{
	return pstrdup(quote_identifier(name));
}

/* Whether all keys of one are keys of the other, and can be null or not as there. */
static bool
reshape_has_keys(const EsAnalysis *a, const EsAnalysis *b)
{
	int i;

	for (i = 0; i < a->key_count; i++)
	{
		const EsColumn *other = reshape_find(b, a->keys[i]->name);

		if (other == NULL || other->key == 0 || other->is_nullable != a->keys[i]->is_nullable)
			return false;
	}
	return true;
}

/* The columns of a constraint, by number. */
static Bitmapset *
reshape_constraint_columns(Relation constraints, HeapTuple row)
{
	bool is_null;
	Datum value = heap_getattr(row, Anum_pg_constraint_conkey, RelationGetDescr(constraints),
							   &is_null);
	Bitmapset *columns = NULL;
	int count;
	int i;

	if (is_null)
		return NULL;
	count = ARR_DIMS(DatumGetArrayTypeP(value))[0];
	for (i = 0; i < count; i++)
		columns = bms_add_member(columns, ((int16 *) ARR_DATA_PTR(DatumGetArrayTypeP(value)))[i]);
	return columns;
}

/* The constraints, quoted, by which a table's key is unique that a query has. */
static List *
reshape_find_key(Oid table, const EsAnalysis *analysis)
{
	Relation constraints = table_open(ConstraintRelationId, AccessShareLock);
	Bitmapset *key = NULL;
	List *result = NIL;
	ScanKeyData wanted;
	SysScanDesc scan;
	HeapTuple row;
	int i;

	for (i = 0; i < analysis->key_count; i++)
		key = bms_add_member(key, get_attnum(table, analysis->keys[i]->name));
	ScanKeyInit(&wanted, Anum_pg_constraint_conrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(table));
	scan = systable_beginscan(constraints, ConstraintRelidTypidNameIndexId, true, NULL, 1, &wanted);
	while ((row = systable_getnext(scan)) != NULL)
	{
		Form_pg_constraint form = (Form_pg_constraint) GETSTRUCT(row);

		if ((form->contype == CONSTRAINT_PRIMARY || form->contype == CONSTRAINT_UNIQUE) &&
			bms_equal(reshape_constraint_columns(constraints, row), key))
			result = lappend(result, reshape_quote(NameStr(form->conname)));
	}
	systable_endscan(scan);
	table_close(constraints, AccessShareLock);
	return result;
}

/*
 * Whether a column gets another type.  Where its owner has altered it, and the
 * query's type is what it was, it stays as it is.
 */
static bool
reshape_changes_type(const EsReshape *reshape, const EsColumn *before, const EsColumn *now)
{
	Oid type;
	int32 typmod;
	Oid collation;

	if (before != NULL && before->type == now->type && before->typmod == now->typmod &&
		before->collation == now->collation)
		return false;
	get_atttypetypmodcoll(reshape->table, get_attnum(reshape->table, now->name), &type, &typmod,
						  &collation);
	return type != now->type || typmod != now->typmod ||
		(OidIsValid(now->collation) && OidIsValid(get_typcollation(type)) &&
		 collation != now->collation);
}

static void
reshape_plan_column(EsReshape *reshape, const EsAnalysis *before, EsColumn *column)
{
	const EsColumn *old = reshape_find(before, column->name);

	if (get_attnum(reshape->table, column->name) == InvalidAttrNumber)
	{
		reshape->added = lappend(reshape->added, column);
		return;
	}
	if (before != NULL && old == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_COLUMN),
				 errmsg("table %s has a column \"%s\" already, which is not the projection's",
						reshape->table_name, column->name),
				 errhint("Give one of the two another name.")));
	if (reshape_changes_type(reshape, old, column))
		reshape->retyped = lappend(reshape->retyped, column);
}

/* Whether a key that can be null may not be so in the table, as in those that version 0.1.0 has made. */
static bool
reshape_keeps_nulls_out(const EsReshape *reshape)
{
	Relation rel = relation_open(reshape->table, AccessShareLock);
	bool result = false;
	int i;

	for (i = 0; i < reshape->now->key_count; i++)
	{
		const EsColumn *key = reshape->now->keys[i];
		AttrNumber number = get_attnum(reshape->table, key->name);

		if (key->is_nullable && number != InvalidAttrNumber)
			result |= TupleDescAttr(RelationGetDescr(rel), number - 1)->attnotnull;
	}
	relation_close(rel, NoLock);
	return result;
}

static void
reshape_plan_key(EsReshape *reshape, const EsAnalysis *before)
{
	const EsAnalysis *now = reshape->now;
	int i;

	if (before == NULL)
		reshape->changes_key = reshape_find_key(reshape->table, now) == NIL;
	else
		reshape->changes_key = !reshape_has_keys(before, now) || !reshape_has_keys(now, before) ||
			reshape_keeps_nulls_out(reshape);
	if (!reshape->changes_key || before == NULL)
		return;
	reshape->old_key = reshape_find_key(reshape->table, before);
	for (i = 0; i < before->key_count; i++)
	{
		const EsColumn *column = reshape_find(now, before->keys[i]->name);

		if (column != NULL && get_attnum(reshape->table, column->name) != InvalidAttrNumber)
			reshape->freed = lappend(reshape->freed, reshape_quote(column->name));
	}
}

/*
 * What has to be done with a table.
 *
 * before: what the query was; NULL: that can not be told any more.
 */
EsReshape *
es_reshape_plan(char *table_name, const EsAnalysis *before, const EsAnalysis *now)
{
	EsReshape *reshape = palloc0(sizeof(EsReshape));
	int i;

	reshape->table_name = table_name;
	reshape->table = es_readtable_find(table_name);
	reshape->now = now;
	for (i = 0; before != NULL && i < before->column_count; i++)
	{
		const char *name = before->columns[i].name;

		if (reshape_find(now, name) == NULL && get_attnum(reshape->table, name) != InvalidAttrNumber)
			reshape->gone = lappend(reshape->gone, reshape_quote(name));
	}
	for (i = 0; i < now->column_count; i++)
		reshape_plan_column(reshape, before, &now->columns[i]);
	reshape_plan_key(reshape, before);
	return reshape;
}

/* Whether there is anything to be done. */
bool
es_reshape_is_needed(const EsReshape *reshape)
{
	return reshape->gone != NIL || reshape->retyped != NIL || reshape->added != NIL ||
		reshape->changes_key;
}

/* ----------------------------------------------------------------------
 * Doing it
 * ----------------------------------------------------------------------
 */

static void
reshape_run(void *sql)
{
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", (char *) sql);
	SPI_finish();
	CommandCounterIncrement();
}

/* PostgreSQL's hint would be to drop whatever depends on it. */
static void
reshape_raise(ErrorData *error, char *hint)
{
	/* 42601 is what it raises for generated columns. */
	if (error->sqlerrcode == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST ||
		error->sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED ||
		error->sqlerrcode == ERRCODE_SYNTAX_ERROR)
		error->hint = hint;
	/* Its user has not written the statement. */
	error->context = NULL;
	ReThrowError(error);
}

static void
reshape_alter(const EsReshape *reshape, const char *change, char *hint)
{
	ErrorData *error = es_attempt(reshape_run,
								  psprintf("ALTER TABLE %s %s", reshape->table_name, change));

	if (error != NULL)
		reshape_raise(error, hint);
}

/* Whether an error comes of the values that are there, which are not wanted any more. */
static bool
reshape_is_about_values(const ErrorData *error)
{
	int category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_TO_CATEGORY(ERRCODE_DATA_EXCEPTION) ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION) ||
		error->sqlerrcode == ERRCODE_CANNOT_COERCE ||
		error->sqlerrcode == ERRCODE_DATATYPE_MISMATCH;
}

static void
reshape_retype(const EsReshape *reshape, const EsColumn *column)
{
	const char *name = quote_identifier(column->name);
	char *type = es_declare_type(column);
	char *bare = format_type_extended(column->type, column->typmod,
									  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
	char *alter = psprintf("ALTER TABLE %s ALTER %s TYPE %s USING", reshape->table_name, name, type);
	char *hint =
		psprintf("Drop that, and make it again afterwards; in one transaction with es_replace_projection nobody sees it gone. "
				 "Or cast the column %s of the query to the type that it has.",
				 name);
	ErrorData *error = es_attempt(reshape_run, psprintf("%s %s::%s", alter, name, bare));

	if (error != NULL && reshape_is_about_values(error))
		error = es_attempt(reshape_run, psprintf("%s NULL::%s", alter, bare));
	if (error != NULL && reshape_is_about_values(error) && !es_mend_is_referenced(reshape->table))
	{
		es_mend_empty(list_make1_oid(reshape->table));
		error = es_attempt(reshape_run, psprintf("%s NULL::%s", alter, bare));
	}
	if (error != NULL)
		reshape_raise(error, hint);
}

static char
reshape_replica_identity(Oid table)
{
	Relation rel = relation_open(table, NoLock);
	char result = rel->rd_rel->relreplident;

	relation_close(rel, NoLock);
	return result;
}

/*
 * Take the key off, and the rows, which all get another one.  Where a publication
 * has the table, rows can't be deleted without any key.
 */
static void
reshape_drop_key(const EsReshape *reshape)
{
	ListCell *cell;

	if (es_mend_is_referenced(reshape->table))
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("the key of table %s can not be changed", reshape->table_name),
				 errdetail("A foreign key refers to the table."),
				 errhint("Drop the foreign key first; in one transaction with es_replace_projection nobody sees it gone.")));
	es_mend_empty(list_make1_oid(reshape->table));
	CommandCounterIncrement();
	foreach (cell, reshape->old_key)
		reshape_alter(reshape, psprintf("DROP CONSTRAINT %s", (char *) lfirst(cell)),
					  "Drop that first, or keep the key.");
	foreach (cell, reshape->freed)
		reshape_alter(reshape, psprintf("ALTER %s DROP NOT NULL", (char *) lfirst(cell)), NULL);
}

/* Nulls that are not distinct identify no row for logical replication. */
static void
reshape_add_key(const EsReshape *reshape)
{
	char identity = reshape_replica_identity(reshape->table);

	reshape_alter(reshape, psprintf("ADD %s", es_declare_key(reshape->now)), NULL);
	if (reshape->now->has_nullable_key && identity == REPLICA_IDENTITY_DEFAULT)
		reshape_alter(reshape, "REPLICA IDENTITY FULL", NULL);
	else if (!reshape->now->has_nullable_key && identity == REPLICA_IDENTITY_FULL)
		reshape_alter(reshape, "REPLICA IDENTITY DEFAULT", NULL);
}

/* Make a table fit its new query; its rows are mended afterwards. */
void
es_reshape_apply(const EsReshape *reshape)
{
	ListCell *cell;

	if (reshape->changes_key)
		reshape_drop_key(reshape);
	foreach (cell, reshape->gone)
		reshape_alter(reshape, psprintf("DROP COLUMN %s", (char *) lfirst(cell)),
					  psprintf("Drop that, and make it again afterwards; in one transaction with es_replace_projection nobody sees it gone. "
							   "Or keep the column %s in the query.",
							   (char *) lfirst(cell)));
	foreach (cell, reshape->retyped)
		reshape_retype(reshape, lfirst(cell));
	foreach (cell, reshape->added)
	{
		const EsColumn *column = lfirst(cell);

		reshape_alter(reshape,
					  psprintf("ADD COLUMN %s %s", quote_identifier(column->name),
							   es_declare_type(column)),
					  NULL);
	}
	if (reshape->changes_key)
		reshape_add_key(reshape);
}
