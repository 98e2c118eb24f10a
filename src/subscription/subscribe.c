/*-------------------------------------------------------------------------
 *
 * subscribe.c
 *		The verbs that make and end subscriptions: es_create_subscription,
 *		es_drop_subscription, es_reset_subscription; es_partition.
 *
 * What changes a whole subscription waits for its open acks, and keeps new
 * ones and fetches out until commit (guard.c).
 *
 * Memory: the function call's context.  Locks: see guard.c; row locks of the
 * statements.  Calls: arguments, definition, division, names, partition, sql,
 * subscription, transaction, version.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/arguments.h"
#include "base/away.h"
#include "base/names.h"
#include "base/partition.h"
#include "base/sql.h"
#include "base/version.h"
#include "order/transaction.h"
#include "subscription/definition.h"
#include "subscription/division.h"

PG_FUNCTION_INFO_V1(es_create_subscription);
PG_FUNCTION_INFO_V1(es_drop_subscription);
PG_FUNCTION_INFO_V1(es_reset_subscription);
PG_FUNCTION_INFO_V1(es_partition);

static void
subscribe_prevent(const char *verb)
{
	PreventCommandIfReadOnly(verb);
	PreventCommandIfParallelMode(verb);
}

/* An argument that the function has not had in every version. */
static Datum
subscribe_get_tenant(FunctionCallInfo fcinfo)
{
	es_version_require();
	return es_definition_get_tenant(fcinfo, 8);
}

/*
 * es_create_subscription(name text, category text = NULL, types text[] = NULL,
 *						  after_position bigint = 0, partitions int = 64,
 *						  max_retries int = 10, lease interval = '30 s',
 *						  park_policy text = 'pass', tenant text = NULL) -> void
 */
Datum
es_create_subscription(PG_FUNCTION_ARGS)
{
	static EsSql statement = ES_SQL(
		"INSERT INTO eventstore.subscriptions (name, category, types, partitions, max_retries, lease, "
		"park_policy, division, tenant) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8) ON CONFLICT (name) DO NOTHING",
		TEXTOID, TEXTOID, TEXTARRAYOID, INT4OID, INT4OID, INTERVALOID, TEXTOID, TEXTOID);
	text *name = es_arguments_get_subscription(fcinfo, 0, "name");
	Datum category = es_definition_get_category(fcinfo, 1);
	Datum types = es_definition_get_types(fcinfo, 2);
	int partitions = es_definition_get_partitions(fcinfo, 4);
	Datum tenant = subscribe_get_tenant(fcinfo);
	EsSubscription subscription;
	Datum values[] = {PointerGetDatum(name),
					  category,
					  types,
					  Int32GetDatum(partitions),
					  Int32GetDatum(es_definition_get_max_retries(fcinfo, 5)),
					  es_definition_get_lease(fcinfo, 6),
					  es_definition_get_park_policy(fcinfo, 7),
					  tenant};
	char nulls[] = "        ";
	int64 after;

	subscribe_prevent("es_create_subscription()");
	after = es_definition_get_after_position(fcinfo, 3);
	if (category == (Datum) 0)
		nulls[1] = 'n';
	if (types == (Datum) 0)
		nulls[2] = 'n';
	if (tenant == (Datum) 0)
		nulls[7] = 'n';
	if (es_sql_run(&statement, values, nulls) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("subscription \"%s\" already exists", text_to_cstring(name))));
	es_division_change(name, &subscription);
	es_division_begin(&subscription, partitions, after);
	es_away_tell(after);
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
	es_division_change(name, &subscription);
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
	Datum values[] = {PointerGetDatum(name), (Datum) 0};
	EsSubscription subscription;
	int64 after;

	subscribe_prevent("es_reset_subscription()");
	after = es_definition_get_after_position(fcinfo, 1);
	values[1] = Int64GetDatum(after);
	es_division_change(name, &subscription);
	(void) es_sql_run(&statement, values, NULL);
	es_division_begin(&subscription,
					  subscription.next_partitions != 0 ? subscription.next_partitions
														: subscription.partitions,
					  after);
	PG_RETURN_VOID();
}

/*
 * es_partition(stream text, partitions bigint) -> int
 */
Datum
es_partition(PG_FUNCTION_ARGS)
{
	int64 partitions;

	es_arguments_check_not_null(fcinfo, 0, "stream");
	es_names_check_stream(PG_GETARG_TEXT_PP(0));
	partitions = es_arguments_get_number(fcinfo, 1, "partitions", 1, PG_INT32_MAX);
	PG_RETURN_INT32(es_partition_number(PG_GETARG_TEXT_PP(0), (int) partitions));
}
