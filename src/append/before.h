/*-------------------------------------------------------------------------
 *
 * before.h
 *		BEFORE ROW triggers on eventstore.events.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_BEFORE_H
#define ES_BEFORE_H

#include "nodes/execnodes.h"

#include "base/event.h"

extern void es_before_fire(EState *estate, ResultRelInfo *info, TupleTableSlot *slot,
						   const EsAppend *append, const EsEvent *event);

#endif /* ES_BEFORE_H */
