/*-------------------------------------------------------------------------
 *
 * json.c
 *		Events that a caller gives as JSON.
 *
 * Memory: results in the current context.  Locks: none.  Calls: document, event.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "append/json.h"
#include "base/compat.h"
#include "base/document.h"
#include "base/event.h"

/* The JSON object {}: a varlena header, and a container of no pairs. */
static Jsonb *
json_empty_object(void)
{
	Jsonb *object = palloc(sizeof(Jsonb));

	SET_VARSIZE(object, sizeof(Jsonb));
	object->root.header = JB_FOBJECT;
	return object;
}

/*
 * A value of a JSON document, as a document of its own.  For scalars,
 * JsonbValueToJsonb leaves them in a buffer of a kilobyte.
 */
static Jsonb *
json_document(JsonbValue *value)
{
	Jsonb *document = JsonbValueToJsonb(value);
	Jsonb *copy;

	if (value->type == jbvBinary)
		return document;
	copy = palloc(VARSIZE(document));
	memcpy(copy, document, VARSIZE(document));
	pfree(document);
	return copy;
}

static pg_uuid_t
json_uuid(const JsonbValue *value)
{
	char *string = text_to_cstring(es_document_text(value, "event id"));

	return *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(string)));
}

static ArrayType *
json_tags(const JsonbValue *value)
{
	int count;
	Datum *tags = es_document_texts(value, "tags", "tag", &count);

	return construct_array(tags, count, TEXTOID, -1, false, TYPALIGN_INT);
}

/*
 * Take over what stands under a key of an event's object.  Returns false if
 * events have no such key.
 */
bool
es_json_set_key(EsEvent *event, const JsonbValue *key, JsonbValue *value)
{
	bool is_null = (value->type == jbvNull);

	if (es_document_key_is(key, "type"))
		event->type = es_document_text(value, "event type");
	else if (es_document_key_is(key, "data"))
		event->data = json_document(value);
	else if (es_document_key_is(key, "metadata"))
		event->metadata = is_null ? NULL : json_document(value);
	else if (es_document_key_is(key, "tags"))
		event->tags = is_null ? NULL : json_tags(value);
	else if (es_document_key_is(key, "id"))
	{
		event->has_given_id = !is_null;
		if (event->has_given_id)
			event->id = json_uuid(value);
	}
	else
		return false;
	return true;
}

/* All keys of an event's object have been taken over: check what it is. */
void
es_json_complete_event(EsEvent *event)
{
	if (event->type == NULL)
		es_event_malformed("event has no type");
	if (event->data == NULL)
		event->data = json_empty_object();
	es_event_check(event);
}

static void
json_read_event(EsEvent *event, JsonbContainer *object)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue value;

	memset(event, 0, sizeof(EsEvent));
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (!es_json_set_key(event, &key, &value))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown key \"%s\" in event",
							pnstrdup(key.val.string.val, key.val.string.len)),
					 errhint("The keys of an event are type, data, metadata, id and tags.")));
	}
	es_json_complete_event(event);
}

/* An array of events, or one event, as found in any JSON. */
static void
json_read_container(EsAppend *append, JsonbContainer *container)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue element;

	if (JsonContainerIsObject(container))
	{
		append->events = palloc(sizeof(EsEvent));
		append->event_count = 1;
		json_read_event(append->events, container);
		return;
	}
	if (!JsonContainerIsArray(container) || JsonContainerIsScalar(container))
		es_event_malformed("events must be an array of objects, or one object");
	if (JsonContainerSize(container) == 0)
		es_event_malformed("events must not be empty");

	append->events = MemoryContextAllocHuge(CurrentMemoryContext,
											sizeof(EsEvent) * JsonContainerSize(container));
	it = JsonbIteratorInit(container);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
			es_event_malformed("event must be an object");
		json_read_event(&append->events[append->event_count++], element.val.binary.data);
	}
}

/*
 * Set append's events from an array of objects, or from one object.
 */
void
es_json_read_events(EsAppend *append, Jsonb *events)
{
	json_read_container(append, &events->root);
}

/* An expected version in JSON; null and a missing one raise as SQL's null. */
static int64
json_expected_version(const JsonbValue *value)
{
	Datum number;

	if (value == NULL || value->type == jbvNull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("expected_version must not be null"),
				 errhint("Use es_any(), -1, to append whatever the version is.")));
	if (value->type != jbvNumeric)
		es_event_malformed("expected_version must be a whole number");

	number = NumericGetDatum(value->val.numeric);
	if (!DatumGetBool(
			DirectFunctionCall2(numeric_eq, number,
								DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0)))))
		es_event_malformed("expected_version must be a whole number");
	if (DatumGetBool(DirectFunctionCall2(numeric_gt, number,
										 NumericGetDatum(int64_to_numeric(PG_INT64_MAX)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, number,
										 NumericGetDatum(int64_to_numeric(ES_EXPECT_EXISTS)))))
		es_event_malformed("invalid expected version");
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
}

static void
json_read_entry(EsAppend *append, JsonbContainer *object)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue value;
	JsonbValue stream = {.type = jbvNull};
	JsonbValue expected = {.type = jbvNull};
	JsonbContainer *events = NULL;

	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (es_document_key_is(&key, "stream"))
			stream = value;
		else if (es_document_key_is(&key, "expected_version"))
			expected = value;
		else if (es_document_key_is(&key, "events"))
		{
			if (value.type != jbvBinary)
				es_event_malformed("events must be an array of objects, or one object");
			events = value.val.binary.data;
		}
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown key \"%s\" in batch entry",
							pnstrdup(key.val.string.val, key.val.string.len)),
					 errhint("The keys of an entry are stream, expected_version and events.")));
	}

	if (events == NULL)
		es_event_malformed("batch entry has no events");
	es_event_append_init(append, es_document_text(&stream, "stream"),
						 json_expected_version(&expected));
	json_read_container(append, events);
}

/*
 * The appends of a batch: an array of {stream, expected_version, events}.
 *
 * Returns an array of *append_count entries in the order of the batch.
 */
EsAppend *
es_json_read_batch(Jsonb *batch, int *append_count)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue element;
	EsAppend *appends;

	if (!JB_ROOT_IS_ARRAY(batch) || JB_ROOT_IS_SCALAR(batch))
		es_event_malformed("batch must be an array of objects");
	if (JB_ROOT_COUNT(batch) == 0)
		es_event_malformed("batch must not be empty");

	*append_count = 0;
	appends = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAppend) * JB_ROOT_COUNT(batch));
	it = JsonbIteratorInit(&batch->root);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
			es_event_malformed("batch entry must be an object");
		json_read_entry(&appends[(*append_count)++], element.val.binary.data);
	}
	return appends;
}
