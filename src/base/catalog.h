/*-------------------------------------------------------------------------
 *
 * catalog.h
 *		The relations of the store, by role; their columns, by number.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CATALOG_H
#define ES_CATALOG_H

#include "storage/lockdefs.h"
#include "utils/relcache.h"

/* Names that others need for messages and for recognizing an error. */
#define ES_SCHEMA             "eventstore"
#define ES_EVENTS_TABLE       "events"
#define ES_DETACHED_TABLE     "detached_events"
#define ES_EVENTS_ID_KEY      "events_id_key"
#define ES_STREAM_VERSION_KEY "_stream_version_key" /* in all names of such indexes */

/* The triggers on eventstore.events that appends do not fire. */
#define ES_EVENTS_FOREIGN_TRIGGER    "foreign_events_are_noted"
#define ES_EVENTS_REPLICATED_TRIGGER "replicated_events_are_noted"
#define ES_EVENTS_APPENDED_TRIGGER   "events_are_appended"

typedef enum EsRelation
{
	ES_STREAMS,
	ES_STREAMS_PKEY, /* (stream) */
	ES_EVENTS,
	ES_EVENTS_PKEY,              /* (position) */
	ES_EVENTS_STREAM_VERSION,    /* (stream, version) */
	ES_EVENTS_ID,                /* (id) */
	ES_EVENTS_CATEGORY_POSITION, /* (category, position) */
	ES_EVENTS_TAGS,              /* (a tag's key, position) */
	ES_POSITIONS,                /* the sequence */
	ES_HEAD,
	ES_HEAD_PKEY, /* (only_row) */
	ES_MARKS,
	ES_MARKS_POSITION, /* (position) */
	ES_SUBSCRIPTIONS,
	ES_SUBSCRIPTIONS_PKEY, /* (name) */
	ES_TOKENS,             /* the sequence */
	ES_SHARES,
	ES_SHARES_PKEY,     /* (subscription, place, revision) */
	ES_SHARES_REVISION, /* (subscription, revision, place) */
	ES_REVISIONS,       /* the sequence */
	ES_RETRIES,
	ES_RETRIES_PKEY,     /* (subscription, position) */
	ES_RETRIES_PLACE,    /* (subscription, place, revision), of those that have a place */
	ES_RETRIES_REVISION, /* (subscription, revision, place), the same */
	ES_RETRIES_PARKED,   /* (subscription, position), of those that are parked */
	ES_RETRIES_NUMBER,   /* (subscription, retry), the same */
	ES_EVENT,            /* the type */
	ES_SNAPSHOTS,
	ES_SNAPSHOTS_PKEY, /* (stream, schema_version) */
	ES_PROJECTIONS,
	ES_PROJECTIONS_PKEY, /* (name) */
	ES_CHECKPOINTS,
	ES_CHECKPOINTS_PKEY, /* (projection, revision) */
	ES_PROJECTION_APPENDS,
	ES_PROJECTION_APPENDS_PKEY, /* (projection, position) */
	ES_PROJECTION,              /* the type */
	ES_STALE,
	ES_STALE_PROJECTION, /* (projection) */
	ES_INTACT,
	ES_INTACT_PROJECTION, /* (projection) */
	ES_SKIPPED_EVENTS,
	ES_SKIPPED_EVENTS_PKEY, /* (projection, position) */
	ES_PROJECTION_MISSED,
	ES_PROJECTION_MISSED_PKEY, /* (projection, position) */
	ES_REMOVED,
	ES_REMOVED_PKEY,           /* (id) */
	ES_REMOVED_POSITION,       /* (position) */
	ES_REMOVED_STREAM_VERSION, /* (stream, version) */
	ES_FOREIGN_RANGES,
	ES_FOREIGN_RANGES_PKEY, /* (from_position) */
	ES_BEGINNINGS,
	ES_RETENTION,
	ES_RETENTION_PKEY, /* (name) */
	ES_SEALS,
	ES_SEALS_PKEY, /* (seal) */
	ES_SEAL_BLOCKS,
	ES_SUBJECT_KEYS,
	ES_SUBJECT_KEYS_PKEY, /* (subject, id) */
	ES_ERASURES,
	ES_ERASURES_PKEY, /* (subject) */
	ES_MEMBER,
	ES_MEMBER_PKEY, /* (only_row) */
	ES_MAPPED_CELLS,
	ES_MAPPED_CELLS_PKEY, /* (cell) */
	ES_PARTITIONING,
	ES_PARTITION_IDS,
	ES_DETACHED,
	ES_RELATION_COUNT
} EsRelation;

/* Columns of eventstore.streams. */
#define Anum_streams_stream      1
#define Anum_streams_version     2
#define Anum_streams_recorded_at 3
#define Anum_streams_tombstoned  4

/* Columns of eventstore.events, and of the type eventstore.event. */
#define Anum_events_position    1
#define Anum_events_stream      2
#define Anum_events_category    3
#define Anum_events_version     4
#define Anum_events_id          5
#define Anum_events_type        6
#define Anum_events_data        7
#define Anum_events_metadata    8
#define Anum_events_tags        9
#define Anum_events_recorded_at 10
#define Natts_event             10

/* Columns of eventstore.head. */
#define Anum_head_only_row 1
#define Anum_head_position 2

/* Columns of eventstore.marks. */
#define Anum_marks_position    1
#define Anum_marks_recorded_by 2
#define Natts_marks            2

/* Columns of eventstore.subscriptions. */
#define Anum_subscriptions_name            1
#define Anum_subscriptions_category        2
#define Anum_subscriptions_types           3
#define Anum_subscriptions_partitions      4
#define Anum_subscriptions_max_retries     5
#define Anum_subscriptions_lease           6
#define Anum_subscriptions_park_policy     7
#define Anum_subscriptions_division        8
#define Anum_subscriptions_next_partitions 9
#define Anum_subscriptions_drain_to        10
#define Anum_subscriptions_next_division   11
#define Anum_subscriptions_is_paused       12
#define Anum_subscriptions_revision        13
#define Anum_subscriptions_tenant          14

/* Columns of eventstore.subscription_shares. */
#define Anum_shares_subscription 1
#define Anum_shares_share        2
#define Anum_shares_division     3
#define Anum_shares_consumer     4
#define Anum_shares_partitions   5
#define Anum_shares_checkpoint   6
#define Anum_shares_attempts     7
#define Anum_shares_retried      8
#define Anum_shares_token        9
#define Anum_shares_delivered    10
#define Anum_shares_acked        11
#define Anum_shares_scanned      12
#define Anum_shares_lease_end    13
#define Anum_shares_place        14
#define Anum_shares_revision     15
#define Anum_shares_base         16
#define Natts_shares             16

/* Columns of eventstore.subscription_retries. */
#define Anum_retries_subscription       1
#define Anum_retries_position           2
#define Anum_retries_stream             3
#define Anum_retries_version            4
#define Anum_retries_retry              5
#define Anum_retries_attempts           6
#define Anum_retries_due                7
#define Anum_retries_parked_at          8
#define Anum_retries_is_blocking        9
#define Anum_retries_is_replayed        10
#define Anum_retries_delivered_to       11
#define Anum_retries_delivered_attempts 12
#define Anum_retries_reason             13
#define Anum_retries_place              14
#define Anum_retries_revision           15
#define Anum_retries_base               16
#define Natts_retries                   16

/* Columns of eventstore.snapshots. */
#define Anum_snapshots_stream         1
#define Anum_snapshots_schema_version 2
#define Anum_snapshots_version        3
#define Anum_snapshots_position       4
#define Anum_snapshots_state          5
#define Anum_snapshots_saved_at       6
#define Anum_snapshots_event_id       7
#define Anum_snapshots_recorded_at    8
#define Natts_snapshots               8

/* Columns of eventstore.projections. */
#define Anum_projections_name           1
#define Anum_projections_owner          2
#define Anum_projections_mode           3
#define Anum_projections_query          4
#define Anum_projections_is_declared    5
#define Anum_projections_tables         6
#define Anum_projections_categories     7
#define Anum_projections_types          8
#define Anum_projections_on_error       9
#define Anum_projections_settings       10
#define Anum_projections_state          11
#define Anum_projections_position       12
#define Anum_projections_events_applied 13
#define Anum_projections_lookups        18
#define Anum_projections_granularity    19
#define Anum_projections_reducer        20
#define Anum_projections_initial        21
#define Natts_projections               21

/* Columns of eventstore.projection_checkpoints. */
#define Anum_checkpoints_projection     1
#define Anum_checkpoints_revision       2
#define Anum_checkpoints_position       3
#define Anum_checkpoints_events_applied 4
#define Natts_checkpoints               4

/* Columns of eventstore.projection_appends. */
#define Anum_projection_appends_projection 1
#define Anum_projection_appends_position   2
#define Natts_projection_appends           2

/* Columns of eventstore.stale_projections. */
#define Anum_stale_projection 1
#define Anum_stale_code       2
#define Anum_stale_reason     3
#define Anum_stale_noticed_at 4
#define Natts_stale           4

/* Columns of eventstore.intact_projections. */
#define Anum_intact_projection 1
#define Natts_intact           1

/* Columns of eventstore.skipped_events, and the first of eventstore.projection_missed. */
#define Natts_skipped_events 6

/* Columns of eventstore.removed_events. */
#define Anum_removed_id          1
#define Anum_removed_position    2
#define Anum_removed_stream      3
#define Anum_removed_version     4
#define Anum_removed_type        5
#define Anum_removed_recorded_at 6

/* Columns of eventstore.foreign_ranges. */
#define Anum_foreign_ranges_upto       2
#define Anum_foreign_ranges_lowest_id  5
#define Anum_foreign_ranges_highest_id 6

/* Columns of eventstore.partition_ids. */
#define Anum_partition_ids_partition     1
#define Anum_partition_ids_upto_position 2
#define Anum_partition_ids_lowest        3
#define Anum_partition_ids_highest       4

/* Columns of eventstore.beginnings. */
#define Anum_beginnings_stream      1
#define Anum_beginnings_version     2
#define Anum_beginnings_imported_at 3
#define Natts_beginnings            3

/* Columns of eventstore.retention. */
#define Anum_retention_name      1
#define Anum_retention_max_age   2
#define Anum_retention_max_count 3

/* Columns of eventstore.seals. */
#define Anum_seals_seal           1
#define Anum_seals_after_position 2
#define Anum_seals_upto           3
#define Anum_seals_events         4
#define Anum_seals_sealed_at      5
#define Anum_seals_digest         6
#define Natts_seals               6

/* Columns of eventstore.seal_blocks. */
#define Anum_seal_blocks_seal          1
#define Anum_seal_blocks_block         2
#define Anum_seal_blocks_last_position 3
#define Anum_seal_blocks_events        4
#define Anum_seal_blocks_digest        5
#define Anum_seal_blocks_outline       6
#define Natts_seal_blocks              6

/* Columns of eventstore.subject_keys. */
#define Anum_subject_keys_subject    1
#define Anum_subject_keys_id         2
#define Anum_subject_keys_key        3
#define Anum_subject_keys_created_at 4
#define Natts_subject_keys           4

/* Columns of eventstore.erasures. */
#define Anum_erasures_erased_at 2

/* Columns of eventstore.member. */
#define Anum_member_only_row  1
#define Anum_member_cell      2
#define Anum_member_feed      3
#define Anum_member_slots     4
#define Anum_member_is_mirror 5
#define Anum_member_epoch     6

/* Columns of eventstore.mapped_cells. */
#define Anum_mapped_cells_cell  1
#define Anum_mapped_cells_feed  2
#define Anum_mapped_cells_slots 3

extern void es_catalog_init(void);
extern bool es_catalog_is_installed(void);
extern bool es_catalog_has(EsRelation which);
extern Oid es_catalog_oid(EsRelation which);
extern Oid es_catalog_event_type(void);
extern uint64 es_catalog_generation(void);
extern Relation es_catalog_open(EsRelation which, LOCKMODE lockmode);

#endif /* ES_CATALOG_H */
