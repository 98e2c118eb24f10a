/*-------------------------------------------------------------------------
 *
 * counters.h
 *		What has been appended and refused since the server began, counted.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_COUNTERS_H
#define ES_COUNTERS_H

#include "datatype/timestamp.h"

typedef struct EsCounts
{
	int64 appends; /* committed */
	int64 events;  /* of them */
	int64 conflicts;
	int64 retries;
	TimestampTz since;
} EsCounts;

extern void es_counters_request(void);

extern void es_counters_append(Oid store, int event_count);
extern void es_counters_conflict(Oid store);
extern void es_counters_retry(Oid store, int count);
extern bool es_counters_get(Oid store, EsCounts *counts);

extern void es_counters_keep(void);
extern void es_counters_forget(void);
extern void es_counters_keep_sub(SubTransactionId sub, SubTransactionId parent);
extern void es_counters_undo_sub(SubTransactionId sub);

#endif /* ES_COUNTERS_H */
