/*-------------------------------------------------------------------------
 *
 * rival.h
 *		Two sessions under one consumer's name.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RIVAL_H
#define ES_RIVAL_H

extern void es_rival_delivered(const text *subscription, const text *consumer, int64 token);
extern void es_rival_refused(const text *subscription, int64 token);
extern int64 es_rival_token(const text *subscription, const text *consumer);
extern void es_rival_warn(const text *subscription, const text *consumer);

#endif /* ES_RIVAL_H */
