/*-------------------------------------------------------------------------
 *
 * lease.c
 *		The lease of a consumer on its partitions: what a delivery leaves in its
 *		shares (share.c), which are token, attempts, and when the lease ends.
 *
 * Memory: the current context.  Locks: the caller holds the subscription's
 * mutex and "use".  Calls: assign, deliver, division, guard, owner, partition, retry,
 * share, subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/partition.h"
#include "signal/guard.h"
#include "subscription/division.h"
#include "subscription/lease.h"
#include "subscription/owner.h"

/* Whether two readings of a share read the same; its place may be used again. */
bool
es_lease_is_same(const EsShare *a, const EsShare *b)
{
	ItemPointerData tid = a->row.tid;
	ItemPointerData other = b->row.tid;

	return a->number == b->number && ItemPointerEquals(&tid, &other) && a->token == b->token &&
		a->checkpoint == b->checkpoint && a->acked == b->acked;
}

/* Whether a share is as it was when it was read. */
static bool
lease_check_share(const EsSubscription *subscription, const EsShares *shares,
				  const EsShare **owners, EsShare *share)
{
	int i;

	for (i = 0; i < shares->count; i++)
	{
		EsShare *now = &shares->items[i];

		if (now->number == share->number)
			return !es_share_is_open(now) && es_lease_is_same(now, share) &&
				es_owner_has_all(subscription, owners, now);
	}
	return false;
}

/*
 * Read the shares again.  Returns false unless they are as they were when
 * events were read for them.
 */
bool
es_lease_check(const EsSubscription *subscription, const EsAssignment *assignment)
{
	const EsShares *mine = &assignment->mine;
	EsSubscription now;
	EsShares shares;
	const EsShare **owners;
	int i;

	es_division_find(subscription->name, &now);
	if (now.division != subscription->division || now.drain_to != subscription->drain_to ||
		now.revision != subscription->revision)
		return false;
	shares = es_share_load(&now);
	owners = es_owner_find(&now, &shares);
	for (i = 0; i < mine->count; i++)
		if (!lease_check_share(&now, &shares, owners, &mine->items[i]))
			return false;
	if (mine->count == 0 && assignment->member != NULL)
		return lease_check_share(&now, &shares, owners, assignment->member);
	return true;
}

/* Remember how often the retries of a share were delivered. */
static void
lease_count_retries(const EsDelivery *delivery, EsShare *share)
{
	const EsRetries *retries = delivery->retries;
	EsPairs counted = {0, palloc(sizeof(EsPair) * (retries->count + 1))};
	int i;

	for (i = 0; i < retries->count; i++)
	{
		const EsRetry *retry = &retries->items[i];
		int attempts = es_deliver_attempts(share, retry) + delivery->is_delivered[i];

		if (retry->is_active && es_partition_set_has(share->partitions, retry->partition) &&
			attempts > retry->attempts)
			counted.items[counted.count++] = (EsPair){delivery->is_delivered[i] ? retry->number
																				: -retry->number,
													  attempts};
	}
	share->retried = counted;
}

/* Whether a lease is good for more than half of its time. */
static bool
lease_is_fresh(const EsSubscription *subscription, const EsShare *share, TimestampTz now)
{
	TimestampTz renewed = es_subscription_lease_end(subscription, now);

	return renewed - share->lease_end < (renewed - now) / 2;
}

static void
lease_store_share(const EsDelivery *delivery, EsShare *share, TimestampTz now)
{
	const EsSubscription *subscription = delivery->subscription;
	int64 before = share->checkpoint;

	if (delivery->count > 0)
	{
		es_share_count_attempt(share, delivery->run);
		share->token = delivery->token;
		share->delivered = delivery->last;
		share->acked = 0;
		share->scanned = delivery->scanned;
	}
	else if (delivery->max_count > 0)
	{
		es_share_advance(share, delivery->scanned);
		/* What settles is always written, so that others see it is open. */
		if (delivery->given_up_count == 0 && delivery->gone_count == 0 &&
			share->checkpoint == before && !es_share_is_outstanding(share) &&
			share->retried.count == 0 && lease_is_fresh(subscription, share, now))
			return;
		if (es_share_is_outstanding(share))
			share->token = share->delivered = share->acked = 0;
		share->scanned = 0;
	}
	if (delivery->max_count > 0)
		lease_count_retries(delivery, share);
	share->lease_end = es_subscription_lease_end(subscription, now);
	es_share_update(subscription, share);
}

static EsRetryReach
lease_reach(const EsDelivery *delivery, const EsRetry *retry)
{
	const EsShare *share = es_share_of_partition(delivery->shares, retry->partition);
	EsRetryReach reach = {.checkpoint = share->checkpoint,
						  .passed = Max(es_share_passed(share), delivery->scanned)};

	return reach;
}

/* Park what has used up its attempts, and forget what is not there. */
static void
lease_settle(const EsDelivery *delivery)
{
	const EsShares *mine = delivery->shares;
	int i;

	if (delivery->given_up_count == 0 && delivery->gone_count == 0)
		return;
	for (i = 0; i < mine->count; i++)
	{
		es_guard_take(ES_GUARD_SETTLES, mine->items[i].number);
		es_guard_take(ES_GUARD_GIVES_UP, mine->items[i].number);
	}
	for (i = 0; i < delivery->given_up_count; i++)
	{
		EsRetry *retry = &delivery->given_up[i];
		const text *reason = cstring_to_text("not acknowledged");

		if (retry->number != 0)
			es_retry_park(delivery->subscription, retry, retry->attempts, NULL,
						  lease_reach(delivery, retry));
		else
		{
			retry->is_parked = true;
			es_retry_insert(delivery->subscription, retry, reason);
		}
	}
	for (i = 0; i < delivery->gone_count; i++)
		es_retry_resolve(delivery->subscription, &delivery->gone[i],
						 lease_reach(delivery, &delivery->gone[i]));
}

/*
 * Store what was delivered, in the shares for which it was read.  Call it with
 * the mutex, after es_lease_check.
 */
void
es_lease_store(EsAssignment *assignment, const EsDelivery *delivery)
{
	const EsSubscription *subscription = delivery->subscription;
	TimestampTz now = GetCurrentTimestamp();
	EsShare *member = assignment->member;
	int i;

	lease_settle(delivery);
	for (i = 0; i < assignment->mine.count; i++)
		lease_store_share(delivery, &assignment->mine.items[i], now);
	if (assignment->mine.count == 0 && member != NULL && !lease_is_fresh(subscription, member, now))
	{
		member->lease_end = es_subscription_lease_end(subscription, now);
		es_share_update(subscription, member);
	}
}
