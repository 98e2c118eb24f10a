/*-------------------------------------------------------------------------
 *
 * lease.h
 *		The lease of a consumer on its partitions.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_LEASE_H
#define ES_LEASE_H

#include "subscription/assign.h"
#include "subscription/deliver.h"

extern bool es_lease_is_same(const EsShare *a, const EsShare *b);
extern bool es_lease_check(const EsSubscription *subscription, const EsAssignment *assignment);
extern void es_lease_store(EsAssignment *assignment, const EsDelivery *delivery);

#endif /* ES_LEASE_H */
