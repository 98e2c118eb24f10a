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
 * A trigger may refuse an event by an error, or change what it says, but not
 * drop it or move it: its place in the stream is promised already.
 *
 * Memory: the executor state's own contexts, gone at the end; without one,
 * the current context.  Locks: the caller holds RowExclusive on the table;
 * RowExclusive on the indexes until the end of the statement or transaction.
 * Calls: catalog, direct, names, uuid.  User code runs in triggers, under row
 * locks only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
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

#include "append/direct.h"
#include "append/recorder.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/uuid.h"

/* Events that go to the table in one call. */
#define RECORDER_BATCH 256

typedef struct Recorder
{
	Relation events;
	EState *estate;
	ResultRelInfo *info;
	TransitionCaptureState *capture; /* NULL: no trigger wants it */
	bool has_before_row;
	bool has_generated;

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
 * Triggers
 * ----------------------------------------------------------------------
 */

/* The columns that a trigger must leave as they are. */
static const AttrNumber recorder_fixed_columns[] = {Anum_events_position, Anum_events_stream,
													Anum_events_category, Anum_events_version,
													Anum_events_id,       Anum_events_recorded_at};

#define RECORDER_VALUE(slot, column) ((slot)->tts_values[(column) -1])

static bool
recorder_is_unmoved(TupleTableSlot *slot, const EsAppend *append, const EsEvent *event)
{
	int i;

	slot_getsomeattrs(slot, Natts_event);
	for (i = 0; i < lengthof(recorder_fixed_columns); i++)
		if (slot->tts_isnull[recorder_fixed_columns[i] - 1])
			return false;
	return DatumGetInt64(RECORDER_VALUE(slot, Anum_events_position)) == event->position &&
		es_names_equal(DatumGetTextPP(RECORDER_VALUE(slot, Anum_events_stream)), append->stream) &&
		es_names_equal(DatumGetTextPP(RECORDER_VALUE(slot, Anum_events_category)),
					   append->category) &&
		DatumGetInt64(RECORDER_VALUE(slot, Anum_events_version)) == event->version &&
		memcmp(DatumGetUUIDP(RECORDER_VALUE(slot, Anum_events_id)), &event->id, UUID_LEN) == 0 &&
		DatumGetTimestampTz(RECORDER_VALUE(slot, Anum_events_recorded_at)) == append->recorded_at;
}

static void
recorder_fire_before_row(Recorder *recorder, TupleTableSlot *slot, const EsAppend *append,
						 const EsEvent *event)
{
	if (!ExecBRInsertTriggers(recorder->estate, recorder->info, slot))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a BEFORE trigger on \"%s.%s\" dropped an event",
						ES_SCHEMA, RelationGetRelationName(recorder->events)),
				 errhint("Raise an error in the trigger to refuse an append.")));
	if (!recorder_is_unmoved(slot, append, event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a BEFORE trigger on \"%s.%s\" changed an event's place",
						ES_SCHEMA, RelationGetRelationName(recorder->events)),
				 errdetail("Position, stream, category, version, id and recorded_at must stay as they are.")));
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
		table_tuple_insert(recorder->events, recorder->slots[0], cid, 0, NULL);
	else
		table_multi_insert(recorder->events, recorder->slots, recorder->slot_count, cid, 0, NULL);
	MemoryContextSwitchTo(caller);

	for (i = 0; i < recorder->slot_count; i++)
	{
		TupleTableSlot *slot = recorder->slots[i];
		List *recheck = NIL;

		if (recorder->info->ri_NumIndices > 0)
			recheck = es_compat_add_entries(recorder->info, slot, estate);
		ExecARInsertTriggers(estate, recorder->info, slot, recheck, recorder->capture);
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
		*slot = table_slot_create(recorder->events, &recorder->estate->es_tupleTable);
	ExecClearTuple(*slot);
	recorder_fill(*slot, append, event);
	recorder_set_defaults(recorder, *slot);
	ExecStoreVirtualTuple(*slot);
	(*slot)->tts_tableOid = RelationGetRelid(recorder->events);
	if (recorder->has_before_row)
		recorder_fire_before_row(recorder, *slot, append, event);
	if (recorder->has_generated)
		ExecComputeStoredGenerated(recorder->info, recorder->estate, *slot, CMD_INSERT);
	if (recorder->events->rd_att->constr != NULL)
		ExecConstraints(recorder->info, *slot, recorder->estate);
	if (recorder->events->rd_rel->relispartition)
		(void) ExecPartitionCheck(recorder->info, *slot, recorder->estate, true);

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

static void
recorder_begin(Recorder *recorder, Relation events, int event_count)
{
	MemoryContext caller;
	TriggerDesc *triggers;
	TupleConstr *constraints;

	recorder->events = events;
	recorder->estate = CreateExecutorState();
	caller = MemoryContextSwitchTo(recorder->estate->es_query_cxt);
	recorder->info = makeNode(ResultRelInfo);
	InitResultRelInfo(recorder->info, events, 0, NULL, 0);
	ExecOpenIndices(recorder->info, false);
	/* So that triggers find it, rather than open the table once more. */
	recorder->estate->es_opened_result_relations = list_make1(recorder->info);

	/* The copy: locking the indexes may have rebuilt the relcache entry. */
	triggers = recorder->info->ri_TrigDesc;
	constraints = events->rd_att->constr;

	recorder->has_before_row = triggers != NULL && triggers->trig_insert_before_row;
	recorder->has_generated = constraints != NULL && constraints->has_generated_stored;
	recorder->defaults = recorder_find_defaults(events, recorder->estate);
	recorder->slot_limit = recorder->has_before_row ? 1 : Min(event_count, RECORDER_BATCH);
	recorder->slots = palloc0(sizeof(TupleTableSlot *) * recorder->slot_limit);
	recorder->slot_count = 0;

	AfterTriggerBeginQuery();
	recorder->capture = MakeTransitionCaptureState(triggers, RelationGetRelid(events), CMD_INSERT);
	ExecBSInsertTriggers(recorder->estate, recorder->info);
	MemoryContextSwitchTo(caller);
}

static void
recorder_end(Recorder *recorder)
{
	EState *estate = recorder->estate;

	ExecASInsertTriggers(estate, recorder->info, recorder->capture);
	AfterTriggerEndQuery(estate);
	ExecResetTupleTable(estate->es_tupleTable, false);
	ExecCloseResultRelations(estate);
	FreeExecutorState(estate);
}

static void
recorder_insert(Relation events, EsAppend *const *appends, int append_count, int event_count)
{
	Recorder recorder;
	int i;
	int j;

	recorder_begin(&recorder, events, event_count);
	for (i = 0; i < append_count; i++)
	{
		for (j = 0; j < appends[i]->event_count; j++)
		{
			CHECK_FOR_INTERRUPTS();
			recorder_add(&recorder, appends[i], &appends[i]->events[j]);
		}
	}
	recorder_flush(&recorder);
	recorder_end(&recorder);
}

/* ----------------------------------------------------------------------
 * Without an executor
 * ----------------------------------------------------------------------
 */

/* Whether the table has no column but the store's own, as they were made. */
static bool
recorder_is_plain(Relation events)
{
	TupleDesc desc = RelationGetDescr(events);

	return desc->natts == Natts_event &&
		!TupleDescAttr(desc, Anum_events_metadata - 1)->attnotnull &&
		!TupleDescAttr(desc, Anum_events_tags - 1)->attnotnull;
}

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

static void
recorder_insert_directly(EsDirect *direct, EsAppend *const *appends, int append_count,
						 int event_count)
{
	int slot_limit = Min(event_count, RECORDER_BATCH);
	int slot_count = 0;
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * slot_limit);
	TupleDesc desc = RelationGetDescr(direct->table);
	MemoryContext rows = NULL;
	int i;
	int j;

	if (event_count > 1)
	{
		rows = AllocSetContextCreate(CurrentMemoryContext, "eventstore rows",
									 ALLOCSET_DEFAULT_SIZES);
		/* A copy: to keep count of hundreds of references costs more. */
		desc = CreateTupleDescCopy(desc);
	}
	for (i = 0; i < slot_limit; i++)
		slots[i] = MakeSingleTupleTableSlot(desc, table_slot_callbacks(direct->table));

	for (i = 0; i < append_count; i++)
	{
		for (j = 0; j < appends[i]->event_count; j++)
		{
			TupleTableSlot *slot = slots[slot_count++];

			CHECK_FOR_INTERRUPTS();
			recorder_fill(ExecClearTuple(slot), appends[i], &appends[i]->events[j]);
			ExecStoreVirtualTuple(slot);
			if (slot_count == slot_limit)
			{
				recorder_flush_directly(direct, slots, slot_count, rows);
				slot_count = 0;
			}
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
 * The whole call
 * ----------------------------------------------------------------------
 */

/* Make the ids that callers did not give.  Returns the count of events. */
static int
recorder_make_ids(EsAppend *const *appends, int append_count)
{
	TimestampTz now = GetCurrentTimestamp();
	int event_count = 0;
	int i;
	int j;

	for (i = 0; i < append_count; i++)
	{
		event_count += appends[i]->event_count;
		for (j = 0; j < appends[i]->event_count; j++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!appends[i]->events[j].has_given_id)
				es_uuid_make(now, &appends[i]->events[j].id);
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
	int event_count = recorder_make_ids(appends, append_count);
	EsDirect direct;

	if (recorder_is_plain(events) && es_direct_open(&direct, events))
	{
		recorder_insert_directly(&direct, appends, append_count, event_count);
		es_direct_close(&direct);
	}
	else
		recorder_insert(events, appends, append_count, event_count);
}
