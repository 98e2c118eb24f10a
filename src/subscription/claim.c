/*-------------------------------------------------------------------------
 *
 * claim.c
 *		A claim: what a consumer says with a token, that the shares (share.c)
 *		delivered under it are still its own; checked here.
 *
 * A claim holds the subscription's "use" until commit, so that it is not
 * changed as a whole meanwhile.  If somebody else has taken the partitions
 * since, the token is refused; if somebody has them open, or replays events of
 * theirs, the claim waits for the end of that transaction, without the mutex.
 *
 * Memory: the current context.  Locks: see above.  Calls: deliver, division,
 * guard, owner, partition, retry, rival, share, subscription, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/partition.h"
#include "order/transaction.h"
#include "signal/guard.h"
#include "subscription/claim.h"
#include "subscription/division.h"
#include "subscription/owner.h"
#include "subscription/rival.h"

static void
claim_refuse(const EsClaim *claim, const text *owner)
{
	es_rival_refused(claim->name, claim->token);
	ereport(ERROR,
			(errcode(ES_ERRCODE_LEASE_LOST),
			 errmsg("token %lld of subscription \"%s\" is not valid any more",
					(long long) claim->token, text_to_cstring(claim->name)),
			 owner != NULL ? errdetail("Consumer \"%s\" has what was delivered under it.",
									   text_to_cstring(owner))
						   : errdetail("A later delivery, a release or a change of the subscription "
									   "has replaced it."),
			 errhint("What was delivered and not acknowledged comes again: fetch anew.")));
}

/* Who has a share's partitions now; NULL if nobody. */
static const text *
claim_find_owner(const EsClaim *claim, const EsShare **owners, const EsShare *share)
{
	int p;

	for (p = 0; p < claim->subscription.partitions; p++)
		if (es_partition_set_has(share->partitions, p) && owners[p] != share &&
			owners[p]->consumer != NULL)
			return owners[p]->consumer;
	return NULL;
}

/* Something that a claim has to wait for. */
typedef struct ClaimWait
{
	TransactionId xid;
	TimestampTz until; /* no longer; DT_NOEND: for as long as it takes */
} ClaimWait;

/*
 * Find the shares of the token, that is its own; raises SE005 if it is not.
 *
 * Returns false if a transaction has them open: then wait receives which.  One
 * that has only fetched may have stalled, and is waited for until the lease
 * ends that it has taken.
 */
static bool
claim_find_shares(EsClaim *claim, ClaimWait *wait)
{
	EsShares shares = es_share_load(&claim->subscription);
	const EsShare **owners = es_owner_find(&claim->subscription, &shares);
	int i;

	claim->has_older = shares.has_older;
	claim->mine = (EsShares){.items = palloc(sizeof(EsShare) * (shares.count + 1))};
	for (i = 0; i < shares.count; i++)
	{
		const EsShare *share = &shares.items[i];
		const EsShare *known = share->token != claim->token && share->before != NULL ? share->before
																					 : share;

		if (claim->token == 0 || known->token != claim->token)
			continue;
		if (known != share || !es_owner_has_all(&claim->subscription, owners, share))
		{
			if (es_share_is_outstanding(known))
				claim_refuse(claim,
							 known != share ? share->consumer
											: claim_find_owner(claim, owners, share));
			continue;
		}
		if (es_share_is_open(share))
		{
			*wait = (ClaimWait){TransactionIdIsValid(share->row.writer) ? share->row.writer
																		: share->row.remover,
								es_guard_is_held(ES_GUARD_SETTLES, share->number)
									? DT_NOEND
									: share->lease_end};
			return false;
		}
		claim->mine.items[claim->mine.count++] = *share;
	}
	if (claim->mine.count == 0)
		claim_refuse(claim, NULL);
	return true;
}

/* Whether a replay is open that has changed events of the shares. */
static bool
claim_meets_replay(const EsClaim *claim, ClaimWait *wait)
{
	*wait = (ClaimWait){es_retry_find_replay(&claim->subscription, &claim->mine), DT_NOEND};
	return TransactionIdIsValid(wait->xid);
}

static void
claim_wait(const EsClaim *claim, const ClaimWait *wait)
{
	if (wait->until == DT_NOEND)
		XactLockTableWait(wait->xid, NULL, NULL, XLTW_None);
	else if (!es_guard_await_transaction(wait->xid, wait->until))
		claim_refuse(claim, NULL);
}

/*
 * Begin to say what became of a delivery: its shares and retries are read, and
 * the mutex is held until es_claim_end.
 *
 * claim: name, token and position are given, the rest is received.
 *
 * Raises SE005 if the token is not good any more, 22023 if the position was
 * not delivered under it.
 */
void
es_claim_begin(EsClaim *claim)
{
	uint32 key = es_guard_key(claim->name);
	int64 after = PG_INT64_MAX;
	ClaimWait wait;
	int i;

	if (!es_guard_try(ES_GUARD_USE, key))
	{
		/*
		 * Not to wait in vain, maybe for somebody who waits for what this
		 * transaction has done without a right to.
		 */
		es_guard_take(ES_GUARD_MUTEX, key);
		es_division_find(claim->name, &claim->subscription);
		(void) claim_find_shares(claim, &wait);
		es_guard_release(ES_GUARD_MUTEX, key);
		es_guard_take(ES_GUARD_USE, key);
	}
	for (;;)
	{
		es_guard_take(ES_GUARD_MUTEX, key);
		es_division_find(claim->name, &claim->subscription);
		if (claim_find_shares(claim, &wait) && !claim_meets_replay(claim, &wait))
			break;
		es_guard_release(ES_GUARD_MUTEX, key);
		claim_wait(claim, &wait);
	}
	if (claim->position > claim->mine.items[0].delivered)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position %lld was not delivered under token %lld",
						(long long) claim->position, (long long) claim->token),
				 errdetail("The last position delivered under it is %lld.",
						   (long long) claim->mine.items[0].delivered)));

	claim->now = GetCurrentTimestamp();
	for (i = 0; i < claim->mine.count; i++)
		after = Min(after, claim->mine.items[i].checkpoint);
	claim->retries = es_retry_load(&claim->subscription, after);
	claim->delivery = (EsDelivery){.subscription = &claim->subscription,
								   .shares = &claim->mine,
								   .retries = &claim->retries};
}

/* It is said. */
void
es_claim_end(EsClaim *claim)
{
	/* Rather here than in a fetch: an ack is near the end of its transaction. */
	es_division_tidy(&claim->subscription, claim->has_older);
	es_guard_release(ES_GUARD_MUTEX, claim->subscription.key);
	es_transaction_wake_consumers(claim->subscription.key);
}
