/*-------------------------------------------------------------------------
 *
 * guard.h
 *		What sessions that work on a subscription tell each other by locks.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_GUARD_H
#define ES_GUARD_H

/* A subscription is told by the hash of its name. */
extern uint32 es_guard_key(const text *subscription);

extern void es_guard_enter(uint32 key);
extern void es_guard_leave(uint32 key);

extern void es_guard_use(uint32 key);
extern bool es_guard_try_use(uint32 key);
extern void es_guard_end_use(uint32 key);
extern void es_guard_change(uint32 key);
extern bool es_guard_try_change(uint32 key);

extern void es_guard_settle(int64 share);
extern bool es_guard_is_settling(int64 share);
extern bool es_guard_has_settled(int64 share);
extern void es_guard_wait_settled(int64 share);

extern void es_guard_join(uint32 key);
extern void es_guard_part(uint32 key);
extern void es_guard_sleep(int64 share);
extern void es_guard_rise(int64 share);
extern bool es_guard_is_sleeping(int64 share);
extern void es_guard_wake(uint32 key);

#endif /* ES_GUARD_H */
