/*-------------------------------------------------------------------------
 *
 * floor.h
 *		The floor: what the store knows of, and positions go on above.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FLOOR_H
#define ES_FLOOR_H

#include "utils/snapshot.h"

extern int64 es_floor_visible(Snapshot snapshot);
extern int64 es_floor_events(void);
extern bool es_floor_is_fed(void);
extern void es_floor_check_fed(void);
extern int64 es_floor_find(void);
extern void es_floor_check(int64 floor, int64 last);

#endif /* ES_FLOOR_H */
