/*-------------------------------------------------------------------------
 *
 * intact.h
 *		Whether a crash has emptied a projection's tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_INTACT_H
#define ES_INTACT_H

#include "projection/projection.h"

extern bool es_intact_is_lost(const EsProjection *projection, char **reason);
extern void es_intact_begin(const EsProjection *projection);

#endif /* ES_INTACT_H */
