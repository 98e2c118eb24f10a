/*-------------------------------------------------------------------------
 *
 * lowest.h
 *		The lowest parked event, as a session remembers it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LOWEST_H
#define ES_LOWEST_H

#include "utils/relcache.h"

extern int64 es_lowest_find(Relation retries, const text *subscription, int64 *number);
extern void
es_lowest_note(Relation retries, const text *subscription, int64 position, int64 number);

#endif /* ES_LOWEST_H */
