/*-------------------------------------------------------------------------
 *
 * beginning.h
 *		Where a stream begins.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_BEGINNING_H
#define ES_BEGINNING_H

#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

/* An event, as a snapshot tells it from others. */
typedef struct EsStateEvent
{
	int64 version;
	int64 position;
	pg_uuid_t id;
	TimestampTz recorded_at;
} EsStateEvent;

extern bool es_beginning_follows(Relation events, const text *stream, const EsStateEvent *event,
								 Snapshot snapshot);

#endif /* ES_BEGINNING_H */
