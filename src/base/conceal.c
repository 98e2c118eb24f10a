/*-------------------------------------------------------------------------
 *
 * conceal.c
 *		Errors that would show an event's data.
 *
 * Users may put constraints, unique indexes and generated columns on the
 * store's tables.  PostgreSQL shows the row that violates one, or the value
 * that does not fit, and messages carry no payload.  So such an error is raised
 * again without: SQLSTATE, message and the names of table and constraint stay
 * as they are.  Keys of columns that are names and numbers of the store's own
 * are shown, as of a foreign key from type to a table of types; and what a
 * function of the user's raises, who chose the words.
 *
 * Memory: as said.  Locks: what a look into the catalogue takes.  Calls: nothing
 * of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/partition.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_type.h"
#include "nodes/bitmapset.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/conceal.h"

/*
 * Whether messages may show what stands in a column: it is the store's, and
 * neither JSON nor tags.
 */
bool
es_conceal_shows(Relation table, AttrNumber own_columns, AttrNumber column)
{
	Oid type;

	if (column < 1 || column > own_columns)
		return false;
	type = TupleDescAttr(RelationGetDescr(table), column - 1)->atttypid;
	return type != JSONBOID && type != TEXTARRAYOID;
}

/* The table that an error is about, if that is the one meant or a partition of it. */
static Oid
conceal_find_table(const EsConceal *conceal, const ErrorData *error)
{
	Oid meant = RelationGetRelid(conceal->table);
	Oid table;

	if (error->schema_name == NULL || error->table_name == NULL ||
		strcmp(error->schema_name, get_namespace_name(RelationGetNamespace(conceal->table))) != 0)
		return InvalidOid;
	table = get_relname_relid(error->table_name, RelationGetNamespace(conceal->table));
	if (table == meant ||
		(get_rel_relispartition(table) && get_partition_parent(table, true) == meant))
		return table;
	return InvalidOid;
}

/* Whether that goes for all columns of a key that a constraint is about. */
static bool
conceal_shows_key(const EsConceal *conceal, const ErrorData *error)
{
	Oid oid = InvalidOid;
	Bitmapset *columns;
	int column = -1;

	columns = get_relation_constraint_attnos(conceal_find_table(conceal, error),
											 error->constraint_name, true, &oid);
	if (!OidIsValid(oid))
		return false;
	while ((column = bms_next_member(columns, column)) >= 0)
		if (!es_conceal_shows(conceal->table, conceal->own_columns,
							  (AttrNumber) (column + FirstLowInvalidHeapAttributeNumber)))
			return false;
	return true;
}

/* Whether an error is that a row of the table violates a constraint. */
static bool
conceal_is_violation(const EsConceal *conceal, const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION &&
		OidIsValid(conceal_find_table(conceal, error));
}

/* Its DETAIL is the key, not the whole row. */
static bool
conceal_is_of_key(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION ||
		error->sqlerrcode == ERRCODE_EXCLUSION_VIOLATION ||
		error->sqlerrcode == ERRCODE_FOREIGN_KEY_VIOLATION;
}

/* Whether somebody has chosen the words, as RAISE does. */
static bool
conceal_is_worded(const ErrorData *error)
{
	return error->message_id == NULL || strcmp(error->message_id, "%s") == 0;
}

/* What takes the place of the values. */
static char *
conceal_detail(const EsConceal *conceal)
{
	return conceal->row == NULL ? pstrdup("The row's values are not shown.")
								: psprintf("%s Its values are not shown.", conceal->row);
}

/* Raise an error of an expression again, without the values. */
static void
conceal_raise_expression(const EsConceal *conceal, const ErrorData *error)
{
	if (strchr(error->message_id, '%') == NULL)
		ereport(ERROR,
				(errcode(error->sqlerrcode),
				 errmsg_internal("%s", error->message),
				 errdetail_internal("%s", conceal_detail(conceal))));
	ereport(ERROR,
			(errcode(error->sqlerrcode),
			 errmsg("row does not fit a constraint, index, generated column or trigger condition of \"%s\"",
					RelationGetRelationName(conceal->table)),
			 errdetail_internal("%s The error is: %s", conceal_detail(conceal), error->message_id)));
}

/*
 * Called in a PG_CATCH block around the insertion of rows: raise the error
 * again, without what it shows of the rows' values.
 *
 * context: where the error is examined.
 */
void
es_conceal_rethrow(const EsConceal *conceal, MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (conceal->is_expression && !conceal_is_worded(error) &&
		ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_DATA_EXCEPTION)
	{
		FlushErrorState();
		conceal_raise_expression(conceal, error);
	}
	if (error->detail == NULL || !conceal_is_violation(conceal, error) ||
		(conceal_is_of_key(error) && error->constraint_name != NULL &&
		 conceal_shows_key(conceal, error)))
		PG_RE_THROW();

	FlushErrorState();
	error->detail = conceal_detail(conceal);
	error->detail_log = NULL;
	ReThrowError(error);
}
