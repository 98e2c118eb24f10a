/*-------------------------------------------------------------------------
 *
 * intact.c
 *		Whether a crash has emptied a projection's tables.
 *
 * An UNLOGGED table is empty after a crash, and on a standby that is promoted;
 * its projection must not count on from nothing.  Such a projection has a row in
 * eventstore.intact_projections, which is an UNLOGGED table, too: it vanishes
 * together with the projection's rows, and with pg_dump
 * --no-unlogged-table-data it is left out together with them.
 *
 * The row is written when the projection is made or rebuilt, and by an event
 * trigger when ALTER TABLE makes a table UNLOGGED.  Made LOGGED after a crash, a
 * table is as empty as before; so the same trigger then has it noted that the
 * projection is stale.
 *
 * Memory: results in the current context.  Locks: AccessShare or RowExclusive
 * on eventstore.intact_projections.  Calls: catalog, projection, readtable, scan,
 * stale.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/relation.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/event_trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/scan.h"
#include "projection/intact.h"
#include "projection/readtable.h"
#include "projection/stale.h"

PG_FUNCTION_INFO_V1(es_note_rewrite);

/* ----------------------------------------------------------------------
 * Tables
 * ----------------------------------------------------------------------
 */

static bool
intact_is_unlogged(Oid table)
{
	ListCell *cell;

	if (get_rel_persistence(table) == RELPERSISTENCE_UNLOGGED)
		return true;
	if (get_rel_relkind(table) != RELKIND_PARTITIONED_TABLE)
		return false;
	foreach (cell, find_all_inheritors(table, NoLock, NULL))
		if (get_rel_persistence(lfirst_oid(cell)) == RELPERSISTENCE_UNLOGGED)
			return true;
	return false;
}

/* Name of a projection's table that is unlogged; NULL: none is. */
static char *
intact_find_unlogged(const EsProjection *projection)
{
	ListCell *cell;

	foreach (cell, projection->tables)
	{
		Oid table = es_readtable_find(lfirst(cell));

		if (OidIsValid(table) && intact_is_unlogged(table))
			return lfirst(cell);
	}
	return NULL;
}

/* Whether a table, or one that it is a partition of, is a projection's. */
static bool
intact_has_table(const EsProjection *projection, Oid table)
{
	List *tables = list_make1_oid(table);
	ListCell *cell;

	if (get_rel_relispartition(table))
		tables = list_concat(tables, get_partition_ancestors(table));
	foreach (cell, projection->tables)
		if (list_member_oid(tables, es_readtable_find(lfirst(cell))))
			return true;
	return false;
}

/* ----------------------------------------------------------------------
 * Rows of eventstore.intact_projections
 * ----------------------------------------------------------------------
 */

static bool
intact_is_noted(const char *projection)
{
	Relation rel = es_catalog_open(ES_INTACT, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	bool is_found;
	EsScan scan;

	es_scan_open(&scan, rel, ES_INTACT_PROJECTION);
	es_scan_add_key(&scan, 1, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(projection));
	es_scan_begin(&scan, snapshot);
	is_found = es_scan_next(&scan, ForwardScanDirection);
	es_scan_close(&scan);
	UnregisterSnapshot(snapshot);
	relation_close(rel, NoLock);
	return is_found;
}

/* Written directly, as who alters a table may have no right to. */
static void
intact_note(const char *projection)
{
	Relation rel = es_catalog_open(ES_INTACT, RowExclusiveLock);
	Datum values[Natts_intact] = {CStringGetTextDatum(projection)};
	bool nulls[Natts_intact] = {false};
	HeapTuple row = heap_form_tuple(RelationGetDescr(rel), values, nulls);

	CatalogTupleInsert(rel, row);
	heap_freetuple(row);
	relation_close(rel, NoLock);
	CommandCounterIncrement();
}

/*
 * Whether a crash may have emptied a table of a projection since it was right.
 *
 * reason: receives a sentence about it.
 */
bool
es_intact_is_lost(const EsProjection *projection, char **reason)
{
	char *table = intact_find_unlogged(projection);

	/* On a standby it is not to be seen, and nothing is applied. */
	if (table == NULL || RecoveryInProgress() || intact_is_noted(projection->name))
		return false;
	*reason = psprintf("Table %s is unlogged, and a crash has emptied it.", table);
	return true;
}

/* Tables that are unlogged are a risk that who makes them so should know of. */
static void
intact_warn(const EsProjection *projection, const char *table)
{
	ereport(WARNING,
			(errmsg("table %s of projection \"%s\" is unlogged", table, projection->name),
			 errdetail("A crash empties it. The projection is not applied from then on, until es_rebuild_projection.")));
}

/*
 * The tables of a projection are right at this moment: from now on a crash that
 * empties them is noticed.
 */
void
es_intact_begin(const EsProjection *projection)
{
	char *table = intact_find_unlogged(projection);

	if (table == NULL)
		return;
	if (!intact_is_noted(projection->name))
		intact_note(projection->name);
	intact_warn(projection, table);
}

/* ----------------------------------------------------------------------
 * ALTER TABLE
 * ----------------------------------------------------------------------
 */

/* A table of a projection is about to become unlogged, or logged. */
static void
intact_rewrite(const EsProjection *projection, Oid table, bool becomes_unlogged)
{
	char *reason;

	if (es_intact_is_lost(projection, &reason))
	{
		if (!becomes_unlogged && !projection->is_stale)
			es_stale_note(projection->name, ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, reason);
		return;
	}
	if (!becomes_unlogged)
		return;
	if (!intact_is_noted(projection->name))
		intact_note(projection->name);
	intact_warn(projection,
				quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
										   get_rel_name(table)));
}

/*
 * Event trigger on table_rewrite.  It is told before the table is changed.
 */
Datum
es_note_rewrite(PG_FUNCTION_ARGS)
{
	int reason;
	Oid table;
	ListCell *cell;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by event trigger manager", "note_rewrite")));
	reason = DatumGetInt32(OidFunctionCall0(F_PG_EVENT_TRIGGER_TABLE_REWRITE_REASON));
	if ((reason & AT_REWRITE_ALTER_PERSISTENCE) == 0)
		PG_RETURN_NULL();
	table = DatumGetObjectId(OidFunctionCall0(F_PG_EVENT_TRIGGER_TABLE_REWRITE_OID));
	foreach (cell, es_projection_list())
	{
		const EsProjection *projection = lfirst(cell);

		if (intact_has_table(projection, table))
			intact_rewrite(projection, table,
						   get_rel_persistence(table) == RELPERSISTENCE_PERMANENT);
	}
	PG_RETURN_NULL();
}
