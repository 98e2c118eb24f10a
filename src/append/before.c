/*-------------------------------------------------------------------------
 *
 * before.c
 *		BEFORE ROW triggers on eventstore.events.
 *
 * A trigger may refuse an event by an error, or change what it says, but not
 * drop it or move it: its place in the stream is promised already.  What it
 * makes of the event is checked as what es_append is given.
 *
 * Memory: the executor state's per-tuple context.  Locks: none.  Calls: catalog,
 * event, names, transaction.  User code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "append/before.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/names.h"
#include "order/transaction.h"

/* The columns that a trigger must leave as they are. */
static const AttrNumber before_fixed_columns[] = {Anum_events_position, Anum_events_stream,
												  Anum_events_category, Anum_events_version,
												  Anum_events_id,       Anum_events_recorded_at};

#define BEFORE_VALUE(slot, column) ((slot)->tts_values[(column) -1])

static bool
before_is_unmoved(TupleTableSlot *slot, const EsAppend *append, const EsEvent *event)
{
	int i;

	slot_getsomeattrs(slot, Natts_event);
	for (i = 0; i < lengthof(before_fixed_columns); i++)
		if (slot->tts_isnull[before_fixed_columns[i] - 1])
			return false;
	return DatumGetInt64(BEFORE_VALUE(slot, Anum_events_position)) == event->position &&
		es_names_equal(DatumGetTextPP(BEFORE_VALUE(slot, Anum_events_stream)), append->stream) &&
		es_names_equal(DatumGetTextPP(BEFORE_VALUE(slot, Anum_events_category)), append->category) &&
		DatumGetInt64(BEFORE_VALUE(slot, Anum_events_version)) == event->version &&
		memcmp(DatumGetUUIDP(BEFORE_VALUE(slot, Anum_events_id)), &event->id, UUID_LEN) == 0 &&
		DatumGetTimestampTz(BEFORE_VALUE(slot, Anum_events_recorded_at)) == append->recorded_at;
}

static void
before_describe_left(void *arg)
{
	errcontext("event as a BEFORE trigger on \"%s.%s\" has left it", ES_SCHEMA,
			   RelationGetRelationName((Relation) arg));
}

/* Raise as es_append does where the event is no such event any more. */
static void
before_check_left(Relation events, TupleTableSlot *slot)
{
	ErrorContextCallback caller = {.previous = error_context_stack,
								   .callback = before_describe_left,
								   .arg = events};
	EsEvent event = {0};

	error_context_stack = &caller;
	if (slot->tts_isnull[Anum_events_type - 1] || slot->tts_isnull[Anum_events_data - 1])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null",
						slot->tts_isnull[Anum_events_type - 1] ? "event type" : "data")));
	event.type = DatumGetTextPP(BEFORE_VALUE(slot, Anum_events_type));
	if (!slot->tts_isnull[Anum_events_metadata - 1])
		event.metadata = DatumGetJsonbP(BEFORE_VALUE(slot, Anum_events_metadata));
	if (!slot->tts_isnull[Anum_events_tags - 1])
		event.tags = DatumGetArrayTypeP(BEFORE_VALUE(slot, Anum_events_tags));
	es_event_check(&event);
	error_context_stack = caller.previous;

	/* JSON's null: there is none, as where es_append is given it. */
	if (event.metadata == NULL && !slot->tts_isnull[Anum_events_metadata - 1])
	{
		HeapTuple row = ExecCopySlotHeapTuple(slot);
		int column = Anum_events_metadata;
		Datum none = (Datum) 0;
		bool is_null = true;

		row = heap_modify_tuple_by_cols(row, RelationGetDescr(events), 1, &column, &none, &is_null);
		ExecForceStoreHeapTuple(row, slot, false);
	}
}

/*
 * Fire the triggers for an event.
 *
 * slot: holds the row that is to be inserted; receives what they make of it.
 *
 * Raises 39P01 if they drop or move the event, and as es_append does where it
 * is none any more.
 */
void
es_before_fire(EState *estate, ResultRelInfo *info, TupleTableSlot *slot, const EsAppend *append,
			   const EsEvent *event)
{
	MemoryContext caller;

	if (!ExecBRInsertTriggers(estate, info, slot))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a BEFORE trigger on \"%s.%s\" dropped an event",
						ES_SCHEMA, RelationGetRelationName(info->ri_RelationDesc)),
				 errhint("Raise an error in the trigger to refuse an append.")));
	if (!before_is_unmoved(slot, append, event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("a BEFORE trigger on \"%s.%s\" changed an event's place",
						ES_SCHEMA, RelationGetRelationName(info->ri_RelationDesc)),
				 errdetail("Position, stream, category, version, id and recorded_at must stay as they are.")));
	caller = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	before_check_left(info->ri_RelationDesc, slot);
	es_transaction_change_type(append, DatumGetTextPP(BEFORE_VALUE(slot, Anum_events_type)));
	MemoryContextSwitchTo(caller);
}
