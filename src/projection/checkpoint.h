/*-------------------------------------------------------------------------
 *
 * checkpoint.h
 *		How far projections are.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CHECKPOINT_H
#define ES_CHECKPOINT_H

#include "utils/snapshot.h"

typedef struct EsCheckpoint
{
	int64 position;
	int64 events_applied; /* up to it */
} EsCheckpoint;

extern bool es_checkpoint_find(const char *projection, Snapshot snapshot, EsCheckpoint *checkpoint);
extern bool es_checkpoint_save(const char *projection, const EsCheckpoint *checkpoint);

#endif /* ES_CHECKPOINT_H */
