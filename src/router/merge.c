/*-------------------------------------------------------------------------
 *
 * merge.c
 *		Readers across streams, over cells: es_read_all and its kin of extension
 *		eventstore_router.
 *
 * A reader has a place in each feed.  The cells are asked for what comes after
 * those, for no more rows than are wanted of all of them together, and again
 * while rows are wanted and a cell may have more.  Events are returned in turn,
 * one of each feed, so that none has to wait for another that always has some;
 * with each goes the vector to go on from.
 *
 * A feed that goes on where another one ended, as that of a cell that was split
 * off, is asked only once that one is read up to there.  Backward it is the other
 * way round: what stands before is asked for once the feed that went on is read.
 *
 * In C, as in PL/pgSQL each row of a merge costs three times as much as all that
 * PL/Proxy does for it.  Which feeds there are, and what happens to a cell that
 * cannot be reached, is said in SQL: eventstore.begin_read, .collect_rows.
 *
 * Memory: what a round of asking brings, and a row, have contexts of their own,
 * inside SPI's; the tuplestore is the query's.  Locks: none.  Calls: arguments,
 * vector.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/pg_bswap.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/arguments.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "router/vector.h"

PG_FUNCTION_INFO_V1(es_router_read_all);
PG_FUNCTION_INFO_V1(es_router_read_category);
PG_FUNCTION_INFO_V1(es_router_read_query);

/* So many rows of a feed are asked for at once, at the most: PL/Proxy keeps them all in memory. */
#define MERGE_ROUND 2000

#define MERGE_COLUMNS (Natts_event + 2) /* the feed, and the vector after the event */

/*
 * The columns of eventstore.feed_row: the feed, the head, and the event, of
 * which id and recorded_at are what uuid_send and timestamptz_send make of them.
 */
#define ROW_EVENT   2
#define ROW_COLUMNS (ROW_EVENT + Natts_event)

typedef struct MergeFeed
{
	int32 feed;
	int32 cell;
	int parent;   /* the feed that it goes on from: which one of them; -1: none */
	int64 begins; /* its events are those after this position */
	int64 upto;   /* ... up to this one */
	int64 given; /* the last position that was returned, or passed; backward: before which to go on */
	int64 known; /* there is nothing up to here that was not returned; backward: nothing after here */
	int64 bound;  /* backward: what comes after this position is asked for in this round */
	bool is_done; /* there is nothing more to ask for */
	bool is_down; /* its cell was not reached */
	uint64 next;  /* its rows of this round: the next one */
	uint64 end;   /* ... and the one after the last */
} MergeFeed;

typedef struct Merge
{
	ReturnSetInfo *result;
	MergeFeed *feeds;
	int feed_count;
	EsVector vector;
	int64 wanted; /* so many rows more */
	bool is_backward;
	Datum filter[3];
	char filter_nulls[3]; /* types, category, query, as SPI marks nulls */
	MemoryContext row_memory;
} Merge;

static void
merge_run(const char *query, int argument_count, Oid *types, Datum *values, const char *nulls)
{
	if (SPI_execute_with_args(query, argument_count, types, values, nulls, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "the router cannot run \"%s\"", query);
}

static int64
merge_number(HeapTuple row, int column, int64 if_null)
{
	bool is_null;
	Datum value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &is_null);

	return is_null ? if_null : DatumGetInt64(value);
}

/* ----------------------------------------------------------------------
 * The feeds
 * ----------------------------------------------------------------------
 */

/* Where the reader stands in a feed: as the vector has it, or where it begins, or ends. */
static void
merge_find_begin(const Merge *merge, MergeFeed *feed)
{
	int64 position = 0;
	bool has_place = es_vector_find(&merge->vector, feed->feed, &position);

	if (merge->is_backward)
	{
		feed->given = has_place ? position : PG_INT64_MAX;
		if (feed->upto < PG_INT64_MAX)
			feed->given = Min(feed->given, feed->upto + 1);
		feed->known = PG_INT64_MAX;
		return;
	}
	feed->given = feed->known = Max(feed->begins, position);
	/* What is read to its end is not asked again. */
	feed->is_done = feed->given >= feed->upto;
}

/* Which feeds there are, those first that others go on from, and where the reader stands in each. */
static void
merge_find_feeds(Merge *merge, Datum after)
{
	Oid type = JSONBOID;
	int i;
	int j;

	merge_run("SELECT feed::bigint, cell::bigint, after_position, upto, parent::bigint FROM eventstore.begin_read($1)",
			  1, &type, &after, NULL);
	merge->feed_count = (int) SPI_processed;
	merge->feeds = palloc0(merge->feed_count * sizeof(MergeFeed));
	es_vector_read(&merge->vector, DatumGetJsonbP(after), merge->feed_count);
	for (i = 0; i < merge->feed_count; i++)
	{
		MergeFeed *feed = &merge->feeds[i];
		HeapTuple row = SPI_tuptable->vals[i];
		int64 parent = merge_number(row, 5, -1);
		feed->feed = (int32) merge_number(row, 1, 0);
		feed->cell = (int32) merge_number(row, 2, 0);
		feed->begins = merge_number(row, 3, 0);
		feed->upto = merge_number(row, 4, PG_INT64_MAX);
		feed->parent = -1;
		for (j = 0; j < merge->feed_count; j++)
			if (merge->feeds[j].feed == parent && j < i)
				feed->parent = j;
		merge_find_begin(merge, feed);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Whether there is nothing before its first event that would have to come first. */
static bool
merge_is_open(const Merge *merge, const MergeFeed *feed)
{
	const MergeFeed *parent;

	if (feed->parent < 0)
		return true;
	parent = &merge->feeds[feed->parent];
	return parent->given >= feed->begins || parent->known >= feed->begins;
}

/*
 * Backward: down to where a feed may be read before those that went on from it
 * are read to their beginnings.
 */
static int64
merge_find_bound(const Merge *merge, int which)
{
	int64 bound = merge->feeds[which].begins;
	int i;

	for (i = 0; i < merge->feed_count; i++)
		if (merge->feeds[i].parent == which && !merge->feeds[i].is_done)
			bound = Max(bound, merge->feeds[i].begins);
	return bound;
}

/* The feeds that may have more; returns how many. */
static int
merge_choose(Merge *merge, MergeFeed **asked)
{
	int count = 0;
	int i;

	for (i = 0; !merge->is_backward && i < merge->feed_count; i++)
		if (!merge->feeds[i].is_done && merge_is_open(merge, &merge->feeds[i]))
			asked[count++] = &merge->feeds[i];
	/* Those first that went on from others: that they are done lets the others be read further. */
	for (i = merge->feed_count - 1; merge->is_backward && i >= 0; i--)
	{
		MergeFeed *feed = &merge->feeds[i];
		bool is_read;

		feed->bound = merge_find_bound(merge, i);
		is_read = feed->known <= feed->bound || feed->given <= feed->bound + 1;
		feed->is_done = is_read && feed->bound == feed->begins;
		if (!is_read && !feed->is_down)
			asked[count++] = feed;
	}
	return count;
}

/* ----------------------------------------------------------------------
 * A round: asking, and returning what came
 * ----------------------------------------------------------------------
 */

/* Asks the cells for so many rows each of some feeds: SPI_tuptable has them then. */
static void
merge_ask(const Merge *merge, MergeFeed **asked, int count, int64 limit)
{
	Oid types[] = {INT4ARRAYOID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8OID,
				   TEXTARRAYOID, TEXTOID,      JSONBOID,     BOOLOID};
	char nulls[] = {' ',
					' ',
					' ',
					' ',
					' ',
					merge->filter_nulls[0],
					merge->filter_nulls[1],
					merge->filter_nulls[2],
					' '};
	Datum *columns = palloc(4 * count * sizeof(Datum));
	Datum values[9];
	int i;

	for (i = 0; i < count; i++)
	{
		columns[i] = Int32GetDatum(asked[i]->feed);
		columns[count + i] = Int32GetDatum(asked[i]->cell);
		/* Backward from 0 is from the head. */
		columns[2 * count + i] = Int64GetDatum(asked[i]->given == PG_INT64_MAX ? 0
																			   : asked[i]->given);
		columns[3 * count + i] = Int64GetDatum(merge->is_backward ? asked[i]->bound
																  : asked[i]->upto);
	}
	for (i = 0; i < 2; i++)
		values[i] = PointerGetDatum(construct_array(columns + i * count, count, INT4OID,
													sizeof(int32), true, TYPALIGN_INT));
	for (; i < 4; i++)
		values[i] = PointerGetDatum(construct_array(columns + i * count, count, INT8OID,
													sizeof(int64), FLOAT8PASSBYVAL,
													TYPALIGN_DOUBLE));
	values[4] = Int64GetDatum(limit);
	memcpy(values + 5, merge->filter, sizeof(merge->filter));
	values[8] = BoolGetDatum(merge->is_backward);
	merge_run("SELECT r.* FROM eventstore.collect_rows("
			  "ARRAY(SELECT ROW (f.feed, f.cell, f.given, f.upto, NULL)::eventstore.feeds "
			  "FROM unnest($1, $2, $3, $4) f(feed, cell, given, upto)), ROW ($5, $6, $7, $8, $9)) r",
			  lengthof(types), types, values, nulls);
}

static int32
merge_row_feed(uint64 row)
{
	bool is_null;

	return DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1, &is_null));
}

/* What is known of a feed by an answer, with the head of its cell, that has all there is to be had, or not. */
static void
merge_note_end(Merge *merge, MergeFeed *feed, int64 head, bool is_all)
{
	if (!merge->is_backward)
	{
		feed->is_done = is_all;
		if (is_all)
			feed->known = Max(feed->known, Min(head, feed->upto));
		return;
	}
	if (is_all)
		feed->known = feed->bound;
	if (feed->given == PG_INT64_MAX)
	{
		/* It began at the head as it was then: what comes meanwhile is not for those who go on from here. */
		feed->given = head + 1;
		es_vector_set(&merge->vector, feed->feed, feed->given);
	}
}

/*
 * Which rows are those of each feed, and what is known by them.  A feed's are
 * side by side, and have one without an event where there is none; no row at
 * all: its cell was not reached.
 */
static void
merge_sort_out(Merge *merge, MergeFeed **asked, int count, int64 limit)
{
	uint64 n = 0;
	int i;

	for (i = 0; i < count; i++)
		asked[i]->next = asked[i]->end = 0;
	while (n < SPI_processed)
	{
		int32 number = merge_row_feed(n);
		int64 head = merge_number(SPI_tuptable->vals[n], 2, 0);
		MergeFeed *feed = NULL;
		bool is_null;
		uint64 from = n;

		for (i = 0; i < count; i++)
			if (asked[i]->feed == number)
				feed = asked[i];
		while (n < SPI_processed && merge_row_feed(n) == number)
			n++;
		if (feed == NULL || feed->end > 0)
			elog(ERROR, "a cell has sent rows that it was not asked for");
		(void) SPI_getbinval(SPI_tuptable->vals[from], SPI_tuptable->tupdesc,
							 ROW_EVENT + Anum_events_position, &is_null);
		feed->next = is_null ? n : from;
		feed->end = n;
		merge_note_end(merge, feed, head, (int64) (feed->end - feed->next) < limit);
	}
	for (i = 0; i < count; i++)
		if (asked[i]->end == 0)
			asked[i]->is_done = asked[i]->is_down = true;
}

/* What *_send has made of a value: so many bytes. */
static const char *
merge_get_sent(Datum sent, int size)
{
	bytea *bytes = DatumGetByteaPP(sent);

	if (VARSIZE_ANY_EXHDR(bytes) != size)
		elog(ERROR, "a cell has sent %d bytes in place of %d", (int) VARSIZE_ANY_EXHDR(bytes), size);
	return VARDATA_ANY(bytes);
}

static Datum
merge_get_time(Datum sent)
{
	uint64 time;

	memcpy(&time, merge_get_sent(sent, sizeof(time)), sizeof(time));
	return TimestampTzGetDatum((TimestampTz) pg_ntoh64(time));
}

/* Returns the next row of a feed. */
static void
merge_return(Merge *merge, MergeFeed *feed)
{
	Datum columns[ROW_COLUMNS];
	bool are_null[ROW_COLUMNS];
	Datum values[MERGE_COLUMNS];
	bool nulls[MERGE_COLUMNS];
	MemoryContext outside;

	heap_deform_tuple(SPI_tuptable->vals[feed->next++], SPI_tuptable->tupdesc, columns, are_null);
	memcpy(values, columns + ROW_EVENT, Natts_event * sizeof(Datum));
	memcpy(nulls, are_null + ROW_EVENT, Natts_event * sizeof(bool));
	if (nulls[Anum_events_position - 1] || nulls[Anum_events_id - 1] ||
		nulls[Anum_events_recorded_at - 1])
		elog(ERROR, "a cell has sent a row without an event");
	if (!merge->is_backward && feed->parent >= 0 && merge->feeds[feed->parent].given < feed->begins)
	{
		/* It has nothing more up to there: it is passed. */
		merge->feeds[feed->parent].given = feed->begins;
		es_vector_set(&merge->vector, merge->feeds[feed->parent].feed, feed->begins);
	}
	feed->given = DatumGetInt64(values[Anum_events_position - 1]);
	if (!merge->is_backward)
		feed->known = Max(feed->known, feed->given);
	es_vector_set(&merge->vector, feed->feed, feed->given);
	outside = MemoryContextSwitchTo(merge->row_memory);
	values[Anum_events_id - 1] = UUIDPGetDatum(
		(pg_uuid_t *) merge_get_sent(values[Anum_events_id - 1], UUID_LEN));
	values[Anum_events_recorded_at - 1] = merge_get_time(values[Anum_events_recorded_at - 1]);
	values[Natts_event] = Int32GetDatum(feed->feed);
	values[Natts_event + 1] = es_vector_get(&merge->vector);
	nulls[Natts_event] = nulls[Natts_event + 1] = false;
	tuplestore_putvalues(merge->result->setResult, merge->result->setDesc, values, nulls);
	MemoryContextSwitchTo(outside);
	MemoryContextReset(merge->row_memory);
	merge->wanted--;
}

/* Asks the feeds that may have more, and returns what they have; false: there are none. */
static bool
merge_round(Merge *merge)
{
	MergeFeed **asked = palloc(merge->feed_count * sizeof(MergeFeed *));
	bool has_more = true;
	int count = merge_choose(merge, asked);
	int64 limit;
	int i;

	if (count == 0)
		return false;
	limit = Min(merge->wanted / count + (merge->wanted % count != 0), MERGE_ROUND);
	merge_ask(merge, asked, count, limit);
	merge_sort_out(merge, asked, count, limit);
	while (has_more)
	{
		CHECK_FOR_INTERRUPTS();
		has_more = false;
		for (i = 0; i < count && merge->wanted > 0; i++)
		{
			if (asked[i]->next >= asked[i]->end)
				continue;
			merge_return(merge, asked[i]);
			has_more = true;
		}
	}
	SPI_freetuptable(SPI_tuptable);
	return merge->wanted > 0;
}

/*
 * Reads after a vector, or backward before it, which is an argument, at most as
 * many events as another one says: those that the filter lets pass.
 */
static Datum
merge_read(FunctionCallInfo fcinfo, Merge *merge, int after, int max_count, int backward)
{
	MemoryContext outside;
	MemoryContext round_memory;
	bool has_more = true;

	merge->wanted = es_arguments_get_max_count(fcinfo, max_count);
	merge->is_backward = es_arguments_get_direction(fcinfo, backward) == BackwardScanDirection;
	if (PG_ARGISNULL(after))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("after must not be null"),
				 errhint("{} is the beginning.")));
	InitMaterializedSRF(fcinfo, 0);
	merge->result = (ReturnSetInfo *) fcinfo->resultinfo;
	SPI_connect();
	merge_find_feeds(merge, PG_GETARG_DATUM(after));
	merge->row_memory = AllocSetContextCreate(CurrentMemoryContext, "es_router row",
											  ALLOCSET_DEFAULT_SIZES);
	round_memory = AllocSetContextCreate(CurrentMemoryContext, "es_router round",
										 ALLOCSET_DEFAULT_SIZES);
	while (has_more && merge->wanted > 0)
	{
		outside = MemoryContextSwitchTo(round_memory);
		has_more = merge_round(merge);
		MemoryContextSwitchTo(outside);
		MemoryContextReset(round_memory);
	}
	SPI_finish();
	return (Datum) 0;
}

static void
merge_set_filter(FunctionCallInfo fcinfo, Merge *merge, int which, int argument)
{
	merge->filter[which] = PG_GETARG_DATUM(argument);
	merge->filter_nulls[which] = PG_ARGISNULL(argument) ? 'n' : ' ';
}

enum
{
	MERGE_TYPES,
	MERGE_CATEGORY,
	MERGE_QUERY
};

/* es_read_all(after jsonb, max_count bigint, types text[], backward boolean) → rows of an event, its feed, and the vector after it */
Datum
es_router_read_all(PG_FUNCTION_ARGS)
{
	Merge merge = {.filter_nulls = {'n', 'n', 'n'}};

	merge_set_filter(fcinfo, &merge, MERGE_TYPES, 2);
	return merge_read(fcinfo, &merge, 0, 1, 3);
}

/* es_read_category(category text, after jsonb, max_count bigint, types text[], backward boolean) → the same */
Datum
es_router_read_category(PG_FUNCTION_ARGS)
{
	Merge merge = {.filter_nulls = {'n', 'n', 'n'}};

	es_arguments_check_not_null(fcinfo, 0, "category");
	merge_set_filter(fcinfo, &merge, MERGE_CATEGORY, 0);
	merge_set_filter(fcinfo, &merge, MERGE_TYPES, 3);
	return merge_read(fcinfo, &merge, 1, 2, 4);
}

/* es_read_query(query jsonb, after jsonb, max_count bigint, backward boolean) → the same */
Datum
es_router_read_query(PG_FUNCTION_ARGS)
{
	Merge merge = {.filter_nulls = {'n', 'n', 'n'}};

	es_arguments_check_not_null(fcinfo, 0, "query");
	merge_set_filter(fcinfo, &merge, MERGE_QUERY, 0);
	return merge_read(fcinfo, &merge, 1, 2, 3);
}
