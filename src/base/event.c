/*-------------------------------------------------------------------------
 *
 * event.c
 *		Events that a caller wants appended.
 *
 * Everything that can be wrong with an argument is found here and in json.c, before any
 * relation is opened.  Messages name arguments and keys, never data.
 *
 * Memory: results in the current context; they may point into the arguments.
 * Locks: none.  Calls: names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "base/event.h"
#include "base/names.h"

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
		es_event_malformed("metadata must be an object or null");
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
		es_event_malformed("%s must be a one-dimensional array", name);
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
		es_event_malformed("types must not be empty");
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
