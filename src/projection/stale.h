/*-------------------------------------------------------------------------
 *
 * stale.h
 *		Projections that have to be rebuilt.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_STALE_H
#define ES_STALE_H

#include "datatype/timestamp.h"

/* Why a projection is stale. */
typedef struct EsStale
{
	char *code; /* SQLSTATE */
	char *reason;
	TimestampTz noticed_at;
} EsStale;

extern bool es_stale_find(const char *projection, EsStale *stale);
extern void es_stale_note(const char *projection, int code, const char *reason);
extern void es_stale_forget(const char *projection);

#endif /* ES_STALE_H */
