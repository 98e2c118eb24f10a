/*-------------------------------------------------------------------------
 *
 * subscription.h
 *		The definition of a subscription.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_SUBSCRIPTION_H
#define ES_SUBSCRIPTION_H

#include "datatype/timestamp.h"

typedef struct EsSubscription
{
	text *name;
	uint32 key;     /* by which its locks are told; see guard.h */
	text *category; /* NULL: all */
	Datum types;    /* text[]; (Datum) 0: all */
	Datum *type_items;
	int type_count;
	int partitions;
	int max_retries;
	Interval lease;
	bool parks_block; /* later events of a stream wait behind a parked one */
	int64 division;
	int next_partitions; /* 0: no change is due */
	int64 next_division;
	int64 drain_to;     /* the present partitions end here; PG_INT64_MAX: nowhere */
	bool is_next_begun; /* its row does not say so yet; see division.c */
	bool is_paused;     /* nothing is delivered */
	int64 revision;     /* what was read under another is not good any more */
	text *tenant;       /* NULL: all */
} EsSubscription;

extern bool es_subscription_exists(text *name, EsSubscription *subscription);
extern void es_subscription_find(text *name, EsSubscription *subscription);
extern void es_subscription_change(text *name, EsSubscription *subscription);
extern void es_subscription_set_types(EsSubscription *subscription, Datum types);
extern bool es_subscription_wants(const EsSubscription *subscription, const text *type);
extern TimestampTz es_subscription_lease_end(const EsSubscription *subscription, TimestampTz now);

#endif /* ES_SUBSCRIPTION_H */
