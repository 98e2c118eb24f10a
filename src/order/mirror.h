/*-------------------------------------------------------------------------
 *
 * mirror.h
 *		The head of a store whose events come by logical replication.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MIRROR_H
#define ES_MIRROR_H

#include "utils/snapshot.h"

extern int64 es_mirror_head(Snapshot snapshot, bool *is_whole);

#endif /* ES_MIRROR_H */
