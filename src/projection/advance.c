/*-------------------------------------------------------------------------
 *
 * advance.c
 *		Applying stored events to a projection, from its checkpoint on.
 *
 * Events are applied in windows: so many that pass the filters.  A declared
 * table's SQL then reads the window from eventstore.events by itself; a handler
 * gets its events as a tuplestore, and so does a declared table where some of
 * them are left out (omission.c).
 *
 * A window is applied in a subtransaction.  If that fails, the window is halved
 * until the event is found that can not be applied; of a handler that runs for
 * one event after the other it is known.  There the projection stops, or goes on
 * behind it, if it is one to skip errors.
 *
 * Memory: a context that is reset for each window.  Locks: AccessShare on
 * eventstore.events; what the SQL takes.  The caller holds the projection's
 * lock.  Calls: analyze, apply, attempt, catalog, omission, projection,
 * readtable, scan.  User code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/attempt.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/scan.h"
#include "projection/advance.h"
#include "projection/declared/analyze.h"
#include "projection/omission.h"
#include "projection/readtable.h"

/* Events in a window. */
#define ADVANCE_HANDLER_WINDOW  5000
#define ADVANCE_DECLARED_WINDOW 250000

typedef struct AdvanceWindow
{
	int64 after;
	int64 end;               /* no event behind it was looked at */
	int64 first;             /* position of the first event that passes */
	int64 count;             /* events that pass */
	Tuplestorestate *events; /* NULL: not needed */
} AdvanceWindow;

/* ----------------------------------------------------------------------
 * Windows
 * ----------------------------------------------------------------------
 */

/* What is not to be applied, whatever the filters say; lists of positions. */
typedef struct AdvanceOmissions
{
	const EsProjection *projection;
	List *appended;
	List *skipped;
	List *missed;
	int next[3]; /* in each of them */
} AdvanceOmissions;

/* Of the events after a position and up to another.  Returns whether there are any. */
static bool
advance_find_omissions(AdvanceOmissions *omissions, const EsProjection *projection, int64 after,
					   int64 upto)
{
	const char *name = projection->name;

	memset(omissions, 0, sizeof(AdvanceOmissions));
	omissions->projection = projection;
	omissions->appended = es_omission_list(ES_OMISSION_APPENDED, name, after, upto, NULL);
	omissions->skipped = es_omission_list(ES_OMISSION_SKIPPED, name, after, upto, NULL);
	if (projection->leaves_missed || projection->missed_upto > after)
		omissions->missed = es_omission_list(ES_OMISSION_MISSED, name, after, upto,
											 projection->seen_by);
	return omissions->appended != NIL || omissions->skipped != NIL || omissions->missed != NIL ||
		projection->missed_upto > after;
}

/* Whether an event is left out; asked for rising positions. */
static bool
advance_is_omitted(AdvanceOmissions *omissions, int64 position)
{
	const EsProjection *projection = omissions->projection;
	bool was_missed = es_omission_has(omissions->missed, &omissions->next[2], position);

	if (projection->leaves_missed ? was_missed : position <= projection->missed_upto && !was_missed)
		return true;
	return es_omission_has(omissions->appended, &omissions->next[0], position) ||
		es_omission_has(omissions->skipped, &omissions->next[1], position);
}

static bool
advance_passes(const EsProjection *projection, TupleTableSlot *slot)
{
	const EsFilter *filters[] = {&projection->categories, &projection->types};
	const AttrNumber columns[] = {Anum_events_category, Anum_events_type};
	bool is_null;
	int i;

	if (projection->recorded_until != 0 &&
		DatumGetTimestampTz(slot_getattr(slot, Anum_events_recorded_at, &is_null)) >
			projection->recorded_until)
		return false;
	for (i = 0; i < lengthof(filters); i++)
		if (filters[i]->is_on &&
			!es_projection_has_name(filters[i],
									DatumGetTextPP(slot_getattr(slot, columns[i], &is_null))))
			return false;
	return true;
}

/* A scan for events that pass the filters. */
typedef struct AdvanceScan
{
	const EsProjection *projection;
	EsScan scan;
	bool is_by_index;  /* the index has all that is asked for */
	AttrNumber column; /* of the position, in the index */
	Buffer map;
} AdvanceScan;

/* One category has an index. */
static void
advance_scan_begin(AdvanceScan *scan, Relation events, int64 after, int64 upto, bool needs_rows)
{
	const EsFilter *categories = &scan->projection->categories;
	bool is_category = categories->is_on && categories->count == 1;

	es_scan_open(&scan->scan, events, is_category ? ES_EVENTS_CATEGORY_POSITION : ES_EVENTS_PKEY);
	scan->column = is_category ? 2 : 1;
	if (is_category)
		es_scan_add_key(&scan->scan, 1, BTEqualStrategyNumber, F_TEXTEQ,
						PointerGetDatum(categories->names[0]));
	es_scan_add_key(&scan->scan, scan->column, BTGreaterStrategyNumber, F_INT8GT,
					Int64GetDatum(after));
	es_scan_add_key(&scan->scan, scan->column, BTLessEqualStrategyNumber, F_INT8LE,
					Int64GetDatum(upto));
	scan->is_by_index = !needs_rows && !scan->projection->types.is_on &&
		(is_category || !categories->is_on) && scan->projection->recorded_until == 0;
	es_apply_see(scan->projection, &scan->scan);
	if (scan->scan.is_limited)
		scan->is_by_index = false;
	scan->scan.wants_entries = scan->is_by_index;
	scan->map = InvalidBuffer;
}

/* Move to the next event that passes; returns whether there is one. */
static bool
advance_scan_next(AdvanceScan *scan, int64 *position)
{
	bool is_null;

	if (scan->is_by_index)
		return es_scan_next_entry(&scan->scan, scan->column, &scan->map, position);
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!es_scan_next(&scan->scan, ForwardScanDirection))
			return false;
	} while (!advance_passes(scan->projection, scan->scan.slot));
	*position = DatumGetInt64(slot_getattr(scan->scan.slot, Anum_events_position, &is_null));
	return true;
}

static void
advance_scan_end(AdvanceScan *scan)
{
	es_scan_close(&scan->scan);
	if (BufferIsValid(scan->map))
		ReleaseBuffer(scan->map);
}

static Snapshot
advance_snapshot(const EsProjection *projection)
{
	if (projection->seen_by != NULL)
		return projection->seen_by;
	return IsolationUsesXactSnapshot() ? GetActiveSnapshot() : GetLatestSnapshot();
}

/*
 * Find the next events that a projection applies, up to a position, at most
 * limit.
 *
 * needs_events: put them into a tuplestore; else that is done only where some
 * have to be left out.
 */
static void
advance_look(AdvanceWindow *window, const EsProjection *projection, int64 upto, int64 limit,
			 bool needs_events)
{
	AdvanceOmissions omissions;
	bool has_omissions = advance_find_omissions(&omissions, projection, window->after, upto);
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(advance_snapshot(projection));
	AdvanceScan scan = {.projection = projection};
	TupleDesc desc = NULL;
	int64 position;

	window->count = 0;
	window->end = upto;
	window->events = NULL;
	if (needs_events || has_omissions)
	{
		desc = es_analyze_event_desc();
		window->events = tuplestore_begin_heap(false, false, work_mem);
	}
	advance_scan_begin(&scan, events, window->after, upto, desc != NULL);
	es_scan_begin(&scan.scan, snapshot);
	while (window->count < limit && advance_scan_next(&scan, &position))
	{
		if (has_omissions && advance_is_omitted(&omissions, position))
			continue;
		if (desc != NULL)
		{
			slot_getsomeattrs(scan.scan.slot, Natts_event);
			tuplestore_putvalues(window->events, desc, scan.scan.slot->tts_values,
								 scan.scan.slot->tts_isnull);
		}
		if (window->count++ == 0)
			window->first = position;
		if (window->count == limit)
			window->end = position;
	}
	advance_scan_end(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(events, NoLock);
}

/*
 * How many events after a position, and up to another, a projection applies.
 */
int64
es_advance_count(const EsProjection *projection, int64 after, int64 upto)
{
	AdvanceWindow window = {.after = after};

	advance_look(&window, projection, upto, PG_INT64_MAX, false);
	if (window.events != NULL)
		tuplestore_end(window.events);
	return window.count;
}

/* The position of the next event that it applies, up to a position; 0: none. */
int64
es_advance_next(const EsProjection *projection, int64 upto)
{
	AdvanceWindow window = {.after = projection->position};

	advance_look(&window, projection, upto, 1, false);
	if (window.events != NULL)
		tuplestore_end(window.events);
	return window.count == 0 ? 0 : window.first;
}

/* ----------------------------------------------------------------------
 * Applying
 * ----------------------------------------------------------------------
 */

/* A window, and what applies it. */
typedef struct AdvanceTry
{
	EsApplier *applier;
	const AdvanceWindow *window;
} AdvanceTry;

static void
advance_apply(void *argument)
{
	const AdvanceTry *try = argument;
	const AdvanceWindow *window = try->window;

	if (window->events != NULL)
		es_apply_batch(try->applier, window->events);
	else
		es_apply_range(try->applier, window->after, window->end);
}

/* Returns the error, or NULL if there is none. */
static ErrorData *
advance_try(EsApplier *applier, const AdvanceWindow *window)
{
	AdvanceTry try = {applier, window};
	ErrorData *error = es_attempt(advance_apply, &try);

	if (error != NULL && (applier->is_refused || es_apply_is_passing(error->sqlerrcode)))
		ReThrowError(error);
	return error;
}

/* Errors of the SQL itself would come up with every event: never skipped. */
static bool
advance_may_skip(const EsProjection *projection, int code)
{
	return projection->on_error == ES_ON_ERROR_SKIP &&
		ERRCODE_TO_CATEGORY(code) != ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR);
}

/* The projection is past a window. */
static void
advance_move(EsProjection *projection, const AdvanceWindow *window, int64 applied)
{
	projection->position = window->end;
	projection->events_applied += applied;
}

/*
 * Look at a window and apply it, or as much of it as there is time for.  Returns
 * the error, or NULL if there is none.
 *
 * limit: events in it.
 */
static ErrorData *
advance_window(const EsProjection *projection, EsApplier *applier, const EsAdvanceBounds *bounds,
			   int64 limit, AdvanceWindow *window)
{
	ErrorData *raised = NULL;

	advance_look(window, projection, bounds->upto, limit, applier->sql[ES_SOURCE_RANGE] == NULL);
	if (window->count > 0)
		raised = advance_try(applier, window);
	if (raised == NULL && window->events != NULL && applier->applied < window->count)
	{
		window->count = applier->applied;
		window->end = applier->last;
	}
	if (window->events != NULL)
		tuplestore_end(window->events);
	return raised;
}

/*
 * How many events of a window that has failed to try next, up to the one that can
 * not be applied; 0: it is the first.
 */
static int64
advance_shrink(const EsApplier *applier, const AdvanceWindow *window)
{
	return applier->is_each ? applier->applied : window->count / 2;
}

/*
 * An event can not be applied: stop before it, or skip it.  Returns whether to
 * go on.
 */
static bool
advance_fail(EsProjection *projection, const EsProjectionError *error)
{
	AdvanceWindow window = {.end = error->position};
	EsProjectionError *skipped;

	if (!advance_may_skip(projection, error->code))
	{
		projection->state = ES_PROJECTION_FAILED;
		return false;
	}
	advance_move(projection, &window, 0);
	skipped = palloc(sizeof(EsProjectionError));
	*skipped = *error;
	projection->skipped = lappend(projection->skipped, skipped);
	return true;
}

/* The next event is not to be tried.  Returns whether to go on behind it. */
static bool
advance_pass_deadly(EsProjection *projection, const EsAdvanceBounds *bounds,
					EsProjectionError *error)
{
	int64 position = es_advance_next(projection, bounds->upto);

	if (position == 0)
		return true;
	*error = *bounds->deadly;
	error->position = position;
	return advance_fail(projection, error);
}

static bool
advance_has_time(const EsAdvanceBounds *bounds)
{
	return bounds->until == 0 || GetCurrentTimestamp() < bounds->until;
}

/*
 * Apply events after the checkpoint, within bounds, and move the checkpoint, in
 * memory only.  Returns how many were applied.
 *
 * error: receives the last error, its message in the current context; code 0:
 * there was none.  If the projection has to stop there, its state becomes
 * failed.
 */
int64
es_advance(EsProjection *projection, EsApplier *applier, const EsAdvanceBounds *bounds,
		   EsProjectionError *error)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "es_advance", ALLOCSET_DEFAULT_SIZES);
	const int64 full = applier->sql[ES_SOURCE_RANGE] == NULL ? ADVANCE_HANDLER_WINDOW
															 : ADVANCE_DECLARED_WINDOW;
	int64 limit = full;
	int64 total = 0;
	bool goes_on;

	error->code = 0;
	applier->until = bounds->until;
	goes_on = bounds->deadly == NULL || advance_pass_deadly(projection, bounds, error);
	while (goes_on && projection->position < bounds->upto && total < bounds->max_count)
	{
		AdvanceWindow window = {.after = projection->position};
		ErrorData *raised;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		raised = advance_window(projection, applier, bounds, Min(limit, bounds->max_count - total),
								&window);
		MemoryContextSwitchTo(caller);

		if (raised == NULL)
		{
			advance_move(projection, &window, window.count);
			total += window.count;
			goes_on = advance_has_time(bounds);
		}
		else if ((limit = advance_shrink(applier, &window)) == 0)
		{
			error->code = raised->sqlerrcode;
			error->message = pstrdup(es_readtable_explain(applier, raised));
			error->position = window.first;
			goes_on = advance_fail(projection, error);
			limit = full;
		}
	}
	MemoryContextDelete(context);
	return total;
}
