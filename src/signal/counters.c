/*-------------------------------------------------------------------------
 *
 * counters.c
 *		What has been appended and refused since the server began, counted.
 *
 * There only where the library is preloaded.  One slot a store, of four numbers
 * that sessions add to without a lock.  An append counts when its transaction
 * commits: until then it is counted here, for each open subtransaction that has
 * appended, as last.c does it, so that what is rolled back to a savepoint does
 * not count.  One that is prepared does not count either: who commits it knows
 * nothing of it.  A conflict and a retry count at once.
 *
 * A slot is of one store: one that is made anew begins at nothing.  Slots are
 * not given back; where there are none left, a store is not counted.
 *
 * Memory: shared memory of fixed size; a stack in TopMemoryContext.  Locks: the
 * LWLock of the tranche "eventstore counters", for a moment, to get a slot.  Calls:
 * nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "signal/counters.h"

/* Databases that are counted for, since the server began. */
#define COUNTERS_SLOTS 256

typedef struct CountersSlot
{
	Oid database; /* InvalidOid: the slot is free */
	Oid store;    /* OID of its sequence of positions */
	TimestampTz since;
	pg_atomic_uint64 appends;
	pg_atomic_uint64 events;
	pg_atomic_uint64 conflicts;
	pg_atomic_uint64 retries;
} CountersSlot;

typedef struct Counters
{
	LWLock *lock;
	CountersSlot slots[COUNTERS_SLOTS];
} Counters;

/* What an open (sub)transaction has appended. */
typedef struct CountersOpen
{
	SubTransactionId sub;
	int64 appends;
	int64 events;
} CountersOpen;

static Counters *counters = NULL;
static CountersSlot *counters_slot = NULL; /* this session's */
static shmem_request_hook_type counters_previous_request = NULL;
static shmem_startup_hook_type counters_previous_startup = NULL;

/* Of the open (sub)transactions that have appended, the innermost last. */
static CountersOpen *counters_stack = NULL;
static int counters_depth = 0;
static int counters_limit = 0;

static void
counters_on_request(void)
{
	if (counters_previous_request)
		counters_previous_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Counters)));
	RequestNamedLWLockTranche("eventstore counters", 1);
}

static void
counters_on_startup(void)
{
	bool is_found;
	int i;

	if (counters_previous_startup)
		counters_previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	counters = ShmemInitStruct("eventstore counters", sizeof(Counters), &is_found);
	if (!is_found)
	{
		memset(counters, 0, sizeof(Counters));
		for (i = 0; i < COUNTERS_SLOTS; i++)
		{
			CountersSlot *slot = &counters->slots[i];

			pg_atomic_init_u64(&slot->appends, 0);
			pg_atomic_init_u64(&slot->events, 0);
			pg_atomic_init_u64(&slot->conflicts, 0);
			pg_atomic_init_u64(&slot->retries, 0);
		}
		counters->lock = &GetNamedLWLockTranche("eventstore counters")->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Called by _PG_init, when the library is preloaded. */
void
es_counters_request(void)
{
	counters_previous_request = shmem_request_hook;
	shmem_request_hook = counters_on_request;
	counters_previous_startup = shmem_startup_hook;
	shmem_startup_hook = counters_on_startup;
}

/* The slot of this database, or a free one; NULL: there is none left. */
static CountersSlot *
counters_look(void)
{
	int i;

	for (i = 0; i < COUNTERS_SLOTS; i++)
	{
		CountersSlot *slot = &counters->slots[i];

		if (slot->database == MyDatabaseId || !OidIsValid(slot->database))
			return slot;
	}
	return NULL;
}

/* Begin to count for a store, unless somebody has. */
static CountersSlot *
counters_claim(Oid store)
{
	CountersSlot *slot;

	LWLockAcquire(counters->lock, LW_EXCLUSIVE);
	slot = counters_look();
	if (slot != NULL && (slot->database != MyDatabaseId || slot->store != store))
	{
		pg_atomic_write_u64(&slot->appends, 0);
		pg_atomic_write_u64(&slot->events, 0);
		pg_atomic_write_u64(&slot->conflicts, 0);
		pg_atomic_write_u64(&slot->retries, 0);
		slot->since = GetCurrentTimestamp();
		slot->store = store;
		slot->database = MyDatabaseId;
	}
	LWLockRelease(counters->lock);
	return slot;
}

/* Where this session counts for a store; NULL: nowhere. */
static inline CountersSlot *
counters_of(Oid store)
{
	if (counters == NULL)
		return NULL;
	if (unlikely(counters_slot == NULL || counters_slot->store != store))
		counters_slot = counters_claim(store);
	return counters_slot;
}

static void
counters_push(SubTransactionId sub)
{
	if (counters_depth == counters_limit)
	{
		int limit = Max(8, counters_limit * 2);

		if (counters_stack == NULL)
			counters_stack = MemoryContextAlloc(TopMemoryContext, sizeof(CountersOpen) * limit);
		else
			counters_stack = repalloc(counters_stack, sizeof(CountersOpen) * limit);
		counters_limit = limit;
	}
	counters_stack[counters_depth].sub = sub;
	counters_stack[counters_depth].appends = counters_stack[counters_depth].events = 0;
	counters_depth++;
}

/* This transaction appends events; if it commits, it counts. */
void
es_counters_append(Oid store, int event_count)
{
	SubTransactionId sub = GetCurrentSubTransactionId();

	if (counters_of(store) == NULL)
		return;
	if (counters_depth == 0 || counters_stack[counters_depth - 1].sub != sub)
		counters_push(sub);
	counters_stack[counters_depth - 1].appends++;
	counters_stack[counters_depth - 1].events += event_count;
}

/* An append is refused, as it was decided on something that is not so any more. */
void
es_counters_conflict(Oid store)
{
	CountersSlot *slot = counters_of(store);

	if (slot != NULL)
		pg_atomic_fetch_add_u64(&slot->conflicts, 1);
}

/* Appends were exact retries, and stored nothing. */
void
es_counters_retry(Oid store, int count)
{
	CountersSlot *slot = counters_of(store);

	if (slot != NULL)
		pg_atomic_fetch_add_u64(&slot->retries, count);
}

/*
 * What has been counted for a store; from now on if nothing was yet.  Returns
 * false if it is not counted.
 */
bool
es_counters_get(Oid store, EsCounts *counts)
{
	CountersSlot *slot = counters_of(store);

	if (slot == NULL)
		return false;
	counts->appends = (int64) pg_atomic_read_u64(&slot->appends);
	counts->events = (int64) pg_atomic_read_u64(&slot->events);
	counts->conflicts = (int64) pg_atomic_read_u64(&slot->conflicts);
	counts->retries = (int64) pg_atomic_read_u64(&slot->retries);
	counts->since = slot->since;
	return true;
}

/* ----------------------------------------------------------------------
 * The end of transactions
 * ----------------------------------------------------------------------
 */

/* The transaction is committed. */
void
es_counters_keep(void)
{
	int i;

	for (i = 0; i < counters_depth && counters_slot != NULL; i++)
	{
		pg_atomic_fetch_add_u64(&counters_slot->appends, counters_stack[i].appends);
		pg_atomic_fetch_add_u64(&counters_slot->events, counters_stack[i].events);
	}
	counters_depth = 0;
}

/* The transaction is rolled back, or prepared. */
void
es_counters_forget(void)
{
	counters_depth = 0;
}

/* A subtransaction merges into its parent. */
void
es_counters_keep_sub(SubTransactionId sub, SubTransactionId parent)
{
	CountersOpen *open;

	if (counters_depth == 0 || counters_stack[counters_depth - 1].sub != sub)
		return;
	open = &counters_stack[counters_depth - 1];
	if (counters_depth > 1 && open[-1].sub == parent)
	{
		open[-1].appends += open->appends;
		open[-1].events += open->events;
		counters_depth--;
	}
	else
		open->sub = parent;
}

/* A subtransaction is rolled back. */
void
es_counters_undo_sub(SubTransactionId sub)
{
	if (counters_depth > 0 && counters_stack[counters_depth - 1].sub == sub)
		counters_depth--;
}
