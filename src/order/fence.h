/*-------------------------------------------------------------------------
 *
 * fence.h
 *		Changing which streams a store takes, while others append.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FENCE_H
#define ES_FENCE_H

#include "base/event.h"

extern bool es_fence_enter(EsAppend *const *appends, int append_count);
extern void es_fence_leave(void);
extern void es_fence_assert(const text *stream);
extern bool es_fence_keep_down(void);
extern void es_fence_put_up(void);

#endif /* ES_FENCE_H */
