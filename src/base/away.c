/*-------------------------------------------------------------------------
 *
 * away.c
 *		Events that are away: in partitions that were detached.
 *
 * Who reads history from its begin does without them, and is told so.  They are
 * counted then, as long as their table is at hand: to detach it must not take
 * the time that this takes.
 *
 * Memory: SPI's own.  Locks: AccessShare on eventstore.archived_ranges and
 * eventstore.detached_events.  Calls: catalog, sql.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/rel.h"

#include "base/away.h"
#include "base/catalog.h"
#include "base/sql.h"

/* How many events above a position are away. */
int64
es_away_count(int64 after)
{
	static EsSql statement =
		ES_SQL("SELECT pg_catalog.sum(COALESCE(a.events, (SELECT pg_catalog.count(*) FROM eventstore.detached_events d "
			   "WHERE d.position OPERATOR(pg_catalog.>=) a.from_position AND d.position OPERATOR(pg_catalog.<) a.upto_position))"
			   ")::pg_catalog.int8 FROM eventstore.archived_ranges a "
			   "WHERE a.upto_position OPERATOR(pg_catalog.>) $1",
			   INT8OID);
	Relation events = es_catalog_open(ES_EVENTS, AccessShareLock);
	Datum values[] = {Int64GetDatum(after == PG_INT64_MAX ? after : after + 1)};
	int security;
	int64 count;
	Oid user;

	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(RelationGetForm(events)->relowner,
						   security | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	count = es_sql_number(&statement, values, NULL);
	SetUserIdAndSecContext(user, security);
	relation_close(events, NoLock);
	return count;
}

/* Tell the caller, by a NOTICE; where there are none, nothing. */
void
es_away_tell(int64 after)
{
	int64 count;

	/* A parallel worker has no snapshot of its own to ask with. */
	if (IsInParallelMode())
		return;
	count = es_away_count(after);
	if (count > 0)
		ereport(NOTICE,
				(errmsg_plural("%lld event is away", "%lld events are away", (unsigned long) count,
							   (long long) count),
				 errdetail("They are in partitions that were detached; see eventstore.archived_ranges."),
				 errhint("es_attach_events() brings them back.")));
}
