/*-------------------------------------------------------------------------
 *
 * provide.h
 *		The range that an append needs.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PROVIDE_H
#define ES_PROVIDE_H

#include "base/ranges.h"

extern PGDLLEXPORT void es_provide_main(Datum position);
extern EsRange es_provide_range(Relation events, int64 position);
extern bool es_provide_is_due(void);
extern void es_provide_turn(void);
extern void es_provide_ahead(Relation events, int64 first, int64 last);

#endif /* ES_PROVIDE_H */
