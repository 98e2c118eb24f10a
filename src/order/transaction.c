/*-------------------------------------------------------------------------
 *
 * transaction.c
 *		What a transaction that appends owes to others.
 *
 * The one transaction callback, the one subtransaction callback and the one
 * callback of resource owners of the library, registered once:
 *
 *	 append				inflight.c publishes that positions are about to be taken
 *	 before commit		NOTIFY, where no worker does it
 *	 after commit or	withdraw what was published, then wake the worker, or
 *	 rollback			who waits for what was appended, and who waits behind
 *						it: in this order, so that who is woken finds the head
 *						moved
 *	 PREPARE			keep it published: the prepared transaction holds it
 *
 * A rolled-back append wakes, too: what it held back can be read now.  An append
 * that was left to the worker, and has none at its end, wakes everybody.
 * Consumers of a subscription are woken when a transaction ends that did
 * something about it.
 *
 * Who applies async projections is told later than that, of a transaction that
 * has changed one or had its lock: when the locks are gone, which is after
 * everybody has been sent word that what they keep of the definitions is out of
 * date.  At the callback of the commit neither is so yet; who is woken then looks
 * at what it keeps, or tries the lock, finds nothing to do, and sleeps on.
 *
 * Memory: the list of subscriptions, in the transaction's context.  Locks:
 * inflight.c's, and NOTIFY's own.  Calls: announce, catalog, counters, guard,
 * inflight, last, news, order, pending, settings, shared, wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/settings.h"
#include "order/inflight.h"
#include "order/last.h"
#include "order/order.h"
#include "order/transaction.h"
#include "order/window.h"
#include "signal/announce.h"
#include "signal/counters.h"
#include "signal/guard.h"
#include "signal/news.h"
#include "signal/pending.h"
#include "signal/shared.h"
#include "signal/wake.h"

/* Subscriptions whose consumers wait for the end of this transaction. */
static List *transaction_subscriptions = NIL;

/* Whether the worker has to look at the projections when it is over. */
static bool transaction_has_projection = false;

/* Whether it has stored events that were not appended. */
static bool transaction_has_foreign = false;

/*
 * This transaction appends.  With a worker it is enough to wake that: what it
 * finds new, it tells others of.
 */
void
es_transaction_append(const EsAppend *append)
{
	int i;

	es_counters_append(es_catalog_oid(ES_POSITIONS), append->event_count);
	if (es_shared_has_worker())
	{
		es_news_add_unknown();
		return;
	}
	if (es_guc_notify)
		es_pending_add(append->category);
	for (i = 0; i < append->event_count; i++)
		es_news_add(append->category, append->events[i].type);
}

/* A trigger has given an event of an append a type. */
void
es_transaction_change_type(const EsAppend *append, const text *type)
{
	es_news_add(append->category, type);
}

/* This transaction stores events that are not appended. */
void
es_transaction_store_foreign(void)
{
	transaction_has_foreign = true;
}

/*
 * This transaction changes what the consumers of a subscription may do.
 *
 * key: es_guard_key of its name.
 */
void
es_transaction_wake_consumers(uint32 key)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);

	transaction_subscriptions = list_append_unique_int(transaction_subscriptions, (int) key);
	MemoryContextSwitchTo(caller);
}

/*
 * This transaction changes a projection, or just has its lock: when it is over,
 * there may be something to do for who applies async ones.
 */
void
es_transaction_change_projection(void)
{
	transaction_has_projection = true;
}

/*
 * The head that is announced is what a listener can read up to when it hears of
 * it.  Whoever announces has to wait for who does before: that one has withdrawn
 * by then, else two that commit at once would each take the other for open, and
 * nobody would tell of the later one's events.
 */
static void
transaction_notify(void)
{
	if (es_pending_count() == 0 || es_shared_has_worker())
		return;
	/* The same transaction may have dropped the store. */
	if (es_catalog_is_installed() && es_announce_begin())
		es_announce_pending(es_order_head_after_commit());
}

static void
transaction_wake_consumers(void)
{
	ListCell *cell;

	foreach (cell, transaction_subscriptions)
		es_guard_wake((uint32) lfirst_int(cell));
}

/* Wake everybody who reads, or the worker, which wakes the others. */
static void
transaction_wake_all(void)
{
	if (!es_shared_wake_worker())
		es_wake_all();
}

/*
 * The same for an append that is over: only those whom it concerns.
 *
 * position: what it had published.
 */
static void
transaction_wake(int64 position, bool is_committed)
{
	if (es_shared_wake_worker() || !es_wake_has_listeners())
		return;
	es_wake_general();
	es_wake_behind(position);
	if (is_committed)
		es_news_tell();
}

static void
transaction_on_end(XactEvent event, void *arg)
{
	int64 position;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			transaction_notify();
			return;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			es_window_forget();
			if (event == XACT_EVENT_COMMIT)
			{
				es_last_keep();
				es_counters_keep();
			}
			else
			{
				es_last_undo();
				es_counters_forget();
			}
			if (es_inflight_leave(&position))
				transaction_wake(position, event == XACT_EVENT_COMMIT);
			if (transaction_has_foreign && event == XACT_EVENT_COMMIT)
				transaction_wake_all();
			transaction_wake_consumers();
			break;
		case XACT_EVENT_PREPARE:
			es_window_forget();
			es_last_undo();
			es_counters_forget();
			/* Who waits has to look from time to time from now on. */
			if (es_inflight_forget())
				transaction_wake_all();
			break;
		default:
			return;
	}
	es_pending_forget();
	es_news_forget();
	transaction_has_foreign = false;
	transaction_subscriptions = NIL;
}

/*
 * Called for every resource owner and phase of its release; at the end of a
 * transaction the last phase is behind the locks and the invalidations.
 */
static void
transaction_on_release(ResourceReleasePhase phase, bool is_commit, bool is_top_level, void *arg)
{
	if (!transaction_has_projection || phase != RESOURCE_RELEASE_AFTER_LOCKS || !is_top_level)
		return;
	transaction_has_projection = false;
	(void) es_shared_wake_worker();
}

static void
transaction_on_end_sub(SubXactEvent event, SubTransactionId sub, SubTransactionId parent, void *arg)
{
	int64 position;

	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			es_inflight_commit_sub(sub, parent);
			es_last_keep_sub(sub, parent);
			es_counters_keep_sub(sub, parent);
			es_pending_keep_sub(sub, parent);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			es_window_abort_sub(sub);
			es_last_undo_sub(sub);
			es_counters_undo_sub(sub);
			es_pending_undo_sub(sub);
			if (es_inflight_abort_sub(sub, &position))
				transaction_wake(position, false);
			break;
		default:
			break;
	}
}

/* Called once, by _PG_init. */
void
es_transaction_init(void)
{
	RegisterXactCallback(transaction_on_end, NULL);
	RegisterSubXactCallback(transaction_on_end_sub, NULL);
	RegisterResourceReleaseCallback(transaction_on_release, NULL);
}
