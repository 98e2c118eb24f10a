/*-------------------------------------------------------------------------
 *
 * as_owner.c
 *		Reading the store's tables as their owner.
 *
 * Who may call a verb that looks at the whole of history needs no right on what
 * it looks at, and no row security hides a row of it, be it forced or not.
 *
 * Memory: none.  Locks: AccessShare on eventstore.events.  Calls: catalog.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "base/catalog.h"
#include "keeping/as_owner.h"

/*
 * Be the owner, until es_as_owner_end; an error ends it, too.
 */
void
es_as_owner_begin(EsAsOwner *before)
{
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);

	GetUserIdAndSecContext(&before->user, &before->security);
	SetUserIdAndSecContext(RelationGetForm(events)->relowner,
						   before->security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	relation_close(events, NoLock);
}

void
es_as_owner_end(const EsAsOwner *before)
{
	SetUserIdAndSecContext(before->user, before->security);
}
