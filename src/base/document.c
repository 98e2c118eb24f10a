/*-------------------------------------------------------------------------
 *
 * document.c
 *		Reading arguments that come as JSON.
 *
 * What has not the form that it should have raises 22023.
 *
 * Memory: results in the current context.  Locks: none.  Calls: event.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "base/compat.h"
#include "base/document.h"
#include "base/event.h"

/*
 * A string.
 *
 * what: how messages call the value, as in "event type".
 */
text *
es_document_text(const JsonbValue *value, const char *what)
{
	if (value->type != jbvString)
		es_event_malformed("%s must be a string", what);
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

/*
 * An array of strings, as Datums of type text.
 *
 * list, element: how messages call them, as in "tags" and "tag".
 */
Datum *
es_document_texts(const JsonbValue *value, const char *list, const char *element, int *count)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue string;
	Datum *texts;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		es_event_malformed("%s must be an array of strings", list);

	*count = 0;
	texts = palloc(sizeof(Datum) * Max(JsonContainerSize(value->val.binary.data), 1));
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &string, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			texts[(*count)++] = PointerGetDatum(es_document_text(&string, element));
	}
	return texts;
}
