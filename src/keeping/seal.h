/*-------------------------------------------------------------------------
 *
 * seal.h
 *		Sealing history.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SEAL_H
#define ES_SEAL_H

/* How far to seal, and at what price. */
typedef struct EsSealBounds
{
	int64 upto;       /* never beyond the head */
	int64 max_events; /* PG_INT64_MAX: all */
	bool may_wait;    /* for another seal, and for who takes events from history */
} EsSealBounds;

extern int64 es_seal_make(const EsSealBounds *bounds);

#endif /* ES_SEAL_H */
