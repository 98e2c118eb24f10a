/*-------------------------------------------------------------------------
 *
 * match.h
 *		The events that match an item of a query, in order of position.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_MATCH_H
#define ES_MATCH_H

#include "base/scan.h"
#include "condition/query.h"

/* Where to look. */
typedef struct EsMatchRange
{
	Relation events; /* the caller's */
	Snapshot snapshot;
	ScanDirection direction;
	int64 above;   /* positions above it, ... */
	int64 at_most; /* ... and not above this one */
} EsMatchRange;

typedef struct EsMatch
{
	const EsQueryItem *item;
	const EsMatchRange *range;
	TupleTableSlot *slot; /* the match */
	int64 position;       /* of it */

	/* A scan for each tag, or one of all events. */
	int scan_count;
	EsScan *scans;

	int driver;   /* whose entries are looked at */
	int failures; /* of them, rows that did not match, since it was chosen */
	int patience; /* how many there may be before one is chosen anew */
} EsMatch;

extern void es_match_begin(EsMatch *match, const EsQueryItem *item, const EsMatchRange *range);
extern bool es_match_next(EsMatch *match);
extern void es_match_end(EsMatch *match);

#endif /* ES_MATCH_H */
