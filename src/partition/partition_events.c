/*-------------------------------------------------------------------------
 *
 * partition_events.c
 *		The verb es_partition_events.
 *
 * The first call has the table made of ranges (convert.c); what is there becomes
 * the first one, which goes on to the next multiple of the width.  Later calls
 * say how wide the ranges are that are made from now on.
 *
 * In the restore of a dump the extension makes a plain table, and the dump's own
 * commands attach ranges to it.  An event trigger sees the first of them, and
 * converts the table before the command is looked at.
 *
 * Memory: the function call's context.  Locks: AccessExclusive on
 * eventstore.events and its TOAST table, tried for moments; the userlock "ranges".  Calls:
 * arguments, barrier, catalog, convert, ddl, floor, make, member, order, ranges.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/event_trigger.h"
#include "commands/tablecmds.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/ranges.h"
#include "base/scan.h"
#include "base/sql.h"
#include "order/floor.h"
#include "order/member.h"
#include "order/order.h"
#include "partition/convert.h"
#include "partition/ddl.h"
#include "partition/make.h"
#include "projection/barrier.h"

PG_FUNCTION_INFO_V1(es_partition_events);
PG_FUNCTION_INFO_V1(es_receive_range);

/* Wider ones have no use, and numbers would overflow. */
#define PARTITION_WIDEST (INT64CONST(1) << 56)

/* ----------------------------------------------------------------------
 * What cannot be
 * ----------------------------------------------------------------------
 */

static void
partition_refuse(const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("\"%s.events\" cannot be partitioned as it is", ES_SCHEMA), errdetail("%s", detail),
			 errhint("%s", hint)));
}

/* The table that takes the rows over has to have the same columns, one by one. */
static void
partition_check_columns(Relation events)
{
	TupleDesc desc = RelationGetDescr(events);
	int i;

	for (i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);

		if (column->attisdropped)
			partition_refuse("A column that somebody had added has been dropped from it.",
							 "A dump and a restore leave no trace of it.");
		if (column->atthasmissing)
			partition_refuse("A column that somebody has added is not in all rows yet.",
							 "VACUUM FULL eventstore.events writes it into them.");
		if (column->attidentity)
			partition_refuse("A column that somebody has added is an identity.",
							 "Have a default take its place.");
	}
}

static void
partition_check_constraints(Relation events)
{
	static EsSql statement =
		ES_SQL("SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint "
			   "WHERE (confrelid OPERATOR(pg_catalog.=) $1 AND contype OPERATOR(pg_catalog.=) 'f') OR "
			   "(conrelid OPERATOR(pg_catalog.=) $1 AND (contype OPERATOR(pg_catalog.=) 'f' OR condeferrable))",
			   OIDOID);
	Datum values[] = {ObjectIdGetDatum(RelationGetRelid(events))};

	if (es_sql_number(&statement, values, NULL) > 0)
		partition_refuse(
			"A foreign key refers to it or from it, or a constraint of it is deferrable.",
			"Drop the constraint; event ids are better references, as events can be detached.");
}

/* A table that is made like it would have the column without nulls for certain. */
static void
partition_check_not_null(Relation events)
{
	static EsSql statement =
		ES_SQL("SELECT pg_catalog.count(*) FROM pg_catalog.pg_constraint "
			   "WHERE conrelid OPERATOR(pg_catalog.=) $1 AND contype OPERATOR(pg_catalog.=) 'n' AND NOT convalidated",
			   OIDOID);
	Datum values[] = {ObjectIdGetDatum(RelationGetRelid(events))};

	if (es_sql_number(&statement, values, NULL) > 0)
		partition_refuse("A column's NOT NULL has not been validated.",
						 "ALTER TABLE ... VALIDATE CONSTRAINT does that.");
}

/* Subscribers would be sent events under the names of partitions. */
static void
partition_check_publications(Relation events)
{
	static EsSql statement = ES_SQL(
		"SELECT pg_catalog.count(*) FROM pg_catalog.pg_publication p WHERE NOT p.pubviaroot AND (p.puballtables OR "
		"EXISTS (SELECT FROM pg_catalog.pg_publication_rel r WHERE r.prpubid OPERATOR(pg_catalog.=) p.oid AND r.prrelid OPERATOR(pg_catalog.=) $1) OR "
		"EXISTS (SELECT FROM pg_catalog.pg_publication_namespace n, pg_catalog.pg_class c "
		"WHERE n.pnpubid OPERATOR(pg_catalog.=) p.oid AND n.pnnspid OPERATOR(pg_catalog.=) c.relnamespace AND c.oid OPERATOR(pg_catalog.=) $1))",
		OIDOID);
	Datum values[] = {ObjectIdGetDatum(RelationGetRelid(events))};

	if (es_sql_number(&statement, values, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("a publication would publish events under the names of partitions"),
				 errhint("ALTER PUBLICATION ... SET (publish_via_partition_root = true) for each that has the table, and call es_partition_events() then.")));
}

/* Partitions get triggers for rows as their own, and those can not see what else the statement has stored. */
static void
partition_check_triggers(Relation events)
{
	const TriggerDesc *triggers = events->trigdesc;
	int i;

	for (i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (TRIGGER_FOR_ROW(triggers->triggers[i].tgtype) &&
			(triggers->triggers[i].tgnewtable != NULL || triggers->triggers[i].tgoldtable != NULL))
			partition_refuse("A trigger for rows has a transition table.",
							 "Have a trigger FOR EACH STATEMENT take its place.");
}

static void
partition_check(Relation events)
{
	if (RelationGetForm(events)->relpersistence != RELPERSISTENCE_PERMANENT)
		partition_refuse("It is unlogged.",
						 "ALTER TABLE ... SET LOGGED makes it a table that a crash does not empty.");
	if (es_floor_is_fed() || es_member_get()->is_mirror)
		partition_refuse("Events come to it by logical replication, and partitions are made by appends.",
						 "Call es_partition_events() when it has become a store of its own.");
	if (RelationGetForm(events)->relam != HEAP_TABLE_AM_OID)
		partition_refuse("It is not of access method heap.", "VACUUM and ALTER TABLE make it one.");
	if (RelationGetForm(events)->relispartition || has_superclass(RelationGetRelid(events)) ||
		has_subclass(RelationGetRelid(events)))
		partition_refuse("It inherits from another table, or another from it.",
						 "Take it out of there by ALTER TABLE ... NO INHERIT.");
	partition_check_columns(events);
	partition_check_constraints(events);
	partition_check_not_null(events);
	partition_check_triggers(events);
	partition_check_publications(events);
}

/* ----------------------------------------------------------------------
 * The verb
 * ----------------------------------------------------------------------
 */

/* The end of the first range: nothing that was given out is at or above it. */
static int64
partition_first_end(int64 every)
{
	int64 last = es_order_last();

	return (last / every + 1) * every;
}

/*
 * What is altered besides eventstore.events.  Autovacuum may be in a TOAST table
 * for hours without any lock on the table that it belongs to.
 */
static List *
partition_find_toast(void)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Oid toast = RelationGetForm(events)->reltoastrelid;

	relation_close(events, NoLock);
	return OidIsValid(toast) ? list_make1_oid(toast) : NIL;
}

static void
partition_convert(int64 every)
{
	Relation events;

	es_barrier_close(partition_find_toast());
	events = es_catalog_open(ES_EVENTS, AccessExclusiveLock);
	/* Somebody else may have been quicker. */
	if (es_ranges_are_of(events))
	{
		relation_close(events, NoLock);
		return;
	}
	CheckTableNotInUse(events, "es_partition_events");
	partition_check(events);
	es_convert_keep_rows(events, partition_first_end(every));
}

/*
 * es_partition_events(every bigint) -> void
 */
Datum
es_partition_events(PG_FUNCTION_ARGS)
{
	int64 every;

	es_arguments_check_not_null(fcinfo, 0, "every");
	every = PG_GETARG_INT64(0);
	if (every < 1 || every > PARTITION_WIDEST)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("every must be from 1 to %lld positions", (long long) PARTITION_WIDEST)));
	PreventCommandIfReadOnly("es_partition_events()");
	PreventCommandIfParallelMode("es_partition_events()");

	es_make_lock();
	if (!es_make_is_partitioned())
		partition_convert(every);
	es_make_set_every(every);
	es_make_upto(es_order_last() + 1, ES_MAKE_AHEAD);
	PG_RETURN_VOID();
}

/* ----------------------------------------------------------------------
 * In a restore
 * ----------------------------------------------------------------------
 */

/* Whether a command attaches a range to eventstore.events. */
static bool
receive_is_meant(const AlterTableStmt *command)
{
	ListCell *cell;

	foreach (cell, command->cmds)
		if (lfirst_node(AlterTableCmd, cell)->subtype == AT_AttachPartition)
			return es_catalog_has(ES_EVENTS) &&
				RangeVarGetRelid(command->relation, NoLock, true) == es_catalog_oid(ES_EVENTS);
	return false;
}

static bool
receive_is_empty(Relation events)
{
	SnapshotData dirty;
	EsScan scan;
	bool result;

	InitDirtySnapshot(dirty);
	es_scan_open(&scan, events, ES_EVENTS_PKEY);
	es_scan_begin(&scan, &dirty);
	result = !es_scan_next(&scan, ForwardScanDirection);
	es_scan_close(&scan);
	return result;
}

/*
 * eventstore.receive_partition() -> event_trigger
 */
Datum
es_receive_range(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger = (EventTriggerData *) fcinfo->context;
	Relation events;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"receive_partition\" was not called as an event trigger")));
	if (!IsA(trigger->parsetree, AlterTableStmt) ||
		!receive_is_meant((AlterTableStmt *) trigger->parsetree) || es_make_is_partitioned())
		PG_RETURN_NULL();
	/* Before anything is locked: whom the command will refuse must not have others wait for him. */
	if (!es_compat_owns_relation(es_catalog_oid(ES_EVENTS), GetUserId()))
		PG_RETURN_NULL();

	events = es_catalog_open(ES_EVENTS, AccessExclusiveLock);
	if (!es_ranges_are_of(events) && receive_is_empty(events))
	{
		CheckTableNotInUse(events, "ALTER TABLE");
		es_convert_empty(events);
	}
	relation_close(events, NoLock);
	PG_RETURN_NULL();
}
