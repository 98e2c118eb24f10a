/*-------------------------------------------------------------------------
 *
 * scan_remote.c
 *		Scans of ranges that are foreign tables.
 *
 * What is cold may be in an archive database, with a foreign table in the place
 * of the partition.  It has no index here, so the scan becomes the SELECT that it
 * stands for (select.c): the keys go to the other server, and rows come in the
 * index's order, whoever sorts them.  Nothing is asked before a row is wanted:
 * who only passes by does not need the server.
 *
 * The index of tags knows hashes of tags, and the other server need not have
 * one: it is asked for the tags themselves, all of them at once.
 *
 * Memory: a context of its own below the current one; rows in the scan's slot.
 * Locks: none here; the caller holds one on the range.  Calls: ranges, select.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "base/ranges.h"
#include "base/scan_remote.h"

/* The keys on positions, for the index of tags: its other column is a hash. */
static int
remote_copy_keys(const EsScan *scan, ScanKeyData *keys)
{
	int count = 0;
	int i;

	for (i = 0; i < scan->key_count; i++)
	{
		if (scan->keys[i].sk_attno == 1)
			continue;
		keys[count] = scan->keys[i];
		keys[count++].sk_attno = 1;
	}
	return count;
}

static Datum
remote_get_tags(const EsScan *scan)
{
	ArrayType *tags;

	/* PostgreSQL's function takes them as those that could be written to. */
	tags = construct_array(unconstify(Datum *, scan->tags), scan->tag_count, TEXTOID, -1, false,
						   TYPALIGN_INT);
	return PointerGetDatum(tags);
}

static void
remote_plan(EsScan *scan, ScanDirection direction)
{
	bool is_by_tag = scan->which == ES_EVENTS_TAGS;
	ScanKeyData keys[ES_SCAN_MAX_KEYS];
	EsSelectWhat what = {.table = scan->heap,
						 .keys = scan->keys,
						 .key_count = scan->key_count,
						 .role = GetUserId(),
						 .security = es_select_security(GetUserId()),
						 .direction = direction,
						 .is_of_events = true,
						 .low = PG_INT64_MIN,
						 .high = PG_INT64_MAX,
						 .row = scan->slot->tts_tupleDescriptor,
						 .wants_all = is_by_tag || !scan->wants_entries};
	int i;

	what.column_count = es_ranges_columns(scan->which, what.columns);
	for (i = 0; i < what.column_count; i++)
		what.wanted = bms_add_member(what.wanted, what.columns[i]);
	if (is_by_tag)
	{
		what.columns[0] = Anum_events_position;
		what.column_count = 1;
		what.key_count = remote_copy_keys(scan, keys);
		what.keys = keys;
		what.tags = remote_get_tags(scan);
	}
	scan->select = es_select_plan(&what);
}

/*
 * Move to the next row; it is then in the scan's slot.  Without wants_entries,
 * or of the index of tags, all of it; else the index's columns.
 */
bool
es_scan_remote_next(EsScan *scan, ScanDirection direction)
{
	TupleTableSlot *row;

	if (scan->select == NULL)
	{
		remote_plan(scan, direction);
		es_select_begin(scan->select, scan->snapshot);
	}
	row = es_select_next(scan->select);
	if (row == NULL)
		return false;
	ExecCopySlot(scan->slot, row);
	scan->slot->tts_tableOid = RelationGetRelid(scan->heap);
	return true;
}

/* A column of the index (from 1), of the row in the scan's slot. */
Datum
es_scan_remote_column(EsScan *scan, AttrNumber column)
{
	AttrNumber columns[ES_SELECT_COLUMNS];
	bool is_null;

	(void) es_ranges_columns(scan->which, columns);
	return slot_getattr(scan->slot, columns[column - 1], &is_null);
}

/* Let go of the other server's rows; what is in the slot stays. */
void
es_scan_remote_end(EsScan *scan)
{
	if (scan->select != NULL)
		es_select_free(scan->select);
	scan->select = NULL;
}
