/*-------------------------------------------------------------------------
 *
 * stale.c
 *		Projections that have to be rebuilt.
 *
 * Some faults of a projection are no reason to stop appends, and can not be
 * mended by going on where it stood: its rows have vanished, or appends have
 * passed it by while it had no owner.  Such a projection is stale: nobody
 * applies it, until it is rebuilt.
 *
 * It is appends that notice, and they must not wait for each other.  So a row
 * is added, and none is ever updated; that several say the same does no harm.
 * What an append that is rolled back has noticed, the next one notices anew.
 *
 * Memory: results in the current context.  Locks: AccessShare or RowExclusive
 * on eventstore.stale_projections.  Calls: catalog, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/scan.h"
#include "projection/stale.h"

static void
stale_open(EsScan *scan, Relation rel, const char *projection, Snapshot snapshot)
{
	es_scan_open(scan, rel, ES_STALE_PROJECTION);
	es_scan_add_key(scan, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(projection));
	es_scan_begin(scan, snapshot);
}

/* Whether a projection is stale; stale, if given, receives why. */
bool
es_stale_find(const char *projection, EsStale *stale)
{
	Relation rel = es_catalog_open(ES_STALE, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool is_found;
	EsScan scan;

	stale_open(&scan, rel, projection, snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	if (is_found && stale != NULL)
	{
		bool is_null;

		stale->code = TextDatumGetCString(slot_getattr(scan.slot, Anum_stale_code, &is_null));
		stale->reason = TextDatumGetCString(slot_getattr(scan.slot, Anum_stale_reason, &is_null));
		stale->noticed_at = DatumGetTimestampTz(
			slot_getattr(scan.slot, Anum_stale_noticed_at, &is_null));
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return is_found;
}

/*
 * Note that a projection has to be rebuilt, and tell it.  Every session reads
 * the definitions anew when this transaction commits.
 *
 * Written directly, as who appends may have no right to.
 */
void
es_stale_note(const char *projection, int code, const char *reason)
{
	Relation rel = es_catalog_open(ES_STALE, RowExclusiveLock);
	Datum values[Natts_stale];
	bool nulls[Natts_stale] = {false};
	HeapTuple row;

	values[Anum_stale_projection - 1] = CStringGetTextDatum(projection);
	values[Anum_stale_code - 1] = CStringGetTextDatum(unpack_sql_state(code));
	values[Anum_stale_reason - 1] = CStringGetTextDatum(reason);
	values[Anum_stale_noticed_at - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	row = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, row);
	heap_freetuple(row);
	relation_close(rel, NoLock);
	CacheInvalidateRelcacheByRelid(es_catalog_oid(ES_PROJECTIONS));
	ereport(WARNING,
			(errcode(code),
			 errmsg("projection \"%s\" is not applied any more", projection),
			 errdetail("%s", reason),
			 code == ERRCODE_UNDEFINED_OBJECT
				 ? errhint("es_reassign_projection gives it an owner, es_rebuild_projection then makes it right again; es_drop_projection drops it.")
				 : errhint("es_rebuild_projection makes it right again, es_drop_projection drops it.")));
}

/* A projection, whose lock is held, is as it should be. */
void
es_stale_forget(const char *projection)
{
	Relation rel = es_catalog_open(ES_STALE, RowExclusiveLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	EsScan scan;

	stale_open(&scan, rel, projection, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
		CatalogTupleDelete(rel, &scan.slot->tts_tid);
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	CommandCounterIncrement();
	CacheInvalidateRelcacheByRelid(es_catalog_oid(ES_PROJECTIONS));
}
