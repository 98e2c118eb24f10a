/*-------------------------------------------------------------------------
 *
 * export.c
 *		The verb that gives events as JSON: es_export.
 *
 * It returns a line at a time and keeps no more than a portion of them, so a
 * store of any size goes through it.  Nothing is held from one portion to the
 * next: each is read after the last position that was seen, up to the head as it
 * was at the first.  Below that nothing can appear any more, so portions of
 * different moments fit together; what is forgotten or redacted meanwhile is not
 * there, or blanked, from the next portion on.
 *
 * Memory: what is between calls, in the context that lasts for all of them; a
 * portion in one of its own.  Locks: AccessShare on the table and an index.
 * Calls: arguments, bound, catalog, line, order, scan, see.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/scan.h"
#include "move/line.h"
#include "order/order.h"
#include "rights/bound.h"
#include "rights/see.h"

PG_FUNCTION_INFO_V1(es_export);

/* A portion ends with so many lines, or once they have so many bytes. */
#define EXPORT_LINES 1000
#define EXPORT_BYTES (1024 * 1024)

typedef struct ExportState
{
	int64 after;
	int64 upto;
	text *category; /* NULL: all */
	text *tenant;   /* NULL: all */
	bool is_over;   /* nothing comes after this portion */

	MemoryContext portion;
	Jsonb *lines[EXPORT_LINES];
	int line_count;
	int next;
} ExportState;

/* A copy of a text argument; NULL if it is null. */
static text *
export_get_text(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL : DatumGetTextPCopy(PG_GETARG_DATUM(argument));
}

static ExportState *
export_begin(FunctionCallInfo fcinfo)
{
	ExportState *state = palloc0(sizeof(ExportState));

	PreventCommandIfParallelMode("es_export()");
	state->after = es_arguments_get_position(fcinfo, 0, "after_position");
	state->upto = PG_ARGISNULL(1) ? PG_INT64_MAX : es_arguments_get_position(fcinfo, 1, "upto");
	state->category = export_get_text(fcinfo, 2);
	state->tenant = export_get_text(fcinfo, 3);
	if (state->tenant != NULL)
		es_names_check_tenant(state->tenant);
	state->portion = AllocSetContextCreate(CurrentMemoryContext, "eventstore portion",
										   ALLOCSET_DEFAULT_SIZES);
	return state;
}

/* Add the event in a slot to the portion; returns the size of its line. */
static Size
export_add(ExportState *state, TupleTableSlot *slot, MemoryContext row)
{
	MemoryContext portion = MemoryContextSwitchTo(row);
	Jsonb *line;
	Size size;

	slot_getsomeattrs(slot, Natts_event);
	line = es_line_write(slot->tts_values, slot->tts_isnull);
	size = VARSIZE(line);
	MemoryContextSwitchTo(portion);
	state->lines[state->line_count] = memcpy(palloc(size), line, size);
	state->line_count++;
	MemoryContextReset(row);
	return size;
}

static void
export_scan(ExportState *state, EsScan *scan)
{
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "eventstore row",
											  ALLOCSET_DEFAULT_SIZES);
	Size bytes = 0;

	while (state->line_count < EXPORT_LINES && bytes < EXPORT_BYTES)
	{
		bool is_null;
		const text *stream;

		CHECK_FOR_INTERRUPTS();
		if (!es_scan_next(scan, ForwardScanDirection))
		{
			state->is_over = true;
			break;
		}
		state->after = DatumGetInt64(slot_getattr(scan->slot, Anum_events_position, &is_null));
		stream = DatumGetTextPP(slot_getattr(scan->slot, Anum_events_stream, &is_null));
		if (state->tenant == NULL || es_bound_has_tenant(stream, state->tenant))
			bytes += export_add(state, scan->slot, row);
	}
	MemoryContextDelete(row);
}

/* Read the next portion. */
static void
export_fill(ExportState *state)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	AttrNumber column = 1;
	EsScan scan;
	EsView view;

	es_order_begin_view(&view);
	state->upto = Min(state->upto, view.head);
	es_scan_open(&scan, events,
				 state->category != NULL ? ES_EVENTS_CATEGORY_POSITION : ES_EVENTS_PKEY);
	if (state->category != NULL)
		es_scan_add_key(&scan, column++, BTEqualStrategyNumber, F_TEXTEQ,
						PointerGetDatum(state->category));
	es_scan_add_key(&scan, column, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(state->after));
	es_scan_add_key(&scan, column, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(state->upto));
	es_see_as(&scan, GetUserId(), ForwardScanDirection);
	es_scan_begin(&scan, view.snapshot);
	export_scan(state, &scan);
	es_scan_close(&scan);
	es_order_end_view(&view);
	relation_close(events, NoLock);
}

/* The next line; NULL: there is none. */
static Jsonb *
export_next(ExportState *state)
{
	while (state->next == state->line_count && !state->is_over)
	{
		MemoryContext caller = MemoryContextSwitchTo(state->portion);

		MemoryContextReset(state->portion);
		state->line_count = state->next = 0;
		export_fill(state);
		MemoryContextSwitchTo(caller);
	}
	return state->next < state->line_count ? state->lines[state->next++] : NULL;
}

/*
 * es_export(after_position bigint = 0, upto bigint = NULL, category text = NULL,
 *			 tenant text = NULL) -> SETOF jsonb
 */
Datum
es_export(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	Jsonb *line;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext caller;

		call = SRF_FIRSTCALL_INIT();
		caller = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		call->user_fctx = export_begin(fcinfo);
		MemoryContextSwitchTo(caller);
	}
	call = SRF_PERCALL_SETUP();
	line = export_next((ExportState *) call->user_fctx);
	if (line == NULL)
		SRF_RETURN_DONE(call);
	SRF_RETURN_NEXT(call, JsonbPGetDatum(line));
}
