/*-------------------------------------------------------------------------
 *
 * worker.c
 *		The background worker of a database: it announces the head.
 *
 * Appenders wake it after commit or rollback, which costs them a latch.  It
 * then wakes the sessions that wait, and, where the head has moved, announces
 * it in one transaction: NOTIFY on the channel of all events and on those of
 * the categories in between, and the new value of eventstore.head.  However
 * many appends have been committed meanwhile, it is one NOTIFY a channel, and
 * no appender takes NOTIFY's lock.
 *
 * What was announced last stands in eventstore.head, so a worker that starts
 * goes on where its predecessor ended.  The same row carries the head to
 * standbys.
 *
 * A worker knows nothing about others and ends on any error; the launcher
 * starts it again.
 *
 * Memory: each round's transaction.  Locks: none beyond a round.  Calls:
 * catalog, channel, names, order, scan, settings, shared, wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "commands/async.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "channel.h"
#include "compat.h"
#include "names.h"
#include "order.h"
#include "scan.h"
#include "settings.h"
#include "shared.h"
#include "wake.h"
#include "worker.h"

/* How often to look at what nobody tells about, in milliseconds. */
#define WORKER_LOOK_MS 50    /* prepared transactions in flight */
#define WORKER_IDLE_MS 10000 /* is the extension there now? */

static const char worker_save_head[] =
	"INSERT INTO eventstore.head AS h (position) VALUES ($1) "
	"ON CONFLICT (only_row) DO UPDATE SET position = excluded.position";

/* Write the head that is being announced, for standbys and successors. */
static void
worker_save(int64 head)
{
	static SPIPlanPtr plan = NULL;
	Oid type = INT8OID;
	Datum value = Int64GetDatum(head);

	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare(worker_save_head, 1, &type);
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, &value, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not save the head");
	SPI_finish();
}

/* NOTIFY on the channels of the categories of events in a range. */
static void
worker_notify_categories(int64 after, int64 head, const char *payload)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	text *last = NULL;
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	es_scan_add_key(&scan, 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(head));
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		bool is_null;
		text *category = DatumGetTextPP(slot_getattr(scan.slot, Anum_events_category, &is_null));

		CHECK_FOR_INTERRUPTS();
		/* Async_Notify drops what it has already; this saves it most. */
		if (last != NULL && es_names_equal(last, category))
			continue;
		last = (text *) pg_detoast_datum_copy((struct varlena *) category);
		Async_Notify(es_channel_name(last), payload);
	}
	es_scan_close(&scan);
	relation_close(events, NoLock);
	UnregisterSnapshot(snapshot);
}

static void
worker_announce(int64 after, int64 head)
{
	char *payload = psprintf("%lld", (long long) head);

	if (es_guc_notify)
	{
		Async_Notify(es_channel_name(NULL), payload);
		worker_notify_categories(after, head, payload);
	}
	worker_save(head);
}

/*
 * One round.  Returns how long to sleep at the most if nobody wakes, in
 * milliseconds.
 */
static long
worker_round(void)
{
	long sleep_ms = WORKER_IDLE_MS;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (es_catalog_is_installed())
	{
		bool is_told;
		int64 announced = es_order_announced(GetActiveSnapshot());
		int64 head = es_order_head(&is_told);

		es_wake_waiters();
		if (head > announced)
		{
			pgstat_report_activity(STATE_RUNNING, "announcing the head");
			worker_announce(announced, head);
		}
		if (!is_told)
			sleep_ms = WORKER_LOOK_MS;
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, "waiting for appends");
	return sleep_ms;
}

/*
 * Entry point of the worker.
 *
 * database: the OID of its database.
 */
void
es_worker_main(Datum database)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
	if (!es_shared_worker_begin())
		proc_exit(0);

	SetConfigOption("application_name", "eventstore", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
	/* A head that a crash takes back is found again by the next round. */
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION);

	for (;;)
	{
		long sleep_ms;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		sleep_ms = worker_round();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, sleep_ms,
						 PG_WAIT_EXTENSION);
	}
}
