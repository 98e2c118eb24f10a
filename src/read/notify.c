/*-------------------------------------------------------------------------
 *
 * notify.c
 *		The verbs of being told: es_wait, es_channel, and how it stands with NOTIFY.
 *
 * es_wait sleeps on its latch, and who appends something that it waits for (or
 * the worker) sets it.  Only
 * what nobody tells about is looked at from time to time: prepared
 * transactions, which any session may end, and a standby's replay.
 *
 * Memory: a context of its own, reset in each round.  Locks: wake.c's while it
 * waits.  Calls: announce, arguments, behind, catalog, channel, order, own_head,
 * rest, rights, scan, see, settings, shared, wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/scan.h"
#include "base/settings.h"
#include "order/behind.h"
#include "order/order.h"
#include "read/own_head.h"
#include "rights/rights.h"
#include "rights/see.h"
#include "signal/announce.h"
#include "signal/channel.h"
#include "signal/rest.h"
#include "signal/shared.h"
#include "signal/wake.h"

PG_FUNCTION_INFO_V1(es_wait);
PG_FUNCTION_INFO_V1(es_channel);
PG_FUNCTION_INFO_V1(es_find_notify_status);

/* How often to look where nobody tells, in milliseconds. */
#define NOTIFY_LOOK_MS 50

/* WaitLatch takes no longer time than an int holds. */
#define NOTIFY_LONGEST_MS 3600000

/*
 * es_channel(category text = NULL) -> text
 */
Datum
es_channel(PG_FUNCTION_ARGS)
{
	const text *category = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);

	PG_RETURN_TEXT_P(cstring_to_text(es_channel_name(category)));
}

/*
 * eventstore.find_notify_status() -> (sent_by text, queue_usage float8, is_queue_full boolean)
 */
Datum
es_find_notify_status(PG_FUNCTION_ARGS)
{
	const char *sender = es_shared_has_worker() ? "worker" : "appender";
	bool nulls[3] = {!es_guc_notify, false, false};
	Datum values[3];
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type is not a row type");
	values[0] = CStringGetTextDatum(sender);
	values[1] = Float8GetDatum(es_announce_queue_usage());
	values[2] = BoolGetDatum(!es_announce_has_room());
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * Whether a category, or the store, has an event after a position, up to the
 * head, that is within the caller's bounds.
 */
static bool
notify_has_event(const text *category, int64 after, int64 head, Snapshot snapshot)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	AttrNumber column = 1;
	EsScan scan;
	bool is_found;

	es_scan_open(&scan, events, category != NULL ? ES_EVENTS_CATEGORY_POSITION : ES_EVENTS_PKEY);
	if (category != NULL)
		es_scan_add_key(&scan, column++, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(category));
	es_scan_add_key(&scan, column, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_scan_add_key(&scan, column, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(head));
	es_see_within_bounds(&scan, GetUserId());
	es_scan_begin(&scan, snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	es_scan_close(&scan);
	relation_close(events, NoLock);
	return is_found;
}

/*
 * Whether there is something to read after a position; sets the head.
 *
 * told: the head, as the caller may know it; set if there is.
 */
static bool
notify_look(const text *category, int64 after, int64 *head, int64 *told)
{
	bool is_bound = !es_rights_of(GetUserId())->sees.has_all;
	Snapshot snapshot;
	bool is_found;

	*told = *head = es_order_head(NULL);
	if (*head <= after)
		return false;
	if (category == NULL && !is_bound)
		return true;
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	is_found = notify_has_event(category, after, *head, snapshot);
	if (is_found && is_bound)
		*told = es_own_head(*head, snapshot);
	UnregisterSnapshot(snapshot);
	return is_found;
}

/*
 * Sleep until the head may be beyond what it was, or until a time.  Returns
 * false when that has come.
 *
 * is_told: there will be a wake-up then.  With a worker, its word is enough: it
 * tells the head in shared memory.
 */
static bool
notify_sleep(EsRest *rest, TimestampTz until, int64 head, bool is_told)
{
	for (;;)
	{
		long ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		int events;
		int64 told;

		if (ms <= 0)
			return false;
		ms = Min(ms, is_told ? NOTIFY_LONGEST_MS : NOTIFY_LOOK_MS);
		es_rest_lie_down(rest);
		events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms,
						   PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if ((events & WL_LATCH_SET) == 0 && !is_told && es_behind_is_still(head))
			continue;
		if (!es_shared_get_head(&told) || told > head)
			return true;
	}
}

/*
 * es_wait(after_position bigint, timeout interval = '30 s', category text = NULL) -> bigint
 */
Datum
es_wait(PG_FUNCTION_ARGS)
{
	const text *category = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	MemoryContext caller = CurrentMemoryContext;
	EsRest rest = ES_REST(fcinfo->flinfo->fn_oid);
	EsWanted wanted = {.category = category};
	EsListener listener = {0};
	MemoryContext round;
	TimestampTz until;
	int64 after;
	int64 head;
	int64 told;
	bool is_found;

	es_arguments_check_not_null(fcinfo, 0, "after_position");
	after = PG_GETARG_INT64(0);
	if (after < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("after_position must not be negative")));
	until = es_arguments_get_time_after(fcinfo, 1, "timeout", GetCurrentTimestamp());
	PreventCommandIfParallelMode("es_wait()");

	round = AllocSetContextCreate(caller, "es_wait", ALLOCSET_SMALL_SIZES);
	MemoryContextSwitchTo(round);
	es_wake_listen(&listener, &wanted);
	for (;;)
	{
		bool is_told;

		MemoryContextReset(round);
		is_found = notify_look(category, after, &head, &told);
		if (is_found)
			break;
		/* Up to here nothing is to be looked at again. */
		after = Max(after, head);
		if (!es_behind_listen(&listener, &wanted, after, &is_told))
			continue;
		if (!notify_sleep(&rest, until, head, is_told))
			break;
	}
	es_wake_part(&listener);
	es_rest_end(&rest);
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(round);

	if (!is_found)
		PG_RETURN_NULL();
	PG_RETURN_INT64(told);
}
