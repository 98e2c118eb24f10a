/*-------------------------------------------------------------------------
 *
 * seek.c
 *		Single events that counting and health ask for.
 *
 * In SQL, each would be looked for in all partitions of eventstore.events: a
 * server whose foreign table is one of them would have to be there, and whoever
 * asks for health would wait for it.
 *
 * Called by the store's own functions only, as its owner: nothing limits what is
 * seen.
 *
 * Memory: the call's context.  Locks: AccessShare on eventstore.events, and what
 * whereabouts.c takes.  Calls: catalog, scan, whereabouts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/scan.h"
#include "read/whereabouts.h"

PG_FUNCTION_INFO_V1(es_seek_version);
PG_FUNCTION_INFO_V1(es_seek_beginning);
PG_FUNCTION_INFO_V1(es_seek_oldest);

/* The position of a stream's first event, of a version or above; 0: there is none. */
static int64
seek_in_stream(const text *stream, StrategyNumber strategy, int64 version)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	RegProcedure comparison = strategy == BTEqualStrategyNumber ? F_INT8EQ : F_INT8GE;
	int64 position = 0;
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(&scan, 2, strategy, comparison, Int64GetDatum(version));
	es_whereabouts_narrow(&scan, stream, GetActiveSnapshot(), ForwardScanDirection, version);
	es_scan_begin(&scan, GetActiveSnapshot());
	if (es_scan_next(&scan, ForwardScanDirection))
		position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));
	es_scan_close(&scan);
	relation_close(events, NoLock);
	return position;
}

/*
 * eventstore.seek_version(stream text, version bigint) -> bigint
 *
 * The position of the event; null if it is not there.
 */
Datum
es_seek_version(PG_FUNCTION_ARGS)
{
	int64 position = seek_in_stream(PG_GETARG_TEXT_PP(0), BTEqualStrategyNumber, PG_GETARG_INT64(1));

	if (position == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(position);
}

/*
 * eventstore.seek_beginning(stream text) -> bigint
 *
 * The position of the first event that is left; null if none is.
 */
Datum
es_seek_beginning(PG_FUNCTION_ARGS)
{
	int64 position = seek_in_stream(PG_GETARG_TEXT_PP(0), BTGreaterEqualStrategyNumber, 1);

	if (position == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT64(position);
}

/*
 * eventstore.seek_oldest(name text, is_stream boolean) -> timestamptz
 *
 * When the first event of a stream, or of a category, was recorded that could be
 * removed: not what is in a foreign table.  Null if there is none.
 */
Datum
es_seek_oldest(PG_FUNCTION_ARGS)
{
	EsRelation index = PG_GETARG_BOOL(1) ? ES_EVENTS_STREAM_VERSION : ES_EVENTS_CATEGORY_POSITION;
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	TimestampTz recorded_at = 0;
	bool is_found;
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, events, index);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PG_GETARG_DATUM(0));
	scan.is_local = true;
	es_scan_begin(&scan, GetActiveSnapshot());
	is_found = es_scan_next(&scan, ForwardScanDirection);
	if (is_found)
		recorded_at = DatumGetTimestampTz(
			slot_getattr(scan.slot, Anum_events_recorded_at, &is_null));
	es_scan_close(&scan);
	relation_close(events, NoLock);
	if (!is_found)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(recorded_at);
}
