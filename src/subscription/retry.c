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

static int
retry_compare_active(const void *a, const void *b)
{
	const EsRetry *left = *(const EsRetry *const *) a;
	const EsRetry *right = *(const EsRetry *const *) b;

	if (left->hash != right->hash)
		return left->hash < right->hash ? -1 : 1;
	return retry_compare(left, right);
}

/* So that those of a stream are found at once, however many streams are held. */
static void
retry_sort_active(EsRetries *retries)
{
	int i;

	retries->active = palloc_extended(sizeof(EsRetry *) * (retries->count + 1), MCXT_ALLOC_HUGE);
	for (i = 0; i < retries->count; i++)
		if (retries->items[i].is_active)
			retries->active[retries->active_count++] = &retries->items[i];
	if (retries->active_count > 1)
		qsort(retries->active, retries->active_count, sizeof(EsRetry *), retry_compare_active);
}

/*
 * The rows of a subscription: all but those that are parked and hold no stream,
 * and of these those after a position.
 */
EsRetries
es_retry_load(const EsSubscription *subscription, int64 after)
{
	EsRetries retries = es_retry_row_load(subscription, after);

	if (retries.count > 1)
		qsort(retries.items, retries.count, sizeof(EsRetry), retry_compare);
	retry_sort_active(&retries);
	return retries;
}

/* The row of a position alone, as it is at the moment.  Returns whether there is one. */
bool
es_retry_read(const EsSubscription *subscription, int64 position, EsRetry *retry)
{
	EsRetryWriter writer;
	EsRetryRow row;
	bool is_found;

	es_retry_row_open(&writer, subscription);
	is_found = es_retry_row_find(&writer, position, &row);
	es_retry_row_close(&writer);
	if (is_found)
		*retry = row.retry;
	return is_found;
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

/* The first of the active ones whose streams have this hash, or a higher one. */
int
es_retry_seek(const EsRetries *retries, uint64 hash)
{
	int low = 0;
	int high = retries->active_count;

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (retries->active[middle]->hash < hash)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The row that holds a stream before a position; NULL if none does. */
const EsRetry *
es_retry_find_blocking(const EsRetries *retries, const text *stream, uint64 hash, int64 before)
{
	int i;

	for (i = es_retry_seek(retries, hash);
		 i < retries->active_count && retries->active[i]->hash == hash; i++)
	{
		const EsRetry *retry = retries->active[i];

		if (retry->is_blocking && retry->position < before && es_names_equal(retry->stream, stream))
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
					  .reason = unconstify(text *, reason),
					  .place = -1};
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
 *
 * What is parked, or was, is passed by later events or not, as the policy says;
 * it may have been parked before the one that held the stream until now.
 */
static bool
retry_may_hold(EsRetryWriter *writer, int64 position, int64 limit, EsRetryRow *row, bool *has_row)
{
	*has_row = es_retry_row_find(writer, position, row);
	if (!*has_row)
		return position <= limit;
	if (row->retry.is_parked)
		return writer->subscription->parks_block;
	return row->retry.due != DT_NOEND && (!row->is_replayed || writer->subscription->parks_block);
}

/*
 * No event of a stream behind this position may hold it: what is still in the run
 * does so only by a row.
 */
static int64
retry_hold_end(const EsSubscription *subscription, const EsRetry *retry, EsRetryReach reach)
{
	const EsRetries *rows = reach.rows;
	int64 end = reach.passed;
	EsRetries read;
	int i;

	if (rows == NULL)
	{
		read = es_retry_load(subscription, reach.passed);
		rows = &read;
	}
	for (i = rows->count - 1; i >= 0 && rows->items[i].position > end; i--)
		if (rows->items[i].hash == retry->hash)
			end = rows->items[i].position;
	return end;
}

/*
 * Find the next event of a stream, after one that was held, that is to hold it.
 * Of those that are still in the run only as many are looked at as may.
 *
 * row: receives its row, or what it begins with; has_row: which of both.
 *
 * Returns false if there is none.
 */
static bool
retry_find_next(EsRetryWriter *writer, const EsRetry *retry, EsRetryReach reach, EsRetryRow *row,
				bool *has_row)
{
	const EsSubscription *subscription = writer->subscription;
	int64 end = -1; /* not known yet */
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool is_found = false;
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(retry->stream));
	es_scan_add_key(&scan, 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(retry->version));
	es_scan_within(&scan, retry->position + 1, PG_INT64_MAX);
	es_scan_begin(&scan, snapshot);
	while (!is_found && es_scan_next(&scan, ForwardScanDirection))
	{
		bool is_null;
		int64 position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));

		CHECK_FOR_INTERRUPTS();
		if (position > reach.passed && end < 0)
			end = retry_hold_end(subscription, retry, reach);
		if (position > Max(end, reach.passed))
			break;
		if (!es_subscription_wants(subscription,
								   DatumGetTextPP(
									   slot_getattr(scan.slot, Anum_events_type, &is_null))))
			continue;
		is_found = retry_may_hold(writer, position, reach.passed, row, has_row);
		if (!is_found || *has_row)
			continue;
		*row = (EsRetryRow){.retry = {.position = position, .stream = retry->stream}, .place = -1};
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
 * left: the row of the one before; its place, if it has left it, is the next
 * one's, so that none has to be looked for among all that hold a stream.
 */
static void
retry_hold_next(EsRetryWriter *writer, const EsRetry *retry, EsRetryReach reach,
				const EsRetryRow *left)
{
	int attempts = Min(retry->delivered_attempts, writer->subscription->max_retries);
	EsRetryRow next;
	bool has_row = false;

	if (!retry_find_next(writer, retry, reach, &next, &has_row))
		return;
	next.retry.is_blocking = true;
	if (next.place < 0)
	{
		next.place = left->place;
		next.base = left->base;
	}
	if (has_row)
		es_retry_row_replace(writer, &next);
	else
	{
		next.retry.number = es_share_next_number();
		next.retry.attempts = next.retry.position <= retry->delivered_to ? attempts : 0;
		next.retry.due = GetCurrentTimestamp();
		next.retry.delivered_to = retry->delivered_to;
		next.retry.delivered_attempts = attempts;
		es_retry_row_add(writer, &next);
	}
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
	EsRetryWriter writer;
	EsRetryRow row;

	es_retry_row_open(&writer, subscription);
	if (es_retry_row_find(&writer, retry->position, &row))
	{
		es_retry_row_remove(&writer, &row);
		if (has_next && retry->is_blocking)
			retry_hold_next(&writer, retry, reach, &row);
	}
	es_retry_row_close(&writer);
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
		if (retry->is_blocking && !keeps_blocking)
			retry_hold_next(&writer, retry, reach, &row);
	}
	es_retry_row_close(&writer);
}

/* It is skipped; the row, and its place, keep it out of the run. */
static void
retry_skip(EsRetryWriter *writer, EsRetryRow *row)
{
	row->retry.due = DT_NOEND;
	row->retry.is_parked = row->retry.is_blocking = false;
	es_retry_row_replace(writer, row);
	row->place = -1;
}

/*
 * The event of a row is done.  What was skipped behind it, while it held the
 * stream, is forgotten by the next ack.
 */
void
es_retry_resolve(const EsSubscription *subscription, const EsRetry *retry, EsRetryReach reach)
{
	EsRetryWriter writer;
	EsRetryRow row;

	es_retry_row_open(&writer, subscription);
	if (es_retry_row_find(&writer, retry->position, &row))
	{
		if (retry->position > reach.checkpoint)
			retry_skip(&writer, &row);
		else
			es_retry_row_remove(&writer, &row);
		if (retry->is_blocking)
			retry_hold_next(&writer, retry, reach, &row);
	}
	es_retry_row_close(&writer);
}

/*
 * A parked event is done, as it is not wanted any more.  If an earlier one holds
 * its stream, the row stays as that of one that was skipped: without, the event
 * would be next when that one is done.
 */
void
es_retry_drop(const EsSubscription *subscription, const EsRetry *retry, EsRetryReach reach)
{
	if (!retry->is_blocking)
	{
		EsRetries retries = es_retry_load(subscription, PG_INT64_MAX);

		if (es_retry_find_blocking(&retries, retry->stream, retry->hash, retry->position) != NULL)
			reach.checkpoint = Min(reach.checkpoint, retry->position - 1);
	}
	es_retry_resolve(subscription, retry, reach);
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
