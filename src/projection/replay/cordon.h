/*-------------------------------------------------------------------------
 *
 * cordon.h
 *		Keeps the replay of a projection away from what is in use.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CORDON_H
#define ES_CORDON_H

extern void es_cordon_init(void);

#endif /* ES_CORDON_H */
