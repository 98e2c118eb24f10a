/*-------------------------------------------------------------------------
 *
 * direct.c
 *		Insertion of rows without an executor state.
 *
 * Where a table is plain (plain.c), all that an INSERT does is to put rows into
 * it and their keys into the indexes.  To set up an executor state for that costs
 * a single event more than to insert it into the table.  es_direct_open tells
 * whether a table is like that at this moment; the caller's lock keeps it so,
 * except that an index may be added whose entries CREATE INDEX CONCURRENTLY
 * makes itself.
 *
 * Memory: the current context; es_direct_insert leaves there what the table
 * makes of the rows.  Locks: RowExclusive on the indexes until the end of the
 * transaction; the caller holds RowExclusive on the table.  Calls: plain.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "append/direct.h"
#include "append/plain.h"

/* Open all indexes of a table of which nothing is known, and see what it is like. */
static bool
direct_look(EsDirect *direct, Relation table)
{
	uint64 news = es_plain_news();
	List *oids = RelationGetIndexList(table);
	bool is_plain = list_length(oids) <= ES_PLAIN_INDEXES;
	ListCell *cell;

	direct->index_count = 0;
	if (is_plain)
	{
		foreach (cell, oids)
			direct->indexes[direct->index_count++] = index_open(lfirst_oid(cell), RowExclusiveLock);
		/* Looked at last: locking the indexes may have rebuilt the table's entry. */
		is_plain = es_plain_look(table, direct->indexes, direct->index_count, news);
	}
	list_free(oids);
	return is_plain;
}

/* Open the indexes that rows have entries in, of a table that is known to be plain. */
static void
direct_open_known(EsDirect *direct, const EsPlain *known, bool has_tags)
{
	int i;

	direct->index_count = 0;
	for (i = 0; i < known->index_count; i++)
		if (has_tags || !known->indexes[i].is_of_tags)
			direct->indexes[direct->index_count++] = index_open(known->indexes[i].oid,
																RowExclusiveLock);
}

/*
 * Prepare to insert into a table.  Returns false if that takes an executor;
 * else end it with es_direct_close.
 *
 * has_tags: whether any of the rows has some.
 */
bool
es_direct_open(EsDirect *direct, Relation table, bool has_tags)
{
	const EsPlain *known = es_plain_find(table);

	direct->table = table;
	if (known != NULL)
	{
		if (!known->is_plain)
			return false;
		direct_open_known(direct, known, has_tags);
		/* Locking the indexes, we may have heard that it is so no more. */
		if (likely(es_plain_find(table) == known))
			return true;
		es_direct_close(direct);
	}
	if (direct_look(direct, table))
		return true;
	es_direct_close(direct);
	return false;
}

/*
 * Whether eventstore.events, which is made of ranges, does not ask for more than
 * they do: of triggers for statements they know nothing.
 */
bool
es_direct_may_be_passed_by(Relation events)
{
	const EsPlain *known = es_plain_find(events);
	bool is_plain = known != NULL ? known->is_plain
								  : es_plain_look(events, NULL, 0, es_plain_news());

	return is_plain && !RelationGetForm(events)->relispartition;
}

/* What an index's access method may ask for. */
static void
direct_describe_index(Relation index, IndexInfo *info)
{
	const FormData_pg_index *form = index->rd_index;

	memset(info, 0, sizeof(IndexInfo));
	info->type = T_IndexInfo;
	info->ii_NumIndexAttrs = form->indnatts;
	info->ii_NumIndexKeyAttrs = form->indnkeyatts;
	memcpy(info->ii_IndexAttrNumbers, form->indkey.values, sizeof(AttrNumber) * form->indnatts);
	info->ii_Unique = form->indisunique;
	info->ii_NullsNotDistinct = form->indnullsnotdistinct;
	info->ii_ReadyForInserts = true;
	info->ii_Am = index->rd_rel->relam;
	info->ii_Context = CurrentMemoryContext;
}

/* Columns of the rows, as they were before the table took them over. */
typedef struct DirectRows
{
	Datum *values;
	bool *nulls;
	int column_count;
} DirectRows;

/*
 * Keep what stands in slots: a table turns a slot into a row of its own form,
 * and to take its columns apart again costs more than to remember them.
 */
static void
direct_keep_rows(DirectRows *rows, TupleTableSlot **slots, int slot_count)
{
	int count = slots[0]->tts_tupleDescriptor->natts;
	int i;

	rows->column_count = count;
	rows->values = palloc((sizeof(Datum) + sizeof(bool)) * count * slot_count);
	rows->nulls = (bool *) (rows->values + count * slot_count);
	for (i = 0; i < slot_count; i++)
	{
		Assert(slots[i]->tts_nvalid == count);
		memcpy(rows->values + i * count, slots[i]->tts_values, sizeof(Datum) * count);
		memcpy(rows->nulls + i * count, slots[i]->tts_isnull, sizeof(bool) * count);
	}
}

static void
direct_insert_keys(Relation index, Relation table, const DirectRows *rows, TupleTableSlot **slots,
				   int slot_count)
{
	IndexUniqueCheck check = index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];
	IndexInfo info;
	int i;
	int column;

	Assert(index->rd_index->indimmediate);
	direct_describe_index(index, &info);
	for (i = 0; i < slot_count; i++)
	{
		int row = i * rows->column_count;

		for (column = 0; column < info.ii_NumIndexAttrs; column++)
		{
			values[column] = rows->values[row + info.ii_IndexAttrNumbers[column] - 1];
			nulls[column] = rows->nulls[row + info.ii_IndexAttrNumbers[column] - 1];
		}
		(void) index_insert(index, values, nulls, &slots[i]->tts_tid, table, check, false, &info);
	}
}

/*
 * Insert rows, as part of the current command.
 *
 * slots: of the table's own kind, filled as virtual ones are; what their
 * values point to stays where it is.
 */
void
es_direct_insert(EsDirect *direct, TupleTableSlot **slots, int slot_count)
{
	CommandId cid = GetCurrentCommandId(true);
	DirectRows rows;
	int i;

	direct_keep_rows(&rows, slots, slot_count);
	if (slot_count == 1)
		table_tuple_insert(direct->table, slots[0], cid, 0, NULL);
	else
		table_multi_insert(direct->table, slots, slot_count, cid, 0, NULL);
	for (i = 0; i < direct->index_count; i++)
		direct_insert_keys(direct->indexes[i], direct->table, &rows, slots, slot_count);
}

void
es_direct_close(EsDirect *direct)
{
	int i;

	for (i = 0; i < direct->index_count; i++)
		index_close(direct->indexes[i], NoLock);
}
