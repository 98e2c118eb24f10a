/*-------------------------------------------------------------------------
 *
 * event.c
 *		Events that a caller wants appended: from SQL arguments to EsEvent.
 *
 * Everything that can be wrong with an argument is found here, before any
 * relation is opened.  Messages name keys and types, never data.
 *
 * Memory: results in the current context; they may point into the arguments.
 * Locks: none.  Calls: names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#include "compat.h"
#include "event.h"
#include "names.h"

/* Raise 22023: a JSON argument has not the form that it should have. */
#define event_malformed(...) \
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg(__VA_ARGS__)))

/* The JSON object {}: a varlena header, and a container of no pairs. */
static Jsonb *
event_empty_object(void)
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
event_jsonb(JsonbValue *value)
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

static bool
event_is_null(Jsonb *document)
{
	JsonbValue value;

	return JB_ROOT_IS_SCALAR(document) && JsonbExtractScalar(&document->root, &value) &&
		value.type == jbvNull;
}

/*
 * Check one event, however it was given; metadata that is JSON's null becomes
 * none.  Raises 22004, 22023, 54000.
 */
void
es_event_check(EsEvent *event)
{
	es_names_check_type(event->type);
	if (event->metadata != NULL && event_is_null(event->metadata))
		event->metadata = NULL;
	if (event->metadata != NULL && !JB_ROOT_IS_OBJECT(event->metadata))
		event_malformed("metadata must be an object or null");
	if (event->tags != NULL)
		es_names_check_tags(event->tags);
}

/*
 * Begin an append: check where it goes.  Raises 22023 and 54000.
 */
void
es_event_append_init(EsAppend *append, text *stream, int64 expected_version)
{
	es_names_check_stream(stream);
	if (expected_version < ES_EXPECT_EXISTS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid expected version %lld", (long long) expected_version),
				 errhint("Give a version, 0 (no event yet), -1 (any) or -2 (at least one event).")));

	memset(append, 0, sizeof(EsAppend));
	append->stream = stream;
	append->category = es_names_category(stream);
	append->expected_version = expected_version;
}

/* ----------------------------------------------------------------------
 * JSON
 * ----------------------------------------------------------------------
 */

static bool
event_key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) &&
		memcmp(key->val.string.val, name, key->val.string.len) == 0;
}

/* what: how messages call the value, as in "event type". */
static text *
event_text(const JsonbValue *value, const char *what)
{
	if (value->type != jbvString)
		event_malformed("%s must be a string", what);
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

static pg_uuid_t
event_uuid(const JsonbValue *value)
{
	char *string = text_to_cstring(event_text(value, "event id"));

	return *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(string)));
}

/* An array of strings, given as the container of a JSON array. */
static ArrayType *
event_tags(const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue element;
	Datum *tags;
	int count = 0;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		event_malformed("tags must be an array of strings");

	tags = palloc(sizeof(Datum) * Max(JsonContainerSize(value->val.binary.data), 1));
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			tags[count++] = PointerGetDatum(event_text(&element, "tag"));
	}
	return construct_array(tags, count, TEXTOID, -1, false, TYPALIGN_INT);
}

static void
event_set_from_json(EsEvent *event, const JsonbValue *key, JsonbValue *value)
{
	bool is_null = (value->type == jbvNull);

	if (event_key_is(key, "type"))
		event->type = event_text(value, "event type");
	else if (event_key_is(key, "data"))
		event->data = event_jsonb(value);
	else if (event_key_is(key, "metadata"))
		event->metadata = is_null ? NULL : event_jsonb(value);
	else if (event_key_is(key, "tags"))
		event->tags = is_null ? NULL : event_tags(value);
	else if (event_key_is(key, "id"))
	{
		event->has_given_id = !is_null;
		if (event->has_given_id)
			event->id = event_uuid(value);
	}
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown key \"%s\" in event",
						pnstrdup(key->val.string.val, key->val.string.len)),
				 errhint("The keys of an event are type, data, metadata, id and tags.")));
}

static void
event_from_object(EsEvent *event, JsonbContainer *object)
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
		event_set_from_json(event, &key, &value);
	}

	if (event->type == NULL)
		event_malformed("event has no type");
	if (event->data == NULL)
		event->data = event_empty_object();
	es_event_check(event);
}

/* An array of events, or one event, as found in any JSON. */
static void
event_from_container(EsAppend *append, JsonbContainer *container)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue element;

	if (JsonContainerIsObject(container))
	{
		append->events = palloc(sizeof(EsEvent));
		append->event_count = 1;
		event_from_object(append->events, container);
		return;
	}
	if (!JsonContainerIsArray(container) || JsonContainerIsScalar(container))
		event_malformed("events must be an array of objects, or one object");
	if (JsonContainerSize(container) == 0)
		event_malformed("events must not be empty");

	append->events = MemoryContextAllocHuge(CurrentMemoryContext,
											sizeof(EsEvent) * JsonContainerSize(container));
	it = JsonbIteratorInit(container);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
			event_malformed("event must be an object");
		event_from_object(&append->events[append->event_count++], element.val.binary.data);
	}
}

/*
 * Set append's events from an array of objects, or from one object.
 */
void
es_event_from_jsonb(EsAppend *append, Jsonb *events)
{
	event_from_container(append, &events->root);
}

/* An expected version in JSON; null and a missing one raise as SQL's null. */
static int64
event_expected_version(const JsonbValue *value)
{
	Datum number;

	if (value == NULL || value->type == jbvNull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("expected_version must not be null"),
				 errhint("Use es_any(), -1, to append whatever the version is.")));
	if (value->type != jbvNumeric)
		event_malformed("expected_version must be a whole number");

	number = NumericGetDatum(value->val.numeric);
	if (!DatumGetBool(
			DirectFunctionCall2(numeric_eq, number,
								DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0)))))
		event_malformed("expected_version must be a whole number");
	if (DatumGetBool(DirectFunctionCall2(numeric_gt, number,
										 NumericGetDatum(int64_to_numeric(PG_INT64_MAX)))) ||
		DatumGetBool(DirectFunctionCall2(numeric_lt, number,
										 NumericGetDatum(int64_to_numeric(ES_EXPECT_EXISTS)))))
		event_malformed("invalid expected version");
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
}

static void
event_append_from_object(EsAppend *append, JsonbContainer *object)
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
		if (event_key_is(&key, "stream"))
			stream = value;
		else if (event_key_is(&key, "expected_version"))
			expected = value;
		else if (event_key_is(&key, "events"))
		{
			if (value.type != jbvBinary)
				event_malformed("events must be an array of objects, or one object");
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
		event_malformed("batch entry has no events");
	es_event_append_init(append, event_text(&stream, "stream"), event_expected_version(&expected));
	event_from_container(append, events);
}

/*
 * The appends of a batch: an array of {stream, expected_version, events}.
 *
 * Returns an array of *append_count entries in the order of the batch.
 */
EsAppend *
es_event_batch_from_jsonb(Jsonb *batch, int *append_count)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue element;
	EsAppend *appends;

	if (!JB_ROOT_IS_ARRAY(batch) || JB_ROOT_IS_SCALAR(batch))
		event_malformed("batch must be an array of objects");
	if (JB_ROOT_COUNT(batch) == 0)
		event_malformed("batch must not be empty");

	*append_count = 0;
	appends = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAppend) * JB_ROOT_COUNT(batch));
	it = JsonbIteratorInit(&batch->root);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
			event_malformed("batch entry must be an object");
		event_append_from_object(&appends[(*append_count)++], element.val.binary.data);
	}
	return appends;
}

/* ----------------------------------------------------------------------
 * Arrays
 * ----------------------------------------------------------------------
 */

/* An array argument of one dimension, taken apart; name: the argument's. */
typedef struct EventColumn
{
	Datum *values;
	bool *nulls;
	int count;
} EventColumn;

static EventColumn
event_column(ArrayType *array, const char *name, Oid type, int length, char align)
{
	EventColumn column;

	if (ARR_NDIM(array) > 1)
		event_malformed("%s must be a one-dimensional array", name);
	deconstruct_array(array, type, length, false, align, &column.values, &column.nulls,
					  &column.count);
	return column;
}

static void
event_check_same_length(const EventColumn *column, int count, const char *name)
{
	if (column->count != count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must have as many elements as types", name),
				 errdetail("It has %d elements, types has %d.", column->count, count)));
}

/* The i-th value of a column; raises 22004 where it is null. */
static Datum
event_column_value(const EventColumn *column, int i, const char *name)
{
	if (column->nulls[i])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not contain nulls", name)));
	return column->values[i];
}

/*
 * Set append's events from arrays of one length.
 *
 * types, data: text[] and jsonb[] without nulls.
 * metadata, ids: jsonb[] and uuid[], or NULL; a null element means none.
 */
void
es_event_from_arrays(EsAppend *append, ArrayType *types, ArrayType *data, ArrayType *metadata,
					 ArrayType *ids)
{
	EventColumn type = event_column(types, "types", TEXTOID, -1, TYPALIGN_INT);
	EventColumn datum = event_column(data, "data", JSONBOID, -1, TYPALIGN_INT);
	EventColumn meta = {NULL, NULL, 0};
	EventColumn id = {NULL, NULL, 0};
	int i;

	if (type.count == 0)
		event_malformed("types must not be empty");
	event_check_same_length(&datum, type.count, "data");
	if (metadata != NULL)
	{
		meta = event_column(metadata, "metadata", JSONBOID, -1, TYPALIGN_INT);
		event_check_same_length(&meta, type.count, "metadata");
	}
	if (ids != NULL)
	{
		id = event_column(ids, "ids", UUIDOID, UUID_LEN, TYPALIGN_CHAR);
		event_check_same_length(&id, type.count, "ids");
	}

	append->event_count = type.count;
	append->events = MemoryContextAllocExtended(CurrentMemoryContext, sizeof(EsEvent) * type.count,
												MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (i = 0; i < type.count; i++)
	{
		EsEvent *event = &append->events[i];

		event->type = DatumGetTextPP(event_column_value(&type, i, "types"));
		event->data = DatumGetJsonbP(event_column_value(&datum, i, "data"));
		if (metadata != NULL && !meta.nulls[i])
			event->metadata = DatumGetJsonbP(meta.values[i]);
		if (ids != NULL && !id.nulls[i])
		{
			event->has_given_id = true;
			event->id = *DatumGetUUIDP(id.values[i]);
		}
		es_event_check(event);
	}
}
