/*-------------------------------------------------------------------------
 *
 * document.h
 *		Reading arguments that come as JSON.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DOCUMENT_H
#define ES_DOCUMENT_H

#include "utils/jsonb.h"

extern text *es_document_text(const JsonbValue *value, const char *what);
extern Datum *
es_document_texts(const JsonbValue *value, const char *list, const char *element, int *count);

/* Whether a key is the one of that name.  Here, so that it is compared with a constant: several times for each event. */
static inline bool
es_document_key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) &&
		memcmp(key->val.string.val, name, strlen(name)) == 0;
}

#endif /* ES_DOCUMENT_H */
