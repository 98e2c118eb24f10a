/*-------------------------------------------------------------------------
 *
 * read_query.c
 *		The verb that reads what a decision depends on: es_read_query.
 *
 * The items of the query are read side by side, in order of position
 * (condition/match.c), and merged; an event that several match comes once.
 * Like the other readers across streams it goes up to the head, under the
 * snapshot that goes with it, and sees what row security lets the caller see.
 *
 * Memory: the function call's context, the tuplestore in the query's.  Locks:
 * AccessShare on the table and its indexes.  Calls: arguments, catalog, match,
 * order, query, see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/tuplestore.h"

#include "base/arguments.h"
#include "base/catalog.h"
#include "base/scan.h"
#include "condition/match.h"
#include "condition/query.h"
#include "order/order.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_read_query);

typedef struct ReadQueryState
{
	EsQuery *query;
	EsMatchRange range;
	bool is_limited;  /* there may be events that the caller may not see */
	EsMatch *matches; /* one an item */
	bool *has_match;  /* it stands at one */
} ReadQueryState;

static void
read_query_begin(ReadQueryState *state)
{
	int i;

	state->matches = palloc(sizeof(EsMatch) * state->query->item_count);
	state->has_match = palloc(sizeof(bool) * state->query->item_count);
	for (i = 0; i < state->query->item_count; i++)
	{
		es_match_begin(&state->matches[i], &state->query->items[i], &state->range);
		state->has_match[i] = es_match_next(&state->matches[i]);
	}
}

static void
read_query_end(ReadQueryState *state)
{
	int i;

	for (i = 0; i < state->query->item_count; i++)
		es_match_end(&state->matches[i]);
}

/* The match that comes next on the way; NULL: none does. */
static EsMatch *
read_query_get_next(ReadQueryState *state)
{
	bool is_forward = ScanDirectionIsForward(state->range.direction);
	EsMatch *next = NULL;
	int i;

	for (i = 0; i < state->query->item_count; i++)
	{
		EsMatch *match = &state->matches[i];

		if (state->has_match[i] &&
			(next == NULL ||
			 (is_forward ? match->position < next->position : match->position > next->position)))
			next = match;
	}
	return next;
}

/* Move on every item that stands at a position. */
static void
read_query_pass(ReadQueryState *state, int64 position)
{
	int i;

	for (i = 0; i < state->query->item_count; i++)
		if (state->has_match[i] && state->matches[i].position == position)
			state->has_match[i] = es_match_next(&state->matches[i]);
}

/* Whether the caller may see a match. */
static bool
read_query_may_see(const ReadQueryState *state, const EsMatch *match)
{
	return !state->is_limited ||
		es_see_slot(state->range.events, match->slot, GetUserId(), state->range.snapshot);
}

/* Hand at most max_count events to the caller. */
static void
read_query_run(ReadQueryState *state, ReturnSetInfo *result, int64 max_count)
{
	EsMatch *match;
	int64 count = 0;

	state->is_limited = es_see_is_limited(state->range.events, GetUserId());
	read_query_begin(state);
	while (count < max_count && (match = read_query_get_next(state)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (read_query_may_see(state, match))
		{
			slot_getsomeattrs(match->slot, Natts_event);
			tuplestore_putvalues(result->setResult, result->setDesc, match->slot->tts_values,
								 match->slot->tts_isnull);
			count++;
		}
		read_query_pass(state, match->position);
	}
	read_query_end(state);
}

/*
 * es_read_query(query jsonb, after_position bigint = 0, max_count bigint = 1000,
 *				 backward boolean = false) -> SETOF eventstore.event
 *
 * Forward: position > after_position.  Backward: position < after_position,
 * where 0 means from the head.
 */
Datum
es_read_query(PG_FUNCTION_ARGS)
{
	ReadQueryState state;
	int64 after;
	int64 max_count;
	EsView view;

	PreventCommandIfParallelMode("es_read_query()");
	es_arguments_check_not_null(fcinfo, 0, "query");
	state.query = es_query_read(PG_GETARG_JSONB_P(0));
	after = es_arguments_get_position(fcinfo, 1, "after_position");
	max_count = es_arguments_get_max_count(fcinfo, 2);
	state.range.direction = es_arguments_get_direction(fcinfo, 3);

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	state.range.events = es_catalog_open(ES_EVENTS, AccessShareLock);
	es_order_begin_view(&view);
	state.range.snapshot = view.snapshot;
	state.range.above = ScanDirectionIsForward(state.range.direction) ? after : 0;
	state.range.at_most = view.head;
	if (ScanDirectionIsBackward(state.range.direction) && after > 0)
		state.range.at_most = Min(view.head, after - 1);
	if (max_count > 0)
		read_query_run(&state, (ReturnSetInfo *) fcinfo->resultinfo, max_count);
	es_order_end_view(&view);
	relation_close(state.range.events, NoLock);
	return (Datum) 0;
}
