/*-------------------------------------------------------------------------
 *
 * order.c
 *		The order that no reader can miss: appends in flight, and the head.
 *
 * Positions are taken before commit, so transactions become visible in
 * another order than their positions.  What makes reading by position safe is
 * to know which appends are in flight, and from which position on:
 *
 * - An append, holding the rows of its streams, reads the last position given
 *	 out, L, publishes "I am above L", and only then takes positions.
 * - What it published is withdrawn after its transaction has become visible
 *	 or has vanished.
 * - The head is the last position given out, or the lowest L published,
 *	 whichever is less.  It is read in this order, and a reader takes its
 *	 snapshot after it.
 *
 * Proof: see docs/order.md.
 *
 * Publishing is done in the lock manager: a lock of type "userlock" that
 * conflicts with no other, whose tag carries the database and L.  So it
 * needs no shared memory of our own, a prepared transaction keeps it, and
 * it shows in pg_locks.  Nobody ever waits for it.
 *
 * In REPEATABLE READ and SERIALIZABLE the snapshot is older than the head:
 * events that were in flight when it was taken are invisible for good.  The
 * head then is bound by the lowest of those, too; see past.c.
 *
 * On a standby there are no locks of appends.  There the head is the value of
 * eventstore.head that the snapshot sees; the worker of the primary wrote it
 * after every event at or below it was committed.  See order_standby_head for
 * what is known without a worker.
 *
 * Memory: static variables of the backend; reads work in the current context.
 * Locks: the published lock, to the end of the transaction; AccessShare on the
 * relations.  Calls: catalog, past, position, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/procarray.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "catalog.h"
#include "compat.h"
#include "order.h"
#include "past.h"
#include "position.h"
#include "scan.h"

/* locktag_field4 of an append in flight; sql/32_order.sql knows it, too. */
#define ORDER_IN_FLIGHT 0x4501

/* What this backend has published. */
static bool order_is_published = false;
static LOCKTAG order_tag;
static SubTransactionId order_sub; /* that holds it */

/* The highest head told on a standby, and of which store. */
static int64 order_standby_known = 0;
static Oid order_standby_store = InvalidOid;

/* ----------------------------------------------------------------------
 * Publishing
 * ----------------------------------------------------------------------
 */

static int64
order_tag_position(const LOCKTAG *tag)
{
	return (int64) ((uint64) tag->locktag_field2 << 32 | tag->locktag_field3);
}

/*
 * Publish that this transaction appends above the last position given out.
 * Call it with the streams' rows locked, before positions are taken.
 */
void
es_order_enter(void)
{
	ResourceOwner caller = CurrentResourceOwner;
	EsPositionHold hold;
	int64 position;

	if (order_is_published)
		return;

	/*
	 * Held, so that what is published is still the last one: else the head
	 * would go back, though nothing would be lost.  LockAcquire can't wait,
	 * as no mode that conflicts is ever asked for.
	 */
	position = es_position_hold(&hold);
	order_tag.locktag_field1 = MyDatabaseId;
	order_tag.locktag_field2 = (uint32) ((uint64) position >> 32);
	order_tag.locktag_field3 = (uint32) position;
	order_tag.locktag_field4 = ORDER_IN_FLIGHT;
	order_tag.locktag_type = LOCKTAG_USERLOCK;
	order_tag.locktag_lockmethodid = DEFAULT_LOCKMETHOD;

	/* Owned by the (sub)transaction, not by the portal that runs us. */
	CurrentResourceOwner = CurTransactionResourceOwner;
	(void) LockAcquire(&order_tag, AccessShareLock, false, false);
	CurrentResourceOwner = caller;
	es_position_release(&hold);

	order_sub = GetCurrentSubTransactionId();
	order_is_published = true;
}

/*
 * Raise unless a position that was taken is above what was published: a cache
 * of the sequence would break the order, and whoever owns it can give it one.
 */
void
es_order_check(int64 position)
{
	if (position <= order_tag_position(&order_tag))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sequence \"%s.%s\" does not rise", ES_SCHEMA, "positions"),
				 errhint("It must have neither a cache nor a cycle: ALTER SEQUENCE "
						 "eventstore.positions CACHE 1 NO CYCLE.")));
}

/* owner: the transaction that holds the lock, or the one it merged into. */
static void
order_withdraw(ResourceOwner owner)
{
	ResourceOwner caller = CurrentResourceOwner;

	CurrentResourceOwner = owner;
	(void) LockRelease(&order_tag, AccessShareLock, false);
	CurrentResourceOwner = caller;
	order_is_published = false;
}

/*
 * Withdraw what the ending transaction has published.  Called when others see
 * its events, or never will.  Returns whether there was anything.
 */
bool
es_order_leave(void)
{
	if (!order_is_published)
		return false;
	order_withdraw(TopTransactionResourceOwner);
	return true;
}

/*
 * PREPARE TRANSACTION: from now on the prepared transaction has the lock.
 * Returns whether there is one.
 */
bool
es_order_forget(void)
{
	bool was_published = order_is_published;

	order_is_published = false;
	return was_published;
}

/* A subtransaction merges into its parent, with its locks. */
void
es_order_commit_sub(SubTransactionId sub, SubTransactionId parent)
{
	if (order_is_published && order_sub == sub)
		order_sub = parent;
}

/* Like es_order_leave, where a subtransaction is rolled back. */
bool
es_order_abort_sub(SubTransactionId sub)
{
	if (!order_is_published || order_sub != sub)
		return false;
	order_withdraw(CurTransactionResourceOwner);
	return true;
}

/* ----------------------------------------------------------------------
 * The head
 * ----------------------------------------------------------------------
 */

/* What the lock manager knows about appends in flight in this database. */
typedef struct OrderInFlight
{
	int64 lowest; /* PG_INT64_MAX: none */
	int64 lowest_of_others;
	bool has_prepared;
} OrderInFlight;

static bool
order_is_of_append(const LockInstanceData *lock)
{
	return lock->locktag.locktag_type == LOCKTAG_USERLOCK &&
		lock->locktag.locktag_field4 == ORDER_IN_FLIGHT &&
		lock->locktag.locktag_field1 == MyDatabaseId && lock->holdMask != 0;
}

/*
 * Whether the transaction that holds a lock runs in its session: it has had an
 * xid since before it published.
 */
static bool
order_is_running(const LockInstanceData *lock)
{
	PGPROC *proc = BackendPidGetProc(lock->pid);
	bool has_xid;

	if (proc == NULL)
		return false;
	/* In this order: then the xid is that of the lock's transaction. */
	has_xid = TransactionIdIsValid(proc->xid);
	pg_read_barrier();
	return has_xid && es_compat_proc_lxid(proc) == es_compat_lock_lxid(lock);
}

/* The locks of a list whose transactions no longer run in their sessions. */
static List *
order_find_ended(LockData *list)
{
	List *ended = NIL;
	int i;

	for (i = 0; i < list->nelements; i++)
	{
		LockInstanceData *lock = &list->locks[i];

		if (order_is_of_append(lock) && lock->pid != 0 && !order_is_running(lock))
			ended = lappend(ended, lock);
	}
	return ended;
}

static bool
order_is_member(List *locks, const LockInstanceData *lock)
{
	ListCell *cell;

	foreach (cell, locks)
	{
		const LockInstanceData *member = lfirst(cell);

		if (member->pid == lock->pid && es_compat_lock_lxid(member) == es_compat_lock_lxid(lock))
			return true;
	}
	return false;
}

/*
 * Ask the lock manager.
 *
 * A transaction may be visible, or have vanished, and not have come to
 * withdraw yet; it would hold the head back for no reason, and below what its
 * NOTIFY has told already.  It is no longer running in its session; but
 * neither is one that was just prepared.  So the locks are listed again: a
 * prepared transaction has taken its lock out of the session by then.
 */
static OrderInFlight
order_list_in_flight(void)
{
	OrderInFlight found = {PG_INT64_MAX, PG_INT64_MAX, false};
	LockData *list = GetLockStatusData();
	List *ended = order_find_ended(list);
	int i;

	if (ended != NIL)
		list = GetLockStatusData();
	for (i = 0; i < list->nelements; i++)
	{
		const LockInstanceData *lock = &list->locks[i];
		int64 position;

		if (!order_is_of_append(lock) || order_is_member(ended, lock))
			continue;
		position = order_tag_position(&lock->locktag);
		found.lowest = Min(found.lowest, position);
		if (lock->pid != MyProcPid)
			found.lowest_of_others = Min(found.lowest_of_others, position);
		if (lock->pid == 0)
			found.has_prepared = true;
	}
	list_free(ended);
	pfree(list->locks);
	pfree(list);
	return found;
}

/*
 * The head that the worker has announced last, as a snapshot sees it; 0 if
 * there is none.
 */
int64
es_order_announced(Snapshot snapshot)
{
	Relation rel = es_catalog_open(ES_HEAD, AccessShareLock);
	EsScan scan;
	int64 head = 0;
	bool is_null;

	es_scan_open(&scan, rel, ES_HEAD_PKEY);
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
		head = DatumGetInt64(slot_getattr(scan.slot, Anum_head_position, &is_null));
	es_scan_close(&scan);
	relation_close(rel, NoLock);
	return head;
}

/* The last position that a snapshot sees; 0 if there is none. */
static int64
order_last_visible(Snapshot snapshot)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	EsScan scan;
	int64 position = 0;
	bool is_null;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, BackwardScanDirection))
		position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));
	es_scan_close(&scan);
	relation_close(events, NoLock);
	return position;
}

/*
 * The head on a standby, as a snapshot sees it: what the worker of the primary
 * has announced.
 *
 * Where nothing at all is in progress for the snapshot, all that it sees is
 * settled, announced or not: an append that is still to come with a lower
 * position has written its stream's row, and so the first WAL record with its
 * xid, before the higher one was even taken.
 */
static int64
order_standby_head(Snapshot snapshot)
{
	int64 head = es_order_announced(snapshot);

	if (snapshot->xcnt == 0 && snapshot->subxcnt == 0 && !snapshot->suboverflowed)
	{
		int64 last = order_last_visible(snapshot);

		head = Max(head, last);
	}
	if (IsolationUsesXactSnapshot())
		return head;

	/* What is settled stays so, and later snapshots see it. */
	if (order_standby_store != es_catalog_oid(ES_POSITIONS))
		order_standby_known = 0;
	order_standby_store = es_catalog_oid(ES_POSITIONS);
	order_standby_known = Max(order_standby_known, head);
	return order_standby_known;
}

/*
 * The head of this moment.  Events up to it are seen by a snapshot that is
 * taken afterwards, by no older one.
 *
 * is_told: receives whether everybody who can move it wakes who waits; not so
 * prepared transactions, which any session may end, and a standby's replay.
 * NULL: the caller does not care.
 */
int64
es_order_head(bool *is_told)
{
	OrderInFlight in_flight;
	int64 head;

	if (RecoveryInProgress())
	{
		Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());

		head = order_standby_head(snapshot);
		UnregisterSnapshot(snapshot);
		if (is_told != NULL)
			*is_told = false;
		return head;
	}

	/* First what was given out, then who is in flight: see the proof. */
	head = es_position_given_out(true);
	in_flight = order_list_in_flight();
	head = Min(head, in_flight.lowest);
	if (is_told != NULL)
		*is_told = !in_flight.has_prepared;
	return head;
}

/*
 * The head as it will be, at the least, when this transaction has committed:
 * its commit flushes what makes it last.
 */
int64
es_order_head_after_commit(void)
{
	int64 head = es_position_given_out(false);
	OrderInFlight in_flight = order_list_in_flight();

	return Min(head, in_flight.lowest_of_others);
}

/* ----------------------------------------------------------------------
 * Views
 * ----------------------------------------------------------------------
 */

/*
 * Begin to read across streams: the head, and a snapshot that sees every
 * event up to it.  End with es_order_end_view.
 */
void
es_order_begin_view(EsView *view)
{
	if (RecoveryInProgress())
	{
		view->snapshot = RegisterSnapshot(IsolationUsesXactSnapshot() ? GetActiveSnapshot()
																	  : GetLatestSnapshot());
		view->head = order_standby_head(view->snapshot);
	}
	else if (IsolationUsesXactSnapshot())
	{
		int64 announced;

		view->snapshot = RegisterSnapshot(GetActiveSnapshot());
		announced = es_order_announced(view->snapshot);
		view->head = es_past_head(view->snapshot, announced, es_order_head(NULL));
	}
	else
	{
		view->head = es_order_head(NULL);
		view->snapshot = RegisterSnapshot(GetLatestSnapshot());
		es_past_remember(view->snapshot, view->head);
	}
}

void
es_order_end_view(EsView *view)
{
	UnregisterSnapshot(view->snapshot);
}
