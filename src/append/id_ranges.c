/*-------------------------------------------------------------------------
 *
 * id_ranges.c
 *		Which ranges of a partitioned eventstore.events may have an id.
 *
 * An index keeps ids unique within its range only, so an id that a caller gives
 * is looked up in the others, too.  A range that the head has passed is closed, and
 * it is known between which ids its own are (id_bounds.c).  UUIDv7 rise with time, so a new one
 * is above all that is closed, which one comparison tells; an old one is within the bounds
 * of one range or two.  Other ids may be anywhere, and each range is asked.  The same
 * holds of ranges that were detached and are still at hand.
 *
 * Memory: static variables.  Locks: RowExclusive on the sequence of positions.
 * Calls: catalog, id_bounds, order, position, ranges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"

#include "append/id_bounds.h"
#include "append/id_ranges.h"
#include "base/compat.h"
#include "order/order.h"
#include "order/position.h"

/* A position up to which everything is closed. */
static Oid closed_store = InvalidOid;
static int64 closed_upto = 0;

/* The highest id of some ranges from the first one on, as of a generation of the catalog. */
typedef struct IdHighest
{
	uint64 generation;
	int count;
	pg_uuid_t id;
} IdHighest;

static IdHighest highest_attached = {.count = -1};
static IdHighest highest_detached = {.count = -1};

/* Whether an id is above all of the ranges below one by number, which are closed. */
static bool
id_is_above(IdHighest *highest, Relation table, int count, const pg_uuid_t *id)
{
	if (highest->count != count || highest->generation != es_catalog_generation())
	{
		pg_uuid_t found = {{0}};
		int i;

		for (i = 0; i < count; i++)
		{
			EsRange range = es_ranges_get(table, i);
			const EsIdBounds *bounds = es_id_bounds_get(&range);

			if (!bounds->is_empty && es_id_compare(&bounds->highest, &found) > 0)
				found = bounds->highest;
		}
		highest->id = found;
		highest->count = count;
		highest->generation = es_catalog_generation();
	}
	return es_id_compare(id, &highest->id) > 0;
}

/* The first closed range from a number on down between whose bounds an id is; -1: there is none. */
static int
id_find_bounds(Relation table, const pg_uuid_t *id, int number)
{
	for (; number >= 0; number--)
	{
		EsRange range = es_ranges_get(table, number);
		const EsIdBounds *bounds;

		CHECK_FOR_INTERRUPTS();
		bounds = es_id_bounds_get(&range);
		if (!bounds->is_empty && es_id_compare(id, &bounds->lowest) >= 0 &&
			es_id_compare(id, &bounds->highest) <= 0)
			return number;
	}
	return -1;
}

/* The number of the range that a position is in; at most the last one's. */
static int
id_find_range(Relation events, int64 position, int last)
{
	int number = es_ranges_find(events, position);

	return Min(number, last);
}

/*
 * The range above which there is nothing.
 *
 * given_out: the last position that was, and whether no events came without.
 */
static int
id_find_newest(Relation events, int64 given_out, bool is_ours)
{
	int last;

	if (unlikely(es_ranges_find(events, given_out) >= es_ranges_count(events)))
		es_ranges_hear();
	last = es_ranges_count(events) - 1;
	/* Else they may be anywhere. */
	return is_ours ? id_find_range(events, given_out, last) : last;
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
	int64 given_out = es_position_given_out_yet(&is_ours);

	if (unlikely(closed_store != es_catalog_oid(ES_POSITIONS)))
	{
		closed_store = es_catalog_oid(ES_POSITIONS);
		closed_upto = 0;
		highest_attached.count = highest_detached.count = -1;
	}
	look.newest = id_find_newest(events, given_out, is_ours);
	look.oldest_open = id_find_range(events, closed_upto + 1, look.newest);
	if (look.oldest_open < look.newest)
	{
		int64 head = es_order_head(NULL);

		closed_upto = Max(closed_upto, head);
		look.oldest_open = id_find_range(events, closed_upto + 1, look.newest);
	}
	look.closed_upto = closed_upto;
	return look;
}

/*
 * The range above which there is nothing now, by number, for who has taken
 * positions.
 */
int
es_id_ranges_newest(Relation events)
{
	bool is_ours;
	int64 given_out = es_position_given_out_since(&is_ours);

	return id_find_newest(events, given_out, is_ours);
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
	if (number < 0 || id_is_above(&highest_attached, events, look->oldest_open, id))
		return -1;
	return id_find_bounds(events, id, number);
}

/* Whether an id is known to be above all of ranges that were detached, without a look at them. */
bool
es_id_ranges_is_above_detached(const pg_uuid_t *id)
{
	return highest_detached.count >= 0 && highest_detached.generation == es_catalog_generation() &&
		es_id_compare(id, &highest_detached.id) > 0;
}

/*
 * Whether one of the ranges that were detached may have an id; they are all
 * closed.
 *
 * detached: eventstore.detached_events.
 */
bool
es_id_ranges_may_be_detached(Relation detached, const pg_uuid_t *id)
{
	int count = es_ranges_count(detached);

	return !id_is_above(&highest_detached, detached, count, id) &&
		id_find_bounds(detached, id, count - 1) >= 0;
}
