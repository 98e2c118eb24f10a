/*-------------------------------------------------------------------------
 *
 * alter.c
 *		The verbs that change a subscription: es_alter_subscription,
 *		es_pause_subscription, es_resume_subscription.
 *
 * Each gives it another revision, so that a fetch that has read events under
 * the old definition reads them anew instead of delivering them.
 *
 * Another filter counts from the checkpoints on.  What is outstanding was
 * delivered by the old one, and its acknowledgement would carry the checkpoint
 * over events that only the new one wants: so all partitions are taken back.
 * What waits for another attempt, and is not wanted any more, is forgotten;
 * what is parked stays.
 *
 * Memory: the function call's context.  Locks: see guard.c; row locks of the
 * statements; AccessShare on events.  Calls: arguments, bound, definition,
 * division, guard, names, owner, retry, scan, share, sql, subscription, takeback,
 * transaction, version.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/scan.h"
#include "base/sql.h"
#include "base/version.h"
#include "order/transaction.h"
#include "rights/bound.h"
#include "signal/guard.h"
#include "subscription/definition.h"
#include "subscription/division.h"
#include "subscription/owner.h"
#include "subscription/retry.h"
#include "subscription/takeback.h"

PG_FUNCTION_INFO_V1(es_alter_subscription);
PG_FUNCTION_INFO_V1(es_pause_subscription);
PG_FUNCTION_INFO_V1(es_resume_subscription);

/* The arguments of es_alter_subscription. */
enum
{
	ALTER_NAME,
	ALTER_PARTITIONS,
	ALTER_PARK_POLICY,
	ALTER_MAX_RETRIES,
	ALTER_LEASE,
	ALTER_CATEGORY,
	ALTER_TYPES,
	ALTER_TENANT
};

static void
alter_prevent(const char *verb)
{
	PreventCommandIfReadOnly(verb);
	PreventCommandIfParallelMode(verb);
}

/* From now on, or when the present partitions are drained. */
static void
alter_divide(EsSubscription *subscription, int partitions)
{
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
		es_division_plan(subscription, partitions, Min(position, subscription->drain_to));
}

/* Which share each partition belongs to; the caller keeps others out. */
static const EsShare **
alter_find_owners(const EsSubscription *subscription)
{
	EsShares shares;

	es_guard_take(ES_GUARD_MUTEX, subscription->key);
	shares = es_share_load(subscription);
	es_guard_release(ES_GUARD_MUTEX, subscription->key);
	return es_owner_find(subscription, &shares);
}

/* Streams that wait for a parked event go on. */
static void
alter_unblock(EsSubscription *subscription)
{
	EsRetries retries = es_retry_load(subscription, PG_INT64_MAX);
	const EsShare **owners = alter_find_owners(subscription);
	int i;

	subscription->parks_block = false;
	for (i = 0; i < retries.count; i++)
	{
		const EsRetry *retry = &retries.items[i];
		const EsShare *owner = owners[retry->partition];

		if (retry->is_parked && retry->is_blocking && owner != NULL)
			es_retry_park(subscription, retry, retry->attempts, NULL,
						  (EsRetryReach){owner->checkpoint, es_share_passed(owner), NULL});
	}
}

/* ----------------------------------------------------------------------
 * Another filter
 * ----------------------------------------------------------------------
 */

static bool
alter_is_same_name(const text *a, const text *b)
{
	return a == NULL || b == NULL ? a == b : es_names_equal(a, b);
}

static bool
alter_is_same_types(const EsSubscription *a, const EsSubscription *b)
{
	int i;

	if ((a->types == (Datum) 0) != (b->types == (Datum) 0) || a->type_count != b->type_count)
		return false;
	for (i = 0; i < a->type_count; i++)
		if (!es_names_equal((text *) DatumGetPointer(a->type_items[i]),
							(text *) DatumGetPointer(b->type_items[i])))
			return false;
	return true;
}

/*
 * Put the filter that the arguments say into a subscription.  Returns whether
 * it is another one.
 */
static bool
alter_set_filter(FunctionCallInfo fcinfo, EsSubscription *subscription)
{
	EsSubscription before = *subscription;

	if (es_definition_is_all_categories(fcinfo, ALTER_CATEGORY))
		subscription->category = NULL;
	else if (!PG_ARGISNULL(ALTER_CATEGORY))
		subscription->category = PG_GETARG_TEXT_PP(ALTER_CATEGORY);
	if (es_definition_is_all_tenants(fcinfo, ALTER_TENANT))
		subscription->tenant = NULL;
	else if (!PG_ARGISNULL(ALTER_TENANT))
		subscription->tenant = PG_GETARG_TEXT_PP(ALTER_TENANT);
	if (!PG_ARGISNULL(ALTER_TYPES))
		es_subscription_set_types(subscription,
								  es_definition_is_all_types(fcinfo, ALTER_TYPES)
									  ? (Datum) 0
									  : es_definition_get_types(fcinfo, ALTER_TYPES));
	return !alter_is_same_name(before.category, subscription->category) ||
		!alter_is_same_name(before.tenant, subscription->tenant) ||
		!alter_is_same_types(&before, subscription);
}

static bool
alter_wants_stream(const EsSubscription *subscription, const text *stream)
{
	return (subscription->category == NULL ||
			es_names_equal(subscription->category, es_names_category(stream))) &&
		(subscription->tenant == NULL || es_bound_has_tenant(stream, subscription->tenant));
}

/* Whether the event of a retry is of the subscription. */
static bool
alter_wants(const EsSubscription *subscription, const EsRetry *retry)
{
	Relation events;
	Snapshot snapshot;
	EsScan scan;
	bool is_wanted;
	bool is_null;

	if (!alter_wants_stream(subscription, retry->stream))
		return false;
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(retry->position));
	es_scan_begin(&scan, snapshot);
	is_wanted = es_scan_next(&scan, ForwardScanDirection) &&
		es_subscription_wants(subscription,
							  DatumGetTextPP(slot_getattr(scan.slot, Anum_events_type, &is_null)));
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
	return is_wanted;
}

/*
 * Forget the events that wait for another attempt and are not wanted.  First
 * those that hold no stream: they do not come next in one then.
 */
static void
alter_forget_retries(const EsSubscription *subscription)
{
	EsRetries retries = es_retry_load(subscription, PG_INT64_MAX);
	const EsShare **owners = alter_find_owners(subscription);
	bool *is_unwanted = palloc0(sizeof(bool) * (retries.count + 1));
	int i;

	for (i = 0; i < retries.count; i++)
	{
		const EsRetry *retry = &retries.items[i];

		CHECK_FOR_INTERRUPTS();
		is_unwanted[i] = retry->is_active && !retry->is_parked && !alter_wants(subscription, retry);
		if (is_unwanted[i] && !retry->is_blocking)
			es_retry_forget(subscription, retry);
	}
	for (i = 0; i < retries.count; i++)
	{
		const EsRetry *retry = &retries.items[i];
		const EsShare *owner = owners[retry->partition];

		if (!is_unwanted[i] || !retry->is_blocking || owner == NULL)
			continue;
		es_retry_withdraw(subscription, retry,
						  (EsRetryReach){owner->checkpoint, es_share_passed(owner), NULL},
						  alter_wants_stream(subscription, retry->stream));
	}
}

/* It is stored already. */
static void
alter_begin_filter(const EsSubscription *subscription)
{
	es_guard_take(ES_GUARD_MUTEX, subscription->key);
	es_takeback_all(subscription);
	es_guard_release(ES_GUARD_MUTEX, subscription->key);
	alter_forget_retries(subscription);
}

/* ----------------------------------------------------------------------
 * The verbs
 * ----------------------------------------------------------------------
 */

/* Store the settings, and a new revision. */
static void
alter_store(FunctionCallInfo fcinfo, const EsSubscription *subscription)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscriptions SET park_policy = coalesce($2, park_policy), "
			   "max_retries = coalesce($3, max_retries), lease = coalesce($4, lease), category = $5, types = $6, tenant = $7, "
			   "revision = pg_catalog.nextval('eventstore.subscription_tokens') WHERE name = $1",
			   TEXTOID, TEXTOID, INT4OID, INTERVALOID, TEXTOID, TEXTARRAYOID, TEXTOID);
	Datum values[] = {PointerGetDatum(subscription->name),
					  PG_GETARG_DATUM(ALTER_PARK_POLICY),
					  (Datum) 0,
					  PG_GETARG_DATUM(ALTER_LEASE),
					  PointerGetDatum(subscription->category),
					  subscription->types,
					  PointerGetDatum(subscription->tenant)};
	char nulls[] = "       ";

	if (PG_ARGISNULL(ALTER_PARK_POLICY))
		nulls[1] = 'n';
	if (PG_ARGISNULL(ALTER_MAX_RETRIES))
		nulls[2] = 'n';
	else
		values[2] = Int32GetDatum(es_definition_get_max_retries(fcinfo, ALTER_MAX_RETRIES));
	if (PG_ARGISNULL(ALTER_LEASE))
		nulls[3] = 'n';
	if (subscription->category == NULL)
		nulls[4] = 'n';
	if (subscription->types == (Datum) 0)
		nulls[5] = 'n';
	if (subscription->tenant == NULL)
		nulls[6] = 'n';
	(void) es_sql_run(&statement, values, nulls);
}

/* Raise unless the arguments are valid.  Returns the partitions; 0: as they are. */
static int
alter_check(FunctionCallInfo fcinfo)
{
	/* The function has not had all of them in every version. */
	es_version_require();
	if (!PG_ARGISNULL(ALTER_PARK_POLICY))
		(void) es_definition_get_park_policy(fcinfo, ALTER_PARK_POLICY);
	if (!PG_ARGISNULL(ALTER_MAX_RETRIES))
		(void) es_definition_get_max_retries(fcinfo, ALTER_MAX_RETRIES);
	if (!PG_ARGISNULL(ALTER_LEASE))
		(void) es_definition_get_lease(fcinfo, ALTER_LEASE);
	if (!es_definition_is_all_categories(fcinfo, ALTER_CATEGORY))
		(void) es_definition_get_category(fcinfo, ALTER_CATEGORY);
	if (!es_definition_is_all_tenants(fcinfo, ALTER_TENANT))
		(void) es_definition_get_tenant(fcinfo, ALTER_TENANT);
	if (!es_definition_is_all_types(fcinfo, ALTER_TYPES))
		(void) es_definition_get_types(fcinfo, ALTER_TYPES);
	return PG_ARGISNULL(ALTER_PARTITIONS) ? 0
										  : es_definition_get_partitions(fcinfo, ALTER_PARTITIONS);
}

/*
 * es_alter_subscription(name text, partitions int = NULL,
 *						 park_policy text = NULL, max_retries int = NULL,
 *						 lease interval = NULL, category text = NULL,
 *						 types text[] = NULL, tenant text = NULL) -> void
 */
Datum
es_alter_subscription(PG_FUNCTION_ARGS)
{
	text *name = es_arguments_get_subscription(fcinfo, ALTER_NAME, "name");
	int partitions = alter_check(fcinfo);
	EsSubscription subscription;
	bool is_filter_new;

	alter_prevent("es_alter_subscription()");
	es_division_change(name, &subscription);
	is_filter_new = alter_set_filter(fcinfo, &subscription);
	alter_store(fcinfo, &subscription);
	if (!PG_ARGISNULL(ALTER_PARK_POLICY) && subscription.parks_block &&
		strcmp(text_to_cstring(PG_GETARG_TEXT_PP(ALTER_PARK_POLICY)), "pass") == 0)
		alter_unblock(&subscription);
	if (is_filter_new)
		alter_begin_filter(&subscription);
	if (partitions != 0 &&
		(subscription.next_partitions != 0 || partitions != subscription.partitions))
		alter_divide(&subscription, partitions);
	es_transaction_wake_consumers(subscription.key);
	PG_RETURN_VOID();
}

static void
alter_pause(FunctionCallInfo fcinfo, bool is_paused, const char *verb)
{
	static EsSql statement =
		ES_SQL("UPDATE eventstore.subscriptions SET is_paused = $2, "
			   "revision = pg_catalog.nextval('eventstore.subscription_tokens') WHERE name = $1",
			   TEXTOID, BOOLOID);
	text *name = es_arguments_get_subscription(fcinfo, 0, "name");
	Datum values[] = {PointerGetDatum(name), BoolGetDatum(is_paused)};
	EsSubscription subscription;

	alter_prevent(verb);
	es_division_change(name, &subscription);
	if (subscription.is_paused != is_paused)
		(void) es_sql_run(&statement, values, NULL);
	es_transaction_wake_consumers(subscription.key);
}

/*
 * es_pause_subscription(name text) -> void
 */
Datum
es_pause_subscription(PG_FUNCTION_ARGS)
{
	alter_pause(fcinfo, true, "es_pause_subscription()");
	PG_RETURN_VOID();
}

/*
 * es_resume_subscription(name text) -> void
 */
Datum
es_resume_subscription(PG_FUNCTION_ARGS)
{
	static EsSql closed = ES_SQL("SELECT closed_after FROM eventstore.subscriptions WHERE name = $1",
								 TEXTOID);
	Datum values[] = {PointerGetDatum(es_arguments_get_subscription(fcinfo, 0, "name"))};

	if (es_sql_number(&closed, values, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("subscription \"%s\" is closed", TextDatumGetCString(values[0])),
				 errdetail("This cell was split off, and what was appended before is delivered by the other one."),
				 errhint("Once the subscription there has passed the split, call es_open_feed().")));
	alter_pause(fcinfo, false, "es_resume_subscription()");
	PG_RETURN_VOID();
}
