/*-------------------------------------------------------------------------
 *
 * depart.c
 *		A table that was detached goes, or becomes its owner's.
 *
 * As long as it is there, in eventstore.detached_events, it is itself what the
 * store knows of its events: es_detach_events() writes nothing about them, and so
 * takes the same moment however many they are.  Their ids stay taken for ever,
 * though, so before the table can go, each of its events gets the row in
 * eventstore.removed_events that a truncated one has.  That takes time in
 * proportion to them; nobody waits meanwhile.  It is done when it is needed:
 * by an event trigger, at the begin of the DROP TABLE, or of the ALTER TABLE ...
 * DETACH PARTITION, that names the table, in the same transaction, so that either
 * the table is there or the rows are.  What takes it away without naming it (DROP
 * SCHEMA ... CASCADE) is stopped in drop.c.
 *
 * Between the two there is no moment in which an id is known nowhere: who looks
 * for one looks into the tables first, and they stay until the transaction that
 * has made the rows commits.
 *
 * Memory: SPI's own.  Locks: ShareRowExclusive on the table, which readers do not
 * mind; at the end AccessExclusive on it and on eventstore.detached_events, tried for moments.  Calls: barrier,
 * catalog, ddl, ranges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "base/compat.h"
#include "base/ranges.h"
#include "keeping/depart.h"
#include "partition/ddl.h"
#include "projection/barrier.h"

PG_FUNCTION_INFO_V1(es_note_departure);

/* Whether we take a table out ourselves, and know why. */
static bool depart_is_ours = false;

/*
 * Whether a table was detached and is still the store's.
 *
 * range: receives which it is.
 */
bool
es_depart_find(Oid table, EsRange *range)
{
	Relation detached;
	bool is_found = false;
	int i;

	/* In this order: the script of an update may make the table, and is not to be disturbed. */
	if (!OidIsValid(table) || !get_rel_relispartition(table) || !es_catalog_has(ES_DETACHED))
		return false;
	detached = es_catalog_open(ES_DETACHED, AccessShareLock);
	for (i = 0; i < es_ranges_count(detached) && !is_found; i++)
	{
		*range = es_ranges_get(detached, i);
		is_found = range->table == table;
	}
	relation_close(detached, AccessShareLock);
	return is_found;
}

/*
 * Write down what the events of a table are, so that it may go.  Nobody changes
 * them meanwhile.
 */
void
es_depart_note(const EsRange *range)
{
	const char *name = es_ddl_table(range->table);

	/* What came back by the restore of a dump may be on record. */
	es_ddl_run("INSERT INTO eventstore.removed_events (id, position, stream, version, type, recorded_at, removed_at, digest) "
			   "SELECT e.id, e.position, e.stream, e.version, e.type, e.recorded_at, pg_catalog.clock_timestamp(), "
			   "eventstore.event_digest(ROW(e.position, e.stream, e.category, e.version, e.id, e.type, e.data, e.metadata, "
			   "e.tags, e.recorded_at)::eventstore.event) FROM ONLY %s e ON CONFLICT DO NOTHING",
			   name);
	es_ddl_run("UPDATE eventstore.archived_ranges SET events = (SELECT pg_catalog.count(*) FROM ONLY %s) "
			   "WHERE from_position OPERATOR(pg_catalog.=) %lld",
			   name, (long long) Max(range->from, 0));
}

/* What the store has put on a table; from now on it is its owner's. */
void
es_depart_release(Oid table)
{
	/* A foreign table has none. */
	if (get_rel_relkind(table) != RELKIND_FOREIGN_TABLE)
		es_ddl_run("ALTER TABLE ONLY %s DISABLE ROW LEVEL SECURITY", es_ddl_table(table));
	es_ddl_release(table);
	es_ddl_run("DELETE FROM eventstore.partition_ids WHERE partition OPERATOR(pg_catalog.=) %u",
			   table);
}

/* Take a table out of eventstore.detached_events, with nobody looking into it. */
void
es_depart_take_out(Oid table)
{
	depart_is_ours = true;
	PG_TRY();
	{
		es_ddl_run("ALTER TABLE ONLY eventstore.detached_events DETACH PARTITION %s",
				   es_ddl_table(table));
	}
	PG_FINALLY();
	{
		depart_is_ours = false;
	}
	PG_END_TRY();
}

static bool
depart_is_noted(const EsRange *range)
{
	return es_ddl_has("SELECT FROM eventstore.archived_ranges WHERE from_position OPERATOR(pg_catalog.=) %lld "
					  "AND events IS NOT NULL",
					  (long long) Max(range->from, 0));
}

/*
 * A table is about to go.
 *
 * Returns false if it is none that was detached, or if the command will be refused
 * anyhow.
 */
static bool
depart_prepare(const RangeVar *name, EsRange *range)
{
	Oid table = RangeVarGetRelid(name, NoLock, true);

	if (!es_depart_find(table, range) || !es_compat_owns_relation(table, GetUserId()))
		return false;
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("partition \"%s\", which was detached, can only be dropped in a READ COMMITTED transaction",
						name->relname)));
	/* Another one who drops it, or attaches it again, comes first or after us. */
	LockRelationOid(table, ShareRowExclusiveLock);
	if (!es_depart_find(table, range))
		return false;
	if (!depart_is_noted(range))
		es_depart_note(range);
	return true;
}

static void
depart_drop(const DropStmt *command)
{
	ListCell *cell;

	foreach (cell, command->objects)
	{
		RangeVar *name = makeRangeVarFromNameList(lfirst_node(List, cell));
		EsRange range;

		if (!depart_prepare(name, &range))
			continue;
		/* Here, as the command would have all who look for ids wait in a queue for the locks that it waits for. */
		es_barrier_have(list_make2_oid(es_catalog_oid(ES_DETACHED), range.table));
		es_depart_take_out(range.table);
		es_depart_release(range.table);
	}
}

/* Raise where a table is put among those at hand whose events are on record. */
static void
depart_check_attached(const RangeVar *name)
{
	const char *literal = quote_literal_cstr(name->relname);

	if (es_ddl_has("SELECT FROM eventstore.archived_ranges WHERE events IS NOT NULL AND partition OPERATOR(pg_catalog.=) %s "
				   "AND NOT EXISTS (SELECT FROM eventstore.archived_ranges WHERE events IS NULL AND partition OPERATOR(pg_catalog.=) %s)",
				   literal, literal))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the events of table \"%s\" are written down already", name->relname),
				 errhint("es_attach_events() brings it back. The restore of a dump can go on without this command.")));
}

static void
depart_alter(const AlterTableStmt *command)
{
	ListCell *cell;

	foreach (cell, command->cmds)
	{
		AlterTableCmd *part = lfirst_node(AlterTableCmd, cell);
		PartitionCmd *what = (PartitionCmd *) part->def;
		EsRange range;

		if ((part->subtype != AT_DetachPartition && part->subtype != AT_AttachPartition) ||
			!es_catalog_has(ES_DETACHED) ||
			RangeVarGetRelid(command->relation, NoLock, true) != es_catalog_oid(ES_DETACHED))
			continue;
		if (part->subtype == AT_AttachPartition)
			depart_check_attached(what->name);
		else if (what->concurrent)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot take a partition out of \"%s.detached_events\" concurrently",
							ES_SCHEMA)));
		else if (depart_prepare(what->name, &range))
			es_depart_release(range.table);
	}
}

/*
 * eventstore.note_departure() -> event_trigger
 *
 * On ddl_command_start.
 */
Datum
es_note_departure(PG_FUNCTION_ARGS)
{
	Node *tree;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"note_departure\" was not called as an event trigger")));
	tree = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (XactReadOnly || tree == NULL || depart_is_ours)
		PG_RETURN_NULL();
	if (IsA(tree, DropStmt) && castNode(DropStmt, tree)->removeType == OBJECT_TABLE)
		depart_drop(castNode(DropStmt, tree));
	else if (IsA(tree, AlterTableStmt))
		depart_alter(castNode(AlterTableStmt, tree));
	PG_RETURN_NULL();
}
