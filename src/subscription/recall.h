/*-------------------------------------------------------------------------
 *
 * recall.h
 *		Recalling places: the rows that count.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RECALL_H
#define ES_RECALL_H

#include "subscription/place.h"

extern EsPlaces es_recall_rows(const EsPlaceTable *table, Relation heap, const text *subscription);
extern int es_recall_free_place(const EsPlaceTable *table, Relation heap, const text *subscription);
extern int64 es_recall_next_revision(void);

#endif /* ES_RECALL_H */
