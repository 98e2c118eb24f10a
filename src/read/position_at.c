/*-------------------------------------------------------------------------
 *
 * position_at.c
 *		The verb that finds a position by time: es_position_at.
 *
 * Memory: the function call's context.  Locks: AccessShare on events and
 * marks.  Calls: arguments, catalog, milestone, order, own_head, scan, see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/scan.h"
#include "order/milestone.h"
#include "order/order.h"
#include "read/own_head.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_position_at);

/*
 * The position right before the first event after a position that was recorded
 * at or after a time; the head if there is none.  For who is bound by his grants,
 * of the events within his bounds.
 */
static int64
position_at_scan(const EsView *view, int64 after, TimestampTz at)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	int64 position = es_own_head(view->head, view->snapshot);
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_scan_add_key(&scan, 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(view->head));
	es_see_within_bounds(&scan, GetUserId());
	es_scan_begin(&scan, view->snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		Datum recorded_at = slot_getattr(scan.slot, Anum_events_recorded_at, &is_null);

		CHECK_FOR_INTERRUPTS();
		if (DatumGetTimestampTz(recorded_at) < at)
			continue;
		position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null)) - 1;
		break;
	}
	es_scan_close(&scan);
	relation_close(events, NoLock);
	return position;
}

/*
 * es_position_at(at timestamptz) -> bigint
 */
Datum
es_position_at(PG_FUNCTION_ARGS)
{
	TimestampTz at;
	int64 position;
	EsView view;

	es_arguments_check_not_null(fcinfo, 0, "at");
	at = PG_GETARG_TIMESTAMPTZ(0);
	PreventCommandIfParallelMode("es_position_at()");
	es_order_begin_view(&view);
	position = position_at_scan(&view, es_milestone_find(at, view.snapshot), at);
	es_order_end_view(&view);
	PG_RETURN_INT64(position);
}
