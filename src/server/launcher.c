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
 * Memory: TopMemoryContext for when it started what, else the round's
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
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/compat.h"
#include "base/settings.h"
#include "server/launcher.h"
#include "signal/shared.h"

#define LAUNCHER_LOOK_MS  2000
#define LAUNCHER_PAUSE_MS 1000

/* When the launcher last started a worker, by database. */
typedef struct LauncherStart
{
	Oid database;
	TimestampTz at;
} LauncherStart;

static List *launcher_starts = NIL;
static ProcessUtility_hook_type launcher_previous_utility = NULL;

/* ----------------------------------------------------------------------
 * Commands that need a database empty
 * ----------------------------------------------------------------------
 */

/* An option that has a value; NULL if there is none. */
static DefElem *
launcher_find_option(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return option;
	}
	return NULL;
}

/* The database that a command needs empty; NULL: none. */
static const char *
launcher_emptied_database(Node *command)
{
	DefElem *template;

	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			return castNode(DropdbStmt, command)->dbname;
		case T_RenameStmt:
			if (castNode(RenameStmt, command)->renameType == OBJECT_DATABASE)
				return castNode(RenameStmt, command)->subname;
			return NULL;
		case T_AlterDatabaseStmt:
			if (launcher_find_option(castNode(AlterDatabaseStmt, command)->options, "tablespace") !=
				NULL)
				return castNode(AlterDatabaseStmt, command)->dbname;
			return NULL;
		case T_CreatedbStmt:
			template = launcher_find_option(castNode(CreatedbStmt, command)->options, "template");
			return template == NULL ? NULL : defGetString(template);
		default:
			return NULL;
	}
}

static void
launcher_unhold(int code, Datum database)
{
	es_shared_unhold(DatumGetObjectId(database));
}

static void
launcher_next_utility(PlannedStmt *statement, const char *source, bool read_only_tree,
					  ProcessUtilityContext context, ParamListInfo params,
					  QueryEnvironment *environment, DestReceiver *receiver,
					  QueryCompletion *completion)
{
	if (launcher_previous_utility)
		launcher_previous_utility(statement, source, read_only_tree, context, params, environment,
								  receiver, completion);
	else
		standard_ProcessUtility(statement, source, read_only_tree, context, params, environment,
								receiver, completion);
}

static void
launcher_utility(PlannedStmt *statement, const char *source, bool read_only_tree,
				 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
				 DestReceiver *receiver, QueryCompletion *completion)
{
	const char *name = launcher_emptied_database(statement->utilityStmt);
	Oid database = name == NULL ? InvalidOid : get_database_oid(name, true);

	if (!OidIsValid(database) || !es_compat_owns_database(database, GetUserId()))
	{
		launcher_next_utility(statement, source, read_only_tree, context, params, environment,
							  receiver, completion);
		return;
	}

	/* Not PG_FINALLY: the hold has to go when the session is terminated, too. */
	PG_ENSURE_ERROR_CLEANUP(launcher_unhold, ObjectIdGetDatum(database));
	{
		es_shared_hold(database);
		launcher_next_utility(statement, source, read_only_tree, context, params, environment,
							  receiver, completion);
	}
	PG_END_ENSURE_ERROR_CLEANUP(launcher_unhold, ObjectIdGetDatum(database));
	es_shared_unhold(database);
}

/* ----------------------------------------------------------------------
 * The launcher
 * ----------------------------------------------------------------------
 */

/* Whether it is time to start a worker for a database; notes that it is. */
static bool
launcher_may_start(Oid database)
{
	TimestampTz now = GetCurrentTimestamp();
	LauncherStart *start = NULL;
	MemoryContext caller;
	ListCell *cell;

	foreach (cell, launcher_starts)
	{
		start = lfirst(cell);
		if (start->database == database)
			break;
		start = NULL;
	}
	if (start != NULL && !TimestampDifferenceExceeds(start->at, now, LAUNCHER_PAUSE_MS))
		return false;

	if (start == NULL)
	{
		caller = MemoryContextSwitchTo(TopMemoryContext);
		start = palloc(sizeof(LauncherStart));
		start->database = database;
		launcher_starts = lappend(launcher_starts, start);
		MemoryContextSwitchTo(caller);
	}
	start->at = now;
	return true;
}

/*
 * See that a database has its worker.  Whether it has is known from shared
 * memory, so a launcher that was started anew knows its predecessor's workers.
 */
static void
launcher_keep(Oid database, const char *name)
{
	BackgroundWorker request = {0};

	if (es_shared_has_worker_in(database) || es_shared_is_held(database) ||
		!launcher_may_start(database))
		return;

	snprintf(request.bgw_name, BGW_MAXLEN, "eventstore worker for %s", name);
	snprintf(request.bgw_type, BGW_MAXLEN, "eventstore worker");
	snprintf(request.bgw_library_name, BGW_MAXLEN, "eventstore");
	snprintf(request.bgw_function_name, BGW_MAXLEN, "es_worker_main");
	request.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	request.bgw_start_time = BgWorkerStart_RecoveryFinished;
	request.bgw_restart_time = BGW_NEVER_RESTART;
	request.bgw_main_arg = ObjectIdGetDatum(database);
	request.bgw_notify_pid = MyProcPid;
	if (!RegisterDynamicBackgroundWorker(&request, NULL))
		ereport(LOG,
				(errmsg("could not start the eventstore worker for database \"%s\"", name),
				 errhint("You may need to increase max_worker_processes.")));
}

/*
 * See that each database whose name is listed has its worker.  Returns their
 * OIDs.
 *
 * Reads pg_database row by row, as autovacuum does: a process without a
 * database has no catalogue to find an index by.
 */
static List *
launcher_keep_databases(List *names)
{
	List *kept = NIL;
	Relation databases = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(databases, 0, NULL);
	HeapTuple row;

	while ((row = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(row);
		ListCell *cell;

		if (!database->datallowconn || database->datistemplate ||
			database->datconnlimit == DATCONNLIMIT_INVALID_DB)
			continue;
		foreach (cell, names)
		{
			if (strcmp(lfirst(cell), NameStr(database->datname)) != 0)
				continue;
			launcher_keep(database->oid, NameStr(database->datname));
			kept = lappend_oid(kept, database->oid);
		}
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);
	return kept;
}

static void
launcher_round(void)
{
	List *names;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (SplitIdentifierString(pstrdup(es_guc_databases), ',', &names))
		es_shared_end_workers(launcher_keep_databases(names));
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

	/* pg_upgrade drops and makes databases. */
	if (IsBinaryUpgrade)
		return;

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
