/*-------------------------------------------------------------------------
 *
 * retention.c
 *		How long events are kept: es_set_retention, es_apply_retention, and
 *		what the worker does of it.
 *
 * A rule is of a stream, whose name has a '-', or of a category, and then of each
 * of its streams that has no rule of its own.  It says by age, by number, or by
 * both, where a stream's kept part begins; what is before is truncated as by
 * es_truncate_stream, so no append waits for it.  As times never decrease along a
 * stream, what is too old is its beginning.
 *
 * Streams are taken in the order of their names, and where somebody else takes
 * events from one, or saves what it amounts to, it is passed over until the next
 * time.  So who applies rules waits for nobody.
 *
 * The worker goes on, in small transactions, from where it was: RETENTION_SLICE
 * events or RETENTION_STREAMS streams at a time.  When it is through all rules, it
 * rests for eventstore.retention_interval.
 *
 * Where a transaction of somebody else is in the way, it gives up on that stream
 * after RETENTION_PATIENCE.
 *
 * Memory: the function call's context; the worker's place is static.
 * Locks: userlocks "custody" and "keeps", and what a truncation takes.  Calls:
 * arguments, attempt, catalog, custody, forget, names, removed, scan, settings,
 * truncate.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/arguments.h"
#include "base/attempt.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/removed.h"
#include "base/scan.h"
#include "base/settings.h"
#include "keeping/custody.h"
#include "keeping/forget.h"
#include "keeping/retention.h"
#include "keeping/truncate.h"

PG_FUNCTION_INFO_V1(es_set_retention);
PG_FUNCTION_INFO_V1(es_apply_retention);

/* What the worker does in one transaction: some milliseconds. */
#define RETENTION_SLICE    100 /* events */
#define RETENTION_STREAMS  200 /* that are looked at */
#define RETENTION_PATIENCE "10ms"

/* A row of eventstore.retention. */
typedef struct RetentionRule
{
	text *name;
	bool is_category;
	TimestampTz oldest; /* what was recorded before is not kept; DT_NOBEGIN: no limit */
	int64 max_count;    /* PG_INT64_MAX: no limit */
	int64 gone;         /* by this walk */
} RetentionRule;

/* How far somebody has come: these outlive a transaction. */
typedef struct RetentionPlace
{
	bool has_rule;
	char rule[ES_MAX_STREAM_BYTES + 1]; /* before it all is done */
	bool is_past;                       /* and so is it */
	bool has_stream;
	char stream[ES_MAX_STREAM_BYTES + 1]; /* up to it all of the rule's are done */
} RetentionPlace;

/* A walk over the streams of all rules, from a place on. */
typedef struct RetentionWalk
{
	RetentionPlace *place;
	RetentionRule *rules; /* by name */
	int count;

	int64 slice;   /* events that may go yet */
	int64 streams; /* that may be looked at yet */
	int64 gone;
} RetentionWalk;

/* ----------------------------------------------------------------------
 * Rules
 * ----------------------------------------------------------------------
 */

static bool
retention_is_category(const text *name)
{
	return es_names_category(name) == name;
}

/* The time before which nothing is kept. */
static TimestampTz
retention_oldest(Datum max_age)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval,
												   TimestampTzGetDatum(GetCurrentTimestamp()),
												   max_age));
}

static void
retention_read_rule(RetentionRule *rule, TupleTableSlot *slot)
{
	slot_getallattrs(slot);
	rule->name = DatumGetTextPCopy(slot->tts_values[Anum_retention_name - 1]);
	rule->is_category = retention_is_category(rule->name);
	rule->oldest = slot->tts_isnull[Anum_retention_max_age - 1]
		? DT_NOBEGIN
		: retention_oldest(slot->tts_values[Anum_retention_max_age - 1]);
	rule->max_count = slot->tts_isnull[Anum_retention_max_count - 1]
		? PG_INT64_MAX
		: DatumGetInt64(slot->tts_values[Anum_retention_max_count - 1]);
	rule->gone = 0;
}

/* All rules, in the order of their names. */
static void
retention_load(RetentionWalk *walk)
{
	Relation rel = es_catalog_open(ES_RETENTION, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int space = 16;
	EsScan scan;

	walk->count = 0;
	walk->rules = palloc(sizeof(RetentionRule) * space);
	es_scan_open(&scan, rel, ES_RETENTION_PKEY);
	es_scan_begin(&scan, snapshot);
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		CHECK_FOR_INTERRUPTS();
		if (walk->count == space)
		{
			space *= 2;
			walk->rules = repalloc_huge(walk->rules, sizeof(RetentionRule) * space);
		}
		retention_read_rule(&walk->rules[walk->count++], scan.slot);
	}
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
}

static int
retention_compare(const void *key, const void *rule)
{
	const text *left = key;
	const text *right = ((const RetentionRule *) rule)->name;
	int left_size = VARSIZE_ANY_EXHDR(left);
	int right_size = VARSIZE_ANY_EXHDR(right);
	int result = memcmp(VARDATA_ANY(left), VARDATA_ANY(right), Min(left_size, right_size));

	return result != 0 ? result : left_size - right_size;
}

/* Whether a stream has a rule of its own. */
static bool
retention_has_own(const RetentionWalk *walk, const text *stream)
{
	return bsearch(stream, walk->rules, walk->count, sizeof(RetentionRule), retention_compare) !=
		NULL;
}

/*
 * Write down what has come of a rule.  Who is just changing it is not waited for.
 *
 * is_through: it was applied to all of its streams.
 */
static void
retention_note(const RetentionRule *rule, bool is_through)
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
 * version: of its last event.
 */
static int64
retention_find_beginning(const RetentionRule *rule, const text *stream, int64 version, int64 limit)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	int64 beginning = 0;
	EsScan scan;

	es_scan_open(&scan, events, ES_EVENTS_STREAM_VERSION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(stream));
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
retention_apply_to(RetentionWalk *walk, RetentionRule *rule, const text *stream, int64 version)
{
	int64 beginning = retention_find_beginning(rule, stream, version, walk->slice);
	int64 gone;

	if (beginning == 0 || !es_removed_try_guard(stream))
		return true;
	gone = es_truncate_before(stream, beginning);
	rule->gone += gone;
	walk->gone += gone;
	walk->slice -= Min(gone, walk->slice);
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
retention_next(const RetentionRule *rule, const text *after, int64 *version)
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
retention_is_of(const RetentionRule *rule, const text *stream)
{
	return es_names_equal(rule->is_category ? es_names_category(stream) : stream, rule->name);
}

/*
 * Move on to the next stream of a rule that it is to be applied to; NULL: there
 * is no more.
 */
static text *
retention_move(const RetentionWalk *walk, const RetentionRule *rule, int64 *version)
{
	text *after = walk->place->has_stream ? cstring_to_text(walk->place->stream) : NULL;

	for (;;)
	{
		text *stream = after != NULL && !rule->is_category ? NULL
														   : retention_next(rule, after, version);

		CHECK_FOR_INTERRUPTS();
		/* A category need not have a stream of its own name. */
		if (stream == NULL && after == NULL && rule->is_category)
			after = rule->name;
		else if (stream == NULL || !retention_is_of(rule, stream))
			return NULL;
		else if (es_names_equal(stream, rule->name) || !retention_has_own(walk, stream))
			return stream;
		else
			after = stream;
	}
}

/*
 * Apply a rule to its streams from the walk's place on.  Returns whether it has
 * come to the end of them.
 *
 * The place is behind a stream before anything is done about it: who fails at
 * one goes on with the next.
 */
static bool
retention_apply(RetentionWalk *walk, RetentionRule *rule)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "eventstore retention",
												  ALLOCSET_DEFAULT_SIZES);
	bool is_through = false;

	for (;;)
	{
		RetentionPlace before = *walk->place;
		int64 version;
		text *stream;
		bool is_done;

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		stream = retention_move(walk, rule, &version);
		is_through = stream == NULL;
		if (is_through)
			break;
		walk->place->has_stream = true;
		text_to_cstring_buffer(stream, walk->place->stream, sizeof(walk->place->stream));
		is_done = retention_apply_to(walk, rule, stream, version);
		if (!is_done)
			*walk->place = before;
		if (!is_done || --walk->streams <= 0)
			break;
	}
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(context);
	return is_through;
}

/* Have the walk stand at a rule, if it is not past it.  Returns whether it does. */
static bool
retention_enter(RetentionPlace *place, const RetentionRule *rule)
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
static bool
retention_walk(RetentionWalk *walk)
{
	int i;

	CommandCounterIncrement();
	retention_load(walk);
	for (i = 0; i < walk->count; i++)
	{
		RetentionRule *rule = &walk->rules[i];
		bool is_through;

		if (!retention_enter(walk->place, rule))
			continue;
		is_through = retention_apply(walk, rule);
		retention_note(rule, is_through);
		if (!is_through)
			return false;
		walk->place->is_past = true;
	}
	return true;
}

/* ----------------------------------------------------------------------
 * The verbs
 * ----------------------------------------------------------------------
 */

static void
retention_check_age(FunctionCallInfo fcinfo)
{
	Interval zero = {0};

	if (PG_ARGISNULL(1))
		return;
	if (DatumGetBool(DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(1), IntervalPGetDatum(&zero))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_age must not be negative")));
	/* Raises where that is out of the range of times. */
	(void) retention_oldest(PG_GETARG_DATUM(1));
}

static void
retention_check_count(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(2) && PG_GETARG_INT64(2) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_count must be positive"),
				 errhint("To forget all events of a stream, call es_delete_stream().")));
}

/*
 * es_set_retention(stream_or_category text, max_age interval = NULL, max_count bigint = NULL) -> void
 */
Datum
es_set_retention(PG_FUNCTION_ARGS)
{
	static EsSql set =
		ES_SQL("INSERT INTO eventstore.retention AS r (name, max_age, max_count) VALUES ($1, $2, $3) "
			   "ON CONFLICT (name) DO UPDATE SET max_age = excluded.max_age, max_count = excluded.max_count",
			   TEXTOID, INTERVALOID, INT8OID);
	static EsSql unset = ES_SQL("DELETE FROM eventstore.retention WHERE name = $1", TEXTOID);
	Datum values[3] = {0};
	char nulls[] = "   ";
	int i;

	es_arguments_check_not_null(fcinfo, 0, "stream_or_category");
	es_names_check_category(PG_GETARG_TEXT_PP(0));
	retention_check_age(fcinfo);
	retention_check_count(fcinfo);
	PreventCommandIfReadOnly("es_set_retention()");
	PreventCommandIfParallelMode("es_set_retention()");

	for (i = 0; i < lengthof(values); i++)
	{
		if (PG_ARGISNULL(i))
			nulls[i] = 'n';
		else
			values[i] = PG_GETARG_DATUM(i);
	}
	(void) es_forget_run(PG_ARGISNULL(1) && PG_ARGISNULL(2) ? &unset : &set, values, nulls);
	PG_RETURN_VOID();
}

/*
 * es_apply_retention() -> bigint
 */
Datum
es_apply_retention(PG_FUNCTION_ARGS)
{
	RetentionPlace place = {0};
	RetentionWalk walk = {.place = &place, .slice = PG_INT64_MAX, .streams = PG_INT64_MAX};

	PreventCommandIfReadOnly("es_apply_retention()");
	PreventCommandIfParallelMode("es_apply_retention()");
	es_custody_alter();
	(void) retention_walk(&walk);
	PG_RETURN_INT64(walk.gone);
}

/* ----------------------------------------------------------------------
 * The worker
 * ----------------------------------------------------------------------
 */

static RetentionPlace retention_place = {0};

/* When the worker has begun last, and whether it has come to the end since. */
static TimestampTz retention_begun = 0;
static bool retention_is_through = true;

static void
retention_step(void *argument)
{
	RetentionWalk walk = {.place = &retention_place,
						  .slice = RETENTION_SLICE,
						  .streams = RETENTION_STREAMS};
	int level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", RETENTION_PATIENCE, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	/* A seal may be waiting for somebody else who removes events. */
	if (es_custody_try_alter())
		retention_is_through = retention_walk(&walk);
	else
		retention_is_through = true;
	AtEOXact_GUC(false, level);
}

/*
 * In how many milliseconds the worker has something to do about retention: 0:
 * now.
 */
long
es_retention_due(void)
{
	if (es_guc_retention_interval == 0)
		return LONG_MAX;
	if (!retention_is_through)
		return 0;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(),
										   TimestampTzPlusMilliseconds(retention_begun,
																	   es_guc_retention_interval *
																		   INT64CONST(1000)));
}

/*
 * The worker's part: apply the rules a bit further, in a transaction of its own.
 * An error is told the log, and the stream left alone until the next time.
 */
void
es_retention_work(void)
{
	ErrorData *error;

	if (retention_is_through)
	{
		memset(&retention_place, 0, sizeof(retention_place));
		retention_begun = GetCurrentTimestamp();
		retention_is_through = false;
	}
	error = es_attempt(retention_step, NULL);
	if (error == NULL)
		return;
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("could not apply the retention of \"%s\" to stream \"%s\": %s",
					retention_place.rule, retention_place.has_stream ? retention_place.stream : "",
					error->message),
			 errdetail("It is tried again after %d seconds.", es_guc_retention_interval)));
	/* Of no stream at all: there is no place to go on behind. */
	if (!retention_place.has_stream)
		retention_is_through = true;
}
