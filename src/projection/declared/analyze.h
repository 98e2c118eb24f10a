/*-------------------------------------------------------------------------
 *
 * analyze.h
 *		Analysis of a projection's query.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ANALYZE_H
#define ES_ANALYZE_H

#include "access/tupdesc.h"

#include "projection/declared/part.h"

extern TupleDesc es_analyze_event_desc(void);
extern EsAnalysis *es_analyze_query(const char *query, const List *lookups);

#endif /* ES_ANALYZE_H */
