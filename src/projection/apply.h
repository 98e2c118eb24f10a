/*-------------------------------------------------------------------------
 *
 * apply.h
 *		Running a projection's SQL over events.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_APPLY_H
#define ES_APPLY_H

#include "executor/spi.h"
#include "utils/tuplestore.h"

#include "base/scan.h"
#include "projection/declared/declare.h"
#include "projection/environment.h"
#include "projection/projection.h"
#include "projection/states.h"

/*
 * A projection's SQL, ready to run.  It lives in the memory context that it was
 * made in, and its plans end with that.
 */
typedef struct EsApplier
{
	const EsProjection *projection;
	Oid owner;
	bool is_replay;             /* only copies may be written: see cordon.c */
	bool is_refused;            /* it did what a replay must not: no event's fault */
	bool wants_tables;          /* and that was to use a table that a copy stands for */
	List *hidden;               /* in a replay: OIDs of the tables that copies stand for */
	List *own;                  /* in a replay in place: OIDs of the tables that it may write */
	const EsAnalysis *analysis; /* of a declared table; else NULL */
	EsStates *states;           /* of a state projection; else NULL */
	char *sql[ES_SOURCE_COUNT]; /* by EsSource; NULL: not to be had */
	SPIPlanPtr plans[ES_SOURCE_COUNT];
	EsEnvironment *environment; /* its settings, as they are in this session */
	TupleDesc event_desc;       /* of the relation "events"; NULL: not looked up yet */

	/* Of a handler that runs for one event after the other, and of a state projection. */
	TimestampTz until; /* apply no other after; 0: all */
	bool is_looked_at; /* whether it matters */
	Oid separable;     /* the table into which it inserts rows of which each is an event's own;
						* InvalidOid: it does something else */

	/* Of the batch that was applied last, wholly or in part. */
	bool is_each;  /* event by event: so it is known which has failed */
	int64 applied; /* events, before the one that failed */
	int64 last;    /* position of the last of them, where there are more */
	MemoryContextCallback on_reset;
} EsApplier;

/* What the running projection's SQL runs in, the innermost one. */
typedef struct EsApplyScope
{
	const EsApplier *applier;
	struct EsApplyScope *outer; /* whose SQL has appended; NULL: none */
	int depth;                  /* from 1 */
	Oid user;
	int security;
	int guc_level;
} EsApplyScope;

/* How many times projections may answer each other's events. */
#define ES_APPLY_MAX_DEPTH 32

extern EsApplier *es_apply_make(const EsProjection *projection);
extern EsApplier *es_apply_make_for(const EsProjection *projection, const EsDeclareTables *tables,
									const char *handler);
extern char *es_apply_range_condition(const EsProjection *projection);
extern bool es_apply_is_passing(int code);
extern void es_apply_see(const EsProjection *projection, EsScan *scan);
extern List *es_apply_targets(const EsApplier *applier);

extern const EsApplyScope *es_apply_current(void);
extern void es_apply_enter(EsApplyScope *scope, const EsApplier *applier);
extern void es_apply_leave(EsApplyScope *scope);

extern bool es_apply_takes_one(const EsApplier *applier);
extern void es_apply_one(EsApplier *applier, Datum *values, const char *nulls);
extern void es_apply_batch(EsApplier *applier, Tuplestorestate *events);
extern void es_apply_range(EsApplier *applier, int64 after, int64 upto);

#endif /* ES_APPLY_H */
