/*-------------------------------------------------------------------------
 *
 * immutability.c
 *		Stored events are never changed.
 *
 * The triggers on eventstore.events that refuse UPDATE, DELETE and TRUNCATE
 * for everyone.  Appends write through the table access method and fire them
 * not.  What forgets events does fire them, as the triggers and keys that a DBA
 * has put on the table have to know; it says before which rows it is about to
 * change, and only these, and only from the inside of its own statement, are let
 * through.  No setting does that, and no role.
 *
 * Where the table is fed by logical replication, what the store that it comes
 * from has forgotten is forgotten, too.
 *
 * Memory: a static variable.  Locks: none.  Calls: catalog, names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "replication/logicalworker.h"
#include "utils/rel.h"

#include "append/immutability.h"
#include "base/catalog.h"
#include "base/errors.h"
#include "base/names.h"

PG_FUNCTION_INFO_V1(es_refuse_change);

/* What may be changed just now; NULL: nothing. */
static const EsPermit *immutability_permit = NULL;

static const char *
immutability_command(TriggerEvent event)
{
	if (TRIGGER_FIRED_BY_UPDATE(event))
		return "UPDATE";
	if (TRIGGER_FIRED_BY_DELETE(event))
		return "DELETE";
	return "TRUNCATE";
}

/* Whether a row is one that may be changed just now. */
static bool
immutability_permits_row(const TriggerData *trigger, const EsPermit *permit)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	bool is_null;
	int64 version = DatumGetInt64(
		heap_getattr(trigger->tg_trigtuple, Anum_events_version, desc, &is_null));
	text *stream = DatumGetTextPP(
		heap_getattr(trigger->tg_trigtuple, Anum_events_stream, desc, &is_null));

	return version >= permit->first && version <= permit->last &&
		es_names_equal(stream, permit->stream);
}

static bool
immutability_permits(const TriggerData *trigger)
{
	const EsPermit *permit = immutability_permit;
	TriggerEvent event = trigger->tg_event;

	if (TRIGGER_FIRED_BY_TRUNCATE(event))
		return false;
	/* What the store that the events come from has let through. */
	if (IsLogicalWorker())
		return true;
	if (permit == NULL || TRIGGER_FIRED_BY_DELETE(event) != (permit->change == ES_CHANGE_REMOVE))
		return false;
	return !TRIGGER_FIRED_FOR_ROW(event) || immutability_permits_row(trigger, permit);
}

/*
 * Do something that changes events which only this permits, and nothing else
 * does: not a trigger's function either that is called on the way.
 */
void
es_immutability_except(const EsPermit *permit, void (*action)(void *), void *argument)
{
	const EsPermit *before = immutability_permit;

	immutability_permit = permit;
	PG_TRY();
	{
		action(argument);
	}
	PG_FINALLY();
	{
		immutability_permit = before;
	}
	PG_END_TRY();
}

/*
 * eventstore.refuse_change() -> trigger
 */
Datum
es_refuse_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"refuse_change\" was not called as a trigger")));

	if (!immutability_permits(trigger))
		ereport(ERROR,
				(errcode(ES_ERRCODE_EVENTS_IMMUTABLE),
				 errmsg("%s on \"%s\" is not permitted: stored events are immutable",
						immutability_command(trigger->tg_event),
						RelationGetRelationName(trigger->tg_relation)),
				 errdetail("Call es_append() instead, with an event that corrects what happened."),
				 errhint("To forget events, call es_truncate_stream(), es_delete_stream() or es_set_retention(); to blank one's data, es_redact().")));
	if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		return PointerGetDatum(NULL);
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
																	  : trigger->tg_trigtuple);
}
