/*-------------------------------------------------------------------------
 *
 * provide.c
 *		The range that an append needs.
 *
 * It is there already, as a rule: ranges are made ahead, by a process that some
 * append starts on its way through the range before.  Where it is not, the append has it made by such a process and waits for
 * it: in a transaction of its own a range is there for everybody as soon as it
 * is made, and not when the append's transaction ends.
 *
 * Where the database has a worker, that makes ranges ahead in its rounds, too, and
 * the one that an append needs where no other process is to be had, as max_worker_processes
 * are in use.  Without it the append waits for a process, for a while.  It cannot
 * make the range itself: PostgreSQL attaches none to a table that the session is using.  So where its own transaction has such a lock
 * on the table that the process would wait for it, to create a projection, say, and
 * fills all ranges that there are, it is refused.
 *
 * Memory: static variables.  Locks: what make.c takes.  Calls: closed, make, order,
 * ranges, shared.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/ranges.h"
#include "order/order.h"
#include "partition/closed.h"
#include "partition/make.h"
#include "partition/provide.h"
#include "signal/shared.h"

/*
 * How long the process waits for a lock.  Who is waited for may wait for the
 * append in turn, which the deadlock detector cannot see.
 */
#define PROVIDE_LOCK_TIMEOUT "1s"

/* Of two that wait for each other, who makes ranges is to give way, to DROP EXTENSION for one: it is done again. */
#define PROVIDE_DEADLOCK_TIMEOUT "10ms"

/* How many times a process is asked for, and for how long none may be to be had before the next. */
#define PROVIDE_TRIES    100
#define PROVIDE_PAUSE_MS 50

/* How long the worker leaves it to others when it could not make a range. */
#define PROVIDE_AGAIN_MS 2000

/* So many appends on their way through a range ask for the next ones. */
#define PROVIDE_ASKS 16

/* ----------------------------------------------------------------------
 * The process
 * ----------------------------------------------------------------------
 */

/* In a transaction of its own: somebody may wait for the ranges. */
static void
provide_note_closed(void)
{
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (es_catalog_is_installed())
	{
		es_make_lock();
		es_closed_note();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
}

/* Entered in a process of its own; position: what a range is made for. */
void
es_provide_main(Datum position)
{
	Oid database;

	memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	SetConfigOption("lock_timeout", PROVIDE_LOCK_TIMEOUT, PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("deadlock_timeout", PROVIDE_DEADLOCK_TIMEOUT, PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_SESSION);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "making partitions of eventstore.events");
	/* No lock on the table before the one that is needed: whom it waits for may want the table for himself. */
	if (es_catalog_is_installed())
		es_make_upto(DatumGetInt64(position), ES_MAKE_AHEAD);
	PopActiveSnapshot();
	CommitTransactionCommand();
	provide_note_closed();
	proc_exit(0);
}

/* Returns whether one is started.  handle: NULL: nobody waits for it. */
static bool
provide_start(int64 position, BackgroundWorkerHandle **handle)
{
	BackgroundWorker request = {0};

	request.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	request.bgw_start_time = BgWorkerStart_RecoveryFinished;
	request.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(request.bgw_library_name, "eventstore", sizeof(request.bgw_library_name));
	strlcpy(request.bgw_function_name, "es_provide_main", sizeof(request.bgw_function_name));
	strlcpy(request.bgw_name, "eventstore partitions", sizeof(request.bgw_name));
	strlcpy(request.bgw_type, "eventstore partitions", sizeof(request.bgw_type));
	request.bgw_main_arg = Int64GetDatum(position);
	request.bgw_notify_pid = handle != NULL ? MyProcPid : 0;
	memcpy(request.bgw_extra, &MyDatabaseId, sizeof(Oid));
	return RegisterDynamicBackgroundWorker(&request, handle);
}

/* Have a process make the range, and wait for its end.  Returns false if there is none to be had. */
static bool
provide_by_process(int64 position)
{
	BackgroundWorkerHandle *handle;

	if (!provide_start(position, &handle))
		return false;
	if (WaitForBackgroundWorkerShutdown(handle) == BGWH_POSTMASTER_DIED)
		ereport(FATAL,
				(errcode(ERRCODE_ADMIN_SHUTDOWN),
				 errmsg("the postmaster has ended while a partition was made")));
	pfree(handle);
	return true;
}

/* ----------------------------------------------------------------------
 * The worker
 * ----------------------------------------------------------------------
 */

/* Called by the worker, in a transaction: whether there are too few ranges ahead. */
bool
es_provide_is_due(void)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool is_due = es_ranges_are_of(events) && es_ranges_count(events) > 0 &&
		es_make_is_due(events, es_order_last(), ES_MAKE_AHEAD);

	relation_close(events, NoLock);
	return is_due;
}

/* For the transaction. */
static void
provide_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
							 false);
}

/* A transaction of the worker's; who has the lock on ranges does it in its place. */
static void
provide_run(void (*work)(void))
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	provide_set("lock_timeout", PROVIDE_LOCK_TIMEOUT);
	provide_set("deadlock_timeout", PROVIDE_DEADLOCK_TIMEOUT);
	if (es_catalog_is_installed() && es_make_try_lock())
		work();
	PopActiveSnapshot();
	CommitTransactionCommand();
}

static void
provide_make_ahead(void)
{
	es_make_upto(es_order_last(), ES_MAKE_AHEAD);
}

/*
 * Called by the worker, between its transactions, where it is due.  An error is
 * told to the log and ends nothing but this turn.
 */
void
es_provide_turn(void)
{
	static TimestampTz failed_at = 0;
	MemoryContext caller = CurrentMemoryContext;

	if (failed_at != 0 &&
		!TimestampDifferenceExceeds(failed_at, GetCurrentTimestamp(), PROVIDE_AGAIN_MS))
		return;
	failed_at = 0;
	PG_TRY();
	{
		pgstat_report_activity(STATE_RUNNING, "making partitions of eventstore.events");
		provide_run(provide_make_ahead);
		provide_run(es_closed_note);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		failed_at = GetCurrentTimestamp();
	}
	PG_END_TRY();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, "waiting for appends");
}

/* ----------------------------------------------------------------------
 * The append
 * ----------------------------------------------------------------------
 */

static bool
provide_find(Relation events, int64 position, EsRange *range)
{
	int number = es_ranges_find(events, position);

	if (number >= es_ranges_count(events))
		return false;
	*range = es_ranges_get(events, number);
	/* Else it is in a gap: of what was detached, and nothing is appended there. */
	return range->from <= position;
}

static void
provide_refuse(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("this transaction keeps a partition of \"%s.events\" from being made",
					ES_SCHEMA),
			 errdetail("It needs the partition, and has a lock on the table that who makes it would wait for."),
			 errhint("Append in another transaction, or make wider partitions by es_partition_events() first.")));
}

static void
provide_give_up(int64 position, bool has_process)
{
	if (!has_process)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no process is to be had to make a partition of \"%s.events\"", ES_SCHEMA),
				 errhint("You may need to increase max_worker_processes.")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("\"%s.events\" has no partition for position %lld", ES_SCHEMA,
					(long long) position),
			 errdetail("It could not be made; the server's log says why."),
			 errhint("Somebody may have a lock on the table. Where positions go on among events that were detached, call es_repair_positions().")));
}

static void
provide_pause(long ms)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					 PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * The range that a position is in, made where it is not there yet.
 *
 * events: partitioned.
 */
EsRange
es_provide_range(Relation events, int64 position)
{
	int tries = 0;
	bool has_process = true;
	EsRange range;

	while (unlikely(!provide_find(events, position, &range)))
	{
		CHECK_FOR_INTERRUPTS();
		if (tries == PROVIDE_TRIES)
			provide_give_up(position, has_process);
		tries++;
		if (es_make_is_barred(events))
			provide_refuse();
		if (tries > 1)
			provide_pause(has_process ? 0 : PROVIDE_PAUSE_MS);
		has_process = provide_by_process(position);
		if (!has_process)
			(void) es_shared_wake_worker();
		AcceptInvalidationMessages();
	}
	return range;
}

/*
 * Have ranges made ahead by some of the appends on their way through one that
 * has too few behind it.
 *
 * first, last: positions that an append has taken.
 */
void
es_provide_ahead(Relation events, int64 first, int64 last)
{
	static int64 asked_at = 0; /* positions; once is enough */
	int number = es_ranges_find(events, last);
	EsRange range;
	int64 step;

	if (number + ES_MAKE_AHEAD < es_ranges_count(events) || number >= es_ranges_count(events))
		return;
	range = es_ranges_get(events, number);
	step = Max((range.upto - Max(range.from, 0)) / PROVIDE_ASKS, 1);
	if (first / step == last / step && first % step != 0)
		return;
	if (asked_at / step == last / step)
		return;
	asked_at = last;
	if (!provide_start(last, NULL))
		(void) es_shared_wake_worker();
}
