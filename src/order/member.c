/*-------------------------------------------------------------------------
 *
 * member.c
 *		What this store is among several: which streams it takes, and which
 *		positions it gives out.
 *
 * eventstore.member has one row at the most, which says that the store is a cell:
 * that it takes appends to the streams of some slots only, and gives out positions
 * of its feed.  Without one, or where it says nothing, a store takes all.  Or it
 * says that the store is a mirror, and takes none.
 *
 * A backend reads it once, and anew when the table was invalidated.  As it may hear
 * of that too late, what it knows is confirmed when positions are taken: each change
 * has a number, the epoch, that stands in the sequence, too; see position.c, fence.c.
 *
 * Memory: static variables.  Locks: AccessShare on the relations.  Calls: catalog,
 * partition, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/scan.h"
#include "order/member.h"
#include "order/position.h"

/* What is known, and since which es_catalog_generation. */
static EsMember member_known;
static uint64 member_generation = PG_UINT64_MAX;

/* ----------------------------------------------------------------------
 * Slots
 * ----------------------------------------------------------------------
 */

/* Read slots from an int4multirange. */
static void
member_read_slots(uint8 *slots, Datum value)
{
	MultirangeType *ranges = DatumGetMultirangeTypeP(value);
	TypeCacheEntry *type = lookup_type_cache(INT4MULTIRANGEOID, TYPECACHE_MULTIRANGE_INFO);
	RangeType **items;
	int count;
	int i;

	memset(slots, 0, es_partition_set_bytes(ES_SLOTS));
	multirange_deserialize(type->rngtype, ranges, &count, &items);
	for (i = 0; i < count; i++)
	{
		RangeBound lower;
		RangeBound upper;
		bool is_empty;
		int slot;

		range_deserialize(type->rngtype, items[i], &lower, &upper, &is_empty);
		for (slot = lower.infinite ? 0 : Max(0, DatumGetInt32(lower.val)); slot < ES_SLOTS; slot++)
		{
			if (!upper.infinite && slot >= DatumGetInt32(upper.val))
				break;
			es_partition_set_add(slots, slot);
		}
	}
}

/* ----------------------------------------------------------------------
 * The row
 * ----------------------------------------------------------------------
 */

/* Read a row of eventstore.member. */
static void
member_read_row(EsMember *member, TupleTableSlot *row)
{
	slot_getsomeattrs(row, Anum_member_epoch);
	member->epoch = (uint64) DatumGetInt64(row->tts_values[Anum_member_epoch - 1]);
	member->is_mirror = DatumGetBool(row->tts_values[Anum_member_is_mirror - 1]);
	member->is_cell = !row->tts_isnull[Anum_member_cell - 1];
	member->feed = ES_NO_FEED;
	if (!member->is_cell)
		return;
	member->cell = DatumGetInt32(row->tts_values[Anum_member_cell - 1]);
	member->feed = DatumGetInt32(row->tts_values[Anum_member_feed - 1]);
	member_read_slots(member->slots, row->tts_values[Anum_member_slots - 1]);
}

/*
 * Read what the store is, as a snapshot sees it.  A dirty one sees the row as it
 * was, too, as long as who changes it is not done: the last epoch is what it will be.
 */
void
es_member_read(EsMember *member, Snapshot snapshot)
{
	Relation rel;
	EsScan scan;

	memset(member, 0, sizeof(EsMember));
	member->feed = ES_NO_FEED;
	/* The library may be newer than the store. */
	if (!es_catalog_has(ES_MEMBER))
		return;
	rel = es_catalog_open(ES_MEMBER, AccessShareLock);
	es_scan_open(&scan, rel, ES_MEMBER_PKEY);
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		bool is_null;
		Datum epoch = slot_getattr(scan.slot, Anum_member_epoch, &is_null);

		if ((uint64) DatumGetInt64(epoch) >= member->epoch)
			member_read_row(member, scan.slot);
	}
	es_scan_close(&scan);
	relation_close(rel, NoLock);
}

/* What the store is, if that has not to be read; else NULL. */
const EsMember *
es_member_if_known(void)
{
	return likely(member_generation == es_catalog_generation()) ? &member_known : NULL;
}

/* Apart, as each append asks for what is known. */
static pg_noinline void
member_look(void)
{
	uint64 generation = es_catalog_generation();
	Snapshot snapshot;
	EsMember member;

	snapshot = RegisterSnapshot(GetLatestSnapshot());
	es_member_read(&member, snapshot);
	UnregisterSnapshot(snapshot);
	member_known = member;
	/* What has changed meanwhile is looked at again by the next call. */
	member_generation = generation;
}

/* The same as it is by now.  Valid until the next call. */
const EsMember *
es_member_get(void)
{
	if (unlikely(member_generation != es_catalog_generation()))
		member_look();
	return &member_known;
}

/* The same, whatever this session has heard of. */
const EsMember *
es_member_get_anew(void)
{
	AcceptInvalidationMessages();
	member_generation = PG_UINT64_MAX;
	return es_member_get();
}

/* ----------------------------------------------------------------------
 * The door
 * ----------------------------------------------------------------------
 */

/* The cell that takes a slot, as the map has it; -1: it does not say. */
static int
member_find_cell(int slot)
{
	Relation rel = es_catalog_open(ES_MAPPED_CELLS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int cell = -1;
	EsScan scan;

	es_scan_open(&scan, rel, ES_MAPPED_CELLS_PKEY);
	es_scan_begin(&scan, snapshot);
	while (cell < 0 && es_scan_next(&scan, ForwardScanDirection))
	{
		uint8 slots[es_partition_set_bytes(ES_SLOTS)];

		slot_getsomeattrs(scan.slot, Anum_mapped_cells_slots);
		member_read_slots(slots, scan.slot->tts_values[Anum_mapped_cells_slots - 1]);
		if (es_partition_set_has(slots, slot))
			cell = DatumGetInt32(scan.slot->tts_values[Anum_mapped_cells_cell - 1]);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return cell;
}

static void
member_refuse(const EsMember *member, const text *stream)
{
	int slot = es_partition_slot(stream);
	int cell = member_find_cell(slot);

	if (cell >= 0 && cell != member->cell)
		ereport(ERROR,
				(errcode(ES_ERRCODE_WRONG_CELL),
				 errmsg("stream \"%s\" belongs to another cell", text_to_cstring(stream)),
				 errdetail("Its slot is %d, of cell %d; this store is cell %d.", slot, cell, member->cell),
				 errhint("Append to it there, or through the router.")));
	ereport(ERROR,
			(errcode(ES_ERRCODE_WRONG_CELL),
			 errmsg("stream \"%s\" does not belong to this cell", text_to_cstring(stream)),
			 errdetail("Its slot is %d, which this store, cell %d, does not take; its map names no other cell that does.",
					   slot, member->cell),
			 errhint("Look at \"%s.cells\" of the other cells, or append through the router.", ES_SCHEMA)));
}

/* Whether a store takes appends to a stream. */
bool
es_member_takes(const EsMember *member, const text *stream)
{
	return !member->is_cell || es_partition_set_has(member->slots, es_partition_slot(stream));
}

/* Raise 55000 if the store's events come from another one. */
void
es_member_check_own(void)
{
	if (likely(!es_member_get()->is_mirror))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("this store is a mirror"),
			 errdetail("Its events come from another store, by logical replication."),
			 errhint("Append there. To append here, drop the subscription that feeds it, and call es_unset_mirror() then.")));
}

/* Raise SE009 if this store does not take a stream, 55000 if it takes none. */
void
es_member_check_stream(const text *stream)
{
	const EsMember *member = es_member_get();

	if (likely(!member->is_cell && !member->is_mirror))
		return;
	es_member_check_own();
	if (likely(es_member_takes(member, stream)))
		return;
	/* It may have been given the stream just now. */
	member = es_member_get_anew();
	if (!es_member_takes(member, stream))
		member_refuse(member, stream);
}

/* The same of all streams of a call. */
void
es_member_check(const EsAppend *appends, int append_count)
{
	const EsMember *member = es_member_get();
	int i;

	if (likely(!member->is_cell && !member->is_mirror))
		return;
	for (i = 0; i < append_count; i++)
		es_member_check_stream(appends[i].stream);
}
