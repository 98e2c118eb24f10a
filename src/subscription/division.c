/*-------------------------------------------------------------------------
 *
 * division.c
 *		Divisions: into how many partitions a subscription's streams are divided,
 *		and how one division gives way to the next.
 *
 * Each division into partitions has a number.  Shares of another than the
 * present one do not count, whoever still has them open, and their tokens are
 * nobody's.  So a reset needs to wait for no fetch.
 *
 * A change of the number of partitions, while events are being worked on,
 * lets the present division end at a position (drain_to) beyond all that was
 * delivered; the next one begins there, when all before is done.  So no
 * stream is with two consumers, and nothing acknowledged is delivered again.
 * The shares of the next one are there from the begin; that its time has come
 * is seen by the present one's.  So a fetch goes on to it without writing
 * anything that others would have to wait for, should it stall.
 *
 * Memory: the current context.  Locks: the caller's; see guard.c.  Calls:
 * guard, owner, share, sql, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/partition.h"
#include "base/sql.h"
#include "order/transaction.h"
#include "signal/guard.h"
#include "subscription/division.h"
#include "subscription/owner.h"

/*
 * Forget the shares of a subscription, and those of any that open fetches have
 * left behind when it was dropped or divided anew.  Those that are open now
 * stay, and do not count.
 */
void
es_division_forget(const EsSubscription *subscription)
{
	static EsSql statement =
		ES_SQL("DELETE FROM eventstore.subscription_shares WHERE ctid = ANY (ARRAY("
			   "SELECT s.ctid FROM eventstore.subscription_shares s WHERE s.subscription = $1 OR NOT EXISTS ("
			   "SELECT FROM eventstore.subscriptions d WHERE d.name = s.subscription AND s.division IN (d.division, d.next_division)) "
			   "FOR UPDATE SKIP LOCKED))",
			   TEXTOID);
	Datum values[] = {PointerGetDatum(subscription->name)};

	(void) es_sql_run(&statement, values, NULL);
}

/* All partitions, free, at the same place. */
static void
division_insert_pool(const EsSubscription *subscription, int64 checkpoint)
{
	EsShare pool = {.checkpoint = checkpoint, .lease_end = DT_NOBEGIN};
	int p;

	pool.partitions = palloc0(es_partition_set_bytes(subscription->partitions));
	for (p = 0; p < subscription->partitions; p++)
		es_partition_set_add(pool.partitions, p);
	es_guard_take(ES_GUARD_MUTEX, subscription->key);
	es_share_insert(subscription, &pool);
	es_guard_release(ES_GUARD_MUTEX, subscription->key);
}

/*
 * Divide a subscription anew: all partitions free, at the same place.
 *
 * The caller holds ES_GUARD_CHANGE.
 */
void
es_division_begin(EsSubscription *subscription, int partitions, int64 checkpoint)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscriptions SET partitions = $2, division = $3, "
			   "next_partitions = NULL, next_division = NULL, drain_to = NULL WHERE name = $1",
			   TEXTOID, INT4OID, INT8OID);
	Datum values[] = {PointerGetDatum(subscription->name), Int32GetDatum(partitions),
					  Int64GetDatum(es_share_next_number())};

	es_division_forget(subscription);
	subscription->partitions = partitions;
	subscription->division = DatumGetInt64(values[2]);
	subscription->next_partitions = 0;
	subscription->drain_to = PG_INT64_MAX;
	(void) es_sql_run(&statement, values, NULL);
	division_insert_pool(subscription, checkpoint);
	es_transaction_wake_consumers(subscription->key);
}

/*
 * Where the present division may end at the earliest.
 *
 * position: receives the furthest position that was delivered or passed.
 *
 * Returns whether all partitions stand there, with nothing to be done.
 */
bool
es_division_ends_at(const EsSubscription *subscription, const EsShares *shares, int64 *position)
{
	const EsShare **owners = es_owner_find(subscription, shares);
	bool is_at_end = true;
	int p;

	*position = 0;
	for (p = 0; p < subscription->partitions; p++)
	{
		if (owners[p] == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("partition %d of subscription \"%s\" has no row", p,
							text_to_cstring(subscription->name)),
					 errhint("Use es_reset_subscription.")));
		*position = Max(*position, es_share_passed(owners[p]));
	}
	for (p = 0; p < subscription->partitions; p++)
		is_at_end &= owners[p]->checkpoint >= *position && !es_share_is_outstanding(owners[p]) &&
			!es_share_is_open(owners[p]);
	return is_at_end;
}

/*
 * Let the present division end at a position, and another number of partitions
 * come after it.  What was planned before, and has not begun, is dropped.
 *
 * The caller holds ES_GUARD_CHANGE.
 */
void
es_division_plan(EsSubscription *subscription, int partitions, int64 drain_to)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscriptions SET next_partitions = $2, next_division = $3, drain_to = $4 "
			   "WHERE name = $1",
			   TEXTOID, INT4OID, INT8OID, INT8OID);
	EsSubscription next = *subscription;
	Datum values[] = {PointerGetDatum(subscription->name), Int32GetDatum(partitions),
					  Int64GetDatum(es_share_next_number()), Int64GetDatum(drain_to)};

	if (subscription->next_partitions != 0)
	{
		es_guard_take(ES_GUARD_MUTEX, subscription->key);
		es_share_forget(subscription, subscription->next_division, subscription->next_division);
		es_guard_release(ES_GUARD_MUTEX, subscription->key);
	}
	subscription->next_partitions = partitions;
	subscription->next_division = DatumGetInt64(values[2]);
	subscription->drain_to = drain_to;
	(void) es_sql_run(&statement, values, NULL);

	next.partitions = partitions;
	next.division = subscription->next_division;
	division_insert_pool(&next, drain_to);
}

/* ----------------------------------------------------------------------
 * From one division to the next
 * ----------------------------------------------------------------------
 */

/*
 * Whether all is done up to where the present division ends.  What this
 * transaction has done itself is not, until it commits: meanwhile others see
 * the present division going on, and get retries in it.
 */
static bool
division_is_drained(const EsSubscription *subscription)
{
	EsShares shares = es_share_load(subscription);
	const EsShare **owners = es_owner_find(subscription, &shares);
	int p;

	for (p = 0; p < subscription->partitions; p++)
		if (owners[p] == NULL || owners[p]->row.is_own || es_share_is_open(owners[p]) ||
			es_share_is_outstanding(owners[p]) || owners[p]->checkpoint < subscription->drain_to)
			return false;
	return true;
}

/*
 * Go on to the next division if the present one is drained.  That follows from
 * what is stored, so whoever looks finds it by himself, and nobody has to
 * write anything for others to go on.
 */
static void
division_go_on(EsSubscription *subscription)
{
	if (subscription->next_partitions == 0 || !division_is_drained(subscription))
		return;
	subscription->partitions = subscription->next_partitions;
	subscription->division = subscription->next_division;
	subscription->next_partitions = 0;
	subscription->drain_to = PG_INT64_MAX;
	subscription->is_next_begun = true;
}

/* Store that it has. */
static void
division_store(EsSubscription *subscription)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscriptions SET partitions = $2, division = $3, "
			   "next_partitions = NULL, next_division = NULL, drain_to = NULL WHERE name = $1",
			   TEXTOID, INT4OID, INT8OID);
	Datum values[] = {PointerGetDatum(subscription->name), Int32GetDatum(subscription->partitions),
					  Int64GetDatum(subscription->division)};

	(void) es_sql_run(&statement, values, NULL);
	subscription->is_next_begun = false;
}

/*
 * Find a subscription, as es_subscription_find does, in its present division.
 * Call it with the mutex.
 */
void
es_division_find(text *name, EsSubscription *subscription)
{
	es_subscription_find(name, subscription);
	division_go_on(subscription);
}

/*
 * Find a subscription in its present division, to change it as a whole: see
 * es_subscription_change.
 */
void
es_division_change(text *name, EsSubscription *subscription)
{
	es_subscription_change(name, subscription);
	es_guard_take(ES_GUARD_MUTEX, subscription->key);
	division_go_on(subscription);
	es_guard_release(ES_GUARD_MUTEX, subscription->key);
	if (subscription->is_next_begun)
		division_store(subscription);
}

/*
 * Bring up to date what is stored of a division that has begun, and then forget
 * the one before.  That is for acks, which are near the end of their
 * transactions, and waited for by who changes the whole.  The two steps are
 * different transactions': before the first is committed, others find the
 * present division by the shares of the one before.
 *
 * Call it with the mutex.  It waits for nothing.
 */
void
es_division_tidy(EsSubscription *subscription, bool has_older)
{
	EsSubscription now;

	division_go_on(subscription);
	if (!subscription->is_next_begun && !has_older)
		return;
	if (es_guard_is_mine(ES_GUARD_TIDIES, subscription->key) ||
		!es_guard_try(ES_GUARD_TIDIES, subscription->key))
		return;
	/* Somebody may have done it a moment ago. */
	es_subscription_find(subscription->name, &now);
	if (now.next_division == subscription->division)
		division_store(subscription);
	else if (now.division == subscription->division)
		es_share_forget(subscription, 0, subscription->division - 1);
}
