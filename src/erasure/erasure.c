/*-------------------------------------------------------------------------
 *
 * erasure.c
 *		The verbs of erasure by keys: es_protect, es_reveal, es_erase_subject.
 *
 * es_reveal opens what it finds at any depth, and what it finds in there.  It
 * looks keys up as of the moment: what is erased while a statement runs is null
 * from then on.
 *
 * Memory: the function call's context.  Locks: see key.c and traces.c.  Calls:
 * arguments, envelope, key, names, rights, traces.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/arguments.h"
#include "base/compat.h"
#include "base/names.h"
#include "erasure/key.h"
#include "erasure/traces.h"
#include "rights/rights.h"

PG_FUNCTION_INFO_V1(es_protect);
PG_FUNCTION_INFO_V1(es_reveal);
PG_FUNCTION_INFO_V1(es_erase_subject);

static text *
erasure_get_subject(FunctionCallInfo fcinfo)
{
	text *subject;

	es_arguments_check_not_null(fcinfo, 0, "subject");
	subject = PG_GETARG_TEXT_PP(0);
	es_names_check_subject(subject);
	return subject;
}

/* ----------------------------------------------------------------------
 * Protecting
 * ----------------------------------------------------------------------
 */

/*
 * es_protect(subject text, value jsonb) -> jsonb
 */
Datum
es_protect(PG_FUNCTION_ARGS)
{
	text *subject = erasure_get_subject(fcinfo);
	Jsonb *envelope;
	EsKey key;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("value must not be null"),
				 errhint("Protect the JSON value null for a value that is nothing.")));
	/* Above all because of the snapshot that keys are looked for by. */
	PreventCommandIfParallelMode("es_protect()");
	es_cipher_require();
	es_key_obtain(subject, &key);
	envelope = es_envelope_make(subject, &key, PG_GETARG_JSONB_P(1));
	explicit_bzero(&key, sizeof(key));
	PG_RETURN_JSONB_P(envelope);
}

/* ----------------------------------------------------------------------
 * Revealing
 * ----------------------------------------------------------------------
 */

static void
reveal_has_lost(const text *subject, const EsEnvelope *envelope)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("a key of subject \"%s\" is lost", text_to_cstring(subject)),
			 errdetail("The envelope was made with the key %s.",
					   es_envelope_key_name(envelope->key_id)),
			 errhint("Bring the key back: the rows of eventstore.subject_keys, or what eventstore.key_provider has. "
					 "If it is gone for good, es_erase_subject() makes null of what it protected.")));
}

static void
reveal_is_forged(const text *subject)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_EXCEPTION),
			 errmsg("an envelope of subject \"%s\" does not open", text_to_cstring(subject)),
			 errdetail("It is not as es_protect() made it.")));
}

/* What is in an envelope; NULL if its subject is erased. */
static Jsonb *
reveal_open(const EsEnvelope *envelope)
{
	text *subject = cstring_to_text_with_len(envelope->subject, envelope->subject_length);
	Jsonb *value = NULL;
	EsKey key;

	PreventCommandIfParallelMode("es_reveal()");
	es_rights_check_reveal(subject);
	switch (es_key_find(subject, envelope->key_id, &key))
	{
		case ES_KEY_FOUND:
			value = es_envelope_open(envelope, &key);
			explicit_bzero(&key, sizeof(key));
			if (value == NULL)
				reveal_is_forged(subject);
			return value;
		case ES_KEY_LOST:
			reveal_has_lost(subject, envelope);
			break;
		case ES_KEY_ERASED:
			break;
	}
	return NULL;
}

/* What is in an envelope that may hold another one, and so on. */
static Jsonb *
reveal_unpack(EsEnvelope envelope)
{
	Jsonb *value;

	do
	{
		CHECK_FOR_INTERRUPTS();
		value = reveal_open(&envelope);
	} while (value != NULL && es_envelope_read(&value->root, &envelope));
	return value;
}

static Jsonb *
reveal_null(void)
{
	JsonbValue null = {.type = jbvNull};

	return JsonbValueToJsonb(&null);
}

/* A value as a part of others. */
static JsonbValue
reveal_part(Jsonb *value)
{
	JsonbValue part = {.type = jbvNull};

	if (value != NULL && !(JB_ROOT_IS_SCALAR(value) && JsonbExtractScalar(&value->root, &part)))
		JsonbToJsonbValue(value, &part);
	return part;
}

/*
 * Add a container to what is being built, with what it holds revealed.
 *
 * Returns what is built, once it is complete.
 */
static JsonbValue *
reveal_add(JsonbParseState **state, JsonbContainer *container)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue *built = NULL;
	JsonbValue value;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		bool is_part = token == WJB_VALUE || token == WJB_ELEM;
		EsEnvelope envelope;

		if (is_part && value.type == jbvBinary)
		{
			if (!es_envelope_read(value.val.binary.data, &envelope))
			{
				(void) reveal_add(state, value.val.binary.data);
				continue;
			}
			value = reveal_part(reveal_unpack(envelope));
			/* An envelope in it is no root, and has not been unpacked. */
			if (value.type == jbvBinary && es_envelope_is_in(value.val.binary.data, NULL))
			{
				(void) reveal_add(state, value.val.binary.data);
				continue;
			}
		}
		built = pushJsonbValue(state, token, is_part || token == WJB_KEY ? &value : NULL);
	}
	return built;
}

/*
 * es_reveal(data jsonb) -> jsonb
 */
Datum
es_reveal(PG_FUNCTION_ARGS)
{
	Jsonb *data = PG_GETARG_JSONB_P(0);
	JsonbParseState *state = NULL;
	EsEnvelope envelope;

	if (es_envelope_read(&data->root, &envelope))
	{
		data = reveal_unpack(envelope);
		if (data == NULL)
			PG_RETURN_JSONB_P(reveal_null());
	}
	if (!es_envelope_is_in(&data->root, NULL))
		PG_RETURN_JSONB_P(data);
	PG_RETURN_JSONB_P(JsonbValueToJsonb(reveal_add(&state, &data->root)));
}

/* ----------------------------------------------------------------------
 * Erasing
 * ----------------------------------------------------------------------
 */

/*
 * es_erase_subject(subject text, reason text) -> void
 */
Datum
es_erase_subject(PG_FUNCTION_ARGS)
{
	text *subject = erasure_get_subject(fcinfo);

	es_arguments_check_not_null(fcinfo, 1, "reason");
	PreventCommandIfReadOnly("es_erase_subject()");
	PreventCommandIfParallelMode("es_erase_subject()");
	es_key_destroy(subject, PG_GETARG_TEXT_PP(1));
	es_traces_remove(subject);
	PG_RETURN_VOID();
}
