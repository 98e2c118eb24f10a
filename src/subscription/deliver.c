/*-------------------------------------------------------------------------
 *
 * deliver.c
 *		What a fetch delivers.
 *
 * The run of events after the checkpoints of the consumer's partitions, in the
 * order of position, up to the head, and between them the retries that are
 * due.  Out of the run are the events that have a row among the retries, and
 * those whose stream is held by an earlier one.
 *
 * An event's last attempt is made alone: if the consumer dies of it, no other
 * event is parked for it.  (AWS Lambda's "bisect batch on function error" is
 * the same thought; here the batch is not halved, as the attempts before the
 * last have been made already.)
 *
 * Memory: the current context; rows go into the result's tuplestore.  Locks:
 * AccessShare on events.  Calls: bound, fetch_row, names, order, partition, retry, scan,
 * share, sight, subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/names.h"
#include "base/partition.h"
#include "base/scan.h"
#include "order/order.h"
#include "rights/bound.h"
#include "subscription/deliver.h"
#include "subscription/fetch_row.h"
#include "subscription/sight.h"

typedef struct DeliverRun
{
	EsDelivery *delivery;
	const EsShare **owners; /* by partition; NULL: not the consumer's */
	Relation events;
	EsScan scan;
	EsSight sight; /* beside it */
	EsView view;
	int64 end; /* of the run */

	/* The event that the scan stands at */
	int64 position;
	int partition;
	int attempts;
} DeliverRun;

static const EsShare **
deliver_owners(const EsDelivery *delivery)
{
	int partitions = delivery->subscription->partitions;
	const EsShare **owners = palloc(sizeof(EsShare *) * partitions);
	int p;

	for (p = 0; p < partitions; p++)
		owners[p] = es_share_of_partition(delivery->shares, p);
	return owners;
}

/* How many times a retry was delivered. */
int
es_deliver_attempts(const EsShare *share, const EsRetry *retry)
{
	int64 before = es_pairs_find(share->retried, -retry->number, retry->attempts);

	return (int) es_pairs_find(share->retried, retry->number, before);
}

/* Whether it was by the last delivery of its share. */
bool
es_deliver_has_retry(const EsShare *share, const EsRetry *retry)
{
	return es_pairs_find(share->retried, retry->number, -1) >= 0;
}

/* ----------------------------------------------------------------------
 * The run
 * ----------------------------------------------------------------------
 */

/* up_to: PG_INT64_MAX: up to the head; else a position that was delivered. */
static void
deliver_open(DeliverRun *run, const EsDelivery *delivery, int64 after, int64 up_to)
{
	const EsSubscription *subscription = delivery->subscription;
	AttrNumber column = 1;

	run->owners = deliver_owners(delivery);
	run->events = es_catalog_open(ES_EVENTS, AccessShareLock);
	es_scan_open(&run->scan, run->events,
				 subscription->category == NULL ? ES_EVENTS_PKEY : ES_EVENTS_CATEGORY_POSITION);
	if (subscription->category != NULL)
		es_scan_add_key(&run->scan, column++, BTEqualStrategyNumber, F_TEXTEQ,
						PointerGetDatum(subscription->category));
	if (up_to == PG_INT64_MAX)
		es_order_begin_view(&run->view);
	else
	{
		/* Settled already, whatever this transaction's snapshot sees. */
		run->view.snapshot = RegisterSnapshot(GetLatestSnapshot());
		run->view.head = up_to;
	}
	run->end = Min(Min(run->view.head, subscription->drain_to), up_to);
	es_scan_add_key(&run->scan, column, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_scan_add_key(&run->scan, column, BTLessEqualStrategyNumber, F_INT8LE,
					Int64GetDatum(run->end));
	es_scan_begin(&run->scan, run->view.snapshot);
}

/* The run has no event up to here. */
static int64
deliver_begin(const EsDelivery *delivery)
{
	int64 begin = PG_INT64_MAX;
	int i;

	for (i = 0; i < delivery->shares->count; i++)
		begin = Min(begin, delivery->shares->items[i].checkpoint);
	return begin;
}

/* See for the caller whether he may. */
static void
deliver_open_sight(DeliverRun *run)
{
	const EsSubscription *subscription = run->delivery->subscription;

	run->sight.role = run->delivery->caller;
	run->sight.subscription = text_to_cstring(subscription->name);
	es_sight_open(&run->sight, &run->scan,
				  subscription->category == NULL ? ES_EVENTS_PKEY : ES_EVENTS_CATEGORY_POSITION,
				  run->view.snapshot);
}

static void
deliver_close(DeliverRun *run)
{
	es_sight_close(&run->sight);
	es_order_end_view(&run->view);
	es_scan_close(&run->scan);
	relation_close(run->events, NoLock);
}

/* Whether the scan stands at an event of the run. */
static bool
deliver_is_in_run(DeliverRun *run)
{
	const EsDelivery *delivery = run->delivery;
	const EsSubscription *subscription = delivery->subscription;
	TupleTableSlot *slot = run->scan.slot;
	const EsShare *share;
	text *stream;
	uint64 hash;
	bool is_null;

	run->position = DatumGetInt64(slot_getattr(slot, Anum_events_position, &is_null));
	stream = DatumGetTextPP(slot_getattr(slot, Anum_events_stream, &is_null));
	hash = es_partition_hash(stream);
	run->partition = (int) (hash % (uint64) subscription->partitions);
	share = run->owners[run->partition];
	if (share == NULL || run->position <= share->checkpoint)
		return false;
	if (subscription->tenant != NULL && !es_bound_has_tenant(stream, subscription->tenant))
		return false;
	if (subscription->types != (Datum) 0 &&
		!es_subscription_wants(subscription,
							   DatumGetTextPP(slot_getattr(slot, Anum_events_type, &is_null))))
		return false;
	if (delivery->retries->count > 0 &&
		(es_retry_find(delivery->retries, run->position) != NULL ||
		 es_retry_find_blocking(delivery->retries, stream, hash, run->position) != NULL))
		return false;
	run->attempts = es_share_attempts_at(share, run->position);
	return true;
}

/* The event that the scan stands at, as a retry. */
static EsRetry
deliver_make_retry(const DeliverRun *run)
{
	const EsShare *share = run->owners[run->partition];
	TupleTableSlot *slot = run->scan.slot;
	EsRetry retry = {0};
	bool is_null;

	retry.position = run->position;
	retry.stream = DatumGetTextPCopy(slot_getattr(slot, Anum_events_stream, &is_null));
	retry.hash = es_partition_hash(retry.stream);
	retry.version = DatumGetInt64(slot_getattr(slot, Anum_events_version, &is_null));
	retry.attempts = run->attempts;
	retry.due = DT_NOEND;
	retry.delivered_to = es_share_passed(share);
	retry.delivered_attempts = es_share_attempts_at(share, run->position + 1);
	retry.partition = run->partition;
	return retry;
}

/* An event whose attempts are used up is out of the run from now on. */
static void
deliver_give_up(EsDelivery *delivery, const EsRetry *retry)
{
	int count = delivery->given_up_count;

	/* Space for a power of two. */
	if ((count & (count - 1)) == 0)
	{
		EsRetry *items = palloc_extended(sizeof(EsRetry) * Max(count * 2, 1), MCXT_ALLOC_HUGE);

		if (count > 0)
			memcpy(items, delivery->given_up, sizeof(EsRetry) * count);
		delivery->given_up = items;
	}
	delivery->given_up[delivery->given_up_count++] = *retry;
}

/* Whether a stream waits behind an event that this fetch parks. */
static bool
deliver_is_behind(const EsDelivery *delivery, const text *stream)
{
	int i;

	if (!delivery->subscription->parks_block)
		return false;
	for (i = 0; i < delivery->given_up_count; i++)
		if (es_names_equal(delivery->given_up[i].stream, stream))
			return true;
	return false;
}

/* The same for the event that the scan stands at. */
static bool
deliver_run_is_behind(const DeliverRun *run)
{
	bool is_null;

	return run->delivery->given_up_count > 0 &&
		deliver_is_behind(run->delivery,
						  DatumGetTextPP(
							  slot_getattr(run->scan.slot, Anum_events_stream, &is_null)));
}

/* Move to the next event to be delivered.  Returns false at the end. */
static bool
deliver_next_in_run(DeliverRun *run)
{
	EsDelivery *delivery = run->delivery;

	while (es_scan_next(&run->scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (!deliver_is_in_run(run) || deliver_run_is_behind(run))
			continue;
		if (run->attempts > delivery->subscription->max_retries)
		{
			EsRetry retry = deliver_make_retry(run);

			retry.is_blocking = delivery->subscription->parks_block;
			deliver_give_up(delivery, &retry);
			continue;
		}
		return true;
	}
	delivery->scanned = run->end;
	return false;
}

/* ----------------------------------------------------------------------
 * Retries
 * ----------------------------------------------------------------------
 */

/*
 * Whether an earlier retry of the stream is still to come, or there may be
 * others between as it holds the stream.
 */
static bool
deliver_waits(const EsDelivery *delivery, int index)
{
	const EsRetries *retries = delivery->retries;
	const EsRetry *retry = &retries->items[index];
	int i;

	for (i = es_retry_seek(retries, retry->hash); i < retries->active_count; i++)
	{
		const EsRetry *earlier = retries->active[i];

		if (earlier->hash != retry->hash || earlier->position >= retry->position)
			break;
		if ((earlier->is_blocking || !delivery->is_delivered[earlier - retries->items]) &&
			es_names_equal(earlier->stream, retry->stream))
			return true;
	}
	return false;
}

/*
 * Find the next retry from an index on to be delivered; the count: none.
 *
 * An event that was appended after a REPEATABLE READ transaction's snapshot is
 * not for that transaction, though it was delivered before to another: it
 * could not be found in eventstore.events, and be acknowledged all the same.
 */
static int
deliver_next_retry(DeliverRun *run, int index, TimestampTz now)
{
	EsDelivery *delivery = run->delivery;

	for (; index < delivery->retries->count; index++)
	{
		const EsRetry *retry = &delivery->retries->items[index];
		const EsShare *share = run->owners[retry->partition];

		if (share == NULL || retry->due == DT_NOEND || retry->position > run->view.head)
			continue;
		if (retry->due > now)
		{
			delivery->next_due = Min(delivery->next_due, retry->due);
			continue;
		}
		if (deliver_waits(delivery, index))
			continue;
		if (es_deliver_attempts(share, retry) > delivery->subscription->max_retries)
		{
			EsRetry used_up = *retry;

			used_up.attempts = es_deliver_attempts(share, retry);
			deliver_give_up(delivery, &used_up);
			continue;
		}
		break;
	}
	return index;
}

/* ----------------------------------------------------------------------
 * Rows
 * ----------------------------------------------------------------------
 */

/* Hand an event to the caller of es_fetch. */
static void
deliver_put(EsDelivery *delivery, TupleTableSlot *slot, int partition, int attempt)
{
	EsFetchRowExtra extra = {.partition = partition, .attempt = attempt};
	MinimalTuple row;
	bool is_null;

	if (delivery->token == 0)
		delivery->token = es_share_make_token();
	extra.token = delivery->token;
	row = es_fetch_row_make(slot, delivery->result->setDesc, &extra);
	tuplestore_puttupleslot(delivery->result->setResult,
							ExecStoreMinimalTuple(row, delivery->row, true));
	delivery->last = DatumGetInt64(slot_getattr(slot, Anum_events_position, &is_null));
	delivery->count++;
}

/* Returns false if the event is not there any more. */
static bool
deliver_put_retry(DeliverRun *run, const EsRetry *retry, int attempt)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsScan scan;
	bool is_found;

	es_scan_open(&scan, run->events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(retry->position));
	es_scan_begin(&scan, snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	if (is_found)
	{
		es_sight_check_one(&run->sight, run->events, retry->position, snapshot);
		deliver_put(run->delivery, scan.slot, retry->partition, attempt);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	return is_found;
}

/* Whether it is an attempt to be made alone. */
static bool
deliver_is_last_attempt(const EsDelivery *delivery, int attempts)
{
	return attempts > 0 && attempts == delivery->subscription->max_retries;
}

/*
 * Deliver what there is, up to max_count events.
 */
static void
deliver_all(DeliverRun *run, TimestampTz now)
{
	EsDelivery *delivery = run->delivery;
	const EsRetries *retries = delivery->retries;
	bool has_run = deliver_next_in_run(run);
	int next = deliver_next_retry(run, 0, now);
	bool is_alone = false;

	while (!is_alone && delivery->count < delivery->max_count && (has_run || next < retries->count))
	{
		bool is_retry = next < retries->count &&
			(!has_run || retries->items[next].position < run->position);
		const EsRetry *retry = &retries->items[next];
		int attempts = is_retry ? es_deliver_attempts(run->owners[retry->partition], retry)
								: run->attempts;

		if (is_retry && deliver_is_behind(delivery, retry->stream))
		{
			next = deliver_next_retry(run, next + 1, now);
			continue;
		}
		is_alone = deliver_is_last_attempt(delivery, attempts);
		if (is_alone && delivery->count > 0)
			break;
		if (is_retry)
		{
			if (deliver_put_retry(run, retry, attempts + 1))
				delivery->is_delivered[next] = true;
			else
			{
				is_alone = false;
				delivery->gone[delivery->gone_count++] = *retry;
			}
			next = deliver_next_retry(run, next + 1, now);
			continue;
		}
		es_sight_check(&run->sight, run->position);
		deliver_put(delivery, run->scan.slot, run->partition, attempts + 1);
		delivery->run = delivery->scanned = run->position;
		has_run = !is_alone && delivery->count < delivery->max_count && deliver_next_in_run(run);
	}
	/* All before the event that was left has been looked at. */
	if (has_run)
		delivery->scanned = run->position - 1;
}

/*
 * Deliver events to the caller of es_fetch.
 */
void
es_deliver(EsDelivery *delivery)
{
	DeliverRun run = {.delivery = delivery};

	delivery->token = delivery->last = delivery->run = delivery->scanned = 0;
	delivery->count = delivery->given_up_count = delivery->gone_count = 0;
	delivery->given_up = NULL;
	delivery->is_delivered = palloc0(sizeof(bool) * (delivery->retries->count + 1));
	delivery->gone = palloc_extended(sizeof(EsRetry) * (delivery->retries->count + 1),
									 MCXT_ALLOC_HUGE);
	delivery->next_due = DT_NOEND;
	if (delivery->shares->count == 0 || delivery->max_count == 0)
		return;

	delivery->row = MakeSingleTupleTableSlot(delivery->result->setDesc, &TTSOpsMinimalTuple);
	deliver_open(&run, delivery, Max(deliver_begin(delivery), delivery->after), PG_INT64_MAX);
	deliver_open_sight(&run);
	deliver_all(&run, GetCurrentTimestamp());
	deliver_close(&run);
	ExecDropSingleTupleTableSlot(delivery->row);
}

/* ----------------------------------------------------------------------
 * What was delivered
 * ----------------------------------------------------------------------
 */

/*
 * Find an event of the run that was delivered.
 *
 * event: receives it.  Returns false if it is not of the run.
 */
bool
es_deliver_find(const EsDelivery *delivery, int64 position, EsRetry *event)
{
	DeliverRun run = {.delivery = (EsDelivery *) delivery};
	bool is_found;

	deliver_open(&run, delivery, position - 1, position);
	is_found = es_scan_next(&run.scan, ForwardScanDirection) && deliver_is_in_run(&run);
	if (is_found)
		*event = deliver_make_retry(&run);
	deliver_close(&run);
	return is_found;
}

/* Whether the run has an event after a position and up to another. */
bool
es_deliver_has_more(const EsDelivery *delivery, int64 after, int64 up_to)
{
	DeliverRun run = {.delivery = (EsDelivery *) delivery};
	bool is_found = false;

	deliver_open(&run, delivery, Max(after, deliver_begin(delivery)), up_to);
	while (!is_found && es_scan_next(&run.scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		is_found = deliver_is_in_run(&run);
	}
	deliver_close(&run);
	return is_found;
}
