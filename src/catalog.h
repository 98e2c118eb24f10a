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
#define ES_SCHEMA        "eventstore"
#define ES_EVENTS_ID_KEY "events_id_key"

typedef enum EsRelation
{
	ES_STREAMS,
	ES_STREAMS_PKEY, /* (stream) */
	ES_EVENTS,
	ES_EVENTS_PKEY,              /* (position) */
	ES_EVENTS_STREAM_VERSION,    /* (stream, version) */
	ES_EVENTS_ID,                /* (id) */
	ES_EVENTS_CATEGORY_POSITION, /* (category, position) */
	ES_POSITIONS,                /* the sequence */
	ES_HEAD,
	ES_HEAD_PKEY /* (only_row) */
} EsRelation;

#define ES_RELATION_COUNT (ES_HEAD_PKEY + 1)

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

extern void es_catalog_init(void);
extern bool es_catalog_is_installed(void);
extern Oid es_catalog_oid(EsRelation which);
extern Relation es_catalog_open(EsRelation which, LOCKMODE lockmode);

#endif /* ES_CATALOG_H */
