/*-------------------------------------------------------------------------
 *
 * turn.h
 *		A runner's turn at an async projection: a batch.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TURN_H
#define ES_TURN_H

extern void es_turn_begin_transaction(void);
extern void es_turn_end_transaction(void);

extern bool es_turn_try(const char *name, MemoryContext context);
extern void es_turn_forget(void);
extern long es_turn_sleep_ms(long ms);

#endif /* ES_TURN_H */
