/*-------------------------------------------------------------------------
 *
 * past.h
 *		The head as it was when a snapshot was taken.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_PAST_H
#define ES_PAST_H

#include "utils/snapshot.h"

extern void es_past_remember(Snapshot snapshot, int64 head);
extern int64 es_past_head(Snapshot snapshot, int64 known, int64 now);

#endif /* ES_PAST_H */
