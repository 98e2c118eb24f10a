/*-------------------------------------------------------------------------
 *
 * custody.c
 *		Who takes events from history, or changes them, and who seals it.
 *
 * What truncates, deletes, redacts or retains takes a lock before it looks which
 * events are to go, and holds it until its transaction is over; any number do at
 * once.  A seal waits for them all, finds out up to where history is final, and
 * lets go: what begins later finds events that are sealed, and leaves a digest
 * of each of them.
 *
 * Memory: none.  Locks: userlock "custody".  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/lock.h"

#include "base/userlock.h"
#include "keeping/custody.h"

/*
 * This transaction is about to take events from history, or to change them: to
 * be called before anything is locked or looked up.
 */
void
es_custody_alter(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_CUSTODY, 0);

	(void) LockAcquire(&tag, RowExclusiveLock, false, false);
}

/*
 * The same, without waiting; returns false if a seal is being made, or waits for
 * others.
 */
bool
es_custody_try_alter(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_CUSTODY, 0);

	return LockAcquire(&tag, RowExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * Have nobody be about to, until es_custody_unsettle, which is to follow soon.
 * Returns false if somebody is and we may not wait.
 */
bool
es_custody_settle(bool may_wait)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_CUSTODY, 0);

	return LockAcquire(&tag, ShareLock, false, !may_wait) != LOCKACQUIRE_NOT_AVAIL;
}

void
es_custody_unsettle(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_CUSTODY, 0);

	(void) LockRelease(&tag, ShareLock, false);
}
