/*-------------------------------------------------------------------------
 *
 * position.h
 *		Positions: the store-wide order.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_POSITION_H
#define ES_POSITION_H

extern int64 es_position_next(void);
extern int64 es_position_given_out(void);
extern void es_position_remember(int64 position);
extern bool es_position_last(int64 *position);

#endif /* ES_POSITION_H */
