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
 * Ids are looked up whoever stored them; an append that is just storing one
 * is waited for.  What slips through between the look and the insertion runs
 * into the unique index, whose error es_ids_rethrow_duplicate translates.
 *
 * Memory: the current context.  Locks: waits for other transactions that
 * store one of the ids; the caller holds at least RowExclusive on events.
 * Calls: scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "errors.h"
#include "ids.h"
#include "scan.h"

/* Where a stored id is; stream points into the scan's slot. */
typedef struct IdsPlace
{
	text	   *stream;
	int64		version;
	int64		position;
} IdsPlace;

static char *
ids_to_cstring(const pg_uuid_t *id)
{
	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(id)));
}

/* Whether any event of an append has an id of the caller's. */
bool
es_ids_are_given(const EsAppend *append)
{
	int			i;

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

/*
 * Raise SE002 if one call gives an id twice.
 */
void
es_ids_check_distinct(EsAppend *const *appends, int append_count)
{
	const pg_uuid_t **ids;
	Size		total = 0;
	Size		count = 0;
	Size		n;
	int			i;
	int			j;

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
			ereport(ERROR,
					(errcode(ES_ERRCODE_DUPLICATE_EVENT_ID),
					 errmsg("duplicate event id"),
					 errdetail("Event id \"%s\" is given twice.", ids_to_cstring(ids[n]))));
	pfree(ids);
}

/*
 * Find a stored id, committed or not; wait for one that is being stored.
 */
static bool
ids_find(EsScan *scan, const pg_uuid_t *id, IdsPlace *place)
{
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	scan->key_count = 0;
	es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	for (;;)
	{
		TupleTableSlot *slot = scan->slot;
		bool		is_found;

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
		{
			slot_getsomeattrs(slot, Anum_events_version);
			place->position = DatumGetInt64(slot->tts_values[Anum_events_position - 1]);
			place->stream = DatumGetTextPP(slot->tts_values[Anum_events_stream - 1]);
			place->version = DatumGetInt64(slot->tts_values[Anum_events_version - 1]);
		}
		return is_found;
	}
}

static bool
ids_is_same_stream(const text *a, const text *b)
{
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

/* Raise SE002 and tell where the id is. */
static void
ids_raise_stored(const pg_uuid_t *id, const IdsPlace *place)
{
	ereport(ERROR,
			(errcode(ES_ERRCODE_DUPLICATE_EVENT_ID),
			 errmsg("duplicate event id"),
			 errdetail("Event id \"%s\" is stored at version %lld of stream \"%s\", position %lld.",
					   ids_to_cstring(id), (long long) place->version,
					   text_to_cstring(place->stream), (long long) place->position),
			 errhint("Only the very same call, with the same ids in the same order, is a retry.")));
}

/*
 * Look up the given ids of an append.
 *
 * Returns false if none is stored.  Returns true if the append is an exact
 * retry; its result is then set.  Raises SE002 otherwise.
 */
bool
es_ids_find_retry(Relation events, EsAppend *append)
{
	EsScan		scan;
	IdsPlace	first = {NULL, 0, 0};
	const pg_uuid_t *first_id = NULL;
	int			in_order = 0;
	int			i;

	es_scan_open(&scan, events, ES_EVENTS_ID);
	for (i = 0; i < append->event_count; i++)
	{
		EsEvent    *event = &append->events[i];
		IdsPlace	place;

		if (!event->has_given_id || !ids_find(&scan, &event->id, &place))
			continue;

		if (first_id == NULL)
		{
			first_id = &event->id;
			first = place;
			first.stream = (text *) pg_detoast_datum_copy((struct varlena *) place.stream);
		}
		if (place.version == first.version + i && ids_is_same_stream(place.stream, append->stream))
			in_order++;
		append->last_version = place.version;
		append->last_position = place.position;
	}
	es_scan_close(&scan);

	if (first_id != NULL && in_order < append->event_count)
		ids_raise_stored(first_id, &first);
	return first_id != NULL;
}

/*
 * Raise SE002: one append of a call is an exact retry, others are not.
 *
 * stored: the one that is, as es_ids_find_retry left it.
 */
void
es_ids_raise_partial_retry(const EsAppend *stored)
{
	IdsPlace	place = {stored->stream, stored->last_version, stored->last_position};

	ids_raise_stored(&stored->events[stored->event_count - 1].id, &place);
}

/*
 * Called in a PG_CATCH block around the insertion of events with given ids:
 * raise SE002 if the error is that another transaction has stored one of them
 * meanwhile, else the error as it is.
 *
 * context: where the error is examined.
 */
void
es_ids_rethrow_duplicate(MemoryContext context)
{
	ErrorData  *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION ||
		error->schema_name == NULL || strcmp(error->schema_name, ES_SCHEMA) != 0 ||
		error->constraint_name == NULL || strcmp(error->constraint_name, ES_EVENTS_ID_KEY) != 0)
		PG_RE_THROW();

	FlushErrorState();
	ereport(ERROR,
			(errcode(ES_ERRCODE_DUPLICATE_EVENT_ID),
			 errmsg("duplicate event id"),
			 errdetail("Another transaction has just stored one of the event ids."),
			 errhint("Repeat the call: it tells which id, or finds that it is a retry.")));
}
