/*-------------------------------------------------------------------------
 *
 * ordered.h
 *		Aggregates in which the order of events counts.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ORDERED_H
#define ES_ORDERED_H

#include "projection/declared/part.h"

extern Node *es_ordered_pick(EsPartsState *state, Aggref *call, bool is_last);
extern Node *es_ordered_latest(EsPartsState *state, Aggref *call);
extern Node *es_ordered_list(EsPartsState *state, Aggref *call);
extern Node *es_ordered_element(EsPartsState *state, SubscriptingRef *element);
extern Node *es_ordered_break_ties(Node *node, void *query);

#endif /* ES_ORDERED_H */
