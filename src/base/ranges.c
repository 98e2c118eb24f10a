/*-------------------------------------------------------------------------
 *
 * ranges.c
 *		Ranges of positions: the tables that a partitioned eventstore.events is made of.
 *
 * What es_partition_events() has made of the table is PostgreSQL's own
 * partitioning, so which ranges there are is what the relation cache says; they
 * are in the order of positions, and may have gaps where some were detached.
 * Looked at each time, at the price of a few comparisons.
 *
 * Indexes stand on the ranges, none on eventstore.events: a unique one there
 * would have to have the position in it.  Which is which is told by the columns,
 * as names may be anything after a restore, or in a table that somebody brings
 * back.  That is remembered for each range, until the relation cache has news
 * of it.
 *
 * Memory: what is remembered of a range, 64 bytes, in TopMemoryContext.  Locks:
 * the caller holds one on the table; AccessShare on ranges that are looked at.  Calls:
 * catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_index.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/ranges.h"

/* ----------------------------------------------------------------------
 * Which ranges there are
 * ----------------------------------------------------------------------
 */

static PartitionDesc
ranges_describe(Relation events)
{
	return RelationGetPartitionDesc(events, true);
}

static int
ranges_count(PartitionDesc desc)
{
	/* Bounds that nobody but a DBA has put there take no events of ours. */
	return desc->nparts - (desc->nparts > 0 && desc->boundinfo->default_index >= 0 ? 1 : 0);
}

/*
 * Hear of ranges that were made since the caller's transaction has locked the
 * table: PostgreSQL hears of what has changed when it takes a lock, and to make
 * a range takes none that another one conflicts with.  Called before ranges are
 * looked up for what others have appended meanwhile.
 */
void
es_ranges_hear(void)
{
	AcceptInvalidationMessages();
}

/* How many ranges eventstore.events is made of. */
int
es_ranges_count(Relation events)
{
	return ranges_count(ranges_describe(events));
}

static int64
ranges_bound(PartitionBoundInfo bounds, int number)
{
	if (bounds->kind[number][0] == PARTITION_RANGE_DATUM_MINVALUE)
		return PG_INT64_MIN;
	if (bounds->kind[number][0] == PARTITION_RANGE_DATUM_MAXVALUE)
		return PG_INT64_MAX;
	return DatumGetInt64(bounds->datums[number][0]);
}

/* Which of the bounds is the upper one of a range. */
static int
ranges_upper(PartitionBoundInfo bounds, int number)
{
	int upper = number + 1;

	/* Each gap before it is a bound more. */
	while (bounds->indexes[upper] != number)
		upper++;
	return upper;
}

/* A range by its number, from 0, in the order of positions. */
EsRange
es_ranges_get(Relation events, int number)
{
	PartitionDesc desc = ranges_describe(events);
	int upper = ranges_upper(desc->boundinfo, number);
	EsRange range;

	range.table = desc->oids[number];
	range.from = ranges_bound(desc->boundinfo, upper - 1);
	range.upto = ranges_bound(desc->boundinfo, upper);
	return range;
}

static int64
ranges_upto(PartitionDesc desc, int number)
{
	return ranges_bound(desc->boundinfo, ranges_upper(desc->boundinfo, number));
}

/* The number of the first range that ends above a position. */
static int
ranges_search(PartitionDesc desc, int64 position)
{
	int low = 0;
	int high = ranges_count(desc);

	while (low < high)
	{
		int middle = low + (high - low) / 2;

		if (ranges_upto(desc, middle) <= position)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What was found last; most likely it is the newest, time and again. */
static struct
{
	Oid table;
	uint64 generation; /* of the catalog */
	int number;
	int64 from;
	int64 upto;
} ranges_found = {InvalidOid};

static int
ranges_find_anew(Relation events, int64 position)
{
	PartitionDesc desc = ranges_describe(events);
	int number = ranges_search(desc, position);

	if (number < ranges_count(desc))
	{
		EsRange range = es_ranges_get(events, number);

		/* What has no OID there is not heard of. */
		(void) es_catalog_oid(ES_EVENTS);
		(void) es_catalog_oid(ES_DETACHED);
		ranges_found.table = RelationGetRelid(events);
		ranges_found.generation = es_catalog_generation();
		ranges_found.number = number;
		ranges_found.from = range.from;
		ranges_found.upto = range.upto;
	}
	return number;
}

/*
 * The number of the range that a position is in, or else of the first one above
 * it; the count of ranges where there is none.
 */
int
es_ranges_find(Relation events, int64 position)
{
	if (likely(ranges_found.table == RelationGetRelid(events) &&
			   ranges_found.generation == es_catalog_generation() &&
			   ranges_found.from <= position && position < ranges_found.upto))
		return ranges_found.number;
	return ranges_find_anew(events, position);
}

/* ----------------------------------------------------------------------
 * Their indexes
 * ----------------------------------------------------------------------
 */

#define RANGES_FIRST_INDEX ES_EVENTS_PKEY
#define RANGES_LAST_INDEX  ES_EVENTS_TAGS
#define RANGES_INDEXES     (RANGES_LAST_INDEX - RANGES_FIRST_INDEX + 1)

/* What an index has to be like. */
typedef struct RangesIndex
{
	bool is_unique;
	bool is_btree; /* else it is of our own access method */
	int column_count;
	AttrNumber columns[2];
} RangesIndex;

static const RangesIndex ranges_indexes[RANGES_INDEXES] =
	{[ES_EVENTS_PKEY - RANGES_FIRST_INDEX] = {true, true, 1, {Anum_events_position}},
	 [ES_EVENTS_STREAM_VERSION -
		 RANGES_FIRST_INDEX] = {true, true, 2, {Anum_events_stream, Anum_events_version}},
	 [ES_EVENTS_ID - RANGES_FIRST_INDEX] = {true, true, 1, {Anum_events_id}},
	 [ES_EVENTS_CATEGORY_POSITION -
		 RANGES_FIRST_INDEX] = {false, true, 2, {Anum_events_category, Anum_events_position}},
	 [ES_EVENTS_TAGS -
		 RANGES_FIRST_INDEX] = {false, false, 2, {Anum_events_tags, Anum_events_position}}};

/* What is remembered of a range. */
typedef struct RangesEntry
{
	Oid table; /* the key */
	Oid indexes[RANGES_INDEXES];
} RangesEntry;

static HTAB *ranges_known = NULL;

/* Relcache callback: relid is InvalidOid where everything is invalidated. */
static void
ranges_forget(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	RangesEntry *entry;

	if (ranges_known == NULL)
		return;
	if (OidIsValid(relid))
	{
		(void) hash_search(ranges_known, &relid, HASH_REMOVE, NULL);
		return;
	}
	hash_seq_init(&status, ranges_known);
	while ((entry = hash_seq_search(&status)) != NULL)
		(void) hash_search(ranges_known, &entry->table, HASH_REMOVE, NULL);
}

/* Called once, when the library is loaded. */
void
es_ranges_init(void)
{
	CacheRegisterRelcacheCallback(ranges_forget, (Datum) 0);
}

static bool
ranges_is_like(const RangesIndex *wanted, Form_pg_index index, bool is_btree)
{
	int i;

	if (index->indnkeyatts != wanted->column_count || is_btree != wanted->is_btree ||
		index->indisunique != wanted->is_unique)
		return false;
	for (i = 0; i < wanted->column_count; i++)
		if (index->indkey.values[i] != wanted->columns[i])
			return false;
	return true;
}

static bool
ranges_is_btree(Oid index)
{
	HeapTuple row = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	bool result = HeapTupleIsValid(row) && ((Form_pg_class) GETSTRUCT(row))->relam == BTREE_AM_OID;

	if (HeapTupleIsValid(row))
		ReleaseSysCache(row);
	return result;
}

/* Note what an index of a range is good for. */
static void
ranges_note_index(Oid index, Oid *indexes)
{
	HeapTuple row = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	int i;

	if (!HeapTupleIsValid(row))
		return;
	if (((Form_pg_index) GETSTRUCT(row))->indisvalid &&
		heap_attisnull(row, Anum_pg_index_indpred, NULL))
	{
		bool is_btree = ranges_is_btree(index);

		for (i = 0; i < RANGES_INDEXES; i++)
			if (!OidIsValid(indexes[i]) &&
				ranges_is_like(&ranges_indexes[i], (Form_pg_index) GETSTRUCT(row), is_btree))
				indexes[i] = index;
	}
	ReleaseSysCache(row);
}

static void
ranges_look(Relation range, Oid *indexes)
{
	List *oids = RelationGetIndexList(range);
	ListCell *cell;

	memset(indexes, 0, sizeof(Oid) * RANGES_INDEXES);
	foreach (cell, oids)
		ranges_note_index(lfirst_oid(cell), indexes);
	list_free(oids);
}

static void
ranges_make_known(void)
{
	HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(RangesEntry)};

	ranges_known = hash_create("eventstore ranges", 64, &control, HASH_ELEM | HASH_BLOBS);
}

/*
 * The index of a range that stands for one of those of eventstore.events;
 * InvalidOid if it has none.
 */
Oid
es_ranges_index_if_any(Relation range, EsRelation which)
{
	Oid table = RelationGetRelid(range);
	RangesEntry *entry;
	bool is_known;

	Assert(which >= RANGES_FIRST_INDEX && which <= RANGES_LAST_INDEX);
	if (ranges_known == NULL)
		ranges_make_known();
	entry = hash_search(ranges_known, &table, HASH_FIND, NULL);
	if (entry == NULL)
	{
		Oid indexes[RANGES_INDEXES];

		/* First, as to look may have entries forgotten. */
		ranges_look(range, indexes);
		entry = hash_search(ranges_known, &table, HASH_ENTER, &is_known);
		memcpy(entry->indexes, indexes, sizeof(indexes));
	}
	return entry->indexes[which - RANGES_FIRST_INDEX];
}

/*
 * The columns of one of those indexes, as numbers of the table's.  Returns how
 * many.
 */
int
es_ranges_columns(EsRelation which, AttrNumber *columns)
{
	const RangesIndex *index = &ranges_indexes[which - RANGES_FIRST_INDEX];

	Assert(which >= RANGES_FIRST_INDEX && which <= RANGES_LAST_INDEX);
	memcpy(columns, index->columns, sizeof(AttrNumber) * index->column_count);
	return index->column_count;
}

/* Whether any of the ranges is a foreign table. */
bool
es_ranges_have_remote(Relation events)
{
	int i;

	for (i = 0; es_ranges_are_of(events) && i < es_ranges_count(events); i++)
		if (get_rel_relkind(es_ranges_get(events, i).table) == RELKIND_FOREIGN_TABLE)
			return true;
	return false;
}

/*
 * Raise 0A000 where a range is a foreign table, and what is about to be done
 * cannot be: its events are another server's.
 */
void
es_ranges_check_local(Relation range)
{
	if (RelationGetForm(range)->relkind != RELKIND_RELATION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("partition \"%s\" of \"%s.events\" is a foreign table",
						RelationGetRelationName(range), ES_SCHEMA),
				 errdetail("Events in foreign tables are read, and neither added, changed nor removed."),
				 errhint("Have the table itself back in its place: ALTER TABLE %s.events DETACH PARTITION, then ATTACH PARTITION.",
						 ES_SCHEMA)));
}

/* Check that for each range that has any position from low to high. */
void
es_ranges_check_local_between(Relation events, int64 low, int64 high)
{
	int number;

	if (!es_ranges_are_of(events))
		return;
	for (number = es_ranges_find(events, low);
		 number < es_ranges_count(events) && es_ranges_get(events, number).from <= high; number++)
	{
		Relation range = table_open(es_ranges_get(events, number).table, AccessShareLock);

		es_ranges_check_local(range);
		table_close(range, NoLock);
	}
}

/* The same.  Raises 55000 if it has none. */
Oid
es_ranges_index(Relation range, EsRelation which)
{
	static const char *const columns[RANGES_INDEXES] = {"UNIQUE (position)",
														"UNIQUE (stream, version)", "UNIQUE (id)",
														"(category, position)",
														"(tags, position) by eventstore_tags"};
	Oid index;

	es_ranges_check_local(range);
	index = es_ranges_index_if_any(range, which);
	if (!OidIsValid(index))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("partition \"%s\" of \"%s.events\" lacks an index", RelationGetRelationName(range),
						ES_SCHEMA),
				 errdetail("There is no valid index on %s.", columns[which - RANGES_FIRST_INDEX]),
				 errhint("Make it, or have it made anew by REINDEX.")));
	return index;
}

/* Whether all ranges have their indexes, which come last when a dump is restored. */
bool
es_ranges_are_whole(Relation events)
{
	bool is_whole = true;
	int i;

	for (i = 0; is_whole && es_ranges_are_of(events) && i < es_ranges_count(events); i++)
	{
		Relation range = relation_open(es_ranges_get(events, i).table, AccessShareLock);
		int which;

		for (which = RANGES_FIRST_INDEX; which < RANGES_FIRST_INDEX + RANGES_INDEXES; which++)
			if (RelationGetForm(range)->relkind == RELKIND_RELATION &&
				!OidIsValid(es_ranges_index_if_any(range, which)))
				is_whole = false;
		relation_close(range, AccessShareLock);
	}
	return is_whole;
}
