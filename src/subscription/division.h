/*-------------------------------------------------------------------------
 *
 * division.h
 *		Divisions of a subscription's streams into partitions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DIVISION_H
#define ES_DIVISION_H

#include "subscription/share.h"

extern void es_division_begin(EsSubscription *subscription, int partitions, int64 checkpoint);
extern void es_division_forget(const EsSubscription *subscription);
extern bool
es_division_ends_at(const EsSubscription *subscription, const EsShares *shares, int64 *position);
extern void es_division_plan(EsSubscription *subscription, int partitions, int64 drain_to);
extern void es_division_find(text *name, EsSubscription *subscription);
extern void es_division_change(text *name, EsSubscription *subscription);
extern void es_division_tidy(EsSubscription *subscription, bool has_older);

#endif /* ES_DIVISION_H */
