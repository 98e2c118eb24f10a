/*-------------------------------------------------------------------------
 *
 * advance.h
 *		Applying stored events to a projection, from its checkpoint on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ADVANCE_H
#define ES_ADVANCE_H

#include "projection/apply.h"

extern int64 es_advance(EsProjection *projection, EsApplier *applier, int64 upto, int64 max_count,
						EsProjectionError *error);
extern int64 es_advance_count(const EsProjection *projection, int64 after, int64 upto);

#endif /* ES_ADVANCE_H */
