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
 * An event whose range was detached is gone, too, and is known by itself as long as
 * its range is at hand, in eventstore.detached_events; before that goes, its
 * events get their rows (keeping/depart.c).  So who looks, looks there first.
 *
 * Whoever takes events from a stream, or changes them, takes the stream's lock
 * "keeps" against who saves what it amounts to: a snapshot must not come to be
 * behind the back of who throws snapshots away.  Who saves never waits for it.
 * It comes before the lock on the stream's row.
 *
 * Memory: results in the current context.  Locks: AccessShare on the tables and
 * their indexes; the userlock "keeps", to the end of the transaction.  Calls:
 * catalog, partition, ranges, scan.
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
#include "base/ranges.h"
#include "base/removed.h"
#include "base/userlock.h"

/*
 * Whether there are ranges that were detached and are at hand.  Remembered: who
 * detaches one, or attaches it again, has eventstore.events for himself, so that
 * whoever has a lock on that has heard of it.
 */
static bool
removed_has_detached(void)
{
	static uint64 generation = PG_UINT64_MAX;
	static bool has_any = false;

	if (unlikely(generation != es_catalog_generation()))
	{
		Relation detached = es_catalog_open(ES_DETACHED, AccessShareLock);

		generation = es_catalog_generation();
		has_any = es_ranges_count(detached) > 0;
		relation_close(detached, AccessShareLock);
	}
	return has_any;
}

/*
 * Begin to look; end with es_removed_close.  The caller has a lock on
 * eventstore.events, and looks there first.
 */
void
es_removed_open(EsRemovedLook *look)
{
	look->rel = es_catalog_open(ES_REMOVED, AccessShareLock);
	look->is_any = look->is_open = look->is_detached_open = false;
	look->has_detached = removed_has_detached();
	look->detached = NULL;
}

/* eventstore.detached_events; to be closed with the look. */
Relation
es_removed_get_detached(EsRemovedLook *look)
{
	if (look->detached == NULL)
		look->detached = es_catalog_open(ES_DETACHED, AccessShareLock);
	return look->detached;
}

/* Asked anew as long as there is nothing: the first removal may come at any time. */
static bool
removed_is_any(EsRemovedLook *look)
{
	if (!look->is_any)
		look->is_any = RelationGetNumberOfBlocks(look->rel) > 0;
	return look->is_any;
}

/* Whether anything may be gone, ever. */
bool
es_removed_may_have(EsRemovedLook *look)
{
	return look->has_detached || removed_is_any(look);
}

static bool
removed_find_by_id(EsScan *scan, const pg_uuid_t *id, Snapshot snapshot)
{
	scan->key_count = 0;
	es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
	es_scan_begin(scan, snapshot);
	return es_scan_next(scan, ForwardScanDirection);
}

/* Find an event by its id in eventstore.removed_events; see es_removed_find. */
bool
es_removed_find_listed(EsRemovedLook *look, const pg_uuid_t *id, Snapshot snapshot,
					   EsRemoved *removed)
{
	bool is_found;

	if (!removed_is_any(look))
		return false;
	if (!look->is_open)
		es_scan_open(&look->scan, look->rel, ES_REMOVED_PKEY);
	look->is_open = true;
	is_found = removed_find_by_id(&look->scan, id, snapshot);
	if (is_found)
	{
		TupleTableSlot *slot = look->scan.slot;

		slot_getsomeattrs(slot, Anum_removed_recorded_at);
		removed->position = DatumGetInt64(slot->tts_values[Anum_removed_position - 1]);
		removed->stream = DatumGetTextPCopy(slot->tts_values[Anum_removed_stream - 1]);
		removed->version = DatumGetInt64(slot->tts_values[Anum_removed_version - 1]);
		removed->recorded_at = DatumGetTimestampTz(slot->tts_values[Anum_removed_recorded_at - 1]);
	}
	es_scan_stop(&look->scan);
	return is_found;
}

/* The same in the ranges that were detached, of which there are some. */
bool
es_removed_find_detached(EsRemovedLook *look, const pg_uuid_t *id, Snapshot snapshot,
						 EsRemoved *removed)
{
	bool is_found;

	if (!look->is_detached_open)
		es_scan_open(&look->detached_scan, es_removed_get_detached(look), ES_EVENTS_ID);
	look->is_detached_open = true;
	is_found = removed_find_by_id(&look->detached_scan, id, snapshot);
	if (is_found)
	{
		TupleTableSlot *slot = look->detached_scan.slot;

		slot_getsomeattrs(slot, Anum_events_recorded_at);
		removed->position = DatumGetInt64(slot->tts_values[Anum_events_position - 1]);
		removed->stream = DatumGetTextPCopy(slot->tts_values[Anum_events_stream - 1]);
		removed->version = DatumGetInt64(slot->tts_values[Anum_events_version - 1]);
		removed->recorded_at = DatumGetTimestampTz(slot->tts_values[Anum_events_recorded_at - 1]);
	}
	es_scan_stop(&look->detached_scan);
	return is_found;
}

/*
 * Find an event by its id.
 *
 * snapshot: may be a dirty one: who removes an event in a transaction that is
 * still open need not be waited for, as the event itself is found as well.
 * removed: receives what is known of it, in the current context.
 *
 * Returns false if no event of this id is gone.
 */
bool
es_removed_find(EsRemovedLook *look, const pg_uuid_t *id, Snapshot snapshot, EsRemoved *removed)
{
	return (look->has_detached && es_removed_find_detached(look, id, snapshot, removed)) ||
		es_removed_find_listed(look, id, snapshot, removed);
}

void
es_removed_close(EsRemovedLook *look)
{
	if (look->is_open)
		es_scan_close(&look->scan);
	if (look->is_detached_open)
		es_scan_close(&look->detached_scan);
	if (look->detached != NULL)
		relation_close(look->detached, NoLock);
	relation_close(look->rel, NoLock);
}

/* ----------------------------------------------------------------------
 * By position, and by version
 * ----------------------------------------------------------------------
 */

/* The first event that a scan comes to. */
typedef struct RemovedQuestion
{
	EsRelation listed;   /* the index of eventstore.removed_events to go by */
	EsRelation detached; /* and of the ranges */
	const text *stream;  /* whose version; or NULL */
	int64 number;        /* version or position that is asked for; 0: the highest position */
} RemovedQuestion;

/* The position of the event, 0: there is none. */
static int64
removed_scan(Relation rel, EsRelation index, const RemovedQuestion *question, Snapshot snapshot)
{
	AttrNumber column = index == question->listed ? Anum_removed_position : Anum_events_position;
	ScanDirection direction = question->number == 0 ? BackwardScanDirection : ForwardScanDirection;
	int64 position = 0;
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, rel, index);
	if (question->stream != NULL)
		es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ,
						PointerGetDatum(question->stream));
	if (question->number != 0)
		es_scan_add_key(&scan, question->stream != NULL ? 2 : 1, BTEqualStrategyNumber, F_INT8EQ,
						Int64GetDatum(question->number));
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, direction))
		position = DatumGetInt64(slot_getattr(scan.slot, column, &is_null));
	es_scan_close(&scan);
	return position;
}

static int64
removed_ask(const RemovedQuestion *question, Snapshot snapshot)
{
	EsRemovedLook look;
	int64 position = 0;

	es_removed_open(&look);
	if (look.has_detached)
		position = removed_scan(es_removed_get_detached(&look), question->detached, question,
								snapshot);
	if ((position == 0 || question->number == 0) && removed_is_any(&look))
		position = Max(position, removed_scan(look.rel, question->listed, question, snapshot));
	es_removed_close(&look);
	return position;
}

/* The highest position of an event that is gone, that a snapshot sees; 0 if there is none. */
int64
es_removed_last(Snapshot snapshot)
{
	RemovedQuestion question = {ES_REMOVED_POSITION, ES_EVENTS_PKEY, NULL, 0};

	return removed_ask(&question, snapshot);
}

/* Whether the event at a position is gone. */
bool
es_removed_is_at(int64 position)
{
	RemovedQuestion question = {ES_REMOVED_POSITION, ES_EVENTS_PKEY, NULL, position};
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool result = position > 0 && removed_ask(&question, snapshot) > 0;

	UnregisterSnapshot(snapshot);
	return result;
}

/* Whether a snapshot sees that a stream's event is gone. */
bool
es_removed_is_version(const text *stream, int64 version, Snapshot snapshot)
{
	RemovedQuestion question = {ES_REMOVED_STREAM_VERSION, ES_EVENTS_STREAM_VERSION, stream,
								version};

	return version > 0 && removed_ask(&question, snapshot) > 0;
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
