/*-------------------------------------------------------------------------
 *
 * caller.h
 *		Who calls a verb of consumers, and becoming the store's owner for it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CALLER_H
#define ES_CALLER_H

#include "subscription/subscription.h"

typedef struct EsCaller
{
	Oid role;
	int security; /* context that it calls in */
} EsCaller;

extern void es_caller_enter(EsCaller *caller);
extern void es_caller_leave(const EsCaller *caller);
extern bool es_caller_may_see(Oid role, const EsSubscription *subscription);
extern void es_caller_check(Oid role, const EsSubscription *subscription);
extern void es_caller_check_named(Oid role, text *name);

#endif /* ES_CALLER_H */
