/*-------------------------------------------------------------------------
 *
 * detach.c
 *		The verb es_detach_events.
 *
 * Whole partitions leave the store, as tables of its owner's.  Their events are
 * gone then as those are that were truncated, and leave the same behind: a row
 * in eventstore.removed_events each, so that their ids stay taken, retries are
 * known, versions go on, and seals can be verified.  A note of each partition in
 * eventstore.archived_ranges says that they are not lost, but away.
 *
 * To note the events takes as long as it takes, while all others go on; only
 * then the table is closed, for the moment of detaching.
 *
 * Memory: the function call's context.  Locks: the userlocks "ranges",
 * Exclusive, and "custody", RowExclusive and Share; Share on the partitions; then
 * AccessExclusive on them and on eventstore.events, tried for moments.  Calls:
 * arguments, barrier, catalog, custody, ddl, make, order, ranges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/ranges.h"
#include "keeping/custody.h"
#include "keeping/detach.h"
#include "order/order.h"
#include "partition/ddl.h"
#include "partition/make.h"
#include "projection/barrier.h"

PG_FUNCTION_INFO_V1(es_detach_events);

/* Raise where events can not be detached, or attached again, just now. */
void
es_detach_check(const char *verb)
{
	PreventCommandIfReadOnly(verb);
	PreventCommandIfParallelMode(verb);
	/* What is noted of events has to be of all of them. */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("%s must run in a READ COMMITTED transaction", verb)));
	if (!es_make_is_partitioned())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s.events\" is not partitioned", ES_SCHEMA),
				 errhint("Call es_partition_events() first.")));
}

/* The partitions that end at or below a position, all of it settled. */
static List *
detach_choose(int64 upto, int64 head)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	MemoryContext context = CurrentMemoryContext;
	List *chosen = NIL;
	int i;

	for (i = 0; i < es_ranges_count(events) - 1; i++)
	{
		EsRange range = es_ranges_get(events, i);
		EsRange *copy;

		if (range.upto - 1 > Min(upto, head))
			break;
		copy = MemoryContextAlloc(context, sizeof(EsRange));
		*copy = range;
		chosen = lappend(chosen, copy);
	}
	relation_close(events, NoLock);
	return chosen;
}

/* Note the events of a partition, and the partition. */
static void
detach_note(const EsRange *range)
{
	const char *name = es_ddl_table(range->table);

	/* Nobody removes or redacts one of them meanwhile. */
	LockRelationOid(range->table, ShareLock);
	es_ddl_run("INSERT INTO eventstore.removed_events (id, position, stream, version, type, recorded_at, removed_at, digest) "
			   "SELECT e.id, e.position, e.stream, e.version, e.type, e.recorded_at, pg_catalog.clock_timestamp(), "
			   "eventstore.event_digest(ROW(e.position, e.stream, e.category, e.version, e.id, e.type, e.data, e.metadata, "
			   "e.tags, e.recorded_at)::eventstore.event) FROM ONLY %s e",
			   name);
	es_ddl_run("INSERT INTO eventstore.archived_ranges "
			   "(from_position, upto_position, partition, events, first_recorded_at, last_recorded_at, detached_at) "
			   "SELECT %lld, %lld, '%s', pg_catalog.count(*), pg_catalog.min(recorded_at), pg_catalog.max(recorded_at), "
			   "pg_catalog.clock_timestamp() FROM ONLY %s",
			   (long long) Max(range->from, 0), (long long) range->upto, get_rel_name(range->table),
			   name);
}

static void
detach_one(const EsRange *range)
{
	const char *name = es_ddl_table(range->table);

	es_ddl_run("ALTER TABLE ONLY eventstore.events DETACH PARTITION %s", name);
	es_ddl_run("ALTER TABLE ONLY %s DISABLE ROW LEVEL SECURITY", name);
	es_ddl_release(range->table);
}

static List *
detach_tables(const List *ranges)
{
	List *tables = NIL;
	const ListCell *cell;

	foreach (cell, ranges)
		tables = lappend_oid(tables, ((EsRange *) lfirst(cell))->table);
	return tables;
}

/*
 * es_detach_events(upto bigint) -> SETOF regclass
 */
Datum
es_detach_events(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64 upto = es_arguments_get_position(fcinfo, 0, "upto");
	List *ranges;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	es_detach_check("es_detach_events()");
	es_make_lock();
	es_custody_alter();
	/* Who removes events has locks on the table while he waits for ours on a partition: not meanwhile. */
	(void) es_custody_settle(true);
	ranges = detach_choose(upto, es_order_head(NULL));
	foreach (cell, ranges)
		detach_note(lfirst(cell));
	if (ranges != NIL)
		es_barrier_close(detach_tables(ranges));
	foreach (cell, ranges)
	{
		Datum value = ObjectIdGetDatum(((EsRange *) lfirst(cell))->table);
		bool is_null = false;

		detach_one(lfirst(cell));
		tuplestore_putvalues(result->setResult, result->setDesc, &value, &is_null);
	}
	if (ranges != NIL)
		es_ddl_run("SELECT eventstore.reset_tallies()");
	return (Datum) 0;
}
