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

extern bool es_document_key_is(const JsonbValue *key, const char *name);
extern text *es_document_text(const JsonbValue *value, const char *what);
extern Datum *
es_document_texts(const JsonbValue *value, const char *list, const char *element, int *count);

#endif /* ES_DOCUMENT_H */
