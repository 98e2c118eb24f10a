/*-------------------------------------------------------------------------
 *
 * rest.c
 *		Waiting without a snapshot.
 *
 * A statement holds its snapshot to its end, and as long as that is held,
 * nothing that has died since can be removed, from any table of the database.
 * A statement that waits for an event, for half a minute or an hour, again and
 * again, would keep vacuum from its work.
 *
 * So who waits lets go of the snapshot, and when there is something, the
 * statement is given a new one, in the same place.  That is right where nothing
 * that the statement has read before, or goes on to read, has to go with what
 * it reads after the wait: in a statement that is run for the wait alone.  It
 * is a SELECT at READ COMMITTED, sent by the client and not by a function; it
 * reads no table, and calls no function but PostgreSQL's own and ours of
 * rest_functions; and nothing else in its transaction holds a snapshot, like
 * an open cursor.  In any other statement the snapshot is kept.
 *
 * Memory: the new snapshot's arrays, in the transaction's context.  Locks:
 * none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "executor/execdesc.h"
#include "nodes/plannodes.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "signal/rest.h"

/* What a statement may call beside the function that waits. */
static const char *const rest_functions[] = {"es_wait", "es_fetch", "es_head", "es_last_position"};

/* ----------------------------------------------------------------------
 * Whether a statement can do without
 * ----------------------------------------------------------------------
 */

/* Whether a hash value is that of a function of a name. */
static bool
rest_is_named(uint32 hash, const char *name, Oid namespace)
{
	CatCList *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	bool is_found = false;
	int i;

	for (i = 0; i < list->n_members; i++)
	{
		Form_pg_proc form = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		is_found |= form->pronamespace == namespace &&
			GetSysCacheHashValue1(PROCOID, ObjectIdGetDatum(form->oid)) == hash;
	}
	ReleaseSysCacheList(list);
	return is_found;
}

/* Whether what a plan depends on is one of the functions. */
static bool
rest_is_function(const PlanInvalItem *item, Oid namespace)
{
	int i;

	if (item->cacheId != PROCOID)
		return false;
	for (i = 0; i < lengthof(rest_functions); i++)
		if (rest_is_named(item->hashValue, rest_functions[i], namespace))
			return true;
	return false;
}

static bool
rest_is_for_wait(const PlannedStmt *statement, Oid function)
{
	Oid namespace = get_func_namespace(function);
	ListCell *cell;

	if (statement->commandType != CMD_SELECT || statement->hasModifyingCTE ||
		statement->relationOids != NIL)
		return false;
	foreach (cell, statement->invalItems)
		if (!rest_is_function(lfirst(cell), namespace))
			return false;
	return true;
}

/* Whether there is no other portal: a cursor, or a procedure around. */
static bool
rest_is_alone(Portal portal)
{
	MemoryContext context = portal->portalContext;

	return context->parent->firstchild == context && context->nextchild == NULL;
}

/* The snapshot of the statement that is run, if nothing else has one; NULL else. */
static Snapshot
rest_find_snapshot(void)
{
	Portal portal = ActivePortal;
	Snapshot snapshot;

	if (IsolationUsesXactSnapshot() || IsInParallelMode() || portal == NULL ||
		portal->strategy != PORTAL_ONE_SELECT || portal->queryDesc == NULL ||
		portal->portalSnapshot != NULL || !rest_is_alone(portal) || !ActiveSnapshotSet())
		return NULL;
	snapshot = GetActiveSnapshot();
	/* Registered by the portal and by the executor, and active once. */
	if (snapshot != portal->queryDesc->snapshot || snapshot->active_count != 1 ||
		snapshot->regd_count != 2)
		return NULL;
	InvalidateCatalogSnapshot();
	return ThereAreNoPriorRegisteredSnapshots() ? snapshot : NULL;
}

/* ----------------------------------------------------------------------
 * Resting
 * ----------------------------------------------------------------------
 */

/*
 * Let go of the snapshot, until the next one is taken: to be called right
 * before sleeping.
 */
void
es_rest_lie_down(EsRest *rest)
{
	if (!rest->has_looked)
	{
		rest->snapshot = rest_find_snapshot();
		if (rest->snapshot != NULL &&
			!rest_is_for_wait(ActivePortal->queryDesc->plannedstmt, rest->function))
			rest->snapshot = NULL;
		rest->has_looked = true;
	}
	if (rest->snapshot == NULL)
		return;
	InvalidateCatalogSnapshot();
	if (!ThereAreNoPriorRegisteredSnapshots())
		return;
	MyProc->xmin = InvalidTransactionId;
	rest->has_rested = true;
}

static TransactionId *
rest_copy_xids(const TransactionId *xids, uint32 count)
{
	TransactionId *copy;

	if (count == 0)
		return NULL;
	copy = MemoryContextAlloc(TopTransactionContext, sizeof(TransactionId) * count);
	memcpy(copy, xids, sizeof(TransactionId) * count);
	return copy;
}

/*
 * The wait is over: give the statement a new snapshot in place of the one that
 * it let go of, if it did.
 */
void
es_rest_end(EsRest *rest)
{
	Snapshot fresh;
	SnapshotData old;
	Snapshot snapshot = rest->snapshot;

	if (!rest->has_rested)
		return;
	fresh = RegisterSnapshot(GetLatestSnapshot());
	old = *snapshot;
	*snapshot = *fresh;
	snapshot->xip = rest_copy_xids(fresh->xip, fresh->xcnt);
	snapshot->subxip = rest_copy_xids(fresh->subxip, fresh->subxcnt);
	snapshot->curcid = old.curcid;
	snapshot->copied = old.copied;
	snapshot->active_count = old.active_count;
	snapshot->regd_count = old.regd_count;
	snapshot->ph_node = old.ph_node;
	/* It was the only one registered: still the oldest, if not alone. */
	UnregisterSnapshot(fresh);
}
