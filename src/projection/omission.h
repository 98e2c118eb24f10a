/*-------------------------------------------------------------------------
 *
 * omission.h
 *		Events that a projection is not applied to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_OMISSION_H
#define ES_OMISSION_H

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "projection/projection.h"

/* Why not. */
typedef enum EsOmission
{
	ES_OMISSION_APPENDED, /* its own SQL has appended them */
	ES_OMISSION_SKIPPED,  /* they can not be applied, and are left out for good */
	ES_OMISSION_MISSED    /* an inline one had stopped when they were appended */
} EsOmission;

extern void es_omission_add(EsOmission why, const char *projection, int64 position,
							const EsProjectionError *error);
extern List *
es_omission_list(EsOmission why, const char *projection, int64 after, int64 upto, Snapshot seen_by);
extern int64 es_omission_first(EsOmission why, const char *projection);
extern bool es_omission_has(List *positions, int *next, int64 position);

#endif /* ES_OMISSION_H */
