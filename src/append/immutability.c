/*-------------------------------------------------------------------------
 *
 * immutability.c
 *		Stored events are never changed.
 *
 * The triggers on eventstore.events that refuse UPDATE, DELETE and TRUNCATE
 * for everyone.  The store's own functions write through the table access
 * method and fire them not.
 *
 * Memory, locks: none.  Calls: nothing of ours.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

#include "base/errors.h"

PG_FUNCTION_INFO_V1(es_refuse_change);

static const char *
immutability_command(TriggerEvent event)
{
	if (TRIGGER_FIRED_BY_UPDATE(event))
		return "UPDATE";
	if (TRIGGER_FIRED_BY_DELETE(event))
		return "DELETE";
	return "TRUNCATE";
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

	ereport(ERROR,
			(errcode(ES_ERRCODE_EVENTS_IMMUTABLE),
			 errmsg("%s on \"%s\" is not permitted: stored events are immutable",
					immutability_command(trigger->tg_event), RelationGetRelationName(trigger->tg_relation)),
			 errdetail("Call es_append() instead, with an event that corrects what happened.")));
	PG_RETURN_NULL();
}
