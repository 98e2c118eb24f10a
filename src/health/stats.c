/*-------------------------------------------------------------------------
 *
 * stats.c
 *		What a server's processes know of a store, as rows.
 *
 * What the views eventstore.stats and eventstore.health are made of and SQL
 * can not ask: counters, the head and what stands above it, who is there to
 * work for the store, and from which value on a measure is too high.
 *
 * Memory: the call's context.  Locks: AccessShare on the relations.  Calls:
 * catalog, counters, floor, limits, member, order, scan, settings, shared, trouble,
 * wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/limits.h"
#include "base/scan.h"
#include "base/settings.h"
#include "order/floor.h"
#include "order/member.h"
#include "order/order.h"
#include "projection/trouble.h"
#include "signal/counters.h"
#include "signal/shared.h"
#include "signal/wake.h"

PG_FUNCTION_INFO_V1(es_find_stats);
PG_FUNCTION_INFO_V1(es_find_processes);
PG_FUNCTION_INFO_V1(es_health_level);

/* Columns of eventstore.find_stats. */
#define Anum_stats_appends       1
#define Anum_stats_events        2
#define Anum_stats_conflicts     3
#define Anum_stats_retries       4
#define Anum_stats_since         5
#define Anum_stats_waiters       6
#define Anum_stats_head          7
#define Anum_stats_last          8
#define Anum_stats_oldest_beyond 9
#define Natts_stats              9

/* Columns of eventstore.find_processes. */
#define Anum_processes_is_preloaded  1
#define Anum_processes_is_listed     2
#define Anum_processes_worker_pid    3
#define Anum_processes_runners       4
#define Anum_processes_lacks_process 5
#define Anum_processes_broken_at     6
#define Anum_processes_is_behind     7
#define Anum_processes_is_fed        8
#define Anum_processes_retention     9
#define Anum_processes_seal          10
#define Natts_processes              10

/* Set a column of a row; what is not set is null. */
static void
stats_set(Datum *values, bool *nulls, int column, Datum value)
{
	values[column - 1] = value;
	nulls[column - 1] = false;
}

static Datum
stats_row(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type is not a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* When the first event above the head was recorded that is committed; returns false if there is none. */
static bool
stats_find_beyond(int64 head, TimestampTz *recorded_at)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsScan scan;
	bool is_found;
	bool is_null;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(head));
	es_scan_begin(&scan, snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	if (is_found)
		*recorded_at = DatumGetTimestampTz(
			slot_getattr(scan.slot, Anum_events_recorded_at, &is_null));
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
	return is_found;
}

/*
 * The last position: given out, or on a standby, where the sequence runs ahead
 * of what it has given out, that of an event.
 */
static int64
stats_last(void)
{
	Snapshot snapshot;
	int64 last;

	if (!RecoveryInProgress())
		return es_order_last();
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	last = es_floor_visible(snapshot);
	UnregisterSnapshot(snapshot);
	return last;
}

/*
 * eventstore.find_stats() -> (appends bigint, events bigint, conflicts bigint, retries bigint,
 *		since timestamptz, waiters bigint, head bigint, last bigint, oldest_beyond timestamptz)
 */
Datum
es_find_stats(PG_FUNCTION_ARGS)
{
	Datum values[Natts_stats] = {0};
	bool nulls[Natts_stats];
	TimestampTz oldest;
	EsCounts counts;
	int64 head;

	PreventCommandIfParallelMode("eventstore.stats");
	memset(nulls, true, sizeof(nulls));
	if (es_counters_get(es_catalog_oid(ES_POSITIONS), &counts))
	{
		stats_set(values, nulls, Anum_stats_appends, Int64GetDatum(counts.appends));
		stats_set(values, nulls, Anum_stats_events, Int64GetDatum(counts.events));
		stats_set(values, nulls, Anum_stats_conflicts, Int64GetDatum(counts.conflicts));
		stats_set(values, nulls, Anum_stats_retries, Int64GetDatum(counts.retries));
		stats_set(values, nulls, Anum_stats_since, TimestampTzGetDatum(counts.since));
	}
	stats_set(values, nulls, Anum_stats_waiters, Int64GetDatum(es_wake_count_listeners()));
	/* In this order: the last position is not below the head. */
	head = es_order_head(NULL);
	stats_set(values, nulls, Anum_stats_head, Int64GetDatum(head));
	stats_set(values, nulls, Anum_stats_last, Int64GetDatum(Max(head, stats_last())));
	if (stats_find_beyond(head, &oldest))
		stats_set(values, nulls, Anum_stats_oldest_beyond, TimestampTzGetDatum(oldest));
	return stats_row(fcinfo, values, nulls);
}

/*
 * eventstore.find_processes() -> (is_preloaded boolean, is_listed boolean, worker_pid int,
 *		runners int, lacks_process boolean, broken_at timestamptz, is_behind boolean, is_fed boolean,
 *		retention_interval int, seal_interval int)
 */
Datum
es_find_processes(PG_FUNCTION_ARGS)
{
	Datum values[Natts_processes] = {0};
	bool nulls[Natts_processes];
	EsProcesses processes;

	PreventCommandIfParallelMode("eventstore.health");
	memset(nulls, true, sizeof(nulls));
	es_shared_get_processes(&processes);
	stats_set(values, nulls, Anum_processes_is_preloaded, BoolGetDatum(es_shared_is_there()));
	stats_set(values, nulls, Anum_processes_is_listed, BoolGetDatum(es_trouble_is_listed()));
	if (processes.worker_pid != 0)
		stats_set(values, nulls, Anum_processes_worker_pid, Int32GetDatum(processes.worker_pid));
	stats_set(values, nulls, Anum_processes_runners, Int32GetDatum(processes.runners));
	stats_set(values, nulls, Anum_processes_lacks_process, BoolGetDatum(processes.lacks_process));
	if (processes.broken_at != 0)
		stats_set(values, nulls, Anum_processes_broken_at, TimestampTzGetDatum(processes.broken_at));
	stats_set(values, nulls, Anum_processes_is_behind, BoolGetDatum(es_order_is_behind()));
	stats_set(values, nulls, Anum_processes_is_fed,
			  BoolGetDatum(es_floor_is_fed() || es_member_get()->is_mirror));
	stats_set(values, nulls, Anum_processes_retention, Int32GetDatum(es_guc_retention_interval));
	stats_set(values, nulls, Anum_processes_seal, Int32GetDatum(es_guc_seal_interval));
	return stats_row(fcinfo, values, nulls);
}

/*
 * eventstore.health_level(measure text, value float8) -> text
 *
 * ok, warning or critical, as the settings eventstore.health_... of the measure
 * say.
 */
Datum
es_health_level(PG_FUNCTION_ARGS)
{
	const EsLimit *limit;
	const char *level = "ok";
	double value;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_TEXT_P(cstring_to_text(level));
	limit = es_limits_find(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (limit == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("eventstore.health has no such measure")));
	value = PG_GETARG_FLOAT8(1);
	if (limit->critical >= 0 && value >= limit->critical)
		level = "critical";
	else if (limit->warning >= 0 && value >= limit->warning)
		level = "warning";
	PG_RETURN_TEXT_P(cstring_to_text(level));
}
