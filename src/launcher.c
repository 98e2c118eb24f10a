/*-------------------------------------------------------------------------
 *
 * launcher.c
 *		The process that keeps a worker in each of eventstore.databases.
 *
 * It is told when a worker ends, and looks every few seconds for databases
 * that came into being.  A worker that ended is not started again before
 * LAUNCHER_PAUSE_MS, lest an error that stays fills the log.
 *
 * DROP DATABASE and its like need the database empty.  A utility hook ends
 * the worker for as long as such a command runs; the launcher then starts it
 * again, if there is still something to start it in.
 *
 * Memory: TopMemoryContext for what it knows of its workers, else the round's
 * transaction.  Locks: none beyond a transaction.  Calls:
 * settings, shared; worker.c by name only.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "compat.h"
#include "launcher.h"
#include "settings.h"
#include "shared.h"

#define LAUNCHER_LOOK_MS  2000
#define LAUNCHER_PAUSE_MS 1000

/* A worker that the launcher has started. */
typedef struct LauncherWorker
{
	Oid database;
	BackgroundWorkerHandle *handle; /* NULL: could not be started */
	TimestampTz started_at;
	bool is_wanted; /* still in the setting */
} LauncherWorker;

static List *launcher_workers = NIL;
static ProcessUtility_hook_type launcher_previous_utility = NULL;

/* ----------------------------------------------------------------------
 * Commands that need a database empty
 * ----------------------------------------------------------------------
 */

/* The database that a command needs empty; NULL: none. */
static const char *
launcher_emptied_database(Node *command)
{
	ListCell *cell;

	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			return castNode(DropdbStmt, command)->dbname;
		case T_RenameStmt:
			if (castNode(RenameStmt, command)->renameType == OBJECT_DATABASE)
				return castNode(RenameStmt, command)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			return castNode(AlterDatabaseStmt, command)->dbname;
		case T_CreatedbStmt:
			foreach (cell, castNode(CreatedbStmt, command)->options)
			{
				DefElem *option = lfirst_node(DefElem, cell);

				if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
					return defGetString(option);
			}
			return NULL;
		default:
			return NULL;
	}
}

static void
launcher_utility(PlannedStmt *statement, const char *source, bool read_only_tree,
				 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
				 DestReceiver *receiver, QueryCompletion *completion)
{
	ProcessUtility_hook_type next = launcher_previous_utility ? launcher_previous_utility
															  : standard_ProcessUtility;
	const char *name = launcher_emptied_database(statement->utilityStmt);
	Oid database = name == NULL ? InvalidOid : get_database_oid(name, true);

	if (!OidIsValid(database) || !es_compat_owns_database(database, GetUserId()))
	{
		next(statement, source, read_only_tree, context, params, environment, receiver, completion);
		return;
	}

	PG_TRY();
	{
		es_shared_hold(database);
		next(statement, source, read_only_tree, context, params, environment, receiver, completion);
	}
	PG_FINALLY();
	{
		es_shared_unhold(database);
	}
	PG_END_TRY();
}

/* ----------------------------------------------------------------------
 * The launcher
 * ----------------------------------------------------------------------
 */

static LauncherWorker *
launcher_find(Oid database)
{
	ListCell *cell;

	foreach (cell, launcher_workers)
	{
		LauncherWorker *worker = lfirst(cell);

		if (worker->database == database)
			return worker;
	}
	return NULL;
}

static void
launcher_start(LauncherWorker *worker, const char *name)
{
	BackgroundWorker request = {0};
	MemoryContext caller;
	bool is_started;

	snprintf(request.bgw_name, BGW_MAXLEN, "eventstore worker for %s", name);
	snprintf(request.bgw_type, BGW_MAXLEN, "eventstore worker");
	snprintf(request.bgw_library_name, BGW_MAXLEN, "eventstore");
	snprintf(request.bgw_function_name, BGW_MAXLEN, "es_worker_main");
	request.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	request.bgw_start_time = BgWorkerStart_RecoveryFinished;
	request.bgw_restart_time = BGW_NEVER_RESTART;
	request.bgw_main_arg = ObjectIdGetDatum(worker->database);
	request.bgw_notify_pid = MyProcPid;

	worker->started_at = GetCurrentTimestamp();
	caller = MemoryContextSwitchTo(TopMemoryContext);
	is_started = RegisterDynamicBackgroundWorker(&request, &worker->handle);
	MemoryContextSwitchTo(caller);
	if (!is_started)
	{
		worker->handle = NULL;
		ereport(LOG,
				(errmsg("could not start the eventstore worker for database \"%s\"", name),
				 errhint("You may need to increase max_worker_processes.")));
	}
}

/* See that a database has its worker. */
static void
launcher_keep(Oid database, const char *name)
{
	LauncherWorker *worker = launcher_find(database);
	pid_t pid;

	if (worker == NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

		worker = palloc0(sizeof(LauncherWorker));
		worker->database = database;
		launcher_workers = lappend(launcher_workers, worker);
		MemoryContextSwitchTo(caller);
	}
	worker->is_wanted = true;

	if (worker->handle != NULL && GetBackgroundWorkerPid(worker->handle, &pid) != BGWH_STOPPED)
		return;
	if (es_shared_is_held(database) ||
		!TimestampDifferenceExceeds(worker->started_at, GetCurrentTimestamp(), LAUNCHER_PAUSE_MS))
		return;
	if (worker->handle != NULL)
		pfree(worker->handle);
	launcher_start(worker, name);
}

/* End workers of databases that are no longer in the setting. */
static void
launcher_end_unwanted(void)
{
	ListCell *cell;

	foreach (cell, launcher_workers)
	{
		LauncherWorker *worker = lfirst(cell);

		if (worker->is_wanted)
			continue;
		if (worker->handle != NULL)
		{
			TerminateBackgroundWorker(worker->handle);
			pfree(worker->handle);
		}
		launcher_workers = foreach_delete_current(launcher_workers, cell);
		pfree(worker);
	}
}

/*
 * See that each database whose name is listed has its worker.
 *
 * Reads pg_database row by row, as autovacuum does: a process without a
 * database has no catalogue to find an index by.
 */
static void
launcher_keep_databases(List *names)
{
	Relation databases = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(databases, 0, NULL);
	HeapTuple row;

	while ((row = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(row);
		ListCell *cell;

		if (!database->datallowconn || database->datistemplate)
			continue;
		foreach (cell, names)
			if (strcmp(lfirst(cell), NameStr(database->datname)) == 0)
				launcher_keep(database->oid, NameStr(database->datname));
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);
}

static void
launcher_round(void)
{
	List *names;
	ListCell *cell;

	foreach (cell, launcher_workers)
		((LauncherWorker *) lfirst(cell))->is_wanted = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SplitIdentifierString(pstrdup(es_guc_databases), ',', &names))
		launcher_keep_databases(names);
	launcher_end_unwanted();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_activity(STATE_IDLE, "watching the workers");
}

/* Entry point of the launcher. */
void
es_launcher_main(Datum arg)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	for (;;)
	{
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		launcher_round();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, LAUNCHER_LOOK_MS,
						 PG_WAIT_EXTENSION);
	}
}

/* Called by _PG_init, when the library is preloaded. */
void
es_launcher_register(void)
{
	BackgroundWorker launcher = {0};

	snprintf(launcher.bgw_name, BGW_MAXLEN, "eventstore launcher");
	snprintf(launcher.bgw_type, BGW_MAXLEN, "eventstore launcher");
	snprintf(launcher.bgw_library_name, BGW_MAXLEN, "eventstore");
	snprintf(launcher.bgw_function_name, BGW_MAXLEN, "es_launcher_main");
	launcher.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	launcher.bgw_start_time = BgWorkerStart_RecoveryFinished;
	launcher.bgw_restart_time = 1;
	RegisterBackgroundWorker(&launcher);

	launcher_previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = launcher_utility;
}
