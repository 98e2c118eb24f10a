/*-------------------------------------------------------------------------
 *
 * run.h
 *		A step of an async projection.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RUN_H
#define ES_RUN_H

#include "projection/advance.h"

extern int64 es_run_async(EsProjection *projection, const EsAdvanceBounds *bounds, bool notes);

#endif /* ES_RUN_H */
