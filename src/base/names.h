/*-------------------------------------------------------------------------
 *
 * names.h
 *		Names that callers give: streams, categories, event types, tags.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_NAMES_H
#define ES_NAMES_H

#include "utils/array.h"

/* Limits in bytes of the server encoding. */
#define ES_MAX_STREAM_BYTES  512
#define ES_MAX_TYPE_BYTES    256
#define ES_MAX_TAG_BYTES     512
#define ES_MAX_SUBJECT_BYTES 512

extern void es_names_check_stream(const text *stream);
extern void es_names_check_type(const text *type);
extern void es_names_check_tenant(const text *tenant);
extern void es_names_check_category(const text *category);
extern void es_names_check_subscription(const text *subscription);
extern void es_names_check_consumer(const text *consumer);
extern void es_names_check_tag(const text *tag);
extern void es_names_check_tags(ArrayType *tags);
extern void es_names_check_subject(const text *subject);
extern bool es_names_equal(const text *a, const text *b);
extern text *es_names_category(const text *stream);
extern const char *es_names_find_tenant(const text *stream, Size *size);
extern bool es_names_is_category(const text *stream, const text *category);

#endif /* ES_NAMES_H */
