/*-------------------------------------------------------------------------
 *
 * floor.c
 *		The floor: what the store knows of, and positions go on above.
 *
 * Positions come from a sequence, and events may come without it: logical
 * replication does not carry sequences, a restore may leave it out, a COPY does
 * not ask for positions, and setval() puts it anywhere.  A position below an
 * event that is there would be given out twice, or be passed over by every
 * reader that is further, so it must not be given out.
 *
 * The floor is the highest position of an event, committed or not, gone or not,
 * and of what else remembers how far somebody has read: shares of subscriptions,
 * projections, the head that was announced.  Who takes positions compares it with
 * the sequence where it is not known that we wrote that last (position.c),
 * and raises if the sequence is below.  es_repair_positions() puts that right.
 *
 * While a subscription of PostgreSQL's feeds eventstore.events, no position is
 * right: more events are to come, in the order of commits.
 *
 * Memory: the current context.  Locks: AccessShare on the relations.  Calls:
 * catalog, ranges, removed, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_subscription.h"
#include "catalog/pg_subscription_rel.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/ranges.h"
#include "base/removed.h"
#include "base/scan.h"
#include "order/floor.h"

/*
 * Who has read further above the last event than this has read nothing: gaps
 * come of rollbacks.  A subscription that was told to begin nowhere must not
 * use up all positions.
 */
#define FLOOR_WIDEST_GAP (INT64CONST(1) << 40)

/*
 * The last position that a snapshot sees an event at, or sees that there was one
 * which is gone; 0 if there is none.
 */
int64
es_floor_visible(Snapshot snapshot)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	EsScan scan;
	int64 position = 0;
	bool is_null;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, BackwardScanDirection))
		position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));
	es_scan_close(&scan);
	relation_close(events, NoLock);
	return Max(position, es_removed_last(snapshot));
}

/* The last position of an event that was not rolled back, committed or not. */
int64
es_floor_events(void)
{
	SnapshotData dirty;

	InitDirtySnapshot(dirty);
	return es_floor_visible(&dirty);
}

/* The highest value of a column, as far as it is not above limit. */
static int64
floor_highest(EsRelation table, EsRelation index, AttrNumber column, int64 limit)
{
	Relation rel = es_catalog_open(table, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64 highest = 0;
	EsScan scan;

	es_scan_open(&scan, rel, index);
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		bool is_null;
		int64 value = DatumGetInt64(slot_getattr(scan.slot, column, &is_null));

		if (value <= limit)
			highest = Max(highest, value);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return highest;
}

/*
 * The last position before one that a range of eventstore.events has: where the
 * next one is in a gap, of ranges that were detached, no event has a place.  So it
 * is where a dump was restored without data, say, and its first ranges were away.
 */
static int64
floor_pass_gap(int64 floor)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);

	if (es_ranges_are_of(events) && floor < PG_INT64_MAX)
	{
		int number = es_ranges_find(events, floor + 1);

		if (number < es_ranges_count(events))
			/* The first range has no lower bound. */
			floor = Max(floor, Max(es_ranges_get(events, number).from, 1) - 1);
	}
	relation_close(events, NoLock);
	return floor;
}

/*
 * The floor.  Positions that are taken later are above it; so ask for it
 * first, and then where the sequence is.
 */
int64
es_floor_find(void)
{
	int64 floor = es_floor_events();
	int64 limit = floor + Min(FLOOR_WIDEST_GAP, PG_INT64_MAX - floor);
	int64 read[] = {floor_highest(ES_HEAD, ES_HEAD_PKEY, Anum_head_position, limit),
					floor_highest(ES_SHARES, ES_SHARES_PKEY, Anum_shares_scanned, limit),
					floor_highest(ES_SHARES, ES_SHARES_PKEY, Anum_shares_checkpoint, limit),
					floor_highest(ES_PROJECTIONS, ES_PROJECTIONS_PKEY, Anum_projections_position,
								  limit),
					floor_highest(ES_CHECKPOINTS, ES_CHECKPOINTS_PKEY, Anum_checkpoints_position,
								  limit)};
	int i;

	for (i = 0; i < lengthof(read); i++)
		floor = Max(floor, read[i]);
	return floor_pass_gap(floor);
}

/* Raise 55000 where positions would be given out at or below the floor. */
void
es_floor_check(int64 floor, int64 last)
{
	if (last < floor)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("positions are behind the events that are stored"),
				 errdetail("The last position given out is %lld, but position %lld is in use.",
						   (long long) last, (long long) floor),
				 errhint("Sequence \"%s.%s\" was set back, or events came without it. Call es_repair_positions() to go on above them.",
						 ES_SCHEMA, "positions")));
}

/* The subscriptions of PostgreSQL's that feed eventstore.events. */
static CatCList *
floor_find_feeds(void)
{
	return SearchSysCacheList1(SUBSCRIPTIONRELMAP, ObjectIdGetDatum(es_catalog_oid(ES_EVENTS)));
}

bool
es_floor_is_fed(void)
{
	CatCList *feeds = floor_find_feeds();
	bool is_fed = feeds->n_members > 0;

	ReleaseSysCacheList(feeds);
	return is_fed;
}

/* Raise 55000 if eventstore.events is fed by a subscription of PostgreSQL's. */
void
es_floor_check_fed(void)
{
	CatCList *feeds = floor_find_feeds();
	Oid subscription = InvalidOid;

	if (feeds->n_members > 0)
	{
		HeapTuple row = &feeds->members[0]->tuple;

		subscription = ((Form_pg_subscription_rel) GETSTRUCT(row))->srsubid;
	}
	ReleaseSysCacheList(feeds);
	if (OidIsValid(subscription))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("events of this store come by logical replication"),
				 errdetail("Subscription \"%s\" feeds \"%s.%s\".", get_subscription_name(subscription, true),
						   ES_SCHEMA, "events"),
				 errhint("To append here, drop the subscription, and call es_repair_positions() then.")));
}
