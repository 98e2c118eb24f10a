/*-------------------------------------------------------------------------
 *
 * id_ranges.c
 *		Which ranges of a partitioned eventstore.events may have an id.
 *
 * An index keeps ids unique within its range only, so an id that a caller gives
 * is looked up in the others, too.  A range that the head has passed is closed:
 * no event comes into it any more, and the lowest and the highest of its ids,
 * which its index tells, are so for good.  UUIDv7 rise with time, so a new one
 * is above all that is closed, which one comparison tells; an old one is within the bounds
 * of one range or two.  Other ids may be anywhere, and each range is asked.
 *
 * Memory: static variables, and a hash table in TopMemoryContext with 64 bytes a
 * range.  Locks: AccessShare on the ranges, for moments; RowExclusive on the
 * sequence of positions.  Calls: catalog, order, position, ranges, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"

#include "append/id_ranges.h"
#include "base/compat.h"
#include "base/ranges.h"
#include "base/scan.h"
#include "order/order.h"
#include "order/position.h"

typedef struct IdBounds
{
	Oid table; /* the key */
	int64 upto;
	bool is_empty;
	pg_uuid_t lowest;
	pg_uuid_t highest;
} IdBounds;

static HTAB *id_bounds = NULL;

/* A position up to which everything is closed. */
static Oid closed_store = InvalidOid;
static int64 closed_upto = 0;

/* The highest id of some ranges from the first one on, as of a generation of the catalog. */
static uint64 highest_generation = 0;
static int highest_count = -1;
static pg_uuid_t highest_id;

static int
id_compare(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a->data, b->data, UUID_LEN);
}

/* ----------------------------------------------------------------------
 * Bounds
 * ----------------------------------------------------------------------
 */

/* The id of the first entry in a direction, whatever became of its row; false: there is none. */
static bool
id_read_bound(Relation range, ScanDirection direction, pg_uuid_t *id)
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

/* The bounds of a closed range. */
static const IdBounds *
id_get_bounds(const EsRange *range)
{
	IdBounds *bounds;
	bool is_known;

	if (id_bounds == NULL)
	{
		HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(IdBounds)};

		id_bounds = hash_create("eventstore bounds of ids", 64, &control, HASH_ELEM | HASH_BLOBS);
	}
	bounds = hash_search(id_bounds, &range->table, HASH_ENTER, &is_known);
	if (!is_known || bounds->upto != range->upto)
	{
		Relation rel;

		/* Not good for anything before it is read. */
		bounds->upto = PG_INT64_MIN;
		rel = table_open(range->table, AccessShareLock);
		bounds->is_empty = !id_read_bound(rel, ForwardScanDirection, &bounds->lowest) ||
			!id_read_bound(rel, BackwardScanDirection, &bounds->highest);
		/*
		 * What is closed stays as it is.  To hold the locks of all ranges would have
		 * each later transaction of the session pay at its end: PostgreSQL goes through
		 * a table of locks that has grown once, and never shrinks.
		 */
		table_close(rel, AccessShareLock);
		bounds->upto = range->upto;
	}
	return bounds;
}

/* Whether an id is above all of the ranges below one by number, which are closed. */
static bool
id_is_above(Relation events, int count, const pg_uuid_t *id)
{
	if (highest_count != count || highest_generation != es_catalog_generation())
	{
		pg_uuid_t highest = {{0}};
		int i;

		for (i = 0; i < count; i++)
		{
			EsRange range = es_ranges_get(events, i);
			const IdBounds *bounds = id_get_bounds(&range);

			if (!bounds->is_empty && id_compare(&bounds->highest, &highest) > 0)
				highest = bounds->highest;
		}
		highest_id = highest;
		highest_count = count;
		highest_generation = es_catalog_generation();
	}
	return id_compare(id, &highest_id) > 0;
}

/* ----------------------------------------------------------------------
 * A look
 * ----------------------------------------------------------------------
 */

/* The number of the range that a position is in; at most the last one's. */
static int
id_find_range(Relation events, int64 position, int last)
{
	int number = es_ranges_find(events, position);

	return Min(number, last);
}

/*
 * Begin to look for ids.  Which ranges are open is what it was at this moment:
 * what comes into a range that is open is to be looked for again, when one's own events are in.
 */
EsIdRanges
es_id_ranges_begin(Relation events)
{
	EsIdRanges look;
	bool is_ours;
	int last = es_ranges_count(events) - 1;

	if (closed_store != es_catalog_oid(ES_POSITIONS))
	{
		closed_store = es_catalog_oid(ES_POSITIONS);
		closed_upto = 0;
		highest_count = -1;
	}
	look.newest = id_find_range(events, es_position_given_out_yet(&is_ours), last);
	/* Where events came without positions, they may be anywhere. */
	if (!is_ours)
		look.newest = last;
	look.oldest_open = id_find_range(events, closed_upto + 1, last);
	if (look.oldest_open < look.newest)
	{
		int64 head = es_order_head(NULL);

		closed_upto = Max(closed_upto, head);
		look.oldest_open = id_find_range(events, closed_upto + 1, last);
	}
	look.closed_upto = closed_upto;
	return look;
}

/*
 * The next range below one by number, the newest first, that may have an id; -1:
 * there is none.
 */
int
es_id_ranges_next(Relation events, const EsIdRanges *look, const pg_uuid_t *id, int number)
{
	if (--number >= look->oldest_open)
		return number;
	if (number < 0 || id_is_above(events, look->oldest_open, id))
		return -1;
	for (; number >= 0; number--)
	{
		EsRange range = es_ranges_get(events, number);
		const IdBounds *bounds;

		CHECK_FOR_INTERRUPTS();
		bounds = id_get_bounds(&range);
		if (!bounds->is_empty && id_compare(id, &bounds->lowest) >= 0 &&
			id_compare(id, &bounds->highest) <= 0)
			return number;
	}
	return -1;
}
