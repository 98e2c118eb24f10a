/*-------------------------------------------------------------------------
 *
 * rows.h
 *		The events of a call as rows of eventstore.events, one after the other.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ROWS_H
#define ES_ROWS_H

#include "executor/tuptable.h"

#include "base/event.h"

/* Events that go to the table in one call. */
#define ES_ROWS_BATCH 256

/* The events of a call, in order of position. */
typedef struct EsRows
{
	EsAppend *const *appends;
	int append_count;
	int append; /* which comes next */
	int event;
} EsRows;

extern EsEvent *es_rows_peek(EsRows *rows, int64 upto);
extern void es_rows_fill(TupleTableSlot *slot, const EsAppend *append, EsEvent *event);

#endif /* ES_ROWS_H */
