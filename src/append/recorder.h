/*-------------------------------------------------------------------------
 *
 * recorder.h
 *		Insertion into eventstore.events.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RECORDER_H
#define ES_RECORDER_H

#include "utils/relcache.h"

#include "base/event.h"

extern void es_recorder_insert(Relation events, EsAppend *const *appends, int append_count);

#endif /* ES_RECORDER_H */
