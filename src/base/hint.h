/*-------------------------------------------------------------------------
 *
 * hint.h
 *		Where the rows of streams were seen last.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_HINT_H
#define ES_HINT_H

#include "storage/itemptr.h"
#include "utils/relcache.h"

extern void es_hint_request(void);

extern uint64 es_hint_key(Relation rel, const text *name);
extern bool es_hint_get(uint64 key, ItemPointer tid);
extern void es_hint_set(uint64 key, const ItemPointerData *tid);

#endif /* ES_HINT_H */
