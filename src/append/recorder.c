/*-------------------------------------------------------------------------
 *
 * recorder.c
 *		Insertion into eventstore.events.
 *
 * What one INSERT statement does, without planner and executor: defaults of
 * columns that users added, generated columns, constraints, all indexes, and
 * triggers of every kind, transition tables included.  The contract is that
 * of CopyFrom() in PostgreSQL's copyfrom.c; events go in through
 * table_multi_insert unless there is one alone, or a BEFORE ROW trigger that
 * might look at the table in between.  Where users have added nothing but
 * plain indexes, direct.c does it for less.
 *
 * Where the table is made of ranges of positions, rows go straight into theirs,
 * which almost always is one, the newest; as CopyFrom() does it, triggers for
 * statements and transition tables are those of eventstore.events.
 *
 * Memory: the executor state's own contexts, gone at the end; without one,
 * the current context.  Locks: the caller holds RowExclusive on the table;
 * RowExclusive on the indexes until the end of the statement or transaction.
 * Calls: before, catalog, conceal, direct, foreign, provide, ranges, uuid.  User code runs in triggers, under row
 * locks only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "append/before.h"
#include "append/direct.h"
#include "append/foreign.h"
#include "append/recorder.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/conceal.h"
#include "base/ranges.h"
#include "base/uuid.h"
#include "partition/provide.h"

/* Events that go to the table in one call. */
#define RECORDER_BATCH 256

typedef struct Recorder
{
	Relation events;
	EState *estate;
	ResultRelInfo *root; /* of eventstore.events */

	/* Where rows go: the same, or a range. */
	Relation table; /* NULL: none yet */
	ResultRelInfo *info;
	int64 upto; /* it takes positions below */
	int event_count;

	TransitionCaptureState *capture; /* NULL: no trigger wants it */
	bool has_before_row;
	bool has_generated;

	/* Whose constraints, generated columns or index entries are computed; or NULL. */
	TupleTableSlot *computed;

	/* Defaults of columns after the store's own; NULL where there is none. */
	ExprState **defaults;

	int slot_limit;
	TupleTableSlot **slots;
	int slot_count; /* filled, not yet in the table */
} Recorder;

/* ----------------------------------------------------------------------
 * Rows
 * ----------------------------------------------------------------------
 */

/* The events of a call, in order of position. */
typedef struct RecorderCursor
{
	EsAppend *const *appends;
	int append_count;
	int append; /* which comes next */
	int event;
} RecorderCursor;

/* The event that comes next, if its position is below upto; else NULL. */
static EsEvent *
recorder_peek(RecorderCursor *cursor, int64 upto)
{
	EsEvent *event;

	while (cursor->append < cursor->append_count &&
		   cursor->event == cursor->appends[cursor->append]->event_count)
	{
		cursor->append++;
		cursor->event = 0;
	}
	if (cursor->append == cursor->append_count)
		return NULL;
	event = &cursor->appends[cursor->append]->events[cursor->event];
	return event->position < upto ? event : NULL;
}

static void
recorder_set(TupleTableSlot *slot, int column, Datum value)
{
	slot->tts_values[column - 1] = value;
	slot->tts_isnull[column - 1] = false;
}

static void
recorder_set_pointer(TupleTableSlot *slot, int column, const void *value)
{
	slot->tts_values[column - 1] = PointerGetDatum(value);
	slot->tts_isnull[column - 1] = (value == NULL);
}

/* Columns that users added get their default, as in any INSERT. */
static void
recorder_set_defaults(Recorder *recorder, TupleTableSlot *slot)
{
	ExprContext *context = GetPerTupleExprContext(recorder->estate);
	int natts = slot->tts_tupleDescriptor->natts;
	int i;

	for (i = Natts_event; i < natts; i++)
	{
		slot->tts_values[i] = (Datum) 0;
		slot->tts_isnull[i] = true;
		if (recorder->defaults != NULL && recorder->defaults[i] != NULL)
			slot->tts_values[i] = ExecEvalExprSwitchContext(recorder->defaults[i], context,
															&slot->tts_isnull[i]);
	}
}

/* The store's own columns; the slot is empty, and not yet stored. */
static void
recorder_fill(TupleTableSlot *slot, const EsAppend *append, EsEvent *event)
{
	recorder_set(slot, Anum_events_position, Int64GetDatum(event->position));
	recorder_set_pointer(slot, Anum_events_stream, append->stream);
	recorder_set_pointer(slot, Anum_events_category, append->category);
	recorder_set(slot, Anum_events_version, Int64GetDatum(event->version));
	recorder_set_pointer(slot, Anum_events_id, &event->id);
	recorder_set_pointer(slot, Anum_events_type, event->type);
	recorder_set_pointer(slot, Anum_events_data, event->data);
	recorder_set_pointer(slot, Anum_events_metadata, event->metadata);
	recorder_set_pointer(slot, Anum_events_tags, event->tags);
	recorder_set(slot, Anum_events_recorded_at, TimestampTzGetDatum(append->recorded_at));
}

/* ----------------------------------------------------------------------
 * Table and indexes
 * ----------------------------------------------------------------------
 */

/* Put the filled slots into the table and its indexes. */
static void
recorder_flush(Recorder *recorder)
{
	EState *estate = recorder->estate;
	CommandId cid = GetCurrentCommandId(true);
	MemoryContext caller;
	int i;

	if (recorder->slot_count == 0)
		return;

	/* table_multi_insert leaks. */
	caller = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	if (recorder->slot_count == 1)
		table_tuple_insert(recorder->table, recorder->slots[0], cid, 0, NULL);
	else
		table_multi_insert(recorder->table, recorder->slots, recorder->slot_count, cid, 0, NULL);
	MemoryContextSwitchTo(caller);

	for (i = 0; i < recorder->slot_count; i++)
	{
		TupleTableSlot *slot = recorder->slots[i];
		List *recheck = NIL;

		recorder->computed = slot;
		if (recorder->info->ri_NumIndices > 0)
			recheck = es_compat_add_entries(recorder->info, slot, estate);
		/* Only whether they are to fire at the end is computed here. */
		ExecARInsertTriggers(estate, recorder->info, slot, recheck, recorder->capture);
		recorder->computed = NULL;
		list_free(recheck);
		ExecClearTuple(slot);
	}
	recorder->slot_count = 0;
	ResetPerTupleExprContext(estate);
}

static void
recorder_add(Recorder *recorder, const EsAppend *append, EsEvent *event)
{
	TupleTableSlot **slot = &recorder->slots[recorder->slot_count];

	if (*slot == NULL)
		*slot = table_slot_create(recorder->table, &recorder->estate->es_tupleTable);
	ExecClearTuple(*slot);
	recorder_fill(*slot, append, event);
	recorder_set_defaults(recorder, *slot);
	ExecStoreVirtualTuple(*slot);
	(*slot)->tts_tableOid = RelationGetRelid(recorder->table);
	if (recorder->has_before_row)
		es_before_fire(recorder->estate, recorder->info, *slot, append, event);
	recorder->computed = *slot;
	if (recorder->has_generated)
		ExecComputeStoredGenerated(recorder->info, recorder->estate, *slot, CMD_INSERT);
	if (recorder->table->rd_att->constr != NULL)
		ExecConstraints(recorder->info, *slot, recorder->estate);
	if (recorder->table->rd_rel->relispartition)
		(void) ExecPartitionCheck(recorder->info, *slot, recorder->estate, true);
	recorder->computed = NULL;

	if (++recorder->slot_count == recorder->slot_limit)
		recorder_flush(recorder);
}

/* ----------------------------------------------------------------------
 * One statement
 * ----------------------------------------------------------------------
 */

static ExprState **
recorder_find_defaults(Relation events, EState *estate)
{
	TupleDesc desc = RelationGetDescr(events);
	ExprState **defaults;
	int i;

	if (desc->natts == Natts_event)
		return NULL;

	defaults = palloc0(sizeof(ExprState *) * desc->natts);
	for (i = Natts_event; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		Node *expression;

		if (column->attisdropped || column->attgenerated)
			continue;
		expression = build_column_default(events, i + 1);
		if (expression != NULL)
			defaults[i] = ExecPrepareExpr((Expr *) expression, estate);
	}
	return defaults;
}

/* Have rows go to a table: eventstore.events, or one of its ranges. */
static void
recorder_enter(Recorder *recorder, Relation table, int64 upto)
{
	MemoryContext caller = MemoryContextSwitchTo(recorder->estate->es_query_cxt);
	bool is_range = table != recorder->events;
	TriggerDesc *triggers;
	TupleConstr *constraints;

	recorder->table = table;
	recorder->upto = upto;
	recorder->info = recorder->root;
	if (is_range)
	{
		recorder->info = makeNode(ResultRelInfo);
		InitResultRelInfo(recorder->info, table, 0, recorder->root, 0);
		recorder->estate->es_opened_result_relations =
			lappend(recorder->estate->es_opened_result_relations, recorder->info);
	}
	ExecOpenIndices(recorder->info, false);

	/* The copy: locking the indexes may have rebuilt the relcache entry. */
	triggers = recorder->info->ri_TrigDesc;
	if (triggers != NULL)
		es_foreign_allow(triggers);
	constraints = table->rd_att->constr;

	recorder->has_before_row = triggers != NULL && triggers->trig_insert_before_row;
	recorder->has_generated = constraints != NULL && constraints->has_generated_stored;
	recorder->defaults = recorder_find_defaults(table, recorder->estate);
	recorder->slot_limit = recorder->has_before_row ? 1
													: Min(recorder->event_count, RECORDER_BATCH);
	recorder->slots = palloc0(sizeof(TupleTableSlot *) * recorder->slot_limit);
	recorder->slot_count = 0;
	MemoryContextSwitchTo(caller);
}

/* Have rows go to the range that a position is in. */
static void
recorder_enter_range(Recorder *recorder, int64 position)
{
	EsRange range = es_provide_range(recorder->events, position);

	recorder_flush(recorder);
	recorder_enter(recorder, table_open(range.table, RowExclusiveLock), range.upto);
}

static void
recorder_begin(Recorder *recorder, Relation events, int event_count)
{
	MemoryContext caller;

	recorder->events = events;
	recorder->event_count = event_count;
	recorder->estate = CreateExecutorState();
	caller = MemoryContextSwitchTo(recorder->estate->es_query_cxt);
	recorder->root = makeNode(ResultRelInfo);
	InitResultRelInfo(recorder->root, events, 0, NULL, 0);
	/* So that triggers find it, rather than open the table once more. */
	recorder->estate->es_opened_result_relations = list_make1(recorder->root);
	if (es_ranges_are_of(events))
		recorder->upto = PG_INT64_MIN;
	else
		recorder_enter(recorder, events, PG_INT64_MAX);
	if (recorder->root->ri_TrigDesc != NULL)
		es_foreign_allow(recorder->root->ri_TrigDesc);

	AfterTriggerBeginQuery();
	recorder->capture = MakeTransitionCaptureState(recorder->root->ri_TrigDesc,
												   RelationGetRelid(events), CMD_INSERT);
	ExecBSInsertTriggers(recorder->estate, recorder->root);
	MemoryContextSwitchTo(caller);
}

/* Close the ranges that rows went to. */
static void
recorder_close_ranges(Recorder *recorder)
{
	ListCell *cell;

	foreach (cell, recorder->estate->es_opened_result_relations)
	{
		ResultRelInfo *info = lfirst(cell);

		if (info != recorder->root)
			table_close(info->ri_RelationDesc, NoLock);
	}
}

static void
recorder_end(Recorder *recorder)
{
	EState *estate = recorder->estate;

	ExecASInsertTriggers(estate, recorder->root, recorder->capture);
	AfterTriggerEndQuery(estate);
	ExecResetTupleTable(estate->es_tupleTable, false);
	ExecCloseResultRelations(estate);
	recorder_close_ranges(recorder);
	FreeExecutorState(estate);
}

static void
recorder_run(Recorder *recorder, Relation events, RecorderCursor *cursor, int event_count)
{
	EsEvent *event;

	recorder_begin(recorder, events, event_count);
	while ((event = recorder_peek(cursor, PG_INT64_MAX)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (event->position >= recorder->upto)
			recorder_enter_range(recorder, event->position);
		recorder_add(recorder, cursor->appends[cursor->append], event);
		cursor->event++;
	}
	recorder_flush(recorder);
	recorder_end(recorder);
}

/* What a message may tell of the event that was being put into the table; NULL: it is not known. */
static const char *
recorder_describe(TupleTableSlot *slot)
{
	if (slot == NULL)
		return NULL;
	slot_getsomeattrs(slot, Anum_events_type);
	if (slot->tts_isnull[Anum_events_type - 1])
		return NULL;
	return psprintf("It is an event of type \"%s\" for version %lld of stream \"%s\".",
					TextDatumGetCString(slot->tts_values[Anum_events_type - 1]),
					(long long) DatumGetInt64(slot->tts_values[Anum_events_version - 1]),
					TextDatumGetCString(slot->tts_values[Anum_events_stream - 1]));
}

static void
recorder_insert(Relation events, RecorderCursor *cursor, int event_count)
{
	MemoryContext caller = CurrentMemoryContext;
	Recorder *recorder = palloc0(sizeof(Recorder));

	PG_TRY();
	{
		recorder_run(recorder, events, cursor, event_count);
	}
	PG_CATCH();
	{
		EsConceal conceal = {.table = events,
							 .own_columns = Natts_event,
							 .is_expression = recorder->computed != NULL};

		MemoryContextSwitchTo(caller);
		conceal.row = recorder_describe(recorder->computed);
		es_conceal_rethrow(&conceal, caller);
	}
	PG_END_TRY();
	pfree(recorder);
}

/* ----------------------------------------------------------------------
 * Without an executor
 * ----------------------------------------------------------------------
 */

/* rows: a context for what is made of the slots; NULL if that is little. */
static void
recorder_flush_directly(EsDirect *direct, TupleTableSlot **slots, int slot_count, MemoryContext rows)
{
	MemoryContext caller = CurrentMemoryContext;

	if (rows != NULL)
		MemoryContextSwitchTo(rows);
	es_direct_insert(direct, slots, slot_count);
	MemoryContextSwitchTo(caller);
	if (rows != NULL)
		MemoryContextReset(rows);
}

/* upto: the table takes positions below. */
static void
recorder_insert_directly(EsDirect *direct, RecorderCursor *cursor, int event_count, int64 upto)
{
	int slot_limit = Min(event_count, RECORDER_BATCH);
	int slot_count = 0;
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * slot_limit);
	TupleDesc desc = RelationGetDescr(direct->table);
	MemoryContext rows = NULL;
	EsEvent *event;
	int i;

	if (event_count > 1)
	{
		rows = AllocSetContextCreate(CurrentMemoryContext, "eventstore rows",
									 ALLOCSET_DEFAULT_SIZES);
		/* A copy: to keep count of hundreds of references costs more. */
		desc = CreateTupleDescCopy(desc);
	}
	for (i = 0; i < slot_limit; i++)
		slots[i] = MakeSingleTupleTableSlot(desc, table_slot_callbacks(direct->table));

	while ((event = recorder_peek(cursor, upto)) != NULL)
	{
		TupleTableSlot *slot = slots[slot_count++];

		CHECK_FOR_INTERRUPTS();
		recorder_fill(ExecClearTuple(slot), cursor->appends[cursor->append], event);
		ExecStoreVirtualTuple(slot);
		cursor->event++;
		if (slot_count == slot_limit)
		{
			recorder_flush_directly(direct, slots, slot_count, rows);
			slot_count = 0;
		}
	}
	if (slot_count > 0)
		recorder_flush_directly(direct, slots, slot_count, rows);

	for (i = 0; i < slot_limit; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	if (rows != NULL)
		MemoryContextDelete(rows);
	pfree(slots);
}

/* ----------------------------------------------------------------------
 * Into ranges
 * ----------------------------------------------------------------------
 */

/* Insert what goes into the range that comes next.  Returns false if that takes an executor. */
static bool
recorder_insert_into_range(Relation events, RecorderCursor *cursor, int event_count, bool has_tags)
{
	EsRange range = es_provide_range(events, recorder_peek(cursor, PG_INT64_MAX)->position);
	Relation table = table_open(range.table, RowExclusiveLock);
	EsDirect direct;
	bool is_direct = es_direct_open(&direct, table, has_tags);

	if (is_direct)
	{
		recorder_insert_directly(&direct, cursor, event_count, range.upto);
		es_direct_close(&direct);
	}
	table_close(table, NoLock);
	return is_direct;
}

static void
recorder_insert_by_range(Relation events, RecorderCursor *cursor, int event_count, bool has_tags)
{
	int64 first = recorder_peek(cursor, PG_INT64_MAX)->position;
	bool is_direct = es_direct_may_be_passed_by(events);

	while (is_direct && recorder_peek(cursor, PG_INT64_MAX) != NULL)
		is_direct = recorder_insert_into_range(events, cursor, event_count, has_tags);
	if (!is_direct)
		recorder_insert(events, cursor, event_count);
	es_provide_ahead(events, first, cursor->appends[cursor->append_count - 1]->last_position);
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
	RecorderCursor cursor = {.appends = appends, .append_count = append_count};
	EsDirect direct;

	if (es_ranges_are_of(events))
		recorder_insert_by_range(events, &cursor, event_count, has_tags);
	else if (!RelationGetForm(events)->relispartition && es_direct_open(&direct, events, has_tags))
	{
		recorder_insert_directly(&direct, &cursor, event_count, PG_INT64_MAX);
		es_direct_close(&direct);
	}
	else
		recorder_insert(events, &cursor, event_count);
}
