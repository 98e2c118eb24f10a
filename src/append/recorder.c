/*-------------------------------------------------------------------------
 *
 * recorder.c
 *		Insertion into eventstore.events.
 *
 * As one INSERT statement does it, statement.c; where users have added nothing
 * but plain indexes, direct.c does the same for less.  Where the table is made of
 * ranges of positions, rows go straight into theirs.
 *
 * Memory: the current context.  Locks: the caller holds RowExclusive on the table;
 * RowExclusive on ranges and indexes until the end of the transaction.  Calls:
 * direct, provide, ranges, rows, statement, uuid.  User code runs in triggers,
 * under row locks only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "append/direct.h"
#include "append/recorder.h"
#include "append/rows.h"
#include "append/statement.h"
#include "base/ranges.h"
#include "base/uuid.h"
#include "partition/provide.h"

/* ----------------------------------------------------------------------
 * Into a table
 * ----------------------------------------------------------------------
 */

/* context: for what is made of the slots; NULL if that is little. */
static void
recorder_flush(EsDirect *direct, TupleTableSlot **slots, int slot_count, MemoryContext context)
{
	MemoryContext caller = CurrentMemoryContext;

	if (context != NULL)
		MemoryContextSwitchTo(context);
	es_direct_insert(direct, slots, slot_count);
	MemoryContextSwitchTo(caller);
	if (context != NULL)
		MemoryContextReset(context);
}

/* event_count: at least one; upto: the table takes positions below. */
static void
recorder_insert_directly(EsDirect *direct, EsRows *rows, int event_count, int64 upto)
{
	int slot_limit = Max(Min(event_count, ES_ROWS_BATCH), 1);
	int slot_count = 0;
	TupleTableSlot *slots[ES_ROWS_BATCH];
	TupleDesc desc = RelationGetDescr(direct->table);
	MemoryContext context = NULL;
	EsEvent *event;
	int i;

	if (event_count > 1)
	{
		context = AllocSetContextCreate(CurrentMemoryContext, "eventstore rows",
										ALLOCSET_DEFAULT_SIZES);
		/* A copy: to keep count of hundreds of references costs more. */
		desc = CreateTupleDescCopy(desc);
	}
	for (i = 0; i < slot_limit; i++)
		slots[i] = MakeSingleTupleTableSlot(desc, table_slot_callbacks(direct->table));

	while ((event = es_rows_peek(rows, upto)) != NULL)
	{
		TupleTableSlot *slot = slots[slot_count++];

		CHECK_FOR_INTERRUPTS();
		es_rows_fill(ExecClearTuple(slot), rows->appends[rows->append], event);
		ExecStoreVirtualTuple(slot);
		rows->event++;
		if (slot_count == slot_limit)
		{
			recorder_flush(direct, slots, slot_count, context);
			slot_count = 0;
		}
	}
	if (slot_count > 0)
		recorder_flush(direct, slots, slot_count, context);

	for (i = 0; i < slot_limit; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	if (context != NULL)
		MemoryContextDelete(context);
}

/* ----------------------------------------------------------------------
 * Into ranges
 * ----------------------------------------------------------------------
 */

/* Insert what goes into the range that comes next.  Returns false if that takes an executor. */
static bool
recorder_insert_into_range(Relation events, EsRows *rows, int event_count, bool has_tags)
{
	EsRange range = es_provide_range(events, es_rows_peek(rows, PG_INT64_MAX)->position);
	Relation table = table_open(range.table, RowExclusiveLock);
	EsDirect direct;
	bool is_direct = es_direct_open(&direct, table, has_tags);

	if (is_direct)
	{
		recorder_insert_directly(&direct, rows, event_count, range.upto);
		es_direct_close(&direct);
	}
	table_close(table, NoLock);
	return is_direct;
}

static void
recorder_insert_by_range(Relation events, EsRows *rows, int event_count, bool has_tags)
{
	int64 first = es_rows_peek(rows, PG_INT64_MAX)->position;
	bool is_direct = es_direct_may_be_passed_by(events);

	while (is_direct && es_rows_peek(rows, PG_INT64_MAX) != NULL)
		is_direct = recorder_insert_into_range(events, rows, event_count, has_tags);
	if (!is_direct)
		es_statement_insert(events, rows, event_count);
	es_provide_ahead(events, first, rows->appends[rows->append_count - 1]->last_position);
}

/* ----------------------------------------------------------------------
 * The whole call
 * ----------------------------------------------------------------------
 */

/*
 * Make the ids that callers did not give.  Returns the count of events.
 *
 * has_tags: receives whether any of them has some.
 */
static int
recorder_make_ids(EsAppend *const *appends, int append_count, bool *has_tags)
{
	TimestampTz now = GetCurrentTimestamp();
	int event_count = 0;
	int i;
	int j;

	*has_tags = false;
	for (i = 0; i < append_count; i++)
	{
		event_count += appends[i]->event_count;
		for (j = 0; j < appends[i]->event_count; j++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!appends[i]->events[j].has_given_id)
				es_uuid_make(now, &appends[i]->events[j].id);
			*has_tags = *has_tags || appends[i]->events[j].tags != NULL;
		}
	}
	return event_count;
}

/*
 * Insert the events of all appends, in their order, as one statement.
 *
 * Positions, versions and times are set; ids that callers did not give are
 * made here.
 */
void
es_recorder_insert(Relation events, EsAppend *const *appends, int append_count)
{
	bool has_tags;
	int event_count = recorder_make_ids(appends, append_count, &has_tags);
	EsRows rows = {.appends = appends, .append_count = append_count};
	EsDirect direct;

	if (es_ranges_are_of(events))
		recorder_insert_by_range(events, &rows, event_count, has_tags);
	else if (!RelationGetForm(events)->relispartition && es_direct_open(&direct, events, has_tags))
	{
		recorder_insert_directly(&direct, &rows, event_count, PG_INT64_MAX);
		es_direct_close(&direct);
	}
	else
		es_statement_insert(events, &rows, event_count);
}
