/*-------------------------------------------------------------------------
 *
 * remote_ids.h
 *		Ids in ranges that are foreign tables.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REMOTE_IDS_H
#define ES_REMOTE_IDS_H

#include "utils/uuid.h"

#include "base/event.h"
#include "base/ranges.h"

/* An event that was found. */
typedef struct EsRemoteId
{
	pg_uuid_t id;
	text *stream;
	int64 version;
	int64 position;
} EsRemoteId;

/* What a foreign table has of the ids of a call. */
typedef struct EsRemoteIds
{
	Oid table;
	EsRemoteId *found; /* in the order of ids */
	int count;
	struct EsRemoteIds *next; /* of another table */
} EsRemoteIds;

extern bool
es_remote_ids_bounds(const EsRange *range, Relation table, pg_uuid_t *lowest, pg_uuid_t *highest);
extern const EsRemoteId *
es_remote_ids_find(EsRemoteIds **known, Relation table, const pg_uuid_t *id,
				   EsAppend *const *appends, int append_count);

#endif /* ES_REMOTE_IDS_H */
