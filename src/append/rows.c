/*-------------------------------------------------------------------------
 *
 * rows.c
 *		The events of a call as rows of eventstore.events, one after the other.
 *
 * Memory: none; a row points to what the event does.  Locks: none.  Calls: nothing
 * of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "append/rows.h"
#include "base/catalog.h"

/*
 * The event that comes next, if its position is below upto; else NULL.
 */
EsEvent *
es_rows_peek(EsRows *rows, int64 upto)
{
	EsEvent *event;

	while (rows->append < rows->append_count &&
		   rows->event == rows->appends[rows->append]->event_count)
	{
		rows->append++;
		rows->event = 0;
	}
	if (rows->append == rows->append_count)
		return NULL;
	event = &rows->appends[rows->append]->events[rows->event];
	return event->position < upto ? event : NULL;
}

static void
rows_set(TupleTableSlot *slot, int column, Datum value)
{
	slot->tts_values[column - 1] = value;
	slot->tts_isnull[column - 1] = false;
}

static void
rows_set_pointer(TupleTableSlot *slot, int column, const void *value)
{
	slot->tts_values[column - 1] = PointerGetDatum(value);
	slot->tts_isnull[column - 1] = (value == NULL);
}

/*
 * Set the store's own columns of a slot, which is empty, and not yet stored.
 */
void
es_rows_fill(TupleTableSlot *slot, const EsAppend *append, EsEvent *event)
{
	rows_set(slot, Anum_events_position, Int64GetDatum(event->position));
	rows_set_pointer(slot, Anum_events_stream, append->stream);
	rows_set_pointer(slot, Anum_events_category, append->category);
	rows_set(slot, Anum_events_version, Int64GetDatum(event->version));
	rows_set_pointer(slot, Anum_events_id, &event->id);
	rows_set_pointer(slot, Anum_events_type, event->type);
	rows_set_pointer(slot, Anum_events_data, event->data);
	rows_set_pointer(slot, Anum_events_metadata, event->metadata);
	rows_set_pointer(slot, Anum_events_tags, event->tags);
	rows_set(slot, Anum_events_recorded_at, TimestampTzGetDatum(append->recorded_at));
}
