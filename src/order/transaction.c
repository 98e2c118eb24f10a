/*-------------------------------------------------------------------------
 *
 * transaction.c
 *		What a transaction that appends owes to others.
 *
 * The one transaction callback and the one subtransaction callback of the
 * library, registered once:
 *
 *	 append				inflight.c publishes that positions are about to be taken
 *	 before commit		NOTIFY, where no worker does it
 *	 after commit or	withdraw what was published, then wake the worker or
 *	 rollback			who waits: in this order, so that who is woken finds
 *						the head moved
 *	 PREPARE			keep it published: the prepared transaction holds it
 *
 * A rolled-back append wakes, too: what it held back can be read now.
 * Consumers of a subscription are woken when a transaction ends that did
 * something about it.
 *
 * Memory: the lists of categories and subscriptions, in the transaction's context.  Locks:
 * inflight.c's, and NOTIFY's own.  Calls: catalog, channel, guard, names, order, settings,
 * shared, wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/async.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/settings.h"
#include "order/inflight.h"
#include "order/last.h"
#include "order/order.h"
#include "order/transaction.h"
#include "signal/channel.h"
#include "signal/guard.h"
#include "signal/shared.h"
#include "signal/wake.h"

/* A category to notify about, and the subtransaction that appended to it. */
typedef struct TransactionCategory
{
	SubTransactionId sub;
	text *category;
} TransactionCategory;

static List *transaction_categories = NIL;

/* Subscriptions whose consumers wait for the end of this transaction. */
static List *transaction_subscriptions = NIL;

/* Whether the worker has to look at the projections when it is over. */
static bool transaction_has_projection = false;

/* How far back to look for a category; NOTIFY drops duplicates by itself. */
#define TRANSACTION_LOOK_BACK 32

static bool
transaction_has_category(const text *category)
{
	int count = list_length(transaction_categories);
	int i;

	for (i = count - 1; i >= 0 && i >= count - TRANSACTION_LOOK_BACK; i--)
	{
		const TransactionCategory *entry = list_nth(transaction_categories, i);

		if (es_names_equal(entry->category, category))
			return true;
	}
	return false;
}

/* This transaction appends to a stream of a category. */
void
es_transaction_append(const text *category)
{
	MemoryContext caller;
	TransactionCategory *entry;

	if (!es_guc_notify || es_shared_has_worker() || transaction_has_category(category))
		return;

	caller = MemoryContextSwitchTo(TopTransactionContext);
	entry = palloc(sizeof(TransactionCategory));
	entry->sub = GetCurrentSubTransactionId();
	entry->category = (text *) pg_detoast_datum_copy((struct varlena *) category);
	transaction_categories = lappend(transaction_categories, entry);
	MemoryContextSwitchTo(caller);
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
 * The payload is what a listener can read up to when it arrives.
 *
 * Transactions that NOTIFY commit one by one, by a lock that PreCommit_Notify
 * takes a moment later.  It is taken here already: who had it before has
 * withdrawn by then, else two that commit at once would each take the other
 * for open, and nobody would tell of the later one's events.
 *
 * A procedure that commits in a loop does so in a context of its own.
 */
static void
transaction_notify(void)
{
	MemoryContext caller;
	char *payload;
	ListCell *cell;

	if (transaction_categories == NIL || es_shared_has_worker())
		return;
	/* The same transaction may have dropped the store. */
	if (!es_catalog_is_installed())
		return;

	caller = MemoryContextSwitchTo(TopTransactionContext);
	LockSharedObject(DatabaseRelationId, InvalidOid, 0, AccessExclusiveLock);
	payload = psprintf("%lld", (long long) es_order_head_after_commit());
	Async_Notify(es_channel_name(NULL), payload);
	foreach (cell, transaction_categories)
		Async_Notify(es_channel_name(((TransactionCategory *) lfirst(cell))->category), payload);
	MemoryContextSwitchTo(caller);
}

static void
transaction_wake_consumers(void)
{
	ListCell *cell;

	foreach (cell, transaction_subscriptions)
		es_guard_wake((uint32) lfirst_int(cell));
}

/* Wake who reads: the worker wakes the others. */
static void
transaction_wake(void)
{
	if (!es_shared_wake_worker())
		es_wake_waiters();
}

static void
transaction_on_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			transaction_notify();
			return;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
			if (event == XACT_EVENT_COMMIT)
				es_last_keep();
			else
				es_last_undo();
			if (es_inflight_leave())
				transaction_wake();
			transaction_wake_consumers();
			break;
		case XACT_EVENT_PREPARE:
			es_last_undo();
			/* Who waits has to look from time to time from now on. */
			if (es_inflight_forget())
				transaction_wake();
			break;
		default:
			return;
	}
	if (transaction_has_projection)
		(void) es_shared_wake_worker();
	transaction_has_projection = false;
	transaction_categories = NIL;
	transaction_subscriptions = NIL;
}

/* Categories of a subtransaction go to its parent, or away. */
static void
transaction_move_categories(SubTransactionId sub, SubTransactionId parent, bool is_commit)
{
	ListCell *cell;

	foreach (cell, transaction_categories)
	{
		TransactionCategory *entry = lfirst(cell);

		if (entry->sub != sub)
			continue;
		if (is_commit)
			entry->sub = parent;
		else
			transaction_categories = foreach_delete_current(transaction_categories, cell);
	}
}

static void
transaction_on_end_sub(SubXactEvent event, SubTransactionId sub, SubTransactionId parent, void *arg)
{
	switch (event)
	{
		case SUBXACT_EVENT_COMMIT_SUB:
			es_inflight_commit_sub(sub, parent);
			es_last_keep_sub(sub, parent);
			transaction_move_categories(sub, parent, true);
			break;
		case SUBXACT_EVENT_ABORT_SUB:
			es_last_undo_sub(sub);
			transaction_move_categories(sub, parent, false);
			if (es_inflight_abort_sub(sub))
				transaction_wake();
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
}
