/*-------------------------------------------------------------------------
 *
 * retain.c
 *		Applying retention to streams, one after the other.
 *
 * A rule is of a stream, whose name has a '-', or of a category, and then of each
 * of its streams that has no rule of its own.  It says by age, by number, or by
 * both, where a stream's kept part begins; what is before is truncated as by
 * es_truncate_stream, so no append waits for it.  As times never decrease along a
 * stream, what is too old is its beginning.
 *
 * A long stream goes in several steps.  Which version one has come to is kept for
 * the next: as long as somebody holds an old snapshot, what is gone stays in table
 * and index, and to look for the beginning would be to walk over it each time.
 *
 * Streams are taken in the order of their names, and where somebody else takes
 * events from one, or saves what it amounts to, it is passed over until the next
 * time.  So who applies rules waits for nobody but for locks on events that
 * others' foreign keys hold.
 *
 * Memory: the current context; a context of its own for each stream.  Locks:
 * userlocks "keeps", and what a truncation takes; the caller holds "custody".
 * Calls: catalog, forget, names, removed, scan, truncate, whereabouts.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/removed.h"
#include "base/scan.h"
#include "keeping/forget.h"
#include "keeping/retain.h"
#include "read/whereabouts.h"
#include "keeping/truncate.h"

struct EsRetainRule
{
	text *name;
	bool is_category;
	TimestampTz oldest; /* what was recorded before is not kept; DT_NOBEGIN: no limit */
	int64 max_count;    /* PG_INT64_MAX: no limit */
	int64 gone;         /* by this walk */
};

/* ----------------------------------------------------------------------
 * Rules
 * ----------------------------------------------------------------------
 */

static bool
retain_is_category(const text *name)
{
	return es_names_category(name) == name;
}

/* The time before which a rule of this age keeps nothing. */
TimestampTz
es_retain_oldest(Datum max_age)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()),
												   max_age));
}

static void
retain_read_rule(EsRetainRule *rule, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	rule->name = DatumGetTextPCopy(slot->tts_values[Anum_retention_name - 1]);
	rule->is_category = retain_is_category(rule->name);
	rule->oldest = slot->tts_isnull[Anum_retention_max_age - 1]
		? DT_NOBEGIN
		: es_retain_oldest(slot->tts_values[Anum_retention_max_age - 1]);
	rule->max_count = slot->tts_isnull[Anum_retention_max_count - 1]
		? PG_INT64_MAX
		: DatumGetInt64(slot->tts_values[Anum_retention_max_count - 1]);
	rule->gone = 0;
}

/* All rules, in the order of their names. */
static void
retain_load(EsRetainWalk *walk)
{
	Relation rel = es_catalog_open(ES_RETENTION, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int space = 16;
	EsScan scan;

	walk->count = 0;
	walk->rules = palloc(sizeof(EsRetainRule) * space);
	es_scan_open(&scan, rel, ES_RETENTION_PKEY);
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (walk->count == space)
		{
			space *= 2;
			walk->rules = repalloc_huge(walk->rules, sizeof(EsRetainRule) * space);
		}
		retain_read_rule(&walk->rules[walk->count++], scan.slot);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
}

static int
retain_compare(const void *key, const void *rule)
{
	const text *left = key;
	const text *right = ((const EsRetainRule *) rule)->name;
	int left_size = VARSIZE_ANY_EXHDR(left);
	int right_size = VARSIZE_ANY_EXHDR(right);
	int result = memcmp(VARDATA_ANY(left), VARDATA_ANY(right), Min(left_size, right_size));

	return result != 0 ? result : left_size - right_size;
}

/* Whether a stream has a rule of its own. */
static bool
retain_has_own(const EsRetainWalk *walk, const text *stream)
{
	return bsearch(stream, walk->rules, walk->count, sizeof(EsRetainRule), retain_compare) != NULL;
}

/*
 * Write down what has come of a rule.  Who is just changing it is not waited for.
 *
 * is_through: it was applied to all of its streams.
 */
static void
retain_note(const EsRetainRule *rule, bool is_through)
{
	static EsSql statement =
		ES_SQL("WITH r AS (SELECT r.name FROM eventstore.retention r WHERE r.name = $1 FOR NO KEY UPDATE SKIP LOCKED) "
			   "UPDATE eventstore.retention t SET events_gone = t.events_gone + $2, "
			   "applied_at = CASE WHEN $3 THEN pg_catalog.clock_timestamp() ELSE t.applied_at END "
			   "FROM r WHERE t.name = r.name",
			   TEXTOID, INT8OID, BOOLOID);
	Datum values[] = {PointerGetDatum(rule->name), Int64GetDatum(rule->gone),
					  BoolGetDatum(is_through)};

	if (is_through || rule->gone > 0)
		(void) es_forget_run(&statement, values, NULL);
}

/* ----------------------------------------------------------------------
 * Streams
 * ----------------------------------------------------------------------
 */

/*
 * The version that a stream's kept part begins with: of the first events, at most
 * so many as may go, those that are too many or too old are not kept.
 *
 * version: of its last event.  from: before it nothing is left.
 */
static int64
retain_find_beginning(const EsRetainRule *rule, const text *stream, int64 version, int64 from,
					  int64 limit)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64 beginning = 0;
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
	es_scan_add_key(&scan, 2, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
	es_whereabouts_narrow(&scan, stream, snapshot, ForwardScanDirection, from);
	es_scan_begin(&scan, snapshot);
	while (limit-- > 0 && es_scan_next(&scan, ForwardScanDirection))
	{
		TupleTableSlot *slot = scan.slot;
		int64 found;

		CHECK_FOR_INTERRUPTS();
		slot_getsomeattrs(slot, Natts_event);
		found = DatumGetInt64(slot->tts_values[Anum_events_version - 1]);
		if (version - found < rule->max_count &&
			DatumGetTimestampTz(slot->tts_values[Anum_events_recorded_at - 1]) >= rule->oldest)
			break;
		beginning = found + 1;
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
	return beginning;
}

/* Apply a rule to a stream.  Returns false if it is not done with it. */
static bool
retain_apply_to(EsRetainWalk *walk, EsRetainRule *rule, const text *stream, int64 version)
{
	EsRetainPlace *place = walk->place;
	char *name = text_to_cstring(stream);
	int64 from = strcmp(place->part, name) == 0 ? place->reached : 1;
	int64 beginning = retain_find_beginning(rule, stream, version, from, walk->slice);
	int64 gone;

	if (beginning == 0 || !es_removed_try_guard(stream))
		return true;
	gone = es_truncate_between(stream, from, beginning);
	rule->gone += gone;
	walk->gone += gone;
	walk->slice -= Min(gone, walk->slice);
	strlcpy(place->part, name, sizeof(place->part));
	place->reached = beginning;
	return walk->slice > 0;
}

/*
 * The next stream of a rule behind another one in the order of names.
 *
 * after: NULL: the first one.  version: receives its version.
 *
 * Returns it in the current context; NULL: there is no more.
 */
static text *
retain_next(const EsRetainRule *rule, const text *after, int64 *version)
{
	Relation streams = es_catalog_open(ES_STREAMS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	/* Between a category's own name and "category-" may be streams of others. */
	text *prefix = rule->is_category
		? (text *) DatumGetPointer(DirectFunctionCall2(textcat, PointerGetDatum(rule->name),
													   PointerGetDatum(cstring_to_text("-"))))
		: NULL;
	text *found = NULL;
	EsScan scan;

	es_scan_open(&scan, streams, ES_STREAMS_PKEY);
	if (after == NULL)
		es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(rule->name));
	else if (es_names_equal(after, rule->name))
		es_scan_add_key(&scan, 1, BTGreaterEqualStrategyNumber, F_TEXT_GE, PointerGetDatum(prefix));
	else
		es_scan_add_key(&scan, 1, BTGreaterStrategyNumber, F_TEXT_GT, PointerGetDatum(after));
	es_scan_begin(&scan, snapshot);
	if (es_scan_next(&scan, ForwardScanDirection))
	{
		slot_getsomeattrs(scan.slot, Anum_streams_version);
		found = DatumGetTextPCopy(scan.slot->tts_values[Anum_streams_stream - 1]);
		*version = DatumGetInt64(scan.slot->tts_values[Anum_streams_version - 1]);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(streams, NoLock);
	return found;
}

/* Whether a stream that was found is one of a rule's. */
static bool
retain_is_of(const EsRetainRule *rule, const text *stream)
{
	return es_names_equal(rule->is_category ? es_names_category(stream) : stream, rule->name);
}

/*
 * Move on to the next stream of a rule that it is to be applied to; NULL: there
 * is no more.
 */
static text *
retain_move(const EsRetainWalk *walk, const EsRetainRule *rule, int64 *version)
{
	text *after = walk->place->has_stream ? cstring_to_text(walk->place->stream) : NULL;

	for (;;)
	{
		text *stream = after != NULL && !rule->is_category ? NULL
														   : retain_next(rule, after, version);

		CHECK_FOR_INTERRUPTS();
		/* A category need not have a stream of its own name. */
		if (stream == NULL && after == NULL && rule->is_category)
			after = rule->name;
		else if (stream == NULL || !retain_is_of(rule, stream))
			return NULL;
		else if (es_names_equal(stream, rule->name) || !retain_has_own(walk, stream))
			return stream;
		else
			after = stream;
	}
}

/* Stand before a stream that is not done; what is done of it is. */
static void
retain_step_back(EsRetainPlace *place, const EsRetainPlace *before)
{
	place->has_stream = before->has_stream;
	memcpy(place->stream, before->stream, sizeof(place->stream));
}

/*
 * Apply a rule to its streams from the walk's place on.  Returns whether it has
 * come to the end of them.
 *
 * The place is behind a stream before anything is done about it: who fails at
 * one goes on with the next.
 */
static bool
retain_apply(EsRetainWalk *walk, EsRetainRule *rule)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "eventstore retention",
												  ALLOCSET_DEFAULT_SIZES);
	bool is_through = false;

	for (;;)
	{
		EsRetainPlace before = *walk->place;
		int64 version;
		text *stream;
		bool is_done;

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		stream = retain_move(walk, rule, &version);
		is_through = stream == NULL;
		if (is_through)
			break;
		walk->place->has_stream = true;
		text_to_cstring_buffer(stream, walk->place->stream, sizeof(walk->place->stream));
		is_done = retain_apply_to(walk, rule, stream, version);
		if (!is_done)
			retain_step_back(walk->place, &before);
		if (!is_done || --walk->streams <= 0)
			break;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return is_through;
}

/* Have the walk stand at a rule, if it is not past it.  Returns whether it does. */
static bool
retain_enter(EsRetainPlace *place, const EsRetainRule *rule)
{
	char *name = text_to_cstring(rule->name);
	int order = place->has_rule ? strcmp(name, place->rule) : 1;

	if (order < 0 || (order == 0 && place->is_past))
		return false;
	if (order > 0)
	{
		place->has_rule = true;
		strlcpy(place->rule, name, sizeof(place->rule));
		place->is_past = place->has_stream = false;
	}
	return true;
}

/*
 * Apply the rules from the walk's place on.  Returns whether it has come to the
 * end of them.
 */
bool
es_retain_walk(EsRetainWalk *walk)
{
	int i;

	CommandCounterIncrement();
	retain_load(walk);
	for (i = 0; i < walk->count; i++)
	{
		EsRetainRule *rule = &walk->rules[i];
		bool is_through;

		if (!retain_enter(walk->place, rule))
			continue;
		is_through = retain_apply(walk, rule);
		retain_note(rule, is_through);
		if (!is_through)
			return false;
		walk->place->is_past = true;
		/* A rule counts as a stream, so that who goes one by one has written down what came of it. */
		if (--walk->streams <= 0)
			return i == walk->count - 1;
	}
	return true;
}
