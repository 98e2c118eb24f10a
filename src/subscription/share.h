/*-------------------------------------------------------------------------
 *
 * share.h
 *		Shares: a consumer's part of a subscription.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SHARE_H
#define ES_SHARE_H

#include "datatype/timestamp.h"

#include "subscription/pairs.h"
#include "subscription/recall.h"
#include "subscription/subscription.h"

/* A row of eventstore.subscription_shares; its columns' comments tell more. */
typedef struct EsShare
{
	int64 number;
	text *consumer; /* NULL: nobody */
	uint8 *partitions;
	int64 checkpoint;
	EsPairs attempts;
	EsPairs retried;
	int64 token;
	int64 delivered;
	int64 acked;
	int64 scanned;
	TimestampTz lease_end;

	/* Not stored */
	EsPlaceRow row;
	struct EsShare *before; /* the version before that of row.writer; NULL: none */
} EsShare;

/* In ascending order of their numbers. */
typedef struct EsShares
{
	bool has_older; /* there are some of earlier divisions */
	int count;
	EsShare *items;
} EsShares;

#define es_share_is_outstanding(share) ((share)->token != 0 && (share)->acked < (share)->delivered)
#define es_share_is_open(share) \
	(TransactionIdIsValid((share)->row.writer) || TransactionIdIsValid((share)->row.remover))
#define es_share_is_stale(share) es_place_is_stale(&(share)->row)

extern const EsPlaceTable *es_share_table(void);
extern EsShares es_share_load(const EsSubscription *subscription);
extern void es_share_insert(const EsSubscription *subscription, EsShare *share);
extern void es_share_update(const EsSubscription *subscription, EsShare *share);
extern void es_share_delete(const EsShare *share);
extern void es_share_forget(const EsSubscription *subscription, int64 first, int64 last);
extern int64 es_share_next_number(void);
extern int64 es_share_highest_number(void);
extern int64 es_share_make_token(void);

extern const EsShare *es_share_of_partition(const EsShares *shares, int partition);
extern int es_share_attempts_at(const EsShare *share, int64 position);
extern void es_share_count_attempt(EsShare *share, int64 position);
extern int64 es_share_passed(const EsShare *share);
extern void es_share_advance(EsShare *share, int64 checkpoint);

#endif /* ES_SHARE_H */
