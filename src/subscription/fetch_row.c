/*-------------------------------------------------------------------------
 *
 * fetch_row.c
 *		The rows that es_fetch returns: an event's columns, and three more.
 *
 * Memory: the current context.  Locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "subscription/fetch_row.h"

#define Anum_fetch_partition 11
#define Anum_fetch_token     12
#define Anum_fetch_attempt   13
#define Natts_fetch          13

/*
 * Whether a row of events is stored with exactly the columns that a delivery
 * begins with, so that the others can be put behind it as it is.
 */
static bool
fetch_row_is_plain(HeapTuple event, TupleDesc desc)
{
	return desc->natts == Natts_event && HeapTupleHeaderGetNatts(event->t_data) == Natts_event;
}

/*
 * The row of a delivery, made of that of the event without taking it apart:
 * taking it apart and putting it together would be a third of the work of a
 * fetch.  The three columns behind it need as many bytes in the null bitmap.
 */
static MinimalTuple
fetch_row_make_quickly(HeapTuple event, const EsFetchRowExtra *extra)
{
	Size event_length = event->t_len - MINIMAL_TUPLE_OFFSET;
	Size start = event->t_data->t_hoff - MINIMAL_TUPLE_OFFSET;
	Size at = start + INTALIGN(event_length - start);
	Size token_at = start + DOUBLEALIGN(at - start + sizeof(int32));
	Size length = token_at + sizeof(int64) + sizeof(int32);
	char *row = palloc0(length);
	MinimalTuple tuple = (MinimalTuple) row;
	int32 number = extra->partition;

	Assert(BITMAPLEN(Natts_event) == BITMAPLEN(Natts_fetch));
	memcpy(row, (char *) event->t_data + MINIMAL_TUPLE_OFFSET, event_length);
	memcpy(row + at, &number, sizeof(number));
	memcpy(row + token_at, &extra->token, sizeof(extra->token));
	number = extra->attempt;
	memcpy(row + token_at + sizeof(extra->token), &number, sizeof(number));

	tuple->t_len = (uint32) length;
	HeapTupleHeaderSetNatts(tuple, Natts_fetch);
	if (tuple->t_infomask & HEAP_HASNULL)
	{
		int column;

		for (column = Natts_event; column < Natts_fetch; column++)
			tuple->t_bits[column >> 3] |= (bits8) (1 << (column & 7));
	}
	return tuple;
}

/* The same for a table to which somebody has added columns. */
static MinimalTuple
fetch_row_make_slowly(TupleTableSlot *slot, TupleDesc desc, const EsFetchRowExtra *extra)
{
	Datum values[Natts_fetch];
	bool nulls[Natts_fetch] = {false};

	slot_getsomeattrs(slot, Natts_event);
	memcpy(values, slot->tts_values, sizeof(Datum) * Natts_event);
	memcpy(nulls, slot->tts_isnull, sizeof(bool) * Natts_event);
	values[Anum_fetch_partition - 1] = Int32GetDatum(extra->partition);
	values[Anum_fetch_token - 1] = Int64GetDatum(extra->token);
	values[Anum_fetch_attempt - 1] = Int32GetDatum(extra->attempt);
	return es_compat_form_minimal_tuple(desc, values, nulls);
}

/*
 * Make the row of a delivery.
 *
 * event: holds the row of eventstore.events.
 * desc: of the result.
 */
MinimalTuple
es_fetch_row_make(TupleTableSlot *event, TupleDesc desc, const EsFetchRowExtra *extra)
{
	HeapTuple row = ExecFetchSlotHeapTuple(event, false, NULL);

	if (fetch_row_is_plain(row, event->tts_tupleDescriptor))
		return fetch_row_make_quickly(row, extra);
	return fetch_row_make_slowly(event, desc, extra);
}
