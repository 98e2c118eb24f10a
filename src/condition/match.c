/*-------------------------------------------------------------------------
 *
 * match.c
 *		The events that match an item of a query, in order of position.
 *
 * Each tag of the item is a scan of the index of tags (tag_index.c), which
 * gives positions in order.  The entries of one of them, the driver, are looked
 * at one after the other: the row tells whether it has the tags and the type.  When many rows in a row did not match, all scans are sent to where the
 * driver stands; the one that gets furthest with a few entries is the rarest
 * there, and drives from now on, from the place where the last of them begins.
 * So an item of a tag with a million events and one with ten costs about what
 * the ten cost, whichever is named first, and no statistics are asked.
 *
 * An item without tags looks at every event of the range.
 *
 * Memory: the current context.  Locks: AccessShare on the index, until the end
 * of the transaction.  Calls: query, scan, tag_index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgroids.h"

#include "condition/match.h"
#include "condition/tag_index.h"

/* Column of the index of tags. */
#define MATCH_COLUMN_POSITION 2

/* Rows that need not match before the driver is chosen anew: at first, and at the most. */
#define MATCH_FIRST_PATIENCE 32
#define MATCH_LAST_PATIENCE  1024

/* Entries by which scans are compared. */
#define MATCH_SAMPLE 8

static bool
match_is_forward(const EsMatch *match)
{
	return ScanDirectionIsForward(match->range->direction);
}

/*
 * Restrict a scan to the range.  The bound that the scan moves away from comes
 * first: a jump moves it.
 */
static void
match_add_range(EsMatch *match, EsScan *scan, AttrNumber column)
{
	const EsMatchRange *range = match->range;

	if (match_is_forward(match))
	{
		es_scan_add_key(scan, column, BTGreaterStrategyNumber, F_INT8GT,
						Int64GetDatum(range->above));
		es_scan_add_key(scan, column, BTLessEqualStrategyNumber, F_INT8LE,
						Int64GetDatum(range->at_most));
	}
	else
	{
		es_scan_add_key(scan, column, BTLessEqualStrategyNumber, F_INT8LE,
						Int64GetDatum(range->at_most));
		es_scan_add_key(scan, column, BTGreaterStrategyNumber, F_INT8GT,
						Int64GetDatum(range->above));
	}
	es_scan_begin(scan, range->snapshot);
}

/*
 * Begin; end with es_match_end.
 *
 * item, range: stay where they are meanwhile.
 */
void
es_match_begin(EsMatch *match, const EsQueryItem *item, const EsMatchRange *range)
{
	int i;

	match->item = item;
	match->range = range;
	match->scan_count = Max(item->tag_count, 1);
	match->scans = palloc(sizeof(EsScan) * match->scan_count);
	match->driver = 0;
	match->failures = 0;
	match->patience = MATCH_FIRST_PATIENCE;
	if (item->tag_count == 0)
	{
		es_scan_open(&match->scans[0], range->events, ES_EVENTS_PKEY);
		match_add_range(match, &match->scans[0], 1);
	}
	for (i = 0; i < item->tag_count; i++)
	{
		EsScan *scan = &match->scans[i];

		if (i == 0)
			es_scan_open(scan, range->events, ES_EVENTS_TAGS);
		else
			es_scan_open_into(scan, range->events, ES_EVENTS_TAGS, match->scans[0].slot);
		scan->wants_entries = true;
		scan->tags = item->tags;
		scan->tag_count = item->tag_count;
		es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_INT8EQ,
						es_tag_index_key((const text *) DatumGetPointer(item->tags[i])));
		match_add_range(match, scan, MATCH_COLUMN_POSITION);
	}
	match->slot = match->scans[0].slot;
}

/* Move a scan to its next entry, whoever sees its row. */
static bool
match_step(EsMatch *match, int number, int64 *position)
{
	return es_scan_next_any_entry(&match->scans[number], match->range->direction,
								  MATCH_COLUMN_POSITION, position);
}

/* Have a scan go on with the entry at a position, or the first behind it. */
static void
match_jump(EsMatch *match, int number, int64 position)
{
	es_scan_jump(&match->scans[number], 1,
				 Int64GetDatum(match_is_forward(match) ? position - 1 : position));
}

/* Which of two positions is further on the way. */
static int64
match_further(const EsMatch *match, int64 a, int64 b)
{
	return match_is_forward(match) ? Max(a, b) : Min(a, b);
}

/*
 * Look how far a few entries of a scan lead from a position on.  Returns false
 * if there is none.
 */
static bool
match_sample(EsMatch *match, int number, int64 position, int64 *first, int64 *reach)
{
	int i;

	match_jump(match, number, position);
	if (!match_step(match, number, first))
		return false;
	*reach = *first;
	for (i = 1; i < MATCH_SAMPLE; i++)
	{
		if (match_step(match, number, reach))
			continue;
		*reach = match_is_forward(match) ? PG_INT64_MAX : 0;
		break;
	}
	return true;
}

/*
 * Choose the driver anew, from the entry after a position on.  Returns false if
 * some tag has no more entries: then nothing matches any more.
 */
static bool
match_choose(EsMatch *match, int64 position)
{
	int64 from = match_is_forward(match) ? position + 1 : position - 1;
	int64 begin = from;
	int64 furthest = from;
	int driver = match->driver;
	int i;

	for (i = 0; i < match->scan_count; i++)
	{
		int64 first;
		int64 reach;

		if (!match_sample(match, i, from, &first, &reach))
			return false;
		begin = match_further(match, begin, first);
		if (reach != furthest && match_further(match, reach, furthest) == reach)
		{
			furthest = reach;
			driver = i;
		}
	}
	match_jump(match, driver, begin);
	match->failures = 0;
	match->patience = driver == match->driver ? Min(match->patience * 2, MATCH_LAST_PATIENCE)
											  : MATCH_FIRST_PATIENCE;
	match->driver = driver;
	return true;
}

/* Move the driver to the next row, visible and with all tags. */
static bool
match_next_tagged(EsMatch *match)
{
	int64 position;

	while (match_step(match, match->driver, &position))
	{
		CHECK_FOR_INTERRUPTS();
		if (es_scan_fetch(&match->scans[match->driver]) &&
			es_query_has_tags(match->item, match->slot))
			return true;
		if (match->scan_count > 1 && ++match->failures == match->patience &&
			!match_choose(match, position))
			return false;
	}
	return false;
}

/*
 * Move to the next match.  Returns whether there is one; it is then in
 * match->slot.
 */
bool
es_match_next(EsMatch *match)
{
	bool has_tags = match->item->tag_count > 0;

	while (has_tags ? match_next_tagged(match)
					: es_scan_next(&match->scans[0], match->range->direction))
	{
		bool is_null;

		CHECK_FOR_INTERRUPTS();
		if (!es_query_has_type(match->item, match->slot))
			continue;
		match->position = DatumGetInt64(slot_getattr(match->slot, Anum_events_position, &is_null));
		return true;
	}
	return false;
}

void
es_match_end(EsMatch *match)
{
	int i;

	/* The first one owns the slot of all. */
	for (i = match->scan_count - 1; i >= 0; i--)
		es_scan_close(&match->scans[i]);
	pfree(match->scans);
}
