/*-------------------------------------------------------------------------
 *
 * milestone.h
 *		Marks: by when positions had been given out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MILESTONE_H
#define ES_MILESTONE_H

#include "datatype/timestamp.h"
#include "utils/snapshot.h"

/* One append in so many positions makes a mark: a power of two. */
#define ES_MILESTONE_EVERY 4096

/* Whether an append that takes positions from first to last, so far apart, makes one. */
#define es_milestone_is_due(first, last, step) \
	(((first) - (step)) / (ES_MILESTONE_EVERY * (step)) != (last) / (ES_MILESTONE_EVERY * (step)))

/* By how much the clock may be set back, in milliseconds. */
#define ES_MARK_MARGIN_MS 1000

extern void es_milestone_set(int64 position, TimestampTz recorded_at);
extern int64 es_milestone_find(TimestampTz at, Snapshot snapshot);

#endif /* ES_MILESTONE_H */
