/*-------------------------------------------------------------------------
 *
 * take.c
 *		Taking positions.
 *
 * An append takes all its positions at once, and says in the same hold of the
 * sequence's page that it is in flight.  Before that it makes sure of what others
 * may have changed: that the sequence is above all events, and that the store takes
 * the streams and gives out positions as this session knows.  Where the sequence is
 * as this store has left it, and what the session knows is of its epoch, there is
 * nothing to look at.
 *
 * Memory: static variables of the backend.  Locks: on the sequence RowExclusive;
 * its page for moments.  Calls: catalog, fence, floor, inflight, member, position,
 * window.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "order/fence.h"
#include "order/floor.h"
#include "order/inflight.h"
#include "order/member.h"
#include "order/position.h"
#include "order/take.h"
#include "order/window.h"

/*
 * When this session has looked, by es_catalog_generation; at first: never.  It looks
 * once, since what the backend knows of the store's tables has changed, even where
 * the sequence is ours, in case somebody has got round what disowns it.
 */
static uint64 take_generation = PG_UINT64_MAX;

/* What the store is, where there is nothing to look at; else NULL. */
static const EsMember *
take_known(const EsPositionHold *hold)
{
	const EsMember *member = es_member_if_known();

	return likely(member != NULL && hold->is_ours && hold->epoch == member->epoch &&
				  take_generation == es_catalog_generation())
		? member
		: NULL;
}

/*
 * Look at all that may have changed, and hold the sequence's page again.
 *
 * is_fenced: receives whether es_fence_leave has to be called.
 * feed: receives the store's.
 *
 * Returns the last position given out.
 */
static int64
take_look(EsPositionHold *hold, EsAppend *const *appends, int append_count, bool *is_fenced,
		  int *feed)
{
	bool was_ours = hold->is_ours;

	for (;;)
	{
		XLogRecPtr logged = hold->logged;
		uint64 generation;
		uint64 epoch;
		int64 floor;
		int64 last;

		*is_fenced = es_fence_enter(appends, append_count);
		epoch = es_member_get()->epoch;
		*feed = es_member_get()->feed;
		/* What is heard of from here on is looked at by the next append. */
		generation = es_catalog_generation();
		if (!was_ours)
			es_floor_check_fed();
		floor = was_ours ? es_floor_events() : es_floor_find();
		/* The other way round, what others take meanwhile would be in the way. */
		last = es_position_hold(hold);
		if (hold->is_ours || (!was_ours && (hold->logged == logged || !*is_fenced)))
		{
			es_floor_check(floor, last);
			take_generation = generation;
			hold->epoch = epoch;
			hold->stays_foreign = !*is_fenced;
			return last;
		}
		/* Somebody has stored events meanwhile that positions were not taken for. */
		es_position_release(hold);
		was_ours = false;
		if (*is_fenced)
			es_fence_leave();
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Take positions for the events of a call, having published that this transaction
 * does so.  Call it with the streams' rows locked.
 *
 * count: events.
 *
 * Raises 55000 where the sequence is behind the events, SE009 where the store has
 * come not to take one of the streams.
 */
EsTaken
es_take_positions(EsAppend *const *appends, int append_count, int64 count)
{
	bool is_fenced = false;
	EsPositionHold hold;
	EsTaken taken;
	int64 last = es_position_hold(&hold);
	const EsMember *member = take_known(&hold);
	int feed;

	if (member != NULL)
		feed = member->feed;
	else
	{
		es_position_release(&hold);
		last = take_look(&hold, appends, append_count, &is_fenced, &feed);
	}
	es_inflight_enter(RelationGetRelid(hold.sequence), last);
	taken.first = es_position_take(&hold, last, count, feed);
	es_position_release(&hold);
	if (is_fenced)
		es_fence_leave();
	es_window_take();
	taken.step = feed == ES_NO_FEED ? 1 : ES_FEEDS;
	return taken;
}
