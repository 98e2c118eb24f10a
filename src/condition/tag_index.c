/*-------------------------------------------------------------------------
 *
 * tag_index.c
 *		The index of tags: a B-tree with an entry for each tag of an event.
 *
 * "What has this tag, after that position?" wants entries (tag, position) in
 * order.  A B-tree has one entry a row, GIN knows no positions, and a table of
 * tags beside the events would have to be kept equal to them by whoever
 * restores, replicates or moves them.  So this is an index access method: its
 * index has the columns (tags, position), of which the first is stored as one
 * tag's key, and everything but what comes in is PostgreSQL's nbtree: pages,
 * WAL, scans, vacuum.  An event without tags makes no entry.
 *
 * A tag's key is its hash with 64 bits, the same everywhere and for ever: two
 * numbers are compared in a fraction of the instructions that texts take, some
 * two dozen times for each entry, and an entry has 24 bytes whatever the tag.
 * Other tags may have the same key, so whoever finds a row by it looks whether
 * it has the tag.
 *
 * nbtree takes for granted that no two entries that it may delete at once
 * point to one row, which is not so here; but it deletes only what scans have
 * marked, or what UPDATEs leave, and neither is allowed to happen: entries of
 * dead rows go by vacuum.  The planner never uses such an index: it has no
 * operators.  (Scans without an operator: scan keys carry their functions.)
 *
 * Memory: the caller's contexts.  Locks: nbtree's.  Calls: partition.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/amapi.h"
#include "access/genam.h"
#include "access/nbtree.h"
#include "access/tableam.h"
#include "access/xloginsert.h"
#include "catalog/index.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplesort.h"

#include "base/compat.h"
#include "base/partition.h"
#include "condition/tag_index.h"

PG_FUNCTION_INFO_V1(es_tag_index_handler);

/* ----------------------------------------------------------------------
 * Entries
 * ----------------------------------------------------------------------
 */

/* What the index has of a tag. */
Datum
es_tag_index_key(const text *tag)
{
	return Int64GetDatum((int64) es_partition_hash(tag));
}

static int
tag_index_compare(const void *a, const void *b)
{
	int64 left = DatumGetInt64(*(const Datum *) a);
	int64 right = DatumGetInt64(*(const Datum *) b);

	return (left > right) - (left < right);
}

/*
 * The different keys of an array of tags, in their order; nulls are none.
 *
 * count: receives how many.
 */
static Datum *
tag_index_get_keys(Datum array, int *count)
{
	ArrayType *tags = DatumGetArrayTypeP(array);
	Datum *elements;
	bool *nulls;
	int all;
	int kept = 0;
	int i;

	deconstruct_array(tags, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &all);
	for (i = 0; i < all; i++)
		if (!nulls[i])
			elements[kept++] = es_tag_index_key(DatumGetTextPP(elements[i]));
	qsort(elements, kept, sizeof(Datum), tag_index_compare);
	*count = 0;
	for (i = 0; i < kept; i++)
		if (*count == 0 || elements[*count - 1] != elements[i])
			elements[(*count)++] = elements[i];
	return elements;
}

/* values, nulls: of the index's columns, as the table has them. */
static bool
tag_index_insert(Relation index, Datum *values, bool *nulls, ItemPointer tid, Relation heap,
				 IndexUniqueCheck check, bool is_unchanged, struct IndexInfo *info)
{
	Datum entry[2];
	Datum *keys;
	int count;
	int i;

	if (nulls[0])
		return false;
	entry[1] = values[1];
	keys = tag_index_get_keys(values[0], &count);
	for (i = 0; i < count; i++)
	{
		IndexTuple tuple;

		entry[0] = keys[i];
		tuple = index_form_tuple(RelationGetDescr(index), entry, nulls);
		tuple->t_tid = *tid;
		/* Never as of an UPDATE: see the header. */
		(void) _bt_doinsert(index, tuple, UNIQUE_CHECK_NO, false, heap);
		pfree(tuple);
	}
	return false;
}

/* ----------------------------------------------------------------------
 * Building
 * ----------------------------------------------------------------------
 */

/* Entries are sorted as rows of these columns; nbtree's own sort wants nbtree's indexes. */
enum
{
	TAG_INDEX_KEY = 1,
	TAG_INDEX_POSITION,
	TAG_INDEX_TID,
	TAG_INDEX_COLUMNS = TAG_INDEX_TID
};

typedef struct TagIndexBuild
{
	Tuplesortstate *sort;
	TupleTableSlot *entry; /* the columns above */
	MemoryContext context; /* for one row */
	double entries;
} TagIndexBuild;

static void
tag_index_begin_sort(TagIndexBuild *build)
{
	TupleDesc desc = CreateTemplateTupleDesc(TAG_INDEX_COLUMNS);
	AttrNumber columns[] = {TAG_INDEX_KEY, TAG_INDEX_POSITION, TAG_INDEX_TID};
	Oid operators[] = {Int8LessOperator, Int8LessOperator, TIDLessOperator};
	Oid collations[] = {InvalidOid, InvalidOid, InvalidOid};
	bool nulls_first[] = {false, false, false};

	TupleDescInitEntry(desc, TAG_INDEX_KEY, "key", INT8OID, -1, 0);
	TupleDescInitEntry(desc, TAG_INDEX_POSITION, "position", INT8OID, -1, 0);
	TupleDescInitEntry(desc, TAG_INDEX_TID, "tid", TIDOID, -1, 0);
	build->entry = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	build->sort = tuplesort_begin_heap(desc, TAG_INDEX_COLUMNS, columns, operators, collations,
									   nulls_first, maintenance_work_mem, NULL, TUPLESORT_NONE);
	build->context = AllocSetContextCreate(CurrentMemoryContext, "tags of a row",
										   ALLOCSET_DEFAULT_SIZES);
}

static void
tag_index_end_sort(TagIndexBuild *build)
{
	tuplesort_end(build->sort);
	ExecDropSingleTupleTableSlot(build->entry);
	MemoryContextDelete(build->context);
}

static void
tag_index_on_row(Relation index, ItemPointer tid, Datum *values, bool *nulls, bool is_alive,
				 void *state)
{
	TagIndexBuild *build = state;
	MemoryContext caller = MemoryContextSwitchTo(build->context);
	Datum *keys;
	int count = 0;
	int i;

	keys = nulls[0] ? NULL : tag_index_get_keys(values[0], &count);
	for (i = 0; i < count; i++)
	{
		ExecClearTuple(build->entry);
		build->entry->tts_values[TAG_INDEX_KEY - 1] = keys[i];
		build->entry->tts_values[TAG_INDEX_POSITION - 1] = values[1];
		build->entry->tts_values[TAG_INDEX_TID - 1] = PointerGetDatum(tid);
		memset(build->entry->tts_isnull, false, sizeof(bool) * TAG_INDEX_COLUMNS);
		ExecStoreVirtualTuple(build->entry);
		tuplesort_puttupleslot(build->sort, build->entry);
		build->entries++;
	}
	ExecClearTuple(build->entry);
	MemoryContextSwitchTo(caller);
	MemoryContextReset(build->context);
}

/* Put a sorted entry into the index. */
static void
tag_index_add(Relation index, Relation heap, TupleTableSlot *entry)
{
	bool nulls[] = {false, false};
	IndexTuple tuple;

	slot_getallattrs(entry);
	tuple = index_form_tuple(RelationGetDescr(index), entry->tts_values, nulls);
	tuple->t_tid = *(ItemPointer) DatumGetPointer(entry->tts_values[TAG_INDEX_TID - 1]);
	(void) _bt_doinsert(index, tuple, UNIQUE_CHECK_NO, false, heap);
	pfree(tuple);
}

/* The page that a B-tree begins with; its root comes with the first entry. */
static void
tag_index_make_empty(Relation index)
{
	Buffer buffer = ReadBuffer(index, P_NEW);

	Assert(BufferGetBlockNumber(buffer) == BTREE_METAPAGE);
	LockBuffer(buffer, BUFFER_LOCK_EXCLUSIVE);
	START_CRIT_SECTION();
	_bt_initmetapage(BufferGetPage(buffer), P_NONE, 0, false);
	MarkBufferDirty(buffer);
	if (RelationNeedsWAL(index))
		log_newpage_buffer(buffer, true);
	END_CRIT_SECTION();
	UnlockReleaseBuffer(buffer);
}

/* Entries go in one after the other, but in their order, each behind the last. */
static IndexBuildResult *
tag_index_build(Relation heap, Relation index, struct IndexInfo *info)
{
	IndexBuildResult *result = palloc0(sizeof(IndexBuildResult));
	TagIndexBuild build = {0};

	tag_index_make_empty(index);
	tag_index_begin_sort(&build);
	result->heap_tuples = table_index_build_scan(heap, index, info, true, true, tag_index_on_row,
												 &build, NULL);
	tuplesort_performsort(build.sort);
	while (tuplesort_gettupleslot(build.sort, true, false, build.entry, NULL))
	{
		CHECK_FOR_INTERRUPTS();
		tag_index_add(index, heap, build.entry);
	}
	tag_index_end_sort(&build);
	result->index_tuples = build.entries;
	return result;
}

/* ----------------------------------------------------------------------
 * The access method
 * ----------------------------------------------------------------------
 */

static bool
tag_index_get_tuple(IndexScanDesc scan, ScanDirection direction)
{
	/* No entry is marked as dead: see the header. */
	scan->kill_prior_tuple = false;
	return btgettuple(scan, direction);
}

/* Whether an index is one of these. */
bool
es_tag_index_is(Relation index)
{
	return index->rd_indam->aminsert == tag_index_insert;
}

static bool
tag_index_validate(Oid opclass)
{
	return true;
}

/*
 * eventstore.tag_index_handler(internal) -> index_am_handler
 */
Datum
es_tag_index_handler(PG_FUNCTION_ARGS)
{
	IndexAmRoutine *routine = GetIndexAmRoutine(F_BTHANDLER);

	routine->amstorage = true; /* an array comes in, a tag's key is stored */
	routine->ambuild = tag_index_build;
	routine->aminsert = tag_index_insert;
	routine->amgettuple = tag_index_get_tuple;
	routine->amgetbitmap = NULL;
	routine->amvalidate = tag_index_validate;
	routine->amadjustmembers = NULL;

	/* Nothing that would let the planner or DDL take it for a B-tree of its columns. */
	routine->amcanorder = false;
	routine->amcanorderbyop = false;
	routine->amcanunique = false;
	routine->amoptionalkey = false;
	routine->amsearcharray = false;
	routine->amsearchnulls = false;
	routine->amclusterable = false;
	routine->amcanparallel = false;
	routine->amcaninclude = false;
	routine->amcanreturn = NULL;
	routine->amestimateparallelscan = NULL;
	routine->aminitparallelscan = NULL;
	routine->amparallelrescan = NULL;
	es_compat_refuse_parallel_build(routine);
	PG_RETURN_POINTER(routine);
}
