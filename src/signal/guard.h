/*-------------------------------------------------------------------------
 *
 * guard.h
 *		Guards: locks of sessions that work on one subscription.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

typedef enum EsGuard
{
	/* Of a subscription, by es_guard_key of its name */
	ES_GUARD_MUTEX,  /* alone with its shares: for moments, who has it waits for nothing */
	ES_GUARD_USE,    /* it must not be changed as a whole */
	ES_GUARD_CHANGE, /* it is; conflicts with ES_GUARD_USE */
	ES_GUARD_WAITS,  /* to be woken by es_guard_wake */

	/* Of a share, by its number */
	ES_GUARD_SLEEPS, /* its consumer waits in es_fetch */
	ES_GUARD_SETTLES /* what its consumer has done is written for good */
} EsGuard;

extern uint32 es_guard_key(const text *subscription);
extern void es_guard_take(EsGuard guard, uint64 object);
extern bool es_guard_try(EsGuard guard, uint64 object);
extern void es_guard_release(EsGuard guard, uint64 object);
extern bool es_guard_is_held(EsGuard guard, uint64 object);
extern bool es_guard_is_mine(EsGuard guard, uint64 object);
extern void es_guard_await(EsGuard guard, uint64 object);
extern void es_guard_wake(uint32 key);

#endif /* ES_GUARD_H */
