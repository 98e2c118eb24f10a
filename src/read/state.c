/*-------------------------------------------------------------------------
 *
 * state.c
 *		The verbs for snapshots: es_save_snapshot, es_snapshot, es_load.
 *
 * A snapshot is a cache, which must not change an answer.  It is kept with
 * position, id and time of the event that it was taken at, and it counts only
 * while that very event stands in the stream, as the calling statement sees it.
 * So one that is ahead of the stream is passed over, and stays so when the
 * stream grows past it by other events, as after a restore of older data.
 * Where the stream was truncated right behind that event, it counts, too
 * (beginning.c).
 *
 * es_snapshot and es_load see what the calling statement sees: snapshot and
 * tail come from one MVCC snapshot; and what row security lets the caller see.
 *
 * es_save_snapshot writes as the table's owner: the right to call it is the
 * right to save.  A later snapshot is never replaced by an earlier one,
 * unless by its own event it does not count.
 *
 * Memory: the function call's context; the plan of the write is kept for the
 * session.  Locks: AccessShare on snapshots, events and their indexes; to
 * save, RowExclusive on snapshots and the row, and the userlock "keeps" of the
 * stream, which is not waited for.  Calls: arguments, beginning, catalog,
 * conceal, removed, rights, scan, see.
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
#include "utils/uuid.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/conceal.h"
#include "base/removed.h"
#include "base/scan.h"
#include "read/beginning.h"
#include "read/whereabouts.h"
#include "rights/rights.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_save_snapshot);
PG_FUNCTION_INFO_V1(es_snapshot);
PG_FUNCTION_INFO_V1(es_load);

/* A row of eventstore.snapshots. */
typedef struct StateSnapshot
{
	bool exists;
	EsStateEvent event; /* that it was taken at */
	Datum state;        /* jsonb */
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
	return (int32) es_arguments_get_number(fcinfo, argument, "schema_version", PG_INT32_MIN,
										   PG_INT32_MAX);
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
		kept.event.version = DatumGetInt64(state_column(&scan, Anum_snapshots_version));
		kept.event.position = DatumGetInt64(state_column(&scan, Anum_snapshots_position));
		kept.event.id = *DatumGetUUIDP(state_column(&scan, Anum_snapshots_event_id));
		kept.event.recorded_at = DatumGetTimestampTz(
			state_column(&scan, Anum_snapshots_recorded_at));
		kept.state = PointerGetDatum(
			PG_DETOAST_DATUM_COPY(state_column(&scan, Anum_snapshots_state)));
		kept.saved_at = DatumGetTimestampTz(state_column(&scan, Anum_snapshots_saved_at));
	}
	es_scan_close(&scan);
	relation_close(snapshots, NoLock);
	return kept;
}

static void
state_open_events(EsScan *scan, Relation events, const text *stream, int64 from)
{
	es_scan_open(scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(scan, 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
}

/* Begin a scan of a stream's events that the caller may see, from a version on. */
static void
state_begin_events(EsScan *scan, Relation events, const text *stream, int64 from, Snapshot snapshot)
{
	state_open_events(scan, events, stream, from);
	es_see_as(scan, GetUserId(), ForwardScanDirection);
	es_whereabouts_narrow(scan, stream, snapshot, ForwardScanDirection, from);
	es_scan_begin(scan, snapshot);
}

/*
 * Whether row security hides from the caller any event of a stream up to a
 * version.  A snapshot is of all of them: it would tell of what is hidden.
 */
static bool
state_has_hidden(Relation events, const text *stream, int64 upto, Snapshot snapshot)
{
	EsScan seen;
	EsScan all;
	bool result = false;

	if (!es_see_is_limited(events, GetUserId()))
		return false;
	state_begin_events(&seen, events, stream, 0, snapshot);
	es_scan_open(&all, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&all, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(&all, 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	es_scan_begin(&all, snapshot);
	/* Each event of the one scan has to be the next of the other. */
	while (!result && es_scan_next(&all, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		result = !es_scan_next(&seen, ForwardScanDirection) ||
			DatumGetInt64(state_column(&seen, Anum_events_version)) !=
				DatumGetInt64(state_column(&all, Anum_events_version));
	}
	es_scan_close(&all);
	es_scan_close(&seen);
	return result;
}

/* Whether the next event is of a version, and then which it is. */
static bool
state_next_is(EsScan *scan, int64 version, EsStateEvent *event)
{
	if (!es_scan_next(scan, ForwardScanDirection) ||
		DatumGetInt64(state_column(scan, Anum_events_version)) != version)
		return false;
	event->version = version;
	event->position = DatumGetInt64(state_column(scan, Anum_events_position));
	event->id = *DatumGetUUIDP(state_column(scan, Anum_events_id));
	event->recorded_at = DatumGetTimestampTz(state_column(scan, Anum_events_recorded_at));
	return true;
}

static bool
state_is_same(const EsStateEvent *a, const EsStateEvent *b)
{
	return a->version == b->version && a->position == b->position &&
		memcmp(&a->id, &b->id, UUID_LEN) == 0 && a->recorded_at == b->recorded_at;
}

/*
 * Whether a snapshot of events that are gone counts for the caller.  What row
 * security would have hidden of them nobody knows any more; where it hides
 * nothing of what is left of the stream, it is taken to have hidden nothing.
 */
static bool
state_is_of_removed(Relation events, const text *stream, const StateSnapshot *kept,
					Snapshot snapshot)
{
	EsStateEvent event;
	EsScan scan;
	bool result;

	if (!es_beginning_follows(events, stream, &kept->event, snapshot))
		return false;
	if (!es_policy_applies(events, GetUserId()))
		return true;
	state_begin_events(&scan, events, stream, kept->event.version + 1, snapshot);
	result = state_next_is(&scan, kept->event.version + 1, &event);
	es_scan_close(&scan);
	return result && !state_has_hidden(events, stream, PG_INT64_MAX, snapshot);
}

/*
 * Begin a scan of the events after a snapshot.  One that does not count is
 * made one that does not exist, and the scan begins with the first event.
 */
static void
state_begin_tail(EsScan *scan, Relation events, const text *stream, StateSnapshot *kept,
				 Snapshot snapshot)
{
	EsStateEvent event;

	if (kept->exists && state_has_hidden(events, stream, kept->event.version, snapshot))
		kept->exists = false;
	if (kept->exists)
	{
		state_begin_events(scan, events, stream, kept->event.version, snapshot);
		if (state_next_is(scan, kept->event.version, &event) && state_is_same(&event, &kept->event))
			return;
		es_scan_close(scan);
		kept->exists = state_is_of_removed(events, stream, kept, snapshot);
	}
	state_begin_events(scan, events, stream, kept->exists ? kept->event.version + 1 : 1, snapshot);
}

/* Find a stream's event of a version, whoever may see it.  Returns false if it is not there. */
static bool
state_find_event(const text *stream, int64 version, Snapshot snapshot, EsStateEvent *event)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool is_found;
	EsScan scan;

	state_open_events(&scan, events, stream, version);
	es_scan_begin(&scan, snapshot);
	is_found = state_next_is(&scan, version, event);
	es_scan_close(&scan);
	relation_close(events, NoLock);
	return is_found;
}

/* Whether a snapshot that exists counts by its event, which is there. */
static bool
state_stands(const StateSnapshot *kept, const text *stream, Snapshot snapshot)
{
	EsStateEvent event;

	return state_find_event(stream, kept->event.version, snapshot, &event) &&
		state_is_same(&event, &kept->event);
}

/* Whether a snapshot that exists counts. */
static bool
state_counts(const StateSnapshot *kept, const text *stream, Snapshot snapshot)
{
	Relation events;
	bool result;

	if (state_stands(kept, stream, snapshot))
		return true;
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	result = es_beginning_follows(events, stream, &kept->event, snapshot);
	relation_close(events, NoLock);
	return result;
}

/* Whether it counts, and tells of no events that the caller may not see. */
static bool
state_may_see(const StateSnapshot *kept, const text *stream, Snapshot snapshot)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool result = state_stands(kept, stream, snapshot)
		? !state_has_hidden(events, stream, kept->event.version, snapshot)
		: state_is_of_removed(events, stream, kept, snapshot);

	relation_close(events, NoLock);
	return result;
}

/* ----------------------------------------------------------------------
 * Saving
 * ----------------------------------------------------------------------
 */

#define STATE_SAVE_ARGUMENTS 11

/* $9, $10, $11: version, id and time of the event of a snapshot that is replaced although it is later. */
static const char *const state_save_query =
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
state_get_plan(void)
{
	static SPIPlanPtr plan = NULL;
	Oid types[STATE_SAVE_ARGUMENTS] = {TEXTOID, INT4OID,        INT8OID,       INT8OID,
									   UUIDOID, TIMESTAMPTZOID, JSONBOID,      TIMESTAMPTZOID,
									   INT8OID, UUIDOID,        TIMESTAMPTZOID};

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

/* Run it; an error does not show the state. */
static int
state_execute(Relation snapshots, Datum *values, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile int result = 0;

	PG_TRY();
	{
		result = SPI_execute_plan(state_get_plan(), values, nulls, false, 0);
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
state_write(const text *stream, int32 schema_version, const StateSnapshot *fresh,
			const StateSnapshot *replaced)
{
	Relation snapshots = es_catalog_open(ES_SNAPSHOTS, RowExclusiveLock);
	Datum values[STATE_SAVE_ARGUMENTS] = {0};
	char nulls[STATE_SAVE_ARGUMENTS + 1] = "        nnn";
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
		memset(nulls, ' ', STATE_SAVE_ARGUMENTS);
	}

	SPI_connect();
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(RelationGetForm(snapshots)->relowner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	result = state_execute(snapshots, values, nulls);
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
state_may_save(const text *stream, int64 version, Snapshot snapshot, EsStateEvent *event)
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
	is_there = state_find_event(stream, version, snapshot, event) &&
		state_find_event(stream, version, latest, event);
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
	int64 version = state_get_version(fcinfo);
	Datum state = state_get_state(fcinfo);
	int32 schema_version = state_get_schema_version(fcinfo, 3);
	StateSnapshot fresh = {.exists = true, .state = state};
	StateSnapshot kept;
	SnapshotData copy;
	Snapshot snapshot;

	PreventCommandIfReadOnly("es_save_snapshot()");
	PreventCommandIfParallelMode("es_save_snapshot()");
	es_rights_check_append(stream);
	if (version == 0)
		PG_RETURN_VOID(); /* before the first event there is nothing to save */

	CommandCounterIncrement();
	snapshot = es_scan_snapshot(&copy);
	if (!state_may_save(stream, version, snapshot, &fresh.event))
		PG_RETURN_VOID();

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
 * es_snapshot(stream text, schema_version bigint = 1)
 *	 -> (version bigint, state jsonb, saved_at timestamptz)
 */
Datum
es_snapshot(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int32 schema_version = state_get_schema_version(fcinfo, 1);
	StateSnapshot kept = state_find_kept(stream, schema_version, GetActiveSnapshot());
	bool is_none = !kept.exists || !state_may_see(&kept, stream, GetActiveSnapshot());
	Datum values[3] = {Int64GetDatum(kept.event.version), kept.state,
					   TimestampTzGetDatum(kept.saved_at)};
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
 * es_load(stream text, schema_version bigint = 1)
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
	values[0] = Int64GetDatum(kept.exists ? kept.event.version : 0);
	values[1] = kept.state;
	values[2] = state_collect(&scan);
	nulls[1] = !kept.exists;
	es_scan_close(&scan);
	relation_close(events, NoLock);
	PG_RETURN_DATUM(state_make_result(fcinfo, values, nulls));
}
