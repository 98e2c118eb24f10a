/*-------------------------------------------------------------------------
 *
 * inline.h
 *		Projections that the appending transaction applies.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_INLINE_H
#define ES_INLINE_H

#include "utils/relcache.h"

#include "base/event.h"

extern void es_inline_apply(Relation events, EsAppend *const *appends, int append_count);

#endif /* ES_INLINE_H */
