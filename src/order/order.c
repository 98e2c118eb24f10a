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
 * On a standby there are no locks of appends.  There the head is the value of
 * eventstore.head that the snapshot sees; the worker of the primary wrote it
 * after every event at or below it was committed.  See order_standby_head for
 * what is known without a worker.
 *
 * Memory: static variables of the backend; reads work in the current context.
 * Locks: AccessShare on the relations.  Calls: catalog, inflight, past,
 * position, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/scan.h"
#include "order/inflight.h"
#include "order/order.h"
#include "order/past.h"
#include "order/position.h"

/* The highest head told on a standby, and of which store. */
static int64 order_standby_known = 0;
static Oid order_standby_store = InvalidOid;

/*
 * The head that the worker has announced last, as a snapshot sees it; 0 if
 * there is none.
 */
int64
es_order_announced(Snapshot snapshot)
{
	Relation rel = es_catalog_open(ES_HEAD, AccessShareLock);
	EsScan scan;
	int64 head = 0;
	bool is_null;

	es_scan_open(&scan, rel, ES_HEAD_PKEY);
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		head = DatumGetInt64(slot_getattr(scan.slot, Anum_head_position, &is_null));
	es_scan_close(&scan);
	relation_close(rel, NoLock);
	return head;
}

/* The last position that a snapshot sees; 0 if there is none. */
static int64
order_last_visible(Snapshot snapshot)
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
	return position;
}

/*
 * The head on a standby, as a snapshot sees it: what the worker of the primary
 * has announced.
 *
 * Where nothing at all is in progress for the snapshot, all that it sees is
 * settled, announced or not: an append that is still to come with a lower
 * position has written its stream's row, and so the first WAL record with its
 * xid, before the higher one was even taken.
 */
static int64
order_standby_head(Snapshot snapshot)
{
	int64 head = es_order_announced(snapshot);

	if (snapshot->xcnt == 0 && snapshot->subxcnt == 0 && !snapshot->suboverflowed)
	{
		int64 last = order_last_visible(snapshot);

		head = Max(head, last);
	}
	if (IsolationUsesXactSnapshot())
		return head;

	/* What is settled stays so, and later snapshots see it. */
	if (order_standby_store != es_catalog_oid(ES_POSITIONS))
		order_standby_known = 0;
	order_standby_store = es_catalog_oid(ES_POSITIONS);
	order_standby_known = Max(order_standby_known, head);
	return order_standby_known;
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
	int64 head;

	if (RecoveryInProgress())
	{
		Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

		head = order_standby_head(snapshot);
		UnregisterSnapshot(snapshot);
		if (is_told != NULL)
			*is_told = false;
		return head;
	}

	/* First what was given out, then who is in flight: see the proof. */
	head = es_position_given_out(true);
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
	int64 head = es_position_given_out(false);
	EsInflight in_flight = es_inflight_find();

	return Min(head, in_flight.lowest_of_others);
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
	if (RecoveryInProgress())
	{
		view->snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ? GetActiveSnapshot()
																	  : GetLatestSnapshot());
		view->head = order_standby_head(view->snapshot);
	}
	else if (IsolationUsesXactSnapshot())
	{
		int64 announced;

		view->snapshot = RegisterSnapshot(GetActiveSnapshot());
		announced = es_order_announced(view->snapshot);
		view->head = es_past_head(view->snapshot, announced, es_order_head(NULL));
	}
	else
	{
		view->head = es_order_head(NULL);
		view->snapshot = RegisterSnapshot(GetLatestSnapshot());
		es_past_remember(view->snapshot, view->head);
	}
}

void
es_order_end_view(EsView *view)
{
	UnregisterSnapshot(view->snapshot);
}
