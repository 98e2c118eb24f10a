/*-------------------------------------------------------------------------
 *
 * ack.c
 *		The verbs that say what became of a delivery: es_ack, es_nack.
 *
 * They hold the subscription's "use" and the shares' "settles" until commit
 * (guard.c): while they are open, nobody takes the partitions.  If somebody
 * has taken them before, the token is refused.
 *
 * Memory: the function call's context.  Locks: see above.  Calls: arguments,
 * deliver, division, guard, names, owner, partition, retry, share, subscription,
 * transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "arguments.h"
#include "compat.h"
#include "deliver.h"
#include "division.h"
#include "errors.h"
#include "guard.h"
#include "names.h"
#include "owner.h"
#include "partition.h"
#include "transaction.h"

PG_FUNCTION_INFO_V1(es_ack);
PG_FUNCTION_INFO_V1(es_nack);

typedef enum AckAction
{
	ACK_RETRY,
	ACK_PARK,
	ACK_SKIP
} AckAction;

/* A delivery, and what is said about it. */
typedef struct AckState
{
	text *name;
	int64 token;
	int64 position;
	EsSubscription subscription;
	EsShares mine; /* the shares that the token is of */
	EsRetries retries;
	EsDelivery delivery; /* only to look at */
	TimestampTz now;

	/* Of a nack */
	AckAction action;
	text *reason;
	TimestampTz due;
} AckState;

/* ----------------------------------------------------------------------
 * Whose token it is
 * ----------------------------------------------------------------------
 */

static void
ack_refuse(const AckState *ack, const text *owner)
{
	ereport(ERROR,
			(errcode(ES_ERRCODE_LEASE_LOST),
			 errmsg("token %lld of subscription \"%s\" is not valid any more",
					(long long) ack->token, text_to_cstring(ack->name)),
			 owner != NULL ? errdetail("Consumer \"%s\" has what was delivered under it.",
									   text_to_cstring(owner))
						   : errdetail("A later delivery, a release or a change of the subscription "
									   "has replaced it."),
			 errhint("What was delivered and not acknowledged comes again: fetch anew.")));
}

/* Who has a share's partitions now; NULL if nobody. */
static const text *
ack_find_owner(const AckState *ack, const EsShare **owners, const EsShare *share)
{
	int p;

	for (p = 0; p < ack->subscription.partitions; p++)
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
ack_find_shares(AckState *ack)
{
	EsShares shares = es_share_load(&ack->subscription);
	const EsShare **owners = es_owner_find(&ack->subscription, &shares);
	int i;

	ack->mine = (EsShares){0, palloc(sizeof(EsShare) * (shares.count + 1))};
	for (i = 0; i < shares.count; i++)
	{
		const EsShare *share = &shares.items[i];
		const EsShare *known = share->token != ack->token && share->before != NULL ? share->before
																				   : share;

		if (ack->token == 0 || known->token != ack->token)
			continue;
		if (es_share_is_outstanding(known) &&
			(known != share || !es_owner_has_all(&ack->subscription, owners, share)))
			ack_refuse(ack, known != share ? share->consumer : ack_find_owner(ack, owners, share));
		if (es_share_is_open(share))
			return TransactionIdIsValid(share->writer) ? share->writer : share->remover;
		if (es_owner_has_all(&ack->subscription, owners, share))
			ack->mine.items[ack->mine.count++] = *share;
	}
	if (ack->mine.count == 0)
		ack_refuse(ack, NULL);
	return InvalidTransactionId;
}

/*
 * Begin: everything is read, and the mutex is held.
 */
static void
ack_begin(AckState *ack)
{
	uint32 key = es_guard_key(ack->name);
	int64 after = PG_INT64_MAX;
	int i;

	if (!es_guard_try(ES_GUARD_USE, key))
	{
		/*
		 * Not to wait in vain, maybe for somebody who waits for what this
		 * transaction has done without a right to.
		 */
		es_guard_take(ES_GUARD_MUTEX, key);
		es_subscription_find(ack->name, &ack->subscription);
		(void) ack_find_shares(ack);
		es_guard_release(ES_GUARD_MUTEX, key);
		es_guard_take(ES_GUARD_USE, key);
	}
	for (;;)
	{
		TransactionId other;

		es_guard_take(ES_GUARD_MUTEX, key);
		es_subscription_find(ack->name, &ack->subscription);
		other = ack_find_shares(ack);
		if (!TransactionIdIsValid(other))
			other = es_retry_find_replay(&ack->subscription, &ack->mine);
		if (!TransactionIdIsValid(other))
			break;
		es_guard_release(ES_GUARD_MUTEX, key);
		XactLockTableWait(other, NULL, NULL, XLTW_None);
	}
	if (ack->position > ack->mine.items[0].delivered)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position %lld was not delivered under token %lld",
						(long long) ack->position, (long long) ack->token),
				 errdetail("The last position delivered under it is %lld.",
						   (long long) ack->mine.items[0].delivered)));

	ack->now = GetCurrentTimestamp();
	for (i = 0; i < ack->mine.count; i++)
		after = Min(after, ack->mine.items[i].checkpoint);
	ack->retries = es_retry_load(&ack->subscription, after);
	ack->delivery = (EsDelivery){.subscription = &ack->subscription,
								 .shares = &ack->mine,
								 .retries = &ack->retries};
}

static void
ack_end(AckState *ack)
{
	/* Rather here than in a fetch: an ack is near the end of its transaction. */
	(void) es_division_go_on(&ack->subscription);
	es_guard_release(ES_GUARD_MUTEX, ack->subscription.key);
	es_transaction_wake_consumers(ack->subscription.key);
}

/* ----------------------------------------------------------------------
 * What is done
 * ----------------------------------------------------------------------
 */

/* Whether a retry was delivered under the token, and is not settled yet. */
static bool
ack_is_delivered(const AckState *ack, const EsRetry *retry)
{
	const EsShare *share = es_share_of_partition(&ack->mine, retry->partition);

	return share != NULL && retry->due != DT_NOEND && retry->position > share->acked &&
		retry->position <= share->delivered && es_deliver_has_retry(share, retry);
}

/* Where a share is when everything up to a position is acknowledged. */
static int64
ack_checkpoint_at(const EsShare *share, int64 position)
{
	int64 checkpoint = position >= share->delivered ? share->scanned
													: Min(position, share->scanned);

	return Max(share->checkpoint, checkpoint);
}

/* acked: up to where the call acknowledges; 0: it does not. */
static EsRetryReach
ack_reach(const AckState *ack, const EsRetry *retry, int64 acked)
{
	const EsShare *share = es_share_of_partition(&ack->mine, retry->partition);
	EsRetryReach reach = {.checkpoint = share->checkpoint, .passed = es_share_passed(share)};

	if (acked > share->acked)
		reach.checkpoint = ack_checkpoint_at(share, acked);
	return reach;
}

/* The rows of events that are done, up to the position. */
static void
ack_resolve_retries(AckState *ack)
{
	int i;

	for (i = 0; i < ack->retries.count; i++)
	{
		const EsRetry *retry = &ack->retries.items[i];
		const EsShare *share = es_share_of_partition(&ack->mine, retry->partition);

		if (share == NULL)
			continue;
		if (retry->position <= ack->position && ack_is_delivered(ack, retry))
			es_retry_resolve(&ack->subscription, retry, ack_reach(ack, retry, ack->position));
	}
}

/* Those that were skipped need no row when the checkpoint is beyond. */
static void
ack_forget_skipped(AckState *ack)
{
	int i;

	for (i = 0; i < ack->retries.count; i++)
	{
		const EsRetry *retry = &ack->retries.items[i];
		const EsShare *share = es_share_of_partition(&ack->mine, retry->partition);

		if (share != NULL && !retry->is_parked && retry->due == DT_NOEND &&
			retry->position <= share->checkpoint &&
			es_retry_find_blocking(&ack->retries, retry->stream, retry->hash, retry->position) ==
				NULL)
			es_retry_forget(&ack->subscription, retry);
	}
}

/* Everything under the token is done up to a position. */
static void
ack_advance(AckState *ack, int64 position)
{
	int i;

	for (i = 0; i < ack->mine.count; i++)
	{
		EsShare *share = &ack->mine.items[i];

		if (position > share->acked)
		{
			es_guard_take(ES_GUARD_SETTLES, share->number);
			share->acked = position;
			es_share_advance(share, ack_checkpoint_at(share, position));
			if (position >= share->delivered)
				share->retried.count = 0;
		}
		share->lease_end = es_subscription_lease_end(&ack->subscription, ack->now);
		es_share_update(&ack->subscription, share);
	}
}

/* Whether anything that was delivered under the token is still to be settled. */
static bool
ack_has_more(const AckState *ack)
{
	const EsShare *share = &ack->mine.items[0];
	int i;

	for (i = 0; i < ack->retries.count; i++)
		if (ack_is_delivered(ack, &ack->retries.items[i]))
			return true;
	return es_deliver_has_more(&ack->delivery, share->acked, Min(share->delivered, share->scanned));
}

/* If that was the last of them, the delivery is done. */
static void
ack_finish(AckState *ack)
{
	const EsShare *share = &ack->mine.items[0];
	int64 after = share->checkpoint;
	int i;

	for (i = 1; i < ack->mine.count; i++)
		after = Min(after, ack->mine.items[i].checkpoint);
	ack->retries = es_retry_load(&ack->subscription, after);
	ack_advance(ack, ack_has_more(ack) ? share->acked : share->delivered);
	ack_forget_skipped(ack);
}

/*
 * es_ack(subscription text, token bigint, position bigint) -> void
 */
Datum
es_ack(PG_FUNCTION_ARGS)
{
	AckState ack = {0};

	ack.name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	es_arguments_check_not_null(fcinfo, 1, "token");
	es_arguments_check_not_null(fcinfo, 2, "position");
	ack.token = PG_GETARG_INT64(1);
	ack.position = PG_GETARG_INT64(2);
	if (ack.position < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position must not be negative")));
	PreventCommandIfReadOnly("es_ack()");
	PreventCommandIfParallelMode("es_ack()");

	ack_begin(&ack);
	ack_resolve_retries(&ack);
	ack_advance(&ack, ack.position);
	ack_forget_skipped(&ack);
	/* What comes after may have been skipped. */
	if (ack.retries.count > 0 && ack.mine.items[0].acked < ack.mine.items[0].delivered)
		ack_finish(&ack);
	ack_end(&ack);
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------------
 * What is not
 * ----------------------------------------------------------------------
 */

/* An event of the run: from now on it has a row. */
static void
ack_nack_event(AckState *ack, EsRetry *event)
{
	bool is_used_up = event->attempts > ack->subscription.max_retries;

	event->is_parked = ack->action == ACK_PARK || (ack->action == ACK_RETRY && is_used_up);
	if (ack->action == ACK_RETRY && !is_used_up)
		event->due = ack->due;
	event->is_blocking = event->is_parked ? ack->subscription.parks_block
										  : ack->action == ACK_RETRY;
	es_retry_insert(&ack->subscription, event, ack->reason);
}

static void
ack_nack_retry(AckState *ack, const EsRetry *retry)
{
	const EsShare *share = es_share_of_partition(&ack->mine, retry->partition);
	int attempts = es_deliver_attempts(share, retry);

	if (ack->action == ACK_SKIP)
		es_retry_resolve(&ack->subscription, retry, ack_reach(ack, retry, 0));
	else if (ack->action == ACK_PARK || attempts > ack->subscription.max_retries)
		es_retry_park(&ack->subscription, retry, attempts, ack->reason, ack_reach(ack, retry, 0));
	else
		es_retry_again(&ack->subscription, retry, attempts, ack->due, ack->reason);
}

/* The event of the run at the position, if it is still to be settled. */
static bool
ack_find_event(AckState *ack, EsRetry *event)
{
	const EsShare *share;

	if (!es_deliver_find(&ack->delivery, ack->position, event))
		return false;
	share = es_share_of_partition(&ack->mine, event->partition);
	return event->position > share->acked &&
		event->position <= Min(share->delivered, share->scanned);
}

static void
ack_nack(AckState *ack)
{
	const EsRetry *retry = es_retry_find(&ack->retries, ack->position);
	EsRetry event;
	int i;

	for (i = 0; i < ack->mine.count; i++)
		es_guard_take(ES_GUARD_SETTLES, ack->mine.items[i].number);
	if (retry != NULL && ack_is_delivered(ack, retry))
		ack_nack_retry(ack, retry);
	else if (retry == NULL && ack_find_event(ack, &event))
		ack_nack_event(ack, &event);
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position %lld is not outstanding under token %lld",
						(long long) ack->position, (long long) ack->token),
				 errdetail("It was not delivered under it, is settled already, or waits for an "
						   "earlier event of its stream.")));
}

static AckAction
ack_get_action(FunctionCallInfo fcinfo, int argument)
{
	char *action;

	es_arguments_check_not_null(fcinfo, argument, "action");
	action = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (strcmp(action, "retry") == 0)
		return ACK_RETRY;
	if (strcmp(action, "park") == 0)
		return ACK_PARK;
	if (strcmp(action, "skip") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown action \"%s\"", action),
				 errhint("The actions are retry, park and skip.")));
	return ACK_SKIP;
}

/*
 * es_nack(subscription text, token bigint, position bigint, reason text,
 *		   action text = 'retry', delay interval = '0') -> void
 */
Datum
es_nack(PG_FUNCTION_ARGS)
{
	AckState ack = {0};

	ack.name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	es_arguments_check_not_null(fcinfo, 1, "token");
	es_arguments_check_not_null(fcinfo, 2, "position");
	es_arguments_check_not_null(fcinfo, 3, "reason");
	ack.token = PG_GETARG_INT64(1);
	ack.position = PG_GETARG_INT64(2);
	ack.reason = PG_GETARG_TEXT_PP(3);
	ack.action = ack_get_action(fcinfo, 4);
	ack.due = es_arguments_get_time_after(fcinfo, 5, "delay", GetCurrentTimestamp());
	if (TIMESTAMP_NOT_FINITE(ack.due))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("delay must be finite"),
				 errhint("To put an event aside, park it.")));
	if (ack.position < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position must not be negative")));
	PreventCommandIfReadOnly("es_nack()");
	PreventCommandIfParallelMode("es_nack()");

	ack_begin(&ack);
	ack_nack(&ack);
	ack_finish(&ack);
	ack_end(&ack);
	PG_RETURN_VOID();
}
