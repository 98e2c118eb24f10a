/*-------------------------------------------------------------------------
 *
 * forget.c
 *		Taking events from a stream, from its first one on.
 *
 * An event goes by a DELETE in SQL, so that triggers, foreign keys and
 * publications of the table know, and leaves a row in
 * eventstore.removed_events: its id stays known, and its digest says what it
 * was; and one in eventstore.tally_removals for who counts events.  It runs as the table's owner, without regard to row security: the right
 * to call the verb is the right to do it.
 *
 * Nothing here is waited for by an append.  Who comes in between finds the
 * events, or finds them gone: both are an order that could have been.
 *
 * Memory: SPI's own.  Locks: what the statements take; the caller holds the
 * userlocks "custody" and "keeps".  Calls: immutability, ranges, scan, sql,
 * whereabouts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/conceal.h"
#include "base/ranges.h"
#include "base/scan.h"
#include "keeping/forget.h"
#include "read/whereabouts.h"

/* Which events are looked for. */
typedef struct ForgetLook
{
	Relation events;
	const text *stream;
	int64 first; /* versions */
	int64 last;
	Snapshot snapshot;
} ForgetLook;

/* A statement to be run, and its result. */
typedef struct ForgetCall
{
	EsSql *statement;
	Datum *values;
	const char *nulls;
	int64 result;
} ForgetCall;

static void
forget_run(void *argument)
{
	ForgetCall *call = argument;

	call->result = es_sql_number(call->statement, call->values, call->nulls);
}

/*
 * As the owner of the tables; an error does not show what is in the events.
 *
 * Where partitions are foreign tables, a plan is made for the values: a general one
 * would have the other servers ready for events that are not theirs.
 */
static void
forget_run_as_owner(ForgetCall *call, const EsPermit *permit)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	MemoryContext caller = CurrentMemoryContext;
	int level = NewGUCNestLevel();
	Oid user;
	int security;

	if (es_ranges_have_remote(events))
		(void) set_config_option("plan_cache_mode", "force_custom_plan", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	GetUserIdAndSecContext(&user, &security);
	/* The worker is a superuser, as whom nothing of the owner's may be run later. */
	SetUserIdAndSecContext(RelationGetForm(events)->relowner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS |
							   (MyBackendType == B_BG_WORKER ? SECURITY_RESTRICTED_OPERATION : 0));
	PG_TRY();
	{
		if (permit == NULL)
			forget_run(call);
		else
			es_immutability_except(permit, forget_run, call);
	}
	PG_CATCH();
	{
		EsConceal conceal = {.table = events, .own_columns = Natts_event};

		es_conceal_rethrow(&conceal, caller);
	}
	PG_END_TRY();
	SetUserIdAndSecContext(user, security);
	AtEOXact_GUC(false, level);
	relation_close(events, NoLock);
}

/*
 * Run a statement as the owner of the tables.  Returns the number in the first
 * column of its first row; 0 if there is none.
 */
int64
es_forget_run(EsSql *statement, Datum *values, const char *nulls)
{
	return es_forget_change(statement, values, nulls, NULL);
}

/*
 * The same of one that changes events.
 *
 * permit: which, and how; NULL: it changes none.
 */
int64
es_forget_change(EsSql *statement, Datum *values, const char *nulls, const EsPermit *permit)
{
	ForgetCall call = {statement, values, nulls, 0};

	forget_run_as_owner(&call, permit);
	return call.result;
}

/* The position of the first event, in a direction, of some versions of a stream; 0: there is none. */
static int64
forget_find(const ForgetLook *look, ScanDirection direction)
{
	int64 position = 0;
	EsScan scan;
	bool is_null;

	es_scan_open(&scan, look->events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(look->stream));
	es_scan_add_key(&scan, 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(look->first));
	es_scan_add_key(&scan, 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(look->last));
	es_whereabouts_narrow(&scan, look->stream, look->snapshot, direction, look->first);
	es_scan_begin(&scan, look->snapshot);
	if (es_scan_next(&scan, direction))
		position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));
	es_scan_close(&scan);
	return position;
}

/*
 * Find between which positions some versions of a stream are, where partitions are
 * foreign tables: what is done about these events is done in others only.  Raises
 * 0A000 if there is one among them.  Returns false if there are no events.
 */
static bool
forget_bound(const text *stream, int64 first, int64 last, int64 *low, int64 *high)
{
	ForgetLook look = {.events = es_catalog_open(ES_EVENTS, AccessShareLock),
					   .stream = stream,
					   .first = first,
					   .last = last};
	bool is_any = true;

	if (es_ranges_have_remote(look.events))
	{
		look.snapshot = RegisterSnapshot(GetLatestSnapshot());
		*low = forget_find(&look, ForwardScanDirection);
		*high = *low == 0 ? 0 : forget_find(&look, BackwardScanDirection);
		UnregisterSnapshot(look.snapshot);
		is_any = *low != 0;
		if (is_any)
			es_ranges_check_local_between(look.events, *low, *high);
	}
	relation_close(look.events, NoLock);
	return is_any;
}

/*
 * Take the events of some versions from a stream.  Returns how many are gone.
 */
int64
es_forget_events(const text *stream, int64 first, int64 last)
{
	static EsSql statement = ES_SQL(
		"WITH gone AS (DELETE FROM eventstore.events e "
		"WHERE e.stream = $1 AND e.version BETWEEN $2 AND $3 AND e.position BETWEEN $4 AND $5 RETURNING e.position, e.stream, e.category, e.version, "
		"e.id, e.type, e.data, e.metadata, e.tags, e.recorded_at), "
		"noted AS (INSERT INTO eventstore.removed_events "
		"(id, position, stream, version, type, recorded_at, removed_at, digest) "
		"SELECT g.id, g.position, g.stream, g.version, g.type, g.recorded_at, pg_catalog.clock_timestamp(), "
		"eventstore.event_digest(ROW(g.position, g.stream, g.category, g.version, g.id, g.type, g.data, g.metadata, "
		"g.tags, g.recorded_at)::eventstore.event) FROM gone g ON CONFLICT DO NOTHING), "
		"tallied AS (INSERT INTO eventstore.tally_removals (stream, type, positions) "
		"SELECT g.stream, g.type, pg_catalog.array_agg(g.position) FROM gone g "
		"WHERE pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) 'replica' "
		"GROUP BY g.stream, g.type) "
		"SELECT pg_catalog.count(*) FROM gone",
		TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID);
	EsPermit permit = {ES_CHANGE_REMOVE, stream, first, last};
	int64 low = PG_INT64_MIN;
	int64 high = PG_INT64_MAX;
	Datum values[] = {PointerGetDatum(stream), Int64GetDatum(first), Int64GetDatum(last), (Datum) 0,
					  (Datum) 0};

	if (!forget_bound(stream, first, last, &low, &high))
		return 0;
	values[3] = Int64GetDatum(low);
	values[4] = Int64GetDatum(high);
	return es_forget_change(&statement, values, NULL, &permit);
}

/* Throw away the snapshots of some versions of a stream. */
void
es_forget_snapshots(const text *stream, int64 first, int64 last)
{
	static EsSql statement = ES_SQL("DELETE FROM eventstore.snapshots "
									"WHERE stream = $1 AND version BETWEEN $2 AND $3",
									TEXTOID, INT8OID, INT8OID);
	Datum values[] = {PointerGetDatum(stream), Int64GetDatum(first), Int64GetDatum(last)};

	(void) es_forget_run(&statement, values, NULL);
}
