/*-------------------------------------------------------------------------
 *
 * fresh.c
 *		Events that were just appended, as rows for the projections.
 *
 * Taken from what the append has in memory, as far as that is what is stored;
 * read back where a trigger may have changed it, and where a projection's SQL
 * has appended it.
 *
 * Memory: the current context.  Locks: none beyond those of who appends.
 * Calls: apply, catalog, projection, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/scan.h"
#include "projection/apply.h"
#include "projection/fresh.h"

static void
fresh_set_pointer(EsFreshEvent *event, AttrNumber column, const void *value)
{
	event->values[column - 1] = PointerGetDatum(value);
	event->nulls[column - 1] = (value == NULL);
}

static void
fresh_fill(EsFreshEvent *event, const EsAppend *append, const EsEvent *given)
{
	memset(event->nulls, 0, sizeof(event->nulls));
	event->values[Anum_events_position - 1] = Int64GetDatum(given->position);
	event->values[Anum_events_version - 1] = Int64GetDatum(given->version);
	event->values[Anum_events_recorded_at - 1] = TimestampTzGetDatum(append->recorded_at);
	fresh_set_pointer(event, Anum_events_stream, append->stream);
	fresh_set_pointer(event, Anum_events_category, append->category);
	fresh_set_pointer(event, Anum_events_id, &given->id);
	fresh_set_pointer(event, Anum_events_type, given->type);
	fresh_set_pointer(event, Anum_events_data, given->data);
	fresh_set_pointer(event, Anum_events_metadata, given->metadata);
	fresh_set_pointer(event, Anum_events_tags, given->tags);
}

/*
 * Read an event as it is stored, by its position.  Returns false if it is not:
 * its subtransaction was rolled back.
 */
bool
es_fresh_fetch(Relation events, EsFreshEvent *event)
{
	bool is_found;
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsScan scan;
	int i;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_INT8EQ,
					event->values[Anum_events_position - 1]);
	es_scan_begin(&scan, snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	if (is_found)
	{
		HeapTuple row = ExecCopySlotHeapTuple(scan.slot);

		for (i = 0; i < Natts_event; i++)
			event->values[i] = heap_getattr(row, i + 1, RelationGetDescr(events), &event->nulls[i]);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	return is_found;
}

/*
 * The events of a call, in order of position.
 *
 * may_differ: what is stored is not what was given.
 */
EsFreshEvent *
es_fresh_collect(Relation events, EsAppend *const *appends, int append_count, bool may_differ,
				 int *count)
{
	EsFreshEvent *result;
	int i;
	int j;

	*count = 0;
	for (i = 0; i < append_count; i++)
		*count += appends[i]->event_count;
	result = palloc(sizeof(EsFreshEvent) * *count);
	*count = 0;
	if (may_differ)
		CommandCounterIncrement();
	for (i = 0; i < append_count; i++)
	{
		for (j = 0; j < appends[i]->event_count; j++)
		{
			fresh_fill(&result[*count], appends[i], &appends[i]->events[j]);
			/* A trigger may have changed what it says. */
			if (may_differ)
				(void) es_fresh_fetch(events, &result[*count]);
			(*count)++;
		}
	}
	return result;
}

/* Whether a projection cares for one of the events, as they were given. */
bool
es_fresh_may_care(const EsProjection *projection, EsAppend *const *appends, int append_count)
{
	int i;
	int j;

	for (i = 0; i < append_count; i++)
	{
		if (!es_projection_has_name(&projection->categories, appends[i]->category))
			continue;
		for (j = 0; j < appends[i]->event_count; j++)
			if (es_projection_has_name(&projection->types, appends[i]->events[j].type))
				return true;
	}
	return false;
}

/* Whether it cares for an event, as it is stored. */
bool
es_fresh_cares(const EsProjection *projection, const EsFreshEvent *event)
{
	return es_projection_has_name(&projection->categories,
								  DatumGetTextPP(event->values[Anum_events_category - 1])) &&
		es_projection_has_name(&projection->types,
							   DatumGetTextPP(event->values[Anum_events_type - 1]));
}

/*
 * Leave out what row security does not let a projection's owner see.  Returns
 * how many are left.
 *
 * passing: in the order of positions.
 */
int
es_fresh_leave_out_hidden(const EsProjection *projection, Relation events, EsFreshEvent **passing,
						  int count)
{
	Snapshot snapshot;
	int left = 0;
	int next = 0;
	EsScan scan;

	CommandCounterIncrement();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTGreaterEqualStrategyNumber, F_INT8GE,
					passing[0]->values[Anum_events_position - 1]);
	es_scan_add_key(&scan, 1, BTLessEqualStrategyNumber, F_INT8LE,
					passing[count - 1]->values[Anum_events_position - 1]);
	es_apply_see(projection, &scan);
	es_scan_begin(&scan, snapshot);
	while (scan.is_limited && es_scan_next(&scan, ForwardScanDirection))
	{
		bool is_null;
		int64 seen = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));

		while (next < count && es_fresh_position(passing[next]) < seen)
			next++;
		if (next < count && es_fresh_position(passing[next]) == seen)
			passing[left++] = passing[next++];
	}
	if (!scan.is_limited)
		left = count;
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	return left;
}
