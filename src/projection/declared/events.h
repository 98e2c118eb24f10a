/*-------------------------------------------------------------------------
 *
 * events.h
 *		Where a query reads "events".
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EVENTS_H
#define ES_EVENTS_H

#include "nodes/parsenodes.h"

extern bool es_events_are_read(Node *node);
extern bool es_events_is_position(Query *query, Node *node);
extern Node *es_events_position(Query *query);
extern void es_events_name(Query *query);

#endif /* ES_EVENTS_H */
