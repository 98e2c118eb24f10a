/*-------------------------------------------------------------------------
 *
 * convert.c
 *		From a plain table to one that is made of ranges.
 *
 * eventstore.events stays the relation that it is: views, policies, triggers,
 * rights, publications and prepared statements know it by its OID, which a new
 * table under the old name would not have, and the extension owns it.  So its
 * rows move out instead.  A table like it is made, without indexes; then the two
 * swap their files, as CLUSTER and VACUUM FULL have a table and its copy do; the
 * indexes and the constraints behind them are handed over as they are; and what
 * is left, a table without rows, becomes a partitioned one, as PostgreSQL up to 15 itself
 * made a view of an empty table that was given a rule.  Not a row is copied, nor read.
 *
 * The new table has, while it is empty, a constraint by which PostgreSQL believes
 * that its rows are in range, and does not look.  We have made sure: nobody else
 * is in the table, and the highest position that is in it or given out is known.
 *
 * A dump has the ranges as tables, attached one by one, and the extension makes
 * a plain, empty table in the restore: attach.c converts that as soon as the first range
 * comes.
 *
 * Memory: the current context.  Locks: the caller holds AccessExclusive on the
 * table.  Calls: ddl, make, ranges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_am.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_statistic.h"
#include "catalog/storage.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "partition/convert.h"
#include "partition/ddl.h"
#include "partition/make.h"

/* ----------------------------------------------------------------------
 * Indexes
 * ----------------------------------------------------------------------
 */

static HeapTuple
convert_copy(int cache, Oid oid)
{
	HeapTuple row = SearchSysCacheCopy1(cache, ObjectIdGetDatum(oid));

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for object %u", oid);
	return row;
}

static void
convert_write(Oid catalog, HeapTuple row)
{
	Relation rel = table_open(catalog, RowExclusiveLock);

	CatalogTupleUpdate(rel, &row->t_self, row);
	table_close(rel, RowExclusiveLock);
	heap_freetuple(row);
}

static void
convert_hand_over_constraint(Oid constraint, Oid events, Oid first)
{
	HeapTuple row = convert_copy(CONSTROID, constraint);

	((Form_pg_constraint) GETSTRUCT(row))->conrelid = first;
	convert_write(ConstraintRelationId, row);
	(void) changeDependencyFor(ConstraintRelationId, constraint, RelationRelationId, events, first);
}

/* The name that the same index would get of a range that is made. */
static void
convert_rename_index(Oid index, Oid first)
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
convert_tell_relcache(Oid index, Oid first)
{
	Relation rel = index_open(index, AccessExclusiveLock);

	rel->rd_index->indrelid = first;
	index_close(rel, NoLock);
}

static void
convert_hand_over_index(Oid index, Oid events, Oid first)
{
	HeapTuple row = convert_copy(INDEXRELID, index);
	Oid constraint = get_index_constraint(index);

	((Form_pg_index) GETSTRUCT(row))->indrelid = first;
	convert_write(IndexRelationId, row);
	(void) changeDependencyFor(RelationRelationId, index, RelationRelationId, events, first);
	if (OidIsValid(constraint))
		convert_hand_over_constraint(constraint, events, first);
	CacheInvalidateRelcacheByRelid(index);
	CommandCounterIncrement();
	convert_rename_index(index, first);
	CommandCounterIncrement();
	convert_tell_relcache(index, first);
}

/* Give all indexes of a table to another. */
static void
convert_hand_over_indexes(const List *indexes, Oid events, Oid first)
{
	const ListCell *cell;

	foreach (cell, indexes)
		convert_hand_over_index(lfirst_oid(cell), events, first);
	CacheInvalidateRelcacheByRelid(events);
	CacheInvalidateRelcacheByRelid(first);
	CommandCounterIncrement();
}

/* ----------------------------------------------------------------------
 * Files
 * ----------------------------------------------------------------------
 */

#define CONVERT_SWAP(type, a, b) \
	do \
	{ \
		type swap_ = (a); \
		(a) = (b); \
		(b) = swap_; \
	} while (0)

static void
convert_give_toast(Oid toast, Oid from, Oid to)
{
	if (OidIsValid(toast))
		(void) changeDependencyFor(RelationRelationId, toast, RelationRelationId, from, to);
}

/* Have two tables of the same columns swap their rows. */
static void
convert_swap_files(Oid a, Oid b)
{
	HeapTuple row_a = convert_copy(RELOID, a);
	HeapTuple row_b = convert_copy(RELOID, b);
	Form_pg_class class_a = (Form_pg_class) GETSTRUCT(row_a);
	Form_pg_class class_b = (Form_pg_class) GETSTRUCT(row_b);

	convert_give_toast(class_a->reltoastrelid, a, b);
	convert_give_toast(class_b->reltoastrelid, b, a);
	CONVERT_SWAP(Oid, class_a->relfilenode, class_b->relfilenode);
	CONVERT_SWAP(Oid, class_a->reltablespace, class_b->reltablespace);
	CONVERT_SWAP(Oid, class_a->reltoastrelid, class_b->reltoastrelid);
	CONVERT_SWAP(int32, class_a->relpages, class_b->relpages);
	CONVERT_SWAP(float4, class_a->reltuples, class_b->reltuples);
	CONVERT_SWAP(int32, class_a->relallvisible, class_b->relallvisible);
	es_compat_swap_all_frozen(class_a, class_b);
	CONVERT_SWAP(bool, class_a->relhasindex, class_b->relhasindex);
	CONVERT_SWAP(char, class_a->relreplident, class_b->relreplident);
	CONVERT_SWAP(TransactionId, class_a->relfrozenxid, class_b->relfrozenxid);
	CONVERT_SWAP(MultiXactId, class_a->relminmxid, class_b->relminmxid);
	convert_write(RelationRelationId, row_a);
	convert_write(RelationRelationId, row_b);
	CommandCounterIncrement();
}

/* TOAST tables are called after what they belong to. */
static void
convert_rename_toast(Oid table)
{
	Relation rel = table_open(table, NoLock);
	Oid toast = RelationGetForm(rel)->reltoastrelid;

	if (OidIsValid(toast))
	{
		Relation toast_rel = table_open(toast, NoLock);
		Oid index = linitial_oid(RelationGetIndexList(toast_rel));

		table_close(toast_rel, NoLock);
		RenameRelationInternal(toast, psprintf("pg_toast_%u", table), true, false);
		CommandCounterIncrement();
		RenameRelationInternal(index, psprintf("pg_toast_%u_index", table), true, true);
		CommandCounterIncrement();
	}
	table_close(rel, NoLock);
}

/* ----------------------------------------------------------------------
 * What is left
 * ----------------------------------------------------------------------
 */

static void
convert_drop_toast(Oid toast)
{
	ObjectAddress address;

	ObjectAddressSet(address, RelationRelationId, toast);
	/* So that it can go alone. */
	(void) deleteDependencyRecordsFor(RelationRelationId, toast, false);
	CommandCounterIncrement();
	performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
}

static void
convert_set_class(Oid table)
{
	Relation classes = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple old = convert_copy(RELOID, table);
	Datum values[Natts_pg_class] = {0};
	bool nulls[Natts_pg_class] = {false};
	bool replaces[Natts_pg_class] = {false};
	HeapTuple row;
	Form_pg_class class;

	/* Settings of its storage. */
	nulls[Anum_pg_class_reloptions - 1] = true;
	replaces[Anum_pg_class_reloptions - 1] = true;
	row = heap_modify_tuple(old, RelationGetDescr(classes), values, nulls, replaces);
	class = (Form_pg_class) GETSTRUCT(row);
	class->relkind = RELKIND_PARTITIONED_TABLE;
	class->relam = InvalidOid;
	class->relfilenode = InvalidOid;
	class->reltablespace = InvalidOid;
	class->relpages = 0;
	class->reltuples = -1;
	class->relallvisible = 0;
	class->reltoastrelid = InvalidOid;
	class->relhasindex = false;
	/*
	 * Else subscribers, who are told of this table and not of its partitions, would hear
	 * of no key and could take no event away.  What is sent is the partition's key.
	 */
	class->relreplident = REPLICA_IDENTITY_FULL;
	class->relfrozenxid = InvalidTransactionId;
	class->relminmxid = InvalidMultiXactId;
	CatalogTupleUpdate(classes, &row->t_self, row);
	heap_freetuple(row);
	heap_freetuple(old);
	table_close(classes, RowExclusiveLock);
	CommandCounterIncrement();
}

/* Make a table that has neither rows nor indexes one that is partitioned by position. */
static void
convert_to_partitioned(Relation events)
{
	AttrNumber column = Anum_events_position;
	Oid operators = GetDefaultOpClass(INT8OID, BTREE_AM_OID);
	Oid collation = InvalidOid;
	Oid table = RelationGetRelid(events);
	Oid toast = RelationGetForm(events)->reltoastrelid;

	/* While it still looks like one that has some. */
	RelationDropStorage(events);
	if (OidIsValid(toast))
		convert_drop_toast(toast);
	RemoveStatistics(table, 0);
	CommandCounterIncrement();
	convert_set_class(table);
	StorePartitionKey(events, PARTITION_STRATEGY_RANGE, 1, &column, NIL, &operators, &collation);
	CommandCounterIncrement();
}

/* ----------------------------------------------------------------------
 * The whole
 * ----------------------------------------------------------------------
 */

static Oid
convert_make_first(Relation events, int64 upto)
{
	char *name = es_make_name(0);
	char *settings = es_ddl_settings(RelationGetRelid(events));

	es_ddl_run("CREATE TABLE %s.%s (LIKE %s.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS "
			   "INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION, "
			   "CONSTRAINT rows_are_in_range CHECK (position < %lld))",
			   ES_SCHEMA, name, ES_SCHEMA, (long long) upto);
	if (settings != NULL)
		es_ddl_run("ALTER TABLE %s.%s SET (%s)", ES_SCHEMA, name, settings);
	return get_relname_relid(name, RelationGetNamespace(events));
}

/* Have the rows, the indexes and all be another table's. */
static Oid
convert_move_out(Relation events, int64 upto)
{
	Oid table = RelationGetRelid(events);
	List *indexes = RelationGetIndexList(events);
	Oid first = convert_make_first(events, upto);
	Relation rel;

	convert_swap_files(table, first);
	CopyStatistics(table, first);
	convert_hand_over_indexes(indexes, table, first);
	convert_to_partitioned(events);
	convert_rename_toast(first);

	/* Its file is an old one, that recovery knows. */
	rel = table_open(first, NoLock);
	es_compat_forget_new_file(rel);
	table_close(rel, NoLock);
	return first;
}

/*
 * Have the rows of eventstore.events become its first range.
 *
 * events: open only once; closed here.
 * upto: it ends before this position; there is none at or above it.
 */
void
es_convert_keep_rows(Relation events, int64 upto)
{
	bool has_row_security = RelationGetForm(events)->relrowsecurity;
	Oid first = convert_move_out(events, upto);
	const char *name = es_ddl_table(first);

	relation_close(events, NoLock);
	es_ddl_protect(first);
	es_ddl_run("ALTER TABLE ONLY eventstore.events ATTACH PARTITION %s FOR VALUES FROM (MINVALUE) TO (%lld)",
			   name, (long long) upto);
	es_ddl_run("ALTER TABLE ONLY %s DROP CONSTRAINT rows_are_in_range", name);
	if (has_row_security)
		es_ddl_run("ALTER TABLE ONLY %s ENABLE ROW LEVEL SECURITY", name);
}

/*
 * Have eventstore.events, which is empty, be partitioned; its ranges come.
 */
void
es_convert_empty(Relation events)
{
	ListCell *cell;

	foreach (cell, RelationGetIndexList(events))
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
	convert_to_partitioned(events);
}
