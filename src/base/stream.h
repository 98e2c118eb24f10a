/*-------------------------------------------------------------------------
 *
 * stream.h
 *		The row of a stream: find it, lock it, move it on.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_STREAM_H
#define ES_STREAM_H

#include "executor/tuptable.h"
#include "nodes/lockoptions.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"
#include "utils/timestamp.h"

typedef struct EsStream
{
	const text *name;
	bool exists;             /* has a row */
	bool is_locked;          /* the row is locked and read; or there was none,
								 * nor one being made, at the last look */
	int64 version;           /* of its last event; 0 = no event yet */
	TimestampTz recorded_at; /* of its last event */
	bool is_tombstoned;

	Relation rel;         /* the caller's, eventstore.streams */
	TupleTableSlot *slot; /* holds the row */
	ItemPointerData tid;  /* of the row */
	uint64 hint;          /* what the row's place is remembered by */
} EsStream;

extern void es_stream_find(EsStream *stream, Relation streams, const text *name, Snapshot snapshot);
extern void es_stream_close(EsStream *stream);
extern void es_stream_lock(EsStream *stream, LockTupleMode mode);
extern bool es_stream_advance(EsStream *stream, int64 version, TimestampTz recorded_at);

#endif /* ES_STREAM_H */
