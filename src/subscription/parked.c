/*-------------------------------------------------------------------------
 *
 * parked.c
 *		The verbs about parked events: es_replay_parked, es_drop_parked.
 *
 * A replay writes rows that others leave alone, and moves no checkpoint.
 * Dropping an event may let its stream go on, which consumers must not see
 * halfway: it changes the subscription as a whole (guard.c).
 *
 * Memory: the function call's context.  Locks: see guard.c; row locks of the
 * statements; AccessShare on events.  Calls: arguments, division, guard, owner, removed,
 * retry, scan, share, sql, subscription, takeback, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/removed.h"
#include "base/scan.h"
#include "base/sql.h"
#include "order/transaction.h"
#include "signal/guard.h"
#include "subscription/division.h"
#include "subscription/owner.h"
#include "subscription/retry.h"
#include "subscription/takeback.h"

PG_FUNCTION_INFO_V1(es_replay_parked);
PG_FUNCTION_INFO_V1(es_replay_parked_event);
PG_FUNCTION_INFO_V1(es_replay_parked_text);
PG_FUNCTION_INFO_V1(es_drop_parked);

/* The position that an event had which is gone; 0: there was none of this id. */
static int64
parked_find_removed(Datum id, Snapshot snapshot)
{
	EsRemovedLook look;
	EsRemoved removed;
	bool is_found;

	es_removed_open(&look);
	is_found = es_removed_find(&look, DatumGetUUIDP(id), snapshot, &removed);
	es_removed_close(&look);
	return is_found ? removed.position : 0;
}

/* The position of an event, or of one that is gone; 0: there is none of this id. */
static int64
parked_find_position(Datum id)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsScan scan;
	int64 position = 0;
	bool is_null;

	es_scan_open(&scan, events, ES_EVENTS_ID);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_UUID_EQ, id);
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));
	else
		position = parked_find_removed(id, snapshot);
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
	return position;
}

/* ----------------------------------------------------------------------
 * Replay
 * ----------------------------------------------------------------------
 */

/*
 * Have parked events delivered again: at most so many, at these positions.
 * Returns how many.
 */
static int64
parked_replay(text *name, int64 max_count, int64 first, int64 last)
{
	EsSubscription subscription;
	int64 count;

	PreventCommandIfReadOnly("es_replay_parked()");
	PreventCommandIfParallelMode("es_replay_parked()");
	es_guard_take(ES_GUARD_USE, es_guard_key(name));
	es_subscription_find(name, &subscription);
	/* Not between somebody's look for a replay and what that leads to. */
	es_guard_take(ES_GUARD_MUTEX, subscription.key);
	es_guard_take(ES_GUARD_REPLAYS, subscription.key);
	count = es_retry_replay(&subscription, max_count, first, last);
	es_guard_release(ES_GUARD_MUTEX, subscription.key);
	es_transaction_wake_consumers(subscription.key);
	return count;
}

static int64
parked_replay_event(text *name, Datum id)
{
	int64 position = parked_find_position(id);

	return parked_replay(name, 1, position, position);
}

static int64
parked_replay_all(text *name, int64 max_count)
{
	if (max_count < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_count must not be negative")));
	return parked_replay(name, max_count, 0, PG_INT64_MAX);
}

/*
 * es_replay_parked(subscription text, max_count bigint = NULL) -> int
 */
Datum
es_replay_parked(PG_FUNCTION_ARGS)
{
	text *name = es_arguments_get_subscription(fcinfo, 0, "subscription");

	PG_RETURN_INT32((int32) parked_replay_all(name, es_arguments_get_max_count(fcinfo, 1)));
}

/*
 * es_replay_parked(subscription text, id uuid) -> int
 */
Datum
es_replay_parked_event(PG_FUNCTION_ARGS)
{
	text *name = es_arguments_get_subscription(fcinfo, 0, "subscription");

	es_arguments_check_not_null(fcinfo, 1, "id");
	PG_RETURN_INT32((int32) parked_replay_event(name, PG_GETARG_DATUM(1)));
}

/*
 * es_replay_parked(subscription text, max_count_or_id text) -> int
 *
 * For literals without a type, which the parser takes for text where there are
 * several functions: NULL, a number, an id.
 */
Datum
es_replay_parked_text(PG_FUNCTION_ARGS)
{
	text *name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	char *argument;

	if (PG_ARGISNULL(1))
		PG_RETURN_INT32((int32) parked_replay_all(name, PG_INT64_MAX));
	argument = text_to_cstring(PG_GETARG_TEXT_PP(1));
	/* No id is so short. */
	if (strlen(argument) < UUID_LEN * 2)
		PG_RETURN_INT32((int32) parked_replay_all(name, pg_strtoint32(argument)));
	PG_RETURN_INT32(
		(int32) parked_replay_event(name, DirectFunctionCall1(uuid_in, CStringGetDatum(argument))));
}

/* ----------------------------------------------------------------------
 * Drop
 * ----------------------------------------------------------------------
 */

/* Let a stream that waited for a parked event go on, and fetches see that. */
static void
parked_revise(const EsSubscription *subscription)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscriptions SET revision = pg_catalog.nextval('eventstore.subscription_tokens') "
			   "WHERE name = $1",
			   TEXTOID);
	Datum values[] = {PointerGetDatum(subscription->name)};

	(void) es_sql_run(&statement, values, NULL);
}

/* How far the partition of a retry is, whatever becomes of open fetches. */
static EsRetryReach
parked_reach(const EsSubscription *subscription, const EsRetry *retry)
{
	EsShares shares;
	const EsShare *owner;
	EsRetryReach reach = {0};

	es_guard_take(ES_GUARD_MUTEX, subscription->key);
	shares = es_share_load(subscription);
	es_guard_release(ES_GUARD_MUTEX, subscription->key);
	owner = es_owner_find(subscription, &shares)[retry->partition];
	reach.checkpoint = es_takeback_checkpoint(&shares, retry->partition);
	reach.passed = owner == NULL ? reach.checkpoint : es_share_passed(owner);
	return reach;
}

/*
 * es_drop_parked(subscription text, id uuid) -> void
 */
Datum
es_drop_parked(PG_FUNCTION_ARGS)
{
	text *name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	EsSubscription subscription;
	EsRetry retry;
	int64 position;

	es_arguments_check_not_null(fcinfo, 1, "id");
	PreventCommandIfReadOnly("es_drop_parked()");
	PreventCommandIfParallelMode("es_drop_parked()");
	es_division_change(name, &subscription);
	position = parked_find_position(PG_GETARG_DATUM(1));
	if (position == 0 || !es_retry_read(&subscription, position, &retry) || !retry.is_parked)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("event %s is not parked in subscription \"%s\"",
						DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(1))),
						text_to_cstring(name)),
				 errhint("The view eventstore.parked shows the events that are.")));
	if (retry.is_blocking)
		parked_revise(&subscription);
	es_retry_drop(&subscription, &retry, parked_reach(&subscription, &retry));
	es_transaction_wake_consumers(subscription.key);
	PG_RETURN_VOID();
}
