/*-------------------------------------------------------------------------
 *
 * wake.c
 *		Sessions that wait for events, and how they are woken.
 *
 * A session that waits says so by shared locks of type "userlock".  Who wants
 * to wake some asks the lock manager who holds a lock, and sets their latches.
 * So waiting needs neither shared memory of our own nor polling.
 *
 *	 waits				every session that waits, in one of two modes: weaker,
 *						where it listens to topics; stronger, where it is to hear
 *						of every event and every move of the head
 *	 waits, a topic		events of a category; of a type; of a type in a category
 *	 waits behind		the end of an append in flight, by the position that it
 *						has published: one that keeps the head below an event
 *						that the session waits for
 *
 * A topic is a hash: two of the same only wake each other's listeners in vain.
 * Whoever listens has to do so before it looks whether there is something; then
 * what it does not find wakes it.
 *
 * Memory: the current context, for moments; what a session listens to is its
 * caller's, and ends with the transaction at the latest.  Locks: these, while it
 * waits; nobody ever waits for them.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"

#include "base/compat.h"
#include "base/userlock.h"
#include "signal/wake.h"

/* How a session that waits holds its lock, and what conflicts with ... */
#define WAKE_SPECIFIC AccessShareLock
#define WAKE_GENERAL  RowShareLock
/* ... either, and with the latter only. */
#define WAKE_AGAINST_ALL     AccessExclusiveLock
#define WAKE_AGAINST_GENERAL ExclusiveLock

/* What a topic is a hash of, in the upper half of the lock's object. */
typedef enum WakeTopic
{
	WAKE_CATEGORY = 1,
	WAKE_TYPE,
	WAKE_CATEGORY_TYPE
} WakeTopic;

static uint64
wake_topic(WakeTopic topic, uint32 hash)
{
	return (uint64) topic << 32 | hash;
}

/* The hash of a category or of a type, as topics are made of. */
uint32
es_wake_hash(const text *name)
{
	return hash_bytes((const unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/* ----------------------------------------------------------------------
 * Listening
 * ----------------------------------------------------------------------
 */

static void
wake_take(EsUserlock kind, uint64 object, LOCKMODE mode)
{
	LOCKTAG tag = es_userlock_tag(kind, object);

	(void) LockAcquire(&tag, mode, false, false);
}

static void
wake_release(EsUserlock kind, uint64 object, LOCKMODE mode)
{
	LOCKTAG tag = es_userlock_tag(kind, object);

	(void) LockRelease(&tag, mode, false);
}

static void
wake_add_topic(EsListener *listener, WakeTopic topic, uint32 hash)
{
	listener->topics[listener->count++] = wake_topic(topic, hash);
}

/* What a session listens to that waits for something. */
static EsListener
wake_choose(const EsWanted *wanted)
{
	EsListener chosen = {.is_listening = true};
	bool has_types = wanted->types != NULL && wanted->type_count <= ES_WAKE_MAX_TYPES;
	uint32 category = wanted->category == NULL ? 0 : es_wake_hash(wanted->category);
	int i;

	if (wanted->is_nothing)
		return chosen;
	if (!has_types && wanted->category == NULL)
		chosen.is_general = true;
	else if (!has_types)
		wake_add_topic(&chosen, WAKE_CATEGORY, category);
	for (i = 0; has_types && i < wanted->type_count; i++)
	{
		uint32 type = es_wake_hash((const text *) DatumGetPointer(wanted->types[i]));

		if (wanted->category == NULL)
			wake_add_topic(&chosen, WAKE_TYPE, type);
		else
			wake_add_topic(&chosen, WAKE_CATEGORY_TYPE, hash_combine(category, type));
	}
	return chosen;
}

static LOCKMODE
wake_mode(const EsListener *listener)
{
	return listener->is_general ? WAKE_GENERAL : WAKE_SPECIFIC;
}

/* Let go of all but what it waits behind. */
static void
wake_unlisten(const EsListener *listener)
{
	int i;

	for (i = 0; i < listener->count; i++)
		wake_release(ES_USERLOCK_WAITS, listener->topics[i], AccessShareLock);
	if (listener->is_listening)
		wake_release(ES_USERLOCK_WAITS, 0, wake_mode(listener));
}

/*
 * Be woken from now on, by MyLatch, when there may be something of what is
 * wanted; until es_wake_part, or an error.
 *
 * listener: what it was until now.
 */
void
es_wake_listen(EsListener *listener, const EsWanted *wanted)
{
	EsListener chosen = wake_choose(wanted);
	int i;

	chosen.is_behind = listener->is_behind;
	chosen.behind = listener->behind;
	if (listener->is_listening && chosen.is_general == listener->is_general &&
		chosen.count == listener->count &&
		memcmp(chosen.topics, listener->topics, sizeof(uint64) * chosen.count) == 0)
		return;

	/* In this order: there is no moment without. */
	wake_take(ES_USERLOCK_WAITS, 0, wake_mode(&chosen));
	for (i = 0; i < chosen.count; i++)
		wake_take(ES_USERLOCK_WAITS, chosen.topics[i], AccessShareLock);
	wake_unlisten(listener);
	*listener = chosen;
}

/*
 * Be woken by the end of an append in flight, too, and by that of no other as
 * it was before.
 *
 * position: what it has published; -1: none.
 */
void
es_wake_listen_behind(EsListener *listener, int64 position)
{
	if (position >= 0)
		wake_take(ES_USERLOCK_BEHIND, (uint64) position, AccessShareLock);
	if (listener->is_behind)
		wake_release(ES_USERLOCK_BEHIND, (uint64) listener->behind, AccessShareLock);
	listener->is_behind = position >= 0;
	listener->behind = position;
}

void
es_wake_part(EsListener *listener)
{
	es_wake_listen_behind(listener, -1);
	wake_unlisten(listener);
	listener->is_listening = false;
}

/* ----------------------------------------------------------------------
 * Waking
 *
 * Safe after commit: it raises nothing but out of memory.
 * ----------------------------------------------------------------------
 */

/* Wake who holds a lock in a mode that conflicts.  Returns how many do. */
static int
wake_conflicting(const LOCKTAG *tag, LOCKMODE against, bool is_woken)
{
	int count;
	VirtualTransactionId *waiters = GetLockConflicts(tag, against, &count);
	int i;

	for (i = 0; is_woken && i < count; i++)
	{
		PGPROC *proc = es_compat_vxid_proc(waiters[i]);

		if (proc != NULL)
			SetLatch(&proc->procLatch);
	}
	pfree(waiters);
	return count;
}

/* Wake every session that holds a lock, in whatever mode. */
void
es_wake_holders(const LOCKTAG *tag)
{
	(void) wake_conflicting(tag, AccessExclusiveLock, true);
}

/* Whether any session waits in this database. */
bool
es_wake_has_listeners(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_WAITS, 0);

	return wake_conflicting(&tag, WAKE_AGAINST_ALL, false) > 0;
}

/* How many other sessions wait in this database. */
int
es_wake_count_listeners(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_WAITS, 0);

	return wake_conflicting(&tag, WAKE_AGAINST_ALL, false);
}

/* Wake every session that waits in this database, whatever it waits for. */
void
es_wake_all(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_WAITS, 0);

	(void) wake_conflicting(&tag, WAKE_AGAINST_ALL, true);
}

/* Wake those that are to hear of everything: the head has moved. */
void
es_wake_general(void)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_WAITS, 0);

	(void) wake_conflicting(&tag, WAKE_AGAINST_GENERAL, true);
}

/* Wake those that wait behind an append, which is over. */
void
es_wake_behind(int64 position)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_BEHIND, (uint64) position);

	es_wake_holders(&tag);
}

static void
wake_topic_listeners(WakeTopic topic, uint32 hash)
{
	LOCKTAG tag = es_userlock_tag(ES_USERLOCK_WAITS, wake_topic(topic, hash));

	es_wake_holders(&tag);
}

/*
 * Wake those that listen to an event's topics.
 *
 * category, type: es_wake_hash of its.
 */
void
es_wake_event(uint32 category, uint32 type)
{
	wake_topic_listeners(WAKE_CATEGORY, category);
	wake_topic_listeners(WAKE_TYPE, type);
	wake_topic_listeners(WAKE_CATEGORY_TYPE, hash_combine(category, type));
}
