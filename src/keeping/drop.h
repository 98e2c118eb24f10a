/*-------------------------------------------------------------------------
 *
 * drop.h
 *		The store is not dropped by mistake.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DROP_H
#define ES_DROP_H

extern void es_drop_init(void);

#endif /* ES_DROP_H */
