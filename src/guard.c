/*-------------------------------------------------------------------------
 *
 * guard.c
 *		What sessions that work on a subscription tell each other by locks.
 *
 * All are of type "userlock" in the lock manager, so they need no shared
 * memory of our own, end with their transaction, stay with a prepared one, and
 * the deadlock detector knows them:
 *
 *	 mutex		exclusive, for moments: whoever reads and writes shares.  Its
 *				holder waits for nothing.
 *	 use		shared, until commit: acks, and fetches that take partitions;
 *				exclusive, until commit: what changes the whole subscription.
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

#include "compat.h"
#include "guard.h"
#include "partition.h"
#include "userlock.h"
#include "wake.h"

static void
guard_acquire(uint64 object, EsUserlock kind, LOCKMODE mode)
{
	LOCKTAG tag = es_userlock_tag(kind, object);

	(void) LockAcquire(&tag, mode, false, false);
}

static bool
guard_try(uint64 object, EsUserlock kind, LOCKMODE mode)
{
	LOCKTAG tag = es_userlock_tag(kind, object);

	return LockAcquire(&tag, mode, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
guard_release(uint64 object, EsUserlock kind, LOCKMODE mode)
{
	LOCKTAG tag = es_userlock_tag(kind, object);

	(void) LockRelease(&tag, mode, false);
}

/* Whether another session holds a lock in whatever mode. */
static bool
guard_is_held(uint64 object, EsUserlock kind)
{
	if (!guard_try(object, kind, AccessExclusiveLock))
		return true;
	guard_release(object, kind, AccessExclusiveLock);
	return false;
}

/*
 * By what the locks of a subscription are told: two names of the same hash
 * only wait for each other more often than they need to.
 */
uint32
es_guard_key(const text *subscription)
{
	return (uint32) es_partition_hash(subscription);
}

/* Alone with the shares of a subscription, until es_guard_leave or an error. */
void
es_guard_enter(uint32 key)
{
	guard_acquire(key, ES_USERLOCK_MUTEX, ExclusiveLock);
}

void
es_guard_leave(uint32 key)
{
	guard_release(key, ES_USERLOCK_MUTEX, ExclusiveLock);
}

/* Keep the subscription from being changed as a whole until commit. */
void
es_guard_use(uint32 key)
{
	guard_acquire(key, ES_USERLOCK_USE, AccessShareLock);
}

/* The same without waiting.  Returns false if it is being changed. */
bool
es_guard_try_use(uint32 key)
{
	return guard_try(key, ES_USERLOCK_USE, AccessShareLock);
}

/* Undo the last es_guard_try_use. */
void
es_guard_end_use(uint32 key)
{
	guard_release(key, ES_USERLOCK_USE, AccessShareLock);
}

/* Wait for the open acks, and keep others out until commit. */
void
es_guard_change(uint32 key)
{
	guard_acquire(key, ES_USERLOCK_USE, AccessExclusiveLock);
}

/* The same without waiting.  Returns false if there are open acks. */
bool
es_guard_try_change(uint32 key)
{
	return guard_try(key, ES_USERLOCK_USE, AccessExclusiveLock);
}

/* This transaction writes for good what a share's consumer has done. */
void
es_guard_settle(int64 share)
{
	guard_acquire((uint64) share, ES_USERLOCK_SETTLES, AccessShareLock);
}

bool
es_guard_is_settling(int64 share)
{
	return guard_is_held((uint64) share, ES_USERLOCK_SETTLES);
}

/* Whether this transaction has done so. */
bool
es_guard_has_settled(int64 share)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_SETTLES, (uint64) share);

	return es_compat_lock_held_by_me(&tag, AccessShareLock);
}

/* Wait until no ack in a share is open. */
void
es_guard_wait_settled(int64 share)
{
	guard_acquire((uint64) share, ES_USERLOCK_SETTLES, AccessExclusiveLock);
	guard_release((uint64) share, ES_USERLOCK_SETTLES, AccessExclusiveLock);
}

/* Be woken with the consumers of a subscription, until es_guard_part. */
void
es_guard_join(uint32 key)
{
	guard_acquire(key, ES_USERLOCK_CONSUMERS, AccessShareLock);
}

void
es_guard_part(uint32 key)
{
	guard_release(key, ES_USERLOCK_CONSUMERS, AccessShareLock);
}

/* The consumer of a share sleeps, until es_guard_rise. */
void
es_guard_sleep(int64 share)
{
	guard_acquire((uint64) share, ES_USERLOCK_SLEEPS, AccessShareLock);
}

void
es_guard_rise(int64 share)
{
	guard_release((uint64) share, ES_USERLOCK_SLEEPS, AccessShareLock);
}

bool
es_guard_is_sleeping(int64 share)
{
	return guard_is_held((uint64) share, ES_USERLOCK_SLEEPS);
}

/* Wake the consumers of a subscription that wait.  Safe after commit. */
void
es_guard_wake(uint32 key)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_CONSUMERS, key);

	es_wake_holders(&tag);
}
