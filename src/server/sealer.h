/*-------------------------------------------------------------------------
 *
 * sealer.h
 *		Sealing history at intervals.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SEALER_H
#define ES_SEALER_H

extern long es_sealer_turn(void);

#endif /* ES_SEALER_H */
