/*-------------------------------------------------------------------------
 *
 * gone.h
 *		What a replay does without.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_GONE_H
#define ES_GONE_H

#include "projection/projection.h"

extern void es_gone_tell(const EsProjection *projection, int64 upto);

#endif /* ES_GONE_H */
