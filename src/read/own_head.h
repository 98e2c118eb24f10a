/*-------------------------------------------------------------------------
 *
 * own_head.h
 *		The head, as a role that is bound by its grants is told it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_OWN_HEAD_H
#define ES_OWN_HEAD_H

#include "utils/snapshot.h"

extern int64 es_own_head(int64 head, Snapshot snapshot);

#endif /* ES_OWN_HEAD_H */
