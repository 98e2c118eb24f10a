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

/* How far to go. */
typedef struct EsAdvanceBounds
{
	int64 upto;                      /* a position */
	int64 max_count;                 /* events */
	TimestampTz until;               /* then begin no other window; 0: whenever */
	const EsProjectionError *deadly; /* the next event is not applied: this is what comes of it;
									  * NULL: it is */
} EsAdvanceBounds;

extern int64 es_advance(EsProjection *projection, EsApplier *applier, const EsAdvanceBounds *bounds,
						EsProjectionError *error);
extern int64 es_advance_next(const EsProjection *projection, int64 upto);
extern int64 es_advance_count(const EsProjection *projection, int64 after, int64 upto);

#endif /* ES_ADVANCE_H */
