/*-------------------------------------------------------------------------
 *
 * retry_row.h
 *		Rows of retries: found, read, written.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_RETRY_ROW_H
#define ES_RETRY_ROW_H

#include "nodes/execnodes.h"

#include "subscription/retry.h"

/* A row of eventstore.subscription_retries, with all of its columns. */
typedef struct EsRetryRow
{
	EsRetry retry;
	bool is_replayed;
	TimestampTz parked_at; /* if it is parked */
	text *reason;          /* NULL: none */

	/* Where it is */
	ItemPointerData tid;
	int place;  /* -1: it has none */
	int64 base; /* that the next version is to have */
} EsRetryRow;

/* Who writes some of them. */
typedef struct EsRetryWriter
{
	const EsSubscription *subscription;
	Relation rel;
	TupleTableSlot *slot;
	EState *estate;
	ResultRelInfo *info; /* NULL: the indexes are not open yet */
	bool knows_places;
	Bitmapset *taken; /* places, if they are known */
	int free_place;   /* all below are taken */
} EsRetryWriter;

extern EsRetries es_retry_row_load(const EsSubscription *subscription, int64 others_after);

extern void es_retry_row_open(EsRetryWriter *writer, const EsSubscription *subscription);
extern bool es_retry_row_find(EsRetryWriter *writer, int64 position, EsRetryRow *row);
extern void es_retry_row_add(EsRetryWriter *writer, const EsRetryRow *row);
extern void es_retry_row_replace(EsRetryWriter *writer, const EsRetryRow *row);
extern void es_retry_row_remove(EsRetryWriter *writer, const EsRetryRow *row);
extern void es_retry_row_close(EsRetryWriter *writer);

extern List *
es_retry_row_list_parked(EsRetryWriter *writer, int64 max_count, int64 first, int64 last);
extern TransactionId
es_retry_row_find_replay(const EsSubscription *subscription, const EsShares *shares);

extern const EsPlaceTable *es_retry_row_table(void);

#endif /* ES_RETRY_ROW_H */
