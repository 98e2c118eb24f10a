/*-------------------------------------------------------------------------
 *
 * id_bounds.h
 *		Between which ids those of a closed range are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ID_BOUNDS_H
#define ES_ID_BOUNDS_H

#include "utils/uuid.h"

#include "base/ranges.h"

typedef struct EsIdBounds
{
	Oid table; /* the key */
	int64 upto;
	bool is_empty;
	pg_uuid_t lowest;
	pg_uuid_t highest;
} EsIdBounds;

extern int es_id_compare(const pg_uuid_t *a, const pg_uuid_t *b);
extern const EsIdBounds *es_id_bounds_get(const EsRange *range);

#endif /* ES_ID_BOUNDS_H */
