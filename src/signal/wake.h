/*-------------------------------------------------------------------------
 *
 * wake.h
 *		Sessions that wait for the head to move.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WAKE_H
#define ES_WAKE_H

#include "storage/lock.h"

extern void es_wake_join(void);
extern void es_wake_part(void);
extern void es_wake_holders(const LOCKTAG *tag);
extern void es_wake_waiters(void);

#endif /* ES_WAKE_H */
