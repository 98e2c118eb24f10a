/*-------------------------------------------------------------------------
 *
 * unread.c
 *		How far behind who follows the events is: the first that it has to do.
 *
 * A filter may match little, and whoever is behind may be so by millions of
 * events; a question that is asked every few seconds must not look at them all.
 * So it looks at the first events after where the follower stands, and if none of
 * them matches, at the last ones before the head: what is found there is at
 * least an event that is not done.  Only who waits for something that is
 * neither among the first nor among the last thousand is taken not to be behind.
 *
 * Memory: the call's context.  Locks: AccessShare on eventstore.events.  Calls:
 * catalog, order, partition, rights, scan.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/names.h"
#include "base/partition.h"
#include "base/scan.h"
#include "order/order.h"
#include "rights/bound.h"

PG_FUNCTION_INFO_V1(es_find_unread);

/* Events to look at, from each end. */
#define UNREAD_LOOK 1000

/* Which events a follower wants. */
typedef struct Unread
{
	int64 after;
	Datum *categories; /* text; NULL: all */
	int category_count;
	Datum *types; /* text; NULL: all */
	int type_count;
	const text *tenant; /* NULL: all */
	int partitions;     /* 0: all of them, else ... */
	Bitmapset *mine;    /* ... these */

	/* What was found. */
	int64 position; /* 0: nothing */
	TimestampTz recorded_at;
} Unread;

static Datum *
unread_get_texts(FunctionCallInfo fcinfo, int argument, int *count)
{
	Datum *texts;

	*count = 0;
	if (PG_ARGISNULL(argument))
		return NULL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), TEXTOID, -1, false, TYPALIGN_INT, &texts,
					  NULL, count);
	return texts;
}

static bool
unread_has_type(const Unread *unread, const text *type)
{
	int i;

	if (unread->types == NULL)
		return true;
	for (i = 0; i < unread->type_count; i++)
		if (es_names_equal(type, (const text *) DatumGetPointer(unread->types[i])))
			return true;
	return false;
}

static void
unread_get_partitions(FunctionCallInfo fcinfo, int argument, Unread *unread)
{
	Datum *numbers;
	int count;
	int i;

	if (PG_ARGISNULL(argument) || PG_ARGISNULL(argument + 1))
		return;
	unread->partitions = PG_GETARG_INT32(argument);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument + 1), INT4OID, sizeof(int32), true,
					  TYPALIGN_INT, &numbers, NULL, &count);
	for (i = 0; i < count; i++)
		unread->mine = bms_add_member(unread->mine, DatumGetInt32(numbers[i]));
}

static bool
unread_has_partition(const Unread *unread, const text *stream)
{
	return unread->partitions == 0 ||
		bms_is_member(es_partition_number(stream, unread->partitions), unread->mine);
}

static bool
unread_matches(const Unread *unread, TupleTableSlot *slot)
{
	bool is_null;
	const text *stream = DatumGetTextPP(slot_getattr(slot, Anum_events_stream, &is_null));

	return unread_has_type(unread, DatumGetTextPP(slot_getattr(slot, Anum_events_type, &is_null))) &&
		(unread->tenant == NULL || es_bound_has_tenant(stream, unread->tenant)) &&
		unread_has_partition(unread, stream);
}

/* Keep an event, if it comes before what is known. */
static void
unread_keep(Unread *unread, TupleTableSlot *slot)
{
	bool is_null;
	int64 position = DatumGetInt64(slot_getattr(slot, Anum_events_position, &is_null));

	if (unread->position != 0 && unread->position <= position)
		return;
	unread->position = position;
	unread->recorded_at = DatumGetTimestampTz(slot_getattr(slot, Anum_events_recorded_at, &is_null));
}

/*
 * Look at the first events of a category, or of all, or at the last ones.
 * Returns whether there are more than these.
 */
static bool
unread_look(Unread *unread, Relation events, const text *category, const EsView *view,
			ScanDirection direction)
{
	bool is_found = false;
	AttrNumber column = 1;
	int count = 0;
	EsScan scan;

	es_scan_open(&scan, events, category != NULL ? ES_EVENTS_CATEGORY_POSITION : ES_EVENTS_PKEY);
	if (category != NULL)
		es_scan_add_key(&scan, column++, BTEqualStrategyNumber, F_TEXTEQ, PointerGetDatum(category));
	es_scan_add_key(&scan, column, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(unread->after));
	es_scan_add_key(&scan, column, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(view->head));
	/* Whoever asks for health does not wait for another server; what comes later is not done either. */
	scan.is_local = true;
	es_scan_begin(&scan, view->snapshot);
	while (!is_found && count < UNREAD_LOOK && es_scan_next(&scan, direction))
	{
		CHECK_FOR_INTERRUPTS();
		count++;
		if (!unread_matches(unread, scan.slot))
			continue;
		unread_keep(unread, scan.slot);
		/* Backward, the one that was there first is the best that is known. */
		is_found = ScanDirectionIsForward(direction);
	}
	es_scan_close(&scan);
	return !is_found && count == UNREAD_LOOK;
}

static void
unread_find(Unread *unread, Relation events, const EsView *view)
{
	int i;

	for (i = 0; i < (unread->categories == NULL ? 1 : unread->category_count); i++)
	{
		const text *category = unread->categories == NULL
			? NULL
			: (const text *) DatumGetPointer(unread->categories[i]);

		if (unread_look(unread, events, category, view, ForwardScanDirection))
			(void) unread_look(unread, events, category, view, BackwardScanDirection);
	}
}

/*
 * eventstore.find_unread(after bigint, categories text[], types text[], tenant text,
 *		partitions int, mine int[]) -> (position bigint, recorded_at timestamptz)
 *
 * Nulls: any category, type, tenant, partition; where after is null, there is
 * nothing.
 */
Datum
es_find_unread(PG_FUNCTION_ARGS)
{
	Unread unread = {0};
	Datum values[2] = {0};
	bool nulls[2] = {true, true};
	TupleDesc desc;

	PreventCommandIfParallelMode("eventstore.find_unread()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type is not a row type");
	if (!PG_ARGISNULL(0))
	{
		Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
		EsView view;

		unread.after = PG_GETARG_INT64(0);
		unread.categories = unread_get_texts(fcinfo, 1, &unread.category_count);
		unread.types = unread_get_texts(fcinfo, 2, &unread.type_count);
		unread.tenant = PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3);
		unread_get_partitions(fcinfo, 4, &unread);
		es_order_begin_view(&view);
		unread_find(&unread, events, &view);
		es_order_end_view(&view);
		relation_close(events, NoLock);
	}
	if (unread.position != 0)
	{
		values[0] = Int64GetDatum(unread.position);
		values[1] = TimestampTzGetDatum(unread.recorded_at);
		nulls[0] = nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
