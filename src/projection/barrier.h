/*-------------------------------------------------------------------------
 *
 * barrier.h
 *		A moment in which no append is in flight.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_BARRIER_H
#define ES_BARRIER_H

extern int64 es_barrier_raise(void);

#endif /* ES_BARRIER_H */
