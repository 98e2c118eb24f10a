/*-------------------------------------------------------------------------
 *
 * claim.h
 *		Claims: whether a token is still good for the shares delivered under it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_CLAIM_H
#define ES_CLAIM_H

#include "subscription/deliver.h"

typedef struct EsClaim
{
	/* The caller's */
	text *name; /* of the subscription */
	int64 token;
	int64 position; /* up to, or at, which something is said */

	/* What there is */
	EsSubscription subscription;
	EsShares mine;  /* the shares that the token is of */
	bool has_older; /* there are shares of earlier divisions */
	EsRetries retries;
	EsDelivery delivery; /* only to look at */
	TimestampTz now;
} EsClaim;

extern void es_claim_begin(EsClaim *claim);
extern void es_claim_end(EsClaim *claim);

#endif /* ES_CLAIM_H */
