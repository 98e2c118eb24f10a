/*-------------------------------------------------------------------------
 *
 * takeover.h
 *		From when on, and until when, appends apply an inline projection.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TAKEOVER_H
#define ES_TAKEOVER_H

#include "projection/apply.h"

extern void es_takeover_start(EsProjection *projection, EsApplier *applier);
extern void es_takeover_stop(EsProjection *projection);

#endif /* ES_TAKEOVER_H */
