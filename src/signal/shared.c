/*-------------------------------------------------------------------------
 *
 * shared.c
 *		Shared memory: which database has a worker, and how to wake it; its
 *		runners.
 *
 * There only where the library is preloaded; everything else works without.
 * One slot a worker, one a runner.  A runner's slot is claimed by who starts it,
 * so that never too many are started.  Slots are claimed and released under an LWLock; the
 * appender reads them without, since the worst that an outdated slot can do
 * is to wake a process for nothing: a latch in shared memory stays a latch.
 * A worker that begins announces whatever was missed while there was none.
 *
 * Memory: shared memory of fixed size.  Locks: the LWLock of the tranche
 * "eventstore", for moments.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/timestamp.h"

#include "signal/shared.h"

/* Databases that may have a worker. */
#define SHARED_MAX_WORKERS 64

/* Runners that there may be in all databases. */
#define SHARED_MAX_RUNNERS 256

/* When a process that was asked for is not expected any more, and ... */
#define SHARED_START_MS 10000

/* ... for how long none is started after one that broke down, in milliseconds. */
#define SHARED_PAUSE_MS 1000

typedef struct SharedWorker
{
	Oid database;          /* InvalidOid: the slot is free */
	pid_t pid;             /* 0: no worker runs */
	Latch *latch;          /* the worker's, in shared memory */
	int holds;             /* commands that need the database empty */
	pg_atomic_uint64 head; /* that the worker has found last; 0: none yet */
	TimestampTz broken_at; /* when a runner broke down last; 0: never */
	bool lacks_process;    /* the last runner could not be started */
} SharedWorker;

typedef struct SharedRunner
{
	Oid database;           /* InvalidOid: the slot is free */
	pid_t pid;              /* 0: it is being started */
	Latch *latch;           /* in shared memory */
	bool is_idle;           /* it sleeps, until it is woken or has had enough */
	TimestampTz claimed_at; /* by who starts it */
} SharedRunner;

typedef struct Shared
{
	LWLock *lock;
	SharedWorker workers[SHARED_MAX_WORKERS];
	SharedRunner runners[SHARED_MAX_RUNNERS];
} Shared;

static Shared *shared = NULL;
static shmem_request_hook_type shared_previous_request = NULL;
static shmem_startup_hook_type shared_previous_startup = NULL;

static void
shared_on_request(void)
{
	if (shared_previous_request)
		shared_previous_request();
	RequestAddinShmemSpace(MAXALIGN(sizeof(Shared)));
	RequestNamedLWLockTranche("eventstore", 1);
}

static void
shared_on_startup(void)
{
	bool is_found;

	if (shared_previous_startup)
		shared_previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("eventstore", sizeof(Shared), &is_found);
	if (!is_found)
	{
		int i;

		memset(shared, 0, sizeof(Shared));
		for (i = 0; i < SHARED_MAX_WORKERS; i++)
			pg_atomic_init_u64(&shared->workers[i].head, 0);
		shared->lock = &GetNamedLWLockTranche("eventstore")->lock;
	}
	LWLockRelease(AddinShmemInitLock);
}

/* Called by _PG_init, when the library is preloaded. */
void
es_shared_request(void)
{
	shared_previous_request = shmem_request_hook;
	shmem_request_hook = shared_on_request;
	shared_previous_startup = shmem_startup_hook;
	shmem_startup_hook = shared_on_startup;
}

/* Whether there is any: the library is preloaded. */
bool
es_shared_is_there(void)
{
	return shared != NULL;
}

/* The slot of a database; NULL if it has none.  Lock: see the header. */
static SharedWorker *
shared_find(Oid database)
{
	int i;

	if (shared == NULL)
		return NULL;
	for (i = 0; i < SHARED_MAX_WORKERS; i++)
		if (shared->workers[i].database == database)
			return &shared->workers[i];
	return NULL;
}

bool
es_shared_has_worker_in(Oid database)
{
	SharedWorker *worker = shared_find(database);

	return worker != NULL && worker->pid != 0;
}

/* Whether this database has a worker running. */
bool
es_shared_has_worker(void)
{
	return es_shared_has_worker_in(MyDatabaseId);
}

/* Tell a head; by the worker. */
void
es_shared_set_head(int64 head)
{
	pg_atomic_write_u64(&shared_find(MyDatabaseId)->head, (uint64) head);
}

/*
 * The head that this database's worker has found last; 0 if it has none yet.
 * Returns false if there is no worker.
 */
bool
es_shared_get_head(int64 *head)
{
	SharedWorker *worker = shared_find(MyDatabaseId);
	pid_t pid = worker == NULL ? 0 : worker->pid;

	if (pid == 0)
		return false;
	*head = (int64) pg_atomic_read_u64(&worker->head);
	pg_read_barrier();
	/* The slot may have gone to another database meanwhile. */
	return worker->database == MyDatabaseId && worker->pid == pid;
}

/* Wake this database's worker.  Returns false if it has none. */
bool
es_shared_wake_worker(void)
{
	SharedWorker *worker = shared_find(MyDatabaseId);

	if (worker == NULL || worker->pid == 0)
		return false;
	SetLatch(worker->latch);
	return true;
}

static void
shared_worker_end(int code, Datum arg)
{
	SharedWorker *worker = (SharedWorker *) DatumGetPointer(arg);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	worker->pid = 0;
	if (worker->holds == 0)
		worker->database = InvalidOid;
	LWLockRelease(shared->lock);
}

/* Find or make the slot of a database; NULL if there is none left. */
static SharedWorker *
shared_claim(Oid database)
{
	SharedWorker *worker = shared_find(database);

	if (worker == NULL)
		worker = shared_find(InvalidOid);
	if (worker != NULL)
		worker->database = database;
	return worker;
}

/*
 * Called by a worker: from now on appenders of its database wake it.  Returns
 * false if the database has a worker, is held, or there is no slot left.
 */
bool
es_shared_worker_begin(void)
{
	SharedWorker *worker;
	bool is_begun = false;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	worker = shared_claim(MyDatabaseId);
	if (worker != NULL && worker->pid == 0 && worker->holds == 0)
	{
		worker->latch = MyLatch;
		worker->pid = MyProcPid;
		pg_atomic_write_u64(&worker->head, 0);
		worker->lacks_process = false;
		is_begun = true;
	}
	LWLockRelease(shared->lock);

	if (is_begun)
		before_shmem_exit(shared_worker_end, PointerGetDatum(worker));
	return is_begun;
}

/* End the workers of all databases but some, given by their OIDs. */
void
es_shared_end_workers(List *but_in)
{
	int i;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (i = 0; i < SHARED_MAX_WORKERS; i++)
	{
		SharedWorker *worker = &shared->workers[i];

		if (worker->pid != 0 && !list_member_oid(but_in, worker->database))
			(void) kill(worker->pid, SIGTERM);
	}
	for (i = 0; i < SHARED_MAX_RUNNERS; i++)
	{
		SharedRunner *runner = &shared->runners[i];

		if (runner->pid != 0 && !list_member_oid(but_in, runner->database))
			(void) kill(runner->pid, SIGTERM);
	}
	LWLockRelease(shared->lock);
}

/* End the runners of a database, under the lock: those on their way find no slot. */
static void
shared_end_runners(Oid database)
{
	int i;

	for (i = 0; i < SHARED_MAX_RUNNERS; i++)
	{
		SharedRunner *runner = &shared->runners[i];

		if (runner->database != database)
			continue;
		if (runner->pid != 0)
			(void) kill(runner->pid, SIGTERM);
		else
			runner->database = InvalidOid;
	}
}

/*
 * Keep a database without a worker and runners, until es_shared_unhold: end
 * those that it has, and wait until they are gone.
 */
void
es_shared_hold(Oid database)
{
	SharedWorker *worker;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	worker = shared_claim(database);
	if (worker != NULL)
	{
		worker->holds++;
		if (worker->pid != 0)
			(void) kill(worker->pid, SIGTERM);
		shared_end_runners(database);
	}
	LWLockRelease(shared->lock);

	while (worker != NULL && (worker->pid != 0 || es_shared_count_runners(database) > 0))
	{
		CHECK_FOR_INTERRUPTS();
		pg_usleep(1000);
	}
}

/* The opposite of es_shared_hold. */
void
es_shared_unhold(Oid database)
{
	SharedWorker *worker;

	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	worker = shared_find(database);
	if (worker != NULL && worker->holds > 0 && --worker->holds == 0 && worker->pid == 0)
		worker->database = InvalidOid;
	LWLockRelease(shared->lock);
}

bool
es_shared_is_held(Oid database)
{
	SharedWorker *worker = shared_find(database);

	return worker != NULL && worker->holds > 0;
}

/* ----------------------------------------------------------------------
 * Runners
 * ----------------------------------------------------------------------
 */

/* How many runners a database has, or will have in a moment. */
int
es_shared_count_runners(Oid database)
{
	int count = 0;
	int i;

	if (shared == NULL)
		return 0;
	for (i = 0; i < SHARED_MAX_RUNNERS; i++)
		if (shared->runners[i].database == database)
			count++;
	return count;
}

/* Give up slots whose processes were not started, under the lock. */
static void
shared_forget_runners(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int i;

	for (i = 0; i < SHARED_MAX_RUNNERS; i++)
	{
		SharedRunner *runner = &shared->runners[i];

		if (OidIsValid(runner->database) && runner->pid == 0 &&
			TimestampDifferenceExceeds(runner->claimed_at, now, SHARED_START_MS))
			runner->database = InvalidOid;
	}
}

/* Whether this database may have another runner, under the lock. */
static bool
shared_may_run(int limit)
{
	const SharedWorker *worker = shared_find(MyDatabaseId);

	return worker != NULL && worker->pid != 0 && worker->holds == 0 &&
		es_shared_count_runners(MyDatabaseId) < limit &&
		TimestampDifferenceExceeds(worker->broken_at, GetCurrentTimestamp(), SHARED_PAUSE_MS);
}

/*
 * Claim a slot for another runner of this database.  Returns its number, or -1
 * if there are as many as there may be, or one broke down a moment ago.
 */
int
es_shared_claim_runner(int limit)
{
	int result = -1;
	int i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared_forget_runners();
	for (i = 0; i < SHARED_MAX_RUNNERS && result < 0 && shared_may_run(limit); i++)
	{
		SharedRunner *runner = &shared->runners[i];

		if (OidIsValid(runner->database))
			continue;
		memset(runner, 0, sizeof(SharedRunner));
		runner->database = MyDatabaseId;
		runner->claimed_at = GetCurrentTimestamp();
		result = i;
	}
	LWLockRelease(shared->lock);
	return result;
}

/* It could not be started. */
void
es_shared_release_runner(int number)
{
	SharedWorker *worker;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->runners[number].database = InvalidOid;
	worker = shared_find(MyDatabaseId);
	if (worker != NULL)
		worker->lacks_process = true;
	LWLockRelease(shared->lock);
}

/* Whether this database has no runner, as none could be started. */
bool
es_shared_lacks_process(void)
{
	bool result = false;

	if (shared == NULL)
		return false;
	LWLockAcquire(shared->lock, LW_SHARED);
	if (shared_find(MyDatabaseId) != NULL)
		result = shared_find(MyDatabaseId)->lacks_process &&
			es_shared_count_runners(MyDatabaseId) == 0;
	LWLockRelease(shared->lock);
	return result;
}

void
es_shared_get_processes(EsProcesses *processes)
{
	const SharedWorker *worker;

	memset(processes, 0, sizeof(EsProcesses));
	if (shared == NULL)
		return;
	LWLockAcquire(shared->lock, LW_SHARED);
	worker = shared_find(MyDatabaseId);
	processes->runners = es_shared_count_runners(MyDatabaseId);
	if (worker != NULL)
	{
		processes->worker_pid = worker->pid;
		processes->broken_at = worker->broken_at;
		processes->lacks_process = worker->lacks_process && processes->runners == 0;
	}
	LWLockRelease(shared->lock);
}

/* At its end, in whatever way; then the worker looks whether there is need for another. */
static void
shared_runner_end(int code, Datum arg)
{
	SharedRunner *runner = (SharedRunner *) DatumGetPointer(arg);
	SharedWorker *worker;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	worker = shared_find(MyDatabaseId);
	if (worker != NULL && code != 0)
		worker->broken_at = GetCurrentTimestamp();
	runner->pid = 0;
	runner->database = InvalidOid;
	LWLockRelease(shared->lock);
	(void) es_shared_wake_worker();
}

/* Called by a runner.  Returns false if its slot is not kept for it any more. */
bool
es_shared_runner_begin(int number)
{
	SharedRunner *runner = &shared->runners[number];
	bool is_begun;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	is_begun = runner->database == MyDatabaseId && runner->pid == 0;
	if (is_begun)
	{
		SharedWorker *worker = shared_find(MyDatabaseId);

		runner->latch = MyLatch;
		runner->pid = MyProcPid;
		if (worker != NULL)
			worker->lacks_process = false;
	}
	LWLockRelease(shared->lock);
	if (is_begun)
		before_shmem_exit(shared_runner_end, PointerGetDatum(runner));
	return is_begun;
}

/* Called by a runner that is about to look for work for the last time, or has some. */
void
es_shared_runner_set_idle(int number, bool is_idle)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->runners[number].is_idle = is_idle;
	LWLockRelease(shared->lock);
}

/* Whether nobody has woken it since. */
bool
es_shared_runner_is_idle(int number)
{
	bool is_idle;

	LWLockAcquire(shared->lock, LW_SHARED);
	is_idle = shared->runners[number].is_idle;
	LWLockRelease(shared->lock);
	return is_idle;
}

/* Wake a runner of this database that sleeps.  Returns whether there is one. */
bool
es_shared_wake_runner(void)
{
	bool is_woken = false;
	int i;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (i = 0; i < SHARED_MAX_RUNNERS && !is_woken; i++)
	{
		SharedRunner *runner = &shared->runners[i];

		if (runner->database != MyDatabaseId || !runner->is_idle)
			continue;
		runner->is_idle = false;
		SetLatch(runner->latch);
		is_woken = true;
	}
	LWLockRelease(shared->lock);
	return is_woken;
}
