/*-------------------------------------------------------------------------
 *
 * id_ranges.h
 *		Which ranges of a partitioned eventstore.events may have an id.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ID_RANGES_H
#define ES_ID_RANGES_H

#include "utils/relcache.h"
#include "utils/uuid.h"

/* A look for ids: the ranges that something may be in, or come into. */
typedef struct EsIdRanges
{
	int64 closed_upto; /* a position up to which nothing comes in any more */
	int oldest_open;   /* below it nothing does */
	int newest;        /* above it nothing is yet */
} EsIdRanges;

extern EsIdRanges es_id_ranges_begin(Relation events);
extern int es_id_ranges_newest(Relation events);
extern int
es_id_ranges_next(Relation events, const EsIdRanges *look, const pg_uuid_t *id, int number);
extern bool es_id_ranges_is_above_detached(const pg_uuid_t *id);
extern bool es_id_ranges_may_be_detached(Relation detached, const pg_uuid_t *id);

#endif /* ES_ID_RANGES_H */
