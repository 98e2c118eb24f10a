/*-------------------------------------------------------------------------
 *
 * away.h
 *		Events that are away: in partitions that were detached.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_AWAY_H
#define ES_AWAY_H

#include "c.h"

extern int64 es_away_count(int64 after);
extern void es_away_tell(int64 after);

#endif /* ES_AWAY_H */
