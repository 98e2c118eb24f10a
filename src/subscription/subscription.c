/*-------------------------------------------------------------------------
 *
 * subscription.c
 *		The definition of a subscription: its row in eventstore.subscriptions.
 *
 * It is read as the newest committed one (or this transaction's own) at every
 * isolation level: what consumers agree about is never what an old snapshot
 * sees.
 *
 * Memory: the current context.  Locks: AccessShare on the table.  Calls:
 * catalog, guard, names, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/names.h"
#include "base/scan.h"
#include "signal/guard.h"
#include "subscription/subscription.h"

/* A text of its own in the current context, not toasted; NULL if is_null. */
static text *
subscription_copy_text(Datum value, bool is_null)
{
	return is_null ? NULL : DatumGetTextPCopy(value);
}

/* Set its types: a text[], which is copied; (Datum) 0: all. */
void
es_subscription_set_types(EsSubscription *subscription, Datum types)
{
	subscription->types = types;
	subscription->type_items = NULL;
	subscription->type_count = 0;
	if (types == (Datum) 0)
		return;
	subscription->types = PointerGetDatum(DatumGetArrayTypePCopy(types));
	deconstruct_array(DatumGetArrayTypeP(subscription->types), TEXTOID, -1, false, TYPALIGN_INT,
					  &subscription->type_items, NULL, &subscription->type_count);
}

static void
subscription_read_row(EsSubscription *subscription, TupleTableSlot *slot)
{
	Datum *values = slot->tts_values - 1;
	bool *nulls = slot->tts_isnull - 1;

	slot_getallattrs(slot);
	subscription->category = subscription_copy_text(values[Anum_subscriptions_category],
													nulls[Anum_subscriptions_category]);
	es_subscription_set_types(subscription,
							  nulls[Anum_subscriptions_types] ? (Datum) 0
															  : values[Anum_subscriptions_types]);
	subscription->partitions = DatumGetInt32(values[Anum_subscriptions_partitions]);
	subscription->max_retries = DatumGetInt32(values[Anum_subscriptions_max_retries]);
	subscription->lease = *DatumGetIntervalP(values[Anum_subscriptions_lease]);
	subscription->parks_block = strcmp(TextDatumGetCString(values[Anum_subscriptions_park_policy]),
									   "pass") != 0;
	subscription->division = DatumGetInt64(values[Anum_subscriptions_division]);
	subscription->next_partitions = nulls[Anum_subscriptions_next_partitions]
		? 0
		: DatumGetInt32(values[Anum_subscriptions_next_partitions]);
	subscription->next_division = nulls[Anum_subscriptions_next_division]
		? 0
		: DatumGetInt64(values[Anum_subscriptions_next_division]);
	subscription->is_next_begun = false;
	subscription->drain_to = nulls[Anum_subscriptions_drain_to]
		? PG_INT64_MAX
		: DatumGetInt64(values[Anum_subscriptions_drain_to]);
	subscription->is_paused = DatumGetBool(values[Anum_subscriptions_is_paused]);
	subscription->revision = DatumGetInt64(values[Anum_subscriptions_revision]);
	subscription->tenant = subscription_copy_text(values[Anum_subscriptions_tenant],
												  nulls[Anum_subscriptions_tenant]);
}

/*
 * Find a subscription, if there is one of this name.
 */
bool
es_subscription_exists(text *name, EsSubscription *subscription)
{
	Relation rel = es_catalog_open(ES_SUBSCRIPTIONS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsScan scan;
	bool is_found;

	subscription->name = name;
	subscription->key = es_guard_key(name);
	es_scan_open(&scan, rel, ES_SUBSCRIPTIONS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(name));
	es_scan_begin(&scan, snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	if (is_found)
		subscription_read_row(subscription, scan.slot);
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return is_found;
}

/*
 * Find a subscription.  Raises 42704 if there is none of this name.
 */
void
es_subscription_find(text *name, EsSubscription *subscription)
{
	if (!es_subscription_exists(name, subscription))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("subscription \"%s\" does not exist", text_to_cstring(name))));
}

/* When a lease ends that is renewed now. */
TimestampTz
es_subscription_lease_end(const EsSubscription *subscription, TimestampTz now)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now),
												   IntervalPGetDatum(&subscription->lease)));
}

/*
 * Find a subscription, to change it as a whole: waits for its open acks, and
 * keeps everybody else out of it until commit.  For an open fetch that has
 * parked events it waits no longer than a lease: then it raises 55P03.
 */
void
es_subscription_change(text *name, EsSubscription *subscription)
{
	es_subscription_find(name, subscription);
	es_guard_await_fetch(ES_GUARD_PARKS, subscription->key, name,
						 es_subscription_lease_end(subscription, GetCurrentTimestamp()));
	es_guard_take(ES_GUARD_CHANGE, subscription->key);
	/* It may have gone or changed meanwhile. */
	es_subscription_find(name, subscription);
}

/* Whether events of a type belong to it. */
bool
es_subscription_wants(const EsSubscription *subscription, const text *type)
{
	int i;

	if (subscription->types == (Datum) 0)
		return true;
	for (i = 0; i < subscription->type_count; i++)
		if (es_names_equal(type, (const text *) DatumGetPointer(subscription->type_items[i])))
			return true;
	return false;
}
