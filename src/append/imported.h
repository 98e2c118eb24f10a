/*-------------------------------------------------------------------------
 *
 * imported.h
 *		Events that come from another store: where they go.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_IMPORTED_H
#define ES_IMPORTED_H

#include "utils/relcache.h"

#include "base/event.h"

extern bool
es_imported_advance(EsAppend *const *appends, int append_count, Relation streams, Relation events);

#endif /* ES_IMPORTED_H */
