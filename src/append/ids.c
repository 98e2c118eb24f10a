/*-------------------------------------------------------------------------
 *
 * ids.c
 *		Event ids that callers give: exact retries and duplicates.
 *
 * A call whose every id is stored already, in its stream, side by side and in
 * its order, is an exact retry: the first attempt was committed, and the
 * answer got lost.  It stores nothing and gets the first answer.  Any other
 * use of a stored id raises SE002.
 *
 * An id stays stored when its event is gone: it is looked up among the removed
 * ones, too, after the events, as an event goes from here to there.
 *
 * Ids are looked up whoever stored them; an append that is just storing one
 * is waited for.  What slips through between the look and the insertion runs
 * into the unique index, whose error es_ids_rethrow_duplicate translates; or,
 * if it is gone again by then, is found by es_ids_check_removed.
 *
 * Where the table is made of ranges, ids are looked up in each that may have
 * them (id_ranges.c), and what slips through into another range is found by
 * es_ids_check_ranges.
 *
 * Memory: the current context.  Locks: waits for other transactions that
 * store one of the ids; the caller holds at least RowExclusive on events.  On
 * ranges AccessShare, on the newest one RowExclusive.
 * Calls: catalog, id_ranges, names, ranges, removed, scan, see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "append/id_ranges.h"
#include "append/ids.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/names.h"
#include "base/ranges.h"
#include "base/removed.h"
#include "base/scan.h"
#include "rights/see.h"

/* Where a stored id is; stream points into the scan's slot, or is a copy. */
typedef struct IdsPlace
{
	text *stream;
	int64 version;
	int64 position;
	bool is_removed; /* where it was */
} IdsPlace;

/* A look for ids, among the events and among those that are gone. */
typedef struct IdsLook
{
	Relation events;
	bool has_ranges;
	EsIdRanges ranges; /* if it has */
	Relation range;    /* that scan is of; NULL: of none yet */
	EsScan scan;       /* else of events */
	EsRemovedLook removed;
} IdsLook;

static char *
ids_to_cstring(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* Whether any event of an append has an id of the caller's. */
bool
es_ids_are_given(const EsAppend *append)
{
	int i;

	for (i = 0; i < append->event_count; i++)
		if (append->events[i].has_given_id)
			return true;
	return false;
}

static int
ids_compare(const void *a, const void *b)
{
	return memcmp(*(const pg_uuid_t *const *) a, *(const pg_uuid_t *const *) b, UUID_LEN);
}

static void
ids_read_place(TupleTableSlot *slot, IdsPlace *place)
{
	slot_getsomeattrs(slot, Anum_events_version);
	place->position = DatumGetInt64(slot->tts_values[Anum_events_position - 1]);
	place->stream = DatumGetTextPP(slot->tts_values[Anum_events_stream - 1]);
	place->version = DatumGetInt64(slot->tts_values[Anum_events_version - 1]);
	place->is_removed = false;
}

static void
ids_close_range(IdsLook *look)
{
	if (look->range == NULL)
		return;
	es_scan_close(&look->scan);
	table_close(look->range, NoLock);
	look->range = NULL;
}

static void
ids_open(IdsLook *look, Relation events)
{
	look->events = events;
	look->has_ranges = es_ranges_are_of(events);
	look->range = NULL;
	if (look->has_ranges)
		look->ranges = es_id_ranges_begin(events);
	else
		es_scan_open(&look->scan, events, ES_EVENTS_ID);
	es_removed_open(&look->removed);
}

/* Turn to a range, by number, and stay there: ids of one call are mostly in one. */
static void
ids_open_range(IdsLook *look, int number)
{
	Oid table = es_ranges_get(look->events, number).table;

	if (look->range != NULL && RelationGetRelid(look->range) == table)
		return;
	ids_close_range(look);
	/* The newest is most likely to be inserted into, too, and one lock is cheaper than two. */
	look->range = table_open(table,
							 number == look->ranges.newest ? RowExclusiveLock : AccessShareLock);
	es_scan_open(&look->scan, look->range, ES_EVENTS_ID);
}

static void
ids_close(IdsLook *look)
{
	es_removed_close(&look->removed);
	if (look->has_ranges)
		ids_close_range(look);
	else
		es_scan_close(&look->scan);
}

/* Find the id of an event that is gone. */
static bool
ids_find_removed(EsRemovedLook *look, const pg_uuid_t *id, IdsPlace *place)
{
	SnapshotData dirty;
	EsRemoved removed;

	InitDirtySnapshot(dirty);
	if (!es_removed_find(look, id, &dirty, &removed))
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
ids_find_in(EsScan *scan, const pg_uuid_t *id, IdsPlace *place)
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
			ids_read_place(slot, place);
		return is_found;
	}
}

/* The same in a range, by number. */
static bool
ids_find_in_range(IdsLook *look, int number, const pg_uuid_t *id, IdsPlace *place)
{
	ids_open_range(look, number);
	return ids_find_in(&look->scan, id, place);
}

static bool
ids_find_in_ranges(IdsLook *look, const pg_uuid_t *id, IdsPlace *place)
{
	int number = look->ranges.newest + 1;

	while ((number = es_id_ranges_next(look->events, &look->ranges, id, number)) >= 0)
		if (ids_find_in_range(look, number, id, place))
			return true;
	return false;
}

/* Find a stored id, of an event that is there or gone. */
static bool
ids_find(IdsLook *look, const pg_uuid_t *id, IdsPlace *place)
{
	return (look->has_ranges ? ids_find_in_ranges(look, id, place)
							 : ids_find_in(&look->scan, id, place)) ||
		ids_find_removed(&look->removed, id, place);
}

/* Raise SE002 and tell where the id is, if the caller may see that. */
static void
ids_raise_stored(Relation events, const pg_uuid_t *id, const IdsPlace *place)
{
	if (!es_see_stored(events, place->stream, place->position))
		ereport(ERROR,
				(errcode(ES_ERRCODE_DUPLICATE_EVENT_ID),
				 errmsg("duplicate event id"),
				 errdetail("Event id \"%s\" is stored already.", ids_to_cstring(id)),
				 errhint("Only the very same call, with the same ids in the same order, is a retry.")));
	ereport(ERROR,
			(errcode(ES_ERRCODE_DUPLICATE_EVENT_ID),
			 errmsg("duplicate event id"),
			 errdetail(place->is_removed
						   ? "Event id \"%s\" was stored at version %lld of stream \"%s\", position %lld, and is gone."
						   : "Event id \"%s\" is stored at version %lld of stream \"%s\", position %lld.",
					   ids_to_cstring(id), (long long) place->version,
					   text_to_cstring(place->stream), (long long) place->position),
			 errhint("Only the very same call, with the same ids in the same order, is a retry.")));
}

/*
 * Raise SE002: one call gives an id twice.  That it is stored besides, as it is
 * when such a call is repeated, is told with it.
 */
static void
ids_raise_twice(Relation events, const pg_uuid_t *id)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	IdsPlace place = {0};
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_ID);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		ids_read_place(scan.slot, &place);
	if (place.position > 0 && es_see_stored(events, place.stream, place.position))
		ereport(ERROR,
				(errcode(ES_ERRCODE_DUPLICATE_EVENT_ID),
				 errmsg("duplicate event id"),
				 errdetail("Event id \"%s\" is given twice, and is stored at version %lld of stream \"%s\", position %lld.",
						   ids_to_cstring(id), (long long) place.version,
						   text_to_cstring(place.stream), (long long) place.position)));
	ereport(ERROR,
			(errcode(ES_ERRCODE_DUPLICATE_EVENT_ID),
			 errmsg("duplicate event id"),
			 errdetail("Event id \"%s\" is given twice.", ids_to_cstring(id))));
}

/*
 * Raise SE002 if one call gives an id twice.
 */
void
es_ids_check_distinct(Relation events, EsAppend *const *appends, int append_count)
{
	const pg_uuid_t **ids;
	Size total = 0;
	Size count = 0;
	Size n;
	int i;
	int j;

	for (i = 0; i < append_count; i++)
		total += appends[i]->event_count;
	if (total < 2)
		return;

	ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(pg_uuid_t *) * total);
	for (i = 0; i < append_count; i++)
		for (j = 0; j < appends[i]->event_count; j++)
			if (appends[i]->events[j].has_given_id)
				ids[count++] = &appends[i]->events[j].id;

	qsort(ids, count, sizeof(pg_uuid_t *), ids_compare);
	for (n = 1; n < count; n++)
		if (ids_compare(&ids[n - 1], &ids[n]) == 0)
			ids_raise_twice(events, ids[n]);
	pfree(ids);
}

/* What a look at the ids of appends to one stream has found. */
typedef struct IdsFound
{
	int event_count;
	int found;                 /* of these are stored */
	int in_order;              /* of these where a retry would have them */
	const pg_uuid_t *first_id; /* found first, and its place */
	IdsPlace first;
} IdsFound;

static void
ids_note(IdsFound *found, const EsEvent *event, const IdsPlace *place, const text *stream)
{
	if (found->found++ == 0)
	{
		found->first_id = &event->id;
		found->first = *place;
		found->first.stream = (text *) pg_detoast_datum_copy((struct varlena *) place->stream);
	}
	if (es_names_equal(place->stream, stream) &&
		place->version == found->first.version + found->event_count)
		found->in_order++;
}

/* Look up all ids once; sets the appends' results. */
static IdsFound
ids_look(IdsLook *look, EsAppend *const *appends, int append_count)
{
	IdsFound found = {0};
	int i;
	int j;

	for (i = 0; i < append_count; i++)
	{
		for (j = 0; j < appends[i]->event_count; j++)
		{
			const EsEvent *event = &appends[i]->events[j];
			IdsPlace place;

			/* At its own position: it is the event itself, just inserted. */
			if (event->has_given_id && ids_find(look, &event->id, &place) &&
				place.position != event->position)
			{
				ids_note(&found, event, &place, appends[i]->stream);
				appends[i]->last_version = place.version;
				appends[i]->last_position = place.position;
			}
			found.event_count++;
		}
	}
	return found;
}

/*
 * Look up the given ids of all appends to one stream, in the caller's order.
 *
 * Returns false if none is stored.  Returns true if the appends are an exact
 * retry; their results are then set.  Raises SE002 otherwise.
 *
 * Ids are looked up one after the other, and the first attempt may be
 * committed in between: only what a second look finds as well is final.  It looks
 * in ranges, too, that nothing was in when the first one began.
 */
bool
es_ids_find_retry(Relation events, EsAppend *const *appends, int append_count)
{
	IdsLook look;
	IdsFound found = {0};
	int found_before;
	int i;

	ids_open(&look, events);
	for (i = 0; look.has_ranges && i < append_count; i++)
		appends[i]->ids_closed_upto = look.ranges.closed_upto;
	for (;;)
	{
		found_before = found.found;
		found = ids_look(&look, appends, append_count);
		if (found.found == found_before || found.found == found.event_count)
			break;
		if (look.has_ranges)
			look.ranges = es_id_ranges_begin(events);
	}
	ids_close(&look);

	if (found.found > 0 && found.in_order < found.event_count)
		ids_raise_stored(events, found.first_id, &found.first);
	return found.found > 0;
}

/*
 * Look imported events, each an append of its own, up by their ids, and mark those
 * that are stored: where they belong, or this raises SE002.  Sets the results of
 * these.
 *
 * Returns how many are.  Whoever has the stream's row locked knows them all.
 */
int
es_ids_mark_stored(Relation events, EsAppend *const *appends, int append_count)
{
	int count = 0;
	IdsLook look;
	int i;

	ids_open(&look, events);
	for (i = 0; i < append_count; i++)
	{
		EsAppend *append = appends[i];
		const pg_uuid_t *id = &append->events[0].id;
		IdsPlace place;

		CHECK_FOR_INTERRUPTS();
		append->ids_closed_upto = look.has_ranges ? look.ranges.closed_upto : 0;
		append->is_stored = ids_find(&look, id, &place);
		if (!append->is_stored)
			continue;
		if (place.version != append->expected_version + 1 ||
			!es_names_equal(place.stream, append->stream))
			ids_raise_stored(events, id, &place);
		append->last_version = place.version;
		append->last_position = place.position;
		count++;
	}
	ids_close(&look);
	return count;
}

/*
 * Raise SE002: some streams of a call have it stored already, others have not.
 *
 * stored: an append that is, as es_ids_find_retry left it.
 */
void
es_ids_raise_partial_retry(Relation events, const EsAppend *stored)
{
	IdsPlace place = {stored->stream, stored->last_version, stored->last_position, false};

	ids_raise_stored(events, &stored->events[stored->event_count - 1].id, &place);
}

/* Whether an error says that the index on ids, of the table or of a partition, has an id already. */
static bool
ids_is_duplicate(const ErrorData *error)
{
	const char *name = error->constraint_name;

	/* While REINDEX CONCURRENTLY runs, the index has a twin: name_ccnew. */
	return error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && error->schema_name != NULL &&
		strcmp(error->schema_name, ES_SCHEMA) == 0 && name != NULL &&
		strncmp(name, "events_", 7) == 0 && strstr(name, "_id_key") != NULL;
}

/*
 * Called in a PG_CATCH block around the insertion of events with given ids:
 * raise SE002 if the error is that another transaction has stored one of them
 * meanwhile, else the error as it is.
 *
 * The index raises that error with no page locked, so it is safe to look up
 * whose id it was.
 *
 * context: where the error is examined.
 */
void
es_ids_rethrow_duplicate(Relation events, EsAppend *const *appends, int append_count,
						 MemoryContext context)
{
	ErrorData *error;
	IdsLook look;
	IdsFound found;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (!ids_is_duplicate(error))
		PG_RE_THROW();

	FlushErrorState();
	ids_open(&look, events);
	found = ids_look(&look, appends, append_count);
	if (found.found > 0)
		ids_raise_stored(events, found.first_id, &found.first);
	ereport(ERROR,
			(errcode(ES_ERRCODE_DUPLICATE_EVENT_ID),
			 errmsg("duplicate event id"),
			 errdetail("Another transaction was storing one of the event ids.")));
}

/*
 * Called when events with given ids are inserted, with another append's row or
 * id waited for perhaps: raise SE002 if one of the ids was stored meanwhile, and
 * its event removed, so that the index had nothing against it.
 *
 * From the insertion on, whoever stores one of these ids waits for us: once is
 * enough.
 */
void
es_ids_check_removed(Relation events, EsAppend *const *appends, int append_count)
{
	EsRemovedLook look;
	int i;
	int j;

	if (likely(!es_removed_is_any()))
		return;
	es_removed_open(&look);
	for (i = 0; i < append_count; i++)
	{
		for (j = 0; j < appends[i]->event_count; j++)
		{
			const EsEvent *event = &appends[i]->events[j];
			IdsPlace place;

			if (event->has_given_id && ids_find_removed(&look, &event->id, &place))
				ids_raise_stored(events, &event->id, &place);
		}
	}
	es_removed_close(&look);
}

/*
 * Called when events with given ids are inserted into a table that is made of
 * ranges: raise SE002 if one of the ids was stored meanwhile in another range,
 * whose index knows nothing of ours.
 *
 * Who stores one of these ids from now on finds ours.  Of two that do it at the
 * same moment, each finds the other's, and they wait for each other in a circle,
 * which PostgreSQL ends.
 */
void
es_ids_check_ranges(Relation events, EsAppend *const *appends, int append_count)
{
	IdsLook look = {.events = events, .has_ranges = true};
	int i;
	int j;
	int number;

	if (!es_ranges_are_of(events))
		return;
	look.ranges = es_id_ranges_begin(events);
	for (i = 0; i < append_count; i++)
	{
		/* As it was before: one may have been stored, and its range closed, meanwhile. */
		int oldest = es_ranges_find(events, appends[i]->ids_closed_upto + 1);

		for (j = 0; j < appends[i]->event_count; j++)
		{
			const EsEvent *event = &appends[i]->events[j];
			IdsPlace place;
			int own;

			if (!event->has_given_id)
				continue;
			own = es_ranges_find(events, event->position);
			for (number = look.ranges.newest; number >= oldest; number--)
				if (number != own && ids_find_in_range(&look, number, &event->id, &place))
					ids_raise_stored(events, &event->id, &place);
		}
	}
	ids_close_range(&look);
}
