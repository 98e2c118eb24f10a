/*-------------------------------------------------------------------------
 *
 * sight.h
 *		Whether the caller of a fetch may see what it would be given.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SIGHT_H
#define ES_SIGHT_H

#include "base/scan.h"

/* What a role may see of the events of a scan that goes forward by position. */
typedef struct EsSight
{
	Oid role;
	const char *subscription;
	bool has_policies; /* else it is everything */
	EsScan scan;       /* the same scan with the policies */
	int64 position;    /* where it stands */
} EsSight;

extern void es_sight_open(EsSight *sight, const EsScan *scan, EsRelation index, Snapshot snapshot);
extern void es_sight_check(EsSight *sight, int64 position);
extern void
es_sight_check_one(const EsSight *sight, Relation events, int64 position, Snapshot snapshot);
extern void es_sight_close(EsSight *sight);

#endif /* ES_SIGHT_H */
