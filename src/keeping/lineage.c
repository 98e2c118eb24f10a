/*-------------------------------------------------------------------------
 *
 * lineage.c
 *		Whether each stream is what its events make of it.
 *
 * The rows of streams, where they begin, the events and the list of removed events
 * are sorted together: by a hash of the stream, which compares faster than names that begin
 * alike, by the stream, and by version.  Then each stream passes by once: its
 * row, its removed events, its events.  No index is asked, so it does not matter
 * whether they are right.
 *
 * Memory: the sort takes as much as it is told, and then disk; what is compared
 * is in the current context, one stream's name at a time.  Locks: none.  Calls:
 * findings, names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/tuplesort.h"

#include "base/compat.h"
#include "base/names.h"
#include "keeping/lineage.h"

enum
{
	LINEAGE_HASH = 1,
	LINEAGE_STREAM,
	LINEAGE_VERSION, /* of a row of streams: -1, so that it comes first */
	LINEAGE_KIND,
	LINEAGE_POSITION, /* of a row of streams: its version */
	LINEAGE_RECORDED_AT,
	LINEAGE_TOMBSTONED,
	LINEAGE_COLUMNS = LINEAGE_TOMBSTONED
};

#define LINEAGE_VALUE(slot, column) ((slot)->tts_values[(column) -1])

struct EsLineage
{
	Tuplesortstate *sort;
	TupleTableSlot *in;
	TupleTableSlot *out;
	EsFindings *findings;

	/* The stream that is passing by; NULL before the first. */
	text *stream;
	int64 hash;
	bool has_row;
	int64 row_version;
	TimestampTz row_recorded_at;
	bool is_tombstoned;
	int64 version; /* the last one, removed or not */
	int64 position;
	EsLineageKind last;
	TimestampTz recorded_at;
	bool has_events;
};

/*
 * Begin.
 *
 * memory: for the sort, in kB.
 */
EsLineage *
es_lineage_begin(int memory)
{
	EsLineage *lineage = palloc0(sizeof(EsLineage));
	TupleDesc desc = CreateTemplateTupleDesc(LINEAGE_COLUMNS);
	AttrNumber columns[] = {LINEAGE_HASH, LINEAGE_STREAM, LINEAGE_VERSION, LINEAGE_KIND};
	Oid operators[] = {Int8LessOperator, TextLessOperator, Int8LessOperator, Int4LessOperator};
	Oid collations[] = {InvalidOid, C_COLLATION_OID, InvalidOid, InvalidOid};
	bool nulls_first[] = {false, false, false, false};

	TupleDescInitEntry(desc, LINEAGE_HASH, "hash", INT8OID, -1, 0);
	TupleDescInitEntry(desc, LINEAGE_STREAM, "stream", TEXTOID, -1, 0);
	TupleDescInitEntry(desc, LINEAGE_VERSION, "version", INT8OID, -1, 0);
	TupleDescInitEntry(desc, LINEAGE_KIND, "kind", INT4OID, -1, 0);
	TupleDescInitEntry(desc, LINEAGE_POSITION, "position", INT8OID, -1, 0);
	TupleDescInitEntry(desc, LINEAGE_RECORDED_AT, "recorded_at", TIMESTAMPTZOID, -1, 0);
	TupleDescInitEntry(desc, LINEAGE_TOMBSTONED, "is_tombstoned", BOOLOID, -1, 0);
	lineage->in = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	memset(lineage->in->tts_isnull, false, sizeof(bool) * LINEAGE_COLUMNS);
	lineage->out = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	lineage->sort = tuplesort_begin_heap(desc, lengthof(columns), columns, operators, collations,
										 nulls_first, memory, NULL, TUPLESORT_NONE);
	return lineage;
}

void
es_lineage_end(EsLineage *lineage)
{
	tuplesort_end(lineage->sort);
	ExecDropSingleTupleTableSlot(lineage->in);
	ExecDropSingleTupleTableSlot(lineage->out);
	pfree(lineage);
}

/* Take something in; in any order. */
void
es_lineage_add(EsLineage *lineage, const EsLineageEntry *entry)
{
	text *stream = DatumGetTextPP(entry->stream);
	bool is_row = entry->kind == ES_LINEAGE_ROW;
	TupleTableSlot *slot = lineage->in;

	ExecClearTuple(slot);
	LINEAGE_VALUE(slot, LINEAGE_HASH) = UInt64GetDatum(
		hash_bytes_extended((unsigned char *) VARDATA_ANY(stream), VARSIZE_ANY_EXHDR(stream), 0));
	LINEAGE_VALUE(slot, LINEAGE_STREAM) = PointerGetDatum(stream);
	LINEAGE_VALUE(slot, LINEAGE_VERSION) = Int64GetDatum(is_row ? -1 : entry->version);
	LINEAGE_VALUE(slot, LINEAGE_KIND) = Int32GetDatum((int32) entry->kind);
	LINEAGE_VALUE(slot, LINEAGE_POSITION) = Int64GetDatum(is_row ? entry->version : entry->position);
	LINEAGE_VALUE(slot, LINEAGE_RECORDED_AT) = TimestampTzGetDatum(entry->recorded_at);
	LINEAGE_VALUE(slot, LINEAGE_TOMBSTONED) = BoolGetDatum(entry->is_tombstoned);
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(lineage->sort, slot);
}

/* ----------------------------------------------------------------------
 * Passing by
 * ----------------------------------------------------------------------
 */

#define lineage_report(lineage, check, ...) \
	es_findings_add((lineage)->findings, check, (lineage)->stream, __VA_ARGS__)

static void
lineage_begin_stream(EsLineage *lineage, const text *stream, int64 hash)
{
	Size size = VARSIZE_ANY(stream);

	lineage->stream = memcpy(palloc(size), stream, size);
	lineage->hash = hash;
	lineage->has_row = false;
	lineage->version = 0;
	lineage->position = 0;
	lineage->last = ES_LINEAGE_ROW;
	lineage->recorded_at = DT_NOBEGIN;
	lineage->has_events = false;
}

/* The stream has passed by: is its row that of its last event? */
static void
lineage_end_stream(EsLineage *lineage)
{
	if (lineage->stream == NULL)
		return;
	if (!lineage->has_row)
		lineage_report(lineage, "stream", "it has events, but no row in eventstore.streams");
	else if (lineage->row_version != lineage->version)
		lineage_report(lineage, "stream", "its row is at version %lld, its last event is %lld",
					   (long long) lineage->row_version, (long long) lineage->version);
	else if (lineage->has_events && lineage->row_recorded_at < lineage->recorded_at)
		lineage_report(lineage, "stream", "its row says an earlier time than its last event, %lld",
					   (long long) lineage->version);
	if (lineage->has_row && lineage->is_tombstoned && lineage->has_events)
		lineage_report(lineage, "stream", "it is deleted for good, but has events");
	pfree(lineage->stream);
	lineage->stream = NULL;
}

static void
lineage_take_row(EsLineage *lineage, TupleTableSlot *slot)
{
	if (lineage->has_row)
		lineage_report(lineage, "stream", "it has several rows in eventstore.streams");
	lineage->has_row = true;
	lineage->row_version = DatumGetInt64(LINEAGE_VALUE(slot, LINEAGE_POSITION));
	lineage->row_recorded_at = DatumGetTimestampTz(LINEAGE_VALUE(slot, LINEAGE_RECORDED_AT));
	lineage->is_tombstoned = DatumGetBool(LINEAGE_VALUE(slot, LINEAGE_TOMBSTONED));
}

/* The next version, of an event that is there or was removed. */
static void
lineage_check_version(EsLineage *lineage, EsLineageKind kind, int64 version)
{
	if (version == lineage->version && version > 0)
	{
		if (lineage->last == ES_LINEAGE_BEGINNING)
			lineage_report(lineage, "version",
						   "it was imported from a later version on, but version %lld is there",
						   (long long) version);
		else if (lineage->last == kind)
			lineage_report(lineage, "version", "version %lld is there twice%s", (long long) version,
						   kind == ES_LINEAGE_REMOVED ? " in eventstore.removed_events" : "");
		else
			lineage_report(lineage, "removed", "version %lld was removed, but is there",
						   (long long) version);
	}
	else if (version < 1)
		lineage_report(lineage, "version", "there is a version %lld", (long long) version);
	else if (version != lineage->version + 1 && lineage->version == 0)
		lineage_report(lineage, "version",
					   "it begins at version %lld, and what was before was not removed",
					   (long long) version);
	else if (version != lineage->version + 1)
		lineage_report(lineage, "version", "version %lld is followed by %lld",
					   (long long) lineage->version, (long long) version);
	else if (kind == ES_LINEAGE_REMOVED && lineage->has_events)
		lineage_report(lineage, "removed", "version %lld was removed, but earlier ones are there",
					   (long long) version);
}

/* What was before was gone where the stream comes from. */
static void
lineage_take_beginning(EsLineage *lineage, TupleTableSlot *slot)
{
	int64 version = DatumGetInt64(LINEAGE_VALUE(slot, LINEAGE_VERSION));

	if (lineage->version > 0)
	{
		lineage_report(lineage, "version",
					   "it was imported from version %lld on, but earlier ones are there",
					   (long long) version + 1);
		return;
	}
	lineage->version = version;
	lineage->last = ES_LINEAGE_BEGINNING;
}

static void
lineage_take_event(EsLineage *lineage, TupleTableSlot *slot, EsLineageKind kind)
{
	int64 version = DatumGetInt64(LINEAGE_VALUE(slot, LINEAGE_VERSION));
	int64 position = DatumGetInt64(LINEAGE_VALUE(slot, LINEAGE_POSITION));
	TimestampTz recorded_at = DatumGetTimestampTz(LINEAGE_VALUE(slot, LINEAGE_RECORDED_AT));

	lineage_check_version(lineage, kind, version);
	if (lineage->last != ES_LINEAGE_ROW && lineage->last != ES_LINEAGE_BEGINNING &&
		position <= lineage->position)
		lineage_report(lineage, "position",
					   "version %lld stands at position %lld, the one before at %lld",
					   (long long) version, (long long) position, (long long) lineage->position);
	if (kind == ES_LINEAGE_EVENT)
	{
		if (recorded_at < lineage->recorded_at)
			lineage_report(lineage, "recorded_at",
						   "version %lld was recorded before the one before it",
						   (long long) version);
		lineage->recorded_at = recorded_at;
		lineage->has_events = true;
	}
	lineage->version = version;
	lineage->position = position;
	lineage->last = kind;
}

/*
 * All has been taken in: have the streams pass by, and report what is wrong.
 */
void
es_lineage_check(EsLineage *lineage, EsFindings *findings)
{
	TupleTableSlot *slot = lineage->out;

	lineage->findings = findings;
	tuplesort_performsort(lineage->sort);
	while (tuplesort_gettupleslot(lineage->sort, true, false, slot, NULL))
	{
		const text *stream;
		int64 hash;
		EsLineageKind kind;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		stream = (const text *) DatumGetPointer(LINEAGE_VALUE(slot, LINEAGE_STREAM));
		hash = DatumGetInt64(LINEAGE_VALUE(slot, LINEAGE_HASH));
		if (lineage->stream == NULL || hash != lineage->hash ||
			!es_names_equal(stream, lineage->stream))
		{
			lineage_end_stream(lineage);
			lineage_begin_stream(lineage, stream, hash);
		}
		kind = (EsLineageKind) DatumGetInt32(LINEAGE_VALUE(slot, LINEAGE_KIND));
		if (kind == ES_LINEAGE_ROW)
			lineage_take_row(lineage, slot);
		else if (kind == ES_LINEAGE_BEGINNING)
			lineage_take_beginning(lineage, slot);
		else
			lineage_take_event(lineage, slot, kind);
	}
	lineage_end_stream(lineage);
}
