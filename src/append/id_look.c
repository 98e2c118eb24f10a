/*-------------------------------------------------------------------------
 *
 * id_look.c
 *		A look for ids that callers give, among the events and among those that are gone.
 *
 * Ids are looked up whoever stored them; an append that is just storing one
 * is waited for.  An id stays stored when its event is gone: it is looked up among the removed
 * ones, too, after the events, as an event goes from here to there.
 *
 * Where the table is made of ranges, ids are looked up in each that may have
 * them (id_ranges.c), and so in what was detached and is still at hand.
 *
 * Memory: the current context.  Locks: waits for other transactions that
 * store one of the ids; the caller holds at least RowExclusive on events.  On
 * ranges AccessShare, on the newest one RowExclusive.  Calls: id_ranges, ranges,
 * remote_ids, removed, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "append/id_look.h"
#include "base/compat.h"
#include "base/ranges.h"

/* What is told of the event in a slot. */
void
es_id_look_read_place(TupleTableSlot *slot, EsIdPlace *place)
{
	slot_getsomeattrs(slot, Anum_events_version);
	place->position = DatumGetInt64(slot->tts_values[Anum_events_position - 1]);
	place->stream = DatumGetTextPP(slot->tts_values[Anum_events_stream - 1]);
	place->version = DatumGetInt64(slot->tts_values[Anum_events_version - 1]);
	place->is_removed = false;
}

/* Leave the range that the look is in. */
void
es_id_look_leave(EsIdLook *look)
{
	if (look->range == NULL)
		return;
	es_scan_close(&look->scan);
	table_close(look->range, NoLock);
	look->range = NULL;
}

/* Begin; end with es_id_look_close. */
void
es_id_look_open(EsIdLook *look, Relation events)
{
	look->events = events;
	look->has_ranges = es_ranges_are_of(events);
	look->range = NULL;
	look->appends = NULL;
	look->append_count = 0;
	look->remote = NULL;
	if (look->has_ranges)
		look->ranges = es_id_ranges_begin(events);
	else
		es_scan_open(&look->scan, events, ES_EVENTS_ID);
	es_removed_open(&look->removed);
}

/* Turn to a range, by number, and stay there: ids of one call are mostly in one. */
static void
id_look_open_range(EsIdLook *look, int number)
{
	Oid table = es_ranges_get(look->events, number).table;

	if (look->range != NULL && RelationGetRelid(look->range) == table)
		return;
	es_id_look_leave(look);
	/* The newest is most likely to be inserted into, too, and one lock is cheaper than two. */
	look->range = table_open(table,
							 number == look->ranges.newest ? RowExclusiveLock : AccessShareLock);
	es_scan_open(&look->scan, look->range, ES_EVENTS_ID);
}

void
es_id_look_close(EsIdLook *look)
{
	es_removed_close(&look->removed);
	if (look->has_ranges)
		es_id_look_leave(look);
	else
		es_scan_close(&look->scan);
}

/* Find the id of an event that is gone: first where it goes away from. */
bool
es_id_look_find_removed(EsRemovedLook *look, const pg_uuid_t *id, EsIdPlace *place)
{
	SnapshotData dirty;
	EsRemoved removed;

	InitDirtySnapshot(dirty);
	if (!(look->has_detached && !es_id_ranges_is_above_detached(id) &&
		  es_id_ranges_may_be_detached(es_removed_get_detached(look), id) &&
		  es_removed_find_detached(look, id, &dirty, &removed)) &&
		!es_removed_find_listed(look, id, &dirty, &removed))
		return false;
	place->stream = removed.stream;
	place->version = removed.version;
	place->position = removed.position;
	place->is_removed = true;
	return true;
}

/*
 * Find a stored id in a table, committed or not; wait for one that is being
 * stored.
 */
static bool
id_look_find_in(EsScan *scan, const pg_uuid_t *id, EsIdPlace *place)
{
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	scan->key_count = 0;
	es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	for (;;)
	{
		TupleTableSlot *slot = scan->slot;
		bool is_found;

		es_scan_begin(scan, &dirty);
		is_found = es_scan_next(scan, ForwardScanDirection);
		es_scan_stop(scan);
		if (is_found && TransactionIdIsValid(dirty.xmin))
		{
			ItemPointerData tid = slot->tts_tid;

			ExecClearTuple(slot);
			CHECK_FOR_INTERRUPTS();
			XactLockTableWait(dirty.xmin, scan->heap, &tid, XLTW_InsertIndexUnique);
			continue;
		}
		if (is_found)
			es_id_look_read_place(slot, place);
		return is_found;
	}
}

/* The same in a range that is a foreign table, where nobody stores any. */
static bool
id_look_find_remote(EsIdLook *look, const pg_uuid_t *id, EsIdPlace *place)
{
	const EsRemoteId *found = es_remote_ids_find(&look->remote, look->range, id, look->appends,
												 look->append_count);

	if (found == NULL)
		return false;
	place->stream = found->stream;
	place->version = found->version;
	place->position = found->position;
	place->is_removed = false;
	return true;
}

/* The same in a range, by number. */
bool
es_id_look_find_in_range(EsIdLook *look, int number, const pg_uuid_t *id, EsIdPlace *place)
{
	id_look_open_range(look, number);
	if (unlikely(es_ranges_is_remote(look->range)))
		return id_look_find_remote(look, id, place);
	return id_look_find_in(&look->scan, id, place);
}

static bool
id_look_find_in_ranges(EsIdLook *look, const pg_uuid_t *id, EsIdPlace *place)
{
	int number = look->ranges.newest + 1;

	while ((number = es_id_ranges_next(look->events, &look->ranges, id, number)) >= 0)
		if (es_id_look_find_in_range(look, number, id, place))
			return true;
	return false;
}

/* Find a stored id, of an event that is there or gone. */
bool
es_id_look_find(EsIdLook *look, const pg_uuid_t *id, EsIdPlace *place)
{
	return (look->has_ranges ? id_look_find_in_ranges(look, id, place)
							 : id_look_find_in(&look->scan, id, place)) ||
		es_id_look_find_removed(&look->removed, id, place);
}
