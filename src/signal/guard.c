/*-------------------------------------------------------------------------
 *
 * guard.c
 *		Guards: the locks by which sessions that work on one subscription keep out
 *		of each other's way, and know of each other.
 *
 * All are of type "userlock" in the lock manager, so they need no shared
 * memory of our own, end with their transaction, stay with a prepared one, and
 * the deadlock detector knows them:
 *
 *	 mutex		exclusive, for moments: whoever reads and writes shares.  Its
 *				holder waits for nothing.
 *	 use		shared, until commit: acks, and fetches for moments.
 *	 parks		the same by a fetch that parks events.
 *	 change		the same lock, exclusive, until commit: what changes the whole
 *				subscription.
 *	 tidies		exclusive, until commit: an ack that writes down what all know.
 *	 settles	of a share, until commit: an ack that is still open.  Nobody may
 *				take the share's partitions, even if its lease has ended.
 *	 gives up	the same by a fetch that parks events.
 *	 sleeps		of a share, while its consumer waits in es_fetch: it lives,
 *				even if its lease has ended.
 *	 waits		of a subscription, meanwhile: whom to wake.
 *	 replays	shared, until commit: who replays parked events.  Only where
 *				somebody has it is it looked for what he has changed.
 *
 * The holder of a lock is never asked; a lock is tested by taking it for a
 * moment, in a mode that conflicts, without waiting.
 *
 * Memory: none.  Locks: these.  Calls: partition, wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/subtrans.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/partition.h"
#include "base/userlock.h"
#include "signal/guard.h"
#include "signal/wake.h"

/*
 * As what each is taken, and the weakest mode that conflicts with it.  A fetch
 * that parks takes what an ack takes in another mode, to be told from it.
 */
static const struct
{
	EsUserlock kind;
	LOCKMODE mode;
	LOCKMODE against;
} guard_locks[] = {
	[ES_GUARD_MUTEX] = {ES_USERLOCK_MUTEX, ExclusiveLock, AccessExclusiveLock},
	[ES_GUARD_USE] = {ES_USERLOCK_USE, AccessShareLock, AccessExclusiveLock},
	[ES_GUARD_PARKS] = {ES_USERLOCK_USE, RowShareLock, ExclusiveLock},
	[ES_GUARD_CHANGE] = {ES_USERLOCK_USE, AccessExclusiveLock, AccessExclusiveLock},
	[ES_GUARD_TIDIES] = {ES_USERLOCK_TIDIES, ExclusiveLock, AccessExclusiveLock},
	[ES_GUARD_REPLAYS] = {ES_USERLOCK_REPLAYS, AccessShareLock, AccessExclusiveLock},
	[ES_GUARD_WAITS] = {ES_USERLOCK_CONSUMERS, AccessShareLock, AccessExclusiveLock},
	[ES_GUARD_SLEEPS] = {ES_USERLOCK_SLEEPS, AccessShareLock, AccessExclusiveLock},
	[ES_GUARD_SETTLES] = {ES_USERLOCK_SETTLES, AccessShareLock, AccessExclusiveLock},
	[ES_GUARD_GIVES_UP] = {ES_USERLOCK_SETTLES, RowShareLock, ExclusiveLock},
};

/*
 * By what the locks of a subscription are told: two names of the same hash
 * only wait for each other more often than they need to.
 */
uint32
es_guard_key(const text *subscription)
{
	return (uint32) es_partition_hash(subscription);
}

/* Take one, waiting for it; it ends with es_guard_release, or the transaction. */
void
es_guard_take(EsGuard guard, uint64 object)
{
	LOCKTAG tag = es_userlock_tag(guard_locks[guard].kind, object);

	(void) LockAcquire(&tag, guard_locks[guard].mode, false, false);
}

/* The same without waiting.  Returns false if it cannot be had now. */
bool
es_guard_try(EsGuard guard, uint64 object)
{
	LOCKTAG tag = es_userlock_tag(guard_locks[guard].kind, object);

	return LockAcquire(&tag, guard_locks[guard].mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/* Undo the last es_guard_take or es_guard_try of it. */
void
es_guard_release(EsGuard guard, uint64 object)
{
	LOCKTAG tag = es_userlock_tag(guard_locks[guard].kind, object);

	(void) LockRelease(&tag, guard_locks[guard].mode, false);
}

/* Whether another session has it. */
bool
es_guard_is_held(EsGuard guard, uint64 object)
{
	LOCKTAG tag = es_userlock_tag(guard_locks[guard].kind, object);
	LOCKMODE against = guard_locks[guard].against;

	if (LockAcquire(&tag, against, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	(void) LockRelease(&tag, against, false);
	return false;
}

/* Whether this transaction has it. */
bool
es_guard_is_mine(EsGuard guard, uint64 object)
{
	LOCKTAG tag = es_userlock_tag(guard_locks[guard].kind, object);

	return es_compat_lock_held_by_me(&tag, guard_locks[guard].mode);
}

/* Wait until no other session has it. */
void
es_guard_await(EsGuard guard, uint64 object)
{
	LOCKTAG tag = es_userlock_tag(guard_locks[guard].kind, object);
	LOCKMODE against = guard_locks[guard].against;

	(void) LockAcquire(&tag, against, false, false);
	(void) LockRelease(&tag, against, false);
}

/* ----------------------------------------------------------------------
 * Waiting for a transaction that has only fetched, which may have stalled
 * ----------------------------------------------------------------------
 */

/*
 * Take a lock and let go of it.  Returns false if it can not be had until a
 * time, where lock_timeout is not sooner; then the caller has to raise an
 * error, as that is what the wait ends with.
 */
static bool
guard_wait(const LOCKTAG *tag, LOCKMODE mode, TimestampTz until)
{
	long ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
	int before = LockTimeout;
	bool is_ours = before <= 0 || ms < before;

	if (LockAcquire(tag, mode, false, true) == LOCKACQUIRE_NOT_AVAIL)
	{
		PG_TRY();
		{
			if (is_ours)
				LockTimeout = (int) Min(Max(ms, 1), PG_INT32_MAX);
			(void) LockAcquire(tag, mode, false, false);
			LockTimeout = before;
		}
		PG_CATCH();
		{
			LockTimeout = before;
			if (!is_ours || geterrcode() != ERRCODE_LOCK_NOT_AVAILABLE)
				PG_RE_THROW();
			FlushErrorState();
			return false;
		}
		PG_END_TRY();
	}
	(void) LockRelease(tag, mode, false);
	return true;
}

/* A process that holds a lock; 0: none does any more. */
static int
guard_find_holder(const LOCKTAG *tag, LOCKMODE against)
{
	int count;
	VirtualTransactionId *holders = GetLockConflicts(tag, against, &count);
	PGPROC *proc = count == 0 ? NULL : es_compat_vxid_proc(holders[0]);

	return proc == NULL ? 0 : proc->pid;
}

/*
 * Wait until no fetch of another session has it, ES_GUARD_PARKS or
 * ES_GUARD_GIVES_UP.  Raises 55P03 if one still has it at a time.
 */
void
es_guard_await_fetch(EsGuard guard, uint64 object, const text *subscription, TimestampTz until)
{
	LOCKTAG tag = es_userlock_tag(guard_locks[guard].kind, object);
	LOCKMODE against = guard_locks[guard].against;

	if (!guard_wait(&tag, against, until))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("subscription \"%s\" is in use by a transaction that has fetched from it",
						text_to_cstring(subscription)),
				 errdetail("Process %d has parked events, and for longer than a lease not ended its "
						   "transaction.",
						   guard_find_holder(&tag, against)),
				 errhint("End that transaction, or its session, and try again.")));
}

/*
 * Wait for a transaction to end.  Returns false if it has not at a time; then
 * the caller has to raise an error.
 */
bool
es_guard_await_transaction(TransactionId xid, TimestampTz until)
{
	LOCKTAG tag;

	SET_LOCKTAG_TRANSACTION(tag, SubTransGetTopmostTransaction(xid));
	return guard_wait(&tag, ShareLock, until);
}

/* Wake the consumers of a subscription that wait.  Safe after commit. */
void
es_guard_wake(uint32 key)
{
	LOCKTAG tag = es_userlock_tag(guard_locks[ES_GUARD_WAITS].kind, key);

	es_wake_holders(&tag);
}
