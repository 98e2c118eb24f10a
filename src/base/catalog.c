/*-------------------------------------------------------------------------
 *
 * catalog.c
 *		The relations of the store: the one file that knows their names.
 *
 * OIDs are looked up once a backend and forgotten whenever one of the
 * relations is invalidated, so DROP and CREATE EXTENSION, REINDEX
 * CONCURRENTLY and the like are seen by every session.  Open a table before
 * its indexes: the lock on the table keeps an index that has been looked up
 * from being dropped, as REINDEX CONCURRENTLY waits for who holds it.
 *
 * Relations of another version than the library's are not looked up: their
 * columns may be others.
 *
 * Memory: static variables.  Locks: es_catalog_open takes the one it is asked
 * for and leaves it to the end of the transaction.  Calls: version.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

#include "base/catalog.h"
#include "base/version.h"

static const char *const catalog_names[ES_RELATION_COUNT] =
	{[ES_STREAMS] = "streams",
	 [ES_STREAMS_PKEY] = "streams_pkey",
	 [ES_EVENTS] = "events",
	 [ES_EVENTS_PKEY] = "events_pkey",
	 [ES_EVENTS_STREAM_VERSION] = "events_stream_version_key",
	 [ES_EVENTS_ID] = ES_EVENTS_ID_KEY,
	 [ES_EVENTS_CATEGORY_POSITION] = "events_category_position_idx",
	 [ES_EVENTS_TAGS] = "events_tags_position_idx",
	 [ES_POSITIONS] = "positions",
	 [ES_HEAD] = "head",
	 [ES_HEAD_PKEY] = "head_pkey",
	 [ES_MARKS] = "marks",
	 [ES_MARKS_POSITION] = "marks_position_idx",
	 [ES_SUBSCRIPTIONS] = "subscriptions",
	 [ES_SUBSCRIPTIONS_PKEY] = "subscriptions_pkey",
	 [ES_TOKENS] = "subscription_tokens",
	 [ES_SHARES] = "subscription_shares",
	 [ES_SHARES_PKEY] = "subscription_shares_pkey",
	 [ES_SHARES_REVISION] = "subscription_shares_revision_idx",
	 [ES_REVISIONS] = "subscription_revisions",
	 [ES_RETRIES] = "subscription_retries",
	 [ES_RETRIES_PKEY] = "subscription_retries_pkey",
	 [ES_RETRIES_PLACE] = "subscription_retries_place_key",
	 [ES_RETRIES_REVISION] = "subscription_retries_revision_idx",
	 [ES_RETRIES_PARKED] = "subscription_retries_parked_idx",
	 [ES_RETRIES_NUMBER] = "subscription_retries_number_idx",
	 [ES_EVENT] = "event",
	 [ES_SNAPSHOTS] = "snapshots",
	 [ES_SNAPSHOTS_PKEY] = "snapshots_pkey",
	 [ES_PROJECTIONS] = "projections",
	 [ES_PROJECTIONS_PKEY] = "projections_pkey",
	 [ES_CHECKPOINTS] = "projection_checkpoints",
	 [ES_CHECKPOINTS_PKEY] = "projection_checkpoints_pkey",
	 [ES_PROJECTION_APPENDS] = "projection_appends",
	 [ES_PROJECTION_APPENDS_PKEY] = "projection_appends_pkey",
	 [ES_PROJECTION] = "projection",
	 [ES_STALE] = "stale_projections",
	 [ES_STALE_PROJECTION] = "stale_projections_projection_idx",
	 [ES_INTACT] = "intact_projections",
	 [ES_INTACT_PROJECTION] = "intact_projections_projection_idx",
	 [ES_SKIPPED_EVENTS] = "skipped_events",
	 [ES_SKIPPED_EVENTS_PKEY] = "skipped_events_pkey",
	 [ES_PROJECTION_MISSED] = "projection_missed",
	 [ES_PROJECTION_MISSED_PKEY] = "projection_missed_pkey",
	 [ES_REMOVED] = "removed_events",
	 [ES_REMOVED_PKEY] = "removed_events_pkey",
	 [ES_REMOVED_POSITION] = "removed_events_position_idx",
	 [ES_REMOVED_STREAM_VERSION] = "removed_events_stream_version_idx",
	 [ES_FOREIGN_RANGES] = "foreign_ranges",
	 [ES_FOREIGN_RANGES_PKEY] = "foreign_ranges_pkey",
	 [ES_BEGINNINGS] = "beginnings",
	 [ES_RETENTION] = "retention",
	 [ES_RETENTION_PKEY] = "retention_pkey",
	 [ES_SEALS] = "seals",
	 [ES_SEALS_PKEY] = "seals_pkey",
	 [ES_SEAL_BLOCKS] = "seal_blocks",
	 [ES_SUBJECT_KEYS] = "subject_keys",
	 [ES_SUBJECT_KEYS_PKEY] = "subject_keys_pkey",
	 [ES_ERASURES] = "erasures",
	 [ES_ERASURES_PKEY] = "erasures_pkey",
	 [ES_MEMBER] = "member",
	 [ES_MEMBER_PKEY] = "member_pkey",
	 [ES_MAPPED_CELLS] = "mapped_cells",
	 [ES_MAPPED_CELLS_PKEY] = "mapped_cells_pkey",
	 [ES_PARTITIONING] = "partitioning",
	 [ES_PARTITION_IDS] = "partition_ids",
	 [ES_DETACHED] = ES_DETACHED_TABLE};

static Oid catalog_oids[ES_RELATION_COUNT];

/* How many times they were forgotten. */
static uint64 catalog_generation = 0;

/* Relcache callback: relid is InvalidOid where everything is invalidated. */
static void
catalog_forget(Datum arg, Oid relid)
{
	int i;

	for (i = 0; i < ES_RELATION_COUNT; i++)
	{
		if (relid == InvalidOid || catalog_oids[i] == relid)
		{
			memset(catalog_oids, 0, sizeof(catalog_oids));
			catalog_generation++;
			return;
		}
	}
}

/* Called once, when the library is loaded. */
void
es_catalog_init(void)
{
	CacheRegisterRelcacheCallback(catalog_forget, (Datum) 0);
}

/*
 * A number that changes whenever one of the relations is invalidated.  What is
 * cached of their contents is good as long as it stays: changes that others
 * have to notice invalidate the relation, too.
 */
uint64
es_catalog_generation(void)
{
	return catalog_generation;
}

/* InvalidOid: there is none. */
static Oid
catalog_look_up(EsRelation which)
{
	return get_relname_relid(catalog_names[which], get_namespace_oid(ES_SCHEMA, true));
}

/*
 * Whether this database has the store, of the library's version.  Needs a
 * transaction.
 */
bool
es_catalog_is_installed(void)
{
	return OidIsValid(catalog_oids[ES_POSITIONS]) ||
		(OidIsValid(catalog_look_up(ES_POSITIONS)) && es_version_is_current());
}

/* Whether one of the store's relations is there. */
bool
es_catalog_has(EsRelation which)
{
	return OidIsValid(catalog_oids[which]) || OidIsValid(catalog_look_up(which));
}

/*
 * The OID of one of the store's relations.  Raises 42P01 if it is not there, and
 * 55000 if it is of another version than the library's.
 */
Oid
es_catalog_oid(EsRelation which)
{
	Oid oid = catalog_oids[which];

	if (OidIsValid(oid))
		return oid;

	es_version_require();
	oid = catalog_look_up(which);
	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"%s.%s\" does not exist", ES_SCHEMA, catalog_names[which]),
				 errhint("The extension \"eventstore\" is not installed in this database, or damaged.")));
	catalog_oids[which] = oid;
	return oid;
}

/* The type eventstore.event. */
Oid
es_catalog_event_type(void)
{
	return get_rel_type_id(es_catalog_oid(ES_EVENT));
}

/*
 * Open one of the store's relations and lock it until the end of the
 * transaction.  Close it with relation_close(rel, NoLock).
 */
Relation
es_catalog_open(EsRelation which, LOCKMODE lockmode)
{
	for (;;)
	{
		Oid oid = es_catalog_oid(which);
		Relation rel = NULL;

		/*
		 * Waiting for the lock, we may have learned that the relation was
		 * dropped, or dropped and made again: then look again.  That makes the
		 * look into pg_class needless which try_relation_open takes.
		 */
		LockRelationOid(oid, lockmode);
		if (es_catalog_oid(which) == oid)
			rel = RelationIdGetRelation(oid);
		if (rel != NULL)
		{
			pgstat_init_relation(rel);
			return rel;
		}
		UnlockRelationOid(oid, lockmode);
		CHECK_FOR_INTERRUPTS();
	}
}
