/*-------------------------------------------------------------------------
 *
 * remote_ids.c
 *		Ids in ranges that are foreign tables.
 *
 * Between which ids a range's are has been noted in eventstore.foreign_ranges by
 * es_attach_events(), so that an append whose ids are others has nothing to ask of
 * the other server, be it there or not.  Of a table that a DBA has attached by
 * himself it is asked, once in a session.
 *
 * Where ids may be in it, the server is asked for all those of a call at once.
 *
 * Memory: the current context.  Locks: AccessShare on eventstore.foreign_ranges,
 * if it is read; the caller holds one on the foreign table.  Calls: catalog,
 * ranges, scan, select.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "append/remote_ids.h"
#include "base/scan.h"

/* ----------------------------------------------------------------------
 * Bounds
 * ----------------------------------------------------------------------
 */

/* Read the note of a range.  Returns false if there is none. */
static bool
remote_read_note(const EsRange *range, pg_uuid_t *lowest, pg_uuid_t *highest)
{
	Relation rel = es_catalog_open(ES_FOREIGN_RANGES, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool is_noted;
	EsScan scan;

	es_scan_open(&scan, rel, ES_FOREIGN_RANGES_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(Max(range->from, 0)));
	es_scan_begin(&scan, snapshot);
	is_noted = es_scan_next(&scan, ForwardScanDirection);
	if (is_noted)
	{
		const Datum *values = scan.slot->tts_values;

		slot_getallattrs(scan.slot);
		is_noted = DatumGetInt64(values[Anum_foreign_ranges_upto - 1]) == range->upto &&
			!scan.slot->tts_isnull[Anum_foreign_ranges_lowest_id - 1] &&
			!scan.slot->tts_isnull[Anum_foreign_ranges_highest_id - 1];
		if (is_noted)
		{
			*lowest = *DatumGetUUIDP(values[Anum_foreign_ranges_lowest_id - 1]);
			*highest = *DatumGetUUIDP(values[Anum_foreign_ranges_highest_id - 1]);
		}
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return is_noted;
}

/* Ask for the first id in a direction; false: there is none. */
static bool
remote_ask_bound(Relation table, ScanDirection direction, pg_uuid_t *id)
{
	bool is_found;
	bool is_null;
	EsScan scan;

	es_scan_open(&scan, table, ES_EVENTS_ID);
	scan.wants_entries = true;
	es_scan_begin(&scan, SnapshotAny);
	is_found = es_scan_next(&scan, direction);
	if (is_found)
		*id = *DatumGetUUIDP(slot_getattr(scan.slot, Anum_events_id, &is_null));
	es_scan_close(&scan);
	return is_found;
}

/* The lowest and the highest id of a range that is a foreign table; false: it has no events. */
bool
es_remote_ids_bounds(const EsRange *range, Relation table, pg_uuid_t *lowest, pg_uuid_t *highest)
{
	return remote_read_note(range, lowest, highest) ||
		(remote_ask_bound(table, ForwardScanDirection, lowest) &&
		 remote_ask_bound(table, BackwardScanDirection, highest));
}

/* ----------------------------------------------------------------------
 * A look
 * ----------------------------------------------------------------------
 */

/* The ids that appends give, as an array. */
static Datum
remote_collect(EsAppend *const *appends, int append_count)
{
	Size total = 0;
	int count = 0;
	Datum *ids;
	int i;
	int j;

	for (i = 0; i < append_count; i++)
		total += appends[i]->event_count;
	ids = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * total);
	for (i = 0; i < append_count; i++)
		for (j = 0; j < appends[i]->event_count; j++)
			if (appends[i]->events[j].has_given_id)
				ids[count++] = UUIDPGetDatum(&appends[i]->events[j].id);
	return PointerGetDatum(construct_array(ids, count, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR));
}

static EsSelect *
remote_plan(Relation table, Datum ids)
{
	static const AttrNumber wanted[] = {Anum_events_position, Anum_events_stream,
										Anum_events_version, Anum_events_id};
	EsSelectWhat what = {.table = table,
						 .role = GetUserId(),
						 .security = es_select_security(GetUserId()),
						 .direction = ForwardScanDirection,
						 .is_of_events = true,
						 .low = PG_INT64_MIN,
						 .high = PG_INT64_MAX,
						 .ids = ids,
						 .row = RelationGetDescr(table)};
	int i;

	what.column_count = es_ranges_columns(ES_EVENTS_ID, what.columns);
	for (i = 0; i < lengthof(wanted); i++)
		what.wanted = bms_add_member(what.wanted, wanted[i]);
	return es_select_plan(&what);
}

static void
remote_note(EsRemoteIds *ids, TupleTableSlot *slot)
{
	EsRemoteId *found;

	if (ids->count == 0)
		ids->found = palloc(sizeof(EsRemoteId));
	else
		ids->found = repalloc_huge(ids->found, sizeof(EsRemoteId) * (ids->count + 1));
	found = &ids->found[ids->count++];
	slot_getallattrs(slot);
	found->id = *DatumGetUUIDP(slot->tts_values[Anum_events_id - 1]);
	found->stream = DatumGetTextPCopy(slot->tts_values[Anum_events_stream - 1]);
	found->version = DatumGetInt64(slot->tts_values[Anum_events_version - 1]);
	found->position = DatumGetInt64(slot->tts_values[Anum_events_position - 1]);
}

static EsRemoteIds *
remote_ask(Relation table, EsAppend *const *appends, int append_count)
{
	EsRemoteIds *ids = palloc0(sizeof(EsRemoteIds));
	EsSelect *select = remote_plan(table, remote_collect(appends, append_count));
	TupleTableSlot *slot;

	ids->table = RelationGetRelid(table);
	es_select_begin(select, GetLatestSnapshot());
	while ((slot = es_select_next(select)) != NULL)
		remote_note(ids, slot);
	es_select_free(select);
	return ids;
}

static int
remote_compare(const void *key, const void *found)
{
	return memcmp(((const pg_uuid_t *) key)->data, ((const EsRemoteId *) found)->id.data, UUID_LEN);
}

/*
 * Find an id in a range that is a foreign table.  The first time, all ids of the
 * appends are asked for.
 *
 * known: what has been asked for before; NULL at first.
 *
 * Returns NULL if it is not there.
 */
const EsRemoteId *
es_remote_ids_find(EsRemoteIds **known, Relation table, const pg_uuid_t *id,
				   EsAppend *const *appends, int append_count)
{
	EsRemoteIds *ids = *known;

	while (ids != NULL && ids->table != RelationGetRelid(table))
		ids = ids->next;
	if (ids == NULL)
	{
		ids = remote_ask(table, appends, append_count);
		ids->next = *known;
		*known = ids;
	}
	return ids->count == 0
		? NULL
		: bsearch(id, ids->found, ids->count, sizeof(EsRemoteId), remote_compare);
}
