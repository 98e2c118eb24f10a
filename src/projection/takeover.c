/*-------------------------------------------------------------------------
 *
 * takeover.c
 *		From when on, and until when, appends apply an inline projection.
 *
 * They take over in two steps: the projection is applied to what is stored,
 * while appends go on; then appends are kept waiting for the moment that the
 * rest takes.
 *
 * Memory: the current context.  Locks: the caller holds the projection's; at
 * last barrier.c's, to the end of the transaction.  Calls: advance, apply,
 * barrier, order, stale.  User code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "base/errors.h"
#include "order/order.h"
#include "projection/advance.h"
#include "projection/barrier.h"
#include "projection/stale.h"
#include "projection/takeover.h"

/* Raise SE006 where an inline projection can't be applied to what is stored. */
static void
takeover_advance(EsProjection *projection, EsApplier *applier, int64 upto)
{
	EsAdvanceBounds bounds = {.upto = upto, .max_count = PG_INT64_MAX};
	EsProjectionError error;

	(void) es_advance(projection, applier, &bounds, &error);
	if (error.code != 0)
		es_projection_raise(projection, &error);
}

/*
 * Apply an inline projection to what is stored, and let appends take over.
 *
 * Its SQL may append, and others answer that; as long as it has not taken over,
 * such answers are more for it to be applied to.
 */
void
es_takeover_start(EsProjection *projection, EsApplier *applier)
{
	int64 last;
	int rounds = 0;

	takeover_advance(projection, applier, es_order_head(NULL));
	last = es_barrier_raise();
	while (projection->position < last)
	{
		if (++rounds > ES_APPLY_MAX_DEPTH)
			ereport(ERROR,
					(errcode(ES_ERRCODE_PROJECTION_FAILED),
					 errmsg("projection \"%s\" failed", projection->name),
					 errdetail("Projections answer each other's events, %d times.", rounds - 1),
					 errhint("Two projections that answer each other's events never end; give them filters.")));
		takeover_advance(projection, applier, last);
		last = es_order_last();
	}
	projection->state = ES_PROJECTION_RUNNING;
}

/*
 * Appends do not apply an inline projection from now on.  One that is stale they
 * do not apply already; how far it was nobody knows.
 */
void
es_takeover_stop(EsProjection *projection)
{
	int64 last = es_barrier_raise();

	/* Asked for now, as the last append may have noticed it. */
	if (es_stale_find(projection->name, NULL))
		return;
	projection->events_applied += es_advance_count(projection, projection->position, last);
	projection->position = last;
}
