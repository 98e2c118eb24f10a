/*-------------------------------------------------------------------------
 *
 * append.c
 *		The verbs that write: es_append and its kin.
 *
 * Every form of append becomes an array of EsAppend and goes through
 * append_execute(), in three steps:
 *
 * 1. Each stream's row is moved on, in byte order of the streams' names, so
 *	  that two calls can not wait for each other in a circle.  From then on
 *	  nobody else can append to them until this transaction ends.
 * 2. Positions and versions are given out, in the caller's order.
 * 3. The events are inserted, as one statement.
 *
 * Memory: the function call's context.  Locks: RowExclusive on both tables,
 * the streams' rows; all until the end of the transaction.  Calls: catalog,
 * event, ids, names, position, recorder, scan, stream.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "common/int.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "errors.h"
#include "event.h"
#include "ids.h"
#include "names.h"
#include "position.h"
#include "recorder.h"
#include "stream.h"

PG_FUNCTION_INFO_V1(es_append);
PG_FUNCTION_INFO_V1(es_append_event);
PG_FUNCTION_INFO_V1(es_append_arrays);
PG_FUNCTION_INFO_V1(es_append_literals);
PG_FUNCTION_INFO_V1(es_append_streams);
PG_FUNCTION_INFO_V1(es_assert_version);
PG_FUNCTION_INFO_V1(es_last_position);

/* ----------------------------------------------------------------------
 * Streams
 * ----------------------------------------------------------------------
 */

/* Appends to one stream: a run of the sorted array. */
typedef struct AppendGroup
{
	EsAppend **appends;
	int count;
	bool has_given_ids;
} AppendGroup;

/* By stream; within a stream in the caller's order. */
static int
append_compare(const void *a, const void *b)
{
	const EsAppend *left = *(EsAppend *const *) a;
	const EsAppend *right = *(EsAppend *const *) b;
	int left_size = VARSIZE_ANY_EXHDR(left->stream);
	int right_size = VARSIZE_ANY_EXHDR(right->stream);
	int result = memcmp(VARDATA_ANY(left->stream), VARDATA_ANY(right->stream),
						Min(left_size, right_size));

	if (result == 0)
		result = left_size - right_size;
	if (result == 0)
		result = (left > right) - (left < right);
	return result;
}

/*
 * Whether the stream is where every append of the group expects it.  Where it
 * is not and that is final, as the stream is locked, this raises.
 *
 * version: receives where the stream will be.  Raises 54000 if it can't.
 */
static bool
append_group_fits(const AppendGroup *group, const EsStream *stream, int64 *version)
{
	int i;

	*version = stream->version;
	for (i = 0; i < group->count; i++)
	{
		const EsAppend *append = group->appends[i];

		if (stream->is_locked)
			es_stream_check_version(stream, append->expected_version, *version);
		else if (!es_stream_version_fits(stream, append->expected_version, *version))
			return false;
		if (pg_add_s64_overflow(*version, append->event_count, version))
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("stream \"%s\" has no version left", text_to_cstring(stream->name))));
	}
	return true;
}

/* Give the events of a group their versions and their time. */
static void
append_group_assign(AppendGroup *group, const EsStream *stream, TimestampTz now)
{
	int64 version = stream->version;
	int i;
	int j;

	for (i = 0; i < group->count; i++)
	{
		EsAppend *append = group->appends[i];

		append->recorded_at = now;
		for (j = 0; j < append->event_count; j++)
			append->events[j].version = ++version;
		append->last_version = version;
	}
}

/*
 * Move the stream of a group on.  Returns false if the group is an exact
 * retry: then nothing is to be stored, and the results are set.
 *
 * The order matters.  Ids are looked up after the row was read; if the row
 * then turns out to be the newest, no append with these ids can have come in
 * between.  A version that does not fit is final only once the row is locked.
 */
static bool
append_group_advance(AppendGroup *group, Relation streams, Relation events)
{
	EsStream stream;
	SnapshotData snapshot;

	es_stream_find(&stream, streams, group->appends[0]->stream, es_scan_snapshot(&snapshot));
	for (;;)
	{
		TimestampTz now;
		int64 version;

		if (group->has_given_ids && es_ids_find_retry(events, group->appends, group->count))
		{
			es_stream_close(&stream);
			return false;
		}
		if (!append_group_fits(group, &stream, &version))
		{
			es_stream_lock(&stream, LockTupleNoKeyExclusive);
			continue;
		}
		now = Max(GetCurrentTimestamp(), stream.recorded_at);
		if (es_stream_advance(&stream, version, now))
		{
			append_group_assign(group, &stream, now);
			break;
		}
	}
	es_stream_close(&stream);
	return true;
}

/* ----------------------------------------------------------------------
 * The whole call
 * ----------------------------------------------------------------------
 */

/* Returns whether there is anything to store. */
static bool
append_advance_streams(EsAppend **sorted, int append_count, Relation streams, Relation events,
					   bool has_given_ids)
{
	const EsAppend *stored = NULL;
	int advanced = 0;
	int first = 0;

	while (first < append_count)
	{
		AppendGroup group = {sorted + first, 0, has_given_ids};

		while (first < append_count &&
			   es_names_equal(group.appends[0]->stream, sorted[first]->stream))
		{
			group.count++;
			first++;
		}
		CHECK_FOR_INTERRUPTS();
		if (append_group_advance(&group, streams, events))
			advanced++;
		else
			stored = group.appends[0];
		if (advanced > 0 && stored != NULL)
			es_ids_raise_partial_retry(stored);
	}
	return advanced > 0;
}

static void
append_assign_positions(EsAppend *appends, int append_count)
{
	int i;
	int j;

	for (i = 0; i < append_count; i++)
	{
		for (j = 0; j < appends[i].event_count; j++)
			appends[i].events[j].position = es_position_next();
		appends[i].last_position = appends[i].events[appends[i].event_count - 1].position;
	}
}

static void
append_insert(Relation events, EsAppend **appends, int append_count, bool has_given_ids)
{
	MemoryContext context = CurrentMemoryContext;

	if (!has_given_ids)
	{
		es_recorder_insert(events, appends, append_count);
		return;
	}
	PG_TRY();
	{
		es_recorder_insert(events, appends, append_count);
	}
	PG_CATCH();
	{
		es_ids_rethrow_duplicate(events, appends, append_count, context);
	}
	PG_END_TRY();
}

/*
 * Store all appends or none; set their results.
 *
 * verb: how messages call the function.
 */
static void
append_execute(EsAppend *appends, int append_count, const char *verb)
{
	EsAppend **in_order = palloc(sizeof(EsAppend *) * append_count);
	EsAppend **sorted = palloc(sizeof(EsAppend *) * append_count);
	Relation streams;
	Relation events;
	bool has_given_ids = false;
	int i;

	PreventCommandIfReadOnly(verb);
	PreventCommandIfParallelMode(verb);

	for (i = 0; i < append_count; i++)
	{
		in_order[i] = sorted[i] = &appends[i];
		has_given_ids = has_given_ids || es_ids_are_given(&appends[i]);
	}
	qsort(sorted, append_count, sizeof(EsAppend *), append_compare);
	if (has_given_ids)
		es_ids_check_distinct(in_order, append_count);

	/* See what earlier calls of the same statement have done. */
	CommandCounterIncrement();
	streams = es_catalog_open(ES_STREAMS, RowExclusiveLock);
	events = es_catalog_open(ES_EVENTS, RowExclusiveLock);

	if (append_advance_streams(sorted, append_count, streams, events, has_given_ids))
	{
		append_assign_positions(appends, append_count);
		append_insert(events, in_order, append_count, has_given_ids);
	}
	es_position_remember(appends[append_count - 1].last_position);

	relation_close(events, NoLock);
	relation_close(streams, NoLock);
	pfree(sorted);
	pfree(in_order);
}

/* ----------------------------------------------------------------------
 * Arguments
 * ----------------------------------------------------------------------
 */

/* Raise 22004 where an argument is null. */
static void
append_check_not_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

/* The first two arguments of every append. */
static void
append_get_target(FunctionCallInfo fcinfo, EsAppend *append)
{
	append_check_not_null(fcinfo, 0, "stream");
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
	append_check_not_null(fcinfo, 2, "events");
	es_event_from_jsonb(&append, PG_GETARG_JSONB_P(2));
	append_execute(&append, 1, "es_append()");
	PG_RETURN_INT64(append.last_version);
}

/* One event, made of the arguments of the two one-event forms. */
static Datum
append_one(EsAppend *append, EsEvent *event)
{
	es_event_check(event);
	append->events = event;
	append->event_count = 1;
	append_execute(append, 1, "es_append()");
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
	append_check_not_null(fcinfo, 2, "type");
	append_check_not_null(fcinfo, 3, "data");
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
 * A text argument read by the input function of its real type.  Its error is
 * raised again without what detail and context say of the payload.
 */
static Datum
append_read_literal(FunctionCallInfo fcinfo, int argument, PGFunction input)
{
	char *literal = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	MemoryContext caller = CurrentMemoryContext;
	volatile Datum value = (Datum) 0;

	PG_TRY();
	{
		value = DirectFunctionCall1(input, CStringGetDatum(literal));
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (ERRCODE_TO_CATEGORY(error->sqlerrcode) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		ereport(ERROR, (errcode(error->sqlerrcode), errmsg_internal("%s", error->message)));
	}
	PG_END_TRY();
	return value;
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
	append_check_not_null(fcinfo, 2, "type");
	append_check_not_null(fcinfo, 3, "data");
	event.type = PG_GETARG_TEXT_PP(2);
	event.data = DatumGetJsonbP(append_read_literal(fcinfo, 3, jsonb_in));
	if (!PG_ARGISNULL(4))
		event.metadata = DatumGetJsonbP(append_read_literal(fcinfo, 4, jsonb_in));
	event.has_given_id = !PG_ARGISNULL(5);
	if (event.has_given_id)
		event.id = *DatumGetUUIDP(append_read_literal(fcinfo, 5, uuid_in));
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
	append_check_not_null(fcinfo, 2, "types");
	append_check_not_null(fcinfo, 3, "data");
	es_event_from_arrays(&append, PG_GETARG_ARRAYTYPE_P(2), PG_GETARG_ARRAYTYPE_P(3),
						 PG_ARGISNULL(4) ? NULL : PG_GETARG_ARRAYTYPE_P(4),
						 PG_ARGISNULL(5) ? NULL : PG_GETARG_ARRAYTYPE_P(5));
	append_execute(&append, 1, "es_append()");
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

	append_check_not_null(fcinfo, 0, "batch");
	appends = es_event_batch_from_jsonb(PG_GETARG_JSONB_P(0), &append_count);
	append_execute(appends, append_count, "es_append_streams()");

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
	es_stream_find(&stream, streams, target.stream, es_scan_snapshot(&snapshot));
	es_stream_lock(&stream, LockTupleShare);
	es_stream_check_version(&stream, target.expected_version, stream.version);
	while (!stream.exists && !es_stream_advance(&stream, 0, GetCurrentTimestamp()))
		es_stream_check_version(&stream, target.expected_version, stream.version);

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

	if (!es_position_last(&position))
		PG_RETURN_NULL();
	PG_RETURN_INT64(position);
}
