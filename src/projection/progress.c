/*-------------------------------------------------------------------------
 *
 * progress.c
 *		What sessions are doing with projections, for others to see.
 *
 * A rebuild is one transaction, whose rows nobody sees before it ends.  So what
 * it tells about itself goes where VACUUM and CREATE INDEX tell of theirs: into
 * the session's entry of backend status, under a kind of command that is none
 * of PostgreSQL's own.  That needs no shared memory of ours, and vanishes with
 * the transaction, however that ends.
 *
 * Commands that tell of themselves (ANALYZE, CREATE INDEX) and a subtransaction
 * that fails wipe it out: it is shown anew each time.
 *
 * Memory: the current context.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/backend_progress.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "projection/progress.h"

PG_FUNCTION_INFO_V1(es_find_projection_activity);

/* Not one of PostgreSQL's commands. */
#define PROGRESS_COMMAND_ES ((ProgressCommandType) 0x4501)

/* The parameters: the name takes 64 bytes with its end. */
#define PROGRESS_NAME     0
#define PROGRESS_ACTIVITY 8
#define PROGRESS_DONE     9
#define PROGRESS_TOTAL    10
#define PROGRESS_COUNT    11

StaticAssertDecl(PROGRESS_COUNT <= PGSTAT_NUM_PROGRESS_PARAM, "no room to show progress");

/*
 * Show what this session does with a projection.
 *
 * done, total: events; total is 0 where it is not known.
 */
void
es_progress_show(const char *projection, EsActivity activity, int64 done, int64 total)
{
	int indexes[PROGRESS_COUNT];
	int64 values[PROGRESS_COUNT] = {0};
	int i;

	for (i = 0; i < PROGRESS_COUNT; i++)
		indexes[i] = i;
	strlcpy((char *) values, projection, PROGRESS_ACTIVITY * sizeof(int64));
	values[PROGRESS_ACTIVITY] = activity;
	values[PROGRESS_DONE] = done;
	values[PROGRESS_TOTAL] = total;
	pgstat_progress_start_command(PROGRESS_COMMAND_ES, InvalidOid);
	pgstat_progress_update_multi_param(PROGRESS_COUNT, indexes, values);
}

/* Nothing any more. */
void
es_progress_hide(void)
{
	pgstat_progress_end_command();
}

static void
progress_return(ReturnSetInfo *result, const PgBackendStatus *status)
{
	const int64 *shown = status->st_progress_param;
	bool is_rebuild = shown[PROGRESS_ACTIVITY] == ES_ACTIVITY_REBUILD;
	bool nulls[5] = {false, false, false, !is_rebuild, !is_rebuild};
	Datum values[5];

	values[0] = CStringGetTextDatum((const char *) &shown[PROGRESS_NAME]);
	values[1] = Int32GetDatum(status->st_procpid);
	values[2] = CStringGetTextDatum(is_rebuild ? "rebuild" : "run");
	values[3] = Int64GetDatum(shown[PROGRESS_DONE]);
	values[4] = Int64GetDatum(shown[PROGRESS_TOTAL]);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * eventstore.find_projection_activity() -> SETOF (projection text, pid int,
 *		activity text, events_done bigint, events_total bigint)
 */
Datum
es_find_projection_activity(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int count;
	int i;

	InitMaterializedSRF(fcinfo, 0);
	count = pgstat_fetch_stat_numbackends();
	for (i = 1; i <= count; i++)
	{
		const PgBackendStatus *status = &es_compat_backend_status(i)->backendStatus;

		if (status->st_procpid > 0 && status->st_databaseid == MyDatabaseId &&
			status->st_progress_command == PROGRESS_COMMAND_ES)
			progress_return(result, status);
	}
	return (Datum) 0;
}
