/*-------------------------------------------------------------------------
 *
 * subscribe.c
 *		The verbs of subscriptions as a whole: es_create_subscription,
 *		es_drop_subscription, es_alter_subscription, es_reset_subscription,
 *		es_replay_parked, es_partition.
 *
 * What changes a whole subscription waits for its open acks, and keeps new
 * ones and fetches out until commit (guard.c).
 *
 * Memory: the function call's context.  Locks: see guard.c; row locks of the
 * statements.  Calls: arguments, division, guard, names, order, owner,
 * partition, retry, share, sql, subscription, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/partition.h"
#include "base/sql.h"
#include "order/order.h"
#include "order/transaction.h"
#include "signal/guard.h"
#include "subscription/division.h"
#include "subscription/owner.h"
#include "subscription/retry.h"

PG_FUNCTION_INFO_V1(es_create_subscription);
PG_FUNCTION_INFO_V1(es_drop_subscription);
PG_FUNCTION_INFO_V1(es_alter_subscription);
PG_FUNCTION_INFO_V1(es_reset_subscription);
PG_FUNCTION_INFO_V1(es_replay_parked);
PG_FUNCTION_INFO_V1(es_partition);

/* ----------------------------------------------------------------------
 * Arguments
 * ----------------------------------------------------------------------
 */

static int
subscribe_get_partitions(FunctionCallInfo fcinfo, int argument)
{
	int partitions;

	es_arguments_check_not_null(fcinfo, argument, "partitions");
	partitions = PG_GETARG_INT32(argument);
	if (partitions < 1 || partitions > ES_MAX_PARTITIONS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partitions must be between 1 and %d", ES_MAX_PARTITIONS)));
	return partitions;
}

static int
subscribe_get_max_retries(FunctionCallInfo fcinfo, int argument)
{
	es_arguments_check_not_null(fcinfo, argument, "max_retries");
	if (PG_GETARG_INT32(argument) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_retries must not be negative")));
	/* Room to count one more. */
	return Min(PG_GETARG_INT32(argument), PG_INT32_MAX - 1);
}

static Datum
subscribe_get_lease(FunctionCallInfo fcinfo, int argument)
{
	TimestampTz now = GetCurrentTimestamp();

	if (es_arguments_get_time_after(fcinfo, argument, "lease", now) == now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("lease must be greater than zero")));
	return PG_GETARG_DATUM(argument);
}

static Datum
subscribe_get_park_policy(FunctionCallInfo fcinfo, int argument)
{
	char *policy;

	es_arguments_check_not_null(fcinfo, argument, "park_policy");
	policy = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (strcmp(policy, "pass") != 0 && strcmp(policy, "block_stream") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown park policy \"%s\"", policy),
				 errhint("The policies are pass and block_stream.")));
	return PG_GETARG_DATUM(argument);
}

/* (Datum) 0 where it is null: all types. */
static Datum
subscribe_get_types(FunctionCallInfo fcinfo, int argument)
{
	ArrayType *types;
	Datum *items;
	bool *nulls;
	int count;
	int i;

	if (PG_ARGISNULL(argument))
		return (Datum) 0;
	types = PG_GETARG_ARRAYTYPE_P(argument);
	if (ARR_NDIM(types) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 ARR_NDIM(types) == 0 ? errmsg("types must not be empty")
									  : errmsg("types must be a one-dimensional array"),
				 ARR_NDIM(types) == 0 ? errhint("Null stands for all types.") : 0));
	deconstruct_array(types, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &count);
	for (i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("types must not contain nulls")));
		es_names_check_type(DatumGetTextPP(items[i]));
	}
	/* Without the caller's lower bounds. */
	return PointerGetDatum(construct_array(items, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static int64
subscribe_get_after_position(FunctionCallInfo fcinfo, int argument)
{
	int64 after;

	es_arguments_check_not_null(fcinfo, argument, "after_position");
	after = PG_GETARG_INT64(argument);
	if (after < -1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("after_position must not be less than -1"),
				 errhint("-1 stands for the head.")));
	return after == -1 ? es_order_head(NULL) : after;
}

static void
subscribe_prevent(const char *verb)
{
	PreventCommandIfReadOnly(verb);
	PreventCommandIfParallelMode(verb);
}

/* Find a subscription, and keep everybody else out of it until commit. */
static void
subscribe_change(text *name, EsSubscription *subscription)
{
	es_subscription_find(name, subscription);
	es_guard_take(ES_GUARD_CHANGE, subscription->key);
	/* It may have gone or changed meanwhile. */
	es_subscription_find(name, subscription);
}

/* ----------------------------------------------------------------------
 * Subscriptions
 * ----------------------------------------------------------------------
 */

/*
 * es_create_subscription(name text, category text = NULL, types text[] = NULL,
 *						  after_position bigint = 0, partitions int = 64,
 *						  max_retries int = 10, lease interval = '30 s',
 *						  park_policy text = 'pass') -> void
 */
Datum
es_create_subscription(PG_FUNCTION_ARGS)
{
	static EsSql statement = ES_SQL(
		"INSERT INTO eventstore.subscriptions (name, category, types, partitions, max_retries, lease, "
		"park_policy, division) VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT (name) DO NOTHING",
		TEXTOID, TEXTOID, TEXTARRAYOID, INT4OID, INT4OID, INTERVALOID, TEXTOID);
	text *name = es_arguments_get_subscription(fcinfo, 0, "name");
	Datum types = subscribe_get_types(fcinfo, 2);
	int64 after = subscribe_get_after_position(fcinfo, 3);
	int partitions = subscribe_get_partitions(fcinfo, 4);
	EsSubscription subscription;
	Datum values[] = {PointerGetDatum(name),
					  PG_GETARG_DATUM(1),
					  types,
					  Int32GetDatum(partitions),
					  Int32GetDatum(subscribe_get_max_retries(fcinfo, 5)),
					  subscribe_get_lease(fcinfo, 6),
					  subscribe_get_park_policy(fcinfo, 7)};
	char nulls[] = "       ";

	if (PG_ARGISNULL(1))
		nulls[1] = 'n';
	else
		es_names_check_category(PG_GETARG_TEXT_PP(1));
	subscribe_prevent("es_create_subscription()");
	if (types == (Datum) 0)
		nulls[2] = 'n';
	if (es_sql_run(&statement, values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("subscription \"%s\" already exists", text_to_cstring(name))));
	subscribe_change(name, &subscription);
	es_division_begin(&subscription, partitions, after);
	PG_RETURN_VOID();
}

/*
 * es_drop_subscription(name text) -> void
 */
Datum
es_drop_subscription(PG_FUNCTION_ARGS)
{
	static EsSql statement =
		ES_SQL("WITH r AS (DELETE FROM eventstore.subscription_retries WHERE subscription = $1) "
			   "DELETE FROM eventstore.subscriptions WHERE name = $1",
			   TEXTOID);
	text *name = es_arguments_get_subscription(fcinfo, 0, "name");
	Datum values[] = {PointerGetDatum(name)};
	EsSubscription subscription;

	subscribe_prevent("es_drop_subscription()");
	subscribe_change(name, &subscription);
	(void) es_sql_run(&statement, values, NULL);
	es_division_forget(&subscription);
	es_transaction_wake_consumers(subscription.key);
	PG_RETURN_VOID();
}

/*
 * es_reset_subscription(name text, after_position bigint) -> void
 */
Datum
es_reset_subscription(PG_FUNCTION_ARGS)
{
	static EsSql statement =
		ES_SQL("DELETE FROM eventstore.subscription_retries WHERE subscription = $1 "
			   "AND (parked_at IS NULL OR position > $2)",
			   TEXTOID, INT8OID);
	text *name = es_arguments_get_subscription(fcinfo, 0, "name");
	int64 after = subscribe_get_after_position(fcinfo, 1);
	Datum values[] = {PointerGetDatum(name), Int64GetDatum(after)};
	EsSubscription subscription;

	subscribe_prevent("es_reset_subscription()");
	subscribe_change(name, &subscription);
	(void) es_sql_run(&statement, values, NULL);
	es_division_begin(&subscription,
					  subscription.next_partitions != 0 ? subscription.next_partitions
														: subscription.partitions,
					  after);
	PG_RETURN_VOID();
}

/* From now on, or when the present partitions are drained. */
static void
subscribe_divide(EsSubscription *subscription, int partitions)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscriptions SET next_partitions = $2, drain_to = $3 "
			   "WHERE name = $1",
			   TEXTOID, INT4OID, INT8OID);
	EsShares shares;
	int64 position;
	bool is_drained;

	es_guard_take(ES_GUARD_MUTEX, subscription->key);
	shares = es_share_load(subscription);
	is_drained = es_division_ends_at(subscription, &shares, &position);
	es_guard_release(ES_GUARD_MUTEX, subscription->key);

	if (is_drained)
		es_division_begin(subscription, partitions, position);
	else
	{
		Datum values[] = {PointerGetDatum(subscription->name), Int32GetDatum(partitions),
						  Int64GetDatum(Min(position, subscription->drain_to))};

		(void) es_sql_run(&statement, values, NULL);
	}
}

/* Streams that wait for a parked event go on. */
static void
subscribe_unblock(EsSubscription *subscription)
{
	EsRetries retries = es_retry_load(subscription, PG_INT64_MAX);
	EsShares shares;
	const EsShare **owners;
	int i;

	es_guard_take(ES_GUARD_MUTEX, subscription->key);
	shares = es_share_load(subscription);
	es_guard_release(ES_GUARD_MUTEX, subscription->key);
	owners = es_owner_find(subscription, &shares);
	subscription->parks_block = false;
	for (i = 0; i < retries.count; i++)
	{
		const EsRetry *retry = &retries.items[i];
		const EsShare *owner = owners[retry->partition];

		if (retry->is_parked && retry->is_blocking && owner != NULL)
			es_retry_park(subscription, retry, retry->attempts, NULL,
						  (EsRetryReach){owner->checkpoint, es_share_passed(owner)});
	}
}

/*
 * es_alter_subscription(name text, partitions int, park_policy text = NULL,
 *						 max_retries int = NULL, lease interval = NULL) -> void
 */
Datum
es_alter_subscription(PG_FUNCTION_ARGS)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscriptions SET park_policy = coalesce($2, park_policy), "
			   "max_retries = coalesce($3, max_retries), lease = coalesce($4, lease) WHERE name = $1",
			   TEXTOID, TEXTOID, INT4OID, INTERVALOID);
	text *name = es_arguments_get_subscription(fcinfo, 0, "name");
	Datum values[] = {PointerGetDatum(name), PG_GETARG_DATUM(2), PG_GETARG_DATUM(3),
					  PG_GETARG_DATUM(4)};
	char nulls[] = "    ";
	EsSubscription subscription;
	int partitions = 0;

	if (PG_ARGISNULL(2) && PG_ARGISNULL(3) && PG_ARGISNULL(4))
		es_arguments_check_not_null(fcinfo, 1, "partitions");
	if (!PG_ARGISNULL(1))
		partitions = subscribe_get_partitions(fcinfo, 1);
	if (PG_ARGISNULL(2))
		nulls[1] = 'n';
	else
		(void) subscribe_get_park_policy(fcinfo, 2);
	if (PG_ARGISNULL(3))
		nulls[2] = 'n';
	else
		values[2] = Int32GetDatum(subscribe_get_max_retries(fcinfo, 3));
	if (PG_ARGISNULL(4))
		nulls[3] = 'n';
	else
		(void) subscribe_get_lease(fcinfo, 4);
	subscribe_prevent("es_alter_subscription()");

	subscribe_change(name, &subscription);
	(void) es_sql_run(&statement, values, nulls);
	if (!PG_ARGISNULL(2) && subscription.parks_block &&
		strcmp(text_to_cstring(PG_GETARG_TEXT_PP(2)), "pass") == 0)
		subscribe_unblock(&subscription);
	if (partitions != 0 &&
		(subscription.next_partitions != 0 || partitions != subscription.partitions))
		subscribe_divide(&subscription, partitions);
	es_transaction_wake_consumers(subscription.key);
	PG_RETURN_VOID();
}

/*
 * es_replay_parked(subscription text, max_count int = NULL) -> int
 */
Datum
es_replay_parked(PG_FUNCTION_ARGS)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscription_retries r SET due = pg_catalog.clock_timestamp(), attempts = 0, "
			   "parked_at = NULL, is_replayed = true, "
			   "retry = pg_catalog.nextval('eventstore.subscription_tokens') "
			   "FROM (SELECT p.position FROM eventstore.subscription_retries p WHERE p.subscription = $1 "
			   "AND p.parked_at IS NOT NULL ORDER BY p.position LIMIT $2 FOR UPDATE SKIP LOCKED) p "
			   "WHERE r.subscription = $1 AND r.position = p.position",
			   TEXTOID, INT8OID);
	text *name = es_arguments_get_subscription(fcinfo, 0, "subscription");
	Datum values[] = {PointerGetDatum(name), Int64GetDatum(PG_INT64_MAX)};
	EsSubscription subscription;
	int64 count;

	if (!PG_ARGISNULL(1))
	{
		if (PG_GETARG_INT32(1) < 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("max_count must not be negative")));
		values[1] = Int64GetDatum(PG_GETARG_INT32(1));
	}
	subscribe_prevent("es_replay_parked()");
	es_guard_take(ES_GUARD_USE, es_guard_key(name));
	es_subscription_find(name, &subscription);
	/* Not between somebody's look for a replay and what that leads to. */
	es_guard_take(ES_GUARD_MUTEX, subscription.key);
	count = es_sql_run(&statement, values, NULL);
	es_guard_release(ES_GUARD_MUTEX, subscription.key);
	es_transaction_wake_consumers(subscription.key);
	PG_RETURN_INT32((int32) count);
}

/*
 * es_partition(stream text, partitions int) -> int
 */
Datum
es_partition(PG_FUNCTION_ARGS)
{
	es_arguments_check_not_null(fcinfo, 0, "stream");
	es_names_check_stream(PG_GETARG_TEXT_PP(0));
	es_arguments_check_not_null(fcinfo, 1, "partitions");
	if (PG_GETARG_INT32(1) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("partitions must be greater than zero")));
	PG_RETURN_INT32(es_partition_number(PG_GETARG_TEXT_PP(0), PG_GETARG_INT32(1)));
}
