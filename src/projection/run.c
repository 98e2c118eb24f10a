/*-------------------------------------------------------------------------
 *
 * run.c
 *		A step of an async projection.
 *
 * What es_run_projection does, and whoever else keeps async projections up to
 * date: the events up to the head are applied, and the checkpoint is moved, in
 * one transaction.
 *
 * Memory: the current context.  Locks: the caller holds the projection's; what
 * its SQL takes.  Calls: advance, apply, intact, omission, order, projection,
 * stale, whole.  User code runs here.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "order/order.h"
#include "projection/advance.h"
#include "projection/apply.h"
#include "projection/definition.h"
#include "projection/intact.h"
#include "projection/omission.h"
#include "projection/run.h"
#include "projection/stale.h"
#include "projection/whole.h"

/*
 * Whether a projection can not go on where it stands.  error: receives why.
 */
static bool
run_is_stale(const EsProjection *projection, EsProjectionError *error)
{
	EsStale stale;

	error->position = projection->position;
	error->code = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	if (es_stale_find(projection->name, &stale))
		error->message = stale.reason;
	else if (es_intact_is_lost(projection, &error->message))
		es_stale_note(projection->name, error->code, error->message);
	else
		return false;
	return true;
}

/*
 * Apply an async projection, whose lock is held, within bounds and up to the
 * head, and save how far it is.  Returns to how many events it was applied.
 *
 * notes: write down what its tables have.
 */
int64
es_run_async(EsProjection *projection, const EsAdvanceBounds *bounds, bool notes)
{
	EsAdvanceBounds settled = *bounds;
	EsApplier *applier = es_apply_make(projection);
	EsProjectionError error;
	EsView view;
	int64 before = projection->position;
	int64 count;
	ListCell *cell;

	if (run_is_stale(projection, &error))
	{
		projection->state = ES_PROJECTION_FAILED;
		es_definition_save(projection, &error);
		return 0;
	}
	es_order_begin_view(&view);
	es_order_end_view(&view);
	settled.upto = Min(bounds->upto, view.head);
	count = es_advance(projection, applier, &settled, &error);
	foreach (cell, projection->skipped)
	{
		const EsProjectionError *skipped = lfirst(cell);

		es_omission_add(ES_OMISSION_SKIPPED, projection->name, skipped->position, skipped);
	}
	if (projection->position != before || error.code != 0)
		es_definition_save(projection, error.code == 0 ? NULL : &error);
	if (notes && count > 0)
		es_whole_note(projection, es_apply_targets(applier));
	if (error.code != 0)
		es_projection_warn(projection, &error);
	return count;
}
