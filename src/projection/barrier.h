/*-------------------------------------------------------------------------
 *
 * barrier.h
 *		A moment in which no append is in flight.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_BARRIER_H
#define ES_BARRIER_H

#include "nodes/pg_list.h"

extern int64 es_barrier_raise(void);
extern void es_barrier_claim(const char *projection, bool stops_appends, const List *tables);
extern void es_barrier_close(const List *tables);
extern void es_barrier_have(const List *tables);

#endif /* ES_BARRIER_H */
