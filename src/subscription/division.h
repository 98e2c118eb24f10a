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
extern bool es_division_go_on(EsSubscription *subscription);

#endif /* ES_DIVISION_H */
