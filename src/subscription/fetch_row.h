/*-------------------------------------------------------------------------
 *
 * fetch_row.h
 *		The rows that es_fetch returns.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_FETCH_ROW_H
#define ES_FETCH_ROW_H

#include "executor/tuptable.h"

/* What an event is delivered with. */
typedef struct EsFetchRowExtra
{
	int partition;
	int attempt;
	int64 token;
} EsFetchRowExtra;

extern MinimalTuple
es_fetch_row_make(TupleTableSlot *event, TupleDesc desc, const EsFetchRowExtra *extra);

#endif /* ES_FETCH_ROW_H */
