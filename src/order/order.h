/*-------------------------------------------------------------------------
 *
 * order.h
 *		The order that no reader can miss an event of: the head.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ORDER_H
#define ES_ORDER_H

#include "utils/snapshot.h"

/* What a reader across streams may see. */
typedef struct EsView
{
	Snapshot snapshot; /* registered; sees every event up to head */
	int64 head;        /* no event at or below it can appear any more */
} EsView;

extern int64 es_order_head(bool *is_told);
extern int64 es_order_head_after_commit(void);
extern int64 es_order_last(void);
extern bool es_order_is_behind(void);
extern void es_order_begin_view(EsView *view);
extern void es_order_end_view(EsView *view);

#endif /* ES_ORDER_H */
