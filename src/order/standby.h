/*-------------------------------------------------------------------------
 *
 * standby.h
 *		The head on a hot standby.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_STANDBY_H
#define ES_STANDBY_H

#include "utils/snapshot.h"

extern int64 es_standby_announced(Snapshot snapshot);
extern int64 es_standby_head(Snapshot snapshot);

#endif /* ES_STANDBY_H */
