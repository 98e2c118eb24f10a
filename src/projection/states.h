/*-------------------------------------------------------------------------
 *
 * states.h
 *		Folding events into the states of their streams.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_STATES_H
#define ES_STATES_H

#include "datatype/timestamp.h"
#include "utils/tuplestore.h"

#include "projection/projection.h"
#include "projection/statetable.h"

/* A state projection, ready to be applied. */
typedef struct EsStates
{
	const EsProjection *projection;
	List *reducer; /* its name, of String: schema and name */
	Datum initial; /* jsonb */
	bool is_initial_null;
	EsStateTable *table;

	/* Of the events that were applied last, wholly or in part. */
	TimestampTz until; /* apply no other after; 0: all */
	int64 applied;     /* events, before the one that failed */
	int64 last;        /* position of the last of them */
	bool is_folding;   /* if something fails, it is the next event; else it is not known which */
} EsStates;

extern EsStates *es_states_make(const EsProjection *projection);
extern void es_states_reset(EsStates *states, TimestampTz until);
extern void es_states_apply_one(EsStates *states, Datum *values, bool *nulls);
extern void es_states_apply(EsStates *states, Tuplestorestate *events);

#endif /* ES_STATES_H */
