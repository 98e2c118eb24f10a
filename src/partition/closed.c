/*-------------------------------------------------------------------------
 *
 * closed.c
 *		What is written down of closed ranges: between which ids theirs are.
 *
 * No event comes into a range that the head has passed, so the lowest and the
 * highest of its ids stay what they are.  Whoever looks for an id that a caller
 * gives finds them in eventstore.partition_ids, instead of opening each range
 * for it.  They are written once for each range, by the process that makes
 * ranges; what is not there yet is asked of the range.
 *
 * What events were removed before does not count: their ids are known elsewhere.
 * Where events come by logical replication, nothing is known to be closed.
 *
 * Memory: SPI's own, and a list in the current context.  Locks: AccessShare on the ranges, RowExclusive
 * on the table.  Calls: catalog, ddl, floor, member, order, ranges, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "base/sql.h"
#include "order/floor.h"
#include "order/member.h"
#include "order/order.h"
#include "partition/closed.h"
#include "partition/ddl.h"

/* The tables that end at or below a position. */
static List *
closed_choose(int64 head)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	int count = es_ranges_are_of(events) ? es_ranges_count(events) : 0;
	List *chosen = NIL;
	int i;

	for (i = 0; i < count; i++)
	{
		EsRange *range = palloc(sizeof(EsRange));

		*range = es_ranges_get(events, i);
		if (range->upto - 1 > head)
			break;
		if (get_rel_relkind(range->table) == RELKIND_RELATION)
			chosen = lappend(chosen, range);
	}
	relation_close(events, NoLock);
	return chosen;
}

static bool
closed_is_noted(const EsRange *range)
{
	static EsSql statement =
		ES_SQL("SELECT pg_catalog.count(*) FROM eventstore.partition_ids "
			   "WHERE partition OPERATOR(pg_catalog.=) $1 AND upto_position OPERATOR(pg_catalog.=) $2",
			   OIDOID, INT8OID);
	Datum values[] = {ObjectIdGetDatum(range->table), Int64GetDatum(range->upto)};

	return es_sql_number(&statement, values, NULL) > 0;
}

static void
closed_note(const EsRange *range)
{
	const char *name = es_ddl_table(range->table);

	es_ddl_run("INSERT INTO eventstore.partition_ids (partition, upto_position, lowest, highest) "
			   "SELECT %u, %lld, (SELECT id FROM ONLY %s ORDER BY id LIMIT 1), "
			   "(SELECT id FROM ONLY %s ORDER BY id DESC LIMIT 1) "
			   "ON CONFLICT (partition) DO UPDATE SET upto_position = excluded.upto_position, "
			   "lowest = excluded.lowest, highest = excluded.highest",
			   range->table, (long long) range->upto, name, name);
}

/*
 * Write down the bounds of those that are closed and are not written down.  The
 * caller holds the userlock "ranges".
 */
void
es_closed_note(void)
{
	List *ranges;
	ListCell *cell;

	if (es_floor_is_fed() || es_member_get()->is_mirror)
		return;
	ranges = closed_choose(es_order_head(NULL));
	foreach (cell, ranges)
	{
		CHECK_FOR_INTERRUPTS();
		if (!closed_is_noted(lfirst(cell)))
			closed_note(lfirst(cell));
	}
	if (ranges != NIL)
		es_ddl_run(
			"DELETE FROM eventstore.partition_ids p "
			"WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid OPERATOR(pg_catalog.=) p.partition)");
}
