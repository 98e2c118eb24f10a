/*-------------------------------------------------------------------------
 *
 * append_if.c
 *		The verb of decisions over more than one stream: es_append_if.
 *
 * Memory: the function call's context.  Locks: nothing of its own.  Calls:
 * arguments, condition, event, json, query, store.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "append/json.h"
#include "append/store.h"
#include "base/arguments.h"
#include "base/event.h"
#include "condition/condition.h"
#include "condition/query.h"

PG_FUNCTION_INFO_V1(es_append_if);

/*
 * es_append_if(stream text, events jsonb, query jsonb, after_position bigint = 0) -> bigint
 */
Datum
es_append_if(PG_FUNCTION_ARGS)
{
	EsCondition condition;
	EsAppend append;

	es_arguments_check_not_null(fcinfo, 0, "stream");
	es_event_append_init(&append, PG_GETARG_TEXT_PP(0), ES_EXPECT_ANY);
	es_arguments_check_not_null(fcinfo, 1, "events");
	es_json_read_events(&append, PG_GETARG_JSONB_P(1));
	es_arguments_check_not_null(fcinfo, 2, "query");
	condition.query = es_query_read(PG_GETARG_JSONB_P(2));
	condition.after = es_arguments_get_position(fcinfo, 3, "after_position");
	es_store_append(&append, 1, "es_append_if()", &condition);
	PG_RETURN_INT64(append.last_version);
}
