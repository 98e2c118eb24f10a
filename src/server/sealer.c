/*-------------------------------------------------------------------------
 *
 * sealer.c
 *		Sealing history at intervals, by the worker.
 *
 * Every eventstore.seal_interval the worker seals what has come since, in
 * transactions of its own, and of so many events at a time that what is to be
 * announced does not wait longer than some milliseconds: where there are more,
 * that makes several seals.  If another session seals, or takes events from
 * history, it is left for the next time.
 *
 * Not while a restore is on its way: the seals that it brings would meet those
 * that are made here.  Its sequences come last, and a parallel one shows itself.
 * An error is told to the log and ends nothing but this turn.
 *
 * Memory: a transaction's.  Locks: those of seal.c, without waiting.  Calls: catalog,
 * floor, order, seal, settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/settings.h"
#include "keeping/seal.h"
#include "order/floor.h"
#include "order/order.h"
#include "server/sealer.h"

/* Events of a turn. */
#define SEALER_EVENTS 4096

/* How long to wait where nothing is due, in milliseconds. */
#define SEALER_LATER_MS 3600000

/* When the last round of turns ended that found nothing more; 0: there was none. */
static TimestampTz sealer_ended_at = 0;

static bool
sealer_is_restoring(void)
{
	bool is_restoring;

	SPI_connect();
	if (SPI_execute("SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datname = pg_catalog.current_database() "
					"AND a.application_name = 'pg_restore'",
					true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look at sessions");
	is_restoring = SPI_processed > 0;
	SPI_finish();
	return is_restoring;
}

/* Seal a bit; returns whether there may be more. */
static bool
sealer_work(void)
{
	EsSealBounds bounds = {.upto = PG_INT64_MAX, .max_events = SEALER_EVENTS, .may_wait = false};

	if (!es_catalog_is_installed() || es_floor_is_fed() || es_order_is_behind() ||
		sealer_is_restoring())
		return false;
	return es_seal_make(&bounds) != 0;
}

static bool
sealer_try(void)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool has_more = false;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		pgstat_report_activity(STATE_RUNNING, "sealing history");
		has_more = sealer_work();
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
	return has_more;
}

/*
 * Called by the worker, between its transactions: seal a bit, if it is time.
 * Returns in how many milliseconds to call again.
 */
long
es_sealer_turn(void)
{
	long interval_ms = es_guc_seal_interval * 1000L;
	long passed_ms;

	if (interval_ms == 0)
		return SEALER_LATER_MS;
	passed_ms = sealer_ended_at == 0
		? interval_ms
		: TimestampDifferenceMilliseconds(sealer_ended_at, GetCurrentTimestamp());
	if (passed_ms < interval_ms)
		return interval_ms - passed_ms;
	if (sealer_try())
		return 0;
	sealer_ended_at = GetCurrentTimestamp();
	return interval_ms;
}
