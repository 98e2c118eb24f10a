/*-------------------------------------------------------------------------
 *
 * detach.c
 *		The verb es_detach_events.
 *
 * Whole partitions leave the store, as tables of its owner's.  Their events are
 * gone then as those are that were truncated; a note of each partition in
 * eventstore.archived_ranges says that they are not lost, but away.
 *
 * Nothing is written or read of the events themselves, so it takes the same moment
 * however many there are.  What has to be known of them for ever - ids, so that
 * retries are known, versions, digests for seals - the table itself says as long as
 * it is there: it becomes a partition of eventstore.detached_events, nobody can change it, and who
 * looks for events that are gone looks there, too (base/removed.c).  When it
 * is to go, and not before, that is written down (depart.c).  A table that a DBA has given
 * columns of his own does not fit there: of such a one it is written down at once,
 * and of a foreign table, so that no other server has to be asked for what is gone.
 *
 * Memory: the function call's context.  Locks: the userlocks "ranges",
 * Exclusive, and "custody", RowExclusive and Share; Share on the partitions; then
 * AccessExclusive on them and on eventstore.events, tried for moments.  Calls:
 * arguments, barrier, catalog, custody, ddl, depart, make, order, ranges.
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
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/ranges.h"
#include "keeping/custody.h"
#include "keeping/depart.h"
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

/* Whether a partition has no columns but ours, and is at hand. */
static bool
detach_is_plain(const EsRange *range)
{
	Relation table = relation_open(range->table, AccessShareLock);
	bool result = RelationGetDescr(table)->natts == Natts_event && !es_ranges_is_remote(table);

	relation_close(table, NoLock);
	return result;
}

/* Note a partition. */
static void
detach_note(const EsRange *range)
{
	const char *name = es_ddl_table(range->table);

	/* Nobody removes or redacts one of its events meanwhile. */
	LockRelationOid(range->table, ShareLock);
	es_ddl_run(
		"INSERT INTO eventstore.archived_ranges "
		"(from_position, upto_position, partition, first_recorded_at, last_recorded_at, detached_at) "
		"SELECT %lld, %lld, %s, (SELECT recorded_at FROM ONLY %s ORDER BY position LIMIT 1), "
		"(SELECT recorded_at FROM ONLY %s ORDER BY position DESC LIMIT 1), pg_catalog.clock_timestamp()",
		(long long) Max(range->from, 0), (long long) range->upto,
		quote_literal_cstr(get_rel_name(range->table)), name, name);
	if (!detach_is_plain(range))
		es_depart_note(range);
}

static void
detach_one(const EsRange *range)
{
	es_ddl_run("ALTER TABLE ONLY eventstore.events DETACH PARTITION %s", es_ddl_table(range->table));
	if (detach_is_plain(range))
		es_ddl_attach("eventstore.detached_events", range->table, range->from, range->upto);
	else
		es_depart_release(range->table);
	es_ddl_run("DELETE FROM eventstore.foreign_ranges WHERE from_position OPERATOR(pg_catalog.=) %lld",
			   (long long) Max(range->from, 0));
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
	if (ranges != NIL)
		es_ddl_run("SELECT eventstore.warn_of_followers(%lld)",
				   (long long) ((EsRange *) llast(ranges))->upto);
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
