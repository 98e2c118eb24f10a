/*-------------------------------------------------------------------------
 *
 * announce.c
 *		NOTIFY, as long as its queue has room.
 *
 * The cluster has one queue for all notifications.  A session that LISTENs to
 * whatever and stays in a transaction keeps them there, and when the queue is
 * full, every transaction with a NOTIFY fails at its commit.  No append may
 * fail for that: beyond eventstore.notify_queue_limit nothing of ours goes into
 * the queue.  What is announced is where the store stands, so nothing is lost
 * that the next announcement does not make good.
 *
 * Transactions that NOTIFY commit one by one, by a lock that PreCommit_Notify
 * takes.  es_announce_begin takes it a moment earlier: then nobody else can
 * fill the queue between the look and the commit.
 *
 * The log tells it once.  A session that has told holds a lock until it finds
 * room again, or ends; who does not get that lock keeps still.
 *
 * Memory: the transaction's context.  Locks: NOTIFY's own, to the end of the
 * transaction; the userlock "told", by the session.  Calls: channel, pending, settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "commands/async.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/settings.h"
#include "base/userlock.h"
#include "signal/announce.h"
#include "signal/channel.h"
#include "signal/pending.h"

/* What a notification takes in the queue at the most, channel and head included. */
#define ANNOUNCE_BYTES 128

/* Whether this session has found the queue full at its last look. */
static bool announce_is_held_back = false;

/*
 * How full the queue is, from 0 to 1.  What all have read already is removed
 * before.
 */
double
es_announce_queue_usage(void)
{
	LOCAL_FCINFO(call, 0);

	InitFunctionCallInfoData(*call, NULL, 0, InvalidOid, NULL, NULL);
	return DatumGetFloat8(pg_notification_queue_usage(call));
}

/* Whether what is pending leaves the queue below its limit. */
bool
es_announce_has_room(void)
{
	double pages = 1 + (1.0 + es_pending_count()) * ANNOUNCE_BYTES / BLCKSZ;

	return es_announce_queue_usage() + pages / es_compat_notify_pages() <=
		es_guc_notify_queue_limit;
}

/* Held by the session that has told the log: of the kind that a rollback leaves alone. */
static LOCKTAG
announce_told(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_TOLD, 0);

	tag.locktag_lockmethodid = USER_LOCKMETHOD;
	return tag;
}

static void
announce_tell_full(void)
{
	LOCKTAG tag = announce_told();

	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return;
	ereport(LOG_SERVER_ONLY,
			(errmsg("eventstore sends no NOTIFY for now, as the queue is %.0f%% full",
					es_announce_queue_usage() * 100),
			 errdetail("Sessions that LISTEN are not told of new events; appends, es_wait() and es_fetch() go on."),
			 errhint("A session that LISTENs has been in a transaction for long: end it. \"%s.%s\" shows the queue.",
					 ES_SCHEMA, "notify_status")));
}

static void
announce_tell_room(void)
{
	LOCKTAG tag = announce_told();

	/* DISCARD ALL takes it from the session. */
	if (!es_compat_lock_held_by_me(&tag, ExclusiveLock))
		return;
	(void) LockRelease(&tag, ExclusiveLock, true);
	ereport(LOG_SERVER_ONLY, (errmsg("eventstore sends NOTIFY again")));
}

/*
 * Begin to announce, right before the end of the transaction: whoever else has
 * a NOTIFY waits for it from now on.
 *
 * Returns false if there is no room for what is pending.
 */
bool
es_announce_begin(void)
{
	bool is_held_back;

	LockSharedObject(DatabaseRelationId, InvalidOid, 0, AccessExclusiveLock);
	is_held_back = !es_announce_has_room();
	if (is_held_back && !announce_is_held_back)
		announce_tell_full();
	else if (!is_held_back && announce_is_held_back)
		announce_tell_room();
	announce_is_held_back = is_held_back;
	return !is_held_back;
}

/*
 * Announce a head to who listens to everything, and to the categories that are
 * pending.
 */
void
es_announce_pending(int64 head)
{
	MemoryContext caller = MemoryContextSwitchTo(TopTransactionContext);
	char *payload = psprintf("%lld", (long long) head);
	int i;

	Async_Notify(es_channel_name(NULL), payload);
	for (i = 0; i < es_pending_count(); i++)
		Async_Notify(es_channel_name(es_pending_get(i)), payload);
	MemoryContextSwitchTo(caller);
}
