/*-------------------------------------------------------------------------
 *
 * rest.h
 *		Waiting without a snapshot.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REST_H
#define ES_REST_H

#include "utils/snapshot.h"

typedef struct EsRest
{
	Oid function; /* that waits */
	bool has_looked;
	Snapshot snapshot; /* the statement's; NULL: it has to be kept */
	bool has_rested;
} EsRest;

#define ES_REST(function) \
	{ \
		function, false, NULL, false \
	}

extern void es_rest_lie_down(EsRest *rest);
extern void es_rest_end(EsRest *rest);

#endif /* ES_REST_H */
