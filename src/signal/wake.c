/*-------------------------------------------------------------------------
 *
 * wake.c
 *		Sessions that wait for the head to move.
 *
 * A waiting session holds a shared lock of type "userlock" whose tag says
 * "waits in this database".  Who wants to wake all asks the lock manager who
 * holds it, and sets their latches.  So waiting needs neither shared memory
 * of our own nor polling.
 *
 * Memory: the current context.  Locks: the waiter's, while it waits; nobody
 * ever waits for it.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"

#include "base/compat.h"
#include "base/userlock.h"
#include "signal/wake.h"

/* Be woken from now on, by MyLatch, until es_wake_part or an error. */
void
es_wake_join(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_WAITS, 0);

	(void) LockAcquire(&tag, AccessShareLock, false, false);
}

void
es_wake_part(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_WAITS, 0);

	(void) LockRelease(&tag, AccessShareLock, false);
}

/*
 * Wake every session that holds a lock, in whatever mode.  Safe after commit:
 * it raises nothing but out of memory.
 */
void
es_wake_holders(const LOCKTAG *tag)
{
	int count;
	VirtualTransactionId *waiters = GetLockConflicts(tag, AccessExclusiveLock, &count);
	int i;

	for (i = 0; i < count; i++)
	{
		PGPROC *proc = es_compat_vxid_proc(waiters[i]);

		if (proc != NULL)
			SetLatch(&proc->procLatch);
	}
	pfree(waiters);
}

/* Wake every session that waits in this database.  Safe after commit. */
void
es_wake_waiters(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_WAITS, 0);

	es_wake_holders(&tag);
}
