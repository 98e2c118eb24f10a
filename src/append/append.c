/*-------------------------------------------------------------------------
 *
 * append.c
 *		The verbs that write: es_append and its kin.
 *
 * From SQL arguments to EsAppend, and on to es_store_append.
 *
 * Memory: the function call's context.  Locks: es_assert_version takes
 * RowExclusive on the streams and one's row FOR SHARE; the others nothing of
 * their own.  Calls: arguments, catalog, event, fence, json, last, literal, rights,
 * scan, store, stream.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/relation.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/tuplestore.h"

#include "append/expected.h"
#include "append/json.h"
#include "append/store.h"
#include "base/arguments.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/event.h"
#include "base/literal.h"
#include "base/scan.h"
#include "base/stream.h"
#include "order/fence.h"
#include "order/last.h"
#include "rights/rights.h"

PG_FUNCTION_INFO_V1(es_append);
PG_FUNCTION_INFO_V1(es_append_event);
PG_FUNCTION_INFO_V1(es_append_arrays);
PG_FUNCTION_INFO_V1(es_append_literals);
PG_FUNCTION_INFO_V1(es_append_streams);
PG_FUNCTION_INFO_V1(es_assert_version);
PG_FUNCTION_INFO_V1(es_last_position);

/* ----------------------------------------------------------------------
 * Arguments
 * ----------------------------------------------------------------------
 */

/* The first two arguments of every append. */
static void
append_get_target(FunctionCallInfo fcinfo, EsAppend *append)
{
	es_arguments_check_not_null(fcinfo, 0, "stream");
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("expected_version must not be null"),
				 errhint("Use es_any(), -1, to append whatever the version is.")));
	es_event_append_init(append, PG_GETARG_TEXT_PP(0), PG_GETARG_INT64(1));
}

/*
 * es_append(stream text, expected_version bigint, events jsonb) -> bigint
 */
Datum
es_append(PG_FUNCTION_ARGS)
{
	EsAppend append;

	append_get_target(fcinfo, &append);
	es_arguments_check_not_null(fcinfo, 2, "events");
	es_json_read_events(&append, PG_GETARG_JSONB_P(2));
	es_store_append(&append, 1, "es_append()", NULL);
	PG_RETURN_INT64(append.last_version);
}

/* One event, made of the arguments of the two one-event forms. */
static Datum
append_one(EsAppend *append, EsEvent *event)
{
	es_event_check(event);
	append->events = event;
	append->event_count = 1;
	es_store_append(append, 1, "es_append()", NULL);
	return Int64GetDatum(append->last_version);
}

/*
 * es_append(stream text, expected_version bigint, type text, data jsonb,
 *			 metadata jsonb = NULL, id uuid = NULL, tags text[] = NULL) -> bigint
 */
Datum
es_append_event(PG_FUNCTION_ARGS)
{
	EsAppend append;
	EsEvent event = {0};

	append_get_target(fcinfo, &append);
	es_arguments_check_not_null(fcinfo, 2, "type");
	es_arguments_check_not_null(fcinfo, 3, "data");
	event.type = PG_GETARG_TEXT_PP(2);
	event.data = PG_GETARG_JSONB_P(3);
	if (!PG_ARGISNULL(4))
		event.metadata = PG_GETARG_JSONB_P(4);
	event.has_given_id = !PG_ARGISNULL(5);
	if (event.has_given_id)
		event.id = *PG_GETARG_UUID_P(5);
	if (!PG_ARGISNULL(6))
		event.tags = PG_GETARG_ARRAYTYPE_P(6);
	return append_one(&append, &event);
}

/*
 * es_append(stream text, expected_version bigint, type text, data text,
 *			 metadata text = NULL, id text = NULL, tags text[] = NULL) -> bigint
 *
 * The one-event form for untyped literals; see sql/20_append.sql.
 */
Datum
es_append_literals(PG_FUNCTION_ARGS)
{
	EsAppend append;
	EsEvent event = {0};

	append_get_target(fcinfo, &append);
	es_arguments_check_not_null(fcinfo, 2, "type");
	es_arguments_check_not_null(fcinfo, 3, "data");
	event.type = PG_GETARG_TEXT_PP(2);
	event.data = DatumGetJsonbP(es_literal_read_argument(fcinfo, 3, jsonb_in));
	if (!PG_ARGISNULL(4))
		event.metadata = DatumGetJsonbP(es_literal_read_argument(fcinfo, 4, jsonb_in));
	event.has_given_id = !PG_ARGISNULL(5);
	if (event.has_given_id)
		event.id = *DatumGetUUIDP(es_literal_read_argument(fcinfo, 5, uuid_in));
	if (!PG_ARGISNULL(6))
		event.tags = PG_GETARG_ARRAYTYPE_P(6);
	return append_one(&append, &event);
}

/*
 * es_append(stream text, expected_version bigint, types text[], data jsonb[],
 *			 metadata jsonb[] = NULL, ids uuid[] = NULL) -> bigint
 */
Datum
es_append_arrays(PG_FUNCTION_ARGS)
{
	EsAppend append;

	append_get_target(fcinfo, &append);
	es_arguments_check_not_null(fcinfo, 2, "types");
	es_arguments_check_not_null(fcinfo, 3, "data");
	es_event_from_arrays(&append, PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3),
						 PG_ARGISNULL(4) ? NULL : PG_GETARG_ARRAYTYPE_P(4),
						 PG_ARGISNULL(5) ? NULL : PG_GETARG_ARRAYTYPE_P(5));
	es_store_append(&append, 1, "es_append()", NULL);
	PG_RETURN_INT64(append.last_version);
}

/*
 * es_append_streams(batch jsonb) -> SETOF (stream text, version bigint, position bigint)
 */
Datum
es_append_streams(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsAppend *appends;
	int append_count;
	int i;

	es_arguments_check_not_null(fcinfo, 0, "batch");
	appends = es_json_read_batch(PG_GETARG_JSONB_P(0), &append_count);
	es_store_append(appends, append_count, "es_append_streams()", NULL);

	InitMaterializedSRF(fcinfo, 0);
	for (i = 0; i < append_count; i++)
	{
		Datum values[3];
		bool nulls[3] = {false, false, false};

		values[0] = PointerGetDatum(appends[i].stream);
		values[1] = Int64GetDatum(appends[i].last_version);
		values[2] = Int64GetDatum(appends[i].last_position);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * es_assert_version(stream text, expected_version bigint) -> bigint
 *
 * A stream without a row gets one, at version 0: that is what keeps others
 * from making it until commit.
 */
Datum
es_assert_version(PG_FUNCTION_ARGS)
{
	EsAppend target;
	EsStream stream;
	SnapshotData snapshot;
	Relation streams;

	append_get_target(fcinfo, &target);
	PreventCommandIfReadOnly("es_assert_version()");
	PreventCommandIfParallelMode("es_assert_version()");

	CommandCounterIncrement();
	streams = es_catalog_open(ES_STREAMS, RowExclusiveLock);
	es_rights_check_append(target.stream);
	es_fence_assert(target.stream);
	es_stream_find(&stream, streams, target.stream, es_scan_snapshot(&snapshot));
	es_stream_lock(&stream, LockTupleShare);
	es_expected_check(&stream, target.expected_version, stream.version);
	while (!stream.exists && !es_stream_advance(&stream, 0, GetCurrentTimestamp()))
		es_expected_check(&stream, target.expected_version, stream.version);

	es_stream_close(&stream);
	relation_close(streams, NoLock);
	PG_RETURN_INT64(stream.version);
}

/*
 * es_last_position() -> bigint
 */
Datum
es_last_position(PG_FUNCTION_ARGS)
{
	int64 position;

	/* It is known to the session's own process only. */
	if (IsParallelWorker())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("cannot execute %s in a parallel worker", "es_last_position()")));
	if (!es_last_get(&position))
		PG_RETURN_NULL();
	PG_RETURN_INT64(position);
}
