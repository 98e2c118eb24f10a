/*-------------------------------------------------------------------------
 *
 * own_head.c
 *		The head, as a role that is bound by its grants is told it.
 *
 * The head moves with everybody's appends: who could watch it would know when
 * and how much others append.  So a bound role is told the position of the
 * last event, up to the head, that is within its bounds; 0: there is none.  For
 * what it may see that is a head as good as the other.
 *
 * Where a bound is of a category, its index has the answer.  Else one looks
 * backward from the head for a stream of the tenant's, which may be far: so a
 * session remembers what it has found, and up to where.
 *
 * Memory: static variables.  Locks: AccessShare on events and an index.  Calls:
 * catalog, rights, scan, see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/fmgroids.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "read/own_head.h"
#include "rights/rights.h"
#include "rights/see.h"

/* What was found, for whom, and up to which head. */
static Oid own_role = InvalidOid;
static uint64 own_generation = 0;
static int64 own_upto = 0;
static int64 own_position = 0;

/* The last event within a role's bounds, of a category or of all, after a position and up to another; 0: none. */
static int64
own_find(Relation events, const text *category, int64 after, int64 upto, Snapshot snapshot)
{
	AttrNumber column = 1;
	int64 position = 0;
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, events, category != NULL ? ES_EVENTS_CATEGORY_POSITION : ES_EVENTS_PKEY);
	if (category != NULL)
		es_scan_add_key(&scan, column++, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(category));
	es_scan_add_key(&scan, column, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	es_scan_add_key(&scan, column, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_see_within_bounds(&scan, GetUserId());
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, BackwardScanDirection))
		position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));
	es_scan_close(&scan);
	return position;
}

/*
 * The categories of the current role's bounds; NULL: any.  Copies, as rights may
 * be read anew while events are looked at.
 */
static List *
own_categories(void)
{
	const EsBounds *bounds = &es_rights_of(GetUserId())->sees;
	List *categories = NIL;
	int i;

	for (i = 0; i < bounds->count; i++)
		categories = lappend(categories,
							 bounds->items[i].category == NULL
								 ? NULL
								 : DatumGetTextPCopy(PointerGetDatum(bounds->items[i].category)));
	return categories;
}

/* As own_find, of all that is within a role's bounds. */
static int64
own_find_any(Relation events, int64 after, int64 upto, Snapshot snapshot)
{
	int64 position = 0;
	ListCell *cell;

	foreach (cell, own_categories())
	{
		int64 found = own_find(events, lfirst(cell), Max(after, position), upto, snapshot);

		position = Max(position, found);
		/* It has looked at everything. */
		if (lfirst(cell) == NULL)
			break;
	}
	return position;
}

/*
 * The head that the current role is told; for who is not bound, the head.
 *
 * snapshot: that sees every event up to the head.
 */
int64
es_own_head(int64 head, Snapshot snapshot)
{
	Oid role = GetUserId();
	bool is_known = own_role == role && own_generation == es_rights_generation() &&
		own_upto <= head;
	Relation events;
	int64 found;

	if (es_rights_of(role)->sees.has_all)
		return head;
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	found = own_find_any(events, is_known ? own_upto : 0, head, snapshot);
	relation_close(events, NoLock);
	if (found == 0 && is_known)
		found = own_position;
	own_role = role;
	own_generation = es_rights_generation();
	own_upto = head;
	own_position = found;
	return found;
}
