/*-------------------------------------------------------------------------
 *
 * state.c
 *		The verbs for snapshots: es_save_snapshot, es_snapshot, es_load.
 *
 * A snapshot is a cache, which must not change an answer.  It is kept with
 * the position of the event that it was taken at, and it counts only while
 * that event stands in the stream, as the calling statement sees it.  So one
 * that is ahead of the stream is passed over, and stays so when the stream
 * grows past it by other events, as after a restore of older data.
 *
 * es_snapshot and es_load see what the calling statement sees: snapshot and
 * tail come from one MVCC snapshot.
 *
 * es_save_snapshot writes as the table's owner: the right to call it is the
 * right to save.  A later snapshot is never replaced by an earlier one,
 * unless by its own event it does not count.
 *
 * Memory: the function call's context; the plan of the write is kept for the
 * session.  Locks: AccessShare on snapshots, events and their indexes; to
 * save, RowExclusive on snapshots and the row.  Calls: arguments, catalog, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/scan.h"

PG_FUNCTION_INFO_V1(es_save_snapshot);
PG_FUNCTION_INFO_V1(es_snapshot);
PG_FUNCTION_INFO_V1(es_load);

/* A row of eventstore.snapshots. */
typedef struct StateSnapshot
{
	bool exists;
	int64 version;  /* of the event that it was taken at */
	int64 position; /* of that event */
	Datum state;    /* jsonb */
	TimestampTz saved_at;
} StateSnapshot;

/* ----------------------------------------------------------------------
 * Arguments
 * ----------------------------------------------------------------------
 */

static int64
state_get_version(FunctionCallInfo fcinfo)
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
state_get_state(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("state must not be null"),
				 errhint("Save the JSON value null for a state that is nothing.")));
	return PG_GETARG_DATUM(2);
}

static int32
state_get_schema_version(FunctionCallInfo fcinfo, int argument)
{
	es_arguments_check_not_null(fcinfo, argument, "schema_version");
	return PG_GETARG_INT32(argument);
}

/* ----------------------------------------------------------------------
 * Finding
 * ----------------------------------------------------------------------
 */

static Datum
state_column(const EsScan *scan, AttrNumber column)
{
	bool is_null;

	return slot_getattr(scan->slot, column, &is_null);
}

/* The snapshot that is kept, whether or not it counts. */
static StateSnapshot
state_find_kept(const text *stream, int32 schema_version, Snapshot snapshot)
{
	Relation snapshots = es_catalog_open(ES_SNAPSHOTS, AccessShareLock);
	StateSnapshot kept = {false};
	EsScan scan;

	es_scan_open(&scan, snapshots, ES_SNAPSHOTS_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(&scan, 2, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(schema_version));
	es_scan_begin(&scan, snapshot);
	kept.exists = es_scan_next(&scan, ForwardScanDirection);
	if (kept.exists)
	{
		kept.version = DatumGetInt64(state_column(&scan, Anum_snapshots_version));
		kept.position = DatumGetInt64(state_column(&scan, Anum_snapshots_position));
		kept.state = PointerGetDatum(
			PG_DETOAST_DATUM_COPY(state_column(&scan, Anum_snapshots_state)));
		kept.saved_at = DatumGetTimestampTz(state_column(&scan, Anum_snapshots_saved_at));
	}
	es_scan_close(&scan);
	relation_close(snapshots, NoLock);
	return kept;
}

/* Begin a scan of a stream's events, from a version on. */
static void
state_begin_events(EsScan *scan, Relation events, const text *stream, int64 from, Snapshot snapshot)
{
	es_scan_open(scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(scan, 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
	es_scan_begin(scan, snapshot);
}

/* Whether the next event is of a version, and then its position. */
static bool
state_next_is(EsScan *scan, int64 version, int64 *position)
{
	if (!es_scan_next(scan, ForwardScanDirection) ||
		DatumGetInt64(state_column(scan, Anum_events_version)) != version)
		return false;
	*position = DatumGetInt64(state_column(scan, Anum_events_position));
	return true;
}

/*
 * Begin a scan of the events after a snapshot.  One that does not count is
 * made one that does not exist, and the scan begins with the first event.
 */
static void
state_begin_tail(EsScan *scan, Relation events, const text *stream, StateSnapshot *kept,
				 Snapshot snapshot)
{
	int64 position;

	if (kept->exists)
	{
		state_begin_events(scan, events, stream, kept->version, snapshot);
		if (state_next_is(scan, kept->version, &position) && position == kept->position)
			return;
		es_scan_close(scan);
		kept->exists = false;
	}
	state_begin_events(scan, events, stream, 1, snapshot);
}

/* Position of a stream's event; 0: it is not there. */
static int64
state_find_position(const text *stream, int64 version, Snapshot snapshot)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	int64 position = 0;
	EsScan scan;

	state_begin_events(&scan, events, stream, version, snapshot);
	if (!state_next_is(&scan, version, &position))
		position = 0;
	es_scan_close(&scan);
	relation_close(events, NoLock);
	return position;
}

/* Whether a snapshot that exists counts. */
static bool
state_counts(const StateSnapshot *kept, const text *stream, Snapshot snapshot)
{
	return state_find_position(stream, kept->version, snapshot) == kept->position;
}

/* ----------------------------------------------------------------------
 * Saving
 * ----------------------------------------------------------------------
 */

#define STATE_SAVE_ARGUMENTS 8

/* $7, $8: a snapshot that is replaced although it is later. */
static const char *const state_save_query =
	"INSERT INTO eventstore.snapshots AS s (stream, schema_version, version, position, state, saved_at)"
	" VALUES ($1, $2, $3, $4, $5, $6)"
	" ON CONFLICT (stream, schema_version) DO UPDATE"
	" SET version = excluded.version, position = excluded.position, state = excluded.state, saved_at = excluded.saved_at"
	" WHERE s.version OPERATOR(pg_catalog.<=) excluded.version"
	" OR s.version OPERATOR(pg_catalog.=) $7 AND s.position OPERATOR(pg_catalog.=) $8";

/* The saved plan of the query.  Needs a connection to SPI. */
static SPIPlanPtr
state_get_plan(void)
{
	static SPIPlanPtr plan = NULL;
	Oid types[STATE_SAVE_ARGUMENTS] = {TEXTOID,  INT4OID,        INT8OID, INT8OID,
									   JSONBOID, TIMESTAMPTZOID, INT8OID, INT8OID};

	if (plan == NULL)
	{
		SPIPlanPtr prepared = SPI_prepare(state_save_query, STATE_SAVE_ARGUMENTS, types);

		if (prepared == NULL || SPI_keepplan(prepared) != 0)
			elog(ERROR, "could not prepare the saving of a snapshot: %s",
				 SPI_result_code_string(SPI_result));
		plan = prepared;
	}
	return plan;
}

/*
 * Write a snapshot.
 *
 * replaced: a snapshot that does not count, or NULL.
 */
static void
state_write(const text *stream, int32 schema_version, const StateSnapshot *fresh,
			const StateSnapshot *replaced)
{
	Relation snapshots = es_catalog_open(ES_SNAPSHOTS, RowExclusiveLock);
	Datum values[STATE_SAVE_ARGUMENTS] = {0};
	char nulls[STATE_SAVE_ARGUMENTS + 1] = "      nn";
	Oid user;
	int security;
	int result;

	values[0] = PointerGetDatum(stream);
	values[1] = Int32GetDatum(schema_version);
	values[2] = Int64GetDatum(fresh->version);
	values[3] = Int64GetDatum(fresh->position);
	values[4] = fresh->state;
	values[5] = TimestampTzGetDatum(fresh->saved_at);
	if (replaced != NULL)
	{
		values[6] = Int64GetDatum(replaced->version);
		values[7] = Int64GetDatum(replaced->position);
		nulls[6] = nulls[7] = ' ';
	}

	SPI_connect();
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(RelationGetForm(snapshots)->relowner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	result = SPI_execute_plan(state_get_plan(), values, nulls, false, 0);
	SetUserIdAndSecContext(user, security);
	if (result != SPI_OK_INSERT)
		elog(ERROR, "unexpected result %d of saving a snapshot", result);
	SPI_finish();
	relation_close(snapshots, NoLock);
}

/*
 * es_save_snapshot(stream text, version bigint, state jsonb, schema_version int = 1) -> void
 */
Datum
es_save_snapshot(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int64 version = state_get_version(fcinfo);
	Datum state = state_get_state(fcinfo);
	int32 schema_version = state_get_schema_version(fcinfo, 3);
	StateSnapshot fresh = {true, version, 0, state, 0};
	StateSnapshot kept;
	SnapshotData copy;
	Snapshot snapshot;

	PreventCommandIfReadOnly("es_save_snapshot()");
	PreventCommandIfParallelMode("es_save_snapshot()");
	if (version == 0)
		PG_RETURN_VOID(); /* before the first event there is nothing to save */

	CommandCounterIncrement();
	snapshot = es_scan_snapshot(&copy);
	fresh.position = state_find_position(stream, version, snapshot);
	if (fresh.position == 0)
	{
		ereport(NOTICE,
				(errmsg("snapshot of stream \"%s\" is not kept", text_to_cstring(stream)),
				 errdetail("The stream has no event of version %lld.", (long long) version)));
		PG_RETURN_VOID();
	}

	kept = state_find_kept(stream, schema_version, snapshot);
	fresh.saved_at = GetCurrentTimestamp();
	state_write(stream, schema_version, &fresh,
				kept.exists && !state_counts(&kept, stream, snapshot) ? &kept : NULL);
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

static Datum
state_make_result(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type is not a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * es_snapshot(stream text, schema_version int = 1)
 *	 -> (version bigint, state jsonb, saved_at timestamptz)
 */
Datum
es_snapshot(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int32 schema_version = state_get_schema_version(fcinfo, 1);
	StateSnapshot kept = state_find_kept(stream, schema_version, GetActiveSnapshot());
	bool is_none = !kept.exists || !state_counts(&kept, stream, GetActiveSnapshot());
	Datum values[3] = {Int64GetDatum(kept.version), kept.state, TimestampTzGetDatum(kept.saved_at)};
	bool nulls[3] = {is_none, is_none, is_none};

	PG_RETURN_DATUM(state_make_result(fcinfo, values, nulls));
}

static void
state_check_size(Size size)
{
	if (size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events for one array"),
				 errdetail("They take more than %zu bytes.", (Size) MaxAllocSize),
				 errhint("Read them with es_read(), or fold them with es_fold(), and save a snapshot.")));
}

/* The rest of a scan's events as eventstore.event[]. */
static Datum
state_collect(EsScan *scan)
{
	Oid type = es_catalog_event_type();
	TupleDesc desc = lookup_rowtype_tupdesc(type, -1);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext event_context = AllocSetContextCreate(caller, "eventstore load",
														ALLOCSET_DEFAULT_SIZES);
	ArrayBuildState *array = initArrayResult(type, caller, false);
	Size size = 0;

	while (es_scan_next(scan, ForwardScanDirection))
	{
		Datum event;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(event_context);
		event = es_scan_event(scan, desc);
		MemoryContextSwitchTo(caller);
		size += VARSIZE_ANY(DatumGetPointer(event));
		state_check_size(size);
		accumArrayResult(array, event, false, type, caller);
		MemoryContextReset(event_context);
	}
	MemoryContextDelete(event_context);
	ReleaseTupleDesc(desc);
	return makeArrayResult(array, caller);
}

/*
 * es_load(stream text, schema_version int = 1)
 *	 -> (version bigint, state jsonb, events eventstore.event[])
 *
 * Without a snapshot that counts: version 0, state null and all events.
 */
Datum
es_load(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int32 schema_version = state_get_schema_version(fcinfo, 1);
	StateSnapshot kept = state_find_kept(stream, schema_version, GetActiveSnapshot());
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Datum values[3];
	bool nulls[3] = {false, false, false};
	EsScan scan;

	state_begin_tail(&scan, events, stream, &kept, GetActiveSnapshot());
	values[0] = Int64GetDatum(kept.exists ? kept.version : 0);
	values[1] = kept.state;
	values[2] = state_collect(&scan);
	nulls[1] = !kept.exists;
	es_scan_close(&scan);
	relation_close(events, NoLock);
	PG_RETURN_DATUM(state_make_result(fcinfo, values, nulls));
}
