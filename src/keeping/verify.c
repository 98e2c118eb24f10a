/*-------------------------------------------------------------------------
 *
 * verify.c
 *		es_verify: is the store what it should be?
 *
 * One scan reads all events, as the statement's snapshot sees them, and hands
 * each of them to what checks one thing: streams (lineage.c), positions
 * (succession.c), ids (identity.c), indexes (entries.c).  These sort, and do not
 * trust any index.  What subscriptions, projections and snapshots lean on is
 * checked in SQL (eventstore.find_strays), under the same snapshot.
 *
 * Nothing is locked that anybody waits for, and nothing is written.  Appends that
 * are in flight are not in the snapshot, neither their events nor what they do to
 * streams; positions and the head, which no snapshot holds, are asked for
 * afterwards, and are no lower then.
 *
 * Row security does not count: tables are read below it, or as their owner
 * (as_owner.c), whoever has the right to call.
 *
 * Memory: SPI's; the sorts take maintenance_work_mem together, and then disk.
 * Locks: AccessShare on the tables and their indexes.  Calls: as_owner, away,
 * catalog, entries, findings, floor, identity, inflight, lineage, member, names,
 * order, position, ranges, removals, scan, succession.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/tableam.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/away.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/names.h"
#include "base/ranges.h"
#include "base/scan.h"
#include "keeping/as_owner.h"
#include "keeping/entries.h"
#include "keeping/findings.h"
#include "keeping/removals.h"
#include "keeping/identity.h"
#include "keeping/lineage.h"
#include "keeping/succession.h"
#include "order/floor.h"
#include "order/inflight.h"
#include "order/member.h"
#include "order/order.h"
#include "order/position.h"

PG_FUNCTION_INFO_V1(es_verify);

/* Rows after which memory is given back. */
#define VERIFY_ROWS 1000

#define VERIFY_VALUE(slot, column) ((slot)->tts_values[(column) -1])

typedef struct Verification
{
	EsFindings *findings;
	Relation events;
	EsLineage *lineage;
	EsSuccession *succession;
	EsIdentity *identity;
	EsEntries *entries; /* of the table that is read */

	/* eventstore.events, or its partitions. */
	int table_count;
	Relation *tables;
	EsEntries **entries_of;
} Verification;

/* ----------------------------------------------------------------------
 * Events
 * ----------------------------------------------------------------------
 */

static bool
verify_are_tags(ArrayType *tags)
{
	ArrayIterator iterator;
	Datum tag;
	bool is_null;
	bool result = true;

	if (ARR_NDIM(tags) > 1)
		return false;
	iterator = array_create_iterator(tags, 0, NULL);
	while (result && array_iterate(iterator, &tag, &is_null))
	{
		Size length = is_null ? 0 : VARSIZE_ANY_EXHDR(DatumGetPointer(tag));

		result = length > 0 && length <= ES_MAX_TAG_BYTES;
	}
	array_free_iterator(iterator);
	return result;
}

static bool
verify_is_length(const text *name, Size limit)
{
	return VARSIZE_ANY_EXHDR(name) > 0 && VARSIZE_ANY_EXHDR(name) <= limit;
}

/* What can be told of an event by itself. */
static void
verify_event(Verification *verification, TupleTableSlot *slot)
{
	text *stream = DatumGetTextPP(VERIFY_VALUE(slot, Anum_events_stream));
	text *category = DatumGetTextPP(VERIFY_VALUE(slot, Anum_events_category));
	text *type = DatumGetTextPP(VERIFY_VALUE(slot, Anum_events_type));
	long long version = DatumGetInt64(VERIFY_VALUE(slot, Anum_events_version));

	if (!es_names_is_category(stream, category))
		es_findings_add(verification->findings, "category", stream,
						"version %lld is in category \"%s\"", version, text_to_cstring(category));
	if (!verify_is_length(stream, ES_MAX_STREAM_BYTES) || !verify_is_length(type, ES_MAX_TYPE_BYTES))
		es_findings_add(verification->findings, "event", stream,
						"version %lld has a name or a type that is empty or too long", version);
	if (!slot->tts_isnull[Anum_events_tags - 1] &&
		!verify_are_tags(DatumGetArrayTypeP(VERIFY_VALUE(slot, Anum_events_tags))))
		es_findings_add(verification->findings, "event", stream,
						"version %lld has tags that are no list of tags", version);
}

static void
verify_take_event(Verification *verification, TupleTableSlot *slot)
{
	EsLineageEntry entry = {.kind = ES_LINEAGE_EVENT};

	slot_getsomeattrs(slot, Natts_event);
	entry.stream = VERIFY_VALUE(slot, Anum_events_stream);
	entry.version = DatumGetInt64(VERIFY_VALUE(slot, Anum_events_version));
	entry.position = DatumGetInt64(VERIFY_VALUE(slot, Anum_events_position));
	entry.recorded_at = DatumGetTimestampTz(VERIFY_VALUE(slot, Anum_events_recorded_at));
	es_lineage_add(verification->lineage, &entry);
	es_succession_add(verification->succession, entry.position, entry.recorded_at);
	es_identity_add(verification->identity, VERIFY_VALUE(slot, Anum_events_id), entry.position,
					false);
	es_entries_add(verification->entries, slot);
	verify_event(verification, slot);
}

static void
verify_take_stream(Verification *verification, TupleTableSlot *slot)
{
	EsLineageEntry entry = {.kind = ES_LINEAGE_ROW};

	slot_getsomeattrs(slot, Anum_streams_tombstoned);
	entry.stream = VERIFY_VALUE(slot, Anum_streams_stream);
	entry.version = DatumGetInt64(VERIFY_VALUE(slot, Anum_streams_version));
	entry.recorded_at = DatumGetTimestampTz(VERIFY_VALUE(slot, Anum_streams_recorded_at));
	entry.is_tombstoned = DatumGetBool(VERIFY_VALUE(slot, Anum_streams_tombstoned));
	es_lineage_add(verification->lineage, &entry);
}

static void
verify_take_beginning(Verification *verification, TupleTableSlot *slot)
{
	EsLineageEntry entry = {.kind = ES_LINEAGE_BEGINNING};

	slot_getsomeattrs(slot, Anum_beginnings_version);
	entry.stream = VERIFY_VALUE(slot, Anum_beginnings_stream);
	entry.version = DatumGetInt64(VERIFY_VALUE(slot, Anum_beginnings_version)) - 1;
	es_lineage_add(verification->lineage, &entry);
}

/* Hand all rows of a table over. */
static void
verify_take_all(Verification *verification, Relation table,
				void (*take)(Verification *verification, TupleTableSlot *slot))
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "rows",
												 ALLOCSET_DEFAULT_SIZES);
	TupleTableSlot *slot = table_slot_create(table, NULL);
	TableScanDesc scan = table_beginscan(table, GetActiveSnapshot(), 0, NULL);
	int64 count = 0;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		MemoryContext caller = MemoryContextSwitchTo(memory);

		CHECK_FOR_INTERRUPTS();
		take(verification, slot);
		MemoryContextSwitchTo(caller);
		if (++count % VERIFY_ROWS == 0)
			MemoryContextReset(memory);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(memory);
}

/* The same of a range that is a foreign table: in order, by another server's index. */
static void
verify_take_remote(Verification *verification, Relation range)
{
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "rows",
												 ALLOCSET_DEFAULT_SIZES);
	int64 count = 0;
	EsScan scan;

	es_scan_open(&scan, range, ES_EVENTS_PKEY);
	es_scan_begin(&scan, GetActiveSnapshot());
	while (es_scan_next(&scan, ForwardScanDirection))
	{
		MemoryContext caller = MemoryContextSwitchTo(memory);

		CHECK_FOR_INTERRUPTS();
		verify_take_event(verification, scan.slot);
		MemoryContextSwitchTo(caller);
		if (++count % VERIFY_ROWS == 0)
			MemoryContextReset(memory);
	}
	es_scan_close(&scan);
	MemoryContextDelete(memory);
}

static void
verify_open_tables(Verification *verification)
{
	Relation events = verification->events;
	bool has_ranges = es_ranges_are_of(events);
	int count;
	int i;

	es_ranges_hear();
	count = has_ranges ? es_ranges_count(events) : 1;
	verification->table_count = count;
	verification->tables = palloc(sizeof(Relation) * count);
	verification->entries_of = palloc(sizeof(EsEntries *) * count);
	for (i = 0; i < count; i++)
	{
		Oid table = has_ranges ? es_ranges_get(events, i).table : RelationGetRelid(events);

		verification->tables[i] = relation_open(table, AccessShareLock);
		verification->entries_of[i] = es_entries_begin();
	}
}

static void
verify_take_events(Verification *verification)
{
	int i;

	verify_open_tables(verification);
	for (i = 0; i < verification->table_count; i++)
	{
		verification->entries = verification->entries_of[i];
		if (es_ranges_is_remote(verification->tables[i]))
			verify_take_remote(verification, verification->tables[i]);
		else
			verify_take_all(verification, verification->tables[i], verify_take_event);
	}
}

static void
verify_indexes(Verification *verification)
{
	int i;

	for (i = 0; i < verification->table_count; i++)
	{
		/* A foreign table's indexes are the other server's. */
		if (!es_ranges_is_remote(verification->tables[i]))
			es_entries_check(verification->entries_of[i], verification->tables[i],
							 verification->findings);
		relation_close(verification->tables[i], NoLock);
	}
}

/* The events that are gone count for versions and ids. */
static void
verify_take_removed(Verification *verification)
{
	EsRemovals reader;
	EsRemoval removal;

	es_removals_open(&reader, PG_INT64_MIN, PG_INT64_MAX, false);
	while (es_removals_next(&reader, &removal))
	{
		EsLineageEntry entry = {.kind = ES_LINEAGE_REMOVED,
								.stream = removal.stream,
								.version = removal.version,
								.position = removal.position,
								.recorded_at = removal.recorded_at};

		es_lineage_add(verification->lineage, &entry);
		es_identity_add(verification->identity, removal.id, removal.position, true);
	}
	es_removals_close(&reader);
}

/* ----------------------------------------------------------------------
 * What stands beside them
 * ----------------------------------------------------------------------
 */

/* Add what a query finds: check, stream, detail. */
static void
verify_query(EsFindings *findings, const char *query, int count, Oid *types, Datum *values)
{
	uint64 i;

	if (SPI_execute_with_args(query, count, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", query);
	for (i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		bool is_null;
		Datum stream = SPI_getbinval(row, desc, 2, &is_null);

		es_findings_add(findings, SPI_getvalue(row, desc, 1),
						is_null ? NULL : DatumGetTextPP(stream), "%s", SPI_getvalue(row, desc, 3));
	}
	SPI_freetuptable(SPI_tuptable);
}

/*
 * head: no checkpoint that has been committed is above it.
 * last: the last position given out.
 */
static void
verify_strays(EsFindings *findings, int64 head, int64 last)
{
	Oid types[] = {INT8OID, INT8OID};
	Datum values[] = {Int64GetDatum(head), Int64GetDatum(last)};

	verify_query(findings, "SELECT check_name, stream, detail FROM eventstore.find_strays($1, $2)",
				 lengthof(types), types, values);
	/* A standby has no unlogged tables. */
	if (!RecoveryInProgress())
		verify_query(
			findings,
			"SELECT 'orphan', NULL, pg_catalog.format('eventstore.intact_projections names projection \"%s\", which is not there', i.projection) "
			"FROM eventstore.intact_projections i "
			"WHERE NOT EXISTS (SELECT FROM eventstore.projections p WHERE p.name = i.projection)",
			0, NULL, NULL);
}

static bool
verify_has_index_of_positions(void)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	bool result = es_ranges_are_of(events) || es_catalog_has(ES_EVENTS_PKEY);

	relation_close(events, NoLock);
	return result;
}

/* Up to where others may have read: what this transaction has appended counts as if it were committed. */
static int64
verify_head(int64 last)
{
	int64 head;

	/* A standby's head is late; to know it, the index of positions may have to be asked. */
	if (RecoveryInProgress() || !verify_has_index_of_positions())
		return last;
	head = es_order_head(NULL);
	return Max(head, es_order_head_after_commit());
}

static void
verify_beside(Verification *verification)
{
	EsInflight in_flight = {.lowest = PG_INT64_MAX};
	bool is_fed = es_floor_is_fed() || es_member_get()->is_mirror;
	bool is_ours;
	int64 last;

	/* First who is in flight, then what was given out: it only rises. */
	if (!RecoveryInProgress())
		in_flight = es_inflight_find();
	last = es_position_given_out(false, &is_ours);
	if (in_flight.lowest != PG_INT64_MAX && in_flight.lowest > last && !is_fed)
		es_findings_add(verification->findings, "inflight", NULL,
						"an append is in flight above position %lld, but the last one given out is %lld",
						(long long) in_flight.lowest, (long long) last);
	es_succession_check(verification->succession, is_fed ? -1 : last, verification->findings);
	if (is_fed)
		last = PG_INT64_MAX;
	verify_strays(verification->findings, is_fed ? last : verify_head(last), last);
}

/* ----------------------------------------------------------------------
 * The verb
 * ----------------------------------------------------------------------
 */

static void
verify_store(EsFindings *findings)
{
	Relation streams = es_catalog_open(ES_STREAMS, AccessShareLock);
	Relation beginnings = es_catalog_open(ES_BEGINNINGS, AccessShareLock);
	Verification verification = {.findings = findings,
								 .events = es_catalog_open(ES_EVENTS, AccessShareLock),
								 .lineage = es_lineage_begin(maintenance_work_mem / 2),
								 .succession = es_succession_begin(maintenance_work_mem / 4),
								 .identity = es_identity_begin(maintenance_work_mem / 4)};

	verify_take_events(&verification);
	verify_take_all(&verification, streams, verify_take_stream);
	verify_take_all(&verification, beginnings, verify_take_beginning);
	verify_take_removed(&verification);

	es_lineage_check(verification.lineage, findings);
	es_lineage_end(verification.lineage);
	es_identity_check(verification.identity, findings);
	es_identity_end(verification.identity);
	verify_indexes(&verification);
	verify_beside(&verification);
	es_succession_end(verification.succession);
	relation_close(verification.events, NoLock);
	relation_close(beginnings, NoLock);
	relation_close(streams, NoLock);
}

/*
 * es_verify() -> SETOF (check_name text, stream text, detail text)
 */
Datum
es_verify(PG_FUNCTION_ARGS)
{
	EsAsOwner owner;

	PreventCommandIfParallelMode("es_verify()");
	InitMaterializedSRF(fcinfo, 0);
	PushCopiedSnapshot(GetActiveSnapshot());
	UpdateActiveSnapshotCommandId();
	SPI_connect();
	es_as_owner_begin(&owner);
	es_away_tell(0);
	verify_store((EsFindings *) fcinfo->resultinfo);
	es_as_owner_end(&owner);
	SPI_finish();
	PopActiveSnapshot();
	return (Datum) 0;
}
