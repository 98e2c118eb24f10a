/*-------------------------------------------------------------------------
 *
 * runner.c
 *		The processes that apply async projections.
 *
 * Where a projection is behind the head, the database's worker wakes a runner
 * that sleeps, or starts one.  A runner goes through the projections that are
 * behind and takes each whose lock it gets, a batch at a time: the effects and
 * the checkpoint are one transaction, so every event is applied exactly once
 * whatever ends the process.  Where it finds several, it calls for another
 * runner in turn, up to eventstore.projection_workers in the database.  When it
 * finds nothing, it sleeps, and ends when it has slept for RUNNER_IDLE_MS.
 *
 * Before it sleeps it looks once more, when it is known to be idle: so what
 * comes up at this moment is seen either by itself or by who wakes it.
 *
 * Memory: a context for each pass; each batch's transaction.  Locks: turn.c's.
 * Calls: catalog, order, projection, settings, shared, turn, whole, witness.  User code
 * runs here, as the projections' owners.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/settings.h"
#include "order/order.h"
#include "projection/projection.h"
#include "projection/whole.h"
#include "projection/witness.h"
#include "server/runner.h"
#include "server/turn.h"
#include "signal/shared.h"

/* How long a runner sleeps before it ends, in milliseconds. */
#define RUNNER_IDLE_MS 10000

/* How often to look whether a restore has brought all that is needed, in milliseconds. */
#define RUNNER_WHOLE_MS 500

/* ----------------------------------------------------------------------
 * Finding work
 * ----------------------------------------------------------------------
 */

/*
 * Whether a projection may be applied, for all that a restore has to bring.
 */
static bool
runner_is_whole(const char *name)
{
	static bool is_told = false;

	if (es_whole_is(name, RUNNER_WHOLE_MS))
		return true;
	if (!is_told)
		ereport(LOG,
				(errmsg("projections wait for the rest of a restore"),
				 errhint("eventstore.projection_waits shows what is missing, es_resume_projection goes on without it. Where positions are behind the events, es_repair_positions() has to be called.")));
	is_told = true;
	return false;
}

/*
 * Names of the async projections that are behind the head, and may be applied.
 *
 * has_any: receives whether there are any that could be.
 * waits: receives whether there are some that a restore is not done with.
 */
static List *
runner_find_behind(int64 head, bool *has_any, bool *waits)
{
	List *result = NIL;
	ListCell *cell;

	*has_any = *waits = false;
	foreach (cell, es_projection_list())
	{
		const EsProjection *projection = lfirst(cell);

		if (projection->is_inline || projection->state != ES_PROJECTION_RUNNING ||
			!OidIsValid(projection->role))
			continue;
		*has_any = true;
		if (projection->position >= head)
			continue;
		if (runner_is_whole(projection->name))
			result = lappend(result, projection->name);
		else
			*waits = true;
	}
	return result;
}

static void
runner_start(int number)
{
	static bool is_refused = false;
	BackgroundWorker request = {0};

	snprintf(request.bgw_name, BGW_MAXLEN, "eventstore runner %d", number);
	snprintf(request.bgw_type, BGW_MAXLEN, "eventstore runner");
	snprintf(request.bgw_library_name, BGW_MAXLEN, "eventstore");
	snprintf(request.bgw_function_name, BGW_MAXLEN, "es_runner_main");
	memcpy(request.bgw_extra, &MyDatabaseId, sizeof(Oid));
	request.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	request.bgw_start_time = BgWorkerStart_RecoveryFinished;
	request.bgw_restart_time = BGW_NEVER_RESTART;
	request.bgw_main_arg = Int32GetDatum(number);
	if (RegisterDynamicBackgroundWorker(&request, NULL))
	{
		is_refused = false;
		return;
	}
	es_shared_release_runner(number);
	/* Once, until there is a slot: it is tried at every turn. */
	if (!is_refused)
		ereport(LOG,
				(errmsg("could not start a process to apply projections"),
				 errdetail("It is tried again and again, and told once."),
				 errhint("You may need to increase max_worker_processes.")));
	is_refused = true;
}

/*
 * See that somebody does the work.
 *
 * behind: how many projections there are to apply.
 */
static void
runner_call(int behind)
{
	int number;

	if (es_shared_wake_runner())
		return;
	number = es_shared_claim_runner(Min(es_guc_projection_workers, behind));
	if (number >= 0)
		runner_start(number);
}

/*
 * Called by the worker: if async projections are behind the head, see that
 * somebody applies them.  Returns false if nobody does yet.
 */
bool
es_runner_call(int64 head)
{
	static uint64 generation = 0;
	static bool has_any = true;
	List *behind;
	bool waits;

	/* Whether there are any async projections at all changes seldom. */
	if (!has_any && generation == es_catalog_generation())
		return true;
	generation = es_catalog_generation();
	behind = runner_find_behind(head, &has_any, &waits);
	if (es_guc_projection_workers == 0)
		return true;
	if (behind == NIL)
		return !waits;
	runner_call(list_length(behind));
	return es_shared_count_runners(MyDatabaseId) > 0;
}

/*
 * Go through the projections that are behind, a batch each.  Returns whether
 * any has moved.
 *
 * number: of the runner; each begins somewhere else.
 */
static bool
runner_pass(int number, MemoryContext context)
{
	bool has_moved = false;
	bool has_any;
	bool waits;
	List *behind = NIL;
	int count;
	int i;

	es_turn_begin_transaction();
	MemoryContextSwitchTo(context);
	if (es_catalog_is_installed())
		behind = runner_find_behind(es_order_head(NULL), &has_any, &waits);
	es_turn_end_transaction();
	MemoryContextSwitchTo(context);

	es_turn_forget();
	count = list_length(behind);
	if (count > 1)
		runner_call(count);
	for (i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		has_moved |= es_turn_try(list_nth(behind, (i + number) % count), context);
	}
	return has_moved;
}

/* ----------------------------------------------------------------------
 * The process
 * ----------------------------------------------------------------------
 */

static void
runner_set(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_SESSION);
}

static void
runner_connect(int number)
{
	Oid database;

	memcpy(&database, MyBgworkerEntry->bgw_extra, sizeof(Oid));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	if (!es_shared_runner_begin(number))
		proc_exit(0);
	es_witness_watch();

	runner_set("application_name", "eventstore");
	runner_set("search_path", "pg_catalog, pg_temp");
	runner_set("lock_timeout", "0");
	runner_set("statement_timeout", "0");
	/* There from 17 on. */
	if (GetConfigOption("transaction_timeout", true, false) != NULL)
		runner_set("transaction_timeout", "0");
	runner_set("row_security", "on");
	runner_set("default_transaction_read_only", "off");
	runner_set("default_transaction_isolation", "read committed");
	/* Of two that wait for each other, the runner is to give way: it tries again. */
	runner_set("deadlock_timeout", "10ms");
	/* What a crash takes back of a batch, it takes back of the checkpoint, too. */
	runner_set("synchronous_commit", "off");
}

/*
 * Sleep until woken.  Returns whether it was: else it is time to end, or to
 * look at a projection that had to wait.
 */
static bool
runner_sleep(long ms)
{
	int events;

	pgstat_report_activity(STATE_IDLE, "waiting for events");
	events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
					   PG_WAIT_EXTENSION);
	pgstat_report_activity(STATE_RUNNING, "applying projections");
	return (events & WL_LATCH_SET) != 0;
}

static void
runner_reload(void)
{
	ConfigReloadPending = false;
	ProcessConfigFile(PGC_SIGHUP);
	if (es_shared_count_runners(MyDatabaseId) > es_guc_projection_workers)
		proc_exit(0);
}

/*
 * Entry point of a runner.
 *
 * number: of its slot in shared memory.
 */
void
es_runner_main(Datum number)
{
	MemoryContext context;
	TimestampTz idle_since = 0; /* 0: it is not */

	runner_connect(DatumGetInt32(number));
	context = AllocSetContextCreate(TopMemoryContext, "eventstore runner", ALLOCSET_DEFAULT_SIZES);
	pgstat_report_activity(STATE_RUNNING, "applying projections");
	for (;;)
	{
		bool has_moved;
		long ms;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
			runner_reload();
		MemoryContextReset(context);
		has_moved = runner_pass(DatumGetInt32(number), context);

		if (has_moved || idle_since == 0)
		{
			es_shared_runner_set_idle(DatumGetInt32(number), !has_moved);
			idle_since = has_moved ? 0 : GetCurrentTimestamp();
			continue;
		}
		/* Somebody has woken it before the latch was reset. */
		if (!es_shared_runner_is_idle(DatumGetInt32(number)))
		{
			idle_since = 0;
			continue;
		}
		ms = RUNNER_IDLE_MS - TimestampDifferenceMilliseconds(idle_since, GetCurrentTimestamp());
		if (ms <= 0)
			proc_exit(0);
		if (runner_sleep(es_turn_sleep_ms(ms)))
			idle_since = 0;
	}
}
