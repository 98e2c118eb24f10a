/*-------------------------------------------------------------------------
 *
 * takeback.h
 *		Taking back what a consumer has.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_TAKEBACK_H
#define ES_TAKEBACK_H

#include "subscription/share.h"

extern void es_takeback_delivery(EsShare *share);
extern int
es_takeback_share(const EsSubscription *subscription, const EsShare **owners, const EsShare *share);
extern int64 es_takeback_checkpoint(const EsShares *shares, int partition);
extern void es_takeback_all(const EsSubscription *subscription);

#endif /* ES_TAKEBACK_H */
