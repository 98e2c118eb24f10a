/*-------------------------------------------------------------------------
 *
 * make.h
 *		The ranges that come next.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MAKE_H
#define ES_MAKE_H

#include "utils/relcache.h"

/* Ranges that are made ahead of the one that positions are given out of. */
#define ES_MAKE_AHEAD 2

extern int64 es_make_every(void);
extern void es_make_set_every(int64 every);
extern char *es_make_name(int64 from);
extern void es_make_lock(void);
extern bool es_make_try_lock(void);
extern bool es_make_is_partitioned(void);
extern bool es_make_is_due(Relation events, int64 position, int ahead);
extern void es_make_indexes(Oid table);
extern bool es_make_is_barred(Relation events);
extern void es_make_upto(int64 position, int ahead);

#endif /* ES_MAKE_H */
