/*-------------------------------------------------------------------------
 *
 * verify.c
 *		es_verify_projection: is a projection's table what it should be?
 *
 * One snapshot says both what the table is and which events it was made of:
 * those that the snapshot sees, if appends apply the projection; those up to
 * the checkpoint, else.  So nobody waits, and appends that are in flight make
 * no difference.  The projection's lock is held only while that snapshot is
 * taken, so that its state and checkpoint belong to it.
 *
 * A declared table is compared with its query over these events; a handler's
 * tables with a replay of them, in the order of positions.
 *
 * Memory: the function call's context.  Locks: the projection's, for a moment;
 * AccessShare on the tables.  Calls: apply, difference, order, projection,
 * replay.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "fmgr.h"
#include "funcapi.h"
#include "tcop/dest.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "order/order.h"
#include "projection/replay/difference.h"
#include "projection/replay/replay.h"

PG_FUNCTION_INFO_V1(es_verify_projection);

/*
 * Put the rows of a query into the result.  The snapshot says what it sees of
 * the table; the copy is newer, but of this transaction.
 */
static void
verify_report(const char *sql, Snapshot snapshot, ReturnSetInfo *result)
{
	SPIExecuteOptions options = {.read_only = true};
	SPIPlanPtr plan;

	PushCopiedSnapshot(snapshot);
	UpdateActiveSnapshotCommandId();
	SPI_connect();
	plan = SPI_prepare(sql, 0, NULL);
	options.dest = CreateDestReceiver(DestTuplestore);
	SetTuplestoreDestReceiverParams(options.dest, result->setResult,
									result->econtext->ecxt_per_query_memory, true, NULL, NULL);
	if (plan == NULL || SPI_execute_plan_extended(plan, &options) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
	PopActiveSnapshot();
}

static void
verify_compare(EsReplay *replay, Snapshot snapshot, ReturnSetInfo *result)
{
	bool names_table = !replay->projection.is_declared && list_length(replay->shadows) > 1;
	EsApplyScope scope;
	EsApplier applier = {.projection = &replay->projection, .owner = replay->applier->owner};
	ListCell *cell;

	es_apply_enter(&scope, &applier);
	PG_TRY();
	{
		es_difference_see_all();
		foreach (cell, replay->shadows)
		{
			verify_report(es_difference_report(es_difference_make(lfirst(cell)), names_table),
						  snapshot, result);
			/* The other one is the state of a declared table. */
			if (replay->projection.is_declared)
				break;
		}
	}
	PG_FINALLY();
	{
		es_apply_leave(&scope);
	}
	PG_END_TRY();
}

static Datum
verify_call(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	EsProjection *projection = es_replay_get(fcinfo, "es_verify_projection()");
	Snapshot snapshot;
	EsReplay *replay;
	int64 upto;

	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("es_verify_projection() works in READ COMMITTED transactions only"),
				 errdetail("It needs a snapshot of the moment.")));
	InitMaterializedSRF(fcinfo, 0);

	es_projection_lock(projection->name);
	projection = es_projection_get(projection->name);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	es_projection_unlock(projection->name);
	upto = projection->is_inline &&
			(projection->state == ES_PROJECTION_RUNNING || projection->notes_missed)
		? PG_INT64_MAX
		: projection->position;

	replay = es_replay_begin(projection);
	es_replay_check_table(replay);
	replay->projection.seen_by = snapshot;
	replay->projection.leaves_missed = projection->is_inline &&
		projection->on_error == ES_ON_ERROR_STOP;
	if (projection->is_declared)
		es_replay_select(replay, snapshot, upto);
	else
		es_replay_advance(replay, upto);
	verify_compare(replay, snapshot, result);
	es_replay_end(replay);
	UnregisterSnapshot(snapshot);
	return (Datum) 0;
}

/*
 * es_verify_projection(name text) -> SETOF (kind text, key jsonb, stored jsonb, expected jsonb)
 */
Datum
es_verify_projection(PG_FUNCTION_ARGS)
{
	return es_replay_call(verify_call, fcinfo);
}
