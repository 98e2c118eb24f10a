/*-------------------------------------------------------------------------
 *
 * sight.c
 *		Whether the caller of a fetch may see what it would be given.
 *
 * Row security leaves events out of what other readers get.  A subscription
 * must not go on over an event that nobody was given, so here it is an error: a
 * role that may not see all of it can not work on it.
 *
 * Beside the scan of the events goes the same one with the policies, which has
 * to meet each event that is delivered.
 *
 * Memory: the current context.  Locks: AccessShare on the index, and select.c's.
 * Calls: scan, see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/fmgroids.h"

#include "rights/see.h"
#include "subscription/sight.h"

/*
 * Begin beside a scan that is about to begin, or has begun; role and
 * subscription are set.
 *
 * index: that of the scan.
 */
void
es_sight_open(EsSight *sight, const EsScan *scan, EsRelation index, Snapshot snapshot)
{
	sight->has_policies = es_see_has_policies(scan->table, sight->role);
	sight->position = 0;
	if (!sight->has_policies)
		return;
	es_scan_open(&sight->scan, scan->table, index);
	memcpy(sight->scan.keys, scan->keys, sizeof(scan->keys));
	sight->scan.key_count = scan->key_count;
	es_see_as(&sight->scan, sight->role, ForwardScanDirection);
	es_scan_begin(&sight->scan, snapshot);
}

static void
sight_refuse(const EsSight *sight)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for subscription \"%s\"", sight->subscription),
			 errdetail("It has events that row security does not let role \"%s\" see.",
					   GetUserNameFromId(sight->role, false)),
			 errhint("Use a subscription to a category, or to types, all of whose events the role may see.")));
}

/* Raise 42501 if an event of the scan is hidden; asked for rising positions. */
void
es_sight_check(EsSight *sight, int64 position)
{
	bool is_null;

	if (!sight->has_policies)
		return;
	while (sight->position < position && es_scan_next(&sight->scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		sight->position = DatumGetInt64(
			slot_getattr(sight->scan.slot, Anum_events_position, &is_null));
	}
	if (sight->position != position)
		sight_refuse(sight);
}

/* The same for any event. */
void
es_sight_check_one(const EsSight *sight, Relation events, int64 position, Snapshot snapshot)
{
	bool is_seen;
	EsScan scan;

	if (!sight->has_policies)
		return;
	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(position));
	es_see_as(&scan, sight->role, ForwardScanDirection);
	es_scan_begin(&scan, snapshot);
	is_seen = es_scan_next(&scan, ForwardScanDirection);
	es_scan_close(&scan);
	if (!is_seen)
		sight_refuse(sight);
}

void
es_sight_close(EsSight *sight)
{
	if (sight->has_policies)
		es_scan_close(&sight->scan);
}
