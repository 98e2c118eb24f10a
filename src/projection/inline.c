/*-------------------------------------------------------------------------
 *
 * inline.c
 *		Projections that the appending transaction applies.
 *
 * Called when the events are in the table.  Whether a projection cares for one
 * is decided from what the append has in memory.
 *
 * A projection's SQL may append.  It does not see those events itself, neither
 * here nor in a later replay: they are noted.  Others see them when all are
 * through with what came before, and may append in turn, up to a depth.
 *
 * Where a projection's SQL fails, so does the append; or, as the projection says,
 * the append goes on and the projection stops at that event: its SQL is then
 * taken back by a subtransaction.
 *
 * Memory: the current context.  Locks: what the projections' SQL takes.  Calls:
 * analyze, apply, attempt, fresh, omission, projection, readtable, roster,
 * see.  User code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/attempt.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/errors.h"
#include "projection/declared/analyze.h"
#include "projection/fresh.h"
#include "projection/inline.h"
#include "projection/omission.h"
#include "projection/readtable.h"
#include "projection/roster.h"
#include "rights/see.h"

/* Events that a projection's SQL has appended, to be applied by the others. */
typedef struct InlineQueued
{
	const char *projection;
	int depth; /* 1: in answer to what the caller appended */
	int count;
	int64 *positions;
} InlineQueued;

/* Of the call that is applying; NULL: none is. */
static List **inline_queue = NULL;
static MemoryContext inline_queue_context;
static int inline_depth = 0;

/* ----------------------------------------------------------------------
 * Errors
 * ----------------------------------------------------------------------
 */

/* What can be done about the cause of an error; NULL: nobody knows. */
static const char *
inline_hint_at_cause(const EsProjection *projection, const ErrorData *error)
{
	if (error->message_id != NULL &&
		strcmp(error->message_id,
			   "cannot fire deferred trigger within security-restricted operation") == 0)
		return "A table that the projection writes has a constraint that is deferred: make it NOT DEFERRABLE, or drop it.";
	if (error->sqlerrcode == ERRCODE_INSUFFICIENT_PRIVILEGE && error->hint == NULL)
		return psprintf(
			"It runs as role \"%s\": grant that what it needs, or give the projection to another one with es_reassign_projection.",
			GetUserNameFromId(projection->role, false));
	return error->hint;
}

/* The way out, and what can be done about the cause. */
static char *
inline_hint(const EsRosterEntry *entry, const ErrorData *error)
{
	const EsProjection *projection = entry->projection;
	const char *missing = es_readtable_way_out(entry->applier, error);
	const char *at_cause = missing != NULL ? missing : inline_hint_at_cause(projection, error);
	char *name = quote_literal_cstr(projection->name);

	return psprintf("%s%sTo let appends go on meanwhile, es_pause_projection(%s); es_resume_projection then applies what it has missed. "
					"If it is not needed any more, es_drop_projection(%s).",
					at_cause == NULL ? "" : at_cause, at_cause == NULL ? "" : " ", name, name);
}

/*
 * Whether an error has come up in SQL of ours, which its user did not write: all
 * that a declared table is kept by, and what writes states.
 */
static bool
inline_is_own_sql(const EsRosterEntry *entry)
{
	const EsApplier *applier = entry->applier;

	return entry->projection->is_declared ||
		(applier != NULL && applier->states != NULL && !applier->states->is_folding);
}

/*
 * In PG_CATCH: raise the error as SE006.
 *
 * first, last: positions of the events that were applied.
 */
static void
inline_rethrow(const EsRosterEntry *entry, int64 first, int64 last, MemoryContext context)
{
	const EsProjection *projection = entry->projection;
	ErrorData *error;
	char *range;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	if (es_apply_is_passing(error->sqlerrcode) || error->sqlerrcode == ES_ERRCODE_PROJECTION_FAILED)
		PG_RE_THROW();
	FlushErrorState();
	range = first == last ? psprintf("%lld", (long long) first)
						  : psprintf("%lld to %lld", (long long) first, (long long) last);
	ereport(ERROR,
			(errcode(ES_ERRCODE_PROJECTION_FAILED),
			 errmsg("projection \"%s\" failed", projection->name),
			 errdetail("Projection \"%s\", position %s: %s: %s", projection->name, range,
					   unpack_sql_state(error->sqlerrcode), es_readtable_explain(entry->applier, error)),
			 errhint("%s", inline_hint(entry, error)),
			 error->context != NULL && !inline_is_own_sql(entry) ? errcontext("%s", error->context) : 0));
}

/* ----------------------------------------------------------------------
 * Applying
 * ----------------------------------------------------------------------
 */

static void
inline_run(EsApplier *applier, EsFreshEvent **passing, int count)
{
	Tuplestorestate *store;
	TupleDesc desc;
	int i;

	if (count == 1 && es_apply_takes_one(applier))
	{
		char nulls[Natts_event];

		for (i = 0; i < Natts_event; i++)
			nulls[i] = passing[0]->nulls[i] ? 'n' : ' ';
		es_apply_one(applier, passing[0]->values, nulls);
		return;
	}
	desc = es_analyze_event_desc();
	store = tuplestore_begin_heap(false, false, work_mem);
	for (i = 0; i < count; i++)
		tuplestore_putvalues(store, desc, passing[i]->values, passing[i]->nulls);
	es_apply_batch(applier, store);
	tuplestore_end(store);
}

/* An entry, and events to apply it to. */
typedef struct InlineTry
{
	EsRoster *roster;
	EsRosterEntry *entry;
	EsFreshEvent **events;
	int count;
} InlineTry;

static void
inline_try(void *argument)
{
	const InlineTry *try = argument;

	inline_run(es_roster_get_applier(try->roster, try->entry), try->events, try->count);
}

/* A projection that is to stop at errors misses events; error: of the first of them. */
static void
inline_miss(const InlineTry *try, const EsProjectionError *error)
{
	int i;

	for (i = 0; i < try->count; i++)
		es_omission_add(ES_OMISSION_MISSED, try->entry->projection->name,
						es_fresh_position(try->events[i]), i == 0 ? error : NULL);
}

/* It stops at the first of some events. */
static void
inline_stop(const InlineTry *try, const ErrorData *raised)
{
	EsProjection stopped = *try->entry->projection;
	EsProjectionError error = {.position = es_fresh_position(try->events[0]),
							   .code = raised->sqlerrcode,
							   .message = es_readtable_explain(try->entry->applier, raised)};

	inline_miss(try, &error);
	try->entry->is_stopped = true;
	es_roster_tell();
	stopped.state = ES_PROJECTION_FAILED;
	es_projection_warn(&stopped, &error);
}

/* How many events of those that have failed to try next; 0: it is the first. */
static int
inline_shrink(const InlineTry *try)
{
	const EsApplier *applier = try->entry->applier;

	if (applier != NULL && applier->is_each)
		return (int) applier->applied;
	return try->count / 2;
}

/* Apply one that is to stop at the first event that its SQL fails at. */
static void
inline_apply_or_stop(InlineTry *all)
{
	InlineTry try = *all;

	while (try.count > 0 && !try.entry->is_stopped)
	{
		ErrorData *raised = es_attempt(inline_try, &try);

		if (raised == NULL)
		{
			all->events += try.count;
			all->count -= try.count;
			try.events = all->events;
			try.count = Min(try.count, all->count);
			continue;
		}
		if (es_apply_is_passing(raised->sqlerrcode) ||
			raised->sqlerrcode == ES_ERRCODE_PROJECTION_FAILED)
			ReThrowError(raised);
		try.count = inline_shrink(&try);
		if (try.count == 0)
			inline_stop(all, raised);
	}
}

static void
inline_apply_or_fail(InlineTry *try)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		inline_try(try);
	}
	PG_CATCH();
	{
		inline_rethrow(try->entry, es_fresh_position(try->events[0]),
					   es_fresh_position(try->events[try->count - 1]), caller);
	}
	PG_END_TRY();
}

/* Leave out what row security hides from the projection's owner. */
static void
inline_see(InlineTry *try, Relation rel)
{
	MemoryContext caller = CurrentMemoryContext;
	int64 first = es_fresh_position(try->events[0]);
	int64 last = es_fresh_position(try->events[try->count - 1]);

	PG_TRY();
	{
		try->count = es_fresh_leave_out_hidden(try->entry->projection, rel, try->events, try->count);
	}
	PG_CATCH();
	{
		inline_rethrow(try->entry, first, last, caller);
	}
	PG_END_TRY();
}

static void
inline_apply_entry(EsRoster *roster, EsRosterEntry *entry, Relation rel, EsFreshEvent *events,
				   int event_count)
{
	EsFreshEvent **passing = palloc(sizeof(EsFreshEvent *) * event_count);
	InlineTry try = {roster, entry, passing, 0};
	int i;

	for (i = 0; i < event_count; i++)
		if (es_fresh_cares(entry->projection, &events[i]))
			passing[try.count++] = &events[i];
	if (try.count > 0 && rel->rd_rel->relrowsecurity &&
		!es_see_is_free(rel, entry->projection->role))
		inline_see(&try, rel);
	if (try.count > 0)
	{
		if (entry->is_stopped)
			inline_miss(&try, NULL);
		else if (entry->projection->on_error == ES_ON_ERROR_STOP)
			inline_apply_or_stop(&try);
		else
			inline_apply_or_fail(&try);
	}
	pfree(passing);
}

/* Note what the running projection appends, whatever others do with it. */
static void
inline_note(const EsApplyScope *scope, EsAppend *const *appends, int append_count)
{
	const EsProjection *projection = scope->applier->projection;
	int i;
	int j;

	if (scope->applier->is_replay)
	{
		unconstify(EsApplier *, scope->applier)->is_refused = true;
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("projection \"%s\" appends while it is replayed", projection->name),
				 errhint("What a projection appends is there already. "
						 "A projection whose SQL appends can not be rebuilt, verified or seen as of the past.")));
	}
	if (inline_depth >= ES_APPLY_MAX_DEPTH)
		ereport(ERROR,
				(errcode(ES_ERRCODE_PROJECTION_FAILED),
				 errmsg("projection \"%s\" failed", projection->name),
				 errdetail("Projections answer each other's events, %d times.", inline_depth),
				 errhint("Two projections that answer each other's events never end; give them filters.")));
	for (i = 0; i < append_count; i++)
		for (j = 0; j < appends[i]->event_count; j++)
			es_omission_add(ES_OMISSION_APPENDED, projection->name, appends[i]->events[j].position,
							NULL);
}

/*
 * What a projection's SQL appends, the others see when all have seen what came
 * before it: each is applied in the order of positions.
 */
static void
inline_enqueue(const EsApplyScope *scope, EsAppend *const *appends, int append_count)
{
	MemoryContext caller = MemoryContextSwitchTo(inline_queue_context);
	InlineQueued *queued = palloc0(sizeof(InlineQueued));
	int i;
	int j;

	queued->projection = scope->applier->projection->name;
	queued->depth = inline_depth + 1;
	for (i = 0; i < append_count; i++)
		queued->count += appends[i]->event_count;
	queued->positions = palloc(sizeof(int64) * queued->count);
	queued->count = 0;
	for (i = 0; i < append_count; i++)
		for (j = 0; j < appends[i]->event_count; j++)
			queued->positions[queued->count++] = appends[i]->events[j].position;
	*inline_queue = lappend(*inline_queue, queued);
	MemoryContextSwitchTo(caller);
}

/* Apply what was enqueued. */
static void
inline_apply_queued(EsRoster *roster, Relation events, const InlineQueued *queued)
{
	EsFreshEvent *stored = palloc0(sizeof(EsFreshEvent) * queued->count);
	int count = 0;
	int i;

	CommandCounterIncrement();
	for (i = 0; i < queued->count; i++)
	{
		stored[count].values[Anum_events_position - 1] = Int64GetDatum(queued->positions[i]);
		if (es_fresh_fetch(events, &stored[count]))
			count++;
	}
	inline_depth = queued->depth;
	for (i = 0; i < roster->count && count > 0; i++)
		if (strcmp(roster->entries[i].projection->name, queued->projection) != 0)
			inline_apply_entry(roster, &roster->entries[i], events, stored, count);
	pfree(stored);
}

/* Apply what the caller has appended. */
static void
inline_apply_given(EsRoster *roster, Relation events, EsAppend *const *appends, int append_count)
{
	const EsApplyScope *scope = es_apply_current();
	bool may_differ = events->trigdesc != NULL && events->trigdesc->trig_insert_before_row;
	EsFreshEvent *collected = NULL;
	int count;
	int i;

	for (i = 0; i < roster->count; i++)
	{
		const EsProjection *projection = roster->entries[i].projection;

		if (!may_differ && !es_fresh_may_care(projection, appends, append_count))
			continue;
		if (scope != NULL && strcmp(scope->applier->projection->name, projection->name) == 0)
			continue;
		if (collected == NULL)
			collected = es_fresh_collect(events, appends, append_count, may_differ, &count);
		inline_apply_entry(roster, &roster->entries[i], events, collected, count);
	}
	if (collected != NULL)
		pfree(collected);
}

static pg_noinline void
inline_apply_all(EsRoster *roster, Relation events, EsAppend *const *appends, int append_count)
{
	List *queue = NIL;

	inline_queue = &queue;
	inline_queue_context = CurrentMemoryContext;
	inline_apply_given(roster, events, appends, append_count);
	while (queue != NIL)
	{
		InlineQueued *queued = linitial(queue);

		queue = list_delete_first(queue);
		inline_apply_queued(roster, events, queued);
	}
}

/*
 * Apply the running inline projections to the events of a call, which are in
 * the table.
 *
 * events: open, with the lock of who appends.  Raises SE006 where a
 * projection's SQL raises.
 */
void
es_inline_apply(Relation events, EsAppend *const *appends, int append_count)
{
	const EsApplyScope *scope = es_apply_current();
	EsRoster *roster;

	if (scope != NULL)
		inline_note(scope, appends, append_count);
	if (scope != NULL && inline_queue != NULL)
	{
		inline_enqueue(scope, appends, append_count);
		return;
	}
	roster = es_roster_acquire();
	if (roster->count == 0)
	{
		es_roster_release(roster);
		return;
	}
	PG_TRY();
	{
		inline_apply_all(roster, events, appends, append_count);
	}
	PG_FINALLY();
	{
		inline_queue = NULL;
		inline_depth = 0;
		es_roster_release(roster);
	}
	PG_END_TRY();
}
