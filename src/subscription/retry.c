/*-------------------------------------------------------------------------
 *
 * retry.c
 *		Events that go their own way: delivered again, parked, skipped.
 *
 * The row of an event here takes it out of the run of events after the
 * checkpoint.  There are three kinds: due at a time, parked, and neither:
 * skipped, which is kept until the checkpoint has passed it.
 *
 * A row that is blocking holds its stream: later events of it wait, and the
 * checkpoint goes on over them.  When the event is done, the row moves on to
 * the next one of the stream that the checkpoint has passed; when there is
 * none, the stream is free.
 *
 * Rows are written by acks and nacks, by fetches that park, and by admins; all
 * of them hold the subscription's "use" (guard.c), and all but admins own the
 * event's partition.  So no two of them write the same row, but for replays:
 * see es_retry_find_replay.  They are read and written with the mutex, or by who
 * changes the whole subscription.
 *
 * Memory: the current context.  Locks: those of retry_row.c; AccessShare on
 * events.  Calls: catalog, guard, names, retry_row, scan, share,
 * subscription.
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

#include "base/names.h"
#include "base/scan.h"
#include "signal/guard.h"
#include "subscription/retry_row.h"

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

static int
retry_compare(const void *a, const void *b)
{
	int64 left = ((const EsRetry *) a)->position;
	int64 right = ((const EsRetry *) b)->position;

	return left < right ? -1 : left > right;
}

/*
 * The rows of a subscription: all that are due or blocking, and those of any
 * kind after a position.
 */
EsRetries
es_retry_load(const EsSubscription *subscription, int64 after)
{
	EsRetries retries = es_retry_row_load(subscription, after, after);

	if (retries.count > 1)
		qsort(retries.items, retries.count, sizeof(EsRetry), retry_compare);
	return retries;
}

/* The row of a position among those loaded; NULL if there is none. */
const EsRetry *
es_retry_find(const EsRetries *retries, int64 position)
{
	EsRetry key = {.position = position};

	if (retries->count == 0)
		return NULL;
	return bsearch(&key, retries->items, retries->count, sizeof(EsRetry), retry_compare);
}

/* The row that holds a stream before a position; NULL if none does. */
const EsRetry *
es_retry_find_blocking(const EsRetries *retries, const text *stream, uint64 hash, int64 before)
{
	int i;

	for (i = 0; i < retries->count && retries->items[i].position < before; i++)
	{
		const EsRetry *retry = &retries->items[i];

		if (retry->is_blocking && retry->hash == hash && es_names_equal(retry->stream, stream))
			return retry;
	}
	return NULL;
}

/*
 * An open transaction of somebody else that has changed rows of the partitions
 * of some shares: a replay, as nobody else may.  Whoever is about to change
 * such rows looks for it first, with the mutex, and waits for it without.
 *
 * Only where parked rows hold their streams does a consumer change them.
 */
TransactionId
es_retry_find_replay(const EsSubscription *subscription, const EsShares *shares)
{
	if (!subscription->parks_block || !es_guard_is_held(ES_GUARD_REPLAYS, subscription->key))
		return InvalidTransactionId;
	return es_retry_row_find_replay(subscription, shares);
}

/* ----------------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------------
 */

/*
 * Only one row holds a stream, the earliest.  One that did so before waits
 * behind it, and holds again when its turn comes; see retry_hold_next.
 */
static void
retry_hold_before(EsRetryWriter *writer, const EsRetry *retry)
{
	EsRetries retries = es_retry_load(writer->subscription, PG_INT64_MAX);
	const EsRetry *before = es_retry_find_blocking(&retries, retry->stream, retry->hash,
												   PG_INT64_MAX);
	EsRetryRow row;

	if (before == NULL || !es_retry_row_find(writer, before->position, &row))
		return;
	row.retry.is_blocking = false;
	es_retry_row_replace(writer, &row);
}

/*
 * Insert a row for an event that was in the run.
 *
 * retry: is_parked, and due if it is not; neither: skipped.
 */
void
es_retry_insert(const EsSubscription *subscription, EsRetry *retry, const text *reason)
{
	EsRetryRow row = {.retry = *retry,
					  .parked_at = GetCurrentTimestamp(),
					  .reason = unconstify(text *, reason)};
	EsRetryWriter writer;

	row.retry.number = es_share_next_number();
	es_retry_row_open(&writer, subscription);
	if (retry->is_blocking)
		retry_hold_before(&writer, retry);
	es_retry_row_add(&writer, &row);
	es_retry_row_close(&writer);
}

/* It is to be delivered again, at a time. */
void
es_retry_again(const EsSubscription *subscription, const EsRetry *retry, int attempts,
			   TimestampTz due, const text *reason)
{
	EsRetryWriter writer;
	EsRetryRow row;

	es_retry_row_open(&writer, subscription);
	if (es_retry_row_find(&writer, retry->position, &row))
	{
		row.retry.number = es_share_next_number();
		row.retry.attempts = attempts;
		row.retry.due = due;
		row.reason = unconstify(text *, reason);
		es_retry_row_replace(&writer, &row);
	}
	es_retry_row_close(&writer);
}

/* Forget a row, and leave its stream alone. */
void
es_retry_forget(const EsSubscription *subscription, const EsRetry *retry)
{
	EsRetryWriter writer;
	EsRetryRow row;

	es_retry_row_open(&writer, subscription);
	if (es_retry_row_find(&writer, retry->position, &row))
		es_retry_row_remove(&writer, &row);
	es_retry_row_close(&writer);
}

/*
 * Whether an event, which is not looked at otherwise, may be the one to hold its
 * stream.  row: receives its row, if it has one.
 */
static bool
retry_may_hold(EsRetryWriter *writer, int64 position, int64 limit, EsRetryRow *row, bool *has_row)
{
	*has_row = es_retry_row_find(writer, position, row);
	if (!*has_row)
		return position <= limit;
	if (row->retry.is_parked)
		return writer->subscription->parks_block;
	return row->retry.due != DT_NOEND && !row->is_replayed;
}

/* No event of a stream behind this position may hold it. */
static int64
retry_hold_end(const EsSubscription *subscription, const EsRetry *retry, int64 limit)
{
	EsRetries retries;
	int i;

	/* Parked ones may, which are not known. */
	if (subscription->parks_block)
		return PG_INT64_MAX;
	retries = es_retry_load(subscription, PG_INT64_MAX);
	for (i = 0; i < retries.count; i++)
		if (retries.items[i].hash == retry->hash)
			limit = Max(limit, retries.items[i].position);
	return limit;
}

/*
 * Find the next event of a stream, after one that was held, that is to hold it.
 *
 * row: receives its row, or what it begins with; has_row: which of both.
 *
 * Returns false if there is none.
 */
static bool
retry_find_next(EsRetryWriter *writer, const EsRetry *retry, int64 limit, EsRetryRow *row,
				bool *has_row)
{
	const EsSubscription *subscription = writer->subscription;
	int64 end = retry_hold_end(subscription, retry, limit);
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool is_found = false;
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(retry->stream));
	es_scan_add_key(&scan, 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(retry->version));
	es_scan_begin(&scan, snapshot);
	while (!is_found && es_scan_next(&scan, ForwardScanDirection))
	{
		bool is_null;
		int64 position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));

		CHECK_FOR_INTERRUPTS();
		if (position > end)
			break;
		if (!es_subscription_wants(subscription,
								   DatumGetTextPP(
									   slot_getattr(scan.slot, Anum_events_type, &is_null))))
			continue;
		is_found = retry_may_hold(writer, position, limit, row, has_row);
		if (!is_found || *has_row)
			continue;
		*row = (EsRetryRow){.retry = {.position = position, .stream = retry->stream}};
		row->retry.version = DatumGetInt64(slot_getattr(scan.slot, Anum_events_version, &is_null));
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
	return is_found;
}

/*
 * Hold the stream by its next event after one that was held.  If that was
 * delivered already, it counts as an attempt; but as it has not failed itself,
 * it has one more at the least.  One that has a row of its own, as it failed
 * before this one did, holds by that.
 *
 * limit: up to which events are not in the run any more.
 *
 * Returns false if there is none.
 */
static bool
retry_hold_next(const EsSubscription *subscription, const EsRetry *retry, int64 limit)
{
	int attempts = Min(retry->delivered_attempts, subscription->max_retries);
	EsRetryWriter writer;
	EsRetryRow next;
	bool has_row = false;
	bool is_found;

	es_retry_row_open(&writer, subscription);
	is_found = retry_find_next(&writer, retry, limit, &next, &has_row);
	next.retry.is_blocking = true;
	if (is_found && has_row)
		es_retry_row_replace(&writer, &next);
	else if (is_found)
	{
		next.retry.number = es_share_next_number();
		next.retry.attempts = next.retry.position <= retry->delivered_to ? attempts : 0;
		next.retry.due = GetCurrentTimestamp();
		next.retry.delivered_to = retry->delivered_to;
		next.retry.delivered_attempts = attempts;
		es_retry_row_add(&writer, &next);
	}
	es_retry_row_close(&writer);
	return is_found;
}

/* The stream is free: what was skipped while it was held is past. */
static void
retry_forget_skipped(const EsSubscription *subscription, const EsRetry *retry, int64 limit)
{
	EsRetries retries = es_retry_row_load(subscription, 0, PG_INT64_MAX);
	int i;

	for (i = 0; i < retries.count; i++)
	{
		const EsRetry *skipped = &retries.items[i];

		if (skipped->position <= limit && !skipped->is_parked && skipped->due == DT_NOEND &&
			skipped->hash == retry->hash && es_names_equal(skipped->stream, retry->stream))
			es_retry_forget(subscription, skipped);
	}
}

/* Let the stream of a row that blocked go on. */
static void
retry_move_on(const EsSubscription *subscription, const EsRetry *retry, EsRetryReach reach)
{
	if (retry->is_blocking && !retry_hold_next(subscription, retry, reach.passed))
		retry_forget_skipped(subscription, retry, reach.checkpoint);
}

/*
 * Forget an event that is not of the subscription any more.
 *
 * has_next: whether later events of its stream may be.
 */
void
es_retry_withdraw(const EsSubscription *subscription, const EsRetry *retry, EsRetryReach reach,
				  bool has_next)
{
	es_retry_forget(subscription, retry);
	if (has_next)
		retry_move_on(subscription, retry, reach);
	else
		retry_forget_skipped(subscription, retry, reach.checkpoint);
}

/*
 * Park an event that has a row.
 */
void
es_retry_park(const EsSubscription *subscription, const EsRetry *retry, int attempts,
			  const text *reason, EsRetryReach reach)
{
	bool keeps_blocking = retry->is_blocking && subscription->parks_block;
	EsRetryWriter writer;
	EsRetryRow row;

	es_retry_row_open(&writer, subscription);
	if (es_retry_row_find(&writer, retry->position, &row))
	{
		row.retry.number = es_share_next_number();
		row.retry.attempts = attempts;
		row.retry.due = DT_NOEND;
		row.retry.is_parked = true;
		row.retry.is_blocking = keeps_blocking;
		row.parked_at = GetCurrentTimestamp();
		if (reason != NULL)
			row.reason = unconstify(text *, reason);
		else if (row.reason == NULL)
			row.reason = cstring_to_text("not acknowledged");
		es_retry_row_replace(&writer, &row);
	}
	es_retry_row_close(&writer);
	if (!keeps_blocking)
		retry_move_on(subscription, retry, reach);
}

/* It is skipped; the row keeps it out of the run. */
static void
retry_skip(const EsSubscription *subscription, const EsRetry *retry)
{
	EsRetryWriter writer;
	EsRetryRow row;

	es_retry_row_open(&writer, subscription);
	if (es_retry_row_find(&writer, retry->position, &row))
	{
		row.retry.due = DT_NOEND;
		row.retry.is_parked = row.retry.is_blocking = false;
		es_retry_row_replace(&writer, &row);
	}
	es_retry_row_close(&writer);
}

/* The event of a row is done. */
void
es_retry_resolve(const EsSubscription *subscription, const EsRetry *retry, EsRetryReach reach)
{
	if (retry->position > reach.checkpoint)
		retry_skip(subscription, retry);
	else
		es_retry_forget(subscription, retry);
	retry_move_on(subscription, retry, reach);
}

/* ----------------------------------------------------------------------
 * Replay
 * ----------------------------------------------------------------------
 */

/*
 * Have parked events between two positions delivered again, at most so many, the
 * lowest positions first; but not those that an open transaction has changed.
 * Returns how many.
 */
int64
es_retry_replay(const EsSubscription *subscription, int64 max_count, int64 first, int64 last)
{
	EsRetryWriter writer;
	EsRetryRow row;
	int64 count = 0;
	List *positions;
	ListCell *cell;

	es_retry_row_open(&writer, subscription);
	positions = es_retry_row_list_parked(&writer, max_count, first, last);
	foreach (cell, positions)
	{
		CHECK_FOR_INTERRUPTS();
		if (!es_retry_row_find(&writer, *(int64 *) lfirst(cell), &row))
			continue;
		row.retry.number = es_share_next_number();
		row.retry.attempts = 0;
		row.retry.due = GetCurrentTimestamp();
		row.retry.is_parked = false;
		row.is_replayed = true;
		es_retry_row_replace(&writer, &row);
		count++;
	}
	es_retry_row_close(&writer);
	return count;
}
