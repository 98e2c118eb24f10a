/*-------------------------------------------------------------------------
 *
 * wake.h
 *		Sessions that wait for events, and what they listen to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_WAKE_H
#define ES_WAKE_H

#include "storage/lock.h"

/* Who wants more types than these hears of all of the category's. */
#define ES_WAKE_MAX_TYPES 16

/* What a session waits for. */
typedef struct EsWanted
{
	const text *category; /* NULL: all */
	const Datum *types;   /* text; NULL: all */
	int type_count;
	bool is_nothing; /* no event: only to hear what everybody is told */
} EsWanted;

/* What it listens to; all zero: to nothing. */
typedef struct EsListener
{
	bool is_listening;
	bool is_general; /* to every event, and every move of the head */
	int count;
	uint64 topics[ES_WAKE_MAX_TYPES];
	bool is_behind; /* an append in flight ... */
	int64 behind;   /* ... that has published this position */
} EsListener;

extern void es_wake_listen(EsListener *listener, const EsWanted *wanted);
extern void es_wake_listen_behind(EsListener *listener, int64 position);
extern void es_wake_part(EsListener *listener);

extern void es_wake_holders(const LOCKTAG *tag);
extern bool es_wake_has_listeners(void);
extern int es_wake_count_listeners(void);
extern void es_wake_all(void);
extern void es_wake_general(void);
extern void es_wake_behind(int64 position);
extern void es_wake_event(uint32 category, uint32 type);
extern uint32 es_wake_hash(const text *name);

#endif /* ES_WAKE_H */
