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
 * Where logical replication feeds the events, what is forgotten comes from the
 * store that they come from, with the rows that tell of it; such rows made here
 * would be in the way of those.
 *
 * Memory: none.  Locks: userlock "custody".  Calls: floor, member.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "storage/lock.h"

#include "base/compat.h"
#include "base/userlock.h"
#include "keeping/custody.h"
#include "order/floor.h"
#include "order/member.h"

/*
 * This transaction is about to take events from history, or to change them: to
 * be called before anything is locked or looked up.  Raises 55000 where the
 * events are another store's.
 */
void
es_custody_alter(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_CUSTODY, 0);

	if (es_floor_is_fed() || es_member_get()->is_mirror)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("events of this store come by logical replication"),
				 errdetail("What is forgotten where they come from is forgotten here, too."),
				 errhint("Forget them there; or drop the subscription first.")));
	(void) LockAcquire(&tag, RowExclusiveLock, false, false);
}

/*
 * The same, without waiting; returns false if a seal is being made, or waits for
 * others, or if the events are another store's.
 */
bool
es_custody_try_alter(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_CUSTODY, 0);

	return !es_floor_is_fed() && !es_member_get()->is_mirror &&
		LockAcquire(&tag, RowExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
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
