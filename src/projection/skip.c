/*-------------------------------------------------------------------------
 *
 * skip.c
 *		es_skip_event: let a projection go on without an event.
 *
 * The event is noted (omission.c), and everything that applies the projection
 * leaves it out from then on: appends and runners, rebuilds, checks, looks into
 * the past.  Only an event that the projection was not applied to can be skipped.
 *
 * Memory: the function call's context.  Locks: the projection's, to the end of
 * the transaction; where an inline one goes on, takeover.c's.  Calls: advance,
 * omission, project, projection.  User code runs here, where the projection goes
 * on.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "projection/advance.h"
#include "projection/definition.h"
#include "projection/omission.h"
#include "projection/project.h"

PG_FUNCTION_INFO_V1(es_skip_event);

static bool
skip_is_among(EsOmission why, const EsProjection *projection, int64 position)
{
	return es_omission_list(why, projection->name, position - 1, position, NULL) != NIL;
}

/* Raise unless a projection has an event at a position, which it is not past. */
static void
skip_check(const EsProjection *projection, int64 position)
{
	EsProjection before = *projection;

	if (position <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("position must be positive")));
	if (skip_is_among(ES_OMISSION_SKIPPED, projection, position))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("projection \"%s\" skips the event at position %lld already", projection->name,
						(long long) position)));
	if (skip_is_among(ES_OMISSION_MISSED, projection, position))
		return;
	before.position = position - 1;
	if (es_advance_next(&before, position) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("projection \"%s\" has no event at position %lld", projection->name,
						(long long) position)));
	if (es_project_minds_appends(projection) || position <= projection->position)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("projection \"%s\" has been applied to the event at position %lld",
						projection->name, (long long) position)));
}

/* Whether a projection that has stopped stands at a position. */
static bool
skip_is_next(const EsProjection *projection, int64 position)
{
	if (projection->state != ES_PROJECTION_FAILED)
		return false;
	return position ==
		(projection->first_missed != 0 ? projection->first_missed
									   : es_advance_next(projection, position));
}

/*
 * es_skip_event(name text, position bigint, reason text = NULL) -> void
 */
Datum
es_skip_event(PG_FUNCTION_ARGS)
{
	EsProjection *projection = es_project_get(fcinfo, "es_skip_event()");
	const char *reason = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	int64 position;
	bool goes_on;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("position must not be null")));
	position = PG_GETARG_INT64(1);
	es_projection_check_owner(projection);
	skip_check(projection, position);
	goes_on = skip_is_next(projection, position);
	es_definition_skip(projection, position, reason);
	if (goes_on)
		es_project_go_on(projection);
	PG_RETURN_VOID();
}
