/*-------------------------------------------------------------------------
 *
 * drop.c
 *		The store is not dropped by mistake.
 *
 * The events are rows of a table of the extension's own: whatever drops the
 * extension deletes them, and many a command does: DROP EXTENSION, DROP OWNED,
 * DROP SCHEMA ... CASCADE of the schema with the functions, a restore with
 * --clean.  So it is the table at which it is stopped, in the hook that
 * PostgreSQL calls before it drops an object, whatever the command was.  The
 * rows are still there then; the command has the table's lock, so nobody is
 * appending.
 *
 * A hook is there only where the library is.  A session that has called nothing
 * of ours has not loaded it, unless it is preloaded: an event trigger that comes
 * before all commands that can drop an extension has it loaded.  It could not
 * decide itself: before the command nobody knows what it will drop, and
 * afterwards the trigger is gone with the extension.
 *
 * eventstore.allow_drop decides: off refuses, on lets through, warn, which is the
 * default where the library is not preloaded, does that with a WARNING.
 *
 * The same event trigger refuses to rename schema eventstore, by whose name the
 * library finds everything.
 *
 * Memory: none.  Locks: none; the command has them.  Calls: settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/objectaccess.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "commands/event_trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/catalog.h"
#include "base/settings.h"
#include "keeping/drop.h"

PG_FUNCTION_INFO_V1(es_guard_store);

static object_access_hook_type drop_previous_hook = NULL;

/* A table of the store; InvalidOid where it is not there. */
static Oid
drop_find(const char *name)
{
	Oid schema = get_namespace_oid(ES_SCHEMA, true);

	return OidIsValid(schema) ? get_relname_relid(name, schema) : InvalidOid;
}

/* Whether a table is another one, or a part of it. */
static bool
drop_is_of(Oid table, Oid whole)
{
	return OidIsValid(whole) &&
		(table == whole ||
		 (get_rel_relispartition(table) && list_member_oid(get_partition_ancestors(table), whole)));
}

/* Whether a table that is about to be dropped has a row. */
static bool
drop_has_rows(Oid oid)
{
	Relation table = table_open(oid, AccessShareLock);
	bool result = false;

	if (RelationGetForm(table)->relkind == RELKIND_RELATION)
	{
		Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
		TupleTableSlot *slot = table_slot_create(table, NULL);
		TableScanDesc scan = table_beginscan(table, snapshot, 0, NULL);

		result = table_scan_getnextslot(scan, ForwardScanDirection, slot);
		table_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
		UnregisterSnapshot(snapshot);
	}
	table_close(table, NoLock);
	return result;
}

/* What was detached and is dropped by its name is not the store's any more: depart.c. */
static void
drop_check_detached(Oid table)
{
	ereport(es_guc_allow_drop == ES_DROP_WARN ? WARNING : ERROR,
			(errcode(es_guc_allow_drop == ES_DROP_WARN ? ERRCODE_WARNING
													   : ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 errmsg("partition \"%s\", which was detached, would go with all that is known of its events",
					get_rel_name(table)),
			 errhint("DROP TABLE with its name has their ids written down first.")));
}

/* A partition may be meant alone, or be the first of the store's that goes. */
static const char *
drop_hint(Oid table)
{
	return get_rel_relispartition(table)
		? "To delete them, SET eventstore.allow_drop = on first. A partition alone leaves the store by es_detach_events()."
		: "To delete them, SET eventstore.allow_drop = on first.";
}

static void
drop_check(Oid table)
{
	if (es_guc_allow_drop == ES_DROP_ON || IsBinaryUpgrade)
		return;
	if (drop_is_of(table, drop_find(ES_DETACHED_TABLE)) && drop_has_rows(table))
	{
		drop_check_detached(table);
		return;
	}
	if (!drop_is_of(table, drop_find(ES_EVENTS_TABLE)) || !drop_has_rows(table))
		return;
	if (es_guc_allow_drop == ES_DROP_WARN)
		ereport(WARNING,
				(errcode(ERRCODE_WARNING),
				 errmsg("this DELETES ALL EVENTS of the store"),
				 errdetail("They go with extension eventstore."),
				 errhint("Nothing but ROLLBACK or a backup brings them back. SET eventstore.allow_drop = off has such commands refused.")));
	else
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("cannot drop extension eventstore because its store has events"),
				 errdetail("They would all be deleted with it."),
				 errhint("%s", drop_hint(table))));
}

static void
drop_hook(ObjectAccessType access, Oid class, Oid object, int column, void *argument)
{
	if (drop_previous_hook)
		drop_previous_hook(access, class, object, column, argument);
	if (access != OAT_DROP || column != 0)
		return;
	if (class == RelationRelationId)
		drop_check(object);
	/* The schema goes first where the table was taken out of the extension. */
	else if (class == NamespaceRelationId && object == get_namespace_oid(ES_SCHEMA, true) &&
			 OidIsValid(drop_find(ES_EVENTS_TABLE)))
		drop_check(drop_find(ES_EVENTS_TABLE));
}

/*
 * eventstore.guard_store() -> event_trigger
 *
 * On ddl_command_start.  To be called is enough to have the hook there.
 */
Datum
es_guard_store(PG_FUNCTION_ARGS)
{
	Node *tree;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"guard_store\" was not called by event trigger manager")));
	tree = ((EventTriggerData *) fcinfo->context)->parsetree;
	if (tree != NULL && IsA(tree, RenameStmt) &&
		castNode(RenameStmt, tree)->renameType == OBJECT_SCHEMA &&
		strcmp(castNode(RenameStmt, tree)->subname, ES_SCHEMA) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot rename schema \"%s\" because extension eventstore requires its name",
						ES_SCHEMA)));
	PG_RETURN_NULL();
}

/* Called once, by _PG_init. */
void
es_drop_init(void)
{
	drop_previous_hook = object_access_hook;
	object_access_hook = drop_hook;
}
