/*-------------------------------------------------------------------------
 *
 * barrier.c
 *		A moment in which no append is in flight.
 *
 * Which inline projections an append applies must not change while appends are
 * in flight, else events could be applied twice or not at all.  So who changes
 * that locks eventstore.events against appends, which waits for those in
 * flight, and holds the lock to the end of its transaction.
 *
 * Appends that come meanwhile queue behind who waits for the lock.  One long
 * transaction must not make them wait for itself: the lock is tried for a moment
 * at a time, with a longer pause after each try.  lock_timeout and
 * statement_timeout say for how long in all.
 *
 * Who alters a read table wants that for himself, too.  Somebody may have read it
 * and be about to append: so all is tried at once, and let go of before the next
 * try, and nobody is caught between the two.
 *
 * Memory: the current context.  Locks: ShareRowExclusive on eventstore.events, or
 * AccessExclusive; a projection's, AccessExclusive on tables.  Calls: attempt, catalog, order,
 * projection.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/attempt.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "order/order.h"
#include "projection/barrier.h"
#include "projection/projection.h"

#define BARRIER_SHORT_TRIES   3
#define BARRIER_TRY_MS        200
#define BARRIER_PAUSE_MS      200
#define BARRIER_LONG_PAUSE_MS 5000

/* How long to wait in silence. */
#define BARRIER_TELL_MS 1000

/* What is to be had all at once. */
typedef struct BarrierWish
{
	const char *projection; /* its lock; NULL: no other */
	bool stops_appends;
	bool stops_readers; /* of eventstore.events, too */
	const List *tables; /* OIDs */
} BarrierWish;

static void
barrier_lock(void *argument)
{
	const BarrierWish *wish = argument;
	const ListCell *cell;

	if (wish->projection != NULL)
		es_projection_lock(wish->projection);
	if (wish->stops_appends)
		relation_close(es_catalog_open(ES_EVENTS, ShareRowExclusiveLock), NoLock);
	if (wish->stops_readers)
		relation_close(es_catalog_open(ES_EVENTS, AccessExclusiveLock), NoLock);
	foreach (cell, wish->tables)
		LockRelationOid(lfirst_oid(cell), AccessExclusiveLock);
}

/* One try.  Returns whether the locks are held. */
static bool
barrier_try(BarrierWish *wish, int ms)
{
	int level = NewGUCNestLevel();
	ErrorData *error;

	(void) set_config_option("lock_timeout", psprintf("%d", ms), PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	error = es_attempt(barrier_lock, wish);
	if (error != NULL && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	AtEOXact_GUC(false, level);
	return error == NULL;
}

/*
 * How long to try for.  The first tries are short; the others are long enough
 * for the deadlock check, ours and, where it is autovacuum that has the table,
 * the one that cancels that.
 */
static int
barrier_try_ms(int tries)
{
	int ms = tries < BARRIER_SHORT_TRIES ? BARRIER_TRY_MS : DeadlockTimeout + BARRIER_TRY_MS;

	return LockTimeout > 0 ? Min(ms, LockTimeout) : ms;
}

static void
barrier_check_timeout(const BarrierWish *wish, TimestampTz begun)
{
	if (LockTimeout > 0 && TimestampDifferenceExceeds(begun, GetCurrentTimestamp(), LockTimeout))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("canceling statement due to lock timeout"),
				 wish->stops_readers
					 ? errdetail("Somebody reads eventstore.events, or an append is in flight.")
					 : wish->tables == NIL
					 ? errdetail("An append is in flight; see eventstore.inflight.")
					 : wish->projection == NULL
					 ? errdetail("Somebody reads the tables; pg_locks shows who.")
					 : errdetail("Somebody uses the tables of projection \"%s\", or an append is in flight.",
								 wish->projection)));
}

static void
barrier_pause(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/* Who waits for long should know for whom. */
static void
barrier_tell(const BarrierWish *wish, TimestampTz begun, bool *is_told)
{
	if (*is_told || !TimestampDifferenceExceeds(begun, GetCurrentTimestamp(), BARRIER_TELL_MS))
		return;
	*is_told = true;
	if (wish->stops_readers)
		ereport(NOTICE,
				(errmsg("waiting for those who read eventstore.events, and for appends in flight"),
				 errhint("pg_locks shows who has a lock on it, eventstore.inflight the appends. "
						 "A prepared transaction has to be ended by somebody.")));
	else if (wish->tables != NIL && wish->projection == NULL)
		ereport(NOTICE,
				(errmsg("waiting for those who read the tables"),
				 errhint("pg_locks shows who has a lock on them.")));
	else if (wish->tables != NIL)
		ereport(NOTICE,
				(errmsg("waiting for those who use the tables of projection \"%s\", and for appends in flight",
						wish->projection),
				 errhint("pg_locks shows who has a lock on them, eventstore.inflight the appends.")));
	else
		ereport(NOTICE,
				(errmsg("waiting for appends in flight"),
				 errhint("eventstore.inflight shows them, and pg_locks who else has a lock on eventstore.events. "
						 "A prepared transaction has to be ended by somebody.")));
}

/* Have all that is wished for, until the end of the transaction. */
static void
barrier_wait(BarrierWish *wish)
{
	TimestampTz begun = GetCurrentTimestamp();
	bool is_told = false;
	int tries = 0;
	long pause_ms = BARRIER_PAUSE_MS;

	if (wish->stops_appends && IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("inline projections can only be changed in a READ COMMITTED transaction")));
	while (!barrier_try(wish, barrier_try_ms(tries++)))
	{
		barrier_check_timeout(wish, begun);
		barrier_tell(wish, begun, &is_told);
		barrier_pause(pause_ms);
		pause_ms = Min(pause_ms * 2, BARRIER_LONG_PAUSE_MS);
	}
}

/*
 * Wait until no append of others is in flight, and keep new ones waiting until
 * the end of the transaction.
 *
 * Returns the last position given out: there is no event above, and a snapshot
 * that is taken afterwards sees all at or below it.  Raises 55P03 when
 * lock_timeout is over, and 40001 where the transaction's snapshot is older.
 */
int64
es_barrier_raise(void)
{
	BarrierWish wish = {.stops_appends = true};

	barrier_wait(&wish);
	return es_order_last();
}

/*
 * Have a projection and tables for oneself until the end of the transaction, and
 * if stops_appends, what es_barrier_raise gives.
 *
 * tables: OIDs.
 */
void
es_barrier_claim(const char *projection, bool stops_appends, const List *tables)
{
	BarrierWish wish = {projection, stops_appends, false, tables};

	barrier_wait(&wish);
}

/*
 * Have eventstore.events, and what it is made of, for oneself until the end of
 * the transaction.
 *
 * tables: OIDs of partitions.
 */
void
es_barrier_close(const List *tables)
{
	BarrierWish wish = {.stops_readers = true, .tables = tables};

	barrier_wait(&wish);
}

/*
 * Have tables for oneself until the end of the transaction, which others than
 * those of eventstore.events do not mind.
 *
 * tables: OIDs.
 */
void
es_barrier_have(const List *tables)
{
	BarrierWish wish = {.tables = tables};

	barrier_wait(&wish);
}
