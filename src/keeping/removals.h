/*-------------------------------------------------------------------------
 *
 * removals.h
 *		The list of events that were taken from history, read from end to end.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REMOVALS_H
#define ES_REMOVALS_H

#include "executor/spi.h"

#include "keeping/digest.h"

/* A row of eventstore.removed_events. */
typedef struct EsRemoval
{
	Datum id;     /* uuid */
	Datum stream; /* text */
	int64 version;
	int64 position;
	TimestampTz recorded_at;
	uint8 digest[ES_DIGEST_BYTES]; /* zeroes where none is recorded */
} EsRemoval;

typedef struct EsRemovals
{
	Portal portal;
	SPITupleTable *rows;
	uint64 count;
	uint64 next;
} EsRemovals;

extern void es_removals_open(EsRemovals *reader, int64 after, int64 upto, bool in_order);
extern bool es_removals_next(EsRemovals *reader, EsRemoval *removal);
extern void es_removals_close(EsRemovals *reader);

#endif /* ES_REMOVALS_H */
