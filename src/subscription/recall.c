/*-------------------------------------------------------------------------
 *
 * recall.c
 *		Recalling places (place.c): a session remembers which entries of the index
 *		counted when it looked last, and looks at these, and at newer ones.
 *
 * What a place has is found at the end of its range in the index.  But reading
 * an index means reading its pages, and where dead versions stay, these are
 * full of entries that nobody needs: that would cost more than all the rest of
 * a fetch.  So entries are remembered, and the highest revision of all that
 * there was; the next look asks the index for higher ones only, which would be
 * at its end, and visits the remembered ones in the table.
 *
 * That is enough, as every revision is higher than all that the subscription
 * had before it, committed or not: they are given out and written with the
 * subscription's mutex in hand.  What counts and is not higher was remembered,
 * unless something has come to count again, and that only a rollback can do.
 * Then an entry that was remembered is aborted, or not there any more, and the
 * index is read as a whole.
 *
 * Memory: what is remembered of RECALL_MAX subscriptions, in a context of its
 * own; results in the current context.  Locks: the caller has the mutex, and a
 * lock on the table; AccessShare on the indexes and the sequence.  Calls: catalog, names,
 * place, position, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/names.h"
#include "order/position.h"
#include "subscription/recall.h"

/* Columns of the index by place, and of that by revision. */
#define BY_PLACE_SUBSCRIPTION    1
#define BY_PLACE_PLACE           2
#define BY_PLACE_REVISION        3
#define BY_REVISION_SUBSCRIPTION 1
#define BY_REVISION_REVISION     2
#define BY_REVISION_PLACE        3

/* Entries to pass over one by one before the index is asked anew. */
#define RECALL_STEPS 16

/* Subscriptions to remember, for each table; with one more, all are forgotten. */
#define RECALL_MAX 128

/* What is remembered of a subscription. */
typedef struct Recall
{
	const EsPlaceTable *table;
	text *subscription;
	int64 seen;    /* the last revision given out by then; -1: nothing is remembered */
	int64 highest; /* of the revisions that were remembered ever */
	int count;
	int space;
	EsPlaceEntry *entries; /* by descending place, and then by descending revision */
} Recall;

/* A look at its places, one after the other. */
typedef struct RecallLook
{
	Recall *recall;
	EsPlaceVisit visit;
	int place;      /* of the last entry; -1: there was none */
	int64 limit;    /* revisions of it count up to here; 0: no more of them */
	bool has_entry; /* one of it is remembered */
} RecallLook;

static MemoryContext recall_context = NULL;
static Recall recall_known[RECALL_MAX];
static int recall_count = 0;
static uint64 recall_generation; /* of the catalogue, when the first of them was */

/* ----------------------------------------------------------------------
 * What is remembered
 * ----------------------------------------------------------------------
 */

static void
recall_forget_all(void)
{
	if (recall_context == NULL)
		recall_context = AllocSetContextCreate(TopMemoryContext, "eventstore places",
											   ALLOCSET_DEFAULT_SIZES);
	recall_count = 0;
	recall_generation = es_catalog_generation();
	MemoryContextReset(recall_context);
}

/* Of a subscription, maybe nothing. */
static Recall *
recall_find(const EsPlaceTable *table, const text *subscription)
{
	Size size = VARSIZE_ANY(subscription);
	text *copy;
	int i;

	if (recall_generation != es_catalog_generation())
		recall_forget_all();
	for (i = 0; i < recall_count; i++)
		if (recall_known[i].table == table &&
			es_names_equal(recall_known[i].subscription, subscription))
			return &recall_known[i];

	if (recall_count == RECALL_MAX || recall_context == NULL)
		recall_forget_all();
	copy = MemoryContextAlloc(recall_context, size);
	memcpy(copy, subscription, size);
	recall_known[recall_count] = (Recall){.table = table, .subscription = copy, .seen = -1};
	return &recall_known[recall_count++];
}

static void
recall_add(Recall *recall, const EsPlaceEntry *entry)
{
	if (recall->count == recall->space)
	{
		int space = Max(8, recall->space * 2);

		recall->entries = recall->entries == NULL
			? MemoryContextAlloc(recall_context, sizeof(EsPlaceEntry) * space)
			: repalloc(recall->entries, sizeof(EsPlaceEntry) * space);
		recall->space = space;
	}
	recall->entries[recall->count++] = *entry;
	recall->highest = Max(recall->highest, entry->revision);
}

static int
recall_compare(const void *a, const void *b)
{
	const EsPlaceEntry *left = a;
	const EsPlaceEntry *right = b;

	if (left->place != right->place)
		return left->place > right->place ? -1 : 1;
	if (left->revision != right->revision)
		return left->revision > right->revision ? -1 : 1;
	return 0;
}

/* ----------------------------------------------------------------------
 * A look
 * ----------------------------------------------------------------------
 */

static void
recall_begin(RecallLook *look, Recall *recall, Relation heap, EsPlaces *found)
{
	look->recall = recall;
	look->place = -1;
	es_place_open(&look->visit, recall->table, heap, recall->subscription, found);
}

/* Whether an entry counts, by what the newer ones of its place are. */
static bool
recall_counts(RecallLook *look, const EsPlaceEntry *entry)
{
	if (entry->place != look->place)
	{
		look->place = entry->place;
		look->limit = PG_INT64_MAX;
		look->has_entry = false;
	}
	return entry->revision <= look->limit;
}

/*
 * Look at an entry that counts.
 *
 * Remembered is what can come to count by the end of an open transaction.  A
 * version that such a transaction has gone on from can not, unless a newer one
 * is rolled back, which will be noticed; so it is left out, if there is one.
 */
static EsPlaceState
recall_visit(RecallLook *look, const EsPlaceEntry *entry)
{
	EsPlaceState state = es_place_visit(&look->visit, entry);

	switch (state)
	{
		case ES_PLACE_GONE:
		case ES_PLACE_ABORTED:
			return state;
		case ES_PLACE_OPEN:
			look->limit = Min(look->limit, look->visit.base);
			if (look->has_entry && !look->visit.has_row)
				return state;
			break;
		case ES_PLACE_OVER:
			look->limit = 0;
			return state;
		case ES_PLACE_SETTLED:
		case ES_PLACE_DELETED:
			look->limit = 0;
			break;
	}
	recall_add(look->recall, entry);
	look->has_entry = true;
	return state;
}

/* ----------------------------------------------------------------------
 * The index by place, from its end
 * ----------------------------------------------------------------------
 */

/* Scan places up to one, or one revision of a place. */
static void
recall_seek(EsScan *scan, const RecallLook *look, int place, int64 revision)
{
	bool is_one = revision != PG_INT64_MAX;

	scan->key_count = 0;
	es_scan_add_key(scan, BY_PLACE_SUBSCRIPTION, BTEqualStrategyNumber, F_TEXTEQ,
					PointerGetDatum(look->recall->subscription));
	es_scan_add_key(scan, BY_PLACE_PLACE,
					is_one ? BTEqualStrategyNumber : BTLessEqualStrategyNumber,
					is_one ? F_INT4EQ : F_INT4LE, Int32GetDatum(place));
	es_scan_add_key(scan, BY_PLACE_REVISION,
					is_one ? BTEqualStrategyNumber : BTLessEqualStrategyNumber,
					is_one ? F_INT8EQ : F_INT8LE, Int64GetDatum(revision));
	if (scan->desc == NULL)
		es_scan_begin(scan, SnapshotAny);
	else
		index_rescan(scan->desc, scan->keys, scan->key_count, NULL, 0);
}

/* Read the next entry of an index.  Returns false at the end. */
static bool
recall_next(EsScan *scan, ScanDirection direction, AttrNumber place, AttrNumber revision,
			EsPlaceEntry *entry)
{
	IndexScanDesc desc = scan->desc;
	bool is_null;

	CHECK_FOR_INTERRUPTS();
	if (index_getnext_tid(desc, direction) == NULL)
		return false;
	entry->place = DatumGetInt32(index_getattr(desc->xs_itup, place, desc->xs_itupdesc, &is_null));
	entry->revision = DatumGetInt64(
		index_getattr(desc->xs_itup, revision, desc->xs_itupdesc, &is_null));
	entry->tid = desc->xs_heaptid;
	entry->is_new = false;
	return true;
}

/* Of an open transaction's place, look at what was before. */
static void
recall_visit_base(RecallLook *look)
{
	EsPlaceEntry entry;
	EsScan scan;

	es_scan_open_into(&scan, look->visit.heap, look->recall->table->by_place, look->visit.slot);
	scan.wants_entries = true;
	recall_seek(&scan, look, look->place, look->limit);
	while (recall_next(&scan, BackwardScanDirection, BY_PLACE_PLACE, BY_PLACE_REVISION, &entry))
		(void) recall_visit(look, &entry);
	look->limit = 0;
	es_scan_close(&scan);
}

/* Whatever is remembered, look at each place. */
static void
recall_all(RecallLook *look)
{
	EsPlaceEntry entry;
	int passed = 0;
	EsScan scan;

	look->recall->count = 0;
	es_scan_open_into(&scan, look->visit.heap, look->recall->table->by_place, look->visit.slot);
	scan.wants_entries = true;
	recall_seek(&scan, look, PG_INT32_MAX, PG_INT64_MAX);
	while (recall_next(&scan, BackwardScanDirection, BY_PLACE_PLACE, BY_PLACE_REVISION, &entry))
	{
		EsPlaceState state;

		if (!recall_counts(look, &entry))
		{
			if (++passed == RECALL_STEPS)
				recall_seek(&scan, look, look->place - 1, PG_INT64_MAX);
			continue;
		}
		passed = 0;
		state = recall_visit(look, &entry);
		/* Nobody can see it: no need to find it again. */
		scan.desc->kill_prior_tuple = state == ES_PLACE_ABORTED &&
			!scan.desc->xactStartedInRecovery;
		if (state == ES_PLACE_OPEN && look->limit > 0 && look->limit < entry.revision)
			recall_visit_base(look);
	}
	es_scan_close(&scan);
}

/* ----------------------------------------------------------------------
 * The index by revision
 * ----------------------------------------------------------------------
 */

/* The last revision given out to anybody, by the sequence's only row; 0: none was. */
static int64
recall_given_out(void)
{
	Relation sequence = es_catalog_open(ES_REVISIONS, AccessShareLock);
	Buffer buffer = ReadBuffer(sequence, 0);
	HeapTupleHeader row;
	Form_pg_sequence_data data;
	int64 revision;
	Page page;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	page = BufferGetPage(buffer);
	row = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, FirstOffsetNumber));
	data = (Form_pg_sequence_data) ((char *) row + row->t_hoff);
	revision = data->is_called ? data->last_value : 0;
	UnlockReleaseBuffer(buffer);
	relation_close(sequence, NoLock);
	return revision;
}

/* Add the entries of revisions above a number. */
static void
recall_newer(RecallLook *look, int64 seen)
{
	EsPlaceEntry entry;
	EsScan scan;

	es_scan_open_into(&scan, look->visit.heap, look->recall->table->by_revision, look->visit.slot);
	scan.wants_entries = true;
	es_scan_add_key(&scan, BY_REVISION_SUBSCRIPTION, BTEqualStrategyNumber, F_TEXTEQ,
					PointerGetDatum(look->recall->subscription));
	es_scan_add_key(&scan, BY_REVISION_REVISION, BTGreaterStrategyNumber, F_INT8GT,
					Int64GetDatum(seen));
	es_scan_begin(&scan, SnapshotAny);
	while (recall_next(&scan, ForwardScanDirection, BY_REVISION_PLACE, BY_REVISION_REVISION, &entry))
	{
		entry.is_new = true;
		recall_add(look->recall, &entry);
	}
	es_scan_close(&scan);
}

/*
 * Whether the last place was of an open transaction, and its base has not been
 * looked at: when it was remembered, the transaction was this session's, which
 * it has prepared.
 */
static bool
recall_lacks_base(const RecallLook *look)
{
	return look->place >= 0 && look->limit > 0 && look->limit < PG_INT64_MAX;
}

/*
 * Look at what is remembered, and what is newer.  Returns false if something
 * has been rolled back, or removed: then look at all.
 */
static bool
recall_remembered(RecallLook *look, int64 seen, int64 given_out)
{
	Recall *recall = look->recall;
	int known = recall->count;
	int count;
	int i;

	if (given_out > seen)
		recall_newer(look, seen);
	count = recall->count;
	if (count > known)
		qsort(recall->entries, count, sizeof(EsPlaceEntry), recall_compare);
	/* Those that stay move up: the array is read before it is written. */
	recall->count = 0;
	for (i = 0; i < count; i++)
	{
		EsPlaceEntry entry = recall->entries[i];
		bool is_new = entry.is_new;
		EsPlaceState state;

		if (entry.place != look->place && recall_lacks_base(look))
			return false;
		if (!recall_counts(look, &entry))
			continue;
		entry.is_new = false;
		state = recall_visit(look, &entry);
		if (state == ES_PLACE_GONE || (state == ES_PLACE_ABORTED && !is_new))
			return false;
	}
	return !recall_lacks_base(look);
}

/* ----------------------------------------------------------------------
 * For others
 * ----------------------------------------------------------------------
 */

/*
 * The rows of a subscription that count, in no certain order: of what an open
 * transaction has written there is what was before, too.
 */
EsPlaces
es_recall_rows(const EsPlaceTable *table, Relation heap, const text *subscription)
{
	int64 given_out = recall_given_out();
	Recall *recall = recall_find(table, subscription);
	int64 seen = recall->seen;
	EsPlaces found = {0};
	RecallLook look;

	/* Should it end by an error. */
	recall->seen = -1;
	recall_begin(&look, recall, heap, &found);
	if (seen < 0 || !recall_remembered(&look, seen, given_out))
	{
		found.count = 0;
		look.place = -1;
		recall_all(&look);
	}
	es_place_close(&look.visit);
	recall->seen = given_out;
	return found;
}

/* The highest revision in an index by revision, whatever has become of it. */
static int64
recall_highest(EsRelation table, EsRelation by_revision)
{
	Relation heap = es_catalog_open(table, AccessShareLock);
	int64 highest = 0;
	int64 revision;
	EsScan scan;

	es_scan_open(&scan, heap, by_revision);
	scan.wants_entries = true;
	es_scan_begin(&scan, SnapshotAny);
	while (es_scan_next_any_entry(&scan, ForwardScanDirection, BY_REVISION_REVISION, &revision))
	{
		CHECK_FOR_INTERRUPTS();
		highest = Max(highest, revision);
	}
	es_scan_close(&scan);
	relation_close(heap, NoLock);
	return highest;
}

/* The highest revision that there is, in any table. */
int64
es_recall_highest_revision(void)
{
	return Max(recall_highest(ES_SHARES, ES_SHARES_REVISION),
			   recall_highest(ES_RETRIES, ES_RETRIES_REVISION));
}

/*
 * A revision for a row that is about to be written, whose table has been looked
 * at.  A sequence that was left behind when rows came from elsewhere goes on
 * above theirs: else the new one would not count, for ever and in silence.
 */
int64
es_recall_next_revision(const EsPlaceTable *table, const text *subscription)
{
	int64 revision = nextval_internal(es_catalog_oid(ES_REVISIONS), false);

	if (revision > recall_find(table, subscription)->highest)
		return revision;
	(void) es_position_raise(ES_REVISIONS, es_recall_highest_revision(), 0);
	return nextval_internal(es_catalog_oid(ES_REVISIONS), false);
}

/*
 * The places that rows have, whatever open transactions come to.
 */
Bitmapset *
es_recall_taken(const EsPlaceTable *table, Relation heap, const text *subscription)
{
	Bitmapset *taken = NULL;
	const Recall *recall;
	int i;

	(void) es_recall_rows(table, heap, subscription);
	recall = recall_find(table, subscription);
	/* By descending place: it is made as large as it has to be at once. */
	for (i = 0; i < recall->count; i++)
		taken = bms_add_member(taken, recall->entries[i].place);
	return taken;
}

/* The lowest place from one on that is not taken. */
int
es_recall_free_place(const Bitmapset *taken, int place)
{
	while (bms_is_member(place, taken))
		place++;
	return place;
}
