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
 * Where indexes cannot be handed over they are made once more.
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
 * table.  Calls: ddl, hand_over, make, ranges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

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
#include "partition/hand_over.h"
#include "partition/make.h"

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
	HeapTuple row_a = es_hand_over_copy(RELOID, a);
	HeapTuple row_b = es_hand_over_copy(RELOID, b);
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
	es_hand_over_write(RelationRelationId, row_a);
	es_hand_over_write(RelationRelationId, row_b);
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
	HeapTuple old = es_hand_over_copy(RELOID, table);
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

/* A new table's constraints are valid; rows that come to it may break those that are not. */
static void
convert_keep_unvalidated(const TupleConstr *constraints, Oid first)
{
	int i;

	for (i = 0; constraints != NULL && i < constraints->num_check; i++)
		if (!constraints->check[i].ccvalid)
		{
			HeapTuple row =
				es_hand_over_copy(CONSTROID,
								  get_relation_constraint_oid(first, constraints->check[i].ccname,
															  false));

			((Form_pg_constraint) GETSTRUCT(row))->convalidated = false;
			es_hand_over_write(ConstraintRelationId, row);
		}
	CacheInvalidateRelcacheByRelid(first);
	CommandCounterIncrement();
}

static Oid
convert_make_first(Relation events, int64 upto, bool with_indexes)
{
	char *name = es_make_name(0);
	char *settings = es_ddl_settings(RelationGetRelid(events));
	Oid first;

	es_ddl_run("CREATE TABLE %s.%s (LIKE %s.events INCLUDING DEFAULTS INCLUDING CONSTRAINTS "
			   "INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION %s, "
			   "CONSTRAINT rows_are_in_range CHECK (position < %lld))",
			   ES_SCHEMA, name, ES_SCHEMA, with_indexes ? "INCLUDING INDEXES" : "",
			   (long long) upto);
	if (settings != NULL)
		es_ddl_run("ALTER TABLE %s.%s SET (%s)", ES_SCHEMA, name, settings);
	first = get_relname_relid(name, RelationGetNamespace(events));
	convert_keep_unvalidated(RelationGetDescr(events)->constr, first);
	return first;
}

/* Have the rows, the indexes and all be another table's. */
static Oid
convert_move_out(Relation events, int64 upto)
{
	Oid table = RelationGetRelid(events);
	List *indexes = RelationGetIndexList(events);
	bool is_possible = es_hand_over_is_possible(indexes);
	Oid first = convert_make_first(events, upto, !is_possible);
	Relation rel;

	convert_swap_files(table, first);
	CopyStatistics(table, first);
	if (is_possible)
		es_hand_over_indexes(indexes, table, first);
	else
		es_hand_over_drop(indexes);
	convert_to_partitioned(events);
	convert_rename_toast(first);
	if (!is_possible)
		es_ddl_run("REINDEX TABLE %s", es_ddl_table(first));

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
	es_hand_over_drop(RelationGetIndexList(events));
	convert_to_partitioned(events);
}
