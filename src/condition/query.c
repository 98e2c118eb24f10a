/*-------------------------------------------------------------------------
 *
 * query.c
 *		Queries by types and tags: which events a decision depends on.
 *
 * As the specification of the dynamic consistency boundary has them
 * (dcb.events): an array of items, of which one must match.  An item
 * {"types": [...], "tags": [...]} matches an event that is of one of the types
 * and has all of the tags; either may be left out, but not both.
 *
 * Memory: results in the current context.  Locks: none.  Calls: document,
 * event, names.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/catalog.h"
#include "base/compat.h"
#include "base/document.h"
#include "base/event.h"
#include "base/names.h"
#include "condition/query.h"

/*
 * How many tags and items there may be: each stands for a scan that is open at
 * the same time as all others.
 */
#define QUERY_MAX_SCANS 1000

/* Names of a list that must not be empty; each at most once. */
static Datum *
query_read_names(const JsonbValue *value, const char *list, const char *element,
				 void (*check)(const text *), int *count)
{
	Datum *names = es_document_texts(value, list, element, count);
	int kept = 0;
	int i;
	int j;

	if (*count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s of a query item must not be empty", list),
				 errhint("Leave the key out where any will do.")));
	for (i = 0; i < *count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		check((text *) DatumGetPointer(names[i]));
		for (j = 0; j < kept; j++)
			if (es_names_equal((text *) DatumGetPointer(names[i]),
							   (text *) DatumGetPointer(names[j])))
				break;
		if (j == kept)
			names[kept++] = names[i];
	}
	*count = kept;
	return names;
}

static void
query_read_item(EsQueryItem *item, JsonbContainer *object)
{
	JsonbIterator *it = JsonbIteratorInit(object);
	JsonbIteratorToken token;
	JsonbValue key;
	JsonbValue value;

	memset(item, 0, sizeof(EsQueryItem));
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (es_document_key_is(&key, "types"))
			item->types = query_read_names(&value, "types", "event type", es_names_check_type,
										   &item->type_count);
		else if (es_document_key_is(&key, "tags"))
			item->tags = query_read_names(&value, "tags", "tag", es_names_check_tag,
										  &item->tag_count);
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown key \"%s\" in query item",
							pnstrdup(key.val.string.val, key.val.string.len)),
					 errhint("The keys of a query item are types and tags.")));
	}
	if (item->type_count == 0 && item->tag_count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("query item has neither types nor tags"),
				 errhint("It would match every event; for all of them there is es_read_all.")));
}

/*
 * A query, as it is given by a caller.  Raises 22023 where it is not one,
 * 54000 where it is too large.
 */
EsQuery *
es_query_read(Jsonb *document)
{
	EsQuery *query = palloc(sizeof(EsQuery));
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue element;
	int scans = 0;

	if (!JB_ROOT_IS_ARRAY(document) || JB_ROOT_IS_SCALAR(document))
		es_event_malformed("query must be an array of objects");
	if (JB_ROOT_COUNT(document) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("query must not be empty"),
				 errhint("Without a condition, use es_append.")));
	query->item_count = 0;
	query->items = palloc_extended(sizeof(EsQueryItem) * (Size) JB_ROOT_COUNT(document),
								   MCXT_ALLOC_HUGE);
	it = JsonbIteratorInit(&document->root);
	while ((token = JsonbIteratorNext(&it, &element, true)) != WJB_DONE)
	{
		EsQueryItem *item = &query->items[query->item_count];

		if (token != WJB_ELEM)
			continue;
		CHECK_FOR_INTERRUPTS();
		if (element.type != jbvBinary || !JsonContainerIsObject(element.val.binary.data))
			es_event_malformed("query item must be an object");
		query_read_item(item, element.val.binary.data);
		query->item_count++;
		scans += Max(item->tag_count, 1);
		if (scans > QUERY_MAX_SCANS)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("query is too large"),
					 errdetail("It may have at most %d tags, an item without tags counting as one.",
							   QUERY_MAX_SCANS)));
	}
	return query;
}

static bool
query_is_among(const text *name, const Datum *names, const bool *nulls, int count)
{
	int i;

	for (i = 0; i < count; i++)
		if ((nulls == NULL || !nulls[i]) && es_names_equal(name, (text *) DatumGetPointer(names[i])))
			return true;
	return false;
}

/* Whether the event in a slot has all of the tags of an item. */
bool
es_query_has_tags(const EsQueryItem *item, TupleTableSlot *slot)
{
	bool is_null;
	Datum tags = slot_getattr(slot, Anum_events_tags, &is_null);
	ArrayType *array;
	Datum *elements;
	bool *nulls;
	int count;
	int i;

	if (is_null)
		return item->tag_count == 0;
	array = DatumGetArrayTypeP(tags);
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	for (i = 0; i < item->tag_count; i++)
		if (!query_is_among((text *) DatumGetPointer(item->tags[i]), elements, nulls, count))
			break;
	pfree(elements);
	pfree(nulls);
	if ((Pointer) array != DatumGetPointer(tags))
		pfree(array);
	return i == item->tag_count;
}

/* Whether the event in a slot is of one of the types of an item. */
bool
es_query_has_type(const EsQueryItem *item, TupleTableSlot *slot)
{
	bool is_null;

	return item->type_count == 0 ||
		query_is_among(DatumGetTextPP(slot_getattr(slot, Anum_events_type, &is_null)), item->types,
					   NULL, item->type_count);
}
