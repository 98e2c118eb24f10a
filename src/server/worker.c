/*-------------------------------------------------------------------------
 *
 * worker.c
 *		The background worker of a database: it announces the head, applies
 *		retention and counts events in between.
 *
 * Appenders wake it after commit or rollback, which costs them a latch.  Where
 * the head has moved, it puts it into shared memory, wakes the sessions that
 * wait for the events in between, and NOTIFYs on the channel of all events and on
 * those of these events' categories.  However many appends have been committed
 * meanwhile, it is one NOTIFY a channel, and no appender takes NOTIFY's lock.
 *
 * What was announced is saved in eventstore.head, every WORKER_SAVE_MS at the
 * most: a worker that starts goes on there, and may announce the last moments
 * once more.  The same row carries the head to standbys, so it goes on while the
 * queue of notifications is full; what could not be announced meanwhile is made
 * good when there is room again, by the same worker.
 *
 * A worker knows nothing about others and ends on any error; the launcher
 * starts it again.
 *
 * Memory: each round's transaction.  Locks: none beyond a round.  Calls:
 * announce, catalog, member, news, order, pending, provide, ranges, retention,
 * runner, scan, sealer, settings, shared, tally, version, wake.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "commands/dbcommands.h"
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
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "base/scan.h"
#include "base/settings.h"
#include "base/version.h"
#include "health/tally.h"
#include "keeping/retention.h"
#include "order/member.h"
#include "order/order.h"
#include "order/standby.h"
#include "partition/provide.h"
#include "server/runner.h"
#include "server/sealer.h"
#include "server/worker.h"
#include "signal/announce.h"
#include "signal/news.h"
#include "signal/pending.h"
#include "signal/shared.h"
#include "signal/wake.h"

/* In milliseconds: how often to look at what nobody tells about ... */
#define WORKER_LOOK_MS 50    /* prepared transactions in flight */
#define WORKER_IDLE_MS 10000 /* is the extension there now? */

/* To try again to have async projections applied, or to announce. */
#define WORKER_RETRY_MS 1000

/* ... and to save the head, which costs a row version each time. */
#define WORKER_SAVE_MS 50

/*
 * From the begin of a round to that of the next: so many times what the round
 * took, and within these microseconds.
 */
#define WORKER_PAUSE_TIMES      10
#define WORKER_LEAST_PAUSE_US   1000
#define WORKER_LONGEST_PAUSE_US 5000

/* Events and categories to announce in a round; others have to wait for it. */
#define WORKER_SLICE      10000
#define WORKER_CATEGORIES 1000

/* What is announced, and what is saved, of which store (its sequence's OID). */
static Oid worker_store = InvalidOid;
static int64 worker_announced;
static int64 worker_saved;
static bool worker_is_held_back; /* there was no room to announce more */
static bool worker_is_blind;     /* in the last round nothing could be looked at */
static bool worker_lacks_ranges; /* and there were too few partitions ahead */
static TimestampTz worker_saved_at = 0;

/* Up to where who waits has been woken; -1: not yet. */
static int64 worker_woken = -1;

static const char worker_save_head[] =
	"INSERT INTO eventstore.head AS h (position) VALUES ($1) "
	"ON CONFLICT (only_row) DO UPDATE SET position = excluded.position";

/* Write how far it has come, for standbys and successors. */
static void
worker_save(int64 position)
{
	static SPIPlanPtr plan = NULL;
	Oid type = INT8OID;
	Datum value = Int64GetDatum(position);

	/* Asked once more, as it may have become a mirror before we had the lock. */
	relation_close(es_catalog_open(ES_HEAD, RowExclusiveLock), NoLock);
	if (es_member_get()->is_mirror)
		return;
	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare(worker_save_head, 1, &type);
		SPI_keepplan(plan);
	}
	if (SPI_execute_plan(plan, &value, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not save the head");
	SPI_finish();
	worker_saved = position;
	worker_saved_at = GetCurrentTimestamp();
}

/*
 * Note what is new, up to the head: the categories of events after a position,
 * to announce; what events there are after another one, for who waits.  Returns
 * how far it is known: WORKER_SLICE events at most, and not many more
 * categories than WORKER_CATEGORIES.
 *
 * announced, woken: PG_INT64_MAX: nothing is to be noted.
 */
static int64
worker_find_news(int64 announced, int64 woken, int64 head)
{
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	int64 covered = head;
	int count = 0;
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_add_key(&scan, 1, BTGreaterStrategyNumber, F_INT8GT,
					Int64GetDatum(Min(announced, woken)));
	es_scan_add_key(&scan, 1, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(head));
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		int64 position;
		const text *category;
		bool is_null;

		CHECK_FOR_INTERRUPTS();
		position = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null));
		category = DatumGetTextPP(slot_getattr(scan.slot, Anum_events_category, &is_null));
		if (position > announced)
			es_pending_add(category);
		if (position > woken)
			es_news_add(category,
						DatumGetTextPP(slot_getattr(scan.slot, Anum_events_type, &is_null)));
		if (++count == WORKER_SLICE || es_pending_count() == WORKER_CATEGORIES)
		{
			covered = position;
			break;
		}
	}
	es_scan_close(&scan);
	relation_close(events, NoLock);
	UnregisterSnapshot(snapshot);
	return covered;
}

/*
 * Wake who waits for what is new, and find what is to be announced, up to the
 * head or a slice of it.  Returns how far that is; while the queue of
 * notifications is full it is nothing, and the head goes on without.
 */
static int64
worker_prepare(int64 head)
{
	/* Who begins to wait later looks for himself, and finds the head here. */
	bool wakes = head > worker_woken && es_wake_has_listeners();
	bool announces = head > worker_announced && es_guc_notify &&
		!(worker_is_held_back && !es_announce_has_room());
	int64 covered = head;

	if (wakes || announces)
		covered = worker_find_news(announces ? worker_announced : PG_INT64_MAX,
								   wakes ? worker_woken : PG_INT64_MAX, head);
	if (wakes)
	{
		if (covered < head)
			es_news_add_unknown();
		es_news_tell();
		es_news_forget();
	}
	worker_woken = head;
	if (head <= worker_announced)
		return worker_announced;
	if (!announces)
		covered = head;
	if (announces || !es_guc_notify)
		worker_is_held_back = false;
	return covered;
}

/*
 * Announce what was found up to a position, at the end of a round.  Where all
 * was rolled back there is nothing to tell.
 */
static void
worker_announce(int64 covered)
{
	if (es_pending_count() > 0)
	{
		worker_is_held_back = !es_announce_begin();
		if (!worker_is_held_back)
			es_announce_pending(covered);
	}
	if (!worker_is_held_back)
		worker_announced = covered;
}

/* Go on where the last worker of this store ended. */
static void
worker_find_store(void)
{
	Oid store = es_catalog_oid(ES_POSITIONS);

	if (worker_store == store)
		return;
	worker_announced = worker_saved = es_standby_announced(GetActiveSnapshot());
	worker_is_held_back = false;
	worker_woken = -1;
	worker_store = store;
}

/*
 * Tell the head to who waits for every move of it; to all who wait, in the first
 * round: they may have missed something while there was no worker.
 */
static void
worker_tell_head(int64 head)
{
	int64 told;

	if (worker_woken >= 0 && es_shared_get_head(&told) && told == head)
		return;
	es_shared_set_head(head);
	if (worker_woken >= 0)
		es_wake_general();
	else
	{
		es_wake_all();
		worker_woken = head;
	}
}

/*
 * What there is to do.  Returns how long to sleep at the most if nobody wakes,
 * in milliseconds.
 */
static long
worker_work(void)
{
	bool is_told;
	int64 head = es_order_head(&is_told);
	long sleep_ms = is_told ? WORKER_IDLE_MS : WORKER_LOOK_MS;
	/* In a mirror the row comes from the other store. */
	bool saves = !es_member_get()->is_mirror;
	int64 covered;

	worker_find_store();
	worker_tell_head(head);
	if (head > worker_announced)
		pgstat_report_activity(STATE_RUNNING, "announcing the head");
	covered = worker_prepare(head);
	if (saves && covered > worker_saved &&
		TimestampDifferenceExceeds(worker_saved_at, GetCurrentTimestamp(), WORKER_SAVE_MS))
		worker_save(covered);

	if (!es_runner_call(head))
		sleep_ms = Min(sleep_ms, WORKER_RETRY_MS);

	/* Last: who announces keeps others that want to from committing. */
	if (covered > worker_announced)
		worker_announce(covered);

	if (head > covered)
		return 0;
	if (worker_is_held_back)
		sleep_ms = Min(sleep_ms, WORKER_RETRY_MS);
	if (saves && covered > worker_saved)
		sleep_ms = Min(sleep_ms, WORKER_SAVE_MS);
	return sleep_ms;
}

/* The extension is not there, or of another version: tell the log once of each. */
static void
worker_tell_idle(void)
{
	static bool is_old_told = false;
	static bool is_told = false;

	if (es_catalog_has(ES_POSITIONS))
	{
		if (!is_old_told)
			es_version_tell(WARNING);
		is_old_told = true;
		return;
	}
	/* Not by one that was started again. */
	if (!is_told && MyBgworkerEntry->bgw_extra[0])
		ereport(WARNING,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"eventstore\" is not installed in database \"%s\"",
						get_database_name(MyDatabaseId)),
				 errdetail("Its worker has nothing to do until it is."),
				 errhint("CREATE EXTENSION eventstore in it, or take it out of eventstore.databases.")));
	is_told = true;
}

/*
 * Whether partitions have their indexes.  In the restore of a dump they come last,
 * and until then nothing can be looked at.
 */
static bool
worker_can_look(void)
{
	static uint64 whole_generation = PG_UINT64_MAX;
	static bool is_told = false;
	uint64 generation = es_catalog_generation();
	Relation events;
	bool is_whole;

	if (generation == whole_generation)
		return true;
	events = es_catalog_open(ES_EVENTS, AccessShareLock);
	is_whole = es_ranges_are_whole(events);
	relation_close(events, NoLock);
	if (is_whole)
		whole_generation = generation;
	else if (!is_told)
		ereport(WARNING,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the worker of database \"%s\" waits, as a partition of \"%s.events\" lacks an index",
						get_database_name(MyDatabaseId), ES_SCHEMA),
				 errhint("A restore makes indexes at its end. Where none is going on, give the partition those that the others have.")));
	is_told = !is_whole;
	return is_whole;
}

/* One round, in a transaction; returns as worker_work does. */
static long
worker_round(void)
{
	long sleep_ms = WORKER_IDLE_MS;

	worker_is_blind = worker_lacks_ranges = false;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	if (!es_catalog_is_installed())
		worker_tell_idle();
	else if (worker_can_look())
	{
		sleep_ms = worker_work();
		worker_lacks_ranges = es_provide_is_due();
	}
	else
	{
		worker_is_blind = true;
		sleep_ms = WORKER_RETRY_MS;
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, "waiting for appends");
	return sleep_ms;
}

/*
 * Apply retention a bit further, in a transaction of its own: what is to be
 * announced does not wait for it.  Returns in how many milliseconds there is
 * more of it.
 */
static long
worker_retain(void)
{
	bool is_installed;

	if (es_retention_due() > 0)
		return es_retention_due();
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	is_installed = es_catalog_is_installed();
	if (is_installed)
	{
		pgstat_report_activity(STATE_RUNNING, "applying retention");
		es_retention_work();
	}
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, "waiting for appends");
	return is_installed ? es_retention_due() : WORKER_IDLE_MS;
}

/*
 * Leave the processor to who appends: where appends come faster than rounds,
 * one round announces many.  What a round takes grows with that and with all
 * else that runs, and so does the time to the next.
 */
static void
worker_pause(TimestampTz begun, TimestampTz ended)
{
	TimestampTz pause = (ended - begun) * WORKER_PAUSE_TIMES;
	TimestampTz passed = GetCurrentTimestamp() - begun;

	pause = Max(WORKER_LEAST_PAUSE_US, Min(pause, WORKER_LONGEST_PAUSE_US));
	if (passed >= 0 && passed < pause)
		pg_usleep(pause - passed);
}

/* Sessions that wait have to look for themselves from now on. */
static void
worker_wake_at_exit(int code, Datum arg)
{
	es_wake_all();
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
	/* In this order: woken when the slot is free. */
	before_shmem_exit(worker_wake_at_exit, (Datum) 0);
	if (!es_shared_worker_begin())
		proc_exit(0);

	SetConfigOption("application_name", "eventstore", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("lock_timeout", "0", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_read_only", "off", PGC_USERSET, PGC_S_SESSION);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_USERSET, PGC_S_SESSION);
	/* A head that a crash takes back is found again by the next round. */
	SetConfigOption("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION);

	for (;;)
	{
		TimestampTz begun = GetCurrentTimestamp();
		TimestampTz ended;
		long sleep_ms;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		sleep_ms = worker_round();
		if (worker_lacks_ranges)
			es_provide_turn();
		if (!worker_is_blind)
		{
			sleep_ms = Min(sleep_ms, worker_retain());
			sleep_ms = Min(sleep_ms, es_sealer_turn());
			sleep_ms = Min(sleep_ms, es_tally_turn());
		}
		ended = GetCurrentTimestamp();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, sleep_ms,
						 PG_WAIT_EXTENSION);
		worker_pause(begun, ended);
	}
}
