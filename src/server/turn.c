/*-------------------------------------------------------------------------
 *
 * turn.c
 *		A runner's turn at an async projection: a batch.
 *
 * A batch and the checkpoint behind it are one transaction.  How many events
 * make a batch follows from how long the last one took: long enough to be worth
 * a transaction, short enough for who waits for the lock, and a single event
 * where that takes so long by itself.
 *
 * What the projection's SQL raises is es_run_async's to note.  Another error (a
 * deadlock, a full disk) makes runners leave the projection alone for a while,
 * each time for longer.
 *
 * Where a process has died of a batch, its events are applied one by one, after
 * a pause: who dies of a single event for a second time has found the guilty
 * one, which is not tried again.  What is known of that stands in a file
 * of the projection (witness.c), which the end of a process and a crash of the
 * server leave behind.
 *
 * Memory: TopMemoryContext for what it knows of projections; each batch's
 * transaction.  Locks: the projection's, to the end of a batch; what its SQL
 * takes.  Calls: advance, catalog, order, progress, projection, run, witness.  User
 * code runs here, as the projections' owners.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/catalog.h"
#include "order/order.h"
#include "projection/advance.h"
#include "projection/definition.h"
#include "projection/progress.h"
#include "projection/projection.h"
#include "projection/run.h"
#include "projection/witness.h"
#include "server/turn.h"

/* In milliseconds: how long a batch should take, and ... */
#define TURN_LEAST_MS 100
#define TURN_MOST_MS  400

/* ... how long a projection is left alone after an error. */
#define TURN_PAUSE_MIN_MS 1000
#define TURN_PAUSE_MAX_MS 60000

/* How often to write down what a projection's tables have, in milliseconds. */
#define TURN_NOTE_MS 10000

/* Events in a batch. */
#define TURN_MAX 1000000

/* What a runner remembers of a projection. */
typedef struct TurnNote
{
	char name[ES_MAX_PROJECTION_BYTES + 1];
	int64 size;           /* events of the next batch */
	TimestampTz due;      /* not before */
	bool is_at_work;      /* and so what stands in the file is its own */
	TimestampTz noted_at; /* when what its tables have was written down */
	EsWitness witness;
} TurnNote;

static List *turn_notes = NIL;

static TurnNote *
turn_get_note(const char *name)
{
	MemoryContext caller;
	TurnNote *note;
	ListCell *cell;

	foreach (cell, turn_notes)
		if (strcmp(((TurnNote *) lfirst(cell))->name, name) == 0)
			return lfirst(cell);
	caller = MemoryContextSwitchTo(TopMemoryContext);
	note = palloc0(sizeof(TurnNote));
	strlcpy(note->name, name, sizeof(note->name));
	note->size = 1;
	turn_notes = lappend(turn_notes, note);
	MemoryContextSwitchTo(caller);
	return note;
}

/* Forget everything when definitions have changed: a name may mean another one. */
void
es_turn_forget(void)
{
	static uint64 generation = 0;

	if (generation == es_catalog_generation())
		return;
	generation = es_catalog_generation();
	list_free_deep(turn_notes);
	turn_notes = NIL;
}

/* How long to sleep for a projection that has to wait, at most some time. */
long
es_turn_sleep_ms(long ms)
{
	TimestampTz now = GetCurrentTimestamp();
	ListCell *cell;

	foreach (cell, turn_notes)
	{
		const TurnNote *note = lfirst(cell);

		if (note->due > now)
			ms = Min(ms, TimestampDifferenceMilliseconds(now, note->due) + 1);
	}
	return ms;
}

void
es_turn_begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

void
es_turn_end_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

/* ----------------------------------------------------------------------
 * Errors and deaths
 * ----------------------------------------------------------------------
 */

/* Leave the projection alone from now on, for longer than the last time. */
static void
turn_pause(EsWitness *witness)
{
	witness->pause_ms = witness->pause_ms == 0 ? TURN_PAUSE_MIN_MS
											   : Min(witness->pause_ms * 2, TURN_PAUSE_MAX_MS);
	witness->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), witness->pause_ms);
}

/*
 * Note an error with the projection, whose lock is held and whose state stays.
 *
 * position: of the event it came up with; 0: that is not known, so it is noted
 * where the projection stands.
 */
static void
turn_save_error(EsProjection *projection, int64 position, int code, const char *message)
{
	EsProjectionError error = {.position = position == 0 ? projection->position : position,
							   .code = code,
							   .message = pstrdup(message)};

	es_definition_save(projection, &error);
}

/*
 * Somebody has ended while it was at work: find out what that means.
 *
 * Who was killed because of another process has not died of an event; all there
 * is to do is to leave some time for whatever goes on.
 */
static void
turn_judge(EsProjection *projection, EsWitness *witness)
{
	bool is_alone = witness->count == 1 && witness->after == projection->position;
	bool is_dead = witness->state == ES_WITNESS_AT_WORK || witness->state == ES_WITNESS_BROKEN;

	if (witness->state == ES_WITNESS_AT_WORK)
	{
		witness->code = ERRCODE_CRASH_SHUTDOWN;
		strlcpy(witness->message, "the process that applied it was killed, or crashed",
				sizeof(witness->message));
	}
	if (is_dead)
	{
		witness->is_deadly = witness->count == 1 && witness->suspects > 0;
		witness->suspects_after = witness->after;
		witness->suspects_upto = witness->upto;
		witness->suspects = witness->count;
		ereport(LOG,
				(errmsg("a process has died while it applied projection \"%s\"", witness->projection),
				 witness->is_deadly
					 ? errdetail("It was at a single event, which is not tried again.")
					 : errdetail("It was at %lld events behind position %lld, which are applied one by one now.",
								 (long long) witness->count, (long long) witness->after)));
	}
	turn_pause(witness);
	es_witness_save(witness);
	if (witness->code != 0)
		turn_save_error(projection, is_alone ? es_advance_next(projection, es_order_head(NULL)) : 0,
						witness->code, witness->message);
}

/* After an error: the projection, if it is still there, has to wait. */
static void
turn_save_failure(const char *name, const ErrorData *raised)
{
	EsProjection *projection;

	es_turn_begin_transaction();
	if (es_catalog_is_installed() && es_projection_try_lock(name) &&
		(projection = es_projection_find(name)) != NULL)
		turn_save_error(projection, 0, raised->sqlerrcode, raised->message);
	es_turn_end_transaction();
}

/* In PG_CATCH: the error goes to the log, the projection has to wait. */
static void
turn_give_up(TurnNote *note, MemoryContext context)
{
	ErrorData *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	EmitErrorReport();
	/* Before the lock goes with the transaction. */
	if (note->is_at_work)
	{
		turn_pause(&note->witness);
		es_witness_end(&note->witness);
		note->is_at_work = false;
		note->due = note->witness.due;
	}
	else
		note->due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TURN_PAUSE_MIN_MS);
	AbortOutOfAnyTransaction();
	FlushErrorState();
	RESUME_INTERRUPTS();
	turn_save_failure(note->name, error);
}

/* ----------------------------------------------------------------------
 * Applying
 * ----------------------------------------------------------------------
 */

/* How many events next time. */
static void
turn_measure(TurnNote *note, int64 count, TimestampTz begun)
{
	long ms = TimestampDifferenceMilliseconds(begun, GetCurrentTimestamp());

	if (ms > TURN_MOST_MS)
		note->size = Max(Min(note->size, count) * TURN_MOST_MS / 2 / ms, 1);
	else if (ms < TURN_LEAST_MS && count >= note->size)
		note->size = Min(note->size * 2, TURN_MAX);
}

/*
 * Where a process has died of events that are still to come: stop before them,
 * or take the next of them alone.
 *
 * death: receives what the next one ends with, if it is not to be tried.
 */
static void
turn_mind_suspects(const EsProjection *projection, EsWitness *witness, EsAdvanceBounds *bounds,
				   EsProjectionError *death)
{
	/* Somebody else may have been there, and survived. */
	if (projection->position > witness->suspects_after)
		witness->is_deadly = false;
	if (projection->position >= witness->suspects_upto)
		witness->suspects = 0;
	if (witness->suspects == 0)
	{
		witness->is_deadly = false;
		return;
	}
	/* A crash may have taken back what was committed a moment before. */
	if (projection->position < witness->suspects_after)
	{
		bounds->upto = Min(bounds->upto, witness->suspects_after);
		return;
	}
	bounds->max_count = 1;
	if (witness->is_deadly)
	{
		death->code = witness->code;
		death->message = witness->message;
		bounds->deadly = death;
	}
}

/*
 * A batch is through: what was not deadly was not guilty.  Where the projection
 * has stopped, who lets it go on has mended something.
 */
static void
turn_acquit(const EsProjection *projection, EsWitness *witness, const EsAdvanceBounds *bounds)
{
	bool is_stopped = projection->state != ES_PROJECTION_RUNNING;

	if (is_stopped)
		witness->suspects = 0;
	else if (witness->suspects > 0 && projection->position > witness->suspects_after)
	{
		witness->suspects--;
		witness->suspects_after = projection->position;
		witness->is_deadly = false;
	}
	/* After a deadly one that was skipped, the pauses go on growing. */
	if (is_stopped || bounds->deadly == NULL)
		witness->pause_ms = 0;
}

/* Whether to write down, this time, what a projection's tables have. */
static bool
turn_notes_needs(TurnNote *note)
{
	TimestampTz now = GetCurrentTimestamp();

	if (!TimestampDifferenceExceeds(note->noted_at, now, TURN_NOTE_MS))
		return false;
	note->noted_at = now;
	return true;
}

/* Apply a batch; returns how many events it had. */
static int64
turn_apply(TurnNote *note, EsProjection *projection)
{
	EsAdvanceBounds bounds = {.upto = es_order_head(NULL), .max_count = note->size};
	EsProjectionError death;
	EsWitness *witness = &note->witness;
	int64 count;

	turn_mind_suspects(projection, witness, &bounds, &death);
	bounds.until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), TURN_MOST_MS);
	witness->after = projection->position;
	witness->upto = bounds.upto;
	witness->count = bounds.max_count;
	es_witness_begin(witness);
	note->is_at_work = true;
	es_progress_show(note->name, ES_ACTIVITY_RUN, 0, 0);
	count = es_run_async(projection, &bounds, turn_notes_needs(note));
	es_progress_hide();
	turn_acquit(projection, witness, &bounds);
	es_witness_end(witness);
	note->is_at_work = false;
	return count;
}

/*
 * Apply a batch to a projection, if nobody else does.  Returns whether it has
 * moved.
 */
static bool
turn_run(TurnNote *note)
{
	EsProjection *projection;
	TimestampTz begun = GetCurrentTimestamp();
	bool has_moved = false;

	if (!es_projection_try_lock(note->name))
		return false;
	projection = es_projection_find(note->name);
	if (projection == NULL || projection->is_inline || projection->state != ES_PROJECTION_RUNNING)
		return false;
	es_witness_read(note->name, &note->witness);
	if (note->witness.state != ES_WITNESS_IDLE)
		turn_judge(projection, &note->witness);
	note->due = note->witness.is_deadly ? 0 : note->witness.due;
	if (note->due <= begun)
	{
		int64 before = projection->position;
		int64 count = turn_apply(note, projection);

		turn_measure(note, count, begun);
		has_moved = projection->position != before;
	}
	return has_moved;
}

static bool
turn_attempt(TurnNote *note, MemoryContext context)
{
	volatile bool has_moved = false;

	PG_TRY();
	{
		es_turn_begin_transaction();
		has_moved = turn_run(note);
		es_turn_end_transaction();
	}
	PG_CATCH();
	{
		turn_give_up(note, context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	return has_moved;
}

/*
 * Apply a batch to a projection, unless it has to wait.  Returns whether it has
 * moved.
 *
 * context: for errors.
 */
bool
es_turn_try(const char *name, MemoryContext context)
{
	TurnNote *note = turn_get_note(name);

	return note->due <= GetCurrentTimestamp() && turn_attempt(note, context);
}
