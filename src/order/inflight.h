/*-------------------------------------------------------------------------
 *
 * inflight.h
 *		Appends in flight: who appends, and above which position.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_INFLIGHT_H
#define ES_INFLIGHT_H

/* What is published in this database; PG_INT64_MAX: nothing is. */
typedef struct EsInflight
{
	int64 lowest;           /* positions above it may still appear */
	int64 lowest_of_others; /* the same, without this session's */
	bool has_prepared;
} EsInflight;

extern void es_inflight_enter(Oid store, int64 last);
extern bool es_inflight_leave(int64 *position);
extern bool es_inflight_forget(void);
extern void es_inflight_commit_sub(SubTransactionId sub, SubTransactionId parent);
extern bool es_inflight_abort_sub(SubTransactionId sub, int64 *position);
extern EsInflight es_inflight_find(void);

#endif /* ES_INFLIGHT_H */
