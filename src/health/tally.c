/*-------------------------------------------------------------------------
 *
 * tally.c
 *		How many events there are, by category and by type.
 *
 * The counting is SQL (sql/80_tallies.sql), done as the store's owner: tallies
 * up to a position, which the worker moves on every few seconds, and what has
 * come and gone since, which whoever asks counts himself.  Without a worker who
 * asks moves the tallies on, too, if he may write and it has become much.
 *
 * Who is bound by his grants gets what is within his bounds: tallies are kept by
 * tenant, as well.  Where row security of the users' own counts for who asks, no
 * tally knows what he sees, and the events are counted one by one.
 *
 * Memory: SPI's own; rows in the query's.  Locks: what the SQL takes; the row of
 * eventstore.tally_state, which nobody waits for, to the end of the transaction.
 * Calls: caller, catalog, floor, member, order, rights, see, shared.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/compat.h"
#include "health/tally.h"
#include "order/floor.h"
#include "order/member.h"
#include "order/order.h"
#include "rights/rights.h"
#include "rights/see.h"
#include "signal/shared.h"
#include "subscription/caller.h"

PG_FUNCTION_INFO_V1(es_find_tallies);

/* Events that the worker counts in a transaction: what is to be announced waits for it. */
#define TALLY_SLICE 2000

/* Events that are left for each who asks to count, and how many he counts for all at the most. */
#define TALLY_LEAVE 1000
#define TALLY_HELP  200000

/* How often the worker counts; how often it looks at all whether something is gone; in milliseconds. */
#define TALLY_PAUSE_MS   5000
#define TALLY_LONGEST_MS 60000

static const char tally_fold[] = "SELECT eventstore.fold_tallies($1, $2, $3)";

static const char tally_count[] = "SELECT * FROM eventstore.count_tallies($1, $2, $3, $4)";

/* By whoever sees only what row security lets him see. */
static const char tally_see[] =
	"SELECT CASE WHEN $2 THEN e.type ELSE e.category END COLLATE \"C\", pg_catalog.count(*), "
	"pg_catalog.count(DISTINCT e.stream), pg_catalog.min(e.position), pg_catalog.max(e.position), "
	"(pg_catalog.array_agg(e.recorded_at ORDER BY e.position DESC))[1] "
	"FROM eventstore.events e WHERE e.position OPERATOR(pg_catalog.<=) $1 GROUP BY 1";

/* Count further; returns whether there is more. */
static bool
tally_move_on(int64 at_least, int64 at_most, int64 head)
{
	Oid types[] = {INT8OID, INT8OID, INT8OID};
	Datum values[] = {Int64GetDatum(at_least), Int64GetDatum(at_most), Int64GetDatum(head)};
	bool has_more;
	bool is_null;

	SPI_connect();
	if (SPI_execute_with_args(tally_fold, 3, types, values, NULL, false, 0) != SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not count events");
	has_more = DatumGetBool(
		SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &is_null));
	SPI_finish();
	return has_more;
}

/* ----------------------------------------------------------------------
 * Who asks
 * ----------------------------------------------------------------------
 */

/* The categories, or the tenants, of bounds, as an array: null where a bound has none. */
static Datum
tally_bounds(const EsBounds *bounds, bool is_tenants)
{
	Datum *items = palloc(sizeof(Datum) * Max(bounds->count, 1));
	bool *nulls = palloc(sizeof(bool) * Max(bounds->count, 1));
	int count = bounds->count;
	int lower = 1;
	int i;

	for (i = 0; i < count; i++)
	{
		text *item = is_tenants ? bounds->items[i].tenant : bounds->items[i].category;

		nulls[i] = item == NULL;
		items[i] = PointerGetDatum(item);
	}
	return PointerGetDatum(
		construct_md_array(items, nulls, 1, &count, &lower, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
tally_put(const char *query, int count, Oid *types, Datum *values, const char *nulls,
		  ReturnSetInfo *result)
{
	uint64 i;

	SPI_connect();
	if (SPI_execute_with_args(query, count, types, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not count events");
	for (i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
}

/* Whether events below the head are there for good: not where they come in another order. */
static bool
tally_is_settled(void)
{
	return es_member_get()->is_mirror || !es_floor_is_fed();
}

/* Whether who asks may move the tallies on, and nobody else does it. */
static bool
tally_may_help(void)
{
	return !RecoveryInProgress() && !XactReadOnly && !IsolationUsesXactSnapshot() &&
		!es_shared_has_worker() && tally_is_settled();
}

static void
tally_answer(int64 head, bool by_type, const EsBounds *bounds, ReturnSetInfo *result)
{
	Oid types[] = {INT8OID, BOOLOID, TEXTARRAYOID, TEXTARRAYOID};
	char nulls[] = {' ', ' ', 'n', 'n', '\0'};
	Datum values[] = {Int64GetDatum(head), BoolGetDatum(by_type), (Datum) 0, (Datum) 0};
	EsCaller caller;

	if (!bounds->has_all)
	{
		values[2] = tally_bounds(bounds, false);
		values[3] = tally_bounds(bounds, true);
		nulls[2] = nulls[3] = ' ';
	}
	es_caller_enter(&caller);
	if (tally_may_help())
		(void) tally_move_on(TALLY_LEAVE, TALLY_HELP, head);
	tally_put(tally_count, 4, types, values, nulls, result);
	es_caller_leave(&caller);
}

/*
 * eventstore.find_tallies(by_type boolean) -> SETOF (name text, events bigint, streams bigint,
 *		first_position bigint, last_position bigint, last_recorded_at timestamptz)
 */
Datum
es_find_tallies(PG_FUNCTION_ARGS)
{
	bool by_type = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	Relation events;
	EsView view;
	bool has_policies;

	PreventCommandIfParallelMode("eventstore.categories");
	InitMaterializedSRF(fcinfo, 0);
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	has_policies = es_see_has_policies(events, GetUserId());
	relation_close(events, NoLock);
	es_order_begin_view(&view);
	es_order_end_view(&view);
	if (has_policies)
	{
		Oid types[] = {INT8OID, BOOLOID};
		Datum values[] = {Int64GetDatum(view.head), BoolGetDatum(by_type)};

		tally_put(tally_see, 2, types, values, NULL, (ReturnSetInfo *) fcinfo->resultinfo);
	}
	else
		tally_answer(view.head, by_type, &es_rights_of(GetUserId())->sees,
					 (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

/* ----------------------------------------------------------------------
 * The worker
 * ----------------------------------------------------------------------
 */

/* Up to where it has counted, of which store, and when. */
static int64 tally_head = -1;
static Oid tally_store = InvalidOid;
static TimestampTz tally_at = 0;

/* Count a bit further; returns whether there is more. */
static bool
tally_work(void)
{
	int64 head;
	EsCaller caller;
	bool has_more;

	if (!es_catalog_is_installed() || !tally_is_settled())
		return false;
	head = es_order_head(NULL);
	if (head == tally_head && tally_store == es_catalog_oid(ES_POSITIONS) &&
		!TimestampDifferenceExceeds(tally_at, GetCurrentTimestamp(), TALLY_LONGEST_MS))
		return false;
	pgstat_report_activity(STATE_RUNNING, "counting events");
	es_caller_enter(&caller);
	/* The worker is a superuser, as whom nothing of the owner's may be run later. */
	SetUserIdAndSecContext(GetUserId(),
						   caller.security | SECURITY_LOCAL_USERID_CHANGE |
							   SECURITY_RESTRICTED_OPERATION);
	has_more = tally_move_on(1, TALLY_SLICE, head);
	es_caller_leave(&caller);
	if (!has_more)
	{
		tally_head = head;
		tally_store = es_catalog_oid(ES_POSITIONS);
		tally_at = GetCurrentTimestamp();
	}
	return has_more;
}

/*
 * Called by the worker, between its transactions: count a bit, if it is time.
 * An error is told to the log and ends nothing but this turn.  Returns in how
 * many milliseconds to call again.
 */
long
es_tally_turn(void)
{
	static TimestampTz ended_at = 0;
	MemoryContext caller = CurrentMemoryContext;
	volatile bool has_more = false;
	long passed_ms = ended_at == 0
		? TALLY_PAUSE_MS
		: TimestampDifferenceMilliseconds(ended_at, GetCurrentTimestamp());

	if (passed_ms < TALLY_PAUSE_MS)
		return TALLY_PAUSE_MS - passed_ms;
	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		has_more = tally_work();
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		has_more = false;
	}
	PG_END_TRY();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, "waiting for appends");
	if (has_more)
		return 0;
	ended_at = GetCurrentTimestamp();
	return TALLY_PAUSE_MS;
}
