/*-------------------------------------------------------------------------
 *
 * status.c
 *		How far a subscription is: eventstore.find_subscription_status.
 *
 * The counting is SQL (eventstore.count_subscription_status), done as the
 * store's owner.  Who is bound by his grants gets it of subscriptions that see
 * nothing beyond his bounds.
 *
 * Memory: SPI's own; rows in the query's.  Locks: what the SQL takes.  Calls:
 * caller, rights, subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "rights/rights.h"
#include "subscription/caller.h"

PG_FUNCTION_INFO_V1(es_find_subscription_status);
PG_FUNCTION_INFO_V1(es_find_subscription_division);

/* function: of eventstore, with the subscription's name. */
static void
status_ask(const char *function, text *name, ReturnSetInfo *result)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {PointerGetDatum(name)};
	uint64 i;

	SPI_connect();
	if (SPI_execute_with_args(psprintf("SELECT * FROM eventstore.%s($1)", function), 1, types,
							  values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not ask for a subscription's status");
	for (i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
}

/* Whether the current role may know of a subscription. */
static bool
status_may_see(text *name)
{
	EsSubscription subscription;

	if (es_rights_of(GetUserId())->sees.has_all)
		return true;
	/* Of what is not there as of what is not to be seen: nothing. */
	return es_subscription_exists(name, &subscription) &&
		es_caller_may_see(GetUserId(), &subscription);
}

/* As the store's owner; no row for whom may not know of it. */
static Datum
status_find(const char *function, FunctionCallInfo fcinfo)
{
	EsCaller caller;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || !status_may_see(PG_GETARG_TEXT_PP(0)))
		return (Datum) 0;
	es_caller_enter(&caller);
	status_ask(function, PG_GETARG_TEXT_PP(0), (ReturnSetInfo *) fcinfo->resultinfo);
	es_caller_leave(&caller);
	return (Datum) 0;
}

/*
 * eventstore.find_subscription_status(subscription text)
 *	 -> SETOF (partition int, consumer text, checkpoint bigint, lag_events bigint,
 *			   lag_seconds float8, parked bigint, lease_end timestamptz)
 */
Datum
es_find_subscription_status(PG_FUNCTION_ARGS)
{
	return status_find("count_subscription_status", fcinfo);
}

/*
 * eventstore.find_subscription_division(subscription text)
 *	 -> SETOF (division bigint, partitions int)
 */
Datum
es_find_subscription_division(PG_FUNCTION_ARGS)
{
	return status_find("read_subscription_division", fcinfo);
}
