/*-------------------------------------------------------------------------
 *
 * repair.c
 *		es_repair_streams: the rows of streams, from their events.
 *
 * Events that came without an append, as a COPY stores them, are in no stream's
 * row; so the next append takes a version that is there already.  The rows are
 * made, or moved on, to the last event that is there or was removed; nothing is
 * ever moved back, as a version must not be given to two events, and the events
 * may still be to come.
 *
 * Memory: SPI's.  Locks: ShareRowExclusive on eventstore.events, to the end of
 * the transaction: nobody is appending, or storing events.  Calls: arguments,
 * as_owner, catalog, compat, floor, restore, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "append/restore.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "keeping/as_owner.h"
#include "order/floor.h"

PG_FUNCTION_INFO_V1(es_repair_streams);

static const char repair_statement[] =
	"WITH last AS MATERIALIZED ("
	" SELECT stream, pg_catalog.max(version) AS version, pg_catalog.max(recorded_at) AS recorded_at"
	" FROM (SELECT stream, version, recorded_at FROM eventstore.events"
	"       UNION ALL SELECT stream, version, recorded_at FROM eventstore.gone_events) e"
	" GROUP BY stream),"
	" wrong AS MATERIALIZED ("
	" SELECT l.stream, l.version, l.recorded_at, s.version AS before"
	" FROM last l LEFT JOIN eventstore.streams s ON s.stream OPERATOR(pg_catalog.=) l.stream"
	" WHERE s.version IS NULL OR s.version OPERATOR(pg_catalog.<) l.version),"
	" made AS (INSERT INTO eventstore.streams (stream, version, recorded_at)"
	" SELECT stream, version, recorded_at FROM wrong WHERE before IS NULL),"
	" moved AS (UPDATE eventstore.streams s SET version = w.version,"
	" recorded_at = GREATEST(s.recorded_at, w.recorded_at)"
	" FROM wrong w WHERE s.stream OPERATOR(pg_catalog.=) w.stream AND w.before IS NOT NULL)"
	" SELECT stream, COALESCE(before, 0), version FROM wrong ORDER BY stream COLLATE pg_catalog.\"C\"";

static void
repair_run(ReturnSetInfo *result)
{
	Snapshot snapshot;
	SPIPlanPtr plan;
	uint64 i;

	SPI_connect();
	plan = SPI_prepare(repair_statement, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", repair_statement);
	/* Taken with the lock: it sees what those had stored who were waited for. */
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	if (SPI_execute_snapshot(plan, NULL, NULL, snapshot, InvalidSnapshot, false, true, 0) < 0)
		elog(ERROR, "could not run: %s", repair_statement);
	UnregisterSnapshot(snapshot);
	for (i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	SPI_finish();
}

/*
 * es_repair_streams() -> SETOF (stream text, version_before bigint, version bigint)
 */
Datum
es_repair_streams(PG_FUNCTION_ARGS)
{
	EsAsOwner caller;
	int level;

	PreventCommandIfReadOnly("es_repair_streams()");
	PreventCommandIfParallelMode("es_repair_streams()");
	es_floor_check_fed();
	InitMaterializedSRF(fcinfo, 0);
	relation_close(es_catalog_open(ES_EVENTS, ShareRowExclusiveLock), NoLock);
	es_as_owner_begin(&caller);
	es_restore_begin(&level);
	repair_run((ReturnSetInfo *) fcinfo->resultinfo);
	es_restore_end(level);
	es_as_owner_end(&caller);
	return (Datum) 0;
}
