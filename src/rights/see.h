/*-------------------------------------------------------------------------
 *
 * see.h
 *		Scans of events that see what a role may see.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SEE_H
#define ES_SEE_H

#include "base/scan.h"

/* The store's own policies on eventstore.events; see sql/40_access.sql. */
#define ES_BOUNDS_POLICY   "eventstore_bounds"
#define ES_EVERYONE_POLICY "eventstore_everyone"

extern bool es_see_is_free(Relation events, Oid role);
extern bool es_see_has_policies(Relation events, Oid role);
extern bool es_see_is_limited(Relation events, Oid role);
extern void es_see_as(EsScan *scan, Oid role, ScanDirection direction);
extern void es_see_within_bounds(EsScan *scan, Oid role);
extern bool es_see_slot(Relation events, TupleTableSlot *slot, Oid role, Snapshot snapshot);
extern bool es_see_position(Relation events, int64 position, Oid role, Snapshot snapshot);
extern bool es_see_stored(Relation events, const text *stream, int64 position);

#endif /* ES_SEE_H */
