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
 * see es_retry_find_replay.
 *
 * Memory: the current context.  Locks: AccessShare or RowExclusive on the
 * table.  Calls: catalog, names, partition, scan, share, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/names.h"
#include "base/partition.h"
#include "base/scan.h"
#include "base/sql.h"
#include "subscription/retry.h"

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

static void
retry_read_row(EsRetry *retry, TupleTableSlot *slot, int partitions)
{
	Datum *values = slot->tts_values - 1;
	bool *nulls = slot->tts_isnull - 1;

	slot_getallattrs(slot);
	retry->position = DatumGetInt64(values[Anum_retries_position]);
	retry->stream = DatumGetTextPCopy(values[Anum_retries_stream]);
	retry->version = DatumGetInt64(values[Anum_retries_version]);
	retry->number = DatumGetInt64(values[Anum_retries_retry]);
	retry->attempts = DatumGetInt32(values[Anum_retries_attempts]);
	retry->due = nulls[Anum_retries_due] ? DT_NOEND : DatumGetTimestampTz(values[Anum_retries_due]);
	retry->is_parked = !nulls[Anum_retries_parked_at];
	retry->is_blocking = DatumGetBool(values[Anum_retries_is_blocking]);
	retry->is_active = !nulls[Anum_retries_due] || retry->is_blocking;
	retry->delivered_to = DatumGetInt64(values[Anum_retries_delivered_to]);
	retry->delivered_attempts = DatumGetInt32(values[Anum_retries_delivered_attempts]);
	retry->hash = es_partition_hash(retry->stream);
	retry->partition = (int) (retry->hash % (uint64) partitions);
}

/* Add the rows of an index after a position; active ones, or all others. */
static void
retry_add(EsRetries *retries, int *space, const EsSubscription *subscription, Relation rel,
		  Snapshot snapshot, EsRelation index, int64 after)
{
	bool wants_active = index == ES_RETRIES_ACTIVE;
	EsScan scan;

	es_scan_open(&scan, rel, index);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(subscription->name));
	es_scan_add_key(&scan, 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		EsRetry retry;

		CHECK_FOR_INTERRUPTS();
		retry_read_row(&retry, scan.slot, subscription->partitions);
		if (retry.is_active != wants_active)
			continue;
		if (retries->count == *space)
		{
			*space = Max(16, *space * 2);
			retries->items = retries->items == NULL
				? palloc(sizeof(EsRetry) * *space)
				: repalloc_huge(retries->items, sizeof(EsRetry) * *space);
		}
		retries->items[retries->count++] = retry;
	}
	es_scan_close(&scan);
}

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
	Relation rel = es_catalog_open(ES_RETRIES, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsRetries retries = {0, NULL};
	int space = 0;

	retry_add(&retries, &space, subscription, rel, snapshot, ES_RETRIES_ACTIVE, 0);
	retry_add(&retries, &space, subscription, rel, snapshot, ES_RETRIES_PKEY, after);
	if (retries.count > 1)
		qsort(retries.items, retries.count, sizeof(EsRetry), retry_compare);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
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
	TransactionId found = InvalidTransactionId;
	Relation rel;
	SnapshotData dirty;
	EsScan scan;

	if (!subscription->parks_block)
		return found;
	rel = es_catalog_open(ES_RETRIES, AccessShareLock);
	InitDirtySnapshot(dirty);
	es_scan_open(&scan, rel, ES_RETRIES_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(subscription->name));
	es_scan_begin(&scan, &dirty);
	while (!TransactionIdIsValid(found) && es_scan_next(&scan, ForwardScanDirection))
	{
		TransactionId writer = TransactionIdIsValid(dirty.xmin) ? dirty.xmin : dirty.xmax;
		EsRetry retry;

		CHECK_FOR_INTERRUPTS();
		if (!TransactionIdIsValid(writer))
			continue;
		retry_read_row(&retry, scan.slot, subscription->partitions);
		if (es_share_of_partition(shares, retry.partition) != NULL)
			found = writer;
	}
	es_scan_close(&scan);
	relation_close(rel, NoLock);
	return found;
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
retry_hold_before(const EsSubscription *subscription, const EsRetry *retry)
{
	static EsSql statement = ES_SQL("UPDATE eventstore.subscription_retries SET is_blocking = false "
									"WHERE subscription = $1 AND stream = $2 AND is_blocking",
									TEXTOID, TEXTOID);
	Datum values[] = {PointerGetDatum(subscription->name), PointerGetDatum(retry->stream)};

	(void) es_sql_run(&statement, values, NULL);
}

/*
 * Insert a row for an event that was in the run.
 *
 * retry: is_parked, and due if it is not; neither: skipped.
 */
void
es_retry_insert(const EsSubscription *subscription, EsRetry *retry, const text *reason)
{
	static EsSql statement =
		ES_SQL("INSERT INTO eventstore.subscription_retries (subscription, position, stream, version, retry, "
			   "attempts, due, parked_at, is_blocking, delivered_to, delivered_attempts, reason) "
			   "VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN pg_catalog.clock_timestamp() END, $9, "
			   "$10, $11, $12)",
			   TEXTOID, INT8OID, TEXTOID, INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, BOOLOID,
			   BOOLOID, INT8OID, INT4OID, TEXTOID);
	Datum values[] = {PointerGetDatum(subscription->name),      Int64GetDatum(retry->position),
					  PointerGetDatum(retry->stream),           Int64GetDatum(retry->version),
					  Int64GetDatum(es_share_next_number()),    Int32GetDatum(retry->attempts),
					  TimestampTzGetDatum(retry->due),          BoolGetDatum(retry->is_parked),
					  BoolGetDatum(retry->is_blocking),         Int64GetDatum(retry->delivered_to),
					  Int32GetDatum(retry->delivered_attempts), PointerGetDatum(reason)};
	char nulls[] = "            ";

	if (retry->is_blocking)
		retry_hold_before(subscription, retry);
	if (retry->due == DT_NOEND)
		nulls[6] = 'n';
	if (reason == NULL)
		nulls[11] = 'n';
	(void) es_sql_run(&statement, values, nulls);
}

/* It is to be delivered again, at a time. */
void
es_retry_again(const EsSubscription *subscription, const EsRetry *retry, int attempts,
			   TimestampTz due, const text *reason)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscription_retries SET retry = $3, attempts = $4, "
			   "due = $5, reason = $6 WHERE subscription = $1 AND position = $2",
			   TEXTOID, INT8OID, INT8OID, INT4OID, TIMESTAMPTZOID, TEXTOID);
	Datum values[] = {PointerGetDatum(subscription->name),
					  Int64GetDatum(retry->position),
					  Int64GetDatum(es_share_next_number()),
					  Int32GetDatum(attempts),
					  TimestampTzGetDatum(due),
					  PointerGetDatum(reason)};

	(void) es_sql_run(&statement, values, reason == NULL ? "     n" : NULL);
}

/* Forget a row, and leave its stream alone. */
void
es_retry_forget(const EsSubscription *subscription, const EsRetry *retry)
{
	static EsSql statement = ES_SQL("DELETE FROM eventstore.subscription_retries "
									"WHERE subscription = $1 AND position = $2",
									TEXTOID, INT8OID);
	Datum values[] = {PointerGetDatum(subscription->name), Int64GetDatum(retry->position)};

	(void) es_sql_run(&statement, values, NULL);
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
	static EsSql statement =
		ES_SQL("WITH next AS ("
			   "SELECT e.position, e.stream, e.version, r.position IS NOT NULL AS has_row "
			   "FROM eventstore.events e LEFT JOIN eventstore.subscription_retries r "
			   "ON r.subscription = $1 AND r.position = e.position "
			   "WHERE e.stream = $2 AND e.version > $3 AND ($6 IS NULL OR e.type = ANY ($6)) "
			   "AND CASE WHEN r.position IS NULL THEN e.position <= $4 "
			   "WHEN r.parked_at IS NOT NULL THEN $9 ELSE r.due IS NOT NULL AND NOT r.is_replayed END "
			   "ORDER BY e.version LIMIT 1), "
			   "held AS (UPDATE eventstore.subscription_retries r SET is_blocking = true FROM next "
			   "WHERE next.has_row AND r.subscription = $1 AND r.position = next.position), "
			   "added AS (INSERT INTO eventstore.subscription_retries (subscription, position, stream, version, "
			   "retry, attempts, due, is_blocking, delivered_to, delivered_attempts) "
			   "SELECT $1, next.position, next.stream, next.version, $5, "
			   "CASE WHEN next.position <= $7 THEN $8 ELSE 0 END, pg_catalog.clock_timestamp(), true, $7, $8 "
			   "FROM next WHERE NOT next.has_row) "
			   "SELECT FROM next",
			   TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID, TEXTARRAYOID, INT8OID, INT4OID,
			   BOOLOID);
	Datum values[] = {PointerGetDatum(subscription->name),
					  PointerGetDatum(retry->stream),
					  Int64GetDatum(retry->version),
					  Int64GetDatum(limit),
					  Int64GetDatum(es_share_next_number()),
					  subscription->types,
					  Int64GetDatum(retry->delivered_to),
					  Int32GetDatum(Min(retry->delivered_attempts, subscription->max_retries)),
					  BoolGetDatum(subscription->parks_block)};

	return es_sql_run(&statement, values, subscription->types == (Datum) 0 ? "     n   " : NULL) >
		0;
}

/* The stream is free: what was skipped while it was held is past. */
static void
retry_forget_skipped(const EsSubscription *subscription, const EsRetry *retry, int64 limit)
{
	static EsSql statement =
		ES_SQL("DELETE FROM eventstore.subscription_retries WHERE subscription = $1 "
			   "AND stream = $2 AND position <= $3 AND due IS NULL AND parked_at IS NULL",
			   TEXTOID, TEXTOID, INT8OID);
	Datum values[] = {PointerGetDatum(subscription->name), PointerGetDatum(retry->stream),
					  Int64GetDatum(limit)};

	(void) es_sql_run(&statement, values, NULL);
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
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscription_retries SET retry = $3, attempts = $4, due = NULL, "
			   "parked_at = pg_catalog.clock_timestamp(), is_blocking = $5, reason = coalesce($6, reason, 'not acknowledged') "
			   "WHERE subscription = $1 AND position = $2",
			   TEXTOID, INT8OID, INT8OID, INT4OID, BOOLOID, TEXTOID);
	bool keeps_blocking = retry->is_blocking && subscription->parks_block;
	Datum values[] = {PointerGetDatum(subscription->name),   Int64GetDatum(retry->position),
					  Int64GetDatum(es_share_next_number()), Int32GetDatum(attempts),
					  BoolGetDatum(keeps_blocking),          PointerGetDatum(reason)};

	(void) es_sql_run(&statement, values, reason == NULL ? "     n" : NULL);
	if (!keeps_blocking)
		retry_move_on(subscription, retry, reach);
}

/* It is skipped; the row keeps it out of the run. */
static void
retry_skip(const EsSubscription *subscription, const EsRetry *retry)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscription_retries SET due = NULL, parked_at = NULL, "
			   "is_blocking = false WHERE subscription = $1 AND position = $2",
			   TEXTOID, INT8OID);
	Datum values[] = {PointerGetDatum(subscription->name), Int64GetDatum(retry->position)};

	(void) es_sql_run(&statement, values, NULL);
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
