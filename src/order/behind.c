/*-------------------------------------------------------------------------
 *
 * behind.c
 *		Events that are committed, but not below the head yet.
 *
 * An event wakes who waits for it at its commit.  If an append in flight keeps
 * the head below it, it cannot be read yet, and it is that append's end that
 * makes it readable: an append of whatever category, which wakes those only who
 * wait behind it.  So who is woken, or begins to wait, and finds nothing up to
 * the head, looks above it, too.
 *
 * The worker knows the head, and tells of events when it has passed them: where
 * there is one nobody needs this.  When it ends, all are woken.
 *
 * Memory: the current context.  Locks: AccessShare on events; wake.c's.
 * Calls: order, names, scan, shared, wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/names.h"
#include "base/scan.h"
#include "order/behind.h"
#include "order/order.h"
#include "signal/shared.h"

static bool
behind_is_wanted(const EsWanted *wanted, TupleTableSlot *slot)
{
	bool is_null;
	const text *type;
	int i;

	if (wanted->types == NULL)
		return true;
	type = DatumGetTextPP(slot_getattr(slot, Anum_events_type, &is_null));
	for (i = 0; i < wanted->type_count; i++)
		if (es_names_equal(type, (const text *) DatumGetPointer(wanted->types[i])))
			return true;
	return false;
}

/* The first event that is wanted after a position, wherever the head is; 0: none. */
static int64
behind_find(const EsWanted *wanted, int64 after)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	AttrNumber column = 1;
	int64 found = 0;
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, events,
				 wanted->category == NULL ? ES_EVENTS_PKEY : ES_EVENTS_CATEGORY_POSITION);
	if (wanted->category != NULL)
		es_scan_add_key(&scan, column++, BTEqualStrategyNumber, F_TEXTEQ,
						PointerGetDatum(wanted->category));
	es_scan_add_key(&scan, column, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_scan_begin(&scan, snapshot);
	while (found == 0 && es_scan_next(&scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (behind_is_wanted(wanted, scan.slot))
			found = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));
	}
	es_scan_close(&scan);
	relation_close(events, NoLock);
	UnregisterSnapshot(snapshot);
	return found;
}

/*
 * The last step of a session before it sleeps, having listened and then looked:
 * be woken by whoever keeps the head below an event that is wanted, if there is
 * one.
 *
 * seen_to: up to where there is nothing that is wanted.
 * is_told: receives whether a wake-up will come; else the head has to be looked at
 * from time to time; see es_order_head.
 *
 * Returns false where there may be something by now, and the caller has to look
 * again before he sleeps.
 */
bool
es_behind_listen(EsListener *listener, const EsWanted *wanted, int64 seen_to, bool *is_told)
{
	int64 head;
	int64 found;

	CHECK_FOR_INTERRUPTS();
	*is_told = true;
	if (es_shared_has_worker())
		return true;
	/* First the head: what a transaction has prepared, and then is committed, is found. */
	head = es_order_head(is_told);
	if (listener->is_general)
		return head <= seen_to;
	if (wanted->is_nothing || RecoveryInProgress() ||
		(listener->is_behind && listener->behind == head))
		return true;
	found = behind_find(wanted, seen_to);
	if (found != 0 && found <= head)
		return false;
	es_wake_listen_behind(listener, found == 0 ? -1 : head);
	return found == 0 || es_order_head(NULL) == head;
}

/*
 * Whether a session that was not woken may sleep on: the head is where it was,
 * and still somebody may move it who wakes nobody.
 */
bool
es_behind_is_still(int64 head)
{
	bool is_told;

	return es_order_head(&is_told) == head && !is_told && !es_shared_has_worker();
}
