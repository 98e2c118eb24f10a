/*-------------------------------------------------------------------------
 *
 * userlock.h
 *		Locks of our own in the lock manager: what tells them apart.
 *
 * PostgreSQL leaves the lock type "userlock" to extensions; advisory locks are
 * of another type.  Ours are in pg_locks, with the database, two halves of an
 * object, and the kind as objsubid.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_USERLOCK_H
#define ES_USERLOCK_H

#include "miscadmin.h"
#include "storage/lock.h"

typedef enum EsUserlock
{
	ES_USERLOCK_INFLIGHT = 0x4501, /* a position: inflight.c; sql/32_order.sql */
	ES_USERLOCK_WAITS,             /* nothing, or a topic: wake.c */
	ES_USERLOCK_MUTEX,             /* a subscription, and so the next two: guard.c */
	ES_USERLOCK_USE,
	ES_USERLOCK_CONSUMERS,
	ES_USERLOCK_SLEEPS, /* a share, and so the next: guard.c */
	ES_USERLOCK_SETTLES,
	ES_USERLOCK_PROJECTION, /* a projection, and so the next: projection.c */
	ES_USERLOCK_REBUILD,
	ES_USERLOCK_TOLD,    /* nothing: announce.c */
	ES_USERLOCK_TIDIES,  /* a subscription: guard.c */
	ES_USERLOCK_CUSTODY, /* nothing: custody.c */
	ES_USERLOCK_KEEPS,   /* streams: removed.c */
	ES_USERLOCK_SEALS,   /* nothing: seal.c */
	ES_USERLOCK_SUBJECT, /* a subject: key.c */
	ES_USERLOCK_BEHIND,  /* a position: wake.c */
	ES_USERLOCK_GRANTS,  /* nothing: access.c */
	ES_USERLOCK_REPLAYS, /* a subscription: guard.c */
	ES_USERLOCK_FENCE,   /* nothing: fence.c */
	ES_USERLOCK_RANGES   /* nothing: make.c */
} EsUserlock;

static inline LOCKTAG
es_userlock_tag(EsUserlock kind, uint64 object)
{
	LOCKTAG tag = {.locktag_field1 = MyDatabaseId,
				   .locktag_field2 = (uint32) (object >> 32),
				   .locktag_field3 = (uint32) object,
				   .locktag_field4 = (uint16) kind,
				   .locktag_type = LOCKTAG_USERLOCK,
				   .locktag_lockmethodid = DEFAULT_LOCKMETHOD};

	return tag;
}

#endif /* ES_USERLOCK_H */
