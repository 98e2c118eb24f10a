/*-------------------------------------------------------------------------
 *
 * fresh.h
 *		Events that were just appended, as rows for the projections.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FRESH_H
#define ES_FRESH_H

#include "utils/rel.h"

#include "base/catalog.h"
#include "base/event.h"
#include "projection/projection.h"

/* An event, as its row is. */
typedef struct EsFreshEvent
{
	Datum values[Natts_event];
	bool nulls[Natts_event];
} EsFreshEvent;

static inline int64
es_fresh_position(const EsFreshEvent *event)
{
	return DatumGetInt64(event->values[Anum_events_position - 1]);
}

extern bool es_fresh_fetch(Relation events, EsFreshEvent *event);
extern EsFreshEvent *es_fresh_collect(Relation events, EsAppend *const *appends, int append_count,
									  bool may_differ, int *count);
extern bool
es_fresh_may_care(const EsProjection *projection, EsAppend *const *appends, int append_count);
extern bool es_fresh_cares(const EsProjection *projection, const EsFreshEvent *event);
extern int es_fresh_leave_out_hidden(const EsProjection *projection, Relation events,
									 EsFreshEvent **passing, int count);

#endif /* ES_FRESH_H */
