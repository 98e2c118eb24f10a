/*-------------------------------------------------------------------------
 *
 * fence.c
 *		Changing which streams a store takes, while others append.
 *
 * Who gives up slots must not be done before the last append to them has been
 * committed, or has vanished, and no other may come later.  Others are not to wait
 * for that, and no append is to pay for it at other times.  So who changes what the
 * store is (member.c)
 *
 * 1. writes the row, which others see by a dirty snapshot at once,
 * 2. takes the userlock "fence", to the end of its transaction,
 * 3. disowns the sequence of positions, so that everybody who takes some has to
 *	  look, and
 * 4. waits for the transactions that have events in slots that it gives up: it finds
 *	  them in the table, once everybody has closed the window between positions and
 *	  rows.
 *
 * Who appends looks where it does not find the sequence as it expects it, with the
 * epoch of the row that it knows.  It holds the userlock for as long as it takes
 * positions, and makes the sequence ours again, in the epoch of the row as it is.
 * If it does not get the lock, somebody is about to change the row: it goes on
 * where it appends to streams that the store will take, too, but leaves the sequence
 * as it is; to others, it waits for what becomes of it, unless its transaction is
 * one that step 4 waits for.  So an append either is before step 3, and found by
 * step 4, or comes to know.
 *
 * A prepared transaction is found like any other.  es_assert_version takes no
 * positions, and holds the lock for as long as what it says has to hold.
 *
 * Memory: the current context.  Locks: the userlock, see above; who puts the fence
 * up waits for transactions.  Calls: catalog, compat, inflight, member,
 * partition, position, scan, window.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/scan.h"
#include "base/userlock.h"
#include "order/fence.h"
#include "order/inflight.h"
#include "order/member.h"
#include "order/position.h"
#include "order/window.h"

static bool
fence_lock(LOCKMODE mode, bool waits)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_FENCE, 0);

	return LockAcquire(&tag, mode, false, !waits) != LOCKACQUIRE_NOT_AVAIL;
}

/* Whether it is this transaction that has put it up. */
static bool
fence_is_ours(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_FENCE, 0);

	return es_compat_lock_held_by_me(&tag, AccessExclusiveLock);
}

/* ----------------------------------------------------------------------
 * Events in slots that are given up
 * ----------------------------------------------------------------------
 */

/*
 * Look for events of open transactions in streams that a store does not take.
 *
 * own: whether to look for those of this transaction, or for those of others.
 *
 * Returns the transaction of the first; InvalidTransactionId: there is none.
 */
static TransactionId
fence_find_open(const EsMember *member, bool own)
{
	EsInflight in_flight = es_inflight_find();
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	TransactionId found = InvalidTransactionId;
	SnapshotData dirty;
	EsScan scan;

	if (in_flight.lowest == PG_INT64_MAX)
	{
		relation_close(events, NoLock);
		return found;
	}
	InitDirtySnapshot(dirty);
	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(in_flight.lowest));
	es_scan_begin(&scan, &dirty);
	while (!TransactionIdIsValid(found) && es_scan_next(&scan, ForwardScanDirection))
	{
		TransactionId writer = dirty.xmin;
		bool is_null;

		CHECK_FOR_INTERRUPTS();
		if (own)
		{
			writer = DatumGetTransactionId(
				slot_getsysattr(scan.slot, MinTransactionIdAttributeNumber, &is_null));
			if (!TransactionIdIsCurrentTransactionId(writer))
				continue;
		}
		if (TransactionIdIsValid(writer) &&
			!es_member_takes(member,
							 DatumGetTextPP(slot_getattr(scan.slot, Anum_events_stream, &is_null))))
			found = writer;
	}
	es_scan_close(&scan);
	relation_close(events, NoLock);
	return found;
}

/* ----------------------------------------------------------------------
 * Who appends
 * ----------------------------------------------------------------------
 */

/* Whether a store takes all streams of a call. */
static bool
fence_takes_all(const EsMember *member, EsAppend *const *appends, int append_count)
{
	int i;

	for (i = 0; i < append_count; i++)
		if (!es_member_takes(member, appends[i]->stream))
			return false;
	return true;
}

/*
 * Come by, or wait for who has put it up.  Returns whether the lock is held now;
 * else what is appended goes to streams that the store takes in any case.
 */
static bool
fence_pass(EsAppend *const *appends, int append_count)
{
	SnapshotData dirty;
	EsMember coming;
	bool is_open;

	if (fence_is_ours())
		return false;
	if (fence_lock(AccessShareLock, false))
		return true;

	InitDirtySnapshot(dirty);
	es_member_read(&coming, &dirty);
	if (!coming.is_mirror && fence_takes_all(&coming, appends, append_count))
		return false;
	if (TransactionIdIsValid(fence_find_open(&coming, true)))
		return false;
	/* Nobody waits for us meanwhile. */
	is_open = es_window_suspend();
	(void) fence_lock(AccessShareLock, true);
	if (is_open)
		es_window_resume();
	return true;
}

/*
 * Make sure of what the store takes and gives out, before positions are taken for
 * a call.  End with es_fence_leave if it returns true; false: somebody is about to
 * change it, and has to find the sequence as it is.
 *
 * Raises SE009 or 55000 where the store does not take what the call has.
 */
bool
es_fence_enter(EsAppend *const *appends, int append_count)
{
	bool is_held = fence_pass(appends, append_count);
	int i;

	(void) es_member_get_anew();
	for (i = 0; i < append_count; i++)
		es_member_check_stream(appends[i]->stream);
	return is_held;
}

void
es_fence_leave(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_FENCE, 0);

	(void) LockRelease(&tag, AccessShareLock, false);
}

/*
 * Make sure that the store takes a stream until this transaction is over, though
 * nothing is appended to it.
 */
void
es_fence_assert(const text *stream)
{
	EsAppend append = {.stream = (text *) stream};
	EsAppend *appends[] = {&append};

	(void) fence_pass(appends, 1);
	AcceptInvalidationMessages();
	es_member_check_stream(stream);
}

/*
 * Keep others from putting it up until this transaction is over, having waited for
 * who has.  Returns false if that is this transaction.
 */
bool
es_fence_keep_down(void)
{
	return !fence_is_ours() && fence_lock(AccessShareLock, true);
}

/* ----------------------------------------------------------------------
 * Who changes what the store is
 * ----------------------------------------------------------------------
 */

/*
 * Have what this transaction has written into eventstore.member hold: when it
 * returns, no other transaction is open that has appended to a stream which the
 * store does not take by that, and none will until this one is over; those that
 * come then know.
 */
void
es_fence_put_up(void)
{
	Relation rel = es_catalog_open(ES_MEMBER, RowExclusiveLock);
	const EsMember *member;
	TransactionId open;

	CacheInvalidateRelcache(rel);
	relation_close(rel, NoLock);
	CommandCounterIncrement();
	member = es_member_get_anew();

	(void) fence_lock(AccessExclusiveLock, true);
	es_position_disown(false);
	es_window_wait_for_others();
	while (TransactionIdIsValid(open = fence_find_open(member, false)))
		XactLockTableWait(open, NULL, NULL, XLTW_None);
}
