/*-------------------------------------------------------------------------
 *
 * guard.h
 *		Guards: locks of sessions that work on one subscription.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

#include "datatype/timestamp.h"

typedef enum EsGuard
{
	/* Of a subscription, by es_guard_key of its name */
	ES_GUARD_MUTEX,   /* alone with its shares: for moments, who has it waits for nothing */
	ES_GUARD_USE,     /* it must not be changed as a whole */
	ES_GUARD_CHANGE,  /* it is; conflicts with ES_GUARD_USE */
	ES_GUARD_PARKS,   /* the same as ES_GUARD_USE, by a fetch, which parks events */
	ES_GUARD_TIDIES,  /* its row is brought up to date; nobody waits for it */
	ES_GUARD_WAITS,   /* to be woken by es_guard_wake */
	ES_GUARD_REPLAYS, /* parked events of it are replayed; nobody waits for it */

	/* Of a share, by its number */
	ES_GUARD_SLEEPS,  /* its consumer waits in es_fetch */
	ES_GUARD_SETTLES, /* what its consumer has done is written for good */
	ES_GUARD_GIVES_UP /* and it was by a fetch, which parks events */
} EsGuard;

extern uint32 es_guard_key(const text *subscription);
extern void es_guard_take(EsGuard guard, uint64 object);
extern bool es_guard_try(EsGuard guard, uint64 object);
extern void es_guard_release(EsGuard guard, uint64 object);
extern bool es_guard_is_held(EsGuard guard, uint64 object);
extern bool es_guard_is_mine(EsGuard guard, uint64 object);
extern void es_guard_await(EsGuard guard, uint64 object);
extern void
es_guard_await_fetch(EsGuard guard, uint64 object, const text *subscription, TimestampTz until);
extern bool es_guard_await_transaction(TransactionId xid, TimestampTz until);
extern void es_guard_wake(uint32 key);

#endif /* ES_GUARD_H */
