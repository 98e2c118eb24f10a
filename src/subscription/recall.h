/*-------------------------------------------------------------------------
 *
 * recall.h
 *		Recalling places: the rows that count.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RECALL_H
#define ES_RECALL_H

#include "nodes/bitmapset.h"

#include "subscription/place.h"

extern EsPlaces es_recall_rows(const EsPlaceTable *table, Relation heap, const text *subscription);
extern Bitmapset *
es_recall_taken(const EsPlaceTable *table, Relation heap, const text *subscription);
extern int es_recall_free_place(const Bitmapset *taken, int place);
extern int64 es_recall_highest_revision(void);
extern int64 es_recall_next_revision(const EsPlaceTable *table, const text *subscription);

#endif /* ES_RECALL_H */
