/*-------------------------------------------------------------------------
 *
 * reducer.h
 *		Folding events into a state by a function of the user's.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_REDUCER_H
#define ES_REDUCER_H

#include "access/tupdesc.h"
#include "fmgr.h"
#include "utils/palloc.h"

/* A reducer, ready to be called. */
typedef struct EsReducer
{
	FmgrInfo function;
	TupleDesc desc;              /* of eventstore.event */
	MemoryContext context;       /* the states are in it */
	MemoryContext event_context; /* of one call */
} EsReducer;

/* A state on its way through the events. */
typedef struct EsFolded
{
	Datum state; /* jsonb */
	bool is_null;
} EsFolded;

extern Oid es_reducer_find(text *name);
extern void es_reducer_check(Oid function);
extern void es_reducer_begin(EsReducer *reducer, Oid function);
extern void
es_reducer_start(const EsReducer *reducer, EsFolded *folded, Datum initial, bool is_null);
extern void es_reducer_fold(EsReducer *reducer, EsFolded *folded, Datum *values, bool *nulls);
extern void es_reducer_end(EsReducer *reducer);

#endif /* ES_REDUCER_H */
