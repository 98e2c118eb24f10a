/*-------------------------------------------------------------------------
 *
 * fence.h
 *		Which subjects are erased.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FENCE_H
#define ES_FENCE_H

#include "utils/timestamp.h"

extern bool es_fence_stands(const text *subject, TimestampTz *erased_at);
extern void es_fence_refuse(const text *subject, const char *detail);
extern void es_fence_set(text *subject, text *reason);

#endif /* ES_FENCE_H */
