/*-------------------------------------------------------------------------
 *
 * takeover.c
 *		From when on, and until when, appends apply an inline projection.
 *
 * They take over in two steps: the projection is applied to what is stored,
 * while appends go on; then appends are kept waiting for the moment that the
 * rest takes.  Where one that is to stop at errors meets one, it stays as far as it
 * has come.
 *
 * Memory: the current context.  Locks: the caller holds the projection's; at
 * last barrier.c's, to the end of the transaction.  Calls: advance, apply,
 * barrier, member, omission, order, projection, stale.  User code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "order/member.h"
#include "order/order.h"
#include "projection/advance.h"
#include "projection/barrier.h"
#include "projection/definition.h"
#include "projection/omission.h"
#include "projection/stale.h"
#include "projection/takeover.h"

/*
 * What it begins with: an inline projection that has missed events goes back to
 * the first of them, and those that it has not missed are passed over.
 */
typedef struct Takeover
{
	EsProjection *projection;
	EsApplier *applier;
	int64 position; /* the projection's own */
	int64 events_applied;
	int64 missed_after; /* it has gone back to here */
} Takeover;

/*
 * What it has missed is asked for anew: an append that was in flight when it
 * stopped may have stopped it further down.
 */
static void
takeover_begin(Takeover *takeover)
{
	EsProjection *projection = takeover->projection;

	takeover->position = projection->position;
	takeover->events_applied = projection->events_applied;
	projection->first_missed = es_omission_first(ES_OMISSION_MISSED, projection->name);
	if (projection->first_missed == 0)
		return;
	projection->missed_upto = projection->notes_missed ? PG_INT64_MAX : projection->position;
	projection->position = takeover->missed_after = projection->first_missed - 1;
}

/* Whether there is something to apply it to; appends have applied what it has not missed. */
static bool
takeover_is_due(const Takeover *takeover, int64 upto)
{
	const EsProjection *projection = takeover->projection;

	return (projection->first_missed != 0 || !projection->notes_missed) &&
		projection->position < upto;
}

/*
 * The projection is where it is.  Of one that appends have applied, and noted
 * what it missed, only that changes: as if it had not stopped.
 */
static void
takeover_end(Takeover *takeover)
{
	EsProjection *projection = takeover->projection;

	if (projection->first_missed == 0)
		return;
	es_definition_forget_missed(projection->name, takeover->missed_after, projection->position);
	projection->position = Max(projection->position, takeover->position);
	projection->missed_upto = 0;
	if (!projection->notes_missed)
		return;
	projection->position = takeover->position;
	projection->events_applied = takeover->events_applied;
}

/*
 * Apply an inline projection to what is stored.  Returns false if it stops at an
 * event; if it is not one to stop, SE006 is raised.
 */
static bool
takeover_advance(Takeover *takeover, int64 upto)
{
	EsAdvanceBounds bounds = {.upto = upto, .max_count = PG_INT64_MAX};
	EsProjection *projection = takeover->projection;
	EsProjectionError error;

	(void) es_advance(projection, takeover->applier, &bounds, &error);
	if (error.code == 0)
		return true;
	if (projection->on_error != ES_ON_ERROR_STOP)
		es_projection_raise(projection, &error);
	takeover_end(takeover);
	es_definition_note_stop(projection->name, &error);
	es_definition_save(projection, &error);
	es_projection_warn(projection, &error);
	return false;
}

/*
 * Apply an inline projection to what is stored, and let appends take over; save
 * what comes of it.
 *
 * Its SQL may append, and others answer that; as long as it has not taken over,
 * such answers are more for it to be applied to.
 */
void
es_takeover_start(EsProjection *projection, EsApplier *applier)
{
	Takeover takeover = {.projection = projection, .applier = applier};
	int64 last;
	int rounds = 0;

	if (es_member_get()->is_mirror)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a mirror has no inline projections"),
				 errdetail("Appends apply them, and its events come by logical replication."),
				 errhint("Make projection \"%s\" an async one.", projection->name)));
	takeover_begin(&takeover);
	last = es_order_head(NULL);
	if (takeover_is_due(&takeover, last) && !takeover_advance(&takeover, last))
		return;
	takeover_end(&takeover);
	last = es_barrier_raise();
	takeover_begin(&takeover);
	while (takeover_is_due(&takeover, last))
	{
		if (++rounds > ES_APPLY_MAX_DEPTH)
			ereport(ERROR,
					(errcode(ES_ERRCODE_PROJECTION_FAILED),
					 errmsg("projection \"%s\" failed", projection->name),
					 errdetail("Projections answer each other's events, %d times.", rounds - 1),
					 errhint("Two projections that answer each other's events never end; give them filters.")));
		if (!takeover_advance(&takeover, last))
			return;
		last = es_order_last();
	}
	takeover_end(&takeover);
	projection->state = ES_PROJECTION_RUNNING;
	es_definition_save(projection, NULL);
}

/*
 * Appends do not apply an inline projection from now on, nor note what it misses.
 * One that is stale they do not apply already; how far it was nobody knows.
 */
void
es_takeover_stop(EsProjection *projection)
{
	int64 last = es_barrier_raise();

	/* Asked for now, as the last append may have noticed it. */
	if (es_stale_find(projection->name, NULL))
		return;
	projection->events_applied += es_advance_count(projection, projection->position, last) -
		list_length(es_omission_list(ES_OMISSION_MISSED, projection->name, projection->position,
									 last, NULL));
	projection->position = last;
}
