/*-------------------------------------------------------------------------
 *
 * fence.c
 *		Which subjects are erased: eventstore.erasures.
 *
 * The fence counts whatever keys there are: a key that a restore has brought
 * back opens nothing.  It is looked for as of the moment, at every isolation
 * level, so that it holds from the commit that sets it on.
 *
 * Memory: the current context.  Locks: AccessShare on eventstore.erasures; to
 * set it RowExclusive.  Calls: catalog, scan, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/errors.h"
#include "base/scan.h"
#include "base/sql.h"
#include "erasure/fence.h"

/* Whether a subject is erased; erased_at receives when. */
bool
es_fence_stands(const text *subject, TimestampTz *erased_at)
{
	Relation rel = es_catalog_open(ES_ERASURES, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool is_found;
	EsScan scan;

	es_scan_open(&scan, rel, ES_ERASURES_PKEY);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(subject));
	es_scan_begin(&scan, snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	if (is_found)
	{
		bool is_null;

		*erased_at = DatumGetTimestampTz(slot_getattr(scan.slot, Anum_erasures_erased_at, &is_null));
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return is_found;
}

/* Raise SE010.  detail: when it was erased, as a sentence. */
void
es_fence_refuse(const text *subject, const char *detail)
{
	ereport(ERROR,
			(errcode(ES_ERRCODE_SUBJECT_ERASED),
			 errmsg("subject \"%s\" is erased", text_to_cstring(subject)),
			 errdetail("%s", detail),
			 errhint("Nothing can be protected for it any more. A subject that comes back needs another name.")));
}

/*
 * Erase a subject, as the store's owner; one that is erased stays so, since
 * when it was first.
 */
void
es_fence_set(text *subject, text *reason)
{
	static EsSql statement =
		ES_SQL("INSERT INTO eventstore.erasures (subject, erased_at, erased_by, reason) "
			   "VALUES ($1, pg_catalog.clock_timestamp(), $2, $3) ON CONFLICT (subject) DO NOTHING",
			   TEXTOID, TEXTOID, TEXTOID);
	/* Who called, whatever function is called as the store's owner. */
	text *erased_by = cstring_to_text(GetUserNameFromId(GetOuterUserId(), false));
	Datum values[] = {PointerGetDatum(subject), PointerGetDatum(erased_by), PointerGetDatum(reason)};

	(void) es_sql_run(&statement, values, NULL);
}
