/*-------------------------------------------------------------------------
 *
 * see.c
 *		Scans of events that see what a role may see.
 *
 * Two things limit it: the bounds that es_grant has put to the role (rights.c),
 * and policies for row security that a DBA has put on eventstore.events.
 *
 * For plain SELECTs, bounds are policies, too: eventstore.guard_events switches
 * them and row security on as long as somebody is bound.  Where there
 * are no others, scans need not become SELECTs, as they do for policies
 * (base/select.c): rows are passed over by their streams' names, and who is not
 * bound pays nothing.
 *
 * Memory: as scan.c.  Locks: AccessShare on the index of a position, and
 * select.c's.  Calls: rights, scan, select.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "rewrite/rowsecurity.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "rights/rights.h"
#include "rights/see.h"

/*
 * Whether row security is on, if at all, for the store's own policies only:
 * these say what bounds say.
 */
static bool
see_has_own_policies_only(Relation events)
{
	bool lets_everyone_in = false;
	ListCell *cell;

	if (!events->rd_rel->relrowsecurity)
		return true;
	if (events->rd_rsdesc == NULL)
		return false;
	foreach (cell, events->rd_rsdesc->policies)
	{
		const RowSecurityPolicy *policy = lfirst(cell);

		if (strcmp(policy->policy_name, ES_EVERYONE_POLICY) == 0)
			lets_everyone_in = policy->polcmd != ACL_DELETE_CHR;
		else if (strcmp(policy->policy_name, ES_BOUNDS_POLICY) != 0)
			return false;
	}
	/* If it does not, row security was on before somebody was bound. */
	return lets_everyone_in;
}

/*
 * Whether a role certainly sees all events: it is not bound, and there are no
 * policies of others.  Costs next to nothing.
 */
bool
es_see_is_free(Relation events, Oid role)
{
	return es_rights_of(role)->sees.has_all && see_has_own_policies_only(events);
}

/*
 * Whether there are policies of others that count for a role.  Raises 42501 where
 * they would and row_security is off.
 */
bool
es_see_has_policies(Relation events, Oid role)
{
	return !see_has_own_policies_only(events) && es_select_has_policies(events, role);
}

/* Whether there may be events that a role does not see.  Raises as es_see_has_policies does. */
bool
es_see_is_limited(Relation events, Oid role)
{
	return es_see_has_policies(events, role) || !es_rights_of(role)->sees.has_all;
}

static bool
see_is_within(Oid role, TupleTableSlot *slot)
{
	bool is_null;

	return es_rights_has(&es_rights_of(role)->sees,
						 DatumGetTextPP(slot_getattr(slot, Anum_events_stream, &is_null)));
}

/* Have a scan, before it begins, pass over what is not within a role's bounds. */
void
es_see_within_bounds(EsScan *scan, Oid role)
{
	if (!es_rights_of(role)->sees.has_all)
		es_scan_filter(scan, see_is_within, role);
}

/*
 * Have a scan of events, before it begins and with all its keys, see what a role
 * may see.  It then works with es_scan_next only, in this direction.
 */
void
es_see_as(EsScan *scan, Oid role, ScanDirection direction)
{
	if (!see_has_own_policies_only(scan->table))
		es_scan_see_as(scan, role, direction);
	/* Besides: who is not subject to policies may be bound all the same. */
	es_see_within_bounds(scan, role);
}

/* Whether a role may see the event at a position, and it is there. */
bool
es_see_position(Relation events, int64 position, Oid role, Snapshot snapshot)
{
	EsScan scan;
	bool is_seen;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(position));
	es_see_as(&scan, role, ForwardScanDirection);
	es_scan_begin(&scan, snapshot);
	is_seen = es_scan_next(&scan, ForwardScanDirection);
	es_scan_close(&scan);
	return is_seen;
}

/* Whether a role may see an event that stands in a slot. */
bool
es_see_slot(Relation events, TupleTableSlot *slot, Oid role, Snapshot snapshot)
{
	bool is_null;

	return see_is_within(role, slot) &&
		(!es_see_has_policies(events, role) ||
		 es_see_position(events, DatumGetInt64(slot_getattr(slot, Anum_events_position, &is_null)),
						 role, snapshot));
}

/*
 * Whether the current role may be told of an event that an append has run into.
 * That row security is off does not make it an error here.
 */
bool
es_see_stored(Relation events, const text *stream, int64 position)
{
	Oid role = GetUserId();
	Snapshot snapshot;
	bool is_seen;

	if (!es_rights_has(&es_rights_of(role)->sees, stream))
		return false;
	if (see_has_own_policies_only(events) ||
		check_enable_rls(RelationGetRelid(events), role, true) != RLS_ENABLED)
		return true;
	if (!row_security)
		return false;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	is_seen = es_see_position(events, position, role, snapshot);
	UnregisterSnapshot(snapshot);
	return is_seen;
}
