/*-------------------------------------------------------------------------
 *
 * direct.c
 *		Insertion of rows without an executor state.
 *
 * Where no trigger fires but those of foreign.c, no constraint is to be checked,
 * and every index is a plain B-tree (a unique one of columns that messages may
 * show), or that of tags, all that an INSERT does is to put rows into the table
 * and their keys into the indexes.  To set up an executor state for that costs a
 * single event more than to insert it into the table.  es_direct_open tells
 * whether a table is like that at this moment; the caller's lock keeps it so,
 * except that an index may be added whose entries CREATE INDEX CONCURRENTLY
 * makes itself.
 *
 * Rows are complete: defaults, generated columns and NOT NULL are the caller's.
 *
 * Memory: the current context; es_direct_insert leaves there what the table
 * makes of the rows.  Locks: RowExclusive on the indexes until the end of the
 * transaction; the caller holds RowExclusive on the table.  Calls: conceal,
 * foreign, tag_index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "catalog/pg_trigger.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"

#include "append/direct.h"
#include "append/foreign.h"
#include "base/catalog.h"
#include "base/conceal.h"
#include "condition/tag_index.h"

/* Whether an INSERT fires a trigger that is not for others' only. */
static bool
direct_has_trigger(const TriggerDesc *triggers)
{
	int i;

	if (triggers == NULL)
		return false;
	for (i = 0; i < triggers->numtriggers; i++)
		if (TRIGGER_FOR_INSERT(triggers->triggers[i].tgtype) &&
			!es_foreign_is_noted_by(&triggers->triggers[i]))
			return true;
	return false;
}

/* Whether an INSERT fires no trigger and checks no constraint; of a range, the caller knows that rows are in it. */
static bool
direct_is_plain_table(Relation table)
{
	return !direct_has_trigger(table->trigdesc) && table->rd_rel->relchecks == 0;
}

/*
 * Whether eventstore.events, which is made of ranges, does not ask for more than
 * they do: of triggers for statements they know nothing.  Remembered until the
 * relation cache has news of it.
 */
bool
es_direct_may_be_passed_by(Relation events)
{
	static uint64 generation = PG_UINT64_MAX;
	static bool may_be = false;

	if (unlikely(generation != es_catalog_generation()))
	{
		/* What has no OID there is not heard of. */
		(void) es_catalog_oid(ES_EVENTS);
		generation = es_catalog_generation();
		may_be = direct_is_plain_table(events) && !RelationGetForm(events)->relispartition;
	}
	return may_be;
}

/* Whether the error that a key is there already shows what messages may show. */
static bool
direct_shows_key(const FormData_pg_index *form, Relation table)
{
	int i;

	for (i = 0; i < form->indnkeyatts; i++)
		if (!es_conceal_shows(table, Natts_event, form->indkey.values[i]))
			return false;
	return true;
}

/*
 * Whether an index wants its columns as they are, of every row, and at once:
 * one of a deferrable constraint comes with a trigger.
 */
static bool
direct_is_plain_index(Relation index, Relation table)
{
	const FormData_pg_index *form = index->rd_index;

	return (index->rd_rel->relam == BTREE_AM_OID || es_tag_index_is(index)) && form->indisready &&
		!form->indisexclusion &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, NULL) &&
		heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
		(!form->indisunique || direct_shows_key(form, table));
}

/*
 * Prepare to insert into a table.  Returns false if that takes an executor;
 * else end it with es_direct_close.
 *
 * needless: an index that the rows have no entry for; or InvalidOid.
 */
bool
es_direct_open(EsDirect *direct, Relation table, Oid needless)
{
	List *oids = RelationGetIndexList(table);
	bool is_plain = true;
	ListCell *cell;

	direct->table = table;
	direct->indexes = palloc(sizeof(Relation) * list_length(oids));
	direct->index_count = 0;
	foreach (cell, oids)
	{
		Relation index;

		if (lfirst_oid(cell) == needless)
			continue;
		index = index_open(lfirst_oid(cell), RowExclusiveLock);
		direct->indexes[direct->index_count++] = index;
		is_plain = is_plain && direct_is_plain_index(index, table);
	}
	list_free(oids);

	/* Looked at last: locking the indexes may have rebuilt the table's entry. */
	if (is_plain && direct_is_plain_table(table))
		return true;
	es_direct_close(direct);
	return false;
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
	rows->values = palloc(sizeof(Datum) * count * slot_count);
	rows->nulls = palloc(sizeof(bool) * count * slot_count);
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
	pfree(direct->indexes);
}
