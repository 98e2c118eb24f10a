/*-------------------------------------------------------------------------
 *
 * inflight.c
 *		Appends in flight: who appends, and above which position.
 *
 * A transaction publishes "I append above L" by a lock in PostgreSQL's lock
 * manager: of type "userlock", in a mode that conflicts with no other, with
 * the database and L in its tag.  So it needs no shared memory of our own, a
 * prepared transaction keeps it, and it shows in pg_locks.  Nobody ever waits
 * for it.
 *
 * Who wants to know all of them notes which sessions have an xid, and walks
 * through their locks, one partition of the lock table after the other.  Two facts make
 * that right without holding all partitions at once, each while its lock is
 * held: PREPARE moves a lock to the prepared transaction within its partition,
 * so it is seen in one place or the other; and it does so before the session
 * loses its xid, so a lock in a session without an xid is of a transaction
 * that is over, and has only not come to withdraw yet.
 *
 * Memory: static variables of the backend.  Locks: the published lock, to the
 * end of the transaction; partitions of the lock table, shared, for moments.
 * Calls: compat.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/resowner.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/userlock.h"
#include "order/inflight.h"

/* What this backend has published. */
static bool inflight_is_published = false;
static Oid inflight_store; /* of which store, by its sequence's OID */
static LOCKTAG inflight_tag;
static SubTransactionId inflight_sub; /* that holds it */

static int64
inflight_position(const LOCKTAG *tag)
{
	return (int64) ((uint64) tag->locktag_field2 << 32 | tag->locktag_field3);
}

/*
 * Publish that this transaction appends above a position.
 *
 * store: OID of the sequence.
 */
static void
inflight_publish(Oid store, int64 position)
{
	ResourceOwner caller = CurrentResourceOwner;

	inflight_is_published = false;
	inflight_tag = es_userlock_tag(ES_USERLOCK_INFLIGHT, (uint64) position);

	/*
	 * Owned by the (sub)transaction, not by the portal that runs us.
	 * LockAcquire can't wait, as no mode that conflicts is ever asked for.
	 */
	CurrentResourceOwner = CurTransactionResourceOwner;
	(void) LockAcquire(&inflight_tag, AccessShareLock, false, false);
	CurrentResourceOwner = caller;

	inflight_store = store;
	inflight_sub = GetCurrentSubTransactionId();
	inflight_is_published = true;
}

/*
 * Raise unless positions that are about to be taken are above what was
 * published: else the order would be broken.
 */
static void
inflight_check(int64 last)
{
	if (last < inflight_position(&inflight_tag))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sequence \"%s.%s\" was set back", ES_SCHEMA, "positions"),
				 errhint("Roll back, and call es_repair_positions().")));
}

/*
 * Publish that this transaction takes positions above the last one given out.
 * Call it with the sequence's page held, so that it is still the last one: else
 * the head would go back, though nothing would be lost.
 *
 * store: OID of the sequence.
 */
void
es_inflight_enter(Oid store, int64 last)
{
	/*
	 * A transaction that has dropped the store and made it again publishes for
	 * the new one, too; the old lock goes with the transaction.
	 */
	if (!inflight_is_published || inflight_store != store)
		inflight_publish(store, last);
	inflight_check(last);
}

/* owner: the transaction that holds the lock, or the one it merged into. */
static void
inflight_withdraw(ResourceOwner owner)
{
	ResourceOwner caller = CurrentResourceOwner;

	CurrentResourceOwner = owner;
	(void) LockRelease(&inflight_tag, AccessShareLock, false);
	CurrentResourceOwner = caller;
	inflight_is_published = false;
}

/*
 * Withdraw what the ending transaction has published.  Called when others see
 * its events, or never will.  Returns whether there was anything.
 *
 * position: receives what it was.
 */
bool
es_inflight_leave(int64 *position)
{
	if (!inflight_is_published)
		return false;
	*position = inflight_position(&inflight_tag);
	inflight_withdraw(TopTransactionResourceOwner);
	return true;
}

/*
 * PREPARE TRANSACTION: from now on the prepared transaction has the lock.
 * Returns whether there is one.
 */
bool
es_inflight_forget(void)
{
	bool was_published = inflight_is_published;

	inflight_is_published = false;
	return was_published;
}

/* A subtransaction merges into its parent, with its locks. */
void
es_inflight_commit_sub(SubTransactionId sub, SubTransactionId parent)
{
	if (inflight_is_published && inflight_sub == sub)
		inflight_sub = parent;
}

/* Like es_inflight_leave, where a subtransaction is rolled back. */
bool
es_inflight_abort_sub(SubTransactionId sub, int64 *position)
{
	if (!inflight_is_published || inflight_sub != sub)
		return false;
	*position = inflight_position(&inflight_tag);
	inflight_withdraw(CurTransactionResourceOwner);
	return true;
}

static bool
inflight_is_append(const PROCLOCK *held)
{
	const LOCKTAG *tag = &held->tag.myLock->tag;

	return tag->locktag_type == LOCKTAG_USERLOCK && tag->locktag_field4 == ES_USERLOCK_INFLIGHT &&
		tag->locktag_field1 == MyDatabaseId && held->holdMask != 0;
}

/* Take a session's locks in a partition into account; its lock is held. */
static void
inflight_add_locks(EsInflight *found, PGPROC *proc, int partition)
{
	PROCLOCK *held = NULL;

	while ((held = es_compat_next_proclock(proc, partition, held)) != NULL)
	{
		int64 position;

		if (!inflight_is_append(held))
			continue;
		position = inflight_position(&held->tag.myLock->tag);
		found->lowest = Min(found->lowest, position);
		if (proc != MyProc)
			found->lowest_of_others = Min(found->lowest_of_others, position);
		if (proc->pid == 0)
			found->has_prepared = true;
	}
}

/*
 * The sessions that may have an append in flight: those that have an xid now,
 * and all that stand for prepared transactions, as one of these may be handed
 * a lock while we look.  Returns their count.
 *
 * Whose append began before the caller read the last position given out has
 * its xid since before that, and the page's lock makes us see it.
 */
static int
inflight_find_writers(PGPROC **writers)
{
	int count = 0;
	uint32 i;

	for (i = 0; i < ProcGlobal->allProcCount; i++)
		if (TransactionIdIsValid(ProcGlobal->allProcs[i].xid))
			writers[count++] = &ProcGlobal->allProcs[i];
	/* allProcs holds the prepared transactions, too, but does not count them. */
	for (i = 0; i < (uint32) max_prepared_xacts; i++)
		writers[count++] = &ProcGlobal->allProcs[ProcGlobal->allProcCount + i];
	return count;
}

/*
 * Find the appends in flight in this database, at least those that had begun
 * when the caller read the last position given out.
 */
EsInflight
es_inflight_find(void)
{
	EsInflight found = {PG_INT64_MAX, PG_INT64_MAX, false};
	PGPROC **writers = palloc(sizeof(PGPROC *) *
							  (ProcGlobal->allProcCount + (uint32) max_prepared_xacts));
	int count = inflight_find_writers(writers);
	int partition;
	int i;

	for (partition = 0; count > 0 && partition < NUM_LOCK_PARTITIONS; partition++)
	{
		LWLock *lock = LockHashPartitionLockByIndex(partition);

		LWLockAcquire(lock, LW_SHARED);
		for (i = 0; i < count; i++)
			if (TransactionIdIsValid(writers[i]->xid))
				inflight_add_locks(&found, writers[i], partition);
		LWLockRelease(lock);
	}
	pfree(writers);
	return found;
}
