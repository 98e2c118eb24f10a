/*-------------------------------------------------------------------------
 *
 * mirror.c
 *		The head of a store whose events come by logical replication.
 *
 * Events come in the order of their commits, not of their positions, so what is
 * there says nothing about what is still to come.  But the store that they come
 * from writes its head into eventstore.head, after all events up to there are
 * committed; and that row comes like any other.  So a snapshot that sees it sees
 * these events, too: as long as one subscription brings both, and its initial copy
 * is over.  Until then each table is copied by itself, at a moment of its own.
 *
 * Whether it is over is looked up by the same snapshot.  PostgreSQL calls a table
 * ready when it is where the subscription's one stream of changes is; when all are
 * ready, they show one moment of the other store.
 *
 * Where there is no subscription, nobody can say whether what is there is all that
 * there was: the head is 0 until es_unset_mirror() makes it a store of its own.
 *
 * Memory: the current context.  Locks: AccessShare on eventstore.head, and on a
 * catalogue.  Calls: catalog, standby.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_subscription_rel.h"
#include "utils/fmgroids.h"

#include "base/catalog.h"
#include "order/mirror.h"
#include "order/standby.h"

/*
 * The subscription that feeds a table, as a snapshot sees it; InvalidOid: there is
 * none, or several, or it is not ready.
 */
static Oid
mirror_find_feed(Relation feeds, EsRelation table, Snapshot snapshot)
{
	Oid found = InvalidOid;
	bool is_ready = true;
	int count = 0;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple row;

	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(es_catalog_oid(table)));
	scan = systable_beginscan(feeds, SubscriptionRelSrrelidSrsubidIndexId, true, snapshot, 1, &key);
	while (HeapTupleIsValid(row = systable_getnext(scan)))
	{
		Form_pg_subscription_rel feed = (Form_pg_subscription_rel) GETSTRUCT(row);

		is_ready = is_ready && feed->srsubstate == SUBREL_STATE_READY;
		found = feed->srsubid;
		count++;
	}
	systable_endscan(scan);
	return count == 1 && is_ready ? found : InvalidOid;
}

/*
 * The head, as a snapshot sees it: every event at or below it is seen, too, or
 * never will be.
 *
 * is_whole: receives whether the initial copy is over, so that it moves on by a
 * row that comes.
 */
int64
es_mirror_head(Snapshot snapshot, bool *is_whole)
{
	static const EsRelation others[] = {ES_STREAMS, ES_HEAD};
	Relation feeds = table_open(SubscriptionRelRelationId, AccessShareLock);
	Oid feed = mirror_find_feed(feeds, ES_EVENTS, snapshot);
	int i;

	*is_whole = OidIsValid(feed);
	for (i = 0; *is_whole && i < lengthof(others); i++)
		*is_whole = mirror_find_feed(feeds, others[i], snapshot) == feed;
	table_close(feeds, AccessShareLock);
	return *is_whole ? es_standby_announced(snapshot) : 0;
}
