/*-------------------------------------------------------------------------
 *
 * trouble.c
 *		What keeps projections from going on.
 *
 * That of which the definitions' table says nothing: whether a projection has
 * an owner, whether it has to be rebuilt, and whether there is anybody in this
 * database who applies async ones by themselves.
 *
 * Memory: results in the current context.  Locks: none.  Calls: intact,
 * projection, settings, shared, stale.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/dbcommands.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "base/settings.h"
#include "projection/intact.h"
#include "projection/mark.h"
#include "projection/stale.h"
#include "projection/trouble.h"
#include "signal/shared.h"

PG_FUNCTION_INFO_V1(es_find_projection_trouble);

/* Columns of the result. */
#define Anum_trouble_owner      1
#define Anum_trouble_code       2
#define Anum_trouble_reason     3
#define Anum_trouble_noticed_at 4
#define Anum_trouble_obstacle   5
#define Natts_trouble           5

/* Whether this database is one that has a worker. */
bool
es_trouble_is_listed(void)
{
	char *database = get_database_name(MyDatabaseId);
	List *names;
	ListCell *cell;

	if (database == NULL || !SplitIdentifierString(pstrdup(es_guc_databases), ',', &names))
		return false;
	foreach (cell, names)
		if (strcmp(lfirst(cell), database) == 0)
			return true;
	return false;
}

/*
 * Why async projections are not applied by themselves in this database, as it is
 * configured; NULL: they are.
 */
const char *
es_trouble_of_database(void)
{
	if (!es_shared_is_there())
		return "no worker in this database: the library is not in shared_preload_libraries";
	if (!es_trouble_is_listed())
		return "no worker in this database: it is not in eventstore.databases";
	if (es_guc_projection_workers == 0)
		return "no process to apply it: eventstore.projection_workers is 0";
	return NULL;
}

/* The same, as things are at this moment. */
static const char *
trouble_of_moment(void)
{
	const char *lasting = es_trouble_of_database();

	if (lasting != NULL)
		return lasting;
	if (!es_shared_has_worker())
		return "no worker in this database: it has ended or could not be started, see the server's log";
	if (es_shared_lacks_process())
		return "no free process to apply it: max_worker_processes";
	return NULL;
}

/* What keeps it from being applied, whoever does it; returns whether there is anything. */
static bool
trouble_find(const EsProjection *projection, EsStale *trouble)
{
	if (es_stale_find(projection->name, trouble))
		return true;
	trouble->noticed_at = GetCurrentTimestamp();
	if (!OidIsValid(projection->role))
	{
		trouble->code = pstrdup(unpack_sql_state(ERRCODE_UNDEFINED_OBJECT));
		trouble->reason = ES_MARK_LOST;
		return true;
	}
	trouble->code = pstrdup(unpack_sql_state(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE));
	return es_intact_is_lost(projection, &trouble->reason);
}

/*
 * eventstore.find_projection_trouble(name text) -> (owner text, code text, reason text,
 *		noticed_at timestamptz, obstacle text)
 */
Datum
es_find_projection_trouble(PG_FUNCTION_ARGS)
{
	EsProjection *projection = NULL;
	EsStale trouble = {0};
	const char *obstacle = NULL;
	Datum values[Natts_trouble] = {0};
	bool nulls[Natts_trouble];
	TupleDesc desc;

	PreventCommandIfParallelMode("eventstore.projection_status");
	memset(nulls, true, sizeof(nulls));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type is not a row type");
	if (!PG_ARGISNULL(0))
		projection = es_projection_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (projection != NULL && OidIsValid(projection->role))
	{
		values[Anum_trouble_owner - 1] = CStringGetTextDatum(
			GetUserNameFromId(projection->role, false));
		nulls[Anum_trouble_owner - 1] = false;
	}
	if (projection != NULL && trouble_find(projection, &trouble))
	{
		values[Anum_trouble_code - 1] = CStringGetTextDatum(trouble.code);
		values[Anum_trouble_reason - 1] = CStringGetTextDatum(trouble.reason);
		values[Anum_trouble_noticed_at - 1] = TimestampTzGetDatum(trouble.noticed_at);
		nulls[Anum_trouble_code - 1] = nulls[Anum_trouble_reason - 1] = false;
		nulls[Anum_trouble_noticed_at - 1] = false;
	}
	else if (projection != NULL && !projection->is_inline &&
			 projection->state == ES_PROJECTION_RUNNING)
		obstacle = trouble_of_moment();
	if (obstacle != NULL)
	{
		values[Anum_trouble_obstacle - 1] = CStringGetTextDatum(obstacle);
		nulls[Anum_trouble_obstacle - 1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
