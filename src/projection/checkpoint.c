/*-------------------------------------------------------------------------
 *
 * checkpoint.c
 *		How far projections are: the rows of eventstore.projection_checkpoints.
 *
 * A checkpoint is written by every batch.  While anybody in the database holds a
 * snapshot, each version of it stays, and who looked for it by the projection's
 * name would walk over all of them.  So the key is the name and a revision, which
 * rises: the newest is found from the end of the index, and what is behind it is
 * never visited.  A row keeps its revision as long as its next version stays on
 * its page, and so is in no need of an entry in the index; then the next one is
 * inserted, with the next revision, and the old one deleted.
 *
 * Memory: the current context.  Locks: AccessShare or RowExclusive on the table;
 * who saves holds the projection's lock, so there is no other writer.  Calls:
 * catalog, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/scan.h"
#include "projection/checkpoint.h"

/* A row, and where it is. */
typedef struct CheckpointRow
{
	ItemPointerData tid;
	int64 revision;
	EsCheckpoint checkpoint;
} CheckpointRow;

/* Returns whether there is one that the snapshot sees. */
static bool
checkpoint_find(Relation rel, const char *projection, Snapshot seen_by, CheckpointRow *row)
{
	Snapshot snapshot = RegisterSnapshot(seen_by);
	EsScan scan;
	bool is_found;

	es_scan_open(&scan, rel, ES_CHECKPOINTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(projection));
	es_scan_begin(&scan, snapshot);
	is_found = es_scan_next(&scan, BackwardScanDirection);
	if (is_found)
	{
		Datum *values = scan.slot->tts_values - 1;

		slot_getallattrs(scan.slot);
		row->tid = scan.slot->tts_tid;
		row->revision = DatumGetInt64(values[Anum_checkpoints_revision]);
		row->checkpoint.position = DatumGetInt64(values[Anum_checkpoints_position]);
		row->checkpoint.events_applied = DatumGetInt64(values[Anum_checkpoints_events_applied]);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	return is_found;
}

/*
 * How far a projection is, as a snapshot sees it.  Returns false if nothing says
 * so.
 */
bool
es_checkpoint_find(const char *projection, Snapshot snapshot, EsCheckpoint *checkpoint)
{
	Relation rel = es_catalog_open(ES_CHECKPOINTS, AccessShareLock);
	CheckpointRow row;
	bool is_found = checkpoint_find(rel, projection, snapshot, &row);

	if (is_found)
		*checkpoint = row.checkpoint;
	relation_close(rel, NoLock);
	return is_found;
}

static HeapTuple
checkpoint_make_row(Relation rel, const char *projection, int64 revision,
					const EsCheckpoint *checkpoint)
{
	bool nulls[Natts_checkpoints] = {false};
	Datum values[Natts_checkpoints + 1];

	values[Anum_checkpoints_projection] = CStringGetTextDatum(projection);
	values[Anum_checkpoints_revision] = Int64GetDatum(revision);
	values[Anum_checkpoints_position] = Int64GetDatum(checkpoint->position);
	values[Anum_checkpoints_events_applied] = Int64GetDatum(checkpoint->events_applied);
	return heap_form_tuple(RelationGetDescr(rel), values + 1, nulls);
}

/* Whether another version has room on the page of a row. */
static bool
checkpoint_has_room(Relation rel, const CheckpointRow *row, HeapTuple next)
{
	Buffer buffer = ReadBuffer(rel, ItemPointerGetBlockNumber(&row->tid));
	bool has_room = PageGetHeapFreeSpace(BufferGetPage(buffer)) >= MAXALIGN(next->t_len);

	ReleaseBuffer(buffer);
	return has_room;
}

static void
checkpoint_replace(Relation rel, const char *projection, CheckpointRow *row,
				   const EsCheckpoint *checkpoint)
{
	HeapTuple next = checkpoint_make_row(rel, projection, row->revision, checkpoint);

	if (checkpoint_has_room(rel, row, next))
	{
		CatalogTupleUpdate(rel, &row->tid, next);
		if (HeapTupleIsHeapOnly(next))
			return;
		/* Somebody has taken the room meanwhile. */
		row->tid = next->t_self;
		CommandCounterIncrement();
	}
	next = checkpoint_make_row(rel, projection, row->revision + 1, checkpoint);
	CatalogTupleDelete(rel, &row->tid);
	CatalogTupleInsert(rel, next);
}

/*
 * Whether this transaction sees the newest row there is, which above READ
 * COMMITTED it may not.
 */
static bool
checkpoint_is_seen(Relation rel, const char *projection, const CheckpointRow *newest)
{
	SnapshotData snapshot;
	CheckpointRow seen;

	if (!IsolationUsesXactSnapshot())
		return true;
	if (!checkpoint_find(rel, projection, es_scan_snapshot(&snapshot), &seen))
		return newest == NULL;
	return newest != NULL &&
		ItemPointerEquals(&seen.tid, &unconstify(CheckpointRow *, newest)->tid);
}

/*
 * Save how far a projection is, whose lock is held.  Returns false if somebody
 * else has done so since the transaction's snapshot.
 */
bool
es_checkpoint_save(const char *projection, const EsCheckpoint *checkpoint)
{
	Relation rel = es_catalog_open(ES_CHECKPOINTS, RowExclusiveLock);
	CheckpointRow row;
	bool has_row;
	bool is_seen;

	/* What this command has written counts. */
	CommandCounterIncrement();
	has_row = checkpoint_find(rel, projection, GetLatestSnapshot(), &row);
	is_seen = checkpoint_is_seen(rel, projection, has_row ? &row : NULL);
	if (is_seen && has_row)
		checkpoint_replace(rel, projection, &row, checkpoint);
	else if (is_seen)
		CatalogTupleInsert(rel, checkpoint_make_row(rel, projection, 1, checkpoint));
	relation_close(rel, NoLock);
	CommandCounterIncrement();
	return is_seen;
}
