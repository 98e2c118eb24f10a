/*-------------------------------------------------------------------------
 *
 * takeback.c
 *		Taking back what a consumer has: its delivery, its partitions.
 *
 * Partitions go into new shares that are nobody's, above the old ones: so it
 * also works on a consumer that has stalled inside its transaction, unless
 * that has acknowledged something (guard.c, "settles").
 *
 * A delivery counts as an attempt when it is made, as its consumer may die of
 * it.  One that is taken back was none.
 *
 * Memory: the current context.  Locks: the caller holds the subscription's
 * mutex.  Calls: guard, owner, partition, share.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "utils/timestamp.h"

#include "base/partition.h"
#include "signal/guard.h"
#include "subscription/owner.h"
#include "subscription/takeback.h"

/* Events up to a position beyond the checkpoint were delivered once less. */
static EsPairs
takeback_attempts(EsPairs attempts, int64 position)
{
	EsPairs less = {0, palloc(sizeof(EsPair) * (attempts.count + 2))};
	int i;

	for (i = 0; i < attempts.count; i++)
	{
		EsPair step = attempts.items[i];
		int64 begin = i == 0 ? 0 : attempts.items[i - 1].key;

		if (begin < position)
			less.items[less.count++] = (EsPair){Min(step.key, position), Max(step.count - 1, 0)};
		if (step.key > position)
			less.items[less.count++] = step;
	}
	/* What was never delivered needs no number. */
	while (less.count > 0 && less.items[less.count - 1].count == 0)
		less.count--;
	return less;
}

/* The same for the retries of the last delivery. */
static EsPairs
takeback_retried(EsPairs retried)
{
	EsPairs less = {retried.count, palloc(sizeof(EsPair) * (retried.count + 1))};
	int i;

	for (i = 0; i < retried.count; i++)
	{
		EsPair pair = retried.items[i];

		less.items[i] = pair.key > 0 ? (EsPair){-pair.key, pair.count - 1} : pair;
	}
	return less;
}

/*
 * What is outstanding in a share was no attempt; it is not written.
 *
 * How far the run was delivered is not stored, but there is no event of it
 * behind that up to where the delivery looked.
 */
void
es_takeback_delivery(EsShare *share)
{
	int64 run = Min(share->delivered, share->scanned);

	if (!es_share_is_outstanding(share))
		return;
	if (run > share->checkpoint)
		share->attempts = takeback_attempts(share->attempts, run);
	share->retried = takeback_retried(share->retried);
}

/* A share without consumer and without partitions that stands where another does. */
static EsShare
takeback_make_free(const EsSubscription *subscription, const EsShare *share)
{
	EsShare free = *share;

	free.consumer = NULL;
	free.token = free.delivered = free.acked = free.scanned = 0;
	free.lease_end = DT_NOBEGIN;
	free.partitions = palloc0(es_partition_set_bytes(subscription->partitions));
	return free;
}

/* from: the number of the share that its partitions come from. */
static void
takeback_store(const EsSubscription *subscription, EsShare *free, int64 from)
{
	es_share_insert(subscription, free);
	/* What is open in the share that it comes from is so in this one, too. */
	if (es_guard_is_mine(ES_GUARD_SETTLES, from))
		es_guard_take(ES_GUARD_SETTLES, free->number);
}

/*
 * Free what belongs to a share, in the state that it is in for good, whoever
 * has it open.  Returns how many partitions.
 */
int
es_takeback_share(const EsSubscription *subscription, const EsShare **owners, const EsShare *share)
{
	EsShare last = *share;
	EsShare free;
	int count = 0;
	int p;

	free = takeback_make_free(subscription,
							  TransactionIdIsValid(share->row.writer) && share->before != NULL
								  ? share->before
								  : share);
	es_takeback_delivery(&last);
	free.attempts = last.attempts;
	free.retried = last.retried;
	for (p = 0; p < subscription->partitions; p++)
		if (owners[p] == share)
		{
			es_partition_set_add(free.partitions, p);
			count++;
		}
	if (count > 0)
		takeback_store(subscription, &free, share->number);
	return count;
}

/* A share as it is committed, or written by this transaction; NULL: it is not. */
static const EsShare *
takeback_committed(const EsShare *share)
{
	return TransactionIdIsValid(share->row.writer) ? share->before : share;
}

/* The newest of the shares that has a partition for good; NULL: none has. */
static const EsShare *
takeback_find_source(const EsShares *shares, int partition)
{
	int i;

	for (i = shares->count - 1; i >= 0; i--)
	{
		const EsShare *share = takeback_committed(&shares->items[i]);

		if (share != NULL && es_partition_set_has(share->partitions, partition))
			return &shares->items[i];
	}
	return NULL;
}

/* Where a partition stands for good, whatever open fetches have done; 0: nowhere. */
int64
es_takeback_checkpoint(const EsShares *shares, int partition)
{
	const EsShare *source = takeback_find_source(shares, partition);

	return source == NULL ? 0 : takeback_committed(source)->checkpoint;
}

/*
 * Free all partitions, so that no delivery can be acknowledged any more.  Each
 * stands where its checkpoint is, without what open fetches have done: they
 * may have gone on over events that the caller wants.  Attempts count anew.
 *
 * The caller holds ES_GUARD_CHANGE, too: no ack of another session is open.
 */
void
es_takeback_all(const EsSubscription *subscription)
{
	EsShares shares = es_share_load(subscription);
	const EsShare **sources = palloc(sizeof(EsShare *) * subscription->partitions);
	int i;
	int p;

	for (p = 0; p < subscription->partitions; p++)
		sources[p] = takeback_find_source(&shares, p);
	for (i = 0; i < shares.count; i++)
	{
		const EsShare *share = &shares.items[i];
		EsShare free;
		bool is_empty = true;

		if (takeback_committed(share) == NULL)
			continue;
		free = takeback_make_free(subscription, takeback_committed(share));
		free.attempts.count = 0;
		for (p = 0; p < subscription->partitions; p++)
			if (sources[p] == share)
			{
				es_partition_set_add(free.partitions, p);
				is_empty = false;
			}
		if (!is_empty)
			takeback_store(subscription, &free, share->number);
	}
	shares = es_share_load(subscription);
	es_owner_clean(subscription, &shares, NULL);
}
