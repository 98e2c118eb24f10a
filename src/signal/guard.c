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
 *	 use		shared, until commit: acks, and fetches that take partitions.
 *	 change		the same lock, exclusive, until commit: what changes the whole
 *				subscription.
 *	 settles	of a share, until commit: an ack that is still open.  Nobody may
 *				take the share's partitions, even if its lease has ended.
 *	 sleeps		of a share, while its consumer waits in es_fetch: it lives,
 *				even if its lease has ended.
 *	 waits		of a subscription, meanwhile: whom to wake.
 *
 * The holder of a lock is never asked; a lock is tested by taking it for a
 * moment, in a mode that conflicts, without waiting.
 *
 * Memory: none.  Locks: these.  Calls: partition, wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lock.h"

#include "base/compat.h"
#include "base/partition.h"
#include "base/userlock.h"
#include "signal/guard.h"
#include "signal/wake.h"

/* As what each is taken. */
static const struct
{
	EsUserlock kind;
	LOCKMODE mode;
} guard_locks[] = {
	[ES_GUARD_MUTEX] = {ES_USERLOCK_MUTEX, ExclusiveLock},
	[ES_GUARD_USE] = {ES_USERLOCK_USE, AccessShareLock},
	[ES_GUARD_CHANGE] = {ES_USERLOCK_USE, AccessExclusiveLock},
	[ES_GUARD_WAITS] = {ES_USERLOCK_CONSUMERS, AccessShareLock},
	[ES_GUARD_SLEEPS] = {ES_USERLOCK_SLEEPS, AccessShareLock},
	[ES_GUARD_SETTLES] = {ES_USERLOCK_SETTLES, AccessShareLock},
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

	if (LockAcquire(&tag, AccessExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	(void) LockRelease(&tag, AccessExclusiveLock, false);
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

	(void) LockAcquire(&tag, AccessExclusiveLock, false, false);
	(void) LockRelease(&tag, AccessExclusiveLock, false);
}

/* Wake the consumers of a subscription that wait.  Safe after commit. */
void
es_guard_wake(uint32 key)
{
	LOCKTAG tag = es_userlock_tag(guard_locks[ES_GUARD_WAITS].kind, key);

	es_wake_holders(&tag);
}
