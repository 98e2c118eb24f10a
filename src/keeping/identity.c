/*-------------------------------------------------------------------------
 *
 * identity.c
 *		Whether each id is of one event, for ever.
 *
 * The ids of events and of removed events are sorted together; the index that
 * should have refused a second one is not asked.
 *
 * Memory: the sort takes as much as it is told, and then disk.  Locks: none.
 * Calls: findings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

#include "base/compat.h"
#include "keeping/identity.h"

enum
{
	IDENTITY_ID = 1,
	IDENTITY_POSITION,
	IDENTITY_IS_REMOVED,
	IDENTITY_COLUMNS = IDENTITY_IS_REMOVED
};

#define IDENTITY_VALUE(slot, column) ((slot)->tts_values[(column) -1])

struct EsIdentity
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
EsIdentity *
es_identity_begin(int memory)
{
	EsIdentity *identity = palloc0(sizeof(EsIdentity));
	TupleDesc desc = CreateTemplateTupleDesc(IDENTITY_COLUMNS);
	AttrNumber columns[] = {IDENTITY_ID};
	Oid operators[] = {lookup_type_cache(UUIDOID, TYPECACHE_LT_OPR)->lt_opr};
	Oid collations[] = {InvalidOid};
	bool nulls_first[] = {false};

	TupleDescInitEntry(desc, IDENTITY_ID, "id", UUIDOID, -1, 0);
	TupleDescInitEntry(desc, IDENTITY_POSITION, "position", INT8OID, -1, 0);
	TupleDescInitEntry(desc, IDENTITY_IS_REMOVED, "is_removed", BOOLOID, -1, 0);
	identity->in = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	memset(identity->in->tts_isnull, false, sizeof(bool) * IDENTITY_COLUMNS);
	identity->out = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	identity->sort = tuplesort_begin_heap(desc, lengthof(columns), columns, operators, collations,
										  nulls_first, memory, NULL, TUPLESORT_NONE);
	return identity;
}

void
es_identity_end(EsIdentity *identity)
{
	tuplesort_end(identity->sort);
	ExecDropSingleTupleTableSlot(identity->in);
	ExecDropSingleTupleTableSlot(identity->out);
	pfree(identity);
}

/* Take an event, or a removed one, in; in any order. */
void
es_identity_add(EsIdentity *identity, Datum id, int64 position, bool is_removed)
{
	TupleTableSlot *slot = identity->in;

	ExecClearTuple(slot);
	IDENTITY_VALUE(slot, IDENTITY_ID) = id;
	IDENTITY_VALUE(slot, IDENTITY_POSITION) = Int64GetDatum(position);
	IDENTITY_VALUE(slot, IDENTITY_IS_REMOVED) = BoolGetDatum(is_removed);
	ExecStoreVirtualTuple(slot);
	tuplesort_puttupleslot(identity->sort, slot);
}

static void
identity_report(EsFindings *findings, Datum id, const int64 *positions, const bool *are_removed)
{
	const char *name = DatumGetCString(DirectFunctionCall1(uuid_out, id));

	if (!are_removed[0] && !are_removed[1])
		es_findings_add(findings, "id", NULL, "id %s is of the events at positions %lld and %lld",
						name, (long long) positions[0], (long long) positions[1]);
	else if (are_removed[0] && are_removed[1])
		es_findings_add(findings, "removed", NULL,
						"id %s is in eventstore.removed_events for positions %lld and %lld", name,
						(long long) positions[0], (long long) positions[1]);
	else
		es_findings_add(findings, "removed", NULL,
						"id %s is of the event at position %lld, but one of this id was removed, at %lld",
						name, (long long) positions[are_removed[0] ? 1 : 0],
						(long long) positions[are_removed[0] ? 0 : 1]);
}

/*
 * All has been taken in: report the ids that are there more than once.
 */
void
es_identity_check(EsIdentity *identity, EsFindings *findings)
{
	TupleTableSlot *slot = identity->out;
	pg_uuid_t before = {{0}};
	int64 positions[2] = {0};
	bool are_removed[2] = {false};
	bool has_before = false;

	tuplesort_performsort(identity->sort);
	while (tuplesort_gettupleslot(identity->sort, true, false, slot, NULL))
	{
		pg_uuid_t *id;

		CHECK_FOR_INTERRUPTS();
		slot_getallattrs(slot);
		id = DatumGetUUIDP(IDENTITY_VALUE(slot, IDENTITY_ID));
		positions[1] = DatumGetInt64(IDENTITY_VALUE(slot, IDENTITY_POSITION));
		are_removed[1] = DatumGetBool(IDENTITY_VALUE(slot, IDENTITY_IS_REMOVED));
		if (has_before && memcmp(id, &before, UUID_LEN) == 0)
			identity_report(findings, UUIDPGetDatum(id), positions, are_removed);
		before = *id;
		has_before = true;
		positions[0] = positions[1];
		are_removed[0] = are_removed[1];
	}
}
