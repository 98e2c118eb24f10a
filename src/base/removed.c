/*-------------------------------------------------------------------------
 *
 * removed.c
 *		Events that are gone.
 *
 * Of an event that was truncated or deleted stays a row of
 * eventstore.removed_events, by which its id is known for ever: who gives it
 * again gets the first answer.  A store from which nothing was ever removed has
 * a table without a page, and is asked for no more than that.
 *
 * Whoever takes events from a stream, or changes them, takes the stream's lock
 * "keeps" against who saves what it amounts to: a snapshot must not come to be
 * behind the back of who throws snapshots away.  Who saves never waits for it.
 * It comes before the lock on the stream's row.
 *
 * Memory: results in the current context.  Locks: AccessShare on the table and
 * its indexes; the userlock "keeps", to the end of the transaction.  Calls:
 * catalog, partition, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/partition.h"
#include "base/removed.h"
#include "base/userlock.h"

/* Begin to look; end with es_removed_close. */
void
es_removed_open(EsRemovedLook *look)
{
	look->rel = es_catalog_open(ES_REMOVED, AccessShareLock);
	look->is_any = look->is_open = false;
}

/* Asked anew as long as there is nothing: the first removal may come at any time. */
static bool
removed_is_any(EsRemovedLook *look)
{
	if (!look->is_any)
		look->is_any = RelationGetNumberOfBlocks(look->rel) > 0;
	return look->is_any;
}

/*
 * Find an event by its id.
 *
 * snapshot: may be a dirty one: who removes an event in a transaction that is
 * still open need not be waited for, as the event itself is found as well.
 * removed: receives what is known of it, in the current context.
 *
 * Returns false if no event of this id has been removed.
 */
bool
es_removed_find(EsRemovedLook *look, const pg_uuid_t *id, Snapshot snapshot, EsRemoved *removed)
{
	TupleTableSlot *slot;

	if (!removed_is_any(look))
		return false;
	if (!look->is_open)
		es_scan_open(&look->scan, look->rel, ES_REMOVED_PKEY);
	look->is_open = true;
	look->scan.key_count = 0;
	es_scan_add_key(&look->scan, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	es_scan_begin(&look->scan, snapshot);
	if (!es_scan_next(&look->scan, ForwardScanDirection))
	{
		es_scan_stop(&look->scan);
		return false;
	}
	slot = look->scan.slot;
	slot_getsomeattrs(slot, Anum_removed_recorded_at);
	removed->position = DatumGetInt64(slot->tts_values[Anum_removed_position - 1]);
	removed->stream = DatumGetTextPCopy(slot->tts_values[Anum_removed_stream - 1]);
	removed->version = DatumGetInt64(slot->tts_values[Anum_removed_version - 1]);
	removed->recorded_at = DatumGetTimestampTz(slot->tts_values[Anum_removed_recorded_at - 1]);
	es_scan_stop(&look->scan);
	return true;
}

void
es_removed_close(EsRemovedLook *look)
{
	if (look->is_open)
		es_scan_close(&look->scan);
	relation_close(look->rel, NoLock);
}

/* Whether anything may have been removed from this store, ever. */
bool
es_removed_is_any(void)
{
	EsRemovedLook look;
	bool result;

	es_removed_open(&look);
	result = removed_is_any(&look);
	es_removed_close(&look);
	return result;
}

/* The highest position of a removed event that a snapshot sees; 0 if there is none. */
int64
es_removed_last(Snapshot snapshot)
{
	EsRemovedLook look;
	int64 position = 0;

	es_removed_open(&look);
	if (removed_is_any(&look))
	{
		EsScan scan;
		bool is_null;

		es_scan_open(&scan, look.rel, ES_REMOVED_POSITION);
		es_scan_begin(&scan, snapshot);
		if (es_scan_next(&scan, BackwardScanDirection))
			position = DatumGetInt64(slot_getattr(scan.slot, Anum_removed_position, &is_null));
		es_scan_close(&scan);
	}
	es_removed_close(&look);
	return position;
}

/* Whether the event at a position was removed. */
bool
es_removed_is_at(int64 position)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsRemovedLook look;
	bool result = false;

	es_removed_open(&look);
	if (removed_is_any(&look))
	{
		EsScan scan;

		es_scan_open(&scan, look.rel, ES_REMOVED_POSITION);
		es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(position));
		es_scan_begin(&scan, snapshot);
		result = es_scan_next(&scan, ForwardScanDirection);
		es_scan_close(&scan);
	}
	es_removed_close(&look);
	UnregisterSnapshot(snapshot);
	return result;
}

/* Whether a snapshot sees that a stream's event was removed. */
bool
es_removed_is_version(const text *stream, int64 version, Snapshot snapshot)
{
	EsRemovedLook look;
	bool result = false;

	es_removed_open(&look);
	if (removed_is_any(&look))
	{
		EsScan scan;

		es_scan_open(&scan, look.rel, ES_REMOVED_STREAM_VERSION);
		es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
		es_scan_add_key(&scan, 2, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(version));
		es_scan_begin(&scan, snapshot);
		result = es_scan_next(&scan, ForwardScanDirection);
		es_scan_close(&scan);
	}
	es_removed_close(&look);
	return result;
}

/* ----------------------------------------------------------------------
 * What a stream amounts to
 * ----------------------------------------------------------------------
 */

/*
 * Streams share this many locks, so that who takes events from all of them does
 * not use up the lock table.
 */
#define REMOVED_LOCKS 1024

static bool
removed_lock(const text *stream, LOCKMODE mode, bool may_wait)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_KEEPS, es_partition_hash(stream) % REMOVED_LOCKS);

	return LockAcquire(&tag, mode, false, !may_wait) != LOCKACQUIRE_NOT_AVAIL;
}

/* This transaction takes events from a stream, or changes them. */
void
es_removed_guard(const text *stream)
{
	(void) removed_lock(stream, ExclusiveLock, true);
}

/* The same without waiting; returns false if somebody else does, or saves a snapshot. */
bool
es_removed_try_guard(const text *stream)
{
	return removed_lock(stream, ExclusiveLock, false);
}

/*
 * This transaction saves what a stream amounts to.  Returns false if somebody
 * takes events from it just now: who has appended to it may have its row, and
 * that one wait for it.
 */
bool
es_removed_keep(const text *stream)
{
	return removed_lock(stream, RowExclusiveLock, false);
}
