/*-------------------------------------------------------------------------
 *
 * ack.c
 *		The verbs that say what became of a delivery: es_ack, es_nack.
 *
 * They hold the subscription's "use" (claim.c) and the shares' "settles" until
 * commit (guard.c): while they are open, nobody takes the partitions.
 *
 * Memory: the function call's context.  Locks: see above.  Calls: arguments,
 * caller, claim, deliver, guard, retry, share, subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/removed.h"
#include "signal/guard.h"
#include "subscription/caller.h"
#include "subscription/claim.h"

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
	EsClaim claim;

	/* Of a nack */
	AckAction action;
	text *reason;
	TimestampTz due;
} AckState;

/* ----------------------------------------------------------------------
 * What is done
 * ----------------------------------------------------------------------
 */

/*
 * Whether a retry was delivered under the token, and is not settled yet.  If an
 * earlier event of its stream, which was delivered with it, has failed since, it
 * waits for that one: it will come again.
 */
static bool
ack_is_delivered(const AckState *ack, const EsRetry *retry)
{
	const EsShare *share = es_share_of_partition(&ack->claim.mine, retry->partition);

	return share != NULL && retry->due != DT_NOEND && retry->position > share->acked &&
		retry->position <= share->delivered && es_deliver_has_retry(share, retry) &&
		es_retry_find_blocking(&ack->claim.retries, retry->stream, retry->hash, retry->position) ==
		NULL;
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
	const EsShare *share = es_share_of_partition(&ack->claim.mine, retry->partition);
	EsRetryReach reach = {.checkpoint = share->checkpoint,
						  .passed = es_share_passed(share),
						  .rows = &ack->claim.retries};

	if (acked > share->acked)
		reach.checkpoint = ack_checkpoint_at(share, acked);
	return reach;
}

/* The rows of events that are done, up to the position.  Returns whether any held its stream. */
static bool
ack_resolve_retries(AckState *ack)
{
	bool has_held = false;
	int i;

	for (i = 0; i < ack->claim.retries.count; i++)
	{
		const EsRetry *retry = &ack->claim.retries.items[i];
		const EsShare *share = es_share_of_partition(&ack->claim.mine, retry->partition);

		CHECK_FOR_INTERRUPTS();
		if (share == NULL || retry->position > ack->claim.position || !ack_is_delivered(ack, retry))
			continue;
		es_retry_resolve(&ack->claim.subscription, retry,
						 ack_reach(ack, retry, ack->claim.position));
		has_held |= retry->is_blocking;
	}
	return has_held;
}

/* Those that were skipped need no row when the checkpoint is beyond. */
static void
ack_forget_skipped(AckState *ack)
{
	int i;

	for (i = 0; i < ack->claim.retries.count; i++)
	{
		const EsRetry *retry = &ack->claim.retries.items[i];
		const EsShare *share = es_share_of_partition(&ack->claim.mine, retry->partition);

		if (share != NULL && !retry->is_parked && retry->due == DT_NOEND &&
			retry->position <= share->checkpoint &&
			es_retry_find_blocking(&ack->claim.retries, retry->stream, retry->hash,
								   retry->position) == NULL)
			es_retry_forget(&ack->claim.subscription, retry);
	}
}

/* Everything under the token is done up to a position. */
static void
ack_advance(AckState *ack, int64 position)
{
	int i;

	for (i = 0; i < ack->claim.mine.count; i++)
	{
		EsShare *share = &ack->claim.mine.items[i];

		if (position > share->acked)
		{
			es_guard_take(ES_GUARD_SETTLES, share->number);
			share->acked = position;
			es_share_advance(share, ack_checkpoint_at(share, position));
			if (position >= share->delivered)
				share->retried.count = 0;
		}
		share->lease_end = es_subscription_lease_end(&ack->claim.subscription, ack->claim.now);
		es_share_update(&ack->claim.subscription, share);
	}
}

/* Whether anything that was delivered under the token is still to be settled. */
static bool
ack_has_more(const AckState *ack)
{
	const EsShare *share = &ack->claim.mine.items[0];
	int i;

	for (i = 0; i < ack->claim.retries.count; i++)
		if (ack_is_delivered(ack, &ack->claim.retries.items[i]))
			return true;
	return es_deliver_has_more(&ack->claim.delivery, share->acked,
							   Min(share->delivered, share->scanned));
}

/* Read the retries anew, after some have been written. */
static void
ack_reload(AckState *ack)
{
	int64 after = ack->claim.mine.items[0].checkpoint;
	int i;

	for (i = 1; i < ack->claim.mine.count; i++)
		after = Min(after, ack->claim.mine.items[i].checkpoint);
	ack->claim.retries = es_retry_load(&ack->claim.subscription, after);
}

/* If that was the last of them, the delivery is done. */
static void
ack_finish(AckState *ack)
{
	const EsShare *share = &ack->claim.mine.items[0];

	ack_reload(ack);
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
	bool has_held;
	EsCaller caller;

	ack.claim.name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	es_arguments_check_not_null(fcinfo, 1, "token");
	es_arguments_check_not_null(fcinfo, 2, "position");
	ack.claim.token = PG_GETARG_INT64(1);
	ack.claim.position = PG_GETARG_INT64(2);
	if (ack.claim.position < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position must not be negative")));
	PreventCommandIfReadOnly("es_ack()");
	PreventCommandIfParallelMode("es_ack()");

	es_caller_check_named(GetUserId(), ack.claim.name);
	es_caller_enter(&caller);
	es_claim_begin(&ack.claim);
	has_held = ack_resolve_retries(&ack);
	ack_advance(&ack, ack.claim.position);
	/* What was skipped while a stream was held is past, once that is free. */
	if (has_held)
		ack_reload(&ack);
	ack_forget_skipped(&ack);
	/* What comes after may have been skipped. */
	if (ack.claim.retries.count > 0 &&
		ack.claim.mine.items[0].acked < ack.claim.mine.items[0].delivered)
		ack_finish(&ack);
	es_claim_end(&ack.claim);
	es_caller_leave(&caller);
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
	bool is_used_up = event->attempts > ack->claim.subscription.max_retries;

	event->is_parked = ack->action == ACK_PARK || (ack->action == ACK_RETRY && is_used_up);
	if (ack->action == ACK_RETRY && !is_used_up)
		event->due = ack->due;
	event->is_blocking = event->is_parked ? ack->claim.subscription.parks_block
										  : ack->action == ACK_RETRY;
	es_retry_insert(&ack->claim.subscription, event, ack->reason);
}

static void
ack_nack_retry(AckState *ack, const EsRetry *retry)
{
	const EsShare *share = es_share_of_partition(&ack->claim.mine, retry->partition);
	int attempts = es_deliver_attempts(share, retry);

	if (ack->action == ACK_SKIP)
		es_retry_resolve(&ack->claim.subscription, retry, ack_reach(ack, retry, 0));
	else if (ack->action == ACK_PARK || attempts > ack->claim.subscription.max_retries)
		es_retry_park(&ack->claim.subscription, retry, attempts, ack->reason,
					  ack_reach(ack, retry, 0));
	else
		es_retry_again(&ack->claim.subscription, retry, attempts, ack->due, ack->reason);
}

/* The event of the run at the position, if it is still to be settled. */
static bool
ack_find_event(AckState *ack, EsRetry *event)
{
	const EsShare *share;

	if (!es_deliver_find(&ack->claim.delivery, ack->claim.position, event))
		return false;
	share = es_share_of_partition(&ack->claim.mine, event->partition);
	return event->position > share->acked &&
		event->position <= Min(share->delivered, share->scanned);
}

static void
ack_nack(AckState *ack)
{
	const EsRetry *retry = es_retry_find(&ack->claim.retries, ack->claim.position);
	EsRetry event;
	int i;

	for (i = 0; i < ack->claim.mine.count; i++)
		es_guard_take(ES_GUARD_SETTLES, ack->claim.mine.items[i].number);
	if (retry != NULL && ack_is_delivered(ack, retry))
		ack_nack_retry(ack, retry);
	else if (retry == NULL && ack_find_event(ack, &event))
		ack_nack_event(ack, &event);
	/* Gone since it was delivered, it will not come again. */
	else if (!es_removed_is_at(ack->claim.position))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position %lld is not outstanding under token %lld",
						(long long) ack->claim.position, (long long) ack->claim.token),
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
	EsCaller caller;

	ack.claim.name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	es_arguments_check_not_null(fcinfo, 1, "token");
	es_arguments_check_not_null(fcinfo, 2, "position");
	es_arguments_check_not_null(fcinfo, 3, "reason");
	ack.claim.token = PG_GETARG_INT64(1);
	ack.claim.position = PG_GETARG_INT64(2);
	ack.reason = PG_GETARG_TEXT_PP(3);
	ack.action = ack_get_action(fcinfo, 4);
	ack.due = es_arguments_get_time_after(fcinfo, 5, "delay", GetCurrentTimestamp());
	if (TIMESTAMP_NOT_FINITE(ack.due))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("delay must be finite"),
				 errhint("To put an event aside, park it.")));
	if (ack.claim.position < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position must not be negative")));
	PreventCommandIfReadOnly("es_nack()");
	PreventCommandIfParallelMode("es_nack()");

	es_caller_check_named(GetUserId(), ack.claim.name);
	es_caller_enter(&caller);
	es_claim_begin(&ack.claim);
	ack_nack(&ack);
	ack_finish(&ack);
	es_claim_end(&ack.claim);
	es_caller_leave(&caller);
	PG_RETURN_VOID();
}
