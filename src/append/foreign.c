/*-------------------------------------------------------------------------
 *
 * foreign.c
 *		Events that are stored without an append.
 *
 * A restore, a COPY or logical replication puts events into the
 * table at positions that nobody has taken.  Two triggers on eventstore.events
 * note it, so that who appends next looks whether positions go on above those
 * (floor.c): one for each statement, which comes ALWAYS; and one for each row
 * that logical replication applies, as that fires no triggers of statements.
 * Appends store what they have taken positions for, and pass them over, as they
 * do that of restore.c, which refuses what is no restore.
 *
 * es_repair_positions() has positions go on above all events that there are,
 * and the numbers of subscriptions, which come from a sequence, too.
 *
 * Memory: none.  Locks: es_repair_positions ShareRowExclusive on
 * eventstore.events, to the end of the transaction; the row of
 * eventstore.tally_state.  Calls: arguments, catalog, fence, floor, member, position,
 * share, sql, transaction.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"

#include "append/foreign.h"
#include "base/arguments.h"
#include "base/catalog.h"
#include "base/sql.h"
#include "order/fence.h"
#include "order/floor.h"
#include "order/member.h"
#include "order/position.h"
#include "order/transaction.h"
#include "subscription/share.h"

PG_FUNCTION_INFO_V1(es_note_foreign_events);
PG_FUNCTION_INFO_V1(es_repair_positions);

/* Above it there would be too few left. */
#define FOREIGN_HIGHEST (PG_INT64_MAX / 2)

/* Whether a trigger on eventstore.events is one of those that appends pass over. */
bool
es_foreign_is_noted_by(const Trigger *trigger)
{
	return strcmp(trigger->tgname, ES_EVENTS_FOREIGN_TRIGGER) == 0 ||
		strcmp(trigger->tgname, ES_EVENTS_REPLICATED_TRIGGER) == 0 ||
		strcmp(trigger->tgname, ES_EVENTS_APPENDED_TRIGGER) == 0;
}

/*
 * Have a copy of the triggers of eventstore.events be without those that appends
 * pass over.
 */
void
es_foreign_allow(TriggerDesc *triggers)
{
	int i;

	triggers->trig_insert_after_row = false;
	triggers->trig_insert_after_statement = false;
	for (i = 0; i < triggers->numtriggers; i++)
	{
		Trigger *trigger = &triggers->triggers[i];

		if (es_foreign_is_noted_by(trigger))
			trigger->tgenabled = TRIGGER_DISABLED;
		else if (TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_ROW, TRIGGER_TYPE_AFTER,
									  TRIGGER_TYPE_INSERT))
			triggers->trig_insert_after_row = true;
		else if (TRIGGER_TYPE_MATCHES(trigger->tgtype, TRIGGER_TYPE_STATEMENT, TRIGGER_TYPE_AFTER,
									  TRIGGER_TYPE_INSERT))
			triggers->trig_insert_after_statement = true;
	}
}

/*
 * Events may have come below where they are counted (sql/80_tallies.sql): have
 * them counted anew.
 */
static void
foreign_reset_tallies(void)
{
	static EsSql statement =
		ES_SQL("WITH reset AS (UPDATE eventstore.tally_state s SET upto = 0 WHERE s.upto OPERATOR(pg_catalog.>) $1 RETURNING s.upto), "
			   "gone AS (DELETE FROM eventstore.tally_removals WHERE EXISTS (SELECT FROM reset)) "
			   "DELETE FROM eventstore.tallies WHERE EXISTS (SELECT FROM reset)",
			   INT8OID);
	Datum none = Int64GetDatum(0);

	(void) es_sql_run_as_owner(&statement, &none, NULL);
}

/*
 * eventstore.note_foreign_events() -> trigger
 */
Datum
es_note_foreign_events(PG_FUNCTION_ARGS)
{
	bool is_statement;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"note_foreign_events\" was not called as a trigger")));
	is_statement = TRIGGER_FIRED_FOR_STATEMENT(((TriggerData *) fcinfo->context)->tg_event);
	/* As long as rows come by logical replication, nobody appends. */
	es_position_disown(is_statement);
	es_transaction_store_foreign();
	/* Nor is anything counted. */
	if (is_statement)
		foreign_reset_tallies();
	return PointerGetDatum(NULL);
}

/* Whether positions go on above all, as far as can be seen without a lock. */
static bool
foreign_is_right(int64 above, int64 *last)
{
	int64 floor = es_floor_find();
	bool is_ours;

	*last = es_position_given_out(false, &is_ours);
	return is_ours && *last >= floor && *last >= above;
}

/*
 * es_repair_positions(above bigint = 0) -> bigint
 *
 * The lock waits for who is storing events, whose positions nobody knows, and
 * keeps others from it.
 */
Datum
es_repair_positions(PG_FUNCTION_ARGS)
{
	int64 above;
	int64 floor;
	int64 last;
	bool has_fence;

	es_arguments_check_not_null(fcinfo, 0, "above");
	above = PG_GETARG_INT64(0);
	if (above < 0 || above > FOREIGN_HIGHEST)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("above must be from 0 to %lld", (long long) FOREIGN_HIGHEST)));
	PreventCommandIfReadOnly("es_repair_positions()");
	PreventCommandIfParallelMode("es_repair_positions()");

	es_floor_check_fed();
	/* Async projections may go on then, and who waits for events. */
	es_transaction_change_projection();
	es_transaction_store_foreign();
	/* Tokens and revisions have gaps as they like. */
	(void) es_position_raise(ES_TOKENS, es_share_highest_number(), 0);
	(void) es_position_raise(ES_REVISIONS, es_recall_highest_revision(), 0);
	if (foreign_is_right(above, &last))
		PG_RETURN_INT64(last);
	has_fence = !es_fence_keep_down();
	relation_close(es_catalog_open(ES_EVENTS, ShareRowExclusiveLock), NoLock);
	floor = es_floor_find();
	last = es_position_raise(ES_POSITIONS, Max(floor, above), es_member_get_anew()->epoch);
	if (has_fence)
		es_position_disown(false);
	PG_RETURN_INT64(last);
}
