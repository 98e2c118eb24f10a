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
 * How many events make a batch follows from how long the last one took: long
 * enough to be worth a transaction, short enough for who waits for the lock.
 *
 * What the projection's SQL raises is es_run_async's to note.  Another error (a
 * deadlock, a full disk) makes this runner leave the projection alone for a
 * while, each time for longer, and go on with others.
 *
 * Memory: TopMemoryContext for what it knows of projections; a context for each
 * pass; each batch's transaction.  Locks: the projection's, to the end of a
 * batch; what its SQL takes.  Calls: catalog, order, progress, projection, run,
 * settings, shared, whole.  User code runs here, as the projections' owners.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
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
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/settings.h"
#include "order/order.h"
#include "projection/progress.h"
#include "projection/projection.h"
#include "projection/run.h"
#include "projection/whole.h"
#include "server/runner.h"
#include "signal/shared.h"

/* In milliseconds: how long a runner sleeps before it ends, ... */
#define RUNNER_IDLE_MS 10000

/* ... how long a batch should take, and ... */
#define RUNNER_BATCH_MIN_MS 100
#define RUNNER_BATCH_MAX_MS 400

/* ... how long a projection is left alone after an error. */
#define RUNNER_PAUSE_MIN_MS 1000
#define RUNNER_PAUSE_MAX_MS 60000

/* How often to write down what a projection's tables have. */
#define RUNNER_NOTE_MS 10000

/* How often to look whether a restore has brought all that is needed. */
#define RUNNER_WHOLE_MS 500

/* Events in a batch. */
#define RUNNER_BATCH_MIN 100
#define RUNNER_BATCH_MAX 1000000

/* What a runner remembers of a projection. */
typedef struct RunnerNote
{
	char name[ES_MAX_PROJECTION_BYTES + 1];
	int64 batch;          /* events */
	int pause_ms;         /* of the last error; 0: there was none */
	TimestampTz due;      /* not before */
	TimestampTz noted_at; /* when what its tables have was written down */
} RunnerNote;

static List *runner_notes = NIL;

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

/* ----------------------------------------------------------------------
 * Batches
 * ----------------------------------------------------------------------
 */

static RunnerNote *
runner_note(const char *name)
{
	MemoryContext caller;
	RunnerNote *note;
	ListCell *cell;

	foreach (cell, runner_notes)
		if (strcmp(((RunnerNote *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	caller = MemoryContextSwitchTo(TopMemoryContext);
	note = palloc0(sizeof(RunnerNote));
	strlcpy(note->name, name, sizeof(note->name));
	note->batch = RUNNER_BATCH_MIN;
	runner_notes = lappend(runner_notes, note);
	MemoryContextSwitchTo(caller);
	return note;
}

static void
runner_begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
runner_end_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

/* Whether to write down, this time, what a projection's tables have. */
static bool
runner_notes_needs(RunnerNote *note)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(note->noted_at, now, RUNNER_NOTE_MS))
		return false;
	note->noted_at = now;
	return true;
}

/*
 * Apply a batch to a projection, if nobody else does.  Returns whether it has
 * moved.
 */
static bool
runner_batch(RunnerNote *note)
{
	EsProjection *projection;
	bool has_moved = false;

	runner_begin_transaction();
	if (es_projection_try_lock(note->name))
	{
		projection = es_projection_find(note->name);
		if (projection != NULL && !projection->is_inline &&
			projection->state == ES_PROJECTION_RUNNING)
		{
			int64 before = projection->position;

			es_progress_show(note->name, ES_ACTIVITY_RUN, 0, 0);
			(void) es_run_async(projection, note->batch, runner_notes_needs(note));
			es_progress_hide();
			has_moved = projection->position != before;
		}
	}
	runner_end_transaction();
	return has_moved;
}

/* How many events next time. */
static void
runner_measure(RunnerNote *note, TimestampTz begun)
{
	long ms = TimestampDifferenceMilliseconds(begun, GetCurrentTimestamp());

	if (ms < RUNNER_BATCH_MIN_MS)
		note->batch = Min(note->batch * 2, RUNNER_BATCH_MAX);
	else if (ms > RUNNER_BATCH_MAX_MS)
		note->batch = Max(note->batch / 2, RUNNER_BATCH_MIN);
	note->pause_ms = 0;
}

/*
 * Note an error with the projection, whose state stays; which event it came up
 * with is not known, so it is noted where the projection stands.
 */
static void
runner_save_error(const char *name, const ErrorData *raised)
{
	EsProjection *projection;

	runner_begin_transaction();
	if (es_catalog_is_installed() && es_projection_try_lock(name) &&
		(projection = es_projection_find(name)) != NULL)
	{
		EsProjectionError error = {.position = projection->position,
								   .code = raised->sqlerrcode,
								   .message = raised->message};

		es_projection_save(projection, &error);
	}
	runner_end_transaction();
}

/* In PG_CATCH: the error goes to the log, the projection has to wait. */
static void
runner_give_up(RunnerNote *note, MemoryContext context)
{
	ErrorData *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	EmitErrorReport();
	AbortOutOfAnyTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	note->pause_ms = note->pause_ms == 0 ? RUNNER_PAUSE_MIN_MS
										 : Min(note->pause_ms * 2, RUNNER_PAUSE_MAX_MS);
	note->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), note->pause_ms);
	runner_save_error(note->name, error);
}

/* Forget everything when definitions have changed: a name may mean another one. */
static void
runner_forget(void)
{
	static uint64 generation = 0;

	if (generation == es_catalog_generation())
		return;
	generation = es_catalog_generation();
	list_free_deep(runner_notes);
	runner_notes = NIL;
}

/* A batch, or nothing; returns as runner_batch does. */
static bool
runner_try(RunnerNote *note, MemoryContext context)
{
	TimestampTz begun = GetCurrentTimestamp();
	volatile bool has_moved = false;

	if (note->due > begun)
		return false;
	PG_TRY();
	{
		has_moved = runner_batch(note);
		runner_measure(note, begun);
	}
	PG_CATCH();
	{
		runner_give_up(note, context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return has_moved;
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

	runner_begin_transaction();
	MemoryContextSwitchTo(context);
	if (es_catalog_is_installed())
		behind = runner_find_behind(es_order_head(NULL), &has_any, &waits);
	runner_end_transaction();
	MemoryContextSwitchTo(context);

	runner_forget();
	count = list_length(behind);
	if (count > 1)
		runner_call(count);
	for (i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		has_moved |= runner_try(runner_note(list_nth(behind, (i + number) % count)), context);
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

	runner_set("application_name", "eventstore");
	runner_set("search_path", "pg_catalog, pg_temp");
	runner_set("lock_timeout", "0");
	runner_set("statement_timeout", "0");
	runner_set("row_security", "on");
	runner_set("default_transaction_read_only", "off");
	runner_set("default_transaction_isolation", "read committed");
	/* Of two that wait for each other, the runner is to give way: it tries again. */
	runner_set("deadlock_timeout", "10ms");
	/* What a crash takes back of a batch, it takes back of the checkpoint, too. */
	runner_set("synchronous_commit", "off");
}

/* How long to sleep for a projection that has to wait, at most some time. */
static long
runner_sleep_ms(long ms)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell *cell;

	foreach (cell, runner_notes)
	{
		const RunnerNote *note = lfirst(cell);

		if (note->due > now)
			ms = Min(ms, TimestampDifferenceMilliseconds(now, note->due) + 1);
	}
	return ms;
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
		if (runner_sleep(runner_sleep_ms(ms)))
			idle_since = 0;
	}
}
