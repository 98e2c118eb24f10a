/*-------------------------------------------------------------------------
 *
 * vector.h
 *		A position of each feed, as the router's readers take and return it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_VECTOR_H
#define ES_VECTOR_H

#include "utils/jsonb.h"

typedef struct EsVector
{
	JsonbPair *places; /* in the order that jsonb keeps keys in */
	bool *is_own;      /* whether the position was set here, and is not a part of what was read */
	int count;
	MemoryContext memory;
} EsVector;

extern void es_vector_read(EsVector *vector, Jsonb *json, int more);
extern bool es_vector_find(const EsVector *vector, int32 feed, int64 *position);
extern void es_vector_set(EsVector *vector, int32 feed, int64 position);
extern Datum es_vector_get(const EsVector *vector);

#endif /* ES_VECTOR_H */
