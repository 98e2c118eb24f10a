/*-------------------------------------------------------------------------
 *
 * succession.c
 *		Whether positions are each event's own, and what marks say of them.
 *
 * Events are sorted by position, which they mostly are already.  On the way the
 * marks (order/milestone.c) are compared with them: everything up to a mark was
 * recorded by its time.
 *
 * Memory: the sort takes as much as it is told, and then disk; the marks, one for
 * some thousand appends, are in the current context.  Locks: AccessShare on
 * eventstore.marks.  Calls: catalog, findings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplesort.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "keeping/succession.h"
#include "order/milestone.h"

enum
{
	SUCCESSION_POSITION = 1,
	SUCCESSION_IS_MARK, /* 1, or 0: a mark comes behind the event at its position */
	SUCCESSION_TIME,
	SUCCESSION_COLUMNS = SUCCESSION_TIME
};

#define SUCCESSION_VALUE(slot, column) ((slot)->tts_values[(column) -1])

struct EsSuccession
{
	Tuplesortstate *sort;
	TupleTableSlot *in;
	TupleTableSlot *out;
};

/*
 * Begin.
 *
 * memory: for the sort, in kB.
 */
EsSuccession *
es_succession_begin(int memory)
{
	EsSuccession *succession = palloc0(sizeof(EsSuccession));
	TupleDesc desc = CreateTemplateTupleDesc(SUCCESSION_COLUMNS);
	AttrNumber columns[] = {SUCCESSION_POSITION, SUCCESSION_IS_MARK};
	Oid operators[] = {Int8LessOperator, Int4LessOperator};
	Oid collations[] = {InvalidOid, InvalidOid};
	bool nulls_first[] = {false, false};

	TupleDescInitEntry(desc, SUCCESSION_POSITION, "position", INT8OID, -1, 0);
	TupleDescInitEntry(desc, SUCCESSION_IS_MARK, "is_mark", INT4OID, -1, 0);
	TupleDescInitEntry(desc, SUCCESSION_TIME, "time", TIMESTAMPTZOID, -1, 0);
	succession->in = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	memset(succession->in->tts_isnull, false, sizeof(bool) * SUCCESSION_COLUMNS);
	succession->out = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	succession->sort = tuplesort_begin_heap(desc, lengthof(columns), columns, operators, collations,
											nulls_first, memory, NULL, TUPLESORT_NONE);
	return succession;
}

void
es_succession_end(EsSuccession *succession)
{
	tuplesort_end(succession->sort);
	ExecDropSingleTupleTableSlot(succession->in);
	ExecDropSingleTupleTableSlot(succession->out);
	pfree(succession);
}

static void
succession_put(EsSuccession *succession, int64 position, bool is_mark, TimestampTz time)
{
	TupleTableSlot *slot = succession->in;

	ExecClearTuple(slot);
	SUCCESSION_VALUE(slot, SUCCESSION_POSITION) = Int64GetDatum(position);
	SUCCESSION_VALUE(slot, SUCCESSION_IS_MARK) = Int32GetDatum(is_mark ? 1 : 0);
	SUCCESSION_VALUE(slot, SUCCESSION_TIME) = TimestampTzGetDatum(time);
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(succession->sort, slot);
}

/* Take an event in; in any order. */
void
es_succession_add(EsSuccession *succession, int64 position, TimestampTz recorded_at)
{
	succession_put(succession, position, false, recorded_at);
}

static void
succession_add_marks(EsSuccession *succession)
{
	Relation rel = es_catalog_open(ES_MARKS, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		slot_getallattrs(slot);
		succession_put(succession, DatumGetInt64(SUCCESSION_VALUE(slot, Anum_marks_position)), true,
					   DatumGetTimestampTz(SUCCESSION_VALUE(slot, Anum_marks_recorded_by)));
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(rel, NoLock);
}

/*
 * All events have been taken in: report what is wrong.
 *
 * last: the last position given out, asked for after the snapshot was taken; -1
 * where events come otherwise.
 */
void
es_succession_check(EsSuccession *succession, int64 last, EsFindings *findings)
{
	TupleTableSlot *slot = succession->out;
	TimestampTz latest = DT_NOBEGIN;
	int64 before = 0;

	succession_add_marks(succession);
	tuplesort_performsort(succession->sort);
	while (tuplesort_gettupleslot(succession->sort, true, false, slot, NULL))
	{
		int64 position;
		TimestampTz time;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		position = DatumGetInt64(SUCCESSION_VALUE(slot, SUCCESSION_POSITION));
		time = DatumGetTimestampTz(SUCCESSION_VALUE(slot, SUCCESSION_TIME));
		if (DatumGetInt32(SUCCESSION_VALUE(slot, SUCCESSION_IS_MARK)) == 1)
		{
			if (latest > TimestampTzPlusMilliseconds(time, ES_MARK_MARGIN_MS))
				es_findings_add(findings, "mark", NULL,
								"an event up to position %lld was recorded later than its mark says",
								(long long) position);
			if (last >= 0 && position > last)
				es_findings_add(findings, "mark", NULL,
								"there is a mark at position %lld, but the last one given out is %lld",
								(long long) position, (long long) last);
			continue;
		}
		if (position < 1)
			es_findings_add(findings, "position", NULL, "there is an event at position %lld",
							(long long) position);
		else if (position == before)
			es_findings_add(findings, "position", NULL, "there are several events at position %lld",
							(long long) position);
		latest = Max(latest, time);
		before = position;
	}
	if (last >= 0 && before > last)
		es_findings_add(
			findings, "sequence", NULL,
			"there is an event at position %lld, but the last one given out is %lld; es_repair_positions() mends it",
			(long long) before, (long long) last);
}
