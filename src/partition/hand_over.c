/*-------------------------------------------------------------------------
 *
 * hand_over.c
 *		Indexes that come to be another table's.
 *
 * They are handed over with the constraints behind them when a table's rows have
 * become another's (convert.c); nothing is built anew.
 *
 * Memory: the current context.  Locks: AccessExclusive on the indexes; the caller
 * holds it on both tables.  Calls: PostgreSQL only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "commands/tablecmds.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "partition/hand_over.h"

/* A copy of a row of a catalogue, to be changed and written. */
HeapTuple
es_hand_over_copy(int cache, Oid oid)
{
	HeapTuple row = SearchSysCacheCopy1(cache, ObjectIdGetDatum(oid));

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for object %u", oid);
	return row;
}

/* Write it, and free the copy. */
void
es_hand_over_write(Oid catalog, HeapTuple row)
{
	Relation rel = table_open(catalog, RowExclusiveLock);

	CatalogTupleUpdate(rel, &row->t_self, row);
	table_close(rel, RowExclusiveLock);
	heap_freetuple(row);
}

static void
hand_over_constraint(Oid constraint, Oid events, Oid first)
{
	HeapTuple row = es_hand_over_copy(CONSTROID, constraint);

	((Form_pg_constraint) GETSTRUCT(row))->conrelid = first;
	es_hand_over_write(ConstraintRelationId, row);
	(void) changeDependencyFor(ConstraintRelationId, constraint, RelationRelationId, events, first);
}

/* The name that the same index would get of a range that is made. */
static void
hand_over_rename(Oid index, Oid first)
{
	const char *name = get_rel_name(index);

	if (strncmp(name, "events_", 7) == 0)
	{
		char *new_name = psprintf("%s_%s", get_rel_name(first), name + 7);

		if (strlen(new_name) < NAMEDATALEN &&
			!OidIsValid(get_relname_relid(new_name, get_rel_namespace(index))))
			RenameRelationInternal(index, new_name, true, true);
	}
}

/*
 * Of an index that was made in this transaction the relation cache keeps what it
 * knows, and reloads but some of it; whose index it is does not change elsewhere.
 */
static void
hand_over_tell_relcache(Oid index, Oid first)
{
	Relation rel = index_open(index, AccessExclusiveLock);

	rel->rd_index->indrelid = first;
	index_close(rel, NoLock);
}

static void
hand_over_index(Oid index, Oid events, Oid first)
{
	HeapTuple row = es_hand_over_copy(INDEXRELID, index);
	Oid constraint = get_index_constraint(index);

	((Form_pg_index) GETSTRUCT(row))->indrelid = first;
	es_hand_over_write(IndexRelationId, row);
	(void) changeDependencyFor(RelationRelationId, index, RelationRelationId, events, first);
	if (OidIsValid(constraint))
		hand_over_constraint(constraint, events, first);
	CacheInvalidateRelcacheByRelid(index);
	CommandCounterIncrement();
	hand_over_rename(index, first);
	CommandCounterIncrement();
	hand_over_tell_relcache(index, first);
}

/*
 * Whether indexes can be handed over: not where they are of this transaction and
 * a savepoint of it may take that back, which the relation cache would not notice.
 */
bool
es_hand_over_is_possible(const List *indexes)
{
	const ListCell *cell;

	foreach (cell, indexes)
	{
		Relation index = index_open(lfirst_oid(cell), AccessExclusiveLock);
		bool is_new = es_compat_is_of_transaction(index);

		index_close(index, NoLock);
		if (is_new && GetCurrentTransactionNestLevel() > 1)
			return false;
	}
	return true;
}

/* Drop indexes, and the constraints that they belong to. */
void
es_hand_over_drop(const List *indexes)
{
	const ListCell *cell;

	foreach (cell, indexes)
	{
		Oid constraint = get_index_constraint(lfirst_oid(cell));
		ObjectAddress address;

		if (OidIsValid(constraint))
			ObjectAddressSet(address, ConstraintRelationId, constraint);
		else
			ObjectAddressSet(address, RelationRelationId, lfirst_oid(cell));
		performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
		CommandCounterIncrement();
	}
}

/*
 * Give all indexes of a table to another, as they are.
 *
 * first: the other, which has the rows now.
 */
void
es_hand_over_indexes(const List *indexes, Oid events, Oid first)
{
	const ListCell *cell;

	foreach (cell, indexes)
		hand_over_index(lfirst_oid(cell), events, first);
	CacheInvalidateRelcacheByRelid(events);
	CacheInvalidateRelcacheByRelid(first);
	CommandCounterIncrement();
}
