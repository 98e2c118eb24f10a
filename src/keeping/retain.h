/*-------------------------------------------------------------------------
 *
 * retain.h
 *		Applying retention to streams, one after the other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RETAIN_H
#define ES_RETAIN_H

#include "datatype/timestamp.h"

#include "base/names.h"

/* A row of eventstore.retention. */
typedef struct EsRetainRule EsRetainRule;

/* How far somebody has come: these outlive a transaction. */
typedef struct EsRetainPlace
{
	bool has_rule;
	char rule[ES_MAX_STREAM_BYTES + 1]; /* before it all is done */
	bool is_past;                       /* and so is it */
	bool has_stream;
	char stream[ES_MAX_STREAM_BYTES + 1]; /* up to it all of the rule's are done */
	char part[ES_MAX_STREAM_BYTES + 1];   /* and of this one what is before a version */
	int64 reached;
} EsRetainPlace;

/* A walk over the streams of all rules, from a place on. */
typedef struct EsRetainWalk
{
	EsRetainPlace *place;
	EsRetainRule *rules; /* by name */
	int count;

	int64 slice;   /* events that may go yet */
	int64 streams; /* that may be looked at yet */
	int64 gone;
} EsRetainWalk;

extern TimestampTz es_retain_oldest(Datum max_age);
extern bool es_retain_walk(EsRetainWalk *walk);

#endif /* ES_RETAIN_H */
