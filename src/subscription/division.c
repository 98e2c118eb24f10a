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
			   "SELECT FROM eventstore.subscriptions d WHERE d.name = s.subscription AND d.division = s.division) "
			   "FOR UPDATE SKIP LOCKED))",
			   TEXTOID);
	Datum values[] = {PointerGetDatum(subscription->name)};

	(void) es_sql_run(&statement, values, NULL);
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
			   "next_partitions = NULL, drain_to = NULL WHERE name = $1",
			   TEXTOID, INT4OID, INT8OID);
	Datum values[] = {PointerGetDatum(subscription->name), Int32GetDatum(partitions),
					  Int64GetDatum(es_share_next_number())};
	EsShare pool = {.checkpoint = checkpoint, .lease_end = DT_NOBEGIN};
	int p;

	es_division_forget(subscription);
	(void) es_sql_run(&statement, values, NULL);

	subscription->partitions = partitions;
	subscription->division = DatumGetInt64(values[2]);
	subscription->next_partitions = 0;
	subscription->drain_to = PG_INT64_MAX;
	pool.partitions = palloc0(es_partition_set_bytes(partitions));
	for (p = 0; p < partitions; p++)
		es_partition_set_add(pool.partitions, p);
	es_share_insert(subscription, &pool);
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
 * Begin the next division, if one is due and the present one is drained.  Call
 * it with the mutex.  Returns whether it has: then nobody else gets anything
 * until this transaction ends.
 */
bool
es_division_go_on(EsSubscription *subscription)
{
	EsShares shares;
	int64 position;

	if (subscription->next_partitions == 0)
		return false;
	shares = es_share_load(subscription);
	if (!es_division_ends_at(subscription, &shares, &position) ||
		position < subscription->drain_to || !es_guard_try(ES_GUARD_CHANGE, subscription->key))
		return false;
	es_division_begin(subscription, subscription->next_partitions, position);
	return true;
}
