/*-------------------------------------------------------------------------
 *
 * await.c
 *		Waiting until a projection has got as far as some event.
 *
 * Memory: the function call's context.  Locks: none.  Calls: arguments, order,
 * project, projection, rights, see, terms.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/catalog.h"
#include "order/order.h"
#include "projection/project.h"
#include "projection/projection.h"
#include "projection/terms.h"
#include "rights/rights.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_wait_projection);

/* How often it looks, in milliseconds. */
#define AWAIT_LOOK_MS 20

/*
 * Whether the next statement sees what a projection made of every event up to a
 * position.
 */
static bool
await_has_reached(const char *name, int64 position)
{
	EsProjection *projection = es_projection_get_visible(name);
	EsView view;

	if (projection->first_missed != 0 && position >= projection->first_missed)
		return false;
	if (!es_project_minds_appends(projection))
		return projection->position >= position;
	/* What this session appends itself, it sees already. */
	if (!IsolationUsesXactSnapshot())
		return es_order_head_after_commit() >= position;
	es_order_begin_view(&view);
	es_order_end_view(&view);
	return view.head >= position;
}

/*
 * Raise 42501 if the current role is bound by its grants, and position is not that
 * of an event within its bounds: how far a projection is tells of others' events.
 */
static void
await_check_position(int64 position)
{
	Relation events;
	Snapshot snapshot;

	if (es_rights_of(GetUserId())->sees.has_all)
		return;
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (!es_see_position(events, position, GetUserId(), snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to wait for position %lld", (long long) position),
				 errdetail("Role \"%s\" sees no event there.", GetUserNameFromId(GetUserId(), false)),
				 errhint("Wait for the position of an event of one's own, such as es_last_position() after an append.")));
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
}

/*
 * es_wait_projection(name text, position bigint, timeout interval = '30 s') -> boolean
 */
Datum
es_wait_projection(PG_FUNCTION_ARGS)
{
	char *name = es_terms_get_name(fcinfo);
	TimestampTz until;
	int64 position;

	es_terms_check_not_null(fcinfo, 1, "position");
	position = PG_GETARG_INT64(1);
	if (position < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position must not be negative")));
	until = es_arguments_get_time_after(fcinfo, 2, "timeout", GetCurrentTimestamp());
	PreventCommandIfParallelMode("es_wait_projection()");
	await_check_position(position);
	while (!await_has_reached(name, position))
	{
		long ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);

		/* Above READ COMMITTED, what the next statement sees does not change. */
		if (ms <= 0 || IsolationUsesXactSnapshot())
			PG_RETURN_BOOL(false);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(ms, AWAIT_LOOK_MS), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	PG_RETURN_BOOL(true);
}
