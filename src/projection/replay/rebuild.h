/*-------------------------------------------------------------------------
 *
 * rebuild.h
 *		Making a projection's tables anew, in use.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REBUILD_H
#define ES_REBUILD_H

#include "projection/projection.h"
#include "projection/replay/reshape.h"

/* What takes a projection's place. */
typedef struct EsSuccessor
{
	EsProjection *definition; /* of the same name */
	EsReshape *reshape;       /* of a declared table */
} EsSuccessor;

extern void es_rebuild_begin(const EsProjection *projection, const char *verb);
extern int64 es_rebuild_run(EsProjection *projection, const EsSuccessor *successor);

#endif /* ES_REBUILD_H */
