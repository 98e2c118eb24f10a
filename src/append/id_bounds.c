/*-------------------------------------------------------------------------
 *
 * id_bounds.c
 *		Between which ids those of a closed range are.
 *
 * A range that the head has passed is closed: no event comes into it any more,
 * so the lowest and the highest of its ids are so for good.  Who makes ranges
 * writes them down in eventstore.partition_ids (partition/closed.c), so that a
 * session has all of them by one look at a small table; to ask each range's index
 * would have it open hundreds of tables for its first id.  Of a range that
 * has no row there, one that was closed a moment ago or has come by a restore,
 * the index is asked.
 *
 * Ranges are known by their OIDs: what a DBA puts in the place of one is another
 * table.
 *
 * Memory: a hash table in TopMemoryContext, 64 bytes a range.  Locks: AccessShare
 * on the table, and on ranges, for moments.  Calls: catalog, ranges,
 * remote_ids, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#include "append/id_bounds.h"
#include "append/remote_ids.h"
#include "base/compat.h"
#include "base/scan.h"

static HTAB *bounds_known = NULL;

/* When the table was read last, by es_catalog_generation. */
static uint64 bounds_generation = PG_UINT64_MAX;

int
es_id_compare(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a->data, b->data, UUID_LEN);
}

static EsIdBounds *
bounds_find(Oid table, int64 upto)
{
	EsIdBounds *bounds = hash_search(bounds_known, &table, HASH_FIND, NULL);

	return bounds != NULL && bounds->upto == upto ? bounds : NULL;
}

static EsIdBounds *
bounds_enter(Oid table)
{
	bool is_known;
	EsIdBounds *bounds = hash_search(bounds_known, &table, HASH_ENTER, &is_known);

	/* Not good for anything before it is filled. */
	bounds->upto = PG_INT64_MIN;
	return bounds;
}

/* ----------------------------------------------------------------------
 * From the table
 * ----------------------------------------------------------------------
 */

static void
bounds_take_row(TupleTableSlot *slot)
{
	EsIdBounds *bounds;

	slot_getsomeattrs(slot, Anum_partition_ids_highest);
	bounds = bounds_enter(DatumGetObjectId(slot->tts_values[Anum_partition_ids_partition - 1]));
	bounds->is_empty = slot->tts_isnull[Anum_partition_ids_lowest - 1];
	if (!bounds->is_empty)
	{
		bounds->lowest = *DatumGetUUIDP(slot->tts_values[Anum_partition_ids_lowest - 1]);
		bounds->highest = *DatumGetUUIDP(slot->tts_values[Anum_partition_ids_highest - 1]);
	}
	bounds->upto = DatumGetInt64(slot->tts_values[Anum_partition_ids_upto_position - 1]);
}

static void
bounds_read_table(void)
{
	uint64 generation = es_catalog_generation();
	Relation rel = es_catalog_open(ES_PARTITION_IDS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		bounds_take_row(slot);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	bounds_generation = generation;
}

/* ----------------------------------------------------------------------
 * From the range itself
 * ----------------------------------------------------------------------
 */

/* The id of the first entry in a direction, whatever became of its row; false: there is none. */
static bool
bounds_read_entry(Relation range, ScanDirection direction, pg_uuid_t *id)
{
	EsScan scan;
	Oid index;
	bool is_found;
	bool is_null;

	es_scan_open(&scan, range, ES_EVENTS_ID);
	index = RelationGetRelid(scan.index);
	es_scan_begin(&scan, SnapshotAny);
	is_found = es_scan_next(&scan, direction);
	if (is_found)
		*id = *DatumGetUUIDP(slot_getattr(scan.slot, Anum_events_id, &is_null));
	es_scan_close(&scan);
	UnlockRelationOid(index, AccessShareLock);
	return is_found;
}

static EsIdBounds *
bounds_read_range(const EsRange *range)
{
	EsIdBounds *bounds = bounds_enter(range->table);
	Relation rel = table_open(range->table, AccessShareLock);

	if (es_ranges_is_remote(rel))
		bounds->is_empty = !es_remote_ids_bounds(range, rel, &bounds->lowest, &bounds->highest);
	else
		bounds->is_empty = !bounds_read_entry(rel, ForwardScanDirection, &bounds->lowest) ||
			!bounds_read_entry(rel, BackwardScanDirection, &bounds->highest);
	/*
	 * What is closed stays as it is.  To hold the locks of all ranges would have
	 * each later transaction of the session pay at its end: PostgreSQL goes through
	 * a table of locks that has grown once, and never shrinks.
	 */
	table_close(rel, AccessShareLock);
	bounds->upto = range->upto;
	return bounds;
}

/* The bounds of a closed range; good until the next call. */
const EsIdBounds *
es_id_bounds_get(const EsRange *range)
{
	EsIdBounds *bounds;

	if (bounds_known == NULL)
	{
		HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(EsIdBounds)};

		bounds_known = hash_create("eventstore bounds of ids", 64, &control, HASH_ELEM | HASH_BLOBS);
	}
	bounds = bounds_find(range->table, range->upto);
	if (bounds == NULL && bounds_generation != es_catalog_generation())
	{
		bounds_read_table();
		bounds = bounds_find(range->table, range->upto);
	}
	return bounds != NULL ? bounds : bounds_read_range(range);
}
