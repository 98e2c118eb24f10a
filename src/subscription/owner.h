/*-------------------------------------------------------------------------
 *
 * owner.h
 *		The owner of a partition: the share that it belongs to.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_OWNER_H
#define ES_OWNER_H

#include "subscription/share.h"

extern const EsShare **es_owner_find(const EsSubscription *subscription, const EsShares *shares);
extern bool
es_owner_has_all(const EsSubscription *subscription, const EsShare **owners, const EsShare *share);
extern bool es_owner_is_registration(const EsSubscription *subscription, const EsShare *share);
extern void
es_owner_clean(const EsSubscription *subscription, const EsShares *shares, const text *consumer);

#endif /* ES_OWNER_H */
