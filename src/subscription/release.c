/*-------------------------------------------------------------------------
 *
 * release.c
 *		The verb of consumers that leave: es_release.
 *
 * What a consumer has is taken back (takeback.c): so it also works for one
 * that has stalled inside its transaction, unless that has acknowledged
 * something.  What it has not acknowledged was no attempt.
 *
 * Memory: the function call's context.  Locks: see guard.c.  Calls: arguments,
 * caller, division, guard, names, owner, share, subscription, takeback, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/names.h"
#include "order/transaction.h"
#include "signal/guard.h"
#include "subscription/caller.h"
#include "subscription/division.h"
#include "subscription/owner.h"
#include "subscription/takeback.h"

PG_FUNCTION_INFO_V1(es_release);

static bool
release_concerns(const EsShare *share, const text *consumer)
{
	return share->consumer != NULL && es_names_equal(share->consumer, consumer);
}

/* A share of the consumer's in which an ack is open; 0: there is none. */
static int64
release_find_settling(const EsShares *shares, const text *consumer)
{
	int i;

	for (i = 0; i < shares->count; i++)
	{
		const EsShare *share = &shares->items[i];

		/* In this order: a transaction lets go of its locks after its end. */
		if (release_concerns(share, consumer) && es_share_is_open(share) &&
			(es_guard_is_held(ES_GUARD_SETTLES, share->number) || es_share_is_stale(share)))
			return share->number;
	}
	return 0;
}

/* Forget that the consumer is there, and what it has nothing of any more. */
static void
release_registrations(const EsSubscription *subscription, const text *consumer)
{
	EsShares shares = es_share_load(subscription);
	int i;

	for (i = 0; i < shares.count; i++)
		if (release_concerns(&shares.items[i], consumer) && !es_share_is_open(&shares.items[i]) &&
			es_owner_is_registration(subscription, &shares.items[i]))
			es_share_delete(&shares.items[i]);
	shares = es_share_load(subscription);
	es_owner_clean(subscription, &shares, consumer);
}

/*
 * Free what a consumer has.  Returns how many partitions; sets the share to
 * wait for, if an ack in it is open.
 */
static int
release_all(const EsSubscription *subscription, const text *consumer, int64 *settling)
{
	EsShares shares = es_share_load(subscription);
	const EsShare **owners = es_owner_find(subscription, &shares);
	int released = 0;
	int i;

	*settling = release_find_settling(&shares, consumer);
	if (*settling != 0)
		return 0;
	for (i = 0; i < shares.count; i++)
		if (release_concerns(&shares.items[i], consumer))
			released += es_takeback_share(subscription, owners, &shares.items[i]);
	release_registrations(subscription, consumer);
	return released;
}

/*
 * es_release(subscription text, consumer text = NULL) -> int
 */
Datum
es_release(PG_FUNCTION_ARGS)
{
	text *name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	text *consumer = es_arguments_get_consumer(fcinfo, 1);
	uint32 key = es_guard_key(name);
	EsSubscription subscription;
	int64 settling;
	int released;
	EsCaller caller;

	PreventCommandIfReadOnly("es_release()");
	PreventCommandIfParallelMode("es_release()");
	es_caller_check_named(GetUserId(), name);
	es_caller_enter(&caller);
	es_guard_take(ES_GUARD_USE, key);
	for (;;)
	{
		es_guard_take(ES_GUARD_MUTEX, key);
		es_division_find(name, &subscription);
		released = release_all(&subscription, consumer, &settling);
		es_guard_release(ES_GUARD_MUTEX, key);
		if (settling == 0)
			break;
		es_guard_await_fetch(ES_GUARD_GIVES_UP, settling, name,
							 es_subscription_lease_end(&subscription, GetCurrentTimestamp()));
		es_guard_await(ES_GUARD_SETTLES, settling);
	}
	es_transaction_wake_consumers(key);
	es_caller_leave(&caller);
	PG_RETURN_INT32(released);
}
