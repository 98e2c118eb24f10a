/*-------------------------------------------------------------------------
 *
 * omission.c
 *		Events that a projection is not applied to.
 *
 * Three tables of positions.  What a projection's own SQL has appended, it never
 * sees.  What was skipped, by on_error or es_skip_event, is left out by every
 * replay as well.
 *
 * And what an inline projection has missed: one that lets appends through when
 * its SQL fails stops at that event.  Appends in flight at that moment may apply
 * it or not, and none of them waits for another to find out; so each one that
 * does not notes its events, and knows by the notes of others that it is not to.
 * So it is exact: it has been applied to every event but these.  The notes end
 * with es_resume_projection or es_skip_event, which apply them in the order of
 * positions.
 *
 * They are written directly, as who appends may have no right to.
 *
 * Memory: results in the current context.  Locks: AccessShare or RowExclusive on
 * the table.  Calls: catalog, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/indexing.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "base/scan.h"
#include "projection/omission.h"

static const struct
{
	EsRelation table;
	EsRelation key;
} omission_relations[] = {[ES_OMISSION_APPENDED] = {ES_PROJECTION_APPENDS,
													ES_PROJECTION_APPENDS_PKEY},
						  [ES_OMISSION_SKIPPED] = {ES_SKIPPED_EVENTS, ES_SKIPPED_EVENTS_PKEY},
						  [ES_OMISSION_MISSED] = {ES_PROJECTION_MISSED, ES_PROJECTION_MISSED_PKEY}};

/* Columns of all three. */
#define Anum_omission_projection 1
#define Anum_omission_position   2

/* Columns of the others. */
#define Anum_omission_code   3
#define Anum_omission_error  4
#define Anum_omission_reason 5 /* of what was skipped */

/*
 * Note that a projection is not applied to an event.
 *
 * error: that it has caused; NULL: none.
 */
void
es_omission_add(EsOmission why, const char *projection, int64 position,
				const EsProjectionError *error)
{
	Relation rel = es_catalog_open(omission_relations[why].table, RowExclusiveLock);
	Datum values[Natts_skipped_events];
	bool nulls[Natts_skipped_events];
	HeapTuple row;

	memset(nulls, true, sizeof(nulls));
	values[Anum_omission_projection - 1] = CStringGetTextDatum(projection);
	values[Anum_omission_position - 1] = Int64GetDatum(position);
	nulls[Anum_omission_projection - 1] = nulls[Anum_omission_position - 1] = false;
	if (error != NULL)
	{
		values[Anum_omission_code - 1] = CStringGetTextDatum(unpack_sql_state(error->code));
		values[Anum_omission_error - 1] = CStringGetTextDatum(error->message);
		nulls[Anum_omission_code - 1] = nulls[Anum_omission_error - 1] = false;
	}
	/* When: the last column of those that have it. */
	if (why != ES_OMISSION_APPENDED)
	{
		values[RelationGetNumberOfAttributes(rel) - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
		nulls[RelationGetNumberOfAttributes(rel) - 1] = false;
	}
	row = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, row);
	heap_freetuple(row);
	relation_close(rel, NoLock);
}

static List *
omission_scan(EsOmission why, const char *projection, int64 after, int64 upto, Snapshot seen_by,
			  bool only_first)
{
	Relation rel = es_catalog_open(omission_relations[why].table, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(seen_by == NULL ? GetLatestSnapshot() : seen_by);
	List *result = NIL;
	EsScan scan;

	es_scan_open(&scan, rel, omission_relations[why].key);
	es_scan_add_key(&scan, Anum_omission_projection, BTEqualStrategyNumber, F_TEXTEQ,
					CStringGetTextDatum(projection));
	es_scan_add_key(&scan, Anum_omission_position, BTGreaterStrategyNumber, F_INT8GT,
					Int64GetDatum(after));
	es_scan_add_key(&scan, Anum_omission_position, BTLessEqualStrategyNumber, F_INT8LE,
					Int64GetDatum(upto));
	es_scan_begin(&scan, snapshot);
	while ((result == NIL || !only_first) && es_scan_next(&scan, ForwardScanDirection))
	{
		int64 *position = palloc(sizeof(int64));
		bool is_null;

		*position = DatumGetInt64(slot_getattr(scan.slot, Anum_omission_position, &is_null));
		result = lappend(result, position);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return result;
}

/*
 * The positions after a position, and up to another, of events that a
 * projection is not applied to: a list of int64 *, sorted.
 *
 * seen_by: NULL: as of the moment.
 */
List *
es_omission_list(EsOmission why, const char *projection, int64 after, int64 upto, Snapshot seen_by)
{
	return omission_scan(why, projection, after, upto, seen_by, false);
}

/* The first of these positions; 0: there is none. */
int64
es_omission_first(EsOmission why, const char *projection)
{
	List *found = omission_scan(why, projection, 0, PG_INT64_MAX, NULL, true);

	return found == NIL ? 0 : *(int64 *) linitial(found);
}

/*
 * Whether a position is among some, sorted; asked for rising positions.
 *
 * next: index of the first one that has not been passed; 0 at first.
 */
bool
es_omission_has(List *positions, int *next, int64 position)
{
	while (*next < list_length(positions) && *(int64 *) list_nth(positions, *next) < position)
		(*next)++;
	return *next < list_length(positions) && *(int64 *) list_nth(positions, *next) == position;
}
