/*-------------------------------------------------------------------------
 *
 * shared.c
 *		Shared memory: which database has a worker, and how to wake it.
 *
 * There only where the library is preloaded; everything else works without.
 * One slot a worker.  Slots are claimed and released under an LWLock; the
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

#include "shared.h"

/* Databases that may have a worker. */
#define SHARED_MAX_WORKERS 64

typedef struct SharedWorker
{
	Oid database;          /* InvalidOid: the slot is free */
	pid_t pid;             /* 0: no worker runs */
	Latch *latch;          /* the worker's, in shared memory */
	int holds;             /* commands that need the database empty */
	pg_atomic_uint64 head; /* that the worker has found last; 0: none yet */
} SharedWorker;

typedef struct Shared
{
	LWLock *lock;
	SharedWorker workers[SHARED_MAX_WORKERS];
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
	LWLockRelease(shared->lock);
}

/*
 * Keep a database without a worker, until es_shared_unhold: end the one that
 * it has, and wait until it is gone.
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
	}
	LWLockRelease(shared->lock);

	while (worker != NULL && worker->pid != 0)
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
