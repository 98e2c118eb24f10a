/*-------------------------------------------------------------------------
 *
 * row.h
 *		The rows that es_fetch returns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_ROW_H
#define ES_ROW_H

#include "executor/tuptable.h"

/* What an event is delivered with. */
typedef struct EsRowExtra
{
	int partition;
	int attempt;
	int64 token;
} EsRowExtra;

extern MinimalTuple es_row_make(TupleTableSlot *event, TupleDesc desc, const EsRowExtra *extra);

#endif /* ES_ROW_H */
