/*-------------------------------------------------------------------------
 *
 * typed_text.c
 *		Forms of the verbs for arguments that a driver sends as text.
 *
 * Many drivers know strings only, and say that they are of the type text or
 * varchar, of which PostgreSQL makes no jsonb, uuid or interval by itself.  Each
 * form here reads the arguments that come so, as a literal would be read, and
 * calls the verb.  Which forms there are, and why: sql/80_typed_text.sql.
 *
 * Memory: the function call's context.  Locks: none of their own.  Calls:
 * literal, reducer, and the verbs, which stand in all the folders.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"

#include "base/literal.h"
#include "base/reducer.h"

/* More than any verb takes. */
#define TYPED_TEXT_MAX_ARGUMENTS 10

/* The input function of each argument that comes as text; NULL: it comes as it is. */
typedef PGFunction TypedTextReaders[TYPED_TEXT_MAX_ARGUMENTS];

/* In the manner of an input function: the reducer of a name. */
static Datum
typed_text_reducer(PG_FUNCTION_ARGS)
{
	text *name = DatumGetTextPP(DirectFunctionCall1(textin, PG_GETARG_DATUM(0)));

	PG_RETURN_OID(es_reducer_find(name));
}

/*
 * Call a verb with what its arguments say.  Not in their place: those of a call
 * that are constant are given once, and used by every execution.
 */
static Datum
typed_text_call(FunctionCallInfo fcinfo, PGFunction verb, const TypedTextReaders readers)
{
	LOCAL_FCINFO(call, TYPED_TEXT_MAX_ARGUMENTS);
	Datum result;
	int i;

	Assert(PG_NARGS() <= TYPED_TEXT_MAX_ARGUMENTS);
	memcpy(call, fcinfo, SizeForFunctionCallInfo(PG_NARGS()));
	for (i = 0; i < PG_NARGS(); i++)
		if (readers[i] != NULL && !PG_ARGISNULL(i))
			call->args[i].value = es_literal_read_argument(fcinfo, i, readers[i]);
	result = verb(call);
	fcinfo->isnull = call->isnull;
	return result;
}

/* A form of a verb, and how it reads its arguments. */
#define TYPED_TEXT_FORM(form, verb, ...) \
	extern Datum verb(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(form); \
	Datum form(PG_FUNCTION_ARGS) \
	{ \
		static const TypedTextReaders readers = {__VA_ARGS__}; \
		return typed_text_call(fcinfo, verb, readers); \
	} \
	extern Datum verb(PG_FUNCTION_ARGS)

/* es_append, with the id as a uuid, or the id alone as text. */
TYPED_TEXT_FORM(es_append_text, es_append, [2] = jsonb_in);
TYPED_TEXT_FORM(es_append_json_text, es_append_event, [3] = jsonb_in, [4] = jsonb_in);
TYPED_TEXT_FORM(es_append_id_text, es_append_event, [5] = uuid_in);
TYPED_TEXT_FORM(es_append_streams_text, es_append_streams, [0] = jsonb_in);
TYPED_TEXT_FORM(es_append_if_text, es_append_if, [1] = jsonb_in, [2] = jsonb_in);
TYPED_TEXT_FORM(es_import_text, es_import, [0] = jsonb_in);

TYPED_TEXT_FORM(es_read_query_text, es_read_query, [0] = jsonb_in);
TYPED_TEXT_FORM(es_stream_as_of_text, es_stream_as_of, [1] = timestamptz_in);
TYPED_TEXT_FORM(es_position_at_text, es_position_at, [0] = timestamptz_in);
TYPED_TEXT_FORM(es_wait_text, es_wait, [1] = interval_in);

TYPED_TEXT_FORM(es_create_subscription_text, es_create_subscription, [6] = interval_in);
TYPED_TEXT_FORM(es_alter_subscription_text, es_alter_subscription, [4] = interval_in);
TYPED_TEXT_FORM(es_fetch_text, es_fetch, [3] = interval_in);
TYPED_TEXT_FORM(es_nack_text, es_nack, [5] = interval_in);
TYPED_TEXT_FORM(es_drop_parked_text, es_drop_parked, [1] = uuid_in);

TYPED_TEXT_FORM(es_create_state_projection_name,
				es_create_state_projection, [1] = typed_text_reducer);
TYPED_TEXT_FORM(es_create_state_projection_text,
				es_create_state_projection, [1] = typed_text_reducer, [2] = jsonb_in);
TYPED_TEXT_FORM(es_wait_projection_text, es_wait_projection, [2] = interval_in);
TYPED_TEXT_FORM(es_projection_as_of_text, es_projection_as_of, [3] = timestamptz_in);
TYPED_TEXT_FORM(es_reassign_projection_text, es_reassign_projection, [1] = regrolein);

TYPED_TEXT_FORM(es_save_snapshot_text, es_save_snapshot, [2] = jsonb_in);
TYPED_TEXT_FORM(es_fold_name, es_fold, [1] = typed_text_reducer);
TYPED_TEXT_FORM(es_fold_text, es_fold, [1] = typed_text_reducer, [2] = jsonb_in);
TYPED_TEXT_FORM(es_fold_text_at,
				es_fold, [1] = typed_text_reducer, [2] = jsonb_in, [4] = timestamptz_in);

TYPED_TEXT_FORM(es_set_retention_text, es_set_retention, [1] = interval_in);
TYPED_TEXT_FORM(es_redact_text, es_redact, [0] = uuid_in);
TYPED_TEXT_FORM(es_protect_text, es_protect, [1] = jsonb_in);
TYPED_TEXT_FORM(es_reveal_text, es_reveal, [0] = jsonb_in);

/* Those of extension eventstore_router, of its verbs that are in C. */
TYPED_TEXT_FORM(es_router_read_all_text, es_router_read_all, [0] = jsonb_in);
TYPED_TEXT_FORM(es_router_read_category_text, es_router_read_category, [1] = jsonb_in);
TYPED_TEXT_FORM(es_router_read_query_text, es_router_read_query, [0] = jsonb_in, [1] = jsonb_in);
