/*-------------------------------------------------------------------------
 *
 * seal.c
 *		es_seal: history up to the head, brought down to a digest.
 *
 * A head makes a range final: no event can appear at or below it any more, which
 * is why a digest of what is there is one for ever.  Events are read in order of
 * position, as a snapshot sees them that was taken after the head; each has its
 * digest (digest.c), 128 of these one more, which is kept with an outline (block.c),
 * and those of the blocks, with that of the seal before, make the seal's.  An
 * append has nothing to do with it.
 *
 * What was removed before is no part of the seal; what is removed or redacted
 * later leaves its digest.  For moments, until the snapshot is taken, nobody may
 * be about to do so (custody.c): so whatever is open then has become one or the
 * other.
 *
 * One seal is made after the other.  Above READ COMMITTED one that another
 * session has made since the snapshot raises 40001.
 *
 * Memory: the current context; a block's is given back with it.  Locks: userlock
 * "seals", to the end of the transaction; "custody", for moments; AccessShare on
 * events, RowExclusive on eventstore.seals and eventstore.seal_blocks.  Calls:
 * arguments, block, catalog, custody, digest, floor, order, position, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/scan.h"
#include "base/userlock.h"
#include "keeping/block.h"
#include "keeping/custody.h"
#include "keeping/digest.h"
#include "keeping/seal.h"
#include "order/floor.h"
#include "order/order.h"
#include "order/position.h"

PG_FUNCTION_INFO_V1(es_seal);

/* A seal that is being made. */
typedef struct SealWork
{
	EsSeal seal;
	EsDigester *of_events; /* and of blocks */
	EsDigester *of_seal;
	Relation blocks; /* eventstore.seal_blocks */

	/* The block that is being filled. */
	int64 block; /* its number */
	int count;
	int64 last_position; /* of the last event */
	uint8 digests[ES_BLOCK_EVENTS][ES_DIGEST_BYTES];
	uint8 outline[ES_BLOCK_EVENTS][ES_BLOCK_OUTLINE_BYTES];
} SealWork;

/* ----------------------------------------------------------------------
 * The seal before
 * ----------------------------------------------------------------------
 */

/* The last seal that a snapshot sees; its number is 0 if there is none. */
static EsSeal
seal_find_last(Snapshot snapshot)
{
	Relation rel = es_catalog_open(ES_SEALS, AccessShareLock);
	EsSeal seal = {0};
	EsScan scan;

	es_scan_open(&scan, rel, ES_SEALS_PKEY);
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, BackwardScanDirection))
	{
		bytea *digest;

		slot_getallattrs(scan.slot);
		seal.number = DatumGetInt64(scan.slot->tts_values[Anum_seals_seal - 1]);
		seal.upto = DatumGetInt64(scan.slot->tts_values[Anum_seals_upto - 1]);
		digest = DatumGetByteaPP(scan.slot->tts_values[Anum_seals_digest - 1]);
		memcpy(seal.digest, VARDATA_ANY(digest), Min(ES_DIGEST_BYTES, VARSIZE_ANY_EXHDR(digest)));
	}
	es_scan_close(&scan);
	relation_close(rel, NoLock);
	return seal;
}

/* The last seal there is, whose successor only we can make. */
static EsSeal
seal_get_last(void)
{
	Snapshot latest = RegisterSnapshot(GetLatestSnapshot());
	EsSeal last = seal_find_last(latest);

	UnregisterSnapshot(latest);
	if (IsolationUsesXactSnapshot())
	{
		SnapshotData copy;

		if (seal_find_last(es_scan_snapshot(&copy)).number != last.number)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent seal"),
					 errhint("Retry the transaction.")));
	}
	return last;
}

/* ----------------------------------------------------------------------
 * Making one
 * ----------------------------------------------------------------------
 */

static Datum
seal_bytes(const void *bytes, Size length)
{
	bytea *value = (bytea *) palloc(VARHDRSZ + length);

	SET_VARSIZE(value, VARHDRSZ + length);
	memcpy(VARDATA(value), bytes, length);
	return PointerGetDatum(value);
}

/* The block is full, or the last one: store it. */
static void
seal_end_block(SealWork *work)
{
	bool nulls[Natts_seal_blocks] = {false};
	Datum values[Natts_seal_blocks];
	uint8 digest[ES_DIGEST_BYTES];

	es_block_digest(work->of_events, work->digests[0], work->count, digest);
	es_digest_bytes(work->of_seal, digest, ES_DIGEST_BYTES);
	values[Anum_seal_blocks_seal - 1] = Int64GetDatum(work->seal.number);
	values[Anum_seal_blocks_block - 1] = Int64GetDatum(++work->block);
	values[Anum_seal_blocks_last_position - 1] = Int64GetDatum(work->last_position);
	values[Anum_seal_blocks_events - 1] = Int32GetDatum(work->count);
	values[Anum_seal_blocks_digest - 1] = seal_bytes(digest, ES_DIGEST_BYTES);
	values[Anum_seal_blocks_outline - 1] = seal_bytes(work->outline,
													  (Size) work->count * ES_BLOCK_OUTLINE_BYTES);
	CatalogTupleInsert(work->blocks, heap_form_tuple(RelationGetDescr(work->blocks), values, nulls));
	work->count = 0;
}

static void
seal_take(SealWork *work, TupleTableSlot *slot)
{
	uint8 *digest = work->digests[work->count];
	EsDigestInput input;

	slot_getsomeattrs(slot, Natts_event);
	es_digest_input(&input, slot->tts_values, slot->tts_isnull);
	es_digest_add_event(work->of_events, &input, digest);
	es_block_outline(work->outline[work->count], input.position, digest);
	work->last_position = input.position;
	work->seal.events++;
	if (++work->count == ES_BLOCK_EVENTS)
		seal_end_block(work);
}

/* Take the events of the range, or as many as may be; the seal then ends with the last of them. */
static void
seal_take_events(SealWork *work, Snapshot snapshot, int64 max_events)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "block",
												 ALLOCSET_DEFAULT_SIZES);
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(work->seal.after));
	es_scan_add_key(&scan, 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(work->seal.upto));
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		MemoryContext caller = MemoryContextSwitchTo(memory);

		CHECK_FOR_INTERRUPTS();
		seal_take(work, scan.slot);
		MemoryContextSwitchTo(caller);
		if (work->count % (ES_BLOCK_EVENTS / 8) == 0)
			MemoryContextReset(memory);
		if (work->seal.events == max_events)
		{
			work->seal.upto = work->last_position;
			break;
		}
	}
	es_scan_close(&scan);
	relation_close(events, NoLock);
	if (work->count > 0)
		seal_end_block(work);
	MemoryContextDelete(memory);
}

static void
seal_store(const EsSeal *seal)
{
	Relation rel = es_catalog_open(ES_SEALS, RowExclusiveLock);
	bool nulls[Natts_seals] = {false};
	Datum values[Natts_seals];

	values[Anum_seals_seal - 1] = Int64GetDatum(seal->number);
	values[Anum_seals_after_position - 1] = Int64GetDatum(seal->after);
	values[Anum_seals_upto - 1] = Int64GetDatum(seal->upto);
	values[Anum_seals_events - 1] = Int64GetDatum(seal->events);
	values[Anum_seals_sealed_at - 1] = TimestampTzGetDatum(seal->sealed_at);
	values[Anum_seals_digest - 1] = seal_bytes(seal->digest, ES_DIGEST_BYTES);
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	relation_close(rel, NoLock);
	/* For the next one, even in the same statement. */
	CommandCounterIncrement();
}

/* Seal what comes after the last seal.  Returns up to where; 0 if there is no event. */
static int64
seal_range(const EsSeal *last, const EsView *view, const EsSealBounds *bounds)
{
	SealWork *work = palloc0(sizeof(SealWork));
	int64 upto;

	work->seal.number = last->number + 1;
	work->seal.after = last->upto;
	work->seal.upto = Min(bounds->upto, view->head);
	work->blocks = es_catalog_open(ES_SEAL_BLOCKS, RowExclusiveLock);
	work->of_events = es_digest_begin();
	work->of_seal = es_digest_begin();
	es_block_seal_begin(work->of_seal, last);
	seal_take_events(work, view->snapshot, bounds->max_events);
	if (work->seal.events > 0)
	{
		work->seal.sealed_at = GetCurrentTimestamp();
		es_block_seal_finish(work->of_seal, &work->seal, work->seal.digest);
		seal_store(&work->seal);
	}
	es_digest_end(work->of_seal);
	es_digest_end(work->of_events);
	relation_close(work->blocks, NoLock);
	upto = work->seal.events > 0 ? work->seal.upto : 0;
	pfree(work);
	return upto;
}

/*
 * Seal history after the last seal.
 *
 * Returns the position that it is sealed up to; 0 if there is nothing new, or if
 * we may not wait and somebody is in the way.  Raises 40001.
 */
int64
es_seal_make(const EsSealBounds *bounds)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_SEALS, 0);
	int64 upto = 0;
	EsView view;
	EsSeal last;

	if (LockAcquire(&tag, ExclusiveLock, false, !bounds->may_wait) == LOCKACQUIRE_NOT_AVAIL)
		return 0;
	last = seal_get_last();
	if (!es_custody_settle(bounds->may_wait))
		return 0;
	es_order_begin_view(&view);
	es_custody_unsettle();
	if (Min(bounds->upto, view.head) > last.upto)
		upto = seal_range(&last, &view, bounds);
	es_order_end_view(&view);
	return upto;
}

/* While a restore is not done, or positions are behind the events, no history is final. */
static void
seal_check_positions(void)
{
	bool is_ours;

	es_floor_check_fed();
	if (es_order_is_behind())
		es_floor_check(es_floor_events(), es_position_given_out(false, &is_ours));
}

/*
 * es_seal(upto bigint = NULL) -> bigint
 */
Datum
es_seal(PG_FUNCTION_ARGS)
{
	EsSealBounds bounds = {.upto = PG_INT64_MAX, .max_events = PG_INT64_MAX, .may_wait = true};
	int64 upto;

	if (!PG_ARGISNULL(0))
		bounds.upto = es_arguments_get_position(fcinfo, 0, "upto");
	PreventCommandIfReadOnly("es_seal()");
	PreventCommandIfParallelMode("es_seal()");
	seal_check_positions();
	upto = es_seal_make(&bounds);
	if (upto == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(upto);
}
