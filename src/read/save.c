/*-------------------------------------------------------------------------
 *
 * save.c
 *		The verb that keeps a snapshot: es_save_snapshot.
 *
 * It writes as the table's owner: the right to call it is the right to save.  A
 * later snapshot is never replaced by an earlier one, unless by its own event
 * it does not count.
 *
 * Memory: the function call's context; the plan of the write is kept for the
 * session.  Locks: RowExclusive on snapshots and the row, and the userlock
 * "keeps" of the stream, which is not waited for.  Calls: arguments, catalog,
 * conceal, kept, removed, rights, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/conceal.h"
#include "base/removed.h"
#include "read/kept.h"
#include "rights/rights.h"

PG_FUNCTION_INFO_V1(es_save_snapshot);

static int64
save_get_version(FunctionCallInfo fcinfo)
{
	int64 version;

	es_arguments_check_not_null(fcinfo, 1, "version");
	version = PG_GETARG_INT64(1);
	if (version < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("version must not be negative")));
	return version;
}

static Datum
save_get_state(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("state must not be null"),
				 errhint("Save the JSON value null for a state that is nothing.")));
	return PG_GETARG_DATUM(2);
}

#define SAVE_ARGUMENTS 11

/* $9, $10, $11: version, id and time of the event of a snapshot that is replaced although it is later. */
static const char *const save_query =
	"INSERT INTO eventstore.snapshots AS s"
	" (stream, schema_version, version, position, event_id, recorded_at, state, saved_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
	" ON CONFLICT (stream, schema_version) DO UPDATE"
	" SET version = excluded.version, position = excluded.position, event_id = excluded.event_id,"
	" recorded_at = excluded.recorded_at, state = excluded.state, saved_at = excluded.saved_at"
	" WHERE s.version OPERATOR(pg_catalog.<=) excluded.version"
	" OR s.version OPERATOR(pg_catalog.=) $9 AND s.event_id OPERATOR(pg_catalog.=) $10"
	" AND s.recorded_at OPERATOR(pg_catalog.=) $11";

/* The saved plan of the query.  Needs a connection to SPI. */
static SPIPlanPtr
save_get_plan(void)
{
	static SPIPlanPtr plan = NULL;
	Oid types[SAVE_ARGUMENTS] = {TEXTOID, INT4OID,        INT8OID,       INT8OID,
								 UUIDOID, TIMESTAMPTZOID, JSONBOID,      TIMESTAMPTZOID,
								 INT8OID, UUIDOID,        TIMESTAMPTZOID};

	if (plan == NULL)
	{
		SPIPlanPtr prepared = SPI_prepare(save_query, SAVE_ARGUMENTS, types);

		if (prepared == NULL || SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not prepare the saving of a snapshot: %s",
				 SPI_result_code_string(SPI_result));
		plan = prepared;
	}
	return plan;
}

/* Run it; an error does not show the state. */
static int
save_execute(Relation snapshots, Datum *values, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile int result = 0;

	PG_TRY();
	{
		result = SPI_execute_plan(save_get_plan(), values, nulls, false, 0);
	}
	PG_CATCH();
	{
		EsConceal conceal = {.table = snapshots, .own_columns = Natts_snapshots};

		es_conceal_rethrow(&conceal, caller);
	}
	PG_END_TRY();
	return result;
}

/*
 * Write a snapshot.
 *
 * replaced: a snapshot that does not count, or NULL.
 */
static void
save_write(const text *stream, int32 schema_version, const EsKept *fresh, const EsKept *replaced)
{
	Relation snapshots = es_catalog_open(ES_SNAPSHOTS, RowExclusiveLock);
	Datum values[SAVE_ARGUMENTS] = {0};
	char nulls[SAVE_ARGUMENTS + 1] = "        nnn";
	Oid user;
	int security;
	int result;

	values[0] = PointerGetDatum(stream);
	values[1] = Int32GetDatum(schema_version);
	values[2] = Int64GetDatum(fresh->event.version);
	values[3] = Int64GetDatum(fresh->event.position);
	values[4] = UUIDPGetDatum(&fresh->event.id);
	values[5] = TimestampTzGetDatum(fresh->event.recorded_at);
	values[6] = fresh->state;
	values[7] = TimestampTzGetDatum(fresh->saved_at);
	if (replaced != NULL)
	{
		values[8] = Int64GetDatum(replaced->event.version);
		values[9] = UUIDPGetDatum(&replaced->event.id);
		values[10] = TimestampTzGetDatum(replaced->event.recorded_at);
		memset(nulls, ' ', SAVE_ARGUMENTS);
	}

	SPI_connect();
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(RelationGetForm(snapshots)->relowner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	result = save_execute(snapshots, values, nulls);
	SetUserIdAndSecContext(user, security);
	if (result != SPI_OK_INSERT)
		elog(ERROR, "unexpected result %d of saving a snapshot", result);
	SPI_finish();
	relation_close(snapshots, NoLock);
}

/*
 * Whether a state of a stream can be kept: its event is there, and stays so until
 * this transaction is over.
 *
 * event: receives it.
 */
static bool
save_may_save(const text *stream, int64 version, Snapshot snapshot, EsStateEvent *event)
{
	Snapshot latest;
	bool is_there;

	if (!es_removed_keep(stream))
	{
		ereport(NOTICE,
				(errmsg("snapshot of stream \"%s\" is not kept", text_to_cstring(stream)),
				 errdetail("Events of the stream are being removed or redacted.")));
		return false;
	}
	latest = RegisterSnapshot(GetLatestSnapshot());
	is_there = es_kept_find_event(stream, version, snapshot, event) &&
		es_kept_find_event(stream, version, latest, event);
	UnregisterSnapshot(latest);
	if (!is_there)
		ereport(NOTICE,
				(errmsg("snapshot of stream \"%s\" is not kept", text_to_cstring(stream)),
				 errdetail("The stream has no event of version %lld.", (long long) version)));
	return is_there;
}

/*
 * es_save_snapshot(stream text, version bigint, state jsonb, schema_version bigint = 1) -> void
 */
Datum
es_save_snapshot(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int64 version = save_get_version(fcinfo);
	Datum state = save_get_state(fcinfo);
	int32 schema_version = es_kept_get_schema_version(fcinfo, 3);
	EsKept fresh = {.exists = true, .state = state};
	EsKept kept;
	SnapshotData copy;
	Snapshot snapshot;

	PreventCommandIfReadOnly("es_save_snapshot()");
	PreventCommandIfParallelMode("es_save_snapshot()");
	es_rights_check_append(stream);
	if (version == 0)
		PG_RETURN_VOID(); /* before the first event there is nothing to save */

	CommandCounterIncrement();
	snapshot = es_scan_snapshot(&copy);
	if (!save_may_save(stream, version, snapshot, &fresh.event))
		PG_RETURN_VOID();

	kept = es_kept_find(stream, schema_version, snapshot);
	fresh.saved_at = GetCurrentTimestamp();
	save_write(stream, schema_version, &fresh,
			   kept.exists && !es_kept_counts(&kept, stream, snapshot) ? &kept : NULL);
	PG_RETURN_VOID();
}
