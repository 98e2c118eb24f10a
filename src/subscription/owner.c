/*-------------------------------------------------------------------------
 *
 * owner.c
 *		The owner of a partition: the share (share.c) that it belongs to, which is
 *		the one of the highest number, and that share's consumer.
 *
 * Memory: the current context.  Locks: the caller holds the subscription's
 * mutex.  Calls: guard, names, partition, share, subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/timestamp.h"

#include "base/names.h"
#include "base/partition.h"
#include "signal/guard.h"
#include "subscription/owner.h"

/*
 * The share that each partition belongs to, NULL where there is none.
 */
const EsShare **
es_owner_find(const EsSubscription *subscription, const EsShares *shares)
{
	const EsShare **owners = palloc0(sizeof(EsShare *) * subscription->partitions);
	int i;
	int p;

	for (i = 0; i < shares->count; i++)
		for (p = 0; p < subscription->partitions; p++)
			if (es_partition_set_has(shares->items[i].partitions, p))
				owners[p] = &shares->items[i];
	return owners;
}

/* Whether all partitions of a share are still its own. */
bool
es_owner_has_all(const EsSubscription *subscription, const EsShare **owners, const EsShare *share)
{
	int p;

	for (p = 0; p < subscription->partitions; p++)
		if (es_partition_set_has(share->partitions, p) && owners[p] != share)
			return false;
	return true;
}

/* Whether a share has no partition at all, and only says who is there. */
bool
es_owner_is_registration(const EsSubscription *subscription, const EsShare *share)
{
	int p;

	for (p = 0; p < subscription->partitions; p++)
		if (es_partition_set_has(share->partitions, p))
			return false;
	return true;
}

/* How many leases a lost delivery is remembered, to tell its consumer why. */
#define OWNER_REMEMBER 10

static bool
owner_is_remembered(const EsSubscription *subscription, const EsShare *share)
{
	TimestampTz now = GetCurrentTimestamp();
	int64 lease = es_subscription_lease_end(subscription, now) - now;

	return es_share_is_outstanding(share) && share->consumer != NULL &&
		(now - share->lease_end) / OWNER_REMEMBER < lease;
}

/*
 * Delete shares whose every partition has gone to others for good, that is by
 * what is committed or this transaction's own.
 *
 * consumer: whose registrations without partitions go, too; NULL: nobody's.
 */
void
es_owner_clean(const EsSubscription *subscription, const EsShares *shares, const text *consumer)
{
	EsShares closed = {.items = palloc(sizeof(EsShare) * (shares->count + 1))};
	const EsShare **owners;
	bool is_working = false;
	int i;

	for (i = 0; i < shares->count; i++)
		if (!es_share_is_open(&shares->items[i]))
			closed.items[closed.count++] = shares->items[i];
	owners = es_owner_find(subscription, &closed);

	for (i = closed.count - 1; i >= 0; i--)
	{
		const EsShare *share = &closed.items[i];
		bool is_own = consumer != NULL && share->consumer != NULL &&
			es_names_equal(share->consumer, consumer);
		bool is_owner = false;
		int p;

		for (p = 0; p < subscription->partitions; p++)
			is_owner |= owners[p] == share;
		if (is_owner || (is_own && !is_working && es_owner_is_registration(subscription, share)))
		{
			is_working |= is_own;
			continue;
		}
		if (!is_own && es_owner_is_registration(subscription, share) &&
			(share->lease_end > GetCurrentTimestamp() ||
			 es_guard_is_held(ES_GUARD_SLEEPS, share->number)))
			continue;
		if (!is_own && owner_is_remembered(subscription, share))
			continue;
		es_share_delete(share);
	}
}
