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
 * How an id is looked up is told in id_look.c.  What slips through between the
 * look and the insertion runs into the unique index, whose error
 * es_ids_rethrow_duplicate translates; or, if it is gone again by then, is found
 * by es_ids_check_removed.  Where the table is made of ranges, what slips through
 * into another range is found by es_ids_check_ranges.
 *
 * Memory: the current context.  Locks: what id_look.c takes.  Calls: id_look,
 * id_ranges, names, ranges, removed, scan, see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "append/id_look.h"
#include "append/ids.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/names.h"
#include "base/ranges.h"
#include "base/removed.h"
#include "base/scan.h"
#include "rights/see.h"

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

/* Raise SE002 and tell where the id is, if the caller may see that. */
static void
ids_raise_stored(Relation events, const pg_uuid_t *id, const EsIdPlace *place)
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
	EsIdPlace place = {0};
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_ID);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	/* Another server need not be asked: it is wrong anyway. */
	scan.is_local = true;
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		es_id_look_read_place(scan.slot, &place);
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
	EsIdPlace first;
} IdsFound;

static void
ids_note(IdsFound *found, const EsEvent *event, const EsIdPlace *place, const text *stream)
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
ids_look(EsIdLook *look, EsAppend *const *appends, int append_count)
{
	IdsFound found = {0};
	int i;
	int j;

	look->appends = appends;
	look->append_count = append_count;
	for (i = 0; i < append_count; i++)
	{
		for (j = 0; j < appends[i]->event_count; j++)
		{
			const EsEvent *event = &appends[i]->events[j];
			EsIdPlace place;

			/* At its own position: it is the event itself, just inserted. */
			if (event->has_given_id && es_id_look_find(look, &event->id, &place) &&
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
	EsIdLook look;
	IdsFound found = {0};
	int found_before;
	int i;

	es_id_look_open(&look, events);
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
	es_id_look_close(&look);

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
	EsIdLook look;
	int i;

	es_id_look_open(&look, events);
	look.appends = appends;
	look.append_count = append_count;
	for (i = 0; i < append_count; i++)
	{
		EsAppend *append = appends[i];
		const pg_uuid_t *id = &append->events[0].id;
		EsIdPlace place;

		CHECK_FOR_INTERRUPTS();
		append->ids_closed_upto = look.has_ranges ? look.ranges.closed_upto : 0;
		append->is_stored = es_id_look_find(&look, id, &place);
		if (!append->is_stored)
			continue;
		if (place.version != append->expected_version + 1 ||
			!es_names_equal(place.stream, append->stream))
			ids_raise_stored(events, id, &place);
		append->last_version = place.version;
		append->last_position = place.position;
		count++;
	}
	es_id_look_close(&look);
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
	EsIdPlace place = {stored->stream, stored->last_version, stored->last_position, false};

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
	EsIdLook look;
	IdsFound found;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (!ids_is_duplicate(error))
		PG_RE_THROW();

	FlushErrorState();
	es_id_look_open(&look, events);
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

	es_removed_open(&look);
	if (likely(!es_removed_may_have(&look)))
		append_count = 0;
	for (i = 0; i < append_count; i++)
	{
		for (j = 0; j < appends[i]->event_count; j++)
		{
			const EsEvent *event = &appends[i]->events[j];
			EsIdPlace place;

			if (event->has_given_id && es_id_look_find_removed(&look, &event->id, &place))
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
	EsIdLook look = {.events = events,
					 .has_ranges = true,
					 .appends = appends,
					 .append_count = append_count};
	int newest;
	int i;
	int j;
	int number;

	if (!es_ranges_are_of(events))
		return;
	look.ranges.newest = newest = es_id_ranges_newest(events);
	for (i = 0; i < append_count; i++)
	{
		/* As it was before: one may have been stored, and its range closed, meanwhile. */
		int oldest = es_ranges_find(events, appends[i]->ids_closed_upto + 1);

		/* All that came since is in the range that ours is in. */
		if (likely(oldest >= newest))
			continue;
		for (j = 0; j < appends[i]->event_count; j++)
		{
			const EsEvent *event = &appends[i]->events[j];
			EsIdPlace place;
			int own;

			if (!event->has_given_id)
				continue;
			own = es_ranges_find(events, event->position);
			for (number = newest; number >= oldest; number--)
				if (number != own && es_id_look_find_in_range(&look, number, &event->id, &place))
					ids_raise_stored(events, &event->id, &place);
		}
	}
	es_id_look_leave(&look);
}
