/*-------------------------------------------------------------------------
 *
 * restore.c
 *		INSERT into the store's tables: what a restore may, and nobody else.
 *
 * An event that is put into eventstore.events by an INSERT has no place in its
 * stream: the stream's row does not know of it, and the next append takes the
 * same version.  ORMs that know the table do that, as its owner or a superuser.
 * So triggers on eventstore.events and eventstore.streams refuse INSERT, before
 * it has stored a row; appends do not fire them (foreign.c).
 *
 * A restore has to put rows there, first those of one table and then those of
 * the other, in transactions of their own; nothing that could be looked at in
 * between tells it from others.  It is told by how it comes:
 *
 *	 COPY						of a dump, or from a file of one's own
 *	 check_function_bodies		switched off, as the scripts of pg_dump and
 *								pg_restore do in their first lines, and nobody does
 *								who stores data: of a dump with --inserts
 *	 session_replication_role	replica, of who applies the changes of another server,
 *								PostgreSQL's own processes among them: the triggers
 *								do not fire then
 *	 eventstore.restoring		on, for whatever else there may be
 *
 * What came that way without the stream's row is found by es_verify, and
 * es_repair_streams mends the row.
 *
 * Memory: none.  Locks: none.  Calls: settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/rel.h"

#include "append/restore.h"
#include "base/errors.h"
#include "base/settings.h"

PG_FUNCTION_INFO_V1(es_refuse_insert);

/*
 * Whether the statement is a COPY into the table that a client has sent: not an
 * INSERT in a trigger of a table that he copies into, or in a function that a COPY
 * calls.
 */
static bool
restore_is_copy(Oid table)
{
	const CopyStmt *copy;

	if (ActivePortal == NULL || ActivePortal->commandTag != CMDTAG_COPY ||
		list_length(ActivePortal->stmts) != 1)
		return false;
	copy = (const CopyStmt *) linitial_node(PlannedStmt, ActivePortal->stmts)->utilityStmt;
	return copy != NULL && IsA(copy, CopyStmt) && copy->is_from &&
		RangeVarGetRelid(copy->relation, NoLock, true) == table &&
		DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0)) == 1;
}

static bool
restore_is_one(Oid table)
{
	return es_guc_restoring || !check_function_bodies || restore_is_copy(table);
}

/* From here to es_restore_end INSERT is let through; an error ends it, too. */
void
es_restore_begin(int *level)
{
	*level = NewGUCNestLevel();
	(void) set_config_option("eventstore.restoring", "on", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

void
es_restore_end(int level)
{
	AtEOXact_GUC(false, level);
}

/*
 * eventstore.refuse_insert() -> trigger
 */
Datum
es_refuse_insert(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"refuse_insert\" was not called as a trigger")));
	if (!restore_is_one(RelationGetRelid(((TriggerData *) fcinfo->context)->tg_relation)))
		ereport(ERROR,
				(errcode(ES_ERRCODE_EVENTS_IMMUTABLE),
				 errmsg("INSERT on \"%s\" is not permitted: events are appended",
						RelationGetRelationName(
							((TriggerData *) fcinfo->context)->tg_relation)),
				 errdetail("An event that is inserted has no place in its stream, and the next append fails."),
				 errhint("Call es_append(). To restore what was dumped, use COPY, or SET eventstore.restoring = on.")));
	return PointerGetDatum(NULL);
}
