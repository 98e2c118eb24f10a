/*-------------------------------------------------------------------------
 *
 * order.c
 *		The order that no reader can miss an event of: the head.
 *
 * Positions are taken before commit, so transactions become visible in
 * another order than their positions.  What makes reading by position safe is
 * to know which appends are in flight, and from which position on:
 *
 * - An append, holding the rows of its streams, reads the last position given
 *	 out, L, publishes "I am above L", and only then takes positions.
 * - What it published is withdrawn after its transaction has become visible
 *	 or has vanished.
 * - The head is the last position given out, or the lowest L published,
 *	 whichever is less.  It is read in this order, and a reader takes its
 *	 snapshot after it.
 *
 * Proof: see docs/order.md.
 *
 * Publishing is inflight.c's.
 *
 * In REPEATABLE READ and SERIALIZABLE the snapshot is older than the head:
 * events that were in flight when it was taken are invisible for good.  The
 * head then is bound by the lowest of those, too; see past.c.
 *
 * On a standby there are no locks of appends; see standby.c.  Nor are there in a
 * mirror, see mirror.c.
 *
 * Memory: the current context.  Locks: AccessShare on the relations.  Calls:
 * floor, inflight, member, mirror, past, position, standby.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/snapmgr.h"

#include "order/floor.h"
#include "order/inflight.h"
#include "order/member.h"
#include "order/mirror.h"
#include "order/order.h"
#include "order/past.h"
#include "order/position.h"
#include "order/standby.h"

/*
 * The last position given out, or, where the sequence may be behind the events,
 * that of the last event that others see, too.  Where more events are to come
 * by logical replication, in the order of commits, that would be too high.
 */
static int64
order_with_events(int64 last)
{
	Snapshot snapshot;
	SnapshotData of_others;
	int64 visible;

	if (es_floor_is_fed())
		return last;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	of_others = *snapshot;
	of_others.curcid = FirstCommandId; /* nothing of what this transaction did */
	visible = es_floor_visible(&of_others);
	UnregisterSnapshot(snapshot);
	return Max(last, visible);
}

/* Whether a head is as a snapshot sees it, on a standby and in a mirror. */
static bool
order_is_seen(void)
{
	return es_member_get()->is_mirror || RecoveryInProgress();
}

/* It, as es_order_head tells it. */
static int64
order_head_seen(Snapshot snapshot, bool *is_told)
{
	bool is_whole = false;
	int64 head = es_member_get()->is_mirror ? es_mirror_head(snapshot, &is_whole)
											: es_standby_head(snapshot);

	/* The end of an initial copy wakes nobody, nor does a standby's replay. */
	if (is_told != NULL)
		*is_told = is_whole && !RecoveryInProgress();
	return head;
}

/*
 * The head of this moment.  Events up to it are seen by a snapshot that is
 * taken afterwards, by no older one.
 *
 * is_told: receives whether everybody who can move it wakes who waits; not so
 * prepared transactions, which any session may end, and a standby's replay.
 * NULL: the caller does not care.
 */
int64
es_order_head(bool *is_told)
{
	EsInflight in_flight;
	bool is_ours;
	int64 head;

	if (order_is_seen())
	{
		Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

		head = order_head_seen(snapshot, is_told);
		UnregisterSnapshot(snapshot);
		return head;
	}

	/* First what was given out, then who is in flight: see the proof. */
	head = es_position_given_out(true, &is_ours);
	if (!is_ours)
		head = order_with_events(head);
	in_flight = es_inflight_find();
	head = Min(head, in_flight.lowest);
	if (is_told != NULL)
		*is_told = !in_flight.has_prepared;
	return head;
}

/*
 * The head as it will be, at the least, when this transaction has committed:
 * its commit flushes what makes it last.
 */
int64
es_order_head_after_commit(void)
{
	bool is_ours;
	int64 head = es_position_given_out(false, &is_ours);
	EsInflight in_flight = es_inflight_find();

	return Min(head, in_flight.lowest_of_others);
}

/*
 * The last position that there is, given out or in use: no event, committed or
 * not, is above it.
 */
int64
es_order_last(void)
{
	bool is_ours;
	int64 last = es_position_given_out(false, &is_ours);
	int64 events = is_ours ? 0 : es_floor_events();

	return Max(last, events);
}

/* Whether there are events above the last position given out. */
bool
es_order_is_behind(void)
{
	bool is_ours;
	int64 last;

	/* It gives none out. */
	if (es_member_get()->is_mirror)
		return false;
	last = es_position_given_out(false, &is_ours);
	return !is_ours && es_floor_events() > last;
}

/* ----------------------------------------------------------------------
 * Views
 * ----------------------------------------------------------------------
 */

/*
 * Begin to read across streams: the head, and a snapshot that sees every
 * event up to it.  End with es_order_end_view.
 */
void
es_order_begin_view(EsView *view)
{
	if (IsolationUsesXactSnapshot())
	{
		int64 announced;

		view->snapshot = RegisterSnapshot(GetActiveSnapshot());
		if (es_member_get()->is_mirror)
		{
			view->head = order_head_seen(view->snapshot, NULL);
			return;
		}
		announced = es_standby_announced(view->snapshot);
		view->head = es_past_head(view->snapshot, announced, es_order_head(NULL));
		return;
	}
	if (order_is_seen())
	{
		/* The other way round. */
		view->snapshot = RegisterSnapshot(GetLatestSnapshot());
		view->head = order_head_seen(view->snapshot, NULL);
	}
	else
	{
		view->head = es_order_head(NULL);
		view->snapshot = RegisterSnapshot(GetLatestSnapshot());
	}
	es_past_remember(view->snapshot, view->head);
}

void
es_order_end_view(EsView *view)
{
	UnregisterSnapshot(view->snapshot);
}
