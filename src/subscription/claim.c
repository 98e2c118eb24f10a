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

/*
 * Find the shares of the token, that is its own; raises SE005 if it is not.
 *
 * Returns the transaction to wait for, if one has them open.
 */
static TransactionId
claim_find_shares(EsClaim *claim)
{
	EsShares shares = es_share_load(&claim->subscription);
	const EsShare **owners = es_owner_find(&claim->subscription, &shares);
	int i;

	claim->mine = (EsShares){0, palloc(sizeof(EsShare) * (shares.count + 1))};
	for (i = 0; i < shares.count; i++)
	{
		const EsShare *share = &shares.items[i];
		const EsShare *known = share->token != claim->token && share->before != NULL ? share->before
																					 : share;

		if (claim->token == 0 || known->token != claim->token)
			continue;
		if (es_share_is_outstanding(known) &&
			(known != share || !es_owner_has_all(&claim->subscription, owners, share)))
			claim_refuse(claim,
						 known != share ? share->consumer : claim_find_owner(claim, owners, share));
		if (es_share_is_open(share))
			return TransactionIdIsValid(share->row.writer) ? share->row.writer : share->row.remover;
		if (es_owner_has_all(&claim->subscription, owners, share))
			claim->mine.items[claim->mine.count++] = *share;
	}
	if (claim->mine.count == 0)
		claim_refuse(claim, NULL);
	return InvalidTransactionId;
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
	int i;

	if (!es_guard_try(ES_GUARD_USE, key))
	{
		/*
		 * Not to wait in vain, maybe for somebody who waits for what this
		 * transaction has done without a right to.
		 */
		es_guard_take(ES_GUARD_MUTEX, key);
		es_subscription_find(claim->name, &claim->subscription);
		(void) claim_find_shares(claim);
		es_guard_release(ES_GUARD_MUTEX, key);
		es_guard_take(ES_GUARD_USE, key);
	}
	for (;;)
	{
		TransactionId other;

		es_guard_take(ES_GUARD_MUTEX, key);
		es_subscription_find(claim->name, &claim->subscription);
		other = claim_find_shares(claim);
		if (!TransactionIdIsValid(other))
			other = es_retry_find_replay(&claim->subscription, &claim->mine);
		if (!TransactionIdIsValid(other))
			break;
		es_guard_release(ES_GUARD_MUTEX, key);
		XactLockTableWait(other, NULL, NULL, XLTW_None);
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
	(void) es_division_go_on(&claim->subscription);
	es_guard_release(ES_GUARD_MUTEX, claim->subscription.key);
	es_transaction_wake_consumers(claim->subscription.key);
}
