/*-------------------------------------------------------------------------
 *
 * fetch.c
 *		The verb of consumers: es_fetch.
 *
 * One look has three steps: under the mutex the consumer takes its share of
 * the partitions (assign.c); without it events are read (deliver.c); under it
 * again what was delivered is stored in the consumer's shares, if these are
 * still as they were, else the look is begun anew.  So reading keeps nobody
 * waiting, and the transaction keeps nobody waiting either: others pass its
 * shares when the lease has ended.
 *
 * While it waits, it has written nothing but, at most, new shares; they lock
 * nobody out.  It is woken by events that the subscription wants, and by others'
 * changes of it; not by what else is appended.
 *
 * Memory: a context of its own, reset for each look; rows in the query's.
 * Locks: see guard.c; wake.c's while it waits.  Calls: arguments, assign,
 * behind, caller, deliver, division, guard, lease, order, rest, retry, rival,
 * takeback, transaction, wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/transam.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/catalog.h"
#include "order/behind.h"
#include "order/order.h"
#include "order/transaction.h"
#include "signal/guard.h"
#include "signal/rest.h"
#include "signal/wake.h"
#include "subscription/assign.h"
#include "subscription/caller.h"
#include "subscription/deliver.h"
#include "subscription/division.h"
#include "subscription/lease.h"
#include "subscription/rival.h"
#include "subscription/takeback.h"

PG_FUNCTION_INFO_V1(es_fetch);

/* How often to look where nobody tells, in milliseconds. */
#define FETCH_LOOK_MS 50   /* at prepared transactions, and on the head's way */
#define FETCH_OPEN_MS 1000 /* at others' open transactions */

/*
 * How often to pass over what is not wanted, though nobody wakes for it: else
 * the first event that is would be found behind all of that.
 */
#define FETCH_PASS_MS 10000

/* WaitLatch takes no longer time than an int holds. */
#define FETCH_LONGEST_MS 3600000

/* What a look found. */
typedef enum FetchLook
{
	FETCH_DONE,    /* it is stored; there may be no rows */
	FETCH_NOTHING, /* nothing, and nothing stored: wait */
	FETCH_AGAIN    /* the consumer's shares have changed meanwhile */
} FetchLook;

typedef struct FetchState
{
	text *name;
	text *consumer;
	EsCaller caller; /* whose rights count for what may be seen */
	int max_count;
	ReturnSetInfo *result;
	bool has_time; /* to wait */

	EsSubscription subscription;
	int count;     /* at most; while the subscription is paused 0 */
	bool has_read; /* by the last look */
	EsAssignment assignment;
	EsRetries retries;
	EsDelivery delivery;
	TimestampTz next_look; /* at the latest */

	/* From look to look */
	MemoryContext lasting;
	int refusals; /* looks in a row that found it being changed as a whole */
	bool has_looked;
	int64 token;         /* the consumer's newest */
	EsShares seen;       /* the shares of the last look ... */
	int64 seen_to;       /* ... in which there is nothing up to here ... */
	int64 seen_revision; /* ... as the subscription was then */
	EsListener listener;
	bool is_told;  /* who moves the head wakes it */
	int64 *asleep; /* shares that are marked so */
	int asleep_count;
	EsRest rest;
} FetchState;

/* ----------------------------------------------------------------------
 * Sleeping shares
 * ----------------------------------------------------------------------
 */

static void
fetch_rise(FetchState *fetch)
{
	while (fetch->asleep_count > 0)
		es_guard_release(ES_GUARD_SLEEPS, fetch->asleep[--fetch->asleep_count]);
}

/* Others may see that the consumer lives, whatever its leases say. */
static void
fetch_mark_asleep(FetchState *fetch)
{
	const EsAssignment *assignment = &fetch->assignment;
	int64 *asleep;
	int count = 0;
	int i;

	asleep = MemoryContextAlloc(fetch->lasting, sizeof(int64) * (assignment->mine.count + 1));
	for (i = 0; i < assignment->mine.count; i++)
		asleep[count++] = assignment->mine.items[i].number;
	if (count == 0 && assignment->member != NULL)
		asleep[count++] = assignment->member->number;
	/* In this order: there is no moment without. */
	for (i = 0; i < count; i++)
		es_guard_take(ES_GUARD_SLEEPS, asleep[i]);
	fetch_rise(fetch);
	fetch->asleep = asleep;
	fetch->asleep_count = count;
}

/* ----------------------------------------------------------------------
 * What is listened to
 * ----------------------------------------------------------------------
 */

/* Whether the present division ends somewhere. */
static bool
fetch_ends(const FetchState *fetch)
{
	return fetch->subscription.next_partitions != 0 || fetch->subscription.drain_to != PG_INT64_MAX;
}

static EsWanted
fetch_wanted(const FetchState *fetch)
{
	const EsSubscription *subscription = &fetch->subscription;
	EsWanted wanted = {.is_nothing = fetch->count == 0};

	/* Where a division ends, whoever appends brings the head there. */
	if (fetch_ends(fetch))
		return wanted;
	wanted.category = subscription->category;
	if (subscription->types != (Datum) 0)
	{
		wanted.types = subscription->type_items;
		wanted.type_count = subscription->type_count;
	}
	return wanted;
}

/* Before it is looked for events: what comes later wakes. */
static void
fetch_listen(FetchState *fetch)
{
	EsWanted wanted = fetch_wanted(fetch);

	es_wake_listen(&fetch->listener, &wanted);
}

/* Up to where there is nothing, whoever looks. */
static int64
fetch_seen_to(const FetchState *fetch)
{
	/* Where it has not looked; nor will see anything, by its snapshot or its division. */
	return !fetch->has_read || IsolationUsesXactSnapshot() || fetch_ends(fetch) ? PG_INT64_MAX
																				: fetch->seen_to;
}

/* Returns false if there may be something by now. */
static bool
fetch_listen_behind(FetchState *fetch)
{
	EsWanted wanted = fetch_wanted(fetch);

	return es_behind_listen(&fetch->listener, &wanted, fetch_seen_to(fetch), &fetch->is_told);
}

/* ----------------------------------------------------------------------
 * A look
 * ----------------------------------------------------------------------
 */

/* Where the last of the consumer's partitions stands. */
static int64
fetch_after(const FetchState *fetch)
{
	const EsShares *mine = &fetch->assignment.mine;
	int64 after = PG_INT64_MAX;
	int i;

	for (i = 0; i < mine->count; i++)
		after = Min(after, mine->items[i].checkpoint);
	return after;
}

/*
 * Take the consumer's share, and read its retries.  Returns false if it cannot
 * have any now.
 */
static bool
fetch_take(FetchState *fetch)
{
	EsSubscription *subscription = &fetch->subscription;
	uint32 key = es_guard_key(fetch->name);

	memset(&fetch->assignment, 0, sizeof(EsAssignment));
	fetch->assignment.next_end = DT_NOEND;
	fetch->assignment.is_held = true;
	if (!es_guard_try(ES_GUARD_USE, key))
	{
		/* Being changed as a whole: there is nothing until that is done. */
		fetch->refusals++;
		return false;
	}
	fetch->refusals = 0;
	es_guard_take(ES_GUARD_MUTEX, key);
	es_division_find(fetch->name, subscription);
	es_caller_check(fetch->caller.role, subscription);
	fetch->count = subscription->is_paused ? 0 : fetch->max_count;
	es_assign_work(subscription, fetch->consumer, fetch->count == 0, &fetch->assignment);
	if (!fetch->assignment.is_held)
		fetch->retries = es_retry_load(subscription, fetch_after(fetch));
	es_guard_release(ES_GUARD_MUTEX, key);
	es_guard_release(ES_GUARD_USE, key);
	if (fetch->has_time)
		fetch_listen(fetch);
	if (fetch->assignment.is_changed)
		es_transaction_wake_consumers(key);
	return !fetch->assignment.is_held;
}

/* Whether another session of this consumer has fetched since the first look. */
static bool
fetch_is_outdated(FetchState *fetch)
{
	int64 token = 0;
	int i;

	for (i = 0; i < fetch->assignment.mine.count; i++)
		token = Max(token, fetch->assignment.mine.items[i].token);
	if (!fetch->has_looked)
		fetch->token = token;
	fetch->has_looked = true;
	return token > fetch->token;
}

/* What another session works on under the same name has not failed. */
static void
fetch_spare_rival(FetchState *fetch)
{
	int64 token = es_rival_token(fetch->name, fetch->consumer);
	bool has_rival = false;
	int i;

	for (i = 0; i < fetch->assignment.mine.count; i++)
	{
		EsShare *share = &fetch->assignment.mine.items[i];

		if (share->token <= token || !es_share_is_outstanding(share))
			continue;
		es_takeback_delivery(share);
		has_rival = true;
	}
	if (has_rival)
		es_rival_warn(fetch->name, fetch->consumer);
}

/* Whether nothing has changed since the last look but the events. */
static bool
fetch_has_same_shares(const FetchState *fetch)
{
	const EsShares *mine = &fetch->assignment.mine;
	int i;

	/* What held a stream may be gone, and what comes next in it has been passed over. */
	if (mine->count != fetch->seen.count || fetch->subscription.revision != fetch->seen_revision)
		return false;
	for (i = 0; i < mine->count; i++)
		if (!es_lease_is_same(&mine->items[i], &fetch->seen.items[i]))
			return false;
	return true;
}

/* There was nothing: the next look need not look there again. */
static void
fetch_remember(FetchState *fetch)
{
	const EsShares *mine = &fetch->assignment.mine;
	Size size = sizeof(EsShare) * (mine->count + 1);

	if (fetch->seen.items != NULL)
		pfree(fetch->seen.items);
	fetch->seen.count = mine->count;
	fetch->seen.items = MemoryContextAlloc(fetch->lasting, size);
	if (mine->count > 0)
		memcpy(fetch->seen.items, mine->items, sizeof(EsShare) * mine->count);
	fetch->seen_to = fetch->delivery.scanned;
	fetch->seen_revision = fetch->subscription.revision;
}

static void
fetch_read(FetchState *fetch)
{
	const EsShares *mine = &fetch->assignment.mine;
	EsDelivery *delivery = &fetch->delivery;

	tuplestore_clear(fetch->result->setResult);
	*delivery = (EsDelivery){.subscription = &fetch->subscription,
							 .shares = mine,
							 .retries = &fetch->retries,
							 .caller = fetch->caller.role,
							 .max_count = fetch->count,
							 .result = fetch->result};
	if (fetch->seen.items != NULL && fetch_has_same_shares(fetch))
		delivery->after = fetch->seen_to;
	es_deliver(delivery);
}

/* ----------------------------------------------------------------------
 * What was delivered
 * ----------------------------------------------------------------------
 */

/* Returns false if the look has to be begun anew. */
static bool
fetch_store(FetchState *fetch)
{
	bool is_settling = fetch->delivery.given_up_count > 0 || fetch->delivery.gone_count > 0;
	uint32 key = fetch->subscription.key;
	TransactionId replay = InvalidTransactionId;
	bool is_same;

	if (!es_guard_try(ES_GUARD_USE, key))
		return false;
	es_guard_take(ES_GUARD_MUTEX, key);
	if (is_settling)
		replay = es_retry_find_replay(&fetch->subscription, &fetch->assignment.mine);
	is_same = !TransactionIdIsValid(replay) &&
		es_lease_check(&fetch->subscription, &fetch->assignment);
	if (is_same)
	{
		es_lease_store(&fetch->assignment, &fetch->delivery);
		/* Before others look: from now on it works on them. */
		fetch_rise(fetch);
	}
	es_guard_release(ES_GUARD_MUTEX, key);
	/* What is written about retries needs it until commit. */
	if (!is_same || !is_settling)
		es_guard_release(ES_GUARD_USE, key);
	else
	{
		es_guard_take(ES_GUARD_PARKS, key);
		es_transaction_wake_consumers(key);
		/* Others wait for the end of this transaction: make it soon. */
		fetch->has_time = false;
	}
	if (TransactionIdIsValid(replay))
		XactLockTableWait(replay, NULL, NULL, XLTW_None);
	return is_same;
}

/* Whether checkpoints move towards the end of the present division. */
static bool
fetch_drains(const FetchState *fetch)
{
	int i;

	if (fetch->subscription.next_partitions == 0)
		return false;
	for (i = 0; i < fetch->assignment.mine.count; i++)
		if (fetch->assignment.mine.items[i].checkpoint < fetch->delivery.scanned)
			return true;
	return false;
}

static FetchLook
fetch_look(FetchState *fetch)
{
	const EsDelivery *delivery = &fetch->delivery;
	bool is_draining;
	bool is_moving;

	fetch->has_read = false;
	if (!fetch_take(fetch))
		return fetch->has_time ? FETCH_NOTHING : FETCH_DONE;
	if (fetch_is_outdated(fetch))
		return FETCH_DONE;
	if (fetch->count > 0)
		fetch_spare_rival(fetch);
	fetch_read(fetch);
	/* What is parked may free others, and what is drained the next division. */
	is_draining = fetch->count > 0 && delivery->count == 0 && fetch_drains(fetch);
	is_moving = is_draining ||
		(fetch->count > 0 && delivery->count == 0 &&
		 (delivery->given_up_count > 0 || delivery->gone_count > 0));
	if (delivery->count == 0 && !is_moving && fetch->has_time)
	{
		fetch_remember(fetch);
		/* Of a consumer that has nothing, or while it is paused, nothing is looked at. */
		fetch->has_read = fetch->assignment.mine.count > 0 && fetch->count > 0;
		return FETCH_NOTHING;
	}
	if (!fetch_store(fetch))
		return FETCH_AGAIN;
	if (is_moving)
		es_transaction_wake_consumers(fetch->subscription.key);
	/* The next division begins when this transaction has ended: make it soon. */
	if (is_draining)
		fetch->has_time = false;
	if (delivery->token != 0)
		es_rival_delivered(fetch->name, fetch->consumer, delivery->token);
	return is_moving ? FETCH_AGAIN : FETCH_DONE;
}

/* ----------------------------------------------------------------------
 * Waiting
 * ----------------------------------------------------------------------
 */

static TimestampTz
fetch_next_look(const FetchState *fetch, TimestampTz until)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = Min(until, fetch->assignment.next_end);

	if (!fetch->assignment.is_held)
		next = Min(next, fetch->delivery.next_due);
	/* Who has changed it tells a moment before its lock is gone. */
	if (fetch->refusals > 0)
		next = Min(next,
				   TimestampTzPlusMilliseconds(now,
											   Min(FETCH_LOOK_MS * fetch->refusals, FETCH_OPEN_MS)));
	if (fetch->assignment.has_others_open)
		next = Min(next, TimestampTzPlusMilliseconds(now, FETCH_OPEN_MS));
	if (fetch->subscription.types != (Datum) 0)
		next = Min(next, TimestampTzPlusMilliseconds(now, FETCH_PASS_MS));
	return next;
}

/* Sleep until there may be something.  Returns false when the time is over. */
static bool
fetch_sleep(FetchState *fetch, TimestampTz until)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next;
	int events;

	if (now >= until)
		return false;
	if (!fetch_listen_behind(fetch))
		return true;
	/* What it has is not known while the subscription is being changed. */
	if (fetch->refusals == 0)
		fetch_mark_asleep(fetch);
	next = fetch_next_look(fetch, until);
	do
	{
		long ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next);

		es_rest_lie_down(&fetch->rest);
		events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						   Min(ms, fetch->is_told ? FETCH_LONGEST_MS : FETCH_LOOK_MS),
						   PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	} while ((events & WL_LATCH_SET) == 0 && !fetch->is_told && GetCurrentTimestamp() < next &&
			 es_behind_is_still(fetch_seen_to(fetch)));
	return true;
}

static void
fetch_run(FetchState *fetch, TimestampTz until)
{
	MemoryContext round = AllocSetContextCreate(fetch->lasting, "es_fetch", ALLOCSET_DEFAULT_SIZES);
	uint32 key = es_guard_key(fetch->name);
	bool has_joined = until > GetCurrentTimestamp();
	FetchLook look;

	fetch->has_time = has_joined;
	if (has_joined)
	{
		es_guard_take(ES_GUARD_WAITS, key);
	}
	MemoryContextSwitchTo(round);
	do
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(round);
		look = fetch_look(fetch);
		/* The last look stores what it did not find. */
		if (look == FETCH_NOTHING && !fetch_sleep(fetch, until))
			fetch->has_time = false;
	} while (look != FETCH_DONE);
	fetch_rise(fetch);
	if (has_joined)
	{
		es_guard_release(ES_GUARD_WAITS, key);
		es_wake_part(&fetch->listener);
	}
	es_rest_end(&fetch->rest);
	MemoryContextSwitchTo(fetch->lasting);
	MemoryContextDelete(round);
}

/* ----------------------------------------------------------------------
 * The verb
 * ----------------------------------------------------------------------
 */

/*
 * es_fetch(subscription text, consumer text = NULL, max_count bigint = 100,
 *			wait interval = '0') -> SETOF (event's columns, partition int,
 *			token bigint, attempt int)
 */
Datum
es_fetch(PG_FUNCTION_ARGS)
{
	FetchState fetch = {.lasting = CurrentMemoryContext, .rest = ES_REST(fcinfo->flinfo->fn_oid)};
	TimestampTz until;

	fetch.name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	fetch.consumer = es_arguments_get_consumer(fcinfo, 1);
	es_arguments_check_not_null(fcinfo, 2, "max_count");
	fetch.max_count = (int) Min(es_arguments_get_max_count(fcinfo, 2), PG_INT32_MAX);
	until = es_arguments_get_time_after(fcinfo, 3, "wait", GetCurrentTimestamp());
	PreventCommandIfReadOnly("es_fetch()");
	PreventCommandIfParallelMode("es_fetch()");

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	fetch.result = (ReturnSetInfo *) fcinfo->resultinfo;
	es_caller_enter(&fetch.caller);
	/* Whoever wants nothing has not to wait for it. */
	fetch_run(&fetch, fetch.max_count == 0 ? DT_NOBEGIN : until);
	es_caller_leave(&fetch.caller);
	return (Datum) 0;
}
