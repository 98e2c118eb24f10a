/*-------------------------------------------------------------------------
 *
 * read.c
 *		The verbs that read: es_read and its kin.
 *
 * Each is one index scan whose rows go into a tuplestore as they are: the
 * columns of eventstore.events are those of the type eventstore.event.
 *
 * es_read, es_last_event, es_stream_as_of and es_stream_version see what the
 * calling statement sees: a stream's own order is settled by its row lock.
 * es_read_all and es_read_category look across streams, up to the head and
 * under the snapshot that goes with it; see order.c.  A parallel worker can take
 * none, so there they are refused.
 *
 * All of them see what row security lets the caller see, as a plain SELECT.
 *
 * Memory: the function call's context, the tuplestore in the query's.  Locks:
 * AccessShare on the table and the index.  Calls: arguments, catalog, names,
 * order, own_head, rights, scan, see, stream, whereabouts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/scan.h"
#include "base/stream.h"
#include "order/order.h"
#include "read/own_head.h"
#include "read/whereabouts.h"
#include "rights/rights.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_read);
PG_FUNCTION_INFO_V1(es_read_all);
PG_FUNCTION_INFO_V1(es_read_category);
PG_FUNCTION_INFO_V1(es_stream_version);
PG_FUNCTION_INFO_V1(es_last_event);
PG_FUNCTION_INFO_V1(es_stream_as_of);
PG_FUNCTION_INFO_V1(es_find_event);
PG_FUNCTION_INFO_V1(es_head);

/* ----------------------------------------------------------------------
 * Filter by type
 * ----------------------------------------------------------------------
 */

typedef struct ReadFilter
{
	bool is_on;
	Datum *types; /* of text, not toasted */
	int count;
} ReadFilter;

static ReadFilter
read_get_filter(FunctionCallInfo fcinfo, int argument)
{
	ReadFilter filter = {false, NULL, 0};
	bool *nulls;
	int i;

	if (PG_ARGISNULL(argument))
		return filter;

	filter.is_on = true;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), TEXTOID, -1, false, TYPALIGN_INT,
					  &filter.types, &nulls, &filter.count);
	for (i = 0; i < filter.count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("types must not contain nulls")));
		filter.types[i] = PointerGetDatum(DatumGetTextPP(filter.types[i]));
	}
	return filter;
}

static bool
read_passes(const ReadFilter *filter, TupleTableSlot *slot)
{
	bool is_null;
	text *type;
	int i;

	if (!filter->is_on)
		return true;
	type = DatumGetTextPP(slot_getattr(slot, Anum_events_type, &is_null));
	for (i = 0; i < filter->count; i++)
		if (es_names_equal(type, (const text *) DatumGetPointer(filter->types[i])))
			return true;
	return false;
}

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

typedef struct ReadState
{
	Relation events;
	const text *stream; /* whose events these are; NULL: across streams */
	int64 from;         /* its lowest version that is wanted */
	EsScan scan;
	ReturnSetInfo *result;
	bool has_foreign_columns; /* after the store's own */
} ReadState;

static void
read_begin(ReadState *reader, FunctionCallInfo fcinfo, EsRelation index)
{
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	reader->result = (ReturnSetInfo *) fcinfo->resultinfo;
	reader->stream = NULL;
	reader->from = 1;
	reader->events = es_catalog_open(ES_EVENTS, AccessShareLock);
	reader->has_foreign_columns = RelationGetNumberOfAttributes(reader->events) > Natts_event;
	es_scan_open(&reader->scan, reader->events, index);
}

static Datum
read_end(ReadState *reader)
{
	es_scan_close(&reader->scan);
	relation_close(reader->events, NoLock);
	return (Datum) 0;
}

/* Hand the row in the scan's slot to the caller. */
static void
read_put(ReadState *reader)
{
	TupleTableSlot *slot = reader->scan.slot;

	if (!reader->has_foreign_columns)
	{
		tuplestore_puttupleslot(reader->result->setResult, slot);
		return;
	}
	slot_getsomeattrs(slot, Natts_event);
	tuplestore_putvalues(reader->result->setResult, reader->result->setDesc, slot->tts_values,
						 slot->tts_isnull);
}

/* Whether a backward read of a stream has come to its first event, below which no partition has one. */
static bool
read_is_first(const ReadState *reader, ScanDirection direction)
{
	bool is_null;

	return ScanDirectionIsBackward(direction) && reader->stream != NULL &&
		DatumGetInt64(slot_getattr(reader->scan.slot, Anum_events_version, &is_null)) == 1;
}

/* Read up to max_count rows that pass the filter. */
static void
read_run(ReadState *reader, Snapshot snapshot, ScanDirection direction, int64 max_count,
		 const ReadFilter *filter)
{
	int64 count = 0;

	if (max_count == 0)
		return;
	es_see_as(&reader->scan, GetUserId(), direction);
	if (reader->stream != NULL)
		es_whereabouts_narrow(&reader->scan, reader->stream, snapshot, direction, reader->from);
	es_scan_begin(&reader->scan, snapshot);
	while (es_scan_next(&reader->scan, direction))
	{
		CHECK_FOR_INTERRUPTS();
		if (read_passes(filter, reader->scan.slot))
		{
			read_put(reader);
			if (++count == max_count)
				break;
		}
		if (read_is_first(reader, direction))
			break;
	}
	es_scan_stop(&reader->scan);
}

static const ReadFilter read_everything = {false, NULL, 0};

/* ----------------------------------------------------------------------
 * One stream
 * ----------------------------------------------------------------------
 */

/*
 * es_read(stream text, from_version bigint = NULL, max_count bigint = NULL,
 *		   backward boolean = false) -> SETOF eventstore.event
 */
Datum
es_read(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	int64 max_count = es_arguments_get_max_count(fcinfo, 2);
	ScanDirection direction = es_arguments_get_direction(fcinfo, 3);
	ReadState reader;

	if (!PG_ARGISNULL(1))
		(void) es_arguments_get_position(fcinfo, 1, "from_version");

	read_begin(&reader, fcinfo, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&reader.scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	if (!PG_ARGISNULL(1))
	{
		if (ScanDirectionIsForward(direction))
			es_scan_add_key(&reader.scan, 2, BTGreaterEqualStrategyNumber, F_INT8GE,
							PG_GETARG_DATUM(1));
		else
			es_scan_add_key(&reader.scan, 2, BTLessEqualStrategyNumber, F_INT8LE,
							PG_GETARG_DATUM(1));
	}
	reader.stream = stream;
	reader.from = PG_ARGISNULL(1) ? 1 : PG_GETARG_INT64(1);
	read_run(&reader, GetActiveSnapshot(), direction, max_count, &read_everything);
	return read_end(&reader);
}

/*
 * es_last_event(stream text, type text = NULL) -> SETOF eventstore.event
 */
Datum
es_last_event(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	Datum type;
	ReadFilter filter = {!PG_ARGISNULL(1), &type, 1};
	ReadState reader;

	if (filter.is_on)
		type = PointerGetDatum(PG_GETARG_TEXT_PP(1));

	read_begin(&reader, fcinfo, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&reader.scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	reader.stream = stream;
	read_run(&reader, GetActiveSnapshot(), BackwardScanDirection, 1, &filter);
	return read_end(&reader);
}

/*
 * es_stream_as_of(stream text, at timestamptz) -> SETOF eventstore.event
 *
 * Times never decrease along a stream: the first event after the time ends
 * the scan.
 */
Datum
es_stream_as_of(PG_FUNCTION_ARGS)
{
	text *stream = es_arguments_get_stream(fcinfo, 0);
	ReadState reader;
	TimestampTz at;

	es_arguments_check_not_null(fcinfo, 1, "at");
	at = PG_GETARG_TIMESTAMPTZ(1);

	read_begin(&reader, fcinfo, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&reader.scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_see_as(&reader.scan, GetUserId(), ForwardScanDirection);
	es_whereabouts_narrow(&reader.scan, stream, GetActiveSnapshot(), ForwardScanDirection, 1);
	es_scan_begin(&reader.scan, GetActiveSnapshot());
	while (es_scan_next(&reader.scan, ForwardScanDirection))
	{
		bool is_null;
		Datum recorded_at = slot_getattr(reader.scan.slot, Anum_events_recorded_at, &is_null);

		CHECK_FOR_INTERRUPTS();
		if (DatumGetTimestampTz(recorded_at) > at)
			break;
		read_put(&reader);
	}
	return read_end(&reader);
}

/*
 * eventstore.find_event(position bigint) -> SETOF eventstore.event
 */
Datum
es_find_event(PG_FUNCTION_ARGS)
{
	ReadState reader;

	es_arguments_check_not_null(fcinfo, 0, "position");
	read_begin(&reader, fcinfo, ES_EVENTS_PKEY);
	es_scan_add_key(&reader.scan, 1, BTEqualStrategyNumber, F_INT8EQ, PG_GETARG_DATUM(0));
	read_run(&reader, GetActiveSnapshot(), ForwardScanDirection, 1, &read_everything);
	return read_end(&reader);
}

/*
 * Whether policies count for the caller; then receives the version of the last
 * event of a stream that they let him see.
 */
static bool
read_has_policies(int64 *version, const text *stream)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool result = es_see_has_policies(events, GetUserId());
	EsScan scan;
	bool is_null;

	*version = 0;
	if (result)
	{
		es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
		es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
		es_see_as(&scan, GetUserId(), BackwardScanDirection);
		es_whereabouts_narrow(&scan, stream, GetActiveSnapshot(), BackwardScanDirection, 1);
		es_scan_begin(&scan, GetActiveSnapshot());
		if (es_scan_next(&scan, BackwardScanDirection))
			*version = DatumGetInt64(slot_getattr(scan.slot, Anum_events_version, &is_null));
		es_scan_close(&scan);
	}
	relation_close(events, NoLock);
	return result;
}

/*
 * es_stream_version(stream text) -> bigint
 */
Datum
es_stream_version(PG_FUNCTION_ARGS)
{
	text *name = es_arguments_get_stream(fcinfo, 0);
	Relation streams;
	EsStream stream;
	int64 seen;

	if (!es_rights_has(&es_rights_of(GetUserId())->sees, name))
		PG_RETURN_INT64(0);
	if (read_has_policies(&seen, name))
		PG_RETURN_INT64(seen);
	streams = es_catalog_open(ES_STREAMS, AccessShareLock);
	es_stream_find(&stream, streams, name, GetActiveSnapshot());
	es_stream_close(&stream);
	relation_close(streams, NoLock);
	PG_RETURN_INT64(stream.version);
}

/* ----------------------------------------------------------------------
 * Across streams
 * ----------------------------------------------------------------------
 */

/*
 * es_head() -> bigint
 */
Datum
es_head(PG_FUNCTION_ARGS)
{
	EsView view;
	int64 head;

	PreventCommandIfParallelMode("es_head()");
	es_order_begin_view(&view);
	head = es_own_head(view.head, view.snapshot);
	es_order_end_view(&view);
	PG_RETURN_INT64(head);
}

/*
 * Read by position, up to the head, after the keys that come before it in the
 * index.
 *
 * Forward: position > after.  Backward: position < after, where 0 means from
 * the head.
 */
static Datum
read_by_position(FunctionCallInfo fcinfo, EsRelation index, const text *category, int argument)
{
	int64 after;
	int64 max_count = es_arguments_get_max_count(fcinfo, argument + 1);
	ReadFilter filter = read_get_filter(fcinfo, argument + 2);
	ScanDirection direction = es_arguments_get_direction(fcinfo, argument + 3);
	AttrNumber column = 1;
	ReadState reader;
	EsView view;

	after = es_arguments_get_position(fcinfo, argument, "after_position");

	read_begin(&reader, fcinfo, index);
	es_order_begin_view(&view);
	if (category != NULL)
		es_scan_add_key(&reader.scan, column++, BTEqualStrategyNumber, F_TEXTEQ,
						PointerGetDatum(category));
	if (ScanDirectionIsForward(direction))
		es_scan_add_key(&reader.scan, column, BTGreaterStrategyNumber, F_INT8GT,
						Int64GetDatum(after));
	else if (after > 0)
		es_scan_add_key(&reader.scan, column, BTLessStrategyNumber, F_INT8LT, Int64GetDatum(after));
	es_scan_add_key(&reader.scan, column, BTLessEqualStrategyNumber, F_INT8LE,
					Int64GetDatum(view.head));
	read_run(&reader, view.snapshot, direction, max_count, &filter);
	es_order_end_view(&view);
	return read_end(&reader);
}

/*
 * es_read_all(after_position bigint = 0, max_count bigint = 1000, types text[] = NULL,
 *			   backward boolean = false) -> SETOF eventstore.event
 */
Datum
es_read_all(PG_FUNCTION_ARGS)
{
	PreventCommandIfParallelMode("es_read_all()");
	return read_by_position(fcinfo, ES_EVENTS_PKEY, NULL, 0);
}

/*
 * es_read_category(category text, after_position bigint = 0, max_count bigint = 1000,
 *					types text[] = NULL, backward boolean = false) -> SETOF eventstore.event
 */
Datum
es_read_category(PG_FUNCTION_ARGS)
{
	es_arguments_check_not_null(fcinfo, 0, "category");
	PreventCommandIfParallelMode("es_read_category()");
	return read_by_position(fcinfo, ES_EVENTS_CATEGORY_POSITION, PG_GETARG_TEXT_PP(0), 1);
}
