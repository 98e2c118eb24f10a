/*-------------------------------------------------------------------------
 *
 * deliver.h
 *		What a fetch delivers.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_DELIVER_H
#define ES_DELIVER_H

#include "funcapi.h"

#include "subscription/retry.h"

typedef struct EsDelivery
{
	/* The caller's */
	const EsSubscription *subscription;
	const EsShares *shares; /* whose partitions */
	const EsRetries *retries;
	Oid caller;  /* who gets the events */
	int64 after; /* where the run need not be looked at again */
	int max_count;
	ReturnSetInfo *result;

	/* What became of it */
	int64 token;   /* 0: nothing was delivered */
	int64 last;    /* last position delivered */
	int64 run;     /* last one of the run of events; 0: none */
	int64 scanned; /* how far the run was looked at; 0: not at all */
	int count;
	bool *is_delivered; /* by retry */
	EsRetry *given_up;  /* whose attempts are used up: to be parked */
	int given_up_count;
	EsRetry *gone; /* whose events are not there any more */
	int gone_count;
	TupleTableSlot *row;  /* while it delivers */
	TimestampTz next_due; /* of retries that are not due yet; DT_NOEND: none */
} EsDelivery;

extern void es_deliver(EsDelivery *delivery);
extern int es_deliver_attempts(const EsShare *share, const EsRetry *retry);
extern bool es_deliver_has_retry(const EsShare *share, const EsRetry *retry);
extern bool es_deliver_find(const EsDelivery *delivery, int64 position, EsRetry *event);
extern bool es_deliver_has_more(const EsDelivery *delivery, int64 after, int64 up_to);

#endif /* ES_DELIVER_H */
