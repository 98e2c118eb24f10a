/*-------------------------------------------------------------------------
 *
 * launcher.c
 *		The process that keeps a worker in each of eventstore.databases.
 *
 * It is told when a worker ends, and looks every few seconds for databases
 * that came into being.  A worker that ended is not started again before
 * LAUNCHER_PAUSE_MS, lest an error that stays fills the log.  That there is no
 * slot for one, or no such database, the log is told once.
 *
 * When a prepared transaction has been ended, its database's worker is woken.
 *
 * DROP DATABASE and its like need the database empty.  A utility hook ends
 * the worker for as long as such a command runs; the launcher then starts it
 * again, if there is still something to start it in.
 *
 * Memory: TopMemoryContext for when it started what, and of what it has told;
 * else the round's transaction.  Locks: none beyond a transaction.  Calls:
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
	TimestampTz at;  /* 0: not yet */
	bool has_begun;  /* one was started */
	bool is_refused; /* there was no slot for it, and the log has been told */
} LauncherStart;

static List *launcher_starts = NIL;

/* Names of databases that the log has been told there is no worker for. */
static List *launcher_told = NIL;

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

/* Whether a command ends a prepared transaction, of which no callback tells. */
static bool
launcher_ends_prepared(Node *command)
{
	return IsA(command, TransactionStmt) &&
		(castNode(TransactionStmt, command)->kind == TRANS_STMT_COMMIT_PREPARED ||
		 castNode(TransactionStmt, command)->kind == TRANS_STMT_ROLLBACK_PREPARED);
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
		if (launcher_ends_prepared(statement->utilityStmt))
			(void) es_shared_wake_worker();
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

/* What is known of starts in a database. */
static LauncherStart *
launcher_find_start(Oid database)
{
	MemoryContext caller;
	LauncherStart *start;
	ListCell *cell;

	foreach (cell, launcher_starts)
	{
		start = lfirst(cell);
		if (start->database == database)
			return start;
	}
	caller = MemoryContextSwitchTo(TopMemoryContext);
	start = palloc0(sizeof(LauncherStart));
	start->database = database;
	launcher_starts = lappend(launcher_starts, start);
	MemoryContextSwitchTo(caller);
	return start;
}

/* Tell the log once, until there is a slot. */
static void
launcher_note_start(LauncherStart *start, const char *name, bool is_started)
{
	if (!is_started && !start->is_refused)
		ereport(LOG,
				(errmsg("could not start the eventstore worker for database \"%s\"", name),
				 errdetail("It is tried again and again, and told once."),
				 errhint("You may need to increase max_worker_processes.")));
	start->is_refused = !is_started;
	start->has_begun = start->has_begun || is_started;
}

/*
 * See that a database has its worker.  Whether it has is known from shared
 * memory, so a launcher that was started anew knows its predecessor's workers.
 */
static void
launcher_keep(Oid database, const char *name)
{
	LauncherStart *start = launcher_find_start(database);
	TimestampTz now = GetCurrentTimestamp();
	BackgroundWorker request = {0};

	if (es_shared_has_worker_in(database) || es_shared_is_held(database) ||
		(start->at != 0 && !TimestampDifferenceExceeds(start->at, now, LAUNCHER_PAUSE_MS)))
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
	/* What there is to complain of, the first one does. */
	if (!start->has_begun)
		request.bgw_extra[0] = 1;
	start->at = now;
	launcher_note_start(start, name, RegisterDynamicBackgroundWorker(&request, NULL));
}

static bool
launcher_has_name(const List *names, const char *name)
{
	ListCell *cell;

	foreach (cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/* Why a database can have no worker; NULL: it can. */
static const char *
launcher_obstacle(Form_pg_database database)
{
	if (database->datconnlimit == DATCONNLIMIT_INVALID_DB)
		return "Its DROP DATABASE was interrupted.";
	if (database->datistemplate)
		return "It is a template.";
	if (!database->datallowconn)
		return "It allows no connections.";
	return NULL;
}

/*
 * Tell the log once of a database that has no worker and will have none, until
 * it has one.
 */
static void
launcher_complain(const char *name, const char *obstacle)
{
	MemoryContext caller;

	if (launcher_has_name(launcher_told, name))
		return;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	launcher_told = lappend(launcher_told, pstrdup(name));
	MemoryContextSwitchTo(caller);
	ereport(WARNING,
			(errcode(ERRCODE_UNDEFINED_DATABASE),
			 errmsg("database \"%s\" of eventstore.databases can have no worker", name),
			 errdetail_internal("%s", obstacle),
			 errhint("Mend that, or take it out of eventstore.databases.")));
}

/* Those that are not on a list may be told of again. */
static void
launcher_forget_told(const List *names)
{
	ListCell *cell;

	foreach (cell, launcher_told)
	{
		char *name = lfirst(cell);

		if (launcher_has_name(names, name))
			continue;
		launcher_told = foreach_delete_current(launcher_told, cell);
		pfree(name);
	}
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
	List *missing = list_copy(names);
	List *without = NIL;
	Relation databases = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(databases, 0, NULL);
	HeapTuple row;
	ListCell *cell;

	while ((row = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(row);
		char *name = pstrdup(NameStr(database->datname));
		const char *obstacle = launcher_obstacle(database);

		if (!launcher_has_name(names, name))
			continue;
		foreach (cell, missing)
			if (strcmp(lfirst(cell), name) == 0)
				missing = foreach_delete_current(missing, cell);
		if (obstacle == NULL)
		{
			launcher_keep(database->oid, name);
			kept = lappend_oid(kept, database->oid);
			continue;
		}
		without = lappend(without, name);
		launcher_complain(name, obstacle);
	}
	table_endscan(scan);
	table_close(databases, AccessShareLock);

	foreach (cell, missing)
		launcher_complain(lfirst(cell), "It does not exist.");
	launcher_forget_told(list_concat(without, missing));
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
