/*-------------------------------------------------------------------------
 *
 * behind.h
 *		Events that are committed, but not below the head yet.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_BEHIND_H
#define ES_BEHIND_H

#include "signal/wake.h"

extern bool
es_behind_listen(EsListener *listener, const EsWanted *wanted, int64 seen_to, bool *is_told);
extern bool es_behind_is_still(int64 head);

#endif /* ES_BEHIND_H */
