/*-------------------------------------------------------------------------
 *
 * line.c
 *		An event as a JSON object by itself.
 *
 * Its keys are the columns of eventstore.events but the category, which follows
 * from the stream.  The time is ISO 8601 in UTC, whatever the session's settings
 * are, with all its digits.  The position tells where the event stood: another
 * store gives it one of its own.
 *
 * Memory: results in the current context.  Locks: none.  Calls: document, event,
 * json, names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "append/json.h"
#include "base/catalog.h"
#include "base/compat.h"
#include "base/document.h"
#include "base/names.h"
#include "move/line.h"

/* ----------------------------------------------------------------------
 * Writing
 * ----------------------------------------------------------------------
 */

static JsonbValue
line_string(char *string, int length)
{
	JsonbValue value = {.type = jbvString};

	value.val.string.val = string;
	value.val.string.len = length;
	return value;
}

static JsonbValue
line_text(Datum datum)
{
	text *string = DatumGetTextPP(datum);

	return line_string(VARDATA_ANY(string), (int) VARSIZE_ANY_EXHDR(string));
}

static JsonbValue
line_number(Datum datum)
{
	JsonbValue value = {.type = jbvNumeric};

	value.val.numeric = int64_to_numeric(DatumGetInt64(datum));
	return value;
}

static JsonbValue
line_id(Datum datum)
{
	char *string = DatumGetCString(DirectFunctionCall1(uuid_out, datum));

	return line_string(string, (int) strlen(string));
}

static JsonbValue
line_time(Datum datum)
{
	char *string = palloc(MAXDATELEN + 1);
	const int utc = 0;

	(void) JsonEncodeDateTime(string, datum, TIMESTAMPTZOID, &utc);
	return line_string(string, (int) strlen(string));
}

static JsonbValue
line_document(Datum datum)
{
	Jsonb *document = DatumGetJsonbP(datum);
	JsonbValue value;

	if (!(JB_ROOT_IS_SCALAR(document) && JsonbExtractScalar(&document->root, &value)))
		JsonbToJsonbValue(document, &value);
	return value;
}

static void
line_push(JsonbParseState **state, char *name, JsonbValue value)
{
	JsonbValue key = line_string(name, (int) strlen(name));

	(void) pushJsonbValue(state, WJB_KEY, &key);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

static void
line_push_tags(JsonbParseState **state, Datum datum)
{
	JsonbValue key = line_string("tags", (int) strlen("tags"));
	Datum *tags;
	int count;
	int i;

	deconstruct_array(DatumGetArrayTypeP(datum), TEXTOID, -1, false, TYPALIGN_INT, &tags, NULL,
					  &count);
	(void) pushJsonbValue(state, WJB_KEY, &key);
	(void) pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (i = 0; i < count; i++)
	{
		JsonbValue tag = line_text(tags[i]);

		(void) pushJsonbValue(state, WJB_ELEM, &tag);
	}
	(void) pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

/*
 * The object of an event.
 *
 * values, nulls: the columns of eventstore.events.
 */
Jsonb *
es_line_write(const Datum *values, const bool *nulls)
{
	const JsonbValue null = {.type = jbvNull};
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	line_push(&state, "position", line_number(values[Anum_events_position - 1]));
	line_push(&state, "stream", line_text(values[Anum_events_stream - 1]));
	line_push(&state, "version", line_number(values[Anum_events_version - 1]));
	line_push(&state, "id", line_id(values[Anum_events_id - 1]));
	line_push(&state, "type", line_text(values[Anum_events_type - 1]));
	line_push(&state, "data", line_document(values[Anum_events_data - 1]));
	line_push(&state, "metadata",
			  nulls[Anum_events_metadata - 1] ? null
											  : line_document(values[Anum_events_metadata - 1]));
	if (nulls[Anum_events_tags - 1])
		line_push(&state, "tags", null);
	else
		line_push_tags(&state, values[Anum_events_tags - 1]);
	line_push(&state, "recorded_at", line_time(values[Anum_events_recorded_at - 1]));
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* ----------------------------------------------------------------------
 * Reading
 * ----------------------------------------------------------------------
 */

static int64
line_read_version(const JsonbValue *value)
{
	Numeric highest = int64_to_numeric(PG_INT64_MAX);
	int64 version = 0;

	if (value->type == jbvNumeric &&
		DatumGetBool(DirectFunctionCall2(numeric_le, NumericGetDatum(value->val.numeric),
										 NumericGetDatum(highest))) &&
		DatumGetBool(DirectFunctionCall2(numeric_ge, NumericGetDatum(value->val.numeric),
										 NumericGetDatum(int64_to_numeric(1)))))
	{
		version = DatumGetInt64(
			DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric)));
		if (!DatumGetBool(DirectFunctionCall2(numeric_eq, NumericGetDatum(value->val.numeric),
											  NumericGetDatum(int64_to_numeric(version)))))
			version = 0;
	}
	if (version == 0)
		es_event_malformed("version must be a whole number above 0");
	return version;
}

static TimestampTz
line_read_time(const JsonbValue *value)
{
	char *string = text_to_cstring(es_document_text(value, "recorded_at"));
	TimestampTz time = DatumGetTimestampTz(
		DirectFunctionCall3(timestamptz_in, CStringGetDatum(string), ObjectIdGetDatum(InvalidOid),
							Int32GetDatum(-1)));

	if (TIMESTAMP_NOT_FINITE(time))
		es_event_malformed("recorded_at must be finite");
	return time;
}

/* What stands beside the event itself. */
typedef struct LinePlace
{
	text *stream;
	text *category;
	int64 version;
	bool has_time;
	TimestampTz recorded_at;
} LinePlace;

static void
line_read_key(LinePlace *place, EsEvent *event, const JsonbValue *key, JsonbValue *value)
{
	if (es_document_key_is(key, "stream"))
		place->stream = es_document_text(value, "stream");
	else if (es_document_key_is(key, "category"))
		place->category = es_document_text(value, "category");
	else if (es_document_key_is(key, "version"))
		place->version = line_read_version(value);
	else if (es_document_key_is(key, "recorded_at"))
	{
		place->recorded_at = line_read_time(value);
		place->has_time = true;
	}
	else if (!es_document_key_is(key, "position") && !es_json_set_key(event, key, value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown key \"%s\" in event",
						pnstrdup(key->val.string.val, key->val.string.len)),
				 errhint("The keys are those that es_export() writes.")));
}

static void
line_check_place(const LinePlace *place, const EsEvent *event)
{
	const char *missing = NULL;

	if (place->stream == NULL)
		missing = "stream";
	else if (place->version == 0)
		missing = "version";
	else if (!event->has_given_id)
		missing = "id";
	else if (!place->has_time)
		missing = "recorded_at";
	if (missing != NULL)
		es_event_malformed("event has no %s", missing);
	if (place->category != NULL && !es_names_is_category(place->stream, place->category))
		es_event_malformed("category is not that of the stream");
}

/*
 * The append that an object amounts to, of one event.  Raises 22023 and what
 * es_append raises for events.
 */
void
es_line_read(EsAppend *append, EsEvent *event, JsonbContainer *object)
{
	LinePlace place = {0};
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
		line_read_key(&place, event, &key, &value);
	}
	line_check_place(&place, event);
	es_json_complete_event(event);
	es_event_append_init(append, place.stream, place.version - 1);
	append->events = event;
	append->event_count = 1;
	append->recorded_at = place.recorded_at;
	append->is_imported = true;
}
