/*-------------------------------------------------------------------------
 *
 * entries.c
 *		Whether the indexes of events have an entry for each event, and no other.
 *
 * What an index should hold is counted while all events pass by: how many
 * entries, and the sum of a hash of each of them, which does not ask for an
 * order.  Then each index is read from end to end, its entries alone where their
 * rows are visible to everybody, and counted likewise.  Only where that differs,
 * events are looked up one by one to tell which are not found.
 *
 * Memory: the current context; texts of entries that come compressed are left
 * to the caller to reset.  Locks: AccessShare on the indexes.  Calls: catalog,
 * findings, ranges, scan, tag_index.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/itup.h"
#include "access/relation.h"
#include "access/tableam.h"
#include "access/visibilitymap.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/uuid.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/ranges.h"
#include "base/scan.h"
#include "condition/tag_index.h"
#include "keeping/entries.h"

/* Of an index that lacks entries, so many events are named. */
#define ENTRIES_NAMED 10

/* Rows after which memory is given back. */
#define ENTRIES_ROWS 1000

typedef enum EntriesType
{
	ENTRIES_INT8,
	ENTRIES_TEXT,
	ENTRIES_UUID,
	ENTRIES_TAGS /* of a row: an array; of an entry: the key of one of them */
} EntriesType;

typedef struct EntriesColumn
{
	AttrNumber column; /* of eventstore.events */
	EntriesType type;
} EntriesColumn;

/* The indexes: which, what it is called, its columns, and whether it keeps keys unique. */
typedef struct EntriesIndex
{
	EsRelation relation;
	const char *name;
	bool is_unique;
	int column_count;
	EntriesColumn columns[2];
} EntriesIndex;

static const EntriesIndex entries_indexes[] = {
	{ES_EVENTS_PKEY, "events_pkey", true, 1, {{Anum_events_position, ENTRIES_INT8}}},
	{ES_EVENTS_STREAM_VERSION,
	 "events_stream_version_key",
	 true,
	 2,
	 {{Anum_events_stream, ENTRIES_TEXT}, {Anum_events_version, ENTRIES_INT8}}},
	{ES_EVENTS_ID, ES_EVENTS_ID_KEY, true, 1, {{Anum_events_id, ENTRIES_UUID}}},
	{ES_EVENTS_CATEGORY_POSITION,
	 "events_category_position_idx",
	 false,
	 2,
	 {{Anum_events_category, ENTRIES_TEXT}, {Anum_events_position, ENTRIES_INT8}}},
	{ES_EVENTS_TAGS,
	 "events_tags_position_idx",
	 false,
	 2,
	 {{Anum_events_tags, ENTRIES_TAGS}, {Anum_events_position, ENTRIES_INT8}}},
};

/* Entries, counted; the order does not matter. */
typedef struct EntriesCount
{
	int64 entries;
	uint64 sum;
} EntriesCount;

struct EsEntries
{
	EntriesCount of_table[lengthof(entries_indexes)];
};

EsEntries *
es_entries_begin(void)
{
	return palloc0(sizeof(EsEntries));
}

/* ----------------------------------------------------------------------
 * Counting
 * ----------------------------------------------------------------------
 */

static uint64
entries_hash(EntriesType type, Datum value, uint64 seed)
{
	if (type == ENTRIES_INT8 || type == ENTRIES_TAGS)
	{
		int64 number = DatumGetInt64(value);

		return hash_bytes_extended((unsigned char *) &number, sizeof(number), seed);
	}
	if (type == ENTRIES_UUID)
		return hash_bytes_extended(DatumGetUUIDP(value)->data, UUID_LEN, seed);
	else
	{
		text *chars = DatumGetTextPP(value);

		return hash_bytes_extended((unsigned char *) VARDATA_ANY(chars), VARSIZE_ANY_EXHDR(chars),
								   seed);
	}
}

static void
entries_count(EntriesCount *count, const EntriesIndex *index, const Datum *values)
{
	uint64 hash = 0;
	int i;

	for (i = 0; i < index->column_count; i++)
		hash = entries_hash(index->columns[i].type, values[i], hash);
	count->entries++;
	count->sum += hash;
}

/*
 * The different keys of an event's tags, as the index has them; nulls are none.
 * Returns how many.
 */
static int
entries_get_tags(TupleTableSlot *slot, Datum **keys)
{
	bool *nulls;
	int count;
	int kept = 0;
	int i;

	if (slot->tts_isnull[Anum_events_tags - 1])
		return 0;
	deconstruct_array(DatumGetArrayTypeP(slot->tts_values[Anum_events_tags - 1]), TEXTOID, -1,
					  false, TYPALIGN_INT, keys, &nulls, &count);
	for (i = 0; i < count; i++)
	{
		Datum key;
		int j = 0;

		if (nulls[i])
			continue;
		key = es_tag_index_key(DatumGetTextPP((*keys)[i]));
		while (j < kept && (*keys)[j] != key)
			j++;
		if (j == kept)
			(*keys)[kept++] = key;
	}
	return kept;
}

/* The keys of a row in an index, and of how many entries it is; the first column is of one of them. */
static int
entries_get_keys(const EntriesIndex *index, TupleTableSlot *slot, Datum *values, Datum **tags)
{
	int i;

	for (i = 0; i < index->column_count; i++)
		values[i] = slot->tts_values[index->columns[i].column - 1];
	if (index->columns[0].type == ENTRIES_TAGS)
		return entries_get_tags(slot, tags);
	*tags = values;
	return 1;
}

/* Take an event in: what the indexes should hold of it. */
void
es_entries_add(EsEntries *entries, TupleTableSlot *slot)
{
	int number;

	for (number = 0; number < lengthof(entries_indexes); number++)
	{
		Datum values[2];
		Datum *firsts;
		int count = entries_get_keys(&entries_indexes[number], slot, values, &firsts);
		int i;

		for (i = 0; i < count; i++)
		{
			values[0] = firsts[i];
			entries_count(&entries->of_table[number], &entries_indexes[number], values);
		}
	}
}

/* Count what an index holds of rows that the snapshot sees. */
static EntriesCount
entries_count_index(const EntriesIndex *index, Relation events)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "entries",
												 ALLOCSET_DEFAULT_SIZES);
	EntriesCount count = {0};
	Buffer map = InvalidBuffer;
	EsScan scan;
	ItemPointer tid;

	es_scan_open(&scan, events, index->relation);
	scan.wants_entries = true;
	es_scan_begin(&scan, GetActiveSnapshot());
	while ((tid = index_getnext_tid(scan.desc, ForwardScanDirection)) != NULL)
	{
		MemoryContext caller;
		Datum values[2];
		bool nulls[2];

		CHECK_FOR_INTERRUPTS();
		if (!VM_ALL_VISIBLE(events, ItemPointerGetBlockNumber(tid), &map) && !es_scan_fetch(&scan))
			continue;
		caller = MemoryContextSwitchTo(memory);
		index_deform_tuple(scan.desc->xs_itup, scan.desc->xs_itupdesc, values, nulls);
		entries_count(&count, index, values);
		MemoryContextSwitchTo(caller);
		if (count.entries % ENTRIES_ROWS == 0)
			MemoryContextReset(memory);
	}
	if (BufferIsValid(map))
		ReleaseBuffer(map);
	es_scan_close(&scan);
	MemoryContextDelete(memory);
	return count;
}

/* ----------------------------------------------------------------------
 * Telling which
 * ----------------------------------------------------------------------
 */

static void
entries_add_key(EsScan *scan, const EntriesColumn *column, AttrNumber number, Datum value)
{
	RegProcedure equals = F_INT8EQ;

	if (column->type == ENTRIES_TEXT)
		equals = F_TEXTEQ;
	else if (column->type == ENTRIES_UUID)
		equals = F_UUID_EQ;

	es_scan_add_key(scan, number, BTEqualStrategyNumber, equals, value);
}

/* Whether an event is found by an index. */
static bool
entries_find(const EntriesIndex *index, Relation events, const Datum *values, int64 position)
{
	bool is_found = false;
	EsScan scan;
	int i;

	es_scan_open(&scan, events, index->relation);
	for (i = 0; i < index->column_count; i++)
		entries_add_key(&scan, &index->columns[i], (AttrNumber) (i + 1), values[i]);
	es_scan_begin(&scan, GetActiveSnapshot());
	while (!is_found && es_scan_next(&scan, ForwardScanDirection))
	{
		bool is_null;

		is_found = DatumGetInt64(slot_getattr(scan.slot, Anum_events_position, &is_null)) ==
			position;
	}
	es_scan_close(&scan);
	return is_found;
}

/* Report an event that an index does not lead to; returns whether there was one. */
static bool
entries_report_event(const EntriesIndex *index, Relation events, TupleTableSlot *slot,
					 EsFindings *findings)
{
	int64 position = DatumGetInt64(slot->tts_values[Anum_events_position - 1]);
	Datum values[2];
	Datum *firsts;
	int count = entries_get_keys(index, slot, values, &firsts);
	int i;

	for (i = 0; i < count; i++)
	{
		values[0] = firsts[i];
		if (entries_find(index, events, values, position))
			continue;
		es_findings_add(findings, "index", DatumGetTextPP(slot->tts_values[Anum_events_stream - 1]),
						"index %s does not lead to the event at position %lld", index->name,
						(long long) position);
		return true;
	}
	return false;
}

static void
entries_report_events(const EntriesIndex *index, Relation events, EsFindings *findings)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "entries",
												 ALLOCSET_DEFAULT_SIZES);
	TupleTableSlot *slot = table_slot_create(events, NULL);
	TableScanDesc scan = table_beginscan(events, GetActiveSnapshot(), 0, NULL);
	int reported = 0;

	while (reported < ENTRIES_NAMED && table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext caller = MemoryContextSwitchTo(memory);

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		reported += entries_report_event(index, events, slot, findings) ? 1 : 0;
		MemoryContextSwitchTo(caller);
		MemoryContextReset(memory);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(memory);
}

/* Open an index; NULL: it is not there. */
static Relation
entries_open(const EntriesIndex *index, Relation events)
{
	Oid oid;

	if (!es_ranges_is_one(events, index->relation))
		return es_catalog_has(index->relation) ? es_catalog_open(index->relation, AccessShareLock)
											   : NULL;
	oid = es_ranges_index_if_any(events, index->relation);
	return OidIsValid(oid) ? relation_open(oid, AccessShareLock) : NULL;
}

/* Whether an index is there and in use; reports if not. */
static bool
entries_is_usable(const EntriesIndex *index, Relation events, EsFindings *findings)
{
	Relation rel = entries_open(index, events);
	bool is_usable;

	if (rel == NULL)
	{
		es_findings_add(findings, "index", NULL, "index %s is not there", index->name);
		return false;
	}
	is_usable = rel->rd_rel->relkind == RELKIND_INDEX && rel->rd_index->indisvalid &&
		rel->rd_index->indisready && rel->rd_index->indislive &&
		rel->rd_index->indrelid == RelationGetRelid(events);
	if (!is_usable)
		es_findings_add(findings, "index", NULL, "index %s is not valid", index->name);
	else if (index->is_unique && (!rel->rd_index->indisunique || !rel->rd_index->indimmediate))
		es_findings_add(findings, "index", NULL, "index %s does not keep its keys unique",
						index->name);
	relation_close(rel, NoLock);
	return is_usable;
}

/* An index as messages call it: of a partition, after that. */
static const EntriesIndex *
entries_name(const EntriesIndex *index, Relation events, EntriesIndex *named)
{
	if (!es_ranges_is_one(events, index->relation))
		return index;
	*named = *index;
	named->name = psprintf("%s of partition %s", index->name, RelationGetRelationName(events));
	return named;
}

/*
 * All events of a table have been taken in, eventstore.events or one of its
 * partitions: report indexes that are not made of them.
 */
void
es_entries_check(EsEntries *entries, Relation events, EsFindings *findings)
{
	EntriesIndex named;
	int i;

	for (i = 0; i < lengthof(entries_indexes); i++)
	{
		const EntriesIndex *index = entries_name(&entries_indexes[i], events, &named);
		EntriesCount expected = entries->of_table[i];
		EntriesCount found;

		if (!entries_is_usable(index, events, findings))
			continue;
		found = entries_count_index(index, events);
		if (found.entries == expected.entries && found.sum == expected.sum)
			continue;
		es_findings_add(
			findings, "index", NULL,
			"index %s has %lld entries that are not those of the events, which make %lld; REINDEX mends it",
			index->name, (long long) found.entries, (long long) expected.entries);
		entries_report_events(index, events, findings);
	}
}
