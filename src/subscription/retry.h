/*-------------------------------------------------------------------------
 *
 * retry.h
 *		Events that go their own way: delivered again, parked, skipped.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RETRY_H
#define ES_RETRY_H

#include "datatype/timestamp.h"

#include "subscription/share.h"

/* A row of eventstore.subscription_retries. */
typedef struct EsRetry
{
	int64 position;
	text *stream;
	uint64 hash; /* of stream; not stored */
	int64 version;
	int64 number;
	int attempts;
	TimestampTz due; /* DT_NOEND: it is not to be delivered */
	bool is_parked;
	bool is_blocking;
	bool is_active; /* due or blocking */
	int64 delivered_to;
	int delivered_attempts;
	int partition; /* not stored */
} EsRetry;

/* In ascending order of position. */
typedef struct EsRetries
{
	int count;
	EsRetry *items;
	int active_count;
	const EsRetry **active; /* by hash, and then by position */
} EsRetries;

/* How far a partition is. */
typedef struct EsRetryReach
{
	int64 checkpoint;
	int64 passed; /* events up to here are not in the run any more */

	/* Rows that are active, and all after passed; NULL: to be read where they count. */
	const EsRetries *rows;
} EsRetryReach;

extern EsRetries es_retry_load(const EsSubscription *subscription, int64 after);
extern bool es_retry_read(const EsSubscription *subscription, int64 position, EsRetry *retry);
extern const EsRetry *es_retry_find(const EsRetries *retries, int64 position);
extern int es_retry_seek(const EsRetries *retries, uint64 hash);
extern const EsRetry *
es_retry_find_blocking(const EsRetries *retries, const text *stream, uint64 hash, int64 before);

extern TransactionId
es_retry_find_replay(const EsSubscription *subscription, const EsShares *shares);

extern void es_retry_insert(const EsSubscription *subscription, EsRetry *retry, const text *reason);
extern void es_retry_again(const EsSubscription *subscription, const EsRetry *retry, int attempts,
						   TimestampTz due, const text *reason);
extern void es_retry_park(const EsSubscription *subscription, const EsRetry *retry, int attempts,
						  const text *reason, EsRetryReach reach);
extern void
es_retry_resolve(const EsSubscription *subscription, const EsRetry *retry, EsRetryReach reach);
extern void
es_retry_drop(const EsSubscription *subscription, const EsRetry *retry, EsRetryReach reach);
extern void es_retry_withdraw(const EsSubscription *subscription, const EsRetry *retry,
							  EsRetryReach reach, bool has_next);
extern void es_retry_forget(const EsSubscription *subscription, const EsRetry *retry);
extern int64
es_retry_replay(const EsSubscription *subscription, int64 max_count, int64 first, int64 last);

#endif /* ES_RETRY_H */
