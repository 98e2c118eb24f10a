/*-------------------------------------------------------------------------
 *
 * caller.c
 *		Who calls a verb of consumers, and becoming the store's owner for it.
 *
 * Subscriptions are the store owner's, who is whom the verbs run as: the right to
 * call one is the right to do it.  Not by SECURITY DEFINER, which would not tell
 * who the caller is: one whose grants are bound to categories or tenants may work
 * on a subscription only if all that it sees is within a bound.
 *
 * Memory: none.  Locks: AccessShare on eventstore.subscriptions.  Calls:
 * catalog, rights, subscription.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "rights/rights.h"
#include "subscription/caller.h"

/* Become the store's owner.  After an error, the end of the (sub)transaction undoes it. */
void
es_caller_enter(EsCaller *caller)
{
	Relation rel = es_catalog_open(ES_SUBSCRIPTIONS, AccessShareLock);
	Oid owner = rel->rd_rel->relowner;

	relation_close(rel, NoLock);
	GetUserIdAndSecContext(&caller->role, &caller->security);
	SetUserIdAndSecContext(owner, caller->security | SECURITY_LOCAL_USERID_CHANGE);
}

/* Become the caller again. */
void
es_caller_leave(const EsCaller *caller)
{
	SetUserIdAndSecContext(caller->role, caller->security);
}

/* Whether a subscription sees nothing beyond a role's bounds. */
bool
es_caller_may_see(Oid role, const EsSubscription *subscription)
{
	return es_rights_cover(&es_rights_of(role)->sees, subscription->category, subscription->tenant);
}

/* Raise 42501 if a subscription sees more than a role's grants let it see. */
void
es_caller_check(Oid role, const EsSubscription *subscription)
{
	if (es_caller_may_see(role, subscription))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for subscription \"%s\"", text_to_cstring(subscription->name)),
			 errdetail("It sees more than what role \"%s\" has been granted.",
					   GetUserNameFromId(role, false)),
			 errhint("Use a subscription to a category, or a tenant, that the role has been granted.")));
}

/* The same for one that is not read yet; raises 42704 if there is none of this name. */
void
es_caller_check_named(Oid role, text *name)
{
	EsSubscription subscription;

	if (es_rights_of(role)->sees.has_all)
		return;
	es_subscription_find(name, &subscription);
	es_caller_check(role, &subscription);
}
